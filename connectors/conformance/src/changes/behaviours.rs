//! Snapshot and stream, one by one.

use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{Capture, Code, Kind};

use super::world::{SOON, World, Writers, assert_rows, captured, changing};
use super::{Edit, Line};
use crate::fixture::{Ability, Fixture};
use crate::suite::Outcome;

const TABLES: [&str; 3] = ["first", "second", "bare"];

/// Tables with keys, and one without.
async fn created(fixture: &Arc<dyn Fixture>) {
    for table in TABLES {
        changing(fixture).create(table, table != "bare").await;
    }
}

fn line(id: i64, n: i64, v: &str) -> Edit {
    let (n, v) = (Some(n), Some(v.to_string()));
    Edit::Set(Line { id, n, v })
}

/// A transaction of one table.
async fn commit(fixture: &Arc<dyn Fixture>, table: &str, edits: &[Edit]) {
    let edits: Vec<_> = edits
        .iter()
        .map(|edit| (table.to_string(), edit.clone()))
        .collect();
    changing(fixture).transact(0, &edits, true).await;
}

pub(crate) async fn snapshot_meets_stream(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    created(&fixture).await;
    let mut world = World::new(&fixture, "meets", &TABLES).await;
    assert!(
        world.source.capture() > Capture::PerRow,
        "{:?}",
        world.source.capture()
    );
    let writers = Writers::start(&fixture, &TABLES, 1);
    world.follow().await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // What was told up to a later snapshot is what that has.
        let mut later = super::Applied::default();
        let copied = later.copy(world.source.as_ref(), &world.tables).await;
        let at = copied.expect("a later snapshot");
        let stream = world.stream.as_mut().expect("a stream");
        let told = world.applied.exactly(stream.as_mut(), &at);
        let told = tokio::time::timeout(SOON, told).await.expect("it is told");
        told.expect("the stream goes on");
        for captured in &world.tables {
            let table = &captured.table.name;
            match fixture.lacks(Ability::Logs) {
                None => assert_rows(world.applied.sorted(table), later.sorted(table), captured),
                // A look may have seen more of one table than of another; what is told from here on makes up for it.
                Some(_) => world.applied.adopt(table, later.clone()),
            }
        }
    }
    let stream = world.stream.as_mut().expect("a stream");
    let told = world.applied.at_least(stream.as_mut(), 21);
    let told = tokio::time::timeout(SOON, told).await.expect("it is told");
    told.expect("the stream goes on");
    writers.end().await;
    world.catch_up().await;
    world.check().await;
    assert!(
        world.applied.transactions > 20,
        "{}",
        world.applied.transactions
    );
    world.finish().await;
    Ok(())
}

pub(crate) async fn resumes_without_a_snapshot(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    created(&fixture).await;
    let mut world = World::new(&fixture, "resumes", &TABLES).await;
    world.follow().await;
    for table in TABLES {
        changing(&fixture).forbid(table).await;
    }
    let writers = Writers::start(&fixture, &TABLES, 2);
    let mut rng = fastrand::Rng::with_seed(2);
    for i in 0..8 {
        let until = tokio::time::Instant::now() + Duration::from_millis(rng.u64(0..150));
        let stream = world.stream.as_mut().expect("a stream");
        // Time is looked at, too, while there is always more to read.
        while tokio::time::Instant::now() < until
            && let Ok(told) = tokio::time::timeout_at(until, stream.next()).await
        {
            world.applied.take(told.expect("it was not cut yet"));
        }
        if i % 2 == 0 {
            let position = world.applied.position.clone().expect("a position");
            stream
                .acknowledge(&position)
                .await
                .expect("the stream goes on");
        }
        changing(&fixture).cut().await;
        let ended = async {
            loop {
                match stream.next().await {
                    Ok(told) => world.applied.take(told),
                    Err(e) => break e,
                }
            }
        };
        let error = tokio::time::timeout(SOON, ended).await.expect("it is cut");
        assert_eq!(error.kind(), Kind::Transient, "{error}");
        world.reopen().await;
    }
    writers.end().await;
    world.catch_up().await;
    world.check().await;
    world.finish().await;
    Ok(())
}

pub(crate) async fn a_table_later(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    created(&fixture).await;
    let mut world = World::new(&fixture, "later", &["first"]).await;
    world.follow().await;
    let writers = Writers::start(&fixture, &TABLES, 3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // First it is among the stream's, then it is copied; what is in the copy is not counted twice.
    world.tables = captured(&world.source, &["first", "second"]).await;
    world.reopen().await;
    let second = &world.tables[1..];
    let mut copy = super::Applied::default();
    let at = copy
        .copy(world.source.as_ref(), second)
        .await
        .expect("a snapshot");
    let stream = world.stream.as_mut().expect("a stream");
    let told = tokio::time::timeout(SOON, world.applied.exactly(stream.as_mut(), &at)).await;
    told.expect("it is told").expect("the stream goes on");
    world.applied.adopt("second", copy);
    tokio::time::sleep(Duration::from_millis(100)).await;
    writers.end().await;
    world.catch_up().await;
    world.check().await;
    world.finish().await;
    Ok(())
}

pub(crate) async fn what_is_rolled_back_is_not_told(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    if let Some(reason) = fixture.lacks(Ability::Rollbacks) {
        return Err(reason);
    }
    created(&fixture).await;
    let mut world = World::new(&fixture, "rolled_back", &["first"]).await;
    world.follow().await;
    let edits = [("first".to_string(), line(1, 1, "never"))];
    changing(&fixture).transact(0, &edits, false).await;
    commit(&fixture, "first", &[line(2, 2, "kept")]).await;
    changing(&fixture).transact(0, &edits, false).await;
    world.catch_up().await;
    assert_eq!(world.told("first"), [["2", "2", "kept"]]);
    assert_eq!(world.applied.transactions, 1);
    world.finish().await;
    Ok(())
}

pub(crate) async fn large_transactions_and_values(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    created(&fixture).await;
    let mut world = World::new(&fixture, "large", &["first", "bare"]).await;
    let wide = |i: i64| line(i, i, &format!("{i}-").repeat(3000));
    commit(&fixture, "first", &(0..20).map(wide).collect::<Vec<_>>()).await;
    world.follow().await;
    // Without a key each row is looked for among all.
    for (table, rows) in [("first", 20_000), ("bare", 500)] {
        let many: Vec<_> = (0..rows).map(|i| line(i, i, "many")).collect();
        commit(&fixture, table, &many).await;
        let wide: Vec<_> = (0..20).map(wide).collect();
        commit(&fixture, table, &wide).await;
        // What is not touched of a row is as it was, under the same number and another.
        let touched = [
            Edit::Update { id: 1, n: None },
            Edit::Move { id: 2, to: 100_000 },
            Edit::Update {
                id: 100_000,
                n: Some(7),
            },
            Edit::Update {
                id: 100_000,
                n: Some(8),
            },
        ];
        commit(&fixture, table, &touched).await;
    }
    world.catch_up().await;
    assert!(
        world.applied.most_pieces > 1 || fixture.lacks(Ability::Logs).is_some(),
        "a large transaction comes in pieces"
    );
    world.check().await;
    world.finish().await;
    Ok(())
}

pub(crate) async fn columns_that_come_and_go(fixture: Arc<dyn Fixture>) -> Outcome {
    let changing = fixture.changing()?;
    created(&fixture).await;
    let mut world = World::new(&fixture, "drift", &["first", "second"]).await;
    world.follow().await;
    commit(&fixture, "first", &[line(1, 1, "before")]).await;
    commit(&fixture, "second", &[line(1, 1, "before")]).await;
    if fixture.lacks(Ability::Logs).is_some() {
        // What was there before is known to who has looked.
        world.catch_up().await;
    }
    changing.add_column("first").await;
    changing.drop_column("second").await;
    fixture
        .changing()?
        .transact(
            0,
            &[("first".into(), Edit::Update { id: 1, n: Some(2) })],
            true,
        )
        .await;
    fixture
        .changing()?
        .transact(
            0,
            &[("second".into(), Edit::Update { id: 1, n: Some(2) })],
            true,
        )
        .await;
    let ended = async {
        while !world.applied.ended.contains_key("second") {
            let stream = world.stream.as_mut().expect("a stream");
            match stream.next().await {
                Ok(told) => world.applied.take(told),
                // Who looks at it finds it changed for good once it has been so for a while.
                Err(e) if fixture.lacks(Ability::Logs).is_some() => {
                    assert_eq!(e.kind(), Kind::Transient, "{e}");
                    world.reopen().await;
                }
                Err(e) => panic!("the stream goes on: {e}"),
            }
        }
    };
    tokio::time::timeout(SOON, ended).await.expect("it ends");
    world.catch_up().await;
    let why = &world.applied.ended["second"];
    assert_eq!(
        (why.code, why.table.as_deref()),
        (Code::SchemaChanged, Some("second"))
    );
    assert_eq!(world.told("second"), [["1", "1", "before"]]);
    assert_eq!(world.told("first"), [["1", "2", "before"]]);
    assert_eq!(world.applied.ended.len(), 1);
    world.finish().await;
    Ok(())
}

pub(crate) async fn a_lost_log_is_named(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    created(&fixture).await;
    let mut world = World::new(&fixture, "lost", &["first"]).await;
    world.follow().await;
    let from = world.applied.position.clone().expect("a position");
    world.stream = None;
    commit(&fixture, "first", &[line(1, 1, "missed")]).await;
    changing(&fixture).lose_log("lost").await;
    if fixture.lacks(Ability::Logs).is_none() {
        let error = world.source.changes(&from, &world.tables).await.err();
        assert_eq!(error.map(|e| e.code), Some(Code::LogTruncated));
    }
    let nowhere = belvedere_connector::Position::new([1, 2, 3], from.place());
    world.follow().await;
    let error = world.source.changes(&nowhere, &world.tables).await.err();
    assert_eq!(error.map(|e| e.code), Some(Code::LogRewound));
    world.reopen().await;
    commit(&fixture, "first", &[line(2, 2, "told")]).await;
    world.catch_up().await;
    world.check().await;
    world.finish().await;
    Ok(())
}

pub(crate) async fn an_idle_source_is_passed(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.changing()?;
    created(&fixture).await;
    let mut world = World::new(&fixture, "idle", &["first"]).await;
    world.follow().await;
    for _ in 0..3 {
        // What nobody follows moves the log, too.
        commit(&fixture, "second", &[line(1, 1, "of another")]).await;
        world.catch_up().await;
        world.catch_up().await;
    }
    assert_eq!(world.applied.transactions, 0);
    world.finish().await;
    Ok(())
}
