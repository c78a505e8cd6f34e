use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{FieldRef, Schema};
use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Capture, Captured, ChangeStream, Code, Column, Door, Error, Expr,
    Fragment, Position, Rel, Result, ScanRequest, Snapshot, Source, StatementContext, Support,
    Table, TableKind, TableRef,
};
use datafusion::catalog::TableProvider;
use futures::{StreamExt, stream};
use object_store::ObjectStore;

use crate::calm::CalmStore;
use crate::changes::{self, Watch};
use crate::facts::{Facts, merged};
use crate::layout::{self, DataFile, Entry, TablePlace};
use crate::settings::{Place, Settings};
use crate::store;
use crate::table::FilesTable;
use crate::types;

/// The one schema of a folder.
const SCHEMA: &str = "public";
/// What a column's native type says if it comes from the folders' names.
pub const PARTITION: &str = "folder";
/// How often files are read that change while they are read.
pub const READS: usize = 5;
/// Tables looked at together.
const CONCURRENCY: usize = 4;

/// A folder or bucket.
#[derive(Debug)]
pub struct FilesSource {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
}

/// What a source's tables share with it.
#[derive(Debug)]
pub struct Shared {
    pub settings: Arc<Settings>,
    pub facts: Facts,
    store: Mutex<Option<Arc<dyn ObjectStore>>>,
    places: Mutex<HashMap<String, TablePlace>>,
    /// What discovery found.
    tables: Mutex<HashMap<String, Arc<Table>>>,
}

impl Shared {
    /// A table as it was discovered.
    pub fn table(&self, name: &str) -> Option<Arc<Table>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.get(name).cloned()
    }

    fn remember(&self, tables: &[Table]) {
        let by_name = |table: &Table| (table.name.clone(), Arc::new(table.clone()));
        let mut known = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        *known = tables.iter().map(by_name).collect();
    }

    /// The store, made at its first use: secrets are resolved then.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match &*store {
            Some(known) => Ok(known.clone()),
            None => Ok(store.insert(store::open(&self.settings)?).clone()),
        }
    }

    /// The store as a statement reads it: a folder of this machine has no door.
    pub fn store_behind(
        &self,
        door: &Arc<dyn Door>,
        statement: Arc<StatementContext>,
    ) -> Result<Arc<dyn ObjectStore>> {
        let store = self.store()?;
        Ok(match self.settings.place {
            Place::Local(_) => store,
            _ => Arc::new(CalmStore::new(
                store,
                self.settings.clone(),
                door.clone(),
                statement,
            )),
        })
    }

    async fn entries(&self, store: &Arc<dyn ObjectStore>) -> Result<Vec<Entry>> {
        let entries = layout::entries(&self.settings, store).await?;
        let places = entries
            .iter()
            .map(|e| (e.name.clone(), e.place.clone()))
            .collect();
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
        Ok(entries)
    }

    /// Where a table's files are.
    pub async fn place(&self, store: &Arc<dyn ObjectStore>, table: &str) -> Result<TablePlace> {
        let known = self
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(table)
            .cloned();
        if let Some(place) = known {
            return Ok(place);
        }
        let entries = self.entries(store).await?;
        entries
            .into_iter()
            .find(|e| e.name == table)
            .map(|e| e.place)
            .ok_or_else(|| self.missing(table))
    }

    pub fn missing(&self, table: &str) -> Error {
        Error::new(
            Code::TableMissing,
            "there are no files of this table any more",
        )
        .at_source(self.settings.name())
        .at_table(table)
    }
}

impl FilesSource {
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            settings: Arc::new(settings),
            facts: Facts::default(),
            store: Mutex::default(),
            places: Mutex::default(),
            tables: Mutex::default(),
        };
        let shared = Arc::new(shared);
        Self {
            watch: Arc::new(Watch::new(shared.clone())),
            shared,
        }
    }

    /// A table from its files. One that cannot be read has no columns and says why.
    async fn table(&self, store: &Arc<dyn ObjectStore>, entry: &Entry) -> Result<Option<Table>> {
        let Some((files, described)) = self.described(store, entry).await? else {
            return Ok(None);
        };
        let mut table = Table {
            schema: SCHEMA.to_string(),
            name: entry.name.clone(),
            kind: TableKind::Table,
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            comment: None,
            row_count: None,
            size_bytes: Some(files.iter().map(|f| f.meta.size).sum()),
            warnings: entry.warning.iter().cloned().collect(),
        };
        match described {
            Ok(described) => {
                table.columns = described.columns;
                table.row_count = described.rows;
                table.warnings.extend(described.warnings);
                table.comment = Some(described.comment);
                if table.columns.iter().any(|c| c.native_type == PARTITION) {
                    table.kind = TableKind::PartitionedTable;
                }
            }
            // One bad table does not hide the others.
            Err(e)
                if matches!(
                    e.code,
                    Code::MalformedFile | Code::PermissionDenied | Code::TableMissing
                ) =>
            {
                table.warnings.push(e.to_string());
            }
            Err(e) => return Err(e),
        }
        Ok(Some(table))
    }

    /// The files of a table, if there are any, and what they hold. Where it cannot be told since they were written over
    /// meanwhile, those that are there now are asked.
    async fn described(
        &self,
        store: &Arc<dyn ObjectStore>,
        entry: &Entry,
    ) -> Result<Option<(Vec<DataFile>, Result<Described>)>> {
        let list = || layout::files(&self.shared.settings, store, &entry.place);
        let mut files = list().await?;
        for reads in 1.. {
            if files.is_empty() {
                break;
            }
            let described = self.describe_files(store, &entry.name, &files).await;
            if described.is_ok() || reads == READS {
                return Ok(Some((files, described)));
            }
            let now = list().await?;
            if now == files {
                return Ok(Some((files, described)));
            }
            files = now;
        }
        Ok(None)
    }

    async fn describe_files(
        &self,
        store: &Arc<dyn ObjectStore>,
        name: &str,
        files: &[DataFile],
    ) -> Result<Described> {
        let settings = &self.shared.settings;
        let (kind, partitions) =
            layout::shape(name, files)?.ok_or_else(|| self.shared.missing(name))?;
        let facts = self.shared.facts.of(settings, store, name, files).await?;
        let (mut fields, warnings) = merged(name, files, &facts)?;
        // A column that the folders name too is the folders'; in CSV it keeps its position, under another name.
        for field in &mut fields {
            if kind.is_csv() && partitions.contains(field.name()) {
                field.set_name(format!("{}_in_file", field.name()));
            }
        }
        fields.retain(|f| !partitions.contains(f.name()));
        let mut columns: Vec<Column> = fields
            .iter()
            .map(|field| {
                let declared = settings.declared(name, field.name());
                Column {
                    name: field.name().clone(),
                    data_type: declared.unwrap_or(field.data_type()).clone(),
                    nullable: true,
                    native_type: field.data_type().to_string(),
                    collation: None,
                    comment: None,
                    distinct: None,
                    histogram: None,
                    note: declared
                        .map(|_| format!("declared: the files have {}", field.data_type())),
                }
            })
            .collect();
        for (i, partition) in partitions.iter().enumerate() {
            let values = files.iter().filter_map(|f| f.partitions[i].1.as_deref());
            let declared = settings.declared(name, partition);
            columns.push(Column {
                name: partition.clone(),
                data_type: declared
                    .cloned()
                    .unwrap_or_else(|| types::of_partition(values)),
                nullable: true,
                native_type: PARTITION.to_string(),
                collation: None,
                comment: None,
                distinct: None,
                histogram: None,
                note: Some(
                    "from the folders' names: a condition on it reads only those folders"
                        .to_string(),
                ),
            });
        }
        let rows = facts.iter().map(|f| f.rows).sum::<Option<u64>>();
        let comment = match files {
            [file] => format!("{kind}: {}", file.meta.location),
            _ => format!("{kind}: {} files", files.len()),
        };
        Ok(Described {
            columns,
            rows,
            warnings,
            comment,
        })
    }
}

struct Described {
    columns: Vec<Column>,
    rows: Option<u64>,
    warnings: Vec<String>,
    comment: String,
}

#[async_trait]
impl Source for FilesSource {
    async fn discover(&self) -> Result<Vec<Table>> {
        let located = |e: Error| e.at_source(self.shared.settings.name());
        // A secret may have changed since the store was made.
        *self
            .shared
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        let store = self.shared.store().map_err(located)?;
        let entries = self.shared.entries(&store).await.map_err(located)?;
        let store = &store;
        let tables: Vec<_> = stream::iter(entries)
            .map(|entry| async move { self.table(store, &entry).await })
            .buffered(CONCURRENCY)
            .collect()
            .await;
        let tables: Result<Vec<_>> = tables.into_iter().collect();
        let tables: Vec<Table> = tables.map_err(located)?.into_iter().flatten().collect();
        self.shared.remember(&tables);
        Ok(tables)
    }

    fn remember(&self, tables: &[Table]) {
        self.shared.remember(tables);
    }

    fn default_schema(&self) -> &str {
        SCHEMA
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::new(ReadHere)
    }

    fn partitions(&self, _fragment: &Fragment) -> usize {
        1
    }

    fn max_streams(&self) -> usize {
        match self.shared.settings.place {
            Place::Local(_) => usize::MAX,
            _ => self.shared.settings.max_connections,
        }
    }

    fn describe(&self, fragment: &Fragment) -> String {
        let tables: Vec<_> = fragment
            .rel
            .tables()
            .iter()
            .map(|t| t.name.clone())
            .collect();
        format!(
            "read {} from {}",
            tables.join(", "),
            self.shared.settings.url()
        )
    }

    async fn scan(&self, _request: ScanRequest) -> Result<Vec<BatchStream>> {
        Err(
            Error::internal("files are read through their table provider, not as fragments")
                .at_source(self.shared.settings.name()),
        )
    }

    fn capture(&self) -> Capture {
        Capture::Snapshot
    }

    fn looks(&self) -> bool {
        true
    }

    fn identity(&self, table: &TableRef) -> Option<Vec<String>> {
        let hidden = self.hidden(table);
        Some(hidden.iter().map(|field| field.name().clone()).collect())
    }

    fn hidden(&self, table: &TableRef) -> Vec<FieldRef> {
        let known = self.shared.table(&table.name);
        known.iter().map(|table| changes::mark(table)).collect()
    }

    async fn position(&self) -> Result<Position> {
        self.watch.now().await
    }

    async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        self.watch.snapshot(tables).await
    }

    async fn changes(&self, from: &Position, tables: &[Captured]) -> Result<Box<dyn ChangeStream>> {
        self.watch.changes(from, tables).await
    }

    async fn release(&self) -> Result<()> {
        self.watch.release();
        Ok(())
    }

    async fn table_provider(
        &self,
        table: &Table,
        door: Arc<dyn Door>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let located = |e: Error| {
            e.at_source(self.shared.settings.name())
                .at_table(&table.name)
        };
        let store = self.shared.store_behind(&door, Arc::default());
        let store = store.map_err(located)?;
        let place = self.shared.place(&store, &table.name).await;
        let place = place.map_err(located)?;
        if table.columns.is_empty() {
            // It could not be read when it was discovered: say why, or have it discovered again.
            let files = layout::files(&self.shared.settings, &store, &place)
                .await
                .map_err(located)?;
            self.describe_files(&store, &table.name, &files)
                .await
                .map_err(located)?;
            return Err(located(
                Error::new(
                    Code::SchemaChanged,
                    "its files can be read now, and could not before",
                )
                .help(format!("REFRESH SOURCE {}", self.shared.settings.name())),
            ));
        }
        Ok(Some(Arc::new(FilesTable::new(
            self.shared.clone(),
            door,
            place,
            table,
        ))))
    }
}

/// Nothing is answered by a folder: the engine reads it with DataFusion's readers.
#[derive(Debug)]
struct ReadHere;

impl Capabilities for ReadHere {
    fn predicate(&self, _predicate: &Expr, _input: &Schema) -> Support {
        Support::No("files are read here".to_string())
    }

    fn node(&self, _rel: &Rel) -> Support {
        Support::No("files are read here".to_string())
    }
}
