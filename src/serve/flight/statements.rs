use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::sum;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use futures::future::{BoxFuture, Shared};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::handles::Handles;
use super::status::{OrStatus, status};
use super::wire;
use crate::engine::{Answer, Prepared, Session};
use crate::error::Error;
use crate::freshness::Freshness;

/// A ticket is good for this long after it was last presented.
const IDLE: Duration = Duration::from_secs(15 * 60);
const STATEMENTS: usize = 10_000;

/// The statements that `GetFlightInfo` planned, by ticket.
#[derive(Debug)]
pub(super) struct Statements {
    planned: Handles<Arc<Work>>,
    stop: CancellationToken,
}

/// A statement to run: a query as often as asked, a definition or COPY once.
pub(super) struct Work {
    session: Session,
    prepared: Arc<Prepared>,
    /// The statement runs once with each of these.
    parameters: Arc<[Vec<ScalarValue>]>,
    schema: SchemaRef,
    cancel: CancellationToken,
    stop: CancellationToken,
    defined: Mutex<Option<Outcome>>,
}

/// What a definition or COPY answered. Shared, so that it is carried out once; spawned, so that it is carried out even if who
/// asked for it leaves.
type Outcome = Shared<BoxFuture<'static, Result<Arc<Defined>, Status>>>;

struct Defined {
    batches: Vec<RecordBatch>,
    notices: Vec<String>,
    /// Rows that it has written.
    rows: u64,
    /// What the last of its writes answered with.
    last_write: Option<String>,
}

/// An answer on its way. Dropping it ends the work.
pub(super) struct Running {
    pub batches: BoxStream<'static, Result<RecordBatch, Status>>,
    pub notices: Vec<String>,
    pub freshness: Arc<Freshness>,
    /// Rows that were written.
    pub written: u64,
    pub last_write: Option<String>,
}

impl Statements {
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            planned: Handles::new(STATEMENTS, IDLE),
            stop,
        }
    }

    pub fn work(
        &self,
        session: Session,
        prepared: Arc<Prepared>,
        parameters: Arc<[Vec<ScalarValue>]>,
    ) -> Arc<Work> {
        Arc::new(Work {
            session,
            schema: wire::wire_schema(&prepared.schema),
            prepared,
            parameters,
            cancel: self.stop.child_token(),
            stop: self.stop.clone(),
            defined: Mutex::default(),
        })
    }

    /// Keep it until it is asked for; returns its ticket's handle.
    pub fn keep(&self, work: Arc<Work>) -> Result<Vec<u8>, Status> {
        self.planned.insert(work)
    }

    pub fn get(&self, handle: &[u8]) -> Result<Arc<Work>, Status> {
        self.planned.get(handle).ok_or_else(|| {
            Status::not_found(
                "the ticket is not one of this server's, has expired or was cancelled: ask for the statement again",
            )
        })
    }

    /// Forget it and end what runs of it. False: it is not known.
    pub fn cancel(&self, handle: &[u8]) -> bool {
        let Some(work) = self.planned.remove(handle) else {
            return false;
        };
        work.cancel.cancel();
        true
    }
}

impl Work {
    /// Of its answer, as clients get it.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn is_query(&self) -> bool {
        self.prepared.is_query
    }

    /// Its answer does not end by itself.
    pub fn goes_on(&self) -> bool {
        self.prepared.goes_on
    }

    /// It is carried out once, however often its ticket is presented.
    pub fn has_effect(&self) -> bool {
        self.prepared.has_effect
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Run it in this session: its own, or one that the call's headers changed.
    pub async fn run(self: &Arc<Self>, session: Session) -> Result<Running, Status> {
        if !self.has_effect() {
            return self.query(session).await;
        }
        // A COPY may take long: it ends with who waits for it. A definition is carried out to its end.
        let leaving = self.is_query().then(|| self.cancel.clone().drop_guard());
        let defined = self.define().await;
        if let Some(leaving) = leaving {
            leaving.disarm();
        }
        let defined = defined?;
        let batches = defined.batches.clone().into_iter().map(Ok);
        Ok(Running {
            batches: stream::iter(batches).boxed(),
            notices: defined.notices.clone(),
            freshness: Arc::default(),
            written: defined.rows,
            last_write: defined.last_write.clone(),
        })
    }

    /// Run it to its end; returns how many rows it gave or wrote, none for a definition, and what a write answered with.
    pub async fn count(self: &Arc<Self>) -> Result<(i64, Option<String>), Status> {
        if self.goes_on() {
            return Err(Status::invalid_argument(
                "a subscription has rows without end, and no count of them: send it as a query",
            ));
        }
        let mut running = self.run(self.session.clone()).await?;
        let mut rows = i64::try_from(running.written).unwrap_or(i64::MAX);
        while let Some(batch) = running.batches.try_next().await? {
            rows += match (self.is_query(), self.has_effect()) {
                (false, _) => 0,
                (true, false) => i64::try_from(batch.num_rows()).unwrap_or(i64::MAX),
                // COPY tells it in its first column.
                (true, true) => batch
                    .column(0)
                    .as_primitive_opt::<Int64Type>()
                    .and_then(sum)
                    .unwrap_or_default(),
            };
        }
        Ok((rows, running.last_write))
    }

    async fn query(self: &Arc<Self>, session: Session) -> Result<Running, Status> {
        let mut first = None;
        let (mut notices, mut freshness) = (Vec::new(), Arc::default());
        if let Some(values) = self.parameters.first() {
            let answer = self.execute(&session, values).await?;
            (notices, freshness) = (answer.notices, answer.freshness);
            first = Some(answer.stream);
        }
        let start = (Arc::clone(self), session, first, 1);
        let batches = stream::try_unfold(start, |(work, session, current, next)| async move {
            let (mut current, mut next): (Option<SendableRecordBatchStream>, usize) =
                (current, next);
            loop {
                let Some(mut answer) = current else {
                    return Ok(None);
                };
                let batch = work.unless_cancelled(answer.next()).await?;
                match batch {
                    Some(Ok(batch)) => {
                        return Ok(Some((batch, (work, session, Some(answer), next))));
                    }
                    Some(Err(e)) => return Err(status(&Error::from(e))),
                    None => {
                        current = match work.parameters.get(next) {
                            Some(values) => Some(work.execute(&session, values).await?.stream),
                            None => None,
                        };
                        next += 1;
                    }
                }
            }
        });
        Ok(Running {
            batches: batches.boxed(),
            notices,
            freshness,
            written: 0,
            last_write: None,
        })
    }

    async fn execute(&self, session: &Session, values: &[ScalarValue]) -> Result<Answer, Status> {
        let answer = session.execute_prepared(&self.prepared, values);
        self.unless_cancelled(answer).await?.or_status()
    }

    /// All rows of values as one write.
    async fn insert(&self, rows: &[Vec<ScalarValue>]) -> Result<Answer, Status> {
        let answer = self.session.insert_each(&self.prepared, rows);
        self.unless_cancelled(answer).await?.or_status()
    }

    async fn define(self: &Arc<Self>) -> Result<Arc<Defined>, Status> {
        let outcome = {
            let mut defined = self.defined.lock().unwrap_or_else(PoisonError::into_inner);
            defined
                .get_or_insert_with(|| Arc::clone(self).carry_out())
                .clone()
        };
        outcome.await
    }

    fn carry_out(self: Arc<Self>) -> Outcome {
        let task = tokio::spawn(async move {
            let mut defined = Defined {
                batches: Vec::new(),
                notices: Vec::new(),
                rows: 0,
                last_write: None,
            };
            let all = self.parameters.len();
            // All rows of an INSERT of values are one write.
            let at_once = if self.prepared.inserts_values { all } else { 1 };
            for (done, rows) in self.parameters.chunks(at_once.max(1)).enumerate() {
                let answer = match rows {
                    [values] => self.execute(&self.session, values).await,
                    rows => self.insert(rows).await,
                };
                let answer = answer.map_err(|failed| after(done, all, failed))?;
                defined.notices.extend(answer.notices.iter().cloned());
                if let Some(wrote) = &answer.wrote {
                    defined.rows += wrote.rows;
                    defined.last_write = Some(wrote.token.to_string());
                }
                let batches = self.unless_cancelled(answer.collect()).await?.or_status()?;
                defined.batches.extend(batches);
            }
            Ok(Arc::new(defined))
        });
        let outcome = task.map(|joined| {
            joined.unwrap_or_else(|_| Err(Status::internal("the statement was not carried out")))
        });
        outcome.boxed().shared()
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Status> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(match self.stop.is_cancelled() {
                true => Status::unavailable("the server is shutting down"),
                false => status(&Error::Cancelled),
            }),
            done = work => Ok(done),
        }
    }
}

/// A failure after executions that stay: the client has to know how many.
fn after(done: usize, all: usize, failed: Status) -> Status {
    if done == 0 {
        return failed;
    }
    let said = format!(
        "{} (row {} of {all} of the parameters: those before it were executed, and stay so)",
        failed.message(),
        done + 1
    );
    Status::with_metadata(failed.code(), said, failed.metadata().clone())
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("prepared", &self.prepared)
            .finish_non_exhaustive()
    }
}
