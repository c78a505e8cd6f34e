//! What is written to a table: one transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Constraint, Error, Result, Write};
use belvedere_sqlgen::{Next, Statements};
use tokio_postgres::types::Type;

use crate::dialect::PostgresDialect;
use crate::failure::failure;
use crate::params::Param;
use crate::pool::{Lease, Pool};
use crate::read::{give_up, settle, until};
use crate::settings::Settings;

/// How long the answer to a COMMIT is waited for, whatever the deadline: without it nobody knows what came of it.
const COMMIT: Duration = Duration::from_secs(30);

/// Do it; returns how many rows were changed. What is sent is sent once: not by another connection either, if this one breaks.
pub async fn write(pool: &Arc<Pool>, write: Write) -> Result<u64> {
    let (deadline, table) = (write.deadline, write.table.name.clone());
    let mut lease = until(deadline, async {
        let lease = pool.acquire(deadline).await?;
        // Idle ones may be dead, which is found out before anything is sent.
        match lease.reused && lease.client()?.batch_execute("").await.is_err() {
            true => {
                drop(lease);
                pool.acquire_fresh(deadline).await
            }
            false => Ok(lease),
        }
    })
    .await?;
    lease.busy();
    let sent = until(deadline, send(&lease, write)).await;
    let rows = match sent {
        Ok(rows) => rows,
        Err(e) => return Err(give_up(lease, e.at_table(table)).await),
    };
    let settings = lease.settings().clone();
    let committed = lease.client()?.batch_execute("COMMIT");
    match tokio::time::timeout(COMMIT, committed).await {
        Ok(Ok(())) => {
            lease.settled();
            Ok(rows)
        }
        // It has refused, and undone what there was: a constraint that is checked at the end.
        Ok(Err(e))
            if e.as_db_error()
                .is_some_and(|db| is_refusal(db.code().code())) =>
        {
            let error = refused(&settings, None, e).at_table(table);
            settle(lease).await;
            Err(error)
        }
        Ok(Err(_)) | Err(_) => Err(unknown(&settings).at_table(table)),
    }
}

/// All but the commit.
async fn send(lease: &Lease, write: Write) -> Result<u64> {
    let settings = lease.settings();
    let deadline = write.deadline;
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()).as_millis());
    let left = left.map_or(0, |ms| ms.clamp(1, i32::MAX as u128));
    // The owner's triggers find what they name where they would without us; statements of ours name everything in full.
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = {left}; \
         SET LOCAL search_path TO DEFAULT"
    );
    let begun = lease.client()?.batch_execute(&begin).await;
    begun.map_err(|e| refused(settings, deadline, e))?;
    let mut statements = Statements::new(write, &PostgresDialect);
    // Not beyond this transaction: what is between here and the server may give the next one another connection.
    let mut prepared: HashMap<String, tokio_postgres::Statement> = HashMap::new();
    let mut rows = 0;
    while let Some(Next {
        statement,
        expected,
    }) = statements.next().await?
    {
        let params: Vec<Param> = statement.params.into_iter().map(Param::new).collect();
        let types: Vec<Type> = params.iter().map(Param::sent_as).collect();
        let client = lease.client()?;
        let prepared = match prepared.get(&statement.sql) {
            Some(known) => known,
            None => {
                let new = client.prepare_typed(&statement.sql, &types).await;
                let new = new.map_err(|e| refused(settings, deadline, e))?;
                prepared.entry(statement.sql).or_insert(new)
            }
        };
        let done = client.execute_raw(prepared, &params).await;
        let done = done.map_err(|e| refused(settings, deadline, e))?;
        let changed = expected.met_by(done);
        rows += changed.map_err(|e| e.at_source(&settings.source))?;
    }
    Ok(rows)
}

/// Whether the server says by this SQLSTATE that nothing of the transaction is there.
fn is_refusal(state: &str) -> bool {
    ["22", "23", "25", "40", "42", "53", "55", "P0"]
        .iter()
        .any(|class| state.starts_with(class))
}

/// What the server says of a write. Its messages may quote values: names alone are passed on.
fn refused(settings: &Settings, deadline: Option<Instant>, e: tokio_postgres::Error) -> Error {
    let Some(db) = e.as_db_error() else {
        return failure(settings, deadline, e);
    };
    let state = db.code().code();
    let constraint = match state {
        "23505" => Some(Constraint::Unique),
        "23503" => Some(Constraint::ForeignKey),
        "23502" => Some(Constraint::NotNull),
        "23514" => Some(Constraint::Check),
        _ if state.starts_with("23") => Some(Constraint::Other),
        _ => None,
    };
    let error = match constraint {
        Some(constraint) => {
            let name = db.constraint().map(|name| format!(" ({name})"));
            let message = format!("{}{}", constraint.broken(), name.unwrap_or_default());
            Error::new(Code::Violates(constraint), message)
        }
        None if matches!(state, "40001" | "40P01" | "55P03") => {
            let message = "PostgreSQL ended the transaction in favour of another";
            Error::new(Code::Conflict, message).help("Try again")
        }
        None if state == "25006" => {
            let message = format!("{} takes no writes: it is a standby", settings.address());
            Error::new(Code::NotWritable, message)
        }
        None if state == "42501" => {
            let message = format!("user {} may not write this", settings.user);
            Error::new(Code::PermissionDenied, message).help(format!(
                "Grant it at the source: GRANT SELECT, INSERT, UPDATE, DELETE ON … TO {}",
                settings.user
            ))
        }
        // What it says of reading, that a column or table has changed, it does not mean here.
        None if matches!(state, "42809" | "55000" | "0A000") => {
            let message = format!("PostgreSQL does not let this be written so (SQLSTATE {state})");
            Error::new(Code::NotWritable, message)
                .help("If it is a view, write to the table that it reads")
        }
        None if state == "428C9" => {
            let message = "a column that is always generated was given a value";
            Error::new(Code::SourceRefused, message).help("Leave it out")
        }
        None if state == "22P02" => {
            let message = "a value is none of its column's type";
            Error::new(Code::InvalidValue, message)
        }
        None if state.starts_with("22") => {
            let message = format!("a value does not fit its column (SQLSTATE {state})");
            Error::new(Code::ValueOutOfRange, message)
        }
        None => return failure(settings, deadline, e),
    };
    let error = match db.column() {
        Some(column) => error.at_column(column),
        None => error,
    };
    error.at_source(&settings.source)
}

fn unknown(settings: &Settings) -> Error {
    let message = "the connection broke before the source had answered to COMMIT: all of it is written, or none of it is";
    Error::new(Code::OutcomeUnknown, message)
        .help("Look whether it is there before it is written again")
        .at_source(&settings.source)
}
