//! What readers find of each kept view.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use belvedere_connector::Captured;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::index::RowIndex;
use super::journal::Journal;
use super::keeper::TICK;
use super::watch::{Followed, Unchanged, Watch};
use crate::catalog::ObjectId;
use crate::freshness::Token;
use crate::incremental::Progress;
use crate::memory::Share;
use crate::replication::Positions;
use crate::store::{FileError, Pinned, Segment};

/// A kept view as one reader sees it: nothing in it changes.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Tells it from an earlier view of its name.
    pub generation: u64,
    pub state: State,
    /// None: it was never filled.
    pub content: Option<Content>,
    /// Of one that is kept by change: what has changed of late.
    pub journal: Option<Arc<Journal>>,
    /// A row of what it reads that cannot be computed with: every read fails with this until it is gone (DESIGN §3.3).
    pub failing: Option<Arc<str>>,
    /// Somebody may have seen it younger, before the engine was started again: a source that it follows has not been read to where it
    /// stood at the start (DESIGN §3.7). Only a bound that its age satisfies, if that is known, admits it.
    pub is_behind: bool,
    /// Until when it is what its query gives though nothing that it reads changes: nanoseconds since 1970. None: for good.
    pub due: Option<i64>,
    pub as_of: AsOf,
    /// How far its first content is, while it is computed from what it reads.
    pub progress: Option<Arc<Progress>>,
    /// Of one that is kept by change: what it has in memory, as long as it is kept.
    pub share: Weak<Share>,
}

/// The life of a kept view.
///
/// ```text
///   CREATE ──▶ Filling ──first content──▶ Live ──▶ Blocked ──REFRESH … FULL, or it has caught up──▶ Filling, Live
///                 │                        ├─────▶ Failed ──the next run──▶ Live
///                 └────────────────────────┴─────▶ Paused ──there is room──▶ Filling, Live
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// There is no content yet: what it reads is copied, or its first run goes on. Readers wait. Not persisted: a restart fills it
    /// from what is durable.
    Filling,
    /// It is what its contract says.
    Live,
    /// Its last run failed and the content is that of the one before, if any. The next run ends it. Set by a run.
    Failed { reason: Arc<str> },
    /// It is not brought up to date any more; its content stays as it is. Set by a change that it cannot follow: a table that is
    /// gone, a column with another type. Ended by a new definition, or by REFRESH MATERIALIZED VIEW … FULL. Also one that takes
    /// too long to keep up with others: it goes on by itself, and is live again once it has caught up.
    Blocked { reason: Arc<str> },
    /// It needs more memory than there is; its content stays as it is. Set by a fill or a step that was refused, or has grown where
    /// nothing may. It goes on by itself. Not persisted.
    Paused { reason: Arc<str> },
}

/// Its rows.
#[derive(Clone, Debug)]
pub enum Content {
    /// Of a view that is kept by change: after an epoch.
    Table(Pinned),
    /// Of one that is computed anew: what a run found.
    Rows(Arc<Version>),
}

/// What a run found.
#[derive(Debug)]
pub struct Version {
    /// Counted from 1, of one view, and never given again.
    pub number: u64,
    /// When its run began: what it has read is not older.
    pub at: DateTime<Utc>,
    pub rows: Rows,
    /// By their columns, those that were asked for.
    pub(super) indexes: Mutex<BTreeMap<Vec<usize>, Option<Arc<RowIndex>>>>,
}

/// Batches that stay as they are.
#[derive(Debug)]
pub enum Rows {
    Memory(Vec<RecordBatch>),
    File(Segment),
}

impl Rows {
    pub fn row_count(&self) -> u64 {
        match self {
            Self::Memory(batches) => batches.iter().map(|rows| rows.num_rows() as u64).sum(),
            Self::File(segment) => segment.row_count(),
        }
    }

    pub fn batch_count(&self) -> usize {
        match self {
            Self::Memory(batches) => batches.len(),
            Self::File(segment) => segment.batch_count(),
        }
    }

    /// How many rows a batch has.
    ///
    /// # Panics
    /// If there is no such batch.
    pub fn batch_len(&self, number: usize) -> usize {
        match self {
            Self::Memory(batches) => batches[number].num_rows(),
            Self::File(segment) => segment.batch_len(number),
        }
    }

    /// # Errors
    /// If the file is not as it was written.
    ///
    /// # Panics
    /// If there is no such batch.
    pub fn batch(&self, number: usize) -> Result<RecordBatch, FileError> {
        match self {
            Self::Memory(batches) => Ok(batches[number].clone()),
            Self::File(segment) => segment.batch(number),
        }
    }
}

/// How old it is: on the engine's monotonic clock, from the moment at which a source was *asked* for what is in it
/// (DESIGN §3.5).
#[derive(Clone, Debug)]
pub enum AsOf {
    /// It has never been filled.
    Never,
    /// Nothing in it is older.
    At(Instant),
    /// It follows these sources.
    Following(Arc<[String]>),
    /// It follows them, too, as long as nothing has changed that it was computed of.
    Watched(Arc<Unchanged>),
}

impl PartialEq for AsOf {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Never, Self::Never) => true,
            (Self::At(one), Self::At(other)) => one == other,
            (Self::Following(one), Self::Following(other)) => one == other,
            (Self::Watched(one), Self::Watched(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Version {
    pub fn new(number: u64, at: DateTime<Utc>, rows: Rows) -> Self {
        Self {
            number,
            at,
            rows,
            indexes: Mutex::default(),
        }
    }
}

impl Shown {
    /// What a run has found, whatever came after it.
    pub fn version(generation: u64, version: Arc<Version>) -> Self {
        Self {
            generation,
            state: State::Live,
            content: Some(Content::Rows(version)),
            journal: None,
            failing: None,
            is_behind: false,
            due: None,
            as_of: AsOf::Never,
            progress: None,
            share: Weak::new(),
        }
    }

    /// Whether it should have changed by itself, as time passes, more than [`TICK`] before this time.
    pub fn is_late(&self, time: i64) -> bool {
        let late = self.due.map_or(0, |due| time.saturating_sub(due));
        late > TICK.as_nanos() as i64
    }

    /// Of one that is computed anew, its version.
    pub fn version_number(&self) -> Option<u64> {
        match &self.content {
            Some(Content::Rows(version)) => Some(version.number),
            _ => None,
        }
    }

    /// What is in memory for it; of one that is kept by change.
    pub fn bytes(&self) -> Option<usize> {
        Some(self.share.upgrade()?.bytes())
    }
}

impl Content {
    pub fn row_count(&self) -> u64 {
        match self {
            Self::Table(table) => table.row_count(),
            Self::Rows(version) => version.rows.row_count(),
        }
    }
}

impl State {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Live => "live",
            Self::Failed { .. } => "failed",
            Self::Blocked { .. } => "blocked",
            Self::Paused { .. } => "paused",
        }
    }

    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Filling | Self::Live => None,
            Self::Failed { reason } | Self::Blocked { reason } | Self::Paused { reason } => {
                Some(reason)
            }
        }
    }
}

/// All kept views of one moment. Whoever reads several of one shelf reads one epoch of those that are kept by change.
pub type Shelf = BTreeMap<ObjectId, Arc<Shown>>;

/// The newest shelf, for whoever asks; who waits is told of each.
#[derive(Debug)]
pub struct Shelves {
    newest: watch::Sender<Arc<Shelf>>,
    /// When each source was last asked for a position that its copies have reached since.
    reached: RwLock<Arc<BTreeMap<String, Instant>>>,
    /// Where the log of each source stood with what is on the shelf of its copies.
    positions: RwLock<Arc<Positions>>,
    /// Why a source's changes cannot be followed now.
    failing: RwLock<BTreeMap<String, Arc<str>>>,
    /// What sources keep of their logs.
    kept: RwLock<BTreeMap<String, LogKept>>,
    /// Of each table that is followed, what tells that it has changed.
    followed: RwLock<Arc<[Arc<Watch>]>>,
    /// What there is in memory of sources' tables.
    shares: RwLock<BTreeMap<String, Weak<Share>>>,
}

/// How far copies are: when each source was last asked for a position that they have reached since, and which they have.
#[derive(Clone, Debug)]
pub struct Ages {
    asked: Arc<BTreeMap<String, Instant>>,
    positions: Arc<Positions>,
}

/// What a source keeps of its log for what follows it.
#[derive(Clone, Debug, Default)]
pub struct LogKept {
    /// Bytes, when it was last asked. None: it does not tell.
    pub bytes: Option<u64>,
    /// When it was let go last, since it was too much.
    pub let_go: Option<DateTime<Utc>>,
}

impl Default for Shelves {
    fn default() -> Self {
        Self {
            newest: watch::Sender::new(Arc::default()),
            reached: RwLock::default(),
            positions: RwLock::default(),
            failing: RwLock::default(),
            kept: RwLock::default(),
            followed: RwLock::new(Arc::default()),
            shares: RwLock::default(),
        }
    }
}

impl Shelves {
    pub fn newest(&self) -> Arc<Shelf> {
        self.newest.borrow().clone()
    }

    /// Told of each shelf that is newer.
    pub fn watch(&self) -> watch::Receiver<Arc<Shelf>> {
        self.newest.subscribe()
    }

    /// Put another shelf in place of the newest, in one step.
    pub fn change(&self, change: impl FnOnce(&mut Shelf)) {
        self.newest
            .send_modify(|shelf| change(Arc::make_mut(shelf)));
    }

    /// Change what is shown of one view, if it is still the one that is meant.
    pub fn change_one(&self, id: &ObjectId, generation: u64, change: impl FnOnce(&mut Shown)) {
        self.change(|shelf| {
            let shown = shelf.get_mut(id);
            if let Some(shown) = shown.filter(|shown| shown.generation == generation) {
                change(Arc::make_mut(shown));
            }
        });
    }

    /// What is on the shelf of a source's copies is what it had at this moment, or later.
    pub fn reached(&self, source: &str, asked: Instant) {
        let mut reached = self.reached.write().unwrap_or_else(PoisonError::into_inner);
        if reached.get(source).is_some_and(|last| *last >= asked) {
            return;
        }
        Arc::make_mut(&mut reached).insert(source.to_string(), asked);
        drop(reached);
        // Whoever waits for that.
        self.newest.send_modify(|_| {});
    }

    /// What is on the shelf of sources' copies is what they had at these positions, or later.
    pub fn stands_at(&self, positions: &Positions) {
        let mut known = self
            .positions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if **known == *positions {
            return;
        }
        *known = Arc::new(positions.clone());
        drop(known);
        // Whoever waits for that.
        self.newest.send_modify(|_| {});
    }

    /// A source's changes cannot be followed, or can again.
    pub fn failing(&self, source: &str, reason: Option<Arc<str>>) {
        let mut failing = self.failing.write().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => failing.insert(source.to_string(), reason),
            None if failing.is_empty() => None,
            None => failing.remove(source),
        };
    }

    /// Why a source's changes cannot be followed now, if they cannot.
    pub fn failure(&self, source: &str) -> Option<Arc<str>> {
        let failing = self.failing.read().unwrap_or_else(PoisonError::into_inner);
        failing.get(source).cloned()
    }

    /// A source keeps so much of its log, and was asked to let it go or was not.
    pub fn kept(&self, source: &str, bytes: Option<u64>, is_let_go: bool) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.entry(source.to_string()).or_default();
        kept.bytes = bytes;
        if is_let_go {
            kept.let_go = Some(Utc::now());
        }
    }

    /// What a source keeps of its log, as it was asked last.
    pub fn log_kept(&self, source: &str) -> LogKept {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(source).cloned().unwrap_or_default()
    }

    /// These tables are followed.
    pub fn follows(&self, tables: Arc<[Arc<Watch>]>) {
        let mut followed = self
            .followed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *followed = tables;
    }

    /// Whether any table is followed, and not only kept.
    pub fn follows_some(&self) -> bool {
        let watches = self.followed.read();
        !watches.unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What is asked from now on of some tables, each of a source, is as they are until one of them is told to have changed. None: not
    /// all of them are followed, with the columns that are read.
    pub fn followed(&self, read: &[(String, Captured)], is_timeless: bool) -> Option<Followed> {
        let watches = self.followed.read();
        let watches = watches.unwrap_or_else(PoisonError::into_inner).clone();
        let at = Instant::now();
        let begun = read.iter().map(|(source, table)| {
            let mut of_it = watches.iter().filter(|w| w.tells_of(source, table));
            of_it.find_map(|watch| watch.begin(at))
        });
        let tables: Vec<Unchanged> = begun.collect::<Option<_>>()?;
        (!tables.is_empty()).then_some(Followed {
            tables,
            is_timeless,
        })
    }

    /// What is kept of a source's tables has this share.
    pub fn shares(&self, source: &str, share: &Arc<Share>) {
        let mut shares = self.shares.write().unwrap_or_else(PoisonError::into_inner);
        shares.insert(source.to_string(), Arc::downgrade(share));
    }

    /// What there is in memory of a source's tables. None: none of them is kept.
    pub fn bytes(&self, source: &str) -> Option<usize> {
        let shares = self.shares.read().unwrap_or_else(PoisonError::into_inner);
        Some(shares.get(source)?.upgrade()?.bytes()).filter(|bytes| *bytes > 0)
    }

    /// How old a view's content is. None: nobody knows, or there is none.
    pub fn age(&self, as_of: &AsOf) -> Option<Duration> {
        self.ages().of(as_of)
    }

    /// How old views are on each shelf from now on, at most: who wants to know it of one asks before he takes that.
    pub fn ages(&self) -> Ages {
        let asked = self.reached.read().unwrap_or_else(PoisonError::into_inner);
        let positions = self.positions.read();
        Ages {
            asked: asked.clone(),
            positions: positions.unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Ages {
    pub fn of(&self, as_of: &AsOf) -> Option<Duration> {
        self.asked(as_of).map(|asked| asked.elapsed())
    }

    /// Since when it is what there was, at least.
    pub fn asked(&self, as_of: &AsOf) -> Option<Instant> {
        match as_of {
            AsOf::Never => None,
            AsOf::At(asked) => Some(*asked),
            AsOf::Following(sources) => self.oldest(sources),
            AsOf::Watched(unchanged) => Some(self.since(unchanged)),
        }
    }

    /// Since when what was computed is what there was, at least.
    fn since(&self, unchanged: &Unchanged) -> Instant {
        let told = self.oldest(&unchanged.watch.sources);
        let told = told.filter(|_| unchanged.holds());
        told.map_or(unchanged.at, |told| told.max(unchanged.at))
    }

    /// Since when what was asked of tables is what they had, at least.
    pub fn followed(&self, followed: &Followed) -> Option<Instant> {
        let tables = followed.tables.iter();
        tables.map(|unchanged| self.since(unchanged)).min()
    }

    /// The same of what follows nothing any more: it is of the moment that it has come to.
    pub fn fixed(&self, as_of: &AsOf) -> AsOf {
        match as_of {
            AsOf::Following(sources) => self.oldest(sources).map_or(AsOf::Never, AsOf::At),
            other => other.clone(),
        }
    }

    /// Whether what is as of this has a write.
    pub fn has(&self, as_of: &AsOf, write: &Token) -> bool {
        match as_of {
            AsOf::Never => false,
            AsOf::At(asked) => *asked >= write.since,
            AsOf::Following(_) => self.reaches(write),
            AsOf::Watched(unchanged) => {
                unchanged.at >= write.since || (unchanged.holds() && self.reaches(write))
            }
        }
    }

    /// Whether copies of the source of a write have come to it.
    fn reaches(&self, write: &Token) -> bool {
        let asked = self.asked.get(&write.source);
        let is_asked = asked.is_some_and(|asked| *asked >= write.since);
        let reached = self.positions.get(&write.source);
        is_asked || (write.position.as_ref()).is_some_and(|p| reached.is_some_and(|r| r >= p))
    }

    /// When the source of these was asked that was reached longest ago.
    fn oldest(&self, sources: &[String]) -> Option<Instant> {
        let each = sources.iter().map(|source| self.asked.get(source).copied());
        each.min().flatten()
    }
}
