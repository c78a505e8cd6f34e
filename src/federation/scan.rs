use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use belvedere_connector::{BatchStream, Code, Error, Fragment, ScanRequest, StatementContext};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex, OnceCell};

use super::dynamic::{self, Narrowed};
use super::gate::Place;
use super::gather::{Key, Lookup};
use super::history::{Asking, Question};
use super::inflight::Waiter;
use super::outlet::Disk;
use super::provider::{Probe, SourceHandle};
use super::relay::{Reader, relayed};
use super::retry::Tries;

/// A source's error on its way through DataFusion.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct SourceFailure(#[from] pub Error);

impl From<SourceFailure> for DataFusionError {
    fn from(failure: SourceFailure) -> Self {
        DataFusionError::External(Box::new(failure))
    }
}

/// A scan of a source.
pub struct Opened {
    /// What was asked of it; None: no row could be needed.
    pub asked: Option<Asked>,
    scans: Mutex<Vec<Streams>>,
}

/// One for each partition, until it is taken.
type Streams = Vec<Option<SendableRecordBatchStream>>;

/// What was asked of a source.
pub struct Asked {
    /// With what dynamic filters had learned.
    pub fragment: Arc<Fragment>,
    pub question: Arc<Question>,
}

/// What opens a fragment's scan.
#[derive(Clone)]
pub struct Scan {
    pub runtime: Arc<RuntimeEnv>,
    pub metrics: ExecutionPlanMetricsSet,
    pub handle: Arc<SourceHandle>,
    pub fragment: Arc<Fragment>,
    pub filters: Vec<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
    pub statistics: Option<Statistics>,
    pub partitions: usize,
    pub batch_rows: usize,
    pub statement: Arc<StatementContext>,
}

/// How a scan comes to its answer.
enum Turn {
    /// It has places, and is sent for these, too; with a probe if it is to try whether the source can be reached.
    Sent(Vec<Place>, Option<Probe>, Vec<Waiter>),
    /// With another that asked the same.
    Answered(Vec<SendableRecordBatchStream>),
}

/// What a source has answered.
enum Found {
    Streams(Vec<BatchStream>),
    /// The row that was looked up, and those that others did.
    Rows(Vec<RecordBatch>, Vec<Vec<RecordBatch>>),
}

impl Scan {
    /// The partition's stream; the first caller opens the scan. Who asks for a partition again is given that of a further
    /// scan, of which all partitions are: another scan may have been divided otherwise.
    pub async fn take(
        &self,
        opened: &OnceCell<Opened>,
        partition: usize,
    ) -> Result<SendableRecordBatchStream, SourceFailure> {
        let open = opened.get_or_try_init(|| self.open()).await?;
        let mut scans = open.scans.lock().await;
        if let Some(stream) = scans.iter_mut().find_map(|scan| scan[partition].take()) {
            return Ok(stream);
        }
        let mut again = self.open().await?.scans.into_inner().swap_remove(0);
        let stream = again[partition].take();
        scans.push(again);
        stream.ok_or_else(|| self.failed("a fresh scan has all its streams"))
    }

    async fn open(&self) -> Result<Opened, SourceFailure> {
        let nothing = || Some(self.stream_of(futures::stream::empty()));
        let narrowed = dynamic::narrow(
            &self.fragment,
            &self.filters,
            &self.schema,
            &self.handle,
            self.statistics.as_ref(),
        );
        let (fragment, lookup) = match narrowed.map_err(|e| self.failed(&e.to_string()))? {
            Narrowed::Fragment { fragment, lookup } => (fragment, lookup),
            Narrowed::Nothing => {
                let streams = (0..self.partitions).map(|_| nothing()).collect();
                return Ok(Opened {
                    asked: None,
                    scans: Mutex::new(vec![streams]),
                });
            }
        };
        let partitions = if lookup { 1 } else { self.partitions };
        let expected = self
            .statistics
            .as_ref()
            .and_then(|known| known.num_rows.get_value());
        let expected = expected.map(|rows| *rows as u64);
        let asking = self.handle.history.ask(
            self.fragment.clone(),
            expected,
            &self.handle,
            &self.statement,
        );
        let row = Lookup::of(&fragment);
        let asking = Arc::new(match fragment == self.fragment && row.is_none() {
            true => asking.teaching(),
            // What keys have left says nothing of the conditions.
            false => asking,
        });
        // A task of its own: what has or gets a place goes on, whether the plan looks at this scan or at another.
        let asked = SpawnedTask::spawn({
            let (scan, fragment, asking) = (self.clone(), fragment.clone(), asking.clone());
            async move { scan.ask(&fragment, row, partitions, &asking).await }
        });
        let relays = match asked.join_unwind().await {
            Ok(relays) => relays,
            Err(_) => Err(self.failed("the runtime is shutting down")),
        };
        let mut streams = relays.inspect_err(|e| asking.failed(e))?;
        streams.resize_with(self.partitions, nothing);
        let question = asking.question().clone();
        Ok(Opened {
            asked: Some(Asked { fragment, question }),
            scans: Mutex::new(vec![streams]),
        })
    }

    /// At most so many streams, of as many as the source has room for. What fails before its first row for a reason that
    /// says nothing of the question is asked again.
    async fn ask(
        &self,
        fragment: &Arc<Fragment>,
        row: Option<(Lookup, Key)>,
        partitions: usize,
        asking: &Arc<Asking>,
    ) -> Result<Vec<Option<SendableRecordBatchStream>>, SourceFailure> {
        let handle = &self.handle;
        let mut tries = Tries::new(handle.limits.retries, self.statement.deadline);
        // Rows of others that are looked up along with one's own.
        let mut most = row.as_ref().map_or(0, |(lookup, _)| lookup.most() - 1);
        loop {
            let turn = self.turn(fragment, &row, most, partitions, asking).await?;
            let (places, probe, others) = match turn {
                Turn::Sent(places, probe, others) => (places, probe, others),
                Turn::Answered(streams) => return Ok(streams.into_iter().map(Some).collect()),
            };
            // Each statement ends at its own deadline; the source has until the last of them.
            let deadlines = others.iter().map(|other| other.scan.statement.deadline);
            let deadline = deadlines.fold(self.statement.deadline, |a, b| Some(a?.max(b?)));
            let answered = match &row {
                Some(row) => self.look_up(fragment, row, deadline, &others).await,
                None => self
                    .begin(fragment, places.len(), deadline)
                    .await
                    .map(Found::Streams),
            };
            let error = match answered {
                Ok(found) => {
                    handle.contacted(None);
                    return Ok(match found {
                        Found::Streams(streams) => self.relay(streams, places, asking, others),
                        Found::Rows(own, rows) => {
                            for (other, rows) in others.into_iter().zip(rows) {
                                other.asking.answered(1);
                                let rows = other.scan.found(rows, &other.asking);
                                other.answer(vec![rows]);
                            }
                            vec![Some(self.found(own, asking))]
                        }
                    });
                }
                Err(error) => error,
            };
            // They ask for themselves, and so does this one: it may be the key of another that the source does not take.
            let is_own = others.iter().all(|other| other.fragment == *fragment);
            drop(others);
            if !is_own {
                most = 0;
                continue;
            }
            let pause = match probe {
                Some(_) => None,
                None => tries.after(&error),
            };
            let Some(pause) = pause else {
                handle.contacted(Some(&error));
                return Err(error.into());
            };
            tracing::debug!(source = handle.name, %error, ?pause, "asking again");
            // Others have the places meanwhile.
            drop(places);
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for a place at the source, or for another scan that asks the same and has one.
    async fn turn(
        &self,
        fragment: &Arc<Fragment>,
        row: &Option<(Lookup, Key)>,
        most: usize,
        partitions: usize,
        asking: &Arc<Asking>,
    ) -> Result<Turn, SourceFailure> {
        let handle = &self.handle;
        let begun = Instant::now();
        let until = handle.patience(&self.statement);
        loop {
            handle.reachable()?;
            let table = &handle.in_flight;
            let mut waiting = table.wait(
                self.clone(),
                fragment.clone(),
                row.clone(),
                partitions,
                asking.clone(),
            );
            let (gate, asker) = (&handle.gate, self.statement.asker);
            let entered = async {
                match row {
                    Some(_) => gate.look_up(asker, until).await.map(|place| vec![place]),
                    None => gate.enter(asker, partitions, until).await,
                }
            };
            let others = tokio::select! {
                biased;
                places = entered => {
                    let places = places.map_err(|e| e.at_source(&handle.name))?;
                    waiting.sent(most).map(|others| (places, others))
                }
                answer = waiting.answered() => match answer {
                    Some(streams) => return Ok(Turn::Answered(streams)),
                    None => continue,
                },
            };
            if let Some((places, others)) = others {
                let probe = handle.admit()?;
                asking.admitted(places.len(), begun.elapsed());
                return Ok(Turn::Sent(places, probe, others));
            }
            // Another had been sent for this one just before it got its place.
            if let Some(streams) = waiting.answered().await {
                return Ok(Turn::Answered(streams));
            }
        }
    }

    /// So many streams, of which one has given its first batch, or all have ended without.
    async fn begin(
        &self,
        fragment: &Arc<Fragment>,
        partitions: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<BatchStream>, Error> {
        let limit = self.handle.limits.statement_timeout;
        let deadline = earlier(deadline, limit.map(|limit| Instant::now() + limit));
        let request = ScanRequest {
            fragment: fragment.clone(),
            partitions,
            batch_rows: self.batch_rows,
            deadline,
        };
        let streams = self.handle.source.scan(request).await?;
        if streams.len() != partitions {
            let found = streams.len();
            return Err(self.internal(&format!("{found} streams for {partitions} partitions")));
        }
        // A source that keeps no time is kept to it here.
        let limited = |stream| match deadline {
            Some(deadline) => ended_at(deadline, stream, &self.handle.name),
            None => stream,
        };
        begun(streams.into_iter().map(limited).collect()).await
    }

    /// Its row, and those of the others, in one question. Where the source does not take that, the others have to ask for
    /// themselves.
    async fn look_up(
        &self,
        fragment: &Arc<Fragment>,
        (lookup, key): &(Lookup, Key),
        deadline: Option<Instant>,
        others: &[Waiter],
    ) -> Result<Found, Error> {
        let theirs = others.iter().filter_map(|other| other.lookup.as_ref());
        let theirs: Vec<&Key> = theirs.map(|(_, key)| key).collect();
        let keys: HashSet<&Key> = theirs.iter().copied().chain([key]).collect();
        let gathered = match keys.len() {
            1 => None,
            _ => {
                let mut keys: Vec<&Key> = keys.into_iter().collect();
                // Few texts stay prepared at the source: a key may be there twice.
                keys.resize(keys.len().next_power_of_two().min(lookup.most()), key);
                let capabilities = self.handle.source.capabilities();
                lookup.gathered(&keys, capabilities.as_ref())
            }
        };
        let Some(gathered) = gathered else {
            let own = self.all(fragment, deadline).await?;
            let same = theirs.into_iter().take_while(|other| *other == key);
            let same = same.map(|_| own.clone()).collect();
            return Ok(Found::Rows(own, same));
        };
        let rows = gathered.rows(self.all(&gathered.fragment, deadline).await?);
        let rows = rows.map_err(|e| self.internal(&e.to_string()))?;
        let of = |key: &Key| rows.get(key).cloned().into_iter().collect::<Vec<_>>();
        Ok(Found::Rows(of(key), theirs.into_iter().map(of).collect()))
    }

    /// What the source answers, at once: it is little.
    async fn all(
        &self,
        fragment: &Arc<Fragment>,
        deadline: Option<Instant>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let streams = self.begin(fragment, 1, deadline).await?;
        stream::iter(streams).flatten().try_collect().await
    }

    /// What was found, as a stream.
    fn found(&self, rows: Vec<RecordBatch>, asking: &Arc<Asking>) -> SendableRecordBatchStream {
        rows.iter().for_each(|rows| asking.batch(rows));
        asking.ended();
        self.adopted(stream::iter(rows).map(Ok).boxed(), asking)
    }

    /// What the source answers, to this scan and to the others that are answered with it.
    fn relay(
        &self,
        streams: Vec<BatchStream>,
        places: Vec<Place>,
        asking: &Arc<Asking>,
        others: Vec<Waiter>,
    ) -> Vec<Option<SendableRecordBatchStream>> {
        for other in &others {
            other.asking.answered(places.len());
        }
        let mut own = Vec::new();
        let mut theirs: Vec<Vec<_>> = others.iter().map(|_| Vec::new()).collect();
        for (i, (stream, place)) in streams.into_iter().zip(places).enumerate() {
            let scans = others.iter().map(|other| (&other.scan, &other.asking));
            let readers = std::iter::once((self, asking)).chain(scans);
            let readers = readers.map(|(scan, asking)| scan.reader(i, asking));
            let mut relays = relayed(
                self.adopted(stream, asking),
                place,
                self.handle.clone(),
                readers.collect(),
            );
            own.extend(relays.next().map(Some));
            for (relay, theirs) in relays.zip(&mut theirs) {
                theirs.push(relay);
            }
        }
        for (other, streams) in others.into_iter().zip(theirs) {
            other.answer(streams);
        }
        own
    }

    /// A source's stream under the names of the plan above.
    fn adopted(&self, batches: BatchStream, asking: &Arc<Asking>) -> SendableRecordBatchStream {
        let (handle, schema) = (self.handle.clone(), self.schema.clone());
        let known = asking.clone();
        let adopted = batches.map(move |batch| {
            if let Err(e) = &batch {
                handle.contacted(Some(e));
            }
            let batch = batch.map_err(SourceFailure::from);
            let adopted = batch.and_then(|batch| adopt(batch, &schema, &handle.name));
            adopted.map_err(|failure| {
                known.failed(&failure);
                failure.into()
            })
        });
        self.stream_of(adopted)
    }

    fn reader(&self, stream: usize, asking: &Arc<Asking>) -> Reader {
        Reader {
            schema: self.schema.clone(),
            asking: asking.clone(),
            disk: Disk {
                runtime: self.runtime.clone(),
                metrics: SpillMetrics::new(&self.metrics, stream),
            },
        }
    }

    fn stream_of(
        &self,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }

    fn failed(&self, what: &str) -> SourceFailure {
        self.internal(what).into()
    }

    fn internal(&self, what: &str) -> Error {
        Error::internal(what).at_source(&self.handle.name)
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// The streams, once one has given a batch, which it gives again, or all have ended.
async fn begun(mut streams: Vec<BatchStream>) -> Result<Vec<BatchStream>, Error> {
    let first = poll_fn(|context| {
        let mut ended = true;
        for (i, stream) in streams.iter_mut().enumerate() {
            match stream.poll_next_unpin(context) {
                Poll::Ready(Some(batch)) => {
                    return Poll::Ready(batch.map(|batch| Some((i, batch))));
                }
                // Not to be asked again.
                Poll::Ready(None) => *stream = stream::empty().boxed(),
                Poll::Pending => ended = false,
            }
        }
        match ended {
            true => Poll::Ready(Ok(None)),
            false => Poll::Pending,
        }
    });
    if let Some((i, batch)) = first.await? {
        let rest = std::mem::replace(&mut streams[i], stream::empty().boxed());
        streams[i] = stream::iter([Ok(batch)]).chain(rest).boxed();
    }
    Ok(streams)
}

/// The stream, which is broken off at the deadline.
fn ended_at(deadline: Instant, batches: BatchStream, source: &str) -> BatchStream {
    let source = source.to_string();
    let late = move || {
        Error::new(Code::Timeout, "it has not answered within the time it has")
            .help("Ask for less, or raise statement_timeout, of the session or of the source")
            .at_source(&source)
    };
    let limited = stream::unfold(Some((batches, late)), move |reading| async move {
        let (mut batches, late) = reading?;
        match tokio::time::timeout_at(deadline.into(), batches.next()).await {
            Ok(Some(batch)) => Some((batch, Some((batches, late)))),
            Ok(None) => None,
            Err(_) => Some((Err(late()), None)),
        }
    });
    limited.boxed()
}

/// The batch under the names of the plan above; its types must be the fragment's.
fn adopt(
    batch: RecordBatch,
    schema: &SchemaRef,
    source: &str,
) -> Result<RecordBatch, SourceFailure> {
    renamed(batch, schema).map_err(|e| {
        SourceFailure(
            Error::new(
                Code::SchemaChanged,
                "the answer does not have the types asked for",
            )
            .at_source(source)
            .help(format!("Run REFRESH SOURCE {source} and try again"))
            .caused_by(e),
        )
    })
}

/// The same columns under other names.
pub fn renamed(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)
}
