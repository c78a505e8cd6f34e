//! Changes at once are changes one after the other: rows by keys that several have, as of a file that is removed.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use belvedere_connector::{Change, Unchanged};
use fastrand::Rng;

use crate::replication::pending::Pending;
use crate::store::{Shape, Table, ZSet};

/// A key, by number among [`KEYS`], and a value.
type Row = (usize, i64);

/// Two that are one as keys, though not as rows.
const KEYS: [Option<f64>; 4] = [Some(0.0), Some(-0.0), Some(1.5), None];

fn schema() -> SchemaRef {
    let key = Field::new("file", DataType::Float64, true);
    let value = Field::new("value", DataType::Int64, true);
    Arc::new(Schema::new(vec![key, value]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys = Float64Array::from_iter(rows.iter().map(|row| KEYS[row.0]));
    let values = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]).unwrap()
}

fn row(rng: &mut Rng) -> Row {
    (rng.usize(0..KEYS.len()), rng.i64(0..3))
}

/// A change, which is done to plain rows, too.
///
/// `is_keyed`: all rows under a key go at once, so that of one alone it can be told what was there before.
fn change(rng: &mut Rng, rows: &mut Vec<Row>, is_keyed: bool) -> Change {
    match rng.usize(0..8) {
        0 => {
            rows.clear();
            Change::Truncate
        }
        1..=3 if !is_keyed => {
            let (mut changed, mut weights) = (Vec::new(), Vec::new());
            for _ in 0..rng.usize(0..4) {
                if rng.bool() && !rows.is_empty() {
                    changed.push(rows.swap_remove(rng.usize(0..rows.len())));
                    weights.push(-1);
                } else {
                    rows.push(row(rng));
                    changed.extend(rows.last());
                    weights.push(1);
                }
            }
            let rows = batch(&changed);
            Change::Rows { rows, weights }
        }
        _ => {
            let (mut keys, mut came, mut is_there) = (Vec::new(), Vec::new(), Vec::new());
            let mut unchanged: Vec<bool> = Vec::new();
            for _ in 0..rng.usize(0..4) {
                let key = rng.usize(0..KEYS.len());
                keys.push((key, 0));
                let went: Vec<Row> = rows
                    .extract_if(.., |row| KEYS[row.0] == KEYS[key])
                    .collect();
                is_there.push(rng.bool());
                if is_there.last() == Some(&true) {
                    // It need not come under the key that went.
                    let mut new = row(rng);
                    let is_as_it_was = is_keyed && went.len() == 1 && rng.bool();
                    if is_as_it_was {
                        new.1 = went[0].1;
                    }
                    rows.push(new);
                    came.push((new.0, if is_as_it_was { -1 } else { new.1 }));
                    unchanged.push(is_as_it_was);
                }
            }
            let unchanged = Unchanged {
                column: 1,
                rows: unchanged.into(),
            };
            let keys = batch(&keys).project(&[0]).unwrap();
            let rows = batch(&came);
            Change::ByKey {
                keys,
                rows,
                is_there,
                unchanged: vec![unchanged],
            }
        }
    }
}

#[test]
fn at_once_is_one_after_the_other() {
    let mut rng = Rng::with_seed(7);
    for _ in 0..300 {
        let mut table = Table::new(Shape::new("t", schema()).with_index(&[0]));
        let is_keyed = rng.bool();
        let mut rows = Vec::new();
        for epoch in 1..6 {
            let mut pending = Pending::new(schema());
            for _ in 0..rng.usize(0..5) {
                pending.push(change(&mut rng, &mut rows, is_keyed)).unwrap();
            }
            let change = pending.change(&table.snapshot()).unwrap();
            table.apply(epoch, &change).unwrap();
            // What is there, less what should be, is nothing.
            let found = table.snapshot();
            let found: Vec<_> = found.scan(&[0, 1]).map(Result::unwrap).collect();
            let found = concat_batches(&schema(), &found).unwrap();
            let mut weights = vec![1; found.num_rows()];
            weights.resize(found.num_rows() + rows.len(), -1);
            let both = concat_batches(&schema(), [&found, &batch(&rows)]).unwrap();
            let rest = ZSet::new(both, weights).unwrap().consolidated().unwrap();
            assert!(rest.is_empty(), "{rest:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |change: Change| {
        let shape = match matches!(&change, Change::ByKey { unchanged, .. } if !unchanged.is_empty())
        {
            true => Shape::new("t", schema()).with_index(&[0]),
            false => Shape::new("t", schema()),
        };
        let table = Table::new(shape);
        let mut pending = Pending::new(schema());
        let done = pending
            .push(change)
            .and_then(|()| pending.change(&table.snapshot()));
        done.unwrap_err().to_string()
    };
    let rows = |rows, weights| Change::Rows { rows, weights };
    refused(rows(batch(&[(0, 0)]), vec![]));
    refused(rows(batch(&[(0, 0)]).project(&[1]).unwrap(), vec![1]));
    let by_key = |keys, is_there| Change::ByKey {
        keys,
        rows: batch(&[(0, 0)]),
        is_there,
        unchanged: Vec::new(),
    };
    let keys = batch(&[(0, 0)]).project(&[0]).unwrap();
    refused(by_key(keys.clone(), vec![]));
    refused(by_key(keys.clone(), vec![false]));
    refused(by_key(batch(&[]).project(&[]).unwrap(), vec![]));
    let without_index = refused(by_key(keys.clone(), vec![true]));
    assert!(without_index.contains("no index"), "{without_index}");
    let as_it_was = |column, rows: Vec<bool>| Change::ByKey {
        keys: keys.clone(),
        rows: batch(&[(0, 0)]),
        is_there: vec![true],
        unchanged: vec![Unchanged {
            column,
            rows: rows.into(),
        }],
    };
    refused(as_it_was(1, vec![]));
    refused(as_it_was(2, vec![true]));
    let nowhere = refused(as_it_was(1, vec![true]));
    assert!(nowhere.contains("not there"), "{nowhere}");
}
