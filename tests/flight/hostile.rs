//! Calls that are cut off, or made of frames that lie; and who says nonsense of himself.

use std::time::Duration;

use arrow_flight::sql::client::FlightSqlServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use super::support::{Client, Server, query, shown, status};

const LIMIT: Duration = Duration::from_secs(20);

/// Calls as they are on the wire: a query, what the server has, an action, a write.
const CALLS: &[&[u8]] = &[
    include_bytes!("../../fuzz/corpus/flight/info"),
    include_bytes!("../../fuzz/corpus/flight/actions"),
    include_bytes!("../../fuzz/corpus/flight/put"),
];

/// The connection ends, whatever was said.
async fn says(server: &Server, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    // It may close before all is written.
    let _ = tcp.write_all(bytes).await;
    let _ = tcp.shutdown().await;
    let mut told = Vec::new();
    let ended = tokio::time::timeout(LIMIT, tcp.read_to_end(&mut told)).await;
    assert!(ended.is_ok(), "the connection stays open: {bytes:?}");
}

async fn is_well(client: &mut Client) {
    assert_eq!(shown(&query(client, "SELECT 1").await.unwrap()), ["1"]);
}

#[tokio::test]
async fn a_call_may_be_cut_off_anywhere() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for call in CALLS {
        for length in 0..=call.len() {
            says(&server, &call[..length]).await;
        }
        is_well(&mut client).await;
        for at in 0..call.len() {
            let mut other = call.to_vec();
            other[at] ^= 1 << (at % 8);
            says(&server, &other).await;
        }
        is_well(&mut client).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn frames_that_lie() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let preface = &CALLS[0][..24];
    let frame = |length: u32, of: u8, flags: u8, stream: u32, body: &[u8]| {
        let head = [
            &length.to_be_bytes()[1..],
            &[of, flags],
            &stream.to_be_bytes(),
        ]
        .concat();
        [&head[..], body].concat()
    };
    let settings = frame(0, 4, 0, 0, b"");
    // Headers that go on and on, each of which begins a call that is broken off, and rests of others.
    let continued = [
        frame(1, 1, 0, 1, b"\x82"),
        frame(1, 9, 0, 1, b"\x82").repeat(100_000),
    ]
    .concat();
    let reset: Vec<u8> = (0..20_000u32)
        .flat_map(|n| {
            let stream = 2 * n + 1;
            [
                frame(3, 1, 4, stream, b"\x83\x86\x84"),
                frame(4, 3, 0, stream, &[0, 0, 0, 8]),
            ]
            .concat()
        })
        .collect();
    for frames in [
        frame(0xff_ffff, 0, 0, 1, &[0; 100]),
        frame(5, 4, 0, 0, &[0; 5]),
        frame(6, 4, 0, 0, b"\0\x04\xff\xff\xff\xff"),
        frame(8, 6, 0, 0, &[0; 8]).repeat(50_000),
        frame(0, 4, 0, 0, b"").repeat(50_000),
        frame(4, 8, 0, 0, &[0; 4]),
        frame(4, 8, 0, 0, b"\x7f\xff\xff\xff").repeat(3),
        frame(4, 1, 5, 1, b"\xff\xff\xff\xff"),
        // A table of headers that is a bomb.
        frame(6, 1, 5, 1, b"\x3f\xe1\xff\xff\xff\x7f"),
        continued,
        reset,
    ] {
        says(&server, &[preface, &settings, &frames].concat()).await;
        is_well(&mut client).await;
    }
}

#[tokio::test]
async fn who_says_nonsense_of_himself_is_not_let_in() {
    let server = Server::start().await;
    server
        .define("CREATE USER ana PASSWORD 'geheim' SUPERUSER")
        .await;
    let long = "a".repeat(30_000);
    let (bearer, basic) = (format!("Bearer {long}"), format!("Basic {long}"));
    for said in [
        "x",
        "Basic ?",
        "Basic YW5h",
        "Basic /////w==",
        "Basic OmdlaGVpbQ==",
        "Bearer null",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.",
        &bearer,
        &basic,
    ] {
        let mut client = server.client().await;
        client.set_header("authorization", said);
        let refused = client.execute("SELECT 1".into(), None).await;
        let refused = refused.map_err(status).unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        assert!(refused.message().len() < 300);
    }
    let mut client: Client = FlightSqlServiceClient::new(server.channel().await);
    client.handshake("ana", "geheim").await.unwrap();
    is_well(&mut client).await;
}
