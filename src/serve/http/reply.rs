use std::sync::{Arc, LazyLock};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::common::DataFusionError;
use twox_hash::XxHash3_64;

use super::freshness::freshness;
use super::request::{Format, setting_headers};
use super::stream::Encoder;
use crate::engine::Answer;
use crate::error::{Error, Result};
use crate::serve::flight::wire::{pieces, wire_schema};

/// The headers that answers depend on.
static DEPENDS: LazyLock<HeaderValue> = LazyLock::new(|| {
    let mut depends = "accept".to_string();
    for (header, ..) in setting_headers() {
        depends.extend([", ", header.as_str()]);
    }
    HeaderValue::try_from(depends).unwrap_or(HeaderValue::from_static("*"))
});

/// An answer that is whole: what is said of its age, and its rows as one batch, as clients take them.
pub(super) async fn collected(answer: Answer) -> Result<(HeaderMap, RecordBatch)> {
    let mut headers = HeaderMap::new();
    freshness(&answer, &mut headers);
    let schema = wire_schema(&answer.schema);
    let mut plain = Vec::new();
    for batch in answer.collect().await? {
        for piece in pieces(batch, Arc::clone(&schema)) {
            plain.push(piece.map_err(|e| Error::Internal(e.message().to_string()))?);
        }
    }
    let rows = concat_batches(&schema, &plain).map_err(DataFusionError::from)?;
    Ok((headers, rows))
}

/// Rows in a format that has no place for more than rows.
pub(super) fn rows_alone(rows: &RecordBatch, format: Format) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(format, &rows.schema(), &[], &mut out)?;
    encoder.rows(rows, &mut out)?;
    encoder.end(&mut out)?;
    Ok(out)
}

/// A whole body with its `ETag`, or that it is what the client has.
pub(super) fn whole(
    asked: &HeaderMap,
    media_type: &'static str,
    mut headers: HeaderMap,
    body: impl Into<Bytes>,
) -> Response {
    let body = body.into();
    let tag = format!("\"{:016x}{:x}\"", XxHash3_64::oneshot(&body), body.len());
    let is_same = matches(asked, &tag);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(VARY, DEPENDS.clone());
    let mut response = match is_same {
        true => Response::new(Body::empty()),
        false => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            Response::new(Body::from(body))
        }
    };
    if is_same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    *response.headers_mut() = headers;
    response
}

/// Whether the client says that it has this.
fn matches(asked: &HeaderMap, tag: &str) -> bool {
    let given = asked.get_all(IF_NONE_MATCH).iter();
    let mut given = given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    // What is between may have made it a weak one.
    given.any(|other| other == "*" || other.strip_prefix("W/").unwrap_or(other) == tag)
}
