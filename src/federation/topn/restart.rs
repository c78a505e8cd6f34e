use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::exec::{CutoffExec, RestartExec};
use crate::federation::node::only;

/// A column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub column: usize,
    pub options: SortOptions,
}

/// A top-n, tried over the first rows of the side that orders it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Restart {
    /// The same top-n each: over a [`Cutoff`] of so many rows as the trial's limits say; the last over all rows.
    pub attempts: Vec<LogicalPlan>,
    pub trial: Arc<Trial>,
}

/// What a restart goes by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Trial {
    /// The rows of each attempt but the last.
    pub limits: Vec<usize>,
    pub fetch: usize,
    /// What the cutoffs' keys are among the answer's columns.
    pub keys: Vec<Key>,
    /// The source of the side that is limited.
    pub ordered: String,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "first rows of {}={:?}", self.ordered, self.limits)
    }
}

/// The first rows of a side, of which a restart has to know where they end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cutoff {
    pub input: LogicalPlan,
    pub keys: Vec<Key>,
}

impl Restart {
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
}

impl Cutoff {
    pub fn into_plan(self) -> LogicalPlan {
        let node = Arc::new(self);
        LogicalPlan::Extension(Extension { node })
    }
}

impl PartialOrd for Restart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl PartialOrd for Cutoff {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Restart {
    fn name(&self) -> &str {
        "Restart"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.attempts.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        self.attempts[0].schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Restart: {}", self.trial)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, attempts: Vec<LogicalPlan>) -> Result<Self> {
        if attempts.len() != self.attempts.len() {
            return internal_err!("a restart has as many attempts as before");
        }
        let trial = self.trial.clone();
        Ok(Self { attempts, trial })
    }
}

impl UserDefinedLogicalNodeCore for Cutoff {
    fn name(&self) -> &str {
        "Cutoff"
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
        write!(f, "Cutoff")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self {
            input: only(inputs)?,
            keys: self.keys.clone(),
        })
    }
}

/// Plans restarts and their cutoffs.
#[derive(Debug)]
pub struct RestartPlanner;

#[async_trait]
impl ExtensionPlanner for RestartPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let any = node.as_any();
        if let Some(restart) = any.downcast_ref::<Restart>() {
            let attempts = physical_inputs.to_vec();
            return Ok(Some(Arc::new(RestartExec::new(
                restart.trial.clone(),
                attempts,
            ))));
        }
        match (any.downcast_ref::<Cutoff>(), physical_inputs) {
            (Some(cutoff), [input]) => {
                let exec = CutoffExec::new(input.clone(), cutoff.keys.clone());
                Ok(Some(Arc::new(exec)))
            }
            _ => Ok(None),
        }
    }
}
