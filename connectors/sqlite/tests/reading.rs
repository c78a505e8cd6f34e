//! What is found and read, with everything that dynamic typing allows.

mod common;

use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{Code, Fragment, ScanRequest};
use common::{File, open};
use futures::StreamExt;

const TYPES: &str = r#"
    CREATE TABLE t (
        id INTEGER PRIMARY KEY, n INT NOT NULL, r REAL, s VARCHAR(20), b BLOB, flag BOOLEAN, d DATE,
        ts TIMESTAMP, tz TIMESTAMP WITH TIME ZONE, tm TIME, amount DECIMAL(12,2), big TEXT, any, j JSON
    );
    INSERT INTO t VALUES
        (1, 9223372036854775807, 1.5, 'ä' || char(0) || 'b', x'00ff', 1, '2024-02-29', '2024-02-29 12:30:00.25',
         '2024-02-29T12:30:00+02:00', '23:59:59.5', 12.345, '1234567890123456789012345.00001', 7, '{"a":1}'),
        (2, -9223372036854775808, 9e999, '', x'', 'false', '0000-01-01', '9999-12-31 23:59:59.999999',
         '1970-01-01T00:00:00Z', '00:00', -0.005, 3, 'x', '[]'),
        (3, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"#;

#[tokio::test]
async fn every_type_at_its_ends() {
    let file = File::new(TYPES);
    let shop = file.open(&[("columns", "t.big: decimal(30,5)")]).await;
    let table = shop.table("t");
    let types: Vec<&DataType> = table.columns.iter().map(|c| &c.data_type).collect();
    let micros = TimeUnit::Microsecond;
    assert_eq!(
        types,
        [
            &DataType::Int64,
            &DataType::Int64,
            &DataType::Float64,
            &DataType::Utf8,
            &DataType::Binary,
            &DataType::Boolean,
            &DataType::Date32,
            &DataType::Timestamp(micros, None),
            &DataType::Timestamp(micros, Some("UTC".into())),
            &DataType::Time64(micros),
            &DataType::Decimal128(12, 2),
            &DataType::Decimal128(30, 5),
            &DataType::Utf8,
            &DataType::Utf8,
        ]
    );
    assert_eq!(table.warnings, Vec::<String>::new());
    // The zone's name is beyond the formatter: shown as a number.
    let columns: Vec<&str> = table
        .columns
        .iter()
        .map(|c| c.name.as_str())
        .filter(|c| *c != "tz")
        .collect();
    assert_eq!(
        shop.rows(shop.scan("t", &columns)).await,
        [
            "1|9223372036854775807|1.5|ä\0b|00ff|true|2024-02-29|2024-02-29T12:30:00.250|23:59:59.500|12.35|1234567890123456789012345.00001|7|{\"a\":1}",
            "2|-9223372036854775808|inf|||false|0000-01-01|9999-12-31T23:59:59.999999|00:00:00|-0.01|3.00000|x|[]",
            "3|0|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
        ]
    );
    let zoned = shop.read(shop.scan("t", &["tz"])).await.unwrap();
    let zoned = arrow::compute::cast(zoned.column(0), &DataType::Int64).unwrap();
    assert_eq!(
        format!("{zoned:?}").lines().nth(2).unwrap().trim(),
        "1709202600000000,"
    );
}

#[tokio::test]
async fn no_columns_and_no_rows() {
    let file = File::new(
        "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2), (3), (4); CREATE TABLE e (a TEXT);",
    );
    let shop = file.open(&[]).await;
    let mut rel = shop.scan("t", &["a"]);
    if let belvedere_connector::Rel::Scan { schema, .. } = &mut rel {
        *schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
    }
    assert_eq!(shop.read(rel).await.unwrap().num_rows(), 4);
    assert_eq!(shop.rows(shop.scan("e", &[])).await, Vec::<String>::new());
}

#[tokio::test]
async fn keys_views_and_odd_names() {
    let file = File::new(
        r#"
        CREATE TABLE customer (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE COLLATE NOCASE, nick TEXT UNIQUE);
        CREATE TABLE "we""ird \"" n" ("a ""b" TEXT, "ä?1" INT, total INT GENERATED ALWAYS AS ("ä?1" * 2) VIRTUAL);
        INSERT INTO "we""ird \"" n" VALUES ('x', 21);
        CREATE TABLE line (doc TEXT, pos INT, cust INT REFERENCES customer, PRIMARY KEY (doc, pos)) WITHOUT ROWID;
        CREATE TABLE loose (code TEXT PRIMARY KEY);
        INSERT INTO loose VALUES (NULL), (NULL);
        CREATE TABLE fixed (n INTEGER NOT NULL, s TEXT) STRICT;
        CREATE VIEW v AS SELECT id, email, id + 1 AS next FROM customer;
        CREATE VIEW broken AS SELECT * FROM gone;
        "#,
    );
    let shop = file.open(&[]).await;
    let names: Vec<&str> = shop.tables.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "broken",
            "customer",
            "fixed",
            "line",
            "loose",
            "v",
            "we\"ird \\\" n"
        ]
    );
    let customer = shop.table("customer");
    assert_eq!(customer.primary_key, ["id"]);
    assert_eq!(customer.unique_keys, [["email"]]);
    assert!(!customer.columns[0].nullable);
    assert_eq!(customer.columns[1].collation.as_deref(), Some("NOCASE"));
    assert_eq!(customer.row_count, Some(0));
    let line = shop.table("line");
    assert_eq!(line.primary_key, ["doc", "pos"]);
    assert_eq!(line.foreign_keys[0].columns, ["cust"]);
    assert_eq!(line.foreign_keys[0].referenced_columns, ["id"]);
    assert_eq!(shop.table("loose").primary_key, Vec::<String>::new());
    assert_eq!(shop.table("v").kind.sql_name(), "VIEW");
    assert!(shop.table("broken").warnings[0].contains("gone"));
    let odd = shop.scan("we\"ird \\\" n", &[]);
    assert_eq!(shop.rows(odd).await, ["x|21|42"]);
}

#[tokio::test]
async fn a_misfit_names_its_place_and_the_way_out() {
    let sql = "CREATE TABLE visit (id INTEGER PRIMARY KEY, day DATE, n INT);
        INSERT INTO visit VALUES (1, '2024-01-01', 1), (7, 'soon', 2), (9, '2024-01-02', 'many');";
    let file = File::new(sql);
    let shop = file.open(&[]).await;
    assert_eq!(shop.table("visit").warnings.len(), 2);
    assert!(shop.table("visit").warnings[0].starts_with("1 of the first 3 values of day"));
    let error = shop.read(shop.scan("visit", &["day"])).await.unwrap_err();
    assert_eq!(error.code, Code::ValueOutOfRange);
    let message = error.to_string();
    assert!(
        message.starts_with("source shop, table visit, column day, row 7: "),
        "{message}"
    );
    assert!(
        message.contains("columns = 'visit.day: text'") && !message.contains("soon"),
        "{message}"
    );

    let shop = file
        .open(&[("columns", "visit.day: null; visit.n: text")])
        .await;
    assert_eq!(
        shop.rows(shop.scan("visit", &["day", "n"])).await,
        ["2024-01-01|1", "NULL|2", "2024-01-02|many"]
    );
    let shop = file
        .open(&[("columns", "visit.day: text; visit.gone: text")])
        .await;
    assert_eq!(shop.rows(shop.scan("visit", &["day"])).await[1], "soon");
    assert!(
        shop.table("visit")
            .warnings
            .iter()
            .any(|w| w.contains("gone"))
    );
}

/// A column that is named like it is no row id, and its value is nobody's to see.
#[tokio::test]
async fn a_misfit_has_no_value_for_a_row() {
    for (columns, row) in [
        ("rowid INT, n INT", Some("2")),
        ("rowid INT, _rowid_ INT, oid INT, n INT", None),
    ] {
        let file = File::new(&format!(
            "CREATE TABLE t ({columns}); INSERT INTO t (rowid, n) VALUES (41, 1), (42, 'many');"
        ));
        let shop = file.open(&[]).await;
        let error = shop.read(shop.scan("t", &["n"])).await.unwrap_err();
        assert_eq!(
            (error.column.as_deref(), error.row.as_deref()),
            (Some("n"), row)
        );
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_an_error() {
    let file = File::new("CREATE TABLE t (s TEXT); INSERT INTO t VALUES (CAST(x'ff' AS TEXT));");
    let shop = file.open(&[]).await;
    let error = shop.read(shop.scan("t", &[])).await.unwrap_err();
    assert_eq!(
        (error.code, error.row.as_deref()),
        (Code::ValueOutOfRange, Some("1"))
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}", dir.path().join(name).display());
    std::fs::write(dir.path().join("text.db"), "id,name\n1,a\n".repeat(200)).unwrap();
    for (name, code, part) in [
        ("none.db", Code::Unreachable, "does not exist"),
        ("", Code::Unreachable, "is a folder"),
        ("text.db", Code::MalformedFile, "not a SQLite database"),
    ] {
        let error = open(&url(name), &[]).unwrap().discover().await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    for bad in [
        "sqlite:",
        "sqlite:a.db?mode=rw",
        "sqlite://host/a.db",
        "sqlite::memory:",
    ] {
        assert_eq!(open(bad, &[]).unwrap_err().code, Code::InvalidUrl);
    }
    for options in [
        ("max_connections", "0"),
        ("columns", "a.b: nonsense"),
        ("columns", "x"),
    ] {
        assert_eq!(
            open("sqlite:a.db", &[options]).unwrap_err().code,
            Code::InvalidOption
        );
    }
}

#[tokio::test]
async fn changes_after_discovery_are_noticed() {
    let file = File::new(
        "CREATE TABLE t (a INT, b TEXT); CREATE TABLE u (a INT); INSERT INTO t VALUES (1, 'x');",
    );
    let shop = file.open(&[]).await;
    assert_eq!(shop.rows(shop.scan("t", &[])).await, ["1|x"]);
    file.owner
        .execute_batch("ALTER TABLE t DROP COLUMN b; DROP TABLE u;")
        .unwrap();
    let code = async |rel| shop.read(rel).await.unwrap_err().code;
    assert_eq!(code(shop.scan("t", &["b"])).await, Code::SchemaChanged);
    assert_eq!(code(shop.scan("u", &[])).await, Code::TableMissing);
    file.owner
        .execute_batch("DROP TABLE t; CREATE TABLE t (a TEXT);")
        .unwrap();
    assert_eq!(code(shop.scan("t", &["a"])).await, Code::SchemaChanged);
    // The whole file replaced.
    let path = file.dir.path().join("shop.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    assert_eq!(code(shop.scan("t", &["a"])).await, Code::Unreachable);
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (5, 'new');")
        .unwrap();
    assert_eq!(shop.rows(shop.scan("t", &[])).await, ["5|new"]);
}

#[tokio::test]
async fn a_reader_blocks_no_writer_and_sees_one_snapshot() {
    let file = File::new(
        "CREATE TABLE t (n INTEGER); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000)
         INSERT INTO t SELECT i FROM c;",
    );
    let shop = file.open(&[("max_connections", "1")]).await;
    let request = ScanRequest {
        fragment: Fragment::new(shop.scan("t", &[])).into(),
        partitions: 1,
        batch_rows: 10,
        deadline: None,
    };
    let mut stream = shop.source.scan(request.clone()).await.unwrap().remove(0);
    assert_eq!(stream.next().await.unwrap().unwrap().num_rows(), 10);
    file.owner.execute_batch("DELETE FROM t").unwrap();
    let mut rest = 0;
    while let Some(batch) = stream.next().await {
        rest += batch.unwrap().num_rows();
    }
    assert_eq!(rest, 4990);

    // The one connection is taken: the second read is late; once the first is dropped, there is one again.
    file.owner
        .execute_batch("INSERT INTO t VALUES (1), (2)")
        .unwrap();
    let mut first = shop
        .source
        .scan(ScanRequest {
            batch_rows: 1,
            ..request.clone()
        })
        .await
        .unwrap()
        .remove(0);
    first.next().await.unwrap().unwrap();
    let deadline = Some(Instant::now() + Duration::from_millis(100));
    let mut second = shop
        .source
        .scan(ScanRequest {
            deadline,
            ..request
        })
        .await
        .unwrap()
        .remove(0);
    // Two rows fit into the channel, so the first may have let its connection go.
    if let Err(error) = second.next().await.unwrap() {
        assert_eq!(error.code, Code::Busy);
    }
    drop((first, second));
    assert_eq!(shop.rows(shop.scan("t", &[])).await.len(), 2);
}

#[tokio::test]
async fn an_endless_statement_ends_with_its_reader_and_at_its_deadline() {
    let file = File::new(
        "CREATE VIEW endless AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i FROM c WHERE i < 0;",
    );
    let shop = file.open(&[("max_connections", "1")]).await;
    let request = |millis: Option<u64>| ScanRequest {
        fragment: Fragment::new(shop.scan("endless", &[])).into(),
        partitions: 1,
        batch_rows: 10,
        deadline: millis.map(|millis| Instant::now() + Duration::from_millis(millis)),
    };
    let mut late = shop
        .source
        .scan(request(Some(200)))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(late.next().await.unwrap().unwrap_err().code, Code::Timeout);
    let mut dropped = shop.source.scan(request(None)).await.unwrap().remove(0);
    let poll = tokio::time::timeout(Duration::from_millis(200), dropped.next()).await;
    assert!(poll.is_err());
    drop((late, dropped));
    // The connection comes free only if the statement really ended.
    tokio::time::timeout(Duration::from_secs(10), shop.source.discover())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn two_hundred_reads_over_four_connections() {
    let file =
        File::new("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2), (3), (4), (5);");
    let shop = file.open(&[]).await;
    let reads = (0..200).map(|_| shop.rows(shop.scan("t", &[])));
    for rows in futures::future::join_all(reads).await {
        assert_eq!(rows.len(), 5);
    }
}
