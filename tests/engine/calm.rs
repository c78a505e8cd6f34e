//! A slow client, or a query that waits for another source, keeps nobody from a source.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use futures::StreamExt;

use crate::fixture::{Fixture, database};

const ROWS: i64 = 200_000;
/// Far more than anything here takes, so that what hangs fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two sources that answer so many at once.
async fn fixture(connections: usize) -> Fixture {
    let fixture = Fixture::empty().await;
    for name in ["left", "right"] {
        database(
            &fixture.path(&format!("{name}.db")),
            &format!(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, pad TEXT);
                 WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < {ROWS})
                 INSERT INTO t SELECT x, x % 1000, 'a pad of some letters ' || x FROM i;"
            ),
        );
        fixture
            .ok(&format!(
                "CREATE SOURCE \"{name}\" FROM 'sqlite:{name}.db' WITH (max_connections = {connections}, queue_timeout = '10min')"
            ))
            .await;
    }
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_frees_the_source() {
    let fixture = fixture(1).await;
    let query = "SELECT id, pad FROM \"left\".t";
    let mut slow = fixture.session.execute(query).await.unwrap();
    let first = slow.stream.next().await.unwrap().unwrap();
    let running =
        "SELECT running, max_connections, waiting FROM system.sources WHERE name = 'left'";
    insta::assert_snapshot!(fixture.ok(running).await, @r"
    +---------+-----------------+---------+
    | running | max_connections | waiting |
    +---------+-----------------+---------+
    | 1       | 1               | 0       |
    +---------+-----------------+---------+
    ");
    let other = fixture.ok("SELECT count(*) AS n FROM \"left\".t WHERE n = 7");
    let other = tokio::time::timeout(PATIENCE, other).await.unwrap();
    assert!(other.contains("| 200 |"), "{other}");
    insta::assert_snapshot!(fixture.ok(running).await, @r"
    +---------+-----------------+---------+
    | running | max_connections | waiting |
    +---------+-----------------+---------+
    | 0       | 1               | 0       |
    +---------+-----------------+---------+
    ");
    // What was put aside is all there, in its order.
    let mut batches = vec![first];
    while let Some(batch) = slow.stream.next().await {
        batches.push(batch.unwrap());
    }
    let ids = batches.iter().flat_map(|batch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    });
    assert!(ids.eq(1..=ROWS));
    let asked = "SELECT state, rows, expected_rows, spilled, text, bytes > 0 AS moved, duration_ms >= first_row_ms AS timed, error
                 FROM system.fragments WHERE source = 'left' ORDER BY asked_at";
    insta::assert_snapshot!(fixture.ok(asked).await, @r#"
    +----------+--------+---------------+---------+-------------------------------------------------------------------------------------------+-------+-------+-------+
    | state    | rows   | expected_rows | spilled | text                                                                                      | moved | timed | error |
    +----------+--------+---------------+---------+-------------------------------------------------------------------------------------------+-------+-------+-------+
    | finished | 200000 | 200000        | true    | SELECT t0."id", t0."pad" FROM "main"."t" AS t0                                            | true  | true  |       |
    | finished | 1      | 1             | false   | SELECT count(*) AS c0 FROM "main"."t" AS t0 WHERE t0."n" = ?1 AND must_be_integer(t0."n") | true  | true  |       |
    +----------+--------+---------------+---------+-------------------------------------------------------------------------------------------+-------+-------+-------+
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_dropped_frees_the_source() {
    let fixture = fixture(1).await;
    for _ in 0..20 {
        let mut begun = fixture
            .session
            .execute("SELECT id, pad FROM \"left\".t")
            .await
            .unwrap();
        begun.stream.next().await.unwrap().unwrap();
    }
    let other = fixture.ok("SELECT count(*) AS n FROM \"left\".t");
    tokio::time::timeout(PATIENCE, other).await.unwrap();
}

/// Merging keeps a stream of each source open, in either order: each could hold what another waits for.
#[tokio::test(flavor = "multi_thread")]
async fn no_query_holds_a_source_while_it_waits_for_another() {
    let fixture = Arc::new(fixture(2).await);
    let queries = (0..40).map(|i| {
        let fixture = fixture.clone();
        let (a, b) = match i % 2 {
            0 => ("left", "right"),
            _ => ("right", "left"),
        };
        tokio::spawn(async move {
            let query = format!(
                "SELECT a.id, b.pad FROM \"{a}\".t AS a JOIN \"{b}\".t AS b ON a.id = b.id AND a.n = b.n
                 WHERE a.n > {i} AND b.n > {i}"
            );
            let setting = ("dynamic_filters".to_string(), "off".to_string());
            let mut answer = fixture.session.execute_with(&query, &[setting]).await.unwrap();
            let mut rows = 0;
            while let Some(batch) = answer.stream.next().await {
                rows += batch.unwrap().num_rows() as i64;
                tokio::task::yield_now().await;
            }
            assert_eq!(rows, (999 - i) * ROWS / 1000, "{query}");
        })
    });
    let all = futures::future::join_all(queries.collect::<Vec<_>>());
    for result in tokio::time::timeout(PATIENCE, all).await.unwrap() {
        result.unwrap();
    }
}

/// Both sides of a union are merged by their order, each a stream of the one connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_needs_one_connection_for_any_number_of_fragments() {
    let fixture = fixture(1).await;
    fixture.ok("SET pushdown = off").await;
    let query = "SELECT count(*) AS n, sum(rank) AS ranks FROM (
            SELECT a.id, row_number() OVER (ORDER BY a.id) AS rank FROM \"left\".t AS a
            UNION ALL SELECT b.id, row_number() OVER (ORDER BY b.id) FROM \"left\".t AS b
            UNION ALL SELECT c.id, row_number() OVER (ORDER BY c.id) FROM \"right\".t AS c) AS u";
    let found = tokio::time::timeout(PATIENCE, fixture.ok(query))
        .await
        .unwrap();
    insta::assert_snapshot!(found, @r"
    +--------+-------------+
    | n      | ranks       |
    +--------+-------------+
    | 600000 | 60000300000 |
    +--------+-------------+
    ");
}

/// Of three places scans leave one to who looks up a row.
#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_does_not_wait_for_scans() {
    let fixture = fixture(3).await;
    let scans = (0..4).map(|i| {
        let session = fixture.engine.session();
        tokio::spawn(async move {
            let long = format!(
                "SELECT count(*) AS n FROM \"left\".t AS a JOIN \"left\".t AS b ON a.n = b.n WHERE a.id > {i}"
            );
            let answer = session.execute(&long).await.unwrap();
            answer.collect().await.unwrap()
        })
    });
    let scans: Vec<_> = scans.collect();
    let full = "SELECT running = 2 AND waiting > 0 AS met FROM system.sources WHERE name = 'left'";
    let are_full = async {
        while !fixture.ok(full).await.contains("| true |") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, are_full).await.unwrap();
    let found = fixture.ok("SELECT n FROM \"left\".t WHERE id = 7");
    let found = tokio::time::timeout(PATIENCE, found).await.unwrap();
    assert!(found.contains("| 7 |"), "{found}");
    let still = fixture.ok(full).await;
    assert!(still.contains("| true |"), "{still}");
    scans.iter().for_each(|scan| scan.abort());
}
