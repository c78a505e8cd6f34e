//! What a session's own bound on the age of views promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use belvedere::Session;
use belvedere_memory::{Fault, MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use mysql_async::prelude::Queryable;

use crate::fixture::{Fixture, database, shown, table};
use crate::memory::{InMemory, rows};
use crate::proxy::{Mode, Proxy};
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

/// A copy that becomes no younger by waiting is not read: its query is, unless nothing may show that is not checked.
#[tokio::test]
async fn where_a_copy_is_too_old_its_query_answers() {
    let t = Fixture::new().await;
    let kept = "SELECT count(*) AS n FROM erp.stock";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW kept WITH (max_staleness = '1 hour') AS {kept}"
    ))
    .await;
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW checked WITH (max_staleness = '1 hour') CHECK some AS (SELECT 1 WHERE 1 = 0) AS {kept}"
    ))
    .await;
    t.ok("CREATE VIEW above AS SELECT n + 1 AS n FROM kept")
        .await;
    // Each has been filled.
    let both = "SELECT a.n + b.n AS n FROM kept a, checked b";
    assert!(t.ok(both).await.contains("| 8 "));
    database(&t.path("erp.db"), "INSERT INTO stock VALUES ('c3', 'B', 1)");
    let found = t.ok(N).await;
    assert!(found.contains("| 4 "), "{found}");
    t.ok("SET max_staleness = '0s'").await;
    assert!(t.ok(N).await.contains("| 5 "));
    assert!(t.ok("SELECT n FROM above").await.contains("| 6 "));
    let both = "SELECT a.n + b.n AS n FROM kept a, kept b WHERE a.n = 5";
    assert!(t.ok(both).await.contains("| 10 "));
    let explained = t.ok("EXPLAIN SELECT n FROM above").await;
    assert!(
        explained.contains("Read live instead of kept"),
        "{explained}"
    );
    let refused = t.err("SELECT n FROM checked").await;
    assert!(refused.starts_with("too_old"), "{refused}");
    assert!(refused.contains("may be 0 ms old"), "{refused}");
    assert!(refused.contains("REFRESH MATERIALIZED VIEW"), "{refused}");
    assert!(refused.contains("SET max_staleness"), "{refused}");
    // What the session says goes before what the view says, looser too.
    t.ok("SET max_staleness = '2 hours'").await;
    assert!(t.ok(N).await.contains("| 4 "));
    t.ok("ALTER MATERIALIZED VIEW kept SET (max_staleness = '1ms')")
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(t.ok(N).await.contains("| 4 "));
    t.ok("RESET max_staleness").await;
    assert!(t.ok(N).await.contains("| 5 "));
    let soon = t.err("SET max_staleness = 'soon'").await;
    assert!(soon.contains("is a duration"), "{soon}");
    // A prepared statement finds out each time.
    let prepared = t.session.prepare(N).await.unwrap();
    for (bound, n) in [("none", 5), ("1 hour", 4), ("0s", 5), ("1 hour", 4)] {
        t.session.set("max_staleness", bound).unwrap();
        let answer = t.session.execute_prepared(&prepared, &[]).await.unwrap();
        let found = table(answer).await.unwrap();
        assert!(found.contains(&format!("| {n} ")), "{bound}: {found}");
    }
}

/// While a source fails, what was copied of it may be older, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_source_fails_a_copy_may_be_older() {
    let t = Fixture::new().await;
    let kept = "SELECT count(*) AS n FROM erp.stock";
    for (name, options) in [
        ("by_hand", "max_staleness = '1ms'"),
        ("when_read", "refresh = 'on read', max_staleness = '1ms'"),
        (
            "lenient",
            "max_staleness = '1ms', stale_if_error = '1 hour'",
        ),
    ] {
        let view = format!("CREATE MATERIALIZED VIEW {name} WITH ({options}) AS {kept}");
        t.ok(&view).await;
        assert!(
            t.ok(&format!("SELECT n FROM {name}"))
                .await
                .contains("| 4 ")
        );
    }
    let moved = t.path("moved.db");
    std::fs::rename(t.path("erp.db"), &moved).unwrap();
    for name in ["by_hand", "when_read"] {
        let failed = t.err(&format!("SELECT n FROM {name}")).await;
        assert!(failed.starts_with("source_"), "{name}: {failed}");
    }
    let answer = t.session.execute("SELECT n FROM lenient").await.unwrap();
    assert!(answer.freshness.is_stale());
    assert!(answer.freshness.age().is_some());
    assert!(
        answer.notices[0].contains("its source fails"),
        "{:?}",
        answer.notices
    );
    assert!(table(answer).await.unwrap().contains("| 4 "));
    t.ok("SET stale_if_error = '1 hour'").await;
    for name in ["by_hand", "when_read", "lenient"] {
        let found = t.ok(&format!("SELECT n FROM {name}")).await;
        assert!(found.contains("| 4 "), "{name}: {found}");
    }
    t.ok("SET stale_if_error = '1ms'").await;
    assert!(t.err("SELECT n FROM lenient").await.starts_with("source_"));
    t.ok("RESET stale_if_error").await;
    std::fs::rename(&moved, t.path("erp.db")).unwrap();
    t.ok("REFRESH SOURCE erp").await;
    database(&t.path("erp.db"), "INSERT INTO stock VALUES ('c3', 'B', 1)");
    for name in ["by_hand", "when_read", "lenient"] {
        let answer = t
            .session
            .execute(&format!("SELECT n FROM {name}"))
            .await
            .unwrap();
        assert!(!answer.freshness.is_stale());
        assert!(table(answer).await.unwrap().contains("| 5 "), "{name}");
    }
}

/// Each answer tells what it was made of; one that shows a source as of two moments is an error where that is asked for.
#[tokio::test]
async fn an_answer_tells_what_it_was_made_of() {
    let t = Fixture::new().await;
    for name in ["one", "other"] {
        t.ok(&format!(
            "CREATE MATERIALIZED VIEW {name} AS SELECT count(*) AS n FROM erp.stock"
        ))
        .await;
    }
    t.ok("CREATE MATERIALIZED VIEW of_shop AS SELECT count(*) AS n FROM shop.orders")
        .await;
    let served = async |sql: &str| t.session.execute(sql).await.unwrap().freshness;
    let live = served("SELECT * FROM erp.item").await;
    assert!(live.is_live());
    assert_eq!(live.to_string(), "erp live");
    assert_eq!(live.age(), Some(std::time::Duration::ZERO));
    std::fs::create_dir(t.path("lake")).unwrap();
    std::fs::write(t.path("lake/sales.csv"), "id,amount\n1,2.5\n").unwrap();
    t.ok("CREATE SOURCE lake FROM './lake/'").await;
    let both = served("SELECT * FROM lake.sales, erp.item").await;
    assert_eq!(both.to_string(), "erp live, lake live");
    let mixed = "SELECT * FROM one, erp.item";
    let freshness = served(mixed).await;
    assert!(!freshness.is_live());
    assert!(
        freshness.to_string().starts_with("one version 1 "),
        "{freshness}"
    );
    assert!(
        freshness.to_string().ends_with(" ms old, erp live"),
        "{freshness}"
    );
    t.ok("SET freshness_notice = on").await;
    let answer = t.session.execute(mixed).await.unwrap();
    assert!(answer.notices[0].starts_with("Read from one version 1"));
    let told = "SELECT read_from LIKE 'one version 1 %erp live' AS told, age_ms IS NOT NULL AS aged
                FROM system.queries WHERE sql = 'SELECT * FROM one, erp.item' LIMIT 1";
    insta::assert_snapshot!(t.ok(told).await, @r"
    +------+------+
    | told | aged |
    +------+------+
    | true | true |
    +------+------+
    ");
    t.ok("SET consistency = 'strict'").await;
    let refused = t.err(mixed).await;
    assert!(refused.starts_with("consistency"), "{refused}");
    insta::assert_snapshot!(t.err("SELECT * FROM one, other").await, @"consistency: materialized view one and materialized view other would show source erp as of two moments. SET consistency = 'relaxed' allows it; or read both by views with refresh = 'on change', or all of it live");
    for fine in [
        "SELECT * FROM one, of_shop",
        "SELECT * FROM one a, one b",
        "SELECT * FROM one, shop.orders",
        "SELECT * FROM erp.item, erp.stock",
    ] {
        t.ok(fine).await;
    }
    t.ok("SET consistency = 'relaxed'").await;
    t.ok(mixed).await;
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

/// Nobody waits for a source that is known to be down: it is said how old the copy is, and what would do.
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_that_is_not_kept_while_a_source_is_down() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let erp = connected(server.port).await;
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, n bigint); INSERT INTO t VALUES (1, 7)";
    erp.batch_execute(table).await.unwrap();
    let proxy = Proxy::before(server.port).await;
    let t = Fixture::empty().await;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{}/postgres'",
        proxy.port
    ))
    .await;
    for (name, refresh) in [("kept", "on change"), ("by_hand", "manual")] {
        t.ok(&format!(
            "CREATE MATERIALIZED VIEW {name} WITH (refresh = '{refresh}', wait = true) AS SELECT n FROM erp.t"
        ))
        .await;
    }
    proxy.set(Mode::Refuse).await;
    t.ok("SET max_staleness = '1ms'").await;
    for name in ["kept", "by_hand"] {
        let asked = Instant::now();
        let failed = t.err(&format!("SELECT n FROM {name}")).await;
        assert!(asked.elapsed() < Duration::from_secs(20), "{name}");
        assert!(failed.starts_with("source_unreachable"), "{failed}");
        let view = format!("materialized view {name} is ");
        for told in [
            &*view,
            "may be 1 ms old",
            "SET max_staleness",
            "stale_if_error",
        ] {
            assert!(failed.contains(told), "{told}: {failed}");
        }
    }
    t.ok("SET stale_if_error = '1 hour'").await;
    for name in ["kept", "by_hand"] {
        let found = t.ok(&format!("SELECT n FROM {name}")).await;
        assert!(found.contains("| 7 "), "{name}: {found}");
    }
}

/// So does one whose rows are checked, and one that the query does not name.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_source_fails_copies_answer_that_were_not_asked() {
    let t = Fixture::new().await;
    let count = "SELECT count(*) AS n FROM erp.stock";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW checked WITH (max_staleness = '1ms', stale_if_error = '1 hour', wait = true)
         CHECK some AS (SELECT 1 FROM checked WHERE n < 0) AS {count}"
    ))
    .await;
    let checked = "SELECT n FROM checked";
    tokio::time::sleep(Duration::from_millis(5)).await;
    // Its source can be asked, and what that would answer is not checked.
    let refused = t.err(checked).await;
    assert!(refused.starts_with("too_old"), "{refused}");
    let moved = t.path("moved.db");
    std::fs::rename(t.path("erp.db"), &moved).unwrap();
    let failed = t.err(count).await;
    assert!(failed.starts_with("source_"), "{failed}");
    t.ok("SET stale_if_error = '1ms'").await;
    let failed = t.err(checked).await;
    assert!(failed.contains("may be 1 ms old"), "{failed}");
    assert!(t.err(count).await.starts_with("source_"));
    t.ok("SET stale_if_error = '1 hour'").await;
    for sql in [checked, count] {
        let answer = t.session.execute(sql).await.unwrap();
        assert!(answer.freshness.is_stale(), "{sql}");
        let told = answer.freshness.to_string();
        assert!(told.starts_with("checked "), "{sql}: {told}");
        assert!(table(answer).await.unwrap().contains("| 4 "), "{sql}");
    }
    std::fs::rename(&moved, t.path("erp.db")).unwrap();
    t.ok("REFRESH SOURCE erp").await;
    let answer = t.session.execute(count).await.unwrap();
    assert!(answer.freshness.is_live());
}

/// Whoever was answered by a view's query is not shown a copy whose refresh had begun before that, and ended behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_began_before_shows_nothing_older() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let number = |n: i64| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values([n]));
        RecordBatch::try_new(schema.clone(), vec![column]).unwrap()
    };
    let table = MemoryTable::new(schema.clone(), vec![number(1)]).with_primary_key(&["n"]);
    let t = InMemory::new(MemorySource::new("s").with_table("t", table)).await;
    t.ok("CREATE MATERIALIZED VIEW kept WITH (max_staleness = '5s', wait = true) AS SELECT n FROM s.t")
        .await;
    tokio::time::sleep(Duration::from_millis(5100)).await;
    // It has its rows, and is told them late.
    t.source.inject(Fault::Slow(Duration::from_secs(1)));
    let refreshing = t.engine.session();
    let refresh =
        tokio::spawn(async move { shown(&refreshing, "REFRESH MATERIALIZED VIEW kept").await });
    t.source.until_open_streams(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    t.source.inject(Fault::None);
    t.commit(vec![("t", rows(number(1), -1)), ("t", rows(number(2), 1))]);
    let found = t.ok(N).await;
    assert!(found.contains("| 2 "), "{found}");
    refresh.await.unwrap().unwrap();
    let other = t.engine.session();
    let found = shown(&other, N).await.unwrap();
    assert!(found.contains("| 1 "), "{found}");
    let found = t.ok(N).await;
    assert!(found.contains("| 2 "), "{found}");
    // Once it has been refreshed since, its copy shows what was seen.
    t.ok("REFRESH MATERIALIZED VIEW kept").await;
    let answer = t.session.execute(N).await.unwrap();
    assert!(!answer.freshness.is_live());
    assert!(
        crate::fixture::table(answer)
            .await
            .unwrap()
            .contains("| 2 ")
    );
}
