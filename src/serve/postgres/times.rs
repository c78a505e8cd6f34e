//! Dates and times as PostgreSQL writes them, in its style `ISO`, and counted as it does: from the year 2000.

use std::fmt::{self, Write};

use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::arrow::error::ArrowError;

/// From 1970 to 2000.
const DAYS: i32 = 10_957;
const MICROSECONDS: i64 = DAYS as i64 * 86_400_000_000;

fn out_of_range() -> ArrowError {
    ArrowError::ComputeError("overflow: a date or time is out of the range of its type".into())
}

/// `days`: since 1970.
pub(super) fn date(out: &mut BytesMut, days: i32) -> Result<fmt::Result, ArrowError> {
    let date = i64::from(days)
        .checked_add(719_163)
        .and_then(|days| NaiveDate::from_num_days_from_ce_opt(i32::try_from(days).ok()?));
    let date = date.ok_or_else(out_of_range)?;
    Ok(day(out, date).and_then(|()| era(out, date)))
}

fn day(out: &mut BytesMut, date: NaiveDate) -> fmt::Result {
    let year = date.year();
    let shown = if year <= 0 { 1 - year } else { year };
    write!(out, "{shown:04}-{:02}-{:02}", date.month(), date.day())
}

/// There is no year 0: it is 1 BC.
fn era(out: &mut BytesMut, date: NaiveDate) -> fmt::Result {
    out.write_str(if date.year() <= 0 { " BC" } else { "" })
}

/// `microseconds`: since midnight.
pub(super) fn time(out: &mut BytesMut, microseconds: i64) -> fmt::Result {
    clock(out, microseconds)
}

fn clock(out: &mut BytesMut, microseconds: i64) -> fmt::Result {
    let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60)?;
    if fraction == 0 {
        return Ok(());
    }
    let digits = format!("{fraction:06}");
    write!(out, ".{}", digits.trim_end_matches('0'))
}

/// `microseconds`: since 1970, in UTC; shown in `zone`, if there is one.
pub(super) fn timestamp(
    out: &mut BytesMut,
    microseconds: i64,
    zone: Option<&Tz>,
) -> Result<fmt::Result, ArrowError> {
    let utc = DateTime::from_timestamp_micros(microseconds).ok_or_else(out_of_range)?;
    let Some(zone) = zone else {
        return Ok(moment(out, utc.naive_utc()).and_then(|()| era(out, utc.date_naive())));
    };
    let offset = zone.offset_from_utc_datetime(&utc.naive_utc()).fix();
    let local = utc
        .naive_utc()
        .checked_add_offset(offset)
        .ok_or_else(out_of_range)?;
    let seconds = offset.local_minus_utc();
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.abs();
    let mut written = moment(out, local).and_then(|()| write!(out, "{sign}{:02}", seconds / 3600));
    if seconds % 3600 != 0 {
        written = written.and_then(|()| write!(out, ":{:02}", seconds / 60 % 60));
    }
    if seconds % 60 != 0 {
        written = written.and_then(|()| write!(out, ":{:02}", seconds % 60));
    }
    Ok(written.and_then(|()| era(out, local.date())))
}

fn moment(out: &mut BytesMut, local: NaiveDateTime) -> fmt::Result {
    day(out, local.date())?;
    out.write_char(' ')?;
    let seconds = i64::from(local.time().num_seconds_from_midnight());
    clock(
        out,
        seconds * 1_000_000 + i64::from(local.nanosecond() / 1000),
    )
}

/// In the style `postgres`: `1 year 2 mons -3 days +04:05:06.7`.
pub(super) fn interval(out: &mut BytesMut, value: IntervalMonthDayNano) -> fmt::Result {
    let (years, months) = (value.months / 12, value.months % 12);
    let microseconds = value.nanoseconds / 1000;
    let mut is_first = true;
    let mut is_negative = false;
    for (count, one) in [(years, "year"), (months, "mon"), (value.days, "day")] {
        if count == 0 {
            continue;
        }
        let space = if is_first { "" } else { " " };
        // What follows something negative says that it is not.
        let sign = if is_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        write!(out, "{space}{sign}{count} {one}{plural}")?;
        is_first = false;
        is_negative = count < 0;
    }
    if microseconds == 0 && !is_first {
        return Ok(());
    }
    if !is_first {
        out.write_char(' ')?;
    }
    if microseconds < 0 {
        out.write_char('-')?;
    } else if is_negative {
        out.write_char('+')?;
    }
    // The least of them has no positive.
    clock(out, microseconds.saturating_abs())
}

/// An interval as PostgreSQL and its clients write it: `1 year 2 mons -3 days 04:05:06.7`, `1d 2s`, `P1DT2S`.
pub(in crate::serve) fn parse_interval(text: &str) -> Option<IntervalMonthDayNano> {
    let text = text.trim().trim_start_matches('@').trim();
    if text.is_empty() {
        return None;
    }
    let (ago, text) = match text.strip_suffix("ago") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let iso = text.strip_prefix('P');
    let mut total = Parts::default();
    let mut is_time = iso.is_none();
    let mut left = iso.unwrap_or(text);
    loop {
        left = left.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let (Some(_), Some(rest)) = (iso, left.strip_prefix('T')) {
            (is_time, left) = (true, rest);
            continue;
        }
        if left.is_empty() {
            break;
        }
        let end = left.find(|c: char| !c.is_ascii_digit() && !"+-.:".contains(c));
        let (number, rest) = left.split_at(end.unwrap_or(left.len()));
        if number.contains(':') {
            total.nanoseconds = total.nanoseconds.checked_add(clock_nanoseconds(number)?)?;
            left = rest;
            continue;
        }
        let rest = rest.trim_start();
        let end = match iso {
            Some(_) => rest.chars().next().map(char::len_utf8),
            None => rest.find(|c: char| !c.is_ascii_alphabetic()),
        };
        let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let unit = match (iso, unit, is_time) {
            (Some(_), "M", false) => "mon",
            (Some(_), unit, _) => unit,
            // A number alone is of seconds.
            (None, "", _) => "s",
            (None, unit, _) => unit,
        };
        total.add(number, &unit.to_ascii_lowercase())?;
        left = rest;
    }
    let sign = if ago { -1 } else { 1 };
    Some(IntervalMonthDayNano::new(
        total.months.checked_mul(sign)?,
        total.days.checked_mul(sign)?,
        total.nanoseconds.checked_mul(i64::from(sign))?,
    ))
}

#[derive(Default)]
struct Parts {
    months: i32,
    days: i32,
    nanoseconds: i64,
}

impl Parts {
    /// What is left of a month is days, of which it has 30, and of a day a time.
    fn add(&mut self, number: &str, unit: &str) -> Option<()> {
        let count: f64 = number.parse().ok()?;
        let (months, days, nanoseconds) = match unit {
            "century" | "centuries" => (count * 1200.0, 0.0, 0.0),
            "decade" | "decades" => (count * 120.0, 0.0, 0.0),
            "y" | "yr" | "yrs" | "year" | "years" => (count * 12.0, 0.0, 0.0),
            "mon" | "mons" | "month" | "months" => (count, 0.0, 0.0),
            "w" | "week" | "weeks" => (0.0, count * 7.0, 0.0),
            "d" | "day" | "days" => (0.0, count, 0.0),
            "h" | "hr" | "hrs" | "hour" | "hours" => (0.0, 0.0, count * 3.6e12),
            "m" | "min" | "mins" | "minute" | "minutes" => (0.0, 0.0, count * 6e10),
            "s" | "sec" | "secs" | "second" | "seconds" => (0.0, 0.0, count * 1e9),
            "ms" | "msec" | "millisecond" | "milliseconds" => (0.0, 0.0, count * 1e6),
            "us" | "usec" | "microsecond" | "microseconds" => (0.0, 0.0, count * 1e3),
            _ => return None,
        };
        let days = days + months.fract() * 30.0;
        let nanoseconds = (nanoseconds + days.fract() * 8.64e13).round();
        let (months, days) = (months.trunc(), days.trunc());
        if months.abs() > 2e9 || days.abs() > 2e9 || nanoseconds.abs() > 9e18 {
            return None;
        }
        self.months = self.months.checked_add(months as i32)?;
        self.days = self.days.checked_add(days as i32)?;
        self.nanoseconds = self.nanoseconds.checked_add(nanoseconds as i64)?;
        Some(())
    }
}

/// Of `[-]hours:minutes[:seconds]`.
fn clock_nanoseconds(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = text.split(':');
    let (hours, minutes) = (parts.next()?, parts.next()?);
    let seconds = parts.next().unwrap_or("0");
    let hours: i64 = hours.parse().ok()?;
    let minutes: i64 = minutes.parse().ok().filter(|m| (0..60).contains(m))?;
    let seconds: f64 = seconds.parse().ok().filter(|s| (0.0..61.0).contains(s))?;
    let whole = hours.checked_mul(3600)?.checked_add(minutes * 60)?;
    let nanoseconds = whole.checked_mul(1_000_000_000)?;
    let nanoseconds = nanoseconds.checked_add((seconds * 1e9).round() as i64)?;
    (parts.next().is_none()).then_some(sign * nanoseconds)
}

pub(super) fn binary_date(days: i32) -> Result<i32, ArrowError> {
    days.checked_sub(DAYS).ok_or_else(out_of_range)
}

pub(super) fn binary_timestamp(microseconds: i64) -> Result<i64, ArrowError> {
    microseconds
        .checked_sub(MICROSECONDS)
        .ok_or_else(out_of_range)
}

pub(super) fn binary_interval(out: &mut BytesMut, value: IntervalMonthDayNano) {
    out.put_i64(value.nanoseconds / 1000);
    out.put_i32(value.days);
    out.put_i32(value.months);
}

/// Days since 1970 of a date in binary.
pub(super) fn from_binary_date(days: i32) -> Option<i32> {
    days.checked_add(DAYS)
}

/// Microseconds since 1970 of a timestamp in binary.
pub(super) fn from_binary_timestamp(microseconds: i64) -> Option<i64> {
    microseconds.checked_add(MICROSECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn dates_and_times_are_as_postgresql_writes_them() {
        let date = |days| text(|out| date(out, days).unwrap().unwrap());
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-719_162), "0001-01-01");
        assert_eq!(date(-719_163), "0001-12-31 BC");
        assert_eq!(date(2_932_897), "10000-01-01");
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        let kathmandu: Tz = "Asia/Kathmandu".parse().unwrap();
        let at = |us, zone: Option<&Tz>| text(|out| timestamp(out, us, zone).unwrap().unwrap());
        assert_eq!(at(1_500_000, None), "1970-01-01 00:00:01.5");
        assert_eq!(at(-1, None), "1969-12-31 23:59:59.999999");
        assert_eq!(
            at(1_751_328_000_000_000, Some(&berlin)),
            "2025-07-01 02:00:00+02"
        );
        assert_eq!(
            at(1_751_328_000_000_000, Some(&kathmandu)),
            "2025-07-01 05:45:00+05:45"
        );
    }

    #[test]
    fn intervals_are_read() {
        let parsed = |text: &str| {
            let parsed = parse_interval(text);
            parsed.map(|i| (i.months, i.days, i.nanoseconds / 1_000_000))
        };
        for (text, value) in [
            ("1 year 2 mons -3 days +04:05:06.789", (14, -3, 14_706_789)),
            ("1d 2s 500us", (0, 1, 2000)),
            ("1 day, 0:00:02", (0, 1, 2000)),
            ("-00:00:01", (0, 0, -1000)),
            ("P1Y2M3DT4H5M6.5S", (14, 3, 14_706_500)),
            ("1.5 mon", (1, 15, 0)),
            ("1 week ago", (0, -7, 0)),
            ("250 ms", (0, 0, 250)),
            ("42", (0, 0, 42_000)),
        ] {
            assert_eq!(parsed(text), Some(value), "{text}");
        }
        for text in ["", "x", "1 xs", "1:99", "999999999999 years"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn intervals_are_as_postgresql_writes_them() {
        let shown = |months, days, microseconds: i64| {
            let value = IntervalMonthDayNano::new(months, days, microseconds * 1000);
            text(|out| interval(out, value).unwrap())
        };
        assert_eq!(
            shown(14, 3, 14_706_789_000),
            "1 year 2 mons 3 days 04:05:06.789"
        );
        assert_eq!(shown(0, 0, 0), "00:00:00");
        assert_eq!(shown(-1, 1, -1_000_000), "-1 mons +1 day -00:00:01");
        assert_eq!(shown(0, 1, 0), "1 day");
        assert_eq!(shown(0, -1, 90_000_000_000), "-1 days +25:00:00");
    }
}
