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
async fn membership_is_null_where_a_null_may_be_it() {
    let fixture = fixture(
        "CREATE TABLE t (x INTEGER, g INTEGER);
         CREATE TABLE u (y INTEGER, g INTEGER);
         INSERT INTO t VALUES (1, 1), (2, 1), (NULL, 1), (2, 2), (NULL, 3), (2, 3);
         INSERT INTO u VALUES (1, 1), (NULL, 1), (1, 2);",
    )
    .await;
    let mut found = String::new();
    for condition in [
        "(x IN (SELECT y FROM own.main.u)) IS NULL",
        "(x NOT IN (SELECT y FROM own.main.u WHERE y > 0)) OR g = 9",
        "(x NOT IN (SELECT y FROM own.main.u)) OR g = 9",
        "(x NOT IN (SELECT y FROM own.main.u WHERE y > 9)) OR g = 9",
        "x NOT IN (SELECT y FROM own.main.u WHERE u.g = t.g)",
        "(x IN (SELECT y FROM own.main.u WHERE u.g = t.g)) IS NULL",
        "x NOT IN (SELECT x FROM own.main.t WHERE x > 1)",
        "(x IN (SELECT x FROM own.main.t)) IS NOT TRUE",
        "(x + 1 IN (SELECT max(y) + 1 FROM own.main.u GROUP BY g)) IS TRUE",
    ] {
        let rows = fixture
            .ok(&format!(
                "SELECT x, g FROM own.main.t AS t WHERE {condition} ORDER BY x, g"
            ))
            .await;
        let rows: Vec<_> = rows
            .lines()
            .skip(3)
            .filter(|line| line.starts_with('|'))
            .map(|line| line.replace(' ', ""))
            .collect();
        let rows = match rows.is_empty() {
            true => "none".into(),
            false => rows.join(" "),
        };
        found.push_str(&format!("{condition}\n  {rows}\n"));
    }
    insta::assert_snapshot!(found, @r"
    (x IN (SELECT y FROM own.main.u)) IS NULL
      |2|1| |2|2| |2|3| ||1| ||3|
    (x NOT IN (SELECT y FROM own.main.u WHERE y > 0)) OR g = 9
      |2|1| |2|2| |2|3|
    (x NOT IN (SELECT y FROM own.main.u)) OR g = 9
      none
    (x NOT IN (SELECT y FROM own.main.u WHERE y > 9)) OR g = 9
      |1|1| |2|1| |2|2| |2|3| ||1| ||3|
    x NOT IN (SELECT y FROM own.main.u WHERE u.g = t.g)
      |2|2| |2|3| ||3|
    (x IN (SELECT y FROM own.main.u WHERE u.g = t.g)) IS NULL
      |2|1| ||1|
    x NOT IN (SELECT x FROM own.main.t WHERE x > 1)
      |1|1|
    (x IN (SELECT x FROM own.main.t)) IS NOT TRUE
      ||1| ||3|
    (x + 1 IN (SELECT max(y) + 1 FROM own.main.u GROUP BY g)) IS TRUE
      |1|1|
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
async fn what_a_subquery_has_is_a_value_like_others() {
    let fixture = fixture(
        "CREATE TABLE t (id INTEGER PRIMARY KEY);
         CREATE TABLE o (c INTEGER, n INTEGER);
         INSERT INTO t VALUES (1), (2), (3);
         INSERT INTO o VALUES (1, 5), (1, 6), (3, 1), (NULL, 4);",
    )
    .await;
    let from = ("{o}", "own.main.o");
    let queries = [
        "SELECT id, EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id) AS has FROM own.main.t ORDER BY id",
        "SELECT id, NOT EXISTS (SELECT 1 FROM {o} AS o WHERE o.c > t.id) AS last FROM own.main.t ORDER BY id",
        "SELECT id, id IN (SELECT c FROM {o}) AS known, id NOT IN (SELECT n FROM {o}) AS free FROM own.main.t ORDER BY id",
        "SELECT id, id IN (SELECT c FROM {o} AS o WHERE o.n > t.id) AS known FROM own.main.t ORDER BY id",
        "SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id)) AS n,
            sum(CASE WHEN id IN (SELECT c FROM {o} WHERE c IS NOT NULL) THEN id ELSE 10 END) AS s FROM own.main.t",
        "SELECT EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id) AS has, count(*) AS n FROM own.main.t GROUP BY 1 ORDER BY 1",
        "SELECT id, rank() OVER (ORDER BY EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id), id) AS r FROM own.main.t ORDER BY r",
        "SELECT EXISTS (SELECT 1 FROM {o} WHERE n > 5) AS some, EXISTS (SELECT 1 FROM {o} WHERE n > 6) AS more,
            3 IN (SELECT c FROM {o}) AS three, 4 IN (SELECT c FROM {o}) AS four",
        "SELECT id FROM own.main.t WHERE CAST(id IN (SELECT c FROM {o} WHERE n < 6) AS INTEGER) = 1 ORDER BY id",
        "SELECT id, (SELECT EXISTS (SELECT 1 FROM {o} WHERE n > 5)) AS some FROM own.main.t ORDER BY id LIMIT 1",
        "SELECT id FROM own.main.t ORDER BY EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id), id DESC",
        "SELECT count(CASE WHEN id < (SELECT max(n) FROM {o} AS o WHERE o.c = t.id) THEN 1 END) AS n,
            bool_or(id IN (SELECT c FROM {o})) AS known FROM own.main.t",
        "SELECT has, count(*) AS n FROM (SELECT EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id) AS has FROM own.main.t) AS q
            WHERE has GROUP BY has",
    ];
    let found = answers(&fixture, from, &queries).await;
    insta::assert_snapshot!(found, @r"
    SELECT id, EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id) AS has FROM own.main.t ORDER BY id
    +----+-------+
    | id | has   |
    +----+-------+
    | 1  | true  |
    | 2  | false |
    | 3  | true  |
    +----+-------+
    SELECT id, NOT EXISTS (SELECT 1 FROM {o} AS o WHERE o.c > t.id) AS last FROM own.main.t ORDER BY id
    +----+-------+
    | id | last  |
    +----+-------+
    | 1  | false |
    | 2  | false |
    | 3  | true  |
    +----+-------+
    SELECT id, id IN (SELECT c FROM {o}) AS known, id NOT IN (SELECT n FROM {o}) AS free FROM own.main.t ORDER BY id
    +----+-------+-------+
    | id | known | free  |
    +----+-------+-------+
    | 1  | true  | false |
    | 2  |       | true  |
    | 3  | true  | true  |
    +----+-------+-------+
    SELECT id, id IN (SELECT c FROM {o} AS o WHERE o.n > t.id) AS known FROM own.main.t ORDER BY id
    +----+-------+
    | id | known |
    +----+-------+
    | 1  | true  |
    | 2  |       |
    | 3  |       |
    +----+-------+
    SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id)) AS n,
                sum(CASE WHEN id IN (SELECT c FROM {o} WHERE c IS NOT NULL) THEN id ELSE 10 END) AS s FROM own.main.t
    +---+----+
    | n | s  |
    +---+----+
    | 2 | 14 |
    +---+----+
    SELECT EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id) AS has, count(*) AS n FROM own.main.t GROUP BY 1 ORDER BY 1
    +-------+---+
    | has   | n |
    +-------+---+
    | false | 1 |
    | true  | 2 |
    +-------+---+
    SELECT id, rank() OVER (ORDER BY EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id), id) AS r FROM own.main.t ORDER BY r
    +----+---+
    | id | r |
    +----+---+
    | 2  | 1 |
    | 1  | 2 |
    | 3  | 3 |
    +----+---+
    SELECT EXISTS (SELECT 1 FROM {o} WHERE n > 5) AS some, EXISTS (SELECT 1 FROM {o} WHERE n > 6) AS more,
                3 IN (SELECT c FROM {o}) AS three, 4 IN (SELECT c FROM {o}) AS four
    +------+-------+-------+------+
    | some | more  | three | four |
    +------+-------+-------+------+
    | true | false | true  |      |
    +------+-------+-------+------+
    SELECT id FROM own.main.t WHERE CAST(id IN (SELECT c FROM {o} WHERE n < 6) AS INTEGER) = 1 ORDER BY id
    +----+
    | id |
    +----+
    | 1  |
    | 3  |
    +----+
    SELECT id, (SELECT EXISTS (SELECT 1 FROM {o} WHERE n > 5)) AS some FROM own.main.t ORDER BY id LIMIT 1
    +----+------+
    | id | some |
    +----+------+
    | 1  | true |
    +----+------+
    SELECT id FROM own.main.t ORDER BY EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id), id DESC
    +----+
    | id |
    +----+
    | 2  |
    | 3  |
    | 1  |
    +----+
    SELECT count(CASE WHEN id < (SELECT max(n) FROM {o} AS o WHERE o.c = t.id) THEN 1 END) AS n,
                bool_or(id IN (SELECT c FROM {o})) AS known FROM own.main.t
    +---+-------+
    | n | known |
    +---+-------+
    | 1 | true  |
    +---+-------+
    SELECT has, count(*) AS n FROM (SELECT EXISTS (SELECT 1 FROM {o} AS o WHERE o.c = t.id) AS has FROM own.main.t) AS q
                WHERE has GROUP BY has
    +------+---+
    | has  | n |
    +------+---+
    | true | 2 |
    +------+---+
    ");
    fixture.ok("SET pushdown = on").await;
    assert_eq!(answers(&fixture, from, &queries).await, found);
    insta::assert_snapshot!(fixture.ok(&format!("EXPLAIN {}", queries[0].replace(from.0, from.1))).await, @r#"
    +--------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | plan                                                                                                                                                                                 |
    +--------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | Sent to own (sqlite, about 3 rows)                                                                                                                                                   |
    |   SELECT t0."id", EXISTS (SELECT 1 FROM "main"."o" AS t1 WHERE t0."id" = t1."c" AND must_be_integer(t1."c")) AS c1 FROM "main"."t" AS t0                                             |
    |                                                                                                                                                                                      |
    | Runs here                                                                                                                                                                            |
    |   SortExec: expr=[id@0 ASC NULLS LAST], preserve_partitioning=[false]                                                                                                                |
    |     CooperativeExec                                                                                                                                                                  |
    |       FragmentExec: source=own, partitions=1, SELECT t0."id", EXISTS (SELECT 1 FROM "main"."o" AS t1 WHERE t0."id" = t1."c" AND must_be_integer(t1."c")) AS c1 FROM "main"."t" AS t0 |
    +--------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    "#);
}

#[tokio::test]
async fn what_a_subquery_reads_of_a_union_has_its_type() {
    let fixture = fixture("CREATE TABLE t (m INTEGER); INSERT INTO t VALUES (1), (5);").await;
    let from = (
        "{q}",
        "(SELECT CAST(1 AS INT) AS n UNION ALL SELECT 5.5) AS q",
    );
    let found = answers(
        &fixture,
        from,
        &[
            "SELECT n, EXISTS (SELECT 1 FROM own.main.t WHERE t.m = q.n) AS has FROM {q} ORDER BY n",
            "SELECT n FROM {q} WHERE EXISTS (SELECT 1 FROM own.main.t WHERE t.m = q.n) ORDER BY n",
            "SELECT n, (SELECT max(m) FROM own.main.t WHERE t.m = q.n) AS most FROM {q} ORDER BY n",
            "SELECT n, n IN (SELECT m + 0.5 FROM own.main.t WHERE t.m <= q.n) AS known FROM {q} ORDER BY n",
            "SELECT n, l.m FROM {q} CROSS JOIN LATERAL (SELECT m FROM own.main.t WHERE t.m = q.n) AS l ORDER BY n, m",
        ],
    )
    .await;
    insta::assert_snapshot!(found, @r"
    SELECT n, EXISTS (SELECT 1 FROM own.main.t WHERE t.m = q.n) AS has FROM {q} ORDER BY n
    +-----+-------+
    | n   | has   |
    +-----+-------+
    | 1.0 | true  |
    | 5.5 | false |
    +-----+-------+
    SELECT n FROM {q} WHERE EXISTS (SELECT 1 FROM own.main.t WHERE t.m = q.n) ORDER BY n
    +-----+
    | n   |
    +-----+
    | 1.0 |
    +-----+
    SELECT n, (SELECT max(m) FROM own.main.t WHERE t.m = q.n) AS most FROM {q} ORDER BY n
    +-----+------+
    | n   | most |
    +-----+------+
    | 1.0 | 1    |
    | 5.5 |      |
    +-----+------+
    SELECT n, n IN (SELECT m + 0.5 FROM own.main.t WHERE t.m <= q.n) AS known FROM {q} ORDER BY n
    +-----+-------+
    | n   | known |
    +-----+-------+
    | 1.0 | false |
    | 5.5 | true  |
    +-----+-------+
    SELECT n, l.m FROM {q} CROSS JOIN LATERAL (SELECT m FROM own.main.t WHERE t.m = q.n) AS l ORDER BY n, m
    +-----+---+
    | n   | m |
    +-----+---+
    | 1.0 | 1 |
    +-----+---+
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
