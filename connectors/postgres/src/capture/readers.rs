//! The rows of tables in one snapshot, read by as many connections as there are.
//!
//! A connection imports the snapshot when it is first needed, and takes stream after stream then; the session that exported it
//! lasts until all have ended. One has imported it before there is a stream at all: each stream that runs can run to its end,
//! and those that have no connection wait for one of the others.
//!
//! *Tables that are emptied meanwhile.* `TRUNCATE`, and what rewrites a table, takes rows from snapshots that were there before it. So
//! each connection keeps all tables from it until every stream has one, and if the first is too late, all begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use belvedere_connector::{BatchStream, Captured, Code, Error, Fragment, Rel, Result, TableRef};
use belvedere_sqlgen::render;
use futures::{Stream, StreamExt, TryStreamExt};
use sqlparser::ast::Query;
use tokio::sync::{Mutex, Notify};
use tokio_postgres::error::SqlState;

use super::published::{shown, sql_name};
use super::readiness::leaves;
use super::slot::Exported;
use super::transport::Session;
use crate::dialect::PostgresDialect;
use crate::failure::failure;
use crate::pool::{Lease, Pool};
use crate::read::{Plan, Reader, Way, batches, give_up, settle};
use crate::source::ranges;
use crate::split::{PAGES, range_sql};

const BATCH_ROWS: usize = 8192;
/// Of a page, if the server was built as most are: how large a table is need not be exact.
const PAGE_BYTES: u64 = 8192;
/// How often a waiting stream looks for a connection that somebody else gave back.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub struct Readers {
    pool: Arc<Pool>,
    snapshot: String,
    tables: Vec<TableRef>,
    /// Lasts as long as somebody may import what it exported.
    _exporter: Session,
    /// Have imported it, and are free.
    idle: Mutex<Vec<Lease>>,
    /// Streams that have no connection yet.
    waiting: AtomicUsize,
    given_back: Notify,
}

/// A connection that was to see what was exported.
enum Imported {
    Ready(Lease),
    /// Somebody waits for a table.
    Kept,
    /// A table is not what it was.
    Rewritten,
}

/// One table, or a range of it.
struct Part {
    plan: Arc<Plan>,
    sql: String,
}

impl Readers {
    /// Streams of the tables' rows, each table's in as many as its size is worth. None: of some table they are not there any more,
    /// and another snapshot is to be taken.
    ///
    /// # Errors
    /// [`Code::Busy`] if a table is kept from us; the connection's.
    pub async fn streams(
        pool: Arc<Pool>,
        exporter: Session,
        exported: &Exported,
        tables: &[Captured],
    ) -> Result<Option<Vec<(TableRef, BatchStream)>>> {
        let readers = Arc::new(Self {
            snapshot: exported.snapshot.clone(),
            tables: tables
                .iter()
                .map(|captured| captured.table.clone())
                .collect(),
            _exporter: exporter,
            idle: Mutex::default(),
            waiting: AtomicUsize::new(1),
            given_back: Notify::new(),
            pool,
        });
        let first = readers.pool.acquire(None).await?;
        let Imported::Ready(first) = readers.import(first, "").await? else {
            return Ok(None);
        };
        let mut parts = Vec::new();
        for captured in tables {
            for part in readers.parts(&first, captured).await? {
                parts.push((captured.table.clone(), part));
            }
        }
        readers.idle.lock().await.push(first);
        readers.waiting.store(parts.len(), Ordering::SeqCst);
        let streams = parts.into_iter().map(|(table, part)| {
            let rows = futures::stream::once(readers.clone().read(part));
            (table, rows.try_flatten().boxed())
        });
        Ok(Some(streams.collect()))
    }

    async fn parts(&self, lease: &Lease, captured: &Captured) -> Result<Vec<Part>> {
        let Captured { table, schema } = captured;
        let settings = &self.pool.settings;
        let fragment = Fragment::new(Rel::Scan {
            table: table.clone(),
            schema: schema.clone(),
        });
        let rendered = render(&fragment, &PostgresDialect);
        let rendered = rendered.map_err(|why| Error::internal(why).at_source(&settings.source))?;
        let plan = Arc::new(Plan {
            schema: schema.clone(),
            params: Vec::new(),
            batch_rows: BATCH_ROWS,
            deadline: None,
            by_key: false,
            table: Some(shown(table)),
        });
        let pages = pages(lease, table).await?;
        let count = pages.map_or(1, |pages| {
            ranges(pages.saturating_mul(PAGE_BYTES), settings)
        });
        let query: &Query = &rendered.query;
        let part = |i| {
            let sql = match pages {
                Some(pages) if count > 1 => range_sql(query, i, count, pages)?,
                _ => rendered.sql.clone(),
            };
            let plan = plan.clone();
            Ok(Part { plan, sql })
        };
        (0..count).map(part).collect()
    }

    async fn read(
        self: Arc<Self>,
        part: Part,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + Send + use<>> {
        let lease = self.connection().await?;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        match Reader::start(lease, part.plan, &part.sql, Way::Within("")).await {
            Ok(reader) => {
                let finish = async move |lease| self.give_back(lease).await;
                Ok(batches(reader, finish))
            }
            Err((lease, e)) => Err(give_up(lease, e).await),
        }
    }

    /// A connection of ours that is free, or one more. Waits for one as long as others are at work.
    async fn connection(&self) -> Result<Lease> {
        loop {
            let given_back = self.given_back.notified();
            if let Some(lease) = self.idle.lock().await.pop() {
                return Ok(lease);
            }
            match self.pool.try_acquire_spare().await {
                Ok(Some(lease)) => match self.import(lease, " NOWAIT").await? {
                    Imported::Ready(lease) => return Ok(lease),
                    Imported::Rewritten => return Err(self.rewritten()),
                    // Who wants a table for himself waits for those that have it: they do the rest.
                    Imported::Kept => {}
                },
                // The server has none left for us: those there are will do.
                Err(e) if e.code != Code::Busy => return Err(e),
                _ => {}
            }
            // A timer that fires is no failure: it looks again.
            let _ = tokio::time::timeout(LOOK_AGAIN, given_back).await;
        }
    }

    fn rewritten(&self) -> Error {
        let message = "a table was emptied or rewritten while it was read";
        Error::new(Code::Busy, message).at_source(&self.pool.settings.source)
    }

    /// Let a connection see what was exported, and keep the tables as they are, but for rows, as long as it does.
    async fn import(&self, mut lease: Lease, how: &str) -> Result<Imported> {
        let mut begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
            self.snapshot
        );
        if !self.tables.is_empty() {
            let names = self.tables.iter().map(sql_name).collect::<Vec<_>>();
            let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE{how}", names.join(", "));
            begin.push_str(&format!("; SET LOCAL lock_timeout = '10s'; {lock}"));
        }
        let failed = |e| failure(&self.pool.settings, None, e);
        lease.busy();
        let mut begun = lease.client()?.batch_execute(&begin).await;
        if begun.is_err() && lease.reused && lease.client()?.is_closed() {
            // It had died in the pool.
            drop(lease);
            lease = self.pool.acquire_fresh(None).await?;
            lease.busy();
            begun = lease.client()?.batch_execute(&begin).await;
        }
        match begun {
            Ok(()) => {}
            Err(e) if !how.is_empty() && e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                settle(lease).await;
                return Ok(Imported::Kept);
            }
            Err(e) => return Err(failed(e)),
        }
        let schemas: Vec<&str> = self
            .tables
            .iter()
            .map(|table| table.schema.as_str())
            .collect();
        let names: Vec<&str> = self
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .collect();
        let row = lease
            .client()?
            .query_one(REWRITTEN, &[&schemas, &names])
            .await;
        match row.and_then(|row| row.try_get(0)).map_err(failed)? {
            false => Ok(Imported::Ready(lease)),
            true => {
                settle(lease).await;
                Ok(Imported::Rewritten)
            }
        }
    }

    /// For the streams that wait, if there are any.
    async fn give_back(&self, lease: Lease) {
        let mut free = self.idle.lock().await;
        free.push(lease);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.given_back.notify_waiters();
            return;
        }
        for lease in std::mem::take(&mut *free) {
            settle(lease).await;
        }
    }
}

/// Whether a table, or a partition of it, has another file than in the snapshot.
const REWRITTEN: &str = concat!(
    "
SELECT EXISTS (
SELECT FROM unnest($1::text[], $2::text[]) w (schema, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name",
    leaves!(),
    "WHERE l.relfilenode <> 0 AND l.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(l.oid))"
);

/// Of a table that can be read by pages.
async fn pages(lease: &Lease, table: &TableRef) -> Result<Option<u64>> {
    let failed = |e| failure(lease.settings(), None, e);
    let client = lease.client()?;
    let row = client.query_opt(PAGES, &[&table.schema, &table.name]).await;
    let pages: Option<i64> = match row.map_err(failed)? {
        Some(row) => row.try_get(0).map_err(failed)?,
        None => None,
    };
    Ok(pages.and_then(|pages| u64::try_from(pages).ok()))
}
