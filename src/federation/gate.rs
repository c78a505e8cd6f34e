use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a scan waits that has no deadline.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where scans wait for a source that answers so many streams at once, in the order in which they came.
#[derive(Debug)]
pub struct Gate {
    most: usize,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The right to read one stream of a source, until it is dropped.
pub type Place = OwnedSemaphorePermit;

impl Gate {
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            most,
            places: Arc::new(Semaphore::new(most)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Places for at most so many streams: waits for the first, and takes what is free of the others. So that whoever
    /// has a place never waits here for another.
    pub async fn enter(
        &self,
        streams: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<Place>, Error> {
        let until = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
        let waits = Waits::begin(&self.waiting);
        let first = tokio::time::timeout_at(until.into(), self.places.clone().acquire_owned());
        let first = match first.await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Error::internal("the gate is closed")),
            Err(_) => return Err(self.busy()),
        };
        drop(waits);
        let more = (1..streams).map_while(|_| self.places.clone().try_acquire_owned().ok());
        Ok(std::iter::once(first).chain(more).collect())
    }

    /// Streams that are read at most; None: any number.
    pub fn most(&self) -> Option<usize> {
        (self.most < Semaphore::MAX_PERMITS).then_some(self.most)
    }

    /// Scans that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Streams that are read.
    pub fn running(&self) -> usize {
        self.most - self.places.available_permits()
    }

    fn busy(&self) -> Error {
        Error::new(
            Code::Busy,
            format!("none of its {} connections became free in time", self.most),
        )
        .help("Try again, give the statement more time, or raise max_connections of the source")
    }
}

/// Counted as waiting until dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
