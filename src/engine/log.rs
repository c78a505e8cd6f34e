use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::freshness::Freshness;

/// Statements kept.
const KEPT: usize = 10_000;
/// Bytes of a statement's text kept.
const TEXT_BYTES: usize = 16 << 10;

/// What ran, newest last, in memory.
#[derive(Debug, Default)]
pub(super) struct QueryLog {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    kept: VecDeque<Arc<Entry>>,
}

/// One statement.
#[derive(Debug)]
pub(super) struct Entry {
    pub id: u64,
    pub sql: String,
    /// Microseconds since the epoch, UTC.
    pub started_at_us: i64,
    started: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub rows: u64,
    /// What it was made of, if it is a query.
    pub freshness: Option<Arc<Freshness>>,
    pub state: RunState,
}

/// Set by the statement's answer; none is left after the process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RunState {
    Running,
    Finished {
        ms: f64,
    },
    /// With the error's text.
    Failed {
        ms: f64,
        error: String,
    },
    /// Its reader went away.
    Cancelled {
        ms: f64,
    },
}

impl QueryLog {
    pub fn begin(&self, sql: &str) -> Running {
        let mut text = sql.to_string();
        if text.len() > TEXT_BYTES {
            text.truncate(text.floor_char_boundary(TEXT_BYTES));
            text.push('…');
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::new(Entry {
            id: entries.next_id,
            sql: text,
            started_at_us: chrono::Utc::now().timestamp_micros(),
            started: Instant::now(),
            progress: Mutex::new(Progress {
                rows: 0,
                freshness: None,
                state: RunState::Running,
            }),
        });
        entries.next_id += 1;
        entries.kept.push_back(entry.clone());
        if entries.kept.len() > KEPT {
            entries.kept.pop_front();
        }
        Running(entry)
    }

    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kept
            .iter()
            .cloned()
            .collect()
    }
}

impl Entry {
    pub fn progress(&self) -> Progress {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1e3
    }

    fn update(&self, change: impl FnOnce(&mut Progress, f64)) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.state == RunState::Running {
            change(&mut progress, self.elapsed_ms());
        }
    }
}

/// A statement on its way. Dropped before it ended, it was cancelled.
#[derive(Debug)]
pub(super) struct Running(Arc<Entry>);

impl Running {
    pub fn rows(&self, count: usize) {
        self.0.update(|progress, _| progress.rows += count as u64);
    }

    pub fn served(&self, freshness: &Freshness) {
        if !freshness.parts.is_empty() {
            let freshness = Arc::new(freshness.clone());
            self.0
                .update(|progress, _| progress.freshness = Some(freshness));
        }
    }

    pub fn finished(&self) {
        self.0
            .update(|progress, ms| progress.state = RunState::Finished { ms });
    }

    pub fn failed(&self, error: &crate::Error) {
        let error = error.to_string();
        self.0
            .update(|progress, ms| progress.state = RunState::Failed { ms, error });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .update(|progress, ms| progress.state = RunState::Cancelled { ms });
    }
}
