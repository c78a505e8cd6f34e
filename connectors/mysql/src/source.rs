use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Code, Error, Fragment, Result, ScanRequest, Source, SourceConfig,
    Table,
};
use belvedere_sqlgen::{Rendered, SqlCapabilities, render};

use crate::dialect::MysqlDialect;
use crate::discover;
use crate::error::{client_error, is_dead_connection};
use crate::pool::{Lease, Pool};
use crate::read::{Reading, Render};
use crate::session::Flavor;
use crate::settings::Settings;

/// How long reading the schema may take.
const DISCOVERY: Duration = Duration::from_secs(60);

/// A MariaDB or MySQL server, as seen from one of its databases.
#[derive(Debug)]
pub(crate) struct MysqlSource {
    settings: Arc<Settings>,
    pool: Arc<Pool>,
}

impl MysqlSource {
    pub fn open(config: &SourceConfig) -> Result<Self> {
        let settings = Arc::new(Settings::parse(config)?);
        Ok(Self {
            pool: Pool::new(settings.clone()),
            settings,
        })
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
                    lease.give_back();
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

    /// Nothing is needed of them: a scan brings its schema.
    fn remember(&self, _tables: &[Table]) {}

    fn default_schema(&self) -> &str {
        &self.settings.database
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::new(SqlCapabilities::new(MysqlDialect {
            flavor: self.pool.flavor(),
        }))
    }

    fn max_streams(&self) -> usize {
        self.settings.max_connections
    }

    fn partitions(&self, _fragment: &Fragment) -> usize {
        1
    }

    fn describe(&self, fragment: &Fragment) -> String {
        let flavor = self.pool.flavor();
        match render(fragment, &MysqlDialect { flavor }) {
            Ok(rendered) => rendered.sql,
            Err(why) => format!("not sent: {why}"),
        }
    }

    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>> {
        if request.partitions != 1 {
            return Err(Error::internal(format!(
                "{} partitions were asked for, there is 1",
                request.partitions
            ))
            .at_source(&self.settings.source));
        }
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
        Ok(vec![reading.stream()])
    }
}
