//! Intervals that are computed: `age`, `make_interval`, `interval * n`.

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, IntervalMonthDayNanoArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::functions::function;
use super::wrong;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const NANOS_OF_DAY: f64 = 86_400e9;

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        function("age", &[1, 2], age_type, ages),
        function("make_interval", &[7], |_| Ok(INTERVAL), made),
    ]
}

fn age_type(types: &[DataType]) -> Result<DataType> {
    Ok(match types {
        // Of a transaction: there are none.
        [of] if of.is_integer() => DataType::Int32,
        _ => INTERVAL,
    })
}

fn ages(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [later, earlier] = args else {
        let count = args.first().map_or(0, |arg| arg.len());
        return Ok(match args.first().map(|arg| arg.data_type()) {
            Some(of) if of.is_integer() => Arc::new(Int32Array::from(vec![0; count])),
            _ => new_null_array(&INTERVAL, count),
        });
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let (later, earlier) = (cast(later, &micros)?, cast(earlier, &micros)?);
    let pairs = later
        .as_primitive::<TimestampMicrosecondType>()
        .iter()
        .zip(earlier.as_primitive::<TimestampMicrosecondType>());
    let ages = pairs.map(|(later, earlier)| Some(age(time(later?)?, time(earlier?)?)));
    Ok(Arc::new(ages.collect::<IntervalMonthDayNanoArray>()))
}

fn time(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

/// From one time to another in years, months, days and what is left, as PostgreSQL counts: days that are borrowed are those of the
/// earlier time's month.
fn age(to: NaiveDateTime, from: NaiveDateTime) -> IntervalMonthDayNano {
    if to < from {
        let age = age(from, to);
        return IntervalMonthDayNano::new(-age.months, -age.days, -age.nanoseconds);
    }
    let of_day = |time: NaiveDateTime| {
        i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond())
    };
    let mut months = (to.year() - from.year()) * 12 + to.month() as i32 - from.month() as i32;
    let mut days = to.day() as i32 - from.day() as i32;
    let mut nanos = of_day(to) - of_day(from);
    if nanos < 0 {
        nanos += 86_400_000_000_000;
        days -= 1;
    }
    if days < 0 {
        days += days_of_month(from);
        months -= 1;
    }
    IntervalMonthDayNano::new(months, days, nanos)
}

fn days_of_month(time: NaiveDateTime) -> i32 {
    let first = NaiveDate::from_ymd_opt(time.year(), time.month(), 1);
    let next = first.and_then(|first| first.checked_add_months(chrono::Months::new(1)));
    let days = first
        .zip(next)
        .map(|(first, next)| (next - first).num_days());
    days.and_then(|days| i32::try_from(days).ok()).unwrap_or(31)
}

/// Years, months, weeks, days, hours, minutes, seconds.
fn made(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (seconds, whole) = match args {
        [whole @ .., seconds] => (cast(seconds, &DataType::Float64)?, whole),
        [] => return Ok(new_null_array(&INTERVAL, 0)),
    };
    let whole = whole.iter().map(|arg| cast(arg, &DataType::Int32));
    let whole = whole.collect::<Result<Vec<_>, _>>()?;
    let mut intervals = Vec::with_capacity(seconds.len());
    for (row, seconds) in seconds.as_primitive::<Float64Type>().iter().enumerate() {
        let part = |at: usize| {
            let values = whole.get(at)?.as_primitive::<Int32Type>();
            values.is_valid(row).then(|| i64::from(values.value(row)))
        };
        let parts = (|| {
            let months = part(0)? * 12 + part(1)?;
            let days = part(2)? * 7 + part(3)?;
            let nanos = part(4)? * 3_600_000_000_000 + part(5)? * 60_000_000_000;
            Some((
                months as f64,
                days as f64,
                nanos as f64 + (seconds? * 1e6).round() * 1e3,
            ))
        })();
        intervals.push(match parts {
            Some((months, days, nanos)) => Some(interval(months, days, nanos)?),
            None => None,
        });
    }
    Ok(Arc::new(
        intervals.into_iter().collect::<IntervalMonthDayNanoArray>(),
    ))
}

fn interval(months: f64, days: f64, nanos: f64) -> Result<IntervalMonthDayNano> {
    let fits = |value: f64| value.is_finite() && value.abs() <= f64::from(i32::MAX);
    if !fits(months) || !fits(days) || nanos.is_nan() || nanos.abs() >= i64::MAX as f64 {
        return Err(wrong("an interval is out of range", "22008"));
    }
    Ok(IntervalMonthDayNano::new(
        months as i32,
        days as i32,
        nanos as i64,
    ))
}

/// `interval * number`
pub(super) fn times(interval: Expr, factor: Expr) -> Expr {
    let times = function(
        "interval_times",
        &[2],
        |_| Ok(INTERVAL),
        |args| scaled(args, |factor| Some(factor)),
    );
    times.call(vec![interval, factor])
}

/// `interval / number`
pub(super) fn divided(interval: Expr, divisor: Expr) -> Expr {
    let divided = function(
        "interval_divided",
        &[2],
        |_| Ok(INTERVAL),
        |args| scaled(args, |divisor| (divisor != 0.0).then(|| 1.0 / divisor)),
    );
    divided.call(vec![interval, divisor])
}

fn scaled(args: &[ArrayRef], factor: fn(f64) -> Option<f64>) -> Result<ArrayRef> {
    let numbers = cast(&args[1], &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let intervals = args[0].as_primitive::<IntervalMonthDayNanoType>();
    let mut found = Vec::with_capacity(intervals.len());
    for (interval, number) in intervals.iter().zip(numbers) {
        found.push(match (interval, number) {
            (Some(interval), Some(number)) => {
                let factor = factor(number).ok_or_else(|| wrong("division by zero", "22012"))?;
                Some(multiplied(interval, factor)?)
            }
            _ => None,
        });
    }
    Ok(Arc::new(
        found.into_iter().collect::<IntervalMonthDayNanoArray>(),
    ))
}

/// As PostgreSQL does it: parts of a month are days, of which a month has 30, and parts of a day are hours.
fn multiplied(of: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano> {
    // Where it is as good as whole, to a millionth, it is.
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let months = f64::from(of.months) * factor;
    let days = f64::from(of.days) * factor;
    let days_of_months = rounded(months.fract() * 30.0);
    let part_of_day = rounded((days.fract() + days_of_months.fract()) * 86_400.0) / 86_400.0;
    let nanos = of.nanoseconds as f64 * factor + part_of_day.fract() * NANOS_OF_DAY;
    interval(
        months.trunc(),
        days.trunc() + days_of_months.trunc() + part_of_day.trunc(),
        (nanos / 1e3).round() * 1e3,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn ages_are_counted_as_postgresql_counts() {
        let shown = |to, from| {
            let age = age(at(to), at(from));
            (age.months, age.days, age.nanoseconds / 1_000_000_000)
        };
        assert_eq!(
            shown("2001-04-10T00:00:00", "1957-06-13T00:00:00"),
            (43 * 12 + 9, 27, 0)
        );
        assert_eq!(
            shown("1957-06-13T00:00:00", "2001-04-10T00:00:00"),
            (-(43 * 12 + 9), -27, 0)
        );
        assert_eq!(
            shown("2025-03-01T00:00:00", "2025-01-31T00:00:00"),
            (1, 1, 0)
        );
        assert_eq!(
            shown("2025-03-01T01:00:00", "2025-02-28T02:00:00"),
            (0, 0, 23 * 3600)
        );
    }

    #[test]
    fn parts_of_months_and_days_are_days_and_hours() {
        let of = |months, days, factor| {
            let found = multiplied(IntervalMonthDayNano::new(months, days, 0), factor).unwrap();
            (found.months, found.days, found.nanoseconds / 1_000_000_000)
        };
        assert_eq!(of(0, 1, 2.0), (0, 2, 0));
        assert_eq!(of(1, 0, 0.5), (0, 15, 0));
        assert_eq!(of(0, 1, 1.5), (0, 1, 43_200));
        assert_eq!(of(1, 1, -1.0), (-1, -1, 0));
    }
}
