//! Numbers of JSON that are read as other numbers: serde_json holds what 64 bits or a float hold.

use std::borrow::Cow;

use serde_json::Number;

/// The JSON with such numbers as texts of the same digits: a text stands for a value of any type.
pub(super) fn with_exact_numbers(json: &[u8]) -> Cow<'_, [u8]> {
    let mut exact = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = json.get(at) {
        let length = match byte {
            b'"' => text_length(&json[at..]),
            b'-' | b'0'..=b'9' => {
                let of_number =
                    |b: &&u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = json[at..].iter().take_while(of_number).count();
                let number = &json[at..at + length];
                if !is_held(number) {
                    exact.extend_from_slice(&json[copied..at]);
                    exact.push(b'"');
                    exact.extend_from_slice(number);
                    exact.push(b'"');
                    copied = at + length;
                }
                length
            }
            _ => 1,
        };
        at += length;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    exact.extend_from_slice(&json[copied..]);
    Cow::Owned(exact)
}

/// Of the text that begins here, with its quotes.
fn text_length(json: &[u8]) -> usize {
    let mut is_escaped = false;
    let mut inner = json.iter().skip(1);
    let end = inner.position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

/// Whether it is read as what it is; what is no number is for the reader to say.
fn is_held(number: &[u8]) -> bool {
    let (Ok(text), Ok(read)) = (
        std::str::from_utf8(number),
        serde_json::from_slice::<Number>(number),
    ) else {
        return true;
    };
    !read.is_f64() || Digits::of(text) == Digits::of(&read.to_string())
}

/// A decimal number: its digits without zeros at both ends, and how many of them stand before the point.
#[derive(Debug, PartialEq)]
pub(super) struct Digits {
    is_negative: bool,
    digits: String,
    point: i64,
}

impl Digits {
    /// None: it is none, or one of an exponent beyond measure.
    pub fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_start_matches('0');
        let point = (whole.len() as i64) - ((all.len() - digits.len()) as i64);
        let digits = digits.trim_end_matches('0').to_string();
        Some(match digits.is_empty() {
            true => Self {
                is_negative: false,
                digits,
                point: 0,
            },
            false => Self {
                is_negative,
                digits,
                point: point + i64::from(exponent),
            },
        })
    }

    /// Without an exponent. None: there are more digits than `most` on a side of the point.
    pub fn plain(&self, most: u8) -> Option<String> {
        let before = usize::try_from(self.point.max(0)).ok()?;
        let behind = self.digits.len() as i64 - self.point;
        if before > usize::from(most) || behind > i64::from(most) {
            return None;
        }
        // As many zeros on each side as the point is away.
        let zeros = |count: i64| "0".repeat(usize::try_from(count.max(0)).unwrap_or(0));
        let all = format!(
            "{}{}{}",
            zeros(-self.point),
            self.digits,
            zeros(self.point - self.digits.len() as i64)
        );
        let (whole, fraction) = all.split_at(before);
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if self.is_negative { "-" } else { "" };
        let dot = if fraction.is_empty() { "" } else { "." };
        Some(format!("{sign}{whole}{dot}{fraction}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_would_be_others_are_texts() {
        let of = |json: &str| {
            let exact = with_exact_numbers(json.as_bytes()).into_owned();
            String::from_utf8(exact).unwrap()
        };
        for same in [
            r#"{"a": [1, -2.50, 1e3, 0.1, 18446744073709551615, 1.7976931348623157e308]}"#,
            r#"{"a": "12345678901234567.1234567891", "b\\": "\"12345678901234567890123"}"#,
            "[1-2, 01234567890123456789012, 1e400, 1.]",
            "",
        ] {
            assert_eq!(of(same), same);
        }
        assert_eq!(
            of(r#"{"a": [12345678901234567.1234567891,-12345678901234567890123, 5]}"#),
            r#"{"a": ["12345678901234567.1234567891","-12345678901234567890123", 5]}"#
        );
    }

    #[test]
    fn exponents_move_the_point() {
        let of = |text: &str| Digits::of(text)?.plain(76);
        let some = |text: &str| Some(text.to_string());
        assert_eq!(of("1.50e3"), some("1500"));
        assert_eq!(of("-12.5e-4"), some("-0.00125"));
        assert_eq!(of("1234.5e2"), some("123450"));
        assert_eq!(of("1.25E1"), some("12.5"));
        assert_eq!(of("0e9"), some("0"));
        assert_eq!(of("1e-300"), None);
        assert_eq!(of("1e99"), None);
        assert_eq!(of("1e"), None);
        assert_eq!(of("x"), None);
    }
}
