use belvedere_connector::{Code, Error, Rel, TableRef};
use belvedere_sqlgen::{Dialect, sql};
use rusqlite::{Connection, ErrorCode};

use crate::dialect::SqliteDialect;
use crate::functions::MISFIT;
use crate::reading::Reading;
use crate::shape;
use crate::types::Native;

/// Whether a statement ended because a stored value does not fit.
pub fn is_misfit(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message == MISFIT,
        rusqlite::Error::UserFunctionError(cause) => cause.to_string() == MISFIT,
        _ => false,
    }
}

/// SQLite's error as ours. Its messages about data and I/O hold no values; those about statements name our own text.
pub fn of(error: rusqlite::Error) -> Error {
    let text = match &error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    if let Some((_, name)) = text.split_once("no such table: ") {
        return Error::new(
            Code::TableMissing,
            format!("the table {name} is no longer there"),
        );
    }
    if text.contains("no such column: ") {
        return Error::new(Code::SchemaChanged, "a column is no longer there");
    }
    let (code, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Code::Busy,
            "the database is locked by another program".to_string(),
        ),
        Some(ErrorCode::CannotOpen) => (
            Code::Unreachable,
            "the database file cannot be opened".to_string(),
        ),
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => (
            Code::PermissionDenied,
            "the file may not be read".to_string(),
        ),
        Some(ErrorCode::NotADatabase) => (
            Code::MalformedFile,
            "the file is not a SQLite database (or is encrypted)".to_string(),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            Code::MalformedFile,
            "the database file is damaged".to_string(),
        ),
        Some(ErrorCode::OperationInterrupted) => {
            (Code::Cancelled, "the read was cancelled".to_string())
        }
        Some(ErrorCode::TooBig) => (
            Code::LimitExceeded,
            "a value is larger than SQLite allows".to_string(),
        ),
        Some(ErrorCode::SystemIoFailure) => (
            Code::Unreachable,
            "reading the database file failed".to_string(),
        ),
        _ => (
            Code::SourceRefused,
            "SQLite refused the statement".to_string(),
        ),
    };
    Error::new(code, message).caused_by(error)
}

/// Which value of which row it was: found by asking each scanned table, which costs a read of it.
pub fn locate_misfit(connection: &Connection, rel: &Rel) -> Error {
    let mut pending = vec![rel];
    while let Some(rel) = pending.pop() {
        if let Rel::Scan { table, schema } = rel {
            for field in schema.fields() {
                let native = field.metadata().get(belvedere_connector::NATIVE_TYPE);
                let native = Native::parse(native.map_or("", String::as_str));
                if native.null_on_misfit {
                    continue;
                }
                if let Some(reading) = Reading::of(field.data_type())
                    && let Some(row) = first_misfit(connection, table, field.name(), reading)
                {
                    return misfit(table, field.name(), &native.declared, reading, row);
                }
            }
        }
        pending.extend(rel.inputs());
    }
    Error::new(
        Code::ValueOutOfRange,
        "a stored value does not fit the type its column is read as",
    )
}

/// `fits_T("column")` as SQL.
pub fn fits(column: &str, reading: Reading) -> String {
    let column = sql::quoted(column, '"');
    match reading {
        Reading::Decimal { precision, scale } => {
            format!("fits_decimal({column}, {precision}, {scale})")
        }
        other => format!("fits_{}({column})", other.name()),
    }
}

fn first_misfit(
    connection: &Connection,
    table: &TableRef,
    column: &str,
    reading: Reading,
) -> Option<Option<i64>> {
    let shape = shape::shape(connection, &table.name).ok().flatten();
    let row_id = shape.and_then(|shape| shape::row_id(connection, &shape).ok().flatten());
    // Views and WITHOUT ROWID tables have none.
    let row_id = row_id.unwrap_or_else(|| "NULL".to_string());
    let dialect = SqliteDialect { orders_text: false };
    let text = format!(
        "SELECT {row_id} FROM {} WHERE NOT {} LIMIT 1",
        dialect.table(table),
        fits(column, reading)
    );
    connection.query_row(&text, [], |row| row.get(0)).ok()
}

fn misfit(
    table: &TableRef,
    column: &str,
    declared: &str,
    reading: Reading,
    row: Option<i64>,
) -> Error {
    let error = Error::new(
        Code::ValueOutOfRange,
        format!(
            "a stored value does not fit the column's type {declared} (read as {})",
            reading.name()
        ),
    )
    .at_table(&table.name)
    .at_column(column)
    .help(format!(
        "Correct it, or set columns = '{0}.{column}: text' (or null) on the source",
        table.name
    ));
    match row {
        Some(row) => error.at_row(row.to_string()),
        None => error,
    }
}
