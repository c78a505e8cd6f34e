//! The engine's values as SQLite stores them, so that what is read of a column is what was written.

use arrow::datatypes::{DataType, Field};
use belvedere_connector::{Literal, NATIVE_TYPE, decimal_text};
use rusqlite::types::{Value, ValueRef};

use crate::calendar;
use crate::reading::{Cell, Reading};
use crate::types::{Affinity, Native};

const DAY_MICROS: i64 = 86_400_000_000;

/// The constant that is bound, in place of this one, to be stored in a column.
///
/// # Errors
/// If the column, as SQLite keeps it and as it is read, has no such value.
pub fn stored(literal: &Literal, field: &Field) -> Result<Literal, String> {
    let native = field.metadata().get(NATIVE_TYPE);
    let native = Native::parse(native.map_or("", String::as_str));
    let reading = Reading::of(field.data_type());
    let reading = reading.ok_or_else(|| format!("a column read as {}", field.data_type()))?;
    let (bound, expected) = match (literal, reading) {
        (Literal::Boolean(value), _) => integer((*value).into()),
        (Literal::Int(days), Reading::Date) => (date(*days)?, Cell::Integer(*days)),
        (Literal::Int(micros), Reading::Time) => {
            (Literal::Text(clock(*micros)), Cell::Integer(*micros))
        }
        (Literal::Int(micros), Reading::Timestamp) => {
            let Literal::Text(day) = date(calendar::day_of(*micros))? else {
                return Err("a date is a text".to_string());
            };
            let zone = match field.data_type() {
                DataType::Timestamp(_, Some(_)) => "Z",
                _ => "",
            };
            let text = format!("{day} {}{zone}", clock(micros.rem_euclid(DAY_MICROS)));
            (Literal::Text(text), Cell::Integer(*micros))
        }
        (Literal::Int(value), _) => integer(*value),
        (Literal::Decimal(unscaled), Reading::Decimal { scale, .. }) => {
            let text = decimal_text(*unscaled, scale.into());
            (Literal::Text(text), Cell::Decimal(*unscaled))
        }
        (Literal::Float(value), _) if value.is_nan() => {
            return Err("a float that is no number, which SQLite does not have".to_string());
        }
        (Literal::Float(value), _) => (literal.clone(), Cell::Real(*value)),
        (Literal::Text(text), _) => (literal.clone(), Cell::Text(text.into())),
        (Literal::Binary(bytes), _) => (literal.clone(), Cell::Blob(bytes)),
        _ => return Err(format!("a value of type {}", field.data_type())),
    };
    let kept = kept(&bound, Affinity::of(&native.declared));
    match reading.read(ValueRef::from(&kept)) == Some(expected) && !is_negative_zero(&bound) {
        true => Ok(bound),
        false => Err(format!(
            "SQLite would not keep a value as it is in a column of type {}",
            native.declared
        )),
    }
}

/// Whether what an expression gives is stored as it is in a column of this type.
pub fn is_stored_as_computed(field: &Field) -> bool {
    let native = field.metadata().get(NATIVE_TYPE);
    let native = Native::parse(native.map_or("", String::as_str));
    let affinity = Affinity::of(&native.declared);
    match Reading::of(field.data_type()) {
        Some(Reading::Integer) => matches!(affinity, Affinity::Integer | Affinity::Blob),
        Some(Reading::Text) => matches!(affinity, Affinity::Text | Affinity::Blob),
        _ => false,
    }
}

fn integer(value: i64) -> (Literal, Cell<'static>) {
    (Literal::Int(value), Cell::Integer(value))
}

/// Where it is kept as a whole number, its sign is lost.
fn is_negative_zero(literal: &Literal) -> bool {
    matches!(literal, Literal::Float(value) if *value == 0.0 && value.is_sign_negative())
}

fn date(days: i64) -> Result<Literal, String> {
    // Beyond the years that four digits have, before the calendar's arithmetic can overflow.
    let beyond = || "a date before the year 0 or after 9999".to_string();
    if days.unsigned_abs() > 4_000_000 {
        return Err(beyond());
    }
    let (year, month, day) = calendar::civil(days);
    match (0..=9999).contains(&year) {
        true => Ok(Literal::Text(format!("{year:04}-{month:02}-{day:02}"))),
        false => Err(beyond()),
    }
}

/// `HH:MM:SS`, with as many digits of a second as there are.
fn clock(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = format!("{hour:02}:{minute:02}:{second:02}");
    match micros {
        0 => text,
        _ => format!("{text}.{micros:06}")
            .trim_end_matches('0')
            .to_string(),
    }
}

/// What a column of an affinity makes of a value.
fn kept(bound: &Literal, affinity: Affinity) -> Value {
    let value = match bound {
        Literal::Int(value) => Value::Integer(*value),
        Literal::Float(value) => Value::Real(*value),
        Literal::Text(text) => Value::Text(text.clone()),
        Literal::Binary(bytes) => Value::Blob(bytes.clone()),
        _ => Value::Null,
    };
    match (affinity, value) {
        (Affinity::Text, Value::Integer(value)) => Value::Text(value.to_string()),
        // Its own digits, which are nobody's.
        (Affinity::Text, Value::Real(_)) => Value::Null,
        (Affinity::Integer | Affinity::Numeric, Value::Text(text)) => match number(&text) {
            Some(Value::Real(real)) => whole(real),
            Some(number) => number,
            None => Value::Text(text),
        },
        (Affinity::Integer | Affinity::Numeric, Value::Real(real)) => whole(real),
        (Affinity::Real, Value::Text(text)) => match number(&text) {
            Some(Value::Integer(value)) => Value::Real(value as f64),
            Some(number) => number,
            None => Value::Text(text),
        },
        (Affinity::Real, Value::Integer(value)) => Value::Real(value as f64),
        (_, value) => value,
    }
}

/// A float without a fraction is kept as a whole number.
fn whole(real: f64) -> Value {
    match real.trunc() == real && real.abs() < 9e18 {
        true => Value::Integer(real as i64),
        false => Value::Real(real),
    }
}

/// A text that SQLite takes for a number.
fn number(text: &str) -> Option<Value> {
    let text = text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let is_numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !text.bytes().all(is_numeric) {
        return None;
    }
    let integer = text.parse().ok().map(Value::Integer);
    integer.or_else(|| text.parse().ok().map(Value::Real))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::TimeUnit;

    use super::*;

    fn field(declared: &str, data_type: DataType) -> Field {
        let metadata = HashMap::from([(NATIVE_TYPE.to_string(), declared.to_string())]);
        Field::new("c", data_type, true).with_metadata(metadata)
    }

    #[test]
    fn what_would_not_be_read_again_is_refused() {
        let text = |text: &str| Literal::Text(text.to_string());
        let money = DataType::Decimal128(20, 2);
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (declared, data_type, literal, expected) in [
            (
                "DECIMAL(20,2)",
                money.clone(),
                Literal::Decimal(1250),
                Some(text("12.50")),
            ),
            (
                "DECIMAL(20,2)",
                money.clone(),
                Literal::Decimal(-12345678901234567),
                None,
            ),
            (
                "TEXT",
                money,
                Literal::Decimal(-12345678901234567),
                Some(text("-123456789012345.67")),
            ),
            ("UUID", DataType::Utf8, text("0123"), None),
            ("UUID", DataType::Utf8, text("123"), Some(text("123"))),
            ("UUID", DataType::Utf8, text("a-1"), Some(text("a-1"))),
            ("TEXT", DataType::Int64, Literal::Int(5), None),
            (
                "DATE",
                DataType::Date32,
                Literal::Int(-1),
                Some(text("1969-12-31")),
            ),
            ("DATE", DataType::Date32, Literal::Int(i64::MAX), None),
            (
                "TIMESTAMPTZ",
                zoned,
                Literal::Int(-1),
                Some(text("1969-12-31 23:59:59.999999Z")),
            ),
            ("REAL", DataType::Float64, Literal::Float(-0.0), None),
            (
                "REAL",
                DataType::Float64,
                Literal::Float(3.0),
                Some(Literal::Float(3.0)),
            ),
            (
                "NUMERIC",
                DataType::Float64,
                Literal::Float(1e300),
                Some(Literal::Float(1e300)),
            ),
            (
                "BOOLEAN",
                DataType::Boolean,
                Literal::Boolean(true),
                Some(Literal::Int(1)),
            ),
        ] {
            let found = stored(&literal, &field(declared, data_type));
            assert_eq!(found.ok(), expected, "{declared} {literal:?}");
        }
    }
}
