//! Plans that gave other rows, or none.

use super::{answers, fixture};

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
async fn the_key_of_a_joined_table_is_no_key_of_groups() {
    let fixture = fixture(
        "CREATE TABLE c (id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE o (n INTEGER PRIMARY KEY, c INTEGER, month INTEGER);
         INSERT INTO c VALUES (1, 'a'), (2, 'b');
         INSERT INTO o VALUES (1, 1, 3), (2, 1, 2), (3, 1, 1), (4, 2, 3), (5, 2, 2), (6, 2, 1);",
    )
    .await;
    let groups = "SELECT c.id, o.month, sum(o.n) AS total
                  FROM own.main.c AS c JOIN own.main.o AS o ON c.id = o.c GROUP BY c.id, o.month";
    let found = fixture
        .ok(&format!("{groups} ORDER BY c.id, o.month LIMIT 4"))
        .await;
    insta::assert_snapshot!(found, @r"
    +----+-------+-------+
    | id | month | total |
    +----+-------+-------+
    | 1  | 1     | 3     |
    | 1  | 2     | 2     |
    | 1  | 3     | 1     |
    | 2  | 1     | 6     |
    +----+-------+-------+
    ");
    let found = fixture
        .ok(&format!(
            "SELECT 'groups' AS what, count(*) AS n
             FROM (SELECT id, month FROM ({groups}) AS q GROUP BY id, month) AS r
             UNION ALL SELECT 'joined', count(c.id)
             FROM own.main.c AS c JOIN ({groups}) AS q ON c.id = q.id
             UNION ALL SELECT 'distinct', count(*)
             FROM (SELECT DISTINCT id FROM (SELECT DISTINCT c.id, o.month FROM own.main.c AS c
                   JOIN own.main.o AS o ON c.id = o.c) AS q) AS r
             ORDER BY what"
        ))
        .await;
    insta::assert_snapshot!(found, @r"
    +----------+---+
    | what     | n |
    +----------+---+
    | distinct | 2 |
    | groups   | 6 |
    | joined   | 6 |
    +----------+---+
    ");
    // What the key of the table does determine may be selected; what it does not, may not.
    let found = fixture
        .ok(&format!(
            "SELECT q.id, c.name, count(*) AS months, avg(q.total) AS mean
             FROM ({groups}) AS q JOIN own.main.c AS c ON c.id = q.id
             GROUP BY q.id, c.id ORDER BY q.id"
        ))
        .await;
    insta::assert_snapshot!(found, @r"
    +----+------+--------+------+
    | id | name | months | mean |
    +----+------+--------+------+
    | 1  | a    | 3      | 2.0  |
    | 2  | b    | 3      | 5.0  |
    +----+------+--------+------+
    ");
    let error = fixture
        .err(&format!(
            "WITH q AS ({groups}) SELECT id, month FROM q GROUP BY id"
        ))
        .await;
    insta::assert_snapshot!(error, @r#"plan: Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column "q.month" must appear in the GROUP BY clause or must be part of an aggregate function, currently only "q.id" appears in the SELECT clause satisfies this requirement"#);
}

#[tokio::test]
async fn an_unnested_row_has_lost_its_key() {
    let fixture = fixture(
        "CREATE TABLE c (id INTEGER PRIMARY KEY);
         INSERT INTO c VALUES (1), (2);",
    )
    .await;
    let found = fixture
        .ok(
            "SELECT DISTINCT id, x FROM (SELECT id, unnest([3, 2, 1]) AS x FROM own.main.c) AS q
             ORDER BY id, x",
        )
        .await;
    insta::assert_snapshot!(found, @r"
    +----+---+
    | id | x |
    +----+---+
    | 1  | 1 |
    | 1  | 2 |
    | 1  | 3 |
    | 2  | 1 |
    | 2  | 2 |
    | 2  | 3 |
    +----+---+
    ");
}

#[tokio::test]
async fn recursion_starts_at_a_column_of_a_source() {
    let fixture = fixture(
        "CREATE TABLE part (id INTEGER PRIMARY KEY, parent INTEGER, name TEXT);
         INSERT INTO part VALUES (1, NULL, 'pump'), (2, 1, 'motor'), (3, 2, 'coil'), (4, NULL, 'valve');",
    )
    .await;
    let found = fixture
        .ok("WITH RECURSIVE tree AS (
                SELECT id, name, name AS path, 1 AS depth FROM own.main.part WHERE parent IS NULL
                UNION ALL SELECT p.id, p.name, t.path || ' / ' || p.name, t.depth + 1
                FROM own.main.part AS p JOIN tree AS t ON p.parent = t.id)
             SELECT * FROM tree ORDER BY path")
        .await;
    insta::assert_snapshot!(found, @r"
    +----+-------+---------------------+-------+
    | id | name  | path                | depth |
    +----+-------+---------------------+-------+
    | 1  | pump  | pump                | 1     |
    | 2  | motor | pump / motor        | 2     |
    | 3  | coil  | pump / motor / coil | 3     |
    | 4  | valve | valve               | 1     |
    +----+-------+---------------------+-------+
    ");
    let found = fixture
        .ok("SELECT name FROM own.main.part WHERE id IN (
                WITH RECURSIVE below AS (
                    SELECT id FROM own.main.part WHERE name = 'motor'
                    UNION ALL SELECT p.id FROM own.main.part AS p JOIN below AS b ON p.parent = b.id)
                SELECT id FROM below)
             ORDER BY name")
        .await;
    insta::assert_snapshot!(found, @r"
    +-------+
    | name  |
    +-------+
    | coil  |
    | motor |
    +-------+
    ");
}

#[tokio::test]
async fn a_number_out_of_range_is_an_error_of_the_data_and_is_not_shown() {
    let fixture =
        fixture("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (-128), (987654);").await;
    let mut found = String::new();
    for value in [
        "abs(CAST(n AS TINYINT)) FROM own.main.t WHERE n < 0",
        "CAST(n AS DECIMAL(4, 0)) FROM own.main.t",
        "CAST(CAST(n AS DECIMAL(12, 2)) AS DECIMAL(4, 1)) FROM own.main.t",
        "CAST(n AS TINYINT) FROM own.main.t",
    ] {
        let query = format!("SELECT {value}");
        found.push_str(&format!("{query}\n  {}\n", fixture.err(&query).await));
    }
    insta::assert_snapshot!(found, @r"
    SELECT abs(CAST(n AS TINYINT)) FROM own.main.t WHERE n < 0
      data: a number is out of the range of its type
    SELECT CAST(n AS DECIMAL(4, 0)) FROM own.main.t
      data: a number is out of the range of its type
    SELECT CAST(CAST(n AS DECIMAL(12, 2)) AS DECIMAL(4, 1)) FROM own.main.t
      data: a number is out of the range of its type
    SELECT CAST(n AS TINYINT) FROM own.main.t
      data: a value cannot be cast to the type asked for
    ");
}

#[tokio::test]
async fn a_rank_among_groups_is_among_all_of_them() {
    let fixture = fixture("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (-1), (0), (0);").await;
    let found = fixture
        .ok("SELECT n, rank() OVER (ORDER BY n DESC) AS r FROM (SELECT DISTINCT n FROM own.main.t) AS q
             ORDER BY n LIMIT 1")
        .await;
    insta::assert_snapshot!(found, @r"
    +----+---+
    | n  | r |
    +----+---+
    | -1 | 2 |
    +----+---+
    ");
}

#[tokio::test]
async fn a_value_that_an_outer_join_fills_with_null_is_ordered_by() {
    let fixture = fixture(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER);
         CREATE TABLE u (id INTEGER PRIMARY KEY, x INTEGER);
         INSERT INTO t VALUES (1, 3), (2, 2), (3, 1), (4, 0);
         INSERT INTO u VALUES (2, 1), (3, 2), (4, 1), (9, 1);",
    )
    .await;
    let ones = "(SELECT *, 'one' AS label FROM own.main.u WHERE x = 1) AS u";
    let found = answers(
        &fixture,
        ("{ones}", ones),
        &[
        "SELECT t.id, u.x FROM own.main.t LEFT JOIN {ones} ON t.id = u.id ORDER BY u.x, t.n",
        "SELECT t.id, u.label FROM own.main.t LEFT JOIN {ones} ON t.id = u.id ORDER BY u.label NULLS FIRST, t.n",
        "SELECT t.id, u.x FROM {ones} RIGHT JOIN own.main.t ON t.id = u.id ORDER BY u.x, t.n",
        "SELECT t.id, u.id AS other, u.x FROM own.main.t FULL JOIN {ones} ON t.id = u.id ORDER BY u.x DESC, t.n, u.id",
        "SELECT t.id, u.x FROM own.main.t LEFT JOIN {ones} ON t.id < u.id AND u.id < 4 ORDER BY u.x, t.n",
        "SELECT t.id, rank() OVER (ORDER BY u.x, t.n) AS r FROM own.main.t LEFT JOIN {ones} ON t.id = u.id ORDER BY r",
        "SELECT u.x, count(*) AS n FROM own.main.t LEFT JOIN {ones} ON t.id = u.id GROUP BY u.x ORDER BY u.x",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    SELECT t.id, u.x FROM own.main.t LEFT JOIN {ones} ON t.id = u.id ORDER BY u.x, t.n
    +----+---+
    | id | x |
    +----+---+
    | 4  | 1 |
    | 2  | 1 |
    | 3  |   |
    | 1  |   |
    +----+---+
    SELECT t.id, u.label FROM own.main.t LEFT JOIN {ones} ON t.id = u.id ORDER BY u.label NULLS FIRST, t.n
    +----+-------+
    | id | label |
    +----+-------+
    | 3  |       |
    | 1  |       |
    | 4  | one   |
    | 2  | one   |
    +----+-------+
    SELECT t.id, u.x FROM {ones} RIGHT JOIN own.main.t ON t.id = u.id ORDER BY u.x, t.n
    +----+---+
    | id | x |
    +----+---+
    | 4  | 1 |
    | 2  | 1 |
    | 3  |   |
    | 1  |   |
    +----+---+
    SELECT t.id, u.id AS other, u.x FROM own.main.t FULL JOIN {ones} ON t.id = u.id ORDER BY u.x DESC, t.n, u.id
    +----+-------+---+
    | id | other | x |
    +----+-------+---+
    | 3  |       |   |
    | 1  |       |   |
    | 4  | 4     | 1 |
    | 2  | 2     | 1 |
    |    | 9     | 1 |
    +----+-------+---+
    SELECT t.id, u.x FROM own.main.t LEFT JOIN {ones} ON t.id < u.id AND u.id < 4 ORDER BY u.x, t.n
    +----+---+
    | id | x |
    +----+---+
    | 1  | 1 |
    | 4  |   |
    | 3  |   |
    | 2  |   |
    +----+---+
    SELECT t.id, rank() OVER (ORDER BY u.x, t.n) AS r FROM own.main.t LEFT JOIN {ones} ON t.id = u.id ORDER BY r
    +----+---+
    | id | r |
    +----+---+
    | 4  | 1 |
    | 2  | 2 |
    | 3  | 3 |
    | 1  | 4 |
    +----+---+
    SELECT u.x, count(*) AS n FROM own.main.t LEFT JOIN {ones} ON t.id = u.id GROUP BY u.x ORDER BY u.x
    +---+---+
    | x | n |
    +---+---+
    | 1 | 2 |
    |   | 2 |
    +---+---+
    ");
}

#[tokio::test]
async fn set_operations_count_copies() {
    let fixture = fixture(
        "CREATE TABLE t (x INTEGER);
         CREATE TABLE u (x INTEGER);
         INSERT INTO t VALUES (1), (1), (1), (2), (NULL), (NULL), (3);
         INSERT INTO u VALUES (1), (2), (2), (NULL);",
    )
    .await;
    let mut found = String::new();
    for operation in ["EXCEPT ALL", "INTERSECT ALL", "EXCEPT", "INTERSECT"] {
        let rows = fixture
            .ok(&format!(
                "SELECT x, count(*) AS copies
                 FROM (SELECT x FROM own.main.t {operation} SELECT x FROM own.main.u) AS q GROUP BY x ORDER BY x"
            ))
            .await;
        found.push_str(&format!("{operation}\n{rows}\n"));
    }
    insta::assert_snapshot!(found, @r"
    EXCEPT ALL
    +---+--------+
    | x | copies |
    +---+--------+
    | 1 | 2      |
    | 3 | 1      |
    |   | 1      |
    +---+--------+
    INTERSECT ALL
    +---+--------+
    | x | copies |
    +---+--------+
    | 1 | 1      |
    | 2 | 1      |
    |   | 1      |
    +---+--------+
    EXCEPT
    +---+--------+
    | x | copies |
    +---+--------+
    | 3 | 1      |
    +---+--------+
    INTERSECT
    +---+--------+
    | x | copies |
    +---+--------+
    | 1 | 1      |
    | 2 | 1      |
    |   | 1      |
    +---+--------+
    ");
}

#[tokio::test]
async fn a_filter_stays_above_totals() {
    let fixture = fixture(
        "CREATE TABLE t (x INTEGER, g INTEGER);
         CREATE TABLE u (x INTEGER);
         INSERT INTO t VALUES (1, 1), (2, 1), (3, 2);
         INSERT INTO u VALUES (1);",
    )
    .await;
    let mut found = String::new();
    for query in [
        "SELECT most FROM (SELECT max(x) AS most FROM own.main.t) AS q WHERE (SELECT count(*) FROM own.main.u) > 5",
        "SELECT count(*) AS rows FROM own.main.t HAVING (SELECT min(x) FROM own.main.u) IS NULL",
        "SELECT g, n FROM (SELECT g, count(*) AS n FROM own.main.t GROUP BY ROLLUP (g)) AS q WHERE g > 1",
        "SELECT g, n FROM (SELECT g, count(*) AS n FROM own.main.t GROUP BY GROUPING SETS ((g), ())) AS q
         WHERE g IS NULL",
        "SELECT g, n FROM (SELECT g, count(*) AS n FROM own.main.t GROUP BY g) AS q
         WHERE g > 1 AND (SELECT count(*) FROM own.main.u) = 1",
    ] {
        let rows = fixture.ok(query).await;
        found.push_str(&format!("{query}\n{rows}\n"));
    }
    insta::assert_snapshot!(found, @r"
    SELECT most FROM (SELECT max(x) AS most FROM own.main.t) AS q WHERE (SELECT count(*) FROM own.main.u) > 5
    +------+
    | most |
    +------+
    +------+
    SELECT count(*) AS rows FROM own.main.t HAVING (SELECT min(x) FROM own.main.u) IS NULL
    +------+
    | rows |
    +------+
    +------+
    SELECT g, n FROM (SELECT g, count(*) AS n FROM own.main.t GROUP BY ROLLUP (g)) AS q WHERE g > 1
    +---+---+
    | g | n |
    +---+---+
    | 2 | 1 |
    +---+---+
    SELECT g, n FROM (SELECT g, count(*) AS n FROM own.main.t GROUP BY GROUPING SETS ((g), ())) AS q
             WHERE g IS NULL
    +---+---+
    | g | n |
    +---+---+
    |   | 3 |
    +---+---+
    SELECT g, n FROM (SELECT g, count(*) AS n FROM own.main.t GROUP BY g) AS q
             WHERE g > 1 AND (SELECT count(*) FROM own.main.u) = 1
    +---+---+
    | g | n |
    +---+---+
    | 2 | 1 |
    +---+---+
    ");
}

#[tokio::test]
async fn a_column_that_a_condition_rounds_is_not_one_value() {
    let fixture = fixture(
        "CREATE TABLE t (n INTEGER, x REAL, at TIMESTAMP, s TEXT);
         INSERT INTO t VALUES (3, 0.4, '2024-03-01 05:00:00', '3'), (1, 0.1, '2024-03-01 01:00:00', '003'),
            (2, -0.3, '2024-03-01 03:00:00', '03');",
    )
    .await;
    let from = ("{t}", "own.main.t");
    let found = answers(
        &fixture,
        from,
        &[
            "SELECT n FROM {t} WHERE n / 100 = 0 ORDER BY n",
            "SELECT n FROM {t} WHERE n / 100 = 0 AND n > 1 ORDER BY n LIMIT 2",
            "SELECT n, rank() OVER (ORDER BY n) AS r FROM {t} WHERE n / 100 = 0 ORDER BY r DESC",
            "SELECT x FROM {t} WHERE CAST(x AS INTEGER) = 0 ORDER BY x",
            "SELECT x FROM {t} WHERE x + 1e17 = 1e17 ORDER BY x",
            "SELECT at FROM {t} WHERE CAST(at AS DATE) = DATE '2024-03-01' ORDER BY at",
            "SELECT s FROM {t} WHERE CAST(s AS INTEGER) = 3 ORDER BY s",
            "SELECT max(n) AS n FROM {t} WHERE n * 0 = 0",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    SELECT n FROM {t} WHERE n / 100 = 0 ORDER BY n
    +---+
    | n |
    +---+
    | 1 |
    | 2 |
    | 3 |
    +---+
    SELECT n FROM {t} WHERE n / 100 = 0 AND n > 1 ORDER BY n LIMIT 2
    +---+
    | n |
    +---+
    | 2 |
    | 3 |
    +---+
    SELECT n, rank() OVER (ORDER BY n) AS r FROM {t} WHERE n / 100 = 0 ORDER BY r DESC
    +---+---+
    | n | r |
    +---+---+
    | 3 | 3 |
    | 2 | 2 |
    | 1 | 1 |
    +---+---+
    SELECT x FROM {t} WHERE CAST(x AS INTEGER) = 0 ORDER BY x
    +------+
    | x    |
    +------+
    | -0.3 |
    | 0.1  |
    | 0.4  |
    +------+
    SELECT x FROM {t} WHERE x + 1e17 = 1e17 ORDER BY x
    +------+
    | x    |
    +------+
    | -0.3 |
    | 0.1  |
    | 0.4  |
    +------+
    SELECT at FROM {t} WHERE CAST(at AS DATE) = DATE '2024-03-01' ORDER BY at
    +---------------------+
    | at                  |
    +---------------------+
    | 2024-03-01T01:00:00 |
    | 2024-03-01T03:00:00 |
    | 2024-03-01T05:00:00 |
    +---------------------+
    SELECT s FROM {t} WHERE CAST(s AS INTEGER) = 3 ORDER BY s
    +-----+
    | s   |
    +-----+
    | 003 |
    | 03  |
    | 3   |
    +-----+
    SELECT max(n) AS n FROM {t} WHERE n * 0 = 0
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
}

#[tokio::test]
async fn peers_of_any_type_are_a_frame() {
    let fixture =
        fixture("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (5), (2), (1);").await;
    let from = ("{t}", "own.main.t");
    let found = answers(
        &fixture,
        from,
        &[
            "SELECT n, sum(n) OVER (ORDER BY CAST('0' || n || ':00:00' AS TIME)) AS s FROM {t} ORDER BY n",
            "SELECT n, sum(n) OVER (ORDER BY CAST(CAST(n AS TEXT) AS BYTEA) DESC, n) AS s FROM {t} ORDER BY n",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    SELECT n, sum(n) OVER (ORDER BY CAST('0' || n || ':00:00' AS TIME)) AS s FROM {t} ORDER BY n
    +---+---+
    | n | s |
    +---+---+
    | 1 | 2 |
    | 1 | 2 |
    | 2 | 4 |
    | 5 | 9 |
    +---+---+
    SELECT n, sum(n) OVER (ORDER BY CAST(CAST(n AS TEXT) AS BYTEA) DESC, n) AS s FROM {t} ORDER BY n
    +---+---+
    | n | s |
    +---+---+
    | 1 | 9 |
    | 1 | 9 |
    | 2 | 7 |
    | 5 | 5 |
    +---+---+
    ");
}

#[tokio::test]
async fn an_order_over_a_union_of_constants() {
    let fixture = fixture(
        "CREATE TABLE t (a INTEGER, b INTEGER); INSERT INTO t VALUES (1, 2), (5, 1), (NULL, NULL);",
    )
    .await;
    let found = fixture
        .ok("SELECT * FROM (
                SELECT q.*, last_value(a) OVER (ORDER BY d DESC, a, b, c ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS e
                FROM (SELECT a, b, 0 AS c, b AS d FROM own.main.t) AS q
                UNION ALL SELECT 2, NULL, CAST(NULL AS BIGINT) % 1, 3, 7 FROM own.main.t) AS q
             ORDER BY a DESC NULLS LAST, b DESC, c NULLS FIRST, d, e DESC NULLS LAST")
        .await;
    insta::assert_snapshot!(found, @r"
    +---+---+---+---+---+
    | a | b | c | d | e |
    +---+---+---+---+---+
    | 5 | 1 | 0 | 1 | 5 |
    | 2 |   |   | 3 | 7 |
    | 2 |   |   | 3 | 7 |
    | 2 |   |   | 3 | 7 |
    | 1 | 2 | 0 | 2 | 1 |
    |   |   | 0 |   |   |
    +---+---+---+---+---+
    ");
}

#[tokio::test]
async fn windows_by_what_is_computed() {
    let fixture = fixture(
        "CREATE TABLE t (a INTEGER, b INTEGER);
         INSERT INTO t VALUES (1, 1), (1, 2), (2, 3), (NULL, 4), (1, 5);",
    )
    .await;
    let found = fixture
        .ok("SELECT b, lag(coalesce(a, b)) OVER (PARTITION BY CAST(a AS DOUBLE) ORDER BY b) AS before,
                first_value(b) OVER (PARTITION BY CAST(a AS DOUBLE) ORDER BY b) AS first
             FROM own.main.t ORDER BY b")
        .await;
    insta::assert_snapshot!(found, @r"
    +---+--------+-------+
    | b | before | first |
    +---+--------+-------+
    | 1 |        | 1     |
    | 2 | 1      | 1     |
    | 3 |        | 3     |
    | 4 |        | 4     |
    | 5 | 1      | 1     |
    +---+--------+-------+
    ");
}

/// What is told of the columns before there are rows holds for the rows: what writes or sends them relies on it.
#[tokio::test]
async fn a_sum_beside_a_distinct_is_of_the_type_that_it_was_planned_with() {
    use datafusion::arrow::datatypes::DataType;

    let fixture = fixture(
        "CREATE TABLE t (b INTEGER, d DECIMAL(10,2));
         INSERT INTO t VALUES (1, 1.5), (1, 2.25), (2, 3);",
    )
    .await;
    let sql = "SELECT b, count(DISTINCT b) AS n, sum(CAST(d AS decimal(10,2))) AS total FROM own.main.t GROUP BY b ORDER BY b";
    for pushdown in ["on", "off"] {
        fixture.ok(&format!("SET pushdown = {pushdown}")).await;
        let answer = fixture.session.execute(sql).await.unwrap();
        let told = answer.schema.clone();
        assert_eq!(told.field(2).data_type(), &DataType::Decimal128(20, 2));
        let batches = answer.collect().await.unwrap();
        let is_told = |batch: &datafusion::arrow::array::RecordBatch| {
            batch.column(2).data_type() == told.field(2).data_type()
        };
        assert!(batches.iter().all(is_told), "pushdown {pushdown}");
        assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 2);
    }
}
