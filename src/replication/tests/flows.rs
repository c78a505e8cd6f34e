//! Dataflows over replicas, compiled once, and what they should give.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{binary, col, lit};

use super::world::{Bag, SPECS, bag};
use crate::incremental::{Aggregate, GroupBy, Join, Map};
use crate::replication::{Changed, Epoch, State};
use crate::store::{Pinned, Shape, Table, ZSet};

/// ```sql
/// SELECT t2.c1, count(*), count(t0.c2), sum(t0.c2) FROM a.t0 JOIN b.t2 ON t0.c1 = t2.c0 GROUP BY t2.c1
/// SELECT c1 FROM a.t1 WHERE c0 > 1
/// ```
pub struct Compiled {
    join: Join,
    map: Map,
}

const INPUTS: [&[&str]; 2] = [&["t0", "t2"], &["t1"]];

impl Compiled {
    pub fn new() -> Self {
        let [t0, t1, t2] = [0, 1, 2].map(|i| Arc::new(SPECS[i].wanted(0).shape(SPECS[i].name)));
        let join = Join::new(&[t0, t2], &[((0, 1), (1, 0))], &[(1, 1), (0, 2)]).unwrap();
        let column = |name| col(name, t1.schema()).unwrap();
        let is_kept = binary(column("c0"), Operator::Gt, lit(1i64), t1.schema());
        let map = Map::new(
            t1.schema(),
            Some(is_kept.unwrap()),
            vec![(column("c1"), "c1".into())],
        );
        let map = map.unwrap();
        Self { join, map }
    }
}

/// A view as it is kept.
pub struct View {
    inputs: &'static [&'static str],
    group: Option<GroupBy>,
    table: Table,
    is_begun: bool,
    /// What it is to give. It stays once an input is blocked.
    expected: Bag,
}

impl View {
    /// Both, with nothing in them.
    pub fn all(compiled: &Compiled) -> Vec<Self> {
        let input = compiled.join.schema();
        let column = |i: usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(datafusion::physical_expr::expressions::Column::new(
                input.field(i).name(),
                i,
            ))
        };
        let aggregates = vec![
            (Aggregate::rows(), "rows".into()),
            (Aggregate::count(column(1)), "values".into()),
            (Aggregate::sum(column(1)), "sum".into()),
        ];
        let group = GroupBy::new(input, vec![(column(0), "c1".into())], aggregates).unwrap();
        let by_group = Shape::new("view0", group.schema().clone()).with_key(&[0]);
        let view = |inputs, group, shape| Self {
            inputs,
            group,
            table: Table::new(shape),
            is_begun: false,
            expected: Bag::new(),
        };
        vec![
            view(INPUTS[0], Some(group), by_group),
            view(
                INPUTS[1],
                None,
                Shape::new("view1", compiled.map.schema().clone()),
            ),
        ]
    }

    pub fn is_on(&self, input: &str) -> bool {
        self.inputs.contains(&input)
    }

    /// Take an epoch, if all inputs are there. `content`: what they have, as plain maps.
    pub fn step(&mut self, compiled: &Compiled, epoch: &Epoch, content: &BTreeMap<String, Bag>) {
        let is_there = |changed: &&Changed| matches!(changed.state, State::Live | State::Lost);
        let inputs = self.inputs.iter();
        let inputs = inputs.map(|name| epoch.replicas.get(*name).filter(is_there));
        let Some(inputs) = inputs.collect::<Option<Vec<_>>>() else {
            return;
        };
        let (mut before, mut changes) = (Vec::new(), Vec::new());
        for input in &inputs {
            match self.is_begun {
                true => {
                    before.push(input.before.clone());
                    changes.push(input.change.clone());
                }
                false => {
                    // All of it has come.
                    let shape = (**input.after.shape()).clone();
                    before.push(Table::new(shape).snapshot());
                    changes.push(Some(whole(&input.after)));
                }
            }
        }
        let after: Vec<Pinned> = inputs.iter().map(|input| input.after.clone()).collect();
        self.is_begun = true;
        let change = match &mut self.group {
            Some(group) => {
                let changes: Vec<_> = changes.iter().map(Option::as_ref).collect();
                let mut sink = |piece: ZSet| group.push(&piece);
                let join = compiled.join.changes(&changes, &before, &after, &mut sink);
                join.unwrap();
                group.finish().unwrap()
            }
            None => match &changes[0] {
                Some(change) => compiled.map.apply(change).unwrap(),
                None => return,
            },
        };
        self.table.apply(epoch.boundary.epoch, &change).unwrap();
        let content: Vec<&Bag> = self.inputs.iter().map(|name| &content[*name]).collect();
        self.expected = match content[..] {
            [t0, t2] => joined(t0, t2),
            _ => filtered(content[0]),
        };
    }

    pub fn check(&self) {
        assert_eq!(
            bag(&self.table.snapshot()),
            self.expected,
            "{:?}",
            self.inputs
        );
    }
}

fn whole(content: &Pinned) -> ZSet {
    let columns: Vec<usize> = (0..content.shape().schema().fields().len()).collect();
    let rows: Vec<_> = content.scan(&columns).map(Result::unwrap).collect();
    let rows = arrow::compute::concat_batches(content.shape().schema(), &rows);
    ZSet::inserts(rows.unwrap())
}

fn joined(t0: &Bag, t2: &Bag) -> Bag {
    let mut groups = BTreeMap::<Option<i64>, (i64, i64, i64)>::new();
    for row in t0.keys() {
        for other in t2
            .keys()
            .filter(|other| row[1].is_some() && other[0] == row[1])
        {
            let group = groups.entry(other[1]).or_default();
            group.0 += 1;
            group.1 += i64::from(row[2].is_some());
            group.2 += row[2].unwrap_or(0);
        }
    }
    let row = |(text, (rows, values, sum)): (Option<i64>, (i64, i64, i64))| {
        let sum = (values > 0).then_some(sum);
        (vec![text, Some(rows), Some(values), sum], 1)
    };
    groups.into_iter().map(row).collect()
}

fn filtered(t1: &Bag) -> Bag {
    let mut bag = Bag::new();
    for (row, count) in t1.iter().filter(|(row, _)| row[0] > Some(1)) {
        *bag.entry(vec![row[1]]).or_default() += count;
    }
    bag
}
