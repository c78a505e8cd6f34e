//! Subscriptions: rows as they are, then each change, so that whoever adds them up has what the view has.

use std::sync::Arc;
use std::time::Duration;

use belvedere_memory::{LogFault, MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use insta::assert_snapshot;

use crate::fixture::{Fixture, database, shown};
use crate::follower::{Follower, Rows, rows};
use crate::memory::{InMemory, rows as changed};

const PATIENCE: Duration = Duration::from_secs(30);

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

struct Shop(InMemory);

impl std::ops::Deref for Shop {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.0
    }
}

impl Shop {
    async fn new() -> Self {
        let rows = order(&[(1, "a", 2), (2, "b", 1), (3, "b", 1)]);
        let table = MemoryTable::new(orders(), vec![rows]).with_primary_key(&["id"]);
        let source = MemorySource::new("shop").with_table("orders", table);
        Self(InMemory::new(source).await)
    }

    /// Code and message.
    async fn err(&self, sql: &str) -> String {
        match self.session.execute(sql).await {
            Ok(_) => panic!("{sql} succeeded"),
            Err(e) => format!("{}: {e}", e.code()),
        }
    }

    fn commit(&self, rows: &[(i64, &str, i64)], weight: i64) {
        self.0
            .commit(vec![("orders", changed(order(rows), weight))]);
    }
}

const SALES: &str = "SELECT sku, count(*) AS orders, sum(qty) AS qty FROM shop.orders GROUP BY sku";

#[tokio::test]
async fn changes_add_up_to_the_view() {
    let shop = Shop::new().await;
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change') AS {SALES}"
    ))
    .await;
    let mut told = Follower::of(&shop.session, "SUBSCRIBE TO sales").await;
    told.until_same(&shop.session, SALES).await;
    shop.commit(&[(4, "c", 7), (5, "a", 1)], 1);
    told.until_same(&shop.session, SALES).await;
    // Back to what was there: the rows of the epochs between come and go.
    shop.commit(&[(4, "c", 7)], -1);
    told.until_same(&shop.session, SALES).await;
    // Where nothing is to be told of what is there already.
    let sql = "SUBSCRIBE TO sales WITH (snapshot = false)";
    let before = rows(&shop.session, "SELECT * FROM sales").await;
    let mut later = Follower::going_on(&shop.session, sql, before).await;
    shop.commit(&[(6, "b", 3)], 1);
    later.until_same(&shop.session, SALES).await;
    // Both are listed while they are there.
    let list =
        "SELECT view, sql, rows > 0 AS told, waiting_bytes FROM system.subscriptions ORDER BY id";
    told.until_same(&shop.session, SALES).await;
    assert_snapshot!(shop.ok(list).await, @r"
    +-------+--------------------------------------------+------+---------------+
    | view  | sql                                        | told | waiting_bytes |
    +-------+--------------------------------------------+------+---------------+
    | sales | SUBSCRIBE TO sales                         | true | 0             |
    | sales | SUBSCRIBE TO sales WITH (snapshot = false) | true | 0             |
    +-------+--------------------------------------------+------+---------------+
    ");
    drop((told, later));
    assert_snapshot!(shop.ok(list).await, @r"
    +------+-----+------+---------------+
    | view | sql | told | waiting_bytes |
    +------+-----+------+---------------+
    +------+-----+------+---------------+
    ");
}

#[tokio::test]
async fn a_cursor_goes_on_where_it_was() {
    let shop = Shop::new().await;
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change') AS {SALES}"
    ))
    .await;
    let mut first = Follower::of(&shop.session, "SUBSCRIBE TO sales").await;
    first.until_same(&shop.session, SALES).await;
    let go_on = |cursor: &str| format!("SUBSCRIBE TO sales WITH (cursor = '{cursor}')");
    let large = "SELECT id FROM shop.orders WHERE qty > 1000";
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW large WITH (refresh = 'on change') AS {large}"
    ))
    .await;
    let mut quiet = Follower::of(&shop.session, "SUBSCRIBE TO large").await;
    quiet.until_same(&shop.session, large).await;
    // A place in the middle: all behind it comes, and nothing twice.
    let mut places = vec![(first.cursor.clone(), first.rows.clone())];
    for id in 10..15 {
        shop.commit(&[(id, "a", id), (id + 100, "d", 1)], 1);
        first.until_same(&shop.session, SALES).await;
        places.push((first.cursor.clone(), first.rows.clone()));
    }
    for (cursor, rows) in &places {
        let mut again = Follower::going_on(&shop.session, &go_on(cursor), rows.clone()).await;
        again.until_same(&shop.session, SALES).await;
    }
    // After a restart the newest goes on, also with what was committed meanwhile.
    drop(first);
    let shop = Shop(shop.0.restarted().await);
    // So does any of a view that has not changed since.
    let sql = format!("SUBSCRIBE TO large WITH (cursor = '{}')", quiet.cursor);
    let mut quiet = Follower::going_on(&shop.session, &sql, Rows::new()).await;
    shop.commit(&[(19, "l", 5000)], 1);
    quiet.until_same(&shop.session, large).await;
    shop.commit(&[(20, "z", 1)], 1);
    let (cursor, rows) = places.pop().unwrap();
    let mut again = Follower::going_on(&shop.session, &go_on(&cursor), rows).await;
    again.until_same(&shop.session, SALES).await;
    // What was told before the checkpoint that the restart began with is not.
    assert_snapshot!(shop.err(&go_on(&places[0].0)).await, @"cursor_expired: what has changed in view sales since this cursor is not retained. Subscribe without a cursor, which begins with the rows as they are. A view's option retain says how much is retained");
    // One of another query, and none at all.
    shop.ok("CREATE MATERIALIZED VIEW other WITH (refresh = 'on change') AS SELECT sku FROM shop.orders").await;
    shop.ok("SELECT * FROM other").await;
    let cursor = &again.cursor;
    assert_snapshot!(shop.err(&format!("SUBSCRIBE TO other WITH (cursor = '{cursor}')")).await, @"cursor_foreign: the cursor is none of view other as it is now. It is another's, another engine's, or the view was replaced since. Subscribe without a cursor, which begins with the rows as they are");
    assert_snapshot!(shop.err(&go_on("yesterday")).await, @"cursor_foreign: this is no cursor of a subscription. The column cursor of its rows has them; subscribe without one to begin with the rows as they are");
    // An epoch that there has not been.
    let later = cursor.replacen(&format!("-{}-", again.epoch), "-999999-", 1);
    assert_snapshot!(shop.err(&go_on(&later)).await, @"cursor_foreign: the cursor is none of view sales as it is now. It is another's, another engine's, or the view was replaced since. Subscribe without a cursor, which begins with the rows as they are");
}

#[tokio::test]
async fn changes_are_retained_as_long_as_the_view_says() {
    let shop = Shop::new().await;
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change', retain = '0s') AS {SALES}"
    ))
    .await;
    let mut told = Follower::of(&shop.session, "SUBSCRIBE TO sales").await;
    told.until_same(&shop.session, SALES).await;
    let old = told.cursor.clone();
    // Who subscribes gets all, also where nothing is retained for who comes back.
    for id in 10..13 {
        shop.commit(&[(id, "a", 1)], 1);
    }
    told.until_same(&shop.session, SALES).await;
    shop.commit(&[(20, "a", 1)], 1);
    told.until_same(&shop.session, SALES).await;
    let sql = format!("SUBSCRIBE TO sales WITH (cursor = '{old}')");
    assert_snapshot!(shop.err(&sql).await, @"cursor_expired: what has changed in view sales since this cursor is not retained. Subscribe without a cursor, which begins with the rows as they are. A view's option retain says how much is retained");
    // A statement's limit is for its beginning.
    shop.ok("SET statement_timeout = '300ms'").await;
    let mut long = Follower::of(&shop.session, "SUBSCRIBE TO sales").await;
    long.next().await.unwrap();
    long.next().await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    shop.ok("RESET statement_timeout").await;
    shop.commit(&[(21, "a", 1)], 1);
    long.until_same(&shop.session, SALES).await;
}

#[tokio::test]
async fn one_who_takes_nothing_is_told_so_in_the_end() {
    let shop = Shop::new().await;
    let query = "SELECT id, sku FROM shop.orders";
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW all_of_it WITH (refresh = 'on change') AS {query}"
    ))
    .await;
    let mut slow = Follower::of(&shop.session, "SUBSCRIBE TO all_of_it").await;
    slow.next().await.unwrap();
    let mut quick = Follower::of(&shop.session, "SUBSCRIBE TO all_of_it").await;
    let large = "x".repeat(1 << 20);
    for id in 10..26 {
        let rows: Vec<_> = (0..8).map(|n| (id * 10 + n, large.as_str(), 1)).collect();
        shop.commit(&rows, 1);
        quick.until_same(&shop.session, query).await;
        shop.commit(&rows, -1);
        quick.until_same(&shop.session, query).await;
    }
    let e = slow.until_error().await;
    assert_eq!((e.code(), e.sqlstate()), ("subscription_too_slow", "53400"));
    assert_snapshot!(e, @"the subscription to view all_of_it was too slow: more has changed than is kept for those who read it later. Subscribe again, without a cursor, and read faster");
    // The other goes on.
    shop.commit(&[(500, "c", 7)], 1);
    quick.until_same(&shop.session, query).await;
}

#[tokio::test]
async fn a_bad_row_ends_it_and_a_cursor_goes_on_behind() {
    let shop = Shop::new().await;
    let query = "SELECT id, 100 / qty AS share FROM shop.orders";
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW share WITH (refresh = 'on change') AS {query}"
    ))
    .await;
    let mut told = Follower::of(&shop.session, "SUBSCRIBE TO share").await;
    told.until_same(&shop.session, query).await;
    shop.commit(&[(7, "a", 0), (8, "a", 1)], 1);
    let e = told.until_error().await;
    assert_eq!(e.code(), "data");
    assert_snapshot!(e, @"view share cannot be read: division by zero. Once it can, its changes go on behind the last cursor that was told");
    let go_on = format!("SUBSCRIBE TO share WITH (cursor = '{}')", told.cursor);
    let (before, _) = (told.rows.clone(), drop(told));
    // A view that cannot be read is not subscribed to.
    assert_snapshot!(shop.err("SUBSCRIBE TO share").await, @"data: view share cannot be read: division by zero. Once it can, its changes go on behind the last cursor that was told");
    let mut again = Follower::going_on(&shop.session, &go_on, before.clone()).await;
    again.next().await.unwrap();
    assert_eq!(again.until_error().await.code(), "data");
    shop.commit(&[(9, "a", 2)], 1);
    shop.commit(&[(7, "a", 0)], -1);
    shop.commit(&[(10, "a", 3)], 1);
    let healed = async {
        while shown(&shop.session, "SELECT * FROM share WHERE id = 10")
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, healed).await.unwrap();
    let mut again = Follower::going_on(&shop.session, &go_on, before).await;
    again.until_same(&shop.session, query).await;
}

#[tokio::test]
async fn what_is_gone_ends_its_subscriptions() {
    let shop = Shop::new().await;
    let create = |query: &str| {
        format!("CREATE OR REPLACE MATERIALIZED VIEW v WITH (refresh = 'on change') AS {query}")
    };
    for sql in [
        "DROP MATERIALIZED VIEW v".to_string(),
        create("SELECT id FROM shop.orders WHERE qty > 1"),
        "ALTER MATERIALIZED VIEW v RENAME TO w".to_string(),
        "REFRESH MATERIALIZED VIEW v FULL".to_string(),
        "DROP SOURCE shop CASCADE".to_string(),
    ] {
        shop.ok("DROP MATERIALIZED VIEW IF EXISTS v, w").await;
        shop.ok(&create("SELECT id FROM shop.orders")).await;
        let mut told = Follower::of(&shop.session, "SUBSCRIBE TO v").await;
        told.next().await.unwrap();
        shop.ok(&sql).await;
        let e = told.until_error().await;
        assert_eq!(
            (e.code(), e.sqlstate()),
            ("subscription_ended", "24000"),
            "{sql}: {e}"
        );
    }
    shop.ok("CREATE SOURCE shop FROM 'memory:shop'").await;
    shop.ok(&create("SELECT id FROM shop.orders")).await;
    let mut told = Follower::of(&shop.session, "SUBSCRIBE TO v").await;
    told.next().await.unwrap();
    // It holds no engine.
    shop.0.close().await;
    assert_eq!(told.until_error().await.code(), "cancelled");
}

#[tokio::test]
async fn a_query_is_kept_while_somebody_subscribes_to_it() {
    let shop = Shop::new().await;
    let query = "SELECT sku, sum(qty) AS qty FROM shop.orders GROUP BY sku";
    let copies = shop.source.snapshots();
    let mut one = Follower::of(&shop.session, &format!("SUBSCRIBE TO ({query})")).await;
    let mut other = Follower::of(&shop.session, &format!("subscribe to ( {query}  )")).await;
    one.until_same(&shop.session, query).await;
    other.until_same(&shop.session, query).await;
    // Identical ones share what is kept; it is no view, and in nobody's way.
    assert_eq!(shop.source.snapshots(), copies + 1);
    assert_snapshot!(shop.ok("SELECT name FROM system.views").await, @r"
    +------+
    | name |
    +------+
    +------+
    ");
    assert_snapshot!(shop.ok("SELECT view, sql FROM system.subscriptions ORDER BY id").await, @r"
    +------+-----------------------------------------------------------------------------+
    | view | sql                                                                         |
    +------+-----------------------------------------------------------------------------+
    |      | SUBSCRIBE TO (SELECT sku, sum(qty) AS qty FROM shop.orders GROUP BY sku)    |
    |      | subscribe to ( SELECT sku, sum(qty) AS qty FROM shop.orders GROUP BY sku  ) |
    +------+-----------------------------------------------------------------------------+
    ");
    shop.ok("CREATE VIEW beside AS SELECT 1 AS one").await;
    drop(one);
    shop.commit(&[(30, "q", 5)], 1);
    other.until_same(&shop.session, query).await;
    let cursor = other.cursor.clone();
    let sql = format!("SUBSCRIBE TO ({query}) WITH (cursor = '{cursor}')");
    let mut again = Follower::going_on(&shop.session, &sql, other.rows.clone()).await;
    drop(other);
    shop.commit(&[(31, "q", 5)], 1);
    again.until_same(&shop.session, query).await;
    drop(again);
    // A virtual view and a table are such queries, too.
    shop.ok("CREATE VIEW cheap AS SELECT sku FROM shop.orders WHERE qty < 2")
        .await;
    for name in ["cheap", "shop.orders"] {
        let mut told = Follower::of(&shop.session, &format!("SUBSCRIBE TO {name}")).await;
        told.until_same(&shop.session, &format!("SELECT * FROM {name}"))
            .await;
    }
    // A restart of the source's log is a change from one copy to the next.
    let mut told = Follower::of(&shop.session, &format!("SUBSCRIBE TO ({query})")).await;
    told.until_same(&shop.session, query).await;
    shop.source.truncate_log(&shop.source.head()).unwrap();
    shop.source.inject_log(LogFault::CutAfter(0));
    shop.commit(&[(32, "r", 4)], 1);
    told.until_same(&shop.session, query).await;
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_says_so() {
    let shop = Shop::new().await;
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW sales WITH (refresh = 'on change') AS {SALES}"
    ))
    .await;
    let mut said = Vec::new();
    for sql in [
        "SUBSCRIBE TO nothing",
        "SUBSCRIBE TO (SELECT id FROM shop.orders LIMIT 1)",
        "SUBSCRIBE TO (SELECT now() AS t, id FROM shop.orders)",
        "SUBSCRIBE TO (SELECT id FROM shop.orders WHERE id = $1)",
        "SUBSCRIBE TO (SELECT id AS epoch FROM shop.orders)",
        "SUBSCRIBE TO (SELECT id, id FROM shop.orders)",
        "SUBSCRIBE TO (SELECT name FROM system.sources)",
        "SUBSCRIBE TO sales WITH (cursor = 3)",
        "SUBSCRIBE TO sales WITH (cursor = '')",
        "SUBSCRIBE TO sales WITH (snapshot = 'perhaps')",
        "SUBSCRIBE TO sales WITH (cursor = '0000000000000001-1-0000000000000001', snapshot = true)",
        "SUBSCRIBE TO sales WITH (cursor = '0000000000000001-1-0000000000000001')",
        "SUBSCRIBE TO sales WITH (curser = 'x')",
        "SUBSCRIBE TO sales WITH (progress = true)",
    ] {
        said.push(format!("{sql}\n  {}", shop.err(sql).await));
    }
    assert_snapshot!(said.join("\n"), @r#"
    SUBSCRIBE TO nothing
      unknown_name: table or view nothing does not exist
    SUBSCRIBE TO (SELECT id FROM shop.orders LIMIT 1)
      invalid: the query cannot be kept by change: LIMIT without ORDER BY: it is any rows, and others each time. Add ORDER BY. Subscribe to a materialized view of it, which is refreshed on a schedule
    SUBSCRIBE TO (SELECT now() AS t, id FROM shop.orders)
      invalid: the query cannot be kept by change: now(): its value changes while no table does. It can be kept in conditions that compare rows with it, as in WHERE ordered_at > now() - INTERVAL '1 hour': <, <=, >, >=, = or BETWEEN, with the row on one side, and on the other now() or current_date, plus or minus intervals, cast to a date or timestamp, in date_trunc() or date_bin(). Subscribe to a materialized view of it, which is refreshed on a schedule
    SUBSCRIBE TO (SELECT id FROM shop.orders WHERE id = $1)
      invalid: a query that is subscribed to takes no parameters
    SUBSCRIBE TO (SELECT id AS epoch FROM shop.orders)
      invalid: a subscription has a column epoch of its own, and so has what it is to. Give it another name: SUBSCRIBE TO (SELECT epoch AS other_name, … FROM …)
    SUBSCRIBE TO (SELECT id, id FROM shop.orders)
      invalid: two columns would be named id. Give one another name: SELECT … AS other_name
    SUBSCRIBE TO (SELECT name FROM system.sources)
      invalid: system.sources does not tell what changes in it
    SUBSCRIBE TO sales WITH (cursor = 3)
      invalid: option cursor is a text that a subscription has told, in quotes, not 3
    SUBSCRIBE TO sales WITH (cursor = '')
      cursor_foreign: this is no cursor of a subscription. The column cursor of its rows has them; subscribe without one to begin with the rows as they are
    SUBSCRIBE TO sales WITH (snapshot = 'perhaps')
      invalid: option snapshot is true or false, not 'perhaps'
    SUBSCRIBE TO sales WITH (cursor = '0000000000000001-1-0000000000000001', snapshot = true)
      invalid: a subscription goes on from its cursor, or begins with a snapshot. Leave one of them out
    SUBSCRIBE TO sales WITH (cursor = '0000000000000001-1-0000000000000001')
      cursor_foreign: the cursor is none of view sales as it is now. It is another's, another engine's, or the view was replaced since. Subscribe without a cursor, which begins with the rows as they are
    SUBSCRIBE TO sales WITH (curser = 'x')
      unknown_name: option curser of SUBSCRIBE does not exist. Did you mean cursor?
    SUBSCRIBE TO sales WITH (progress = true)
      unknown_name: option progress of SUBSCRIBE does not exist. There are cursor and snapshot
    "#);
    assert_snapshot!(shop.err("ALTER MATERIALIZED VIEW sales SET (retain = 'long')").await, @"invalid: option retain is a duration like '500ms', '30s', '5min' or '1 hour', not 'long'");
    assert_snapshot!(shop.err("ALTER MATERIALIZED VIEW sales SET (refresh = 'manual', retain = '1h')").await, @"invalid: only a view with refresh = 'on change' has changes to retain: others have versions. Leave retain out; keep says how many versions a subscriber may go on from");
}

#[tokio::test]
async fn a_run_s_difference_is_told() {
    let t = Fixture::new().await;
    let query = "SELECT sku, qty FROM erp.stock";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW stock WITH (keep = 2) AS {query}"
    ))
    .await;
    let mut told = Follower::of(&t.session, "SUBSCRIBE TO stock").await;
    told.until_same(&t.session, query).await;
    let first = (told.cursor.clone(), told.rows.clone());
    let change = async |sql: &str| {
        database(&t.path("erp.db"), sql);
        t.ok("REFRESH MATERIALIZED VIEW stock").await;
    };
    change("UPDATE stock SET qty = 77 WHERE site = 'B'; DELETE FROM stock WHERE sku = 'c3'").await;
    told.until_same(&t.session, query).await;
    assert_eq!(told.epoch, 2);
    let go_on = |cursor: &str| format!("SUBSCRIBE TO stock WITH (cursor = '{cursor}')");
    let mut again = Follower::going_on(&t.session, &go_on(&first.0), first.1).await;
    again.until_same(&t.session, query).await;
    change("DELETE FROM stock").await;
    told.until_same(&t.session, query).await;
    change("INSERT INTO stock VALUES ('a1', 'B', 1)").await;
    told.until_same(&t.session, query).await;
    // Versions 3 and 4 are kept.
    match t.session.execute(&go_on(&first.0)).await {
        Ok(_) => panic!("version 1 is gone"),
        Err(e) => {
            assert_snapshot!(t.text(&e), @"cursor_expired: what has changed in view stock since this cursor is not retained. Subscribe without a cursor, which begins with the rows as they are. A view's option keep says how much is retained")
        }
    }
    t.ok("DROP MATERIALIZED VIEW stock").await;
    assert_eq!(told.until_error().await.code(), "subscription_ended");
}
