//! A stream of batches to somebody who may not take them for a while: some wait in memory, the rest on disk.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::SpillMetrics;
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::spill::spill_pool::{SpillPoolSink, spsc_channel};
use futures::StreamExt;
use futures::future::Either;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How often it is decided anew whether to wait for somebody who does not take.
pub const STEP: Duration = Duration::from_millis(100);
/// A file of what is on disk is removed once so much of it has been read.
const FILE_BYTES: usize = 64 << 20;

enum Message {
    /// With its place among those that wait in memory.
    Batch(RecordBatch, Option<Place>),
    /// What follows is on disk.
    Spilled(SendableRecordBatchStream),
    End(Result<()>),
}

/// Dropped when the batch is taken.
struct Place {
    _among: OwnedSemaphorePermit,
    _memory: Option<OwnedSemaphorePermit>,
}

/// Memory for batches that wait, of several streams together.
#[derive(Debug)]
pub struct Memory {
    kilobytes: usize,
    free: Arc<Semaphore>,
}

impl Memory {
    pub fn new(bytes: usize) -> Self {
        let kilobytes = (bytes >> 10).clamp(1, u32::MAX as usize >> 1);
        Self {
            kilobytes,
            free: Arc::new(Semaphore::new(kilobytes)),
        }
    }

    /// For this batch; one that is larger than all there is has all.
    async fn take(&self, batch: &RecordBatch) -> Option<OwnedSemaphorePermit> {
        let kilobytes = (batch.get_array_memory_size() >> 10).clamp(1, self.kilobytes);
        let free = self.free.clone().acquire_many_owned(kilobytes as u32);
        // Who holds it may not take for long: others do not wait for that.
        tokio::time::timeout(STEP, free).await.ok()?.ok()
    }
}

/// Where batches go to disk.
#[derive(Clone)]
pub struct Disk {
    pub runtime: Arc<RuntimeEnv>,
    pub metrics: SpillMetrics,
}

/// Where batches are put.
pub struct Outlet {
    sender: mpsc::UnboundedSender<Message>,
    ahead: Arc<Semaphore>,
    memory: Option<Arc<Memory>>,
    spilled: Option<SpillPoolSink>,
    schema: SchemaRef,
    disk: Disk,
}

/// Where they are taken.
pub struct Inlet {
    receiver: mpsc::UnboundedReceiver<Message>,
    spilled: Option<SendableRecordBatchStream>,
}

/// Whoever put batches is gone, and has not said that they were all.
pub struct Lost;

/// At most `ahead` batches wait in memory, and only as many as it has room for.
pub fn channel(
    schema: SchemaRef,
    ahead: usize,
    memory: Option<Arc<Memory>>,
    disk: Disk,
) -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let outlet = Outlet {
        sender,
        ahead: Arc::new(Semaphore::new(ahead)),
        memory,
        spilled: None,
        schema,
        disk,
    };
    let inlet = Inlet {
        receiver,
        spilled: None,
    };
    (outlet, inlet)
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet").finish_non_exhaustive()
    }
}

impl Outlet {
    /// Put a batch where it is taken next. Waits for a place in memory while that is worth it, which is asked at each
    /// [`STEP`] with the time waited; then what follows goes to disk.
    pub async fn put(
        &mut self,
        batch: RecordBatch,
        waits: impl Fn(Duration) -> bool,
    ) -> Result<()> {
        if self.sender.is_closed() {
            return Ok(());
        }
        if let Some(spilled) = &self.spilled {
            return spilled.push_batch(&batch);
        }
        // Rows without columns take no memory, and files keep no count of them.
        let place = match batch.num_columns() {
            0 => None,
            _ => match self.place(&batch, waits).await {
                Some(place) => Some(place),
                None => return self.spill(&batch),
            },
        };
        let _ = self.sender.send(Message::Batch(batch, place));
        Ok(())
    }

    /// A place in memory for a batch; None if none becomes free in time.
    async fn place(&self, batch: &RecordBatch, waits: impl Fn(Duration) -> bool) -> Option<Place> {
        let among = self.place_among(waits).await?;
        let memory = match &self.memory {
            Some(memory) => Some(memory.take(batch).await?),
            None => None,
        };
        Some(Place {
            _among: among,
            _memory: memory,
        })
    }

    async fn place_among(&self, waits: impl Fn(Duration) -> bool) -> Option<OwnedSemaphorePermit> {
        let place = self.ahead.clone().acquire_owned();
        tokio::pin!(place);
        let mut waited = Duration::ZERO;
        loop {
            let step = tokio::time::sleep(STEP);
            tokio::pin!(step);
            match futures::future::select(place, step).await {
                Either::Left((found, _)) => return found.ok(),
                Either::Right(((), again)) => place = again,
            }
            waited += STEP;
            if !waits(waited) {
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
        let _ = self.sender.send(Message::Spilled(reader));
        Ok(())
    }

    /// Whether what follows goes to disk.
    pub fn is_spilled(&self) -> bool {
        self.spilled.is_some()
    }

    /// Those were all, or all before this error.
    pub fn end(mut self, outcome: Result<(), DataFusionError>) {
        // First what is on disk ends, then the stream. One that nobody takes any more needs neither.
        self.spilled = None;
        let _ = self.sender.send(Message::End(outcome));
    }
}

impl Inlet {
    /// The next batch, None after the last.
    pub async fn next(&mut self) -> Result<Result<Option<RecordBatch>>, Lost> {
        loop {
            if let Some(spilled) = &mut self.spilled {
                match spilled.next().await {
                    Some(batch) => return Ok(batch.map(Some)),
                    None => self.spilled = None,
                }
            }
            match self.receiver.recv().await.ok_or(Lost)? {
                Message::Batch(batch, _place) => return Ok(Ok(Some(batch))),
                Message::Spilled(reader) => self.spilled = Some(reader),
                Message::End(outcome) => return Ok(outcome.map(|()| None)),
            }
        }
    }
}
