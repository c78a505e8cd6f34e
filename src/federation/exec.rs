use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use belvedere_connector::{BatchStream, Code, Error, Fragment, ScanRequest};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{Mutex, OnceCell};

use super::provider::SourceHandle;

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
/// so that they share its snapshot.
pub struct FragmentExec {
    handle: Arc<SourceHandle>,
    fragment: Arc<Fragment>,
    properties: Arc<PlanProperties>,
    statistics: Option<Statistics>,
    metrics: ExecutionPlanMetricsSet,
    opened: Arc<OnceCell<Streams>>,
}

/// A stream for each partition, until it is taken.
type Streams = Mutex<Vec<Option<BatchStream>>>;

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
            properties: Arc::new(properties),
            statistics,
            metrics: ExecutionPlanMetricsSet::new(),
            opened: Arc::default(),
        }
    }

    pub fn source_name(&self) -> &str {
        &self.handle.name
    }

    /// The text that is sent.
    pub fn sent(&self) -> String {
        self.handle.source.describe(&self.fragment)
    }

    fn fresh(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            fragment: self.fragment.clone(),
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
            self.sent()
        )
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

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
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
        let request = ScanRequest {
            fragment: self.fragment.clone(),
            partitions: self.properties.partitioning.partition_count(),
            batch_rows: config.batch_size(),
            deadline: statement.deadline,
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let (handle, opened, schema) = (self.handle.clone(), self.opened.clone(), self.schema());
        let output = schema.clone();
        let batches = futures::stream::once(async move {
            let taken = take_partition(&handle, &opened, request, partition).await;
            if let Err(e) = &taken {
                handle.contacted(Some(e));
            }
            let adopted = taken?.map(move |batch| {
                handle.contacted(batch.as_ref().err());
                adopt(batch?, &output, &handle.name)
            });
            Ok::<_, SourceFailure>(adopted)
        })
        .try_flatten();
        let batches = batches.map(move |batch: Result<RecordBatch, SourceFailure>| {
            let batch = batch.map_err(DataFusionError::from)?;
            baseline.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
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

/// The partition's stream; the first caller opens the scan. A partition asked for twice is scanned anew.
async fn take_partition(
    handle: &SourceHandle,
    opened: &OnceCell<Streams>,
    request: ScanRequest,
    partition: usize,
) -> Result<BatchStream, Error> {
    let expected = request.partitions;
    let scan = || async {
        let streams = handle.source.scan(request.clone()).await?;
        if streams.len() != expected {
            let found = streams.len();
            return Err(
                Error::internal(format!("{found} streams for {expected} partitions"))
                    .at_source(&handle.name),
            );
        }
        Ok(streams.into_iter().map(Some).collect::<Vec<_>>())
    };
    let streams = opened
        .get_or_try_init(|| async { scan().await.map(Mutex::new) })
        .await?;
    if let Some(stream) = streams.lock().await[partition].take() {
        return Ok(stream);
    }
    let again = scan().await?.swap_remove(partition);
    again.ok_or_else(|| Error::internal("a fresh scan has all its streams").at_source(&handle.name))
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
