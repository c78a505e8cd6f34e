use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use belvedere_connector::Fragment;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result, Statistics, internal_err};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::estimate::Estimate;
use super::exec::FragmentExec;
use super::peers::Keys;
use super::provider::SourceHandle;
use super::shared::is_repeated;
use super::topn::Restart;

/// A leaf of a cut plan: what one source answers. Its columns are the fragment's, under the names the plan above
/// knows them by.
#[derive(Debug, Clone)]
pub struct FragmentNode {
    pub handle: Arc<SourceHandle>,
    pub fragment: Arc<Fragment>,
    pub schema: DFSchemaRef,
    pub keys: Keys,
    pub estimate: Estimate,
}

impl FragmentNode {
    pub fn into_plan(self) -> LogicalPlan {
        let node = Arc::new(self);
        LogicalPlan::Extension(Extension { node })
    }
}

pub fn fragment_of(node: &LogicalPlan) -> Option<&FragmentNode> {
    match node {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// The input of a node that has one.
pub fn only<T>(mut inputs: Vec<T>) -> Result<T> {
    match (inputs.pop(), inputs.pop()) {
        (Some(input), None) => Ok(input),
        _ => internal_err!("a node of one input is given another number of them"),
    }
}

impl PartialEq for FragmentNode {
    fn eq(&self, other: &Self) -> bool {
        self.handle.name == other.handle.name
            && self.fragment == other.fragment
            && self.schema == other.schema
    }
}

impl Eq for FragmentNode {}

impl PartialOrd for FragmentNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for FragmentNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.handle.name.hash(state);
        self.schema.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for FragmentNode {
    fn name(&self) -> &str {
        "Fragment"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let text = self.handle.source.describe(&self.fragment);
        write!(f, "Fragment: {}: {text}", self.handle.name)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if !exprs.is_empty() || !inputs.is_empty() {
            return internal_err!("a fragment is a leaf");
        }
        Ok(self.clone())
    }
}

/// The fragments of a cut plan, subqueries included, from left to right, and what is tried over some rows of one first,
/// whose fragments are its attempts' own; of what is read in several places one.
pub fn fragments(plan: &LogicalPlan) -> (Vec<FragmentNode>, Vec<Restart>) {
    let (mut found, mut restarts) = (Vec::new(), Vec::new());
    let walked = plan.apply_with_subqueries(|node| {
        if is_repeated(node) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Some(restart) = Restart::of(node) {
            restarts.push(restart.clone());
            return Ok(TreeNodeRecursion::Jump);
        }
        found.extend(fragment_of(node).cloned());
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the walk itself never fails");
    (found, restarts)
}

/// Plans fragment nodes as scans.
#[derive(Debug)]
pub struct FragmentPlanner;

#[async_trait]
impl ExtensionPlanner for FragmentPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<FragmentNode>() else {
            return Ok(None);
        };
        let schema = Arc::clone(node.schema.inner());
        let statistics = node.estimate.known_rows().map(|rows| {
            let mut statistics = Statistics::new_unknown(&schema);
            statistics.num_rows = Precision::Inexact(rows);
            let columns = node.schema.columns().into_iter().map(Expr::Column);
            for (column, known) in columns.zip(&mut statistics.column_statistics) {
                if let Some(distinct) = node.estimate.domain(&column) {
                    known.distinct_count = Precision::Inexact(distinct as usize);
                }
            }
            statistics
        });
        Ok(Some(Arc::new(FragmentExec::new(
            node.handle.clone(),
            node.fragment.clone(),
            schema,
            statistics,
            session.config().target_partitions(),
        ))))
    }
}
