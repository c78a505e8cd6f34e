//! Which shelf a statement reads: one on which all views that it reads may be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Ages, AsOf, Contract, Shelf, Shown, State, Upkeep, Views, clock};
use crate::catalog::ObjectId;
use crate::error::{Error, Result};
use crate::freshness::Token;

/// How long a statement without a deadline waits for a view to be as young as it has to be.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long for one whose source cannot be followed now: a connection that breaks is there again sooner.
const GRACE: Duration = Duration::from_secs(2);
/// How long until it is looked at again: ages change without a new shelf.
const PAUSE: Duration = Duration::from_millis(10);
/// How long for one that is to change as time passes: then it is read as it is, as one that cannot keep up.
const MOST_LATE: Duration = Duration::from_secs(10);

/// A kept view that a statement reads.
#[derive(Clone, Debug)]
pub struct WantedCopy {
    /// As the statement wants it.
    pub contract: Contract,
    /// It is not to be older than what was there at this moment, which the session has seen.
    pub not_before: Option<Instant>,
    /// Writes to what it reads, which it has to have.
    pub after: Vec<Token>,
    /// The session's own, which it has to have, too, unless it has stopped.
    pub own: Vec<Token>,
    /// What it reads can be asked instead.
    pub has_other_way: bool,
    /// What it reads is known to fail.
    pub source_fails: bool,
}

/// A shelf on which all that is wanted may be read.
#[derive(Clone, Debug)]
pub struct Readable {
    pub shelf: Arc<Shelf>,
    /// From before it was taken: nothing on it is older.
    pub ages: Ages,
    /// Older than they may be, since what they read fails.
    pub stale: BTreeSet<ObjectId>,
}

/// Why there is no such shelf.
#[derive(Debug)]
pub struct Unreadable {
    pub view: ObjectId,
    pub error: Error,
    /// Its copy is not young enough; what it reads may be.
    pub is_old: bool,
}

/// Why a view may not be read.
enum Hindrance {
    /// It will be filled.
    Unfilled,
    /// It becomes younger once its sources have been asked where they stand; what to say if it does not.
    Old(Error),
    /// It may be older than what was seen of it, until its sources have told what there was.
    Behind(Error),
    /// It is old, and does not become younger by itself.
    Outdated(Error),
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
        wanted: &BTreeMap<ObjectId, WantedCopy>,
        deadline: Option<Instant>,
    ) -> Result<Readable, Unreadable> {
        let mut watch = self.shelves().watch();
        let (arrived, time) = (Instant::now(), clock());
        let patience = arrived + PATIENCE;
        // So that there is time for an answer.
        let deadline = deadline.map(|at| at.checked_sub(5 * PAUSE).unwrap_or(at));
        let most_late = arrived + MOST_LATE;
        let awaited = deadline.map_or(most_late, |at| at.min(most_late));
        let mut renewed = BTreeSet::new();
        let mut failed: BTreeMap<&ObjectId, Error> = BTreeMap::new();
        let mut is_asked = false;
        loop {
            // Before the shelf: it is not older than they say.
            let ages = self.shelves().ages();
            let shelf = watch.borrow_and_update().clone();
            let now = Instant::now();
            let is_patient = now < awaited;
            let hindered = wanted.iter().find_map(|(id, wanted)| {
                let shown = shelf.get(id);
                if renewed.contains(id) {
                    let hindrance = self.hindrance(shown, id, None, arrived, &ages);
                    return Some((id, wanted, hindrance?));
                }
                let is_late = is_patient && shown.is_some_and(|shown| shown.is_late(time));
                let hindrance = match is_late {
                    true => Hindrance::Late,
                    false => self.hindrance(shown, id, Some(wanted), arrived, &ages)?,
                };
                let fails = wanted.source_fails || failed.contains_key(id);
                let is_taken = self.is_taken_stale(&hindrance, shown?, wanted, fails, &ages);
                (!is_taken).then_some((id, wanted, hindrance))
            });
            let Some((id, wanted_so, hindrance)) = hindered else {
                let is_stale = |(id, wanted): &(&ObjectId, &WantedCopy)| {
                    let asked = shelf.get(*id).and_then(|shown| ages.asked(&shown.as_of));
                    let is_of_bound = match wanted.contract.max_staleness {
                        Some(bound) => is_within(asked, bound, arrived),
                        None => shelf.get(*id).is_none_or(|shown| !shown.is_behind),
                    };
                    failed.contains_key(*id) || !renewed.contains(*id) && !is_of_bound
                };
                let stale = wanted.iter().filter(is_stale);
                let stale = stale.map(|(id, _)| id.clone()).collect();
                return Ok(Readable { shelf, ages, stale });
            };
            let refused = |error, is_old| Unreadable {
                view: id.clone(),
                error,
                is_old,
            };
            let is_of_bound = matches!(hindrance, Hindrance::Old(_));
            match hindrance {
                Hindrance::For(e) => return Err(refused(e, false)),
                Hindrance::Outdated(e) => return Err(refused(e, true)),
                Hindrance::Due(since) => {
                    if let Some(e) = failed.remove(id) {
                        return Err(refused(e, false));
                    }
                    match self.renewed(id, since).await {
                        Ok(()) => drop(renewed.insert(id)),
                        Err(e)
                            if wanted_so.contract.stale_if_error.is_some()
                                && e.is_of_failing_source() =>
                        {
                            failed.insert(id, e);
                        }
                        Err(e) => return Err(refused(e, false)),
                    }
                    continue;
                }
                Hindrance::Old(e) | Hindrance::Behind(e)
                    if now >= deadline.map_or(patience, |at| at.min(patience))
                        || self.follows_nothing(shelf.get(id))
                            // Who can be asked instead is, or has been.
                            && (wanted_so.has_other_way
                                || wanted_so.source_fails
                                || is_of_bound && arrived.elapsed() >= GRACE) =>
                {
                    return Err(refused(e, true));
                }
                Hindrance::Unfilled if deadline.is_some_and(|at| now >= at) => {
                    let e = Error::invalid_with_help(
                        format!("materialized view {id} is not filled yet"),
                        "system.views says how far it is; a larger statement_timeout waits longer",
                    );
                    return Err(refused(e, false));
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

    /// Whether one that is too old is taken all the same: what it reads fails, and it is not older than it may be then.
    fn is_taken_stale(
        &self,
        hindrance: &Hindrance,
        shown: &Arc<Shown>,
        wanted: &WantedCopy,
        fails: bool,
        ages: &Ages,
    ) -> bool {
        let of_age = match hindrance {
            Hindrance::Old(_) | Hindrance::Outdated(_) | Hindrance::Due(_) => true,
            Hindrance::Behind(_) => is_what_was_shown(shown, ages),
            _ => false,
        };
        // Nothing is read before a write that was asked for.
        if !wanted
            .after
            .iter()
            .chain(&wanted.own)
            .all(|write| ages.has(&shown.as_of, write))
        {
            return false;
        }
        let age = ages.of(&shown.as_of);
        let within = age.zip(wanted.contract.stale_if_error);
        let within = within.is_some_and(|(age, bound)| age <= bound);
        // Where there is another way, it fails as well before this is one.
        let fails = fails || !wanted.has_other_way && self.follows_nothing(Some(shown));
        of_age && within && fails
    }

    /// Whether it does not become younger, as it is now: what it follows cannot be followed, or it does not go on.
    fn follows_nothing(&self, shown: Option<&Arc<Shown>>) -> bool {
        let Some(shown) = shown else {
            return false;
        };
        let sources: &[String] = match &shown.as_of {
            AsOf::Following(sources) => sources,
            AsOf::Watched(unchanged) => &unchanged.watch.sources,
            AsOf::Never | AsOf::At(_) => &[],
        };
        let fails = |source: &String| self.shelves().failure(source).is_some();
        shown.state.reason().is_some() || sources.iter().any(fails)
    }

    /// Of what is wanted, that which cannot be read on this shelf, and can be on another: what is computed anew.
    ///
    /// # Errors
    /// If one that is kept by change cannot be read there.
    pub fn unreadable(
        &self,
        shelf: &Shelf,
        ages: &Ages,
        wanted: &BTreeMap<ObjectId, WantedCopy>,
    ) -> Result<BTreeMap<ObjectId, WantedCopy>, (ObjectId, Error)> {
        let arrived = Instant::now();
        let mut late = BTreeMap::new();
        for (id, wanted) in wanted {
            let contract = &wanted.contract;
            let hindrance = self.hindrance(shelf.get(id), id, Some(wanted), arrived, ages);
            match hindrance {
                None => {}
                Some(_) if contract.upkeep != Upkeep::Change => {
                    late.insert(id.clone(), wanted.clone());
                }
                Some(
                    Hindrance::For(e)
                    | Hindrance::Old(e)
                    | Hindrance::Outdated(e)
                    | Hindrance::Behind(e),
                ) => return Err((id.clone(), e)),
                Some(Hindrance::Unfilled | Hindrance::Due(_) | Hindrance::Late) => {
                    let e = Error::Transaction {
                        message: format!(
                            "materialized view {id} was not filled when the transaction first read one"
                        ),
                        help: "COMMIT, and read it in another".to_string(),
                        sqlstate: "55000",
                    };
                    return Err((id.clone(), e));
                }
            }
        }
        Ok(late)
    }

    /// That a view's copy may be read now, without waiting for anything.
    ///
    /// # Errors
    /// If it may not: why, in words that go on after its name.
    pub fn serves(
        &self,
        shown: &Arc<Shown>,
        id: &ObjectId,
        wanted: &WantedCopy,
        ages: &Ages,
    ) -> Result<(), String> {
        if shown.is_late(clock()) {
            return Err("it is about to change as time passes".to_string());
        }
        if !wanted
            .after
            .iter()
            .all(|write| ages.has(&shown.as_of, write))
        {
            return Err("it is older than a write that is to be seen".to_string());
        }
        let age = ages.of(&shown.as_of);
        let hindrance = self.hindrance(Some(shown), id, Some(wanted), Instant::now(), ages);
        Err(match hindrance {
            None => return Ok(()),
            Some(Hindrance::Unfilled) => "it is not filled yet".to_string(),
            Some(Hindrance::Old(_) | Hindrance::Outdated(_) | Hindrance::Due(_)) => {
                let age = age.map_or("of unknown age".to_string(), |age| {
                    format!("{} ms old", age.as_millis())
                });
                let bound = wanted.contract.max_staleness.unwrap_or_default();
                let bound = bound.as_millis();
                format!("{age}, and at most {bound} ms are asked for")
            }
            Some(Hindrance::Late) => "it is about to change as time passes".to_string(),
            Some(Hindrance::Behind(e) | Hindrance::For(e)) => e.to_string(),
        })
    }

    /// `wanted`: None: it was brought up to date just now. `arrived`: when it was asked for, which is when it has to be so young.
    fn hindrance(
        &self,
        shown: Option<&Arc<Shown>>,
        id: &ObjectId,
        wanted: Option<&WantedCopy>,
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
            // Who says how old it may be takes it as old as it is (DESIGN §3.7).
            let bound = wanted.and_then(|wanted| wanted.contract.max_staleness);
            if bound.is_none() || !is_what_was_shown(shown, ages) {
                return Some(Hindrance::Behind(behind(id, shown, ages)));
            }
        }
        let wanted = wanted?;
        let contract = &wanted.contract;
        let (bound, seen) = (contract.max_staleness, wanted.not_before);
        // Since when it has to be what there was.
        let oldest = bound.and_then(|bound| arrived.checked_sub(bound));
        let oldest = oldest.into_iter().chain(seen).max();
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
        let missed = || {
            let after = wanted.after.iter();
            after.filter(|write| !ages.has(&shown.as_of, write))
        };
        if let Some(write) = missed().max_by_key(|write| write.since) {
            return Some(match &contract.upkeep {
                // What is found then is looked at no more: it has to be young enough for all.
                Upkeep::Read => {
                    Hindrance::Due(oldest.map_or(write.since, |at| at.max(write.since)))
                }
                upkeep => old(shown, upkeep, before(id, write)),
            });
        }
        let mut own = wanted.own.iter();
        if !shown.has_stopped()
            && let Some(write) = own.find(|write| !ages.has(&shown.as_of, write))
        {
            return Some(old(shown, &contract.upkeep, before_own(id, write)));
        }
        let asked = ages.asked(&shown.as_of);
        let is_seen = |seen: Instant| asked.is_some_and(|asked| asked >= seen);
        let is_young = bound.is_none_or(|bound| is_within(asked, bound, arrived));
        if is_young && seen.is_none_or(is_seen) {
            return None;
        }
        let oldest = oldest.unwrap_or(arrived);
        if contract.upkeep == Upkeep::Read {
            return Some(Hindrance::Due(oldest));
        }
        let age = ages.of(&shown.as_of);
        let is_broken = |stated: &Duration| age.is_none_or(|age| age > *stated);
        let stated = contract.max_staleness.filter(is_broken);
        let bound = stated.unwrap_or_else(|| oldest.elapsed());
        let e = match &shown.state {
            State::Paused { reason } => {
                Error::KeptMemory(format!("{}: {reason}", age_of(id, age, bound)))
            }
            _ => too_old(id, age, bound),
        };
        Some(old(shown, &contract.upkeep, e))
    }
}

/// One that is not young enough. Waiting makes nothing younger that waits for its time.
fn old(shown: &Shown, upkeep: &Upkeep, e: Error) -> Hindrance {
    match (&shown.as_of, upkeep) {
        (AsOf::Following(_) | AsOf::Watched(_), _) | (AsOf::Never, Upkeep::Change) => {
            Hindrance::Old(e)
        }
        (AsOf::At(_) | AsOf::Never, _) => Hindrance::Outdated(e),
    }
}

/// Whether all that was shown of a view before the engine was started again is in it, though its sources have not been asked since: else it would
/// be of unknown age.
fn is_what_was_shown(shown: &Shown, ages: &Ages) -> bool {
    // One that had stopped has its moment, and may have gone on.
    matches!(shown.as_of, AsOf::Following(_)) && ages.asked(&shown.as_of).is_some()
}

/// Whether what was there at a moment was, when it was asked for, not older than a bound says.
fn is_within(then: Option<Instant>, bound: Duration, arrived: Instant) -> bool {
    let until = then.map(|then| then.checked_add(bound));
    until.is_some_and(|until| until.is_none_or(|until| until >= arrived))
}

pub(super) fn never_filled(id: &ObjectId, reason: &str) -> Error {
    Error::invalid_with_help(
        format!("materialized view {id} has never been filled: {reason}"),
        "system.refreshes has its runs; REFRESH MATERIALIZED VIEW tries again",
    )
}

/// `is_followed`: what it reads could be again; else its way out is in the reason.
pub(super) fn blocked(id: &ObjectId, reason: &str, is_followed: bool) -> Error {
    let message = format!("materialized view {id} shows what it had, and cannot go on: {reason}");
    match is_followed {
        true => Error::invalid_with_help(
            message,
            format!("Once that is mended: REFRESH MATERIALIZED VIEW {id} FULL"),
        ),
        false => Error::invalid(message),
    }
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

fn behind(id: &ObjectId, shown: &Shown, ages: &Ages) -> Error {
    let sources = match &shown.as_of {
        AsOf::Following(sources) => sources.join(", "),
        _ => "what it follows".to_string(),
    };
    let age = ages.of(&shown.as_of);
    let age = age.filter(|_| is_what_was_shown(shown, ages));
    let by_bound = age.map_or(String::new(), |age| {
        let age = age.as_millis();
        format!("; SET max_staleness in the session reads it as it is, {age} ms old")
    });
    Error::TooOld {
        message: format!(
            "materialized view {id} may be older than what was read before the engine was started again"
        ),
        help: format!(
            "It goes on once {sources} can be read; system.freshness says what hinders{by_bound}"
        ),
    }
}

fn age_of(id: &ObjectId, age: Option<Duration>, bound: Duration) -> String {
    let age = age.map_or("of unknown age".to_string(), |age| {
        format!("{} ms old", age.as_millis())
    });
    let bound = bound.as_millis();
    format!("materialized view {id} is {age}, and may be {bound} ms old")
}

fn before(id: &ObjectId, write: &Token) -> Error {
    Error::TooOld {
        message: format!(
            "materialized view {id} is older than the write to {} that read_after asks for",
            write.source
        ),
        help: format!(
            "REFRESH MATERIALIZED VIEW {id} brings it up to date; RESET read_after reads it as it is"
        ),
    }
}

fn before_own(id: &ObjectId, write: &Token) -> Error {
    Error::TooOld {
        message: format!(
            "materialized view {id} has not come to what this session has written to {}",
            write.source
        ),
        help: "system.freshness says what hinders; another session reads it as it is".to_string(),
    }
}

fn too_old(id: &ObjectId, age: Option<Duration>, bound: Duration) -> Error {
    Error::TooOld {
        message: age_of(id, age, bound),
        help: format!(
            "REFRESH MATERIALIZED VIEW {id} brings it up to date; ALTER MATERIALIZED VIEW {id} SET (max_staleness = …), or SET \
             max_staleness in the session, allows more; stale_if_error, while what it reads fails"
        ),
    }
}
