use std::sync::Arc;
use std::time::Instant;

use arrow::record_batch::RecordBatch;
use belvedere_connector::{BatchStream, Code, Error, Fragment, Result};
use belvedere_sqlgen::Rendered;
use futures::{StreamExt, TryStreamExt, stream};
use rusqlite::params_from_iter;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;

use crate::batch::{Batch, MAX_BATCH_BYTES, Refused};
use crate::discovery::{self, Decisions};
use crate::failure;
use crate::pool::{Lease, Pool, Stop};
use crate::reading::param;

/// Batches on their way to a reader that is slower.
const BATCHES_AHEAD: usize = 2;

/// One fragment to be read.
#[derive(Debug)]
pub struct Scan {
    pub source: String,
    pub pool: Arc<Pool>,
    pub decisions: Arc<Decisions>,
    pub fragment: Arc<Fragment>,
    pub rendered: Rendered,
    pub batch_rows: usize,
    pub deadline: Option<Instant>,
}

/// What the reading thread sends; a channel that closes without `End` is a thread that died.
enum Message {
    Batch(RecordBatch),
    End,
}

impl Scan {
    /// Begins at the first poll. Dropping it ends the statement at SQLite.
    pub fn into_stream(self) -> BatchStream {
        let source = self.source.clone();
        stream::once(self.start())
            .try_flatten()
            .map_err(move |error| error.at_source(&source))
            .boxed()
    }

    async fn start(self) -> Result<BatchStream> {
        let permit = self.pool.permit(self.deadline).await?;
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let stop = Stop::default();
        let deadline = self.deadline;
        let thread = stop.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.read(permit, &thread, &sender) {
                // Nobody is there to hear it if the stream was dropped.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let reader = Reader {
            receiver,
            deadline,
            stop,
        };
        Ok(stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|batch| (batch, reader)))
        })
        .boxed())
    }

    fn read(
        &self,
        permit: OwnedSemaphorePermit,
        stop: &Stop,
        sender: &mpsc::Sender<Result<Message>>,
    ) -> Result<()> {
        let mut lease = self.pool.lease(permit)?;
        lease.stop_on(stop, self.deadline)?;
        let outcome = self.read_from(&mut lease, stop, sender);
        match outcome {
            Err(error) if error.code == Code::Cancelled && self.is_late() => Err(late()),
            outcome => outcome,
        }
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn read_from(
        &self,
        lease: &mut Lease,
        stop: &Stop,
        sender: &mpsc::Sender<Result<Message>>,
    ) -> Result<()> {
        // The check of the schema and the read see one snapshot. Rolled back when dropped.
        let snapshot = lease.connection()?.transaction().map_err(failure::of)?;
        discovery::check_unchanged(&snapshot, &self.fragment.rel, &self.decisions)?;
        let refused = |error: rusqlite::Error| match failure::is_misfit(&error) {
            true => failure::locate_misfit(&snapshot, &self.fragment.rel),
            false => failure::of(error),
        };
        let mut statement = snapshot
            .prepare_cached(&self.rendered.sql)
            .map_err(failure::of)?;
        let params = self
            .rendered
            .params
            .iter()
            .map(|(literal, _)| {
                param(literal).ok_or_else(|| Error::internal("a parameter of an unknown type"))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut rows = statement
            .query(params_from_iter(params))
            .map_err(failure::of)?;
        let mut batch = Batch::new(self.fragment.schema(), &self.rendered.columns)?;
        while let Some(row) = rows.next().map_err(&refused)? {
            match batch.push(row) {
                Ok(()) => {}
                Err(Refused::Misfit) => {
                    return Err(failure::locate_misfit(&snapshot, &self.fragment.rel));
                }
                Err(Refused::Failed(error)) => return Err(error),
            }
            let full = batch.rows() >= self.batch_rows || batch.bytes() >= MAX_BATCH_BYTES;
            if full
                && (stop.is_set()
                    || sender
                        .blocking_send(batch.take().map(Message::Batch))
                        .is_err())
            {
                return Ok(());
            }
        }
        if batch.rows() > 0
            && sender
                .blocking_send(batch.take().map(Message::Batch))
                .is_err()
        {
            return Ok(());
        }
        let _ = sender.blocking_send(Ok(Message::End));
        Ok(())
    }
}

/// The reader's end of the channel.
struct Reader {
    receiver: mpsc::Receiver<Result<Message>>,
    deadline: Option<Instant>,
    stop: Stop,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let received = match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), self.receiver.recv())
                .await
                .map_err(|_| late())?,
            None => self.receiver.recv().await,
        };
        match received {
            Some(Ok(Message::Batch(batch))) => Ok(Some(batch)),
            Some(Ok(Message::End)) => Ok(None),
            Some(Err(error)) => Err(error),
            None => Err(Error::internal(
                "the reading thread ended without an answer",
            )),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.set();
    }
}

fn late() -> Error {
    Error::new(
        Code::Timeout,
        "the deadline passed before the read was done",
    )
}
