use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::expr;
use crate::access::Barrier;

/// DataFusion's rule that pushes filters down, which stops at barriers: what is leakproof passes them, and nothing else.
#[derive(Debug)]
pub struct PastBarriers(pub Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for PastBarriers {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) if Barrier::of(&filter.input).is_some() => passed(filter),
            plan => self.0.rewrite(plan, config),
        }
    }
}

/// The filter with those of its conditions below the barrier that may pass it.
fn passed(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let Some(barrier) = Barrier::of(&filter.input) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let conditions = split_conjunction_owned(filter.predicate.clone());
    let (pass, stay): (Vec<_>, Vec<_>) = conditions
        .into_iter()
        .partition(|condition| may_pass(condition, &barrier.input));
    let Some(pass) = conjunction(pass) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let below = Filter::try_new(pass, barrier.input.clone())?;
    let barrier = Barrier {
        input: Arc::new(LogicalPlan::Filter(below)),
        ..barrier.clone()
    }
    .into_plan();
    Ok(Transformed::yes(match conjunction(stay) {
        None => barrier,
        Some(stay) => LogicalPlan::Filter(Filter::try_new(stay, Arc::new(barrier))?),
    }))
}

/// Whether a condition is leakproof over a plan, and over all below it to where it could be pushed: a column may be computed there, of
/// rows that a filter further down has not dropped yet.
fn may_pass(condition: &Expr, plan: &LogicalPlan) -> bool {
    let is_leakproof = expr::scalar(condition, plan.schema()).is_ok_and(|e| e.is_leakproof());
    if !is_leakproof {
        return false;
    }
    let outputs = plan.schema().columns().into_iter();
    let below = |exprs: &[Expr]| -> Vec<Expr> {
        let bare = |expr: &Expr| expr.clone().unalias_nested().data;
        exprs.iter().map(bare).collect()
    };
    match plan {
        LogicalPlan::Projection(projection) => {
            let of = outputs.zip(below(&projection.expr)).collect();
            passes_as(condition, &of, &projection.input)
        }
        // Of what is computed of groups nothing passes them.
        LogicalPlan::Aggregate(aggregate) => {
            let of = outputs.zip(below(&aggregate.group_expr)).collect();
            passes_as(condition, &of, &aggregate.input)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = alias.input.schema().columns().into_iter();
            let of = outputs.zip(inner.map(Expr::Column)).collect();
            passes_as(condition, &of, &alias.input)
        }
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| {
            let inner = plan.schema().columns().into_iter();
            let of = inner.zip(input.schema().columns().into_iter().map(Expr::Column));
            passes_as(condition, &of.collect(), input)
        }),
        // What one side has to be, the other has, by what they are joined by.
        LogicalPlan::Join(join) => {
            let mut by = join.on.iter();
            by.all(|(left, right)| may_pass(left, &join.left) && may_pass(right, &join.right))
                && in_parts(condition, plan)
        }
        _ => in_parts(condition, plan),
    }
}

/// The same of inputs whose columns pass as they are called. One that is not there comes of another input, or of the node itself:
/// then each column by itself could be pushed, in what is made of the condition.
fn in_parts(condition: &Expr, plan: &LogicalPlan) -> bool {
    let reads = condition.column_refs();
    plan.inputs().into_iter().all(|input| {
        let has = |column: &&Column| input.schema().has_column(column);
        match reads.iter().copied().all(|column| has(&column)) {
            true => may_pass(condition, input),
            false => {
                let mut columns = reads.iter().copied().filter(has).cloned();
                columns.all(|column| may_pass(&Expr::Column(column), input))
            }
        }
    })
}

/// The same of the condition with what columns are of below.
fn passes_as(condition: &Expr, of: &HashMap<Column, Expr>, input: &LogicalPlan) -> bool {
    let below = condition.clone().transform_up(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match of.get(column) {
                Some(below) => Transformed::yes(below.clone()),
                None => Transformed::no(expr),
            },
            _ => Transformed::no(expr),
        })
    });
    let Ok(below) = below.data() else {
        return false;
    };
    let is_whole = below
        .column_refs()
        .iter()
        .all(|c| input.schema().has_column(c));
    // Where one is of the node itself, it stays above it.
    !is_whole || may_pass(&below, input)
}
