use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::Definition;
use crate::catalog::SYSTEM;
use crate::engine::names::Names;
use crate::error::{Error, Result};

/// The session's settings.
pub(super) const SETTINGS: Definition =
    Definition { schema_name: SYSTEM, name: "settings", columns, rows };

fn columns() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![text("name"), text("value"), text("description")]))
}

fn rows(names: &Names) -> Result<RecordBatch> {
    let all: Vec<_> = names.settings.iter().collect();
    let name = StringArray::from_iter_values(all.iter().map(|s| s.0));
    let value = StringArray::from_iter_values(all.iter().map(|s| &s.1));
    let description = StringArray::from_iter_values(all.iter().map(|s| s.2));
    RecordBatch::try_new(columns(), vec![Arc::new(name), Arc::new(value), Arc::new(description)])
        .map_err(|e| Error::Internal(e.to_string()))
}
