use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::listen::{ClientCount, ServeOptions};

/// A client that means it has sent its first bytes by then.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// Clients that are told at once that there are too many; they are gone after [`FAREWELL`]. Of more, nobody is told anything.
const TURNED_AWAY: usize = 64;
const FAREWELL: Duration = Duration::from_secs(5);

/// Of those that have not said yet who they are, this part of all connections may be open before others make room for more.
const STRANGERS: usize = 4;

/// What they are told.
pub(in crate::serve) const TOO_MANY: &str =
    "there are too many connections, and all of them are at work";

/// Time to finish what runs, once told to stop.
const GRACE: Duration = Duration::from_secs(10);
/// And to say so to those whose statements were cut off.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Ready when what runs has had its time to finish, since `stop`.
pub(in crate::serve) async fn grace_is_over(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Serve each client of a protocol as it comes, until `shutdown` is ready; then take no new ones, tell those that are there to
/// `stop`, let them finish for ten seconds, and end those that do not end themselves then. `preface` is the length of what every
/// client sends first.
pub(in crate::serve) async fn serve_each<F>(
    listener: TcpListener,
    options: &ServeOptions,
    (protocol, preface): (&'static str, usize),
    stop: CancellationToken,
    shutdown: impl Future<Output = ()>,
    serve: impl Fn(Connection) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let closing = CancellationToken::new();
    let connections = Connections::new(
        options.max_connections,
        preface,
        closing.child_token(),
        options.clients.of(protocol),
    );
    let mut incoming = Box::pin(connections.accept(listener));
    let mut clients = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(connection) = incoming.next() => {
                // The listener itself says what it could not accept.
                if let Ok(connection) = connection {
                    let serving = AssertUnwindSafe(serve(connection)).catch_unwind();
                    clients.spawn(async move {
                        if serving.await.is_err() {
                            tracing::error!("a client's connection ended: a bug of Belvedere");
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
    if tokio::time::timeout(GRACE + LAST_WORDS, ended)
        .await
        .is_err()
    {
        closing.cancel();
        clients.shutdown().await;
    }
}

/// The open connections, at most `limit`. When there are too many, the one that was without a call the longest is
/// closed, of those whose clients have not said who they are if these are many: who opens connections and says nothing
/// takes no place of those who work here. If all are at work, the new one is turned away.
#[derive(Debug)]
pub(in crate::serve) struct Connections {
    open: Mutex<Open>,
    limit: usize,
    /// The length of what every client sends first.
    preface: usize,
    stop: CancellationToken,
    count: Arc<ClientCount>,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    peers: HashMap<u64, Arc<Peer>>,
    turned_away: usize,
}

/// The other end of a connection. Each call's request carries it.
#[derive(Debug)]
pub(in crate::serve) struct Peer {
    pub address: SocketAddr,
    /// It is told that there are [too many](TOO_MANY), and nothing else.
    pub is_turned_away: bool,
    close: CancellationToken,
    activity: Mutex<Activity>,
}

#[derive(Debug)]
struct Activity {
    calls: usize,
    last: Instant,
    /// Who it is is not known.
    is_stranger: bool,
}

/// A call at work. While one lives, its connection is not idle.
#[derive(Debug)]
pub(in crate::serve) struct AtWork(Arc<Peer>);

impl Peer {
    pub fn at_work(self: &Arc<Self>) -> AtWork {
        self.activity().calls += 1;
        AtWork(Arc::clone(self))
    }

    /// It has said who it is.
    pub fn is_let_in(&self) {
        self.activity().is_stranger = false;
    }

    /// Since when it is without a call, and whether it is a stranger.
    fn idle_since(&self) -> Option<(Instant, bool)> {
        let activity = self.activity();
        (activity.calls == 0).then_some((activity.last, activity.is_stranger))
    }

    /// One that has just come.
    pub fn new(address: SocketAddr, is_turned_away: bool, close: CancellationToken) -> Self {
        Self {
            address,
            is_turned_away,
            close,
            activity: Mutex::new(Activity {
                calls: 0,
                last: Instant::now(),
                is_stranger: true,
            }),
        }
    }

    fn activity(&self) -> std::sync::MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut activity = self.0.activity();
        activity.calls -= 1;
        activity.last = Instant::now();
    }
}

impl Connections {
    pub fn new(
        limit: usize,
        preface: usize,
        stop: CancellationToken,
        count: Arc<ClientCount>,
    ) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            limit: limit.max(1),
            preface,
            stop,
            count,
        })
    }

    /// The connections as they arrive.
    pub fn accept(
        self: &Arc<Self>,
        listener: TcpListener,
    ) -> impl Stream<Item = io::Result<Connection>> + use<> {
        stream::unfold(
            (Arc::clone(self), listener),
            |(open, listener)| async move {
                loop {
                    match listener.accept().await {
                        Ok((tcp, address)) => {
                            // Small messages go at once; a client that left already needs no answer.
                            let _ = tcp.set_nodelay(true);
                            if let Some(connection) = open.admit(tcp, address) {
                                return Some((Ok(connection), (open, listener)));
                            }
                        }
                        // The client's fault (it left), or no descriptor is free: give one back and wait a little.
                        Err(e) => {
                            tracing::warn!("a connection cannot be accepted: {e}");
                            open.close_idlest();
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
            },
        )
    }

    fn admit(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr) -> Option<Connection> {
        let is_turned_away = self.open().peers.len() >= self.limit && !self.close_idlest();
        let peer = Arc::new(Peer::new(address, is_turned_away, self.stop.child_token()));
        let closed = peer.close.clone().cancelled_owned();
        let mut open = self.open();
        let id = match is_turned_away {
            true if open.turned_away >= TURNED_AWAY => return None,
            true => {
                open.turned_away += 1;
                None
            }
            false => {
                let id = open.next_id;
                open.next_id += 1;
                open.peers.insert(id, Arc::clone(&peer));
                self.count.came();
                Some(id)
            }
        };
        drop(open);
        Some(Connection {
            tcp,
            closed: match is_turned_away {
                true => Box::pin(async {
                    let _ = tokio::time::timeout(FAREWELL, closed).await;
                }),
                false => Box::pin(closed),
            },
            first_bytes: Some((Box::pin(tokio::time::sleep(FIRST_BYTES)), self.preface)),
            _entry: Entry {
                connections: Arc::clone(self),
                id,
            },
            peer,
        })
    }

    fn close_idlest(&self) -> bool {
        let mut open = self.open();
        let idle: Vec<(Instant, bool, u64)> = open
            .peers
            .iter()
            .filter_map(|(id, peer)| peer.idle_since().map(|(since, s)| (since, s, *id)))
            .collect();
        let strangers = idle.iter().filter(|(_, is_stranger, _)| *is_stranger);
        let are_many = strangers.count() > self.limit / STRANGERS;
        let goes = idle
            .iter()
            .filter(|(_, is_stranger, _)| *is_stranger || !are_many);
        let Some((.., id)) = goes.min().copied() else {
            return false;
        };
        if let Some(peer) = open.peers.remove(&id) {
            peer.close.cancel();
        }
        true
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An accepted connection. It ends when the server wants it to, or when its client sends nothing at first.
pub(in crate::serve) struct Connection {
    tcp: TcpStream,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Until when the preface must be there, and how much of it is not yet.
    first_bytes: Option<(Pin<Box<Sleep>>, usize)>,
    _entry: Entry,
    peer: Arc<Peer>,
}

struct Entry {
    connections: Arc<Connections>,
    /// None: it is turned away.
    id: Option<u64>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        match self.id {
            Some(id) => {
                self.connections.count.left();
                open.peers.remove(&id);
            }
            None => open.turned_away -= 1,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl Connection {
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_closed(cx)?;
        let before = buf.filled().len();
        if Pin::new(&mut self.tcp).poll_read(cx, buf)?.is_pending() {
            if let Some((late, _)) = &mut self.first_bytes {
                ready!(late.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return Poll::Pending;
        }
        let read = buf.filled().len() - before;
        if let Some((_, missing)) = &mut self.first_bytes {
            *missing = missing.saturating_sub(read);
            if *missing == 0 {
                self.first_bytes = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_closed(cx)?;
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_closed(cx)?;
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
