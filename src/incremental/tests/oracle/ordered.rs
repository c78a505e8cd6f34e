//! Groups that keep their values in order, for `min`, `max` and `DISTINCT`.

use super::kept::Kept;
use super::named::keeps;
use super::world::World;
use crate::incremental::reading::work::READ;

fn keeps_by_the_change_alone(sql: &str) {
    keeps(sql);
    reads_nothing_again(sql);
}

/// Kept, and nothing is read again whatever comes or goes.
fn reads_nothing_again(sql: &str) {
    let mut random = fastrand::Rng::with_seed(sql.len() as u64);
    let mut world = World::new();
    world.change(&mut random, 40);
    let mut kept = Kept::new(&mut world, sql).unwrap();
    READ.set(0);
    for _ in 0..10 {
        kept.step(&mut world);
        world.change(&mut random, 3);
    }
    assert_eq!(READ.get(), 0, "{sql}");
}

#[test]
fn groups_by_their_values_in_order() {
    keeps_by_the_change_alone("SELECT s, min(a), max(d), max(f), min(f) FROM t GROUP BY s");
    keeps_by_the_change_alone("SELECT max(f), min(day), max(s), min(s), count(*) FROM t");
    keeps_by_the_change_alone("SELECT max(until), min(until), max(day) FROM w");
    keeps_by_the_change_alone("SELECT a, count(DISTINCT s), count(DISTINCT f) FROM t GROUP BY a");
    keeps_by_the_change_alone(
        "SELECT s, sum(DISTINCT a), count(DISTINCT a), min(a), sum(a), avg(DISTINCT d) FROM v GROUP BY s",
    );
    keeps_by_the_change_alone("SELECT sum(DISTINCT a), sum(DISTINCT d), count(a) FROM v");
    keeps_by_the_change_alone(
        "SELECT s, max(a) FILTER (WHERE b > 1), max(a), count(DISTINCT a) FILTER (WHERE f > 0), \
         count(DISTINCT b) FROM t GROUP BY s",
    );
    keeps_by_the_change_alone("SELECT bool_and(a > 0), bool_or(a > 2), min(a > b) FROM t");
    keeps_by_the_change_alone(
        "SELECT a, s, max(b), count(DISTINCT f), count(DISTINCT day), grouping(a) FROM t GROUP BY CUBE(a, s)",
    );
    keeps_by_the_change_alone(
        "SELECT max(n), min(n) FROM (SELECT s, a, count(*) AS n FROM v GROUP BY s, a)",
    );
    keeps_by_the_change_alone("SELECT s, max(10 / a), min(id) FROM t GROUP BY s");
    keeps_by_the_change_alone(
        "SELECT max(1), min('x'), count(DISTINCT 1), count(DISTINCT a) FROM t",
    );
    keeps_by_the_change_alone(
        "SELECT s FROM t GROUP BY s HAVING max(f) > 1 AND min(day) IS NOT NULL",
    );
}

/// Of each type whose values are kept in order, what DataFusion says is the first, the last, and different.
#[test]
fn values_of_each_type_in_order() {
    for (column, data_type) in [
        ("a", "Int8"),
        ("a", "Int16"),
        ("a", "Int32"),
        ("id", "UInt8"),
        ("id", "UInt16"),
        ("id", "UInt32"),
        ("id", "UInt64"),
        ("f", "Float32"),
        ("-f", "Float64"),
        ("d", "Decimal256(40, 3)"),
        ("d", "Decimal128(20, 4)"),
        ("s", "LargeUtf8"),
        ("s", "Utf8View"),
        ("s", "Binary"),
        ("s", "LargeBinary"),
        ("s", "BinaryView"),
        ("s", "Dictionary(Int32, Utf8)"),
        ("a > 1", "Boolean"),
        ("day", "Date64"),
        ("arrow_cast(a, 'Int32')", "Time32(Second)"),
        ("arrow_cast(a, 'Int32')", "Time32(Millisecond)"),
        ("a", "Time64(Microsecond)"),
        ("a", "Time64(Nanosecond)"),
        ("day", "Timestamp(Nanosecond, None)"),
        ("day", "Timestamp(Millisecond, Some(\"Asia/Kathmandu\"))"),
        ("a", "Duration(Second)"),
        ("a", "Duration(Nanosecond)"),
        ("arrow_cast(a, 'Int32')", "Interval(YearMonth)"),
        (
            "arrow_cast(substr(s || 'x', 1, 1), 'Binary')",
            "FixedSizeBinary(1)",
        ),
    ] {
        let x = format!("arrow_cast({column}, '{data_type}')");
        reads_nothing_again(&format!(
            "SELECT s, min(x), max(x), count(DISTINCT x), count(DISTINCT id) \
             FROM (SELECT s, id, {x} AS x FROM t) GROUP BY s"
        ));
    }
    for interval in [
        "CAST(CAST(a AS VARCHAR) || ' months' AS INTERVAL)",
        "CAST(CAST(a AS VARCHAR) || ' days ' || CAST(-b AS VARCHAR) || ' hours' AS INTERVAL)",
    ] {
        reads_nothing_again(&format!(
            "SELECT min(x), max(x), count(DISTINCT x), count(DISTINCT id) \
             FROM (SELECT id, {interval} AS x FROM t)"
        ));
    }
}
