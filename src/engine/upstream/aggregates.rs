//! DataFusion's rule that moves filters down moves them below an aggregate if they read its group keys alone. That is
//! wrong where there are groups without input: an aggregate without keys has a row for none, which a filter that reads no
//! column drops; and a total of `ROLLUP` has NULL for a key.
//!
//! The one that makes groups of a DISTINCT adds up sums beside it twice: in smaller groups, then those. A sum of decimals has more digits
//! than what it adds, so that it would be of another type than the query has; one of floats would be rounded twice.

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};

use crate::exact::adds_up_floats;

/// Whether it is a filter over such an aggregate.
pub fn is_over_totals(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Filter(filter) = plan else {
        return Ok(false);
    };
    Ok(matches!(filter.input.as_ref(), LogicalPlan::Aggregate(aggregate) if has_totals(aggregate)))
}

/// Whether it is an aggregate with sums that are not the same when they are added up again.
pub fn adds_up_otherwise(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Aggregate(aggregate) = plan else {
        return Ok(false);
    };
    let schema = aggregate.input.schema();
    let of_decimals = |expr: &Expr| {
        expr.exists(|expr| match expr {
            Expr::AggregateFunction(call) if call.func.name() == "sum" => {
                let types = call.params.args.iter().map(|arg| arg.get_type(schema));
                let types = types.collect::<Result<Vec<_>>>()?;
                Ok(types.iter().any(|data_type| data_type.is_decimal()))
            }
            _ => Ok(false),
        })
    };
    for expr in &aggregate.aggr_expr {
        if of_decimals(expr)? {
            return Ok(true);
        }
    }
    adds_up_floats(plan)
}

fn has_totals(aggregate: &Aggregate) -> bool {
    let keys = &aggregate.group_expr;
    keys.is_empty() || keys.iter().any(|key| matches!(key, Expr::GroupingSet(_)))
}
