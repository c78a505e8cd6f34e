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

/// Of a batch: what is left of it to be written.
type Pieces = Box<dyn Iterator<Item = std::result::Result<RecordBatch, tonic::Status>> + Send>;

/// An answer on its way.
struct Sending {
    answer: Answer,
    schema: SchemaRef,
    encoder: Encoder,
    out: Vec<u8>,
    left: Option<Pieces>,
    /// A piece, and how many of its rows are written.
    piece: Option<(RecordBatch, usize)>,
}

impl Sending {
    /// What comes next of the answer; false: nothing does.
    async fn next(&mut self) -> Result<bool> {
        let next = self.answer.stream.next().await;
        self.take(next.transpose()?)
    }

    fn take(&mut self, batch: Option<RecordBatch>) -> Result<bool> {
        match batch {
            Some(batch) => {
                self.left = Some(Box::new(pieces(batch, Arc::clone(&self.schema))));
                Ok(true)
            }
            None => {
                self.encoder.end(&mut self.out)?;
                Ok(false)
            }
        }
    }

    /// Write of what came, until there is a chunk. False: all of it is written.
    fn fill(&mut self) -> Result<bool> {
        while self.out.len() < CHUNK_BYTES {
            if self.piece.is_none() {
                let Some(piece) = self.left.as_mut().and_then(Iterator::next) else {
                    self.left = None;
                    return Ok(false);
                };
                let piece = piece.map_err(|e| Error::Internal(e.message().to_string()))?;
                self.piece = Some((piece, 0));
            }
            if let Some((piece, written)) = &mut self.piece {
                let count = self.encoder.at_once().min(piece.num_rows() - *written);
                self.encoder
                    .rows(&piece.slice(*written, count), &mut self.out)?;
                *written += count;
                if *written == piece.num_rows() {
                    self.piece = None;
                }
            }
        }
        Ok(true)
    }

    fn chunk(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
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
        left: None,
        piece: None,
    };
    let mut is_whole = false;
    while !sending.answer.goes_on && !is_whole && !sending.fill()? {
        is_whole = !sending.next().await?;
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
            while sending.fill()? {
                to.send(sending.chunk()).await?;
            }
            // What comes from time to time is sent when it comes.
            if goes_on && !sending.out.is_empty() {
                to.send(sending.chunk()).await?;
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
            if !sending.take(next.transpose()?)? {
                return to.send(sending.chunk()).await;
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
