//! Rows that an expression fails for, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};

use crate::error::Error;
use crate::store::ZSet;

/// Messages, with how many of each come or go.
#[derive(Debug, Default)]
pub(super) struct Errors(BTreeMap<String, i64>);

impl Errors {
    pub(super) fn add(&mut self, message: String, weight: i64) {
        *self.0.entry(message).or_default() += weight;
    }

    /// As rows of one column.
    pub(super) fn zset(self) -> Result<ZSet> {
        let changed = self.0.into_iter().filter(|(_, weight)| *weight != 0);
        let (messages, weights): (Vec<String>, Vec<i64>) = changed.unzip();
        let messages: ArrayRef = Arc::new(StringArray::from(messages));
        Ok(ZSet::new(
            RecordBatch::try_new(schema(), vec![messages])?,
            weights,
        )?)
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "message",
        DataType::Utf8,
        false,
    )]))
}

/// What to say of a row for which an expression has failed: without its values. What has nothing to do with the row
/// (memory, a table that is full) stays an error.
pub(super) fn message(e: DataFusionError) -> Result<String> {
    if let DataFusionError::External(inner) = e.find_root()
        && inner.is::<crate::store::Error>()
    {
        return Err(e);
    }
    match Error::from(e) {
        Error::Data { message, .. } => Ok(message),
        // Functions are not at one about which of their errors are their arguments'.
        Error::Internal(_) | Error::Plan(_) => Ok("an expression cannot be computed".into()),
        Error::NotInThisVersion { .. } => Ok("an expression cannot be computed of a value".into()),
        other => Err(other.into()),
    }
}
