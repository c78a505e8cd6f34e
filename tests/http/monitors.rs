use belvedere::serve::ServeOptions;
use serde_json::json;

use super::support::Server;

#[tokio::test]
async fn the_document_has_what_there_is() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/views/kept_orders",
        "/v1/views/kept_orders/{key}",
        "/v1/views/shop.orders/{key}",
        "/v1/views/by_sku/{key}",
        "/v1/views/without_key",
        "/v1/views/mem.t",
        "/v1/sql",
        "/metrics",
    ] {
        assert!(paths.contains_key(path), "{path}: {:?}", paths.keys());
    }
    assert!(!paths.contains_key("/v1/views/without_key/{key}"));
    let key = &paths["/v1/views/kept_orders/{key}"]["get"]["parameters"][0];
    assert_eq!(key["schema"]["format"], "int64");
    let row = &document["components"]["schemas"]["kept_orders"]["properties"];
    assert_eq!(row["sku"]["type"], json!("string"), "{row}");
    assert_eq!(
        row["price"]["type"],
        json!(["number", "string", "null"]),
        "{row}"
    );
    let rows = &paths["/v1/sql"]["post"]["responses"]["200"]["content"]["application/json"];
    assert_eq!(
        rows["schema"]["properties"]["rows"]["anyOf"][1]["type"],
        "integer"
    );
    let header = &document["components"]["parameters"]["belvedere-read-after"];
    assert_eq!(header["in"], "header");
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let target = reference.split('"').next().unwrap().trim_start_matches('#');
        assert!(document.pointer(target).is_some(), "{target}");
    }
    assert_eq!(
        server
            .sql("CREATE VIEW \"Odd.name\" AS SELECT 1 AS a")
            .await
            .status,
        200
    );
    let document = server.get("/openapi.json").await.ok();
    let path = "/v1/views/%22Odd.name%22";
    assert!(document["paths"].get(path).is_some());
    assert_eq!(server.get(path).await.ok()["rows"], json!([{"a": 1}]));
}

#[tokio::test]
async fn figures_are_in_prometheus_format() {
    let server = Server::with(ServeOptions::default()).await;
    server.get("/v1/views/kept_orders/7").await.ok();
    server.get("/v1/views/shop.orders/7").await.ok();
    assert_eq!(
        server
            .sql("SELECT 1 / (id - id) FROM shop.orders")
            .await
            .status,
        400
    );
    let said = server.get("/metrics").await;
    assert!(
        said.header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = said.text();
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find(|line| line.rsplit_once(' ').is_some_and(|(n, _)| n == name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(value("belvedere_connections{protocol=\"http\"}") >= 1.0);
    assert!(value("belvedere_statements_total{outcome=\"finished\"}") >= 2.0);
    assert!(value("belvedere_statements_total{outcome=\"failed\"}") >= 1.0);
    assert_eq!(
        value("belvedere_statement_seconds_bucket{le=\"+Inf\"}"),
        value("belvedere_statement_seconds_count")
    );
    assert_eq!(
        value("belvedere_source_up{source=\"shop\",connector=\"sqlite\"}"),
        1.0
    );
    assert_eq!(value("belvedere_source_breaker_open{source=\"shop\"}"), 0.0);
    assert_eq!(
        value("belvedere_view_rows{schema=\"public\",view=\"kept_orders\"}"),
        1000.0
    );
    assert_eq!(
        value("belvedere_view_max_staleness_seconds{schema=\"public\",view=\"kept_orders\"}"),
        3600.0
    );
    assert_eq!(
        value("belvedere_view_state{schema=\"public\",view=\"kept_orders\",state=\"live\"}"),
        1.0
    );
    assert!(value("belvedere_kept_memory_bytes") > 0.0);
    assert_eq!(value("belvedere_result_cache_bytes"), 0.0);
    assert_eq!(value("belvedere_result_cache_total{outcome=\"hit\"}"), 0.0);
    // Each family says what it is, once, and each value has such a family.
    let mut families = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(rest.split(' ').next().unwrap()), "{line}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|f| families.contains(f));
            assert!(families.contains(family.unwrap_or(name)), "{line}");
        }
    }
}

#[tokio::test]
async fn it_says_that_it_is_there() {
    let server = Server::start().await;
    assert_eq!(server.get("/health").await.ok(), json!({"status": "ok"}));
    assert_eq!(
        server.get("/health/ready").await.ok(),
        json!({"status": "ready"})
    );
}
