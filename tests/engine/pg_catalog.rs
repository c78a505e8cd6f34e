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
        let mut lines: Vec<&str> = answer.lines().map(str::trim_end).collect();
        // Rows without an order come in any.
        let is_ordered = sql.to_ascii_lowercase().contains("order by");
        if !is_ordered && lines.len() > 4 {
            let rows = 3..lines.len() - 1;
            lines[rows].sort_unstable();
        }
        let answer = lines.join("\n");
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

#[tokio::test]
async fn no_source_is_asked() {
    let t = Fixture::new().await;
    let asked = "SELECT count(*) AS n FROM system.fragments";
    let before = t.ok(asked).await;
    t.ok("SELECT c.relname, a.attname, obj_description(c.oid) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid")
        .await;
    t.ok("SELECT 'erp.stock'::regclass, 'nothing' IN (SELECT relname FROM pg_class)")
        .await;
    assert_eq!(t.ok(asked).await, before);
}

#[tokio::test]
async fn numbers_stay() {
    let number = "SELECT 'erp.stock'::regclass::oid, 'erp'::regnamespace::oid";
    let (one, other) = (world().await, Fixture::new().await);
    assert_eq!(one.ok(number).await, other.ok(number).await);
    one.ok("CREATE VIEW another AS SELECT 1 AS one").await;
    assert_eq!(one.ok(number).await, other.ok(number).await);
}

#[tokio::test]
async fn nothing_is_defined_there() {
    let t = Fixture::new().await;
    assert_snapshot!(t.err("CREATE VIEW pg_catalog.v AS SELECT 1 AS one").await, @"invalid: schema pg_catalog is the engine's own");
    assert_snapshot!(t.err("DROP SCHEMA pg_catalog").await, @"invalid: schema pg_catalog cannot be dropped");
    assert_snapshot!(t.err("CREATE SCHEMA pg_catalog").await, @"name_taken: schema pg_catalog already exists");
    assert_snapshot!(t.err("SELECT * FROM pg_nothing").await, @"unknown_name: table or view pg_nothing does not exist");
}

/// A view of a user's may have a column of a name that the catalog has a function for, and keeps it.
#[tokio::test]
async fn ordinary_queries_stay_as_they_are() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW of_catalog AS SELECT relname, obj_description(oid) AS said FROM pg_class WHERE relkind = 'r'")
        .await;
    assert_snapshot!(t.ok("SELECT * FROM of_catalog WHERE relname = 'stock'").await, @r"
    +---------+------+
    | relname | said |
    +---------+------+
    | stock   |      |
    +---------+------+
    ");
    assert_snapshot!(t.ok("SELECT sku, count(*) FROM erp.stock GROUP BY sku ORDER BY sku").await, @r"
    +-----+----------+
    | sku | count(*) |
    +-----+----------+
    | a1  | 2        |
    | b2  | 1        |
    | c3  | 1        |
    +-----+----------+
    ");
}

#[tokio::test]
async fn sources_are_schemas_of_one_database() {
    let t = world().await;
    t.session.as_one_database();
    t.ok("RESET ALL").await;
    assert_snapshot!(t.ok("SELECT table_catalog, table_schema, table_name FROM information_schema.tables
        WHERE table_type <> 'SYSTEM VIEW' ORDER BY 1, 2, 3").await, @r"
    +---------------+--------------+------------+
    | table_catalog | table_schema | table_name |
    +---------------+--------------+------------+
    | belvedere     | erp          | item       |
    | belvedere     | erp          | stock      |
    | belvedere     | public       | available  |
    | belvedere     | public       | prices     |
    | belvedere     | sales        | by_item    |
    | belvedere     | shop         | Mixed Case |
    | belvedere     | shop         | orders     |
    +---------------+--------------+------------+
    ");
    assert_snapshot!(t.ok("SELECT schema_name FROM information_schema.schemata ORDER BY 1").await, @r"
    +--------------------+
    | schema_name        |
    +--------------------+
    | erp                |
    | information_schema |
    | pg_catalog         |
    | public             |
    | sales              |
    | shop               |
    | system             |
    +--------------------+
    ");
    assert_snapshot!(t.ok("SELECT constraint_schema, unique_constraint_schema FROM information_schema.referential_constraints").await, @r"
    +-------------------+--------------------------+
    | constraint_schema | unique_constraint_schema |
    +-------------------+--------------------------+
    | erp               | erp                      |
    +-------------------+--------------------------+
    ");
}
