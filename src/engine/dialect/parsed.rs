//! `to_date`, `to_timestamp`: texts read as times by PostgreSQL's patterns.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveDateTime};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::formats::{DAYS, Field, MICROS, MONTHS, Part, parts, starts};
use super::functions::function;
use super::wrong;

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        function("to_date", &[1, 2], |_| Ok(DataType::Date32), to_date),
        function(
            "parse_timestamp",
            &[2],
            |_| Ok(MICROS),
            |args| {
                let times = read(args)?.into_iter().map(|time| {
                    let micros = time.map(|time| time.and_utc().timestamp_micros());
                    Ok::<_, datafusion::error::DataFusionError>(micros)
                });
                Ok(Arc::new(
                    times.collect::<Result<TimestampMicrosecondArray>>()?,
                ))
            },
        ),
    ]
}

fn to_date(args: &[ArrayRef]) -> Result<ArrayRef> {
    if let [value] = args {
        let strictly = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let value = match value.data_type().is_integer() {
            true => cast_with_options(value, &DataType::Int32, &strictly)?,
            false => Arc::clone(value),
        };
        return Ok(cast_with_options(&value, &DataType::Date32, &strictly)?);
    }
    let epoch = NaiveDate::default();
    let days = read(args)?.into_iter().map(|time| {
        let days = (time?.date() - epoch).num_days();
        i32::try_from(days).ok()
    });
    Ok(Arc::new(days.collect::<Date32Array>()))
}

/// Each text by its pattern.
fn read(args: &[ArrayRef]) -> Result<Vec<Option<NaiveDateTime>>> {
    let (texts, patterns) = (
        cast(&args[0], &DataType::Utf8)?,
        cast(&args[1], &DataType::Utf8)?,
    );
    let rows = texts
        .as_string::<i32>()
        .iter()
        .zip(patterns.as_string::<i32>());
    let mut times = Vec::with_capacity(texts.len());
    let mut last: Option<(&str, Vec<Part>)> = None;
    for (text, pattern) in rows {
        let (Some(text), Some(pattern)) = (text, pattern) else {
            times.push(None);
            continue;
        };
        let parts = match last.take() {
            Some((same, parts)) if same == pattern => parts,
            _ => parts(pattern)?,
        };
        times.push(Some(Reading::of(text, &parts)?));
        last = Some((pattern, parts));
    }
    Ok(times)
}

/// What has been read of a text.
#[derive(Default)]
struct Reading {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: u32,
    /// Whether the hour is of the second half of a day.
    half: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
}

impl Reading {
    fn of(text: &str, parts: &[Part]) -> Result<NaiveDateTime> {
        let mut reading = Self::default();
        let mut rest = text.trim_start();
        for part in parts {
            match part {
                Part::Text(text) => rest = after(rest, text),
                Part::Field { field, .. } => rest = reading.field(rest.trim_start(), *field)?,
            }
        }
        let out_of_range = || wrong("a part of a date or time is out of its range", "22008");
        reading.time().ok_or_else(out_of_range)
    }

    fn time(&self) -> Option<NaiveDateTime> {
        let year = self.year?;
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => {
                let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
                NaiveDate::from_ymd_opt(year, month, day)?
            }
        };
        let hour = match (self.half, self.hour) {
            (None, hour) => hour,
            (Some(is_second), hour @ 1..=12) => hour % 12 + if is_second { 12 } else { 0 },
            (Some(_), _) => return None,
        };
        date.and_hms_nano_opt(hour, self.minute, self.second, self.nanos)
    }

    /// What is left behind a field.
    fn field<'a>(&mut self, text: &'a str, field: Field) -> Result<&'a str> {
        let unlike = || wrong("a text is not as its pattern says", "22007");
        let number = |width: usize| {
            let is_digit = |b: &u8| b.is_ascii_digit();
            let count = text.bytes().take(width).take_while(is_digit).count();
            let number = text[..count].parse::<u32>().map_err(|_| unlike())?;
            Ok::<_, datafusion::error::DataFusionError>((number, &text[count..]))
        };
        let name = |names: &[&str], length: Option<usize>| {
            let found = names.iter().enumerate().find_map(|(at, name)| {
                let name = &name[..length.unwrap_or(name.len())];
                starts(text, name).then(|| (at, &text[name.len()..]))
            });
            found.ok_or_else(unlike)
        };
        let rest;
        match field {
            Field::Year(4) => {
                let (year, left) = number(4)?;
                (self.year, rest) = (i32::try_from(year).ok(), left);
            }
            Field::Year(2) => {
                // The one that is nearest to 2020.
                let (year, left) = number(2)?;
                let century = if year < 70 { 2000 } else { 1900 };
                (self.year, rest) = (i32::try_from(century + year).ok(), left);
            }
            Field::Month => {
                let (month, left) = number(2)?;
                (self.month, rest) = (Some(month), left);
            }
            Field::MonthName | Field::MonthShort => {
                let length = (field == Field::MonthShort).then_some(3);
                let (month, left) = name(&MONTHS, length)?;
                (self.month, rest) = (u32::try_from(month + 1).ok(), left);
            }
            Field::Day => {
                let (day, left) = number(2)?;
                (self.day, rest) = (Some(day), left);
            }
            Field::DayOfYear => {
                let (day, left) = number(3)?;
                (self.day_of_year, rest) = (Some(day), left);
            }
            Field::DayName => (_, rest) = name(&DAYS, None)?,
            Field::DayShort => (_, rest) = name(&DAYS, Some(3))?,
            Field::Hour24 | Field::Hour12 => (self.hour, rest) = number(2)?,
            Field::Minute => (self.minute, rest) = number(2)?,
            Field::Second => (self.second, rest) = number(2)?,
            Field::Fraction(digits) => {
                let (fraction, left) = number(digits)?;
                let read = u32::try_from(text.len() - left.len()).unwrap_or(9);
                (self.nanos, rest) = (fraction * 10u32.pow(9 - read), left);
            }
            Field::Half => {
                let (half, left) = name(&["am", "pm"], None)?;
                (self.half, rest) = (Some(half == 1), left);
            }
            Field::HalfDotted => {
                let (half, left) = name(&["a.m.", "p.m."], None)?;
                (self.half, rest) = (Some(half == 1), left);
            }
            _ => {
                return Err(wrong(
                    "a text is read by years of two or four digits, months, days, hours and less in this version",
                    "0A000",
                ));
            }
        }
        Ok(rest)
    }
}

/// A text behind what stands between fields: a separator is any other, or none.
fn after<'a>(text: &'a str, between: &str) -> &'a str {
    let mut rest = text;
    for c in between.chars() {
        let is_separator = |c: char| !c.is_alphanumeric();
        rest = match rest.chars().next() {
            Some(next) if is_separator(next) || !is_separator(c) => &rest[next.len_utf8()..],
            _ => rest,
        };
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_by_patterns() {
        let of = |text, pattern| {
            let time = Reading::of(text, &parts(pattern).unwrap());
            time.map_or_else(|_| "none".to_string(), |time| time.to_string())
        };
        assert_eq!(of("03.02.2025", "DD.MM.YYYY"), "2025-02-03 00:00:00");
        assert_eq!(of("05 Dec 2000", "DD Mon YYYY"), "2000-12-05 00:00:00");
        assert_eq!(of("20250203", "YYYYMMDD"), "2025-02-03 00:00:00");
        assert_eq!(
            of("2025-02-03 03:04 PM", "YYYY-MM-DD HH12:MI AM"),
            "2025-02-03 15:04:00"
        );
        assert_eq!(of("2025-02-31", "YYYY-MM-DD"), "none");
        assert_eq!(of("x", "YYYY"), "none");
    }
}
