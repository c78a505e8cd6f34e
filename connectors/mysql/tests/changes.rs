//! Change capture against a real server: what a snapshot and the stream behind it add up to is what a scan reads.

mod following;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use belvedere_connector::{Capture, Code};
use following::{Following, Row, captured};
use mysql_async::prelude::Queryable;
use support::{Server, read, scan, table};

const TYPES: &str = "CREATE TABLE t (
  id INT UNSIGNED, a TINYINT, b TINYINT UNSIGNED, c SMALLINT, d MEDIUMINT, e MEDIUMINT UNSIGNED, f BIGINT,
  g BIGINT UNSIGNED ZEROFILL, y YEAR, fl FLOAT, do DOUBLE, d1 DECIMAL(65,30), d2 DECIMAL(5,0), d3 DECIMAL(9,9), b1 BIT(1),
  b9 BIT(9), b64 BIT(64), geo GEOMETRY, ch CHAR(5) CHARACTER SET latin1, ch4 CHAR(255) CHARACTER SET utf8mb4, vc VARCHAR(300) CHARACTER SET utf16,
  v2 VARCHAR(20) CHARACTER SET cp1251, tt TINYTEXT CHARACTER SET ucs2, tx LONGTEXT, bi BINARY(4), vb VARBINARY(300),
  bl MEDIUMBLOB, en ENUM('b','ä','ö') CHARACTER SET latin1, se SET('x','ü','z'), js JSON, uu UUID, i4 INET4, i6 INET6,
  da DATE, t0 TIME, t1 TIME(1), t3 TIME(3), t6 TIME(6), dt DATETIME, dt2 DATETIME(2), dt6 DATETIME(6), ts TIMESTAMP NULL, ts4 TIMESTAMP(4) NULL, ts6 TIMESTAMP(6) NULL)";

const VALUES: &[&str] = &[
    "1, -128, 255, -32768, -8388608, 16777215, -9223372036854775808, 18446744073709551615, 0, -1.5e-20, 1.7976931348623157e308, \
     -12345678901234567890123456789012345.000000000000000000000000000001, -99999, 0.123456789, b'1', b'100000001', ~0, POINT(1, 2), \
     'Größe', REPEAT('€', 255), '𝄞 x', 'Привет', 'ω', 'text ', x'61', x'000100', x'ff00', 'ä', 'x,z', '{\"a\": [1, null]}', \
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1.2.3.4', '::ffff:1.2.3.4', '9999-12-31', '-838:59:59', '-00:00:00.1', '-01:02:03.004', \
     '838:59:58.999999', '0001-01-01 00:00:00', '9999-12-31 23:59:59.99', '2024-02-29 12:34:56.789012', '1970-01-01 00:00:01', \
     '2038-01-19 03:14:07.9999', '2024-02-29 12:34:56.000001'",
    "2, 127, 0, 32767, 8388607, 0, 9223372036854775807, 0, 2155, 3.4028235e38, -0.5, 0, 0, -0.000000001, b'0', b'0', 0, NULL, \
     '', '', '', '', '', '', x'00000000', x'', x'', 'b', '', '[]', '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::', \
     '1000-01-01', '00:00:00', '23:59:59.9', '-838:59:58.999', '-00:00:00.000001', '2024-01-01 00:00:00', '2024-01-01 00:00:00', \
     '2024-01-01 00:00:00', '2024-01-01 00:00:00', '2024-01-01 00:00:00', '2024-01-01 00:00:00'",
    "3, 0, 1, 2, -1, 3, -4, 5, 1901, 0, 0, 99999999999999999999999999999999999.999999999999999999999999999999, 12, 0, NULL, b'1', 7, \
     POINT(-1.5, 0), 'a b', 'x', 'y', 'z', 'u', NULL, x'0100', x'00', x'00', 'ö', 'x,ü,z', '1', \
     'ffffffff-ffff-1fff-8fff-ffffffffff00', '255.255.255.255', '1:0:2:0:0:3:0:0', NULL, '-00:00:01', '00:00:00.1', \
     '00:00:00.001', '00:00:00.000001', NULL, NULL, NULL, NULL, NULL, NULL",
    "4, 0, 1, 2, 1, 3, -4, 5, 1999, 0, 0, 0, 1, 0, NULL, b'1', 7, NULL, 'a', 'x', 'y', 'z', 'u', NULL, x'01', x'00', x'00', 'b', 'x', '1', \
     '01890a5d-ac96-774b-bcce-b302099a8057', '10.0.0.1', '::1.2.3.4', NULL, '-100:00:01', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "5, 0, 1, 2, 1, 3, -4, 5, 1999, 0, 0, 0, 1, 0, NULL, b'1', 7, NULL, 'a', 'x', 'y', 'z', 'u', NULL, x'01', x'00', x'00', 'b', 'x', '1', \
     '01890a5d-ac96-674b-bcce-b302099a8057', '10.0.0.1', '1:0:2:3:4:5:6:7', NULL, '-100:00:01', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
];

const INTERVALS: &str = "t.t0: interval; t.t1: interval; t.t3: interval; t.t6: interval";

async fn types(server: &Server, is_compressed: bool) {
    let compressed = match server.brand.is_mysql() {
        true => format!("SET GLOBAL binlog_transaction_compression = {is_compressed}"),
        false => {
            format!("SET GLOBAL log_bin_compress = {is_compressed}, log_bin_compress_min_len = 10")
        }
    };
    server.database("types", &[&compressed, TYPES]).await;
    let decisions = [("columns", INTERVALS)];
    let source = server.source("types", &decisions);
    source.discover().await.expect("discovery");
    assert_eq!(source.capture(), Capture::Transactional);
    let mut following = Following::start(source, "t").await;
    let mut conn = server.connection_in("types").await;
    for values in VALUES {
        server
            .run(&mut conn, &format!("INSERT INTO t VALUES ({values})"))
            .await;
    }
    conn.query_drop(format!("INSERT INTO t (id) VALUES ({})", u32::MAX))
        .await
        .unwrap();
    following.check().await;
    conn.query_drop("UPDATE t SET a = 1, tx = CONCAT(COALESCE(tx, ''), 'x')")
        .await
        .unwrap();
    conn.query_drop("DELETE FROM t WHERE id = 2").await.unwrap();
    following.check().await;
}

#[tokio::test]
async fn what_is_told_is_what_is_read() {
    let server = Server::start_logging().await;
    server.database("big", &[]).await;
    types(&server, false).await;
    types(&server, true).await;
    if server.brand.is_mysql() {
        of_mysql(&server).await;
        never_at_rest(&server).await;
    }
    under_load(&server).await;
    beside_queries(&server).await;
    drift(&server).await;
    rewritten(&server).await;
    prepared_and_rolled_back(&server).await;
    settings(&server).await;
    locked(&server).await;
    lost(&server).await;
}

/// Where the log stands is asked beside queries: one that has the only connection keeps nobody waiting for that.
async fn beside_queries(server: &Server) {
    server
        .database("beside", &["CREATE TABLE t (id INT PRIMARY KEY)"])
        .await;
    let source = server.source("beside", &[("max_connections", "1")]);
    let t = table(&source, "t").await;
    let mut writer = server.connection_in("beside").await;
    writer.query_drop("LOCK TABLES t WRITE").await.unwrap();
    let held = tokio::spawn({
        let source = source.clone();
        async move { read(&source, scan(&t, &["id"])).await }
    });
    let waiting = "SELECT CAST(ID AS CHAR) FROM information_schema.PROCESSLIST WHERE DB = 'beside' AND STATE LIKE '%metadata lock%'";
    let asked = async {
        while server.ask("", waiting).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        source.position().await
    };
    let told = tokio::time::timeout(Duration::from_secs(10), asked).await;
    told.expect("nobody waits for the query").unwrap();
    writer.query_drop("UNLOCK TABLES").await.unwrap();
    held.await.unwrap().unwrap();
}

/// Money goes from account to account, and each account counts how often: a row that a snapshot has, though a transaction behind
/// its place changed it, or has not, though one before did, is not there when its change comes.
async fn under_load(server: &Server) {
    const WRITERS: u64 = 6;
    const ROUNDS: usize = 25;
    server
        .database(
            "bank",
            &[
                "CREATE TABLE account (id INT PRIMARY KEY, balance INT, moves INT)",
                "INSERT INTO account SELECT seq, 1000, 0 FROM seq_1_to_50",
            ],
        )
        .await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut conn = server.connection_in("bank").await;
        let is_over = is_over.clone();
        writers.push(tokio::spawn(async move {
            let mut moved = 0;
            while !is_over.load(Ordering::SeqCst) {
                moved += 1;
                let (from, to) = ((moved * 7 + writer) % 50 + 1, (moved * 11 + 3) % 50 + 1);
                let transfer = format!(
                    "UPDATE account SET balance = balance - (id = {from}) + (id = {to}), moves = moves + 1 WHERE id IN ({from}, {to})"
                );
                // Who waits in a circle gives way.
                let _ = conn.query_drop(transfer).await;
            }
        }));
    }
    let source = server.source("bank", &[]);
    for _ in 0..ROUNDS {
        let mut following = Following::start(source.clone(), "account").await;
        let balance = |row: &Row| row[1].as_deref().and_then(|text| text.parse::<i64>().ok());
        let total: Option<i64> = following.rows.iter().map(balance).sum();
        assert_eq!(total, Some(50_000));
        following.catch_up().await.expect("the stream goes on");
    }
    let mut last = Following::start(source, "account").await;
    is_over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    last.check().await;
}

/// A transaction whose number somebody has taken: MySQL does not say what a snapshot has unless nobody writes.
async fn never_at_rest(server: &Server) {
    server
        .database(
            "busy",
            &[
                "CREATE TABLE t (id INT)",
                "INSERT INTO t VALUES (1)",
                "CREATE OR REPLACE USER plain@localhost",
                "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO plain@localhost",
                "GRANT SELECT ON busy.* TO plain@localhost",
            ],
        )
        .await;
    let mut owner = server.connection_in("busy").await;
    let number = "SET gtid_next = '3e11fa47-71ca-11e1-9e33-c80aa9429562:7'; BEGIN";
    server.run(&mut owner, number).await;
    let plain = server.source_as("plain", "busy", &[]);
    let wanted = captured(&plain, "t").await;
    let error = plain.snapshot(&[wanted]).await.err().expect("an error");
    assert_eq!(error.code, Code::Busy, "{error}");
    assert!(
        format!("{error:?}").contains("GRANT LOCK TABLES ON `busy`.* TO plain"),
        "{error:?}"
    );
    let mut following = Following::start(server.source("busy", &[]), "t").await;
    server
        .run(
            &mut owner,
            "INSERT INTO t VALUES (2); COMMIT; SET gtid_next = AUTOMATIC",
        )
        .await;
    server.run(&mut owner, "INSERT INTO t VALUES (3)").await;
    following.check().await;
}

/// JSON of many kinds, and columns that a table has without being asked.
async fn of_mysql(server: &Server) {
    server
        .database(
            "own",
            &[
                "SET SESSION sql_generate_invisible_primary_key = ON",
                "CREATE TABLE t (g GEOMETRY, a VARCHAR(20) CHARACTER SET latin1, j JSON, ve VECTOR(3), b VARCHAR(20) CHARACTER SET cp1251, \
                 hidden INT INVISIBLE DEFAULT 5, twice INT AS (2 * n) VIRTUAL, kept INT AS (3 * n) STORED, n INT, \
                 KEY ((n + 1)), KEY ((CAST(j->'$.numbers' AS UNSIGNED ARRAY))))",
            ],
        )
        .await;
    let mut following = Following::start(server.source("own", &[]), "t").await;
    let mut conn = server.connection_in("own").await;
    let doubles = "1e0 -2.5 0.1 1e14 1e15 123456789012345.6 1234567890123456.7 1e-5 1.5e-7 1e-15 1e-16 12345678901234567e-20 \
                   1.7976931348623157e308 5e-324 2.2250738585072014e-308 1e22 1e21 0.000123456789012345678 99999999999999.99 \
                   -0.00000000000001234567890123456 3.0e-14 123e-13 -1e15 -123456789012345.67 1e100";
    let values = doubles
        .split_whitespace()
        .map(|number| format!("'[{number}]'"));
    let others = [
        r#"'{"bb": 1, "a": [true, false, null], "ä": {}, "aa": [], "": ""}'"#,
        r#"'[0, -1, 127, 128, 32767, 32768, 65535, 65536, -32768, -32769, 2147483647, 2147483648, 4294967295, 4294967296, -2147483649, 9223372036854775807, 9223372036854775808, 18446744073709551615, -9223372036854775808]'"#,
        r#"'"\\u0000\\u001f\\u007f\\n\\r\\t\\b\\f\\"\\\\ / € 𝄞"'"#,
        "'null'",
        "'7'",
        "JSON_ARRAY(CAST('2024-02-29' AS DATE), CAST('-838:59:59' AS TIME), CAST('12:34:56.789' AS TIME(3)), CAST('2024-02-29 12:34:56.789012' AS DATETIME(6)))",
        "JSON_ARRAY(1.50, -0.001, 0.0, 12345678901234567890123456789.000000001, -7, CAST(5 AS DECIMAL(10,2)))",
        "JSON_ARRAY(x'00ff', b'101', CAST('abc' AS BINARY), ST_GeomFromText('POINT(1 2)'))",
        "JSON_ARRAY(CAST(REPEAT('x', 200) AS BINARY), -0e0, 0e0)",
        "JSON_OBJECT('long', REPEAT('ä', 70000), 'numbers', JSON_ARRAY(1, 70000, 5), 'more', JSON_ARRAY(-70000, 1e10, TRUE, NULL))",
        "JSON_OBJECT('a', REPEAT('b', 200), 'c', REPEAT('d', 20000))",
    ];
    // Of all sizes, by a generator of Knuth's.
    let mut bits = 42_u64;
    let mut any = || {
        bits = bits
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(bits);
        let near = (bits >> 11) as f64 / [1.0, 4.0, 1e7, 1e18][bits as usize >> 60 & 3];
        let number = if number.is_finite() { number } else { near };
        format!("{number:e}, {near:e}")
    };
    let many: Vec<String> = (0..500).map(|_| any()).collect();
    let many = format!("'[{}]'", many.join(", "));
    for value in values.chain(others.map(str::to_string)).chain([many]) {
        let insert = format!(
            "INSERT INTO t (g, a, j, ve, b, n) VALUES (POINT(1, 2), 'ä', {value}, STRING_TO_VECTOR('[1,2,3.5]'), 'Привет', 4)"
        );
        server.run(&mut conn, &insert).await;
    }
    following.check().await;
    server
        .run(&mut conn, "UPDATE t SET j = JSON_SET(j, '$.a', 5), n = 6")
        .await;
    following.check().await;
    server
        .run(
            &mut conn,
            "SET gtid_next = 'AUTOMATIC:mine'; INSERT INTO t (n) VALUES (8)",
        )
        .await;
    server
        .run(&mut conn, "UPDATE t SET n = 9 WHERE n = 8")
        .await;
    following.check().await;
    // What is asked for from behind numbers with a tag.
    following.open().await.expect("a stream");
    server
        .run(
            &mut conn,
            "SET gtid_next = AUTOMATIC; DELETE FROM t WHERE n = 9",
        )
        .await;
    following.check().await;
    server
        .run(
            &mut conn,
            "SET binlog_row_value_options = PARTIAL_JSON; UPDATE t SET j = JSON_SET(j, '$.a', 7)",
        )
        .await;
    let error = following.catch_up().await.unwrap_err();
    assert!(
        error.to_string().contains("binlog_row_value_options"),
        "{error}"
    );
}

/// Statements that change tables.
async fn drift(server: &Server) {
    for (statement, code) in [
        ("ALTER TABLE t DROP v", Code::SchemaChanged),
        ("ALTER TABLE t MODIFY n VARCHAR(20)", Code::SchemaChanged),
        ("ALTER TABLE t CHANGE v w TEXT", Code::SchemaChanged),
        ("ALTER TABLE t ENGINE = MyISAM", Code::NoChangeCapture),
        ("RENAME TABLE t TO u", Code::TableMissing),
        ("DROP TABLE t", Code::TableMissing),
        ("CREATE OR REPLACE TABLE t (id INT)", Code::TableMissing),
        ("DROP DATABASE drift", Code::TableMissing),
        (
            "SET binlog_format = STATEMENT; INSERT INTO t VALUES (5, 5, 'five')",
            Code::NoChangeCapture,
        ),
        (
            "SET binlog_row_image = MINIMAL; UPDATE t SET n = 6",
            Code::NoChangeCapture,
        ),
    ] {
        server
            .database(
                "drift",
                &[
                    "CREATE TABLE t (id INT PRIMARY KEY, n INT, v TEXT)",
                    "INSERT INTO t VALUES (1, 1, 'one')",
                ],
            )
            .await;
        let mut following = Following::start(server.source("drift", &[]), "t").await;
        let mut conn = server.connection_in("drift").await;
        for harmless in [
            "ALTER TABLE t ADD more INT DEFAULT 7",
            "INSERT INTO t (id, n, v) VALUES (2, 2, 'two')",
            "CREATE INDEX i ON t (n)",
            "CREATE TABLE other LIKE t",
            "OPTIMIZE TABLE t",
            "TRUNCATE TABLE t",
            "INSERT INTO t (id, n, v) VALUES (3, 3, 'three')",
        ] {
            conn.query_drop(harmless).await.unwrap();
        }
        following.catch_up().await.unwrap();
        assert!(following.ended.is_none(), "{:?}", following.ended);
        let row = ["3", "3", "three"]
            .map(|text| Some(text.to_string()))
            .to_vec();
        assert_eq!(following.rows, [row]);
        for part in statement.split("; ") {
            let part = part.replace("VALUES (5, 5, 'five')", "VALUES (5, 5, 'five', 5)");
            server.run(&mut conn, &part).await;
        }
        let why = following.ends().await;
        assert_eq!(
            (why.code, why.table.as_deref()),
            (code, Some("t")),
            "{statement}: {why}"
        );
    }
}

/// Rows that a statement makes others of, which is not in the log as rows.
async fn rewritten(server: &Server) {
    server
        .database(
            "rewritten",
            &[
                "CREATE TABLE t (id INT PRIMARY KEY, n INT, v VARCHAR(20) CHARACTER SET utf8mb4)",
                "INSERT INTO t VALUES (1, 1, 'ω'), (2, NULL, NULL)",
            ],
        )
        .await;
    let mut following = Following::start(server.source("rewritten", &[]), "t").await;
    let mut conn = server.connection_in("rewritten").await;
    conn.query_drop("SET sql_mode = ''").await.unwrap();
    for (statement, is_anew) in [
        ("ALTER TABLE t ADD INDEX i (n), ADD UNIQUE j (id, v)", false),
        (
            "ALTER TABLE t DROP INDEX i, DROP KEY j, COMMENT = 'v'",
            false,
        ),
        ("ALTER TABLE t ALTER COLUMN n SET DEFAULT 3", false),
        ("ALTER TABLE t ENGINE = InnoDB", false),
        ("ALTER TABLE t MODIFY n INT NOT NULL", true),
        (
            "ALTER TABLE t MODIFY v VARCHAR(20) CHARACTER SET latin1",
            true,
        ),
        (
            "ALTER TABLE t DROP v, ADD v VARCHAR(20) CHARACTER SET utf8mb4 DEFAULT 'new'",
            true,
        ),
        ("ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 2", true),
        ("ALTER TABLE t TRUNCATE PARTITION p0", true),
    ] {
        conn.query_drop(statement).await.unwrap();
        following.catch_up().await.unwrap();
        assert!(following.ended.is_none(), "{:?}", following.ended);
        assert_eq!(following.is_anew, is_anew, "{statement}");
        if is_anew {
            following = Following::start(following.source, "t").await;
        }
        following.check().await;
    }
}

async fn prepared_and_rolled_back(server: &Server) {
    server
        .database(
            "xa",
            &[
                "CREATE TABLE t (id INT)",
                "CREATE TABLE other (id INT)",
                "CREATE TABLE m (id INT) ENGINE = MyISAM",
            ],
        )
        .await;
    let mut following = Following::start(server.source("xa", &[]), "t").await;
    let mut conn = server.connection_in("xa").await;
    let mut run = async |statements: &str| {
        for statement in statements.split("; ") {
            conn.query_drop(statement).await.unwrap();
        }
    };
    // Transactions with identifiers are of tables with transactions alone.
    if !server.brand.is_mysql() {
        run("BEGIN; INSERT INTO t VALUES (1); INSERT INTO m VALUES (1); ROLLBACK").await;
    }
    run("BEGIN; INSERT INTO t VALUES (2); ROLLBACK").await;
    run("XA START 'a'; INSERT INTO other VALUES (1); XA END 'a'; XA PREPARE 'a'; XA COMMIT 'a'")
        .await;
    run("XA START 'b'; INSERT INTO t VALUES (3); XA END 'b'; XA PREPARE 'b'; XA ROLLBACK 'b'")
        .await;
    run("XA START 'c'; INSERT INTO t VALUES (4); XA END 'c'; XA COMMIT 'c' ONE PHASE").await;
    following.check().await;
    run("XA START 'd'; INSERT INTO t VALUES (5); XA END 'd'; XA PREPARE 'd'; XA COMMIT 'd'").await;
    let error = following.catch_up().await.unwrap_err();
    assert_eq!(error.code, Code::LogTruncated, "{error}");
    Following::start(server.source("xa", &[]), "t")
        .await
        .check()
        .await;
}

/// What is missing is named, with the statement to run.
async fn settings(server: &Server) {
    server
        .database(
            "ready",
            &[
                "CREATE TABLE t (id INT) ENGINE = MyISAM",
                "CREATE TABLE parent (id INT PRIMARY KEY)",
                "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL)",
                "CREATE TABLE strict (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
                "CREATE OR REPLACE USER plain@localhost",
                "GRANT SELECT ON ready.* TO plain@localhost",
            ],
        )
        .await;
    let reason = async |user: &str| {
        let source = server.source_as(user, "ready", &[]);
        source.discover().await.expect("discovery");
        match source.capture() {
            Capture::None(why) => why,
            other => format!("{other:?}"),
        }
    };
    let why = reason("plain").await;
    let grant = server
        .brand
        .words("GRANT REPLICATION SLAVE, BINLOG MONITOR")
        .remove(0);
    assert!(why.contains(&grant), "{why}");
    for (name, other, right) in [
        ("binlog_format", "MIXED", "ROW"),
        ("binlog_row_image", "MINIMAL", "FULL"),
        ("binlog_row_metadata", "MINIMAL", "FULL"),
    ] {
        let mut conn = server.connection_in("ready").await;
        conn.query_drop(format!("SET GLOBAL {name} = {other}"))
            .await
            .unwrap();
        let why = reason("root").await;
        assert!(
            why.contains(&format!("SET GLOBAL {name} = {right}")),
            "{why}"
        );
        conn.query_drop(format!("SET GLOBAL {name} = {right}"))
            .await
            .unwrap();
    }
    assert_eq!(reason("root").await, "Transactional");
    let source = server.source("ready", &[]);
    let captured = captured(&source, "t").await;
    let error = source.snapshot(&[captured]).await.err().expect("an error");
    assert!(error.to_string().contains("ENGINE = InnoDB"), "{error}");
    // What InnoDB does to rows along with others is not in the log.
    let captured = self::captured(&source, "child").await;
    let error = source.snapshot(&[captured]).await.err().expect("an error");
    assert!(error.to_string().contains("ON DELETE SET NULL"), "{error}");
    let captured = self::captured(&source, "strict").await;
    source.snapshot(&[captured]).await.expect("a snapshot");
}

/// A table that somebody else has: its name is told, and it is not waited for without end.
async fn locked(server: &Server) {
    server
        .database("locked", &["CREATE TABLE t (id INT)"])
        .await;
    let source = server.source("locked", &[]);
    let captured = captured(&source, "t").await;
    let mut conn = server.connection_in("locked").await;
    conn.query_drop("LOCK TABLES t WRITE").await.unwrap();
    let tables = std::slice::from_ref(&captured);
    let error = source.snapshot(tables).await.err().expect("an error");
    assert_eq!(error.code, Code::Busy, "{error}");
    assert_eq!(error.table.as_deref(), Some("t"));
    conn.query_drop("UNLOCK TABLES").await.unwrap();
    source.snapshot(tables).await.expect("a snapshot");
}

/// A log that was reset.
async fn lost(server: &Server) {
    server.database("lost", &["CREATE TABLE t (id INT)"]).await;
    let mut following = Following::start(server.source("lost", &[]), "t").await;
    let mut conn = server.connection_in("lost").await;
    conn.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    following.check().await;
    following.stream = None;
    server.run(&mut conn, "RESET MASTER").await;
    assert_eq!(following.open().await.unwrap_err().code, Code::LogRewound);
    // While it is followed: a stream may hear nothing of it, until somebody asks where the log stands.
    let mut followed = Following::start(server.source("lost", &[]), "t").await;
    for n in 10..20 {
        let insert = format!("INSERT INTO t VALUES ({n})");
        conn.query_drop(insert).await.unwrap();
    }
    followed.check().await;
    server.run(&mut conn, "RESET MASTER").await;
    conn.query_drop("INSERT INTO t VALUES (20)").await.unwrap();
    let asked = followed.source.position().await;
    assert_eq!(asked.unwrap_err().code, Code::LogRewound);
    followed.step().await.expect_err("its log is gone");
    assert_eq!(followed.open().await.unwrap_err().code, Code::LogRewound);
    let mut again = Following::start(server.source("lost", &[]), "t").await;
    conn.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    again.check().await;
}
