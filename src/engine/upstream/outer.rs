//! `… FROM (SELECT 1 AS n UNION SELECT 2.5) AS q WHERE EXISTS (SELECT … WHERE m = q.n)`: what a subquery reads of the row
//! around it has the type that it had when the statement was read, before the types of unions are made one; it is then
//! compared, and joined, as what it is no more.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

/// The plan with what subqueries read of the rows around them as it is there.
pub fn outer_types(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let (mut unions, mut reads) = (false, false);
    plan.apply_with_subqueries(|node| {
        unions |= matches!(node, LogicalPlan::Union(_));
        node.apply_expressions(|expr| {
            reads |= expr.contains_outer();
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    match unions && reads {
        true => typed(plan, state.config_options()),
        false => Ok(plan),
    }
}

/// Unions first, then what is read of them, inside out and from the row to what is asked for it.
fn typed(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    let plan = match plan {
        // Of a join it is the left side that the other may read.
        LogicalPlan::Join(mut join) => {
            join.left = Arc::new(typed(Arc::unwrap_or_clone(join.left), options)?);
            let right = Arc::unwrap_or_clone(join.right);
            let right = right.transform_down(|node| match node {
                LogicalPlan::SubqueryAlias(_) => Ok(Transformed::no(node)),
                LogicalPlan::Subquery(query) => {
                    let query = retyped(query, join.left.schema(), options)?;
                    Ok(Transformed::new(query, true, TreeNodeRecursion::Stop))
                }
                node => Ok(Transformed::new(node, false, TreeNodeRecursion::Stop)),
            })?;
            let right = match right.transformed {
                true => right.data.recompute_schema()?,
                false => typed(right.data, options)?,
            };
            join.right = Arc::new(right);
            LogicalPlan::Join(join)
        }
        plan => {
            plan.map_children(|input| typed(input, options).map(Transformed::yes))?
                .data
        }
    };
    let around = merge_schema(&plan.inputs());
    let plan = plan.map_subqueries(|query| match query {
        LogicalPlan::Subquery(query) => retyped(query, &around, options).map(Transformed::yes),
        query => Ok(Transformed::no(query)),
    })?;
    match plan.data {
        LogicalPlan::Union(union) => {
            TypeCoercion::new().analyze(LogicalPlan::Union(union), options)
        }
        plan => plan.recompute_schema(),
    }
}

/// The subquery of rows that have this schema.
fn retyped(query: Subquery, around: &DFSchema, options: &ConfigOptions) -> Result<LogicalPlan> {
    let fresh = |expr: Expr| {
        let Expr::OuterReferenceColumn(field, column) = expr else {
            return Ok(Transformed::no(expr));
        };
        let field = match around.field_from_column(&column) {
            Ok(field) => field.clone(),
            // It is of a row further out.
            Err(_) => field,
        };
        Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
    };
    let plan = Arc::unwrap_or_clone(query.subquery);
    let plan = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| expr.transform_up(fresh))
    })?;
    let read = query.outer_ref_columns.into_iter();
    let read = read.map(|expr| expr.transform_up(fresh).map(|expr| expr.data));
    Ok(LogicalPlan::Subquery(Subquery {
        subquery: Arc::new(typed(plan.data, options)?),
        outer_ref_columns: read.collect::<Result<_>>()?,
        spans: query.spans,
    }))
}
