//! The real systems, each with its column types.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;
use tokio_postgres::NoTls;

use crate::world::{Kind, Native, Values};

#[path = "../../connectors/mysql/tests/support/mod.rs"]
mod mysql_support;
#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
mod postgres_server;

/// A system that holds tables.
#[async_trait]
pub trait System: Send + Sync {
    fn name(&self) -> &'static str;

    fn natives(&self) -> Vec<Native>;

    /// A text constant.
    fn text(&self) -> fn(&str) -> String {
        |text| format!("'{}'", text.replace('\'', "''"))
    }

    /// Of the database.
    fn url(&self) -> String;

    /// Remove all tables.
    async fn clear(&self);

    async fn execute(&self, statements: &[String]);
}

pub const fn native(
    declared: &'static str,
    kind: Kind,
    constants: &'static [&'static str],
) -> Native {
    Native {
        declared,
        kind,
        values: Values::Sql(constants),
    }
}

pub const fn text(declared: &'static str, values: Values) -> Native {
    Native {
        declared,
        kind: Kind::Text,
        values,
    }
}

const INT32: &[&str] = &["1", "0", "2", "-1", "7", "2147483647", "-2147483648"];
const INT64: &[&str] = &[
    "1",
    "0",
    "2",
    "-1",
    "9223372036854775807",
    "-9223372036854775807",
    "9007199254740993",
];
const CENTS: &[&str] = &[
    "1.00",
    "0",
    "0.10",
    "-0.01",
    "12.30",
    "99999999.99",
    "-99999999.99",
    "2.50",
];
const DATES: &[&str] = &[
    "'2024-02-29'",
    "'1970-01-01'",
    "'2024-03-01'",
    "'1969-12-31'",
    "'0001-01-01'",
    "'9999-12-31'",
    "'1582-10-10'",
];
const TIMES: &[&str] = &[
    "'00:00:00'",
    "'12:34:56'",
    "'23:59:59.999999'",
    "'12:34:56.5'",
];
const TIMESTAMPS: &[&str] = &[
    "'2024-02-29 12:34:56'",
    "'1970-01-01 00:00:00'",
    "'2024-02-29 00:00:00'",
    "'1969-12-31 23:59:59.999999'",
    "'2024-02-29 12:34:56.789012'",
    "'1000-01-01 00:00:00'",
    "'9999-12-31 23:59:59.999999'",
    "'2024-12-30 00:00:00'",
];
const BYTES: &[&str] = &["X'61'", "X''", "X'00'", "X'ff00'", "X'6120'", "X'41'"];

pub struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    pub fn start() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn owner(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("oracle.db")).unwrap()
    }
}

#[async_trait]
impl System for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn natives(&self) -> Vec<Native> {
        vec![
            native("INTEGER", Kind::Int, INT64),
            text("TEXT", Values::Text),
            text("TEXT COLLATE NOCASE", Values::Text),
            text("VARCHAR(20) COLLATE RTRIM", Values::Text),
            native("INT", Kind::Int, INT32),
            native(
                "DECIMAL(10, 2)",
                Kind::Decimal,
                &[
                    "1",
                    "0",
                    "0.1",
                    "-0.01",
                    "12.3",
                    "99999999.99",
                    "0.125",
                    "-2.5",
                ],
            ),
            native(
                "DOUBLE",
                Kind::Float,
                &[
                    "1", "0", "0.5", "-1.5", "9e999", "-9e999", "1e308", "5e-324", "0.1",
                ],
            ),
            native("BOOLEAN", Kind::Boolean, &["1", "0"]),
            native("DATE", Kind::Date, DATES),
            native(
                "TIMESTAMP",
                Kind::Timestamp,
                &[
                    "'2024-02-29 12:34:56'",
                    "'1970-01-01'",
                    "'2024-02-29T12:34:56.000'",
                    "'2024-02-29'",
                    "'1969-12-31 23:59:59.999999'",
                    "'0001-01-01 00:00:00'",
                    "'2024-02-29T12:34'",
                ],
            ),
            native("TIME", Kind::Time, TIMES),
            native("BLOB", Kind::Binary, BYTES),
        ]
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("oracle.db").display())
    }

    async fn clear(&self) {
        let tables: Vec<String> = self
            .owner()
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .unwrap()
            .query_map((), |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let drops: Vec<_> = tables
            .iter()
            .map(|table| format!("DROP TABLE {table}"))
            .collect();
        self.execute(&drops).await;
    }

    async fn execute(&self, statements: &[String]) {
        let owner = self.owner();
        owner
            .busy_timeout(std::time::Duration::from_secs(20))
            .unwrap();
        for statement in statements {
            owner
                .execute_batch(statement)
                .unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
    }
}

pub struct Postgres {
    server: Arc<postgres_server::Server>,
    database: String,
    owner: tokio_postgres::Client,
}

impl Postgres {
    pub async fn start() -> Self {
        Self::on(Arc::new(postgres_server::Server::private()), "postgres").await
    }

    async fn on(server: Arc<postgres_server::Server>, database: &str) -> Self {
        let owner = owner(&server, database).await;
        Self {
            server,
            database: database.into(),
            owner,
        }
    }

    /// One column of text, as lines.
    pub async fn ask(&self, query: &str) -> String {
        let rows = self.owner.query(query, &[]).await;
        let rows = rows.unwrap_or_else(|e| panic!("{query}: {e:?}"));
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        lines.join("\n")
    }
}

async fn owner(server: &postgres_server::Server, database: &str) -> tokio_postgres::Client {
    let text = format!(
        "host=127.0.0.1 port={} user=postgres dbname={database}",
        server.port
    );
    let (owner, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    tokio::spawn(connection);
    owner
}

#[async_trait]
impl System for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn natives(&self) -> Vec<Native> {
        const FLOATS: &[&str] = &[
            "1",
            "'0'",
            "'-0'",
            "'NaN'",
            "0.5",
            "'Infinity'",
            "'-Infinity'",
            "-1.5",
            "0.1",
            "3e38",
        ];
        vec![
            native("integer", Kind::Int, INT32),
            text("text", Values::Text),
            text("text COLLATE \"C\"", Values::Text),
            text("text COLLATE \"en-x-icu\"", Values::Text),
            text("text COLLATE nocase", Values::Text),
            text("varchar(20)", Values::Text),
            text("char(12)", Values::Text),
            native("bigint", Kind::Int, INT64),
            native(
                "smallint",
                Kind::Int,
                &["1", "0", "-1", "2", "32767", "-32768"],
            ),
            native("numeric(10,2)", Kind::Decimal, CENTS),
            native(
                "numeric(38,6)",
                Kind::Decimal,
                &[
                    "1",
                    "0",
                    "-0.000001",
                    "99999999999999999999999999999999.999999",
                ],
            ),
            native(
                "numeric",
                Kind::Decimal,
                &["1", "0", "0.1", "123456789012345678.00000000000000000001"],
            ),
            native("double precision", Kind::Float, FLOATS),
            native("real", Kind::Float, FLOATS),
            native("boolean", Kind::Boolean, &["true", "false"]),
            native("date", Kind::Date, DATES),
            native("timestamp", Kind::Timestamp, TIMESTAMPS),
            native("timestamptz", Kind::Timestamp, TIMESTAMPS),
            native("time", Kind::Time, TIMES),
            native(
                "bytea",
                Kind::Binary,
                &["'\\x61'", "''", "'\\x00'", "'\\xff00'", "'\\x6120'"],
            ),
            native("mood", Kind::Text, &["'z'", "'a'", "'A'", "''"]),
        ]
    }

    fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{}",
            self.server.port, self.database
        )
    }

    async fn clear(&self) {
        let statements = [
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
            "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
            "CREATE TYPE mood AS ENUM ('z', 'a', 'A', '')",
        ];
        self.execute(&statements.map(String::from)).await;
    }

    async fn execute(&self, statements: &[String]) {
        for statement in statements {
            self.owner
                .batch_execute(statement)
                .await
                .unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
    }
}

pub struct Mysql {
    server: Arc<mysql_support::Server>,
    database: String,
}

impl Mysql {
    pub async fn start() -> Self {
        Self {
            server: Arc::new(mysql_support::Server::start().await),
            database: "oracle".into(),
        }
    }
}

#[async_trait]
impl System for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn natives(&self) -> Vec<Native> {
        vec![
            native("INT", Kind::Int, INT32),
            text("VARCHAR(20) COLLATE utf8mb4_general_ci", Values::Text),
            text("VARCHAR(20) COLLATE utf8mb4_bin", Values::Text),
            text("VARCHAR(20) COLLATE utf8mb4_nopad_bin", Values::Text),
            text(
                "VARCHAR(20) COLLATE utf8mb4_unicode_520_nopad_ci",
                Values::Text,
            ),
            text("VARCHAR(20) CHARACTER SET latin1", Values::Latin1),
            text("CHAR(12) COLLATE utf8mb4_unicode_ci", Values::Unpadded),
            text("TEXT COLLATE utf8mb4_general_ci", Values::Text),
            native("BIGINT", Kind::Int, INT64),
            native("TINYINT", Kind::Int, &["1", "0", "-1", "127", "-128"]),
            native("SMALLINT UNSIGNED", Kind::Int, &["1", "0", "2", "65535"]),
            native(
                "BIGINT UNSIGNED",
                Kind::Int,
                &["1", "0", "2", "9223372036854775808", "18446744073709551615"],
            ),
            native("DECIMAL(10,2)", Kind::Decimal, CENTS),
            native(
                "DECIMAL(30,6)",
                Kind::Decimal,
                &["1", "0", "-0.000001", "999999999999999999999999.999999"],
            ),
            native(
                "DOUBLE",
                Kind::Float,
                &[
                    "1", "0", "0.5", "-0e0", "-1.5", "1e308", "5e-324", "0.1", "-0.0e0",
                ],
            ),
            native(
                "FLOAT",
                Kind::Float,
                &["1", "0", "0.5", "0.1", "-1.5", "3e38", "16777217"],
            ),
            native("BIT(1)", Kind::Boolean, &["b'1'", "b'0'"]),
            native("DATE", Kind::Date, DATES),
            native("DATETIME(6)", Kind::Timestamp, TIMESTAMPS),
            native(
                "DATETIME",
                Kind::Timestamp,
                &[
                    "'2024-02-29 12:34:56'",
                    "'1970-01-01'",
                    "'9999-12-31 23:59:59'",
                ],
            ),
            native(
                "TIMESTAMP(6) NULL",
                Kind::Timestamp,
                &[
                    "'2024-02-29 12:34:56'",
                    "'1970-01-01 00:00:01'",
                    "'2038-01-01'",
                ],
            ),
            native("TIME(6)", Kind::Time, TIMES),
            native("VARBINARY(9)", Kind::Binary, BYTES),
            native(
                "ENUM('z','a','b','')",
                Kind::Text,
                &["'z'", "'a'", "'b'", "''"],
            ),
            native("YEAR", Kind::Int, &["2024", "0", "1901", "2155"]),
        ]
    }

    fn text(&self) -> fn(&str) -> String {
        |text| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    }

    fn url(&self) -> String {
        format!(
            "mysql://root@{}:{}/{}",
            self.server.host, self.server.port, self.database
        )
    }

    async fn clear(&self) {
        self.server.database(&self.database, &[]).await;
    }

    async fn execute(&self, statements: &[String]) {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname(self.server.host.clone())
            .tcp_port(self.server.port)
            .user(Some("root"))
            .db_name(Some(&self.database))
            .prefer_socket(false)
            .init(vec![
                "SET NAMES utf8mb4, sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00'",
            ]);
        let mut owner = mysql_async::Conn::new(options).await.unwrap();
        for statement in statements {
            owner
                .query_drop(statement)
                .await
                .unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
        owner.disconnect().await.unwrap();
    }
}

/// A file of its own.
pub async fn sqlite(_name: &str) -> Sqlite {
    Sqlite::start()
}

/// A new database of this name, in the server that tests running at the same time share.
pub async fn postgres(name: &str) -> Postgres {
    let server = postgres_server::Server::shared();
    let database = unique(name);
    let postgres = owner(&server, "postgres").await;
    let create = format!("CREATE DATABASE {database}");
    // The template may be in use by another that is created.
    let mut created = postgres.batch_execute(&create).await;
    while created
        .as_ref()
        .is_err_and(|e| e.code().is_some_and(|code| code.code() == "55006"))
    {
        created = postgres.batch_execute(&create).await;
    }
    created.unwrap();
    Postgres::on(server, &database).await
}

/// A new database of this name, in the server that tests running at the same time share.
pub async fn mysql(name: &str) -> Mysql {
    static SHARED: LazyLock<Mutex<Weak<mysql_support::Server>>> = LazyLock::new(Mutex::default);
    let mut shared = SHARED.lock().await;
    let server = match shared.upgrade() {
        Some(server) => server,
        None => Arc::new(mysql_support::Server::start().await),
    };
    *shared = Arc::downgrade(&server);
    let database = unique(name);
    server.database(&database, &[]).await;
    Mysql { server, database }
}

/// Traps of several modules may have one name.
fn unique(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
