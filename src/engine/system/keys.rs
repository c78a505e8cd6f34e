use std::borrow::Cow;

use belvedere_connector::Table;

use super::relations::{Relation, place, relations};
use super::table::{Definition, Fill, Kind, NULL, Rows, always, maybe, row};
use crate::catalog::{INFORMATION_SCHEMA, SYSTEM};
use crate::engine::names::Names;
use crate::engine::world::World;

/// Primary, unique and foreign keys of the sources' tables.
pub(super) const KEYS: Definition = Definition {
    schema: SYSTEM,
    name: "keys",
    columns: &[
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("table", Kind::Text),
        always("kind", Kind::Text),
        always("name", Kind::Text),
        always("columns", Kind::Text),
        maybe("referenced_schema", Kind::Text),
        maybe("referenced_table", Kind::Text),
        maybe("referenced_columns", Kind::Text),
    ],
    rows: Fill::Known(keys_rows),
};

pub(super) const TABLE_CONSTRAINTS: Definition = Definition {
    schema: INFORMATION_SCHEMA,
    name: "table_constraints",
    columns: &[
        always("constraint_catalog", Kind::Text),
        always("constraint_schema", Kind::Text),
        always("constraint_name", Kind::Text),
        always("table_catalog", Kind::Text),
        always("table_schema", Kind::Text),
        always("table_name", Kind::Text),
        always("constraint_type", Kind::Text),
        always("is_deferrable", Kind::Text),
        always("initially_deferred", Kind::Text),
        always("enforced", Kind::Text),
    ],
    rows: Fill::Known(table_constraints),
};

pub(super) const KEY_COLUMN_USAGE: Definition = Definition {
    schema: INFORMATION_SCHEMA,
    name: "key_column_usage",
    columns: &[
        always("constraint_catalog", Kind::Text),
        always("constraint_schema", Kind::Text),
        always("constraint_name", Kind::Text),
        always("table_catalog", Kind::Text),
        always("table_schema", Kind::Text),
        always("table_name", Kind::Text),
        always("column_name", Kind::Text),
        always("ordinal_position", Kind::Integer),
        maybe("position_in_unique_constraint", Kind::Integer),
    ],
    rows: Fill::Known(key_column_usage),
};

/// What a source does on update and delete was not read: those rules are NULL.
pub(super) const REFERENTIAL_CONSTRAINTS: Definition = Definition {
    schema: INFORMATION_SCHEMA,
    name: "referential_constraints",
    columns: &[
        always("constraint_catalog", Kind::Text),
        always("constraint_schema", Kind::Text),
        always("constraint_name", Kind::Text),
        maybe("unique_constraint_catalog", Kind::Text),
        maybe("unique_constraint_schema", Kind::Text),
        maybe("unique_constraint_name", Kind::Text),
        maybe("match_option", Kind::Text),
        maybe("update_rule", Kind::Text),
        maybe("delete_rule", Kind::Text),
    ],
    rows: Fill::Known(referential_constraints),
};

pub(super) struct Key<'a> {
    pub kind: &'static str,
    /// The source's, else as PostgreSQL would name it.
    pub name: Cow<'a, str>,
    pub columns: &'a [String],
    pub references: Option<Reference<'a>>,
}

pub(super) struct Reference<'a> {
    pub schema: &'a str,
    pub table: &'a str,
    pub columns: &'a [String],
}

fn keys(table: &Table) -> Vec<Key<'_>> {
    let own = |kind, name: String, columns| Key {
        kind,
        name: Cow::Owned(name),
        columns,
        references: None,
    };
    let mut all = Vec::new();
    if !table.primary_key.is_empty() {
        all.push(own(
            "PRIMARY KEY",
            format!("{}_pkey", table.name),
            &table.primary_key[..],
        ));
    }
    for columns in &table.unique_keys {
        let name = format!("{}_{}_key", table.name, columns.join("_"));
        all.push(own("UNIQUE", name, columns));
    }
    for key in &table.foreign_keys {
        let made = || format!("{}_{}_fkey", table.name, key.columns.join("_"));
        all.push(Key {
            kind: "FOREIGN KEY",
            name: key
                .name
                .as_deref()
                .map_or_else(|| Cow::Owned(made()), Cow::Borrowed),
            columns: &key.columns,
            references: Some(Reference {
                schema: &key.referenced_schema,
                table: &key.referenced_table,
                columns: &key.referenced_columns,
            }),
        });
    }
    all
}

/// Each table with each of its keys.
pub(super) fn all(world: &World) -> impl Iterator<Item = (&str, &Table, Key<'_>)> {
    relations(world)
        .filter_map(|relation| match relation {
            Relation::Table { source, table } => Some((source, table)),
            _ => None,
        })
        .flat_map(|(source, table)| keys(table).into_iter().map(move |key| (source, table, key)))
}

fn keys_rows(names: &Names, rows: &mut Rows) {
    for (source, table, key) in all(&names.world) {
        let columns = key.columns.join(", ");
        let to = key.references.as_ref();
        rows.push(row![
            source,
            &table.schema,
            &table.name,
            key.kind,
            key.name.as_ref(),
            columns,
            to.map(|to| to.schema),
            to.map(|to| to.table),
            to.map(|to| to.columns.join(", ")),
        ]);
    }
}

fn table_constraints(names: &Names, rows: &mut Rows) {
    for (source, table, key) in all(&names.world) {
        let (catalog, schema) = place(names, source, &table.schema);
        let (schema, name, key_name) = (schema.as_ref(), &table.name, key.name.as_ref());
        rows.push(row![
            catalog, schema, key_name, catalog, schema, name, key.kind, "NO", "NO", "YES"
        ]);
    }
}

fn key_column_usage(names: &Names, rows: &mut Rows) {
    for (source, table, key) in all(&names.world) {
        let (catalog, schema) = place(names, source, &table.schema);
        for (i, column) in key.columns.iter().enumerate() {
            let position = key.references.as_ref().and_then(|to| {
                let unique = unique_key(names, source, to)?;
                let referenced = to.columns.get(i)?;
                unique
                    .columns
                    .iter()
                    .position(|c| c == referenced)
                    .map(|p| p as i32 + 1)
            });
            rows.push(row![
                catalog,
                schema.as_ref(),
                key.name.as_ref(),
                catalog,
                schema.as_ref(),
                &table.name,
                column,
                i as i32 + 1,
                position,
            ]);
        }
    }
}

fn referential_constraints(names: &Names, rows: &mut Rows) {
    for (source, table, key) in all(&names.world) {
        let Some(to) = &key.references else {
            continue;
        };
        let unique = unique_key(names, source, to);
        let (catalog, schema) = place(names, source, &table.schema);
        let (_, there) = place(names, source, to.schema);
        rows.push(row![
            catalog,
            schema.as_ref(),
            key.name.as_ref(),
            unique.as_ref().map(|_| catalog),
            unique.as_ref().map(|_| there.as_ref()),
            unique.as_ref().map(|key| key.name.as_ref()),
            "NONE",
            NULL,
            NULL,
        ]);
    }
}

/// The key of the referenced table over the referenced columns.
fn unique_key<'n>(names: &'n Names, source: &str, to: &Reference<'_>) -> Option<Key<'n>> {
    let tables = names.world.definitions.tables(source);
    let table = tables
        .iter()
        .find(|t| t.schema == to.schema && t.name == to.table)?;
    let same = |key: &Key<'_>| {
        key.references.is_none()
            && key.columns.len() == to.columns.len()
            && key.columns.iter().all(|c| to.columns.contains(c))
    };
    keys(table).into_iter().find(same)
}
