//! How far a step is, told while it goes on; and whether anybody still wants it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use datafusion::common::{Result, exec_err};

/// Rows of inputs that a step has taken, of how many. Shared between who computes and who watches.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    all: AtomicU64,
    is_cancelled: AtomicBool,
}

impl Progress {
    /// So many rows are to be taken.
    pub fn begin(&self, rows: u64) {
        self.all.store(rows, Ordering::Relaxed);
    }

    /// How many have been taken, and how many there are.
    pub fn rows(&self) -> (u64, u64) {
        let all = self.all.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed).min(all), all)
    }

    /// The step is to end as soon as it can, with an error.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub(super) fn took(&self, rows: u64) {
        self.done.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn go_on(&self) -> Result<()> {
        match self.is_cancelled.load(Ordering::Relaxed) {
            true => exec_err!("what it computes is not wanted any more"),
            false => Ok(()),
        }
    }
}
