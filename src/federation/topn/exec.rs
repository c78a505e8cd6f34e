use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Schema};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties, StatisticsArgs,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::restart::{Key, Trial};
use crate::exact;
use crate::federation::node::only;

/// A row's place in the order of some keys: these bytes compare as the rows do.
type Position = Box<[u8]>;

/// What an attempt has read of the side that is limited. One for each execution, in its context: a plan may run twice.
#[derive(Debug, Default)]
struct Seen(Mutex<Read>);

#[derive(Debug, Default)]
struct Read {
    rows: usize,
    last: Option<Position>,
    /// Nothing came after it. A join whose other side is empty does not look.
    ended: bool,
}

impl Seen {
    fn read(&self) -> MutexGuard<'_, Read> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one attempt after another until one has the answer.
#[derive(Debug)]
pub struct RestartExec {
    attempts: Vec<Arc<dyn ExecutionPlan>>,
    trial: Arc<Trial>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl RestartExec {
    pub fn new(trial: Arc<Trial>, attempts: Vec<Arc<dyn ExecutionPlan>>) -> Self {
        let schema = attempts[0].schema();
        Self {
            properties: in_one_partition(EquivalenceProperties::new(schema), EmissionType::Final),
            attempts,
            trial,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

fn in_one_partition(known: EquivalenceProperties, emits: EmissionType) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(1);
    Arc::new(PlanProperties::new(
        known,
        partitioning,
        emits,
        Boundedness::Bounded,
    ))
}

/// An execution of a restart.
struct Run {
    attempts: Vec<Arc<dyn ExecutionPlan>>,
    trial: Arc<Trial>,
    context: Arc<TaskContext>,
    made: Count,
}

impl Run {
    async fn answer(self) -> Result<SendableRecordBatchStream> {
        let [attempts @ .., whole] = &self.attempts[..] else {
            return internal_err!("a restart has an attempt over all rows");
        };
        for (attempt, limit) in attempts.iter().zip(&self.trial.limits) {
            self.made.add(1);
            if let Some((batches, held)) = self.attempt(attempt, *limit).await? {
                let batches = stream::iter(batches).map(move |batch| {
                    let _held = &held;
                    Ok(batch)
                });
                let schema = whole.schema();
                return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)));
            }
        }
        self.made.add(1);
        whole.execute(0, self.context)
    }

    /// Its answer, if that is the answer over all rows. Its streams are gone when this returns: the sources' places are
    /// free for the next.
    async fn attempt(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        limit: usize,
    ) -> Result<Option<(Vec<RecordBatch>, MemoryReservation)>> {
        let seen = Arc::new(Seen::default());
        let order = Order::new(&self.trial.keys, &plan.schema())?;
        let held = MemoryConsumer::new("RestartExec").register(self.context.memory_pool());
        let mut batches = plan.execute(0, watched(&self.context, &seen))?;
        let (mut found, mut rows, mut last) = (Vec::new(), 0, None);
        while let Some(batch) = batches.try_next().await? {
            // There may be room for the answer on its way through.
            if held.try_grow(batch.get_array_memory_size()).is_err() {
                return Ok(None);
            }
            rows += batch.num_rows();
            last = last.max(order.last(&batch)?);
            found.push(batch);
        }
        let read = seen.read();
        // What was not read comes behind the last row that was, or is the same in the keys.
        let is_decided = rows >= self.trial.fetch && last < read.last;
        let is_answer = read.ended && (read.rows < limit || is_decided);
        Ok(is_answer.then_some((found, held)))
    }
}

/// The context of an execution in which a cutoff tells what it has read.
fn watched(context: &TaskContext, seen: &Arc<Seen>) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        context
            .session_config()
            .clone()
            .with_extension(seen.clone()),
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}

/// The order of some columns.
struct Order {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Order {
    fn new(keys: &[Key], schema: &Schema) -> Result<Self> {
        let field = |key: &Key| {
            let data_type = match schema.field(key.column).data_type() {
                float if float.is_floating() => DataType::Float64,
                other => other.clone(),
            };
            SortField::new_with_options(data_type, key.options)
        };
        Ok(Self {
            columns: keys.iter().map(|key| key.column).collect(),
            converter: RowConverter::new(keys.iter().map(field).collect())?,
        })
    }

    /// The position of the batch's last row in this order.
    fn last(&self, batch: &RecordBatch) -> Result<Option<Position>> {
        let columns = self.columns.iter();
        let columns = columns.map(|column| equal_floats(batch.column(*column)));
        let rows = self
            .converter
            .convert_columns(&columns.collect::<Result<Vec<_>>>()?)?;
        Ok(rows.iter().max().map(|row| Box::from(row.data())))
    }
}

/// Floats that are equal, as one.
fn equal_floats(column: &ArrayRef) -> Result<ArrayRef> {
    if !column.data_type().is_floating() {
        return Ok(column.clone());
    }
    let floats = cast(column, &DataType::Float64)?;
    let floats = floats.as_primitive::<Float64Type>();
    Ok(Arc::new(floats.unary::<_, Float64Type>(exact::canonical)))
}

impl DisplayAs for RestartExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "RestartExec: {}", self.trial)
    }
}

impl ExecutionPlan for RestartExec {
    fn name(&self) -> &str {
        "RestartExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.attempts.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let single = vec![Distribution::SinglePartition; self.attempts.len()];
        InputDistributionRequirements::new(single)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        attempts: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if attempts.len() != self.attempts.len() {
            return internal_err!("a restart has as many attempts as before");
        }
        Ok(Arc::new(Self::new(self.trial.clone(), attempts)))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let run = Run {
            attempts: self.attempts.clone(),
            trial: self.trial.clone(),
            context,
            made: MetricBuilder::new(&self.metrics).global_counter("attempts"),
        };
        let batches = stream::once(run.answer()).try_flatten();
        let schema = self.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        let limited = self.trial.limits.iter().map(|_| ChildStats::Skip);
        limited.chain([ChildStats::At(partition)]).collect()
    }

    fn statistics_from_inputs(
        &self,
        attempts: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(match attempts.last() {
            Some(whole) => whole.clone(),
            None => Arc::new(Statistics::new_unknown(&self.schema())),
        })
    }
}

/// Passes rows on and notes how far they go. What a join learns of its other side is not sent below: then the source would
/// be asked for fewer rows, and they would not say where the side was cut off.
#[derive(Debug)]
pub struct CutoffExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Key>,
    properties: Arc<PlanProperties>,
}

impl CutoffExec {
    pub fn new(input: Arc<dyn ExecutionPlan>, keys: Vec<Key>) -> Self {
        let known = EquivalenceProperties::new(input.schema());
        Self {
            input,
            keys,
            properties: in_one_partition(known, EmissionType::Incremental),
        }
    }
}

impl DisplayAs for CutoffExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "CutoffExec")
    }
}

impl ExecutionPlan for CutoffExec {
    fn name(&self) -> &str {
        "CutoffExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
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
        Ok(Arc::new(Self::new(only(children)?, self.keys.clone())))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(seen) = context.session_config().get_extension::<Seen>() else {
            return internal_err!("a cutoff is below a restart");
        };
        let order = Order::new(&self.keys, &self.schema())?;
        let input = self.input.execute(partition, context)?;
        let watched = stream::try_unfold((input, order, seen), |(mut input, order, seen)| async {
            let batch = input.try_next().await?;
            let mut read = seen.read();
            let Some(batch) = batch else {
                read.ended = true;
                return Ok(None);
            };
            read.rows += batch.num_rows();
            read.last = read.last.take().max(order.last(&batch)?);
            drop(read);
            Ok(Some((batch, (input, order, seen))))
        });
        let schema = self.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, watched)))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
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
