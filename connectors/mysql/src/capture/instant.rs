//! A transaction with a snapshot, and which transactions are in that.
//!
//! MariaDB says where its log was when a snapshot was taken. MySQL does not; there it is proved from without, by what it says of
//! its transactions before and after:
//!
//! ```text
//!   executed₁ ── snapshot ── owned ── executed₂           owned is empty, and executed₁ = executed₂: it is the snapshot's
//! ```
//!
//! A transaction gets its number as it is written to the log, and the server *owns* that number until, behind the commit that makes
//! it visible, it counts it as *executed*, in one step (`Gtid_state::update_gtids_impl`). So what was executed before the snapshot
//! is in it; and what is in it was owned or executed afterwards: not owned, so executed. Where a server commits without pause that
//! moment does not come, and the tables are locked for as long as it takes to begin a transaction: `LOCK TABLES … READ` waits for
//! those who write them, who are through when they let go of the table.

use std::time::Duration;

use belvedere_connector::{Code, Error, Result};
use mysql_async::Row;
use mysql_async::prelude::Queryable;

use super::place::Gtids;
use crate::pool::Lease;
use crate::session::Flavor;
use crate::snapshot;

/// How often the moment is looked for, and how long at first it is waited between.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_micros(100);

/// One round trip: the server does one after the other.
const AT_REST: &str = "SELECT @@global.gtid_executed; START TRANSACTION WITH CONSISTENT SNAPSHOT; \
     SELECT @@global.gtid_owned; SELECT @@global.gtid_executed";

/// Begin a transaction with a snapshot. None: the server commits all the time, and what it has cannot be said.
///
/// `is_locked`: nobody writes the tables that are wanted.
///
/// # Errors
/// If the server does not tell.
pub async fn begin(
    lease: &mut Lease,
    is_locked: bool,
) -> mysql_async::Result<Result<Option<Gtids>>> {
    match lease.flavor() {
        Flavor::MariaDb => of_mariadb(lease).await,
        Flavor::MySql => of_mysql(lease, is_locked).await,
    }
}

async fn of_mariadb(lease: &mut Lease) -> mysql_async::Result<Result<Option<Gtids>>> {
    let Some((file, offset)) = snapshot::one(lease).await? else {
        let message = "the server does not tell where its log was when a snapshot was taken";
        return Ok(Err(Error::new(Code::NoChangeCapture, message)));
    };
    let asked = "SELECT BINLOG_GTID_POS(?, ?)";
    let gtids: Option<Option<String>> = lease.conn.exec_first(asked, (file, offset)).await?;
    Ok(parsed(Flavor::MariaDb, gtids.flatten()).map(Some))
}

async fn of_mysql(
    lease: &mut Lease,
    is_locked: bool,
) -> mysql_async::Result<Result<Option<Gtids>>> {
    lease.in_transaction = true;
    for attempt in 0..TRIES {
        let mut answers = lease.conn.query_iter(AT_REST).await?;
        let before: Vec<String> = answers.collect().await?;
        let _begun: Vec<Row> = answers.collect().await?;
        let owned: Vec<String> = answers.collect().await?;
        let after: Vec<String> = answers.collect().await?;
        answers.drop_result().await?;
        // It has answered: it did not die while it was idle.
        lease.reused = false;
        let is_at_rest = before == after && owned.iter().all(String::is_empty);
        if is_at_rest || is_locked {
            return Ok(parsed(Flavor::MySql, before.into_iter().next()).map(Some));
        }
        tokio::time::sleep(PAUSE * attempt).await;
    }
    Ok(Ok(None))
}

fn parsed(flavor: Flavor, gtids: Option<String>) -> Result<Gtids> {
    let gtids = gtids.and_then(|text| Gtids::parse(flavor, &text));
    let message =
        "the server does not tell which transactions its log had when a snapshot was taken";
    gtids.ok_or_else(|| Error::new(Code::Busy, message))
}
