//! What stands in a plan where rows are kept from whoever asks: nothing of what is asked for passes below it but what gives nothing
//! away of rows that are not seen ([`leakproof`](belvedere_connector::Expr::is_leakproof)). It lets rows pass as they are.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, FilterDescription, FilterPushdownPhase,
};
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use crate::catalog::ObjectId;

/// Above what is read of one object, as somebody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Barrier {
    pub input: Arc<LogicalPlan>,
    pub on: ObjectId,
    /// The policies and masks by which it is read so. None: it is a view, which reads what whoever asks may not.
    pub rules: Vec<String>,
}

impl Barrier {
    pub fn of(node: &LogicalPlan) -> Option<&Self> {
        match node {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }

    pub fn into_plan(self) -> LogicalPlan {
        let node = Arc::new(self);
        LogicalPlan::Extension(Extension { node })
    }

    /// Whether some of a plan, subqueries included, is behind one.
    pub fn is_in(plan: &LogicalPlan) -> bool {
        let mut is_there = false;
        let walked = plan.apply_with_subqueries(|node| {
            is_there |= Self::of(node).is_some();
            Ok(match is_there {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        });
        debug_assert!(walked.is_ok(), "the walk itself never fails");
        is_there
    }
}

impl PartialOrd for Barrier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Barrier {
    fn name(&self) -> &str {
        "Barrier"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Barrier: {}", self.on)?;
        match self.rules.is_empty() {
            true => Ok(()),
            false => write!(f, " as {} show it", self.rules.join(", ")),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) if exprs.is_empty() => Ok(Self {
                input: Arc::new(input),
                ..self.clone()
            }),
            _ => internal_err!("a barrier has one input"),
        }
    }

    fn necessary_children_exprs(&self, columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![columns.to_vec()])
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }
}

/// Plans barriers.
#[derive(Debug)]
pub struct BarrierPlanner;

#[async_trait]
impl ExtensionPlanner for BarrierPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        match (node.as_any().downcast_ref::<Barrier>(), physical_inputs) {
            (Some(barrier), [input]) => Ok(Some(Arc::new(BarrierExec {
                input: input.clone(),
                on: barrier.on.clone(),
            }))),
            _ => Ok(None),
        }
    }
}

/// DataFusion pushes filters through physical plans, too, and joins them to one.
#[derive(Debug, Clone)]
struct BarrierExec {
    input: Arc<dyn ExecutionPlan>,
    on: ObjectId,
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "BarrierExec: {}", self.on)
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &str {
        "BarrierExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self {
                input,
                on: self.on.clone(),
            })),
            Err(_) => internal_err!("a barrier has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(input.clone()),
            _ => internal_err!("a barrier has one input"),
        }
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    /// What the other side of a join has, and the like: comparisons of columns with values.
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        // As the barrier's own, beside which who sent them goes by them, too.
        let passed = filters.iter().filter(|filter| compares_columns(filter));
        let child = ChildFilterDescription::all_unsupported(&filters);
        let child = child.with_self_filters(passed.cloned().collect());
        Ok(FilterDescription::new().with_child(child))
    }
}

/// Whether it is a dynamic filter over bare columns.
fn compares_columns(filter: &Arc<dyn PhysicalExpr>) -> bool {
    filter.is::<DynamicFilterPhysicalExpr>()
        && filter.children().iter().all(|child| child.is::<Column>())
}
