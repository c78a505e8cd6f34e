//! The rows of tables in one snapshot, read by as many connections as there are.
//!
//! A connection imports the snapshot when it is first needed, and takes stream after stream then; the session that exported it
//! lasts until all have ended. One has imported it before there is a stream at all: each stream that runs can run to its end,
//! and those that have no connection wait for one of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use belvedere_connector::{BatchStream, Captured, Code, Error, Fragment, Rel, Result, TableRef};
use belvedere_sqlgen::render;
use futures::{Stream, StreamExt, TryStreamExt};
use sqlparser::ast::Query;
use tokio::sync::{Mutex, Notify};

use super::published::shown;
use super::slot::Exported;
use super::transport::Session;
use crate::dialect::PostgresDialect;
use crate::failure::failure;
use crate::pool::{Lease, Pool};
use crate::read::{Plan, Reader, batches, give_up, settle};
use crate::source::ranges;
use crate::split::{PAGES, range_sql};

const BATCH_ROWS: usize = 8192;
/// Of a page, if the server was built as most are: how large a table is need not be exact.
const PAGE_BYTES: u64 = 8192;
const WAIT: Duration = Duration::from_secs(60);
/// How often a waiting stream looks for a connection that somebody else gave back.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub struct Readers {
    pool: Arc<Pool>,
    snapshot: String,
    /// Lasts as long as somebody may import what it exported.
    _exporter: Session,
    /// Have imported it, and are free.
    idle: Mutex<Vec<Lease>>,
    /// Streams that have no connection yet.
    waiting: AtomicUsize,
    given_back: Notify,
}

/// One table, or a range of it.
struct Part {
    plan: Arc<Plan>,
    sql: String,
}

impl Readers {
    /// Streams of the tables' rows, each table's in as many as its size is worth.
    ///
    /// # Errors
    /// The connection's.
    pub async fn streams(
        pool: Arc<Pool>,
        exporter: Session,
        exported: &Exported,
        tables: &[Captured],
    ) -> Result<Vec<(TableRef, BatchStream)>> {
        let readers = Arc::new(Self {
            snapshot: exported.snapshot.clone(),
            _exporter: exporter,
            idle: Mutex::default(),
            waiting: AtomicUsize::new(1),
            given_back: Notify::new(),
            pool,
        });
        let first = readers.pool.acquire(None).await?;
        let first = readers.import(first).await?;
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
        Ok(streams.collect())
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
        match Reader::start(lease, part.plan, &part.sql, "").await {
            Ok(reader) => {
                let finish = async move |lease| self.give_back(lease).await;
                Ok(batches(reader, finish))
            }
            Err((lease, e)) => Err(give_up(lease, e).await),
        }
    }

    async fn connection(&self) -> Result<Lease> {
        let until = Instant::now() + WAIT;
        loop {
            let given_back = self.given_back.notified();
            if let Some(lease) = self.idle.lock().await.pop() {
                return Ok(lease);
            }
            match self.pool.try_acquire(None).await {
                Ok(Some(lease)) => return self.import(lease).await,
                // The server has none left for us: those there are will do.
                Err(e) if e.code != Code::Busy => return Err(e),
                _ => {}
            }
            if Instant::now() >= until {
                return Err(self.pool.busy());
            }
            // A timer that fires is no failure: it looks again.
            let _ = tokio::time::timeout(LOOK_AGAIN, given_back).await;
        }
    }

    async fn import(&self, mut lease: Lease) -> Result<Lease> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
            self.snapshot
        );
        lease.busy();
        match lease.client()?.batch_execute(&begin).await {
            Ok(()) => Ok(lease),
            // It had died in the pool.
            Err(_) if lease.reused && lease.client()?.is_closed() => {
                drop(lease);
                let mut lease = self.pool.acquire_fresh(None).await?;
                lease.busy();
                let begun = lease.client()?.batch_execute(&begin).await;
                begun.map_err(|e| failure(&self.pool.settings, None, e))?;
                Ok(lease)
            }
            Err(e) => Err(failure(&self.pool.settings, None, e)),
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
