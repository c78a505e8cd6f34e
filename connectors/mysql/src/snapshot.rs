//! One snapshot for several connections.
//!
//! MariaDB makes a transaction visible, and notes where its binary log is by then, under one lock, which a consistent
//! snapshot takes, too. So if the log was before the first snapshot where it was at the last, all of them have the same
//! transactions: provided that every change is written to that log. A server that may do otherwise is told apart, and its
//! tables are read by one connection.

use std::collections::HashMap;

use futures::future::try_join_all;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tokio::sync::Mutex;

use crate::pool::Lease;

/// How often snapshots that differ are taken anew.
const TRIES: usize = 20;

/// The server shows a position by way of a place that all its sessions share: two that ask at the same moment may be told
/// each other's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A place in the binary log: file and offset.
pub(crate) type Position = (String, String);

/// Whether connections see the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    Yes,
    /// Each has a snapshot of its own: too much is written.
    NotNow,
    /// The server does not let us know.
    Unknown,
}

/// Begin a transaction with a snapshot on each connection, until they are all of one.
pub(crate) async fn share(leases: &mut [Lease]) -> mysql_async::Result<Shared> {
    let Some((last, others)) = leases.split_last_mut() else {
        return Ok(Shared::NotNow);
    };
    let _alone = ONE_AT_A_TIME.lock().await;
    for _ in 0..TRIES {
        let Some(before) = position(&mut last.conn).await? else {
            return Ok(Shared::Unknown);
        };
        try_join_all(others.iter_mut().map(begin)).await?;
        begin(last).await?;
        // Of the last snapshot. Asked twice, for somebody else may have asked with the first.
        let is_same = position(&mut last.conn).await?.as_ref() == Some(&before)
            && position(&mut last.conn).await?.as_ref() == Some(&before);
        if is_same {
            return Ok(match logs_every_change(&mut last.conn).await? {
                true => Shared::Yes,
                false => Shared::Unknown,
            });
        }
        last.conn.query_drop("ROLLBACK").await?;
    }
    Ok(Shared::NotNow)
}

/// Begin a transaction with a snapshot on one connection. Where the log was then; None: the server does not tell.
pub(crate) async fn one(lease: &mut Lease) -> mysql_async::Result<Option<Position>> {
    let _alone = ONE_AT_A_TIME.lock().await;
    begin(lease).await?;
    let mut last = position(&mut lease.conn).await?;
    // Until it is told twice, for somebody else may have asked at the same moment.
    for _ in 0..TRIES {
        let again = position(&mut lease.conn).await?;
        if again == last {
            return Ok(last);
        }
        last = again;
    }
    Ok(None)
}

/// Ends the transaction that is open.
async fn begin(lease: &mut Lease) -> mysql_async::Result<()> {
    lease.in_transaction = true;
    let begun = lease
        .conn
        .query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT");
    begun.await?;
    // It has answered: it did not die while it was idle.
    lease.reused = false;
    Ok(())
}

/// Where the log was when the connection's snapshot was taken; without one, where it is now. None: there is no log.
async fn position(conn: &mut Conn) -> mysql_async::Result<Option<Position>> {
    let found = conn.query("SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let mut found = named(found);
    let mut take = |name: &str| found.remove(name).filter(|value| !value.is_empty());
    Ok(take("binlog_snapshot_file").zip(take("binlog_snapshot_position")))
}

/// Whether all changes of all databases are in the binary log, and visible when it says so: none is filtered out, what is
/// replicated from another server is written to it, too, and nobody commits what he has prepared (XA), which becomes
/// visible later. Asked after the snapshots were taken, so that it holds for the time between them.
async fn logs_every_change(conn: &mut Conn) -> mysql_async::Result<bool> {
    let found = conn
        .query(
            "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES \
             WHERE VARIABLE_NAME IN ('LOG_BIN', 'LOG_SLAVE_UPDATES', 'GTID_SLAVE_POS', 'WSREP_ON') \
             UNION ALL \
             SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME IN ('SLAVES_RUNNING', 'COM_XA_COMMIT')",
        )
        .await?;
    let found = named(found);
    let is = |name: &str, values: &[&str]| {
        found
            .get(name)
            .is_some_and(|value| values.contains(&value.as_str()))
    };
    let is_replica = !is("gtid_slave_pos", &[""])
        || !is("slaves_running", &["0"])
        || is("wsrep_on", &["ON", "1"]);
    let has_prepared = !is("com_xa_commit", &["0"]);
    let is_logged =
        is("log_bin", &["ON", "1"]) && (!is_replica || is("log_slave_updates", &["ON", "1"]));
    if !is_logged || has_prepared {
        return Ok(false);
    }
    // The filters are shown to those alone who may look at the log.
    let log: Option<Row> = match conn.query_first("SHOW MASTER STATUS").await {
        Ok(log) => log,
        Err(mysql_async::Error::Server(_)) => None,
        Err(e) => return Err(e),
    };
    let Some(log) = log else {
        return Ok(false);
    };
    let shown = |name: &str| {
        let column = log.columns_ref().iter().position(|c| c.name_str() == name);
        column.map(|i| text(&log, i))
    };
    Ok(["Binlog_Do_DB", "Binlog_Ignore_DB"]
        .iter()
        .all(|filter| shown(filter).is_some_and(|databases| databases.is_empty())))
}

/// Rows of name and value, by names in small letters.
fn named(rows: Vec<Row>) -> HashMap<String, String> {
    let pair = |row: &Row| (text(row, 0).to_ascii_lowercase(), text(row, 1));
    rows.iter().map(pair).collect()
}

fn text(row: &Row, index: usize) -> String {
    match row.as_ref(index) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
