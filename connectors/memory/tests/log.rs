//! The commit log: snapshot and stream add up, and what goes wrong has its name.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use belvedere_connector::{
    Captured, Change, ChangeStream, Code, Position, Source, TableRef, Transaction, Unchanged,
};
use belvedere_memory::{Fault, Image, LogFault, MemorySource, MemoryTable};
use futures::{FutureExt, TryStreamExt};

fn schema(columns: &[&str]) -> SchemaRef {
    let field = |name: &&str| Field::new(*name, DataType::Int64, true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn batch(rows: &[(i64, i64)]) -> RecordBatch {
    let keys = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let values = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    RecordBatch::try_new(schema(&["k", "v"]), vec![Arc::new(keys), Arc::new(values)]).unwrap()
}

fn rows(changes: &[(i64, i64, i64)]) -> (String, Change) {
    let pairs: Vec<_> = changes.iter().map(|(k, v, _)| (*k, *v)).collect();
    let weights = changes.iter().map(|(.., weight)| *weight).collect();
    let rows = batch(&pairs);
    ("t".into(), Change::Rows { rows, weights })
}

fn source() -> MemorySource {
    let table = MemoryTable::new(schema(&["k", "v"]), vec![batch(&[(1, 10), (2, 20)])]);
    MemorySource::new("m").with_table("t", table.with_primary_key(&["k"]))
}

fn wanted(columns: &[&str]) -> Vec<Captured> {
    let table = TableRef {
        schema: "main".into(),
        name: "t".into(),
    };
    let schema = schema(columns);
    vec![Captured { table, schema }]
}

/// What is there to read at once.
fn next(stream: &mut Box<dyn ChangeStream>) -> Option<Result<Transaction, Code>> {
    let next = stream.next().now_or_never()?;
    Some(next.map_err(|e| e.code))
}

fn open(source: &MemorySource, from: &Position) -> Result<Box<dyn ChangeStream>, Code> {
    let wanted = wanted(&["k", "v"]);
    let stream = Source::changes(source, from, &wanted).now_or_never();
    stream.unwrap().map_err(|e| e.code)
}

/// Column by column, and the weights.
fn plain(change: &Change) -> (Vec<Vec<i64>>, Vec<i64>) {
    let values = |rows: &RecordBatch| -> Vec<Vec<i64>> {
        let columns = rows.columns().iter();
        columns
            .map(|column| column.as_primitive::<Int64Type>().values().to_vec())
            .collect()
    };
    match change {
        Change::Rows { rows, weights } => (values(rows), weights.clone()),
        Change::ByKey { rows, keys, .. } => (values(rows), values(keys).remove(0)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_snapshot_and_the_stream_from_it() {
    let source = source();
    let snapshot = source.snapshot(&wanted(&["k", "v"])).await.unwrap();
    let moved = source.commit(vec![rows(&[(1, 10, -1), (1, 11, 1), (3, 30, 1)])]);
    let moved = moved.unwrap();
    let mut stream = open(&source, &snapshot.position).unwrap();
    for (_, part) in snapshot.streams {
        let part: Vec<_> = part.try_collect().await.unwrap();
        assert_eq!(
            part,
            [batch(&[(1, 10), (2, 20)])],
            "read after a commit, of before it"
        );
    }
    let transaction = next(&mut stream).unwrap().unwrap();
    assert_eq!(transaction.end, Some(moved.clone()));
    let changes = plain(&transaction.changes[0].1);
    assert_eq!(
        changes,
        (vec![vec![1, 1, 3], vec![10, 11, 30]], vec![-1, 1, 1])
    );
    assert!(next(&mut stream).is_none());
    source.keep_alive();
    let beat = next(&mut stream).unwrap().unwrap();
    assert!(beat.changes.is_empty() && beat.end == Some(moved.clone()));
    assert!(next(&mut stream).is_none());
    let content = &source.tables_at(&moved).unwrap()["t"].batches;
    assert_eq!(content[..], [batch(&[(2, 20), (1, 11), (3, 30)])]);
    assert!(
        source.commit(vec![rows(&[(9, 9, -1)])]).is_err(),
        "no such row"
    );
    assert_eq!(source.head(), moved);
}

#[tokio::test]
async fn a_stream_wakes_who_waits() {
    let source = source();
    let mut stream = open(&source, &source.head()).unwrap();
    let reader = tokio::spawn(async move { stream.next().await.map(|t| t.end) });
    tokio::task::yield_now().await;
    let end = source.commit(vec![rows(&[(5, 50, 1)])]).unwrap();
    assert_eq!(reader.await.unwrap().unwrap(), Some(end));
}

#[test]
fn pieces_and_keys() {
    let source = source();
    source.set_log(Image::Key, 2, 0);
    let mut stream = open(&source, &source.head()).unwrap();
    let end = source
        .commit(vec![rows(&[(1, 10, -1), (1, 11, 1), (2, 20, -1)])])
        .unwrap();
    let first = next(&mut stream).unwrap().unwrap();
    assert_eq!(first.end, None);
    assert_eq!(
        plain(&first.changes[0].1),
        (vec![vec![], vec![]], vec![1, 2])
    );
    let last = next(&mut stream).unwrap().unwrap();
    assert_eq!(last.end, Some(end));
    assert_eq!(
        plain(&last.changes[0].1),
        (vec![vec![1], vec![11]], vec![1])
    );
}

#[test]
fn truncated_and_rewound() {
    let source = source();
    let first = source.head();
    let second = source.commit(vec![rows(&[(5, 50, 1)])]).unwrap();
    let third = source.commit(vec![rows(&[(6, 60, 1)])]).unwrap();
    let mut behind = open(&source, &first).unwrap();
    source.truncate_log(&second).unwrap();
    assert_eq!(next(&mut behind).unwrap().unwrap_err(), Code::LogTruncated);
    assert_eq!(open(&source, &first).err(), Some(Code::LogTruncated));
    let mut stream = open(&source, &third).unwrap();
    source.rewind(&second).unwrap();
    assert_eq!(next(&mut stream).unwrap().unwrap_err(), Code::Unreachable);
    assert_eq!(open(&source, &third).err(), Some(Code::LogRewound));
    assert_eq!(open(&source, &second).err(), Some(Code::LogRewound));
    let now = source.head();
    assert_eq!(now.partial_cmp(&second), None);
    let content = &source.tables_at(&now).unwrap()["t"].batches;
    assert_eq!(content[..], [batch(&[(1, 10), (2, 20), (5, 50)])]);
    assert!(open(&source, &now).is_ok());
}

#[test]
fn faults_are_what_a_test_says() {
    let source = source();
    let from = source.head();
    let ends: Vec<_> = (5..8)
        .map(|i| source.commit(vec![rows(&[(i, i, 1)])]).unwrap())
        .collect();
    let mut stream = open(&source, &from).unwrap();
    source.inject_log(LogFault::Stall);
    assert!(next(&mut stream).is_none());
    source.inject_log(LogFault::CutAfter(2));
    let got = |stream: &mut Box<dyn ChangeStream>| next(stream).unwrap().map(|t| t.end.unwrap());
    assert_eq!(got(&mut stream), Ok(ends[0].clone()));
    assert_eq!(got(&mut stream), Ok(ends[1].clone()));
    assert_eq!(got(&mut stream), Err(Code::Unreachable));
    source.set_log(Image::Whole, 10, 1);
    let mut stream = open(&source, &ends[1]).unwrap();
    assert_eq!(got(&mut stream), Ok(ends[1].clone()), "once more");
    assert_eq!(got(&mut stream), Ok(ends[2].clone()));
    let mut acknowledge = |position: &Position| {
        let done = stream.acknowledge(position).now_or_never().unwrap();
        done.map_err(|e| e.code)
    };
    source.inject_log(LogFault::AcknowledgeLost);
    assert_eq!(acknowledge(&ends[0]), Err(Code::Unreachable));
    assert_eq!(source.acknowledged(), None);
    source.inject_log(LogFault::AcknowledgeUnheard);
    assert_eq!(acknowledge(&ends[0]), Err(Code::Unreachable));
    assert_eq!(source.acknowledged(), Some(ends[0].clone()));
    acknowledge(&ends[2]).unwrap();
    let mut other = open(&source, &ends[2]).unwrap();
    assert_eq!(
        next(&mut stream).unwrap().unwrap_err(),
        Code::Unreachable,
        "one reader"
    );
    source.inject(Fault::Down(Code::Unreachable));
    assert_eq!(next(&mut other).unwrap().unwrap_err(), Code::Unreachable);
}

#[test]
fn a_column_more_is_not_told_and_a_changed_one_ends_the_table() {
    let source = source();
    let mut stream = open(&source, &source.head()).unwrap();
    let wide = MemoryTable::new(
        schema(&["w", "v", "k"]),
        vec![RecordBatch::new_empty(schema(&["w", "v", "k"]))],
    );
    source.put("t", wide);
    let added = next(&mut stream).unwrap().unwrap();
    assert!(matches!(added.changes[0].1, Change::Truncate));
    source.put("t", MemoryTable::new(schema(&["v"]), Vec::new()));
    let ended = next(&mut stream).unwrap().unwrap();
    let [(_, Change::Ends(error))] = &ended.changes[..] else {
        panic!("{ended:?}");
    };
    assert_eq!(error.code, Code::SchemaChanged);
    source.remove("t");
    let dropped = next(&mut stream).unwrap().unwrap();
    assert!(
        dropped.changes.is_empty(),
        "it was no longer what is wanted"
    );
    let snapshot = source.snapshot(&wanted(&["k"])).now_or_never().unwrap();
    assert_eq!(
        snapshot.err().map(|e| (e.code, e.table.clone())),
        Some((Code::TableMissing, Some("t".into())))
    );
}

#[tokio::test]
async fn a_log_of_differences_leaves_out_what_is_the_same() {
    let source = source();
    let from = source.head();
    source.set_log(Image::Difference, 10, 0);
    assert_eq!(
        Source::identity(&source, &wanted(&["k"])[0].table),
        Some(vec!["k".to_string()])
    );
    let changes = [(1, 10, -1), (1, 10, 1), (2, 20, -1), (2, 21, 1), (3, 30, 1)];
    source.commit(vec![rows(&changes)]).unwrap();
    let mut stream = open(&source, &from).unwrap();
    let transaction = next(&mut stream).unwrap().unwrap();
    let Change::ByKey {
        keys,
        rows,
        is_there,
        unchanged,
    } = &transaction.changes[0].1
    else {
        panic!("{transaction:?}");
    };
    assert_eq!(keys.num_rows(), 3);
    assert_eq!(is_there, &[true, true, true]);
    let [
        Unchanged {
            column: 1,
            rows: same,
        },
    ] = &unchanged[..]
    else {
        panic!("{unchanged:?}");
    };
    assert_eq!(same.iter().collect::<Vec<_>>(), [true, false, false]);
    let values = rows.column(1).as_primitive::<Int64Type>();
    assert_eq!(
        values.iter().collect::<Vec<_>>(),
        [None, Some(21), Some(30)]
    );
}
