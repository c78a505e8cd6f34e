use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Code, Column, Error, Fragment, Rel, Result, ScanRequest, Source,
    Table, TableKind, TableRef,
};
use futures::{StreamExt, stream};
use tokio::sync::watch;

use crate::capability::ScanAndLimit;
use crate::fault::Fault;

/// The schema of its tables.
const SCHEMA: &str = "main";

/// Tables in memory. Clones are handles on the same tables: what a test changes is what the engine reads next.
#[derive(Debug, Clone)]
pub struct MemorySource {
    /// Under which an engine opened it: the name its errors carry.
    name: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    tables: Mutex<BTreeMap<String, MemoryTable>>,
    fault: Mutex<Fault>,
    /// Streams that were polled and neither ended nor dropped.
    open: watch::Sender<usize>,
    scans: AtomicUsize,
    /// How often all reads were broken off.
    breaks: AtomicUsize,
}

/// A table: batches of one schema, and what discovery says of it.
#[derive(Debug, Clone)]
pub struct MemoryTable {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// Column names, in key order.
    pub primary_key: Vec<String>,
}

impl MemoryTable {
    /// Batches must have the schema.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self {
            schema,
            batches,
            primary_key: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_primary_key(mut self, columns: &[&str]) -> Self {
        self.primary_key = columns.iter().map(ToString::to_string).collect();
        self
    }

    fn described(&self, name: &str) -> Table {
        let columns = self.schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            native_type: field.data_type().to_string(),
            collation: None,
            comment: None,
            note: None,
        });
        Table {
            schema: SCHEMA.to_string(),
            name: name.to_string(),
            kind: TableKind::Table,
            columns: columns.collect(),
            primary_key: self.primary_key.clone(),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            comment: None,
            row_count: Some(self.batches.iter().map(|b| b.num_rows() as u64).sum()),
            size_bytes: Some(
                self.batches
                    .iter()
                    .map(|b| b.get_array_memory_size() as u64)
                    .sum(),
            ),
            warnings: Vec::new(),
        }
    }
}

impl MemorySource {
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            shared: Arc::new(Shared {
                name: name.clone(),
                tables: Mutex::default(),
                fault: Mutex::default(),
                open: watch::Sender::new(0),
                scans: AtomicUsize::new(0),
                breaks: AtomicUsize::new(0),
            }),
            name,
        }
    }

    /// The name the connector knows it by.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn opened_as(&self, name: &str) -> Self {
        Self {
            name: name.to_string(),
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
        self.tables().insert(name.to_string(), table);
    }

    /// Drop a table.
    pub fn remove(&self, name: &str) {
        self.tables().remove(name);
    }

    /// Make something go wrong from now on, also with streams that are open.
    pub fn inject(&self, fault: Fault) {
        *self
            .shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Break off all streams there are, as a restart does; those opened from now on work.
    pub fn break_off(&self) {
        self.shared.breaks.fetch_add(1, Ordering::SeqCst);
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

    /// Scans asked for so far.
    pub fn scans(&self) -> usize {
        self.shared.scans.load(Ordering::Relaxed)
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, MemoryTable>> {
        self.shared
            .tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Fault {
        self.shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn failed(&self, code: Code, message: &str) -> Error {
        Error::new(code, message).at_source(&self.name)
    }

    /// The table's batches with the columns asked for, as they are at this moment.
    fn read(&self, asked: &Asked, output: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let table = asked.table;
        let tables = self.tables();
        let found = tables
            .get(&table.name)
            .filter(|_| table.schema == SCHEMA)
            .ok_or_else(|| {
                self.failed(Code::TableMissing, "the table is not there any more")
                    .at_table(&table.name)
            })?;
        let changed = |column: &str| {
            self.failed(Code::SchemaChanged, "the column is not what it was")
                .at_table(&table.name)
                .at_column(column)
        };
        let mut columns = Vec::with_capacity(asked.columns.len());
        for field in &asked.columns {
            let index = found
                .schema
                .index_of(field.name())
                .map_err(|_| changed(field.name()))?;
            if found.schema.field(index).data_type() != field.data_type() {
                return Err(changed(field.name()));
            }
            columns.push(index);
        }
        found
            .batches
            .iter()
            .map(|batch| {
                // A scan of no columns still has rows.
                let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let arrays = columns.iter().map(|i| batch.column(*i).clone()).collect();
                RecordBatch::try_new_with_options(output.clone(), arrays, &rows)
                    .map_err(|e| Error::internal(e.to_string()).at_source(&self.name))
            })
            .collect()
    }
}

/// What a fragment asks: columns of a table, skipping some rows, at most so many.
struct Asked<'a> {
    table: &'a TableRef,
    /// As the table has them, in the order asked for.
    columns: Vec<FieldRef>,
    skip: u64,
    fetch: Option<u64>,
}

impl<'a> Asked<'a> {
    fn of(rel: &'a Rel) -> Option<Self> {
        match rel {
            Rel::Scan { table, schema } => Some(Self {
                table,
                columns: schema.fields().iter().cloned().collect(),
                skip: 0,
                fetch: None,
            }),
            Rel::Project { input, columns } => {
                let Rel::Scan { table, schema } = &**input else {
                    return None;
                };
                let columns = columns
                    .iter()
                    .map(|(expr, _)| schema.fields().get(expr.as_column()?).cloned())
                    .collect::<Option<_>>()?;
                Some(Self {
                    table,
                    columns,
                    skip: 0,
                    fetch: None,
                })
            }
            Rel::Limit { input, skip, fetch } if !matches!(**input, Rel::Limit { .. }) => {
                let asked = Self::of(input)?;
                Some(Self {
                    skip: *skip,
                    fetch: *fetch,
                    ..asked
                })
            }
            _ => None,
        }
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn discover(&self) -> Result<Vec<Table>> {
        if let Fault::Down(code) = self.fault() {
            return Err(self.failed(code, "the system is down"));
        }
        Ok(self
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
        let mut batches = cut(self.read(&asked, &schema)?, asked.skip, asked.fetch);
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
}

/// Any `fetch` rows after any `skip` rows.
fn cut(batches: Vec<RecordBatch>, skip: u64, fetch: Option<u64>) -> Vec<RecordBatch> {
    let (mut skip, mut left) = (skip as usize, fetch.map_or(usize::MAX, |n| n as usize));
    let mut kept = Vec::new();
    for batch in batches {
        let start = skip.min(batch.num_rows());
        let length = (batch.num_rows() - start).min(left);
        skip -= start;
        left -= length;
        if length > 0 {
            kept.push(batch.slice(start, length));
        }
    }
    kept
}

/// The same rows in batches of at most that many.
fn sized(batches: Vec<RecordBatch>, rows: usize) -> Vec<RecordBatch> {
    let rows = rows.max(1);
    let pieces = batches.into_iter().flat_map(|batch| {
        let total = batch.num_rows();
        (0..total)
            .step_by(rows)
            .map(move |at| batch.slice(at, rows.min(total - at)))
            .collect::<Vec<_>>()
    });
    pieces.collect()
}

/// One stream being read. Its drop is how a source learns that nobody reads any more.
struct Reading {
    source: MemorySource,
    batches: std::vec::IntoIter<RecordBatch>,
    given: usize,
    /// [`MemorySource::break_off`]s before it.
    breaks: usize,
    opened: bool,
    failed: bool,
}

impl Reading {
    fn new(source: MemorySource, batches: Vec<RecordBatch>) -> Self {
        let breaks = source.shared.breaks.load(Ordering::SeqCst);
        Self {
            source,
            batches: batches.into_iter(),
            given: 0,
            breaks,
            opened: false,
            failed: false,
        }
    }

    fn stream(self) -> BatchStream {
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
            self.source.shared.open.send_modify(|open| *open += 1);
        }
        let number = self.given;
        let broken = self.source.shared.breaks.load(Ordering::SeqCst) != self.breaks;
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
            self.source.shared.open.send_modify(|open| *open -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use futures::TryStreamExt;

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
