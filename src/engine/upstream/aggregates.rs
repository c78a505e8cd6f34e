//! DataFusion's rule that moves filters down moves them below an aggregate if they read its group keys alone. That is
//! wrong where there are groups without input: an aggregate without keys has a row for none, which a filter that reads no
//! column drops; and a total of `ROLLUP` has NULL for a key.

use datafusion::common::Result;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

/// Whether it is a filter over such an aggregate.
pub fn is_over_totals(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Filter(filter) = plan else {
        return Ok(false);
    };
    Ok(matches!(filter.input.as_ref(), LogicalPlan::Aggregate(aggregate) if has_totals(aggregate)))
}

fn has_totals(aggregate: &Aggregate) -> bool {
    let keys = &aggregate.group_expr;
    keys.is_empty() || keys.iter().any(|key| matches!(key, Expr::GroupingSet(_)))
}
