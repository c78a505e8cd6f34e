//! Materialized views that are computed when they are read, and not before what they read has changed.

use std::time::Duration;

use belvedere::{Engine, Session};
use insta::assert_snapshot;

use crate::fixture::{Fixture, database, shown, until};
use crate::servers::{connected, postgres};

const PATIENCE: Duration = Duration::from_secs(30);

pub async fn ok(session: &Session, sql: &str) -> String {
    let answer = shown(session, sql).await;
    answer.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// How often a view was computed.
pub async fn runs(session: &Session, view: &str) -> String {
    let sql = format!(
        "SELECT count(*) AS n FROM system.refreshes WHERE view = '{view}' AND error IS NULL"
    );
    ok(session, &sql).await
}

/// Until reads of a view compute it no more: what it reads is watched.
pub async fn watched(session: &Session, view: &str) -> String {
    let wait = async {
        loop {
            ok(session, &format!("SELECT count(*) FROM {view}")).await;
            let before = runs(session, view).await;
            ok(session, &format!("SELECT count(*) FROM {view}")).await;
            if runs(session, view).await == before {
                return before;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_at_postgres_makes_the_next_read_compute() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let admin = connected(server.port).await;
    admin
        .batch_execute(
            "CREATE TABLE item (sku text PRIMARY KEY, price bigint, note text);
             CREATE TABLE other (id bigint PRIMARY KEY);
             INSERT INTO item SELECT 'sku ' || n, n, 'x' FROM generate_series(1, 100) AS n",
        )
        .await
        .unwrap();
    let data = tempfile::tempdir().unwrap();
    let open = || Engine::builder().data_dir(data.path()).open();
    let engine = open().await.unwrap();
    let session = engine.session();
    let create = format!(
        "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{}/postgres'",
        server.port
    );
    ok(&session, &create).await;
    let query = "SELECT sum(price) AS price, count(*) AS items FROM erp.item";
    ok(
        &session,
        &format!("CREATE MATERIALIZED VIEW prices WITH (refresh = 'on read') AS {query}"),
    )
    .await;
    assert_snapshot!(ok(&session, "SELECT refresh, mechanism FROM system.views").await, @r"
    +---------+-----------+
    | refresh | mechanism |
    +---------+-----------+
    | on read | change    |
    +---------+-----------+
    ");
    let before = watched(&session, "prices").await;
    // No row of the table is here, and reads ask nobody.
    for _ in 0..5 {
        ok(&session, "SELECT * FROM prices").await;
    }
    admin
        .batch_execute("INSERT INTO other VALUES (1)")
        .await
        .unwrap();
    ok(&session, "SELECT * FROM prices").await;
    assert_eq!(runs(&session, "prices").await, before);
    for sql in [
        "UPDATE item SET price = price + 1 WHERE sku = 'sku 7'",
        "DELETE FROM item WHERE price < 5",
        "INSERT INTO item VALUES ('new', 1000, NULL)",
        "TRUNCATE item",
    ] {
        admin.batch_execute(sql).await.unwrap();
        let expected = ok(&session, query).await;
        until(&session, "SELECT * FROM prices", &expected, PATIENCE).await;
    }
    // A cut stream is asked for again, and nothing is missed meanwhile.
    watched(&session, "prices").await;
    let cut = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
               INSERT INTO item VALUES ('cut', 1, NULL)";
    admin.batch_execute(cut).await.unwrap();
    let expected = ok(&session, query).await;
    until(&session, "SELECT * FROM prices", &expected, PATIENCE).await;
    // What changes while no engine is there is seen by the next.
    drop(session);
    engine.close().await.unwrap();
    admin
        .batch_execute("INSERT INTO item VALUES ('later', 5, NULL)")
        .await
        .unwrap();
    let engine = open().await.unwrap();
    let session = engine.session();
    let expected = ok(&session, query).await;
    assert_eq!(ok(&session, "SELECT * FROM prices").await, expected);
    watched(&session, "prices").await;
    admin
        .batch_execute("INSERT INTO item VALUES ('last', 6, NULL)")
        .await
        .unwrap();
    let expected = ok(&session, query).await;
    until(&session, "SELECT * FROM prices", &expected, PATIENCE).await;
    // A view that is kept by change follows the same stream; the table's rows are copied for it then.
    ok(&session, "CREATE MATERIALIZED VIEW dear WITH (refresh = 'on change') AS SELECT sku FROM erp.item WHERE price > 2").await;
    ok(&session, "SELECT * FROM dear").await;
    watched(&session, "prices").await;
    admin
        .batch_execute("INSERT INTO item VALUES ('both', 7, NULL)")
        .await
        .unwrap();
    let expected = ok(&session, query).await;
    until(&session, "SELECT * FROM prices", &expected, PATIENCE).await;
    ok(&session, "DROP MATERIALIZED VIEW dear").await;
    ok(&session, "DROP MATERIALIZED VIEW prices").await;
    // Nothing is left at the source of what nobody needs.
    let wait = async {
        let slots = "SELECT count(*) FROM pg_replication_slots";
        while admin.query_one(slots, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_sqlite_tell_it_too() {
    let t = Fixture::empty().await;
    t.ok("CREATE SOURCE erp FROM 'sqlite:erp.db' WITH (changes = 'triggers')")
        .await;
    t.ok("CREATE SOURCE shop FROM 'sqlite:shop.db' WITH (changes = 'triggers')")
        .await;
    let query = "SELECT i.name, sum(o.qty) AS qty FROM erp.item i JOIN shop.orders o ON o.sku = i.sku GROUP BY i.name";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW demand WITH (refresh = 'on read') AS {query}"
    ))
    .await;
    let before = watched(&t.session, "demand").await;
    let view = "SELECT * FROM demand ORDER BY name";
    t.ok(view).await;
    assert_eq!(runs(&t.session, "demand").await, before);
    for (file, sql) in [
        ("shop.db", "UPDATE orders SET qty = qty + 1"),
        ("erp.db", "UPDATE item SET name = 'Pear' WHERE sku = 'a1'"),
        ("shop.db", "DELETE FROM orders WHERE id = 1"),
    ] {
        database(&t.path(file), sql);
        let expected = t.ok(&format!("{query} ORDER BY name")).await;
        until(&t.session, view, &expected, PATIENCE).await;
    }
    // Young enough by its source's own word, without being computed.
    t.ok("ALTER MATERIALIZED VIEW demand SET (max_staleness = '1 hour')")
        .await;
    watched(&t.session, "demand").await;
    assert_snapshot!(t.ok("SELECT name, mechanism, age_ms < 3600000 AS young FROM system.views").await, @r"
    +--------+-----------+-------+
    | name   | mechanism | young |
    +--------+-----------+-------+
    | demand | change    | true  |
    +--------+-----------+-------+
    ");
}

#[tokio::test]
async fn where_nothing_tells_its_age_decides() {
    let t = Fixture::new().await;
    let create = |options: &str, query: &str| {
        format!("CREATE MATERIALIZED VIEW v WITH (refresh = 'on read'{options}) AS {query}")
    };
    assert_snapshot!(t.err(&create("", "SELECT sku FROM erp.item")).await, @"invalid: a view with refresh = 'on read' says how old it may be when it is read, where nothing tells that what it reads has changed: source erp does not tell what changes: changes = 'triggers' on the source writes triggers and a log table into the database; changes = 'poll' looks at its tables again and again, and writes nothing. Add max_staleness = '5min'");
    t.ok("ALTER SOURCE shop SET (changes = 'poll')").await;
    assert_snapshot!(t.err(&create("", "SELECT sku FROM shop.orders")).await, @"invalid: a view with refresh = 'on read' says how old it may be when it is read, where nothing tells that what it reads has changed: source shop has changes = 'poll': looking at its tables again and again costs more than computing the view. Add max_staleness = '5min'");
    t.ok("ALTER SOURCE erp SET (changes = 'triggers')").await;
    assert_snapshot!(t.err(&create("", "SELECT sku, now() AS at FROM erp.item")).await, @"invalid: a view with refresh = 'on read' says how old it may be when it is read, where nothing tells that what it reads has changed: now() may have another value while no table changes. Add max_staleness = '5min'");
    t.ok("CREATE MATERIALIZED VIEW m AS SELECT sku FROM erp.item")
        .await;
    assert_snapshot!(t.err(&create("", "SELECT sku FROM m")).await, @"invalid: a view with refresh = 'on read' says how old it may be when it is read, where nothing tells that what it reads has changed: it reads m, whose changes are not watched for. Add max_staleness = '5min'");
    // With an age it is kept, and says what for.
    t.ok(&create(
        ", max_staleness = '1 hour'",
        "SELECT sku FROM shop.orders",
    ))
    .await;
    assert_snapshot!(t.ok("SELECT name, mechanism FROM system.views ORDER BY name").await, @r"
    +------+-----------------------------------------------------------------------------------------------------------------+
    | name | mechanism                                                                                                       |
    +------+-----------------------------------------------------------------------------------------------------------------+
    | m    |                                                                                                                 |
    | v    | age: source shop has changes = 'poll': looking at its tables again and again costs more than computing the view |
    +------+-----------------------------------------------------------------------------------------------------------------+
    ");
    // A source that begins to tell is watched from then on.
    t.ok("ALTER SOURCE shop SET (changes = 'triggers')").await;
    assert_snapshot!(t.ok("SELECT mechanism FROM system.views WHERE name = 'v'").await, @r"
    +-----------+
    | mechanism |
    +-----------+
    | change    |
    +-----------+
    ");
    watched(&t.session, "v").await;
    t.ok("ALTER MATERIALIZED VIEW v RESET (max_staleness)")
        .await;
    watched(&t.session, "v").await;
    // And one that ends to tell cannot be left alone with it.
    t.ok("ALTER SOURCE shop SET (changes = 'poll')").await;
    assert_snapshot!(t.ok("SELECT state, reason FROM system.views WHERE name = 'v'").await, @r"
    +---------+--------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | state   | reason                                                                                                                                                                                                                                                             |
    +---------+--------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | blocked | a view with refresh = 'on read' says how old it may be when it is read, where nothing tells that what it reads has changed: source shop has changes = 'poll': looking at its tables again and again costs more than computing the view. Add max_staleness = '5min' |
    +---------+--------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
    ");
}
