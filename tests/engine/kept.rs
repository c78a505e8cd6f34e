//! Materialized views that are computed anew: by hand, by schedule, when they are read.

use std::time::Duration;

use insta::assert_snapshot;

use crate::fixture::{Fixture, database, shown};

#[tokio::test]
async fn a_view_keeps_its_rows_until_it_is_refreshed() {
    let t = Fixture::new().await;
    t.ok(
        "CREATE MATERIALIZED VIEW stock AS SELECT sku, sum(qty) AS qty FROM erp.stock GROUP BY sku",
    )
    .await;
    // The first read waits for the first run.
    let query = "SELECT * FROM stock ORDER BY sku";
    assert_snapshot!(t.ok(query).await, @r"
    +-----+-----+
    | sku | qty |
    +-----+-----+
    | a1  | 15  |
    | b2  | 0   |
    | c3  |     |
    +-----+-----+
    ");
    database(
        &t.path("erp.db"),
        "UPDATE stock SET qty = 100 WHERE site = 'B'",
    );
    assert_snapshot!(t.ok(query).await, @r"
    +-----+-----+
    | sku | qty |
    +-----+-----+
    | a1  | 15  |
    | b2  | 0   |
    | c3  |     |
    +-----+-----+
    ");
    t.ok("REFRESH MATERIALIZED VIEW stock").await;
    assert_snapshot!(t.ok(query).await, @r"
    +-----+-----+
    | sku | qty |
    +-----+-----+
    | a1  | 105 |
    | b2  | 100 |
    | c3  |     |
    +-----+-----+
    ");
    let state = "SELECT name, refresh, state, reason, rows, version FROM system.views";
    assert_snapshot!(t.ok(state).await, @r"
    +-------+---------+-------+--------+------+---------+
    | name  | refresh | state | reason | rows | version |
    +-------+---------+-------+--------+------+---------+
    | stock | manual  | live  |        | 3    | 2       |
    +-------+---------+-------+--------+------+---------+
    ");
    let runs = "SELECT view, trigger, attempt, rows, version, error FROM system.refreshes";
    assert_snapshot!(t.ok(runs).await, @r"
    +-------+---------+---------+------+---------+-------+
    | view  | trigger | attempt | rows | version | error |
    +-------+---------+---------+------+---------+-------+
    | stock | manual  | 1       | 3    | 2       |       |
    | stock | first   | 1       | 3    | 1       |       |
    +-------+---------+---------+------+---------+-------+
    ");
    assert_snapshot!(t.ok("SHOW CREATE VIEW stock").await, @r"
    +-------+--------------------------------------------------------------------------------------------------+
    | view  | definition                                                                                       |
    +-------+--------------------------------------------------------------------------------------------------+
    | stock | CREATE MATERIALIZED VIEW public.stock AS SELECT sku, sum(qty) AS qty FROM erp.stock GROUP BY sku |
    +-------+--------------------------------------------------------------------------------------------------+
    ");
    // Joined with a table of a source, and by a view.
    t.ok("CREATE VIEW named AS SELECT i.name, s.qty FROM stock s JOIN erp.item i USING (sku)")
        .await;
    assert_snapshot!(t.ok("SELECT * FROM named ORDER BY name").await, @r"
    +--------+-----+
    | name   | qty |
    +--------+-----+
    | Apple  | 105 |
    | Bread  | 100 |
    | Cheese |     |
    +--------+-----+
    ");
    assert_snapshot!(t.err("DROP VIEW stock").await, @"invalid: stock is a materialized view. Write DROP MATERIALIZED VIEW stock");
    assert_snapshot!(t.err("DROP MATERIALIZED VIEW stock").await, @"in_use: view stock cannot be dropped or renamed without view named. Drop them first, or DROP it with CASCADE");
    assert_snapshot!(t.err("REFRESH MATERIALIZED VIEW named").await, @"invalid: named is a virtual view. It is computed when it is read: there is nothing to refresh");
    t.ok("DROP MATERIALIZED VIEW stock CASCADE").await;
    assert_snapshot!(t.err(query).await, @"unknown_name: table or view stock does not exist. There is erp.stock");
}

#[tokio::test]
async fn versions_survive_a_restart() {
    let t = Fixture::empty().await;
    let engine = t.open().await.unwrap();
    let session = engine.session();
    let ok = async |session: &belvedere::Session, sql: &str| {
        shown(session, sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    };
    ok(&session, "CREATE SOURCE erp FROM 'sqlite:erp.db'").await;
    let sql = "CREATE MATERIALIZED VIEW total WITH (keep = 2, wait = true) AS SELECT sum(qty) AS qty FROM erp.stock";
    ok(&session, sql).await;
    for qty in [20, 30, 40] {
        let sql = format!("UPDATE stock SET qty = {qty} WHERE site = 'B' AND sku = 'a1'");
        database(&t.path("erp.db"), &sql);
        ok(&session, "REFRESH MATERIALIZED VIEW total").await;
    }
    let versions = "SELECT view, version, rows FROM system.versions ORDER BY version";
    let before = ok(&session, versions).await;
    assert_snapshot!(before, @r"
    +-------+---------+------+
    | view  | version | rows |
    +-------+---------+------+
    | total | 3       | 1    |
    | total | 4       | 1    |
    +-------+---------+------+
    ");
    let older = "SELECT o.qty, n.qty AS now FROM total VERSION AS OF 3 AS o, total n";
    assert_snapshot!(ok(&session, older).await, @r"
    +-----+-----+
    | qty | now |
    +-----+-----+
    | 35  | 45  |
    +-----+-----+
    ");
    for sql in [
        "SELECT * FROM total VERSION AS OF 1",
        "SELECT * FROM total TIMESTAMP AS OF '2001-01-01'",
        "SELECT * FROM total VERSION AS OF 0",
        "SELECT * FROM erp.stock VERSION AS OF 1",
    ] {
        assert!(shown(&session, sql).await.is_err(), "{sql}");
    }
    let newest = "SELECT total.qty FROM total TIMESTAMP AS OF '2101-01-01'";
    let rows = ok(&session, "SELECT * FROM total").await;
    assert_eq!(ok(&session, newest).await, rows);
    drop(session);
    engine.close().await.unwrap();
    // The source is gone, and the view has what it had.
    std::fs::remove_file(t.path("erp.db")).unwrap();
    let session = t.open().await.unwrap().session();
    assert_eq!(ok(&session, "SELECT * FROM total").await, rows);
    assert_eq!(ok(&session, versions).await, before);
    let failed = shown(&session, "REFRESH MATERIALIZED VIEW total").await;
    assert!(failed.is_err());
    assert_eq!(ok(&session, "SELECT * FROM total").await, rows);
    let state = ok(&session, "SELECT state, version FROM system.views").await;
    assert_snapshot!(state, @r"
    +--------+---------+
    | state  | version |
    +--------+---------+
    | failed | 4       |
    +--------+---------+
    ");
}

#[tokio::test]
async fn what_a_check_finds_does_not_show() {
    let t = Fixture::new().await;
    let create = "CREATE MATERIALIZED VIEW stock
        CHECK not_negative AS (SELECT * FROM stock WHERE qty < 0)
        AS SELECT sku, site, qty FROM erp.stock WHERE qty IS NOT NULL";
    t.ok(create).await;
    let query = "SELECT sku, site, qty FROM stock ORDER BY 1, 2";
    let before = t.ok(query).await;
    database(
        &t.path("erp.db"),
        "UPDATE stock SET qty = -1 WHERE site = 'HH'",
    );
    assert_snapshot!(t.err("REFRESH MATERIALIZED VIEW stock").await, @"invalid: check not_negative of view stock found rows. What was there before stays. Run the check's query against the sources to see them");
    assert_eq!(t.ok(query).await, before);
    assert_snapshot!(t.ok("SELECT state, reason, version FROM system.views").await, @r"
    +--------+---------------------------------------------------------------------------------------------------------------------------------+---------+
    | state  | reason                                                                                                                          | version |
    +--------+---------------------------------------------------------------------------------------------------------------------------------+---------+
    | failed | check not_negative of view stock found rows. What was there before stays. Run the check's query against the sources to see them | 1       |
    +--------+---------------------------------------------------------------------------------------------------------------------------------+---------+
    ");
    database(
        &t.path("erp.db"),
        "UPDATE stock SET qty = 1 WHERE site = 'HH'",
    );
    t.ok("REFRESH MATERIALIZED VIEW stock").await;
    assert_ne!(t.ok(query).await, before);
    assert_snapshot!(t.ok("SELECT state, reason FROM system.views").await, @r"
    +-------+--------+
    | state | reason |
    +-------+--------+
    | live  |        |
    +-------+--------+
    ");
    assert_snapshot!(t.ok("SHOW CREATE VIEW stock").await, @r"
    +-------+---------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | view  | definition                                                                                                                                                    |
    +-------+---------------------------------------------------------------------------------------------------------------------------------------------------------------+
    | stock | CREATE MATERIALIZED VIEW public.stock CHECK not_negative AS (SELECT * FROM stock WHERE qty < 0) AS SELECT sku, site, qty FROM erp.stock WHERE qty IS NOT NULL |
    +-------+---------------------------------------------------------------------------------------------------------------------------------------------------------------+
    ");
}

#[tokio::test]
async fn a_schedule_runs_and_a_bound_is_kept() {
    let t = Fixture::new().await;
    t.ok("CREATE MATERIALIZED VIEW a WITH (refresh = 'every 1 second') AS SELECT max(qty) AS qty FROM erp.stock").await;
    t.ok("CREATE MATERIALIZED VIEW b WITH (refresh = 'on read', max_staleness = '1ms') AS SELECT max(qty) AS qty FROM erp.stock").await;
    t.ok("CREATE MATERIALIZED VIEW c WITH (max_staleness = '1ms') AS SELECT max(qty) AS qty FROM erp.stock").await;
    assert!(t.ok("SELECT * FROM a").await.contains("10"));
    assert!(t.ok("SELECT * FROM b").await.contains("10"));
    database(
        &t.path("erp.db"),
        "UPDATE stock SET qty = 77 WHERE site = 'B'",
    );
    // A read finds it older than it may be.
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(t.ok("SELECT * FROM b").await.contains("77"));
    // As does one of a copy that nothing brings up to date: its query answers.
    assert!(t.ok("SELECT * FROM c").await.contains("77"));
    for _ in 0..100 {
        if t.ok("SELECT * FROM a").await.contains("77") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(t.ok("SELECT * FROM a").await.contains("77"));
    t.ok("ALTER MATERIALIZED VIEW c SET (max_staleness = '1 hour')")
        .await;
    assert!(t.ok("SELECT * FROM c").await.contains("10"));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let t = Fixture::new().await;
    let create = async |options: &str, query: &str| {
        t.err(&format!(
            "CREATE MATERIALIZED VIEW v WITH ({options}) AS {query}"
        ))
        .await
    };
    let select = "SELECT sku FROM erp.item";
    assert_snapshot!(create("refresh = 'on change'", select).await, @"invalid: source erp does not tell what changes: changes = 'triggers' on the source writes triggers and a log table into the database; changes = 'poll' looks at its tables again and again, and writes nothing. ALTER SOURCE erp SET (changes = 'poll', poll_interval = '1s') looks at its tables again and again; or recompute the view: refresh = 'every 1 minute', or 'on read' with a max_staleness");
    assert_snapshot!(create("refresh = 'sometimes'", select).await, @"invalid: a view is not refreshed 'sometimes'. Write refresh = 'on change', 'on read', 'manual', 'every 1 hour', 'every 1 day at 02:00 Europe/Berlin' or 'cron 0 2 * * 1-5 Europe/Berlin'");
    assert_snapshot!(create("refesh = 'manual'", select).await, @"invalid: a materialized view has no option refesh. Did you mean refresh?");
    assert_snapshot!(create("key = 'name'", select).await, @"unknown_name: column name of the key of view v does not exist");
    assert_snapshot!(create("refresh = 'on read'", select).await, @"invalid: a view with refresh = 'on read' says how old it may be when it is read, where nothing tells that what it reads has changed: source erp does not tell what changes: changes = 'triggers' on the source writes triggers and a log table into the database; changes = 'poll' looks at its tables again and again, and writes nothing. Add max_staleness = '5min'");
    assert_snapshot!(create("keep = 3", "SELECT * FROM v").await, @"unknown_name: table or view v does not exist");
    assert_snapshot!(t.err("CREATE VIEW v WITH (keep = 3) AS SELECT 1 AS one").await, @"invalid: a virtual view has no option keep: it is computed when it is read. CREATE MATERIALIZED VIEW keeps its rows");
    assert_snapshot!(t.err("CREATE MATERIALIZED VIEW v CHECK c AS (SELECT nothing FROM v) AS SELECT 1 AS one").await, @"invalid: check c: No field named nothing. Valid fields are v.one");
}

#[tokio::test]
async fn create_waits_if_it_is_asked_to() {
    let t = Fixture::new().await;
    let view = "MATERIALIZED VIEW stock WITH (wait = true) AS SELECT sku, sum(qty) AS qty FROM erp.stock GROUP BY sku";
    t.ok(&format!("CREATE {view}")).await;
    let state = "SELECT state, rows, version FROM system.views";
    assert_snapshot!(t.ok(state).await, @r"
    +-------+------+---------+
    | state | rows | version |
    +-------+------+---------+
    | live  | 3    | 1       |
    +-------+------+---------+
    ");
    assert!(!t.ok("SHOW CREATE VIEW stock").await.contains("wait"));
    // One that cannot be filled is defined, and says why.
    let bad = "CREATE MATERIALIZED VIEW bad WITH (wait = true) AS SELECT 1 / (qty - qty) AS n FROM erp.stock";
    assert_snapshot!(t.err(bad).await, @"invalid: materialized view bad has never been filled: division by zero. system.refreshes has its runs; REFRESH MATERIALIZED VIEW tries again");
    assert_snapshot!(t.ok("SELECT name, state FROM system.views").await, @r"
    +-------+--------+
    | name  | state  |
    +-------+--------+
    | bad   | failed |
    | stock | live   |
    +-------+--------+
    ");
    assert_snapshot!(t.err("CREATE VIEW v WITH (wait = true) AS SELECT 1 AS one").await, @"invalid: wait is true or false, and of a materialized view: it waits until that is filled. Write CREATE MATERIALIZED VIEW … WITH (wait = true)");
    let unclear = "CREATE MATERIALIZED VIEW v WITH (wait = 'long') AS SELECT 1 AS one";
    assert_snapshot!(t.err(unclear).await, @"invalid: wait is true or false, and of a materialized view: it waits until that is filled. Write CREATE MATERIALIZED VIEW … WITH (wait = true)");
}

#[tokio::test]
async fn an_index_finds_the_rows_of_values() {
    let t = Fixture::new().await;
    t.ok("CREATE MATERIALIZED VIEW stock WITH (key = 'sku, site') AS SELECT sku, site, qty FROM erp.stock")
        .await;
    t.ok("CREATE INDEX ON stock (site)").await;
    t.ok("CREATE INDEX by_sku ON stock (sku)").await;
    t.ok("CREATE INDEX IF NOT EXISTS by_sku ON stock (sku)")
        .await;
    t.ok("SELECT * FROM stock").await;
    assert_snapshot!(t.ok("SELECT * FROM system.indexes").await, @r"
    +--------+-------+----------------+-----------+
    | schema | view  | name           | columns   |
    +--------+-------+----------------+-----------+
    | public | stock |                | sku, site |
    | public | stock | stock_site_idx | site      |
    | public | stock | by_sku         | sku       |
    +--------+-------+----------------+-----------+
    ");
    // Each way to ask for the same rows gives the same rows, by an index or without one.
    for (condition, index) in [
        ("site = 'B'", "[site]"),
        ("'B' = site AND qty > 0", "[site]"),
        ("sku = 'a1' AND site = 'B'", "[sku, site]"),
        ("sku IN ('a1', 'b2', 'a1')", "[sku]"),
        (
            "sku IN ('a1', 'b2', 'x', 'y', 'z') AND site IN ('B', 'HH')",
            "[sku, site]",
        ),
        ("sku = 'a1' OR sku = 'nothing'", "[sku]"),
        ("sku = 'nothing'", "[sku]"),
    ] {
        let by_index = format!("SELECT * FROM stock WHERE {condition} ORDER BY sku, site");
        let without = format!("SELECT * FROM erp.stock WHERE {condition} ORDER BY sku, site");
        let without = without.replace("*", "sku, site, qty");
        assert_eq!(t.ok(&by_index).await, t.ok(&without).await, "{condition}");
        let plan = t.ok(&format!("EXPLAIN {by_index}")).await;
        assert!(plan.contains(&format!("index={index}")), "{plan}");
    }
    for condition in [
        "sku <> 'a1'",
        "sku = 'a1' OR site = 'B'",
        "qty = 10",
        "sku NOT IN ('a1')",
    ] {
        let plan = t
            .ok(&format!("EXPLAIN SELECT * FROM stock WHERE {condition}"))
            .await;
        assert!(!plan.contains("index="), "{plan}");
    }
    // Whoever explains a statement is told what he reads, and how old it is.
    let plan = t.ok("EXPLAIN SELECT * FROM stock, stock s").await;
    let read = plan.matches("Read from stock (computed when that is asked for, version 1, ");
    assert_eq!(read.count(), 1, "{plan}");
    assert!(plan.contains(" ms old)"), "{plan}");
    // A new version has the same indexes.
    database(
        &t.path("erp.db"),
        "UPDATE stock SET site = 'M' WHERE site = 'B'",
    );
    t.ok("REFRESH MATERIALIZED VIEW stock").await;
    let moved = t
        .ok("SELECT count(*) AS n FROM stock WHERE site = 'M'")
        .await;
    assert_eq!(
        moved,
        t.ok("SELECT count(*) AS n FROM erp.stock WHERE site = 'M'")
            .await
    );
    assert_eq!(
        t.ok("SELECT * FROM stock WHERE site = 'B'")
            .await
            .lines()
            .count(),
        4
    );
    // A view that is defined anew keeps those whose columns it has.
    t.ok("CREATE OR REPLACE MATERIALIZED VIEW stock AS SELECT sku, qty FROM erp.stock")
        .await;
    assert_snapshot!(t.ok("SELECT * FROM system.indexes").await, @r"
    +--------+-------+--------+---------+
    | schema | view  | name   | columns |
    +--------+-------+--------+---------+
    | public | stock | by_sku | sku     |
    +--------+-------+--------+---------+
    ");
    t.ok("DROP INDEX by_sku").await;
    t.ok("DROP INDEX IF EXISTS by_sku").await;
    assert_snapshot!(t.err("DROP INDEX by_sku").await, @"unknown_name: index by_sku does not exist");
    assert_snapshot!(t.err("CREATE INDEX ON stock (site)").await, @"unknown_name: column site of view stock does not exist");
    assert_snapshot!(t.err("CREATE INDEX ON stock (sku, sku)").await, @"invalid: column sku is twice in the index");
    assert_snapshot!(t.err("CREATE INDEX ON erp.stock (sku)").await, @"unknown_name: view erp.stock does not exist. Did you mean stock?");
    assert_snapshot!(t.err("CREATE UNIQUE INDEX ON stock (sku)").await, @"parse: an index finds rows, and does not tell them apart (line 1, column 8); A view's rows are told apart by its key: CREATE MATERIALIZED VIEW … WITH (key = 'sku')");
    t.ok("CREATE VIEW plain AS SELECT * FROM stock").await;
    assert_snapshot!(t.err("CREATE INDEX ON plain (sku)").await, @"invalid: plain is a virtual view: it has no rows to find. Its sources' own indexes are used; CREATE MATERIALIZED VIEW keeps rows");
    t.ok("CREATE INDEX one ON stock (sku)").await;
    assert_snapshot!(t.err("CREATE INDEX one ON stock (qty)").await, @"name_taken: index one on stock already exists. DROP INDEX public.one makes room for it");
    t.ok("DROP VIEW plain").await;
    t.ok("DROP MATERIALIZED VIEW stock").await;
    assert_eq!(
        t.ok("SELECT * FROM system.indexes").await.lines().count(),
        4
    );
}
