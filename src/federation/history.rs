use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use belvedere_connector::{Fragment, Spent, StatementContext};
use datafusion::arrow::array::RecordBatch;

use super::learned::Conditions;
use super::provider::SourceHandle;

/// Questions kept of each source.
const KEPT: usize = 1_000;

/// What a source was asked, the newest last, in memory.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Arc<Question>>>);

/// One question to a source, and what came of it.
#[derive(Debug)]
pub struct Question {
    /// As it was planned: without the keys that a running query adds.
    pub fragment: Arc<Fragment>,
    /// Rows that were expected, if that was more than a guess.
    pub expected: Option<u64>,
    /// Microseconds since the epoch, UTC.
    pub asked_at_us: i64,
    begun: Instant,
    attempts: AtomicUsize,
    waited_us: AtomicU64,
    first_us: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    spilled: AtomicBool,
    outcome: Mutex<Outcome>,
}

/// Set by the streams of the answer; none is left after the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Outcome {
    #[default]
    Running,
    Finished(Duration),
    Failed(Duration, String),
    /// The query needed no more, or ended.
    Dropped(Duration),
}

/// What a question has come to by now.
#[derive(Debug)]
pub struct Progress {
    /// How often it was sent: more than once if it failed before its first row, never if it was answered with another
    /// that asked the same.
    pub attempts: usize,
    /// For a place at the source.
    pub waited: Duration,
    /// Until there were rows; None: there are none yet.
    pub first: Option<Duration>,
    pub rows: u64,
    /// As decoded.
    pub bytes: u64,
    /// Until its end, or by now.
    pub lasted: Duration,
    /// Nobody took some of it for a while: it went to disk.
    pub spilled: bool,
    pub outcome: Outcome,
}

impl History {
    /// Another one, for a statement.
    pub fn ask(
        &self,
        fragment: Arc<Fragment>,
        expected: Option<u64>,
        handle: &Arc<SourceHandle>,
        statement: &StatementContext,
    ) -> Asking {
        let question = Arc::new(Question {
            fragment,
            expected,
            asked_at_us: chrono::Utc::now().timestamp_micros(),
            begun: Instant::now(),
            attempts: AtomicUsize::default(),
            waited_us: AtomicU64::default(),
            first_us: AtomicU64::default(),
            rows: AtomicU64::default(),
            bytes: AtomicU64::default(),
            spilled: AtomicBool::default(),
            outcome: Mutex::default(),
        });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(question.clone());
        Asking {
            question,
            streams: AtomicUsize::default(),
            handle: handle.clone(),
            teaches: None,
            spent: statement.spent.clone(),
        }
    }

    pub fn questions(&self) -> Vec<Arc<Question>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }
}

impl Question {
    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn progress(&self) -> Progress {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let first = load(&self.first_us);
        let outcome = self.outcome().clone();
        Progress {
            lasted: match outcome {
                Outcome::Running => self.begun.elapsed(),
                Outcome::Finished(after) | Outcome::Failed(after, _) | Outcome::Dropped(after) => {
                    after
                }
            },
            attempts: self.attempts.load(Ordering::Relaxed),
            waited: Duration::from_micros(load(&self.waited_us)),
            first: (first > 0).then(|| Duration::from_micros(first)),
            rows: load(&self.rows),
            bytes: load(&self.bytes),
            spilled: self.spilled.load(Ordering::Relaxed),
            outcome,
        }
    }

    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question on its way. Dropped before its end, nobody needed the rest.
#[derive(Debug)]
pub struct Asking {
    question: Arc<Question>,
    /// That have not ended.
    streams: AtomicUsize,
    handle: Arc<SourceHandle>,
    /// Of what the source's handle is told how many rows there were.
    teaches: Option<Conditions>,
    spent: Arc<Spent>,
}

impl Asking {
    /// What comes of it is what will be expected next time.
    pub fn teaching(mut self) -> Self {
        self.teaches = Conditions::of(&self.question.fragment.rel);
        self
    }

    pub fn question(&self) -> &Arc<Question> {
        &self.question
    }

    /// The source has room for so many streams of the answer; it is sent the question.
    pub fn admitted(&self, streams: usize, waited: Duration) {
        let question = &self.question;
        question.attempts.fetch_add(1, Ordering::Relaxed);
        let waited = waited.as_micros() as u64;
        question.waited_us.fetch_add(waited, Ordering::Relaxed);
        self.streams.store(streams, Ordering::Relaxed);
    }

    /// With so many streams that another question, which is the same, is sent for.
    pub fn answered(&self, streams: usize) {
        let waited = self.question.elapsed().as_micros() as u64;
        self.question.waited_us.store(waited, Ordering::Relaxed);
        self.streams.store(streams, Ordering::Relaxed);
    }

    pub fn batch(&self, batch: &RecordBatch) {
        let question = &self.question;
        if question
            .rows
            .fetch_add(batch.num_rows() as u64, Ordering::Relaxed)
            == 0
        {
            let first = question.elapsed().as_micros().max(1) as u64;
            question.first_us.store(first, Ordering::Relaxed);
        }
        let bytes = batch.get_array_memory_size() as u64;
        question.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn spilled(&self) {
        self.question.spilled.store(true, Ordering::Relaxed);
    }

    /// One of the streams has.
    pub fn ended(&self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.end(Outcome::Finished);
            if let Some(conditions) = &self.teaches
                && matches!(*self.question.outcome(), Outcome::Finished(_))
            {
                let rows = self.question.rows.load(Ordering::Relaxed);
                self.handle.learned.learn(*conditions, rows);
            }
        }
    }

    pub fn failed(&self, error: impl ToString) {
        self.end(|after| Outcome::Failed(after, error.to_string()));
    }

    /// The first end counts.
    fn end(&self, outcome: impl FnOnce(Duration) -> Outcome) {
        let question = &self.question;
        let mut known = question.outcome();
        if *known != Outcome::Running {
            return;
        }
        let lasted = question.elapsed();
        *known = outcome(lasted);
        // What was answered with another one has cost no time there.
        if question.attempts.load(Ordering::Relaxed) > 0 {
            let waited = Duration::from_micros(question.waited_us.load(Ordering::Relaxed));
            self.spent
                .add(&self.handle.name, lasted.saturating_sub(waited));
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.end(Outcome::Dropped);
    }
}
