//! When sources were asked, for the next process: the clock that ages are counted on ends with this one.
//!
//! How long nobody ran, the wall clock alone says. One that is behind what it said then was put back meanwhile: what depends on it is
//! of unknown age, which no bound admits. Put back by less than nobody ran, that cannot be noticed; put forward, it makes
//! what there is older, which breaks no promise.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// When the wall clock said this. None: it was put back since, or it was before all that the other clock can say.
pub(super) fn since(at: DateTime<Utc>) -> Option<Instant> {
    // In this order: what passes between the two makes it older.
    let now = Instant::now();
    before(now, Utc::now(), at)
}

/// The moment that is as long before `now` as `at` is before `clock`.
fn before(now: Instant, clock: DateTime<Utc>, at: DateTime<Utc>) -> Option<Instant> {
    now.checked_sub((clock - at).to_std().ok()?)
}

/// When each source was asked, as it is noted.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Moments {
    /// What the wall clock said when it was: nanoseconds since 1970.
    at: i64,
    /// How long ago each was by then.
    ago: BTreeMap<String, Duration>,
}

impl Moments {
    pub fn new(asked: &BTreeMap<String, Instant>) -> Self {
        // As above.
        let at = super::clock();
        let ago = asked.iter();
        let ago = ago.map(|(source, asked)| (source.clone(), asked.elapsed()));
        Self {
            at,
            ago: ago.collect(),
        }
    }

    /// Of those of which it is still known.
    pub fn restored(&self) -> BTreeMap<String, Instant> {
        let Some(at) = since(DateTime::from_timestamp_nanos(self.at)) else {
            return BTreeMap::new();
        };
        let asked = self.ago.iter();
        let asked = asked.filter_map(|(source, ago)| Some((source.clone(), at.checked_sub(*ago)?)));
        asked.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_put_back_knows_no_age() {
        let (now, clock) = (Instant::now(), Utc::now());
        let second = Duration::from_secs(1);
        assert_eq!(before(now, clock, clock), Some(now));
        assert_eq!(before(now, clock, clock - second), Some(now - second));
        assert_eq!(before(now, clock, clock + second), None);
        assert_eq!(since(Utc::now() + Duration::from_secs(3600)), None);

        let asked = BTreeMap::from([("erp".to_string(), now)]);
        let noted = Moments::new(&asked);
        let later = Moments {
            at: noted.at + 3_600_000_000_000,
            ago: noted.ago,
        };
        assert!(later.restored().is_empty());
    }

    #[test]
    fn what_was_noted_is_never_younger() {
        let asked = Instant::now() - Duration::from_secs(60);
        let noted = Moments::new(&BTreeMap::from([("erp".to_string(), asked)]));
        let text = serde_json::to_string(&noted).unwrap();
        let read: Moments = serde_json::from_str(&text).unwrap();
        let restored = read.restored()["erp"];
        assert!(restored <= asked && asked - restored < Duration::from_secs(10));
    }
}
