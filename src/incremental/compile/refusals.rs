//! What cannot be kept by its changes, in words that a user of SQL understands.

use datafusion::common::Result as Done;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility, WindowFunctionDefinition};

use super::{Result, joins, refused, times};

/// Aggregates that say in which order their rows came.
const ORDERED: [&str; 5] = [
    "array_agg",
    "string_agg",
    "first_value",
    "last_value",
    "nth_value",
];
/// Window functions that do.
const NUMBERED: [&str; 7] = [
    "row_number",
    "lag",
    "lead",
    "ntile",
    "first_value",
    "last_value",
    "nth_value",
];

/// Refuse a plan with an expression whose value is not a function of tables, unless it is one of the clock that can be kept.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    checked(plan, true)?
}

/// `has_clock`: it is not DataFusion that runs it, which would read the clock once.
fn checked(plan: &LogicalPlan, has_clock: bool) -> Done<Result<()>> {
    let mut found = Ok(());
    plan.apply_with_subqueries(|node| {
        if has_clock && matches!(node, LogicalPlan::RecursiveQuery(_)) {
            found = checked(node, false)?;
            return Ok(match found {
                Ok(()) => TreeNodeRecursion::Jump,
                Err(_) => TreeNodeRecursion::Stop,
            });
        }
        let is_filter = match node {
            LogicalPlan::Filter(_) | LogicalPlan::TableScan(_) => has_clock,
            LogicalPlan::Join(join) => has_clock && joins::has_filter_behind(join),
            _ => false,
        };
        let inputs = node.inputs();
        let columns = inputs
            .first()
            .map_or(0, |input| input.schema().fields().len());
        let mut check = |expr: &Expr| {
            expr.apply(|expr| {
                found = expression(expr, columns);
                Ok(match found {
                    Ok(()) => TreeNodeRecursion::Continue,
                    Err(_) => TreeNodeRecursion::Stop,
                })
            })
        };
        node.apply_expressions(|expr| match times::of_rows(expr).filter(|_| is_filter) {
            None => check(expr),
            Some(parts) => {
                for part in &parts {
                    if check(part)? == TreeNodeRecursion::Stop {
                        return Ok(TreeNodeRecursion::Stop);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            }
        })
    })?;
    Ok(found)
}

pub(super) fn limit<T>() -> Result<T> {
    refused(
        "LIMIT without ORDER BY",
        "it is any rows, and others each time. Add ORDER BY",
    )
}

/// Of a node whose input has this many columns.
fn expression(expr: &Expr, columns: usize) -> Result<()> {
    match expr {
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            match times::is_clock(call) {
                true => times::refused_clock(name),
                false => volatility(name, call.func.signature().volatility),
            }
        }
        Expr::AggregateFunction(call) => aggregate(call),
        Expr::WindowFunction(call) => window(call, columns),
        Expr::ScalarVariable(..) => {
            refused("a variable", "its value may change while no table does")
        }
        Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() => Ok(()),
        Expr::ScalarSubquery(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_) => refused(
            "a subquery about the outer row",
            "it could not be made a join. Write it as one",
        ),
        Expr::Placeholder(_) => refused("a parameter", "a view has none"),
        _ => Ok(()),
    }
}

fn volatility(name: &str, volatility: Volatility) -> Result<()> {
    match volatility {
        Volatility::Immutable => Ok(()),
        Volatility::Stable => refused(
            format!("{name}()"),
            "its value may change while no table does",
        ),
        Volatility::Volatile => refused(format!("{name}()"), "its value is another each time"),
    }
}

fn aggregate(call: &AggregateFunction) -> Result<()> {
    let name = call.func.name();
    volatility(name, call.func.signature().volatility)?;
    match ORDERED.contains(&name) && call.params.order_by.is_empty() {
        true => refused(
            format!("{name}() without ORDER BY"),
            format!(
                "it depends on the order of rows, which tables do not have. Write {name}(… ORDER BY …)"
            ),
        ),
        false => Ok(()),
    }
}

fn window(call: &WindowFunction, columns: usize) -> Result<()> {
    let name = call.fun.name();
    let is_ordered = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            volatility(name, function.signature().volatility)?;
            ORDERED.contains(&name)
        }
        WindowFunctionDefinition::WindowUDF(function) => {
            volatility(name, function.signature().volatility)?;
            NUMBERED.contains(&name)
        }
    };
    // Rows of a partition by all columns are the same.
    let are_same = call.params.partition_by.iter().flat_map(Expr::column_refs);
    let are_same = are_same.collect::<std::collections::HashSet<_>>().len() == columns;
    match is_ordered && call.params.order_by.is_empty() && !are_same {
        true => refused(
            format!("{name}() without ORDER BY"),
            "it depends on the order of rows, which tables do not have. Write OVER (ORDER BY …)",
        ),
        false => Ok(()),
    }
}
