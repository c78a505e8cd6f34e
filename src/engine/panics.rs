use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::error::{Error, Result};

/// A panic of a library, on input that its author did not think of, is an error of the statement that met it, alone.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    // What the work held is dropped with it, and nothing shared is left half changed: the world changes in one step.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            // A message that was put together may show a value.
            let message = panic.downcast_ref::<&'static str>().unwrap_or(&"");
            Err(Error::Internal(format!("a panic: {message}")))
        }
    }
}
