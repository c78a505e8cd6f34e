use datafusion::common::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

/// Whether an aggregate adds up floats. DataFusion's rule for `sum(x), count(DISTINCT y)` would group by y too, and add up
/// the sums: those of floats are rounded.
pub(crate) fn adds_up_floats(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Aggregate(aggregate) = plan else {
        return Ok(false);
    };
    for expr in &aggregate.aggr_expr {
        if let Expr::AggregateFunction(call) = expr
            && call.func.name() == "sum"
            && !call.params.distinct
            && expr.get_type(aggregate.input.schema())?.is_floating()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
