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

use super::place::Gtids;
use super::tables;
use crate::dialect::MysqlDialect;
use crate::error::{client_error, is_dead_connection};
use crate::pool::{Lease, Pool};
use crate::read::{Batches, Reading, Render, stream};
use crate::session::{self, Flavor};
use crate::settings::Settings;
use crate::snapshot;

const BATCH_ROWS: usize = 8192;
/// A table has been altered since the snapshot was taken.
const ALTERED: u16 = 1412;
/// A lock was waited for too long.
const LOCKED: u16 = 1205;
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
}

/// Begin a transaction that sees all tables as they are at a place in the log.
///
/// # Errors
/// A definite one names its table; the connection's.
pub async fn begin(pool: &Arc<Pool>, settings: &Settings, all: &[Captured]) -> Result<Tried> {
    let mut fresh = false;
    loop {
        let mut lease = pool.lease(None, fresh).await?;
        let kept = match keep(settings, all).await {
            Ok(kept) => kept,
            Err(e) => {
                lease.give_back().await;
                return Err(e);
            }
        };
        match open(&mut lease, kept, all).await {
            Ok(Ok(gtids)) => return Ok(Tried::Begun(Begun { lease, gtids })),
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
async fn keep(settings: &Settings, all: &[Captured]) -> Result<Conn> {
    let (mut conn, _) = session::connect(settings, None).await?;
    let begun = async {
        conn.query_drop("START TRANSACTION").await?;
        look(&mut conn, all).await
    };
    match begun.await {
        Ok(Ok(())) => Ok(conn),
        Ok(Err(e)) => Err(e.at_source(&settings.source)),
        Err(e) => Err(client_error(e, settings)),
    }
}

/// Tables that are looked at in a transaction are not altered until it ends.
async fn look(conn: &mut Conn, all: &[Captured]) -> mysql_async::Result<Result<()>> {
    let dialect = MysqlDialect { flavor: None };
    for Captured { table, .. } in all {
        let place = dialect.table(table);
        let look = format!(
            "SET STATEMENT lock_wait_timeout = {PATIENCE} FOR SELECT 1 FROM {place} LIMIT 1"
        );
        match conn.query_drop(look).await {
            Err(mysql_async::Error::Server(e)) if e.code == LOCKED => {
                let message = format!("it was locked by another session for {PATIENCE} s");
                return Ok(Err(Error::new(Code::Busy, message).at_table(&table.name)));
            }
            looked => looked?,
        }
    }
    Ok(Ok(()))
}

async fn open(
    lease: &mut Lease,
    kept: Conn,
    all: &[Captured],
) -> mysql_async::Result<Result<Gtids>> {
    lease.limit(None).await?;
    let taken = snapshot::one(lease).await;
    // Who waits to alter a table goes first: then the snapshot is too old, and says so below.
    drop(kept);
    let Some((file, offset)) = taken? else {
        let message = "the server does not tell where its log was when a snapshot was taken";
        return Ok(Err(Error::new(Code::NoChangeCapture, message)));
    };
    if let Err(e) = look(&mut lease.conn, all).await? {
        return Ok(Err(e));
    }
    let numbered: Vec<_> = all.iter().cloned().enumerate().collect();
    let wrong = tables::check(&mut lease.conn, &numbered).await?;
    if let Some((_, e)) = wrong.into_iter().next() {
        return Ok(Err(e));
    }
    let asked = "SELECT BINLOG_GTID_POS(?, ?)";
    let gtids: Option<Option<String>> = lease.conn.exec_first(asked, (file, offset)).await?;
    let gtids = gtids.flatten().and_then(|text| Gtids::parse(&text));
    let message =
        "the server does not tell which transactions its log had when a snapshot was taken";
    Ok(gtids.ok_or_else(|| Error::new(Code::Busy, message)))
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
