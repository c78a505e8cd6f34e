use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{Literal, decimal_text};
use mysql_async::Value;

use crate::values::{DAY_MICROS, civil_from_days};

/// A constant as the protocol carries it; None where the source has no such value.
pub(crate) fn value(literal: &Literal, data_type: &DataType) -> Option<Value> {
    Some(match (literal, data_type) {
        (Literal::Null, _) => Value::NULL,
        (Literal::Boolean(v), _) => Value::Int(i64::from(*v)),
        (Literal::Int(days), DataType::Date32) => {
            let (year, month, day) = civil(*days)?;
            Value::Date(year, month, day, 0, 0, 0, 0)
        }
        (Literal::Int(micros), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let (year, month, day) = civil(micros.div_euclid(DAY_MICROS))?;
            let (hour, minute, second, micros) = clock(micros.rem_euclid(DAY_MICROS));
            Value::Date(year, month, day, hour, minute, second, micros)
        }
        (Literal::Int(micros @ 0..DAY_MICROS), DataType::Time64(TimeUnit::Microsecond)) => {
            let (hour, minute, second, micros) = clock(*micros);
            Value::Time(false, 0, hour, minute, second, micros)
        }
        (
            Literal::Int(_),
            DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(_, _)
            | DataType::Duration(_),
        ) => return None,
        (Literal::Int(v), _) => Value::Int(*v),
        (Literal::UInt(v), _) => Value::UInt(*v),
        (Literal::Float(v), _) => Value::Double(*v),
        (Literal::Decimal(v), DataType::Decimal128(_, s) | DataType::Decimal256(_, s)) => {
            Value::Bytes(decimal_text(*v, usize::try_from(*s).ok()?).into_bytes())
        }
        (
            Literal::Decimal(_)
            | Literal::List(_)
            | Literal::Interval { .. }
            | Literal::Parameter(_),
            _,
        ) => return None,
        (Literal::Text(v), _) => Value::Bytes(v.clone().into_bytes()),
        (Literal::Binary(v), _) => Value::Bytes(v.clone()),
    })
}

/// Year, month and day, if the source has that year.
fn civil(days: i64) -> Option<(u16, u8, u8)> {
    // Beyond some ten thousand years, before the calendar's arithmetic can overflow.
    if days.unsigned_abs() > 4_000_000 {
        return None;
    }
    let (year, month, day) = civil_from_days(days);
    let year = u16::try_from(year)
        .ok()
        .filter(|y| (1..=9999).contains(y))?;
    Some((year, month, day))
}

fn clock(micros: i64) -> (u8, u8, u8, u32) {
    let seconds = micros / 1_000_000;
    (
        (seconds / 3600) as u8,
        (seconds / 60 % 60) as u8,
        (seconds % 60) as u8,
        (micros % 1_000_000) as u32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_outside_the_source_are_none() {
        let date = |days| value(&Literal::Int(days), &DataType::Date32);
        assert_eq!(date(0), Some(Value::Date(1970, 1, 1, 0, 0, 0, 0)));
        assert_eq!(date(2_932_897), None);
        assert_eq!(date(-719_528), None);
        assert_eq!(date(i64::MIN), None);
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(
            value(&Literal::Int(-1), &micros),
            Some(Value::Date(1969, 12, 31, 23, 59, 59, 999_999))
        );
    }
}
