use arrow::datatypes::Schema;
use belvedere_connector::{Capabilities, Expr, Rel, Support};

/// Any columns of a table in any order, and the first rows of that.
#[derive(Debug)]
pub(crate) struct ScanAndLimit;

impl Capabilities for ScanAndLimit {
    fn predicate(&self, _predicate: &Expr, _input: &Schema) -> Support {
        Support::No("a source in memory evaluates no conditions".to_string())
    }

    fn tells(&self, _columns: &[usize], _schema: &Schema) -> Support {
        Support::Exact
    }

    fn node(&self, rel: &Rel) -> Support {
        match rel {
            Rel::Scan { .. } => Support::Exact,
            Rel::Project { input, columns } if matches!(**input, Rel::Scan { .. }) => {
                match columns.iter().all(|(expr, _)| expr.as_column().is_some()) {
                    true => Support::Exact,
                    false => Support::No("a source in memory computes nothing".to_string()),
                }
            }
            Rel::Limit { input, .. } => match **input {
                Rel::Scan { .. } | Rel::Project { .. } => Support::Exact,
                _ => Support::No("a source in memory limits what it reads alone".to_string()),
            },
            _ => Support::No("a source in memory gives rows and evaluates nothing".to_string()),
        }
    }
}
