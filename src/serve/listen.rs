use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

/// How to serve, whatever the protocol.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Files with the certificate's chain and its key, in PEM. None: unencrypted.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Serve clients on other machines although no users are defined: everybody is the administrator.
    pub insecure: bool,
    /// Connections at once; beyond it, idle ones are closed.
    pub max_connections: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            tls: None,
            insecure: false,
            max_connections: 512,
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
) -> Result<(TcpListener, SocketAddr), BindError> {
    if !address.ip().is_loopback() && !options.insecure {
        return Err(BindError::Exposed { address });
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

/// TLS by ring, whatever else is linked: a library brings another implementation along, and rustls takes neither by itself.
/// An embedder's choice stands.
pub(super) fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
