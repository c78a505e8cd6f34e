//! What changes in a database, by logical replication.
//!
//! The central type is [`Capturing`]. In go tables that are wanted; out come their rows in one snapshot, and a [`LogStream`] of
//! what is committed after it.
//!
//! ```text
//!   publication ◀─ has the tables before anything of them is read
//!   slot        ◀─ made with the first snapshot, which it exports; later ones are a temporary slot's
//!   snapshot    ──▶ readers: COPY … in the exported snapshot
//!   walsender   ──▶ transport ──▶ messages ──▶ runs of rows by table ──▶ pieces of transactions
//! ```
//!
//! *Why a slot for every snapshot.* Making one waits for all transactions that were open before. Those may have changed a table
//! before it was in the publication, which the log does not tell then; so they are in the snapshot.
//!
//! | file | owns |
//! |---|---|
//! | `names.rs` | what slot and publication are called, and whether they are ours |
//! | `place.rs` | positions: a timeline, and how far into its log |
//! | `readiness.rs` | whether the server can; how tables name old rows |
//! | `published.rs` | the publication, and which tables can be in it |
//! | `slot.rs` | the slot: its state, its making, its end |
//! | `readers.rs` | a snapshot's rows, by several connections |
//! | `transport.rs` | the replication protocol: sessions, and the stream of messages |
//! | `message.rs` | pgoutput's messages |
//! | `layout.rs` | which columns are read, and how each |
//! | `rows.rs`, `run.rs` | rows, gathered into changes, and those into pieces |
//! | `asked.rs` | values that the server writes for us, of types without a counterpart |
//! | `stream.rs` | [`LogStream`] |
//! | `watching.rs` | what the log does not tell |
//!
//! *Why a connection of its own.* How old a copy is depends on how soon the source says where its log stands. That must not wait
//! behind queries, which may have all connections of the pool for long. So what is asked beside the stream, and is short, is asked
//! over one connection that nobody else has.
//!
//! Invariants:
//! - What is reported as read to the server is what was acknowledged, and nothing behind it.
//! - A table without a way to name its old rows is never published: the server would refuse its updates.
//! - Only what we have made is removed, and nothing is written elsewhere.

mod asked;
mod layout;
mod message;
mod names;
mod place;
mod published;
mod readers;
mod readiness;
mod rows;
mod run;
mod slot;
mod stream;
mod transport;
mod watching;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use belvedere_connector::{
    Capture, Captured, ChangeStream, Code, Error, Kind, Lag, Position, Result, Snapshot, TableRef,
};
use tokio::sync::watch;

use crate::failure::failure;
use crate::pool::{Lease, Pool};

pub use names::Names;

use place::{Lsn, rewound};
use published::{Publication, Relation, relations, writing};
use readers::Readers;
use readiness::{Identity, Readiness, quoted};
use stream::LogStream;
use transport::{Session, Start};

/// Snapshots that are taken until one has all tables as they were.
const MOST_ATTEMPTS: usize = 10;

/// Change capture of one source.
#[derive(Debug)]
pub struct Capturing {
    /// For what may wait behind a query: discovery, and the rows of a snapshot.
    pool: Arc<Pool>,
    /// For what waits behind no query. One connection, once something is followed. Whoever has it goes on by itself, and asks for
    /// no other of it.
    questions: Arc<Pool>,
    /// As far as discovery has found out.
    readiness: RwLock<Option<Readiness>>,
    /// Tables that this process has seen published. None: it has not looked yet.
    published: Mutex<Option<HashSet<TableRef>>>,
    /// The process at the server of the stream there was last.
    reader: Mutex<Option<i32>>,
    /// The furthest place that somebody was told of.
    asked: watch::Sender<Lsn>,
}

impl Capturing {
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            questions: Pool::new(pool.settings.clone(), 1),
            pool,
            readiness: RwLock::default(),
            published: Mutex::default(),
            reader: Mutex::default(),
            asked: watch::Sender::new(0),
        }
    }

    /// Look whether the server can tell what changes.
    ///
    /// # Errors
    /// The connection's.
    pub async fn discover(&self) -> Result<()> {
        let settings = &self.pool.settings;
        let lease = self.pool.acquire_alive().await?;
        let found = readiness::read(lease.client()?, &settings.user).await;
        let found = match found.map_err(|e| failure(settings, None, e)) {
            Ok(found) => found,
            Err(e) if matches!(e.code, Code::Unreachable | Code::Cancelled) => return Err(e),
            // Who may not see that reads tables all the same.
            Err(e) => Readiness {
                capture: Capture::None(format!("it does not tell how it is set up: {}", e.message)),
                identities: HashMap::new(),
            },
        };
        *self
            .readiness
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(())
    }

    /// Before the first look it is taken for granted: who tries learns why it is not so.
    pub fn capture(&self) -> Capture {
        let readiness = self
            .readiness
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        readiness
            .as_ref()
            .map_or(Capture::Transactional, |found| found.capture.clone())
    }

    /// None: not known; else as [`Source::identity`](belvedere_connector::Source::identity).
    pub fn identity(&self, table: &TableRef) -> Option<Option<Vec<String>>> {
        let readiness = self
            .readiness
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let identity = readiness.as_ref()?.identities.get(table);
        Some(match identity {
            Some(Identity::Key(columns)) => Some(columns.clone()),
            Some(Identity::Whole | Identity::Nothing) | None => None,
        })
    }

    /// # Errors
    /// The connection's.
    pub async fn position(&self) -> Result<Position> {
        let settings = &self.pool.settings;
        let lease = self.questions.acquire(None).await?;
        let standing = match place::standing(lease.client()?).await {
            // It had died in the pool.
            Err(_) if lease.reused && lease.client()?.is_closed() => {
                drop(lease);
                let lease = self.questions.acquire_fresh(None).await?;
                place::standing(lease.client()?).await
            }
            standing => standing,
        };
        let standing = standing.map_err(|e| failure(settings, None, e))?;
        let standing = standing.ok_or_else(|| {
            Error::internal("the server tells in an unknown form where its log stands")
                .at_source(&settings.source)
        })?;
        self.asked.send_if_modified(|asked| {
            let is_further = standing.inserted > *asked;
            *asked = standing.inserted.max(*asked);
            is_further
        });
        if standing.flushed < standing.inserted {
            let nudge = watching::nudge(self.questions.clone(), Some(standing.inserted));
            tokio::spawn(nudge);
        }
        Ok(standing.timeline.at(standing.inserted))
    }

    /// # Errors
    /// A definite one names its table; [`Code::Busy`] names who is waited for; the connection's.
    pub async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        let settings = &self.pool.settings;
        let mut has_slot = {
            let mut lease = self.questions.acquire_alive().await?;
            let published = self.publish(&mut lease, tables).await?;
            if let Some(Err(e)) = published.into_iter().find(Result::is_err) {
                return Err(e);
            }
            self.usable_slot(lease.client()?).await?
        };
        for _ in 0..MOST_ATTEMPTS {
            let mut session = Session::open(settings, slot::LOCK_TIMEOUT, None).await?;
            let exported = slot::create(&self.questions, &mut session, has_slot).await?;
            has_slot = true;
            let position = session.timeline.at(exported.at);
            let streams = Readers::streams(self.pool.clone(), session, &exported, tables).await?;
            if let Some(streams) = streams {
                return Ok(Snapshot { position, streams });
            }
        }
        let message = "tables are emptied or rewritten faster than they can be read";
        Err(Error::new(Code::Busy, message).at_source(&settings.source))
    }

    /// Whether there is the source's slot. One of ours that is lost makes room for another.
    async fn usable_slot(&self, client: &tokio_postgres::Client) -> Result<bool> {
        let settings = &self.pool.settings;
        let name = &settings.names.slot;
        let slot = slot::look(client, settings).await?;
        let statements = match &slot {
            Some(slot) if !slot.is_lost => return Ok(true),
            None if name.is_ours => return Ok(false),
            Some(_) if name.is_ours => {
                slot::until_free(client, settings, self.reader()).await?;
                slot::remove(client, settings).await?;
                return Ok(false);
            }
            None => slot::creation(name),
            Some(_) => format!("{}; {}", slot::removal(name), slot::creation(name)),
        };
        let message = format!("slot {} is not there, or was invalidated", name.text);
        Err(Error::new(Code::NoChangeCapture, message)
            .help(format!("Run at the source: {statements}"))
            .at_source(&settings.source))
    }

    /// See to it that tables are published: of each, as it is, or why it cannot be followed.
    async fn publish(
        &self,
        lease: &mut Lease,
        tables: &[Captured],
    ) -> Result<Vec<Result<Relation>>> {
        let settings = &self.pool.settings;
        let mut all = relations(lease.client()?, settings, tables).await?;
        let mut publication = Publication::read(lease.client()?, settings).await?;
        let mut has_more = false;
        for (captured, relation) in tables.iter().zip(&mut all) {
            if relation.is_err() || publication.has(&captured.table) {
                continue;
            }
            match publication.add(lease, captured).await {
                Ok(()) => has_more = true,
                Err(e) if e.kind() == Kind::Definite => *relation = Err(e),
                Err(e) => return Err(e),
            }
        }
        if has_more {
            publication = Publication::read(lease.client()?, settings).await?;
        }
        for (captured, relation) in tables.iter().zip(&mut all) {
            let Ok(found) = relation else {
                continue;
            };
            match publication.check(captured, found) {
                Ok(()) => self.known(&captured.table),
                Err(e) => *relation = Err(e),
            }
        }
        Ok(all)
    }

    fn known(&self, table: &TableRef) {
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        published.get_or_insert_default().insert(table.clone());
    }

    fn reader(&self) -> Option<i32> {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether changes may have been missed: a table that was published is not any more. Which were, a process that has just
    /// begun does not know; then none may be missing.
    async fn check_published(
        &self,
        client: &tokio_postgres::Client,
        tables: &[Captured],
    ) -> Result<()> {
        let settings = &self.pool.settings;
        let publication = Publication::read(client, settings).await?;
        let published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let missing = tables.iter().find(|captured| {
            let was = published
                .as_ref()
                .is_none_or(|known| known.contains(&captured.table));
            was && !publication.has(&captured.table)
        });
        match missing {
            None => Ok(()),
            Some(captured) => {
                let message =
                    "the table is not in the publication any more: changes may be missing";
                Err(Error::new(Code::LogTruncated, message)
                    .at_source(&settings.source)
                    .at_table(&captured.table.name))
            }
        }
    }

    /// # Errors
    /// [`Code::LogTruncated`], [`Code::LogRewound`]; [`Code::Busy`] if another reads the slot; the connection's.
    pub async fn changes(
        &self,
        from: &Position,
        tables: &[Captured],
    ) -> Result<Box<dyn ChangeStream>> {
        let settings = &self.pool.settings;
        let mut lease = self.questions.acquire_alive().await?;
        let slot = slot::until_free(lease.client()?, settings, self.reader()).await?;
        let truncated =
            |message: String| Error::new(Code::LogTruncated, message).at_source(&settings.source);
        let name = &settings.names.slot.text;
        let slot = slot.ok_or_else(|| truncated(format!("slot {name} is not there any more")))?;
        if slot.is_lost {
            return Err(truncated(format!(
                "slot {name} was invalidated by the server"
            )));
        }
        self.check_published(lease.client()?, tables).await?;
        let relations = self.publish(&mut lease, tables).await?;
        drop(lease);
        // The position says nothing of it without the timeline, which the session asks for.
        let place = from.place().try_into().map(Lsn::from_be_bytes);
        let place = place.map_err(|_| rewound().at_source(&settings.source))?;
        let start = Start {
            slot: name,
            publication: &settings.names.publication.text,
            from: place,
            acknowledged: slot.confirmed,
        };
        let mut session = Session::open(settings, slot::LOCK_TIMEOUT, Some(start)).await?;
        let timeline = session.timeline;
        let place = timeline
            .lsn(from)
            .map_err(|e| e.at_source(&settings.source))?;
        if place > session.flushed {
            return Err(rewound().at_source(&settings.source));
        }
        if place < slot.confirmed {
            return Err(truncated(format!(
                "slot {name} is ahead of where it was read to"
            )));
        }
        let pid = session
            .ask(settings, "SELECT pg_catalog.pg_backend_pid()")
            .await?;
        let pid = pid
            .into_iter()
            .next()
            .flatten()
            .and_then(|pid| pid.parse().ok());
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = pid;
        let log = session.start(settings).await?;
        let tables = tables.iter().cloned().zip(relations).collect();
        let asked = self.asked.subscribe();
        let stream = LogStream::new(self.questions.clone(), timeline, log, place, tables, asked);
        Ok(Box::new(stream))
    }

    /// # Errors
    /// The connection's.
    pub async fn lag(&self) -> Result<Option<Lag>> {
        let settings = &self.pool.settings;
        let lease = self.questions.acquire_alive().await?;
        let held = slot::held(lease.client()?, settings).await?;
        let most = settings.max_lag.filter(|_| settings.names.slot.is_ours);
        Ok(held.map(|bytes| Lag { bytes, most }))
    }

    /// # Errors
    /// With the statement to run, where the user may not; the connection's.
    pub async fn release(&self) -> Result<()> {
        let settings = &self.pool.settings;
        let names = &settings.names;
        let mut lease = self.questions.acquire_alive().await?;
        let client = lease.client()?;
        if names.slot.is_ours
            && slot::until_free(client, settings, self.reader())
                .await?
                .is_some()
        {
            slot::remove(client, settings).await?;
        }
        if names.publication.is_ours && Publication::is_own(client, settings).await? {
            let statement = format!(
                "DROP PUBLICATION IF EXISTS {}",
                quoted(&names.publication.text)
            );
            let dropped = writing(&mut lease, &statement).await;
            dropped.map_err(|e| failure(settings, None, e))?;
        }
        *self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}
