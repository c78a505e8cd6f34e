use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Connector, Error, Fragment, OptionSpec, Result, ScanRequest, Source,
    SourceConfig, Table, TableKind, TableRef,
};
use belvedere_sqlgen::{SqlCapabilities, render};
use futures::{StreamExt, TryStreamExt};

use crate::dialect::PostgresDialect;
use crate::discovery;
use crate::params::Param;
use crate::pool::Pool;
use crate::read::Plan;
use crate::settings::{OPTIONS, Settings};
use crate::split::{Split, whole};

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
        let settings = Arc::new(Settings::new(config)?);
        Ok(Arc::new(PostgresSource {
            pool: Pool::new(settings),
            sizes: RwLock::default(),
        }))
    }
}

#[derive(Debug)]
struct PostgresSource {
    pool: Arc<Pool>,
    /// Of the tables that can be split by pages, as discovery found them.
    sizes: RwLock<HashMap<TableRef, u64>>,
}

#[async_trait]
impl Source for PostgresSource {
    async fn discover(&self) -> Result<Vec<Table>> {
        let tables = discovery::discover(&self.pool, None).await?;
        self.remember(&tables);
        Ok(tables)
    }

    fn remember(&self, tables: &[Table]) {
        let sizes = tables
            .iter()
            .filter(|t| matches!(t.kind, TableKind::Table | TableKind::MaterializedView))
            .filter_map(|t| {
                let table = TableRef {
                    schema: t.schema.clone(),
                    name: t.name.clone(),
                };
                t.size_bytes.map(|bytes| (table, bytes))
            })
            .collect();
        *self.sizes.write().unwrap_or_else(PoisonError::into_inner) = sizes;
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
        let sizes = self.sizes.read().unwrap_or_else(PoisonError::into_inner);
        match sizes.get(table) {
            Some(bytes) if *bytes >= SPLIT_BYTES => {
                let ranges = usize::try_from(bytes / RANGE_BYTES).unwrap_or(usize::MAX);
                ranges.min(self.pool.settings.max_connections)
            }
            _ => 1,
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
}
