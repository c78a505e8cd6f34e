use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::LogicalRule;

/// A rule of DataFusion's with more that is done to each node.
#[derive(Debug)]
pub struct Amended {
    pub rule: LogicalRule,
    pub amends: Amends,
}

#[derive(Debug)]
pub enum Amends {
    /// Done to what the rule is given.
    Before(fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>),
    /// Done to what the rule makes.
    After(fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>),
    /// The rule is wrong for nodes of which this is true: they are left as they are.
    Unless(fn(&LogicalPlan) -> Result<bool>),
}

impl OptimizerRule for Amended {
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
        let rule = |plan| self.rule.rewrite(plan, config);
        match self.amends {
            Amends::Before(amend) => amend(plan)?.transform_data(rule),
            Amends::After(amend) => rule(plan)?.transform_data(amend),
            Amends::Unless(spares) => match spares(&plan)? {
                true => Ok(Transformed::no(plan)),
                false => rule(plan),
            },
        }
    }
}
