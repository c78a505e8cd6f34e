//! The result cache: answers that were given, for who asks the same and may be told what was so a moment ago.
//!
//! An answer of tables that are followed for views anyway is as young as these are, as long as their streams tell of no change; with the
//! first one it is asked for again, as a view is that is computed when it is read. Of other tables it is as old as it is.
//!
//! An answer is admitted by what it saves: how long it took, for each byte that it takes, and how often it was asked for since
//! (GreedyDual-Size-Frequency: Cherkasova 1998, HPL-98-69R1). What has not been asked for since all others were admitted goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;
use tokio::sync::watch;

use super::Freshness;
use crate::views::{Ages, Bounds, Followed};

/// Bytes of all results, if nothing else is said.
pub const DEFAULT_LIMIT: usize = 64 << 20;
/// What a result takes besides its rows and its question's text.
const OVERHEAD: usize = 1 << 10;
/// What changes all the time is not asked for all the time: after an answer it is told for so many times as long as that took, as far as
/// its bound allows. A question takes a tenth of one connection, then, at most.
const REST: u32 = 10;

/// A question, as far as its answer hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    pub sql: String,
    /// Of its parameters, by name.
    pub values: Vec<(String, ScalarValue)>,
    /// Of the definitions that it is understood by.
    pub version: u64,
    /// What else it is understood by: names and values of settings.
    pub settings: Vec<(&'static str, String)>,
}

/// An answer as it was given.
#[derive(Debug)]
pub struct Answered {
    pub rows: RecordBatch,
    /// What it was made of, and how old that was when it was asked for.
    freshness: Freshness,
    /// What the views that it reads say of how old it may be: for who says nothing.
    bounds: Bounds,
    /// What tells when it is another. None: nothing does.
    followed: Option<Followed>,
    asked_at: Instant,
    took: Duration,
}

/// Results that were kept: all of an engine's, by question.
#[derive(Debug)]
pub struct Results {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Arc<Question>, Entry>,
    /// The one that goes first is first.
    order: BTreeMap<Place, Arc<Question>>,
    bytes: usize,
    /// The worth of what went last: whoever comes later is worth as much more.
    inflation: u64,
    numbers: u64,
    /// When something was last written at a source by this engine: what was asked before is not told any more.
    written: HashMap<String, Instant>,
    /// Questions that are being answered.
    asked: HashMap<Arc<Question>, watch::Receiver<()>>,
    counts: Counts,
}

/// By worth, then by age.
type Place = (u64, u64);

#[derive(Debug)]
struct Entry {
    answered: Arc<Answered>,
    bytes: usize,
    hits: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub bytes: usize,
    pub results: usize,
}

/// A result, as it is shown to people.
#[derive(Debug)]
pub struct Shown {
    pub question: Arc<Question>,
    pub rows: usize,
    pub bytes: usize,
    pub hits: u64,
    pub took: Duration,
    pub age: Duration,
    /// Whether its tables are followed.
    pub is_followed: bool,
}

/// Who answers a question that others may have asked, too.
#[derive(Debug)]
pub enum Turn {
    /// This one does: others wait until it has, or until this is dropped.
    Mine(Asking),
    /// Another one does. It changes, or is closed, once that one has.
    Anothers(watch::Receiver<()>),
}

/// A question that is being answered.
#[derive(Debug)]
pub struct Asking {
    results: Arc<Results>,
    question: Arc<Question>,
    at: Instant,
    /// Whoever waits sees it dropped.
    _done: watch::Sender<()>,
}

impl Results {
    /// Up to so many bytes; none, for 0.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            kept: Mutex::default(),
        })
    }

    /// What one result may take.
    pub fn largest(&self) -> usize {
        self.limit / 8
    }

    /// The answer that was given to a question, if nothing in it is older than this (None: than the views say that it reads) nor known to
    /// have changed, and what it is made of now. It has to be so young when it was asked for (`arrived`): who has waited for it is not told to ask again. `is_told`:
    /// whether whoever asks may be told it besides.
    pub fn get(
        &self,
        question: &Question,
        bound: Option<Duration>,
        arrived: Instant,
        ages: &Ages,
        is_told: impl Fn(&Arc<Answered>, &Freshness) -> bool,
    ) -> Option<(Arc<Answered>, Freshness)> {
        let mut kept = self.kept();
        let bound = bound.unwrap_or_else(|| {
            let entry = kept.entries.get(question);
            let stated = entry.and_then(|entry| entry.answered.bounds.max_staleness);
            stated.unwrap_or_default()
        });
        // Nothing that was asked before is of now.
        if bound.is_zero() {
            return None;
        }
        let bound = bound + arrived.elapsed();
        let freshness = kept.admissible(question, bound, bound, ages)?;
        let answered = &kept.entries.get(question)?.answered;
        if answered.is_outdated() || !is_told(answered, &freshness) {
            return None;
        }
        Some((kept.hit(question)?, freshness))
    }

    /// The same while what it asks fails: up to `stale_if_error`, what is older than `max_staleness` being told to be.
    pub fn get_stale(
        &self,
        question: &Question,
        bounds: Bounds,
        ages: &Ages,
    ) -> Option<(Arc<Answered>, Freshness)> {
        let bound = bounds.max_staleness.unwrap_or_default();
        let mut kept = self.kept();
        let freshness = kept.admissible(question, bound, bounds.stale_if_error?, ages)?;
        Some((kept.hit(question)?, freshness))
    }

    /// What might have been told again is asked.
    pub fn missed(&self) {
        self.kept().counts.misses += 1;
    }

    /// Whose turn it is to answer a question that there is no answer to.
    pub fn turn(self: &Arc<Self>, question: Question) -> Turn {
        let mut kept = self.kept();
        if let Some(asked) = kept.asked.get(&question) {
            return Turn::Anothers(asked.clone());
        }
        let (done, asked) = watch::channel(());
        let question = Arc::new(question);
        kept.asked.insert(question.clone(), asked);
        Turn::Mine(Asking {
            results: self.clone(),
            question,
            at: Instant::now(),
            _done: done,
        })
    }

    /// This engine has written at a source: nothing is told any more that was asked before.
    pub fn written(&self, source: &str) {
        let mut kept = self.kept();
        kept.written.insert(source.to_string(), Instant::now());
        let outdated: Vec<_> = kept
            .entries
            .iter()
            .filter(|(_, entry)| !entry.answered.is_after(&kept.written))
            .map(|(question, _)| question.clone())
            .collect();
        for question in outdated {
            kept.remove(&question);
        }
    }

    pub fn counts(&self) -> Counts {
        let kept = self.kept();
        Counts {
            bytes: kept.bytes,
            results: kept.entries.len(),
            ..kept.counts
        }
    }

    /// All there are, the one that is worth most first.
    pub fn shown(&self, ages: &Ages) -> Vec<Shown> {
        let kept = self.kept();
        let entries = kept.order.values().rev().filter_map(|question| {
            let entry = kept.entries.get(question)?;
            let answered = &entry.answered;
            Some(Shown {
                question: question.clone(),
                rows: answered.rows.num_rows(),
                bytes: entry.bytes,
                hits: entry.hits,
                took: answered.took,
                age: answered.now(Duration::MAX, ages).age()?,
                is_followed: answered.followed.is_some(),
            })
        });
        entries.collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// What is answered is kept, if it is worth it, and takes the place of what was answered before. `freshness`: of the parts, when they
    /// were taken; `bounds`: of the views that it reads; `followed`: its tables, from before they were asked.
    pub fn answered(
        self,
        rows: RecordBatch,
        freshness: Freshness,
        bounds: Bounds,
        followed: Option<Followed>,
    ) -> Option<Arc<Answered>> {
        let results = self.results.clone();
        let mut kept = results.kept();
        let hits = kept.remove(&self.question).unwrap_or(0);
        // Of a copy nobody knows the age of, it could not be said how old the answer is; what is stale is told to be.
        if freshness.age().is_none() || freshness.is_stale() {
            return None;
        }
        let bytes = rows.get_array_memory_size() + self.question.sql.len() + OVERHEAD;
        let answered = Arc::new(Answered {
            rows,
            freshness,
            bounds,
            followed,
            asked_at: self.at,
            took: self.at.elapsed(),
        });
        if bytes <= results.largest() && answered.is_after(&kept.written) {
            let question = self.question.clone();
            kept.admit(question, answered.clone(), bytes, hits, results.limit);
        }
        Some(answered)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.results.kept().asked.remove(&self.question);
    }
}

impl Kept {
    /// What the answer to a question is made of now, if nothing in it is older than `most`; what is older than `bound` is stale.
    fn admissible(
        &self,
        question: &Question,
        bound: Duration,
        most: Duration,
        ages: &Ages,
    ) -> Option<Freshness> {
        let freshness = self.entries.get(question)?.answered.now(bound, ages);
        let is_young = freshness.age().is_some_and(|age| age <= most);
        is_young.then_some(freshness)
    }

    /// The answer is told again: it is worth more.
    fn hit(&mut self, question: &Question) -> Option<Arc<Answered>> {
        self.counts.hits += 1;
        let entry = self.entries.get_mut(question)?;
        entry.hits += 1;
        let answered = entry.answered.clone();
        let worth = worth(&answered, entry.bytes, entry.hits);
        let place = (self.inflation.saturating_add(worth), entry.place.1);
        let before = std::mem::replace(&mut entry.place, place);
        if let Some(question) = self.order.remove(&before) {
            self.order.insert(place, question);
        }
        Some(answered)
    }

    /// Instead of those that are worth less, if they make enough room.
    fn admit(
        &mut self,
        question: Arc<Question>,
        answered: Arc<Answered>,
        bytes: usize,
        hits: u64,
        limit: usize,
    ) {
        let worth = worth(&answered, bytes, hits);
        let worth = self.inflation.saturating_add(worth);
        let mut room = limit.saturating_sub(self.bytes);
        let mut inflation = self.inflation;
        let mut going = Vec::new();
        for (place, other) in &self.order {
            if room >= bytes {
                break;
            }
            if place.0 > worth {
                return;
            }
            room += self.entries.get(other).map_or(0, |entry| entry.bytes);
            going.push(other.clone());
            inflation = inflation.max(place.0);
        }
        if room < bytes {
            return;
        }
        self.inflation = inflation;
        for other in going {
            self.remove(&other);
        }
        self.numbers += 1;
        let place = (worth, self.numbers);
        self.order.insert(place, question.clone());
        self.bytes += bytes;
        let entry = Entry {
            answered,
            bytes,
            hits,
            place,
        };
        self.entries.insert(question, entry);
    }

    /// How often it was told.
    fn remove(&mut self, question: &Arc<Question>) -> Option<u64> {
        let entry = self.entries.remove(question)?;
        self.order.remove(&entry.place);
        self.bytes -= entry.bytes;
        Some(entry.hits)
    }
}

impl Answered {
    /// What it was made of, as old as that is now.
    fn now(&self, bound: Duration, ages: &Ages) -> Freshness {
        let followed = self.followed.as_ref().filter(|f| f.is_timeless);
        let since = followed.and_then(|followed| ages.followed(followed));
        let later = self.asked_at.elapsed();
        let live = since.map_or(later, |since| since.elapsed().min(later));
        self.freshness.aged(later, live, bound)
    }

    /// Whether it is known to be another by now, and may be asked for again.
    fn is_outdated(&self) -> bool {
        let holds = self.followed.as_ref().is_none_or(Followed::holds);
        !holds && self.asked_at.elapsed() >= self.took * REST
    }

    /// Whether it shows what was written.
    fn is_after(&self, written: &HashMap<String, Instant>) -> bool {
        let parts = self.freshness.parts.iter();
        let mut sources = parts.flat_map(|part| part.sources.iter());
        sources.all(|source| written.get(source).is_none_or(|at| *at < self.asked_at))
    }
}

/// Nanoseconds that it saves, for each byte: as often as it was asked for, the first time among them.
fn worth(answered: &Answered, bytes: usize, hits: u64) -> u64 {
    let nanoseconds = u64::try_from(answered.took.as_nanos()).unwrap_or(u64::MAX);
    nanoseconds.saturating_mul(hits + 1) / (bytes as u64).max(1)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;

    use super::*;
    use crate::freshness::{Origin, Part};
    use crate::views::Shelves;

    /// Nothing is followed.
    fn ages() -> Ages {
        Shelves::default().ages()
    }

    fn question(sql: &str) -> Question {
        Question {
            sql: sql.to_string(),
            values: Vec::new(),
            version: 1,
            settings: Vec::new(),
        }
    }

    fn none() -> RecordBatch {
        RecordBatch::new_empty(Arc::new(Schema::empty()))
    }

    const LONG: Duration = Duration::from_secs(3600);

    /// Keep an answer without rows: it takes [`OVERHEAD`], and its text.
    fn keep(results: &Arc<Results>, sql: &str, freshness: Freshness, took: Duration) {
        let Turn::Mine(mut asking) = results.turn(question(sql)) else {
            panic!("it is asked already");
        };
        asking.at -= took;
        let bounds = Bounds {
            max_staleness: Some(took * 100),
            stale_if_error: None,
        };
        asking.answered(none(), freshness, bounds, None);
    }

    fn has(results: &Results, sql: &str) -> bool {
        results
            .get(
                &question(sql),
                Some(LONG),
                Instant::now(),
                &ages(),
                |_, _| true,
            )
            .is_some()
    }

    #[test]
    fn an_answer_is_told_until_it_is_too_old() {
        let results = Results::new(1 << 20);
        let took = Duration::from_millis(50);
        keep(&results, "a", Freshness::live("erp"), took);
        let (_, freshness) = results
            .get(
                &question("a"),
                Some(LONG),
                Instant::now(),
                &ages(),
                |_, _| true,
            )
            .unwrap();
        assert!(freshness.age().unwrap() >= took);
        assert!(
            results
                .get(
                    &question("a"),
                    Some(took / 2),
                    Instant::now(),
                    &ages(),
                    |_, _| true
                )
                .is_none()
        );
        // It was young enough when it was asked for.
        let before = Instant::now() - took * 100;
        assert!(
            results
                .get(&question("a"), Some(took / 2), before, &ages(), |_, _| true)
                .is_some()
        );
        // What the views say.
        assert!(
            results
                .get(&question("a"), None, Instant::now(), &ages(), |_, _| true)
                .is_some()
        );
        assert!(
            results
                .get(
                    &question("a"),
                    Some(LONG),
                    Instant::now(),
                    &ages(),
                    |_, _| false
                )
                .is_none()
        );
        let other = Question {
            version: 2,
            ..question("a")
        };
        assert!(
            results
                .get(&other, Some(LONG), Instant::now(), &ages(), |_, _| true)
                .is_none()
        );
        let counts = results.counts();
        assert_eq!((counts.hits, counts.results), (3, 1));
    }

    #[test]
    fn what_was_asked_before_a_write_is_not_told_after_it() {
        let results = Results::new(1 << 20);
        let took = Duration::from_millis(1);
        keep(&results, "a", Freshness::live("erp"), took);
        keep(&results, "b", Freshness::live("crm"), took);
        let Turn::Mine(asking) = results.turn(question("c")) else {
            panic!("it is asked already");
        };
        results.written("erp");
        assert!(!has(&results, "a") && has(&results, "b"));
        // It may have read before the write, and comes after it.
        asking.answered(none(), Freshness::live("erp"), Bounds::default(), None);
        assert!(!has(&results, "c"));
        std::thread::sleep(took);
        keep(&results, "c", Freshness::live("erp"), Duration::ZERO);
        assert!(has(&results, "c"));
    }

    #[test]
    fn what_saves_least_for_its_bytes_goes_first() {
        // Eight of them.
        let results = Results::new(8 * (OVERHEAD + 1));
        let slow = Duration::from_secs(1);
        for sql in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            keep(&results, sql, Freshness::live("erp"), slow);
        }
        assert!(results.counts().bytes <= 8 * (OVERHEAD + 1));
        // Worth less than each of them.
        keep(&results, "i", Freshness::live("erp"), slow / 10);
        assert!(!has(&results, "i"));
        // Asked for again: worth more than the others.
        assert!(has(&results, "a"));
        keep(&results, "j", Freshness::live("erp"), slow * 2);
        assert!(has(&results, "a") && !has(&results, "b") && has(&results, "j"));
        // What nobody has asked for of late goes, whatever it was worth: new ones begin where the last went.
        for n in 0..100 {
            keep(&results, &n.to_string()[..1], Freshness::live("erp"), slow);
        }
        assert!(results.counts().results <= 8);
    }

    #[test]
    fn one_answers_and_the_others_wait() {
        let results = Results::new(1 << 20);
        let Turn::Mine(first) = results.turn(question("a")) else {
            panic!("nobody asks");
        };
        let Turn::Anothers(waiting) = results.turn(question("a")) else {
            panic!("it is asked already");
        };
        assert!(waiting.has_changed().is_ok());
        drop(first);
        assert!(waiting.has_changed().is_err());
        assert!(matches!(results.turn(question("a")), Turn::Mine(_)));
    }

    #[test]
    fn of_unknown_age_is_not_kept() {
        let results = Results::new(1 << 20);
        let mut freshness = Freshness::live("erp");
        freshness.add(Part {
            name: "kept".to_string(),
            origin: Origin::Copy {
                age: None,
                bound: None,
                is_of_epoch: false,
                is_stale: false,
                version: None,
            },
            sources: Arc::from([]),
        });
        keep(&results, "a", freshness, Duration::from_secs(1));
        assert!(!has(&results, "a"));
        // What is too large for it is not, either.
        let small = Results::new(OVERHEAD);
        keep(&small, "a", Freshness::live("erp"), Duration::from_secs(1));
        assert!(!has(&small, "a"));
    }
}
