//! Tables as they are at the server now.

use std::collections::HashMap;

use arrow::datatypes::Field;
use belvedere_connector::{Captured, Code, Error, NATIVE_TYPE};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::shape::{gone, retyped};

/// Why tables cannot be followed, each by its number.
///
/// # Errors
/// The connection's.
pub async fn check(
    conn: &mut Conn,
    tables: &[(usize, Captured)],
) -> mysql_async::Result<Vec<(usize, Error)>> {
    let mut wrong = Vec::new();
    for (number, captured) in tables {
        if let Err(e) = check_one(conn, captured).await? {
            wrong.push((*number, e.at_table(&captured.table.name)));
        }
    }
    Ok(wrong)
}

async fn check_one(conn: &mut Conn, captured: &Captured) -> mysql_async::Result<Result<(), Error>> {
    let table = &captured.table;
    let found: Option<(String, Option<String>, Option<String>)> = conn
        .exec_first(
            "SELECT t.TABLE_TYPE, t.ENGINE, e.TRANSACTIONS FROM information_schema.TABLES t \
             LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE \
             WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ?",
            (&table.schema, &table.name),
        )
        .await?;
    let refused = |message: String| Ok(Err(Error::new(Code::NoChangeCapture, message)));
    match found {
        None => {
            let message = "the table is no longer there, or may not be read";
            return Ok(Err(Error::new(Code::TableMissing, message)));
        }
        Some((kind, _, _)) if !matches!(kind.as_str(), "BASE TABLE" | "SYSTEM VERSIONED") => {
            return refused("only tables are followed: a view has no rows of its own".to_string());
        }
        Some((_, engine, transactions)) if transactions.as_deref() != Some("YES") => {
            let engine = engine.unwrap_or_default();
            let name = |name: &str| format!("`{}`", name.replace('`', "``"));
            let (schema, name) = (name(&table.schema), name(&table.name));
            let e = Error::new(
                Code::NoChangeCapture,
                format!("the table is stored by {engine}, which has no transactions"),
            );
            let help = format!("Run at the source: ALTER TABLE {schema}.{name} ENGINE = InnoDB");
            return Ok(Err(e.help(help)));
        }
        Some(_) => {}
    }
    if let Some(e) = cascades(conn, captured).await? {
        return Ok(Err(e));
    }
    let columns: Vec<(String, String)> = conn
        .exec(
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            (&table.schema, &table.name),
        )
        .await?;
    let columns: HashMap<String, String> = columns.into_iter().collect();
    for field in captured.schema.fields() {
        let wrong = match columns.get(field.name()) {
            None => gone(),
            Some(native) if !is_same(field, native) => retyped(),
            Some(_) => continue,
        };
        return Ok(Err(wrong.at_column(field.name())));
    }
    Ok(Ok(()))
}

/// Rows that a foreign key changes along with those it refers to: InnoDB does that below the log, which tells of the latter alone.
async fn cascades(conn: &mut Conn, captured: &Captured) -> mysql_async::Result<Option<Error>> {
    let table = &captured.table;
    let keys: Vec<(String, String, String, String)> = conn
        .exec(
            "SELECT r.CONSTRAINT_NAME, k.COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE \
             FROM information_schema.REFERENTIAL_CONSTRAINTS r \
             JOIN information_schema.KEY_COLUMN_USAGE k ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA \
              AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME \
             WHERE r.CONSTRAINT_SCHEMA = ? AND r.TABLE_NAME = ? ORDER BY 1, k.ORDINAL_POSITION",
            (&table.schema, &table.name),
        )
        .await?;
    let does = |rule: &str| matches!(rule, "CASCADE" | "SET NULL" | "SET DEFAULT");
    let found = keys.iter().find_map(|(name, column, update, delete)| {
        let is_wanted = captured.schema.field_with_name(column).is_ok();
        let rule = match () {
            () if delete == "CASCADE" || is_wanted && does(delete) => format!("DELETE {delete}"),
            () if is_wanted && does(update) => format!("UPDATE {update}"),
            () => return None,
        };
        Some((name, rule))
    });
    Ok(found.map(|(name, rule)| {
        let message = format!(
            "its foreign key {name} has ON {rule}: what that does to its rows is not in the log"
        );
        Error::new(Code::NoChangeCapture, message).help(
            "Have the key RESTRICT at the source, and the rows changed by who changes those that they refer to; \
             or recompute the view: refresh = 'every 1 minute'",
        )
    }))
}

/// Whether a column's type is the one it was, or holds all that it held.
fn is_same(field: &Field, native: &str) -> bool {
    let was = field.metadata().get(NATIVE_TYPE).map_or("", String::as_str);
    let was = was.split(", read as ").next().unwrap_or_default();
    let base = |text: &str| text.split('(').next().unwrap_or_default().to_string();
    if was == native || base(was) != base(native) {
        return was == native;
    }
    let length = |text: &str| -> Option<u32> { text.split(['(', ')']).nth(1)?.parse().ok() };
    match base(was).as_str() {
        "varchar" | "char" | "varbinary" => length(was) <= length(native),
        // Labels more, at the end.
        "enum" | "set" => native.starts_with(was.trim_end_matches(')')),
        _ => false,
    }
}
