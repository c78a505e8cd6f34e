//! A database file made behind the connector's back, and short ways to ask it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use belvedere_connector::{
    BinaryOp, Connector, Error, Expr, ExprKind, Fragment, Literal, Rel, ScanRequest, Source,
    SourceConfig, Table, TableRef,
};
use belvedere_sqlite::SqliteConnector;
use futures::TryStreamExt;

pub struct File {
    pub dir: tempfile::TempDir,
    pub owner: rusqlite::Connection,
}

impl File {
    pub fn new(sql: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let owner = rusqlite::Connection::open(dir.path().join("shop.db")).unwrap();
        owner.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        owner.execute_batch(sql).unwrap();
        Self { dir, owner }
    }

    pub fn source_with(&self, options: &[(&str, &str)]) -> Arc<dyn Source> {
        let url = format!("sqlite://{}", self.dir.path().join("shop.db").display());
        open(&url, options).unwrap()
    }

    pub async fn open(&self, options: &[(&str, &str)]) -> Opened {
        let source = self.source_with(options);
        let tables = source.discover().await.unwrap();
        Opened { source, tables }
    }
}

pub fn open(url: &str, options: &[(&str, &str)]) -> Result<Arc<dyn Source>, Error> {
    let options: BTreeMap<String, String> = options
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    SqliteConnector.open(SourceConfig {
        name: "shop".to_string(),
        url: url.to_string(),
        options,
        limits: belvedere_connector::Limits::default(),
    })
}

pub struct Opened {
    pub source: Arc<dyn Source>,
    pub tables: Vec<Table>,
}

impl Opened {
    pub fn table(&self, name: &str) -> &Table {
        self.tables.iter().find(|t| t.name == name).unwrap()
    }

    /// A scan of some columns; of all without names.
    pub fn scan(&self, table: &str, columns: &[&str]) -> Rel {
        let schema = self.table(table).arrow_schema();
        let indexes: Vec<usize> = match columns.is_empty() {
            true => (0..schema.fields().len()).collect(),
            false => columns
                .iter()
                .map(|c| schema.index_of(c).unwrap())
                .collect(),
        };
        Rel::Scan {
            table: TableRef {
                schema: "main".to_string(),
                name: table.to_string(),
            },
            schema: Arc::new(schema.project(&indexes).unwrap()),
        }
    }

    pub async fn read(&self, rel: Rel) -> Result<RecordBatch, Error> {
        Ok(self.read_in(rel, 1).await?.remove(0))
    }

    /// The rows of each of so many streams, which are read at once.
    pub async fn read_in(&self, rel: Rel, partitions: usize) -> Result<Vec<RecordBatch>, Error> {
        let fragment = Arc::new(Fragment::new(rel));
        let schema = fragment.schema();
        let request = ScanRequest {
            fragment,
            partitions,
            batch_rows: 3,
            deadline: None,
        };
        let streams = self.source.scan(request).await?;
        assert_eq!(streams.len(), partitions);
        let streams = streams.into_iter().map(|stream| async {
            let batches: Vec<_> = stream.try_collect().await?;
            assert!(batches.iter().all(|batch| batch.schema() == schema));
            Ok(arrow::compute::concat_batches(&schema, &batches).unwrap())
        });
        futures::future::try_join_all(streams).await
    }

    pub async fn rows(&self, rel: Rel) -> Vec<String> {
        rows(&self.read(rel).await.unwrap())
    }

    pub fn sql(&self, rel: Rel) -> String {
        self.source.describe(&Fragment::new(rel))
    }
}

pub fn rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            cells.join("|")
        })
        .collect()
}

pub fn column(rel: &Rel, name: &str) -> Expr {
    let schema = rel.schema();
    let index = schema.index_of(name).unwrap();
    let field = schema.field(index);
    Expr::column(index, field.data_type().clone(), field.is_nullable())
}

pub fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    let data_type = match op.is_comparison() || matches!(op, BinaryOp::And | BinaryOp::Or) {
        true => DataType::Boolean,
        false => left.data_type.clone(),
    };
    Expr {
        kind: ExprKind::Binary {
            op,
            left: Box::new(left),
            right: Box::new(right),
        },
        data_type,
        nullable: true,
    }
}

pub fn text(value: &str) -> Expr {
    Expr::literal(Literal::Text(value.to_string()), DataType::Utf8)
}

pub fn filter(input: Rel, predicate: Expr) -> Rel {
    Rel::Filter {
        input: Box::new(input),
        predicates: vec![predicate],
    }
}
