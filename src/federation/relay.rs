//! A source's stream on its way to the plan. A task reads ahead; when nobody takes what it has read (a client that stops
//! reading, a query that waits for another source), the rest goes to disk, and the source's connection is free as soon as
//! the source has given everything. So no query holds one source while it waits for another, in whatever order it asks.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::gate::Place;
use super::history::Asking;
use super::outlet::{self, Disk, Inlet, Lost, Outlet};
use super::provider::SourceHandle;

/// Batches that are read ahead, and wait in memory.
const AHEAD: usize = 2;
/// A batch that nobody takes for so long goes to disk, though nobody waits for the source.
const AT_LAST: Duration = Duration::from_secs(10);

/// Read a source's stream ahead of who takes it. `place` is given back when the source has answered.
pub fn relayed(
    source: SendableRecordBatchStream,
    place: Place,
    handle: Arc<SourceHandle>,
    asking: Arc<Asking>,
    disk: Disk,
) -> SendableRecordBatchStream {
    let schema = source.schema();
    let (outlet, inlet) = outlet::channel(schema.clone(), AHEAD, disk);
    let taking = Taking {
        inlet,
        task: SpawnedTask::spawn(read(source, place, outlet, handle, asking)),
    };
    let batches = futures::stream::try_unfold(taking, |mut taking| async move {
        Ok(taking.next().await?.map(|batch| (batch, taking)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

async fn read(
    mut source: SendableRecordBatchStream,
    place: Place,
    mut outlet: Outlet,
    handle: Arc<SourceHandle>,
    asking: Arc<Asking>,
) {
    let waits = |waited| waited < AT_LAST && handle.gate.waiting() == 0;
    let mut outcome = Ok(());
    while let Some(batch) = source.next().await {
        outcome = match batch {
            Ok(batch) => {
                asking.batch(&batch);
                outlet.put(batch, waits).await
            }
            Err(e) => Err(e),
        };
        if let Err(e) = &outcome {
            asking.failed(e);
            break;
        }
        if outlet.is_spilled() {
            asking.spilled();
        }
    }
    asking.ended();
    drop(source);
    drop(place);
    outlet.end(outcome);
}

struct Taking {
    inlet: Inlet,
    /// Ends when this is dropped, and with it what runs at the source.
    task: SpawnedTask<()>,
}

impl Taking {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.inlet.next().await {
            Ok(batch) => batch,
            Err(Lost) => {
                if let Err(e) = (&mut self.task).await
                    && e.is_panic()
                {
                    std::panic::resume_unwind(e.into_panic());
                }
                datafusion::common::internal_err!("a stream of a source ended without an end")
            }
        }
    }
}
