//! Requests that are cut off, that two servers could read in two ways, and headers that are none.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::Server;

const LIMIT: Duration = Duration::from_secs(20);

/// What is said to a client that says this, and then no more.
async fn told(server: &Server, says: &[u8]) -> String {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    // It may close before all is written.
    let _ = tcp.write_all(says).await;
    let _ = tcp.shutdown().await;
    let mut told = Vec::new();
    let ended = tokio::time::timeout(LIMIT, tcp.read_to_end(&mut told)).await;
    assert!(ended.is_ok(), "{}", String::from_utf8_lossy(says));
    String::from_utf8_lossy(&told).into_owned()
}

fn statuses(told: &str) -> Vec<&str> {
    let lines = told.lines().filter_map(|line| {
        let at = line.find("HTTP/1.")?;
        line[at..].split(' ').nth(1)
    });
    lines.collect()
}

async fn is_well(server: &Server) {
    assert_eq!(server.get("/v1/views/kept_orders/7").await.status, 200);
}

#[tokio::test]
async fn a_request_may_be_cut_off_anywhere() {
    let server = Server::start().await;
    let body = "{\"sql\": \"SELECT $1 + 1\", \"parameters\": [41]}";
    let whole = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         belvedere-statement-timeout: 10s\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for length in 0..whole.len() {
        let told = told(&server, &whole.as_bytes()[..length]).await;
        assert!(!told.contains("200 OK"), "{length}: {told}");
    }
    is_well(&server).await;
    // HTTP/2, to the first answer.
    let h2 = include_bytes!("../../fuzz/corpus/http/h2");
    for length in 0..h2.len() {
        told(&server, &h2[..length]).await;
    }
    is_well(&server).await;
    server.stop().await;
}

/// Where what is in front and this server do not agree where a request ends, one client's request is another's.
#[tokio::test]
async fn a_request_ends_in_one_place() {
    let server = Server::start().await;
    let hidden = "GET /v1/views/kept_orders/7 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for headers in [
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 4, 5",
        "content-length: 4\r\ncontent-length: -1",
        "content-length: +4",
        "content-length: 0x4",
        "content-length: 99999999999999999999999",
        "content-length: 4 4",
        "content-length : 4",
        " content-length: 4",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: gzip, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding:\u{b}chunked",
        "transfer-encoding : chunked",
    ] {
        let says = format!(
            "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\r\n\r\n0\r\n\r\n{hidden}"
        );
        let told = told(&server, says.as_bytes()).await;
        let statuses = statuses(&told);
        assert_eq!(statuses.len(), 1, "{headers}: {told}");
        assert!(
            matches!(statuses[0], "400" | "413" | "411"),
            "{headers}: {told}"
        );
    }
    // With both, the chunks are what counts (RFC 9112, 6.3); after such a request the connection ends.
    let both = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
    );
    let told = told(&server, both.as_bytes()).await;
    let all = statuses(&told);
    assert!(all.first() == Some(&"400") && all.len() <= 2, "{told}");
    for chunk in ["ffffffffffffffff", "-1", "0x1", "1;\u{0}", "zz"] {
        let says = format!(
            "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{chunk}\r\n{hidden}"
        );
        let told = self::told(&server, says.as_bytes()).await;
        assert!(!told.contains("200 OK"), "{chunk}: {told}");
    }
    is_well(&server).await;
}

#[tokio::test]
async fn headers_are_few_and_short() {
    let server = Server::start().await;
    let ask = async |headers: &[u8]| {
        let head = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        told(&server, &[&head[..], headers, b"\r\n"].concat()).await
    };
    let many = "x: y\r\n".repeat(10_000);
    assert!(ask(many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let long = format!("{}: y\r\n", "x".repeat(100_000));
    let told = ask(long.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 4"), "{told}");
    for odd in [
        &b"x\0: y\r\n"[..],
        b"x: \0\r\n",
        b": y\r\n",
        b"x: a\r\n b\r\n",
        b"x y: z\r\n",
        b"x\r\n",
    ] {
        let told = ask(odd).await;
        assert!(told.starts_with("HTTP/1.1 400"), "{odd:?}: {told}");
    }
    is_well(&server).await;
}

#[tokio::test]
async fn who_says_nonsense_of_himself_is_not_let_in() {
    let server = Server::start().await;
    let session = server.engine.session();
    let define = session.execute("CREATE USER ana PASSWORD 'geheim' SUPERUSER");
    define.await.unwrap();
    let long = "a".repeat(50_000);
    let user = format!("Basic {}", "YWFh".repeat(12_000));
    let (bearer, basic) = (format!("Bearer {long}"), format!("Basic {long}"));
    for said in [
        "",
        "Basic",
        "Basic ",
        "Basic ?",
        "Basic ====",
        "Basic YW5h",
        "Basic /////w==",
        "Basic gGFuYTp4",
        "Basic YW5hOmdlaGVpbQ==x",
        "Basic YW5h OmdlaGVpbQ==",
        "Basic OmdlaGVpbQ==",
        "Bearer",
        "Bearer ",
        "Bearer null",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.",
        "Negotiate YII=",
        "ana:geheim",
        &bearer,
        &basic,
        &user,
    ] {
        let said_of = [("authorization", said)];
        let answer = server.get_with("/v1/views/kept_orders/7", &said_of).await;
        let (status, _, detail) = answer.problem();
        assert_eq!(status, 401, "{}: {detail}", &said[..said.len().min(40)]);
        assert!(detail.len() < 300, "{detail}");
    }
    // Bytes that are no text; and two headers, of which the second would do.
    for said in [
        &b"authorization: Basic \xff\xfe\r\n"[..],
        b"authorization: Bearer x\r\nauthorization: Basic YW5hOmdlaGVpbQ==\r\n",
    ] {
        let head =
            b"GET /v1/views/kept_orders/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let told = told(&server, &[&head[..], said, b"\r\n"].concat()).await;
        assert!(told.starts_with("HTTP/1.1 401"), "{told}");
    }
    let right = [("authorization", "Basic YW5hOmdlaGVpbQ==")];
    let answer = server.get_with("/v1/views/kept_orders/7", &right).await;
    assert_eq!(answer.status, 200);
}
