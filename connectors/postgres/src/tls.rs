use std::path::PathBuf;
use std::sync::Arc;

use belvedere_connector::{Code, Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::{Settings, SslMode};

/// TLS as the source's `sslmode` asks for it. Reads the certificates at each call, so that renewed ones are used.
pub fn connector(settings: &Settings) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("TLS cannot be set up").caused_by(e))?;
    let check = match settings.ssl_mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => Check::Nothing(provider),
        SslMode::VerifyCa | SslMode::VerifyFull => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(settings)?), provider)
                    .build()
                    .map_err(|e| {
                        Error::new(Code::InvalidOption, "the root certificates cannot be used")
                            .caused_by(e)
                    })?;
            if settings.ssl_mode == SslMode::VerifyCa {
                Check::Authority(verifier)
            } else {
                Check::AuthorityAndHost(verifier)
            }
        }
    };
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The file of what [`connector`] trusts, where it checks certificates and there is one.
pub fn roots_file(settings: &Settings) -> Option<PathBuf> {
    match settings.ssl_mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => None,
        SslMode::VerifyCa | SslMode::VerifyFull => {
            (settings.ssl_root_cert.clone()).or_else(|| openssl_probe::probe().cert_file)
        }
    }
}

fn roots(settings: &Settings) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &settings.ssl_root_cert {
        Some(path) => {
            let unusable = |e: Box<dyn std::error::Error + Send + Sync>| {
                Error::new(
                    Code::InvalidOption,
                    format!("the root certificate {} cannot be read", path.display()),
                )
                .caused_by(e)
                .help("ssl_root_cert is a file of PEM certificates")
            };
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|e| unusable(e.into()))?
            {
                roots
                    .add(certificate.map_err(|e| unusable(e.into()))?)
                    .map_err(|e| unusable(e.into()))?;
            }
            if roots.is_empty() {
                return Err(unusable("it holds no certificate".into()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::new(
                    Code::InvalidOption,
                    "this system has no trusted root certificates",
                )
                .help("Name one: WITH (ssl_root_cert = '/path/ca.pem')"));
            }
        }
    }
    Ok(roots)
}

/// What of the server's certificate is checked. Signatures are checked always.
#[derive(Debug)]
enum Check {
    Nothing(Arc<CryptoProvider>),
    Authority(Arc<WebPkiServerVerifier>),
    AuthorityAndHost(Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match self {
            Self::Nothing(_) => Ok(ServerCertVerified::assertion()),
            Self::AuthorityAndHost(verifier) => verify(verifier),
            // The chain is checked before the name: an error about the name says that the chain is good.
            Self::Authority(verifier) => match verify(verifier) {
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                result => result,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Nothing(provider) => verify_tls12_signature(
                message,
                cert,
                dss,
                &provider.signature_verification_algorithms,
            ),
            Self::Authority(v) | Self::AuthorityAndHost(v) => {
                v.verify_tls12_signature(message, cert, dss)
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Nothing(provider) => verify_tls13_signature(
                message,
                cert,
                dss,
                &provider.signature_verification_algorithms,
            ),
            Self::Authority(v) | Self::AuthorityAndHost(v) => {
                v.verify_tls13_signature(message, cert, dss)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Nothing(provider) => provider
                .signature_verification_algorithms
                .supported_schemes(),
            Self::Authority(v) | Self::AuthorityAndHost(v) => v.supported_verify_schemes(),
        }
    }
}
