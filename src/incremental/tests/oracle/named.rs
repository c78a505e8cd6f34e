//! Queries by name: each operator, refusals, what random ones have found.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::kept::{Kept, Not};
use super::run;
use super::world::World;
use crate::incremental::reading::work::READ;

/// Kept, and equal for a few histories.
pub(super) fn keeps(sql: &str) {
    for seed in 0..6 {
        run(seed, sql, 8).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
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

#[test]
fn outer_and_semi_joins() {
    keeps("SELECT t.id, u.s FROM t LEFT JOIN u ON t.a = u.a");
    keeps("SELECT t.id, u.s FROM t LEFT JOIN u ON t.a = u.a AND t.f < u.f");
    keeps("SELECT t.id, u.id FROM t RIGHT JOIN u ON t.a = u.a WHERE u.s <> ''");
    keeps("SELECT t.id, u.id, u.f FROM t FULL JOIN u ON t.f = u.f");
    keeps("SELECT t.id, v.s FROM t LEFT JOIN v ON t.a = v.a AND t.s = v.s");
    keeps("SELECT t.id, v.s FROM t LEFT JOIN v ON t.a + 1 = v.a");
    keeps("SELECT t.id, u.id FROM t LEFT JOIN u ON t.a < u.a");
    keeps("SELECT id FROM t WHERE EXISTS (SELECT 1 FROM v WHERE v.a = t.a AND v.d > t.d)");
    keeps("SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM v WHERE v.a = t.a)");
    keeps("SELECT id FROM t WHERE a IN (SELECT a FROM v)");
    keeps("SELECT id FROM t WHERE a NOT IN (SELECT a FROM u WHERE s = 'a')");
    keeps("SELECT id FROM t WHERE a = 1 OR EXISTS (SELECT 1 FROM u WHERE u.a = t.a)");
    keeps("SELECT id, a IN (SELECT a FROM u) FROM t");
}

#[test]
fn sets() {
    keeps("SELECT a, s FROM t UNION ALL SELECT a, s FROM v");
    keeps("SELECT a, s FROM t UNION SELECT a, s FROM v");
    keeps("SELECT a, s FROM t INTERSECT SELECT a, s FROM v");
    keeps("SELECT a, s FROM t EXCEPT SELECT a, s FROM v");
    keeps("SELECT a FROM v INTERSECT ALL SELECT a FROM t");
    keeps("SELECT a FROM v EXCEPT ALL SELECT a FROM t");
    keeps("SELECT f, a FROM u EXCEPT ALL SELECT f, b FROM t");
    keeps("SELECT a, 'x' FROM t UNION ALL VALUES (7, 'y')");
}

#[test]
fn whole_groups() {
    keeps("SELECT s, min(a), max(d), bit_xor(a) FROM t GROUP BY s");
    keeps("SELECT max(f), min(day), count(DISTINCT a), bit_or(a) FROM t");
    keeps("SELECT min(make_array(a)), count(DISTINCT make_array(a)), count(DISTINCT b) FROM t");
    keeps("SELECT a, median(b), count(DISTINCT s), sum(DISTINCT b) FROM t GROUP BY a");
    keeps(
        "SELECT a, string_agg(s, '-' ORDER BY s, id), array_agg(id ORDER BY id) FROM t GROUP BY a",
    );
    keeps("SELECT a, s, sum(b), grouping(a) FROM t GROUP BY ROLLUP(a, s)");
    keeps("SELECT a, s, day, count(*) FROM t GROUP BY GROUPING SETS ((a, s), (a, day), (a))");
    keeps("SELECT corr(a, b), approx_distinct(s) FROM t GROUP BY day");
    keeps("SELECT DISTINCT ON (a) a, id, s FROM t ORDER BY a, id");
    keeps(
        "SELECT x.s, max(x.n) FROM (SELECT s, a, count(*) AS n FROM v GROUP BY s, a) x GROUP BY x.s",
    );
}

#[test]
fn windows() {
    keeps("SELECT id, row_number() OVER (PARTITION BY s ORDER BY a) FROM t");
    keeps("SELECT id, rank() OVER (ORDER BY a), sum(b) OVER (PARTITION BY a) FROM t");
    keeps("SELECT id, lag(a) OVER (PARTITION BY a + 1 ORDER BY id), count(*) OVER () FROM t");
    keeps("SELECT a, s, sum(d) OVER (PARTITION BY f ORDER BY day) FROM t");
    keeps("SELECT s, a, row_number() OVER (PARTITION BY a ORDER BY s) AS n FROM v");
    keeps(
        "SELECT a, sum(a) OVER (PARTITION BY s ORDER BY a), row_number() OVER (PARTITION BY s ORDER BY a) FROM u",
    );
    keeps(
        "SELECT * FROM (SELECT s, a, row_number() OVER (PARTITION BY a ORDER BY s) AS n FROM v) WHERE n < 3",
    );
}

#[test]
fn sets_of_groups() {
    keeps("SELECT a, s, sum(b), grouping(a), grouping(s) FROM t GROUP BY CUBE(a, s)");
    keeps("SELECT a, s, count(*), max(b) FROM t GROUP BY ROLLUP(a, s)");
    keeps("SELECT a, sum(f) FROM t GROUP BY GROUPING SETS ((a), (a), ())");
    keeps("SELECT f, count(*) FROM u GROUP BY ROLLUP(f)");
}

#[test]
fn first_rows() {
    keeps("SELECT id, a FROM t ORDER BY a DESC LIMIT 3");
    keeps("SELECT s, d FROM v ORDER BY s LIMIT 2 OFFSET 1");
    keeps("SELECT a + 1 FROM (SELECT a, f FROM t ORDER BY f, a LIMIT 4) JOIN (SELECT 1) ON true");
    keeps("SELECT f FROM t ORDER BY f");
    keeps("SELECT f, id FROM t ORDER BY f DESC LIMIT 2 OFFSET 2");
    keeps("SELECT id FROM t ORDER BY 6 / a LIMIT 2");
    keeps("SELECT id FROM t ORDER BY a OFFSET 3");
    keeps("SELECT s, sum(a) FROM t GROUP BY s ORDER BY 2 DESC LIMIT 2");
}

#[test]
fn values_of_subqueries() {
    keeps("SELECT id FROM t WHERE a > (SELECT avg(a) FROM u)");
    keeps("SELECT id, (SELECT max(f) FROM u) FROM t");
    keeps("SELECT id FROM t WHERE d = (SELECT d FROM v WHERE s = 'a')");
    keeps("SELECT a, count(*) FROM t GROUP BY a HAVING count(*) >= (SELECT count(*) FROM v) - 1");
    keeps("SELECT id FROM t WHERE a >= (SELECT count(*) FROM v WHERE v.a = t.b)");
    keeps("SELECT t.id, u.id FROM t LEFT JOIN u ON t.a = u.a AND u.id > (SELECT min(a) FROM v)");
}

#[test]
fn nested_values_and_recursion() {
    keeps("SELECT id, unnest(make_array(a, b, 1)) FROM t");
    keeps("SELECT x.n, count(*) FROM (SELECT unnest(range(0, a)) AS n FROM v) x GROUP BY x.n");
    keeps(
        "WITH RECURSIVE r(id, depth) AS (SELECT id, 1 FROM t WHERE a = 1 UNION ALL \
         SELECT u.id, r.depth + 1 FROM r JOIN u ON u.a = r.id WHERE r.depth < 4) SELECT id, depth FROM r",
    );
    keeps("SELECT 1 AS x UNION ALL SELECT a FROM t");
}

#[test]
fn rows_that_fail() {
    keeps("SELECT id, 10 / a FROM t");
    keeps("SELECT CAST(s AS BIGINT) FROM v");
    keeps("SELECT s, sum(10 / a) FROM t GROUP BY s");
    keeps("SELECT s, max(10 / a) FROM t GROUP BY s");
    keeps("SELECT id FROM t WHERE 10 / a > 1");
    keeps("SELECT id FROM t WHERE a <> 0 AND 10 / a > 1");
    keeps("SELECT id, CASE WHEN a = 0 THEN 0 ELSE 10 / a END FROM t");
    keeps("SELECT t.id, u.id FROM t JOIN u ON t.id = u.id WHERE t.a / u.a > 0");
    keeps("SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND t.a / u.a > 0");
    keeps("SELECT id, sum(10 / b) OVER (PARTITION BY a) FROM t");
}

/// More rows go than are kept beyond those asked for.
#[test]
fn first_rows_of_many() {
    let mut world = World::new();
    let row = |i: i64| {
        let null = |data_type| ScalarValue::try_from(&data_type).unwrap();
        let decimal = null(DataType::Decimal128(10, 2));
        vec![ScalarValue::from(i % 400), ScalarValue::from("x"), decimal]
    };
    world.tables[2].fill((0..900).map(row).collect());
    let mut kept = Kept::new(&mut world, "SELECT a FROM v ORDER BY a LIMIT 5 OFFSET 1").unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..60 {
        assert!(kept.step(&mut world));
        let table = &mut world.tables[2];
        for _ in 0..random.usize(0..40) {
            // Nearly always one of the first.
            let all = table.rows.iter().enumerate();
            let first = all
                .min_by_key(|(_, row)| row[0].to_string().len())
                .map(|(i, _)| i);
            first.into_iter().for_each(|i| table.take(i));
        }
        table.fill((0..random.i64(0..3)).map(|i| row(i * 150)).collect());
    }
}

/// Epochs that hundreds of rows are in: what is looked up for one more.
fn read_for_a_row(sql: &str) -> usize {
    let mut world = World::new();
    let table = &mut world.tables[2];
    let row = |i: i64| {
        let cents = ScalarValue::Decimal128(Some(i.into()), 10, 2);
        vec![ScalarValue::from(i % 3), ScalarValue::from("x"), cents]
    };
    table.fill((0..600).map(row).collect());
    world.tables[0].fill(Vec::new());
    let mut kept = Kept::new(&mut world, sql).unwrap();
    assert!(kept.step(&mut world));
    world.tables[2].fill(vec![row(1000)]);
    READ.set(0);
    assert!(kept.step(&mut world));
    // It goes again: the last by `d`.
    let last = world.tables[2].rows.len() - 1;
    world.tables[2].take(last);
    assert!(kept.step(&mut world));
    READ.get()
}

/// One row into a large group is one update: nothing is looked up but its partner.
#[test]
fn work_is_that_of_the_change() {
    let groups = "SELECT s, count(*), sum(d), avg(d), sum(CAST(a AS DOUBLE)) FROM v GROUP BY s";
    assert_eq!(read_for_a_row(groups), 0);
    assert_eq!(read_for_a_row("SELECT a, s, d FROM v WHERE d > 5"), 0);
    assert_eq!(read_for_a_row("SELECT count(*), sum(a) FROM v"), 0);
    assert_eq!(
        read_for_a_row("SELECT s, min(d), max(d), count(*) FROM v GROUP BY s"),
        0
    );
    let different = "SELECT max(d), count(DISTINCT d), count(DISTINCT a), sum(DISTINCT d) FROM v";
    assert_eq!(read_for_a_row(different), 0);
    let anew = read_for_a_row("SELECT max(d), bit_xor(a) FROM v");
    assert!(
        anew > 1000,
        "what is computed of whole groups reads them: {anew}"
    );
    let one = "SELECT x.s, sum(v.d) FROM v JOIN (SELECT a, s, count(*) FROM v GROUP BY a, s) x \
               ON v.a = x.a GROUP BY x.s";
    // Its group's row of one side is looked up; that row itself changes, and finds its 200 partners.
    assert!(read_for_a_row(one) < 500);
}

#[test]
fn what_is_refused() {
    let refused = |sql: &str| match run(1, sql, 1) {
        Err(Not::Kept(e)) => format!("{}: {}", e.operator, e.reason),
        other => panic!("{sql}: {other:?}"),
    };
    assert!(
        refused("SELECT a FROM t LIMIT 3").starts_with("LIMIT without ORDER BY: it is any rows")
    );
    assert!(refused("SELECT random() FROM t").starts_with("random(): its value is another"));
    assert!(refused("SELECT array_agg(a) FROM t").starts_with("array_agg() without ORDER BY"));
    assert!(refused("SELECT id, row_number() OVER () FROM t").starts_with("row_number() without"));
    assert!(refused("SELECT id FROM t WHERE a > (SELECT random())").starts_with("random()"));
}

/// By the clock, only conditions are kept that rows come into and fall out of as time passes.
#[test]
fn what_is_refused_of_the_clock() {
    let refused = |sql: &str| match run(1, sql, 1) {
        Err(Not::Kept(e)) => assert!(e.reason.starts_with("its value changes"), "{sql}: {e}"),
        other => panic!("{sql}: {other:?}"),
    };
    refused("SELECT now(), a FROM t");
    refused("WITH x AS (SELECT id, now() AS t FROM u) SELECT id, t FROM x WHERE t > '1970-01-01'");
    refused("SELECT id FROM u WHERE at <> now()");
    refused("SELECT id FROM u WHERE at NOT BETWEEN now() - INTERVAL '1 day' AND now()");
    refused("SELECT id FROM u WHERE now() - at < INTERVAL '1 day'");
    refused("SELECT id FROM u WHERE at > now() OR at < now() - INTERVAL '1 day'");
    refused("SELECT id FROM u WHERE a > date_part('hour', now())");
    refused("SELECT id FROM u WHERE current_date > DATE '2020-01-01'");
    refused(
        "SELECT s FROM w WHERE until > (now() AT TIME ZONE 'Europe/Berlin') - INTERVAL '1 day'",
    );
    refused("SELECT count(*) FILTER (WHERE at > now()) FROM u");
    refused("SELECT CASE WHEN at > now() THEN 1 ELSE 2 END FROM u");
    refused("SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND t.day > current_date");
    refused("SELECT id, sum(a) OVER (PARTITION BY at > now()) FROM u");
    refused(
        "WITH RECURSIVE r(id) AS (SELECT id FROM u WHERE at > now() UNION ALL \
         SELECT u.id FROM r JOIN u ON u.a = r.id WHERE r.id < 4) SELECT id FROM r",
    );
}

/// The same as [`keeps`], which takes longer by the clock: all is planned anew for each epoch.
fn keeps_its_time(sql: &str) {
    run(sql.len() as u64, sql, 8).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
}

#[test]
fn rows_of_their_time() {
    for compare in ["<", "<=", ">", ">=", "="] {
        keeps_its_time(&format!(
            "SELECT id, day FROM t WHERE day {compare} current_date"
        ));
        keeps_its_time(&format!(
            "SELECT s, until FROM w WHERE until {compare} now()"
        ));
        keeps_its_time(&format!(
            "SELECT id, at FROM u WHERE now() - INTERVAL '2 hours' {compare} at"
        ));
        keeps_its_time(&format!("SELECT id, day FROM t WHERE day {compare} now()"));
    }
    keeps_its_time("SELECT id FROM u WHERE at BETWEEN now() - INTERVAL '1 day' AND now()");
    keeps_its_time("SELECT id FROM u WHERE now() BETWEEN at AND at + INTERVAL '3 hours'");
    keeps_its_time(
        "SELECT id FROM u WHERE at > now() - INTERVAL '1 hour' AND at < now() + INTERVAL '1 hour'",
    );
    // Never: a window without a place.
    keeps_its_time("SELECT id FROM u WHERE at > now() AND at < now() - INTERVAL '1 hour'");
    keeps_its_time("SELECT s FROM w WHERE until = date_trunc('day', now()) OR a = 1");
    keeps_its_time("SELECT s FROM w WHERE until IS NULL OR until > now()");
}

#[test]
fn moments_of_the_clock() {
    for moment in [
        "now()",
        "current_timestamp",
        "now() - INTERVAL '1 month'",
        "now() - INTERVAL '1 month' - INTERVAL '1 month'",
        "INTERVAL '11 months' + now()",
        "now() - INTERVAL '1 year 2 days'",
        "CAST(now() AS TIMESTAMP)",
        "CAST(now() AS TIMESTAMP) - INTERVAL '1 month'",
        "CAST(now() - INTERVAL '1 month' AS DATE)",
        "current_date",
        "current_date - 1",
        "current_date - INTERVAL '1 month'",
        "date_trunc('hour', now())",
        "date_trunc('month', now())",
        "date_trunc('month', now() - INTERVAL '1 month')",
        "date_trunc('week', now()) + INTERVAL '12 hours'",
        "date_bin(INTERVAL '2 hours', now() - INTERVAL '1 month')",
        "now() AT TIME ZONE 'America/New_York'",
        "CAST(now() AT TIME ZONE 'Asia/Kathmandu' AS DATE)",
        "date_trunc('day', now() AT TIME ZONE 'America/New_York')",
        "to_local_time(now() AT TIME ZONE 'America/New_York')",
    ] {
        // As a time in the zone it is compared with, DataFusion takes it for one in UTC.
        keeps_its_time(&format!(
            "SELECT id, at FROM u WHERE at AT TIME ZONE 'UTC' > {moment}"
        ));
        keeps_its_time(&format!("SELECT id, day FROM t WHERE day <= {moment}"));
        keeps_its_time(&format!("SELECT s, until FROM w WHERE {moment} = until"));
    }
}

#[test]
fn rows_of_their_time_above_and_below() {
    keeps_its_time(
        "SELECT s, count(*), max(at) FROM u WHERE at > now() - INTERVAL '2 hours' GROUP BY s",
    );
    keeps_its_time("SELECT count(*) FROM u WHERE at <= now()");
    keeps_its_time(
        "SELECT s, max(at) FROM u GROUP BY s HAVING max(at) > now() - INTERVAL '2 hours'",
    );
    keeps_its_time(
        "SELECT t.id, u.id FROM t JOIN u ON t.a = u.a WHERE u.at > now() AND t.day < current_date",
    );
    keeps_its_time(
        "SELECT u.id, w.a FROM u JOIN w ON u.a = w.a AND u.at + INTERVAL '1 hour' > now()",
    );
    keeps_its_time(
        "SELECT u.id, w.a FROM u JOIN w ON u.a = w.a WHERE greatest(u.at, w.until) > now()",
    );
    keeps_its_time("SELECT t.id, u.at FROM t LEFT JOIN u ON t.a = u.a AND u.at > now()");
    keeps_its_time(
        "SELECT id FROM t WHERE a IN (SELECT a FROM u WHERE at BETWEEN now() AND now() + INTERVAL '1 day')",
    );
    keeps_its_time(
        "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM w WHERE w.a = t.a AND until > now())",
    );
    keeps_its_time("SELECT id, at FROM u WHERE at > now() ORDER BY at LIMIT 2");
    keeps_its_time(
        "SELECT id, row_number() OVER (PARTITION BY s ORDER BY at) FROM u WHERE at > now()",
    );
    keeps_its_time(
        "SELECT id FROM (SELECT id, at, rank() OVER (ORDER BY a) AS r FROM u) WHERE at > now() AND r < 4",
    );
    keeps_its_time(
        "SELECT at FROM u WHERE at > now() UNION SELECT until FROM w WHERE until > now()",
    );
    keeps_its_time(
        "SELECT id FROM u WHERE at > now() EXCEPT SELECT id FROM t WHERE day > current_date",
    );
    keeps_its_time(
        "WITH x AS (SELECT *, now() - INTERVAL '1 hour' AS since FROM u) SELECT id FROM x WHERE at > since",
    );
    keeps_its_time("SELECT id FROM u WHERE (SELECT max(until) FROM w) > now()");
    keeps_its_time("SELECT id FROM u WHERE at > now() AND 10 / a > 1");
    keeps_its_time("SELECT id FROM u WHERE 10 / a > 1 AND at > now() AND s <> 'a'");
    keeps_its_time("SELECT count(*) FROM t WHERE CAST(s AS DATE) < now()");
}

/// Where clocks are set, and where months end: hour by hour, each row comes and goes as it has to.
#[test]
fn hours_that_are_there_twice() {
    const HOUR: i64 = 3600 * 1_000_000_000;
    for (begin, sql) in [
        // Into the 29th of March and the 27th of September 1981.
        (
            4_104 * 24 + 16,
            "SELECT at FROM u WHERE at > to_local_time(now() AT TIME ZONE 'Europe/Berlin')",
        ),
        (
            4_286 * 24 + 16,
            "SELECT at FROM u WHERE at > to_local_time(now() AT TIME ZONE 'Europe/Berlin')",
        ),
        (
            4_286 * 24 + 16,
            "SELECT at FROM u WHERE at AT TIME ZONE 'UTC' < date_trunc('hour', now() AT TIME ZONE 'Europe/Berlin')",
        ),
        (
            4_286 * 24 + 16,
            "SELECT at FROM u WHERE at AT TIME ZONE 'UTC' < (now() AT TIME ZONE 'Europe/Berlin') + INTERVAL '24 hours'",
        ),
        (
            4_286 * 24 + 16,
            "SELECT at FROM u WHERE CAST(at AS DATE) = CAST(now() AT TIME ZONE 'Europe/Berlin' AS DATE)",
        ),
        // The end of the 28th of March: a month before each of the days until the 31st is the 28th of February.
        (
            4_104 * 24 + 16,
            "SELECT at FROM u WHERE at + INTERVAL '1 month' > now()",
        ),
        (
            4_104 * 24 + 16,
            "SELECT at FROM u WHERE at > now() - INTERVAL '1 month'",
        ),
        (
            4_104 * 24 + 16,
            "SELECT at FROM u WHERE at <= now() - INTERVAL '1 month'",
        ),
    ] {
        let mut world = World::new();
        world.clock = begin * HOUR;
        let row = |i: i64| {
            let at = (begin - 32 * 24) * 3_600_000_000 + i * 1_800_000_000;
            row_at(i, at)
        };
        world.tables[1].fill((0..40 * 48).map(row).collect());
        let mut kept = Kept::new(&mut world, sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert!(kept.step(&mut world), "{sql}");
        for _ in 0..45 {
            world.clock = kept.due().unwrap().min(world.clock + 2 * HOUR);
            assert!(kept.step(&mut world), "{sql}");
        }
    }
}

/// Of `u`, with nothing but its number and its time, in microseconds.
fn row_at(id: i64, at: i64) -> Vec<ScalarValue> {
    let null = |of: DataType| ScalarValue::try_from(&of).unwrap();
    vec![
        ScalarValue::from(id),
        null(DataType::Int64),
        null(DataType::Utf8),
        null(DataType::Float64),
        ScalarValue::TimestampMicrosecond(Some(at), None),
    ]
}

/// What is looked at when the clock goes on: the rows that come and go.
#[test]
fn a_tick_costs_what_it_changes() {
    let mut world = World::new();
    let begin = world.clock / 1000;
    let row = |i: i64| row_at(i, begin + i * 1_000_000);
    world.tables[1].fill((-500..500).map(row).collect());
    let sql = "SELECT id FROM u WHERE at BETWEEN now() - INTERVAL '1 minute' AND now()";
    let mut kept = Kept::new(&mut world, sql).unwrap();
    assert!(kept.step(&mut world));
    assert_eq!(kept.rows(), 61);
    // Each second one comes, and another goes.
    for _ in 0..20 {
        READ.set(0);
        world.clock = kept.due().unwrap();
        assert!(kept.step(&mut world));
        assert_eq!(READ.get(), 2);
    }
    assert_eq!(kept.rows(), 61);
}
