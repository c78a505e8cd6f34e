//! The replication protocol, as another crate speaks it: nothing else here knows of it.

use std::time::Duration;

use belvedere_connector::{Code, Error, Result};
use bytes::Bytes;
use pgwire_replication::client::{ReplicationClient, ReplicationEvent};
use pgwire_replication::config::{ReplicationConfig, SslMode as Tls, TlsConfig};
use pgwire_replication::{Lsn as WireLsn, PgWireError};

use super::place::{Lsn, Timeline};
use crate::failure::{authentication, refused, unreachable};
use crate::settings::{Settings, SslMode};
use crate::tls;

/// Messages that have come and that nobody has taken. Each may be a row.
const MOST_WAITING: usize = 64;
/// How soon the server hears of what was acknowledged.
const FEEDBACK: Duration = Duration::from_millis(500);

/// The session's settings: it is idle for long, and only a wait for others is to end. Text is as other sessions have it.
fn session(lock_timeout: Duration) -> String {
    format!(
        "-c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 -c statement_timeout=0 \
         -c lock_timeout={} -c search_path= -c TimeZone=UTC -c DateStyle=ISO,YMD -c IntervalStyle=postgres \
         -c extra_float_digits=1 -c bytea_output=hex",
        lock_timeout.as_millis()
    )
}

/// A session of a walsender, which takes commands. Closed when dropped.
pub struct Session {
    client: ReplicationClient,
    pub timeline: Timeline,
    /// What is on disk there.
    pub flushed: Lsn,
}

/// What is asked of a stream before there is one.
pub struct Start<'a> {
    pub slot: &'a str,
    pub publication: &'a str,
    pub from: Lsn,
    /// What is reported until something else is acknowledged.
    pub acknowledged: Lsn,
}

/// What comes.
#[derive(Debug)]
pub enum Event {
    /// A transaction begins.
    Begin,
    /// And ends here.
    Commit(Lsn),
    /// One message of it.
    Message(Bytes),
    /// All up to here was given, unless a transaction is under way.
    Idle(Lsn),
}

impl Session {
    /// # Errors
    /// [`Code::PermissionDenied`] where the user may not replicate, with the statement to run; the connection's.
    pub async fn open(
        settings: &Settings,
        lock_timeout: Duration,
        start: Option<Start<'_>>,
    ) -> Result<Self> {
        let config = config(settings, lock_timeout, start)?;
        let work = async {
            let mut client = ReplicationClient::connect_gated(config)
                .await
                .map_err(|e| failed(settings, &e))?;
            let system = client.identify_system().await;
            let system = system.map_err(|e| failed(settings, &e))?;
            let number = system.system_id.parse();
            let number =
                number.map_err(|_| Error::internal("a system identifier of an unknown form"))?;
            Ok(Self {
                timeline: Timeline {
                    system: number,
                    number: system.timeline,
                },
                flushed: system.xlogpos.as_u64(),
                client,
            })
        };
        match tokio::time::timeout(settings.connect_timeout, work).await {
            Ok(session) => session,
            Err(_) => {
                let seconds = settings.connect_timeout.as_secs();
                Err(unreachable(
                    settings,
                    format!("no answer within {seconds} s").into(),
                ))
            }
        }
    }

    /// One row of text, by a statement or a command of replication.
    ///
    /// # Errors
    /// The server's, which leaves the session usable; the connection's.
    pub async fn ask(&mut self, settings: &Settings, command: &str) -> Result<Vec<Option<String>>> {
        let rows = self.client.simple_query(command).await;
        let rows = rows.map_err(|e| failed(settings, &e))?;
        let row = rows.into_iter().next().unwrap_or_default();
        let text = |value: Bytes| String::from_utf8_lossy(&value).into_owned();
        Ok(row.into_iter().map(|value| value.map(text)).collect())
    }

    /// Begin what [`Session::open`] was told of.
    ///
    /// # Errors
    /// The server's: the slot's state.
    pub async fn start(mut self, settings: &Settings) -> Result<Log> {
        let client = &mut self.client;
        let started = async {
            client.start().await?;
            client.wait_started().await
        };
        started.await.map_err(|e| failed(settings, &e))?;
        Ok(Log(Some(self)))
    }
}

impl Drop for Session {
    /// At once, whatever it waits for: the slot is to be free for the next one.
    fn drop(&mut self) {
        self.client.abort();
    }
}

/// A stream of changes. Closed when dropped.
pub struct Log(Option<Session>);

impl Log {
    /// Cancel safe.
    ///
    /// # Errors
    /// The server's and the connection's, after which nothing comes.
    pub async fn next(&mut self, settings: &Settings) -> Result<Event> {
        let Some(session) = &mut self.0 else {
            return Err(ended(settings));
        };
        loop {
            let event = match session.client.recv().await {
                Ok(event) => event.ok_or_else(|| ended(settings)),
                Err(e) => Err(failed(settings, &e)),
            };
            match event {
                Ok(ReplicationEvent::Begin { .. }) => return Ok(Event::Begin),
                Ok(ReplicationEvent::Commit { end_lsn, .. }) => {
                    return Ok(Event::Commit(end_lsn.as_u64()));
                }
                Ok(ReplicationEvent::XLogData { data, .. }) => return Ok(Event::Message(data)),
                Ok(ReplicationEvent::KeepAlive { wal_end, .. }) => {
                    return Ok(Event::Idle(wal_end.as_u64()));
                }
                Ok(ReplicationEvent::Message { .. } | ReplicationEvent::StoppedAt { .. }) => {}
                Err(e) => {
                    self.close();
                    return Err(e);
                }
            }
        }
    }

    /// # Errors
    /// If the connection is gone.
    pub fn acknowledge(&self, settings: &Settings, lsn: Lsn) -> Result<()> {
        match &self.0 {
            Some(session) if session.client.is_running() => {
                session.client.update_applied_lsn(WireLsn::from_u64(lsn));
                Ok(())
            }
            _ => Err(ended(settings)),
        }
    }

    pub fn close(&mut self) {
        self.0 = None;
    }
}

fn ended(settings: &Settings) -> Error {
    unreachable(settings, "the stream of changes has ended".into())
}

fn config(
    settings: &Settings,
    lock_timeout: Duration,
    start: Option<Start<'_>>,
) -> Result<ReplicationConfig> {
    let password = settings.config.secret("password")?;
    let password = password.as_ref().map_or("", |password| password.expose());
    let (slot, publication) = start.as_ref().map_or(("", ""), |s| (s.slot, s.publication));
    // The server takes a list of identifiers, and folds those without quotes.
    let publication = format!("\"{}\"", publication.replace('"', "\"\""));
    let mut config = ReplicationConfig::new(
        &settings.host,
        &settings.user,
        password,
        &settings.database,
        slot,
        publication,
    )
    .with_port(settings.port)
    .with_binary(true)
    .with_buffer_size(MOST_WAITING)
    .with_status_interval(FEEDBACK)
    .with_options(session(lock_timeout))
    .with_application_name(&settings.application_name);
    if !settings.host.starts_with('/') {
        config = config.with_tls(TlsConfig {
            mode: match settings.ssl_mode {
                SslMode::Disable => Tls::Disable,
                SslMode::Prefer => Tls::Prefer,
                SslMode::Require => Tls::Require,
                SslMode::VerifyCa => Tls::VerifyCa,
                SslMode::VerifyFull => Tls::VerifyFull,
            },
            ca_pem_path: tls::roots_file(settings),
            // Stated, so that an address is checked against the certificate as a name is.
            sni_hostname: Some(settings.host.clone()),
            ..TlsConfig::default()
        });
    }
    Ok(match start {
        Some(start) => config
            .with_start_lsn(WireLsn::from_u64(start.from))
            .with_ack_lsn(WireLsn::from_u64(start.acknowledged)),
        None => config,
    })
}

/// The server's message and its SQLSTATE come as one text.
fn failed(settings: &Settings, e: &PgWireError) -> Error {
    let error = match e {
        PgWireError::Server(text) => {
            let (message, state) = match text.rsplit_once(" (SQLSTATE ") {
                Some((message, state)) => (message, state.trim_end_matches(')')),
                None => (text.as_str(), ""),
            };
            refusal(settings, state, message)
        }
        PgWireError::Auth(why) => authentication(settings, why.clone()),
        PgWireError::Io(e) => unreachable(settings, e.to_string().into()),
        PgWireError::Tls(why) => unreachable(settings, why.clone().into()),
        _ => unreachable(settings, "the stream of changes was broken off".into()),
    };
    error.at_source(&settings.source)
}

fn refusal(settings: &Settings, state: &str, message: &str) -> Error {
    match state {
        "42501" => Error::new(
            Code::PermissionDenied,
            format!("PostgreSQL says: {message}"),
        )
        .help(format!(
            "Run at the source: {}",
            super::readiness::grant(&settings.user)
        )),
        "55000" if message.contains("wal_level") => {
            Error::new(Code::NoChangeCapture, super::readiness::WAL_LEVEL)
        }
        // The slot is gone; what it had is gone.
        "42704" | "55000" => Error::new(Code::LogTruncated, format!("PostgreSQL says: {message}")),
        "55006" => Error::new(Code::Busy, format!("PostgreSQL says: {message}")),
        "53400" => Error::new(Code::LimitExceeded, format!("PostgreSQL says: {message}"))
            .help("Raise max_replication_slots at the source, or drop slots that nobody reads"),
        "53300" => Error::new(Code::Busy, format!("PostgreSQL says: {message}"))
            .help("Raise max_wal_senders at the source"),
        _ => refused(settings, false, state, message),
    }
}
