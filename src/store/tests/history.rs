//! Random histories against a plain map: after each step, what was pinned has what it had.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, RecordBatch};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Content, Row, batch, found, rows_of, scanned, schema, zset};
use crate::store::{Error, Pinned, Shape, Table};

#[derive(Clone, Debug)]
enum Step {
    /// Rows with weights, as they are: mostly an error.
    Change(Vec<(Row, i64)>),
    /// For each row: it replaces the row of its key; or, if there is one, takes it away.
    Edit(Vec<(Row, bool)>),
    /// The same key over and over, an epoch each.
    Hammer(Row, usize),
    Pin,
    Unpin(usize),
    Compact(usize),
}

fn a_row() -> impl Strategy<Value = Row> {
    let floats = [0.0, -0.0, 1.5, f64::NAN, -f64::NAN].map(f64::to_bits);
    let a = prop::option::weighted(0.9, 0..12i64);
    let b = prop::option::weighted(0.8, prop::sample::select(&["", "x", "a longer text"][..]));
    let c = prop::option::weighted(0.9, prop::sample::select(floats.to_vec()));
    (a, b, c).prop_map(|(a, b, c)| (a, b.map(str::to_string), c))
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => vec((a_row(), prop::sample::select(&[1i64, 1, -1, 2, -2, 0][..])), 1..4)
            .prop_map(Step::Change),
        8 => vec((a_row(), any::<bool>()), 0..20).prop_map(Step::Edit),
        1 => (a_row(), 1..60usize).prop_map(|(row, times)| Step::Hammer(row, times)),
        2 => Just(Step::Pin),
        2 => any::<usize>().prop_map(Step::Unpin),
        3 => (1..12usize).prop_map(Step::Compact),
    ]
}

/// Columns, as they tell keys apart.
type Key = Vec<(Option<i64>, Option<String>, Option<u64>)>;

fn key_of(row: &Row, columns: &[usize]) -> Key {
    let float = |bits: u64| match f64::from_bits(bits) {
        x if x.is_nan() => f64::NAN.to_bits(),
        x => (x + 0.0).to_bits(),
    };
    let value = |column: &usize| match column {
        0 => (row.0, None, None),
        1 => (None, row.1.clone(), None),
        _ => (None, None, row.2.map(float)),
    };
    columns.iter().map(value).collect()
}

struct Run {
    table: Table,
    content: Content,
    key: Option<Vec<usize>>,
    pins: Vec<(Pinned, Content)>,
    epoch: u64,
}

impl Run {
    fn new(key: Option<Vec<usize>>, chunk_bits: u32) -> Self {
        let mut shape = Shape::new("t", schema()).with_chunk_bits(chunk_bits);
        if let Some(key) = &key {
            shape = shape.with_key(key);
        }
        let table = Table::new(shape.with_index(&[1]).with_index(&[2, 0]));
        Self {
            table,
            content: Content::new(),
            key,
            pins: Vec::new(),
            epoch: 0,
        }
    }

    /// The content after a change, or which error it is.
    fn expected(&self, change: &[(Row, i64)]) -> Result<Content, &'static str> {
        let mut content = self.content.clone();
        for (row, weight) in change {
            *content.entry(row.clone()).or_default() += weight;
        }
        content.retain(|_, count| *count != 0);
        if content.values().any(|count| *count < 0) {
            return Err("missing");
        }
        if let Some(key) = &self.key {
            let keys: BTreeSet<Key> = content.keys().map(|row| key_of(row, key)).collect();
            if keys.len() < content.len() || content.values().any(|count| *count > 1) {
                return Err("duplicate");
            }
        }
        Ok(content)
    }

    fn change(&mut self, change: &[(Row, i64)]) {
        self.epoch += 1;
        let answer = self.table.apply(self.epoch, &zset(change));
        match (self.expected(change), answer) {
            (Ok(content), Ok(())) => self.content = content,
            // A change may be wrong in both ways.
            (Err(_), Err(Error::Missing { .. } | Error::Duplicate { .. })) => self.epoch -= 1,
            (expected, answer) => panic!("{answer:?} for {change:?}, expected {expected:?}"),
        }
    }

    fn edit(&mut self, edits: &[(Row, bool)]) {
        let mut change = Vec::new();
        let mut content = self.content.clone();
        for (row, replaces) in edits {
            let same = match &self.key {
                None => content
                    .get_key_value(row)
                    .map(|(row, count)| (row.clone(), *count)),
                Some(columns) => {
                    let key = key_of(row, columns);
                    let same = content.iter().find(|(row, _)| key_of(row, columns) == key);
                    same.map(|(row, count)| (row.clone(), *count))
                }
            };
            if let Some((row, _)) = same.clone() {
                change.push((row.clone(), -1));
                let count = content.get_mut(&row).unwrap();
                *count -= 1;
                if *count == 0 {
                    content.remove(&row);
                }
            }
            if *replaces || same.is_none() {
                change.push((row.clone(), 1));
                *content.entry(row.clone()).or_default() += 1;
            }
        }
        self.change(&change);
        assert_eq!(self.content, content);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(change) => self.change(change),
            Step::Edit(edits) => self.edit(edits),
            Step::Hammer(row, times) => {
                for i in 0..*times {
                    let mut row = row.clone();
                    row.2 = Some((i as f64).to_bits());
                    self.edit(&[(row, true)]);
                }
            }
            Step::Pin => self
                .pins
                .push((self.table.snapshot(), self.content.clone())),
            Step::Unpin(which) if !self.pins.is_empty() => {
                self.pins.swap_remove(which % self.pins.len());
            }
            Step::Unpin(_) => {}
            Step::Compact(budget) => {
                self.table.compact(*budget).unwrap();
            }
        }
        check(&self.table.snapshot(), &self.content);
        assert_eq!(self.table.snapshot().bytes(), self.table.recounted());
        for (pinned, content) in &self.pins {
            check(pinned, content);
            self.check_since(pinned, content);
        }
    }

    /// What has changed since then, added to what there was, is what there is.
    fn check_since(&self, pinned: &Pinned, content: &Content) {
        let since = self.table.snapshot().since(pinned).unwrap();
        let mut then = content.clone();
        for (row, weight) in rows_of(since.rows()).into_iter().zip(since.weights()) {
            assert_ne!(*weight, 0);
            *then.entry(row).or_default() += weight;
        }
        then.retain(|_, count| *count != 0);
        assert_eq!(then, self.content);
    }
}

fn check(pinned: &Pinned, content: &Content) {
    assert_eq!(scanned(pinned), *content);
    assert_eq!(pinned.row_count() as i64, content.values().sum::<i64>());
    let mut probes: Vec<Row> = content.keys().cloned().collect();
    probes.extend([
        (None, None, None),
        super::row(3, "x", 0.0),
        super::row(-1, "", 1.5),
    ]);
    let columns = batch(&probes).columns().to_vec();
    for index in 0..3 {
        let of = pinned.shape().index_columns(index).to_vec();
        let mut by_key: BTreeMap<Key, Vec<(Row, i64)>> = BTreeMap::new();
        for (row, count) in content {
            let rows = by_key.entry(key_of(row, &of)).or_default();
            rows.push((row.clone(), *count));
        }
        let keys: Vec<ArrayRef> = of.iter().map(|&column| columns[column].clone()).collect();
        let expected = probes.iter().enumerate().flat_map(|(i, probe)| {
            let rows = by_key.get(&key_of(probe, &of)).into_iter().flatten();
            rows.map(move |(row, count)| (i as u32, row.clone(), *count))
        });
        let mut expected: Vec<_> = expected.collect();
        expected.sort();
        assert_eq!(found(pinned, index, &keys), expected, "index {index}");
        let alone: Vec<ArrayRef> = keys.iter().map(|key| key.slice(0, 1)).collect();
        if index == 0 {
            let rows: RecordBatch = pinned.get(&alone).unwrap();
            let one = expected.iter().filter(|(key, _, _)| *key == 0);
            assert_eq!(rows.num_rows(), one.count());
        }
    }
}

fn run(key: Option<Vec<usize>>, chunk_bits: u32, steps: &[Step]) {
    let mut run = Run::new(key, chunk_bits);
    steps.iter().for_each(|step| run.step(step));
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(32)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_table_by_one_column(steps in vec(a_step(), 1..40)) {
        run(Some(vec![0]), 3, &steps);
    }

    #[test]
    fn a_table_by_two_columns(steps in vec(a_step(), 1..40)) {
        run(Some(vec![1, 0]), 2, &steps);
    }

    #[test]
    fn a_table_by_a_float(steps in vec(a_step(), 1..40)) {
        run(Some(vec![2]), 4, &steps);
    }

    #[test]
    fn a_table_without_a_key(steps in vec(a_step(), 1..40)) {
        run(None, 3, &steps);
    }
}

#[test]
fn slots_are_used_again() {
    let mut run = Run::new(Some(vec![0]), 2);
    let keep = (0..2).map(|i| (super::row(100 + i, "kept", 0.0), true));
    run.edit(&keep.collect::<Vec<_>>());
    run.step(&Step::Pin);
    for i in 0..20_000u32 {
        let row = super::row(i64::from(i % 5), "x", f64::from(i));
        run.edit(&[(row, true)]);
        run.table.compact(2).unwrap();
    }
    check(&run.table.snapshot(), &run.content);
    let (pinned, content) = &run.pins[0];
    run.check_since(pinned, content);
    // 5,000 chunks were filled.
    assert!(run.table.slots() < 1_000, "{} slots", run.table.slots());
}

#[test]
fn a_row_that_changes_while_an_epoch_is_pinned() {
    let mut run = Run::new(Some(vec![0]), 6);
    run.edit(&[
        (super::row(1, "x", -1.0), true),
        (super::row(2, "y", 0.0), true),
    ]);
    run.step(&Step::Pin);
    for i in 0..5_000u32 {
        run.edit(&[(super::row(1, "x", f64::from(i)), true)]);
        run.table.compact(2).unwrap();
        if i % 1_000 == 0 {
            run.step(&Step::Pin);
        }
    }
    for (pinned, content) in &run.pins {
        check(pinned, content);
    }
    assert!(run.table.entries() < 64, "{} entries", run.table.entries());
}
