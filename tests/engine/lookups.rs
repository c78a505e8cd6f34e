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

const LINES: i64 = 4;

/// Orders with their lines, items that some of them name, and customers; each kept in one way by half of the views, in the other by the others.
async fn shop() -> Fixture {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("shop.db"),
        "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, region INTEGER);
         CREATE TABLE item (sku TEXT PRIMARY KEY, name TEXT, price REAL);
         CREATE TABLE head (id INTEGER PRIMARY KEY, customer INTEGER, day DATE);
         CREATE TABLE line (head INTEGER, no INTEGER, sku TEXT, qty INTEGER, PRIMARY KEY (head, no));
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 200)
         INSERT INTO head SELECT x, CASE x % 9 WHEN 0 THEN NULL ELSE x % 23 END, date('2026-01-01', '+' || (x % 40) || ' days') FROM i;
         INSERT INTO customer SELECT id, 'C' || id, id % 3 FROM head WHERE id <= 15;
         INSERT INTO item SELECT 's' || id, 'item ' || id, id * 1.25 FROM head WHERE id <= 30;
         INSERT INTO line SELECT h.id, l.id, CASE (h.id + l.id) % 7 WHEN 0 THEN NULL ELSE 's' || ((h.id * l.id) % 40) END, (h.id * 7 + l.id) % 11
             FROM head h JOIN head l ON l.id <= 4;",
    );
    fixture
        .ok("CREATE SOURCE shop FROM 'sqlite:shop.db' WITH (writable = true, changes = 'triggers')")
        .await;
    for (kind, refresh) in [("kept", "on change"), ("timed", "manual")] {
        for (table, key) in [
            ("customer", "id"),
            ("item", "sku"),
            ("head", "id"),
            ("line", "head, no"),
        ] {
            let view = format!("{kind}_{table}");
            fixture
                .ok(&format!(
                    "CREATE MATERIALIZED VIEW {view} WITH (refresh = '{refresh}', key = '{key}', wait = true) AS SELECT * FROM shop.{table}"
                ))
                .await;
            if refresh == "manual" {
                fixture
                    .ok(&format!("REFRESH MATERIALIZED VIEW {view}"))
                    .await;
            }
        }
        fixture
            .ok(&format!("CREATE INDEX ON {kind}_head (customer)"))
            .await;
    }
    fixture
}

/// Statements, with `V_` for the views of one kind; whether they are lookups; None: either.
const STATEMENTS: &[(&str, Option<bool>)] = &[
    ("SELECT * FROM V_line WHERE head = $1", Some(true)),
    ("SELECT qty, no FROM V_line WHERE head = $1 AND no = $2", Some(true)),
    ("SELECT qty * 2 AS twice, no || '' AS no FROM V_line WHERE head = $1 AND qty > $2", Some(true)),
    ("SELECT no, qty FROM V_line WHERE head = $1 AND no BETWEEN $2 AND $2 + 1", Some(true)),
    ("SELECT no FROM V_line WHERE head = $1 AND no >= $2 AND no < 4", Some(true)),
    ("SELECT no FROM V_line WHERE head = $1 AND no >= $2 AND no < 40000", Some(true)),
    ("SELECT id FROM V_head WHERE id BETWEEN $1 AND $2", Some(true)),
    ("SELECT id FROM V_head WHERE id > $1 AND id <= $2 + 10 AND customer IS NOT NULL", Some(true)),
    ("SELECT id, day FROM V_head WHERE customer = $1 AND day > DATE '2026-01-10'", Some(true)),
    ("SELECT id FROM V_head WHERE customer IN ($1, $2) ORDER BY id DESC LIMIT 3", Some(true)),
    ("SELECT id FROM V_head WHERE customer = $1 ORDER BY day, id OFFSET 1", Some(true)),
    (
        "SELECT h.id, c.name FROM V_head h JOIN V_customer c ON h.customer = c.id WHERE h.id = $1",
        Some(true),
    ),
    (
        "SELECT h.id, c.name, c.region + 1 AS next FROM V_head h LEFT JOIN V_customer c ON h.customer = c.id WHERE h.id IN ($1, $2)",
        Some(true),
    ),
    (
        "SELECT h.id, c.name FROM V_customer c RIGHT JOIN V_head h ON h.customer = c.id WHERE h.id = $1",
        Some(true),
    ),
    (
        "SELECT c.name, h.id FROM V_customer c, V_head h WHERE h.customer = c.id AND c.id = $1 AND c.region < 2",
        Some(true),
    ),
    (
        "SELECT l.no, i.name, i.price * l.qty AS value FROM V_line l JOIN V_item i ON i.sku = l.sku WHERE l.head = $1 AND l.qty <> i.price",
        Some(true),
    ),
    (
        "SELECT l.no, i.name FROM V_line l LEFT JOIN V_item i USING (sku) WHERE l.head = $1 ORDER BY l.no",
        Some(true),
    ),
    (
        "SELECT h.day, c.name, l.no, i.name AS item FROM V_head h LEFT JOIN V_customer c ON c.id = h.customer
         JOIN V_line l ON l.head = h.id LEFT JOIN V_item i ON i.sku = l.sku WHERE h.id = $1",
        Some(true),
    ),
    (
        "SELECT a.no, b.no AS other FROM V_line a JOIN V_line b ON a.head = b.head AND a.no = b.no WHERE a.head = $1",
        Some(true),
    ),
    (
        "SELECT v.id, v.name FROM (SELECT h.id, c.name, c.region AS r FROM V_head h JOIN V_customer c ON h.customer = c.id) v WHERE v.id = $1 AND r = 1",
        Some(true),
    ),
    ("SELECT count(*) AS n FROM V_line WHERE head = $1", Some(false)),
    ("SELECT id FROM V_head WHERE day = DATE '2026-01-10'", Some(false)),
    ("SELECT id FROM V_head WHERE id > $1", Some(false)),
    (
        "SELECT h.id FROM V_head h JOIN V_item i ON i.price = h.id WHERE h.id = $1",
        Some(false),
    ),
    (
        "SELECT h.id, l.no FROM V_head h FULL JOIN V_line l ON l.head = h.id WHERE h.id = $1",
        None,
    ),
    (
        "SELECT no FROM V_line WHERE head = $1 AND no = $2 AND 100 / qty > 1 AND qty <> 0",
        Some(true),
    ),
    (
        "SELECT no FROM V_line WHERE head = $1 AND qty > (SELECT avg(qty) FROM V_line) AND no <> $2",
        Some(false),
    ),
    (
        "SELECT no FROM V_line WHERE head = $1 AND qty < CASE WHEN no > 1 THEN $2 ELSE 5 END",
        None,
    ),
    (
        "SELECT l.no, i.price FROM V_line l JOIN V_item i ON i.sku = l.sku WHERE l.head = $1 ORDER BY i.price DESC, l.no LIMIT 2",
        Some(true),
    ),
    (
        "SELECT no, qty * 1.10 AS more, qty / 3.0 AS third FROM V_line WHERE head = $1 AND no = $2",
        Some(true),
    ),
    (
        "SELECT sku, nullif(price, 2.5) AS p FROM V_item WHERE sku = 's' || $1 AND price IN (1.25, 2.5, 3.75, 5, 6.25)",
        None,
    ),
];

/// What the short way finds is what the tables have: by first columns of keys, by ranges, by indexes, over joins.
#[tokio::test]
async fn what_goes_the_short_way_is_what_the_tables_have() {
    let fixture = shop().await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let sorted = |shown: &str| {
        let mut rows: Vec<String> = shown.lines().map(str::to_string).collect();
        let is_header = rows.len().min(3);
        rows[is_header..].sort_unstable();
        rows
    };
    for round in 0..3 {
        for kind in ["kept_", "timed_"] {
            for (sql, is_lookup) in STATEMENTS {
                let prepared = fixture.session.prepare(&sql.replace("V_", kind)).await;
                let prepared = prepared.unwrap_or_else(|e| panic!("{sql}: {e}"));
                let is_so = prepared.is_lookup();
                assert!(
                    is_lookup.is_none_or(|expected| is_so == expected),
                    "{kind} {sql}"
                );
                for _ in 0..6 {
                    let values = [random.i64(-1..210), random.i64(0..2 * LINES)];
                    let given: Vec<ScalarValue> = values
                        .iter()
                        .map(|value| ScalarValue::from(*value))
                        .collect();
                    let given = &given[..prepared.parameters.len()];
                    let answer = fixture.session.execute_prepared(&prepared, given).await;
                    let found = table(answer.unwrap()).await.unwrap();
                    let text = sql
                        .replace("V_", "shop.")
                        .replace("$1", &values[0].to_string())
                        .replace("$2", &values[1].to_string());
                    fixture.ok("SET pushdown = off").await;
                    let expected = fixture.ok(&text).await;
                    fixture.ok("SET pushdown = on").await;
                    match sql.contains("ORDER BY") {
                        true => assert_eq!(found, expected, "{kind} {text}"),
                        false => assert_eq!(sorted(&found), sorted(&expected), "{kind} {text}"),
                    }
                }
            }
        }
        // Rows that are gone and rows that have other keys are not found by what they had.
        let id = 20 * (round + 1);
        for change in [
            format!("DELETE FROM shop.line WHERE head = {id} AND no = 2"),
            format!("UPDATE shop.head SET customer = 7 WHERE id = {}", id + 1),
            format!("UPDATE shop.item SET price = 3.5 WHERE sku = 's{round}'"),
        ] {
            fixture.ok(&change).await;
        }
        for view in ["customer", "item", "head", "line"] {
            fixture
                .ok(&format!("REFRESH MATERIALIZED VIEW timed_{view}"))
                .await;
        }
        fixture.ok("SET max_staleness = '0s'").await;
        fixture
            .ok("SELECT count(*) FROM kept_line, kept_item, kept_head WHERE false")
            .await;
        fixture.ok("SET max_staleness = 'none'").await;
    }
}

/// Many rows that a key finds are streamed, the long way; and what cannot be computed of one is said.
#[tokio::test]
async fn many_rows_of_a_key_and_errors_of_one() {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("big.db"),
        "CREATE TABLE t (a INTEGER, b INTEGER, PRIMARY KEY (a, b));
         WITH RECURSIVE i(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM i WHERE x < 12000)
         INSERT INTO t SELECT x / 11000, x FROM i;",
    );
    fixture
        .ok("CREATE SOURCE big FROM 'sqlite:big.db' WITH (changes = 'triggers')")
        .await;
    fixture
        .ok("CREATE MATERIALIZED VIEW t WITH (refresh = 'on change', key = 'a, b', wait = true) AS SELECT * FROM big.t")
        .await;
    let count = async |sql: &str, values: &[i64]| -> Result<usize, belvedere::Error> {
        let prepared = fixture.session.prepare(sql).await?;
        assert!(prepared.is_lookup(), "{sql}");
        let values: Vec<ScalarValue> = values.iter().map(|v| ScalarValue::from(*v)).collect();
        let answer = fixture.session.execute_prepared(&prepared, &values).await?;
        let batches = answer.collect().await?;
        Ok(batches.iter().map(|batch| batch.num_rows()).sum())
    };
    let by_first = "SELECT b FROM t WHERE a = $1";
    assert_eq!(count(by_first, &[0]).await.unwrap(), 11_000);
    assert_eq!(count(by_first, &[1]).await.unwrap(), 1_001);
    let divided = "SELECT b / (b - $2) AS d FROM t WHERE a = $1";
    assert_eq!(count(divided, &[1, 0]).await.unwrap(), 1_001);
    let e = count(divided, &[1, 11_500]).await.unwrap_err();
    insta::assert_snapshot!(e.to_string(), @"division by zero");
    // A NULL finds nothing.
    let prepared = fixture.session.prepare(by_first).await.unwrap();
    let none = [ScalarValue::Int64(None)];
    let answer = fixture.session.execute_prepared(&prepared, &none).await;
    let rows = answer.unwrap().collect().await.unwrap();
    assert!(rows.iter().all(|batch| batch.num_rows() == 0));
}

/// What the long way asks of the views that it reads is asked of those of a lookup, too.
#[tokio::test]
async fn a_lookup_reads_what_may_be_read() {
    let fixture = shop().await;
    let session = &fixture.session;
    let look = async |sql: &str, value: ScalarValue| {
        let prepared = session.prepare(sql).await.unwrap();
        assert!(prepared.is_lookup(), "{sql}");
        let answer = session.execute_prepared(&prepared, &[value]).await;
        table(answer.unwrap()).await.unwrap()
    };
    // Defined anew in its transaction, it has not what it had before.
    let by_sku = "SELECT name FROM timed_item WHERE sku = $1";
    assert!(look(by_sku, "s3".into()).await.contains("| item 3 "));
    fixture.ok("BEGIN").await;
    fixture
        .ok("CREATE OR REPLACE MATERIALIZED VIEW timed_item WITH (refresh = 'manual', key = 'sku') AS SELECT sku, sku AS name FROM shop.item")
        .await;
    assert!(look(by_sku, "s3".into()).await.contains("| s3 "));
    fixture.ok("ROLLBACK").await;
    assert!(look(by_sku, "s3".into()).await.contains("| item 3 "));
    // Of two bounds on one copy the smaller counts.
    fixture
        .ok("CREATE VIEW strict WITH (max_staleness = '1ms') AS SELECT * FROM timed_head")
        .await;
    fixture
        .ok("UPDATE shop.head SET customer = 77 WHERE id = 5")
        .await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    for both in [
        "SELECT a.id, b.customer FROM timed_head a JOIN strict b ON a.id = b.id WHERE a.id = $1",
        "SELECT a.id, a.customer FROM strict b JOIN timed_head a ON a.id = b.id WHERE b.id = $1",
    ] {
        assert!(look(both, 5i64.into()).await.contains("| 77 "), "{both}");
    }
}
