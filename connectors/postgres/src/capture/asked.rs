//! Values that the server is asked to write, as it does in a copy: sent back to it, as they came.

use std::error::Error as StdError;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::datatypes::{Field, Schema};
use belvedere_connector::{Error, Result};
use bytes::BytesMut;
use futures::{StreamExt, pin_mut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::layout::Reading;
use super::message::Value;
use super::rows::{Column, Rows};
use crate::decode::BatchBuilder;
use crate::failure::failure;
use crate::pool::{Lease, Pool};

/// Values of one statement.
const MOST: usize = 512;

/// # Errors
/// If a value does not fit; the server's, and the connection's.
pub async fn read(pool: &Arc<Pool>, mut rows: Rows) -> Result<Rows> {
    if rows.is_read() {
        return Ok(rows);
    }
    let mut lease = pool.acquire_alive().await?;
    lease.busy();
    let layout = rows.layout.clone();
    for (i, column) in rows.columns.iter_mut().enumerate() {
        let Column::Sent(values) = column else {
            continue;
        };
        let Reading::Asked {
            expression,
            type_name,
        } = &layout.columns[i].reading
        else {
            return Err(Error::internal("a value that the server is not to write"));
        };
        let field = layout.schema.field(i).clone().with_nullable(true);
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for values in values.chunks(MOST) {
            let of = (expression.as_str(), type_name.as_str());
            arrays.push(written(&lease, of, &field, &layout.table, values).await?);
        }
        let arrays: Vec<&dyn arrow::array::Array> = arrays.iter().map(AsRef::as_ref).collect();
        *column = Column::Read(match arrays.is_empty() {
            true => arrow::array::new_empty_array(field.data_type()),
            false => concat(&arrays).map_err(|e| Error::internal(e.to_string()))?,
        });
    }
    lease.settled();
    Ok(rows)
}

async fn written(
    lease: &Lease,
    (expression, type_name): (&str, &str),
    field: &Field,
    table: &str,
    values: &[Value],
) -> Result<ArrayRef> {
    let failed = |e| {
        failure(lease.settings(), None, e)
            .at_table(table)
            .at_column(field.name())
    };
    let client = lease.client()?;
    let list = (1..=values.len()).map(|i| format!("({i}, ${i}::{type_name})"));
    let list = list.collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {expression} FROM (VALUES {list}) u (n, v) ORDER BY u.n");
    let statement = client.prepare(&sql).await.map_err(failed)?;
    let sent: Vec<Type> = statement
        .columns()
        .iter()
        .map(|c| c.type_().clone())
        .collect();
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let mut builder = BatchBuilder::new(schema, &sent, values.len(), Some(table.to_string()))?;
    let rows = client.query_raw(&statement, values.iter().map(Sent)).await;
    let rows = rows.map_err(failed)?;
    pin_mut!(rows);
    while let Some(row) = rows.next().await {
        builder.push_row(&row.map_err(failed)?)?;
    }
    let batch = builder.finish()?;
    match batch.num_rows() == values.len() {
        true => Ok(batch.column(0).clone()),
        false => Err(Error::internal("not as many values as were sent")),
    }
}

/// A value as it came.
#[derive(Debug)]
struct Sent<'a>(&'a Value);

impl ToSql for Sent<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Value::Null | Value::Unchanged => Ok(IsNull::Yes),
            Value::Binary(bytes) | Value::Text(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self.0 {
            Value::Text(_) => Format::Text,
            _ => Format::Binary,
        }
    }

    to_sql_checked!();
}
