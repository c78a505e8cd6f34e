use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Capture, Captured, ChangeStream, Code, Connector, Error, Fragment,
    OptionSpec, Position, Rel, Result, ScanRequest, Snapshot, Source, SourceConfig, Table,
    TableRef, Write, Written,
};
use belvedere_sqlgen::{Rendered, SqlCapabilities, render};

use crate::capture::Capturing;
use crate::dialect::SqliteDialect;
use crate::discovery::{self, Decisions};
use crate::guards;
use crate::pool::Pool;
use crate::scan::Scan;
use crate::shape::SCHEMA;
use crate::split::{ROWS_EACH, Split};
use crate::types;

/// Opens SQLite database files: `sqlite:shop.db`, `sqlite:///data/shop.db`.
#[derive(Debug, Default, Clone, Copy)]
pub struct SqliteConnector;

impl Connector for SqliteConnector {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[
            OptionSpec {
                name: "columns",
                help: "what columns are read as: 'invoice.total: text; visit.day: null; item.price: decimal(12,2)'",
                secret: false,
            },
            OptionSpec {
                name: "max_connections",
                help: "reads of the file at once (4)",
                secret: false,
            },
            OptionSpec {
                name: "busy_timeout_ms",
                help: "how long to wait for another program's lock, in milliseconds (5000)",
                secret: false,
            },
            OptionSpec {
                name: "writable",
                help: "whether INSERT, UPDATE and DELETE are taken (false)",
                secret: false,
            },
            OptionSpec {
                name: "changes",
                help: "how changes are found: 'triggers' writes triggers and a log into the database",
                secret: false,
            },
        ]
    }

    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>> {
        let path = path_of(&config)?;
        let max_connections = config.number("max_connections", 4, 1)?;
        let busy_timeout = config.number("busy_timeout_ms", 5000, 0)?;
        let decisions = Arc::new(types::decisions(&config)?);
        let busy_timeout = Duration::from_millis(busy_timeout as u64);
        let is_writable = config.is_writable()?;
        let capturing = Capturing::new(&config, path.clone(), decisions.clone(), busy_timeout)?;
        Ok(Arc::new(SqliteSource {
            name: config.name,
            pool: Arc::new(Pool::new(path, max_connections, busy_timeout)),
            decisions,
            capturing,
            is_writable,
            // Until the file was looked at, the order of its text is not known.
            dialect: RwLock::new(SqliteDialect { orders_text: false }),
            rows: RwLock::default(),
        }))
    }
}

/// Rows in a batch of a copy.
const COPIED_BATCH_ROWS: usize = 8192;

fn path_of(config: &SourceConfig) -> Result<PathBuf> {
    let rest = config.url.strip_prefix("sqlite:").unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        // The authority of a URL is empty: sqlite:///abs/path.
        Some(path) if path.starts_with('/') => path,
        Some(_) => "",
        None => rest,
    };
    if path.is_empty() || path.contains(['?', '\0']) || path == ":memory:" {
        return Err(Error::new(
            Code::InvalidUrl,
            "the URL of a SQLite file is sqlite:PATH or sqlite:///ABSOLUTE/PATH, without parameters",
        )
        .at_source(&config.name));
    }
    Ok(PathBuf::from(path))
}

#[derive(Debug)]
struct SqliteSource {
    name: String,
    pool: Arc<Pool>,
    decisions: Arc<Decisions>,
    capturing: Capturing,
    is_writable: bool,
    dialect: RwLock<SqliteDialect>,
    /// Of each table, as discovery estimated them.
    rows: RwLock<HashMap<String, u64>>,
}

impl SqliteSource {
    fn dialect(&self) -> SqliteDialect {
        *self.dialect.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn render(&self, fragment: &Fragment) -> Result<Rendered, String> {
        let mut rendered = render(fragment, &self.dialect())?;
        guards::spare(&mut rendered, &fragment.rel);
        Ok(rendered)
    }

    fn prepare(&self, pool: Arc<Pool>, request: ScanRequest) -> Result<Scan> {
        let rendered = self.render(&request.fragment).map_err(|why| {
            Error::internal(format!("a fragment that was not declared: {why}"))
                .at_source(&self.name)
        })?;
        Ok(Scan {
            source: self.name.clone(),
            pool,
            decisions: self.decisions.clone(),
            rendered,
            fragment: request.fragment,
            batch_rows: request.batch_rows.max(1),
            deadline: request.deadline,
        })
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn discover(&self) -> Result<Vec<Table>> {
        let permit = self.pool.permit(None).await?;
        let (pool, decisions) = (self.pool.clone(), self.decisions.clone());
        let discovered = tokio::task::spawn_blocking(move || {
            let mut lease = pool.lease(permit)?;
            discovery::discover(&mut lease, &decisions)
        })
        .await
        .unwrap_or_else(|e| Err(Error::internal("discovery ended early").caused_by(e)));
        let tables = discovered.map_err(|e| e.at_source(&self.name))?;
        self.remember(&tables);
        Ok(tables)
    }

    fn remember(&self, tables: &[Table]) {
        let orders_text = discovery::orders_text(tables);
        *self.dialect.write().unwrap_or_else(PoisonError::into_inner) =
            SqliteDialect { orders_text };
        let rows = |table: &Table| Some((table.name.clone(), table.row_count?));
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) =
            tables.iter().filter_map(rows).collect();
        self.capturing.remember(tables);
    }

    fn default_schema(&self) -> &str {
        SCHEMA
    }

    /// The file, and how its columns are read.
    fn place(&self) -> Option<String> {
        Some(format!("sqlite {:?}", (&self.pool.path, &self.decisions)))
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::new(SqlCapabilities::new(self.dialect()))
    }

    fn max_streams(&self) -> usize {
        self.pool.max_connections
    }

    fn partitions(&self, fragment: &Fragment) -> usize {
        let tables = fragment.rel.tables();
        let [table] = tables[..] else {
            return 1;
        };
        if !fragment.rel.is_row_wise() {
            return 1;
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let parts = rows.get(&table.name).map_or(1, |rows| rows / ROWS_EACH);
        let parts = usize::try_from(parts).unwrap_or(usize::MAX);
        parts.clamp(1, self.pool.max_connections)
    }

    fn describe(&self, fragment: &Fragment) -> String {
        match self.render(fragment) {
            Ok(rendered) => rendered.sql,
            Err(why) => format!("not answered by SQLite: {why}"),
        }
    }

    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>> {
        let scan = self.prepare(self.pool.clone(), request.clone())?;
        if request.partitions <= 1 {
            return Ok(vec![scan.into_stream()]);
        }
        let tables = scan.fragment.rel.tables();
        match tables[..] {
            [table] if scan.fragment.rel.is_row_wise() => {
                let table = table.clone();
                Ok(Split::streams(scan, table, request.partitions))
            }
            _ => Err(Error::internal("only the rows of one table are split").at_source(&self.name)),
        }
    }

    fn is_writable(&self) -> bool {
        self.is_writable
    }

    async fn write(&self, change: Write) -> Result<Written> {
        let written = self.capturing.write(change, self.dialect()).await;
        let rows = written.map_err(|e| e.at_source(&self.name))?;
        // It is written, whether or not it then can be said where the log ends.
        let position = match self.capture() {
            Capture::None(_) => None,
            _ => self.capturing.position().await.ok(),
        };
        Ok(Written { rows, position })
    }

    fn capture(&self) -> Capture {
        self.capturing.capture()
    }

    fn identity(&self, table: &TableRef) -> Option<Vec<String>> {
        self.capturing.identity(table)
    }

    async fn position(&self) -> Result<Position> {
        self.capturing.position().await
    }

    async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        let whole = |captured: &Captured| {
            let (table, schema) = (captured.table.clone(), captured.schema.clone());
            let request = ScanRequest {
                fragment: Arc::new(Fragment::new(Rel::Scan { table, schema })),
                partitions: 1,
                batch_rows: COPIED_BATCH_ROWS,
                deadline: None,
            };
            let scan = self.prepare(self.capturing.pool(), request)?;
            Ok((captured.clone(), scan))
        };
        let scans = tables.iter().map(whole).collect::<Result<_>>()?;
        self.capturing.snapshot(scans).await
    }

    async fn changes(&self, from: &Position, tables: &[Captured]) -> Result<Box<dyn ChangeStream>> {
        self.capturing.changes(from, tables).await
    }

    async fn release(&self) -> Result<()> {
        self.capturing.release().await
    }
}
