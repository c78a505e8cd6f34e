//! Who may ask, once there are users.

use belvedere::Session;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::support::{Said, Server, said as whole};

async fn done(session: &Session, sql: &str) {
    let answer = session.execute(sql).await;
    answer.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// With `ana`, who may read two views and not what they are made of, and `root`.
async fn server() -> Server {
    let server = Server::start().await;
    for sql in [
        "CREATE USER root PASSWORD 'r:00t' SUPERUSER",
        "CREATE USER ana PASSWORD 'a'",
        "GRANT SELECT ON some_orders TO ana",
        "GRANT SELECT (id, sku) ON kept_orders TO ana",
    ] {
        done(&server.engine.session(), sql).await;
    }
    server
}

impl Server {
    fn asks(&self, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.client.request(Method::GET, url)
    }

    fn states(&self, sql: &str) -> RequestBuilder {
        let url = format!("http://{}/v1/sql", self.address);
        let request = self.client.request(Method::POST, url);
        let request = request.header("content-type", "application/json");
        request.body(json!({ "sql": sql }).to_string())
    }
}

async fn said(request: RequestBuilder) -> Said {
    whole(request.send().await.unwrap()).await
}

#[tokio::test]
async fn nobody_is_served_who_does_not_say_who_he_is() {
    let server = server().await;
    for request in [
        server.asks("/v1/views/some_orders"),
        server.asks("/openapi.json"),
        server.asks("/metrics"),
        server.asks("/nothing"),
        server.states("SELECT 1"),
        server.states("SELECT 1").bearer_auth("0000"),
        server.states("SELECT 1").basic_auth("ana", Some("b")),
        server.states("SELECT 1").basic_auth("nobody", Some("a")),
    ] {
        let said = said(request).await;
        assert_eq!(said.status, 401, "{}", said.text());
        assert!(said.header("www-authenticate").starts_with("Basic"));
    }
    for path in ["/health", "/health/ready"] {
        assert_eq!(said(server.asks(path)).await.status, 200);
    }
    assert_eq!(
        said(server.asks("/metrics").basic_auth("root", Some("r:00t")))
            .await
            .status,
        200
    );
    assert_eq!(
        said(server.asks("/metrics").basic_auth("ana", Some("a")))
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn each_sees_what_is_granted() {
    let server = server().await;
    let as_ana = |request: RequestBuilder| said(request.basic_auth("ana", Some("a")));
    let as_root = |request: RequestBuilder| said(request.basic_auth("root", Some("r:00t")));
    let path = "/v1/views/some_orders?limit=1";
    as_ana(server.asks(path)).await.ok();
    let one = as_ana(server.asks("/v1/views/kept_orders/7")).await.ok();
    let columns: Vec<&str> = one
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(columns, ["id", "sku"]);
    // What was prepared for another, or is described to another, is not told.
    for path in [
        "/v1/views/kept_parts/P,0,s%2F0",
        "/v1/views/by_sku",
        "/v1/views/mem.t",
    ] {
        as_root(server.asks(path)).await;
        let hidden = as_ana(server.asks(path)).await;
        assert_eq!(hidden.status, 404, "{path}: {}", hidden.text());
    }
    let all = as_root(server.asks("/openapi.json")).await;
    let own = as_ana(server.asks("/openapi.json")).await;
    assert!(all.text().contains("by_sku") && own.text().contains("some_orders"));
    for hidden in ["by_sku", "kept_parts", "without_key", "mem.t", "price"] {
        assert!(
            !own.text().contains(hidden),
            "{hidden} is in {}",
            own.text()
        );
    }
    let denied = as_ana(server.states("CREATE SCHEMA s")).await;
    assert_eq!(denied.problem().0, 403);
    let answer = as_ana(server.states("SELECT count(*) AS n FROM some_orders")).await;
    assert!(
        !answer.header("belvedere-read-from").contains("shop"),
        "{:?}",
        answer.headers
    );
    answer.ok();
}

#[tokio::test]
async fn a_request_is_within_the_limits_of_its_user() {
    let server = server().await;
    for sql in [
        "ALTER USER ana SET max_statement_time = '1min'",
        "ALTER USER ana SET max_result_rows = 2",
    ] {
        done(&server.engine.session(), sql).await;
    }
    let asks = |timeout: &str| {
        let request = server.asks("/v1/views/kept_orders/7?select=id");
        let request = request.header("belvedere-statement_timeout", timeout);
        request.basic_auth("ana", Some("a"))
    };
    said(asks("30s")).await.ok();
    let (status, code, detail) = said(asks("2min")).await.problem();
    assert_eq!((status, code.as_str()), (403, "denied"));
    assert!(
        detail.contains("limit max_statement_time of user ana is 60000ms"),
        "{detail}"
    );
    let few = server.states("SELECT number FROM some_orders LIMIT 2");
    assert_eq!(said(few.basic_auth("ana", Some("a"))).await.status, 200);
    let many = server.states("SELECT number FROM some_orders LIMIT 3");
    let many = said(many.basic_auth("ana", Some("a"))).await;
    assert!(
        many.text().contains("max_result_rows of user ana is 2"),
        "{}",
        many.text()
    );
}
