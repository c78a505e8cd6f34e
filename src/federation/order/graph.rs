use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinConstraint, JoinType, NullEquality, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Join, LogicalPlan};

use super::{is_inner, narrowed};
use crate::federation::estimate::Estimate;
use crate::federation::provider::SourceTable;

/// Relations that are joined, and what by.
#[derive(Default)]
pub struct Graph {
    pub leaves: Vec<Leaf>,
    equal: Vec<(Expr, Expr)>,
    pub filters: Vec<Expr>,
    pub classes: Vec<Class>,
}

/// Expressions that are all equal, each of one leaf: of `a = b` and `b = c`, also a and c.
pub type Class = Vec<(usize, Expr)>;

pub struct Leaf {
    pub plan: LogicalPlan,
    pub estimate: Estimate,
    pub place: Place,
}

/// Where a relation is.
#[derive(Clone, PartialEq)]
pub enum Place {
    /// At the sources of this place.
    Source(String),
    /// In files, which are read here; or joined from several sources.
    Here,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Order {
    Leaf(usize),
    Join(Box<Order>, Box<Order>),
}

/// Some of the leaves, as bits.
pub type Set = u64;

impl Graph {
    /// Take a tree of inner joins apart; gives the order in which it is written.
    pub fn add(&mut self, plan: &LogicalPlan) -> Order {
        match plan {
            LogicalPlan::Join(join) if is_inner(plan) => {
                let (left, right) = (self.add(&join.left), self.add(&join.right));
                self.equal.extend(join.on.iter().cloned());
                if let Some(filter) = &join.filter {
                    self.filters
                        .extend(split_conjunction(filter).into_iter().cloned());
                }
                Order::Join(Box::new(left), Box::new(right))
            }
            LogicalPlan::Projection(_) if is_inner(narrowed(plan)) => self.add(narrowed(plan)),
            leaf => {
                self.leaves.push(Leaf {
                    estimate: Estimate::of(leaf),
                    place: place(leaf),
                    plan: leaf.clone(),
                });
                Order::Leaf(self.leaves.len() - 1)
            }
        }
    }

    /// The leaves whose columns an expression reads.
    pub fn read_by(&self, expr: &Expr) -> Set {
        let columns = expr.column_refs();
        let reads = |leaf: &Leaf| columns.iter().any(|c| leaf.plan.schema().has_column(c));
        let leaves = self.leaves.iter().enumerate();
        leaves
            .filter(|(_, leaf)| reads(leaf))
            .fold(0, |set, (i, _)| set | 1 << i)
    }

    /// Sort equalities into classes; those of several leaves on a side are filters like others.
    pub fn find_classes(&mut self) {
        for (left, right) in std::mem::take(&mut self.equal) {
            let places = (only(self.read_by(&left)), only(self.read_by(&right)));
            let (Some(l), Some(r)) = places else {
                self.filters.push(left.eq(right));
                continue;
            };
            let pair = [(l, left), (r, right)];
            let (touched, others) = std::mem::take(&mut self.classes)
                .into_iter()
                .partition(|class| pair.iter().any(|member| class.contains(member)));
            self.classes = others;
            let mut merged: Class = touched.into_iter().flatten().collect();
            merged.extend(pair);
            let mut seen = Class::new();
            merged.retain(|member| {
                let new = !seen.contains(member);
                seen.push(member.clone());
                new
            });
            self.classes.push(merged);
        }
        for class in &self.classes {
            for (i, (leaf, first)) in class.iter().enumerate() {
                // The others of the same leaf are joined by this one.
                let mut twins = class[i + 1..].iter().filter(|(other, _)| other == leaf);
                if let Some((_, twin)) = twins.next() {
                    self.filters.push(first.clone().eq(twin.clone()));
                }
            }
        }
    }

    pub fn joined(&self, order: &Order) -> Result<LogicalPlan> {
        let filters = self.filters.iter();
        let mut pending = Pending(filters.map(|f| (f.clone(), self.read_by(f))).collect());
        pending.join(self, order).map(|(plan, _)| plan)
    }
}

/// Filters that no join has yet, with the leaves they read.
struct Pending(Vec<(Expr, Set)>);

impl Pending {
    fn join(&mut self, graph: &Graph, order: &Order) -> Result<(LogicalPlan, Set)> {
        let (left, right) = match order {
            Order::Leaf(i) => return Ok((graph.leaves[*i].plan.clone(), 1 << i)),
            Order::Join(left, right) => (self.join(graph, left)?, self.join(graph, right)?),
        };
        let both = left.1 | right.1;
        // On each side the members of a class are equal by now: one of each will do.
        let of = |set: Set, class: &Class| {
            let member = class.iter().find(|(leaf, _)| set & (1 << leaf) != 0);
            member.map(|(_, expr)| expr.clone())
        };
        let classes = graph.classes.iter();
        let on = classes.filter_map(|class| of(left.1, class).zip(of(right.1, class)));
        let on = on.collect();
        let mut filters = Vec::new();
        self.0.retain(|(filter, reads)| {
            let waits = reads & !both != 0;
            if !waits {
                filters.push(filter.clone());
            }
            waits
        });
        let join = Join::try_new(
            Arc::new(left.0),
            Arc::new(right.0),
            on,
            conjunction(filters),
            JoinType::Inner,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        Ok((LogicalPlan::Join(join), both))
    }
}

/// The one leaf of a set.
fn only(set: Set) -> Option<usize> {
    (set.count_ones() == 1).then(|| set.trailing_zeros() as usize)
}

fn place(plan: &LogicalPlan) -> Place {
    let mut names = Vec::new();
    let walked = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let any: &dyn std::any::Any = provider.as_ref();
            let table = any.downcast_ref::<SourceTable>();
            names.push(table.map(|table| table.handle.place().to_string()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names.dedup();
    match (walked, &mut names[..]) {
        (Ok(_), [name]) => name.take().map_or(Place::Here, Place::Source),
        _ => Place::Here,
    }
}
