//! The engine's own files by themselves: tables of some size, kept, changed, kept again, and damaged.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use belvedere_connector::{Captured, Position, TableRef};
use fastrand::Rng;
use proptest::prelude::*;

use super::disk::DiskFault;
use super::files::Files;
use crate::catalog::Store;
use crate::replication::{Boundary, Checkpoint, Disk, Durable, Kept, State, Wanted};
use crate::store::{Folder, Pinned, Table, ZSet};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("t", DataType::Utf8, true),
    ]))
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        source: "a".into(),
        captured: Captured {
            table: TableRef {
                schema: "main".into(),
                name: name.into(),
            },
            schema: schema(),
        },
        key: (name == "keyed").then(|| vec![0]),
        indexes: vec![vec![1]],
        is_watched: false,
    }
}

fn batch(keys: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let texts = keys
        .clone()
        .map(|k| (k % 5 != 0).then(|| format!("text {}", k % 101)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(keys)),
        Arc::new(texts.collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Keys, each as often as it is there.
fn keys(pinned: &Pinned) -> Vec<i64> {
    let mut keys = Vec::new();
    for rows in pinned.scan(&[0, 1]) {
        let rows = rows.unwrap();
        let (k, t) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1));
        assert_eq!(t, batch(k.values().iter().copied()).column(1));
        keys.extend(k.values());
    }
    keys.sort_unstable();
    keys
}

/// That indexes find what a scan does.
fn is_indexed(pinned: &Pinned) {
    let all = keys(pinned);
    assert_eq!(all.len() as u64, pinned.row_count());
    for text in ["text 1", "text 2", "text 100"] {
        let key: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let found = pinned.lookup(1, &[key]).unwrap();
        let counts = pinned.counts(&found.positions).unwrap();
        let found = counts.map_or(found.positions.len() as i64, |c| c.values().iter().sum());
        let mine = |k: &&i64| *k % 5 != 0 && format!("text {}", *k % 101) == text;
        assert_eq!(found, all.iter().filter(mine).count() as i64);
    }
}

fn boundary(epoch: u64) -> Boundary {
    let at = Position::new([1], epoch.to_be_bytes());
    Boundary {
        epoch,
        positions: BTreeMap::from([("a".to_string(), at)]),
        clock: 10 * epoch as i64,
    }
}

const NAMES: [&str; 2] = ["bag", "keyed"];

fn checkpoint(epoch: u64, tables: &[Table; 2]) -> Checkpoint {
    let kept = |(name, table): (&&str, &Table)| {
        let kept = Kept {
            wanted: wanted(name),
            state: State::Live,
            content: Some(table.snapshot().content()),
            lost: None,
        };
        (name.to_string(), kept)
    };
    Checkpoint {
        boundary: boundary(epoch),
        replicas: NAMES.iter().zip(tables).map(kept).collect(),
        note: format!("of {epoch}"),
    }
}

fn new_tables() -> [Table; 2] {
    NAMES.map(|name| Table::new(wanted(name).shape(name)))
}

fn restored(name: &str, kept: &Kept, epoch: u64) -> Table {
    let content = kept.content.as_ref().unwrap();
    Table::restore(kept.wanted.shape(name), epoch, content).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Insert(i64),
    /// Every nth row.
    Delete(usize),
    Compact,
    Record,
    Checkpoint,
    /// Without what is not certain, or with some of it.
    Restart(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![1i64..20, 3000i64..20_000].prop_map(Step::Insert),
        2 => (1usize..7).prop_map(Step::Delete),
        1 => Just(Step::Compact),
        2 => Just(Step::Record),
        3 => Just(Step::Checkpoint),
        1 => any::<u64>().prop_map(Step::Restart),
    ]
}

/// What happens to one of the files.
#[derive(Clone, Debug)]
enum Damage {
    Nothing,
    Flip(f64, u8),
    Cut(f64),
    Removed,
    /// Others are there besides.
    LeftOvers,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Nothing),
        (0.0..1.0, 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (0.0..1.0).prop_map(Damage::Cut),
        Just(Damage::Removed),
        Just(Damage::LeftOvers),
    ]
}

/// Tables, and what a restart comes back to.
struct History {
    files: Files,
    disk: Box<dyn Durable>,
    tables: [Table; 2],
    epoch: u64,
    next_key: i64,
    kept: (u64, [Vec<i64>; 2]),
    recorded: Vec<Boundary>,
}

impl History {
    fn new() -> Self {
        let files = Files::default();
        let mut history = Self {
            disk: files.open(),
            files,
            tables: new_tables(),
            epoch: 0,
            next_key: 0,
            kept: Default::default(),
            recorded: Vec::new(),
        };
        assert!(history.disk.recover().unwrap().0.is_none());
        history.checkpoint();
        history
    }

    fn checkpoint(&mut self) {
        let checkpoint = checkpoint(self.epoch, &self.tables);
        self.disk.checkpoint(&checkpoint).unwrap();
        let mapped = self.disk.mapped();
        self.tables
            .iter_mut()
            .for_each(|table| table.remap(&mapped));
        self.kept = (
            self.epoch,
            self.tables.each_ref().map(|t| keys(&t.snapshot())),
        );
        self.recorded.clear();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Insert(rows) => {
                let (from, to) = (self.next_key, self.next_key + rows);
                self.next_key = to;
                self.epoch += 1;
                let bag = batch((from..to).map(|k| k % 9_000));
                for (table, rows) in self.tables.iter_mut().zip([bag, batch(from..to)]) {
                    table.apply(self.epoch, &ZSet::inserts(rows)).unwrap();
                }
            }
            Step::Delete(nth) => {
                self.epoch += 1;
                for table in &mut self.tables {
                    let gone = keys(&table.snapshot());
                    let gone = gone.iter().copied().step_by(*nth);
                    let rows = batch(gone);
                    let weights = vec![-1; rows.num_rows()];
                    table
                        .apply(self.epoch, &ZSet::new(rows, weights).unwrap())
                        .unwrap();
                }
            }
            Step::Compact => {
                for table in &mut self.tables {
                    table.compact(5_000).unwrap();
                }
            }
            Step::Record => {
                let last = self.recorded.last();
                let epoch = last.map_or(self.kept.0, |boundary| boundary.epoch) + 1;
                self.epoch = self.epoch.max(epoch);
                self.disk.record(&boundary(epoch)).unwrap();
                self.recorded.push(boundary(epoch));
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Restart(seed) => {
                self.files.crash(&mut Rng::with_seed(*seed));
                self.disk = self.files.open();
                let (found, recorded) = self.disk.recover().unwrap();
                assert_eq!(recorded, self.recorded);
                let found = found.unwrap();
                assert_eq!(found.boundary.epoch, self.kept.0);
                assert_eq!(found.note, format!("of {}", self.kept.0));
                let tables =
                    NAMES.map(|name| restored(name, &found.replicas[name], found.boundary.epoch));
                for (table, kept) in tables.iter().zip(&self.kept.1) {
                    assert_eq!(keys(&table.snapshot()), *kept);
                    is_indexed(&table.snapshot());
                }
                self.tables = tables;
                self.epoch = recorded
                    .last()
                    .map_or(self.kept.0, |boundary| boundary.epoch);
            }
        }
    }

    fn damage(&self, which: usize, damage: &Damage) -> String {
        let names = self.files.folder.names().unwrap();
        let Some(name) = names.get(which % names.len().max(1)) else {
            return String::new();
        };
        let place = |bytes: &Vec<u8>, at: f64| (bytes.len() as f64 * at) as usize;
        match damage {
            Damage::Nothing => {}
            Damage::Flip(at, bits) => self.files.folder.edit(name, |bytes| {
                let at = place(bytes, *at);
                bytes[at] ^= bits;
            }),
            Damage::Cut(at) => self
                .files
                .folder
                .edit(name, |bytes| bytes.truncate(place(bytes, *at))),
            Damage::Removed => self.files.folder.remove(name).unwrap(),
            Damage::LeftOvers => {
                for name in ["fffffffffffffff0.rows", "0123.rows.new", "readme"] {
                    self.files.folder.create(name).unwrap();
                    self.files
                        .folder
                        .edit(name, |bytes| bytes.extend(*b"half a file"));
                }
            }
        }
        name.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What comes back is what was committed, or it is said what is lost: of one replica, or of the end of a log.
    #[test]
    fn committed_or_said_to_be_lost(
        steps in proptest::collection::vec(step(), 1..14),
        which in any::<usize>(),
        damage in damage(),
    ) {
        let mut history = History::new();
        for step in &steps {
            history.step(step);
        }
        let name = history.damage(which, &damage);
        let mut disk = history.files.open();
        let (found, recorded) = disk.recover().unwrap();
        prop_assert!(history.recorded.starts_with(&recorded));
        prop_assert!(recorded == history.recorded || name.ends_with(".epochs"));
        let found = found.unwrap();
        prop_assert_eq!(found.boundary.epoch, history.kept.0);
        let mut lost = 0;
        for (replica, kept) in NAMES.iter().zip(&history.kept.1) {
            let there = &found.replicas[*replica];
            match &there.lost {
                None => {
                    let table = restored(replica, there, history.kept.0);
                    prop_assert_eq!(&keys(&table.snapshot()), kept);
                    is_indexed(&table.snapshot());
                }
                Some(why) => {
                    lost += 1;
                    prop_assert!(why.contains(&name), "{}", why);
                    prop_assert!(there.content.is_none() && there.state == State::Asked);
                }
            }
        }
        prop_assert!(lost <= usize::from(name.ends_with(".rows")));
        // It goes on.
        disk.record(&boundary(history.epoch + 1)).unwrap();
        disk.checkpoint(&checkpoint(history.epoch + 2, &history.tables)).unwrap();
        let (found, recorded) = history.files.open().recover().unwrap();
        prop_assert!(recorded.is_empty());
        let found = found.unwrap();
        for (replica, table) in NAMES.iter().zip(&history.tables) {
            let there = restored(replica, &found.replicas[*replica], 1);
            prop_assert_eq!(keys(&there.snapshot()), keys(&table.snapshot()));
        }
    }
}

/// Pieces of a tail become one now and then: what has the first of them is not what has them all.
#[test]
fn a_tail_that_grows_by_a_few_rows() {
    let (mut history, mut rng) = (History::new(), Rng::with_seed(5));
    for i in 0..160 {
        history.step(&Step::Insert(rng.i64(1..12)));
        history.step(&Step::Checkpoint);
        if i % 40 > 30 {
            history.step(&Step::Restart(i));
        }
    }
    let (found, _) = history.files.open().recover().unwrap();
    let found = found.unwrap();
    for (name, kept) in NAMES.iter().zip(&history.kept.1) {
        let table = restored(name, &found.replicas[*name], 1);
        assert_eq!(keys(&table.snapshot()), *kept);
    }
}

/// One whose sync failed may have been written all the same.
#[test]
fn of_two_records_of_one_epoch_the_second_counts() {
    let files = Files::default();
    let mut disk = files.open();
    disk.record(&boundary(1)).unwrap();
    files.faults.fail(1, DiskFault::SyncFails);
    disk.record(&boundary(2)).unwrap_err();
    let mut other = boundary(2);
    other.positions = boundary(7).positions;
    disk.record(&other).unwrap();
    assert_eq!(files.open().recover().unwrap().1, [boundary(1), other]);
}

/// In a folder, with the catalog as its commit point.
#[test]
fn what_has_not_changed_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("checkpoint");
    let rows = || {
        let names = std::fs::read_dir(&folder).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".rows")).collect();
        names.sort();
        names
    };
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let mut disk = Disk::open(&folder, store.clone()).unwrap();
    disk.recover().unwrap();
    let mut tables = new_tables();
    for table in &mut tables {
        table.apply(1, &ZSet::inserts(batch(0..150_000))).unwrap();
    }
    disk.checkpoint(&checkpoint(1, &tables)).unwrap();
    let first = rows();
    assert_eq!(first.len(), 6);
    // From now on they are in files, and known to be.
    let mapped = disk.mapped();
    assert_eq!(mapped.len(), 6);
    for table in &mut tables {
        let before = keys(&table.snapshot());
        table.remap(&mapped);
        assert_eq!(keys(&table.snapshot()), before);
        is_indexed(&table.snapshot());
    }
    disk.checkpoint(&checkpoint(1, &tables)).unwrap();
    assert_eq!(rows(), first);
    assert!(disk.mapped().is_empty());
    // One row more, one fewer: a small file, and one of bits.
    for table in &mut tables {
        let change = ZSet::new(batch([7, 150_000].into_iter()), vec![-1, 1]).unwrap();
        table.apply(2, &change).unwrap();
    }
    disk.checkpoint(&checkpoint(2, &tables)).unwrap();
    let second = rows();
    assert!(
        first.iter().all(|name| second.contains(name)),
        "{first:?} {second:?}"
    );
    assert_eq!(second.len(), first.len() + 4);
    let mut times: Vec<_> = (3..1003)
        .map(|epoch| {
            let begun = Instant::now();
            disk.record(&boundary(epoch)).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    eprintln!("a record: p50 {:?}, p99 {:?}", times[500], times[990]);
    drop((disk, store));
    let begun = Instant::now();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let mut disk = Disk::open(&folder, store).unwrap();
    let (found, recorded) = disk.recover().unwrap();
    assert_eq!(recorded.len(), 1000);
    let found = found.unwrap();
    let tables2 = NAMES.map(|name| restored(name, &found.replicas[name], 2));
    eprintln!(
        "two tables of 150,000 rows are back after {:?}",
        begun.elapsed()
    );
    for (old, new) in tables.iter().zip(&tables2) {
        assert_eq!(keys(&old.snapshot()), keys(&new.snapshot()));
    }
    // What was mapped is known to be there.
    disk.checkpoint(&checkpoint(1003, &tables2)).unwrap();
    assert_eq!(rows(), second);
    assert!(disk.recover().unwrap().1.is_empty());
}

#[test]
fn a_manifest_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let mut newer = 2u32.to_le_bytes().to_vec();
    newer.extend([0; 20]);
    store.commit_manifest(&newer).unwrap();
    let mut disk = Disk::open(&dir.path().join("checkpoint"), store.clone()).unwrap();
    let e = disk.recover().unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::Unsupported);
    assert_eq!(
        e.to_string(),
        "the checkpoint's manifest was written by a newer version (format 2, this one knows 1): open it with that version"
    );
    newer[0] = 1;
    store.commit_manifest(&newer).unwrap();
    assert_eq!(
        disk.recover().unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}
