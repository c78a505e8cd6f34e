use std::fmt::{self, Write as _};
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::record::Record;

/// Between what is hashed and the hash.
const SEAL: &[u8] = b",\"hash\":\"";
/// Behind the hash.
const END: &[u8] = b"\"}";
const HEX: usize = 64;

/// The last record of a chain: its number, and its hash, in which those of all before it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Head {
    /// Counted from 1. 0: there is no record.
    pub seq: u64,
    pub hash: [u8; 32],
}

/// A record as it is in a file, which is as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub seq: u64,
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub record: Record,
    /// The hash that it says the record before it has.
    pub prev: [u8; 32],
    pub hash: [u8; 32],
}

/// Why a line is no record of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is no record of an audit")]
    Malformed,
    #[error("it is not as it was written: its hash is another one")]
    Changed,
}

#[derive(Deserialize)]
struct Body {
    seq: u64,
    prev: String,
    at: String,
    #[serde(flatten)]
    record: Record,
}

impl Head {
    /// Append a record to the chain that ends here: to its text, with a line break behind it. What is hashed is the line up to
    /// `,"hash"`, so that `sha256sum` can check it.
    pub fn append(&mut self, at: DateTime<Utc>, record: &Record, text: &mut Vec<u8>) {
        let start = text.len();
        let seq = self.seq + 1;
        let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let prev = hex(&self.hash);
        let stamp = format!("{{\"seq\":{seq},\"prev\":\"{prev}\",\"at\":\"{at}\",");
        text.extend_from_slice(stamp.as_bytes());
        // Texts and numbers: there is nothing in it that JSON has not.
        let json = serde_json::to_string(record).unwrap_or_else(|_| "{}".to_string());
        text.extend_from_slice(&json.as_bytes()[1..json.len() - 1]);
        let hash: [u8; 32] = Sha256::digest(&text[start..]).into();
        text.extend_from_slice(SEAL);
        text.extend_from_slice(hex(&hash).as_bytes());
        text.extend_from_slice(END);
        text.push(b'\n');
        *self = Self { seq, hash };
    }

    /// Whether a line is the next one.
    pub fn precedes(&self, line: &Line) -> bool {
        line.seq == self.seq + 1 && line.prev == self.hash
    }
}

impl Line {
    /// A line without its line break.
    pub fn read(line: &[u8]) -> Result<Self, Flaw> {
        let sealed = line.strip_suffix(END).ok_or(Flaw::Malformed)?;
        let at = sealed.len().checked_sub(HEX).ok_or(Flaw::Malformed)?;
        let (before, hash) = sealed.split_at(at);
        let body = before.strip_suffix(SEAL).ok_or(Flaw::Malformed)?;
        let hash = std::str::from_utf8(hash).ok().and_then(unhex);
        let hash = hash.ok_or(Flaw::Malformed)?;
        if <[u8; 32]>::from(Sha256::digest(body)) != hash {
            return Err(Flaw::Changed);
        }
        let mut json = body.to_vec();
        json.push(b'}');
        let body: Body = serde_json::from_slice(&json).map_err(|_| Flaw::Malformed)?;
        let at = DateTime::parse_from_rfc3339(&body.at).map_err(|_| Flaw::Malformed)?;
        Ok(Self {
            seq: body.seq,
            at_us: at.timestamp_micros(),
            record: body.record,
            prev: unhex(&body.prev).ok_or(Flaw::Malformed)?,
            hash,
        })
    }

    pub fn head(&self) -> Head {
        Head {
            seq: self.seq,
            hash: self.hash,
        }
    }

    /// The head before it.
    pub fn before(&self) -> Head {
        Head {
            seq: self.seq.saturating_sub(1),
            hash: self.prev,
        }
    }
}

/// `SEQ:HASH`
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex(&self.hash))
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (seq, hash) = text.split_once(':')?;
            let is_number = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
            Some(Self {
                seq: seq.parse().ok().filter(|_| is_number)?,
                hash: unhex(hash)?,
            })
        };
        read().ok_or_else(|| {
            "write a head as the log has it: a number, ':', and 64 hexadecimal digits".to_string()
        })
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(HEX);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// In lower case, as it is written: a hash has one text.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != HEX {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
