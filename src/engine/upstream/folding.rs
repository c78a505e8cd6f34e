//! `-0.0 / -0.0 = CAST('NaN' AS DOUBLE)`: DataFusion folds constants one by one, so that the processor's own NaN is a
//! literal when it is compared, by its bits, with the one that is read.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::{expressions, floats};

/// The node with what may fold to a NaN made the one NaN.
pub fn folds_to_one_nan(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    expressions::rewritten(node, may_fold_to_a_nan, |expr, schema| {
        expr.transform_down(|expr| {
            let expr = match may_fold_to_a_nan(&expr) {
                true => floats::with_one_nan(expr, schema),
                false => return Ok(Transformed::no(expr)),
            };
            let is_whole = floats::is_one_nan(&expr);
            let recursion = match is_whole {
                true => TreeNodeRecursion::Jump,
                false => TreeNodeRecursion::Continue,
            };
            Ok(Transformed::new(expr, is_whole, recursion))
        })
    })
}

/// Whether it is computed of constants alone, and not yet [`floats::with_one_nan`]; its type is not looked at.
fn may_fold_to_a_nan(expr: &Expr) -> bool {
    let is_computed = match expr {
        Expr::BinaryExpr(binary) => binary.op.is_numerical_operators(),
        Expr::Negative(_) => true,
        Expr::ScalarFunction(_) => !floats::is_one_nan(expr),
        _ => false,
    };
    is_computed && is_constant(expr)
}

/// Whether DataFusion may fold it: what reads a column is of another row each time; so may be what is volatile.
pub fn is_constant(expr: &Expr) -> bool {
    !expr.any_column_refs() && !expr.is_volatile() && !reads_elsewhere(expr)
}

fn reads_elsewhere(expr: &Expr) -> bool {
    expr.contains_outer() || expr.contains_scalar_subquery()
}
