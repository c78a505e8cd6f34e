//! The thread that has replicas and dataflows: what sources tell becomes epochs, and each epoch is shown.
//!
//! Its own, not one of the runtime's: an epoch is computed, not waited for. What is waited for runs on the runtime, which
//! lends it its timers and sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::{Kind, Position, Source};
use futures::FutureExt;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::flow::{Flow, Flowed};
use super::shelf::Shelves;
use super::{FlowInput, FlowPlan, KeptView};
use crate::catalog::ObjectId;
use crate::incremental::Moved;
use crate::replication::{self, Durable, Epoch, Replication, State as Followed, Wanted};
use crate::store::Pinned;

/// Steps of sources that one epoch takes, if they are there: one transaction goes straight through, a flood is batched.
const STEPS_PER_EPOCH: usize = 4_096;
/// How often what there is becomes durable, if it has changed: that much a restart reads of the logs again.
const CHECKPOINT: Duration = Duration::from_secs(10);
/// How often a source is asked where its log stands.
const ASK: Duration = Duration::from_millis(500);
/// A source that failed is left alone: doubled with each failure, up to a limit.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// An engine that ends waits so long for sources to remove what following them has made.
const RELEASE: Duration = Duration::from_secs(5);
/// A source that has to repeat what was shown before a restart is waited for this long.
const REPLAY: Duration = Duration::from_secs(10);

pub(super) enum Command {
    /// Keep these views, with these sources.
    Settle {
        flows: Vec<(Arc<KeptView>, Arc<FlowPlan>)>,
        sources: Vec<(String, Arc<dyn Source>)>,
    },
    /// Compute a view anew.
    Refill(ObjectId, oneshot::Sender<()>),
    Stop,
}

/// A handle on the thread. It ends with it.
pub(super) struct Keeper {
    commands: UnboundedSender<Command>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    pub fn begin(durable: Box<dyn Durable>, shelves: Arc<Shelves>) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded_channel();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new()
            .name("views".to_string())
            .spawn(move || {
                if let Some(mut kept) = Kept::begin(durable, shelves, inbox, &runtime) {
                    kept.run();
                }
            })?;
        Ok(Self {
            commands,
            thread: Some(thread),
        })
    }

    pub fn send(&self, command: Command) {
        // It takes none once it has ended, which is with the engine.
        let _ = self.commands.send(command);
    }

    /// A view's content is given up, to be computed anew.
    pub async fn refill(&self, id: ObjectId) {
        let (done, emptied) = oneshot::channel();
        self.send(Command::Refill(id, done));
        let _ = emptied.await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.send(Command::Stop);
        // The data directory is free once all that is written to it has ended.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Kept {
    replication: Replication,
    shelves: Arc<Shelves>,
    inbox: UnboundedReceiver<Command>,
    /// In an order in which each comes after those it reads.
    flows: Vec<Flow>,
    sources: BTreeMap<String, Following>,
    /// Sources whose copies have not come to where the source stood at the start.
    behind: Arc<[String]>,
    /// Sources that remove what following them has made there.
    releasing: Vec<tokio::task::JoinHandle<()>>,
    runtime: Handle,
    checkpointed: Instant,
    is_changed: bool,
    began: Instant,
}

/// A source, and how it has answered.
struct Following {
    source: Arc<dyn Source>,
    /// It has nothing until an epoch has ended.
    is_idle: bool,
    failures: u32,
    rests_until: Option<Instant>,
    asking: Option<tokio::task::JoinHandle<Option<(Instant, Position)>>>,
    /// Where it stood when it was asked, and its copies have not come to.
    asked: Option<(Instant, Position)>,
    asked_at: Instant,
}

enum Event {
    Command(Option<Command>),
    Step(String, replication::Result<bool>),
    Timer,
}

impl Kept {
    /// What is durable, once it can be read. None: it is to stop before.
    fn begin(
        durable: Box<dyn Durable>,
        shelves: Arc<Shelves>,
        mut inbox: UnboundedReceiver<Command>,
        runtime: &Handle,
    ) -> Option<Self> {
        // Sources are known with the first command: replicas of others are none's.
        let (flows, sources) = loop {
            match runtime.block_on(inbox.recv())? {
                Command::Settle { flows, sources } => break (flows, sources),
                Command::Refill(_, done) => drop(done),
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
        let mut kept = Self {
            replication,
            shelves,
            inbox,
            flows: Vec::new(),
            sources: BTreeMap::new(),
            behind: Arc::default(),
            releasing: Vec::new(),
            runtime: runtime.clone(),
            checkpointed: Instant::now(),
            is_changed: false,
            began: Instant::now(),
        };
        kept.settle(flows, sources);
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
                    self.steps(&runtime);
                }
                Event::Timer => {}
            }
            self.ask(&runtime);
            self.end_epochs();
            self.checkpoint();
        }
        if self.is_changed {
            self.save();
        }
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
        if self.flows.is_empty() {
            return Event::Command(self.inbox.recv().await);
        }
        let now = Instant::now();
        let rests = self
            .sources
            .values()
            .filter_map(|source| source.rests_until);
        let timer = rests.chain([now + ASK]).min().unwrap_or(now + ASK);
        let timer = tokio::time::sleep_until(timer.max(now + Duration::from_millis(1)).into());
        let sources = &self.sources;
        let step = self
            .replication
            .advance_any(|name| is_ready(sources, name, now));
        tokio::select! {
            biased;
            command = self.inbox.recv() => Event::Command(command),
            Some((source, step)) = step => Event::Step(source, step),
            () = timer => Event::Timer,
        }
    }

    /// What more there is, without waiting.
    fn steps(&mut self, runtime: &Handle) {
        let _runtime = runtime.enter();
        for _ in 1..STEPS_PER_EPOCH {
            let now = Instant::now();
            let sources = &self.sources;
            let step = self
                .replication
                .advance_any(|name| is_ready(sources, name, now));
            match step.now_or_never().flatten() {
                Some((source, step)) => self.stepped(&source, step),
                None => return,
            }
        }
    }

    fn stepped(&mut self, name: &str, step: replication::Result<bool>) {
        let Some(source) = self.sources.get_mut(name) else {
            return;
        };
        match step {
            Ok(moved) => {
                source.is_idle = !moved;
                source.failures = 0;
                source.rests_until = None;
            }
            Err(e) => {
                source.failures += 1;
                let rest = FIRST_REST * 2u32.saturating_pow((source.failures - 1).min(16));
                source.rests_until = Some(Instant::now() + rest.min(LONGEST_REST));
                let is_definite =
                    matches!(&e, replication::Error::Source(e) if e.kind() != Kind::Transient);
                if source.failures == 1 || is_definite {
                    tracing::warn!(source = name, "its changes cannot be followed now: {e}");
                }
                let reason: Arc<str> = e.to_string().into();
                self.shelves.failing(name, Some(reason));
                return;
            }
        }
        self.shelves.failing(name, None);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Settle { flows, sources } => self.settle(flows, sources),
            Command::Refill(id, done) => {
                let mut emptied = BTreeSet::from([id.to_string()]);
                for flow in &mut self.flows {
                    let name = flow.view.id.to_string();
                    if emptied.contains(&name) || flow.inputs.iter().any(|i| emptied.contains(i)) {
                        flow.empty();
                        emptied.insert(name);
                    }
                }
                self.unblock(&id);
                self.fill();
                self.show();
                let _ = done.send(());
            }
            Command::Stop => {}
        }
        self.sources
            .values_mut()
            .for_each(|source| source.is_idle = false);
    }

    /// Keep these views, with these sources.
    fn settle(
        &mut self,
        views: Vec<(Arc<KeptView>, Arc<FlowPlan>)>,
        sources: Vec<(String, Arc<dyn Source>)>,
    ) {
        let gone: Vec<String> = (self.sources.keys())
            .filter(|name| !sources.iter().any(|(n, _)| n == *name))
            .cloned()
            .collect();
        for name in gone {
            let followed = self.followed();
            self.said(|replication| replication.remove_source(&name));
            if let Some(source) = self
                .sources
                .remove(&name)
                .filter(|_| followed.contains(&name))
            {
                self.release(&name, source.source);
            }
        }
        for (name, source) in sources {
            let is_same = self
                .sources
                .get(&name)
                .is_some_and(|s| Arc::ptr_eq(&s.source, &source));
            if is_same {
                continue;
            }
            if self.sources.contains_key(&name) || !self.replication.has_source(&name) {
                self.replication.add_source(&name, source.clone());
            }
            self.sources.insert(name, Following::new(source));
        }
        let mut old = std::mem::take(&mut self.flows);
        let mut wanted = views;
        // Each after those it reads.
        while !wanted.is_empty() {
            let waits = |input: &FlowInput| match input {
                FlowInput::View(id) => wanted.iter().any(|(view, _)| view.id == *id),
                FlowInput::Table { .. } => false,
            };
            let is_first = |(_, plan): &(_, Arc<FlowPlan>)| !plan.inputs.iter().any(waits);
            let first = wanted.iter().position(is_first).unwrap_or(0);
            let (view, plan) = wanted.remove(first);
            let is_same = |flow: &Flow| {
                flow.view.id == view.id
                    && flow.view.generation == view.generation
                    && flow.view.contract.key == view.contract.key
                    && flow.plan.fingerprint == plan.fingerprint
            };
            match old.iter().position(is_same) {
                // Unless what it reads is another view now.
                Some(same) if self.reads_the_same(&old[same], &old) => {
                    let mut flow = old.remove(same);
                    flow.view = view;
                    self.flows.push(flow);
                }
                _ => {
                    let flow = self.begin_flow(view, plan);
                    self.flows.push(flow);
                }
            }
        }
        let used: BTreeSet<&String> = self.flows.iter().flat_map(|flow| &flow.inputs).collect();
        let unused: Vec<String> = (self.replication.wanted())
            .filter(|(name, ..)| !used.iter().any(|used| used == name))
            .map(|(name, ..)| name.to_string())
            .collect();
        let before = self.followed();
        for name in unused {
            self.said(|replication| replication.remove(&name));
        }
        let after = self.followed();
        // Its log need not be kept for us any more: what follows begins with a copy.
        for name in before.difference(&after) {
            if let Some(source) = self.sources.get(name).map(|source| source.source.clone()) {
                self.said(|replication| replication.remove_source(name));
                self.replication.add_source(name, source.clone());
                self.release(name, source);
            }
        }
        self.fill();
        self.show();
    }

    /// Sources that there are replicas of.
    fn followed(&self) -> BTreeSet<String> {
        let wanted = self.replication.wanted();
        wanted.map(|(_, wanted, _)| wanted.source.clone()).collect()
    }

    /// Have a source remove what following it has made there.
    fn release(&mut self, name: &str, source: Arc<dyn Source>) {
        let name = name.to_string();
        self.releasing.push(self.runtime.spawn(async move {
            for attempt in 0..5 {
                tokio::time::sleep(FIRST_REST * attempt).await;
                match source.release().await {
                    Ok(()) => return,
                    Err(e) => {
                        tracing::warn!(source = name, "it keeps what following it has made: {e}")
                    }
                }
            }
        }));
    }

    /// Whether views that it reads were kept, too.
    fn reads_the_same(&self, flow: &Flow, old: &[Flow]) -> bool {
        let views = flow.plan.inputs.iter().filter_map(|input| match input {
            FlowInput::View(id) => Some(id),
            FlowInput::Table { .. } => None,
        });
        let is_begun = |id: &ObjectId| {
            let kept = self.flows.iter().find(|flow| flow.view.id == *id);
            // One that has begun anew is not filled yet.
            kept.is_some_and(|kept| kept.is_filled() || !flow.is_filled())
                && !old.iter().any(|old| old.view.id == *id)
        };
        views.into_iter().all(is_begun)
    }

    fn begin_flow(&mut self, view: Arc<KeptView>, plan: Arc<FlowPlan>) -> Flow {
        let mut sources = BTreeSet::new();
        let (mut inputs, mut blocked) = (Vec::new(), None);
        for input in &plan.inputs {
            match input {
                FlowInput::View(id) => {
                    let read = self.flows.iter().find(|flow| flow.view.id == *id);
                    sources.extend(read.iter().flat_map(|flow| flow.sources.iter().cloned()));
                    inputs.push(id.to_string());
                }
                FlowInput::Table { source, .. } => {
                    sources.insert(source.clone());
                    match self.replica(input) {
                        Ok(name) => inputs.push(name),
                        Err(e) => blocked = Some(Arc::from(e.to_string())),
                    }
                }
            }
        }
        let mut flow = Flow::new(view, plan, inputs, sources.into_iter().collect());
        flow.block(blocked);
        flow
    }

    /// A replica that has what an input wants: one that is there, or another.
    fn replica(&mut self, input: &FlowInput) -> replication::Result<String> {
        let FlowInput::Table {
            source,
            captured,
            key,
            indexes,
        } = input
        else {
            return Err(replication::Error::UnknownReplica("a view".to_string()));
        };
        let has = |wanted: &Wanted| {
            wanted.source == *source
                && wanted.captured.table == captured.table
                && captured.schema.fields().iter().all(|field| {
                    let same = wanted.captured.schema.field_with_name(field.name());
                    same.is_ok_and(|same| same.data_type() == field.data_type())
                })
        };
        let fits = (self.replication.wanted())
            .find(|(_, wanted, state)| !matches!(state, Followed::Blocked { .. }) && has(wanted))
            .map(|(name, wanted, _)| (name.to_string(), wanted.captured.schema.clone()));
        let Some((name, schema)) = fits else {
            let names: BTreeSet<String> = self
                .replication
                .wanted()
                .map(|(name, ..)| name.to_string())
                .collect();
            let name = (1..)
                .map(|n| format!("{source}.{}#{n}", captured.table))
                .find(|name| !names.contains(name));
            let name = name.unwrap_or_default();
            let wanted = Wanted {
                source: source.clone(),
                captured: captured.clone(),
                key: key.clone(),
                indexes: indexes.clone(),
            };
            self.replication.add(&name, wanted)?;
            return Ok(name);
        };
        for index in indexes {
            let names = index.iter().map(|&i| captured.schema.field(i).name());
            let columns = names
                .filter_map(|name| schema.index_of(name).ok())
                .collect();
            self.replication.add_index(&name, columns)?;
        }
        Ok(name)
    }

    /// A view that was blocked by what it reads reads it anew.
    fn unblock(&mut self, id: &ObjectId) {
        let blocked: Vec<String> = (self.replication.wanted())
            .filter(|(.., state)| matches!(state, Followed::Blocked { .. }))
            .map(|(name, ..)| name.to_string())
            .collect();
        let Some(at) = self.flows.iter().position(|flow| flow.view.id == *id) else {
            return;
        };
        if self.flows[at]
            .inputs
            .iter()
            .any(|input| blocked.contains(input))
        {
            let (view, plan) = (self.flows[at].view.clone(), self.flows[at].plan.clone());
            self.flows[at] = self.begin_flow(view, plan);
        }
    }

    /// End what epochs can be ended, and show each.
    fn end_epochs(&mut self) {
        if self.replication.is_replaying() && self.began.elapsed() > REPLAY {
            tracing::warn!(
                "a source has not come to where it was shown before the restart: others go on"
            );
            self.replication.give_up_recorded();
        }
        loop {
            match self.replication.cut() {
                Ok(Some(epoch)) => {
                    self.flow(&epoch);
                    if !self.said(Replication::publish) {
                        return;
                    }
                    self.is_changed = true;
                    self.sources
                        .values_mut()
                        .for_each(|source| source.is_idle = false);
                    self.show();
                }
                // One that could not be published may be now.
                Ok(None) => {
                    if self.said(Replication::publish) {
                        self.show();
                    }
                    break;
                }
                Err(e) => {
                    tracing::error!("no epoch can be ended: {e}");
                    break;
                }
            }
        }
        self.reached();
    }

    /// Bring views to an epoch.
    fn flow(&mut self, epoch: &Epoch) {
        let number = epoch.boundary.epoch;
        let mut flowed: BTreeMap<String, Flowed> = BTreeMap::new();
        for flow in &mut self.flows {
            let moved = flow.inputs.iter().map(|input| {
                if let Some(changed) = epoch.replicas.get(input) {
                    return Some(Moved {
                        before: changed.before.clone(),
                        change: changed.change.clone(),
                        after: changed.after.clone(),
                    });
                }
                if let Some(view) = flowed.get(input) {
                    return Some(Moved {
                        before: view.before.clone(),
                        change: view.change.clone(),
                        after: view.after.clone(),
                    });
                }
                let content = self.replication.content(input)?;
                Some(Moved {
                    before: content.clone(),
                    change: None,
                    after: content,
                })
            });
            let Some(moved) = moved.collect::<Option<Vec<Moved>>>() else {
                continue;
            };
            if let Some(now) = flow.step(number, &moved) {
                flowed.insert(flow.view.id.to_string(), now);
            }
        }
        self.fill();
    }

    /// Compute what has not been yet, and what it reads is there.
    fn fill(&mut self) {
        let epoch = self.replication.epoch();
        for at in 0..self.flows.len() {
            let (before, rest) = self.flows.split_at_mut(at);
            let flow = &mut rest[0];
            let state = |input: &String| {
                let mut wanted = self.replication.wanted();
                wanted
                    .find(|(name, ..)| name == input)
                    .map(|(_, _, state)| state.clone())
            };
            let blocked = flow.inputs.iter().find_map(|input| match state(input) {
                Some(Followed::Blocked { reason, .. }) => Some(Arc::from(reason)),
                _ => {
                    let read = before
                        .iter()
                        .find(|flow| flow.view.id.to_string() == *input)?;
                    let reason = read.blocked.as_ref()?;
                    Some(format!("view {} is blocked: {reason}", read.view.id).into())
                }
            });
            if blocked.is_some() && blocked != flow.blocked {
                flow.block(blocked);
            }
            if flow.is_filled() || flow.blocked.is_some() {
                continue;
            }
            let inputs = flow.inputs.iter().zip(&flow.plan.inputs);
            let contents: Option<Vec<Pinned>> = inputs
                .map(|(name, input)| match input {
                    FlowInput::Table { .. } => self.replication.content(name),
                    FlowInput::View(id) => {
                        before.iter().find(|flow| flow.view.id == *id)?.snapshot()
                    }
                })
                .collect();
            let Some(contents) = contents else {
                continue;
            };
            if let Err(reason) = flow.fill(epoch, &contents) {
                flow.block(Some(reason));
            }
        }
    }

    /// Put what there is on the shelf, all at once.
    fn show(&mut self) {
        let behind = self.replication.reader().published().behind.clone();
        if behind != self.behind {
            self.flows
                .iter_mut()
                .for_each(|flow| flow.is_changed = true);
            self.behind = behind;
        }
        if !self.flows.iter().any(|flow| flow.is_changed) {
            return;
        }
        let (flows, behind) = (&mut self.flows, &self.behind);
        self.shelves.change(|shelf| {
            for flow in flows.iter_mut().filter(|flow| flow.is_changed) {
                if let Some(shown) = shelf.get_mut(&flow.view.id) {
                    *shown = Arc::new(flow.shown(shown, behind));
                    flow.is_changed = false;
                }
            }
        });
    }

    /// Ask sources where they stand: copies that have come there are as young as the question.
    fn ask(&mut self, runtime: &Handle) {
        let used = self.followed();
        for (_, source) in self
            .sources
            .iter_mut()
            .filter(|(name, _)| used.contains(*name))
        {
            if source
                .asking
                .as_ref()
                .is_some_and(|asking| asking.is_finished())
                && let Some(asking) = source.asking.take()
                && let Some(Ok(Some(asked))) = asking.now_or_never()
            {
                source.asked = Some(asked);
            }
            let is_due = source.asked_at.elapsed() >= ASK && source.rests_until.is_none();
            if source.asking.is_none() && source.asked.is_none() && is_due {
                source.asked_at = Instant::now();
                let asked = source.source.clone();
                source.asking = Some(runtime.spawn(async move {
                    let at = Instant::now();
                    Some((at, asked.position().await.ok()?))
                }));
            }
        }
    }

    /// Which sources' copies have come to where they stood when they were asked.
    fn reached(&mut self) {
        let published = self.replication.reader().published();
        for (name, source) in &mut self.sources {
            let reached = published.boundary.positions.get(name);
            if let (Some((at, asked)), Some(reached)) = (&source.asked, reached)
                && asked <= reached
            {
                self.shelves.reached(name, *at);
                source.asked = None;
            }
        }
    }

    fn checkpoint(&mut self) {
        if self.is_changed && self.checkpointed.elapsed() >= CHECKPOINT {
            self.save();
        }
    }

    fn save(&mut self) {
        if self.said(Replication::checkpoint) {
            self.is_changed = false;
        }
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

impl Following {
    fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            is_idle: false,
            failures: 0,
            rests_until: None,
            asking: None,
            asked: None,
            asked_at: Instant::now() - ASK,
        }
    }
}

fn is_ready(sources: &BTreeMap<String, Following>, name: &str, now: Instant) -> bool {
    sources.get(name).is_some_and(|source| {
        !source.is_idle && source.rests_until.is_none_or(|until| until <= now)
    })
}
