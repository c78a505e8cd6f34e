//! Where memory is scarce: who waits for room, and who goes on. See [`Memory`](crate::memory) for why.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Kept;
use super::sources::Following;
use crate::memory::Share;
use crate::store::Pinned;
use crate::views::FlowInput;
use crate::views::flow::{Flow, Need, Stage};

/// What a source brings, as far as there is room for it.
pub(super) struct Intake {
    share: Arc<Share>,
    /// What its tables take, at the newest epoch.
    tables: usize,
    /// What all took when there was room for more, or at first.
    calm: Option<usize>,
    /// So much more it needs to be read on: its log keeps what comes.
    needs: Option<usize>,
    /// Copies that there was no room for, by replica: what each needs, and whether it has that now.
    copies: BTreeMap<String, (usize, bool)>,
}

impl Intake {
    pub fn new(share: Arc<Share>) -> Self {
        Self {
            share,
            tables: 0,
            calm: None,
            needs: None,
            copies: BTreeMap::new(),
        }
    }

    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    pub fn waits(&self) -> bool {
        self.needs.is_some()
    }

    /// Whether a replica is not copied.
    fn holds(&self, replica: &str) -> bool {
        (self.copies.get(replica)).is_some_and(|(_, goes_on)| !goes_on)
    }
}

impl Kept {
    /// Weigh what there is of all sources' tables.
    pub(super) fn weigh_tables(&mut self) {
        for (name, source) in &mut self.sources {
            source.intake.tables = self.replication.table_bytes(name);
        }
        let names: Vec<String> = self.sources.keys().cloned().collect();
        names.iter().for_each(|name| self.weigh(name));
    }

    /// Weigh what a source has brought. If there is no room for it, copies that are not whole are given up, and after that no more
    /// of its log is read.
    pub(super) fn weigh(&mut self, name: &str) {
        let Some(Following { intake, .. }) = self.sources.get_mut(name) else {
            return;
        };
        let copies = self.replication.copies(name);
        let mut copies: BTreeMap<String, usize> = copies
            .map(|(name, bytes)| (name.to_string(), bytes))
            .collect();
        let stream = self.replication.stream_bytes(name);
        // One that was given up before has what it needs until it is whole.
        for (replica, (needs, goes_on)) in &intake.copies {
            if *goes_on {
                let bytes = copies.entry(replica.clone()).or_default();
                *bytes = (*needs).max(*bytes);
            }
        }
        intake.set(stream, &copies);
        let little = self.memory.little();
        for (replica, bytes) in copies.clone() {
            if bytes > little && !self.memory.has_room(0) && self.replication.is_copying(&replica) {
                self.replication.hold(&replica, true);
                copies.remove(&replica);
                // What has not come is unknown, but is not nothing.
                let needs = bytes + bytes / 4;
                intake.copies.insert(replica, (needs, false));
                intake.set(stream, &copies);
            }
        }
        let bytes = intake.share.bytes();
        if self.memory.has_room(0) || intake.calm.is_none() {
            intake.calm = Some(bytes);
        }
        if self.memory.is_full() && intake.calm < Some(bytes) && intake.needs.is_none() {
            self.replication.drop_pieces(name);
            intake.set(self.replication.stream_bytes(name), &copies);
            intake.needs = Some(little.max(bytes - intake.share.bytes()));
            self.shelves.failing(name, Some(self.memory.reason()));
        }
    }

    /// Let go on who has waited for room that there is now, the oldest first.
    pub(super) fn make_room(&mut self) {
        for (name, source) in &mut self.sources {
            let intake = &mut source.intake;
            // An index may be made, or a view dropped: what is not asked for any more is forgotten.
            (intake.copies).retain(|replica, _| self.replication.waits_for_copy(replica));
            for (replica, (needs, goes_on)) in &mut intake.copies {
                if !*goes_on && self.memory.has_room(*needs) {
                    *goes_on = true;
                    intake.share.set(intake.share.bytes() + *needs);
                    self.replication.hold(replica, false);
                    source.is_idle = false;
                }
            }
            if intake
                .needs
                .is_some_and(|needs| self.memory.has_room(needs))
            {
                intake.needs = None;
                source.is_idle = false;
                self.shelves.failing(name, None);
            }
        }
        let waiting = self.flows.iter().filter(|flow| flow.needs.is_some());
        waiting.for_each(Flow::trim);
        for at in self.by_age() {
            if let Some(wanted) = self.has_room(&self.flows[at]) {
                self.flows[at].needs = None;
                self.flows[at].wanted = wanted;
            }
        }
    }

    /// What a view needs that waits for room, if there is that. Where there are fewer rows than there were, that is less.
    fn has_room(&self, flow: &Flow) -> Option<usize> {
        let Need { bytes, rows } = flow.needs?;
        let there = self.rows_read(flow);
        let fewer = bytes as u128 * u128::from(there.min(rows)) / u128::from(rows.max(1));
        let before: u64 = flow.pins.iter().map(Pinned::row_count).sum();
        let goes_back = matches!(flow.stage, Stage::Ready(_)) && there < before;
        let wanted = fewer as usize;
        (goes_back || self.memory.has_room(wanted)).then_some(wanted)
    }

    /// How many rows there are of what a view reads.
    fn rows_read(&self, flow: &Flow) -> u64 {
        let inputs = flow.inputs.iter().zip(&flow.plan.inputs);
        let rows = inputs.filter_map(|(name, input)| match input {
            FlowInput::Table(_) => {
                let table = self.epochs.newest().tables.get(name)?;
                Some(table.content.row_count())
            }
            FlowInput::View(_) => self.flow(name)?.row_count(),
        });
        rows.sum()
    }

    /// A view stays where it is until there is room for so much more.
    pub(super) fn stop(&mut self, at: usize, bytes: usize) {
        let rows = self.rows_read(&self.flows[at]);
        self.flows[at].stop(Need { bytes, rows });
        self.flows[at].waits = Some(self.memory.reason());
    }

    /// There was no room for what a view has begun to compute: it begins anew, with what its inputs have by then. Younger ones that
    /// are filled meanwhile, and have nothing to lose, make room for it.
    pub(super) fn begin_again(&mut self, at: usize, bytes: usize) {
        let (id, age) = (
            self.flows[at].view.id.clone(),
            self.flows[at].view.generation,
        );
        self.empty(&id);
        self.stop(at, bytes);
        for at in 0..self.flows.len() {
            let flow = &self.flows[at];
            if matches!(flow.stage, Stage::Filling(..)) && flow.view.generation > age {
                let (id, bytes) = (flow.view.id.clone(), flow.share.bytes());
                self.empty(&id);
                self.stop(at, bytes);
            }
        }
    }

    /// It has come to an epoch: if it has grown where nothing may, it stays there.
    pub(super) fn look_at_room(&mut self, at: usize) {
        let little = self.memory.little();
        let most = match self.memory.is_full() {
            true => 0,
            false => little,
        };
        if self.flows[at].growth(self.memory.has_room(0)) > most {
            self.stop(at, little);
        }
    }

    /// The oldest view first.
    pub(super) fn by_age(&self) -> Vec<usize> {
        let mut ages: Vec<usize> = (0..self.flows.len()).collect();
        ages.sort_by_key(|at| self.flows[*at].view.generation);
        ages
    }

    /// Why a view does not go on, or what it reads does not: there is no room.
    pub(super) fn waits_for(&self, flow: &Flow) -> Option<Arc<str>> {
        if flow.needs.is_some() {
            return Some(self.memory.reason());
        }
        let inputs = flow.inputs.iter().zip(&flow.plan.inputs);
        let mut reasons = inputs.filter_map(|(name, input)| match input {
            FlowInput::Table(wanted) => {
                let intake = &self.sources.get(&wanted.source)?.intake;
                let is_held = intake.waits() || intake.holds(name);
                is_held.then(|| self.memory.reason())
            }
            FlowInput::View(id) => {
                let reason = self.flow(name)?.waits.as_ref()?;
                Some(format!("it reads view {id}, which waits: {reason}").into())
            }
        });
        reasons.next()
    }
}

impl Intake {
    fn set(&self, stream: usize, copies: &BTreeMap<String, usize>) {
        self.share
            .set(self.tables + stream + copies.values().sum::<usize>());
    }
}
