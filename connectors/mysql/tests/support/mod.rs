//! A private server for the tests: started on a free port in a folder of its own, stopped when the last test lets go.
//!
//! It is MariaDB, or MySQL with `BELVEDERE_MYSQLD=/path/to/mysqld`; statements are written in MariaDB's words, see `brand.rs`.
//! With `BELVEDERE_TEST_MYSQL=mysql://root@127.0.0.1:PORT/test` a running server is used instead.

// Each test file uses its own part.
#![allow(dead_code)]

pub mod algebra;
pub mod brand;

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use belvedere_connector::{
    Connector, Error, Fragment, Rel, Result, ScanRequest, Source, SourceConfig, Table, TableRef,
};
use belvedere_mysql::MysqlConnector;
use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use brand::Brand;

/// A server; each test makes a database of its own in it.
pub struct Server {
    process: Option<Child>,
    folder: Option<tempfile::TempDir>,
    pub brand: Brand,
    pub host: String,
    pub port: u16,
}

impl Server {
    /// Start one and wait until it answers.
    pub async fn start() -> Self {
        if let Ok(url) = std::env::var("BELVEDERE_TEST_MYSQL") {
            let url = url::Url::parse(&url).expect("BELVEDERE_TEST_MYSQL is a URL");
            return Self {
                process: None,
                folder: None,
                brand: Brand::tested(),
                host: url.host_str().expect("a host").to_string(),
                port: url.port().unwrap_or(3306),
            };
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        open_to_all(folder.path());
        let data = folder.path().join("data");
        let brand = Brand::tested();
        let made = brand
            .install(&data)
            // A server that starts removes what others have for temporary tables in a folder that they share.
            .env("TMPDIR", folder.path())
            .output()
            .expect("the server's programs are installed");
        let said = [made.stdout, made.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(made.status.success(), "no folder of data was made: {said}");
        let mut server = Self {
            process: None,
            brand,
            host: "127.0.0.1".to_string(),
            port: free_port(),
            folder: Some(folder),
        };
        server.launch().await;
        server
    }

    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a server of our own").path()
    }

    /// Start the process over the folder's data.
    pub async fn launch(&mut self) {
        self.launch_with(&[]).await;
    }

    /// Start one that logs its changes whole.
    pub async fn start_logging() -> Self {
        let mut server = Self::start().await;
        if server.is_own() {
            server.kill();
            server.launch_logging().await;
        }
        server
    }

    pub async fn launch_logging(&mut self) {
        let options = self.brand.logging();
        self.launch_with(&options).await;
    }

    /// With further options.
    pub async fn launch_with(&mut self, options: &[String]) {
        let folder = self.folder();
        let process = self
            .brand
            .serve()
            .env("TMPDIR", folder)
            .arg(format!("--port={}", self.port))
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", folder.join("s").display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server is installed");
        self.process = Some(process);
        let until = Instant::now() + Duration::from_secs(60);
        while Conn::new(self.options("", "root")).await.is_err() {
            assert!(Instant::now() < until, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether it can be stopped and started.
    pub fn is_own(&self) -> bool {
        self.folder.is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn options(&self, database: &str, user: &str) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(user))
            .db_name((!database.is_empty()).then_some(database))
            .prefer_socket(false)
            .init(vec!["SET NAMES utf8mb4, sql_mode = ''"])
    }

    /// A connection of root's, in the database `big`.
    pub fn connection(&self) -> impl Future<Output = Conn> + use<> {
        let options = self.options("big", "root");
        async move { Conn::new(options).await.expect("root may log in") }
    }

    /// A connection of root's, in a database.
    pub async fn connection_in(&self, database: &str) -> Conn {
        let conn = Conn::new(self.options(database, "root")).await;
        conn.expect("root may log in")
    }

    /// Run statements on the server itself, in a fresh database of this name.
    pub async fn database(&self, name: &str, statements: &[&str]) {
        let mut conn = Conn::new(self.options("", "root"))
            .await
            .expect("root may log in");
        for statement in [
            format!("DROP DATABASE IF EXISTS `{name}`"),
            format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"),
            format!("USE `{name}`"),
        ] {
            conn.query_drop(statement).await.expect("a new database");
        }
        for statement in statements {
            self.run_one(&mut conn, statement).await;
        }
        conn.disconnect().await.expect("a goodbye");
    }

    /// Run statements that are in MariaDB's words, with `; ` between, and nowhere else.
    pub async fn run(&self, conn: &mut Conn, statements: &str) {
        for statement in statements.split("; ") {
            self.run_one(conn, statement).await;
        }
    }

    /// Run a statement that is in MariaDB's words.
    async fn run_one(&self, conn: &mut Conn, statement: &str) {
        for statement in self.brand.words(statement) {
            if let Err(e) = conn.query_drop(&statement).await {
                panic!("{statement}: {e}");
            }
        }
    }

    /// One column of text, asked of the server itself.
    pub async fn ask(&self, database: &str, query: &str) -> Vec<Option<String>> {
        let mut conn = Conn::new(self.options(database, "root"))
            .await
            .expect("root may log in");
        let rows = conn.query(query).await;
        conn.disconnect().await.expect("a goodbye");
        rows.unwrap_or_else(|e| panic!("{query}: {e}"))
    }

    pub fn source(&self, database: &str, options: &[(&str, &str)]) -> Arc<dyn Source> {
        self.source_as("root", database, options)
    }

    pub fn source_as(
        &self,
        user: &str,
        database: &str,
        options: &[(&str, &str)],
    ) -> Arc<dyn Source> {
        MysqlConnector
            .open(config(
                &format!("mysql://{user}@{}:{}/{database}", self.host, self.port),
                options,
            ))
            .expect("a right definition")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn config(url: &str, options: &[(&str, &str)]) -> SourceConfig {
    SourceConfig {
        name: "crm".to_string(),
        url: url.to_string(),
        options: options
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        limits: belvedere_connector::Limits::default(),
    }
}

/// The server may run as a user of its own.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).expect("permissions");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

pub async fn table(source: &Arc<dyn Source>, name: &str) -> Table {
    let tables = source.discover().await.expect("discovery");
    tables
        .into_iter()
        .find(|t| t.name == name && t.schema == source.default_schema())
        .unwrap_or_else(|| panic!("no table {name}"))
}

/// All rows of a table, some of its columns.
pub fn scan(table: &Table, columns: &[&str]) -> Rel {
    let schema = table.arrow_schema();
    let picked: Vec<usize> = match columns {
        [] => (0..schema.fields().len()).collect(),
        names => names
            .iter()
            .map(|n| schema.index_of(n).expect("a column"))
            .collect(),
    };
    Rel::Scan {
        table: TableRef {
            schema: table.schema.clone(),
            name: table.name.clone(),
        },
        schema: Arc::new(schema.project(&picked).expect("a projection")),
    }
}

pub fn request(rel: Rel) -> ScanRequest {
    ScanRequest {
        fragment: Arc::new(Fragment::new(rel)),
        partitions: 1,
        batch_rows: 1000,
        deadline: None,
    }
}

pub async fn read(source: &Arc<dyn Source>, rel: Rel) -> Result<Vec<RecordBatch>> {
    read_request(source, request(rel)).await
}

pub async fn read_request(
    source: &Arc<dyn Source>,
    request: ScanRequest,
) -> Result<Vec<RecordBatch>> {
    let schema: SchemaRef = request.fragment.schema();
    let mut streams = source.scan(request).await?;
    assert_eq!(streams.len(), 1);
    let mut batches = Vec::new();
    let mut stream = streams.remove(0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        assert_eq!(batch.schema(), schema);
        batches.push(batch);
    }
    Ok(batches)
}

/// Arrow prints the zone UTC only with a database of zones.
fn shown(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Arc::new(
            column
                .as_primitive::<TimestampMicrosecondType>()
                .clone()
                .with_timezone("+00:00"),
        ),
        _ => column.clone(),
    }
}

/// Values as text; None is NULL.
pub fn text_of(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(
                batch
                    .columns()
                    .iter()
                    .map(|column| {
                        (!column.is_null(row) && column.data_type() != &DataType::Null)
                            .then(|| array_value_to_string(&shown(column), row).expect("printable"))
                    })
                    .collect(),
            );
        }
    }
    rows
}

pub fn assert_code(error: &Error, code: belvedere_connector::Code) {
    assert_eq!(error.code, code, "{error}");
    assert_eq!(error.source_name.as_deref(), Some("crm"), "{error}");
}
