//! DataFusion's rule that moves filters down moves them below an aggregate if they read its group keys alone. That is
//! wrong where there are groups without input: an aggregate without keys has a row for none, which a filter that reads no
//! column drops; and a total of `ROLLUP` has NULL for a key.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::LogicalRule;

/// The rule, but for filters over such aggregates.
#[derive(Debug)]
pub struct FiltersAboveTotals(pub LogicalRule);

impl OptimizerRule for FiltersAboveTotals {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match is_over_totals(&plan) {
            true => Ok(Transformed::no(plan)),
            false => self.0.rewrite(plan, config),
        }
    }
}

fn is_over_totals(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else {
        return false;
    };
    matches!(filter.input.as_ref(), LogicalPlan::Aggregate(aggregate) if has_totals(aggregate))
}

fn has_totals(aggregate: &Aggregate) -> bool {
    let keys = &aggregate.group_expr;
    keys.is_empty() || keys.iter().any(|key| matches!(key, Expr::GroupingSet(_)))
}
