//! What is written to a table: one transaction of the one connection that writes.

use std::sync::Arc;
use std::time::Instant;

use belvedere_connector::{Code, Constraint, Error, Result, Write};
use belvedere_sqlgen::{Next, Statements};
use rusqlite::{Connection, ErrorCode, ffi};
use tokio::runtime::Handle;

use super::{Capturing, Inner};
use crate::dialect::SqliteDialect;
use crate::failure;
use crate::reading::param;

impl Capturing {
    /// Do it; returns how many rows were changed.
    pub async fn write(&self, write: Write, dialect: SqliteDialect) -> Result<u64> {
        let table = write.table.name.clone();
        let runtime = Handle::current();
        let written = self
            .0
            .blocking(move |inner| inner.write(write, dialect, &runtime));
        written.await.map_err(|e| e.at_table(table))
    }
}

impl Inner {
    fn write(
        self: &Arc<Self>,
        write: Write,
        dialect: SqliteDialect,
        runtime: &Handle,
    ) -> Result<u64> {
        let deadline = write.deadline;
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let patience = left.map_or(self.busy_timeout, |left| left.min(self.busy_timeout));
        self.with_writer(|writer| {
            writer.durable(deadline, |writer| {
                writer.locked(patience, |connection| {
                    runtime.block_on(send(connection, write, dialect))
                })
            })
        })
        .map_err(|e| match e.code {
            Code::Cancelled if deadline.is_some_and(|at| Instant::now() >= at) => {
                Error::new(Code::Timeout, "the statement's deadline passed")
            }
            _ => e,
        })
    }
}

async fn send(connection: &Connection, write: Write, dialect: SqliteDialect) -> Result<u64> {
    let mut statements = Statements::new(write, &dialect);
    let mut rows = 0;
    while let Some(Next {
        statement,
        expected,
    }) = statements.next().await?
    {
        let params = statement.params.iter();
        let params: Option<Vec<_>> = params.map(|(literal, _)| param(literal)).collect();
        let params = params.ok_or_else(|| Error::internal("a constant that was not declared"))?;
        let mut prepared = connection.prepare_cached(&statement.sql).map_err(refused)?;
        let done = prepared.execute(rusqlite::params_from_iter(params));
        let done = done.map_err(refused)? as u64;
        rows += expected.met_by(done)?;
    }
    Ok(rows)
}

/// What SQLite says of a write. Of constraints it names columns.
pub(super) fn refused(e: rusqlite::Error) -> Error {
    let rusqlite::Error::SqliteFailure(failed, message) = &e else {
        return failure::of(e);
    };
    if failure::is_misfit(&e) {
        let message = "a stored value does not fit the type its column is read as";
        return Error::new(Code::ValueOutOfRange, message);
    }
    let constraint = match failed.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => Constraint::Unique,
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Constraint::ForeignKey,
        ffi::SQLITE_CONSTRAINT_NOTNULL => Constraint::NotNull,
        ffi::SQLITE_CONSTRAINT_CHECK => Constraint::Check,
        ffi::SQLITE_CONSTRAINT_DATATYPE => {
            let message = "a value is of another type than its column";
            return Error::new(Code::ValueOutOfRange, message);
        }
        _ if failed.code == ErrorCode::ConstraintViolation => Constraint::Other,
        _ => return failure::of(e),
    };
    let error = Error::new(Code::Violates(constraint), constraint.broken());
    // `NOT NULL constraint failed: item.sku`
    let column = message.as_deref().and_then(|m| m.split_once("failed: "));
    match (
        constraint,
        column.and_then(|(_, name)| name.rsplit_once('.')),
    ) {
        (Constraint::NotNull, Some((_, column))) => error.at_column(column),
        _ => error,
    }
}
