use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type};
use arrow::ipc::reader::StreamReader;
use insta::assert_snapshot;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::support::Place;

const ITEMS: &str = "SELECT * FROM shop.item ORDER BY sku";

#[test]
fn tables_are_aligned() {
    assert_snapshot!(Place::new().ask(ITEMS, &[]).ok(), @r#"
    CREATE SOURCE
     sku │ name       │ price │ added
    ─────┼────────────┼───────┼────────────
     a1  │ Größe, "L" │ 12.50 │ 2026-01-02
     b2  │ 東京       │  3.00 │ NULL
     c3  │ NULL       │  NULL │ NULL
    "#);
}

#[test]
fn csv_and_json_hold_the_answers_alone() {
    let place = Place::new();
    assert_snapshot!(place.ask(ITEMS, &["--format", "csv"]).ok(), @r#"
    sku,name,price,added
    a1,"Größe, ""L""",12.50,2026-01-02
    b2,東京,3.00,
    c3,,,
    "#);
    assert_snapshot!(place.ask(ITEMS, &["--format", "json"]).ok(), @r#"
    {"sku":"a1","name":"Größe, \"L\"","price":12.50,"added":"2026-01-02"}
    {"sku":"b2","name":"東京","price":3.00,"added":null}
    {"sku":"c3","name":null,"price":null,"added":null}
    "#);
    let floats =
        "SELECT 1.5::double AS a, 'NaN'::double AS b, '-Infinity'::real AS c, NULL::double AS d";
    assert_eq!(
        place.ask(floats, &["--format", "json"]).ok(),
        "{\"a\":1.5,\"b\":\"NaN\",\"c\":\"-Infinity\",\"d\":null}\n"
    );
    assert_eq!(
        place
            .ask("SELECT 1 AS a WHERE false", &["--format", "csv"])
            .ok(),
        "a\n"
    );
}

#[test]
fn arrow_and_parquet_keep_types() {
    let place = Place::new();
    place
        .ask(ITEMS, &["--format", "arrow", "-o", "items.arrow"])
        .ok();
    let reader =
        StreamReader::try_new(File::open(place.path("items.arrow")).unwrap(), None).unwrap();
    check(&reader.map(Result::unwrap).collect::<Vec<_>>());

    place
        .ask(ITEMS, &["--format", "parquet", "--output", "items.parquet"])
        .ok();
    let file = File::open(place.path("items.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    check(&reader.map(Result::unwrap).collect::<Vec<_>>());

    let two = place
        .ask(
            "SELECT 1; SELECT 2",
            &["--format", "parquet", "-o", "two.parquet"],
        )
        .failed();
    assert_snapshot!(two, @r"
    2: error: 2 answers do not fit in one file of this format
     help: Ask for one, or choose --format csv or json
    ");
    assert!(!place.path("two.parquet").exists());
}

fn check(batches: &[RecordBatch]) {
    let schema = batches[0].schema();
    let batch = arrow::compute::concat_batches(&schema, batches).unwrap();
    assert_eq!(batch.num_rows(), 3);
    assert_eq!(*batch.column(2).data_type(), DataType::Decimal128(9, 2));
    assert_eq!(
        batch.column(2).as_primitive::<Decimal128Type>().value(0),
        1250
    );
    assert!(batch.column(3).as_primitive::<Date32Type>().is_null(1));
}

#[test]
fn plans_and_definitions_are_text() {
    let place = Place::new();
    let text = place.ask(
        "EXPLAIN SELECT name FROM shop.item WHERE sku = 'a1'; SHOW CREATE SOURCE shop",
        &[],
    );
    assert_snapshot!(text.ok(), @r#"
    CREATE SOURCE
    Sent to shop (sqlite, about 1 rows)
      SELECT t0."name" FROM "main"."item" AS t0 WHERE t0."sku" = ?1 AND must_be_text(t0."sku")

    Nothing runs here: the source answers the whole query
    CREATE SOURCE shop FROM 'sqlite:[folder]/shop.db'
    "#);
}

#[test]
fn statements_come_from_commands_then_files_then_standard_input() {
    let place = Place::new();
    place.write("two.sql", "-- a comment\nSELECT 2 AS n;\n");
    let csv = ["--format", "csv"];
    let said = place.piped(
        &[
            &["sql", "-f", "two.sql", "-f", "-", "-c", "SELECT 1 AS n"][..],
            &csv,
        ]
        .concat(),
        "SELECT 3 AS n",
    );
    assert_eq!(said.ok(), "n\n1\nn\n2\nn\n3\n");
    assert_eq!(
        place
            .piped(
                &[&["sql"][..], &csv].concat(),
                "SELECT 1 AS a; SELECT 2 AS b;"
            )
            .ok(),
        "a\n1\nb\n2\n"
    );
    assert_eq!(place.run(&["sql", "-c", ""]).ok(), "");
    assert_snapshot!(place.run(&["sql", "-f", "none.sql"]).failed(), @"2: error: none.sql cannot be read: No such file or directory (os error 2)");
}

#[test]
fn definitions_last_as_long_as_they_should() {
    let place = Place::new();
    place
        .run(&[
            "sql",
            "--data",
            "data",
            "-c",
            "CREATE SOURCE shop FROM 'sqlite:shop.db'",
        ])
        .ok();
    let count = [
        "--format",
        "csv",
        "-c",
        "SELECT count(*) AS n FROM shop.item",
    ];
    assert_eq!(
        place
            .run(&[&["sql", "--data", "data"][..], &count].concat())
            .ok(),
        "n\n3\n"
    );
    assert_snapshot!(place.run(&[&["sql"][..], &count].concat()).failed(), @"1: error: source or schema shop does not exist. SHOW SOURCES lists the sources");
}

#[test]
fn errors_show_the_place_and_the_way_out() {
    let place = Place::new();
    assert_snapshot!(place.run(&["sql", "-c", "SELEC 1"]).failed(), @r"
    1: error: expected a statement, found SELEC
     1 | SELEC 1
       | ^
     help: did you mean SELECT?
    ");
    // Nothing runs of a text in which something is mistyped.
    place.write("bad.sql", "SELECT 1;\n\nSELECT 'größe',\n\t2 FROM x y z;");
    let said = place.run(&["sql", "-f", "bad.sql"]);
    assert_eq!(said.out, "");
    assert_snapshot!(said.failed(), @r"
    1: error: bad.sql: expected ; or the end of the text, found z
     4 |  2 FROM x y z;
       |             ^
    ");
    // What ran before the failure has been shown.
    place.write(
        "late.sql",
        "SELECT 1 AS n;\n\nSELECT m FROM (VALUES (1)) t(n);",
    );
    let said = place.run(&["sql", "-f", "late.sql"]);
    assert!(said.out.starts_with(" n\n"), "{}", said.out);
    assert_snapshot!(said.failed(), @"1: error: late.sql, statement at line 3: No field named m. Valid fields are t.n");
    assert_snapshot!(place.ask("SELECT 1 FROM shop.itm", &[]).failed(), @"1: error: table shop.itm does not exist. Did you mean item?");
    assert_snapshot!(place.run(&["sql", "-c", "CREATE SINK x AS SELECT 1"]).failed(), @r"
    1: error: CREATE SINK is not in this version
     1 | CREATE SINK x AS SELECT 1
       | ^
    ");
}

#[test]
fn the_exit_code_says_whether_trying_again_may_help() {
    let place = Place::new();
    let code = |arguments: &[&str]| place.run(arguments).code;
    assert_eq!(code(&["sql", "-c", "SELECT 1/0"]), Some(1));
    assert_eq!(
        code(&[
            "sql",
            "-c",
            "CREATE SOURCE x FROM 'postgres://ana@127.0.0.1:1/x'"
        ]),
        Some(75)
    );
    assert_eq!(
        code(&["sql", "--connect", "grpc://127.0.0.1:1", "-c", "SELECT 1"]),
        Some(75)
    );
    assert_eq!(
        code(&["sql", "--connect", "http://127.0.0.1:1", "-c", "SELECT 1"]),
        Some(2)
    );
    assert_eq!(
        code(&["sql", "-o", "no/such/folder", "-c", "SELECT 1"]),
        Some(1)
    );
    assert_snapshot!(place.run(&["sql", "--connect", "grpc://127.0.0.1:1", "-c", "SELECT 1"]).failed(), @r"
    75: error: cannot connect to 127.0.0.1:1: transport error: tcp connect error: Connection refused (os error 111)
     help: Is the server running? belvedere serve --data DIR starts one
    ");
}

#[test]
fn a_reader_that_goes_away_is_no_failure_to_speak_of() {
    let place = Place::new();
    let mut child = place
        .command(&[
            "sql",
            "-c",
            "SELECT * FROM generate_series(1, 1000000) AS t(n)",
        ])
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0));
}

#[test]
fn a_subscription_is_shown_as_it_comes() {
    let place = Place::new();
    for format in ["table", "csv", "json"] {
        let arguments = [
            "sql",
            "-c",
            "CREATE SOURCE shop FROM 'sqlite:shop.db' WITH (changes = 'triggers')",
            "-c",
            "SUBSCRIBE TO (SELECT sku, name FROM shop.item)",
            "--format",
            format,
        ];
        let mut child = place.command(&arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut until = |text: &str| {
            let found = lines.find(|line| line.as_ref().unwrap().contains(text));
            found.expect("it goes on").unwrap()
        };
        until("東京");
        let shop = rusqlite::Connection::open(place.path("shop.db")).unwrap();
        shop.busy_timeout(std::time::Duration::from_secs(10))
            .unwrap();
        let sql = format!("INSERT INTO item (sku, name) VALUES ('{format}', 'new {format}')");
        shop.execute_batch(&sql).unwrap();
        // Not at its end, which it does not have.
        until(&format!("new {format}"));
        let told = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
    let create = "CREATE MATERIALIZED VIEW v AS SELECT sku FROM shop.item";
    let more = [
        "-c",
        "SUBSCRIBE TO v",
        "--format",
        "parquet",
        "-o",
        "x.parquet",
    ];
    let said = place.ask(create, &more).failed();
    assert!(
        said.contains("a Parquet file is read from its end, and a subscription has none"),
        "{said}"
    );
}
