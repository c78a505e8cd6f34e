use arrow::datatypes::Schema;
use belvedere_connector::{Capabilities, Expr, Fragment, Rel, Support};

use crate::dialect::Dialect;
use crate::select;

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

    fn node(&self, rel: &Rel) -> Support {
        match select::render(&Fragment::new(rel.clone()), &self.dialect) {
            Ok(_) => Support::Exact,
            Err(why) => Support::No(why),
        }
    }
}
