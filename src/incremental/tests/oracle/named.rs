//! Queries by name: each operator, refusals, what random ones have found.

use super::run;

/// Kept, and equal for a few histories.
fn keeps(sql: &str) {
    for seed in 0..6 {
        run(seed, sql, 8).unwrap_or_else(|e| panic!("{sql}\n{e}"));
    }
}

#[test]
fn filters_and_projections() {
    keeps("SELECT id, a + b, s || 'x' FROM t WHERE a > 0 AND s <> 'a'");
    keeps("SELECT s FROM v");
    keeps("SELECT 1 FROM v WHERE d > 1");
}

#[test]
fn inner_joins() {
    keeps("SELECT t.id, u.s, t.a FROM t JOIN u ON t.a = u.id WHERE u.f < 2");
    keeps("SELECT t.id, v.d, w.day FROM t JOIN v ON t.a = v.a JOIN w ON w.s = v.s AND w.a = t.b");
    keeps("SELECT x.id, y.id FROM t x JOIN t y ON x.a = y.b AND x.id < y.id");
    keeps("SELECT t.id FROM t JOIN u ON t.f = u.f");
    keeps("SELECT t.id, u.id FROM t, u WHERE t.a < u.a");
    keeps("SELECT count(*) FROM t, v");
}

#[test]
fn linear_groups() {
    keeps("SELECT s, count(*), count(a), sum(a), avg(b), sum(d), avg(d) FROM t GROUP BY s");
    keeps("SELECT a, sum(f), avg(f), stddev(f), var_pop(f) FROM t GROUP BY a");
    keeps("SELECT f, sum(b) FILTER (WHERE a > 1), count(*) FILTER (WHERE b = 2) FROM t GROUP BY f");
    keeps("SELECT count(*), sum(a), avg(f) FROM t WHERE a > 2");
    keeps("SELECT DISTINCT s, a FROM v");
    keeps(
        "SELECT s, sum(x) FROM (SELECT s, count(*) AS x FROM v GROUP BY s, a) GROUP BY s HAVING sum(x) > 1",
    );
}
