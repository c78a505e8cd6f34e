use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, LogicalPlan, Projection, Sort, Window, WindowFunctionDefinition,
};

use super::expr::is_sortable;

/// Make every `ORDER BY … LIMIT n` and `row_number()` a function of its input (guarantee 2): ties break by the
/// remaining columns of that operator's input, left to right, ascending, NULLs last; columns without an order are
/// skipped. Runs before DataFusion's optimizer, which prunes columns.
pub fn break_ties(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.rewrite_with_subqueries(&mut BreakTies).map(|t| t.data)
}

struct BreakTies;

impl TreeNodeRewriter for BreakTies {
    type Node = LogicalPlan;

    fn f_down(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Limit(mut limit) => match extend_sort_below(&limit.input) {
                Some(input) => {
                    limit.input = Arc::new(input);
                    Ok(Transformed::yes(LogicalPlan::Limit(limit)))
                }
                None => Ok(Transformed::no(LogicalPlan::Limit(limit))),
            },
            LogicalPlan::Window(window) => numbered(window),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The plan below a limit, with the sort that decides its order extended.
fn extend_sort_below(plan: &LogicalPlan) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::Sort(sort) => {
            let mut keys = sort.expr.clone();
            extend(&mut keys, sort.input.schema());
            Some(LogicalPlan::Sort(Sort {
                expr: keys,
                ..sort.clone()
            }))
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            let input = extend_sort_below(plan.inputs().first()?)?;
            plan.with_new_exprs(plan.expressions(), vec![input]).ok()
        }
        _ => None,
    }
}

/// Rows numbered in an order without ties. DataFusion takes all functions of a node to have one order: the others are put
/// into a node of their own.
fn numbered(window: Window) -> Result<Transformed<LogicalPlan>> {
    let is_numbered = |expr: &Expr| {
        expr.exists(|expr| match expr {
            Expr::WindowFunction(function) => Ok(is_row_number(function)),
            _ => Ok(false),
        })
    };
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    for expr in &window.window_expr {
        match is_numbered(expr)? {
            true => numbers.push(expr.clone()),
            false => others.push(expr.clone()),
        }
    }
    if numbers.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let schema = window.input.schema().clone();
    // A window's column is named after its expression: the plan above must still find it.
    let names = NamePreserver::new_for_projection();
    let numbers = numbers.into_iter().map(|expr| {
        let name = names.save(&expr);
        let extended = expr.transform(|e| Ok(extend_row_number(e, &schema)))?;
        Ok(name.restore(extended.data))
    });
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    let numbered = LogicalPlan::Window(Window::try_new(numbers, window.input)?);
    if others.is_empty() {
        return Ok(Transformed::yes(numbered));
    }
    let all = LogicalPlan::Window(Window::try_new(others, Arc::new(numbered))?);
    let columns = window.schema.columns().into_iter().map(Expr::Column);
    let ordered = Projection::try_new(columns.collect(), Arc::new(all))?;
    Ok(Transformed::yes(LogicalPlan::Projection(ordered)))
}

fn extend_row_number(expr: Expr, input: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::WindowFunction(mut function) if is_row_number(&function) => {
            extend(&mut function.params.order_by, input);
            Transformed::yes(Expr::WindowFunction(function))
        }
        other => Transformed::no(other),
    }
}

fn is_row_number(function: &WindowFunction) -> bool {
    matches!(&function.fun, WindowFunctionDefinition::WindowUDF(udf) if udf.name() == "row_number")
        && !function.params.order_by.is_empty()
}

fn extend(keys: &mut Vec<SortExpr>, input: &DFSchema) {
    for (qualifier, field) in input.iter() {
        let column = Expr::Column((qualifier, field).into());
        if is_sortable(field.data_type()) && !keys.iter().any(|key| key.expr == column) {
            keys.push(column.sort(true, false));
        }
    }
}
