use std::io::Cursor;
use std::sync::Arc;

use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::kind::Kind;
use crate::settings::Settings;

/// Bytes of text looked at, unless a single row is longer.
const HEAD_BYTES: usize = 4 << 20;
/// A row longer than this is not waited for.
const LONGEST_ROW_BYTES: usize = 256 << 20;

/// The columns of a CSV or JSON file, inferred from its first rows. CSV columns are in the file's order and have
/// unique names.
pub async fn columns(
    settings: &Settings,
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    kind: Kind,
) -> Result<SchemaRef, DataFusionError> {
    let text = head(settings, store, path, kind).await?;
    let rows = Some(settings.infer_rows);
    let schema = match kind.is_csv() {
        true => {
            let csv = &settings.csv;
            let mut format = Format::default()
                .with_header(csv.header)
                .with_delimiter(kind.delimiter(csv))
                .with_quote(csv.quote);
            if let Some(escape) = csv.escape {
                format = format.with_escape(escape);
            }
            if let Some(comment) = csv.comment {
                format = format.with_comment(comment);
            }
            let (schema, _) = format.infer_schema(Cursor::new(&text), rows)?;
            unique_names(&schema)
        }
        false => {
            if text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
                return Err(ArrowError::JsonError("an array".into()).into());
            }
            let (schema, _) = arrow::json::reader::infer_json_schema(Cursor::new(&text), rows)?;
            schema
        }
    };
    Ok(Arc::new(schema))
}

/// The beginning of a text file, unpacked, up to the end of a row.
async fn head(
    settings: &Settings,
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    kind: Kind,
) -> Result<Vec<u8>, DataFusionError> {
    let packed = store
        .get(path)
        .await?
        .into_stream()
        .map_err(DataFusionError::from)
        .boxed();
    let mut chunks = kind.packing().decoder().convert_stream(packed)?;
    let mut text = Vec::new();
    let mut enough = HEAD_BYTES;
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk?);
        if text.len() >= enough {
            // Looked at again only when doubled: a long row costs no more than its length.
            enough = 2 * text.len();
            if let Some(end) = end_of_rows(&text, kind, settings.csv.quote) {
                text.truncate(end);
                return Ok(text);
            }
            if text.len() >= LONGEST_ROW_BYTES {
                return Err(ArrowError::CsvError("a row without end".into()).into());
            }
        }
    }
    Ok(text)
}

/// Just behind the last line break that is not inside quotes.
fn end_of_rows(text: &[u8], kind: Kind, quote: u8) -> Option<usize> {
    let mut quoted = false;
    let mut end = None;
    for (i, byte) in text.iter().enumerate() {
        if *byte == quote && kind.is_csv() {
            quoted = !quoted;
        } else if *byte == b'\n' && !quoted {
            end = Some(i + 1);
        }
    }
    end
}

/// Names as the header gives them; one that is empty or taken gets its position.
fn unique_names(schema: &Schema) -> Schema {
    let mut fields: Vec<Field> = Vec::new();
    for (i, field) in schema.fields().iter().enumerate() {
        // Spreadsheets begin their files with a byte order mark, which hides the quotes of the first name.
        let mut name = match field.name().strip_prefix('\u{feff}') {
            Some(name) => name.trim_matches('"').to_string(),
            None => field.name().clone(),
        };
        if name.is_empty() {
            name = format!("column_{}", i + 1);
        }
        while fields.iter().any(|f| *f.name() == name) {
            name = format!("{name}_{}", i + 1);
        }
        let data_type = match field.data_type() {
            // Rows after those looked at may have more digits; microseconds reach all years.
            DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            other => other.clone(),
        };
        fields.push(Field::new(name, data_type, true));
    }
    Schema::new(fields)
}
