//! A source whose steps a test takes one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use belvedere_connector::{Change, Position, Source};
use belvedere_memory::{MemorySource, MemoryTable};
use fastrand::Rng;
use futures::FutureExt;

use super::disk::Disk;
use super::world::{Bag, Row, SPECS, bag};
use crate::replication::{Error, Positions, Published, Replication};

/// A source `a` with the tables t0, which has a key, and t1.
pub struct Bench {
    pub source: MemorySource,
    pub disk: Disk,
    pub replication: Replication,
}

pub const T0: usize = 0;
pub const T1: usize = 1;

impl Bench {
    pub fn new(followed: &[usize]) -> Self {
        Self::on(Disk::default(), followed)
    }

    pub fn on(disk: Disk, followed: &[usize]) -> Self {
        let source = MemorySource::new("a");
        for spec in &SPECS[..2] {
            let table = MemoryTable::new(spec.schema(0), Vec::new());
            source.put(spec.name, table);
        }
        let replication = open(&source, &disk);
        let mut bench = Self {
            source,
            disk,
            replication,
        };
        for table in followed {
            bench.add(*table).unwrap();
        }
        bench
    }

    pub fn add(&mut self, table: usize) -> Result<(), Error> {
        let spec = &SPECS[table];
        self.replication.add(spec.name, spec.wanted(0))
    }

    pub fn commit(&self, changes: &[(usize, &[i64], i64)]) -> Position {
        let change = |(table, row, weight): &(usize, &[i64], i64)| {
            let row: Row = row.iter().map(|value| Some(*value)).collect();
            let rows = SPECS[*table].batch(0, [&row].into_iter());
            let weights = vec![*weight];
            (
                SPECS[*table].name.to_string(),
                Change::Rows { rows, weights },
            )
        };
        self.source
            .commit(changes.iter().map(change).collect())
            .unwrap()
    }

    /// Where the log of `a` is, is known, and nothing of it is kept: the first copy of t0 was of no use before it could join, and t0 is
    /// empty now.
    pub fn uncopied() -> Self {
        let mut bench = Self::new(&[T0]);
        bench.commit(&[(T0, &[9, 9, 9], 1)]);
        while bench.advance() {}
        bench.source.rewrite("t0", Vec::new()).unwrap();
        assert!(bench.advance());
        bench
    }

    /// An epoch that the clock ends: where it has sources.
    pub fn tick(&mut self, clock: i64) -> Positions {
        self.replication.tick(clock, true);
        self.cut();
        self.published().boundary.positions.clone()
    }

    /// Whether the source has given something.
    pub fn advance(&mut self) -> bool {
        matches!(self.replication.advance("a").now_or_never(), Some(Ok(true)))
    }

    /// All there is, and an epoch of it.
    pub fn catch_up(&mut self) -> Arc<Published> {
        while self.advance() {}
        self.cut();
        self.published()
    }

    pub fn cut(&mut self) {
        while self.replication.cut().unwrap().is_some() {
            self.replication.publish().unwrap();
        }
    }

    pub fn published(&self) -> Arc<Published> {
        self.replication.reader().published()
    }

    pub fn restart(&mut self) {
        self.disk.crash(&mut Rng::with_seed(1));
        self.replication = open(&self.source, &self.disk);
    }
}

fn open(source: &MemorySource, disk: &Disk) -> Replication {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    Replication::open(disk.open(), vec![("a".into(), source)]).unwrap()
}

pub fn rows(published: &Published, table: usize) -> Bag {
    bag(&published.tables[SPECS[table].name].1)
}

pub fn of(rows: &[&[i64]]) -> Bag {
    let row = |row: &&[i64]| (row.iter().map(|value| Some(*value)).collect(), 1);
    rows.iter().map(row).collect::<BTreeMap<Row, i64>>()
}
