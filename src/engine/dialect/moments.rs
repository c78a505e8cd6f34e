//! Texts that stand for dates and times, as PostgreSQL takes them: what DataFusion's casts do not read.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;

use crate::engine::upstream;

/// The text as a value of this type; a time of a zone is in `session` unless the text says which.
pub(super) fn read(text: &str, to: &DataType, session: &str) -> Option<ScalarValue> {
    let moment = Moment::read(text)?;
    match to {
        DataType::Date32 => {
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
            let days = (moment.local.date() - epoch).num_days();
            Some(ScalarValue::Date32(Some(i32::try_from(days).ok()?)))
        }
        DataType::Timestamp(unit, None) => timestamp(moment.local, *unit, None),
        DataType::Timestamp(unit, Some(zone)) => {
            let of = match moment.zone {
                Some(zone) => zone,
                None => session.parse().ok()?,
            };
            let offset = i64::from(upstream::offset(of, moment.local)?);
            let utc = moment.local - chrono::TimeDelta::try_seconds(offset)?;
            timestamp(utc, *unit, Some(zone.clone()))
        }
        _ => None,
    }
}

/// Texts as dates, or as times without a zone. None: one of them is none.
pub(in crate::engine) fn read_times(texts: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8).ok()?;
    let mut times = Vec::new();
    for text in texts.as_string::<i32>() {
        times.push(match text {
            Some(text) => {
                let given = ScalarValue::Utf8(Some(text.to_string()));
                match given.cast_to(to) {
                    Ok(time) => time,
                    Err(_) => read(text, to, "UTC")?,
                }
            }
            None => ScalarValue::try_from(to).ok()?,
        });
    }
    ScalarValue::iter_to_array(times).ok()
}

/// Whether a text says more of a second than microseconds.
pub(super) fn is_finer(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).count() > 6
}

/// None: it is finer than the unit. Microseconds are the nearest ones.
fn timestamp(
    time: NaiveDateTime,
    unit: TimeUnit,
    zone: Option<std::sync::Arc<str>>,
) -> Option<ScalarValue> {
    let time = match unit {
        TimeUnit::Microsecond => nearest_micros(time)?,
        _ => time,
    };
    let time = time.and_utc();
    let nanos = i64::from(time.timestamp_subsec_nanos());
    let in_unit = |per_second: i64| {
        let nanos_each = 1_000_000_000 / per_second;
        (nanos % nanos_each == 0).then_some(())?;
        let whole = time.timestamp().checked_mul(per_second)?;
        whole.checked_add(nanos / nanos_each)
    };
    Some(match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(Some(in_unit(1)?), zone),
        TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(in_unit(1_000)?), zone),
        TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(in_unit(1_000_000)?), zone),
        TimeUnit::Nanosecond => {
            ScalarValue::TimestampNanosecond(Some(in_unit(1_000_000_000)?), zone)
        }
    })
}

/// Of two that are equally near, the even one.
fn nearest_micros(time: NaiveDateTime) -> Option<NaiveDateTime> {
    let nanos = i64::from(time.and_utc().timestamp_subsec_nanos());
    let (micros, rest) = (nanos / 1_000, nanos % 1_000);
    let up = rest > 500 || (rest == 500 && micros % 2 == 1);
    let by = chrono::TimeDelta::nanoseconds(if up { 1_000 - rest } else { -rest });
    time.checked_add_signed(by)
}

/// What a text says: a time of day, and where, if it says that.
struct Moment {
    local: NaiveDateTime,
    zone: Option<Tz>,
}

impl Moment {
    /// `2025-04-01`, `2025-04-01 10:00`, `2025-11-01T00:00:00.5+01`, `20251101 10:00 PM Europe/Berlin`, `12000-01-01`,
    /// `0044-03-15 BC`
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, is_before_christ) = match text
            .len()
            .checked_sub(3)
            .map(|at| text.split_at_checked(at))
        {
            Some(Some((text, era))) if era.eq_ignore_ascii_case(" bc") => (text, true),
            _ => (text, false),
        };
        let is_of_date = |c: char| c.is_ascii_digit() || c == '-' || c == '/';
        let end = text.find(|c| !is_of_date(c)).unwrap_or(text.len());
        let (date, rest) = text.split_at(end);
        let date = date_of(date, is_before_christ)?;
        let rest = match rest.strip_prefix(['T', 't']) {
            Some(rest) => rest,
            None => rest.trim_start(),
        };
        let is_of_time = |c: char| c.is_ascii_digit() || c == ':' || c == '.';
        let end = rest.find(|c| !is_of_time(c)).unwrap_or(rest.len());
        let (time, rest) = rest.split_at(end);
        let mut rest = rest.trim_start();
        let mut time = match time.is_empty() {
            true => NaiveTime::MIN,
            false => time_of(time)?,
        };
        let half = rest.get(..2).map(str::to_ascii_uppercase);
        if let Some(half @ ("AM" | "PM")) = half.as_deref()
            && !rest[2..].starts_with(|c: char| c.is_ascii_alphabetic())
        {
            time = of_half(time, half == "PM")?;
            rest = rest[2..].trim_start();
        }
        let zone = match rest {
            "" => None,
            rest => Some(zone_of(rest)?),
        };
        Some(Self {
            local: date.and_time(time),
            zone,
        })
    }
}

fn date_of(text: &str, is_before_christ: bool) -> Option<NaiveDate> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if text.len() == 8 && !is_before_christ && digits(text) {
        return NaiveDate::parse_from_str(text, "%Y%m%d").ok();
    }
    let parts: Vec<&str> = text.split(['-', '/']).collect();
    let [year, month, day] = parts.as_slice() else {
        return None;
    };
    if !(4..=6).contains(&year.len()) || ![year, month, day].into_iter().all(|part| digits(part)) {
        return None;
    }
    let year: i32 = year.parse().ok()?;
    let year = match is_before_christ {
        // The year before 1 is 1 BC.
        true => 1 - year,
        false => year,
    };
    NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?)
}

fn time_of(text: &str) -> Option<NaiveTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = whole.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] if fraction.is_empty() => (*hour, *minute, "0"),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    let of = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
    let nanos = match fraction.len() {
        0 => 0,
        digits @ 1..=9 => {
            fraction.parse::<u32>().ok()? * 10u32.pow(9 - u32::try_from(digits).ok()?)
        }
        _ => return None,
    };
    NaiveTime::from_hms_nano_opt(of(hour)?, of(minute)?, of(second)?, nanos)
}

/// A time of the clock's first or second half of the day.
fn of_half(time: NaiveTime, is_second: bool) -> Option<NaiveTime> {
    use chrono::Timelike;
    let hour = match time.hour() {
        hour @ 1..=12 => hour % 12 + if is_second { 12 } else { 0 },
        _ => return None,
    };
    time.with_hour(hour)
}

/// `Z`, `+01`, `+01:30`, `Europe/Berlin`
fn zone_of(text: &str) -> Option<Tz> {
    if text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("utc") {
        return "UTC".parse().ok();
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_times_as_postgresql_reads_them() {
        let plain = DataType::Timestamp(TimeUnit::Second, None);
        let zoned = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
        let of = |text, to: &DataType| match read(text, to, "Europe/Berlin") {
            Some(ScalarValue::TimestampSecond(Some(seconds), _)) => {
                let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
                time.naive_utc().to_string()
            }
            _ => "none".to_string(),
        };
        assert_eq!(of("2025-04-01", &plain), "2025-04-01 00:00:00");
        assert_eq!(of("2025-04-01 10:00", &plain), "2025-04-01 10:00:00");
        assert_eq!(of("20250401 10:00 pm", &plain), "2025-04-01 22:00:00");
        assert_eq!(of("2025-04-01 10:00+05", &plain), "2025-04-01 10:00:00");
        assert_eq!(of("2025-04-01 10:00", &zoned), "2025-04-01 08:00:00");
        assert_eq!(of("2025-11-01 00:00+01", &zoned), "2025-10-31 23:00:00");
        assert_eq!(
            of("2025-11-01T10:00:00 Asia/Tokyo", &zoned),
            "2025-11-01 01:00:00"
        );
        for text in [
            "",
            "10:00",
            "2025-13-01",
            "2025-04-01 25:00",
            "2025-04-01 10:00 Nowhere",
        ] {
            assert_eq!(of(text, &plain), "none", "{text}");
        }
        assert_eq!(of("2025-04-01 10:00:00.5", &plain), "none");
        assert_eq!(of("12000-01-01 00:01", &plain), "+12000-01-01 00:01:00");
        assert_eq!(of("0044-03-15 BC", &plain), "-0043-03-15 00:00:00");
    }

    #[test]
    fn more_digits_than_microseconds_are_rounded() {
        let of = |text| match read(
            text,
            &DataType::Timestamp(TimeUnit::Microsecond, None),
            "UTC",
        ) {
            Some(ScalarValue::TimestampMicrosecond(Some(micros), _)) => micros,
            found => panic!("{text} is {found:?}"),
        };
        assert_eq!(of("1970-01-01 00:00:00.7890124"), 789_012);
        assert_eq!(of("1970-01-01 00:00:00.7890126"), 789_013);
        assert_eq!(of("1970-01-01 00:00:00.7890125"), 789_012);
        assert_eq!(of("1970-01-01 00:00:00.7890115"), 789_012);
        assert_eq!(of("1969-12-31 23:59:59.9999996"), 0);
    }
}
