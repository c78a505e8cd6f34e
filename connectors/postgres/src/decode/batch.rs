use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use belvedere_connector::{Code, Error, Result};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::column::ColumnDecoder;
use super::{Unfit, malformed};

/// A batch is cut at this size, however few its rows are, so that memory stays bounded.
const BATCH_BYTES: usize = 8 << 20;

/// Rows as they arrive, in Arrow builders.
#[derive(Debug)]
pub struct BatchBuilder {
    schema: SchemaRef,
    columns: Vec<ColumnDecoder>,
    rows: usize,
    bytes: usize,
    batch_rows: usize,
    /// For messages: the table, where it is one.
    table: Option<String>,
}

impl BatchBuilder {
    /// For an answer of these types, sent as `sent`.
    pub fn new(
        schema: SchemaRef,
        sent: &[Type],
        batch_rows: usize,
        table: Option<String>,
    ) -> Result<Self> {
        let changed = |message: String| {
            let error = Error::new(Code::SchemaChanged, message)
                .help("Run REFRESH SOURCE, or the query again");
            match &table {
                Some(table) => error.at_table(table),
                None => error,
            }
        };
        // For a table's rows without their columns, the source is asked for a constant.
        let sent = match schema.fields().is_empty() {
            true => &[],
            false => sent,
        };
        if sent.len() != schema.fields().len() {
            return Err(changed(format!(
                "the source answers with {} columns where {} were expected",
                sent.len(),
                schema.fields().len()
            )));
        }
        let columns = schema
            .fields()
            .iter()
            .zip(sent)
            .map(|(field, sent)| {
                ColumnDecoder::new(field.data_type(), sent).ok_or_else(|| {
                    changed(format!(
                        "it is now {} at the source and was to be read as {}",
                        sent.name(),
                        field.data_type()
                    ))
                    .at_column(field.name())
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            schema,
            columns,
            rows: 0,
            bytes: 0,
            batch_rows: batch_rows.max(1),
            table,
        })
    }

    /// One tuple of a `COPY`: its field count, then each field's length and bytes.
    pub fn push_tuple(&mut self, tuple: &[u8]) -> Result<()> {
        let (count, mut rest) = tuple.split_first_chunk::<2>().ok_or_else(malformed)?;
        if usize::from(u16::from_be_bytes(*count)) != self.columns.len() && !self.columns.is_empty()
        {
            return Err(malformed());
        }
        for i in 0..self.columns.len() {
            let (len, after) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
            let value = match i32::from_be_bytes(*len) {
                -1 => {
                    rest = after;
                    None
                }
                len => {
                    let (value, after) =
                        after.split_at_checked(len as usize).ok_or_else(malformed)?;
                    rest = after;
                    Some(value)
                }
            };
            self.append(i, value)?;
        }
        self.bytes += tuple.len();
        self.rows += 1;
        Ok(())
    }

    /// One row of the extended protocol.
    pub fn push_row(&mut self, row: &Row) -> Result<()> {
        for i in 0..self.columns.len() {
            let value = row
                .try_get::<_, Option<Raw<'_>>>(i)
                .map_err(|_| malformed())?;
            self.append(i, value.map(|raw| raw.0))?;
        }
        self.bytes += row.raw_size_bytes();
        self.rows += 1;
        Ok(())
    }

    fn append(&mut self, i: usize, value: Option<&[u8]>) -> Result<()> {
        self.columns[i]
            .append(value)
            .map_err(|why| unfit(self.table.as_deref(), self.schema.field(i), why))
    }

    /// Whether the batch is as large as it should get.
    pub fn is_full(&self) -> bool {
        self.rows >= self.batch_rows || self.bytes >= BATCH_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub fn finish(&mut self) -> Result<RecordBatch> {
        let columns = self.columns.iter_mut().map(ColumnDecoder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| Error::internal("the decoded columns do not make a batch").caused_by(e))
    }
}

/// Why a value cannot be read. `table`: where it is of one.
#[cold]
pub fn unfit(table: Option<&str>, field: &Field, why: Unfit) -> Error {
    let path = format!("{}.{}", table.unwrap_or("<table>"), field.name());
    let error = match why {
        Unfit::Value(why) => Error::new(
            Code::ValueOutOfRange,
            format!("a value does not fit {}: {why}", field.data_type()),
        )
        .help(format!(
            "Decide how it is read: WITH (columns = '{path}: text'), or '{path}: null' for nulls in its place"
        )),
        Unfit::Format => Error::new(
            Code::SchemaChanged,
            format!("its bytes are not those of {}", field.data_type()),
        )
        .help("Run REFRESH SOURCE"),
    };
    let error = error.at_column(field.name());
    match table {
        Some(table) => error.at_table(table),
        None => error,
    }
}

/// A field's bytes, whatever its type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
