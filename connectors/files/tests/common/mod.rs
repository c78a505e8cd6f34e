//! A folder as a source, queried through DataFusion as the engine does.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use belvedere_connector::{Connector, Door, Error, Source, SourceConfig, StatementContext, Table};
use belvedere_files::FilesConnector;
use datafusion::common::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};

/// A door that is open.
#[derive(Debug)]
pub struct Open;

#[async_trait::async_trait]
impl Door for Open {
    async fn enter(&self, _: &StatementContext) -> Result<Box<dyn Send>, Error> {
        Ok(Box::new(()))
    }

    fn contacted(&self, _: Option<&Error>) {}
}

pub struct Lake {
    pub source: Arc<dyn Source>,
    pub tables: Vec<Table>,
    pub context: SessionContext,
}

pub fn open(url: &str, options: &[(&str, &str)]) -> Result<Arc<dyn Source>, Error> {
    FilesConnector.open(SourceConfig {
        name: "lake".into(),
        url: url.into(),
        options: options
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect::<BTreeMap<_, _>>(),
        limits: belvedere_connector::Limits::default(),
    })
}

impl Lake {
    pub async fn open(url: &str, options: &[(&str, &str)]) -> Result<Self, Error> {
        let source = open(url, options)?;
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let mut lake = Self {
            source,
            tables: Vec::new(),
            context,
        };
        lake.refresh().await?;
        Ok(lake)
    }

    /// Discover, and register what can be.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        self.tables = self.source.discover().await?;
        for table in &self.tables {
            if let Ok(Some(provider)) = self.source.table_provider(table, Arc::new(Open)).await {
                let name = datafusion::common::TableReference::bare(table.name.as_str());
                self.context.register_table(name, provider).unwrap();
            }
        }
        Ok(())
    }

    pub fn names(&self) -> Vec<&str> {
        self.tables.iter().map(|t| t.name.as_str()).collect()
    }

    pub fn table(&self, name: &str) -> &Table {
        self.tables
            .iter()
            .find(|t| t.name == name)
            .unwrap_or_else(|| panic!("no table {name}"))
    }

    /// `name type, …` of a table's columns.
    pub fn columns(&self, name: &str) -> String {
        let column = |c: &belvedere_connector::Column| format!("{} {}", c.name, c.data_type);
        self.table(name)
            .columns
            .iter()
            .map(column)
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub async fn batches(&self, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        self.context.sql(sql).await?.collect().await
    }

    /// The rows of an answer, values separated by `|`.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let batches = self
            .batches(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        let table = pretty_format_batches(&batches).unwrap().to_string();
        let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
        lines
            .map(|l| {
                l.trim_matches('|')
                    .split('|')
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect()
    }

    /// The connector's error that a query fails with.
    pub async fn error(&self, sql: &str) -> Error {
        let error = self.batches(sql).await.expect_err("it should fail");
        source_error(&error).unwrap_or_else(|| panic!("not the source's own error: {error:?}"))
    }
}

pub fn source_error(e: &DataFusionError) -> Option<Error> {
    match e {
        DataFusionError::External(inner) => inner.downcast_ref::<Error>().cloned(),
        DataFusionError::Context(_, inner) => source_error(inner),
        DataFusionError::Shared(inner) => source_error(inner),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            arrow::error::ArrowError::ExternalError(inner) => {
                match inner.downcast_ref::<DataFusionError>() {
                    Some(inner) => source_error(inner),
                    None => inner.downcast_ref::<Error>().cloned(),
                }
            }
            _ => None,
        },
        _ => None,
    }
}

pub fn write(dir: &Path, file: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

pub fn parquet_bytes(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
