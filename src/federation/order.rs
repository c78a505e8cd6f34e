use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinConstraint, JoinType, NullEquality, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::estimate::{Estimate, matched};
use super::provider::SourceTable;

/// Up to so many relations all orders are compared; of more, the next best is joined again and again.
const ALL_ORDERS: usize = 9;
/// What a row costs: sent by a source, read from a file, put into a join's table; a row that a join gives costs 1.
const SENT: f64 = 3.0;
const READ: f64 = 0.5;
const BUILT: f64 = 2.0;
/// A row that a source compares with keys and does not send.
const SEARCHED: f64 = 0.2;
/// Keys that may be sent to the other side.
const KEYS: f64 = 50_000.0;

/// The order of inner joins, which DataFusion keeps as they are written: the cheapest by the sources' own statistics.
/// What one source can join without sending more is joined there; the keys of what has been joined narrow what is read
/// next. The smaller side is the left: its keys are known before the right is read.
#[derive(Debug)]
pub struct JoinOrder;

impl OptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "join_order"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        ordered(plan)
    }
}

fn ordered(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_down_with_subqueries(|node| {
        if !is_inner(&node) {
            return Ok(Transformed::no(node));
        }
        let mut graph = Graph::default();
        let written = graph.add(&node);
        // Joins further below have their own order.
        let mut changed = false;
        for leaf in &mut graph.leaves {
            let below = ordered(std::mem::take(&mut leaf.plan))?;
            changed |= below.transformed;
            leaf.plan = below.data;
        }
        if graph.leaves.len() < 3 && !changed {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let order = graph.best().unwrap_or_else(|| written.clone());
        if order == written && !changed {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let joined = graph.joined(&order)?;
        let columns = node.schema().columns().into_iter().map(Expr::Column);
        let projection = Projection::try_new(columns.collect(), Arc::new(joined))?;
        let plan = LogicalPlan::Projection(projection);
        Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump))
    })
}

fn is_inner(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.join_type == JoinType::Inner
        && join.null_equality == NullEquality::NullEqualsNothing)
}

/// Relations that are joined, and what by.
#[derive(Default)]
struct Graph {
    leaves: Vec<Leaf>,
    equal: Vec<(Expr, Expr)>,
    filters: Vec<Expr>,
}

struct Leaf {
    plan: LogicalPlan,
    estimate: Estimate,
    place: Place,
}

/// Where a relation is.
#[derive(Clone, PartialEq)]
enum Place {
    /// At the source of this name.
    Source(String),
    /// In files, which are read here; or joined from several sources.
    Here,
}

#[derive(Clone, PartialEq, Debug)]
enum Order {
    Leaf(usize),
    Join(Box<Order>, Box<Order>),
}

/// Some of the leaves, as bits.
type Set = u64;

impl Graph {
    /// Take a tree of inner joins apart; gives the order in which it is written.
    fn add(&mut self, plan: &LogicalPlan) -> Order {
        match plan {
            LogicalPlan::Join(join) if is_inner(plan) && self.leaves.len() < 60 => {
                let (left, right) = (self.add(&join.left), self.add(&join.right));
                self.equal.extend(join.on.iter().cloned());
                if let Some(filter) = &join.filter {
                    self.filters
                        .extend(split_conjunction(filter).into_iter().cloned());
                }
                Order::Join(Box::new(left), Box::new(right))
            }
            LogicalPlan::Projection(projection)
                if is_inner(&projection.input) && only_narrows(projection) =>
            {
                self.add(&projection.input)
            }
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
    fn read_by(&self, expr: &Expr) -> Set {
        let columns = expr.column_refs();
        let reads = |leaf: &Leaf| columns.iter().any(|c| leaf.plan.schema().has_column(c));
        let leaves = self.leaves.iter().enumerate();
        leaves
            .filter(|(_, leaf)| reads(leaf))
            .fold(0, |set, (i, _)| set | 1 << i)
    }

    fn best(&self) -> Option<Order> {
        let edges = Edges::of(self);
        let mut parts: Vec<Part> = (0..self.leaves.len())
            .map(|i| Part::leaf(self, i))
            .collect();
        edges.join_at_sources(&mut parts);
        match parts.len() {
            0..=ALL_ORDERS => edges.cheapest(&parts),
            _ => edges.greedy(parts),
        }
    }

    fn joined(&self, order: &Order) -> Result<LogicalPlan> {
        let mut pending = Pending {
            equal: (self.equal.iter())
                .map(|(l, r)| (l.clone(), r.clone(), self.read_by(l), self.read_by(r)))
                .collect(),
            filters: (self.filters.iter())
                .map(|filter| (filter.clone(), self.read_by(filter)))
                .collect(),
        };
        pending.join(self, order).map(|(plan, _)| plan)
    }
}

/// Conditions that no join has yet, with the leaves they read.
struct Pending {
    equal: Vec<(Expr, Expr, Set, Set)>,
    filters: Vec<(Expr, Set)>,
}

impl Pending {
    fn join(&mut self, graph: &Graph, order: &Order) -> Result<(LogicalPlan, Set)> {
        let (left, right) = match order {
            Order::Leaf(i) => return Ok((graph.leaves[*i].plan.clone(), 1 << i)),
            Order::Join(left, right) => (self.join(graph, left)?, self.join(graph, right)?),
        };
        let (ours, theirs) = (left.1, right.1);
        let both = ours | theirs;
        let within = |set: Set, of: Set| set & !of == 0;
        let (mut on, mut filters) = (Vec::new(), Vec::new());
        self.equal.retain(|(l, r, reads_l, reads_r)| {
            if !within(reads_l | reads_r, both) {
                return true;
            }
            if within(*reads_l, ours) && within(*reads_r, theirs) && *reads_l != 0 && *reads_r != 0
            {
                on.push((l.clone(), r.clone()));
            } else if within(*reads_r, ours)
                && within(*reads_l, theirs)
                && *reads_l != 0
                && *reads_r != 0
            {
                on.push((r.clone(), l.clone()));
            } else {
                filters.push(l.clone().eq(r.clone()));
            }
            false
        });
        self.filters.retain(|(filter, reads)| {
            let waits = !within(*reads, both);
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

/// Some leaves, joined in an order.
#[derive(Clone)]
struct Part {
    set: Set,
    order: Order,
    rows: f64,
    cost: f64,
    place: Place,
}

impl Part {
    fn leaf(graph: &Graph, i: usize) -> Self {
        let leaf = &graph.leaves[i];
        let rows = leaf.estimate.rows;
        let each = if leaf.place == Place::Here {
            READ
        } else {
            SENT
        };
        Self {
            set: 1 << i,
            order: Order::Leaf(i),
            rows,
            cost: rows * each,
            place: leaf.place.clone(),
        }
    }

    /// Whether its rows come from a source, which can be told what keys they are to have.
    fn is_at_source(&self) -> bool {
        self.place != Place::Here
    }
}

/// What joins leave of all pairs of rows.
struct Edges {
    rows: Vec<f64>,
    /// Of a pair of leaves, by their equal keys.
    pairs: HashMap<(usize, usize), f64>,
    /// Of further conditions, with the leaves they read.
    filters: Vec<(Set, f64)>,
}

impl Edges {
    fn of(graph: &Graph) -> Self {
        let mut keys: HashMap<(usize, usize), Vec<(Expr, Expr)>> = HashMap::new();
        let mut filters = Vec::new();
        for (l, r) in &graph.equal {
            let (reads_l, reads_r) = (graph.read_by(l), graph.read_by(r));
            match (only(reads_l), only(reads_r)) {
                (Some(a), Some(b)) if a < b => {
                    keys.entry((a, b)).or_default().push((l.clone(), r.clone()));
                }
                (Some(a), Some(b)) if b < a => {
                    keys.entry((b, a)).or_default().push((r.clone(), l.clone()));
                }
                _ => filters.push((reads_l | reads_r, 0.1)),
            }
        }
        filters.extend(graph.filters.iter().map(|f| (graph.read_by(f), 1.0 / 3.0)));
        let estimate = |i: usize| &graph.leaves[i].estimate;
        let part = |((a, b), on): ((usize, usize), Vec<_>)| {
            ((a, b), matched(estimate(a), estimate(b), &on))
        };
        Self {
            rows: graph.leaves.iter().map(|leaf| leaf.estimate.rows).collect(),
            pairs: keys.into_iter().map(part).collect(),
            filters,
        }
    }

    /// Rows of these leaves, joined.
    fn rows(&self, set: Set) -> f64 {
        let has = |i: usize| set & (1 << i) != 0;
        let all = (0..self.rows.len())
            .filter(|i| has(*i))
            .map(|i| self.rows[i]);
        let pairs = self.pairs.iter().filter(|((a, b), _)| has(*a) && has(*b));
        let filters = self.filters.iter().filter(|(reads, _)| reads & !set == 0);
        let parts = pairs
            .map(|(_, part)| *part)
            .chain(filters.map(|(_, part)| *part));
        (all.product::<f64>() * parts.product::<f64>()).max(1.0)
    }

    fn connects(&self, a: Set, b: Set) -> bool {
        let has = |set: Set, i: usize| set & (1 << i) != 0;
        (self.pairs.keys()).any(|(l, r)| has(a, *l) && has(b, *r) || has(a, *r) && has(b, *l))
    }

    /// Join what one source has, where that makes no more rows than the larger of the two.
    fn join_at_sources(&self, parts: &mut Vec<Part>) {
        loop {
            let mut best: Option<(usize, usize, f64)> = None;
            for (a, left) in parts.iter().enumerate() {
                for (b, right) in parts.iter().enumerate().skip(a + 1) {
                    if !left.is_at_source()
                        || left.place != right.place
                        || !self.connects(left.set, right.set)
                    {
                        continue;
                    }
                    let rows = self.rows(left.set | right.set);
                    if rows <= left.rows.max(right.rows)
                        && best.is_none_or(|(.., least)| rows < least)
                    {
                        best = Some((a, b, rows));
                    }
                }
            }
            let Some((a, b, rows)) = best else { return };
            let right = parts.remove(b);
            let left = &parts[a];
            parts[a] = Part {
                set: left.set | right.set,
                order: pair(left, &right),
                rows,
                cost: rows * SENT,
                place: right.place,
            };
        }
    }

    /// The right is read when the left has been: what it costs, and gives.
    fn join(&self, left: &Part, right: &Part) -> Part {
        let set = left.set | right.set;
        let rows = self.rows(set);
        let narrowed =
            right.is_at_source() && left.rows <= KEYS && self.connects(left.set, right.set);
        let read = match narrowed {
            true => (rows.min(right.rows) * SENT + right.rows * SEARCHED).min(right.cost),
            false => right.cost,
        };
        Part {
            set,
            order: pair(left, right),
            rows,
            cost: left.cost + read + left.rows * BUILT + rows,
            place: Place::Here,
        }
    }

    /// By dynamic programming over all sets of parts that hang together.
    fn cheapest(&self, parts: &[Part]) -> Option<Order> {
        let all = (1usize << parts.len()) - 1;
        let mut best: Vec<Option<Part>> = vec![None; all + 1];
        for (i, part) in parts.iter().enumerate() {
            best[1 << i] = Some(part.clone());
        }
        for set in 1..=all {
            let mut found: Option<Part> = best[set].take();
            // Pairs that nothing connects only where nothing else is.
            for connected in [true, false] {
                let mut left = (set - 1) & set;
                while left != 0 {
                    if let (Some(l), Some(r)) = (&best[left], &best[set ^ left])
                        && self.connects(l.set, r.set) == connected
                    {
                        let joined = self.join(l, r);
                        if found.as_ref().is_none_or(|found| joined.cost < found.cost) {
                            found = Some(joined);
                        }
                    }
                    left = (left - 1) & set;
                }
                if found.is_some() {
                    break;
                }
            }
            best[set] = found;
        }
        best.swap_remove(all).map(|part| part.order)
    }

    /// Always the pair whose join costs least.
    fn greedy(&self, mut parts: Vec<Part>) -> Option<Order> {
        while parts.len() > 1 {
            let mut best: Option<(usize, usize, bool, Part)> = None;
            for a in 0..parts.len() {
                for b in (0..parts.len()).filter(|b| *b != a) {
                    let apart = !self.connects(parts[a].set, parts[b].set);
                    let joined = self.join(&parts[a], &parts[b]);
                    let better = best.as_ref().is_none_or(|(_, _, known_apart, known)| {
                        (apart, joined.cost) < (*known_apart, known.cost)
                    });
                    if better {
                        best = Some((a, b, apart, joined));
                    }
                }
            }
            let (a, b, _, joined) = best?;
            parts.remove(a.max(b));
            parts[a.min(b)] = joined;
        }
        parts.pop().map(|part| part.order)
    }
}

fn pair(left: &Part, right: &Part) -> Order {
    Order::Join(Box::new(left.order.clone()), Box::new(right.order.clone()))
}

/// The one leaf of a set.
fn only(set: Set) -> Option<usize> {
    (set.count_ones() == 1).then(|| set.trailing_zeros() as usize)
}

/// Whether it only leaves out columns, or moves them.
fn only_narrows(projection: &Projection) -> bool {
    let columns = projection.schema.columns();
    (projection.expr.iter().zip(columns)).all(|(expr, column)| *expr == Expr::Column(column))
}

fn place(plan: &LogicalPlan) -> Place {
    let mut names = Vec::new();
    let walked = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let any: &dyn std::any::Any = provider.as_ref();
            let table = any.downcast_ref::<SourceTable>();
            names.push(table.map(|table| table.handle.name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names.dedup();
    match (walked, &mut names[..]) {
        (Ok(_), [name]) => name.take().map_or(Place::Here, Place::Source),
        _ => Place::Here,
    }
}
