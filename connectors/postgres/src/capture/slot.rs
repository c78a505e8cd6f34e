//! The replication slot: what the server keeps of its log for us.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use belvedere_connector::{Code, Error, Result};
use tokio_postgres::Client;

use super::names::Name;
use super::place::Lsn;
use super::transport::Session;
use crate::failure::failure;
use crate::pool::Pool;
use crate::settings::Settings;

/// How long the making of a slot waits for transactions that were open before.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until the server gives up by itself, should we not be there any more.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a reader that is told to end may take.
const END_PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A slot as it is.
#[derive(Debug)]
pub struct Slot {
    pub reader: Option<i32>,
    /// What the server has been told is not needed any more ends here.
    pub confirmed: Lsn,
    /// What it needs was removed, or would be wrong.
    pub is_lost: bool,
}

/// A snapshot that other sessions can import as long as the one lasts that made it.
pub struct Exported {
    pub at: Lsn,
    pub snapshot: String,
}

/// The attributes that say why one was given up have come with later versions.
const SLOT: &str = "
SELECT s.plugin::text, s.database::text = pg_catalog.current_database(), s.active_pid,
       (s.confirmed_flush_lsn - '0/0')::text,
       coalesce(s.wal_status = 'lost', false)
         OR coalesce((to_jsonb(s) ->> 'conflicting')::boolean, false)
         OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL
FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";

/// # Errors
/// If there is one of that name that is of no use to us; the connection's.
pub async fn look(client: &Client, settings: &Settings) -> Result<Option<Slot>> {
    let name = &settings.names.slot.text;
    let failed = |e| failure(settings, None, e);
    let Some(row) = client.query_opt(SLOT, &[name]).await.map_err(failed)? else {
        return Ok(None);
    };
    let read = || {
        let plugin: Option<String> = row.try_get(0)?;
        let is_here: Option<bool> = row.try_get(1)?;
        let confirmed: Option<String> = row.try_get(3)?;
        Ok((plugin, is_here, row.try_get(2)?, confirmed, row.try_get(4)?))
    };
    let (plugin, is_here, reader, confirmed, is_lost) = read().map_err(failed)?;
    if plugin.as_deref() != Some("pgoutput") || is_here != Some(true) {
        let message = format!("slot {name} is none of pgoutput, or of another database");
        return Err(Error::new(Code::InvalidOption, message)
            .help("Name another: WITH (slot = '…')")
            .at_source(&settings.source));
    }
    Ok(Some(Slot {
        reader,
        confirmed: confirmed
            .and_then(|lsn| lsn.parse().ok())
            .unwrap_or_default(),
        is_lost,
    }))
}

/// Where no log is written, it has come from elsewhere.
const HELD: &str = "
SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_insert_lsn() END - s.restart_lsn)::int8
FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";

/// Bytes of log that the server keeps for the slot. None: there is none, or it keeps nothing any more.
///
/// # Errors
/// The connection's.
pub async fn held(client: &Client, settings: &Settings) -> Result<Option<u64>> {
    let name = &settings.names.slot.text;
    let failed = |e| failure(settings, None, e);
    let row = client.query_opt(HELD, &[name]).await.map_err(failed)?;
    let bytes = row.map(|row| row.try_get::<_, Option<i64>>(0));
    let bytes = bytes.transpose().map_err(failed)?.flatten();
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
}

/// The statement that makes the slot.
pub fn creation(name: &Name) -> String {
    format!(
        "SELECT pg_create_logical_replication_slot('{}', 'pgoutput')",
        name.text
    )
}

/// Make the slot of the source, or a temporary one beside it, and export what was there at its beginning.
///
/// # Errors
/// [`Code::Busy`] with the process that is waited for; the server's.
pub async fn create(
    pool: &std::sync::Arc<Pool>,
    session: &mut Session,
    is_temporary: bool,
) -> Result<Exported> {
    let settings = &pool.settings;
    let pid = session
        .ask(settings, "SELECT pg_catalog.pg_backend_pid()")
        .await?;
    let pid: Option<i32> = pid
        .into_iter()
        .next()
        .flatten()
        .and_then(|pid| pid.parse().ok());
    let pid = pid.ok_or_else(|| unknown_form("the process of its session"))?;
    let (name, kind) = match is_temporary {
        true => (temporary(&settings.names.slot, pid), " TEMPORARY"),
        false => (settings.names.slot.text.clone(), ""),
    };
    let command =
        format!("CREATE_REPLICATION_SLOT {name}{kind} LOGICAL pgoutput (SNAPSHOT 'export')");
    let made = tokio::time::timeout(PATIENCE, session.ask(settings, &command)).await;
    let row = match made {
        Ok(row) => row?,
        Err(_) => return Err(waits(pool, pid).await),
    };
    let text = |i: usize| row.get(i).cloned().flatten();
    let at = text(1)
        .as_deref()
        .and_then(lsn)
        .ok_or_else(|| unknown_form("where it begins"))?;
    // It becomes part of a statement that takes no parameters.
    let is_plain = |name: &String| name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let snapshot = text(2)
        .filter(is_plain)
        .ok_or_else(|| unknown_form("a snapshot's name"))?;
    Ok(Exported { at, snapshot })
}

fn unknown_form(what: &str) -> Error {
    Error::internal(format!("the server tells in an unknown form {what}"))
}

/// A name that no other has: of the session's process, and how many it has had.
fn temporary(slot: &Name, pid: i32) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let cut = &slot.text[..slot.text.len().min(40)];
    format!("{cut}_{pid}_{count}")
}

/// `16/B374D848`
fn lsn(text: &str) -> Option<Lsn> {
    let (high, low) = text.split_once('/')?;
    let (high, low) = (
        u32::from_str_radix(high, 16).ok()?,
        u32::from_str_radix(low, 16).ok()?,
    );
    Some(u64::from(high) << 32 | u64::from(low))
}

const BLOCKING: &str = "
SELECT a.pid, extract(epoch FROM pg_catalog.now() - a.xact_start)::float8
FROM unnest(pg_catalog.pg_blocking_pids($1)) b (pid)
JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY 2 DESC NULLS LAST";

/// What a session that makes a slot waits for. It is ended: else it would wait on.
async fn waits(pool: &std::sync::Arc<Pool>, session: i32) -> Error {
    let settings = &pool.settings;
    let asked = async {
        let lease = pool.acquire(None).await?;
        let client = lease.client()?;
        let rows = client.query(BLOCKING, &[&session]).await;
        let ended = client
            .execute("SELECT pg_catalog.pg_terminate_backend($1)", &[&session])
            .await;
        let rows = rows.map_err(|e| failure(settings, None, e))?;
        ended.map_err(|e| failure(settings, None, e))?;
        Ok::<_, Error>(rows)
    };
    let rows = match asked.await {
        Ok(rows) => rows,
        Err(e) => return e,
    };
    let first = rows.first();
    let pid: Option<i32> = first.and_then(|row| row.try_get(0).ok());
    let age: Option<f64> = first.and_then(|row| row.try_get(1).ok().flatten());
    let message = match (pid, age) {
        (Some(pid), Some(age)) => format!(
            "a snapshot waits for the transaction of process {pid}, which has been open for {age:.0} s"
        ),
        (Some(pid), None) => format!("a snapshot waits for the transaction of process {pid}"),
        _ => "a snapshot waits for transactions that were open before".to_string(),
    };
    let help = match pid {
        Some(pid) => {
            format!("End it, at the source: SELECT pg_terminate_backend({pid}); it is tried again")
        }
        None => "It is tried again".to_string(),
    };
    Error::new(Code::Busy, message)
        .help(help)
        .at_source(&settings.source)
}

/// Wait until nobody reads the slot. `own`: a reader of ours, which is told to end.
///
/// # Errors
/// [`Code::Busy`] if somebody does, and who; the connection's.
pub async fn until_free(
    client: &Client,
    settings: &Settings,
    own: Option<i32>,
) -> Result<Option<Slot>> {
    let until = tokio::time::Instant::now() + END_PATIENCE;
    let mut told = None;
    loop {
        let slot = look(client, settings).await?;
        let Some(pid) = slot.as_ref().and_then(|slot| slot.reader) else {
            return Ok(slot);
        };
        if Some(pid) == own && told != own {
            let end = client
                .execute("SELECT pg_catalog.pg_terminate_backend($1)", &[&pid])
                .await;
            end.map_err(|e| failure(settings, None, e))?;
            told = own;
        }
        if tokio::time::Instant::now() >= until {
            return Err(taken(settings, pid));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn taken(settings: &Settings, pid: i32) -> Error {
    let name = &settings.names.slot.text;
    let message = format!("slot {name} is read by process {pid}, which is not of this engine");
    let help = format!(
        "End what reads it, at the source: SELECT pg_terminate_backend({pid}); or name another: WITH (slot = '…')"
    );
    Error::new(Code::Busy, message)
        .help(help)
        .at_source(&settings.source)
}

/// The statement that removes the slot.
pub fn removal(name: &Name) -> String {
    format!("SELECT pg_drop_replication_slot('{}')", name.text)
}

/// # Errors
/// With the statement to run, where the user may not; the connection's.
pub async fn remove(client: &Client, settings: &Settings) -> Result<()> {
    let statement = removal(&settings.names.slot);
    match client.batch_execute(&statement).await {
        // Somebody else did.
        Err(e) if e.code().is_some_and(|code| code.code() == "42704") => Ok(()),
        Err(e) => {
            let e = failure(settings, None, e);
            Err(match e.code {
                Code::PermissionDenied => e.help(format!("Run at the source: {statement}")),
                _ => e,
            })
        }
        Ok(()) => Ok(()),
    }
}
