//! The options that sources of every kind take: how much they are asked, and how patiently.

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

/// Their names.
pub(super) const OPTIONS: &[&str] = &[
    MAX_CONCURRENT_FRAGMENTS,
    STATEMENT_TIMEOUT,
    QUEUE_TIMEOUT,
    MEMORY_LIMIT,
    RETRIES,
    BREAKER_FAILURES,
    BREAKER_COOLDOWN,
];

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
    })
}
