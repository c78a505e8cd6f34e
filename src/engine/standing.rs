//! What a session is by the definitions of a moment: with whose rights, within which limits, and what its settings come to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use belvedere_sql::{Statement, fold};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;

use super::audited::Audited;
use super::log::Running;
use super::session::{Session, Who};
use super::settings::{Settings, bytes, parse_duration};
use crate::access::{Counted, Identity, Limits, Reached};
use crate::catalog::{Definitions, Limit};
use crate::error::{Error, Result};

/// Of a view of a text, besides the text.
const VIEW_BYTES: usize = 16;

/// As long as nothing is defined, it is the same for each statement.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// Of the world that it is of.
    pub version: u64,
    pub identity: Identity,
    pub limits: Arc<Limits>,
}

impl Session {
    /// One that stays open.
    ///
    /// # Errors
    /// The user has as many as may be.
    #[cfg(feature = "serve")]
    pub(crate) fn opened(mut self) -> Result<Self> {
        let standing = self.standing()?;
        if let Some(usage) = &self.usage {
            let counted = usage.one_more(Limit::Sessions, &standing.limits)?;
            self._opened = Some(Arc::new(counted));
        }
        Ok(self)
    }

    /// With whose rights statements are executed now.
    ///
    /// # Errors
    /// The user is gone; or there are users now, and it is none's.
    pub(super) fn identity(&self) -> Result<Identity> {
        Ok(self.standing()?.identity)
    }

    /// What it is now: found out once in each world.
    pub(super) fn standing(&self) -> Result<Standing> {
        let world = self.inner.world();
        let mut known = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = known.as_ref().filter(|s| s.version == world.version) {
            return Ok(standing.clone());
        }
        // Of all: a transaction does not keep what was taken back.
        let identity = self.identity_in(&world.definitions)?;
        let limits = Limits::of(&world.definitions.accounts, &identity);
        let standing = Standing {
            version: world.version,
            identity,
            limits: Arc::new(limits),
        };
        *known = Some(standing.clone());
        Ok(standing)
    }

    /// The user's limits.
    pub(super) fn limits(&self) -> Arc<Limits> {
        let standing = self.standing();
        standing.map_or_else(|_| Arc::default(), |standing| standing.limits)
    }

    /// A statement is about to be executed.
    pub(super) fn begin(&self, sql: &str) -> Running {
        let running = self.inner.log.begin(sql, self.user(), Audited::new(self));
        let Some(usage) = &self.usage else {
            return running;
        };
        let limits = self.limits();
        let place = usage.one_more(Limit::Statements, &limits).map(Some);
        running.within(Allowance::new(limits, place, &self.settings()))
    }

    fn identity_in(&self, definitions: &Definitions) -> Result<Identity> {
        let gone = |message: String| Error::Denied {
            message,
            help: "Log in again".to_string(),
            sqlstate: "28000",
        };
        match &self.who {
            Who::Owner => Ok(Identity::administrator()),
            // Its own transaction may be about to define the first.
            Who::Anybody => match definitions.has_users() {
                false => Ok(Identity::administrator()),
                true => Err(gone(
                    "users are defined now, and this session is no user's".into(),
                )),
            },
            Who::User(name) => {
                let accounts = &definitions.accounts;
                let account = accounts.get(&**name);
                let account = account.filter(|account| account.login.is_some());
                let account =
                    account.ok_or_else(|| gone(format!("user {name} does not exist any more")))?;
                if self.account_id() != Some(account.id) {
                    return Err(gone(format!(
                        "user {name} has another password than when this session began, or is another user"
                    )));
                }
                Ok(Identity::of(accounts, name).unwrap_or_else(Identity::nobody))
            }
        }
    }

    fn account_id(&self) -> Option<u64> {
        *self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These have been carried out: who has changed the own password goes on, and other sessions of that user do not.
    pub(super) fn has_defined<'a>(&self, statements: impl IntoIterator<Item = &'a Statement>) {
        let Who::User(name) = &self.who else {
            return;
        };
        let is_own = |statement: &Statement| matches!(statement, Statement::AlterRole(alter) if *fold(&alter.name) == **name);
        if statements.into_iter().any(is_own) {
            let world = self.inner.world();
            let account = world.definitions.accounts.get(&**name);
            let mut id = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            *id = account.map(|account| account.id);
        }
    }

    /// The settings with some set for one call.
    pub(super) fn overridden(&self, overrides: &[(String, String)]) -> Result<Settings> {
        let (settings, limits) = (self.settings().with(overrides)?, self.limits());
        for (name, _) in overrides {
            admits(&limits, name, &settings)?;
        }
        Ok(within(&settings, &limits))
    }
}

/// A session's settings within its limits, and what they were made of.
#[derive(Debug, Default)]
pub(super) struct Effective(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    version: u64,
    own: Arc<Settings>,
    effective: Arc<Settings>,
}

impl Effective {
    /// Made once, so that what is planned under them is known to be under the same.
    pub fn of(&self, own: Arc<Settings>, standing: &Standing) -> Arc<Settings> {
        if standing.limits.is_empty() {
            return own;
        }
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same =
            |made: &&Made| made.version == standing.version && Arc::ptr_eq(&made.own, &own);
        if let Some(made) = made.as_ref().filter(is_same) {
            return made.effective.clone();
        }
        let effective = Arc::new(within(&own, &standing.limits));
        *made = Some(Made {
            version: standing.version,
            own,
            effective: effective.clone(),
        });
        effective
    }
}

/// The settings where none is more than its limit.
pub(super) fn within(settings: &Settings, limits: &Limits) -> Settings {
    let milliseconds = |limit| limits.get(limit).map(Duration::from_millis);
    let memory = limits.get(Limit::StatementMemory);
    let memory = memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let age = milliseconds(Limit::Age);
    let bound =
        |bound: Option<Duration>| bound.map(|bound| age.map_or(bound, |age| bound.min(age)));
    Settings {
        statement_timeout: least(
            settings.statement_timeout,
            milliseconds(Limit::StatementTime),
        ),
        memory_limit: least(settings.memory_limit, memory),
        max_staleness: bound(settings.max_staleness),
        stale_if_error: bound(settings.stale_if_error),
        max_age: age,
        ..settings.clone()
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// That a setting, as it is set now, is no more than its limit. One that says nothing is as its limit says.
pub(super) fn admits(limits: &Limits, name: &str, settings: &Settings) -> Result<()> {
    let milliseconds = |time: Option<Duration>| time.map(|time| time.as_millis() as u64);
    let (limit, value) = match name {
        "statement_timeout" => (
            Limit::StatementTime,
            milliseconds(settings.statement_timeout),
        ),
        "memory_limit" => (
            Limit::StatementMemory,
            settings.memory_limit.map(|bytes| bytes as u64),
        ),
        "max_staleness" => (Limit::Age, milliseconds(settings.max_staleness)),
        "stale_if_error" => (Limit::Age, milliseconds(settings.stale_if_error)),
        _ => return Ok(()),
    };
    let what = || format!("{name} cannot be so much");
    let admitted = limits.admit(limit, value.unwrap_or_default(), what);
    admitted.map_err(|reached| Error::Denied {
        message: reached.to_string(),
        help: "Set it to no more than that, or ask a superuser to raise the limit".to_string(),
        sqlstate: "42501",
    })
}

impl From<Reached> for Error {
    fn from(reached: Reached) -> Self {
        let (help, sqlstate) = match reached.limit {
            Limit::Sessions => ("Close one of them", "53300"),
            Limit::Statements => ("Wait until one of them has ended, or cancel one", "53300"),
            Limit::ResultRows | Limit::ResultBytes => (
                "Ask for fewer rows or columns: a condition, a LIMIT, an aggregate",
                "54000",
            ),
            Limit::StatementMemory => ("Ask for less at once", "53200"),
            Limit::StatementTime => ("Ask for less at once", "57014"),
            Limit::Age => ("Read it as it is now", "72000"),
        };
        Self::Limit {
            message: reached.to_string(),
            help: format!("{help}; or ask a superuser to raise the limit"),
            sqlstate,
        }
    }
}

/// What one statement may be.
#[derive(Debug)]
pub(super) struct Allowance {
    limits: Arc<Limits>,
    /// Of those that run at once. An error: there are as many as may be.
    place: Result<Option<Counted>, Reached>,
    /// Its memory is the limit's, and not what the session has set.
    is_memory_limited: bool,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Allowance {
    pub fn new(
        limits: Arc<Limits>,
        place: Result<Option<Counted>, Reached>,
        settings: &Settings,
    ) -> Self {
        let most = limits.get(Limit::StatementMemory);
        Self {
            is_memory_limited: most
                .is_some_and(|most| settings.memory_limit == usize::try_from(most).ok()),
            limits,
            place,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Whether it may begin.
    pub fn begins(&self) -> Result<()> {
        match &self.place {
            Ok(_) => Ok(()),
            Err(reached) => Err(reached.clone().into()),
        }
    }

    /// Whether these rows of its answer may be told, too.
    pub fn takes(&self, rows: &RecordBatch) -> Result<()> {
        if self.limits.is_empty() {
            return Ok(());
        }
        let add = |to: &AtomicU64, more: u64| to.fetch_add(more, Ordering::Relaxed) + more;
        let count = add(&self.rows, rows.num_rows() as u64);
        let what = || "the answer has more rows than may be".to_string();
        self.limits.admit(Limit::ResultRows, count, what)?;
        if self.limits.get(Limit::ResultBytes).is_some() {
            let bytes = add(&self.bytes, told_bytes(rows) as u64);
            let what = || "the answer is larger than may be".to_string();
            self.limits.admit(Limit::ResultBytes, bytes, what)?;
        }
        Ok(())
    }

    /// An error that a limit is the cause of says so: it is not by a setting that more is allowed.
    pub fn shown(&self, e: Error) -> Error {
        let reached = match &e {
            Error::Timeout { limit_ms } => {
                let is_it =
                    self.limits.get(Limit::StatementTime).map(u128::from) == Some(*limit_ms);
                let what = "the statement took longer than it may";
                is_it.then(|| self.limits.reached(Limit::StatementTime, what))
            }
            Error::Memory(_) if self.is_memory_limited => {
                let what = "the statement needs more memory than it may have";
                Some(self.limits.reached(Limit::StatementMemory, what))
            }
            _ => None,
        };
        reached.flatten().map_or(e, Error::from)
    }
}

/// What rows take that are told: of texts that are kept elsewhere, their own.
fn told_bytes(rows: &RecordBatch) -> usize {
    let columns = rows
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => {
                let texts = column.as_string_view();
                texts.total_buffer_bytes_used() + VIEW_BYTES * texts.len()
            }
            DataType::BinaryView => {
                let values = column.as_binary_view();
                values.total_buffer_bytes_used() + VIEW_BYTES * values.len()
            }
            _ => {
                let own = column.to_data().get_slice_memory_size();
                own.unwrap_or_else(|_| column.get_array_memory_size())
            }
        });
    columns.sum()
}

/// A limit's value: a count, a size or a duration, but not nothing.
pub(super) fn parsed(limit: Limit, values: &[String]) -> Result<u64> {
    let name = limit.name();
    let [text] = values else {
        return Err(Error::invalid(format!("limit {name} takes one value")));
    };
    let wrong = |what: &str| {
        Error::invalid_with_help(
            format!("limit {name} is {what}, not '{text}'"),
            format!("RESET {name} lifts it"),
        )
    };
    match limit {
        Limit::Sessions | Limit::Statements | Limit::ResultRows => {
            let count = text.parse().ok().filter(|count| *count > 0);
            count.ok_or_else(|| wrong("a whole number of at least 1"))
        }
        Limit::ResultBytes | Limit::StatementMemory => {
            let size = bytes(name, text).ok().filter(|size| *size > 0);
            let size = size.ok_or_else(|| wrong("a size like '64MB'"))?;
            Ok(size as u64)
        }
        Limit::StatementTime | Limit::Age => {
            let time = parse_duration(text);
            // What is read may be of now alone; a statement takes some time.
            let time = time.filter(|time| limit == Limit::Age || !time.is_zero());
            let time = time.ok_or_else(|| wrong("a duration like '30s' or '5min'"))?;
            u64::try_from(time.as_millis()).map_err(|_| wrong("a duration like '30s' or '5min'"))
        }
    }
}

/// What a session of an account begins with. A value that is none any more is left out.
pub(super) fn begun_with(settings: &BTreeMap<String, Vec<String>>) -> Settings {
    let mut begun = Settings::default();
    for (name, values) in settings {
        let mut with = begun.clone();
        match with.set(name, Some(values)) {
            Ok(()) => begun = with,
            Err(e) => tracing::warn!("a user's setting {name} is left out: {e}"),
        }
    }
    begun
}
