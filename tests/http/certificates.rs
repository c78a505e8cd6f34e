//! A certificate that is renewed is shown to who comes then, on every port, and who is there goes on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use belvedere::Engine;
use belvedere::serve::ServeOptions;
use belvedere::serve::flight::FlightServer;
use belvedere::serve::http::HttpServer;
use belvedere::serve::postgres::PostgresServer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a client of PostgreSQL asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flight/tls")
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(files().join(name)).unwrap()
}

async fn connect(address: SocketAddr, is_postgres: bool) -> TlsStream<TcpStream> {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    if is_postgres {
        tcp.write_all(&SSL_REQUEST).await.unwrap();
        assert_eq!(tcp.read_u8().await.unwrap(), b'S');
    }
    let mut roots = RootCertStore::empty();
    for name in ["ca.pem", "renewed.pem"] {
        roots.add(certificate(name)).unwrap();
    }
    let cryptography = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(cryptography)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, tcp).await.unwrap()
}

/// What a server shows of itself.
async fn shown(address: SocketAddr, is_postgres: bool) -> CertificateDer<'static> {
    let stream = connect(address, is_postgres).await;
    let shown = stream.get_ref().1.peer_certificates();
    shown.unwrap()[0].clone().into_owned()
}

async fn health(client: &mut TlsStream<TcpStream>) {
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut text = String::new();
    while !text.ends_with("{\"status\":\"ok\"}") {
        let mut some = [0; 1024];
        let n = client.read(&mut some).await.unwrap();
        assert!(n > 0, "{text}");
        text.push_str(std::str::from_utf8(&some[..n]).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_to_who_comes_then() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
    let put = |from: &str, to: &Path| {
        std::fs::copy(files().join(from), to).unwrap();
    };
    put("server.pem", &chain);
    put("server.key", &key);
    let options = ServeOptions {
        tls: Some((chain.clone(), key.clone())),
        ..ServeOptions::default()
    };
    let engine = Engine::builder().open().await.unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let flight = FlightServer::bind(engine.clone(), any, options.clone());
    let postgres = PostgresServer::bind(engine.clone(), any, options.clone());
    let http = HttpServer::bind(engine, any, options.clone());
    let (flight, postgres, http) = (
        flight.await.unwrap(),
        postgres.await.unwrap(),
        http.await.unwrap(),
    );
    let ports = [
        (flight.local_addr(), false),
        (postgres.local_addr(), true),
        (http.local_addr(), false),
    ];
    let http_address = http.local_addr();
    tokio::spawn(flight.run(std::future::pending()));
    tokio::spawn(postgres.run(std::future::pending()));
    tokio::spawn(http.run(std::future::pending()));

    let (old, new) = (certificate("server.pem"), certificate("renewed.pem"));
    for (address, is_postgres) in ports {
        assert_eq!(shown(address, is_postgres).await, old);
    }
    let mut before = connect(http_address, false).await;
    health(&mut before).await;

    // A key that is not this certificate's, and none at all: what was there stays.
    put("renewed.pem", &chain);
    options.certificates.reload();
    std::fs::write(&key, "nonsense").unwrap();
    options.certificates.reload();
    std::fs::remove_file(&chain).unwrap();
    options.certificates.reload();
    for (address, is_postgres) in ports {
        assert_eq!(shown(address, is_postgres).await, old);
    }

    // Nobody says that they have changed.
    put("renewed.pem", &chain);
    put("renewed.key", &key);
    let renewed = async {
        while shown(http_address, false).await != new {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), renewed)
        .await
        .unwrap();
    for (address, is_postgres) in ports {
        assert_eq!(shown(address, is_postgres).await, new);
    }
    health(&mut before).await;
    drop(before);

    put("server.pem", &chain);
    put("server.key", &key);
    options.certificates.reload();
    for (address, is_postgres) in ports {
        assert_eq!(shown(address, is_postgres).await, old, "at once");
    }
}
