//! The parts of events.

use std::io::Read;

use belvedere_connector::{Code, Error, Result};
use flate2::read::ZlibDecoder;

use super::bytes::{Bytes, big, malformed};
use super::domains;
use super::flavor::anonymous;
use super::log::Event;
use super::place::{Gtid, Gtids};
use super::sets::{GtidSet, Numbered, Origin};

/// Of the flags that every event has: who does not know it may pass over it.
const IGNORABLE: u16 = 0x80;
/// A row event, or a statement, that says it is longer is taken for broken.
const MOST_INFLATED: u64 = 2 << 30;

/// An event, as far as it matters.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A transaction begins.
    Gtid {
        gtid: Gtid,
        /// It is one statement, and ends with it; unless that says that it begins a transaction.
        is_alone: bool,
        /// What is committed later, or not at all.
        is_prepared: bool,
    },
    Statement {
        schema: String,
        sql: String,
    },
    /// What the files before had.
    Previous(Gtids),
    /// Describes a table.
    Table(&'a [u8]),
    Rows(Rows),
    Commit,
    Prepared,
    /// The server does not know what is missing.
    Incident,
    Nothing,
}

/// Rows of a table that came, went, or are another now.
#[derive(Debug)]
pub struct Rows {
    pub table: u64,
    pub columns: usize,
    pub kind: Kind,
    /// Whether all columns are there.
    pub is_whole: bool,
    pub data: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Insert,
    Update,
    Delete,
}

impl Event {
    /// # Errors
    /// If it is of an unknown kind, or shorter than it should be.
    pub fn parse(&self) -> Result<Parsed<'_>> {
        let data = Bytes(&self.data);
        Ok(match self.kind {
            2 => statement(data, 0, false)?,
            165 => statement(data, 0, true)?,
            // A statement that loads a file, which has come before.
            18 => statement(data, 13, false)?,
            16 => Parsed::Commit,
            19 => Parsed::Table(&self.data),
            23 => Parsed::Rows(rows(data, Kind::Insert, Form::Plain)?),
            24 => Parsed::Rows(rows(data, Kind::Update, Form::Plain)?),
            25 => Parsed::Rows(rows(data, Kind::Delete, Form::Plain)?),
            30 => Parsed::Rows(rows(data, Kind::Insert, Form::Extended)?),
            31 => Parsed::Rows(rows(data, Kind::Update, Form::Extended)?),
            32 => Parsed::Rows(rows(data, Kind::Delete, Form::Extended)?),
            166 => Parsed::Rows(rows(data, Kind::Insert, Form::Packed)?),
            167 => Parsed::Rows(rows(data, Kind::Update, Form::Packed)?),
            168 => Parsed::Rows(rows(data, Kind::Delete, Form::Packed)?),
            26 => Parsed::Incident,
            33 => numbered(data)?,
            34 => return Err(anonymous()),
            35 => Parsed::Previous(Gtids::MySql(GtidSet::decode(data)?)),
            // XA_PREPARE_LOG_EVENT; its first byte says that it is committed at once.
            38 => match self.data.first() {
                Some(0) | None => Parsed::Prepared,
                Some(_) => Parsed::Commit,
            },
            39 => return Err(partial_json()),
            42 => tagged(data)?,
            162 => self.gtid()?,
            // A compressed transaction, whose events follow it: the client unpacks them.
            40 => Parsed::Nothing,
            // Ends and beginnings of files, variables of statements, heartbeats, notes.
            3 | 4 | 5 | 13 | 14 | 15 | 17 | 27 | 28 | 29 | 36 | 37 | 41 | 160 | 161 | 163 | 164 => {
                Parsed::Nothing
            }
            _ if self.flags & IGNORABLE != 0 => Parsed::Nothing,
            kind => {
                let message = format!("its log has an event of an unknown kind ({kind})");
                return Err(Error::new(Code::NoChangeCapture, message));
            }
        })
    }

    fn gtid(&self) -> Result<Parsed<'_>> {
        const ALONE: u8 = 1;
        const PREPARED: u8 = 64;
        let mut data = Bytes(&self.data);
        let number = data.uint(8)?;
        let domain = data.uint(4)? as u32;
        let flags = data.u8()?;
        Ok(Parsed::Gtid {
            gtid: Gtid::MariaDb(domains::Gtid {
                domain,
                server: self.server,
                number,
            }),
            is_alone: flags & ALONE != 0,
            is_prepared: flags & PREPARED != 0,
        })
    }
}

/// GTID_LOG_EVENT: flags, the server's UUID, a number; then of when and how long.
fn numbered(mut data: Bytes<'_>) -> Result<Parsed<'static>> {
    data.take(1)?;
    let server = data.take(16)?.try_into().map_err(|_| malformed())?;
    let tag = String::new();
    let number = data.uint(8)?;
    Ok(begun(Origin { server, tag }, number))
}

/// GTID_TAGGED_LOG_EVENT, in the form of MySQL's serialization library: version, size, the last field that may not be passed
/// over, and fields by number. All that matters are those of 0 to 3, which are always there.
fn tagged(mut data: Bytes<'_>) -> Result<Parsed<'static>> {
    const FLAGS: u64 = 0;
    const SERVER: u64 = 1;
    const NUMBER: u64 = 2;
    const TAG: u64 = 3;
    for _ in 0..3 {
        data.varlen()?;
    }
    let field = |data: &mut Bytes<'_>, number| match data.varlen()? == number {
        true => Ok(()),
        false => Err(malformed()),
    };
    field(&mut data, FLAGS)?;
    data.varlen()?;
    field(&mut data, SERVER)?;
    let mut server = [0; 16];
    for byte in &mut server {
        *byte = u8::try_from(data.varlen()?).map_err(|_| malformed())?;
    }
    field(&mut data, NUMBER)?;
    // It is signed: its lowest bit is the sign.
    let number = data.varlen()? >> 1;
    field(&mut data, TAG)?;
    let tag = data.tag()?;
    Ok(begun(Origin { server, tag }, number))
}

fn begun(origin: Origin, number: u64) -> Parsed<'static> {
    Parsed::Gtid {
        gtid: Gtid::MySql(Numbered { origin, number }),
        is_alone: true,
        is_prepared: false,
    }
}

fn partial_json() -> Error {
    let message = "its log has parts of JSON values";
    Error::new(Code::NoChangeCapture, message).help(
        "Run at the source: SET GLOBAL binlog_row_value_options = ''; sessions that are open keep theirs",
    )
}

/// `further`: bytes of what is known of it beyond other statements.
fn statement(mut data: Bytes<'_>, further: usize, is_packed: bool) -> Result<Parsed<'_>> {
    data.take(8)?;
    let schema = data.u8()?;
    data.take(2)?;
    let variables = data.uint(2)? as usize;
    data.take(further)?;
    data.take(variables)?;
    let schema = data.take(schema.into())?;
    data.take(1)?;
    let sql = match is_packed {
        true => inflated(data)?,
        false => data.rest().to_vec(),
    };
    Ok(Parsed::Statement {
        schema: String::from_utf8_lossy(schema).into_owned(),
        sql: String::from_utf8_lossy(&sql).into_owned(),
    })
}

/// How the rows of an event are written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    /// Of the second version: with more that is said of them before.
    Extended,
    /// Compressed, of MariaDB.
    Packed,
}

fn rows(mut data: Bytes<'_>, kind: Kind, form: Form) -> Result<Rows> {
    let table = data.uint(6)?;
    data.take(2)?;
    if form == Form::Extended {
        // The length counts its own two bytes.
        let length = data.uint(2)?.checked_sub(2).ok_or_else(malformed)?;
        data.take(length as usize)?;
    }
    let columns = data.length()?;
    let images = if kind == Kind::Update { 2 } else { 1 };
    let mut is_whole = true;
    for _ in 0..images {
        let there = data.take(columns.div_ceil(8))?;
        is_whole &= (0..columns).all(|i| there[i / 8] >> (i % 8) & 1 == 1);
    }
    let data = match form {
        Form::Packed => inflated(data)?,
        Form::Plain | Form::Extended => data.rest().to_vec(),
    };
    Ok(Rows {
        table,
        columns,
        kind,
        is_whole,
        data,
    })
}

/// What is behind a byte that says how, and how long the length is that follows it, highest byte first.
fn inflated(mut data: Bytes<'_>) -> Result<Vec<u8>> {
    let header = data.u8()?;
    if header & 0xf0 != 0x80 {
        let message = "its log is compressed in an unknown way";
        return Err(Error::new(Code::NoChangeCapture, message));
    }
    let length = big(data.take(usize::from(header & 7))?);
    if length > MOST_INFLATED {
        return Err(malformed());
    }
    let mut inflated = Vec::new();
    let read = ZlibDecoder::new(data.0)
        .take(length + 1)
        .read_to_end(&mut inflated);
    match read {
        Ok(read) if read as u64 == length => Ok(inflated),
        _ => Err(malformed()),
    }
}
