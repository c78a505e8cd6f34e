use super::support::{Server, refused, rows};

#[tokio::test]
async fn definitions_take_effect_together() {
    let server = Server::start().await;
    let (one, other) = (server.client().await, server.client().await);
    rows(
        &one,
        "BEGIN; CREATE VIEW v AS SELECT id FROM mem.t; CREATE VIEW w AS SELECT max(id) AS m FROM v",
    )
    .await;
    assert_eq!(rows(&one, "SELECT m FROM w").await, ["3"]);
    assert!(
        refused(&other, "SELECT * FROM v")
            .await
            .starts_with("42P01")
    );
    // What others define meanwhile stays.
    rows(&other, "CREATE VIEW z AS SELECT 1 AS a").await;
    rows(&one, "COMMIT").await;
    assert_eq!(rows(&other, "SELECT m FROM w").await, ["3"]);
    assert_eq!(rows(&one, "SELECT a FROM z").await, ["1"]);

    rows(&one, "BEGIN; DROP VIEW w; DROP VIEW v; ROLLBACK").await;
    assert_eq!(rows(&one, "SELECT m FROM w").await, ["3"]);
    // All or nothing: another has taken a name.
    rows(
        &one,
        "BEGIN; CREATE VIEW a AS SELECT 1 AS x; CREATE VIEW b AS SELECT 1 AS x",
    )
    .await;
    rows(&other, "CREATE VIEW b AS SELECT 2 AS x").await;
    assert!(refused(&one, "COMMIT").await.starts_with("42P07"));
    assert!(refused(&one, "SELECT * FROM a").await.starts_with("42P01"));
    assert_eq!(rows(&one, "SELECT x FROM b").await, ["2"]);
}

#[tokio::test]
async fn a_transaction_that_has_failed_does_nothing_more() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(&client, "BEGIN; CREATE VIEW v AS SELECT 1 AS a").await;
    assert!(
        refused(&client, "SELECT nothing")
            .await
            .starts_with("42703")
    );
    assert!(refused(&client, "SELECT 1").await.starts_with("25P02"));
    assert!(client.prepare("SELECT 1").await.is_err());
    // COMMIT of it is a rollback.
    rows(&client, "COMMIT").await;
    assert!(
        refused(&client, "SELECT * FROM v")
            .await
            .starts_with("42P01")
    );
    // An error while rows are on their way is one, too.
    rows(&client, "BEGIN").await;
    let late = "SELECT 1 / (60000 - value) FROM generate_series(1, 70000)";
    assert!(refused(&client, late).await.starts_with("22012"));
    assert!(refused(&client, "SELECT 1").await.starts_with("25P02"));
    rows(&client, "ROLLBACK").await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn settings_end_with_their_transaction() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(
        &client,
        "BEGIN; SET LOCAL timezone = 'Asia/Tokyo'; SET application_name = 'x'",
    )
    .await;
    assert_eq!(rows(&client, "SHOW timezone").await, ["Asia/Tokyo"]);
    rows(&client, "COMMIT").await;
    assert_eq!(
        rows(&client, "SHOW timezone; SHOW application_name").await,
        ["UTC", "x"]
    );
    rows(&client, "BEGIN; SET application_name = 'y'; ROLLBACK").await;
    assert_eq!(rows(&client, "SHOW application_name").await, ["x"]);
}

#[tokio::test]
async fn copies_are_of_one_moment() {
    let server = Server::start().await;
    let client = server.client().await;
    let other = server.client().await;
    for (view, query) in [
        ("n", "SELECT count(*) AS n FROM shop.orders"),
        ("s", "SELECT sum(qty) AS s FROM shop.orders"),
    ] {
        let sql = format!(
            "CREATE MATERIALIZED VIEW {view} WITH (refresh = 'on change', wait = true) AS {query}"
        );
        rows(&client, &sql).await;
    }
    rows(&client, "BEGIN").await;
    assert_eq!(rows(&client, "SELECT n FROM n").await, ["1000"]);
    let before = rows(&other, "SELECT s FROM s").await;
    server
        .shop()
        .execute_batch("INSERT INTO orders VALUES (2000, 'S-1', 1000)")
        .unwrap();
    // Others see it as soon as it is there.
    while rows(&other, "SELECT n FROM n").await != ["1001"] {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(rows(&client, "SELECT s FROM s").await, before);
    assert_eq!(rows(&client, "SELECT n FROM n").await, ["1000"]);
    // It is as old as it is: a bound that is younger is not kept.
    rows(&client, "SET LOCAL max_staleness = '1ms'").await;
    assert!(refused(&client, "SELECT n FROM n").await.contains("ms old"));
    rows(&client, "ROLLBACK").await;
    assert_eq!(rows(&client, "SELECT n FROM n").await, ["1001"]);
}

#[tokio::test]
async fn a_savepoint_is_gone_back_to() {
    let server = Server::start().await;
    let client = server.client().await;
    assert!(refused(&client, "SAVEPOINT a").await.starts_with("25P01"));
    rows(
        &client,
        "BEGIN; CREATE VIEW v AS SELECT 1 AS a; SAVEPOINT one; CREATE VIEW w AS SELECT 2 AS a",
    )
    .await;
    assert!(
        refused(&client, "SELECT nothing")
            .await
            .starts_with("42703")
    );
    rows(&client, "ROLLBACK TO SAVEPOINT one").await;
    assert_eq!(rows(&client, "SELECT a FROM v").await, ["1"]);
    assert!(
        refused(&client, "SELECT a FROM w")
            .await
            .starts_with("42P01")
    );
    rows(&client, "ROLLBACK TO one; SAVEPOINT two; SET LOCAL timezone = 'Asia/Tokyo'; ROLLBACK TO two; RELEASE one").await;
    assert_eq!(rows(&client, "SHOW timezone").await, ["UTC"]);
    assert!(refused(&client, "RELEASE two").await.starts_with("3B001"));
    rows(
        &client,
        "ROLLBACK; BEGIN; SAVEPOINT a; CREATE VIEW x AS SELECT 3 AS a; RELEASE a; COMMIT",
    )
    .await;
    assert_eq!(rows(&client, "SELECT a FROM x").await, ["3"]);
    assert!(
        refused(&client, "SELECT a FROM v")
            .await
            .starts_with("42P01")
    );
}

/// As PostgreSQL does it: statements that come at once are done together.
#[tokio::test]
async fn statements_that_come_at_once_are_one_transaction() {
    let server = Server::start().await;
    let client = server.client().await;
    let sql = "CREATE VIEW q9 AS SELECT 1 AS a; SET application_name = 'x'; SELECT 1 / 0";
    assert!(refused(&client, sql).await.starts_with("22012"));
    assert!(
        refused(&client, "SELECT * FROM q9")
            .await
            .starts_with("42P01")
    );
    assert_eq!(rows(&client, "SHOW application_name").await, [""]);
    let sql =
        "CREATE VIEW q9 AS SELECT 1 AS a; SELECT a FROM q9; CREATE VIEW q8 AS SELECT a FROM q9";
    assert_eq!(rows(&client, sql).await, ["1"]);
    assert_eq!(rows(&client, "SELECT a FROM q8").await, ["1"]);
    // What ends it is done; what comes after is by itself.
    let sql =
        "CREATE VIEW a AS SELECT 1 AS x; COMMIT; CREATE VIEW b AS SELECT 1 AS x; SELECT nothing";
    assert!(refused(&client, sql).await.starts_with("42703"));
    assert_eq!(rows(&client, "SELECT x FROM a").await, ["1"]);
    assert!(
        refused(&client, "SELECT x FROM b")
            .await
            .starts_with("42P01")
    );
    // With BEGIN it goes on, with what was done before.
    rows(
        &client,
        "CREATE VIEW b AS SELECT 1 AS x; BEGIN; CREATE VIEW c AS SELECT x FROM b",
    )
    .await;
    assert_eq!(rows(&client, "SELECT x FROM c; ROLLBACK").await, ["1"]);
    for view in ["b", "c"] {
        assert!(
            refused(&client, &format!("SELECT x FROM {view}"))
                .await
                .starts_with("42P01")
        );
    }
    // What cannot be part of a transaction is by itself, as it is in none.
    rows(&client, "ALTER SOURCE shop SET (writable = true)").await;
    let sql = "CREATE VIEW d AS SELECT 1 AS x; INSERT INTO shop.orders VALUES (7000, 'S-1', 1); SELECT nothing";
    assert!(refused(&client, sql).await.starts_with("42703"));
    assert_eq!(rows(&client, "SELECT x FROM d").await, ["1"]);
    assert_eq!(
        rows(&client, "SELECT qty FROM shop.orders WHERE id = 7000").await,
        ["1"]
    );
}

#[tokio::test]
async fn a_view_that_is_yet_to_be_filled_is_read_by_its_query() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(
        &client,
        "BEGIN; CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM mem.t",
    )
    .await;
    assert_eq!(rows(&client, "SELECT n FROM n").await, ["3"]);
    rows(
        &client,
        "CREATE MATERIALIZED VIEW checked CHECK some AS (SELECT 1 AS a WHERE false) AS SELECT 1 AS a",
    )
    .await;
    let said = refused(&client, "SELECT a FROM checked").await;
    assert!(
        said.starts_with("55000: ") && said.contains("COMMIT"),
        "{said}"
    );
    rows(&client, "ROLLBACK").await;
    assert!(
        refused(&client, "SELECT n FROM n")
            .await
            .starts_with("42P01")
    );
}
