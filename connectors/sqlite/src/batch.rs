use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder,
    Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use belvedere_connector::{Error, Result};
use belvedere_sqlgen::Facts;
use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::reading::{Cell, Reading};
use crate::types::Native;

/// Rows become arrays here, one batch at a time.
pub struct Batch {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    /// Of text and blobs so far.
    bytes: usize,
}

struct Column {
    reading: Reading,
    /// Selected as stored, not computed.
    stored: bool,
    null_on_misfit: bool,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Real(Float64Builder),
    Text(StringBuilder),
    Blob(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Decimal(Decimal128Builder),
}

/// Why a row could not be taken.
pub enum Refused {
    /// A stored value does not fit.
    Misfit,
    Failed(Error),
}

impl Batch {
    /// Batches of a fragment's schema from rows whose columns have these facts.
    pub fn new(schema: SchemaRef, facts: &[Facts]) -> Result<Self> {
        let columns = schema
            .fields()
            .iter()
            .zip(facts)
            .map(|(field, facts)| {
                let reading = reading(field.data_type()).ok_or_else(|| {
                    Error::internal(format!("a column of type {}", field.data_type()))
                })?;
                let native = facts.native_type.as_deref().map(Native::parse);
                Ok(Column {
                    reading,
                    stored: native.is_some(),
                    null_on_misfit: native.is_some_and(|native| native.null_on_misfit),
                    values: Values::new(reading),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            schema,
            columns,
            rows: 0,
            bytes: 0,
        })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, row: &Row<'_>) -> Result<(), Refused> {
        self.push_from(row, 0)
    }

    /// From that column of the row on.
    pub fn push_from(&mut self, row: &Row<'_>, first: usize) -> Result<(), Refused> {
        for (i, column) in self.columns.iter_mut().enumerate() {
            let value = row
                .get_ref(first + i)
                .map_err(|e| Refused::Failed(crate::failure::of(e)))?;
            self.bytes += match column.values.push_as_is(value) {
                Some(bytes) => bytes,
                None => column.push(value)?,
            };
        }
        self.rows += 1;
        Ok(())
    }

    /// What was pushed since the last time.
    pub fn take(&mut self) -> Result<RecordBatch> {
        let failed = |e: ArrowError| Error::internal("rows do not make a batch").caused_by(e);
        let arrays = self
            .columns
            .iter_mut()
            .zip(self.schema.fields())
            .map(|(column, field)| {
                let array = column.values.finish(field.data_type()).map_err(failed)?;
                match array.data_type() == field.data_type() {
                    true => Ok(array),
                    false => cast(&array, field.data_type()).map_err(failed),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(failed)
    }
}

impl Column {
    /// Gives the size of what was taken.
    fn push(&mut self, value: ValueRef<'_>) -> Result<usize, Refused> {
        let cell = match self.stored {
            true => self.reading.read(value),
            false => self.reading.canonical(value),
        };
        let cell = match cell {
            Some(cell) => cell,
            None if self.null_on_misfit => Cell::Null,
            None => return Err(Refused::Misfit),
        };
        let bytes = match &cell {
            Cell::Text(text) => text.len(),
            Cell::Blob(bytes) => bytes.len(),
            _ => NUMBER_BYTES,
        };
        self.values.push(cell).map_err(Refused::Failed)?;
        Ok(bytes)
    }
}

/// How a computed column of this type is read: in the widest type of its kind.
pub fn reading(data_type: &DataType) -> Option<Reading> {
    Reading::of(data_type).or(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => Some(Reading::Integer),
        // What a window counts.
        DataType::UInt64 => Some(Reading::Integer),
        DataType::LargeUtf8 | DataType::Utf8View => Some(Reading::Text),
        _ => None,
    })
}

impl Values {
    fn new(reading: Reading) -> Self {
        match reading {
            Reading::Boolean => Self::Boolean(BooleanBuilder::new()),
            Reading::Integer => Self::Integer(Int64Builder::new()),
            Reading::Real => Self::Real(Float64Builder::new()),
            Reading::Text => Self::Text(StringBuilder::new()),
            Reading::Blob => Self::Blob(BinaryBuilder::new()),
            Reading::Date => Self::Date(Date32Builder::new()),
            Reading::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Reading::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            Reading::Decimal { .. } => Self::Decimal(Decimal128Builder::new()),
        }
    }

    /// Most values are of their column's kind already, stored or computed. Gives the size of one that is.
    fn push_as_is(&mut self, value: ValueRef<'_>) -> Option<usize> {
        match (self, value) {
            (Self::Integer(b), ValueRef::Integer(value)) => b.append_value(value),
            (Self::Real(b), ValueRef::Real(value)) => b.append_value(value),
            (Self::Text(b), ValueRef::Text(bytes)) => {
                b.append_value(std::str::from_utf8(bytes).ok()?);
                return Some(bytes.len());
            }
            (Self::Blob(b), ValueRef::Blob(bytes)) => {
                b.append_value(bytes);
                return Some(bytes.len());
            }
            _ => return None,
        }
        Some(NUMBER_BYTES)
    }

    fn push(&mut self, cell: Cell<'_>) -> Result<()> {
        match (self, cell) {
            (Self::Boolean(b), Cell::Integer(value)) => b.append_value(value != 0),
            (Self::Integer(b), Cell::Integer(value)) => b.append_value(value),
            (Self::Real(b), Cell::Real(value)) => b.append_value(value),
            (Self::Text(b), Cell::Text(text)) => b.append_value(text),
            (Self::Blob(b), Cell::Blob(bytes)) => b.append_value(bytes),
            (Self::Date(b), Cell::Integer(days)) => b.append_value(
                i32::try_from(days).map_err(|_| Error::internal("a date out of range"))?,
            ),
            (Self::Time(b), Cell::Integer(micros)) => b.append_value(micros),
            (Self::Timestamp(b), Cell::Integer(micros)) => b.append_value(micros),
            (Self::Decimal(b), Cell::Decimal(unscaled)) => b.append_value(unscaled),
            (Self::Boolean(b), Cell::Null) => b.append_null(),
            (Self::Integer(b), Cell::Null) => b.append_null(),
            (Self::Real(b), Cell::Null) => b.append_null(),
            (Self::Text(b), Cell::Null) => b.append_null(),
            (Self::Blob(b), Cell::Null) => b.append_null(),
            (Self::Date(b), Cell::Null) => b.append_null(),
            (Self::Time(b), Cell::Null) => b.append_null(),
            (Self::Timestamp(b), Cell::Null) => b.append_null(),
            (Self::Decimal(b), Cell::Null) => b.append_null(),
            _ => return Err(Error::internal("a value that is not of its column's kind")),
        }
        Ok(())
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        Ok(match (self, data_type) {
            (Self::Decimal(b), DataType::Decimal128(precision, scale)) => {
                Arc::new(b.finish().with_precision_and_scale(*precision, *scale)?)
            }
            (Self::Decimal(b), _) => Arc::new(b.finish()),
            (Self::Boolean(b), _) => Arc::new(b.finish()),
            (Self::Integer(b), _) => Arc::new(b.finish()),
            (Self::Real(b), _) => Arc::new(b.finish()),
            (Self::Text(b), _) => Arc::new(b.finish()),
            (Self::Blob(b), _) => Arc::new(b.finish()),
            (Self::Date(b), _) => Arc::new(b.finish()),
            (Self::Time(b), _) => Arc::new(b.finish()),
            (Self::Timestamp(b), DataType::Timestamp(_, zone)) => {
                Arc::new(b.finish().with_timezone_opt(zone.clone()))
            }
            (Self::Timestamp(b), _) => Arc::new(b.finish()),
        })
    }
}

/// What a value that is no text and no blob counts as.
const NUMBER_BYTES: usize = 8;

/// Text of one batch beyond this does not fit Arrow's 32-bit offsets: batches end well before.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
