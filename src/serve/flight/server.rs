use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::future::FutureExt;
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Router;

use super::door::Door;
use super::login::Login;
use super::sql::FlightSql;
use crate::engine::Engine;
use crate::serve::connections::{Connection, Connections};
use crate::serve::guests::Guests;
use crate::serve::listen::{BindError, ServeOptions, listen};

/// The longest message taken from a client: SQL, or a batch of parameters.
const MESSAGE_BYTES: usize = 64 << 20;
/// The length of what every HTTP/2 client sends first.
const PREFACE_BYTES: usize = 24;
/// Calls at once on one connection.
const CALLS: u32 = 256;
/// What may be on its way to a client that has not read it: large enough for a fast network, small enough for many
/// slow clients.
const WINDOW_BYTES: u32 = 4 << 20;
/// Time for a client to begin to speak TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time to finish what runs, once told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Serves an engine over Arrow Flight SQL.
#[derive(Debug)]
pub struct FlightServer;

/// A server that has its address and answers nobody yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
    options: ServeOptions,
    tls: Option<TlsAcceptor>,
}

impl FlightServer {
    /// Take the address; port 0 is any free one.
    pub async fn bind(
        engine: Engine,
        address: SocketAddr,
        options: ServeOptions,
    ) -> Result<Bound, BindError> {
        let tls = options.acceptor(&[b"h2"])?;
        let (listener, address) = listen("--flight", address, &options, engine.has_users()).await?;
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
        let scheme = if self.tls.is_some() {
            "grpc+tls"
        } else {
            "grpc"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Serve until `shutdown` is ready; then take no new calls, let the running ones finish for ten seconds, and end
    /// them.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> crate::Result<()> {
        let stop = CancellationToken::new();
        let guests = Guests::new(self.engine.clone(), self.options.insecure, "flight");
        let door = Door::new(
            FlightSql::new(self.engine, stop.child_token()),
            Login::new(guests),
        );
        let connections = Connections::new(
            self.options.max_connections,
            PREFACE_BYTES,
            stop.child_token(),
            self.options.clients.of("flight"),
        );
        let incoming = connections.accept(self.listener);
        let router = router(door);
        let drain = CancellationToken::new();
        let drained = drain.clone().cancelled_owned();
        let mut serving = match self.tls {
            None => router
                .serve_with_incoming_shutdown(incoming, drained)
                .boxed(),
            Some(tls) => {
                let incoming = encrypted(incoming, tls, self.options.max_connections);
                router
                    .serve_with_incoming_shutdown(incoming, drained)
                    .boxed()
            }
        };
        tokio::select! {
            ended = &mut serving => return ended.map_err(failed),
            () = shutdown => drain.cancel(),
        }
        if let Ok(ended) = tokio::time::timeout(GRACE, &mut serving).await {
            return ended.map_err(failed);
        }
        stop.cancel();
        match tokio::time::timeout(GRACE, &mut serving).await {
            Ok(ended) => ended.map_err(failed),
            // What does not end by itself ends with the process.
            Err(_) => Ok(()),
        }
    }
}

/// The connections whose clients speak TLS, which many are found out of at once.
fn encrypted(
    incoming: impl Stream<Item = io::Result<Connection>>,
    tls: TlsAcceptor,
    at_once: usize,
) -> impl Stream<Item = io::Result<TlsStream<Connection>>> {
    let shaken = incoming.map(move |connection| {
        let tls = tls.clone();
        async move {
            let shaking = tls.accept(connection.ok()?);
            // A client that speaks something else, or nothing, has nobody to be told of it.
            let shaken = tokio::time::timeout(HANDSHAKE, shaking).await;
            shaken.ok()?.ok().map(Ok)
        }
    });
    let shaken = shaken.buffer_unordered(at_once.max(1));
    shaken.filter_map(std::future::ready)
}

pub(super) fn router(door: Door) -> Router {
    let mut server = Server::builder()
        .max_concurrent_streams(CALLS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(64 << 10);
    server.add_service(FlightServiceServer::new(door).max_decoding_message_size(MESSAGE_BYTES))
}

fn failed(e: tonic::transport::Error) -> crate::Error {
    crate::Error::Internal(format!("the Flight SQL server ended: {}", causes(&e)))
}

/// An error with its causes: the transport's own message says little.
pub(super) fn causes(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        // Some say what their cause says, too.
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
