//! The engine's own reader of changes, over restarts.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use belvedere::replication::{Boundary, Checkpoint, Durable, Reader, Replication, State, Wanted};
use belvedere_connector::{Captured, Table};

use super::applied::{Row, texts};
use super::world::{SOON, World, Writers, assert_rows, changing, opened, scanned, shown};
use crate::fixture::Fixture;
use crate::suite::Outcome;

/// What survives the reader, though not the process.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<(Option<Checkpoint>, Vec<Boundary>)>>);

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut (Option<Checkpoint>, Vec<Boundary>)) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Durable for Memory {
    fn record(&mut self, boundary: &Boundary) -> io::Result<()> {
        self.with(|kept| kept.1.push(boundary.clone()));
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        self.with(|kept| *kept = (Some(checkpoint.clone()), Vec::new()));
        Ok(())
    }

    fn recover(&mut self) -> io::Result<(Option<Checkpoint>, Vec<Boundary>)> {
        Ok(self.with(|kept| kept.clone()))
    }
}

const NAME: &str = "replicas";

/// `known`: what was discovered, which an engine keeps.
fn open(fixture: &Arc<dyn Fixture>, durable: &Memory, known: &[Table]) -> Replication {
    let source = opened(fixture, NAME, changing(fixture).definition());
    source.remember(known);
    Replication::open(Box::new(durable.clone()), vec![(NAME.to_string(), source)])
        .expect("what was written can be read")
}

/// Take steps until what is published is at or behind where the source is now.
async fn catch_up(replication: &mut Replication, world: &mut World) {
    let to = world.source.position().await.expect("a position");
    let reader = replication.reader();
    let reached = |reader: &Reader| {
        let published = reader.published();
        let is_live = |name: &str| matches!(published.tables.get(name), Some((State::Live, _)));
        let is_all = world
            .tables
            .iter()
            .all(|captured| is_live(&captured.table.name));
        let position = published.boundary.positions.get(NAME);
        is_all && position.is_some_and(|position| *position >= to)
    };
    let work = async {
        while !reached(&reader) {
            steps(replication, Duration::from_millis(20)).await;
        }
    };
    let states = tokio::time::timeout(SOON, work).await;
    assert!(states.is_ok(), "{:?}", replication.states());
}

/// What there is to do, for a while, and an epoch.
async fn steps(replication: &mut Replication, time: Duration) {
    let until = tokio::time::Instant::now() + time;
    while let Ok(step) = tokio::time::timeout_at(until, replication.advance(NAME)).await {
        match step {
            Ok(true) => {}
            // It waits for the epoch; who waits for this has a deadline.
            Ok(false) => {
                tokio::task::yield_now().await;
                break;
            }
            // It was cut, and is asked again.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    if replication.cut().expect("memory takes all").is_some() {
        replication.publish().expect("memory takes all");
    }
}

async fn check(reader: Reader, world: &mut World) {
    let published = reader.published();
    for captured in &world.tables {
        let (_, content) = &published.tables[&captured.table.name];
        let columns: Vec<usize> = (0..shown(world.source.as_ref(), captured)).collect();
        let mut rows: Vec<Row> = Vec::new();
        for batch in content.scan(&columns) {
            rows.extend(texts(&batch.expect("content can be read")));
        }
        rows.sort_unstable();
        let expected = scanned(&world.fixture, world.source.as_ref(), captured).await;
        assert_rows(rows, expected, captured);
    }
}

fn wanted(world: &World, captured: &Captured) -> Wanted {
    let identity = world.source.identity(&captured.table);
    let numbers = identity.map(|columns| {
        let number = |column: &String| captured.schema.index_of(column).expect("a column");
        columns.iter().map(number).collect()
    });
    Wanted {
        source: NAME.to_string(),
        captured: captured.clone(),
        key: None,
        indexes: numbers.into_iter().collect(),
        is_watched: false,
    }
}

pub(crate) async fn replicas_over_restarts(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    let tables = ["first", "second", "bare"];
    for table in tables {
        changing(&fixture).create(table, table != "bare").await;
    }
    let mut world = World::new(&fixture, NAME, &tables).await;
    let durable = Memory::default();
    let known = world.source.discover().await.expect("a discovery");
    let mut replication = open(&fixture, &durable, &known);
    let writers = Writers::start(&fixture, &tables, 4);
    for captured in &world.tables {
        let name = &captured.table.name;
        let added = replication.add(name, wanted(&world, captured));
        added.expect("memory takes all");
        steps(&mut replication, Duration::from_millis(150)).await;
    }
    catch_up(&mut replication, &mut world).await;
    // From here on there is nothing to copy.
    for table in tables {
        changing(&fixture).forbid(table).await;
    }
    for i in 0..5 {
        steps(&mut replication, Duration::from_millis(100)).await;
        match i % 3 {
            0 => changing(&fixture).cut().await,
            1 => replication.checkpoint().expect("memory takes all"),
            _ => {
                drop(replication);
                replication = open(&fixture, &durable, &known);
            }
        }
    }
    writers.end().await;
    catch_up(&mut replication, &mut world).await;
    check(replication.reader(), &mut world).await;
    drop(replication);
    world.finish().await;
    Ok(())
}
