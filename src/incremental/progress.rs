//! How far a step is, told while it goes on; whether anybody still wants it, and whether there is memory for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use datafusion::common::{Result, exec_err};

use crate::memory::Taking;

/// Rows of inputs that a step has taken, of how many. Shared between who computes and who watches.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    all: AtomicU64,
    is_cancelled: AtomicBool,
    /// None: nobody counts what it takes.
    taking: Option<Taking>,
}

impl Progress {
    /// Of a step that takes memory of a share.
    pub fn within(taking: Taking) -> Self {
        Self {
            taking: Some(taking),
            ..Self::default()
        }
    }

    pub fn taking(&self) -> Option<&Taking> {
        self.taking.as_ref()
    }

    /// So many bytes more are in memory.
    ///
    /// # Errors
    /// If there is no room for them.
    pub fn takes(&self, bytes: usize) -> Result<()> {
        match &self.taking {
            Some(taking) if !taking.take(bytes) => {
                exec_err!("there is no room for what it computes")
            }
            _ => Ok(()),
        }
    }

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
