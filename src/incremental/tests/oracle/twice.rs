//! Subplans that a query has more than once.

use datafusion::common::ScalarValue;

use super::kept::Kept;
use super::run;
use super::world::{Row, World};

fn row(a: i64, cents: i128) -> Row {
    let cents = ScalarValue::Decimal128(Some(cents), 10, 2);
    vec![ScalarValue::from(a), ScalarValue::from("x"), cents]
}

/// Of a query over `v`: how many of its rows are read to begin with, and what is kept in memory.
fn costs(sql: &str) -> (u64, usize) {
    let mut world = World::new();
    world.tables[2].fill((0..2000).map(|i| row(i % 1000, i.into())).collect());
    let mut kept = Kept::new(&mut world, sql).unwrap();
    assert!(kept.step(&mut world));
    (kept.rows_read(), kept.bytes())
}

#[test]
fn what_is_read_twice_is_kept_once() {
    let x = "SELECT a, count(*) AS n, max(d) AS m FROM v GROUP BY a";
    let joined = |y: &str| {
        format!(
            "SELECT l.n, l.m, r.m, o.n + o.m FROM ({x}) l JOIN ({y}) r ON l.a = r.a AND l.n = r.n JOIN ({x}) o ON o.a = r.n"
        )
    };
    let (rows, alone) = costs(x);
    assert_eq!(rows, 2000);
    let (rows, equal) = costs(&joined(x));
    assert_eq!(rows, 2000);
    let (rows, different) = costs(&joined(&x.replace("max", "min")));
    assert_eq!(rows, 4000);
    // Its groups, and the table in which they are found.
    assert!(different - equal > alone, "{alone} {equal} {different}");
    // Read for its changes alone, and looked up.
    let mixed = format!(
        "SELECT n, m FROM ({x}) UNION ALL SELECT l.n, l.m + r.m FROM ({x}) l JOIN ({x}) r ON l.a = r.n"
    );
    assert_eq!(costs(&mixed).0, 2000);
    // As TPC-H's query 15 has it.
    let best = format!("WITH x AS ({x}) SELECT a FROM x WHERE m + n = (SELECT max(m + n) FROM x)");
    assert_eq!(costs(&best).0, 2000);
}

#[test]
fn a_row_that_fails_below_is_told_once() {
    let mut world = World::new();
    world.tables[2].fill(vec![row(0, 1), row(5, 2)]);
    let sql = "WITH x AS (SELECT s, sum(10 / a) AS n FROM v GROUP BY s) \
               SELECT l.s, r.n FROM x l JOIN x r ON l.s = r.s";
    let mut kept = Kept::new(&mut world, sql).unwrap();
    kept.step(&mut world);
    assert_eq!(kept.failed(), [1]);
    world.tables[2].take(0);
    assert!(kept.step(&mut world));
    assert_eq!(kept.failed(), [0; 0]);
}

fn keeps(sql: &str) {
    for seed in 0..2 {
        run(seed, sql, 8).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
    }
}

#[test]
fn of_each_operator() {
    for x in [
        "SELECT a, s, count(*) AS n FROM t GROUP BY a, s",
        "SELECT a, min(s) AS s, max(f) AS f, count(DISTINCT b) AS n FROM t GROUP BY a",
        "SELECT DISTINCT a, s, 1 AS n FROM v",
        "SELECT t.a, u.s, t.b AS n FROM t LEFT JOIN u ON t.a = u.a",
        "SELECT a, s, CAST(row_number() OVER (PARTITION BY s ORDER BY a, b, id) AS BIGINT) AS n FROM t",
        "SELECT a, s, b AS n FROM t ORDER BY f, a, s, b LIMIT 4",
        "SELECT a, s, sum(10 / b) AS n FROM t GROUP BY a, s",
        "SELECT a, s, bit_xor(b) AS n FROM t GROUP BY a, s",
        "SELECT a, s, id AS n FROM u WHERE at > now()",
    ] {
        keeps(&format!(
            "WITH x AS ({x}) SELECT l.a, r.s FROM x l JOIN x r ON l.a = r.n"
        ));
        keeps(&format!(
            "WITH x AS ({x}) SELECT l.a, r.s FROM x l FULL JOIN x r ON l.s = r.s"
        ));
        keeps(&format!(
            "WITH x AS ({x}) SELECT a, s FROM x WHERE n = (SELECT max(n) FROM x)"
        ));
        keeps(&format!(
            "WITH x AS ({x}) SELECT a, n FROM x UNION ALL SELECT max(n), min(a) FROM x"
        ));
        keeps(&format!(
            "WITH x AS ({x}), y AS (SELECT l.a, count(*) AS n FROM x l JOIN x r ON l.s = r.s GROUP BY l.a) \
             SELECT y.a, z.n FROM y JOIN y z ON y.a = z.n WHERE EXISTS (SELECT 1 FROM x WHERE x.n = y.n)"
        ));
    }
}
