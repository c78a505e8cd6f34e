//! DataFusion's rule that moves projections down, but for those that could then fail on rows that a filter drops.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;

use super::PhysicalRule;

/// `SELECT b, a / b + c FROM t WHERE b <> 0` divides only where b is not zero: a plan that computes anything over a
/// filter's rows keeps its projections where they are.
#[derive(Debug)]
pub struct CarefulProjections(pub PhysicalRule);

impl PhysicalOptimizerRule for CarefulProjections {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match plan.exists(|node| Ok(computes_over_a_filter(node)))? {
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

fn computes_over_a_filter(node: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(projection) = node.downcast_ref::<ProjectionExec>() else {
        return false;
    };
    projection.expr().iter().any(|e| computes(&e.expr)) && is_over_a_filter(projection.input())
}

fn computes(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Column>().is_none() && expr.downcast_ref::<Literal>().is_none()
}

/// Whether the projection would reach a filter on its way down.
fn is_over_a_filter(node: &Arc<dyn ExecutionPlan>) -> bool {
    let mut found = false;
    // The walk itself never fails.
    let _ = node.apply(|node| {
        found |= node.downcast_ref::<FilterExec>().is_some();
        Ok(match found || node.children().len() != 1 {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    found
}
