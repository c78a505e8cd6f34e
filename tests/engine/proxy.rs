//! Between an engine and a server: a proxy that misbehaves as it is told, also on connections that are open.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Connections are taken, and nothing comes through.
    Hang,
    /// A few bytes of the answers at a time.
    Drip,
    /// Every connection is reset, new ones too.
    Reset,
    /// Every connection is reset, and nobody listens.
    Refuse,
}

pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    open: Arc<AtomicUsize>,
    listens: watch::Receiver<bool>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Before the server at this port of loopback.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::Pass);
        let open = Arc::<AtomicUsize>::default();
        let (listens, told) = watch::channel(true);
        let door = (listener, address, listens);
        let listening = listen(door, server, mode.subscribe(), open.clone());
        Self {
            port: address.port(),
            mode,
            open,
            listens: told,
            listening: tokio::spawn(listening),
        }
    }

    pub async fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        let mut listens = self.listens.clone();
        let told = listens.wait_for(|listens| *listens == (mode != Mode::Refuse));
        told.await.unwrap();
    }

    /// Connections there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(
    (listener, address, listens): (TcpListener, SocketAddr, watch::Sender<bool>),
    server: u16,
    mut mode: watch::Receiver<Mode>,
    open: Arc<AtomicUsize>,
) {
    let mut listener = Some(listener);
    loop {
        let refuses = *mode.borrow_and_update() == Mode::Refuse;
        listener = match listener {
            _ if refuses => None,
            Some(listener) => Some(listener),
            None => Some(TcpListener::bind(address).await.unwrap()),
        };
        listens.send_replace(listener.is_some());
        let Some(listening) = &listener else {
            if mode.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            accepted = listening.accept() => {
                let (client, _) = accepted.unwrap();
                tokio::spawn(connect(client, server, mode.clone(), open.clone()));
            }
            changed = mode.changed() => if changed.is_err() { return },
        }
    }
}

async fn connect(
    mut client: TcpStream,
    server: u16,
    mut mode: watch::Receiver<Mode>,
    open: Arc<AtomicUsize>,
) {
    open.fetch_add(1, Ordering::SeqCst);
    let resets = |mode: &Mode| matches!(mode, Mode::Reset | Mode::Refuse);
    if !resets(&mode.borrow())
        && let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            // Whoever ends its side ends both.
            _ = pump(from_client, to_server, mode.clone(), false) => {}
            _ = pump(from_server, to_client, mode.clone(), true) => {}
            _ = mode.wait_for(resets) => {}
        }
    }
    let resets = resets(&mode.borrow());
    if resets {
        client.set_zero_linger().unwrap();
    }
    drop(client);
    open.fetch_sub(1, Ordering::SeqCst);
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
    answers: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let now = *mode.borrow_and_update();
        let most = match now {
            Mode::Pass => buffer.len(),
            Mode::Drip if answers => 16,
            Mode::Drip => buffer.len(),
            Mode::Hang | Mode::Reset | Mode::Refuse => {
                let Ok(()) = mode.changed().await else {
                    return Ok(());
                };
                continue;
            }
        };
        let read = tokio::select! {
            read = from.read(&mut buffer[..most]) => read?,
            changed = mode.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        };
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        if most == 16 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
