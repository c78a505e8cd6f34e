//! Types that only one system has, and how the engine reads them.

use super::traps;

traps! {
    sqlite {
        affinity: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, r REAL, c TEXT, d DECIMAL(10, 2), n NUMERIC)",
            "INSERT INTO t VALUES (1, '1', '1', 1, '0.10', '2'), (2, 2.0, 2, '1.0', 0.1, 2.5), (3, '-0', -0.0, 10, 1, '1e1'), (4, NULL, NULL, NULL, NULL, NULL)",
        ] => [
            "SELECT * FROM s.t",
            "SELECT id FROM s.t WHERE i = 1",
            "SELECT id FROM s.t WHERE c = '1'",
            "SELECT id FROM s.t WHERE c > '1'",
            "SELECT id FROM s.t WHERE c = CAST(i AS VARCHAR)",
            "SELECT id FROM s.t WHERE r = i",
            "SELECT id FROM s.t WHERE d = 0.1",
            "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.c = CAST(r.i AS VARCHAR)",
            "SELECT c, count(*) FROM s.t GROUP BY c",
            "SELECT id, c FROM s.t ORDER BY c DESC, id LIMIT 2",
            "SELECT sum(i), sum(d), max(c), min(r), sum(n) FROM s.t",
        ];
        no_type: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x)",
            "INSERT INTO t VALUES (1, 1), (2, '1'), (3, 1.5), (4, '1.5'), (5, 'a'), (6, NULL), (7, 1.0), (8, 9)",
        ] => [
            "SELECT id, x FROM s.t ORDER BY x, id",
            "SELECT id FROM s.t WHERE x = '1'",
            "SELECT id FROM s.t WHERE x < '5'",
            "SELECT x, count(*) FROM s.t GROUP BY x",
            "SELECT min(x), max(x), count(DISTINCT x) FROM s.t",
            "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.x = r.x",
        ];
        booleans: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, b BOOLEAN)",
            "INSERT INTO t VALUES (1, 1), (2, 0), (3, true), (4, 'true'), (5, NULL), (6, 'false')",
        ] => BOOLEANS;
        json: JSON_TABLE => JSON;
        uuids: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u UUID)",
            "INSERT INTO t VALUES (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (2, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), (3, NULL)",
        ] => UUIDS;
    }
    postgres {
        enums: [
            "CREATE TYPE mood AS ENUM ('z', 'a', 'A', '')",
            "CREATE TABLE t (id integer PRIMARY KEY, m mood)",
            "INSERT INTO t VALUES (1, 'z'), (2, 'a'), (3, 'A'), (4, ''), (5, NULL), (6, 'a')",
        ] => ENUMS;
        booleans: [
            "CREATE TABLE t (id integer PRIMARY KEY, b boolean)",
            "INSERT INTO t VALUES (1, true), (2, false), (3, true), (5, NULL)",
        ] => BOOLEANS;
        bits: [
            "CREATE TABLE t (id integer PRIMARY KEY, b bit(4), v bit varying(8))",
            "INSERT INTO t VALUES (1, B'0101', B'1'), (2, B'0000', B''), (3, B'1111', B'00000001'), (4, NULL, NULL)",
        ] => [
            "SELECT id, b, v FROM s.t ORDER BY v, id",
            "SELECT id FROM s.t WHERE b = '0101'",
            "SELECT id FROM s.t WHERE v < '1'",
            "SELECT v, count(*) FROM s.t GROUP BY v",
            "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.b = r.v",
        ];
        arrays: [
            "CREATE TABLE t (id integer PRIMARY KEY, a integer[], w text[])",
            "INSERT INTO t VALUES (1, '{1,2}', '{a,b}'), (2, '{}', '{}'), (3, '{NULL}', '{NULL,NULL}'), (4, NULL, NULL), (5, '{2,1}', '{A,\"\"}')",
        ] => [
            "SELECT * FROM s.t",
            "SELECT id, a[1], a[3], cardinality(a), array_length(a) FROM s.t",
            "SELECT id FROM s.t WHERE a[1] = 1",
            "SELECT id FROM s.t WHERE array_has(w, 'a')",
            "SELECT id FROM s.t WHERE a = make_array(1, 2)",
            "SELECT a, count(*) FROM s.t GROUP BY a",
            "SELECT id FROM s.t WHERE a IS NOT NULL AND id > 1",
        ];
        json: JSON_TABLE => JSON;
        jsonb: [
            "CREATE TABLE t (id integer PRIMARY KEY, j jsonb)",
            JSON_TABLE[1],
        ] => JSON;
        uuids: [
            "CREATE TABLE t (id integer PRIMARY KEY, u uuid)",
            "INSERT INTO t VALUES (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (2, 'B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), (3, NULL)",
        ] => UUIDS;
    }
    mysql {
        enums: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, m ENUM('z', 'a', 'B', ''))",
            "INSERT INTO t VALUES (1, 'z'), (2, 'a'), (3, 'B'), (4, ''), (5, NULL), (6, 'a')",
        ] => ENUMS;
        sets: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, m SET('z', 'a', 'B'))",
            "INSERT INTO t VALUES (1, 'z'), (2, 'a,z'), (3, 'B'), (4, ''), (5, NULL), (6, 'a')",
        ] => ENUMS;
        booleans_of_tinyint: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, b BOOLEAN)",
            "INSERT INTO t VALUES (1, true), (2, false), (3, 2), (4, -1), (5, NULL)",
        ] => [
            "SELECT id, b FROM s.t ORDER BY b, id",
            "SELECT id FROM s.t WHERE b = 1",
            "SELECT id FROM s.t WHERE b <> 0",
            "SELECT b, count(*) FROM s.t GROUP BY b",
            "SELECT sum(b), min(b), max(b) FROM s.t",
            "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.b = r.b",
        ];
        bits: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, b BIT(1), v BIT(12))",
            "INSERT INTO t VALUES (1, b'1', b'101'), (2, b'0', b'0'), (3, b'1', b'111111111111'), (5, NULL, NULL)",
        ] => [
            "SELECT id, b, v FROM s.t",
            "SELECT id FROM s.t WHERE b",
            "SELECT id FROM s.t WHERE NOT b",
            "SELECT id FROM s.t WHERE b IS NOT TRUE",
            "SELECT b, count(*), bool_and(b) FROM s.t GROUP BY b",
            "SELECT v, count(*) FROM s.t GROUP BY v",
            "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.v = r.v",
        ];
        json: JSON_TABLE => JSON;
        uuids: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u UUID)",
            "INSERT INTO t VALUES (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (2, 'B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), (3, NULL)",
        ] => UUIDS;
    }
}

/// Their order is that of text here, that of their definition there.
const ENUMS: &[&str] = &[
    "SELECT id, m FROM s.t ORDER BY m, id",
    "SELECT id, m FROM s.t ORDER BY m DESC, id LIMIT 2",
    "SELECT id FROM s.t WHERE m = 'a'",
    "SELECT id FROM s.t WHERE m = 'A'",
    "SELECT id FROM s.t WHERE m > 'a'",
    "SELECT id FROM s.t WHERE m IN ('b', '', 'missing')",
    "SELECT id FROM s.t WHERE m = '1'",
    "SELECT min(m), max(m), count(DISTINCT m) FROM s.t",
    "SELECT m, count(*) FROM s.t GROUP BY m",
    "SELECT id FROM s.t WHERE m LIKE '%a%'",
    "SELECT id, m || '!', length(m) FROM s.t",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.m = r.m",
];

const BOOLEANS: &[&str] = &[
    "SELECT id, b FROM s.t ORDER BY b, id",
    "SELECT id FROM s.t WHERE b",
    "SELECT id FROM s.t WHERE NOT b",
    "SELECT id FROM s.t WHERE b IS NOT TRUE",
    "SELECT id FROM s.t WHERE b = (id > 1)",
    "SELECT b, count(*), bool_or(b) FROM s.t GROUP BY b",
    "SELECT id, CAST(b AS INT) AS i, CAST(b AS VARCHAR) AS c FROM s.t",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.b = r.b",
];

const JSON_TABLE: &[&str] = &[
    "CREATE TABLE t (id INTEGER PRIMARY KEY, j JSON)",
    "INSERT INTO t VALUES (1, '{\"a\": 1}'), (2, '{\"a\":1}'), (3, '[1, 2]'), (4, 'null'), (5, '\"x\"'), (6, NULL), (7, '{\"b\": 2, \"a\": 1}')",
];

const JSON: &[&str] = &[
    "SELECT id, j FROM s.t ORDER BY j, id",
    "SELECT id FROM s.t WHERE j = '{\"a\": 1}'",
    "SELECT id FROM s.t WHERE j LIKE '%\"a\"%'",
    "SELECT id FROM s.t WHERE j IS NULL",
    "SELECT j, count(*) FROM s.t GROUP BY j",
    "SELECT id, length(j) FROM s.t WHERE j <> 'null'",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.j = r.j",
];

const UUIDS: &[&str] = &[
    "SELECT id, u FROM s.t ORDER BY u, id",
    "SELECT id FROM s.t WHERE u = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
    "SELECT id FROM s.t WHERE u = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
    "SELECT id FROM s.t WHERE u = 'no uuid'",
    "SELECT id FROM s.t WHERE u > 'a1'",
    "SELECT id FROM s.t WHERE u LIKE 'a0%'",
    "SELECT max(u), count(DISTINCT u) FROM s.t",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.u = r.u",
];
