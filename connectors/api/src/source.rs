use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::FieldRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::capability::Capabilities;
use crate::change::{Capture, Captured, ChangeStream, Lag, Snapshot};
use crate::config::{OptionSpec, SourceConfig};
use crate::error::{Code, Error, Result};
use crate::export::{Export, ExportRequest};
use crate::fragment::{Fragment, TableRef};
use crate::position::Position;
use crate::table::Table;
use crate::write::{Write, Written};

/// Batches of one partition's answer, each with exactly the fragment's schema. Dropping it ends the work at the
/// source and frees its connection.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// Opens sources of one kind. One registration in the engine makes its URL schemes known.
pub trait Connector: Debug + Send + Sync {
    /// The kind's name, as `system.sources` shows it: `postgres`.
    fn name(&self) -> &'static str;

    /// URL schemes it takes, without `:`.
    fn schemes(&self) -> &'static [&'static str];

    /// The options its sources take; the engine refuses others, naming the nearest.
    fn options(&self) -> &'static [OptionSpec];

    /// Check the definition and make the source, *without* contacting the system: one that is down at start must not
    /// stop the engine. Errors are the definition's alone.
    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>>;

    /// The options of `COPY … TO` a URL of this connector. Those that its sources take too say how the place is reached.
    fn export_options(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// Check what is to be written where, without contacting the place.
    fn export(&self, request: ExportRequest) -> Result<Arc<dyn Export>> {
        let message = format!(
            "rows are not written to {}: {} is only read",
            request.config.url,
            self.name()
        );
        Err(Error::new(Code::InvalidUrl, message)
            .help("COPY writes files: TO 'name.parquet', 'folder/' or 's3://bucket/folder/'"))
    }
}

/// A system whose tables can be queried. Cheap to share; connections are its own affair, within its
/// `max_connections`.
///
/// Every error carries the source's name ([`Error::at_source`](crate::Error::at_source)).
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// Read schemas, tables, columns, keys, comments and row estimates from the live system, in a stable order. Also
    /// learns what [`Source::capabilities`] depends on (version, collations).
    async fn discover(&self) -> Result<Vec<Table>>;

    /// Tables that an earlier [`Source::discover`] found, from the durable catalog: called once after opening, so that
    /// a source that is down is known, and a scan needs no discovery first.
    fn remember(&self, tables: &[Table]);

    /// The schema that an unqualified table name means: `public`, the URL's database, `main`.
    fn default_schema(&self) -> &str;

    /// Which system it reads, as whom: all that decides what a scan gives but the scan itself. Sources of one connector whose
    /// places are equal are one place: what several of them hold can be asked of any of them, in one fragment. None:
    /// nobody else's. Nothing of a secret but its reference is in it.
    fn place(&self) -> Option<String> {
        None
    }

    /// What it can answer, as far as known; before the first contact, the least that any version can.
    fn capabilities(&self) -> Arc<dyn Capabilities>;

    /// Into how many streams [`Source::scan`] would split this fragment at best: more than one only if it
    /// [is row-wise](crate::Rel::is_row_wise) and the table is large. No I/O: from what discovery found.
    fn partitions(&self, fragment: &Fragment) -> usize;

    /// How many streams may be read at once, of all scans together: its connections. More are asked for one after the
    /// other.
    fn max_streams(&self) -> usize {
        usize::MAX
    }

    /// What would be sent, for `EXPLAIN`: SQL text with its placeholders, or a description.
    fn describe(&self, fragment: &Fragment) -> String;

    /// Answer a fragment that [`Capabilities`] accepted, as exactly `request.partitions` streams over one snapshot
    /// of the source where it can. Work and connections begin at a stream's first poll.
    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>>;

    /// Whether its definition says that it may be written to.
    fn is_writable(&self) -> bool {
        false
    }

    /// Do it, in one transaction: all of it is there when this returns, or none is, unless the error is
    /// [`Code::OutcomeUnknown`]. What was sent is never sent again.
    async fn write(&self, _write: Write) -> Result<Written> {
        let message = "this kind of source is only read";
        Err(Error::new(Code::NotWritable, message))
    }

    /// How finely it tells what has changed, as far as known; None with the reason. A source that tells has the three methods
    /// that follow.
    fn capture(&self) -> Capture {
        Capture::None("this kind of source does not tell what changes".to_string())
    }

    /// The columns by which its log names rows that go, as far as known: who follows the table wants them among its columns, and
    /// finds rows by them. None: its log has such rows whole, or there is no capture.
    fn identity(&self, _table: &TableRef) -> Option<Vec<String>> {
        None
    }

    /// Columns that the table has not and its changes have, since its log names old rows by them: they are kept with the rows,
    /// and nobody reads them.
    ///
    /// Files: which file a row is of.
    fn hidden(&self, _table: &TableRef) -> Vec<FieldRef> {
        Vec::new()
    }

    /// Whether it looks for changes by itself, every [`Limits::poll_interval`](crate::Limits::poll_interval): nobody else
    /// needs to read all of it again and again.
    fn looks(&self) -> bool {
        false
    }

    /// Where its log stands now: what was committed before it was asked is at or before it.
    async fn position(&self) -> Result<Position> {
        Err(self.no_capture())
    }

    /// What is in these tables, at one position, which [`Source::changes`] can begin from: the log is kept for that from
    /// now on, until something behind it is acknowledged. It is at or behind all that a stream gave before it was asked.
    async fn snapshot(&self, _tables: &[Captured]) -> Result<Snapshot> {
        Err(self.no_capture())
    }

    /// What is committed to these tables after `from`, without end. There is one reader: a stream that is open already ends.
    /// A table more is another stream, from where the last one has come to.
    async fn changes(
        &self,
        _from: &Position,
        _tables: &[Captured],
    ) -> Result<Box<dyn ChangeStream>> {
        Err(self.no_capture())
    }

    /// How far those who follow it are behind its log. None: it cannot tell.
    async fn lag(&self) -> Result<Option<Lag>> {
        Ok(None)
    }

    /// Nothing is followed any more: what capture made at the source is removed, and a stream that is open ends. What follows
    /// begins with a snapshot. A source that made nothing, or was given it, has nothing to do.
    ///
    /// # Errors
    /// If it is not removed: with the statement to run, where the source's user may not.
    async fn release(&self) -> Result<()> {
        Ok(())
    }

    /// The error of a source that is asked for what it does not declare.
    fn no_capture(&self) -> Error {
        let message = match self.capture() {
            Capture::None(reason) => reason,
            _ => "it declares to tell what changes, and does not".to_string(),
        };
        Error::new(Code::NoChangeCapture, message)
    }

    /// A source whose reader is DataFusion's own hands over its provider instead of answering fragments. Each request of
    /// it passes the door.
    #[cfg(feature = "table-provider")]
    async fn table_provider(
        &self,
        _table: &Table,
        _door: Arc<dyn crate::Door>,
    ) -> Result<Option<Arc<dyn datafusion::catalog::TableProvider>>> {
        Ok(None)
    }
}

/// One question to a source.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    pub fragment: Arc<Fragment>,
    /// At least 1, at most [`Source::partitions`]; as many as are free of [`Source::max_streams`].
    pub partitions: usize,
    /// Rows per batch to aim at.
    pub batch_rows: usize,
    /// The statement's deadline: also set at the source, so that work nobody waits for ends there.
    pub deadline: Option<Instant>,
}
