use std::time::Duration;

use belvedere::serve::ServeOptions;
use belvedere::serve::http::HttpServer;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Server, encoded, root, said};

#[tokio::test]
async fn bodies_that_are_not_what_they_say() {
    let server = Server::start().await;
    let send = async |path: &str, media_type: &str, body: &str| {
        let headers = [("content-type", media_type)];
        let body = body.as_bytes().to_vec();
        said(server.send(Method::POST, path, &headers, body).await).await
    };
    for path in ["/v1/sql", "/v1/views/kept_orders"] {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "{\"x\": 1}",
            "{\"sql\": 7}",
            "{\"keys\": 7}",
            "\u{0}",
            "{\"sql\": \"SELECT 1\", \"x\": 1}",
        ] {
            let said = send(path, "application/json", body).await;
            let (status, code, detail) = said.problem();
            assert_eq!((status, code.as_str()), (400, "request"), "{path} {body}");
            assert!(said.json()["position"]["line"].is_u64(), "{detail}");
        }
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "",
        ] {
            assert_eq!(
                send(path, media_type, "{}").await.problem().0,
                415,
                "{media_type}"
            );
        }
        let deep = format!(
            "{{\"keys\": {}1{}}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert_eq!(
            send(path, "application/json; charset=utf-8", &deep)
                .await
                .problem()
                .0,
            400
        );
    }
    // Longer than may be: as it says itself, and as it turns out to be.
    let long = server
        .raw(b"POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n{")
        .await;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(b"POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let (mut read, mut write) = tcp.into_split();
    let writing = tokio::spawn(async move {
        let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
        for _ in 0..64 {
            if write.write_all(&chunk).await.is_err() {
                break;
            }
        }
    });
    let mut status = [0; 12];
    read.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    drop(read);
    writing.await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn names_and_values_are_no_sql() {
    let server = Server::start().await;
    let attacks = [
        "orders; DROP VIEW kept_orders",
        "orders\" WHERE 1=1 --",
        "orders' OR '1'='1",
        "(SELECT 1)",
        "orders/*",
        "\u{0}",
        "a\nb",
        "\"; --",
        "../../etc/passwd",
        "{{7*7}}",
        "%00",
        "' UNION SELECT 1,2,3,4 --",
    ];
    for attack in attacks {
        let attack_encoded = encoded(attack);
        for path in [
            format!("/v1/views/{attack_encoded}"),
            format!("/v1/views/shop.{attack_encoded}/1"),
            format!("/v1/views/kept_orders/{attack_encoded}"),
            format!("/v1/views/kept_orders?select={attack_encoded}"),
            format!("/v1/views/shop.orders?{attack_encoded}=1"),
            format!("/v1/views/shop.orders?after={attack_encoded}"),
            format!("/v1/views/shop.orders?limit={attack_encoded}"),
        ] {
            let said = server.get(&path).await;
            let (status, _, detail) = said.problem();
            assert!(matches!(status, 400 | 404), "{path}: {status} {detail}");
        }
        let found = server
            .get(&format!("/v1/views/shop.orders?sku={attack_encoded}"))
            .await
            .ok();
        assert_eq!(found["rows"], json!([]), "{attack}");
        let keys = json!({"keys": [attack], "select": ["name"]});
        let found = server.post("/v1/views/shop.names", &keys).await.ok();
        assert_eq!(found["rows"], json!([null]), "{attack}");
        let select = json!({"keys": ["a/b"], "select": [attack]});
        assert_eq!(
            server
                .post("/v1/views/shop.names", &select)
                .await
                .problem()
                .0,
            400
        );
    }
    assert_eq!(server.get("/v1/views/kept_orders/1").await.status, 200);
}

#[tokio::test]
async fn requests_that_are_none() {
    let server = Server::start().await;
    for (bytes, status) in [
        (b"nonsense\r\n\r\n12345678".to_vec(), "HTTP/1.1 400"),
        (
            b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n".to_vec(),
            "HTTP/1.1 ",
        ),
        (
            [
                b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: ".as_slice(),
                &vec![b'a'; 200_000],
                b"\r\n\r\n",
            ]
            .concat(),
            "HTTP/1.1 431",
        ),
        (
            [
                b"GET /".as_slice(),
                &vec![b'a'; 200_000],
                b" HTTP/1.1\r\n\r\n",
            ]
            .concat(),
            "HTTP/1.1 4",
        ),
        (b"GET /health HTTP/1.0\r\n\r\n".to_vec(), "HTTP/1.0 200"),
        (
            b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(),
            "HTTP/1.1 200",
        ),
        // A page of a browser that has its own name mean this machine.
        (
            b"GET /health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_vec(),
            "HTTP/1.1 421",
        ),
        (
            b"GET /health HTTP/1.1\r\nhost: localhost.evil.example:80\r\nconnection: close\r\n\r\n"
                .to_vec(),
            "HTTP/1.1 421",
        ),
    ] {
        let said = server.raw(&bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(said.starts_with(status), "{shown}: {said}");
    }
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn many_idle_connections_keep_nobody_out() {
    let server = Server::with(ServeOptions {
        max_connections: 64,
        ..ServeOptions::default()
    })
    .await;
    let mut idle = Vec::new();
    for n in 0..2000 {
        if let Ok(mut tcp) = TcpStream::connect(server.address).await {
            if n % 2 == 0 {
                let _ = tcp.write_all(b"GET /health HT").await;
            }
            idle.push(tcp);
        }
        if n % 200 == 0 {
            assert_eq!(server.get("/v1/views/kept_orders/7").await.status, 200);
        }
    }
    assert_eq!(server.get("/v1/views/kept_orders/7").await.status, 200);
    drop(idle);
    server.stop().await;
}

/// One that reads nothing holds no more than what is on its way, and nobody up.
#[tokio::test]
async fn a_client_that_does_not_read_waits_alone() {
    let server = Server::start().await;
    let body =
        json!({"sql": "SELECT value, repeat('x', 10000) AS x FROM generate_series(1, 100000000)"})
            .to_string();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut some = [0; 100];
    slow.read_exact(&mut some).await.unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rows =
        "SELECT rows FROM system.queries WHERE sql LIKE '%100000000%' AND sql NOT LIKE '%system%'";
    let taken = async || server.sql(rows).await.ok()["rows"][0][0].as_i64().unwrap();
    let first = taken().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(taken().await, first, "it goes on though nobody reads");
    assert_eq!(server.get("/v1/views/kept_orders/7").await.status, 200);
}

#[tokio::test]
async fn an_address_off_loopback_is_refused() {
    let server = Server::start().await;
    let bind = async |options| {
        let bound =
            HttpServer::bind(server.engine.clone(), "0.0.0.0:0".parse().unwrap(), options).await;
        bound.map(|_| ()).map_err(|e| e.to_string())
    };
    let refused = bind(ServeOptions::default()).await.unwrap_err();
    assert!(refused.contains("--insecure"), "{refused}");
    let insecure = ServeOptions {
        insecure: true,
        ..ServeOptions::default()
    };
    bind(insecure).await.unwrap();
}

#[tokio::test]
async fn connections_are_encrypted_where_there_is_a_certificate() {
    if std::process::Command::new("curl")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("not shown: there is no curl");
        return;
    }
    let server = Server::start().await;
    let files = root().join("tests/flight/tls");
    let options = ServeOptions {
        tls: Some((files.join("server.pem"), files.join("server.key"))),
        ..ServeOptions::default()
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let bound = HttpServer::bind(server.engine.clone(), any, options)
        .await
        .unwrap();
    let url = format!("{}/v1/views/kept_orders/7?select=id", bound.url());
    assert!(url.starts_with("https://"), "{url}");
    tokio::spawn(bound.run(std::future::pending()));
    let authority = files.join("ca.pem").display().to_string();
    let curl = async |arguments: Vec<String>| {
        let mut curl = std::process::Command::new("curl");
        curl.arg("-s").args(arguments);
        let run = tokio::task::spawn_blocking(move || curl.output());
        let output = run.await.unwrap().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    };
    for version in ["--http1.1", "--http2"] {
        let arguments = [version, "--cacert", &authority, &url].map(str::to_string);
        assert_eq!(
            curl(arguments.to_vec()).await.as_deref(),
            Some("{\"id\":7}\n"),
            "{version}"
        );
    }
    // An authority that is not known, and no TLS at all.
    assert_eq!(curl(vec![url.clone()]).await, None);
    assert_eq!(curl(vec![url.replace("https", "http")]).await, None);
}

#[tokio::test]
async fn many_at_once_are_all_answered() {
    let server = Server::start().await;
    let asked = (0..200).map(|n| {
        let server = &server;
        async move {
            let id = n % 50 + 1;
            let view = if n % 2 == 0 {
                "kept_orders"
            } else {
                "shop.orders"
            };
            let row = server
                .get(&format!("/v1/views/{view}/{id}?select=id"))
                .await
                .ok();
            assert_eq!(row["id"], id);
        }
    });
    futures::future::join_all(asked).await;
    server.stop().await;
}

#[tokio::test]
async fn who_comes_when_all_are_at_work_is_told_so() {
    let server = Server::with(ServeOptions {
        max_connections: 2,
        ..ServeOptions::default()
    })
    .await;
    let sql = "SELECT value, repeat('x', 1000) AS x FROM generate_series(1, 1000000000)";
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/x-ndjson"),
    ];
    let body = || json!({ "sql": sql }).to_string().into_bytes();
    let mut working = Vec::new();
    for _ in 0..2 {
        let response = server.send(Method::POST, "/v1/sql", &headers, body());
        working.push(response.await);
    }
    let refused = server.get("/v1/views/kept_orders/7").await;
    let said = "there are too many connections, and all of them are at work";
    assert_eq!(
        refused.problem(),
        (503, "too_many_connections".into(), said.into())
    );
    assert_eq!(refused.header("retry-after"), "2");
    // Who watches over it sees that it is there.
    for path in ["/health", "/health/ready", "/metrics"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    let still = working.iter_mut().map(|response| response.chunk());
    for chunk in futures::future::join_all(still).await {
        assert!(chunk.unwrap().is_some());
    }
    drop(working);
    server.stop().await;
}
