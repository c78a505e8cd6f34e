use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use belvedere_connector::{BatchStream, Code, Error, Fragment, ScanRequest};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, SpillMetrics,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::{Mutex, OnceCell};

use super::domain;
use super::dynamic::{self, Narrowed};
use super::gate::Place;
use super::history::{Asking, Question};
use super::outlet::Disk;
use super::provider::SourceHandle;
use super::relay::relayed;

/// What a running statement's scans need to know of it; an extension of the session's configuration.
#[derive(Debug, Clone, Default)]
pub struct StatementContext {
    pub deadline: Option<Instant>,
}

/// A source's error on its way through DataFusion.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct SourceFailure(#[from] pub Error);

impl From<SourceFailure> for DataFusionError {
    fn from(failure: SourceFailure) -> Self {
        DataFusionError::External(Box::new(failure))
    }
}

/// The physical scan of a fragment. All partitions are one scan of the source, opened by the first that is polled,
/// so that they share its snapshot, and know what dynamic filters have learned by then.
pub struct FragmentExec {
    handle: Arc<SourceHandle>,
    fragment: Arc<Fragment>,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    statistics: Option<Statistics>,
    metrics: ExecutionPlanMetricsSet,
    opened: Arc<OnceCell<Opened>>,
}

/// A scan of a source.
struct Opened {
    /// What was asked of it; None: no row could be needed.
    asked: Option<Asked>,
    /// A stream for each partition, until it is taken.
    streams: Mutex<Vec<Option<SendableRecordBatchStream>>>,
}

/// What was asked of a source.
pub struct Asked {
    /// With what dynamic filters had learned.
    pub fragment: Arc<Fragment>,
    pub question: Arc<Question>,
}

impl fmt::Debug for FragmentExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FragmentExec")
            .field("source", &self.handle.name)
            .field("fragment", &self.fragment)
            .finish_non_exhaustive()
    }
}

impl FragmentExec {
    /// `schema` has the fragment's types under the names the plan above knows.
    pub fn new(
        handle: Arc<SourceHandle>,
        fragment: Arc<Fragment>,
        schema: SchemaRef,
        statistics: Option<Statistics>,
        target_partitions: usize,
    ) -> Self {
        let partitions = handle
            .source
            .partitions(&fragment)
            .clamp(1, target_partitions.max(1));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            handle,
            fragment,
            filters: Vec::new(),
            properties: Arc::new(properties),
            statistics,
            metrics: ExecutionPlanMetricsSet::new(),
            opened: Arc::default(),
        }
    }

    pub fn source_name(&self) -> &str {
        &self.handle.name
    }

    /// The fragment's own text.
    pub fn text(&self) -> String {
        self.text_of(&self.fragment)
    }

    /// A fragment as this source is sent it.
    pub fn text_of(&self, fragment: &Fragment) -> String {
        self.handle.source.describe(fragment)
    }

    /// None: nothing was asked, since no row could be needed.
    pub fn asked(&self) -> Option<&Asked> {
        self.opened.get()?.asked.as_ref()
    }

    fn fresh(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            fragment: self.fragment.clone(),
            filters: self.filters.clone(),
            properties: self.properties.clone(),
            statistics: self.statistics.clone(),
            metrics: ExecutionPlanMetricsSet::new(),
            opened: Arc::default(),
        }
    }
}

impl DisplayAs for FragmentExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let partitions = self.properties.partitioning.partition_count();
        write!(
            f,
            "FragmentExec: source={}, partitions={partitions}, {}",
            self.handle.name,
            self.text()
        )?;
        match self.filters.is_empty() {
            true => Ok(()),
            false => write!(f, ", dynamic filters={}", self.filters.len()),
        }
    }
}

impl ExecutionPlan for FragmentExec {
    fn name(&self) -> &str {
        "FragmentExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    /// A join computes its filter only if it finds it below.
    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for filter in &self.filters {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// Filters whose values are known only when the query runs are taken, and none is promised to be applied: what the
    /// source is sent is decided at its first poll. Others have been decided by [`cut`](super::cut()).
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offered: ChildPushdownResult,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let is_late: fn(&Arc<dyn PhysicalExpr>) -> bool = match phase {
            FilterPushdownPhase::Pre => domain::has_subquery,
            FilterPushdownPhase::Post => is_dynamic,
        };
        let filters = offered.parent_filters.iter().map(|f| f.filter.clone());
        let filters: Vec<_> = filters.filter(is_late).collect();
        let propagation = FilterPushdownPropagation::all_unsupported(offered);
        if filters.is_empty() || !config.optimizer.enable_dynamic_filter_pushdown {
            return Ok(propagation);
        }
        let mut node = self.fresh();
        node.filters.extend(filters);
        Ok(propagation.with_updated_node(Arc::new(node)))
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// A second run (a recursive query's step) is a second scan.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.fresh()))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let config = context.session_config();
        let statement = config
            .get_extension::<StatementContext>()
            .unwrap_or_default();
        let scan = Scan {
            runtime: context.runtime_env(),
            metrics: self.metrics.clone(),
            handle: self.handle.clone(),
            fragment: self.fragment.clone(),
            filters: self.filters.clone(),
            schema: self.schema(),
            statistics: self.statistics.clone(),
            partitions: self.properties.partitioning.partition_count(),
            batch_rows: config.batch_size(),
            deadline: statement.deadline,
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let opened = self.opened.clone();
        let batches = futures::stream::once(async move {
            let taken = scan.take(&opened, partition).await;
            if let Err(SourceFailure(e)) = &taken {
                scan.handle.contacted(Some(e));
            }
            Ok::<_, DataFusionError>(taken?)
        })
        .try_flatten();
        let batches = batches.inspect_ok(move |batch| baseline.record_output(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::new(match &self.statistics {
            Some(known) if known.column_statistics.len() == self.schema().fields().len() => {
                known.clone()
            }
            Some(known) => {
                let mut statistics = Statistics::new_unknown(&self.schema());
                statistics.num_rows = known.num_rows;
                statistics
            }
            None => Statistics::new_unknown(&self.schema()),
        }))
    }
}

/// What opens a fragment's scan.
struct Scan {
    runtime: Arc<RuntimeEnv>,
    metrics: ExecutionPlanMetricsSet,
    handle: Arc<SourceHandle>,
    fragment: Arc<Fragment>,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    statistics: Option<Statistics>,
    partitions: usize,
    batch_rows: usize,
    deadline: Option<Instant>,
}

impl Scan {
    /// The partition's stream; the first caller opens the scan. A partition asked for twice is scanned anew.
    async fn take(
        &self,
        opened: &OnceCell<Opened>,
        partition: usize,
    ) -> Result<SendableRecordBatchStream, SourceFailure> {
        let open = opened.get_or_try_init(|| self.open()).await?;
        if let Some(stream) = open.streams.lock().await[partition].take() {
            return Ok(stream);
        }
        let again = self
            .open()
            .await?
            .streams
            .into_inner()
            .swap_remove(partition);
        again.ok_or_else(|| self.failed("a fresh scan has all its streams"))
    }

    async fn open(&self) -> Result<Opened, SourceFailure> {
        let nothing = || Some(self.stream_of(futures::stream::empty()));
        let narrowed = dynamic::narrow(
            &self.fragment,
            &self.filters,
            &self.schema,
            &self.handle,
            self.statistics.as_ref(),
        );
        let (fragment, lookup) = match narrowed.map_err(|e| self.failed(&e.to_string()))? {
            Narrowed::Fragment { fragment, lookup } => (fragment, lookup),
            Narrowed::Nothing => {
                let streams = (0..self.partitions).map(|_| nothing()).collect();
                return Ok(Opened {
                    asked: None,
                    streams: Mutex::new(streams),
                });
            }
        };
        let partitions = if lookup { 1 } else { self.partitions };
        let expected = self
            .statistics
            .as_ref()
            .and_then(|known| known.num_rows.get_value());
        let expected = expected.map(|rows| *rows as u64);
        let asking = Arc::new(self.handle.history.ask(self.fragment.clone(), expected));
        let relays = self.ask(&fragment, partitions, &asking).await;
        let mut streams = relays.inspect_err(|e| asking.failed(e))?;
        streams.resize_with(self.partitions, nothing);
        let question = asking.question().clone();
        Ok(Opened {
            asked: Some(Asked { fragment, question }),
            streams: Mutex::new(streams),
        })
    }

    /// At most so many streams, of as many as the source has room for.
    async fn ask(
        &self,
        fragment: &Arc<Fragment>,
        partitions: usize,
        asking: &Arc<Asking>,
    ) -> Result<Vec<Option<SendableRecordBatchStream>>, SourceFailure> {
        let entered = self.handle.gate.enter(partitions, self.deadline).await;
        let places = entered.map_err(|e| SourceFailure(e.at_source(&self.handle.name)))?;
        let partitions = places.len();
        asking.admitted(partitions);
        let request = ScanRequest {
            fragment: fragment.clone(),
            partitions,
            batch_rows: self.batch_rows,
            deadline: self.deadline,
        };
        let streams = self.handle.source.scan(request).await?;
        if streams.len() != partitions {
            let found = streams.len();
            return Err(self.failed(&format!("{found} streams for {partitions} partitions")));
        }
        let relays = streams.into_iter().zip(places).enumerate();
        let relay = |(i, (stream, place))| Some(self.relay(i, stream, place, asking.clone()));
        Ok(relays.map(relay).collect())
    }

    /// What the source answers, under the names of the plan above.
    fn relay(
        &self,
        i: usize,
        batches: BatchStream,
        place: Place,
        asking: Arc<Asking>,
    ) -> SendableRecordBatchStream {
        let (handle, schema) = (self.handle.clone(), self.schema.clone());
        let known = asking.clone();
        let adopted = batches.map(move |batch| {
            handle.contacted(batch.as_ref().err());
            let batch = batch.map_err(SourceFailure::from);
            let adopted = batch.and_then(|batch| adopt(batch, &schema, &handle.name));
            adopted.map_err(|failure| {
                known.failed(&failure);
                failure.into()
            })
        });
        let disk = Disk {
            runtime: self.runtime.clone(),
            metrics: SpillMetrics::new(&self.metrics, i),
        };
        let batches = self.stream_of(adopted);
        relayed(batches, place, self.handle.clone(), asking, disk)
    }

    fn stream_of(
        &self,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }

    fn failed(&self, what: &str) -> SourceFailure {
        SourceFailure(Error::internal(what).at_source(&self.handle.name))
    }
}

fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    let is = |expr: &Arc<dyn PhysicalExpr>| expr.is::<DynamicFilterPhysicalExpr>();
    filter.exists(|expr| Ok(is(expr))).unwrap_or(false)
}

/// The batch under the names of the plan above; its types must be the fragment's.
fn adopt(
    batch: RecordBatch,
    schema: &SchemaRef,
    source: &str,
) -> Result<RecordBatch, SourceFailure> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options).map_err(
        |e| {
            SourceFailure(
                Error::new(
                    Code::SchemaChanged,
                    "the answer does not have the types asked for",
                )
                .at_source(source)
                .help(format!("Run REFRESH SOURCE {source} and try again"))
                .caused_by(e),
            )
        },
    )
}
