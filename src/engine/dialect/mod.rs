//! What PostgreSQL's users mean, where DataFusion takes the same words otherwise, or not at all: in a query's words before it is
//! planned, in its operators while it is, and, once types are known, in its plan. What is kept, and what sources are asked, is made
//! of what comes out of here.
//!
//! | file | owns |
//! |---|---|
//! | `words.rs` | types, functions and operators in words that DataFusion has |
//! | `operators.rs` | operators over types that DataFusion does not combine |
//! | `meaning.rs` | casts and calls by the types of what they are about, and by the session's time zone |
//! | `compared.rs` | comparisons, and values of which one is chosen |
//! | `clock.rs` | `now()` |
//! | `moments.rs` | texts that stand for dates and times |
//! | `numbers.rs` | numbers with a point |
//! | `bytes.rs` | `bytea` |
//! | `arrays.rs` | `= ANY (array)` |
//! | `functions.rs` | functions, one row after the other |
//! | `intervals.rs` | `age`, `make_interval`, `interval * n` |
//! | `patterns.rs` | `SIMILAR TO` |
//! | `formats.rs` | PostgreSQL's patterns of times; `to_char` of times |
//! | `parsed.rs` | `to_date`, `to_timestamp`: texts by these patterns |
//! | `digits.rs` | `to_char` of numbers |

mod arrays;
mod bytes;
mod clock;
mod compared;
mod digits;
mod formats;
mod functions;
mod intervals;
mod meaning;
mod moments;
mod numbers;
mod operators;
mod parsed;
mod patterns;
mod words;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;

#[cfg(feature = "serve")]
pub(crate) use bytes::bytes_of;
pub(super) use bytes::read_bytes;
#[cfg(feature = "serve")]
pub(crate) use functions::uuid_of;
pub(super) use meaning::meant;
pub(super) use moments::read_times;
pub(super) use numbers::{long_numbers, written_numbers};
pub(super) use words::in_words;

/// The functions and operators that all sessions have.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    let own = [
        functions::all(),
        clock::functions(),
        intervals::functions(),
        formats::functions(),
        parsed::functions(),
    ];
    for function in own.into_iter().flatten() {
        // By another name of it, DataFusion's would come back whenever a state is made of this one.
        state.deregister_udf(function.name())?;
        state.register_udf(Arc::new(function))?;
    }
    state.register_expr_planner(Arc::new(operators::Operators))
}

/// A value of a statement that is none.
fn wrong(message: impl Into<String>, sqlstate: &'static str) -> datafusion::error::DataFusionError {
    crate::error::Error::Data {
        message: message.into(),
        sqlstate,
    }
    .into()
}
