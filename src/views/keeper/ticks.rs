//! Epochs that the clock ends: views that change as time passes, though no source does.
//!
//! Each such view says when it changes next. An epoch ends then, for all views: those that are read together agree on what time it
//! is. Many that are due one after the other are taken together, so that there are few epochs.

use std::time::{Duration, Instant};

use super::Kept;
use crate::views::clock;
use crate::views::flow::{Flow, Stage};

/// From one such epoch to the next, at least: what is due meanwhile comes with that. Readers see it so late at most.
pub(in crate::views) const TICK: Duration = Duration::from_millis(100);
/// As long as a view is filled it is not known when it is due: what it will have to catch up with is bounded by this.
const FILLING: i64 = 1_000_000_000;

impl Kept {
    /// Have the clock end the next epoch, if it is time.
    pub(super) fn tick(&mut self) {
        let now = clock();
        let is_due = self.due().is_some_and(|due| due <= now) && self.ticked.elapsed() >= TICK;
        if is_due {
            self.ticked = Instant::now();
        }
        self.replication.tick(now, is_due);
    }

    /// When it will be time. The clock may be set, so it is looked at again before a time that is far.
    pub(super) fn next_tick(&self, now: Instant) -> Option<Instant> {
        let wait = self.due()?.saturating_sub(clock()).max(0);
        let due = now.checked_add(Duration::from_nanos(wait.unsigned_abs()))?;
        Some(due.max(self.ticked + TICK))
    }

    /// When the first view changes by itself that is not on its way there already.
    fn due(&self) -> Option<i64> {
        let newest = self.epochs.newest().at.clock;
        let flows = self.flows.iter().filter(|flow| flow.blocked.is_none());
        let dues = flows.filter_map(|flow| match self.is_begun(flow) {
            true => Some(newest.saturating_add(FILLING)),
            false => flow.due().filter(|due| *due > newest),
        });
        dues.min()
    }

    /// Whether a view that changes by itself is filled, or about to be.
    fn is_begun(&self, flow: &Flow) -> bool {
        match flow.stage {
            Stage::Ready(_) | Stage::Stepping(..) => false,
            _ if !flow.plan.compiled.is_timed() => false,
            Stage::Filling(..) => true,
            Stage::Empty => self.can_be_filled(flow),
        }
    }
}
