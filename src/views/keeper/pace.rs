//! Bringing each view to the next epoch, at its own pace, and showing several together.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Kept;
use super::epochs::{Stand, roundest};
use crate::incremental::{Moved, Progress};
use crate::replication::State as Followed;
use crate::store::{self, Pinned};
use crate::views::FlowInput;
use crate::views::flow::{Flow, Stage};
use crate::views::journal::Ended;
use crate::views::marks::At;
use crate::views::running::{Failure, Made, Running};

/// How far a view may be behind others that are shown with it (`max_view_lag`).
const MAX_LAG: Duration = Duration::from_secs(10);

/// What a thread has made of a view: brought to an epoch, or why it cannot be.
pub(super) struct Done {
    flow: u64,
    to: u64,
    pins: Vec<Pinned>,
    outcome: Worked,
}

/// When what a view reads changes by itself.
fn first_due(stands: &[Stand]) -> Option<i64> {
    stands.iter().filter_map(|stand| stand.due).min()
}

/// What is made of a view; nothing, and it is as it was, where there is no room for a step.
type Worked = Result<(Box<Running>, Option<Made>), Failure>;

fn pins(stands: Vec<Stand>) -> Vec<Pinned> {
    stands.into_iter().map(|stand| stand.content).collect()
}

/// What is next for a view that has nothing to do.
enum Next {
    Nothing,
    /// Up to an epoch nothing changes for it.
    Stay(u64, Vec<Pinned>),
    /// What it reads is there.
    Fill(Arc<At>, Vec<Stand>),
    Step(Arc<At>, Vec<Stand>),
    /// Its rows are to be found by other columns, too.
    Index,
}

impl Kept {
    /// What the newest epoch has of replicas, as it is now.
    pub(super) fn renew(&mut self) {
        if self.unpublished.is_some() {
            return;
        }
        let names = self.replication.wanted();
        let contents = names.filter_map(|(name, ..)| Some((name, self.replication.content(name)?)));
        self.epochs.renew(contents);
        self.look_at_watches();
        let newest = self.epochs.newest();
        // Of views that wait for the next epoch, too: lest they keep what is nobody's else.
        for at in 0..self.flows.len() {
            let flow = &self.flows[at];
            if flow.at == newest.epoch && matches!(flow.stage, Stage::Ready(_)) {
                let stands = self.stands(flow, flow.at);
                if let Some(pins) = stands.map(pins) {
                    self.flows[at].pins = pins;
                }
            }
        }
    }

    /// Have whatever can be done for views done.
    pub(super) fn pace(&mut self) {
        self.make_room();
        for at in 0..self.flows.len() {
            let blocked = self.is_blocked_by(&self.flows[at]);
            let waits = self.waits_for(&self.flows[at]);
            let flow = &mut self.flows[at];
            if let Some(reason) = blocked.filter(|reason| flow.blocked.as_ref() != Some(reason)) {
                flow.block(reason);
            }
            flow.waits = waits;
        }
        // Who was there first is filled first: there may not be room for all.
        let mut order = self.by_age();
        order.retain(|at| matches!(self.flows[*at].stage, Stage::Empty));
        order.extend(0..self.flows.len());
        for at in order {
            while self.flows[at].goes_on() {
                match self.next_of(&self.flows[at]) {
                    Next::Stay(to, pins) => {
                        let is_replaying = to < self.replays;
                        if let Some(record) = self.epochs.at(to) {
                            self.flows[at].stays(&record.at, pins, is_replaying);
                        }
                    }
                    Next::Nothing => break,
                    Next::Fill(to, stands) => self.fill(at, to, stands),
                    Next::Step(to, stands) => self.step(at, to, stands),
                    Next::Index => self.index(at),
                }
            }
        }
        self.forget();
    }

    /// Why it cannot be kept any more: what it reads is blocked.
    fn is_blocked_by(&self, flow: &Flow) -> Option<Arc<str>> {
        let inputs = flow.inputs.iter().zip(&flow.plan.inputs);
        let mut reasons = inputs.filter_map(|(name, input)| match input {
            FlowInput::Table(_) => match self.replication.state(name)? {
                Followed::Blocked { reason, .. } => Some(Arc::from(reason.as_str())),
                _ => None,
            },
            FlowInput::View(id) => {
                let reason = self.flow(name)?.blocked.as_ref()?;
                Some(format!("view {id} is blocked: {reason}").into())
            }
        });
        reasons.next()
    }

    pub(super) fn flow(&self, name: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.name == name)
    }

    /// What a view's inputs have at an epoch, as far as that is known.
    fn stands(&self, flow: &Flow, at: u64) -> Option<Vec<Stand>> {
        let tables = &self.epochs.at(at)?.tables;
        let inputs = flow.inputs.iter().zip(&flow.plan.inputs);
        let stands = inputs.map(|(name, input)| match input {
            FlowInput::Table(_) => tables.get(name),
            FlowInput::View(_) => self.flow(name)?.stand(at),
        });
        stands.map(|stand| stand.cloned()).collect()
    }

    fn next_of(&self, flow: &Flow) -> Next {
        let epochs = self.epochs.kept().map(|record| &record.at);
        match &flow.stage {
            Stage::Filling(..) | Stage::Stepping(..) => Next::Nothing,
            Stage::Empty => {
                let filling = |flow: &&Flow| matches!(flow.stage, Stage::Filling(..));
                if self.flows.iter().filter(filling).count() >= self.most_filling {
                    return Next::Nothing;
                }
                // What was told before the engine was started again goes on from where that begins.
                let start = self.stands_at_start(flow).zip(self.epochs.at(self.start));
                if let Some((stands, record)) = start {
                    return Next::Fill(record.at.clone(), stands);
                }
                let mut newer = epochs.rev().filter(|at| at.epoch >= flow.born);
                let found = newer.find_map(|at| Some((at.clone(), self.stands(flow, at.epoch)?)));
                found.map_or(Next::Nothing, |(at, stands)| Next::Fill(at, stands))
            }
            Stage::Ready(running) if !running.is_indexed(&flow.view) => Next::Index,
            Stage::Ready(_) => {
                let later = epochs.filter(|at| at.epoch > flow.at);
                let possible = later.filter_map(|at| Some((at, self.stands(flow, at.epoch)?)));
                let mut possible: Vec<(&Arc<At>, Vec<Stand>)> = possible.collect();
                let is_same = |(at, stands): &(&Arc<At>, Vec<Stand>)| {
                    let is_due = flow.due().is_some_and(|due| due <= at.clock);
                    !is_due && stands.iter().all(|stand| stand.from <= flow.at)
                };
                if let Some(same) = possible.iter().rposition(is_same) {
                    let (at, stands) = possible.swap_remove(same);
                    return Next::Stay(at.epoch, pins(stands));
                }
                let mut each = possible.iter().map(|(at, _)| at.epoch);
                let next = match (flow.wanted > 0, flow.at < self.replays) {
                    // What there was no room for may have gone by now.
                    (true, _) => each.next_back(),
                    // Somebody may have been told of each: he goes on from there.
                    (false, true) => each.next(),
                    (false, false) => roundest(each),
                };
                let next = possible.into_iter().find(|(at, _)| Some(at.epoch) == next);
                next.map_or(Next::Nothing, |(at, stands)| Next::Step(at.clone(), stands))
            }
        }
    }

    /// Whether all is there that a view reads, as of now.
    pub(super) fn can_be_filled(&self, flow: &Flow) -> bool {
        let newest = self.epochs.newest().epoch;
        self.stands_at_start(flow).is_none() && self.stands(flow, newest).is_some()
    }

    /// What a view that was there when the engine was started can be filled from as of then.
    fn stands_at_start(&self, flow: &Flow) -> Option<Vec<Stand>> {
        let is_first = flow.born == self.start && matches!(flow.stage, Stage::Empty);
        self.stands(flow, self.start).filter(|_| is_first)
    }

    fn fill(&mut self, at: usize, to: Arc<At>, stands: Vec<Stand>) {
        let flow = &mut self.flows[at];
        let (view, plan) = (flow.view.clone(), flow.plan.clone());
        let taking = flow.share.taking();
        // Before others take what it has waited for.
        if !taking.reserve(flow.wanted) {
            let wanted = flow.wanted;
            return self.stop(at, wanted);
        }
        let progress = Arc::new(Progress::within(taking));
        flow.stage = Stage::Filling(to.epoch, progress.clone());
        let due = first_due(&stands);
        self.have(at, to.epoch, pins(stands), move |pins| {
            let (running, made) = Running::filled(&view, &plan, pins, &to, &progress)?;
            Ok((Box::new(running), Some(made.no_later(due))))
        });
    }

    fn step(&mut self, at: usize, to: Arc<At>, stands: Vec<Stand>) {
        let flow = &mut self.flows[at];
        let progress = Arc::new(Progress::within(flow.share.taking()));
        let working = Stage::Stepping(to.epoch, progress.clone());
        let Stage::Ready(mut running) = std::mem::replace(&mut flow.stage, working) else {
            return;
        };
        let (from, before) = (flow.at, flow.pins.clone());
        let pins = stands.iter().map(|stand| stand.content.clone()).collect();
        let due = first_due(&stands);
        self.have(at, to.epoch, pins, move |_| {
            let moved = stands.iter().zip(&before);
            let moved = moved.map(|(stand, before)| stand.moved(from, before));
            let moved = moved.collect::<store::Result<Vec<Moved>>>();
            let moved = moved.map_err(|e| Failure::from(e.to_string()))?;
            if !running.has_room(&moved, &progress) {
                return Ok((running, None));
            }
            let made = running.step(&to, &moved, &progress)?;
            Ok((running, Some(made.no_later(due))))
        });
    }

    fn index(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        let (view, to, pins) = (flow.view.clone(), flow.at, flow.pins.clone());
        let working = Stage::Stepping(to, Arc::new(Progress::default()));
        let Stage::Ready(mut running) = std::mem::replace(&mut flow.stage, working) else {
            return;
        };
        self.have(at, to, pins, move |_| {
            let made = running.index(&view)?;
            Ok((running, Some(made)))
        });
    }

    /// Have something done for a view elsewhere.
    fn have(
        &self,
        at: usize,
        to: u64,
        pins: Vec<Pinned>,
        work: impl FnOnce(&[Pinned]) -> Worked + Send + 'static,
    ) {
        let flow = self.flows[at].number;
        let done = self.done.0.clone();
        self.crew.run(Box::new(move || {
            let worked = catch_unwind(AssertUnwindSafe(|| work(&pins)));
            let outcome =
                worked.unwrap_or_else(|_| Err("an internal error, which is in the log".into()));
            // Nobody is there any more once the engine ends.
            let _ = done.send(Done {
                flow,
                to,
                pins,
                outcome,
            });
        }));
    }

    /// Something was done for a view. If it was begun anew meanwhile, that is nobody's.
    pub(super) fn done(&mut self, done: Done) {
        let is_replaying = done.to < self.replays;
        let at = self.epochs.at(done.to).map(|record| record.at.clone());
        let mut flows = self.flows.iter();
        let Some(place) = flows.position(|flow| flow.number == done.flow) else {
            return;
        };
        let flow = &mut self.flows[place];
        match (done.outcome, flow.refused()) {
            (Ok((running, Some(made))), _) => {
                flow.stage = Stage::Ready(running);
                // An epoch that somebody is brought to is kept.
                if let Some(at) = at {
                    flow.came(&at, done.pins, made, is_replaying);
                }
                self.look_at_room(place);
            }
            (Ok((running, None)), refused) => {
                flow.stage = Stage::Ready(running);
                self.stop(place, refused.unwrap_or_default());
            }
            (Err(reason), Some(refused)) => {
                flow.end(Ended::Blocked(reason));
                self.begin_again(place, refused);
            }
            (Err(reason), None) => {
                flow.stage = Stage::Empty;
                flow.block(reason);
            }
        }
    }

    /// Epochs at which no view will stop any more, and what views had there.
    fn forget(&mut self) {
        let mut ats = BTreeSet::from([self.together]);
        let mut each = 0;
        // One that waits for room goes on with the newest there is then.
        for flow in self.flows.iter().filter(|flow| flow.goes_on()) {
            ats.extend(flow.is_filled().then_some(flow.at));
            if let Stage::Filling(to, _) | Stage::Stepping(to, _) = &flow.stage {
                ats.insert(*to);
            }
            let is_first = self.stands_at_start(flow).is_some();
            if is_first || (!matches!(flow.stage, Stage::Empty) && flow.at < self.replays) {
                each = self.replays;
            }
        }
        self.epochs.retain(&ats, each);
        let kept: BTreeSet<u64> = self.epochs.kept().map(|record| record.epoch).collect();
        for flow in &mut self.flows {
            flow.retain(|from, to| kept.range(from..=to).next().is_some());
        }
    }

    /// Put what there is on the shelf, all at once: of all views that keep up what they have at the newest epoch that all of them have
    /// come to, of others what each has.
    pub(super) fn show(&mut self) {
        let now = Instant::now();
        let behind = self.replication.reader().published().behind.clone();
        self.epochs.newest_mut().behind = behind;
        for flow in self.flows.iter_mut().filter(|flow| flow.blocked.is_none()) {
            if let Some(record) = self.epochs.at(flow.at).filter(|_| flow.is_filled()) {
                flow.look_at(record);
            }
            let behind = self.epochs.behind(flow.at, now);
            let most = match flow.is_member {
                true => MAX_LAG,
                // Once it is about to catch up, others wait for it.
                false => MAX_LAG / 2,
            };
            flow.is_member = flow.is_filled() && flow.waits.is_none() && behind <= most;
        }
        let members = || self.flows.iter().filter(|flow| flow.is_member);
        let mut newer = (self.epochs.kept().rev()).take_while(|r| r.epoch >= self.together);
        let all = newer.find(|record| members().all(|flow| flow.stand(record.epoch).is_some()));
        self.together = all.map_or(self.together, |record| record.epoch);
        let Some(record) = self.epochs.at(self.together) else {
            return;
        };
        let shelf = self.shelves.newest();
        let mut shown = Vec::new();
        for flow in &mut self.flows {
            if flow.is_member && flow.stand(record.epoch).is_some() {
                flow.joins();
            }
            let before = shelf.get(&flow.view.id);
            let before = before.filter(|shown| shown.generation == flow.view.generation);
            if let Some(now) = before.and_then(|before| flow.shown(record, before)) {
                shown.push((flow.view.id.clone(), now));
            }
        }
        if !shown.is_empty() {
            self.shelves.change(|shelf| {
                for (id, now) in shown {
                    if let Some(before) = shelf.get_mut(&id) {
                        *before = Arc::new(now);
                    }
                }
            });
        }
        self.shelves.stands_at(&record.at.positions);
        // Behind what it is said of: who finds a view young has it so.
        for (source, at) in &record.reached {
            self.shelves.reached(source, *at);
        }
    }
}
