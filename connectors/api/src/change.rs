//! What changed at a source, in the order of its log.
//!
//! ```text
//!   snapshot(tables) ──▶ S, rows as of S          changes(S, tables) ──▶ what was committed after S, to the end of time
//! ```
//!
//! *The one promise*: rows as of S, with the changes up to a position P added, are the tables' content at P, each
//! transaction being in it whole or not at all. All else follows from it.

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fragment::TableRef;
use crate::position::Position;
use crate::source::BatchStream;

/// How finely a source tells what has changed. What is built on several has the weakest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capture {
    /// Not at all, and why; the statement to run at the source, where one helps.
    None(String),
    /// Rows one by one, not all of a transaction at once.
    PerRow,
    /// Each step is one or more whole transactions: what lies between two looks. SQLite, files, polls.
    Snapshot,
    /// Each step is one transaction. PostgreSQL, MariaDB, MySQL.
    Transactional,
}

/// A table whose changes are wanted, and of which columns: some of [`Table::arrow_schema`](crate::Table::arrow_schema).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Captured {
    pub table: TableRef,
    pub schema: SchemaRef,
}

impl Captured {
    /// Whether all columns that are wanted of a table are among these.
    pub fn holds(&self, wanted: &Self) -> bool {
        let mut fields = wanted.schema.fields().iter();
        self.table == wanted.table
            && fields.all(|field| {
                let same = self.schema.field_with_name(field.name());
                same.is_ok_and(|same| same.data_type() == field.data_type())
            })
    }
}

/// The content of tables at one position.
///
/// PostgreSQL: the snapshot exported by the slot that is created, the engine's own the first time, later a temporary
/// one; each stream a `COPY`. MariaDB: transactions `WITH CONSISTENT SNAPSHOT`, and the position they say they have; MySQL: the same,
/// and the position that is proved to be theirs.
/// SQLite: read transactions on one state of the WAL, whose trigger sequence is read first. Files: a listing.
/// Polls: a look at all rows, which becomes the listing that the next look is compared with.
pub struct Snapshot {
    pub position: Position,
    /// A table's rows may come in several streams; each has a table's wanted columns.
    pub streams: Vec<(TableRef, BatchStream)>,
}

/// How far who follows a log is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Bytes of log that it keeps since nobody has said them to be durable here; where it keeps its log as it likes, those that
    /// were not read.
    pub bytes: u64,
    /// With more than these, [`Source::release`](crate::Source::release) is asked to let it go, before its disk is full. None:
    /// it may keep what it takes, or it is not ours to let go.
    pub most: Option<u64>,
}

/// A piece of a transaction, or of several that are taken in one step: a large one comes in several, so that no one need have
/// it in memory whole. One without changes says that there is nothing up to its end: an idle source's copies stay young, and its
/// log can be trimmed.
#[derive(Debug)]
pub struct Transaction {
    /// In the order in which they happened.
    pub changes: Vec<(TableRef, Change)>,
    /// Where the log stands after it. None: more of it follows.
    pub end: Option<Position>,
}

/// What happened to one table.
#[derive(Debug, Clone)]
pub enum Change {
    /// Rows that came (weight 1, or how many of them) and went (−1): an update is one of each. For logs that have old rows
    /// whole: MariaDB's, PostgreSQL's with `REPLICA IDENTITY FULL`; and for what is only ever added.
    Rows {
        rows: RecordBatch,
        weights: Vec<i64>,
    },
    /// For logs that name old rows by key. One after the other: all rows there are under a key go; then comes the row of the same
    /// number, if there is one.
    ///
    /// PostgreSQL with a key as its replica identity; SQLite and polls, which see what is under a key now; a removed
    /// file, whose key is the column that names it.
    ByKey {
        /// Some of the wanted columns, in one table always the same.
        keys: RecordBatch,
        /// All wanted columns; `is_there` says of which keys there is a row, and `rows` has as many.
        rows: RecordBatch,
        is_there: Vec<bool>,
        /// What the log does not say of rows that come, since it is as it was.
        unchanged: Vec<Unchanged>,
    },
    /// All rows went.
    Truncate,
    /// Rows may have changed, and the log does not say how: they are to be copied anew, as of this transaction or a later one. What comes
    /// behind it goes on from there.
    ///
    /// MariaDB, MySQL: an `ALTER TABLE` that may have converted rows.
    Anew,
    /// From here on the table is not what it was: gone, or with wanted columns changed. Nothing more comes of it in this stream. A
    /// definite error: its last content is that before this transaction. Changes to other columns are not told.
    Ends(Error),
}

/// Values of a column that are as they were in the row that went under the key of the same number; of which there was one. What
/// [`Change::ByKey`]'s `rows` have in their place means nothing.
///
/// PostgreSQL: large values that an update did not touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchanged {
    /// By number among the wanted columns; none of the keys'.
    pub column: usize,
    /// One for each of `rows`.
    pub rows: BooleanBuffer,
}

/// What a source commits from some position on, for one reader.
///
/// It ends by an error alone, and is of no use after one. By its code:
/// [`LogTruncated`](crate::Code::LogTruncated) (the log no longer reaches back) and
/// [`LogRewound`](crate::Code::LogRewound) (restored from a backup, or another system: the position is none of its log): take a
/// new snapshot. Others that are transient: ask for a stream from the last position that was received, again.
#[async_trait]
pub trait ChangeStream: Send {
    /// The next piece, waited for. Positions grow. After a stream was asked for again, transactions may come that had come
    /// before; none that was not.
    ///
    /// Cancel safe: a piece is lost only with the stream.
    async fn next(&mut self) -> Result<Transaction>;

    /// What there is up to `position`, a transaction's end, is durable here: the source may forget it, and no stream will be
    /// asked for from before. Where it fails it may have come about or not; saying it again does no harm.
    ///
    /// PostgreSQL: feedback, which moves the slot. SQLite: the triggers' rows are deleted. MariaDB keeps its log as it likes.
    async fn acknowledge(&mut self, position: &Position) -> Result<()>;
}
