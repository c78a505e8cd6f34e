use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificates;

/// How to serve, whatever the protocol.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Files with the certificate's chain and its key, in PEM. None: unencrypted.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Serve clients on other machines although no users are defined, and everybody is the administrator; or unencrypted.
    pub insecure: bool,
    /// Connections at once; beyond it, idle ones are closed.
    pub max_connections: usize,
    /// Counts the connections of all servers that are given the same.
    pub clients: Clients,
    /// What is in the files of `tls`, to all servers that are given the same.
    pub certificates: Certificates,
}

/// The connections of the servers that share this, counted by protocol.
#[derive(Debug, Clone, Default)]
pub struct Clients(Arc<Mutex<BTreeMap<&'static str, Arc<ClientCount>>>>);

/// Of one protocol: connections that are open, and all that there were.
#[derive(Debug, Default)]
pub(super) struct ClientCount {
    open: AtomicU64,
    accepted: AtomicU64,
}

impl Clients {
    pub(super) fn of(&self, protocol: &'static str) -> Arc<ClientCount> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(protocol).or_default())
    }

    /// Protocol, connections that are open, and all that there were.
    pub(super) fn counted(&self) -> Vec<(&'static str, u64, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        all.iter()
            .map(|(protocol, count)| (*protocol, of(&count.open), of(&count.accepted)))
            .collect()
    }
}

impl ClientCount {
    pub(super) fn came(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            tls: None,
            insecure: false,
            max_connections: 512,
            clients: Clients::default(),
            certificates: Certificates::default(),
        }
    }
}

/// Why an address cannot be served. `flag` is how it is given on the command line.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "the address {address} is taken by another process. {flag} HOST:PORT takes another one"
    )]
    Taken {
        flag: &'static str,
        address: SocketAddr,
    },
    #[error(
        "{address} is not on this machine's loopback, and no users are defined: everybody who reaches it would be \
         the administrator. --insecure serves it all the same"
    )]
    Exposed { address: SocketAddr },
    #[error(
        "{address} is not on this machine's loopback, and passwords and rows would be sent for all to read. --tls-cert and \
         --tls-key encrypt them; --insecure serves it all the same"
    )]
    Unencrypted { address: SocketAddr },
    #[error("cannot listen on {address} ({flag}): {cause}")]
    Address {
        flag: &'static str,
        address: SocketAddr,
        cause: io::Error,
    },
    #[error("{}, given with {flag}, cannot be read: {cause}", path.display())]
    TlsFile {
        flag: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    #[error("the certificate or key (--tls-cert, --tls-key) cannot be used: {cause}")]
    Tls { cause: String },
}

impl From<BindError> for crate::Error {
    fn from(e: BindError) -> Self {
        Self::Invalid {
            message: e.to_string(),
            help: None,
        }
    }
}

impl ServeOptions {
    /// What takes encrypted connections, for one of these protocols above TLS. None: they are not encrypted.
    pub(super) fn acceptor(&self, protocols: &[&[u8]]) -> Result<Option<TlsAcceptor>, BindError> {
        let files = self.tls.as_ref();
        let acceptor = files.map(|files| self.certificates.acceptor(files, protocols));
        acceptor.transpose()
    }
}

/// Take the address; port 0 is any free one.
pub(super) async fn listen(
    flag: &'static str,
    address: SocketAddr,
    options: &ServeOptions,
    has_users: bool,
) -> Result<(TcpListener, SocketAddr), BindError> {
    if !address.ip().is_loopback() && !options.insecure {
        if !has_users {
            return Err(BindError::Exposed { address });
        }
        if options.tls.is_none() {
            return Err(BindError::Unencrypted { address });
        }
    }
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { flag, address },
        _ => BindError::Address {
            flag,
            address,
            cause,
        },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
