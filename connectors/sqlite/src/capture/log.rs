//! What is written into the database: three small tables, beside the triggers.
//!
//! | table | has |
//! |---|---|
//! | `belvedere_changes` | the log: `seq`, the table, what was touched |
//! | `belvedere_captured` | the tables that have triggers, and of which columns old values are logged |
//! | `belvedere_capture` | one row: the timeline, and the schema as it was looked at last |
//!
//! A sequence without `AUTOINCREMENT`, which would leave a table that cannot be dropped, and costs each writer more: the last
//! row is never trimmed, so the numbers only grow. Row 1 is ours, and of no table: where it is a table's, somebody else has emptied
//! the log, and numbers that were given before are given again. A transaction that is rolled back takes its numbers back: they have no gaps,
//! and a gap is something lost.

use belvedere_connector::{Code, Error, Position, Result};
use rusqlite::{Connection, OptionalExtension, params};

use crate::failure;

pub const CHANGES: &str = "belvedere_changes";
pub const CAPTURED: &str = "belvedere_captured";
pub const CAPTURE: &str = "belvedere_capture";

/// The row id of the row that has the timeline. `VACUUM` numbers the rows of a table without an integer primary key anew: this
/// one becomes 1 then.
const ROW_ID: i64 = 1 << 40;

/// Rows that are deleted in one transaction.
const TRIMMED_AT_ONCE: i64 = 1000;

/// What the log says of itself, in one read transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    timeline: Vec<u8>,
    /// Rows have the row ids that they had when they were touched.
    pub keeps_row_ids: bool,
    first: Option<i64>,
    last: Option<i64>,
    /// Somebody has emptied the log, and it began again from 1.
    is_renumbered: bool,
}

impl State {
    /// None: there is no log.
    pub fn read(connection: &Connection) -> Result<Option<Self>> {
        let sql = format!(
            "SELECT timeline, rowid, (SELECT min(seq) FROM {CHANGES}), (SELECT max(seq) FROM {CHANGES}),
               EXISTS (SELECT 1 FROM {CHANGES} WHERE seq = 1 AND tbl <> '') FROM {CAPTURE}"
        );
        let state = connection.prepare_cached(&sql).and_then(|mut statement| {
            let state = |row: &rusqlite::Row<'_>| {
                Ok(Self {
                    timeline: row.get(0)?,
                    keeps_row_ids: row.get::<_, i64>(1)? == ROW_ID,
                    first: row.get(2)?,
                    last: row.get(3)?,
                    is_renumbered: row.get(4)?,
                })
            };
            statement.query_row([], state).optional()
        });
        match state.map_err(failure::of) {
            Err(error) if error.code == Code::TableMissing => Ok(None),
            state => state,
        }
    }

    /// Where the log ends.
    pub fn seq(&self) -> i64 {
        self.last.unwrap_or_default()
    }

    /// Whether numbers of rows mean what they meant when the log was made.
    pub fn is_whole(&self) -> bool {
        self.last.is_some() && !self.is_renumbered
    }

    /// In a file of this number.
    pub fn position(&self, file: u64) -> Position {
        self.position_at(self.seq(), file)
    }

    pub fn position_at(&self, seq: i64, file: u64) -> Position {
        let timeline = [&self.timeline[..], &file.to_be_bytes()].concat();
        Position::new(timeline, seq.cast_unsigned().to_be_bytes())
    }

    /// The sequence of a position that the log reaches back to, and on to.
    pub fn place(&self, position: &Position, file: u64) -> Result<i64> {
        let place: Option<[u8; 8]> = position.place().try_into().ok();
        let seq = place.map(i64::from_be_bytes);
        match (seq, self.first, self.last) {
            _ if position.timeline() != self.position(file).timeline() => Err(rewound()),
            (None, ..) => Err(rewound()),
            _ if !self.is_whole() => Err(emptied()),
            (Some(seq), _, Some(last)) if seq > last => Err(rewound()),
            (Some(seq), Some(first), _) if first > seq + 1 => Err(emptied()),
            (Some(seq), ..) => Ok(seq),
        }
    }
}

pub fn rewound() -> Error {
    let message = "the position is not in the log that the triggers write: the file was replaced, \
                   restored or captured anew";
    Error::new(Code::LogRewound, message)
}

fn emptied() -> Error {
    let message = "rows that were not read yet are gone from the log that the triggers write";
    Error::new(Code::LogTruncated, message)
}

/// Make what is not there, within a transaction.
pub fn make(connection: &Connection) -> Result<()> {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {CAPTURE} (timeline BLOB NOT NULL, known TEXT);
         CREATE TABLE IF NOT EXISTS {CAPTURED} (tbl TEXT NOT NULL, columns TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS {CHANGES} (seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, op TEXT, k1)"
    );
    connection.execute_batch(&sql).map_err(failure::of)?;
    if State::read(connection)?.is_some_and(|state| state.is_whole()) {
        return Ok(());
    }
    let emptied = format!("DELETE FROM {CHANGES}");
    connection.execute_batch(&emptied).map_err(failure::of)?;
    begin_anew(connection)
}

/// Positions so far are no longer in the log.
pub fn begin_anew(connection: &Connection) -> Result<()> {
    let sql = format!(
        "DELETE FROM {CAPTURE};
         INSERT INTO {CAPTURE} (rowid, timeline) VALUES ({ROW_ID}, randomblob(8));
         INSERT INTO {CHANGES} (seq, tbl)
           SELECT 1, '' WHERE NOT EXISTS (SELECT 1 FROM {CHANGES})"
    );
    connection.execute_batch(&sql).map_err(failure::of)
}

/// Let `VACUUM` be noticed the next time.
pub fn rearm(connection: &Connection) -> Result<()> {
    let sql = format!("UPDATE {CAPTURE} SET rowid = {ROW_ID}");
    connection.execute_batch(&sql).map_err(failure::of)
}

/// As many columns for what is logged of a row.
pub fn widen(connection: &Connection, width: usize) -> Result<()> {
    let widen = || -> rusqlite::Result<()> {
        let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name GLOB 'k[0-9]*'";
        let there: u32 = connection.query_row(sql, [CHANGES], |row| row.get(0))?;
        for number in there as usize + 1..=width {
            connection.execute_batch(&format!("ALTER TABLE {CHANGES} ADD COLUMN k{number}"))?;
        }
        Ok(())
    };
    widen().map_err(failure::of)
}

/// Delete some of what is logged up to a position, but for the last row. False: there is no more.
pub fn trim(connection: &Connection, position: &Position, file: u64) -> Result<bool> {
    let Some(state) = State::read(connection)? else {
        return Ok(false);
    };
    let (Ok(upto), Some(first)) = (state.place(position, file), state.first) else {
        return Ok(false);
    };
    let upto = upto.min(state.seq() - 1).min(first + TRIMMED_AT_ONCE - 1);
    if upto < first {
        return Ok(false);
    }
    let sql = format!("DELETE FROM {CHANGES} WHERE seq <= ?1");
    connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.execute(params![upto]))
        .map_err(failure::of)?;
    Ok(true)
}

/// Remove all that capture made, within a transaction.
pub fn remove(connection: &Connection) -> Result<()> {
    let remove = || -> rusqlite::Result<()> {
        let triggers: Vec<String> = connection
            .prepare(
                "SELECT name FROM sqlite_schema WHERE type = 'trigger'
                 AND name LIKE 'belvedere\\_%' ESCAPE '\\' AND instr(sql, ?1) > 0",
            )?
            .query_map([CHANGES], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for trigger in triggers {
            let name = super::quoted(&trigger);
            connection.execute_batch(&format!("DROP TRIGGER IF EXISTS {name}"))?;
        }
        for table in [CHANGES, CAPTURED, CAPTURE] {
            connection.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
        }
        Ok(())
    };
    remove().map_err(failure::of)
}

/// One entry more, of no table.
pub fn mark(connection: &Connection) -> Result<()> {
    let sql = format!("INSERT INTO {CHANGES} (tbl) VALUES ('')");
    connection.execute_batch(&sql).map_err(failure::of)
}
