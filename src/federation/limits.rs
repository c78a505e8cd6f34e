use std::time::Duration;

/// What a source is asked at most, and how patiently: the same for every kind of source.
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
        }
    }
}
