use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use belvedere_connector::{BatchStream, Code, Error, Fragment, JoinKind, Rel, Result};
use belvedere_sqlgen::Rendered;
use futures::{StreamExt, stream};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Statement, Value};
use tokio::sync::mpsc;

use crate::decode::{Origin, RowDecoder};
use crate::error::{client_error, is_dead_connection};
use crate::params;
use crate::pool::{Lease, Pool};
use crate::session::Flavor;
use crate::settings::Settings;

/// Batches made ahead of the reader.
const BATCHES_AHEAD: usize = 2;
/// A batch is cut here, whatever its rows.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// What the source's own deadline may be late, before we end the statement.
const GRACE: Duration = Duration::from_secs(1);

/// Renders a fragment for the server that answers it.
pub(crate) type Render = dyn Fn(Flavor, &Fragment) -> Result<Rendered> + Send + Sync;

/// One question, and all that answering it needs.
#[derive(Clone)]
pub(crate) struct Reading {
    pub pool: Arc<Pool>,
    pub settings: Arc<Settings>,
    pub fragment: Arc<Fragment>,
    pub render: Arc<Render>,
    pub batch_rows: usize,
    pub deadline: Option<Instant>,
}

/// Where batches go; closed when nobody reads them.
pub(crate) type Batches = mpsc::Sender<Result<RecordBatch>>;

/// What came of asking a connection.
pub(crate) enum Answered {
    Done,
    /// It was idle in the pool, and no longer alive: another may do.
    WasDead,
}

/// The same, with the connection.
enum Asked {
    Complete(Lease),
    Abandoned,
    WasDead,
}

/// How reading ended, other than by an error of ours.
enum End {
    /// The answer is complete.
    Complete,
    /// The server or the connection failed; `true`: before any row came.
    Failed(mysql_async::Error, bool),
    /// The rows did not fit, or the deadline passed: the statement still runs.
    Stopped(Error),
    /// The reader went away: the statement still runs.
    Abandoned,
}

impl Reading {
    /// The answer.
    pub fn stream(self) -> BatchStream {
        let source = self.settings.source.clone();
        stream(source, async move |batches| self.run(&batches).await)
    }

    /// By any connection, the second one if the first was dead.
    pub async fn run(&self, batches: &Batches) -> Result<()> {
        let mut fresh = false;
        loop {
            let leased = tokio::select! {
                leased = self.pool.lease(self.deadline, fresh) => leased,
                () = batches.closed() => return Ok(()),
            };
            match self.answer(leased?, batches).await? {
                Answered::Done => return Ok(()),
                Answered::WasDead => fresh = true,
            }
        }
    }

    /// The answer of one connection, with which all is settled at the end.
    pub async fn answer(&self, lease: Lease, batches: &Batches) -> Result<Answered> {
        match self.ask(lease, batches).await? {
            Asked::Complete(lease) => lease.give_back().await,
            Asked::Abandoned => {}
            Asked::WasDead => return Ok(Answered::WasDead),
        }
        Ok(Answered::Done)
    }

    /// The same; the connection is as it was, and kept, unless the reader has gone.
    pub async fn answer_and_keep(&self, lease: Lease, batches: &Batches) -> Result<Option<Lease>> {
        match self.ask(lease, batches).await? {
            Asked::Complete(lease) => Ok(Some(lease)),
            Asked::Abandoned | Asked::WasDead => Ok(None),
        }
    }

    async fn ask(&self, mut lease: Lease, batches: &Batches) -> Result<Asked> {
        let rendered = match (self.render)(lease.flavor(), &self.fragment) {
            Ok(rendered) => rendered,
            Err(error) => {
                lease.give_back().await;
                return Err(error);
            }
        };
        let end = tokio::select! {
            biased;
            end = self.pump(&mut lease, &rendered, batches) => end,
            () = batches.closed() => End::Abandoned,
            () = until(self.deadline) => End::Stopped(late()),
        };
        match end {
            End::Complete => Ok(Asked::Complete(lease)),
            End::Abandoned => {
                lease.discard(true).await;
                Ok(Asked::Abandoned)
            }
            End::Stopped(error) => {
                lease.discard(true).await;
                Err(error.at_source(&self.settings.source))
            }
            End::Failed(error, before_rows) => {
                let dead = is_dead_connection(&error);
                let was_dead = dead && before_rows && lease.reused;
                match dead {
                    true => lease.discard(false).await,
                    false => lease.give_back().await,
                }
                match was_dead {
                    true => Ok(Asked::WasDead),
                    false => Err(self.at_table(client_error(error, &self.settings))),
                }
            }
        }
    }

    /// Execute and send batches until something ends it.
    async fn pump(&self, lease: &mut Lease, rendered: &Rendered, batches: &Batches) -> End {
        let prepared = async {
            lease.limit(self.deadline).await?;
            lease.conn.prep(rendered.sql.as_str()).await
        };
        let statement = match prepared.await {
            Ok(statement) => statement,
            Err(e) => return End::Failed(e, true),
        };
        let conn = &mut lease.conn;
        let end = self.execute(conn, &statement, rendered, batches).await;
        // MariaDB 10.11 executes one with subqueries once: then it may no longer know their tables (error 1054).
        let is_over = matches!(end, End::Complete | End::Failed(..));
        if is_over && rendered.has_subqueries() {
            // A connection that is lost by now is noticed by the next who takes it.
            let _ = conn.close(statement).await;
        }
        end
    }

    async fn execute(
        &self,
        conn: &mut Conn,
        statement: &Statement,
        rendered: &Rendered,
        batches: &Batches,
    ) -> End {
        let schema = self.fragment.schema();
        let Some(values) = bound(rendered) else {
            return End::Stopped(Error::internal("a constant that the source does not have"));
        };
        let mut result = match conn.exec_iter(statement, params(values)).await {
            Ok(result) => result,
            Err(e) => return End::Failed(e, true),
        };
        let columns = result.columns().unwrap_or_else(|| Arc::new([]));
        let mut decoder = match RowDecoder::new(schema, &origins(&self.fragment.rel), &columns) {
            Ok(decoder) => decoder,
            Err(error) => return End::Stopped(error),
        };
        let mut rows = match result.stream::<Row>().await {
            Ok(Some(rows)) => rows,
            Ok(None) => return End::Stopped(Error::internal("the statement has no answer")),
            Err(e) => return End::Failed(e, true),
        };
        let mut first = true;
        loop {
            let row = match rows.next().await {
                Some(Ok(row)) => row,
                Some(Err(e)) => return End::Failed(e, first),
                None => break,
            };
            first = false;
            if let Err(error) = decoder.append(&row) {
                return End::Stopped(error);
            }
            if decoder.rows() >= self.batch_rows || decoder.bytes() >= MAX_BATCH_BYTES {
                let batch = decoder.finish();
                if batches.send(batch).await.is_err() {
                    return End::Abandoned;
                }
            }
        }
        if decoder.rows() > 0 {
            // A reader that has gone misses nothing at the source.
            let _ = batches.send(decoder.finish()).await;
        }
        End::Complete
    }

    /// Name the table where there is only one.
    pub fn at_table(&self, error: Error) -> Error {
        match self.fragment.rel.tables().as_slice() {
            [table] => error.at_table(table.to_string()),
            _ => error,
        }
    }
}

/// Batches that `run` sends. Work begins at the first poll, in a task of its own that holds at most a few batches; dropping
/// the stream ends it.
pub(crate) fn stream<Fut>(
    source: String,
    run: impl FnOnce(Batches) -> Fut + Send + 'static,
) -> BatchStream
where
    Fut: Future<Output = Result<()>> + Send,
{
    stream::once(async move {
        let (batches, received) = mpsc::channel(BATCHES_AHEAD);
        let task = tokio::spawn(async move {
            if let Err(error) = run(batches.clone()).await {
                // Nobody may be left to read it.
                let _ = batches.send(Err(error)).await;
            }
        });
        stream::unfold((received, Some(task)), move |(mut received, task)| {
            let source = source.clone();
            async move {
                if let Some(batch) = received.recv().await {
                    return Some((batch, (received, task)));
                }
                // A task that broke must not look like the end of the answer.
                match task?.await {
                    Ok(()) => None,
                    Err(e) => {
                        let error = Error::internal("reading broke off").caused_by(e);
                        Some((Err(error.at_source(source)), (received, None)))
                    }
                }
            }
        })
    })
    .flatten()
    .boxed()
}

/// When the source has had its time, and some more.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until((deadline + GRACE).into()).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn late() -> Error {
    Error::new(
        Code::Timeout,
        "the deadline passed while the answer was read",
    )
}

fn bound(rendered: &Rendered) -> Option<Vec<Value>> {
    rendered
        .params
        .iter()
        .map(|(literal, data_type)| params::value(literal, data_type))
        .collect()
}

fn params(values: Vec<Value>) -> Params {
    match values.is_empty() {
        true => Params::Empty,
        false => Params::Positional(values),
    }
}

/// The table's column that each output column is, where it is one.
fn origins(rel: &Rel) -> Vec<Option<Origin>> {
    let passed = |inner: &[Option<Origin>], expr: &belvedere_connector::Expr| {
        expr.as_column()
            .and_then(|i| inner.get(i).cloned().flatten())
    };
    match rel {
        Rel::Scan { table, schema } => {
            let schema: &SchemaRef = schema;
            schema
                .fields()
                .iter()
                .map(|field| {
                    Some(Origin {
                        table: table.clone(),
                        column: field.name().clone(),
                    })
                })
                .collect()
        }
        Rel::Filter { input, .. } | Rel::Sort { input, .. } | Rel::Limit { input, .. } => {
            origins(input)
        }
        Rel::Project { input, columns } => {
            let inner = origins(input);
            columns
                .iter()
                .map(|(expr, _)| passed(&inner, expr))
                .collect()
        }
        Rel::Join {
            left, right, kind, ..
        } => {
            let mut all = origins(left);
            match kind {
                JoinKind::LeftSemi | JoinKind::LeftAnti => {}
                JoinKind::LeftMark => all.push(None),
                _ => all.extend(origins(right)),
            }
            all
        }
        Rel::Aggregate {
            input,
            group_by,
            aggregates,
        } => {
            let inner = origins(input);
            group_by
                .iter()
                .map(|(expr, _)| passed(&inner, expr))
                .chain(aggregates.iter().map(|(aggregate, _)| {
                    aggregate.arg.as_ref().and_then(|arg| passed(&inner, arg))
                }))
                .collect()
        }
        Rel::Window { input, windows } => {
            let mut all = origins(input);
            all.resize(all.len() + windows.len(), None);
            all
        }
        Rel::UnionAll { schema, .. } => vec![None; schema.fields().len()],
    }
}
