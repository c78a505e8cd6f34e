//! Folders of real files of every format.

mod common;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, StringViewArray,
};
use arrow::datatypes::Int32Type;
use belvedere_connector::{Code, TableKind};
use common::{Lake, Open, gzip, parquet_bytes, write};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

#[tokio::test]
async fn every_format_and_packing() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let csv = "id,name,price,day\n1,apple,1.5,2024-01-31\n2,\"a, \"\"b\"\"\nc\",,2024-02-01\n3,Größe,-0.25,\n";
    write(d, "plain.csv", csv);
    write(d, "packed.csv.gz", gzip(csv.as_bytes()));
    write(
        d,
        "zstd.csv.zst",
        zstd::encode_all(csv.as_bytes(), 1).unwrap(),
    );
    write(d, "tabs.tsv", "id\tname\n1\ta,b\n");
    write(
        d,
        "lines.jsonl",
        "{\"id\":1,\"tags\":[\"x\",\"y\"]}\n\n{\"id\":2,\"more\":{\"a\":1.5}}\n",
    );
    write(d, "packed_lines.json.gz", gzip(b"{\"id\":7}\n"));
    let data = batch(vec![("id", ints([1, 2])), ("name", texts(&["x", "y"]))]);
    write(d, "p.parquet", parquet_bytes(&data));
    for (file, stream) in [("f.arrow", false), ("s.arrows", true)] {
        let mut bytes = Vec::new();
        if stream {
            let mut writer =
                arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &data.schema()).unwrap();
            writer.write(&data).unwrap();
            writer.finish().unwrap();
        } else {
            let mut writer =
                arrow::ipc::writer::FileWriter::try_new(&mut bytes, &data.schema()).unwrap();
            writer.write(&data).unwrap();
            writer.finish().unwrap();
        }
        write(d, file, bytes);
    }
    // None of these is a table.
    for file in [
        "README.md",
        ".hidden.csv",
        "_SUCCESS",
        "_delta/a.csv",
        "empty.csv",
        "folder/.keep",
    ] {
        write(d, file, if file.contains("empty") { "" } else { "x" });
    }

    let lake = Lake::open(d.to_str().unwrap(), &[]).await.unwrap();
    assert_eq!(
        lake.names(),
        [
            "f",
            "lines",
            "p",
            "packed",
            "packed_lines",
            "plain",
            "s",
            "tabs",
            "zstd"
        ]
    );
    for table in &lake.tables {
        assert_eq!(table.warnings, Vec::<String>::new(), "{}", table.name);
        assert_eq!(
            (table.schema.as_str(), table.kind),
            ("public", TableKind::Table)
        );
        assert!(table.size_bytes > Some(0));
    }
    assert_eq!(
        lake.columns("plain"),
        "id Int64, name Utf8, price Float64, day Date32"
    );
    for table in ["plain", "packed", "zstd"] {
        let sql = format!("SELECT id, price, day, length(name) FROM {table} ORDER BY id");
        assert_eq!(
            lake.rows(&sql).await,
            ["1|1.5|2024-01-31|5", "2||2024-02-01|8", "3|-0.25||5"],
            "{table}"
        );
    }
    for table in ["f", "s", "p"] {
        assert_eq!(lake.columns(table), "id Int64, name Utf8");
        assert_eq!(
            lake.rows(&format!("SELECT * FROM {table} WHERE id > 1"))
                .await,
            ["2|y"]
        );
        assert_eq!(
            lake.rows(&format!("SELECT count(*) FROM {table}")).await,
            ["2"]
        );
    }
    assert_eq!(lake.table("p").row_count, Some(2));
    assert_eq!(
        lake.table("p").comment.as_deref(),
        Some("Parquet: p.parquet")
    );
    assert_eq!(lake.rows("SELECT name FROM tabs").await, ["a,b"]);
    assert_eq!(
        lake.rows("SELECT id, tags[2], more['a'] FROM lines").await,
        ["1|y|", "2||1.5"]
    );
    assert_eq!(lake.rows("SELECT id FROM packed_lines").await, ["7"]);
}

#[tokio::test]
async fn text_is_utf8_however_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let dictionary: DictionaryArray<Int32Type> = ["x", "y"].into_iter().collect();
    let data = batch(vec![
        (
            "large",
            Arc::new(LargeStringArray::from_iter_values(["a", "b"])) as ArrayRef,
        ),
        (
            "view",
            Arc::new(StringViewArray::from_iter_values(["a", "b"])),
        ),
        ("dictionary", Arc::new(dictionary)),
    ]);
    write(dir.path(), "t.parquet", parquet_bytes(&data));
    let lake = Lake::open(dir.path().to_str().unwrap(), &[]).await.unwrap();
    assert_eq!(lake.columns("t"), "large Utf8, view Utf8, dictionary Utf8");
    let found = lake
        .batches("SELECT * FROM t WHERE view = 'b' AND dictionary = 'y'")
        .await
        .unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    assert!(
        found[0]
            .schema()
            .fields()
            .iter()
            .all(|f| f.data_type().to_string() == "Utf8")
    );
}

#[tokio::test]
async fn partitions_are_columns_and_prune() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    for (folder, id) in [
        ("sales/year=2023/month=11", 1),
        ("sales/year=2023/month=02", 2),
        ("sales/year=2024/month=02", 3),
        ("sales/year=2024/month=__HIVE_DEFAULT_PARTITION__", 4),
    ] {
        write(
            d,
            &format!("{folder}/part-0.parquet"),
            parquet_bytes(&batch(vec![("id", ints([id]))])),
        );
    }
    write(
        d,
        "cities/name=S%C3%A3o%20Paulo/day=2024-05-01/a.csv",
        "n\n5\n",
    );
    let mut lake = Lake::open(d.to_str().unwrap(), &[]).await.unwrap();
    assert_eq!(lake.columns("sales"), "id Int64, year Int64, month Int64");
    assert_eq!(lake.table("sales").kind, TableKind::PartitionedTable);
    assert_eq!(lake.table("sales").row_count, Some(4));
    assert_eq!(
        lake.rows("SELECT id FROM sales WHERE month = 2 ORDER BY id")
            .await,
        ["2", "3"]
    );
    assert_eq!(
        lake.rows("SELECT id FROM sales WHERE month <> 11 ORDER BY id")
            .await,
        ["2", "3"]
    );
    assert_eq!(
        lake.rows("SELECT id, year FROM sales WHERE month IS NULL")
            .await,
        ["4|2024"]
    );
    assert_eq!(
        lake.rows("SELECT year, sum(id), count(*) FROM sales GROUP BY year ORDER BY year")
            .await,
        ["2023|3|2", "2024|7|2"]
    );
    assert_eq!(lake.rows("SELECT count(month) FROM sales").await, ["3"]);
    assert_eq!(lake.rows("SELECT max(month) FROM sales").await, ["11"]);
    let plan = lake
        .rows("EXPLAIN SELECT id FROM sales WHERE year = 2024 AND month = 2")
        .await
        .join("\n");
    assert!(plan.contains("month=02"), "{plan}");
    assert!(
        !plan.contains("year=2023"),
        "other folders are not read:\n{plan}"
    );
    assert_eq!(lake.columns("cities"), "n Int64, name Utf8, day Date32");
    assert_eq!(
        lake.rows("SELECT * FROM cities").await,
        ["5|São Paulo|2024-05-01"]
    );

    // A new file and a new partition are there at once; a value of another type is not read as something else.
    write(
        d,
        "sales/year=2025/month=1/new.parquet",
        parquet_bytes(&batch(vec![("id", ints([9]))])),
    );
    assert_eq!(
        lake.rows("SELECT id FROM sales WHERE year > 2024").await,
        ["9"]
    );
    write(
        d,
        "sales/year=soon/month=1/new.parquet",
        parquet_bytes(&batch(vec![("id", ints([9]))])),
    );
    let error = lake.error("SELECT id FROM sales").await;
    assert_eq!(
        (error.code, error.column.as_deref()),
        (Code::SchemaChanged, Some("year"))
    );
    lake.context = datafusion::prelude::SessionContext::new();
    lake.refresh().await.unwrap();
    assert_eq!(lake.columns("sales"), "id Int64, year Utf8, month Int64");

    // The folder itself may be the table.
    let lake = Lake::open(d.join("sales").to_str().unwrap(), &[])
        .await
        .unwrap();
    assert_eq!(lake.names(), ["sales"]);
    assert_eq!(lake.rows("SELECT count(*) FROM sales").await, ["6"]);
}

#[tokio::test]
async fn a_listing_is_never_stale() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, "t/a.csv", "id\n1\n");
    write(d, "one.csv", "id\n1\n");
    let mut lake = Lake::open(&format!("file://{}", d.display()), &[])
        .await
        .unwrap();
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["1"]);
    write(d, "t/deeper/b.csv", "id\n10\n");
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["11"]);
    std::fs::remove_file(d.join("t/a.csv")).unwrap();
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["10"]);
    write(d, "t/deeper/b.csv", "id\n33\n");
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["33"]);
    std::fs::remove_file(d.join("t/deeper/b.csv")).unwrap();
    assert_eq!(
        lake.error("SELECT count(*) FROM t").await.code,
        Code::TableMissing
    );
    std::fs::remove_file(d.join("one.csv")).unwrap();
    assert_eq!(
        lake.error("SELECT * FROM one").await.code,
        Code::TableMissing
    );
    lake.refresh().await.unwrap();
    assert!(lake.names().is_empty());
}

#[tokio::test]
async fn a_file_that_is_not_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, "good.csv", "id\n1\n");
    write(d, "bad.parquet", "this is text, with secret-4711 in it");
    write(d, "cut.parquet", {
        let mut bytes = parquet_bytes(&batch(vec![("id", ints(0..1000))]));
        bytes.truncate(bytes.len() / 2);
        bytes
    });
    write(d, "bad.arrow", "text");
    write(d, "bad.csv.gz", "text");
    write(d, "bad.jsonl", "{\"id\": secret-4711\n");
    write(d, "array.json", "[{\"id\":1}]");
    write(d, "ragged.csv", "a,b\n1,2\n3,4,5\n");
    let lake = Lake::open(d.to_str().unwrap(), &[]).await.unwrap();
    assert_eq!(
        lake.rows("SELECT id FROM good").await,
        ["1"],
        "one bad file does not hide the others"
    );
    for (table, file) in [
        ("bad.parquet", "bad.parquet"),
        ("cut", "cut.parquet"),
        ("bad.jsonl", "bad.jsonl"),
        ("array", "array.json"),
        ("ragged", "ragged.csv"),
    ] {
        let name = lake
            .names()
            .into_iter()
            .find(|n| *n == table || table.starts_with(&format!("{n}.")));
        let table = lake.table(name.unwrap_or_else(|| panic!("{table}: {:?}", lake.names())));
        let _ = file;
        assert!(!table.warnings.is_empty(), "{}", table.name);
    }
    for table in lake.tables.iter().filter(|t| t.columns.is_empty()) {
        let error = lake
            .source
            .table_provider(table, Arc::new(Open))
            .await
            .expect_err("it cannot be read");
        assert_eq!(error.code, Code::MalformedFile, "{}", table.name);
        let text = error.to_string();
        assert!(
            text.contains("source lake") && text.contains("file "),
            "{text}"
        );
        assert!(!text.contains("4711"), "a value is quoted: {text}");
    }
    let ragged = lake
        .source
        .table_provider(lake.table("ragged"), Arc::new(Open))
        .await
        .unwrap_err();
    assert_eq!(ragged.row.as_deref(), Some("3"), "{ragged}");
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let mut text = String::from("id,price\n");
    for i in 0..2000 {
        text.push_str(&format!("{i},{}.5\n", i));
    }
    text.push_str("2000,secret-4711\n");
    write(d, "prices.csv", &text);
    let mut lines: String = (0..2000).map(|i| format!("{{\"id\":{i}}}\n")).collect();
    lines.push_str("{\"id\":\"secret-4711\"}\n");
    write(d, "lines.jsonl", &lines);
    let lake = Lake::open(d.to_str().unwrap(), &[]).await.unwrap();
    let error = lake.error("SELECT sum(price) FROM prices").await;
    assert_eq!(error.code, Code::MalformedFile);
    assert_eq!(
        (
            error.table.as_deref(),
            error.column.as_deref(),
            error.row.as_deref()
        ),
        (Some("prices"), Some("price"), Some("2002"))
    );
    let text = error.to_string();
    assert!(
        text.contains("prices.csv") && text.contains("prices.price: text"),
        "{text}"
    );
    assert!(!text.contains("4711"), "{text}");
    let error = lake.error("SELECT sum(id) FROM lines").await;
    assert_eq!(error.code, Code::MalformedFile);
    assert!(
        error.to_string().contains("lines.jsonl") && !error.to_string().contains("4711"),
        "{error}"
    );

    let decided = [("columns", "prices.price: text")];
    let lake = Lake::open(d.to_str().unwrap(), &decided).await.unwrap();
    assert_eq!(
        lake.rows("SELECT price FROM prices WHERE id = 2000").await,
        ["secret-4711"]
    );
    let decided = [("schema_infer_rows", "5000")];
    let lake = Lake::open(d.to_str().unwrap(), &decided).await.unwrap();
    assert_eq!(lake.columns("prices"), "id Int64, price Utf8");
}

#[tokio::test]
async fn files_of_one_table_agree_or_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, "mixed/a.csv", "id\n1\n");
    write(
        d,
        "mixed/b.parquet",
        parquet_bytes(&batch(vec![("id", ints([1]))])),
    );
    write(d, "order/a.csv", "x,y\n1,2\n");
    write(d, "order/b.csv", "y,x\n1,2\n");
    write(d, "wider/a.csv", "v\n1\n");
    write(d, "wider/b.csv", "v\n1.5\n");
    write(d, "wider/c.csv", "v\n2\n");
    write(
        d,
        "evolved/a.parquet",
        parquet_bytes(&batch(vec![("id", ints([1]))])),
    );
    let newer = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![2])) as ArrayRef),
        ("more", texts(&["x"])),
    ]);
    write(d, "evolved/b.parquet", parquet_bytes(&newer));
    let lake = Lake::open(d.to_str().unwrap(), &[]).await.unwrap();
    for (table, words) in [
        ("mixed", "one format"),
        ("order", "same columns in the same order"),
    ] {
        let error = lake
            .source
            .table_provider(lake.table(table), Arc::new(Open))
            .await
            .unwrap_err();
        assert_eq!(error.code, Code::MalformedFile);
        assert!(error.to_string().contains(words), "{error}");
        assert!(lake.table(table).warnings[0].contains(words));
    }
    assert_eq!(lake.rows("SELECT sum(v) FROM wider").await, ["4.5"]);
    assert_eq!(lake.columns("evolved"), "id Int64, more Utf8");
    assert_eq!(
        lake.rows("SELECT * FROM evolved ORDER BY id").await,
        ["1|", "2|x"]
    );
    assert_eq!(
        lake.rows("SELECT id FROM evolved WHERE id >= 2").await,
        ["2"]
    );

    // Files that came or changed after discovery are held to the same.
    write(d, "wider/d.csv", "v\nword\n");
    assert_eq!(
        lake.error("SELECT * FROM wider").await.code,
        Code::SchemaChanged
    );
    std::fs::remove_file(d.join("wider/d.csv")).unwrap();
    write(d, "wider/d.csv", "v,w\n1,2\n");
    assert_eq!(
        lake.error("SELECT v FROM wider").await.code,
        Code::SchemaChanged
    );
    write(
        d,
        "evolved/c.parquet",
        parquet_bytes(&batch(vec![("id", texts(&["z"]))])),
    );
    let error = lake.error("SELECT id FROM evolved").await;
    assert_eq!(
        (error.code, error.column.as_deref()),
        (Code::SchemaChanged, Some("id"))
    );
}

#[tokio::test]
async fn names_that_clash_or_need_care() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, "prices.csv", "id\n1\n");
    write(d, "prices/a.csv", "id\n2\n");
    write(
        d,
        "prices.parquet",
        parquet_bytes(&batch(vec![("id", ints([3]))])),
    );
    write(d, "Prices.csv", "id\n4\n");
    // Written in the other order: who has the name follows from the names.
    write(d, "rates.json", "{\"id\": 5}\n");
    write(d, "rates.csv", "id\n6\n");
    write(d, "my \"odd\" näme.csv", "\u{feff}\"a b\",a,a,\n1,2,3,4\n");
    let lake = Lake::open(d.to_str().unwrap(), &[]).await.unwrap();
    assert_eq!(
        lake.names(),
        [
            "Prices",
            "my \"odd\" näme",
            "prices",
            "prices.csv",
            "prices.parquet",
            "rates",
            "rates.json"
        ]
    );
    assert_eq!(lake.rows("SELECT id FROM prices").await, ["2"]);
    assert_eq!(lake.rows("SELECT id FROM \"prices.csv\"").await, ["1"]);
    assert_eq!(lake.rows("SELECT id FROM \"Prices\"").await, ["4"]);
    assert_eq!(lake.rows("SELECT id FROM rates").await, ["6"]);
    assert!(!lake.table("prices.csv").warnings.is_empty());
    assert_eq!(
        lake.columns("my \"odd\" näme"),
        "a b Int64, a Int64, a_3 Int64, column_4 Int64"
    );
    assert_eq!(
        lake.rows("SELECT \"a b\", a_3 FROM \"my \"\"odd\"\" näme\"")
            .await,
        ["1|3"]
    );
    // The file alone.
    let one = d.join("my \"odd\" näme.csv");
    let lake = Lake::open(one.to_str().unwrap(), &[]).await.unwrap();
    assert_eq!(lake.names(), ["my \"odd\" näme"]);
    assert_eq!(
        lake.rows("SELECT a_3 FROM \"my \"\"odd\"\" näme\"").await,
        ["3"]
    );
}

#[tokio::test]
async fn how_csv_is_read_can_be_said() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, "t.csv", "# exported\n1;'a;b';12.345\n2;c;0.5\n");
    let options = [
        ("csv_header", "false"),
        ("csv_delimiter", ";"),
        ("csv_quote", "'"),
        ("csv_comment", "#"),
        ("columns", "t.column_3: decimal(12,3); t.column_1: text"),
    ];
    let lake = Lake::open(d.to_str().unwrap(), &options).await.unwrap();
    assert_eq!(
        lake.columns("t"),
        "column_1 Utf8, column_2 Utf8, column_3 Decimal128(12, 3)"
    );
    assert_eq!(
        lake.rows("SELECT * FROM t").await,
        ["1|a;b|12.345", "2|c|0.500"]
    );
    assert!(lake.table("t").columns[2].note.is_some());
}

/// Parquet's statistics leave out NaN, which is the greatest number here; and 0.0 may stand for -0.0 in them.
#[tokio::test]
async fn not_a_number_is_never_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let with_nan = batch(vec![
        ("id", ints([1, 2, 3])),
        ("x", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 0.0]))),
    ]);
    write(dir.path(), "t/a.parquet", parquet_bytes(&with_nan));
    write(
        dir.path(),
        "t/b.parquet",
        parquet_bytes(&batch(vec![
            ("id", ints([4])),
            ("x", Arc::new(Float64Array::from(vec![7.0]))),
        ])),
    );
    let lake = Lake::open(dir.path().to_str().unwrap(), &[]).await.unwrap();
    assert_eq!(
        lake.rows("SELECT id FROM t WHERE x > 5 ORDER BY id").await,
        ["2", "4"]
    );
    assert_eq!(lake.rows("SELECT max(x) FROM t").await, ["NaN"]);
    assert_eq!(
        lake.rows("SELECT id FROM t ORDER BY x DESC LIMIT 1").await,
        ["2"]
    );
    assert_eq!(lake.rows("SELECT id FROM t WHERE id > 3").await, ["4"]);
    assert_eq!(
        lake.rows("SELECT min(id), max(id), count(*) FROM t").await,
        ["1|4|4"]
    );
}

#[tokio::test]
async fn row_groups_are_pruned_by_conditions_and_by_joins() {
    let dir = tempfile::tempdir().unwrap();
    for (file, from) in [("a", 0), ("b", 10_000), ("c", 20_000)] {
        write(
            dir.path(),
            &format!("t/{file}.parquet"),
            parquet_bytes(&batch(vec![("id", ints(from..from + 10_000))])),
        );
    }
    // A size the planner knows: the small side is built, and its keys prune the other.
    write(
        dir.path(),
        "keys.parquet",
        parquet_bytes(&batch(vec![("k", ints([15_000]))])),
    );
    let lake = Lake::open(dir.path().to_str().unwrap(), &[]).await.unwrap();
    for sql in [
        "SELECT count(id) FROM t WHERE id = 15000",
        "SELECT count(id) FROM keys JOIN t ON k = id",
    ] {
        assert_eq!(lake.rows(sql).await, ["1"]);
        let plan = lake
            .rows(&format!("EXPLAIN ANALYZE {sql}"))
            .await
            .join("\n");
        let scan = plan
            .lines()
            .find(|l| l.contains("file_type=parquet"))
            .unwrap_or_else(|| panic!("{plan}"));
        assert!(
            scan.contains("output_rows=10.00 K")
                || scan.contains("output_rows=10000")
                || scan.contains("output_rows=1,")
                || !scan.contains("output_rows=30"),
            "two files of three are left out:\n{plan}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed() {
    let error = common::open("/no/such/folder", &[])
        .unwrap()
        .discover()
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.source_name.as_deref()),
        (Code::Unreachable, Some("lake"))
    );
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
    let error = common::open(
        "s3://bucket/",
        &[("access_key_id", "env:NO_SUCH_VARIABLE_4711")],
    )
    .unwrap()
    .discover()
    .await
    .unwrap_err();
    assert_eq!(
        error.code,
        Code::InvalidSecret,
        "the definition stands; the secret is asked for when needed"
    );
}
