use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::{Column, ForeignKey, Histogram, Table, TableKind, is_measured, measure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use crate::settings::Settings;
use crate::types::{self, NativeColumn};

/// Schemas of the server's own.
const SYSTEM: &str = "('information_schema', 'mysql', 'performance_schema', 'sys')";

/// For looking up the least and the greatest values of all tables.
const BOUNDS_TIME: Duration = Duration::from_secs(1);

/// (schema, table)
type Key = (String, String);

/// Read what `information_schema` shows this user, ordered by schema and name.
pub(crate) async fn discover(
    conn: &mut Conn,
    settings: &Settings,
) -> mysql_async::Result<Vec<Table>> {
    let mut tables = tables(conn).await?;
    columns(conn, settings, &mut tables).await?;
    keys(conn, &mut tables).await?;
    foreign_keys(conn, &mut tables).await?;
    distinct_values(conn, &mut tables).await?;
    bounds(conn, &mut tables).await;
    // A view whose tables are gone has no columns.
    tables.retain(|_, table| !table.columns.is_empty());
    unknown_decisions(settings, &mut tables);
    Ok(tables.into_values().collect())
}

async fn tables(conn: &mut Conn) -> mysql_async::Result<BTreeMap<Key, Table>> {
    let rows: Vec<Row> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_ROWS, DATA_LENGTH, TABLE_COMMENT, CREATE_OPTIONS \
             FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA NOT IN {SYSTEM} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW')"
        ))
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let (schema, name) = (text(&row, 0), text(&row, 1));
            let kind = match text(&row, 2).as_str() {
                "VIEW" => TableKind::View,
                _ if text(&row, 6).contains("partitioned") => TableKind::PartitionedTable,
                _ => TableKind::Table,
            };
            let comment = text(&row, 5);
            let table = Table {
                schema: schema.clone(),
                name: name.clone(),
                kind,
                columns: Vec::new(),
                primary_key: Vec::new(),
                unique_keys: Vec::new(),
                foreign_keys: Vec::new(),
                // Of a view it is the word VIEW, or an error.
                comment: (kind != TableKind::View && !comment.is_empty()).then_some(comment),
                row_count: number(&row, 3),
                size_bytes: number(&row, 4),
                warnings: Vec::new(),
            };
            ((schema, name), table)
        })
        .collect())
}

async fn columns(
    conn: &mut Conn,
    settings: &Settings,
    tables: &mut BTreeMap<Key, Table>,
) -> mysql_async::Result<()> {
    let rows: Vec<Row> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, NUMERIC_PRECISION, \
             NUMERIC_SCALE, COLLATION_NAME, COLUMN_COMMENT \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA NOT IN {SYSTEM} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
        ))
        .await?;
    for row in rows {
        let Some(table) = tables.get_mut(&(text(&row, 0), text(&row, 1))) else {
            continue;
        };
        let name = text(&row, 2);
        let native = NativeColumn {
            data_type: text(&row, 3).to_ascii_lowercase(),
            column_type: text(&row, 4),
            precision: number(&row, 6),
            scale: number(&row, 7),
        };
        let decision = settings.decisions.of(&table.schema, &table.name, &name);
        let mapping = types::map(&native, decision, settings.decisions.zero_dates);
        let comment = text(&row, 9);
        table.columns.push(Column {
            name,
            data_type: mapping.data_type,
            // A view does not always know that an outer join within it adds NULLs.
            nullable: mapping.nulls || table.kind == TableKind::View || text(&row, 5) != "NO",
            native_type: mapping.native_type,
            collation: Some(text(&row, 8)).filter(|c| !c.is_empty()),
            comment: Some(comment).filter(|c| !c.is_empty()),
            distinct: None,
            histogram: None,
            note: mapping.note,
        });
    }
    Ok(())
}

async fn keys(conn: &mut Conn, tables: &mut BTreeMap<Key, Table>) -> mysql_async::Result<()> {
    let rows: Vec<Row> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
             WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA NOT IN {SYSTEM} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
        ))
        .await?;
    // A part without a column is an expression. One on a prefix of a column is unique all the more.
    let mut keys: BTreeMap<(Key, String), Option<Vec<String>>> = BTreeMap::new();
    for row in rows {
        let key = keys
            .entry(((text(&row, 0), text(&row, 1)), text(&row, 2)))
            .or_insert_with(|| Some(Vec::new()));
        match (key.as_mut(), row.as_ref(3)) {
            (Some(columns), Some(Value::Bytes(_))) => columns.push(text(&row, 3)),
            _ => *key = None,
        }
    }
    for ((at, name), columns) in keys {
        let (Some(table), Some(columns)) = (tables.get_mut(&at), columns) else {
            continue;
        };
        let never_null = columns
            .iter()
            .all(|key| table.columns.iter().any(|c| c.name == *key && !c.nullable));
        if name == "PRIMARY" {
            table.primary_key = columns;
        } else if never_null {
            table.unique_keys.push(columns);
        }
    }
    Ok(())
}

/// What is known of columns that an index begins with.
async fn distinct_values(
    conn: &mut Conn,
    tables: &mut BTreeMap<Key, Table>,
) -> mysql_async::Result<()> {
    let rows: Vec<Row> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, MAX(CARDINALITY) FROM information_schema.STATISTICS \
             WHERE SEQ_IN_INDEX = 1 AND INDEX_TYPE = 'BTREE' AND TABLE_SCHEMA NOT IN {SYSTEM} GROUP BY TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME"
        ))
        .await?;
    for row in rows {
        let name = text(&row, 2);
        if let Some(table) = tables.get_mut(&(text(&row, 0), text(&row, 1)))
            && let Some(column) = table.columns.iter_mut().find(|c| c.name == name)
        {
            column.distinct = number(&row, 3);
        }
    }
    Ok(())
}

/// The least and the greatest of columns that an index begins with (whose distinct values are known), which the server
/// reads off the index. A table that does not answer tells nothing.
async fn bounds(conn: &mut Conn, tables: &mut BTreeMap<Key, Table>) {
    let until = Instant::now() + BOUNDS_TIME;
    for table in tables.values_mut().filter(|t| t.kind != TableKind::View) {
        if Instant::now() >= until {
            return;
        }
        let indexed =
            |column: &&mut Column| column.distinct.is_some() && is_measured(&column.data_type);
        let mut columns: Vec<_> = table.columns.iter_mut().filter(indexed).collect();
        if columns.is_empty() {
            continue;
        }
        let name = |name: &str| format!("`{}`", name.replace('`', "``"));
        let from = format!("{}.{}", name(&table.schema), name(&table.name));
        let ends = columns.iter().map(|column| {
            let column = name(&column.name);
            format!("(SELECT CAST(MIN({column}) AS CHAR) FROM {from}), (SELECT CAST(MAX({column}) AS CHAR) FROM {from})")
        });
        let query = format!("SELECT {}", ends.collect::<Vec<_>>().join(", "));
        let row = match conn.query_first::<Row, _>(query).await {
            Ok(Some(row)) => row,
            Ok(None) | Err(_) => continue,
        };
        for (i, column) in columns.iter_mut().enumerate() {
            let end = |at| measure(&text(&row, at), &column.data_type);
            if let (Some(least), Some(greatest)) = (end(2 * i), end(2 * i + 1)) {
                column.histogram = Histogram::between(least, greatest).map(Arc::new);
            }
        }
    }
}

async fn foreign_keys(
    conn: &mut Conn,
    tables: &mut BTreeMap<Key, Table>,
) -> mysql_async::Result<()> {
    let rows: Vec<Row> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, \
             REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
             WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA NOT IN {SYSTEM} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
        ))
        .await?;
    let mut found: BTreeMap<(Key, String), ForeignKey> = BTreeMap::new();
    for row in rows {
        let name = text(&row, 2);
        let key = found
            .entry(((text(&row, 0), text(&row, 1)), name.clone()))
            .or_insert_with(|| ForeignKey {
                name: Some(name),
                columns: Vec::new(),
                referenced_schema: text(&row, 4),
                referenced_table: text(&row, 5),
                referenced_columns: Vec::new(),
            });
        key.columns.push(text(&row, 3));
        key.referenced_columns.push(text(&row, 6));
    }
    for ((at, _), key) in found {
        if let Some(table) = tables.get_mut(&at) {
            table.foreign_keys.push(key);
        }
    }
    Ok(())
}

/// A decision on a column that is not there is a slip of the pen that must not stay unseen, and a table that was
/// dropped must not stop the others: it is a warning.
fn unknown_decisions(settings: &Settings, tables: &mut BTreeMap<Key, Table>) {
    let mut missing: Vec<&str> = settings
        .decisions
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    for table in tables.values() {
        for column in &table.columns {
            let short = format!("{}.{}", table.name, column.name);
            let long = format!("{}.{short}", table.schema);
            missing.retain(|name| {
                !name.eq_ignore_ascii_case(&short) && !name.eq_ignore_ascii_case(&long)
            });
        }
    }
    for name in missing {
        let of_table = name.rsplit_once('.').map_or("", |(table, _)| table);
        let mut found = false;
        for table in tables.values_mut() {
            let long = format!("{}.{}", table.schema, table.name);
            if of_table.eq_ignore_ascii_case(&table.name) || of_table.eq_ignore_ascii_case(&long) {
                found = true;
                table.warnings.push(format!(
                    "option columns names '{name}', which is not a column of it"
                ));
            }
        }
        if !found {
            tracing::warn!(source = %settings.source, column = %name, "option columns names an unknown table");
        }
    }
}

/// A value of the text protocol; NULL is empty.
fn text(row: &Row, index: usize) -> String {
    match row.as_ref(index) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

fn number(row: &Row, index: usize) -> Option<u64> {
    text(row, index).parse().ok()
}
