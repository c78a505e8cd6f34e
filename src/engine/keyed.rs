//! The key of a query's rows: columns whose values no two rows have in common, where its plan shows that there are such. What is
//! not understood has none.

use std::collections::BTreeSet;

use datafusion::common::{Column, Constraint, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan, Operator, TableScan};

use crate::access::Barrier;
use crate::views::CopyTable;

type Key = Vec<Column>;

/// The positions of the key's columns. None: none is known, or not all of it is among the columns.
pub(super) fn key(plan: &LogicalPlan) -> Option<Vec<usize>> {
    let key = of(plan)?;
    let positions = key.iter().map(|c| plan.schema().index_of_column(c).ok());
    let mut positions = positions.collect::<Option<Vec<_>>>()?;
    positions.dedup();
    Some(positions).filter(|key| !key.is_empty())
}

fn of(plan: &LogicalPlan) -> Option<Key> {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Filter(filter) => of(&filter.input),
        LogicalPlan::Sort(sort) => of(&sort.input),
        LogicalPlan::Limit(limit) => of(&limit.input),
        // It adds columns.
        LogicalPlan::Window(window) => of(&window.input),
        LogicalPlan::SubqueryAlias(alias) => {
            let key = of(&alias.input)?;
            let outer = key.iter().map(|column| {
                let at = alias.input.schema().index_of_column(column).ok()?;
                Some(Column::from(alias.schema.qualified_field(at)))
            });
            outer.collect()
        }
        LogicalPlan::Projection(projection) => {
            let key = of(&projection.input)?;
            let outer = key.iter().map(|column| {
                let shown = projection
                    .expr
                    .iter()
                    .position(|e| bare(e) == Some(column))?;
                Some(Column::from(projection.schema.qualified_field(shown)))
            });
            outer.collect()
        }
        LogicalPlan::Aggregate(aggregate) => of_groups(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            Some(of(input).unwrap_or_else(|| input.schema().columns()))
        }
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Extension(_) => of(&Barrier::of(plan)?.input),
        _ => None,
    }
}

fn of_scan(scan: &TableScan) -> Option<Key> {
    let provider = source_as_provider(&scan.source).ok()?;
    let names: Vec<String> = match provider.downcast_ref::<CopyTable>() {
        Some(view) => view.contract.key.clone(),
        None => {
            let schema = provider.schema();
            let primary = provider.constraints()?.iter().find_map(|c| match c {
                Constraint::PrimaryKey(columns) => Some(columns),
                Constraint::Unique(_) => None,
            })?;
            let names = primary.iter().map(|c| schema.field(*c).name().clone());
            names.collect()
        }
    };
    let schema = &scan.projected_schema;
    let columns = names.iter().map(|name| {
        let at = schema.fields().iter().position(|f| f.name() == name)?;
        Some(Column::from(schema.qualified_field(at)))
    });
    columns
        .collect::<Option<Key>>()
        .filter(|key| !key.is_empty())
}

fn of_groups(aggregate: &Aggregate) -> Option<Key> {
    let is_plain = |e: &Expr| !matches!(e, Expr::GroupingSet(_));
    if !aggregate.group_expr.iter().all(is_plain) {
        return None;
    }
    let groups = (0..aggregate.group_expr.len())
        .map(|at| Column::from(aggregate.schema.qualified_field(at)));
    Some(groups.collect())
}

fn of_join(join: &Join) -> Option<Key> {
    if join.join_type == JoinType::LeftSemi || join.join_type == JoinType::LeftAnti {
        return of(&join.left);
    }
    let is_inner = join.join_type == JoinType::Inner;
    if !is_inner && join.join_type != JoinType::Left {
        return None;
    }
    let (left, right) = (of(&join.left), of(&join.right));
    let mut equal: Vec<(Column, Column)> = Vec::new();
    let mut add = |a: &Expr, b: &Expr| {
        if let (Some(a), Some(b)) = (bare(a), bare(b)) {
            equal.push((a.clone(), b.clone()));
            equal.push((b.clone(), a.clone()));
        }
    };
    for (a, b) in &join.on {
        add(a, b);
    }
    for condition in join.filter.iter().flat_map(split_conjunction) {
        if let Expr::BinaryExpr(both) = condition
            && both.op == Operator::Eq
        {
            add(&both.left, &both.right);
        }
    }
    // Each row of one side meets at most one of the other, if all of the other's key has to be equal to columns of the one.
    let is_found_by = |key: &Key, of: &LogicalPlan| {
        let equal: BTreeSet<&Column> = equal
            .iter()
            .filter(|(_, other)| of.schema().has_column(other))
            .map(|(column, _)| column)
            .collect();
        key.iter().all(|column| equal.contains(column))
    };
    if let Some(right) = &right
        && is_found_by(right, &join.left)
    {
        return left;
    }
    if is_inner
        && let Some(left) = &left
        && is_found_by(left, &join.right)
    {
        return right;
    }
    // A row for each pair.
    Some(left?.into_iter().chain(right?).collect())
}

/// The column that an expression is, whatever it is called.
fn bare(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => bare(&alias.expr),
        _ => None,
    }
}
