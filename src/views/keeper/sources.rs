//! Sources' steps: what each tells, and how it answers.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::{Kind, Position, Source};
use futures::FutureExt;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::Kept;
use super::room::Intake;
use crate::replication;
use crate::views::schedule::pause;
use crate::views::shelf::Shelves;

/// Steps of sources that one epoch takes, if they are there: one transaction goes straight through, a flood is batched.
const STEPS_PER_EPOCH: usize = 4_096;
/// How often a source is asked where its log stands.
pub(super) const ASK: Duration = Duration::from_millis(500);
/// How often a source is asked how much of its log it keeps.
const MEASURE: Duration = Duration::from_secs(2);
/// A source that failed is left alone: doubled with each failure, up to a limit.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(3);

/// A source, and how it has answered.
pub(super) struct Following {
    pub source: Arc<dyn Source>,
    pub intake: Intake,
    /// It has nothing until an epoch has ended.
    pub is_idle: bool,
    pub failures: u32,
    pub rests_until: Option<Instant>,
    /// It has not been asked with success since it failed.
    is_lost: bool,
    pub asking: Option<oneshot::Receiver<(Instant, Position)>>,
    /// Where it stood when it was asked, and its copies have not come to.
    pub asked: Option<(Instant, Position)>,
    /// When this was last looked at. None: at once.
    pub asked_at: Option<Instant>,
    /// How much of its log it keeps.
    measuring: Option<tokio::task::JoinHandle<()>>,
    measured_at: Option<Instant>,
}

impl Kept {
    /// What more there is, without waiting.
    pub(super) fn steps(&mut self) {
        let runtime = self.runtime.clone();
        let _runtime = runtime.enter();
        for _ in 1..STEPS_PER_EPOCH {
            let now = Instant::now();
            let sources = &self.sources;
            let step = self
                .replication
                .advance_any(|name| is_ready(sources, name, now));
            match step.now_or_never().flatten() {
                Some((source, step)) => self.stepped(&source, step),
                None => return,
            }
        }
    }

    pub(super) fn stepped(&mut self, name: &str, step: replication::Result<bool>) {
        let Some(source) = self.sources.get_mut(name) else {
            return;
        };
        match step {
            Ok(moved) => {
                source.is_idle = !moved;
                source.failures = 0;
                source.rests_until = None;
            }
            Err(e) => {
                source.failures += 1;
                source.is_lost = true;
                let rest = pause(FIRST_REST, source.failures, LONGEST_REST);
                source.rests_until = Some(Instant::now() + rest);
                let is_definite =
                    matches!(&e, replication::Error::Source(e) if e.kind() != Kind::Transient);
                if source.failures == 1 || is_definite {
                    tracing::warn!(source = name, "its changes cannot be followed now: {e}");
                }
                let reason: Arc<str> = e.to_string().into();
                self.shelves.failing(name, Some(reason));
                return;
            }
        }
        self.shelves.failing(name, None);
        self.weigh(name);
    }

    /// Sources that there are replicas of.
    pub(super) fn followed(&self) -> BTreeSet<String> {
        let wanted = self.replication.wanted();
        wanted.map(|(_, wanted, _)| wanted.source.clone()).collect()
    }

    /// Have a source remove what following it has made there.
    pub(super) fn release(&mut self, name: &str, source: Arc<dyn Source>) {
        let name = name.to_string();
        self.releasing.push(self.runtime.spawn(async move {
            for attempt in 0..5 {
                tokio::time::sleep(FIRST_REST * attempt).await;
                match source.release().await {
                    Ok(()) => return,
                    Err(e) => {
                        tracing::warn!(source = name, "it keeps what following it has made: {e}")
                    }
                }
            }
        }));
    }

    /// Ask sources where they stand: copies that have come there are as young as the question.
    pub(super) fn ask(&mut self) {
        self.sources.values_mut().for_each(Following::hear);
        // After each transaction this is looked at; whom to ask, twice a second.
        if !self.sources.values().any(Following::is_to_be_asked) {
            return;
        }
        let followed = self.followed();
        for (name, source) in &mut self.sources {
            if !source.is_to_be_asked() {
                continue;
            }
            source.asked_at = Some(Instant::now());
            if followed.contains(name) {
                let (asked, answered) = (source.source.clone(), self.answered.clone());
                let was_lost = std::mem::take(&mut source.is_lost);
                let (lost, execute) = (name.clone(), self.execute.clone());
                let (answer, asking) = oneshot::channel();
                source.asking = Some(asking);
                self.runtime.spawn(async move {
                    let at = Instant::now();
                    if let Ok(position) = asked.position().await {
                        if was_lost && let Some(execute) = execute.get() {
                            execute.answers_again(&lost);
                        }
                        // Somebody else follows it meanwhile.
                        let _ = answer.send((at, position));
                    }
                    answered.notify_one();
                });
                if source.is_to_be_measured() {
                    let measure =
                        measure(name.clone(), source.source.clone(), self.shelves.clone());
                    source.measured_at = Some(Instant::now());
                    source.measuring = Some(self.runtime.spawn(measure));
                }
            }
        }
    }

    /// Which sources' copies have come to where they stood when they were asked.
    pub(super) fn reached(&mut self) {
        let published = self.replication.reader().published();
        for (name, source) in &mut self.sources {
            let reached = published.boundary.positions.get(name);
            let (Some((at, asked)), Some(reached)) = (&source.asked, reached) else {
                continue;
            };
            match asked.partial_cmp(reached) {
                Some(Ordering::Less | Ordering::Equal) => {
                    self.epochs.reached(name, *at, asked);
                    source.asked = None;
                }
                Some(Ordering::Greater) => {}
                // Of another log than there is now: it is asked again.
                None => source.asked = None,
            }
        }
    }
}

impl Following {
    pub fn new(source: Arc<dyn Source>, intake: Intake) -> Self {
        Self {
            source,
            intake,
            is_idle: false,
            failures: 0,
            rests_until: None,
            is_lost: false,
            asking: None,
            asked: None,
            asked_at: None,
            measuring: None,
            measured_at: None,
        }
    }

    /// What it has answered to where it stands.
    fn hear(&mut self) {
        match self.asking.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return,
            Some(Ok(asked)) => self.asked = Some(asked),
            Some(Err(TryRecvError::Closed)) => self.is_lost = true,
        }
        self.asking = None;
    }

    fn is_to_be_measured(&self) -> bool {
        let is_measuring = self
            .measuring
            .as_ref()
            .is_some_and(|one| !one.is_finished());
        !is_measuring && self.measured_at.is_none_or(|at| at.elapsed() >= MEASURE)
    }

    fn is_to_be_asked(&self) -> bool {
        let is_due = self.asked_at.is_none_or(|at| at.elapsed() >= ASK);
        let is_known = self.asking.is_some() || self.asked.is_some();
        is_due && !is_known && self.rests_until.is_none()
    }
}

/// Ask a source how much of its log it keeps. It is let go where that is too much: copies are made anew, but a source whose disk
/// is full stands still.
async fn measure(name: String, source: Arc<dyn Source>, shelves: Arc<Shelves>) {
    let lag = match source.lag().await {
        Ok(lag) => lag,
        Err(_) => return,
    };
    let is_too_much = lag.is_some_and(|lag| lag.most.is_some_and(|most| lag.bytes > most));
    let mut is_let_go = false;
    if let Some(lag) = lag.filter(|_| is_too_much) {
        match source.release().await {
            Ok(()) => {
                tracing::warn!(
                    source = name,
                    "its log held {} bytes for what follows it, more than max_lag: it was let go, and tables are copied anew",
                    lag.bytes
                );
                is_let_go = true;
            }
            Err(e) => tracing::warn!(
                source = name,
                "its log holds too much, and is not let go: {e}"
            ),
        }
    }
    shelves.kept(&name, lag.map(|lag| lag.bytes), is_let_go);
}

pub(super) fn is_ready(sources: &BTreeMap<String, Following>, name: &str, now: Instant) -> bool {
    sources.get(name).is_some_and(|source| {
        let is_rested = source.rests_until.is_none_or(|until| until <= now);
        !source.is_idle && !source.intake.waits() && is_rested
    })
}
