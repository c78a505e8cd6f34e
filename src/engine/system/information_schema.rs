//! The SQL standard's information schema, with PostgreSQL's columns as far as something can be said of them here: our
//! own schemas are those of the catalog `belvedere`, each source is a catalog. To a client of PostgreSQL there is one
//! database, `belvedere`, and a source is a schema.

use super::relations::{Relation, place, relations, schemas};
use super::table::{Definition, Fill, Kind, NULL, Rows, always, maybe, row};
use super::types::{Facets, facets};
use crate::catalog::{CATALOG, INFORMATION_SCHEMA, PG_CATALOG};
use crate::engine::names::Names;

pub(super) const SCHEMATA: Definition = Definition {
    schema: INFORMATION_SCHEMA,
    name: "schemata",
    columns: &[
        always("catalog_name", Kind::Text),
        always("schema_name", Kind::Text),
        maybe("schema_owner", Kind::Text),
        maybe("default_character_set_catalog", Kind::Text),
        maybe("default_character_set_schema", Kind::Text),
        maybe("default_character_set_name", Kind::Text),
        maybe("sql_path", Kind::Text),
    ],
    rows: Fill::Known(schemata_rows),
};

pub(super) const TABLES: Definition = Definition {
    schema: INFORMATION_SCHEMA,
    name: "tables",
    columns: &[
        always("table_catalog", Kind::Text),
        always("table_schema", Kind::Text),
        always("table_name", Kind::Text),
        always("table_type", Kind::Text),
        maybe("self_referencing_column_name", Kind::Text),
        maybe("reference_generation", Kind::Text),
        maybe("user_defined_type_catalog", Kind::Text),
        maybe("user_defined_type_schema", Kind::Text),
        maybe("user_defined_type_name", Kind::Text),
        always("is_insertable_into", Kind::Text),
        always("is_typed", Kind::Text),
        maybe("commit_action", Kind::Text),
    ],
    rows: Fill::Known(tables_rows),
};

pub(super) const COLUMNS: Definition = Definition {
    schema: INFORMATION_SCHEMA,
    name: "columns",
    columns: &[
        always("table_catalog", Kind::Text),
        always("table_schema", Kind::Text),
        always("table_name", Kind::Text),
        always("column_name", Kind::Text),
        always("ordinal_position", Kind::Integer),
        maybe("column_default", Kind::Text),
        always("is_nullable", Kind::Text),
        always("data_type", Kind::Text),
        maybe("character_maximum_length", Kind::Integer),
        maybe("character_octet_length", Kind::Integer),
        maybe("numeric_precision", Kind::Integer),
        maybe("numeric_precision_radix", Kind::Integer),
        maybe("numeric_scale", Kind::Integer),
        maybe("datetime_precision", Kind::Integer),
        maybe("interval_type", Kind::Text),
        maybe("interval_precision", Kind::Integer),
        maybe("character_set_name", Kind::Text),
        maybe("collation_name", Kind::Text),
        maybe("domain_name", Kind::Text),
        always("udt_catalog", Kind::Text),
        always("udt_schema", Kind::Text),
        always("udt_name", Kind::Text),
        always("is_self_referencing", Kind::Text),
        always("is_identity", Kind::Text),
        always("is_generated", Kind::Text),
        maybe("generation_expression", Kind::Text),
        always("is_updatable", Kind::Text),
    ],
    rows: Fill::Known(columns_rows),
};

/// The text of a source's own view is not known.
pub(super) const VIEWS: Definition = Definition {
    schema: INFORMATION_SCHEMA,
    name: "views",
    columns: &[
        always("table_catalog", Kind::Text),
        always("table_schema", Kind::Text),
        always("table_name", Kind::Text),
        maybe("view_definition", Kind::Text),
        always("check_option", Kind::Text),
        always("is_updatable", Kind::Text),
        always("is_insertable_into", Kind::Text),
        always("is_trigger_updatable", Kind::Text),
        always("is_trigger_deletable", Kind::Text),
        always("is_trigger_insertable_into", Kind::Text),
    ],
    rows: Fill::Known(views_rows),
};

fn schemata_rows(names: &Names, rows: &mut Rows) {
    if names.settings.one_database {
        rows.push(row![CATALOG, PG_CATALOG, NULL, NULL, NULL, NULL, NULL]);
    }
    for (catalog, schema) in schemas(&names.world) {
        let (catalog, schema) = place(names, catalog, schema);
        rows.push(row![catalog, schema.as_ref(), NULL, NULL, NULL, NULL, NULL]);
    }
}

/// As the standard has it; our own tables about tables have the name MySQL gives them.
fn table_type(relation: &Relation<'_>) -> &'static str {
    match relation {
        Relation::View(_) => "VIEW",
        Relation::System(_) => "SYSTEM VIEW",
        Relation::Table { table, .. } => table.kind.sql_name(),
    }
}

fn tables_rows(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        let (catalog, schema) = place(names, relation.catalog(), relation.schema());
        let kind = table_type(&relation);
        let none = || NULL;
        rows.push(row![
            catalog,
            schema.as_ref(),
            relation.name(),
            kind,
            none(),
            none(),
            none(),
            none(),
            none(),
            "NO",
            "NO",
            none(),
        ]);
    }
}

fn columns_rows(names: &Names, rows: &mut Rows) {
    let yes_or_no = |truth| if truth { "YES" } else { "NO" };
    for relation in relations(&names.world) {
        let (catalog, schema) = place(names, relation.catalog(), relation.schema());
        for (i, column) in relation.columns(&names.world).into_iter().enumerate() {
            let Facets {
                data_type,
                udt_name,
                precision,
                radix,
                scale,
                datetime,
                length,
            } = facets(&column.data_type, column.native_type);
            rows.push(row![
                catalog,
                schema.as_ref(),
                relation.name(),
                column.name,
                i as i32 + 1,
                NULL,
                yes_or_no(column.nullable),
                data_type,
                length,
                // UTF-8: at most four bytes a character.
                length.and_then(|n| n.checked_mul(4)),
                precision,
                radix,
                scale,
                datetime,
                NULL,
                NULL,
                NULL,
                column.collation,
                NULL,
                CATALOG,
                "pg_catalog",
                udt_name,
                "NO",
                "NO",
                "NEVER",
                NULL,
                "NO",
            ]);
        }
    }
}

fn views_rows(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        let definition = match &relation {
            Relation::View(view) => Some(&view.query),
            Relation::Table { .. } if table_type(&relation) == "VIEW" => None,
            _ => continue,
        };
        let (catalog, schema) = place(names, relation.catalog(), relation.schema());
        let (schema, name) = (schema.as_ref(), relation.name());
        rows.push(row![
            catalog, schema, name, definition, "NONE", "NO", "NO", "NO", "NO", "NO"
        ]);
    }
}
