//! What a statement answers, and until when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

use super::log::Running;
use super::panics::caught;
use super::settings::Settings;
use super::write::Wrote;
use crate::error::{Error, Result};
use crate::freshness::Freshness;

/// What a statement answers: rows as they arrive. Dropping it ends the work at the sources.
pub struct Answer {
    pub schema: SchemaRef,
    /// Its errors are [`Error`]s inside DataFusion's: `Error::from` takes them out.
    pub stream: SendableRecordBatchStream,
    /// What the user should know, besides the rows.
    pub notices: Vec<String>,
    /// Of a query: what it was made of, and how old that was.
    pub freshness: Arc<Freshness>,
    /// Of a write: what it has done.
    pub wrote: Option<Wrote>,
    /// False of a definition or SET: its answer is one row, `status`.
    pub is_query: bool,
    /// It does not end by itself: a subscription's.
    pub goes_on: bool,
}

impl Answer {
    /// All batches at once.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        Ok(self.stream.try_collect().await?)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

pub(super) fn status_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "status",
        DataType::Utf8,
        false,
    )]))
}

pub(super) fn status(tag: &str) -> Answer {
    let column = StringArray::from(vec![tag]);
    let batch = RecordBatch::try_new(status_schema(), vec![Arc::new(column)]);
    // One column of the one type the schema names.
    let batch = batch.unwrap_or_else(|_| RecordBatch::new_empty(status_schema()));
    Answer {
        is_query: false,
        ..batch_answer(batch)
    }
}

pub(super) fn batch_answer(batch: RecordBatch) -> Answer {
    let schema = batch.schema();
    let stream = futures::stream::once(async move { Ok(batch) });
    streamed(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
}

pub(super) fn streamed(stream: SendableRecordBatchStream) -> Answer {
    Answer {
        schema: stream.schema(),
        stream,
        notices: Vec::new(),
        freshness: Arc::default(),
        wrote: None,
        is_query: true,
        goes_on: false,
    }
}

pub(super) fn deadline(settings: &Settings) -> Option<Instant> {
    settings
        .statement_timeout
        .map(|limit| Instant::now() + limit)
}

pub(super) fn timed_out(settings: &Settings) -> Error {
    took_longer(settings.statement_timeout)
}

fn took_longer(limit: Option<Duration>) -> Error {
    Error::Timeout {
        limit_ms: limit.unwrap_or_default().as_millis(),
    }
}

pub(super) async fn within<T>(
    settings: &Settings,
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    until(deadline, settings.statement_timeout, work).await
}

async fn until<T>(
    deadline: Option<Instant>,
    limit: Option<Duration>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match deadline {
        None => work.await,
        Some(at) => tokio::time::timeout_at(at.into(), work)
            .await
            .unwrap_or_else(|_| Err(took_longer(limit))),
    }
}

/// The stream, with errors in our words, until the deadline.
pub(super) fn limited(
    stream: SendableRecordBatchStream,
    settings: &Settings,
    deadline: Option<Instant>,
) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let limit = settings.statement_timeout;
    let batches = futures::stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        let next = caught(async { Ok(stream.next().await) });
        match until(deadline, limit, next).await {
            Ok(None) => None,
            Ok(Some(Ok(batch))) => Some((Ok(batch), Some(stream))),
            Ok(Some(Err(e))) => Some((Err(DataFusionError::from(Error::from(e))), None)),
            Err(e) => Some((Err(DataFusionError::from(e)), None)),
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

/// The result, its end being noted in the log.
pub(super) fn settled(result: Result<Answer>, running: Running) -> Result<Answer> {
    let answer = match result {
        Ok(answer) => answer,
        Err(e) => {
            let e = running.shown_error(e);
            running.failed(&e);
            return Err(e);
        }
    };
    running.served(&answer.freshness);
    if let Some(audited) = running.audited() {
        let wrote = answer.wrote.as_ref().map(|wrote| wrote.rows);
        audited.answers(answer.is_query, wrote);
    }
    let schema = answer.schema.clone();
    let start = Some((answer.stream, running));
    let stream = futures::stream::unfold(start, |state| async move {
        let (mut stream, running) = state?;
        let Some(batch) = stream.next().await else {
            running.finished();
            return None;
        };
        let batch = batch.map_err(Error::from);
        match batch.and_then(|batch| running.rows(&batch).map(|()| batch)) {
            Ok(batch) => Some((Ok(batch), Some((stream, running)))),
            Err(e) => {
                let e = running.shown_error(e);
                running.failed(&e);
                // After an error nothing is told any more.
                Some((Err(DataFusionError::from(e)), None))
            }
        }
    });
    Ok(Answer {
        stream: Box::pin(RecordBatchStreamAdapter::new(schema, stream)),
        ..answer
    })
}
