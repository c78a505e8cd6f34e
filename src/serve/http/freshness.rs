use std::time::Duration;

use axum::http::header::{AGE, CACHE_CONTROL, HeaderName};
use axum::http::{HeaderMap, HeaderValue};

use crate::engine::Answer;

/// How old the oldest part of an answer is, in milliseconds: `Age` has whole seconds.
const AGE_MS: HeaderName = HeaderName::from_static("belvedere-age-ms");
/// What it was made of.
const READ_FROM: HeaderName = HeaderName::from_static("belvedere-read-from");
/// That it is older than it may be, since a source fails.
const STALE: HeaderName = HeaderName::from_static("belvedere-stale");

/// What a write answered with, for the header belvedere-read-after of what is to be read after it.
const LAST_WRITE: HeaderName = HeaderName::from_static("belvedere-last-write");

/// What is told of how old an answer is. Whoever keeps it asks again each time, with its `ETag`.
pub(super) fn freshness(answer: &Answer, headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(wrote) = &answer.wrote
        && let Ok(token) = HeaderValue::try_from(wrote.token.to_string())
    {
        headers.insert(LAST_WRITE, token);
    }
    let freshness = &answer.freshness;
    if freshness.parts.is_empty() {
        return;
    }
    if let Some(age) = freshness.age() {
        headers.insert(AGE, age.as_secs().into());
        let ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        headers.insert(AGE_MS, ms.into());
    }
    // A name may have what no header can.
    if let Ok(read_from) = HeaderValue::try_from(freshness.to_string()) {
        headers.insert(READ_FROM, read_from);
    }
    if freshness.is_stale() {
        headers.insert(STALE, HeaderValue::from_static("true"));
    }
}

/// The same of a view that says how old it may be: so long is what was answered as good as what would be.
pub(super) fn bounded(max_staleness: Option<Duration>, headers: &mut HeaderMap) {
    let Some(seconds) = max_staleness.map(|bound| bound.as_secs()) else {
        return;
    };
    if seconds == 0 {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(format!("max-age={seconds}")) {
        headers.insert(CACHE_CONTROL, value);
    }
}
