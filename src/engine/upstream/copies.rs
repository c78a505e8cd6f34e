//! `EXCEPT ALL` takes away as many copies of a row as its right side has, and `INTERSECT ALL` keeps as many as both have.
//! DataFusion takes all copies or none: an anti or semi join.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::logical_expr::{
    Distinct, Expr, ExprFunctionExt, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder,
};

/// The plan with the copies of a row told apart, by numbers, where they count.
pub fn counted_copies(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if counts_copies(&join) => Ok(Transformed::yes(counted(join)?)),
        node => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

/// Before anything is optimized, none but set operations compare NULLs as equal; one without ALL has a distinct left side.
fn counts_copies(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

fn counted(mut join: Join) -> Result<LogicalPlan> {
    let columns = join.left.schema().columns();
    let (left, right): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
    let (left, copy) = numbered(&join.left, left, "copy")?;
    let (right, other) = numbered(&join.right, right, "other copy")?;
    join.on.push((copy, other));
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        join.on,
        join.filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(join))
        .project(columns.into_iter().map(Expr::Column))?
        .build()
}

/// The rows, and which of its equals each is, counted from one.
fn numbered(rows: &LogicalPlan, keys: Vec<Expr>, name: &str) -> Result<(LogicalPlan, Expr)> {
    let columns = rows.schema().columns();
    let is_free = |name: &String| !rows.schema().has_column_with_unqualified_name(name);
    let mut names = (0..).map(|i| format!("{name} {i}"));
    let name = names.find(is_free).unwrap_or_default();
    // Zeros of either sign are copies of each other: which one is the first does not depend on how rows are read.
    let mut order = Vec::new();
    for key in &keys {
        if key.get_type(rows.schema())?.is_floating() {
            order.push(key.clone().sort(true, false));
        }
    }
    let number = super::ranks::row_number()
        .call(Vec::new())
        .partition_by(keys);
    let number = match order.is_empty() {
        true => number.build()?,
        false => number.order_by(order).build()?,
    };
    let numbered = LogicalPlanBuilder::from(rows.clone()).window([number])?;
    let number = numbered.schema().columns().pop().map(Expr::Column);
    let number = number.map(|number| number.alias(&name));
    let columns = columns.into_iter().map(Expr::Column).chain(number);
    let plan = numbered.project(columns)?.build()?;
    Ok((plan, Expr::Column(Column::new_unqualified(name))))
}
