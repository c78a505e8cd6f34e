use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;

use super::door::{Asker, Door};
use super::freshness::bounded;
use super::json::{Writer, text};
use super::paging::{self, columns_of_key, encoded};
use super::problem::Problem;
use super::reply::{collected, rows_alone, whole};
use super::request::{Format, KeyTexts, Path, Query};
use super::shapes::{Of, Ready, Shape};
use super::values::Reader;
use crate::engine::Described;
use crate::error::Error;

type Result<T> = std::result::Result<T, Problem>;

/// The rows of a shape.
pub(super) struct Found {
    pub ready: Arc<Ready>,
    /// What is said of their age.
    pub headers: HeaderMap,
    pub rows: RecordBatch,
}

impl Found {
    /// The columns that were asked for.
    pub fn asked(&self) -> Result<RecordBatch> {
        let columns: Vec<usize> = (0..self.ready.asked).collect();
        let rows = self.rows.project(&columns).map_err(DataFusionError::from);
        Ok(rows.map_err(Error::from)?)
    }
}

impl Door {
    /// Run a shape with the values that its request has for what is known of the view.
    pub async fn find(
        &self,
        asker: &Asker,
        shape: &Shape,
        values: impl Fn(&Described) -> Result<Vec<ScalarValue>>,
    ) -> Result<Found> {
        let mut is_first = true;
        loop {
            let ready = self.shapes.ready(asker, shape).await?;
            let values = values(&ready.view)?;
            let answered = async {
                let answer = asker.session.execute_prepared(&ready.prepared, &values);
                collected(answer.await?).await
            };
            match answered.await {
                Ok((mut headers, rows)) => {
                    // Who says how it is to be read has it read.
                    if asker.settings.is_empty() {
                        bounded(ready.view.max_staleness, &mut headers);
                    }
                    return Ok(Found {
                        ready,
                        headers,
                        rows,
                    });
                }
                Err(e) if is_first && self.shapes.is_outdated(asker, shape, &ready, &e) => {
                    is_first = false;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// `GET /v1/views/{view}/{key}`
pub(super) async fn one(State(door): State<Arc<Door>>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let format = Format::accepted(&parts.headers)?;
    let Path { view, key } = Path::read(&parts.uri)?;
    let query = Query::read(&parts.uri)?;
    if !query.columns.is_empty() || query.limit.is_some() || query.after.is_some() {
        return Err(Problem::request(
            "with a key there is select, and nothing else to ask for",
        ));
    }
    let asker = door.asker(&parts)?;
    let shape = Shape {
        settings: asker.settings.clone(),
        view,
        select: query.select,
        of: Of::Row,
    };
    let key = key.unwrap_or_default();
    let reader = Reader::of(&asker.session);
    let found = door
        .find(&asker, &shape, |view| key_values(&reader, view, &key))
        .await?;
    match found.rows.num_rows() {
        0 => {
            let detail = format!("{} has no row with this key", found.ready.view.id);
            return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_row", detail));
        }
        1 => {}
        count => {
            let detail = format!("{count} rows of {} have this key", found.ready.view.id);
            let problem = Problem::new(StatusCode::CONFLICT, "key_not_unique", detail);
            return Err(problem.help("Ask for rows by columns: ?column=value"));
        }
    }
    let rows = found.asked()?;
    let body = match format {
        Format::Json => {
            let mut out = Vec::new();
            Writer::new(&rows.schema()).object(&mut out, &rows, 0)?;
            out.push(b'\n');
            out
        }
        format => rows_alone(&rows, format)?,
    };
    Ok(whole(
        &parts.headers,
        format.media_type(),
        found.headers,
        body,
    ))
}

/// Values of the key's columns; NULL equals nothing.
fn key_values(reader: &Reader, view: &Described, texts: &KeyTexts) -> Result<Vec<ScalarValue>> {
    if texts.len() != view.key.len() {
        return Err(columns_of_key(view, texts.len()));
    }
    let pairs = view.key.iter().zip(texts);
    let values = pairs.map(|(of, text)| {
        let column = &view.columns[*of];
        match text {
            Some(text) => reader.column(&column.name, &column.data_type, text),
            None => {
                ScalarValue::try_from(&column.data_type).map_err(|e| Problem::from(Error::from(e)))
            }
        }
    });
    values.collect()
}

/// `GET /v1/views/{view}?column=value&select=…&limit=…&after=…`
pub(super) async fn page(State(door): State<Arc<Door>>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let format = Format::accepted(&parts.headers)?;
    let Path { view, .. } = Path::read(&parts.uri)?;
    let query = Query::read(&parts.uri)?;
    let limit = query.rows();
    let asker = door.asker(&parts)?;
    let after = query.after.as_ref();
    let shape = Shape {
        settings: asker.settings.clone(),
        view,
        select: query.select.clone(),
        of: Of::Page {
            columns: query.columns.iter().map(|(name, _)| name.clone()).collect(),
            limit,
            after: after.map(|key| key.iter().map(Option::is_none).collect()),
        },
    };
    let reader = Reader::of(&asker.session);
    let values = |view: &Described| -> Result<Vec<ScalarValue>> {
        let mut values = Vec::new();
        for (name, text) in &query.columns {
            // The statement would not have been made without it.
            if let Some(column) = view.columns.iter().find(|c| &c.name == name) {
                values.push(reader.column(name, &column.data_type, text)?);
            }
        }
        for (of, text) in view.key.iter().zip(after.into_iter().flatten()) {
            let column = &view.columns[*of];
            if let Some(text) = text {
                values.push(reader.column(&column.name, &column.data_type, text)?);
            }
        }
        Ok(values)
    };
    let mut found = door.find(&asker, &shape, values).await?;
    let more = found.rows.num_rows() > limit;
    found.rows = found.rows.slice(0, limit.min(found.rows.num_rows()));
    let next = match more && !found.ready.key.is_empty() {
        true => {
            let key = paging::key(&found.rows, &found.ready.key, limit - 1)?;
            Some(continued(&parts.uri, &key))
        }
        false => None,
    };
    let rows = found.asked()?;
    let mut headers = std::mem::take(&mut found.headers);
    if let Some(next) = &next
        && let Ok(link) = HeaderValue::try_from(format!("<{next}>; rel=\"next\""))
    {
        headers.insert(LINK, link);
    }
    let body = match format {
        Format::Json => {
            let mut out = b"{\"rows\":[".to_vec();
            objects(&mut out, &rows)?;
            out.extend_from_slice(b"\n],\"next\":");
            match &next {
                Some(next) => text(&mut out, next),
                None => out.extend_from_slice(b"null"),
            }
            if more && next.is_none() {
                let said = format!(
                    "there are more rows than {limit}, and no pages of them: {} has no key that is known",
                    found.ready.view.id
                );
                out.extend_from_slice(b",\"more\":true,\"detail\":");
                text(&mut out, &said);
            }
            out.extend_from_slice(b"}\n");
            out
        }
        format => rows_alone(&rows, format)?,
    };
    Ok(whole(&parts.headers, format.media_type(), headers, body))
}

/// An object for each row.
fn objects(out: &mut Vec<u8>, rows: &RecordBatch) -> Result<()> {
    let writer = Writer::new(&rows.schema());
    for row in 0..rows.num_rows() {
        out.extend_from_slice(if row > 0 { b",\n" } else { b"\n" });
        writer.object(out, rows, row)?;
    }
    Ok(())
}

/// The request's own URL, behind this key.
fn continued(uri: &Uri, key: &str) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    let kept = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let after = format!("after={}", encoded(key));
    let query: Vec<&str> = kept.chain([after.as_str()]).collect();
    format!("{}?{}", uri.path(), query.join("&"))
}
