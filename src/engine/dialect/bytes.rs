//! `bytea`: what a text stands for, and `||`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::functions::function;
use super::wrong;

/// The bytes that a text is written for: `\x0aff`, or characters with `\\` and `\000`.
pub(crate) fn bytes_of(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        return digits.chunks(2).map(|pair| number(pair, 2, 16)).collect();
    }
    let mut bytes = Vec::new();
    let mut left = text.as_bytes();
    while let Some((byte, rest)) = left.split_first() {
        left = rest;
        if *byte != b'\\' {
            bytes.push(*byte);
        } else if let Some(rest) = left.strip_prefix(b"\\") {
            bytes.push(b'\\');
            left = rest;
        } else {
            let (octal, rest) = left.split_first_chunk::<3>()?;
            bytes.push(number(octal, 3, 8)?);
            left = rest;
        }
    }
    Some(bytes)
}

fn number(digits: &[u8], count: usize, radix: u32) -> Option<u8> {
    let is_digit = |b: &u8| char::from(*b).is_digit(radix);
    if digits.len() != count || !digits.iter().all(is_digit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// The same, or an error.
pub(super) fn parsed(text: &str) -> Result<Vec<u8>> {
    bytes_of(text).ok_or_else(|| wrong("a text is no value of type bytea", "22P02"))
}

/// Each text as the bytes that it is written for.
pub(in crate::engine) fn read_bytes(texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut read = Vec::with_capacity(texts.len());
    for text in texts {
        read.push(text.map(parsed).transpose()?);
    }
    Ok(Arc::new(BinaryArray::from_iter(read)))
}

pub(super) fn bytes_in() -> ScalarUDF {
    function("bytes_in", &[1], binary, |args| read_bytes(&args[0]))
}

pub(super) fn joined() -> ScalarUDF {
    function("bytes_joined", &[2], binary, |args| {
        let left = cast(&args[0], &DataType::Binary)?;
        let right = cast(&args[1], &DataType::Binary)?;
        let pairs = left.as_binary::<i32>().iter().zip(right.as_binary::<i32>());
        let joined = pairs.map(|(left, right)| Some([left?, right?].concat()));
        Ok(Arc::new(joined.collect::<BinaryArray>()))
    })
}

fn binary(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bytes_as_postgresql_reads_them() {
        assert_eq!(bytes_of("\\x00Ff"), Some(vec![0, 255]));
        assert_eq!(bytes_of("\\x00 ff"), Some(vec![0, 255]));
        assert_eq!(bytes_of("a\\\\b\\000\\377"), Some(b"a\\b\0\xff".to_vec()));
        assert_eq!(bytes_of(""), Some(Vec::new()));
        assert_eq!(bytes_of("ä"), Some("ä".as_bytes().to_vec()));
        for text in ["\\x0", "\\xzz", "\\x+f", "\\", "\\12", "\\400", "\\+12"] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }
}
