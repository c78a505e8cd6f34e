//! Rows of the log, column by column.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use belvedere_connector::{Error, Result, Unchanged};

use super::layout::{Layout, Reading};
use super::message::{Value, malformed};
use crate::decode::{ColumnDecoder, unfit};

/// Rows in the making.
pub struct RowsBuilder {
    layout: Arc<Layout>,
    columns: Vec<Building>,
    /// Of which columns and rows the value was not sent.
    unchanged: Vec<Vec<bool>>,
    rows: usize,
    pub bytes: usize,
}

enum Building {
    Decoder(ColumnDecoder),
    Values(Vec<Value>),
}

/// Rows of which the server is to write some values yet.
#[derive(Debug)]
pub struct Rows {
    pub layout: Arc<Layout>,
    pub columns: Vec<Column>,
    unchanged: Vec<Vec<bool>>,
    rows: usize,
}

#[derive(Debug)]
pub enum Column {
    Read(ArrayRef),
    /// Still as sent.
    Sent(Vec<Value>),
}

impl RowsBuilder {
    pub fn new(layout: Arc<Layout>) -> Self {
        let fields = layout.schema.fields().iter().zip(&layout.columns);
        let columns = fields.map(|(field, wanted)| match &wanted.reading {
            Reading::Decoded(sent) => match ColumnDecoder::new(field.data_type(), sent) {
                Some(decoder) => Building::Decoder(decoder),
                None => Building::Values(Vec::new()),
            },
            Reading::Asked { .. } => Building::Values(Vec::new()),
        });
        Self {
            columns: columns.collect(),
            unchanged: vec![Vec::new(); layout.columns.len()],
            rows: 0,
            bytes: 0,
            layout,
        }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    /// One row. Where it does not have a value, `before` may: the row that it takes the place of.
    ///
    /// # Errors
    /// If a value does not fit: it is the table's. If the row is not of this table: the stream's.
    pub fn push(&mut self, tuple: &[Value], before: Option<&[Value]>) -> Result<()> {
        for i in 0..self.columns.len() {
            let place = self.layout.columns[i].place;
            let mut value = tuple.get(place).ok_or_else(malformed)?;
            if let (Value::Unchanged, Some(before)) = (value, before) {
                // What the log does not have of an old row is NULL, which nothing large is.
                let was = before.get(place).ok_or_else(malformed)?;
                value = if *was == Value::Null { value } else { was };
            }
            let is_unchanged = *value == Value::Unchanged;
            self.unchanged[i].push(is_unchanged);
            let decoder = match &mut self.columns[i] {
                Building::Values(values) => {
                    self.bytes += size(value);
                    values.push(value.clone());
                    continue;
                }
                Building::Decoder(decoder) => decoder,
            };
            let appended = match value {
                Value::Null | Value::Unchanged => decoder.append(None),
                Value::Binary(bytes) => {
                    self.bytes += bytes.len();
                    decoder.append(Some(bytes))
                }
                Value::Text(_) => return Err(malformed()),
            };
            let (table, field) = (&self.layout.table, self.layout.schema.field(i));
            appended.map_err(|why| unfit(Some(table), field, why))?;
        }
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> Rows {
        let columns = self.columns.into_iter().map(|column| match column {
            Building::Decoder(mut decoder) => Column::Read(decoder.finish()),
            Building::Values(values) => Column::Sent(values),
        });
        Rows {
            layout: self.layout,
            columns: columns.collect(),
            unchanged: self.unchanged,
            rows: self.rows,
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Binary(bytes) | Value::Text(bytes) => bytes.len(),
        Value::Null | Value::Unchanged => 0,
    }
}

impl Rows {
    /// Whether all values are read.
    pub fn is_read(&self) -> bool {
        self.columns
            .iter()
            .all(|column| matches!(column, Column::Read(_)))
    }

    /// # Errors
    /// If they are not, or do not make a batch.
    pub fn batch(self) -> Result<(RecordBatch, Vec<Unchanged>)> {
        let mut unchanged = Vec::new();
        let mut fields = Vec::with_capacity(self.columns.len());
        for (column, rows) in self.unchanged.into_iter().enumerate() {
            let field = self.layout.schema.fields()[column].clone();
            match rows.contains(&true) {
                true => {
                    fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
                    let rows = BooleanBuffer::from(rows);
                    unchanged.push(Unchanged { column, rows });
                }
                false => fields.push(field),
            }
        }
        let columns = self.columns.into_iter().map(|column| match column {
            Column::Read(values) => Ok(values),
            Column::Sent(_) => Err(Error::internal("values of the log were not read")),
        });
        let schema = match unchanged.is_empty() {
            true => self.layout.schema.clone(),
            false => Arc::new(Schema::new(fields)),
        };
        let count = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let rows =
            RecordBatch::try_new_with_options(schema, columns.collect::<Result<_>>()?, &count);
        let rows = rows
            .map_err(|e| Error::internal("the rows of the log do not make a batch").caused_by(e))?;
        Ok((rows, unchanged))
    }
}
