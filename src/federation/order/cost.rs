use datafusion::logical_expr::Expr;

use super::graph::{Class, Graph, Order, Place, Set};

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

/// The cheapest order of a graph's joins, as far as it is looked for.
pub fn cheapest(graph: &Graph) -> Option<Order> {
    let edges = Edges::of(graph);
    let leaves = 0..graph.leaves.len();
    let mut parts: Vec<Part> = leaves.map(|i| Part::leaf(graph, i)).collect();
    edges.join_at_sources(&mut parts);
    match parts.len() {
        0..=ALL_ORDERS => edges.cheapest(&parts),
        _ => edges.greedy(parts),
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
