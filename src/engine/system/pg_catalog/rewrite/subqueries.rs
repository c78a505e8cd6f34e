//! Subqueries that give one value, an array, or nothing.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, JoinConstraint, JoinOperator, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, TableFactor, TableWithJoins, visit_expressions,
};

use super::build::{
    array, array_of, as_text, boolean, call, cast, folded, items, null, ordered_call,
};
use super::relations::catalog_table;
use crate::engine::system::pg_catalog::is_empty;

/// A subquery over a table that never has rows gives nothing, whatever else is in it.
pub(super) fn of_nothing(expr: &mut Expr) {
    match expr {
        Expr::Subquery(query) if is_of_nothing(query) || is_of_domains(query) => *expr = null(),
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

/// What a domain is of, which asyncpg asks step by step: there are no domains.
fn is_of_domains(query: &Query) -> bool {
    let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
    recursive && query.to_string().contains("typbasetype")
}

/// What is selected of a table that never has rows is never computed: what may have no meaning here is left out. The columns
/// stay.
pub(super) fn selected_of_nothing(select: &mut Select) {
    if !select.from.iter().any(table_of_nothing) || aggregates(select) {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { expr, .. } = item
            && may_mean_nothing(expr)
        {
            *expr = null();
        }
    }
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

/// The names of a table's columns, whose numbers are in a list, in that order, as pgcli asks for them: by a subquery over the rows
/// that a list around it makes, which DataFusion does not take.
pub(super) fn names_of_columns(expr: &mut Expr) {
    if let Expr::Subquery(query) = expr
        && let Some((table, numbers)) = alone(query).and_then(numbered_columns)
    {
        *expr = call("_pg_column_names", vec![table, numbers]);
    }
}

/// Table and numbers of `SELECT array_agg(attname ORDER BY i) FROM (SELECT unnest(NUMBERS) AS attnum, …) x JOIN pg_attribute c
/// USING (attnum) WHERE c.attrelid = TABLE`.
fn numbered_columns(select: &Select) -> Option<(Expr, Expr)> {
    let [item] = select.projection.as_slice() else {
        return None;
    };
    let Expr::Function(function) = expression(item)? else {
        return None;
    };
    let [from] = select.from.as_slice() else {
        return None;
    };
    let ([join], TableFactor::Derived { subquery, .. }) = (from.joins.as_slice(), &from.relation)
    else {
        return None;
    };
    let is_names = folded(&function.name) == ["array_agg"]
        && function.args.to_string().starts_with("(attname")
        && catalog_table(&join.relation).as_deref() == Some("pg_attribute");
    let condition = select.selection.as_ref().filter(|_| is_names)?;
    let Expr::BinaryOp {
        left,
        op: BinaryOperator::Eq,
        right,
    } = condition
    else {
        return None;
    };
    let is_table = matches!(&**left, Expr::CompoundIdentifier(parts)
        if parts.last().is_some_and(|last| belvedere_sql::fold(last) == "attrelid"));
    let numbers = alone(subquery)?.projection.iter().find_map(|item| {
        let SelectItem::ExprWithAlias {
            expr: Expr::Function(function),
            alias,
        } = item
        else {
            return None;
        };
        let is_numbers =
            folded(&function.name) == ["unnest"] && belvedere_sql::fold(alias) == "attnum";
        match &function.args {
            FunctionArguments::List(list) if is_numbers => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(numbers))] => Some(numbers.clone()),
                _ => None,
            },
            _ => None,
        }
    })?;
    is_table.then(|| ((**right).clone(), numbers))
}

/// Functions that give rows, where they are selected.
pub(super) fn selected_rows(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        if matches!(expr, Expr::Function(function) if folded(&function.name) == ["generate_series"])
        {
            let list = std::mem::replace(expr, null());
            *expr = call("unnest", vec![list]);
        }
    }
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

/// Subqueries, and lists in a text, whose type DataFusion does not see.
fn may_mean_nothing(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        Expr::Function(function) if matches!(function.args, FunctionArguments::Subquery(_)) => {
            ControlFlow::Break(())
        }
        other => match as_text(other).and_then(items) {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        },
    });
    found.is_break()
}

/// Of the conditions of such a subquery DataFusion takes those that say that a column of its own equals one around it. The
/// others are asked outside: `CASE WHEN a.x <> (SELECT t.x …) THEN (SELECT …) END`.
pub(super) fn lifted(expr: &mut Expr) {
    let Expr::Subquery(query) = expr else {
        return;
    };
    let Some(select) = alone(query) else {
        return;
    };
    let ours = tables(select);
    let of_catalog = select
        .from
        .iter()
        .flat_map(factors)
        .all(|f| catalog_table(f).is_some());
    let ([_], Some(condition)) = (select.projection.as_slice(), &select.selection) else {
        return;
    };
    if !of_catalog || select.from.is_empty() || aggregates(select) {
        return;
    }
    let (mut kept, mut outside) = (Vec::new(), Vec::new());
    for part in conjuncts(condition) {
        match (side(part, &ours), part) {
            (Side::Ours | Side::Neither, _) => kept.push(part.clone()),
            (Side::Theirs, _) => outside.push((None, part.clone())),
            (Side::Both, Expr::BinaryOp { left, op, right }) => {
                match (side(left, &ours), op, side(right, &ours)) {
                    (Side::Ours, BinaryOperator::Eq, Side::Theirs)
                    | (Side::Theirs, BinaryOperator::Eq, Side::Ours) => kept.push(part.clone()),
                    (Side::Ours, _, Side::Theirs) => {
                        outside.push((Some((true, (**left).clone())), part.clone()));
                    }
                    (Side::Theirs, _, Side::Ours) => {
                        outside.push((Some((false, (**right).clone())), part.clone()));
                    }
                    _ => return,
                }
            }
            (Side::Both, _) => return,
        }
    }
    if outside.is_empty() {
        return;
    }
    let mut inner = query.clone();
    let SetExpr::Select(select) = &mut *inner.body else {
        return;
    };
    select.selection = kept.into_iter().reduce(and);
    let conditions = outside
        .into_iter()
        .map(|(value, part)| match (value, part) {
            (Some((is_left, value)), Expr::BinaryOp { left, op, right }) => {
                let mut asked = inner.clone();
                if let SetExpr::Select(select) = &mut *asked.body {
                    select.projection = vec![SelectItem::UnnamedExpr(value)];
                }
                let asked = Box::new(Expr::Subquery(asked));
                let (left, right) = if is_left {
                    (asked, right)
                } else {
                    (left, asked)
                };
                Expr::BinaryOp { left, op, right }
            }
            (_, part) => part,
        });
    let Some(condition) = conditions.reduce(and) else {
        return;
    };
    *expr = Expr::Case {
        case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition,
            result: Expr::Subquery(inner),
        }],
        else_result: None,
    };
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    }
}

fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    match condition {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        Expr::Nested(inner) => conjuncts(inner),
        other => vec![other],
    }
}

fn factors(from: &TableWithJoins) -> impl Iterator<Item = &TableFactor> {
    std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
}

/// What the tables of a select are called in it.
fn tables(select: &Select) -> HashSet<String> {
    let all = select.from.iter().flat_map(factors);
    let names = all.filter_map(|factor| match factor {
        TableFactor::Table {
            alias: Some(alias), ..
        } => Some(belvedere_sql::fold(&alias.name)),
        TableFactor::Table { name, .. } => folded(name).pop(),
        _ => None,
    });
    names.collect()
}

/// Whose columns an expression has.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Neither,
    Ours,
    Theirs,
    Both,
}

/// A column without its table is taken for one of ours.
fn side(expr: &Expr, ours: &HashSet<String>) -> Side {
    let (mut own, mut other) = (false, false);
    let _ = visit_expressions(expr, |expr| {
        match expr {
            Expr::Identifier(_) => own = true,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, _] if !ours.contains(&belvedere_sql::fold(table)) => other = true,
                _ => own = true,
            },
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    match (own, other) {
        (false, false) => Side::Neither,
        (true, false) => Side::Ours,
        (false, true) => Side::Theirs,
        (true, true) => Side::Both,
    }
}
