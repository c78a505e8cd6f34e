use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::LogicalRule;

/// A rule of DataFusion's, but for the nodes for which it is wrong.
#[derive(Debug)]
pub struct Spared {
    pub rule: LogicalRule,
    /// Whether this node is left as it is.
    pub spares: fn(&LogicalPlan) -> Result<bool>,
}

impl OptimizerRule for Spared {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match (self.spares)(&plan)? {
            true => Ok(Transformed::no(plan)),
            false => self.rule.rewrite(plan, config),
        }
    }
}
