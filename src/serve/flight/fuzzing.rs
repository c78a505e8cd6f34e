use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{Action, FlightDescriptor, Ticket};
use futures::{StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use super::door::Door;
use super::login::Login;
use super::server::router;
use super::sql::{ACTIONS, FlightSql};
use crate::engine::Engine;
use crate::serve::connections::Peer;
use crate::serve::guests::Guests;

/// This port, for any stream.
pub(in crate::serve) struct Port(Engine);

impl Port {
    pub fn new(engine: Engine) -> Self {
        Self(engine)
    }

    fn door(&self) -> Door {
        let guests = Guests::new(self.0.clone(), false, "flight");
        let inside = FlightSql::new(self.0.clone(), CancellationToken::new());
        Door::new(inside, Login::new(guests))
    }

    pub async fn serve<S>(&self, stream: S, peer: Arc<Peer>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = router(self.door());
        let (_ended, end) = oneshot::channel();
        let line = Line {
            stream,
            peer,
            _ended,
        };
        let incoming = stream::once(async { Ok::<_, io::Error>(line) }).chain(stream::pending());
        let end = async { drop(end.await) };
        let _ = router.serve_with_incoming_shutdown(incoming, end).await;
    }

    /// A call by whom this token stands for, of a method and with a message that are told by bytes.
    pub async fn call(&self, token: &str, method: u8, message: &[u8]) {
        fn of<T>(message: T, token: &str) -> Request<T> {
            let mut request = Request::new(message);
            if let Ok(bearer) = format!("Bearer {token}").parse() {
                request.metadata_mut().insert("authorization", bearer);
            }
            request
        }
        let door = self.door();
        let command = || FlightDescriptor::new_cmd(message.to_vec());
        let ticket = || Ticket::new(message.to_vec());
        let kinds = 4 + ACTIONS.len();
        let done: Result<(), Status> = match usize::from(method) % kinds {
            0 => match door.get_flight_info(of(command(), token)).await {
                // What was planned is fetched.
                Ok(info) => {
                    let ended = info.into_inner().endpoint.into_iter();
                    for ticket in ended.filter_map(|endpoint| endpoint.ticket) {
                        if let Ok(rows) = door.do_get(of(ticket, token)).await {
                            rows.into_inner().take(64).for_each(async |_| ()).await;
                        }
                    }
                    Ok(())
                }
                Err(status) => Err(status),
            },
            1 => match door.do_get(of(ticket(), token)).await {
                Ok(rows) => {
                    rows.into_inner().take(64).for_each(async |_| ()).await;
                    Ok(())
                }
                Err(status) => Err(status),
            },
            2 => door.get_schema(of(command(), token)).await.map(drop),
            3 => door.poll_flight_info(of(command(), token)).await.map(drop),
            action => {
                let action = Action::new(ACTIONS[action - 4].0, message.to_vec());
                match door.do_action(of(action, token)).await {
                    Ok(replies) => {
                        replies.into_inner().take(64).for_each(async |_| ()).await;
                        Ok(())
                    }
                    Err(status) => Err(status),
                }
            }
        };
        // What a panic becomes: see `door.rs`.
        let is_bug = done.is_err_and(|status| status.message().contains("bug of Belvedere"));
        assert!(!is_bug, "a call has panicked");
    }
}

impl<S> Connected for Line<S> {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

/// The one connection. It says when it is dropped, so that the server ends with it.
struct Line<S> {
    stream: S,
    peer: Arc<Peer>,
    _ended: oneshot::Sender<()>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
