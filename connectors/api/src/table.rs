use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// Key of a field's metadata: the type as the source calls it, e.g. `character varying(20)`.
pub const NATIVE_TYPE: &str = "belvedere.native_type";
/// Key of a field's metadata: the collation a text column is compared by at the source, as the source calls it. The
/// capability table decides by it what is exact.
pub const COLLATION: &str = "belvedere.collation";

/// Key of a field's metadata: of a column of the table's primary key, how many columns that has.
pub const PRIMARY_KEY: &str = "belvedere.primary_key";

/// A table as discovery found it. Durable in the engine's catalog, so that a source that is down stays known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    pub columns: Vec<Column>,
    /// Column names, in key order; empty without one.
    pub primary_key: Vec<String>,
    /// Other unique keys over columns that are never null.
    pub unique_keys: Vec<Vec<String>>,
    pub foreign_keys: Vec<ForeignKey>,
    pub comment: Option<String>,
    /// The source's own estimate.
    pub row_count: Option<u64>,
    /// The source's own estimate of the table's size on its disk.
    pub size_bytes: Option<u64>,
    /// What a person should know, e.g. that 12 values of a column do not fit its type.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
}

impl TableKind {
    /// As `information_schema.tables.table_type` names it.
    pub fn sql_name(self) -> &'static str {
        match self {
            Self::Table | Self::PartitionedTable => "BASE TABLE",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::ForeignTable => "FOREIGN",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// What it is read as.
    pub data_type: DataType,
    pub nullable: bool,
    /// The type as the source calls it.
    pub native_type: String,
    /// The collation text is compared by at the source; None for other types.
    pub collation: Option<String>,
    pub comment: Option<String>,
    /// The source's own estimate of how many different values it has.
    #[serde(default)]
    pub distinct: Option<u64>,
    /// How its values are spread, of types that are [measured](crate::is_measured).
    #[serde(default)]
    pub histogram: Option<Arc<Histogram>>,
    /// What a person should know about how it is read, e.g. `money has no mapping: read as text`.
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    pub name: Option<String>,
    pub columns: Vec<String>,
    pub referenced_schema: String,
    pub referenced_table: String,
    pub referenced_columns: Vec<String>,
}

impl Table {
    /// The Arrow schema all scans of this table refer to: one field per column, in order, with native type, collation
    /// and primary key as metadata.
    pub fn arrow_schema(&self) -> SchemaRef {
        let key = &self.primary_key;
        let fields = self.columns.iter().map(|column| {
            let mut field = column.field();
            if key.contains(&column.name) {
                let columns = key.len().to_string();
                field
                    .metadata_mut()
                    .insert(PRIMARY_KEY.to_string(), columns);
            }
            field
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Whether these columns of a scan, by number, are at least all those of the table's primary key.
pub fn holds_primary_key(schema: &Schema, columns: &BTreeSet<usize>) -> bool {
    let in_key = columns.iter().filter_map(|i| {
        let columns = schema.fields().get(*i)?.metadata().get(PRIMARY_KEY)?;
        columns.parse::<usize>().ok()
    });
    let in_key: Vec<usize> = in_key.collect();
    in_key.first() == Some(&in_key.len())
}

impl Column {
    /// Whether a field of [`Table::arrow_schema`] was made of a column that is declared like this one.
    pub fn is_declared_as(&self, field: &Field) -> bool {
        let now = self.field();
        [NATIVE_TYPE, COLLATION]
            .iter()
            .all(|key| now.metadata().get(*key) == field.metadata().get(*key))
    }

    pub fn field(&self) -> Field {
        let mut metadata = HashMap::from([(NATIVE_TYPE.to_string(), self.native_type.clone())]);
        if let Some(collation) = &self.collation {
            metadata.insert(COLLATION.to_string(), collation.clone());
        }
        Field::new(&self.name, self.data_type.clone(), self.nullable).with_metadata(metadata)
    }
}
