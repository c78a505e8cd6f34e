//! Materialized views that answer queries which do not name them, where a bound on the age of answers admits their copies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere::Session;
use belvedere_memory::{MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use insta::assert_snapshot;

use crate::fixture::{Fixture, database, shown, table, until};
use crate::memory::{InMemory, rows};

const BY_SKU: &str = "CREATE MATERIALIZED VIEW by_sku WITH (refresh = 'on change', wait = true) AS
    SELECT sku, count(*) AS orders, sum(qty) AS qty FROM shop.orders GROUP BY sku";

fn orders() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("sku", DataType::Utf8, true),
        Field::new("qty", DataType::Int64, true),
    ]))
}

fn order(rows: &[(i64, &str, i64)]) -> RecordBatch {
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(orders(), columns.to_vec()).unwrap()
}

async fn shop() -> InMemory {
    let first = order(&[(1, "a", 2), (2, "b", 1), (3, "a", 9)]);
    let items = Arc::new(Schema::new(vec![
        Field::new("sku", DataType::Utf8, false),
        Field::new("price", DataType::Int64, true),
    ]));
    let columns: [ArrayRef; 2] = [
        Arc::new(StringArray::from_iter_values(["a", "b"])),
        Arc::new(Int64Array::from_iter_values([5, 7])),
    ];
    let item = RecordBatch::try_new(items.clone(), columns.to_vec()).unwrap();
    let source = MemorySource::new("shop")
        .with_table(
            "orders",
            MemoryTable::new(orders(), vec![first]).with_primary_key(&["id"]),
        )
        .with_table(
            "item",
            MemoryTable::new(items, vec![item]).with_primary_key(&["sku"]),
        );
    InMemory::new(source).await
}

/// What an answer was made of, by name.
async fn made_of(session: &Session, sql: &str) -> Vec<String> {
    let answer = session.execute(sql).await.unwrap();
    let parts = answer.freshness.parts.iter();
    parts.map(|part| part.name.clone()).collect()
}

/// `EXPLAIN`, up to what runs here, whatever the age of copies.
fn considered(explained: &str) -> String {
    let lines = explained.lines().skip(3);
    let lines = lines.map(|line| line.trim_matches('|').trim());
    let lines = lines.take_while(|line| !line.is_empty() && !line.starts_with('+'));
    let words = lines.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_age = |i: usize| {
            words.get(i + 1) == Some(&"ms")
                && words.get(i + 2).is_some_and(|w| w.starts_with("old"))
        };
        let shown = words.iter().enumerate();
        let shown = shown.map(|(i, word)| if is_age(i) { "…" } else { word });
        shown.collect::<Vec<_>>().join(" ")
    });
    words.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_view_answers_what_does_not_name_it() {
    let shop = shop().await;
    shop.ok(BY_SKU).await;
    let total = "SELECT count(*) AS n, sum(qty) AS qty FROM shop.orders";
    let outside = shop.engine.session();
    let live = shown(&outside, total).await.unwrap();
    // What nobody may be told late is asked.
    assert_eq!(made_of(&outside, total).await, ["shop"]);
    shop.ok("SET max_staleness = '1 hour'").await;
    assert_eq!(made_of(&shop.session, total).await, ["by_sku"]);
    assert_eq!(shop.ok(total).await, live);
    assert_snapshot!(considered(&shop.ok(&format!("EXPLAIN {total}")).await), @r"
    No source is sent a fragment
    Read from by_sku (kept by change, … ms old)
    Considered by_sku: answers it by rolling its groups up, chosen
    ");
    // A part of a query, by a virtual view, and beside what is asked.
    shop.ok(
        "CREATE VIEW per_sku AS SELECT sku AS item, sum(qty) AS qty FROM shop.orders GROUP BY sku",
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store.db");
    database(
        &store,
        "CREATE TABLE item (sku TEXT PRIMARY KEY, price INTEGER); INSERT INTO item VALUES ('a', 5), ('b', 7)",
    );
    let source = format!("CREATE SOURCE store FROM 'sqlite:{}'", store.display());
    shop.ok(&source).await;
    let joined = "SELECT i.price, p.qty FROM per_sku p JOIN store.item i ON i.sku = p.item ORDER BY 1 LIMIT 1";
    assert_eq!(made_of(&shop.session, joined).await, ["by_sku", "store"]);
    assert_snapshot!(shop.ok(joined).await, @r"
    +-------+-----+
    | price | qty |
    +-------+-----+
    | 5     | 11  |
    +-------+-----+
    ");
    // What the view lacks, and what it has one of.
    let ids = "SELECT max(id) AS id FROM shop.orders";
    assert_eq!(made_of(&shop.session, ids).await, ["shop"]);
    assert_snapshot!(considered(&shop.ok(&format!("EXPLAIN {ids}")).await), @r"
    Sent to shop (memory, about 3 rows)
    scan main.orders (id)
    Considered by_sku: not used: max(id) cannot be computed from its groups to the last bit
    Told again until its tables change to who asks the same
    ");
    // It is as fresh as the copy that it would name.
    shop.commit(vec![("orders", rows(order(&[(4, "b", 30)]), 1))]);
    let after = "+---+-----+\n| n | qty |\n+---+-----+\n| 4 | 42  |\n+---+-----+";
    until(&shop.session, total, after, Duration::from_secs(20)).await;
    assert_eq!(made_of(&shop.session, total).await, ["by_sku"]);
    let by = shop
        .ok("SELECT sql, read_from FROM system.queries ORDER BY id DESC LIMIT 3")
        .await;
    assert!(by.contains("by_sku"), "{by}");
    shop.ok("DROP MATERIALIZED VIEW by_sku").await;
    assert_eq!(made_of(&shop.session, total).await, ["shop"]);
    assert_eq!(shop.ok(total).await, after);
}

#[tokio::test]
async fn a_copy_that_is_too_old_is_not_used() {
    let t = Fixture::new().await;
    t.ok("CREATE MATERIALIZED VIEW counted WITH (wait = true) AS SELECT site, count(*) AS n FROM erp.stock GROUP BY site")
        .await;
    database(&t.path("erp.db"), "INSERT INTO stock VALUES ('c3', 'B', 1)");
    let n = "SELECT count(*) AS n FROM erp.stock";
    let outside = t.engine.session();
    assert!(shown(&outside, n).await.unwrap().contains("| 5 "));
    t.ok("SET max_staleness = '1 hour'").await;
    assert!(t.ok(n).await.contains("| 4 "));
    // Prepared, it finds out each time.
    let prepared = t
        .session
        .prepare("SELECT count(*) AS n FROM erp.stock WHERE site = $1");
    let prepared = prepared.await.unwrap();
    let site = [ScalarValue::from("B")];
    // In the end it has seen what is younger.
    for (bound, expected) in [("1 hour", 2), ("0s", 3), ("none", 3), ("1 hour", 3)] {
        t.session.set("max_staleness", bound).unwrap();
        for _ in 0..3 {
            let answer = t.session.execute_prepared(&prepared, &site).await.unwrap();
            let found = table(answer).await.unwrap();
            assert!(
                found.contains(&format!("| {expected} ")),
                "{bound}: {found}"
            );
        }
    }
    let explained = t.ok(&format!("EXPLAIN {n}")).await;
    assert!(
        explained.contains("Considered counted: not used: the session has seen what is younger"),
        "{explained}"
    );
    t.ok("SET max_staleness = '1ms'").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(t.ok(n).await.contains("| 5 "));
    assert_snapshot!(considered(&t.ok(&format!("EXPLAIN {n}")).await), @r#"
    Sent to erp (sqlite, about 1 rows)
    SELECT count(*) AS c0 FROM "main"."stock" AS t0
    Considered counted: not used: … ms old, and at most 1 ms are asked for
    Told again for 1ms to who asks the same
    "#);
    // A call says so, too.
    t.ok("SET max_staleness = '0s'").await;
    assert!(t.ok(n).await.contains("| 5 "));
    assert!(!t.ok(&format!("EXPLAIN {n}")).await.contains("Considered"));
}

#[tokio::test]
async fn what_could_be_answered_live_never_fails_for_a_copy() {
    let shop = shop().await;
    shop.ok(BY_SKU).await;
    shop.ok("CREATE MATERIALIZED VIEW share WITH (refresh = 'on change', wait = true) AS SELECT id, 100 / qty AS share FROM shop.orders")
        .await;
    shop.ok("SET max_staleness = '1 hour'").await;
    let share = "SELECT 100 / qty AS share FROM shop.orders WHERE id = 1";
    assert_eq!(made_of(&shop.session, share).await, ["share"]);
    shop.commit(vec![("orders", rows(order(&[(4, "b", 0)]), 1))]);
    let failing = async {
        while shop.session.execute("SELECT * FROM share").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failing)
        .await
        .unwrap();
    assert_eq!(made_of(&shop.session, share).await, ["shop"]);
    let explained = shop.ok(&format!("EXPLAIN {share}")).await;
    assert!(
        explained.contains("Considered share: not used: materialized view share cannot be read"),
        "{explained}"
    );
    // One source as of two moments is nothing that was asked for.
    let joined = "SELECT i.price, o.qty FROM shop.item i JOIN (SELECT sku, sum(qty) AS qty FROM shop.orders GROUP BY sku) o ON o.sku = i.sku";
    assert_eq!(made_of(&shop.session, joined).await, ["shop"]);
    let explained = shop.ok(&format!("EXPLAIN {joined}")).await;
    assert!(explained.contains("as of two moments"), "{explained}");
    let total = "SELECT count(*) AS n FROM shop.orders";
    assert_eq!(made_of(&shop.session, total).await, ["by_sku"]);
    // Another part is answered all the same.
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store.db");
    database(
        &store,
        "CREATE TABLE item (id INTEGER PRIMARY KEY, sku TEXT); INSERT INTO item VALUES (1, 'a'), (2, 'b'), (3, 'a')",
    );
    shop.ok(&format!(
        "CREATE SOURCE store FROM 'sqlite:{}'",
        store.display()
    ))
    .await;
    shop.ok("CREATE MATERIALIZED VIEW stored WITH (wait = true) AS SELECT sku, count(*) AS n FROM store.item GROUP BY sku")
        .await;
    let both = format!(
        "SELECT j.price, j.qty, s.n FROM ({}) j JOIN (SELECT sku, count(*) AS n FROM store.item GROUP BY sku) s ON s.sku = j.sku",
        joined.replace("i.price", "i.sku, i.price")
    );
    assert_eq!(made_of(&shop.session, &both).await, ["stored", "shop"]);
    let explained = shop.ok(&format!("EXPLAIN {both}")).await;
    assert!(explained.contains("as of two moments"), "{explained}");
    assert!(
        explained.contains("Considered stored: answers a part"),
        "{explained}"
    );
}

#[tokio::test]
async fn a_transaction_reads_of_one_moment() {
    let shop = shop().await;
    shop.ok(BY_SKU).await;
    shop.ok("SET max_staleness = '1 hour'").await;
    let total = "SELECT count(*) AS n FROM shop.orders";
    // Before its source has answered where it stands, its age is not known, and it is not read.
    let begun = Instant::now();
    for n in 1.. {
        let another = format!("SELECT count(*) + {n} AS n FROM shop.orders");
        if made_of(&shop.session, &another).await == ["by_sku"] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not used");
    }
    shop.ok("BEGIN").await;
    let first = shop.ok(total).await;
    shop.commit(vec![("orders", rows(order(&[(4, "b", 30)]), 1))]);
    let seen = "+---+\n| n |\n+---+\n| 4 |\n+---+";
    until(&shop.engine.session(), total, seen, Duration::from_secs(20)).await;
    let outside = shop.engine.session();
    outside.set("max_staleness", "1 hour").unwrap();
    until(&outside, total, seen, Duration::from_secs(20)).await;
    assert_eq!(shop.ok(total).await, first);
    shop.ok("COMMIT").await;
    assert_eq!(shop.ok(total).await, seen);
}

/// A row by its key is there sooner than a copy without an index is read through.
#[tokio::test]
async fn what_costs_more_is_not_used() {
    let many: Vec<(i64, &str, i64)> = (0..20_000).map(|id| (id, "a", id)).collect();
    let table = MemoryTable::new(orders(), vec![order(&many)]).with_primary_key(&["id"]);
    let shop = InMemory::new(MemorySource::new("shop").with_table("orders", table)).await;
    shop.ok("CREATE MATERIALIZED VIEW copied WITH (refresh = 'on change', wait = true) AS SELECT id, qty FROM shop.orders")
        .await;
    shop.ok("SET max_staleness = '1 hour'").await;
    let one = "SELECT qty FROM shop.orders WHERE id = 17";
    assert_eq!(made_of(&shop.session, one).await, ["shop"]);
    let explained = shop.ok(&format!("EXPLAIN {one}")).await;
    assert!(
        explained.contains("costs more (20000) than asking"),
        "{explained}"
    );
    assert_eq!(
        made_of(&shop.session, "SELECT sum(qty) AS qty FROM shop.orders").await,
        ["copied"]
    );
    shop.ok("CREATE INDEX ON copied (id)").await;
    assert_eq!(made_of(&shop.session, one).await, ["copied"]);
}
