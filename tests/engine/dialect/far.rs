//! Times that there are none of in nanoseconds: before 1677, and after 2262, as `9999-12-31` is, which stands for no end.

use datafusion::scalar::ScalarValue;

use super::{rows, same, values};
use crate::fixture::{Fixture, database, table};

const TABLE: &str = "
    CREATE TABLE f (id INTEGER PRIMARY KEY, d DATE, ts TIMESTAMP, z TIMESTAMPTZ);
    INSERT INTO f VALUES
        (1, '2025-06-01', '2025-06-01 12:00:00', '2025-06-01T12:00:00Z'),
        (2, '9999-12-31', '9999-12-31 00:00:00', '9999-12-31T00:00:00Z'),
        (3, '0001-01-01', '0001-01-01 00:00:00', '0001-01-01T00:00:00Z'),
        (4, NULL, NULL, NULL);
";

async fn fixture() -> Fixture {
    let fixture = Fixture::empty().await;
    database(&fixture.path("own.db"), TABLE);
    fixture.ok("CREATE SOURCE own FROM 'sqlite:own.db'").await;
    fixture.ok("SET search_path = own").await;
    fixture
}

#[tokio::test]
async fn literals_and_comparisons() {
    let t = fixture().await;
    same(
        &t,
        &[
            ("SELECT timestamp '9999-12-31' AS a", "9999-12-31T00:00:00"),
            ("SELECT timestamptz '9999-12-31' AS a", "9999-12-31T00:00:00Z"),
            ("SELECT '12000-01-01'::timestamp AS a", "+12000-01-01T00:00:00"),
            ("SELECT timestamp '0044-03-15 BC' AS a", "-0043-03-15T00:00:00"),
            ("SELECT date '9999-12-31' > now() AS a, now() < timestamp '9999-12-31' AS b", "true, true"),
            ("SELECT id FROM f WHERE d = ts ORDER BY id", "2; 3"),
            ("SELECT id FROM f WHERE d = z ORDER BY id", "2; 3"),
            ("SELECT l.id FROM f AS l JOIN f AS r ON l.d = r.z ORDER BY l.id", "2; 3"),
            ("SELECT id FROM f WHERE d > now()", "2"),
            ("SELECT id FROM f WHERE ts > current_timestamp", "2"),
            ("SELECT id FROM f WHERE z >= now() + interval '1 day'", "2"),
            ("SELECT id FROM f WHERE ts = '9999-12-31'", "2"),
            ("SELECT id FROM f WHERE '9999-12-30' < z", "2"),
            ("SELECT id FROM f WHERE ts IN ('9999-12-31', '0001-01-01') ORDER BY id", "2; 3"),
            ("SELECT id FROM f WHERE z BETWEEN '2025-01-01' AND '9999-12-31' ORDER BY id", "1; 2"),
            ("SELECT id FROM f WHERE ts < date '9999-12-31' ORDER BY id", "1; 3"),
            ("SELECT id FROM f WHERE z <= date '0001-01-01'", "3"),
            ("SELECT id FROM f WHERE d BETWEEN now() AND timestamp '9999-12-31 01:00'", "2"),
            ("SELECT id FROM f WHERE ts IN (date '9999-12-31', timestamp '0001-01-01') ORDER BY id", "2; 3"),
            ("SELECT id FROM f WHERE d = (SELECT max(ts) FROM f)", "2"),
            ("SELECT id FROM f WHERE ts = timestamp '2025-06-01 12:00:00.0000004'", "1"),
            ("SELECT 0::timestamp AS a, 1000000000::timestamp AS b", "1970-01-01T00:00:00, 2001-09-09T01:46:40"),
        ],
    )
    .await;
    t.ok("SET timezone = 'Europe/Berlin'").await;
    same(
        &t,
        &[
            ("SELECT id FROM f WHERE d > now()", "2"),
            ("SELECT id FROM f WHERE ts > now()", "2"),
            (
                "SELECT id FROM f WHERE d = timestamptz '9999-12-31 00:00+01'",
                "2",
            ),
            (
                "SELECT id FROM f WHERE date_trunc('day', z) = timestamptz '9999-12-31 00:00+01'",
                "2",
            ),
            (
                "SELECT timestamptz '9999-12-31' = timestamptz '9999-12-30 23:00Z' AS a",
                "true",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_chosen_and_computed() {
    let t = fixture().await;
    same(
        &t,
        &[
            ("SELECT arrow_typeof(now()) AS a, arrow_typeof(coalesce(z, now())) AS b FROM f WHERE id = 1", "Timestamp(µs, \"UTC\"), Timestamp(µs, \"UTC\")"),
            ("SELECT coalesce(z, now()) AS a FROM f WHERE id = 2", "9999-12-31T00:00:00Z"),
            ("SELECT coalesce(d, ts) AS a FROM f WHERE id = 2", "9999-12-31T00:00:00"),
            ("SELECT CASE WHEN id = 4 THEN '9999-12-31' ELSE z END AS a FROM f WHERE id > 2 ORDER BY id", "0001-01-01T00:00:00Z; 9999-12-31T00:00:00Z"),
            ("SELECT greatest(d, now()) AS a FROM f WHERE id = 2", "9999-12-31T00:00:00Z"),
            ("SELECT CASE WHEN id > 1 THEN d ELSE now() END AS a FROM f WHERE id = 2", "9999-12-31T00:00:00Z"),
            ("SELECT id FROM f WHERE CASE WHEN ts IS NULL THEN now() ELSE d END > '9000-01-01'", "2"),
            ("SELECT d AS a FROM f WHERE id = 2 UNION ALL SELECT ts FROM f WHERE id = 3 ORDER BY a", "0001-01-01T00:00:00; 9999-12-31T00:00:00"),
            ("SELECT ts AT TIME ZONE 'Europe/Berlin' AS a FROM f WHERE id = 2", "9999-12-30T23:00:00Z"),
            ("SELECT timestamp '9999-12-31 12:00' AT TIME ZONE 'Asia/Tokyo' AS a", "9999-12-31T03:00:00Z"),
            ("SELECT z AT TIME ZONE 'Asia/Tokyo' AS a FROM f WHERE id = 2", "9999-12-31T09:00:00"),
            ("SELECT d AT TIME ZONE 'Asia/Tokyo' AS a FROM f WHERE id = 2", "9999-12-31T09:00:00"),
            ("SELECT date_trunc('month', ts) AS a FROM f WHERE id < 4 ORDER BY id", "2025-06-01T00:00:00; 9999-12-01T00:00:00; 0001-01-01T00:00:00"),
            ("SELECT date_trunc('quarter', d) AS a FROM f WHERE id = 2", "9999-10-01T00:00:00"),
            ("SELECT date_trunc('week', timestamp '9999-12-31 10:30') AS a", "9999-12-27T00:00:00"),
            ("SELECT date_trunc('hour', z + interval '90 minutes') AS a FROM f WHERE id = 2", "9999-12-31T01:00:00Z"),
            ("SELECT to_timestamp(253402214400) AS a, to_timestamp(1.5) AS b", "9999-12-31T00:00:00Z, 1970-01-01T00:00:01.500Z"),
            ("SELECT ts + interval '1 day' AS a FROM f WHERE id = 2", "+10000-01-01T00:00:00"),
            ("SELECT d - timestamp '9999-12-30 12:00' = interval '12 hours' AS a FROM f WHERE id = 2", "true"),
            ("SELECT extract(year from ts) AS a, extract(epoch from ts) AS b FROM f WHERE id = 2", "9999, 253402214400.0"),
        ],
    )
    .await;
}

#[tokio::test]
async fn prepared_and_kept() {
    let t = fixture().await;
    let prepared =
        "SELECT id FROM f WHERE ts >= $1 AND d < timestamp '9999-12-31 01:00' AND $2 > now()";
    let prepared = t.session.prepare(prepared).await.unwrap();
    let end = |zone| ScalarValue::TimestampMicrosecond(Some(253_402_214_400_000_000), zone);
    let given = [end(None), end(Some("UTC".into()))];
    let answer = t.session.execute_prepared(&prepared, &given);
    let answer = table(answer.await.unwrap()).await.unwrap();
    assert_eq!(values(&answer), "2");

    t.ok("RESET search_path").await;
    t.ok("ALTER SOURCE own SET (changes = 'poll', poll_interval = '50ms')")
        .await;
    let query = "SELECT id, coalesce(ts, timestamp '9999-12-31') AS until, date_trunc('month', ts) AS month,
        ts AT TIME ZONE 'Asia/Tokyo' AS there, d = z AS is_day FROM own.f WHERE d > now() OR id > 2";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change') AS {query}"
    ))
    .await;
    let live = rows(&t, &format!("{query} ORDER BY id")).await;
    assert_eq!(rows(&t, "SELECT * FROM kept ORDER BY id").await, live);
    assert_eq!(live.split("; ").count(), 3);
}
