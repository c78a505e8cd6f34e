//! PostgreSQL's binary formats into Arrow builders, with no value type in between.
//!
//! The central type is [`BatchBuilder`]: a row's fields go in, batches come out. A column's decoder is chosen by the
//! type its field must have *and* the type the server says it sends; a pair without a decoder means that the table is
//! no longer the one that was discovered.
//!
//! | file | owns |
//! |---|---|
//! | `batch.rs` | [`BatchBuilder`]: rows to batches, cut by rows and by bytes |
//! | `column.rs` | one column: its builder and its format |
//! | `numeric.rs` | `numeric` to decimals, exactly or not at all |
//! | `copy.rs` | [`CopyFrames`]: the framing of `COPY … (FORMAT binary)` |

mod batch;
mod column;
mod copy;
mod numeric;

use belvedere_connector::Error;

pub use batch::{BatchBuilder, unfit};
pub use column::{ColumnDecoder, EPOCH_DAYS, EPOCH_MICROS};
pub use copy::CopyFrames;

/// Why a value could not be decoded; never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It has no place in the column's type.
    Value(&'static str),
    /// The bytes are not of the format: the column's type has changed, or this is a bug.
    Format,
}

/// What the server sent is not of the protocol.
fn malformed() -> Error {
    Error::internal("the server's answer is not of the form that was asked for")
}
