//! MySQL's binary JSON as the text that the server gives of it: `json_binary.h`, `Json_wrapper::to_string` in its sources.

use std::fmt::Write;

use belvedere_connector::Result;

use super::bytes::{Bytes, little, malformed};
use super::layout::kind;
use super::value::decimal;

/// Deeper values the server does not take itself (`JSON_DOCUMENT_MAX_DEPTH`).
const MOST_DEPTH: usize = 100;

mod form {
    pub const SMALL_OBJECT: u8 = 0;
    pub const LARGE_OBJECT: u8 = 1;
    pub const SMALL_ARRAY: u8 = 2;
    pub const LARGE_ARRAY: u8 = 3;
    pub const LITERAL: u8 = 4;
    pub const INT16: u8 = 5;
    pub const UINT16: u8 = 6;
    pub const INT32: u8 = 7;
    pub const UINT32: u8 = 8;
    pub const INT64: u8 = 9;
    pub const UINT64: u8 = 10;
    pub const DOUBLE: u8 = 11;
    pub const TEXT: u8 = 12;
    pub const OPAQUE: u8 = 15;
}

/// # Errors
/// If it is not of this form.
pub fn text(stored: &[u8]) -> Result<String> {
    let mut text = String::new();
    match stored.split_first() {
        Some((form, data)) => write(&mut text, *form, data, 0)?,
        // What an older server left of a column without a value.
        None => text.push_str("null"),
    }
    Ok(text)
}

fn write(text: &mut String, form: u8, data: &[u8], depth: usize) -> Result<()> {
    use form::*;
    let mut bytes = Bytes(data);
    match form {
        SMALL_OBJECT | LARGE_OBJECT | SMALL_ARRAY | LARGE_ARRAY => {
            container(text, form, data, depth)?
        }
        LITERAL => text.push_str(match bytes.u8()? {
            0 => "null",
            1 => "true",
            2 => "false",
            _ => return Err(malformed()),
        }),
        INT16 => number(text, bytes.uint(2)? as i16),
        UINT16 => number(text, bytes.uint(2)?),
        INT32 => number(text, bytes.uint(4)? as i32),
        UINT32 => number(text, bytes.uint(4)?),
        INT64 => number(text, bytes.uint(8)? as i64),
        UINT64 => number(text, bytes.uint(8)?),
        DOUBLE => double(text, f64::from_bits(bytes.uint(8)?)),
        TEXT => {
            let length = length(&mut bytes)?;
            let content = std::str::from_utf8(bytes.take(length)?);
            quoted(text, content.map_err(|_| malformed())?);
        }
        OPAQUE => {
            let kind = bytes.u8()?;
            let length = length(&mut bytes)?;
            opaque(text, kind, bytes.take(length)?)?;
        }
        _ => return Err(malformed()),
    }
    Ok(())
}

fn number(text: &mut String, number: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(text, "{number}");
}

/// Seven bits a byte, the lowest first; the highest bit says that there are more.
fn length(bytes: &mut Bytes<'_>) -> Result<usize> {
    let mut length = 0;
    for part in 0..5 {
        let byte = bytes.u8()?;
        length |= usize::from(byte & 127) << (7 * part);
        if byte & 128 == 0 {
            return Ok(length);
        }
    }
    Err(malformed())
}

/// A count and a size; of an object where its keys are; and of each value its form, and where it is or what it is itself.
fn container(text: &mut String, form: u8, data: &[u8], depth: usize) -> Result<()> {
    use form::*;
    if depth > MOST_DEPTH {
        return Err(malformed());
    }
    let width = if matches!(form, SMALL_OBJECT | SMALL_ARRAY) {
        2
    } else {
        4
    };
    let is_object = matches!(form, SMALL_OBJECT | LARGE_OBJECT);
    let mut head = Bytes(data);
    let count = head.uint(width)? as usize;
    let size = head.uint(width)? as usize;
    let data = data.get(..size).ok_or_else(malformed)?;
    let behind = |offset: u64| data.get(offset as usize..).ok_or_else(malformed);
    let mut keys = Bytes(match is_object {
        true => head.take(count.checked_mul(width + 2).ok_or_else(malformed)?)?,
        false => &[],
    });
    text.push(if is_object { '{' } else { '[' });
    for i in 0..count {
        if i > 0 {
            text.push_str(", ");
        }
        if is_object {
            let (offset, length) = (keys.uint(width)?, keys.uint(2)?);
            let key = Bytes(behind(offset)?).take(length as usize)?;
            quoted(text, std::str::from_utf8(key).map_err(|_| malformed())?);
            text.push_str(": ");
        }
        let form = head.u8()?;
        let entry = head.take(width)?;
        let is_inlined = matches!(form, LITERAL | INT16 | UINT16)
            || (width == 4 && matches!(form, INT32 | UINT32));
        let value = if is_inlined {
            entry
        } else {
            behind(little(entry))?
        };
        write(text, form, value, depth + 1)?;
    }
    text.push(if is_object { '}' } else { ']' });
    Ok(())
}

fn quoted(text: &mut String, content: &str) {
    text.push('"');
    for c in content.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            c if c < ' ' => number(text, format_args!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// `my_gcvt`: the fewest digits that are the same number, without an exponent where the point is near or within.
fn double(text: &mut String, value: f64) {
    /// Places before or behind the point.
    const MOST_PLACES: i32 = 15;
    let short = shortest(value.abs());
    let (mantissa, exponent) = short.split_once('e').unwrap_or((&short, "0"));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let (count, point) = (
        digits.len() as i32,
        exponent.parse::<i32>().unwrap_or(0) + 1,
    );
    if value.is_sign_negative() {
        text.push('-');
    }
    if value == 0.0 {
        text.push_str("0.0");
    } else if point <= -MOST_PLACES || (point > MOST_PLACES && count <= point) {
        text.push_str(&digits[..1]);
        if count > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        number(text, format_args!("e{}", point - 1));
    } else if point <= 0 {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', -point as usize));
        text.push_str(&digits);
    } else if point < count {
        let (whole, fraction) = digits.split_at(point as usize);
        number(text, format_args!("{whole}.{fraction}"));
    } else {
        text.push_str(&digits);
        text.extend(std::iter::repeat_n('0', (point - count) as usize));
        text.push_str(".0");
    }
}

/// Of two texts that are as near the server takes the one with an even digit at its end, which is what a given precision does here.
fn shortest(value: f64) -> String {
    let short = format!("{value:e}");
    let mantissa = short.split('e').next().unwrap_or_default();
    let places = mantissa.len().saturating_sub(2);
    let even = format!("{value:.places$e}");
    match even.parse() == Ok(value) {
        true => even,
        false => short,
    }
}

/// A value of a type that JSON has not, by the number of that type.
fn opaque(text: &mut String, type_: u8, data: &[u8]) -> Result<()> {
    match type_ {
        kind::NEWDECIMAL => {
            let (meta, digits) = data.split_at_checked(2).ok_or_else(malformed)?;
            let meta = u16::from_be_bytes([meta[0], meta[1]]);
            let decimal = String::from_utf8(decimal(digits, meta)?).map_err(|_| malformed())?;
            let (sign, digits) = match decimal.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("", decimal.as_str()),
            };
            let plain = digits.trim_start_matches('0');
            let zero = if plain.is_empty() || plain.starts_with('.') {
                "0"
            } else {
                ""
            };
            number(text, format_args!("{sign}{zero}{plain}"));
        }
        kind::DATE | kind::TIME | kind::DATETIME | kind::TIMESTAMP => {
            let packed = Bytes(data).uint(8)? as i64;
            text.push('"');
            text.push_str(&moment(type_, packed));
            text.push('"');
        }
        _ => quoted(text, &format!("base64:type{type_}:{}", base64(data))),
    }
    Ok(())
}

/// `TIME_from_longlong_datetime_packed` and its kin: 24 bits of fraction behind clock and day.
fn moment(type_: u8, packed: i64) -> String {
    let (whole, micros) = (
        packed.unsigned_abs() >> 24,
        packed.unsigned_abs() & 0xff_ffff,
    );
    let (hour, minute, second) = (whole >> 12 & 31, whole >> 6 & 63, whole & 63);
    if type_ == kind::TIME {
        let sign = if packed < 0 { "-" } else { "" };
        let hour = whole >> 12 & 1023;
        return format!("{sign}{hour:02}:{minute:02}:{second:02}.{micros:06}");
    }
    let (day, months) = (whole >> 17 & 31, whole >> 22);
    let date = format!("{:04}-{:02}-{day:02}", months / 13, months % 13);
    match type_ {
        kind::DATE => date,
        _ => format!("{date} {hour:02}:{minute:02}:{second:02}.{micros:06}"),
    }
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /// Then the server begins another line.
    const LINE: usize = 76;
    let mut text = String::new();
    for (i, part) in data.chunks(3).enumerate() {
        if i > 0 && i * 4 % LINE == 0 {
            text.push('\n');
        }
        let bits = part.iter().fold(0, |n, b| n << 8 | usize::from(*b)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            match digit > part.len() {
                true => text.push('='),
                false => text.push(char::from(DIGITS[bits >> (18 - 6 * digit) & 63])),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_an_error() {
        // {"a": [1, null]}
        let whole = [
            0, 1, 0, 25, 0, 11, 0, 1, 0, 2, 12, 0, b'a', 2, 0, 13, 0, 5, 1, 0, 4, 0, 0, 0, 0, 0,
        ];
        assert_eq!(text(&whole).unwrap(), "{\"a\": [1, null]}");
        for end in 1..whole.len() - 3 {
            assert!(text(&whole[..end]).is_err(), "{end}");
        }
        // An array that is in itself.
        assert!(text(&[2, 1, 0, 7, 0, 2, 0, 0]).is_err());
        assert!(text(&[12, 2, 0xff, 0xff]).is_err());
        assert!(text(&[14]).is_err());
    }

    #[test]
    fn doubles_have_their_points() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (1e14, "100000000000000.0"),
            (1e15, "1e15"),
            (1.5e-7, "0.00000015"),
            (-1.234567890123456e-14, "-0.00000000000001234567890123456"),
            (5_554_557_524_210_897.0 / 4.0, "1388639381052724.2"),
            (1e-20, "1e-20"),
            (f64::MAX, "1.7976931348623157e308"),
        ] {
            let mut text = String::new();
            double(&mut text, value);
            assert_eq!(text, expected);
        }
    }
}
