//! The triggers of one table, as SQL.
//!
//! SQLite fires no delete triggers for a row that `INSERT OR REPLACE` removes. So before a row is written, whatever has its
//! unique values is logged: those rows may go, or stay if the statement is another; what is there is looked up later.
//!
//! *Of a table with a key* each entry is a key that was touched. *Of one without* rows are told by row id, and how one was before
//! is logged, for it cannot be looked up any more:
//!
//! | op | says |
//! |---|---|
//! | `I`, `D` | a row came, went; without its values |
//! | `U` | what a row has that is about to change or go |
//! | `V` | … that a unique conflict may remove |
//!
//! `U` is logged before, `I` and `D` are after the fact: a trigger of the owner's may change the same row in between, or see to it
//! that nothing happens.

use belvedere_connector::Result;
use rusqlite::{Connection, OptionalExtension};

use super::layout::{Layout, Logged};
use super::log::CHANGES;
use super::{literal, quoted};
use crate::failure;

/// Their names, and how they are made.
pub fn of(layout: &Layout) -> Vec<(String, String)> {
    let table = quoted(&layout.table);
    let mut triggers = Vec::new();
    let mut add = |suffix: &str, event: &str, condition: String, body: Vec<String>| {
        if !body.is_empty() {
            let name = format!("belvedere_{}_{suffix}", layout.table);
            let sql = format!(
                "CREATE TRIGGER {} {event} ON {table} {condition}BEGIN {}; END",
                quoted(&name),
                body.join("; ")
            );
            triggers.push((name, sql));
        }
    };
    let none = String::new;
    let victims = victims(layout);
    match &layout.rows {
        Logged::Keys(key) => {
            let of = |row: &str| values(row, key);
            let is_other = differ(key);
            let now = format!("{} WHERE {is_other}", log(layout, "NULL", &of("NEW"), None));
            let once = |row| vec![log(layout, "NULL", &of(row), None)];
            add("inserted", "AFTER INSERT", none(), once("NEW"));
            add("deleted", "AFTER DELETE", none(), once("OLD"));
            let updated = [once("OLD"), vec![now]].concat();
            add("updated", "AFTER UPDATE", none(), updated);
            let unique: Vec<String> = layout
                .unique
                .iter()
                .flatten()
                .map(|c| c.0.clone())
                .collect();
            let condition = format!("WHEN {} ", differ(&unique));
            add("updating", "BEFORE UPDATE", condition, victims.clone());
            add("inserting", "BEFORE INSERT", none(), victims);
        }
        Logged::Rows { row_id, columns } => {
            let id = |row: &str| vec![format!("{row}.{row_id}")];
            let before = [id("OLD"), values("OLD", columns)].concat();
            let before = log(layout, "'U'", &before, None);
            let moved = format!("WHERE NEW.{row_id} <> OLD.{row_id}");
            let came = log(layout, "'I'", &id("NEW"), None);
            let went = log(layout, "'D'", &id("OLD"), None);
            let both = vec![format!("{went} {moved}"), format!("{came} {moved}")];
            add("inserted", "AFTER INSERT", none(), vec![came]);
            add("deleted", "AFTER DELETE", none(), vec![went]);
            add("updated", "AFTER UPDATE", none(), both);
            add("deleting", "BEFORE DELETE", none(), vec![before.clone()]);
            let updating = [vec![before], victims.clone()].concat();
            add("updating", "BEFORE UPDATE", none(), updating);
            add("inserting", "BEFORE INSERT", none(), victims);
        }
    }
    triggers
}

/// Whether all are there, as they are to be.
pub fn are_there(connection: &Connection, layout: &Layout) -> Result<bool> {
    let mut statement = connection
        .prepare_cached("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1")
        .map_err(failure::of)?;
    for (name, sql) in of(layout) {
        let there = statement
            .query_row([name], |row| row.get::<_, String>(0))
            .optional()
            .map_err(failure::of)?;
        if there != Some(sql) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Make them instead of those that are there.
pub fn make(connection: &Connection, layout: &Layout) -> Result<()> {
    let make = || -> rusqlite::Result<()> {
        for suffix in SUFFIXES {
            let name = quoted(&format!("belvedere_{}_{suffix}", layout.table));
            connection.execute_batch(&format!("DROP TRIGGER IF EXISTS {name}"))?;
        }
        let made = of(layout).into_iter();
        made.map(|(_, sql)| sql)
            .try_for_each(|sql| connection.execute_batch(&sql))
    };
    make().map_err(failure::of)
}

const SUFFIXES: [&str; 6] = [
    "inserted",
    "deleted",
    "updated",
    "inserting",
    "deleting",
    "updating",
];

/// One entry, or one for each row of the table that meets a condition.
fn log(layout: &Layout, op: &str, values: &[String], of_rows: Option<String>) -> String {
    let columns: Vec<String> = (1..=values.len()).map(|n| format!("k{n}")).collect();
    let from =
        of_rows.map(|condition| format!(" FROM {} WHERE {condition}", quoted(&layout.table)));
    format!(
        "INSERT INTO {CHANGES} (tbl, op, {}) SELECT {}, {op}, {}{}",
        columns.join(", "),
        literal(&layout.table),
        values.join(", "),
        from.unwrap_or_default(),
    )
}

/// Entries for rows that the new one may remove.
fn victims(layout: &Layout) -> Vec<String> {
    let mut conditions: Vec<String> = layout
        .unique
        .iter()
        .map(|columns| {
            let same = |(column, collation): &(String, String)| {
                let column = quoted(column);
                format!("{column} = NEW.{column} COLLATE {}", quoted(collation))
            };
            columns.iter().map(same).collect::<Vec<_>>().join(" AND ")
        })
        .collect();
    let (op, values) = match &layout.rows {
        Logged::Keys(key) => ("NULL", key.iter().map(|column| quoted(column)).collect()),
        Logged::Rows { row_id, columns } => {
            conditions.push(format!("{row_id} = NEW.{row_id}"));
            let columns = columns.iter().map(|column| quoted(column));
            (
                "'V'",
                [row_id.clone()]
                    .into_iter()
                    .chain(columns)
                    .collect::<Vec<_>>(),
            )
        }
    };
    let entry = |condition| log(layout, op, &values, Some(condition));
    conditions.into_iter().map(entry).collect()
}

fn values(row: &str, columns: &[String]) -> Vec<String> {
    let value = |column: &String| format!("{row}.{}", quoted(column));
    columns.iter().map(value).collect()
}

/// Whether the row has another value in one of them, to the byte.
fn differ(columns: &[String]) -> String {
    let differs = |column: &String| {
        let column = quoted(column);
        format!("OLD.{column} IS NOT NEW.{column} COLLATE BINARY")
    };
    columns.iter().map(differs).collect::<Vec<_>>().join(" OR ")
}
