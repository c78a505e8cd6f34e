//! What is logged of a table: its keys, or, where it has none that can be trusted, its rows.

use arrow::datatypes::DataType;
use belvedere_connector::{Code, Column, Error, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::log::CAPTURED;
use crate::discovery::{self, Decisions};
use crate::failure;
use crate::shape::{self, SCHEMA};
use crate::types::{Affinity, Native};

/// One table's part of the log.
#[derive(Debug, Clone)]
pub struct Layout {
    pub table: String,
    pub rows: Logged,
    /// By which another row may be removed when one is written: of each, its columns and their collations.
    pub unique: Vec<Vec<(String, String)>>,
}

#[derive(Debug, Clone)]
pub enum Logged {
    /// These columns.
    Keys(Vec<String>),
    /// The row id (as SQL), and what the row had in these columns.
    Rows {
        row_id: String,
        columns: Vec<String>,
    },
}

/// The primary key, if what is read of it tells rows apart just as well as what is stored. Others (dates, decimals, what may
/// be NULL) may be read alike though SQLite has them as different.
pub fn key_of(primary_key: &[String], columns: &[Column]) -> Option<Vec<String>> {
    let is_exact = |name: &String| {
        let column = columns.iter().find(|column| column.name == *name);
        column.is_some_and(|column| {
            let native = Native::parse(&column.native_type);
            !column.nullable
                && match column.data_type {
                    DataType::Int64 | DataType::Binary => true,
                    DataType::Utf8 => Affinity::of(&native.declared) == Affinity::Text,
                    _ => false,
                }
        })
    };
    (!primary_key.is_empty() && primary_key.iter().all(is_exact)).then(|| primary_key.to_vec())
}

impl Layout {
    /// As the table is now. `logged`: the columns whose old values are logged, if it has triggers already.
    pub fn read(
        connection: &Connection,
        table: &str,
        decisions: &Decisions,
        logged: Option<Vec<String>>,
    ) -> Result<Self> {
        let refused = |why: &str| {
            let message = format!("changes of it are not captured: {why}");
            Error::new(Code::NoChangeCapture, message)
                .at_table(table)
                .help("changes = 'poll' on the source follows it without triggers")
        };
        let shape = shape::shape(connection, table).map_err(failure::of)?;
        let shape = shape.ok_or_else(|| missing(table))?;
        match () {
            () if shape.is_view => return Err(refused("it is a view")),
            () if shape.is_virtual => return Err(refused("it is a virtual table")),
            () if shape.without_rowid => return Err(refused("it is a table WITHOUT ROWID")),
            () => {}
        }
        let columns = discovery::columns(connection, &shape, decisions).map_err(failure::of)?;
        let primary_key = discovery::primary_key_of(connection, &shape).map_err(failure::of)?;
        let row_id = shape::row_id(connection, &shape).map_err(failure::of)?;
        let rows = match key_of(&primary_key, &columns) {
            Some(key) => Logged::Keys(key),
            None => Logged::Rows {
                row_id: row_id.ok_or_else(|| refused("its columns have all names of a row id"))?,
                columns: logged.unwrap_or_else(|| columns.iter().map(|c| c.name.clone()).collect()),
            },
        };
        let indexes = unique_indexes(connection, table).map_err(failure::of)?;
        let mut unique = Vec::new();
        for index in indexes {
            if index.is_partial {
                return Err(refused(
                    "it has a unique index with WHERE, by which REPLACE removes rows",
                ));
            }
            let columns: Option<Vec<_>> = index.columns.into_iter().collect();
            let columns = columns.ok_or_else(|| {
                refused("it has a unique index on an expression, by which REPLACE removes rows")
            })?;
            // What is removed by its key is logged under that key.
            let is_key = matches!(&rows, Logged::Keys(key) if key.len() == columns.len()
                && columns.iter().all(|(name, collation)| key.contains(name) && collation == "BINARY"));
            if !is_key {
                unique.push(columns);
            }
        }
        Ok(Self {
            table: table.to_string(),
            rows,
            unique,
        })
    }

    /// Columns of the log that it needs.
    pub fn width(&self) -> usize {
        match &self.rows {
            Logged::Keys(key) => key.len(),
            Logged::Rows { columns, .. } => 1 + columns.len(),
        }
    }
}

pub fn missing(table: &str) -> Error {
    Error::new(Code::TableMissing, "the table is no longer there").at_table(table)
}

/// A table that has triggers: the columns whose old values they log.
pub fn logged(connection: &Connection, table: &str) -> Result<Option<Vec<String>>> {
    let sql = format!("SELECT columns FROM {CAPTURED} WHERE tbl = ?1");
    let columns = connection
        .prepare_cached(&sql)
        .and_then(|mut statement| {
            let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            statement.query_row([table], text).optional()
        })
        .map_err(failure::of)?;
    let columns = columns.map(|text| serde_json::from_str(&text));
    columns
        .transpose()
        .map_err(|e| Error::internal(format!("what {CAPTURED} has of it")).caused_by(e))
}

pub fn set_logged(connection: &Connection, layout: &Layout) -> Result<()> {
    let columns: &[String] = match &layout.rows {
        Logged::Keys(_) => &[],
        Logged::Rows { columns, .. } => columns,
    };
    let columns = serde_json::to_string(columns)
        .map_err(|e| Error::internal("names that are no text").caused_by(e))?;
    let set = || -> rusqlite::Result<()> {
        connection.execute(
            &format!("DELETE FROM {CAPTURED} WHERE tbl = ?1"),
            [&layout.table],
        )?;
        let sql = format!("INSERT INTO {CAPTURED} (tbl, columns) VALUES (?1, ?2)");
        connection.execute(&sql, params![layout.table, columns])?;
        Ok(())
    };
    set().map_err(failure::of)
}

/// None is an expression.
struct Index {
    is_partial: bool,
    columns: Vec<Option<(String, String)>>,
}

fn unique_indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Index>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, partial FROM pragma_index_list(?1, ?2) WHERE \"unique\" ORDER BY name",
    )?;
    let indexes: Vec<(String, bool)> = statement
        .query_map([table, SCHEMA], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT name, coll FROM pragma_index_xinfo(?1, ?2) WHERE key ORDER BY seqno",
    )?;
    let of = |(name, is_partial): (String, bool)| {
        let columns = statement
            .query_map([name.as_str(), SCHEMA], |row| {
                let (name, collation): (Option<String>, Option<String>) =
                    (row.get(0)?, row.get(1)?);
                Ok(name.zip(collation))
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Index {
            is_partial,
            columns,
        })
    };
    indexes.into_iter().map(of).collect()
}

/// Whether rows of any table are told by row id.
pub fn any_rows(connection: &Connection) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {CAPTURED} WHERE columns <> '[]'");
    let is_there = connection.prepare(&sql).and_then(|mut s| s.exists([]));
    is_there.map_err(failure::of)
}
