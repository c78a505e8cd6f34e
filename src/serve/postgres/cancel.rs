use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The connections whose statements can be cancelled, by the number that each was told.
#[derive(Debug, Default)]
pub(super) struct Cancels(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: i32,
    open: HashMap<i32, (i32, Arc<Asked>)>,
}

/// Whether somebody has asked to cancel what runs.
#[derive(Debug, Default)]
struct Asked {
    is_asked: AtomicBool,
    waiting: Notify,
}

/// A connection that others may ask to cancel what it runs, as long as this lives.
#[derive(Debug)]
pub(super) struct Cancel {
    cancels: Arc<Cancels>,
    pub process: i32,
    /// Only who knows it may cancel.
    pub secret: i32,
    asked: Arc<Asked>,
}

impl Cancels {
    pub fn enter(self: &Arc<Self>) -> Cancel {
        let mut known = self.known();
        let process = loop {
            known.last = known.last.checked_add(1).unwrap_or(1);
            if !known.open.contains_key(&known.last) {
                break known.last;
            }
        };
        let asked = Arc::<Asked>::default();
        // Not to be guessed: of the operating system's randomness, by way of the hasher's keys.
        let secret = {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(process) as i32
        };
        known.open.insert(process, (secret, Arc::clone(&asked)));
        Cancel {
            cancels: Arc::clone(self),
            process,
            secret,
            asked,
        }
    }

    pub fn cancel(&self, process: i32, secret: i32) {
        if let Some((expected, asked)) = self.known().open.get(&process)
            && *expected == secret
        {
            asked.is_asked.store(true, Ordering::Release);
            asked.waiting.notify_waiters();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// A statement begins: what was asked before was about another.
    pub fn forget(&self) {
        self.asked.is_asked.store(false, Ordering::Release);
    }

    /// Ready once somebody has asked since the statement began.
    pub async fn asked(&self) {
        let mut waiting = std::pin::pin!(self.asked.waiting.notified());
        // From here on nobody who asks is missed.
        waiting.as_mut().enable();
        if !self.asked.is_asked.load(Ordering::Acquire) {
            waiting.await;
        }
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.cancels.known().open.remove(&self.process);
    }
}
