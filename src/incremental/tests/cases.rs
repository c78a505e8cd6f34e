//! Joins that are not a star, and what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DictionaryArray, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef};
use datafusion::physical_expr::expressions::col;

use super::model::{Kept, customers, items, orders};
use crate::incremental::path::Of;
use crate::incremental::{Aggregate, GroupBy, Join, PIECE_ROWS};
use crate::store::{Pinned, Shape, Table, ZSet};

fn edges() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![field("from"), field("to")]))
}

fn zset(rows: &[(i64, i64, i64)]) -> ZSet {
    let column = |f: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
        // -1 is NULL.
        let values = rows
            .iter()
            .map(|row| Some(f(row)).filter(|value| *value != -1));
        Arc::new(values.collect::<Int64Array>())
    };
    let columns = vec![column(|row| row.0), column(|row| row.1)];
    let weights: Vec<i64> = rows.iter().map(|row| row.2).collect();
    ZSet::new(RecordBatch::try_new(edges(), columns).unwrap(), weights).unwrap()
}

/// Triangles of one table, three times an input: each epoch changes all three, and the third equality has no step of
/// its own.
#[test]
fn triangles() {
    let shape = Shape::new("edge", edges())
        .with_index(&[0])
        .with_index(&[1]);
    let mut table = Table::new(shape);
    let shape = table.shape().clone();
    let inputs = [shape.clone(), shape.clone(), shape];
    let on = [((0, 1), (1, 0)), ((1, 1), (2, 0)), ((2, 1), (0, 0))];
    let join = Join::new(&inputs, &on, &[(0, 0), (1, 0), (2, 0)]).unwrap();
    let mut triangles: BTreeMap<[i64; 3], i64> = BTreeMap::new();
    let mut edges: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(7);
    for epoch in 1..120 {
        let mut change = Vec::new();
        for _ in 0..random.usize(0..6) {
            let edge = (random.i64(-1..5), random.i64(-1..5));
            let count = edges.entry(edge).or_default();
            let weight = if *count > 0 && random.bool() { -1 } else { 1 };
            *count += weight;
            change.push((edge.0, edge.1, weight));
        }
        let change = zset(&change);
        let before: Vec<Pinned> = (0..3).map(|_| table.snapshot()).collect();
        table.apply(epoch, &change).unwrap();
        let after: Vec<Pinned> = (0..3).map(|_| table.snapshot()).collect();
        let mut sink = |piece: ZSet| {
            let column = |i: usize| piece.rows().column(i).as_primitive::<Int64Type>();
            for i in 0..piece.len() {
                let row = [0, 1, 2].map(|c| column(c).value(i));
                *triangles.entry(row).or_default() += piece.weights()[i];
            }
            Ok(())
        };
        join.changes(&[Some(&change); 3], &before, &after, &mut sink)
            .unwrap();
        triangles.retain(|_, count| *count != 0);
        let mut expected: BTreeMap<[i64; 3], i64> = BTreeMap::new();
        let count = |a: i64, b: i64| edges.get(&(a, b)).copied().unwrap_or(0);
        for (a, b, c) in (0..125).map(|i| (i / 25, i / 5 % 5, i % 5)) {
            expected.insert([a, b, c], count(a, b) * count(b, c) * count(c, a));
        }
        expected.retain(|_, count| *count != 0);
        assert_eq!(triangles, expected, "epoch {epoch}");
    }
}

#[test]
fn what_a_row_matches_comes_in_pieces() {
    let mut kept = Kept::new(true);
    let many: Vec<_> = (0..2 * PIECE_ROWS as i64 + 10)
        .map(|id| ((id, Some(1), Some("a".to_string()), Some(1)), 1))
        .collect();
    kept.change([
        orders(&many),
        customers(&[]),
        items(&[(("a".to_string().into(), Some(5), "x".into()), 1)]),
    ]);
    let pieces = kept.pieces;
    kept.change([orders(&[]), customers(&[((1, None), 1)]), items(&[])]);
    assert_eq!(kept.pieces - pieces, 3);
    let rows = many.len() as i64;
    let row = (rows, rows, Some(rows), Some(5 * i128::from(rows)));
    assert_eq!(kept.read(), [((None, "x".to_string()), row)].into());
}

#[test]
fn a_change_that_shows_nothing_changes_nothing() {
    let mut kept = Kept::new(true);
    let item = (Some("a".to_string()), Some(5), "x".to_string());
    let order = |customer| (1, Some(customer), item.0.clone(), Some(1));
    let both = [((1, Some(0)), 1), ((2, Some(0)), 1)];
    kept.change([
        orders(&[(order(1), 1)]),
        customers(&both),
        items(&[(item.clone(), 1)]),
    ]);
    let before = kept.view.snapshot();
    kept.change([
        orders(&[(order(1), -1), (order(2), 1)]),
        customers(&[]),
        items(&[]),
    ]);
    let after = kept.view.snapshot();
    let rows = |pinned: &Pinned| pinned.parts().map(|part| part.len()).sum::<usize>();
    assert_eq!((rows(&before), rows(&after)), (1, 1));
}

#[test]
fn what_is_refused() {
    let plain = Arc::new(Shape::new("a", edges()).with_key(&[0]));
    let inputs = [plain.clone(), plain];
    let refused = |on: &[(Of, Of)]| Join::new(&inputs, on, &[(0, 0)]).unwrap_err().to_string();
    assert!(refused(&[((0, 1), (1, 1))]).contains("needs an index of a by to"));
    assert!(Join::new(&inputs, &[((0, 0), (1, 0))], &[(0, 0)]).is_ok());
    let schema = Schema::new(vec![Field::new("x", DataType::Float64, true)]);
    let x = || col("x", &schema).unwrap();
    let keys = || vec![(x(), "x".to_string())];
    let sum = vec![(Aggregate::sum(x()), "sum".to_string())];
    assert!(GroupBy::new(&schema, keys(), sum).is_err());
    let count = || vec![(Aggregate::count(x()), "count".to_string())];
    let mut group = GroupBy::new(&schema, keys(), count()).unwrap();
    let rows = RecordBatch::try_new(
        Arc::new(schema.clone()),
        vec![Arc::new(arrow::array::Float64Array::from(vec![1.0]))],
    );
    group
        .push(&ZSet::new(rows.unwrap(), vec![-1]).unwrap())
        .unwrap();
    let e = group.finish().unwrap_err();
    assert!(e.to_string().contains("lost more rows than it had"), "{e}");
}

#[test]
fn keys_of_dictionaries_and_nulls_in_them() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
    let keys = Int32Array::from(vec![Some(0), Some(1), None, Some(0)]);
    let x: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
    let schema = Arc::new(Schema::new(vec![Field::new(
        "x",
        x.data_type().clone(),
        true,
    )]));
    let rows = RecordBatch::try_new(schema.clone(), vec![x]).unwrap();
    let x = || col("x", &schema).unwrap();
    let count = vec![(Aggregate::count(x()), "count".to_string())];
    let mut group = GroupBy::new(&schema, vec![(x(), "x".to_string())], count).unwrap();
    group.push(&ZSet::inserts(rows)).unwrap();
    let groups = group.finish().unwrap();
    let text = cast(groups.rows().column(0), &DataType::Utf8).unwrap();
    let counts = groups.rows().column(1).as_primitive::<Int64Type>();
    let of = |i: usize| {
        let text = text.as_string::<i32>();
        (text.is_valid(i).then(|| text.value(i)), counts.value(i))
    };
    let mut found: Vec<_> = (0..groups.len()).map(of).collect();
    found.sort();
    assert_eq!(found, [(None, 0), (Some("x"), 2)]);
}

/// What a sum of decimals is after each change, of values with their weights: an error where it has more digits than its type, and
/// right again when it comes back.
#[test]
fn a_sum_of_decimals_comes_back_from_beyond_its_type() {
    let data_type = DataType::Decimal128(38, 20);
    let schema = Arc::new(Schema::new(vec![Field::new("x", data_type.clone(), true)]));
    let sum = vec![(
        Aggregate::sum(col("x", &schema).unwrap()),
        "sum".to_string(),
    )];
    let mut group = GroupBy::new(&schema, Vec::new(), sum).unwrap();
    let most = 10_i128.pow(38) - 1;
    let mut change = |values: &[(i128, i64)]| {
        let (values, weights): (Vec<i128>, Vec<i64>) = values.iter().copied().unzip();
        let values = Decimal128Array::from(values).with_data_type(data_type.clone());
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(values)]).unwrap();
        group.push(&ZSet::new(rows, weights).unwrap()).unwrap();
        let mut failed = Vec::new();
        let given = group.finish_each(&mut |message, weight| failed.push((message, weight)));
        let given = given.unwrap();
        let sums = given.rows().column(0).as_primitive::<Decimal128Type>();
        let sums = sums.iter().zip(given.weights().iter().copied());
        (sums.collect::<Vec<_>>(), failed)
    };
    let outgrown = |weight| {
        let message = "a sum of decimals is out of the range of its type, numeric(38,20)";
        vec![(message.to_string(), weight)]
    };
    assert_eq!(change(&[]), (vec![(None, 1)], vec![]));
    assert_eq!(
        change(&[(most, 1)]),
        (vec![(None, -1), (Some(most), 1)], vec![])
    );
    // By a digit; then so that 128 bits do not hold it, by many rows at once, too.
    assert_eq!(change(&[(1, 1)]), (vec![(Some(most), -1)], outgrown(1)));
    let (none, stays) = change(&[(most, 1), (-5, 1), (most, 1_000_000)]);
    assert_eq!(none, vec![]);
    assert_eq!(stays, [outgrown(-1), outgrown(1)].concat());
    let back = change(&[(most, -1_000_000), (most, -1), (most, -1)]);
    assert_eq!(back, (vec![(Some(-4), 1)], outgrown(-1)));
    assert_eq!(change(&[(-most, 3)]), (vec![(Some(-4), -1)], outgrown(1)));
    let back = change(&[(-most, -3), (1, -1)]);
    assert_eq!(back, (vec![(Some(-5), 1)], outgrown(-1)));
}

/// Groups by the first column, with what the values of the second say.
fn of_values() -> GroupBy {
    let edges = edges();
    let column = |name| col(name, &edges).unwrap();
    let to = || column("to");
    let aggregates = [
        Aggregate::min(to()),
        Aggregate::max(to()),
        Aggregate::count(to()).distinct(),
        Aggregate::sum(to()).distinct(),
    ];
    let names = (0..).map(|i| format!("a{i}"));
    let aggregates = aggregates.into_iter().zip(names).collect();
    GroupBy::new(&edges, vec![(column("from"), "from".into())], aggregates).unwrap()
}

/// What groups give, with the weight in front. NULL is -1.
fn given(change: &ZSet) -> Vec<[i64; 6]> {
    let columns = change.rows().columns().iter();
    let columns: Vec<&Int64Array> = columns.map(|column| column.as_primitive()).collect();
    let value = |column: &Int64Array, i| {
        if column.is_valid(i) {
            column.value(i)
        } else {
            -1
        }
    };
    let row = |i| {
        let mut row = [change.weights()[i]; 6];
        (1..)
            .zip(&columns)
            .for_each(|(place, column)| row[place] = value(column, i));
        row
    };
    let mut rows: Vec<_> = (0..change.len()).map(row).collect();
    rows.sort();
    rows
}

#[test]
fn the_next_value_takes_the_place_of_an_extreme() {
    let mut group = of_values();
    let mut change = |rows: &[(i64, i64, i64)]| {
        group.push(&zset(rows)).unwrap();
        given(&group.finish().unwrap())
    };
    let came = change(&[(1, 5, 1), (1, 7, 2), (1, 9, 1), (1, -1, 1)]);
    assert_eq!(came, [[1, 1, 5, 9, 3, 21]]);
    assert_eq!(change(&[(1, 7, -1)]), [[0; 6]; 0]);
    let next = change(&[(1, 9, -1), (1, 5, -1)]);
    assert_eq!(next, [[-1, 1, 5, 9, 3, 21], [1, 1, 7, 7, 1, 7]]);
    let only_null = change(&[(1, 7, -1)]);
    assert_eq!(only_null, [[-1, 1, 7, 7, 1, 7], [1, 1, -1, -1, 0, -1]]);
    assert_eq!(change(&[(1, -1, -1)]), [[-1, 1, -1, -1, 0, -1]]);
    assert!(group.is_empty());
}

#[test]
fn pieces_of_an_epoch_come_in_any_order() {
    let mut group = of_values();
    group.push(&zset(&[(1, 5, 1), (1, 7, 1)])).unwrap();
    group.finish().unwrap();
    // One that is not there yet goes, and one that is there goes twice.
    group.push(&zset(&[(1, 6, -2), (1, 7, -2)])).unwrap();
    group.push(&zset(&[(1, 6, 3), (1, 7, 1)])).unwrap();
    let change = given(&group.finish().unwrap());
    assert_eq!(change, [[-1, 1, 5, 7, 2, 12], [1, 1, 5, 6, 2, 11]]);
    // Rows enough, but not of this value.
    group.push(&zset(&[(1, 8, -1)])).unwrap();
    let e = group.finish().unwrap_err();
    assert!(e.to_string().contains("lost more rows than it had"), "{e}");
}

#[test]
fn values_that_went_take_no_memory() {
    let mut group = of_values();
    let rows = |weight| {
        let rows = (0..1000).map(|i| (i % 7, i % 300, weight));
        zset(&rows.collect::<Vec<_>>())
    };
    let mut change = |weight| {
        group.push(&rows(weight)).unwrap();
        group.finish().unwrap();
        group.bytes()
    };
    let (full, empty) = (change(1), change(-1));
    // Of each of the values there are some ten bytes, and what the tree and the allocator have.
    assert!(
        full - empty > 1000 * 40 && full - empty < 1000 * 120,
        "{full} {empty}"
    );
    assert_eq!((change(1), change(-1)), (full, empty));
}
