//! Answers that are told again to who asks the same, as far as `max_staleness` admits it.

use std::time::{Duration, Instant};

use belvedere::{Engine, Session};
use datafusion::scalar::ScalarValue;
use insta::assert_snapshot;
use mysql_async::prelude::Queryable;

use crate::fixture::{Fixture, database, shown, table, until};
use crate::servers::{connected, mysql, postgres};

const PATIENCE: Duration = Duration::from_secs(30);

const COUNT: &str = "SELECT count(*) AS n FROM erp.stock";

fn add(t: &Fixture, site: &str) {
    let row = format!("INSERT INTO stock VALUES ('c3', '{site}', 1)");
    database(&t.path("erp.db"), &row);
}

async fn count(session: &Session, sql: &str) -> String {
    let answer = shown(session, sql).await.unwrap();
    let row = answer.lines().nth(3).unwrap();
    row.trim_matches(['|', ' ']).to_string()
}

#[tokio::test]
async fn an_answer_is_told_again_while_it_is_young_enough() {
    let t = Fixture::new().await;
    let (patient, other) = (t.engine.session(), t.engine.session());
    patient.set("max_staleness", "1 hour").unwrap();
    assert_eq!(count(&patient, COUNT).await, "4");
    add(&t, "B");
    // Whoever has said no bound reads what there is.
    assert_eq!(count(&other, COUNT).await, "5");
    let again = patient.execute(COUNT).await.unwrap();
    let told = again.freshness.to_string();
    assert!(
        told.starts_with("erp ") && told.ends_with(" ms old"),
        "{told}"
    );
    assert!(!again.freshness.is_stale() && !again.freshness.is_live());
    assert!(again.freshness.age().unwrap() > Duration::ZERO);
    assert!(table(again).await.unwrap().contains("| 4 "));
    // It is told to all sessions that may be told.
    let third = t.engine.session();
    third.set("max_staleness", "30min").unwrap();
    assert_eq!(count(&third, COUNT).await, "4");
    let log = "SELECT count(*) FROM system.queries WHERE age_ms IS NOT NULL AND read_from NOT LIKE '%live%'";
    assert_eq!(count(&t.session, log).await, "2");
    let results = t.ok("SELECT sql, rows, hits FROM system.results").await;
    assert!(
        results.contains("SELECT count(*) AS n FROM erp.stock | 1    | 2 "),
        "{results}"
    );
    // A bound that it does not keep, and what there is now.
    other.set("max_staleness", "1ms").unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(count(&other, COUNT).await, "5");
    other.set("max_staleness", "0s").unwrap();
    assert_eq!(count(&other, COUNT).await, "5");
    // What was found then is told from then on.
    assert_eq!(count(&patient, COUNT).await, "5");
    // The oracle of pushdown asks for itself.
    add(&t, "C");
    patient.set("pushdown", "off").unwrap();
    assert_eq!(count(&patient, COUNT).await, "6");
}

#[tokio::test]
async fn each_question_has_its_own_answer() {
    let t = Fixture::new().await;
    t.ok("SET max_staleness = '1 hour'").await;
    let prepared = t
        .session
        .prepare("SELECT qty FROM erp.stock WHERE sku = $1 AND site = 'B'");
    let prepared = prepared.await.unwrap();
    let ask = async |sku: &str| {
        let value = ScalarValue::Utf8(Some(sku.to_string()));
        let answer = t.session.execute_prepared(&prepared, &[value]).await;
        table(answer.unwrap()).await.unwrap()
    };
    for _ in 0..3 {
        assert!(ask("a1").await.contains("| 10 "));
        assert!(ask("b2").await.contains("| 0 "));
    }
    database(&t.path("erp.db"), "UPDATE stock SET qty = 77");
    assert!(ask("a1").await.contains("| 10 "));
    assert!(
        ask("c3").await.lines().count() == 4,
        "no row is an answer, too"
    );
    // Names that mean something else are another question.
    t.ok("SET search_path = shop").await;
    assert!(t.ok("SELECT count(*) FROM orders").await.contains("| 3 "));
    t.ok("CREATE SCHEMA sales").await;
    t.ok("CREATE VIEW sales.orders AS SELECT 1 AS one").await;
    t.ok("SET search_path = sales").await;
    assert!(t.ok("SELECT count(*) FROM orders").await.contains("| 1 "));
    t.ok("CREATE OR REPLACE VIEW sales.orders AS SELECT 1 AS one UNION ALL SELECT 2")
        .await;
    assert!(t.ok("SELECT count(*) FROM orders").await.contains("| 2 "));
}

#[tokio::test]
async fn what_is_of_one_moment_is_not_told_again() {
    let t = Fixture::new().await;
    t.ok("SET max_staleness = '1 hour'").await;
    for sql in [
        "SELECT random() AS n FROM erp.item LIMIT 1",
        "SELECT uuid() AS n",
        "SELECT now() AS n FROM erp.item LIMIT 1",
        "SELECT count(*) AS n FROM system.queries",
    ] {
        let first = count(&t.session, sql).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_ne!(first, count(&t.session, sql).await, "{sql}");
    }
    // One that compares with the clock is as of when it ran.
    let old = "SELECT count(*) AS n FROM erp.item WHERE added < now()";
    assert_eq!(count(&t.session, old).await, "2");
    database(
        &t.path("erp.db"),
        "INSERT INTO item VALUES ('d4', 'Dates', 1, '2024-03-01')",
    );
    assert_eq!(count(&t.session, old).await, "2");
    // A transaction reads for itself.
    t.ok("BEGIN").await;
    assert_eq!(count(&t.session, old).await, "3");
    t.ok("COMMIT").await;
}

/// What a session has been told under a smaller bound it is not told otherwise under a larger one.
#[tokio::test]
async fn no_session_goes_back() {
    let t = Fixture::new().await;
    let (one, other) = (t.engine.session(), t.engine.session());
    other.set("max_staleness", "1 hour").unwrap();
    assert_eq!(count(&other, COUNT).await, "4");
    add(&t, "B");
    assert_eq!(count(&one, "SELECT count(*) FROM erp.stock").await, "5");
    one.set("max_staleness", "1 hour").unwrap();
    assert_eq!(count(&one, COUNT).await, "5");
    // What was found for the one is told to the others.
    assert_eq!(count(&other, COUNT).await, "5");
    add(&t, "C");
    assert_eq!(count(&one, COUNT).await, "5");
    one.set("max_staleness", "2 hours").unwrap();
    assert_eq!(count(&one, COUNT).await, "6");
}

/// A view that is computed anew is newer than what was told of it.
/// What another session was told of a view's query is young to who is told it again: a copy that is older is not read afterwards.
#[tokio::test]
async fn what_another_was_told_instead_of_a_copy_counts() {
    let t = Fixture::new().await;
    t.ok("CREATE MATERIALIZED VIEW nightly WITH (refresh = 'every 1 day') AS SELECT site, qty FROM erp.stock")
        .await;
    let (strict, patient) = (t.engine.session(), t.engine.session());
    strict.set("max_staleness", "1ms").unwrap();
    patient.set("max_staleness", "1 hour").unwrap();
    assert_eq!(
        count(&patient, "SELECT count(*) AS had FROM nightly").await,
        "4"
    );
    add(&t, "B");
    tokio::time::sleep(Duration::from_millis(2)).await;
    let sql = "SELECT count(*) AS n FROM nightly";
    assert_eq!(count(&strict, sql).await, "5");
    assert_eq!(count(&patient, sql).await, "5");
    let other = "SELECT count(*) AS has FROM nightly";
    assert_eq!(count(&patient, other).await, "5");
    // Who has seen nothing of that is shown what its bound admits.
    let third = t.engine.session();
    third.set("max_staleness", "1 hour").unwrap();
    assert_eq!(
        count(&third, "SELECT count(*) AS had FROM nightly").await,
        "4"
    );
}

#[tokio::test]
async fn a_refreshed_view_is_read_anew() {
    let t = Fixture::new().await;
    t.ok(&format!("CREATE MATERIALIZED VIEW kept AS {COUNT}"))
        .await;
    t.ok("REFRESH MATERIALIZED VIEW kept").await;
    t.ok("SET max_staleness = '1 hour'").await;
    let sum = "SELECT sum(n) AS n FROM kept";
    assert_eq!(count(&t.session, sum).await, "4");
    let again = t.session.execute(sum).await.unwrap();
    assert!(
        again.freshness.to_string().contains("kept version 1"),
        "{}",
        again.freshness
    );
    add(&t, "B");
    assert_eq!(count(&t.session, sum).await, "4");
    t.ok("REFRESH MATERIALIZED VIEW kept").await;
    assert_eq!(count(&t.session, sum).await, "5");
}

/// A virtual view may say how old what it reads may be; a session and a call go before it.
#[tokio::test]
async fn a_view_says_how_old_its_rows_may_be() {
    let t = Fixture::new().await;
    t.ok(&format!(
        "CREATE VIEW counted WITH (max_staleness = '1 hour', owner = 'sales') AS {COUNT}"
    ))
    .await;
    t.ok("CREATE VIEW above AS SELECT n + 1 AS n FROM counted")
        .await;
    let n = "SELECT n FROM counted";
    assert_eq!(count(&t.session, n).await, "4");
    assert_eq!(count(&t.session, "SELECT n FROM above").await, "5");
    let prepared = t.session.prepare(n).await.unwrap();
    let ask = async || {
        let answer = t.session.execute_prepared(&prepared, &[]).await.unwrap();
        table(answer).await.unwrap()
    };
    assert!(ask().await.contains("| 4 "));
    add(&t, "B");
    assert_eq!(count(&t.session, n).await, "4");
    assert_eq!(count(&t.session, "SELECT n FROM above").await, "5");
    assert!(ask().await.contains("| 4 "));
    // What is read besides is as it is now, and so is all of it.
    let both = format!("SELECT c.n + s.n AS n FROM counted c, ({COUNT}) s");
    assert_eq!(count(&t.session, &both).await, "10");
    t.ok("SET max_staleness = '0s'").await;
    assert_eq!(count(&t.session, n).await, "5");
    assert!(ask().await.contains("| 5 "));
    t.ok("RESET max_staleness").await;
    t.ok("ALTER VIEW counted SET (max_staleness = '1ms')").await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(count(&t.session, n).await, "5");
    t.ok("ALTER VIEW counted RESET (max_staleness)").await;
    add(&t, "C");
    assert_eq!(count(&t.session, n).await, "6");
    // What it reads by a kept view is no older, either.
    t.ok(&format!("CREATE MATERIALIZED VIEW kept AS {COUNT}"))
        .await;
    t.ok("REFRESH MATERIALIZED VIEW kept").await;
    t.ok("CREATE VIEW over WITH (max_staleness = '1ms') AS SELECT n FROM kept")
        .await;
    add(&t, "D");
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(count(&t.session, "SELECT n FROM kept").await, "6");
    assert_eq!(count(&t.session, "SELECT n FROM over").await, "7");
    let refused = t
        .err("CREATE VIEW v WITH (refresh = 'on change') AS SELECT 1")
        .await;
    assert!(
        refused.contains("a virtual view has no option refresh"),
        "{refused}"
    );
    let refused = t.err("ALTER VIEW over SET (max_staleness = 'soon')").await;
    assert!(refused.contains("max_staleness"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_the_same_ask_it_once() {
    let t = Fixture::new().await;
    let asked = "SELECT count(*) AS n FROM system.fragments WHERE source = 'shop'";
    let before: usize = count(&t.session, asked).await.parse().unwrap();
    let sql =
        "SELECT customer, sum(qty) AS qty FROM shop.orders GROUP BY customer ORDER BY customer";
    let sessions = (0..40).map(|_| {
        let session = t.engine.session();
        session.set("max_staleness", "1 hour").unwrap();
        async move { shown(&session, sql).await.unwrap() }
    });
    let answers = futures::future::join_all(sessions.map(tokio::spawn)).await;
    let answers: Vec<String> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let after: usize = count(&t.session, asked).await.parse().unwrap();
    assert_eq!(after - before, 1);
}

#[tokio::test]
async fn while_a_source_fails_what_was_told_is_told_again() {
    let t = Fixture::new().await;
    t.ok("SET max_staleness = '1ms'").await;
    t.ok("SET stale_if_error = '1 hour'").await;
    assert!(t.ok(COUNT).await.contains("| 4 "));
    std::fs::rename(t.path("erp.db"), t.path("moved.db")).unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let answer = t.session.execute(COUNT).await.unwrap();
    assert!(answer.freshness.is_stale());
    assert!(
        answer.notices[0].contains("its source fails"),
        "{:?}",
        answer.notices
    );
    assert!(table(answer).await.unwrap().contains("| 4 "));
    // A session that reads what there is, if it can be had.
    t.ok("RESET max_staleness").await;
    assert!(t.ok(COUNT).await.contains("| 4 "));
    t.ok("SET stale_if_error = '1ms'").await;
    assert!(t.err(COUNT).await.starts_with("source_"));
    t.ok("RESET stale_if_error").await;
    assert!(t.err(COUNT).await.starts_with("source_"));
    std::fs::rename(t.path("moved.db"), t.path("erp.db")).unwrap();
    assert!(t.ok(COUNT).await.contains("| 4 "));
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let t = Fixture::empty().await;
    let builder = Engine::builder()
        .base_dir(t.dir.path())
        .result_cache(80 << 10);
    let engine = builder.open().await.unwrap();
    let session = engine.session();
    let run = async |sql: &str| shown(&session, sql).await.unwrap();
    run("CREATE SOURCE erp FROM 'sqlite:erp.db'").await;
    run("SET max_staleness = '1 hour'").await;
    for n in 0..200 {
        run(&format!("SELECT count(*) + {n} AS n FROM erp.stock")).await;
    }
    // Too large: it streams.
    let wide = "SELECT repeat(name, 10000) AS n FROM erp.item";
    assert_eq!(run(wide).await, run(wide).await);
    let kept =
        run("SELECT sum(bytes) <= 81920, count(*) > 20, max(bytes) <= 10240 FROM system.results");
    let kept = kept.await;
    assert_eq!(kept.matches("true").count(), 3, "{kept}");
    // None at all.
    let builder = Engine::builder().base_dir(t.dir.path()).result_cache(0);
    let engine = builder.open().await.unwrap();
    let session = engine.session();
    let run = async |sql: &str| shown(&session, sql).await.unwrap();
    run("CREATE SOURCE erp FROM 'sqlite:erp.db'").await;
    run("SET max_staleness = '1 hour'").await;
    assert!(run(COUNT).await.contains("| 4 "));
    add(&t, "B");
    assert!(run(COUNT).await.contains("| 5 "));
}

const PRICES: &str = "SELECT sum(price) AS n FROM erp.item";
const ITEMS: &str = "CREATE TABLE item (id BIGINT PRIMARY KEY, price BIGINT, note VARCHAR(9));
    INSERT INTO item VALUES (1, 5, 'a'), (2, 50, 'b')";
const DEARER: &str = "UPDATE item SET price = price + 1 WHERE id = 1";

/// Until a question has an answer that is told again as long as nothing changes.
async fn followed(t: &Fixture, sql: &str) {
    let begun = Instant::now();
    let kept = format!(
        "SELECT count(*) FROM system.results WHERE followed AND sql = '{}'",
        sql.replace('\'', "''")
    );
    loop {
        t.ok(sql).await;
        if count(&t.session, &kept).await == "1" {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{sql}: not followed");
        // Another is not told before this is forgotten.
        t.ok("SET max_staleness = '1ms'").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        t.ok(sql).await;
        t.ok("SET max_staleness = '1 hour'").await;
    }
}

/// The table is followed for a view by which the question cannot be answered. `commit` runs a statement at the source.
async fn is_told_until_its_tables_change(t: &Fixture, commit: impl AsyncFn(&str)) {
    t.ok("CREATE MATERIALIZED VIEW dear WITH (refresh = 'on change', wait = true) AS SELECT id, price FROM erp.item WHERE price > 10")
        .await;
    t.ok("SET max_staleness = '1 hour'").await;
    let prepared = t
        .session
        .prepare("SELECT price AS n FROM erp.item WHERE id = $1");
    let prepared = prepared.await.unwrap();
    let price = async || {
        let one = [ScalarValue::Int64(Some(1))];
        let answer = t.session.execute_prepared(&prepared, &one).await.unwrap();
        table(answer).await.unwrap()
    };
    let by_clock =
        "SELECT sum(price) AS n FROM erp.item WHERE now() > TIMESTAMP '2020-01-01 00:00:00'";
    followed(t, PRICES).await;
    followed(t, by_clock).await;
    price().await;
    for n in 56..60 {
        assert_eq!(count(&t.session, PRICES).await, (n - 1).to_string());
        commit(DEARER).await;
        // The bound would admit what there was for an hour.
        let sum = t.ok(&format!("SELECT {n}::bigint AS n")).await;
        until(&t.session, PRICES, &sum, PATIENCE).await;
        until(&t.session, by_clock, &sum, PATIENCE).await;
        let begun = Instant::now();
        while !price().await.contains(&format!("| {} ", n - 50)) {
            assert!(begun.elapsed() < PATIENCE, "the lookup is what it was");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Nothing changes: what was found is as young as what follows the table, and nobody is asked.
    followed(t, PRICES).await;
    t.ok("SET max_staleness = '2s'").await;
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let told = t.session.execute(PRICES).await.unwrap();
        assert!(told.freshness.age().unwrap() <= Duration::from_secs(2));
        if !told.freshness.is_live() {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "it is asked for again and again"
        );
    }
    // A column that nothing is told of.
    t.ok("SET max_staleness = '1 hour'").await;
    let note = "SELECT max(note) AS n FROM erp.item";
    assert_eq!(count(&t.session, note).await, "b");
    let kept = format!("SELECT followed FROM system.results WHERE sql = '{note}'");
    assert_eq!(count(&t.session, &kept).await, "false");
    // Nothing follows the table any more: what was told so far is not, whatever has changed meanwhile.
    followed(t, PRICES).await;
    t.ok("DROP MATERIALIZED VIEW dear").await;
    commit(DEARER).await;
    let sum = t.ok("SELECT 60::bigint AS n").await;
    until(&t.session, PRICES, &sum, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_postgres_end_what_is_told() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let admin = connected(server.port).await;
    admin.batch_execute(ITEMS).await.unwrap();
    let t = Fixture::empty().await;
    let port = server.port;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{port}/postgres'"
    ))
    .await;
    is_told_until_its_tables_change(&t, async |sql| admin.batch_execute(sql).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_mariadb_end_what_is_told() {
    let server = mysql::Server::start_logging().await;
    let tables: Vec<&str> = ITEMS.split(';').collect();
    server.database("crm", &tables).await;
    let t = Fixture::empty().await;
    let port = server.port;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'mysql://root@127.0.0.1:{port}/crm'"
    ))
    .await;
    let connection = tokio::sync::Mutex::new(server.connection_in("crm").await);
    is_told_until_its_tables_change(&t, async |sql| {
        connection.lock().await.query_drop(sql).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_sqlite_end_what_is_told() {
    let t = Fixture::empty().await;
    let path = t.path("item.db");
    database(
        &path,
        &ITEMS.replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY"),
    );
    t.ok("CREATE SOURCE erp FROM 'sqlite:item.db' WITH (changes = 'triggers')")
        .await;
    is_told_until_its_tables_change(&t, async |sql| database(&path, sql)).await;
}

/// What lies between two looks is not told, and may have been read.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_at_again_and_again_ends_nothing() {
    let t = Fixture::empty().await;
    database(&t.path("item.db"), ITEMS);
    t.ok("CREATE SOURCE erp FROM 'sqlite:item.db' WITH (changes = 'poll', poll_interval = '1s')")
        .await;
    t.ok("CREATE MATERIALIZED VIEW dear WITH (refresh = 'on change', wait = true) AS SELECT id, price FROM erp.item WHERE price > 10")
        .await;
    t.ok("SET max_staleness = '1 hour'").await;
    assert_eq!(count(&t.session, PRICES).await, "55");
    let kept = format!("SELECT followed FROM system.results WHERE sql = '{PRICES}'");
    assert_eq!(count(&t.session, &kept).await, "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_until_when_an_answer_is_told() {
    let t = Fixture::empty().await;
    let path = t.path("item.db");
    database(
        &path,
        &ITEMS.replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY"),
    );
    t.ok("CREATE SOURCE erp FROM 'sqlite:item.db' WITH (changes = 'triggers')")
        .await;
    t.ok("SET max_staleness = '1 hour'").await;
    let told = async |sql: &str| {
        let explained = t.ok(&format!("EXPLAIN {sql}")).await;
        let line = explained.lines().find(|line| line.contains("Told again"));
        line.unwrap().trim_matches(['|', ' ']).to_string()
    };
    assert_snapshot!(told(PRICES).await, @"Told again for 3600s to who asks the same");
    t.ok("CREATE MATERIALIZED VIEW dear WITH (refresh = 'on change', wait = true) AS SELECT id, price FROM erp.item WHERE price > 10")
        .await;
    followed(&t, PRICES).await;
    assert_snapshot!(told(PRICES).await, @"Told again until its tables change to who asks the same");
    let by_clock = format!("{PRICES} WHERE now() > TIMESTAMP '2020-01-01 00:00:00'");
    assert_snapshot!(told(&by_clock).await, @"Told again for 3600s, or until its tables change, to who asks the same");
}
