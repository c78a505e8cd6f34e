use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use belvedere_conformance::changes::{Changing, Edit};
use belvedere_conformance::{
    Ability, Definition, Feature, Fixture, Native, Refusal, SqlNames, conformance,
};
use belvedere_connector::Connector;
use belvedere_mysql::MysqlConnector;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::Mutex;

#[path = "../../connectors/mysql/tests/support/mod.rs"]
mod support;

use support::Server;

conformance!(Mysql::start());

struct Mysql {
    server: Mutex<Server>,
    host: String,
    port: u16,
    owner: Mutex<Option<Conn>>,
    wrong: tempfile::NamedTempFile,
    /// Connections of writers, by their number.
    writers: Mutex<HashMap<usize, Arc<Mutex<Conn>>>>,
}

const DATABASE: &str = "conformance";

impl Mysql {
    async fn start() -> Self {
        let wrong = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(wrong.path(), "not the password").unwrap();
        let server = Server::start_logging().await;
        let fixture = Self {
            host: server.host.clone(),
            port: server.port,
            server: Mutex::new(server),
            owner: Mutex::new(None),
            wrong,
            writers: Mutex::default(),
        };
        let mut admin = fixture.connect("").await;
        for sql in [
            "DROP DATABASE IF EXISTS conformance",
            "CREATE DATABASE conformance CHARACTER SET utf8mb4",
            "CREATE OR REPLACE USER reader@'%'",
            "CREATE OR REPLACE USER reader@localhost",
            "CREATE OR REPLACE USER follower@'%'",
            "CREATE OR REPLACE USER follower@localhost",
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO follower@'%'",
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO follower@localhost",
            // Who may do nothing in a database may not even connect to it.
            "GRANT SHOW VIEW ON conformance.* TO follower@'%'",
            "GRANT SHOW VIEW ON conformance.* TO follower@localhost",
            "CREATE OR REPLACE USER locked@'%' IDENTIFIED BY 'right'",
            "CREATE OR REPLACE USER locked@localhost IDENTIFIED BY 'right'",
        ] {
            let server = fixture.server.lock().await;
            server.run(&mut admin, sql).await;
        }
        fixture
    }

    async fn connect(&self, database: &str) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some("root"))
            .db_name((!database.is_empty()).then_some(database))
            .prefer_socket(false)
            .init(vec![
                "SET NAMES utf8mb4, sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00'",
            ]);
        Conn::new(options).await.unwrap()
    }

    async fn ask(&self, sql: &str) -> Vec<String> {
        let mut owner = self.owner.lock().await;
        if owner.is_none() {
            *owner = Some(self.connect(DATABASE).await);
        }
        owner
            .as_mut()
            .unwrap()
            .query(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn tables(&self) -> Vec<String> {
        self.ask(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'conformance'",
        )
        .await
    }

    async fn logs(&self) -> Vec<String> {
        let mut conn = self.connect(DATABASE).await;
        let logs: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.unwrap();
        logs.iter().map(|log| log.get(0).unwrap()).collect()
    }

    async fn end_connections(&self) {
        for id in self
            .ask("SELECT id FROM information_schema.processlist WHERE user = 'reader'")
            .await
        {
            self.execute(&format!("KILL {id}")).await;
        }
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@{}:{}/{database}", self.host, self.port)
    }
}

#[async_trait]
impl Fixture for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(MysqlConnector)
    }

    fn definition(&self) -> Definition {
        Definition::new(self.url("reader", DATABASE))
            // The suites run side by side, and leave little of a small machine to each.
            .with("connect_timeout", "60")
    }

    fn writing(&self) -> Result<Definition, &'static str> {
        Ok(Definition::new(self.url("root", DATABASE)).with("writable", "true"))
    }

    async fn clear(&self) {
        // What failed may have left a transaction open, which keeps its tables.
        self.writers.lock().await.clear();
        self.execute("SET foreign_key_checks = 0").await;
        for table in self.tables().await {
            self.remove(&table).await;
        }
        self.execute("SET foreign_key_checks = 1").await;
        for host in ["'%'", "localhost"] {
            self.execute(&format!(
                "REVOKE ALL PRIVILEGES, GRANT OPTION FROM reader@{host}"
            ))
            .await;
            for user in ["reader", "follower"] {
                self.execute(&format!("GRANT SELECT ON conformance.* TO {user}@{host}"))
                    .await;
            }
        }
    }

    async fn execute(&self, sql: &str) {
        let mut owner = self.owner.lock().await;
        if owner.is_none() {
            *owner = Some(self.connect(DATABASE).await);
        }
        let done = owner.as_mut().unwrap().query_drop(sql).await;
        done.unwrap_or_else(|e| panic!("{sql:.300}: {e}"));
    }

    fn sql(&self) -> Option<&dyn SqlNames> {
        Some(self)
    }

    fn reads(&self, data_type: &DataType) -> Option<DataType> {
        Some(data_type.clone())
    }

    fn holds_float(&self, value: f64) -> bool {
        // Whatever way a constant is written, the sign of zero is lost.
        value.is_finite() && !(value == 0.0 && value.is_sign_negative())
    }

    fn natives(&self) -> Vec<Native> {
        let native = |declared, reads, values: &[(&'static str, &'static str)]| Native {
            declared,
            reads,
            values: values.to_vec(),
        };
        vec![
            native(
                "MEDIUMINT",
                DataType::Int32,
                &[("-8388608", "-8388608"), ("8388607", "8388607")],
            ),
            native(
                "MEDIUMINT UNSIGNED",
                DataType::UInt32,
                &[("16777215", "16777215")],
            ),
            native(
                "YEAR",
                DataType::Int16,
                &[("0", "0"), ("1901", "1901"), ("2155", "2155")],
            ),
            native(
                "ENUM('b','a')",
                DataType::Utf8,
                &[("'a'", "a"), ("'b'", "b")],
            ),
            native(
                "SET('x','y')",
                DataType::Utf8,
                &[("''", ""), ("'x,y'", "x,y")],
            ),
            native(
                "BIT(64)",
                DataType::UInt64,
                &[("0", "0"), ("~0", "18446744073709551615")],
            ),
            native(
                "BINARY(3)",
                DataType::Binary,
                &[("x'61'", "610000"), ("x'000000'", "000000")],
            ),
            native(
                "CHAR(5) CHARACTER SET latin1",
                DataType::Utf8,
                &[("'Größe'", "Größe"), ("'a'", "a")],
            ),
            native(
                "JSON",
                DataType::Utf8,
                &[("'{\"a\": [1, null]}'", "{\"a\": [1, null]}")],
            ),
            native(
                "TIME(1)",
                DataType::Time64(TimeUnit::Microsecond),
                &[("'23:59:59.9'", "23:59:59.900")],
            ),
            native(
                "DECIMAL(65,30)",
                DataType::Decimal256(65, 30),
                &[(
                    "12345678901234567890123456789012345.000000000000000000000000000001",
                    "12345678901234567890123456789012345.000000000000000000000000000001",
                )],
            ),
        ]
    }

    fn pushes(&self, feature: Feature) -> bool {
        match feature {
            // The engine vouches for every order itself: a sort stays here, a top-n is sent and sorted again.
            Feature::OrderBy | Feature::TopN => false,
            // A sum of two bigints wraps here and fails there.
            Feature::Arithmetic => false,
            // It has none.
            Feature::FullJoin => false,
            _ => true,
        }
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::ColumnsByCase => Some("its columns' names have no case"),
            _ => None,
        }
    }

    async fn reads_open(&self) -> usize {
        let sql = "SELECT count(*) FROM information_schema.processlist WHERE user = 'reader' AND command <> 'Sleep'";
        self.ask(sql).await[0].parse().unwrap()
    }

    async fn connections(&self) -> Option<usize> {
        let sql = "SELECT count(*) FROM information_schema.processlist WHERE user = 'reader'";
        self.ask(sql).await[0].parse().ok()
    }

    async fn interrupt(&self) {
        let mut server = self.server.lock().await;
        if server.is_own() {
            *self.owner.lock().await = None;
            server.kill();
            server.launch_logging().await;
            return;
        }
        // Somebody else's server: end what it does for us.
        self.end_connections().await;
    }

    async fn forbid(&self, table: &str) {
        let tables = self.tables().await;
        for host in ["'%'", "localhost"] {
            self.execute(&format!(
                "REVOKE SELECT ON conformance.* FROM reader@{host}"
            ))
            .await;
            for other in tables.iter().filter(|t| *t != table) {
                self.execute(&format!(
                    "GRANT SELECT ON conformance.{} TO reader@{host}",
                    self.quoted(other)
                ))
                .await;
            }
        }
        // A connection keeps the rights on a whole database that it began with.
        self.end_connections().await;
    }

    fn changing(&self) -> Result<&dyn Changing, &'static str> {
        Ok(self)
    }

    fn refused(&self, how: Refusal) -> Option<Definition> {
        Some(match how {
            Refusal::WrongPassword => Definition::new(self.url("locked", DATABASE))
                .with("password", &format!("file:{}", self.wrong.path().display())),
            Refusal::UnknownHost => {
                Definition::new("mysql://reader@no-such-host.invalid/conformance")
            }
            Refusal::UnknownPlace => Definition::new(self.url("reader", "no_such_database")),
        })
    }
}

#[async_trait]
impl Changing for Mysql {
    fn definition(&self) -> Definition {
        Definition::new(self.url("follower", DATABASE)).with("connect_timeout", "60")
    }

    async fn create(&self, table: &str, is_keyed: bool) {
        let key = if is_keyed {
            " PRIMARY KEY"
        } else {
            " NOT NULL"
        };
        let table = self.quoted(table);
        self.execute(&format!(
            "CREATE TABLE {table} (id BIGINT{key}, n BIGINT, v LONGTEXT)"
        ))
        .await;
    }

    async fn adopt(&self, _table: &str) {}

    async fn forbid(&self, _table: &str) -> bool {
        // All of them at once: rights on a whole database have no exceptions.
        let rights = "SELECT COUNT(*) > 0 FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE = 'SELECT' AND GRANTEE LIKE '%follower%'";
        if self.ask(rights).await == ["1"] {
            for host in ["'%'", "localhost"] {
                self.execute(&format!(
                    "REVOKE SELECT ON conformance.* FROM follower@{host}"
                ))
                .await;
            }
        }
        // A connection keeps the rights on a whole database that it began with.
        let ids = "SELECT id FROM information_schema.processlist WHERE user = 'follower' AND command = 'Sleep'";
        for id in self.ask(ids).await {
            self.execute(&format!("KILL {id}")).await;
        }
        true
    }

    async fn transact(&self, writer: usize, edits: &[(String, Edit)], commits: bool) {
        let conn = {
            let mut writers = self.writers.lock().await;
            match writers.get(&writer) {
                Some(conn) => conn.clone(),
                None => {
                    let mut conn = self.connect(DATABASE).await;
                    let patience = "SET lock_wait_timeout = 2, innodb_lock_wait_timeout = 2";
                    conn.query_drop(patience).await.unwrap();
                    let conn = Arc::new(Mutex::new(conn));
                    writers.insert(writer, conn.clone());
                    conn
                }
            }
        };
        let mut conn = conn.lock().await;
        let of = |edit: &Edit, table: &str| edit.statements(self, table);
        'again: loop {
            conn.query_drop("BEGIN").await.unwrap();
            for (table, edit) in edits {
                for statement in of(edit, table) {
                    match conn.query_drop(&statement).await {
                        Ok(()) => {}
                        // It was chosen to give way, or waits in a circle of rows and whole tables, which the server does
                        // not see.
                        Err(mysql_async::Error::Server(e)) if [1205, 1213].contains(&e.code) => {
                            conn.query_drop("ROLLBACK").await.unwrap();
                            continue 'again;
                        }
                        Err(e) => panic!("{statement:.300}: {e}"),
                    }
                }
            }
            let end = if commits { "COMMIT" } else { "ROLLBACK" };
            conn.query_drop(end).await.unwrap();
            return;
        }
    }

    async fn cut(&self) {
        for id in self
            .ask("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
            .await
        {
            self.execute(&format!("KILL {id}")).await;
        }
    }

    async fn lose_log(&self, _source: &str) {
        self.cut().await;
        self.execute("FLUSH BINARY LOGS").await;
        let logs = self.logs().await;
        let last = logs.last().unwrap();
        // Its reader has just gone.
        while self.logs().await.len() > 1 {
            self.execute(&format!("PURGE BINARY LOGS TO '{last}'"))
                .await;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn add_column(&self, table: &str) {
        let table = self.quoted(table);
        self.execute(&format!("ALTER TABLE {table} ADD more BIGINT DEFAULT 5"))
            .await;
    }

    async fn drop_column(&self, table: &str) {
        let table = self.quoted(table);
        self.execute(&format!("ALTER TABLE {table} DROP v")).await;
    }
}

impl SqlNames for Mysql {
    fn quoted(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn type_name(&self, data_type: &DataType) -> String {
        use DataType::*;
        match data_type {
            Boolean => "BIT(1)".into(),
            Int8 => "TINYINT".into(),
            UInt8 => "TINYINT UNSIGNED".into(),
            Int16 => "SMALLINT".into(),
            UInt16 => "SMALLINT UNSIGNED".into(),
            Int32 => "INT".into(),
            UInt32 => "INT UNSIGNED".into(),
            UInt64 => "BIGINT UNSIGNED".into(),
            Float32 => "FLOAT".into(),
            Float64 => "DOUBLE".into(),
            Utf8 => "LONGTEXT".into(),
            Binary => "LONGBLOB".into(),
            Date32 => "DATE".into(),
            Time64(_) => "TIME(6)".into(),
            Timestamp(_, None) => "DATETIME(6)".into(),
            Timestamp(_, Some(_)) => "TIMESTAMP(6) NULL".into(),
            Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
            _ => "BIGINT".into(),
        }
    }

    fn text(&self, value: &str) -> String {
        format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
    }

    fn boolean(&self, value: bool) -> String {
        format!("b'{}'", u8::from(value))
    }

    fn moment(&self, _data_type: &DataType, text: &str) -> String {
        // The session's zone is UTC.
        format!("'{}'", text.trim_end_matches("+00:00"))
    }
}
