//! How a source is kept from being asked too much, and its outage from being felt by others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(feature = "table-provider")]
use crate::error::{Error, Result};

/// What a source is asked at most, and how patiently: the same for every kind of source. The engine keeps them; a source that
/// hands over a table provider has to keep those of a single request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Streams that are read at once; None: as many as it has connections.
    pub max_concurrent_fragments: Option<usize>,
    /// How long it may take to answer a question; None: as long as the statement may.
    pub statement_timeout: Option<Duration>,
    /// How long a scan waits for its turn; None: until the statement's deadline, without one for [`Self::PATIENCE`].
    pub queue_timeout: Option<Duration>,
    /// Bytes of its answers that wait in memory for whoever asked; None: as many as its streams read ahead.
    pub memory_limit: Option<usize>,
    /// How often a question is asked again that failed before its first row.
    pub retries: u32,
    /// Failures to reach it, in a row, after which it is left alone; 0: it never is.
    pub breaker_failures: u32,
    /// How long it is left alone at first.
    pub breaker_cooldown: Duration,
    /// From one look at a source without a log to the next, where that is how its changes are found.
    pub poll_interval: Duration,
    /// Bytes of its log that it may have to keep for us. With more it is let go, and what is followed is copied anew; None: it
    /// keeps what it takes.
    pub max_lag: Option<u64>,
}

impl Limits {
    pub const PATIENCE: Duration = Duration::from_secs(30);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_fragments: None,
            statement_timeout: None,
            queue_timeout: None,
            memory_limit: None,
            retries: 2,
            breaker_failures: 5,
            breaker_cooldown: Duration::from_secs(1),
            poll_interval: Duration::from_secs(5),
            max_lag: None,
        }
    }
}

/// What is known of a running statement where it asks a source; an extension of the session's configuration.
#[derive(Debug, Clone, Default)]
pub struct StatementContext {
    pub deadline: Option<Instant>,
    /// Whose statement it is: a session's number. Sessions take turns.
    pub asker: u64,
    pub spent: Arc<Spent>,
}

/// How long sources were at work for a statement, by name: from when each was sent a question to the end of its answer. Two that are at
/// work at the same time are so for as long as both together.
#[derive(Debug, Default)]
pub struct Spent(Mutex<BTreeMap<String, Duration>>);

impl Spent {
    pub fn add(&self, source: &str, time: Duration) {
        let mut spent = self.lock();
        match spent.get_mut(source) {
            Some(so_far) => *so_far += time,
            None => drop(spent.insert(source.to_string(), time)),
        }
    }

    pub fn by_source(&self) -> BTreeMap<String, Duration> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a table provider's requests to its source pass, each of them, as the engine's own do.
#[cfg(feature = "table-provider")]
#[async_trait::async_trait]
pub trait Door: std::fmt::Debug + Send + Sync {
    /// The right to send one request, until it is dropped. Waits for a turn; an error if none comes in time, or if the source
    /// is left alone for now. Whoever has it waits for nothing but the source.
    async fn enter(&self, statement: &StatementContext) -> Result<Box<dyn Send>>;

    /// How a request went, before its right is dropped.
    fn contacted(&self, error: Option<&Error>);
}
