use arrow::datatypes::Schema;
use belvedere_connector::{Capabilities, Expr, Rel, Support};

/// Any columns of a table, and the first rows of that.
#[derive(Debug)]
pub(crate) struct ScanAndLimit;

impl Capabilities for ScanAndLimit {
    fn predicate(&self, _predicate: &Expr, _input: &Schema) -> Support {
        Support::No("a source in memory evaluates no conditions".to_string())
    }

    fn node(&self, rel: &Rel) -> Support {
        match rel {
            Rel::Scan { .. } => Support::Exact,
            Rel::Limit { input, .. } if matches!(**input, Rel::Scan { .. }) => Support::Exact,
            _ => Support::No("a source in memory gives rows and evaluates nothing".to_string()),
        }
    }
}
