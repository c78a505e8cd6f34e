//! What a materialized view promises, from the options of its definition.

use std::collections::BTreeMap;
use std::time::Duration;

use belvedere_connector::with_unit;

use super::schedule::Schedule;
use crate::error::{Error, Result};

const REFRESH: &str = "refresh";
const KEY: &str = "key";
const MAX_STALENESS: &str = "max_staleness";
const STALE_IF_ERROR: &str = "stale_if_error";
const KEEP: &str = "keep";
const MAX_DURATION: &str = "max_duration";
const RETAIN: &str = "retain";

/// The options of a materialized view, besides those about people.
pub const OPTIONS: &[&str] = &[
    REFRESH,
    KEY,
    MAX_STALENESS,
    STALE_IF_ERROR,
    KEEP,
    MAX_DURATION,
    RETAIN,
];

/// The options of a virtual view, besides those about people.
pub const BOUNDS: &[&str] = &[MAX_STALENESS, STALE_IF_ERROR];

/// How long changes stay for subscribers who come back, unless the view says otherwise.
const DEFAULT_RETAIN: Duration = Duration::from_secs(600);

/// Versions that `keep` may ask for.
const MOST_VERSIONS: u32 = 10_000;

/// How a view is kept, and how old it may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    pub upkeep: Upkeep,
    /// Columns that tell its rows apart, by name; empty without a key.
    pub key: Vec<String>,
    /// A read of something older fails.
    pub max_staleness: Option<Duration>,
    /// A larger bound, while what it reads fails.
    pub stale_if_error: Option<Duration>,
    /// Versions that stay, the newest among them.
    pub keep: u32,
    /// A refresh that takes longer is given up.
    pub max_duration: Option<Duration>,
    /// A subscriber who comes back within this time goes on where he was.
    pub retain: Duration,
}

/// What brings a view up to date.
#[derive(Clone, Debug, PartialEq)]
pub enum Upkeep {
    /// A change of what it reads, in proportion to it.
    Change,
    /// A time that has come.
    Schedule(Schedule),
    /// A read that finds that what it reads has changed, or that it is older than it may be.
    Read,
    /// `REFRESH MATERIALIZED VIEW`.
    Manual,
}

/// How old what is read by a view may be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// None: nothing is said of it.
    pub max_staleness: Option<Duration>,
    /// A larger bound, while what it reads fails.
    pub stale_if_error: Option<Duration>,
}

impl Bounds {
    /// # Errors
    /// If an option has no such value.
    pub fn new(options: &BTreeMap<String, String>) -> Result<Self> {
        let bound = |name: &str| {
            let text = options.get(name);
            text.map(|text| duration(name, text)).transpose()
        };
        Ok(Self {
            max_staleness: bound(MAX_STALENESS)?,
            stale_if_error: bound(STALE_IF_ERROR)?,
        })
    }

    /// The smaller of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let smaller =
            |one: Option<Duration>, other: Option<Duration>| one.into_iter().chain(other).min();
        Self {
            max_staleness: smaller(self.max_staleness, other.max_staleness),
            stale_if_error: smaller(self.stale_if_error, other.stale_if_error),
        }
    }
}

impl Contract {
    /// # Errors
    /// If an option has no such value, or some do not go together. Names are not looked at: [`OPTIONS`] has them.
    pub fn new(options: &BTreeMap<String, String>) -> Result<Self> {
        let get = |name: &str| options.get(name).map(String::as_str);
        let upkeep = Upkeep::parse(get(REFRESH).unwrap_or("manual"))?;
        let bound = |name| get(name).map(|text| duration(name, text)).transpose();
        let retain = bound(RETAIN)?;
        let bounds = Bounds::new(options)?;
        let contract = Self {
            key: get(KEY).map(columns).unwrap_or_default(),
            max_staleness: bounds.max_staleness,
            stale_if_error: bounds.stale_if_error,
            keep: get(KEEP).map_or(Ok(1), versions)?,
            max_duration: bound(MAX_DURATION)?.filter(|limit| !limit.is_zero()),
            retain: retain.unwrap_or(DEFAULT_RETAIN),
            upkeep,
        };
        match contract.upkeep {
            Upkeep::Change if contract.keep > 1 => Err(Error::invalid_with_help(
                "a view with refresh = 'on change' has no versions: each change would be one",
                "Leave keep out, or refresh the view on a schedule",
            )),
            Upkeep::Schedule(_) | Upkeep::Read | Upkeep::Manual if retain.is_some() => {
                Err(Error::invalid_with_help(
                    "only a view with refresh = 'on change' has changes to retain: others have versions",
                    "Leave retain out; keep says how many versions a subscriber may go on from",
                ))
            }
            _ => Ok(contract),
        }
    }
}

impl Contract {
    pub fn bounds(&self) -> Bounds {
        Bounds {
            max_staleness: self.max_staleness,
            stale_if_error: self.stale_if_error,
        }
    }

    /// The same where what is read is no older than this, either.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> Self {
        let both = self.bounds().and(bounds);
        Self {
            max_staleness: both.max_staleness,
            stale_if_error: both.stale_if_error,
            ..self
        }
    }
}

impl Upkeep {
    /// `on change`, `on read`, `manual`, `every 1 hour`, `every 1 day at 02:00 Europe/Berlin`,
    /// `cron 0 2 * * 1-5 Europe/Berlin`.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let lower: Vec<String> = words.iter().map(|w| w.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        match lower.as_slice() {
            ["on", "change"] => Ok(Self::Change),
            ["on", "read"] => Ok(Self::Read),
            ["manual"] => Ok(Self::Manual),
            ["every", ..] => Schedule::every(&words[1..]).map(Self::Schedule),
            ["cron", ..] => Schedule::cron(&words[1..]).map(Self::Schedule),
            _ => Err(Error::invalid_with_help(
                format!("a view is not refreshed '{text}'"),
                "Write refresh = 'on change', 'on read', 'manual', 'every 1 hour', 'every 1 day at 02:00 Europe/Berlin' \
                 or 'cron 0 2 * * 1-5 Europe/Berlin'",
            )),
        }
    }
}

/// `'sku, site'`; quoted where a name has a comma or upper case.
fn columns(text: &str) -> Vec<String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let name = |part: &str| match part.strip_prefix('"').and_then(|p| p.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => part.to_lowercase(),
    };
    parts.map(name).collect()
}

fn versions(text: &str) -> Result<u32> {
    let number = text.parse().ok();
    let number = number.filter(|number| (1..=MOST_VERSIONS).contains(number));
    number.ok_or_else(|| {
        Error::invalid(format!(
            "option {KEEP} is a number of versions from 1 to {MOST_VERSIONS}, not '{text}'"
        ))
    })
}

fn duration(option: &str, text: &str) -> Result<Duration> {
    parse_duration(text).ok_or_else(|| {
        Error::invalid(format!(
            "option {option} is a duration like '500ms', '30s', '5min' or '1 hour', not '{text}'"
        ))
    })
}

/// A number and a unit, as people write it.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&str, u64)] = &[
        ("ms", 1),
        ("s", 1_000),
        ("second", 1_000),
        ("seconds", 1_000),
        ("min", 60_000),
        ("m", 60_000),
        ("minute", 60_000),
        ("minutes", 60_000),
        ("h", 3_600_000),
        ("hour", 3_600_000),
        ("hours", 3_600_000),
        ("d", 86_400_000),
        ("day", 86_400_000),
        ("days", 86_400_000),
        ("week", 604_800_000),
        ("weeks", 604_800_000),
    ];
    with_unit(text, UNITS).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(options: &[(&str, &str)]) -> Result<Contract> {
        let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        Contract::new(&options.collect())
    }

    #[test]
    fn options_are_read() {
        let plain = contract(&[]).expect("no option is needed");
        assert_eq!((plain.upkeep, plain.keep), (Upkeep::Manual, 1));
        let full = contract(&[
            ("refresh", "ON change"),
            ("key", "sku, \"Site\""),
            ("max_staleness", "1s"),
            ("max_duration", "2 hours"),
            ("retain", "1 hour"),
        ]);
        let full = full.expect("they are what the documentation has");
        assert_eq!(full.upkeep, Upkeep::Change);
        assert_eq!(full.key, ["sku", "Site"]);
        assert_eq!(full.max_staleness, Some(Duration::from_secs(1)));
        assert_eq!(full.max_duration, Some(Duration::from_secs(7200)));
        assert_eq!(full.retain, Duration::from_secs(3600));
        assert_eq!(plain.retain, Duration::from_secs(600));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for options in [
            &[("refresh", "sometimes")][..],
            &[("refresh", "on change"), ("keep", "3")],
            &[("keep", "0")],
            &[("max_staleness", "soon")],
            &[("refresh", "on change"), ("retain", "long")],
            &[("retain", "5min")],
            &[("refresh", "every 0 hours")],
            &[("refresh", "every 1 day at 25:00")],
            &[("refresh", "cron 0 2 * *")],
            &[("refresh", "cron 0 2 * * * Europe/Atlantis")],
        ] {
            assert!(contract(options).is_err(), "{options:?}");
        }
    }
}
