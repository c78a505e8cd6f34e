//! Room on the stack for plans that are deep: a hundred joins are as many levels, and what plans, optimizes or drops them
//! recurses, in DataFusion as here. Only some of it looks after its stack.

use std::future::{Future, poll_fn};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use crate::error::{Error, Result};

/// Bytes that the deepest recursion takes for one level of a plan, twice what was seen (in a debug build).
const LEVEL: usize = 64 << 10;
/// Bytes that any plan may need.
const LEAST: usize = 1 << 20;
/// Levels of a plan, at most.
const MOST_LEVELS: usize = 2_000;

/// Bytes of stack that some work needs. What a thread has more is used; pages that are not touched cost nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room(usize);

impl Room {
    /// For what turns a statement into a plan.
    pub const PLANNING: Self = Self(LEAST);

    /// For what is done with this plan.
    pub fn for_plan(plan: &LogicalPlan) -> Result<Self> {
        let levels = levels(plan)?;
        if levels > MOST_LEVELS {
            return Err(Error::invalid_with_help(
                format!(
                    "the query is too deep: {levels} operators follow each other, {MOST_LEVELS} may"
                ),
                "Split it: a view or a table of values in place of a long chain",
            ));
        }
        Ok(Self(LEAST + levels * LEVEL))
    }

    pub fn with<T>(self, work: impl FnOnce() -> T) -> T {
        stacker::maybe_grow(self.0, 2 * self.0, work)
    }

    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = Box::pin(work);
        poll_fn(|context| self.with(|| work.as_mut().poll(context))).await
    }
}

/// How many operators follow each other, those of subqueries included. Recurses into subqueries only, which are as deep
/// as the parser lets them.
fn levels(plan: &LogicalPlan) -> datafusion::common::Result<usize> {
    let mut most = 0;
    let mut open = vec![(plan, 1)];
    while let Some((node, level)) = open.pop() {
        most = most.max(level);
        open.extend(node.inputs().into_iter().map(|input| (input, level + 1)));
        node.apply_subqueries(|subquery| {
            most = most.max(level + levels(subquery)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(most)
}
