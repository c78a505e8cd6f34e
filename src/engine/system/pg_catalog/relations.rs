use std::collections::HashSet;

use super::catalog::{Catalog, Relation};
use super::oid;
use super::server::OWNER_NAME;
use super::types;
use crate::catalog::BUILT_IN;
use crate::engine::names::Names;
use crate::engine::system::table::{NULL, Rows, some};

pub(super) const PG_CLASS: i64 = 1259;
pub(super) const PG_NAMESPACE: i64 = 2615;
const PG_REWRITE: i64 = 2618;

pub(super) fn pg_namespace(names: &Names, rows: &mut Rows) {
    for namespace in &names.world.pg_catalog().namespaces {
        rows.some(some![oid: namespace.oid, nspname: &namespace.name, nspowner: oid::OWNER]);
    }
}

pub(super) fn pg_class(names: &Names, rows: &mut Rows) {
    let catalog = names.world.pg_catalog();
    let mut referring = HashSet::new();
    for constraint in &catalog.constraints {
        if let Some((referenced, _)) = &constraint.references {
            referring.extend([constraint.table, *referenced]);
        }
    }
    for relation in &catalog.relations {
        let is_stored = matches!(relation.kind, 'r' | 'm');
        let method = match relation.kind {
            'i' => oid::BTREE,
            _ if is_stored => oid::HEAP,
            _ => 0,
        };
        let pages = relation.bytes.map_or(0, |bytes| bytes.div_ceil(8192));
        rows.some(some![
            oid: relation.oid,
            relname: &relation.name,
            relnamespace: relation.namespace,
            relowner: oid::OWNER,
            relam: method,
            relfilenode: if is_stored { relation.oid } else { 0 },
            relpages: i32::try_from(pages).unwrap_or(i32::MAX),
            // As PostgreSQL says that it does not know.
            reltuples: relation.rows.map_or(-1.0, |rows| rows as f32),
            relhasindex: relation.has_index,
            relpersistence: "p",
            relkind: relation.kind.to_string(),
            relnatts: relation.columns.len() as i16,
            // PostgreSQL has triggers for foreign keys: without them psql does not ask for those.
            relhastriggers: referring.contains(&relation.oid),
            relispopulated: true,
            relreplident: if relation.kind == 'r' { "d" } else { "n" },
        ]);
    }
}

pub(super) fn pg_attribute(names: &Names, rows: &mut Rows) {
    for relation in &names.world.pg_catalog().relations {
        for (i, column) in relation.columns.iter().enumerate() {
            let facts = types::facts(i64::from(column.data_type.oid));
            let text = |fact: Option<&str>, other: &str| fact.unwrap_or(other).to_string();
            rows.some(some![
                attrelid: relation.oid,
                attname: &column.name,
                atttypid: i64::from(column.data_type.oid),
                attstattarget: -1,
                attlen: column.data_type.length,
                attnum: i as i16 + 1,
                attcacheoff: -1,
                atttypmod: column.modifier,
                attndims: column.dimensions,
                attbyval: facts.is_some_and(|facts| facts.by_value),
                attalign: text(facts.map(|facts| facts.alignment), "i"),
                attstorage: text(facts.map(|facts| facts.storage), "x"),
                attnotnull: !column.nullable && relation.kind != 'i',
                attislocal: true,
                attcollation: facts.map_or(0, |facts| facts.collation),
            ]);
        }
    }
}

/// What is said of schemas, relations and columns.
pub(super) fn pg_description(names: &Names, rows: &mut Rows) {
    let catalog = names.world.pg_catalog();
    let mut say = |object: i64, class: i64, column: i32, comment: &Option<String>| {
        if let Some(comment) = comment {
            rows.some(some![
                objoid: object, classoid: class, objsubid: column, description: comment,
            ]);
        }
    };
    for namespace in &catalog.namespaces {
        say(namespace.oid, PG_NAMESPACE, 0, &namespace.comment);
    }
    for relation in &catalog.relations {
        say(relation.oid, PG_CLASS, 0, &relation.comment);
        for (i, column) in relation.columns.iter().enumerate() {
            say(relation.oid, PG_CLASS, i as i32 + 1, &column.comment);
        }
    }
}

/// Of each view of ours, the rule that it is in PostgreSQL.
pub(super) fn pg_rewrite(names: &Names, rows: &mut Rows) {
    for rule in &names.world.pg_catalog().rules {
        rows.some(some![
            oid: rule.oid,
            rulename: "_RETURN",
            ev_class: rule.view,
            ev_type: "1",
            ev_enabled: "O",
            is_instead: true,
        ]);
    }
}

/// What cannot be without what: views without what they read.
pub(super) fn pg_depend(names: &Names, rows: &mut Rows) {
    for rule in &names.world.pg_catalog().rules {
        let mut needs = |relation: i64, how: &str| {
            rows.some(some![
                classid: PG_REWRITE,
                objid: rule.oid,
                objsubid: 0,
                refclassid: PG_CLASS,
                refobjid: relation,
                refobjsubid: 0,
                deptype: how,
            ]);
        };
        needs(rule.view, "i");
        for relation in &rule.reads {
            needs(*relation, "n");
        }
    }
}

fn of_kind(catalog: &Catalog, kind: char) -> impl Iterator<Item = &Relation> {
    catalog.relations.iter().filter(move |r| r.kind == kind)
}

pub(super) fn pg_tables(names: &Names, rows: &mut Rows) {
    for table in of_kind(names.world.pg_catalog(), 'r') {
        rows.some(some![
            schemaname: &table.schema,
            tablename: &table.name,
            tableowner: OWNER_NAME,
            hasindexes: table.has_index,
            hasrules: false,
            hastriggers: false,
            rowsecurity: false,
        ]);
    }
}

pub(super) fn pg_views(names: &Names, rows: &mut Rows) {
    for view in of_kind(names.world.pg_catalog(), 'v') {
        rows.some(some![
            schemaname: &view.schema,
            viewname: &view.name,
            viewowner: OWNER_NAME,
            definition: &view.query,
        ]);
    }
}

pub(super) fn pg_matviews(names: &Names, rows: &mut Rows) {
    for view in of_kind(names.world.pg_catalog(), 'm') {
        rows.some(some![
            schemaname: &view.schema,
            matviewname: &view.name,
            matviewowner: OWNER_NAME,
            hasindexes: view.has_index,
            ispopulated: true,
            definition: &view.query,
        ]);
    }
}

/// Nothing is counted but rows, by their sources.
pub(super) fn pg_stat_tables(names: &Names, rows: &mut Rows) {
    let is_users = |relation: &&Relation| {
        matches!(relation.kind, 'r' | 'm') && !BUILT_IN.contains(&relation.schema.as_str())
    };
    for table in names.world.pg_catalog().relations.iter().filter(is_users) {
        rows.some(some![
            relid: table.oid,
            schemaname: &table.schema,
            relname: &table.name,
            n_live_tup: table.rows.and_then(|rows| i64::try_from(rows).ok()),
            n_dead_tup: 0_i64,
            last_vacuum: NULL,
        ]);
    }
}
