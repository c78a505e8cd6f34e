//! Tables of which it is only told that they have changed.

use std::sync::Arc;

use belvedere_connector::Capture;

use super::Kept;
use crate::replication::{Epoch, State, Touched};
use crate::views::{Watch, Watched};

/// A watch, and the replicas that tell it: those of its tables that are kept anyway, and such without rows.
pub(super) struct Watching {
    pub watch: Arc<Watch>,
    pub inputs: Vec<String>,
}

impl Kept {
    pub(super) fn settle_watches(&mut self, watches: Vec<Arc<Watch>>) {
        let mut old = std::mem::take(&mut self.watches);
        for watch in watches {
            let kept = old.iter().position(|old| Arc::ptr_eq(&old.watch, &watch));
            if let Some(kept) = kept.map(|at| old.swap_remove(at)) {
                self.watches.push(kept);
                continue;
            }
            let inputs = watch.tables.iter();
            let inputs = inputs.map(|table| self.replica(&table.wanted, false));
            match inputs.collect() {
                Ok(inputs) => self.watches.push(Watching { watch, inputs }),
                // Nothing is told: reads compute it, as often as they come.
                Err(e) => tracing::error!("what views read cannot be watched: {e}"),
            }
        }
    }

    /// Count what an epoch has changed.
    pub(super) fn touch(&mut self, epoch: &Epoch) {
        for Watching { watch, inputs } in self.watches.iter().chain(&self.tables) {
            let mut tables = watch.tables.iter().zip(inputs);
            if tables.any(|(table, input)| self.is_touched(table, input, epoch)) {
                watch.touch();
            }
        }
    }

    /// Whether an epoch may have changed rows of a table that are read.
    fn is_touched(&self, table: &Watched, input: &str, epoch: &Epoch) -> bool {
        let Watched { wanted, conditions } = table;
        let changed = epoch.replicas.get(input);
        let touched = changed.map_or(Touched::No, |changed| changed.touched);
        let (Touched::Told, Some(changed)) = (touched, changed) else {
            return touched == Touched::Anew;
        };
        let told = epoch.told.get(&wanted.source).into_iter().flatten();
        let told = told.filter(|(of, _)| *of == wanted.captured.table);
        // Others do not tell what was there between two looks, and a run may have read that.
        let source = self.sources.get(&wanted.source);
        let is_each_told =
            source.is_some_and(|followed| followed.source.capture() == Capture::Transactional);
        let rows = changed.change.as_ref().filter(|_| is_each_told);
        conditions.may_meet(
            told.map(|(_, change)| change),
            is_each_told,
            rows.map(|rows| rows.rows()),
        )
    }

    /// Whether all of their changes are told now.
    pub(super) fn look_at_watches(&mut self) {
        self.follow_tables();
        for Watching { watch, inputs } in self.watches.iter().chain(&self.tables) {
            let is_live = |input: &String| self.replication.state(input) == Some(&State::Live);
            watch.set_live(inputs.iter().all(is_live));
        }
    }

    /// A watch for each table that is followed, whoever it is followed for.
    fn follow_tables(&mut self) {
        let known = self.tables.iter().flat_map(|table| &table.inputs);
        let names = self.replication.wanted().map(|(name, ..)| name);
        if known.eq(names) {
            return;
        }
        let mut old = std::mem::take(&mut self.tables);
        for (name, wanted, _) in self.replication.wanted() {
            let inputs = vec![name.to_string()];
            let kept = old.iter().position(|table| table.inputs == inputs);
            let kept = kept.map(|at| old.swap_remove(at));
            self.tables.push(kept.unwrap_or_else(|| Watching {
                watch: Arc::new(Watch::of_table(wanted.clone())),
                inputs,
            }));
        }
        for Watching { watch, .. } in &old {
            watch.set_live(false);
        }
        let tables = self.tables.iter().map(|table| table.watch.clone());
        self.shelves.follows(tables.collect());
    }
}
