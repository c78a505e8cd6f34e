use arrow::datatypes::Schema;
use belvedere_connector::{Capabilities, Expr, Fragment, Literal, Rel, Support, is_still};

use crate::dialect::Dialect;
use crate::{select, write};

/// What a dialect can say, found out by saying it.
#[derive(Debug, Clone)]
pub struct SqlCapabilities<D> {
    pub dialect: D,
}

impl<D: Dialect> SqlCapabilities<D> {
    pub fn new(dialect: D) -> Self {
        Self { dialect }
    }
}

impl<D: Dialect> Capabilities for SqlCapabilities<D> {
    fn predicate(&self, predicate: &Expr, input: &Schema) -> Support {
        select::predicate(predicate, input, &self.dialect)
    }

    fn stores(&self, assignments: &[(usize, Expr)], schema: &Schema) -> Support {
        write::stores(assignments, schema, &self.dialect)
    }

    fn tells(&self, columns: &[usize], schema: &Schema) -> Support {
        let told = columns.iter().map(|column| {
            let data_type = schema.field(*column).data_type();
            let old = Literal::Parameter("old".to_string());
            match self.predicate(&is_still(data_type, *column, old), schema) {
                Support::Exact => Support::Exact,
                Support::Superset(why) | Support::No(why) => {
                    Support::No(format!("{}: {why}", schema.field(*column).name()))
                }
            }
        });
        told.fold(Support::Exact, Support::and)
    }

    fn node(&self, rel: &Rel) -> Support {
        let rendered = match select::render(&Fragment::new(rel.clone()), &self.dialect) {
            Ok(rendered) => rendered,
            Err(why) => return Support::No(why),
        };
        let limits = self.dialect.limits();
        let counts = [
            ("constants", rendered.params.len(), limits.parameters),
            ("columns", rel.schema().fields().len(), limits.columns),
            ("tables in a join", joined(rel), limits.tables),
        ];
        for (what, count, most) in counts {
            if count > most {
                return Support::No(format!("{count} {what}, where it takes {most}"));
            }
        }
        Support::Exact
    }
}

/// The most tables that one SELECT may come to read, if the system merges into it what it can.
fn joined(rel: &Rel) -> usize {
    match rel {
        Rel::Scan { .. } => 1,
        Rel::Join { left, right, .. } => joined(left) + joined(right),
        Rel::UnionAll { inputs, .. } => inputs.iter().map(joined).max().unwrap_or_default(),
        Rel::Filter { input, .. }
        | Rel::Project { input, .. }
        | Rel::Aggregate { input, .. }
        | Rel::Window { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. } => joined(input),
    }
}
