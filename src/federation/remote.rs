use std::collections::BTreeSet;
use std::sync::Arc;

use belvedere_connector::{Fragment, Rel, Support};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};

use super::estimate::Estimate;
use super::learned::Conditions;
use super::node::FragmentNode;
use super::peers::Keys;
use super::provider::{SourceHandle, SourceTable};

/// A relation at a source, growing. `schema` has its columns in order, under the plan's names.
pub struct Remote {
    pub handle: Arc<SourceHandle>,
    pub rel: Rel,
    pub schema: DFSchemaRef,
    pub keys: Keys,
    pub estimate: Estimate,
    /// It was below a barrier, or some of it: a source may compute in any order what it is sent in one, and is sent nothing more that
    /// could give away rows which are not seen.
    pub is_sealed: bool,
}

/// Why something runs here that its source could compute.
pub const BEHIND_BARRIER: &str = "it could fail, and so give away rows that are not seen";

/// What was to grow, as it was, and why it does not.
pub type Refused = Box<(Remote, String)>;

impl Remote {
    /// The scan of a source's table, if it is one.
    pub fn scan(scan: &TableScan, pushdown: bool) -> Option<Self> {
        let provider = source_as_provider(&scan.source).ok()?;
        let any: &dyn std::any::Any = provider.as_ref();
        let table = any.downcast_ref::<SourceTable>()?;
        // Providers that take no filters are given none.
        debug_assert!(scan.filters.is_empty());
        let rel = table.rel(scan.projection.as_deref());
        let remote = Self {
            handle: table.handle.clone(),
            keys: Keys::of_table(&table.table, &rel.schema()),
            rel,
            schema: scan.projected_schema.clone(),
            estimate: Estimate::of(&LogicalPlan::TableScan(scan.clone())),
            is_sealed: false,
        };
        match scan.fetch {
            // The limit above has stayed in the plan: this one only spares work.
            Some(fetch) if pushdown => {
                Some(remote.limited(fetch).unwrap_or_else(|refused| refused.0))
            }
            _ => Some(remote),
        }
    }

    pub fn finish(self) -> LogicalPlan {
        let node = FragmentNode {
            handle: self.handle,
            fragment: Arc::new(Fragment::new(self.rel)),
            schema: self.schema,
            keys: self.keys,
            estimate: self.estimate,
        };
        node.into_plan()
    }

    /// Only the given columns, in order.
    pub fn narrow(self, columns: &BTreeSet<usize>) -> Result<Self> {
        if columns.len() == self.schema.fields().len() {
            return Ok(self);
        }
        let fields = columns.iter().map(|i| {
            let (qualifier, field) = self.schema.qualified_field(*i);
            (qualifier.cloned(), field.clone())
        });
        let metadata = self.schema.metadata().clone();
        let schema = DFSchema::new_with_metadata(fields.collect(), metadata)?;
        let input = self.rel.schema();
        let kept = columns.iter().map(|i| {
            let field = input.field(*i);
            let column = belvedere_connector::Expr::column(
                *i,
                field.data_type().clone(),
                field.is_nullable(),
            );
            (column, field.name().clone())
        });
        let rel = Rel::Project {
            columns: kept.collect(),
            input: Box::new(self.rel),
        };
        if !self.handle.source.capabilities().node(&rel).is_exact() {
            let Rel::Project { input, .. } = rel else {
                unreachable!("just made")
            };
            return Ok(Self {
                rel: *input,
                ..self
            });
        }
        Ok(Self {
            keys: self.keys.above(&rel),
            rel,
            schema: Arc::new(schema),
            ..self
        })
    }

    /// The columns of this relation that the expressions read.
    pub fn columns_of<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> BTreeSet<usize> {
        exprs
            .into_iter()
            .flat_map(|e| e.column_refs())
            .filter_map(|c| self.schema.maybe_index_of_column(c))
            .collect()
    }

    /// This relation with `rel` on top of it, if the source answers that exactly; else itself again, and why not.
    pub fn grow(
        self,
        schema: &DFSchemaRef,
        estimate: Estimate,
        top: impl FnOnce(Box<Rel>) -> Rel,
    ) -> Result<Self, Refused> {
        let Self {
            handle,
            rel,
            schema: own_schema,
            keys,
            estimate: own_estimate,
            is_sealed,
        } = self;
        let rel = top(Box::new(rel));
        let support = match is_sealed && !rel.is_leakproof() {
            true => Support::No(BEHIND_BARRIER.to_string()),
            false => handle.source.capabilities().node(&rel),
        };
        match support {
            Support::Exact => Ok(Self {
                handle,
                keys: keys.above(&rel),
                rel,
                schema: schema.clone(),
                estimate,
                is_sealed,
            }),
            Support::Superset(why) | Support::No(why) => {
                let rel = only_input(rel);
                Err(Box::new((
                    Self {
                        handle,
                        rel,
                        schema: own_schema,
                        keys,
                        estimate: own_estimate,
                        is_sealed,
                    },
                    why,
                )))
            }
        }
    }

    /// At most `fetch` rows of it.
    pub fn limited(self, fetch: usize) -> Result<Self, Refused> {
        let schema = self.schema.clone();
        let estimate = self.estimate.clone().at_most(fetch);
        let top = |input| Rel::Limit {
            input,
            skip: 0,
            fetch: Some(fetch as u64),
        };
        self.grow(&schema, estimate, top)
    }

    /// Without the limit it ends with, if that is of these rows or more: the optimizer hands a limit on to the scan
    /// below.
    pub fn without_limit(self, rows: usize) -> Self {
        match self.rel {
            Rel::Limit {
                input,
                skip: 0,
                fetch: Some(fetch),
            } if fetch >= rows as u64 => Self {
                rel: *input,
                ..self
            },
            _ => self,
        }
    }

    /// With as many rows as there were last time, if it was asked before.
    pub fn with_learned_rows(self) -> Self {
        let conditions = Conditions::of(&self.rel);
        match conditions.and_then(|conditions| self.handle.learned.rows(conditions)) {
            Some(rows) => Self {
                estimate: self.estimate.learned(rows),
                ..self
            },
            None => self,
        }
    }

    /// What the user should know of a condition that the source by itself would answer otherwise.
    pub fn notice(&self, predicate: &belvedere_connector::Expr) -> Option<String> {
        let capabilities = self.handle.source.capabilities();
        let differs = capabilities.differs(predicate, &self.rel.schema())?;
        let source = &self.handle.name;
        let column = match self.rel.tables()[..] {
            [table] => format!("{}.{}", table.name, differs.column),
            _ => differs.column,
        };
        let (how, instead) = (differs.how, differs.instead);
        Some(format!(
            "{column} is compared exactly, letter by letter; {source} {how}. To ask for that: {instead}"
        ))
    }

    pub fn is_beside(&self, other: &Self) -> bool {
        self.handle.is_beside(&other.handle)
    }
}

/// What a relation of one input was made over.
fn only_input(rel: Rel) -> Rel {
    match rel {
        Rel::Filter { input, .. }
        | Rel::Project { input, .. }
        | Rel::Aggregate { input, .. }
        | Rel::Window { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. } => *input,
        other => other,
    }
}
