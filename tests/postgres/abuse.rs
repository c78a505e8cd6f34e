//! What no client should send: it is told so, and nobody else notices.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::{Raw, Server, rows};

#[tokio::test]
async fn messages_that_are_not_what_they_say_are_refused() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let mut refused = async |of: u8, body: &[u8], sqlstate: &str| {
        raw.send(of, body).await;
        raw.send(b'S', b"").await;
        let (types, error) = raw.until(b'Z').await;
        assert_eq!(
            error.as_deref(),
            Some(sqlstate),
            "{} {body:?}: {types}",
            char::from(of)
        );
    };
    // Too short, too long, of no type.
    refused(b'P', b"\0SELECT 1\0\0\x05", "08P01").await;
    refused(b'B', b"\0\0\0\x01\0\x09\0\0\0\0", "08P01").await;
    refused(b'B', b"nothing\0nothing\0\0\0\0\0\0\0", "26000").await;
    refused(b'E', b"nothing\0\0\0\0\0", "34000").await;
    refused(b'D', b"Snothing\0", "26000").await;
    refused(b'P', b"\0SELECT '\xff'\0\0\0", "22021").await;
    refused(b'P', b"\0SELECT 1; SELECT 2\0\0\0", "42601").await;
    refused(b'P', b"\0SELECT $1\0\0\x01\0\0\xff\xff", "42704").await;

    // Values that are none of their type.
    raw.send(b'P', b"p\0SELECT id FROM mem.t WHERE id = $1\0\0\0")
        .await;
    for (value, format, sqlstate) in [
        (&b"\0\0\x01"[..], 1u8, "22P03"),
        (b"one", 0, "22P02"),
        (b"\xff\xfe", 0, "22021"),
    ] {
        let mut bind = b"\0p\0\0\x01\0".to_vec();
        bind.push(format);
        bind.extend(b"\0\x01\0\0\0");
        bind.push(value.len() as u8);
        bind.extend(value);
        bind.extend(b"\0\0");
        raw.send(b'B', &bind).await;
        raw.send(b'S', b"").await;
        assert_eq!(
            raw.until(b'Z').await.1.as_deref(),
            Some(sqlstate),
            "{value:?}"
        );
    }
    raw.send(b'B', b"\0p\0\0\0\0\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(raw.until(b'Z').await.1.as_deref(), Some("08P01"));

    // The connection is as good as new.
    raw.send(b'Q', b"SELECT 1\0").await;
    assert_eq!(raw.until(b'Z').await, ("TDCZ".to_string(), None));
}

#[tokio::test]
async fn after_an_error_nothing_is_done_up_to_the_next_sync() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(b'P', b"\0SELEKT\0\0\0").await;
    raw.send(b'P', b"\0CREATE VIEW v AS SELECT 1 AS a\0\0\0")
        .await;
    raw.send(b'B', b"\0\0\0\0\0\0\0\0").await;
    raw.send(b'E', b"\0\0\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(
        raw.until(b'Z').await,
        ("EZ".to_string(), Some("42601".to_string()))
    );
    raw.send(b'Q', b"SELECT * FROM v\0").await;
    assert_eq!(raw.until(b'Z').await.1.as_deref(), Some("42P01"));
}

#[tokio::test]
async fn a_connection_that_is_none_ends() {
    let server = Server::start().await;
    let client = server.client().await;
    // A length that no message has.
    let mut raw = server.raw().await;
    raw.0.write_all(b"Q\x7f\xff\xff\xff").await.unwrap();
    let (_, error) = raw.until(0).await;
    assert_eq!(error.as_deref(), Some("08P01"));
    // Another protocol.
    let mut http = Raw(TcpStream::connect(server.address).await.unwrap());
    http.0.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(http.next().await, None);
    let mut old = Raw(TcpStream::connect(server.address).await.unwrap());
    old.0.write_all(b"\0\0\0\x08\0\x02\0\0").await.unwrap();
    assert_eq!(old.until(0).await.1.as_deref(), Some("0A000"));
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

/// Its statement ends, though it would go on for long.
#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let server = Server::start().await;
    let watcher = server.client().await;
    let long = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000) b";
    let mut raw = server.raw().await;
    raw.send(b'Q', format!("{long}\0").as_bytes()).await;
    let running = "SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%100000000%' \
                   AND sql NOT LIKE '%system%'";
    let wait = async |wanted: &str| {
        while rows(&watcher, running).await != [wanted] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait("1"))
        .await
        .unwrap();
    drop(raw);
    tokio::time::timeout(Duration::from_secs(60), wait("0"))
        .await
        .unwrap();
}

#[tokio::test]
async fn statements_and_cursors_are_counted() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for n in 0..10_000 {
        raw.send(b'P', format!("s{n}\0\0\0\0").as_bytes()).await;
    }
    raw.send(b'P', b"one more\0\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(raw.until(b'Z').await.1.as_deref(), Some("54000"));
}
