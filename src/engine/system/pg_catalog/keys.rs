use super::catalog::{Catalog, Constraint, Index};
use super::{names, types};
use crate::engine::names::Names;
use crate::engine::system::table::{NULL, Rows, Value, some};

pub(super) fn pg_index(names: &Names, rows: &mut Rows) {
    let catalog = names.world.pg_catalog();
    for index in &catalog.indexes {
        let count = index.columns.len() as i16;
        let data_types = columns(catalog, index.table, &index.columns);
        let data_types = data_types.map(|column| i64::from(column.data_type.oid));
        let data_types: Vec<i64> = data_types.collect();
        let collations = data_types.iter().map(|oid| types::facts(*oid));
        let collations = collations.map(|facts| facts.map_or(0, |facts| facts.collation));
        rows.some(some![
            indexrelid: index.oid,
            indrelid: index.table,
            indnatts: count,
            indnkeyatts: count,
            indisunique: index.is_unique,
            indisprimary: index.is_primary,
            indimmediate: true,
            indisvalid: true,
            indisready: true,
            indislive: true,
            indkey: index.columns.clone(),
            indcollation: collations.collect::<Vec<i64>>(),
            indclass: data_types.iter().map(|t| types::operator_class(*t)).collect::<Vec<i64>>(),
            indoption: vec![0_i16; index.columns.len()],
        ]);
    }
}

pub(super) fn pg_constraint(names: &Names, rows: &mut Rows) {
    for key in &names.world.pg_catalog().constraints {
        let is_foreign = key.references.is_some();
        let (to, referenced) = match &key.references {
            Some((table, columns)) => (*table, Value::from(columns.clone())),
            None => (0, NULL),
        };
        // What a source does on update and delete is not known: nothing, as the standard has it.
        let action = if is_foreign { "a" } else { " " };
        rows.some(some![
            oid: key.oid,
            conname: &key.name,
            connamespace: key.namespace,
            contype: key.kind.to_string(),
            convalidated: true,
            conrelid: key.table,
            conindid: key.index,
            confrelid: to,
            confupdtype: action,
            confdeltype: action,
            confmatchtype: if is_foreign { "s" } else { " " },
            conislocal: true,
            connoinherit: true,
            conkey: key.columns.clone(),
            confkey: referenced,
        ]);
    }
}

pub(super) fn pg_indexes(names: &Names, rows: &mut Rows) {
    let catalog = names.world.pg_catalog();
    for index in &catalog.indexes {
        let found = catalog
            .relation(index.oid)
            .zip(catalog.relation(index.table));
        let Some((relation, table)) = found else {
            continue;
        };
        rows.some(some![
            schemaname: &relation.schema,
            tablename: &table.name,
            indexname: &relation.name,
            indexdef: index_definition(catalog, index.oid, 0),
        ]);
    }
}

fn columns<'a>(
    catalog: &'a Catalog,
    table: i64,
    numbers: &'a [i16],
) -> impl Iterator<Item = &'a super::catalog::Column> {
    let table = catalog.relation(table);
    numbers.iter().filter_map(move |number| {
        let at = usize::try_from(number - 1).ok()?;
        table?.columns.get(at)
    })
}

fn list(catalog: &Catalog, table: i64, numbers: &[i16]) -> String {
    let quoted = columns(catalog, table, numbers).map(|column| names::quoted(&column.name));
    quoted.collect::<Vec<_>>().join(", ")
}

/// `CREATE INDEX …`, or one of its columns, counted from 1.
pub(super) fn index_definition(catalog: &Catalog, oid: i64, column: i64) -> Option<String> {
    let index: &Index = catalog.indexes.iter().find(|index| index.oid == oid)?;
    if let Ok(column) = usize::try_from(column)
        && column > 0
    {
        let number = index.columns.get(column - 1)?;
        return Some(list(catalog, index.table, &[*number]));
    }
    let (relation, table) = catalog.relation(oid).zip(catalog.relation(index.table))?;
    Some(format!(
        "CREATE {}INDEX {} ON {} USING btree ({})",
        if index.is_unique { "UNIQUE " } else { "" },
        names::quoted(&relation.name),
        names::qualified(&table.schema, &table.name),
        list(catalog, index.table, &index.columns),
    ))
}

/// What stands after `CONSTRAINT name`.
pub(super) fn constraint_definition(catalog: &Catalog, oid: i64) -> Option<String> {
    let key: &Constraint = catalog.constraints.iter().find(|key| key.oid == oid)?;
    let own = list(catalog, key.table, &key.columns);
    Some(match (&key.references, key.kind) {
        (Some((table, there)), _) => {
            let to = catalog.relation(*table)?;
            format!(
                "FOREIGN KEY ({own}) REFERENCES {}({})",
                names::qualified(&to.schema, &to.name),
                list(catalog, *table, there),
            )
        }
        (None, 'p') => format!("PRIMARY KEY ({own})"),
        (None, _) => format!("UNIQUE ({own})"),
    })
}
