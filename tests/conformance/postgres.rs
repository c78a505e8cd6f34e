use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use belvedere_conformance::changes::{Changing, Edit};
use belvedere_conformance::{
    Ability, Definition, Feature, Fixture, Native, Refusal, SqlNames, conformance,
};
use belvedere_connector::Connector;
use belvedere_postgres::PostgresConnector;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Client, NoTls};

#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
mod server;

use server::Server;

conformance!(Postgres::start());

/// A server of its own: it is restarted.
struct Postgres {
    server: Server,
    owner: Mutex<OnceCell<Client>>,
    wrong: tempfile::NamedTempFile,
    /// Connections of writers, by their number.
    writers: Mutex<HashMap<usize, Arc<Client>>>,
}

const DATABASE: &str = "conformance";

impl Postgres {
    async fn start() -> Self {
        let wrong = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(wrong.path(), "not the password").unwrap();
        let fixture = Self {
            server: Server::private(),
            owner: Mutex::default(),
            wrong,
            writers: Mutex::default(),
        };
        let admin = fixture.connect("postgres").await;
        for sql in [
            "CREATE ROLE reader LOGIN",
            "CREATE ROLE locked LOGIN PASSWORD 'right'",
            "CREATE ROLE follower LOGIN REPLICATION",
            "CREATE DATABASE conformance",
            "GRANT CREATE ON DATABASE conformance TO follower",
        ] {
            admin.batch_execute(sql).await.unwrap();
        }
        fixture
    }

    async fn connect(&self, database: &str) -> Client {
        let text = format!(
            "host=127.0.0.1 port={} user=postgres dbname={database}",
            self.server.port
        );
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn ask(&self, sql: &str) -> i64 {
        let owner = self.owner.lock().await;
        let client = owner.get_or_init(|| self.connect(DATABASE)).await;
        client.query_one(sql, &[]).await.unwrap().get(0)
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!(
            "postgres://{user}@127.0.0.1:{}/{database}",
            self.server.port
        )
    }
}

#[async_trait]
impl Fixture for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(PostgresConnector)
    }

    fn definition(&self) -> Definition {
        Definition::new(self.url("reader", DATABASE))
            // The suites run side by side, and leave little of a small machine to each.
            .with("connect_timeout", "60")
    }

    fn writing(&self) -> Result<Definition, &'static str> {
        Ok(Definition::new(self.url("postgres", DATABASE)).with("writable", "true"))
    }

    async fn clear(&self) {
        for sql in [
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active",
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
            "GRANT USAGE ON SCHEMA public TO reader, follower",
            "GRANT CREATE ON SCHEMA public TO follower",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader",
        ] {
            self.execute(sql).await;
        }
    }

    async fn execute(&self, sql: &str) {
        let owner = self.owner.lock().await;
        let client = owner.get_or_init(|| self.connect(DATABASE)).await;
        while let Err(e) = client.batch_execute(sql).await {
            // Rows of the catalog are not waited for: a TRUNCATE beside a REVOKE of the same table.
            let is_race =
                (e.as_db_error()).is_some_and(|e| e.message() == "tuple concurrently updated");
            assert!(is_race, "{sql:.300}: {e:?}");
        }
    }

    fn sql(&self) -> Option<&dyn SqlNames> {
        Some(self)
    }

    fn reads(&self, data_type: &DataType) -> Option<DataType> {
        use DataType::*;
        Some(match data_type {
            Int8 | UInt8 => Int16,
            UInt16 => Int32,
            UInt32 => Int64,
            UInt64 => Decimal128(20, 0),
            other => other.clone(),
        })
    }

    fn natives(&self) -> Vec<Native> {
        let native = |declared, reads, values: &[(&'static str, &'static str)]| Native {
            declared,
            reads,
            values: values.to_vec(),
        };
        let integers = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
        vec![
            native(
                "numeric",
                DataType::Decimal128(38, 20),
                &[
                    ("0", "0.00000000000000000000"),
                    (
                        "123456789012345678.00000000000000000001",
                        "123456789012345678.00000000000000000001",
                    ),
                ],
            ),
            native(
                "varchar(5)",
                DataType::Utf8,
                &[("'a '", "a "), ("'Größe'", "Größe")],
            ),
            native("char(5)", DataType::Utf8, &[("'a'", "a"), ("'ab  '", "ab")]),
            native(
                "uuid",
                DataType::Utf8,
                &[(
                    "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
                    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                )],
            ),
            native(
                "jsonb",
                DataType::Utf8,
                &[(
                    "'{\"b\": [1, null],\"a\":1}'",
                    "{\"a\": 1, \"b\": [1, null]}",
                )],
            ),
            native(
                "inet",
                DataType::Utf8,
                &[("'10.0.0.1/8'", "10.0.0.1/8"), ("'::1'", "::1")],
            ),
            native("money", DataType::Utf8, &[("'12.34'", "$12.34")]),
            native("int4range", DataType::Utf8, &[("'[1,5)'", "[1,5)")]),
            native(
                "oid",
                DataType::Int64,
                &[("0", "0"), ("4294967295", "4294967295")],
            ),
            native(
                "int[]",
                integers,
                &[("'{1,NULL,-3}'", "[1, ∅, -3]"), ("'{}'", "[]")],
            ),
            native(
                "interval",
                DataType::Interval(IntervalUnit::MonthDayNano),
                &[
                    (
                        "'1 year 2 months 3 days 04:05:06.789'",
                        "14 mons 3 days 4 hours 5 mins 6.789000000 secs",
                    ),
                    ("'-1 day'", "-1 days"),
                ],
            ),
            native(
                "timestamp(0)",
                DataType::Timestamp(TimeUnit::Microsecond, None),
                &[("'2024-02-29 12:34:56'", "2024-02-29T12:34:56")],
            ),
        ]
    }

    fn pushes(&self, feature: Feature) -> bool {
        match feature {
            // The engine vouches for every order itself: a sort stays here, a top-n is sent and sorted again.
            Feature::OrderBy | Feature::TopN => false,
            // A sum of two bigints wraps here and fails there.
            Feature::Arithmetic => false,
            _ => true,
        }
    }

    fn lacks(&self, _ability: Ability) -> Option<&'static str> {
        None
    }

    async fn reads_open(&self) -> usize {
        self.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' AND state <> 'idle'",
        )
        .await as usize
    }

    async fn connections(&self) -> Option<usize> {
        Some(
            self.ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'")
                .await as usize,
        )
    }

    async fn interrupt(&self) {
        let mut owner = self.owner.lock().await;
        tokio::task::block_in_place(|| self.server.restart());
        *owner = OnceCell::new();
    }

    async fn forbid(&self, table: &str) {
        self.execute(&format!(
            "REVOKE SELECT ON {} FROM reader",
            self.quoted(table)
        ))
        .await;
    }

    fn changing(&self) -> Result<&dyn Changing, &'static str> {
        Ok(self)
    }

    fn refused(&self, how: Refusal) -> Option<Definition> {
        Some(match how {
            Refusal::WrongPassword => Definition::new(self.url("locked", DATABASE))
                .with("password", &format!("file:{}", self.wrong.path().display())),
            Refusal::UnknownHost => {
                Definition::new("postgres://reader@no-such-host.invalid/conformance")
            }
            Refusal::UnknownPlace => Definition::new(self.url("reader", "no_such_database")),
        })
    }
}

#[async_trait]
impl Changing for Postgres {
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
            "CREATE TABLE {table} (id bigint{key}, n bigint, v text)"
        ))
        .await;
        // As they are, or what is large by its repetition is small.
        self.execute(&format!("ALTER TABLE {table} ALTER v SET STORAGE EXTERNAL"))
            .await;
        self.execute(&format!("ALTER TABLE {table} OWNER TO follower"))
            .await;
        if !is_keyed {
            self.execute(&format!("ALTER TABLE {table} REPLICA IDENTITY FULL"))
                .await;
        }
    }

    async fn adopt(&self, table: &str) {
        let table = self.quoted(table);
        self.execute(&format!("ALTER TABLE {table} OWNER TO follower"))
            .await;
        self.execute(&format!("ALTER TABLE {table} REPLICA IDENTITY FULL"))
            .await;
    }

    async fn forbid(&self, table: &str) -> bool {
        let table = self.quoted(table);
        self.execute(&format!("REVOKE ALL ON {table} FROM follower"))
            .await;
        true
    }

    async fn transact(&self, writer: usize, edits: &[(String, Edit)], commits: bool) {
        let client = {
            let mut writers = self.writers.lock().await;
            match writers.get(&writer) {
                Some(client) if !client.is_closed() => client.clone(),
                _ => {
                    let client = Arc::new(self.connect(DATABASE).await);
                    writers.insert(writer, client.clone());
                    client
                }
            }
        };
        let mut statements = vec!["BEGIN".to_string()];
        for (table, edit) in edits {
            statements.extend(edit.statements(self, table));
        }
        statements.push(if commits { "COMMIT" } else { "ROLLBACK" }.to_string());
        client.batch_execute(&statements.join("; ")).await.unwrap();
    }

    async fn cut(&self) {
        self.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL AND NOT temporary").await;
    }

    async fn lose_log(&self, source: &str) {
        let slot = format!("belvedere_{source}");
        // Its reader has just gone.
        while self
            .ask(&format!(
                "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active"
            ))
            .await
            > 0
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        self.execute(&format!("SELECT pg_drop_replication_slot('{slot}')"))
            .await;
    }

    async fn add_column(&self, table: &str) {
        let table = self.quoted(table);
        self.execute(&format!("ALTER TABLE {table} ADD more bigint DEFAULT 5"))
            .await;
    }

    async fn drop_column(&self, table: &str) {
        let table = self.quoted(table);
        self.execute(&format!("ALTER TABLE {table} DROP v")).await;
    }
}

impl SqlNames for Postgres {
    fn type_name(&self, data_type: &DataType) -> String {
        use DataType::*;
        match data_type {
            Boolean => "boolean".into(),
            Int8 | UInt8 | Int16 => "smallint".into(),
            Int32 | UInt16 => "integer".into(),
            UInt64 => "numeric(20,0)".into(),
            Float32 => "real".into(),
            Float64 => "double precision".into(),
            Utf8 => "text".into(),
            Binary => "bytea".into(),
            Date32 => "date".into(),
            Time64(_) => "time".into(),
            Timestamp(_, None) => "timestamp".into(),
            Timestamp(_, Some(_)) => "timestamptz".into(),
            Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
            _ => "bigint".into(),
        }
    }

    fn binary(&self, value: &[u8]) -> String {
        let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("'\\x{digits}'")
    }

    fn float(&self, value: f64) -> String {
        // Quoted, or the sign of zero is lost on the way through numeric.
        match value.is_infinite() {
            true => format!("'{}Infinity'", if value > 0.0 { "" } else { "-" }),
            false => format!("'{value:e}'"),
        }
    }
}
