//! Views that are kept by change, each at its own pace: one that takes long holds no other up.

use std::sync::Arc;
use std::time::Duration;

use belvedere_memory::{MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::fixture::until;
use crate::memory::{InMemory, rows as changed};

const PATIENCE: Duration = Duration::from_secs(60);

/// A source with tables of one column, `n`: `many` has numbers up to a thousand, the others nothing.
struct Numbers(InMemory);

impl std::ops::Deref for Numbers {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.0
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn numbers(rows: impl IntoIterator<Item = i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
    RecordBatch::try_new(schema(), vec![column]).unwrap()
}

impl Numbers {
    async fn new() -> Self {
        let table = |rows| MemoryTable::new(schema(), vec![rows]).with_primary_key(&["n"]);
        let source = MemorySource::new("s")
            .with_table("many", table(numbers(0..1_000)))
            .with_table("few", table(numbers([])))
            .with_table("other", table(numbers([])));
        Self(InMemory::new(source).await)
    }

    async fn create(&self, view: &str, query: &str) {
        self.ok(&format!(
            "CREATE MATERIALIZED VIEW {view} WITH (refresh = 'on change') AS {query}"
        ))
        .await;
    }

    fn insert(&self, table: &str, rows: impl IntoIterator<Item = i64>) {
        self.change(table, rows, 1);
    }

    fn change(&self, table: &str, rows: impl IntoIterator<Item = i64>, weight: i64) {
        self.commit(vec![(table, changed(numbers(rows), weight))]);
    }

    async fn until_same(&self, view: &str, query: &str) {
        let expected = self.ok(query).await;
        until(&self.session, view, &expected, PATIENCE).await;
    }

    async fn state(&self, view: &str) -> String {
        let sql = format!("SELECT state FROM system.views WHERE name = '{view}'");
        let answer = self.ok(&sql).await;
        let line = answer.lines().nth(3).unwrap();
        line.trim_matches(['|', ' ']).to_string()
    }
}

/// A billion times a thousand pairs: nobody waits for that.
const ENDLESS: &str = "SELECT count(*) AS pairs FROM s.many a, s.many b, s.many c, s.many d";

#[tokio::test]
async fn a_fill_stops_no_other_view() {
    let t = Numbers::new().await;
    t.create("before", "SELECT count(*) AS n FROM s.few").await;
    t.until_same("SELECT * FROM before", "SELECT count(*) AS n FROM s.few")
        .await;
    t.create("endless", ENDLESS).await;
    t.create("behind", "SELECT pairs + 1 AS more FROM endless")
        .await;
    // It is at work; then others go on, epoch by epoch, also one that comes later.
    let sql = "SELECT input_rows FROM system.views WHERE name = 'endless'";
    let begun = "+------------+\n| input_rows |\n+------------+\n| 4000       |\n+------------+";
    until(&t.session, sql, begun, PATIENCE).await;
    for i in 0..20 {
        t.insert("few", [i]);
        t.until_same("SELECT * FROM before", "SELECT count(*) AS n FROM s.few")
            .await;
        assert_eq!(t.state("endless").await, "filling");
    }
    t.ok("REFRESH MATERIALIZED VIEW before").await;
    assert_eq!(t.state("behind").await, "filling");
    // What is dropped is computed no further, and makes room.
    t.ok("DROP MATERIALIZED VIEW endless CASCADE").await;
    t.create("later", "SELECT max(n) AS n FROM s.few").await;
    t.until_same("SELECT * FROM later", "SELECT max(n) AS n FROM s.few")
        .await;
    // So does one that goes on while the engine ends, and begins again.
    t.create("endless", ENDLESS).await;
    until(&t.session, sql, begun, PATIENCE).await;
    let t = Numbers(t.0.restarted().await);
    t.insert("few", [100]);
    t.until_same("SELECT * FROM before", "SELECT count(*) AS n FROM s.few")
        .await;
}

/// Commits go on while views are filled, and filled again: each comes out as if it had always been there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_filled_meanwhile_has_missed_nothing() {
    let t = Numbers::new().await;
    let pairs = "SELECT a.n % 7 AS n, count(*) AS pairs, sum(b.n) AS sum
        FROM s.many a, s.many b JOIN s.few f ON b.n = f.n GROUP BY a.n % 7";
    t.insert("few", 0..200);
    t.create("pairs", pairs).await;
    t.create(
        "most",
        "SELECT max(sum) AS sum, count(*) AS groups FROM pairs, s.other",
    )
    .await;
    t.create("seen", "SELECT count(*) AS n FROM s.few").await;
    let commits = async || {
        for i in 0..150 {
            t.insert("few", [500 + i]);
            t.insert("other", [i]);
            t.change("few", [i], -1);
            t.change("many", [i], -1);
            t.insert("many", [5_000 + i]);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for i in 0..150 {
            t.change("few", [500 + i], -1);
            t.insert("few", [i]);
            t.change("other", [i], -1);
            t.change("many", [5_000 + i], -1);
            t.insert("many", [i]);
        }
    };
    let refills = async || {
        for _ in 0..3 {
            t.ok("REFRESH MATERIALIZED VIEW pairs FULL").await;
        }
    };
    tokio::join!(commits(), refills());
    t.insert("other", [1, 2]);
    let ordered = format!("SELECT * FROM ({pairs}) q ORDER BY 1");
    t.until_same("SELECT * FROM pairs ORDER BY 1", &ordered)
        .await;
    let most = format!("SELECT max(sum) AS sum, count(*) AS groups FROM ({pairs}) p, s.other");
    t.until_same("SELECT * FROM most", &most).await;
    t.until_same("SELECT * FROM seen", "SELECT count(*) AS n FROM s.few")
        .await;
}

/// What a view reads is copied anew with it, and those that read the same have that as a change.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_begun_anew_reads_its_tables_anew() {
    let t = Numbers::new().await;
    let (total, counts) = (
        "SELECT sum(n) AS n FROM s.few",
        "SELECT count(*) AS n FROM s.few",
    );
    t.create("total", total).await;
    t.create("more", "SELECT n + 1 AS n FROM total").await;
    t.create("counts", counts).await;
    t.insert("few", [1, 2]);
    t.until_same("SELECT * FROM total", total).await;
    t.until_same("SELECT * FROM counts", counts).await;
    for view in ["total", "more"] {
        let copied = t.source.snapshots();
        t.insert("few", [10 + copied as i64]);
        t.ok(&format!("REFRESH MATERIALIZED VIEW {view} FULL"))
            .await;
        assert_eq!(t.source.snapshots(), copied + 1, "{view}");
        t.insert("few", [100 + copied as i64]);
        t.until_same("SELECT * FROM total", total).await;
        t.until_same(
            "SELECT * FROM more",
            &format!("SELECT n + 1 AS n FROM ({total}) q"),
        )
        .await;
        t.until_same("SELECT * FROM counts", counts).await;
    }
}

/// Two views of one table, one of them slower; a statement that reads both finds them at one epoch, whatever is committed.
#[tokio::test(flavor = "multi_thread")]
async fn views_that_are_read_together_are_of_one_epoch() {
    let t = Numbers::new().await;
    t.create("quick", "SELECT count(*) AS n FROM s.few").await;
    let slow = "SELECT count(*) AS n, sum(a.n) AS a FROM s.many a, s.few";
    t.create("slow", slow).await;
    t.create(
        "slower",
        "SELECT s.n, count(*) AS again FROM slow s, s.many a, s.few GROUP BY s.n",
    )
    .await;
    let both = "SELECT q.n * 1000 = s.n AND coalesce(r.n = s.n AND r.again = s.n, s.n = 0) AS same
        FROM quick q, slow s LEFT JOIN slower r ON true";
    let same = "+------+\n| same |\n+------+\n| true |\n+------+";
    let mut seen = std::collections::BTreeSet::new();
    for i in 0..100 {
        t.insert("few", [i]);
        assert_eq!(t.ok(both).await, same);
        seen.insert(t.ok("SELECT n FROM quick").await);
    }
    // They went on meanwhile.
    assert!(seen.len() > 3, "{seen:?}");
    t.until_same("SELECT n, a FROM slow", slow).await;
    assert_eq!(t.ok(both).await, same);
}

/// One that cannot keep up any more leaves the others alone after a while.
#[tokio::test]
async fn a_step_that_takes_too_long_stops_no_other_view() {
    let t = Numbers::new().await;
    t.create("count", "SELECT count(*) AS n FROM s.few").await;
    let endless = ENDLESS.replace("FROM", "FROM s.other o,");
    t.create("endless", &endless).await;
    t.until_same("SELECT pairs FROM endless", "SELECT 0 AS pairs")
        .await;
    let is_known = "SELECT age_ms IS NOT NULL AS known FROM system.views WHERE name = 'endless'";
    let known = "+-------+\n| known |\n+-------+\n| true  |\n+-------+";
    until(&t.session, is_known, known, PATIENCE).await;
    t.insert("other", [1]);
    for i in 0..5 {
        t.insert("few", [i]);
        t.until_same("SELECT * FROM count", "SELECT count(*) AS n FROM s.few")
            .await;
    }
    assert_eq!(t.state("endless").await, "blocked");
    // What it had is there, and says how old it is.
    let old =
        "SELECT pairs, age_ms > 5000 AS old FROM endless, system.views WHERE name = 'endless'";
    let answer = t.ok(old).await;
    assert!(answer.contains("| 0     | true |"), "{answer}");
    t.ok("DROP MATERIALIZED VIEW endless").await;
}
