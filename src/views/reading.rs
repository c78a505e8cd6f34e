//! Which shelf a statement reads: one on which all views that it reads may be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Ages, AsOf, Contract, Shelf, Shown, State, Upkeep, Views, clock};
use crate::catalog::ObjectId;
use crate::error::{Error, Result};

/// How long a statement without a deadline waits for a view to be as young as it has to be.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long until it is looked at again: ages change without a new shelf.
const PAUSE: Duration = Duration::from_millis(10);
/// How long for one that is to change as time passes: then it is read as it is, as one that cannot keep up.
const MOST_LATE: Duration = Duration::from_secs(10);

/// Why a view may not be read.
enum Hindrance {
    /// It will be filled.
    Unfilled,
    /// It becomes younger once its sources have been asked where they stand; what to say if it does not.
    Old(Error),
    /// It may be older than what was seen of it, until its sources have told what there was.
    Behind(Error),
    /// A read brings it up to date.
    Due(Instant),
    /// It has to change by itself, and is about to.
    Late,
    /// Waiting does not help.
    For(Error),
}

impl Views {
    /// The first shelf from now on whose views may all be read: filled, not older than anybody can have seen them, and as young as
    /// their contracts say. All are of one shelf, so those that are kept by change are of one epoch.
    ///
    /// # Errors
    /// If a view is gone, cannot be filled, or fails; if one is not young enough in time.
    pub async fn together(
        self: &Arc<Self>,
        wanted: &BTreeMap<ObjectId, Contract>,
        deadline: Option<Instant>,
    ) -> Result<Arc<Shelf>> {
        let mut watch = self.shelves().watch();
        let (arrived, time) = (Instant::now(), clock());
        let patience = arrived + PATIENCE;
        // So that there is time for an answer.
        let deadline = deadline.map(|at| at.checked_sub(5 * PAUSE).unwrap_or(at));
        let most_late = arrived + MOST_LATE;
        let awaited = deadline.map_or(most_late, |at| at.min(most_late));
        let mut renewed = BTreeSet::new();
        let mut is_asked = false;
        loop {
            // Before the shelf: it is not older than they say.
            let ages = self.shelves().ages();
            let shelf = watch.borrow_and_update().clone();
            let now = Instant::now();
            let is_patient = now < awaited;
            let hindered = wanted.iter().find_map(|(id, contract)| {
                let contract = (!renewed.contains(id)).then_some(contract);
                let shown = shelf.get(id);
                let is_late = is_patient && shown.is_some_and(|shown| shown.is_late(time));
                let late = is_late.then_some(Hindrance::Late);
                let hindrance = || self.hindrance(shown, id, contract, arrived, &ages);
                Some((id, late.or_else(hindrance)?))
            });
            let Some((id, hindrance)) = hindered else {
                return Ok(shelf);
            };
            match hindrance {
                Hindrance::For(e) => return Err(e),
                Hindrance::Due(since) => {
                    self.renewed(id, since).await?;
                    renewed.insert(id);
                    continue;
                }
                Hindrance::Old(e) | Hindrance::Behind(e)
                    if now >= deadline.map_or(patience, |at| at.min(patience)) =>
                {
                    return Err(e);
                }
                Hindrance::Unfilled if deadline.is_some_and(|at| now >= at) => {
                    return Err(Error::invalid_with_help(
                        format!("materialized view {id} is not filled yet"),
                        "system.views says how far it is; a larger statement_timeout waits longer",
                    ));
                }
                Hindrance::Old(_) if !is_asked => {
                    self.keeper.ask();
                    is_asked = true;
                }
                Hindrance::Old(_)
                | Hindrance::Behind(_)
                | Hindrance::Unfilled
                | Hindrance::Late => {}
            }
            let _ = tokio::time::timeout(PAUSE, watch.changed()).await;
        }
    }

    /// Of what is wanted, that which cannot be read on this shelf, and can be on another: what is computed anew.
    ///
    /// # Errors
    /// If one that is kept by change cannot be read there.
    pub fn unreadable(
        &self,
        shelf: &Shelf,
        ages: &Ages,
        wanted: &BTreeMap<ObjectId, Contract>,
    ) -> Result<BTreeMap<ObjectId, Contract>> {
        let arrived = Instant::now();
        let mut late = BTreeMap::new();
        for (id, contract) in wanted {
            let hindrance = self.hindrance(shelf.get(id), id, Some(contract), arrived, ages);
            match hindrance {
                None => {}
                Some(_) if contract.upkeep != Upkeep::Change => {
                    late.insert(id.clone(), contract.clone());
                }
                Some(Hindrance::For(e) | Hindrance::Old(e) | Hindrance::Behind(e)) => {
                    return Err(e);
                }
                Some(Hindrance::Unfilled | Hindrance::Due(_) | Hindrance::Late) => {
                    return Err(Error::Transaction {
                        message: format!(
                            "materialized view {id} was not filled when the transaction first read one"
                        ),
                        help: "COMMIT, and read it in another".to_string(),
                        sqlstate: "55000",
                    });
                }
            }
        }
        Ok(late)
    }

    /// `contract`: None: it was brought up to date just now. `arrived`: when it was asked for, which is when it has to be so young.
    fn hindrance(
        &self,
        shown: Option<&Arc<Shown>>,
        id: &ObjectId,
        contract: Option<&Contract>,
        arrived: Instant,
        ages: &Ages,
    ) -> Option<Hindrance> {
        let Some(shown) = shown else {
            return Some(Hindrance::For(Error::Unknown {
                what: "materialized view",
                name: id.to_string(),
                hint: None,
            }));
        };
        if shown.content.is_none() {
            return Some(match &shown.state {
                State::Blocked { reason } | State::Failed { reason } => {
                    Hindrance::For(never_filled(id, reason))
                }
                State::Paused { reason } => Hindrance::For(no_room(id, reason)),
                State::Filling | State::Live => Hindrance::Unfilled,
            });
        }
        if let Some(reason) = &shown.failing {
            return Some(Hindrance::For(Error::Data {
                message: format!("materialized view {id} cannot be read: {reason}"),
                sqlstate: "22000",
            }));
        }
        if shown.is_behind {
            return Some(Hindrance::Behind(behind(id, shown)));
        }
        let contract = contract?;
        if contract.upkeep == Upkeep::Read {
            let is_due = match &shown.as_of {
                AsOf::Watched(unchanged) => !unchanged.holds(),
                AsOf::Never => true,
                // Without a bound on its age, what tells of changes does not do so now.
                AsOf::At(_) | AsOf::Following(_) => contract.max_staleness.is_none(),
            };
            if is_due {
                return Some(Hindrance::Due(Instant::now()));
            }
        }
        let bound = contract.max_staleness?;
        let age = ages.of(&shown.as_of);
        let then = age.map(|age| age.saturating_sub(arrived.elapsed()));
        if then.is_some_and(|age| age <= bound) {
            return None;
        }
        if contract.upkeep == Upkeep::Read {
            let now = Instant::now();
            return Some(Hindrance::Due(now.checked_sub(bound).unwrap_or(now)));
        }
        let e = match &shown.state {
            State::Paused { reason } => {
                Error::KeptMemory(format!("{}: {reason}", age_of(id, age, bound)))
            }
            _ => too_old(id, age, bound),
        };
        Some(match shown.as_of {
            // Waiting makes nothing younger that waits for its time.
            AsOf::At(_) => Hindrance::For(e),
            _ => Hindrance::Old(e),
        })
    }
}

pub(super) fn never_filled(id: &ObjectId, reason: &str) -> Error {
    Error::invalid_with_help(
        format!("materialized view {id} has never been filled: {reason}"),
        "system.refreshes has its runs; REFRESH MATERIALIZED VIEW tries again",
    )
}

pub(super) fn blocked(id: &ObjectId, reason: &str) -> Error {
    Error::invalid_with_help(
        format!("materialized view {id} shows what it had, and cannot go on: {reason}"),
        format!("Once that is mended: REFRESH MATERIALIZED VIEW {id} FULL"),
    )
}

pub(super) fn paused(id: &ObjectId, reason: &str) -> Error {
    Error::KeptMemory(format!(
        "materialized view {id} shows what it had: {reason}"
    ))
}

pub(super) fn no_room(id: &ObjectId, reason: &str) -> Error {
    Error::KeptMemory(format!(
        "materialized view {id} is not filled yet: {reason}"
    ))
}

fn behind(id: &ObjectId, shown: &Shown) -> Error {
    let sources = match &shown.as_of {
        AsOf::Following(sources) => sources.join(", "),
        _ => "what it follows".to_string(),
    };
    Error::invalid_with_help(
        format!(
            "materialized view {id} may be older than what it showed before the engine was started again"
        ),
        format!("It goes on once {sources} can be read; system.freshness says what hinders"),
    )
}

fn age_of(id: &ObjectId, age: Option<Duration>, bound: Duration) -> String {
    let age = age.map_or("of unknown age".to_string(), |age| {
        format!("{} ms old", age.as_millis())
    });
    let bound = bound.as_millis();
    format!("materialized view {id} is {age}, and may be {bound} ms old")
}

fn too_old(id: &ObjectId, age: Option<Duration>, bound: Duration) -> Error {
    Error::invalid_with_help(
        age_of(id, age, bound),
        format!(
            "REFRESH MATERIALIZED VIEW {id} brings it up to date; ALTER MATERIALIZED VIEW {id} SET (max_staleness = …), or SET \
             max_staleness in the session that has one, allows more"
        ),
    )
}
