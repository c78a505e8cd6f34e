use super::world::World;
use crate::freshness::matching::Way;

const SEED: u64 = 7;

/// The view answers all of the query so, and the answer is the plain one.
async fn answers(view: &str, query: &str, way: Way) {
    for seed in SEED..SEED + 3 {
        let world = World::new(seed);
        let tried = world.tried(view, query).await.unwrap();
        assert_eq!(tried.proved, Ok(way), "{view}\n{query}");
        assert!(tried.is_whole, "{view}\n{query}");
        assert_eq!(tried.matched, Some(tried.plain), "{view}\n{query}");
    }
}

/// The view is not known to answer any part of the query, for this reason.
async fn refuses(view: &str, query: &str, why: &str) {
    let tried = World::new(SEED).tried(view, query).await.unwrap();
    let refused = tried.proved.err();
    let refused = refused.unwrap_or_else(|| panic!("it is taken to answer\n{view}\n{query}"));
    assert!(refused.contains(why), "{refused}\n{view}\n{query}");
    assert!(tried.matched.is_none());
}

#[tokio::test]
async fn the_same_in_other_words() {
    for (view, query) in [
        ("SELECT a, b FROM t", "SELECT x.b AS one, x.a FROM t AS x"),
        (
            "SELECT a, b FROM t WHERE a < b",
            "SELECT a FROM t WHERE b > a",
        ),
        ("SELECT * FROM t ORDER BY a", "SELECT a FROM t ORDER BY a"),
        (
            "SELECT t.b, u.x FROM t JOIN u ON t.a = u.a WHERE u.x > 1",
            "SELECT x, b FROM (SELECT * FROM u WHERE x > 1) AS p JOIN t ON p.a = t.a",
        ),
        (
            "SELECT t.b, u.x FROM t, u WHERE t.a = u.a",
            "SELECT b FROM t JOIN u USING (a)",
        ),
        (
            "SELECT t.b, u.x FROM t LEFT JOIN u ON t.a = u.a",
            "SELECT p.b, q.x FROM t AS p LEFT JOIN u AS q ON q.a = p.a WHERE p.b > 1",
        ),
    ] {
        let world = World::new(SEED);
        let tried = world.tried(view, query).await.unwrap();
        assert_eq!(tried.proved, Ok(Way::Rows), "{view}\n{query}");
        assert_eq!(tried.matched, Some(tried.plain), "{view}\n{query}");
    }
}

#[tokio::test]
async fn conditions_that_follow() {
    let view = "SELECT a, b, s, f, d FROM t WHERE";
    for (has, asked) in [
        ("b > 1", "b > 2 AND s = 'a'"),
        ("b >= 1", "b = 1"),
        ("b BETWEEN 1 AND 5", "b IN (2, 3)"),
        ("b IN (1, 2, 3)", "b = 1 OR b = 3"),
        ("b <> 2", "b > 2"),
        ("b IS NOT NULL", "b < 4"),
        ("b > 1 OR a = 1", "a = 1"),
        ("b > 1 OR a > 1", "(b = 2 OR a = 3) AND s IS NULL"),
        ("d > 1.50", "d > 2.00"),
        ("a = b", "a = b AND b > 1"),
        ("a IS NOT NULL", "a = b"),
        ("f > 0.1", "f > 0.2"),
        ("NOT (a = 1)", "NOT (a = 1) AND b = 1"),
        ("s < 'b'", "s = 'A'"),
    ] {
        let query = format!("SELECT a, d FROM t WHERE {asked}");
        answers(&format!("{view} {has}"), &query, Way::Rows).await;
    }
}

#[tokio::test]
async fn conditions_that_do_not() {
    let view = "SELECT a, b, s, f FROM t WHERE";
    for (has, asked) in [
        ("b > 2", "b > 1"),
        ("b > 1", "b >= 1"),
        ("b > 1", "a > 1"),
        ("b > 1", "b <> 0"),
        // NULL is neither.
        ("NOT (a = 1)", "a IS NULL OR a > 1"),
        ("a <> 1", "a IS DISTINCT FROM 1"),
        ("a = b", "a IS NOT DISTINCT FROM b"),
        ("b IN (1, 2)", "b IN (1, 2, 3)"),
        ("b > 1 AND a > 1", "b > 1 OR a > 1"),
        ("b > 1 OR a > 5", "b > 0"),
        ("s = 'a'", "lower(s) = 'a'"),
        ("b IS NOT NULL", "a > 1"),
        // Zeros of both signs are equal, and one is less than the other in an order.
        ("f > 0.0", "f > -0.0"),
    ] {
        let query = format!("SELECT a FROM t WHERE {asked}");
        refuses(&format!("{view} {has}"), &query, "keep out").await;
    }
}

#[tokio::test]
async fn what_a_view_lacks() {
    for (view, query, why) in [
        ("SELECT a FROM t", "SELECT b FROM t", "lacks b"),
        ("SELECT a FROM t", "SELECT a FROM t WHERE b > 1", "lacks b"),
        ("SELECT a FROM u", "SELECT a FROM t", "reads erp.public.u"),
        (
            "SELECT t.a FROM t, u",
            "SELECT a FROM t",
            "reads erp.public.u",
        ),
        (
            "SELECT p.a FROM t p, t q",
            "SELECT a FROM t",
            "reads erp.public.t",
        ),
        (
            "SELECT DISTINCT a FROM t",
            "SELECT a FROM t",
            "groups where rows",
        ),
        (
            "SELECT a FROM t GROUP BY a",
            "SELECT t.a FROM t, u",
            "groups where rows",
        ),
        (
            "SELECT a FROM t ORDER BY a LIMIT 3",
            "SELECT a FROM t",
            "more than tables",
        ),
        (
            "SELECT a FROM t UNION ALL SELECT a FROM u",
            "SELECT a FROM t",
            "more than",
        ),
        (
            "SELECT a, now() AS n FROM t",
            "SELECT a FROM t",
            "as time passes",
        ),
        (
            "SELECT a FROM t WHERE at < now()",
            "SELECT a FROM t",
            "as time passes",
        ),
        (
            "SELECT t.a, t.b FROM t JOIN u ON t.a = u.a",
            "SELECT t.a, t.b FROM t LEFT JOIN u ON t.a = u.a",
            "reads",
        ),
        (
            "SELECT t.a, u.x FROM t LEFT JOIN u ON t.a = u.a",
            "SELECT t.a, u.x FROM t JOIN u ON t.a = u.a",
            "reads more than",
        ),
        (
            "SELECT t.a, u.x FROM t LEFT JOIN u ON t.a = u.a",
            "SELECT t.a, u.x FROM t LEFT JOIN u ON t.a = u.a AND u.x > 1",
            "reads more than",
        ),
        (
            "SELECT t.a, u.x FROM t JOIN u ON t.a = u.a",
            "SELECT t.a, u.x FROM t JOIN u ON t.b = u.a",
            "keep out",
        ),
        (
            "SELECT random() AS r, a FROM t",
            "SELECT a FROM t",
            "more than",
        ),
    ] {
        refuses(view, query, why).await;
    }
}

#[tokio::test]
async fn rows_that_are_grouped() {
    for (view, query) in [
        (
            "SELECT * FROM t",
            "SELECT a, sum(f), avg(f), count(DISTINCT s) FROM t GROUP BY a",
        ),
        ("SELECT a, b FROM t", "SELECT DISTINCT a FROM t WHERE b > 1"),
        (
            "SELECT a, f FROM t",
            "SELECT count(*), sum(f), max(a) FROM t",
        ),
        (
            "SELECT a, a + b AS c FROM t WHERE b > 0",
            "SELECT a + b, count(*) FROM t WHERE b > 1 - 1 GROUP BY a + b HAVING count(*) > 1",
        ),
    ] {
        answers(view, query, Way::Grouped).await;
    }
    let joined =
        "SELECT t.a, count(*), sum(x) FROM t JOIN u ON t.a = u.a WHERE t.b > 1 GROUP BY t.a";
    answers("SELECT a, b FROM t WHERE b > 0", joined, Way::Joined).await;
}

#[tokio::test]
async fn groups_that_are_the_same() {
    let view = "SELECT a, b, count(*) AS n, sum(f) AS f, avg(f) AS m, count(DISTINCT s) AS k FROM t GROUP BY a, b";
    for query in [
        "SELECT b, a, sum(f) FROM t GROUP BY a, b",
        "SELECT a, b, count(*) + 1 AS more FROM t WHERE a = 1 GROUP BY b, a",
        "SELECT a, avg(f) FROM t GROUP BY a, b HAVING count(*) > 1 AND b > 1",
        // One of the keys is one value.
        "SELECT a, sum(f), count(DISTINCT s) FROM t WHERE b = 2 GROUP BY a",
    ] {
        answers(view, query, Way::Rows).await;
    }
    let having = "SELECT a, count(*) AS n FROM t GROUP BY a HAVING count(*) > 1";
    let more = "SELECT a FROM t GROUP BY a HAVING count(*) > 2";
    answers(having, more, Way::Rows).await;
    refuses(having, "SELECT a, count(*) FROM t GROUP BY a", "HAVING").await;
    refuses(having, "SELECT count(*) FROM t", "HAVING").await;
    let total = "SELECT count(*) AS n, sum(f) AS f FROM t";
    answers(total, "SELECT sum(f) FROM t", Way::Rows).await;
    refuses(total, "SELECT sum(f) FROM t WHERE a = 1", "lacks a").await;
    refuses(total, "SELECT sum(f) FROM t WHERE 1 = 2", "lacks").await;
}

#[tokio::test]
async fn groups_that_are_rolled_up() {
    let view = "SELECT a, b, s, count(*) AS n, count(f) AS k, sum(b) AS i, sum(d) AS d, min(d) AS low, max(s) AS high,
        bool_or(b > 3) AS some, sum(f) AS f, min(f) AS g, avg(b) AS m, count(DISTINCT d) AS c
        FROM t GROUP BY a, b, s";
    for query in [
        "SELECT a, count(*), count(f), sum(b), sum(d), min(d), max(s) FROM t GROUP BY a",
        "SELECT count(*), count(f), sum(d) FROM t",
        "SELECT count(*), sum(d) FROM t WHERE a = 17",
        "SELECT DISTINCT b FROM t WHERE a > 1",
        "SELECT a + b, count(*) FROM t GROUP BY a + b",
        "SELECT a, count(DISTINCT b), max(b), bool_or(b > 3) FROM t GROUP BY a",
        "SELECT upper(s), sum(d) AS d FROM t WHERE b IS NOT NULL GROUP BY upper(s) HAVING sum(d) > 1",
    ] {
        answers(view, query, Way::RolledUp).await;
    }
    for query in [
        "SELECT a, sum(f) FROM t GROUP BY a",
        "SELECT a, min(f) FROM t GROUP BY a",
        "SELECT a, avg(b) FROM t GROUP BY a",
        "SELECT a, count(DISTINCT d) FROM t GROUP BY a",
        "SELECT a, sum(DISTINCT d) FROM t GROUP BY a",
        "SELECT a, stddev(b) FROM t GROUP BY a",
    ] {
        refuses(view, query, "cannot be computed").await;
    }
    refuses(view, "SELECT f, count(*) FROM t GROUP BY f", "lacks f").await;
    refuses(
        view,
        "SELECT a, count(*) FROM t WHERE d > 1 GROUP BY a",
        "lacks d",
    )
    .await;
    let floats = "SELECT f, a, count(*) AS n FROM t GROUP BY f, a";
    refuses(floats, "SELECT a, count(*) FROM t GROUP BY a", "floats").await;
    refuses(
        floats,
        "SELECT f, a, count(*) FROM t WHERE f = 0.0 GROUP BY f, a",
        "floats",
    )
    .await;
    answers(
        floats,
        "SELECT a, f, count(*) FROM t GROUP BY f, a",
        Way::Rows,
    )
    .await;
}

#[tokio::test]
async fn a_part_of_a_query() {
    let world = World::new(SEED);
    for (view, query) in [
        (
            "SELECT a, b FROM t",
            "SELECT a, b FROM t UNION ALL SELECT a, x FROM u",
        ),
        (
            "SELECT a, count(*) AS n FROM t GROUP BY a",
            "SELECT u.x, p.n FROM u JOIN (SELECT a, count(*) AS n FROM t GROUP BY a) AS p ON p.a = u.a",
        ),
        (
            "SELECT a, b FROM t",
            "SELECT x FROM u WHERE x IN (SELECT b FROM t WHERE a > 1) OR EXISTS (SELECT 1 FROM t WHERE b = 3)",
        ),
        (
            "SELECT * FROM t",
            "SELECT a, row_number() OVER (PARTITION BY a ORDER BY s) FROM t ORDER BY a, b LIMIT 3",
        ),
        (
            "SELECT * FROM t",
            "SELECT a, (SELECT max(x) FROM u WHERE u.a = t.a) FROM t",
        ),
        (
            "SELECT p.a, q.b FROM t p JOIN t q ON p.a = q.b",
            "SELECT s.a, u.x FROM t r, u, t s WHERE r.b = s.a AND u.a = r.b",
        ),
        (
            "SELECT s, a, x FROM u",
            "SELECT t.s, u.x FROM t LEFT JOIN u ON t.a = u.a",
        ),
    ] {
        let tried = world.tried(view, query).await.unwrap();
        let matched = tried
            .matched
            .unwrap_or_else(|| panic!("{:?}\n{view}\n{query}", tried.proved));
        assert_eq!(matched, tried.plain, "{view}\n{query}");
    }
}

/// One who knows that times were computed in another zone does not take a view that computes with times.
#[tokio::test]
async fn times_are_of_a_zone() {
    let world = World::new(SEED);
    let table = |scan: &datafusion::logical_expr::TableScan| {
        Some(crate::catalog::ObjectId::new([scan.table_name.table()]))
    };
    for (query, computes) in [
        ("SELECT a, at FROM t", false),
        (
            "SELECT a FROM t WHERE at > TIMESTAMP '1970-01-02 00:00:00'",
            true,
        ),
        ("SELECT CAST(at AS DATE) AS day FROM t", true),
        ("SELECT max(at) AS newest FROM t", true),
        (
            "SELECT t.a FROM t LEFT JOIN u ON t.at = CAST('1970-01-02' AS TIMESTAMP)",
            true,
        ),
    ] {
        let plan = world.plan(query).await.unwrap();
        let block = super::super::Block::of(&plan, &table).unwrap();
        assert_eq!(block.computes_times(), computes, "{query}");
    }
}
