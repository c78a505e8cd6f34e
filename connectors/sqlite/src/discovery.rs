use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use belvedere_connector::{
    Code, Column, Error, ForeignKey, Rel, Result, Table, TableKind, TableRef,
};
use belvedere_sqlgen::{Dialect, sql};
use rusqlite::{Connection, params};

use crate::dialect::SqliteDialect;
use crate::failure;
use crate::pool::{Lease, Stop};
use crate::reading::Reading;
use crate::sample;
use crate::shape::{self, Info, SCHEMA, Shape, infos, row_id_column, shapes};
use crate::types::{Decision, Native, decisions_of, declared};

/// Marks a collation whose order is not the engine's, since the file's text is UTF-16.
const UTF16: &str = " (UTF-16)";

/// Rows counted exactly without statistics; beyond, the span of row ids is the estimate.
const COUNTED_ROWS: i64 = 100_000;
/// Rows of each table whose values are checked for fit.
const CHECKED_ROWS: i64 = 20_000;
const CHECK_TIME: Duration = Duration::from_millis(200);
const CHECKED_COLUMNS: usize = 500;
const SAMPLE_TIME: Duration = Duration::from_millis(100);

pub type Decisions = BTreeMap<String, Decision>;

/// Everything in the file, by name.
pub fn discover(lease: &mut Lease, decisions: &Decisions) -> Result<Vec<Table>> {
    let connection = lease.connection()?;
    let shapes = shapes(connection).map_err(failure::of)?;
    let mut tables = Vec::with_capacity(shapes.len());
    for shape in &shapes {
        match table(connection, shape, decisions) {
            Ok(found) => tables.push(found),
            // A view over what is gone, a virtual table of an unknown module.
            Err(error) => tables.push(unreadable(shape, &error)),
        }
    }
    for (shape, table) in shapes.iter().zip(&mut tables) {
        if table.kind == TableKind::Table && !shape.is_virtual {
            lease.stop_on(&Stop::default(), Some(Instant::now() + CHECK_TIME))?;
            count_misfits(lease.connection()?, table);
            lease.stop_on(&Stop::default(), Some(Instant::now() + SAMPLE_TIME))?;
            sample::estimate(lease.connection()?, table);
        }
    }
    Ok(tables)
}

/// Whether the order of text in the known tables is the order of its UTF-8 bytes.
pub fn orders_text(tables: &[Table]) -> bool {
    let mut collations = tables
        .iter()
        .flat_map(|table| &table.columns)
        .filter_map(|column| column.collation.as_deref())
        .peekable();
    collations.peek().is_some() && collations.all(|collation| !collation.ends_with(UTF16))
}

/// The tables a fragment reads must still be what it was planned over.
pub fn check_unchanged(connection: &Connection, rel: &Rel, decisions: &Decisions) -> Result<()> {
    let mut pending = vec![rel];
    while let Some(rel) = pending.pop() {
        if let Rel::Scan { table, schema } = rel {
            let shape = shape::shape(connection, &table.name).map_err(failure::of)?;
            let Some(shape) = shape else {
                return Err(
                    Error::new(Code::TableMissing, "the table is no longer there")
                        .at_table(&table.name),
                );
            };
            let columns = columns(connection, &shape, decisions).map_err(failure::of)?;
            for field in schema.fields() {
                let now = columns.iter().find(|column| column.name == *field.name());
                if now.is_none_or(|now| !now.is_declared_as(field)) {
                    let what = match now {
                        Some(_) => "the column was declared differently when it was discovered",
                        None => "the column is no longer there",
                    };
                    return Err(Error::new(Code::SchemaChanged, what)
                        .at_table(&table.name)
                        .at_column(field.name()));
                }
            }
        }
        pending.extend(rel.inputs());
    }
    Ok(())
}

fn unreadable(shape: &Shape, error: &rusqlite::Error) -> Table {
    Table {
        schema: SCHEMA.to_string(),
        name: shape.name.clone(),
        kind: if shape.is_view {
            TableKind::View
        } else {
            TableKind::Table
        },
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        comment: None,
        row_count: None,
        size_bytes: None,
        warnings: vec![format!("SQLite cannot read it: {error}")],
    }
}

fn table(connection: &Connection, shape: &Shape, decisions: &Decisions) -> rusqlite::Result<Table> {
    let mut columns = columns(connection, shape, decisions)?;
    let mut warnings: Vec<String> = decisions_of(decisions, &shape.name)
        .filter(|(name, _)| columns.iter().all(|column| column.name != *name))
        .map(|(name, _)| format!("option columns decides about {name}, which is not a column"))
        .collect();
    let (mut primary_key, mut unique_keys, mut foreign_keys) = Default::default();
    let mut row_count = None;
    if !shape.is_view && !shape.is_virtual {
        primary_key = primary_key_of(connection, shape)?;
        if may_hold_null(connection, shape, &columns, &primary_key)? {
            warnings.push("the primary key holds NULL: not used as a key".to_string());
            primary_key = Vec::new();
        }
        unique_keys = unique_keys_of(connection, shape, &columns)?;
        foreign_keys = foreign_keys_of(connection, shape)?;
        row_count = row_count_of(connection, shape)?;
        for (column, distinct) in distinct_values_of(connection, shape) {
            if let Some(column) = columns.iter_mut().find(|c| c.name == column) {
                column.distinct = column.distinct.max(Some(distinct));
            }
        }
    }
    Ok(Table {
        schema: SCHEMA.to_string(),
        name: shape.name.clone(),
        kind: if shape.is_view {
            TableKind::View
        } else {
            TableKind::Table
        },
        columns,
        primary_key,
        unique_keys,
        foreign_keys,
        comment: None,
        row_count,
        size_bytes: None,
        warnings,
    })
}

pub fn columns(
    connection: &Connection,
    shape: &Shape,
    decisions: &Decisions,
) -> rusqlite::Result<Vec<Column>> {
    let infos = infos(connection, shape)?;
    let row_id = row_id_column(connection, shape, &infos)?;
    let encoding: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
    let utf8 = encoding == "UTF-8";
    infos
        .into_iter()
        .map(|info| {
            let decision = decisions_of(decisions, &shape.name)
                .find(|(name, _)| *name == info.name)
                .map(|(_, decision)| decision);
            let (read_as, decided) = match decision {
                Some(Decision::Type(decided)) => (decided.as_str(), true),
                _ => (info.declared.as_str(), false),
            };
            let meaning = declared(read_as);
            let reading = Reading::of(&meaning.data_type);
            let is_row_id = row_id.as_deref() == Some(&info.name);
            let native = Native {
                declared: info.declared.clone(),
                // STRICT allows any bytes in a text.
                always_fits: !decided
                    && match reading {
                        Some(Reading::Integer) => is_row_id || shape.strict,
                        Some(Reading::Real | Reading::Blob) => shape.strict,
                        _ => false,
                    },
                null_on_misfit: decision == Some(&Decision::NullOnMisfit),
                decided,
            };
            let nullable = native.null_on_misfit || !(info.not_null || is_row_id);
            let collation = match reading {
                Some(Reading::Text) => collation(connection, shape, &info.name, utf8),
                _ => None,
            };
            Ok(Column {
                name: info.name,
                data_type: meaning.data_type,
                nullable,
                native_type: native.text(),
                collation,
                comment: None,
                distinct: None,
                histogram: None,
                note: meaning.note.map(str::to_string),
            })
        })
        .collect()
}

fn collation(connection: &Connection, shape: &Shape, column: &str, utf8: bool) -> Option<String> {
    // Not known of views.
    let (_, collation, ..) = connection
        .column_metadata(Some(SCHEMA), shape.name.as_str(), column)
        .ok()?;
    let name = collation?.to_str().ok()?.to_ascii_uppercase();
    Some(if utf8 { name } else { name + UTF16 })
}

pub fn primary_key_of(connection: &Connection, shape: &Shape) -> rusqlite::Result<Vec<String>> {
    let mut keys: Vec<Info> = infos(connection, shape)?
        .into_iter()
        .filter(|info| info.key_place > 0)
        .collect();
    keys.sort_by_key(|info| info.key_place);
    Ok(keys.into_iter().map(|info| info.name).collect())
}

/// SQLite lets NULL into primary keys that do not say NOT NULL. Answered from the key's index.
fn may_hold_null(
    connection: &Connection,
    shape: &Shape,
    columns: &[Column],
    key: &[String],
) -> rusqlite::Result<bool> {
    if shape.without_rowid {
        return Ok(false);
    }
    let nullable = |name: &&String| columns.iter().any(|c| c.name == **name && c.nullable);
    let tests: Vec<String> = key
        .iter()
        .filter(nullable)
        .map(|name| format!("{} IS NULL", sql::quoted(name, '"')))
        .collect();
    if tests.is_empty() {
        return Ok(false);
    }
    let text = format!(
        "SELECT 1 FROM {} WHERE {} LIMIT 1",
        quoted_table(&shape.name),
        tests.join(" OR ")
    );
    connection.prepare(&text)?.exists([])
}

fn unique_keys_of(
    connection: &Connection,
    shape: &Shape,
    columns: &[Column],
) -> rusqlite::Result<Vec<Vec<String>>> {
    let mut statement = connection.prepare_cached(
        "SELECT l.name, i.name FROM pragma_index_list(?1, ?2) AS l, pragma_index_info(l.name, ?2) AS i \
         WHERE l.\"unique\" AND NOT l.partial AND l.origin <> 'pk' ORDER BY l.name, i.seqno",
    )?;
    let mut rows = statement.query([&shape.name, SCHEMA])?;
    let mut keys: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        keys.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    // A key over an expression, or over what may be NULL, is none.
    let certain = |name: &String| columns.iter().any(|c| c.name == *name && !c.nullable);
    Ok(keys
        .into_values()
        .filter_map(|key| key.into_iter().collect::<Option<Vec<String>>>())
        .filter(|key| key.iter().all(certain))
        .collect())
}

fn foreign_keys_of(connection: &Connection, shape: &Shape) -> rusqlite::Result<Vec<ForeignKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1, ?2) ORDER BY id, seq",
    )?;
    let mut rows = statement.query([&shape.name, SCHEMA])?;
    let mut keys: BTreeMap<i64, (ForeignKey, bool)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let referenced_table: String = row.get(1)?;
        let (key, to_primary_key) = keys.entry(row.get(0)?).or_insert_with(|| {
            let key = ForeignKey {
                name: None,
                columns: Vec::new(),
                referenced_schema: SCHEMA.to_string(),
                referenced_table,
                referenced_columns: Vec::new(),
            };
            (key, false)
        });
        key.columns.push(row.get(2)?);
        match row.get::<_, Option<String>>(3)? {
            Some(column) => key.referenced_columns.push(column),
            None => *to_primary_key = true,
        }
    }
    keys.into_values()
        .map(|(mut key, to_primary_key)| {
            if to_primary_key
                && let Some(referenced) = shape::shape(connection, &key.referenced_table)?
            {
                key.referenced_columns = primary_key_of(connection, &referenced)?;
            }
            Ok(key)
        })
        .collect()
}

fn row_count_of(connection: &Connection, shape: &Shape) -> rusqlite::Result<Option<u64>> {
    // ANALYZE's own estimate; the table is there only after it ran.
    let analyzed = connection
        .query_row(
            "SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = ?1",
            [&shape.name],
            |row| row.get::<_, Option<i64>>(0),
        )
        .ok()
        .flatten();
    if let Some(rows) = analyzed {
        return Ok(u64::try_from(rows).ok());
    }
    let table = quoted_table(&shape.name);
    let counted: i64 = connection.query_row(
        &format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT ?1)"),
        params![COUNTED_ROWS],
        |row| row.get(0),
    )?;
    if counted < COUNTED_ROWS || shape.without_rowid {
        return Ok(u64::try_from(counted).ok());
    }
    let span: Option<i64> = connection
        .query_row(
            &format!(
                "SELECT (SELECT max(rowid) FROM {table}) - (SELECT min(rowid) FROM {table}) + 1"
            ),
            [],
            |row| row.get(0),
        )
        .unwrap_or(None);
    Ok(u64::try_from(span.unwrap_or(counted).max(counted)).ok())
}

/// What ANALYZE found of columns that an index begins with: `stat` is the rows, and the rows for each first value.
fn distinct_values_of(connection: &Connection, shape: &Shape) -> Vec<(String, u64)> {
    let read = || -> rusqlite::Result<Vec<(Option<String>, String)>> {
        let mut statement = connection.prepare(
            "SELECT i.name, s.stat FROM sqlite_stat1 AS s, pragma_index_info(s.idx) AS i
             WHERE s.tbl = ?1 AND i.seqno = 0",
        )?;
        let rows = statement.query_map([&shape.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    // The table is there only after it ran, and may hold what its owner wrote.
    let distinct = |(column, stat): (Option<String>, String)| {
        let mut numbers = stat.split(' ').map(str::parse::<u64>);
        let (rows, each) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some((column?, rows / each.max(1)))
    };
    let known = read().unwrap_or_default().into_iter();
    known.filter_map(distinct).collect()
}

/// Warn of values that do not fit, as far as a bounded look shows. A look that takes too long shows nothing.
fn count_misfits(connection: &Connection, table: &mut Table) {
    let checked: Vec<(&Column, Reading)> = table
        .columns
        .iter()
        .filter(|column| !Native::parse(&column.native_type).always_fits)
        .filter_map(|column| Some((column, Reading::of(&column.data_type)?)))
        .take(CHECKED_COLUMNS)
        .collect();
    if checked.is_empty() {
        return;
    }
    let counts: Vec<String> = checked
        .iter()
        .map(|(column, reading)| format!("sum(NOT {})", failure::fits(&column.name, *reading)))
        .collect();
    let text = format!(
        "SELECT count(*), {} FROM (SELECT * FROM {} LIMIT {CHECKED_ROWS})",
        counts.join(", "),
        quoted_table(&table.name),
    );
    let found: rusqlite::Result<Vec<(i64, i64)>> = connection.query_row(&text, [], |row| {
        let rows: i64 = row.get(0)?;
        (1..=checked.len())
            .map(|i| Ok((rows, row.get::<_, Option<i64>>(i)?.unwrap_or(0))))
            .collect()
    });
    let Ok(found) = found else { return };
    for ((column, reading), (rows, misfits)) in checked.iter().zip(found) {
        if misfits > 0 {
            let native = Native::parse(&column.native_type);
            let outcome = match native.null_on_misfit {
                true => "they are read as NULL".to_string(),
                false => format!(
                    "reading them is an error; columns = '{}.{}: text' (or null) on the source reads them",
                    table.name, column.name
                ),
            };
            table.warnings.push(format!(
                "{misfits} of the first {rows} values of {} do not fit {} (read as {}): {outcome}",
                column.name,
                native.declared,
                reading.name(),
            ));
        }
    }
}

pub fn quoted_table(name: &str) -> String {
    let dialect = SqliteDialect { orders_text: false };
    let table = TableRef {
        schema: SCHEMA.to_string(),
        name: name.to_string(),
    };
    dialect.table(&table).to_string()
}
