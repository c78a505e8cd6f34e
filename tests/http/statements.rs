use std::io::Cursor;
use std::time::Duration;

use datafusion::arrow::ipc::reader::StreamReader;
use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Server, said};

const ARROW: (&str, &str) = ("accept", "application/vnd.apache.arrow.stream");
const LINES: (&str, &str) = ("accept", "application/x-ndjson");

#[tokio::test]
async fn a_statement_is_answered_in_every_format() {
    let server = Server::start().await;
    let ask = json!({"sql": "SELECT id, sku FROM shop.orders WHERE id <= $1 ORDER BY id", "parameters": [2]});
    let rows = server.post("/v1/sql", &ask).await.ok();
    assert_eq!(
        rows,
        json!({
            "columns": [{"name": "id", "type": "bigint"}, {"name": "sku", "type": "text"}],
            "rows": [[1, "S-1"], [2, "S-2"]],
        })
    );
    let lines = server.post_with("/v1/sql", &[LINES], &ask).await;
    assert_eq!(
        lines.text(),
        "{\"id\":1,\"sku\":\"S-1\"}\n{\"id\":2,\"sku\":\"S-2\"}\n"
    );
    let arrow = server.post_with("/v1/sql", &[ARROW], &ask).await;
    let reader = StreamReader::try_new(Cursor::new(&arrow.body), None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 2);
    let empty = server
        .sql("SELECT id FROM shop.orders WHERE id < 0")
        .await
        .ok();
    assert_eq!(empty["rows"], json!([]));
}

#[tokio::test]
async fn every_type_is_told_and_taken() {
    let server = Server::start().await;
    let sql = "SELECT true AS a, CAST(1 AS SMALLINT) AS b, 9007199254740993 AS c, CAST(0.1 AS REAL) AS d, CAST('NaN' AS DOUBLE PRECISION) AS e,
        CAST(1.50 AS DECIMAL(10, 3)) AS f, 'é\"\n' AS g, decode('00ff', 'hex') AS h, DATE '2024-02-29' AS i, TIME '01:02:03.5' AS j,
        TIMESTAMP '2024-02-29 01:02:03' AS k, TIMESTAMPTZ '2024-02-29 01:02:03+01' AS l, INTERVAL '1 day 2 seconds' AS m,
        [1, NULL] AS n, named_struct('x', 1, 'y', 'z') AS o, CAST(NULL AS INT) AS p";
    let rows = server.sql(sql).await.ok();
    assert_eq!(
        rows["rows"][0],
        json!([
            true, 1, "9007199254740993", 0.1, "NaN", "1.500", "é\"\n", "AP8=", "2024-02-29", "01:02:03.500", "2024-02-29T01:02:03",
            "2024-02-29T00:02:03Z", "P1DT2S", [1, null], {"x": 1, "y": "z"}, null
        ])
    );
    for (of, value, told) in [
        ("BOOLEAN", json!("true"), json!(true)),
        ("BOOLEAN", json!(false), json!(false)),
        ("SMALLINT", json!("7"), json!(7)),
        (
            "BIGINT",
            json!("9007199254740993"),
            json!("9007199254740993"),
        ),
        (
            "BIGINT",
            json!(9_007_199_254_740_993i64),
            json!("9007199254740993"),
        ),
        ("DOUBLE PRECISION", json!(1), json!(1.0)),
        ("DOUBLE PRECISION", json!("-Infinity"), json!("-Infinity")),
        ("DECIMAL(10, 2)", json!("1.25"), json!("1.25")),
        ("DECIMAL(10, 2)", json!(1.25), json!("1.25")),
        ("TEXT", json!("ü"), json!("ü")),
        ("BYTEA", json!("AP8="), json!("AP8=")),
        ("DATE", json!("2024-02-29"), json!("2024-02-29")),
        ("TIME", json!("01:02:03"), json!("01:02:03")),
        (
            "TIMESTAMP",
            json!("2024-02-29T01:02:03.25"),
            json!("2024-02-29T01:02:03.250"),
        ),
        (
            "TIMESTAMPTZ",
            json!("2024-02-29T01:02:03+01:00"),
            json!("2024-02-29T00:02:03Z"),
        ),
        ("INTERVAL", json!("P1DT2S"), json!("P1DT2S")),
        ("BIGINT[]", json!([1, null, 3]), json!([1, null, 3])),
        ("BIGINT", Value::Null, Value::Null),
    ] {
        let ask = json!({"sql": format!("SELECT CAST($1 AS {of}) AS v"), "parameters": [value]});
        let said = server.post("/v1/sql", &ask).await;
        assert_eq!(said.ok()["rows"][0][0], told, "{of} {value}");
    }
    // Of no type that the statement tells.
    let ask = json!({"sql": "SELECT $1, $2, $3, $4", "parameters": [1, "a", 1.5, true]});
    assert_eq!(
        server.post("/v1/sql", &ask).await.ok()["rows"][0],
        json!([1, "a", 1.5, true])
    );
    for (of, value) in [
        ("DATE", json!("2024-02-30")),
        ("DATE", json!(7)),
        ("BIGINT", json!("x")),
        ("BIGINT", json!(true)),
        ("BIGINT", json!({"a": 1})),
        ("BYTEA", json!("?")),
    ] {
        let ask = json!({"sql": format!("SELECT CAST($1 AS {of})"), "parameters": [value]});
        let (status, _, detail) = server.post("/v1/sql", &ask).await.problem();
        assert!(
            status == 400 && detail.contains("parameter $1"),
            "{of}: {detail}"
        );
    }
    let ask = json!({"sql": "SELECT $1 + 1", "parameters": []});
    assert_eq!(server.post("/v1/sql", &ask).await.problem().0, 400);
    server.stop().await;
}

#[tokio::test]
async fn what_is_done_is_said() {
    let server = Server::start().await;
    assert_eq!(
        server.sql("CREATE VIEW v AS SELECT 1 AS a").await.ok(),
        json!({"status": "CREATE VIEW"})
    );
    assert_eq!(
        server.get("/v1/views/v").await.ok()["rows"],
        json!([{"a": 1}])
    );
    assert_eq!(server.sql("SHOW VIEWS").await.status, 200);
    assert_eq!(server.sql("EXPLAIN SELECT * FROM v").await.status, 200);
    assert_eq!(
        server.sql("DROP VIEW v").await.ok(),
        json!({"status": "DROP VIEW"})
    );
    for sql in [
        "BEGIN",
        "COMMIT",
        "SET timezone = 'UTC'",
        "RESET ALL",
        "DECLARE c CURSOR FOR SELECT 1",
        "SUBSCRIBE TO kept_orders",
    ] {
        let said = server.sql(sql).await;
        assert!(
            (400..500).contains(&said.problem().0),
            "{sql}: {}",
            said.text()
        );
        assert!(said.json()["help"].is_string(), "{sql}");
    }
    let relative = server
        .sql("CREATE SOURCE r FROM 'sqlite:r.db'")
        .await
        .problem();
    assert!(
        relative.0 == 400 && relative.2.contains("relative"),
        "{relative:?}"
    );
}

#[tokio::test]
async fn settings_are_of_one_request() {
    let server = Server::start().await;
    let zone = "SELECT CAST(TIMESTAMP '2024-07-01 00:00:00' AS TIMESTAMPTZ) AS t";
    let with = json!({"sql": zone, "settings": {"timezone": "Europe/Berlin"}});
    assert_eq!(
        server.post("/v1/sql", &with).await.ok()["rows"][0][0],
        "2024-06-30T22:00:00Z"
    );
    assert_eq!(
        server.sql(zone).await.ok()["rows"][0][0],
        "2024-07-01T00:00:00Z"
    );
    let header = [("belvedere-timezone", "Europe/Berlin")];
    let said = server
        .post_with("/v1/sql", &header, &json!({"sql": zone}))
        .await;
    assert_eq!(said.ok()["rows"][0][0], "2024-06-30T22:00:00Z");
    let said = server
        .get_with(
            "/v1/views/kept_orders/7",
            &[("belvedere-search-path", "nowhere")],
        )
        .await;
    assert_eq!(said.problem().0, 404);
    let said = server
        .get_with("/v1/views/kept_orders/7", &[("belvedere-no-such", "1")])
        .await;
    let (status, _, detail) = said.problem();
    assert!(
        status == 400 && detail.starts_with("header belvedere-no-such: "),
        "{status} {detail}"
    );
    let slow = json!({
        "sql": "SELECT count(*) FROM generate_series(1, 3000) a, generate_series(1, 3000) b, generate_series(1, 3000) c WHERE a.value * b.value % 7 = c.value",
        "settings": {"statement_timeout": "300ms"},
    });
    let (status, code, _) = server.post("/v1/sql", &slow).await.problem();
    assert_eq!((status, code.as_str()), (504, "timeout"));
}

#[tokio::test]
async fn errors_say_what_is_wrong_and_where() {
    let server = Server::start().await;
    let said = server.sql("SELECT 1 FORM x").await;
    let problem = said.json();
    assert_eq!(said.status, 400);
    assert_eq!(
        (problem["code"].as_str(), problem["sqlstate"].as_str()),
        (Some("parse"), Some("42601"))
    );
    assert_eq!(problem["position"]["line"], 1);
    let said = server.sql("SELECT * FROM kept_order").await;
    assert_eq!(
        (said.problem().0, said.json()["sqlstate"].as_str()),
        (404, Some("42P01"))
    );
    assert_eq!(said.json()["help"], "Did you mean kept_orders?");
    let (status, code, _) = server
        .sql("SELECT 1 / (id - id) FROM shop.orders")
        .await
        .problem();
    assert_eq!((status, code.as_str()), (400, "data"));
    assert_eq!(
        server
            .sql("CREATE VIEW kept_orders AS SELECT 1 AS a")
            .await
            .problem()
            .0,
        409
    );
    assert_eq!(server.sql("CREATE SINK x").await.problem().0, 501);
}

/// An error after rows were sent is a body that breaks off.
#[tokio::test]
async fn an_answer_that_fails_half_way_is_told_from_one_that_ends() {
    let server = Server::start().await;
    let sql = "SELECT value, 10 / (500000 - value) AS q FROM generate_series(1, 600000)";
    for format in [("accept", "application/json"), LINES, ARROW] {
        let headers = [("content-type", "application/json"), format];
        let body = json!({ "sql": sql }).to_string().into_bytes();
        let response = server.send(Method::POST, "/v1/sql", &headers, body).await;
        assert_eq!(response.status(), 200);
        let mut pieces = response.bytes_stream();
        let (mut bytes, mut broke) = (0, false);
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => bytes += piece.len(),
                Err(_) => broke = true,
            }
        }
        assert!(broke && bytes > 1000, "{format:?}: {bytes}");
    }
    // And it is streamed: more than would be kept.
    let many =
        json!({"sql": "SELECT value, repeat('x', 100) AS x FROM generate_series(1, 300000)"});
    let lines = server.post_with("/v1/sql", &[LINES], &many).await;
    assert_eq!(lines.text().lines().count(), 300_000);
    let rows = server.post("/v1/sql", &many).await.ok();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 300_000);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_statement() {
    let server = Server::start().await;
    let sql = "SELECT value, repeat('x', 1000) AS x FROM generate_series(1, 1000000000)";
    let headers = [("content-type", "application/json"), LINES];
    let body = json!({ "sql": sql }).to_string().into_bytes();
    let mut response = server.send(Method::POST, "/v1/sql", &headers, body).await;
    response.chunk().await.unwrap().unwrap();
    drop(response);
    let state = "SELECT state FROM system.queries WHERE sql LIKE '%1000000000%' AND sql NOT LIKE '%system%'";
    for _ in 0..500 {
        if server.sql(state).await.ok()["rows"][0][0] == "cancelled" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it still runs");
}

#[tokio::test]
async fn subscriptions_are_lines() {
    let server = Server::start().await;
    let headers = [("content-type", "application/json"), LINES];
    let body = json!({"sql": "SUBSCRIBE TO kept_parts"})
        .to_string()
        .into_bytes();
    let mut response = server.send(Method::POST, "/v1/sql", &headers, body).await;
    assert_eq!(response.status(), 200);
    let mut text = String::new();
    while text.lines().count() < 300 {
        let chunk = response.chunk().await.unwrap().unwrap();
        text += std::str::from_utf8(&chunk).unwrap();
    }
    server
        .shop()
        .execute_batch("UPDATE parts SET free = -5 WHERE sku = 'P,2' AND site = 's/3'")
        .unwrap();
    while !text.contains("-5") {
        let chunk = response.chunk().await.unwrap().unwrap();
        text += std::str::from_utf8(&chunk).unwrap();
    }
    // It does not hold up the end of the server.
    tokio::time::timeout(Duration::from_secs(5), server.stop())
        .await
        .expect("it ends");
    assert!(
        tokio::time::timeout(Duration::from_secs(5), said_all(response))
            .await
            .is_ok(),
        "it breaks off"
    );
}

async fn said_all(response: reqwest::Response) {
    let mut pieces = response.bytes_stream();
    while let Some(Ok(_)) = pieces.next().await {}
}

#[tokio::test]
async fn http_2_is_spoken_without_being_asked() {
    let server = Server::start().await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let response = client
        .get(server.url("/v1/views/kept_orders/7"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(said(response).await.ok()["id"], 7);
}

#[tokio::test]
async fn a_write_answers_with_what_is_read_after() {
    let server = Server::start().await;
    server
        .sql("ALTER SOURCE shop SET (writable = true)")
        .await
        .ok();
    for n in 1..=10 {
        let ask = json!({"sql": "INSERT INTO shop.parts (sku, site, free) VALUES ($1, 'w', $2)", "parameters": [format!("W{n}"), n]});
        let wrote = server.post("/v1/sql", &ask).await;
        assert_eq!(wrote.ok(), json!({"status": "INSERT 0 1", "rows": 1}));
        let token = wrote.header("belvedere-last-write").to_string();
        assert!(token.starts_with("shop="), "{token}");
        let after = ("belvedere-read-after", token.as_str());
        let ask = json!({"sql": "SELECT count(*) AS n FROM kept_parts WHERE site = 'w'"});
        let read = server.post_with("/v1/sql", &[after], &ask).await.ok();
        assert_eq!(read["rows"], json!([[n]]));
    }
    let malformed = ("belvedere-read-after", "shop");
    let ask = json!({"sql": "SELECT 1"});
    let (status, ..) = server
        .post_with("/v1/sql", &[malformed], &ask)
        .await
        .problem();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let server = Server::start().await;
    let headers = [("content-type", "application/json")];
    for (cast, number, is) in [
        (
            "numeric(38, 10)",
            "12345678901234567.1234567891",
            "12345678901234567.1234567891",
        ),
        (
            "numeric(38, 0)",
            "12345678901234567890123",
            "12345678901234567890123",
        ),
        ("numeric(10, 2)", "1.5e3", "1500.00"),
    ] {
        let body = format!(r#"{{"sql": "SELECT $1::{cast} AS n", "parameters": [{number}]}}"#);
        let answer = server.send(Method::POST, "/v1/sql", &headers, body.into_bytes());
        let rows = said(answer.await).await.ok()["rows"].clone();
        assert_eq!(rows, json!([[is]]), "{number}");
    }
    // An array is no body, however well its items fit.
    let body = br#"["SELECT 1"]"#.to_vec();
    let answer = server.send(Method::POST, "/v1/sql", &headers, body);
    assert_eq!(said(answer.await).await.status, 400);
    // What is none of a key's values is refused, as it is in a URL.
    let keys = json!({ "keys": [7, 1.5] });
    let (status, _, detail) = server.post("/v1/views/kept_orders", &keys).await.problem();
    assert_eq!(
        (status, detail.as_str()),
        (400, "keys[1]: the value of column id is no bigint")
    );
    assert_eq!(server.get("/v1/views/kept_orders/1.5").await.status, 400);
}
