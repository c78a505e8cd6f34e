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

/// Where scans and lookups wait for a source that answers so many streams at once. Those who ask take turns, however many scans
/// each has; one's own go in the order in which they came. Of three places or more scans leave one to lookups: these are short, and
/// a few scans of whole tables would have all places for long.
#[derive(Debug)]
pub struct Gate {
    most: usize,
    state: Mutex<State>,
}

/// Nobody waits while a place is free that he may have.
#[derive(Debug, Default)]
struct State {
    running: usize,
    /// Those of them that are no lookups.
    scans: usize,
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
    kind: Kind,
    place: oneshot::Sender<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lookup,
    Scan,
}

/// The right to read one stream of a source, until it is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    kind: Kind,
}

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
        let first = self.place(asker, Kind::Scan, until).await?;
        let more = (1..streams).map_while(|_| self.free_place(asker, Kind::Scan));
        Ok(std::iter::once(first).chain(more).collect())
    }

    /// A place for one row that is looked up. Those of what nobody waits for are as its scans.
    pub async fn look_up(self: &Arc<Self>, asker: Asker, until: Instant) -> Result<Place, Error> {
        let kind = match asker {
            BACKGROUND => Kind::Scan,
            _ => Kind::Lookup,
        };
        self.place(asker, kind, until).await
    }

    async fn place(
        self: &Arc<Self>,
        asker: Asker,
        kind: Kind,
        until: Instant,
    ) -> Result<Place, Error> {
        match self.free_place(asker, kind) {
            Some(place) => Ok(place),
            None => self.turn(asker, kind, until).await,
        }
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

    /// Places that somebody's scans may have a part of. Of a single one all have.
    fn most_scans(&self, asker: Asker) -> usize {
        let most = match self.most {
            0..=2 => self.most,
            most => most - 1,
        };
        match asker {
            BACKGROUND if most > 1 => most - 1,
            _ => most,
        }
    }

    fn has_room(&self, state: &State, asker: Asker, kind: Kind) -> bool {
        let is_free = state.running < self.most;
        is_free && (kind == Kind::Lookup || state.scans < self.most_scans(asker))
    }

    /// Whose turn it is: a queue, and which of it.
    fn due(&self, state: &State) -> Option<(usize, usize)> {
        let due = |is_background: bool| {
            let queues = state.queues.iter().enumerate();
            let mut queues = queues.filter(|(_, q)| (q.asker == BACKGROUND) == is_background);
            queues.find_map(|(at, queue)| {
                let mut waiters = queue.waiters.iter();
                let first = waiters.position(|w| self.has_room(state, queue.asker, w.kind));
                Some((at, first?))
            })
        };
        // At most times those who wait need not be looked at.
        match state.running < self.most {
            true => due(false).or_else(|| due(true)),
            false => None,
        }
    }

    fn free_place(self: &Arc<Self>, asker: Asker, kind: Kind) -> Option<Place> {
        let mut state = self.state();
        let goes_before =
            |(at, _): (usize, usize)| asker != BACKGROUND && state.queues[at].asker == BACKGROUND;
        let is_free = self.has_room(&state, asker, kind);
        let is_free = is_free && self.due(&state).is_none_or(goes_before);
        is_free.then(|| {
            state.take(kind);
            let gate = self.clone();
            Place { gate, kind }
        })
    }

    async fn turn(
        self: &Arc<Self>,
        asker: Asker,
        kind: Kind,
        until: Instant,
    ) -> Result<Place, Error> {
        let mut waiting = Waiting::begin(self, asker, kind);
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
            let (gate, kind) = (self.clone(), waiter.kind);
            // One that has gone meanwhile drops its place, which admits the next.
            let _ = waiter.place.send(Place { gate, kind });
        }
    }

    fn next(&self) -> Option<Waiter> {
        let mut state = self.state();
        let (at, number) = self.due(&state)?;
        let mut queue = state.queues.remove(at)?;
        let waiter = queue.waiters.remove(number)?;
        if !queue.waiters.is_empty() {
            state.queues.push_back(queue);
        }
        state.waiting -= 1;
        state.take(waiter.kind);
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

impl State {
    fn take(&mut self, kind: Kind) {
        self.running += 1;
        self.scans += usize::from(kind == Kind::Scan);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.running -= 1;
        state.scans -= usize::from(self.kind == Kind::Scan);
        drop(state);
        self.gate.admit();
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
    fn begin(gate: &'a Gate, asker: Asker, kind: Kind) -> Self {
        let (sender, place) = oneshot::channel();
        let mut state = gate.state();
        state.tickets += 1;
        state.waiting += 1;
        let ticket = state.tickets;
        let waiter = Waiter {
            ticket,
            kind,
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
    type LookingUp<'a> = Pin<Box<dyn Future<Output = Result<Place, Error>> + Send + 'a>>;

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
        // One of them is lookups'.
        let gate = Gate::new(4);
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
        // One of them is lookups'.
        let gate = Gate::new(4);
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

    #[tokio::test]
    async fn lookups_have_a_place_that_scans_leave() {
        let gate = Gate::new(3);
        let scans = gate.enter(1, 8, some_day()).await.unwrap();
        assert_eq!(scans.len(), 2);
        let mut scan: Entering = Box::pin(gate.enter(1, 1, some_day()));
        assert!(poll(scan.as_mut()).is_none());
        // Though a scan of the same session came before.
        let lookup = gate.look_up(1, some_day()).await.unwrap();
        let mut other: LookingUp = Box::pin(gate.look_up(2, some_day()));
        let mut scheduled: LookingUp = Box::pin(gate.look_up(BACKGROUND, some_day()));
        assert!(poll(other.as_mut()).is_none() && poll(scheduled.as_mut()).is_none());
        drop(lookup);
        let other = poll(other.as_mut()).unwrap().unwrap();
        assert!(poll(scan.as_mut()).is_none());
        drop(other);
        assert!(poll(scan.as_mut()).is_none() && poll(scheduled.as_mut()).is_none());
        drop(scans);
        let scan = poll(scan.as_mut()).unwrap().unwrap();
        assert!(poll(scheduled.as_mut()).is_none());
        drop(scan);
        assert!(poll(scheduled.as_mut()).is_some_and(|place| place.is_ok()));
        // Of two, both are everybody's.
        let gate = Gate::new(2);
        let scans = gate.enter(1, 8, some_day()).await.unwrap();
        assert_eq!(scans.len(), 2);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(Asker, usize),
        LookUp(Asker),
        /// Look whether this one has its place.
        Poll(usize),
        /// Give up waiting, with or without having been admitted.
        GiveUp(usize),
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u64, 1..4_usize).prop_map(|(asker, streams)| Step::Enter(asker, streams)),
            (0..4_u64).prop_map(Step::LookUp),
            (0..16_usize).prop_map(Step::Poll),
            (0..16_usize).prop_map(Step::GiveUp),
            (0..16_usize).prop_map(Step::Leave),
        ]
    }

    proptest! {
        /// Whatever waits, gives up and leaves: there are never more places than there are, none is lost, and none is
        /// free while somebody waits who may have it.
        #[test]
        fn no_place_is_lost(most in 1..5_usize, steps in prop::collection::vec(step(), 0..200)) {
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
                    Step::LookUp(asker) => {
                        let gate = gate.clone();
                        let mut entering: Entering = Box::pin(async move {
                            let place = gate.look_up(asker, some_day()).await;
                            place.map(|place| vec![place])
                        });
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
                let state = gate.state();
                prop_assert!(state.scans <= gate.most_scans(0));
                prop_assert!(gate.due(&state).is_none());
                prop_assert!(state.waiting == 0 || state.running == most || state.scans == gate.most_scans(0));
                drop(state);
                prop_assert!(inside.iter().map(Vec::len).sum::<usize>() <= gate.running());
            }
            drop(waiting);
            drop(inside);
            prop_assert_eq!((gate.running(), gate.waiting()), (0, 0));
        }
    }
}
