use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Capture, Captured, ChangeStream, Code, Error, Fragment, Lag,
    Position, Result, ScanRequest, Snapshot, Source, SourceConfig, Table, TableRef, Write, Written,
};
use belvedere_sqlgen::{Rendered, SqlCapabilities, render};
use futures::{StreamExt, stream};

use crate::capture::Capturing;
use crate::collation::MysqlCapabilities;
use crate::dialect::MysqlDialect;
use crate::discover;
use crate::error::{client_error, is_dead_connection};
use crate::layout::Layout;
use crate::pool::{Lease, Pool};
use crate::read::{Reading, Render};
use crate::session::Flavor;
use crate::settings::Settings;
use crate::split::Split;
use crate::write::write;

/// How long reading the schema may take.
const DISCOVERY: Duration = Duration::from_secs(60);

/// A MariaDB or MySQL server, as seen from one of its databases.
#[derive(Debug)]
pub(crate) struct MysqlSource {
    settings: Arc<Settings>,
    pool: Arc<Pool>,
    capturing: Capturing,
    /// Of the tables that can be read in ranges, as discovery found them.
    layouts: RwLock<HashMap<TableRef, Layout>>,
}

impl MysqlSource {
    pub fn open(config: &SourceConfig) -> Result<Self> {
        let settings = Arc::new(Settings::parse(config)?);
        let pool = Pool::new(settings.clone(), settings.max_connections);
        Ok(Self {
            capturing: Capturing::new(pool.clone(), settings.clone()),
            pool,
            settings,
            layouts: RwLock::default(),
        })
    }

    /// The fragment's table, if it is one, and how it can be read in ranges.
    fn layout(&self, fragment: &Fragment) -> Option<(TableRef, Layout)> {
        let tables = fragment.rel.tables();
        let [table] = tables[..] else {
            return None;
        };
        let layouts = self.layouts.read().unwrap_or_else(PoisonError::into_inner);
        Some((table.clone(), layouts.get(table)?.clone()))
    }

    /// Read the schema. On an error the connection is closed, if it may be broken.
    async fn read_schema(&self, lease: &mut Lease) -> Result<mysql_async::Result<Vec<Table>>> {
        let reading = discover::discover(&mut lease.conn, &self.settings);
        tokio::time::timeout(DISCOVERY, reading).await.map_err(|_| {
            Error::new(
                Code::Timeout,
                format!(
                    "reading the schema took longer than {} s",
                    DISCOVERY.as_secs()
                ),
            )
            .at_source(&self.settings.source)
        })
    }
}

#[async_trait]
impl Source for MysqlSource {
    async fn discover(&self) -> Result<Vec<Table>> {
        let deadline = Some(Instant::now() + DISCOVERY);
        let mut fresh = false;
        loop {
            let mut lease = self.pool.lease(deadline, fresh).await?;
            match self.read_schema(&mut lease).await {
                Ok(Ok(tables)) => {
                    lease.give_back().await;
                    self.remember(&tables);
                    self.pool.try_again();
                    self.capturing.discover().await?;
                    return Ok(tables);
                }
                Ok(Err(error)) => {
                    let again = lease.reused && is_dead_connection(&error);
                    lease.discard(false).await;
                    if !again {
                        return Err(client_error(error, &self.settings));
                    }
                    fresh = true;
                }
                Err(timeout) => {
                    lease.discard(true).await;
                    return Err(timeout);
                }
            }
        }
    }

    fn remember(&self, tables: &[Table]) {
        let layout = |table: &Table| {
            let reference = TableRef {
                schema: table.schema.clone(),
                name: table.name.clone(),
            };
            Some((reference, Layout::of(table)?))
        };
        let layouts = tables.iter().filter_map(layout).collect();
        *self.layouts.write().unwrap_or_else(PoisonError::into_inner) = layouts;
    }

    fn default_schema(&self) -> &str {
        &self.settings.database
    }

    /// Every database of the server is a schema of each: whatever database their URLs name.
    fn place(&self) -> Option<String> {
        Some(self.settings.place())
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::new(MysqlCapabilities(SqlCapabilities::new(MysqlDialect {
            flavor: self.pool.flavor(),
        })))
    }

    fn max_streams(&self) -> usize {
        self.settings.max_connections
    }

    fn partitions(&self, fragment: &Fragment) -> usize {
        if !self.pool.shares() || !fragment.rel.is_row_wise() {
            return 1;
        }
        let ranges = self
            .layout(fragment)
            .map_or(1, |(_, layout)| layout.ranges(&fragment.rel));
        ranges.clamp(1, self.settings.max_connections)
    }

    fn describe(&self, fragment: &Fragment) -> String {
        let flavor = self.pool.flavor();
        match render(fragment, &MysqlDialect { flavor }) {
            Ok(rendered) => rendered.sql,
            Err(why) => format!("not sent: {why}"),
        }
    }

    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>> {
        let source = self.settings.source.clone();
        let render: Arc<Render> = Arc::new(move |flavor: Flavor, fragment: &Fragment| {
            let dialect = MysqlDialect {
                flavor: Some(flavor),
            };
            render(fragment, &dialect).map_err(|why| {
                Error::internal(format!("the fragment cannot be sent: {why}")).at_source(&source)
            }) as Result<Rendered>
        });
        let reading = Reading {
            pool: self.pool.clone(),
            settings: self.settings.clone(),
            fragment: request.fragment,
            render,
            batch_rows: request.batch_rows.max(1),
            deadline: request.deadline,
        };
        let partitions = request.partitions;
        if partitions > 1 && !reading.fragment.rel.is_row_wise() {
            return Err(Error::internal("only the rows of one table are split")
                .at_source(&self.settings.source));
        }
        match self.layout(&reading.fragment) {
            Some((table, layout)) if partitions > 1 => {
                Ok(Split::streams(reading, table, layout.key, partitions))
            }
            // Discovery has found another table than the one that was planned with.
            _ => {
                let mut streams = vec![reading.stream()];
                streams.resize_with(partitions.max(1), || stream::empty().boxed());
                Ok(streams)
            }
        }
    }

    fn is_writable(&self) -> bool {
        self.settings.is_writable
    }

    async fn write(&self, change: Write) -> Result<Written> {
        let written = write(&self.pool, &self.settings, change).await;
        let rows = written.map_err(|e| e.at_source(&self.settings.source))?;
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
}
