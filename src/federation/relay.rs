//! A source's stream on its way to the plan. A task reads ahead; when nobody takes what it has read (a client that stops
//! reading, a query that waits for another source), the rest goes to disk, and the source's connection is free as soon as
//! the source has given everything. So no query holds one source while it waits for another, in whatever order it asks.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::SpillMetrics;
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::spill::spill_pool::{SpillPoolSink, spsc_channel};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::future::Either;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::gate::Place;
use super::history::Asking;
use super::provider::SourceHandle;

/// Batches that are read ahead, and wait in memory.
const AHEAD: usize = 2;
/// A batch that nobody takes for so long goes to disk, if somebody waits for the source; and if nobody does.
const WHILE_WAITED_FOR: Duration = Duration::from_millis(100);
const AT_LAST: Duration = Duration::from_secs(10);
/// A file of what is on disk is removed once so much of it has been read.
const FILE_BYTES: usize = 64 << 20;

enum Message {
    /// With its place among those that are ahead.
    Batch(RecordBatch, Option<OwnedSemaphorePermit>),
    /// What follows is on disk.
    Spilled(SendableRecordBatchStream),
    Failed(DataFusionError),
    End,
}

/// Where batches go to disk.
pub struct Disk {
    pub runtime: Arc<RuntimeEnv>,
    pub metrics: SpillMetrics,
}

/// Read a source's stream ahead of who takes it. `place` is given back when the source has answered.
pub fn relayed(
    source: SendableRecordBatchStream,
    place: Place,
    handle: Arc<SourceHandle>,
    asking: Arc<Asking>,
    disk: Disk,
) -> SendableRecordBatchStream {
    let schema = source.schema();
    let (sender, receiver) = mpsc::unbounded_channel();
    let sending = Sending {
        sender,
        ahead: Arc::new(Semaphore::new(AHEAD)),
        spilled: None,
        schema: schema.clone(),
        handle,
        asking,
        disk,
    };
    let taking = Taking {
        receiver,
        spilled: None,
        task: SpawnedTask::spawn(sending.run(source, place)),
    };
    let batches = futures::stream::try_unfold(taking, |mut taking| async move {
        Ok(taking.next().await?.map(|batch| (batch, taking)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

struct Sending {
    sender: mpsc::UnboundedSender<Message>,
    ahead: Arc<Semaphore>,
    spilled: Option<SpillPoolSink>,
    schema: SchemaRef,
    handle: Arc<SourceHandle>,
    asking: Arc<Asking>,
    disk: Disk,
}

impl Sending {
    async fn run(mut self, mut source: SendableRecordBatchStream, place: Place) {
        let mut last = Message::End;
        while let Some(batch) = source.next().await {
            let sent = match batch {
                Ok(batch) => {
                    self.asking.batch(&batch);
                    self.send(batch).await
                }
                Err(e) => Err(e),
            };
            if let Err(e) = sent {
                self.asking.failed(&e);
                last = Message::Failed(e);
                break;
            }
        }
        self.asking.ended();
        drop(source);
        drop(place);
        // First what is on disk ends, then the stream. One that nobody takes any more needs neither.
        self.spilled = None;
        let _ = self.sender.send(last);
    }

    async fn send(&mut self, batch: RecordBatch) -> Result<()> {
        if let Some(spilled) = &self.spilled {
            return spilled.push_batch(&batch);
        }
        // Rows without columns take no memory, and files keep no count of them.
        let place = match batch.num_columns() {
            0 => None,
            _ => match self.place_ahead().await {
                Some(place) => Some(place),
                None => return self.spill(&batch),
            },
        };
        let _ = self.sender.send(Message::Batch(batch, place));
        Ok(())
    }

    /// A place in memory for a batch; None if none becomes free in time.
    async fn place_ahead(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.ahead.clone().acquire_owned();
        tokio::pin!(place);
        let mut waited = Duration::ZERO;
        loop {
            let step = tokio::time::sleep(WHILE_WAITED_FOR);
            tokio::pin!(step);
            match futures::future::select(place, step).await {
                Either::Left((found, _)) => return found.ok(),
                Either::Right(((), again)) => place = again,
            }
            waited += WHILE_WAITED_FOR;
            if waited >= AT_LAST || self.handle.gate.waiting() > 0 {
                return None;
            }
        }
    }

    fn spill(&mut self, batch: &RecordBatch) -> Result<()> {
        let Disk { runtime, metrics } = &self.disk;
        let manager = SpillManager::new(runtime.clone(), metrics.clone(), self.schema.clone());
        let (sink, reader) = spsc_channel(FILE_BYTES, Arc::new(manager));
        sink.push_batch(batch)?;
        self.spilled = Some(sink);
        self.asking.spilled();
        let _ = self.sender.send(Message::Spilled(reader));
        Ok(())
    }
}

struct Taking {
    receiver: mpsc::UnboundedReceiver<Message>,
    spilled: Option<SendableRecordBatchStream>,
    /// Ends when this is dropped, and with it what runs at the source.
    task: SpawnedTask<()>,
}

impl Taking {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(spilled) = &mut self.spilled {
                match spilled.next().await {
                    Some(batch) => return batch.map(Some),
                    None => self.spilled = None,
                }
            }
            match self.receiver.recv().await {
                Some(Message::Batch(batch, _place)) => return Ok(Some(batch)),
                Some(Message::Spilled(reader)) => self.spilled = Some(reader),
                Some(Message::Failed(e)) => return Err(e),
                Some(Message::End) => return Ok(None),
                None => {
                    if let Err(e) = (&mut self.task).await
                        && e.is_panic()
                    {
                        std::panic::resume_unwind(e.into_panic());
                    }
                    return datafusion::common::internal_err!(
                        "a stream of a source ended without an end"
                    );
                }
            }
        }
    }
}
