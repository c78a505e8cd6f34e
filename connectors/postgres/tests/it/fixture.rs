use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use belvedere_connector::{
    BatchStream, BinaryOp, Connector, Expr, ExprKind, Fragment, Literal, Rel, Result, ScanRequest,
    Source, SourceConfig, Support, Table, TableRef,
};
use belvedere_postgres::PostgresConnector;
use futures::TryStreamExt;
use tokio_postgres::{Client, NoTls};

use crate::server::Server;

/// A database of a test's own.
pub struct Database {
    pub server: Arc<Server>,
    pub name: String,
    pub client: Client,
}

impl Database {
    pub async fn new(name: &str) -> Self {
        Self::on(Server::shared(), name, "").await
    }

    /// `how` follows `CREATE DATABASE name`.
    pub async fn on(server: Arc<Server>, name: &str, how: &str) -> Self {
        let name = format!("{name}_{}", std::process::id());
        let admin = connect(server.port, "postgres").await;
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .unwrap();
        admin
            .batch_execute(&format!("CREATE DATABASE {name} {how}"))
            .await
            .unwrap();
        let client = connect(server.port, &name).await;
        Self {
            server,
            name,
            client,
        }
    }

    /// SQL at the source, past the connector.
    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// A collation of ICU's. A server built without ICU gets one of bytes; false, and said, as less is shown then.
    pub async fn icu_collation(&self, name: &str, how: &str) -> bool {
        let icu = self
            .client
            .query_opt(
                "SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'",
                &[],
            )
            .await
            .unwrap()
            .is_some();
        if icu {
            self.run(&format!("CREATE COLLATION {name} (provider = icu, {how})"))
                .await;
        } else {
            not_shown(&format!(
                "the collation {how}: this PostgreSQL is built without ICU"
            ));
            self.run(&format!("CREATE COLLATION {name} FROM \"C\""))
                .await;
        }
        icu
    }

    pub fn source(&self, options: &[(&str, &str)]) -> Arc<dyn Source> {
        self.source_as("postgres", options)
    }

    pub fn source_as(&self, user: &str, options: &[(&str, &str)]) -> Arc<dyn Source> {
        PostgresConnector
            .open(SourceConfig {
                name: "erp".into(),
                url: format!(
                    "postgres://{user}@127.0.0.1:{}/{}",
                    self.server.port, self.name
                ),
                options: options
                    .iter()
                    .map(|(k, v)| (k.to_string(), v.to_string()))
                    .collect::<BTreeMap<_, _>>(),
                limits: belvedere_connector::Limits::default(),
            })
            .unwrap()
    }

    /// A source that knows its tables.
    pub async fn discovered(&self, options: &[(&str, &str)]) -> (Arc<dyn Source>, Vec<Table>) {
        let source = self.source(options);
        let tables = source.discover().await.unwrap();
        (source, tables)
    }
}

/// Said once, past the test harness, which keeps what a passing test prints.
pub fn not_shown(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(what.to_string()) {
        let _ = writeln!(std::io::stderr(), "not shown: {what}");
    }
}

pub async fn connect(port: u16, database: &str) -> Client {
    let text = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
    let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub fn table<'a>(tables: &'a [Table], name: &str) -> &'a Table {
    tables
        .iter()
        .find(|t| t.name == name)
        .unwrap_or_else(|| panic!("no table {name}"))
}

pub fn scan_of(table: &Table) -> Rel {
    Rel::Scan {
        table: TableRef {
            schema: table.schema.clone(),
            name: table.name.clone(),
        },
        schema: table.arrow_schema(),
    }
}

pub fn column(table: &Table, name: &str) -> Expr {
    let schema = table.arrow_schema();
    let index = schema.index_of(name).unwrap();
    let field = schema.field(index);
    Expr::column(index, field.data_type().clone(), field.is_nullable())
}

pub fn int(value: i64) -> Expr {
    Expr::literal(Literal::Int(value), DataType::Int64)
}

pub fn text(value: &str) -> Expr {
    Expr::literal(Literal::Text(value.into()), DataType::Utf8)
}

pub fn binary(left: Expr, op: BinaryOp, right: Expr, data_type: DataType) -> Expr {
    Expr {
        nullable: left.nullable || right.nullable,
        kind: ExprKind::Binary {
            op,
            left: Box::new(left),
            right: Box::new(right),
        },
        data_type,
    }
}

pub fn compare(left: Expr, op: BinaryOp, right: Expr) -> Expr {
    binary(left, op, right, DataType::Boolean)
}

pub fn filter(input: Rel, predicate: Expr) -> Rel {
    Rel::Filter {
        input: Box::new(input),
        predicates: vec![predicate],
    }
}

pub fn project(input: Rel, columns: Vec<Expr>) -> Rel {
    Rel::Project {
        input: Box::new(input),
        columns: columns
            .into_iter()
            .enumerate()
            .map(|(i, expr)| (expr, format!("x{i}")))
            .collect(),
    }
}

pub fn request(rel: Rel) -> ScanRequest {
    ScanRequest {
        fragment: Arc::new(Fragment::new(rel)),
        partitions: 1,
        batch_rows: 1000,
        deadline: Some(Instant::now() + Duration::from_secs(60)),
    }
}

/// All rows of a fragment the source says it supports.
pub async fn read(source: &Arc<dyn Source>, rel: Rel) -> Result<RecordBatch> {
    assert_eq!(source.capabilities().node(&rel), Support::Exact, "{rel:?}");
    let schema = rel.schema();
    let stream = source.scan(request(rel)).await?.remove(0);
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    for batch in &batches {
        assert_eq!(batch.schema(), schema);
    }
    if schema.fields().is_empty() {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows));
        return Ok(RecordBatch::try_new_with_options(schema, vec![], &options).unwrap());
    }
    Ok(concat_batches(&schema, &batches).unwrap())
}

pub async fn count(stream: BatchStream) -> Result<usize> {
    stream
        .try_fold(0, async |n, batch| Ok(n + batch.num_rows()))
        .await
}

/// The rows as text, one line each.
pub fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = arrow::util::display::FormatOptions::default().with_null("NULL");
    (0..batch.num_rows())
        .map(|row| {
            batch
                .columns()
                .iter()
                .map(|column| {
                    arrow::util::display::ArrayFormatter::try_new(column, &options)
                        .unwrap()
                        .value(row)
                        .to_string()
                })
                .collect::<Vec<_>>()
                .join("|")
        })
        .collect()
}
