//! The thread that has replicas: what sources tell becomes epochs, views are brought to them, and what they have is shown.
//!
//! Its own, not one of the runtime's: an epoch is computed, not waited for. What is waited for runs on the runtime, which
//! lends it its timers and sockets. What views compute runs on threads of a [`Crew`], each view's by itself, from pinned
//! epochs of what it reads: so that neither sources nor other views wait for it, be it filled or brought up to date.
//!
//! | file | owns |
//! |---|---|
//! | `sources.rs` | sources' steps: what each tells, and how it answers |
//! | `flows.rs` | the views: which there are, what they read |
//! | `epochs.rs` | [`Epochs`]: what there was at epochs where views still have to stop |
//! | `ticks.rs` | epochs that the clock ends |
//! | `pace.rs` | bringing each view to the next epoch, and showing several together |
//! | `watches.rs` | tables of which it is only told that they have changed |
//! | `room.rs` | where memory is scarce: who waits, who goes on |
//! | `crew.rs` | [`Crew`]: threads |

mod crew;
mod epochs;
mod flows;
mod pace;
mod room;
mod sources;
mod ticks;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use belvedere_connector::Source;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use self::crew::Crew;
use self::epochs::Epochs;
pub(super) use self::epochs::{Record, Stand};
use self::pace::Done;
use self::sources::{ASK, Following, is_ready};
pub(super) use self::ticks::TICK;
use self::watches::Watching;
use super::flow::Flow;
use super::journal::Ended;
use super::marks::{At, Marks};
use super::shelf::Shelves;
use super::watch::Watch;
use super::{Executing, FlowPlan, KeptView};
use crate::catalog::ObjectId;
use crate::memory::Memory;
use crate::replication::{self, Durable, Epoch, Replication};

/// How often what there is becomes durable, if it has changed: that much a restart reads of the logs again. As often as makes it
/// a twentieth of the work, within these bounds; so that an engine that is killed again and again gets on, too. If sources only say that
/// nothing has changed, as seldom as that: by so much it may be taken for older than it is.
const CHECKPOINTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);
/// An engine that ends waits so long for sources to remove what following them has made.
const RELEASE: Duration = Duration::from_secs(5);
/// A source that has to repeat what was shown before a restart is waited for this long.
const REPLAY: Duration = Duration::from_secs(10);

pub(super) enum Command {
    /// Keep these views, with these sources.
    Settle {
        flows: Vec<(Arc<KeptView>, Arc<FlowPlan>)>,
        watches: Vec<Arc<Watch>>,
        sources: Vec<(String, Arc<dyn Source>)>,
    },
    /// Compute a view anew.
    Refill(ObjectId, oneshot::Sender<()>),
    /// Keep a view no longer.
    Forget(ObjectId),
    /// Ask sources where they stand: somebody wants what they have now.
    Ask,
    Stop,
}

/// A handle on the thread. It ends with it.
pub(super) struct Keeper {
    commands: UnboundedSender<Command>,
    /// Whether it is told to ask sources, and has not begun to: one question answers all who wait for it.
    is_to_ask: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Keeper {
    pub fn begin(
        durable: Box<dyn Durable>,
        shelves: Arc<Shelves>,
        memory: Arc<Memory>,
        execute: Executing,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded_channel();
        let is_to_ask = Arc::new(AtomicBool::new(false));
        let asks = is_to_ask.clone();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new()
            .name("views".to_string())
            .spawn(move || {
                let begun = Kept::begin(durable, shelves, memory, execute, (inbox, asks), &runtime);
                if let Some(mut kept) = begun {
                    kept.run();
                }
            })?;
        Ok(Self {
            commands,
            is_to_ask,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub fn send(&self, command: Command) {
        // It takes none once it has ended, which is with the engine.
        let _ = self.commands.send(command);
    }

    /// Ask sources where they stand, from now on.
    pub fn ask(&self) {
        if !self.is_to_ask.swap(true, Ordering::SeqCst) {
            self.send(Command::Ask);
        }
    }

    /// A view's content is given up, to be computed anew.
    pub async fn refill(&self, id: ObjectId) {
        let (done, emptied) = oneshot::channel();
        self.send(Command::Refill(id, done));
        let _ = emptied.await;
    }

    /// The data directory is free once all that is written to it has ended.
    pub fn stop(&self) {
        self.send(Command::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Kept {
    replication: Replication,
    shelves: Arc<Shelves>,
    memory: Arc<Memory>,
    execute: Executing,
    inbox: UnboundedReceiver<Command>,
    is_to_ask: Arc<AtomicBool>,
    /// A source has answered where it stands.
    answered: Arc<Notify>,
    /// In an order in which each comes after those it reads.
    flows: Vec<Flow>,
    /// As many as were begun.
    begun: u64,
    epochs: Epochs,
    /// It was cut, and is not published yet.
    unpublished: Option<Epoch>,
    /// The epoch that is shown of all views that keep up.
    together: u64,
    /// The epoch that this process has begun with.
    start: u64,
    /// The last that was shown before it: up to there, views stop at each epoch, since somebody may have been told of it.
    replays: u64,
    /// When the clock was the last to end one.
    ticked: Instant,
    /// Where epochs ended.
    marks: Arc<Marks>,
    /// When sources were asked for the positions that the last checkpoint has, as it says.
    noted: BTreeMap<String, Instant>,
    watches: Vec<Watching>,
    /// Of each table that is followed.
    tables: Vec<Watching>,
    /// Views that begin anew once these replicas are copied, and who waits for that.
    refilling: Vec<(ObjectId, BTreeSet<String>, oneshot::Sender<()>)>,
    crew: Crew,
    /// So many views are filled at a time: a processor is left for those that are.
    most_filling: usize,
    /// Where the crew leaves what it has done, and it is taken from.
    done: (UnboundedSender<Done>, UnboundedReceiver<Done>),
    sources: BTreeMap<String, Following>,
    /// Sources that remove what following them has made there.
    releasing: Vec<tokio::task::JoinHandle<()>>,
    runtime: Handle,
    checkpointed: Instant,
    /// What the last checkpoint took.
    took: Duration,
    is_changed: bool,
    began: Instant,
}

enum Event {
    Command(Option<Command>),
    Done(Done),
    Step(String, replication::Result<bool>),
    Timer,
}

impl Kept {
    /// What is durable, once it can be read. None: it is to stop before.
    fn begin(
        durable: Box<dyn Durable>,
        shelves: Arc<Shelves>,
        memory: Arc<Memory>,
        execute: Executing,
        (mut inbox, is_to_ask): (UnboundedReceiver<Command>, Arc<AtomicBool>),
        runtime: &Handle,
    ) -> Option<Self> {
        // Sources are known with the first command: replicas of others are none's.
        let (flows, watches, sources) = loop {
            match runtime.block_on(inbox.recv())? {
                Command::Settle {
                    flows,
                    watches,
                    sources,
                } => break (flows, watches, sources),
                Command::Refill(_, done) => drop(done),
                Command::Forget(_) => {}
                Command::Ask => is_to_ask.store(false, Ordering::SeqCst),
                Command::Stop => return None,
            }
        };
        let replication = match Replication::open(durable, sources.clone()) {
            Ok(replication) => replication,
            Err(e) => {
                tracing::error!("views kept by change cannot go on: {e}");
                return None;
            }
        };
        for (name, reason) in replication.lost() {
            tracing::warn!("replica {name} is copied anew: {reason}");
        }
        let boundary = replication.reader().published().boundary.clone();
        // What another version has written says nothing.
        let noted = serde_json::from_str(replication.note()).unwrap_or_default();
        let marks = Marks::new(noted, boundary.epoch);
        marks.add(&At::new(&boundary));
        // Where more was shown than there is now, no bound is satisfied.
        let mut reached = marks.asked();
        reached.retain(|source, _| {
            replication.has_source(source) && !replication.is_recorded_elsewhere(source)
        });
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut kept = Self {
            replication,
            shelves,
            memory,
            execute,
            inbox,
            is_to_ask,
            answered: Arc::default(),
            flows: Vec::new(),
            begun: 0,
            noted: reached.clone(),
            epochs: Epochs::new(&boundary, reached),
            unpublished: None,
            together: boundary.epoch,
            start: boundary.epoch,
            replays: boundary.epoch,
            ticked: Instant::now(),
            marks: Arc::new(marks),
            watches: Vec::new(),
            tables: Vec::new(),
            refilling: Vec::new(),
            crew: Crew::default(),
            most_filling: processors.saturating_sub(1).max(1),
            done: unbounded_channel(),
            sources: BTreeMap::new(),
            releasing: Vec::new(),
            runtime: runtime.clone(),
            checkpointed: Instant::now(),
            took: Duration::ZERO,
            is_changed: false,
            began: Instant::now(),
        };
        kept.replays = (kept.replication.recorded()).unwrap_or(boundary.epoch);
        kept.settle(flows, watches, sources);
        Some(kept)
    }

    fn run(&mut self) {
        let runtime = self.runtime.clone();
        loop {
            match runtime.block_on(self.next()) {
                Event::Command(None | Some(Command::Stop)) => break,
                Event::Command(Some(command)) => self.obey(command),
                Event::Step(source, step) => {
                    self.stepped(&source, step);
                    self.steps();
                }
                Event::Done(done) => self.done(done),
                Event::Timer => {}
            }
            self.ask();
            self.end_epochs();
            self.refill_copied();
            self.pace();
            self.show();
            self.checkpoint();
        }
        if self.is_changed || self.is_younger() {
            self.save();
        }
        self.flows.iter().for_each(|flow| flow.end(Ended::Closed));
        // A runtime of one thread does nothing while that waits for this one to end.
        let until = match runtime.runtime_flavor() {
            RuntimeFlavor::CurrentThread => Instant::now(),
            _ => Instant::now() + RELEASE,
        };
        let is_pending = |kept: &Self| kept.releasing.iter().any(|one| !one.is_finished());
        while is_pending(self) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    async fn next(&mut self) -> Event {
        if self.flows.is_empty() && self.watches.is_empty() {
            return Event::Command(self.inbox.recv().await);
        }
        let now = Instant::now();
        let rests = self
            .sources
            .values()
            .filter_map(|source| source.rests_until);
        let others = self.next_tick(now).into_iter().chain([now + ASK]);
        let timer = rests.chain(others).min().unwrap_or(now + ASK);
        let timer = tokio::time::sleep_until(timer.max(now + Duration::from_millis(1)).into());
        let sources = &self.sources;
        let step = self
            .replication
            .advance_any(|name| is_ready(sources, name, now));
        let answered = self.answered.notified();
        tokio::select! {
            biased;
            command = self.inbox.recv() => Event::Command(command),
            Some(done) = self.done.1.recv() => Event::Done(done),
            Some((source, step)) = step => Event::Step(source, step),
            () = answered => Event::Timer,
            () = timer => Event::Timer,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Settle {
                flows,
                watches,
                sources,
            } => self.settle(flows, watches, sources),
            Command::Refill(id, done) => self.refill(&id, done),
            Command::Forget(id) => self.forget_view(&id),
            Command::Ask => self.is_to_ask.store(false, Ordering::SeqCst),
            Command::Stop => {}
        }
        // Other sources may be followed now.
        for source in self.sources.values_mut() {
            source.is_idle = false;
            source.asked_at = None;
        }
    }

    /// End what epochs can be ended, and show each.
    fn end_epochs(&mut self) {
        if self.replication.is_replaying() && self.began.elapsed() > REPLAY {
            tracing::warn!(
                "a source has not come to where it was shown before the restart: others go on"
            );
            self.replication.give_up_recorded();
            self.replays = self.start;
        }
        self.tick();
        loop {
            match self.replication.cut() {
                Ok(Some(epoch)) => {
                    self.unpublished = Some(epoch);
                    self.is_changed = true;
                    self.sources
                        .values_mut()
                        .for_each(|source| source.is_idle = false);
                }
                Ok(None) => {}
                Err(e) => {
                    tracing::error!("no epoch can be ended: {e}");
                    break;
                }
            }
            // One that could not be published before may be now.
            if !self.said(Replication::publish) {
                break;
            }
            match self.unpublished.take() {
                Some(epoch) => {
                    self.touch(&epoch);
                    self.epochs.add(epoch, Instant::now());
                    self.marks.add(&self.epochs.newest().at);
                }
                None => break,
            }
            self.weigh_tables();
            self.renew();
        }
        self.reached();
    }

    fn checkpoint(&mut self) {
        let (least, most) = CHECKPOINTS.into_inner();
        let pause = 20 * self.took;
        let is_due = match self.checkpointed.elapsed() {
            since if self.is_changed => since >= pause.clamp(least, most),
            since => since >= pause.max(most) && self.is_younger(),
        };
        if is_due {
            self.save();
        }
    }

    /// Whether the last checkpoint says that it is older than it is: sources have been asked since.
    fn is_younger(&self) -> bool {
        self.epochs.newest().reached != self.noted
    }

    fn save(&mut self) {
        let begun = Instant::now();
        let newest = self.epochs.newest();
        let (epoch, reached) = (newest.epoch, newest.reached.clone());
        let changed = self.flows.iter().filter_map(|flow| flow.changed(epoch));
        let note = self.marks.note(epoch, changed.collect(), &reached);
        match serde_json::to_string(&note) {
            Ok(note) => self.replication.set_note(note),
            Err(e) => tracing::error!("what has changed is not noted: {e}"),
        }
        if self.said(Replication::checkpoint) {
            self.is_changed = false;
            self.noted = reached;
            // What was in memory may lie in files now.
            self.weigh_tables();
            self.renew();
        }
        self.took = begun.elapsed();
        self.checkpointed = Instant::now();
    }

    /// Whether it was done; if not, the disk has failed, and it is tried again later.
    fn said(&mut self, act: impl FnOnce(&mut Replication) -> replication::Result<()>) -> bool {
        let done = act(&mut self.replication);
        if let Err(e) = &done {
            tracing::error!("what views follow is not durable now: {e}");
        }
        done.is_ok()
    }
}
