use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;
use serde::Deserialize;
use serde_json::Value;

use super::door::{Asker, Door};
use super::freshness::bounded;
use super::json::Writer;
use super::paging::columns_of_key;
use super::problem::Problem;
use super::reply::{collected, rows_alone, whole};
use super::request::{self, Format, MOST_ROWS, Path, Query};
use super::rows::Found;
use super::shapes::{Of, Shape, has_key};
use super::values::{Reader, fitted};
use crate::engine::Described;
use crate::error::Error;

/// Keys of one statement, where it has to be planned.
const KEYS: usize = 1024;
/// Of several columns each: a condition for each of them.
const COMPOSITE_KEYS: usize = 128;

type Result<T> = std::result::Result<T, Problem>;
type Key = Vec<ScalarValue>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    keys: Vec<Value>,
    #[serde(default)]
    select: Vec<String>,
}

/// `POST /v1/views/{view}`: the rows of keys, in their order.
pub(super) async fn batch(State(door): State<Arc<Door>>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let format = Format::accepted(&parts.headers)?;
    let Path { view, .. } = Path::read(&parts.uri)?;
    let query = Query::read(&parts.uri)?;
    if !query.columns.is_empty() || query.limit.is_some() || query.after.is_some() {
        return Err(Problem::request(
            "what is asked for is in the body, not in the URL",
        ));
    }
    let asked: Batch = request::json(&parts.headers, body).await?;
    if asked.keys.len() > MOST_ROWS {
        return Err(Problem::request(format!(
            "there are {} keys, and may be {MOST_ROWS}",
            asked.keys.len()
        )));
    }
    let asker = door.asker(&parts)?;
    let shape = Shape {
        settings: asker.settings.clone(),
        view,
        select: if asked.select.is_empty() {
            query.select
        } else {
            asked.select
        },
        of: Of::Rows(1),
    };
    let (found, order) = door.find_each(&asker, &shape, &asked.keys).await?;
    let rows = found.asked()?;
    let body = match format {
        Format::Json => {
            let mut out = b"{\"rows\":[\n".to_vec();
            each(&mut out, &rows, &order, b",\n")?;
            out.extend_from_slice(b"\n]}\n");
            out
        }
        Format::Lines => {
            let mut out = Vec::new();
            each(&mut out, &rows, &order, b"\n")?;
            out.push(b'\n');
            out
        }
        Format::Arrow => {
            let order = UInt64Array::from(order);
            let rows = take_record_batch(&rows, &order).map_err(DataFusionError::from);
            rows_alone(&rows.map_err(Error::from)?, format)?
        }
    };
    Ok(whole(
        &parts.headers,
        format.media_type(),
        found.headers,
        body,
    ))
}

/// An object for each key, null for one without a row.
fn each(
    out: &mut Vec<u8>,
    rows: &RecordBatch,
    order: &[Option<u64>],
    between: &[u8],
) -> Result<()> {
    let writer = Writer::new(&rows.schema());
    for (n, row) in order.iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(between);
        }
        match row {
            Some(row) => writer.object(out, rows, *row as usize)?,
            None => out.extend_from_slice(b"null"),
        }
    }
    Ok(())
}

impl Door {
    /// The rows of these keys, and for each key which of them is its own.
    async fn find_each(
        &self,
        asker: &Asker,
        shape: &Shape,
        keys: &[Value],
    ) -> Result<(Found, Vec<Option<u64>>)> {
        let ready = self.shapes.ready(asker, shape).await?;
        has_key(&ready.view)?;
        let reader = Reader::of(&asker.session);
        let keys = keys.iter().enumerate().map(|(n, key)| {
            values(&reader, &ready.view, key).map_err(|problem| {
                let said = format!("keys[{n}]: {}", problem.detail());
                problem.saying(said)
            })
        });
        let keys = keys.collect::<Result<Vec<Key>>>()?;
        // The first place of each: one that is there twice is looked up once.
        let mut places: HashMap<&Key, usize> = HashMap::new();
        let mut distinct = Vec::new();
        for key in &keys {
            if key.iter().any(ScalarValue::is_null) {
                continue;
            }
            places.entry(key).or_insert_with(|| {
                distinct.push(key.clone());
                distinct.len() - 1
            });
        }
        let looked_up = asker.session.look_up_each(&ready.prepared, &distinct);
        let found = match looked_up.await? {
            Some(answer) => {
                let (mut headers, rows) = collected(answer).await?;
                if asker.settings.is_empty() {
                    bounded(ready.view.max_staleness, &mut headers);
                }
                Found {
                    ready: Arc::clone(&ready),
                    headers,
                    rows,
                }
            }
            None => self.find_many(asker, shape, &distinct).await?,
        };
        let mut rows: HashMap<Key, u64> = HashMap::new();
        for row in 0..found.rows.num_rows() {
            let key = found
                .ready
                .key
                .iter()
                .map(|at| ScalarValue::try_from_array(found.rows.column(*at), row));
            let key = key
                .collect::<std::result::Result<Key, _>>()
                .map_err(Error::from)?;
            rows.entry(key).or_insert(row as u64);
        }
        let schema = found.rows.schema();
        let told = |key: &Key| -> Option<u64> {
            let of = found.ready.key.iter().zip(key);
            // In the type that rows are told in.
            let key = of.map(|(at, value)| fitted(value, schema.field(*at).data_type()));
            rows.get(&key.collect::<Option<Key>>()?).copied()
        };
        let order = keys.iter().map(told).collect();
        Ok((found, order))
    }

    /// The rows of keys that have to be asked for, some of them at once.
    async fn find_many(&self, asker: &Asker, shape: &Shape, keys: &[Key]) -> Result<Found> {
        let columns = keys.first().map_or(1, Vec::len);
        let most = if columns == 1 { KEYS } else { COMPOSITE_KEYS };
        let mut all: Option<(Found, Vec<RecordBatch>)> = None;
        let mut chunks: Vec<&[Key]> = keys.chunks(most).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for chunk in chunks {
            // Few different statements, so that they are there already: the last key fills what is left.
            let count = chunk.len().next_power_of_two();
            let shape = Shape {
                of: Of::Rows(count),
                ..shape.clone()
            };
            let found = self
                .find(asker, &shape, |view| {
                    let Some(last) = chunk.last() else {
                        let nothing = view
                            .key
                            .iter()
                            .map(|of| ScalarValue::try_from(&view.columns[*of].data_type));
                        let nothing: std::result::Result<Key, _> = nothing.collect();
                        return Ok(nothing.map_err(Error::from)?);
                    };
                    let filled = chunk.iter().chain(std::iter::repeat(last)).take(count);
                    Ok(filled.flatten().cloned().collect())
                })
                .await?;
            match &mut all {
                Some((_, batches)) => batches.push(found.rows),
                None => {
                    let rows = found.rows.clone();
                    all = Some((found, vec![rows]));
                }
            }
        }
        let Some((mut found, batches)) = all else {
            return Err(Problem::panicked());
        };
        let rows = concat_batches(&found.rows.schema(), &batches).map_err(DataFusionError::from);
        found.rows = rows.map_err(Error::from)?;
        Ok(found)
    }
}

/// A key's values: one, an array of them in the key's order, or an object.
fn values(reader: &Reader, view: &Described, key: &Value) -> Result<Key> {
    let columns = view.key.iter().map(|of| &view.columns[*of]);
    let given: Vec<&Value> = match key {
        Value::Array(parts) => parts.iter().collect(),
        Value::Object(parts) => {
            let unknown = parts
                .keys()
                .find(|name| columns.clone().all(|c| &c.name != *name));
            if let Some(name) = unknown {
                let detail = format!("{name} is no column of the key of {}", view.id);
                return Err(Problem::request(detail));
            }
            let values = columns.clone().filter_map(|column| parts.get(&column.name));
            values.collect()
        }
        one => vec![one],
    };
    if given.len() != view.key.len() {
        let problem = columns_of_key(view, given.len());
        return Err(problem
            .help("Write a key of several columns as an array in their order, or as an object"));
    }
    let pairs = columns.zip(given);
    let values = pairs.map(|(c, value)| reader.json_column(&c.name, &c.data_type, value));
    values.collect()
}
