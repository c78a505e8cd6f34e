use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, NullBuilder, RecordBatchOptions, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt8Builder, UInt16Builder,
    UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use belvedere_connector::{Code, Error, NATIVE_TYPE, Result, TableRef};
use mysql_async::consts::ColumnType;
use mysql_async::{Column, Row, Value};

use crate::types::{is_decided, reads_misfits_as_null};
use crate::values::{self, Misfit};

/// Where an output column comes from, for its errors.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub table: TableRef,
    pub column: String,
}

/// Rows of the binary protocol to record batches of one schema.
///
/// Values arrive as the client read them; that reading was checked against the server's text form for every type (see
/// `tests/types.rs`). What does not fit its column is never changed to fit.
#[derive(Debug)]
pub(crate) struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<ColumnDecoder>,
    rows: usize,
    bytes: usize,
}

#[derive(Debug)]
struct ColumnDecoder {
    builder: Builder,
    wire: Wire,
    nullable: bool,
    /// Read otherwise than the source means it, by a person's decision.
    decided: bool,
    misfits_are_null: bool,
    origin: Option<Origin>,
    name: String,
}

/// What the server says of a result's column, as far as its values do not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    pub kind: ColumnType,
    /// Digits after the seconds.
    pub decimals: u8,
}

#[derive(Debug)]
enum Builder {
    Null(NullBuilder),
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Date32(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Time64(Time64MicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
}

/// Whether answers can have columns of this type.
pub(crate) fn is_readable(data_type: &DataType) -> bool {
    Builder::new(data_type).is_some()
}

impl RowDecoder {
    /// For rows with the columns `wire`, whose origins are those of `schema`'s fields.
    pub fn new(schema: SchemaRef, origins: &[Option<Origin>], wire: &[Column]) -> Result<Self> {
        if !schema.fields().is_empty() && schema.fields().len() != wire.len() {
            return Err(Error::internal(format!(
                "the answer has {} columns instead of {}",
                wire.len(),
                schema.fields().len()
            )));
        }
        let wire = wire.iter().map(|wire| Wire {
            kind: wire.column_type(),
            decimals: wire.decimals(),
        });
        Self::of(schema, origins, &wire.collect::<Vec<_>>())
    }

    /// The same, for rows whose columns are those of `schema`.
    pub fn of(schema: SchemaRef, origins: &[Option<Origin>], wire: &[Wire]) -> Result<Self> {
        let columns = schema
            .fields()
            .iter()
            .zip(wire)
            .enumerate()
            .map(|(i, (field, wire))| {
                let native = field.metadata().get(NATIVE_TYPE).map_or("", String::as_str);
                Ok(ColumnDecoder {
                    builder: Builder::new(field.data_type()).ok_or_else(|| {
                        Error::internal(format!("no answer can be of type {}", field.data_type()))
                    })?,
                    wire: *wire,
                    nullable: field.is_nullable(),
                    decided: is_decided(native),
                    misfits_are_null: reads_misfits_as_null(native),
                    origin: origins.get(i).cloned().flatten(),
                    name: field.name().clone(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            schema,
            columns,
            rows: 0,
            bytes: 0,
        })
    }

    /// Rows since the last batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Their size, nearly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn append(&mut self, row: &Row) -> Result<()> {
        self.append_values(|i| row.as_ref(i).unwrap_or(&Value::NULL))
    }

    /// A row, by the values of its columns.
    pub fn append_values<'v>(&mut self, value: impl Fn(usize) -> &'v Value) -> Result<()> {
        for (i, column) in self.columns.iter_mut().enumerate() {
            let value = value(i);
            self.bytes += match value {
                Value::Bytes(bytes) => bytes.len() + 4,
                _ => 8,
            };
            column.append(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows since the last batch.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .zip(self.schema.fields())
            .map(|(column, field)| column.builder.finish(field.data_type()))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|e| Error::internal("a batch does not fit its schema").caused_by(e))
    }
}

impl ColumnDecoder {
    fn append(&mut self, value: &Value) -> Result<()> {
        if *value == Value::NULL {
            if !self.nullable {
                return Err(self.error(Misfit::Kind));
            }
            self.builder.append_null();
            return Ok(());
        }
        match self.builder.append(value, self.wire, self.decided) {
            Ok(()) => Ok(()),
            Err(_) if self.misfits_are_null => {
                self.builder.append_null();
                Ok(())
            }
            Err(misfit) => Err(self.error(misfit)),
        }
    }

    /// The error for a value that does not fit; never the value.
    fn error(&self, misfit: Misfit) -> Error {
        let error = if misfit == Misfit::Kind && !self.decided {
            Error::new(
                Code::SchemaChanged,
                "the column is no longer of the type that was discovered",
            )
            .help("Run REFRESH SOURCE")
        } else {
            let what = match misfit {
                Misfit::Date => "a date that no calendar has (a zero or impossible part)",
                Misfit::TimeOfDay => "a time below 0 or from 24:00 on",
                Misfit::Utf8 => "text that is not UTF-8",
                Misfit::Kind | Misfit::Range => "a value",
            };
            let error = Error::new(
                Code::ValueOutOfRange,
                format!("{what} cannot be read as {}", self.builder.type_name()),
            );
            let name = match &self.origin {
                Some(origin) => format!("{}.{}", origin.table.name, origin.column),
                None => return error.at_column(&self.name),
            };
            error.help(match misfit {
                Misfit::Date => format!(
                    "Decide on the source: WITH (columns = '{name}: null') or '{name}: text', or for all of them \
                     zero_dates = 'null' or 'text'"
                ),
                Misfit::TimeOfDay => format!(
                    "Decide on the source: WITH (columns = '{name}: interval'), or '{name}: text' or '{name}: null'"
                ),
                _ => format!("Decide on the source: WITH (columns = '{name}: text') or '{name}: null'"),
            })
        };
        match &self.origin {
            Some(origin) => error
                .at_table(origin.table.to_string())
                .at_column(&origin.column),
            None => error.at_column(&self.name),
        }
    }
}

/// Run `$body` with the builder of whatever kind.
macro_rules! each {
    ($builder:expr, $b:ident => $body:expr) => {
        match $builder {
            Builder::Null($b) => $body,
            Builder::Boolean($b) => $body,
            Builder::Int8($b) => $body,
            Builder::Int16($b) => $body,
            Builder::Int32($b) => $body,
            Builder::Int64($b) => $body,
            Builder::UInt8($b) => $body,
            Builder::UInt16($b) => $body,
            Builder::UInt32($b) => $body,
            Builder::UInt64($b) => $body,
            Builder::Float32($b) => $body,
            Builder::Float64($b) => $body,
            Builder::Decimal128($b, ..) => $body,
            Builder::Decimal256($b, ..) => $body,
            Builder::Utf8($b) => $body,
            Builder::Binary($b) => $body,
            Builder::Date32($b) => $body,
            Builder::Timestamp($b) => $body,
            Builder::Time64($b) => $body,
            Builder::Interval($b) => $body,
        }
    };
}

impl Builder {
    fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => Self::Null(Default::default()),
            DataType::Boolean => Self::Boolean(Default::default()),
            DataType::Int8 => Self::Int8(Default::default()),
            DataType::Int16 => Self::Int16(Default::default()),
            DataType::Int32 => Self::Int32(Default::default()),
            DataType::Int64 => Self::Int64(Default::default()),
            DataType::UInt8 => Self::UInt8(Default::default()),
            DataType::UInt16 => Self::UInt16(Default::default()),
            DataType::UInt32 => Self::UInt32(Default::default()),
            DataType::UInt64 => Self::UInt64(Default::default()),
            DataType::Float32 => Self::Float32(Default::default()),
            DataType::Float64 => Self::Float64(Default::default()),
            DataType::Decimal128(p, s) => Self::Decimal128(
                Decimal128Builder::new().with_data_type(data_type.clone()),
                *p,
                *s,
            ),
            DataType::Decimal256(p, s) => Self::Decimal256(
                Decimal256Builder::new().with_data_type(data_type.clone()),
                *p,
                *s,
            ),
            DataType::Utf8 => Self::Utf8(Default::default()),
            DataType::Binary => Self::Binary(Default::default()),
            DataType::Date32 => Self::Date32(Default::default()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()),
            ),
            DataType::Time64(TimeUnit::Microsecond) => Self::Time64(Default::default()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval(Default::default()),
            _ => return None,
        })
    }

    /// As people know the type.
    fn type_name(&self) -> String {
        match self {
            Self::Boolean(_) => "boolean".into(),
            Self::Decimal128(_, p, s) => format!("decimal({p},{s})"),
            Self::Decimal256(_, p, s) => format!("decimal({p},{s})"),
            Self::Utf8(_) => "text".into(),
            Self::Date32(_) => "date".into(),
            Self::Timestamp(_) => "timestamp".into(),
            Self::Time64(_) => "time".into(),
            Self::Interval(_) => "interval".into(),
            Self::Null(_) => "null".into(),
            Self::Binary(_) => "bytes".into(),
            Self::Int8(_) | Self::Int16(_) | Self::Int32(_) | Self::Int64(_) => "integer".into(),
            Self::UInt8(_) | Self::UInt16(_) | Self::UInt32(_) | Self::UInt64(_) => {
                "unsigned integer".into()
            }
            Self::Float32(_) | Self::Float64(_) => "float".into(),
        }
    }

    fn append_null(&mut self) {
        each!(self, b => b.append_null());
    }

    fn append(&mut self, value: &Value, wire: Wire, decided: bool) -> Result<(), Misfit> {
        macro_rules! integer {
            ($b:expr) => {{
                let wide = values::integer(value, wire, decided)?;
                // A column that is still of its type holds nothing outside it.
                $b.append_value(wide.try_into().map_err(|_| Misfit::Kind)?)
            }};
        }
        match self {
            Self::Null(_) => return Err(Misfit::Kind),
            Self::Boolean(b) => b.append_value(match values::integer(value, wire, decided)? {
                0 => false,
                1 => true,
                _ => return Err(Misfit::Range),
            }),
            Self::Int8(b) => integer!(b),
            Self::Int16(b) => integer!(b),
            Self::Int32(b) => integer!(b),
            Self::Int64(b) => integer!(b),
            Self::UInt8(b) => integer!(b),
            Self::UInt16(b) => integer!(b),
            Self::UInt32(b) => integer!(b),
            Self::UInt64(b) => integer!(b),
            Self::Float32(b) => match value {
                Value::Float(v) => b.append_value(*v),
                // Computed values are wider there.
                Value::Double(v) if f64::from(*v as f32) == *v => b.append_value(*v as f32),
                _ => return Err(Misfit::Kind),
            },
            Self::Float64(b) => b.append_value(values::float(value, decided)?),
            Self::Decimal128(b, p, s) => {
                let unscaled = values::decimal(value, *p, *s)?;
                b.append_value(unscaled.to_i128().ok_or(Misfit::Range)?);
            }
            Self::Decimal256(b, p, s) => b.append_value(values::decimal(value, *p, *s)?),
            Self::Utf8(b) => match value {
                Value::Bytes(bytes) if wire.kind != ColumnType::MYSQL_TYPE_BIT => {
                    b.append_value(std::str::from_utf8(bytes).map_err(|_| Misfit::Utf8)?);
                }
                _ if !decided => return Err(Misfit::Kind),
                _ => {
                    values::write_text(b, value, wire).map_err(|_| Misfit::Kind)?;
                    b.append_value("");
                }
            },
            Self::Binary(b) => match value {
                Value::Bytes(bytes) => b.append_value(bytes),
                _ => return Err(Misfit::Kind),
            },
            Self::Date32(b) => match values::timestamp(value)? {
                (days, 0) => b.append_value(days),
                _ => return Err(Misfit::Kind),
            },
            Self::Timestamp(b) => {
                let (days, micros) = values::timestamp(value)?;
                b.append_value(i64::from(days) * values::DAY_MICROS + micros);
            }
            Self::Time64(b) => match values::time(value)? {
                micros @ 0..values::DAY_MICROS => b.append_value(micros),
                _ => return Err(Misfit::TimeOfDay),
            },
            Self::Interval(b) => {
                b.append_value(IntervalMonthDayNano::new(0, 0, values::time(value)? * 1000))
            }
        }
        Ok(())
    }

    fn finish(&mut self, data_type: &DataType) -> ArrayRef {
        match self {
            Self::Timestamp(b) => Arc::new(b.finish().with_data_type(data_type.clone())),
            other => each!(other, b => Arc::new(b.finish()) as ArrayRef),
        }
    }
}
