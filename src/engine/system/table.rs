use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::future::BoxFuture;

use super::pg_type::{PG_TYPE, PgType};
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
    /// What is read in pieces, since there may be any number.
    Streamed(fn(&Names, &[Expr]) -> Arc<dyn PartitionStream>),
    /// There never are any.
    Nothing,
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
    Small,
    Long,
    Single,
    Texts,
    Smalls,
    Longs,
    /// As PostgreSQL has it, where that is not what its values would be taken for.
    Named(&'static PgType),
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
            Self::Small => DataType::Int16,
            Self::Long => DataType::Int64,
            Self::Single => DataType::Float32,
            Self::Texts => DataType::new_list(DataType::Utf8, true),
            Self::Smalls => DataType::new_list(DataType::Int16, true),
            Self::Longs => DataType::new_list(DataType::Int64, true),
            Self::Named(named) => match named.name {
                "oid" => DataType::Int64,
                "int2vector" => Self::Smalls.data_type(),
                "oidvector" => Self::Longs.data_type(),
                _ => DataType::Utf8,
            },
        }
    }

    /// What a row has that says nothing of a column that must have a value.
    fn nothing(self) -> Value<'static> {
        match self.data_type() {
            DataType::Utf8 => Value::Text(""),
            DataType::Int16 => Value::Small(0),
            DataType::Int32 => Value::Integer(0),
            DataType::Int64 => Value::Long(0),
            DataType::UInt64 => Value::Count(0),
            DataType::Float32 => Value::Single(0.0),
            DataType::Float64 => Value::Real(0.0),
            DataType::Boolean => Value::Boolean(false),
            DataType::List(item) => match item.data_type() {
                DataType::Int16 => Value::Smalls(Vec::new()),
                DataType::Int64 => Value::Longs(Vec::new()),
                _ => Value::Texts(Vec::new()),
            },
            _ => Value::Null,
        }
    }
}

impl Column {
    fn field(&self) -> Field {
        let field = Field::new(self.name, self.kind.data_type(), self.nullable);
        match self.kind {
            Kind::Named(named) => {
                let metadata = [(PG_TYPE.to_string(), named.name.to_string())];
                field.with_metadata(metadata.into())
            }
            _ => field,
        }
    }
}

impl Definition {
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns.iter();
        let fields = fields.map(Column::field);
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The rows now.
    pub async fn batch(&self, names: &Names) -> Result<RecordBatch> {
        let mut rows = self.no_rows();
        match self.rows {
            Fill::Known(fill) => fill(names, &mut rows),
            Fill::Planned(fill) => fill(names, &mut rows).await?,
            Fill::Nothing | Fill::Streamed(_) => {}
        }
        self.of_rows(rows)
    }

    /// Some of its rows.
    pub fn batch_of(&self, fill: impl FnOnce(&mut Rows)) -> Result<RecordBatch> {
        let mut rows = self.no_rows();
        fill(&mut rows);
        self.of_rows(rows)
    }

    fn no_rows(&self) -> Rows {
        Rows {
            builders: self.columns.iter().map(|c| Builder::new(c.kind)).collect(),
            columns: self.columns,
        }
    }

    fn of_rows(&self, rows: Rows) -> Result<RecordBatch> {
        let arrays = rows.builders.into_iter().map(Builder::finish).collect();
        RecordBatch::try_new(self.arrow_schema(), arrays)
            .map_err(|e| Error::Internal(format!("{}.{}: {e}", self.schema, self.name)))
    }
}

/// The rows of a system table in the making.
pub(in crate::engine) struct Rows {
    builders: Vec<Builder>,
    columns: &'static [Column],
}

impl Rows {
    /// A value for each column, in order: [`row!`] writes it.
    pub fn push<const N: usize>(&mut self, row: [Value<'_>; N]) {
        debug_assert_eq!(N, self.builders.len());
        for (builder, value) in self.builders.iter_mut().zip(row) {
            builder.append(value);
        }
    }

    /// Values of some columns, in the columns' order: the others say nothing.
    pub fn some<const N: usize>(&mut self, row: [(&str, Value<'_>); N]) {
        let mut row = row.into_iter().peekable();
        for (builder, column) in self.builders.iter_mut().zip(self.columns) {
            match row.next_if(|(name, _)| *name == column.name) {
                Some((_, value)) => builder.append(value),
                None if column.nullable => builder.append(Value::Null),
                None => builder.append(column.kind.nothing()),
            }
        }
        debug_assert!(
            row.peek().is_none(),
            "{:?} is no column, or not in its place",
            row.peek().map(|(name, _)| *name)
        );
    }
}

/// Values of several types as a row.
macro_rules! row {
    ($($value:expr),* $(,)?) => { [$($crate::engine::system::table::Value::from($value)),*] };
}
pub(super) use row;

/// Values of columns by name, for [`Rows::some`].
macro_rules! some {
    ($($name:ident: $value:expr),* $(,)?) => {
        [$((stringify!($name), $crate::engine::system::table::Value::from($value))),*]
    };
}
pub(super) use some;

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
    Small(i16),
    Long(i64),
    Single(f32),
    Texts(Vec<String>),
    Smalls(Vec<i16>),
    Longs(Vec<i64>),
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

impl From<i16> for Value<'_> {
    fn from(number: i16) -> Self {
        Self::Small(number)
    }
}

/// A number of PostgreSQL's catalog.
impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Long(number)
    }
}

impl From<f32> for Value<'_> {
    fn from(number: f32) -> Self {
        Self::Single(number)
    }
}

impl From<Vec<i16>> for Value<'_> {
    fn from(numbers: Vec<i16>) -> Self {
        Self::Smalls(numbers)
    }
}

impl From<Vec<i64>> for Value<'_> {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Longs(numbers)
    }
}

impl From<Vec<String>> for Value<'_> {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
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
    Small(Int16Builder),
    Long(Int64Builder),
    Single(Float32Builder),
    Texts(ListBuilder<StringBuilder>),
    Smalls(ListBuilder<Int16Builder>),
    Longs(ListBuilder<Int64Builder>),
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
            Kind::Small => Self::Small(Int16Builder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Single => Self::Single(Float32Builder::new()),
            Kind::Texts => Self::Texts(ListBuilder::new(StringBuilder::new())),
            Kind::Smalls => Self::Smalls(ListBuilder::new(Int16Builder::new())),
            Kind::Longs => Self::Longs(ListBuilder::new(Int64Builder::new())),
            Kind::Named(named) => Self::new(match named.name {
                "oid" => Kind::Long,
                "int2vector" => Kind::Smalls,
                "oidvector" => Kind::Longs,
                _ => Kind::Text,
            }),
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
            (Self::Small(b), Value::Small(number)) => b.append_value(number),
            (Self::Long(b), Value::Long(number)) => b.append_value(number),
            (Self::Single(b), Value::Single(number)) => b.append_value(number),
            (Self::Texts(b), Value::Texts(texts)) => b.append_value(texts.iter().map(Some)),
            (Self::Smalls(b), Value::Smalls(all)) => b.append_value(all.into_iter().map(Some)),
            (Self::Longs(b), Value::Longs(all)) => b.append_value(all.into_iter().map(Some)),
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
            Self::Small(b) => b.append_null(),
            Self::Long(b) => b.append_null(),
            Self::Single(b) => b.append_null(),
            Self::Texts(b) => b.append_null(),
            Self::Smalls(b) => b.append_null(),
            Self::Longs(b) => b.append_null(),
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
            Self::Small(mut b) => Arc::new(b.finish()),
            Self::Long(mut b) => Arc::new(b.finish()),
            Self::Single(mut b) => Arc::new(b.finish()),
            Self::Texts(mut b) => Arc::new(b.finish()),
            Self::Smalls(mut b) => Arc::new(b.finish()),
            Self::Longs(mut b) => Arc::new(b.finish()),
        }
    }
}
