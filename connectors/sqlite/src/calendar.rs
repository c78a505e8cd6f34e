//! Dates and times in text. Years 0000 to 9999, as in SQLite's own functions.

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days since 1970-01-01 of `YYYY-MM-DD` alone, as [`days`] has them; None of anything else.
pub fn plain_days(text: &[u8]) -> Option<i64> {
    let text: &[u8; 10] = text.try_into().ok()?;
    let mut fields = [0; 3];
    for (field, part) in fields.iter_mut().zip([&text[..4], &text[5..7], &text[8..]]) {
        for byte in part {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            *field = *field * 10 + i64::from(digit);
        }
    }
    let [year, month, day] = fields;
    let is_plain = text[4] == b'-' && text[7] == b'-' && is_date(year, month, day);
    is_plain.then(|| days_of(year, month, day))
}

/// Days since 1970-01-01 of `YYYY-MM-DD`; a time of day of zero may follow.
pub fn days(text: &str) -> Option<i64> {
    let (days, rest) = date(text)?;
    match rest {
        "" => Some(days),
        _ => (time_after_date(rest)? == 0).then_some(days),
    }
}

/// Microseconds since 1970-01-01 00:00 of `YYYY-MM-DD[( |T)HH:MM[:SS[.f]][Z|±HH:MM]]`; an offset is applied (UTC).
pub fn timestamp(text: &str) -> Option<i64> {
    let (days, rest) = date(text)?;
    let micros = match rest {
        "" => 0,
        _ => time_after_date(rest)?,
    };
    Some(days * MICROS_PER_DAY + micros)
}

/// Microseconds since midnight of `HH:MM[:SS[.f]]`.
pub fn time(text: &str) -> Option<i64> {
    match clock(text)? {
        (micros, "") => Some(micros),
        _ => None,
    }
}

/// (year, month, day) of days since 1970-01-01.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Days since 1970-01-01 of microseconds since then.
pub fn day_of(micros: i64) -> i64 {
    micros.div_euclid(MICROS_PER_DAY)
}

fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    is_date(year, month, day).then(|| (days_of(year, month, day), rest))
}

fn is_date(year: i64, month: i64, day: i64) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Of what follows a date: microseconds to add, an offset applied.
fn time_after_date(rest: &str) -> Option<i64> {
    let (micros, zone) = clock(rest.strip_prefix([' ', 'T'])?)?;
    Some(micros - offset(zone.trim_start_matches(' '))?)
}

/// `HH:MM[:SS[.f]]` and what follows. Digits beyond microseconds must be zero.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (hours, rest) = digits(text, 2)?;
    let (minutes, mut rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (mut seconds, mut micros) = (0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        (seconds, rest) = digits(after, 2)?;
        if let Some(after) = rest.strip_prefix('.') {
            let len = after.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, after) = after.split_at(len);
            if fraction.is_empty() || fraction.bytes().skip(6).any(|digit| digit != b'0') {
                return None;
            }
            let six = &fraction[..len.min(6)];
            micros = six.parse::<i64>().ok()? * 10_i64.pow(6 - six.len() as u32);
            rest = after;
        }
    }
    (hours < 24 && minutes < 60 && seconds < 60).then_some((
        ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros,
        rest,
    ))
}

/// Microseconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.as_bytes() {
        [] | [b'Z'] => return Some(0),
        [b'+', ..] => (1, &zone[1..]),
        [b'-', ..] => (-1, &zone[1..]),
        _ => return None,
    };
    let (hours, rest) = digits(rest, 2)?;
    let (minutes, rest) = match rest {
        "" => (0, ""),
        _ => digits(rest.strip_prefix(':').unwrap_or(rest), 2)?,
    };
    (rest.is_empty() && hours < 24 && minutes < 60)
        .then_some(sign * (hours * 60 + minutes) * 60 * MICROS_PER_SECOND)
}

fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    let all = head.bytes().all(|byte| byte.is_ascii_digit());
    Some((head.parse().ok().filter(|_| all)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        assert_eq!(days("1970-01-01"), Some(0));
        assert_eq!(days("2024-02-29"), Some(19782));
        assert_eq!(days("0000-01-01"), Some(-719_528));
        assert_eq!(days("2024-01-01 00:00:00.000"), Some(19723));
        for bad in [
            "2023-02-29",
            "2024-1-1",
            "2024-01-01 00:00:01",
            "",
            "now",
            "+024-01-01",
            "ä024-01-01",
        ] {
            assert_eq!(days(bad), None, "{bad}");
        }
        for year in [0, 1, 1900, 1999, 2000, 2023, 2024, 9999] {
            for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                let text = format!("{year:04}-{month:02}-{day:02}");
                assert_eq!(plain_days(text.as_bytes()), days(&text), "{text}");
            }
        }
        for other in [
            "2024-01-01 00:00",
            "2024-01-1",
            "2024+01-01",
            "2024-01/01",
            "2024-0:-01",
            "202/-01-01",
            "",
        ] {
            assert_eq!(plain_days(other.as_bytes()), None, "{other}");
        }
        assert_eq!(timestamp("1970-01-01T00:00:00.5Z"), Some(500_000));
        assert_eq!(timestamp("1970-01-01 01:00+01:00"), Some(0));
        assert_eq!(timestamp("1969-12-31 23:59:59.999999"), Some(-1));
        assert_eq!(timestamp("1970-01-01 00:00:00.0000001"), None);
        assert_eq!(time("23:59:59.25"), Some(86_399_250_000));
        assert_eq!(time("24:00"), None);
        assert_eq!(time("10:00Z"), None);
        for day in [-719_528, -1, 0, 59, 19_782, 2_932_896] {
            let (y, m, d) = civil(day);
            assert_eq!(days_of(y, m, d), day);
        }
        assert_eq!(day_of(-1), -1);
    }
}
