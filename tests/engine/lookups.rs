//! Rows that are looked up at a source: what waits for it is asked together, and each is given its own.

use std::time::Duration;

use datafusion::scalar::ScalarValue;
use futures::future::join_all;

use crate::fixture::{Fixture, database, table};

const CLIENTS: i64 = 40;

/// A source that answers one question at a time.
async fn fixture() -> Fixture {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("one.db"),
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, half INTEGER);
         CREATE TABLE price (sku TEXT, site TEXT, cents INTEGER, PRIMARY KEY (sku, site)) WITHOUT ROWID;
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 3000)
         INSERT INTO t SELECT x, 'name ' || x, x % 2 FROM i;
         INSERT INTO price SELECT 's' || id, 'HH', id FROM t;",
    );
    fixture
        .ok("CREATE SOURCE one FROM 'sqlite:one.db' WITH (max_connections = 1, queue_timeout = '10min')")
        .await;
    fixture
}

/// Run this for each client while the source is busy, so that all of them wait for it; how many questions it was then asked.
async fn while_busy<F: Future<Output = ()>>(
    fixture: &Fixture,
    client: impl Fn(i64) -> F,
) -> (i64, i64) {
    let session = fixture.engine.session();
    let busy = tokio::spawn(async move {
        let long = "SELECT count(*) FROM one.t a JOIN one.t b ON a.half = b.half";
        session
            .execute(long)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap()
    });
    let number = async |sql: &str| -> i64 {
        let cells = fixture.ok(sql).await;
        let cell = cells.lines().nth(3).unwrap_or_default();
        cell.trim_matches(['|', ' ']).parse().unwrap()
    };
    while number("SELECT running FROM system.sources WHERE name = 'one'").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    join_all((0..CLIENTS).map(client)).await;
    busy.await.unwrap();
    let of_lookups = "FROM system.fragments WHERE lower(text) NOT LIKE '%count%'";
    let asked = number(&format!("SELECT sum(attempts) AS n {of_lookups}")).await;
    let wanted = number(&format!("SELECT count(*) AS n {of_lookups}")).await;
    (asked, wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_that_wait_are_asked_together() {
    let fixture = fixture().await;
    let (asked, wanted) = while_busy(&fixture, async |client: i64| {
        let session = fixture.engine.session();
        // Every fourth is not there.
        let id = if client % 4 == 0 {
            5000 + client
        } else {
            client
        };
        let rows = session
            .execute(&format!("SELECT name FROM one.t WHERE id = {id}"))
            .await;
        let rows = table(rows.unwrap()).await.unwrap();
        let name = format!("| name {id} ");
        assert_eq!(rows.contains(&name), client % 4 != 0, "{rows}");
    })
    .await;
    assert_eq!(wanted, CLIENTS);
    // Those that were there when the source became free are one question.
    assert!(
        asked < CLIENTS / 2,
        "{asked} questions for {wanted} lookups"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn so_are_keys_of_two_columns() {
    let fixture = fixture().await;
    let (asked, wanted) = while_busy(&fixture, async |client: i64| {
        let session = fixture.engine.session();
        let sql = "SELECT cents FROM one.price WHERE site = $1 AND sku = $2";
        let prepared = session.prepare(sql).await.unwrap();
        let site = if client % 4 == 0 { "B" } else { "HH" };
        let text = |text: String| ScalarValue::Utf8(Some(text));
        let key = [text(site.into()), text(format!("s{}", client + 1))];
        let rows = session.execute_prepared(&prepared, &key).await.unwrap();
        let rows = table(rows).await.unwrap();
        let cents = format!("| {} ", client + 1);
        assert_eq!(rows.contains(&cents), client % 4 != 0, "{rows}");
    })
    .await;
    assert_eq!(wanted, CLIENTS);
    assert!(
        asked < CLIENTS / 2,
        "{asked} questions for {wanted} lookups"
    );
}

#[tokio::test]
async fn a_prepared_lookup_finds_what_has_changed_since() {
    let fixture = fixture().await;
    let sql = "SELECT * FROM one.t WHERE id = $1";
    let prepared = fixture.session.prepare(sql).await.unwrap();
    let look = async |id: i64| {
        let value = [ScalarValue::Int64(Some(id))];
        table(fixture.session.execute_prepared(&prepared, &value).await?).await
    };
    for id in [1, 2, 3] {
        assert!(look(id).await.unwrap().contains(&format!("| name {id} ")));
    }
    database(
        &fixture.path("one.db"),
        "UPDATE t SET name = 'other' WHERE id = 3",
    );
    assert!(look(3).await.unwrap().contains("| other "));
    // What it reads has other columns: it is to be prepared again.
    database(
        &fixture.path("one.db"),
        "ALTER TABLE t RENAME COLUMN name TO title",
    );
    let e = look(3).await.unwrap_err();
    insta::assert_snapshot!(e.to_string(), @"the answer has other columns than the statement was prepared with: what it reads has changed since. Prepare it again");
    fixture.ok("REFRESH SOURCE one").await;
    let prepared = fixture.session.prepare(sql).await.unwrap();
    let value = [ScalarValue::Int64(Some(3))];
    let answer = fixture
        .session
        .execute_prepared(&prepared, &value)
        .await
        .unwrap();
    assert!(table(answer).await.unwrap().contains("| title "));
}

/// What is known of a query's text is known to all sessions, as long as it means the same.
#[tokio::test]
async fn a_text_that_is_prepared_again_means_what_it_means_then() {
    let t = Fixture::empty().await;
    let engine = t.open().await.unwrap();
    let session = engine.session();
    let ok = async |sql: &str| table(session.execute(sql).await.unwrap()).await.unwrap();
    ok("CREATE SOURCE erp FROM 'sqlite:erp.db'").await;
    ok("CREATE VIEW public.v AS SELECT sku, 'public' AS from_where FROM erp.item").await;
    ok("CREATE SCHEMA other").await;
    ok("CREATE VIEW other.v AS SELECT sku, 'other' AS from_where FROM erp.item").await;
    ok("CREATE MATERIALIZED VIEW kept WITH (keep = 5) AS SELECT sku, name FROM erp.item").await;
    let look = async |path: &str, sql: &str| {
        let session = engine.session();
        session.set("search_path", path).unwrap();
        // As clients do that prepare for each execution.
        let mut found = Vec::new();
        for _ in 0..3 {
            let prepared = session.prepare(sql).await.unwrap();
            let value = [ScalarValue::Utf8(Some("a1".to_string()))];
            let answer = session.execute_prepared(&prepared, &value).await.unwrap();
            found.push(table(answer).await.unwrap());
        }
        assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
        found.swap_remove(0)
    };
    let by_sku = "SELECT from_where FROM v WHERE sku = $1";
    assert!(look("public", by_sku).await.contains("public"));
    assert!(look("other", by_sku).await.contains("other"));
    assert!(look("public", by_sku).await.contains("public"));
    ok("CREATE OR REPLACE VIEW public.v AS SELECT sku, 'new' AS from_where FROM erp.item").await;
    assert!(look("public", by_sku).await.contains("new"));
    // Versions are picked when the statement is prepared, and rows when it runs.
    let (newest, first) = (
        "SELECT name FROM kept WHERE sku = $1",
        "SELECT name FROM kept VERSION AS OF 1 WHERE sku = $1",
    );
    assert!(look("public", newest).await.contains("Apple"));
    database(
        &t.path("erp.db"),
        "UPDATE item SET name = 'Apricot' WHERE sku = 'a1'",
    );
    ok("REFRESH MATERIALIZED VIEW kept").await;
    assert!(look("public", newest).await.contains("Apricot"));
    assert!(look("public", first).await.contains("Apple"));
    let of_session = "SELECT current_setting('search_path') WHERE $1 = 'a1'";
    assert!(look("other", of_session).await.contains("other"));
    assert!(look("public", of_session).await.contains("public"));
    // And nothing of it keeps the engine.
    drop(session);
    engine.close().await.unwrap();
    let engine = t.open().await.unwrap();
    engine.close().await.unwrap();
}

/// Those of a key whose first columns alone are given are not looked for among all rows.
#[tokio::test]
async fn the_first_columns_of_a_key_find_its_rows() {
    let fixture = fixture().await;
    fixture
        .ok("CREATE MATERIALIZED VIEW prices WITH (refresh = 'manual', key = 'sku, site') AS SELECT * FROM one.price")
        .await;
    fixture.ok("REFRESH MATERIALIZED VIEW prices").await;
    for (condition, index) in [
        ("sku = 's7'", "rows=1, index=[sku]"),
        ("sku IN ('s7', 's8')", "rows=2, index=[sku]"),
        ("sku = 's7' AND site = 'HH'", "rows=1, index=[sku, site]"),
        ("site = 'HH'", "rows=3000"),
    ] {
        let query = format!("SELECT sum(cents) AS n FROM prices WHERE {condition}");
        let plan = fixture.ok(&format!("EXPLAIN {query}")).await;
        assert!(plan.contains(index), "{condition}: {plan}");
        fixture.ok("SET pushdown = off").await;
        let expected = fixture.ok(&query.replace("prices", "one.price")).await;
        fixture.ok("SET pushdown = on").await;
        assert_eq!(fixture.ok(&query).await, expected);
    }
}

/// By lists of values, by NULLs among them, and by the first columns of a key: the rows are those that the table has.
#[tokio::test]
async fn lists_of_keys_are_looked_up() {
    let fixture = fixture().await;
    fixture
        .ok("CREATE MATERIALIZED VIEW prices WITH (refresh = 'manual', key = 'sku, site') AS SELECT * FROM one.price")
        .await;
    fixture.ok("REFRESH MATERIALIZED VIEW prices").await;
    let text = |text: &str| ScalarValue::from(text);
    let none = ScalarValue::Utf8(None);
    for (condition, values, expected) in [
        (
            "sku IN ($1, $2)",
            vec![text("s7"), text("s9")],
            vec!["7", "9"],
        ),
        ("sku IN ($1, $1, 's7')", vec![text("s7")], vec!["7"]),
        (
            "sku IN ($1, $2) AND site = 'HH'",
            vec![text("s7"), none.clone()],
            vec!["7"],
        ),
        (
            "sku IN ($1) AND site IN ('B', $2)",
            vec![text("s8"), text("HH")],
            vec!["8"],
        ),
        ("sku = $1", vec![text("s5")], vec!["5"]),
        ("sku IN ($1, $2)", vec![none.clone(), none], vec![]),
        (
            "sku = $1 AND site = $2",
            vec![text("s5"), text("B")],
            vec![],
        ),
    ] {
        let sql = format!("SELECT cents, sku FROM prices WHERE {condition}");
        let prepared = fixture.session.prepare(&sql).await.unwrap();
        for _ in 0..2 {
            let answer = fixture.session.execute_prepared(&prepared, &values).await;
            let shown = table(answer.unwrap()).await.unwrap();
            let rows = shown.lines().filter(|line| line.starts_with("| ")).skip(1);
            let first = rows.map(|row| row[1..].split('|').next().unwrap_or_default().trim());
            let mut found: Vec<&str> = first.collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{condition} {values:?}");
        }
    }
}
