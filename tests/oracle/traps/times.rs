//! Dates and times.

use super::traps;

/// Of a table of a date `d` and a timestamp `ts`.
const PARTS: &[&str] = &[
    "SELECT id, date_part('year', d), date_part('quarter', d), date_part('week', d), date_part('dow', d), date_part('doy', d) FROM s.t",
    "SELECT id, date_part('week', ts), date_part('hour', ts), date_part('minute', ts), date_part('second', ts) FROM s.t",
    "SELECT id, date_part('epoch', ts), date_part('millisecond', ts), date_part('microsecond', ts) FROM s.t",
    "SELECT id, date_trunc('week', ts), date_trunc('quarter', ts), date_trunc('month', ts), date_trunc('second', ts) FROM s.t",
    "SELECT id FROM s.t WHERE date_part('week', d) = 1",
    "SELECT id FROM s.t WHERE date_part('quarter', ts) = 1",
    "SELECT date_part('year', ts), count(*) FROM s.t GROUP BY date_part('year', ts)",
    "SELECT date_trunc('day', ts), count(*) FROM s.t GROUP BY date_trunc('day', ts)",
];

const COMPARED: &[&str] = &[
    "SELECT id FROM s.t WHERE ts = TIMESTAMP '2024-02-29 12:34:56.789012'",
    "SELECT id FROM s.t WHERE ts = TIMESTAMP '2024-02-29 12:34:56.7890124'",
    "SELECT id FROM s.t WHERE ts > TIMESTAMP '2024-02-29 12:34:56.7890115'",
    "SELECT id FROM s.t WHERE ts >= DATE '2024-02-29'",
    "SELECT id FROM s.t WHERE d = TIMESTAMP '2024-02-29 00:00:00'",
    "SELECT id FROM s.t WHERE ts BETWEEN DATE '2024-02-29' AND DATE '2024-03-01'",
    "SELECT id FROM s.t WHERE CAST(ts AS DATE) = d",
    "SELECT id FROM s.t WHERE ts = d",
    "SELECT id, d, ts FROM s.t ORDER BY ts DESC, id LIMIT 3",
    "SELECT min(d), max(d), min(ts), max(ts), count(DISTINCT ts) FROM s.t",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.ts = r.d",
];

const INTERVALS: &[&str] = &[
    "SELECT id, d + INTERVAL '1 month', d - INTERVAL '1 year', d + INTERVAL '1 day' FROM s.t",
    "SELECT id, ts + INTERVAL '1 month', ts - INTERVAL '1 hour' FROM s.t",
    "SELECT id FROM s.t WHERE d + INTERVAL '1 month' = DATE '2024-03-29'",
    "SELECT id FROM s.t WHERE ts < TIMESTAMP '2024-03-29 12:34:56' - INTERVAL '1 month'",
    "SELECT id FROM s.t WHERE d > DATE '2024-03-31' - INTERVAL '1 month'",
    "SELECT id, ts - TIMESTAMP '2024-01-01 00:00:00' FROM s.t",
];

const TABLE: &[&str] = &[
    "CREATE TABLE t (id INTEGER PRIMARY KEY, d DATE, ts TIMESTAMP)",
    "INSERT INTO t VALUES (1, '2024-02-29', '2024-02-29 12:34:56.789012'), (2, '2024-12-30', '2024-12-30 00:00:00'),
        (3, '2021-01-03', '2021-01-03 23:59:59.999999'), (4, '2024-01-31', '2024-01-31 00:00:00'), (5, NULL, NULL),
        (6, '1970-01-01', '1970-01-01 00:00:00.000001'), (7, '2024-02-29', '2024-02-29 00:00:00')",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE t (id INTEGER PRIMARY KEY, d DATE, ts DATETIME(6))",
    TABLE[1],
];

const ENDS: &[&str] = &[
    "SELECT id, d, ts FROM s.t ORDER BY d, id",
    "SELECT id FROM s.t WHERE d < DATE '0001-01-02'",
    "SELECT id FROM s.t WHERE d > DATE '9999-12-30'",
    "SELECT id, date_part('year', d), date_part('month', ts) FROM s.t",
    "SELECT min(d), max(d), min(ts), max(ts) FROM s.t",
    "SELECT d, count(*) FROM s.t GROUP BY d",
];

traps! {
    sqlite {
        parts: TABLE => PARTS;
        microseconds: TABLE => COMPARED;
        intervals: TABLE => INTERVALS;
        ends_of_the_calendar: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, d DATE, ts TIMESTAMP)",
            "INSERT INTO t VALUES (1, '0001-01-01', '0001-01-01 00:00:00'), (2, '9999-12-31', '9999-12-31 23:59:59.999999'), (3, '1582-10-10', '1582-10-10')",
        ] => ENDS;
        offsets: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, ts TIMESTAMP, z TIMESTAMPTZ)",
            "INSERT INTO t VALUES (1, '2024-03-31 01:00:00', '2024-03-31T01:00:00Z'), (2, '2024-03-31', '2024-03-31 02:00:00+01:00'),
                (3, '2024-03-30T23:30:00-01:30', '2024-03-31'), (4, NULL, NULL)",
        ] => ZONES;
    }
    postgres {
        parts: TABLE => PARTS;
        microseconds: TABLE => COMPARED;
        intervals: TABLE => INTERVALS;
        ends_of_the_calendar: [
            "CREATE TABLE t (id integer PRIMARY KEY, d date, ts timestamp)",
            "INSERT INTO t VALUES (1, '0001-01-01', '0001-01-01'), (2, '9999-12-31', '9999-12-31 23:59:59.999999'),
                (3, '0001-12-31 BC', '0001-12-31 BC'), (4, '12000-01-01', '12000-01-01 00:00:01'), (5, '4713-01-01 BC', '4000-01-01 BC')",
        ] => ENDS;
        time_zones: [
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''America/New_York''', current_database()); END $$",
            "CREATE TABLE t (id integer PRIMARY KEY, ts timestamp, z timestamptz)",
            "INSERT INTO t VALUES (1, '2024-03-31 01:00:00', '2024-03-31 01:00:00+00'), (2, '2024-03-31', '2024-03-31 02:30:00+01'),
                (3, '2024-11-03 05:30:00', '2024-11-03 05:30:00+00'), (4, NULL, NULL), (5, '2024-12-31 23:00:00', '2024-12-31 23:00:00+00')",
        ] => ZONES;
    }
    mysql {
        parts: MYSQL => PARTS;
        microseconds: MYSQL => COMPARED;
        intervals: MYSQL => INTERVALS;
        rounded_microseconds: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, d DATE, ts DATETIME(2))",
            TABLE[1],
        ] => COMPARED;
        ends_of_the_calendar: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, d DATE, ts DATETIME(6))",
            "INSERT INTO t VALUES (1, '0001-01-01', '0001-01-01 00:00:00'), (2, '9999-12-31', '9999-12-31 23:59:59.999999'), (3, '1582-10-10', '1582-10-10')",
        ] => ENDS;
        time_zones: [
            "SET GLOBAL time_zone = '+05:30'",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, ts DATETIME, z TIMESTAMP NULL)",
            "INSERT INTO t VALUES (1, '2024-03-31 01:00:00', '2024-03-31 01:00:00'), (2, '2024-03-31', '2024-03-31 01:30:00'),
                (3, '2024-11-03 05:30:00', '2024-11-03 05:30:00'), (4, NULL, NULL), (5, '2024-12-31 23:00:00', '2024-12-31 23:00:00')",
        ] => ZONES;
    }
}

const ZONES: &[&str] = &[
    "SELECT id FROM s.t WHERE ts = z",
    "SELECT id FROM s.t WHERE z = TIMESTAMP '2024-03-31 01:00:00'",
    "SELECT id FROM s.t WHERE z < TIMESTAMP '2024-11-03 05:30:00' AND ts >= DATE '2024-03-31'",
    "SELECT id, date_part('hour', z), date_part('day', z), date_part('year', z), date_trunc('day', z) FROM s.t",
    "SELECT id, CAST(z AS DATE) AS a, CAST(ts AS DATE) AS b, z FROM s.t",
    "SELECT date_trunc('day', z), count(*) FROM s.t GROUP BY date_trunc('day', z)",
    "SELECT id, coalesce(ts, z) FROM s.t ORDER BY z DESC, id LIMIT 2",
    "SELECT min(z), max(z) FROM s.t",
];
