use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::EncoderOptions;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};

use super::cancel::Cancel;
use super::copy::CopyOut;
use super::messages::{Column, Format, Replies};
use super::rows::{Rows, Style};
use super::said;
use super::statements::{Statement, What};
use super::wire::{Broken, Wire};
use crate::engine::{PgType, Session};
use crate::error::{Error, Result};

/// Rows that are put at once, before it is looked whether they should be sent.
const ROWS: usize = 512;

/// A statement with values for its parameters, and how far its rows are.
#[derive(Debug)]
pub(super) struct Portal {
    pub statement: Arc<Statement>,
    pub values: Vec<ScalarValue>,
    pub formats: Vec<Format>,
    /// It outlives the transaction that it was made in.
    pub is_held: bool,
    /// Of its values.
    pub bytes: usize,
    rows: State,
}

/// Set by [`Portal::run`] alone.
#[derive(Default)]
enum State {
    /// It was not run yet.
    #[default]
    New,
    /// It has rows left, or may have.
    Open(Open),
    /// All its rows have been sent, or it has failed.
    Done,
}

struct Open {
    stream: SendableRecordBatchStream,
    /// What is left of the last batch.
    left: Option<RecordBatch>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::New => "New",
            Self::Open(_) => "Open",
            Self::Done => "Done",
        })
    }
}

/// A connection whose client may leave, or ask to cancel what it asked for.
pub(super) struct Line<S> {
    pub wire: Wire<S>,
    pub cancel: Cancel,
}

/// Why a statement went no further.
#[derive(Debug)]
pub(super) enum Failure {
    Said(Error),
    Broken(Broken),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Said(e)
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<ArrowError> for Failure {
    fn from(e: ArrowError) -> Self {
        let e = datafusion::common::DataFusionError::from(e);
        Self::Said(Error::from(e))
    }
}

/// How far it came.
#[derive(Debug, PartialEq)]
pub(super) enum Ran {
    /// To its end, with so many rows.
    Rows(u64),
    /// As many rows as were asked for have been sent, and there may be more.
    Suspended(u64),
    /// It has no rows but this to say.
    Tag(String),
}

/// How its rows are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// Their description was asked for separately.
    Rows,
    /// Their description goes before them.
    Described,
    /// They are passed over.
    Nothing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Do it, unless the client leaves or asks to cancel it first.
    pub async fn watched<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.cancel.asked() => Err(Error::Cancelled.into()),
            done = work => Ok(done?),
            broken = self.wire.left() => Err(broken.into()),
        }
    }
}

impl Portal {
    pub fn new(statement: Arc<Statement>, values: Vec<ScalarValue>, formats: Vec<Format>) -> Self {
        Self {
            statement,
            values,
            formats,
            is_held: false,
            bytes: 0,
            rows: State::New,
        }
    }

    /// Of its rows. None: it has none.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.statement.schema()
    }

    /// To before its first row.
    pub fn rewind(&mut self) {
        self.rows = State::New;
    }

    /// Send rows, as many as `most`.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        session: &Session,
        line: &mut Line<S>,
        most: Option<usize>,
        sending: Sending,
    ) -> std::result::Result<Ran, Failure> {
        let mut copy = match &self.statement.what {
            What::CopyOut(_, copy) => Some(copy.clone()),
            _ => None,
        };
        let prepared = match &self.statement.what {
            What::Ask(prepared) | What::CopyOut(prepared, _) => prepared,
            _ => {
                return Err(Error::Internal("a portal of no question to the engine".into()).into());
            }
        };
        let mut open = match std::mem::replace(&mut self.rows, State::Done) {
            State::Open(open) => open,
            State::Done => return Ok(Ran::Rows(0)),
            State::New => {
                let asked = session.execute_prepared(prepared, &self.values);
                let answer = line.watched(asked).await?;
                for notice in &answer.notices {
                    said::notice(&mut line.wire.out, notice);
                }
                if !prepared.is_query {
                    return tag(session, line, answer.stream).await;
                }
                Open {
                    stream: answer.stream,
                    left: None,
                }
            }
        };
        let schema = open.stream.schema();
        let formats = match &mut copy {
            Some(copy) => {
                copy.begin(&mut line.wire.out, &schema)?;
                vec![copy.format()]
            }
            None => {
                if sending == Sending::Described {
                    describe(&mut line.wire.out, &schema, &self.formats);
                }
                self.formats.clone()
            }
        };
        let style = Style {
            formats,
            zone: session.settings().zone()?,
            json: EncoderOptions::default(),
        };
        let goes_on = prepared.goes_on;
        let mut sent = 0;
        loop {
            let wanted = most.map_or(usize::MAX, |most| most - sent);
            if wanted == 0 {
                self.rows = State::Open(open);
                return Ok(Ran::Suspended(sent as u64));
            }
            let batch = match open.left.take() {
                Some(left) => left,
                None => {
                    if goes_on {
                        line.wire.send().await?;
                    }
                    let stream = &mut open.stream;
                    let next = async { stream.next().await.transpose().map_err(Error::from) };
                    match line.watched(next).await {
                        Ok(Some(batch)) => batch,
                        Ok(None) => break,
                        Err(failure) => {
                            // The answer had begun: the engine does not know that it is over.
                            session.fail_transaction();
                            return Err(failure);
                        }
                    }
                }
            };
            let count = wanted.min(ROWS).min(batch.num_rows());
            if sending != Sending::Nothing {
                put(
                    &mut line.wire.out,
                    &batch.slice(0, count),
                    &style,
                    copy.as_ref(),
                )?;
                line.wire.send_some().await?;
            }
            sent += count;
            open.left =
                (count < batch.num_rows()).then(|| batch.slice(count, batch.num_rows() - count));
        }
        if let Some(copy) = &copy {
            copy.end(&mut line.wire.out);
        }
        Ok(Ran::Rows(sent as u64))
    }
}

/// What a statement without rows says: its one row.
async fn tag<S: AsyncRead + AsyncWrite + Unpin>(
    session: &Session,
    line: &mut Line<S>,
    mut stream: SendableRecordBatchStream,
) -> std::result::Result<Ran, Failure> {
    let mut said = String::new();
    loop {
        let next = async { stream.next().await.transpose().map_err(Error::from) };
        let batch = match line.watched(next).await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(Ran::Tag(said)),
            Err(failure) => {
                session.fail_transaction();
                return Err(failure);
            }
        };
        if let Some(text) = batch
            .columns()
            .first()
            .and_then(|c| c.as_string_opt::<i32>())
            && !text.is_empty()
        {
            said = text.value(0).to_string();
        }
    }
}

pub(super) fn describe(out: &mut Replies, schema: &SchemaRef, formats: &[Format]) {
    let columns = schema.fields().iter().enumerate().map(|(n, field)| {
        let of = PgType::of_field(field);
        Column {
            name: field.name(),
            oid: of.oid,
            length: of.length,
            modifier: PgType::modifier(field.data_type()),
            format: Format::of(formats, n),
        }
    });
    out.columns(columns);
}

/// All rows of a batch. With an error, none of the row that it is met in.
fn put(
    out: &mut Replies,
    batch: &RecordBatch,
    style: &Style,
    copy: Option<&CopyOut>,
) -> std::result::Result<(), ArrowError> {
    let columns = batch.num_columns();
    let mut rows = Rows::new(batch, style)?;
    for row in 0..batch.num_rows() {
        let before = out.0.len();
        let done = match copy {
            Some(copy) => copy.row(&mut rows, row, out),
            None => out.row(columns, |values| rows.put(row, values)),
        };
        if let Err(e) = done {
            out.truncate(before);
            return Err(e);
        }
    }
    Ok(())
}
