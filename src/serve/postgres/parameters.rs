//! The values of parameters, as clients send them.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::{DataType, Field, IntervalMonthDayNano, TimeUnit, i256};
use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;

use super::messages::Format;
use super::{numeric, times};
use crate::engine::{PgType, bytes_of, uuid_of};
use crate::error::{Error, Result};

/// Texts that are not called so: `unknown`, `varchar`, `bpchar`, `xml`, `citext` has no number of its own.
const TEXTS: &[u32] = &[0, 705, 1042, 1043, 142];
/// Arrays of those that have one.
const TEXT_ARRAYS: &[u32] = &[1014, 1015, 143];
const UUID: u32 = 2950;
const UUID_ARRAY: u32 = 2951;
const JSONB: u32 = 3802;
const JSONB_ARRAY: u32 = 3807;

/// The type of a parameter of which a client says this. None: it is none that is known here.
pub(super) fn declared(oid: u32) -> Option<PgType> {
    match oid {
        oid if TEXTS.contains(&oid) => Some(PgType::TEXT),
        UUID | JSONB => Some(PgType::TEXT),
        oid if TEXT_ARRAYS.contains(&oid) => PgType::by_oid(PgType::TEXT.array_oid),
        UUID_ARRAY | JSONB_ARRAY => PgType::by_oid(PgType::TEXT.array_oid),
        oid => PgType::by_oid(oid),
    }
}

/// What the values of a parameter of this type are here, where nothing else tells: a `numeric` has as many digits as its value, but
/// what is computed of it has to have a scale before there is one.
pub(super) fn data_type(of: PgType) -> DataType {
    let scalar = |of: PgType| match of {
        PgType::BOOL => DataType::Boolean,
        PgType::INT2 => DataType::Int16,
        PgType::INT4 => DataType::Int32,
        PgType::INT8 | PgType::OID => DataType::Int64,
        PgType::FLOAT4 => DataType::Float32,
        PgType::FLOAT8 => DataType::Float64,
        PgType::NUMERIC => DataType::Decimal256(76, 20),
        PgType::BYTEA => DataType::Binary,
        PgType::DATE => DataType::Date32,
        PgType::TIME => DataType::Time64(TimeUnit::Microsecond),
        PgType::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        PgType::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        PgType::INTERVAL => {
            DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano)
        }
        _ => DataType::Utf8,
    };
    match of.item() {
        Some(item) => DataType::List(Arc::new(Field::new_list_field(scalar(item), true))),
        None => scalar(of),
    }
}

/// What a value may be, besides what it is.
pub(super) struct Sent<'a> {
    /// From 1, as in the statement.
    pub number: usize,
    /// As the client declared it, or 0.
    pub declared: u32,
    pub of: PgType,
    pub format: Format,
    pub zone: &'a Tz,
}

impl Sent<'_> {
    pub fn read(&self, value: Option<&Bytes>) -> Result<ScalarValue> {
        let Some(bytes) = value else {
            return Ok(ScalarValue::try_from(&data_type(self.of))?);
        };
        match self.format {
            Format::Text => {
                let text = std::str::from_utf8(bytes).map_err(|_| self.not_utf8())?;
                self.text(self.of, self.declared, text)
            }
            Format::Binary => self.binary(self.of, self.declared, bytes),
        }
    }

    fn text(&self, of: PgType, declared: u32, text: &str) -> Result<ScalarValue> {
        if let Some(item) = of.item() {
            let items = literal_items(text).ok_or_else(|| self.unlike(of))?;
            let item_declared = match declared {
                UUID_ARRAY => UUID,
                _ => item.oid,
            };
            let items = items.iter().map(|item_text| match item_text {
                Some(text) => self.text(item, item_declared, text),
                None => Ok(ScalarValue::try_from(&data_type(item))?),
            });
            return self.list(item, items.collect::<Result<_>>()?);
        }
        let trimmed = text.trim();
        let cast = |data_type: DataType| {
            let text = ScalarValue::Utf8(Some(trimmed.to_string()));
            text.cast_to(&data_type).map_err(|_| self.unlike(of))
        };
        match of {
            PgType::BOOL => {
                let lower = trimmed.to_ascii_lowercase();
                let is = |word: &str| !lower.is_empty() && word.starts_with(&lower);
                let truth = match lower.as_str() {
                    "1" | "on" => Some(true),
                    "0" | "off" | "of" => Some(false),
                    _ if is("true") || is("yes") => Some(true),
                    _ if is("false") || is("no") => Some(false),
                    _ => None,
                };
                let truth = truth.ok_or_else(|| self.unlike(of))?;
                Ok(ScalarValue::Boolean(Some(truth)))
            }
            PgType::NUMERIC => self.decimal(trimmed),
            PgType::BYTEA => Ok(ScalarValue::Binary(Some(
                bytes_of(text).ok_or_else(|| self.unlike(of))?,
            ))),
            PgType::INTERVAL => {
                let value = times::parse_interval(trimmed).ok_or_else(|| self.unlike(of))?;
                Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
            }
            PgType::TIMESTAMPTZ => {
                // Without a zone of its own it is of the session's.
                let zone =
                    DataType::Timestamp(TimeUnit::Microsecond, Some(self.zone.to_string().into()));
                cast(zone)?
                    .cast_to(&data_type(of))
                    .map_err(|_| self.unlike(of))
            }
            // One spelling of many: by bytes it would be equal to itself alone.
            PgType::TEXT if declared == UUID => {
                let written = uuid_of(trimmed).ok_or_else(|| self.unlike_type("uuid"))?;
                Ok(ScalarValue::Utf8(Some(written)))
            }
            PgType::TEXT | PgType::JSON | PgType::NAME | PgType::CHAR => {
                Ok(ScalarValue::Utf8(Some(text.to_string())))
            }
            of => cast(data_type(of)),
        }
    }

    fn binary(&self, of: PgType, declared: u32, bytes: &[u8]) -> Result<ScalarValue> {
        if let Some(item) = of.item() {
            return self.binary_list(of, item, bytes);
        }
        let wrong = || Error::Protocol {
            message: format!(
                "parameter ${} has {} bytes, which is no binary {}",
                self.number,
                bytes.len(),
                of.name
            ),
            sqlstate: "22P03",
        };
        macro_rules! number {
            ($type:ty) => {
                <$type>::from_be_bytes(bytes.try_into().map_err(|_| wrong())?)
            };
        }
        Ok(match of {
            PgType::BOOL => match bytes {
                [0] => ScalarValue::Boolean(Some(false)),
                [1] => ScalarValue::Boolean(Some(true)),
                _ => return Err(wrong()),
            },
            PgType::INT2 => ScalarValue::Int16(Some(number!(i16))),
            PgType::INT4 => ScalarValue::Int32(Some(number!(i32))),
            PgType::INT8 => ScalarValue::Int64(Some(number!(i64))),
            PgType::OID => ScalarValue::Int64(Some(i64::from(number!(u32)))),
            PgType::FLOAT4 => ScalarValue::Float32(Some(number!(f32))),
            PgType::FLOAT8 => ScalarValue::Float64(Some(number!(f64))),
            PgType::NUMERIC => {
                let text = numeric::from_binary(bytes).ok_or_else(wrong)?;
                self.decimal(&text)?
            }
            PgType::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
            PgType::DATE => {
                let days = times::from_binary_date(number!(i32)).ok_or_else(wrong)?;
                ScalarValue::Date32(Some(days))
            }
            PgType::TIME => ScalarValue::Time64Microsecond(Some(number!(i64))),
            PgType::TIMESTAMP => {
                let at = times::from_binary_timestamp(number!(i64)).ok_or_else(wrong)?;
                ScalarValue::TimestampMicrosecond(Some(at), None)
            }
            PgType::TIMESTAMPTZ => {
                let at = times::from_binary_timestamp(number!(i64)).ok_or_else(wrong)?;
                ScalarValue::TimestampMicrosecond(Some(at), Some("+00:00".into()))
            }
            PgType::INTERVAL => {
                let (time, days_and_months) = bytes.split_at_checked(8).ok_or_else(wrong)?;
                let (days, months) = days_and_months.split_at_checked(4).ok_or_else(wrong)?;
                let field = |bytes: &[u8]| bytes.try_into().ok().map(i32::from_be_bytes);
                let (days, months) = (
                    field(days).ok_or_else(wrong)?,
                    field(months).ok_or_else(wrong)?,
                );
                let time = i64::from_be_bytes(time.try_into().map_err(|_| wrong())?);
                let nanoseconds = time.checked_mul(1000).ok_or_else(wrong)?;
                let value = IntervalMonthDayNano::new(months, days, nanoseconds);
                ScalarValue::IntervalMonthDayNano(Some(value))
            }
            _ => {
                let text = match declared {
                    UUID => uuid(bytes).ok_or_else(wrong)?,
                    // Its first byte is a version.
                    JSONB => match bytes.split_first() {
                        Some((1, json)) => self.utf8(json)?,
                        _ => return Err(wrong()),
                    },
                    _ => self.utf8(bytes)?,
                };
                ScalarValue::Utf8(Some(text))
            }
        })
    }

    /// One dimension, or none for no items.
    fn binary_list(&self, of: PgType, item: PgType, bytes: &[u8]) -> Result<ScalarValue> {
        let wrong = || self.unlike(of);
        let mut left = bytes;
        let mut next = || {
            let (field, rest) = left.split_first_chunk::<4>()?;
            left = rest;
            Some(i32::from_be_bytes(*field))
        };
        let (dimensions, _, item_oid) = (next(), next(), next());
        let item_oid = item_oid.ok_or_else(wrong)?.cast_unsigned();
        let count = match dimensions {
            Some(0) => 0,
            Some(1) => {
                let count = next();
                next().ok_or_else(wrong)?;
                usize::try_from(count.ok_or_else(wrong)?).map_err(|_| wrong())?
            }
            _ => return Err(wrong()),
        };
        let mut items = Vec::with_capacity(count.min(bytes.len()));
        for _ in 0..count {
            let (length, rest) = left.split_first_chunk::<4>().ok_or_else(wrong)?;
            left = rest;
            items.push(match i32::from_be_bytes(*length) {
                -1 => ScalarValue::try_from(&data_type(item))?,
                length => {
                    let length = usize::try_from(length).map_err(|_| wrong())?;
                    let (value, rest) = left.split_at_checked(length).ok_or_else(wrong)?;
                    left = rest;
                    self.binary(item, item_oid, value)?
                }
            });
        }
        self.list(item, items)
    }

    /// Its items are of one type; of decimals, of one that has room for all.
    fn list(&self, item: PgType, items: Vec<ScalarValue>) -> Result<ScalarValue> {
        let item_type = data_type(item);
        let cast = |value: ScalarValue| value.cast_to(&item_type);
        let items = items.into_iter().map(cast);
        let items = items.collect::<std::result::Result<Vec<_>, DataFusionError>>()?;
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(
            &items, &item_type,
        )))
    }

    /// With as many digits as it has.
    fn decimal(&self, text: &str) -> Result<ScalarValue> {
        let unlike = || self.unlike(PgType::NUMERIC);
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().map_err(|_| unlike())?),
            None => (text, 0i32),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        if !is_number(unsigned)
            || !is_number(fraction)
            || (unsigned.is_empty() && fraction.is_empty())
        {
            return Err(unlike());
        }
        let scale = i32::try_from(fraction.len())
            .unwrap_or(i32::MAX)
            .saturating_sub(exponent);
        let zeros = usize::try_from(-scale.min(0)).unwrap_or(0);
        let scale = scale.max(0);
        if zeros > 76 || scale > 76 {
            return Err(self.too_long());
        }
        let sign = if whole.starts_with('-') { "-" } else { "" };
        let digits = format!("{unsigned}{fraction}{}", "0".repeat(zeros));
        let digits = digits.trim_start_matches('0');
        let value = match digits.is_empty() {
            true => Some(i256::ZERO),
            false => i256::from_string(&format!("{sign}{digits}")),
        };
        let precision = digits.len().max(scale as usize).max(1);
        match (value, precision, value.and_then(i256::to_i128)) {
            (Some(_), ..=38, Some(small)) => {
                Ok(ScalarValue::Decimal128(Some(small), 38, scale as i8))
            }
            (Some(large), ..=76, _) => Ok(ScalarValue::Decimal256(Some(large), 76, scale as i8)),
            _ => Err(self.too_long()),
        }
    }

    fn utf8(&self, bytes: &[u8]) -> Result<String> {
        String::from_utf8(bytes.to_vec()).map_err(|_| self.not_utf8())
    }

    fn not_utf8(&self) -> Error {
        Error::Protocol {
            message: format!("parameter ${} is not UTF-8", self.number),
            sqlstate: "22021",
        }
    }

    fn unlike(&self, of: PgType) -> Error {
        let array = if of.is_array() { "[]" } else { "" };
        self.unlike_type(&format!("{}{array}", of.name))
    }

    fn unlike_type(&self, of: &str) -> Error {
        Error::Protocol {
            message: format!("parameter ${} is no value of type {of}", self.number),
            sqlstate: "22P02",
        }
    }

    fn too_long(&self) -> Error {
        Error::Protocol {
            message: format!("parameter ${} has more than 76 digits", self.number),
            sqlstate: "22003",
        }
    }
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let parts = [
        &bytes[..4],
        &bytes[4..6],
        &bytes[6..8],
        &bytes[8..10],
        &bytes[10..],
    ];
    Some(parts.map(hex).join("-"))
}

/// The items of `{1,NULL,"a \"b\""}`: one dimension.
fn literal_items(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut chars = inside.chars().peekable();
    while chars.peek().is_some_and(|c| c.is_whitespace()) {
        chars.next();
    }
    if chars.peek().is_none() {
        return Some(items);
    }
    loop {
        while chars.peek().is_some_and(|c| c.is_whitespace()) {
            chars.next();
        }
        let mut item = String::new();
        let is_quoted = chars.next_if_eq(&'"').is_some();
        let end = loop {
            match chars.next() {
                Some('\\') => item.push(chars.next()?),
                Some('"') if is_quoted => {
                    while chars.next_if(|c| c.is_whitespace()).is_some() {}
                    break chars.next();
                }
                Some(',') if !is_quoted => break Some(','),
                Some('{' | '}' | '"') if !is_quoted => return None,
                Some(c) => item.push(c),
                None if is_quoted => return None,
                None => break None,
            }
        };
        if !is_quoted {
            item.truncate(item.trim_end().len());
            if item.is_empty() {
                return None;
            }
        }
        let is_null = !is_quoted && item.eq_ignore_ascii_case("null");
        items.push((!is_null).then_some(item));
        match end {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(of: PgType, format: Format, value: &[u8]) -> Result<ScalarValue> {
        let zone: Tz = "Europe/Berlin".parse().unwrap();
        let sent = Sent {
            number: 1,
            declared: of.oid,
            of,
            format,
            zone: &zone,
        };
        sent.read(Some(&Bytes::copy_from_slice(value)))
    }

    fn text(of: PgType, value: &str) -> Result<ScalarValue> {
        sent(of, Format::Text, value.as_bytes())
    }

    #[test]
    fn texts_are_read() {
        let decimal = |value, scale| ScalarValue::Decimal128(Some(value), 38, scale);
        assert_eq!(text(PgType::NUMERIC, "-1.50").unwrap(), decimal(-150, 2));
        assert_eq!(text(PgType::NUMERIC, "1.5e3").unwrap(), decimal(1500, 0));
        assert_eq!(text(PgType::NUMERIC, ".5").unwrap(), decimal(5, 1));
        assert_eq!(text(PgType::NUMERIC, "0.000").unwrap(), decimal(0, 3));
        assert!(text(PgType::NUMERIC, "NaN").is_err());
        assert_eq!(
            text(PgType::BOOL, "t").unwrap(),
            ScalarValue::Boolean(Some(true))
        );
        assert!(text(PgType::BOOL, "").is_err());
        let summer = text(PgType::TIMESTAMPTZ, "2025-07-01 02:00:00").unwrap();
        let utc = Some("+00:00".into());
        assert_eq!(
            summer,
            ScalarValue::TimestampMicrosecond(Some(1_751_328_000_000_000), utc)
        );
        let e = text(PgType::INT4, "secret").unwrap_err();
        assert_eq!(e.sqlstate(), "22P02");
        assert!(!e.to_string().contains("secret"));
    }

    #[test]
    fn a_uuid_is_read_in_every_spelling() {
        let shown = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for spelling in [
            shown,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(uuid_of(spelling).as_deref(), Some(shown), "{spelling}");
        }
        for other in [
            "",
            "{}",
            "a0eebc99",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0e-ebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1g",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11ff",
        ] {
            assert_eq!(uuid_of(other), None, "{other}");
        }
        let zone: Tz = "UTC".parse().unwrap();
        let sent = |declared, value: &'static str| {
            let sent = Sent {
                number: 1,
                declared,
                of: super::declared(declared).unwrap(),
                format: Format::Text,
                zone: &zone,
            };
            sent.read(Some(&Bytes::from_static(value.as_bytes())))
        };
        let upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
        assert_eq!(sent(UUID, upper).unwrap(), ScalarValue::from(shown));
        assert_eq!(sent(0, upper).unwrap(), ScalarValue::from(upper));
        let e = sent(UUID, "secret").unwrap_err();
        assert_eq!(e.sqlstate(), "22P02");
        assert_eq!(e.to_string(), "parameter $1 is no value of type uuid");
        let many = sent(UUID_ARRAY, "{A0EEBC999C0B4EF8BB6D6BB9BD380A11,NULL}").unwrap();
        let items = [ScalarValue::from(shown), ScalarValue::Utf8(None)];
        let list = ScalarValue::new_list_nullable(&items, &DataType::Utf8);
        assert_eq!(many, ScalarValue::List(list));
    }

    #[test]
    fn bytes_and_arrays_are_read() {
        assert_eq!(bytes_of("\\x0aFF"), Some(vec![10, 255]));
        assert_eq!(bytes_of("\\xABC"), None);
        assert_eq!(bytes_of("a\\\\\\001"), Some(vec![b'a', b'\\', 1]));
        let items = |text: &str| literal_items(text).unwrap();
        assert_eq!(items("{}"), Vec::<Option<String>>::new());
        assert_eq!(
            items("{1, NULL,\"NULL\",\"a,\\\"b\"}"),
            [
                Some("1".into()),
                None,
                Some("NULL".into()),
                Some("a,\"b".into())
            ]
        );
        assert_eq!(literal_items("{1,,2}"), None);
        assert_eq!(literal_items("1"), None);
    }

    #[test]
    fn a_binary_value_of_another_length_is_refused() {
        for of in PgType::ALL {
            let e = sent(*of, Format::Binary, &[0xff, 0xfe, 0xfd]);
            if of.length > 0 && !matches!(*of, PgType::NAME | PgType::CHAR) {
                assert_eq!(e.unwrap_err().sqlstate(), "22P03", "{}", of.name);
            }
        }
    }
}
