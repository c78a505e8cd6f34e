//! A node of a plan, run by DataFusion over rows that are given to it.

use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchemaRef, Result};
use datafusion::execution::context::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use futures::executor::block_on;

use super::feed::{Fed, Feed, FeedPlanner};
use crate::store::batch;

/// Rows of a batch that a plan is given: as many as its own batches have.
const BATCH_ROWS: usize = 8192;

/// What DataFusion computes of some inputs; described, not yet planned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recipe {
    plan: LogicalPlan,
    inputs: usize,
    /// It cannot be run twice: each run is planned anew.
    is_recursive: bool,
}

impl Recipe {
    /// The plan that `node` makes of leaves with these columns.
    pub(super) fn new(
        inputs: &[DFSchemaRef],
        node: impl FnOnce(Vec<LogicalPlan>) -> Result<LogicalPlan>,
    ) -> Result<Self> {
        let leaves = inputs.iter().enumerate();
        let plan = node(
            leaves
                .map(|(i, schema)| Feed::leaf(i, schema.clone()))
                .collect(),
        )?;
        let is_recursive =
            plan.exists(|node| Ok(matches!(node, LogicalPlan::RecursiveQuery(_))))?;
        Ok(Self {
            plan,
            inputs: inputs.len(),
            is_recursive,
        })
    }

    /// What the plan gives. Any of it may be NULL: plans are not always right when they say it is not.
    pub(super) fn schema(&self) -> SchemaRef {
        let fields = self.plan.schema().fields().iter();
        let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// What runs recipes: DataFusion with one partition, on the thread that calls.
#[derive(Clone, Debug)]
pub(super) struct Kitchen {
    state: Arc<SessionState>,
    runtime: Arc<Runtime>,
}

/// Some operators start tasks.
#[derive(Debug)]
struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Kitchen {
    pub(super) fn new(state: &SessionState) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self {
            state: Arc::new(of_one_partition(state)),
            runtime: Arc::new(Runtime(Some(runtime))),
        })
    }

    fn planned(&self, recipe: &Recipe, fed: &[Fed]) -> Result<Arc<dyn ExecutionPlan>> {
        let feeds = Arc::new(FeedPlanner(fed.to_vec()));
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![feeds]);
        // Planning starts no tasks: it may be done within tokio, too. But there its locks would end a task's share of polls,
        // which nobody gives it anew before it comes back: it would be polled without end.
        let planned = planner.create_physical_plan(&recipe.plan, self.state.as_ref());
        block_on(tokio::task::unconstrained(planned))
    }
}

/// Plans whose state can be put back: without filters that are computed while they run.
pub(super) fn of_one_partition(state: &SessionState) -> SessionState {
    let mut config = state.config().clone().with_target_partitions(1);
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    SessionStateBuilder::new_from_existing(state.clone())
        .with_config(config)
        .build()
}

/// A recipe with its physical plan, which is made once.
#[derive(Debug)]
pub(super) struct Whole {
    recipe: Recipe,
    fed: Vec<Fed>,
    plan: Arc<dyn ExecutionPlan>,
    kitchen: Kitchen,
    schema: SchemaRef,
}

impl Whole {
    pub(super) fn new(recipe: &Recipe, kitchen: &Kitchen) -> Result<Self> {
        let fed: Vec<Fed> = (0..recipe.inputs).map(|_| Fed::default()).collect();
        Ok(Self {
            plan: kitchen.planned(recipe, &fed)?,
            fed,
            recipe: recipe.clone(),
            kitchen: kitchen.clone(),
            schema: recipe.schema(),
        })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the plan gives for these inputs.
    ///
    /// # Errors
    /// Those of DataFusion's operators.
    pub(super) fn run(&self, inputs: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        for (fed, rows) in self.fed.iter().zip(inputs) {
            let starts = (0..rows.num_rows()).step_by(BATCH_ROWS);
            let pieces = starts.map(|start| {
                let len = BATCH_ROWS.min(rows.num_rows() - start);
                rows.slice(start, len)
            });
            *fed.lock().unwrap_or_else(PoisonError::into_inner) = pieces.collect();
        }
        let plan = match self.recipe.is_recursive {
            true => self.kitchen.planned(&self.recipe, &self.fed)?,
            false => reset_plan_states(self.plan.clone())?,
        };
        let runtime = self.kitchen.runtime.0.as_ref();
        let runtime = runtime.expect("it is taken by drop");
        let given = runtime.block_on(collect(plan, self.kitchen.state.task_ctx()));
        for fed in &self.fed {
            fed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let given = given?.into_iter().filter(|batch| batch.num_rows() > 0);
        let named = given.map(|rows| batch(&self.schema, rows.columns().to_vec(), rows.num_rows()));
        Ok(named.collect::<Result<_, _>>()?)
    }
}
