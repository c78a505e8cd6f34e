//! A kept view as a table that DataFusion reads.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, project_schema,
};

use super::probe::{Found, FoundRows};
use super::versions::{not_stored, with_schema};
use super::{Content, Contract, Shown};
use crate::catalog::ObjectId;
use crate::error::Error;
use crate::store::{Pinned, batch};

/// Rows that one partition has at least.
const PARTITION_ROWS: u64 = 100_000;

/// A kept view, with what one execution of a statement finds of it.
#[derive(Clone, Debug)]
pub struct CopyTable {
    pub id: ObjectId,
    pub schema: SchemaRef,
    pub contract: Contract,
    /// The columns of its key and of each of its indexes.
    pub indexes: Arc<[Vec<usize>]>,
    /// As the statement's shelf has it.
    pub shown: Option<Arc<Shown>>,
    /// It is what it is: a version that was asked for, or what is to be checked.
    pub is_fixed: bool,
}

#[async_trait]
impl TableProvider for CopyTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match self.may_find(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let content = self.shown.as_ref()?.content.as_ref()?;
        Some(statistics(content.row_count() as usize, &self.schema))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let content = self.shown.as_ref().and_then(|shown| shown.content.clone());
        let Some(content) = content else {
            return internal_err!("view {} is read before it is filled", self.id);
        };
        let columns: Vec<usize> = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let schema = project_schema(&self.schema, Some(&columns))?;
        let found = self.found(&content, filters)?;
        let rows = found
            .as_ref()
            .map_or(content.row_count(), |found| found.rows.len() as u64);
        let most = state.config().target_partitions() as u64;
        let partitions = match limit {
            Some(_) => 1,
            None => (rows / PARTITION_ROWS).clamp(1, most.max(1)) as usize,
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(CopyExec {
            view: self.id.to_string(),
            content,
            found: found.map(Arc::new),
            columns,
            schema,
            rows: rows as usize,
            properties: Arc::new(properties),
        }))
    }
}

fn statistics(rows: usize, schema: &SchemaRef) -> Statistics {
    Statistics {
        num_rows: Precision::Exact(rows),
        ..Statistics::new_unknown(schema)
    }
}

/// Reads a kept view: all of it, or the rows that an index has found.
#[derive(Debug)]
struct CopyExec {
    view: String,
    content: Content,
    found: Option<Arc<Found>>,
    columns: Vec<usize>,
    schema: SchemaRef,
    rows: usize,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for CopyExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CopyExec: view={}, rows={}", self.view, self.rows)?;
        match &self.found {
            Some(found) => write!(f, ", index=[{}]", found.index),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for CopyExec {
    fn name(&self) -> &str {
        "CopyExec"
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
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("a kept view has no inputs"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let of = self.properties.output_partitioning().partition_count();
        let size = context.session_config().batch_size().max(1);
        let (schema, columns) = (self.schema.clone(), self.columns.clone());
        let pieces: Box<dyn Iterator<Item = Result<RecordBatch, Error>> + Send> = match (
            &self.content,
            self.found.as_deref().map(|found| &found.rows),
        ) {
            (Content::Table(table), Some(FoundRows::Table(found))) => {
                let share = found.len().div_ceil(of).max(1);
                let mine = found.chunks(share).nth(partition).unwrap_or_default();
                Box::new(std::iter::once(gathered(table, mine, &columns, &schema)))
            }
            (Content::Rows(version), Some(FoundRows::Batches(found))) => {
                let mine = found.iter().skip(partition).step_by(of);
                let mine: Vec<_> = mine.cloned().collect();
                let version = version.clone();
                Box::new(mine.into_iter().map(move |(number, rows)| {
                    let batch = version.rows.batch(number).map_err(not_stored)?;
                    let batch = batch.project(&columns);
                    let rows = UInt32Array::from(rows);
                    let batch = batch.and_then(|batch| take_record_batch(&batch, &rows));
                    with_schema(&batch.map_err(|e| Error::Internal(e.to_string()))?, &schema)
                }))
            }
            (Content::Table(table), _) => {
                let (table, columns) = (table.clone(), columns.clone());
                let parts = (partition..table.part_count()).step_by(of);
                Box::new(parts.map(move |part| {
                    let rows = table.part(part, &columns);
                    with_schema(&rows.map_err(|e| Error::Internal(e.to_string()))?, &schema)
                }))
            }
            (Content::Rows(version), _) => {
                let version = version.clone();
                let batches = (partition..version.rows.batch_count()).step_by(of);
                Box::new(batches.map(move |i| {
                    let rows = version.rows.batch(i).map_err(not_stored)?;
                    let rows = rows.project(&columns);
                    with_schema(&rows.map_err(|e| Error::Internal(e.to_string()))?, &schema)
                }))
            }
        };
        let small = pieces.flat_map(move |piece| sliced(piece, size));
        let stream = futures::stream::iter(small.map(|piece| piece.map_err(DataFusionError::from)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            stream,
        )))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        Ok(Arc::new(match partition {
            None => statistics(self.rows, &self.schema),
            Some(_) => Statistics::new_unknown(&self.schema),
        }))
    }
}

pub(super) fn gathered(
    table: &Pinned,
    found: &[u32],
    columns: &[usize],
    schema: &SchemaRef,
) -> Result<RecordBatch, Error> {
    let columns = table.gather(found, columns);
    let columns = columns.map_err(|e| Error::Internal(e.to_string()))?;
    batch(schema, columns, found.len()).map_err(|e| Error::Internal(e.to_string()))
}

/// A batch in pieces of a size, which share its memory.
fn sliced(
    batch: Result<RecordBatch, Error>,
    size: usize,
) -> impl Iterator<Item = Result<RecordBatch, Error>> {
    let (batch, error) = match batch {
        Ok(batch) => (Some(batch), None),
        Err(e) => (None, Some(Err(e))),
    };
    let pieces = batch.into_iter().flat_map(move |batch| {
        let rows = batch.num_rows();
        (0..rows)
            .step_by(size)
            .map(move |start| Ok(batch.slice(start, size.min(rows - start))))
    });
    pieces.chain(error)
}
