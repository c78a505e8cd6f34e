use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;

use crate::failure::Reading;
use crate::keyed::Keyed;

/// One of DataFusion's readers, its errors in our words, with the file's name.
///
/// It also keeps conditions on floats from the reader: Parquet's statistics do not count NaN, which is above every
/// number here, so a row group that holds one would be left out.
#[derive(Clone)]
pub struct NamedReader {
    inner: Arc<dyn FileSource>,
    reading: Arc<Reading>,
    store: Arc<dyn ObjectStore>,
}

impl NamedReader {
    pub fn new(
        inner: Arc<dyn FileSource>,
        reading: Arc<Reading>,
        store: Arc<dyn ObjectStore>,
    ) -> Self {
        Self {
            inner,
            reading,
            store,
        }
    }

    fn with(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self {
            inner,
            reading: self.reading.clone(),
            store: self.store.clone(),
        })
    }

    fn reads_floats(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let schema = self.inner.table_schema().table_schema();
        collect_columns(filter).iter().any(|column| {
            // By name: a column's index is that of the projection.
            schema
                .field_with_name(column.name())
                .is_ok_and(|f| has_floats(f.data_type()))
        })
    }
}

pub fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|f| has_floats(f.data_type())),
        other => other.is_floating(),
    }
}

impl FileSource for NamedReader {
    fn create_file_opener(
        &self,
        _known: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner
            .create_file_opener(self.store.clone(), base_config, partition)
    }

    fn create_morselizer(
        &self,
        _known: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let keyed = match Keyed::of(self.inner.as_ref()) {
            Some((keyed, first)) => {
                let first = first.create_morselizer(self.store.clone(), base_config, partition);
                Some((keyed, first?))
            }
            None => None,
        };
        let inner = self
            .inner
            .create_morselizer(self.store.clone(), base_config, partition)?;
        Ok(Box::new(NamedMorselizer {
            inner,
            keyed,
            reading: self.reading.clone(),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.with(self.inner.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt_extra(t, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        self.inner.repartitioned(
            target_partitions,
            repartition_file_min_size,
            output_ordering,
            config,
        )
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let kept: Vec<bool> = filters.iter().map(|f| self.reads_floats(f)).collect();
        let sent = filters
            .into_iter()
            .zip(&kept)
            .filter(|(_, kept)| !**kept)
            .map(|(f, _)| f)
            .collect();
        let answer = self.inner.try_pushdown_filters(sent, config)?;
        let mut sent = answer.filters.into_iter();
        let filters = kept
            .iter()
            .map(|kept| {
                if *kept {
                    PushedDown::No
                } else {
                    sent.next().unwrap_or(PushedDown::No)
                }
            })
            .collect();
        Ok(FilterPushdownPropagation {
            filters,
            updated_node: answer.updated_node.map(|inner| self.with(inner)),
        })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        eq_properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        if order.iter().any(|key| self.reads_floats(&key.expr)) {
            return Ok(SortOrderPushdownResult::Unsupported);
        }
        Ok(self
            .inner
            .try_pushdown_sort(order, eq_properties)?
            .map(|inner| self.with(inner)))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self
            .inner
            .try_pushdown_projection(projection)?
            .map(|inner| self.with(inner)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

#[derive(Debug)]
struct NamedMorselizer {
    inner: Box<dyn Morselizer>,
    /// Reads keys first.
    keyed: Option<(Keyed, Box<dyn Morselizer>)>,
    reading: Arc<Reading>,
}

/// What is being read, for its errors.
#[derive(Debug, Clone)]
struct File {
    file: PartitionedFile,
    reading: Arc<Reading>,
}

impl File {
    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| self.reading.failed(&self.file, e))
    }
}

impl Morselizer for NamedMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let named = File {
            file: file.clone(),
            reading: self.reading.clone(),
        };
        let reader = match &self.keyed {
            Some((keyed, first)) if keyed.leaves_few(&file)? => first,
            _ => &self.inner,
        };
        let inner = named.named(reader.plan_file(file))?;
        Ok(Box::new(NamedPlanner { inner, file: named }))
    }
}

#[derive(Debug)]
struct NamedPlanner {
    inner: Box<dyn MorselPlanner>,
    file: File,
}

impl MorselPlanner for NamedPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let file = self.file;
        let Some(mut plan) = file.named(self.inner.plan())? else {
            return Ok(None);
        };
        let planner = |inner| {
            Box::new(NamedPlanner {
                inner,
                file: file.clone(),
            }) as Box<dyn MorselPlanner>
        };
        let morsels = plan.take_morsels().into_iter();
        let morsels = morsels.map(|inner| {
            Box::new(NamedMorsel {
                inner,
                file: file.clone(),
            }) as Box<dyn Morsel>
        });
        let mut named = MorselPlan::new()
            .with_morsels(morsels.collect())
            .with_planners(
                plan.take_ready_planners()
                    .into_iter()
                    .map(planner)
                    .collect(),
            );
        if let Some(pending) = plan.take_pending_planner() {
            let file = file.clone();
            named.set_pending_planner(async move {
                let inner = file.named(pending.await)?;
                Ok(Box::new(NamedPlanner { inner, file }) as Box<dyn MorselPlanner>)
            });
        }
        Ok(Some(named))
    }
}

#[derive(Debug)]
struct NamedMorsel {
    inner: Box<dyn Morsel>,
    file: File,
}

impl Morsel for NamedMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let file = self.file;
        self.inner
            .into_stream()
            .map(move |batch| file.named(batch))
            .boxed()
    }
}
