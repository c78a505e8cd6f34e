//! `a LEFT JOIN b ON a.id = b.id WHERE b.id IS NULL`: DataFusion's rule that pushes filters down the physical plan finds
//! a filter's columns by name in all nodes but joins. Where a join has two columns of one name, below a projection that
//! swaps its sides, say, the filter goes to the first, here to `a.id`.
//!
//! The keys of a join's smaller side, which it pushes while the query runs, are compared by their bits: of floats they would drop
//! 0.0 where -0.0 is a key, which the join takes for equal.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, ChildPushdownResult, FilterDescription, FilterPushdownPhase,
    FilterPushdownPropagation,
};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::PhysicalRule;

/// The rule, with a [`Guard`] before every node that has columns which a filter may not be over while it works.
#[derive(Debug)]
pub struct GuardedFilters {
    pub rule: PhysicalRule,
    /// Whether it pushes what is known only while the query runs.
    pub are_dynamic: bool,
}

impl PhysicalOptimizerRule for GuardedFilters {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|node| {
            let clear = clear(&node, self.are_dynamic);
            Ok(match clear.len() == node.schema().fields().len() {
                true => Transformed::no(node),
                false => Transformed::yes(Arc::new(Guard { node, clear }) as _),
            })
        })?;
        if !guarded.transformed {
            return self.rule.optimize(guarded.data, config);
        }
        let pushed = self.rule.optimize(guarded.data, config)?;
        let bare = pushed.transform_up(|node| {
            Ok(match node.downcast_ref::<Guard>() {
                Some(guard) => Transformed::yes(guard.node.clone()),
                None => Transformed::no(node),
            })
        });
        bare.map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

/// The columns whose names no others have, and, for filters that are dynamic, no floats.
fn clear(node: &Arc<dyn ExecutionPlan>, are_dynamic: bool) -> HashSet<usize> {
    let schema = node.schema();
    let mut count = HashMap::new();
    for field in schema.fields() {
        *count.entry(field.name()).or_insert(0) += 1;
    }
    let fields = schema.fields().iter().enumerate();
    let is_clear = |field: &Field| {
        let is_compared =
            !are_dynamic || !(field.data_type().is_floating() || field.data_type().is_nested());
        count[field.name()] == 1 && is_compared
    };
    let clear = fields.filter(|(_, field)| is_clear(field));
    clear.map(|(i, _)| i).collect()
}

/// Lets filters through that are over `clear` columns only. Never executed.
#[derive(Debug)]
struct Guard {
    node: Arc<dyn ExecutionPlan>,
    clear: HashSet<usize>,
}

impl DisplayAs for Guard {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Guard {
    fn name(&self) -> &str {
        "Guard"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.node.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.node]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [node] = &children[..] else {
            return internal_err!("a guard stands before one node");
        };
        Ok(Arc::new(Self {
            node: node.clone(),
            clear: self.clear.clone(),
        }))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a guard is not executed")
    }

    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let to_node = ChildFilterDescription::from_child_with_allowed_indices(
            &parent_filters,
            self.clear.clone(),
            &self.node,
        )?;
        Ok(FilterDescription::new().with_child(to_node))
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }
}
