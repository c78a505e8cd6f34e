//! The rows of one table in parts, by ranges of row ids.
//!
//! The central type is [`Ranges`]. A row id says little of how many rows are below it: there are many more ranges than
//! connections, each connection reads some from everywhere, and gaps between rows become gaps between ranges.

use std::collections::BinaryHeap;

use belvedere_connector::{Error, Result, TableRef};
use belvedere_sqlgen::ast::{BinaryOperator, Expr, Query, Select, SetExpr, TableFactor, Value};
use belvedere_sqlgen::{Rendered, sql};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Statement};

use crate::failure;
use crate::shape;

/// Ranges for each connection.
const RANGES_EACH: usize = 16;
/// Fewer row ids are one range.
const LEAST_SPAN: u64 = 1_000;

/// What reads a table's rows in parts: a statement of two more parameters, the first and the last row id of a part.
#[derive(Debug)]
pub struct Ranges {
    pub sql: String,
    /// In their order; none holds a row of another, all hold every row that the whole statement would give.
    pub ranges: Vec<(i64, i64)>,
}

/// How a statement over the rows of one table is read in parts by so many connections. The connection is in the snapshot
/// that all of them see. None: it is better read whole, since an index serves it or few rows are asked for, or the
/// table has no row ids.
pub fn of(
    connection: &Connection,
    table: &TableRef,
    rendered: &Rendered,
    params: &[ToSqlOutput<'_>],
    readers: usize,
) -> Result<Option<Ranges>> {
    let found = shape::shape(connection, &table.name).map_err(failure::of)?;
    let Some(shape) = found.filter(|shape| !shape.is_virtual) else {
        return Ok(None);
    };
    let row_id = shape::row_id(connection, &shape).map_err(failure::of)?;
    let Some(row_id) = row_id else {
        return Ok(None);
    };
    let mut query = rendered.query.clone();
    let Some((select, alias)) = scan_of(&mut query) else {
        return Err(Error::internal("a split of what is not one table's rows"));
    };
    let row_id = sql::column(&alias, sql::word(row_id));
    let conditions = select.selection.take().map_or_else(Vec::new, conjuncts);
    let (bounds, others): (Vec<Expr>, Vec<Expr>) = conditions
        .into_iter()
        .partition(|condition| is_bound(condition, &row_id));

    select.selection = sql::all(others.iter().cloned());
    let table = select.from.first().map(ToString::to_string);
    let table = table.unwrap_or_default();
    let parts = part_of(&row_id, params.len()).chain(others);
    let selection = sql::all(parts);
    let is_scan = is_scan(connection, &query.to_string(), params, &alias);
    if !is_scan.map_err(failure::of)? {
        return Ok(None);
    }
    if let Some((select, _)) = scan_of(&mut query) {
        select.selection = selection;
    }
    let ends = ends(connection, &table, &row_id, bounds, params);
    let Some(ends) = ends.map_err(failure::of)? else {
        return Ok(None);
    };
    let ranges = cut(connection, &table, &row_id, ends, readers * RANGES_EACH);
    let ranges = ranges.map_err(failure::of)?;
    Ok((ranges.len() > 1).then(|| Ranges {
        sql: query.to_string(),
        ranges,
    }))
}

/// The innermost SELECT of a chain of them, and the alias of its table.
fn scan_of(query: &mut Query) -> Option<(&mut Select, String)> {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let [from] = &select.from[..] else {
        return None;
    };
    match &from.relation {
        TableFactor::Table {
            alias: Some(alias), ..
        } if from.joins.is_empty() => {
            let alias = alias.name.value.clone();
            Some((select, alias))
        }
        TableFactor::Derived { .. } => match &mut select.from.first_mut()?.relation {
            TableFactor::Derived { subquery, .. } => scan_of(subquery),
            _ => None,
        },
        _ => None,
    }
}

/// Conditions of which each must hold.
pub fn conjuncts(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            let mut all = conjuncts(*left);
            all.extend(conjuncts(*right));
            all
        }
        other => vec![other],
    }
}

/// It holds for the row ids up to, or from, a constant: so it does for all between two for which it does.
fn is_bound(condition: &Expr, row_id: &Expr) -> bool {
    use BinaryOperator::{Gt, GtEq, Lt, LtEq};
    let is_constant = |expr: &Expr| matches!(expr, Expr::Value(_));
    match condition {
        Expr::BinaryOp {
            left,
            op: Gt | GtEq | Lt | LtEq,
            right,
        } => (**left == *row_id && is_constant(right)) || (is_constant(left) && **right == *row_id),
        _ => false,
    }
}

/// The conditions of a part, with the two parameters after those that there are.
fn part_of(row_id: &Expr, params: usize) -> impl Iterator<Item = Expr> + use<> {
    let limit = |op, n: usize| {
        let placeholder = Expr::value(Value::Placeholder(format!("?{n}")));
        sql::binary(row_id.clone(), op, placeholder)
    };
    [
        limit(BinaryOperator::GtEq, params + 1),
        limit(BinaryOperator::LtEq, params + 2),
    ]
    .into_iter()
}

/// Whether SQLite goes through the whole table.
fn is_scan(
    connection: &Connection,
    sql: &str,
    params: &[ToSqlOutput<'_>],
    alias: &str,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    bind(&mut statement, params)?;
    let scan = format!("SCAN {alias}");
    let mut steps = statement.raw_query();
    while let Some(step) = steps.next()? {
        if step.get_ref("detail")?.as_str() == Ok(scan.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those parameters that the statement has: it may be a part of another.
fn bind(statement: &mut Statement<'_>, params: &[ToSqlOutput<'_>]) -> rusqlite::Result<()> {
    for (i, param) in params.iter().take(statement.parameter_count()).enumerate() {
        statement.raw_bind_parameter(i + 1, param)?;
    }
    Ok(())
}

/// The least and the greatest row id within bounds.
fn ends(
    connection: &Connection,
    table: &str,
    row_id: &Expr,
    bounds: Vec<Expr>,
    params: &[ToSqlOutput<'_>],
) -> rusqlite::Result<Option<(i64, i64)>> {
    let within = sql::all(bounds).map_or(String::new(), |bounds| format!("WHERE {bounds}"));
    let end = |order: &str| {
        let text =
            format!("SELECT {row_id} FROM {table} {within} ORDER BY {row_id} {order} LIMIT 1");
        let mut statement = connection.prepare(&text)?;
        bind(&mut statement, params)?;
        let row = statement.raw_query().next()?.map(|row| row.get(0));
        row.transpose()
    };
    let (least, greatest): (Option<i64>, Option<i64>) = (end("ASC")?, end("DESC")?);
    Ok(least.zip(greatest))
}

/// What lies between two row ids that exist in so many ranges, each from a row to a row: the longest is cut in its middle.
fn cut(
    connection: &Connection,
    table: &str,
    row_id: &Expr,
    (least, greatest): (i64, i64),
    ranges: usize,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut up_to = connection.prepare(&format!(
        "SELECT {row_id} FROM {table} WHERE {row_id} < ?1 ORDER BY {row_id} DESC LIMIT 1"
    ))?;
    let mut from = connection.prepare(&format!(
        "SELECT {row_id} FROM {table} WHERE {row_id} >= ?1 ORDER BY {row_id} LIMIT 1"
    ))?;
    let range = |first: i64, last: i64| (last.abs_diff(first), first, last);
    let mut found = BinaryHeap::from([range(least, greatest)]);
    while found.len() < ranges
        && let Some((span, first, last)) = found.pop()
    {
        if span < LEAST_SPAN {
            found.push((span, first, last));
            break;
        }
        // Above the first, and not above the last: there is a row on either side.
        let middle = first.saturating_add_unsigned(span / 2 + 1);
        found.push(range(first, up_to.query_row([middle], |row| row.get(0))?));
        found.push(range(from.query_row([middle], |row| row.get(0))?, last));
    }
    let mut ranges: Vec<_> = found
        .into_iter()
        .map(|(_, first, last)| (first, last))
        .collect();
    ranges.sort_unstable();
    Ok(ranges)
}
