//! `ORDER BY … LIMIT n` above a join of two sources, without reading both tables whole.
//!
//! The order mostly begins with columns of one side ("the latest 20 orders with their customers"), and then only that
//! side's first rows can be in the answer. How many of them depends on what the join and the filters in between leave,
//! which nobody knows before. So the side is read up to a limit by those columns, the whole subplan is run over that, and
//! its answer is taken if it must be the answer over all rows: as many rows as are asked for come strictly before the
//! last one read, by the same columns, behind which are all the rows that were not read; ties with that row decide
//! nothing. Else it is run again, over many times as many rows, and at last over all: the *stop* and *restart* operators
//! of Carey and Kossmann. Each attempt is a whole execution, so that no answer mixes two. A side that has at least one
//! row above for each of its own, in an order that leaves no ties, needs no second attempt and is limited as it is.
//!
//! The central type is [`Restart`]. A cut plan goes in, and comes out with such sides limited.
//!
//! | file | owns |
//! |---|---|
//! | `side.rs` | [`OrderedSide`]: the fragment that an order begins with, and how it is limited |
//! | `restart.rs` | [`Restart`] and [`Cutoff`](restart::Cutoff), the nodes of a plan, and their planner |
//! | `exec.rs` | how they run |

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{LogicalPlan, Sort};

use super::cut::Cut;
use super::estimate::Estimate;
use super::shared::{is_shared, is_volatile};

mod exec;
mod restart;
mod side;

pub use restart::{Restart, RestartPlanner};

use restart::Trial;
use side::OrderedSide;

/// To read fewer rows spares nothing.
const LEAST_ROWS: usize = 500;
/// What the next attempt reads, of what the last did.
const GROWTH: usize = 32;
/// Attempts before the one over all rows.
const MOST_ATTEMPTS: usize = 2;
/// A side that has not so many times the rows of an attempt is read whole instead.
const WORTH: usize = 4;
/// Until it is known to be the answer, an attempt's waits in memory.
const MOST_KEPT: usize = 10_000;

/// Limit the sides that order a top-n. `first_rows` says how many of their rows are read first, whatever is thought of
/// them; none: no attempt is made.
pub fn limit_ordered_sides(cut: Cut, first_rows: Option<usize>) -> Result<Cut> {
    let mut is_recursive = false;
    cut.plan.apply_with_subqueries(|node| {
        is_recursive |= matches!(node, LogicalPlan::RecursiveQuery(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    // The steps of a recursion are run again and again.
    if is_recursive {
        return Ok(cut);
    }
    let plan = cut.plan.transform_down_with_subqueries(|node| {
        let limited = match &node {
            LogicalPlan::Sort(sort) => with_side_limited(sort, first_rows)?,
            _ => None,
        };
        Ok(match limited {
            // Attempts within attempts would be too many.
            Some(plan) => Transformed::new(plan, true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })?;
    Ok(Cut {
        plan: plan.data,
        ..cut
    })
}

fn with_side_limited(sort: &Sort, first_rows: Option<usize>) -> Result<Option<LogicalPlan>> {
    let (Some(fetch), Some(side)) = (sort.fetch, OrderedSide::of(sort)) else {
        return Ok(None);
    };
    if !is_repeatable(&sort.input)? {
        return Ok(None);
    }
    let over = |input: LogicalPlan| {
        let input = Arc::new(input);
        LogicalPlan::Sort(Sort {
            input,
            ..sort.clone()
        })
    };
    if side.keeps_rows && side.is_total {
        if side.rows().is_some_and(|rows| fetch >= rows) {
            return Ok(None);
        }
        let first = side.first(fetch).into_plan();
        return side.replaced(&sort.input, first).map(over).map(Some);
    }
    let limits = match first_rows {
        Some(0) => Vec::new(),
        Some(first) => vec![first, first.saturating_mul(GROWTH)],
        None => limits(sort, fetch, &side),
    };
    if limits.is_empty() || fetch > MOST_KEPT {
        return Ok(None);
    }
    let attempts = limits
        .iter()
        .map(|limit| side.replaced(&sort.input, side.cutoff(*limit)).map(over));
    let mut attempts = attempts.collect::<Result<Vec<_>>>()?;
    attempts.push(LogicalPlan::Sort(sort.clone()));
    let trial = Arc::new(Trial {
        limits,
        fetch,
        keys: side.keys_above(),
        ordered: side.source().to_string(),
    });
    let restart = Restart { attempts, trial };
    // What is above may need the order, for which this vouches whatever the attempts run as.
    Ok(Some(over(restart.into_plan())))
}

/// How many rows are worth an attempt, one after another: for the first, twice as many as should be enough.
fn limits(sort: &Sort, fetch: usize, side: &OrderedSide) -> Vec<usize> {
    let Some(rows) = side.rows() else {
        return Vec::new();
    };
    let for_each = match side.keeps_rows {
        true => 1.0,
        false => (Estimate::of(&sort.input).rows / rows.max(1) as f64).min(1.0),
    };
    let enough = (2.0 * fetch as f64 / for_each.max(f64::MIN_POSITIVE)).ceil() as usize;
    let first = enough.max(LEAST_ROWS);
    let limits = std::iter::successors(Some(first), |last| Some(last.saturating_mul(GROWTH)));
    limits
        .take(MOST_ATTEMPTS)
        .take_while(|limit| limit.saturating_mul(WORTH) <= rows)
        .collect()
}

/// Whether a second run is of the same, and of nothing that others read, too: they need all of it.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let mut has_shared = false;
    plan.apply_with_subqueries(|node| {
        has_shared |= is_shared(node);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(!has_shared && !is_volatile(plan))
}
