//! Stopping what runs. A plan's stream is only stopped where it yields, and a join that finds no match among very many
//! pairs does not: so joins yield, and ask at each batch of pairs whether to go on.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::error::{Error, Result};

/// When a statement has to stop: at its deadline, or when its answer is gone. Clones are of the same statement.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    deadline: Option<Instant>,
    limit: Duration,
    gone: Arc<AtomicBool>,
}

impl Stop {
    pub fn new(deadline: Option<Instant>, limit: Option<Duration>) -> Self {
        Self {
            deadline,
            limit: limit.unwrap_or_default(),
            gone: Arc::default(),
        }
    }

    fn check(&self) -> Result<()> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        match self.deadline {
            Some(at) if Instant::now() >= at => Err(Error::Timeout {
                limit_ms: self.limit.as_millis(),
            }),
            _ => Ok(()),
        }
    }

    /// The plan, made to stop.
    pub fn within(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let stopping = plan.transform_up(|node| {
            let join = if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
                NestedLoopJoinExecBuilder::from(join)
                    .with_filter(join.filter().map(|f| self.asked(f)))
                    .build()
                    .map(|join| Arc::new(join) as Arc<dyn ExecutionPlan>)?
            } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                join.builder()
                    .with_filter(join.filter().map(|f| self.asked(f)))
                    .build_exec()?
            } else if matches!(node.name(), "CrossJoinExec" | "SortMergeJoinExec") {
                node
            } else {
                return Ok(Transformed::no(node));
            };
            Ok(Transformed::yes(Arc::new(CooperativeExec::new(join)) as _))
        })?;
        Ok(stopping.data)
    }

    fn asked(&self, filter: &JoinFilter) -> JoinFilter {
        let asking = Asking {
            inner: filter.expression().clone(),
            stop: self.clone(),
        };
        let columns = filter.column_indices().to_vec();
        JoinFilter::new(Arc::new(asking), columns, filter.schema().clone())
    }

    /// The answer, whose drop stops what runs for it.
    pub fn with(&self, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let guard = StopOnDrop(self.gone.clone());
        let schema = stream.schema();
        let guarded = stream.map(move |batch| {
            let _held = &guard;
            batch
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, guarded))
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An expression that fails once its statement has to stop.
#[derive(Debug)]
struct Asking {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Asking {}

impl Hash for Asking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Asking {
    fn data_type(&self, input: &Schema) -> datafusion::common::Result<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> datafusion::common::Result<bool> {
        self.inner.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> datafusion::common::Result<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> datafusion::common::Result<ColumnarValue> {
        self.stop.check().map_err(DataFusionError::from)?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> datafusion::common::Result<Arc<dyn PhysicalExpr>> {
        let inner = children
            .into_iter()
            .next()
            .unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Self {
            inner,
            stop: self.stop.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
