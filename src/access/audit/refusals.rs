use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::record::Record;

/// Of one address one is recorded at once, and then one each so often.
const EACH: Duration = Duration::from_secs(10);
/// Addresses that are told apart: of those that came before, what was counted is recorded.
const MOST: NonZeroUsize = NonZeroUsize::new(1000).expect("some");

/// Where it comes from, how, and what was said.
type Alike = (
    Option<std::net::IpAddr>,
    Option<Cow<'static, str>>,
    Option<Cow<'static, str>>,
);

/// Refusals that cost nothing, and so may come in any number: a server is told of each, and records few.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<LruCache<Alike, Flood>>);

#[derive(Debug)]
struct Flood {
    /// The newest that was recorded.
    at: Instant,
    /// What came since: how many, and the last.
    more: Option<(u64, Record)>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Refusals {
    /// The record to be made of it now, if any.
    #[cfg(any(feature = "serve", test))]
    pub fn admits(&self, record: Record, now: Instant) -> Option<Record> {
        let alike = (
            record.address,
            record.method.clone(),
            record.outcome.clone(),
        );
        let mut floods = self.floods();
        if let Some(flood) = floods.get_mut(&alike) {
            let count = flood.more.as_ref().map_or(0, |(count, _)| *count) + 1;
            if now.saturating_duration_since(flood.at) < EACH {
                flood.more = Some((count, record));
                return None;
            }
            flood.at = now;
            flood.more = None;
            return Some(counted(count, record));
        }
        let flood = Flood {
            at: now,
            more: None,
        };
        // What there is no room for any more is said with this one.
        let before = floods.push(alike, flood);
        let before = before.and_then(|(_, flood)| flood.more);
        Some(match before {
            Some((count, _)) => counted(count + 1, record),
            None => record,
        })
    }

    /// What was counted and is to be recorded now.
    pub fn due(&self, now: Instant) -> Vec<Record> {
        let mut due = Vec::new();
        for (_, flood) in self.floods().iter_mut() {
            let is_due = now.saturating_duration_since(flood.at) >= EACH;
            if let Some((count, record)) = flood.more.take_if(|_| is_due) {
                flood.at = now;
                due.push(counted(count, record));
            }
        }
        due
    }

    fn floods(&self) -> MutexGuard<'_, LruCache<Alike, Flood>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted(count: u64, record: Record) -> Record {
    Record {
        count: (count > 1).then_some(count),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_flood_is_a_few_records_that_count_it() {
        let refusals = Refusals::default();
        let begun = Instant::now();
        let refused = |from: u8| Record {
            address: Some(IpAddr::from([192, 0, 2, from])),
            ..Record::default()
        };
        let mut recorded = Vec::new();
        for ms in 0..100_000 {
            let now = begun + Duration::from_millis(ms);
            recorded.extend(refusals.admits(refused(1), now));
        }
        recorded.extend(refusals.admits(refused(2), begun));
        assert_eq!(recorded.len(), 11);
        recorded.extend(refusals.due(begun + Duration::from_secs(200)));
        let counts = recorded.iter().map(|record| record.count.unwrap_or(1));
        assert_eq!(counts.sum::<u64>(), 100_001);
        assert!(refusals.due(begun + Duration::from_secs(300)).is_empty());
    }
}
