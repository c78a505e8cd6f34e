//! When a view is due.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;

use super::contract::parse_duration;
use crate::error::{Error, Result};

/// Points in time, without end.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Counted from the last run.
    Every(Duration),
    /// Every so many days at a time of day.
    Daily {
        days: u64,
        at: NaiveTime,
        zone: Tz,
    },
    Cron {
        pattern: Box<Cron>,
        zone: Tz,
    },
}

impl Schedule {
    /// `1 hour`, `1 day at 02:00 Europe/Berlin`: UTC where no zone is named.
    ///
    /// # Errors
    /// If it is neither.
    pub fn every(words: &[&str]) -> Result<Self> {
        let at = words
            .iter()
            .position(|word| word.eq_ignore_ascii_case("at"));
        let period = words[..at.unwrap_or(words.len())].join(" ");
        let wrong = |what: String| {
            Error::invalid_with_help(
                format!("refresh = 'every {}': {what}", words.join(" ")),
                "Write 'every 15 minutes', 'every 1 hour' or 'every 1 day at 02:00 Europe/Berlin'",
            )
        };
        let period = parse_duration(&period)
            .filter(|period| *period >= Duration::from_secs(1))
            .ok_or_else(|| wrong(format!("'{period}' is no time of a second or more")))?;
        let Some(at) = at else {
            return Ok(Self::Every(period));
        };
        const DAY: u64 = 86_400;
        if period.as_secs() % DAY != 0 {
            return Err(wrong("a time of day goes with whole days".to_string()));
        }
        let (time, zone) = match &words[at + 1..] {
            [time] => (time, "UTC"),
            [time, zone] => (time, *zone),
            _ => return Err(wrong("a time of day and a zone come after AT".to_string())),
        };
        let parsed = NaiveTime::parse_from_str(time, "%H:%M")
            .or_else(|_| NaiveTime::parse_from_str(time, "%H:%M:%S"));
        Ok(Self::Daily {
            days: period.as_secs() / DAY,
            at: parsed.map_err(|_| wrong(format!("'{time}' is no time of day")))?,
            zone: time_zone(zone)?,
        })
    }

    /// Five fields, or six with seconds first, and a zone: UTC where none is named.
    ///
    /// # Errors
    /// If it is no such pattern.
    pub fn cron(words: &[&str]) -> Result<Self> {
        // No field has a letter in front that a zone's name does not have, too: names of zones are looked up.
        let (fields, zone) = match words.split_last() {
            Some((last, fields)) if fields.len() >= 5 && is_zone(last) => (fields, *last),
            _ => (words, "UTC"),
        };
        let pattern = fields.join(" ");
        let pattern = Cron::from_str(&pattern).map_err(|e| {
            Error::invalid_with_help(
                format!("refresh = 'cron {pattern}': {e}"),
                "Write minute, hour, day of month, month, day of week, and a time zone: 'cron 0 2 * * 1-5 Europe/Berlin'",
            )
        })?;
        Ok(Self::Cron {
            pattern: Box::new(pattern),
            zone: time_zone(zone)?,
        })
    }

    /// The first time after `last`, the last run's. None: there is none any more.
    pub fn next(&self, last: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(period) => last.checked_add_signed(TimeDelta::from_std(*period).ok()?),
            Self::Daily { days, at, zone } => {
                let local = last.with_timezone(zone);
                let mut date = local.date_naive();
                loop {
                    let due = local_time(date.and_time(*at), zone)?;
                    if due > last {
                        return Some(due);
                    }
                    date = date.checked_add_days(Days::new(*days))?;
                }
            }
            Self::Cron { pattern, zone } => {
                let next = pattern.find_next_occurrence(&last.with_timezone(zone), false);
                next.ok().map(|next| next.with_timezone(&Utc))
            }
        }
    }
}

/// How long to wait after so many failures, one after the other: doubled with each, up to a limit.
pub(super) fn pause(first: Duration, failures: u32, longest: Duration) -> Duration {
    let times = 2u32.saturating_pow(failures.saturating_sub(1).min(16));
    (first * times).min(longest)
}

/// A time that a clock shows twice is the first; one that it leaves out in spring is an hour later.
fn local_time(naive: chrono::NaiveDateTime, zone: &Tz) -> Option<DateTime<Utc>> {
    let found = zone.from_local_datetime(&naive).earliest();
    let found = found.or_else(|| {
        let later = naive.checked_add_signed(TimeDelta::hours(1))?;
        zone.from_local_datetime(&later).earliest()
    })?;
    Some(found.with_timezone(&Utc))
}

fn is_zone(word: &str) -> bool {
    word.parse::<Tz>().is_ok() || word.contains('/') && word.starts_with(char::is_alphabetic)
}

fn time_zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        Error::invalid_with_help(
            format!("there is no time zone '{name}'"),
            "Write a name like 'Europe/Berlin'",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn the_next_time_is_told_in_its_zone() {
        let every = |text, last, next| {
            let schedule = Schedule::every(&words(text)).expect("a schedule");
            assert_eq!(schedule.next(at(last)), Some(at(next)), "every {text}");
        };
        every("90 minutes", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z");
        every(
            "1 day at 02:00 Europe/Berlin",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00Z",
        );
        every(
            "1 day at 02:00 Europe/Berlin",
            "2026-01-01T01:00:00Z",
            "2026-01-02T01:00:00Z",
        );
        // Summer begins: there is no 02:30 that day.
        every(
            "1 day at 02:30 Europe/Berlin",
            "2026-03-28T12:00:00Z",
            "2026-03-29T01:30:00Z",
        );
        every(
            "7 days at 06:00",
            "2026-01-01T07:00:00Z",
            "2026-01-08T06:00:00Z",
        );
        let cron = |text, last, next| {
            let schedule = Schedule::cron(&words(text)).expect("a schedule");
            assert_eq!(schedule.next(at(last)), Some(at(next)), "cron {text}");
        };
        cron(
            "0 2 * * 1-5 Europe/Berlin",
            "2026-01-02T12:00:00Z",
            "2026-01-05T01:00:00Z",
        );
        cron(
            "*/15 * * * *",
            "2026-01-02T12:01:00Z",
            "2026-01-02T12:15:00Z",
        );
        cron(
            "0 9 * * MON",
            "2026-01-02T12:01:00Z",
            "2026-01-05T09:00:00Z",
        );
    }
}
