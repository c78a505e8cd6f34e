//! The views that are kept by change: which there are, what they read, and what an epoch does to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use belvedere_connector::Source;

use super::Kept;
use super::sources::Following;
use crate::catalog::ObjectId;
use crate::incremental::Moved;
use crate::replication::{self, Epoch, State as Followed, Wanted};
use crate::store::Pinned;
use crate::views::flow::{Flow, Flowed};
use crate::views::{FlowInput, FlowPlan, KeptView};

impl Kept {
    /// Keep these views, with these sources.
    pub(super) fn settle(
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
    pub(super) fn unblock(&mut self, id: &ObjectId) {
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

    /// Bring views to an epoch.
    pub(super) fn flow(&mut self, epoch: &Epoch) {
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
    pub(super) fn fill(&mut self) {
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
    pub(super) fn show(&mut self) {
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
}
