use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

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

/// Certificate and key, as they are in their files.
pub(super) fn read_tls(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), BindError> {
    let read = |flag: &'static str, path: &Path| {
        std::fs::read(path).map_err(|cause| BindError::TlsFile {
            flag,
            path: path.into(),
            cause,
        })
    };
    Ok((read("--tls-cert", certificate)?, read("--tls-key", key)?))
}

/// What takes encrypted connections, for one of these protocols above TLS (none: whatever the client says).
pub(super) fn acceptor(
    (certificate, key): &(PathBuf, PathBuf),
    protocols: &[&[u8]],
) -> Result<TlsAcceptor, BindError> {
    let (certificate, key) = read_tls(certificate, key)?;
    let unusable = |cause: String| BindError::Tls { cause };
    let chain = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| unusable(e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| unusable(e.to_string()))?;
    choose_cryptography();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| unusable(e.to_string()))?;
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// TLS by ring, whatever else is linked: a library brings another implementation along, and rustls takes neither by itself.
/// An embedder's choice stands.
pub(super) fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
