use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::startup::{self, Shared};
use super::wire::Broken;
use crate::engine::Engine;
use crate::serve::connections::Connections;
use crate::serve::listen::{BindError, ServeOptions, acceptor, listen};

/// Every client's first message is not shorter: a request for TLS.
const PREFACE_BYTES: usize = 8;
/// Time to finish what runs, once told to stop.
const GRACE: Duration = Duration::from_secs(10);

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
        let tls = match &options.tls {
            Some(files) => Some(acceptor(files, &[])?),
            None => None,
        };
        let (listener, address) = listen("--postgres", address, &options).await?;
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
        let closing = CancellationToken::new();
        let stop = CancellationToken::new();
        let connections = Connections::new(
            self.options.max_connections,
            PREFACE_BYTES,
            closing.child_token(),
            self.options.clients.of("postgresql"),
        );
        let mut incoming = Box::pin(connections.accept(self.listener));
        let shared = Arc::new(Shared {
            engine: self.engine,
            cancels: Arc::default(),
            tls: self.tls,
            stop: stop.clone(),
        });
        let mut clients = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(connection) = incoming.next() => {
                    // The listener itself says what it could not accept.
                    if let Ok(connection) = connection {
                        let serving = startup::serve(Arc::clone(&shared), connection);
                        clients.spawn(async move {
                            match AssertUnwindSafe(serving).catch_unwind().await {
                                Ok(Ok(()) | Err(Broken::Left)) => {}
                                Ok(Err(broken)) => tracing::debug!("a client's connection ended: {broken}"),
                                Err(_) => tracing::error!("a client's connection ended: a bug of Belvedere"),
                            }
                        });
                    }
                }
                Some(_) = clients.join_next() => {}
            }
        }
        drop(incoming);
        stop.cancel();
        let ended = async { while clients.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            closing.cancel();
            clients.shutdown().await;
        }
    }
}
