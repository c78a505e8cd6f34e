use std::sync::Arc;

use belvedere_connector::{Expr as SourceExpr, Fragment, Rel, SortKey};
use datafusion::arrow::compute::SortOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, JoinType, Result};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Sort};

use super::restart::{Cutoff, Key};
use crate::federation::node::{FragmentNode, fragment_of};
use crate::federation::peers::cut_where_total;

/// The fragment with whose columns a top-n's order begins, such that each row that is sorted comes of one of its rows:
/// what its first rows give is what is sorted first.
pub struct OrderedSide {
    fragment: FragmentNode,
    /// Which input it is in, from the sort's own down.
    path: Vec<usize>,
    /// The columns the order begins with, of what is sorted and of the fragment.
    above: Vec<Key>,
    below: Vec<Key>,
    /// Each of its rows gives at least one.
    pub keeps_rows: bool,
    /// Rows that are the same in these columns are the same.
    pub is_total: bool,
}

impl OrderedSide {
    /// The side that orders this sort, if its source can sort by at least the first key as it is sorted here.
    pub fn of(sort: &Sort) -> Option<Self> {
        let schema = sort.input.schema();
        let keys = sort.expr.iter().map_while(|key| {
            let options = SortOptions::new(!key.asc, key.nulls_first);
            let column = column(&key.expr, schema)?;
            Some(Key { column, options })
        });
        let above: Vec<Key> = keys.collect();
        let mut node = sort.input.as_ref();
        let mut columns: Vec<usize> = above.iter().map(|key| key.column).collect();
        let (mut path, mut keeps_rows) = (Vec::new(), true);
        let fragment = loop {
            if let Some(fragment) = fragment_of(node) {
                break fragment;
            }
            let step = Step::below(node, &columns)?;
            keeps_rows &= step.keeps_rows;
            columns = step.columns;
            path.push(step.input);
            node = node.inputs().get(step.input).copied()?;
        };
        // What is limited already is few.
        let rel = &fragment.fragment.rel;
        if matches!(rel, Rel::Limit { .. } | Rel::Sort { fetch: Some(_), .. }) {
            return None;
        }
        let below = columns.iter().zip(&above).map(|(column, key)| Key {
            column: *column,
            ..*key
        });
        let mut below: Vec<Key> = below.collect();
        let is_total = sent(fragment, &mut below)?;
        Some(Self {
            fragment: fragment.clone(),
            path,
            above: above.into_iter().take(below.len()).collect(),
            below,
            keeps_rows,
            is_total,
        })
    }

    /// How many rows it has, if that is more than a guess.
    pub fn rows(&self) -> Option<usize> {
        self.fragment.estimate.known_rows()
    }

    pub fn source(&self) -> &str {
        &self.fragment.handle.name
    }

    pub fn keys_above(&self) -> Vec<Key> {
        self.above.clone()
    }

    /// Its first rows.
    pub fn first(&self, rows: usize) -> FragmentNode {
        let rel = sorted(&self.fragment.fragment.rel, &self.below, rows);
        FragmentNode {
            fragment: Arc::new(Fragment::new(rel)),
            estimate: self.fragment.estimate.clone().at_most(rows),
            ..self.fragment.clone()
        }
    }

    /// The same, watched for where they end.
    pub fn cutoff(&self, rows: usize) -> LogicalPlan {
        let cutoff = Cutoff {
            input: self.first(rows).into_plan(),
            keys: self.below.clone(),
        };
        cutoff.into_plan()
    }

    /// What is sorted, with `leaf` in place of this.
    pub fn replaced(&self, sorted: &LogicalPlan, leaf: LogicalPlan) -> Result<LogicalPlan> {
        replaced(sorted, &self.path, leaf)
    }
}

fn replaced(plan: &LogicalPlan, path: &[usize], leaf: LogicalPlan) -> Result<LogicalPlan> {
    let [input, rest @ ..] = path else {
        return Ok(leaf);
    };
    let (mut leaf, mut inputs) = (Some(leaf), 0..);
    let plan = plan.clone().map_children(|child| {
        let is_there = inputs.next() == Some(*input);
        Ok(match leaf.take_if(|_| is_there) {
            Some(leaf) => Transformed::yes(replaced(&child, rest, leaf)?),
            None => Transformed::no(child),
        })
    })?;
    Ok(plan.data)
}

/// Where the columns of a node come from, as far as the first of them come from one input.
struct Step {
    input: usize,
    columns: Vec<usize>,
    keeps_rows: bool,
}

impl Step {
    fn below(node: &LogicalPlan, columns: &[usize]) -> Option<Self> {
        let only = |columns: Vec<usize>, keeps_rows| Self {
            input: 0,
            columns,
            keeps_rows,
        };
        let step = match node {
            LogicalPlan::Projection(projection) => {
                let schema = projection.input.schema();
                let columns = columns.iter();
                let columns = columns.map_while(|i| column(projection.expr.get(*i)?, schema));
                only(columns.collect(), true)
            }
            LogicalPlan::SubqueryAlias(_) => only(columns.to_vec(), true),
            LogicalPlan::Filter(_) => only(columns.to_vec(), false),
            LogicalPlan::Join(join) => Self::below_join(join, columns)?,
            _ => return None,
        };
        (!step.columns.is_empty()).then_some(step)
    }

    /// Each row of a join comes of one row of either side, unless that side is filled with NULLs.
    fn below_join(join: &Join, columns: &[usize]) -> Option<Self> {
        use JoinType::*;
        let left = join.left.schema().fields().len();
        let right = join.right.schema().fields().len();
        let sides = match join.join_type {
            Inner => vec![(0, 0..left, false), (1, left..left + right, false)],
            Left | LeftMark => vec![(0, 0..left, true)],
            LeftSemi | LeftAnti => vec![(0, 0..left, false)],
            Right => vec![(1, left..left + right, true)],
            RightMark => vec![(1, 0..right, true)],
            RightSemi | RightAnti => vec![(1, 0..right, false)],
            Full => Vec::new(),
        };
        let first = columns.first()?;
        let mut sides = sides.into_iter();
        let (input, own, keeps_rows) = sides.find(|(_, own, _)| own.contains(first))?;
        let columns = columns.iter().map_while(|column| {
            let is_own = own.contains(column);
            is_own.then(|| column - own.start)
        });
        Some(Self {
            input,
            columns: columns.collect(),
            keeps_rows,
        })
    }
}

/// The place of what is just a column.
fn column(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        Expr::Alias(alias) => column(&alias.expr, schema),
        _ => None,
    }
}

/// As many of the keys as the source sorts by exactly, at least one; and whether they leave no ties.
fn sent(fragment: &FragmentNode, keys: &mut Vec<Key>) -> Option<bool> {
    let rel = &fragment.fragment.rel;
    let width = rel.schema().fields().len();
    let capabilities = fragment.handle.source.capabilities();
    while !keys.is_empty() {
        let mut needed = sort_keys(rel, keys);
        let is_total = cut_where_total(&[], &mut needed, &fragment.keys, width);
        let needed = &keys[..needed.len()];
        if capabilities.node(&sorted(rel, needed, 1)).is_exact() {
            keys.truncate(needed.len());
            return Some(is_total);
        }
        keys.pop();
    }
    None
}

fn sorted(rel: &Rel, keys: &[Key], fetch: usize) -> Rel {
    Rel::Sort {
        keys: sort_keys(rel, keys),
        input: Box::new(rel.clone()),
        fetch: Some(fetch as u64),
    }
}

fn sort_keys(rel: &Rel, keys: &[Key]) -> Vec<SortKey> {
    let schema = rel.schema();
    let key = |key: &Key| {
        let field = schema.field(key.column);
        SortKey {
            expr: SourceExpr::column(key.column, field.data_type().clone(), field.is_nullable()),
            descending: key.options.descending,
            nulls_first: key.options.nulls_first,
        }
    };
    keys.iter().map(key).collect()
}
