use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt;
use hyper::body::{Frame, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use super::request::{self, Settings};
use super::shapes::Shapes;
use super::{batch, metrics, openapi, reply, rows, sql};
use crate::access::audit::Origin;
use crate::engine::{Engine, Session, Who};
use crate::error::{Error, Result};
use crate::serve::connections::{AtWork, Peer};
use crate::serve::guests::{Guests, Said, Turned};
use crate::serve::listen::ServeOptions;

const METRICS: &str = "/metrics";
const HEALTH: &str = "/health";
const READY: &str = "/health/ready";

/// Whether it is asked how the server is.
pub(super) fn is_monitoring(uri: &Uri) -> bool {
    [METRICS, HEALTH, READY].contains(&uri.path())
}

/// What answers requests, and what they share.
pub(super) struct Door {
    pub engine: Engine,
    guests: Guests,
    pub options: ServeOptions,
    /// The server is about to end.
    pub stop: CancellationToken,
    pub shapes: Shapes,
    /// The document, and the world that it is of.
    document: Mutex<Option<(u64, Bytes)>>,
    pub begun: Instant,
}

/// A request's session, and what its headers set in it.
pub(super) struct Asker {
    pub session: Session,
    pub settings: Settings,
}

pub(super) fn router(door: Arc<Door>) -> Router {
    let read = async || Problem::method("GET, HEAD");
    Router::new()
        .route(
            "/v1/views/{view}",
            get(rows::page)
                .post(batch::batch)
                .fallback(async || Problem::method("GET, HEAD, POST")),
        )
        .route("/v1/views/{view}/{key}", get(rows::one).fallback(read))
        // The key that is an empty text.
        .route("/v1/views/{view}/", get(rows::one).fallback(read))
        .route(
            "/v1/sql",
            post(sql::sql).fallback(async || Problem::method("POST")),
        )
        .route("/openapi.json", get(document).fallback(read))
        .route(METRICS, get(measure).fallback(read))
        .route(HEALTH, get(async || said("ok")).fallback(read))
        .route(READY, get(ready).fallback(read))
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "path",
                "there is nothing of this path",
            )
            .help("GET /openapi.json says what there is")
        })
        .with_state(door)
}

impl Door {
    pub fn new(engine: Engine, options: ServeOptions, stop: CancellationToken) -> Self {
        Self {
            guests: Guests::new(engine.clone(), options.insecure, "http"),
            engine,
            options,
            stop,
            shapes: Shapes::default(),
            document: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// Answer a request. A panic behind this is an error of one request; its connection is at work until the answer is sent.
    pub async fn enter(
        &self,
        router: Router,
        mut request: Request<Body>,
        peer: &Arc<Peer>,
    ) -> Response<Body> {
        let at_work = peer.at_work();
        let answered = async {
            if let Err(problem) = self.meant(&request) {
                return problem.into_response();
            }
            // Whoever watches over the server is told that it is there without saying who he is.
            if !matches!(request.uri().path(), HEALTH | READY) {
                let header = request.headers().get(AUTHORIZATION).cloned();
                match self.who(header.as_ref(), peer).await {
                    Ok(who) => {
                        let origin = self.guests.origin(Some(peer.address.ip()));
                        request.extensions_mut().insert(origin);
                        peer.is_let_in();
                        request.extensions_mut().insert(who);
                    }
                    Err(turned) => return Problem::turned(&turned).into_response(),
                }
            }
            match TowerToHyperService::new(router).call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        let answered = AssertUnwindSafe(answered).catch_unwind().await;
        let response = answered.unwrap_or_else(|_| Problem::panicked().into_response());
        response.map(|body| {
            Body::new(Held {
                body,
                _at_work: at_work,
            })
        })
    }

    /// Whether the request is meant for this server. On loopback everybody is the administrator, and a browser is there, too:
    /// a page from elsewhere may have a name of its own mean this machine. Then that name is what the browser asks for.
    fn meant(&self, request: &Request<Body>) -> std::result::Result<(), Problem> {
        if self.options.insecure || self.options.tls.is_some() {
            return Ok(());
        }
        let header = request.headers().get(HOST).map(HeaderValue::to_str);
        let authority = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        let host = match (authority, header) {
            (Some(authority), _) => authority,
            (None, Some(Ok(host))) => host,
            (None, Some(Err(_))) => "",
            (None, None) => return Ok(()),
        };
        if is_this_machine(host) {
            return Ok(());
        }
        let status = StatusCode::MISDIRECTED_REQUEST;
        let problem = Problem::new(status, "host", "the request is for another host than this");
        Err(problem.help("Write 127.0.0.1 or localhost in its URL"))
    }

    async fn who(
        &self,
        header: Option<&HeaderValue>,
        peer: &Peer,
    ) -> std::result::Result<Who, Turned> {
        let said = Said::read(header.map(HeaderValue::as_bytes))?;
        self.guests.who(said, Some(peer.address.ip())).await
    }

    /// A session of whoever makes a request.
    fn session(&self, extensions: &Extensions) -> std::result::Result<Session, Problem> {
        let who = extensions.get::<Who>();
        let who = who.ok_or_else(|| Problem::turned(&Turned::Login))?;
        let session = self.engine.session_of(who.clone());
        let origin = extensions.get::<Origin>().copied();
        Ok(session.coming_from(origin.unwrap_or_default()))
    }

    /// A session of the request's own.
    pub fn asker(&self, parts: &Parts) -> std::result::Result<Asker, Problem> {
        let settings = request::settings(&parts.headers)?;
        let session = self.session(&parts.extensions)?;
        for (header, name, value) in &settings {
            session.set(name, value).map_err(|e| {
                let problem = Problem::from(&e);
                let said = format!("header {header}: {}", problem.detail());
                problem.saying(said)
            })?;
        }
        Ok(Asker { session, settings })
    }
}

impl Asker {
    /// The work, as long as a statement may take.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(limit) = self.session.settings().statement_timeout else {
            return work.await;
        };
        let limit_ms = limit.as_millis();
        let ended = tokio::time::timeout(limit, work).await;
        ended.unwrap_or(Err(Error::Timeout { limit_ms }))
    }
}

/// A host and perhaps a port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn said(status: &str) -> Response {
    let body = serde_json::json!({ "status": status }).to_string();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn ready(State(door): State<Arc<Door>>) -> Response {
    if door.stop.is_cancelled() {
        return Problem::ending().into_response();
    }
    said("ready")
}

/// Names of sources and views are in it: where there are users, it is for superusers.
async fn measure(State(door): State<Arc<Door>>, request: Request) -> Response {
    let session = match door.session(request.extensions()) {
        Ok(session) => session,
        Err(problem) => return problem.into_response(),
    };
    if let Err(e) = session.is_for_superusers("read metrics") {
        return Problem::from(e).into_response();
    }
    let text = metrics::text(&door.engine.figures(), &door.options.clients, door.begun);
    let mut response = Response::new(Body::from(text));
    let of = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, of);
    response
}

async fn document(State(door): State<Arc<Door>>, request: Request) -> Response {
    let session = match door.session(request.extensions()) {
        Ok(session) => session,
        Err(problem) => return problem.into_response(),
    };
    let version = session.world_version();
    let known = {
        let kept = door.document.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone().filter(|(of, _)| *of == version)
    };
    let body = match known {
        Some((_, body)) => body,
        None => {
            let body = Bytes::from(openapi::document(&session.describe_all().await));
            let mut kept = door.document.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some((version, body.clone()));
            body
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply::whole(request.headers(), "application/json", headers, body)
}

/// An answer's body; while it is there, its connection is at work.
struct Held {
    body: Body,
    _at_work: AtWork,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn hosts_that_are_this_machine() {
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:1",
            "[::1]:80",
            "a.localhost:1",
            "10.0.0.1",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com:80",
            "",
            "127.0.0.1.example.com",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
