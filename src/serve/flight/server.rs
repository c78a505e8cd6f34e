use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use super::door::Door;
use super::login::Login;
use super::sql::FlightSql;
use crate::engine::Engine;
use crate::serve::connections::Connections;
use crate::serve::guests::Guests;
use crate::serve::listen::{BindError, ServeOptions, choose_cryptography, listen, read_tls};

/// The longest message taken from a client: SQL, or a batch of parameters.
const MESSAGE_BYTES: usize = 64 << 20;
/// The length of what every HTTP/2 client sends first.
const PREFACE_BYTES: usize = 24;
/// Calls at once on one connection.
const CALLS: u32 = 256;
/// What may be on its way to a client that has not read it: large enough for a fast network, small enough for many
/// slow clients.
const WINDOW_BYTES: u32 = 4 << 20;
/// Time to finish what runs, once told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Serves an engine over Arrow Flight SQL.
#[derive(Debug)]
pub struct FlightServer;

/// A server that has its address and answers nobody yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
    options: ServeOptions,
    tls: Option<ServerTlsConfig>,
}

impl FlightServer {
    /// Take the address; port 0 is any free one.
    pub async fn bind(
        engine: Engine,
        address: SocketAddr,
        options: ServeOptions,
    ) -> Result<Bound, BindError> {
        let tls = match &options.tls {
            Some((certificate, key)) => Some(tls(certificate, key)?),
            None => None,
        };
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
        let guests = Guests::new(self.engine.clone(), self.options.insecure);
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
        let router = router(door, self.tls)?;

        let drain = CancellationToken::new();
        let serving =
            router.serve_with_incoming_shutdown(incoming, drain.clone().cancelled_owned());
        tokio::pin!(serving);
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

pub(super) fn router(door: Door, tls: Option<ServerTlsConfig>) -> crate::Result<Router> {
    let mut server = Server::builder()
        .max_concurrent_streams(CALLS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(64 << 10);
    if let Some(tls) = tls {
        server = server.tls_config(tls).map_err(failed)?;
    }
    Ok(server.add_service(FlightServiceServer::new(door).max_decoding_message_size(MESSAGE_BYTES)))
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerTlsConfig, BindError> {
    let (certificate, key) = read_tls(certificate, key)?;
    let identity = Identity::from_pem(certificate, key);
    choose_cryptography();
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .timeout(Duration::from_secs(10));
    // What is wrong with them should be known before the address is taken.
    let tried = Server::builder().tls_config(tls.clone());
    tried.map_err(|e| BindError::Tls { cause: causes(&e) })?;
    Ok(tls)
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
