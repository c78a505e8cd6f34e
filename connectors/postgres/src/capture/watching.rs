//! What the log does not tell: tables that are dropped, renamed, taken out of the publication, and partitions that go with
//! their rows.

use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{Captured, Code, Error, Kind, Result};

use super::place::{Lsn, standing};
use super::published::{Publication, relations, shown, writing};
use super::stream::Followed;
use crate::failure::failure;
use crate::pool::Pool;

/// How long a table may be gone before it is noticed.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long what is committed may lie in the server's memory before we have it written.
const FLUSH_PATIENCE: Duration = Duration::from_millis(5);

/// After a while, which tables are not what they were, and why. An error of the connection says nothing about them.
pub async fn look(pool: Arc<Pool>, tables: Vec<Followed>) -> Vec<(usize, Error)> {
    tokio::time::sleep(INTERVAL).await;
    let followed = tables.iter().enumerate();
    let followed: Vec<(usize, &Followed)> =
        followed.filter(|(_, table)| table.is_followed()).collect();
    if followed.is_empty() {
        return Vec::new();
    }
    ended(&pool, &followed).await.unwrap_or_default()
}

async fn ended(pool: &Arc<Pool>, followed: &[(usize, &Followed)]) -> Result<Vec<(usize, Error)>> {
    let settings = &pool.settings;
    let lease = pool.acquire_alive().await?;
    let client = lease.client()?;
    let captured: Vec<Captured> = followed.iter().map(|(_, t)| t.captured.clone()).collect();
    let found = relations(client, settings, &captured).await?;
    let publication = Publication::read(client, settings).await?;
    let mut ended = Vec::new();
    for ((number, table), found) in followed.iter().zip(found) {
        let why = match (found, &table.relation) {
            (Err(e), _) if e.kind() == Kind::Definite => Some(e),
            (Err(_), _) => None,
            (Ok(is), Some(was)) if is.oid != was.oid => {
                let message = "another table has its name now";
                Some(Error::new(Code::TableMissing, message))
            }
            (Ok(is), Some(was)) if was.partitions.iter().any(|p| !is.partitions.contains(p)) => {
                let message =
                    "a partition was detached or dropped: its rows went without a word in the log";
                Some(Error::new(Code::SchemaChanged, message))
            }
            (Ok(is), _) if publication.has(&table.captured.table) => {
                publication.check(&table.captured, &is).err()
            }
            (Ok(_), _) => {
                let message = "the table was taken out of the publication";
                Some(Error::new(Code::NoChangeCapture, message))
            }
        };
        let named = |e: Error| {
            e.at_source(&settings.source)
                .at_table(shown(&table.captured.table))
        };
        ended.extend(why.map(|why| (*number, named(why))));
    }
    Ok(ended)
}

/// See to it that the log is streamed up to a place, where nobody else does: what is committed without waiting for the disk, or
/// not at all, is streamed only once something behind it is written. None: that there is something more in it.
pub async fn nudge(pool: Arc<Pool>, to: Option<Lsn>) {
    // Best effort: a server that does not let us is written to by others, some time.
    let done = async {
        if to.is_some() {
            tokio::time::sleep(FLUSH_PATIENCE).await;
        }
        let mut lease = pool.acquire_alive().await?;
        let failed = |e| failure(&pool.settings, None, e);
        if let Some(to) = to {
            let standing = standing(lease.client()?).await.map_err(failed)?;
            if standing.is_none_or(|standing| standing.flushed >= to) {
                return Ok(());
            }
        }
        let message = "SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'belvedere', '')";
        writing(&mut lease, message).await.map_err(failed)
    };
    if let Err(e) = done.await {
        let e: Error = e;
        tracing::debug!(source = pool.settings.source, code = ?e.code, "the log could not be nudged");
    }
}
