//! Decimals of more digits than there are: what has room is right, what has none is an error.

use super::{answers, fixture};
use crate::fixture::Fixture;
use crate::servers::{connected, postgres};

/// The decimals of a table are text there: SQLite would make floats of them.
const ROWS: (&str, &str) = (
    "TABLE",
    "(SELECT n, g, CAST(x AS DECIMAL(38, 20)) AS x, CAST(y AS DECIMAL(20, 5)) AS y FROM own.main.t) AS t",
);

const TABLE: &str = "CREATE TABLE t (n INTEGER, g INTEGER, x TEXT, y TEXT);
    INSERT INTO t VALUES
        (1, 1, '900000000000000000', '1.5'),
        (2, 1, '900000000000000000', '123456789012345'),
        (3, 1, '-900000000000000000', NULL),
        (4, 2, '900000000000000000', '-123456789012345'),
        (5, 2, '600000000000000000', '2'),
        (6, 3, NULL, '1'),
        (7, 4, '12345678901.5', '1');";

#[tokio::test]
async fn a_sum_of_decimals_is_of_its_type_or_an_error() {
    let fixture = fixture(TABLE).await;
    let held = [
        "SELECT g, sum(x) AS s, sum(DISTINCT x) AS d FROM TABLE WHERE g = 1 OR g = 3 GROUP BY g ORDER BY g",
        "SELECT sum(x) AS s FROM TABLE WHERE g = 1",
        "SELECT sum(x) AS s FROM TABLE WHERE g = 3",
        "SELECT n, sum(x) OVER (ORDER BY n ROWS 1 PRECEDING) AS s FROM TABLE WHERE n = 1 OR n = 3 ORDER BY n",
    ];
    insta::assert_snapshot!(answers(&fixture, ROWS, &held).await, @r"
    SELECT g, sum(x) AS s, sum(DISTINCT x) AS d FROM TABLE WHERE g = 1 OR g = 3 GROUP BY g ORDER BY g
    +---+-----------------------------------------+------------------------+
    | g | s                                       | d                      |
    +---+-----------------------------------------+------------------------+
    | 1 | 900000000000000000.00000000000000000000 | 0.00000000000000000000 |
    | 3 |                                         |                        |
    +---+-----------------------------------------+------------------------+
    SELECT sum(x) AS s FROM TABLE WHERE g = 1
    +-----------------------------------------+
    | s                                       |
    +-----------------------------------------+
    | 900000000000000000.00000000000000000000 |
    +-----------------------------------------+
    SELECT sum(x) AS s FROM TABLE WHERE g = 3
    +---+
    | s |
    +---+
    |   |
    +---+
    SELECT n, sum(x) OVER (ORDER BY n ROWS 1 PRECEDING) AS s FROM TABLE WHERE n = 1 OR n = 3 ORDER BY n
    +---+-----------------------------------------+
    | n | s                                       |
    +---+-----------------------------------------+
    | 1 | 900000000000000000.00000000000000000000 |
    | 3 | 0.00000000000000000000                  |
    +---+-----------------------------------------+
    ");
    let outgrown = [
        "SELECT sum(x) AS s FROM TABLE",
        "SELECT g, sum(x) AS s FROM TABLE GROUP BY g",
        "SELECT sum(DISTINCT x) AS s FROM TABLE WHERE g = 2",
        "SELECT sum(x) OVER (ORDER BY n) AS s FROM TABLE",
        "SELECT sum(x) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM TABLE",
        "SELECT sum(x) AS s, count(DISTINCT y) AS d FROM TABLE",
    ];
    for query in outgrown {
        let found = fixture.err(&query.replace(ROWS.0, ROWS.1)).await;
        let expected = "data: a sum of decimals is out of the range of its type, numeric(38,20)";
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn arithmetic_of_decimals_is_of_its_type_or_an_error() {
    let fixture = fixture(TABLE).await;
    let held = [
        "SELECT x / CAST(3 AS DECIMAL(38, 20)) AS q FROM TABLE WHERE n = 7",
        "SELECT y * y AS p FROM TABLE WHERE n = 1",
        "SELECT x - x AS d, x % 7 AS r FROM TABLE WHERE n = 1",
    ];
    insta::assert_snapshot!(answers(&fixture, ROWS, &held).await, @r"
    SELECT x / CAST(3 AS DECIMAL(38, 20)) AS q FROM TABLE WHERE n = 7
    +-------------------------------------+
    | q                                   |
    +-------------------------------------+
    | 4115226300.500000000000000000000000 |
    +-------------------------------------+
    SELECT y * y AS p FROM TABLE WHERE n = 1
    +--------------+
    | p            |
    +--------------+
    | 2.2500000000 |
    +--------------+
    SELECT x - x AS d, x % 7 AS r FROM TABLE WHERE n = 1
    +------------------------+------------------------+
    | d                      | r                      |
    +------------------------+------------------------+
    | 0.00000000000000000000 | 3.00000000000000000000 |
    +------------------------+------------------------+
    ");
    for (value, what) in [
        ("y * y", "a product"),
        ("x + x", "a sum"),
        ("x - -x", "a difference"),
        ("x / CAST(0.5 AS DECIMAL(38, 20))", "a quotient"),
        (
            "CAST('123456789012345' AS DECIMAL(20, 5)) * CAST('123456789012345' AS DECIMAL(20, 5))",
            "a product",
        ),
    ] {
        let query = format!("SELECT {value} AS v FROM TABLE WHERE n = 2");
        let found = fixture.err(&query.replace(ROWS.0, ROWS.1)).await;
        let expected =
            format!("data: {what} of decimals is out of the range of its type, numeric(");
        assert!(found.starts_with(&expected), "{query}: {found}");
    }
}

#[tokio::test]
async fn a_decimal_is_cast_to_the_nearest_float() {
    let fixture = fixture(
        "CREATE TABLE t (n INTEGER, g INTEGER, x TEXT, y TEXT);
         INSERT INTO t VALUES (1, 1, '48.714286', '0.5'), (2, 1, '110.714286', NULL);",
    )
    .await;
    let queries = [
        "SELECT n, CAST(x AS DOUBLE) AS d, CAST(x AS REAL) AS f, TRY_CAST(y AS DOUBLE) AS t FROM TABLE ORDER BY n",
        "SELECT n FROM TABLE WHERE CAST(x AS DOUBLE) = 110.714286",
        "SELECT CAST(x AS DOUBLE) AS d, count(*) AS c FROM TABLE GROUP BY ROLLUP (CAST(x AS DOUBLE)) ORDER BY d NULLS LAST",
        "SELECT CAST(CAST('48.714286' AS DECIMAL(38, 20)) AS DOUBLE) AS d, max(CAST(x AS DOUBLE)) AS m FROM TABLE",
    ];
    insta::assert_snapshot!(answers(&fixture, ROWS, &queries).await, @r"
    SELECT n, CAST(x AS DOUBLE) AS d, CAST(x AS REAL) AS f, TRY_CAST(y AS DOUBLE) AS t FROM TABLE ORDER BY n
    +---+------------+-----------+-----+
    | n | d          | f         | t   |
    +---+------------+-----------+-----+
    | 1 | 48.714286  | 48.714287 | 0.5 |
    | 2 | 110.714286 | 110.71429 |     |
    +---+------------+-----------+-----+
    SELECT n FROM TABLE WHERE CAST(x AS DOUBLE) = 110.714286
    +---+
    | n |
    +---+
    | 2 |
    +---+
    SELECT CAST(x AS DOUBLE) AS d, count(*) AS c FROM TABLE GROUP BY ROLLUP (CAST(x AS DOUBLE)) ORDER BY d NULLS LAST
    +------------+---+
    | d          | c |
    +------------+---+
    | 48.714286  | 1 |
    | 110.714286 | 1 |
    |            | 2 |
    +------------+---+
    SELECT CAST(CAST('48.714286' AS DECIMAL(38, 20)) AS DOUBLE) AS d, max(CAST(x AS DOUBLE)) AS m FROM TABLE
    +-----------+------------+
    | d         | m          |
    +-----------+------------+
    | 48.714286 | 110.714286 |
    +-----------+------------+
    ");
}

/// Its own numbers have any number of digits: the answers are the same, with pushdown on and off.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_postgres_are_held_to_their_type() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let client = connected(server.port).await;
    let tables = "CREATE TABLE m (k integer, amt numeric, n numeric(20,5), total numeric);
        INSERT INTO m VALUES (1, 9e17, 123456789012345, 48.714286), (2, 6e17, 1.5, 110.714286),
                             (3, 9e17, 2, 1); ANALYZE";
    client.batch_execute(tables).await.unwrap();
    let fixture = Fixture::empty().await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    fixture.ok(&format!("CREATE SOURCE pg FROM '{url}'")).await;
    for pushdown in ["on", "off"] {
        fixture.ok(&format!("SET pushdown = {pushdown}")).await;
        for (query, what) in [
            ("SELECT sum(amt) AS s FROM pg.m", "a sum"),
            ("SELECT sum(amt) AS s FROM pg.m WHERE k < 3", "a sum"),
            ("SELECT amt + amt AS s FROM pg.m", "a sum"),
            ("SELECT n * n AS p FROM pg.m", "a product"),
            ("SELECT k FROM pg.m WHERE n * n > 1 ORDER BY k", "a product"),
        ] {
            let found = fixture.err(query).await;
            let expected = format!("data: {what} of decimals is out of the range of its type, ");
            assert!(found.starts_with(&expected), "{query}: {found}");
        }
        let found = fixture
            .ok("SELECT k, n * n AS p, CAST(total AS DOUBLE) AS f FROM pg.m
                 WHERE CAST(total AS DOUBLE) = 110.714286")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(found, @r"
            +---+--------------+------------+
            | k | p            | f          |
            +---+--------------+------------+
            | 2 | 2.2500000000 | 110.714286 |
            +---+--------------+------------+
            ");
        }
    }
}
