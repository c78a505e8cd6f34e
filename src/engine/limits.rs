//! The options that sources of every kind take: how much they are asked, and how patiently; how their changes are found.

use std::collections::BTreeMap;
use std::time::Duration;

use belvedere_connector::Limits;

use super::settings::{bytes, parse_duration};
use crate::error::{Error, Result};

const MAX_CONCURRENT_FRAGMENTS: &str = "max_concurrent_fragments";
const STATEMENT_TIMEOUT: &str = "statement_timeout";
const QUEUE_TIMEOUT: &str = "queue_timeout";
const MEMORY_LIMIT: &str = "memory_limit";
const RETRIES: &str = "retries";
const BREAKER_FAILURES: &str = "breaker_failures";
const BREAKER_COOLDOWN: &str = "breaker_cooldown";
/// `'poll'`: tables are looked at again and again. Other values are the connector's.
const CHANGES: &str = "changes";
const POLL: &str = "poll";
const POLL_INTERVAL: &str = "poll_interval";
/// What a source may have to keep of its log, before it is let go.
const MAX_LAG: &str = "max_lag";
const LEAST_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Their names.
pub(super) const OPTIONS: &[&str] = &[
    MAX_CONCURRENT_FRAGMENTS,
    STATEMENT_TIMEOUT,
    QUEUE_TIMEOUT,
    MEMORY_LIMIT,
    RETRIES,
    BREAKER_FAILURES,
    BREAKER_COOLDOWN,
    POLL_INTERVAL,
    MAX_LAG,
];

/// Whether an option is of every source, and not its connector's.
pub(super) fn is_common(name: &str, value: &str) -> bool {
    OPTIONS.contains(&name) || (name == CHANGES && value == POLL)
}

/// Whether a source's tables are to be looked at again and again.
pub(super) fn is_polled(options: &BTreeMap<String, String>) -> bool {
    options.get(CHANGES).is_some_and(|how| how == POLL)
}

fn poll_interval(text: &str) -> Result<Duration> {
    let interval = parse_duration(text).filter(|interval| *interval >= LEAST_POLL_INTERVAL);
    interval.ok_or_else(|| {
        Error::invalid(format!(
            "option {POLL_INTERVAL} is a duration of at least 50ms, like '1s' or '5min', not '{text}'"
        ))
    })
}

/// The limits that a source's options set; others are as by default.
pub(super) fn limits(options: &BTreeMap<String, String>) -> Result<Limits> {
    let default = Limits::default();
    let duration = |name| -> Result<Option<Duration>> {
        let Some(text) = options.get(name) else {
            return Ok(None);
        };
        match parse_duration(text) {
            Some(duration) => Ok(Some(duration)),
            None => Err(Error::invalid(format!(
                "option {name} is a duration like '500ms', '30s' or '5min', not '{text}'"
            ))),
        }
    };
    // Zero is no limit, as it is for a session.
    let limit = |name| Ok::<_, Error>(duration(name)?.filter(|limit| !limit.is_zero()));
    let number = |name, least: u32| -> Result<Option<u32>> {
        let Some(text) = options.get(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(Error::invalid(format!(
                "option {name} takes a whole number of at least {least}, not '{text}'"
            ))),
        }
    };
    Ok(Limits {
        max_concurrent_fragments: number(MAX_CONCURRENT_FRAGMENTS, 1)?.map(|most| most as usize),
        statement_timeout: limit(STATEMENT_TIMEOUT)?,
        queue_timeout: limit(QUEUE_TIMEOUT)?,
        memory_limit: match options.get(MEMORY_LIMIT) {
            Some(text) => Some(bytes(MEMORY_LIMIT, text)?).filter(|limit| *limit > 0),
            None => None,
        },
        retries: number(RETRIES, 0)?.unwrap_or(default.retries),
        breaker_failures: number(BREAKER_FAILURES, 0)?.unwrap_or(default.breaker_failures),
        breaker_cooldown: duration(BREAKER_COOLDOWN)?.unwrap_or(default.breaker_cooldown),
        poll_interval: match options.get(POLL_INTERVAL) {
            Some(text) => poll_interval(text)?,
            None => default.poll_interval,
        },
        max_lag: match options.get(MAX_LAG) {
            Some(text) => Some(bytes(MAX_LAG, text)? as u64).filter(|most| *most > 0),
            None => None,
        },
    })
}
