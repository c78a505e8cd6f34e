//! Every type at its extremes, against what the server itself prints.

mod support;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use belvedere_connector::{Code, TableKind};
use support::{Server, assert_code, read, scan, table, text_of};

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|v| Some(v.to_string())).collect()
}

fn column(rows: &[Vec<Option<String>>], i: usize) -> Vec<Option<String>> {
    rows.iter().map(|row| row[i].clone()).collect()
}

#[tokio::test]
async fn types() {
    let server = Server::start().await;
    numbers(&server).await;
    dates(&server).await;
    zero_dates(&server).await;
    texts(&server).await;
    bytes(&server).await;
    decisions(&server).await;
    discovery(&server).await;
    sizes(&server).await;
}

async fn numbers(server: &Server) {
    server
        .database(
            "numbers",
            &[
                "CREATE TABLE n (id INT PRIMARY KEY, i8 TINYINT, u8 TINYINT UNSIGNED, i16 SMALLINT, \
                 u16 SMALLINT UNSIGNED, i24 MEDIUMINT, u24 MEDIUMINT UNSIGNED, i32 INT, u32 INT UNSIGNED, \
                 i64 BIGINT, u64 BIGINT UNSIGNED ZEROFILL, flag BOOLEAN, y YEAR, b1 BIT(1), b64 BIT(64), f FLOAT, \
                 d DOUBLE, d10 DECIMAL(10,2), d38 DECIMAL(38,10), d65 DECIMAL(65,30), d0 DECIMAL(65,0))",
                "INSERT INTO n VALUES (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0, \
                 0, 0, 0, -3.402823466e38, -1.7976931348623157e308, -99999999.99, \
                 -9999999999999999999999999999.9999999999, \
                 -99999999999999999999999999999999999.999999999999999999999999999999, \
                 -99999999999999999999999999999999999999999999999999999999999999999)",
                "INSERT INTO n VALUES (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, \
                 9223372036854775807, 18446744073709551615, 5, 2155, 1, 18446744073709551615, 1.17549435e-38, 5e-324, \
                 0.01, 0.0000000001, 0.000000000000000000000000000001, 0)",
                "INSERT INTO n (id) VALUES (3)",
                "INSERT INTO n (id, i24, f, d, y) VALUES (4, -1, 0.1, -0e0, 1901)",
            ],
        )
        .await;
    let source = server.source("numbers", &[]);
    let n = table(&source, "n").await;
    let types: Vec<DataType> = n.columns.iter().map(|c| c.data_type.clone()).collect();
    use DataType::*;
    assert_eq!(
        types,
        vec![
            Int32,
            Int8,
            UInt8,
            Int16,
            UInt16,
            Int32,
            UInt32,
            Int32,
            UInt32,
            Int64,
            UInt64,
            Int8,
            Int16,
            Boolean,
            UInt64,
            Float32,
            Float64,
            Decimal128(10, 2),
            Decimal128(38, 10),
            Decimal256(65, 30),
            Decimal256(65, 0)
        ]
    );
    let rows = text_of(&read(&source, scan(&n, &[])).await.unwrap());
    assert_eq!(
        rows[0],
        some(&[
            "1",
            "-128",
            "0",
            "-32768",
            "0",
            "-8388608",
            "0",
            "-2147483648",
            "0",
            "-9223372036854775808",
            "0",
            "0",
            "0",
            "false",
            "0",
            "-3.4028235e38",
            "-1.7976931348623157e308",
            "-99999999.99",
            "-9999999999999999999999999999.9999999999",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "-99999999999999999999999999999999999999999999999999999999999999999",
        ])
    );
    assert_eq!(
        rows[1],
        some(&[
            "2",
            "127",
            "255",
            "32767",
            "65535",
            "8388607",
            "16777215",
            "2147483647",
            "4294967295",
            "9223372036854775807",
            "18446744073709551615",
            "5",
            "2155",
            "true",
            "18446744073709551615",
            "1.1754944e-38",
            "5e-324",
            "0.01",
            "0.0000000001",
            "0.000000000000000000000000000001",
            "0",
        ])
    );
    assert!(rows[2][1..].iter().all(Option::is_none));
    assert_eq!(
        (rows[3][5].as_deref(), rows[3][15].as_deref()),
        (Some("-1"), Some("0.1"))
    );
    assert_eq!(rows[3][12].as_deref(), Some("1901"));
}

async fn dates(server: &Server) {
    server
        .database(
            "dates",
            &[
                "SET time_zone = '+00:00'",
                "CREATE TABLE d (id INT PRIMARY KEY, d DATE, t0 DATETIME, t6 DATETIME(6), ts TIMESTAMP(3) NULL, \
                 ti TIME, ti6 TIME(6))",
                "INSERT INTO d VALUES (1, '0001-01-01', '0001-01-01 00:00:00', '9999-12-31 23:59:59.999999', \
                 '1970-01-01 00:00:01', '00:00:00', '23:59:59.999999')",
                "INSERT INTO d VALUES (2, '9999-12-31', '2024-02-29 12:34:56', '1969-12-31 23:59:59.000001', \
                 '2038-01-19 03:14:07.999', '23:59:59', '00:00:00.000001')",
                "INSERT INTO d (id) VALUES (3)",
                "CREATE TABLE t (id INT PRIMARY KEY, x TIME(6))",
                "INSERT INTO t VALUES (1, '838:59:58.999999'), (2, '-838:59:58.999999'), (3, '-00:00:00.000001'), \
                 (4, '24:00:00'), (5, '-01:30:00')",
            ],
        )
        .await;
    let source = server.source("dates", &[]);
    let d = table(&source, "d").await;
    let rows = text_of(&read(&source, scan(&d, &[])).await.unwrap());
    assert_eq!(
        rows[0],
        some(&[
            "1",
            "0001-01-01",
            "0001-01-01T00:00:00",
            "9999-12-31T23:59:59.999999",
            "1970-01-01T00:00:01Z",
            "00:00:00",
            "23:59:59.999999",
        ])
    );
    assert_eq!(
        rows[1],
        some(&[
            "2",
            "9999-12-31",
            "2024-02-29T12:34:56",
            "1969-12-31T23:59:59.000001",
            "2038-01-19T03:14:07.999Z",
            "23:59:59",
            "00:00:00.000001",
        ])
    );
    assert!(rows[2][1..].iter().all(Option::is_none));
    assert_eq!(
        d.columns[4].data_type,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );

    let t = table(&source, "t").await;
    let error = read(&source, scan(&t, &[])).await.unwrap_err();
    assert_code(&error, Code::ValueOutOfRange);
    let message = error.to_string();
    assert!(message.contains("table dates.t, column x"), "{message}");
    assert!(
        message.contains("'t.x: interval'") && !message.contains("838"),
        "{message}"
    );

    let source = server.source("dates", &[("columns", "t.x: interval")]);
    let t = table(&source, "t").await;
    assert_eq!(
        t.columns[1].data_type,
        DataType::Interval(IntervalUnit::MonthDayNano)
    );
    let rows = text_of(&read(&source, scan(&t, &["x"])).await.unwrap());
    assert_eq!(
        column(&rows, 0),
        some(&[
            "838 hours 59 mins 58.999999000 secs",
            "-838 hours -59 mins -58.999999000 secs",
            "-0.000001000 secs",
            "24 hours",
            "-1 hours -30 mins",
        ])
    );
    for (decision, expected) in [
        (
            "text",
            vec![
                Some("838:59:58.999999"),
                Some("-838:59:58.999999"),
                Some("-00:00:00.000001"),
                Some("24:00:00.000000"),
                Some("-01:30:00.000000"),
            ],
        ),
        ("null", vec![None; 5]),
    ] {
        let source = server.source("dates", &[("columns", &format!("dates.t.x: {decision}"))]);
        let t = table(&source, "t").await;
        let rows = text_of(&read(&source, scan(&t, &["x"])).await.unwrap());
        let expected: Vec<_> = expected.iter().map(|v| v.map(str::to_string)).collect();
        assert_eq!(column(&rows, 0), expected, "{decision}");
    }
}

async fn zero_dates(server: &Server) {
    server
        .database(
            "zeros",
            &[
                "CREATE TABLE z (id INT PRIMARY KEY, d DATE NOT NULL, t DATETIME(3), ts TIMESTAMP NULL)",
                "INSERT INTO z VALUES (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'), \
                 (2, '2024-00-10', '2024-01-00 10:11:12.5', NULL), \
                 (3, '2024-01-10', '2024-01-10 10:11:12.125', '2024-01-10 10:11:12')",
                "SET sql_mode = 'ALLOW_INVALID_DATES'",
                "INSERT INTO z VALUES (4, '2023-02-31', NULL, NULL)",
            ],
        )
        .await;
    for column in ["d", "t", "ts"] {
        let source = server.source("zeros", &[]);
        let z = table(&source, "z").await;
        let error = read(&source, scan(&z, &[column])).await.unwrap_err();
        assert_code(&error, Code::ValueOutOfRange);
        let message = error.to_string();
        assert!(
            message.contains(&format!("table zeros.z, column {column}")),
            "{message}"
        );
        assert!(message.contains("zero_dates = 'null'"), "{message}");
        // The source goes on.
        assert_eq!(
            read(&source, scan(&z, &["id"])).await.unwrap()[0].num_rows(),
            4
        );
    }
    let source = server.source("zeros", &[("zero_dates", "null")]);
    let z = table(&source, "z").await;
    assert!(z.columns[1].nullable);
    let rows = text_of(&read(&source, scan(&z, &["d", "t", "ts"])).await.unwrap());
    let day = |v: &str| Some(v.to_string());
    assert_eq!(column(&rows, 0), vec![None, None, day("2024-01-10"), None]);
    assert_eq!(
        column(&rows, 1),
        vec![None, None, day("2024-01-10T10:11:12.125"), None]
    );
    assert_eq!(
        column(&rows, 2),
        vec![None, None, day("2024-01-10T10:11:12Z"), None]
    );

    let source = server.source("zeros", &[("zero_dates", "text")]);
    let z = table(&source, "z").await;
    assert_eq!(z.columns[1].data_type, DataType::Utf8);
    let rows = text_of(&read(&source, scan(&z, &["d", "t", "ts"])).await.unwrap());
    assert_eq!(
        column(&rows, 0),
        some(&["0000-00-00", "2024-00-10", "2024-01-10", "2023-02-31"])
    );
    for (i, name) in ["d", "t", "ts"].iter().enumerate() {
        let printed = server
            .ask(
                "zeros",
                &format!("SELECT CAST({name} AS CHAR) FROM z ORDER BY id"),
            )
            .await;
        assert_eq!(column(&rows, i), printed, "{name}");
    }
}

async fn texts(server: &Server) {
    // Letters that each character set has, some of them at other places than Latin-1.
    let sets = [
        ("latin1", "aZ äßÿ €‚Žœ"),
        ("latin2", "aZ äß łŁőąž"),
        ("cp1250", "aZ äß łŁőąž€"),
        ("cp1251", "aZ ЖЩя Ђ№"),
        ("greek", "aZ Ωέ"),
        ("koi8r", "aZ Жщ"),
        ("utf8mb3", "aZ äΩ漢字 \u{FFFD}"),
        ("utf8mb4", "aZ 漢字 😀 e\u{301}"),
        ("ucs2", "aZ Ω漢字"),
        ("utf16", "aZ 漢字 😀"),
        ("utf16le", "aZ 漢字 😀"),
        ("utf32", "aZ 漢字 😀"),
        ("gbk", "aZ 汉字"),
        ("sjis", "aZ 漢字ｱ"),
        ("euckr", "aZ 한글"),
        ("big5", "aZ 漢字"),
    ];
    let columns: Vec<String> = sets
        .iter()
        .map(|(set, _)| format!("{set} VARCHAR(40) CHARACTER SET {set}"))
        .collect();
    let values: Vec<String> = sets.iter().map(|(_, text)| format!("'{text}'")).collect();
    server
        .database(
            "texts",
            &[
                &format!("CREATE TABLE t (id INT PRIMARY KEY, {})", columns.join(", ")),
                &format!("INSERT INTO t VALUES (1, {})", values.join(", ")),
                "CREATE TABLE k (id INT PRIMARY KEY, c CHAR(5), v VARCHAR(5), e ENUM('b','a','') CHARACTER SET latin1, \
                 s SET('x','y','z'), j JSON, u UUID, i4 INET4, i6 INET6, tt TINYTEXT, lt LONGTEXT)",
                "INSERT INTO k VALUES (1, 'a ', 'a ', 'b', 'z,x', '{\"a\": 1}', \
                 '123e4567-e89b-12d3-a456-426655440000', '10.0.0.1', '::1', '', REPEAT('ä', 200000))",
                "INSERT INTO k (id) VALUES (2)",
                "INSERT INTO k (id, v, e, s) VALUES (3, 'a\\0b', '', '')",
            ],
        )
        .await;
    let source = server.source("texts", &[]);
    let t = table(&source, "t").await;
    let rows = text_of(&read(&source, scan(&t, &[])).await.unwrap());
    for (i, (set, text)) in sets.iter().enumerate() {
        assert_eq!(rows[0][i + 1].as_deref(), Some(*text), "{set}");
    }
    let k = table(&source, "k").await;
    let rows = text_of(&read(&source, scan(&k, &[])).await.unwrap());
    assert_eq!(
        rows[0][..10],
        some(&[
            "1",
            "a",
            "a ",
            "b",
            "x,z",
            "{\"a\": 1}",
            "123e4567-e89b-12d3-a456-426655440000",
            "10.0.0.1",
            "::1",
            ""
        ])
    );
    assert_eq!(rows[0][10].as_deref().map(str::len), Some(400_000));
    assert!(rows[1][1..].iter().all(Option::is_none));
    assert_eq!(rows[2][2..5], some(&["a\0b", "", ""]));
}

async fn bytes(server: &Server) {
    server
        .database(
            "bytes",
            &[
                "CREATE TABLE b (id INT PRIMARY KEY, f BINARY(4), v VARBINARY(4), l LONGBLOB, p POINT)",
                "INSERT INTO b VALUES (1, X'6100', X'6100', X'00FF', ST_GeomFromText('POINT(1 2)')), \
                 (2, '', '', '', NULL), (3, X'FFFFFFFF', NULL, NULL, NULL)",
            ],
        )
        .await;
    let source = server.source("bytes", &[]);
    let b = table(&source, "b").await;
    let rows = text_of(
        &read(&source, scan(&b, &["f", "v", "l", "p"]))
            .await
            .unwrap(),
    );
    assert_eq!(rows[0][..3], some(&["61000000", "6100", "00ff"]));
    assert_eq!(
        rows[0][3].as_deref(),
        Some("000000000101000000000000000000f03f0000000000000040")
    );
    assert_eq!(rows[1][..3], some(&["00000000", "", ""]));
    assert!(b.columns[4].note.as_deref().unwrap().contains("WKB"));
}

async fn decisions(server: &Server) {
    server
        .database(
            "decided",
            &[
                "CREATE TABLE c (id INT PRIMARY KEY, flag TINYINT(1), odd TINYINT(1), wide DECIMAL(65,4), big DECIMAL(20,0), \
                 f DOUBLE, b BIT(12))",
                "INSERT INTO c VALUES (1, 1, 2, 12.5, 42, 1.5, 5), (2, 0, 1, 12.3456, NULL, NULL, NULL)",
            ],
        )
        .await;
    let source = server.source(
        "decided",
        &[(
            "columns",
            "c.flag: boolean; C.ODD: boolean; c.wide: decimal(12,2); c.big: bigint; c.f: text; c.b: text; c.nope: text",
        )],
    );
    let c = table(&source, "c").await;
    assert_eq!(c.warnings.len(), 1, "{:?}", c.warnings);
    let rows = text_of(
        &read(&source, scan(&c, &["flag", "big", "f", "b"]))
            .await
            .unwrap(),
    );
    assert_eq!(rows[0], some(&["true", "42", "1.5", "5"]));
    for column in ["odd", "wide"] {
        let error = read(&source, scan(&c, &[column])).await.unwrap_err();
        assert_code(&error, Code::ValueOutOfRange);
        assert_eq!(error.column.as_deref(), Some(column));
        assert!(!error.to_string().contains("12.3456"));
    }
}

async fn discovery(server: &Server) {
    server
        .database(
            "shop_other",
            &[
                "CREATE TABLE far (id INT PRIMARY KEY)",
                "INSERT INTO far VALUES (7)",
            ],
        )
        .await;
    server
        .database(
            "shop",
            &[
                "CREATE TABLE customer (id INT PRIMARY KEY COMMENT 'number', Name VARCHAR(20) CHARACTER SET latin1 NOT NULL, \
                 region INT, mail VARCHAR(40), UNIQUE (Name), UNIQUE (mail)) COMMENT 'who buys'",
                "CREATE TABLE `or\"der` (id INT, `li:ne ``x` INT, customer INT NOT NULL, PRIMARY KEY (`li:ne ``x`, id), \
                 CONSTRAINT buyer FOREIGN KEY (customer) REFERENCES customer (id))",
                "INSERT INTO customer VALUES (1, 'a', NULL, NULL)",
                "INSERT INTO `or\"der` VALUES (1, 2, 1)",
                "CREATE VIEW v AS SELECT id, Name FROM customer",
                "CREATE TABLE p (id INT) PARTITION BY HASH (id) PARTITIONS 2",
                "CREATE TABLE `spre``ad` (id INT PRIMARY KEY, day DATE, at DATETIME(6), price DECIMAL(10,2), plain INT, \
                 KEY (day), KEY (at, price))",
                "INSERT INTO `spre``ad` VALUES (1, '1970-01-02', '1970-01-03 12:00:00', 1, 1), \
                 (101, '1970-01-12', '1970-01-04 12:00:00.25', 2, 2)",
            ],
        )
        .await;
    let source = server.source("shop", &[]);
    assert_eq!(source.default_schema(), "shop");
    let tables = source.discover().await.unwrap();
    let spread = tables.iter().find(|t| t.name == "spre`ad").unwrap();
    let bounds = |column: &belvedere_connector::Column| {
        let known = column.histogram.as_ref();
        known.map(|known| known.bounds().to_vec())
    };
    let bounds: Vec<_> = spread.columns.iter().map(bounds).collect();
    assert_eq!(
        bounds,
        [
            Some(vec![1.0, 101.0]),
            Some(vec![1.0, 11.0]),
            Some(vec![2.5, 3.5]),
            None,
            None
        ]
    );
    assert!(
        tables
            .iter()
            .any(|t| t.schema == "shop_other" && t.name == "far")
    );
    assert!(
        tables
            .iter()
            .all(|t| !["mysql", "information_schema"].contains(&t.schema.as_str()))
    );
    let names: Vec<_> = tables
        .iter()
        .filter(|t| t.schema == "shop")
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(names, ["customer", "or\"der", "p", "spre`ad", "v"]);
    let customer = table(&source, "customer").await;
    assert_eq!(customer.primary_key, ["id"]);
    assert_eq!(customer.unique_keys, [["Name"]]);
    assert_eq!(customer.comment.as_deref(), Some("who buys"));
    assert_eq!(customer.columns[0].comment.as_deref(), Some("number"));
    assert_eq!(
        customer.columns[1].collation.as_deref(),
        Some("latin1_swedish_ci")
    );
    assert_eq!(customer.columns[1].native_type, "varchar(20)");
    assert!(!customer.columns[1].nullable && customer.columns[2].nullable);
    assert!(customer.size_bytes.is_some() && customer.row_count.is_some());
    let order = table(&source, "or\"der").await;
    assert_eq!(order.primary_key, ["li:ne `x", "id"]);
    assert_eq!(order.foreign_keys[0].referenced_table, "customer");
    assert_eq!(order.foreign_keys[0].name.as_deref(), Some("buyer"));
    let rows = text_of(&read(&source, scan(&order, &[])).await.unwrap());
    assert_eq!(rows, [some(&["1", "2", "1"])]);
    let v = table(&source, "v").await;
    assert_eq!(
        (v.kind, v.comment, v.columns[1].nullable),
        (TableKind::View, None, true)
    );
    assert_eq!(table(&source, "p").await.kind, TableKind::PartitionedTable);
}

async fn sizes(server: &Server) {
    server
        .database(
            "sizes",
            &[
                "CREATE TABLE s (id INT PRIMARY KEY AUTO_INCREMENT, t LONGTEXT)",
                "INSERT INTO s (t) SELECT NULL FROM seq_1_to_2500",
                "CREATE TABLE huge (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB)",
                "INSERT INTO huge VALUES (1, REPEAT('x', 20000000), REPEAT('y', 20000000)), (2, REPEAT('z', 9000000), '')",
            ],
        )
        .await;
    let source = server.source("sizes", &[]);
    let s = table(&source, "s").await;
    let batches = read(&source, scan(&s, &["id"])).await.unwrap();
    assert_eq!(
        batches.iter().map(|b| b.num_rows()).collect::<Vec<_>>(),
        [1000, 1000, 500]
    );
    // No columns: rows are counted all the same.
    let mut none = scan(&s, &["id"]);
    if let belvedere_connector::Rel::Scan { schema, .. } = &mut none {
        *schema = std::sync::Arc::new(schema.project(&[]).unwrap());
    }
    let batches = read(&source, none).await.unwrap();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 2500);
    let huge = table(&source, "huge").await;
    let batches = read(&source, scan(&huge, &[])).await.unwrap();
    assert_eq!(
        batches.iter().map(|b| b.num_rows()).collect::<Vec<_>>(),
        [1, 1]
    );
    assert_eq!(
        text_of(&batches)[0][2].as_deref().map(str::len),
        Some(40_000_000)
    );
}
