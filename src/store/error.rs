use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with a change, or with a question. No message holds a cell's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A change takes away a row, or more copies of it, than there are. `row` is its number in the change, from 0.
    #[error(
        "epoch {epoch} of table {table} takes away a row that is not there: row {row} of the change, by {key}"
    )]
    Missing {
        table: String,
        epoch: u64,
        row: usize,
        key: String,
    },
    /// A change would give a key two rows.
    #[error(
        "epoch {epoch} of table {table} gives a key a second row: row {row} of the change, by {key}"
    )]
    Duplicate {
        table: String,
        epoch: u64,
        row: usize,
        key: String,
    },
    /// Epochs only grow.
    #[error("table {table} is at epoch {at}: a change for epoch {epoch} comes too late")]
    Late { table: String, at: u64, epoch: u64 },
    /// Columns or types other than those of the table or the index.
    #[error("{0}")]
    Shape(String),
    /// No position is left.
    #[error("table {table} is full: it has {rows} rows, live and dead")]
    Full { table: String, rows: u64 },
    /// A kernel of Arrow refused: text of a batch beyond 2 GB, a type it does not know.
    #[error("rows cannot be copied ({0})")]
    Arrow(&'static str),
}

/// By kind alone: Arrow's messages may quote values.
impl From<ArrowError> for Error {
    fn from(e: ArrowError) -> Self {
        Self::Arrow(match e {
            ArrowError::NotYetImplemented(_) => "a type that is not supported",
            ArrowError::OffsetOverflowError(_) => "more than 2 GB of text in one batch",
            ArrowError::MemoryError(_) => "memory",
            ArrowError::SchemaError(_) | ArrowError::InvalidArgumentError(_) => {
                "types that do not fit"
            }
            _ => "an operation of Arrow failed",
        })
    }
}

impl From<Error> for DataFusionError {
    fn from(e: Error) -> Self {
        Self::External(Box::new(e))
    }
}
