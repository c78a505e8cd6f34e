use std::sync::Arc;

use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, UpdateDeleteRules,
};
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt8Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tonic::Status;

use super::objects::listed;
use super::{Row, rows};
use crate::engine::Session;
use crate::serve::flight::status::encoding;

/// A table as a command names it: None matches every catalog or schema, an empty one none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Table {
    catalog: String,
    schema: String,
    name: String,
}

struct Wanted {
    catalog: Option<String>,
    schema: Option<String>,
    name: String,
}

impl Wanted {
    fn is(&self, table: &Table) -> bool {
        self.catalog.as_ref().is_none_or(|c| *c == table.catalog)
            && self.schema.as_ref().is_none_or(|s| *s == table.schema)
            && self.name == table.name
    }
}

/// A primary or unique key, or a foreign one with what it refers to.
struct Key {
    table: Table,
    kind: String,
    name: Option<String>,
    columns: Vec<String>,
    refers_to: Option<(Table, Vec<String>)>,
}

async fn keys(session: &Session) -> Result<Vec<Key>, Status> {
    let sql = "SELECT source, schema, \"table\", kind, name, columns, \
               referenced_schema, referenced_table, referenced_columns FROM system.keys";
    let found: Vec<Row<9>> = rows(session, sql).await?;
    let key = |[
        source,
        schema,
        table,
        kind,
        name,
        columns,
        schema2,
        table2,
        columns2,
    ]: Row<9>| {
        let catalog = source.unwrap_or_default();
        let refers_to = table2.map(|table| {
            let schema = schema2.unwrap_or_default();
            let to = Table {
                catalog: catalog.clone(),
                schema,
                name: table,
            };
            (to, listed(&columns2.unwrap_or_default()))
        });
        Key {
            table: Table {
                catalog,
                schema: schema.unwrap_or_default(),
                name: table.unwrap_or_default(),
            },
            kind: kind.unwrap_or_default(),
            name,
            columns: listed(&columns.unwrap_or_default()),
            refers_to,
        }
    };
    Ok(found.into_iter().map(key).collect())
}

pub(in crate::serve::flight) fn primary_schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

pub(in crate::serve::flight) async fn primary(
    session: &Session,
    query: CommandGetPrimaryKeys,
) -> Result<RecordBatch, Status> {
    let wanted = Wanted {
        catalog: query.catalog,
        schema: query.db_schema,
        name: query.table,
    };
    let keys = keys(session).await?;
    let mut found: Vec<(&Key, usize)> = keys
        .iter()
        .filter(|key| key.kind == "PRIMARY KEY" && wanted.is(&key.table))
        .flat_map(|key| (0..key.columns.len()).map(move |i| (key, i)))
        .collect();
    found.sort_by_key(|(key, i)| (key.table.clone(), key.name.clone(), *i));
    let text = |get: fn(&Key) -> Option<&str>| -> ArrayRef {
        Arc::new(
            found
                .iter()
                .map(|(key, _)| get(key))
                .collect::<StringArray>(),
        )
    };
    let columns = found
        .iter()
        .map(|(key, i)| key.columns.get(*i).map(String::as_str));
    RecordBatch::try_new(
        primary_schema(),
        vec![
            text(|key| Some(&key.table.catalog)),
            text(|key| Some(&key.table.schema)),
            text(|key| Some(&key.table.name)),
            Arc::new(columns.collect::<StringArray>()),
            text(|key| key.name.as_deref()),
            Arc::new(Int32Array::from_iter_values(
                found.iter().map(|(_, i)| ordinal(*i)),
            )),
        ],
    )
    .map_err(encoding)
}

/// Counted from 1.
fn ordinal(index: usize) -> i32 {
    i32::try_from(index + 1).unwrap_or(i32::MAX)
}

pub(in crate::serve::flight) fn foreign_schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

/// One column of a foreign key and the one it refers to.
struct Reference<'a> {
    key: &'a Key,
    to: &'a Table,
    to_key: Option<&'a str>,
    column: &'a str,
    to_column: &'a str,
    index: usize,
}

fn references(keys: &[Key]) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for key in keys {
        let Some((to, to_columns)) = &key.refers_to else {
            continue;
        };
        let to_key = keys
            .iter()
            .find(|k| k.refers_to.is_none() && k.table == *to && k.columns == *to_columns);
        for (index, (column, to_column)) in key.columns.iter().zip(to_columns).enumerate() {
            let to_key = to_key.and_then(|k| k.name.as_deref());
            found.push(Reference {
                key,
                to,
                to_key,
                column,
                to_column,
                index,
            });
        }
    }
    found
}

pub(in crate::serve::flight) async fn imported(
    session: &Session,
    query: CommandGetImportedKeys,
) -> Result<RecordBatch, Status> {
    let of = Wanted {
        catalog: query.catalog,
        schema: query.db_schema,
        name: query.table,
    };
    let keys = keys(session).await?;
    let mut found = references(&keys);
    found.retain(|r| of.is(&r.key.table));
    found.sort_by_key(|r| (r.to.clone(), r.to_key, r.key.name.clone(), r.index));
    batch(&found)
}

pub(in crate::serve::flight) async fn exported(
    session: &Session,
    query: CommandGetExportedKeys,
) -> Result<RecordBatch, Status> {
    let to = Wanted {
        catalog: query.catalog,
        schema: query.db_schema,
        name: query.table,
    };
    let keys = keys(session).await?;
    let mut found = references(&keys);
    found.retain(|r| to.is(r.to));
    found.sort_by_key(|r| (r.key.table.clone(), r.key.name.clone(), r.index));
    batch(&found)
}

pub(in crate::serve::flight) async fn cross_reference(
    session: &Session,
    query: CommandGetCrossReference,
) -> Result<RecordBatch, Status> {
    let to = Wanted {
        catalog: query.pk_catalog,
        schema: query.pk_db_schema,
        name: query.pk_table,
    };
    let of = Wanted {
        catalog: query.fk_catalog,
        schema: query.fk_db_schema,
        name: query.fk_table,
    };
    let keys = keys(session).await?;
    let mut found = references(&keys);
    found.retain(|r| to.is(r.to) && of.is(&r.key.table));
    found.sort_by_key(|r| (r.key.table.clone(), r.key.name.clone(), r.index));
    batch(&found)
}

fn batch(found: &[Reference<'_>]) -> Result<RecordBatch, Status> {
    fn text<'a>(
        found: &'a [Reference<'a>],
        get: impl Fn(&'a Reference<'a>) -> Option<&'a str>,
    ) -> ArrayRef {
        Arc::new(found.iter().map(get).collect::<StringArray>())
    }
    // What the source does on a change is not discovered; NO ACTION is what SQL does unless told.
    let rule = u8::try_from(UpdateDeleteRules::NoAction as i32).unwrap_or_default();
    let rules: ArrayRef = Arc::new(UInt8Array::from(vec![rule; found.len()]));
    let index = Int32Array::from_iter_values(found.iter().map(|r| ordinal(r.index)));
    RecordBatch::try_new(
        foreign_schema(),
        vec![
            text(found, |r| Some(&r.to.catalog)),
            text(found, |r| Some(&r.to.schema)),
            text(found, |r| Some(&r.to.name)),
            text(found, |r| Some(r.to_column)),
            text(found, |r| Some(&r.key.table.catalog)),
            text(found, |r| Some(&r.key.table.schema)),
            text(found, |r| Some(&r.key.table.name)),
            text(found, |r| Some(r.column)),
            Arc::new(index),
            text(found, |r| r.key.name.as_deref()),
            text(found, |r| r.to_key),
            rules.clone(),
            rules,
        ],
    )
    .map_err(encoding)
}
