use std::io::Cursor;
use std::path::PathBuf;
use std::pin::pin;

use futures::SinkExt;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::data::{self, Table};

#[path = "../../connectors/mysql/tests/support/mod.rs"]
mod mariadb;
#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
pub mod postgres;

/// The keys that point to other tables are indexed, as their owners would.
fn index(table: &str) -> Option<String> {
    let (_, column) = [
        ("supplier", "s_nationkey"),
        ("partsupp", "ps_suppkey"),
        ("customer", "c_nationkey"),
        ("nation", "n_regionkey"),
        ("orders", "o_custkey"),
    ]
    .into_iter()
    .find(|(name, _)| *name == table)?;
    Some(format!(
        "CREATE INDEX {table}_{column} ON {table} ({column})"
    ))
}

/// The four systems, each with its tables.
pub struct Places {
    postgres: postgres::Server,
    mariadb: mariadb::Server,
    /// The SQLite file and the folder of Parquet.
    files: TempDir,
}

impl Places {
    pub async fn start(tables: &[Table]) -> Self {
        let places = Self {
            postgres: tokio::task::block_in_place(postgres::Server::private),
            mariadb: mariadb::Server::start_logging().await,
            files: tempfile::tempdir().unwrap(),
        };
        let of = |source: &str| -> Vec<&Table> {
            let of = |table: &&Table| Self::home(table.name) == source;
            tables.iter().filter(of).collect()
        };
        let (_, postgres) = &places.urls()[0];
        fill_postgres(postgres, &of("pg")).await;
        places.fill_mariadb(&of("maria")).await;
        places.fill_sqlite(&of("lite"));
        places.fill_parquet(&of("lake"));
        places
    }

    /// Names and URLs of the sources.
    pub fn urls(&self) -> [(&'static str, String); 4] {
        let files = self.files.path().display();
        let (host, port) = (&self.mariadb.host, self.mariadb.port);
        [
            (
                "pg",
                format!(
                    "postgres://postgres@127.0.0.1:{}/postgres",
                    self.postgres.port
                ),
            ),
            ("maria", format!("mysql://root@{host}:{port}/tpch")),
            ("lite", format!("sqlite:{files}/orders.db")),
            ("lake", format!("file:{files}/lake")),
        ]
    }

    /// The source that has a table.
    pub fn home(table: &str) -> &'static str {
        match table {
            "part" | "supplier" | "partsupp" => "pg",
            "customer" | "nation" | "region" => "maria",
            "orders" | "lineitem" => "lite",
            _ => "lake",
        }
    }

    pub fn mariadb(&self) -> &mariadb::Server {
        &self.mariadb
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The lines of orders as they are now, in place of the file.
    pub fn rewrite_lines(&self, tables: &[Table]) {
        let lines = tables.iter().find(|table| table.name == "lineitem");
        let new = self.path("new");
        data::write(&new, "lineitem", &[lines.unwrap().batch()]);
        let file = "lineitem.parquet";
        std::fs::rename(new.join(file), self.path("lake").join(file)).unwrap();
    }

    async fn fill_mariadb(&self, tables: &[&Table]) {
        let mut statements = Vec::new();
        for Table {
            name,
            declared,
            lines,
        } in tables
        {
            statements.push(format!("CREATE TABLE {name} ({declared})"));
            let row = |line: &String| format!("('{}')", line.replace('|', "','"));
            for lines in lines.chunks(10_000) {
                let rows: Vec<String> = lines.iter().map(row).collect();
                statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(",")));
            }
            statements.extend(index(name));
            statements.push(format!("ANALYZE TABLE {name}"));
        }
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        self.mariadb.database("tpch", &statements).await;
    }

    fn fill_sqlite(&self, tables: &[&Table]) {
        let mut file = rusqlite::Connection::open(self.files.path().join("orders.db")).unwrap();
        let transaction = file.transaction().unwrap();
        for Table {
            name,
            declared,
            lines,
        } in tables
        {
            transaction
                .execute_batch(&format!("CREATE TABLE {name} ({declared})"))
                .unwrap();
            let width = lines[0].split('|').count();
            let marks = vec!["?"; width].join(",");
            let insert = format!("INSERT INTO {name} VALUES ({marks})");
            let mut insert = transaction.prepare(&insert).unwrap();
            for line in lines {
                insert
                    .execute(rusqlite::params_from_iter(line.split('|')))
                    .unwrap();
            }
            if let Some(index) = index(name) {
                transaction.execute_batch(&index).unwrap();
            }
        }
        transaction.commit().unwrap();
        file.execute_batch("ANALYZE").unwrap();
    }

    fn fill_parquet(&self, tables: &[&Table]) {
        for table in tables {
            data::write(
                &self.files.path().join("lake"),
                table.name,
                &[table.batch()],
            );
        }
    }
}

pub async fn fill_postgres(url: &str, tables: &[&Table]) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    for Table {
        name,
        declared,
        lines,
    } in tables
    {
        client
            .batch_execute(&format!("CREATE TABLE {name} ({declared})"))
            .await
            .unwrap();
        let copy = format!("COPY {name} FROM STDIN (DELIMITER '|')");
        let mut sink = pin!(client.copy_in(&copy).await.unwrap());
        sink.send(Cursor::new(lines.join("\n") + "\n"))
            .await
            .unwrap();
        assert_eq!(sink.finish().await.unwrap(), lines.len() as u64);
        if let Some(index) = index(name) {
            client.batch_execute(&index).await.unwrap();
        }
    }
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
}
