//! Materialized views that are kept by change, and change as time passes.

use std::sync::Arc;
use std::time::Duration;

use belvedere::Session;
use belvedere_memory::{MemorySource, MemoryTable};
use chrono::Utc;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use insta::assert_snapshot;

use crate::fixture::shown;
use crate::follower::{Follower, Rows, rows};
use crate::memory::{InMemory, rows as changed};

const PATIENCE: Duration = Duration::from_secs(20);
const SECOND: i64 = 1_000_000;

/// Microseconds since 1970.
fn now() -> i64 {
    Utc::now().timestamp_micros()
}

fn orders(rows: &[(i64, i64)]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]);
    let columns: [ArrayRef; 2] = [
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(
            rows.iter().map(|r| r.1),
        )),
    ];
    RecordBatch::try_new(Arc::new(schema), columns.to_vec()).unwrap()
}

/// Orders by their numbers, and when each was made.
async fn shop(rows: &[(i64, i64)]) -> InMemory {
    let rows = orders(rows);
    let table = MemoryTable::new(rows.schema(), vec![rows]).with_primary_key(&["id"]);
    InMemory::new(MemorySource::new("shop").with_table("orders", table)).await
}

async fn keep(shop: &InMemory, view: &str, query: &str) {
    shop.ok(&format!(
        "CREATE MATERIALIZED VIEW {view} WITH (refresh = 'on change') AS {query}"
    ))
    .await;
}

fn ids(ids: &[i64]) -> Rows {
    ids.iter().map(|id| (vec![id.to_string()], 1)).collect()
}

async fn until(session: &Session, query: &str, expected: Rows) {
    let wait = async {
        while rows(session, query).await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "{query} does not give {expected:?}");
}

#[tokio::test]
async fn rows_come_and_go_though_nothing_is_committed() {
    let shop = shop(&[(1, now() - 3600 * SECOND)]).await;
    let query =
        "SELECT id FROM shop.orders WHERE at BETWEEN now() - INTERVAL '3 seconds' AND now()";
    keep(&shop, "recent", query).await;
    keep(&shop, "recently", "SELECT count(*) AS n FROM recent").await;
    let query = "SELECT id FROM shop.orders WHERE at > now()";
    keep(&shop, "later", query).await;
    let mut told = Follower::of(&shop.session, "SUBSCRIBE TO recent").await;
    told.next().await.unwrap();
    assert_eq!(told.rows, ids(&[]));
    let begin = now();
    let more = orders(&[(2, begin + 3 * SECOND), (3, begin + 3600 * SECOND)]);
    shop.commit(vec![("orders", changed(more, 1))]);
    until(&shop.session, "SELECT * FROM later", ids(&[2, 3])).await;
    for recent in [&[2][..], &[]] {
        until(&shop.session, "SELECT * FROM recent", ids(recent)).await;
        // With the same epoch, also what reads the view, and another view.
        let both = "SELECT (SELECT n FROM recently) AS n, id FROM later";
        let n = recent.len().to_string();
        let expected = Rows::from([(vec![n, "3".to_string()], 1)]);
        assert_eq!(rows(&shop.session, both).await, expected);
        while told.rows != ids(recent) {
            told.next().await.unwrap();
        }
    }
    assert!(now() >= begin + 6 * SECOND);
    // A change is one as of when it comes: what was made just now is recent.
    shop.commit(vec![("orders", changed(orders(&[(4, now())]), 1))]);
    until(&shop.session, "SELECT * FROM recent", ids(&[4])).await;
    until(&shop.session, "SELECT * FROM recent", ids(&[])).await;
}

/// Whoever reads sees what is due, however long nobody looked.
#[tokio::test]
async fn a_read_is_not_late() {
    let begin = now();
    let later: Vec<(i64, i64)> = (1..=400)
        .map(|id| (id, begin + id * SECOND / 100))
        .collect();
    let shop = shop(&later).await;
    keep(
        &shop,
        "made",
        "SELECT id, at FROM shop.orders WHERE at <= now()",
    )
    .await;
    keep(
        &shop,
        "waits",
        "SELECT id, at FROM shop.orders WHERE at > now()",
    )
    .await;
    loop {
        let asked = now();
        // Of one moment, there is each order in one of the two.
        let sql =
            "SELECT (SELECT count(*) FROM made) AS made, (SELECT count(*) FROM waits) AS waits";
        let counts = rows(&shop.session, sql).await;
        let counts: Vec<i64> = counts
            .keys()
            .next()
            .unwrap()
            .iter()
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(counts[0] + counts[1], 400);
        let due = ((asked - begin) / (SECOND / 100)).min(400);
        assert!(counts[0] >= due - 11, "{counts:?} when {due} are due");
        if counts[0] == 400 {
            break;
        }
    }
}

#[tokio::test]
async fn time_passes_while_the_engine_is_not_there() {
    let shop = shop(&[(1, now())]).await;
    let query = "SELECT id FROM shop.orders WHERE at > now()";
    keep(&shop, "later", query).await;
    let query = "SELECT max(at) AS at FROM shop.orders WHERE at <= now()";
    keep(&shop, "last", query).await;
    let begin = now();
    let more = orders(&[(2, begin + 4 * SECOND), (3, begin + 3600 * SECOND)]);
    shop.commit(vec![("orders", changed(more, 1))]);
    let mut told = Follower::of(&shop.session, "SUBSCRIBE TO later").await;
    while told.rows != ids(&[2, 3]) {
        told.next().await.unwrap();
    }
    let (cursor, before) = (told.cursor.clone(), told.rows.clone());
    drop(told);
    let shop = shop
        .restarted_after(|_| {
            let rest = begin + 4 * SECOND + SECOND / 5 - now();
            std::thread::sleep(Duration::from_micros(rest.max(0) as u64));
        })
        .await;
    // What was due meanwhile is there with the first answer.
    assert_eq!(rows(&shop.session, "SELECT * FROM later").await, ids(&[3]));
    let last = rows(
        &shop.session,
        "SELECT last.at FROM last JOIN shop.orders o ON o.at = last.at AND o.id = 2",
    );
    assert_eq!(last.await.len(), 1);
    // A cursor goes on: that a row went is told.
    let sql = format!("SUBSCRIBE TO later WITH (cursor = '{cursor}')");
    let mut told = Follower::going_on(&shop.session, &sql, before).await;
    while told.rows != ids(&[3]) {
        told.next().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_of_its_time_says_so() {
    let shop = shop(&[]).await;
    let create =
        |query: &str| format!("CREATE MATERIALIZED VIEW v WITH (refresh = 'on change') AS {query}");
    let refused = async |query: &str| {
        let e = shown(&shop.session, &create(query)).await;
        e.unwrap_err().to_string()
    };
    let first = refused("SELECT id, now() AS at FROM shop.orders").await;
    assert_snapshot!(first, @"view v cannot be kept by change: now(): its value changes while no table does. It can be kept in conditions that compare rows with it, as in WHERE ordered_at > now() - INTERVAL '1 hour': <, <=, >, >=, = or BETWEEN, with the row on one side, and on the other now() or current_date, plus or minus intervals, cast to a date or timestamp, in date_trunc() or date_bin(). Recompute it instead: refresh = 'every 1 minute', or 'on read' with a max_staleness");
    for query in [
        "SELECT id FROM shop.orders WHERE now() - at < INTERVAL '1 day'",
        "WITH c AS (SELECT now() AS t) SELECT id, t FROM shop.orders, c",
    ] {
        assert_eq!(refused(query).await, first, "{query}");
    }
    // Beyond what a timestamp can hold.
    let never = refused("SELECT id FROM shop.orders WHERE at < now() + INTERVAL '300000 years'");
    let never = never.await;
    assert!(
        never.starts_with("view v cannot be kept by change: the query: "),
        "{never}"
    );
    // Not so a virtual view over it, and one that is computed anew.
    shop.ok("CREATE VIEW with_time AS SELECT id, now() AS t FROM shop.orders WHERE at < now()")
        .await;
    shop.ok("CREATE MATERIALIZED VIEW m AS SELECT * FROM with_time")
        .await;
    assert_eq!(rows(&shop.session, "SELECT * FROM m").await.len(), 0);
    // A condition over a virtual view's columns is one over the table's.
    shop.ok(&create("SELECT id FROM with_time WHERE id > 3"))
        .await;
    shop.commit(vec![("orders", changed(orders(&[(2, 0), (4, 0)]), 1))]);
    until(&shop.session, "SELECT * FROM v", ids(&[4])).await;
}
