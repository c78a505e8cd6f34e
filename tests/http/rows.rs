use std::io::Cursor;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::ipc::reader::StreamReader;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Server, encoded};

const ARROW: (&str, &str) = ("accept", "application/vnd.apache.arrow.stream");
const LINES: (&str, &str) = ("accept", "application/x-ndjson");

fn batches(body: &[u8]) -> Vec<RecordBatch> {
    let reader = StreamReader::try_new(Cursor::new(body), None).unwrap();
    reader.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_row_is_found_by_its_key() {
    let server = Server::start().await;
    for view in [
        "kept_orders",
        "public.kept_orders",
        "shop.orders",
        "shop.main.orders",
        "SHOP.Orders",
    ] {
        let row = server.get(&format!("/v1/views/{view}/7")).await.ok();
        assert_eq!(
            row,
            json!({"id": 7, "sku": "S-0", "qty": 7, "price": 3.5}),
            "{view}"
        );
        let some = server
            .get(&format!("/v1/views/{view}/7?select=qty,sku"))
            .await;
        assert_eq!(some.text(), "{\"qty\":7,\"sku\":\"S-0\"}\n", "{view}");
        let (status, code, _) = server
            .get(&format!("/v1/views/{view}/1001"))
            .await
            .problem();
        assert_eq!((status, code.as_str()), (404, "unknown_row"), "{view}");
        let (status, _, detail) = server.get(&format!("/v1/views/{view}/x")).await.problem();
        assert_eq!(
            (status, detail.as_str()),
            (400, "the value of column id is no bigint"),
            "{view}"
        );
    }
    // A key that is derived: of a table that is filtered, and of groups.
    let row = server.get("/v1/views/some_orders/7").await.ok();
    assert_eq!(row, json!({"number": 7, "sku": "S-0", "qty": 7}));
    assert_eq!(server.get("/v1/views/some_orders/1").await.status, 404);
    let row = server.get("/v1/views/by_sku/S-1").await.ok();
    assert_eq!(row["n"], 143);
    let said = server.get("/v1/views/without_key/7").await;
    assert_eq!(said.problem().0, 400);
    assert!(
        said.json()["help"]
            .as_str()
            .unwrap()
            .contains("?column=value"),
        "{}",
        said.text()
    );
}

#[tokio::test]
async fn keys_of_several_columns_and_of_any_text() {
    let server = Server::start().await;
    for view in ["kept_parts", "shop.parts"] {
        let row = server
            .get(&format!("/v1/views/{view}/P%2C2,s%2F3"))
            .await
            .ok();
        assert_eq!(row, json!({"sku": "P,2", "site": "s/3", "free": 17}));
        let (status, _, detail) = server
            .get(&format!("/v1/views/{view}/P%2C2"))
            .await
            .problem();
        assert_eq!(status, 400);
        assert!(detail.contains("is sku, site"), "{detail}");
    }
    let names: Vec<String> = {
        let shop = server.shop();
        let mut names = shop.prepare("SELECT name FROM names").unwrap();
        let names = names.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    assert_eq!(names.len(), 12);
    for view in ["kept_names", "shop.names"] {
        for name in &names {
            let row = server
                .get(&format!("/v1/views/{view}/{}", encoded(name)))
                .await
                .ok();
            assert_eq!(row["name"], name.as_str(), "{view}");
            let rows = server
                .get(&format!(
                    "/v1/views/{view}?name={}&select=name",
                    encoded(name)
                ))
                .await;
            assert_eq!(rows.ok()["rows"], json!([{"name": name}]), "{view}");
        }
    }
    assert_eq!(
        server
            .shop()
            .query_row("SELECT count(*) FROM names", [], |r| r.get::<_, i64>(0)),
        Ok(12)
    );
    server.stop().await;
}

#[tokio::test]
async fn rows_are_told_in_the_format_that_is_asked_for() {
    let server = Server::start().await;
    let path = "/v1/views/kept_orders/7";
    let arrow = server.get_with(path, &[ARROW]).await;
    assert_eq!(arrow.header("content-type"), ARROW.1);
    let rows = batches(&arrow.body);
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[7]);
    let line = server.get_with(path, &[LINES]).await;
    assert_eq!(line.header("content-type"), LINES.1);
    assert_eq!(line.text().lines().count(), 1);
    let page = server
        .get_with("/v1/views/shop.orders?limit=3", &[LINES])
        .await;
    assert_eq!(page.text().lines().count(), 3);
    assert_eq!(
        page.header("link"),
        "</v1/views/shop.orders?limit=3&after=3>; rel=\"next\""
    );
    let page = server
        .get_with("/v1/views/kept_orders?limit=3", &[ARROW])
        .await;
    assert_eq!(
        batches(&page.body)
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>(),
        3
    );
    let keys = json!({"keys": [3, 5000, 1], "select": ["id"]});
    let batch = server
        .post_with("/v1/views/kept_orders", &[ARROW], &keys)
        .await;
    let rows = &batches(&batch.body)[0];
    let ids = rows.column(0).as_primitive::<Int64Type>();
    assert_eq!((ids.value(0), ids.is_null(1), ids.value(2)), (3, true, 1));
    let batch = server
        .post_with("/v1/views/kept_orders", &[LINES], &keys)
        .await;
    assert_eq!(batch.text(), "{\"id\":3}\nnull\n{\"id\":1}\n");
    let (status, code, _) = server
        .get_with(path, &[("accept", "text/csv")])
        .await
        .problem();
    assert_eq!((status, code.as_str()), (406, "not_acceptable"));
}

#[tokio::test]
async fn a_batch_has_the_rows_of_its_keys_in_their_order() {
    let server = Server::start().await;
    for view in ["kept_orders", "shop.orders", "some_orders"] {
        let path = format!("/v1/views/{view}");
        let key = if view == "some_orders" {
            "number"
        } else {
            "id"
        };
        let keys: Vec<Value> = (0..3000).map(|n| json!((n * 7919) % 1100)).collect();
        let said = server
            .post(&path, &json!({"keys": keys, "select": [key, "qty"]}))
            .await
            .ok();
        let rows = said["rows"].as_array().unwrap();
        assert_eq!(rows.len(), keys.len());
        for (key_value, row) in keys.iter().zip(rows) {
            let id = key_value.as_i64().unwrap();
            let is_there = (1..=1000).contains(&id) && (view != "some_orders" || id % 13 > 5);
            let expected = match is_there {
                true => json!({key: id, "qty": id % 13}),
                false => Value::Null,
            };
            assert_eq!(*row, expected, "{view} {id}");
        }
        // Without the key among the columns; as text; NULL.
        let said = server
            .post(&path, &json!({"keys": ["7", null, 7], "select": ["sku"]}))
            .await
            .ok();
        assert_eq!(
            said["rows"],
            json!([{"sku": "S-0"}, null, {"sku": "S-0"}]),
            "{view}"
        );
        assert_eq!(
            server.post(&path, &json!({"keys": []})).await.ok()["rows"],
            json!([])
        );
    }
    for view in ["kept_parts", "shop.parts"] {
        let path = format!("/v1/views/{view}");
        let keys: Vec<Value> = (0..310)
            .map(|i| json!([format!("P,{}", i / 7), format!("s/{}", i % 7)]))
            .collect();
        let said = server
            .post(&path, &json!({"keys": keys, "select": ["free"]}))
            .await
            .ok();
        let rows = said["rows"].as_array().unwrap();
        for (i, row) in rows.iter().enumerate() {
            let expected = if i < 300 {
                json!({"free": i})
            } else {
                Value::Null
            };
            assert_eq!(*row, expected, "{view} {i}");
        }
        let named = json!({"keys": [{"site": "s/1", "sku": "P,0"}], "select": ["free"]});
        assert_eq!(
            server.post(&path, &named).await.ok()["rows"],
            json!([{"free": 1}])
        );
        for wrong in [
            json!(["P,0"]),
            json!("P,0"),
            json!({"sku": "P,0"}),
            json!({"sku": "P,0", "x": 1}),
        ] {
            assert_eq!(
                server
                    .post(&path, &json!({"keys": [wrong]}))
                    .await
                    .problem()
                    .0,
                400
            );
        }
    }
    let (status, _, detail) = server
        .post("/v1/views/kept_orders", &json!({"keys": [1, "x"]}))
        .await
        .problem();
    assert_eq!(
        (status, detail.as_str()),
        (400, "keys[1]: the value of column id is no bigint")
    );
    let many: Vec<i64> = (0..10_001).collect();
    assert_eq!(
        server
            .post("/v1/views/kept_orders", &json!({"keys": many}))
            .await
            .problem()
            .0,
        400
    );
    assert_eq!(
        server
            .post("/v1/views/without_key", &json!({"keys": [1]}))
            .await
            .problem()
            .0,
        400
    );
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let server = Server::start().await;
    for path in [
        "/v1/views/kept_orders/7",
        "/v1/views/shop.orders?limit=5",
        "/openapi.json",
    ] {
        let first = server.get(path).await;
        let tag = first.header("etag").to_string();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        for given in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_string()] {
            let again = server.get_with(path, &[("if-none-match", &given)]).await;
            assert_eq!(
                (again.status, again.body.len(), again.header("etag")),
                (304, 0, tag.as_str())
            );
        }
        assert_eq!(
            server
                .get_with(path, &[("if-none-match", "\"x\"")])
                .await
                .status,
            200
        );
    }
    assert_eq!(
        server
            .get("/v1/views/kept_orders/7")
            .await
            .header("cache-control"),
        "max-age=3600"
    );
    assert_eq!(
        server
            .get("/v1/views/shop.orders/7")
            .await
            .header("cache-control"),
        "no-cache"
    );
    let tag = server
        .get("/v1/views/shop.orders/7")
        .await
        .header("etag")
        .to_string();
    server
        .shop()
        .execute_batch("UPDATE orders SET qty = 99 WHERE id = 7")
        .unwrap();
    let changed = server
        .get_with("/v1/views/shop.orders/7", &[("if-none-match", &tag)])
        .await;
    assert_eq!(changed.ok()["qty"], 99);
    let fresh = server
        .get_with(
            "/v1/views/kept_orders/7",
            &[("belvedere-max-staleness", "0s")],
        )
        .await;
    assert_eq!(fresh.ok()["qty"], 99);
}

#[tokio::test]
async fn heads_have_no_body_and_other_methods_are_refused() {
    let server = Server::start().await;
    for path in [
        "/v1/views/kept_orders/7",
        "/v1/views/shop.orders",
        "/health",
        "/metrics",
        "/openapi.json",
    ] {
        let head = server.send(Method::HEAD, path, &[], Vec::new()).await;
        assert_eq!(head.status(), 200, "{path}");
        assert!(head.bytes().await.unwrap().is_empty());
    }
    for (method, path, allow) in [
        (Method::PUT, "/v1/views/kept_orders", "GET, HEAD, POST"),
        (Method::DELETE, "/v1/views/kept_orders/7", "GET, HEAD"),
        (Method::GET, "/v1/sql", "POST"),
        (Method::OPTIONS, "/v1/sql", "POST"),
        (Method::POST, "/health", "GET, HEAD"),
    ] {
        let said = super::support::said(server.send(method, path, &[], Vec::new()).await).await;
        assert_eq!(said.header("allow"), allow);
        assert_eq!(said.problem().0, 405);
    }
    assert_eq!(server.get("/v2/views").await.problem().0, 404);
    assert_eq!(server.get("/v1/views").await.problem().0, 404);
    server.stop().await;
}

/// A statement that is kept prepared sees what is defined since.
#[tokio::test]
async fn definitions_are_seen_at_once() {
    let server = Server::start().await;
    let define = async |sql: &str| assert_eq!(server.sql(sql).await.status, 200, "{sql}");
    define("CREATE VIEW v AS SELECT id, qty FROM shop.orders").await;
    assert_eq!(
        server.get("/v1/views/v/7").await.ok(),
        json!({"id": 7, "qty": 7})
    );
    define("CREATE OR REPLACE VIEW v AS SELECT id, sku AS qty FROM shop.orders").await;
    assert_eq!(
        server.get("/v1/views/v/7").await.ok(),
        json!({"id": 7, "qty": "S-0"})
    );
    define("DROP VIEW v").await;
    assert_eq!(server.get("/v1/views/v/7").await.problem().0, 404);
    // A column that is gone at the source.
    server
        .shop()
        .execute_batch("ALTER TABLE names DROP COLUMN n")
        .unwrap();
    let row = server.get("/v1/views/shop.names/100%25").await.ok();
    assert_eq!(row, json!({"name": "100%", "limit": 6, "Odd \"name": "f"}));
    // One that is new there, and a table.
    server
        .shop()
        .execute_batch(
            "CREATE TABLE later (a TEXT NOT NULL PRIMARY KEY); INSERT INTO later VALUES ('x')",
        )
        .unwrap();
    assert_eq!(
        server.get("/v1/views/shop.later/x").await.ok(),
        json!({"a": "x"})
    );
}

/// A key that is none would have several rows, and pages without some of theirs.
#[tokio::test]
async fn keys_are_those_that_a_query_shows() {
    let server = Server::start().await;
    let cases = [
        ("SELECT number, sku FROM some_orders", Some("number")),
        (
            "SELECT sku, id FROM kept_orders WHERE qty > 3 LIMIT 5",
            Some("id"),
        ),
        (
            "SELECT o.id AS a, n.n FROM shop.orders o JOIN shop.names n ON n.name = o.sku",
            Some("a"),
        ),
        (
            "SELECT o.id AS a, n.n FROM shop.names n JOIN shop.orders o ON o.sku = n.name",
            Some("a"),
        ),
        (
            "SELECT o.id AS a, n.n FROM shop.orders o LEFT JOIN kept_names n ON n.name = o.sku",
            Some("a"),
        ),
        (
            "SELECT o.id, p.free FROM shop.orders o JOIN shop.parts p ON p.sku = o.sku AND p.site = o.sku",
            Some("id"),
        ),
        (
            "SELECT o.id AS a, p.site AS b, p.sku AS c FROM shop.orders o JOIN shop.parts p ON p.free = o.qty",
            Some("a, c, b"),
        ),
        (
            "SELECT DISTINCT sku, qty FROM shop.orders",
            Some("sku, qty"),
        ),
        (
            "SELECT qty % 2 AS odd, sku, max(id) AS id FROM shop.orders GROUP BY sku, qty % 2",
            Some("sku, odd"),
        ),
        (
            "SELECT id, row_number() OVER (ORDER BY qty) AS n FROM shop.orders",
            Some("id"),
        ),
        // Only a part of a key, or of what it is found by; and what may have rows twice.
        ("SELECT sku, free FROM shop.parts", None),
        ("SELECT max(id) AS id FROM shop.orders GROUP BY sku", None),
        (
            "SELECT o.id, p.free FROM shop.orders o JOIN shop.parts p ON p.sku = o.sku",
            None,
        ),
        (
            "SELECT o.id FROM shop.names n LEFT JOIN shop.orders o ON o.sku = n.name",
            None,
        ),
        (
            "SELECT id FROM shop.orders UNION ALL SELECT id FROM kept_orders",
            None,
        ),
        (
            "SELECT o.id, p.free FROM shop.orders o FULL JOIN shop.parts p ON p.free = o.id",
            None,
        ),
        ("SELECT id + 1 AS id FROM shop.orders", None),
        (
            "SELECT sku, count(*) AS n FROM shop.orders GROUP BY ROLLUP (sku)",
            None,
        ),
    ];
    for (at, (query, _)) in cases.iter().enumerate() {
        let said = server
            .sql(&format!("CREATE VIEW key_{at} AS {query}"))
            .await;
        assert_eq!(said.status, 200, "{query}: {}", said.text());
    }
    let document = server.get("/openapi.json").await.ok();
    for (at, (query, key)) in cases.iter().enumerate() {
        let path = &document["paths"][format!("/v1/views/key_{at}/{{key}}")];
        let said = path["get"]["parameters"][0]["description"].as_str();
        let said = said.map(|said| said.split(':').next().unwrap());
        let expected = key.map(|key| format!("The key is {key}"));
        assert_eq!(said, expected.as_deref(), "{query}");
    }
}

#[tokio::test]
async fn answers_vary_by_every_setting() {
    let server = Server::start().await;
    let answer = server.get("/v1/views/kept_orders/7").await;
    let depends: Vec<&str> = answer.header("vary").split(", ").collect();
    for header in [
        "accept",
        "belvedere-max-staleness",
        "belvedere-read-after",
        "belvedere-read_after",
        "belvedere-stale-if-error",
        "belvedere-consistency",
        "belvedere-timezone",
    ] {
        assert!(depends.contains(&header), "{header}: {depends:?}");
    }
}
