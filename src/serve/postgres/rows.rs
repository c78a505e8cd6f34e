//! Rows as the protocol has them: each value in the form that PostgreSQL would give it.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::*;
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::*;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};

use super::messages::Format;
use super::numeric;
use super::times;
use crate::engine::PgType;

/// The columns of a batch, ready to have their values put.
pub(super) struct Rows<'a> {
    columns: Vec<Column<'a>>,
}

pub(super) struct Column<'a> {
    nulls: Option<NullBuffer>,
    values: Values<'a>,
    format: Format,
}

/// Few kinds of values, each of which PostgreSQL has a type for.
enum Values<'a> {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Oid(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array, u8, i8),
    Decimal256(Decimal256Array, u8, i8),
    Text(StringArray),
    TextView(StringViewArray),
    LargeText(LargeStringArray),
    Bytes(BinaryArray),
    BytesView(BinaryViewArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    /// In a zone, if it has one.
    Timestamp(TimestampMicrosecondArray, Option<&'a Tz>),
    Interval(IntervalMonthDayNanoArray),
    List(Lists<'a>),
    Json(NullableEncoder<'a>),
    /// What there is no better form for.
    Shown(ArrayRef),
}

struct Lists<'a> {
    offsets: Vec<usize>,
    items: Box<Column<'a>>,
    item_type: PgType,
    /// The items are lists themselves.
    is_nested: bool,
    /// It is one of the catalog's lists of numbers, `1 2` in text.
    is_vector: bool,
}

type Put = Result<(), ArrowError>;

/// What is constant in the rows of an answer.
pub(super) struct Style {
    pub formats: Vec<Format>,
    /// Of the session.
    pub zone: Tz,
    pub json: EncoderOptions,
}

impl<'a> Rows<'a> {
    pub fn new(batch: &'a RecordBatch, style: &'a Style) -> Result<Self, ArrowError> {
        let schema = batch.schema_ref();
        let columns = batch.columns().iter().zip(schema.fields()).enumerate();
        let columns = columns.map(|(n, (array, field))| {
            Column::new(array, field, Format::of(&style.formats, n), style)
        });
        Ok(Self {
            columns: columns.collect::<Result<_, _>>()?,
        })
    }

    pub fn columns_mut(&mut self) -> &mut [Column<'a>] {
        &mut self.columns
    }

    /// The values of a row, each with its length before it.
    pub fn put(&mut self, row: usize, out: &mut BytesMut) -> Put {
        for column in &mut self.columns {
            column.put(row, out)?;
        }
        Ok(())
    }
}

impl<'a> Column<'a> {
    fn new(
        array: &'a ArrayRef,
        field: &'a FieldRef,
        format: Format,
        style: &'a Style,
    ) -> Result<Self, ArrowError> {
        let of = PgType::of_field(field);
        let mut values = match array.data_type() {
            DataType::Struct(_) | DataType::Map(..) => {
                Values::Json(make_encoder(field, array.as_ref(), &style.json)?)
            }
            DataType::Int64 if of == PgType::OID => {
                Values::Oid(array.as_primitive::<Int64Type>().clone())
            }
            _ => Values::new(array, &style.zone)?,
        };
        if let Values::List(lists) = &mut values {
            lists.is_vector = of == PgType::INT2VECTOR || of == PgType::OIDVECTOR;
            if of.item() == Some(PgType::OID)
                && let Values::Int8(items) = &lists.items.values
            {
                lists.items.values = Values::Oid(items.clone());
                lists.item_type = PgType::OID;
            }
        }
        Ok(Self {
            nulls: array.logical_nulls(),
            values,
            format,
        })
    }

    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null)
            || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The value with its length before it.
    pub fn put(&mut self, row: usize, out: &mut BytesMut) -> Put {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        match self.format {
            Format::Text => self.put_text(row, out)?,
            Format::Binary => self.put_binary(row, out)?,
        }
        let length = i32::try_from(out.len() - start - 4)
            .map_err(|_| ArrowError::ComputeError("a value is larger than 2 GB".into()))?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// The value alone, as text.
    pub fn put_text(&mut self, row: usize, out: &mut BytesMut) -> Put {
        // Writing into memory does not fail.
        let _ = match &mut self.values {
            Values::Null => Ok(()),
            Values::Bool(array) => out.write_str(if array.value(row) { "t" } else { "f" }),
            Values::Int2(array) => write!(out, "{}", array.value(row)),
            Values::Int4(array) => write!(out, "{}", array.value(row)),
            Values::Int8(array) | Values::Oid(array) => write!(out, "{}", array.value(row)),
            Values::Float4(array) => {
                let value = array.value(row);
                numeric::float(out, f64::from(value), format!("{value:e}"), 6)
            }
            Values::Float8(array) => {
                let value = array.value(row);
                numeric::float(out, value, format!("{value:e}"), 15)
            }
            Values::Decimal(array, precision, scale) => {
                let text = Decimal128Type::format_decimal(array.value(row), *precision, *scale);
                out.write_str(&text)
            }
            Values::Decimal256(array, precision, scale) => {
                let text = Decimal256Type::format_decimal(array.value(row), *precision, *scale);
                out.write_str(&text)
            }
            Values::Text(array) => out.write_str(array.value(row)),
            Values::TextView(array) => out.write_str(array.value(row)),
            Values::LargeText(array) => out.write_str(array.value(row)),
            Values::Bytes(array) => hex(out, array.value(row)),
            Values::BytesView(array) => hex(out, array.value(row)),
            Values::Date(array) => times::date(out, array.value(row))?,
            Values::Time(array) => times::time(out, array.value(row)),
            Values::Timestamp(array, zone) => times::timestamp(out, array.value(row), *zone)?,
            Values::Interval(array) => times::interval(out, array.value(row)),
            Values::List(lists) => return lists.put_text(row, out),
            Values::Json(encoder) => {
                let mut text = Vec::new();
                encoder.encode(row, &mut text);
                out.put_slice(&text);
                Ok(())
            }
            Values::Shown(array) => {
                let options = datafusion::arrow::util::display::FormatOptions::default();
                let shown =
                    datafusion::arrow::util::display::ArrayFormatter::try_new(array, &options)?;
                write!(out, "{}", shown.value(row))
            }
        };
        Ok(())
    }

    fn put_binary(&mut self, row: usize, out: &mut BytesMut) -> Put {
        match &mut self.values {
            Values::Null => {}
            Values::Bool(array) => out.put_u8(u8::from(array.value(row))),
            Values::Int2(array) => out.put_i16(array.value(row)),
            Values::Int4(array) => out.put_i32(array.value(row)),
            Values::Int8(array) => out.put_i64(array.value(row)),
            // As many as there are.
            Values::Oid(array) => out.put_u32(array.value(row) as u32),
            Values::Float4(array) => out.put_f32(array.value(row)),
            Values::Float8(array) => out.put_f64(array.value(row)),
            Values::Decimal(array, precision, scale) => {
                let text = Decimal128Type::format_decimal(array.value(row), *precision, *scale);
                numeric::binary(out, &text, *scale);
            }
            Values::Decimal256(array, precision, scale) => {
                let text = Decimal256Type::format_decimal(array.value(row), *precision, *scale);
                numeric::binary(out, &text, *scale);
            }
            Values::Bytes(array) => out.put_slice(array.value(row)),
            Values::BytesView(array) => out.put_slice(array.value(row)),
            Values::Date(array) => out.put_i32(times::binary_date(array.value(row))?),
            Values::Time(array) => out.put_i64(array.value(row)),
            Values::Timestamp(array, _) => out.put_i64(times::binary_timestamp(array.value(row))?),
            Values::Interval(array) => times::binary_interval(out, array.value(row)),
            Values::List(lists) => return lists.put_binary(row, out),
            Values::Text(_)
            | Values::TextView(_)
            | Values::LargeText(_)
            | Values::Json(_)
            | Values::Shown(_) => return self.put_text(row, out),
        }
        Ok(())
    }
}

impl<'a> Values<'a> {
    fn new(array: &ArrayRef, zone: &'a Tz) -> Result<Self, ArrowError> {
        let as_type = |data_type: DataType| cast(array, &data_type);
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Int16 => Self::Int2(array.as_primitive().clone()),
            DataType::Int32 => Self::Int4(array.as_primitive().clone()),
            DataType::Int64 => Self::Int8(array.as_primitive().clone()),
            DataType::Int8 | DataType::UInt8 => Self::new(&as_type(DataType::Int16)?, zone)?,
            DataType::UInt16 => Self::new(&as_type(DataType::Int32)?, zone)?,
            DataType::UInt32 => Self::new(&as_type(DataType::Int64)?, zone)?,
            DataType::UInt64 => Self::new(&as_type(DataType::Decimal128(20, 0))?, zone)?,
            DataType::Float16 => Self::new(&as_type(DataType::Float32)?, zone)?,
            DataType::Float32 => Self::Float4(array.as_primitive().clone()),
            DataType::Float64 => Self::Float8(array.as_primitive().clone()),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => {
                Self::new(&as_type(DataType::Decimal128(*p, *s))?, zone)?
            }
            DataType::Decimal128(p, s) => Self::Decimal(array.as_primitive().clone(), *p, *s),
            DataType::Decimal256(p, s) => Self::Decimal256(array.as_primitive().clone(), *p, *s),
            DataType::Utf8 => Self::Text(array.as_string().clone()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string().clone()),
            DataType::Utf8View => Self::TextView(array.as_string_view().clone()),
            DataType::Binary => Self::Bytes(array.as_binary().clone()),
            DataType::BinaryView => Self::BytesView(array.as_binary_view().clone()),
            DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
                Self::new(&as_type(DataType::BinaryView)?, zone)?
            }
            DataType::Date32 => Self::Date(array.as_primitive().clone()),
            DataType::Date64 => Self::new(&as_type(DataType::Date32)?, zone)?,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time(array.as_primitive().clone()),
            DataType::Time32(_) | DataType::Time64(_) => {
                Self::new(&as_type(DataType::Time64(TimeUnit::Microsecond))?, zone)?
            }
            DataType::Timestamp(TimeUnit::Microsecond, in_zone) => {
                let array: &TimestampMicrosecondArray = array.as_primitive();
                Self::Timestamp(array.clone(), in_zone.as_ref().map(|_| zone))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, in_zone) => {
                // What PostgreSQL has no digits for is cut off, towards the past as everywhere else.
                let nanoseconds: &TimestampNanosecondArray = array.as_primitive();
                let microseconds: TimestampMicrosecondArray =
                    nanoseconds.unary(|value| value.div_euclid(1000));
                Self::Timestamp(microseconds, in_zone.as_ref().map(|_| zone))
            }
            DataType::Timestamp(_, in_zone) => {
                let finer = DataType::Timestamp(TimeUnit::Microsecond, in_zone.clone());
                Self::new(&as_type(finer)?, zone)?
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Self::Interval(array.as_primitive().clone())
            }
            DataType::Interval(_) | DataType::Duration(_) => Self::new(
                &as_type(DataType::Interval(IntervalUnit::MonthDayNano))?,
                zone,
            )?,
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets().iter().map(|o| *o as usize).collect();
                Self::List(Lists::new(offsets, list.values(), zone)?)
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let offsets = list.value_offsets().iter().map(|o| *o as usize).collect();
                Self::List(Lists::new(offsets, list.values(), zone)?)
            }
            DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                Self::new(&as_type(DataType::List(item.clone()))?, zone)?
            }
            DataType::Dictionary(_, value) => Self::new(&as_type(value.as_ref().clone())?, zone)?,
            DataType::RunEndEncoded(_, value) => {
                Self::new(&as_type(value.data_type().clone())?, zone)?
            }
            _ => Self::Shown(array.clone()),
        })
    }
}

impl<'a> Lists<'a> {
    fn new(offsets: Vec<usize>, items: &ArrayRef, zone: &'a Tz) -> Result<Self, ArrowError> {
        let item_type = PgType::of(items.data_type());
        let values = Values::new(items, zone)?;
        Ok(Self {
            offsets,
            item_type,
            is_nested: matches!(values, Values::List(_)),
            is_vector: false,
            items: Box::new(Column {
                nulls: items.logical_nulls(),
                values,
                format: Format::Binary,
            }),
        })
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row]..self.offsets[row + 1]
    }

    /// `{1,NULL,"a b"}`
    fn put_text(&mut self, row: usize, out: &mut BytesMut) -> Put {
        if self.is_vector {
            for (n, item) in self.range(row).enumerate() {
                if n > 0 {
                    out.put_u8(b' ');
                }
                self.items.put_text(item, out)?;
            }
            return Ok(());
        }
        out.put_u8(b'{');
        for (n, item) in self.range(row).enumerate() {
            if n > 0 {
                out.put_u8(b',');
            }
            if self.items.is_null(item) {
                out.put_slice(b"NULL");
                continue;
            }
            let start = out.len();
            self.items.put_text(item, out)?;
            if self.is_nested {
                continue;
            }
            let text = out.split_off(start);
            let special = |byte: &u8| b"{}\",\\ \t\n\r\x0b\x0c".contains(byte);
            if !text.is_empty() && !text.iter().any(special) && !text.eq_ignore_ascii_case(b"NULL")
            {
                out.put_slice(&text);
                continue;
            }
            out.put_u8(b'"');
            for byte in text {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(byte);
            }
            out.put_u8(b'"');
        }
        out.put_u8(b'}');
        Ok(())
    }

    /// Dimensions, whether there are NULLs, the items' type; then the items. A list of lists is an array of more dimensions, which
    /// has as many items in each of them.
    fn put_binary(&mut self, row: usize, out: &mut BytesMut) -> Put {
        let mut dimensions = Vec::new();
        let mut items = Vec::new();
        self.collect(self.range(row), 0, &mut dimensions, &mut items)?;
        let item_type = self.item_type;
        let leaf = self.leaf();
        if items.is_empty() {
            dimensions.clear();
        }
        let has_nulls = items.iter().any(|item| leaf.is_null(*item));
        out.put_i32(dimensions.len() as i32);
        out.put_i32(i32::from(has_nulls));
        // Of a list of lists it is what those have.
        out.put_u32(item_type.item().unwrap_or(item_type).oid);
        for length in dimensions {
            out.put_i32(length as i32);
            out.put_i32(1);
        }
        for item in items {
            leaf.put(item, out)?;
        }
        Ok(())
    }

    fn leaf(&mut self) -> &mut Column<'a> {
        match self.is_nested {
            false => &mut self.items,
            true => match &mut self.items.values {
                Values::List(inner) => inner.leaf(),
                _ => unreachable!("is_nested says that the items are lists"),
            },
        }
    }

    fn collect(
        &self,
        range: std::ops::Range<usize>,
        depth: usize,
        dimensions: &mut Vec<usize>,
        items: &mut Vec<usize>,
    ) -> Put {
        match dimensions.get(depth) {
            None => dimensions.push(range.len()),
            Some(length) if *length == range.len() => {}
            Some(_) => {
                return Err(ArrowError::ComputeError(
                    "a list of lists of different lengths has no binary form: ask for it as text"
                        .into(),
                ));
            }
        }
        let inner = match &self.items.values {
            Values::List(inner) => inner,
            _ => {
                items.extend(range);
                return Ok(());
            }
        };
        for list in range {
            inner.collect(inner.range(list), depth + 1, dimensions, items)?;
        }
        Ok(())
    }
}

fn hex(out: &mut BytesMut, bytes: &[u8]) -> std::fmt::Result {
    out.write_str("\\x")?;
    for byte in bytes {
        write!(out, "{byte:02x}")?;
    }
    Ok(())
}
