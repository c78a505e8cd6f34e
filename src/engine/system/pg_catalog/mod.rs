//! PostgreSQL's catalog: the tables by which its clients learn what there is, its functions, and its words for them.
//!
//! The central type is [`Catalog`]: what a world has, as PostgreSQL numbers and names it. Flows in: a world, which has been
//! read already (no source is asked), and a query's text; flows out: tables like those of `system`, functions of one
//! statement, and the query in words that DataFusion has.
//!
//! | file | owns |
//! |---|---|
//! | `columns.txt` | the tables and their columns, as PostgreSQL 16 has them |
//! | `types.txt`, `types.rs` | the types: `pg_type`, `pg_range`, `pg_collation` … |
//! | `catalog.rs` | [`Catalog`]: schemas, relations, indexes and keys |
//! | `oid.rs` | the number of each |
//! | `names.rs` | looking up a name, and writing one |
//! | `relations.rs` | `pg_namespace`, `pg_class`, `pg_attribute`, `pg_description`, and the views over them |
//! | `keys.rs` | `pg_index`, `pg_constraint`, `pg_indexes` |
//! | `server.rs` | `pg_database`, `pg_roles`, `pg_settings`, `pg_proc` … |
//! | `functions/` | the functions |
//! | `rewrite/` | what is said in other words before it is planned |

mod catalog;
mod functions;
mod keys;
mod names;
mod oid;
mod relations;
mod rewrite;
mod server;
mod types;

use std::collections::HashSet;
use std::sync::LazyLock;

use super::pg_type::PgType;
use super::table::{Column, Definition, Fill, Kind, Rows};
use crate::catalog::{INFORMATION_SCHEMA, PG_CATALOG};
use crate::engine::names::Names;

pub(in crate::engine) use catalog::Catalog;
pub(super) use catalog::schema_name;
pub(in crate::engine) use rewrite::{asks_catalog, build, called as column_name, understand};

type Known = fn(&Names, &mut Rows);

/// The tables that have rows.
const FILLED: &[(&str, Known)] = &[
    ("character_sets", server::character_sets),
    ("pg_am", server::pg_am),
    ("pg_attribute", relations::pg_attribute),
    ("pg_authid", server::pg_authid),
    ("pg_class", relations::pg_class),
    ("pg_collation", types::pg_collation),
    ("pg_constraint", keys::pg_constraint),
    ("pg_database", server::pg_database),
    ("pg_depend", relations::pg_depend),
    ("pg_description", relations::pg_description),
    ("pg_index", keys::pg_index),
    ("pg_indexes", keys::pg_indexes),
    ("pg_language", server::pg_language),
    ("pg_matviews", relations::pg_matviews),
    ("pg_namespace", relations::pg_namespace),
    ("pg_opclass", types::pg_opclass),
    ("pg_proc", server::pg_proc),
    ("pg_range", types::pg_range),
    ("pg_rewrite", relations::pg_rewrite),
    ("pg_roles", server::pg_roles),
    ("pg_settings", server::pg_settings),
    ("pg_stat_activity", server::pg_stat_activity),
    ("pg_stat_all_tables", relations::pg_stat_tables),
    ("pg_stat_user_tables", relations::pg_stat_tables),
    ("pg_tables", relations::pg_tables),
    ("pg_tablespace", server::pg_tablespace),
    ("pg_timezone_names", server::pg_timezone_names),
    ("pg_type", types::pg_type),
    ("pg_user", server::pg_user),
    ("pg_views", relations::pg_views),
];

/// A table, and its number in `pg_class` if it has the one that PostgreSQL gave it.
struct Listed {
    definition: Definition,
    oid: Option<i64>,
}

static TABLES: LazyLock<Vec<Listed>> = LazyLock::new(|| listed(include_str!("columns.txt")));

/// The table of this name.
fn table(name: &str) -> Option<&'static Definition> {
    table_of(PG_CATALOG, name)
}

/// The same of `information_schema`, too: of that, what PostgreSQL has besides what `system` tells.
pub(super) fn table_of(schema: &str, name: &str) -> Option<&'static Definition> {
    let key = |table: &Listed| (table.definition.schema, table.definition.name);
    let at = TABLES.binary_search_by(|table| key(table).cmp(&(schema, name)));
    at.ok().map(|at| &TABLES[at].definition)
}

/// The number of the table of this name, if PostgreSQL gave it one.
fn number_of(name: &str) -> Option<i64> {
    let listed = TABLES.iter().find(|t| t.definition.name == name);
    listed.and_then(|table| table.oid)
}

/// Whether the table of this name never has rows.
fn is_empty(name: &str) -> bool {
    table(name).is_some_and(|table| matches!(table.rows, Fill::Nothing))
}

/// Whether some table of `pg_catalog` has a column of this name that is true or false.
fn is_boolean(column: &str) -> bool {
    static ALL: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        let tables = TABLES.iter().filter(|t| t.definition.schema == PG_CATALOG);
        let columns = tables.flat_map(|table| table.definition.columns);
        let booleans = columns.filter(|column| matches!(column.kind, Kind::Boolean));
        booleans.map(|column| column.name).collect()
    });
    ALL.contains(column)
}

/// A line with a table's name, then, indented, its columns. Without a schema it is of `pg_catalog`.
fn listed(text: &'static str) -> Vec<Listed> {
    let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix(' '), tables.last_mut()) {
            (None, _) => tables.push((line, Vec::new())),
            (Some(columns), Some((_, words))) => words.extend(columns.split_whitespace()),
            (Some(_), None) => {}
        }
    }
    let mut tables: Vec<Listed> = tables
        .into_iter()
        .map(|(head, words)| {
            let mut head = head.split(' ');
            let name = head.next().unwrap_or_default();
            let (schema, name) = match name.split_once('.') {
                Some((_, name)) => (INFORMATION_SCHEMA, name),
                None => (PG_CATALOG, name),
            };
            let columns: Vec<Column> = words.chunks_exact(2).map(|c| column(c[0], c[1])).collect();
            let filled = FILLED.iter().find(|(filled, _)| *filled == name);
            let definition = Definition {
                schema,
                name,
                columns: columns.leak(),
                rows: filled.map_or(Fill::Nothing, |(_, fill)| Fill::Known(*fill)),
            };
            let oid = head.next().and_then(|oid| oid.parse().ok());
            Listed { definition, oid }
        })
        .collect();
    tables.sort_by_key(|table| (table.definition.schema, table.definition.name));
    tables
}

/// `relkind`, `char,`
fn column(name: &'static str, written: &str) -> Column {
    let written = written.trim_end_matches(',');
    let (data_type, nullable) = match written.strip_suffix('?') {
        Some(data_type) => (data_type, true),
        None => (written, false),
    };
    let kind = match data_type {
        // A function and a type are numbers here, by which they are joined.
        "oid" | "regproc" | "regtype" | "xid" => Kind::Named(&PgType::OID),
        "name" => Kind::Named(&PgType::NAME),
        "char" => Kind::Named(&PgType::CHAR),
        "int2vector" => Kind::Named(&PgType::INT2VECTOR),
        "oidvector" => Kind::Named(&PgType::OIDVECTOR),
        "bool" => Kind::Boolean,
        "int2" => Kind::Small,
        "int4" => Kind::Integer,
        "int8" => Kind::Long,
        "real" => Kind::Single,
        "float8" => Kind::Real,
        "timestamptz" => Kind::Instant,
        "int2[]" => Kind::Smalls,
        "oid[]" | "regtype[]" => Kind::Longs,
        array if array.ends_with("[]") || array == "anyarray" => Kind::Texts,
        _ => Kind::Text,
    };
    Column {
        name,
        kind,
        nullable,
    }
}
