//! What is pushed answers as the engine would, shown against a plain evaluation of the values read.

mod common;

use std::cmp::Ordering;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Function, JoinKind, Literal,
    Rel, SortKey, Support, UnaryOp,
};
use common::{File, Opened, binary, column, filter, rows, text};

const OPERATORS: [BinaryOp; 6] = [
    BinaryOp::Eq,
    BinaryOp::NotEq,
    BinaryOp::Lt,
    BinaryOp::LtEq,
    BinaryOp::Gt,
    BinaryOp::GtEq,
];

fn holds(op: BinaryOp, ordering: Ordering) -> bool {
    match op {
        BinaryOp::Eq => ordering.is_eq(),
        BinaryOp::NotEq => ordering.is_ne(),
        BinaryOp::Lt => ordering.is_lt(),
        BinaryOp::LtEq => ordering.is_le(),
        BinaryOp::Gt => ordering.is_gt(),
        _ => ordering.is_ge(),
    }
}

/// Every operator between every value of a column and every constant: pushed, and by `compare` over what is read.
async fn check<T>(
    shop: &Opened,
    name: &str,
    constants: &[(Literal, T)],
    read: impl Fn(&dyn Array, usize) -> T,
    compare: impl Fn(&T, &T) -> Ordering,
) {
    let scan = shop.scan("t", &[name]);
    let all = shop.read(scan.clone()).await.unwrap();
    let data_type = column(&scan, name).data_type;
    for (literal, constant) in constants {
        for op in OPERATORS {
            let constant_expr = Expr::literal(literal.clone(), data_type.clone());
            let predicate = binary(op, column(&scan, name), constant_expr);
            let support = shop
                .source
                .capabilities()
                .predicate(&predicate, &scan.schema());
            assert_eq!(support, Support::Exact, "{name} {op:?}");
            let values = all.column(0);
            let mut expected: Vec<String> = (0..all.num_rows())
                .filter(|row| values.is_valid(*row))
                .filter(|row| holds(op, compare(&read(values.as_ref(), *row), constant)))
                .map(|row| rows(&all.slice(row, 1)).remove(0))
                .collect();
            let mut found = shop.rows(filter(scan.clone(), predicate)).await;
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{name} {op:?} {literal:?}");
        }
    }
}

#[tokio::test]
async fn comparisons_are_the_engines() {
    let file = File::new(
        r#"
        CREATE TABLE t (n INTEGER, r REAL, num NUMERIC, bin TEXT, nocase TEXT COLLATE NOCASE, rtrim TEXT COLLATE RTRIM,
                        any, d DATE, ts DATETIME, amount DECIMAL(9,2), flag BOOLEAN);
        INSERT INTO t VALUES
            (0, 0.0, 0, '', '', '', '', '2024-01-01', '2024-01-01 00:00:00', 0, 0),
            (-1, -0.0, -1.5, 'a', 'a', 'a', 'a', '1969-12-31', '2024-01-01T00:00:00Z', 1.005, 1),
            (9223372036854775807, 9e999, 7, 'A', 'A', 'a ', 10, '0001-01-01', '2023-12-31 23:00:00-01:00', -1.01, 'true'),
            (-9223372036854775808, -9e999, 1e300, 'ä', 'ä', 'a  ', 9.5, '9999-12-31', '1969-12-31 23:59:59.5', '1.01', 0),
            (1, 1.5, 9007199254740992, 'a' || char(0), 'Ab', 'b', 'Ä', '2024-02-29', NULL, 1.0100000001, 0),
            (2, 1e-300, 1.5, 'z', 'aB', 'ab ', 'a', NULL, NULL, NULL, NULL),
            (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
        "#,
    );
    let shop = file.open(&[]).await;
    let ints = [0, 1, -1, i64::MAX, i64::MIN].map(|v| (Literal::Int(v), v));
    let int = |array: &dyn Array, row: usize| array.as_primitive::<Int64Type>().value(row);
    check(&shop, "n", &ints, int, i64::cmp).await;

    let floats = [
        0.0,
        -0.0,
        1.5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e-300,
        9007199254740992.0,
    ];
    let floats = floats.map(|v| (Literal::Float(v), v));
    let float = |array: &dyn Array, row: usize| array.as_primitive::<Float64Type>().value(row);
    let as_numbers = |a: &f64, b: &f64| (a + 0.0).total_cmp(&(b + 0.0));
    check(&shop, "r", &floats, float, as_numbers).await;
    check(&shop, "num", &floats, float, as_numbers).await;

    let texts = [
        "", "a", "A", "ab", "ä", "a\0", "a ", "a  ", "10", "9.5", "zz",
    ]
    .map(|v| (Literal::Text(v.to_string()), v.to_string()));
    let string = |array: &dyn Array, row: usize| array.as_string::<i32>().value(row).to_string();
    for name in ["bin", "nocase", "rtrim", "any"] {
        check(&shop, name, &texts, string, String::cmp).await;
    }

    let as_int = |array: &dyn Array, row: usize| {
        let ints = arrow::compute::cast(array, &DataType::Int32).unwrap();
        let ints = arrow::compute::cast(&ints, &DataType::Int64).unwrap();
        ints.as_primitive::<Int64Type>().value(row)
    };
    let days = [0, 19723, -719_162].map(|v| (Literal::Int(v), v));
    check(&shop, "d", &days, as_int, i64::cmp).await;
    let micros = |array: &dyn Array, row: usize| {
        let ints = arrow::compute::cast(array, &DataType::Int64).unwrap();
        ints.as_primitive::<Int64Type>().value(row)
    };
    let instants = [0, 1_704_067_200_000_000, -500_000].map(|v| (Literal::Int(v), v));
    check(&shop, "ts", &instants, micros, i64::cmp).await;
    let decimals = [0, 101, -101, 100].map(|v| (Literal::Decimal(v), v));
    let decimal = |array: &dyn Array, row: usize| {
        array
            .as_primitive::<arrow::datatypes::Decimal128Type>()
            .value(row)
    };
    check(&shop, "amount", &decimals, decimal, i128::cmp).await;
    let booleans = [true, false].map(|v| (Literal::Boolean(v), v));
    let boolean = |array: &dyn Array, row: usize| array.as_boolean().value(row);
    check(&shop, "flag", &booleans, boolean, bool::cmp).await;
}

fn aggregate(function: AggregateFunction, arg: Expr, data_type: DataType) -> (Aggregate, String) {
    let aggregate = Aggregate {
        function,
        arg: Some(arg),
        distinct: false,
        filter: None,
        data_type,
    };
    (aggregate, format!("{function:?}"))
}

#[tokio::test]
async fn aggregates_joins_and_order() {
    let file = File::new(
        r#"
        CREATE TABLE cust (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, since DATE);
        INSERT INTO cust VALUES (1, 'Ann', '2020-05-01'), (2, 'ann', '2021-01-01'), (3, 'Bob', '2020-02-01');
        CREATE TABLE inv (id INTEGER PRIMARY KEY, cust INT, amount DECIMAL(9,2), qty INT, f REAL);
        INSERT INTO inv VALUES (1, 1, 10.10, 9223372036854775807, 0.0), (2, 1, 0.1, 2, -0.0), (3, 2, 5, 3, 2.5),
                               (4, NULL, 1, 1, NULL), (5, 9, NULL, NULL, NULL);
        "#,
    );
    let shop = file.open(&[]).await;
    let (cust, inv) = (shop.scan("cust", &[]), shop.scan("inv", &[]));
    use AggregateFunction::*;
    let total = Rel::Aggregate {
        group_by: Vec::new(),
        aggregates: vec![
            aggregate(Sum, column(&inv, "amount"), DataType::Decimal128(19, 2)),
            aggregate(Sum, column(&inv, "qty"), DataType::Int64),
            aggregate(Min, column(&inv, "f"), DataType::Float64),
            aggregate(Max, column(&inv, "f"), DataType::Float64),
            aggregate(Count, column(&inv, "cust"), DataType::Int64),
        ],
        input: Box::new(inv.clone()),
    };
    // 2^63 - 1 + 2 + 3 + 1 wraps. SQLite stores -0.0 as 0.0.
    assert_eq!(
        shop.rows(total).await,
        ["16.20|-9223372036854775803|0.0|2.5|4"]
    );

    let by_name = Rel::Aggregate {
        group_by: vec![(column(&cust, "name"), "name".to_string())],
        aggregates: vec![aggregate(Max, column(&cust, "since"), DataType::Date32)],
        input: Box::new(cust.clone()),
    };
    let sorted = Rel::Sort {
        keys: vec![SortKey {
            expr: column(&by_name, "name"),
            descending: false,
            nulls_first: false,
        }],
        input: Box::new(by_name),
        fetch: Some(10),
    };
    assert_eq!(
        shop.rows(sorted).await,
        ["Ann|2020-05-01", "Bob|2020-02-01", "ann|2021-01-01"]
    );

    let join = |kind| Rel::Join {
        left: Box::new(inv.clone()),
        right: Box::new(cust.clone()),
        kind,
        on: vec![(column(&inv, "cust"), column(&cust, "id"))],
        filter: None,
    };
    for (kind, expected) in [
        (JoinKind::Inner, "1,2,3"),
        (JoinKind::Left, "1,2,3,4,5"),
        (JoinKind::Right, ",1,2,3"),
        (JoinKind::Full, ",1,2,3,4,5"),
        (JoinKind::LeftSemi, "1,2,3"),
        (JoinKind::LeftAnti, "4,5"),
    ] {
        let joined = shop.read(join(kind)).await.unwrap();
        let mut ids: Vec<String> = joined
            .column(0)
            .as_primitive::<Int64Type>()
            .iter()
            .map(|id| id.map_or(String::new(), |id| id.to_string()))
            .collect();
        ids.sort();
        assert_eq!(ids.join(","), expected, "{kind:?}");
    }

    let union = Rel::UnionAll {
        schema: shop.scan("inv", &["id"]).schema(),
        inputs: vec![
            Rel::Limit {
                input: Box::new(shop.scan("inv", &["id"])),
                skip: 3,
                fetch: None,
            },
            shop.scan("cust", &["id"]),
        ],
    };
    assert_eq!(shop.read(union).await.unwrap().num_rows(), 5);
}

/// A row whose value does not fit is never silently in or out because of what it was compared with.
#[tokio::test]
async fn a_misfit_inside_an_expression_is_an_error() {
    let file = File::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, r REAL, s TEXT, d DATE);
         INSERT INTO t VALUES (1, 1, 1.5, 'a', '2024-01-01'), (2, 'many', 'much', x'61', 'soon');",
    );
    let shop = file.open(&[]).await;
    let ids = |input: Rel| {
        let id = (column(&input, "id"), "id".to_string());
        Rel::Project {
            columns: vec![id],
            input: Box::new(input),
        }
    };
    for (name, literal) in [
        ("n", Literal::Int(1)),
        ("r", Literal::Float(1.5)),
        ("s", Literal::Text("a".to_string())),
        ("d", Literal::Int(0)),
    ] {
        let scan = shop.scan("t", &["id", name]);
        let constant = Expr::literal(literal, column(&scan, name).data_type);
        let equal = binary(BinaryOp::Eq, column(&scan, name), constant);
        let error = shop
            .read(ids(filter(scan.clone(), not(equal))))
            .await
            .unwrap_err();
        assert_eq!(error.column.as_deref(), Some(name), "{error}");
        assert_eq!(error.row.as_deref(), Some("2"));
    }
}

fn not(arg: Expr) -> Expr {
    Expr {
        kind: ExprKind::Unary {
            op: UnaryOp::Not,
            arg: Box::new(arg),
        },
        data_type: DataType::Boolean,
        nullable: true,
    }
}

fn like(arg: Expr, pattern: &str) -> Expr {
    Expr {
        kind: ExprKind::Like {
            arg: Box::new(arg),
            pattern: Box::new(text(pattern)),
            escape: None,
            negated: false,
            case_insensitive: false,
        },
        data_type: DataType::Boolean,
        nullable: true,
    }
}

/// Whatever is stored in a column of whatever affinity: a row is given, not given or an error, whether its column is given,
/// too, or not.
#[tokio::test]
async fn a_check_is_left_out_only_where_it_says_nothing() {
    let stored = [
        "NULL",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "-9223372036854775808.0",
        "9223372036854775808.0",
        "9e999",
        "-9e999",
        "'a'",
        "'12'",
        "''",
        "'a' || char(0) || 'b'",
        "CAST(x'ff' AS TEXT)",
        "CAST(x'61ff' AS TEXT)",
        "x''",
        "x'61'",
    ];
    let affinities = ["INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC", ""];
    // A few in a file: each read looks at the list of its tables.
    let stored = stored.chunks(3);
    let stored = stored.flat_map(|some| affinities.map(|affinity| (some, affinity)));
    for (stored, affinity) in stored {
        for read_as in ["bigint", "text", "double", "blob"] {
            // The view takes its affinity from the first table, its value from the second.
            let tables = stored.iter().enumerate().map(|(i, value)| {
                format!(
                    "CREATE TABLE t{i} (k INT, c {affinity}); INSERT INTO t{i} VALUES (1, {value});
                     CREATE TABLE any{i} (k INT, c); INSERT INTO any{i} VALUES (1, {value});
                     CREATE VIEW v{i} AS SELECT k, c FROM t{i} WHERE k < 0 UNION ALL SELECT k, c FROM any{i};"
                )
            });
            let file = File::new(&format!(
                "PRAGMA synchronous = OFF; BEGIN; {} COMMIT;",
                tables.collect::<String>()
            ));
            let names = ["t", "v"].into_iter();
            let names =
                names.flat_map(|kind| (0..stored.len()).map(move |i| (format!("{kind}{i}"), i)));
            let names: Vec<(String, usize)> = names.collect();
            let decided = names
                .iter()
                .map(|(name, _)| format!("{name}.c: {read_as};"));
            let decided: String = decided.collect();
            let shop = file.open(&[("columns", &decided)]).await;
            let constant = match read_as {
                "bigint" => Literal::Int(7),
                "double" => Literal::Float(7.5),
                "text" => Literal::Text("q".to_string()),
                _ => Literal::Binary(b"q".to_vec()),
            };
            for (table, i) in names {
                let context = format!("{} as {read_as} of {affinity} {table}", stored[i]);
                let row = shop.scan(&table, &["k", "c"]);
                let c = column(&row, "c");
                let constant = Expr::literal(constant.clone(), c.data_type.clone());
                let mut predicates = vec![not(binary(BinaryOp::Eq, c.clone(), constant))];
                if read_as == "text" {
                    predicates.push(not(like(c.clone(), "%q%")));
                }
                let plain = shop.read(row.clone()).await;
                for predicate in predicates {
                    let filtered = filter(row.clone(), predicate);
                    for names in [&["k"][..], &["c", "k"]] {
                        let columns = names
                            .iter()
                            .map(|name| (column(&filtered, name), name.to_string()));
                        let given = shop.read(Rel::Project {
                            columns: columns.collect(),
                            input: Box::new(filtered.clone()),
                        });
                        match (&plain, given.await) {
                            (Ok(plain), Ok(given)) => {
                                let rows = 1 - plain.column(1).null_count();
                                assert_eq!(given.num_rows(), rows, "{context}");
                            }
                            (Err(plain), Err(given)) => {
                                assert_eq!(given.to_string(), plain.to_string(), "{context}");
                            }
                            (plain, given) => panic!("{context}: {plain:?} and {given:?}"),
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn checks_in_the_text() {
    let file = File::new("CREATE TABLE t (a INT, s TEXT);");
    let shop = file.open(&[]).await;
    let scan = shop.scan("t", &["a", "s"]);
    let positive = binary(
        BinaryOp::Gt,
        column(&scan, "a"),
        Expr::literal(Literal::Int(0), DataType::Int64),
    );
    let predicates = vec![positive, not(like(column(&scan, "s"), "%x%"))];
    let filtered = Rel::Filter {
        input: Box::new(scan),
        predicates,
    };
    let given = |name: &str| Rel::Project {
        columns: vec![(column(&filtered, name), name.to_string())],
        input: Box::new(filtered.clone()),
    };
    let condition = r#"t0."a" > ?1 AND (NOT text_like(t0."s", ?2))"#;
    let sql = |columns: &str, more: &str| {
        format!(r#"SELECT {columns} FROM "main"."t" AS t0 WHERE {condition}{more}"#)
    };
    assert_eq!(shop.sql(given("a")), sql(r#"t0."a""#, ""));
    let checked = r#" AND must_be_integer(t0."a")"#;
    assert_eq!(shop.sql(given("s")), sql(r#"t0."s""#, checked));
    // What is not given is not read.
    let limited = Rel::Limit {
        input: Box::new(given("a")),
        skip: 1,
        fetch: Some(1),
    };
    assert!(shop.sql(limited).contains("must_be_integer"));
}

#[tokio::test]
async fn the_text_keeps_indexes_usable() {
    let file = File::new(
        "CREATE TABLE item (sku TEXT COLLATE NOCASE, price DECIMAL(9,2), n INTEGER PRIMARY KEY, day DATE);",
    );
    let shop = file.open(&[]).await;
    let scan = shop.scan("item", &["sku", "n"]);
    let predicate = binary(BinaryOp::Eq, column(&scan, "sku"), text("a"));
    assert_eq!(
        shop.sql(filter(scan, predicate)),
        r#"SELECT t0."sku", t0."n" FROM "main"."item" AS t0 WHERE t0."sku" = ?1 AND t0."sku" COLLATE BINARY = ?1"#
    );
    let scan = shop.scan("item", &["n", "day"]);
    let year = Expr {
        kind: ExprKind::Call {
            function: Function::DatePart(DatePart::Year),
            args: vec![column(&scan, "day")],
        },
        data_type: DataType::Int32,
        nullable: true,
    };
    let grouped = Rel::Aggregate {
        group_by: vec![(year, "year".to_string())],
        aggregates: vec![aggregate(
            AggregateFunction::Sum,
            column(&scan, "n"),
            DataType::Int64,
        )],
        input: Box::new(scan),
    };
    assert_eq!(
        shop.sql(grouped),
        r#"SELECT date_year(as_date(t0."day")) AS c0, sum_integer(t0."n") AS c1 FROM "main"."item" AS t0 GROUP BY date_year(as_date(t0."day"))"#
    );
    assert_eq!(shop.table("item").columns[3].data_type, DataType::Date32);
}

#[tokio::test]
async fn what_is_not_proven_stays() {
    let file = File::new("CREATE TABLE t (a INT, f REAL, s TEXT, big DECIMAL(30,2));");
    let shop = file.open(&[]).await;
    let scan = shop.scan("t", &[]);
    let no = |rel: Rel| match shop.source.capabilities().node(&rel) {
        Support::No(why) => why,
        other => panic!("{other:?}"),
    };
    let project = |expr: Expr| Rel::Project {
        input: Box::new(scan.clone()),
        columns: vec![(expr, "x".to_string())],
    };
    let twice = |op, name| binary(op, column(&scan, name), column(&scan, name));
    assert!(no(project(twice(BinaryOp::Divide, "a"))).contains("fail"));
    assert!(no(project(twice(BinaryOp::Plus, "f"))).contains("NaN"));
    assert!(no(project(twice(BinaryOp::Lt, "big"))).contains("18 digits"));
    let sum = aggregate(
        AggregateFunction::Sum,
        column(&scan, "f"),
        DataType::Float64,
    );
    let sum = Rel::Aggregate {
        input: Box::new(scan.clone()),
        group_by: Vec::new(),
        aggregates: vec![sum],
    };
    assert!(no(sum).contains("order of rows"));
    // Before the file was looked at, its text may be UTF-16.
    let file = File::new(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (s TEXT); INSERT INTO t VALUES ('ä');",
    );
    let fresh = file.source_with(&[]);
    let scan = shop.scan("t", &["s"]);
    let less = binary(BinaryOp::Lt, column(&scan, "s"), text("b"));
    let support = fresh.capabilities().predicate(&less, &scan.schema());
    assert!(matches!(support, Support::No(why) if why.contains("UTF-8")));
}
