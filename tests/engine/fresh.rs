//! What a session's own bound on the age of views promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use belvedere::Session;
use mysql_async::prelude::Queryable;

use crate::fixture::{Fixture, database, shown};
use crate::servers::{connected, mysql, postgres};

const N: &str = "SELECT n FROM kept";

/// Each source tells in its own way; whatever was committed before a statement came is in its answer.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_committed_is_missing_at_zero() {
    let pg = tokio::task::block_in_place(postgres::Server::private);
    let erp = connected(pg.port).await;
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, n bigint); INSERT INTO t VALUES (1, 0)";
    erp.batch_execute(table).await.unwrap();
    let maria = mysql::Server::start_logging().await;
    let tables = [
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT) ENGINE=InnoDB",
        "INSERT INTO t VALUES (1, 0)",
    ];
    maria.database("crm", &tables).await;
    let mut customers = maria.connection_in("crm").await;
    let t = Fixture::empty().await;
    for file in ["shop.db", "polled.db"] {
        database(
            &t.path(file),
            "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO t VALUES (1, 0)",
        );
    }
    for source in [
        format!(
            "erp FROM 'postgres://postgres@127.0.0.1:{}/postgres'",
            pg.port
        ),
        format!("crm FROM 'mysql://root@127.0.0.1:{}/crm'", maria.port),
        "shop FROM 'sqlite:shop.db' WITH (changes = 'triggers')".to_string(),
        "polled FROM 'sqlite:polled.db' WITH (changes = 'poll', poll_interval = '200ms')"
            .to_string(),
    ] {
        t.ok(&format!("CREATE SOURCE {source}")).await;
    }
    t.ok("CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change', wait = true) AS
          SELECT a.n + b.n + c.n + d.n AS n
          FROM erp.t AS a JOIN crm.t AS b ON a.id = b.id JOIN shop.t AS c ON a.id = c.id JOIN polled.t AS d ON a.id = d.id")
        .await;
    t.ok("SET max_staleness = '0s'").await;
    let update = "UPDATE t SET n = n + 1";
    for n in 1..=40 {
        match n % 4 {
            0 => drop(erp.execute(update, &[]).await.unwrap()),
            1 => customers.query_drop(update).await.unwrap(),
            2 => database(&t.path("shop.db"), update),
            _ => database(&t.path("polled.db"), update),
        }
        let found = t.ok(N).await;
        assert!(found.contains(&format!("| {n} ")), "{n}: {found}");
    }
    customers.disconnect().await.unwrap();
    // It is the session's own; what nobody has stated is shown.
    t.ok("SET max_staleness = 'none'").await;
    t.ok(N).await;
}

/// A copy that becomes no younger by waiting is refused, with both ways out.
#[tokio::test]
async fn a_bound_that_is_not_kept_is_an_error() {
    let t = Fixture::new().await;
    t.ok("CREATE MATERIALIZED VIEW kept WITH (max_staleness = '1 hour') AS SELECT count(*) AS n FROM erp.stock")
        .await;
    t.ok(N).await;
    t.ok("SET max_staleness = '0s'").await;
    let refused = t.err(N).await;
    assert!(refused.contains("may be 0 ms old"), "{refused}");
    assert!(refused.contains("REFRESH MATERIALIZED VIEW"), "{refused}");
    assert!(refused.contains("SET max_staleness"), "{refused}");
    // The narrower of two bounds holds.
    t.ok("SET max_staleness = '2 hours'").await;
    t.ok(N).await;
    t.ok("ALTER MATERIALIZED VIEW kept SET (max_staleness = '1ms')")
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(t.err(N).await.contains("may be 1 ms old"));
    assert!(
        t.err("SET max_staleness = 'soon'")
            .await
            .contains("is a duration")
    );
    t.ok("RESET max_staleness").await;
}

/// Many sessions at a time, while somebody commits without pause: each finds what was committed before it asked.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_while_somebody_writes() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let erp = connected(server.port).await;
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, n bigint); INSERT INTO t VALUES (1, 0)";
    erp.batch_execute(table).await.unwrap();
    let t = Fixture::empty().await;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{}/postgres'",
        server.port
    ))
    .await;
    t.ok("CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change', wait = true) AS SELECT sum(n) AS n FROM erp.t")
        .await;
    let committed = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn({
        let committed = committed.clone();
        async move {
            for n in 1..=600 {
                erp.execute("UPDATE t SET n = n + 1", &[]).await.unwrap();
                committed.store(n, Ordering::SeqCst);
            }
        }
    });
    let reader = |session: Session| {
        let committed = committed.clone();
        async move {
            session.execute("SET max_staleness = '0s'").await.unwrap();
            let mut reads = 0;
            while committed.load(Ordering::SeqCst) < 600 {
                let before = committed.load(Ordering::SeqCst);
                let found = shown(&session, N).await.unwrap();
                let line = found.lines().nth(3).unwrap();
                let n: u64 = line.trim_matches(['|', ' ']).parse().unwrap();
                assert!(n >= before, "{n}, and {before} were committed before");
                reads += 1;
            }
            reads
        }
    };
    let readers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(reader(t.engine.session())))
        .collect();
    writer.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}
