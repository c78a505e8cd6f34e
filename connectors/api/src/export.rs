use std::fmt::Debug;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::config::SourceConfig;
use crate::error::Result;

/// What `COPY … TO` says.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The URL to write to, and [options](crate::Connector::export_options): known ones only. The name is that of the
    /// source whose access is used; empty if there is none.
    pub config: SourceConfig,
    /// Of the rows that will come.
    pub columns: SchemaRef,
    /// Columns that become folders, outermost first.
    pub partition_by: Vec<String>,
}

/// A place, and the form in which rows are written there: checked, and nothing done yet.
#[async_trait]
pub trait Export: Debug + Send + Sync {
    /// For `EXPLAIN`: what would be written, and where.
    fn describe(&self) -> String;

    /// The rows must come in the order of these columns, by position: rows of equal values behind one another.
    fn ordered_by(&self) -> &[usize];

    /// Contact the place and make ready; what is already there is an error, unless it is to be replaced.
    async fn begin(&self) -> Result<Box<dyn ExportWriter>>;
}

/// Rows on their way to a place. Nobody sees any of them before [`ExportWriter::commit`]; a writer that is dropped
/// without it removes, in the background, what it wrote.
#[async_trait]
pub trait ExportWriter: Send {
    /// Write rows; waits for the place, so that what is held stays small. After an error only `abort` is of use.
    async fn write(&mut self, batch: RecordBatch) -> Result<()>;

    /// Make all of it durable and seen at once. If that cannot begin before the deadline, nothing is seen, and the error
    /// is [`Code::Timeout`](crate::Code::Timeout).
    async fn commit(self: Box<Self>, deadline: Option<Instant>) -> Result<Exported>;

    /// Remove what was written; it is gone when this returns.
    async fn abort(self: Box<Self>);
}

/// What an export has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    pub rows: u64,
    pub files: u64,
    /// Of the files, as they lie there.
    pub bytes: u64,
}
