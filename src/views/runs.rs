//! Views that are computed anew: what starts a run, and what comes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::contract::Upkeep;
use super::schedule::pause;
use super::shelf::{AsOf, Content, State, Version};
use super::{KeptView, Views};
use crate::catalog::ObjectId;
use crate::error::{Error, Result};

/// Runs that are remembered.
const MOST_RUNS: usize = 1_000;

/// How long after a run that failed the next one waits: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// One attempt to bring a view up to date.
#[derive(Clone, Debug)]
pub struct Run {
    pub view: ObjectId,
    /// `first`, `schedule`, `manual` or `read`.
    pub trigger: &'static str,
    /// Counts from 1, of those that failed one after the other.
    pub attempt: u32,
    pub started: DateTime<Utc>,
    /// None: it goes on.
    pub took: Option<Duration>,
    pub rows: Option<u64>,
    pub version: Option<u64>,
    pub error: Option<String>,
}

/// What ran.
#[derive(Debug, Default)]
pub struct Runs(Mutex<VecDeque<(u64, Run)>>);

impl Runs {
    /// Newest last.
    pub fn all(&self) -> Vec<Run> {
        self.lock().iter().map(|(_, run)| run.clone()).collect()
    }

    fn begin(&self, run: Run) -> u64 {
        let mut runs = self.lock();
        let number = runs.back().map_or(1, |(number, _)| number + 1);
        runs.push_back((number, run));
        if runs.len() > MOST_RUNS {
            runs.pop_front();
        }
        number
    }

    fn end(&self, number: u64, end: impl FnOnce(&mut Run)) {
        let mut runs = self.lock();
        if let Some((_, run)) = runs.iter_mut().find(|(n, _)| *n == number) {
            end(run);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Run)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A view that is computed anew.
#[derive(Debug)]
pub(super) struct Recomputed {
    pub view: Arc<KeptView>,
    /// One run at a time.
    running: Arc<tokio::sync::Mutex<()>>,
    due: Mutex<Due>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Due {
    /// The last run that succeeded began then.
    last: Option<DateTime<Utc>>,
    /// Runs that failed since, and when the last did.
    failures: u32,
    failed: Option<DateTime<Utc>>,
}

impl Recomputed {
    /// `old`: what it was under another contract. A run of that may go on.
    pub fn new(view: Arc<KeptView>, last: Option<DateTime<Utc>>, old: Option<&Self>) -> Self {
        Self {
            view,
            running: old.map(|old| old.running.clone()).unwrap_or_default(),
            due: Mutex::new(Due {
                last,
                ..Due::default()
            }),
        }
    }

    fn due(&self) -> std::sync::MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it is to run again, and what for. None: once somebody asks.
    fn next(&self) -> Option<(DateTime<Utc>, &'static str)> {
        let Due {
            last,
            failures,
            failed,
        } = *self.due();
        let (at, trigger) = match (last, &self.view.contract.upkeep) {
            // A view that never ran is tried until it does.
            (None, _) => (DateTime::UNIX_EPOCH, "first"),
            // One that was missed while nobody was there is run once: `last` is long ago.
            (Some(last), Upkeep::Schedule(schedule)) => (schedule.next(last)?, "schedule"),
            _ => return None,
        };
        let at = match failed {
            // It was due when it failed, and still is.
            Some(failed) if at <= failed => failed + pause(FIRST_PAUSE, failures, LONGEST_PAUSE),
            _ => at,
        };
        Some((at, trigger))
    }
}

impl Views {
    /// Run what is due, to the end of the engine's time.
    pub(super) async fn keep_schedule(views: Weak<Self>, changed: Arc<Notify>) {
        loop {
            let Some(views) = views.upgrade() else {
                return;
            };
            let wait = views.start_due();
            drop(views);
            // A clock that is set back or forth is noticed within a minute.
            let wait = wait.min(Duration::from_secs(60));
            let _ = tokio::time::timeout(wait, changed.notified()).await;
        }
    }

    /// How long until the next one.
    fn start_due(self: &Arc<Self>) -> Duration {
        let now = Utc::now();
        let mut wait = Duration::MAX;
        let recomputed: Vec<_> = self.recomputed().values().cloned().collect();
        for kept in recomputed {
            let Some((at, trigger)) = kept.next() else {
                continue;
            };
            if at > now {
                wait = wait.min((at - now).to_std().unwrap_or_default());
                continue;
            }
            // The end of one that goes on is told.
            let Ok(only) = kept.running.clone().try_lock_owned() else {
                continue;
            };
            let views = self.clone();
            tokio::spawn(async move {
                // Its error is in the view's state and among the runs.
                let _ = views.run(&kept, trigger).await;
                drop(only);
                views.changed.notify_one();
            });
        }
        wait
    }

    /// Compute a view anew, after the run that goes on, if there is one. One that began at or after `enough` is taken for this one.
    pub(super) async fn run_next(
        &self,
        kept: &Recomputed,
        trigger: &'static str,
        enough: Option<Instant>,
    ) -> Result<u64> {
        let _only = kept.running.lock().await;
        let shown = self.shelves.newest().get(&kept.view.id).cloned();
        let suffices = |as_of: &AsOf, enough| match as_of {
            AsOf::At(at) => *at >= enough,
            AsOf::Watched(unchanged) => unchanged.at >= enough,
            _ => false,
        };
        if let (Some(enough), Some(shown)) = (enough, shown)
            && suffices(&shown.as_of, enough)
            && let Some(content) = &shown.content
        {
            return Ok(content.row_count());
        }
        let ran = self.run(kept, trigger).await;
        // When it is due next has changed.
        self.changed.notify_one();
        ran
    }

    /// Compute a view anew, and show it if its checks hold. Its caller sees to it that it is the only run.
    async fn run(&self, kept: &Recomputed, trigger: &'static str) -> Result<u64> {
        let (asked, started) = (Instant::now(), Utc::now());
        // Before anything is read: what changes from here on is not in it, or is told all the same.
        let watch = self.watch(&kept.view.id);
        let unchanged = watch.and_then(|watch| watch.ok()?.begin(asked));
        let attempt = kept.due().failures + 1;
        let number = self.runs.begin(Run {
            view: kept.view.id.clone(),
            trigger,
            attempt,
            started,
            took: None,
            rows: None,
            version: None,
            error: None,
        });
        let limit = kept.view.contract.max_duration;
        let computed = self.compute(kept, started);
        let computed = match limit {
            None => computed.await,
            Some(limit) => tokio::time::timeout(limit, computed)
                .await
                .unwrap_or_else(|_| {
                    Err(Error::Timeout {
                        limit_ms: limit.as_millis(),
                    })
                }),
        };
        let (id, generation) = (&kept.view.id, kept.view.generation);
        match computed {
            Ok(version) => {
                let content = Content::Rows(version.clone());
                let rows = content.row_count();
                self.versions
                    .keep(generation, version.clone(), kept.view.contract.keep);
                self.shelves.change_one(id, generation, |shown| {
                    shown.state = State::Live;
                    shown.content = Some(content);
                    shown.as_of = match unchanged {
                        Some(unchanged) => AsOf::Watched(Arc::new(unchanged)),
                        None => AsOf::At(asked),
                    };
                });
                *kept.due() = Due {
                    last: Some(started),
                    ..Due::default()
                };
                self.runs.end(number, |run| {
                    run.took = Some(asked.elapsed());
                    run.rows = Some(rows);
                    run.version = Some(version.number);
                });
                Ok(rows)
            }
            Err(e) => {
                let reason: Arc<str> = e.to_string().into();
                self.shelves.change_one(id, generation, |shown| {
                    shown.state = State::Failed {
                        reason: reason.clone(),
                    };
                });
                let mut due = kept.due();
                due.failures += 1;
                due.failed = Some(Utc::now());
                drop(due);
                self.runs.end(number, |run| {
                    run.took = Some(asked.elapsed());
                    run.error = Some(reason.to_string());
                });
                Err(e)
            }
        }
    }

    async fn compute(&self, kept: &Recomputed, started: DateTime<Utc>) -> Result<Arc<Version>> {
        let (view, execute) = (&kept.view, self.execute()?);
        let rows = execute.rows(&view.definition).await?;
        let schema = view.definition.arrow_schema();
        let written = self.versions.write(view.generation, started, schema, rows);
        let version = Arc::new(written.await?);
        for check in view.definition.checks() {
            let found = execute.finds(&view.definition, check, &version).await;
            let failed = match found {
                Ok(false) => continue,
                Ok(true) => Error::invalid_with_help(
                    format!("check {} of view {} found rows", check.name, view.id),
                    "What was there before stays. Run the check's query against the sources to see them",
                ),
                Err(e) => e,
            };
            self.versions.remove(view.generation, &version);
            return Err(failed);
        }
        Ok(version)
    }

    pub(super) fn recomputed(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<ObjectId, Arc<Recomputed>>> {
        self.recomputed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
