//! Sources that are looked at, by the memory connector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use belvedere_connector::{Captured, Change, Code, Source, TableRef};
use belvedere_memory::{Fault, MemorySource, MemoryTable};
use fastrand::Rng;
use futures::TryStreamExt;

use super::Polled;
use crate::replication::tests::disk::Disk;
use crate::replication::{Error, Replication, State, Wanted};

type Row = (i64, Option<i64>);
type Bag = BTreeMap<Row, i64>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("t", DataType::Utf8, true),
        Field::new("k", DataType::Int64, false),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let texts = rows.iter().map(|(_, t)| t.map(|t| format!("text {t}")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(texts.collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(k, _)| *k))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn bag<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Bag {
    let mut bag = Bag::new();
    for batch in batches {
        let texts = batch.column(0).as_string::<i32>();
        let keys = batch.column(1).as_primitive::<Int64Type>();
        for i in 0..batch.num_rows() {
            let text = texts
                .is_valid(i)
                .then(|| texts.value(i)[5..].parse().unwrap());
            *bag.entry((keys.value(i), text)).or_default() += 1;
        }
    }
    bag
}

const NAMES: [&str; 2] = ["bag", "keyed"];

struct Bench {
    source: MemorySource,
    disk: Disk,
    replication: Replication,
}

impl Bench {
    async fn new() -> Self {
        let (source, disk) = (MemorySource::new("a"), Disk::files());
        let table = || MemoryTable::new(schema(), vec![batch(&[(1, Some(1)), (2, None)])]);
        source.put("bag", table());
        source.put("keyed", table().with_primary_key(&["k"]));
        let mut bench = Self {
            replication: open(&source, &disk),
            source,
            disk,
        };
        for captured in bench.captured().await {
            let wanted = Wanted {
                source: "a".into(),
                key: (captured.table.name == "keyed").then(|| vec![1]),
                indexes: Vec::new(),
                is_watched: false,
                captured,
            };
            let name = wanted.captured.table.name.clone();
            bench.replication.add(&name, wanted).unwrap();
        }
        bench
    }

    async fn captured(&self) -> Vec<Captured> {
        let tables = self.source.discover().await.unwrap();
        let captured = tables.iter().map(|table| Captured {
            table: TableRef {
                schema: table.schema.clone(),
                name: table.name.clone(),
            },
            schema: table.arrow_schema(),
        });
        captured.collect()
    }

    fn commit(&self, name: &str, rows: &[Row], weights: &[i64]) {
        let (rows, weights) = (batch(rows), weights.to_vec());
        let change = Change::Rows { rows, weights };
        self.source
            .commit(vec![(name.to_string(), change)])
            .unwrap();
    }

    fn at_source(&self, name: &str) -> Bag {
        let tables = self.source.tables_at(&self.source.head()).unwrap();
        bag(&tables[name].batches)
    }

    fn here(&self, name: &str) -> Option<Bag> {
        let published = self.replication.reader().published();
        let (_, content) = published.tables.get(name)?;
        let rows: Result<Vec<_>, _> = content.scan(&[0, 1]).collect();
        Some(bag(&rows.unwrap()))
    }

    /// Steps until something holds.
    async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        let steps = async {
            while !holds(self) {
                let step = self.replication.advance("a");
                let step = tokio::time::timeout(Duration::from_millis(20), step).await;
                if let Ok(Err(e)) = step {
                    assert!(matches!(&e, Error::Source(_)), "{e}");
                }
                while self.replication.cut().unwrap().is_some() {
                    self.replication.publish().unwrap();
                }
            }
        };
        let steps = tokio::time::timeout(Duration::from_secs(20), steps).await;
        assert!(steps.is_ok(), "{:?}", self.replication.states());
    }

    async fn until_equal(&mut self) {
        self.until(|bench| {
            NAMES
                .iter()
                .all(|name| bench.here(name) == Some(bench.at_source(name)))
        })
        .await;
    }
}

fn open(source: &MemorySource, disk: &Disk) -> Replication {
    let source = Polled::new(Arc::new(source.clone()), Duration::from_millis(1));
    let sources: Vec<(String, Arc<dyn Source>)> = vec![("a".into(), Arc::new(source))];
    Replication::open(disk.open(), sources).unwrap()
}

#[tokio::test]
async fn looks_find_what_has_changed() {
    let mut bench = Bench::new().await;
    bench.until_equal().await;
    let mut rng = Rng::with_seed(7);
    for _ in 0..40 {
        for name in NAMES {
            let there = bench.at_source(name);
            let mut next = there.clone();
            for _ in 0..rng.usize(0..4) {
                let key = rng.i64(0..8);
                if rng.bool() || name == "keyed" {
                    next.retain(|(k, _), _| *k != key);
                }
                if rng.bool() {
                    let text = rng.bool().then(|| rng.i64(0..3));
                    *next.entry((key, text)).or_default() += 1;
                }
            }
            let (mut rows, mut weights) = (Vec::new(), Vec::new());
            let gone = there.iter().map(|(row, n)| (row, -n));
            for (row, weight) in gone.chain(next.iter().map(|(row, n)| (row, *n))) {
                rows.push(*row);
                weights.push(weight);
            }
            bench.commit(name, &rows, &weights);
        }
        bench.until_equal().await;
    }
    assert_eq!(bench.replication.states()["keyed"], State::Live);
}

#[tokio::test]
async fn a_failing_source_is_asked_again_and_a_table_that_is_gone_blocks_its_replica() {
    let mut bench = Bench::new().await;
    bench.until_equal().await;
    bench.source.inject(Fault::Down(Code::Unreachable));
    bench.commit("keyed", &[(2, None), (9, Some(9))], &[-1, 1]);
    for _ in 0..5 {
        let step = bench.replication.advance("a");
        let _ = tokio::time::timeout(Duration::from_millis(20), step).await;
    }
    bench.source.inject(Fault::None);
    bench.until_equal().await;
    bench.source.remove("keyed");
    let is_blocked = |bench: &Bench| {
        let states = bench.replication.states();
        matches!(&states["keyed"], State::Blocked { at: Some(_), .. })
    };
    bench.until(is_blocked).await;
    bench.commit("bag", &[(2, None), (9, Some(9))], &[-1, 2]);
    bench
        .until(|bench| bench.here("bag") == Some(bench.at_source("bag")))
        .await;
    assert_eq!(
        bench.here("keyed"),
        Some(Bag::from([((1, Some(1)), 1), ((9, Some(9)), 1)]))
    );
}

#[tokio::test]
async fn another_process_copies_anew_behind_what_is_served() {
    let mut bench = Bench::new().await;
    bench.until_equal().await;
    bench.replication.checkpoint().unwrap();
    bench.commit("keyed", &[(1, Some(1))], &[-1]);
    bench.replication = open(&bench.source, &bench.disk);
    let served = bench.here("keyed").unwrap();
    assert_eq!(served.len(), 2);
    bench.until_equal().await;
    assert_eq!(bench.replication.states()["keyed"], State::Live);
}

#[tokio::test]
async fn a_look_costs_what_has_changed_and_comes_again_if_it_was_not_given() {
    let bench = Bench::new().await;
    let rows: Vec<Row> = (10..1_000).map(|k| (k, Some(k))).collect();
    bench.commit("keyed", &rows, &vec![1; rows.len()]);
    let polled = Polled::new(Arc::new(bench.source.clone()), Duration::from_millis(1));
    let captured = bench.captured().await;
    let before = polled.position().await.unwrap();
    let snapshot = polled.snapshot(&captured).await.unwrap();
    assert!(before <= snapshot.position);
    for (_, rows) in snapshot.streams {
        rows.try_collect::<Vec<_>>().await.unwrap();
    }
    bench.commit(
        "keyed",
        &[(10, Some(10)), (10, Some(0)), (11, Some(11))],
        &[-1, 1, -1],
    );
    // The first look fails.
    let mut first = polled.changes(&snapshot.position, &captured).await.unwrap();
    bench.source.inject(Fault::Down(Code::Unreachable));
    assert_eq!(first.next().await.unwrap_err().code, Code::Unreachable);
    bench.source.inject(Fault::None);
    let mut stream = polled.changes(&snapshot.position, &captured).await.unwrap();
    assert_eq!(first.next().await.unwrap_err().code, Code::Cancelled);
    let found = stream.next().await.unwrap();
    let [
        (
            table,
            Change::ByKey {
                keys,
                rows,
                is_there,
                ..
            },
        ),
    ] = &found.changes[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(table.name, "keyed");
    assert_eq!(
        keys.column(0).as_primitive::<Int64Type>().values()[..],
        [10, 11]
    );
    assert_eq!(bag([rows]), Bag::from([((10, Some(0)), 1)]));
    assert_eq!(is_there[..], [true, false]);
    let nothing = stream.next().await.unwrap();
    assert!(nothing.changes.is_empty() && found.end < nothing.end);
    // What was given is not known any more; what another process saw never was.
    let e = polled
        .changes(&snapshot.position, &captured)
        .await
        .err()
        .unwrap();
    assert_eq!(e.code, Code::LogTruncated);
    let other = Polled::new(Arc::new(bench.source.clone()), Duration::from_millis(1));
    let e = other
        .changes(&snapshot.position, &captured)
        .await
        .err()
        .unwrap();
    assert_eq!(e.code, Code::LogRewound);
}
