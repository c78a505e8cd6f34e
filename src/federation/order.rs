use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::estimate::Estimate;
use super::provider::SourceTable;

/// More relations are no set: the joins of the first of them are ordered, those on top stay as they are written.
const MOST: usize = Set::BITS as usize;
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
/// What a condition over several relations leaves of their pairs of rows.
const FILTERED: f64 = 1.0 / 3.0;

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
        if let LogicalPlan::Join(join) = &node
            && let Some(filtered) = semi_joined_below(join)?
        {
            return ordered(filtered)
                .map(|plan| Transformed::new(plan.data, true, TreeNodeRecursion::Jump));
        }
        if !is_inner(&node) || leaves(&node) > MOST {
            return Ok(Transformed::no(node));
        }
        let mut graph = Graph::default();
        let written = graph.add(&node);
        graph.find_classes();
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

/// `(a JOIN b …) SEMI JOIN s` by columns of a alone is `(a SEMI JOIN s) JOIN b …`: a filter of a, where s has fewer rows,
/// whose keys are then known before a is read.
fn semi_joined_below(join: &Join) -> Result<Option<LogicalPlan>> {
    let plain = join.join_type == JoinType::LeftSemi
        && join.null_equality == NullEquality::NullEqualsNothing
        && !join.null_aware;
    if !plain || !is_inner(narrowed(&join.left)) {
        return Ok(None);
    }
    let keys = join.on.iter().flat_map(|(left, _)| left.column_refs());
    let filter = join.filter.iter().flat_map(|filter| filter.column_refs());
    let ours = keys.chain(filter.filter(|c| join.left.schema().has_column(c)));
    let ours: Vec<Column> = ours.cloned().collect();
    let fewer = Estimate::of(&join.right).rows;
    below(&join.left, &ours, &|leaf| {
        if Estimate::of(leaf).rows <= fewer {
            return Ok(None);
        }
        let on = join.on.iter().map(|(l, r)| (r.clone(), l.clone()));
        let semi = Join::try_new(
            join.right.clone(),
            Arc::new(leaf.clone()),
            on.collect(),
            join.filter.clone(),
            JoinType::RightSemi,
            JoinConstraint::On,
            join.null_equality,
            false,
        )?;
        Ok(Some(LogicalPlan::Join(semi)))
    })
}

/// The tree of inner joins with the leaf that has all these columns replaced.
fn below(
    plan: &LogicalPlan,
    columns: &[Column],
    replace: &dyn Fn(&LogicalPlan) -> Result<Option<LogicalPlan>>,
) -> Result<Option<LogicalPlan>> {
    let is_tree = is_inner(narrowed(plan));
    if !is_tree {
        return replace(plan);
    }
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let has_all = |input: &LogicalPlan| columns.iter().all(|c| input.schema().has_column(c));
    let Some(at) = inputs.iter().position(has_all) else {
        return Ok(None);
    };
    let Some(replaced) = below(&inputs[at], columns, replace)? else {
        return Ok(None);
    };
    inputs[at] = replaced;
    let whole = plan.with_new_exprs(plan.expressions(), inputs)?;
    Ok(Some(whole))
}

/// What is below a projection that only leaves out columns.
fn narrowed(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) if only_narrows(projection) => &projection.input,
        other => other,
    }
}

fn is_inner(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.join_type == JoinType::Inner
        && join.null_equality == NullEquality::NullEqualsNothing)
}

/// How many relations a tree of inner joins has.
fn leaves(plan: &LogicalPlan) -> usize {
    match narrowed(plan) {
        LogicalPlan::Join(join) if is_inner(narrowed(plan)) => {
            leaves(&join.left) + leaves(&join.right)
        }
        _ => 1,
    }
}

/// Relations that are joined, and what by.
#[derive(Default)]
struct Graph {
    leaves: Vec<Leaf>,
    equal: Vec<(Expr, Expr)>,
    filters: Vec<Expr>,
    classes: Vec<Class>,
}

/// Expressions that are all equal, each of one leaf: of `a = b` and `b = c`, also a and c.
type Class = Vec<(usize, Expr)>;

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
    fn read_by(&self, expr: &Expr) -> Set {
        let columns = expr.column_refs();
        let reads = |leaf: &Leaf| columns.iter().any(|c| leaf.plan.schema().has_column(c));
        let leaves = self.leaves.iter().enumerate();
        leaves
            .filter(|(_, leaf)| reads(leaf))
            .fold(0, |set, (i, _)| set | 1 << i)
    }

    /// Sort equalities into classes; those of several leaves on a side are filters like others.
    fn find_classes(&mut self) {
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
    /// Of each class, its leaves with the domains of their members.
    classes: Vec<Vec<(usize, f64)>>,
    /// Of pairs of leaves with several keys: how many more combinations of keys were thought of than there are rows.
    corrections: Vec<(Set, f64)>,
    /// Of further conditions, with the leaves they read.
    filters: Vec<(Set, f64)>,
}

impl Edges {
    fn of(graph: &Graph) -> Self {
        let rows: Vec<f64> = graph.leaves.iter().map(|leaf| leaf.estimate.rows).collect();
        let classes: Vec<_> = graph
            .classes
            .iter()
            .map(|class| domains(graph, class))
            .collect();
        let mut corrections = Vec::new();
        for (a, b) in (0..rows.len()).flat_map(|b| (0..b).map(move |a| (a, b))) {
            let of = |leaf: usize, class: &Vec<(usize, f64)>| {
                class
                    .iter()
                    .find(|(i, _)| *i == leaf)
                    .map(|(_, domain)| *domain)
            };
            let shared = classes
                .iter()
                .filter_map(|class| of(a, class).zip(of(b, class)));
            let shared: Vec<f64> = shared.map(|(a, b)| a.max(b)).collect();
            let (combinations, most) = (shared.iter().product::<f64>(), rows[a].max(rows[b]));
            if shared.len() > 1 && combinations > most {
                corrections.push((1 << a | 1 << b, combinations / most));
            }
        }
        Self {
            rows,
            classes,
            corrections,
            filters: graph
                .filters
                .iter()
                .map(|f| (graph.read_by(f), FILTERED))
                .collect(),
        }
    }

    /// Rows of these leaves, joined.
    fn rows(&self, set: Set) -> f64 {
        let has = |i: usize| set & (1 << i) != 0;
        let mut rows: f64 = (0..self.rows.len())
            .filter(|i| has(*i))
            .map(|i| self.rows[i])
            .product();
        for class in &self.classes {
            // A value of the smallest domain is in all others.
            let of = class
                .iter()
                .filter(|(i, _)| has(*i))
                .map(|(_, domain)| *domain);
            let (all, least) = of.fold((1.0, f64::INFINITY), |(all, least), d| {
                (all * d, d.min(least))
            });
            if least.is_finite() {
                rows *= least / all;
            }
        }
        let whole = self
            .filters
            .iter()
            .chain(&self.corrections)
            .filter(|(reads, _)| reads & !set == 0);
        whole.fold(rows, |rows, (_, factor)| rows * factor).max(1.0)
    }

    fn connects(&self, a: Set, b: Set) -> bool {
        let in_one =
            |class: &Vec<(usize, f64)>, set: Set| class.iter().any(|(i, _)| set & (1 << i) != 0);
        self.classes
            .iter()
            .any(|class| in_one(class, a) && in_one(class, b))
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

/// Each leaf once, with how many different values its member may have: where that is not known, as many as the others.
fn domains(graph: &Graph, class: &Class) -> Vec<(usize, f64)> {
    let known = |(leaf, expr): &(usize, Expr)| graph.leaves[*leaf].estimate.domain(expr);
    let largest = class.iter().filter_map(known).reduce(f64::max);
    let rows = class
        .iter()
        .map(|(leaf, _)| graph.leaves[*leaf].estimate.rows);
    let unknown = largest.unwrap_or_else(|| rows.fold(f64::INFINITY, f64::min));
    let mut found: Vec<(usize, f64)> = Vec::new();
    for member in class {
        if found.iter().all(|(leaf, _)| *leaf != member.0) {
            found.push((member.0, known(member).unwrap_or(unknown).max(1.0)));
        }
    }
    found
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
