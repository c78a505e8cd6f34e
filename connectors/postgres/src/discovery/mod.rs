//! What a PostgreSQL database holds, read from its catalog: `pg_catalog` shows what `information_schema` hides
//! (materialized views, tables that may not be read) and costs less.
//!
//! The one function is [`discover`]. All statements run in one snapshot.
//!
//! | file | owns |
//! |---|---|
//! | `relations.rs` | tables, views, their sizes |
//! | `columns.rs` | columns, their types and collations |
//! | `keys.rs` | primary, unique and foreign keys |

mod columns;
mod keys;
mod relations;

use std::time::Instant;

use belvedere_connector::{Result, Table};
use tokio_postgres::Client;

use crate::failure::failure;
use crate::pool::Pool;
use crate::settings::Settings;

/// How long a catalog may take to answer.
const DISCOVERY_TIMEOUT_MS: u32 = 60_000;

/// All tables the settings ask for: those of `public` first, then by schema and name.
pub async fn discover(
    pool: &std::sync::Arc<Pool>,
    deadline: Option<Instant>,
) -> Result<Vec<Table>> {
    let mut lease = pool.acquire(deadline).await?;
    let first_try = read(lease.client()?, &pool.settings).await;
    let tables = match first_try {
        // The connection had died in the pool.
        Err(_) if lease.reused && lease.client()?.is_closed() => {
            drop(lease);
            lease = pool.acquire_fresh(deadline).await?;
            read(lease.client()?, &pool.settings).await
        }
        result => result,
    };
    if tables.is_err() {
        lease.busy();
    }
    tables.map_err(|e| failure(&pool.settings, deadline, e))
}

async fn read(client: &Client, settings: &Settings) -> Result<Vec<Table>, tokio_postgres::Error> {
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {DISCOVERY_TIMEOUT_MS}"
        ))
        .await?;
    let mut relations = relations::read(client, settings).await?;
    columns::read(client, settings, &mut relations).await?;
    keys::read(client, &mut relations).await?;
    client.batch_execute("COMMIT").await?;
    Ok(relations.into_tables())
}
