//! What clients of PostgreSQL ask before anybody asks something: their own queries, from `pg_catalog/`, as ordinary SQL.
//!
//! A file has the queries of one client, each below a line `-- name`. What stands in braces is the number of a relation.

use std::fmt::Write;
use std::path::Path;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use insta::assert_snapshot;

use crate::fixture::{Fixture, shown};

/// Two sources, views of each kind, an index, a schema and comments.
async fn world() -> Fixture {
    let t = Fixture::new().await;
    for sql in [
        "COMMENT ON TABLE erp.stock IS 'How much there is, and where'",
        "COMMENT ON COLUMN erp.stock.qty IS 'Pieces'",
        "CREATE VIEW prices (sku, price) AS SELECT sku, price FROM erp.item",
        "CREATE SCHEMA sales",
        "CREATE VIEW sales.by_item AS SELECT sku, sum(qty) AS sold FROM shop.orders GROUP BY sku",
        "CREATE MATERIALIZED VIEW available WITH (refresh = 'every 1 day', key = 'sku')
            AS SELECT sku, sum(qty) AS pieces FROM erp.stock GROUP BY sku",
        "CREATE INDEX available_pieces ON available (pieces)",
    ] {
        t.ok(sql).await;
    }
    t
}

/// The queries of a file, by name.
fn queries(client: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/pg_catalog");
    let text = std::fs::read_to_string(folder.join(format!("{client}.sql"))).unwrap();
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("-- "), all.last_mut()) {
            (Some(name), _) => all.push((name.to_string(), String::new())),
            (None, Some((_, sql))) => {
                sql.push_str(line);
                sql.push('\n');
            }
            (None, None) => {}
        }
    }
    all
}

/// With the numbers of the relations named in braces.
async fn numbered(t: &Fixture, sql: &str) -> String {
    let mut parts = sql.split("{{");
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap();
        let sql = format!("SELECT '{name}'::regclass::oid");
        let answer = t.session.execute(&sql).await.unwrap();
        let batches: Vec<RecordBatch> = answer.collect().await.unwrap();
        let oid = batches[0].column(0).as_primitive::<Int64Type>().value(0);
        write!(text, "{oid}").unwrap();
        text.push_str(rest);
    }
    text
}

/// What a client's queries answer.
async fn answers(client: &str) -> String {
    let t = world().await;
    let mut text = String::new();
    for (name, sql) in queries(client) {
        let sql = numbered(&t, &sql).await;
        let answer = match shown(&t.session, &sql).await {
            Ok(answer) => answer,
            Err(e) => format!("{}: {e}", e.sqlstate()),
        };
        let lines = answer.lines().map(str::trim_end);
        let answer = lines.collect::<Vec<_>>().join("\n");
        writeln!(text, "-- {name}\n{answer}\n").unwrap();
    }
    text
}

macro_rules! clients {
    ($($client:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $client() {
            assert_snapshot!(stringify!($client), answers(stringify!($client)).await);
        }
    )* };
}

clients! {
    psql, psql_lists, psql_completes, jdbc, sqlalchemy, npgsql, drivers, tools, words,
}
