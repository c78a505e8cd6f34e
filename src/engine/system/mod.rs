//! What the engine knows, as tables. Each is one [`Definition`]: name, columns, and the function that makes its rows
//! from the world a statement sees.

mod settings;
mod sources;
mod types;

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;

use super::names::Names;
use crate::catalog::SystemTable;
use crate::error::Result;

pub(super) use types::sql_type;

/// One system table.
pub(super) struct Definition {
    schema_name: &'static str,
    name: &'static str,
    columns: fn() -> SchemaRef,
    rows: fn(&Names) -> Result<RecordBatch>,
}

const ALL: &[Definition] = &[settings::SETTINGS, sources::SOURCES];

/// The table of this name, as the statement of these names sees it.
pub(super) fn table(schema: &str, name: &str, names: &Names) -> Option<Arc<dyn SystemTable>> {
    let definition = ALL.iter().find(|d| d.schema_name == schema && d.name == name)?;
    Some(Arc::new(Bound { definition, names: names.clone() }))
}

/// Schema and name of each.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.iter().map(|d| (d.schema_name, d.name))
}

struct Bound {
    definition: &'static Definition,
    names: Names,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.definition.schema_name, self.definition.name)
    }
}

impl SystemTable for Bound {
    fn schema_name(&self) -> &'static str {
        self.definition.schema_name
    }

    fn name(&self) -> &'static str {
        self.definition.name
    }

    fn schema(&self) -> SchemaRef {
        (self.definition.columns)()
    }

    fn rows(&self) -> Result<RecordBatch, DataFusionError> {
        Ok((self.definition.rows)(&self.names)?)
    }
}
