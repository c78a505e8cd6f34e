//! The views that are kept by change: which there are, and what they read.

use std::collections::BTreeSet;
use std::sync::Arc;

use belvedere_connector::Source;
use tokio::sync::oneshot;

use super::Kept;
use super::room::Intake;
use super::sources::Following;
use crate::catalog::ObjectId;
use crate::replication::{self, State as Followed, Wanted};
use crate::store::checksum;
use crate::views::Watch;
use crate::views::flow::Flow;
use crate::views::{Content, FlowInput, FlowPlan, KeptView};

impl Kept {
    /// Keep these views, with these sources.
    pub(super) fn settle(
        &mut self,
        views: Vec<(Arc<KeptView>, Arc<FlowPlan>)>,
        watches: Vec<Arc<Watch>>,
        sources: Vec<(String, Arc<dyn Source>)>,
    ) {
        self.settle_sources(sources);
        self.settle_flows(views);
        self.settle_watches(watches);
        self.remove_unused();
        self.look_at_watches();
        self.weigh_tables();
        self.renew();
    }

    fn settle_sources(&mut self, sources: Vec<(String, Arc<dyn Source>)>) {
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
            // What there is of its tables goes on, if only its options have changed.
            let intake = match self.sources.remove(&name) {
                Some(old) => old.intake,
                None => Intake::new(self.memory.share()),
            };
            self.shelves.shares(&name, intake.share());
            self.sources.insert(name, Following::new(source, intake));
        }
    }

    /// Those that are kept already go on.
    fn settle_flows(&mut self, mut wanted: Vec<(Arc<KeptView>, Arc<FlowPlan>)>) {
        let mut old = std::mem::take(&mut self.flows);
        // Each after those it reads.
        while !wanted.is_empty() {
            let waits = |input: &FlowInput| match input {
                FlowInput::View(id) => wanted.iter().any(|(view, _)| view.id == *id),
                FlowInput::Table(_) => false,
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
                    // It computes the same, of tables as they are known now.
                    flow.plan = plan;
                    self.flows.push(flow);
                }
                _ => {
                    let flow = self.begin_flow(view, plan, true);
                    self.flows.push(flow);
                }
            }
        }
    }

    /// Replicas that nobody reads, and what following their sources has made there.
    fn remove_unused(&mut self) {
        let flows = self.flows.iter().flat_map(|flow| &flow.inputs);
        let watches = self.watches.iter().flat_map(|watching| &watching.inputs);
        let used: BTreeSet<&String> = flows.chain(watches).collect();
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
    }

    /// Keep all but this one.
    pub(super) fn forget_view(&mut self, id: &ObjectId) {
        let others = self.flows.iter().filter(|flow| flow.view.id != *id);
        let others = others.map(|flow| (flow.view.clone(), flow.plan.clone()));
        let watches = self.watches.iter().map(|watching| watching.watch.clone());
        let sources = self.sources.iter();
        let sources = sources.map(|(name, followed)| (name.clone(), followed.source.clone()));
        let (others, watches) = (others.collect(), watches.collect());
        self.settle(others, watches, sources.collect());
    }

    /// Whether views that it reads were kept, too.
    fn reads_the_same(&self, flow: &Flow, old: &[Flow]) -> bool {
        let views = flow.plan.inputs.iter().filter_map(|input| match input {
            FlowInput::View(id) => Some(id),
            FlowInput::Table(_) => None,
        });
        let is_begun = |id: &ObjectId| {
            let kept = self.flows.iter().find(|flow| flow.view.id == *id);
            // One that has begun anew is not filled yet.
            kept.is_some_and(|kept| kept.is_filled() || !flow.is_filled())
                && !old.iter().any(|old| old.view.id == *id)
        };
        views.into_iter().all(is_begun)
    }

    /// `may_stay`: one that had stopped before the engine began stays as it is, with what it reads.
    fn begin_flow(&mut self, view: Arc<KeptView>, plan: Arc<FlowPlan>, may_stay: bool) -> Flow {
        let shelf = self.shelves.newest();
        let shown = shelf.get(&view.id);
        let shown = shown.filter(|shown| shown.generation == view.generation);
        // With what is in its file.
        let had_stopped = shown.is_some_and(|shown| {
            let is_of_file = matches!(shown.content, Some(Content::Rows(_)));
            is_of_file && (shown.is_behind || shown.has_stopped())
        });
        let stays = may_stay && had_stopped;
        let mut sources = BTreeSet::new();
        let (mut inputs, mut blocked) = (Vec::new(), None);
        let mut origin = view.generation.to_le_bytes().to_vec();
        origin.extend(plan.fingerprint.as_bytes());
        for input in &plan.inputs {
            match input {
                FlowInput::View(id) => {
                    let read = self.flows.iter().find(|flow| flow.view.id == *id);
                    sources.extend(read.iter().flat_map(|flow| flow.sources.iter().cloned()));
                    origin.extend(read.iter().flat_map(|flow| flow.origin.to_le_bytes()));
                    inputs.push(id.to_string());
                }
                FlowInput::Table(wanted) => {
                    sources.insert(wanted.source.clone());
                    match self.replica(wanted, stays) {
                        Ok(name) => inputs.push(name),
                        Err(e) => blocked = Some(Arc::from(e.to_string())),
                    }
                }
            }
        }
        let sources = sources.into_iter().collect();
        self.begun += 1;
        let born = self.replication.epoch();
        let kept = (checksum(&origin), self.marks.clone(), self.memory.share());
        let mut flow = Flow::new(view, plan, inputs, sources, self.begun, born, kept);
        if let Some(reason) = blocked {
            flow.block(reason);
        }
        flow
    }

    /// A replica that has what an input wants: one that is there, or another. `stays`: one that is blocked does, too.
    pub(super) fn replica(&mut self, wanted: &Wanted, stays: bool) -> replication::Result<String> {
        let captured = &wanted.captured;
        let is_blocked = |state: &Followed| matches!(state, Followed::Blocked { .. });
        let has = |(_, kept, state): &(&str, &Wanted, &Followed)| {
            let has_rows = wanted.is_watched || !kept.is_watched;
            let is_same = kept.source == wanted.source && kept.captured.holds(captured);
            (stays || !is_blocked(state)) && has_rows && is_same
        };
        let all = self.replication.wanted().filter(has);
        let fits = all.min_by_key(|(.., state)| is_blocked(state));
        let fits = fits.map(|(name, kept, _)| (name.to_string(), kept.captured.schema.clone()));
        let Some((name, schema)) = fits else {
            let mut names = (1u64..).map(|n| format!("{}.{}#{n}", wanted.source, captured.table));
            let name = names.find(|name| self.replication.state(name).is_none());
            let name = name.unwrap_or_default();
            self.replication.add(&name, wanted.clone())?;
            return Ok(name);
        };
        for index in &wanted.indexes {
            let names = index.iter().map(|&i| captured.schema.field(i).name());
            let columns = names
                .filter_map(|name| schema.index_of(name).ok())
                .collect();
            self.replication.add_index(&name, columns)?;
        }
        Ok(name)
    }

    /// Begin a view anew, and those that read it, of tables that are copied anew for it. `done` is told once it has content again, or
    /// cannot have any.
    pub(super) fn refill(&mut self, id: &ObjectId, done: oneshot::Sender<()>) {
        // One that is blocked has something else to be mended, and does not wait for sources that it is not blocked by.
        let is_blocked = |flow: &Flow| flow.view.id == *id && flow.blocked.is_some();
        let is_blocked = self.flows.iter().any(is_blocked);
        let mut replicas = self.replicas_of(id);
        replicas.retain(|name| !is_blocked && self.replication.renew(name));
        self.refilling.push((id.clone(), replicas, done));
    }

    /// Begin those anew whose tables are copied by now.
    pub(super) fn refill_copied(&mut self) {
        let refilling = std::mem::take(&mut self.refilling);
        for (id, replicas, done) in refilling {
            // What it had is shown until then.
            let is_copied = |name: &String| !self.replication.waits_for_copy(name);
            if replicas.iter().all(is_copied) {
                self.begin_anew(&id, done);
            } else {
                self.refilling.push((id, replicas, done));
            }
        }
    }

    /// The replicas that a view reads, through other views, too.
    fn replicas_of(&self, id: &ObjectId) -> BTreeSet<String> {
        let mut views = vec![id.to_string()];
        let mut replicas = BTreeSet::new();
        while let Some(view) = views.pop() {
            let Some(flow) = self.flow(&view) else {
                continue;
            };
            for (name, input) in flow.inputs.iter().zip(&flow.plan.inputs) {
                match input {
                    FlowInput::Table(_) => replicas.extend([name.clone()]),
                    FlowInput::View(_) => views.push(name.clone()),
                }
            }
        }
        replicas
    }

    fn begin_anew(&mut self, id: &ObjectId, done: oneshot::Sender<()>) {
        self.empty(id);
        self.unblock(id);
        // A replica that others have read already may have got an index.
        self.renew();
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.view.id == *id) {
            flow.waiting.push(done);
        }
    }

    /// A view has to be computed anew, and with it those that read it.
    pub(super) fn empty(&mut self, id: &ObjectId) {
        let mut emptied = BTreeSet::from([id.to_string()]);
        for flow in &mut self.flows {
            if emptied.contains(&flow.name) || flow.inputs.iter().any(|i| emptied.contains(i)) {
                self.begun += 1;
                flow.empty(self.begun, self.memory.share());
                emptied.insert(flow.name.clone());
            }
        }
    }

    /// A view that was blocked by what it reads reads it anew.
    fn unblock(&mut self, id: &ObjectId) {
        let Some(at) = self.flows.iter().position(|flow| flow.view.id == *id) else {
            return;
        };
        let flow = &self.flows[at];
        let is_blocked = |input: &String| {
            matches!(
                self.replication.state(input),
                Some(Followed::Blocked { .. })
            )
        };
        if flow.inputs.iter().any(is_blocked) {
            let (view, plan) = (flow.view.clone(), flow.plan.clone());
            self.flows[at] = self.begin_flow(view, plan, false);
        }
    }
}
