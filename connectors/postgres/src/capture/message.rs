//! Messages of pgoutput, protocol version 1, cut into their parts. Values stay where they are.

use belvedere_connector::{Error, Result};
use bytes::{Buf, Bytes};

#[derive(Debug)]
pub enum Message {
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple,
    },
    Update {
        relation: u32,
        /// What names the old row, where that is not what names the new one.
        old: Option<Tuple>,
        new: Tuple,
    },
    Delete {
        relation: u32,
        old: Tuple,
    },
    Truncate(Vec<u32>),
    /// What has nothing to do with rows: names of types, where a transaction came from.
    Other,
}

/// What a table is, from here on.
#[derive(Debug)]
pub struct Relation {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// `relreplident`.
    pub identity: u8,
    pub columns: Vec<Column>,
}

#[derive(Debug)]
pub struct Column {
    pub name: String,
    /// Old rows are named by it, and maybe others.
    pub is_key: bool,
    pub type_oid: u32,
    pub modifier: i32,
}

/// A row's values, one for each column.
pub type Tuple = Vec<Value>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    /// Large, and not sent, since it is as it was.
    Unchanged,
    Binary(Bytes),
    /// Of a type without a binary form.
    Text(Bytes),
}

impl Message {
    /// # Errors
    /// If it is not of the protocol.
    pub fn parse(mut data: Bytes) -> Result<Self> {
        let of = &mut data;
        let message = match byte(of)? {
            b'R' => Self::Relation(relation(of)?),
            b'I' => {
                let relation = u32(of)?;
                expect(of, b"N")?;
                let new = tuple(of)?;
                Self::Insert { relation, new }
            }
            b'U' => {
                let relation = u32(of)?;
                let old = match expect(of, b"KON")? {
                    b'N' => None,
                    _ => {
                        let old = tuple(of)?;
                        expect(of, b"N")?;
                        Some(old)
                    }
                };
                let new = tuple(of)?;
                Self::Update { relation, old, new }
            }
            b'D' => {
                let relation = u32(of)?;
                expect(of, b"KO")?;
                let old = tuple(of)?;
                Self::Delete { relation, old }
            }
            b'T' => {
                let count = u32(of)?;
                byte(of)?;
                let relations = (0..count).map(|_| u32(of));
                Self::Truncate(relations.collect::<Result<_>>()?)
            }
            b'Y' | b'O' => return Ok(Self::Other),
            _ => return Err(malformed()),
        };
        match data.is_empty() {
            true => Ok(message),
            false => Err(malformed()),
        }
    }
}

fn relation(of: &mut Bytes) -> Result<Relation> {
    let oid = u32(of)?;
    let schema = match text(of)? {
        empty if empty.is_empty() => "pg_catalog".to_string(),
        schema => schema,
    };
    let name = text(of)?;
    let identity = byte(of)?;
    let count = u16(of)?;
    let column = |_| {
        let flags = byte(of)?;
        Ok(Column {
            name: text(of)?,
            is_key: flags & 1 != 0,
            type_oid: u32(of)?,
            modifier: u32(of)? as i32,
        })
    };
    let columns = (0..count).map(column).collect::<Result<_>>()?;
    Ok(Relation {
        oid,
        schema,
        name,
        identity,
        columns,
    })
}

fn tuple(of: &mut Bytes) -> Result<Tuple> {
    let count = u16(of)?;
    let value = |_| {
        Ok(match byte(of)? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            b'b' => Value::Binary(bytes(of)?),
            b't' => Value::Text(bytes(of)?),
            _ => return Err(malformed()),
        })
    };
    (0..count).map(value).collect()
}

fn bytes(of: &mut Bytes) -> Result<Bytes> {
    let length = u32(of)? as usize;
    match length <= of.len() {
        true => Ok(of.split_to(length)),
        false => Err(malformed()),
    }
}

fn text(of: &mut Bytes) -> Result<String> {
    let end = of
        .iter()
        .position(|byte| *byte == 0)
        .ok_or_else(malformed)?;
    let text = of.split_to(end);
    of.advance(1);
    String::from_utf8(text.to_vec()).map_err(|_| malformed())
}

fn byte(of: &mut Bytes) -> Result<u8> {
    of.try_get_u8().map_err(|_| malformed())
}

fn u16(of: &mut Bytes) -> Result<u16> {
    of.try_get_u16().map_err(|_| malformed())
}

fn u32(of: &mut Bytes) -> Result<u32> {
    of.try_get_u32().map_err(|_| malformed())
}

fn expect(of: &mut Bytes, one_of: &[u8]) -> Result<u8> {
    let found = byte(of)?;
    match one_of.contains(&found) {
        true => Ok(found),
        false => Err(malformed()),
    }
}

pub fn malformed() -> Error {
    Error::internal("a message of the stream of changes is not of the form that was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update() -> Vec<u8> {
        let mut data = b"U\0\0\x10\0K\0\x03b\0\0\0\x04\0\0\0\x01nn".to_vec();
        data.extend(b"N\0\x03b\0\0\0\x04\0\0\0\x02ut\0\0\0\x02hi");
        data
    }

    #[test]
    fn a_key_change_has_both() {
        let Ok(Message::Update { relation, old, new }) = Message::parse(update().into()) else {
            panic!();
        };
        assert_eq!(relation, 4096);
        let number = |n: u8| Value::Binary(vec![0, 0, 0, n].into());
        assert_eq!(old, Some(vec![number(1), Value::Null, Value::Null]));
        let text = Value::Text(Bytes::from_static(b"hi"));
        assert_eq!(new, [number(2), Value::Unchanged, text]);
    }

    #[test]
    fn what_is_cut_or_too_long_is_an_error() {
        let relation = b"R\0\0\0\x07public\0item\0d\0\x01\x01id\0\0\0\0\x17\xff\xff\xff\xff";
        let truncate = b"T\0\0\0\x02\0\0\0\0\x07\0\0\0\x08";
        for whole in [&update()[..], relation, truncate] {
            assert!(Message::parse(whole.to_vec().into()).is_ok());
            for length in 0..whole.len() {
                assert!(
                    Message::parse(whole[..length].to_vec().into()).is_err(),
                    "{length}"
                );
            }
            let more = [whole, b"\0"].concat();
            assert!(Message::parse(more.into()).is_err());
        }
        // A length beyond all there is; many relations that are none; another message.
        for hostile in [
            &b"I\0\0\0\x01N\0\x01b\xff\xff\xff\xff"[..],
            b"T\xff\xff\xff\xff\0",
            b"S",
        ] {
            assert!(Message::parse(hostile.to_vec().into()).is_err());
        }
    }
}
