//! Epochs: where they end, in which order they are made durable and shown.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::{Change, Source, TableRef};
use futures::FutureExt;
use futures::future::select_all;

use super::durable::Durable;
use super::error::{Error, Result};
use super::replica::Replica;
use super::state::{Boundary, Checkpoint, Positions, Published, State, Wanted};
use super::tracked::{Applied, Progress, Tracked};
use crate::store::{Pinned, ZSet};

/// Replicas of tables of some sources, which go from epoch to epoch.
///
/// Its owner has the steps: [`Replication::advance`] for what comes from a source, then, as often as it likes,
/// [`Replication::cut`], what follows from the epoch's changes, and [`Replication::publish`]; and sometimes
/// [`Replication::checkpoint`]. A step that fails is tried again.
pub struct Replication {
    sources: BTreeMap<String, Tracked>,
    durable: Box<dyn Durable>,
    /// The newest, published or not.
    epoch: u64,
    /// What it takes for now.
    clock: i64,
    /// What the next one takes for now, and whether it is to end though no source has anything new.
    now: i64,
    is_due: bool,
    /// Recorded before the process began, and not reached yet.
    recorded: VecDeque<Boundary>,
    /// The newest is to be published, and before that, with `true`, to be made durable with all there is.
    unpublished: Option<bool>,
    /// What checkpoints have besides.
    note: String,
    published: Arc<Mutex<Arc<Published>>>,
    /// Whose turn it is where several sources have something.
    turn: usize,
}

/// What an epoch did.
#[derive(Debug)]
pub struct Epoch {
    pub boundary: Boundary,
    /// Of all replicas, by name.
    pub replicas: BTreeMap<String, Changed>,
    /// What sources have told, by name: each of their transactions' changes, one after the other.
    pub told: BTreeMap<String, Vec<(TableRef, Change)>>,
}

/// A replica before and after an epoch.
#[derive(Debug)]
pub struct Changed {
    pub state: State,
    pub before: Pinned,
    /// None: it is the same, but that it may have become readable with nothing in it.
    pub change: Option<ZSet>,
    pub after: Pinned,
    pub touched: Touched,
}

/// Whether something has changed in a table; also where its rows are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    No,
    /// What the epoch was told of it.
    Told,
    /// A copy has joined: it may have changed while nobody told how.
    Anew,
}

/// What others read: a handle on the newest epoch.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Mutex<Arc<Published>>>);

impl Reader {
    /// The newest epoch that was published.
    pub fn published(&self) -> Arc<Published> {
        let published = self.0.lock();
        published.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Replication {
    /// Go on from what is durable, with these sources by name. Contacts none of them. Replicas of others are given up: their
    /// source was dropped when the process ended.
    ///
    /// # Errors
    /// The disk's; if what it has does not fit these sources.
    pub fn open(
        mut durable: Box<dyn Durable>,
        sources: Vec<(String, Arc<dyn Source>)>,
    ) -> Result<Self> {
        let (checkpoint, recorded) = durable.recover()?;
        let (boundary, replicas, note) = match checkpoint {
            Some(checkpoint) => (checkpoint.boundary, checkpoint.replicas, checkpoint.note),
            None => Default::default(),
        };
        let tracked = |(name, source): (String, Arc<dyn Source>)| {
            let reached = boundary.positions.get(&name).cloned();
            let tracked = Tracked::new(&name, source, reached);
            (name, tracked)
        };
        let mut sources: BTreeMap<String, Tracked> = sources.into_iter().map(tracked).collect();
        for (name, kept) in &replicas {
            let Some(source) = sources.get_mut(&kept.wanted.source) else {
                continue;
            };
            let replica = Replica::restored(name, kept, boundary.epoch);
            let replica = replica.map_err(Error::Checkpoint)?;
            source.replicas.insert(name.clone(), replica);
        }
        let published = Published {
            boundary: boundary.clone(),
            tables: BTreeMap::new(),
            behind: Arc::new([]),
        };
        let mut replication = Self {
            sources,
            durable,
            epoch: boundary.epoch,
            clock: boundary.clock,
            now: boundary.clock,
            is_due: false,
            recorded: recorded.into(),
            unpublished: None,
            note,
            published: Arc::new(Mutex::new(Arc::new(published))),
            turn: 0,
        };
        replication.show();
        Ok(replication)
    }

    /// What the last checkpoint's owner has noted, or this one since.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Have checkpoints say this, too, from the next one on.
    pub fn set_note(&mut self, note: String) {
        self.note = note;
    }

    pub fn reader(&self) -> Reader {
        Reader(self.published.clone())
    }

    /// One more source, or another in place of one: its log is gone on with where it is the same, else its tables are copied
    /// anew.
    pub fn add_source(&mut self, name: &str, source: Arc<dyn Source>) {
        let mut tracked = Tracked::new(name, source, None);
        if let Some(old) = self.sources.remove(name) {
            tracked = old.on(tracked);
        }
        self.sources.insert(name.to_string(), tracked);
    }

    pub fn has_source(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// Without a source and its replicas.
    ///
    /// # Errors
    /// The disk's: after a restart they may be there again.
    pub fn remove_source(&mut self, name: &str) -> Result<()> {
        match self.sources.remove(name) {
            None => Ok(()),
            Some(_) => {
                self.show_again();
                self.checkpoint()
            }
        }
    }

    /// Follow one more table, under a name. One table may have several replicas, with other columns. Durable on return.
    ///
    /// # Errors
    /// If the name is taken; the disk's: it is not followed then.
    pub fn add(&mut self, name: &str, wanted: Wanted) -> Result<()> {
        if self.replica(name).is_some() {
            return Err(Error::Exists(name.to_string()));
        }
        let source = self.sources.get_mut(&wanted.source);
        let source = source.ok_or_else(|| Error::UnknownSource(wanted.source.clone()))?;
        let replica = Replica::new(name, wanted.clone());
        source.replicas.insert(name.to_string(), replica);
        let saved = self.checkpoint();
        if saved.is_err()
            && let Some(source) = self.sources.get_mut(&wanted.source)
        {
            source.replicas.remove(name);
        }
        saved
    }

    /// Follow a table no longer. Who reads it keeps what he has.
    ///
    /// # Errors
    /// If there is no such replica; the disk's: after a restart it may be there again.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let removed = self
            .sources
            .values_mut()
            .find_map(|source| source.replicas.remove(name));
        removed.ok_or_else(|| Error::UnknownReplica(name.to_string()))?;
        self.show_again();
        self.checkpoint()
    }

    /// Copy a replica that is live anew: it goes on until the copy takes its place, as the change from one to the other. Whether it
    /// is live.
    pub fn renew(&mut self, name: &str) -> bool {
        let mut sources = self.sources.values_mut();
        let replica = sources.find_map(|source| source.replicas.get_mut(name));
        replica.is_some_and(Replica::renew)
    }

    /// Find a replica's rows by these columns, too, from its next epoch on.
    ///
    /// # Errors
    /// If there is no such replica, or it has no such columns.
    pub fn add_index(&mut self, name: &str, columns: Vec<usize>) -> Result<()> {
        let replica = (self.sources.values_mut()).find_map(|s| s.replicas.get_mut(name));
        let replica = replica.ok_or_else(|| Error::UnknownReplica(name.to_string()))?;
        let added = replica.add_index(columns);
        added.map_err(|e| Error::Index(name.to_string(), e))
    }

    /// What is followed, by the replicas' names.
    pub fn wanted(&self) -> impl Iterator<Item = (&str, &Wanted, &State)> {
        let replicas = self.sources.values().flat_map(|source| &source.replicas);
        replicas.map(|(name, replica)| (name.as_str(), replica.wanted(), replica.state()))
    }

    /// The newest content of a replica, if there is one to read.
    pub fn content(&self, name: &str) -> Option<Pinned> {
        let replica = self.replica(name)?;
        replica.state().is_readable().then(|| replica.content())
    }

    /// The state of a replica, if there is one of this name.
    pub fn state(&self, name: &str) -> Option<&State> {
        self.replica(name).map(Replica::state)
    }

    fn replica(&self, name: &str) -> Option<&Replica> {
        (self.sources.values()).find_map(|source| source.replicas.get(name))
    }

    /// What a source's tables take in memory. Looks at each chunk.
    pub fn table_bytes(&self, source: &str) -> usize {
        self.sources.get(source).map_or(0, Tracked::table_bytes)
    }

    /// What a source's changes take that are in no epoch yet.
    pub fn stream_bytes(&self, source: &str) -> usize {
        self.sources.get(source).map_or(0, Tracked::stream_bytes)
    }

    /// Replicas of a source of which there is a copy that has not joined, and what that takes.
    pub fn copies(&self, source: &str) -> impl Iterator<Item = (&str, usize)> {
        let replicas = self.sources.get(source).into_iter();
        let replicas = replicas.flat_map(|source| &source.replicas);
        let bytes = replicas.map(|(name, replica)| (name.as_str(), replica.copy_bytes()));
        bytes.filter(|(_, bytes)| *bytes > 0)
    }

    /// Whether there is a copy of a replica that is not whole.
    pub fn is_copying(&self, name: &str) -> bool {
        self.replica(name).is_some_and(Replica::is_copying)
    }

    /// Whether a replica has no copy that has joined: it is to be copied, or is being copied.
    pub fn waits_for_copy(&self, name: &str) -> bool {
        self.replica(name).is_some_and(Replica::waits_for_copy)
    }

    /// Copy nothing of a table now, or go on to. What was copied of it is given up, unless it is all.
    pub fn hold(&mut self, name: &str, is_held: bool) {
        let mut sources = self.sources.values_mut();
        if let Some(source) = sources.find(|source| source.replicas.contains_key(name)) {
            source.hold(name, is_held);
        }
    }

    /// Give up what has come of a source's transaction that is not whole. It comes again, with the next step.
    pub fn drop_pieces(&mut self, source: &str) {
        if let Some(source) = self.sources.get_mut(source) {
            source.drop_pieces();
        }
    }

    /// The newest epoch, published or not.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The next step with whichever of some sources has one first; in turn, where several have. None: there is none of them. See
    /// [`Replication::advance`].
    pub async fn advance_any(
        &mut self,
        is_asked: impl Fn(&str) -> bool,
    ) -> Option<(String, Result<bool>)> {
        let asked = self.sources.iter_mut().filter(|(name, _)| is_asked(name));
        let mut steps: Vec<_> = asked
            .map(|(name, source)| {
                source
                    .advance()
                    .map(move |moved| (name.clone(), moved))
                    .boxed()
            })
            .collect();
        if steps.is_empty() {
            return None;
        }
        let first = self.turn % steps.len();
        steps.rotate_left(first);
        self.turn = self.turn.wrapping_add(1);
        let ((name, progress), _, others) = select_all(steps).await;
        drop(others);
        if matches!(progress, Ok(Progress::Told)) {
            self.show_again();
        }
        Some((name, progress.map(|progress| progress != Progress::Idle)))
    }

    /// Epochs that were recorded before the process began are not waited for any more: a source that has to have come as far
    /// is down, and others go on without it. What is shown of it is older than what was: [`Published::behind`] says so.
    pub fn give_up_recorded(&mut self) {
        if let Some(last) = self.recorded.back() {
            self.epoch = last.epoch;
            self.clock = self.clock.max(last.clock);
            self.recorded.clear();
        }
    }

    /// The last epoch that was recorded before the process began, and has not come again.
    pub fn recorded(&self) -> Option<u64> {
        self.recorded.back().map(|boundary| boundary.epoch)
    }

    /// Whether an epoch that was recorded before the process began, and has not come again, has a source elsewhere than it is now: somebody
    /// may have been shown what is not there.
    pub fn is_recorded_elsewhere(&self, source: &str) -> bool {
        let tracked = self.sources.get(source);
        let reached = tracked.and_then(|tracked| tracked.reached.as_ref());
        let mut recorded = (self.recorded.iter()).filter_map(|epoch| epoch.positions.get(source));
        recorded.any(|recorded| reached != Some(recorded))
    }

    /// What the clock says, in nanoseconds since 1970: the next epoch takes it for now, unless one before it was later. `is_due`: it
    /// is to end even if no source has anything new.
    pub fn tick(&mut self, clock: i64, is_due: bool) {
        self.now = clock;
        self.is_due |= is_due;
    }

    /// Whether epochs that were recorded before the process began are yet to come.
    pub fn is_replaying(&self) -> bool {
        !self.recorded.is_empty()
    }

    /// The next step with a source: what it has is waited for. Whether there was one; if not, nothing is left to do, or an epoch
    /// is to be cut first.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The source's, where it is not one table's alone: to be tried again, after a while.
    pub async fn advance(&mut self, source: &str) -> Result<bool> {
        let tracked = self.sources.get_mut(source);
        let tracked = tracked.ok_or_else(|| Error::UnknownSource(source.to_string()))?;
        let progress = tracked.advance().await?;
        if progress == Progress::Told {
            self.show_again();
        }
        Ok(progress != Progress::Idle)
    }

    /// End an epoch where sources are now, if there is anything new, or the clock wants one ([`Replication::tick`]); after a
    /// restart first those that were recorded, as they were. None: there is nothing, or not yet all that a recorded one has, or
    /// the last one is not published.
    ///
    /// # Errors
    /// The disk's: nothing has changed.
    pub fn cut(&mut self) -> Result<Option<Epoch>> {
        if self.unpublished.is_some() {
            return Ok(None);
        }
        let recorded = self.recorded.front();
        let positions = match recorded {
            Some(boundary) => self.replayed(boundary),
            None => Some(self.available()),
        };
        let Some(positions) = positions else {
            return Ok(None);
        };
        let boundary = Boundary {
            epoch: recorded.map_or(self.epoch + 1, |boundary| boundary.epoch),
            positions,
            clock: recorded
                .map_or(self.now, |boundary| boundary.clock)
                .max(self.clock),
        };
        let is_replay = recorded.is_some();
        // A copy is in no log: what it joins is durable by a checkpoint, or a replay would have to make it as it was.
        let is_joined = !is_replay
            && self
                .sources
                .iter()
                .filter_map(|(name, source)| Some((source, boundary.positions.get(name)?)))
                .any(|(source, position)| source.is_joined(position));
        if !is_replay && !is_joined {
            if boundary.positions == self.positions() && !self.is_due {
                return Ok(None);
            }
            self.durable.record(&boundary)?;
        }
        let (mut replicas, mut told) = (BTreeMap::new(), BTreeMap::new());
        for (name, source) in &mut self.sources {
            let Some(position) = boundary.positions.get(name) else {
                continue;
            };
            let taken = source.apply(boundary.epoch, position, !is_replay);
            told.insert(name.clone(), taken.told);
            for Applied {
                name,
                before,
                change,
                touched,
            } in taken.applied
            {
                let Some(replica) = source.replicas.get(&name) else {
                    continue;
                };
                let (state, after) = (replica.state().clone(), replica.content());
                let changed = Changed {
                    state,
                    before,
                    change,
                    after,
                    touched,
                };
                replicas.insert(name, changed);
            }
        }
        self.epoch = boundary.epoch;
        self.clock = boundary.clock;
        self.is_due &= is_replay;
        self.recorded.pop_front();
        self.unpublished = Some(is_joined);
        Ok(Some(Epoch {
            boundary,
            replicas,
            told,
        }))
    }

    /// Show the epoch that was cut last. Before that, if copies have joined it, it is made durable.
    ///
    /// # Errors
    /// The disk's: it is not shown.
    pub fn publish(&mut self) -> Result<()> {
        match self.unpublished {
            None => return Ok(()),
            Some(true) => self.checkpoint()?,
            Some(false) => {}
        }
        self.unpublished = None;
        self.show();
        Ok(())
    }

    /// Make what there is durable, and let sources forget what came before.
    ///
    /// # Errors
    /// The disk's.
    pub fn checkpoint(&mut self) -> Result<()> {
        let replicas = self.sources.values().flat_map(|source| &source.replicas);
        let replicas = replicas.map(|(name, replica)| (name.clone(), replica.kept()));
        self.durable.checkpoint(&Checkpoint {
            boundary: self.boundary(),
            replicas: replicas.collect(),
            note: self.note.clone(),
        })?;
        self.sources.values_mut().for_each(Tracked::durable);
        let mapped = self.durable.mapped();
        if !mapped.is_empty() {
            let sources = self.sources.values_mut();
            let replicas = sources.flat_map(|source| source.replicas.values_mut());
            replicas.for_each(|replica| replica.remap(&mapped));
            // Else what is shown would keep what is in memory.
            self.show_again();
        }
        Ok(())
    }

    /// Of all replicas, by name.
    pub fn states(&self) -> BTreeMap<String, State> {
        let states = self.sources.values().flat_map(Tracked::states);
        states
            .map(|(name, state)| (name.clone(), state.clone()))
            .collect()
    }

    /// Replicas whose content was damaged on the disk, by name, and in which file. They are copied anew.
    pub fn lost(&self) -> BTreeMap<String, String> {
        let replicas = self.sources.values().flat_map(|source| &source.replicas);
        let lost = replicas.filter_map(|(name, replica)| Some((name, replica.lost()?)));
        lost.map(|(name, why)| (name.clone(), why.to_string()))
            .collect()
    }

    fn positions(&self) -> Positions {
        let reached =
            |(name, source): (&String, &Tracked)| Some((name.clone(), source.reached.clone()?));
        self.sources.iter().filter_map(reached).collect()
    }

    fn boundary(&self) -> Boundary {
        Boundary {
            epoch: self.epoch,
            positions: self.positions(),
            clock: self.clock,
        }
    }

    fn available(&self) -> Positions {
        let available =
            |(name, source): (&String, &Tracked)| Some((name.clone(), source.available()?.clone()));
        self.sources.iter().filter_map(available).collect()
    }

    /// Without sources of which nothing is kept: it was another of that name that was recorded. None: a source has not come that far.
    fn replayed(&self, recorded: &Boundary) -> Option<Positions> {
        let kept = recorded.positions.iter().filter_map(|(name, position)| {
            let source = self.sources.get(name)?;
            source.reached.as_ref().map(|_| (name, source, position))
        });
        kept.map(|(name, source, position)| Some((name.clone(), source.replayed(position)?)))
            .collect()
    }

    /// The same epoch, with what there is to be told of it now. One that is not published yet tells it itself.
    fn show_again(&mut self) {
        if self.unpublished.is_none() {
            self.show();
        }
    }

    fn show(&mut self) {
        let mut tables = BTreeMap::new();
        for (name, replica) in self.sources.values().flat_map(|source| &source.replicas) {
            if replica.state().is_readable() {
                tables.insert(name.clone(), (replica.state().clone(), replica.content()));
            }
        }
        let behind = self.sources.iter().filter(|(_, source)| source.is_behind());
        let published = Published {
            boundary: self.boundary(),
            tables,
            behind: behind.map(|(name, _)| name.clone()).collect(),
        };
        let mut newest = (self.published.lock()).unwrap_or_else(PoisonError::into_inner);
        *newest = Arc::new(published);
    }
}
