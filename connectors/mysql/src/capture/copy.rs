//! The rows of tables, as of one place in the log.
//!
//! One connection reads them, table by table: the tables are kept as they are, but for rows, as long as it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use belvedere_connector::{BatchStream, Captured, Code, Error, Fragment, Rel, Result, TableRef};
use belvedere_sqlgen::{Dialect, render};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;

use super::instant;
use super::place::Gtids;
use super::tables;
use crate::dialect::MysqlDialect;
use crate::error::{client_error, is_dead_connection};
use crate::pool::{Lease, Pool};
use crate::read::{Batches, Reading, Render, stream};
use crate::session::{self, Flavor};
use crate::settings::Settings;

const BATCH_ROWS: usize = 8192;
/// A table has been altered since the snapshot was taken.
const ALTERED: u16 = 1412;
/// A lock was waited for too long.
const LOCKED: u16 = 1205;
/// Of a database, of a table, of a right on all.
const DENIED: [u16; 3] = [1044, 1142, 1227];
/// Seconds that a snapshot waits for one who alters a table. All others who want the tables wait for him, too, and he may wait
/// for the snapshot.
const PATIENCE: u64 = 10;

/// A connection with a snapshot, and where the log was when it was taken.
pub struct Begun {
    lease: Lease,
    pub gtids: Gtids,
}

/// What came of trying.
pub enum Tried {
    Begun(Begun),
    /// A table was altered or emptied in between: another snapshot is to be taken.
    Altered,
    /// Of all that is committed all the time it cannot be said what a snapshot has: nobody may write the tables as it is taken.
    Unsettled,
}

/// What a second connection keeps others from as a snapshot is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// Altering and emptying the tables.
    Altering,
    /// Writing them.
    Writing,
}

/// Begin a transaction that sees all tables as they are at a place in the log.
///
/// # Errors
/// A definite one names its table; the connection's.
pub async fn begin(
    pool: &Arc<Pool>,
    settings: &Settings,
    all: &[Captured],
    keeps: Keep,
) -> Result<Tried> {
    let mut fresh = false;
    loop {
        let mut lease = pool.lease(None, fresh).await?;
        let kept = match keep(settings, all, keeps).await {
            Ok(kept) => kept,
            Err(e) => {
                lease.give_back().await;
                return Err(e);
            }
        };
        match open(&mut lease, kept, all, keeps).await {
            Ok(Ok(Some(gtids))) => return Ok(Tried::Begun(Begun { lease, gtids })),
            Ok(Ok(None)) => {
                lease.give_back().await;
                return Ok(Tried::Unsettled);
            }
            Ok(Err(e)) => {
                lease.give_back().await;
                return Err(e.at_source(&settings.source));
            }
            Err(mysql_async::Error::Server(e)) if e.code == ALTERED => {
                lease.give_back().await;
                return Ok(Tried::Altered);
            }
            Err(e) => {
                let is_dead = is_dead_connection(&e);
                let again = lease.reused && is_dead && !fresh;
                lease.discard(false).await;
                if !again {
                    return Err(client_error(e, settings));
                }
                fresh = true;
            }
        }
    }
}

/// A connection in whose transaction the tables are neither altered nor emptied.
///
/// What TRUNCATE does is seen by others before it is in the log: a snapshot that is taken in between has the table without its
/// rows, at a place where the log still has them.
async fn keep(settings: &Settings, all: &[Captured], keeps: Keep) -> Result<Conn> {
    let (mut conn, _) = session::connect(settings, None).await?;
    let kept = match keeps {
        Keep::Altering => keep_looking(&mut conn, all).await,
        Keep::Writing => lock(&mut conn, all).await,
    };
    match kept {
        Ok(Ok(())) => Ok(conn),
        Ok(Err(e)) => Err(e.at_source(&settings.source)),
        Err(mysql_async::Error::Server(e))
            if keeps == Keep::Writing && DENIED.contains(&e.code) =>
        {
            Err(unsettled(settings, all).at_source(&settings.source))
        }
        Err(e) => Err(client_error(e, settings)),
    }
}

/// Who may not lock tables is told how he may.
fn unsettled(settings: &Settings, all: &[Captured]) -> Error {
    let mut schemas: Vec<&str> = all.iter().map(|c| c.table.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    let user = &settings.user;
    let grant = |schema: &&str| {
        format!(
            "GRANT LOCK TABLES ON `{}`.* TO {user}",
            schema.replace('`', "``")
        )
    };
    let grants: Vec<String> = schemas.iter().map(grant).collect();
    let message = format!(
        "transactions are committed without a pause, and user {user} may not lock the tables for the moment in which a snapshot begins"
    );
    let help = format!("Run at the source: {}", grants.join("; "));
    // It may rest again.
    Error::new(Code::Busy, message).help(help)
}

/// Each table is looked at as it is then: one that is emptied once the first was looked at is no other than it was.
async fn keep_looking(conn: &mut Conn, all: &[Captured]) -> mysql_async::Result<Result<()>> {
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .await?;
    conn.query_drop("START TRANSACTION").await?;
    look(conn, all).await
}

/// Tables that are looked at in a transaction are not altered until it ends.
async fn look(conn: &mut Conn, all: &[Captured]) -> mysql_async::Result<Result<()>> {
    let dialect = MysqlDialect { flavor: None };
    for Captured { table, .. } in all {
        let look = format!("SELECT 1 FROM {} LIMIT 1", dialect.table(table));
        if let Err(e) = patiently(conn, &look).await? {
            return Ok(Err(e.at_table(&table.name)));
        }
    }
    Ok(Ok(()))
}

/// All at once, which is the only way to have several.
async fn lock(conn: &mut Conn, all: &[Captured]) -> mysql_async::Result<Result<()>> {
    let dialect = MysqlDialect { flavor: None };
    let one = |captured: &Captured| format!("{} READ", dialect.table(&captured.table));
    let tables: Vec<String> = all.iter().map(one).collect();
    patiently(conn, &format!("LOCK TABLES {}", tables.join(", "))).await
}

/// A statement that waits for tables that others have, but not for long.
async fn patiently(conn: &mut Conn, statement: &str) -> mysql_async::Result<Result<()>> {
    let patience = format!("SET SESSION lock_wait_timeout = {PATIENCE}");
    conn.query_drop(patience).await?;
    let done = conn.query_drop(statement).await;
    conn.query_drop("SET SESSION lock_wait_timeout = DEFAULT")
        .await?;
    match done {
        Err(mysql_async::Error::Server(e)) if e.code == LOCKED => {
            let message = format!("it was locked by another session for {PATIENCE} s");
            Ok(Err(Error::new(Code::Busy, message)))
        }
        done => done.map(Ok),
    }
}

async fn open(
    lease: &mut Lease,
    kept: Conn,
    all: &[Captured],
    keeps: Keep,
) -> mysql_async::Result<Result<Option<Gtids>>> {
    lease.limit(None).await?;
    let begun = instant::begin(lease, keeps == Keep::Writing).await;
    // Who waits to alter a table goes first: then the snapshot is too old, and says so below.
    drop(kept);
    let gtids = match begun? {
        Ok(Some(gtids)) => gtids,
        other => return Ok(other),
    };
    if let Err(e) = look(&mut lease.conn, all).await? {
        return Ok(Err(e));
    }
    let numbered: Vec<_> = all.iter().cloned().enumerate().collect();
    let wrong = tables::check(&mut lease.conn, &numbered).await?;
    Ok(match wrong.into_iter().next() {
        Some((_, e)) => Err(e),
        None => Ok(Some(gtids)),
    })
}

/// What the streams of one snapshot share.
struct Copy {
    /// None: it has broken.
    lease: Mutex<Option<Lease>>,
    /// Streams that have not ended.
    left: AtomicUsize,
    settings: Arc<Settings>,
}

impl Begun {
    pub async fn give_back(self) {
        self.lease.give_back().await;
    }

    pub async fn streams(
        self,
        pool: &Arc<Pool>,
        settings: &Arc<Settings>,
        tables: &[Captured],
    ) -> Vec<(TableRef, BatchStream)> {
        if tables.is_empty() {
            self.lease.give_back().await;
            return Vec::new();
        }
        let copy = Arc::new(Copy {
            lease: Mutex::new(Some(self.lease)),
            left: AtomicUsize::new(tables.len()),
            settings: settings.clone(),
        });
        let one = |captured: &Captured| {
            let (table, schema) = (captured.table.clone(), captured.schema.clone());
            let rel = Rel::Scan {
                table: table.clone(),
                schema,
            };
            let reading = Reading {
                pool: pool.clone(),
                settings: settings.clone(),
                fragment: Arc::new(Fragment::new(rel)),
                render: rendered(settings),
                batch_rows: BATCH_ROWS,
                deadline: None,
            };
            let copy = copy.clone();
            let rows = stream(settings.source.clone(), async move |batches| {
                copy.read(&reading, &batches).await
            });
            (table, rows)
        };
        tables.iter().map(one).collect()
    }
}

fn rendered(settings: &Settings) -> Arc<Render> {
    let source = settings.source.clone();
    Arc::new(move |flavor: Flavor, fragment: &Fragment| {
        let dialect = MysqlDialect {
            flavor: Some(flavor),
        };
        let rendered = render(fragment, &dialect);
        rendered.map_err(|why| Error::internal(why).at_source(&source))
    })
}

impl Copy {
    async fn read(&self, reading: &Reading, batches: &Batches) -> Result<()> {
        let mut held = self.lease.lock().await;
        let lease = held.take().ok_or_else(|| {
            let message = "the connection that has the snapshot is lost";
            Error::new(Code::Unreachable, message).at_source(&self.settings.source)
        })?;
        let kept = reading.answer_and_keep(lease, batches).await?;
        match kept {
            Some(lease) if self.left.fetch_sub(1, Ordering::SeqCst) == 1 => {
                lease.give_back().await;
            }
            kept => *held = kept,
        }
        Ok(())
    }
}
