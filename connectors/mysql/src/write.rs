//! What is written to a table: one transaction.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Constraint, Error, Result, TableRef, Write};
use belvedere_sqlgen::{Next, Statements};
use mysql_async::prelude::Queryable;
use mysql_async::{Error as ClientError, Params, Value};

use crate::dialect::MysqlDialect;
use crate::error::{client_error, is_dead_connection};
use crate::params;
use crate::pool::{Lease, Pool};
use crate::settings::Settings;

/// How long the answer to a COMMIT is waited for, whatever the deadline: without it nobody knows what came of it.
const COMMIT: Duration = Duration::from_secs(30);

/// Do it; returns how many rows were changed. What is sent is sent once: not by another connection either, if this one breaks.
pub(crate) async fn write(pool: &Arc<Pool>, settings: &Settings, write: Write) -> Result<u64> {
    let (deadline, table) = (write.deadline, write.table.clone());
    let mut lease = lease(pool, deadline).await?;
    let sent = until(deadline, send(&mut lease, settings, write)).await;
    let rows = match sent {
        Ok(rows) => rows,
        Err(e) => {
            match e.code {
                Code::Unreachable => lease.discard(false).await,
                Code::Timeout => lease.discard(true).await,
                _ => lease.give_back().await,
            }
            return Err(e.at_table(table.name));
        }
    };
    match tokio::time::timeout(COMMIT, lease.conn.query_drop("COMMIT")).await {
        Ok(Ok(())) => {
            lease.in_transaction = false;
            lease.give_back().await;
            Ok(rows)
        }
        // It has refused, and undone what there was.
        Ok(Err(e @ ClientError::Server(_))) if !is_dead_connection(&e) => {
            lease.give_back().await;
            Err(refused(settings, e).at_table(table.name))
        }
        Ok(Err(_)) | Err(_) => {
            lease.discard(false).await;
            Err(unknown(settings).at_table(table.name))
        }
    }
}

/// A connection that is alive: one that was idle may not be, which is found out before anything is sent.
async fn lease(pool: &Arc<Pool>, deadline: Option<Instant>) -> Result<Lease> {
    let mut lease = pool.lease(deadline, false).await?;
    if lease.reused && lease.conn.ping().await.is_err() {
        lease.discard(false).await;
        lease = pool.lease(deadline, true).await?;
    }
    Ok(lease)
}

/// All but the commit.
async fn send(lease: &mut Lease, settings: &Settings, write: Write) -> Result<u64> {
    let deadline = write.deadline;
    let failed = |e| client_error(e, settings);
    lease.limit(deadline).await.map_err(failed)?;
    is_transactional(lease, settings, &write.table).await?;
    let begin = "START TRANSACTION READ WRITE";
    lease.conn.query_drop(begin).await.map_err(failed)?;
    lease.in_transaction = true;
    let dialect = MysqlDialect {
        flavor: Some(lease.flavor()),
    };
    let mut statements = Statements::new(write, &dialect);
    let mut rows = 0;
    while let Some(Next {
        statement,
        expected,
    }) = statements.next().await?
    {
        let params = statement.params.iter();
        let params = params.map(|(literal, data_type)| params::value(literal, data_type));
        let params: Option<Vec<Value>> = params.collect();
        let params = params.ok_or_else(|| Error::internal("a constant that was not declared"))?;
        let params = match params.is_empty() {
            true => Params::Empty,
            false => Params::Positional(params),
        };
        let done = lease.conn.exec_drop(statement.sql, params).await;
        done.map_err(|e| refused(settings, e))?;
        let done = lease.conn.affected_rows();
        let changed = expected.met_by(done);
        rows += changed.map_err(|e| e.at_source(&settings.source))?;
    }
    Ok(rows)
}

/// What an engine without transactions has written stays, whatever follows.
async fn is_transactional(lease: &mut Lease, settings: &Settings, table: &TableRef) -> Result<()> {
    let sql = "SELECT e.TRANSACTIONS FROM information_schema.TABLES t \
               JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE \
               WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ?";
    let found: Option<Option<String>> = lease
        .conn
        .exec_first(sql, (&table.schema, &table.name))
        .await
        .map_err(|e| client_error(e, settings))?;
    match found.flatten().as_deref() {
        // A view's tables are found when it is written to.
        Some("YES") | None => Ok(()),
        Some(_) => {
            let message = "its storage engine has no transactions";
            Err(Error::new(Code::NotWritable, message)
                .help("ALTER TABLE … ENGINE = InnoDB at the source")
                .at_source(&settings.source))
        }
    }
}

/// What the server says of a write, by its number. Its messages quote values: names alone are taken from them.
fn refused(settings: &Settings, e: ClientError) -> Error {
    let ClientError::Server(server) = &e else {
        return client_error(e, settings);
    };
    let constraint = match server.code {
        1062 | 1586 => Some(Constraint::Unique),
        1216 | 1217 | 1451 | 1452 => Some(Constraint::ForeignKey),
        1048 | 1364 => Some(Constraint::NotNull),
        3819 | 4025 => Some(Constraint::Check),
        _ if server.state.starts_with("23") => Some(Constraint::Other),
        _ => None,
    };
    let error = match (constraint, server.code) {
        (Some(constraint), _) => Error::new(Code::Violates(constraint), constraint.broken()),
        (None, 1205 | 1213 | 1020) => {
            let message = "the source ended the transaction in favour of another";
            Error::new(Code::Conflict, message).help("Try again")
        }
        (None, 1142 | 1143) => {
            let message = format!("user {} may not write this", settings.user);
            Error::new(Code::PermissionDenied, message)
                .help("GRANT SELECT, INSERT, UPDATE, DELETE on it to the user")
        }
        (None, 1290 | 1836 | 1792) => {
            let message = format!("{} takes no writes: it is read-only", settings.address());
            Error::new(Code::NotWritable, message)
        }
        (None, 1265 | 1366 | 3140 | 3141) => {
            let message = format!(
                "a value is none of its column's type (error {})",
                server.code
            );
            Error::new(Code::InvalidValue, message)
        }
        (None, 1264 | 1292 | 1367 | 1406 | 1411 | 1416 | 1690 | 22007) => {
            let message = format!("a value does not fit its column (error {})", server.code);
            Error::new(Code::ValueOutOfRange, message)
        }
        (None, 3105 | 1906) => {
            let message = "a generated column was given a value";
            Error::new(Code::SourceRefused, message).help("Leave it out")
        }
        (None, 1644) => {
            let message = "a trigger of the source refused it";
            Error::new(Code::Violates(Constraint::Other), message)
        }
        (None, _) => return client_error(e, settings),
    };
    let error = match column_of(server.code, &server.message) {
        Some(column) => error.at_column(column),
        None => error,
    };
    error.at_source(&settings.source)
}

/// The column that a message is about: `… for column 'c' at row 1`, `Column 'c' cannot be null`, `Field 'c' doesn't have …`. What
/// is quoted before may be a value.
fn column_of(code: u16, message: &str) -> Option<String> {
    let rest = match code {
        1048 => message.strip_prefix("Column ")?,
        1364 => message.strip_prefix("Field ")?,
        _ => message.rsplit_once(" for column ")?.1,
    };
    let end = match code {
        1048 | 1364 => rest.len(),
        _ => rest.rfind(" at row")?,
    };
    let quoted = &rest[..end];
    // MariaDB writes database and table before it.
    let last = quoted.rsplit('.').next()?;
    let quote = last.chars().next().filter(|c| matches!(c, '\'' | '`'))?;
    let name = last.strip_prefix(quote)?.split(quote).next()?;
    Some(name.to_string())
}

fn unknown(settings: &Settings) -> Error {
    let message = "the connection broke before the source had answered to COMMIT: all of it is written, or none of it is";
    Error::new(Code::OutcomeUnknown, message)
        .help("Look whether it is there before it is written again")
        .at_source(&settings.source)
}

async fn until<T>(deadline: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::new(Code::Timeout, "the statement's deadline passed");
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or_else(|_| Err(late())),
        None => work.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_told_and_values_are_not() {
        for (code, message, column) in [
            (
                1406,
                "Data too long for column 'name' at row 1",
                Some("name"),
            ),
            (
                1366,
                "Incorrect integer value: 'secret for column 'x'' for column `d`.`t`.`n` at row 1",
                Some("n"),
            ),
            (1048, "Column 'name' cannot be null", Some("name")),
            (1364, "Field 'id' doesn't have a default value", Some("id")),
            (1062, "Duplicate entry 'secret' for key 't.PRIMARY'", None),
        ] {
            assert_eq!(column_of(code, message).as_deref(), column, "{message}");
        }
    }
}
