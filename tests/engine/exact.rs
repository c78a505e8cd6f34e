//! Sums of floats, and what is computed from them: the same bits, whatever the order of rows and the way there.

use crate::fixture::{Fixture, database};

/// Floats of many sizes, some of which cancel: a sum that rounds on its way depends on the way.
async fn fixture() -> Fixture {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("own.db"),
        "CREATE TABLE t (n INTEGER PRIMARY KEY, g INTEGER, y INTEGER, x REAL);
         WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3000)
         INSERT INTO t SELECT n, n % 3, n % 7,
            CASE n % 11 WHEN 0 THEN NULL
                        WHEN 1 THEN 1e16 * (n % 5) WHEN 2 THEN -1e16 * (n % 4) WHEN 3 THEN 1e-9 / n
                        ELSE (n * 7919 % 10007) / 100.0 END
         FROM i;",
    );
    fixture.ok("CREATE SOURCE own FROM 'sqlite:own.db'").await;
    fixture
}

/// What all of the queries answer.
async fn same(fixture: &Fixture, queries: &[&str]) -> String {
    let first = fixture.ok(queries[0]).await;
    for query in &queries[1..] {
        assert_eq!(fixture.ok(query).await, first, "{query}");
    }
    first
}

/// What a query over `t` answers, in whichever order its rows come.
async fn in_any_order(fixture: &Fixture, query: &str) -> String {
    let orders = ["n", "n DESC", "x", "x DESC", "abs(x)", "n * 7919 % 3001"];
    let ordered = orders.map(|order| {
        let rows = format!("(SELECT * FROM own.main.t ORDER BY {order} LIMIT 3000) AS t");
        query.replace("own.main.t", &rows)
    });
    let mut queries: Vec<_> = ordered.iter().map(String::as_str).collect();
    queries.push(query);
    same(fixture, &queries).await
}

#[tokio::test]
async fn sums_are_rounded_once() {
    let fixture = Fixture::empty().await;
    let found = fixture
        .ok(
            "SELECT g, sum(x) AS sum, avg(x) AS avg, mean(x) AS mean, count(x) AS n FROM (VALUES
                ('tenths', 0.1), ('tenths', 0.1), ('tenths', 0.1), ('tenths', 0.1), ('tenths', 0.1),
                ('tenths', 0.1), ('tenths', 0.1), ('tenths', 0.1), ('tenths', 0.1), ('tenths', 0.1),
                ('large', 1e308), ('large', 1e308), ('large', -1e308),
                ('too large', 1e308), ('too large', 1e308),
                ('small', 1e16), ('small', 1), ('small', -1e16), ('small', 5e-324),
                ('infinite', CAST('Infinity' AS DOUBLE)), ('infinite', 1), ('infinite', -1e308),
                ('both', CAST('Infinity' AS DOUBLE)), ('both', CAST('-Infinity' AS DOUBLE)),
                ('nan', CAST('NaN' AS DOUBLE)), ('nan', 1), ('nan', CAST('Infinity' AS DOUBLE)),
                ('zero', -0.0), ('zero', -0.0), ('null', NULL)) AS t(g, x)
             GROUP BY g ORDER BY g",
        )
        .await;
    insta::assert_snapshot!(found, @r"
    +-----------+-------+-----------------------+-----------------------+----+
    | g         | sum   | avg                   | mean                  | n  |
    +-----------+-------+-----------------------+-----------------------+----+
    | both      | NaN   | NaN                   | NaN                   | 2  |
    | infinite  | inf   | inf                   | inf                   | 3  |
    | large     | 1e308 | 3.333333333333333e307 | 3.333333333333333e307 | 3  |
    | nan       | NaN   | NaN                   | NaN                   | 3  |
    | null      |       |                       |                       | 0  |
    | small     | 1.0   | 0.25                  | 0.25                  | 4  |
    | tenths    | 1.0   | 0.1                   | 0.1                   | 10 |
    | too large | inf   | inf                   | inf                   | 2  |
    | zero      | 0.0   | 0.0                   | 0.0                   | 2  |
    +-----------+-------+-----------------------+-----------------------+----+
    ");
    let found = fixture
        .ok("SELECT g, var(x) AS var, var_pop(x) AS var_pop, stddev(x) AS stddev,
                stddev_pop(x) AS stddev_pop FROM (VALUES
                ('far', 1000000004.0), ('far', 1000000007), ('far', 1000000013), ('far', 1000000016),
                ('same', 0.1), ('same', 0.1), ('same', 0.1), ('one', 0.1), ('null', NULL),
                ('tiny', 1e-200), ('tiny', 3e-200), ('large', 1e200), ('large', -1e200),
                ('infinite', CAST('Infinity' AS DOUBLE)), ('infinite', 1)) AS t(g, x)
             GROUP BY g ORDER BY g")
        .await;
    insta::assert_snapshot!(found, @r"
    +----------+------+---------+-------------------+-------------------+
    | g        | var  | var_pop | stddev            | stddev_pop        |
    +----------+------+---------+-------------------+-------------------+
    | far      | 30.0 | 22.5    | 5.477225575051661 | 4.743416490252569 |
    | infinite | NaN  | NaN     | NaN               | NaN               |
    | large    | inf  | inf     | inf               | inf               |
    | null     |      |         |                   |                   |
    | one      |      | 0.0     |                   | 0.0               |
    | same     | 0.0  | 0.0     | 0.0               | 0.0               |
    | tiny     | 0.0  | 0.0     | 0.0               | 0.0               |
    +----------+------+---------+-------------------+-------------------+
    ");
}

#[tokio::test]
async fn the_order_of_rows_does_not_matter() {
    let fixture = fixture().await;
    let statistics = "sum(x) AS sum, avg(x) AS avg, var(x) AS var, stddev_pop(x) AS stddev_pop,
        sum(x) FILTER (WHERE y > 3) AS filtered, sum(DISTINCT x) AS distinct,
        avg(DISTINCT x) AS avg_distinct, stddev(DISTINCT x) AS stddev_distinct";
    let found = in_any_order(&fixture, &format!("SELECT {statistics} FROM own.main.t")).await;
    insta::assert_snapshot!(found, @r"
    +-----------------------+--------------------+----------------------+--------------------+---------------------+-----------------------+--------------------+--------------------+
    | sum                   | avg                | var                  | stddev_pop         | filtered            | distinct              | avg_distinct       | stddev_distinct    |
    +-----------------------+--------------------+----------------------+--------------------+---------------------+-----------------------+--------------------+--------------------+
    | 1.3600000000000955e18 | 498533724340210.94 | 9.472753726985599e31 | 9731023229820310.0 | 6.20000000000041e17 | 4.0000000000095544e16 | 18264840182692.027 | 1417644699658212.2 |
    +-----------------------+--------------------+----------------------+--------------------+---------------------+-----------------------+--------------------+--------------------+
    ");
    let found = in_any_order(
        &fixture,
        &format!("SELECT g, {statistics} FROM own.main.t GROUP BY g ORDER BY g"),
    )
    .await;
    insta::assert_snapshot!(found, @r"
    +---+-----------------------+-------------------+----------------------+--------------------+-----------------------+----------------------+--------------------+--------------------+
    | g | sum                   | avg               | var                  | stddev_pop         | filtered              | distinct             | avg_distinct       | stddev_distinct    |
    +---+-----------------------+-------------------+----------------------+--------------------+-----------------------+----------------------+--------------------+--------------------+
    | 0 | 4.7000000000003206e17 | 516483516483551.7 | 9.401237925990397e31 | 9690669169516880.0 | 1.9000000000001386e17 | 4.000000000003206e16 | 54347826087000.086 | 2446106468043054.0 |
    | 1 | 4.3000000000003174e17 | 473047304730508.0 | 9.482003266405932e31 | 9732200172462656.0 | 2.200000000000134e17  | 4.000000000003177e16 | 54421768707526.22  | 2447771362843572.5 |
    | 2 | 4.6000000000003174e17 | 506050605060541.0 | 9.555860872430852e31 | 9770029874172012.0 | 2.1000000000001373e17 | 4.000000000003171e16 | 54421768707526.14  | 2447771362843572.5 |
    +---+-----------------------+-------------------+----------------------+--------------------+-----------------------+----------------------+--------------------+--------------------+
    ");
    // Every other group in another part.
    in_any_order(
        &fixture,
        "SELECT n / 2 AS half, sum(x) AS sum, var_pop(x) AS var FROM own.main.t GROUP BY 1 ORDER BY 1",
    )
    .await;
    // 32 bits are 64 by the time they are added.
    in_any_order(
        &fixture,
        "SELECT sum(CAST(x AS REAL)) AS sum FROM own.main.t",
    )
    .await;
}

#[tokio::test]
async fn what_leaves_a_window_leaves_no_trace() {
    let fixture = fixture().await;
    let frame = "OVER (ORDER BY n ROWS BETWEEN 4 PRECEDING AND 1 FOLLOWING)";
    let sliding = format!(
        "SELECT n, sum(x) {frame} AS sum, avg(x) {frame} AS avg, var(x) {frame} AS var,
            sum(DISTINCT x) {frame} AS distinct FROM own.main.t ORDER BY n"
    );
    let joined = "SELECT a.n, sum(b.x) AS sum, avg(b.x) AS avg, var(b.x) AS var, sum(DISTINCT b.x) AS distinct
         FROM own.main.t AS a JOIN own.main.t AS b ON b.n BETWEEN a.n - 4 AND a.n + 1
         GROUP BY a.n ORDER BY a.n";
    same(&fixture, &[&sliding, joined]).await;

    let running =
        "SELECT n, sum(x) OVER (ORDER BY n) AS sum FROM own.main.t ORDER BY n DESC LIMIT 1";
    let whole = "SELECT 3000 AS n, sum(x) AS sum FROM own.main.t";
    same(&fixture, &[running, whole]).await;
}

#[tokio::test]
async fn other_columns_of_the_query_do_not_matter() {
    let fixture = fixture().await;
    let found = same(
        &fixture,
        &[
            "SELECT sum(x) AS sum, sum(x + 0.1) AS more FROM own.main.t WHERE n <= 2500",
            // Would be sum(x) + 0.1 * count(x).
            "SELECT sum, more FROM (
                SELECT sum(x) AS sum, sum(x + 0.1) AS more, sum(x + 0.2) AS b, sum(0.3 + x) AS c
                FROM own.main.t WHERE n <= 2500) AS q WHERE b > 0 AND c > 0",
            // Would be a sum of sums by y.
            "SELECT sum, more FROM (
                SELECT sum(x) AS sum, sum(x + 0.1) AS more, count(DISTINCT y) AS ys
                FROM own.main.t WHERE n <= 2500) AS q WHERE ys = 7",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    +-----------------------+-----------------------+
    | sum                   | more                  |
    +-----------------------+-----------------------+
    | 1.1400000000000796e18 | 1.1400000000000797e18 |
    +-----------------------+-----------------------+
    ");
}
