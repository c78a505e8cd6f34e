use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::door::{self, Door};
use super::line::Patient;
use super::problem::Problem;
use crate::engine::Engine;
use crate::serve::connections::{Connection, Peer, serve_each};
use crate::serve::listen::{BindError, ServeOptions, listen};

/// The length of the shortest request: `GET / HTTP/1.0`.
const PREFACE_BYTES: usize = 18;
/// Time for a request's headers, for the first request of a connection as for each that follows.
const HEADERS: Duration = Duration::from_secs(30);
const HEADER_BYTES: usize = 64 << 10;
/// Requests at once on one connection.
const REQUESTS: u32 = 256;
/// What may be on its way to a client of HTTP/2 that has not read it.
const WINDOW_BYTES: u32 = 1 << 20;

/// Serves an engine over HTTP.
#[derive(Debug)]
pub struct HttpServer;

/// A server that has its address and answers nobody yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
    options: ServeOptions,
    tls: Option<TlsAcceptor>,
}

impl HttpServer {
    /// Take the address; port 0 is any free one.
    pub async fn bind(
        engine: Engine,
        address: SocketAddr,
        options: ServeOptions,
    ) -> Result<Bound, BindError> {
        let tls = options.acceptor(&[b"h2", b"http/1.1"])?;
        let (listener, address) = listen("--http", address, &options, engine.has_users()).await?;
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
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serve until `shutdown` is ready; then take no new connections, let the running requests finish for ten seconds, and end
    /// them.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let door = Arc::new(Door::new(self.engine, self.options.clone(), stop.clone()));
        let router = door::router(Arc::clone(&door));
        let serve = |connection| {
            let client = Client {
                door: Arc::clone(&door),
                router: router.clone(),
                stop: stop.clone(),
            };
            client.serve(self.tls.clone(), connection)
        };
        let protocol = ("http", PREFACE_BYTES);
        serve_each(
            self.listener,
            &self.options,
            protocol,
            stop.clone(),
            shutdown,
            serve,
        )
        .await;
    }
}

/// What one connection needs.
pub(super) struct Client {
    pub door: Arc<Door>,
    pub router: Router,
    pub stop: CancellationToken,
}

impl Client {
    async fn serve(self, tls: Option<TlsAcceptor>, connection: Connection) {
        let peer = Arc::clone(connection.peer());
        match tls {
            None => self.speak(connection, peer).await,
            Some(tls) => match tokio::time::timeout(HEADERS, tls.accept(connection)).await {
                Ok(Ok(stream)) => self.speak(stream, peer).await,
                Ok(Err(e)) => tracing::debug!("a client's TLS did not begin: {e}"),
                Err(_) => tracing::debug!("a client's TLS did not begin in time"),
            },
        }
    }

    pub async fn speak<S>(self, stream: S, peer: Arc<Peer>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { door, router, stop } = self;
        let service = service_fn(move |request: Request<Incoming>| {
            let (door, router, peer) = (Arc::clone(&door), router.clone(), Arc::clone(&peer));
            async move {
                // Who watches over it has to see that it is there all the same.
                let is_refused = peer.is_turned_away && !door::is_monitoring(request.uri());
                let mut response = match is_refused {
                    true => Problem::busy().into_response(),
                    false => {
                        let request = request.map(Body::new);
                        door.enter(router, request, &peer).await
                    }
                };
                if peer.is_turned_away {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let mut http = Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEADER_BYTES);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(REQUESTS)
            .max_header_list_size(HEADER_BYTES as u32)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .keep_alive_interval(HEADERS)
            .keep_alive_timeout(HEADERS);
        let connection = http.serve_connection(TokioIo::new(Patient::new(stream)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        if let Err(e) = ended {
            tracing::debug!("a client's connection ended: {e}");
        }
    }
}
