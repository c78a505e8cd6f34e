use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Field, Schema, SchemaRef};
use belvedere_connector::{Code, Error, Result};
use datafusion::common::DataFusionError;
use datafusion::datasource::file_format::FileFormat;
use datafusion::execution::context::SessionState;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::failure::Reading;
use crate::head;
use crate::kind::Kind;
use crate::layout::DataFile;
use crate::settings::Settings;
use crate::types;

/// Files asked at once.
const CONCURRENCY: usize = 16;
/// Files remembered.
const REMEMBERED: usize = 200_000;

/// What one file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct FileFacts {
    /// Its own columns, in the types tables give them.
    pub schema: SchemaRef,
    /// Known without reading it all.
    pub rows: Option<u64>,
}

/// The facts of files, remembered while a file's size and time are the same.
#[derive(Debug)]
pub struct Facts {
    known: Mutex<HashMap<Path, (ObjectMeta, Arc<FileFacts>)>>,
    /// DataFusion's readers ask a session for their settings and caches.
    pub state: SessionState,
}

impl Default for Facts {
    fn default() -> Self {
        let config = SessionConfig::new().with_target_partitions(1);
        Self {
            known: Mutex::default(),
            state: SessionContext::new_with_config(config).state(),
        }
    }
}

impl Facts {
    /// The facts of each file, in order; or the first file's error, in our words.
    pub async fn of(
        &self,
        settings: &Arc<Settings>,
        store: &Arc<dyn ObjectStore>,
        table: &str,
        files: &[DataFile],
    ) -> Result<Vec<Arc<FileFacts>>> {
        stream::iter(files.to_vec())
            .map(|file| async move {
                self.of_file(settings, store, &file).await.map_err(|e| {
                    let reading = Reading {
                        settings: settings.clone(),
                        table: table.to_string(),
                        kind: file.kind,
                        columns: Vec::new(),
                    };
                    let path = file.meta.location.as_ref();
                    reading.reworded(path, true, &e).unwrap_or_else(|| {
                        reading
                            .malformed(path)
                            .at_source(settings.name())
                            .at_table(table)
                    })
                })
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn of_file(
        &self,
        settings: &Arc<Settings>,
        store: &Arc<dyn ObjectStore>,
        file: &DataFile,
    ) -> Result<Arc<FileFacts>, DataFusionError> {
        let path = &file.meta.location;
        if let Some((meta, facts)) = self.known().get(path)
            && *meta == file.meta
        {
            return Ok(facts.clone());
        }
        let (schema, rows) = match file.kind {
            Kind::Csv(_) | Kind::Tsv(_) | Kind::Json(_) => {
                (head::columns(settings, store, path, file.kind).await?, None)
            }
            Kind::Parquet => {
                let format = file.kind.format(&settings.csv);
                let schema = self.own_schema(&format, store, file).await?;
                let statistics = format
                    .infer_stats(&self.state, store, schema.clone(), &file.meta)
                    .await?;
                (schema, statistics.num_rows.get_value().map(|n| *n as u64))
            }
            Kind::Arrow => (
                self.own_schema(&file.kind.format(&settings.csv), store, file)
                    .await?,
                None,
            ),
        };
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|f| Field::new(f.name(), types::plain(f.data_type()), true))
            .collect();
        let facts = Arc::new(FileFacts {
            schema: Arc::new(Schema::new(fields)),
            rows,
        });
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(path.clone(), (file.meta.clone(), facts.clone()));
        Ok(facts)
    }

    async fn own_schema(
        &self,
        format: &Arc<dyn FileFormat>,
        store: &Arc<dyn ObjectStore>,
        file: &DataFile,
    ) -> Result<SchemaRef, DataFusionError> {
        format
            .infer_schema(&self.state, store, std::slice::from_ref(&file.meta))
            .await
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Path, (ObjectMeta, Arc<FileFacts>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The columns of a table whose files hold these; and what a person should know of them.
pub fn merged(
    table: &str,
    files: &[DataFile],
    facts: &[Arc<FileFacts>],
) -> Result<(Vec<Field>, Vec<String>)> {
    let mut columns: Vec<Field> = Vec::new();
    let mut warnings = Vec::new();
    for (file, facts) in files.iter().zip(facts) {
        let path = &file.meta.location;
        if file.kind.is_csv() && !columns.is_empty() {
            same_names(
                table,
                path,
                columns.iter().map(|c| c.name().as_str()),
                &facts.schema,
            )?;
        }
        for field in facts.schema.fields() {
            let Some(known) = columns.iter_mut().find(|c| c.name() == field.name()) else {
                columns.push(field.as_ref().clone());
                continue;
            };
            let Some(both) = types::both(known.data_type(), field.data_type()) else {
                return Err(Error::new(
                    Code::MalformedFile,
                    format!(
                        "file {path} has a column of type {} that other files have as {}",
                        field.data_type(),
                        known.data_type()
                    ),
                )
                .at_table(table)
                .at_column(field.name()));
            };
            if both == arrow::datatypes::DataType::Utf8
                && (known.data_type() != &both || field.data_type() != &both)
                && !known.data_type().is_null()
                && !field.data_type().is_null()
            {
                warnings.push(format!(
                    "column {} is {} in {path} and {} elsewhere: read as text",
                    field.name(),
                    field.data_type(),
                    known.data_type()
                ));
            }
            known.set_data_type(both);
        }
    }
    warnings.truncate(10);
    Ok((columns, warnings))
}

/// CSV is read by position: a file with other columns, or in another order, would give wrong values.
pub fn same_names<'a>(
    table: &str,
    path: &Path,
    expected: impl Iterator<Item = &'a str> + Clone,
    found: &Schema,
) -> Result<()> {
    if expected
        .clone()
        .eq(found.fields().iter().map(|f| f.name().as_str()))
    {
        return Ok(());
    }
    let names = |names: &[&str]| match names.len() {
        0..=12 => names.join(", "),
        n => format!("{}, … ({n})", names[..12].join(", ")),
    };
    let found: Vec<_> = found.fields().iter().map(|f| f.name().as_str()).collect();
    let expected: Vec<_> = expected.collect();
    Err(Error::new(
        Code::MalformedFile,
        format!(
            "file {path} has the columns {}; other files of the table have {}",
            names(&found),
            names(&expected)
        ),
    )
    .help("The CSV files of a table have the same columns in the same order")
    .at_table(table))
}
