//! Numbers as PostgreSQL writes them.

use std::fmt::{self, Write};

use bytes::{BufMut, BytesMut};

/// A float from its shortest digits (`1.5e-7`): with an exponent where PostgreSQL has one.
pub(super) fn float(out: &mut BytesMut, value: f64, shortest: String, digits: i32) -> fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    }
    if value.is_infinite() {
        return out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return out.write_str(&shortest);
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
    }
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.write_str(sign)?;
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < 0 {
        out.write_str("0.")?;
        for _ in 1..-exponent {
            out.write_char('0')?;
        }
        return out.write_str(&digits);
    }
    let before = exponent as usize + 1;
    for n in 0..before {
        out.write_str(digits.get(n..=n).unwrap_or("0"))?;
    }
    match digits.get(before..) {
        Some(after) if !after.is_empty() => write!(out, ".{after}"),
        _ => Ok(()),
    }
}

/// `numeric` in binary: digits to the base 10,000, from a decimal's text.
pub(super) fn binary(out: &mut BytesMut, text: &str, scale: i8) {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let lead = whole.len().div_ceil(4) * 4 - whole.len();
    let trail = fraction.len().div_ceil(4) * 4 - fraction.len();
    let padded = std::iter::repeat_n(b'0', lead)
        .chain(whole.bytes())
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', trail));
    let mut groups: Vec<i16> = Vec::new();
    for (n, digit) in padded.enumerate() {
        let digit = i16::from(digit - b'0');
        match (n % 4, groups.last_mut()) {
            (0, _) | (_, None) => groups.push(digit),
            (_, Some(last)) => *last = *last * 10 + digit,
        }
    }
    let mut weight = (whole.len().div_ceil(4)) as i16 - 1;
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight -= zeros as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_i16(groups.len() as i16);
    out.put_i16(weight);
    out.put_u16(if is_negative && !groups.is_empty() {
        0x4000
    } else {
        0
    });
    out.put_i16(i16::from(scale.max(0)));
    for group in groups {
        out.put_i16(group);
    }
}

/// The decimal's text of a `numeric` in binary. None: it is none, or NaN or infinite.
pub(super) fn from_binary(bytes: &[u8]) -> Option<String> {
    let mut fields = bytes
        .chunks_exact(2)
        .map(|b| i16::from_be_bytes([b[0], b[1]]));
    let (count, weight) = (fields.next()?, fields.next()?);
    let (sign, scale) = (fields.next()?, fields.next()?);
    let groups: Vec<i16> = fields.collect();
    let is_sound = groups.len() == usize::try_from(count).ok()?
        && bytes.len() % 2 == 0
        && matches!(sign, 0 | 0x4000)
        && groups.iter().all(|group| (0..10_000).contains(group));
    if !is_sound || !(-200..=200).contains(&weight) || !(0..=1000).contains(&scale) {
        return None;
    }
    let group = |at: i16| groups.get(usize::try_from(weight - at).ok()?).copied();
    let mut text = String::new();
    if sign != 0 {
        text.push('-');
    }
    match weight < 0 {
        true => text.push('0'),
        false => {
            for at in (0..=weight).rev() {
                let _ = write!(text, "{:04}", group(at).unwrap_or(0));
            }
        }
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut at = -1;
        while fraction.len() < scale as usize {
            let _ = write!(fraction, "{:04}", group(at).unwrap_or(0));
            at -= 1;
        }
        fraction.truncate(scale as usize);
        let _ = write!(text, ".{fraction}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float8(value: f64) -> String {
        let mut out = BytesMut::new();
        float(&mut out, value, format!("{value:e}"), 15).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn floats_are_as_postgresql_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (100.0, "100"),
            (-123.456, "-123.456"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (f64::NEG_INFINITY, "-Infinity"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(float8(value), text);
        }
    }

    #[test]
    fn numerics_come_back() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "10000",
            "9999.9999",
            "0.0001",
            "0.00001",
            "-123456789.123456789",
            "100000000",
            "0.10",
            "99999999999999999999999999999999999999",
        ] {
            let scale = text.split_once('.').map_or(0, |(_, f)| f.len() as i8);
            let mut out = BytesMut::new();
            binary(&mut out, text, scale);
            let back = from_binary(&out).unwrap();
            let plain = back.trim_start_matches('-').trim_start_matches('0');
            let expected = text.trim_start_matches('-').trim_start_matches('0');
            assert_eq!(plain, expected, "{text}");
            assert_eq!(back.starts_with('-'), text.starts_with('-'));
        }
        assert_eq!(from_binary(&[0, 1]), None);
        assert_eq!(from_binary(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None);
    }
}
