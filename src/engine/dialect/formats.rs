//! PostgreSQL's patterns of times, and `to_char`, which shows times by them.

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike};
use chrono_tz::OffsetName;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::functions::{function, text_type};
use super::{digits, wrong};

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![function("to_char", &[2], text_type, to_char)]
}

pub(super) const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The last digits of the year.
    Year(usize),
    IsoYear(usize),
    Month,
    MonthName,
    MonthShort,
    Day,
    DayOfYear,
    DayOfWeek,
    IsoDay,
    DayName,
    DayShort,
    Week,
    WeekOfMonth,
    IsoWeek,
    Quarter,
    Julian,
    Hour24,
    Hour12,
    Minute,
    Second,
    OfDay,
    /// So many digits of the part of a second.
    Fraction(usize),
    Half,
    HalfDotted,
    Zone,
    Offset,
    /// What PostgreSQL has, and this does not.
    Refused,
}

/// Each before those that begin it.
const FIELDS: &[(&str, Field)] = &[
    ("A.M.", Field::HalfDotted),
    ("P.M.", Field::HalfDotted),
    ("AM", Field::Half),
    ("PM", Field::Half),
    ("A.D.", Field::Refused),
    ("B.C.", Field::Refused),
    ("AD", Field::Refused),
    ("BC", Field::Refused),
    ("CC", Field::Refused),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("DY", Field::DayShort),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Refused),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::Refused),
    ("ID", Field::IsoDay),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MONTH", Field::MonthName),
    ("MON", Field::MonthShort),
    ("MS", Field::Fraction(3)),
    ("OF", Field::Offset),
    ("Q", Field::Quarter),
    ("RM", Field::Refused),
    ("SSSSS", Field::OfDay),
    ("SSSS", Field::OfDay),
    ("SS", Field::Second),
    ("TM", Field::Refused),
    ("TZH", Field::Refused),
    ("TZM", Field::Refused),
    ("TZ", Field::Zone),
    ("US", Field::Fraction(6)),
    ("WW", Field::Week),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::Refused),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

/// How the letters of a name are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    Upper,
    Capital,
    Lower,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Field {
        field: Field,
        letters: Letters,
        /// `FM`: neither blanks nor zeros before it.
        is_bare: bool,
    },
}

pub(super) fn parts(pattern: &str) -> Result<Vec<Part>> {
    if pattern.contains('%') {
        return Err(wrong(
            "a pattern is one of PostgreSQL's, as YYYY-MM-DD, without %",
            "0A000",
        ));
    }
    let mut parts = Vec::new();
    let mut rest = pattern;
    let mut is_bare = false;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            push_text(&mut parts, &quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        if starts(rest, "FM") {
            is_bare = true;
            rest = &rest[2..];
            continue;
        }
        let known = FIELDS.iter().find(|(name, _)| starts(rest, name));
        let Some((name, field)) = known else {
            push_text(&mut parts, &rest[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (written, after) = rest.split_at(name.len());
        if *field == Field::Refused || starts(after, "TH") || starts(after, "SP") {
            return Err(wrong(
                format!("the pattern {name}, or one with TH or SP, is not in this version"),
                "0A000",
            ));
        }
        let mut letters = written.chars().filter(char::is_ascii_alphabetic);
        let is_upper = |c: Option<char>| c.is_some_and(|c| c.is_ascii_uppercase());
        let letters = match (is_upper(letters.next()), is_upper(letters.next())) {
            (true, true) => Letters::Upper,
            (true, false) => Letters::Capital,
            (false, _) => Letters::Lower,
        };
        parts.push(Part::Field {
            field: *field,
            letters,
            is_bare,
        });
        is_bare = false;
        rest = after;
    }
    Ok(parts)
}

pub(super) fn starts(text: &str, with: &str) -> bool {
    text.get(..with.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(with))
}

fn push_text(parts: &mut Vec<Part>, more: &str) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.push_str(more),
        _ => parts.push(Part::Text(more.to_string())),
    }
}

fn to_char(args: &[ArrayRef]) -> Result<ArrayRef> {
    let patterns = cast(&args[1], &DataType::Utf8)?;
    let patterns = patterns.as_string::<i32>();
    let values = &args[0];
    let zone = match values.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        DataType::Date32 | DataType::Date64 => None,
        of if of.is_numeric() => return digits::to_char(values, patterns),
        of if of.is_null() => return Ok(Arc::new(StringArray::new_null(values.len()))),
        _ => {
            return Err(wrong(
                "to_char() is of dates, timestamps and numbers in this version",
                "0A000",
            ));
        }
    };
    let utc = match &zone {
        Some(zone) => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.clone())),
        None => MICROS,
    };
    let utc = cast(values, &utc)?;
    let mut shown = Vec::with_capacity(values.len());
    let mut last: Option<(&str, Vec<Part>)> = None;
    let rows = utc.as_primitive::<TimestampMicrosecondType>().iter();
    for (micros, pattern) in rows.zip(patterns) {
        let (Some(micros), Some(pattern)) = (micros, pattern) else {
            shown.push(None);
            continue;
        };
        let parts = match last.take() {
            Some((same, parts)) if same == pattern => parts,
            _ => parts(pattern)?,
        };
        let moment = Moment::new(micros, zone.as_deref())?;
        shown.push(Some(moment.shown(&parts)));
        last = Some((pattern, parts));
    }
    Ok(Arc::new(StringArray::from(shown)))
}

/// What a clock shows, and where it is.
struct Moment {
    local: NaiveDateTime,
    /// Of a time without a zone there is none.
    place: Option<(String, i32)>,
}

impl Moment {
    fn new(micros: i64, zone: Option<&str>) -> Result<Self> {
        let unlike = || wrong("a timestamp is out of range", "22008");
        let utc = DateTime::from_timestamp_micros(micros).ok_or_else(unlike)?;
        let Some(zone) = zone else {
            let local = utc.naive_utc();
            return Ok(Self { local, place: None });
        };
        let tz: Tz = zone.parse()?;
        let offset = tz.offset_from_utc_datetime(&utc.naive_utc()).fix();
        let seconds = offset.local_minus_utc();
        let name = zone.parse::<chrono_tz::Tz>().ok().and_then(|tz| {
            let offset = tz.offset_from_utc_datetime(&utc.naive_utc());
            offset.abbreviation().map(str::to_string)
        });
        let local = utc.naive_utc().checked_add_offset(offset);
        Ok(Self {
            local: local.ok_or_else(unlike)?,
            place: Some((name.unwrap_or_else(|| shown_offset(seconds)), seconds)),
        })
    }

    fn shown(&self, parts: &[Part]) -> String {
        let mut shown = String::new();
        for part in parts {
            match part {
                Part::Text(text) => shown.push_str(text),
                Part::Field {
                    field,
                    letters,
                    is_bare,
                } => shown.push_str(&self.field(*field, *letters, *is_bare)),
            }
        }
        shown
    }

    fn field(&self, field: Field, letters: Letters, is_bare: bool) -> String {
        let (date, time) = (self.local.date(), self.local.time());
        let number = |number: i64, width: usize| match is_bare {
            true => number.to_string(),
            false => format!("{number:0width$}"),
        };
        let digits_of = |year: i32, digits: usize| {
            let year = i64::from(year);
            match digits {
                4 => number(year, 4),
                digits => number(year.rem_euclid(10i64.pow(digits as u32)), digits),
            }
        };
        let name = |name: &str, width: usize| {
            let name = match letters {
                Letters::Upper => name.to_uppercase(),
                Letters::Capital => name.to_string(),
                Letters::Lower => name.to_lowercase(),
            };
            match is_bare {
                true => name,
                false => format!("{name:width$}"),
            }
        };
        let weekday = DAYS[date.weekday().num_days_from_sunday() as usize];
        let month = MONTHS[date.month0() as usize];
        match field {
            Field::Year(digits) => digits_of(date.year(), digits),
            Field::IsoYear(digits) => digits_of(date.iso_week().year(), digits),
            Field::Month => number(date.month().into(), 2),
            Field::MonthName => name(month, 9),
            Field::MonthShort => name(&month[..3], 3),
            Field::Day => number(date.day().into(), 2),
            Field::DayOfYear => number(date.ordinal().into(), 3),
            Field::DayOfWeek => (date.weekday().num_days_from_sunday() + 1).to_string(),
            Field::IsoDay => (date.weekday().num_days_from_monday() + 1).to_string(),
            Field::DayName => name(weekday, 9),
            Field::DayShort => name(&weekday[..3], 3),
            Field::Week => number((date.ordinal0() / 7 + 1).into(), 2),
            Field::WeekOfMonth => (date.day0() / 7 + 1).to_string(),
            Field::IsoWeek => number(date.iso_week().week().into(), 2),
            Field::Quarter => (date.month0() / 3 + 1).to_string(),
            Field::Julian => (i64::from(date.num_days_from_ce()) + 1_721_425).to_string(),
            Field::Hour24 => number(time.hour().into(), 2),
            Field::Hour12 => number(time.hour12().1.into(), 2),
            Field::Minute => number(time.minute().into(), 2),
            Field::Second => number(time.second().into(), 2),
            Field::OfDay => time.num_seconds_from_midnight().to_string(),
            Field::Fraction(digits) => {
                let fraction = time.nanosecond() / 10u32.pow(9 - digits as u32);
                format!("{fraction:0digits$}")
            }
            Field::Half => half(time, letters, ["am", "pm"]),
            Field::HalfDotted => half(time, letters, ["a.m.", "p.m."]),
            Field::Zone => match (&self.place, letters) {
                (Some((name, _)), Letters::Lower) => name.to_lowercase(),
                (Some((name, _)), _) => name.clone(),
                (None, _) => String::new(),
            },
            Field::Offset => shown_offset(self.place.as_ref().map_or(0, |(_, offset)| *offset)),
            // Refused where patterns are read.
            Field::Refused => String::new(),
        }
    }
}

fn half(time: NaiveTime, letters: Letters, names: [&str; 2]) -> String {
    let name = names[usize::from(time.hour12().0)];
    match letters {
        Letters::Lower => name.to_string(),
        _ => name.to_uppercase(),
    }
}

/// `+02`, `-03:30`
fn shown_offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    match minutes % 60 {
        0 => format!("{sign}{:02}", minutes / 60),
        rest => format!("{sign}{:02}:{rest:02}", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pattern: &str) -> String {
        // Monday, 3 February 2025, 15:04:05.678901 in Berlin.
        let moment = Moment::new(1_738_591_445_678_901, Some("Europe/Berlin")).unwrap();
        moment.shown(&parts(pattern).unwrap())
    }

    #[test]
    fn times_are_shown_as_postgresql_shows_them() {
        assert_eq!(
            shown("YYYY-MM-DD HH24:MI:SS.US"),
            "2025-02-03 15:04:05.678901"
        );
        assert_eq!(shown("HH:MI am, HH12 P.M. MS"), "03:04 pm, 03 P.M. 678");
        assert_eq!(shown("Month|FMMonth|MON|mon"), "February |February|FEB|feb");
        assert_eq!(shown("Day|FMDAY|Dy|D|ID"), "Monday   |MONDAY|Mon|2|1");
        assert_eq!(shown("DDD|FMDDD|WW|IW|IYYY|Q|YY"), "034|34|05|06|2025|1|25");
        assert_eq!(shown("YYYY\"year\"MM TZ OF"), "2025year02 CET +01");
        assert_eq!(shown("yyyymmdd"), "20250203");
        for refused in ["%Y", "DDth", "CC", "TZH"] {
            assert!(parts(refused).is_err(), "{refused}");
        }
    }
}
