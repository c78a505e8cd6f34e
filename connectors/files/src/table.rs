use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use belvedere_connector::{Code, Door, Error, StatementContext, Table};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{
    ColumnStatistics, DFSchema, DataFusionError, Result, ScalarValue, Statistics, project_schema,
};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::compute_all_files_statistics;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::facts::{FileFacts, same_names};
use crate::failure::Reading;
use crate::kind::Kind;
use crate::layout::{self, DataFile, TablePlace};
use crate::reader::{NamedReader, has_floats};
use crate::source::{PARTITION, Shared};
use crate::types;

/// Files whose statistics are remembered; and asked at once.
const STATISTICS_REMEMBERED: usize = 4096;
const CONCURRENCY: usize = 16;

/// A file, and its folders' values.
pub type Placed = (DataFile, Vec<ScalarValue>);

type KnownStatistics = HashMap<Path, (ObjectMeta, Arc<Statistics>)>;

/// A table of files, listed anew by each scan.
#[derive(Debug)]
pub struct FilesTable {
    shared: Arc<Shared>,
    door: Arc<dyn Door>,
    place: TablePlace,
    name: String,
    /// Columns in the files.
    file_schema: SchemaRef,
    /// Columns from the folders' names; they follow those of the files.
    partitions: Vec<Arc<Field>>,
    schema: SchemaRef,
    /// When it was discovered.
    rows: Option<u64>,
    statistics: Mutex<KnownStatistics>,
}

impl FilesTable {
    pub fn new(shared: Arc<Shared>, door: Arc<dyn Door>, place: TablePlace, table: &Table) -> Self {
        let field =
            |c: &belvedere_connector::Column| Field::new(&c.name, c.data_type.clone(), true);
        let (folders, files): (Vec<_>, Vec<_>) = table
            .columns
            .iter()
            .partition(|c| c.native_type == PARTITION);
        let files: Vec<Field> = files.into_iter().map(field).collect();
        let partitions: Vec<Arc<Field>> = folders.into_iter().map(field).map(Arc::new).collect();
        let all = files
            .iter()
            .cloned()
            .map(Arc::new)
            .chain(partitions.iter().cloned());
        Self {
            shared,
            door,
            place,
            name: table.name.clone(),
            schema: Arc::new(Schema::new(all.collect::<Vec<_>>())),
            file_schema: Arc::new(Schema::new(files)),
            partitions,
            rows: table.row_count,
            statistics: Mutex::default(),
        }
    }

    fn failed(&self, e: Error) -> DataFusionError {
        let e = e
            .at_source(self.shared.settings.name())
            .at_table(&self.name);
        DataFusionError::External(Box::new(e))
    }

    /// Whether a condition reads nothing but folders' names.
    fn is_on_folders(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        !columns.is_empty()
            && !filter.is_volatile()
            && !filter.contains_outer()
            && columns
                .iter()
                .all(|c| self.partitions.iter().any(|p| *p.name() == c.name))
    }

    /// The files there are now that conditions on folders leave.
    pub async fn files(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        filters: Vec<Expr>,
    ) -> Result<(Kind, Vec<Placed>)> {
        let files = layout::files(&self.shared.settings, store, &self.place)
            .await
            .map_err(|e| self.failed(e))?;
        // A table without files is no table, for discovery too: never one without rows.
        let (kind, columns) = layout::shape(&self.name, &files)
            .and_then(|shape| shape.ok_or_else(|| self.shared.missing(&self.name)))
            .map_err(|e| self.failed(e))?;
        if !columns.iter().eq(self.partitions.iter().map(|p| p.name())) {
            return Err(self.failed(self.changed("its partition columns are no longer the same")));
        }
        let filter = match conjunction(filters) {
            None => None,
            Some(filter) => {
                let schema = Arc::new(Schema::new(self.partitions.clone()));
                let df_schema = DFSchema::try_from(schema.as_ref().clone())?;
                Some((state.create_physical_expr(filter, &df_schema)?, schema))
            }
        };
        let mut chosen = Vec::new();
        for file in files {
            let mut values = Vec::with_capacity(self.partitions.len());
            for ((_, value), field) in file.partitions.iter().zip(&self.partitions) {
                let typed = layout::partition_value(value.as_deref(), field.data_type());
                values.push(typed.ok_or_else(|| {
                    let message = format!(
                        "the folder of {} has no {} as its value",
                        file.meta.location,
                        field.data_type()
                    );
                    self.failed(self.changed(message).at_column(field.name()))
                })?);
            }
            if let Some((filter, schema)) = &filter {
                let row = values
                    .iter()
                    .map(ScalarValue::to_array)
                    .collect::<Result<Vec<_>>>()?;
                let row = RecordBatch::try_new(schema.clone(), row)?;
                let verdict =
                    ScalarValue::try_from_array(&filter.evaluate(&row)?.into_array(1)?, 0)?;
                if verdict != ScalarValue::Boolean(Some(true)) {
                    continue;
                }
            }
            chosen.push((file, values));
        }
        Ok((kind, chosen))
    }

    /// What is in these files.
    pub async fn read(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        kind: Kind,
        files: Vec<Placed>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = ObjectStoreUrl::parse(format!(
            "files://{:016x}",
            self.shared.settings.fingerprint()
        ))?;
        // DataFusion wants one to be known, for all statements; it is not the one that is read.
        let known = self.shared.store().map_err(|e| self.failed(e))?;
        state
            .runtime_env()
            .register_object_store(url.as_ref(), known);
        if files.is_empty() {
            let schema = project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let settings = &self.shared.settings;
        let plain: Vec<DataFile> = files.iter().map(|(file, _)| file.clone()).collect();
        let facts = self
            .shared
            .facts
            .of(settings, store, &self.name, &plain)
            .await
            .map_err(|e| self.failed(e))?;
        for (file, facts) in plain.iter().zip(&facts) {
            self.check(file, facts).map_err(|e| self.failed(e))?;
        }

        let format = kind.format(&settings.csv);
        let format_ref = &format;
        let files: Vec<PartitionedFile> = stream::iter(files)
            .map(|(file, values)| async move {
                let mut read = PartitionedFile::from(file.meta.clone());
                read.partition_values = values;
                let statistics = match kind {
                    Kind::Parquet => {
                        self.file_statistics(state, store, format_ref, &file.meta)
                            .await?
                    }
                    _ => Arc::new(Statistics::new_unknown(&self.file_schema)),
                };
                let own = statistics.column_statistics.len();
                let mut read = read.with_statistics(statistics);
                count_null_folders(&mut read, own);
                Ok::<_, DataFusionError>(read)
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let groups = FileGroup::new(files).split_files(state.config().target_partitions().max(1));
        let (groups, statistics) =
            compute_all_files_statistics(groups, self.schema.clone(), true, false)?;

        let columns = TableSchema::builder(self.file_schema.clone())
            .with_table_partition_cols(self.partitions.clone())
            .build();
        let config = FileScanConfigBuilder::new(url, format.file_source(columns))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        let plan = format.create_physical_plan(state, config).await?;
        let reading = Reading {
            settings: settings.clone(),
            table: self.name.clone(),
            kind,
            columns: self
                .file_schema
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect(),
        };
        named(plan, reading, store.clone(), state)
    }

    fn changed(&self, message: impl Into<String>) -> Error {
        Error::new(Code::SchemaChanged, message)
            .help(format!("REFRESH SOURCE {}", self.shared.settings.name()))
    }

    /// Whether a file's columns are the table's: what does not fit must not be read as something else.
    fn check(&self, file: &DataFile, facts: &FileFacts) -> belvedere_connector::Result<()> {
        if file.kind.is_csv() {
            // A name the folders have too is another one here.
            let expected = self.file_schema.fields().iter().map(|f| {
                let name = f.name().as_str();
                let own = name.strip_suffix("_in_file");
                own.filter(|own| self.partitions.iter().any(|p| p.name() == own))
                    .unwrap_or(name)
            });
            same_names(&self.name, &file.meta.location, expected, &facts.schema)
                .map_err(|e| self.changed(e.message.clone()))?;
        }
        for field in self.file_schema.fields() {
            let Ok(own) = facts.schema.field_with_name(field.name()) else {
                continue;
            };
            let declared = self
                .shared
                .settings
                .declared(&self.name, field.name())
                .is_some();
            if !declared && !types::holds(field.data_type(), own.data_type()) {
                return Err(self
                    .changed(format!(
                        "file {} has {} where the table has {}",
                        file.meta.location,
                        own.data_type(),
                        field.data_type()
                    ))
                    .at_column(field.name()));
            }
        }
        Ok(())
    }

    /// What Parquet says of a file's columns. Floats: only how many are NULL, for it does not count NaN.
    async fn file_statistics(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        format: &Arc<dyn FileFormat>,
        meta: &ObjectMeta,
    ) -> Result<Arc<Statistics>> {
        if let Some((known, statistics)) = self.known().get(&meta.location)
            && known == meta
        {
            return Ok(statistics.clone());
        }
        let mut statistics = format
            .infer_stats(state, store, self.file_schema.clone(), meta)
            .await?;
        for (column, field) in statistics
            .column_statistics
            .iter_mut()
            .zip(self.file_schema.fields())
        {
            if has_floats(field.data_type()) {
                column.min_value = Precision::Absent;
                column.max_value = Precision::Absent;
                column.sum_value = Precision::Absent;
            }
        }
        let statistics = Arc::new(statistics);
        let mut known = self.known();
        if known.len() >= STATISTICS_REMEMBERED {
            known.clear();
        }
        known.insert(meta.location.clone(), (meta.clone(), statistics.clone()));
        Ok(statistics)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, KnownStatistics> {
        self.statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Inexact(usize::try_from(self.rows?).ok()?);
        Some(statistics)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match self.is_on_folders(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statement = state.config().get_extension::<StatementContext>();
        let store = (self.shared)
            .store_behind(&self.door, statement.unwrap_or_default())
            .map_err(|e| self.failed(e))?;
        let on_folders = filters
            .iter()
            .filter(|f| self.is_on_folders(f))
            .cloned()
            .collect();
        let (kind, files) = self.files(state, &store, on_folders).await?;
        self.read(state, &store, kind, files, projection, limit)
            .await
    }
}

/// DataFusion 55 takes folders' values for never NULL: of a file in `…__HIVE_DEFAULT_PARTITION__` all are. The
/// statistics of the folders' columns follow `own` ones of the file's.
fn count_null_folders(file: &mut PartitionedFile, own: usize) {
    let Some(statistics) = &mut file.statistics else {
        return;
    };
    let statistics = Arc::make_mut(statistics);
    let folders = statistics.column_statistics.iter_mut().skip(own);
    for (column, value) in folders.zip(&file.partition_values) {
        if value.is_null() {
            *column = ColumnStatistics::new_unknown();
            column.null_count = statistics.num_rows;
        }
    }
}

/// The same scan, by a reader of the statement's own store, whose errors name the file.
fn named(
    plan: Arc<dyn ExecutionPlan>,
    reading: Reading,
    store: Arc<dyn ObjectStore>,
    state: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let config = plan
        .downcast_ref::<DataSourceExec>()
        .and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>())
        .ok_or_else(|| {
            DataFusionError::Internal("a file format planned something else than a scan".into())
        })?;
    let mut source = config.file_source().clone();
    if let Some(parquet) = source.downcast_ref::<ParquetSource>() {
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(store.clone(), footers);
        let parquet = parquet.clone();
        source = Arc::new(parquet.with_parquet_file_reader_factory(Arc::new(reader)));
    }
    let reader = NamedReader::new(source, Arc::new(reading), store);
    let config = FileScanConfigBuilder::from(config.clone())
        .with_source(Arc::new(reader))
        .build();
    Ok(DataSourceExec::from_data_source(config))
}
