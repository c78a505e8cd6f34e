use std::io::Write;
use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::args::Serve;
use super::failure::{Failure, Result};
use super::output::say;
use super::script::cancellable;
use crate::Engine;
#[cfg(unix)]
use crate::serve::Certificates;
use crate::serve::flight::FlightServer;
use crate::serve::http::HttpServer;
use crate::serve::postgres::PostgresServer;
use crate::serve::{BindError, ServeOptions, flight, http, postgres};

/// `belvedere serve`
pub async fn run(arguments: Serve) -> Result<()> {
    let options = ServeOptions {
        tls: arguments.tls_cert.zip(arguments.tls_key),
        insecure: arguments.insecure,
        ..ServeOptions::default()
    };
    #[cfg(unix)]
    if options.tls.is_some() {
        tokio::spawn(reload(options.certificates.clone()));
    }
    let builder = Engine::builder().data_dir(&arguments.data);
    let builder = builder
        .kept_memory_limit(arguments.kept_memory_limit)
        .result_cache(arguments.result_cache)
        .audit(arguments.audit)
        .audit_parameters(arguments.audit_parameters)
        .audit_limit(arguments.audit_limit as u64);
    let engine = cancellable(async { Ok(builder.open().await?) }).await?;
    let servers = Servers {
        flight: FlightServer::bind(engine.clone(), arguments.flight, options.clone()).await?,
        postgres: PostgresServer::bind(engine.clone(), arguments.postgres, options.clone()).await?,
        http: HttpServer::bind(engine.clone(), arguments.http, options).await?,
    };
    // Who started it may have stopped reading; the clients have not.
    let _ = say(&format!(
        "Definitions in {}\n{}Ctrl-C ends\n",
        arguments.data.display(),
        servers.addresses()
    ));
    let ended = servers.until_told().await;
    // Something may still hold the engine: what was recorded is written whether it does or not.
    engine.audit().close();
    ended
}

/// What listens for clients.
pub struct Servers {
    pub flight: flight::Bound,
    pub postgres: postgres::Bound,
    pub http: http::Bound,
}

impl Servers {
    /// A line for each, with the command that connects to it.
    pub fn addresses(&self) -> String {
        let (flight, postgres) = (self.flight.url(), self.postgres.url());
        let http = self.http.url();
        format!(
            "Arrow Flight SQL on {flight}    belvedere sql --connect {flight}\n\
             PostgreSQL on {postgres}    psql '{postgres}'\n\
             HTTP on {http}    curl {http}/openapi.json\n"
        )
    }

    /// Serve until Ctrl-C or the termination signal; a second one does not wait for what runs.
    pub async fn until_told(self) -> Result<()> {
        let ending = CancellationToken::new();
        let serving = async {
            let flight = async {
                let ended = self.flight.run(ending.cancelled()).await;
                // It ends by itself only when it has failed: then all do.
                ending.cancel();
                ended
            };
            let postgres = self.postgres.run(ending.cancelled());
            let http = self.http.run(ending.cancelled());
            tokio::join!(flight, postgres, http).0
        };
        tokio::select! {
            ended = serving => ended.map_err(Failure::from),
            () = async {
                told().await;
                let _ = writeln!(
                    std::io::stderr(),
                    "ending; what runs has ten seconds to finish (once more ends at once)"
                );
                ending.cancel();
                told().await;
            } => Ok(()),
        }
    }
}

/// The address asked for; without one, the first free port from the usual one on.
pub async fn first_free<B>(
    asked: Option<SocketAddr>,
    usual: SocketAddr,
    bind: impl AsyncFn(SocketAddr) -> std::result::Result<B, BindError>,
) -> Result<B> {
    /// Ports tried after the usual one.
    const PORTS: u16 = 100;
    let mut address = asked.unwrap_or(usual);
    loop {
        match bind(address).await {
            Err(BindError::Taken { .. })
                if asked.is_none() && address.port() < usual.port() + PORTS =>
            {
                address.set_port(address.port() + 1);
            }
            bound => return Ok(bound?),
        }
    }
}

/// A hangup has certificates read again at once, as it does with other servers.
#[cfg(unix)]
async fn reload(certificates: Certificates) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    while hangup.recv().await.is_some() {
        let certificates = certificates.clone();
        let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
    }
}

async fn told() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

impl From<BindError> for Failure {
    fn from(e: BindError) -> Self {
        Self::usage(e.to_string())
    }
}
