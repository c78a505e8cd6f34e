//! Subqueries whose answers were wrong, or refused.

use super::{answers, fixture};

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

/// The rows of an answer, their cells with one blank between them.
fn cells(answer: &str) -> Vec<String> {
    let rows = answer.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        cells.join(" ")
    })
    .collect()
}

#[tokio::test]
async fn a_value_that_no_row_has_is_null() {
    let fixture = fixture(
        "CREATE TABLE t (x INTEGER NOT NULL);
         CREATE TABLE u (y INTEGER NOT NULL, word TEXT NOT NULL);
         INSERT INTO t VALUES (1), (2), (3);
         INSERT INTO u VALUES (1, 'one');",
    )
    .await;
    let queries: &[(&str, &[&str])] = &[
        (
            "SELECT (SELECT y FROM own.main.u WHERE y = 7) IS NULL AS v",
            &["true"],
        ),
        (
            "SELECT coalesce((SELECT y FROM own.main.u WHERE y = 7), 0) AS v",
            &["0"],
        ),
        ("SELECT (SELECT 1 WHERE false) IS NULL AS v", &["true"]),
        (
            "SELECT (SELECT count(*) FROM own.main.u WHERE y = 7) AS v",
            &["0"],
        ),
        (
            "SELECT (SELECT word FROM own.main.u WHERE y = 1) AS v",
            &["one"],
        ),
        (
            "SELECT x, coalesce((SELECT word FROM own.main.u AS u WHERE u.y = t.x), 'none') AS v FROM own.main.t AS t ORDER BY x",
            &["1 one", "2 none", "3 none"],
        ),
        (
            "SELECT x FROM own.main.t AS t WHERE (SELECT y FROM own.main.u AS u WHERE u.y = t.x) IS NULL ORDER BY x",
            &["2", "3"],
        ),
        (
            "SELECT x, 1 + (SELECT y FROM own.main.u AS u WHERE u.y = t.x) AS v FROM own.main.t AS t ORDER BY x",
            &["1 2", "2 ", "3 "],
        ),
        (
            "SELECT count((SELECT y FROM own.main.u AS u WHERE u.y = t.x)) AS n FROM own.main.t AS t",
            &["1"],
        ),
        (
            "SELECT v IS NULL AS n FROM (SELECT (SELECT y FROM own.main.u WHERE y = 7) AS v) AS q",
            &["true"],
        ),
    ];
    for pushdown in ["off", "on"] {
        fixture.ok(&format!("SET pushdown = {pushdown}")).await;
        for (query, expected) in queries {
            let found = cells(&fixture.ok(query).await);
            assert_eq!(&found, expected, "{query} (pushdown {pushdown})");
        }
    }
    // A view is made of such values, too.
    fixture
        .ok("CREATE VIEW v AS SELECT x, (SELECT word FROM own.main.u AS u WHERE u.y = t.x) AS w FROM own.main.t AS t")
        .await;
    let found = fixture
        .ok("SELECT x FROM v WHERE w IS NULL ORDER BY x")
        .await;
    assert_eq!(cells(&found), ["2", "3"]);
}

#[tokio::test]
async fn any_and_all_compare_with_the_subquery() {
    let fixture = fixture(
        "CREATE TABLE p (id INTEGER PRIMARY KEY, kind TEXT, price INTEGER);
         INSERT INTO p VALUES (1, 'a', 10), (2, 'a', 20), (3, 'b', 30), (4, 'b', NULL);",
    )
    .await;
    let queries: &[(&str, &[&str])] = &[
        (
            "price > ANY (SELECT price FROM own.main.p WHERE kind = 'a')",
            &["2", "3"],
        ),
        (
            "price >= ALL (SELECT price FROM own.main.p WHERE price IS NOT NULL)",
            &["3"],
        ),
        ("price >= ALL (SELECT price FROM own.main.p)", &[]),
        (
            "price = ANY (SELECT price FROM own.main.p)",
            &["1", "2", "3"],
        ),
        (
            "price <> ALL (SELECT price FROM own.main.p WHERE kind = 'a')",
            &["3"],
        ),
        (
            "(price > ANY (SELECT price FROM own.main.p)) IS NULL",
            &["1", "4"],
        ),
        (
            "price < ALL (SELECT o.price FROM own.main.p AS o WHERE o.kind <> p.kind AND o.price > 0)",
            &["1", "2"],
        ),
        (
            "price > ALL (SELECT price FROM own.main.p WHERE id > 9)",
            &["1", "2", "3", "4"],
        ),
    ];
    for pushdown in ["off", "on"] {
        fixture.ok(&format!("SET pushdown = {pushdown}")).await;
        for (condition, expected) in queries {
            let query = format!("SELECT id FROM own.main.p AS p WHERE {condition} ORDER BY id");
            let found = cells(&fixture.ok(&query).await);
            assert_eq!(&found, expected, "{condition} (pushdown {pushdown})");
        }
    }
}

#[tokio::test]
async fn columns_that_are_called_the_same_are_two() {
    let fixture =
        fixture("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (7);").await;
    let found = fixture
        .ok("SELECT id, id::text, CAST(id AS BIGINT) FROM own.main.t")
        .await;
    insta::assert_snapshot!(found, @r"
    +----+----+----+
    | id | id | id |
    +----+----+----+
    | 7  | 7  | 7  |
    +----+----+----+
    ");
}

#[tokio::test]
async fn the_one_row_of_a_correlated_subquery_is_its_value() {
    let fixture = fixture(
        "CREATE TABLE c (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE p (sku TEXT, since INTEGER, price INTEGER);
         CREATE TABLE o (n INTEGER PRIMARY KEY, c INTEGER, sku TEXT);
         INSERT INTO c VALUES (1, 'Ada'), (2, 'Bo');
         INSERT INTO p VALUES ('a', 1, 10), ('a', 2, 12), ('a', 3, NULL), ('b', 1, 7);
         INSERT INTO o VALUES (1, 1, 'a'), (2, 2, 'b'), (3, NULL, 'z');",
    )
    .await;
    let queries: &[(&str, &[&str])] = &[
        (
            "SELECT n, (SELECT name FROM own.main.c WHERE c.id = o.c) AS who FROM own.main.o AS o ORDER BY n",
            &["1 Ada", "2 Bo", "3 "],
        ),
        (
            "SELECT n FROM own.main.o AS o WHERE (SELECT name FROM own.main.c WHERE c.id = o.c) = 'Bo'",
            &["2"],
        ),
        (
            "SELECT n, (SELECT price FROM own.main.p WHERE p.sku = o.sku AND since < 3 ORDER BY since DESC LIMIT 1) AS v
             FROM own.main.o AS o ORDER BY n",
            &["1 12", "2 7", "3 "],
        ),
        (
            "SELECT n, (SELECT price FROM own.main.p WHERE p.sku = o.sku ORDER BY since DESC LIMIT 1) AS v
             FROM own.main.o AS o ORDER BY n",
            &["1 ", "2 7", "3 "],
        ),
        (
            "SELECT n, (SELECT price + 1 FROM own.main.p WHERE p.sku = o.sku AND since = 1) AS v FROM own.main.o AS o ORDER BY n",
            &["1 11", "2 8", "3 "],
        ),
    ];
    for pushdown in ["off", "on"] {
        fixture.ok(&format!("SET pushdown = {pushdown}")).await;
        for (query, expected) in queries {
            let found = cells(&fixture.ok(query).await);
            assert_eq!(&found, expected, "{query} (pushdown {pushdown})");
        }
        let several = "SELECT n, (SELECT price FROM own.main.p WHERE p.sku = o.sku) AS v FROM own.main.o AS o";
        let said = fixture.err(several).await;
        assert!(said.contains("more than one row"), "{said}");
    }
}
