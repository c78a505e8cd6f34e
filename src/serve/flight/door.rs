use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::{FutureExt, Stream, StreamExt, stream};
use tonic::transport::server::TlsConnectInfo;
use tonic::{Code, Request, Response, Status, Streaming};

use super::login::Login;
use super::sql::{FlightSql, LastWrite};
use crate::serve::connections::{AtWork, Peer, TOO_MANY};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// The service as it is registered: lets callers in, then hands over to [`FlightSql`]. A panic behind it is an error of
/// one call. It also answers what `arrow-flight` leaves out: `GetSchema` and `PollFlightInfo`.
#[derive(Debug)]
pub(super) struct Door {
    inside: FlightSql,
    login: Login,
}

impl Door {
    pub fn new(inside: FlightSql, login: Login) -> Self {
        Self { inside, login }
    }

    async fn enter<T>(&self, request: &mut Request<T>) -> Result<Option<AtWork>, Status> {
        let peer = peer(request);
        if peer.as_ref().is_some_and(|peer| peer.is_turned_away) {
            return Err(Status::unavailable(TOO_MANY));
        }
        // What the request carries is not to be held while it is found out.
        let (metadata, address) = (request.metadata().clone(), address(peer.as_ref()));
        let who = self.login.caller(&metadata, address).await?;
        if let Some(peer) = &peer {
            peer.is_let_in();
        }
        request.extensions_mut().insert(who);
        request.extensions_mut().insert(self.login.origin(address));
        Ok(peer.map(|peer| peer.at_work()))
    }

    async fn whole<T, R>(
        &self,
        mut request: Request<T>,
        answer: impl AsyncFnOnce(Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<Response<R>, Status> {
        let _at_work = self.enter(&mut request).await?;
        caught(answer(request)).await
    }

    async fn streamed<T, R: 'static>(
        &self,
        mut request: Request<T>,
        answer: impl AsyncFnOnce(Request<T>) -> Result<Response<Replies<R>>, Status>,
    ) -> Result<Response<Replies<R>>, Status> {
        let at_work = self.enter(&mut request).await?;
        let response = caught(answer(request)).await?;
        Ok(response.map(|replies| guarded(replies, at_work)))
    }
}

fn peer<T>(request: &Request<T>) -> Option<Arc<Peer>> {
    let extensions = request.extensions();
    let plain = extensions.get::<Arc<Peer>>();
    let encrypted = || {
        extensions
            .get::<TlsConnectInfo<Arc<Peer>>>()
            .map(TlsConnectInfo::get_ref)
    };
    plain.or_else(encrypted).cloned()
}

fn address(peer: Option<&Arc<Peer>>) -> Option<SocketAddr> {
    peer.map(|peer| peer.address)
}

fn panicked() -> Status {
    Status::internal(
        "internal error. This is a bug of Belvedere; please report it with the statement",
    )
}

async fn caught<R>(answer: impl Future<Output = Result<R, Status>>) -> Result<R, Status> {
    let answered = AssertUnwindSafe(answer).catch_unwind().await;
    answered
        .unwrap_or_else(|_| Err(panicked()))
        .map_err(in_words)
}

/// What `arrow-flight` cannot decode it shows as code does: `DecodeError { … }`.
fn in_words(status: Status) -> Status {
    let is_shown = status.code() == Code::InvalidArgument
        && status.message().trim_start().starts_with("DecodeError");
    match is_shown {
        true => Status::invalid_argument("what is asked for is no message of Arrow Flight SQL"),
        false => status,
    }
}

/// The replies, until a panic ends them; their connection is at work as long as they are read.
fn guarded<R: 'static>(replies: Replies<R>, at_work: Option<AtWork>) -> Replies<R> {
    let caught = AssertUnwindSafe(replies).catch_unwind();
    Box::pin(caught.map(move |reply| {
        let _ = &at_work;
        reply.unwrap_or_else(|_| Err(panicked()))
    }))
}

#[tonic::async_trait]
impl FlightService for Door {
    type HandshakeStream = Replies<HandshakeResponse>;
    type ListFlightsStream = Replies<FlightInfo>;
    type DoGetStream = Replies<FlightData>;
    type DoPutStream = Replies<PutResult>;
    type DoActionStream = Replies<arrow_flight::Result>;
    type ListActionsStream = Replies<ActionType>;
    type DoExchangeStream = Replies<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let peer = peer(&request);
        let (metadata, address) = (request.metadata().clone(), address(peer.as_ref()));
        let token = self.login.handshake(&metadata, address).await?;
        if let Some(peer) = &peer {
            peer.is_let_in();
        }
        let header = format!("Bearer {token}").parse();
        let header = header.map_err(|_| Status::internal("a token that is not ASCII"))?;
        let reply = HandshakeResponse {
            protocol_version: 0,
            payload: token.into(),
        };
        let mut response: Response<Self::HandshakeStream> =
            Response::new(Box::pin(stream::iter([Ok(reply)])));
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        // Nothing is prepared for those who did not ask: the list is empty.
        self.streamed(request, async |_| {
            Ok(Response::new(
                Box::pin(stream::empty()) as Self::ListFlightsStream
            ))
        })
        .await
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.whole(request, async |r| self.inside.get_flight_info(r).await)
            .await
    }

    /// A query's answer can be fetched as soon as it is planned: the first poll is the last.
    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        self.whole(request, async |r| {
            let info = self.inside.get_flight_info(r).await?;
            Ok(info.map(|info| PollInfo::new().with_info(info)))
        })
        .await
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        self.whole(request, async |r| {
            let info = self.inside.get_flight_info(r).await?;
            Ok(info.map(|info| {
                self.inside.forget(&info);
                SchemaResult {
                    schema: info.schema,
                }
            }))
        })
        .await
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        self.streamed(request, async |r| self.inside.do_get(r).await)
            .await
    }

    async fn do_put(
        &self,
        mut request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let wrote = LastWrite::default();
        request.extensions_mut().insert(wrote.clone());
        let answered = self.streamed(request, async |r| self.inside.do_put(r).await);
        let mut response = answered.await?;
        wrote.into_header(response.metadata_mut());
        Ok(response)
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        self.streamed(request, async |r| self.inside.do_action(r).await)
            .await
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        self.streamed(request, async |_| {
            let actions = super::sql::ACTIONS.iter().map(|(name, description)| {
                Ok(ActionType {
                    r#type: name.to_string(),
                    description: description.to_string(),
                })
            });
            Ok(Response::new(
                Box::pin(stream::iter(actions)) as Self::ListActionsStream
            ))
        })
        .await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.streamed(request, async |_| {
            Err(Status::unimplemented(
                "DoExchange is not part of Flight SQL",
            ))
        })
        .await
    }
}
