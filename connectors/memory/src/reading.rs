use arrow::record_batch::RecordBatch;
use belvedere_connector::{BatchStream, Code, Result};
use futures::{StreamExt, stream};

use crate::fault::Fault;
use crate::source::MemorySource;

/// One stream being read. Its drop is how a source learns that nobody reads any more.
pub struct Reading {
    source: MemorySource,
    batches: std::vec::IntoIter<RecordBatch>,
    given: usize,
    /// [`MemorySource::break_off`]s before it.
    breaks: usize,
    opened: bool,
    failed: bool,
}

impl Reading {
    pub fn new(source: MemorySource, batches: Vec<RecordBatch>) -> Self {
        let breaks = source.breaks();
        Self {
            source,
            batches: batches.into_iter(),
            given: 0,
            breaks,
            opened: false,
            failed: false,
        }
    }

    pub fn stream(self) -> BatchStream {
        stream::unfold(self, |mut reading| async move {
            let next = reading.next().await?;
            Some((next, reading))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if self.failed {
            return None;
        }
        if !self.opened {
            self.opened = true;
            self.source.stream_opened();
        }
        let number = self.given;
        let broken = self.source.breaks() != self.breaks;
        let next = match self.source.fault() {
            _ if broken => Err(self
                .source
                .failed(Code::Unreachable, "the read was broken off")),
            Fault::Down(code) => Err(self.source.failed(code, "the system is down")),
            Fault::FailAt { batch, code } if batch == number => {
                Err(self.source.failed(code, "the read was broken off"))
            }
            Fault::HangAfter(batches) if batches <= number => std::future::pending().await,
            Fault::WrongSchema(schema) => {
                self.batches.next()?;
                Ok(RecordBatch::new_empty(schema))
            }
            fault => {
                if let Fault::Slow(each) = fault {
                    tokio::time::sleep(each).await;
                }
                Ok(self.batches.next()?)
            }
        };
        self.given += 1;
        self.failed = next.is_err();
        Some(next)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.opened {
            self.source.stream_closed();
        }
    }
}
