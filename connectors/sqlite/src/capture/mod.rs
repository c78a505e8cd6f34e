//! `changes = 'triggers'`: what changed in a database file, by a log that triggers write.
//!
//! ```text
//!   writers ──triggers──▶ belvedere_changes: which keys were touched, in the order of commits
//!                                  │ one read transaction: keys after `from`, and what is under them now
//!   Stream ◀── one step: one or more whole transactions ──┘      acknowledge ──▶ rows of the log are deleted
//! ```
//!
//! The central type is [`Capturing`]. A position is a number of the log, of a timeline that is made with it: all that was
//! committed up to that number is in. SQLite lets one writer commit after the other, so numbers are in the order of commits.
//!
//! A step that began before a snapshot and ended behind it would not tell what the snapshot has. So a snapshot leaves a *fence*
//! behind: a read transaction on the very state that was copied, by which the stream ends a step there. All of them begin while
//! this holds the right to write, and nobody commits.
//!
//! | file | owns |
//! |---|---|
//! | `log.rs` | the tables that are made in the database; positions; trimming |
//! | `schema.rs` | whether all that others have done to the schema is seen |
//! | `layout.rs` | what is logged of a table: its keys or its rows |
//! | `triggers.rs` | … as triggers |
//! | `writer.rs` | the one connection that writes |
//! | `write.rs` | what the engine writes to a table |
//! | `install.rs` | what is not there is made |
//! | `followed.rs` | a table that is followed, and how it may end |
//! | `step.rs` | what is in the log after a place, as changes |
//! | `turn.rs` | who reads the log; fences |
//! | `reading.rs` | the thread that looks whether something was committed |
//! | `stream.rs` | its reader's end |
//!
//! *Invariants:* only [`Writer`] writes, in short transactions. A place that the log does not reach back to without a gap is an
//! error; so is a trigger that is not there, a schema that was changed in ways that are not seen in it, and a `VACUUM` where rows are told by row id.

mod followed;
mod install;
mod layout;
mod log;
mod reading;
mod schema;
mod step;
mod stream;
mod triggers;
mod turn;
mod write;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use belvedere_connector::{
    Capture, Captured, ChangeStream, Code, Error, Position, Result, Snapshot, SourceConfig, Table,
    TableRef,
};
use belvedere_sqlgen::sql;
use rusqlite::Connection;

use crate::discovery::Decisions;
use crate::pool::{FileId, Pool};
use crate::scan::{Part, Scan};
use log::State;
use reading::Reading;
use schema::Schema;
use stream::Stream;
use turn::{Fence, Turn};
use writer::Writer;

/// Connections of capture: one for each table that is copied, beside those of scans.
const CONNECTIONS: usize = 4096;
/// How long a transaction that deletes from the log waits for another writer.
const TRIM_PATIENCE: Duration = Duration::from_millis(5);
/// Between two of them, so that others have their turn.
const TRIM_PAUSE: Duration = Duration::from_millis(1);

/// How a source's changes are captured.
#[derive(Debug, Clone)]
pub struct Capturing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: String,
    is_on: bool,
    pool: Arc<Pool>,
    decisions: Arc<Decisions>,
    busy_timeout: Duration,
    identities: RwLock<HashMap<String, Option<Vec<String>>>>,
    writer: Mutex<Option<Writer>>,
    turn: Mutex<Turn>,
}

impl Capturing {
    /// Of a source's definition.
    ///
    /// # Errors
    /// If it says something else about changes than what is known.
    pub fn new(
        config: &SourceConfig,
        path: PathBuf,
        decisions: Arc<Decisions>,
        busy_timeout: Duration,
    ) -> Result<Self> {
        let is_on = match config.option("changes") {
            Some("triggers") => true,
            // The engine's own.
            None | Some("poll") => false,
            Some(other) => {
                let message = format!("a SQLite file has no changes = '{other}'");
                return Err(Error::new(Code::InvalidOption, message)
                    .at_source(&config.name)
                    .help("changes = 'triggers' writes triggers and a log into the database; changes = 'poll' looks at its tables again and again"));
            }
        };
        Ok(Self(Arc::new(Inner {
            source: config.name.clone(),
            is_on,
            pool: Arc::new(Pool::new(path, CONNECTIONS, busy_timeout)),
            decisions,
            busy_timeout,
            identities: RwLock::default(),
            writer: Mutex::default(),
            turn: Mutex::default(),
        })))
    }

    pub fn capture(&self) -> Capture {
        match self.0.is_on {
            true => Capture::Snapshot,
            false => Capture::None(
                "changes = 'triggers' on the source writes triggers and a log table into the database; \
                 changes = 'poll' looks at its tables again and again, and writes nothing"
                    .to_string(),
            ),
        }
    }

    /// The connections that copies are read by.
    pub fn pool(&self) -> Arc<Pool> {
        self.0.pool.clone()
    }

    pub fn remember(&self, tables: &[Table]) {
        let identity = |table: &Table| {
            let key = layout::key_of(&table.primary_key, &table.columns);
            (table.name.clone(), key)
        };
        let identities = tables.iter().map(identity).collect();
        *write(&self.0.identities) = identities;
    }

    /// The columns by which the log names rows.
    pub fn identity(&self, table: &TableRef) -> Option<Vec<String>> {
        let identities = self.0.identities.read();
        let identities = identities.unwrap_or_else(PoisonError::into_inner);
        let identity = identities.get(&table.name).cloned();
        identity.flatten().filter(|_| self.0.is_on)
    }

    /// Makes the log where there is none: what follows is to be compared with what was before.
    pub async fn position(&self) -> Result<Position> {
        self.blocking(|inner| {
            let mut lease = inner.pool.lease_at_once()?;
            let file = lease.file()?.number();
            if let Some(state) = State::read(lease.connection()?)?.filter(|s| s.is_whole()) {
                return Ok(state.position(file));
            }
            inner.with_writer(|writer| {
                let file = writer.file.number();
                let state = writer.locked(inner.busy_timeout, |connection| {
                    log::make(connection)?;
                    State::read(connection)
                })?;
                let state = state.ok_or_else(|| Error::internal("a log that was made"))?;
                Ok(state.position(file))
            })
        })
        .await
    }

    /// What is in the tables: each with the scan that reads it whole.
    pub async fn snapshot(&self, scans: Vec<(Captured, Scan)>) -> Result<Snapshot> {
        self.blocking(move |inner| inner.copy(scans)).await
    }

    pub async fn changes(
        &self,
        from: &Position,
        tables: &[Captured],
    ) -> Result<Box<dyn ChangeStream>> {
        let (from, tables) = (from.clone(), tables.to_vec());
        let stream = self.blocking(move |inner| {
            let reading = Reading::begin(inner, from, tables)?;
            Stream::start(inner.clone(), reading)
        });
        Ok(Box::new(stream.await?))
    }

    pub async fn release(&self) -> Result<()> {
        if !self.0.is_on {
            return Ok(());
        }
        self.blocking(|inner| {
            inner.turn().release();
            let mut lease = inner.pool.lease_at_once()?;
            let is_there = install::is_anything_there(lease.connection()?)?;
            drop(lease);
            if !is_there {
                return Ok(());
            }
            inner.with_writer(|writer| writer.locked(inner.busy_timeout, log::remove))
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if !self.0.is_on {
            let message = "the source is not to tell what changes";
            return Err(Error::new(Code::NoChangeCapture, message).at_source(&self.0.source));
        }
        self.0.blocking(work).await
    }
}

impl Inner {
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        let done = done.unwrap_or_else(|e| Err(Error::internal("it ended early").caused_by(e)));
        done.map_err(|e| e.at_source(&self.source))
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that writes, to the file that is there now.
    fn with_writer<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let file = FileId::of(&self.pool.path)?;
        let open = writer.take().filter(|writer| writer.file == file);
        let writer = writer.insert(match open {
            Some(open) => open,
            None => Writer::open(&self.pool.path)?,
        });
        work(writer)
    }

    fn copy(self: &Arc<Self>, scans: Vec<(Captured, Scan)>) -> Result<Snapshot> {
        let tables: Vec<&Captured> = scans.iter().map(|(captured, _)| captured).collect();
        let lease = |_: &_| self.pool.lease_at_once();
        let mut leases = tables.iter().map(lease).collect::<Result<Vec<_>>>()?;
        let mut fence = self.pool.lease_at_once()?;
        let (file, state) = self.with_writer(|writer| {
            let patience = self.busy_timeout;
            let make =
                |connection: &Connection| install::install(connection, &tables, &self.decisions);
            writer.locked(patience, make)?;
            // While nobody can commit, all begin.
            let state = writer.alone(patience, || {
                let mut turn = self.turn();
                for lease in leases.iter_mut().chain([&mut fence]) {
                    lease.begin()?;
                    lease.look()?;
                }
                let state = State::read(fence.connection()?)?;
                let state = state.ok_or_else(log::rewound)?;
                let position = state.position(fence.file()?.number());
                turn.put(Fence {
                    lease: fence,
                    position,
                });
                Ok(state)
            })?;
            Ok((writer.file.number(), state))
        })?;
        let streams = scans
            .into_iter()
            .zip(leases)
            .map(|((captured, scan), lease)| {
                let scan = Arc::new(scan);
                let reading = scan.clone();
                let begun = async move { Ok(reading.read(move |_| Ok((lease, Part::Whole)))) };
                (captured.table, scan.stream(begun))
            });
        Ok(Snapshot {
            position: state.position(file),
            streams: streams.collect(),
        })
    }

    /// Deletes what is not needed, a little at a time. Somebody else who writes goes first: the rest is deleted another time.
    fn trim(&self, position: &Position) -> Result<()> {
        loop {
            let trimmed = self.with_writer(|writer| {
                let file = writer.file.number();
                let trim = |connection: &Connection| log::trim(connection, position, file);
                writer.locked(TRIM_PATIENCE, trim)
            });
            match trimmed {
                Ok(true) => std::thread::sleep(TRIM_PAUSE),
                Ok(false) => return Ok(()),
                Err(e) if e.code == Code::Busy => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// An entry about nothing, so that there is a position behind what is no entry: a table that is gone.
    fn mark(&self) -> Result<()> {
        self.with_writer(|writer| writer.locked(TRIM_PATIENCE, log::mark))
    }

    fn remember(&self, schema: &Schema) -> Result<()> {
        let remember = |connection: &Connection| schema.remember(connection);
        self.with_writer(|writer| writer.locked(TRIM_PATIENCE, remember))
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn quoted(name: &str) -> String {
    sql::quoted(name, '"').to_string()
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
