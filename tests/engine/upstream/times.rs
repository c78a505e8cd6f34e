//! Times without a zone, in a session that has one.

use super::{answers, fixture};

/// The nights in which summer begins and ends in Berlin, and an hour and a half before what a constant would be in UTC.
#[tokio::test]
async fn times_without_a_zone_in_that_of_the_session() {
    let fixture = fixture(
        "CREATE TABLE t (n INTEGER, at TIMESTAMP);
         INSERT INTO t VALUES
            (1, '2026-03-29 01:59:59'), (2, '2026-03-29 02:30:00'), (3, '2026-03-29 03:30:00'),
            (4, '2026-07-01 12:30:00'), (5, '2026-10-25 02:30:00'), (6, '2026-10-25 03:00:00'), (7, NULL);",
    )
    .await;
    fixture.ok("SET timezone = 'Europe/Berlin'").await;
    let from = ("FROM t", "FROM own.main.t");
    let queries = [
        "SELECT n, CAST(at AS timestamp with time zone) AS at FROM t ORDER BY n",
        "SELECT n FROM t WHERE at >= TIMESTAMPTZ '2026-07-01T10:30:00Z' ORDER BY n",
        "SELECT n FROM t WHERE TIMESTAMPTZ '2026-07-01T10:30:00Z' > at ORDER BY n",
        "SELECT n FROM t WHERE at = TIMESTAMPTZ '2026-10-25T01:30:00Z'",
        "SELECT n FROM t WHERE at IN (TIMESTAMPTZ '2026-07-01T10:30:00Z', TIMESTAMPTZ '2026-03-29T00:59:59Z') ORDER BY n",
        "SELECT n FROM t
         WHERE at BETWEEN TIMESTAMPTZ '2026-03-29T00:59:59Z' AND TIMESTAMPTZ '2026-07-01T10:29:59Z' ORDER BY n",
        "SELECT n, at < TIMESTAMPTZ '2026-07-01T10:30:00Z' AS before FROM t ORDER BY n",
        "SELECT count(*) AS n FROM t WHERE at + INTERVAL '10 years' > now()",
    ];
    let plain = answers(&fixture, from, &queries).await;
    insta::assert_snapshot!(plain, @r"
    SELECT n, CAST(at AS timestamp with time zone) AS at FROM t ORDER BY n
    +---+---------------------------+
    | n | at                        |
    +---+---------------------------+
    | 1 | 2026-03-29T01:59:59+01:00 |
    | 2 | 2026-03-29T03:30:00+02:00 |
    | 3 | 2026-03-29T03:30:00+02:00 |
    | 4 | 2026-07-01T12:30:00+02:00 |
    | 5 | 2026-10-25T02:30:00+01:00 |
    | 6 | 2026-10-25T03:00:00+01:00 |
    | 7 |                           |
    +---+---------------------------+
    SELECT n FROM t WHERE at >= TIMESTAMPTZ '2026-07-01T10:30:00Z' ORDER BY n
    +---+
    | n |
    +---+
    | 4 |
    | 5 |
    | 6 |
    +---+
    SELECT n FROM t WHERE TIMESTAMPTZ '2026-07-01T10:30:00Z' > at ORDER BY n
    +---+
    | n |
    +---+
    | 1 |
    | 2 |
    | 3 |
    +---+
    SELECT n FROM t WHERE at = TIMESTAMPTZ '2026-10-25T01:30:00Z'
    +---+
    | n |
    +---+
    | 5 |
    +---+
    SELECT n FROM t WHERE at IN (TIMESTAMPTZ '2026-07-01T10:30:00Z', TIMESTAMPTZ '2026-03-29T00:59:59Z') ORDER BY n
    +---+
    | n |
    +---+
    | 1 |
    | 4 |
    +---+
    SELECT n FROM t
             WHERE at BETWEEN TIMESTAMPTZ '2026-03-29T00:59:59Z' AND TIMESTAMPTZ '2026-07-01T10:29:59Z' ORDER BY n
    +---+
    | n |
    +---+
    | 1 |
    | 2 |
    | 3 |
    +---+
    SELECT n, at < TIMESTAMPTZ '2026-07-01T10:30:00Z' AS before FROM t ORDER BY n
    +---+--------+
    | n | before |
    +---+--------+
    | 1 | true   |
    | 2 | true   |
    | 3 | true   |
    | 4 | false  |
    | 5 | false  |
    | 6 | false  |
    | 7 |        |
    +---+--------+
    SELECT count(*) AS n FROM t WHERE at + INTERVAL '10 years' > now()
    +---+
    | n |
    +---+
    | 6 |
    +---+
    ");
    fixture.ok("SET pushdown = on").await;
    assert_eq!(answers(&fixture, from, &queries).await, plain);
    let plan = fixture
        .ok("EXPLAIN SELECT n FROM own.main.t WHERE at >= TIMESTAMPTZ '2026-07-01T10:30:00Z'")
        .await;
    insta::assert_snapshot!(plan, @r#"
    +------------------------------------------------------------------------------------------------------------------------------+
    | plan                                                                                                                         |
    +------------------------------------------------------------------------------------------------------------------------------+
    | Sent to own (sqlite, about 3 rows)                                                                                           |
    |   SELECT t0."n", t0."at" FROM "main"."t" AS t0 WHERE as_timestamp(t0."at") >= ?1                                             |
    |                                                                                                                              |
    | Stays here, though one source holds its input                                                                                |
    |   own: in_zone(own.main.t.at) >= TimestampMicrosecond(1782901800000000, Some("Europe/Berlin"))                               |
    |     because: function in_zone() has no form in the algebra                                                                   |
    |                                                                                                                              |
    | Runs here                                                                                                                    |
    |   FilterExec: in_zone(at@1) >= 1782901800000000, projection=[n@0]                                                            |
    |     RepartitionExec: partitioning=RoundRobinBatch(2), input_partitions=1                                                     |
    |       FragmentExec: source=own, partitions=1, SELECT t0."n", t0."at" FROM "main"."t" AS t0 WHERE as_timestamp(t0."at") >= ?1 |
    +------------------------------------------------------------------------------------------------------------------------------+
    "#);
}

/// Before 1677 and after 2262, and a series in the unit that times have elsewhere.
#[tokio::test]
async fn times_that_are_not_in_nanoseconds() {
    let fixture = fixture(
        "CREATE TABLE t (n INTEGER, at TIMESTAMP);
         INSERT INTO t VALUES
            (1, '0001-01-01 00:00:01'), (2, '2026-05-17 10:30:00'), (3, '9999-12-31 10:30:00'), (4, NULL);",
    )
    .await;
    let from = ("FROM t", "FROM own.main.t");
    let queries = [
        "SELECT n, date_trunc('quarter', at) AS quarter, date_trunc('week', at) AS week, date_trunc('hour', at) AS hour FROM t ORDER BY n",
        "SELECT value, arrow_typeof(value) AS type
         FROM generate_series(timestamp '2026-01-01', timestamp '2026-01-02', interval '1 day')",
    ];
    let plain = answers(&fixture, from, &queries).await;
    insta::assert_snapshot!(plain, @r"
    SELECT n, date_trunc('quarter', at) AS quarter, date_trunc('week', at) AS week, date_trunc('hour', at) AS hour FROM t ORDER BY n
    +---+---------------------+---------------------+---------------------+
    | n | quarter             | week                | hour                |
    +---+---------------------+---------------------+---------------------+
    | 1 | 0001-01-01T00:00:00 | 0001-01-01T00:00:00 | 0001-01-01T00:00:00 |
    | 2 | 2026-04-01T00:00:00 | 2026-05-11T00:00:00 | 2026-05-17T10:00:00 |
    | 3 | 9999-10-01T00:00:00 | 9999-12-27T00:00:00 | 9999-12-31T10:00:00 |
    | 4 |                     |                     |                     |
    +---+---------------------+---------------------+---------------------+
    SELECT value, arrow_typeof(value) AS type
             FROM generate_series(timestamp '2026-01-01', timestamp '2026-01-02', interval '1 day')
    +---------------------+---------------+
    | value               | type          |
    +---------------------+---------------+
    | 2026-01-01T00:00:00 | Timestamp(µs) |
    | 2026-01-02T00:00:00 | Timestamp(µs) |
    +---------------------+---------------+
    ");
    fixture.ok("SET pushdown = on").await;
    assert_eq!(answers(&fixture, from, &queries).await, plain);
}
