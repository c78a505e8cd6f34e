use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, Expr, ExprKind, Function, UnaryOp,
};
use sqlparser::ast::{self, BinaryOperator};

use crate::dialect::{Aggregated, Dialect, Operand, Position, Rendering, Use};
use crate::sql;

/// Renderings that are right in every SQL system, given the dialect's facts about comparisons.
pub(crate) fn expr(
    dialect: &dyn Dialect,
    expr: &Expr,
    args: &[Operand<'_>],
    position: Position,
) -> Result<Rendering, String> {
    let sql_of = |i: usize| args[i].sql.clone();
    let boxed = |i: usize| Box::new(sql::nested(sql_of(i)));
    let exact = |sql| Ok(Rendering::exact(sql));
    match &expr.kind {
        ExprKind::Unary { op, .. } => match op {
            UnaryOp::Not => exact(sql::not(sql_of(0))),
            UnaryOp::IsNull => exact(sql::is_null(sql_of(0))),
            UnaryOp::IsNotNull => exact(sql::is_not_null(sql_of(0))),
            UnaryOp::IsTrue => exact(ast::Expr::IsTrue(boxed(0))),
            UnaryOp::IsNotTrue => exact(ast::Expr::IsNotTrue(boxed(0))),
            UnaryOp::IsFalse => exact(ast::Expr::IsFalse(boxed(0))),
            UnaryOp::IsNotFalse => exact(ast::Expr::IsNotFalse(boxed(0))),
            UnaryOp::Negate => no_rule(expr, args),
        },
        ExprKind::Binary { op, .. } => match op {
            BinaryOp::And => exact(sql::and(sql_of(0), sql_of(1))),
            BinaryOp::Or => exact(sql::or(sql_of(0), sql_of(1))),
            op if op.is_comparison() => compare(dialect, *op, &args[0], &args[1], position),
            _ => no_rule(expr, args),
        },
        ExprKind::InList { negated, .. } => {
            in_list(dialect, &args[0], &args[1..], *negated, position)
        }
        ExprKind::Case { otherwise, .. } => {
            let (pairs, last) = match otherwise {
                Some(_) => (&args[..args.len() - 1], args.last()),
                None => (args, None),
            };
            exact(sql::case(
                pairs
                    .chunks_exact(2)
                    .map(|pair| (pair[0].sql.clone(), pair[1].sql.clone()))
                    .collect(),
                last.map(|arg| arg.sql.clone()),
            ))
        }
        ExprKind::Call {
            function: Function::Coalesce,
            ..
        } if args.len() > 1 => exact(sql::call(
            "coalesce",
            args.iter().map(|arg| arg.sql.clone()).collect(),
        )),
        ExprKind::Call {
            function: Function::NullIf,
            ..
        } if args.len() == 2 => {
            let equal = compare(dialect, BinaryOp::Eq, &args[0], &args[1], Position::Value)?;
            exact(sql::case(
                vec![(equal.sql, sql::null())],
                Some(args[0].sql.clone()),
            ))
        }
        _ => no_rule(expr, args),
    }
}

pub(crate) fn compare(
    dialect: &dyn Dialect,
    op: BinaryOp,
    left: &Operand<'_>,
    right: &Operand<'_>,
    position: Position,
) -> Result<Rendering, String> {
    if let Some(own) = dialect.compare(op, left, right, position) {
        return own;
    }
    let usage = match op {
        BinaryOp::Lt | BinaryOp::LtEq | BinaryOp::Gt | BinaryOp::GtEq => Use::Order,
        _ => Use::Equality,
    };
    let (l, r) = (dialect.key(left, usage)?, dialect.key(right, usage)?);
    Ok(Rendering::exact(comparison(dialect, op, l, r)?))
}

fn comparison(
    dialect: &dyn Dialect,
    op: BinaryOp,
    left: ast::Expr,
    right: ast::Expr,
) -> Result<ast::Expr, String> {
    let op = match op {
        BinaryOp::Eq => BinaryOperator::Eq,
        BinaryOp::NotEq => BinaryOperator::NotEq,
        BinaryOp::Lt => BinaryOperator::Lt,
        BinaryOp::LtEq => BinaryOperator::LtEq,
        BinaryOp::Gt => BinaryOperator::Gt,
        BinaryOp::GtEq => BinaryOperator::GtEq,
        BinaryOp::IsNotDistinctFrom => {
            return Ok(dialect.not_distinct(sql::nested(left), sql::nested(right)));
        }
        BinaryOp::IsDistinctFrom => {
            return Ok(sql::not(
                dialect.not_distinct(sql::nested(left), sql::nested(right)),
            ));
        }
        _ => return Err("not a comparison".to_string()),
    };
    Ok(sql::binary(left, op, right))
}

fn in_list(
    dialect: &dyn Dialect,
    arg: &Operand<'_>,
    list: &[Operand<'_>],
    negated: bool,
    position: Position,
) -> Result<Rendering, String> {
    if list.is_empty() {
        return Err("IN over an empty list".to_string());
    }
    if let Some(own) = dialect.in_list(arg, list, negated, position) {
        return own;
    }
    let key = |operand: &Operand<'_>| dialect.key(operand, Use::Equality);
    Ok(Rendering::exact(ast::Expr::InList {
        expr: Box::new(sql::nested(key(arg)?)),
        list: list.iter().map(key).collect::<Result<_, _>>()?,
        negated,
    }))
}

/// An aggregate whose filter, if any, has become a CASE of its argument.
pub(crate) fn aggregate(
    dialect: &dyn Dialect,
    aggregate: &Aggregate,
    arg: Option<&Operand<'_>>,
) -> Result<Aggregated, String> {
    if let Some(own) = dialect.aggregate(aggregate, arg) {
        return own;
    }
    let distinct = aggregate.distinct;
    let of = |name: &str, arg| sql::function(name, vec![arg], distinct);
    let call = match (aggregate.function, arg) {
        (AggregateFunction::Count, None) => sql::count_star(),
        (AggregateFunction::Count, Some(arg)) if distinct => {
            of("count", dialect.key(arg, Use::Group)?)
        }
        (AggregateFunction::Count, Some(arg)) => of("count", arg.sql.clone()),
        (AggregateFunction::Min, Some(arg)) => of("min", dialect.key(arg, Use::MinMax)?),
        (AggregateFunction::Max, Some(arg)) => of("max", dialect.key(arg, Use::MinMax)?),
        (function, Some(arg)) => {
            return Err(format!(
                "{function:?} of {} has no proven rendering",
                arg.data_type()
            ));
        }
        (function, None) => return Err(format!("{function:?} without an argument")),
    };
    Ok(Aggregated::plain(call))
}

fn no_rule(expr: &Expr, args: &[Operand<'_>]) -> Result<Rendering, String> {
    let what = match &expr.kind {
        ExprKind::Unary { op, .. } => format!("{op:?}"),
        ExprKind::Binary { op, .. } => format!("{op:?}"),
        ExprKind::Like {
            case_insensitive: true,
            ..
        } => "ILIKE".to_string(),
        ExprKind::Like { .. } => "LIKE".to_string(),
        ExprKind::Cast { .. } => format!("a cast to {}", expr.data_type),
        ExprKind::Call { function, .. } => format!("{function:?}"),
        _ => "this expression".to_string(),
    };
    let of: Vec<String> = args.iter().map(|arg| arg.data_type().to_string()).collect();
    Err(format!(
        "{what} of {} has no proven rendering",
        of.join(", ")
    ))
}
