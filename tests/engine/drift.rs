//! Views kept by change of one table, each of other columns: both follow it, and a column that goes blocks the one alone that
//! has it.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use crate::fixture::{Fixture, database, shown, until};
use crate::servers::{connected, mysql, postgres};

const PATIENCE: Duration = Duration::from_secs(60);
const TABLE: &str =
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, extra VARCHAR(10), spare INTEGER)";
const ROWS: &str = "INSERT INTO t VALUES (1, 1, 'a', 1), (2, 2, 'b', 2)";

async fn until_same(t: &Fixture, view: &str, query: &str) {
    let expected = t.ok(&format!("{query} ORDER BY id")).await;
    let sql = format!("SELECT * FROM {view} ORDER BY id");
    until(&t.session, &sql, &expected, PATIENCE).await;
}

/// Of table `t` of source `s`, at which `act` runs SQL.
async fn each_follows_its_columns(t: &Fixture, act: &impl AsyncFn(&str)) {
    let (narrow, wide) = ("SELECT id, a FROM s.t", "SELECT id, extra FROM s.t");
    for (name, query) in [("narrow", narrow), ("wide", wide)] {
        t.ok(&format!(
            "CREATE MATERIALIZED VIEW {name} WITH (refresh = 'on change', wait = true) AS {query}"
        ))
        .await;
    }
    act("INSERT INTO t VALUES (3, 3, 'c', 3)").await;
    act("UPDATE t SET a = 10, extra = 'd' WHERE id = 1").await;
    until_same(t, "narrow", narrow).await;
    until_same(t, "wide", wide).await;
    let last = t.ok("SELECT * FROM wide ORDER BY id").await;
    act("ALTER TABLE t DROP COLUMN spare").await;
    act("ALTER TABLE t DROP COLUMN extra").await;
    act("INSERT INTO t (id, a) VALUES (4, 4)").await;
    act("UPDATE t SET a = 20 WHERE id = 1").await;
    until_same(t, "narrow", narrow).await;
    let state = "SELECT state FROM system.views WHERE name = 'wide'";
    let blocked = t.ok("SELECT 'blocked' AS state").await;
    until(&t.session, state, &blocked, PATIENCE).await;
    let reason = "SELECT reason FROM system.views WHERE name = 'wide'";
    let reason = t.ok(reason).await;
    assert!(reason.contains("column extra"), "{reason}");
    assert_eq!(t.ok("SELECT * FROM wide ORDER BY id").await, last);
    let error = t.err("REFRESH MATERIALIZED VIEW wide").await;
    assert!(error.contains("shows what it had"), "{error}");
    // One more is nobody's business.
    act("ALTER TABLE t ADD COLUMN more INTEGER").await;
    act("INSERT INTO t (id, a, more) VALUES (5, 5, 5)").await;
    act("DELETE FROM t WHERE id = 2").await;
    until_same(t, "narrow", narrow).await;
    for name in ["narrow", "wide"] {
        t.ok(&format!("DROP MATERIALIZED VIEW {name}")).await;
    }
}

/// A column that comes in place of another of its name: what it has then is not in the log.
async fn rewritten(t: &Fixture, act: &impl AsyncFn(&str)) {
    let (all, some) = (
        "SELECT id, a FROM s.t",
        "SELECT id, a + 1 AS b FROM s.t WHERE a > 0",
    );
    for (name, query) in [("every", all), ("positive", some)] {
        t.ok(&format!(
            "CREATE MATERIALIZED VIEW {name} WITH (refresh = 'on change', wait = true) AS {query}"
        ))
        .await;
    }
    act("ALTER TABLE t DROP COLUMN a, ADD COLUMN a INTEGER DEFAULT 7").await;
    until_same(t, "every", all).await;
    until_same(t, "positive", some).await;
    act("UPDATE t SET a = 8 WHERE id = 1").await;
    act("DELETE FROM t WHERE id = 3").await;
    until_same(t, "every", all).await;
    until_same(t, "positive", some).await;
    for name in ["every", "positive"] {
        t.ok(&format!("DROP MATERIALIZED VIEW {name}")).await;
    }
}

/// A text that may be longer is the same; of another type a column is read anew once that is asked for. Found: then it was not
/// followed any more.
async fn retyped(t: &Fixture, act: &impl AsyncFn(&str)) {
    let query = "SELECT id, a, v FROM s.t";
    act("ALTER TABLE t ADD COLUMN v VARCHAR(5)").await;
    t.ok("REFRESH SOURCE s").await;
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW retyped WITH (refresh = 'on change', wait = true) AS {query}"
    ))
    .await;
    act("ALTER TABLE t ALTER COLUMN v TYPE VARCHAR(40)").await;
    act("INSERT INTO t (id, a, v) VALUES (8, 8, 'longer than it was')").await;
    until_same(t, "retyped", query).await;
    // One that may be shorter may have been cut, of which the log does not tell.
    act("ALTER TABLE t ALTER COLUMN v TYPE VARCHAR(4) USING substr(v, 1, 4)").await;
    act("INSERT INTO t (id, a, v) VALUES (7, 7, 'four')").await;
    let only_state = "SELECT state FROM system.views WHERE name = 'retyped'";
    let is_blocked = t.ok("SELECT 'blocked' AS state").await;
    until(&t.session, only_state, &is_blocked, PATIENCE).await;
    t.ok("REFRESH MATERIALIZED VIEW retyped FULL").await;
    until_same(t, "retyped", query).await;
    act("DELETE FROM t WHERE id = 7").await;
    until_same(t, "retyped", query).await;
    act("ALTER TABLE t ALTER COLUMN a TYPE BIGINT").await;
    act("INSERT INTO t (id, a) VALUES (9, 9000000000)").await;
    let state = "SELECT state, reason FROM system.views WHERE name = 'retyped'";
    let blocked = t
        .ok("SELECT 'blocked' AS state, 'source s, table t, column a: it was integer and is bigint now. Run REFRESH SOURCE. \
             Once that is mended: REFRESH MATERIALIZED VIEW retyped FULL' AS reason")
        .await;
    until(&t.session, state, &blocked, PATIENCE).await;
    let error = t.err("REFRESH MATERIALIZED VIEW retyped FULL").await;
    assert!(
        error.contains("is Int64 now, and was defined as Int32"),
        "{error}"
    );
    t.ok("SELECT * FROM retyped").await;
    t.ok(&format!(
        "CREATE OR REPLACE MATERIALIZED VIEW retyped WITH (refresh = 'on change', wait = true) AS {query}"
    ))
    .await;
    until_same(t, "retyped", query).await;
    act("DELETE FROM t WHERE id = 8").await;
    until_same(t, "retyped", query).await;
    t.ok("DROP MATERIALIZED VIEW retyped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_sqlite() {
    for changes in ["triggers", "poll"] {
        let t = Fixture::empty().await;
        let path = t.path("drift.db");
        database(&path, &format!("{TABLE}; {ROWS}"));
        t.ok(&format!(
            "CREATE SOURCE s FROM 'sqlite:drift.db' WITH (changes = '{changes}')"
        ))
        .await;
        if changes == "poll" {
            t.ok("ALTER SOURCE s SET (poll_interval = '100ms')").await;
        }
        let act = async |sql: &str| database(&path, sql);
        each_follows_its_columns(&t, &act).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_postgres() {
    let pg = tokio::task::block_in_place(postgres::Server::private);
    let client = connected(pg.port).await;
    let act = async |sql: &str| client.batch_execute(sql).await.unwrap();
    act(TABLE).await;
    act(ROWS).await;
    let t = Fixture::empty().await;
    t.ok(&format!(
        "CREATE SOURCE s FROM 'postgres://postgres@127.0.0.1:{}/postgres'",
        pg.port
    ))
    .await;
    each_follows_its_columns(&t, &act).await;
    retyped(&t, &act).await;
    // What the server generates is in no log: found out when it is copied, not with the first change.
    act("ALTER TABLE t ADD COLUMN twice BIGINT GENERATED ALWAYS AS (a * 2) STORED").await;
    t.ok("REFRESH SOURCE s").await;
    let error = t
        .err("CREATE MATERIALIZED VIEW twice WITH (refresh = 'on change', wait = true) AS SELECT id, twice FROM s.t")
        .await;
    assert!(error.contains("column twice"), "{error}");
    assert!(error.contains("Compute it in the view"), "{error}");
    t.ok("DROP MATERIALIZED VIEW twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_mariadb() {
    let maria = mysql::Server::start_logging().await;
    maria.database("drift", &[TABLE, ROWS]).await;
    let t = Fixture::empty().await;
    t.ok(&format!(
        "CREATE SOURCE s FROM 'mysql://root@127.0.0.1:{}/drift'",
        maria.port
    ))
    .await;
    let act = async |sql: &str| {
        let mut connection = maria.connection_in("drift").await;
        connection.query_drop(sql).await.unwrap();
        connection.disconnect().await.unwrap();
    };
    each_follows_its_columns(&t, &act).await;
    rewritten(&t, &act).await;
}

/// Whether what a view had that does not go on is in a file.
fn is_written(t: &Fixture) -> bool {
    let folders = std::fs::read_dir(t.path("data/stopped"));
    let mut files = folders
        .into_iter()
        .flatten()
        .filter_map(|folder| std::fs::read_dir(folder.unwrap().path()).ok())
        .flatten();
    files.any(|file| {
        file.unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "rows")
    })
}

/// Its rows stay as they were, also where what it reads cannot be read any more as it was; and what mends it is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_blocked_view_had_outlives_the_engine() {
    let pg = tokio::task::block_in_place(postgres::Server::private);
    let client = connected(pg.port).await;
    let act = async |sql: &str| client.batch_execute(sql).await.unwrap();
    act(TABLE).await;
    act(ROWS).await;
    let t = Fixture::empty().await;
    let mut engine = t.open().await.unwrap();
    let mut session = engine.session();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", pg.port);
    for sql in [
        &*format!("CREATE SOURCE s FROM '{url}'"),
        "CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change', key = 'id', wait = true) AS SELECT id, a FROM s.t",
    ] {
        shown(&session, sql).await.unwrap();
    }
    let rows = "SELECT * FROM kept ORDER BY id";
    let before = shown(&session, rows).await.unwrap();
    act("ALTER TABLE t ALTER COLUMN a TYPE BIGINT").await;
    act("UPDATE t SET a = 70 WHERE id = 1").await;
    let state = "SELECT state FROM system.views WHERE name = 'kept'";
    let blocked = "+---------+\n| state   |\n+---------+\n| blocked |\n+---------+";
    until(&session, state, blocked, PATIENCE).await;
    assert_eq!(shown(&session, rows).await.unwrap(), before);
    let written = async {
        while !is_written(&t) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.unwrap();
    let anew = "CREATE OR REPLACE MATERIALIZED VIEW kept WITH (key = 'id', refresh = 'on change') AS SELECT id, a FROM s.t";
    // The first time its table is known as it was, then as it is.
    for _ in 0..2 {
        drop(session);
        engine.close().await.unwrap();
        engine = t.open().await.unwrap();
        session = engine.session();
        until(&session, state, blocked, PATIENCE).await;
        assert_eq!(shown(&session, rows).await.unwrap(), before);
        let refused = shown(&session, "REFRESH MATERIALIZED VIEW kept FULL").await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("is Int64 now, and was defined as Int32"),
            "{refused}"
        );
        assert!(
            refused.ends_with(&format!("{anew} defines it anew")),
            "{refused}"
        );
        assert_eq!(shown(&session, rows).await.unwrap(), before);
    }
    shown(&session, anew).await.unwrap();
    let now = shown(&session, "SELECT id, a FROM s.t ORDER BY id").await;
    until(&session, rows, &now.unwrap(), PATIENCE).await;
}
