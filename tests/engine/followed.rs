//! Materialized views that are kept by change, of a source in memory whose commits the test makes.

use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::Code;
use belvedere_memory::{Fault, LogFault, MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use insta::assert_snapshot;

use crate::fixture::{shown, table, until};
use crate::memory::{InMemory, commit, rows};

/// How long a change may take to be seen, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

struct Shop(InMemory);

impl std::ops::Deref for Shop {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.0
    }
}

fn orders() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("sku", DataType::Utf8, true),
        Field::new("qty", DataType::Int64, true),
    ]))
}

fn items() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("sku", DataType::Utf8, false),
        Field::new("price", DataType::Int64, true),
    ]))
}

fn order(rows: &[(i64, Option<&str>, Option<i64>)]) -> RecordBatch {
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(orders(), columns.to_vec()).unwrap()
}

fn item(rows: &[(&str, i64)]) -> RecordBatch {
    let columns: [ArrayRef; 2] = [
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
    ];
    RecordBatch::try_new(items(), columns.to_vec()).unwrap()
}

impl Shop {
    async fn new() -> Self {
        let table =
            |schema, rows, key| MemoryTable::new(schema, vec![rows]).with_primary_key(&[key]);
        let first = order(&[
            (1, Some("a"), Some(2)),
            (2, Some("b"), Some(1)),
            (3, None, Some(9)),
        ]);
        let source = MemorySource::new("shop")
            .with_table("orders", table(orders(), first, "id"))
            .with_table("item", table(items(), item(&[("a", 5), ("b", 7)]), "sku"));
        Self(InMemory::new(source).await)
    }

    async fn err(&self, sql: &str) -> String {
        match shown(&self.session, sql).await {
            Ok(answer) => panic!("{sql} succeeded:\n{answer}"),
            Err(e) => e.to_string(),
        }
    }

    /// The view is what its query is.
    async fn until_same(&self, view: &str, query: &str) {
        let expected = self.ok(query).await;
        self.until(view, &expected).await;
    }

    async fn until(&self, sql: &str, expected: &str) {
        until(&self.session, sql, expected, PATIENCE).await;
    }
}

const SALES: &str = "SELECT i.sku, count(*) AS orders, sum(o.qty * i.price) AS total
    FROM shop.orders o JOIN shop.item i ON o.sku = i.sku GROUP BY i.sku";

#[tokio::test]
async fn a_commit_is_seen() {
    let shop = Shop::new().await;
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change', key = 'sku') AS {SALES}"
    ))
    .await;
    let (view, query) = (
        "SELECT * FROM sales ORDER BY sku",
        format!("{SALES} ORDER BY sku"),
    );
    assert_snapshot!(shop.ok(view).await, @r"
    +-----+--------+-------+
    | sku | orders | total |
    +-----+--------+-------+
    | a   | 1      | 10    |
    | b   | 1      | 7     |
    +-----+--------+-------+
    ");
    shop.commit(vec![(
        "orders",
        rows(order(&[(4, Some("a"), Some(10))]), 1),
    )]);
    shop.until_same(view, &query).await;
    // Both in one transaction: a price changes, and an order of it goes.
    shop.commit(vec![
        ("item", rows(item(&[("a", 5)]), -1)),
        ("item", rows(item(&[("a", 6)]), 1)),
        ("orders", rows(order(&[(1, Some("a"), Some(2))]), -1)),
    ]);
    shop.until_same(view, &query).await;
    // A view on a view, by one key, and a join with a table of the source.
    shop.ok("CREATE MATERIALIZED VIEW best WITH (refresh = 'on change') AS SELECT max(total) AS best FROM sales").await;
    shop.commit(vec![(
        "orders",
        rows(order(&[(5, Some("b"), Some(100))]), 1),
    )]);
    let best = format!("SELECT max(total) AS best FROM ({SALES}) s");
    shop.until_same("SELECT * FROM best", &best).await;
    assert_snapshot!(shop.ok("SELECT sku, total FROM sales WHERE sku = 'b'").await, @r"
    +-----+-------+
    | sku | total |
    +-----+-------+
    | b   | 707   |
    +-----+-------+
    ");
    assert_snapshot!(shop.ok("SELECT name, refresh, state, reason, rows FROM system.views ORDER BY 1").await, @r"
    +-------+-----------+-------+--------+------+
    | name  | refresh   | state | reason | rows |
    +-------+-----------+-------+--------+------+
    | best  | on change | live  |        | 1    |
    | sales | on change | live  |        | 2    |
    +-------+-----------+-------+--------+------+
    ");
    assert_snapshot!(shop.ok("SELECT view, source, problem, age_ms < 60000 AS young FROM system.freshness ORDER BY 1").await, @r"
    +-------+--------+---------+-------+
    | view  | source | problem | young |
    +-------+--------+---------+-------+
    | best  | shop   |         | true  |
    | sales | shop   |         | true  |
    +-------+--------+---------+-------+
    ");
    // What nobody reads any more is not followed.
    assert_snapshot!(shop.err("DROP MATERIALIZED VIEW sales").await, @"view sales cannot be dropped or renamed without view best. Drop them first, or DROP it with CASCADE");
    shop.ok("DROP MATERIALIZED VIEW sales CASCADE").await;
    shop.ok("DROP SOURCE shop").await;
}

#[tokio::test]
async fn a_restart_goes_on_without_another_copy() {
    let shop = Shop::new().await;
    let sql = format!("CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change') AS {SALES}");
    shop.ok(&sql).await;
    let (view, query) = (
        "SELECT * FROM sales ORDER BY sku",
        format!("{SALES} ORDER BY sku"),
    );
    shop.until_same(view, &query).await;
    shop.commit(vec![("orders", rows(order(&[(4, Some("b"), Some(3))]), 1))]);
    shop.until_same(view, &query).await;
    let copies = shop.source.snapshots();
    let shop = Shop(shop.0.restarted().await);
    shop.until_same(view, &query).await;
    shop.commit(vec![("orders", rows(order(&[(5, Some("a"), Some(4))]), 1))]);
    shop.until_same(view, &query).await;
    assert_eq!(shop.source.snapshots(), copies);
    // What was committed while nobody was there is read from the log.
    let gone = rows(order(&[(5, Some("a"), Some(4))]), -1);
    let meanwhile = |source: &MemorySource| commit(source, vec![("orders", gone)]);
    let shop = Shop(shop.0.restarted_after(meanwhile).await);
    shop.until_same(view, &query).await;
    assert_eq!(shop.source.snapshots(), copies);
    // A log that is gone is a new copy behind what is shown.
    shop.source.truncate_log(&shop.source.head()).unwrap();
    shop.source.inject_log(LogFault::CutAfter(0));
    shop.commit(vec![("orders", rows(order(&[(6, Some("b"), Some(4))]), 1))]);
    shop.until_same(view, &query).await;
}

#[tokio::test]
async fn an_index_is_made_of_what_is_kept_already() {
    let shop = Shop::new().await;
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change', key = 'sku') AS {SALES}"
    ))
    .await;
    shop.ok("CREATE MATERIALIZED VIEW over WITH (refresh = 'on change') AS SELECT orders, total FROM sales")
        .await;
    shop.ok("SELECT * FROM over").await;
    shop.ok("CREATE INDEX ON sales (orders)").await;
    let by_orders = "SELECT * FROM sales WHERE orders IN (1, 2) ORDER BY sku";
    let query = format!("SELECT * FROM ({SALES}) q WHERE orders IN (1, 2) ORDER BY sku");
    until_index(&shop, by_orders, "orders").await;
    assert_eq!(shop.ok(by_orders).await, shop.ok(&query).await);
    // It is kept like the rows, and what reads the view goes on.
    shop.commit(vec![("orders", rows(order(&[(7, Some("a"), Some(3))]), 1))]);
    shop.until_same(by_orders, &query).await;
    let over = format!("SELECT orders, total FROM ({SALES}) q ORDER BY 1, 2");
    shop.until_same("SELECT * FROM over ORDER BY 1, 2", &over)
        .await;
    let shop = Shop(shop.0.restarted().await);
    shop.until_same(by_orders, &query).await;
    until_index(&shop, by_orders, "orders").await;
    shop.ok("DROP INDEX sales_orders_idx").await;
    let plan = shop.ok(&format!("EXPLAIN {by_orders}")).await;
    assert!(!plan.contains("index="), "{plan}");
    shop.until_same(by_orders, &query).await;
}

/// It is made beside what goes on.
async fn until_index(shop: &Shop, query: &str, column: &str) {
    let made = async {
        while !(shop.ok(&format!("EXPLAIN {query}")).await).contains(&format!("index=[{column}]")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), made)
        .await
        .expect("an index is made");
}

/// A lookup by the first two columns of a key is not answered by what an index on one of them finds.
#[tokio::test]
async fn an_index_on_less_does_not_answer_a_lookup() {
    let shop = Shop::new().await;
    shop.ok("CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change', key = 'sku, id, qty') AS SELECT sku, id, qty FROM shop.orders")
        .await;
    shop.ok("CREATE INDEX ON kept (sku)").await;
    until_index(&shop, "SELECT * FROM kept WHERE sku = 'a'", "sku").await;
    shop.commit(vec![("orders", rows(order(&[(7, Some("a"), Some(3))]), 1))]);
    shop.until_same(
        "SELECT id, qty FROM kept ORDER BY id",
        "SELECT id, qty FROM shop.orders ORDER BY id",
    )
    .await;
    let sql = "SELECT id, qty FROM kept WHERE sku = $1 AND id = $2";
    let prepared = shop.session.prepare(sql).await.unwrap();
    let values = [ScalarValue::from("a"), ScalarValue::Int64(Some(7))];
    let answer = shop.session.execute_prepared(&prepared, &values).await;
    let found = crate::fixture::table(answer.unwrap()).await.unwrap();
    assert_snapshot!(found, @r"
    +----+-----+
    | id | qty |
    +----+-----+
    | 7  | 3   |
    +----+-----+
    ");
}

#[tokio::test]
async fn a_bad_row_fails_reads_until_it_is_gone() {
    let shop = Shop::new().await;
    shop.ok("CREATE MATERIALIZED VIEW share WITH (refresh = 'on change') AS SELECT id, 100 / qty AS share FROM shop.orders").await;
    let view = "SELECT * FROM share ORDER BY id";
    shop.until_same(
        view,
        "SELECT id, 100 / qty AS share FROM shop.orders ORDER BY id",
    )
    .await;
    shop.commit(vec![("orders", rows(order(&[(7, Some("a"), Some(0))]), 1))]);
    let failed = "materialized view share cannot be read: ";
    let wait = async {
        loop {
            match shown(&shop.session, view).await {
                Err(e) if e.to_string().starts_with(failed) => return e.to_string(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    assert_snapshot!(tokio::time::timeout(PATIENCE, wait).await.unwrap(), @"materialized view share cannot be read: division by zero");
    shop.commit(vec![(
        "orders",
        rows(order(&[(7, Some("a"), Some(0))]), -1),
    )]);
    shop.until_same(
        view,
        "SELECT id, 100 / qty AS share FROM shop.orders ORDER BY id",
    )
    .await;
    // Two rows under one key are such an error, too.
    shop.ok("CREATE MATERIALIZED VIEW by_sku WITH (refresh = 'on change', key = 'sku') AS SELECT sku, qty FROM shop.orders WHERE sku IS NOT NULL").await;
    shop.ok("SELECT * FROM by_sku").await;
    shop.commit(vec![("orders", rows(order(&[(8, Some("a"), Some(1))]), 1))]);
    let failed = "materialized view by_sku cannot be read: one key has several rows, and the view's key is to tell them apart";
    shop.until("SELECT * FROM by_sku", failed).await;
    shop.commit(vec![(
        "orders",
        rows(order(&[(1, Some("a"), Some(2))]), -1),
    )]);
    shop.until_same(
        "SELECT * FROM by_sku ORDER BY 1",
        "SELECT sku, qty FROM shop.orders WHERE sku IS NOT NULL ORDER BY 1",
    )
    .await;
}

/// A key that is none costs no more than one that is: not a look at all rows of a group for each of them.
#[tokio::test]
async fn a_key_that_very_many_rows_have() {
    let shop = Shop::new().await;
    let many: Vec<_> = (10..20_010).map(|id| (id, Some("a"), Some(1))).collect();
    shop.commit(vec![("orders", rows(order(&many), 1))]);
    shop.ok("CREATE MATERIALIZED VIEW by_sku WITH (refresh = 'on change', key = 'sku') AS SELECT sku, id FROM shop.orders").await;
    let failed = "materialized view by_sku cannot be read: one key has several rows, and the view's key is to tell them apart";
    shop.until("SELECT * FROM by_sku", failed).await;
    shop.commit(vec![("orders", rows(order(&many), -1))]);
    shop.until_same(
        "SELECT * FROM by_sku ORDER BY id",
        "SELECT sku, id FROM shop.orders ORDER BY id",
    )
    .await;
}

#[tokio::test]
async fn what_cannot_follow_changes_says_so() {
    let shop = Shop::new().await;
    let create = async |query: &str| {
        shop.err(&format!(
            "CREATE MATERIALIZED VIEW v WITH (refresh = 'on change') AS {query}"
        ))
        .await
    };
    assert_snapshot!(create("SELECT id FROM shop.orders LIMIT 3").await, @"view v cannot be kept by change: LIMIT without ORDER BY: it is any rows, and others each time. Add ORDER BY. Recompute it instead: refresh = 'every 1 minute', or 'on read' with a max_staleness");
    assert_snapshot!(create("SELECT id, random() AS r FROM shop.orders").await, @"view v cannot be kept by change: random(): its value is another each time. Recompute it instead: refresh = 'every 1 minute', or 'on read' with a max_staleness");
    assert_snapshot!(create("SELECT id FROM shop.orders WHERE now() > timestamp '2020-01-01'").await, @"view v cannot be kept by change: now(): its value changes while no table does. It can be kept in conditions that compare rows with it, as in WHERE ordered_at > now() - INTERVAL '1 hour': <, <=, >, >=, = or BETWEEN, with the row on one side, and on the other now() or current_date, plus or minus intervals, cast to a date or timestamp, in date_trunc() or date_bin(). Recompute it instead: refresh = 'every 1 minute', or 'on read' with a max_staleness");
    assert_snapshot!(create("SELECT name FROM system.sources").await, @"system.sources does not tell what changes in it");
    shop.ok("CREATE MATERIALIZED VIEW m AS SELECT id FROM shop.orders")
        .await;
    assert_snapshot!(create("SELECT id FROM m").await, @"view m is not kept by change, so what is computed of it cannot be. ALTER MATERIALIZED VIEW m SET (refresh = 'on change'), or read what it reads");
}

#[tokio::test]
async fn a_source_without_a_log_is_looked_at() {
    let t = crate::fixture::Fixture::new().await;
    let create = "CREATE MATERIALIZED VIEW stock WITH (refresh = 'on change') AS
        SELECT i.name, sum(s.qty) AS qty FROM erp.stock s JOIN erp.item i ON i.sku = s.sku GROUP BY i.name";
    assert_snapshot!(t.err(create).await, @"invalid: source erp does not tell what changes: changes = 'triggers' on the source writes triggers and a log table into the database; changes = 'poll' looks at its tables again and again, and writes nothing. ALTER SOURCE erp SET (changes = 'poll', poll_interval = '1s') looks at its tables again and again; or recompute the view: refresh = 'every 1 minute', or 'on read' with a max_staleness");
    t.ok("ALTER SOURCE erp SET (changes = 'poll', poll_interval = '50ms')")
        .await;
    t.ok(create).await;
    let (view, sum) = (
        "SELECT * FROM stock ORDER BY name",
        "SELECT qty FROM stock WHERE name = 'Apple'",
    );
    assert_snapshot!(t.ok(view).await, @r"
    +--------+-----+
    | name   | qty |
    +--------+-----+
    | Apple  | 15  |
    | Bread  | 0   |
    | Cheese |     |
    +--------+-----+
    ");
    let sql = "UPDATE stock SET qty = 100 WHERE sku = 'a1' AND site = 'B'; DELETE FROM stock WHERE sku = 'b2'";
    crate::fixture::database(&t.path("erp.db"), sql);
    let wait = async {
        while !t.ok(sum).await.contains("105") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_snapshot!(t.ok(view).await, @r"
    +--------+-----+
    | name   | qty |
    +--------+-----+
    | Apple  | 105 |
    | Cheese |     |
    +--------+-----+
    ");
    assert_snapshot!(t.err("ALTER SOURCE erp SET (changes = 'somehow')").await, @"invalid_option: source erp: a SQLite file has no changes = 'somehow'. changes = 'triggers' writes triggers and a log into the database; changes = 'poll' looks at its tables again and again");
    assert_snapshot!(t.err("ALTER SOURCE erp SET (changes = 'poll', poll_interval = '1ms')").await, @"invalid: option poll_interval is a duration of at least 50ms, like '1s' or '5min', not '1ms'");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_its_age_is_known_though_the_source_is_down() {
    let shop = Shop::new().await;
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change') AS {SALES}"
    ))
    .await;
    let view = "SELECT * FROM sales ORDER BY sku";
    shop.until_same(view, &format!("{SALES} ORDER BY sku"))
        .await;
    let known =
        "SELECT age_ms IS NOT NULL AS known, problem IS NOT NULL AS told FROM system.freshness";
    let answered = [
        "+-------+-------+",
        "| known | told  |",
        "+-------+-------+",
        "| true  | false |",
        "+-------+-------+",
    ];
    shop.until(known, &answered.join("\n")).await;
    shop.source.inject(Fault::Down(Code::Unreachable));
    // What it was asked before has been answered by then.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = shop.session.execute(view).await.unwrap();
    let age = before.freshness.age().unwrap();
    let rows = table(before).await.unwrap();

    let shop = Shop(shop.0.restarted().await);
    let failing = [
        "+-------+------+",
        "| known | told |",
        "+-------+------+",
        "| true  | true |",
        "+-------+------+",
    ];
    shop.until(known, &failing.join("\n")).await;
    // Somebody may have read the source itself since.
    let refused = shop.err(view).await;
    assert!(
        refused.contains("may be older than what was read before"),
        "{refused}"
    );
    assert!(refused.contains("SET max_staleness"), "{refused}");
    shop.ok("SET max_staleness = '1 hour'").await;
    let answer = shop.session.execute(view).await.unwrap();
    assert!(answer.freshness.age().unwrap() >= age);
    assert!(!answer.freshness.is_stale());
    assert_eq!(table(answer).await.unwrap(), rows);
    shop.ok("SET max_staleness = '1ms'").await;
    let refused = shop.err(view).await;
    assert!(refused.contains("may be 1 ms old"), "{refused}");
    // With a bound that is too small, and without one.
    shop.ok("SET stale_if_error = '1 hour'").await;
    for bound in ["1ms", "none"] {
        shop.ok(&format!("SET max_staleness = '{bound}'")).await;
        let answer = shop.session.execute(view).await.unwrap();
        assert!(answer.freshness.is_stale(), "{bound}");
        assert!(answer.freshness.age().unwrap() >= age, "{bound}");
        assert_eq!(table(answer).await.unwrap(), rows, "{bound}");
    }
    // Over another one, too.
    let shop = Shop(shop.0.restarted().await);
    shop.until(known, &failing.join("\n")).await;
    shop.ok("SET max_staleness = '1 hour'").await;
    let answer = shop.session.execute(view).await.unwrap();
    assert!(answer.freshness.age().unwrap() >= age);
    shop.source.inject(Fault::None);
    shop.until(known, &answered.join("\n")).await;
    shop.ok("SET max_staleness = 'none'").await;
    assert_eq!(shop.ok(view).await, rows);
}
