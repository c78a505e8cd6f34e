//! Writes to a source: its gate, breaker and limits are those of reads; nothing is sent again.

use std::sync::Arc;
use std::time::Instant;

use belvedere_connector::{Error, Expr, ExprKind, Rel, StatementContext, TableRef, Write, Written};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::cut::Cut;
use super::expr;
use super::node::fragment_of;
use super::outlet::{self, Disk, Lost, Memory};
use super::provider::SourceHandle;

/// Rows that wait to be written, in memory; more go to disk.
const MEMORY: usize = 64 << 20;
/// Batches that do, at most.
const BATCHES: usize = 1 << 16;

impl SourceHandle {
    /// Send it, once it is this one's turn.
    pub async fn write(
        self: &Arc<Self>,
        write: Write,
        statement: &StatementContext,
    ) -> Result<Written, Error> {
        self.reachable()?;
        let until = self.patience(statement);
        let entered = self.gate.enter(statement.asker, 1, until).await;
        let _place = entered.map_err(|e| e.at_source(&self.name))?;
        // What failed while this one waited may have been the last.
        let _probe = self.admit()?;
        let limit = self.limits.statement_timeout;
        let limit = limit.map(|limit| Instant::now() + limit);
        let write = Write {
            deadline: limit.into_iter().chain(statement.deadline).min(),
            ..write
        };
        let begun = Instant::now();
        let written = self.source.write(write).await;
        statement.spent.add(&self.name, begun.elapsed());
        self.contacted(written.as_ref().err());
        written.map_err(|e| e.at_source(&self.name))
    }
}

/// What a source by itself does with the rows of a cut plan: the values, one for each of the plan's first columns, and the
/// conditions; both over a schema of the table. None: not all of the plan is rows of that table, as the source has them.
///
/// Values may be computed above what the source answers: whether it stores them is asked for elsewhere.
pub fn of_one_table(
    cut: &Cut,
    handle: &SourceHandle,
    table: &TableRef,
    schema: &Schema,
    values: usize,
) -> Option<(Vec<Expr>, Vec<Expr>)> {
    let mut plan = without_alias(&cut.plan);
    let above = match plan {
        LogicalPlan::Projection(projection) => {
            plan = without_alias(&projection.input);
            Some(&projection.expr)
        }
        _ => None,
    };
    let node = fragment_of(plan)?;
    if !Arc::ptr_eq(&node.handle.source, &handle.source) {
        return None;
    }
    let (computed, mut rel) = match &node.fragment.rel {
        Rel::Project { input, columns } => (Some(columns), input.as_ref()),
        rel => (None, rel),
    };
    let mut predicates = Vec::new();
    let (scanned, own) = loop {
        rel = match rel {
            Rel::Filter {
                input,
                predicates: more,
            } => {
                predicates.extend(more);
                input.as_ref()
            }
            Rel::Scan { table, schema } => break (table, schema),
            _ => return None,
        };
    };
    if scanned != table {
        return None;
    }
    let columns = own.fields().iter().map(|field| {
        let column = schema.index_of(field.name()).ok()?;
        let data_type = field.data_type().clone();
        Some(Expr::column(column, data_type, field.is_nullable()))
    });
    let columns = columns.collect::<Option<Vec<_>>>()?;
    let output: Vec<Expr> = match computed {
        Some(computed) => {
            let computed = computed.iter();
            computed.map(|(expr, _)| put(expr, &columns)).collect()
        }
        None => columns.clone(),
    };
    let values = match above {
        Some(above) => {
            let first = above.iter().take(values);
            let first = first.map(|value| expr::scalar(value, &node.schema).ok());
            let first = first.collect::<Option<Vec<_>>>()?;
            first.iter().map(|value| put(value, &output)).collect()
        }
        None => output.into_iter().take(values).collect::<Vec<_>>(),
    };
    let predicates = predicates.into_iter();
    let predicates: Vec<Expr> = predicates.map(|expr| put(expr, &columns)).collect();
    let is_bound = !values.iter().chain(&predicates).any(has_parameter);
    is_bound.then_some((values, predicates))
}

fn without_alias(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => without_alias(&alias.input),
        plan => plan,
    }
}

/// An expression with these in place of its columns.
fn put(expr: &Expr, columns: &[Expr]) -> Expr {
    if let Some(column) = expr.as_column() {
        return columns[column].clone();
    }
    let mut expr = expr.clone();
    for child in expr.children_mut() {
        *child = put(child, columns);
    }
    expr
}

fn has_parameter(expr: &Expr) -> bool {
    let is_one = matches!(
        &expr.kind,
        ExprKind::Literal(belvedere_connector::Literal::Parameter(_))
    );
    is_one || expr.children().into_iter().any(has_parameter)
}

/// All rows, before the first of them is taken: whatever computing them fails of has failed by then, and no source is read any more.
/// What has no room in memory is on disk.
pub async fn spooled(
    mut rows: SendableRecordBatchStream,
    runtime: Arc<RuntimeEnv>,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let schema = rows.schema();
    let disk = Disk {
        runtime,
        metrics: SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0),
    };
    let memory = Some(Arc::new(Memory::new(MEMORY)));
    let (mut outlet, inlet) = outlet::channel(schema.clone(), BATCHES, memory, disk);
    while let Some(batch) = rows.next().await.transpose()? {
        outlet.put(batch, |_| false).await?;
    }
    outlet.end(Ok(()));
    let batches = futures::stream::try_unfold(inlet, |mut inlet| async move {
        match inlet.next().await {
            Ok(batch) => Ok(batch?.map(|batch| (batch, inlet))),
            Err(Lost) => datafusion::common::internal_err!("rows that were kept are gone"),
        }
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
}
