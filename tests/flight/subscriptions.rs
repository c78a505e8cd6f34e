//! `SUBSCRIBE TO` over the wire: a `DoGet` that goes on.

use std::time::Duration;

use belvedere::serve::flight::client::{ConnectOptions, RemoteSession};
use belvedere_connector::Change;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use futures::StreamExt;
use std::sync::Arc;
use tonic::{Code, Status};

use super::support::{Client, Server, query, shown};

const PATIENCE: Duration = Duration::from_secs(30);

fn commit(server: &Server, ids: std::ops::Range<i64>, name: &str) {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(|_| name)));
    let rows = RecordBatch::try_from_iter([("id", id), ("name", names)]).unwrap();
    let weights = vec![1; rows.num_rows()];
    let change = Change::Rows { rows, weights };
    server
        .memory
        .commit(vec![("t".to_string(), change)])
        .unwrap();
}

async fn subscribe(
    client: &mut Client,
    sql: &str,
) -> Result<arrow_flight::decode::FlightRecordBatchStream, Status> {
    let info = client
        .execute(sql.to_string(), None)
        .await
        .map_err(Status::from)?;
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(ticket).await.map_err(Status::from)
}

/// Rows and cursors until an epoch has ended in which a row has this name.
async fn until(
    stream: &mut arrow_flight::decode::FlightRecordBatchStream,
    name: &str,
) -> Result<(usize, String), Status> {
    let (mut rows, mut seen) = (0, false);
    loop {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap();
        let batch = next.expect("it goes on").map_err(Status::from)?;
        let (changes, cursors) = (batch.column(1), batch.column(2).as_string::<i32>());
        let names = batch.column_by_name("name").unwrap().as_string::<i32>();
        for row in 0..batch.num_rows() {
            match changes.is_null(row) {
                true if seen => return Ok((rows, cursors.value(row).to_string())),
                true => {}
                false => {
                    rows += 1;
                    seen |= names.is_valid(row) && names.value(row) == name;
                }
            }
        }
    }
}

const VIEW: &str =
    "CREATE MATERIALIZED VIEW v WITH (refresh = 'on change') AS SELECT id, name FROM mem.t";

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_as_they_are_committed() {
    let server = Server::start().await;
    server.define(VIEW).await;
    let mut client = server.client().await;
    let mut stream = subscribe(&mut client, "SUBSCRIBE TO v").await.unwrap();
    assert_eq!(until(&mut stream, "c").await.unwrap().0, 3);
    commit(&server, 10..12, "later");
    let (rows, cursor) = until(&mut stream, "later").await.unwrap();
    assert_eq!(rows, 2);
    // Who leaves is not there any more, and leaves nothing.
    drop(stream);
    let mut other = server.client().await;
    let count = "SELECT count(*) AS n FROM system.subscriptions";
    let wait = async {
        while shown(&query(&mut other, count).await.unwrap()) != ["0"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    commit(&server, 20..23, "meanwhile");
    let sql = format!("SUBSCRIBE TO v WITH (cursor = '{cursor}')");
    let mut stream = subscribe(&mut client, &sql).await.unwrap();
    assert_eq!(until(&mut stream, "meanwhile").await.unwrap().0, 3);
    // The end of a view is an error that a client can tell from others.
    server.define("DROP MATERIALIZED VIEW v").await;
    let e = until(&mut stream, "never").await.unwrap_err();
    assert_eq!(e.code(), Code::Aborted);
    assert_eq!(
        e.metadata().get("belvedere-code").unwrap(),
        "subscription_ended"
    );
    server.define(VIEW).await;
    let e = match subscribe(&mut client, &sql).await {
        Ok(mut stream) => until(&mut stream, "never").await.unwrap_err(),
        Err(e) => e,
    };
    assert_eq!(e.code(), Code::InvalidArgument);
    assert_eq!(
        e.metadata().get("belvedere-code").unwrap(),
        "cursor_foreign"
    );
    // It has no count.
    let e = client
        .execute_update("SUBSCRIBE TO v".to_string(), None)
        .await;
    assert_eq!(Status::from(e.unwrap_err()).code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_holds_no_memory() {
    let server = Server::start().await;
    server.define(VIEW).await;
    let mut client = server.large_client().await;
    let mut stream = subscribe(&mut client, "SUBSCRIBE TO v").await.unwrap();
    until(&mut stream, "c").await.unwrap();
    let large = "x".repeat(1 << 20);
    let mut reader = server.client().await;
    for n in 0..24 {
        commit(&server, 100 + n * 8..108 + n * 8, &large);
        let seen = format!("SELECT count(*) AS n FROM v WHERE id >= {}", 100 + n * 8);
        let wait = async {
            while shown(&query(&mut reader, &seen).await.unwrap()) != ["8"] {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
    // No more waits for it than is kept for all.
    let waiting = "SELECT max(waiting_bytes) <= 80000000 AS few FROM system.subscriptions";
    assert_eq!(shown(&query(&mut reader, waiting).await.unwrap()), ["true"]);
    let e = until(&mut stream, "never").await.unwrap_err();
    assert_eq!(e.code(), Code::ResourceExhausted);
    assert_eq!(
        e.metadata().get("belvedere-code").unwrap(),
        "subscription_too_slow"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shells_client_is_told_that_it_goes_on() {
    let server = Server::start().await;
    let session = RemoteSession::connect(&server.url(), ConnectOptions::default())
        .await
        .unwrap();
    session.set("statement_timeout", "2s").await.unwrap();
    let sql = "SUBSCRIBE TO (SELECT id, name FROM mem.t WHERE name IS NOT NULL)";
    let mut answer = session.execute(sql).await.unwrap();
    assert!(answer.is_query && answer.goes_on);
    assert!(!session.execute("SELECT 1").await.unwrap().goes_on);
    // The limit of a statement is not one of a subscription.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    commit(&server, 50..51, "slow");
    let wait = async {
        while let Some(batch) = answer.stream.next().await {
            let batch = batch.unwrap();
            let names = batch
                .column_by_name("name")
                .unwrap()
                .as_string::<i32>()
                .clone();
            if names.iter().any(|name| name == Some("slow")) {
                return;
            }
        }
        panic!("it has ended");
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    // A server that stops ends what goes on.
    let ended = tokio::spawn(async move {
        while let Some(batch) = answer.stream.next().await {
            if let Err(e) = batch {
                return e.code;
            }
        }
        "none".to_string()
    });
    server.stop().await;
    assert_ne!(
        tokio::time::timeout(PATIENCE, ended)
            .await
            .unwrap()
            .unwrap(),
        "none"
    );
}
