//! The peer that holds most itself: a PostgreSQL with PostgreSQL's, SQLite's and Parquet's tables as its own, and with
//! MariaDB's as foreign tables of `mysql_fdw`.

use tokio_postgres::{Client, NoTls};
use url::Url;

use crate::systems::data::Table;
use crate::systems::places::fill_postgres;
use crate::systems::places::postgres::Server;

const FOREIGN: [&str; 3] = ["customer", "nation", "region"];

/// As somebody sets up a server whose one task this is.
const OPTIONS: &str = "-c shared_buffers=2GB -c work_mem=256MB -c maintenance_work_mem=512MB \
                       -c effective_cache_size=8GB -c random_page_cost=1.1";

/// Besides the keys.
const INDEXES: [&str; 5] = [
    "CREATE INDEX ON lineitem (l_partkey, l_suppkey)",
    "CREATE INDEX ON lineitem (l_suppkey)",
    "CREATE INDEX ON lineitem (l_shipdate)",
    "CREATE INDEX ON orders (o_orderdate)",
    "CREATE INDEX ON part (p_brand, p_container)",
];

pub struct Warehouse {
    server: Server,
}

impl Warehouse {
    /// Else why there is none: the extension is not installed, say.
    pub async fn start(tables: &[Table], mariadb: &str) -> Result<Self, String> {
        let warehouse = Self {
            server: tokio::task::block_in_place(|| Server::private_with(OPTIONS)),
        };
        let (client, connection) = tokio_postgres::connect(&warehouse.url(), NoTls)
            .await
            .map_err(reason)?;
        tokio::spawn(connection);
        warehouse.foreign(&client, mariadb).await.map_err(reason)?;
        let own = tables.iter().filter(|table| !FOREIGN.contains(&table.name));
        fill_postgres(&warehouse.url(), &own.collect::<Vec<_>>()).await;
        for statement in INDEXES.into_iter().chain(["VACUUM ANALYZE"]) {
            client.batch_execute(statement).await.map_err(reason)?;
        }
        Ok(warehouse)
    }

    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres",
            self.server.port
        )
    }

    async fn foreign(&self, client: &Client, url: &str) -> Result<(), tokio_postgres::Error> {
        let url = Url::parse(url).expect("the URL of a source");
        let (host, port) = (
            url.host_str().unwrap_or_default(),
            url.port().unwrap_or(3306),
        );
        let (user, database) = (url.username(), url.path().trim_start_matches('/'));
        // A hundred rows a fetch, its default, suit no analysis. MariaDB's own estimates make it look customers up one
        // by one: Q5, Q7, Q8 and Q10 took 15 to thousands of times as long with them, the others no less.
        let statements = format!(
            "CREATE EXTENSION mysql_fdw;
             CREATE SERVER maria FOREIGN DATA WRAPPER mysql_fdw
                 OPTIONS (host '{host}', port '{port}', fetch_size '10000', use_remote_estimate 'false');
             CREATE USER MAPPING FOR postgres SERVER maria OPTIONS (username '{user}', password '');
             IMPORT FOREIGN SCHEMA \"{database}\" FROM SERVER maria INTO public;"
        );
        client.batch_execute(&statements).await
    }
}

fn reason(error: tokio_postgres::Error) -> String {
    let server = error.as_db_error().map(|e| e.message().to_string());
    server.unwrap_or_else(|| error.to_string())
}
