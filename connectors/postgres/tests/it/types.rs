use arrow::datatypes::DataType;
use belvedere_connector::{BinaryOp, Code};

use crate::fixture::*;

/// Two rows at the extremes and one of nulls, for each type.
const EXTREMES: &[(&str, &str, &str, &str, &str)] = &[
    ("bool", "true", "false", "true", "false"),
    ("int2", "-32768", "32767", "-32768", "32767"),
    (
        "int4",
        "-2147483648",
        "2147483647",
        "-2147483648",
        "2147483647",
    ),
    (
        "int8",
        "-9223372036854775808",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775807",
    ),
    ("float4", "'-0'", "'3.4028235e38'", "-0.0", "3.4028235e38"),
    ("float8", "'NaN'", "'-Infinity'", "NaN", "-inf"),
    (
        "numeric(10,2)",
        "-99999999.99",
        "0.01",
        "-99999999.99",
        "0.01",
    ),
    ("numeric(5,-2)", "-9999900", "100", "-9999900", "100"),
    ("numeric(3,5)", "-0.00999", "0.00001", "-0.00999", "0.00001"),
    (
        "numeric(38,0)",
        "-99999999999999999999999999999999999999",
        "1e37",
        "-99999999999999999999999999999999999999",
        "10000000000000000000000000000000000000",
    ),
    (
        "numeric(60,3)",
        "-1e56",
        "0.001",
        "-100000000000000000000000000000000000000000000000000000000.000",
        "0.001",
    ),
    ("numeric(1000,0)", "1e80", "1", "1", "1"),
    (
        "numeric",
        "-999999999999999999.99999999999999999999",
        "1e-20",
        "-999999999999999999.99999999999999999999",
        "0.00000000000000000001",
    ),
    (
        "text",
        "''",
        "'naïve 🦀 \"quoted\" \\'",
        "",
        "naïve 🦀 \"quoted\" \\",
    ),
    ("varchar(3)", "'a  '", "'äöü'", "a  ", "äöü"),
    ("char(5)", "'ab'", "' x'", "ab", " x"),
    ("char(2)", "''", "'é'", "", "é"),
    ("name", "'n'", "''", "n", ""),
    ("\"char\"", "'x'", "'y'", "x", "y"),
    ("citext", "'Ab'", "'aC'", "Ab", "aC"),
    ("bytea", "'\\x00ff'", "''", "00ff", ""),
    (
        "date",
        "'4713-01-01 BC'",
        "'262142-12-31'",
        "-4712-01-01",
        "+262142-12-31",
    ),
    (
        "time",
        "'00:00'",
        "'23:59:59.999999'",
        "00:00:00",
        "23:59:59.999999",
    ),
    (
        "timetz",
        "'12:00+05:30'",
        "'00:00Z'",
        "12:00:00+05:30",
        "00:00:00+00",
    ),
    (
        "timestamp",
        "'0001-01-01 00:00:00.000001'",
        "'9999-12-31 23:59:59.999999'",
        "0001-01-01T00:00:00.000001",
        "9999-12-31T23:59:59.999999",
    ),
    (
        "timestamptz",
        "'2026-03-29 02:30+02'",
        "'1969-12-31 23:59:59.5Z'",
        "2026-03-29T00:30:00Z",
        "1969-12-31T23:59:59.500Z",
    ),
    (
        "interval",
        "'-1 year 2 days -00:00:00.000001'",
        "'100000:00:00'",
        "-12 mons 2 days -0.000001000 secs",
        "100000 hours",
    ),
    (
        "uuid",
        "'00000000-0000-0000-0000-000000000000'",
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
        "00000000-0000-0000-0000-000000000000",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    ("json", "'{\"a\" : 1}'", "'null'", "{\"a\" : 1}", "null"),
    (
        "jsonb",
        "'{\"b\":1, \"a\":[]}'",
        "'0'",
        "{\"a\": [], \"b\": 1}",
        "0",
    ),
    ("inet", "'10.0.0.1'", "'::1/64'", "10.0.0.1", "::1/64"),
    ("cidr", "'10.1.0.0/16'", "'::/0'", "10.1.0.0/16", "::/0"),
    (
        "macaddr",
        "'08:00:2b:01:02:03'",
        "'ff:ff:ff:ff:ff:ff'",
        "08:00:2b:01:02:03",
        "ff:ff:ff:ff:ff:ff",
    ),
    ("oid", "0", "4294967295", "0", "4294967295"),
    ("money", "'-1.50'", "'2'", "-$1.50", "$2.00"),
    ("int4range", "'[1,3)'", "'empty'", "[1,3)", "empty"),
    ("point", "'(1,2)'", "'(0,0)'", "(1,2)", "(0,0)"),
    ("xml", "'<a/>'", "'x'", "<a/>", "x"),
    ("bit(3)", "'101'", "'000'", "101", "000"),
    ("mood", "'sad'", "'ok'", "sad", "ok"),
    ("email", "'a@b'", "''", "a@b", ""),
    ("pair", "'(1,x)'", "'(,)'", "(1,x)", "(,)"),
    ("int4[]", "'{1,NULL,3}'", "'{}'", "[1, NULL, 3]", "[]"),
    (
        "text[]",
        "'{a,\"b,c\",NULL}'",
        "'{\"\"}'",
        "[a, b,c, NULL]",
        "[]",
    ),
    (
        "numeric(6,2)[]",
        "'{1.5}'",
        "'{-9999.99}'",
        "[1.50]",
        "[-9999.99]",
    ),
    ("mood[]", "'{ok,sad}'", "'{}'", "[ok, sad]", "[]"),
    (
        "uuid[]",
        "'{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'",
        "'{}'",
        "[a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11]",
        "[]",
    ),
    ("char(3)[]", "'{a}'", "'{}'", "[a]", "[]"),
    (
        "timestamptz[]",
        "'{2026-01-01 00:00Z}'",
        "'{}'",
        "[2026-01-01T00:00:00Z]",
        "[]",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_at_its_extremes_by_both_protocols() {
    let db = Database::new("types").await;
    db.run(
        "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN email AS varchar(80);
         CREATE TYPE pair AS (a int, b text)",
    )
    .await;
    let mut create = "CREATE TABLE t (id int8 PRIMARY KEY".to_string();
    let (mut low, mut high, mut nulls) = ("1".to_string(), "2".to_string(), "3".to_string());
    for (i, (name, a, b, ..)) in EXTREMES.iter().enumerate() {
        create += &format!(", c{i} {name}");
        low += &format!(", {a}");
        high += &format!(", {b}");
        nulls += ", NULL";
    }
    db.run(&format!(
        "{create}); INSERT INTO t VALUES ({low}), ({high}), ({nulls})"
    ))
    .await;
    let (source, tables) = db.discovered(&[]).await;
    let t = table(&tables, "t");

    let by_copy = read(&source, scan_of(t)).await.unwrap();
    let everything = compare(column(t, "id"), BinaryOp::Gt, int(0));
    let by_query = read(&source, filter(scan_of(t), everything)).await.unwrap();
    assert_eq!(by_copy, by_query);

    let rows = lines(&by_copy);
    let cells = |row: usize| -> Vec<String> {
        (0..by_copy.num_columns())
            .map(|c| lines(&by_copy.project(&[c]).unwrap())[row].clone())
            .collect()
    };
    let (first, second) = (cells(0), cells(1));
    for (i, (name, _, _, low, high)) in EXTREMES.iter().enumerate() {
        if *name == "numeric(1000,0)" {
            assert_eq!(first[i + 1].len(), 81);
            continue;
        }
        assert_eq!(
            (first[i + 1].as_str(), second[i + 1].as_str()),
            (*low, *high),
            "{name}"
        );
    }
    assert!(
        rows[2].split('|').skip(1).all(|cell| cell == "NULL"),
        "{}",
        rows[2]
    );

    // Whatever can be compared at all is compared by the value that is read.
    for (i, (name, ..)) in EXTREMES.iter().enumerate() {
        let c = column(t, &format!("c{i}"));
        if c.data_type != DataType::Utf8 {
            continue;
        }
        let same = compare(c.clone(), BinaryOp::Eq, text(&first[i + 1]));
        let found = read(&source, filter(scan_of(t), same)).await.unwrap();
        assert_eq!(lines(&found.project(&[0]).unwrap()), ["1"], "{name}");
        let after = compare(
            c,
            BinaryOp::GtEq,
            text(first[i + 1].as_str().min(&second[i + 1])),
        );
        let found = read(&source, filter(scan_of(t), after)).await.unwrap();
        assert_eq!(found.num_rows(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_an_error_that_names_its_option() {
    let db = Database::new("unfit").await;
    let cases = [
        ("numeric", "'NaN'", "NaN"),
        ("numeric", "'Infinity'", "infinity"),
        ("numeric", "1e18", "digits"),
        ("numeric", "-1e-21", "places"),
        ("date", "'infinity'", "infinity"),
        ("date", "'262143-01-01'", "262142"),
        ("timestamp", "'-infinity'", "infinity"),
        ("timestamptz", "'294276-12-31 23:59Z'", "262142"),
        ("time", "'24:00'", "24:00"),
        ("interval", "'2562048:00:00'", "292 years"),
        ("int4[]", "'{{1,2},{3,4}}'", "dimensions"),
    ];
    for (i, (name, value, _)) in cases.iter().enumerate() {
        db.run(&format!(
            "CREATE TABLE u{i} (id int8, v {name}); INSERT INTO u{i} VALUES (1, NULL), (2, {value})"
        ))
        .await;
    }
    let (source, tables) = db.discovered(&[]).await;
    for (i, (name, value, why)) in cases.iter().enumerate() {
        let t = table(&tables, &format!("u{i}"));
        let e = read(&source, scan_of(t)).await.unwrap_err();
        assert_eq!(e.code, Code::ValueOutOfRange, "{name} {value}: {e}");
        let shown = e.to_string();
        assert!(shown.contains(why), "{shown}");
        assert!(
            shown.contains(&format!("columns = 'u{i}.v: text'")),
            "{shown}"
        );
        assert_eq!(e.column.as_deref(), Some("v"));
    }
    let decided = |how: &str| {
        (0..cases.len())
            .map(|i| format!("u{i}.v: {how}"))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let (source, tables) = db.discovered(&[("columns", &decided("null"))]).await;
    for (i, (name, value, _)) in cases.iter().enumerate() {
        let t = table(&tables, &format!("u{i}"));
        let rows = read(&source, scan_of(t)).await.unwrap();
        assert_eq!(lines(&rows), ["1|NULL", "2|NULL"], "{name} {value}");
        let is_null = belvedere_connector::Expr {
            kind: belvedere_connector::ExprKind::Unary {
                op: belvedere_connector::UnaryOp::IsNull,
                arg: Box::new(column(t, "v")),
            },
            data_type: DataType::Boolean,
            nullable: false,
        };
        let rows = read(&source, filter(scan_of(t), is_null)).await.unwrap();
        assert_eq!(rows.num_rows(), 2, "{name} {value}");
    }
    let (source, tables) = db.discovered(&[("columns", &decided("text"))]).await;
    let shown = [
        "NaN",
        "Infinity",
        "1000000000000000000",
        "-0.000000000000000000001",
        "infinity",
        "262143-01-01",
        "-infinity",
        "294276-12-31 23:59:00+00",
        "24:00:00",
        "2562048:00:00",
        "{{1,2},{3,4}}",
    ];
    for (i, wanted) in shown.iter().enumerate() {
        let rows = read(&source, scan_of(table(&tables, &format!("u{i}"))))
            .await
            .unwrap();
        assert_eq!(lines(&rows), ["1|NULL".to_string(), format!("2|{wanted}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_for_decimals_holds_everywhere() {
    let db = Database::new("decided").await;
    db.run(
        "CREATE TABLE i (id int8, a numeric, b money, c numeric);
         INSERT INTO i VALUES (1, 12.5, 3, 1.25), (2, -0.01, -4.5, 1e12), (3, NULL, NULL, 'NaN')",
    )
    .await;
    let options = [(
        "columns",
        "i.a: decimal(12,2); public.i.b: decimal(20,2); i.c: decimal(6,2) null",
    )];
    let (source, tables) = db.discovered(&options).await;
    let i = table(&tables, "i");
    assert_eq!(i.columns[1].data_type, DataType::Decimal128(12, 2));
    let rows = read(&source, scan_of(i)).await.unwrap();
    assert_eq!(
        lines(&rows),
        [
            "1|12.50|3.00|1.25",
            "2|-0.01|-4.50|NULL",
            "3|NULL|NULL|NULL"
        ]
    );
}
