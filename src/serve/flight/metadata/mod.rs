//! What the metadata commands answer, read from the engine's own tables (`system.*`, `information_schema.*`).
//!
//! | file | owns |
//! |---|---|
//! | `objects.rs` | catalogs, schemas, tables with their schema, table types |
//! | `keys.rs` | primary, imported and exported keys |
//! | `sql_info.rs` | what this server and its SQL can |
//! | `types.rs` | the SQL types |

pub(super) mod keys;
pub(super) mod objects;
pub(super) mod sql_info;
pub(super) mod types;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use tonic::Status;

use super::status::{OrStatus, encoding};
use crate::engine::Session;

/// A row of text, one value per column asked for.
type Row<const N: usize> = [Option<String>; N];

/// The rows of a small query, as text.
async fn rows<const N: usize>(session: &Session, sql: &str) -> Result<Vec<Row<N>>, Status> {
    let batches = session
        .execute(sql)
        .await
        .or_status()?
        .collect()
        .await
        .or_status()?;
    let mut rows = Vec::new();
    for batch in batches {
        let mut columns = Vec::with_capacity(N);
        for column in batch.columns() {
            columns.push(cast(column, &DataType::Utf8).map_err(encoding)?);
        }
        let value = |column: usize, row: usize| {
            let texts = columns.get(column)?.as_string::<i32>();
            texts.is_valid(row).then(|| texts.value(row).to_string())
        };
        rows.extend((0..batch.num_rows()).map(|row| std::array::from_fn(|c| value(c, row))));
    }
    Ok(rows)
}
