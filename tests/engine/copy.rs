//! `COPY … TO`: what is written is read back as it was; a failure leaves nothing, and harms nothing.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use insta::assert_snapshot;

use crate::fixture::{Fixture, database};

/// Far more than anything here takes, so that what hangs fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rows of all kinds; the first has what is hard to keep.
const ROWS: &str = "
    SELECT column1 AS id, column2 AS \"Größe, \"\"x\"\"\", CAST(column3 AS DECIMAL(12,2)) AS price,
        CAST(column4 AS DATE) AS day, arrow_cast(column5, 'Timestamp(Microsecond, None)') AS at,
        arrow_cast(column5, 'Timestamp(Microsecond, Some(\"+00:00\"))') AS at_utc, column6 AS f, column7 AS ok
    FROM (VALUES
        (1, 'a,\"b\"' || chr(10) || 'ü🦀', '-0.05', '1969-12-31', '1900-01-01T00:00:00.000001', CAST('NaN' AS DOUBLE), true),
        (2, NULL, NULL, NULL, NULL, NULL, NULL),
        (9007199254740993, '''; --', '9999999999.99', '2024-02-29', '2024-02-29T23:59:59.999999', -0.1, false))";

async fn fixture() -> Fixture {
    let t = Fixture::new().await;
    fs::create_dir(t.path("out")).unwrap();
    t
}

/// All paths below a folder, hidden ones too, in order; what is chosen anew by each COPY is cut out of a name.
fn below(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.file_type().unwrap().is_dir() {
                true => walk(&entry.path(), &format!("{path}/"), found),
                false => found.push(path),
            }
            if fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none()) {
                found.push(format!("{prefix}{}/", entry.file_name().to_string_lossy()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found);
    for path in &mut found {
        if let Some(at) = path.find("part-") {
            let ending = path[at..].find('.').unwrap();
            path.replace_range(at + 10..at + ending, "");
        }
    }
    found.sort();
    found
}

async fn rows(t: &Fixture, sql: &str) -> RecordBatch {
    let answer = t.session.execute(sql).await;
    let answer = answer.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let schema = answer.schema.clone();
    concat_batches(&schema, &answer.collect().await.unwrap()).unwrap()
}

/// (rows, files) of a COPY, whose bytes are those on the disk.
async fn copied(t: &Fixture, sql: &str, target: &str) -> (i64, i64) {
    let answer = rows(t, sql).await;
    assert_eq!(answer.num_rows(), 1);
    let value = |at: usize| answer.column(at).as_primitive::<Int64Type>().value(0);
    let path = t.path(target);
    let size = |path: &Path| i64::try_from(fs::metadata(path).unwrap().len()).unwrap();
    fn sum(folder: &Path, size: &dyn Fn(&Path) -> i64) -> i64 {
        let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        entries
            .map(|path| match path.is_dir() {
                true => sum(&path, size),
                false => size(&path),
            })
            .sum()
    }
    let bytes = match path.is_dir() {
        true => sum(&path, &size),
        false => size(&path),
    };
    assert_eq!(value(2), bytes, "{sql}");
    (value(0), value(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_and_arrow_keep_all_values_and_types() {
    let t = fixture().await;
    let more = format!(
        "SELECT *, decode('00ff', 'hex') AS bytes, [1, NULL, id] AS list, named_struct('a', id, 'b', f) AS pair,
            arrow_cast(id, 'UInt64') AS big, arrow_cast(12.5, 'Decimal128(38, 10)') AS wide,
            arrow_cast(at, 'Timestamp(Nanosecond, None)') AS nanos FROM ({ROWS})"
    );
    for target in ["a.parquet", "b.arrow", "c", "d/"] {
        let sql = format!("COPY ({more}) TO 'out/{target}'");
        assert_eq!(copied(&t, &sql, &format!("out/{target}")).await, (3, 1));
    }
    for packing in ["snappy", "gzip", "lz4", "none", "'ZSTD'"] {
        let sql = format!(
            "COPY ({more}) TO 'out/p_{}.parquet' (COMPRESSION {packing})",
            packing.trim_matches('\'')
        );
        t.ok(&sql).await;
    }
    t.ok("CREATE SOURCE lake FROM 'out'").await;
    let expected = rows(&t, &format!("SELECT * FROM ({more}) ORDER BY id")).await;
    for table in [
        "a",
        "b",
        "c",
        "d",
        "p_snappy",
        "p_gzip",
        "p_lz4",
        "p_none",
        "\"p_ZSTD\"",
    ] {
        let read = rows(&t, &format!("SELECT * FROM lake.{table} ORDER BY id")).await;
        let types = |batch: &RecordBatch| {
            let fields = batch.schema_ref().fields().iter();
            fields
                .map(|f| {
                    (
                        f.name().clone(),
                        f.data_type().to_string().replace("non-null ", ""),
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(types(&read), types(&expected), "{table}");
        for (name, (read, expected)) in types(&read)
            .iter()
            .zip(read.columns().iter().zip(expected.columns()))
        {
            for row in 0..3 {
                // NaN is equal to itself here.
                let value = |array| ScalarValue::try_from_array(array, row).unwrap().to_string();
                assert_eq!(value(read), value(expected), "{table}.{name:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_formats_keep_what_they_hold() {
    let t = fixture().await;
    for (target, options) in [
        ("csv.csv", "(HEADER)"),
        ("semi.csv", "WITH (DELIMITER ';', QUOTE '''')"),
        ("tsv.tsv", ""),
        ("gz.csv.gz", ""),
        ("zst.csv.zst", "(FORMAT csv)"),
    ] {
        let sql = format!("COPY ({ROWS}) TO 'out/{target}' {options}");
        assert_eq!(copied(&t, &sql, &format!("out/{target}")).await, (3, 1));
    }
    let finite = format!("SELECT * REPLACE (nullif(f, 'NaN') AS f) FROM ({ROWS})");
    t.ok(&format!("COPY ({finite}) TO 'out/json.json'")).await;
    t.ok(&format!(
        "COPY ({finite}) TO 'out/packed' (FORMAT json, COMPRESSION gzip)"
    ))
    .await;
    t.ok(&format!("COPY ({ROWS}) TO 'out/bare.csv' (HEADER false)"))
        .await;
    let text = fs::read_to_string(t.path("out/csv.csv")).unwrap();
    assert!(text.starts_with("id,\"Größe, \"\"x\"\"\",price,"), "{text}");
    let text = fs::read_to_string(t.path("out/bare.csv")).unwrap();
    assert!(text.starts_with("1,\"a,\"\"b\"\"\nü🦀\",-0.05,1969-12-31,1900-01-01T00:00:00.000001,1900-01-01T00:00:00.000001Z,NaN,true"), "{text}");

    let columns = |table: &str| {
        format!("{table}.price: decimal(12,2); {table}.at: timestamp; {table}.at_utc: timestamptz")
    };
    let tables = ["csv", "tsv", "gz", "zst", "json", "packed"];
    let all: Vec<_> = tables.iter().map(|table| columns(table)).collect();
    t.ok(&format!(
        "CREATE SOURCE lake FROM 'out' WITH (columns = '{}')",
        all.join("; ")
    ))
    .await;
    t.ok(&format!(
        "CREATE SOURCE semi FROM 'out/semi.csv' WITH (csv_delimiter = ';', csv_quote = '''', columns = '{}')",
        columns("semi")
    ))
    .await;
    let shown = "SELECT id, \"Größe, \"\"x\"\"\", price, day, at, at_utc, f, ok FROM";
    let expected = t.ok(&format!("{shown} ({ROWS}) ORDER BY id")).await;
    for table in ["lake.csv", "lake.tsv", "lake.gz", "lake.zst", "semi.semi"] {
        let read = t.ok(&format!("{shown} {table} ORDER BY id")).await;
        assert_eq!(
            read.replace(".0 ", " "),
            expected.replace(".0 ", " "),
            "{table}"
        );
    }
    let expected = t.ok(&format!("{shown} ({finite}) ORDER BY id")).await;
    for table in ["lake.json", "lake.packed"] {
        let read = t.ok(&format!("{shown} {table} ORDER BY id")).await;
        assert_eq!(read, expected, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_copied_and_no_rows_are_a_table_too() {
    let t = fixture().await;
    assert_eq!(
        copied(
            &t,
            "COPY erp.item TO 'out/item.parquet'",
            "out/item.parquet"
        )
        .await,
        (3, 1)
    );
    assert_eq!(
        copied(
            &t,
            "COPY erp.item (name, sku) TO 'out/names.csv'",
            "out/names.csv"
        )
        .await,
        (3, 1)
    );
    for target in ["none_p.parquet", "empty/", "none_c.csv", "none_a.arrow"] {
        let sql = format!("COPY (SELECT * FROM erp.item WHERE price > 100) TO 'out/{target}'");
        assert_eq!(copied(&t, &sql, &format!("out/{target}")).await, (0, 1));
    }
    let sql = "COPY (SELECT * FROM erp.item WHERE false) TO 'out/parts' (PARTITION_BY sku)";
    assert_eq!(copied(&t, sql, "out/parts").await, (0, 0));
    t.ok("CREATE SOURCE lake FROM 'out'").await;
    for table in ["item", "names", "none_p", "empty", "none_c", "none_a"] {
        let found = t
            .ok(&format!(
                "SELECT count(*) AS n, count(name) FROM lake.{table}"
            ))
            .await;
        let expected = if table == "item" || table == "names" {
            "| 3 "
        } else {
            "| 0 "
        };
        assert!(found.contains(expected), "{table}: {found}");
    }
    assert_eq!(
        rows(&t, "SELECT * FROM lake.item ORDER BY sku")
            .await
            .columns(),
        rows(&t, "SELECT * FROM erp.item ORDER BY sku")
            .await
            .columns()
    );
    assert_eq!(
        fs::read_to_string(t.path("out/names.csv"))
            .unwrap()
            .lines()
            .next(),
        Some("name,sku")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_by_column() {
    let t = fixture().await;
    let parts = "
        SELECT column1 AS region, column2 AS year, column3 AS id FROM (VALUES
            ('a/b=c%', 2024, 1), ('', 2024, 2), (NULL, 2024, 3), ('__HIVE_DEFAULT_PARTITION__', 2024, 4),
            ('Köln', 2023, 5), ('a/b=c%', 2024, 6), ('..', NULL, 7), ('x''\"?*:', 2023, 8))";
    let sql = format!(
        "COPY ({parts} ORDER BY id DESC) TO 'out/t' (FORMAT parquet, PARTITION_BY (region, year))"
    );
    assert_eq!(copied(&t, &sql, "out/t").await, (8, 7));
    assert_eq!(
        below(&t.path("out")),
        [
            "t/region=%5F_HIVE_DEFAULT_PARTITION__/year=2024/part-00004.parquet",
            "t/region=../year=__HIVE_DEFAULT_PARTITION__/part-00002.parquet",
            "t/region=/year=2024/part-00001.parquet",
            "t/region=K%C3%B6ln/year=2023/part-00003.parquet",
            "t/region=__HIVE_DEFAULT_PARTITION__/year=2024/part-00007.parquet",
            "t/region=a%2Fb%3Dc%25/year=2024/part-00005.parquet",
            "t/region=x%27%22%3F%2A%3A/year=2023/part-00006.parquet",
        ]
    );
    t.ok("CREATE SOURCE lake FROM 'out'").await;
    let read = "SELECT region, year, id FROM";
    assert_eq!(
        t.ok(&format!("{read} lake.t ORDER BY id")).await,
        t.ok(&format!("{read} ({parts}) ORDER BY id")).await
    );
    // Within a folder the rows have the order they were asked for in.
    assert_snapshot!(t.ok("SELECT id FROM lake.t WHERE region = 'a/b=c%'").await, @r"
    +----+
    | id |
    +----+
    | 6  |
    | 1  |
    +----+
    ");
    // All ways to write it are one.
    for (target, options) in [
        (
            "u",
            "STORED AS CSV PARTITIONED BY (year) OPTIONS ('format.has_header' 'false')",
        ),
        ("v", "(FORMAT csv, HEADER no, PARTITION_BY year)"),
        (
            "w",
            "WITH (header = off, format = 'CSV') PARTITIONED BY (year)",
        ),
    ] {
        t.ok(&format!("COPY ({parts}) TO 'out/{target}' {options}"))
            .await;
        assert_eq!(
            below(&t.path(&format!("out/{target}"))),
            [
                "year=2023/part-00001.csv",
                "year=2024/part-00002.csv",
                "year=__HIVE_DEFAULT_PARTITION__/part-00003.csv",
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_folders_and_large_results_need_little_memory() {
    let t = fixture().await;
    t.ok("SET memory_limit = '100MB'").await;
    // At once they would be more bytes.
    let many = "SELECT value AS id, value % 300 AS part, repeat('x', 100) || value AS pad FROM generate_series(1, 1000000)";
    let sql = format!("COPY ({many}) TO 'out/many' (PARTITION_BY part, COMPRESSION none)");
    assert_eq!(copied(&t, &sql, "out/many").await, (1_000_000, 300));
    let sql = format!("COPY ({many}) TO 'out/pieces' (FORMAT csv, FILE_SIZE '32MB')");
    let (rows, files) = copied(&t, &sql, "out/pieces").await;
    assert_eq!(rows, 1_000_000);
    assert!((4..=8).contains(&files), "{files}");
    t.ok("RESET memory_limit").await;
    t.ok("CREATE SOURCE lake FROM 'out'").await;
    for table in ["many", "pieces"] {
        let sql = format!(
            "SELECT count(*) AS n, sum(id) AS s, count(DISTINCT part) AS p FROM lake.{table}"
        );
        let found = t.ok(&sql).await;
        assert!(
            found.contains("| 1000000 | 500000500000 | 300 |"),
            "{found}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_kept_unless_it_is_to_be_replaced() {
    let t = fixture().await;
    t.ok("COPY (SELECT 1 AS a) TO 'out/x.csv'").await;
    t.ok("COPY (SELECT 1 AS a) TO 'out/d' (FORMAT csv)").await;
    let before = below(&t.path("out"));
    assert_snapshot!(t.err("COPY (SELECT 2 AS a) TO 'out/x.csv'").await, @"target_exists: DIR/out/x.csv already exists. Choose another name, or replace it with (OVERWRITE)");
    assert_snapshot!(t.err("COPY (SELECT 2 AS a) TO 'out/d'").await, @"target_exists: DIR/out/d already exists. Choose another name, or replace it with (OVERWRITE)");
    assert_snapshot!(t.err("COPY (SELECT 2 AS a) TO 'out/x.csv/'").await, @"target_exists: DIR/out/x.csv is a file. Name a folder that is not there");
    fs::create_dir(t.path("out/y.csv")).unwrap();
    assert_snapshot!(t.err("COPY (SELECT 2 AS a) TO 'out/y.csv' (OVERWRITE)").await, @"target_exists: DIR/out/y.csv is a folder. Name a file that is not there, or end the path with / to write a folder");
    fs::remove_dir(t.path("out/y.csv")).unwrap();
    // A failure harms nothing, whatever was to be replaced.
    let failing = "SELECT 10 / (value - 5000000) AS a FROM generate_series(1, 6000000)";
    for target in ["x.csv", "d"] {
        let sql = format!("COPY ({failing}) TO 'out/{target}' (FORMAT csv, OVERWRITE)");
        assert_eq!(t.err(&sql).await, "data: division by zero");
    }
    assert_eq!(below(&t.path("out")), before);
    assert_eq!(fs::read_to_string(t.path("out/x.csv")).unwrap(), "a\n1\n");

    t.ok("COPY (SELECT 2 AS a) TO 'out/x.csv' (OVERWRITE)")
        .await;
    t.ok("COPY (SELECT 2 AS a, 3 AS b) TO 'out/d' (PARTITION_BY b, OVERWRITE true, FORMAT csv)")
        .await;
    assert_eq!(below(&t.path("out")), ["d/b=3/part-00001.csv", "x.csv"]);
    assert_eq!(fs::read_to_string(t.path("out/x.csv")).unwrap(), "a\n2\n");
    // What is no data is not lost by one word, however deep it lies.
    for lost in ["d/b=3/notes.txt", "d/.git"] {
        fs::write(t.path("out").join(lost), "").unwrap();
        let refused = t.err("COPY (SELECT 4 AS a) TO 'out/d' (OVERWRITE)").await;
        assert!(refused.contains("which is no data file"), "{refused}");
        fs::remove_file(t.path("out").join(lost)).unwrap();
    }
    // An empty folder is as good as none.
    fs::create_dir(t.path("out/e")).unwrap();
    t.ok("COPY (SELECT 4 AS a) TO 'out/e'").await;
    assert_eq!(below(&t.path("out/e")), ["part-00001.parquet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_or_is_cancelled_leaves_nothing() {
    let t = fixture().await;
    let endless = "SELECT value AS a, value % 7 AS b FROM generate_series(1, 100000000000)";
    t.ok("SET statement_timeout = '500ms'").await;
    for to in ["'out/x.parquet'", "'out/d' (FORMAT json)"] {
        let error = t.err(&format!("COPY ({endless}) TO {to}")).await;
        assert!(error.starts_with("timeout: "), "{error}");
        assert_eq!(below(&t.path("out")), [""; 0]);
    }
    t.ok("SET statement_timeout = 0").await;
    let nan = "SELECT CASE WHEN value = 300000 THEN CAST('NaN' AS DOUBLE) ELSE 1.5 END AS f FROM generate_series(1, 400000)";
    assert_snapshot!(t.err(&format!("COPY ({nan}) TO 'out/x.json'")).await, @"source_value_out_of_range: column f has NaN or an infinity, which JSON cannot hold. Write Parquet or CSV, cast the column to text, or turn such values into NULL: nullif(…, 'NaN')");
    assert_eq!(below(&t.path("out")), [""; 0]);

    // Who does not wait for it any longer ends it.
    let session = t.session.clone();
    let sql = format!("COPY ({endless}) TO 'out/x.csv'");
    let running = tokio::spawn(async move { session.execute(&sql).await.map(|_| ()) });
    let reached = |wanted: fn(&[String]) -> bool| {
        let folder = t.path("out");
        tokio::time::timeout(PATIENCE, async move {
            while !wanted(&below(&folder)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    reached(|files| {
        files
            .iter()
            .any(|f| f.starts_with(".x.csv.") && f.ends_with(".copy/data/x.csv"))
    })
    .await
    .unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    reached(<[String]>::is_empty).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_left_that_died_is_no_data_and_is_removed() {
    let t = fixture().await;
    let stage = |name: &str| {
        let data = t.path("out").join(name).join("data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("part-00001.csv"), "a\n1\n").unwrap();
        File::create(t.path("out").join(name).join("lock")).unwrap()
    };
    drop(stage(".d.abcdef.copy"));
    drop(stage(".d.x.abcdef.copy"));
    let held = stage(".d.uvwxyz.copy");
    held.lock().unwrap();
    t.ok("CREATE SOURCE lake FROM 'out'").await;
    let tables = "SELECT count(*) AS n FROM system.tables WHERE source = 'lake'";
    assert!(t.ok(tables).await.contains("| 0 |"));
    t.ok("COPY (SELECT 1 AS a) TO 'out/d' (FORMAT csv)").await;
    assert_eq!(
        below(&t.path("out")),
        [
            // Of another target, and of a process that lives.
            ".d.uvwxyz.copy/data/part-00001.csv",
            ".d.uvwxyz.copy/lock",
            ".d.x.abcdef.copy/data/part-00001.csv",
            ".d.x.abcdef.copy/lock",
            "d/part-00001.csv",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said_before_any_work() {
    let t = fixture().await;
    let mut said = String::new();
    for sql in [
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (HEADR)",
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (FORMAT excel)",
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (FORMAT parquet)",
        "COPY (SELECT 1 AS a) TO 'out/x.txt' (FORMAT csv)",
        "COPY (SELECT 1 AS a) TO 'out/x.csv.xz'",
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (COMPRESSION gzip)",
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (COMPRESSION snappy)",
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (DELIMITER ';;')",
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (DELIMITER '\"')",
        "COPY (SELECT 1 AS a) TO 'out/x.parquet' (HEADER)",
        "COPY (SELECT 1 AS a) TO 'out/x' (OVERWRITE maybe)",
        "COPY (SELECT 1 AS a) TO 'out/x' (FILE_SIZE 'big')",
        "COPY (SELECT 1 AS a) TO 'out/x.csv' (FILE_SIZE '1MB')",
        "COPY (SELECT 1 AS a, 2 AS b) TO 'out/x.csv' (PARTITION_BY (a))",
        "COPY (SELECT 1 AS amount, 2 AS b) TO 'out/x' (PARTITION_BY (amuont))",
        "COPY (SELECT 1 AS a) TO 'out/x' (PARTITION_BY (a))",
        "COPY (SELECT 1 AS a, 0.5::DOUBLE AS f) TO 'out/x' (PARTITION_BY (f))",
        "COPY (SELECT i.sku, s.sku FROM erp.item i JOIN erp.stock s ON i.sku = s.sku) TO 'out/x'",
        "COPY (SELECT [1] AS a) TO 'out/x.csv'",
        "COPY (SELECT decode('00', 'hex') AS a) TO 'out/x.csv'",
        "COPY (SELECT [decode('00', 'hex')] AS a) TO 'out/x.json'",
        "COPY (SELECT INTERVAL '1 month 1 day' AS a) TO 'out/x.parquet'",
        "COPY (SELECT 1 AS a) TO ''",
        "COPY (SELECT 1 AS a) TO 'nowhere/x.csv'",
        "COPY (SELECT 1 AS a) TO 'sqlite:erp.db'",
        "COPY (SELECT 1 AS a) TO 's3://b/x.csv' (SECRET_ACCESS_KEY 'abc')",
        "COPY (SELECT $1 AS a) TO 'out/x.csv'",
        "COPY erp.itme TO 'out/x.csv'",
        "COPY erp.item FROM 'out/x.csv'",
        "COPY erp.item TO STDOUT",
    ] {
        said.push_str(&format!("{sql}\n    {}\n", t.err(sql).await));
    }
    assert_snapshot!(said);
    assert_eq!(below(&t.path("out")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_explained_and_not_run() {
    let t = fixture().await;
    let sql = "COPY (SELECT sku, site FROM erp.stock) TO 'out/d' (PARTITION_BY site)";
    let plan = t.plain(&t.ok(&format!("EXPLAIN {sql}")).await);
    assert!(
        plan.contains("Written as Parquet (zstd) to DIR/out/d, in folders by site"),
        "{plan}"
    );
    assert!(plan.contains("Sent to erp"), "{plan}");
    assert_snapshot!(t.err(&format!("EXPLAIN ANALYZE {sql}")).await, @"invalid: EXPLAIN ANALYZE would run the query, and writes nothing. Use EXPLAIN COPY, or EXPLAIN ANALYZE with the query alone");
    assert_eq!(below(&t.path("out")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_it_writes_at_each_execution() {
    let t = fixture().await;
    let sql = "COPY (SELECT sku, name FROM erp.item WHERE sku >= $1 ORDER BY sku) TO 'out/x.csv' (OVERWRITE)";
    let prepared = t.session.prepare(sql).await.unwrap();
    assert!(prepared.has_effect && prepared.is_query);
    assert_eq!(prepared.parameters.len(), 1);
    assert_eq!(below(&t.path("out")), [""; 0]);
    for (from, expected) in [
        ("a", "sku,name\na1,Apple\nb2,Bread\nc3,Cheese\n"),
        ("c", "sku,name\nc3,Cheese\n"),
    ] {
        let value = ScalarValue::from(from);
        t.session
            .execute_prepared(&prepared, &[value])
            .await
            .unwrap();
        assert_eq!(fs::read_to_string(t.path("out/x.csv")).unwrap(), expected);
    }
    let missing = t
        .session
        .execute_prepared(&prepared, &[])
        .await
        .unwrap_err();
    assert!(
        missing.to_string().contains("takes 1 parameters"),
        "{missing}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_has_changed_is_written_as_it_is() {
    let t = fixture().await;
    database(
        &t.path("shop.db"),
        "DROP TABLE orders;
         CREATE TABLE orders (id TEXT, sku TEXT, extra INTEGER);
         INSERT INTO orders VALUES ('x', 'y', 7);",
    );
    assert_eq!(
        copied(&t, "COPY shop.orders TO 'out/o.csv'", "out/o.csv").await,
        (1, 1)
    );
    let text = fs::read_to_string(t.path("out/o.csv")).unwrap();
    assert_eq!(text, "id,sku,extra\nx,y,7\n");
    assert_eq!(below(&t.path("out")), ["o.csv"]);
}

/// At the server that `BELVEDERE_TEST_S3` names; `scripts/test` starts one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_reached_as_the_source_over_it_is() {
    let Ok(endpoint) = std::env::var("BELVEDERE_TEST_S3") else {
        eprintln!("not shown: BELVEDERE_TEST_S3 names no server");
        return;
    };
    let t = fixture().await;
    // Of its own: another run may have written there.
    let folder = t.dir.path().file_name().unwrap().to_string_lossy();
    let url = format!("s3://belvedere/{}", folder.trim_start_matches('.'));
    let access = format!(
        "endpoint = '{endpoint}', access_key_id = 'env:BELVEDERE_TEST_S3_KEY', secret_access_key = 'env:BELVEDERE_TEST_S3_SECRET'"
    );
    t.ok(&format!("CREATE SOURCE lake FROM '{url}/' WITH ({access})"))
        .await;
    t.ok(&format!(
        "COPY erp.stock TO '{url}/stock/' (PARTITION_BY site)"
    ))
    .await;
    t.ok(&format!("COPY erp.item TO '{url}/item.csv.gz' ({access})"))
        .await;
    assert_eq!(
        t.ok("SELECT sku, qty, site FROM lake.stock ORDER BY sku, site")
            .await,
        t.ok("SELECT sku, qty, site FROM erp.stock ORDER BY sku, site")
            .await
    );
    assert_eq!(
        t.ok("SELECT name FROM lake.item ORDER BY sku").await,
        t.ok("SELECT name FROM erp.item ORDER BY sku").await
    );
    let again = t.err(&format!("COPY erp.stock TO '{url}/stock/'")).await;
    assert!(again.starts_with("target_exists: source lake: "), "{again}");
}
