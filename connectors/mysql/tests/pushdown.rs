//! What is sent, computed twice: by the server, and here over the rows it stores.

mod support;

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Function, JoinKind, Literal,
    Rel, Support, UnaryOp,
};
use support::algebra::*;
use support::{Server, scan, table};

#[tokio::test]
async fn pushdown() {
    let server = Server::start().await;
    numbers(&server).await;
    dates(&server).await;
    relations(&server).await;
    left_here(&server).await;
}

async fn numbers(server: &Server) {
    server
        .database(
            "numbers",
            &[
                "CREATE TABLE n (id INT PRIMARY KEY, i TINYINT, w INT, b BIGINT, u BIGINT UNSIGNED, f FLOAT, d DOUBLE, \
                 m DECIMAL(12,2), y YEAR, k BIT(1), small TINYINT UNSIGNED)",
                "INSERT INTO n VALUES (1, -128, -2147483648, -9223372036854775808, 0, 0.1, 0.1, -9999999999.99, 0, 0, 0)",
                "INSERT INTO n VALUES (2, 127, 2147483647, 9223372036854775807, 18446744073709551615, 16777216, 1e300, \
                 9999999999.99, 2024, 1, 255)",
                "INSERT INTO n VALUES (3, 0, 0, 0, 9223372036854775808, 2.7, 0.30000000000000004, 0.01, 1970, 1, 1)",
                "INSERT INTO n (id) VALUES (4)",
                "INSERT INTO n VALUES (5, 1, 1, 1, 1, -1, -1, 1.50, 2024, 0, 7)",
            ],
        )
        .await;
    let source = server.source("numbers", &[]);
    let n = table(&source, "n").await;
    let check = |name: &'static str, op: BinaryOp, literal: Literal, wanted: &'static [i32]| {
        let (source, n) = (source.clone(), n.clone());
        async move {
            let rel = scan(&n, &["id", name]);
            let data_type = rel.schema().field(1).data_type().clone();
            let predicate = compare(
                op,
                Expr::column(1, data_type.clone(), true),
                Expr::literal(literal.clone(), data_type),
            );
            let found = ids(&source, &rel, predicate).await;
            let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
            assert_eq!(found, wanted, "{name} {op:?} {literal:?}");
        }
    };
    use BinaryOp::*;
    check("i", Lt, Literal::Int(0), &[1]).await;
    check("b", Eq, Literal::Int(i64::MIN), &[1]).await;
    check("b", GtEq, Literal::Int(i64::MAX), &[2]).await;
    check("u", Eq, Literal::UInt(u64::MAX), &[2]).await;
    check("u", Gt, Literal::UInt(i64::MAX as u64), &[2, 3]).await;
    check("f", Eq, Literal::Float(f64::from(0.1_f32)), &[1]).await;
    check("f", Eq, Literal::Float(f64::from(2.7_f32)), &[3]).await;
    check("f", Gt, Literal::Float(f64::from(0.1_f32)), &[2, 3]).await;
    check("d", Eq, Literal::Float(0.1 + 0.2), &[3]).await;
    check("d", NotEq, Literal::Float(0.3), &[1, 2, 3, 5]).await;
    check("m", Eq, Literal::Decimal(-999_999_999_999), &[1]).await;
    check("m", LtEq, Literal::Decimal(1), &[1, 3]).await;
    // A year is a number, not one of this century.
    check("y", Lt, Literal::Int(24), &[1]).await;
    check("y", Eq, Literal::Int(24), &[]).await;
    check("y", Eq, Literal::Int(2024), &[2, 5]).await;
    check("k", Eq, Literal::Boolean(true), &[2, 3]).await;

    let rel = scan(&n, &["id", "w", "m", "small", "k", "i"]);
    let w = || cast(Expr::column(1, DataType::Int32, true), DataType::Int64);
    let m = || Expr::column(2, DataType::Decimal128(12, 2), true);
    let small = || Expr::column(3, DataType::UInt8, true);
    let k = || Expr::column(4, DataType::Boolean, true);
    let when = |value: Expr, then: Expr, otherwise: Expr, data_type: DataType| {
        expr(
            ExprKind::Case {
                branches: vec![(value, then)],
                otherwise: Some(Box::new(otherwise)),
            },
            data_type,
        )
    };
    let long = |v| int(v, DataType::Int64);
    let computed = vec![
        binary(Plus, w(), long(1), DataType::Int64),
        binary(Multiply, w(), w(), DataType::Int64),
        binary(
            Minus,
            cast(small(), DataType::Int16),
            int(300, DataType::Int16),
            DataType::Int32,
        ),
        binary(Multiply, m(), m(), DataType::Decimal128(25, 4)),
        binary(
            Minus,
            m(),
            Expr::literal(Literal::Decimal(5), DataType::Decimal128(3, 1)),
            DataType::Decimal128(13, 2),
        ),
        cast(
            Expr::column(1, DataType::Int32, true),
            DataType::Decimal128(12, 2),
        ),
        cast(Expr::column(1, DataType::Int32, true), DataType::Float64),
        when(k(), long(1), w(), DataType::Int64),
        expr(
            ExprKind::Unary {
                op: UnaryOp::Not,
                arg: Box::new(k()),
            },
            DataType::Boolean,
        ),
        expr(
            ExprKind::Unary {
                op: UnaryOp::IsNotTrue,
                arg: Box::new(k()),
            },
            DataType::Boolean,
        ),
        call(Function::Abs, vec![m()], DataType::Decimal128(12, 2)),
        call(
            Function::Coalesce,
            vec![
                m(),
                Expr::literal(Literal::Decimal(7), DataType::Decimal128(12, 2)),
            ],
            DataType::Decimal128(12, 2),
        ),
    ];
    let rows = exact(&source, project(rel.clone(), computed)).await;
    let row = |i: usize| -> Vec<&str> {
        rows[i]
            .iter()
            .map(|v| v.as_deref().unwrap_or("NULL"))
            .collect()
    };
    assert_eq!(
        row(0),
        [
            "-2147483647",
            "4611686018427387904",
            "-300",
            "99999999999800000000.0001",
            "-10000000000.49",
            "-2147483648.00",
            "-2147483648.0",
            "-2147483648",
            "true",
            "true",
            "9999999999.99",
            "-9999999999.99"
        ]
    );
    assert_eq!(
        row(1),
        [
            "2147483648",
            "4611686014132420609",
            "-45",
            "99999999999800000000.0001",
            "9999999999.49",
            "2147483647.00",
            "2147483647.0",
            "1",
            "false",
            "false",
            "9999999999.99",
            "9999999999.99"
        ]
    );
    assert_eq!(
        row(3),
        [
            "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "true", "NULL",
            "0.07"
        ]
    );

    let aggregate = |function, arg, data_type, filter| {
        (
            Aggregate {
                function,
                arg,
                distinct: false,
                filter,
                data_type,
            },
            "x".to_string(),
        )
    };
    let positive = compare(Gt, w(), long(0));
    let sums = |input: Rel| Rel::Aggregate {
        input: Box::new(input),
        group_by: Vec::new(),
        aggregates: vec![
            aggregate(AggregateFunction::Count, None, DataType::Int64, None),
            aggregate(
                AggregateFunction::Count,
                None,
                DataType::Int64,
                Some(positive.clone()),
            ),
            aggregate(
                AggregateFunction::Sum,
                Some(Expr::column(1, DataType::Int32, true)),
                DataType::Int64,
                None,
            ),
            aggregate(
                AggregateFunction::Sum,
                Some(m()),
                DataType::Decimal128(22, 2),
                Some(positive.clone()),
            ),
            aggregate(
                AggregateFunction::Sum,
                Some(small()),
                DataType::UInt64,
                None,
            ),
            aggregate(
                AggregateFunction::Min,
                Some(m()),
                DataType::Decimal128(12, 2),
                None,
            ),
            aggregate(
                AggregateFunction::BoolAnd,
                Some(k()),
                DataType::Boolean,
                None,
            ),
            aggregate(
                AggregateFunction::BoolOr,
                Some(k()),
                DataType::Boolean,
                None,
            ),
        ],
    };
    let all = exact(&source, sums(rel.clone())).await;
    let shown: Vec<&str> = all[0]
        .iter()
        .map(|v| v.as_deref().unwrap_or("NULL"))
        .collect();
    assert_eq!(
        shown,
        [
            "5",
            "2",
            "0",
            "10000000001.49",
            "263",
            "-9999999999.99",
            "false",
            "true"
        ]
    );
    let none = filter(rel, compare(Gt, w(), long(1 << 40)));
    let all = exact(&source, sums(none)).await;
    let shown: Vec<&str> = all[0]
        .iter()
        .map(|v| v.as_deref().unwrap_or("NULL"))
        .collect();
    assert_eq!(
        shown,
        ["0", "0", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"]
    );
}

async fn dates(server: &Server) {
    server
        .database(
            "dates",
            &[
                "CREATE TABLE d (id INT PRIMARY KEY, d DATE, t DATETIME(6), ts TIMESTAMP NULL, ti TIME(6), KEY (d), KEY (t))",
                "INSERT INTO d VALUES (1, '2024-02-29', '2024-02-29 23:59:59.999999', '2024-03-31 01:30:00', '10:11:12.5'), \
                 (2, '0001-01-01', '1969-12-31 00:00:00', '1970-01-01 00:00:01', '00:00:00'), \
                 (3, '2021-01-03', '2021-01-03 12:00:00.5', '2021-12-31 23:59:59', '23:59:59.999999'), \
                 (4, NULL, NULL, NULL, NULL)",
            ],
        )
        .await;
    let source = server.source("dates", &[]);
    let d = table(&source, "d").await;
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let check = |name: &'static str, op: BinaryOp, value: i64, wanted: &'static [i32]| {
        let (source, d) = (source.clone(), d.clone());
        async move {
            let rel = scan(&d, &["id", name]);
            let data_type = rel.schema().field(1).data_type().clone();
            let predicate = compare(
                op,
                Expr::column(1, data_type.clone(), true),
                int(value, data_type),
            );
            let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
            assert_eq!(
                ids(&source, &rel, predicate).await,
                wanted,
                "{name} {op:?} {value}"
            );
        }
    };
    use BinaryOp::*;
    check("d", Eq, 19_782, &[1]).await;
    check("d", Lt, 0, &[2]).await;
    check("t", Eq, 1_709_251_199_999_999, &[1]).await;
    check("t", GtEq, 1_709_251_199_999_999, &[1]).await;
    check("t", Lt, 0, &[2]).await;
    // In March, in an hour that some zones do not have.
    check("ts", Eq, 1_711_848_600_000_000, &[1]).await;
    check("ti", Gt, 36_672_500_000 - 1, &[1, 3]).await;

    let rel = scan(&d, &["d", "t"]);
    let day = || Expr::column(0, DataType::Date32, true);
    let time = || Expr::column(1, micros.clone(), true);
    let part = |part, arg| call(Function::DatePart(part), vec![arg], DataType::Int32);
    let trunc = |part, arg| call(Function::DateTrunc(part), vec![arg], micros.clone());
    use DatePart::*;
    let rows = exact(
        &source,
        project(
            rel,
            vec![
                part(Year, day()),
                part(Quarter, day()),
                part(Month, day()),
                part(Week, day()),
                part(Day, day()),
                part(DayOfWeek, day()),
                part(DayOfYear, day()),
                part(Hour, time()),
                part(Minute, time()),
                part(Second, time()),
                trunc(Year, time()),
                trunc(Month, time()),
                trunc(Day, time()),
                trunc(Hour, time()),
                trunc(Minute, time()),
                trunc(Second, time()),
                cast(day(), micros.clone()),
            ],
        ),
    )
    .await;
    let row = |i: usize| -> Vec<&str> {
        rows[i]
            .iter()
            .map(|v| v.as_deref().unwrap_or("NULL"))
            .collect()
    };
    assert_eq!(
        row(0),
        [
            "2024",
            "1",
            "2",
            "9",
            "29",
            "4",
            "60",
            "23",
            "59",
            "59",
            "2024-01-01T00:00:00",
            "2024-02-01T00:00:00",
            "2024-02-29T00:00:00",
            "2024-02-29T23:00:00",
            "2024-02-29T23:59:00",
            "2024-02-29T23:59:59",
            "2024-02-29T00:00:00"
        ]
    );
    assert_eq!(row(1)[..7], ["1", "1", "1", "1", "1", "1", "1"]);
    assert_eq!(row(2)[3..6], ["53", "3", "0"]);
    assert!(rows[3].iter().all(Option::is_none));
}

async fn relations(server: &Server) {
    server
        .database(
            "relations",
            &[
                "CREATE TABLE a (id INT PRIMARY KEY, v INT)",
                "CREATE TABLE b (id INT PRIMARY KEY, v INT)",
                "INSERT INTO a VALUES (1, 10), (2, 20), (3, NULL)",
                "INSERT INTO b VALUES (7, 10), (8, 10), (9, 30)",
            ],
        )
        .await;
    let source = server.source("relations", &[]);
    let (a, b) = (table(&source, "a").await, table(&source, "b").await);
    let v = || Expr::column(1, DataType::Int32, true);
    let join = |kind| Rel::Join {
        left: Box::new(scan(&a, &[])),
        right: Box::new(scan(&b, &[])),
        kind,
        on: vec![(v(), v())],
        filter: None,
    };
    let count = |rel: Rel| {
        let source = source.clone();
        async move { exact(&source, rel).await.len() }
    };
    assert_eq!(count(join(JoinKind::Inner)).await, 2);
    assert_eq!(count(join(JoinKind::Left)).await, 4);
    assert_eq!(count(join(JoinKind::Right)).await, 3);
    assert_eq!(count(join(JoinKind::LeftSemi)).await, 1);
    assert_eq!(count(join(JoinKind::LeftAnti)).await, 2);
    assert!(matches!(
        source.capabilities().node(&join(JoinKind::Full)),
        Support::No(_)
    ));
    let union = Rel::UnionAll {
        schema: scan(&a, &[]).schema(),
        inputs: vec![scan(&a, &[]), scan(&b, &[]), scan(&a, &[])],
    };
    assert_eq!(count(union.clone()).await, 9);
    let limited = |skip, fetch| Rel::Limit {
        input: Box::new(union.clone()),
        skip,
        fetch,
    };
    assert_eq!(count(limited(2, None)).await, 7);
    assert_eq!(count(limited(2, Some(3))).await, 3);
    // A group of a limit of a union, filtered.
    let grouped = Rel::Aggregate {
        input: Box::new(limited(0, Some(9))),
        group_by: vec![(v(), "v".into())],
        aggregates: vec![(
            Aggregate {
                function: AggregateFunction::Count,
                arg: None,
                distinct: false,
                filter: None,
                data_type: DataType::Int64,
            },
            "n".into(),
        )],
    };
    let twice = compare(
        BinaryOp::Eq,
        Expr::column(1, DataType::Int64, false),
        int(2, DataType::Int64),
    );
    let mut rows = exact(&source, filter(grouped, twice)).await;
    rows.sort();
    assert_eq!(
        rows,
        [
            vec![None, Some("2".to_string())],
            vec![Some("20".into()), Some("2".into())]
        ]
    );
}

/// What stays in the engine, and says why.
async fn left_here(server: &Server) {
    let opaque = if server.brand.is_mysql() {
        "json"
    } else {
        "uuid"
    };
    server
        .database(
            "here",
            &[&format!("CREATE TABLE h (id INT PRIMARY KEY, w INT, b BIGINT, d DOUBLE, t VARCHAR(10), day DATE, u {opaque}, m DECIMAL(38,2))")],
        )
        .await;
    let source = server.source("here", &[("columns", "h.day: null")]);
    let h = table(&source, "h").await;
    let schema = h.arrow_schema();
    let column = |name: &str| {
        let i = schema.index_of(name).unwrap();
        Expr::column(i, schema.field(i).data_type().clone(), true)
    };
    let (utf8, boolean) = (DataType::Utf8, DataType::Boolean);
    use BinaryOp::*;
    let zero = |e: Expr| compare(Eq, e, int(0, DataType::Int64));
    let b = || column("b");
    let refused = vec![
        (
            "division",
            zero(binary(
                Divide,
                b(),
                int(2, DataType::Int64),
                DataType::Int64,
            )),
        ),
        (
            "modulo",
            zero(binary(
                Modulo,
                b(),
                int(2, DataType::Int64),
                DataType::Int64,
            )),
        ),
        (
            "overflow",
            zero(binary(Plus, b(), int(1, DataType::Int64), DataType::Int64)),
        ),
        (
            "lower()",
            compare(
                Eq,
                call(Function::Lower, vec![column("t")], utf8.clone()),
                text("a"),
            ),
        ),
        (
            "upper()",
            compare(
                Eq,
                call(Function::Upper, vec![column("t")], utf8.clone()),
                text("A"),
            ),
        ),
        (
            "not finite",
            compare(
                Lt,
                column("d"),
                Expr::literal(Literal::Float(f64::NAN), DataType::Float64),
            ),
        ),
        (
            "read as",
            compare(Eq, column("day"), int(0, DataType::Date32)),
        ),
        (
            "read as",
            expr(
                ExprKind::Unary {
                    op: UnaryOp::IsNull,
                    arg: Box::new(column("day")),
                },
                boolean.clone(),
            ),
        ),
        (opaque, compare(Eq, column("u"), text("x"))),
        ("escapes nothing", like(column("t"), "a\\b", false)),
        ("escapes nothing", like(column("t"), "a\\", false)),
        (
            "cast",
            compare(
                Eq,
                cast(column("t"), DataType::Int64),
                int(0, DataType::Int64),
            ),
        ),
        (
            "constant",
            compare(
                Eq,
                call(
                    Function::Substring,
                    vec![column("t"), int(-1, DataType::Int64)],
                    utf8,
                ),
                text("a"),
            ),
        ),
        (
            "range",
            compare(
                Eq,
                cast(column("w"), DataType::Date32),
                int(10_000_000, DataType::Date32),
            ),
        ),
    ];
    for (why, predicate) in refused {
        match source.capabilities().predicate(&predicate, &schema) {
            Support::No(said) => assert!(said.contains(why) || why == "range", "{why}: {said}"),
            other => panic!("{why}: {other:?}"),
        }
    }
    let sum = |name: &str, data_type| Rel::Aggregate {
        input: Box::new(scan(&h, &[])),
        group_by: Vec::new(),
        aggregates: vec![(
            Aggregate {
                function: AggregateFunction::Sum,
                arg: Some(column(name)),
                distinct: false,
                filter: None,
                data_type,
            },
            "s".into(),
        )],
    };
    for rel in [
        sum("d", DataType::Float64),
        sum("m", DataType::Decimal128(38, 2)),
    ] {
        assert!(matches!(source.capabilities().node(&rel), Support::No(_)));
    }
    // Before the first contact nothing is known of text.
    let fresh = server.source("here", &[]);
    let equal = compare(Eq, column("t"), text("a"));
    assert!(matches!(
        fresh.capabilities().predicate(&equal, &schema),
        Support::No(_)
    ));
    assert_eq!(
        source.capabilities().predicate(&equal, &schema),
        Support::Exact
    );
    // A pass-through of a column with a decision is no obstacle.
    assert_eq!(
        source.capabilities().node(&scan(&h, &["day", "u"])),
        Support::Exact
    );
}
