use std::path::{Path, PathBuf};
use std::time::Duration;

use belvedere::{Answer, Engine, Error, Session};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use tempfile::TempDir;

/// A folder of SQLite files, an engine whose relative paths start there, and a session.
pub struct Fixture {
    pub dir: TempDir,
    pub engine: Engine,
    pub session: Session,
}

const ERP: &str = "
    CREATE TABLE item (
        sku TEXT PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(10,2), added DATE
    );
    INSERT INTO item VALUES
        ('a1', 'Apple', 0.50, '2024-01-01'), ('b2', 'Bread', 3.20, '2024-02-01'),
        ('c3', 'Cheese', 7.90, NULL);
    CREATE TABLE stock (
        sku TEXT NOT NULL REFERENCES item(sku), site TEXT NOT NULL, qty INTEGER,
        PRIMARY KEY (sku, site)
    );
    INSERT INTO stock VALUES ('a1', 'B', 10), ('a1', 'HH', 5), ('b2', 'B', 0), ('c3', 'HH', NULL);
";
const SHOP: &str = "
    CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT, qty INTEGER, customer TEXT);
    INSERT INTO orders VALUES (1, 'a1', 2, 'ana'), (2, 'b2', 1, 'bob'), (3, 'a1', 4, 'bob');
    CREATE TABLE \"Mixed Case\" (\"Id\" INTEGER, value REAL);
    INSERT INTO \"Mixed Case\" VALUES (1, 1.5);
";

impl Fixture {
    /// No source is defined.
    pub async fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        database(&dir.path().join("erp.db"), ERP);
        database(&dir.path().join("shop.db"), SHOP);
        let engine = Engine::builder().base_dir(dir.path()).open().await.unwrap();
        let session = engine.session();
        Self {
            dir,
            engine,
            session,
        }
    }

    /// A further engine, whose data directory is in the folder: one at a time.
    pub async fn open(&self) -> Result<Engine, Error> {
        let builder = Engine::builder().base_dir(self.dir.path());
        builder.data_dir(self.path("data")).open().await
    }

    /// With the sources `erp` and `shop`.
    pub async fn new() -> Self {
        let fixture = Self::empty().await;
        fixture.ok("CREATE SOURCE erp FROM 'sqlite:erp.db'").await;
        fixture.ok("CREATE SOURCE shop FROM 'sqlite:shop.db'").await;
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a statement answers, as a table.
    pub async fn ok(&self, sql: &str) -> String {
        shown(&self.session, sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Why a statement fails: its code and message.
    pub async fn err(&self, sql: &str) -> String {
        match shown(&self.session, sql).await {
            Ok(answer) => panic!("{sql} succeeded:\n{answer}"),
            Err(e) => self.text(&e),
        }
    }

    /// The error's code and message.
    pub fn text(&self, error: &Error) -> String {
        self.plain(&format!("{}: {error}", error.code()))
    }

    /// Without this folder's name, and without the width it gave to a table's columns.
    pub fn plain(&self, text: &str) -> String {
        let mut text = text.replace(&*self.dir.path().to_string_lossy(), "DIR");
        for run in ["  ", "--"] {
            while text.contains(run) {
                text = text.replace(run, &run[1..]);
            }
        }
        text
    }

    /// `EXPLAIN`, up to what runs here: that depends on the machine.
    pub async fn sent(&self, query: &str) -> String {
        let table = self.ok(&format!("EXPLAIN {query}")).await;
        let lines = table
            .lines()
            .skip(3)
            .map(|line| line.trim_matches('|').trim_end());
        let lines = lines.take_while(|line| !line.contains("uns here") && !line.starts_with('+'));
        lines
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Run SQL on a SQLite file, past the engine.
pub fn database(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

pub async fn shown(session: &Session, sql: &str) -> Result<String, Error> {
    table(session.execute(sql).await?).await
}

/// Wait until a statement answers this, or fails with it.
pub async fn until(session: &Session, sql: &str, expected: &str, patience: Duration) {
    let mut last = String::new();
    let wait = async {
        loop {
            last = match shown(session, sql).await {
                Ok(answer) => answer,
                Err(e) => e.to_string(),
            };
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(patience, wait).await;
    assert!(waited.is_ok(), "{sql} gives\n{last}\nand not\n{expected}");
}

pub async fn table(answer: Answer) -> Result<String, Error> {
    let schema = answer.schema.clone();
    let mut batches = answer.collect().await?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}
