//! A connector whose streams of changes can be cut: for a system that is in this process, with no connection to break.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
#[cfg(feature = "files")]
use belvedere_connector::Door;
use belvedere_connector::{
    BatchStream, Capabilities, Capture, Captured, ChangeStream, Code, Connector, Error, Fragment,
    OptionSpec, Position, Result, ScanRequest, Snapshot, Source, SourceConfig, Table, TableRef,
    Transaction,
};
use datafusion::arrow::datatypes::FieldRef;
#[cfg(feature = "files")]
use datafusion::catalog::TableProvider;

#[derive(Debug, Clone)]
pub struct Cutting {
    connector: Arc<dyn Connector>,
    cuts: Arc<AtomicU64>,
}

impl Cutting {
    pub fn new(connector: Arc<dyn Connector>) -> Self {
        let cuts = Arc::default();
        Self { connector, cuts }
    }

    /// Streams that are open end.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }
}

impl Connector for Cutting {
    fn name(&self) -> &'static str {
        self.connector.name()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.connector.schemes()
    }

    fn options(&self) -> &'static [OptionSpec] {
        self.connector.options()
    }

    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>> {
        let source = self.connector.open(config)?;
        let cuts = self.cuts.clone();
        Ok(Arc::new(Cuttable { source, cuts }))
    }
}

#[derive(Debug)]
struct Cuttable {
    source: Arc<dyn Source>,
    cuts: Arc<AtomicU64>,
}

#[async_trait]
impl Source for Cuttable {
    async fn discover(&self) -> Result<Vec<Table>> {
        self.source.discover().await
    }

    fn remember(&self, tables: &[Table]) {
        self.source.remember(tables);
    }

    fn default_schema(&self) -> &str {
        self.source.default_schema()
    }

    fn place(&self) -> Option<String> {
        self.source.place()
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        self.source.capabilities()
    }

    fn partitions(&self, fragment: &Fragment) -> usize {
        self.source.partitions(fragment)
    }

    fn max_streams(&self) -> usize {
        self.source.max_streams()
    }

    fn describe(&self, fragment: &Fragment) -> String {
        self.source.describe(fragment)
    }

    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>> {
        self.source.scan(request).await
    }

    fn capture(&self) -> Capture {
        self.source.capture()
    }

    fn identity(&self, table: &TableRef) -> Option<Vec<String>> {
        self.source.identity(table)
    }

    fn hidden(&self, table: &TableRef) -> Vec<FieldRef> {
        self.source.hidden(table)
    }

    fn looks(&self) -> bool {
        self.source.looks()
    }

    async fn position(&self) -> Result<Position> {
        self.source.position().await
    }

    async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        self.source.snapshot(tables).await
    }

    async fn changes(&self, from: &Position, tables: &[Captured]) -> Result<Box<dyn ChangeStream>> {
        let stream = self.source.changes(from, tables).await?;
        Ok(Box::new(CuttableStream {
            stream: Some(stream),
            cuts: self.cuts.clone(),
            seen: self.cuts.load(Ordering::SeqCst),
        }))
    }

    async fn release(&self) -> Result<()> {
        self.source.release().await
    }

    #[cfg(feature = "files")]
    async fn table_provider(
        &self,
        table: &Table,
        door: Arc<dyn Door>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.source.table_provider(table, door).await
    }
}

struct CuttableStream {
    /// None: it was cut.
    stream: Option<Box<dyn ChangeStream>>,
    cuts: Arc<AtomicU64>,
    seen: u64,
}

impl CuttableStream {
    fn open(&mut self) -> Result<&mut Box<dyn ChangeStream>> {
        if self.cuts.load(Ordering::SeqCst) != self.seen {
            self.stream = None;
        }
        let cut = || Error::new(Code::Unreachable, "the stream was cut");
        self.stream.as_mut().ok_or_else(cut)
    }
}

#[async_trait]
impl ChangeStream for CuttableStream {
    async fn next(&mut self) -> Result<Transaction> {
        self.open()?.next().await
    }

    async fn acknowledge(&mut self, position: &Position) -> Result<()> {
        self.open()?.acknowledge(position).await
    }
}
