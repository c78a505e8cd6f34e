use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use belvedere_connector::Spent;
use datafusion::arrow::array::RecordBatch;

use super::audited::Audited;
use super::standing::Allowance;
use crate::error::{Error, Result};
use crate::freshness::Freshness;

/// Statements kept.
const KEPT: usize = 10_000;
/// Bytes of a statement's text kept.
pub(super) const TEXT_BYTES: usize = 16 << 10;

/// Upper bounds in milliseconds of how long statements took, as they are counted; those that took longer have a count of their own.
pub(super) const BOUNDS_MS: [f64; 12] = [
    1.0, 2.5, 5.0, 10.0, 25.0, 100.0, 250.0, 1000.0, 2500.0, 10_000.0, 60_000.0, 600_000.0,
];

/// What ran, newest last, in memory.
#[derive(Debug, Default)]
pub(super) struct QueryLog {
    entries: Mutex<Entries>,
    counts: Arc<Counts>,
}

/// All statements since the engine was started, those that are kept no more among them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    begun: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    rows: AtomicU64,
    /// By the first of [`BOUNDS_MS`] that is not exceeded.
    took: [AtomicU64; BOUNDS_MS.len() + 1],
    took_us: AtomicU64,
}

/// The same at one moment.
#[cfg(feature = "serve")]
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    pub running: u64,
    pub finished: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub rows: u64,
    /// An upper bound in seconds, and how many took no longer than that; the last has no bound.
    pub took: Vec<(Option<f64>, u64)>,
    pub took_seconds: f64,
}

impl Counts {
    fn ended(&self, how: &AtomicU64, ms: f64) {
        how.fetch_add(1, Ordering::Relaxed);
        let bucket = BOUNDS_MS.iter().position(|bound| ms <= *bound);
        self.took[bucket.unwrap_or(BOUNDS_MS.len())].fetch_add(1, Ordering::Relaxed);
        self.took_us.fetch_add((ms * 1e3) as u64, Ordering::Relaxed);
    }

    #[cfg(feature = "serve")]
    fn now(&self) -> Counted {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let bounds = BOUNDS_MS.iter().map(|ms| Some(ms / 1e3)).chain([None]);
        let mut so_far = 0;
        let took = bounds.zip(&self.took).map(|(bound, count)| {
            so_far += of(count);
            (bound, so_far)
        });
        let took = took.collect();
        let ended = of(&self.finished) + of(&self.failed) + of(&self.cancelled);
        Counted {
            running: of(&self.begun).saturating_sub(ended),
            finished: of(&self.finished),
            failed: of(&self.failed),
            cancelled: of(&self.cancelled),
            rows: of(&self.rows),
            took,
            took_seconds: of(&self.took_us) as f64 / 1e6,
        }
    }
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
    /// Whose it was. None: the administrator's.
    pub user: Option<Arc<str>>,
    /// Microseconds since the epoch, UTC.
    pub started_at_us: i64,
    started: Instant,
    pub spent: Arc<Spent>,
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
    /// A statement of a user, of which there is a record or not. No password is kept of it.
    pub fn begin(&self, sql: &str, user: Option<Arc<str>>, audited: Option<Audited>) -> Running {
        let end = sql.floor_char_boundary(TEXT_BYTES.min(sql.len()));
        // What is behind is not looked at: a text may be long.
        let mut text = belvedere_sql::redacted(&sql[..end]).into_owned();
        if end < sql.len() {
            text.push('…');
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::new(Entry {
            id: entries.next_id,
            sql: text,
            user,
            started_at_us: chrono::Utc::now().timestamp_micros(),
            started: Instant::now(),
            spent: Arc::default(),
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
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        Running {
            allowance: None,
            entry,
            counts: self.counts.clone(),
            audited,
        }
    }

    /// How many there were, and how they went.
    #[cfg(feature = "serve")]
    pub fn counted(&self) -> Counted {
        self.counts.now()
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

    /// False: it had ended before.
    fn update(&self, change: impl FnOnce(&mut Progress)) -> bool {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = progress.state == RunState::Running;
        if runs {
            change(&mut progress);
        }
        runs
    }
}

/// A statement on its way. Dropped before it ended, it was cancelled.
#[derive(Debug)]
pub(super) struct Running {
    /// What its user's limits say of it.
    allowance: Option<Allowance>,
    entry: Arc<Entry>,
    counts: Arc<Counts>,
    audited: Option<Audited>,
}

impl Running {
    /// To be told how long sources are at work for it.
    pub fn spent(&self) -> &Arc<Spent> {
        &self.entry.spent
    }

    /// Its text, as it is shown.
    pub fn sql(&self) -> &str {
        &self.entry.sql
    }

    /// None: there is no record of it.
    pub fn audited(&self) -> Option<&Audited> {
        self.audited.as_ref()
    }

    /// It goes on as another statement, of which there is a record.
    #[cfg(feature = "serve")]
    pub fn passed_on(mut self) {
        self.audited = None;
        self.finished();
    }

    /// What it may be.
    pub fn within(mut self, allowance: Allowance) -> Self {
        self.allowance = Some(allowance);
        self
    }

    /// # Errors
    /// Its user has as many running as may be.
    pub fn begins(&self) -> Result<()> {
        self.allowance.as_ref().map_or(Ok(()), Allowance::begins)
    }

    /// These rows are about to be told.
    ///
    /// # Errors
    /// They are more than may be.
    pub fn rows(&self, rows: &RecordBatch) -> Result<()> {
        let taken = self
            .allowance
            .as_ref()
            .map(|allowance| allowance.takes(rows));
        taken.unwrap_or(Ok(()))?;
        let count = rows.num_rows();
        self.entry.update(|progress| progress.rows += count as u64);
        self.counts.rows.fetch_add(count as u64, Ordering::Relaxed);
        Ok(())
    }

    /// An error, as its user is told of it.
    pub fn shown_error(&self, e: Error) -> Error {
        match &self.allowance {
            Some(allowance) => allowance.shown(e),
            None => e,
        }
    }

    pub fn served(&self, freshness: &Arc<Freshness>) {
        if !freshness.parts.is_empty() {
            let freshness = freshness.clone();
            self.entry
                .update(|progress| progress.freshness = Some(freshness));
        }
    }

    pub fn finished(&self) {
        let counts = &self.counts;
        self.end(&counts.finished, None, |ms| RunState::Finished { ms });
    }

    pub fn failed(&self, failed: &crate::Error) {
        let error = failed.to_string();
        let counts = &self.counts;
        let code = Some(failed.sqlstate());
        self.end(&counts.failed, code, |ms| RunState::Failed { ms, error });
    }

    fn end(
        &self,
        how: &AtomicU64,
        failed: Option<&'static str>,
        state: impl FnOnce(f64) -> RunState,
    ) {
        let ms = self.entry.elapsed_ms();
        let mut rows = 0;
        let ends = self.entry.update(|progress| {
            progress.state = state(ms);
            rows = progress.rows;
        });
        if ends {
            self.counts.ended(how, ms);
            if let Some(audited) = &self.audited {
                audited.ended(&self.entry.sql, rows, failed, ms);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let counts = &self.counts;
        let code = Some(crate::Error::Cancelled.sqlstate());
        self.end(&counts.cancelled, code, |ms| RunState::Cancelled { ms });
    }
}
