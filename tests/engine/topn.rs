//! A top-n above a join reads the first rows of the side that orders it, not both tables whole.

use crate::dynamic::sent;
use crate::fixture::{Fixture, database};

/// Customers in one source, many orders in another: ten a day, of which each tenth customer is not known.
async fn fixture() -> Fixture {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("crm.db"),
        "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, region TEXT);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 3000)
         INSERT INTO customer SELECT x, 'c' || x, 'r' || (x % 7) FROM i WHERE x % 10 > 0;",
    );
    database(
        &fixture.path("sales.db"),
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, day DATE, customer INTEGER, total INTEGER, note TEXT);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 20000)
         INSERT INTO orders SELECT x, date('2020-01-01', '+' || (x / 10) || ' days'), x * 7 % 3000, x % 1000,
             CASE WHEN x % 3 = 0 THEN 'n' || (x % 4) END FROM i;",
    );
    fixture.ok("CREATE SOURCE crm FROM 'sqlite:crm.db'").await;
    fixture
        .ok("CREATE SOURCE sales FROM 'sqlite:sales.db'")
        .await;
    fixture
}

/// The answer, which is that of the same query with pushdown off.
async fn same(fixture: &Fixture, query: &str) -> String {
    let pushed = fixture.ok(query).await;
    fixture.ok("SET pushdown = off").await;
    assert_eq!(pushed, fixture.ok(query).await, "{query}");
    fixture.ok("SET pushdown = on").await;
    pushed
}

const LATEST: &str =
    "SELECT o.id, o.day, c.name FROM sales.orders AS o JOIN crm.customer AS c ON c.id = o.customer
     ORDER BY o.day DESC, o.id LIMIT 5";

#[tokio::test]
async fn the_first_rows_of_the_side_that_orders() {
    let fixture = fixture().await;
    insta::assert_snapshot!(sent(&fixture, LATEST).await, @r#"
    plan
    Attempt 1 of 2: the first 500 rows of sales
    Sent to sales (sqlite, 500 rows of about 500)
    SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0 ORDER BY as_date(t0."day") DESC NULLS FIRST, t0."id" LIMIT 500
    Sent to crm (sqlite, 449 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."id" IN (SELECT value AS c0 FROM json_each(?1))
    Attempt 2 of 2: not needed
    "#);
    insta::assert_snapshot!(same(&fixture, LATEST).await, @r"
    +-------+------------+-------+
    | id    | day        | name  |
    +-------+------------+-------+
    | 19991 | 2025-06-22 | c1937 |
    | 19992 | 2025-06-22 | c1944 |
    | 19993 | 2025-06-22 | c1951 |
    | 19994 | 2025-06-22 | c1958 |
    | 19995 | 2025-06-22 | c1965 |
    +-------+------------+-------+
    ");
    insta::assert_snapshot!(fixture.sent(LATEST).await, @r#"
    Attempt 1 of 2: the first 500 rows of sales
    Sent to sales (sqlite, about 500 rows)
      SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0 ORDER BY as_date(t0."day") DESC NULLS FIRST, t0."id" LIMIT 500
    Sent to crm (sqlite, about 2700 rows)
      SELECT t0."id", t0."name" FROM "main"."customer" AS t0
    Attempt 2 of 2, if that does not decide: all rows of sales
    Sent to sales (sqlite, about 20000 rows)
      SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0
    Sent to crm (sqlite, about 2700 rows)
      SELECT t0."id", t0."name" FROM "main"."customer" AS t0
    "#);
}

#[tokio::test]
async fn it_is_turned_off() {
    let fixture = fixture().await;
    for setting in ["pushdown = off", "top_n_first_rows = 0"] {
        fixture.ok(&format!("SET {setting}")).await;
        let plan = sent(&fixture, LATEST).await;
        assert!(!plan.contains("Attempt"), "{plan}");
        assert!(plan.contains("20000 rows of about 20000"), "{plan}");
        fixture.ok("RESET ALL").await;
    }
}

/// No second attempt is needed where each row of that side has one above, in an order without ties.
#[tokio::test]
async fn the_side_that_a_join_keeps_is_limited() {
    let fixture = fixture().await;
    let query = LATEST.replace("JOIN", "LEFT JOIN");
    insta::assert_snapshot!(sent(&fixture, &query).await, @r#"
    plan
    Sent to sales (sqlite, 5 rows of about 5)
    SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0 ORDER BY as_date(t0."day") DESC NULLS FIRST, t0."id" LIMIT 5
    Sent to crm (sqlite, 3 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."id" IN (?1, ?2, ?3, ?4, ?5)
    "#);
    insta::assert_snapshot!(same(&fixture, &query).await, @r"
    +-------+------------+-------+
    | id    | day        | name  |
    +-------+------------+-------+
    | 20000 | 2025-06-23 |       |
    | 19990 | 2025-06-22 |       |
    | 19991 | 2025-06-22 | c1937 |
    | 19992 | 2025-06-22 | c1944 |
    | 19993 | 2025-06-22 | c1951 |
    +-------+------------+-------+
    ");
    // The other way round, behind names of its own, with rows to skip.
    let query = "SELECT * FROM (SELECT c.name, o.day AS d, o.id AS n FROM crm.customer AS c
         RIGHT JOIN sales.orders AS o ON c.id = o.customer) AS x ORDER BY n DESC LIMIT 3 OFFSET 2";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Sent to crm (sqlite, 4 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."id" IN (?1, ?2, ?3, ?4, ?5)
    Sent to sales (sqlite, 5 rows of about 5)
    SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0 ORDER BY t0."id" DESC LIMIT 5
    "#);
    insta::assert_snapshot!(same(&fixture, query).await, @r"
    +-------+------------+-------+
    | name  | d          | n     |
    +-------+------------+-------+
    | c1986 | 2025-06-22 | 19998 |
    | c1979 | 2025-06-22 | 19997 |
    | c1972 | 2025-06-22 | 19996 |
    +-------+------------+-------+
    ");
}

/// Which of the rows with one day come first depends on the other side.
#[tokio::test]
async fn ties_that_the_other_side_breaks() {
    let fixture = fixture().await;
    let query = "SELECT c.name, o.day FROM sales.orders AS o LEFT JOIN crm.customer AS c ON c.id = o.customer
         ORDER BY o.day DESC, c.name DESC, o.id LIMIT 5";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Attempt 1 of 2: the first 500 rows of sales
    Sent to sales (sqlite, 500 rows of about 500)
    SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0 ORDER BY as_date(t0."day") DESC NULLS FIRST LIMIT 500
    Sent to crm (sqlite, 449 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."id" IN (SELECT value AS c0 FROM json_each(?1))
    Attempt 2 of 2: not needed
    "#);
    insta::assert_snapshot!(same(&fixture, query).await, @r"
    +-------+------------+
    | name  | day        |
    +-------+------------+
    |       | 2025-06-23 |
    |       | 2025-06-22 |
    | c1993 | 2025-06-22 |
    | c1986 | 2025-06-22 |
    | c1979 | 2025-06-22 |
    +-------+------------+
    ");
}

/// A boundary in the middle of rows that are the same in the keys decides nothing.
#[tokio::test]
async fn attempts_that_do_not_decide() {
    let fixture = fixture().await;
    // 6,666 orders have no note; the others one of four.
    let query = "SELECT o.note, c.name, o.total FROM sales.orders AS o JOIN crm.customer AS c ON c.id = o.customer
         ORDER BY o.note, c.name, o.total LIMIT 3";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Attempt 1 of 2: the first 500 rows of sales
    Sent to sales (sqlite, 500 rows of about 500)
    SELECT t0."customer", t0."total", t0."note" FROM "main"."orders" AS t0 WHERE must_be_text(t0."note") ORDER BY t0."note" NULLS LAST LIMIT 500
    Sent to crm (sqlite, 200 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."id" IN (SELECT value AS c0 FROM json_each(?1))
    Attempt 2 of 2: all rows of sales
    Sent to sales (sqlite, 20000 rows of about 20000)
    SELECT t0."customer", t0."total", t0."note" FROM "main"."orders" AS t0
    Sent to crm (sqlite, 2700 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0
    "#);
    same(&fixture, query).await;
    fixture.ok("SET top_n_first_rows = 200").await;
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Attempt 1 of 3: the first 200 rows of sales
    Sent to sales (sqlite, 200 rows of about 200)
    SELECT t0."customer", t0."total", t0."note" FROM "main"."orders" AS t0 WHERE must_be_text(t0."note") ORDER BY t0."note" NULLS LAST LIMIT 200
    Sent to crm (sqlite, 160 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."id" IN (SELECT value AS c0 FROM json_each(?1))
    Attempt 2 of 3: the first 6400 rows of sales
    Sent to sales (sqlite, 6400 rows of about 6400)
    SELECT t0."customer", t0."total", t0."note" FROM "main"."orders" AS t0 WHERE must_be_text(t0."note") ORDER BY t0."note" NULLS LAST LIMIT 6400
    Sent to crm (sqlite, 2700 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0
    Attempt 3 of 3: not needed
    "#);
    insta::assert_snapshot!(same(&fixture, query).await, @r"
    +------+-------+-------+
    | note | name  | total |
    +------+-------+-------+
    | n0   | c1008 | 144   |
    | n0   | c1008 | 144   |
    | n0   | c1008 | 144   |
    +------+-------+-------+
    ");
}

#[tokio::test]
async fn a_join_without_a_match_reads_all() {
    let fixture = fixture().await;
    let query = LATEST.replace("c.id = o.customer", "c.id = o.customer + 5000");
    let plan = sent(&fixture, &query).await;
    insta::assert_snapshot!(plan, @r#"
    plan
    Attempt 1 of 2: the first 500 rows of sales
    Sent to sales (sqlite, 500 rows of about 500)
    SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0 ORDER BY as_date(t0."day") DESC NULLS FIRST, t0."id" LIMIT 500
    Sent to crm (sqlite, 0 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."id" IN (SELECT value AS c0 FROM json_each(?1))
    Attempt 2 of 2: all rows of sales
    Sent to sales (sqlite, 20000 rows of about 20000)
    SELECT t0."id", t0."day", t0."customer" FROM "main"."orders" AS t0
    Sent to crm (sqlite, 2700 rows of about 2700)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0
    "#);
    insta::assert_snapshot!(same(&fixture, &query).await, @r"
    +----+-----+------+
    | id | day | name |
    +----+-----+------+
    +----+-----+------+
    ");
}

#[tokio::test]
async fn filters_and_joins_in_between() {
    let fixture = fixture().await;
    database(
        &fixture.path("geo.db"),
        "CREATE TABLE region (code TEXT PRIMARY KEY, label TEXT);
         INSERT INTO region VALUES ('r1', 'One'), ('r2', 'Two'), ('r3', 'Two');
         CREATE TABLE line (order_id INTEGER, no INTEGER, qty INTEGER, PRIMARY KEY (order_id, no));
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 20000)
         INSERT INTO line SELECT x, n, x % 5 FROM i, (SELECT 1 AS n UNION ALL SELECT 2);",
    );
    fixture.ok("CREATE SOURCE geo FROM 'sqlite:geo.db'").await;
    // One that the source does not decide, and one on both sides.
    let query = "SELECT o.id, o.day, r.label, l.qty FROM sales.orders AS o JOIN crm.customer AS c ON c.id = o.customer
         JOIN geo.region AS r ON r.code = c.region JOIN geo.line AS l ON l.order_id = o.id
         WHERE o.total % 3 = 1 AND o.total > length(c.name) ORDER BY o.day DESC, o.id, l.no LIMIT 4";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Attempt 1 of 2: the first 500 rows of sales
    Sent to geo (sqlite, 3 rows of about 3)
    SELECT t0."code", t0."label" FROM "main"."region" AS t0
    Sent to crm (sqlite, 64 rows of about 2700)
    SELECT t0."id", t0."name", t0."region" FROM "main"."customer" AS t0 WHERE (t0."id" IN (SELECT value AS c0 FROM json_each(?1))) AND t0."region" IN (?2, ?3, ?4)
    Sent to sales (sqlite, 500 rows of about 500)
    SELECT t0."id", t0."day", t0."customer", t0."total" FROM "main"."orders" AS t0 ORDER BY as_date(t0."day") DESC NULLS FIRST, t0."id" LIMIT 500
    Sent to geo (sqlite, 128 rows of about 40000)
    SELECT t0."order_id", t0."no", t0."qty" FROM "main"."line" AS t0 WHERE (t0."order_id" IN (SELECT value AS c0 FROM json_each(?1)))
    Attempt 2 of 2: not needed
    Stays here, though one source holds its input
    sales: sales.orders.total % Int64(3) = Int64(1)
    because: a division can fail
    "#);
    insta::assert_snapshot!(same(&fixture, query).await, @r"
    +-------+------------+-------+-----+
    | id    | day        | label | qty |
    +-------+------------+-------+-----+
    | 19712 | 2025-05-25 | Two   | 2   |
    | 19712 | 2025-05-25 | Two   | 2   |
    | 19703 | 2025-05-24 | Two   | 3   |
    | 19703 | 2025-05-24 | Two   | 3   |
    +-------+------------+-------+-----+
    ");
}

/// Of a query's part, too; and no limit reaches what somebody else reads, what is more than once, or what is not the same
/// when it is computed again.
#[tokio::test]
async fn where_it_is_done() {
    let fixture = fixture().await;
    let part = format!("SELECT count(*) AS n, min(id) AS least FROM ({LATEST}) AS x");
    let cte = "WITH o AS (SELECT customer, max(day) AS day, max(id) AS id FROM sales.orders GROUP BY customer)
         SELECT o.day, o.id, p.day AS other_day, p.id AS other FROM o JOIN crm.customer AS c ON c.id = o.customer JOIN o AS p ON p.customer = CAST(right(c.region, 1) AS INT)
         ORDER BY o.day DESC, o.id LIMIT 5";
    let semi = "SELECT id, day FROM sales.orders WHERE customer IN (SELECT id FROM crm.customer WHERE region = 'r1')
         ORDER BY day, id LIMIT 5";
    let anti = semi.replace("customer IN", "customer NOT IN");
    let random = LATEST.replace("c.name", "c.name, random() AS r");
    let full = LATEST.replace("JOIN", "FULL JOIN");
    let other_first = LATEST.replace("o.day DESC", "c.name || 'x'");
    let mut found = String::new();
    for (query, is_comparable) in [
        (part.as_str(), true),
        (cte, true),
        (semi, true),
        (&anti, true),
        (&random, false),
        (&full, true),
        (&other_first, true),
    ] {
        let plan = sent(&fixture, query).await;
        let lines = plan
            .lines()
            .filter(|line| line.contains("Attempt") || line.contains(" rows of about"));
        let lines: Vec<_> = lines.collect();
        found += &format!("{query}\n  {}\n", lines.join("\n  "));
        if is_comparable {
            same(&fixture, query).await;
        }
    }
    insta::assert_snapshot!(found, @r"
    SELECT count(*) AS n, min(id) AS least FROM (SELECT o.id, o.day, c.name FROM sales.orders AS o JOIN crm.customer AS c ON c.id = o.customer
         ORDER BY o.day DESC, o.id LIMIT 5) AS x
      Attempt 1 of 2: the first 500 rows of sales
      Sent to sales (sqlite, 500 rows of about 500)
      Sent to crm (sqlite, 449 rows of about 2700)
      Attempt 2 of 2: not needed
    WITH o AS (SELECT customer, max(day) AS day, max(id) AS id FROM sales.orders GROUP BY customer)
             SELECT o.day, o.id, p.day AS other_day, p.id AS other FROM o JOIN crm.customer AS c ON c.id = o.customer JOIN o AS p ON p.customer = CAST(right(c.region, 1) AS INT)
             ORDER BY o.day DESC, o.id LIMIT 5
      Sent to crm (sqlite, 2700 rows of about 2700)
      Sent to sales (sqlite, 3000 rows of about 2981)
    SELECT id, day FROM sales.orders WHERE customer IN (SELECT id FROM crm.customer WHERE region = 'r1')
             ORDER BY day, id LIMIT 5
      Attempt 1 of 2: the first 500 rows of sales
      Sent to sales (sqlite, 500 rows of about 500)
      Sent to crm (sqlite, 386 rows of about 386)
      Attempt 2 of 2: all rows of sales
      Sent to sales (sqlite, 2316 rows of about 20000)
      Sent to crm (sqlite, 386 rows of about 386)
    SELECT id, day FROM sales.orders WHERE customer NOT IN (SELECT id FROM crm.customer WHERE region = 'r1')
             ORDER BY day, id LIMIT 5
      Attempt 1 of 2: the first 500 rows of sales
      Sent to sales (sqlite, 500 rows of about 500)
      Sent to crm (sqlite, 386 rows of about 386)
      Attempt 2 of 2: not needed
    SELECT o.id, o.day, c.name, random() AS r FROM sales.orders AS o JOIN crm.customer AS c ON c.id = o.customer
         ORDER BY o.day DESC, o.id LIMIT 5
      Sent to sales (sqlite, 20000 rows of about 20000)
      Sent to crm (sqlite, 2700 rows of about 2700)
    SELECT o.id, o.day, c.name FROM sales.orders AS o FULL JOIN crm.customer AS c ON c.id = o.customer
         ORDER BY o.day DESC, o.id LIMIT 5
      Sent to sales (sqlite, 20000 rows of about 20000)
      Sent to crm (sqlite, 2700 rows of about 2700)
    SELECT o.id, o.day, c.name FROM sales.orders AS o JOIN crm.customer AS c ON c.id = o.customer
         ORDER BY c.name || 'x', o.id LIMIT 5
      Sent to sales (sqlite, 20000 rows of about 20000)
      Sent to crm (sqlite, 2700 rows of about 2700)
    ");
}

/// Whatever is read first, the answer is the same: keys that are NULL, ties, more rows than there are.
#[tokio::test]
async fn any_number_of_first_rows() {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("a.db"),
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x REAL, y INTEGER, t TEXT);
         INSERT INTO a VALUES (1, -0.0, 1, 'a'), (2, 0.0, 1, NULL), (3, 0.0, 2, 'b'), (4, NULL, 2, 'b'), (5, NULL, 3, 'A'),
             (6, 1e308, NULL, ''), (7, -1.5, NULL, 'a'), (8, -1.5, 4, 'a'), (9, 9e999, 1, 'z'), (10, -9e999, 1, 'z');",
    );
    database(
        &fixture.path("b.db"),
        "CREATE TABLE b (y INTEGER, v TEXT);
         INSERT INTO b VALUES (1, 'p'), (1, 'q'), (2, NULL), (4, 'p'), (4, 'p'), (NULL, 'n'), (9, 'm');",
    );
    for name in ["a", "b"] {
        fixture
            .ok(&format!("CREATE SOURCE {name} FROM 'sqlite:{name}.db'"))
            .await;
    }
    let mut attempts = 0;
    for join in [
        "JOIN b.b AS b ON a.y = b.y",
        "LEFT JOIN b.b AS b ON a.y = b.y",
        "RIGHT JOIN b.b AS b ON a.y = b.y",
        "JOIN b.b AS b ON a.y < b.y AND a.id > 3",
        "CROSS JOIN b.b AS b",
    ] {
        for order in [
            "a.x",
            "a.x DESC NULLS LAST, b.v",
            "a.y NULLS FIRST, a.x",
            "a.t DESC, b.v, a.x",
            "b.y, a.x DESC",
            "a.id DESC",
        ] {
            for limit in ["1", "4 OFFSET 2", "100"] {
                let query = format!(
                    "SELECT a.x, a.t, a.id, b.y, b.v FROM a.a AS a {join} ORDER BY {order} LIMIT {limit}"
                );
                fixture.ok("SET pushdown = off").await;
                let expected = fixture.ok(&query).await;
                fixture.ok("SET pushdown = on").await;
                for rows in [1, 3, 50] {
                    fixture.ok(&format!("SET top_n_first_rows = {rows}")).await;
                    assert_eq!(fixture.ok(&query).await, expected, "{rows} rows: {query}");
                }
                attempts += fixture.sent(&query).await.matches("Attempt").count();
            }
        }
    }
    assert!(attempts > 150, "{attempts}");
}
