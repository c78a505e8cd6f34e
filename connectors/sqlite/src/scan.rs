use std::sync::Arc;
use std::time::Instant;

use arrow::record_batch::RecordBatch;
use belvedere_connector::{BatchStream, Code, Error, Fragment, Result};
use belvedere_sqlgen::Rendered;
use futures::{StreamExt, TryStreamExt, stream};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};
use tokio::sync::mpsc;

use crate::batch::{Batch, MAX_BATCH_BYTES, Refused};
use crate::discovery::{self, Decisions};
use crate::failure;
use crate::pool::{Lease, Pool, Stop};
use crate::ranges::Ranges;
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

/// What a connection reads of a fragment's answer.
#[derive(Debug)]
pub enum Part {
    Whole,
    Ranges(Ranges),
}

impl Scan {
    /// Begins at the first poll. Dropping it ends the statement at SQLite.
    pub fn into_stream(self) -> BatchStream {
        let scan = Arc::new(self);
        scan.clone().stream(async move {
            let permit = scan.pool.permit(scan.deadline).await?;
            let reading = scan.read(move |scan| {
                let mut lease = scan.pool.lease(permit)?;
                lease.begin()?;
                Ok((lease, Part::Whole))
            });
            Ok(reading)
        })
    }

    /// A stream that begins at the first poll, its errors with the source's name.
    pub fn stream(
        self: Arc<Self>,
        begin: impl Future<Output = Result<BatchStream>> + Send + 'static,
    ) -> BatchStream {
        stream::once(begin)
            .try_flatten()
            .map_err(move |error| error.at_source(&self.source))
            .boxed()
    }

    /// A part, on a thread of its own, by a connection that has begun.
    pub fn read(
        self: &Arc<Self>,
        begun: impl FnOnce(&Self) -> Result<(Lease, Part)> + Send + 'static,
    ) -> BatchStream {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let stop = Stop::default();
        let (scan, thread) = (self.clone(), stop.clone());
        tokio::task::spawn_blocking(move || {
            let outcome = begun(&scan)
                .and_then(|(lease, part)| scan.read_part(lease, &part, &thread, &sender));
            // The connection is free again before anybody hears it. Nobody does if the stream was dropped.
            let _ = sender.blocking_send(outcome.map(|()| Message::End));
        });
        let reader = Reader {
            receiver,
            deadline: self.deadline,
            stop,
        };
        stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|batch| (batch, reader)))
        })
        .boxed()
    }

    fn read_part(
        &self,
        mut lease: Lease,
        part: &Part,
        stop: &Stop,
        sender: &mpsc::Sender<Result<Message>>,
    ) -> Result<()> {
        lease.stop_on(stop, self.deadline)?;
        match self.read_from(lease.connection()?, part, stop, sender) {
            Err(error) if error.code == Code::Cancelled && self.is_late() => Err(late()),
            outcome => outcome,
        }
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// To bind, in their order.
    pub fn params(&self) -> Result<Vec<ToSqlOutput<'_>>> {
        let literals = self.rendered.params.iter().map(|(literal, _)| literal);
        literals
            .map(|literal| {
                param(literal).ok_or_else(|| Error::internal("a parameter of an unknown type"))
            })
            .collect()
    }

    fn read_from(
        &self,
        connection: &Connection,
        part: &Part,
        stop: &Stop,
        sender: &mpsc::Sender<Result<Message>>,
    ) -> Result<()> {
        discovery::check_unchanged(connection, &self.fragment.rel, &self.decisions)?;
        let misfit = || failure::locate_misfit(connection, &self.fragment.rel);
        let refused = |error: rusqlite::Error| match failure::is_misfit(&error) {
            true => misfit(),
            false => failure::of(error),
        };
        let (sql, ranges) = match part {
            Part::Whole => (&self.rendered.sql, vec![None]),
            Part::Ranges(Ranges { sql, ranges }) => {
                (sql, ranges.iter().copied().map(Some).collect())
            }
        };
        let mut statement = connection.prepare_cached(sql).map_err(failure::of)?;
        let params = self.params()?;
        let mut batch = Batch::new(self.fragment.schema(), &self.rendered.columns)?;
        for range in ranges {
            let range = range.into_iter().flat_map(|(first, last)| [first, last]);
            let range = range.map(|row_id| ToSqlOutput::Owned(row_id.into()));
            let mut rows = statement
                .query(params_from_iter(params.iter().cloned().chain(range)))
                .map_err(failure::of)?;
            while let Some(row) = rows.next().map_err(&refused)? {
                match batch.push(row) {
                    Ok(()) => {}
                    Err(Refused::Misfit) => return Err(misfit()),
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
        }
        if batch.rows() > 0
            && sender
                .blocking_send(batch.take().map(Message::Batch))
                .is_err()
        {
            return Ok(());
        }
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

pub fn late() -> Error {
    Error::new(
        Code::Timeout,
        "the deadline passed before the read was done",
    )
}
