use std::error::Error;

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::Literal;
use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::decode::{EPOCH_DAYS, EPOCH_MICROS};

/// A parameter, sent in PostgreSQL's binary format of its type; one of type Null is a text that is read as whatever the type of its
/// place is.
#[derive(Debug)]
pub struct Param {
    literal: Literal,
    data_type: DataType,
}

impl Param {
    pub fn new((literal, data_type): (Literal, DataType)) -> Self {
        Self { literal, data_type }
    }

    pub fn sent_as(&self) -> Type {
        match &self.data_type {
            DataType::List(element) => array_of(sent_as(element.data_type())),
            single => sent_as(single),
        }
    }
}

fn sent_as(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 => Type::INT2,
        DataType::Int32 => Type::INT4,
        DataType::Int64 | DataType::UInt64 => Type::INT8,
        DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Decimal128(..) | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::BYTEA,
        DataType::Date32 => Type::DATE,
        DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Null => Type::UNKNOWN,
        _ => Type::TEXT,
    }
}

fn array_of(element: Type) -> Type {
    match element {
        Type::BOOL => Type::BOOL_ARRAY,
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::NUMERIC => Type::NUMERIC_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::TIME => Type::TIME_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        _ => Type::TEXT_ARRAY,
    }
}

/// Whether PostgreSQL has this value of this type.
pub fn fits(literal: &Literal, data_type: &DataType) -> bool {
    encode(literal, data_type, &mut BytesMut::new()).is_some()
}

impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        encode(&self.literal, &self.data_type, out)
            .map(|()| IsNull::No)
            .ok_or_else(|| "a constant without a form in PostgreSQL".into())
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self.data_type {
            DataType::Null => Format::Text,
            _ => Format::Binary,
        }
    }

    to_sql_checked!();
}

fn encode(literal: &Literal, data_type: &DataType, out: &mut BytesMut) -> Option<()> {
    match (literal, data_type) {
        (Literal::Boolean(v), DataType::Boolean) => out.put_u8((*v).into()),
        (Literal::Int(v), DataType::Int8 | DataType::Int16) => out.put_i16((*v).try_into().ok()?),
        (Literal::Int(v), DataType::Int32) => out.put_i32((*v).try_into().ok()?),
        (Literal::Int(v), DataType::Int64) => out.put_i64(*v),
        (Literal::UInt(v), DataType::UInt64) => out.put_i64((*v).try_into().ok()?),
        (Literal::Float(v), DataType::Float32) => out.put_f32(*v as f32),
        (Literal::Float(v), DataType::Float64) => out.put_f64(*v),
        (Literal::Decimal(v), DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => {
            numeric(*v, u8::try_from(*scale).ok()?, out);
        }
        (
            Literal::Text(v),
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View,
        ) => {
            out.put_slice(Some(v.as_bytes()).filter(|bytes| !bytes.contains(&0))?);
        }
        (Literal::Binary(v), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            out.put_slice(v);
        }
        (Literal::Int(v), DataType::Date32) => {
            let days = i32::try_from(*v).ok()?.checked_sub(EPOCH_DAYS)?;
            // From 4713 BC to 5874897 AD.
            out.put_i32(Some(days).filter(|d| (-2_451_545..2_145_031_949).contains(d))?);
        }
        (Literal::Int(v), DataType::Time64(TimeUnit::Microsecond)) => {
            out.put_i64(Some(*v).filter(|v| (0..86_400_000_000).contains(v))?);
        }
        (Literal::Int(v), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let micros = v.checked_sub(EPOCH_MICROS)?;
            // From 4713 BC to 294276 AD.
            let known = -211_813_488_000_000_000..9_223_371_331_200_000_000;
            out.put_i64(Some(micros).filter(|m| known.contains(m))?);
        }
        (Literal::List(items), DataType::List(element)) => list(items, element.data_type(), out)?,
        _ => return None,
    }
    Some(())
}

/// `array_send`: dimensions, whether there are NULLs, the element's type; length and lower bound; each with its length.
fn list(items: &[Literal], element: &DataType, out: &mut BytesMut) -> Option<()> {
    out.put_i32(1);
    out.put_i32(0);
    out.put_u32(sent_as(element).oid());
    out.put_i32(items.len().try_into().ok()?);
    out.put_i32(1);
    for item in items {
        let at = out.len();
        out.put_i32(0);
        encode(item, element, out)?;
        let length = i32::try_from(out.len() - at - 4).ok()?;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Some(())
}

/// Base-10,000 digits aligned at the decimal point.
fn numeric(unscaled: i128, scale: u8, out: &mut BytesMut) {
    let mut rest = unscaled.unsigned_abs();
    let mut digits = Vec::new();
    // The lowest group holds what of the scale does not fill a group of four.
    let partial = u32::from(scale % 4);
    let groups_behind = u16::from(scale).div_ceil(4) as i16;
    if partial > 0 {
        let unit = 10u128.pow(partial);
        digits.push((rest % unit) as i16 * 10i16.pow(4 - partial));
        rest /= unit;
    }
    while rest > 0 {
        digits.push((rest % 10_000) as i16);
        rest /= 10_000;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let weight = digits.len() as i16 - 1 - groups_behind;
    let zero = digits.is_empty();
    out.put_i16(digits.len() as i16);
    out.put_i16(if zero { 0 } else { weight });
    out.put_u16(if unscaled < 0 { 0x4000 } else { 0 });
    out.put_i16(scale.into());
    digits.iter().rev().for_each(|d| out.put_i16(*d));
}
