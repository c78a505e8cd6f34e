use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use super::listen::BindError;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The certificates of the servers that share this, by the files that they are in: what is there anew is shown to whoever connects
/// from then on, and connections that are open go on as they are.
#[derive(Debug, Clone, Default)]
pub struct Certificates(Arc<Mutex<Vec<Arc<Certificate>>>>);

/// A certificate and its key.
#[derive(Debug)]
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is shown.
    shown: Arc<CertifiedKey>,
    /// What was in the files when they were last tried, as a hash: what is wrong with them is said once.
    tried: Hash,
    /// And when they were last looked at: files that are just being written are left alone.
    looked: Hash,
}

type Hash = [u8; 32];

impl Certificates {
    /// What takes encrypted connections with what is in these files, for one of these protocols above TLS (none: whatever the client
    /// says).
    ///
    /// # Errors
    /// There is no such pair in them.
    pub(super) fn acceptor(
        &self,
        (chain, key): &(PathBuf, PathBuf),
        protocols: &[&[u8]],
    ) -> Result<TlsAcceptor, BindError> {
        choose_cryptography();
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(self.of(chain, key)?);
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn of(&self, chain: &Path, key: &Path) -> Result<Arc<Certificate>, BindError> {
        let mut all = self.all();
        let known = all.iter().find(|one| one.chain == chain && one.key == key);
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let certificate = Arc::new(Certificate::read(chain, key)?);
        all.push(certificate.clone());
        // Without a runtime nobody is served.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(Certificate::follow(Arc::downgrade(&certificate)));
        }
        Ok(certificate)
    }

    /// Read all files again, now.
    pub fn reload(&self) {
        for certificate in self.all().iter() {
            certificate.look(true);
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Certificate>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Certificate {
    fn read(chain: &Path, key: &Path) -> Result<Self, BindError> {
        let texts = texts(chain, key)?;
        let hash = hash(&texts);
        let state = State {
            shown: Arc::new(pair(&texts)?),
            tried: hash,
            looked: hash,
        };
        Ok(Self {
            chain: chain.into(),
            key: key.into(),
            state: Mutex::new(state),
        })
    }

    /// As long as somebody serves with it.
    async fn follow(certificate: Weak<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(certificate) = certificate.upgrade() else {
                return;
            };
            // Files may be on a slow disk, which others need not wait for.
            let looked = tokio::task::spawn_blocking(move || certificate.look(false));
            if looked.await.is_err() {
                return;
            }
        }
    }

    /// Take over what is in the files if it is new, and has been the same for a while; or `now`.
    fn look(&self, now: bool) {
        let texts = texts(&self.chain, &self.key);
        // A file that is not there is as good as one that is wrong.
        let hash = texts.as_ref().map_or([0; 32], hash);
        let mut state = self.state();
        let is_settled = std::mem::replace(&mut state.looked, hash) == hash;
        if hash == state.tried && !now || !(is_settled || now) {
            return;
        }
        state.tried = hash;
        let (chain, key) = (self.chain.display(), self.key.display());
        match texts.and_then(|texts| pair(&texts)) {
            Ok(pair) => {
                state.shown = Arc::new(pair);
                tracing::info!("the certificate in {chain} is shown from now on");
            }
            Err(e) => tracing::error!(
                "the certificate before it stays, since that in {chain} with the key in {key} is of no use: {e}"
            ),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.state().shown.clone())
    }
}

/// Certificate and key, as they are in their files.
fn texts(chain: &Path, key: &Path) -> Result<[Vec<u8>; 2], BindError> {
    let read = |flag: &'static str, path: &Path| {
        std::fs::read(path).map_err(|cause| BindError::TlsFile {
            flag,
            path: path.into(),
            cause,
        })
    };
    Ok([read("--tls-cert", chain)?, read("--tls-key", key)?])
}

fn hash([chain, key]: &[Vec<u8>; 2]) -> Hash {
    let of_each: [Hash; 2] = [chain, key].map(|text| Sha256::digest(text).into());
    Sha256::digest(of_each.concat()).into()
}

fn pair([chain, key]: &[Vec<u8>; 2]) -> Result<CertifiedKey, BindError> {
    let unusable = |cause: String| BindError::Tls { cause };
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| unusable(e.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("there is no certificate in the file".to_string()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unusable(e.to_string()))?;
    let cryptography = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &cryptography).map_err(|e| unusable(e.to_string()))
}

/// TLS by ring, whatever else is linked: a library brings another implementation along, and rustls takes neither by itself.
/// An embedder's choice stands.
pub(super) fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
