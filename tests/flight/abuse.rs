use std::path::Path;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use belvedere::Engine;
use belvedere::serve::flight::FlightServer;
use belvedere::serve::flight::client::{ConnectOptions, RemoteSession};
use belvedere::serve::{BindError, ServeOptions};
use belvedere_memory::Fault;
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Endpoint;

use super::support::{Server, query, shown, status};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn garbage_on_the_port_hurts_nobody() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0; 4096],
        &[0xff; 100_000],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        // It may close before all is written.
        let _ = tcp.write_all(garbage).await;
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(LIMIT, tcp.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "the connection stays open");
        assert_eq!(shown(&query(&mut client, "SELECT 1").await.unwrap()), ["1"]);
    }
}

#[tokio::test]
async fn idle_connections_make_room() {
    let options = ServeOptions {
        max_connections: 20,
        ..Default::default()
    };
    let server = Server::with(options).await;
    let mut working = server.client().await;
    server.memory.inject(Fault::HangAfter(0));
    let info = working
        .execute("SELECT * FROM mem.t".into(), None)
        .await
        .unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let waiting = tokio::spawn(async move { working.do_get(ticket).await.map(|_| ()) });
    server.memory.until_open_streams(1).await;

    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut client = server.client().await;
    assert_eq!(shown(&query(&mut client, "SELECT 1").await.unwrap()), ["1"]);
    // The connection at work is none of those that were closed.
    assert_eq!(server.memory.open_streams(), 1);
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn who_comes_when_all_are_at_work_is_told_so() {
    let options = ServeOptions {
        max_connections: 1,
        ..Default::default()
    };
    let server = Server::with(options).await;
    let mut working = server.client().await;
    server.memory.inject(Fault::HangAfter(0));
    let info = working
        .execute("SELECT * FROM mem.t".into(), None)
        .await
        .unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let waiting = tokio::spawn(async move { working.do_get(ticket).await.map(|_| ()) });
    server.memory.until_open_streams(1).await;

    let mut late = server.client().await;
    let refused = query(&mut late, "SELECT 1").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(
        refused.message(),
        "there are too many connections, and all of them are at work"
    );
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn what_cannot_be_decoded_is_said_in_words() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let words = "what is asked for is no message of Arrow Flight SQL";
    let ticket = arrow_flight::Ticket::new(vec![0xff; 8]);
    let refused = client.do_get(ticket).await.map_err(status).unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, words)
    );
    let action = arrow_flight::Action::new("ClosePreparedStatement", vec![0xff; 8]);
    let refused = client.inner_mut().do_action(action).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, words)
    );
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let inner = FlightServiceClient::new(server.channel().await);
    let mut client = FlightSqlServiceClient::new_from_inner(inner);
    for megabytes in [5, 100] {
        let sql = format!("SELECT '{}'", "x".repeat(megabytes << 20));
        let e = client.execute(sql, None).await.map_err(status).unwrap_err();
        assert_ne!(e.code(), Code::Internal);
        assert!(
            e.message().contains("at most") || e.message().contains("large"),
            "{}",
            e.message()
        );
    }
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let e = query(&mut client, &deep).await.unwrap_err();
    assert_eq!(e.code(), Code::InvalidArgument);
    assert_eq!(shown(&query(&mut client, "SELECT 1").await.unwrap()), ["1"]);
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let server = Server::start().await;
    let options = ServeOptions::default();
    let e = FlightServer::bind(server.engine.clone(), server.address, options)
        .await
        .err()
        .expect("it is refused");
    assert!(matches!(e, BindError::Taken { .. }));
    assert!(
        e.to_string().contains("--flight") && e.to_string().contains(&server.address.to_string())
    );
}

#[tokio::test]
async fn an_address_off_loopback_is_refused() {
    let engine = Engine::builder().open().await.unwrap();
    let any = "0.0.0.0:0".parse().unwrap();
    let refused = FlightServer::bind(engine.clone(), any, ServeOptions::default()).await;
    assert!(matches!(refused, Err(BindError::Exposed { .. })));
    let insecure = ServeOptions {
        insecure: true,
        ..Default::default()
    };
    FlightServer::bind(engine, any, insecure).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_lets_statements_finish() {
    let server = Server::start().await;
    let mut client = server.client().await;
    server
        .memory
        .inject(Fault::Slow(Duration::from_millis(300)));
    let info = client
        .execute("SELECT * FROM mem.t".into(), None)
        .await
        .unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let rows = tokio::spawn(async move {
        client
            .do_get(ticket)
            .await
            .unwrap()
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
    });
    server.memory.until_open_streams(1).await;
    let address = server.address;
    tokio::time::timeout(LIMIT, server.stop()).await.unwrap();
    assert_eq!(rows.await.unwrap()[0].num_rows(), 3);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn tls() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flight/tls");
    let tls = Some((dir.join("server.pem"), dir.join("server.key")));
    let server = Server::with(ServeOptions {
        tls,
        ..Default::default()
    })
    .await;
    let url = format!("grpc+tls://ana@localhost:{}", server.address.port());
    let authority = std::fs::read(dir.join("ca.pem")).unwrap();
    let options = ConnectOptions {
        tls_authority: Some(authority),
        ..Default::default()
    };
    let session = RemoteSession::connect(&url, options).await.unwrap();
    let rows = session
        .execute("SELECT 1")
        .await
        .unwrap()
        .stream
        .try_collect::<Vec<_>>()
        .await;
    assert_eq!(shown(&rows.unwrap()), ["1"]);
    // A certificate nobody vouches for, and no TLS at all.
    let unknown = RemoteSession::connect(&url, ConnectOptions::default())
        .await
        .unwrap_err();
    assert_eq!(unknown.code, "connection");
    let plain = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = FlightSqlServiceClient::new(plain.connect().await.unwrap());
    assert!(client.execute("SELECT 1".into(), None).await.is_err());
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let engine = Engine::builder().open().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let file = dir.path().join("x.pem");
    let bind = |engine: &Engine| {
        let tls = Some((file.clone(), file.clone()));
        FlightServer::bind(
            engine.clone(),
            any,
            ServeOptions {
                tls,
                ..Default::default()
            },
        )
    };
    let missing = bind(&engine).await.err().unwrap();
    assert!(missing.to_string().contains("--tls-cert"), "{missing}");
    std::fs::write(&file, "nonsense").unwrap();
    let nonsense = bind(&engine).await.err().unwrap();
    assert!(matches!(nonsense, BindError::Tls { .. }), "{nonsense}");
}
