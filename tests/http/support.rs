use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use belvedere::Engine;
use belvedere::serve::ServeOptions;
use belvedere::serve::http::HttpServer;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::served;

/// A server with the sources `mem` (in memory, table `t` without a key) and `shop` (SQLite): `orders`, `parts` (a key of two texts),
/// `names` (a key that is any text), and views of them, `kept_…` of them materialized.
pub struct Server {
    pub address: SocketAddr,
    pub engine: Engine,
    pub folder: TempDir,
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

/// An answer that is whole.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Said {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Of a problem: status, code and detail.
    #[track_caller]
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        let field = |name: &str| problem[name].as_str().unwrap_or_default().to_string();
        (self.status, field("code"), field("detail"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

const SHOP: &str = "
    CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT NOT NULL, qty INTEGER, price REAL);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    INSERT INTO orders SELECT i, 'S-' || (i % 7), i % 13, i * 0.5 FROM n;
    CREATE TABLE parts (sku TEXT NOT NULL, site TEXT NOT NULL, free INTEGER, PRIMARY KEY (sku, site));
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 299)
    INSERT INTO parts SELECT 'P,' || (i / 7), 's/' || (i % 7), i FROM n;
    CREATE TABLE names (name TEXT NOT NULL PRIMARY KEY, n INTEGER, \"limit\" INTEGER, \"Odd \"\"name\" TEXT);
    INSERT INTO names VALUES ('', 0, 1, 'a'), ('@', 1, 2, 'b'), ('a b+c', 2, 3, 'c'), ('a,b', 3, 4, 'd'), ('a/b', 4, 5, 'e'),
        ('100%', 5, 6, 'f'), ('Çelik', 6, 7, 'g'), ('東京', 7, 8, 'h'), ('🦀', 8, 9, 'i'), ('x''; DROP TABLE names; --', 9, 10, 'j'),
        ('\"quoted\"', 10, 11, 'k'), ('a?b#c&d=e', 11, 12, 'l');
";

impl Server {
    pub async fn start() -> Self {
        Self::with(ServeOptions::default()).await
    }

    pub async fn with(options: ServeOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (engine, _) = served::engine(folder.path()).await;
        let shop = folder.path().join("shop.db");
        let db = rusqlite::Connection::open(&shop).unwrap();
        db.execute_batch(SHOP).unwrap();
        for sql in [
            "CREATE SOURCE mem FROM 'memory:mem'",
            &format!(
                "CREATE SOURCE shop FROM 'sqlite:{}' WITH (changes = 'triggers')",
                shop.display()
            ),
            "CREATE VIEW some_orders AS SELECT id AS number, sku, qty FROM shop.orders WHERE qty > 5",
            "CREATE VIEW by_sku AS SELECT sku, count(*) AS n, sum(qty) AS total FROM shop.orders GROUP BY sku",
            "CREATE VIEW without_key AS SELECT sku, qty FROM shop.orders",
            "CREATE MATERIALIZED VIEW kept_orders WITH (refresh = 'on change', key = 'id', wait = true, max_staleness = '1 hour')
             AS SELECT * FROM shop.orders",
            "CREATE MATERIALIZED VIEW kept_parts WITH (refresh = 'on change', key = 'sku, site', wait = true)
             AS SELECT * FROM shop.parts",
            "CREATE MATERIALIZED VIEW kept_names WITH (refresh = 'on change', key = 'name', wait = true)
             AS SELECT * FROM shop.names",
        ] {
            let answer = engine.session().execute(sql).await;
            let answer = answer.unwrap_or_else(|e| panic!("{sql}: {e}"));
            answer.collect().await.unwrap();
        }
        let any = "127.0.0.1:0".parse().unwrap();
        let bound = HttpServer::bind(engine.clone(), any, options)
            .await
            .unwrap();
        let address = bound.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bound.run(async {
            let _ = stopped.await;
        }));
        Self {
            address,
            engine,
            folder,
            client: Client::builder()
                .timeout(Duration::from_secs(60))
                .build()
                .unwrap(),
            stop: Some(stop),
            task,
        }
    }

    pub fn shop(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("shop.db")).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> Said {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Said {
        said(self.send(Method::GET, path, headers, Vec::new()).await).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Said {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Said {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let body = body.to_string().into_bytes();
        said(self.send(Method::POST, path, &headers, body).await).await
    }

    pub async fn sql(&self, sql: &str) -> Said {
        self.post("/v1/sql", &serde_json::json!({ "sql": sql }))
            .await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        let mut request = self.client.request(method, self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// What a connection says on which anything can be sent, until it is closed.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        let reading = tcp.read_to_end(&mut said);
        let _ = tokio::time::timeout(Duration::from_secs(30), reading)
            .await
            .expect("it ends");
        String::from_utf8_lossy(&said).into_owned()
    }

    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap();
    }
}

pub async fn said(response: Response) -> Said {
    Said {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

/// As a part of a path, or a value of a query.
pub fn encoded(text: &str) -> String {
    let of = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(of).collect()
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
