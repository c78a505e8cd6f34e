//! Short constructors for fragments, and their exact answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_connector::{
    BinaryOp, Expr, ExprKind, Fragment, Function, Literal, Rel, Source, Support,
};

use super::{read, text_of};

pub type Rows = Vec<Vec<Option<String>>>;

pub fn expr(kind: ExprKind, data_type: DataType) -> Expr {
    Expr {
        kind,
        data_type,
        nullable: true,
    }
}

pub fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    expr(ExprKind::Binary { op, left, right }, data_type)
}

pub fn compare(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    binary(op, left, right, DataType::Boolean)
}

pub fn text(value: &str) -> Expr {
    Expr::literal(Literal::Text(value.to_string()), DataType::Utf8)
}

pub fn int(value: i64, data_type: DataType) -> Expr {
    Expr::literal(Literal::Int(value), data_type)
}

pub fn call(function: Function, args: Vec<Expr>, data_type: DataType) -> Expr {
    expr(ExprKind::Call { function, args }, data_type)
}

pub fn cast(arg: Expr, data_type: DataType) -> Expr {
    expr(ExprKind::Cast { arg: Box::new(arg) }, data_type)
}

pub fn in_list(arg: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    let arg = Box::new(arg);
    expr(ExprKind::InList { arg, list, negated }, DataType::Boolean)
}

pub fn like(arg: Expr, pattern: &str, negated: bool) -> Expr {
    expr(
        ExprKind::Like {
            arg: Box::new(arg),
            pattern: Box::new(text(pattern)),
            escape: None,
            negated,
            case_insensitive: false,
        },
        DataType::Boolean,
    )
}

pub fn project(input: Rel, exprs: Vec<Expr>) -> Rel {
    Rel::Project {
        input: Box::new(input),
        columns: exprs
            .into_iter()
            .enumerate()
            .map(|(i, e)| (e, format!("x{i}")))
            .collect(),
    }
}

pub fn filter(input: Rel, predicate: Expr) -> Rel {
    Rel::Filter {
        input: Box::new(input),
        predicates: vec![predicate],
    }
}

/// The answer, after the source has said that it is exact.
pub async fn exact(source: &Arc<dyn Source>, rel: Rel) -> Rows {
    let sent = source.describe(&Fragment::new(rel.clone()));
    assert_eq!(source.capabilities().node(&rel), Support::Exact, "{sent}");
    match read(source, rel).await {
        Ok(batches) => text_of(&batches),
        Err(error) => panic!("{sent}: {error:?}"),
    }
}

/// The first column of the rows for which a predicate holds.
pub async fn ids(source: &Arc<dyn Source>, rel: &Rel, predicate: Expr) -> BTreeSet<String> {
    assert_eq!(
        source.capabilities().predicate(&predicate, &rel.schema()),
        Support::Exact,
        "{predicate:?}"
    );
    exact(source, filter(rel.clone(), predicate))
        .await
        .into_iter()
        .map(|row| row[0].clone().expect("an id"))
        .collect()
}

/// The same, found here: `holds` sees the second column's value, which is not NULL.
pub fn expected(rows: &Rows, holds: impl Fn(&str) -> bool) -> BTreeSet<String> {
    rows.iter()
        .filter(|row| row[1].as_deref().is_some_and(&holds))
        .map(|row| row[0].clone().expect("an id"))
        .collect()
}
