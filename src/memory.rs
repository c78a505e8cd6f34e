//! Memory for what is kept by change: one limit for all of it.
//!
//! The central type is [`Memory`]: how much there may be, and is. What each view and each source's tables have is a [`Share`] of
//! it, and what a step of a view needs while it goes on is [`Taking`].
//!
//! ```text
//!   0 ───────────────────────────────────── ⅞ ──────────────── limit
//!     whoever needs more takes it            │ small steps     │ what takes no more than it had
//!     views are filled, tables are copied    │ sources' changes│
//! ```
//!
//! *Who needs more than there is waits, and goes on by itself once there is room; nobody is made to give up what he has.* So
//! nothing has to be said of which views matter more than others, and no view makes an older one compute anew. The last eighth
//! is why a view that is too large stops nobody but itself: it is refused before that, and in what is left the others go on with
//! small changes. One that has *grown* there, and not only changed, waits after its step, so that the eighth does not fill up
//! with what is small.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// If nothing else is said.
pub const DEFAULT_LIMIT: usize = 4 << 30;

/// How many bytes may be kept, and how many are. What is allocated is not looked at: who keeps something says how much it is.
#[derive(Debug)]
pub struct Memory {
    /// None: as many as there are.
    limit: Option<usize>,
    used: AtomicUsize,
}

/// What one of those who keep something has. It is given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    bytes: AtomicUsize,
}

/// What a step takes, until it is known what is kept of it.
#[derive(Debug)]
pub struct Taking {
    share: Arc<Share>,
    /// What there was before.
    before: usize,
    taken: AtomicUsize,
    /// It takes away more than it brings: it goes on, since that makes room.
    is_shrinking: AtomicBool,
    /// How much it would have taken when it was refused.
    refused: AtomicUsize,
}

impl Memory {
    /// Zero is no limit.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: Some(limit).filter(|limit| *limit > 0),
            used: AtomicUsize::new(0),
        })
    }

    pub fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            memory: self.clone(),
            bytes: AtomicUsize::new(0),
        })
    }

    /// Whether so many bytes more may be taken by whoever needs them.
    pub fn has_room(&self, bytes: usize) -> bool {
        let most = self.limit.map(|limit| limit - limit / 8);
        most.is_none_or(|most| self.used().saturating_add(bytes) <= most)
    }

    /// Whether nothing may grow any more.
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.used() > limit)
    }

    /// As much as is little: who takes no more than that is not stopped.
    pub fn little(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit / 64)
    }

    /// None: there is none.
    #[cfg(feature = "serve")]
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// How many bytes are kept.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Why something waits.
    pub fn reason(&self) -> Arc<str> {
        format!(
            "it needs more memory than there is: what is kept by change may take {} (kept_memory_limit). It goes on by itself once \
             there is room: DROP a materialized view that is not needed, or start the engine with a larger limit",
            size(self.limit.unwrap_or_default())
        )
        .into()
    }
}

impl Share {
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// It has so many now.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        let used = &self.memory.used;
        match bytes >= before {
            true => used.fetch_add(bytes - before, Ordering::Relaxed),
            false => used.fetch_sub(before - bytes, Ordering::Relaxed),
        };
    }

    /// Begin with something that takes more.
    pub fn taking(self: &Arc<Self>) -> Taking {
        Taking {
            share: self.clone(),
            before: self.bytes(),
            taken: AtomicUsize::new(0),
            is_shrinking: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Taking {
    /// It takes away more than it brings.
    pub fn shrinks(&self) {
        self.is_shrinking.store(true, Ordering::Relaxed);
    }

    /// Have so many ready, of which [`Taking::take`] takes; whether there are.
    pub fn reserve(&self, bytes: usize) -> bool {
        self.is_had(bytes)
    }

    /// Take so many more; whether there are.
    pub fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.is_had(before.saturating_add(bytes))
    }

    fn is_had(&self, taken: usize) -> bool {
        let wanted = self.before.saturating_add(taken);
        let more = wanted.saturating_sub(self.share.bytes());
        let memory = &self.share.memory;
        let is_free = taken <= memory.little() || self.is_shrinking.load(Ordering::Relaxed);
        if more == 0 || is_free || memory.has_room(more) {
            self.share.set(wanted.max(self.share.bytes()));
            return true;
        }
        self.refused.store(taken, Ordering::Relaxed);
        false
    }

    /// How much it would have taken, if there was no room for that.
    pub fn refused(&self) -> Option<usize> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }
}

/// As a limit is written.
fn size(bytes: usize) -> String {
    let units = [("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)];
    let unit = units.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_more_than_there_is_is_refused_and_others_go_on() {
        let memory = Memory::new(64 << 10);
        let (large, small) = (memory.share(), memory.share());
        small.set(2 << 10);
        let filling = large.taking();
        assert!(filling.reserve(40 << 10) && filling.take(40 << 10) && filling.take(10 << 10));
        assert_eq!(large.bytes(), 50 << 10);
        assert!(!filling.take(10 << 10));
        assert_eq!(filling.refused(), Some(60 << 10));
        // It has what it had, until it is given back; a small step of another has room all the same.
        assert_eq!(large.bytes(), 50 << 10);
        memory.share().set(0);
        let step = small.taking();
        assert!(step.take(1 << 10) && step.refused().is_none());
        // What shrinks is not stopped.
        let shrinking = large.taking();
        shrinking.shrinks();
        assert!(shrinking.take(100 << 10) && memory.is_full());
        drop((large, filling, shrinking));
        assert!(!memory.is_full() && memory.has_room(50 << 10));
    }

    #[test]
    fn without_a_limit_there_is_room() {
        let memory = Memory::new(0);
        let share = memory.share();
        assert!(share.taking().take(usize::MAX / 2) && !memory.is_full());
        assert_eq!(size(6 << 20), "6MB");
        assert_eq!(size(3 << 29), "1536MB");
    }
}
