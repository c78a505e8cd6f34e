use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::session::{self, Flavor};
use crate::settings::Settings;

/// How long to wait for a connection without a deadline.
const WAIT: Duration = Duration::from_secs(30);
/// A connection idle for longer is closed rather than used.
const MAX_IDLE: Duration = Duration::from_secs(300);
/// How long closing a connection, or ending its statement, may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// The source's connections: never more than `max_connections`, made when needed.
///
/// Beyond them, one short-lived connection at a time ends statements whose reader has gone.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: Arc<Settings>,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    flavor: OnceLock<Flavor>,
    killer: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Instant,
    limited: bool,
}

/// A connection and its slot. Dropped, it closes; [`Lease::give_back`] keeps it for the next.
#[derive(Debug)]
pub(crate) struct Lease {
    pub conn: Conn,
    /// The server has been told how long a statement may take.
    pub limited: bool,
    /// It was idle before, so it may be dead without our knowing.
    pub reused: bool,
    slot: OwnedSemaphorePermit,
    pool: Arc<Pool>,
}

impl Pool {
    pub fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(settings.max_connections)),
            settings,
            idle: Mutex::default(),
            flavor: OnceLock::new(),
            killer: tokio::sync::Mutex::default(),
        })
    }

    /// What kind of server it is, once a connection has been made.
    pub fn flavor(&self) -> Option<Flavor> {
        self.flavor.get().copied()
    }

    /// A connection that is set up, waiting for a slot until `deadline`. `fresh` takes none from the idle.
    pub async fn lease(self: &Arc<Self>, deadline: Option<Instant>, fresh: bool) -> Result<Lease> {
        let wait = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => WAIT,
        };
        let slot = tokio::time::timeout(wait, self.slots.clone().acquire_owned())
            .await
            .map_err(|_| {
                Error::new(
                    Code::Busy,
                    format!(
                        "all {} connections were in use for {:.1} s",
                        self.settings.max_connections,
                        wait.as_secs_f64()
                    ),
                )
                .help("Raise max_connections of the source, or try again")
                .at_source(&self.settings.source)
            })?
            .map_err(|_| Error::internal("the pool was closed").at_source(&self.settings.source))?;
        if fresh {
            // What made one idle connection useless has ended the others too.
            self.idle().clear();
        }
        while let Some(idle) = self.pop_idle() {
            if idle.since.elapsed() < MAX_IDLE {
                return Ok(Lease {
                    conn: idle.conn,
                    limited: idle.limited,
                    reused: true,
                    slot,
                    pool: self.clone(),
                });
            }
        }
        let (conn, flavor) = session::connect(&self.settings).await?;
        // The first answer stays: a source does not change its family behind one address.
        let _ = self.flavor.set(flavor);
        Ok(Lease {
            conn,
            limited: false,
            reused: false,
            slot,
            pool: self.clone(),
        })
    }

    fn pop_idle(&self) -> Option<Idle> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// End what a connection is doing at the server, from another connection.
    async fn kill(&self, id: u32) {
        let _one_at_a_time = self.killer.lock().await;
        let ended = async {
            let (mut conn, _) = session::connect(&self.settings).await.ok()?;
            // The connection goes too: a KILL QUERY that comes late would end the statement after it.
            conn.query_drop(format!("KILL CONNECTION {id}"))
                .await
                .ok()?;
            conn.disconnect().await.ok()
        };
        if !matches!(tokio::time::timeout(GOODBYE, ended).await, Ok(Some(()))) {
            tracing::warn!(source = %self.settings.source, connection = id, "a statement could not be ended");
        }
    }
}

impl Lease {
    pub fn flavor(&self) -> Flavor {
        self.pool.flavor().unwrap_or(Flavor::MySql)
    }

    /// The statement is done and its answer read to the end.
    pub fn give_back(self) {
        let Self {
            conn,
            limited,
            slot,
            pool,
            ..
        } = self;
        pool.idle().push(Idle {
            conn,
            since: Instant::now(),
            limited,
        });
        drop(slot);
    }

    /// Close the connection, whatever it is doing. `running`: also end its statement at the server.
    pub async fn discard(self, running: bool) {
        let Self {
            conn, slot, pool, ..
        } = self;
        if running {
            pool.kill(conn.id()).await;
        }
        // Dropping it instead would first read the rest of the answer.
        let _ = tokio::time::timeout(GOODBYE, conn.disconnect()).await;
        drop(slot);
    }
}
