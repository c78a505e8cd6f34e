//! Values in JSON. Numbers are JSON's as far as every client reads them exactly: integers to 2^53, floats that are finite. Larger
//! integers and all decimals are texts, as are dates and times (RFC 3339, in UTC where they have a zone), intervals (ISO
//! 8601) and binaries (base64).

use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{NaiveDateTime, NaiveTime};
use datafusion::arrow::array::temporal_conversions::{
    date32_to_datetime, date64_to_datetime, time32ms_to_time, time32s_to_time, time64ns_to_time,
    time64us_to_time, timestamp_ms_to_datetime, timestamp_ns_to_datetime, timestamp_s_to_datetime,
    timestamp_us_to_datetime,
};
use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, Schema, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::DataFusionError;

use crate::error::{Error, Result};

/// Integers up to it are exact in clients whose numbers are all floats.
const EXACT: u64 = 1 << 53;

/// Writes rows of a schema.
pub(super) struct Writer {
    /// `"name":` of each column.
    names: Vec<Vec<u8>>,
}

impl Writer {
    pub fn new(schema: &Schema) -> Self {
        let names = schema.fields().iter().map(|field| {
            let mut name = Vec::new();
            text(&mut name, field.name());
            name.push(b':');
            name
        });
        Self {
            names: names.collect(),
        }
    }

    /// `{"name":value,…}`
    pub fn object(&self, out: &mut Vec<u8>, rows: &RecordBatch, row: usize) -> Result<()> {
        out.push(b'{');
        for (at, (name, column)) in self.names.iter().zip(rows.columns()).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            value(out, column, row)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// `[value,…]`
    pub fn array(&self, out: &mut Vec<u8>, rows: &RecordBatch, row: usize) -> Result<()> {
        out.push(b'[');
        for (at, column) in rows.columns().iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            value(out, column, row)?;
        }
        out.push(b']');
        Ok(())
    }
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    // Texts can always be written, to memory too.
    let _ = serde_json::to_writer(out, text);
}

fn out_of_range() -> Error {
    Error::Data {
        message: "a date or time is out of the range of its type".into(),
        sqlstate: "22008",
    }
}

/// Text without anything that has to be escaped.
fn plain(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = write!(out, "\"{text}\"");
}

fn get<T: ArrowPrimitiveType>(column: &ArrayRef, row: usize) -> T::Native {
    column.as_primitive::<T>().value(row)
}

fn signed(out: &mut Vec<u8>, value: i64) {
    let _ = match value.unsigned_abs() <= EXACT {
        true => write!(out, "{value}"),
        false => write!(out, "\"{value}\""),
    };
}

fn unsigned(out: &mut Vec<u8>, value: u64) {
    let _ = match value <= EXACT {
        true => write!(out, "{value}"),
        false => write!(out, "\"{value}\""),
    };
}

fn float(out: &mut Vec<u8>, value: f64, is_single: bool) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        let said: &[u8] = if value > 0.0 {
            b"\"Infinity\""
        } else {
            b"\"-Infinity\""
        };
        out.extend_from_slice(said);
    } else {
        let _ = match is_single {
            true => serde_json::to_writer(out, &(value as f32)),
            false => serde_json::to_writer(out, &value),
        };
    }
}

fn time(out: &mut Vec<u8>, time: Option<NaiveTime>) -> Result<()> {
    let time = time.ok_or_else(out_of_range)?;
    plain(out, format_args!("{}", time.format("%H:%M:%S%.f")));
    Ok(())
}

fn timestamp(out: &mut Vec<u8>, at: Option<NaiveDateTime>, has_zone: bool) -> Result<()> {
    let at = at.ok_or_else(out_of_range)?;
    let zone = if has_zone { "Z" } else { "" };
    plain(
        out,
        format_args!("{}{zone}", at.format("%Y-%m-%dT%H:%M:%S%.f")),
    );
    Ok(())
}

fn interval(out: &mut Vec<u8>, value: IntervalMonthDayNano) {
    let (months, days, nanoseconds) = (value.months, value.days, value.nanoseconds);
    let mut said = String::from("P");
    for (count, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if count != 0 {
            said.push_str(&format!("{count}{unit}"));
        }
    }
    if nanoseconds != 0 || said.len() == 1 {
        let sign = if nanoseconds < 0 { "-" } else { "" };
        let (seconds, fraction) = (
            nanoseconds.unsigned_abs() / 1_000_000_000,
            nanoseconds.unsigned_abs() % 1_000_000_000,
        );
        let fraction = match fraction {
            0 => String::new(),
            fraction => format!(".{fraction:09}").trim_end_matches('0').to_string(),
        };
        said.push_str(&format!("T{sign}{seconds}{fraction}S"));
    }
    plain(out, format_args!("{said}"));
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    plain(out, format_args!("{}", STANDARD.encode(bytes)));
}

fn list(out: &mut Vec<u8>, items: &ArrayRef) -> Result<()> {
    out.push(b'[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(b',');
        }
        value(out, items, row)?;
    }
    out.push(b']');
    Ok(())
}

/// One value of a column.
pub(super) fn value(out: &mut Vec<u8>, column: &ArrayRef, row: usize) -> Result<()> {
    // Where it says of itself which values are NULL; what has others' values in it does not.
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match column.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Boolean => {
            let said: &[u8] = match column.as_boolean().value(row) {
                true => b"true",
                false => b"false",
            };
            out.extend_from_slice(said);
        }
        DataType::Int8 => signed(out, get::<Int8Type>(column, row).into()),
        DataType::Int16 => signed(out, get::<Int16Type>(column, row).into()),
        DataType::Int32 => signed(out, get::<Int32Type>(column, row).into()),
        DataType::Int64 => signed(out, get::<Int64Type>(column, row)),
        DataType::UInt8 => unsigned(out, get::<UInt8Type>(column, row).into()),
        DataType::UInt16 => unsigned(out, get::<UInt16Type>(column, row).into()),
        DataType::UInt32 => unsigned(out, get::<UInt32Type>(column, row).into()),
        DataType::UInt64 => unsigned(out, get::<UInt64Type>(column, row)),
        DataType::Float16 => float(out, get::<Float16Type>(column, row).to_f64(), true),
        DataType::Float32 => float(out, get::<Float32Type>(column, row).into(), true),
        DataType::Float64 => float(out, get::<Float64Type>(column, row), false),
        DataType::Utf8 => text(out, column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(out, column.as_string::<i64>().value(row)),
        DataType::Utf8View => text(out, column.as_string_view().value(row)),
        DataType::Binary => binary(out, column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => binary(out, column.as_binary::<i64>().value(row)),
        DataType::BinaryView => binary(out, column.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => binary(out, column.as_fixed_size_binary().value(row)),
        DataType::Decimal32(_, _) => {
            let decimals = column.as_primitive::<Decimal32Type>();
            plain(out, format_args!("{}", decimals.value_as_string(row)));
        }
        DataType::Decimal64(_, _) => {
            let decimals = column.as_primitive::<Decimal64Type>();
            plain(out, format_args!("{}", decimals.value_as_string(row)));
        }
        DataType::Decimal128(_, _) => {
            let decimals = column.as_primitive::<Decimal128Type>();
            plain(out, format_args!("{}", decimals.value_as_string(row)));
        }
        DataType::Decimal256(_, _) => {
            let decimals = column.as_primitive::<Decimal256Type>();
            plain(out, format_args!("{}", decimals.value_as_string(row)));
        }
        DataType::Date32 => {
            let date = date32_to_datetime(get::<Date32Type>(column, row));
            let date = date.ok_or_else(out_of_range)?.date();
            plain(out, format_args!("{date}"));
        }
        DataType::Date64 => {
            let date = date64_to_datetime(get::<Date64Type>(column, row));
            let date = date.ok_or_else(out_of_range)?.date();
            plain(out, format_args!("{date}"));
        }
        DataType::Time32(TimeUnit::Second) => {
            time(out, time32s_to_time(get::<Time32SecondType>(column, row)))?;
        }
        DataType::Time32(_) => {
            time(
                out,
                time32ms_to_time(get::<Time32MillisecondType>(column, row)),
            )?;
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            time(
                out,
                time64us_to_time(get::<Time64MicrosecondType>(column, row)),
            )?;
        }
        DataType::Time64(_) => {
            time(
                out,
                time64ns_to_time(get::<Time64NanosecondType>(column, row)),
            )?;
        }
        DataType::Timestamp(unit, zone) => {
            let at = match unit {
                TimeUnit::Second => {
                    timestamp_s_to_datetime(get::<TimestampSecondType>(column, row))
                }
                TimeUnit::Millisecond => {
                    timestamp_ms_to_datetime(get::<TimestampMillisecondType>(column, row))
                }
                TimeUnit::Microsecond => {
                    timestamp_us_to_datetime(get::<TimestampMicrosecondType>(column, row))
                }
                TimeUnit::Nanosecond => {
                    timestamp_ns_to_datetime(get::<TimestampNanosecondType>(column, row))
                }
            };
            timestamp(out, at, zone.is_some())?;
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = get::<IntervalYearMonthType>(column, row);
            interval(out, IntervalMonthDayNano::new(months, 0, 0));
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = get::<IntervalDayTimeType>(column, row);
            let nanoseconds = i64::from(value.milliseconds) * 1_000_000;
            interval(out, IntervalMonthDayNano::new(0, value.days, nanoseconds));
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            interval(out, get::<IntervalMonthDayNanoType>(column, row));
        }
        DataType::List(_) => list(out, &column.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(out, &column.as_list::<i64>().value(row))?,
        DataType::ListView(_) => list(out, &column.as_list_view::<i32>().value(row))?,
        DataType::LargeListView(_) => list(out, &column.as_list_view::<i64>().value(row))?,
        DataType::FixedSizeList(_, _) => list(out, &column.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            out.push(b'{');
            let parts = column.as_struct().columns();
            for (at, (field, part)) in fields.iter().zip(parts).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                text(out, field.name());
                out.push(b':');
                value(out, part, row)?;
            }
            out.push(b'}');
        }
        DataType::Map(_, _) => {
            // Keys may be of any type: an object's are texts.
            let entries = column.as_map().value(row);
            let entries: ArrayRef = Arc::new(entries);
            list(out, &entries)?;
        }
        _ => {
            let said = array_value_to_string(column, row).map_err(DataFusionError::from)?;
            text(out, &said);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::scalar::ScalarValue;

    use super::*;

    fn said(scalar: ScalarValue) -> String {
        let mut out = Vec::new();
        value(&mut out, &scalar.to_array().unwrap(), 0).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_what_every_client_reads_exactly() {
        for (scalar, expected) in [
            (ScalarValue::Null, "null"),
            (ScalarValue::Int64(Some(1 << 53)), "9007199254740992"),
            (
                ScalarValue::Int64(Some((1 << 53) + 1)),
                "\"9007199254740993\"",
            ),
            (
                ScalarValue::Int64(Some(i64::MIN)),
                "\"-9223372036854775808\"",
            ),
            (
                ScalarValue::UInt64(Some(u64::MAX)),
                "\"18446744073709551615\"",
            ),
            (ScalarValue::Float64(Some(0.1)), "0.1"),
            (ScalarValue::Float32(Some(0.1)), "0.1"),
            (ScalarValue::Float64(Some(f64::NAN)), "\"NaN\""),
            (
                ScalarValue::Float64(Some(f64::NEG_INFINITY)),
                "\"-Infinity\"",
            ),
            (ScalarValue::Decimal128(Some(-1250), 10, 2), "\"-12.50\""),
            (ScalarValue::from("a\"\n\u{1}é"), "\"a\\\"\\n\\u0001é\""),
            (ScalarValue::Binary(Some(vec![0, 255])), "\"AP8=\""),
            (ScalarValue::Date32(Some(19_782)), "\"2024-02-29\""),
            (
                ScalarValue::Time64Microsecond(Some(3_723_500_000)),
                "\"01:02:03.500\"",
            ),
            (
                ScalarValue::TimestampMicrosecond(Some(1_500_000), None),
                "\"1970-01-01T00:00:01.500\"",
            ),
            (
                ScalarValue::TimestampMicrosecond(Some(0), Some("Europe/Berlin".into())),
                "\"1970-01-01T00:00:00Z\"",
            ),
            (
                ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(
                    14,
                    -3,
                    1_500_000_000,
                ))),
                "\"P1Y2M-3DT1.5S\"",
            ),
            (
                ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, 0))),
                "\"PT0S\"",
            ),
        ] {
            assert_eq!(said(scalar.clone()), expected, "{scalar:?}");
        }
        let items = [Some(1), None].map(ScalarValue::Int32);
        let list = ScalarValue::new_list(&items, &DataType::Int32, true);
        assert_eq!(said(ScalarValue::List(list)), "[1,null]");
    }
}
