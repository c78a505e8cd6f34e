//! What PostgreSQL's users mean by casts, comparisons and functions: with pushdown and without, the answers are PostgreSQL's.

mod far;

use crate::fixture::{Fixture, database};

const TABLES: &str = "
    CREATE TABLE t (id INTEGER PRIMARY KEY, placed TIMESTAMPTZ, local TIMESTAMP, day DATE, b BLOB, name TEXT);
    INSERT INTO t VALUES
        (1, '2025-10-21T14:59:59Z', '2025-10-21 23:59:59', '2025-10-21', x'00ff', 'Smith'),
        (2, '2025-10-21T15:00:00Z', '2025-10-22 00:00:00', '2025-10-22', x'5c78', 'Smithers'),
        (3, '2025-10-22T03:30:00.5Z', '2025-10-22 12:30:00.5', '2025-10-22', NULL, 'Jones');
";

async fn fixture() -> Fixture {
    let fixture = Fixture::empty().await;
    database(&fixture.path("own.db"), TABLES);
    fixture
        .ok("CREATE SOURCE own FROM 'sqlite:own.db' WITH (writable = true)")
        .await;
    fixture.ok("SET search_path = own").await;
    fixture
}

/// The values of an answer's rows, without its frame: with pushdown as without.
async fn rows(t: &Fixture, sql: &str) -> String {
    let with = values(&t.ok(sql).await);
    t.ok("SET pushdown = off").await;
    let without = values(&t.ok(sql).await);
    t.ok("RESET pushdown").await;
    assert_eq!(with, without, "{sql}");
    with
}

fn values(table: &str) -> String {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let lines = lines.map(|line| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>().join(", ")
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// Each query and its rows.
async fn same(t: &Fixture, expected: &[(&str, &str)]) {
    for (sql, rows_of_it) in expected {
        assert_eq!(&rows(t, sql).await, rows_of_it, "{sql}");
    }
}

#[tokio::test]
async fn texts_are_bytes() {
    let t = fixture().await;
    same(
        &t,
        &[
            (r"SELECT '\x00ff'::bytea AS a", "00ff"),
            (r"SELECT 'a\\b\001'::bytea AS a", "615c6201"),
            (r"SELECT id FROM t WHERE b = '\x00ff'", "1"),
            (r"SELECT id FROM t WHERE b IN ('\x5c78', '\x00')", "2"),
            (r"SELECT id FROM t WHERE b <> '\x00ff' ORDER BY id", "2"),
            (r"SELECT '\x00ff'::bytea || '\x01'::bytea AS a", "00ff01"),
            (r"SELECT '\x00ff'::bytea || 'x' AS a", "00ff78"),
            (r"SELECT b || b AS a FROM t WHERE id = 1", "00ff00ff"),
            (
                r"SELECT x::bytea AS a FROM (VALUES ('\x01'), ('a')) AS v(x)",
                "01; 61",
            ),
        ],
    )
    .await;
    let malformed = "data: a text is no value of type bytea";
    for sql in [
        r"SELECT '\x0'::bytea",
        r"SELECT id FROM t WHERE b = '\xzz'",
        r"SELECT x::bytea FROM (VALUES ('\x01'), ('\')) AS v(x)",
    ] {
        assert_eq!(t.err(sql).await, malformed, "{sql}");
    }
    t.ok(r"INSERT INTO t (id, b) VALUES (12, '\x00ff'), (13, NULL)")
        .await;
    t.ok(r"UPDATE t SET b = '\x0102' WHERE id = 2").await;
    t.ok("INSERT INTO t (id, local) VALUES (14, '2025-04-01 10:00')")
        .await;
    same(
        &t,
        &[
            (r"SELECT id FROM t WHERE b = '\x00ff' ORDER BY id", "1; 12"),
            ("SELECT b FROM t WHERE id = 2", "0102"),
            (
                "SELECT id FROM t WHERE local = timestamp '2025-04-01 10:00:00'",
                "14",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn times_are_of_the_sessions_zone() {
    let t = fixture().await;
    t.ok("SET timezone = 'Asia/Tokyo'").await;
    same(
        &t,
        &[
            ("SELECT id FROM t WHERE placed >= '2025-10-22' ORDER BY id", "2; 3"),
            ("SELECT id FROM t WHERE placed >= '2025-10-22'::timestamp ORDER BY id", "2; 3"),
            ("SELECT id FROM t WHERE placed >= date '2025-10-22' ORDER BY id", "2; 3"),
            ("SELECT id FROM t WHERE placed BETWEEN '2025-10-22' AND '2025-10-22 01:00' ORDER BY id", "2"),
            ("SELECT id FROM t WHERE placed = '2025-10-21 15:00:00+00'", "2"),
            ("SELECT id FROM t WHERE placed = local ORDER BY id", "1; 2; 3"),
            ("SELECT placed::date AS d FROM t ORDER BY id", "2025-10-21; 2025-10-22; 2025-10-22"),
            ("SELECT placed::timestamp AS d FROM t WHERE id = 2", "2025-10-22T00:00:00"),
            ("SELECT count(*) AS n FROM t WHERE date_trunc('day', placed) = '2025-10-22'", "2"),
            ("SELECT extract(hour from placed) AS h FROM t ORDER BY id", "23; 0; 12"),
            ("SELECT placed AT TIME ZONE 'Europe/Berlin' AS b FROM t WHERE id = 2", "2025-10-21T17:00:00"),
            (
                "SELECT id FROM t WHERE local AT TIME ZONE 'Asia/Tokyo' = placed ORDER BY id",
                "1; 2; 3",
            ),
            ("SELECT to_char(placed, 'YYYY-MM-DD HH24:MI TZ') AS c FROM t WHERE id = 2", "2025-10-22 00:00 JST"),
        ],
    )
    .await;
    t.ok("RESET timezone").await;
    same(
        &t,
        &[
            ("SELECT id FROM t WHERE placed >= '2025-10-22' ORDER BY id", "3"),
            ("SELECT placed::date AS d FROM t WHERE id = 2", "2025-10-21"),
            ("SELECT placed AT TIME ZONE 'Europe/Berlin' AS b FROM t WHERE id = 2", "2025-10-21T17:00:00"),
            (
                "SELECT date_trunc('day', placed, 'Asia/Tokyo') = '2025-10-21 15:00+00' AS b FROM t ORDER BY id",
                "false; true; true",
            ),
        ],
    )
    .await;
    assert_eq!(
        t.err("SELECT placed AT TIME ZONE 'Nowhere' FROM t").await,
        "data: time zone Nowhere is not known"
    );
}

#[tokio::test]
async fn times_by_patterns() {
    let t = fixture().await;
    same(
        &t,
        &[
            ("SELECT to_char(placed, 'YYYY-MM') AS c FROM t WHERE id = 1", "2025-10"),
            ("SELECT to_char(day, 'FMDay, DD Mon') AS c FROM t WHERE id = 1", "Tuesday, 21 Oct"),
            ("SELECT to_char(1234.5, 'FM9,999.00') AS c", "1,234.50"),
            ("SELECT to_date('03.02.2025', 'DD.MM.YYYY') AS c", "2025-02-03"),
            ("SELECT to_timestamp('2025-02-03 04:05', 'YYYY-MM-DD HH24:MI') = '2025-02-03 04:05' AS c", "true"),
        ],
    )
    .await;
    assert_eq!(
        t.err("SELECT to_char(day, '%Y-%m') FROM t").await,
        "data: a pattern is one of PostgreSQL's, as YYYY-MM-DD, without %"
    );
}

#[tokio::test]
async fn ages_and_intervals() {
    let t = fixture().await;
    same(
        &t,
        &[
            ("SELECT age(date '2001-04-10', date '1957-06-13') = interval '43 years 9 months 27 days' AS c", "true"),
            ("SELECT age(local, timestamp '2025-09-21 23:59:59') = interval '1 month' AS c FROM t WHERE id = 1", "true"),
            ("SELECT age(current_date) = interval '0 days' AS c", "true"),
            ("SELECT interval '1 day' * 2 = interval '2 days' AS c", "true"),
            ("SELECT make_interval(days => 2, hours => 3) = interval '2 days 3 hours' AS c", "true"),
            ("SELECT date '2025-03-01' - interval '1 day 2 hours' AS c", "2025-02-27T22:00:00"),
            ("SELECT id FROM t WHERE day > date '2025-10-23' - interval '2 days' ORDER BY id", "2; 3"),
            ("SELECT extract(second from local) AS c FROM t WHERE id = 3", "0.5"),
        ],
    )
    .await;
}

#[tokio::test]
async fn patterns_and_lists() {
    let t = fixture().await;
    same(
        &t,
        &[
            ("SELECT id FROM t WHERE name SIMILAR TO 'Smith%' ORDER BY id", "1; 2"),
            ("SELECT id FROM t WHERE name NOT SIMILAR TO 'Smith' ORDER BY id", "2; 3"),
            ("SELECT id FROM t WHERE name SIMILAR TO '(Smith|Jone)_' ORDER BY id", "3"),
            ("SELECT 'b' = ANY(ARRAY['a', NULL]) AS c", ""),
            ("SELECT count(*) AS n FROM t WHERE NOT (name = ANY(ARRAY['a', NULL]))", "0"),
            (
                "SELECT count(*) AS n FROM (SELECT array_agg(x) AS tags FROM (VALUES ('a'), (NULL)) AS v(x)) AS w
                 WHERE NOT ('b' = ANY(tags))",
                "0",
            ),
            ("SELECT count(*) AS n FROM t WHERE name = ANY(ARRAY['Smith', 'Jones'])", "2"),
        ],
    )
    .await;
}

#[tokio::test]
async fn casts_and_small_functions() {
    let t = fixture().await;
    same(
        &t,
        &[
            ("SELECT 2.5::int AS a, -2.5::int AS b, 3.7::float::int AS c, 2.5::float::int AS d", "3, -3, 4, 2"),
            ("SELECT arrow_typeof(1::float) AS a, arrow_typeof(1::real) AS b", "Float64, Float32"),
            ("SELECT 'abc'::char(2) AS a, 'abc'::varchar(2) AS b", "ab, ab"),
            ("SELECT timestamp '2025-04-01 10:00' AS a", "2025-04-01T10:00:00"),
            ("SELECT timestamptz '2025-11-01 00:00+01' = timestamptz '2025-10-31T23:00:00Z' AS a", "true"),
            ("SELECT id FROM t WHERE local >= '2025-10-22 12:00'", "3"),
            ("SELECT 'today'::date = current_date AS a, 'now'::timestamptz = now() AS b", "true, true"),
            ("SELECT mod(7, 3) AS a, div(7, 2) AS b, sign(-2) AS c", "1, 3, -1.0"),
            ("SELECT every(id > 0) AS a, variance(id) AS b FROM t", "true, 1.0"),
            ("SELECT pg_typeof(id) AS a, pg_typeof(placed) AS b FROM t WHERE id = 1", "bigint, timestamp with time zone"),
            (
                "SELECT 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid AS a",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ),
            (
                "SELECT count(*) AS n FROM (VALUES (arrow_cast('10:45', 'Time64(Microsecond)'))) AS v(x)
                 WHERE x BETWEEN time '10:30' AND time '11:00'",
                "1",
            ),
        ],
    )
    .await;
    assert_eq!(
        t.err("SELECT '{'::json").await,
        "data: a text is no value of type json"
    );
}

#[tokio::test]
async fn views_that_are_kept_by_change_mean_the_same() {
    let t = fixture().await;
    t.ok("RESET search_path").await;
    t.ok("ALTER SOURCE own SET (changes = 'poll', poll_interval = '50ms')")
        .await;
    let query = r"SELECT id, to_char(placed, 'YYYY-MM-DD') AS day, name SIMILAR TO 'Smith%' AS smith, extract(second from local) AS second,
        placed AT TIME ZONE 'Asia/Tokyo' AS there, b = '\x00ff' AS found, age(local, timestamp '2025-01-01') AS age,
        CAST(extract(second from local) AS INT) AS rounded FROM own.t";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change') AS {query}"
    ))
    .await;
    assert_eq!(
        t.ok("SELECT * FROM kept ORDER BY id").await,
        t.ok(&format!("{query} ORDER BY id")).await
    );
}
