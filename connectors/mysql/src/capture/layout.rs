//! A table as the log describes it before its rows.

use std::collections::HashMap;

use belvedere_connector::Result;

use super::bytes::{Bytes, malformed};
use crate::session::Flavor;

/// Types of columns, by the server's numbers.
pub mod kind {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const BLOB_COMPRESSED: u8 = 140;
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// Of a collation of bytes without a meaning.
pub const BINARY: u16 = 63;

/// The types of columns whose collations a server lists.
fn texts(flavor: Flavor) -> &'static [u8] {
    use kind::*;
    match flavor {
        Flavor::MariaDb => &[
            STRING,
            VAR_STRING,
            VARCHAR,
            VARCHAR_COMPRESSED,
            BLOB_COMPRESSED,
            TINY_BLOB,
            250,
            251,
            BLOB,
            GEOMETRY,
        ],
        Flavor::MySql => &[
            STRING, VAR_STRING, VARCHAR, TINY_BLOB, 250, 251, BLOB, VECTOR,
        ],
    }
}

/// A column of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// One of [`kind`], or a number that is none of ours.
    pub kind: u8,
    /// What its type is further: a length, digits.
    pub meta: u16,
    /// The number of the collation of its text.
    pub collation: u16,
    /// Of an ENUM or SET, in its character set.
    pub labels: Vec<Vec<u8>>,
}

/// Which table an event describes, and how.
pub struct Named<'a> {
    pub id: u64,
    pub schema: &'a [u8],
    pub name: &'a [u8],
    columns: Bytes<'a>,
}

impl<'a> Named<'a> {
    pub fn parse(data: &'a [u8]) -> Result<Self> {
        let mut data = Bytes(data);
        let id = data.uint(6)?;
        data.take(2)?;
        let mut name = || {
            let length = data.u8()?;
            let name = data.take(length.into())?;
            data.take(1)?;
            Ok::<_, belvedere_connector::Error>(name)
        };
        let (schema, name) = (name()?, name()?);
        let columns = data;
        Ok(Self {
            id,
            schema,
            name,
            columns,
        })
    }

    /// None: the log does not name its columns.
    pub fn columns(mut self, flavor: Flavor) -> Result<Option<Vec<Column>>> {
        let data = &mut self.columns;
        let count = data.length()?;
        let kinds = data.take(count)?;
        let mut metas = Bytes(data.counted()?);
        data.take(count.div_ceil(8))?;
        let mut columns = Vec::with_capacity(count);
        for kind in kinds {
            let (kind, meta) = typed(*kind, &mut metas)?;
            columns.push(Column {
                name: String::new(),
                kind,
                meta,
                collation: BINARY,
                labels: Vec::new(),
            });
        }
        let mut is_named = false;
        while !data.is_empty() {
            let field = data.u8()?;
            let content = Bytes(data.counted()?);
            let is =
                |kinds: &'static [u8]| move |column: &&mut Column| kinds.contains(&column.kind);
            let texts = is(texts(flavor));
            let labelled = is(&[kind::ENUM, kind::SET]);
            match field {
                2 => default_collations(content, columns.iter_mut().filter(texts))?,
                3 => collations(content, columns.iter_mut().filter(texts))?,
                4 => {
                    names(content, &mut columns)?;
                    is_named = true;
                }
                5 => labels(content, columns.iter_mut().filter(is(&[kind::SET])))?,
                6 => labels(content, columns.iter_mut().filter(is(&[kind::ENUM])))?,
                10 => default_collations(content, columns.iter_mut().filter(labelled))?,
                11 => collations(content, columns.iter_mut().filter(labelled))?,
                // Signs, geometries, keys: what we need of them the schema says.
                _ => {}
            }
        }
        Ok(is_named.then_some(columns))
    }
}

/// A column's type, and what it is further.
fn typed(kind: u8, metas: &mut Bytes<'_>) -> Result<(u8, u16)> {
    use kind::*;
    let length = match kind {
        FLOAT
        | DOUBLE
        | TIMESTAMP2
        | DATETIME2
        | TIME2
        | TINY_BLOB..=BLOB
        | GEOMETRY
        | BLOB_COMPRESSED
        | VECTOR
        | JSON => 1,
        VARCHAR | VAR_STRING | STRING | NEWDECIMAL | BIT | ENUM | SET | VARCHAR_COMPRESSED => 2,
        _ => 0,
    };
    let meta = metas.take(length)?;
    Ok(match (kind, meta) {
        // The real type, and a length whose two highest bits are hidden in it.
        (STRING, [real, low]) => match real & 0x30 {
            0x30 => (*real, u16::from(*low)),
            high => (real | 0x30, u16::from(*low) | u16::from(high ^ 0x30) << 4),
        },
        (NEWDECIMAL, [precision, scale]) => (kind, u16::from_be_bytes([*precision, *scale])),
        (_, [one]) => (kind, u16::from(*one)),
        (_, [low, high]) => (kind, u16::from_le_bytes([*low, *high])),
        _ => (kind, 0),
    })
}

/// One for all, and those of columns that have another, by their number among these.
fn default_collations<'c>(
    mut content: Bytes<'_>,
    columns: impl Iterator<Item = &'c mut Column>,
) -> Result<()> {
    let one = collation(&mut content)?;
    let mut others = HashMap::new();
    while !content.is_empty() {
        let number = content.length()?;
        others.insert(number, collation(&mut content)?);
    }
    for (number, column) in columns.enumerate() {
        column.collation = others.get(&number).copied().unwrap_or(one);
    }
    Ok(())
}

fn collations<'c>(
    mut content: Bytes<'_>,
    columns: impl Iterator<Item = &'c mut Column>,
) -> Result<()> {
    for column in columns {
        column.collation = collation(&mut content)?;
    }
    Ok(())
}

fn collation(content: &mut Bytes<'_>) -> Result<u16> {
    u16::try_from(content.packed()?).map_err(|_| malformed())
}

fn names(mut content: Bytes<'_>, columns: &mut [Column]) -> Result<()> {
    for column in columns {
        let name = content.counted()?;
        column.name = String::from_utf8(name.to_vec()).map_err(|_| malformed())?;
    }
    Ok(())
}

fn labels<'c>(mut content: Bytes<'_>, columns: impl Iterator<Item = &'c mut Column>) -> Result<()> {
    for column in columns {
        let count = content.length()?;
        for _ in 0..count {
            column.labels.push(content.counted()?.to_vec());
        }
    }
    Ok(())
}
