use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use belvedere_connector::Fragment;
use datafusion::execution::SendableRecordBatchStream;
use tokio::sync::oneshot;

use super::gather::{Key, Lookup};
use super::history::Asking;
use super::scan::Scan;

/// Scans that wait for a place at a source. The first of them to be sent is sent for all that ask the same, or look up other rows of the
/// same table: each of them was begun before the source is asked, so that nobody is answered with less than he would have been. One
/// that comes later is asked for anew.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tickets: u64,
    waiting: Vec<(u64, Waiter)>,
}

/// A scan that waits, or is answered with another.
pub struct Waiter {
    pub scan: Scan,
    /// With what dynamic filters had learned.
    pub fragment: Arc<Fragment>,
    /// Which row it wants, if it is one.
    pub lookup: Option<(Lookup, Key)>,
    /// Streams it takes at most.
    pub partitions: usize,
    pub asking: Arc<Asking>,
    answer: oneshot::Sender<Vec<SendableRecordBatchStream>>,
}

impl Waiter {
    /// It is answered with these.
    pub fn answer(self, streams: Vec<SendableRecordBatchStream>) {
        // Who has gone meanwhile needs none.
        let _ = self.answer.send(streams);
    }

    /// Whether one answer does for both.
    fn asks_the_same(&self, other: &Self) -> bool {
        self.partitions == other.partitions
            && self.scan.batch_rows == other.scan.batch_rows
            && self.fragment == other.fragment
    }

    /// Whether it looks another row up in the same way.
    fn looks_up_like(&self, other: &Self) -> bool {
        match (&self.lookup, &other.lookup) {
            (Some((own, _)), Some((other, _))) => own == other,
            _ => false,
        }
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("fragment", &self.fragment)
            .finish_non_exhaustive()
    }
}

/// In the table until it is sent, answered with another, or dropped.
pub struct Waiting<'a> {
    table: &'a InFlight,
    ticket: u64,
    answer: oneshot::Receiver<Vec<SendableRecordBatchStream>>,
}

impl InFlight {
    pub fn wait(
        &self,
        scan: Scan,
        fragment: Arc<Fragment>,
        lookup: Option<(Lookup, Key)>,
        partitions: usize,
        asking: Arc<Asking>,
    ) -> Waiting<'_> {
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter {
            scan,
            fragment,
            lookup,
            partitions,
            asking,
            answer: sender,
        };
        let mut state = self.state();
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.push((ticket, waiter));
        Waiting {
            table: self,
            ticket,
            answer,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Once another is sent for this one, its answer; None if that failed, and this one has to be asked for itself.
    pub async fn answered(&mut self) -> Option<Vec<SendableRecordBatchStream>> {
        (&mut self.answer).await.ok()
    }

    /// Those who are answered with this one, which has a place: who ask the same, and so many who look up another row. None:
    /// another was sent for this one.
    pub fn sent(&self, mut most: usize) -> Option<Vec<Waiter>> {
        let mut state = self.table.state();
        let own = self.position(&state)?;
        let (_, own) = state.waiting.remove(own);
        let goes_along = |(_, waiter): &mut (u64, Waiter)| {
            if waiter.asks_the_same(&own) {
                return true;
            }
            let is_gathered = most > 0 && waiter.looks_up_like(&own);
            most -= usize::from(is_gathered);
            is_gathered
        };
        let others = state.waiting.extract_if(.., goes_along);
        Some(others.map(|(_, waiter)| waiter).collect())
    }

    fn position(&self, state: &State) -> Option<usize> {
        state
            .waiting
            .iter()
            .position(|(ticket, _)| *ticket == self.ticket)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.table.state();
        if let Some(own) = self.position(&state) {
            // Those who wait are in the order in which they came.
            state.waiting.remove(own);
        }
    }
}
