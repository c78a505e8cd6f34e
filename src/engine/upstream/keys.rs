//! `SELECT c.id, o.month, count(*) FROM c JOIN o … GROUP BY c.id, o.month`: `c.id`, the key of c, determines c's columns,
//! and no more of the join. DataFusion takes it for the key of the groups, and so `ORDER BY id, month` is sorted by id
//! alone, a `GROUP BY id, month` above has one row per id, and a join above is taken for one that finds one row. The
//! same with `unnest`, which has one row per element and is taken to have the keys of its input.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    DFSchema, Dependency, FunctionalDependence, FunctionalDependencies, Result,
};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use sqlparser::ast::TableFactor;

/// The keys of every node as they are, for the rules that come after.
#[derive(Debug)]
pub struct Keys;

impl OptimizerRule for Keys {
    fn name(&self) -> &str {
        "keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        // The nodes above are made anew when the schema of one below changes.
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        with_keys(plan)
    }
}

/// The keys of what is in FROM: a GROUP BY over it is planned with all columns that a key in it determines.
#[derive(Debug, Default)]
pub struct KeyedRelations {
    /// The relation that is asked for next is to be planned as it is.
    passes: AtomicBool,
}

impl RelationPlanner for KeyedRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let has_plan = matches!(
            relation,
            TableFactor::Derived { .. } | TableFactor::Table { .. }
        );
        if !has_plan || self.passes.swap(false, Ordering::Relaxed) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        self.passes.store(true, Ordering::Relaxed);
        let mut plan = context.plan(relation)?;
        if plan.exists(|node| Ok(keys(node).is_some()))? {
            let keyed = plan.transform_up(|node| with_keys(node.recompute_schema()?))?;
            plan = keyed.data;
        }
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, None,
        ))))
    }
}

/// The node with the keys that it has, and no others.
pub fn with_keys(mut plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let Some(keys) = keys(&plan) else {
        return Ok(Transformed::no(plan));
    };
    let keyed = |schema: &Arc<DFSchema>| -> Result<Arc<DFSchema>> {
        let schema = schema.as_ref().clone();
        Ok(Arc::new(schema.with_functional_dependencies(keys)?))
    };
    match &mut plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.schema = keyed(&aggregate.schema)?,
        LogicalPlan::Unnest(unnest) => unnest.schema = keyed(&unnest.schema)?,
        _ => return Ok(Transformed::no(plan)),
    }
    Ok(Transformed::yes(plan))
}

/// The keys of a node that has others by now.
fn keys(plan: &LogicalPlan) -> Option<FunctionalDependencies> {
    let keys = match plan {
        LogicalPlan::Aggregate(aggregate) => keys_of_groups(aggregate),
        LogicalPlan::Unnest(_) => FunctionalDependencies::empty(),
        _ => return None,
    };
    (keys != *plan.schema().functional_dependencies()).then_some(keys)
}

fn keys_of_groups(aggregate: &Aggregate) -> FunctionalDependencies {
    let groups = &aggregate.group_expr;
    let names: Vec<String> = groups.iter().map(|g| g.schema_name().to_string()).collect();
    if groups.is_empty() || matches!(groups[..], [Expr::GroupingSet(_)]) {
        return FunctionalDependencies::empty();
    }
    let fields = aggregate.schema.fields().len();
    let whole = |sources: Vec<usize>, nullable: bool| {
        FunctionalDependence::new(sources, (0..fields).collect(), nullable)
            .with_mode(Dependency::Single)
    };

    let input = aggregate.input.schema();
    let inputs = input.field_names();
    let group_of = |field: &usize| names.iter().position(|name| *name == inputs[*field]);
    let mut keys = Vec::new();
    for below in input.functional_dependencies().iter() {
        let sources: Option<Vec<usize>> = below.source_indices.iter().map(group_of).collect();
        let Some(sources) = sources else { continue };
        let determined: HashSet<usize> = sources
            .iter()
            .copied()
            .chain(below.target_indices.iter().filter_map(group_of))
            .collect();
        keys.push(
            // What determines a whole row determines what is computed from it, and what determines all of a group's
            // values is its key.
            if below.mode == Dependency::Single || determined.len() == groups.len() {
                whole(sources, below.nullable)
            } else {
                let mut targets: Vec<usize> = determined.into_iter().collect();
                targets.sort_unstable();
                FunctionalDependence::new(sources, targets, below.nullable)
                    .with_mode(Dependency::Multi)
            },
        );
    }
    if !keys.iter().any(|key| key.mode == Dependency::Single) {
        let nullable = |i: usize| aggregate.schema.field(i).is_nullable();
        keys.push(whole(
            (0..groups.len()).collect(),
            (0..groups.len()).any(nullable),
        ));
    }
    FunctionalDependencies::new(keys)
}
