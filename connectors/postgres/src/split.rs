//! A large table read by several connections at once, each a range of its pages, all in one snapshot.
//!
//! The central type is [`Split`]. The first stream to be polled opens a transaction, exports its snapshot and asks for
//! the table's size; the others take what connections are free and join it. Where there are fewer connections than
//! ranges, a range waits for one that has finished: every stream that runs can run to its end by itself, and no stream
//! queues for a connection while its scan holds one, so two scans cannot wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use belvedere_connector::{Code, Error, Result, TableRef};
use futures::{Stream, StreamExt};
use sqlparser::ast::{BinaryOperator, Expr, Query, Select, SetExpr, TableFactor, Value};
use tokio::sync::{Mutex, Notify};

use belvedere_sqlgen::sql;

use crate::failure::failure;
use crate::pool::{Lease, Pool};
use crate::read::{Plan, Reader, Way, batches, give_up, open, settle};

const WAIT: Duration = Duration::from_secs(30);
/// How often a waiting range looks for a connection that somebody else gave back.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The number of pages of a table that can be split: one with pages of its own, whose system columns we may read, and
/// that no other inherits from.
pub const PAGES: &str = r#"
SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am a ON a.oid = c.relam
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'm') AND NOT c.relhassubclass
  AND a.amname = 'heap' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
"#;

pub struct Split {
    pool: Arc<Pool>,
    plan: Arc<Plan>,
    table: TableRef,
    query: Query,
    ranges: usize,
    /// Ranges that have no connection yet.
    waiting: AtomicUsize,
    snapshot: Mutex<Option<Snapshot>>,
    given_back: Notify,
}

struct Snapshot {
    /// As `pg_export_snapshot` names it; usable while the exporting transaction lasts.
    name: String,
    /// None: the table cannot be split, the first range is all of it.
    pages: Option<u64>,
    idle: Vec<Lease>,
}

impl Split {
    pub fn new(
        pool: Arc<Pool>,
        plan: Arc<Plan>,
        table: TableRef,
        query: Query,
        ranges: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            pool,
            plan,
            table,
            query,
            ranges,
            waiting: AtomicUsize::new(ranges),
            snapshot: Mutex::new(None),
            given_back: Notify::new(),
        })
    }

    /// The rows of one range.
    pub async fn read(
        self: Arc<Self>,
        range: usize,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + Send + use<>> {
        let (lease, pages) = self.connection().await?;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let sql = match (pages, range) {
            (Some(pages), _) => range_sql(&self.query, range, self.ranges, pages)?,
            (None, 0) => self.query.to_string(),
            (None, _) => {
                self.give_back(lease).await;
                return Ok(futures::stream::empty().left_stream());
            }
        };
        match Reader::start(lease, self.plan.clone(), &sql, Way::Within("")).await {
            Ok(reader) => {
                let finish = async move |lease| self.give_back(lease).await;
                Ok(batches(reader, finish).right_stream())
            }
            Err((lease, e)) => Err(give_up(lease, e).await),
        }
    }

    /// A connection in the snapshot, and the table's pages.
    async fn connection(&self) -> Result<(Lease, Option<u64>)> {
        let until = self.plan.deadline.unwrap_or_else(|| Instant::now() + WAIT);
        loop {
            let given_back = self.given_back.notified();
            if let Some(found) = self.try_connection().await? {
                return Ok(found);
            }
            if Instant::now() >= until {
                return Err(self.pool.busy());
            }
            // A timer that fires is no failure: it looks again.
            let _ = tokio::time::timeout(LOOK_AGAIN, given_back).await;
        }
    }

    async fn try_connection(&self) -> Result<Option<(Lease, Option<u64>)>> {
        let mut snapshot = self.snapshot.lock().await;
        let Some(known) = snapshot.as_mut() else {
            let (lease, opened) = self.open_snapshot().await?;
            let pages = opened.pages;
            *snapshot = Some(opened);
            return Ok(Some((lease, pages)));
        };
        if let Some(lease) = known.idle.pop() {
            return Ok(Some((lease, known.pages)));
        }
        let mut lease = match self.pool.try_acquire(self.plan.deadline).await {
            Ok(Some(lease)) => lease,
            Ok(None) => return Ok(None),
            // The server has none left for us: those that the scan has will do.
            Err(e) if e.code == Code::Busy => return Ok(None),
            Err(e) => return Err(e),
        };
        lease.busy();
        let join = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}; SET TRANSACTION SNAPSHOT '{}'",
            self.plan.limit(),
            known.name
        );
        match lease.client()?.batch_execute(&join).await {
            Ok(()) => Ok(Some((lease, known.pages))),
            Err(e) => {
                let gone = matches!(
                    e.code().map(|c| c.code()),
                    Some("22023" | "42704" | "55000")
                );
                let e = failure(&self.pool.settings, self.plan.deadline, e);
                Err(match gone {
                    true => Error::new(
                        Code::Unreachable,
                        "the connection that held this read's snapshot is gone",
                    )
                    .at_source(&self.pool.settings.source)
                    .help("Run the query again"),
                    false => e,
                })
            }
        }
    }

    async fn open_snapshot(&self) -> Result<(Lease, Snapshot)> {
        let lease = self.pool.acquire(self.plan.deadline).await?;
        let reused = lease.reused;
        match self.export(lease).await {
            Err(e) if reused && e.code == Code::Unreachable => {
                let lease = self.pool.acquire_fresh(self.plan.deadline).await?;
                self.export(lease).await
            }
            result => result,
        }
    }

    async fn export(&self, mut lease: Lease) -> Result<(Lease, Snapshot)> {
        lease.busy();
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}",
            self.plan.limit()
        );
        let client = lease.client()?;
        let work = async {
            client.batch_execute(&begin).await?;
            let exported = client
                .query_one("SELECT pg_catalog.pg_export_snapshot()", &[])
                .await?;
            let pages = client
                .query_opt(PAGES, &[&self.table.schema, &self.table.name])
                .await?;
            let pages: Option<i64> = match pages {
                Some(row) => row.try_get(0)?,
                None => None,
            };
            Ok((exported.try_get::<_, String>(0)?, pages))
        };
        let (name, pages) = work
            .await
            .map_err(|e| failure(&self.pool.settings, self.plan.deadline, e))?;
        // It becomes part of a statement that takes no parameters.
        if !name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Err(Error::internal("a snapshot's name of an unknown form"));
        }
        let snapshot = Snapshot {
            name,
            pages: pages.and_then(|n| u64::try_from(n).ok()),
            idle: Vec::new(),
        };
        Ok((lease, snapshot))
    }

    /// Keeps the transaction open while there are ranges that may need it: it may be the exporting one.
    async fn give_back(&self, lease: Lease) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            if let Some(snapshot) = self.snapshot.lock().await.as_mut() {
                snapshot.idle.push(lease);
            }
            self.given_back.notify_waiters();
            return;
        }
        settle(lease).await;
        let idle = match self.snapshot.lock().await.as_mut() {
            Some(snapshot) => std::mem::take(&mut snapshot.idle),
            None => Vec::new(),
        };
        for lease in idle {
            settle(lease).await;
        }
    }
}

/// The statement that reads one of so many ranges of a table of so many pages, of one that reads all of it. The last range has no
/// end, so that it takes what a size in whole pages may have missed.
pub fn range_sql(query: &Query, range: usize, ranges: usize, pages: u64) -> Result<String> {
    let bound = |i: usize| pages * i as u64 / ranges as u64;
    let from = (range > 0).then(|| bound(range));
    let to = (range + 1 < ranges).then(|| bound(range + 1));
    let mut query = query.clone();
    let select = scan_of(&mut query)
        .ok_or_else(|| Error::internal("a split of what is not one table's rows"))?;
    let alias = match &select.from[..] {
        [one] => match &one.relation {
            TableFactor::Table {
                alias: Some(alias), ..
            } => alias.name.value.clone(),
            _ => return Err(Error::internal("a scan without an alias")),
        },
        _ => return Err(Error::internal("a scan of several tables")),
    };
    let limit = |op, page: u64| {
        let tid = Expr::value(Value::SingleQuotedString(format!("({page},0)")));
        sql::binary(
            sql::column(&alias, sql::word("ctid")),
            op,
            sql::cast(tid, sql::type_name("tid")),
        )
    };
    let own = select.selection.take();
    select.selection = sql::all(
        from.map(|page| limit(BinaryOperator::GtEq, page))
            .into_iter()
            .chain(to.map(|page| limit(BinaryOperator::Lt, page)))
            .chain(own.map(sql::nested)),
    );
    Ok(query.to_string())
}

/// The innermost SELECT of a chain of them, which is over a table.
fn scan_of(query: &mut Query) -> Option<&mut Select> {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    match &select.from.first()?.relation {
        TableFactor::Table { .. } => Some(select),
        TableFactor::Derived { .. } => match &mut select.from.first_mut()?.relation {
            TableFactor::Derived { subquery, .. } => scan_of(subquery),
            _ => None,
        },
        _ => None,
    }
}

/// One stream over all of a fragment's rows.
pub async fn whole(
    pool: Arc<Pool>,
    plan: Arc<Plan>,
    sql: String,
) -> Result<impl Stream<Item = Result<RecordBatch>> + Send> {
    let reader = open(&pool, &plan, &sql).await?;
    Ok(batches(reader, settle))
}
