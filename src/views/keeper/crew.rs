//! Threads that compute what may take long, so that the keeper never waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A thread that nobody has needed for so long ends.
const REST: Duration = Duration::from_secs(10);

type Task = Box<dyn FnOnce() + Send>;

/// As many threads as there are tasks at a time: one that takes hours holds no other up. Whoever gives it tasks bounds
/// them.
#[derive(Default)]
pub(super) struct Crew(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    idle: usize,
    is_over: bool,
}

impl Crew {
    /// Have a task done, by a thread that has nothing to do or by another one. Where none can be made, here.
    pub fn run(&self, task: Task) {
        let mut state = self.0.state();
        if state.idle > state.tasks.len() {
            state.tasks.push_back(task);
            self.0.given.notify_one();
            return;
        }
        drop(state);
        let shared = self.0.clone();
        let first = Arc::new(Mutex::new(Some(task)));
        let mine = first.clone();
        let thread = std::thread::Builder::new().name("view".to_string());
        let spawned = thread.spawn(move || {
            let task = taken(&mine);
            task.into_iter().for_each(|task| task());
            shared.work();
        });
        if let Err(e) = spawned {
            tracing::warn!("no thread can be made to compute a view, so others wait for it: {e}");
            taken(&first).into_iter().for_each(|task| task());
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.given.notify_all();
    }
}

fn taken(task: &Mutex<Option<Task>>) -> Option<Task> {
    task.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                drop(state);
                task();
                state = self.state();
                continue;
            }
            if state.is_over {
                return;
            }
            state.idle += 1;
            let waited = self.given.wait_timeout(state, REST);
            let (again, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if waited.timed_out() && state.tasks.is_empty() {
                return;
            }
        }
    }
}
