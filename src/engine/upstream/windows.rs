//! Windows with the same keys, of which DataFusion takes what is computed twice to a column for some and not for others: for
//! none whose function is of a value that is not always computed, as in `lag(coalesce(a, b)) OVER (PARTITION BY a + 1)`. With
//! keys that are not the same any more the planner panics.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Whether windows of one node have keys that are computed. The rule is given the whole plan.
pub fn have_computed_keys(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Window(window) = node
            && window.window_expr.len() > 1
        {
            for expr in &window.window_expr {
                found |= expr.exists(|expr| Ok(has_computed_key(expr)))?;
            }
        }
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

fn has_computed_key(expr: &Expr) -> bool {
    let Expr::WindowFunction(function) = expr else {
        return false;
    };
    let params = &function.params;
    let sorted = params.order_by.iter().map(|sort| &sort.expr);
    let mut keys = params.partition_by.iter().chain(sorted);
    keys.any(|key| !matches!(key, Expr::Column(_)))
}
