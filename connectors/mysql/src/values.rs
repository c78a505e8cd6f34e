use std::fmt::{self, Write};

use arrow::array::types::{Decimal256Type, DecimalType};
use arrow::datatypes::i256;
use mysql_async::Value;
use mysql_async::consts::ColumnType;

use crate::decode::Wire;

pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

/// Why a value cannot be read as its column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It is of another kind than the column's type: the table was altered.
    Kind,
    /// It is outside the type's range, or has digits the type has not.
    Range,
    /// No calendar has this date.
    Date,
    /// Not a time of a day.
    TimeOfDay,
    Utf8,
}

/// A whole number. Decimals and text are taken where a decision asks for it, or where the server computed a decimal
/// of a whole number (`sum` of integers).
pub(crate) fn integer(value: &Value, wire: Wire, decided: bool) -> Result<i128, Misfit> {
    match value {
        Value::Int(v) => Ok(i128::from(*v)),
        Value::UInt(v) => Ok(i128::from(*v)),
        Value::Bytes(bytes) if wire.kind == ColumnType::MYSQL_TYPE_BIT && bytes.len() <= 8 => {
            Ok(bytes.iter().fold(0, |n, b| n << 8 | i128::from(*b)))
        }
        Value::Bytes(bytes) if decided || is_decimal(wire.kind) => {
            unscaled(bytes, 0)?.to_i128().ok_or(Misfit::Range)
        }
        _ => Err(Misfit::Kind),
    }
}

fn is_decimal(kind: ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL
    )
}

pub(crate) fn float(value: &Value, decided: bool) -> Result<f64, Misfit> {
    match value {
        Value::Double(v) => Ok(*v),
        Value::Float(v) if decided => Ok(f64::from(*v)),
        Value::Int(v) if decided => Ok(*v as f64),
        Value::UInt(v) if decided => Ok(*v as f64),
        Value::Bytes(bytes) if decided => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|v: &f64| v.is_finite())
            .ok_or(Misfit::Range),
        _ => Err(Misfit::Kind),
    }
}

/// An exact decimal, unscaled; digits beyond the scale must be zero.
pub(crate) fn decimal(value: &Value, precision: u8, scale: i8) -> Result<i256, Misfit> {
    let unscaled = match value {
        Value::Bytes(bytes) => unscaled(bytes, scale)?,
        Value::Int(v) => unscaled(v.to_string().as_bytes(), scale)?,
        Value::UInt(v) => unscaled(v.to_string().as_bytes(), scale)?,
        _ => return Err(Misfit::Kind),
    };
    match Decimal256Type::is_valid_decimal_precision(unscaled, precision) {
        true => Ok(unscaled),
        false => Err(Misfit::Range),
    }
}

/// `-123.4500` at scale 2 is -12345.
fn unscaled(text: &[u8], scale: i8) -> Result<i256, Misfit> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (whole, fraction) = match digits.iter().position(|b| *b == b'.') {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Misfit::Kind);
    }
    let scale = usize::try_from(scale).map_err(|_| Misfit::Range)?;
    let (kept, cut) = fraction.split_at(fraction.len().min(scale));
    if cut.iter().any(|b| *b != b'0') {
        return Err(if cut.iter().all(u8::is_ascii_digit) {
            Misfit::Range
        } else {
            Misfit::Kind
        });
    }
    let zeros = std::iter::repeat_n(&b'0', scale - kept.len());
    // Most decimals fit 128 bits, whose arithmetic is several times faster.
    let mut small: i128 = 0;
    let mut large: Option<i256> = None;
    for digit in whole.iter().chain(kept).chain(zeros) {
        if !digit.is_ascii_digit() {
            return Err(Misfit::Kind);
        }
        let digit = i128::from(digit - b'0');
        match large {
            None => match small.checked_mul(10).and_then(|n| n.checked_add(digit)) {
                Some(n) => small = n,
                None => large = Some(shift(i256::from_i128(small), digit)?),
            },
            Some(n) => large = Some(shift(n, digit)?),
        }
    }
    let value = large.unwrap_or(i256::from_i128(small));
    Ok(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

fn shift(value: i256, digit: i128) -> Result<i256, Misfit> {
    value
        .checked_mul(i256::from_i128(10))
        .and_then(|n| n.checked_add(i256::from_i128(digit)))
        .ok_or(Misfit::Range)
}

/// Days since 1970-01-01 and microseconds of that day.
pub(crate) fn timestamp(value: &Value) -> Result<(i32, i64), Misfit> {
    let Value::Date(year, month, day, hour, minute, second, micros) = value else {
        return Err(Misfit::Kind);
    };
    let (year, month, day) = (i32::from(*year), i32::from(*month), i32::from(*day));
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return Err(Misfit::Date);
    }
    let seconds = (i64::from(*hour) * 60 + i64::from(*minute)) * 60 + i64::from(*second);
    Ok((
        days_from_civil(year, month, day),
        seconds * 1_000_000 + i64::from(*micros),
    ))
}

fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar since 1970-01-01, by counting years from March.
fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date of a day since 1970-01-01: year, month, day.
pub(crate) fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u8;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    } as u8;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Microseconds, negative before 0; the source's range is ±838:59:59.999999.
pub(crate) fn time(value: &Value) -> Result<i64, Misfit> {
    let Value::Time(negative, days, hours, minutes, seconds, micros) = value else {
        return Err(Misfit::Kind);
    };
    let hours = i64::from(*days) * 24 + i64::from(*hours);
    let seconds = (hours * 60 + i64::from(*minutes)) * 60 + i64::from(*seconds);
    let total = seconds * 1_000_000 + i64::from(*micros);
    Ok(if *negative { -total } else { total })
}

/// A value that is no text, as the server writes it.
pub(crate) fn write_text(out: &mut impl Write, value: &Value, wire: Wire) -> fmt::Result {
    let fraction = |out: &mut dyn Write, micros: u32| match wire.decimals {
        digits @ 1..=6 => {
            let digits = usize::from(digits);
            let text = format!("{micros:06}");
            write!(out, ".{}", &text[..digits])
        }
        _ => Ok(()),
    };
    match value {
        Value::NULL => Err(fmt::Error),
        Value::Int(v) => write!(out, "{v}"),
        Value::UInt(v) => write!(out, "{v}"),
        Value::Float(v) => write!(out, "{v}"),
        Value::Double(v) => write!(out, "{v}"),
        Value::Bytes(bits) => {
            let number = bits.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
            write!(out, "{number}")
        }
        Value::Date(year, month, day, hour, minute, second, micros) => {
            write!(out, "{year:04}-{month:02}-{day:02}")?;
            if wire.kind == ColumnType::MYSQL_TYPE_DATE {
                return Ok(());
            }
            write!(out, " {hour:02}:{minute:02}:{second:02}")?;
            fraction(out, *micros)
        }
        Value::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if *negative { "-" } else { "" };
            let hours = days * 24 + u32::from(*hours);
            write!(out, "{sign}{hours:02}:{minutes:02}:{seconds:02}")?;
            fraction(out, *micros)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        let d = |text: &str, p, s| decimal(&Value::Bytes(text.into()), p, s);
        assert_eq!(d("-123.45", 10, 2), Ok(i256::from_i128(-12345)));
        assert_eq!(d("1.5", 10, 4), Ok(i256::from_i128(15000)));
        assert_eq!(d("1.50", 10, 1), Ok(i256::from_i128(15)));
        assert_eq!(d("1.55", 10, 1), Err(Misfit::Range));
        assert_eq!(d("1000", 3, 0), Err(Misfit::Range));
        assert_eq!(d("x", 3, 0), Err(Misfit::Kind));
        assert_eq!(d("", 3, 0), Err(Misfit::Kind));
        let big = "9".repeat(65);
        assert_eq!(d(&big, 65, 0).unwrap().to_string(), big);
        assert_eq!(d(&"9".repeat(90), 76, 0), Err(Misfit::Range));
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-719_528..2_932_897).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            let back = days_from_civil(year as i32, i32::from(month), i32::from(day));
            assert_eq!(i64::from(back), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(-719_528), (0, 1, 1));
        assert_eq!(civil_from_days(2_932_896), (9999, 12, 31));
    }

    #[test]
    fn impossible_dates_are_found() {
        let date = |y, m, d| timestamp(&Value::Date(y, m, d, 0, 0, 0, 0));
        assert_eq!(date(0, 0, 0), Err(Misfit::Date));
        assert_eq!(date(2024, 0, 10), Err(Misfit::Date));
        assert_eq!(date(2024, 2, 0), Err(Misfit::Date));
        assert_eq!(date(2023, 2, 29), Err(Misfit::Date));
        assert_eq!(date(2024, 2, 29), Ok((19_782, 0)));
    }
}
