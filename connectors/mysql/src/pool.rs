use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::session::{self, Flavor};
use crate::settings::Settings;
use crate::snapshot::Shared;

/// How long to wait for a connection without a deadline.
const WAIT: Duration = Duration::from_secs(30);
/// A connection idle for longer is closed rather than used.
const MAX_IDLE: Duration = Duration::from_secs(300);
/// How long closing a connection, or ending its statement, may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// Connections to a source: never more than so many, made when needed.
///
/// Beyond them, one short-lived connection at a time ends statements whose reader has gone.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: Arc<Settings>,
    most: usize,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    flavor: OnceLock<Flavor>,
    /// As far as is known, several connections can have one snapshot.
    shares: AtomicBool,
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
    /// A transaction is open, which ends before it is given back.
    pub in_transaction: bool,
    slot: OwnedSemaphorePermit,
    pool: Arc<Pool>,
}

impl Pool {
    pub fn new(settings: Arc<Settings>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            slots: Arc::new(Semaphore::new(most)),
            settings,
            idle: Mutex::default(),
            flavor: OnceLock::new(),
            shares: AtomicBool::new(true),
            killer: tokio::sync::Mutex::default(),
        })
    }

    /// What kind of server it is, once a connection has been made.
    pub fn flavor(&self) -> Option<Flavor> {
        self.flavor.get().copied()
    }

    /// Whether it is worth trying to read with several connections. MySQL does not say of a snapshot where its log was.
    pub fn shares(&self) -> bool {
        self.flavor() != Some(Flavor::MySql) && self.shares.load(Ordering::Relaxed)
    }

    /// What came of trying; [`Pool::try_again`] forgets it.
    pub fn has_shared(&self, shared: Shared) {
        if shared == Shared::Unknown {
            self.shares.store(false, Ordering::Relaxed);
        }
    }

    pub fn try_again(&self) {
        self.shares.store(true, Ordering::Relaxed);
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
                        self.most,
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
        self.with_slot(slot, deadline).await
    }

    /// One more, if it is free now. One that the server has no room for is not free.
    pub async fn try_lease(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Option<Lease>> {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            return Ok(None);
        };
        match self.with_slot(slot, deadline).await {
            Ok(lease) => Ok(Some(lease)),
            Err(e) if e.code == Code::Busy => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn with_slot(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        deadline: Option<Instant>,
    ) -> Result<Lease> {
        let lease = |conn, limited, reused| Lease {
            conn,
            limited,
            reused,
            in_transaction: false,
            slot,
            pool: self.clone(),
        };
        while let Some(idle) = self.pop_idle() {
            if idle.since.elapsed() < MAX_IDLE {
                return Ok(lease(idle.conn, idle.limited, true));
            }
        }
        let (conn, flavor) = session::connect(&self.settings, deadline).await?;
        // The first answer stays: a source does not change its family behind one address.
        let _ = self.flavor.set(flavor);
        Ok(lease(conn, false, false))
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
            let (mut conn, _) = session::connect(&self.settings, None).await.ok()?;
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

    /// Tell the server when the next statements have to be done.
    pub async fn limit(&mut self, deadline: Option<Instant>) -> mysql_async::Result<()> {
        if deadline.is_some() || self.limited {
            let flavor = self.flavor();
            self.conn
                .query_drop(session::limit(flavor, deadline))
                .await?;
            self.limited = deadline.is_some();
        }
        Ok(())
    }

    /// The statement is done and its answer read to the end. One that cannot end its transaction is closed.
    pub async fn give_back(mut self) {
        if self.in_transaction && self.conn.query_drop("ROLLBACK").await.is_err() {
            return;
        }
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
