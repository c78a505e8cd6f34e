//! The messages of the protocol, version 3 (PostgreSQL's documentation, "Message Formats"): what clients send is read strictly,
//! for a message that is not what it says must harm nobody.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a client sends before it may say anything else.
#[derive(Debug, PartialEq)]
pub(super) enum Opening {
    /// Whether the server speaks TLS.
    Tls,
    /// Whether the server speaks GSSAPI.
    Gss,
    /// End what another connection runs.
    Cancel { process: i32, secret: i32 },
    /// Begin, in this minor version.
    Start {
        minor: u16,
        parameters: Vec<(String, String)>,
    },
    /// A version that is none of ours.
    Version(u16, u16),
}

/// What a client sends.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Query(String),
    Parse {
        name: String,
        sql: String,
        /// The numbers of the parameters' types; 0 where the statement should tell.
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Close(Target),
    Execute {
        portal: String,
        /// None: all.
        rows: Option<usize>,
    },
    Flush,
    Sync,
    Terminate,
    /// Of a COPY that has ended meanwhile.
    CopyLeft,
}

#[derive(Debug, PartialEq)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<Format>,
    pub values: Vec<Option<Bytes>>,
    pub result_formats: Vec<Format>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Format {
    /// Of the n-th value: none are all text, one is of all.
    pub fn of(formats: &[Self], n: usize) -> Self {
        match formats {
            [] => Self::Text,
            [all] => *all,
            each => each.get(n).copied().unwrap_or(Self::Text),
        }
    }

    fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// Why a message cannot be read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a message of type {0} ends too early, or goes on where it should end")]
    Length(char),
    #[error("a text in a message of type {0} is not UTF-8")]
    Text(char),
    #[error("{0} is no format of values")]
    Format(i16),
    #[error("messages of type {0} are not known")]
    Type(char),
    #[error("{0} is no kind of thing to describe or close")]
    Target(char),
}

impl Malformed {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Text(_) => "22021",
            _ => "08P01",
        }
    }
}

type Result<T> = std::result::Result<T, Malformed>;

const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

impl Opening {
    /// From the message without its length.
    pub fn read(body: Bytes) -> Result<Self> {
        let mut fields = Fields {
            left: body,
            of: '?',
        };
        let code = fields.u32()?;
        let (major, minor) = ((code >> 16) as u16, (code & 0xffff) as u16);
        let opening = match code {
            TLS => Self::Tls,
            GSS => Self::Gss,
            CANCEL => Self::Cancel {
                process: fields.u32()?.cast_signed(),
                secret: fields.u32()?.cast_signed(),
            },
            _ if major == 3 => {
                let mut parameters = Vec::new();
                loop {
                    let name = fields.text()?;
                    if name.is_empty() {
                        break;
                    }
                    parameters.push((name, fields.text()?));
                }
                Self::Start { minor, parameters }
            }
            _ => return Ok(Self::Version(major, minor)),
        };
        fields.end()?;
        Ok(opening)
    }
}

impl Request {
    /// From its type and the message without its length.
    pub fn read(of: u8, body: Bytes) -> Result<Self> {
        let of = char::from(of);
        let mut fields = Fields { left: body, of };
        let request = match of {
            'Q' => Self::Query(fields.text()?),
            'P' => Self::Parse {
                name: fields.text()?,
                sql: fields.text()?,
                types: fields.list(Fields::u32)?,
            },
            'B' => Self::Bind(Bind {
                portal: fields.text()?,
                statement: fields.text()?,
                parameter_formats: fields.list(Fields::format)?,
                values: fields.list(Fields::value)?,
                result_formats: fields.list(Fields::format)?,
            }),
            'D' => Self::Describe(fields.target()?),
            'C' => Self::Close(fields.target()?),
            'E' => Self::Execute {
                portal: fields.text()?,
                rows: usize::try_from(fields.u32()?.cast_signed())
                    .ok()
                    .filter(|rows| *rows > 0),
            },
            'H' => Self::Flush,
            'S' => Self::Sync,
            'X' => Self::Terminate,
            'd' | 'c' | 'f' => return Ok(Self::CopyLeft),
            _ => return Err(Malformed::Type(of)),
        };
        fields.end()?;
        Ok(request)
    }
}

/// The fields of a message, one after the other.
struct Fields {
    left: Bytes,
    of: char,
}

impl Fields {
    fn need(&self, bytes: usize) -> Result<()> {
        match self.left.len() >= bytes {
            true => Ok(()),
            false => Err(Malformed::Length(self.of)),
        }
    }

    fn u32(&mut self) -> Result<u32> {
        self.need(4)?;
        Ok(self.left.get_u32())
    }

    fn i16(&mut self) -> Result<i16> {
        self.need(2)?;
        Ok(self.left.get_i16())
    }

    /// Ended by a zero.
    fn text(&mut self) -> Result<String> {
        let end = self.left.iter().position(|byte| *byte == 0);
        let end = end.ok_or(Malformed::Length(self.of))?;
        let bytes = self.left.split_to(end);
        self.left.advance(1);
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(Malformed::Text(self.of)),
        }
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.i16()?.cast_unsigned();
        // No more room than the message itself can fill.
        let mut all = Vec::with_capacity(usize::from(count).min(self.left.len()));
        for _ in 0..count {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn format(&mut self) -> Result<Format> {
        match self.i16()? {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Malformed::Format(other)),
        }
    }

    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.u32()?.cast_signed() {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed::Length(self.of))?;
                self.need(length)?;
                Ok(Some(self.left.split_to(length)))
            }
        }
    }

    fn target(&mut self) -> Result<Target> {
        self.need(1)?;
        match char::from(self.left.get_u8()) {
            'S' => Ok(Target::Statement(self.text()?)),
            'P' => Ok(Target::Portal(self.text()?)),
            other => Err(Malformed::Target(other)),
        }
    }

    fn end(&self) -> Result<()> {
        match self.left.is_empty() {
            true => Ok(()),
            false => Err(Malformed::Length(self.of)),
        }
    }
}

/// A column as a row's description has it.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub name: &'a str,
    /// The number of its type.
    pub oid: u32,
    /// Bytes of a value; -1 where that depends on the value.
    pub length: i16,
    pub modifier: i32,
    pub format: Format,
}

/// What is sent, until it is written to the connection.
#[derive(Debug, Default)]
pub(super) struct Replies(pub BytesMut);

impl Replies {
    /// A message of this type, whose length is filled in once its body is there.
    fn message(&mut self, of: u8, body: impl FnOnce(&mut BytesMut)) {
        self.0.put_u8(of);
        let start = self.0.len();
        self.0.put_i32(0);
        body(&mut self.0);
        let length = (self.0.len() - start) as i32;
        self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// The mechanisms by which a client may prove who it is.
    pub fn sasl(&mut self, mechanisms: &[&str]) {
        self.message(b'R', |body| {
            body.put_i32(10);
            for mechanism in mechanisms {
                put_text(body, mechanism);
            }
            body.put_u8(0);
        });
    }

    /// What the client is to answer to.
    pub fn sasl_continue(&mut self, text: &str) {
        self.message(b'R', |body| {
            body.put_i32(11);
            body.put_slice(text.as_bytes());
        });
    }

    /// The proof that we know its password, too.
    pub fn sasl_final(&mut self, text: &str) {
        self.message(b'R', |body| {
            body.put_i32(12);
            body.put_slice(text.as_bytes());
        });
    }

    pub fn authentication_ok(&mut self) {
        self.message(b'R', |body| body.put_i32(0));
    }

    /// The newest minor version spoken here, and what is not known of what was asked for.
    pub fn negotiate(&mut self, unknown: &[&str]) {
        self.message(b'v', |body| {
            body.put_i32(0);
            body.put_i32(unknown.len() as i32);
            for name in unknown {
                put_text(body, name);
            }
        });
    }

    pub fn parameter(&mut self, name: &str, value: &str) {
        self.message(b'S', |body| {
            put_text(body, name);
            put_text(body, value);
        });
    }

    pub fn key(&mut self, process: i32, secret: i32) {
        self.message(b'K', |body| {
            body.put_i32(process);
            body.put_i32(secret);
        });
    }

    /// `I`, `T` or `E`: outside of a transaction, in one, in one that has failed.
    pub fn ready(&mut self, status: u8) {
        self.message(b'Z', |body| body.put_u8(status));
    }

    pub fn parsed(&mut self) {
        self.message(b'1', |_| {});
    }

    pub fn bound(&mut self) {
        self.message(b'2', |_| {});
    }

    pub fn closed(&mut self) {
        self.message(b'3', |_| {});
    }

    pub fn no_rows(&mut self) {
        self.message(b'n', |_| {});
    }

    pub fn empty_query(&mut self) {
        self.message(b'I', |_| {});
    }

    pub fn suspended(&mut self) {
        self.message(b's', |_| {});
    }

    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', |body| put_text(body, tag));
    }

    pub fn parameters(&mut self, types: &[u32]) {
        self.message(b't', |body| {
            body.put_i16(types.len() as i16);
            for oid in types {
                body.put_u32(*oid);
            }
        });
    }

    pub fn columns<'a>(&mut self, columns: impl ExactSizeIterator<Item = Column<'a>>) {
        self.message(b'T', |body| {
            body.put_i16(columns.len() as i16);
            for column in columns {
                put_text(body, column.name);
                // No table and no column of one: a view's columns are computed.
                body.put_u32(0);
                body.put_i16(0);
                body.put_u32(column.oid);
                body.put_i16(column.length);
                body.put_i32(column.modifier);
                body.put_i16(column.format.code());
            }
        });
    }

    /// A row of this many values, each of which puts its length and itself.
    pub fn row<E>(
        &mut self,
        values: usize,
        put: impl FnOnce(&mut BytesMut) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut done = Ok(());
        self.message(b'D', |body| {
            body.put_i16(values as i16);
            done = put(body);
        });
        done
    }

    /// The rows of this many columns follow as `COPY`'s data.
    pub fn copy_out(&mut self, format: Format, columns: usize) {
        self.message(b'H', |body| {
            body.put_u8(format.code() as u8);
            body.put_i16(columns as i16);
            for _ in 0..columns {
                body.put_i16(format.code());
            }
        });
    }

    pub fn copy_data<E>(
        &mut self,
        put: impl FnOnce(&mut BytesMut) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut done = Ok(());
        self.message(b'd', |body| done = put(body));
        done
    }

    pub fn copy_done(&mut self) {
        self.message(b'c', |_| {});
    }

    /// An error (`E`) or a notice (`N`), from its fields.
    pub fn said(&mut self, of: u8, fields: &[(u8, &str)]) {
        self.message(of, |body| {
            for (field, text) in fields {
                body.put_u8(*field);
                put_text(body, text);
            }
            body.put_u8(0);
        });
    }

    /// Take back what was put since.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }
}

/// Ended by a zero, which it can therefore not have.
fn put_text(body: &mut BytesMut, text: &str) {
    body.extend(text.bytes().filter(|byte| *byte != 0));
    body.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8]) -> Bytes {
        Bytes::copy_from_slice(text)
    }

    #[test]
    fn requests_are_read() {
        assert_eq!(
            Request::read(b'P', bytes(b"s\0SELECT $1\0\0\x01\0\0\0\x17")),
            Ok(Request::Parse {
                name: "s".into(),
                sql: "SELECT $1".into(),
                types: vec![23]
            })
        );
        assert_eq!(
            Request::read(b'E', bytes(b"\0\0\0\0\0")),
            Ok(Request::Execute {
                portal: String::new(),
                rows: None
            })
        );
    }

    #[test]
    fn what_is_not_what_it_says_is_refused() {
        let length = |of| Err(Malformed::Length(of));
        assert_eq!(Request::read(b'Q', bytes(b"SELECT 1")), length('Q'));
        assert_eq!(Request::read(b'Q', bytes(b"SELECT 1\0x")), length('Q'));
        assert_eq!(
            Request::read(b'Q', bytes(b"\xff\0")),
            Err(Malformed::Text('Q'))
        );
        assert_eq!(Request::read(b'P', bytes(b"\0\0\xff\xff")), length('P'));
        assert_eq!(
            Request::read(b'B', bytes(b"\0\0\0\0\0\x01\xff\xff\xff\xfe")),
            length('B')
        );
        assert_eq!(
            Request::read(b'B', bytes(b"\0\0\0\x01\0\x07")),
            Err(Malformed::Format(7))
        );
        assert_eq!(
            Request::read(b'D', bytes(b"x\0")),
            Err(Malformed::Target('x'))
        );
        assert_eq!(Request::read(b'y', bytes(b"")), Err(Malformed::Type('y')));
        assert_eq!(Opening::read(bytes(b"\0\x03")), Err(Malformed::Length('?')));
        assert_eq!(
            Opening::read(bytes(b"\0\x02\0\0")),
            Ok(Opening::Version(2, 0))
        );
    }

    /// Whatever bytes come, they are read or refused.
    #[test]
    fn no_bytes_do_harm() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let body: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            let _ = Request::read(random.u8(..), bytes(&body));
            let _ = Opening::read(bytes(&body));
        }
    }
}
