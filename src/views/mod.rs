//! The life of kept views: what fills them, what brings them up to date, what readers find.
//!
//! *It owns* the content of materialized views and what follows their sources. The central type is [`Views`]. In flow
//! definitions ([`KeptView`], as a whole list: [`Views::settle`]); out flow a [`Shelf`], all content there is as of one
//! moment, and [`CopyTable`], which DataFusion reads it by. It never imports the engine, which hands it an [`Execute`].
//!
//! ```text
//!   definitions ──settle──▶ Views ─┬─▶ Keeper (a thread): Replication ──epoch──▶ Flows (a crew) ─────┐
//!                                  │                                                                ├──▶ Shelf ──▶ readers
//!                                  └─▶ runs: Execute ──rows──▶ checks ──▶ Version (a file) ─────────┘
//! ```
//!
//! *Kept by change* (`refresh = 'on change'`): one thread has all replicas of the engine, takes what sources tell, and ends
//! epochs. Each view goes from epoch to epoch at its own pace, on a thread of its own while there is something to compute, by
//! the change from one pinned epoch of what it reads to another. What is shown is the newest epoch that all have come to, so
//! that several views are read as of one; one that is more than 10 s behind is not waited for. A view that compares rows with the clock says
//! when it changes by itself: an epoch ends then. Replicas are durable, by
//! checkpoint; what views compute of them is not, and is computed again at start. Of one that is blocked it is, lest it be lost.
//! *Computed anew* (schedule, read, manual): a run's rows are a version, written to a file before any of it shows.
//!
//! Invariants:
//! - A shelf is never changed: a reader has what it took for as long as it likes.
//! - A view shows a run's rows once they are whole, durable and checked, or those of the run before.
//! - What there is no room for is not done: the view waits, with what it has, until there is.
//! - Runs of one view do not overlap. A view that cannot go on stays as it is, and hurts no other.
//!
//! | file | owns |
//! |---|---|
//! | `contract.rs` | [`Contract`]: the options of a definition; [`Bounds`]: those of a virtual view |
//! | `schedule.rs` | [`Schedule`]: when a run is due |
//! | `shelf.rs` | [`Shown`], [`State`], [`Shelves`]: what readers find, and how old it is |
//! | `keeper/` | the thread: sources' steps, epochs, views' paces, checkpoints |
//! | `flow.rs` | one view that is kept by change: how far it is, what of it is shown |
//! | `running.rs` | its dataflow and its table |
//! | `journal.rs` | [`Journal`](journal::Journal): what has changed in it of late |
//! | `marks.rs` | where epochs ended that were shown |
//! | `moments.rs` | when sources were asked, over a restart |
//! | `subscription/` | [`Subscription`]: who is told what changes |
//! | `runs.rs` | [`Run`]: computing a view anew, by schedule and when asked |
//! | `index.rs` | rows of a version found by the values of columns |
//! | `versions.rs` | what runs found, in files |
//! | `stopped.rs` | what views had that do not go on, in files |
//! | `watch.rs` | [`Watch`](watch::Watch): whether what was computed when it was asked for is still so |
//! | `conditions.rs` | [`Conditions`]: which changes of a table it is not so after |
//! | `reading.rs` | which shelf a statement reads |
//! | `table.rs` | [`CopyTable`]: a kept view as a table |
//! | `probe.rs` | rows of it that its indexes find |

mod conditions;
mod contract;
mod flow;
mod index;
mod journal;
mod keeper;
mod marks;
mod moments;
mod probe;
mod reading;
mod running;
mod runs;
mod schedule;
mod shelf;
mod stopped;
mod subscription;
mod table;
mod versions;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use async_trait::async_trait;
use belvedere_connector::Source;
use datafusion::execution::SendableRecordBatchStream;
use tokio::sync::Notify;

pub use conditions::Conditions;
pub use contract::{BOUNDS, Bounds, Contract, OPTIONS, Upkeep, parse_duration};
pub use index::indexes;
pub use probe::{between, each, is_counted};
pub use reading::{Readable, Unreadable, WantedCopy};
pub use runs::Run;
pub use shelf::{Ages, AsOf, Content, Shelf, Shelves, Shown, State, Version};
pub use subscription::{
    ASKED, Asked, AskedQuery, Cursor, Order, Subscription, columns as subscription_columns,
};
pub use table::CopyTable;
pub use watch::{Followed, Watch, Watched};

use self::keeper::{Command, Keeper};
use self::runs::{Recomputed, Runs};
use self::subscription::Subscribers;
use self::versions::Versions;
use crate::catalog::{Check, ObjectId, ViewDefinition};
use crate::error::{Error, Result};
use crate::incremental::Compiled;
use crate::memory::Memory;
use crate::replication::{Durable, Wanted};

/// What runs statements for views: the engine's, without what a session sets. It is told what views learn of sources.
#[async_trait]
pub trait Execute: Send + Sync {
    /// The rows of a view's query, computed now.
    async fn rows(&self, view: &ViewDefinition) -> Result<SendableRecordBatchStream>;

    /// Whether a check finds a row, the view's content being `candidate`.
    async fn finds(
        &self,
        view: &ViewDefinition,
        check: &Check,
        candidate: &Arc<Version>,
    ) -> Result<bool>;

    /// A source that could not be followed, or did not say where it stands, does so again.
    fn answers_again(&self, source: &str);
}

/// There once the engine is.
type Executing = Arc<OnceLock<Arc<dyn Execute>>>;

/// A materialized view as it is to be kept.
#[derive(Clone, Debug)]
pub struct KeptView {
    pub id: ObjectId,
    pub generation: u64,
    pub definition: Arc<ViewDefinition>,
    pub contract: Contract,
    /// The columns of its key and of its indexes.
    pub indexes: Vec<Vec<usize>>,
    /// Of one that is kept by change; or why it cannot be any more.
    pub flow: Option<Result<Arc<FlowPlan>, Arc<str>>>,
    /// Of one that is computed when it is read: the tables whose changes make it be computed anew; or why they cannot be told.
    pub watched: Option<Result<Vec<Watched>, Arc<str>>>,
}

impl KeptView {
    /// As it is before it is known what it follows. None: the view is virtual.
    ///
    /// # Errors
    /// If its options are no contract.
    pub fn new(definition: &Arc<ViewDefinition>) -> Option<Result<Self>> {
        let kept = definition.materialized.as_ref()?;
        let contract = Contract::new(&kept.options);
        Some(contract.map(|contract| Self {
            id: definition.id(),
            generation: kept.generation,
            definition: definition.clone(),
            indexes: indexes(definition, &contract),
            contract,
            flow: None,
            watched: None,
        }))
    }
}

/// How a view follows what it reads.
#[derive(Debug)]
pub struct FlowPlan {
    pub compiled: Arc<Compiled>,
    /// As [`Compiled::inputs`] has them.
    pub inputs: Vec<FlowInput>,
    /// The query, as far as it decides what is kept: one that is compiled to the same is not begun anew.
    pub fingerprint: String,
}

/// What an input of a dataflow is.
#[derive(Clone, Debug)]
pub enum FlowInput {
    /// Some columns of a source's table, with the indexes that are probed.
    Table(Wanted),
    /// A view that is kept by change, too.
    View(ObjectId),
}

/// The kept views of an engine.
pub struct Views {
    shelves: Arc<Shelves>,
    versions: Versions,
    /// Of views that are kept by change and do not go on: what they had.
    stopped: Versions,
    runs: Runs,
    recomputed: Mutex<BTreeMap<ObjectId, Arc<Recomputed>>>,
    /// By generation, of the views that are kept by change.
    plans: Mutex<BTreeMap<u64, Arc<FlowPlan>>>,
    /// Of views that are computed when they are read: what tells that it is time, or why nothing does.
    watches: Mutex<BTreeMap<ObjectId, Result<Arc<Watch>, Arc<str>>>>,
    /// Something is due sooner than it was.
    changed: Arc<Notify>,
    execute: Executing,
    keeper: Keeper,
    /// For what is kept by change.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    pub memory: Arc<Memory>,
    /// Queries that are kept while somebody subscribes to them.
    pub asked: Asked,
    pub subscribers: Arc<Subscribers>,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}

impl Views {
    /// With what is durable, and with what may be kept in memory. Nothing begins before [`Views::start`].
    ///
    /// # Errors
    /// If no thread can be made.
    pub fn new(
        data_dir: Option<&Path>,
        durable: Box<dyn Durable>,
        memory: Arc<Memory>,
    ) -> Result<Self> {
        let shelves = Arc::new(Shelves::default());
        let execute = Executing::default();
        let keeper = Keeper::begin(durable, shelves.clone(), memory.clone(), execute.clone());
        let keeper = keeper.map_err(|e| Error::Store {
            message: format!("no thread can be made for views: {e}"),
            help: None,
        })?;
        Ok(Self {
            shelves,
            versions: Versions::new(data_dir.map(|dir| dir.join("views"))),
            stopped: Versions::new(data_dir.map(|dir| dir.join("stopped"))),
            runs: Runs::default(),
            recomputed: Mutex::default(),
            plans: Mutex::default(),
            watches: Mutex::default(),
            changed: Arc::default(),
            execute,
            keeper,
            memory,
            asked: Asked::default(),
            subscribers: Arc::default(),
        })
    }

    /// Begin to run what is due. Once.
    pub fn start(self: &Arc<Self>, execute: Arc<dyn Execute>) {
        let _ = self.execute.set(execute);
        tokio::spawn(Self::keep_schedule(
            Arc::downgrade(self),
            self.changed.clone(),
        ));
        if self.stopped.are_durable() {
            tokio::spawn(Self::keep_stopped(Arc::downgrade(self)));
        }
    }

    /// Follow nothing any more. On return the data directory is nobody's, but for runs that go on.
    pub fn stop(&self) {
        self.keeper.stop();
    }

    /// Keep these views, which read these sources, and no others. Those that are kept already go on.
    pub fn settle(&self, mut views: Vec<KeptView>, sources: Vec<(String, Arc<dyn Source>)>) {
        // Locked to the end, so that none that is given up meanwhile is begun again.
        let asked = self.asked.lock();
        views.retain(|view| !Asked::is_one(&view.id) || asked.contains_key(&view.id));
        for versions in [&self.versions, &self.stopped] {
            versions.retain(|g| views.iter().any(|v| v.generation == g));
        }
        self.shelves.change(|shelf| {
            shelf.retain(|id, shown| {
                let same = |v: &KeptView| v.id == *id && v.generation == shown.generation;
                views.iter().any(same)
            });
        });
        let watches = self.settle_watches(&views);
        let mut flows = Vec::new();
        let mut recomputed = BTreeMap::new();
        for view in views.into_iter().map(Arc::new) {
            let id = view.id.clone();
            match &view.flow {
                None => {}
                Some(Ok(plan)) => {
                    self.show_new(&view, self.stopped_before(&view));
                    flows.push((view.clone(), plan.clone()));
                    continue;
                }
                Some(Err(reason)) => {
                    self.show_new(&view, self.stopped_before(&view));
                    let state = State::Blocked {
                        reason: reason.clone(),
                    };
                    let ages = self.shelves.ages();
                    let block = |shown: &mut Shown| {
                        shown.state = state;
                        shown.is_behind = false;
                        // Its rows do not become younger with their sources any more.
                        shown.as_of = ages.fixed(&shown.as_of);
                    };
                    self.shelves.change_one(&id, view.generation, block);
                    continue;
                }
            }
            let of = |old: &&Arc<Recomputed>| old.view.generation == view.generation;
            let old = self.recomputed().values().find(of).cloned();
            let same = |old: &Recomputed| old.view.id == id && old.view.contract == view.contract;
            let kept = old.clone().filter(|old| same(old)).unwrap_or_else(|| {
                let (versions, damaged) = self.versions.open(view.generation);
                for reason in damaged {
                    tracing::warn!(view = %id, "a version cannot be read: {reason}");
                }
                let newest = versions.last().cloned();
                let last = newest.as_ref().map(|version| version.at);
                self.show_new(&view, newest);
                Arc::new(Recomputed::new(view, last, old.as_deref()))
            });
            recomputed.insert(id, kept);
        }
        *self.recomputed() = recomputed;
        let plans = flows
            .iter()
            .map(|(view, plan)| (view.generation, plan.clone()));
        *self.plans() = plans.collect();
        self.keeper.send(Command::Settle {
            flows,
            watches,
            sources,
        });
        self.changed.notify_one();
    }

    /// The watches of these views; those that are not among them tell nothing any more.
    fn settle_watches(&self, views: &[KeptView]) -> Vec<Arc<Watch>> {
        let mut watches = self.watches();
        let mut old = std::mem::take(&mut *watches);
        for view in views {
            let watch = match &view.watched {
                None => continue,
                Some(Err(reason)) => Err(reason.clone()),
                Some(Ok(tables)) => match old.remove(&view.id) {
                    Some(Ok(same)) if same.tables == *tables => Ok(same),
                    other => {
                        if let Some(Ok(other)) = other {
                            other.set_live(false);
                        }
                        Ok(Arc::new(Watch::new(tables.clone())))
                    }
                },
            };
            watches.insert(view.id.clone(), watch);
        }
        old.into_values()
            .flatten()
            .for_each(|gone| gone.set_live(false));
        watches.values().flatten().cloned().collect()
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Result<Arc<Watch>, Arc<str>>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a view that is computed when it is read: what tells that it is to be, or why its age has to.
    pub fn watch(&self, id: &ObjectId) -> Option<Result<Arc<Watch>, Arc<str>>> {
        self.watches().get(id).cloned()
    }

    /// Put a view on the shelf that is not there yet.
    fn show_new(&self, view: &KeptView, version: Option<Arc<Version>>) {
        let at = version.as_ref().and_then(|v| moments::since(v.at));
        let as_of = at.map_or(AsOf::Never, AsOf::At);
        let shown = Shown {
            generation: view.generation,
            state: match version {
                Some(_) if view.flow.is_none() => State::Live,
                _ => State::Filling,
            },
            // It may go on after all, and may have done so before.
            is_behind: version.is_some() && view.flow.is_some(),
            content: version.map(Content::Rows),
            journal: None,
            failing: None,
            due: None,
            // What has changed while nobody was told is not known.
            as_of: match view.watched {
                Some(Ok(_)) => AsOf::Never,
                _ => as_of,
            },
            progress: None,
            share: Weak::new(),
        };
        self.shelves.change(|shelf| {
            let old = shelf.get(&view.id).map(|old| old.generation);
            if old != Some(view.generation) {
                shelf.insert(view.id.clone(), Arc::new(shown));
            }
        });
    }

    /// How a view that is kept by change follows what it reads, since it was settled.
    pub fn plan(&self, generation: u64) -> Option<Arc<FlowPlan>> {
        self.plans().get(&generation).cloned()
    }

    fn plans(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<FlowPlan>>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn shelves(&self) -> &Arc<Shelves> {
        &self.shelves
    }

    /// What a view had, oldest first, as far as it is kept.
    pub fn versions(&self, generation: u64) -> Vec<Arc<Version>> {
        self.versions.of(generation)
    }

    /// What ran, newest last.
    pub fn runs(&self) -> Vec<Run> {
        self.runs.all()
    }

    /// Bring a view up to date, and how many rows it has then. `full`: compute it anew, also one that is kept by change.
    ///
    /// # Errors
    /// The run's; if there is no such view.
    pub async fn refresh(self: &Arc<Self>, id: &ObjectId, full: bool) -> Result<u64> {
        let recomputed = self.recomputed().get(id).cloned();
        match recomputed {
            Some(kept) => self.run_next(&kept, "manual", None).await,
            None => {
                let shelf = self.shelves.newest();
                let has_content = shelf.get(id).is_some_and(|shown| shown.content.is_some());
                if full || (self.is_blocked(id) && !has_content) {
                    self.keeper.refill(id.clone()).await;
                }
                let shown = self.filled(id).await?;
                match &shown.state {
                    State::Blocked { reason } => {
                        let is_followed = self.plan(shown.generation).is_some();
                        return Err(reading::blocked(id, reason, is_followed));
                    }
                    State::Paused { reason } => return Err(reading::paused(id, reason)),
                    _ => {}
                }
                Ok(shown.content.as_ref().map_or(0, Content::row_count))
            }
        }
    }

    /// Whether a view is computed anew, and not kept by change.
    fn is_recomputed(&self, id: &ObjectId) -> bool {
        self.recomputed().contains_key(id)
    }

    /// Whether a view does not go on.
    pub fn is_blocked(&self, id: &ObjectId) -> bool {
        let shelf = self.shelves.newest();
        let shown = shelf.get(id);
        shown.is_some_and(|shown| matches!(shown.state, State::Blocked { .. }))
    }

    /// What is shown of a view that is computed when it is read, if that is older than it may be.
    ///
    /// # Errors
    /// The run's.
    pub async fn renewed(self: &Arc<Self>, id: &ObjectId, since: Instant) -> Result<()> {
        let recomputed = self.recomputed().get(id).cloned();
        if let Some(kept) = recomputed {
            self.run_next(&kept, "read", Some(since)).await?;
        }
        Ok(())
    }

    /// A view once it has content, waited for.
    ///
    /// # Errors
    /// If it is gone, or cannot be filled: with the reason.
    pub async fn filled(&self, id: &ObjectId) -> Result<Arc<Shown>> {
        let mut watch = self.shelves.watch();
        loop {
            let shown = watch.borrow_and_update().get(id).cloned();
            let shown = shown.ok_or_else(|| Error::Unknown {
                what: "materialized view",
                name: id.to_string(),
                hint: None,
            })?;
            match (&shown.content, &shown.state) {
                (Some(_), _) => return Ok(shown),
                (None, State::Blocked { reason } | State::Failed { reason }) => {
                    return Err(reading::never_filled(id, reason));
                }
                (None, State::Paused { reason }) => return Err(reading::no_room(id, reason)),
                _ => {}
            }
            if watch.changed().await.is_err() {
                return Err(Error::Cancelled);
            }
        }
    }

    fn execute(&self) -> Result<&Arc<dyn Execute>> {
        self.execute.get().ok_or(Error::Cancelled)
    }
}

/// What the clock says: nanoseconds since 1970 in UTC.
fn clock() -> i64 {
    chrono::Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX)
}
