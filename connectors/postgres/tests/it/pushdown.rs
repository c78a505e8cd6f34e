use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Fragment, Function, JoinKind,
    Literal, Rel, SortKey, Support, Table,
};

use crate::fixture::*;

async fn texts(
    name: &str,
) -> (
    Database,
    Vec<Table>,
    std::sync::Arc<dyn belvedere_connector::Source>,
) {
    let db = Database::new(name).await;
    db.icu_collation("ci", "locale = 'und-u-ks-level2', deterministic = false")
        .await;
    db.icu_collation("de", "locale = 'de-DE'").await;
    db.run(
        r#"
        CREATE TABLE t (id int8, c text COLLATE "C", x text COLLATE "POSIX", d text COLLATE de, n text COLLATE ci, p char(4),
                        u uuid, i int4, b int8, f float8, m numeric(10,2), q numeric, day date,
                        at timestamp, z timestamptz, ok bool);
        INSERT INTO t VALUES
          (1, 'a', 'a', 'a', 'a', 'a', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 2147483647, 9223372036854775807,
           0, 1.25, 1, '2026-02-28', '2026-02-28 23:59:59.999999', '2026-02-28 23:59:59.999999Z', true),
          (2, 'B', 'B', 'B', 'B', 'B', NULL, -2147483648, 9223372036854775807,
           '-0', -1.25, 2.5, '0044-03-15 BC', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5Z', false),
          (3, 'ä', 'ä', 'ä', 'ä', 'ä', NULL, 0, -1, 'NaN', 0, 0, '2024-12-30', '2024-12-30', '2024-12-30Z', NULL),
          (4, 'A', 'A', 'A', 'A', 'A ', 'ffffffff-9c0b-4ef8-bb6d-6bb9bd380a11', 7, 5, 1.5, 99999999.99, -3,
           '0001-01-01', '0001-01-01', '0001-01-01Z', true),
          (5, '', '', '', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
        "#,
    )
    .await;
    let (source, tables) = db.discovered(&[]).await;
    (db, tables, source)
}

fn call(function: Function, args: Vec<Expr>, data_type: DataType) -> Expr {
    Expr {
        kind: ExprKind::Call { function, args },
        data_type,
        nullable: true,
    }
}

fn sorted(input: Rel, keys: Vec<(Expr, bool, bool)>, fetch: Option<u64>) -> Rel {
    Rel::Sort {
        input: Box::new(input),
        keys: keys
            .into_iter()
            .map(|(expr, descending, nulls_first)| SortKey {
                expr,
                descending,
                nulls_first,
            })
            .collect(),
        fetch,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_compares_by_bytes_whatever_its_collation() {
    let (_db, tables, source) = texts("bytes").await;
    let t = table(&tables, "t");
    for name in ["c", "x", "d", "n", "p"] {
        let c = || column(t, name);
        let ids = async |predicate: Expr| {
            let rel = filter(scan_of(t), predicate);
            lines(
                &read(&source, project(rel, vec![column(t, "id")]))
                    .await
                    .unwrap(),
            )
        };
        assert_eq!(
            ids(compare(c(), BinaryOp::Eq, text("a"))).await,
            ["1"],
            "{name}"
        );
        assert_eq!(
            ids(compare(c(), BinaryOp::Gt, text("A"))).await,
            ["1", "2", "3"],
            "{name}"
        );
        assert_eq!(
            ids(compare(c(), BinaryOp::NotEq, text("a"))).await,
            ["2", "3", "4", "5"]
        );
        // A blank at the end counts.
        assert!(ids(compare(c(), BinaryOp::Eq, text("A "))).await.is_empty());
        let within = Expr {
            kind: ExprKind::InList {
                arg: Box::new(c()),
                list: vec![text("A"), text("ä"), text("a ")],
                negated: false,
            },
            data_type: DataType::Boolean,
            nullable: true,
        };
        assert_eq!(ids(within).await, ["3", "4"], "{name}");
        let like = Expr {
            kind: ExprKind::Like {
                arg: Box::new(c()),
                pattern: Box::new(text("_")),
                escape: None,
                negated: false,
                case_insensitive: false,
            },
            data_type: DataType::Boolean,
            nullable: true,
        };
        assert_eq!(ids(like).await, ["1", "2", "3", "4"], "{name}");
        let order = sorted(scan_of(t), vec![(c(), true, false)], Some(3));
        let order = read(&source, order).await.unwrap();
        assert_eq!(
            lines(&order.project(&[0]).unwrap()),
            ["3", "1", "2"],
            "{name}"
        );
        let groups = Rel::Aggregate {
            input: Box::new(scan_of(t)),
            group_by: vec![(c(), "g".into())],
            aggregates: vec![(count_all(), "n".into())],
        };
        assert_eq!(read(&source, groups).await.unwrap().num_rows(), 5, "{name}");
        let max = Rel::Aggregate {
            input: Box::new(scan_of(t)),
            group_by: vec![],
            aggregates: vec![(
                aggregate(AggregateFunction::Max, c(), DataType::Utf8),
                "m".into(),
            )],
        };
        assert_eq!(lines(&read(&source, max).await.unwrap()), ["ä"], "{name}");
        // PostgreSQL refuses to compare two columns whose collations differ, unless one is stated.
        for other in ["c", "x", "d", "n", "p"] {
            let with = column(t, other);
            let same = compare(c(), BinaryOp::IsNotDistinctFrom, with.clone());
            assert_eq!(ids(same).await.len(), 5, "{name} {other}");
            let within = Expr {
                kind: ExprKind::InList {
                    arg: Box::new(c()),
                    list: vec![text("z"), with.clone(), column(t, "c")],
                    negated: false,
                },
                data_type: DataType::Boolean,
                nullable: true,
            };
            assert_eq!(ids(within).await.len(), 5, "{name} {other}");
            let join = Rel::Join {
                left: Box::new(scan_of(t)),
                right: Box::new(scan_of(t)),
                kind: JoinKind::Full,
                on: vec![(c(), with)],
                filter: None,
            };
            let join = project(join, vec![column(t, "id")]);
            assert_eq!(
                read(&source, join).await.unwrap().num_rows(),
                5,
                "{name} {other}"
            );
        }
    }
    let ids = async |predicate: Expr| {
        read(&source, filter(scan_of(t), predicate))
            .await
            .unwrap()
            .num_rows()
    };
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    assert_eq!(
        ids(compare(column(t, "u"), BinaryOp::Eq, text(uuid))).await,
        1
    );
    assert_eq!(
        ids(compare(text(uuid), BinaryOp::Eq, column(t, "u"))).await,
        1
    );
    assert_eq!(
        ids(compare(
            column(t, "u"),
            BinaryOp::Eq,
            text(&uuid.to_uppercase())
        ))
        .await,
        0
    );
    assert_eq!(
        ids(compare(column(t, "u"), BinaryOp::Lt, text("b"))).await,
        1
    );
}

fn count_all() -> Aggregate {
    Aggregate {
        function: AggregateFunction::Count,
        arg: None,
        distinct: false,
        filter: None,
        data_type: DataType::Int64,
    }
}

fn aggregate(function: AggregateFunction, arg: Expr, data_type: DataType) -> Aggregate {
    Aggregate {
        function,
        arg: Some(arg),
        distinct: false,
        filter: None,
        data_type,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_are_the_engines() {
    let (_db, tables, source) = texts("aggregates").await;
    let t = table(&tables, "t");
    use AggregateFunction::*;
    let cases = [
        (aggregate(Sum, column(t, "b"), DataType::Int64), "2"),
        (aggregate(Sum, column(t, "i"), DataType::Int64), "6"),
        (
            aggregate(Sum, column(t, "m"), DataType::Decimal128(20, 2)),
            "99999999.99",
        ),
        (aggregate(Min, column(t, "ok"), DataType::Boolean), "false"),
        (aggregate(Max, column(t, "ok"), DataType::Boolean), "true"),
        (
            aggregate(BoolAnd, column(t, "ok"), DataType::Boolean),
            "false",
        ),
        (
            aggregate(Min, column(t, "day"), DataType::Date32),
            "-0043-03-15",
        ),
        (
            aggregate(Max, column(t, "q"), DataType::Decimal128(38, 20)),
            "2.50000000000000000000",
        ),
        (aggregate(Count, column(t, "u"), DataType::Int64), "2"),
        (
            Aggregate {
                filter: Some(compare(column(t, "id"), BinaryOp::Gt, int(2))),
                ..count_all()
            },
            "3",
        ),
    ];
    let rel = Rel::Aggregate {
        input: Box::new(scan_of(t)),
        group_by: vec![],
        aggregates: cases
            .iter()
            .enumerate()
            .map(|(i, (a, _))| (a.clone(), format!("a{i}")))
            .collect(),
    };
    let row = lines(&read(&source, rel).await.unwrap());
    let wanted: Vec<&str> = cases.iter().map(|(_, w)| *w).collect();
    assert_eq!(row, [wanted.join("|")]);

    let refused = [
        (aggregate(Sum, column(t, "f"), DataType::Float64), "order"),
        (aggregate(Max, column(t, "f"), DataType::Float64), "-0.0"),
        (
            aggregate(Sum, column(t, "q"), DataType::Decimal128(38, 20)),
            "outgrow",
        ),
    ];
    for (a, why) in refused {
        let rel = Rel::Aggregate {
            input: Box::new(scan_of(t)),
            group_by: vec![],
            aggregates: vec![(a, "a".into())],
        };
        match source.capabilities().node(&rel) {
            Support::No(reason) => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_the_engines() {
    let (_db, tables, source) = texts("expressions").await;
    let t = table(&tables, "t");
    let c = |name: &str| column(t, name);
    let part = |part, arg| call(Function::DatePart(part), vec![arg], DataType::Int32);
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let trunc = |p| call(Function::DateTrunc(p), vec![c("at")], micros.clone());
    let cast = |arg: Expr, data_type| Expr {
        nullable: arg.nullable,
        kind: ExprKind::Cast { arg: Box::new(arg) },
        data_type,
    };
    let wide = cast(c("i"), DataType::Int64);
    let one = Expr::literal(Literal::Decimal(100), DataType::Decimal128(3, 2));
    let cases: Vec<(Expr, [&str; 2])> = vec![
        (part(DatePart::Year, c("day")), ["2026", "-43"]),
        (part(DatePart::Week, c("day")), ["9", "11"]),
        (part(DatePart::DayOfWeek, c("at")), ["6", "3"]),
        (part(DatePart::Second, c("at")), ["59", "59"]),
        (part(DatePart::Hour, c("z")), ["23", "23"]),
        (
            trunc(DatePart::Quarter),
            ["2026-01-01T00:00:00", "1969-10-01T00:00:00"],
        ),
        (
            trunc(DatePart::Second),
            ["2026-02-28T23:59:59", "1969-12-31T23:59:59"],
        ),
        (
            cast(c("day"), micros.clone()),
            ["2026-02-28T00:00:00", "-0043-03-15T00:00:00"],
        ),
        (
            cast(c("at"), DataType::Date32),
            ["2026-02-28", "1969-12-31"],
        ),
        (
            binary(wide.clone(), BinaryOp::Multiply, wide, DataType::Int64),
            ["4611686014132420609", "4611686018427387904"],
        ),
        (
            binary(c("b"), BinaryOp::Modulo, int(-10), DataType::Int64),
            ["7", "7"],
        ),
        (
            binary(one, BinaryOp::Minus, c("m"), DataType::Decimal128(11, 2)),
            ["-0.25", "2.25"],
        ),
        (
            call(Function::CharacterLength, vec![c("p")], DataType::Int32),
            ["1", "1"],
        ),
        (
            call(
                Function::Substring,
                vec![text("abcdef"), int(-1), int(4)],
                DataType::Utf8,
            ),
            ["ab", "ab"],
        ),
        (
            call(Function::Left, vec![text("abc"), int(-1)], DataType::Utf8),
            ["ab", "ab"],
        ),
        (
            binary(c("c"), BinaryOp::Concat, c("n"), DataType::Utf8),
            ["aa", "BB"],
        ),
        (
            call(Function::Coalesce, vec![c("u"), c("d")], DataType::Utf8),
            ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "B"],
        ),
        (
            call(Function::StrPos, vec![c("n"), text("B")], DataType::Int32),
            ["0", "1"],
        ),
    ];
    let exprs = cases.iter().map(|(e, _)| e.clone()).collect();
    let two = filter(scan_of(t), compare(c("id"), BinaryOp::LtEq, int(2)));
    let rows = read(&source, project(two, exprs)).await.unwrap();
    for (i, (expr, wanted)) in cases.iter().enumerate() {
        assert_eq!(lines(&rows.project(&[i]).unwrap()), *wanted, "{expr:?}");
    }

    let refused = [
        binary(c("b"), BinaryOp::Plus, int(1), DataType::Int64),
        binary(c("i"), BinaryOp::Divide, c("i"), DataType::Int32),
        binary(c("f"), BinaryOp::Plus, c("f"), DataType::Float64),
        call(Function::Lower, vec![c("c")], DataType::Utf8),
        cast(c("c"), DataType::Int32),
        cast(c("b"), DataType::Int32),
    ];
    for expr in refused {
        match source
            .capabilities()
            .node(&project(scan_of(t), vec![expr.clone()]))
        {
            Support::No(_) => {}
            other => panic!("{expr:?}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_compare_as_numbers() {
    let (_db, tables, source) = texts("floats").await;
    let t = table(&tables, "t");
    let float = |f| Expr::literal(Literal::Float(f), DataType::Float64);
    for (op, f) in [
        (BinaryOp::Gt, 1.0),
        (BinaryOp::Eq, 0.0),
        (BinaryOp::NotEq, -0.0),
    ] {
        let support = source
            .capabilities()
            .predicate(&compare(column(t, "f"), op, float(f)), &t.arrow_schema());
        assert_eq!(support, Support::Exact);
    }
    let above = filter(
        scan_of(t),
        compare(column(t, "f"), BinaryOp::Gt, float(1.0)),
    );
    let rows = read(&source, project(above, vec![column(t, "f")]))
        .await
        .unwrap();
    assert_eq!(lines(&rows), ["NaN", "1.5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_one_select_with_its_constants_bound() {
    let (_db, tables, source) = texts("explain").await;
    let t = table(&tables, "t");
    let rel = sorted(
        filter(
            scan_of(t),
            compare(column(t, "d"), BinaryOp::Eq, text("it's")),
        ),
        vec![(column(t, "q"), true, false)],
        Some(5),
    );
    let sql = source.describe(&Fragment::new(project(rel, vec![column(t, "u")])));
    assert!(!sql.contains("it's"), "{sql}");
    assert!(sql.contains(r#"t0."d" = CAST($1 AS text)"#), "{sql}");
    assert!(sql.contains("DESC NULLS LAST LIMIT 5"), "{sql}");
}

/// What is computed wide enough is assigned there as here; what wraps here would be an error there.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_do_not_fit_their_column_are_refused_there_too() {
    let db = Database::new("assigned").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, qty int, big int8)")
        .await;
    let (source, tables) = db.discovered(&[]).await;
    let t = table(&tables, "t");
    let schema = t.arrow_schema();
    let cast = |arg: Expr, data_type| Expr {
        nullable: arg.nullable,
        kind: ExprKind::Cast { arg: Box::new(arg) },
        data_type,
    };
    let more = |value| binary(value, BinaryOp::Plus, int(1), DataType::Int64);
    let stores = |name: &str, value: Expr| {
        let assigned = [(schema.index_of(name).unwrap(), value)];
        source.capabilities().stores(&assigned, &schema).is_exact()
    };
    let wide = cast(column(t, "qty"), DataType::Int64);
    assert!(stores("qty", cast(more(wide), DataType::Int32)));
    assert!(!stores("big", more(column(t, "big"))));
    let big = cast(more(column(t, "big")), DataType::Int32);
    assert!(!stores("qty", big));
}
