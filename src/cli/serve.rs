use std::io::Write;

use super::args::Serve;
use super::failure::{Failure, Result};
use super::output::say;
use super::script::cancellable;
use crate::Engine;
use crate::serve::flight::{BindError, Bound, FlightOptions, FlightServer};

/// `belvedere serve`
pub async fn run(arguments: Serve) -> Result<()> {
    let options = FlightOptions {
        tls: arguments.tls_cert.zip(arguments.tls_key),
        insecure: arguments.insecure,
        ..FlightOptions::default()
    };
    let builder = Engine::builder().data_dir(&arguments.data);
    let builder = builder.kept_memory_limit(arguments.kept_memory_limit);
    let engine = cancellable(async { Ok(builder.open().await?) }).await?;
    let bound = FlightServer::bind(engine, arguments.flight, options).await?;
    let (url, data) = (bound.url(), arguments.data.display());
    // Who started it may have stopped reading; the clients have not.
    let _ = say(&format!(
        "Definitions in {data}\nArrow Flight SQL on {url}    belvedere sql --connect {url}\nCtrl-C ends\n"
    ));
    until_told(bound).await
}

/// Serve until Ctrl-C or the termination signal; a second one does not wait for what runs.
pub async fn until_told(bound: Bound) -> Result<()> {
    let shutdown = async {
        told().await;
        let _ = writeln!(
            std::io::stderr(),
            "ending; what runs has ten seconds to finish (once more ends at once)"
        );
    };
    tokio::select! {
        ended = bound.run(shutdown) => ended.map_err(Failure::from),
        () = async { told().await; told().await } => Ok(()),
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
