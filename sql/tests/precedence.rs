//! What binds tighter than what, where sqlparser has it otherwise.

use belvedere_sql::{Statement, parse_one};
use sqlparser::ast::{Expr, SelectItem, SetExpr};

fn expression(text: &str) -> Expr {
    let parsed = parse_one(&format!("SELECT {text}")).expect(text);
    let Statement::Query(query) = parsed.statement else {
        panic!("{text} is a query");
    };
    let SetExpr::Select(mut select) = *query.body else {
        panic!("{text} is a SELECT");
    };
    match select.projection.remove(0) {
        SelectItem::UnnamedExpr(expr) => expr,
        other => panic!("{other}"),
    }
}

/// The expression with all its parentheses.
fn grouped(expr: &Expr) -> String {
    match expr {
        Expr::BinaryOp { left, op, right } => {
            format!("({} {op} {})", grouped(left), grouped(right))
        }
        Expr::UnaryOp { op, expr } => format!("({op} {})", grouped(expr)),
        Expr::IsDistinctFrom(left, right) => format!("({} <> {})", grouped(left), grouped(right)),
        Expr::IsNotDistinctFrom(left, right) => {
            format!("({} == {})", grouped(left), grouped(right))
        }
        Expr::IsNull(expr) => format!("({} IS NULL)", grouped(expr)),
        Expr::Nested(expr) => grouped(expr),
        other => other.to_string(),
    }
}

#[test]
fn is_distinct_from_ends_at_the_next_condition() {
    for (text, expected) in [
        ("a IS DISTINCT FROM b OR c", "((a <> b) OR c)"),
        ("a IS NOT DISTINCT FROM b OR c", "((a == b) OR c)"),
        ("a IS DISTINCT FROM b AND c", "((a <> b) AND c)"),
        ("a IS DISTINCT FROM (b OR c)", "(a <> (b OR c))"),
        ("(a IS DISTINCT FROM b) OR c", "((a <> b) OR c)"),
        ("NOT a IS DISTINCT FROM b OR c", "((NOT (a <> b)) OR c)"),
        ("x OR a IS DISTINCT FROM b AND c", "(x OR ((a <> b) AND c))"),
        (
            "a IS DISTINCT FROM b AND c IS NOT DISTINCT FROM d OR e",
            "(((a <> b) AND (c == d)) OR e)",
        ),
        ("a IS DISTINCT FROM b IS NULL", "((a <> b) IS NULL)"),
        // What binds tighter than IS is part of the right side.
        ("a IS DISTINCT FROM b + 1 OR c", "((a <> (b + 1)) OR c)"),
        ("a + 1 IS DISTINCT FROM b || c", "((a + 1) <> (b || c))"),
        ("a IS DISTINCT FROM b = c", "(a <> (b = c))"),
    ] {
        let expr = expression(text);
        assert_eq!(grouped(&expr), expected, "{text}");
        // It prints to what is read the same way.
        assert_eq!(grouped(&expression(&expr.to_string())), expected, "{text}");
    }
    assert!(parse_one("SELECT a IS DISTINCT FROM").is_err());
}
