use std::borrow::Cow;

use arrow::datatypes::{DataType, TimeUnit};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use crate::calendar;

/// Integers that a float holds exactly end here.
const EXACT_FLOAT: i64 = 1 << 53;

/// How a stored value becomes the engine's value: one for each Arrow type that columns are read as.
///
/// [`Reading::read`] gives the *canonical form*, in which expressions see it too: dates as days, timestamps and times as
/// microseconds, booleans as 0 and 1, decimals unscaled (of more than 18 digits as text).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Boolean,
    Integer,
    Real,
    Text,
    Blob,
    Date,
    Time,
    Timestamp,
    Decimal { precision: u8, scale: u8 },
}

/// A value in canonical form.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob(&'a [u8]),
    /// Unscaled.
    Decimal(i128),
}

impl Reading {
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int64 => Self::Integer,
            DataType::Float64 => Self::Real,
            DataType::Utf8 => Self::Text,
            DataType::Binary => Self::Blob,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp,
            DataType::Decimal128(precision, scale) => Self::Decimal {
                precision: *precision,
                scale: u8::try_from(*scale).ok()?,
            },
            _ => return None,
        })
    }

    /// As part of the names of our SQL functions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Text => "text",
            Self::Blob => "blob",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Decimal { .. } => "decimal",
        }
    }

    /// None where the stored value does not fit.
    pub fn read<'a>(self, stored: ValueRef<'a>) -> Option<Cell<'a>> {
        if stored == ValueRef::Null {
            return Some(Cell::Null);
        }
        Some(match self {
            Self::Boolean => Cell::Integer(match stored {
                ValueRef::Integer(value @ (0 | 1)) => value,
                ValueRef::Text(text) if text.eq_ignore_ascii_case(b"true") => 1,
                ValueRef::Text(text) if text.eq_ignore_ascii_case(b"false") => 0,
                _ => return None,
            }),
            Self::Integer => match stored {
                ValueRef::Integer(value) => Cell::Integer(value),
                _ => return None,
            },
            Self::Real => match stored {
                ValueRef::Real(value) => Cell::Real(value),
                ValueRef::Integer(value) if value.abs_diff(0) <= EXACT_FLOAT as u64 => {
                    Cell::Real(value as f64)
                }
                _ => return None,
            },
            Self::Text => Cell::Text(match stored {
                ValueRef::Text(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).ok()?),
                ValueRef::Integer(value) => Cow::Owned(value.to_string()),
                ValueRef::Real(value) => Cow::Owned(format!("{value:?}")),
                _ => return None,
            }),
            Self::Blob => match stored {
                ValueRef::Blob(bytes) => Cell::Blob(bytes),
                _ => return None,
            },
            Self::Date => Cell::Integer(match stored {
                ValueRef::Text(bytes) if let Some(days) = calendar::plain_days(bytes) => days,
                _ => calendar::days(text(stored)?)?,
            }),
            Self::Time => Cell::Integer(calendar::time(text(stored)?)?),
            Self::Timestamp => Cell::Integer(calendar::timestamp(text(stored)?)?),
            Self::Decimal { precision, scale } => Cell::Decimal(decimal(stored, precision, scale)?),
        })
    }

    /// A value that SQL computed in canonical form.
    pub fn canonical<'a>(self, computed: ValueRef<'a>) -> Option<Cell<'a>> {
        match (self, computed) {
            (_, ValueRef::Null) => Some(Cell::Null),
            (Self::Decimal { .. }, ValueRef::Integer(unscaled)) => {
                Some(Cell::Decimal(unscaled.into()))
            }
            (Self::Decimal { .. }, ValueRef::Text(unscaled)) => {
                let unscaled = std::str::from_utf8(unscaled).ok()?;
                unscaled.parse().ok().map(Cell::Decimal)
            }
            (Self::Decimal { .. }, _) => None,
            (Self::Date | Self::Time | Self::Timestamp, ValueRef::Integer(value)) => {
                Some(Cell::Integer(value))
            }
            (Self::Date | Self::Time | Self::Timestamp, _) => None,
            _ => self.read(computed),
        }
    }
}

impl<'a> Cell<'a> {
    /// In canonical form, as a SQL function returns it.
    pub fn into_sql(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(value),
            Self::Real(value) => Value::Real(value),
            Self::Text(text) => Value::Text(text.into_owned()),
            Self::Blob(bytes) => Value::Blob(bytes.to_vec()),
            Self::Decimal(unscaled) => unscaled_to_sql(unscaled),
        }
    }
}

/// A decimal's canonical form.
pub fn unscaled_to_sql(unscaled: i128) -> Value {
    match i64::try_from(unscaled) {
        Ok(small) => Value::Integer(small),
        Err(_) => Value::Text(unscaled.to_string()),
    }
}

/// A parameter to bind.
pub fn param(literal: &belvedere_connector::Literal) -> Option<ToSqlOutput<'_>> {
    use belvedere_connector::Literal;
    Some(match literal {
        Literal::Null => ToSqlOutput::Owned(Value::Null),
        Literal::Boolean(value) => ToSqlOutput::Owned(Value::Integer((*value).into())),
        Literal::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
        Literal::UInt(value) => ToSqlOutput::Owned(Value::Integer(i64::try_from(*value).ok()?)),
        Literal::Float(value) => ToSqlOutput::Owned(Value::Real(*value)),
        Literal::Decimal(unscaled) => ToSqlOutput::Owned(unscaled_to_sql(*unscaled)),
        Literal::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Literal::Binary(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        Literal::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(in_json).collect();
            ToSqlOutput::Owned(Value::Text(serde_json::Value::Array(items?).to_string()))
        }
        Literal::Interval { .. } | Literal::Parameter(_) => return None,
    })
}

/// A constant as `json_each` gives it back.
pub fn in_json(literal: &belvedere_connector::Literal) -> Option<serde_json::Value> {
    use belvedere_connector::Literal;
    Some(match literal {
        Literal::Int(value) => (*value).into(),
        Literal::UInt(value) => i64::try_from(*value).ok()?.into(),
        Literal::Decimal(unscaled) => i64::try_from(*unscaled).ok()?.into(),
        // SQLite's JSON ends a text at a NUL.
        Literal::Text(text) if !text.contains('\0') => text.as_str().into(),
        _ => return None,
    })
}

fn text(stored: ValueRef<'_>) -> Option<&str> {
    match stored {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Digits that a float of SQLite keeps of the decimal that was written.
const FLOAT_DIGITS: u8 = 15;

/// A float is the decimal that was written, rounded to the column's scale, while that has at most 15 digits. (SQLite
/// turns text into such a float where a column's affinity says so, however many digits it loses.)
fn decimal(stored: ValueRef<'_>, precision: u8, scale: u8) -> Option<i128> {
    let (unscaled, digits) = match stored {
        ValueRef::Integer(value) => {
            let factor = 10_i128.checked_pow(scale.into())?;
            (i128::from(value).checked_mul(factor)?, precision)
        }
        ValueRef::Real(value) => {
            let unscaled = match short_decimal(value, scale) {
                Some(unscaled) => unscaled,
                None => parse_decimal(&format!("{value:e}"), scale)?,
            };
            (unscaled, precision.min(FLOAT_DIGITS))
        }
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            (parse_decimal(text, scale)?, precision)
        }
        _ => return None,
    };
    (unscaled.unsigned_abs() < 10_u128.pow(digits.into())).then_some(unscaled)
}

/// The decimal of at most 15 digits, of which this many are behind the point, that this float was written as. There is at most
/// one, and both numbers of the quotient are floats exactly, so that the nearest float to it is the quotient.
fn short_decimal(value: f64, scale: u8) -> Option<i128> {
    if scale > FLOAT_DIGITS {
        return None;
    }
    let factor = 10_f64.powi(scale.into());
    let unscaled = (value * factor).round();
    let is_written =
        unscaled.abs() < 10_f64.powi(FLOAT_DIGITS.into()) && unscaled / factor == value;
    is_written.then_some(unscaled as i128)
}

/// `[±]digits[.digits][e±n]`, rounded half away from zero to `scale`, unscaled.
fn parse_decimal(text: &str, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, magnitude) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut unscaled: i128 = 0;
    // The place of the next digit relative to the last one kept.
    let mut place = i32::try_from(whole.len())
        .ok()?
        .checked_add(exponent)?
        .checked_add(scale.into())?;
    let mut round_up = false;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        place = place.checked_sub(1)?;
        if place >= 0 {
            unscaled = unscaled
                .checked_mul(10)?
                .checked_add((byte - b'0').into())?;
        } else if place == -1 {
            round_up = byte >= b'5';
        }
    }
    if unscaled != 0 && place > 0 {
        unscaled = unscaled.checked_mul(10_i128.checked_pow(u32::try_from(place).ok()?)?)?;
    }
    if round_up {
        unscaled = unscaled.checked_add(1)?;
    }
    Some(if negative { -unscaled } else { unscaled })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal_of(stored: ValueRef<'_>, precision: u8, scale: u8) -> Option<i128> {
        match (Reading::Decimal { precision, scale }).read(stored) {
            Some(Cell::Decimal(unscaled)) => Some(unscaled),
            _ => None,
        }
    }

    #[test]
    fn decimals_are_what_was_written() {
        for (stored, expected) in [
            (0.1 + 0.2, Some(30)),
            (12.345, Some(1235)),
            (-12.345, Some(-1235)),
            (1.005, Some(101)),
            (9_999_999_999.99, Some(999_999_999_999)),
            (9_999_999_999.995, None),
            (1e300, None),
            (-1e-300, Some(0)),
            (f64::INFINITY, None),
        ] {
            assert_eq!(
                decimal_of(ValueRef::Real(stored), 12, 2),
                expected,
                "{stored}"
            );
        }
        for (stored, expected) in [
            ("12345678901234567.89", Some(1_234_567_890_123_456_789)),
            (".5", Some(50)),
            ("1e3", Some(100_000)),
            ("", None),
            (".", None),
            ("1 000", None),
            ("1e999999999999", None),
            ("abc", None),
        ] {
            assert_eq!(
                decimal_of(ValueRef::Text(stored.as_bytes()), 20, 2),
                expected,
                "{stored}"
            );
        }
        for scale in [0, 1, 2, 7, 14, 15, 16] {
            let mut seed = 1_u64;
            for i in 0..20_000 {
                seed = seed
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let value = match i % 3 {
                    0 => (seed >> 30) as f64 / 10_f64.powi((seed % 20) as i32),
                    1 => -((seed >> 14) as f64) / 10_f64.powi((seed % 20) as i32),
                    _ => f64::from_bits(seed),
                };
                let written = parse_decimal(&format!("{value:e}"), scale);
                if let Some(short) = short_decimal(value, scale) {
                    assert_eq!(Some(short), written, "{value:e}");
                }
            }
        }
        assert_eq!(short_decimal(901.25, 2), Some(90_125));
        assert_eq!(decimal_of(ValueRef::Real(1e15), 20, 2), None);
        assert_eq!(decimal_of(ValueRef::Real(0.3), 20, 2), Some(30));
        assert_eq!(
            decimal_of(ValueRef::Integer(i64::MAX), 38, 10),
            Some(92_233_720_368_547_758_070_000_000_000)
        );
        assert_eq!(decimal_of(ValueRef::Integer(i64::MAX), 38, 30), None);
    }
}
