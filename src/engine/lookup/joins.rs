//! Joins of a lookup: rows that one side finds, and with them those of the other that an index finds by their keys.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::{self as plan, Expr, LogicalPlan, TableScan};

use super::compile::{Compiler, copy, is_told_by_bytes};
use super::steps::{Join, Joined, Step};

impl Compiler<'_> {
    pub(super) fn join(&mut self, join: &plan::Join) -> Option<Join> {
        if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
            return None;
        }
        let views = self.views.len();
        let sides: &[bool] = match join.join_type {
            JoinType::Inner => &[false, true],
            JoinType::Left => &[false],
            JoinType::Right => &[true],
            _ => return None,
        };
        sides.iter().find_map(|is_swapped| {
            self.views.truncate(views);
            self.join_from(join, *is_swapped)
        })
    }

    /// Rows of one side, and with them those of the other that an index finds.
    fn join_from(&mut self, join: &plan::Join, is_swapped: bool) -> Option<Join> {
        let (outer, inner) = match is_swapped {
            false => (&join.left, &join.right),
            true => (&join.right, &join.left),
        };
        let is_outer = join.join_type != JoinType::Inner;
        if is_outer && join.filter.is_some() {
            return None;
        }
        let step = self.step(outer)?;
        let on = join.on.iter().map(|(left, right)| match is_swapped {
            false => (left, right),
            true => (right, left),
        });
        let on: Vec<(&Expr, &Expr)> = on.collect();
        let scan = innermost(inner)?;
        let (table, columns) = copy(scan)?;
        // The columns of the view that keys are of.
        let keys = on.iter().map(|(_, expr)| match expr {
            Expr::Column(column) => {
                let place = scan_column(inner, column)?;
                let column = columns[place];
                is_told_by_bytes(table.schema.field(column).data_type()).then_some(column)
            }
            _ => None,
        });
        let keys: Vec<usize> = keys.collect::<Option<_>>()?;
        let is_on_keys = |way: &&[usize]| {
            way.len() == keys.len() && way.iter().all(|column| keys.contains(column))
        };
        let by = table.ways().into_iter().find(is_on_keys)?.to_vec();
        // In the order of the index.
        let order = by
            .iter()
            .map(|column| keys.iter().position(|key| key == column));
        let order: Vec<usize> = order.collect::<Option<_>>()?;
        let both = order.iter().map(|&place| {
            let (own, other) = on[place];
            Some((
                self.computed(own, outer.schema())?,
                self.computed(other, inner.schema())?,
            ))
        });
        let both = both.collect::<Option<_>>()?;
        let types = by
            .iter()
            .map(|&c| table.schema.field(c).data_type().clone());
        let types = types.collect();
        let filter = match &join.filter {
            Some(filter) => Some(self.computed(filter, &join.schema)?),
            None => None,
        };
        let joined = Joined {
            view: self.view(&table),
            table,
            columns,
            by,
        };
        Some(Join {
            outer: step,
            inner: self.inner(inner, joined)?,
            on: both,
            types,
            is_outer,
            is_swapped,
            filter,
            schema: Arc::clone(join.schema.inner()),
        })
    }

    /// What is above the view of an inner side, over its rows.
    fn inner(&mut self, node: &LogicalPlan, joined: Joined) -> Option<Step> {
        match node {
            LogicalPlan::TableScan(_) => Some(Step::Joined(joined)),
            _ => self.above(node, |this, input| this.inner(input, joined)),
        }
    }
}

fn innermost(node: &LogicalPlan) -> Option<&TableScan> {
    match node {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::SubqueryAlias(alias) => innermost(&alias.input),
        LogicalPlan::Filter(filter) => innermost(&filter.input),
        LogicalPlan::Projection(projection) => innermost(&projection.input),
        _ => None,
    }
}

/// Where a scan has what is a column above it.
fn scan_column(node: &LogicalPlan, column: &Column) -> Option<usize> {
    let place = node.schema().maybe_index_of_column(column)?;
    match node {
        LogicalPlan::TableScan(_) => Some(place),
        LogicalPlan::SubqueryAlias(alias) => at(&alias.input, place),
        LogicalPlan::Filter(filter) => scan_column(&filter.input, column),
        LogicalPlan::Projection(projection) => match &projection.expr[place] {
            Expr::Column(column) => scan_column(&projection.input, column),
            Expr::Alias(alias) => match alias.expr.as_ref() {
                Expr::Column(column) => scan_column(&projection.input, column),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn at(node: &LogicalPlan, place: usize) -> Option<usize> {
    let (qualifier, field) = node.schema().qualified_field(place);
    scan_column(node, &Column::from((qualifier, field)))
}
