use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef};
use async_trait::async_trait;
use belvedere_connector::{Captured, Code, Door, Error, Result, StatementContext, Table};
use chrono::{DateTime, Utc};
use datafusion::common::DataFusionError;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::listing::{Versions, hash};
use crate::failure::{self, Reading};
use crate::kind::Kind;
use crate::settings::Place;
use crate::source::{READS, Shared};
use crate::table::{FilesTable, Placed};

/// The coarsest clock by which a file system says when a file was changed.
const TICK: Duration = Duration::from_secs(2);

/// The column that says which file a row is of, by a name that no column of the table has.
pub fn mark(table: &Table) -> FieldRef {
    let mut name = "$file".to_string();
    while table.columns.iter().any(|column| column.name == name) {
        name.push('$');
    }
    Arc::new(Field::new(name, DataType::Int64, false))
}

/// A table that is followed.
#[derive(Debug)]
pub struct Watched {
    pub captured: Captured,
    shared: Arc<Shared>,
    table: FilesTable,
    /// The mark's place among the wanted columns.
    pub mark: usize,
    /// The others' places in the table.
    columns: Vec<usize>,
}

/// The files that a table has.
#[derive(Debug)]
pub struct Found {
    kind: Kind,
    pub files: BTreeMap<i64, Placed>,
    pub versions: Versions,
}

impl Watched {
    /// # Errors
    /// If the table has not the columns that are wanted; the store's.
    pub async fn new(shared: &Arc<Shared>, captured: &Captured) -> Result<Self> {
        let name = &captured.table.name;
        let located = |e: Error| e.at_source(shared.settings.name()).at_table(name);
        let table = shared.table(name).ok_or_else(|| shared.missing(name))?;
        let field = mark(&table);
        let schema = table.arrow_schema();
        let place = |wanted: &FieldRef| {
            let found = schema.column_with_name(wanted.name());
            let same = found.filter(|(_, field)| field.data_type() == wanted.data_type());
            same.map(|(place, _)| place).ok_or_else(|| {
                let message = "it is no longer there, or of another type";
                located(Error::new(Code::SchemaChanged, message)).at_column(wanted.name())
            })
        };
        let fields = captured.schema.fields().iter();
        let columns = fields.filter(|wanted| wanted.name() != field.name());
        let columns = columns.map(place).collect::<Result<_>>()?;
        let mark = captured.schema.index_of(field.name()).map_err(|_| {
            located(Error::internal(
                "files are followed with the column that says which file a row is of",
            ))
        })?;
        let store = shared.store().map_err(located)?;
        let place = shared.place(&store, name).await.map_err(located)?;
        Ok(Self {
            table: FilesTable::new(shared.clone(), Arc::new(Unhindered), place, &table),
            captured: captured.clone(),
            shared: shared.clone(),
            mark,
            columns,
        })
    }

    pub fn name(&self) -> &str {
        &self.captured.table.name
    }

    /// The files there are now.
    ///
    /// # Errors
    /// If there is none, or they are no table; the store's.
    pub async fn list(&self) -> Result<Found> {
        let asked = Utc::now();
        let store = self.shared.store()?;
        let state = &self.shared.facts.state;
        let listed = self.table.files(state, &store, Vec::new()).await;
        let (kind, placed) = listed.map_err(|e| self.ours(None, e))?;
        let mut found = Found {
            kind,
            files: BTreeMap::new(),
            versions: Versions::new(),
        };
        for (file, values) in placed {
            let mark = hash(file.meta.location.as_ref().as_bytes()) as i64;
            found.versions.insert(mark, self.version(&file.meta, asked));
            let path = file.meta.location.clone();
            if let Some((other, _)) = found.files.insert(mark, (file, values)) {
                let other = other.meta.location;
                let message = format!("files {path} and {other} cannot be told apart");
                return Err(Error::new(Code::MalformedFile, message)
                    .help("Give one of them another name")
                    .at_source(self.shared.settings.name())
                    .at_table(self.name()));
            }
        }
        Ok(found)
    }

    /// What a store calls a version of the content, or what else tells versions apart.
    fn version(&self, meta: &ObjectMeta, asked: DateTime<Utc>) -> u64 {
        let time = meta.last_modified.timestamp_micros().to_string();
        let tag = meta.e_tag.as_ref().unwrap_or(&time);
        let version = hash(format!("{} {tag}", meta.size).as_bytes());
        // Written over within a tick, it would look as it did: it is read once more later.
        let is_local = matches!(self.shared.settings.place, Place::Local(_));
        match is_local && meta.last_modified + TICK >= asked {
            true => !version,
            false => version,
        }
    }

    /// The rows that a file has, as it was at one moment.
    ///
    /// # Errors
    /// If it is not what it should be, or is gone; if it is written to without a pause.
    pub async fn rows(&self, found: &Found, mark: i64) -> Result<Vec<RecordBatch>> {
        let Some((file, values)) = found.files.get(&mark) else {
            return Err(Error::internal("a file that was not listed is read"));
        };
        let (mut file, values) = (file.clone(), values.clone());
        let store = self.shared.store()?;
        let path = file.meta.location.clone();
        for _ in 0..READS {
            let placed = (file.clone(), values.clone());
            let read = self.read(&store, found.kind, placed, mark).await;
            let after = store.head(&path).await;
            let after = after
                .map_err(|e| failure::store(&self.shared.settings, Some(path.as_ref()), &e))?;
            if is_same(&file.meta, &after) {
                return read;
            }
            file.meta = ObjectMeta {
                location: path.clone(),
                ..after
            };
        }
        let message = format!("file {path} changes while it is read, again and again");
        Err(Error::new(Code::Unreachable, message)
            .help("Write to another file, and give it this name when it is complete")
            .at_source(self.shared.settings.name())
            .at_table(self.name()))
    }

    async fn read(
        &self,
        store: &Arc<dyn ObjectStore>,
        kind: Kind,
        file: Placed,
        mark: i64,
    ) -> Result<Vec<RecordBatch>> {
        let path = file.0.meta.location.to_string();
        let state = &self.shared.facts.state;
        let read = async {
            let columns = Some(&self.columns);
            let plan = self
                .table
                .read(state, store, kind, vec![file], columns, None)
                .await?;
            let rows = execute_stream(plan, state.task_ctx())?;
            let rows: Vec<RecordBatch> = rows.try_collect().await?;
            rows.iter().map(|rows| self.marked(rows, mark)).collect()
        };
        let read: Result<_, DataFusionError> = read.await;
        read.map_err(|e| self.ours(Some((kind, &path)), e))
    }

    /// Rows with their mark.
    fn marked(&self, rows: &RecordBatch, mark: i64) -> Result<RecordBatch, DataFusionError> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        let marks = Int64Array::from_value(mark, rows.num_rows());
        columns.insert(self.mark, Arc::new(marks));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = self.captured.schema.clone();
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }

    fn ours(&self, file: Option<(Kind, &str)>, e: DataFusionError) -> Error {
        let settings = &self.shared.settings;
        let own = failure::cause::<Error>(&e).cloned();
        let error = own.unwrap_or_else(|| match file {
            Some((kind, path)) => {
                let reading = Reading {
                    settings: settings.clone(),
                    table: self.name().to_string(),
                    kind,
                    columns: Vec::new(),
                };
                let known = reading.reworded(path, true, &e);
                known.unwrap_or_else(|| reading.malformed(path))
            }
            None => Error::new(Code::Unreachable, "its files cannot be listed"),
        });
        error.at_source(settings.name()).at_table(self.name())
    }
}

fn is_same(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    let is_of_one_version = match (&before.e_tag, &after.e_tag) {
        (Some(before), Some(after)) => before == after,
        _ => before.last_modified == after.last_modified,
    };
    is_of_one_version && before.size == after.size
}

/// Files are followed one after the other: no more than one request is under way.
#[derive(Debug)]
struct Unhindered;

#[async_trait]
impl Door for Unhindered {
    async fn enter(&self, _: &StatementContext) -> Result<Box<dyn Send>> {
        Ok(Box::new(()))
    }

    fn contacted(&self, _: Option<&Error>) {}
}
