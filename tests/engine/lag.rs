//! How far views are behind their sources' logs, and a source that is not to keep its log for ever.

use std::time::Duration;

use crate::fixture::{Fixture, until};
use crate::servers::{connected, mysql, postgres};

const PATIENCE: Duration = Duration::from_secs(60);

/// Wait until a query of one value answers with one that is as it should be.
async fn until_one(t: &Fixture, sql: &str, is_good: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    let wait = async {
        loop {
            last = t.ok(sql).await;
            let value = last
                .lines()
                .nth(3)
                .map(|line| line.trim_matches(['|', ' ']));
            if let Some(value) = value.filter(|value| is_good(value)) {
                return value.to_string();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("{sql} gives\n{last}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_would_fill_its_disk_is_let_go() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let client = connected(server.port).await;
    let tables =
        "CREATE TABLE item (id bigint PRIMARY KEY, n bigint); INSERT INTO item VALUES (1, 1);
        CREATE TABLE noise (text text)";
    client.batch_execute(tables).await.unwrap();
    let t = Fixture::empty().await;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{}/postgres' WITH (max_lag = '1GB')",
        server.port
    ))
    .await;
    t.ok(
        "CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change') AS SELECT id, n FROM erp.item",
    )
    .await;
    let same = async || {
        let expected = t.ok("SELECT id, n FROM erp.item ORDER BY id").await;
        until(
            &t.session,
            "SELECT * FROM kept ORDER BY id",
            &expected,
            PATIENCE,
        )
        .await;
    };
    same().await;
    let bytes = "SELECT lag_bytes FROM system.sources WHERE name = 'erp'";
    until_one(&t, bytes, |bytes| bytes.parse::<u64>().is_ok()).await;
    until_one(
        &t,
        "SELECT lag_ms FROM system.sources WHERE name = 'erp'",
        |ms| ms.parse::<u64>().is_ok_and(|ms| ms < 60_000),
    )
    .await;
    // What a transaction writes is kept while it is open.
    let mut other = connected(server.port).await;
    let open = other.transaction().await.unwrap();
    let noise = "INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 8000)";
    open.batch_execute("INSERT INTO item VALUES (2, 2)")
        .await
        .unwrap();
    client.batch_execute(noise).await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
    until_one(&t, bytes, |bytes| {
        bytes.parse::<u64>().is_ok_and(|bytes| bytes > 8_000_000)
    })
    .await;
    let slots = "SELECT string_agg(slot_name || ' ' || coalesce(restart_lsn::text, ''), ',') FROM pg_replication_slots WHERE NOT temporary";
    let before: Option<String> = client.query_one(slots, &[]).await.unwrap().get(0);
    t.ok("ALTER SOURCE erp SET (max_lag = '4MB')").await;
    until_one(
        &t,
        "SELECT let_go_at FROM system.sources WHERE name = 'erp'",
        |at| !at.is_empty(),
    )
    .await;
    // What was there is served meanwhile.
    assert!(
        t.ok("SELECT count(*) AS n FROM kept")
            .await
            .contains("| 1 ")
    );
    t.ok("ALTER SOURCE erp SET (max_lag = '1GB')").await;
    open.commit().await.unwrap();
    same().await;
    client
        .batch_execute("UPDATE item SET n = n + 1")
        .await
        .unwrap();
    same().await;
    let after: Option<String> = client.query_one(slots, &[]).await.unwrap().get(0);
    assert_ne!(before, after, "another slot, which keeps less");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_behind_a_binary_log_is() {
    let maria = mysql::Server::start_logging().await;
    let tables = ["CREATE TABLE item (id INT PRIMARY KEY, v TEXT) ENGINE=InnoDB"];
    maria.database("crm", &tables).await;
    let t = Fixture::empty().await;
    t.ok(&format!(
        "CREATE SOURCE crm FROM 'mysql://root@127.0.0.1:{}/crm'",
        maria.port
    ))
    .await;
    t.ok(
        "CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change') AS SELECT id, v FROM crm.item",
    )
    .await;
    let bytes = "SELECT lag_bytes FROM system.sources WHERE name = 'crm'";
    until_one(&t, bytes, |bytes| bytes == "0").await;
    for statement in [
        "INSERT INTO item VALUES (1, repeat('x', 5000))",
        "FLUSH BINARY LOGS",
        "INSERT INTO item VALUES (2, 'y')",
    ] {
        maria.ask("crm", statement).await;
    }
    let expected = t.ok("SELECT id, v FROM crm.item ORDER BY id").await;
    until(
        &t.session,
        "SELECT * FROM kept ORDER BY id",
        &expected,
        PATIENCE,
    )
    .await;
    // Over the end of a file, and again at the end of the log.
    until_one(&t, bytes, |bytes| bytes == "0").await;
}
