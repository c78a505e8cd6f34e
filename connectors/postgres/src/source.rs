use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Capture, Captured, ChangeStream, Connector, Error, Fragment, Lag,
    OptionSpec, Position, Result, ScanRequest, Snapshot, Source, SourceConfig, Table, TableKind,
    TableRef, Write, Written,
};
use belvedere_sqlgen::{SqlCapabilities, render};
use futures::{StreamExt, TryStreamExt};

use crate::capture::Capturing;
use crate::dialect::PostgresDialect;
use crate::discovery;
use crate::params::Param;
use crate::pool::Pool;
use crate::read::Plan;
use crate::settings::{OPTIONS, Settings};
use crate::split::{Split, whole};
use crate::write::write;

/// A table below it is read by one connection.
const SPLIT_BYTES: u64 = 32 << 20;
/// What a range should have at least.
const RANGE_BYTES: u64 = 16 << 20;

/// PostgreSQL 15 to 18.
#[derive(Debug, Clone, Copy, Default)]
pub struct PostgresConnector;

impl Connector for PostgresConnector {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["postgres", "postgresql"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>> {
        let settings = Settings::new(config)?;
        let most = settings.max_connections;
        let pool = Pool::new(Arc::new(settings), most);
        Ok(Arc::new(PostgresSource {
            capturing: Capturing::new(pool.clone()),
            pool,
            known: RwLock::default(),
        }))
    }
}

#[derive(Debug)]
struct PostgresSource {
    pool: Arc<Pool>,
    capturing: Capturing,
    known: RwLock<Known>,
}

/// Of tables, as discovery found them.
#[derive(Debug, Default)]
struct Known {
    /// Of those that can be split by pages.
    sizes: HashMap<TableRef, u64>,
    primary_keys: HashMap<TableRef, Vec<String>>,
}

/// By how many connections a table of this size is read.
pub fn ranges(bytes: u64, settings: &Settings) -> usize {
    match bytes {
        SPLIT_BYTES.. => {
            let ranges = usize::try_from(bytes / RANGE_BYTES).unwrap_or(usize::MAX);
            ranges.min(settings.max_connections)
        }
        _ => 1,
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn discover(&self) -> Result<Vec<Table>> {
        let tables = discovery::discover(&self.pool, None).await?;
        self.capturing.discover().await?;
        self.remember(&tables);
        Ok(tables)
    }

    fn remember(&self, tables: &[Table]) {
        let mut known = Known::default();
        for table in tables {
            let name = TableRef {
                schema: table.schema.clone(),
                name: table.name.clone(),
            };
            if matches!(table.kind, TableKind::Table | TableKind::MaterializedView)
                && let Some(bytes) = table.size_bytes
            {
                known.sizes.insert(name.clone(), bytes);
            }
            if !table.primary_key.is_empty() {
                known.primary_keys.insert(name, table.primary_key.clone());
            }
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn default_schema(&self) -> &str {
        "public"
    }

    /// A statement reaches one database, and all of its schemas, whichever a source shows.
    fn place(&self) -> Option<String> {
        Some(self.pool.settings.place())
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::new(SqlCapabilities::new(PostgresDialect))
    }

    fn max_streams(&self) -> usize {
        self.pool.settings.max_connections
    }

    fn partitions(&self, fragment: &Fragment) -> usize {
        let tables = fragment.rel.tables();
        let [table] = tables[..] else {
            return 1;
        };
        // One row is found by its key, in one place.
        if !fragment.rel.is_row_wise() || fragment.rel.names_one_row() {
            return 1;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.sizes.get(table) {
            Some(bytes) => ranges(*bytes, &self.pool.settings),
            None => 1,
        }
    }

    fn describe(&self, fragment: &Fragment) -> String {
        match render(fragment, &PostgresDialect) {
            Ok(rendered) => rendered.sql,
            Err(why) => format!("not sent: {why}"),
        }
    }

    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>> {
        let source = &self.pool.settings.source;
        let rendered = render(&request.fragment, &PostgresDialect)
            .map_err(|why| Error::internal(why).at_source(source))?;
        let tables = request.fragment.rel.tables();
        let table = match tables[..] {
            [table] => Some(table.clone()),
            _ => None,
        };
        let plan = Arc::new(Plan {
            schema: request.fragment.schema(),
            params: rendered.params.into_iter().map(Param::new).collect(),
            batch_rows: request.batch_rows,
            deadline: request.deadline,
            by_key: request.fragment.rel.reads_by_key(),
            table: table.as_ref().map(|t| match t.schema.as_str() {
                "public" => t.name.clone(),
                _ => t.to_string(),
            }),
        });
        if request.partitions <= 1 {
            let opened = whole(self.pool.clone(), plan, rendered.sql);
            return Ok(vec![futures::stream::once(opened).try_flatten().boxed()]);
        }
        let Some(table) = table.filter(|_| request.fragment.rel.is_row_wise()) else {
            return Err(Error::internal("only the rows of one table are split").at_source(source));
        };
        let split = Split::new(
            self.pool.clone(),
            plan,
            table,
            rendered.query,
            request.partitions,
        );
        Ok((0..request.partitions)
            .map(|range| {
                futures::stream::once(split.clone().read(range))
                    .try_flatten()
                    .boxed()
            })
            .collect())
    }

    fn is_writable(&self) -> bool {
        self.pool.settings.is_writable
    }

    async fn write(&self, change: Write) -> Result<Written> {
        let source = &self.pool.settings.source;
        let written = write(&self.pool, change).await;
        let rows = written.map_err(|e| e.at_source(source))?;
        // It is written, whether or not the server then says where its log stands.
        let position = match self.capture() {
            Capture::None(_) => None,
            _ => self.capturing.position().await.ok(),
        };
        Ok(Written { rows, position })
    }

    fn capture(&self) -> Capture {
        self.capturing.capture()
    }

    /// Before discovery, the primary key: what most tables have.
    fn identity(&self, table: &TableRef) -> Option<Vec<String>> {
        self.capturing.identity(table).unwrap_or_else(|| {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.primary_keys.get(table).cloned()
        })
    }

    async fn position(&self) -> Result<Position> {
        self.capturing.position().await
    }

    async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        self.capturing.snapshot(tables).await
    }

    async fn changes(&self, from: &Position, tables: &[Captured]) -> Result<Box<dyn ChangeStream>> {
        self.capturing.changes(from, tables).await
    }

    async fn lag(&self) -> Result<Option<Lag>> {
        self.capturing.lag().await
    }

    async fn release(&self) -> Result<()> {
        self.capturing.release().await
    }
}
