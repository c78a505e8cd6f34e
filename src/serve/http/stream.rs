use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::DataFusionError;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::freshness::freshness;
use super::json::{Writer, text};
use super::line::PATIENCE;
use super::problem::Problem;
use super::request::Format;
use crate::engine::{Answer, sql_type};
use crate::error::{Error, Result};
use crate::serve::flight::wire::{pieces, wire_schema};

/// What is sent at once; an answer that is not longer is whole before it begins.
const CHUNK_BYTES: usize = 64 << 10;
/// Rows that are written before it is looked how many bytes they are.
const ROWS: usize = 256;
/// Chunks that wait for a client that reads slowly.
const AHEAD: usize = 2;
/// A subscription that says nothing for so long has its client asked whether it is there: an empty line.
const QUIET: Duration = Duration::from_secs(15);

/// Writes an answer in a format.
pub(super) enum Encoder {
    Json { writer: Writer, is_first: bool },
    Lines(Writer),
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    pub fn new(
        format: Format,
        schema: &SchemaRef,
        notices: &[String],
        out: &mut Vec<u8>,
    ) -> Result<Self> {
        Ok(match format {
            Format::Json => {
                begin(out, schema, notices);
                Self::Json {
                    writer: Writer::new(schema),
                    is_first: true,
                }
            }
            Format::Lines => Self::Lines(Writer::new(schema)),
            Format::Arrow => {
                let writer = StreamWriter::try_new(Vec::new(), schema);
                let mut writer = writer.map_err(DataFusionError::from)?;
                out.append(writer.get_mut());
                Self::Arrow(Box::new(writer))
            }
        })
    }

    pub fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Json { writer, is_first } => {
                for row in 0..rows.num_rows() {
                    if !std::mem::take(is_first) {
                        out.push(b',');
                    }
                    out.push(b'\n');
                    writer.array(out, rows, row)?;
                }
            }
            Self::Lines(writer) => {
                for row in 0..rows.num_rows() {
                    writer.object(out, rows, row)?;
                    out.push(b'\n');
                }
            }
            Self::Arrow(writer) => {
                writer.write(rows).map_err(DataFusionError::from)?;
                out.append(writer.get_mut());
            }
        }
        Ok(())
    }

    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Json { .. } => out.extend_from_slice(b"\n]}\n"),
            Self::Lines(_) => {}
            Self::Arrow(writer) => {
                writer.finish().map_err(DataFusionError::from)?;
                out.append(writer.get_mut());
            }
        }
        Ok(())
    }

    /// Rows that are written at once: Arrow's batches are as they come.
    fn at_once(&self) -> usize {
        match self {
            Self::Json { .. } | Self::Lines(_) => ROWS,
            Self::Arrow(_) => usize::MAX,
        }
    }
}

/// `{"columns":[…],"rows":[`
fn begin(out: &mut Vec<u8>, schema: &Schema, notices: &[String]) {
    out.push(b'{');
    if !notices.is_empty() {
        out.extend_from_slice(b"\"notices\":");
        out.extend_from_slice(json!(notices).to_string().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(b"\"columns\":[");
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        text(out, field.name());
        out.extend_from_slice(b",\"type\":");
        text(out, &sql_type(field.data_type()));
        out.push(b'}');
    }
    out.extend_from_slice(b"],\n\"rows\":[");
}

/// An answer on its way.
struct Sending {
    answer: Answer,
    schema: SchemaRef,
    encoder: Encoder,
    out: Vec<u8>,
}

enum Next {
    Some,
    End,
}

impl Sending {
    /// Take what comes next of the answer.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.answer.stream.next().await {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(e)) => Err(e.into()),
            None => Ok(None),
        }
    }

    /// Write what came; each chunk that is full is given away.
    async fn write(&mut self, batch: Option<RecordBatch>, to: Option<&Chunks>) -> Result<Next> {
        let Some(batch) = batch else {
            self.encoder.end(&mut self.out)?;
            return Ok(Next::End);
        };
        for piece in pieces(batch, Arc::clone(&self.schema)) {
            let piece = piece.map_err(|e| Error::Internal(e.message().to_string()))?;
            let rows = piece.num_rows();
            let mut at = 0;
            while at < rows {
                let count = self.encoder.at_once().min(rows - at);
                self.encoder.rows(&piece.slice(at, count), &mut self.out)?;
                at += count;
                if let Some(to) = to
                    && self.out.len() >= CHUNK_BYTES
                {
                    to.send(std::mem::take(&mut self.out)).await?;
                }
            }
        }
        Ok(Next::Some)
    }
}

/// Where chunks go; who takes none for too long is given up.
struct Chunks(mpsc::Sender<std::io::Result<Bytes>>);

impl Chunks {
    async fn send(&self, chunk: Vec<u8>) -> Result<()> {
        let sent = self.0.send_timeout(Ok(chunk.into()), PATIENCE).await;
        sent.map_err(|_| Error::Cancelled)
    }
}

/// An answer as a response. Up to its first rows an error is a problem with its status; after that the body ends before its end, which
/// clients of HTTP take for what it is.
pub(super) async fn response(
    answer: Answer,
    format: Format,
    stop: CancellationToken,
) -> std::result::Result<Response, Problem> {
    let mut headers = HeaderMap::new();
    freshness(&answer, &mut headers);
    let media_type = HeaderValue::from_static(format.media_type());
    headers.insert(CONTENT_TYPE, media_type);
    let schema = wire_schema(&answer.schema);
    let mut out = Vec::new();
    let encoder = Encoder::new(format, &schema, &answer.notices, &mut out)?;
    let mut sending = Sending {
        answer,
        schema,
        encoder,
        out,
    };
    let mut is_whole = false;
    while !is_whole && !sending.answer.goes_on && sending.out.len() < CHUNK_BYTES {
        // One large batch becomes more than a chunk here, and no more than it is.
        let batch = sending.next().await?;
        is_whole = matches!(sending.write(batch, None).await?, Next::End);
    }
    let body = match is_whole {
        true => Body::from(sending.out),
        false => {
            let (to, chunks) = mpsc::channel(AHEAD);
            tokio::spawn(send(sending, Chunks(to), stop));
            Body::from_stream(ReceiverStream::new(chunks))
        }
    };
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    Ok(response)
}

/// Send what is left, until it ends, or whom it is for has left or does not read.
async fn send(mut sending: Sending, to: Chunks, stop: CancellationToken) {
    let goes_on = sending.answer.goes_on;
    let sent = async {
        loop {
            // What comes from time to time is sent when it comes.
            if !sending.out.is_empty() && (goes_on || sending.out.len() >= CHUNK_BYTES) {
                to.send(std::mem::take(&mut sending.out)).await?;
            }
            let quiet = async {
                match goes_on && matches!(sending.encoder, Encoder::Lines(_)) {
                    true => tokio::time::sleep(QUIET).await,
                    false => std::future::pending().await,
                }
            };
            let stopped = async {
                match goes_on {
                    true => stop.cancelled().await,
                    // It has its time to finish.
                    false => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                biased;
                () = to.0.closed() => return Err(Error::Cancelled),
                () = stopped => return Err(Error::Cancelled),
                next = sending.answer.stream.next() => next,
                () = quiet => {
                    sending.out.push(b'\n');
                    continue;
                }
            };
            let batch = next.transpose()?;
            if let Next::End = sending.write(batch, Some(&to)).await? {
                return to.send(std::mem::take(&mut sending.out)).await;
            }
        }
    };
    let sent: Result<()> = sent.await;
    if let Err(e) = sent {
        // An error is a body that breaks off.
        let broken = std::io::Error::other(e.to_string());
        let _ = to.0.send_timeout(Err(broken), PATIENCE).await;
    }
}
