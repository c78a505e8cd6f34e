use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error, Result};
use lru::LruCache;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use crate::failure::{failure, timeout, unreachable};
use crate::settings::{Settings, SslMode};
use crate::tls;

/// How long a request without a deadline waits for a connection.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// How long a cancelled connection may take to end before it is cut.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements that stay prepared on a connection.
const STATEMENTS: NonZeroUsize = NonZeroUsize::new(100).expect("some");

/// What every session is set to, so that values and their text mean the same whatever the role's and the database's
/// defaults. Nothing is found by an unqualified name but what PostgreSQL itself defines.
const SESSION: &str = "SET search_path = ''; \
    SET TimeZone = 'UTC'; \
    SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; \
    SET extra_float_digits = 1; \
    SET bytea_output = 'hex'; \
    SET xmloption = 'content'; \
    SET default_transaction_read_only = on; \
    SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0";

/// Connections to one source: at most so many, made when needed, used again.
#[derive(Debug)]
pub struct Pool {
    pub settings: Arc<Settings>,
    most: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Something between here and the server gives each statement any of its own connections: none is prepared on another.
    is_pooled: AtomicBool,
}

struct Connection {
    client: Client,
    /// What is prepared on it, by text: what is asked again and again with other values is parsed and planned by the server once.
    statements: Mutex<LruCache<String, Statement>>,
    /// Drives the socket; ends when the connection does.
    driver: JoinHandle<()>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    fn statements(&self) -> MutexGuard<'_, LruCache<String, Statement>> {
        self.statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    pub fn new(settings: Arc<Settings>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            permits: Arc::new(Semaphore::new(most)),
            idle: Mutex::new(Vec::new()),
            is_pooled: AtomicBool::default(),
            settings,
        })
    }

    /// A connection, waiting for one until the deadline.
    pub async fn acquire(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Lease> {
        let until = deadline.unwrap_or_else(|| Instant::now() + DEFAULT_WAIT);
        let wait = tokio::time::timeout_at(until.into(), self.permits.clone().acquire_owned());
        match wait.await {
            Ok(Ok(permit)) => self.with_permit(permit, deadline).await,
            Ok(Err(_)) => Err(Error::internal("the pool is closed")),
            Err(_) => Err(self.busy()),
        }
    }

    /// A connection that nobody has used before, for a second try after an idle one was found dead.
    pub async fn acquire_fresh(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Lease> {
        self.lock_idle().clear();
        self.acquire(deadline).await
    }

    /// A connection for a short question, which is not known to have died in the pool.
    pub async fn acquire_alive(self: &Arc<Self>) -> Result<Lease> {
        let lease = self.acquire(None).await?;
        // One that a restart of the server has ended is noticed only by asking.
        let is_alive = match lease.reused {
            true => lease.client()?.batch_execute("").await.is_ok(),
            false => true,
        };
        match is_alive {
            true => Ok(lease),
            false => {
                drop(lease);
                self.acquire_fresh(None).await
            }
        }
    }

    /// A connection, if one is free now.
    pub async fn try_acquire(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Option<Lease>> {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => self.with_permit(permit, deadline).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// A connection, if one is free now and another stays so, for what takes long: queries go on beside it.
    pub async fn try_acquire_spare(self: &Arc<Self>) -> Result<Option<Lease>> {
        match self.permits.available_permits() {
            0 | 1 => Ok(None),
            _ => self.try_acquire(None).await,
        }
    }

    /// Whether what is prepared on a connection stays so.
    pub fn keeps_statements(&self) -> bool {
        !self.is_pooled.load(Ordering::Relaxed)
    }

    pub fn busy(&self) -> Error {
        let n = self.most;
        Error::new(
            Code::Busy,
            format!("none of its {n} connections became free in time"),
        )
        .help("Try again, give the statement more time, or raise max_connections of the source")
        .at_source(&self.settings.source)
    }

    async fn with_permit(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        deadline: Option<Instant>,
    ) -> Result<Lease> {
        let found = loop {
            match self.lock_idle().pop() {
                Some(c) if c.client.is_closed() => {}
                found => break found,
            }
        };
        let reused = found.is_some();
        let connection = match found {
            Some(connection) => connection,
            None => self.connect(deadline).await?,
        };
        Ok(Lease {
            pool: self.clone(),
            connection: Some(connection),
            permit: Some(permit),
            reused,
            clean: true,
            is_alone: false,
        })
    }

    async fn connect(&self, deadline: Option<Instant>) -> Result<Connection> {
        let settings = &self.settings;
        let mut config = tokio_postgres::Config::new();
        config
            .user(&settings.user)
            .dbname(&settings.database)
            .host(&settings.host)
            .port(settings.port)
            .application_name(&settings.application_name)
            .connect_timeout(settings.connect_timeout)
            .keepalives_idle(Duration::from_secs(60))
            .ssl_mode(match settings.ssl_mode {
                SslMode::Disable => tokio_postgres::config::SslMode::Disable,
                SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                _ => tokio_postgres::config::SslMode::Require,
            });
        if let Some(password) = settings.config.secret("password")? {
            config.password(password.expose());
        }
        let tls = tls::connector(settings).map_err(|e| e.at_source(&settings.source))?;
        let connect = async {
            let (client, driver) = config
                .connect(tls)
                .await
                .map_err(|e| failure(settings, deadline, e))?;
            let driver = tokio::spawn(async move {
                if let Err(e) = driver.await {
                    // Whoever was using the connection gets its own error; text of the server may quote data.
                    tracing::debug!(closed = e.is_closed(), "a PostgreSQL connection ended");
                }
            });
            client
                .batch_execute(SESSION)
                .await
                .map_err(|e| failure(settings, deadline, e))?;
            Ok(Connection {
                client,
                statements: Mutex::new(LruCache::new(STATEMENTS)),
                driver,
            })
        };
        // The client's own timeout covers the socket alone, not a server that accepts and is silent.
        let limit = Instant::now() + settings.connect_timeout;
        let until = deadline.map_or(limit, |d| d.min(limit));
        match tokio::time::timeout_at(until.into(), connect).await {
            Ok(result) => result,
            Err(_) if until < limit => Err(timeout().at_source(&settings.source)),
            Err(_) => Err(unreachable(
                settings,
                format!("no answer within {} s", settings.connect_timeout.as_secs()).into(),
            )),
        }
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. Dropped, it goes back to the pool; dropped in mid-statement, the statement is cancelled at
/// the source and the connection closed: only then is its place free again.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    permit: Option<OwnedSemaphorePermit>,
    /// It was idle in the pool: that it broke meanwhile is only seen at its first use.
    pub reused: bool,
    /// No transaction is open and no answer outstanding.
    clean: bool,
    /// What runs is in no transaction of ours.
    pub is_alone: bool,
}

impl Lease {
    pub fn client(&self) -> Result<&Client> {
        Ok(&self.connection()?.client)
    }

    fn connection(&self) -> Result<&Connection> {
        let ended = || Error::internal("a connection is used after its end");
        self.connection.as_ref().ok_or_else(ended)
    }

    pub fn settings(&self) -> &Settings {
        &self.pool.settings
    }

    /// From here until [`Lease::settled`] the connection is in the middle of something.
    pub fn busy(&mut self) {
        self.clean = false;
    }

    /// A statement that stays prepared on this connection.
    pub async fn prepared(
        &self,
        sql: &str,
        types: &[Type],
    ) -> Result<Result<Statement, tokio_postgres::Error>> {
        let connection = self.connection()?;
        let known = connection.statements().get(sql).cloned();
        if let Some(known) = known {
            return Ok(Ok(known));
        }
        let prepared = connection.client.prepare_typed(sql, types).await;
        if let Ok(statement) = &prepared {
            let statement = statement.clone();
            connection.statements().put(sql.to_string(), statement);
        }
        Ok(prepared)
    }

    /// A prepared statement was refused: it is of tables that have changed, or was prepared elsewhere.
    pub fn forget(&self, sql: &str, e: &tokio_postgres::Error) {
        // It is unknown, or another of its name is there.
        let elsewhere = [
            SqlState::INVALID_SQL_STATEMENT_NAME,
            SqlState::DUPLICATE_PSTATEMENT,
        ];
        if e.code().is_some_and(|code| elsewhere.contains(code)) {
            self.pool.is_pooled.store(true, Ordering::Relaxed);
        }
        if let Ok(connection) = self.connection() {
            connection.statements().pop(sql);
        }
    }

    pub fn settled(&mut self) {
        self.is_alone = false;
        self.clean = true;
        self.reused = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(connection), Some(permit)) = (self.connection.take(), self.permit.take()) else {
            return;
        };
        if connection.client.is_closed() {
            return;
        }
        if self.clean {
            self.pool.lock_idle().push(connection);
            return;
        }
        let settings = self.pool.settings.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(end(connection, settings, permit));
        } else {
            connection.driver.abort();
        }
    }
}

/// Cancel what runs at the source, then close. A cancelled connection is not used again: the request to cancel is
/// asynchronous at the server and could hit the next statement.
async fn end(connection: Connection, settings: Arc<Settings>, permit: OwnedSemaphorePermit) {
    let Connection {
        client, mut driver, ..
    } = connection;
    let cancel = client.cancel_token();
    if let Ok(tls) = tls::connector(&settings) {
        let sent = tokio::time::timeout(END_TIMEOUT, cancel.cancel_query(tls)).await;
        tracing::debug!(
            source = settings.source,
            ok = matches!(sent, Ok(Ok(()))),
            "cancelled a statement"
        );
    }
    drop(client);
    if tokio::time::timeout(END_TIMEOUT, &mut driver)
        .await
        .is_err()
    {
        driver.abort();
    }
    drop(permit);
}
