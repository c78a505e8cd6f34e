//! Values of the log as the client gives those of a scan, so that both are read into Arrow in one way.
//!
//! The formats are those of the server's sources: `Field::pack`, and `my_time_packed_to_binary` and its kin.

use std::net::Ipv4Addr;

use belvedere_connector::Result;
use mysql_async::Value;

use super::bytes::{Bytes, big, little, malformed};
use super::layout::{Column, kind};
use crate::values::civil_from_days;

/// How many bytes a decimal's digits take, by how many they are beside groups of nine.
const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// A column's next value, as it is stored.
pub fn stored<'a>(column: &Column, row: &mut Bytes<'a>) -> Result<&'a [u8]> {
    use kind::*;
    let meta = usize::from(column.meta);
    let fraction = meta.div_ceil(2);
    let length = match column.kind {
        TINY | YEAR => 1,
        SHORT => 2,
        INT24 | DATE | NEWDATE | TIME => 3,
        LONG | FLOAT | TIMESTAMP => 4,
        LONGLONG | DOUBLE | DATETIME => 8,
        TIME2 => 3 + fraction,
        TIMESTAMP2 => 4 + fraction,
        DATETIME2 => 5 + fraction,
        NEWDECIMAL => decimal_length(column.meta)?,
        BIT => (meta >> 8) + usize::from(meta & 0xff > 0),
        ENUM | SET => meta & 0xff,
        VARCHAR | VAR_STRING | STRING | VARCHAR_COMPRESSED => {
            let prefix = if meta > 255 { 2 } else { 1 };
            row.uint(prefix)? as usize
        }
        TINY_BLOB..=BLOB | GEOMETRY | BLOB_COMPRESSED | JSON | VECTOR
            if (1..=4).contains(&meta) =>
        {
            row.uint(meta)? as usize
        }
        _ => return Err(malformed()),
    };
    row.take(length)
}

/// A value that is not text, as a scan has it.
pub fn value(column: &Column, is_unsigned: bool, bytes: &[u8]) -> Result<Value> {
    use kind::*;
    Ok(match column.kind {
        TINY | SHORT | INT24 | LONG | LONGLONG => match is_unsigned {
            true => Value::UInt(little(bytes)),
            false => {
                let unused = 64 - 8 * bytes.len() as u32;
                Value::Int((little(bytes) << unused) as i64 >> unused)
            }
        },
        YEAR => match little(bytes) {
            0 => Value::UInt(0),
            year => Value::UInt(1900 + year),
        },
        FLOAT => Value::Float(f32::from_bits(little(bytes) as u32)),
        DOUBLE => Value::Double(f64::from_bits(little(bytes))),
        NEWDECIMAL => Value::Bytes(decimal(bytes, column.meta)?),
        DATE | NEWDATE => {
            let days = little(bytes);
            date(days >> 9, days >> 5 & 15, days & 31, 0, 0)
        }
        TIME => {
            let digits = (little(bytes) << 40) as i64 >> 40;
            time(digits < 0, digits.unsigned_abs(), 0)
        }
        DATETIME => {
            let digits = little(bytes);
            let (day, clock) = (digits / 1_000_000, digits % 1_000_000);
            let clock = (clock / 10_000) << 12 | (clock / 100 % 100) << 6 | (clock % 100);
            date(day / 10_000, day / 100 % 100, day % 100, clock, 0)
        }
        TIMESTAMP => timestamp(little(bytes), 0),
        TIMESTAMP2 => {
            let (seconds, fraction) = bytes.split_at_checked(4).ok_or_else(malformed)?;
            timestamp(big(seconds), micros(fraction))
        }
        DATETIME2 => {
            let (packed, fraction) = bytes.split_at_checked(5).ok_or_else(malformed)?;
            let packed = big(packed).wrapping_sub(1 << 39);
            let (days, clock) = (packed >> 17, packed & 0x1_ffff);
            let months = days >> 5;
            date(months / 13, months % 13, days & 31, clock, micros(fraction))
        }
        TIME2 => time2(bytes)?,
        BIT => Value::Bytes(bytes.to_vec()),
        _ => return Err(malformed()),
    })
}

/// Hours, minutes and seconds as the server packs them: 12, 6 and 6 bits.
fn date(year: u64, month: u64, day: u64, clock: u64, micros: u32) -> Value {
    Value::Date(
        year as u16,
        month as u8,
        day as u8,
        (clock >> 12) as u8,
        (clock >> 6 & 63) as u8,
        (clock & 63) as u8,
        micros,
    )
}

/// Of a fraction of 1 to 3 bytes: hundredths, ten thousandths, millionths.
fn micros(fraction: &[u8]) -> u32 {
    let unit = [1_000_000, 10_000, 100, 1][fraction.len().min(3)];
    big(fraction) as u32 * unit
}

/// Seconds since 1970; the server's zone is of no matter. 0 is the zero date.
fn timestamp(seconds: u64, micros: u32) -> Value {
    if seconds == 0 && micros == 0 {
        return Value::Date(0, 0, 0, 0, 0, 0, 0);
    }
    let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let clock = (second / 3600) << 12 | (second / 60 % 60) << 6 | (second % 60);
    date(year as u64, month.into(), day.into(), clock, micros)
}

/// Of the digits hhmmss.
fn time(is_negative: bool, digits: u64, micros: u32) -> Value {
    let hours = digits / 10_000;
    Value::Time(
        is_negative,
        (hours / 24) as u32,
        (hours % 24) as u8,
        (digits / 100 % 100) as u8,
        (digits % 100) as u8,
        micros,
    )
}

/// One number of seconds and fraction, of which a half is added so that it sorts by its bytes.
fn time2(bytes: &[u8]) -> Result<Value> {
    let (_, fraction) = bytes.split_at_checked(3).ok_or_else(malformed)?;
    let half = 1_i64 << (8 * bytes.len() - 1);
    let number = big(bytes) as i64 - half;
    let (is_negative, number) = (number < 0, number.unsigned_abs());
    let fraction_bytes = fraction.len();
    let bits = 8 * fraction_bytes;
    let (clock, fraction) = (number >> bits, number & ((1 << bits) - 1));
    let unit = [1_000_000, 10_000, 100, 1][fraction_bytes & 3];
    let digits = (clock >> 12 & 1023) * 10_000 + (clock >> 6 & 63) * 100 + (clock & 63);
    Ok(time(is_negative, digits, fraction as u32 * unit))
}

fn digits(meta: u16) -> Result<(usize, usize)> {
    let [precision, scale] = meta.to_be_bytes().map(usize::from);
    let whole = precision.checked_sub(scale).ok_or_else(malformed)?;
    Ok((whole, scale))
}

fn decimal_length(meta: u16) -> Result<usize> {
    let (whole, scale) = digits(meta)?;
    let length = |digits: usize| digits / 9 * 4 + DIGIT_BYTES[digits % 9];
    Ok(length(whole) + length(scale))
}

/// Groups of nine digits in four bytes, those on the outside shorter; the first bit is inverted, and of a negative number all
/// others, too.
pub fn decimal(bytes: &[u8], meta: u16) -> Result<Vec<u8>> {
    let (whole, scale) = digits(meta)?;
    let first = *bytes.first().ok_or_else(malformed)?;
    let is_negative = first & 0x80 == 0;
    let mut plain: Vec<u8> = bytes.to_vec();
    plain[0] ^= 0x80;
    if is_negative {
        plain.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut rest = Bytes(&plain);
    let mut text = String::with_capacity(whole + scale + 2);
    if is_negative {
        text.push('-');
    }
    let mut group = |digits: usize| {
        let number = big(rest.take(DIGIT_BYTES[digits])?);
        if digits > 0 {
            text.push_str(&format!("{number:0digits$}"));
        }
        Ok::<_, belvedere_connector::Error>(())
    };
    group(whole % 9)?;
    (0..whole / 9).try_for_each(|_| group(9))?;
    let point = usize::from(is_negative) + whole;
    (0..scale / 9).try_for_each(|_| group(9))?;
    group(scale % 9)?;
    if scale > 0 && point <= text.len() {
        text.insert(point, '.');
    }
    Ok(text.into_bytes())
}

pub fn uuid(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    let parts = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ];
    parts.join("-")
}

pub fn inet4(bytes: &[u8]) -> String {
    Ipv4Addr::from(big(bytes) as u32).to_string()
}

/// As the server writes it: the first of the longest runs of zero words is left out, of one word, too; and the last four bytes are
/// written as an IPv4 address if they are one that is mapped or compatible.
pub fn inet6(bytes: &[u8]) -> String {
    let words: Vec<u64> = bytes.chunks(2).map(big).collect();
    let mut gap = (0, 0);
    let mut start = 0;
    for (i, word) in words.iter().enumerate() {
        if *word != 0 {
            start = i + 1;
        } else if i + 1 - start > gap.1 {
            gap = (start, i + 1 - start);
        }
    }
    let (from, to) = (gap.0, gap.0 + gap.1);
    let is_ipv4 = from == 0 && (gap.1 == 6 || (gap.1 == 5 && words.get(5) == Some(&0xffff)));
    let mut text = String::new();
    for (i, word) in words.iter().enumerate() {
        if i == from && gap.1 > 0 {
            text.push_str("::");
        }
        if (from..to).contains(&i) {
            continue;
        }
        if !text.is_empty() && !text.ends_with(':') {
            text.push(':');
        }
        if is_ipv4 && i == 6 {
            text.push_str(&inet4(bytes.get(12..).unwrap_or_default()));
            break;
        }
        text.push_str(&format!("{word:x}"));
    }
    text
}
