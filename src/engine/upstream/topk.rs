//! `SELECT … FROM (a UNION ALL b) ORDER BY x, y LIMIT 3`, where x is one value in all of a and another in all of b: each
//! partition of the union is sorted by y alone, which is enough there. But the sorts share one bound on what is still
//! worth keeping, by y alone too, and rows of a that come first by x are lost.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

/// Partitions that share a bound are sorted by all that their rows are merged by.
#[derive(Debug)]
pub struct WholeTopK;

impl PhysicalOptimizerRule for WholeTopK {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let whole = plan.transform_up(|node| {
            Ok(match sorted_by_less(&node) {
                Some(sort) => Transformed::yes(replace_children_if_necessary(node, vec![sort])?),
                None => Transformed::no(node),
            })
        });
        whole.map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "WholeTopK"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The sort below the merge `node` by the merge's keys, if it has others.
fn sorted_by_less(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let merge = node.downcast_ref::<SortPreservingMergeExec>()?;
    let sort = merge.input().downcast_ref::<SortExec>()?;
    if sort.fetch().is_none() || sort.expr() == merge.expr() {
        return None;
    }
    let whole = SortExec::new(merge.expr().clone(), sort.input().clone())
        .with_fetch(sort.fetch())
        .with_preserve_partitioning(sort.preserve_partitioning());
    Some(Arc::new(whole))
}
