//! What a statement has twice is computed once: a common table expression that is read in two places is one fragment
//! there, or one aggregate here, and both read what it gives.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use belvedere_connector::Rel;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, Projection, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties, StatisticsArgs,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};

use super::alike::{self, Both};
use super::cut::Cut;
use super::node::{fragment_of, only};
use super::outlet::{self, Disk, Inlet, Outlet};
use super::scan::renamed;

/// Batches that wait in memory for each reader.
const AHEAD: usize = 16;
/// A fragment of whole rows is read once if it is so small; of a larger one each reader may need other rows, for which it
/// asks by its keys.
const FEW_ROWS: usize = 1_000;

/// What several places have.
struct Found {
    /// With the columns of all of them.
    plan: LogicalPlan,
    places: usize,
    is_wider: bool,
    kept: Arc<Kept>,
    is_first: bool,
}

/// The plan with a shared node wherever it has something twice that is worth keeping; with `widen` also for what is the same
/// in two places but for its columns.
pub fn share(cut: Cut, widen: bool) -> Result<Cut> {
    let mut found: Vec<Found> = Vec::new();
    let mut is_recursive = false;
    cut.plan.apply_with_subqueries(|node| {
        is_recursive |= matches!(node, LogicalPlan::RecursiveQuery(_));
        if !is_worth_keeping(node) || is_volatile(node) {
            return Ok(TreeNodeRecursion::Continue);
        }
        for known in &mut found {
            let Some(both) = alike::both(&known.plan, node)? else {
                continue;
            };
            let is_wider = !(both.left.len() == both.right.len() && both.is_left());
            if widen || !is_wider {
                known.plan = both.plan;
                known.places += 1;
                known.is_wider |= is_wider;
                return Ok(TreeNodeRecursion::Jump);
            }
        }
        found.push(Found {
            plan: node.clone(),
            places: 1,
            is_wider: false,
            kept: Arc::default(),
            is_first: true,
        });
        Ok(TreeNodeRecursion::Continue)
    })?;
    found.retain(|found| found.places > 1);
    // The steps of a recursion are run again and again.
    if found.is_empty() || is_recursive {
        return Ok(cut);
    }
    let replaced = cut.plan.transform_down_with_subqueries(|node| {
        if !is_worth_keeping(&node) {
            return Ok(Transformed::no(node));
        }
        for known in &mut found {
            if let Some(both) = alike::both(&known.plan, &node)?
                && both.is_left()
            {
                let reader = known.reader(node, both)?;
                return Ok(Transformed::new(reader, true, TreeNodeRecursion::Jump));
            }
        }
        Ok(Transformed::no(node))
    })?;
    Ok(Cut {
        plan: replaced.data,
        is_wider: found.iter().any(|found| found.is_wider),
        ..cut
    })
}

impl Found {
    /// What stands in a node's place: all of it under the node's own names, or the columns it has.
    fn reader(&mut self, node: LogicalPlan, both: Both) -> Result<LogicalPlan> {
        let is_whole = both.is_right();
        let schema = node.schema().clone();
        let shared = SharedNode {
            input: if is_whole { node } else { both.plan },
            kept: self.kept.clone(),
            is_first: std::mem::take(&mut self.is_first),
        };
        let shared = LogicalPlan::Extension(Extension {
            node: Arc::new(shared),
        });
        if is_whole {
            return Ok(shared);
        }
        let from = shared.schema().columns();
        let columns = both.right.iter().zip(schema.iter());
        let columns = columns.map(|(at, (qualifier, field))| {
            let column = Expr::Column(from[*at].clone());
            column.alias_qualified(qualifier.cloned(), field.name())
        });
        let projection = Projection::try_new(columns.collect(), Arc::new(shared))?;
        Ok(LogicalPlan::Projection(projection))
    }
}

/// What takes more to compute than to keep: a summary of its input.
fn is_worth_keeping(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => true,
        _ => fragment_of(node).is_some_and(|fragment| {
            let few = fragment.estimate.known_rows();
            few.is_some_and(|rows| rows <= FEW_ROWS) || is_summary(&fragment.fragment.rel)
        }),
    }
}

fn is_summary(rel: &Rel) -> bool {
    match rel {
        Rel::Project { input, .. } | Rel::Filter { input, .. } => is_summary(input),
        Rel::Aggregate { .. } | Rel::Limit { .. } => true,
        Rel::Sort { fetch, .. } => fetch.is_some(),
        Rel::Scan { .. } | Rel::Join { .. } | Rel::Window { .. } | Rel::UnionAll { .. } => false,
    }
}

/// Computed twice, it may be two things.
pub fn is_volatile(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })
    });
    found || walked.is_err()
}

/// Something that other places of the plan have, too.
#[derive(Debug, Clone)]
struct SharedNode {
    input: LogicalPlan,
    kept: Arc<Kept>,
    /// No place before this one has it.
    is_first: bool,
}

fn shared_of(node: &LogicalPlan) -> Option<&SharedNode> {
    match node {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Whether other places of the plan have it, too.
pub fn is_shared(node: &LogicalPlan) -> bool {
    shared_of(node).is_some()
}

/// Whether it is what a place of the plan before it has.
pub fn is_repeated(node: &LogicalPlan) -> bool {
    shared_of(node).is_some_and(|shared| !shared.is_first)
}

impl PartialEq for SharedNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kept, &other.kept) && self.input == other.input
    }
}

impl Eq for SharedNode {}

impl PartialOrd for SharedNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for SharedNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for SharedNode {
    fn name(&self) -> &str {
        "Shared"
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
        write!(f, "Shared")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self {
            input: only(inputs)?,
            ..self.clone()
        })
    }
}

/// Plans shared nodes.
#[derive(Debug)]
pub struct SharedPlanner;

#[async_trait]
impl ExtensionPlanner for SharedPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [input]) = (node.as_any().downcast_ref::<SharedNode>(), physical_inputs)
        else {
            return Ok(None);
        };
        let kept = node.kept.clone();
        let reader = kept.one_more();
        Ok(Some(Arc::new(SharedExec::new(input.clone(), kept, reader))))
    }
}

/// What all readers of the same read.
#[derive(Debug, Default)]
struct Kept(Mutex<Reading>);

#[derive(Debug, Default)]
struct Reading {
    readers: usize,
    /// Of each reader, of each partition, until it is taken; the first reader to come starts them.
    streams: Option<Vec<Vec<Option<Taking>>>>,
}

impl Kept {
    /// The number of another reader.
    fn one_more(&self) -> usize {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.readers += 1;
        reading.readers - 1
    }

    /// A reader's stream of a partition, once. None: it has to compute it itself.
    fn take(
        &self,
        reader: usize,
        partition: usize,
        input: &Arc<dyn ExecutionPlan>,
        metrics: &ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Option<Taking>> {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = reading.readers;
        let streams = match &mut reading.streams {
            Some(streams) => streams,
            None if readers < 2 => return Ok(None),
            empty => empty.insert(started(readers, input, metrics, context)?),
        };
        let own = streams.get_mut(reader);
        let is_alike =
            |own: &&mut Vec<_>| own.len() == input.output_partitioning().partition_count();
        Ok(own
            .filter(is_alike)
            .and_then(|own| own.get_mut(partition)?.take()))
    }
}

fn started(
    readers: usize,
    input: &Arc<dyn ExecutionPlan>,
    metrics: &ExecutionPlanMetricsSet,
    context: &Arc<TaskContext>,
) -> Result<Vec<Vec<Option<Taking>>>> {
    let mut streams: Vec<Vec<_>> = (0..readers).map(|_| Vec::new()).collect();
    for partition in 0..input.output_partitioning().partition_count() {
        let source = input.execute(partition, context.clone())?;
        let disk = Disk {
            runtime: context.runtime_env(),
            metrics: SpillMetrics::new(metrics, partition),
        };
        let channel = |_| outlet::channel(input.schema(), AHEAD, None, disk.clone());
        let (outlets, inlets): (Vec<_>, Vec<_>) = (0..readers).map(channel).unzip();
        let task = Arc::new(SpawnedTask::spawn(read(source, outlets)));
        for (inlet, own) in inlets.into_iter().zip(&mut streams) {
            own.push(Some(Taking {
                inlet,
                _task: task.clone(),
            }));
        }
    }
    Ok(streams)
}

/// One reader may wait for another (a join builds one side before it takes the other): nobody's batches wait for it for
/// long.
async fn read(mut source: SendableRecordBatchStream, mut outlets: Vec<Outlet>) {
    let mut outcome = Ok(());
    'all: while let Some(batch) = source.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(e) => {
                outcome = Err(Arc::new(e));
                break;
            }
        };
        for outlet in &mut outlets {
            if let Err(e) = outlet.put(batch.clone(), |_| false).await {
                outcome = Err(Arc::new(e));
                break 'all;
            }
        }
    }
    drop(source);
    for outlet in outlets {
        outlet.end(outcome.clone().map_err(DataFusionError::Shared));
    }
}

#[derive(Debug)]
struct Taking {
    inlet: Inlet,
    /// Ends with its last reader.
    _task: Arc<SpawnedTask<()>>,
}

impl Taking {
    async fn next(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let Ok(batch) = self.inlet.next().await else {
            return internal_err!("what is shared ended without an end");
        };
        let Some(batch) = batch? else {
            return Ok(None);
        };
        Ok(Some(renamed(batch, schema)?))
    }
}

/// Reads what other places of the plan read, too: the first of them to be polled computes it for all.
#[derive(Debug)]
struct SharedExec {
    input: Arc<dyn ExecutionPlan>,
    kept: Arc<Kept>,
    reader: usize,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl SharedExec {
    fn new(input: Arc<dyn ExecutionPlan>, kept: Arc<Kept>, reader: usize) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(partitions),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self {
            input,
            kept,
            reader,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for SharedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SharedExec: reader={}", self.reader + 1)
    }
}

impl ExecutionPlan for SharedExec {
    fn name(&self) -> &str {
        "SharedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
        let input = only(children)?;
        Ok(Arc::new(Self::new(input, self.kept.clone(), self.reader)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (input, kept, reader) = (self.input.clone(), self.kept.clone(), self.reader);
        let (metrics, schema) = (self.metrics.clone(), self.schema());
        let batches = futures::stream::once(async move {
            let schema = input.schema();
            let taken = kept.take(reader, partition, &input, &metrics, &context)?;
            let Some(taking) = taken else {
                return input.execute(partition, context);
            };
            let state = (taking, schema.clone());
            let batches = futures::stream::try_unfold(state, |(mut taking, schema)| async move {
                let batch = taking.next(&schema).await?;
                Ok(batch.map(|batch| (batch, (taking, schema))))
            });
            let batches: SendableRecordBatchStream =
                Box::pin(RecordBatchStreamAdapter::new(schema, batches));
            Ok(batches)
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(match inputs {
            [input] => input.clone(),
            _ => Arc::new(Statistics::new_unknown(&self.schema())),
        })
    }
}
