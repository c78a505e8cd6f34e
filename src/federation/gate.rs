use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use belvedere_connector::{Code, Error};
use tokio::sync::oneshot;

/// Whose scans take turns: a session's number.
pub type Asker = u64;

/// Whoever runs what nobody waits for: a view by its schedule. It leaves one place to those who are waited for, and goes behind
/// them.
pub const BACKGROUND: Asker = Asker::MAX;

/// Where scans wait for a source that answers so many streams at once. Those who ask take turns, however many scans each
/// has; one's own scans go in the order in which they came.
#[derive(Debug)]
pub struct Gate {
    most: usize,
    state: Mutex<State>,
}

/// Nobody waits while a place is free, but [`BACKGROUND`] for the last one.
#[derive(Debug, Default)]
struct State {
    running: usize,
    waiting: usize,
    /// Whose turn is next, first; none is empty.
    queues: VecDeque<Queue>,
    tickets: u64,
}

#[derive(Debug)]
struct Queue {
    asker: Asker,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    place: oneshot::Sender<Place>,
}

/// The right to read one stream of a source, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Gate>);

impl Gate {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            state: Mutex::default(),
        })
    }

    /// Places for at most so many streams: waits for the first, and takes what is free of the others. So that whoever
    /// has a place never waits here for another.
    pub async fn enter(
        self: &Arc<Self>,
        asker: Asker,
        streams: usize,
        until: Instant,
    ) -> Result<Vec<Place>, Error> {
        let first = match self.free_place(asker) {
            Some(place) => place,
            None => self.turn(asker, until).await?,
        };
        let more = (1..streams).map_while(|_| self.free_place(asker));
        Ok(std::iter::once(first).chain(more).collect())
    }

    /// Streams that are read at most; None: any number.
    pub fn most(&self) -> Option<usize> {
        (self.most < usize::MAX).then_some(self.most)
    }

    /// Scans that wait.
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Streams that are read.
    pub fn running(&self) -> usize {
        self.state().running
    }

    /// Places that somebody may have a part of. Of a single one all have.
    fn most_for(&self, asker: Asker) -> usize {
        match asker {
            BACKGROUND if self.most > 1 => self.most - 1,
            _ => self.most,
        }
    }

    fn free_place(self: &Arc<Self>, asker: Asker) -> Option<Place> {
        let mut state = self.state();
        let goes_before = |queue: &Queue| asker != BACKGROUND && queue.asker == BACKGROUND;
        let is_free = state.running < self.most_for(asker);
        let free = is_free && state.queues.iter().all(goes_before);
        free.then(|| {
            state.running += 1;
            Place(self.clone())
        })
    }

    async fn turn(self: &Arc<Self>, asker: Asker, until: Instant) -> Result<Place, Error> {
        let mut waiting = Waiting::begin(self, asker);
        // One may have become free just now.
        self.admit();
        match tokio::time::timeout_at(until.into(), &mut waiting.place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Error::internal("a waiting scan has been forgotten")),
            Err(_) => Err(self.busy()),
        }
    }

    /// Give places that are free to whose turn it is.
    fn admit(self: &Arc<Self>) {
        while let Some(waiter) = self.next() {
            // One that has gone meanwhile drops its place, which admits the next.
            let _ = waiter.place.send(Place(self.clone()));
        }
    }

    fn next(&self) -> Option<Waiter> {
        let mut state = self.state();
        let is_waited_for = |queue: &Queue| queue.asker != BACKGROUND;
        let at = state.queues.iter().position(is_waited_for).unwrap_or(0);
        let asker = state.queues.get(at)?.asker;
        if state.running >= self.most_for(asker) {
            return None;
        }
        let mut queue = state.queues.remove(at)?;
        let waiter = queue.waiters.pop_front()?;
        if !queue.waiters.is_empty() {
            state.queues.push_back(queue);
        }
        state.waiting -= 1;
        state.running += 1;
        Some(waiter)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> Error {
        Error::new(
            Code::Busy,
            format!("none of its {} connections became free in time", self.most),
        )
        .help("Try again, give the statement more time, or raise max_connections of the source")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.admit();
    }
}

/// In the queue until it has its place, or is dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    asker: Asker,
    ticket: u64,
    /// A place that came too late to be taken is dropped with it.
    place: oneshot::Receiver<Place>,
}

impl<'a> Waiting<'a> {
    fn begin(gate: &'a Gate, asker: Asker) -> Self {
        let (sender, place) = oneshot::channel();
        let mut state = gate.state();
        state.tickets += 1;
        state.waiting += 1;
        let ticket = state.tickets;
        let waiter = Waiter {
            ticket,
            place: sender,
        };
        match state.queues.iter_mut().find(|queue| queue.asker == asker) {
            Some(queue) => queue.waiters.push_back(waiter),
            None => state.queues.push_back(Queue {
                asker,
                waiters: VecDeque::from([waiter]),
            }),
        }
        Self {
            gate,
            asker,
            ticket,
            place,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        let Some(at) = state.queues.iter().position(|q| q.asker == self.asker) else {
            return;
        };
        let waiters = &mut state.queues[at].waiters;
        let before = waiters.len();
        waiters.retain(|waiter| waiter.ticket != self.ticket);
        let (left, gone) = (waiters.len(), before - waiters.len());
        state.waiting -= gone;
        if left == 0 {
            state.queues.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Vec<Place>, Error>> + Send + 'a>>;

    fn some_day() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    /// What is there at once, without waiting.
    fn poll<T>(future: Pin<&mut (dyn Future<Output = T> + Send + '_)>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(found) => Some(found),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn those_who_ask_take_turns() {
        let gate = Gate::new(1);
        let mut held = gate.enter(0, 1, some_day()).await.unwrap();
        let mut waiting: Vec<(&str, Entering)> = [
            ("a1", 1),
            ("a2", 1),
            ("a3", 1),
            ("b1", 2),
            ("c1", 3),
            ("b2", 2),
        ]
        .into_iter()
        .map(|(name, asker)| (name, Box::pin(gate.enter(asker, 1, some_day())) as Entering))
        .collect();
        for (_, entering) in &mut waiting {
            assert!(poll(entering.as_mut()).is_none());
        }
        assert_eq!((gate.running(), gate.waiting()), (1, 6));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            held.clear();
            let mut served = Vec::new();
            waiting.retain_mut(|(name, entering)| match poll(entering.as_mut()) {
                Some(places) => {
                    held.extend(places.unwrap());
                    served.push(*name);
                    false
                }
                None => true,
            });
            assert_eq!(served.len(), 1, "one place, one at a time");
            order.extend(served);
        }
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        drop(held);
        assert_eq!((gate.running(), gate.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn more_streams_take_only_what_nobody_waits_for() {
        let gate = Gate::new(3);
        let first = gate.enter(1, 8, some_day()).await.unwrap();
        assert_eq!(first.len(), 3);
        let mut other: Entering = Box::pin(gate.enter(2, 8, some_day()));
        let mut third: Entering = Box::pin(gate.enter(3, 1, some_day()));
        assert!(poll(other.as_mut()).is_none() && poll(third.as_mut()).is_none());
        drop(first);
        let (other, third) = (poll(other.as_mut()).unwrap(), poll(third.as_mut()).unwrap());
        assert_eq!((other.unwrap().len(), third.unwrap().len()), (2, 1));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_so() {
        let gate = Gate::new(1);
        let _held = gate.enter(1, 1, some_day()).await.unwrap();
        let late = gate.enter(1, 1, Instant::now()).await.unwrap_err();
        assert_eq!(late.code, Code::Busy);
        assert_eq!((gate.running(), gate.waiting()), (1, 0));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_leaves_a_place_and_goes_behind() {
        let gate = Gate::new(3);
        let scheduled = gate.enter(BACKGROUND, 8, some_day()).await.unwrap();
        assert_eq!(scheduled.len(), 2);
        let mut more: Entering = Box::pin(gate.enter(BACKGROUND, 1, some_day()));
        assert!(poll(more.as_mut()).is_none());
        // The last place is there for who is waited for, whoever else waits.
        let asked = gate.enter(1, 8, some_day()).await.unwrap();
        assert_eq!(asked.len(), 1);
        let mut later: Entering = Box::pin(gate.enter(2, 2, some_day()));
        assert!(poll(later.as_mut()).is_none());
        drop(scheduled);
        let later = poll(later.as_mut()).unwrap().unwrap();
        assert_eq!((later.len(), gate.running()), (2, 3));
        assert!(poll(more.as_mut()).is_none());
        drop(later);
        assert_eq!(poll(more.as_mut()).unwrap().unwrap().len(), 1);
        // A single one is everybody's.
        let gate = Gate::new(1);
        let scheduled = gate.enter(BACKGROUND, 1, some_day()).await.unwrap();
        let mut more: Entering = Box::pin(gate.enter(BACKGROUND, 1, some_day()));
        assert!(poll(more.as_mut()).is_none());
        let mut asked: Entering = Box::pin(gate.enter(1, 1, some_day()));
        assert!(poll(asked.as_mut()).is_none());
        drop(scheduled);
        assert!(poll(asked.as_mut()).is_some_and(|places| places.is_ok()));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(Asker, usize),
        /// Look whether this one has its place.
        Poll(usize),
        /// Give up waiting, with or without having been admitted.
        GiveUp(usize),
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u64, 1..4_usize).prop_map(|(asker, streams)| Step::Enter(asker, streams)),
            (0..16_usize).prop_map(Step::Poll),
            (0..16_usize).prop_map(Step::GiveUp),
            (0..16_usize).prop_map(Step::Leave),
        ]
    }

    proptest! {
        /// Whatever waits, gives up and leaves: there are never more places than there are, none is lost, and none is
        /// free while somebody waits.
        #[test]
        fn no_place_is_lost(most in 1..4_usize, steps in prop::collection::vec(step(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _entered = runtime.enter();
            let gate = Gate::new(most);
            let mut waiting: Vec<Entering> = Vec::new();
            let mut inside: Vec<Vec<Place>> = Vec::new();
            for step in steps {
                match step {
                    Step::Enter(asker, streams) => {
                        let gate = gate.clone();
                        let mut entering: Entering =
                            Box::pin(async move { gate.enter(asker, streams, some_day()).await });
                        match poll(entering.as_mut()) {
                            Some(places) => inside.push(places.unwrap()),
                            None => waiting.push(entering),
                        }
                    }
                    Step::Poll(i) if i < waiting.len() => {
                        if let Some(places) = poll(waiting[i].as_mut()) {
                            inside.push(places.unwrap());
                            drop(waiting.remove(i));
                        }
                    }
                    Step::GiveUp(i) if i < waiting.len() => drop(waiting.remove(i)),
                    Step::Leave(i) if i < inside.len() => drop(inside.remove(i)),
                    _ => {}
                }
                prop_assert!(gate.running() <= most);
                prop_assert!(gate.waiting() == 0 || gate.running() == most);
                prop_assert!(inside.iter().map(Vec::len).sum::<usize>() <= gate.running());
            }
            drop(waiting);
            drop(inside);
            prop_assert_eq!((gate.running(), gate.waiting()), (0, 0));
        }
    }
}
