//! What a change or a question gets that is wrong, and values that are told apart or are not.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StringViewArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema};

use super::{batch, row, rows_of, scanned, schema, zset};
use crate::store::key::{Same, equal, hashes};
use crate::store::{Error, Shape, Table, ZSet};

fn keyed() -> Table {
    let mut table = Table::new(Shape::new("orders", schema()).with_key(&[0]));
    table
        .apply(1, &zset(&[(row(7, "secret", 1.0), 1)]))
        .unwrap();
    table
}

#[test]
fn a_row_that_is_not_there() {
    let mut table = keyed();
    let change = zset(&[(row(8, "new", 1.0), 1), (row(7, "secret", 2.0), -1)]);
    let e = table.apply(2, &change).unwrap_err();
    assert_eq!(
        e.to_string(),
        "epoch 2 of table orders takes away a row that is not there: row 1 of the change, by key (a)"
    );
    let content = scanned(&table.snapshot());
    assert_eq!(
        content.into_keys().collect::<Vec<_>>(),
        [row(7, "secret", 1.0)]
    );
    assert_eq!(table.snapshot().epoch(), 1);
}

#[test]
fn a_second_row_for_a_key() {
    let mut table = keyed();
    for change in [
        zset(&[(row(7, "other", 1.0), 1)]),
        zset(&[(row(9, "x", 1.0), 1), (row(9, "y", 1.0), 1)]),
        zset(&[(row(9, "x", 1.0), 2)]),
    ] {
        let e = table.apply(2, &change).unwrap_err();
        assert!(matches!(e, Error::Duplicate { .. }), "{e}");
        assert!(!e.to_string().contains("other"));
    }
    assert_eq!(table.snapshot().row_count(), 1);
}

#[test]
fn what_comes_and_goes_within_a_change_was_never_there() {
    let mut table = keyed();
    let change = [
        (row(7, "secret", 1.0), -1),
        (row(7, "between", 1.0), 1),
        (row(7, "between", 1.0), -1),
        (row(7, "after", 1.0), 1),
    ];
    table.apply(2, &zset(&change)).unwrap();
    assert_eq!(
        scanned(&table.snapshot()).into_keys().next(),
        Some(row(7, "after", 1.0))
    );
}

#[test]
fn epochs_only_grow() {
    let mut table = keyed();
    assert!(matches!(
        table.apply(1, &ZSet::empty(schema())),
        Err(Error::Late {
            at: 1,
            epoch: 1,
            ..
        })
    ));
    table.apply(5, &ZSet::empty(schema())).unwrap();
    assert_eq!(table.snapshot().epoch(), 5);
}

#[test]
fn other_columns() {
    let mut table = keyed();
    let other =
        RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let e = table.apply(2, &ZSet::inserts(other.unwrap())).unwrap_err();
    assert!(matches!(e, Error::Shape(_)), "{e}");
    let key: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let e = table.snapshot().get(&[key]).unwrap_err();
    assert_eq!(
        e.to_string(),
        "a lookup in table orders: a key's type is Int32, its column's Int64"
    );
    assert!(table.snapshot().lookup(3, &[]).is_err());
}

#[test]
fn equal_floats_are_one_key_and_several_rows() {
    let shape = Shape::new("t", schema()).with_key(&[2]);
    let mut table = Table::new(shape);
    table
        .apply(
            1,
            &zset(&[(row(1, "zero", -0.0), 1), (row(2, "nan", -f64::NAN), 1)]),
        )
        .unwrap();
    let key: ArrayRef = Arc::new(Float64Array::from(vec![0.0]));
    assert_eq!(
        rows_of(&table.snapshot().get(&[key]).unwrap()),
        [row(1, "zero", -0.0)]
    );
    let key: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
    assert_eq!(table.snapshot().get(&[key]).unwrap().num_rows(), 1);
    let duplicate = table.apply(2, &zset(&[(row(3, "zero", 0.0), 1)]));
    assert!(matches!(duplicate, Err(Error::Duplicate { .. })));
    let missing = table.apply(2, &zset(&[(row(1, "zero", 0.0), -1)]));
    assert!(matches!(missing, Err(Error::Missing { .. })));

    let mut bag = Table::new(Shape::new("t", schema()));
    bag.apply(1, &zset(&[(row(1, "", -0.0), 2), (row(1, "", 0.0), 1)]))
        .unwrap();
    bag.apply(2, &zset(&[(row(1, "", 0.0), -1)])).unwrap();
    assert_eq!(scanned(&bag.snapshot()), [(row(1, "", -0.0), 2)].into());
}

#[test]
fn a_change_is_consolidated_by_whole_rows() {
    let change = zset(&[
        (row(1, "x", 1.0), 1),
        (row(None, "x", 1.0), 1),
        (row(1, "x", 1.0), 2),
        (row(2, "y", 1.0), 1),
        (row(2, "y", 1.0), -1),
    ]);
    let expected = zset(&[(row(1, "x", 1.0), 3), (row(None, "x", 1.0), 1)]);
    assert_eq!(change.consolidated().unwrap(), expected);
    let too_many = zset(&[(row(1, "x", 1.0), i64::MAX), (row(1, "x", 1.0), 1)]);
    assert!(too_many.consolidated().is_err());
}

/// Values of a type, pairwise different, as an array; equal ones of another array must hash and compare alike.
fn arrays() -> Vec<ArrayRef> {
    let list = |values: Vec<Option<Vec<Option<f64>>>>| {
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(values)) as ArrayRef
    };
    let dictionary: DictionaryArray<Int32Type> =
        vec![Some("x"), None, Some("y")].into_iter().collect();
    let fields = vec![
        Arc::new(Field::new("x", DataType::Float64, true)),
        Arc::new(Field::new("y", DataType::Utf8, true)),
    ];
    let members: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![Some(0.0), None, Some(f64::NAN)])),
        Arc::new(StringArray::from(vec!["x", "x", "x"])),
    ];
    let long = "more than twelve bytes of text";
    vec![
        Arc::new(StringViewArray::from(vec![Some("short"), Some(long), None])),
        Arc::new(dictionary),
        Arc::new(StructArray::new(fields.into(), members, None)),
        list(vec![Some(vec![Some(0.0), None]), Some(vec![]), None]),
        Arc::new(
            arrow::array::Decimal128Array::from(vec![Some(1), Some(-1), None])
                .with_precision_and_scale(20, 2)
                .unwrap(),
        ),
        Arc::new(arrow::array::BooleanArray::from(vec![
            Some(true),
            Some(false),
            None,
        ])),
        Arc::new(arrow::array::BinaryArray::from(vec![
            Some(&b"\0"[..]),
            Some(b""),
            None,
        ])),
    ]
}

#[test]
fn keys_of_any_type() {
    for array in arrays() {
        let field = Field::new("k", array.data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let rows = RecordBatch::try_new(schema.clone(), vec![array.clone()]).unwrap();
        let mut table = Table::new(Shape::new("t", schema).with_key(&[0]));
        table.apply(1, &ZSet::inserts(rows.clone())).unwrap();
        let pinned = table.snapshot();
        let found = pinned.lookup(0, std::slice::from_ref(&array)).unwrap();
        assert_eq!(found.keys, [0, 1, 2], "{}", array.data_type());
        let back = pinned.gather(&found.positions, &[0]).unwrap();
        assert_eq!(&back[0], &array);
        for i in 0..3 {
            let one = array.slice(i, 1);
            assert_eq!(
                hashes(std::slice::from_ref(&one)).unwrap()[0],
                hashes(std::slice::from_ref(&array)).unwrap()[i]
            );
            for j in 0..3 {
                assert_eq!(equal(&one, 0, &array, j, Same::Key), i == j);
                assert_eq!(equal(&one, 0, &array, j, Same::Row), i == j);
            }
        }
        table
            .apply(2, &ZSet::new(rows.slice(1, 2), vec![-1, -1]).unwrap())
            .unwrap();
        assert_eq!(table.snapshot().row_count(), 1);
    }
}

#[test]
fn floats_below_a_list_are_one_key() {
    let list = |x: f64| -> ArrayRef {
        let values = [Some(vec![Some(9.0)]), Some(vec![Some(x), None])];
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(values))
    };
    let (a, b) = (list(0.0), list(-0.0));
    assert_eq!(
        hashes(std::slice::from_ref(&a)).unwrap(),
        hashes(std::slice::from_ref(&b)).unwrap()
    );
    assert!(equal(&a, 1, &b, 1, Same::Key));
    assert!(!equal(&a, 1, &b, 1, Same::Row));
    assert!(!equal(&a, 0, &b, 1, Same::Key));
}

#[test]
fn text_of_views_does_not_keep_its_batches() {
    let schema = Arc::new(Schema::new(vec![Field::new(
        "k",
        DataType::Utf8View,
        false,
    )]));
    let mut table = Table::new(Shape::new("t", schema.clone()).with_key(&[0]));
    for i in 0..600u64 {
        let text = format!("a text with more than twelve bytes, {i}");
        let array: ArrayRef = Arc::new(StringViewArray::from(vec![text]));
        let rows = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
        table.apply(i + 1, &ZSet::inserts(rows)).unwrap();
    }
    let pinned = table.snapshot();
    let buffers = |part: &crate::store::Part<'_>| {
        let array = part.column(0).as_any().downcast_ref::<StringViewArray>();
        array.unwrap().data_buffers().len()
    };
    assert!(pinned.parts().all(|part| buffers(&part) <= 1));
    assert!(pinned.parts().count() <= 40);
    assert_eq!(pinned.row_count(), 600);
}

#[test]
fn a_hot_key_and_many_keys() {
    let shape = Shape::new("t", schema()).with_key(&[0]).with_index(&[1]);
    let mut table = Table::new(shape);
    let text = |i: i64| match i % 10 {
        0 => format!("{}", i % 500),
        _ => "hot".to_string(),
    };
    let rows: Vec<_> = (0..60_000).map(|i| row(i, &text(i), 0.0)).collect();
    table.apply(1, &ZSet::inserts(batch(&rows))).unwrap();
    let hot: ArrayRef = Arc::new(StringArray::from(vec!["hot", "10", "none"]));
    let count = |table: &Table| {
        let found = table
            .snapshot()
            .lookup(1, std::slice::from_ref(&hot))
            .unwrap();
        [0, 1, 2].map(|key| found.keys.iter().filter(|k| **k == key).count())
    };
    assert_eq!(count(&table), [54_000, 120, 0]);
    let gone: Vec<_> = rows[..30_000].iter().map(|row| (row.clone(), -1)).collect();
    table.apply(2, &zset(&gone)).unwrap();
    assert_eq!(count(&table), [27_000, 60, 0]);
    while table.compact(1_000).unwrap() > 0 {}
    assert_eq!(count(&table), [27_000, 60, 0]);
}

#[test]
fn what_a_table_takes_in_memory_goes_with_its_rows() {
    const ROWS: usize = 10_000;
    let shape = || {
        let shape = Shape::new("t", schema()).with_key(&[0]).with_index(&[1]);
        shape.with_chunk_bits(8)
    };
    let mut table = Table::new(shape());
    let all = |weight| {
        let rows = (0..ROWS as i64).map(|n| (row(n, "some text", 1.0), weight));
        zset(&rows.collect::<Vec<_>>())
    };
    table.apply(1, &all(1)).unwrap();
    let full = table.snapshot();
    // Two numbers, an offset and a text; two entries of indexes with room beside them.
    let row_bytes = ROWS * (8 + 8 + 4 + 9);
    assert!(full.bytes() > row_bytes + ROWS * 2 * 16);
    assert!(full.bytes() < row_bytes + ROWS * 2 * 48);
    // What is restored lies in files: what finds it is in memory.
    let restored = Table::restore(shape(), 1, &full.content()).unwrap();
    assert!(restored.snapshot().bytes() < full.bytes() - row_bytes);
    assert_eq!(restored.snapshot().row_bytes(), full.row_bytes());
    table.apply(2, &all(-1)).unwrap();
    assert!(table.snapshot().bytes() < full.bytes() / 10);
}

#[test]
fn keys_that_several_rows_have() {
    let mut table = Table::new(Shape::new("v", schema()).with_index(&[1]));
    let many = |from: i64, weight| (from..2_000).map(move |i| (row(i, "a", 0.0), weight));
    let others = [(row(1, "b", 0.0), 1), (row(1, "c", 0.0), 2)];
    let rows: Vec<_> = many(0, 1).chain(others).collect();
    table.apply(1, &zset(&rows)).unwrap();
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
    let several = |table: &Table| {
        let keys = std::slice::from_ref(&keys);
        table.snapshot().has_several(1, keys).unwrap()
    };
    assert_eq!(several(&table), [true, false, true, false]);
    let rows: Vec<_> = many(1, -1).collect();
    table.apply(2, &zset(&rows)).unwrap();
    assert_eq!(several(&table), [false, false, true, false]);
}
