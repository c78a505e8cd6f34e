//! Policies and masks: whoever is under them sees what they show, and nothing of what they hide, however it is asked for.

mod hidden;
mod rules;

use std::path::Path;

use belvedere::{Engine, Session};

use crate::fixture::{database, shown};
use crate::servers::{connected, mysql, postgres};

/// Rows that `ana` sees: of her region, and of a rep that she is assigned to.
const SEEN: &str = "
    (1, 'Anton', 'EMEA', 10, '12', 'r1'), (2, 'Berta', 'EMEA', 20, '7', 'r1'),
    (3, 'Cäsar', 'EMEA', NULL, '33', 'r2'), (4, 'Dora', 'EMEA', 40, NULL, 'r1'),
    (5, 'Emil', 'EMEA', 1, '1', 'r2')";
/// Rows that she does not see, of one world and of another: there, each attempt to be told of them would fail, or tell.
const HIDDEN: [&str; 2] = [
    "(10, 'Hidden', 'APAC', 11, '5', 'r9')",
    "(10, 'Zzz', 'APAC', 5, 'not a number', 'r9'), (11, 'x\\', 'APAC', 0, '', 'r9'),
     (12, NULL, NULL, 9223372036854775807, '99999999999999999999', 'r9'),
     (13, 'Anton', 'AMER', -5, '2024-13-45', 'r8'), (14, 'q', 'AMER', 999999999, '1e400', NULL)",
];
const TABLES: [&str; 3] = [
    "CREATE TABLE customer (id INTEGER PRIMARY KEY, name VARCHAR(40), region VARCHAR(10), credit BIGINT, note VARCHAR(40), rep VARCHAR(10))",
    "CREATE TABLE assigned (rep VARCHAR(10) PRIMARY KEY, usr VARCHAR(10))",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, qty INTEGER)",
];
const ROWS: [&str; 2] = [
    "INSERT INTO assigned VALUES ('r1', 'ana'), ('r2', 'ana'), ('r9', 'bob')",
    "INSERT INTO orders VALUES (1, 1, 5), (2, 1, 6), (3, 2, 0), (4, 4, 9), (5, 10, 3), (6, 12, 2)",
];
const DEFINITIONS: &[&str] = &[
    "CREATE USER root PASSWORD 'r' SUPERUSER",
    "CREATE USER ana PASSWORD 'a'",
    "CREATE ROLE sales",
    "GRANT sales TO ana",
    "CREATE VIEW v AS SELECT * FROM crm.customer",
    "CREATE VIEW closed AS SELECT id, left(name, 1) AS name, region, credit, note, rep FROM crm.customer WHERE region = 'EMEA'",
    "CREATE VIEW over_closed AS SELECT * FROM closed",
    "CREATE MATERIALIZED VIEW kept WITH (refresh = 'manual', key = 'id', wait = true) AS SELECT * FROM crm.customer",
    "CREATE POLICY region ON crm.customer TO sales USING (region = 'EMEA')",
    "CREATE POLICY mine ON v TO sales USING (rep IN (SELECT a.rep FROM crm.assigned a WHERE a.usr = current_user))",
    "CREATE POLICY region ON kept TO sales USING (region = 'EMEA')",
    "CREATE MASK first ON crm.customer (name) TO sales USING (left(name, 1))",
    "CREATE MASK first ON v (name) TO sales USING (left(name, 1))",
    "CREATE MASK first ON kept (name) TO sales USING (left(name, 1))",
    "GRANT SELECT ON crm.customer TO sales",
    "GRANT SELECT ON crm.orders TO sales",
    "GRANT SELECT ON v TO sales",
    "GRANT SELECT ON kept TO sales",
    "GRANT SELECT ON closed TO sales",
    "GRANT SELECT ON over_closed TO sales",
    "GRANT CREATE ON SCHEMA public TO ana",
];
const RELATIONS: [&str; 5] = ["crm.customer", "v", "kept", "closed", "over_closed"];
/// What `ana` sees of each, as who sees all would ask for it.
const PLAIN: &str = "(SELECT id, left(name, 1) AS name, region, credit, note, rep FROM crm.customer WHERE region = 'EMEA')";

struct World {
    root: Session,
    ana: Session,
    engine: Engine,
}

/// Two worlds that differ in what is hidden.
struct Worlds {
    worlds: [World; 2],
    _dir: tempfile::TempDir,
}

async fn world(url: &str, folder: &Path) -> World {
    let engine = Engine::builder().base_dir(folder).open().await.unwrap();
    let session = engine.session();
    let source = format!("CREATE SOURCE crm FROM '{url}'");
    for sql in [source.as_str()].iter().chain(DEFINITIONS) {
        let done = shown(&session, sql).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    World {
        root: engine.session_as("root"),
        ana: engine.session_as("ana"),
        engine,
    }
}

impl Worlds {
    async fn of(urls: [String; 2], dir: tempfile::TempDir) -> Self {
        let [one, other] = urls;
        Self {
            worlds: [
                world(&one, dir.path()).await,
                world(&other, dir.path()).await,
            ],
            _dir: dir,
        }
    }

    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let urls = [0, 1].map(|i| {
            let file = format!("crm{i}.db");
            database(&dir.path().join(&file), &statements(i).join(";\n"));
            format!("sqlite:{file}")
        });
        Self::of(urls, dir).await
    }

    async fn files() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut urls = Vec::new();
        for i in [0, 1] {
            let (file, folder) = (format!("rows{i}.db"), format!("files{i}"));
            database(&dir.path().join(&file), &statements(i).join(";\n"));
            std::fs::create_dir(dir.path().join(&folder)).unwrap();
            let engine = Engine::builder().base_dir(dir.path()).open().await.unwrap();
            let session = engine.session();
            let done = |sql: String| {
                let session = &session;
                async move { shown(session, &sql).await.unwrap() }
            };
            done(format!("CREATE SOURCE s FROM 'sqlite:{file}'")).await;
            for table in ["customer", "assigned", "orders"] {
                done(format!(
                    "COPY (SELECT * FROM s.{table}) TO '{folder}/{table}.parquet'"
                ))
                .await;
            }
            urls.push(folder);
        }
        Self::of(urls.try_into().unwrap(), dir).await
    }

    async fn postgres(server: &postgres::Server) -> Self {
        let mut urls = Vec::new();
        for i in [0, 1] {
            let maker = connected(server.port).await;
            maker
                .batch_execute(&format!("CREATE DATABASE crm{i}"))
                .await
                .unwrap();
            let url = format!("postgres://postgres@127.0.0.1:{}/crm{i}", server.port);
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            let running = tokio::spawn(connection);
            client
                .batch_execute(&statements(i).join(";\n"))
                .await
                .unwrap();
            drop(client);
            running.await.unwrap().unwrap();
            urls.push(url);
        }
        Self::of(urls.try_into().unwrap(), tempfile::tempdir().unwrap()).await
    }

    async fn mariadb(server: &mysql::Server) -> Self {
        let mut urls = Vec::new();
        for i in [0, 1] {
            let name = format!("crm{i}");
            // There a backslash in a constant begins something.
            let statements = statements(i).map(|sql| sql.replace('\\', "\\\\"));
            let statements = statements.each_ref().map(String::as_str);
            server.database(&name, &statements).await;
            urls.push(format!("mysql://root@127.0.0.1:{}/{name}", server.port));
        }
        Self::of(urls.try_into().unwrap(), tempfile::tempdir().unwrap()).await
    }

    /// What `ana` is told, which has to be the same in both.
    async fn told(&self, sql: &str) -> Result<String, String> {
        let [one, other] = &self.worlds;
        let (one, other) = (told(&one.ana, sql).await, told(&other.ana, sql).await);
        assert_eq!(one, other, "{sql}");
        one
    }

    /// The same of what cannot fail of what she sees.
    async fn answered(&self, sql: &str) -> String {
        self.told(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }
}

fn statements(world: usize) -> [String; 6] {
    let insert = |rows: &str| format!("INSERT INTO customer VALUES {rows}");
    [
        TABLES[0].to_string(),
        TABLES[1].to_string(),
        TABLES[2].to_string(),
        insert(&format!("{SEEN}, {}", HIDDEN[world])),
        ROWS[0].to_string(),
        ROWS[1].to_string(),
    ]
}

/// Rows in the order of their texts; or what the error says.
async fn told(session: &Session, sql: &str) -> Result<String, String> {
    match shown(session, sql).await {
        Ok(table) if sql.starts_with("EXPLAIN") => Ok(table.replace("crm1", "crm0")),
        Ok(table) => {
            // What one of two databases of a server is called.
            let table = table.replace("crm1", "crm0");
            let mut lines: Vec<&str> = table.lines().collect();
            lines.sort_unstable();
            Ok(lines.join("\n"))
        }
        Err(e) => Err(format!("{}: {e} ({:?})", e.sqlstate(), e.help())),
    }
}
