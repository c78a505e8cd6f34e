//! What changes at a MariaDB or MySQL server, by its binary log.
//!
//! The central type is [`Capturing`]. In go tables that are wanted; out come their rows in one snapshot, and a [`LogStream`] of
//! what is committed after it.
//!
//! ```text
//!   snapshot ──▶ a transaction WITH CONSISTENT SNAPSHOT, and the transactions that the log had by then (GTIDs)
//!   log      ──▶ events ──▶ shapes of tables ──▶ runs of rows by table ──▶ pieces of transactions
//! ```
//!
//! Values of the log become those that the client gives of a scan, and go through the same decoder: snapshot and stream cannot
//! differ in how they are read into Arrow.
//!
//! | file | owns |
//! |---|---|
//! | `place.rs` | positions: a server, and which transactions it had |
//! | `domains.rs`, `sets.rs` | those of MariaDB, by domain, and those of MySQL, by who numbered them |
//! | `flavor.rs` | in which words either is asked |
//! | `readiness.rs` | whether the server can |
//! | `tables.rs` | whether tables can be followed, as they are now |
//! | `instant.rs` | a snapshot, and which transactions are in it |
//! | `copy.rs` | a snapshot's rows |
//! | `log.rs` | the connection that the log comes by |
//! | `event.rs` | the events of the log, and their parts |
//! | `bytes.rs` | bounded reading of bytes |
//! | `layout.rs` | a table's columns, as an event describes them |
//! | `shape.rs` | how the rows of a table are read |
//! | `value.rs`, `charset.rs`, `json.rs` | single values, text, MySQL's JSON |
//! | `piece.rs` | rows gathered into changes, and those into pieces |
//! | `statement.rs`, `alter.rs` | what a statement in the log does; whether an `ALTER TABLE` keeps rows as they were |
//! | `stream.rs` | [`LogStream`] |
//!
//! Invariants:
//! - Nothing is written at the server, and nothing is to be removed there.
//! - An event that is not known is an error, never passed over.
//! - What ends too early is an error, never a panic.

mod alter;
mod bytes;
mod charset;
mod copy;
mod domains;
mod event;
mod flavor;
mod instant;
mod json;
mod layout;
mod log;
mod piece;
mod place;
mod readiness;
mod sets;
mod shape;
mod statement;
mod stream;
mod tables;
mod value;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use belvedere_connector::{
    Capture, Captured, ChangeStream, Code, Error, Lag, Position, Result, Snapshot,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::sync::watch;

use crate::error::{client_error, is_dead_connection};
use crate::pool::{Lease, Pool};
use crate::settings::Settings;

use charset::Charsets;
use copy::{Keep, Tried};
use log::{FilePlace, Log};
use place::{Gtids, Timeline, rewound};
use stream::{Followed, LogStream, Shared};

/// Snapshots that are taken until one has all tables as they were.
const MOST_ATTEMPTS: usize = 10;

/// Change capture of one source.
#[derive(Debug)]
pub(crate) struct Capturing {
    /// For what may wait behind a query: discovery, the rows of a snapshot, tables that were altered.
    pool: Arc<Pool>,
    /// For what waits behind no query, for how old a copy is depends on it: where the log stands. One connection, once something is
    /// followed; whoever has it asks for no other of it.
    questions: Arc<Pool>,
    settings: Arc<Settings>,
    /// As far as discovery has found out.
    readiness: RwLock<Option<Capture>>,
    /// The number by which the server knows the reader of its log: it ends the one before.
    reader: u32,
    /// How many transactions there were at the furthest place that somebody was told of.
    asked: watch::Sender<u64>,
    /// The same, at the furthest that a stream gave.
    told: Arc<AtomicU64>,
    /// How often the log was found to be another one than streams have told of: these end.
    rewinds: watch::Sender<u64>,
    /// Up to where a stream has read the server's files.
    read: Arc<Mutex<FilePlace>>,
}

/// What a connection is asked.
type Asked<'l, T> = BoxFuture<'l, mysql_async::Result<T>>;

/// Where a server's log stands.
struct Standing {
    timeline: Timeline,
    /// What is committed.
    gtids: Gtids,
    /// What is in the log, too, and will be committed.
    coming: Gtids,
    has_case: bool,
}

impl Capturing {
    pub fn new(pool: Arc<Pool>, settings: Arc<Settings>) -> Self {
        Self {
            pool,
            questions: Pool::new(settings.clone(), 1),
            settings,
            readiness: RwLock::default(),
            // Beyond those that people give.
            reader: RandomState::new().hash_one("reader") as u32 | 1 << 31,
            asked: watch::Sender::new(0),
            told: Arc::default(),
            rewinds: watch::Sender::new(0),
            read: Arc::default(),
        }
    }

    /// Look whether the server can tell what changes.
    ///
    /// # Errors
    /// The connection's.
    pub async fn discover(&self) -> Result<()> {
        let user = self.settings.user.clone();
        let found = self.ask(&self.pool, move |lease| {
            let user = user.clone();
            let flavor = lease.flavor();
            let look = async move { readiness::read(&mut lease.conn, flavor, &user).await };
            look.boxed()
        });
        let found = found.await;
        let found = match found {
            Ok(found) => found,
            Err(e) if matches!(e.code, Code::Unreachable | Code::Cancelled | Code::Busy) => {
                return Err(e);
            }
            // Who may not see that reads tables all the same.
            Err(e) => Capture::None(format!("it does not tell how it is set up: {}", e.message)),
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
        readiness.clone().unwrap_or(Capture::Transactional)
    }

    /// By a connection that is alive.
    async fn ask<T: Send>(
        &self,
        pool: &Arc<Pool>,
        act: impl for<'l> Fn(&'l mut Lease) -> Asked<'l, T> + Send,
    ) -> Result<T> {
        let mut fresh = false;
        loop {
            let mut lease = pool.lease(None, fresh).await?;
            match act(&mut lease).await {
                Ok(found) => {
                    lease.give_back().await;
                    return Ok(found);
                }
                Err(e) => {
                    let is_dead = is_dead_connection(&e);
                    let again = is_dead && lease.reused && !fresh;
                    match is_dead {
                        true => lease.discard(false).await,
                        false => lease.give_back().await,
                    }
                    if !again {
                        return Err(client_error(e, &self.settings));
                    }
                    fresh = true;
                }
            }
        }
    }

    async fn standing(&self) -> Result<Standing> {
        type Found = (String, Option<String>, Option<String>, bool);
        let found = self.ask(&self.questions, |lease| {
            let flavor = lease.flavor();
            let asked = async move {
                let found: Option<Found> = lease.conn.query_first(flavor.standing()).await?;
                Ok((flavor, found.unwrap_or_default()))
            };
            asked.boxed()
        });
        let (flavor, (server, coming, gtids, has_case)) = found.await?;
        let parsed = |text: Option<String>| {
            let gtids = Gtids::parse(flavor, &text.unwrap_or_default());
            gtids.ok_or_else(|| {
                let message = "the server tells in an unknown form where its log stands";
                Error::internal(message).at_source(&self.settings.source)
            })
        };
        Ok(Standing {
            timeline: Timeline::parse(flavor, &server)?,
            gtids: parsed(gtids)?,
            coming: parsed(coming)?,
            has_case,
        })
    }

    /// The log is not the one that was told of: what is known of that says nothing of this one.
    fn rewound(&self) -> Error {
        self.told.store(0, Ordering::SeqCst);
        self.asked.send_replace(0);
        self.rewinds.send_modify(|rewinds| *rewinds += 1);
        rewound().at_source(&self.settings.source)
    }

    /// # Errors
    /// [`Code::LogRewound`]; the connection's.
    pub async fn position(&self) -> Result<Position> {
        // Before it is asked: what is told after that is not missing.
        let told = self.told.load(Ordering::SeqCst);
        let standing = self.standing().await?;
        if standing.gtids.with(&standing.coming).count() < told {
            // A stream of it may wait for ever: MariaDB goes on from where there is nothing any more.
            return Err(self.rewound());
        }
        let count = standing.gtids.count();
        self.asked.send_if_modified(|asked| {
            let is_further = count > *asked;
            *asked = count.max(*asked);
            is_further
        });
        Ok(standing.timeline.at(&standing.gtids))
    }

    /// # Errors
    /// A definite one names its table; the connection's.
    pub async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        if let Capture::None(why) = self.capture() {
            return Err(Error::new(Code::NoChangeCapture, why).at_source(&self.settings.source));
        }
        let timeline = self.standing().await?.timeline;
        let told = self.told.load(Ordering::SeqCst);
        let mut keeps = Keep::Altering;
        for _ in 0..MOST_ATTEMPTS {
            let tried = copy::begin(&self.pool, &self.settings, tables, keeps).await?;
            let begun = match tried {
                Tried::Begun(begun) => begun,
                Tried::Altered => continue,
                Tried::Unsettled => {
                    keeps = Keep::Writing;
                    continue;
                }
            };
            // A transaction is in the log a moment before others see it.
            if begun.gtids.count() < told {
                begun.give_back().await;
                continue;
            }
            let position = timeline.at(&begun.gtids);
            let streams = begun.streams(&self.pool, &self.settings, tables).await;
            return Ok(Snapshot { position, streams });
        }
        let message = "tables are emptied or altered faster than they can be read";
        Err(Error::new(Code::Busy, message).at_source(&self.settings.source))
    }

    /// # Errors
    /// [`Code::LogTruncated`], [`Code::LogRewound`]; the connection's.
    pub async fn changes(
        &self,
        from: &Position,
        tables: &[Captured],
    ) -> Result<Box<dyn ChangeStream>> {
        let settings = &self.settings;
        if let Capture::None(why) = self.capture() {
            return Err(Error::new(Code::NoChangeCapture, why).at_source(&settings.source));
        }
        let standing = self.standing().await?;
        let gtids = standing.timeline.gtids(from);
        let gtids = gtids.map_err(|e| e.at_source(&settings.source))?;
        // Of what is in its log a stream may have told before it was committed.
        if !standing.gtids.with(&standing.coming).has(&gtids) {
            return Err(self.rewound());
        }
        let charsets = self
            .ask(&self.questions, |lease| {
                Charsets::read(&mut lease.conn).boxed()
            })
            .await?;
        let log = Log::open(settings, &gtids, self.reader).await?;
        let followed = Followed {
            tables: tables.to_vec(),
            charsets,
            has_case: standing.has_case,
            pool: self.pool.clone(),
            settings: settings.clone(),
            read: self.read.clone(),
        };
        self.told.store(gtids.count(), Ordering::SeqCst);
        let shared = Shared {
            asked: self.asked.subscribe(),
            told: self.told.clone(),
            rewinds: self.rewinds.subscribe(),
        };
        let stream = LogStream::new(followed, standing.timeline, gtids, log, shared);
        Ok(Box::new(stream))
    }

    /// Where the user may not see the server's files, nobody knows.
    ///
    /// # Errors
    /// The connection's.
    pub async fn lag(&self) -> Result<Option<Lag>> {
        const DENIED: u16 = 1227;
        let files = self.ask(&self.questions, |lease| {
            let asked = async {
                let rows = lease.conn.query::<Row, _>("SHOW BINARY LOGS").await;
                match rows {
                    Err(mysql_async::Error::Server(e)) if e.code == DENIED => Ok(Vec::new()),
                    rows => rows,
                }
            };
            asked.boxed()
        });
        let file = |row: Row| Some((row.get_opt(0)?.ok()?, row.get_opt(1)?.ok()?));
        let files: Vec<(String, u64)> = files.await?.into_iter().filter_map(file).collect();
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = read.bytes_behind(&files);
        Ok(bytes.map(|bytes| Lag { bytes, most: None }))
    }
}
