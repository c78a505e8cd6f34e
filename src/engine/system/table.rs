use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use futures::future::BoxFuture;

use crate::engine::names::Names;
use crate::error::{Error, Result};

/// One system table: its name, its columns, and how its rows are made from the world a statement sees.
pub(in crate::engine) struct Definition {
    pub schema: &'static str,
    pub name: &'static str,
    pub columns: &'static [Column],
    pub rows: Fill,
}

/// What makes the rows.
pub(in crate::engine) enum Fill {
    /// What is known.
    Known(fn(&Names, &mut Rows)),
    /// What must be planned first.
    Planned(for<'a> fn(&'a Names, &'a mut Rows) -> BoxFuture<'a, Result<()>>),
}

pub(in crate::engine) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Kind {
    Text,
    /// An ordinal or a length.
    Integer,
    Count,
    Real,
    Boolean,
    /// Microseconds, UTC.
    Instant,
}

/// A column that always has a value.
pub(super) const fn always(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        nullable: false,
    }
}

/// A column that may be NULL.
pub(super) const fn maybe(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        nullable: true,
    }
}

impl Kind {
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int32,
            Self::Count => DataType::UInt64,
            Self::Real => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl Definition {
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns.iter();
        let fields = fields.map(|c| Field::new(c.name, c.kind.data_type(), c.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The rows now.
    pub async fn batch(&self, names: &Names) -> Result<RecordBatch> {
        let builders = self.columns.iter().map(|c| Builder::new(c.kind)).collect();
        let mut rows = Rows { builders };
        match self.rows {
            Fill::Known(fill) => fill(names, &mut rows),
            Fill::Planned(fill) => fill(names, &mut rows).await?,
        }
        let arrays = rows.builders.into_iter().map(Builder::finish).collect();
        RecordBatch::try_new(self.arrow_schema(), arrays)
            .map_err(|e| Error::Internal(format!("{}.{}: {e}", self.schema, self.name)))
    }
}

/// The rows of a system table in the making.
pub(in crate::engine) struct Rows {
    builders: Vec<Builder>,
}

impl Rows {
    /// A value for each column, in order: [`row!`] writes it.
    pub fn push<const N: usize>(&mut self, row: [Value<'_>; N]) {
        debug_assert_eq!(N, self.builders.len());
        for (builder, value) in self.builders.iter_mut().zip(row) {
            builder.append(value);
        }
    }
}

/// Values of several types as a row.
macro_rules! row {
    ($($value:expr),* $(,)?) => { [$($crate::engine::system::table::Value::from($value)),*] };
}
pub(super) use row;

pub(in crate::engine) enum Value<'a> {
    Null,
    Text(&'a str),
    Owned(String),
    Integer(i32),
    Count(u64),
    Real(f64),
    Boolean(bool),
    /// Microseconds since the epoch.
    Instant(i64),
}

/// The value of a column that is NULL in all rows.
pub(super) const NULL: Value<'static> = Value::Null;

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Owned(text)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Value<'_> {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::from(text.as_ref())
    }
}

enum Builder {
    Text(StringBuilder),
    Integer(Int32Builder),
    Count(UInt64Builder),
    Real(Float64Builder),
    Boolean(BooleanBuilder),
    Instant(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Integer => Self::Integer(Int32Builder::new()),
            Kind::Count => Self::Count(UInt64Builder::new()),
            Kind::Real => Self::Real(Float64Builder::new()),
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Instant => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
        }
    }

    /// A value of another type is NULL: of a column that is never NULL, an error once the batch is made.
    fn append(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Text(b), Value::Text(text)) => b.append_value(text),
            (Self::Text(b), Value::Owned(text)) => b.append_value(text),
            (Self::Integer(b), Value::Integer(number)) => b.append_value(number),
            (Self::Count(b), Value::Count(count)) => b.append_value(count),
            (Self::Real(b), Value::Real(number)) => b.append_value(number),
            (Self::Boolean(b), Value::Boolean(truth)) => b.append_value(truth),
            (Self::Instant(b), Value::Instant(at)) => b.append_value(at),
            (builder, value) => {
                debug_assert!(matches!(value, Value::Null), "a value of the column's type");
                builder.append_null();
            }
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Text(b) => b.append_null(),
            Self::Integer(b) => b.append_null(),
            Self::Count(b) => b.append_null(),
            Self::Real(b) => b.append_null(),
            Self::Boolean(b) => b.append_null(),
            Self::Instant(b) => b.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Integer(mut b) => Arc::new(b.finish()),
            Self::Count(mut b) => Arc::new(b.finish()),
            Self::Real(mut b) => Arc::new(b.finish()),
            Self::Boolean(mut b) => Arc::new(b.finish()),
            Self::Instant(mut b) => Arc::new(b.finish()),
        }
    }
}
