use std::time::Duration;

use belvedere_connector::with_unit;
use datafusion::arrow::array::timezone::Tz;

use super::parameters::Parameters;
use crate::catalog::{Limit, PUBLIC};
use crate::error::{Error, Result};
use crate::freshness::Token;
use crate::views::{self, Bounds};

/// The settings of a session; a call may override them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether more than scans is sent to sources. Off is the oracle of pushdown.
    pub pushdown: bool,
    /// Whether what a running query learns of the rows it needs is sent to sources, too. Only with pushdown.
    pub dynamic_filters: bool,
    /// How many rows of the side that orders a top-n above a join are read first. None: as many as seem enough.
    pub top_n_first_rows: Option<usize>,
    /// How old a materialized view may be when it is asked for, besides what it says itself. None: no bound.
    pub max_staleness: Option<Duration>,
    /// A larger bound, while what a view reads fails. None: what it says itself.
    pub stale_if_error: Option<Duration>,
    pub consistency: Consistency,
    /// Writes that each answer has to have.
    pub read_after: Vec<Token>,
    /// Whether each answer is told how old it is, as a notice.
    pub freshness_notice: bool,
    /// How old anything may be that is read, whatever is said of it: a limit of the session's user. No statement sets it.
    pub(crate) max_age: Option<Duration>,
    /// None: no limit.
    pub statement_timeout: Option<Duration>,
    /// Bytes one statement may hold; None: only the engine's own limit.
    pub memory_limit: Option<usize>,
    /// Own schemas or sources in which unqualified names are looked up, in order.
    pub search_path: Vec<String>,
    /// The zone of `now()` and of timestamps without one that are cast to one with.
    pub timezone: String,
    /// PostgreSQL's, which its clients set.
    pub(crate) parameters: Parameters,
    /// Whether `information_schema` has sources as schemas of one database, as clients of PostgreSQL know them: of whoever
    /// connects by its protocol. No statement sets it.
    pub one_database: bool,
}

/// Whether an answer may show a source as of two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// It may: it says so.
    Relaxed,
    /// It is an error.
    Strict,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pushdown: true,
            dynamic_filters: true,
            top_n_first_rows: None,
            max_staleness: None,
            stale_if_error: None,
            max_age: None,
            consistency: Consistency::Relaxed,
            read_after: Vec::new(),
            freshness_notice: false,
            statement_timeout: None,
            memory_limit: None,
            search_path: vec![PUBLIC.to_string()],
            timezone: "UTC".to_string(),
            parameters: Parameters::default(),
            one_database: false,
        }
    }
}

/// Name and help of each setting, as `SHOW ALL` lists them.
const KNOWN: &[(&str, &str)] = &[
    (
        "consistency",
        "relaxed | strict: whether an answer that shows a source as of two moments is an error",
    ),
    (
        "dynamic_filters",
        "on | off: whether the keys of a join's one side are sent to the source of the other",
    ),
    (
        "freshness_notice",
        "on | off: whether each answer is told how old it is, as a notice",
    ),
    (
        "max_staleness",
        "how old materialized views may be, e.g. '5s'; '0s' for what there is now, 'none' for what they say themselves",
    ),
    (
        "memory_limit",
        "bytes one statement may hold, e.g. '512MB'; '0' for the engine's own limit",
    ),
    (
        "pushdown",
        "on | off: whether more than scans is sent to sources",
    ),
    (
        "read_after",
        "what writes answered with, all of which answers have seen, e.g. 'erp=0a1b/00c4', with commas; '' for none",
    ),
    (
        "search_path",
        "schemas or sources in which unqualified names are looked up, e.g. erp, public",
    ),
    (
        "stale_if_error",
        "how old materialized views may be while what they read fails, e.g. '1 hour'; 'none' for what they say themselves",
    ),
    (
        "statement_timeout",
        "how long a statement may take, e.g. '30s' or milliseconds; '0' for no limit",
    ),
    (
        "timezone",
        "the time zone of now() and of casts to timestamp with time zone",
    ),
    (
        "top_n_first_rows",
        "auto | rows of the side that orders a top-n above a join, read before all are; 0 for none",
    ),
];

/// Name and help of each setting of the engine's own.
#[cfg(feature = "serve")]
pub(crate) fn setting_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.iter().copied()
}

/// A bound that there is not.
const NONE: &str = "none";
const RELAXED: &str = "relaxed";
const STRICT: &str = "strict";

/// Settings of the design that this version does not have yet.
const LATER: &[&str] = &["push_float_sums"];

impl Settings {
    /// Name, value and help of each, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, String, &'static str)> + '_ {
        KNOWN
            .iter()
            .map(|(name, help)| (*name, self.text(name).unwrap_or_default(), *help))
    }

    pub fn get(&self, name: &str) -> Result<String> {
        self.text(name).ok_or_else(|| unknown(name))
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(match name {
            "pushdown" => on_off(self.pushdown),
            "dynamic_filters" => on_off(self.dynamic_filters),
            "max_staleness" => bound_text(self.max_staleness),
            "stale_if_error" => bound_text(self.stale_if_error),
            "consistency" => match self.consistency {
                Consistency::Relaxed => RELAXED.to_string(),
                Consistency::Strict => STRICT.to_string(),
            },
            "read_after" => Token::all(&self.read_after),
            "freshness_notice" => on_off(self.freshness_notice),
            "statement_timeout" => match self.statement_timeout {
                Some(limit) => format!("{}ms", limit.as_millis()),
                None => "0".to_string(),
            },
            "memory_limit" => self.memory_limit.unwrap_or(0).to_string(),
            "search_path" => belvedere_sql::Name::new(self.search_path.iter())
                .0
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            "timezone" => self.timezone.clone(),
            "top_n_first_rows" => match self.top_n_first_rows {
                Some(rows) => rows.to_string(),
                None => "auto".to_string(),
            },
            _ => return self.parameters.get(name),
        })
    }

    /// Of timestamps with a time zone, as they are shown.
    #[cfg(feature = "serve")]
    pub(crate) fn zone(&self) -> Result<Tz> {
        self.timezone.parse().map_err(|_| no_zone(&self.timezone))
    }

    /// Set one, from its text; `None` is its default. Lists have a value each.
    pub fn set(&mut self, name: &str, values: Option<&[String]>) -> Result<()> {
        let default = Self::default();
        let one = |values: &[String]| match values {
            [value] => Ok(value.clone()),
            _ => Err(Error::invalid(format!("setting {name} takes one value"))),
        };
        match (name, values) {
            ("pushdown", None) => self.pushdown = default.pushdown,
            ("pushdown", Some(values)) => self.pushdown = boolean(name, &one(values)?)?,
            ("dynamic_filters", None) => self.dynamic_filters = default.dynamic_filters,
            ("dynamic_filters", Some(values)) => {
                self.dynamic_filters = boolean(name, &one(values)?)?;
            }
            ("max_staleness", None) => self.max_staleness = default.max_staleness,
            ("max_staleness", Some(values)) => self.max_staleness = bound(name, &one(values)?)?,
            ("stale_if_error", None) => self.stale_if_error = default.stale_if_error,
            ("stale_if_error", Some(values)) => self.stale_if_error = bound(name, &one(values)?)?,
            ("consistency", None) => self.consistency = default.consistency,
            ("consistency", Some(values)) => {
                self.consistency = match one(values)?.to_ascii_lowercase().as_str() {
                    RELAXED => Consistency::Relaxed,
                    STRICT => Consistency::Strict,
                    other => {
                        return Err(Error::invalid(format!(
                            "setting {name} is {RELAXED} or {STRICT}, not '{other}'"
                        )));
                    }
                };
            }
            ("read_after", None) => self.read_after = default.read_after,
            ("read_after", Some(values)) => {
                self.read_after = Token::parse_all(&values.join(","))?;
            }
            ("freshness_notice", None) => self.freshness_notice = default.freshness_notice,
            ("freshness_notice", Some(values)) => {
                self.freshness_notice = boolean(name, &one(values)?)?;
            }
            ("statement_timeout", None) => self.statement_timeout = default.statement_timeout,
            ("statement_timeout", Some(values)) => {
                let limit = duration(name, &one(values)?)?;
                self.statement_timeout = Some(limit).filter(|limit| !limit.is_zero());
            }
            ("memory_limit", None) => self.memory_limit = default.memory_limit,
            ("memory_limit", Some(values)) => {
                self.memory_limit = Some(bytes(name, &one(values)?)?).filter(|limit| *limit > 0);
            }
            ("search_path", None) => self.search_path = default.search_path,
            ("search_path", Some(values)) => {
                // A single string may hold the whole list, as clients send it.
                let split = |value: &String| {
                    let parts = value.split(',').map(|part| part.trim().trim_matches('"'));
                    parts
                        .filter(|p| !p.is_empty())
                        .map(str::to_string)
                        .collect::<Vec<_>>()
                };
                self.search_path = values.iter().flat_map(split).collect();
            }
            ("timezone", None) => self.timezone = default.timezone,
            ("timezone", Some(values)) => {
                let zone = one(values)?;
                zone.parse::<Tz>().map_err(|_| no_zone(&zone))?;
                self.timezone = zone;
            }
            ("top_n_first_rows", None) => self.top_n_first_rows = default.top_n_first_rows,
            ("top_n_first_rows", Some(values)) => {
                let value = one(values)?;
                self.top_n_first_rows = match value.to_ascii_lowercase().as_str() {
                    "auto" => None,
                    rows => Some(rows.parse().map_err(|_| {
                        Error::invalid(format!(
                            "setting {name} is auto or a number of rows, not '{value}'"
                        ))
                    })?),
                };
            }
            (_, values) => {
                let value = values.map(|values| values.join(", "));
                if !self.parameters.set(name, value.as_deref())? {
                    return Err(unknown(name));
                }
            }
        }
        Ok(())
    }

    /// How old what is read may be that says so of itself: what a call says goes before what the session says, and that before the
    /// view's own. No more than the user's limit.
    pub(super) fn stated(&self, own: Bounds) -> Bounds {
        let within = |bound: Duration| self.max_age.map_or(bound, |age| bound.min(age));
        let (staleness, on_error) = (self.max_staleness, self.stale_if_error);
        Bounds {
            max_staleness: staleness.or(own.max_staleness).map(within),
            stale_if_error: on_error.or(own.stale_if_error).map(within),
        }
    }

    /// These settings with some set for one call.
    pub(super) fn with(&self, overrides: &[(String, String)]) -> Result<Self> {
        let mut settings = self.clone();
        for (name, value) in overrides {
            settings.set(name, Some(std::slice::from_ref(value)))?;
        }
        Ok(settings)
    }
}

fn no_zone(zone: &str) -> Error {
    Error::invalid_with_help(
        format!("there is no time zone '{zone}'"),
        "Write a name like 'Europe/Berlin' or an offset like '+02:00'",
    )
}

fn unknown(name: &str) -> Error {
    if LATER.contains(&name) {
        return Error::NotInThisVersion {
            what: format!("setting {name}"),
        };
    }
    if Limit::named(name).is_some() {
        return Error::Unknown {
            what: "setting",
            name: name.to_string(),
            hint: Some(format!(
                "It is a limit of users and roles: ALTER ROLE … SET {name} = …"
            )),
        };
    }
    let known = KNOWN.iter().map(|(known, _)| *known);
    Error::Unknown {
        what: "setting",
        name: name.to_string(),
        hint: Some(match super::nearest(name, known) {
            Some(near) => format!("Did you mean {near}?"),
            None => "SHOW ALL lists them".to_string(),
        }),
    }
}

fn on_off(is_on: bool) -> String {
    if is_on { "on" } else { "off" }.to_string()
}

/// A bound on the age of what is read.
fn bound(name: &str, text: &str) -> Result<Option<Duration>> {
    match text.eq_ignore_ascii_case(NONE) {
        true => Ok(None),
        false => duration(name, text).map(Some),
    }
}

fn bound_text(bound: Option<Duration>) -> String {
    match bound {
        Some(bound) => format!("{}ms", bound.as_millis()),
        None => NONE.to_string(),
    }
}

fn boolean(name: &str, text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(Error::invalid(format!(
            "setting {name} is on or off, not '{text}'"
        ))),
    }
}

fn duration(name: &str, text: &str) -> Result<Duration> {
    parse_duration(text).ok_or_else(|| {
        Error::invalid(format!(
            "setting {name} is a duration like '500ms', '30s' or '5min', not '{text}'"
        ))
    })
}

/// `500ms`, `30s`, `5min`, `1 hour`; a number alone is milliseconds.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let milliseconds = with_unit(text, &[("", 1)]).map(Duration::from_millis);
    milliseconds.or_else(|| views::parse_duration(text))
}

/// `512MB`, `2GB`; a number alone is bytes.
pub(crate) fn bytes(name: &str, text: &str) -> Result<usize> {
    let units = [
        ("", 1),
        ("B", 1),
        ("kB", 1 << 10),
        ("MB", 1 << 20),
        ("GB", 1 << 30),
    ];
    with_unit(text, &units)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| {
            Error::invalid(format!(
                "{name} is a size like '512MB' or '2GB', not '{text}'"
            ))
        })
}
