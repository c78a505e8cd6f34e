use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::startup::{self, Shared};
use super::wire::Broken;
use crate::engine::Engine;
use crate::serve::connections::serve_each;
use crate::serve::guests::Guests;
use crate::serve::listen::{BindError, ServeOptions, listen};

/// Every client's first message is not shorter: a request for TLS.
const PREFACE_BYTES: usize = 8;

/// Serves an engine over PostgreSQL's protocol.
#[derive(Debug)]
pub struct PostgresServer;

/// A server that has its address and answers nobody yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
    options: ServeOptions,
    tls: Option<TlsAcceptor>,
}

impl PostgresServer {
    /// Take the address; port 0 is any free one.
    pub async fn bind(
        engine: Engine,
        address: SocketAddr,
        options: ServeOptions,
    ) -> Result<Bound, BindError> {
        let tls = options.acceptor(&[])?;
        let (listener, address) =
            listen("--postgres", address, &options, engine.has_users()).await?;
        Ok(Bound {
            listener,
            address,
            engine,
            options,
            tls,
        })
    }
}

impl Bound {
    /// The address with its port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How clients write the address.
    pub fn url(&self) -> String {
        let mode = match self.tls {
            Some(_) => "?sslmode=require",
            None => "",
        };
        format!(
            "postgresql://{}/{}{mode}",
            self.address,
            crate::catalog::CATALOG
        )
    }

    /// Serve until `shutdown` is ready; then take no new clients, let the running statements finish for ten seconds, and end
    /// them.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            guests: Guests::new(self.engine.clone(), self.options.insecure, "postgres"),
            engine: self.engine,
            cancels: Arc::default(),
            tls: self.tls,
            stop: stop.clone(),
        });
        let serve = |connection| {
            let serving = startup::serve(Arc::clone(&shared), connection);
            async move {
                match serving.await {
                    Ok(()) | Err(Broken::Left) => {}
                    Err(broken) => tracing::debug!("a client's connection ended: {broken}"),
                }
            }
        };
        let protocol = ("postgresql", PREFACE_BYTES);
        serve_each(
            self.listener,
            &self.options,
            protocol,
            stop,
            shutdown,
            serve,
        )
        .await;
    }
}
