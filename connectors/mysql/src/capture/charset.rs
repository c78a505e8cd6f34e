//! Text of every character set to UTF-8, as the server converts it for a scan.

use std::collections::HashMap;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::layout::BINARY;

/// How a column's text is read.
#[derive(Debug, Clone)]
pub enum Charset {
    /// No text.
    Bytes,
    Utf8,
    /// What each byte means.
    Single(Arc<[char]>),
    /// Units of two bytes, and whether their lower one is first.
    Utf16 {
        is_little: bool,
    },
    Utf32,
}

/// The server's collations, by number.
#[derive(Debug, Default)]
pub struct Charsets {
    collations: HashMap<u16, String>,
    single: HashMap<String, Arc<[char]>>,
}

impl Charsets {
    /// # Errors
    /// The connection's.
    pub async fn read(conn: &mut Conn) -> mysql_async::Result<Self> {
        let mut all = Self::default();
        let known =
            "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL";
        all.add(conn.query(known).await?);
        // Those that several character sets share have numbers here alone, on servers that have such.
        let shared = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY";
        match conn.query(shared).await {
            Ok(rows) => all.add(rows),
            Err(mysql_async::Error::Server(_)) => {}
            Err(e) => return Err(e),
        }
        let single = "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS WHERE MAXLEN = 1 AND CHARACTER_SET_NAME <> 'binary'";
        let single: Vec<String> = conn.query(single).await?;
        let bytes: String = (0..=255).map(|byte| format!("{byte:02x}")).collect();
        let meaning =
            |name: &String| format!("CONVERT(CONVERT(x'{bytes}' USING {name}) USING utf8mb4)");
        let meanings = single.iter().map(meaning).collect::<Vec<_>>().join(", ");
        let row: Option<Row> = conn.query_first(format!("SELECT {meanings}")).await?;
        for (i, name) in single.into_iter().enumerate() {
            let Some(Value::Bytes(text)) = row.as_ref().and_then(|row| row.as_ref(i)) else {
                continue;
            };
            let meanings: Arc<[char]> = String::from_utf8_lossy(text).chars().collect();
            if meanings.len() == 256 {
                all.single.insert(name, meanings);
            }
        }
        Ok(all)
    }

    fn add(&mut self, rows: Vec<(Option<u16>, Option<String>)>) {
        let known = rows.into_iter().filter_map(|(id, name)| id.zip(name));
        self.collations.extend(known);
    }

    /// Of a collation's number.
    ///
    /// # Errors
    /// With the name of one that is not read from the log.
    pub fn of(&self, collation: u16) -> Result<Charset, String> {
        if collation == BINARY {
            return Ok(Charset::Bytes);
        }
        let name = self.collations.get(&collation).map_or("", String::as_str);
        match name {
            "utf8" | "utf8mb3" | "utf8mb4" | "ascii" => Ok(Charset::Utf8),
            "ucs2" | "utf16" => Ok(Charset::Utf16 { is_little: false }),
            "utf16le" => Ok(Charset::Utf16 { is_little: true }),
            "utf32" => Ok(Charset::Utf32),
            _ => match self.single.get(name) {
                Some(meanings) => Ok(Charset::Single(meanings.clone())),
                None if name.is_empty() => Err(format!("collation {collation}")),
                None => Err(name.to_string()),
            },
        }
    }
}

impl Charset {
    /// In UTF-8, or as they are if they are not of the character set: who reads them finds out.
    pub fn text(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Bytes | Self::Utf8 => bytes.to_vec(),
            Self::Single(meanings) => {
                let mut text = String::with_capacity(bytes.len());
                text.extend(bytes.iter().map(|byte| meanings[usize::from(*byte)]));
                text.into_bytes()
            }
            Self::Utf16 { is_little } => {
                let units = bytes.chunks(2).map(|unit| match (unit, is_little) {
                    ([low, high], true) => u16::from_le_bytes([*low, *high]),
                    ([high, low], false) => u16::from_be_bytes([*high, *low]),
                    _ => u16::from(b'?'),
                });
                let text = char::decode_utf16(units).map(|unit| unit.unwrap_or('?'));
                text.collect::<String>().into_bytes()
            }
            Self::Utf32 => {
                let number = |bytes: &[u8]| super::bytes::big(bytes) as u32;
                let text = bytes.chunks(4).map(|bytes| char::from_u32(number(bytes)));
                let text = text.map(|found| found.unwrap_or('?'));
                text.collect::<String>().into_bytes()
            }
        }
    }
}
