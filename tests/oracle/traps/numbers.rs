//! Numbers, and NULLs among them.

use super::traps;

const NULLS: &[&str] = &[
    "SELECT id, i FROM s.t ORDER BY i, id",
    "SELECT id, i FROM s.t ORDER BY i DESC, id",
    "SELECT id, i FROM s.t ORDER BY i NULLS FIRST, id LIMIT 3",
    "SELECT id, i FROM s.t ORDER BY i DESC NULLS LAST, id LIMIT 3",
    "SELECT id, i FROM s.t ORDER BY i DESC LIMIT 2 OFFSET 1",
    "SELECT i, count(*) AS n FROM s.t GROUP BY i ORDER BY i LIMIT 2",
    "SELECT count(*), count(i), sum(i), min(i), max(i), avg(i) FROM s.t WHERE i IS NULL",
    "SELECT id FROM s.t WHERE i NOT IN (1, NULL)",
    "SELECT id FROM s.t WHERE NOT (i = 1 AND id > 1)",
    "SELECT id FROM s.t WHERE i NOT IN (SELECT i FROM s.t)",
    "SELECT id FROM s.t WHERE id = 2 OR i NOT IN (SELECT i FROM s.t)",
    "SELECT id FROM s.t WHERE id = 2 OR i IN (SELECT i FROM s.t WHERE id < 4)",
    "SELECT id FROM s.t WHERE (i IN (SELECT i FROM s.t WHERE id < 4)) IS NULL",
    "SELECT id FROM s.t AS l WHERE id = 2 OR NOT EXISTS (SELECT 1 FROM s.t AS r WHERE r.i = l.i AND r.id > l.id)",
    "SELECT l.id, r.id FROM s.t AS l FULL JOIN s.t AS r ON l.i = r.i AND l.id < r.id",
    "SELECT id, rank() OVER (ORDER BY i) AS r, dense_rank() OVER (ORDER BY i DESC) AS d FROM s.t ORDER BY id",
    "SELECT id, rank() OVER (ORDER BY i NULLS FIRST) AS r, count(i) OVER (ORDER BY i DESC NULLS LAST) AS n FROM s.t ORDER BY id",
    "SELECT id, row_number() OVER (PARTITION BY i ORDER BY id DESC) AS r, sum(id) OVER (PARTITION BY i) AS n FROM s.t ORDER BY id",
    "SELECT id, lag(i) OVER (ORDER BY i, id) AS l, first_value(i) OVER (ORDER BY i DESC, id) AS f FROM s.t ORDER BY id",
    "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY i) AS r FROM s.t) WHERE r <= 2 ORDER BY id",
];

const WITH_NULLS: &[&str] = &[
    "CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER)",
    "INSERT INTO t VALUES (1, 1), (2, NULL), (3, -1), (4, NULL), (5, 0), (6, 1)",
];

const FLOATS: &[&str] = &[
    "SELECT id FROM s.t WHERE f = 0",
    "SELECT id FROM s.t WHERE f = CAST('-0' AS DOUBLE)",
    "SELECT id FROM s.t WHERE f = CAST('NaN' AS DOUBLE)",
    "SELECT id FROM s.t WHERE f > CAST('Infinity' AS DOUBLE)",
    "SELECT id FROM s.t WHERE f < CAST('-Infinity' AS DOUBLE) OR f IN (CAST('Infinity' AS DOUBLE), 0.1)",
    "SELECT id FROM s.t WHERE f <> f",
    "SELECT id FROM s.t WHERE f BETWEEN -1 AND CAST('NaN' AS DOUBLE)",
    "SELECT id, f FROM s.t ORDER BY f, id",
    "SELECT id, f FROM s.t ORDER BY f DESC, id LIMIT 3",
    "SELECT f + 0, count(*) FROM s.t GROUP BY f + 0",
    "SELECT count(DISTINCT f) FROM s.t",
    "SELECT min(f), max(f), sum(f), avg(f) FROM s.t",
    "SELECT min(f), max(f), sum(f), avg(f) FROM s.t WHERE id < 5",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.f = r.f",
    "SELECT id, f / 0, f * 10, - f, abs(f), round(f) FROM s.t",
    "SELECT id, CAST(f AS REAL) FROM s.t WHERE abs(f) < 1e30",
    "SELECT id FROM s.t WHERE f = 16777217",
    "SELECT id FROM s.t WHERE f = 0.1",
];

const SUMS: &[&str] = &[
    "SELECT sum(f), avg(f), var(f), stddev(f) FROM s.t",
    "SELECT sum(f) FROM s.t WHERE id <> 4",
    "SELECT id % 2, sum(f), avg(f) FROM s.t GROUP BY id % 2",
    "SELECT sum(DISTINCT f), avg(DISTINCT f) FROM s.t",
];

const LOSSY: &[&str] = &[
    "CREATE TABLE t (id INTEGER PRIMARY KEY, f DOUBLE PRECISION)",
    "INSERT INTO t VALUES (1, 1e16), (2, 1), (3, -1e16), (4, 0.1), (5, 0.2), (6, 1e300), (7, -1e300), (8, 0.1)",
];

const INTEGERS: &[&str] = &[
    "SELECT id, i / 2, i / -2, i % 2, i % -2, -7 / (id + 1) FROM s.t",
    "SELECT id, b / 3, b % 3, abs(i) FROM s.t",
    "SELECT id FROM s.t WHERE i / 2 = 3",
    "SELECT id FROM s.t WHERE i % 2 = -1",
    "SELECT id FROM s.t WHERE b + 1 < b",
    "SELECT id, b + 1, b - 1, b * 2, i + 1, i * 2 FROM s.t",
    "SELECT id FROM s.t WHERE i + i > 0",
    "SELECT sum(b), sum(i), avg(b), avg(i), min(b), max(b) FROM s.t",
    "SELECT i % 2, sum(b), avg(b) FROM s.t GROUP BY i % 2",
    "SELECT id FROM s.t WHERE b = 9223372036854775807",
    "SELECT id FROM s.t WHERE b = 9007199254740993",
    "SELECT id FROM s.t WHERE b > 9007199254740992.5",
    "SELECT id FROM s.t WHERE i = 1.5",
    "SELECT id FROM s.t WHERE i > 0.5 AND i < 2147483648",
    "SELECT id, CASE WHEN i <> 0 THEN 10 / i END FROM s.t",
    "SELECT id, CAST(b AS DOUBLE) AS b, CAST(i AS VARCHAR) AS i FROM s.t",
];

const WHOLE: &[&str] = &[
    "CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, b BIGINT)",
    "INSERT INTO t VALUES (1, 7, 7), (2, -7, -7), (3, 0, 9007199254740993), (4, 2147483647, 9223372036854775807),
        (5, -2147483647, -9223372036854775807), (6, NULL, NULL), (7, 1, 9223372036854775807)",
];

const DECIMALS: &[&str] = &[
    "SELECT sum(d), avg(d), min(d), max(d), count(DISTINCT d) FROM s.t",
    "SELECT sum(e), avg(e), min(e), max(e) FROM s.t",
    "SELECT id, d * d, d * e, d + e, d - e, - d, abs(d) FROM s.t",
    "SELECT id, d / 3, e / 7 FROM s.t",
    "SELECT id, round(d, 1), round(d), ceil(d), floor(d) FROM s.t",
    "SELECT id, CAST(d AS DECIMAL(10, 1)) AS a, CAST(d AS BIGINT) AS b, CAST(d AS DOUBLE) AS c, CAST(d AS VARCHAR) AS e FROM s.t",
    "SELECT id FROM s.t WHERE d = 0.1",
    "SELECT id FROM s.t WHERE d = e",
    "SELECT id FROM s.t WHERE d IN (0.10, 1, 12.345)",
    "SELECT id FROM s.t WHERE d > 0.095 AND d < 0.105",
    "SELECT id FROM s.t WHERE d * 3 = 0.3",
    "SELECT d, count(*) FROM s.t GROUP BY d",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.d = r.e",
    "SELECT id, d FROM s.t ORDER BY d DESC, id LIMIT 3",
    "SELECT sum(d * e), avg(d * d), sum(d) / count(*) FROM s.t",
];

const EXACT: &[&str] = &[
    "CREATE TABLE t (id INTEGER PRIMARY KEY, d DECIMAL(10, 2), e DECIMAL(20, 6))",
    "INSERT INTO t VALUES (1, 0.10, 0.1), (2, 1, 1), (3, -0.05, 0.333333), (4, 12345678.90, 0.000001),
        (5, NULL, NULL), (6, 2.50, -2.5), (7, 2.55, 1234567.123456), (8, 0.10, 0.105)",
];

traps! {
    sqlite {
        null_order: WITH_NULLS => NULLS;
        infinities: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, f DOUBLE)",
            "INSERT INTO t VALUES (1, 0), (2, -0.0), (3, 0.1), (4, -1.5), (5, 9e999), (6, -9e999), (7, NULL), (8, 16777217), (9, 5e-324)",
        ] => FLOATS;
        float_sums: LOSSY => SUMS;
        integers: WHOLE => INTEGERS;
        decimals: EXACT => DECIMALS;
    }
    postgres {
        null_order: WITH_NULLS => NULLS;
        nan_and_zeros: [
            "CREATE TABLE t (id integer PRIMARY KEY, f double precision)",
            "INSERT INTO t VALUES (1, 0), (2, '-0'), (3, 0.1), (4, -1.5), (5, 'Infinity'), (6, '-Infinity'), (7, NULL),
                (8, 16777217), (9, 'NaN'), (10, 'NaN'), (11, 5e-324)",
        ] => FLOATS;
        nan_and_zeros_of_32_bits: [
            "CREATE TABLE t (id integer PRIMARY KEY, f real)",
            "INSERT INTO t VALUES (1, 0), (2, '-0'), (3, 0.1), (4, -1.5), (5, 'Infinity'), (6, '-Infinity'), (7, NULL),
                (8, 16777217), (9, 'NaN'), (10, 'NaN')",
        ] => FLOATS;
        float_sums: LOSSY => SUMS;
        integers: WHOLE => INTEGERS;
        decimals: EXACT => DECIMALS;
        numeric_without_precision: [
            "CREATE TABLE t (id integer PRIMARY KEY, d numeric, e numeric(20, 6))",
            "INSERT INTO t VALUES (1, 0.10, 0.1), (2, 1.00, 1), (3, -0.05, 0.333333), (4, 0.1000, 0.000001),
                (5, NULL, NULL), (6, 2.5, -2.5), (7, 2.55, 1), (8, 0.00000000000000000001, 0.105)",
        ] => [
            "SELECT id, d FROM s.t ORDER BY d, id",
            "SELECT id FROM s.t WHERE d = 0.1",
            "SELECT d, count(*) FROM s.t GROUP BY d",
            "SELECT min(d), max(d), sum(d), count(DISTINCT d) FROM s.t",
            "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.d = r.e",
            "SELECT id, d + e, CAST(d AS VARCHAR) FROM s.t",
        ];
    }
    mysql {
        null_order: WITH_NULLS => NULLS;
        negative_zeros: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, f DOUBLE)",
            "INSERT INTO t VALUES (1, 0), (2, -0e0), (3, 0.1), (4, -1.5), (5, 1e308), (6, -1e308), (7, NULL), (8, 16777217), (9, 5e-324)",
        ] => FLOATS;
        floats_of_32_bits: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, f FLOAT)",
            "INSERT INTO t VALUES (1, 0), (2, -0e0), (3, 0.1), (4, -1.5), (5, 3e38), (6, -3e38), (7, NULL), (8, 16777217)",
        ] => FLOATS;
        float_sums: LOSSY => SUMS;
        integers: WHOLE => INTEGERS;
        decimals: EXACT => DECIMALS;
        unsigned: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u BIGINT UNSIGNED, v INT UNSIGNED, i INT)",
            "INSERT INTO t VALUES (1, 0, 0, -1), (2, 18446744073709551615, 4294967295, 1), (3, 9223372036854775808, 1, -5), (4, NULL, NULL, NULL)",
        ] => [
            "SELECT id FROM s.t WHERE u > -1",
            "SELECT id FROM s.t WHERE u > i",
            "SELECT id FROM s.t WHERE v > i",
            "SELECT id FROM s.t WHERE u = 18446744073709551615",
            "SELECT id FROM s.t WHERE v IN (4294967295, -1)",
            "SELECT id, v - 5, CAST(v AS BIGINT) - 5 AS less, CAST(v AS BIGINT) * i AS more FROM s.t",
            "SELECT min(u), max(u), count(DISTINCT u), sum(v) FROM s.t",
            "SELECT id, u FROM s.t ORDER BY u DESC, id LIMIT 2",
            "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.v = r.i",
        ];
    }
}

/// What fails without pushdown fails with it, and does not become NULL.
async fn fails(system: impl crate::systems::System) {
    let tables = [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER)",
        "INSERT INTO t VALUES (1, 0), (2, 5)",
    ];
    let (_engine, session) = super::opened(&system, &tables).await;
    for query in [
        "SELECT id FROM s.t WHERE 10 / i > 1",
        "SELECT id, 10 % i FROM s.t",
        "SELECT sum(10 / i) FROM s.t",
        "SELECT id FROM s.t ORDER BY 10 / i LIMIT 1",
    ] {
        for pushdown in ["off", "on"] {
            let settings = [("pushdown".to_string(), pushdown.to_string())];
            let answered = async {
                session
                    .execute_with(query, &settings)
                    .await?
                    .collect()
                    .await
            };
            let error = answered.await.expect_err(query).to_string();
            assert!(error.to_lowercase().contains("zero"), "{query}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn division_by_zero_sqlite() {
    fails(crate::systems::sqlite("division").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn division_by_zero_postgres() {
    fails(crate::systems::postgres("division").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn division_by_zero_mysql() {
    fails(crate::systems::mysql("division").await).await;
}
