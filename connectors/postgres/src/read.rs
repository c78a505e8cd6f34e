use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use belvedere_connector::{Code, Error, Result};
use futures::{Stream, StreamExt, TryFutureExt};
use tokio_postgres::types::Type;
use tokio_postgres::{CopyOutStream, Row, RowStream, Statement};

use crate::decode::{BatchBuilder, CopyFrames};
use crate::failure::{failure, timeout};
use crate::params::Param;
use crate::pool::{Lease, Pool};

/// What is to be read, the same for all partitions of a scan.
#[derive(Debug)]
pub struct Plan {
    pub schema: SchemaRef,
    pub params: Vec<Param>,
    pub batch_rows: usize,
    pub deadline: Option<Instant>,
    /// For messages: the table, where it is one.
    pub table: Option<String>,
    /// It is asked again and again, by other keys, and takes as long as a round trip.
    pub by_key: bool,
}

impl Plan {
    /// `SET LOCAL …` for a transaction that ends when the deadline does.
    pub fn limit(&self) -> String {
        match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let ms = left.as_millis().clamp(1, i32::MAX as u128);
                format!("SET LOCAL statement_timeout = {ms}")
            }
            None => "SET LOCAL statement_timeout = 0".to_string(),
        }
    }

    fn builder(&self, statement: &Statement) -> Result<BatchBuilder> {
        let columns = statement.columns().iter();
        let sent: Vec<Type> = columns.map(|column| column.type_().clone()).collect();
        let schema = self.schema.clone();
        BatchBuilder::new(schema, &sent, self.batch_rows, self.table.clone())
    }
}

/// An answer being read. Dropped before its end, the statement is cancelled at the source.
pub struct Reader {
    plan: Arc<Plan>,
    rows: Rows,
    builder: BatchBuilder,
    /// The answer has ended; its stream must not be asked again.
    ended: bool,
    lease: Lease,
}

/// How a statement is sent.
pub enum Way<'a> {
    /// By key: it stays prepared, and is a transaction of its own. A deadline is kept by cancelling it.
    Alone,
    /// In the transaction that this opens; empty: one is open.
    Within(&'a str),
}

enum Rows {
    /// Bulk: a statement without parameters, which `COPY` does not take.
    Copy(Pin<Box<CopyOutStream>>, CopyFrames),
    Query(Pin<Box<RowStream>>),
}

impl Reader {
    /// Send the statement, in this way.
    pub async fn start(
        mut lease: Lease,
        plan: Arc<Plan>,
        sql: &str,
        way: Way<'_>,
    ) -> Result<Self, (Lease, Error)> {
        lease.busy();
        lease.is_alone = matches!(way, Way::Alone);
        let sent = async {
            let types: Vec<Type> = plan.params.iter().map(Param::sent_as).collect();
            match way {
                Way::Alone => Self::ask(&lease, &plan, sql, &types).await,
                Way::Within(begin) => Self::send(&lease, &plan, sql, &types, begin).await,
            }
        };
        let sent = until(plan.deadline, sent).await;
        match sent.map_err(|e| e.at_source(&lease.settings().source)) {
            Ok((rows, builder)) => Ok(Self {
                plan,
                rows,
                builder,
                ended: false,
                lease,
            }),
            Err(e) => Err((lease, e)),
        }
    }

    async fn ask(
        lease: &Lease,
        plan: &Plan,
        sql: &str,
        types: &[Type],
    ) -> Result<(Rows, BatchBuilder)> {
        let failed = |e| failure(lease.settings(), plan.deadline, e);
        let statement = lease.prepared(sql, types).await?.map_err(failed)?;
        let rows = lease.client()?.query_raw(&statement, &plan.params).await;
        let rows = rows.inspect_err(|e| lease.forget(sql, e)).map_err(failed)?;
        Ok((Rows::Query(Box::pin(rows)), plan.builder(&statement)?))
    }

    async fn send(
        lease: &Lease,
        plan: &Plan,
        sql: &str,
        types: &[Type],
        begin: &str,
    ) -> Result<(Rows, BatchBuilder)> {
        let client = lease.client()?;
        let failed = |e| failure(lease.settings(), plan.deadline, e);
        let begun = async {
            match begin {
                "" => Ok(()),
                begin => client.batch_execute(begin).await,
            }
        };
        // Sent together. The description is of the tables as the transaction then holds them: nobody can alter
        // them between it and the rows.
        let ((), statement) =
            futures::try_join!(begun, client.prepare_typed(sql, types)).map_err(failed)?;
        let builder = plan.builder(&statement)?;
        let rows = if plan.params.is_empty() {
            let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
            let stream = client.copy_out(&copy).map_err(failed).await?;
            Rows::Copy(Box::pin(stream), CopyFrames::default())
        } else {
            let stream = client
                .query_raw(&statement, &plan.params)
                .map_err(failed)
                .await?;
            Rows::Query(Box::pin(stream))
        };
        Ok((rows, builder))
    }

    /// The next batch; None at the end, when the connection is ready for the next statement of its transaction.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let deadline = self.plan.deadline;
        until(deadline, self.fill())
            .await
            .map_err(|e| e.at_source(&self.lease.settings().source))
    }

    async fn fill(&mut self) -> Result<Option<RecordBatch>> {
        let deadline = self.plan.deadline;
        let builder = &mut self.builder;
        while !self.ended && !builder.is_full() {
            let more = match &mut self.rows {
                Rows::Copy(stream, frames) => match stream.next().await {
                    Some(chunk) => {
                        let chunk =
                            chunk.map_err(|e| failure(self.lease.settings(), deadline, e))?;
                        frames.push(&chunk, |tuple| builder.push_tuple(tuple))?;
                        true
                    }
                    None if frames.is_complete() => false,
                    None => return Err(Error::internal("the copy ended without its trailer")),
                },
                Rows::Query(stream) => match stream.next().await {
                    Some(row) => {
                        let row: Row =
                            row.map_err(|e| failure(self.lease.settings(), deadline, e))?;
                        builder.push_row(&row)?;
                        true
                    }
                    None => false,
                },
            };
            self.ended = !more;
        }
        match builder.is_empty() {
            true => Ok(None),
            false => builder.finish().map(Some),
        }
    }

    pub fn into_lease(self) -> Lease {
        self.lease
    }
}

/// End the transaction, after which the connection is anybody's. Best effort: one that fails closes the connection.
pub async fn settle(mut lease: Lease) {
    if lease.is_alone {
        lease.settled();
        return;
    }
    let ended = match lease.client() {
        Ok(client) => client.batch_execute("ROLLBACK").await.is_ok(),
        Err(_) => false,
    };
    if ended {
        lease.settled();
    }
}

/// A statement over the whole of its tables, by itself. An idle connection that turns out dead before any row is
/// replaced once.
pub async fn open(pool: &Arc<Pool>, plan: &Arc<Plan>, sql: &str) -> Result<Reader> {
    if plan.by_key && pool.keeps_statements() {
        let lease = pool.acquire(plan.deadline).await?;
        match Reader::start(lease, plan.clone(), sql, Way::Alone).await {
            Ok(reader) => return Ok(reader),
            Err((lease, e)) if e.code == Code::Timeout => return Err(give_up(lease, e).await),
            // Why, and whether it is so without anything prepared, is found out below.
            Err((lease, e)) => drop(give_up(lease, e).await),
        }
    }
    let begin = format!("BEGIN READ ONLY; {}", plan.limit());
    let begin = || Way::Within(&begin);
    let lease = pool.acquire(plan.deadline).await?;
    let reused = lease.reused;
    match Reader::start(lease, plan.clone(), sql, begin()).await {
        Ok(reader) => Ok(reader),
        Err((lease, e)) if reused && e.code == Code::Unreachable => {
            drop(lease);
            let lease = pool.acquire_fresh(plan.deadline).await?;
            match Reader::start(lease, plan.clone(), sql, begin()).await {
                Ok(reader) => Ok(reader),
                Err((lease, e)) => Err(give_up(lease, e).await),
            }
        }
        Err((lease, e)) => Err(give_up(lease, e).await),
    }
}

/// A statement that the server refused leaves the connection usable.
pub async fn give_up(lease: Lease, e: Error) -> Error {
    if !matches!(
        e.code,
        Code::Unreachable | Code::Timeout | Code::Cancelled | Code::Internal
    ) {
        settle(lease).await;
    }
    e
}

/// The batches of a reader; `finish` takes its connection at the end.
pub fn batches<F, Fut>(reader: Reader, finish: F) -> impl Stream<Item = Result<RecordBatch>> + Send
where
    F: FnOnce(Lease) -> Fut + Send,
    Fut: Future<Output = ()> + Send,
{
    futures::stream::try_unfold(
        Some((reader, finish)),
        async |state: Option<(Reader, F)>| {
            let Some((mut reader, finish)) = state else {
                return Ok(None);
            };
            match reader.next().await? {
                Some(batch) => Ok(Some((batch, Some((reader, finish))))),
                None => {
                    finish(reader.into_lease()).await;
                    Ok(None)
                }
            }
        },
    )
}

pub async fn until<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or_else(|_| Err(timeout())),
        None => work.await,
    }
}
