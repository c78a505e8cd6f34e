//! Zeros, NaN and infinities: what compares, groups and sorts them.

use crate::fixture::Fixture;

use super::{answers, fixture};

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

#[tokio::test]
async fn equal_floats_are_one_in_groups_and_orders() {
    let fixture = fixture(
        "CREATE TABLE t (n INTEGER, x REAL);
         INSERT INTO t VALUES (1, 0.0), (-1, 0.0), (2, 0.0), (-2, 0.0), (1, 1.0), (1, NULL);",
    )
    .await;
    // SQLite keeps no -0.0.
    let zeros = "(SELECT n, x * n AS y FROM own.main.t) AS q";
    let found = answers(
        &fixture,
        ("{zeros}", zeros),
        &[
        "SELECT DISTINCT y FROM {zeros} ORDER BY y LIMIT 3",
        "SELECT y, count(*) AS n FROM {zeros} GROUP BY y ORDER BY y",
        "SELECT y, n > 0 AS positive, count(*) AS n FROM {zeros} GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT y, count(*) AS n FROM {zeros} GROUP BY ROLLUP (y) ORDER BY y, n",
        "SELECT DISTINCT y, n > 0 AS positive FROM {zeros} ORDER BY 1, 2",
        "SELECT y FROM (SELECT y FROM {zeros} UNION SELECT x FROM own.main.t) AS r GROUP BY y ORDER BY y LIMIT 2",
        "SELECT y FROM {zeros} INTERSECT SELECT -x FROM own.main.t ORDER BY y",
        "SELECT y FROM {zeros} EXCEPT SELECT -x FROM own.main.t ORDER BY y",
        "SELECT max(y) AS most, n FROM {zeros} GROUP BY n ORDER BY most DESC NULLS LAST, n LIMIT 2",
        "SELECT count(DISTINCT y) AS n FROM {zeros}",
        "SELECT n > 1 AS g, count(DISTINCT y) AS n FROM {zeros} GROUP BY 1 ORDER BY 1",
        "SELECT DISTINCT count(*) OVER (PARTITION BY y) AS n FROM {zeros} ORDER BY n",
        "SELECT rank() OVER (ORDER BY y) AS r, count(*) AS n FROM {zeros} GROUP BY y ORDER BY r",
        "SELECT DISTINCT rank() OVER (ORDER BY y) AS r FROM {zeros} ORDER BY r",
        "SELECT count(*) AS n FROM {zeros} JOIN own.main.t AS t ON t.x = q.y",
        "SELECT count(*) AS n FROM {zeros} JOIN own.main.t AS t ON t.x = q.y AND t.n = q.n",
        "SELECT count(*) AS n FROM {zeros} WHERE y IN (SELECT x FROM own.main.t)",
        "SELECT count(*) AS n FROM {zeros} WHERE y NOT IN (SELECT x FROM own.main.t WHERE x IS NOT NULL)",
        "SELECT y, n FROM {zeros} WHERE y = 0.0 ORDER BY y, n",
        "SELECT n, row_number() OVER (ORDER BY y) AS r FROM {zeros} ORDER BY r",
        "SELECT DISTINCT y / y AS nan FROM {zeros} ORDER BY nan LIMIT 3",
        "SELECT y / y AS nan, count(*) AS n FROM {zeros} GROUP BY 1 ORDER BY nan",
        "SELECT coalesce(y / y, CAST('NaN' AS DOUBLE)) AS nan, n FROM {zeros} ORDER BY nan DESC, n",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    SELECT DISTINCT y FROM {zeros} ORDER BY y LIMIT 3
    +-----+
    | y   |
    +-----+
    | 0.0 |
    | 1.0 |
    |     |
    +-----+
    SELECT y, count(*) AS n FROM {zeros} GROUP BY y ORDER BY y
    +-----+---+
    | y   | n |
    +-----+---+
    | 0.0 | 4 |
    | 1.0 | 1 |
    |     | 1 |
    +-----+---+
    SELECT y, n > 0 AS positive, count(*) AS n FROM {zeros} GROUP BY 1, 2 ORDER BY 1, 2
    +-----+----------+---+
    | y   | positive | n |
    +-----+----------+---+
    | 0.0 | false    | 2 |
    | 0.0 | true     | 2 |
    | 1.0 | true     | 1 |
    |     | true     | 1 |
    +-----+----------+---+
    SELECT y, count(*) AS n FROM {zeros} GROUP BY ROLLUP (y) ORDER BY y, n
    +-----+---+
    | y   | n |
    +-----+---+
    | 0.0 | 4 |
    | 1.0 | 1 |
    |     | 1 |
    |     | 6 |
    +-----+---+
    SELECT DISTINCT y, n > 0 AS positive FROM {zeros} ORDER BY 1, 2
    +-----+----------+
    | y   | positive |
    +-----+----------+
    | 0.0 | false    |
    | 0.0 | true     |
    | 1.0 | true     |
    |     | true     |
    +-----+----------+
    SELECT y FROM (SELECT y FROM {zeros} UNION SELECT x FROM own.main.t) AS r GROUP BY y ORDER BY y LIMIT 2
    +-----+
    | y   |
    +-----+
    | 0.0 |
    | 1.0 |
    +-----+
    SELECT y FROM {zeros} INTERSECT SELECT -x FROM own.main.t ORDER BY y
    +-----+
    | y   |
    +-----+
    | 0.0 |
    |     |
    +-----+
    SELECT y FROM {zeros} EXCEPT SELECT -x FROM own.main.t ORDER BY y
    +-----+
    | y   |
    +-----+
    | 1.0 |
    +-----+
    SELECT max(y) AS most, n FROM {zeros} GROUP BY n ORDER BY most DESC NULLS LAST, n LIMIT 2
    +------+----+
    | most | n  |
    +------+----+
    | 1.0  | 1  |
    | -0.0 | -2 |
    +------+----+
    SELECT count(DISTINCT y) AS n FROM {zeros}
    +---+
    | n |
    +---+
    | 2 |
    +---+
    SELECT n > 1 AS g, count(DISTINCT y) AS n FROM {zeros} GROUP BY 1 ORDER BY 1
    +-------+---+
    | g     | n |
    +-------+---+
    | false | 2 |
    | true  | 1 |
    +-------+---+
    SELECT DISTINCT count(*) OVER (PARTITION BY y) AS n FROM {zeros} ORDER BY n
    +---+
    | n |
    +---+
    | 1 |
    | 4 |
    +---+
    SELECT rank() OVER (ORDER BY y) AS r, count(*) AS n FROM {zeros} GROUP BY y ORDER BY r
    +---+---+
    | r | n |
    +---+---+
    | 1 | 4 |
    | 2 | 1 |
    | 3 | 1 |
    +---+---+
    SELECT DISTINCT rank() OVER (ORDER BY y) AS r FROM {zeros} ORDER BY r
    +---+
    | r |
    +---+
    | 1 |
    | 5 |
    | 6 |
    +---+
    SELECT count(*) AS n FROM {zeros} JOIN own.main.t AS t ON t.x = q.y
    +----+
    | n  |
    +----+
    | 17 |
    +----+
    SELECT count(*) AS n FROM {zeros} JOIN own.main.t AS t ON t.x = q.y AND t.n = q.n
    +---+
    | n |
    +---+
    | 5 |
    +---+
    SELECT count(*) AS n FROM {zeros} WHERE y IN (SELECT x FROM own.main.t)
    +---+
    | n |
    +---+
    | 5 |
    +---+
    SELECT count(*) AS n FROM {zeros} WHERE y NOT IN (SELECT x FROM own.main.t WHERE x IS NOT NULL)
    +---+
    | n |
    +---+
    | 0 |
    +---+
    SELECT y, n FROM {zeros} WHERE y = 0.0 ORDER BY y, n
    +------+----+
    | y    | n  |
    +------+----+
    | -0.0 | -2 |
    | -0.0 | -1 |
    | 0.0  | 1  |
    | 0.0  | 2  |
    +------+----+
    SELECT n, row_number() OVER (ORDER BY y) AS r FROM {zeros} ORDER BY r
    +----+---+
    | n  | r |
    +----+---+
    | -2 | 1 |
    | -1 | 2 |
    | 1  | 3 |
    | 2  | 4 |
    | 1  | 5 |
    | 1  | 6 |
    +----+---+
    SELECT DISTINCT y / y AS nan FROM {zeros} ORDER BY nan LIMIT 3
    +-----+
    | nan |
    +-----+
    | 1.0 |
    | NaN |
    |     |
    +-----+
    SELECT y / y AS nan, count(*) AS n FROM {zeros} GROUP BY 1 ORDER BY nan
    +-----+---+
    | nan | n |
    +-----+---+
    | 1.0 | 1 |
    | NaN | 4 |
    |     | 1 |
    +-----+---+
    SELECT coalesce(y / y, CAST('NaN' AS DOUBLE)) AS nan, n FROM {zeros} ORDER BY nan DESC, n
    +-----+----+
    | nan | n  |
    +-----+----+
    | NaN | -2 |
    | NaN | -1 |
    | NaN | 1  |
    | NaN | 1  |
    | NaN | 2  |
    | 1.0 | 1  |
    +-----+----+
    ");
}

#[tokio::test]
async fn a_top_n_keeps_the_zero_that_comes_first_though_it_is_read_last() {
    let fixture = Fixture::empty().await;
    let query = "SELECT x FROM (SELECT CASE WHEN i % 20000 = 0 THEN CAST('-0' AS DOUBLE) ELSE 0.0e0 END AS x
                 FROM generate_series(1, 40000) AS g(i)) AS q ORDER BY x LIMIT 3";
    insta::assert_snapshot!(fixture.ok(query).await, @r"
    +------+
    | x    |
    +------+
    | -0.0 |
    | -0.0 |
    | 0.0  |
    +------+
    ");
    insta::assert_snapshot!(fixture.ok(&query.replace("ORDER BY x", "ORDER BY x DESC")).await, @r"
    +-----+
    | x   |
    +-----+
    | 0.0 |
    | 0.0 |
    | 0.0 |
    +-----+
    ");
}

#[tokio::test]
async fn a_float_under_two_names_is_ordered_in_a_union() {
    let fixture = fixture(
        "CREATE TABLE t (x REAL, n INTEGER); INSERT INTO t VALUES (2, 1), (1, 2), (NULL, 3);",
    )
    .await;
    let union = "(SELECT x AS a, x AS b, n FROM (SELECT * FROM own.main.t ORDER BY n LIMIT 5) AS s
                  UNION ALL SELECT 0.5, CAST(1 AS REAL), n FROM own.main.t WHERE n < 3) AS u";
    let found = answers(
        &fixture,
        ("{union}", union),
        &[
        "SELECT * FROM {union} ORDER BY b, n, a",
        "SELECT * FROM {union} ORDER BY b DESC, n, a LIMIT 2",
        "SELECT *, row_number() OVER (ORDER BY b, n, a) AS r FROM {union} ORDER BY r",
        "SELECT *, sum(n) OVER (PARTITION BY b ORDER BY a, n) AS total FROM {union} ORDER BY b, a, n",
        "SELECT b, a, count(*) AS n FROM {union} GROUP BY b, a ORDER BY b, a",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    SELECT * FROM {union} ORDER BY b, n, a
    +-----+-----+---+
    | a   | b   | n |
    +-----+-----+---+
    | 0.5 | 1.0 | 1 |
    | 0.5 | 1.0 | 2 |
    | 1.0 | 1.0 | 2 |
    | 2.0 | 2.0 | 1 |
    |     |     | 3 |
    +-----+-----+---+
    SELECT * FROM {union} ORDER BY b DESC, n, a LIMIT 2
    +-----+-----+---+
    | a   | b   | n |
    +-----+-----+---+
    |     |     | 3 |
    | 2.0 | 2.0 | 1 |
    +-----+-----+---+
    SELECT *, row_number() OVER (ORDER BY b, n, a) AS r FROM {union} ORDER BY r
    +-----+-----+---+---+
    | a   | b   | n | r |
    +-----+-----+---+---+
    | 0.5 | 1.0 | 1 | 1 |
    | 0.5 | 1.0 | 2 | 2 |
    | 1.0 | 1.0 | 2 | 3 |
    | 2.0 | 2.0 | 1 | 4 |
    |     |     | 3 | 5 |
    +-----+-----+---+---+
    SELECT *, sum(n) OVER (PARTITION BY b ORDER BY a, n) AS total FROM {union} ORDER BY b, a, n
    +-----+-----+---+-------+
    | a   | b   | n | total |
    +-----+-----+---+-------+
    | 0.5 | 1.0 | 1 | 1     |
    | 0.5 | 1.0 | 2 | 3     |
    | 1.0 | 1.0 | 2 | 5     |
    | 2.0 | 2.0 | 1 | 1     |
    |     |     | 3 | 3     |
    +-----+-----+---+-------+
    SELECT b, a, count(*) AS n FROM {union} GROUP BY b, a ORDER BY b, a
    +-----+-----+---+
    | b   | a   | n |
    +-----+-----+---+
    | 1.0 | 0.5 | 2 |
    | 1.0 | 1.0 | 1 |
    | 2.0 | 2.0 | 1 |
    |     |     | 1 |
    +-----+-----+---+
    ");
}

#[tokio::test]
async fn a_computed_nan_is_the_one_that_is_read() {
    let fixture = fixture(
        "CREATE TABLE t (n INTEGER, x REAL);
         INSERT INTO t VALUES (1, 0.0), (2, 9e999), (3, 1.0);",
    )
    .await;
    let found = fixture
        .ok("SELECT n, x / x = CAST('NaN' AS DOUBLE) AS divided, x - x >= 5 AS less, - (x - x) = x - x AS negated,
                y = CAST('NaN' AS DOUBLE) AS below,
                nullif(CAST('NaN' AS DOUBLE), x - x) AS other
             FROM (SELECT n, x, x / x AS y FROM own.main.t ORDER BY n LIMIT 3) AS q
             WHERE (x - x IS NOT DISTINCT FROM CAST('NaN' AS DOUBLE)) OR n <> 2 ORDER BY n")
        .await;
    insta::assert_snapshot!(found, @r"
    +---+---------+-------+---------+-------+-------+
    | n | divided | less  | negated | below | other |
    +---+---------+-------+---------+-------+-------+
    | 1 | true    | false | true    | true  | NaN   |
    | 2 | true    | true  | true    | true  |       |
    | 3 | false   | false | true    | false | NaN   |
    +---+---------+-------+---------+-------+-------+
    ");
}

#[tokio::test]
async fn a_nan_that_is_folded_is_the_one_that_is_read() {
    let fixture = fixture("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1);").await;
    let found = fixture
        .ok(
            "WITH q AS (SELECT n, CAST('-0' AS DOUBLE) / CAST('-0' AS DOUBLE) AS y FROM own.main.t)
             SELECT CAST('-0' AS DOUBLE) / CAST('-0' AS DOUBLE) = CAST('NaN' AS DOUBLE) AS divided,
                CAST('inf' AS DOUBLE) - CAST('inf' AS DOUBLE) = CAST('NaN' AS DOUBLE) AS less, - CAST('NaN' AS DOUBLE) >= 5 AS negated,
                y = CAST('NaN' AS DOUBLE) AS below, y IN (CAST('NaN' AS DOUBLE), 2) AS listed
             FROM q WHERE (n = n) IS FALSE OR y = - CAST('NaN' AS DOUBLE)",
        )
        .await;
    insta::assert_snapshot!(found, @r"
    +---------+------+---------+-------+--------+
    | divided | less | negated | below | listed |
    +---------+------+---------+-------+--------+
    | true    | true | true    | true  | true   |
    +---------+------+---------+-------+--------+
    ");
}

#[tokio::test]
async fn extremes_of_computed_nans_are_above_all() {
    let fixture = fixture(
        "CREATE TABLE t (g INTEGER, x REAL);
         INSERT INTO t VALUES (1, 9e999), (1, 1.0), (2, 2.0), (2, 9e999);",
    )
    .await;
    let from = ("{t}", "own.main.t");
    let found = answers(
        &fixture,
        from,
        &[
            "SELECT min(x - x) AS least, max(x - x) AS greatest FROM {t}",
            "SELECT g, min(x - x) AS least, max(x - x) AS greatest FROM {t} GROUP BY g ORDER BY g",
            "SELECT g, x, min(x - x) OVER (PARTITION BY g) AS least FROM {t} ORDER BY g, x",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    SELECT min(x - x) AS least, max(x - x) AS greatest FROM {t}
    +-------+----------+
    | least | greatest |
    +-------+----------+
    | 0.0   | NaN      |
    +-------+----------+
    SELECT g, min(x - x) AS least, max(x - x) AS greatest FROM {t} GROUP BY g ORDER BY g
    +---+-------+----------+
    | g | least | greatest |
    +---+-------+----------+
    | 1 | 0.0   | NaN      |
    | 2 | 0.0   | NaN      |
    +---+-------+----------+
    SELECT g, x, min(x - x) OVER (PARTITION BY g) AS least FROM {t} ORDER BY g, x
    +---+-----+-------+
    | g | x   | least |
    +---+-----+-------+
    | 1 | 1.0 | 0.0   |
    | 1 | inf | 0.0   |
    | 2 | 2.0 | 0.0   |
    | 2 | inf | 0.0   |
    +---+-----+-------+
    ");
}

#[tokio::test]
async fn a_key_of_zero_finds_zeros_of_either_sign() {
    let fixture = fixture("CREATE TABLE t (x REAL);").await;
    std::fs::create_dir(fixture.path("lake")).unwrap();
    for (table, values) in [("few", "(-0.0)"), ("many", "(0.0), (-0.0), (2.5)")] {
        fixture
            .ok(&format!(
                "COPY (SELECT CAST(column1 AS REAL) AS x FROM (VALUES {values}) AS v) TO 'lake/{table}' (FORMAT parquet)"
            ))
            .await;
    }
    fixture.ok("CREATE SOURCE lake FROM './lake'").await;
    fixture.ok("SET pushdown = on").await;
    let found = fixture
        .ok("SELECT * FROM (SELECT m.x FROM lake.few AS f JOIN lake.many AS m ON m.x = f.x) AS o ORDER BY x")
        .await;
    insta::assert_snapshot!(found, @r"
    +------+
    | x    |
    +------+
    | -0.0 |
    | 0.0  |
    +------+
    ");
}
