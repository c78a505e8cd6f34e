use datafusion::logical_expr::LogicalPlan;

use super::estimate::Estimate;

/// What asking a source costs before its first row, in rows of a copy that are read meanwhile.
const QUESTION: f64 = 10_000.0;
/// What a row costs that a source finds, in the same measure.
const FOUND: f64 = 10.0;

/// What an answer costs to compute from the sources, in rows of a copy that are read in that time. A part of a plan that is not
/// optimized yet: what counts is how many rows its conditions leave, whatever is made of them then.
pub fn live(plan: &LogicalPlan) -> f64 {
    QUESTION + FOUND * found(plan)
}

fn found(plan: &LogicalPlan) -> f64 {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_) => {
            let inputs = plan.inputs().into_iter();
            inputs.map(found).sum()
        }
        LogicalPlan::Filter(filter) if has_groups(&filter.input) => found(&filter.input),
        other => Estimate::of(other).rows,
    }
}

fn has_groups(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
            plan.inputs().into_iter().any(has_groups)
        }
        _ => false,
    }
}
