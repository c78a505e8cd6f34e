//! `to_char` of numbers: `9`, `0`, `.` or `D`, `,` or `G`, and `FM`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;

use super::wrong;

pub(super) fn to_char(values: &ArrayRef, patterns: &StringArray) -> Result<ArrayRef> {
    let texts: Vec<Option<String>> = match values.data_type().is_floating() {
        true => {
            let values = cast(values, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            // All digits that it has, without an exponent.
            let texts = values
                .iter()
                .map(|value| value.map(|value| format!("{value}")));
            texts.collect()
        }
        false => {
            let texts = cast(values, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>().iter();
            texts.map(|text| text.map(str::to_string)).collect()
        }
    };
    let rows = texts.iter().zip(patterns);
    let shown = rows.map(|(text, pattern)| match (text, pattern) {
        (Some(text), Some(pattern)) => Pattern::read(pattern)?.shown(text).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(shown.collect::<Result<StringArray>>()?))
}

struct Pattern {
    /// `9`, `0` and `,`, as they stand before the point.
    whole: Vec<char>,
    fraction: Vec<char>,
    has_point: bool,
    /// `FM`: no blanks, and no zeros behind the point that no `0` asks for.
    is_bare: bool,
}

impl Pattern {
    fn read(pattern: &str) -> Result<Self> {
        let (is_bare, digits) = match pattern.get(..2) {
            Some(start) if start.eq_ignore_ascii_case("fm") => (true, &pattern[2..]),
            _ => (false, pattern),
        };
        let mut read = Self {
            whole: Vec::new(),
            fraction: Vec::new(),
            has_point: false,
            is_bare,
        };
        for c in digits.chars() {
            match (c, read.has_point) {
                ('9' | '0', true) => read.fraction.push(c),
                ('9' | '0', false) => read.whole.push(c),
                (',' | 'G' | 'g', false) => read.whole.push(','),
                ('.' | 'D' | 'd', false) => read.has_point = true,
                _ => {
                    return Err(wrong(
                        "a number's pattern is of 9, 0, a point, commas and FM in this version",
                        "0A000",
                    ));
                }
            }
        }
        Ok(read)
    }

    fn shown(&self, number: &str) -> Result<String> {
        let (is_negative, number) = match number.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, number),
        };
        let is_number = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if !is_number {
            return Err(wrong("to_char() of a number that is none", "22003"));
        }
        let digits = rounded(number, self.fraction.len());
        let (whole, fraction) = digits.split_at(digits.len() - self.fraction.len());
        let is_zero = digits.iter().all(|digit| *digit == b'0');
        let first = whole.iter().position(|digit| *digit != b'0');
        let whole = &whole[first.unwrap_or(whole.len())..];
        let places = self.whole.iter().filter(|c| **c != ',').count();
        let mut shown = String::new();
        if whole.len() > places {
            // As PostgreSQL shows what does not fit.
            shown.extend(self.whole.iter().map(|c| if *c == ',' { ',' } else { '#' }));
            if self.has_point {
                shown.push('.');
                shown.extend(self.fraction.iter().map(|_| '#'));
            }
            return Ok(self.signed(shown, is_negative));
        }
        let mut left = places - whole.len();
        let mut next = whole.iter();
        let mut has_begun = false;
        for c in &self.whole {
            match c {
                ',' if has_begun => shown.push(','),
                ',' => self.blank(&mut shown),
                c if left > 0 => {
                    left -= 1;
                    has_begun |= *c == '0';
                    match has_begun {
                        true => shown.push('0'),
                        false => self.blank(&mut shown),
                    }
                }
                _ => {
                    has_begun = true;
                    shown.extend(next.next().map(|digit| char::from(*digit)));
                }
            }
        }
        let is_alone = self.fraction.is_empty() || (self.is_bare && is_zero);
        if !has_begun && is_alone && places > 0 {
            // A zero alone is shown.
            shown.pop();
            shown.push('0');
        }
        if self.has_point {
            shown.push('.');
            let kept = match self.is_bare {
                true => {
                    let asked = self.fraction.iter().rposition(|c| *c == '0');
                    let given = fraction.iter().rposition(|digit| *digit != b'0');
                    asked.max(given).map_or(0, |last| last + 1)
                }
                false => fraction.len(),
            };
            shown.extend(fraction[..kept].iter().map(|digit| char::from(*digit)));
        }
        Ok(self.signed(shown, is_negative && !is_zero))
    }

    fn blank(&self, shown: &mut String) {
        if !self.is_bare {
            shown.push(' ');
        }
    }

    /// The sign stands before the first digit, and has a place.
    fn signed(&self, shown: String, is_negative: bool) -> String {
        let digits = shown.trim_start();
        let blanks = " ".repeat(shown.len() - digits.len());
        match (is_negative, self.is_bare) {
            (true, _) => format!("{blanks}-{digits}"),
            (false, true) => shown,
            (false, false) => format!(" {shown}"),
        }
    }
}

/// The digits of a number with so many behind the point: of two that are equally near, those further from zero.
fn rounded(number: &str, places: usize) -> Vec<u8> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits: Vec<u8> = whole.bytes().collect();
    let kept = fraction.bytes().chain(std::iter::repeat(b'0'));
    digits.extend(kept.take(places));
    if fraction
        .as_bytes()
        .get(places)
        .is_some_and(|next| *next >= b'5')
    {
        for digit in digits.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return digits;
            }
            *digit = b'0';
        }
        digits.insert(0, b'1');
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_postgresql_shows_them() {
        let of = |number, pattern| Pattern::read(pattern).unwrap().shown(number).unwrap();
        assert_eq!(of("485", "999"), " 485");
        assert_eq!(of("-485", "999"), "-485");
        assert_eq!(of("12", "9990"), "   12");
        assert_eq!(of("12", "0000"), " 0012");
        assert_eq!(of("-12", "99999"), "   -12");
        assert_eq!(of("1485", "9,999"), " 1,485");
        assert_eq!(of("485", "9,999"), "   485");
        assert_eq!(of("148.5", "999.999"), " 148.500");
        assert_eq!(of("148.5", "FM999.999"), "148.5");
        assert_eq!(of("148.5", "FM999.990"), "148.500");
        assert_eq!(of("0.1", "0.9"), " 0.1");
        assert_eq!(of("0.1", "99.99"), "   .10");
        assert_eq!(of("1.005", "9.99"), " 1.01");
        assert_eq!(of("9.995", "99.99"), " 10.00");
        assert_eq!(of("0.5", "FM999.99"), ".5");
        assert_eq!(of("0.0", "FM999.99"), "0.");
        assert_eq!(of("1485", "999"), " ###");
        assert_eq!(of("0", "999"), "   0");
        assert!(Pattern::read("9.99EEEE").is_err());
    }
}
