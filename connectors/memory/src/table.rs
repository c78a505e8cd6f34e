use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use belvedere_connector::{Code, Column, Error, Result, Table, TableKind};

use crate::asked::Asked;

/// The schema of all tables.
pub const SCHEMA: &str = "main";

/// A table: batches of one schema, and what discovery says of it.
#[derive(Debug, Clone)]
pub struct MemoryTable {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// Column names, in key order.
    pub primary_key: Vec<String>,
}

impl MemoryTable {
    /// Batches must have the schema.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self {
            schema,
            batches,
            primary_key: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_primary_key(mut self, columns: &[&str]) -> Self {
        self.primary_key = columns.iter().map(ToString::to_string).collect();
        self
    }

    pub(crate) fn described(&self, name: &str) -> Table {
        let columns = self.schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            native_type: field.data_type().to_string(),
            collation: None,
            comment: None,
            distinct: None,
            histogram: None,
            note: None,
        });
        Table {
            schema: SCHEMA.to_string(),
            name: name.to_string(),
            kind: TableKind::Table,
            columns: columns.collect(),
            primary_key: self.primary_key.clone(),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            comment: None,
            row_count: Some(self.batches.iter().map(|b| b.num_rows() as u64).sum()),
            size_bytes: Some(
                self.batches
                    .iter()
                    .map(|b| b.get_array_memory_size() as u64)
                    .sum(),
            ),
            warnings: Vec::new(),
        }
    }

    /// Whether it has these columns, with their types.
    pub(crate) fn has(&self, columns: &SchemaRef) -> bool {
        self.misses(columns).is_none()
    }

    /// The first of them that it does not have.
    pub(crate) fn misses<'c>(&self, columns: &'c SchemaRef) -> Option<&'c str> {
        let has = |field: &Field| {
            let found = self.schema.field_with_name(field.name());
            found.is_ok_and(|found| found.data_type() == field.data_type())
        };
        let mut fields = columns.fields().iter().filter(|field| !has(field));
        Some(fields.next()?.name())
    }

    /// Rows of it, of some columns.
    pub(crate) fn project(&self, rows: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch> {
        let internal = |e: ArrowError| Error::internal(e.to_string());
        let names = columns.fields().iter();
        let arrays =
            names.map(|field| Ok(rows.column(self.schema.index_of(field.name())?).clone()));
        let arrays = arrays.collect::<Result<_, _>>().map_err(internal)?;
        let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(columns.clone(), arrays, &count).map_err(internal)
    }

    /// The batches with the columns asked for, as they are at this moment.
    pub(crate) fn read(&self, asked: &Asked, output: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let changed = |column: &str| {
            Error::new(Code::SchemaChanged, "the column is not what it was")
                .at_table(&asked.table.name)
                .at_column(column)
        };
        let mut columns = Vec::with_capacity(asked.columns.len());
        for field in &asked.columns {
            let index = (self.schema.index_of(field.name())).map_err(|_| changed(field.name()))?;
            if self.schema.field(index).data_type() != field.data_type() {
                return Err(changed(field.name()));
            }
            columns.push(index);
        }
        let batches = self.batches.iter().map(|batch| {
            // A scan of no columns still has rows.
            let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let arrays = columns.iter().map(|i| batch.column(*i).clone()).collect();
            RecordBatch::try_new_with_options(output.clone(), arrays, &rows)
                .map_err(|e| Error::internal(e.to_string()))
        });
        batches.collect()
    }
}
