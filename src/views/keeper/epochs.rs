//! Epochs that views are brought to: what there was at each, as long as a view may have to stop there.
//!
//! Views go from epoch to epoch at their own pace, and one that is behind takes many at a time. Those that read one another,
//! or are read together, still have to meet. So a view that is behind stops at round numbers: of the epochs before it, at the one that
//! the greatest power of two divides. Views that are at most 2ⁿ epochs behind all stop at each multiple of 2ⁿ, however fast each is;
//! and there are only as many epochs to keep for a view as an epoch's number has bits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::Position;

use crate::incremental::Moved;
use crate::replication::{Boundary, Epoch};
use crate::store::{self, Pinned, ZSet};
use crate::views::marks::At;

/// For how long it is known when an epoch began; before that it counts as so long ago.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How exactly.
const EXACTNESS: Duration = Duration::from_millis(100);

/// The content of a table or a view, from an epoch on.
#[derive(Clone, Debug)]
pub(crate) struct Stand {
    /// Where the stand before it begins.
    since: u64,
    pub from: u64,
    /// When it changes next though nothing else does: nanoseconds since 1970.
    pub due: Option<i64>,
    pub content: Pinned,
    /// What makes it of the one before, while anybody needs that.
    change: Option<ZSet>,
}

impl Stand {
    pub fn new(since: u64, from: u64, content: Pinned, change: Option<ZSet>) -> Self {
        Self {
            since,
            from,
            due: None,
            content,
            change,
        }
    }

    /// The same, which changes by itself then.
    pub fn due(self, due: Option<i64>) -> Self {
        Self { due, ..self }
    }

    /// How it differs from what was there at an earlier epoch.
    pub fn moved(&self, at: u64, before: &Pinned) -> store::Result<Moved> {
        let change = match at {
            at if at >= self.from => None,
            at if at >= self.since => self.change.clone(),
            _ => Some(self.content.since(before)?),
        };
        Ok(Moved {
            before: before.clone(),
            change,
            after: self.content.clone(),
        })
    }
}

/// What there was at an epoch.
pub(crate) struct Record {
    pub epoch: u64,
    pub at: Arc<At>,
    /// Replicas by name.
    pub tables: BTreeMap<String, Stand>,
    /// Sources that may have shown later states before the restart.
    pub behind: Arc<[String]>,
    /// When sources were asked for the positions that it has.
    pub reached: BTreeMap<String, Instant>,
}

/// The newest epoch, and those before it that are still needed.
pub(super) struct Epochs {
    kept: VecDeque<Record>,
    /// When epochs began.
    began: VecDeque<(u64, Instant)>,
}

impl Epochs {
    /// Beginning with one that there is. `reached`: when sources were asked for the positions that it has, as far as it is known.
    pub fn new(boundary: &Boundary, reached: BTreeMap<String, Instant>) -> Self {
        let first = Record {
            epoch: boundary.epoch,
            at: Arc::new(At::new(boundary)),
            tables: BTreeMap::new(),
            behind: Arc::default(),
            reached,
        };
        Self {
            kept: [first].into(),
            began: VecDeque::new(),
        }
    }

    pub fn newest(&self) -> &Record {
        self.kept.back().expect("the newest is kept")
    }

    pub fn newest_mut(&mut self) -> &mut Record {
        self.kept.back_mut().expect("the newest is kept")
    }

    /// A source was asked at a moment for a position: what has come to it is not older.
    pub fn reached(&mut self, source: &str, asked: Instant, position: &Position) {
        for record in &mut self.kept {
            if (record.at.positions.get(source)).is_some_and(|reached| position <= reached) {
                let last = record.reached.entry(source.to_string()).or_insert(asked);
                *last = asked.max(*last);
            }
        }
    }

    /// In their order.
    pub fn kept(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.kept.iter()
    }

    pub fn at(&self, epoch: u64) -> Option<&Record> {
        let place = self.kept.binary_search_by_key(&epoch, |kept| kept.epoch);
        place.ok().map(|place| &self.kept[place])
    }

    /// One more, which is the newest.
    pub fn add(&mut self, epoch: Epoch, now: Instant) {
        let number = epoch.boundary.epoch;
        let before = self.newest();
        let mut record = Record {
            epoch: number,
            at: Arc::new(At::new(&epoch.boundary)),
            tables: before.tables.clone(),
            behind: before.behind.clone(),
            reached: before.reached.clone(),
        };
        for (name, changed) in epoch.replicas {
            let change = changed.change.filter(|change| !change.is_empty());
            match record.tables.get_mut(&name) {
                Some(stand) if change.is_none() => stand.content = changed.after,
                Some(stand) => *stand = Stand::new(stand.from, number, changed.after, change),
                None => {}
            }
        }
        self.kept.push_back(record);
        if (self.began.back()).is_none_or(|(_, at)| now.duration_since(*at) >= EXACTNESS) {
            self.began.push_back((number, now));
        }
        while self.began.len() > 1 && now.duration_since(self.began[1].1) > REMEMBERED {
            self.began.pop_front();
        }
    }

    /// What the newest has of replicas, which may have more indexes now, or lie elsewhere; and of new ones.
    pub fn renew<'a>(&mut self, contents: impl Iterator<Item = (&'a str, Pinned)>) {
        let record = self.newest_mut();
        let epoch = record.epoch;
        let mut tables = std::mem::take(&mut record.tables);
        for (name, content) in contents {
            let stand = match tables.remove(name) {
                Some(stand) => Stand { content, ..stand },
                None => Stand::new(epoch, epoch, content, None),
            };
            record.tables.insert(name.to_string(), stand);
        }
    }

    /// Keep what views have to stop at that are at these epochs, and those epochs; all of them up to `each`.
    pub fn retain(&mut self, ats: &BTreeSet<u64>, each: u64) {
        let newest = self.newest().epoch;
        let is_needed = |epoch: u64| {
            let step = 1 << epoch.trailing_zeros().min(63);
            let first = epoch.saturating_sub(step);
            epoch == newest || epoch <= each || ats.range(first..=epoch).next().is_some()
        };
        self.kept.retain(|record| is_needed(record.epoch));
        // Whoever is behind all of them has the content before.
        let oldest = ats.first().copied().unwrap_or(newest);
        for stand in self.newest_mut().tables.values_mut() {
            if stand.from <= oldest {
                stand.change = None;
                stand.since = stand.from;
            }
        }
    }

    /// How long a view that is at an epoch has been behind the newest.
    pub fn behind(&self, at: u64, now: Instant) -> Duration {
        if at >= self.newest().epoch {
            return Duration::ZERO;
        }
        let mut later = self.began.iter().filter(|(epoch, _)| *epoch > at);
        // What began with the newest tick is not told apart.
        let later = later.next().or(self.began.back());
        later.map_or(Duration::ZERO, |(_, began)| now.duration_since(*began))
    }
}

/// Of some epochs, the one where a view that is behind stops next.
pub(super) fn roundest(epochs: impl Iterator<Item = u64>) -> Option<u64> {
    epochs.max_by_key(|epoch| (epoch.trailing_zeros(), *epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Views of every pace meet, and few epochs are kept for that.
    #[test]
    fn views_that_are_behind_meet_at_round_epochs() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..50 {
            let mut epochs = Epochs::new(&Boundary::default(), BTreeMap::new());
            let mut ats = [0u64; 3];
            let mut until = [0u64; 3];
            let mut goals = [0u64; 3];
            let pace: Vec<u64> = (0..3).map(|_| rng.u64(1..60)).collect();
            let mut stops = [const { BTreeSet::<u64>::new() }; 3];
            for tick in 1..4_000u64 {
                let boundary = Boundary {
                    epoch: tick,
                    positions: BTreeMap::new(),
                    clock: 0,
                };
                let epoch = Epoch {
                    boundary,
                    replicas: BTreeMap::new(),
                    told: BTreeMap::new(),
                };
                epochs.add(epoch, Instant::now());
                for view in 0..3 {
                    if until[view] > tick {
                        continue;
                    }
                    ats[view] = goals[view];
                    stops[view].insert(ats[view]);
                    let at = ats[view];
                    let before = epochs.kept().map(|kept| kept.epoch);
                    goals[view] = roundest(before.filter(|epoch| *epoch > at)).unwrap();
                    until[view] = tick + rng.u64(1..=pace[view]);
                }
                epochs.retain(&ats.iter().chain(&goals).copied().collect(), 0);
                assert!(epochs.kept().count() < 60);
            }
            let all = (64..3_800).step_by(64).all(|round| {
                let is_stop = |stops: &BTreeSet<u64>| stops.contains(&round);
                stops.iter().all(is_stop)
            });
            assert!(all, "{pace:?}");
        }
    }
}
