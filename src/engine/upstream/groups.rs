//! `SELECT DISTINCT x FROM t ORDER BY x LIMIT 3`: DataFusion keeps the first groups in a table that compares keys by
//! `==`, under which a NaN is not found again, and panics. It also hands the limit on through a window, whose rank is then
//! one among the groups that are left.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;

use super::PhysicalRule;

/// The rule, but not over groups by floats, nor where there are windows.
#[derive(Debug)]
pub struct ExactGroups(pub PhysicalRule);

impl PhysicalOptimizerRule for ExactGroups {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut inexact = false;
        plan.apply(|node| {
            inexact |= matches!(node.name(), "WindowAggExec" | "BoundedWindowAggExec");
            if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
                let schema = aggregate.input().schema();
                for (key, _) in aggregate.group_expr().expr() {
                    inexact |= key.data_type(&schema)?.is_floating();
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match inexact {
            true => Ok(plan),
            false => self.0.optimize(plan, config),
        }
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}
