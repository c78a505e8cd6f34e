//! Windows: alone, beside each other, and below what may not be beside one.

use arrow::datatypes::DataType;
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, Bound, Expr, Frame, Function, JoinKind, Literal, Rel,
    SortKey, Window, WindowFunction,
};

use super::{
    call, col, count_by, filter, int, join, limit, numbered, op, positional, project, scan, text,
};

fn by(expr: Expr, descending: bool) -> SortKey {
    SortKey {
        expr,
        descending,
        nulls_first: descending,
    }
}

fn rank(partition_by: Vec<Expr>, order_by: Vec<SortKey>) -> Window {
    Window {
        function: WindowFunction::Rank,
        partition_by,
        order_by,
        frame: Frame::Peers,
    }
}

fn window(input: &Rel, window: Window) -> Rel {
    Rel::Window {
        input: Box::new(input.clone()),
        windows: vec![(window, "w".to_string())],
    }
}

fn only_w(rel: Rel) -> Rel {
    let columns = vec![col(&rel, "id"), col(&rel, "w")];
    project(rel, columns)
}

#[test]
fn keys_are_those_of_groups_and_sorts() {
    let t = scan("t");
    let over = |partition: &str, order: &str, descending| {
        let ranked = rank(
            vec![col(&t, partition)],
            vec![by(col(&t, order), descending)],
        );
        only_w(window(&t, ranked))
    };
    insta::assert_snapshot!(numbered(over("name", "code", true)), @r#"SELECT t0."id", rank() OVER (PARTITION BY t0."name" COLLATE "C" ORDER BY t0."code" DESC NULLS FIRST) AS c1 FROM "s"."t" AS t0"#);
    insta::assert_snapshot!(positional(over("code", "name", false)), @r#"SELECT t0.`id`, rank() OVER (PARTITION BY t0.`code` ORDER BY t0.`name` COLLATE "C" IS NULL, t0.`name` COLLATE "C") AS c1 FROM `s`.`t` AS t0"#);
    insta::assert_snapshot!(numbered(over("code", "day", false)), @r#"SELECT t0."id", rank() OVER (PARTITION BY t0."code" ORDER BY t0."day" NULLS LAST) AS c1 FROM "s"."t" AS t0 WHERE ok(t0."day")"#);
    insta::assert_snapshot!(numbered(over("f", "id", false)), @"no: the order of floats");
    insta::assert_snapshot!(numbered(over("id", "f", false)), @"no: the order of floats");
    // Constants tell no rows apart.
    let constant = rank(vec![text("x")], vec![by(int(1), false)]);
    insta::assert_snapshot!(numbered(window(&t, constant)), @"no: rank() without an order");
    let computed = call(Function::Coalesce, vec![col(&t, "code"), text("-")]);
    let computed = rank(vec![computed], vec![by(col(&t, "id"), false)]);
    insta::assert_snapshot!(positional(only_w(window(&t, computed))), @r#"SELECT t0.`id`, rank() OVER (PARTITION BY coalesce(t0.`code`, ?) COLLATE "C" ORDER BY t0.`id`) AS c1 FROM `s`.`t` AS t0 -- Text("-")"#);
}

#[test]
fn functions_and_frames() {
    let t = scan("t");
    let of = |function, frame| {
        let window_of = Window {
            function,
            partition_by: vec![],
            order_by: vec![by(col(&t, "id"), false)],
            frame,
        };
        numbered(only_w(window(&t, window_of)))
    };
    let code = || col(&t, "code");
    let longest = |filter| {
        WindowFunction::Aggregate(Aggregate {
            function: AggregateFunction::Max,
            data_type: DataType::Utf8,
            arg: Some(col(&t, "name")),
            distinct: false,
            filter,
        })
    };
    let rows = |start, end| Frame::Rows { start, end };
    insta::assert_snapshot!(of(WindowFunction::RowNumber, Frame::Peers), @r#"SELECT t0."id", row_number() OVER (ORDER BY t0."id") AS c1 FROM "s"."t" AS t0"#);
    insta::assert_snapshot!(of(WindowFunction::Lag { arg: code(), offset: 2 }, Frame::Peers), @r#"SELECT t0."id", lag(t0."code", 2) OVER (ORDER BY t0."id") AS c1 FROM "s"."t" AS t0"#);
    insta::assert_snapshot!(of(WindowFunction::FirstValue(code()), rows(Bound::Preceding(2), Bound::Following(1))), @r#"SELECT t0."id", first_value(t0."code") OVER (ORDER BY t0."id" ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS c1 FROM "s"."t" AS t0"#);
    insta::assert_snapshot!(of(WindowFunction::LastValue(code()), Frame::Partition), @r#"SELECT t0."id", last_value(t0."code") OVER (ORDER BY t0."id" ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS c1 FROM "s"."t" AS t0"#);
    insta::assert_snapshot!(of(longest(None), Frame::Peers), @r#"SELECT t0."id", max(t0."name" COLLATE "C") OVER (ORDER BY t0."id") AS c1 FROM "s"."t" AS t0"#);
    let positive = op(BinaryOp::Gt, col(&t, "id"), int(0));
    insta::assert_snapshot!(of(longest(Some(positive)), rows(Bound::Unbounded, Bound::CurrentRow)), @r#"SELECT t0."id", max(CASE WHEN t0."id" > $1 THEN t0."name" END COLLATE "C") OVER (ORDER BY t0."id" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS c1 FROM "s"."t" AS t0 -- Int(0)"#);
    let sum = WindowFunction::Aggregate(Aggregate {
        function: AggregateFunction::Sum,
        data_type: DataType::Int64,
        arg: Some(col(&t, "id")),
        distinct: false,
        filter: None,
    });
    insta::assert_snapshot!(of(sum, Frame::Peers), @"no: Sum of Int64 has no proven rendering");
}

#[test]
fn what_is_above_a_window_is_above_its_select() {
    let t = scan("t");
    let ranked = window(&t, rank(vec![], vec![by(col(&t, "code"), false)]));
    let w = col(&ranked, "w");
    let first = Expr::literal(Literal::UInt(1), DataType::UInt64);
    let first = filter(ranked.clone(), vec![op(BinaryOp::Eq, w.clone(), first)]);
    insta::assert_snapshot!(numbered(only_w(first)), @r#"SELECT t1.c0, t1.c5 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4, rank() OVER (ORDER BY t0."code" NULLS LAST) AS c5 FROM "s"."t" AS t0) AS t1 WHERE t1.c5 = $1 -- UInt(1)"#);
    insta::assert_snapshot!(numbered(count_by(only_w(ranked.clone()), vec![Expr::column(1, DataType::UInt64, false)])), @r#"SELECT t1.c1, count(*) AS c1 FROM (SELECT t0."id" AS c0, rank() OVER (ORDER BY t0."code" NULLS LAST) AS c1 FROM "s"."t" AS t0) AS t1 GROUP BY t1.c1"#);
    insta::assert_snapshot!(numbered(only_w(limit(ranked.clone(), 0, Some(3)))), @r#"SELECT t0."id", rank() OVER (ORDER BY t0."code" NULLS LAST) AS c1 FROM "s"."t" AS t0 LIMIT 3"#);
    let is_first = op(BinaryOp::Eq, w.clone(), w);
    insta::assert_snapshot!(numbered(project(ranked.clone(), vec![is_first])), @r#"SELECT t1.c5 = t1.c5 AS c0 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4, rank() OVER (ORDER BY t0."code" NULLS LAST) AS c5 FROM "s"."t" AS t0) AS t1"#);
    // Two over columns of the table stand side by side, one over the other's value does not.
    let values = || {
        [5, 6]
            .map(|i| Expr::column(i, DataType::UInt64, false))
            .to_vec()
    };
    let beside = window(
        &ranked,
        rank(vec![col(&t, "code")], vec![by(col(&t, "id"), true)]),
    );
    insta::assert_snapshot!(numbered(project(beside, values())), @r#"SELECT rank() OVER (ORDER BY t0."code" NULLS LAST) AS c0, rank() OVER (PARTITION BY t0."code" ORDER BY t0."id" DESC) AS c1 FROM "s"."t" AS t0"#);
    let of_window = rank(vec![], vec![by(col(&ranked, "w"), false)]);
    insta::assert_snapshot!(numbered(project(window(&ranked, of_window), values())), @r#"SELECT t1.c5, rank() OVER (ORDER BY t1.c5) AS c1 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4, rank() OVER (ORDER BY t0."code" NULLS LAST) AS c5 FROM "s"."t" AS t0) AS t1"#);
    let joined = join(t, ranked, JoinKind::Inner, None);
    insta::assert_snapshot!(numbered(project(joined, vec![Expr::column(10, DataType::UInt64, false)])), @r#"SELECT t2.c5 FROM "s"."t" AS t0 JOIN (SELECT t1."id" AS c0, t1."name" AS c1, t1."code" AS c2, t1."f" AS c3, t1."day" AS c4, rank() OVER (ORDER BY t1."code" NULLS LAST) AS c5 FROM "s"."t" AS t1) AS t2 ON t0."id" = t2.c0"#);
}

#[test]
fn a_window_is_over_what_is_left_below() {
    let t = scan("t");
    let ranked = |input: &Rel| {
        let ranked = rank(vec![], vec![by(col(input, "code"), false)]);
        let ranked = window(input, ranked);
        let last = col(&ranked, "w");
        numbered(project(ranked, vec![last]))
    };
    let kept = filter(t.clone(), vec![op(BinaryOp::Gt, col(&t, "id"), int(5))]);
    insta::assert_snapshot!(ranked(&kept), @r#"SELECT rank() OVER (ORDER BY t0."code" NULLS LAST) AS c0 FROM "s"."t" AS t0 WHERE t0."id" > $1 -- Int(5)"#);
    insta::assert_snapshot!(ranked(&limit(t.clone(), 0, Some(3))), @r#"SELECT rank() OVER (ORDER BY t1.c2 NULLS LAST) AS c0 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4 FROM "s"."t" AS t0 LIMIT 3) AS t1"#);
    let marked = join(t.clone(), t.clone(), JoinKind::LeftMark, None);
    let by_mark = rank(vec![col(&marked, "mark")], vec![by(col(&t, "id"), false)]);
    let by_mark = window(&marked, by_mark);
    let last = col(&by_mark, "w");
    insta::assert_snapshot!(numbered(project(by_mark, vec![last])), @r#"SELECT rank() OVER (PARTITION BY t2.c5 ORDER BY t2.c0) AS c0 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4, EXISTS (SELECT 1 FROM "s"."t" AS t1 WHERE t0."id" = t1."id") AS c5 FROM "s"."t" AS t0) AS t2"#);
}
