//! Dynamic filters: the keys of a join's one side, sent to the source of the other.

use crate::fixture::{Fixture, database};

/// A few customers in one source, many orders in another.
async fn fixture() -> Fixture {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("crm.db"),
        "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, region TEXT);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 500)
         INSERT INTO customer SELECT x, 'c' || x, CASE WHEN x % 100 = 0 THEN 'EMEA' ELSE 'APAC' END FROM i;",
    );
    database(
        &fixture.path("sales.db"),
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, code TEXT, total INTEGER);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 20000)
         INSERT INTO orders SELECT x, x % 500, 'c' || (x % 500), x FROM i;
         CREATE INDEX orders_customer ON orders (customer);",
    );
    fixture.ok("CREATE SOURCE crm FROM 'sqlite:crm.db'").await;
    fixture
        .ok("CREATE SOURCE sales FROM 'sqlite:sales.db'")
        .await;
    fixture
}

/// What was sent, and how many rows came: without times and what ran here.
pub async fn sent(fixture: &Fixture, query: &str) -> String {
    let plan = fixture.ok(&format!("EXPLAIN ANALYZE {query}")).await;
    let lines = plan.lines().take_while(|line| !line.contains("Runs here"));
    let trimmed = |line: &str| line.trim_matches(['|', ' ', '+', '-']).to_string();
    let untimed = |line: &String| !line.is_empty() && !line.contains(" ms");
    let lines: Vec<_> = lines.map(trimmed).filter(untimed).collect();
    lines.join("\n")
}

const JOIN: &str = "SELECT c.name, count(*) AS n, sum(o.total) AS total
     FROM crm.customer AS c JOIN sales.orders AS o ON o.customer = c.id
     WHERE c.region = 'EMEA' GROUP BY c.name ORDER BY c.name";

#[tokio::test]
async fn keys_are_sent_to_the_other_side() {
    let fixture = fixture().await;
    insta::assert_snapshot!(sent(&fixture, JOIN).await, @r#"
    plan
    Sent to crm (sqlite, 5 rows of about 250)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."region" = ?1 AND must_be_text(t0."region")
    Sent to sales (sqlite, 160 rows of about 20000)
    SELECT t0."customer", t0."total" FROM "main"."orders" AS t0 WHERE t0."customer" IN (?1, ?2, ?3, ?4, ?5)
    "#);
    let on = fixture.ok(JOIN).await;
    fixture.ok("SET dynamic_filters = off").await;
    insta::assert_snapshot!(sent(&fixture, JOIN).await, @r#"
    plan
    Sent to crm (sqlite, 5 rows of about 5)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."region" = ?1 AND must_be_text(t0."region")
    Sent to sales (sqlite, 20000 rows of about 20000)
    SELECT t0."customer", t0."total" FROM "main"."orders" AS t0
    "#);
    assert_eq!(on, fixture.ok(JOIN).await);
}

#[tokio::test]
async fn no_keys_no_question() {
    let fixture = fixture().await;
    let query = JOIN.replace("EMEA", "nowhere");
    insta::assert_snapshot!(sent(&fixture, &query).await, @r#"
    plan
    Sent to crm (sqlite, 0 rows of about 250)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."region" = ?1 AND must_be_text(t0."region")
    Not sent to sales (sqlite): no row could be needed
    "#);
}

#[tokio::test]
async fn many_keys_are_one_parameter() {
    let fixture = fixture().await;
    let query = "SELECT count(*) AS n, sum(o.total) AS total FROM crm.customer AS c
         JOIN sales.orders AS o ON o.code = c.name WHERE c.id % 5 = 0";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Sent to crm (sqlite, 500 rows of about 500)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0
    Sent to sales (sqlite, 3960 rows of about 20000)
    SELECT t0."code", t0."total" FROM "main"."orders" AS t0 WHERE (t0."code" IN (SELECT value AS c0 FROM json_each(?1)))
    Stays here, though one source holds its input
    crm: crm.customer.id % Int64(5) = Int64(0)
    because: a division can fail
    "#);
    let on = fixture.ok(query).await;
    fixture.ok("SET pushdown = off").await;
    assert_eq!(on, fixture.ok(query).await);
}

/// A window is of all rows, whichever are needed of it.
#[tokio::test]
async fn keys_are_above_a_window() {
    let fixture = fixture().await;
    let query = "SELECT c.name, count(*) AS n, min(w.r) AS first FROM crm.customer AS c
         JOIN (SELECT customer, rank() OVER (ORDER BY total DESC) AS r FROM sales.orders) AS w ON w.customer = c.id
         WHERE c.region = 'EMEA' GROUP BY c.name";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Sent to crm (sqlite, 5 rows of about 250)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."region" = ?1 AND must_be_text(t0."region")
    Sent to sales (sqlite, 160 rows of about 20000)
    SELECT t1.c0, t1.c1 FROM (SELECT t0."customer" AS c0, rank() OVER (ORDER BY t0."total" DESC NULLS FIRST) AS c1 FROM "main"."orders" AS t0 WHERE must_be_integer(t0."total")) AS t1 WHERE t1.c0 IN (?1, ?2, ?3, ?4, ?5) AND must_be_integer(t1.c0)
    "#);
    let query = format!("SELECT * FROM ({query}) ORDER BY name");
    let on = fixture.ok(&query).await;
    fixture.ok("SET pushdown = off").await;
    assert_eq!(on, fixture.ok(&query).await);
}

#[tokio::test]
async fn two_keys_each_narrow_their_column() {
    let fixture = fixture().await;
    let query = "SELECT count(*) AS n FROM crm.customer AS c
         JOIN sales.orders AS o ON o.customer = c.id AND o.code = c.name WHERE c.region = 'EMEA'";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Sent to crm (sqlite, 5 rows of about 250)
    SELECT t0."id", t0."name" FROM "main"."customer" AS t0 WHERE t0."region" = ?1 AND must_be_text(t0."region")
    Sent to sales (sqlite, 160 rows of about 20000)
    SELECT t0."customer", t0."code" FROM "main"."orders" AS t0 WHERE t0."customer" IN (?1, ?2, ?3, ?4, ?5) AND t0."code" IN (?6, ?7, ?8, ?9, ?10)
    "#);
}

#[tokio::test]
async fn the_side_that_is_kept_whole_is_not_narrowed() {
    let fixture = fixture().await;
    let query = "SELECT count(*) AS n, count(c.id) AS found FROM sales.orders AS o
         LEFT JOIN (SELECT * FROM crm.customer WHERE region = 'EMEA') AS c ON o.customer = c.id";
    insta::assert_snapshot!(sent(&fixture, query).await, @r#"
    plan
    Sent to sales (sqlite, 20000 rows of about 20000)
    SELECT t0."customer" FROM "main"."orders" AS t0
    Sent to crm (sqlite, 5 rows of about 250)
    SELECT t0."id" FROM "main"."customer" AS t0 WHERE t0."region" = ?1 AND must_be_text(t0."region")
    "#);
    insta::assert_snapshot!(fixture.ok(query).await, @r"
    +-------+-------+
    | n     | found |
    +-------+-------+
    | 20000 | 160   |
    +-------+-------+
    ");
}

/// Written from the largest to the smallest, as people do.
const CHAIN: &str = "SELECT r.name, count(*) AS n, sum(l.qty) AS qty
     FROM sales.line AS l, sales.orders AS o, crm.customer AS c, geo.region AS r
     WHERE l.order_id = o.id AND o.customer = c.id AND c.region = r.code AND r.name = 'Europe'
     GROUP BY r.name";

async fn chain() -> Fixture {
    let fixture = fixture().await;
    database(
        &fixture.path("sales.db"),
        "CREATE TABLE line (order_id INTEGER, no INTEGER, qty INTEGER, PRIMARY KEY (order_id, no));
         INSERT INTO line SELECT id, n, id % 7 FROM orders, (SELECT 1 AS n UNION ALL SELECT 2) AS i;",
    );
    database(
        &fixture.path("geo.db"),
        "CREATE TABLE region (code TEXT PRIMARY KEY, name TEXT);
         INSERT INTO region VALUES ('EMEA', 'Europe'), ('APAC', 'Asia'), ('AMER', 'America');",
    );
    fixture.ok("REFRESH SOURCE sales").await;
    fixture.ok("CREATE SOURCE geo FROM 'sqlite:geo.db'").await;
    fixture
}

#[tokio::test]
async fn joins_begin_with_what_is_few() {
    let fixture = chain().await;
    insta::assert_snapshot!(sent(&fixture, CHAIN).await, @r#"
    plan
    Sent to geo (sqlite, 1 rows of about 1)
    SELECT t0."code", t0."name" FROM "main"."region" AS t0 WHERE t0."name" = ?1
    Sent to crm (sqlite, 5 rows of about 500)
    SELECT t0."id", t0."region" FROM "main"."customer" AS t0 WHERE t0."region" IN (?1)
    Sent to sales (sqlite, 320 rows of about 40000)
    SELECT t0."qty", t1."customer" FROM "main"."line" AS t0 JOIN "main"."orders" AS t1 ON t0."order_id" = t1."id" WHERE t1."customer" IN (?1, ?2, ?3, ?4, ?5) AND must_be_integer(t0."order_id") AND must_be_integer(t1."customer")
    "#);
    let found = fixture.ok(CHAIN).await;
    fixture.ok("SET pushdown = off").await;
    assert_eq!(found, fixture.ok(CHAIN).await);
}

#[tokio::test]
async fn the_order_of_joins_does_not_follow_from_how_they_are_written() {
    let fixture = chain().await;
    let rows = |plan: String| -> Vec<String> {
        let lines = plan.lines().filter(|line| line.starts_with("Sent to"));
        lines.map(str::to_string).collect()
    };
    let plan = rows(sent(&fixture, CHAIN).await);
    let tables = [
        "sales.line AS l",
        "sales.orders AS o",
        "crm.customer AS c",
        "geo.region AS r",
    ];
    for order in [[3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let from = order.map(|i| tables[i]).join(", ");
        let query = CHAIN.replace(&tables.join(", "), &from);
        assert_ne!(query, CHAIN);
        assert_eq!(plan, rows(sent(&fixture, &query).await), "{query}");
    }
}

#[tokio::test]
async fn a_long_chain_of_joins_is_planned() {
    let fixture = fixture().await;
    for joins in [8, 90] {
        let mut query = "SELECT count(*) AS n FROM sales.orders AS o".to_string();
        for i in 0..joins {
            query += &format!(" JOIN crm.customer AS c{i} ON o.customer = c{i}.id");
        }
        query += " WHERE c0.region = 'EMEA'";
        let found = fixture.ok(&query).await;
        assert!(found.contains("| 160 |"), "{joins} joins: {found}");
    }
}

#[tokio::test]
async fn ranges_are_estimated_by_what_a_column_has() {
    let fixture = Fixture::empty().await;
    // A day a hundred orders, the last day as many again.
    database(
        &fixture.path("sales.db"),
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, day DATE, total DECIMAL(10, 2), rate REAL, label TEXT);
         WITH RECURSIVE i(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM i WHERE x < 39999)
         INSERT INTO orders SELECT x, date('2024-01-01', '+' || min(x / 100, 200) || ' days'), x % 1000, x / 7.0, 'l' || (x % 4)
         FROM i;",
    );
    fixture
        .ok("CREATE SOURCE sales FROM 'sqlite:sales.db'")
        .await;
    let known = "SELECT name, distinct_values, least, greatest,
                 (SELECT min(h.value) FROM system.histograms AS h WHERE h.\"table\" = 'orders' AND h.\"column\" = c.name
                  AND h.part = 0.5) AS middle
                 FROM system.columns AS c WHERE \"table\" = 'orders' ORDER BY ordinal";
    insta::assert_snapshot!(fixture.ok(known).await, @r"
    +-------+-----------------+------------+-------------------+-------------------+
    | name  | distinct_values | least      | greatest          | middle            |
    +-------+-----------------+------------+-------------------+-------------------+
    | id    | 37080           | 0          | 39999             | 19990             |
    | day   | 201             | 2024-01-01 | 2024-07-19        | 2024-07-18        |
    | total | 1030            | 0          | 999               | 495               |
    | rate  | 37080           | 0          | 5714.142857142857 | 2855.714285714286 |
    | label | 4               |            |                   |                   |
    +-------+-----------------+------------+-------------------+-------------------+
    ");
    let mut estimates = String::new();
    for condition in [
        "day < DATE '2024-01-11'",
        "day >= '2024-07-19'",
        "day >= DATE '2024-03-01' AND day < DATE '2024-03-08' AND total IS NOT NULL",
        "day BETWEEN DATE '2024-03-01' AND DATE '2024-03-07'",
        "DATE '2024-03-01' <= day AND day < DATE '2024-03-08' AND total < 100",
        "day > DATE '2030-01-01'",
        "rate < 100 OR rate > 5000",
        "label = 'l1'",
        "NOT day < DATE '2024-01-11'",
    ] {
        let found = fixture
            .ok(&format!(
                "SELECT count(*) AS n FROM sales.orders WHERE {condition}"
            ))
            .await;
        let plan = fixture
            .ok(&format!(
                "EXPLAIN SELECT * FROM sales.orders WHERE {condition}"
            ))
            .await;
        let thought = plan
            .lines()
            .find(|line| line.contains("about"))
            .unwrap_or_default();
        let n = found.lines().nth(3).unwrap_or_default();
        estimates += &format!(
            "{condition}: {} {}\n",
            thought.trim_matches(['|', ' ']),
            n.trim_matches(['|', ' '])
        );
    }
    insta::assert_snapshot!(estimates, @r"
    day < DATE '2024-01-11': Sent to sales (sqlite, about 1042 rows) 1000
    day >= '2024-07-19': Sent to sales (sqlite, about 18750 rows) 20000
    day >= DATE '2024-03-01' AND day < DATE '2024-03-08' AND total IS NOT NULL: Sent to sales (sqlite, about 678 rows) 700
    day BETWEEN DATE '2024-03-01' AND DATE '2024-03-07': Sent to sales (sqlite, about 609 rows) 700
    DATE '2024-03-01' <= day AND day < DATE '2024-03-08' AND total < 100: Sent to sales (sqlite, about 75 rows) 100
    day > DATE '2030-01-01': Sent to sales (sqlite, about 200 rows) 0
    rate < 100 OR rate > 5000: Sent to sales (sqlite, about 5643 rows) 5699
    label = 'l1': Sent to sales (sqlite, about 10000 rows) 10000
    NOT day < DATE '2024-01-11': Sent to sales (sqlite, about 38959 rows) 39000
    ");
}

/// What a subquery finds is sent like a constant, once it is known; more rows than are needed may come.
#[tokio::test]
async fn what_a_subquery_finds_is_sent() {
    let fixture = fixture().await;
    let above = |what: &str| {
        format!(
            "SELECT count(*) AS n, sum(total) AS total FROM sales.orders
             WHERE total > (SELECT {what} FROM crm.customer)"
        )
    };
    insta::assert_snapshot!(sent(&fixture, &above("max(id) * 39")).await, @r#"
    plan
    Sent to crm (sqlite, 1 rows of about 1)
    SELECT wrapping_multiply(max(t0."id"), ?1) AS c0 FROM "main"."customer" AS t0
    Sent to sales (sqlite, 501 rows of about 20000)
    SELECT t0."total" FROM "main"."orders" AS t0 WHERE t0."total" >= ?1
    Stays here, though one source holds its input
    sales: sales.orders.total > (<subquery>)
    because: a subquery inside an expression
    "#);
    // An average is a float, or a decimal with more digits.
    insta::assert_snapshot!(sent(&fixture, &above("avg(id) * 79.5")).await, @r#"
    plan
    Sent to crm (sqlite, 1 rows of about 1)
    SELECT sum_decimal(t0."id") AS c0, count(*) AS c1 FROM "main"."customer" AS t0
    Sent to sales (sqlite, 87 rows of about 20000)
    SELECT t0."total" FROM "main"."orders" AS t0 WHERE t0."total" >= ?1
    Stays here, though one source holds its input
    sales: CAST(sales.orders.total AS Float64) > (<subquery>)
    because: a subquery inside an expression
    crm: Projection: average(sum(crm.customer.id), count(Int64(1))) * Float64(79.5) AS avg(crm.customer.id) * Float64(79.5)
    because: float arithmetic: SQLite has no NaN
    "#);
    let queries = [
        above("avg(id)"),
        above("max(id)"),
        above("max(CAST(NULL AS INT))"),
        above("max(id) * 1e300"),
        above("avg(CAST(id AS DECIMAL(10, 2))) * 3"),
        "SELECT id FROM sales.orders WHERE customer = (SELECT max(id) - 1 FROM crm.customer) ORDER BY id LIMIT 5".to_string(),
        "SELECT id FROM sales.orders WHERE total < 0 - (SELECT avg(id) FROM crm.customer) OR total < 3 ORDER BY id".to_string(),
    ];
    let mut pushed = Vec::new();
    for query in &queries {
        pushed.push(fixture.ok(query).await);
    }
    fixture.ok("SET pushdown = off").await;
    for (query, pushed) in queries.iter().zip(pushed) {
        assert_eq!(fixture.ok(query).await, pushed, "{query}");
    }
    assert!(
        sent(&fixture, &above("max(id) * 39"))
            .await
            .contains("20000 rows")
    );
}
