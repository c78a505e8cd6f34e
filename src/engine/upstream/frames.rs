//! `sum(n) OVER (ORDER BY at)`, where `at` is a time of day, an interval or bytes: DataFusion refuses RANGE frames over
//! what is no number, text or date, even those whose ends are peers of a row and no distance from it: the usual one is.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits,
};

/// The plan with such frames in GROUPS of peers, which they are.
pub fn peers_as_groups(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Window(window) = node else {
            return Ok(Transformed::no(node));
        };
        let schema = window.input.schema().clone();
        let node = LogicalPlan::Window(window);
        let names = NamePreserver::new_for_projection();
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| {
                let Expr::WindowFunction(mut function) = expr else {
                    return Ok(Transformed::no(expr));
                };
                let frame = &mut function.params.window_frame;
                let key = function.params.order_by.first();
                let key = key.map(|key| key.expr.get_type(&schema)).transpose()?;
                let is_refused = key.is_some_and(|key| is_refused(&key));
                let of_peers = frame.units == WindowFrameUnits::Range
                    && [&frame.start_bound, &frame.end_bound].map(is_no_distance) == [true; 2];
                if !is_refused || !of_peers {
                    return Ok(Transformed::no(Expr::WindowFunction(function)));
                }
                frame.units = WindowFrameUnits::Groups;
                Ok(Transformed::yes(Expr::WindowFunction(function)))
            })?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(plan.data)
}

fn is_no_distance(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => by.is_null(),
    }
}

fn is_refused(key: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Dictionary, Duration, FixedSizeBinary, Interval, LargeBinary, Time32,
        Time64,
    };
    match key {
        Dictionary(_, value) => is_refused(value),
        Time32(_) | Time64(_) | Interval(_) | Duration(_) => true,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => true,
        _ => false,
    }
}
