use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Analyzer;

use super::block::{Block, Tables};
use super::proof::Answering;
use crate::catalog::ViewColumn;

/// A part of a query that can be compared with views.
#[derive(Debug)]
pub struct Part<'a> {
    pub plan: &'a LogicalPlan,
    pub block: Block,
    /// What takes its place has these.
    pub columns: DFSchemaRef,
    /// It is all of the query.
    pub is_whole: bool,
}

/// A plan with answers in the place of its largest parts that have one. None: no part has.
///
/// # Errors
/// If the plan does not fit together any more.
pub fn with_answers(
    plan: &LogicalPlan,
    tables: Tables,
    answer: &mut dyn FnMut(&Part) -> Option<LogicalPlan>,
) -> Result<Option<LogicalPlan>> {
    let replaced = plan.clone().transform_down_with_subqueries(|node| {
        let part = part(&node, plan, tables);
        match part.and_then(|part| answer(&part)) {
            Some(answer) => Ok(Transformed::new(answer, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    if !replaced.transformed {
        return Ok(None);
    }
    // Whether a column may be NULL is known less well of a copy.
    let whole = replaced.data.transform_up_with_subqueries(|node| {
        let node = node.recompute_schema()?;
        Ok(Transformed::yes(node))
    })?;
    Ok(Some(whole.data))
}

fn part<'a>(node: &'a LogicalPlan, whole: &LogicalPlan, tables: Tables) -> Option<Part<'a>> {
    let is_part = matches!(
        node,
        LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::TableScan(_)
    );
    let typed = is_part.then(|| typed(node).ok()).flatten()?;
    let columns = typed.schema().clone();
    let is_named_so = columns.columns() == node.schema().columns();
    let block = Block::of(&typed, tables).filter(|_| is_named_so)?;
    Some(Part {
        plan: node,
        block,
        columns,
        is_whole: node == whole,
    })
}

/// With the types that it is computed with.
fn typed(plan: &LogicalPlan) -> Result<LogicalPlan> {
    Analyzer::new().execute_and_check(plan.clone(), &Default::default(), |_, _| {})
}

/// The rows of a copy have no order.
fn without_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_down(|node| match node {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
            Ok(Transformed::yes(sort.input.as_ref().clone()))
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => Ok(Transformed::no(node)),
        node => Ok(Transformed::new(node, false, TreeNodeRecursion::Jump)),
    });
    Ok(plan?.data)
}

impl Answering {
    /// A view with this query, as it is kept under these columns.
    ///
    /// # Errors
    /// Why it answers nothing that does not name it.
    pub fn of(
        query: &LogicalPlan,
        columns: &[ViewColumn],
        tables: Tables,
    ) -> Result<Self, &'static str> {
        let plan = typed(query).and_then(without_order);
        let plan = plan.map_err(|_| "it cannot be planned any more")?;
        let block = Block::of(&plan, tables);
        let block = block.ok_or("it is more than tables that are joined, filtered and grouped")?;
        if block.reads_clock() {
            return Err("it says something else as time passes");
        }
        let fields = plan.schema().fields();
        let mut both = fields.iter().zip(columns);
        if fields.len() != columns.len() || !both.all(|(f, c)| *f.data_type() == c.data_type) {
            return Err("its columns have other types than when it was defined");
        }
        let columns = columns.iter().map(|column| column.name.clone());
        Ok(Self {
            columns: columns.collect(),
            block: block.bare(),
        })
    }
}
