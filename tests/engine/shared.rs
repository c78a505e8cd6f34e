//! What a statement has twice is computed once.

use crate::fixture::{Fixture, database};

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    database(
        &fixture.path("sales.db"),
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, month INTEGER, total INTEGER);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 5000)
         INSERT INTO orders SELECT x, x % 700, x % 12, x FROM i;",
    );
    fixture
        .ok("CREATE SOURCE sales FROM 'sqlite:sales.db'")
        .await;
    fixture
}

const ASKED: &str = "SELECT count(*) AS n FROM system.fragments WHERE source = 'sales'";

/// How many fragments the source was sent meanwhile.
async fn asked(fixture: &Fixture, query: &str) -> (String, i64) {
    let count = |text: String| -> i64 {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let before = count(fixture.ok(ASKED).await);
    let answer = fixture.ok(query).await;
    (answer, count(fixture.ok(ASKED).await) - before)
}

#[tokio::test]
async fn a_common_table_expression_is_asked_for_once() {
    let fixture = fixture().await;
    for (query, times) in [
        // Joined by the source, if it can.
        (
            "WITH m AS (SELECT month, sum(total) AS total FROM sales.orders GROUP BY month)
             SELECT a.month, a.total, a.total - b.total AS more FROM m AS a JOIN m AS b ON a.month = b.month + 1
             ORDER BY a.month",
            1,
        ),
        // A month beside the one before, and what another source has.
        (
            "WITH m AS (SELECT month, sum(total) AS total FROM sales.orders GROUP BY month)
             SELECT a.month, o.customer, a.total - b.total AS more
             FROM m AS a JOIN shop.orders AS o ON o.id = a.month JOIN m AS b ON o.qty = b.month ORDER BY a.month",
            1,
        ),
        // Three readers, one of them a subquery that has run before the others begin.
        (
            "WITH m AS (SELECT customer, count(*) AS n FROM sales.orders GROUP BY customer)
             SELECT count(*) AS n FROM m AS a JOIN shop.orders AS o ON o.id = a.n - 6 JOIN m AS b ON b.customer = o.qty
             WHERE a.customer + b.n > (SELECT median(customer + n) FROM m) / 100",
            1,
        ),
        // An aggregate that is computed here, over what the source sends.
        (
            "WITH m AS (SELECT customer, median(total) AS mid FROM sales.orders GROUP BY customer)
             SELECT count(*) AS n FROM m AS a JOIN m AS b ON a.mid > b.mid AND a.customer = b.customer + 1",
            1,
        ),
        // A reader that needs nothing, and one that stops early.
        (
            "WITH m AS (SELECT customer, sum(total) AS total FROM sales.orders GROUP BY customer)
             SELECT * FROM (SELECT customer FROM m ORDER BY total LIMIT 2)
             UNION ALL SELECT customer FROM m WHERE total < 0 ORDER BY 1",
            2,
        ),
        // Each reader reads other columns of it.
        (
            "WITH m AS (SELECT customer, sum(total) AS total, count(*) AS n, max(id) AS id FROM sales.orders GROUP BY customer)
             SELECT a.customer, a.total, b.n FROM m AS a JOIN shop.orders AS o ON o.id = a.customer JOIN m AS b ON o.qty = b.customer
             ORDER BY a.customer",
            1,
        ),
        (
            "WITH m AS (SELECT customer, median(total) AS mid, median(id) AS middle FROM sales.orders GROUP BY customer)
             SELECT count(*) AS n FROM m AS a JOIN m AS b ON a.mid > b.middle AND a.customer = b.customer + 1",
            1,
        ),
        (
            "WITH o AS (SELECT * FROM sales.orders ORDER BY total DESC LIMIT 5)
             SELECT a.month, b.customer FROM o AS a JOIN shop.orders AS s ON s.id < a.month JOIN o AS b ON s.qty < b.customer
             ORDER BY a.month, b.customer",
            1,
        ),
        // So do subqueries; of other rows, it is another question.
        (
            "SELECT (SELECT sum(total) FROM sales.orders) AS total, (SELECT count(*) FROM sales.orders) AS n,
                    (SELECT max(total) FROM sales.orders WHERE month = 3) AS most",
            2,
        ),
        (
            "WITH m AS (SELECT customer, month, sum(total) AS total, count(*) AS n FROM sales.orders GROUP BY customer, month)
             SELECT count(*) AS n FROM (SELECT customer, total FROM m WHERE month = 3) AS a JOIN shop.orders AS o ON o.id = a.customer
             JOIN (SELECT customer, n FROM m WHERE month = 4) AS b ON o.qty = b.customer",
            2,
        ),
        // Not the same, or not the same twice.
        (
            "SELECT count(*) AS n FROM (SELECT customer, sum(total) AS t FROM sales.orders GROUP BY customer) AS a
             JOIN shop.orders AS o ON o.id = a.customer
             JOIN (SELECT customer, sum(total) AS t FROM sales.orders WHERE month > 3 GROUP BY customer) AS b
             ON o.qty = b.customer WHERE a.t > b.t",
            2,
        ),
        (
            "WITH r AS (SELECT customer, sum(random() * total) AS x FROM sales.orders GROUP BY customer)
             SELECT count(*) AS n FROM r AS a JOIN r AS b ON a.customer = b.customer AND a.x = b.x",
            2,
        ),
        // Of whole rows each reader asks for those that it needs.
        (
            "WITH o AS (SELECT * FROM sales.orders)
             SELECT a.id, b.id FROM o AS a JOIN o AS b ON a.id = b.total WHERE a.id < 3 ORDER BY 1",
            1,
        ),
        // Nothing is shared with the steps of a recursion.
        (
            "WITH RECURSIVE r AS (
                 SELECT 0 AS n UNION ALL
                 SELECT n + 1 FROM r WHERE n + 1 < (SELECT count(DISTINCT month) FROM sales.orders)
             ) SELECT count(*) AS n, (SELECT count(DISTINCT month) FROM sales.orders) AS months FROM r",
            2,
        ),
    ] {
        fixture.ok("SET pushdown = on").await;
        let (shared, sent) = asked(&fixture, query).await;
        assert_eq!(sent, times, "{query}");
        fixture.ok("SET pushdown = off").await;
        assert_eq!(shared, fixture.ok(query).await, "{query}");
    }
}

/// More batches than wait in memory: the second reader begins when the first has ended.
#[tokio::test]
async fn readers_may_begin_one_after_the_other() {
    let fixture = fixture().await;
    database(
        &fixture.path("sales.db"),
        "WITH RECURSIVE i(x) AS (SELECT 5001 UNION ALL SELECT x + 1 FROM i WHERE x < 200000)
         INSERT INTO orders SELECT x, x % 700, x % 12, x FROM i;",
    );
    let query = "WITH o AS (SELECT id, customer, total FROM sales.orders ORDER BY total DESC LIMIT 180000)
                 SELECT count(*) AS n, sum(a.total + b.total) AS total FROM o AS a JOIN o AS b ON a.id = b.id";
    let (shared, sent) = asked(&fixture, query).await;
    assert_eq!(sent, 1);
    fixture.ok("SET pushdown = off").await;
    assert_eq!(shared, fixture.ok(query).await);
    let plan = fixture.ok(&format!("EXPLAIN {query}")).await;
    assert!(!plan.contains("SharedExec"), "{plan}");
}

#[tokio::test]
async fn an_error_reaches_every_reader() {
    let fixture = fixture().await;
    let query = "WITH m AS (SELECT customer, median(10 / (total - 5000)) AS mid FROM sales.orders GROUP BY customer)
                 SELECT * FROM m AS a JOIN m AS b ON a.mid = b.mid";
    insta::assert_snapshot!(fixture.err(query).await, @"data: division by zero");
}

/// A value that is wrong, of a column that nobody would have looked at.
#[tokio::test]
async fn a_column_of_another_reader_is_not_its_error() {
    let fixture = fixture().await;
    database(
        &fixture.path("sales.db"),
        "UPDATE orders SET total = 'none' WHERE id = 7",
    );
    // The keys of the join's other side, which has none, leave nothing to be read of the last.
    let query = "WITH m AS (SELECT customer, sum(total) AS total, count(*) AS n FROM sales.orders GROUP BY customer)
                 SELECT sum(n) AS n FROM (SELECT n FROM m UNION ALL
                 SELECT b.total FROM shop.orders AS o JOIN m AS b ON o.qty = b.customer WHERE o.id = 99)";
    insta::assert_snapshot!(fixture.ok(query).await, @r"
    +------+
    | n    |
    +------+
    | 5000 |
    +------+
    ");
    let needed = "WITH m AS (SELECT customer, sum(total) AS total, count(*) AS n FROM sales.orders GROUP BY customer)
                  SELECT n FROM m UNION ALL SELECT total FROM m";
    let error = fixture.err(needed).await;
    assert!(
        error.starts_with("source_value_out_of_range: source sales"),
        "{error}"
    );
}

#[tokio::test]
async fn explain_shows_it_once() {
    let fixture = fixture().await;
    let query = "WITH m AS (SELECT month, sum(total) AS total FROM sales.orders GROUP BY month)
                 SELECT count(*) AS n FROM m AS a JOIN shop.orders AS o ON o.id = a.month JOIN m AS b ON o.qty = b.month
                 WHERE a.total < b.total";
    insta::assert_snapshot!(fixture.sent(query).await, @r#"
                 Sent to shop (sqlite, about 3 rows)
                   SELECT t0."id", t0."qty" FROM "main"."orders" AS t0
                 Sent to sales (sqlite, about 12 rows)
                   SELECT t0."month", sum_integer(t0."total") AS c1 FROM "main"."orders" AS t0 WHERE must_be_integer(t0."month") AND must_be_integer(t0."total") GROUP BY t0."month"
                 "#);
    let plan = fixture.ok(&format!("EXPLAIN ANALYZE {query}")).await;
    assert_eq!(plan.matches("Sent to sales").count(), 1, "{plan}");
    let wider = "WITH m AS (SELECT month, sum(total) AS total, count(*) AS n FROM sales.orders GROUP BY month)
                 SELECT count(*) AS n FROM m AS a JOIN shop.orders AS o ON o.id = a.total JOIN m AS b ON o.qty = b.n";
    insta::assert_snapshot!(fixture.sent(wider).await, @r#"
    Sent to shop (sqlite, about 3 rows)
      SELECT t0."id", t0."qty" FROM "main"."orders" AS t0
    Sent to sales (sqlite, about 12 rows)
      SELECT count(*) AS c0, sum_integer(t0."total") AS c1 FROM "main"."orders" AS t0 WHERE must_be_integer(t0."month") AND must_be_integer(t0."total") GROUP BY t0."month"
    "#);
    assert_eq!(plan.matches("SharedExec").count(), 2, "{plan}");
    assert!(!plan.contains("Not sent"), "{plan}");
}
