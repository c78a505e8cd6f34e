//! A kept view as a table that DataFusion reads.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{
    and_kleene, concat_batches, filter_record_batch, or_kleene, take_record_batch,
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, project_schema,
};
use datafusion::scalar::ScalarValue;

use super::versions::{not_stored, with_schema};
use super::{Content, Contract, Shown};
use crate::catalog::ObjectId;
use crate::error::Error;
use crate::store::{self, Pinned};

/// Rows that one partition has at least.
const PARTITION_ROWS: u64 = 100_000;
/// Values of a column that rows are compared with one after the other.
const MOST_VALUES: usize = 64;
/// Keys that are looked up; for more all rows are read.
const MOST_KEYS: usize = 10_000;

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
        let of = |filter: &&Expr| match wanted(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
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
        let wanted: Vec<Wanted> = filters.iter().filter_map(wanted).collect();
        let found = self.found(&content, &wanted)?;
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

impl CopyTable {
    /// These columns of the rows in which columns have one of these values, as an index on just those finds them, or one that begins with
    /// them. None: there is no such index yet, or there are too many values.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn pick(
        &self,
        shown: &Shown,
        keys: &[(usize, Vec<ScalarValue>)],
        columns: &[usize],
    ) -> Result<Option<RecordBatch>> {
        let Some(content) = &shown.content else {
            return Ok(None);
        };
        if keys.iter().any(|(_, values)| values.len() > MOST_VALUES) {
            return Ok(None);
        }
        let wanted = keys.iter().map(|(column, values)| Wanted {
            column: self.schema.field(*column).name(),
            values: values.iter().collect(),
        });
        let wanted: Vec<Wanted> = wanted.collect();
        // By fewer columns others would be found, too.
        let found = self.found(content, &wanted)?;
        let Some(found) = found.filter(|found| found.columns == keys.len()) else {
            return Ok(None);
        };
        let schema = project_schema(&self.schema, Some(&columns.to_vec()))?;
        let rows = match (content, &found.rows) {
            (Content::Table(table), FoundRows::Table(found)) => {
                gathered(table, found, columns, &schema)?
            }
            (Content::Rows(version), FoundRows::Batches(found)) => {
                // The index knows hashes: others may have the same.
                let mut rows = Vec::new();
                for (number, found) in found {
                    let batch = version.rows.batch(*number).map_err(not_stored)?;
                    let batch = take_record_batch(&batch, &UInt32Array::from(found.clone()))?;
                    let mut is_meant = BooleanArray::from(vec![true; batch.num_rows()]);
                    for (column, values) in keys {
                        let mut is_one = BooleanArray::from(vec![false; batch.num_rows()]);
                        for value in values {
                            let equal = eq(batch.column(*column), &value.to_scalar()?)?;
                            is_one = or_kleene(&is_one, &equal)?;
                        }
                        is_meant = and_kleene(&is_meant, &is_one)?;
                    }
                    let batch = filter_record_batch(&batch, &is_meant)?.project(columns)?;
                    rows.push(with_schema(&batch, &schema)?);
                }
                concat_batches(&schema, &rows)?
            }
            _ => return internal_err!("rows of another content were found"),
        };
        Ok(Some(rows))
    }

    /// The rows that an index finds, if the values of all its columns are given; of its first ones, if it can be had on those.
    fn found<'a>(&'a self, content: &Content, wanted: &[Wanted]) -> Result<Option<Found>> {
        // The one with most columns leaves fewest rows.
        let prefixes = |index: &'a Vec<usize>| (1..=index.len()).map(|first| &index[..first]);
        let mut indexes: Vec<&[usize]> = self.indexes.iter().flat_map(prefixes).collect();
        indexes.sort_by_key(|index| std::cmp::Reverse(index.len()));
        for columns in indexes {
            // Of a table that has it already: one that was created just now is being made.
            let columns = match content {
                Content::Table(table) => match table.shape().index_on(columns) {
                    Some(index) => table.shape().index_columns(index),
                    None => continue,
                },
                Content::Rows(_) => columns,
            };
            let Some(values) = self.values(columns, wanted) else {
                continue;
            };
            let rows = match content {
                Content::Table(table) => FoundRows::Table(found_in_table(table, columns, &values)?),
                Content::Rows(version) => match version.index(columns)? {
                    Some(index) => FoundRows::Batches(version.found(&index, &values)?),
                    None => continue,
                },
            };
            let names = columns
                .iter()
                .map(|&c| self.schema.field(c).name().as_str());
            return Ok(Some(Found {
                rows,
                columns: columns.len(),
                index: names.collect::<Vec<_>>().join(", "),
            }));
        }
        Ok(None)
    }

    /// Each combination of values that is wanted of these columns: a column of values for each.
    fn values(&self, columns: &[usize], wanted: &[Wanted]) -> Option<Vec<ArrayRef>> {
        let of = |column: &usize| {
            let field = self.schema.field(*column);
            let Wanted { values, .. } = wanted.iter().find(|w| w.column == field.name())?;
            // A value that the column's type cannot have is for the filter above to say.
            let values = values
                .iter()
                .map(|value| value.cast_to(field.data_type()).ok());
            values.collect::<Option<Vec<ScalarValue>>>()
        };
        let columns: Vec<Vec<ScalarValue>> = columns.iter().map(of).collect::<Option<_>>()?;
        let times = columns
            .iter()
            .try_fold(1usize, |n, c| n.checked_mul(c.len()));
        if columns.is_empty() || times.is_none_or(|times| times == 0 || times > MOST_KEYS) {
            return None;
        }
        let (mut arrays, mut repeat) = (Vec::new(), times?);
        for column in &columns {
            repeat /= column.len();
            let each = column
                .iter()
                .flat_map(|value| std::iter::repeat_n(value, repeat));
            let all = each.cycle().take(times?).cloned();
            arrays.push(ScalarValue::iter_to_array(all).ok()?);
        }
        Some(arrays)
    }
}

/// Rows that an index has found.
#[derive(Debug)]
struct Found {
    rows: FoundRows,
    /// How many columns of it the rows were found by, and these.
    columns: usize,
    index: String,
}

#[derive(Debug)]
enum FoundRows {
    /// Positions, each as often as its row is there.
    Table(Vec<u32>),
    Batches(Vec<(usize, Vec<u32>)>),
}

impl FoundRows {
    fn len(&self) -> usize {
        match self {
            Self::Table(positions) => positions.len(),
            Self::Batches(found) => found.iter().map(|(_, rows)| rows.len()).sum(),
        }
    }
}

fn found_in_table(table: &Pinned, columns: &[usize], values: &[ArrayRef]) -> Result<Vec<u32>> {
    let external = |e: store::Error| DataFusionError::External(Box::new(e));
    let Some(index) = table.shape().index_on(columns) else {
        return internal_err!("a table has lost an index");
    };
    let mut positions = table.joined(index, values).map_err(external)?.positions;
    // A value may be wanted twice.
    positions.sort_unstable();
    positions.dedup();
    let Some(counts) = table.counts(&positions).map_err(external)? else {
        return Ok(positions);
    };
    let times = counts.values().iter().map(|&count| count as usize);
    let each = positions.iter().zip(times);
    Ok(each
        .flat_map(|(&position, times)| std::iter::repeat_n(position, times))
        .collect())
}

/// Values that a filter leaves of a column.
struct Wanted<'a> {
    column: &'a str,
    values: Vec<&'a ScalarValue>,
}

/// Of `column = value`, `column IN (…)`, and what DataFusion makes of a short list: `column = a OR column = b`.
fn wanted(filter: &Expr) -> Option<Wanted<'_>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _))
            | (Expr::Literal(value, _), Expr::Column(column)) => Some(Wanted {
                column: &column.name,
                values: vec![value],
            }),
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            let (mut left, right) = (wanted(left)?, wanted(right)?);
            left.values.extend(right.values);
            (left.column == right.column).then_some(left)
        }
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else {
                return None;
            };
            let values = list.list.iter().map(|value| match value {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            });
            Some(Wanted {
                column: &column.name,
                values: values.collect::<Option<_>>()?,
            })
        }
        _ => None,
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

fn gathered(
    table: &Pinned,
    found: &[u32],
    columns: &[usize],
    schema: &SchemaRef,
) -> Result<RecordBatch, Error> {
    let columns = table.gather(found, columns);
    let columns = columns.map_err(|e| Error::Internal(e.to_string()))?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(found.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    batch.map_err(|e| Error::Internal(e.to_string()))
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
