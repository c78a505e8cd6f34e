use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, ListArray, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use tokio_postgres::types::{Kind, Type};

use super::{Unfit, numeric};

/// PostgreSQL counts days and microseconds from 2000-01-01.
pub const EPOCH_DAYS: i32 = 10_957;
pub const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;
const DAY_MICROS: i64 = 86_400_000_000;

/// 262143-01-01: no calendar of the engine goes on.
const END_DAYS: i32 = 95_026_237;
const END_MICROS: i64 = END_DAYS as i64 * DAY_MICROS;

const TOO_LATE: Unfit = Unfit::Value("a date after the year 262142");
const INFINITE: Unfit = Unfit::Value("infinity is no point in time");

/// One column: its builder, and the format its values come in.
#[derive(Debug)]
pub enum ColumnDecoder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    /// What a window counts.
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    Text(StringBuilder),
    /// `character(n)`: text without the blanks at its end, as PostgreSQL's own conversion to text gives it.
    Padded(StringBuilder),
    /// Text behind a version byte.
    Jsonb(StringBuilder),
    Uuid(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    List(Box<ListDecoder>),
}

impl ColumnDecoder {
    /// The decoder of values of `sent` into `data_type`, if there is one.
    pub fn new(data_type: &DataType, sent: &Type) -> Option<Self> {
        // A domain's values are sent as its base type's, though a domain within an array keeps its name.
        if let Kind::Domain(base) = sent.kind() {
            return Self::new(data_type, base);
        }
        Some(match (data_type, sent) {
            (DataType::Boolean, &Type::BOOL) => Self::Boolean(Default::default()),
            (DataType::Int16, &Type::INT2) => Self::Int16(Default::default()),
            (DataType::Int32, &Type::INT4) => Self::Int32(Default::default()),
            (DataType::Int64, &Type::INT8) => Self::Int64(Default::default()),
            (DataType::UInt64, &Type::INT8) => Self::UInt64(Default::default()),
            (DataType::Float32, &Type::FLOAT4) => Self::Float32(Default::default()),
            (DataType::Float64, &Type::FLOAT8) => Self::Float64(Default::default()),
            (DataType::Decimal128(p, s), &Type::NUMERIC) => Self::Decimal128(
                Decimal128Builder::new().with_data_type(data_type.clone()),
                *p,
                *s,
            ),
            (DataType::Decimal256(p, s), &Type::NUMERIC) => Self::Decimal256(
                Decimal256Builder::new().with_data_type(data_type.clone()),
                *p,
                *s,
            ),
            (DataType::Utf8, &Type::TEXT | &Type::VARCHAR | &Type::NAME | &Type::JSON) => {
                Self::Text(Default::default())
            }
            (DataType::Utf8, &Type::BPCHAR) => Self::Padded(Default::default()),
            (DataType::Utf8, &Type::JSONB) => Self::Jsonb(Default::default()),
            (DataType::Utf8, &Type::UUID) => Self::Uuid(Default::default()),
            (DataType::Binary, &Type::BYTEA) => Self::Binary(Default::default()),
            (DataType::Date32, &Type::DATE) => Self::Date(Default::default()),
            (DataType::Time64(TimeUnit::Microsecond), &Type::TIME) => {
                Self::Time(Default::default())
            }
            (DataType::Timestamp(TimeUnit::Microsecond, None), &Type::TIMESTAMP)
            | (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), &Type::TIMESTAMPTZ) => {
                Self::Timestamp(
                    TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()),
                )
            }
            (DataType::Interval(IntervalUnit::MonthDayNano), &Type::INTERVAL) => {
                Self::Interval(Default::default())
            }
            (DataType::List(field), sent) => {
                let Kind::Array(element) = sent.kind() else {
                    return None;
                };
                Self::List(Box::new(ListDecoder {
                    field: field.clone(),
                    child: Self::new(field.data_type(), element)?,
                    offsets: vec![0],
                    valid: Vec::new(),
                }))
            }
            _ => return None,
        })
    }

    pub fn append(&mut self, value: Option<&[u8]>) -> Result<(), Unfit> {
        let Some(v) = value else {
            self.append_null();
            return Ok(());
        };
        match self {
            Self::Boolean(b) => b.append_value(fixed::<1>(v)?[0] != 0),
            Self::Int16(b) => b.append_value(i16::from_be_bytes(fixed(v)?)),
            Self::Int32(b) => b.append_value(i32::from_be_bytes(fixed(v)?)),
            Self::Int64(b) => b.append_value(i64::from_be_bytes(fixed(v)?)),
            Self::UInt64(b) => b.append_value(u64::from_be_bytes(fixed(v)?)),
            // PostgreSQL has one NaN: its sign, which the engine would see, is an accident of the processor.
            Self::Float32(b) => {
                let f = f32::from_be_bytes(fixed(v)?);
                b.append_value(if f.is_nan() { f32::NAN } else { f });
            }
            Self::Float64(b) => {
                let f = f64::from_be_bytes(fixed(v)?);
                b.append_value(if f.is_nan() { f64::NAN } else { f });
            }
            Self::Decimal128(b, p, s) => b.append_value(numeric::decimal128(v, *p, *s)?),
            Self::Decimal256(b, p, s) => b.append_value(numeric::decimal256(v, *p, *s)?),
            Self::Text(b) => b.append_value(text(v)?),
            Self::Padded(b) => b.append_value(text(without_padding(v))?),
            Self::Jsonb(b) => match v.split_first() {
                Some((1, json)) => b.append_value(text(json)?),
                _ => return Err(Unfit::Format),
            },
            Self::Uuid(b) => append_uuid(b, fixed(v)?)?,
            Self::Binary(b) => b.append_value(v),
            Self::Date(b) => b.append_value(date(v)?),
            Self::Time(b) => match i64::from_be_bytes(fixed(v)?) {
                DAY_MICROS => return Err(Unfit::Value("24:00 is no time of a day")),
                micros => b.append_value(micros),
            },
            Self::Timestamp(b) => b.append_value(timestamp(v)?),
            Self::Interval(b) => b.append_value(interval(v)?),
            Self::List(list) => list.append(v)?,
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Boolean(b) => b.append_null(),
            Self::Int16(b) => b.append_null(),
            Self::Int32(b) => b.append_null(),
            Self::Int64(b) => b.append_null(),
            Self::UInt64(b) => b.append_null(),
            Self::Float32(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::Decimal128(b, ..) => b.append_null(),
            Self::Decimal256(b, ..) => b.append_null(),
            Self::Text(b) | Self::Padded(b) | Self::Jsonb(b) | Self::Uuid(b) => b.append_null(),
            Self::Binary(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Timestamp(b) => b.append_null(),
            Self::Interval(b) => b.append_null(),
            Self::List(list) => list.end(false),
        }
    }

    /// What was appended, as an array; starts anew.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(b) => Arc::new(b.finish()),
            Self::Int16(b) => Arc::new(b.finish()),
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::UInt64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Decimal128(b, ..) => Arc::new(b.finish()),
            Self::Decimal256(b, ..) => Arc::new(b.finish()),
            Self::Text(b) | Self::Padded(b) | Self::Jsonb(b) | Self::Uuid(b) => {
                Arc::new(b.finish())
            }
            Self::Binary(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
            Self::Interval(b) => Arc::new(b.finish()),
            Self::List(list) => Arc::new(list.finish()),
        }
    }
}

/// An array of one dimension. (Its lower bound is not kept.)
#[derive(Debug)]
pub struct ListDecoder {
    field: FieldRef,
    child: ColumnDecoder,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl ListDecoder {
    /// Dimensions, flags, element type; per dimension its length and lower bound; per element its length and bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let mut words = Words(bytes);
        let dimensions = words.next()?;
        words.next()?;
        words.next()?;
        let len = match dimensions {
            0 => 0,
            1 => {
                let len = words.next()?;
                words.next()?;
                len
            }
            2.. => return Err(Unfit::Value("an array of several dimensions is no list")),
            _ => return Err(Unfit::Format),
        };
        for _ in 0..len {
            let value = match words.next()? {
                -1 => None,
                len => Some(words.take(len as usize)?),
            };
            self.child.append(value)?;
        }
        let end = self.last_offset() + len;
        self.offsets.push(end);
        self.valid.push(true);
        Ok(())
    }

    fn end(&mut self, valid: bool) {
        self.offsets.push(self.last_offset());
        self.valid.push(valid);
    }

    fn last_offset(&self) -> i32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn finish(&mut self) -> ListArray {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let valid = std::mem::take(&mut self.valid);
        ListArray::new(
            self.field.clone(),
            OffsetBuffer::new(offsets.into()),
            self.child.finish(),
            Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0),
        )
    }
}

struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<i32, Unfit> {
        let (word, rest) = self.0.split_first_chunk::<4>().ok_or(Unfit::Format)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*word))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Unfit> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Unfit::Format)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[inline]
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unfit> {
    bytes.try_into().map_err(|_| Unfit::Format)
}

#[inline]
fn text(bytes: &[u8]) -> Result<&str, Unfit> {
    // Only a server of encoding SQL_ASCII can send it.
    std::str::from_utf8(bytes).map_err(|_| Unfit::Value("the text is not UTF-8"))
}

fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != b' ');
    &bytes[..end.map_or(0, |last| last + 1)]
}

fn date(bytes: &[u8]) -> Result<i32, Unfit> {
    match i32::from_be_bytes(fixed(bytes)?) {
        i32::MAX | i32::MIN => Err(INFINITE),
        days => days
            .checked_add(EPOCH_DAYS)
            .filter(|days| *days < END_DAYS)
            .ok_or(TOO_LATE),
    }
}

fn timestamp(bytes: &[u8]) -> Result<i64, Unfit> {
    match i64::from_be_bytes(fixed(bytes)?) {
        i64::MAX | i64::MIN => Err(INFINITE),
        micros => micros
            .checked_add(EPOCH_MICROS)
            .filter(|micros| *micros < END_MICROS)
            .ok_or(TOO_LATE),
    }
}

fn interval(bytes: &[u8]) -> Result<IntervalMonthDayNano, Unfit> {
    let bytes: [u8; 16] = fixed(bytes)?;
    let micros = i64::from_be_bytes(fixed(&bytes[..8])?);
    let days = i32::from_be_bytes(fixed(&bytes[8..12])?);
    let months = i32::from_be_bytes(fixed(&bytes[12..])?);
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) | (i64::MIN, i32::MIN, i32::MIN) => {
            Err(Unfit::Value("infinity is no interval"))
        }
        _ => micros
            .checked_mul(1000)
            .map(|nanos| IntervalMonthDayNano::new(months, days, nanos))
            .ok_or(Unfit::Value("an interval of over 292 years in hours")),
    }
}

fn append_uuid(builder: &mut StringBuilder, bytes: [u8; 16]) -> Result<(), Unfit> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'-'; 36];
    let mut at = 0;
    for (i, byte) in bytes.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1;
        }
        out[at] = HEX[usize::from(byte >> 4)];
        out[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    builder.append_value(text(&out)?);
    Ok(())
}
