//! Queries whose answers were wrong before `src/engine/upstream`.

use crate::fixture::{Fixture, database};

async fn fixture(tables: &str) -> Fixture {
    let fixture = Fixture::empty().await;
    database(&fixture.path("own.db"), tables);
    fixture.ok("CREATE SOURCE own FROM 'sqlite:own.db'").await;
    fixture.ok("SET pushdown = off").await;
    fixture
}

#[tokio::test]
async fn a_filter_stays_at_its_own_column() {
    // b is the smaller, and is read first: the sides are swapped, and put back by a projection.
    let fixture = fixture(
        "CREATE TABLE a (id INTEGER, n INTEGER);
         CREATE TABLE b (id INTEGER, n INTEGER);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 1000)
         INSERT INTO a SELECT x, x FROM i;
         INSERT INTO b VALUES (1, 1), (2, 3), (2000, 2000);",
    )
    .await;
    let found = fixture
        .ok("SELECT count(*) AS rows, count(a.id) AS a, count(b.id) AS b
             FROM own.main.a FULL JOIN own.main.b ON a.id = b.id AND a.n = b.n
             WHERE a.id IS NULL AND b.n >= b.n")
        .await;
    insta::assert_snapshot!(found, @r"
    +------+---+---+
    | rows | a | b |
    +------+---+---+
    | 2    | 0 | 2 |
    +------+---+---+
    ");
}

#[tokio::test]
async fn a_top_n_over_a_union_of_constants() {
    // The first is slower, so that the second's bound is there before its only row.
    let fixture = fixture(
        "CREATE TABLE t (n INTEGER);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 1000)
         INSERT INTO t SELECT x FROM i;",
    )
    .await;
    let found = fixture
        .ok("SELECT * FROM (
                SELECT count(l.n) AS a, min(l.n) FILTER (WHERE l.n > 5000) AS b
                FROM own.main.t AS l JOIN own.main.t AS r ON l.n % 7 = r.n % 7
                UNION ALL SELECT 2147483645 AS a, n AS b FROM own.main.t WHERE n < 5) AS q
             ORDER BY a, b LIMIT 2")
        .await;
    insta::assert_snapshot!(found, @r"
    +------------+---+
    | a          | b |
    +------------+---+
    | 142858     |   |
    | 2147483645 | 1 |
    +------------+---+
    ");
}

#[tokio::test]
async fn extremes_of_floats_do_not_depend_on_the_order_of_rows() {
    let fixture = fixture(
        "CREATE TABLE t (g INTEGER, n INTEGER, x REAL);
         INSERT INTO t VALUES (1, 1, 1.0), (1, 2, NULL), (2, 1, NULL), (2, 2, 1.0),
                              (3, 1, 9e999), (4, 1, -9e999);",
    )
    .await;
    let query = |float: &str| {
        format!(
            "SELECT g, max(y) AS most, min(y) AS least
             FROM (SELECT g, CAST(coalesce(x, CAST('NaN' AS DOUBLE)) AS {float}) AS y
                   FROM own.main.t ORDER BY g, n LIMIT 6) AS q
             GROUP BY g ORDER BY g"
        )
    };
    let found = fixture.ok(&query("DOUBLE")).await;
    insta::assert_snapshot!(found, @r"
    +---+------+-------+
    | g | most | least |
    +---+------+-------+
    | 1 | NaN  | 1.0   |
    | 2 | NaN  | 1.0   |
    | 3 | inf  | inf   |
    | 4 | -inf | -inf  |
    +---+------+-------+
    ");
    assert_eq!(found, fixture.ok(&query("REAL")).await);
}

#[tokio::test]
async fn zeros_are_equal_in_every_comparison() {
    let fixture = fixture("CREATE TABLE t (x REAL); INSERT INTO t VALUES (0.0), (1.0);").await;
    let found = fixture
        .ok("SELECT x, y IN (x, 5, 6, 7, 8) AS listed, y NOT IN (x, 5, 6, 7, 8) AS missing, nullif(y, x) AS n,
                CASE y WHEN x THEN 'same' ELSE 'other' END AS c,
                CASE x WHEN CAST('-0' AS DOUBLE) THEN 'same' WHEN 5 THEN 'five' ELSE 'other' END AS d
             FROM (SELECT x, CAST('-0' AS DOUBLE) * x + CAST('-0' AS DOUBLE) AS y FROM own.main.t) AS q
             WHERE x IN (CAST('-0' AS DOUBLE), 1, 2, 3, 4) ORDER BY x")
        .await;
    insta::assert_snapshot!(found, @r"
    +-----+--------+---------+------+-------+-------+
    | x   | listed | missing | n    | c     | d     |
    +-----+--------+---------+------+-------+-------+
    | 0.0 | true   | false   |      | same  | same  |
    | 1.0 | false  | true    | -0.0 | other | other |
    +-----+--------+---------+------+-------+-------+
    ");
}
