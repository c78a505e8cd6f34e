use std::fmt;
use std::sync::Arc;

use belvedere_connector::{Fragment, StatementContext};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use futures::TryStreamExt;
use tokio::sync::OnceCell;

use super::domain;
use super::provider::SourceHandle;
use super::scan::{Asked, Opened, Scan};

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
            statement,
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let opened = self.opened.clone();
        let batches = futures::stream::once(async move {
            Ok::<_, DataFusionError>(scan.take(&opened, partition).await?)
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

fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    let is = |expr: &Arc<dyn PhysicalExpr>| expr.is::<DynamicFilterPhysicalExpr>();
    filter.exists(|expr| Ok(is(expr))).unwrap_or(false)
}
