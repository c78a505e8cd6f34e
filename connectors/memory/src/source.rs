use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Capture, Captured, ChangeStream, Code, Error, Fragment, Position,
    Rel, Result, ScanRequest, Snapshot, Source, Table, TableRef, Write, Written,
};
use tokio::sync::watch;

use crate::asked::{Asked, sized};
use crate::capability::ScanAndLimit;
use crate::capture::{Changes, Image};
use crate::fault::{Fault, WriteFault};
use crate::reading::Reading;
use crate::stream::LogStream;
use crate::table::{MemoryTable, SCHEMA};

/// Tables in memory. Clones are handles on the same tables: what a test changes is what the engine reads next.
#[derive(Debug, Clone)]
pub struct MemorySource {
    /// Under which an engine opened it: the name its errors carry.
    name: String,
    /// As its definition says.
    is_writable: bool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    changes: Mutex<Changes>,
    /// Counts what may have something for who reads the log.
    events: watch::Sender<u64>,
    fault: Mutex<Fault>,
    write_fault: Mutex<WriteFault>,
    /// Streams that were polled and neither ended nor dropped.
    open: watch::Sender<usize>,
    scans: AtomicUsize,
    /// How often all reads were broken off.
    breaks: AtomicUsize,
}

impl MemorySource {
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            shared: Arc::new(Shared {
                name: name.clone(),
                changes: Mutex::default(),
                events: watch::Sender::new(0),
                fault: Mutex::default(),
                write_fault: Mutex::default(),
                open: watch::Sender::new(0),
                scans: AtomicUsize::new(0),
                breaks: AtomicUsize::new(0),
            }),
            is_writable: false,
            name,
        }
    }

    /// The name the connector knows it by.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn opened_as(&self, name: &str, is_writable: bool) -> Self {
        Self {
            name: name.to_string(),
            is_writable,
            shared: self.shared.clone(),
        }
    }

    #[must_use]
    pub fn with_table(self, name: &str, table: MemoryTable) -> Self {
        self.put(name, table);
        self
    }

    /// Create or replace a table.
    pub fn put(&self, name: &str, table: MemoryTable) {
        self.state().put(name, Some(table));
        self.happened();
    }

    /// Drop a table.
    pub fn remove(&self, name: &str) {
        self.state().put(name, None);
        self.happened();
    }

    /// Make something go wrong from now on, also with streams that are open.
    pub fn inject(&self, fault: Fault) {
        *self
            .shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
        self.happened();
    }

    /// Make something go wrong with the next write.
    pub fn inject_write(&self, fault: WriteFault) {
        let next = self.shared.write_fault.lock();
        *next.unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(crate) fn take_write_fault(&self) -> WriteFault {
        let next = self.shared.write_fault.lock();
        std::mem::take(&mut *next.unwrap_or_else(PoisonError::into_inner))
    }

    /// Break off all streams there are, as a restart does; those opened from now on work.
    pub fn break_off(&self) {
        self.shared.breaks.fetch_add(1, Ordering::SeqCst);
        self.happened();
    }

    /// Streams being read: polled, and neither ended nor dropped.
    pub fn open_streams(&self) -> usize {
        *self.shared.open.borrow()
    }

    /// Wait until that many streams are being read.
    pub async fn until_open_streams(&self, count: usize) {
        let mut open = self.shared.open.subscribe();
        // The sender is ours: it does not close while we wait.
        let _ = open.wait_for(|now| *now == count).await;
    }

    pub(crate) fn stream_opened(&self) {
        self.shared.open.send_modify(|open| *open += 1);
    }

    pub(crate) fn stream_closed(&self) {
        self.shared.open.send_modify(|open| *open -= 1);
    }

    /// How often [`Self::break_off`] was asked for.
    pub(crate) fn breaks(&self) -> usize {
        self.shared.breaks.load(Ordering::SeqCst)
    }

    /// Scans asked for so far.
    pub fn scans(&self) -> usize {
        self.shared.scans.load(Ordering::Relaxed)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Changes> {
        let changes = self.shared.changes.lock();
        changes.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn events(&self) -> watch::Receiver<u64> {
        self.shared.events.subscribe()
    }

    pub(crate) fn happened(&self) {
        self.shared.events.send_modify(|events| *events += 1);
    }

    pub(crate) fn opened_name(&self) -> &str {
        &self.name
    }

    fn check_up(&self) -> Result<()> {
        match self.fault() {
            Fault::Down(code) => Err(self.failed(code, "the system is down")),
            _ => Ok(()),
        }
    }

    pub(crate) fn fault(&self) -> Fault {
        self.shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn failed(&self, code: Code, message: &str) -> Error {
        Error::new(code, message).at_source(&self.name)
    }

    fn read(&self, asked: &Asked, output: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let table = asked.table;
        let state = self.state();
        let tables = state.log.tables();
        let Some(found) = tables.get(&table.name).filter(|_| table.schema == SCHEMA) else {
            let missing = self.failed(Code::TableMissing, "the table is not there any more");
            return Err(missing.at_table(&table.name));
        };
        (found.read(asked, output)).map_err(|e| e.at_source(&self.name))
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn discover(&self) -> Result<Vec<Table>> {
        self.check_up()?;
        Ok(self
            .state()
            .log
            .tables()
            .iter()
            .map(|(name, table)| table.described(name))
            .collect())
    }

    fn remember(&self, _tables: &[Table]) {
        // Scans find their columns by name.
    }

    fn default_schema(&self) -> &str {
        SCHEMA
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::new(ScanAndLimit)
    }

    fn partitions(&self, fragment: &Fragment) -> usize {
        let batches = match &fragment.rel {
            Rel::Scan { table, .. } => self
                .state()
                .log
                .tables()
                .get(&table.name)
                .map_or(0, |t| t.batches.len()),
            _ => 1,
        };
        batches.max(1)
    }

    fn describe(&self, fragment: &Fragment) -> String {
        let Some(Asked {
            table,
            columns,
            skip,
            fetch,
        }) = Asked::of(&fragment.rel)
        else {
            return "what this source cannot answer".to_string();
        };
        let columns: Vec<_> = columns.iter().map(|f| f.name().as_str()).collect();
        let mut text = format!("scan {table} ({})", columns.join(", "));
        if skip > 0 {
            text.push_str(&format!(" skip {skip}"));
        }
        if let Some(fetch) = fetch {
            text.push_str(&format!(" limit {fetch}"));
        }
        text
    }

    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>> {
        self.shared.scans.fetch_add(1, Ordering::Relaxed);
        let asked = Asked::of(&request.fragment.rel).ok_or_else(|| {
            Error::internal("a source in memory scans and limits, no more").at_source(&self.name)
        })?;
        let schema = request.fragment.rel.schema();
        let mut batches = asked.cut(self.read(&asked, &schema)?);
        // All partitions are of the same moment; each takes an equal share.
        let share = batches.len().div_ceil(request.partitions.max(1)).max(1);
        let mut streams = Vec::with_capacity(request.partitions);
        for _ in 0..request.partitions.max(1) {
            let rest = batches.split_off(share.min(batches.len()));
            let part = sized(std::mem::replace(&mut batches, rest), request.batch_rows);
            streams.push(Reading::new(self.clone(), part).stream());
        }
        Ok(streams)
    }

    fn is_writable(&self) -> bool {
        self.is_writable
    }

    async fn write(&self, write: Write) -> Result<Written> {
        self.check_up()?;
        self.write_all(write).await
    }

    fn capture(&self) -> Capture {
        Capture::Transactional
    }

    fn identity(&self, table: &TableRef) -> Option<Vec<String>> {
        let state = self.state();
        let found = state.log.tables().get(&table.name)?;
        let is_keyed = state.image != Image::Whole && !found.primary_key.is_empty();
        is_keyed.then(|| found.primary_key.clone())
    }

    async fn position(&self) -> Result<Position> {
        self.check_up()?;
        Ok(self.head())
    }

    async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        self.check_up()?;
        self.read_all(tables)
    }

    async fn changes(&self, from: &Position, tables: &[Captured]) -> Result<Box<dyn ChangeStream>> {
        self.check_up()?;
        let stream = LogStream::new(self.clone(), tables.to_vec(), from)?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use futures::{StreamExt, TryStreamExt};

    fn numbers(ranges: &[std::ops::Range<i64>]) -> MemoryTable {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("t", DataType::Utf8, false),
        ]));
        let batch = |range: &std::ops::Range<i64>| {
            let text = StringArray::from_iter_values(range.clone().map(|n| n.to_string()));
            let numbers = Int64Array::from_iter_values(range.clone());
            RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(text)]).unwrap()
        };
        let batches = ranges.iter().map(batch).collect();
        MemoryTable::new(schema, batches)
    }

    fn request(
        columns: &[(&str, DataType)],
        limit: Option<(u64, u64)>,
        partitions: usize,
    ) -> ScanRequest {
        let fields: Vec<_> = columns
            .iter()
            .map(|(n, t)| Field::new(*n, t.clone(), false))
            .collect();
        let table = TableRef {
            schema: SCHEMA.into(),
            name: "numbers".into(),
        };
        let mut rel = Rel::Scan {
            table,
            schema: Arc::new(Schema::new(fields)),
        };
        if let Some((skip, fetch)) = limit {
            rel = Rel::Limit {
                input: Box::new(rel),
                skip,
                fetch: Some(fetch),
            };
        }
        ScanRequest {
            fragment: Arc::new(Fragment::new(rel)),
            partitions,
            batch_rows: 4,
            deadline: None,
        }
    }

    async fn read(source: &MemorySource, request: ScanRequest) -> Result<Vec<i64>> {
        let mut all = Vec::new();
        for stream in source.scan(request).await? {
            for batch in stream.try_collect::<Vec<_>>().await? {
                all.extend(batch.column(0).as_primitive::<Int64Type>().values());
            }
        }
        Ok(all)
    }

    fn source() -> MemorySource {
        MemorySource::new("m").with_table("numbers", numbers(&[0..10, 10..13, 13..20]))
    }

    const N: (&str, DataType) = ("n", DataType::Int64);

    #[tokio::test]
    async fn every_row_once_in_any_number_of_partitions() {
        for partitions in [1, 2, 3, 7] {
            let found = read(&source(), request(&[N], None, partitions))
                .await
                .unwrap();
            assert_eq!(found, (0..20).collect::<Vec<_>>());
        }
        let limited = read(&source(), request(&[N], Some((8, 6)), 1))
            .await
            .unwrap();
        assert_eq!(limited, (8..14).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn no_columns_still_have_rows() {
        let mut rows = 0;
        for stream in source().scan(request(&[], None, 1)).await.unwrap() {
            rows += stream
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
                .iter()
                .map(RecordBatch::num_rows)
                .sum::<usize>();
        }
        assert_eq!(rows, 20);
    }

    #[tokio::test]
    async fn a_dropped_stream_is_seen() {
        let source = source();
        source.inject(Fault::HangAfter(1));
        let mut stream = source.scan(request(&[N], None, 1)).await.unwrap().remove(0);
        assert_eq!(source.open_streams(), 0, "work begins at the first poll");
        assert!(stream.next().await.unwrap().is_ok());
        source.until_open_streams(1).await;
        let hangs = tokio::time::timeout(Duration::from_millis(20), stream.next()).await;
        assert!(hangs.is_err());
        drop(stream);
        assert_eq!(source.open_streams(), 0);
    }

    #[tokio::test]
    async fn faults_are_what_a_test_says() {
        let source = source();
        source.inject(Fault::FailAt {
            batch: 2,
            code: Code::Unreachable,
        });
        let error = read(&source, request(&[N], None, 1)).await.unwrap_err();
        assert_eq!(
            (error.code, error.source_name.as_deref()),
            (Code::Unreachable, Some("m"))
        );
        source.inject(Fault::Down(Code::Authentication));
        assert_eq!(
            source.discover().await.unwrap_err().code,
            Code::Authentication
        );
        source.inject(Fault::None);
        assert_eq!(
            read(&source, request(&[N], None, 1)).await.unwrap().len(),
            20
        );
        source.remove("numbers");
        assert_eq!(
            read(&source, request(&[N], None, 1))
                .await
                .unwrap_err()
                .code,
            Code::TableMissing
        );
    }

    #[tokio::test]
    async fn a_changed_column_is_not_read_as_what_it_was() {
        let error = read(&source(), request(&[("n", DataType::Utf8)], None, 1))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.column.as_deref()),
            (Code::SchemaChanged, Some("n"))
        );
    }
}
