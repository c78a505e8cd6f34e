//! Subqueries that give one value, an array, or nothing.

use sqlparser::ast::{
    DataType, Expr, FunctionArguments, GroupByExpr, JoinConstraint, JoinOperator, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use super::build::{array, array_of, boolean, cast, folded, null, ordered_call};
use crate::catalog::PG_CATALOG;
use crate::engine::system::pg_catalog::{is_empty, table};

/// A subquery over a table that never has rows gives nothing, whatever else is in it.
pub(super) fn of_nothing(expr: &mut Expr) {
    match expr {
        Expr::Subquery(query) if is_of_nothing(query) => *expr = null(),
        Expr::Exists { subquery, negated } if is_of_nothing(subquery) => *expr = boolean(*negated),
        Expr::Function(function) => {
            if let FunctionArguments::Subquery(query) = &function.args
                && folded(&function.name) == ["array"]
                && is_of_nothing(query)
            {
                *expr = cast(array(Vec::new()), array_of(DataType::Text));
            }
        }
        _ => {}
    }
}

fn is_of_nothing(query: &Query) -> bool {
    let Some(select) = alone(query) else {
        return false;
    };
    let nothing = select.from.iter().any(table_of_nothing);
    nothing && !aggregates(select)
}

fn table_of_nothing(from: &TableWithJoins) -> bool {
    let is_nothing = |factor: &TableFactor| catalog_table(factor).is_some_and(|t| is_empty(&t));
    let inner = |join: &JoinOperator| {
        matches!(
            join,
            JoinOperator::Join(_)
                | JoinOperator::Inner(_)
                | JoinOperator::CrossJoin(JoinConstraint::None)
        )
    };
    let mut joins = from.joins.iter();
    let keeps = |join: &JoinOperator| {
        inner(join) || matches!(join, JoinOperator::Left(_) | JoinOperator::LeftOuter(_))
    };
    (is_nothing(&from.relation) && from.joins.iter().all(|j| keeps(&j.join_operator)))
        || joins.any(|join| {
            inner(&join.join_operator)
                && is_nothing(&join.relation)
                && from.joins.iter().all(|j| keeps(&j.join_operator))
        })
}

/// The name of the catalog's table that stands in `FROM`.
fn catalog_table(factor: &TableFactor) -> Option<String> {
    let TableFactor::Table {
        name, args: None, ..
    } = factor
    else {
        return None;
    };
    let mut name = folded(name);
    let last = name.pop()?;
    let is_ours = match name.last() {
        None => last.starts_with("pg_"),
        Some(schema) => schema == PG_CATALOG,
    };
    (is_ours && table(&last).is_some()).then_some(last)
}

/// The only select of a query that is nothing but one.
fn alone(query: &Query) -> Option<&Select> {
    match (&query.with, &*query.body) {
        (None, SetExpr::Select(select)) => Some(select),
        _ => None,
    }
}

fn aggregates(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(by, _) => !by.is_empty(),
        GroupByExpr::All(_) => true,
    };
    grouped
        || select.having.is_some()
        || select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                aggregate(expr)
            }
            _ => false,
        })
}

const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "first_value",
    "json_agg",
    "json_object_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];

/// Whether there is an aggregate in it, where clients have one.
fn aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => {
            let name = folded(&function.name).pop();
            if name.is_some_and(|name| AGGREGATES.contains(&name.as_str())) {
                return function.over.is_none();
            }
            match &function.args {
                FunctionArguments::List(list) => list.args.iter().any(|arg| match arg {
                    sqlparser::ast::FunctionArg::Unnamed(
                        sqlparser::ast::FunctionArgExpr::Expr(expr),
                    ) => aggregate(expr),
                    _ => false,
                }),
                _ => false,
            }
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => {
            aggregate(expr)
        }
        Expr::BinaryOp { left, right, .. } => aggregate(left) || aggregate(right),
        Expr::Case {
            conditions,
            else_result,
            ..
        } => {
            let branches = conditions.iter().map(|when| &when.result);
            branches.chain(else_result.as_deref()).any(aggregate)
        }
        _ => false,
    }
}

/// The order of a query, each by an expression.
fn order(query: &Query, select: &Select) -> Option<Vec<OrderByExpr>> {
    let Some(by) = &query.order_by else {
        return Some(Vec::new());
    };
    let OrderByKind::Expressions(by) = &by.kind else {
        return None;
    };
    // `ORDER BY 1` is by what is selected.
    let item = select.projection.first().and_then(expression);
    let by = by.iter().map(|by| {
        let is_place = matches!(&by.expr, Expr::Value(value)
            if matches!(&value.value, sqlparser::ast::Value::Number(..)));
        let expr = match is_place {
            true => item?.clone(),
            false => by.expr.clone(),
        };
        Some(OrderByExpr { expr, ..by.clone() })
    });
    by.collect()
}

fn expression(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// A query of one expression over rows as one aggregate of it, in the query's order.
fn aggregated(query: &mut Query, function: &str) -> Option<()> {
    let select = alone(query)?;
    let [item] = select.projection.as_slice() else {
        return None;
    };
    let value = expression(item)?.clone();
    let plain = select.distinct.is_none() && !aggregates(select) && !select.from.is_empty();
    if !plain {
        return None;
    }
    let order = order(query, select)?;
    let value = ordered_call(function, vec![value], order);
    let SetExpr::Select(select) = &mut *query.body else {
        return None;
    };
    let item = select.projection.first_mut()?;
    *item = match item {
        SelectItem::ExprWithAlias { alias, .. } => SelectItem::ExprWithAlias {
            expr: value,
            alias: alias.clone(),
        },
        _ => SelectItem::UnnamedExpr(value),
    };
    query.order_by = None;
    query.limit_clause = None;
    query.fetch = None;
    Some(())
}

/// `ARRAY(SELECT x FROM … ORDER BY y)`
pub(super) fn as_array(expr: &mut Expr) {
    let Expr::Function(function) = expr else {
        return;
    };
    let FunctionArguments::Subquery(query) = &mut function.args else {
        return;
    };
    if function.name.0.len() != 1 || query.limit_clause.is_some() {
        return;
    }
    // Rows of a list, made a list again: it is left as it is. Those of the catalog that this is asked of are NULL.
    if let Some(list) = alone(query).and_then(rows_of_list) {
        *expr = list;
        return;
    }
    if aggregated(query, "array_agg").is_some() {
        let query = query.clone();
        *expr = Expr::Subquery(query);
    }
}

fn rows_of_list(select: &Select) -> Option<Expr> {
    match select.from.as_slice() {
        [from] if from.joins.is_empty() => match &from.relation {
            TableFactor::UNNEST { array_exprs, .. } => match array_exprs.as_slice() {
                [list @ Expr::CompoundIdentifier(_)] => Some(list.clone()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// DataFusion takes a subquery that refers to what is around it only if it is seen that it gives one row: where a key of the
/// catalog is compared, which clients do, there is only one.
pub(super) fn first_row(expr: &mut Expr) {
    let Expr::Subquery(query) = expr else {
        return;
    };
    let Some(select) = alone(query) else {
        return;
    };
    let tables = select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    });
    if tables.map(catalog_table).all(|table| table.is_some()) {
        aggregated(query, "first_value");
    }
}
