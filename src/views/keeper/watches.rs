//! Tables of which it is only told that they have changed.

use std::sync::Arc;

use super::Kept;
use crate::replication::{Epoch, State};
use crate::views::watch::Watch;

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
            let inputs = watch.tables.iter().map(|wanted| self.replica(wanted));
            match inputs.collect() {
                Ok(inputs) => self.watches.push(Watching { watch, inputs }),
                // Nothing is told: reads compute it, as often as they come.
                Err(e) => tracing::error!("what views read cannot be watched: {e}"),
            }
        }
    }

    /// Count what an epoch has changed.
    pub(super) fn touch(&mut self, epoch: &Epoch) {
        for Watching { watch, inputs } in &self.watches {
            let touched = inputs.iter().any(|input| {
                let changed = epoch.replicas.get(input);
                changed.is_some_and(|changed| changed.is_touched)
            });
            if touched {
                watch.touch();
            }
        }
    }

    /// Whether all of their changes are told now.
    pub(super) fn look_at_watches(&mut self) {
        for Watching { watch, inputs } in &self.watches {
            let is_live = |input: &String| self.replication.state(input) == Some(&State::Live);
            watch.set_live(inputs.iter().all(is_live));
        }
    }
}
