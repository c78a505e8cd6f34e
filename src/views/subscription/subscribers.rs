//! Who subscribes now.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::super::journal::Journal;
use super::Order;

/// Everyone who is told something now, by number.
#[derive(Debug, Default)]
pub struct Subscribers(Mutex<(u64, BTreeMap<u64, Arc<Subscriber>>)>);

/// One of them.
#[derive(Debug)]
pub struct Subscriber {
    pub number: u64,
    pub order: Order,
    pub since: DateTime<Utc>,
    progress: Mutex<Progress>,
    /// Of a view that is kept by change.
    journal: Option<Arc<Journal>>,
}

/// What somebody was told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// All up to it.
    pub epoch: Option<u64>,
    pub rows: u64,
}

/// A subscriber's place among them, as long as he is there.
#[derive(Debug)]
pub(super) struct Seat {
    subscriber: Arc<Subscriber>,
    all: Arc<Subscribers>,
}

impl Subscribers {
    pub fn all(&self) -> Vec<Arc<Subscriber>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.1.values().cloned().collect()
    }

    pub(super) fn seat(self: &Arc<Self>, order: Order, journal: Option<Arc<Journal>>) -> Seat {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.0 += 1;
        let subscriber = Arc::new(Subscriber {
            number: all.0,
            order,
            since: Utc::now(),
            progress: Mutex::default(),
            journal,
        });
        all.1.insert(subscriber.number, subscriber.clone());
        Seat {
            subscriber,
            all: self.clone(),
        }
    }
}

impl Subscriber {
    pub fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows and bytes of changes that wait until this one takes them.
    pub fn waiting(&self) -> (u64, u64) {
        match (&self.journal, self.progress().epoch) {
            (Some(journal), Some(epoch)) => journal.waiting(epoch),
            _ => (0, 0),
        }
    }
}

impl Seat {
    pub fn told(&self, progress: Progress) {
        let mut told = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *told = progress;
    }
}

impl Deref for Seat {
    type Target = Subscriber;

    fn deref(&self) -> &Subscriber {
        &self.subscriber
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.1.remove(&self.number);
    }
}
