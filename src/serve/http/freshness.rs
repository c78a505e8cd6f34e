use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue};

use crate::engine::Answer;

/// What is told of how old an answer is. Whoever keeps it asks again each time, with its `ETag`.
pub(super) fn freshness(_answer: &Answer, headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
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
