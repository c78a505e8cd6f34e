//! What a test does to the log, and what it sees of it.

use arrow::record_batch::RecordBatch;
use belvedere_connector::{
    BatchStream, Captured, Change, Code, Error, Position, Result, Snapshot, TableRef,
};

use crate::asked::sized;
use crate::commit::apply;
use crate::fault::LogFault;
use crate::log::{Log, Tables};
use crate::reading::Reading;
use crate::source::MemorySource;
use crate::table::{MemoryTable, SCHEMA};

/// The log, and how it is given to readers.
#[derive(Debug)]
pub(crate) struct Changes {
    pub log: Log,
    pub fault: LogFault,
    pub image: Image,
    /// Rows in a piece of a transaction, and in a batch of a snapshot.
    pub piece_rows: usize,
    /// How many commits before the one asked for a stream gives again.
    pub again: u64,
    /// Streams there were; the last one is read.
    pub streams: usize,
    /// Keep-alives so far.
    pub beats: u64,
    pub acknowledged: Option<Position>,
    pub snapshots: usize,
}

/// What the log has of rows that go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Image {
    /// All their columns.
    #[default]
    Whole,
    /// Those of the primary key, where there is one.
    Key,
    /// The same; and of a row that comes under the same key, what is another than before.
    Difference,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            log: Log::new(),
            fault: LogFault::None,
            image: Image::Whole,
            piece_rows: 1024,
            again: 0,
            streams: 0,
            beats: 0,
            acknowledged: None,
            snapshots: 0,
        }
    }
}

impl Changes {
    pub fn put(&mut self, name: &str, table: Option<MemoryTable>) {
        let mut tables = self.log.tables().clone();
        let before = tables.remove(name);
        let mut changes = Vec::new();
        if before.as_ref().map(|t| &t.schema) != table.as_ref().map(|t| &t.schema) {
            let (code, message) = match table {
                None => (Code::TableMissing, "the table was dropped"),
                Some(_) => (Code::SchemaChanged, "the table has other columns now"),
            };
            changes.push(Change::Ends(Error::new(code, message).at_table(name)));
        }
        if let Some(table) = table {
            changes.push(Change::Truncate);
            let rows = table.batches.iter().map(|rows| Change::Rows {
                rows: rows.clone(),
                weights: vec![1; rows.num_rows()],
            });
            changes.extend(rows);
            tables.insert(name.to_string(), table);
        }
        let changes = changes
            .into_iter()
            .map(|change| (name.to_string(), change))
            .collect();
        self.log.append(changes, tables);
    }
}

impl MemorySource {
    /// A transaction: rows that come and go, tables that are emptied. As committed, or not at all.
    ///
    /// # Errors
    /// If a table is not there, or a row that is to go.
    pub fn commit(&self, changes: Vec<(String, Change)>) -> Result<Position> {
        let position = {
            let mut state = self.state();
            let mut tables = state.log.tables().clone();
            apply(&mut tables, &changes)?;
            state.log.append(changes, tables);
            state.log.position(state.log.head())
        };
        self.happened();
        Ok(position)
    }

    /// Another content of a table, of which the log does not say how it came about.
    ///
    /// # Errors
    /// If the table is not there.
    pub fn rewrite(&self, name: &str, batches: Vec<RecordBatch>) -> Result<Position> {
        let position = {
            let mut state = self.state();
            let mut tables = state.log.tables().clone();
            let table = tables.get_mut(name);
            let table = table.ok_or_else(|| Error::internal("it rewrites no table"))?;
            table.batches = batches;
            let changes = vec![(name.to_string(), Change::Anew)];
            state.log.append(changes, tables);
            state.log.position(state.log.head())
        };
        self.happened();
        Ok(position)
    }

    /// Where the log stands.
    pub fn head(&self) -> Position {
        let state = self.state();
        state.log.position(state.log.head())
    }

    /// What the tables were at a position that the log reaches back to.
    ///
    /// # Errors
    /// If it does not.
    pub fn tables_at(&self, position: &Position) -> Result<Tables> {
        self.state().log.tables_at(position).cloned()
    }

    /// Forget what was committed up to a position.
    ///
    /// # Errors
    /// If the position is not in the log.
    pub fn truncate_log(&self, position: &Position) -> Result<()> {
        self.state().log.truncate(position)?;
        self.happened();
        Ok(())
    }

    /// Be restored from a backup of that position: what came after it has not happened, and what follows is another timeline.
    ///
    /// # Errors
    /// If the log does not reach back to the position.
    pub fn rewind(&self, position: &Position) -> Result<()> {
        self.state().log.rewind(position)?;
        self.break_off();
        Ok(())
    }

    /// Let the stream that is read say where the log stands, if it has given all.
    pub fn keep_alive(&self) {
        self.state().beats += 1;
        self.happened();
    }

    /// Make something go wrong with the stream of changes.
    pub fn inject_log(&self, fault: LogFault) {
        self.state().fault = fault;
        self.happened();
    }

    /// What the log has of rows that go; in pieces of how many rows it is read; how many commits are given again to who asks for
    /// a stream.
    pub fn set_log(&self, image: Image, piece_rows: usize, again: u64) {
        let mut state = self.state();
        state.image = image;
        state.piece_rows = piece_rows.max(1);
        state.again = again;
    }

    /// What its reader needs no more.
    pub fn acknowledged(&self) -> Option<Position> {
        self.state().acknowledged.clone()
    }

    /// Snapshots asked for so far.
    pub fn snapshots(&self) -> usize {
        self.state().snapshots
    }

    pub(crate) fn read_all(&self, wanted: &[Captured]) -> Result<Snapshot> {
        let mut state = self.state();
        state.snapshots += 1;
        let mut streams: Vec<(TableRef, BatchStream)> = Vec::new();
        for Captured { table, schema } in wanted {
            let of = |code, message| self.failed(code, message).at_table(&table.name);
            let found = state.log.tables().get(&table.name);
            let found = found.filter(|_| table.schema == SCHEMA);
            let found =
                found.ok_or_else(|| of(Code::TableMissing, "the table is not there any more"))?;
            if !found.has(schema) {
                return Err(of(Code::SchemaChanged, "the table has other columns now"));
            }
            let batches = found.batches.iter().map(|rows| found.project(rows, schema));
            let batches = sized(batches.collect::<Result<_>>()?, state.piece_rows);
            let stream = Reading::new(self.clone(), batches).stream();
            streams.push((table.clone(), stream));
        }
        let position = state.log.position(state.log.head());
        Ok(Snapshot { position, streams })
    }
}
