use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use belvedere_conformance::changes::{Changing, Edit};
use belvedere_conformance::{
    Ability, Definition, Feature, Fixture, Native, Refusal, SqlNames, conformance,
};
use belvedere_connector::Connector;
use belvedere_sqlite::SqliteConnector;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use rusqlite::Connection;

use super::cut::Cutting;

conformance!(Sqlite::start());

struct Sqlite {
    folder: tempfile::TempDir,
    owner: Mutex<Connection>,
    /// By number.
    writers: Mutex<HashMap<usize, Arc<Mutex<Connection>>>>,
    cutting: Cutting,
}

impl Sqlite {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = Connection::open(folder.path().join("lab.db")).unwrap();
        owner.busy_timeout(Duration::from_secs(20)).unwrap();
        Self {
            folder,
            owner: Mutex::new(owner),
            writers: Mutex::default(),
            cutting: Cutting::new(Arc::new(SqliteConnector)),
        }
    }

    fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(20)).unwrap();
        connection
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("lab.db")
    }
}

#[async_trait]
impl Fixture for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(self.cutting.clone())
    }

    fn definition(&self) -> Definition {
        Definition::new(format!("sqlite:{}", self.path().display()))
    }

    fn writing(&self) -> Result<Definition, &'static str> {
        Ok(Changing::definition(self).with("writable", "true"))
    }

    async fn clear(&self) {
        self.writers.lock().unwrap().clear();
        let owner = self.owner.lock().unwrap();
        // Where readers keep writers out, it is seen whether there are any. The last one may be about to go.
        let mut tries = 0;
        while let Err(e) = owner.execute_batch("PRAGMA journal_mode = DELETE") {
            tries += 1;
            assert!(tries < 200, "{e}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let tables: Vec<String> = owner
            .prepare(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            )
            .unwrap()
            .query_map((), |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for table in tables {
            owner
                .execute_batch(&format!("DROP TABLE {}", self.quoted(&table)))
                .unwrap();
        }
    }

    async fn execute(&self, sql: &str) {
        let owner = self.owner.lock().unwrap();
        owner
            .execute_batch(sql)
            .unwrap_or_else(|e| panic!("{sql:.300}: {e}"));
    }

    async fn execute_all(&self, statements: &[String]) {
        self.execute("BEGIN").await;
        for statement in statements {
            self.execute(statement).await;
        }
        self.execute("COMMIT").await;
    }

    fn sql(&self) -> Option<&dyn SqlNames> {
        Some(self)
    }

    fn reads(&self, data_type: &DataType) -> Option<DataType> {
        use DataType::*;
        Some(match data_type {
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => Int64,
            Float32 | Float64 => Float64,
            Decimal128(precision, _) if *precision > 15 => return None,
            UInt64 => return None,
            other => other.clone(),
        })
    }

    fn holds_float(&self, value: f64) -> bool {
        // NaN is stored as NULL, -0.0 as 0.
        !(value.is_nan() || value == 0.0 && value.is_sign_negative())
    }

    fn natives(&self) -> Vec<Native> {
        vec![
            Native {
                declared: "VARCHAR(20)",
                reads: DataType::Utf8,
                values: vec![("'x'", "x"), ("12", "12"), ("''", "")],
            },
            Native {
                declared: "DATETIME",
                reads: DataType::Timestamp(TimeUnit::Microsecond, None),
                values: vec![
                    ("'2024-02-29'", "2024-02-29T00:00:00"),
                    ("'2024-02-29T12:30Z'", "2024-02-29T12:30:00"),
                    ("'0001-01-01 00:00:00.5'", "0001-01-01T00:00:00.500"),
                ],
            },
            Native {
                declared: "NUMERIC(5,1)",
                reads: DataType::Decimal128(5, 1),
                values: vec![
                    ("1", "1.0"),
                    ("9999.9", "9999.9"),
                    ("0.25", "0.3"),
                    ("-0.25", "-0.3"),
                ],
            },
            Native {
                declared: "JSON",
                reads: DataType::Utf8,
                values: vec![("'{\"a\": [1, null]}'", "{\"a\": [1, null]}")],
            },
        ]
    }

    fn pushes(&self, feature: Feature) -> bool {
        // The engine vouches for every order itself: a sort stays here, a top-n is sent and sorted again.
        !matches!(feature, Feature::OrderBy | Feature::TopN)
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::TablesByCase | Ability::ColumnsByCase => Some("its names have no case"),
            Ability::Interrupts => {
                Some("it runs in the engine's own process: there is nothing to break")
            }
            Ability::Permissions => Some("it has no users"),
            _ => None,
        }
    }

    /// A reader holds a lock that keeps a writer out.
    async fn reads_open(&self) -> usize {
        let probe = Connection::open(self.path()).unwrap();
        probe.busy_timeout(Duration::ZERO).unwrap();
        match probe.execute_batch("BEGIN EXCLUSIVE; ROLLBACK") {
            Ok(()) => 0,
            Err(_) => 1,
        }
    }

    fn changing(&self) -> Result<&dyn Changing, &'static str> {
        Ok(self)
    }

    fn refused(&self, how: Refusal) -> Option<Definition> {
        match how {
            Refusal::UnknownPlace => Some(Definition::new("sqlite:/no/such/folder/lab.db")),
            Refusal::WrongPassword | Refusal::UnknownHost => None,
        }
    }
}

#[async_trait]
impl Changing for Sqlite {
    fn definition(&self) -> Definition {
        Fixture::definition(self).with("changes", "triggers")
    }

    async fn create(&self, table: &str, is_keyed: bool) {
        let id = match (is_keyed, table) {
            (false, _) => "BIGINT NOT NULL",
            (true, "first") => "INTEGER PRIMARY KEY",
            (true, _) => "BIGINT NOT NULL PRIMARY KEY",
        };
        let table = self.quoted(table);
        self.execute("PRAGMA journal_mode = WAL").await;
        self.execute(&format!("CREATE TABLE {table} (id {id}, n BIGINT, v TEXT)"))
            .await;
    }

    async fn adopt(&self, _table: &str) {}

    async fn forbid(&self, _table: &str) -> bool {
        false
    }

    async fn transact(&self, writer: usize, edits: &[(String, Edit)], commits: bool) {
        let writer = {
            let mut writers = self.writers.lock().unwrap();
            let connect = || Arc::new(Mutex::new(self.connect()));
            writers.entry(writer).or_insert_with(connect).clone()
        };
        let mut statements = vec!["BEGIN IMMEDIATE".to_string()];
        for (table, edit) in edits {
            match edit {
                Edit::Truncate => statements.push(format!("DELETE FROM {}", self.quoted(table))),
                edit => statements.extend(edit.statements(self, table)),
            }
        }
        statements.push(if commits { "COMMIT" } else { "ROLLBACK" }.to_string());
        let sql = statements.join("; ");
        tokio::task::spawn_blocking(move || writer.lock().unwrap().execute_batch(&sql).unwrap())
            .await
            .unwrap();
    }

    async fn cut(&self) {
        self.cutting.cut();
    }

    async fn lose_log(&self, _source: &str) {
        self.execute("DELETE FROM belvedere_changes").await;
    }

    async fn add_column(&self, table: &str) {
        let table = self.quoted(table);
        self.execute(&format!("ALTER TABLE {table} ADD more BIGINT DEFAULT 5"))
            .await;
    }

    async fn drop_column(&self, table: &str) {
        // Keys are told, not rows: what is in a column is known once it was looked at.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let table = self.quoted(table);
        self.execute(&format!("ALTER TABLE {table} DROP v")).await;
    }
}

impl SqlNames for Sqlite {
    fn type_name(&self, data_type: &DataType) -> String {
        use DataType::*;
        match data_type {
            Float32 | Float64 => "DOUBLE".into(),
            Utf8 => "TEXT".into(),
            Binary => "BLOB".into(),
            Boolean => "BOOLEAN".into(),
            Date32 => "DATE".into(),
            Time64(_) => "TIME".into(),
            Timestamp(_, None) => "TIMESTAMP".into(),
            Timestamp(_, Some(_)) => "TIMESTAMPTZ".into(),
            Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
            _ => "BIGINT".into(),
        }
    }

    fn float(&self, value: f64) -> String {
        match value.is_infinite() {
            true => format!("{}9e999", if value > 0.0 { "" } else { "-" }),
            false => format!("{value:e}"),
        }
    }
}
