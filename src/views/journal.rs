//! What has changed in a view that is kept by change, for as long as somebody may ask.
//!
//! The keeper's thread writes ([`Recorder`]), once for each epoch that the view comes to; subscriptions read ([`Reader`]), each from where it
//! is. A change is in memory once, whoever reads it. What bounds it: the view's `retain`, which readers that are slower extend, up
//! to [`MOST_BYTES`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::marks::{At, Marks};
use crate::store::{self, Pinned, ZSet};

/// Changes of one view that are in memory: more than the newest are given up beyond.
const MOST_BYTES: usize = 64 << 20;
/// What an epoch takes besides its rows.
const ENTRY_BYTES: usize = 256;

/// Why nothing more comes.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The view was dropped or replaced, or is computed anew.
    Gone,
    /// It is not brought up to date any more.
    Blocked(Arc<str>),
    /// The engine ends.
    Closed,
}

/// The changes of a view.
#[derive(Debug)]
pub struct Journal {
    /// Which view this is of, with which query, over which other views.
    pub origin: u64,
    /// What the view follows.
    pub sources: Arc<[String]>,
    marks: Arc<Marks>,
    state: watch::Sender<State>,
    /// Up to which epoch each reader has taken it.
    readers: Mutex<BTreeMap<u64, u64>>,
}

#[derive(Debug)]
struct State {
    /// Oldest first.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// All that has changed after this epoch is among the entries.
    first: u64,
    told: Arc<At>,
    /// As of what was told.
    content: Pinned,
    failing: Option<Arc<str>>,
    /// The engine comes to epochs that were shown before it was started again.
    is_replaying: bool,
    ended: Option<Ended>,
}

#[derive(Debug)]
struct Entry {
    /// Where the view was before: what changed on the way is not told apart.
    from: u64,
    at: Arc<At>,
    change: Option<ZSet>,
    /// Why the view could not be read then.
    failing: Option<Arc<str>>,
    since: Instant,
    bytes: usize,
}

/// What comes next for a reader.
#[derive(Debug)]
pub enum Step {
    /// Whole epochs, with what each has changed.
    Changes(Vec<(ZSet, Arc<At>)>),
    /// Nothing has changed up to here.
    Same(Arc<At>),
    /// There is nothing yet.
    Wait,
    /// The view cannot be read now.
    Failing(Arc<str>),
    /// It was given up before it was read.
    Late,
    Ended(Ended),
}

/// Why a cursor is not gone on from.
#[derive(Debug, PartialEq)]
pub enum Refused {
    /// Changes behind it are not retained.
    Expired,
    /// Nothing was told of such an epoch.
    Foreign,
    /// It may be known soon.
    NotYet,
}

impl Journal {
    /// Begin with all there is.
    ///
    /// # Errors
    /// What comes instead: the view cannot be read now, or nothing comes any more.
    pub fn all(self: &Arc<Self>) -> Result<(Reader, Pinned, Arc<At>), Step> {
        let mut reader = Reader::new(self, 0);
        let (at, content) = {
            let state = reader.watch.borrow();
            match (&state.ended, &state.failing) {
                (Some(ended), _) => return Err(Step::Ended(ended.clone())),
                (None, Some(reason)) => return Err(Step::Failing(reason.clone())),
                (None, None) => (state.told.clone(), state.content.clone()),
            }
        };
        reader.reached(at.epoch);
        Ok((reader, content, at))
    }

    /// Go on behind an epoch that a reader was told of, maybe by an earlier process.
    ///
    /// # Errors
    /// Why not.
    pub fn behind(self: &Arc<Self>, epoch: u64, mark: u64) -> Result<Reader, Refused> {
        let reader = Reader::new(self, epoch);
        let state = reader.watch.borrow();
        if epoch < state.first {
            return Err(Refused::Expired);
        }
        if epoch > state.told.epoch && state.is_replaying {
            return Err(Refused::NotYet);
        }
        if !self.marks.has(epoch, mark) {
            return Err(Refused::Foreign);
        }
        // An earlier process stopped there, and this one went by.
        let next = state.behind(epoch).next();
        if next.is_some_and(|entry| entry.from < epoch) {
            return Err(Refused::Expired);
        }
        drop(state);
        Ok(reader)
    }

    /// Rows and bytes behind an epoch.
    pub fn waiting(&self, epoch: u64) -> (u64, u64) {
        let state = self.state.borrow();
        let mut waiting = (0, 0);
        for entry in state.behind(epoch) {
            waiting.0 += entry.change.as_ref().map_or(0, ZSet::len) as u64;
            waiting.1 += entry.bytes as u64;
        }
        waiting
    }

    /// In memory.
    pub fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    /// Up to which epoch everyone has taken it.
    fn slowest(&self) -> u64 {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.values().copied().min().unwrap_or(u64::MAX)
    }

    fn end(&self, why: Ended) {
        self.state.send_if_modified(|state| {
            let is_new = state.ended.is_none();
            state.ended.get_or_insert(why);
            is_new
        });
    }
}

impl State {
    fn add(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.entries.push_back(Arc::new(entry));
    }

    fn come(&mut self, at: &Arc<At>, retain: Duration, slowest: u64, is_replaying: bool) {
        self.told = at.clone();
        self.is_replaying = is_replaying;
        self.trim(retain, slowest);
    }

    /// Give up what nobody needs, or what is too much.
    fn trim(&mut self, retain: Duration, slowest: u64) {
        while let Some(oldest) = self.entries.front() {
            let is_needed = oldest.at.epoch > slowest || oldest.since.elapsed() < retain;
            let is_too_much = self.bytes > MOST_BYTES && self.entries.len() > 1;
            if is_needed && !is_too_much {
                break;
            }
            self.first = oldest.at.epoch;
            self.bytes -= oldest.bytes;
            self.entries.pop_front();
        }
    }

    /// What is behind an epoch.
    fn behind(&self, epoch: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let from = self
            .entries
            .partition_point(|entry| entry.at.epoch <= epoch);
        self.entries.range(from..)
    }
}

/// Someone who is told what changes.
#[derive(Debug)]
pub struct Reader {
    journal: Arc<Journal>,
    watch: watch::Receiver<State>,
    number: u64,
    epoch: u64,
}

impl Reader {
    fn new(journal: &Arc<Journal>, epoch: u64) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let mut reader = Self {
            journal: journal.clone(),
            watch: journal.state.subscribe(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            epoch,
        };
        reader.reached(epoch);
        reader
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// It has been told all up to this epoch.
    pub fn reached(&mut self, epoch: u64) {
        self.epoch = epoch;
        let readers = self.journal.readers.lock();
        let mut readers = readers.unwrap_or_else(PoisonError::into_inner);
        readers.insert(self.number, epoch);
    }

    /// What comes next, in whole epochs: some thousand rows, or one epoch that has more.
    ///
    /// # Errors
    /// If changes cannot be added up.
    pub fn next(&mut self, rows: usize) -> store::Result<Step> {
        let (taken, failing, told, ended) = {
            let state = self.watch.borrow_and_update();
            if self.epoch < state.first {
                return Ok(Step::Late);
            }
            let mut taken = 0;
            let entries = state.behind(self.epoch).take_while(|entry| {
                let goes = taken < rows;
                taken += entry.change.as_ref().map_or(0, ZSet::len);
                goes
            });
            let mut entries: Vec<Arc<Entry>> = entries.cloned().collect();
            // An epoch at which the view could not be read is told with the one that healed it.
            if entries.last().is_some_and(|last| last.failing.is_some()) {
                let rest = state.behind(entries[entries.len() - 1].at.epoch);
                let mut rest = rest.cloned();
                while let Some(entry) = rest.next() {
                    let is_healed = entry.failing.is_none();
                    entries.push(entry);
                    if is_healed {
                        break;
                    }
                }
            }
            (
                entries,
                state.failing.clone(),
                state.told.clone(),
                state.ended.clone(),
            )
        };
        let mut changes = Vec::new();
        let mut hidden: Vec<ZSet> = Vec::new();
        for entry in &taken {
            hidden.extend(entry.change.clone());
            if entry.failing.is_some() {
                continue;
            }
            let change = match hidden.as_slice() {
                [] => continue,
                [one] => one.clone(),
                [first, ..] => {
                    let schema = first.rows().schema();
                    ZSet::concat(&schema, &hidden)?.consolidated()?
                }
            };
            hidden.clear();
            changes.push((change, entry.at.clone()));
        }
        if let Some((_, at)) = changes.last() {
            let epoch = at.epoch;
            self.reached(epoch);
            return Ok(Step::Changes(changes));
        }
        Ok(match (failing, ended) {
            (_, Some(ended)) => Step::Ended(ended),
            (Some(reason), None) => Step::Failing(reason),
            (None, None) if told.epoch > self.epoch => Step::Same(told),
            (None, None) => Step::Wait,
        })
    }

    /// Until there may be something more.
    pub async fn changed(&mut self) {
        // The journal has its sender, and this one the journal.
        let _ = self.watch.changed().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let readers = self.journal.readers.lock();
        let mut readers = readers.unwrap_or_else(PoisonError::into_inner);
        readers.remove(&self.number);
    }
}

/// Who writes a view's journal. With it the journal ends.
#[derive(Debug)]
pub struct Recorder(Arc<Journal>);

impl Recorder {
    /// Begin with what there is at an epoch, of a view of this origin, which follows these sources: its rows, and why they cannot be
    /// read.
    pub fn begin(
        (origin, sources): (u64, Arc<[String]>),
        marks: Arc<Marks>,
        at: &Arc<At>,
        (content, failing): (&Pinned, Option<&Arc<str>>),
        is_replaying: bool,
    ) -> Self {
        let state = State {
            entries: VecDeque::new(),
            bytes: 0,
            first: marks.changed(origin, at.epoch),
            told: at.clone(),
            content: content.clone(),
            failing: failing.cloned(),
            is_replaying,
            ended: None,
        };
        Self(Arc::new(Journal {
            origin,
            sources,
            marks,
            state: watch::Sender::new(state),
            readers: Mutex::default(),
        }))
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.0
    }

    /// The journal's origin, and with which epoch it has changed last.
    pub fn changed(&self) -> (u64, u64) {
        let state = self.0.state.borrow();
        let last = state.entries.back().map(|entry| entry.at.epoch);
        (self.0.origin, last.unwrap_or(state.first))
    }

    /// The view has come to an epoch: by this change, to this content, which cannot be read for this reason.
    pub fn tell(
        &mut self,
        at: &Arc<At>,
        change: Option<&ZSet>,
        content: &Pinned,
        failing: Option<&Arc<str>>,
        retain: Duration,
        is_replaying: bool,
    ) {
        let slowest = self.0.slowest();
        self.0.state.send_modify(|state| {
            let from = state.told.epoch;
            let is_a_leap = at.epoch > from + 1;
            if change.is_some() || state.failing.as_ref() != failing || is_a_leap {
                state.add(Entry {
                    from,
                    at: at.clone(),
                    change: change.cloned(),
                    failing: failing.cloned(),
                    since: Instant::now(),
                    bytes: change.map_or(0, ZSet::bytes) + ENTRY_BYTES,
                });
            }
            state.content = content.clone();
            state.failing = failing.cloned();
            state.come(at, retain, slowest, is_replaying);
        });
    }

    /// Nothing has changed up to an epoch.
    pub fn same(&mut self, at: &Arc<At>, retain: Duration, is_replaying: bool) {
        let slowest = self.0.slowest();
        // That nothing has changed is looked up once in a while: nobody is woken for it.
        self.0.state.send_if_modified(|state| {
            let is_news = state.is_replaying != is_replaying;
            state.come(at, retain, slowest, is_replaying);
            is_news
        });
    }

    /// Give up what is not retained any more, of a view that stays where it is.
    pub fn trim(&self, retain: Duration) {
        let slowest = self.0.slowest();
        self.0.state.send_if_modified(|state| {
            state.trim(retain, slowest);
            false
        });
    }

    /// Nothing more is told.
    pub fn end(&self, why: Ended) {
        self.0.end(why);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end(Ended::Gone);
    }
}
