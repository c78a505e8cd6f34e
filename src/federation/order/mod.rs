//! The order of inner joins across sources.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | [`JoinOrder`], the rule: trees of inner joins, and semi joins that go below them |
//! | `graph.rs` | [`Graph`]: relations, and the equalities and conditions that join them |
//! | `cost.rs` | what an order costs, and the cheapest |

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality, Result};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use self::graph::Graph;
use super::estimate::Estimate;

mod cost;
mod graph;

/// More relations are no set: the joins of the first of them are ordered, those on top stay as they are written.
const MOST: usize = graph::Set::BITS as usize;

/// The order of inner joins, which DataFusion keeps as they are written: the cheapest by the sources' own statistics.
/// What one source can join without sending more is joined there; the keys of what has been joined narrow what is read
/// next. The smaller side is the left: its keys are known before the right is read.
#[derive(Debug)]
pub struct JoinOrder;

impl OptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "join_order"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        ordered(plan)
    }
}

fn ordered(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_down_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = &node
            && let Some(filtered) = semi_joined_below(join)?
        {
            return ordered(filtered)
                .map(|plan| Transformed::new(plan.data, true, TreeNodeRecursion::Jump));
        }
        if !is_inner(&node) || leaves(&node) > MOST {
            return Ok(Transformed::no(node));
        }
        let mut graph = Graph::default();
        let written = graph.add(&node);
        graph.find_classes();
        // Joins further below have their own order.
        let mut changed = false;
        for leaf in &mut graph.leaves {
            let below = ordered(std::mem::take(&mut leaf.plan))?;
            changed |= below.transformed;
            leaf.plan = below.data;
        }
        if graph.leaves.len() < 3 && !changed {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let order = cost::cheapest(&graph).unwrap_or_else(|| written.clone());
        if order == written && !changed {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let joined = graph.joined(&order)?;
        let columns = node.schema().columns().into_iter().map(Expr::Column);
        let projection = Projection::try_new(columns.collect(), Arc::new(joined))?;
        let plan = LogicalPlan::Projection(projection);
        Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump))
    })
}

/// `(a JOIN b …) SEMI JOIN s` by columns of a alone is `(a SEMI JOIN s) JOIN b …`: a filter of a, where s has fewer rows,
/// whose keys are then known before a is read.
fn semi_joined_below(join: &Join) -> Result<Option<LogicalPlan>> {
    let plain = join.join_type == JoinType::LeftSemi
        && join.null_equality == NullEquality::NullEqualsNothing
        && !join.null_aware;
    if !plain || !is_inner(narrowed(&join.left)) {
        return Ok(None);
    }
    let keys = join.on.iter().flat_map(|(left, _)| left.column_refs());
    let filter = join.filter.iter().flat_map(|filter| filter.column_refs());
    let ours = keys.chain(filter.filter(|c| join.left.schema().has_column(c)));
    let ours: Vec<Column> = ours.cloned().collect();
    let fewer = Estimate::of(&join.right).rows;
    below(&join.left, &ours, &|leaf| {
        if Estimate::of(leaf).rows <= fewer {
            return Ok(None);
        }
        let on = join.on.iter().map(|(l, r)| (r.clone(), l.clone()));
        let semi = Join::try_new(
            join.right.clone(),
            Arc::new(leaf.clone()),
            on.collect(),
            join.filter.clone(),
            JoinType::RightSemi,
            JoinConstraint::On,
            join.null_equality,
            false,
        )?;
        Ok(Some(LogicalPlan::Join(semi)))
    })
}

/// The tree of inner joins with the leaf that has all these columns replaced.
fn below(
    plan: &LogicalPlan,
    columns: &[Column],
    replace: &dyn Fn(&LogicalPlan) -> Result<Option<LogicalPlan>>,
) -> Result<Option<LogicalPlan>> {
    let is_tree = is_inner(narrowed(plan));
    if !is_tree {
        return replace(plan);
    }
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let has_all = |input: &LogicalPlan| columns.iter().all(|c| input.schema().has_column(c));
    let Some(at) = inputs.iter().position(has_all) else {
        return Ok(None);
    };
    let Some(replaced) = below(&inputs[at], columns, replace)? else {
        return Ok(None);
    };
    inputs[at] = replaced;
    let whole = plan.with_new_exprs(plan.expressions(), inputs)?;
    Ok(Some(whole))
}

/// What is below a projection that only leaves out columns.
fn narrowed(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) if only_narrows(projection) => &projection.input,
        other => other,
    }
}

fn is_inner(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.join_type == JoinType::Inner
        && join.null_equality == NullEquality::NullEqualsNothing)
}

/// How many relations a tree of inner joins has.
fn leaves(plan: &LogicalPlan) -> usize {
    match narrowed(plan) {
        LogicalPlan::Join(join) if is_inner(narrowed(plan)) => {
            leaves(&join.left) + leaves(&join.right)
        }
        _ => 1,
    }
}

/// Whether it only leaves out columns, or moves them.
fn only_narrows(projection: &Projection) -> bool {
    let columns = projection.schema.columns();
    (projection.expr.iter().zip(columns)).all(|(expr, column)| *expr == Expr::Column(column))
}
