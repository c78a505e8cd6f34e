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
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::gate::Place;
use super::history::Asking;
use super::outlet::{self, Disk, Inlet, Lost, Outlet};
use super::provider::SourceHandle;
use super::scan::renamed;

/// Batches that are read ahead, and wait in memory.
const AHEAD: usize = 2;
/// For each of several readers, of which none waits for the others.
const AHEAD_OF_MANY: usize = 16;
/// A batch that nobody takes for so long goes to disk, though nobody waits for the source.
const AT_LAST: Duration = Duration::from_secs(10);

/// Who takes a source's stream, under its own names.
pub struct Reader {
    pub schema: SchemaRef,
    pub asking: Arc<Asking>,
    pub disk: Disk,
}

/// Read a source's stream ahead of who takes it: a stream for each of them. `place` is given back when the source has
/// answered.
pub fn relayed(
    source: SendableRecordBatchStream,
    place: Place,
    handle: Arc<SourceHandle>,
    readers: Vec<Reader>,
) -> impl Iterator<Item = SendableRecordBatchStream> {
    let ahead = match readers.len() {
        1 => AHEAD,
        _ => AHEAD_OF_MANY,
    };
    let mut ends = Vec::new();
    let mut inlets = Vec::new();
    for Reader {
        schema,
        asking,
        disk,
    } in readers
    {
        let memory = handle.memory.clone();
        let (outlet, inlet) = outlet::channel(source.schema(), ahead, memory, disk);
        ends.push((outlet, asking));
        inlets.push((inlet, schema));
    }
    let task = Arc::new(SpawnedTask::spawn(read(source, place, handle, ends)));
    inlets.into_iter().map(move |(inlet, schema)| {
        let task = task.clone();
        let taking = Taking {
            inlet,
            schema: schema.clone(),
            task,
        };
        let batches = futures::stream::try_unfold(taking, |mut taking| async move {
            Ok(taking.next().await?.map(|batch| (batch, taking)))
        });
        let stream: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(schema, batches));
        stream
    })
}

async fn read(
    mut source: SendableRecordBatchStream,
    place: Place,
    handle: Arc<SourceHandle>,
    mut readers: Vec<(Outlet, Arc<Asking>)>,
) {
    let alone = readers.len() == 1;
    // Of many who were answered at once, none waits for another.
    let waits = |waited| alone && waited < AT_LAST && handle.gate.waiting() == 0;
    let mut outcome = Ok(());
    'all: while let Some(batch) = source.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(e) => {
                outcome = Err(Arc::new(e));
                break;
            }
        };
        for (outlet, asking) in &mut readers {
            asking.batch(&batch);
            if let Err(e) = outlet.put(batch.clone(), waits).await {
                outcome = Err(Arc::new(e));
                break 'all;
            }
            if outlet.is_spilled() {
                asking.spilled();
            }
        }
    }
    drop(source);
    drop(place);
    for (outlet, asking) in readers {
        if let Err(e) = &outcome {
            asking.failed(e);
        }
        asking.ended();
        outlet.end(outcome.clone().map_err(DataFusionError::Shared));
    }
}

struct Taking {
    inlet: Inlet,
    schema: SchemaRef,
    /// Ends when its last reader is dropped, and with it what runs at the source.
    task: Arc<SpawnedTask<()>>,
}

impl Taking {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.inlet.next().await {
            Ok(batch) => {
                let batch = batch?.map(|batch| renamed(batch, &self.schema));
                Ok(batch.transpose()?)
            }
            Err(Lost) => {
                // One of its readers tells.
                if let Some(task) = Arc::get_mut(&mut self.task)
                    && let Err(e) = task.await
                    && e.is_panic()
                {
                    std::panic::resume_unwind(e.into_panic());
                }
                datafusion::common::internal_err!("a stream of a source ended without an end")
            }
        }
    }
}
