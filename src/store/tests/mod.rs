mod cases;
mod history;
mod threads;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};

use super::{Pinned, ZSet};

/// A row of the tables here: a whole number, a text, a float by its bits.
pub(super) type Row = (Option<i64>, Option<String>, Option<u64>);

/// What a table should have: how often each row is there.
pub(super) type Content = BTreeMap<Row, i64>;

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("c", DataType::Float64, true),
    ]))
}

pub(super) fn row(a: impl Into<Option<i64>>, b: &str, c: f64) -> Row {
    (a.into(), Some(b.to_string()), Some(c.to_bits()))
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let a: Int64Array = rows.iter().map(|row| row.0).collect();
    let b: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
    let c: Float64Array = rows.iter().map(|row| row.2.map(f64::from_bits)).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(a), Arc::new(b), Arc::new(c)]).unwrap()
}

pub(super) fn zset(rows: &[(Row, i64)]) -> ZSet {
    let (rows, weights): (Vec<Row>, Vec<i64>) = rows.iter().cloned().unzip();
    ZSet::new(batch(&rows), weights).unwrap()
}

pub(super) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let a = batch.column(0).as_primitive::<Int64Type>();
    let b = batch.column(1).as_string::<i32>();
    let c = batch.column(2).as_primitive::<Float64Type>();
    let row = |i: usize| {
        let a = a.is_valid(i).then(|| a.value(i));
        let b = b.is_valid(i).then(|| b.value(i).to_string());
        let c = c.is_valid(i).then(|| c.value(i).to_bits());
        (a, b, c)
    };
    (0..batch.num_rows()).map(row).collect()
}

pub(super) fn scanned(pinned: &Pinned) -> Content {
    let mut content = Content::new();
    for batch in pinned.scan(&[0, 1, 2]) {
        for row in rows_of(&batch.unwrap()) {
            *content.entry(row).or_default() += 1;
        }
    }
    content
}

/// The rows an index finds for keys, with the number of their key and their count.
pub(super) fn found(pinned: &Pinned, index: usize, keys: &[ArrayRef]) -> Vec<(u32, Row, i64)> {
    let matches = pinned.lookup(index, keys).unwrap();
    let columns = pinned.gather(&matches.positions, &[0, 1, 2]).unwrap();
    let rows = rows_of(&RecordBatch::try_new(schema(), columns).unwrap());
    let counts = pinned.counts(&matches.positions).unwrap();
    let count = |i: usize| counts.as_ref().map_or(1, |counts| counts.value(i));
    let found = matches.keys.into_iter().zip(rows).enumerate();
    let mut found: Vec<_> = found.map(|(i, (key, row))| (key, row, count(i))).collect();
    found.sort();
    found
}
