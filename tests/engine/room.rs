//! Views that are kept by change where memory is scarce: who needs more waits, others go on.

use std::sync::Arc;
use std::time::Duration;

use belvedere_memory::{MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use insta::assert_snapshot;

use crate::fixture::{shown, until};
use crate::follower::Follower;
use crate::memory::{InMemory, rows as changed};

const PATIENCE: Duration = Duration::from_secs(60);
const LIMIT: usize = 4 << 20;

/// A source with tables of a number and a text: `many` has a thousand rows, `few` ten, `large` as many as it is given.
struct Texts(InMemory);

impl std::ops::Deref for Texts {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.0
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("text", DataType::Utf8, false),
    ]))
}

fn texts(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Int64Array = numbers.into_iter().map(Some).collect();
    let texts = numbers.values().iter();
    let texts = texts.map(|n| format!("{n:0>100}"));
    let columns: [ArrayRef; 2] = [
        Arc::new(texts.map(Some).collect::<StringArray>()),
        Arc::new(numbers),
    ];
    let [texts, numbers] = columns;
    RecordBatch::try_new(schema(), vec![numbers, texts]).unwrap()
}

/// Ten times what `many` has.
const COPIES: &str = "SELECT a.n, a.text, b.n AS copy FROM s.many a, s.few b";
const COUNT: &str = "SELECT count(*) AS n, sum(n) AS sum FROM s.few";

impl Texts {
    async fn new(large: i64) -> Self {
        Self::within(large, LIMIT).await
    }

    async fn within(large: i64, limit: usize) -> Self {
        let table = |rows| MemoryTable::new(schema(), vec![rows]).with_primary_key(&["n"]);
        let source = MemorySource::new("s")
            .with_table("many", table(texts(0..1_000)))
            .with_table("few", table(texts(0..10)))
            .with_table("large", table(texts(0..large)));
        Self(InMemory::within(source, limit).await)
    }

    async fn create(&self, view: &str, query: &str) {
        self.ok(&format!(
            "CREATE MATERIALIZED VIEW {view} WITH (refresh = 'on change') AS {query}"
        ))
        .await;
    }

    fn change(&self, table: &str, rows: impl IntoIterator<Item = i64>, weight: i64) {
        self.commit(vec![(table, changed(texts(rows), weight))]);
    }

    /// The view is what its query is, added up.
    async fn until_same(&self, view: &str, query: &str) {
        let of = |from: &str| format!("SELECT count(*) AS n, sum(n) AS sum FROM {from}");
        let expected = self.ok(&of(&format!("({query}) q"))).await;
        until(&self.session, &of(view), &expected, PATIENCE).await;
    }

    async fn until_state(&self, view: &str, state: &str) {
        let sql = format!("SELECT state FROM system.views WHERE name = '{view}'");
        let expected = self.ok(&format!("SELECT '{state}' AS state")).await;
        until(&self.session, &sql, &expected, PATIENCE).await;
    }

    async fn err(&self, sql: &str) -> belvedere::Error {
        match shown(&self.session, sql).await {
            Ok(answer) => panic!("{sql} succeeded:\n{answer}"),
            Err(e) => e,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_does_not_fit_waits_and_others_go_on() {
    let t = Texts::new(0).await;
    t.create("fits", COUNT).await;
    t.until_same("fits", COUNT).await;
    t.create("copies", COPIES).await;
    t.until_same("copies", COPIES).await;
    t.create("of_copies", "SELECT max(copy) AS n FROM copies")
        .await;
    t.until_state("of_copies", "live").await;
    let told = &mut Follower::of(&t.session, "SUBSCRIBE TO copies").await;
    told.until_same(&t.session, COPIES).await;
    let before = t.ok("SELECT count(*) AS n FROM copies").await;
    let is_known = "SELECT age_ms IS NOT NULL AS known FROM system.views WHERE name = 'copies'";
    let known = "+-------+\n| known |\n+-------+\n| true  |\n+-------+";
    until(&t.session, is_known, known, PATIENCE).await;

    // A transaction that there is no room for: the view stays as it was, and so does what reads it.
    t.change("many", 1_000..4_000, 1);
    t.until_state("copies", "paused").await;
    assert_eq!(t.ok("SELECT count(*) AS n FROM copies").await, before);
    assert_snapshot!(t.ok("SELECT name, state, reason FROM system.views ORDER BY 1").await, @r"
    +-----------+--------+---------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | name      | state  | reason                                                                                                                                                                                                                                                        |
    +-----------+--------+---------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | copies    | paused | it needs more memory than there is: what is kept by change may take 4MB (kept_memory_limit). It goes on by itself once there is room: DROP a materialized view that is not needed, or start the engine with a larger limit                                    |
    | fits      | live   |                                                                                                                                                                                                                                                               |
    | of_copies | paused | it reads view copies, which waits: it needs more memory than there is: what is kept by change may take 4MB (kept_memory_limit). It goes on by itself once there is room: DROP a materialized view that is not needed, or start the engine with a larger limit |
    +-----------+--------+---------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    ");
    let plan = t.ok("EXPLAIN SELECT count(*) AS n FROM copies").await;
    assert!(plan.contains(" ms old, paused)"), "{plan}");
    let snapshots = t.source.snapshots();
    for i in 10..20 {
        t.change("few", [i], 1);
        t.until_same("fits", COUNT).await;
    }
    assert_eq!(t.ok("SELECT count(*) AS n FROM copies").await, before);
    t.until_state("fits", "live").await;
    t.ok("ALTER MATERIALIZED VIEW copies SET (max_staleness = '100ms')")
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Its copy is too old: its query answers.
    let live = t
        .ok(&format!("SELECT count(*) AS n FROM ({COPIES}) q"))
        .await;
    assert_ne!(live, before);
    assert_eq!(t.ok("SELECT count(*) AS n FROM copies").await, live);
    let plan = t.ok("EXPLAIN SELECT count(*) AS n FROM copies").await;
    let why = " ms old, and may be 100 ms old: it needs more";
    assert!(
        plan.contains("Read live instead of copies") && plan.contains(why),
        "{plan}"
    );
    t.ok("ALTER MATERIALIZED VIEW copies RESET (max_staleness)")
        .await;

    // Rows go, and it goes on where it was: who was told what changes is told the rest.
    // At once: between the two it would have more rows than before, and whoever subscribes to it could ask for them.
    t.commit(vec![
        ("many", changed(texts(900..4_000), -1)),
        ("few", changed(texts(10..20), -1)),
    ]);
    t.until_same("copies", COPIES).await;
    t.until_state("of_copies", "live").await;
    told.until_same(&t.session, COPIES).await;
    t.until_same("fits", COUNT).await;
    assert_eq!(t.source.snapshots(), snapshots, "nothing is copied anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_a_dropped_view_leaves_is_used() {
    let t = Texts::new(0).await;
    t.create("copies", COPIES).await;
    t.until_same("copies", COPIES).await;
    // Neither has more than half, both together have too much.
    let more = "SELECT a.n, a.text || b.text AS text FROM s.many a, s.few b";
    t.create("more", more).await;
    t.until_state("more", "paused").await;
    let e = t.err("SELECT * FROM more").await;
    assert_eq!(e.code(), "kept_memory");
    assert_snapshot!(e.to_string(), @"materialized view more is not filled yet: it needs more memory than there is: what is kept by change may take 4MB (kept_memory_limit). It goes on by itself once there is room: DROP a materialized view that is not needed, or start the engine with a larger limit");
    t.change("many", [5_000], 1);
    t.until_same("copies", COPIES).await;
    // Over a restart, too; the one that was there first is the one that is there.
    let t = Texts(t.0.restarted().await);
    t.until_same("copies", COPIES).await;
    t.until_state("more", "paused").await;
    t.change("many", [5_001], 1);
    t.until_same("copies", COPIES).await;
    t.ok("DROP MATERIALIZED VIEW copies").await;
    t.until_same("more", more).await;
    t.create("copies", COPIES).await;
    t.until_state("copies", "paused").await;
    // Or the limit is raised.
    let t = Texts(t.0.restarted_within(4 * LIMIT).await);
    t.until_same("copies", COPIES).await;
    t.until_same("more", more).await;
    let memory =
        "SELECT count(*) AS n FROM system.views WHERE memory_bytes BETWEEN 1000000 AND 10000000";
    assert!(t.ok(memory).await.contains("| 2 |"));
}

/// A table that is too large is not copied, and neither stops others of its source.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_is_not_copied() {
    let t = Texts::new(40_000).await;
    let large = "SELECT count(*) AS n, sum(length(text)) AS length FROM s.large";
    t.create("large", large).await;
    t.until_state("large", "paused").await;
    t.create("fits", COUNT).await;
    t.until_same("fits", COUNT).await;
    for i in 10..15 {
        t.change("few", [i], 1);
        t.change("large", [i], -1);
        t.until_same("fits", COUNT).await;
    }
    t.until_state("large", "paused").await;
    let snapshots = t.source.snapshots();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(
        t.source.snapshots(),
        snapshots,
        "it is not tried again and again"
    );
    let t = Texts(t.0.restarted_within(64 * LIMIT).await);
    let expected = t.ok(large).await;
    until(&t.session, "SELECT * FROM large", &expected, PATIENCE).await;
}

/// Changes that grow beyond the limit stay in the source's log until there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_as_far_as_there_is_room() {
    let t = Texts::within(0, LIMIT / 4).await;
    let all = "SELECT count(*) AS n, sum(n) AS sum FROM s.large";
    t.create("counted", all).await;
    t.until_same("counted", all).await;
    for i in 0..60 {
        t.change("large", i * 1_000..(i + 1) * 1_000, 1);
    }
    t.until_state("counted", "paused").await;
    let read = t.ok("SELECT n < 60000 AS less FROM counted").await;
    assert!(read.contains("| true |"), "{read}");
    let snapshots = t.source.snapshots();
    let t = Texts(t.0.restarted_within(16 * LIMIT).await);
    t.until_same("counted", all).await;
    t.until_state("counted", "live").await;
    assert_eq!(t.source.snapshots(), snapshots, "nothing is copied anew");
}
