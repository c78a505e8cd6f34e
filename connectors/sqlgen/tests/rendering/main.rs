//! The text of each node, alone and merged, in two dialects: one numbers its placeholders, one does not.

mod windows;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, COLLATION, Capabilities, Expr, ExprKind, Fragment,
    Function, JoinKind, Literal, NATIVE_TYPE, Rel, SortKey, Support, TableRef, UnaryOp,
};
use belvedere_sqlgen::{
    Class, Dialect, Facts, Form, Limits, LiteralForm, Nulls, Operand, Operation, Position, Read,
    Rendering, Rule, SqlCapabilities, Use, ast, render, sql,
};

/// Text compares by bytes where it says so; `checked` columns need a guard; LIKE is case-insensitive.
#[derive(Debug, Clone, Copy)]
struct Numbered;

#[derive(Debug, Clone, Copy)]
struct Positional;

const RULES: &[Rule] = &[
    Rule {
        operation: Operation::Call(Function::Lower),
        of: &[Class::Text],
        form: Form::Exact(|call| Ok(sql::call("lower", call.sql()))),
    },
    Rule {
        operation: Operation::Like,
        of: &[Class::Text],
        form: Form::Superset("LIKE ignores case", |call| {
            Ok(sql::call("loosely_like", call.sql()))
        }),
    },
    Rule {
        operation: Operation::Binary(BinaryOp::Divide),
        of: &[],
        form: Form::No("a division can fail"),
    },
];

fn text_key(operand: &Operand<'_>) -> Result<ast::Expr, String> {
    let value = operand.sql.clone();
    match (Class::of(operand.data_type()), &operand.facts.collation) {
        (Class::Text, Some(name)) if name == "C" => Ok(value),
        (Class::Text, _) if operand.as_literal().is_none() => {
            Ok(sql::collate(value, sql::quoted("C", '"')))
        }
        (Class::Float, _) => Err("the order of floats".to_string()),
        _ => Ok(value),
    }
}

impl Dialect for Numbered {
    fn placeholder(&self, n: usize) -> String {
        format!("${n}")
    }

    fn literal(&self, literal: &Literal, _: &DataType) -> Result<LiteralForm, String> {
        Ok(match literal {
            Literal::Null => LiteralForm::inline(sql::null()),
            _ => LiteralForm::Bind,
        })
    }

    fn read(&self, _: &DataType, facts: &Facts, column: ast::Expr) -> Result<Read, String> {
        let checked = facts.native_type.as_deref() == Some("checked");
        Ok(Read {
            guard: checked.then(|| sql::call("ok", vec![column.clone()])),
            sql: column,
            facts: facts.clone(),
        })
    }

    fn rules(&self) -> &[Rule] {
        RULES
    }

    fn key(&self, operand: &Operand<'_>, _: Use) -> Result<ast::Expr, String> {
        text_key(operand)
    }
}

impl Dialect for Positional {
    fn quote(&self) -> char {
        '`'
    }

    fn placeholder(&self, _: usize) -> String {
        "?".to_string()
    }

    fn positional(&self) -> bool {
        true
    }

    fn literal(&self, _: &Literal, _: &DataType) -> Result<LiteralForm, String> {
        Ok(LiteralForm::Bind)
    }

    fn rules(&self) -> &[Rule] {
        RULES
    }

    fn key(&self, operand: &Operand<'_>, _: Use) -> Result<ast::Expr, String> {
        text_key(operand)
    }

    fn compare(
        &self,
        op: BinaryOp,
        left: &Operand<'_>,
        right: &Operand<'_>,
        _: Position,
    ) -> Option<Result<Rendering, String>> {
        let loose = op == BinaryOp::Eq && left.facts.collation.as_deref() == Some("loose");
        loose.then(|| {
            let equal = |left| sql::binary(left, ast::BinaryOperator::Eq, right.sql.clone());
            Ok(Rendering::exact(sql::and(
                equal(left.sql.clone()),
                equal(text_key(left)?),
            )))
        })
    }

    fn nulls(&self) -> Nulls {
        Nulls::Lowest
    }

    fn no_limit(&self) -> Option<&'static str> {
        Some("18446744073709551615")
    }

    fn join(&self, kind: JoinKind, _: bool, _: bool) -> Result<(), String> {
        match kind {
            JoinKind::Full => Err("no full joins".to_string()),
            _ => Ok(()),
        }
    }
}

fn field(name: &str, data_type: DataType, native: &str, collation: Option<&str>) -> Field {
    let mut metadata = HashMap::from([(NATIVE_TYPE.to_string(), native.to_string())]);
    metadata.extend(collation.map(|name| (COLLATION.to_string(), name.to_string())));
    Field::new(name, data_type, true).with_metadata(metadata)
}

fn scan(name: &str) -> Rel {
    Rel::Scan {
        table: TableRef {
            schema: "s".to_string(),
            name: name.to_string(),
        },
        schema: Arc::new(Schema::new(vec![
            field("id", DataType::Int64, "int", None).with_nullable(false),
            field("name", DataType::Utf8, "text", Some("loose")),
            field("code", DataType::Utf8, "text", Some("C")),
            field("f", DataType::Float64, "double", None),
            field("day", DataType::Date32, "checked", None),
        ])),
    }
}

fn col(rel: &Rel, name: &str) -> Expr {
    let schema = rel.schema();
    let index = schema.index_of(name).unwrap();
    let field = schema.field(index);
    Expr::column(index, field.data_type().clone(), field.is_nullable())
}

fn op(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    let data_type = match op.is_arithmetic() {
        true => left.data_type.clone(),
        false => DataType::Boolean,
    };
    Expr {
        kind: ExprKind::Binary {
            op,
            left: Box::new(left),
            right: Box::new(right),
        },
        data_type,
        nullable: true,
    }
}

fn int(value: i64) -> Expr {
    Expr::literal(Literal::Int(value), DataType::Int64)
}

fn text(value: &str) -> Expr {
    Expr::literal(Literal::Text(value.to_string()), DataType::Utf8)
}

fn call(function: Function, args: Vec<Expr>) -> Expr {
    Expr {
        data_type: args[0].data_type.clone(),
        kind: ExprKind::Call { function, args },
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

fn filter(input: Rel, predicates: Vec<Expr>) -> Rel {
    Rel::Filter {
        input: Box::new(input),
        predicates,
    }
}

fn project(input: Rel, columns: Vec<Expr>) -> Rel {
    Rel::Project {
        input: Box::new(input),
        columns: columns.into_iter().map(|e| (e, "x".to_string())).collect(),
    }
}

fn count_by(input: Rel, keys: Vec<Expr>) -> Rel {
    let count = Aggregate {
        function: AggregateFunction::Count,
        arg: None,
        distinct: false,
        filter: None,
        data_type: DataType::Int64,
    };
    Rel::Aggregate {
        input: Box::new(input),
        group_by: keys.into_iter().map(|e| (e, "k".to_string())).collect(),
        aggregates: vec![(count, "n".to_string())],
    }
}

fn sort(input: Rel, expr: Expr, descending: bool, nulls_first: bool, fetch: Option<u64>) -> Rel {
    Rel::Sort {
        input: Box::new(input),
        keys: vec![SortKey {
            expr,
            descending,
            nulls_first,
        }],
        fetch,
    }
}

fn limit(input: Rel, skip: u64, fetch: Option<u64>) -> Rel {
    Rel::Limit {
        input: Box::new(input),
        skip,
        fetch,
    }
}

fn join(left: Rel, right: Rel, kind: JoinKind, filter: Option<Expr>) -> Rel {
    let on = vec![(col(&left, "id"), col(&right, "id"))];
    Rel::Join {
        left: Box::new(left),
        right: Box::new(right),
        kind,
        on,
        filter,
    }
}

fn said(rel: Rel, dialect: &dyn Dialect) -> String {
    match render(&Fragment::new(rel), dialect) {
        Ok(rendered) => {
            let params: Vec<String> = rendered
                .params
                .iter()
                .map(|(literal, _)| format!("{literal:?}"))
                .collect();
            match params.is_empty() {
                true => rendered.sql,
                false => format!("{} -- {}", rendered.sql, params.join(", ")),
            }
        }
        Err(why) => format!("no: {why}"),
    }
}

fn numbered(rel: Rel) -> String {
    said(rel, &Numbered)
}

fn positional(rel: Rel) -> String {
    said(rel, &Positional)
}

fn only_id(rel: Rel) -> Rel {
    let id = col(&rel, "id");
    project(rel, vec![id])
}

#[test]
fn one_select_where_one_is_enough() {
    let t = scan("t");
    let kept = filter(
        t.clone(),
        vec![
            op(BinaryOp::Gt, col(&t, "id"), int(5)),
            op(
                BinaryOp::Or,
                op(BinaryOp::Eq, col(&t, "code"), text("a")),
                op(BinaryOp::Eq, col(&t, "name"), text("b")),
            ),
        ],
    );
    let grouped = count_by(kept.clone(), vec![col(&kept, "code")]);
    let having = filter(
        grouped.clone(),
        vec![op(BinaryOp::Gt, col(&grouped, "n"), int(1))],
    );
    let top = sort(having.clone(), col(&having, "n"), true, true, Some(10));
    insta::assert_snapshot!(numbered(limit(top.clone(), 2, Some(100))), @r#"SELECT t0."code", count(*) AS c1 FROM "s"."t" AS t0 WHERE t0."id" > $1 AND (t0."code" = $2 OR t0."name" COLLATE "C" = $3) GROUP BY t0."code" HAVING count(*) > $4 ORDER BY count(*) DESC LIMIT 8 OFFSET 2 -- Int(5), Text("a"), Text("b"), Int(1)"#);
    insta::assert_snapshot!(positional(top), @r#"SELECT t0.`code`, count(*) AS c1 FROM `s`.`t` AS t0 WHERE t0.`id` > ? AND (t0.`code` = ? OR (t0.`name` = ? AND t0.`name` COLLATE "C" = ?)) GROUP BY t0.`code` HAVING count(*) > ? ORDER BY count(*) DESC LIMIT 10 -- Int(5), Text("a"), Text("b"), Text("b"), Int(1)"#);
}

#[test]
fn names_cannot_leave_their_quotes() {
    let rel = Rel::Scan {
        table: TableRef {
            schema: "we\"ird".to_string(),
            name: "a\\\" --".to_string(),
        },
        schema: Arc::new(Schema::new(vec![
            Field::new("\"\"", DataType::Int64, true),
            Field::new("`$1 ?", DataType::Int64, true),
        ])),
    };
    insta::assert_snapshot!(numbered(rel.clone()), @r#"SELECT t0."""""", t0."`$1 ?" FROM "we""ird"."a\"" --" AS t0"#);
    insta::assert_snapshot!(positional(rel), @r#"SELECT t0.`""`, t0.```$1 ?` FROM `we"ird`.`a\" --` AS t0"#);
}

#[test]
fn no_columns_are_a_constant_for_each_row() {
    insta::assert_snapshot!(numbered(project(scan("t"), vec![])), @r#"SELECT 1 FROM "s"."t" AS t0"#);
}

#[test]
fn guards_stand_once_where_a_column_is_used() {
    let t = scan("t");
    let date = Expr::literal(Literal::Int(0), DataType::Date32);
    let used = filter(
        t.clone(),
        vec![
            op(BinaryOp::Gt, col(&t, "day"), date.clone()),
            op(BinaryOp::NotEq, col(&t, "day"), date),
        ],
    );
    insta::assert_snapshot!(numbered(only_id(used)), @r#"SELECT t0."id" FROM "s"."t" AS t0 WHERE t0."day" > $1 AND t0."day" <> $2 AND ok(t0."day") -- Int(0), Int(0)"#);
    insta::assert_snapshot!(numbered(project(t.clone(), vec![col(&t, "day")])), @r#"SELECT t0."day" FROM "s"."t" AS t0"#);
}

#[test]
fn joins() {
    let (a, b) = (scan("a"), scan("b"));
    let kept = |rel: &Rel| {
        filter(
            rel.clone(),
            vec![op(BinaryOp::Eq, col(rel, "code"), text("x"))],
        )
    };
    let less = op(
        BinaryOp::Lt,
        Expr::column(2, DataType::Utf8, true),
        Expr::column(7, DataType::Utf8, true),
    );
    insta::assert_snapshot!(numbered(only_id(join(kept(&a), kept(&b), JoinKind::Inner, Some(less)))), @r#"SELECT t0."id" FROM "s"."a" AS t0 JOIN "s"."b" AS t1 ON t0."id" = t1."id" AND t0."code" < t1."code" WHERE t0."code" = $1 AND t1."code" = $2 -- Text("x"), Text("x")"#);
    insta::assert_snapshot!(numbered(only_id(join(kept(&a), kept(&b), JoinKind::Left, None))), @r#"SELECT t0."id" FROM "s"."a" AS t0 LEFT JOIN "s"."b" AS t1 ON t0."id" = t1."id" AND t1."code" = $1 WHERE t0."code" = $2 -- Text("x"), Text("x")"#);
    insta::assert_snapshot!(numbered(only_id(join(kept(&a), kept(&b), JoinKind::Right, None))), @r#"SELECT t2.c0 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4 FROM "s"."a" AS t0 WHERE t0."code" = $1) AS t2 RIGHT JOIN "s"."b" AS t1 ON t2.c0 = t1."id" WHERE t1."code" = $2 -- Text("x"), Text("x")"#);
    insta::assert_snapshot!(numbered(only_id(join(kept(&a), kept(&b), JoinKind::Full, None))), @r#"SELECT t2.c0 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4 FROM "s"."a" AS t0 WHERE t0."code" = $1) AS t2 FULL JOIN (SELECT t1."id" AS c0, t1."name" AS c1, t1."code" AS c2, t1."f" AS c3, t1."day" AS c4 FROM "s"."b" AS t1 WHERE t1."code" = $2) AS t3 ON t2.c0 = t3.c0 -- Text("x"), Text("x")"#);
    insta::assert_snapshot!(positional(join(a.clone(), b.clone(), JoinKind::Full, None)), @"no: no full joins");
    insta::assert_snapshot!(numbered(only_id(join(kept(&a), kept(&b), JoinKind::LeftSemi, None))), @r#"SELECT t0."id" FROM "s"."a" AS t0 WHERE t0."code" = $1 AND EXISTS (SELECT 1 FROM "s"."b" AS t1 WHERE t1."code" = $2 AND t0."id" = t1."id") -- Text("x"), Text("x")"#);
    let three = join(
        join(a.clone(), b.clone(), JoinKind::Inner, None),
        b.clone(),
        JoinKind::LeftAnti,
        None,
    );
    insta::assert_snapshot!(numbered(only_id(three)), @r#"SELECT t0."id" FROM "s"."a" AS t0 JOIN "s"."b" AS t1 ON t0."id" = t1."id" WHERE NOT EXISTS (SELECT 1 FROM "s"."b" AS t2 WHERE t0."id" = t2."id")"#);
    // A computed column of the side that may be empty must be NULL there, so it is computed below.
    let computed = project(
        b.clone(),
        vec![
            col(&b, "id"),
            call(Function::Coalesce, vec![col(&b, "code"), text("-")]),
        ],
    );
    let renamed = Rel::Join {
        on: vec![(col(&a, "id"), Expr::column(0, DataType::Int64, true))],
        left: Box::new(a.clone()),
        right: Box::new(computed),
        kind: JoinKind::Left,
        filter: None,
    };
    insta::assert_snapshot!(numbered(project(renamed, vec![Expr::column(6, DataType::Utf8, true)])), @r#"SELECT t2.c1 FROM "s"."a" AS t0 LEFT JOIN (SELECT t1."id" AS c0, coalesce(t1."code", $1) AS c1 FROM "s"."b" AS t1) AS t2 ON t0."id" = t2.c0 -- Text("-")"#);
    let cross = Rel::Join {
        left: Box::new(a),
        right: Box::new(b),
        kind: JoinKind::Inner,
        on: vec![],
        filter: None,
    };
    insta::assert_snapshot!(numbered(only_id(cross)), @r#"SELECT t0."id" FROM "s"."a" AS t0 CROSS JOIN "s"."b" AS t1"#);
}

#[test]
fn a_mark_is_a_column() {
    let (a, b) = (scan("a"), scan("b"));
    let marked = join(a.clone(), b.clone(), JoinKind::LeftMark, None);
    let mark = col(&marked, "mark");
    let either = op(
        BinaryOp::Or,
        op(BinaryOp::Eq, col(&marked, "code"), text("x")),
        mark.clone(),
    );
    let kept = filter(marked.clone(), vec![either]);
    insta::assert_snapshot!(numbered(only_id(kept.clone())), @r#"SELECT t0."id" FROM "s"."a" AS t0 WHERE t0."code" = $1 OR EXISTS (SELECT 1 FROM "s"."b" AS t1 WHERE t0."id" = t1."id") -- Text("x")"#);
    insta::assert_snapshot!(numbered(project(marked.clone(), vec![mark.clone(), not(mark.clone())])), @r#"SELECT t2.c5, NOT t2.c5 AS c1 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4, EXISTS (SELECT 1 FROM "s"."b" AS t1 WHERE t0."id" = t1."id") AS c5 FROM "s"."a" AS t0) AS t2"#);
    insta::assert_snapshot!(numbered(count_by(kept.clone(), vec![col(&kept, "code")])), @r#"SELECT t0."code", count(*) AS c1 FROM "s"."a" AS t0 WHERE t0."code" = $1 OR EXISTS (SELECT 1 FROM "s"."b" AS t1 WHERE t0."id" = t1."id") GROUP BY t0."code" -- Text("x")"#);
    insta::assert_snapshot!(numbered(count_by(marked, vec![mark])), @r#"SELECT t2.c5, count(*) AS c1 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4, EXISTS (SELECT 1 FROM "s"."b" AS t1 WHERE t0."id" = t1."id") AS c5 FROM "s"."a" AS t0) AS t2 GROUP BY t2.c5"#);
    // Of a subquery that reads nothing of the row it is asked for.
    let alone = Rel::Join {
        left: Box::new(a),
        right: Box::new(limit(b, 0, Some(1))),
        kind: JoinKind::LeftMark,
        on: vec![],
        filter: None,
    };
    let mark = col(&alone, "mark");
    insta::assert_snapshot!(positional(project(alone, vec![mark])), @"SELECT EXISTS (SELECT 1 FROM (SELECT t1.`id` AS c0, t1.`name` AS c1, t1.`code` AS c2, t1.`f` AS c3, t1.`day` AS c4 FROM `s`.`b` AS t1 LIMIT 1) AS t2) AS c0 FROM `s`.`a` AS t0");
}

#[test]
fn limits_hold_where_they_stand() {
    let t = only_id(scan("t"));
    let id = col(&t, "x");
    insta::assert_snapshot!(numbered(filter(limit(t.clone(), 0, Some(3)), vec![op(BinaryOp::Gt, id.clone(), int(1))])), @r#"SELECT t1.c0 FROM (SELECT t0."id" AS c0 FROM "s"."t" AS t0 LIMIT 3) AS t1 WHERE t1.c0 > $1 -- Int(1)"#);
    insta::assert_snapshot!(numbered(count_by(limit(t.clone(), 0, Some(3)), vec![])), @r#"SELECT count(*) AS c0 FROM (SELECT t0."id" AS c0 FROM "s"."t" AS t0 LIMIT 3) AS t1"#);
    insta::assert_snapshot!(positional(limit(t.clone(), 7, None)), @"SELECT t0.`id` FROM `s`.`t` AS t0 LIMIT 18446744073709551615 OFFSET 7");
    insta::assert_snapshot!(numbered(limit(limit(t.clone(), 1, Some(5)), 2, Some(9))), @r#"SELECT t0."id" FROM "s"."t" AS t0 LIMIT 3 OFFSET 3"#);
    let union = Rel::UnionAll {
        schema: t.schema(),
        inputs: vec![
            limit(t.clone(), 0, Some(1)),
            filter(t.clone(), vec![op(BinaryOp::Lt, id, int(9))]),
        ],
    };
    insta::assert_snapshot!(numbered(limit(union, 0, Some(2))), @r#"SELECT t3.c0 FROM (SELECT t1.c0 AS c0 FROM (SELECT t0."id" AS c0 FROM "s"."t" AS t0 LIMIT 1) AS t1 UNION ALL SELECT t2."id" AS c0 FROM "s"."t" AS t2 WHERE t2."id" < $1) AS t3 LIMIT 2 -- Int(9)"#);
}

#[test]
fn sorting_says_where_nulls_are() {
    let t = scan("t");
    let by = |descending, nulls_first| {
        only_id(sort(
            t.clone(),
            col(&t, "code"),
            descending,
            nulls_first,
            None,
        ))
    };
    insta::assert_snapshot!(numbered(by(false, true)), @r#"SELECT t0."id" FROM "s"."t" AS t0 ORDER BY t0."code" NULLS FIRST"#);
    insta::assert_snapshot!(positional(by(false, true)), @"SELECT t0.`id` FROM `s`.`t` AS t0 ORDER BY t0.`code`");
    insta::assert_snapshot!(positional(by(false, false)), @"SELECT t0.`id` FROM `s`.`t` AS t0 ORDER BY t0.`code` IS NULL, t0.`code`");
    insta::assert_snapshot!(numbered(only_id(sort(t.clone(), col(&t, "name"), true, false, Some(1)))), @r#"SELECT t0."id" FROM "s"."t" AS t0 ORDER BY t0."name" COLLATE "C" DESC NULLS LAST LIMIT 1"#);
    insta::assert_snapshot!(numbered(sort(t.clone(), col(&t, "f"), true, false, Some(1))), @"no: the order of floats");
}

#[test]
fn parameters_are_bound_in_the_order_of_the_text() {
    let t = scan("t");
    let key = call(Function::Coalesce, vec![col(&t, "code"), text("none")]);
    let kept = filter(
        t.clone(),
        vec![op(BinaryOp::Eq, col(&t, "name"), text("x"))],
    );
    // A key that holds a parameter becomes a column first, to be recognised as itself.
    insta::assert_snapshot!(positional(count_by(kept.clone(), vec![key.clone()])), @r#"SELECT t1.c5 COLLATE "C" AS c0, count(*) AS c1 FROM (SELECT t0.`id` AS c0, t0.`name` AS c1, t0.`code` AS c2, t0.`f` AS c3, t0.`day` AS c4, coalesce(t0.`code`, ?) COLLATE "C" AS c5 FROM `s`.`t` AS t0 WHERE t0.`name` = ? AND t0.`name` COLLATE "C" = ?) AS t1 GROUP BY t1.c5 COLLATE "C" -- Text("none"), Text("x"), Text("x")"#);
    insta::assert_snapshot!(numbered(count_by(kept, vec![key])), @r#"SELECT t1.c5 COLLATE "C" AS c0, count(*) AS c1 FROM (SELECT t0."id" AS c0, t0."name" AS c1, t0."code" AS c2, t0."f" AS c3, t0."day" AS c4, coalesce(t0."code", $1) COLLATE "C" AS c5 FROM "s"."t" AS t0 WHERE t0."name" COLLATE "C" = $2) AS t1 GROUP BY t1.c5 COLLATE "C" -- Text("none"), Text("x")"#);
}

#[test]
fn aggregates() {
    let t = scan("t");
    let aggregate = |function, name: &str, distinct, filter| {
        let arg = col(&t, name);
        Rel::Aggregate {
            input: Box::new(t.clone()),
            group_by: vec![],
            aggregates: vec![(
                Aggregate {
                    function,
                    data_type: arg.data_type.clone(),
                    arg: Some(arg),
                    distinct,
                    filter,
                },
                "v".to_string(),
            )],
        }
    };
    use AggregateFunction::*;
    let positive = op(BinaryOp::Gt, col(&t, "id"), int(0));
    insta::assert_snapshot!(numbered(aggregate(Max, "name", false, Some(positive))), @r#"SELECT max(CASE WHEN t0."id" > $1 THEN t0."name" END COLLATE "C") AS c0 FROM "s"."t" AS t0 -- Int(0)"#);
    insta::assert_snapshot!(numbered(aggregate(Count, "name", true, None)), @r#"SELECT count(DISTINCT t0."name" COLLATE "C") AS c0 FROM "s"."t" AS t0"#);
    insta::assert_snapshot!(numbered(aggregate(Sum, "id", false, None)), @"no: Sum of Int64 has no proven rendering");
    insta::assert_snapshot!(numbered(aggregate(Min, "f", false, None)), @"no: the order of floats");
    // One row, also over no rows: the aggregate must stay one.
    let counted = count_by(t.clone(), vec![]);
    insta::assert_snapshot!(numbered(project(counted.clone(), vec![int(1)])), @r#"SELECT $1 AS c0 FROM (SELECT count(*) AS c0 FROM "s"."t" AS t0) AS t1 -- Int(1)"#);
    insta::assert_snapshot!(numbered(filter(counted.clone(), vec![op(BinaryOp::Gt, col(&counted, "n"), int(0))])), @r#"SELECT t1.c0 FROM (SELECT count(*) AS c0 FROM "s"."t" AS t0) AS t1 WHERE t1.c0 > $1 -- Int(0)"#);
}

#[test]
fn supersets_only_where_rows_are_checked_again() {
    let t = scan("t");
    let schema = t.schema();
    let capabilities = SqlCapabilities::new(Numbered);
    let support = |predicate: &Expr| capabilities.predicate(predicate, &schema);
    let loose = like(col(&t, "code"), "a%");
    let exact = op(BinaryOp::Eq, col(&t, "id"), int(1));
    let superset = Support::Superset("LIKE ignores case".to_string());
    let no = Support::No("LIKE ignores case".to_string());
    assert_eq!(support(&exact), Support::Exact);
    assert_eq!(support(&loose), superset);
    assert_eq!(
        support(&op(BinaryOp::And, exact.clone(), loose.clone())),
        superset
    );
    assert_eq!(
        support(&op(BinaryOp::Or, exact.clone(), loose.clone())),
        superset
    );
    assert_eq!(support(&not(loose.clone())), no);
    assert_eq!(support(&op(BinaryOp::And, exact, not(loose.clone()))), no);
    assert_eq!(capabilities.node(&project(t.clone(), vec![loose])), no);
    let fails = op(BinaryOp::Divide, int(1), col(&t, "id"));
    assert_eq!(
        capabilities.node(&project(t.clone(), vec![fails])),
        Support::No("a division can fail".to_string())
    );
    let deep = (0..500).fold(op(BinaryOp::Eq, col(&t, "id"), int(1)), |e, _| not(e));
    assert!(matches!(support(&deep), Support::No(why) if why.contains("nested")));
}

#[test]
fn what_is_computed_twice_is_computed_below() {
    let t = scan("t");
    let lower = project(
        t.clone(),
        vec![call(Function::Lower, vec![col(&t, "code")])],
    );
    let x = col(&lower, "x");
    insta::assert_snapshot!(numbered(project(lower.clone(), vec![x.clone(), op(BinaryOp::Eq, x, text("a"))])), @r#"SELECT t1.c0, t1.c0 COLLATE "C" = $1 AS c1 FROM (SELECT lower(t0."code") AS c0 FROM "s"."t" AS t0) AS t1 -- Text("a")"#);
}

/// On the stack that a thread of a server or a test has.
#[test]
fn a_deep_fragment_needs_no_deep_stack() {
    let both = |left: Rel, right: Rel| {
        let id = (col(&left, "id"), "id".to_string());
        let input = Box::new(join(left, right, JoinKind::Inner, None));
        Rel::Project {
            input,
            columns: vec![id],
        }
    };
    let chain = (0..150).fold(scan("t"), |left, _| both(left, scan("t")));
    assert_eq!(numbered(chain).matches(" JOIN ").count(), 150);
    let nested = (0..150).fold(scan("t"), |left, _| {
        both(limit(left, 0, Some(9)), scan("t"))
    });
    assert_eq!(numbered(nested).matches("(SELECT ").count(), 150);
}

#[derive(Debug, Clone, Copy)]
struct Small;

impl Dialect for Small {
    fn placeholder(&self, n: usize) -> String {
        Numbered.placeholder(n)
    }

    fn literal(&self, literal: &Literal, data_type: &DataType) -> Result<LiteralForm, String> {
        Numbered.literal(literal, data_type)
    }

    fn rules(&self) -> &[Rule] {
        RULES
    }

    fn key(&self, operand: &Operand<'_>, usage: Use) -> Result<ast::Expr, String> {
        Numbered.key(operand, usage)
    }

    fn limits(&self) -> Limits {
        Limits {
            parameters: 2,
            columns: 40,
            tables: 2,
        }
    }
}

#[test]
fn a_statement_is_within_the_limits_of_its_system() {
    let capabilities = SqlCapabilities::new(Small);
    let no = |why: &str| Support::No(why.to_string());
    let t = scan("t");
    assert_eq!(capabilities.node(&t), Support::Exact);
    let constants = |n: i64| project(t.clone(), (0..n).map(int).collect());
    assert_eq!(capabilities.node(&constants(2)), Support::Exact);
    assert_eq!(
        capabilities.node(&constants(3)),
        no("3 constants, where it takes 2")
    );
    let columns = |n: usize| project(t.clone(), vec![col(&t, "id"); n]);
    assert_eq!(capabilities.node(&columns(40)), Support::Exact);
    assert_eq!(
        capabilities.node(&columns(41)),
        no("41 columns, where it takes 40")
    );
    let pair = join(t.clone(), t.clone(), JoinKind::Inner, None);
    assert_eq!(capabilities.node(&pair), Support::Exact);
    let narrow = |rel: Rel| project(rel.clone(), vec![int(1)]);
    let union = Rel::UnionAll {
        schema: narrow(pair.clone()).schema(),
        inputs: vec![narrow(pair.clone()), narrow(pair.clone())],
    };
    assert_eq!(capabilities.node(&union), Support::Exact);
    let three = join(pair, t.clone(), JoinKind::Inner, None);
    assert_eq!(
        capabilities.node(&three),
        no("3 tables in a join, where it takes 2")
    );
}
