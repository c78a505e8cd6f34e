//! Readers beside the writer: each sees one epoch, whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::{row, schema, zset};
use crate::store::{Shape, Table};

/// Each epoch gives every row the epoch's number, so that what a reader sees of several is seen.
#[test]
fn a_reader_sees_one_epoch() {
    const ROWS: i64 = 300;
    let shape = Shape::new("t", schema()).with_key(&[0]).with_index(&[1]);
    let mut table = Table::new(shape.with_chunk_bits(6));
    let text = |i: i64| ["even", "odd"][i as usize % 2];
    let of = |epoch: i64| (0..ROWS).map(move |i| row(i, text(i), epoch as f64));
    table
        .apply(1, &zset(&of(1).map(|row| (row, 1)).collect::<Vec<_>>()))
        .unwrap();
    let (stop, reads) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, stop, reads) = (table.reader(), stop.clone(), reads.clone());
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let pinned = reader.snapshot();
                    assert!(super::scanned(&pinned).len() as i64 == ROWS);
                    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
                    let found = super::found(&pinned, 0, &[keys]);
                    assert_eq!(found.len() as i64, ROWS);
                    let odd: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["odd"]));
                    let of_odd = super::found(&pinned, 1, &[odd]);
                    assert_eq!(of_odd.len() as i64, ROWS / 2);
                    let epoch = found[0].1.2;
                    assert!(
                        found
                            .iter()
                            .chain(&of_odd)
                            .all(|(_, row, _)| row.2 == epoch)
                    );
                    kept.push(pinned);
                    if kept.len() > 8 {
                        let oldest = kept.remove(0);
                        let part = oldest.parts().next().unwrap();
                        assert!(part.column(0).as_primitive::<Int64Type>().len() <= 64);
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut epoch = 1;
    while reads.load(Ordering::Relaxed) < 60 || epoch < 60 {
        let change = of(epoch)
            .map(|row| (row, -1))
            .chain(of(epoch + 1).map(|row| (row, 1)));
        epoch += 1;
        table
            .apply(epoch as u64, &zset(&change.collect::<Vec<_>>()))
            .unwrap();
        table.compact(100).unwrap();
        if readers.iter().any(|reader| reader.is_finished()) {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
}
