//! What is asked of late, and what would serve it better.

use datafusion::scalar::ScalarValue;

use crate::fixture::Fixture;

#[tokio::test]
async fn statements_that_differ_in_constants_are_one() {
    let t = Fixture::new().await;
    for sku in ["a1", "b2", "c3", "d4"] {
        t.ok(&format!("SELECT name FROM erp.item WHERE sku = '{sku}'"))
            .await;
    }
    t.err("SELECT name FROM erp.item WHERE sku = 1/0").await;
    let found = "SELECT sql, calls, failed, rows, read_from, live_calls, mean_ms <= max_ms AS timed
                 FROM system.statements WHERE sql LIKE '%erp.item%' ORDER BY calls DESC";
    insta::assert_snapshot!(t.ok(found).await, @r"
    +---------------------------------------------+-------+--------+------+-----------+------------+-------+
    | sql                                         | calls | failed | rows | read_from | live_calls | timed |
    +---------------------------------------------+-------+--------+------+-----------+------------+-------+
    | SELECT name FROM erp.item WHERE sku = ?     | 4     | 0      | 3    | erp live  | 4          | true  |
    | SELECT name FROM erp.item WHERE sku = ? / ? | 1     | 1      | 0    |           | 0          | true  |
    +---------------------------------------------+-------+--------+------+-----------+------------+-------+
    ");
}

#[tokio::test]
async fn lookups_of_a_source_are_worth_a_copy() {
    let t = Fixture::new().await;
    t.ok("ALTER SOURCE shop SET (owner = 'sales')").await;
    t.ok("ALTER SOURCE erp SET (changes = 'poll', poll_interval = '1s')")
        .await;
    let prepared = t
        .session
        .prepare("SELECT name FROM erp.item WHERE sku = $1")
        .await
        .unwrap();
    for number in 0..600 {
        let sku = ["a1", "b2", "none"][number % 3];
        let value = [ScalarValue::Utf8(Some(sku.to_string()))];
        let answer = t.session.execute_prepared(&prepared, &value).await.unwrap();
        answer.collect().await.unwrap();
    }
    let advised = t
        .ok("SELECT kind, about, why FROM system.advice ORDER BY kind")
        .await;
    insta::assert_snapshot!(advised, @r"
    +---------+-------+---------------------------------------------------------------------------------------------+
    | kind    | about | why                                                                                         |
    +---------+-------+---------------------------------------------------------------------------------------------+
    | lookups | erp   | it was asked 600 of the last statements one by one: SELECT name FROM erp.item WHERE sku = ? |
    | owner   | erp   | nobody is said to answer for it                                                             |
    +---------+-------+---------------------------------------------------------------------------------------------+
    ");
    // What is advised can be done, and mends it.
    let advised = t
        .session
        .execute("SELECT statement FROM system.advice WHERE kind = 'lookups'")
        .await
        .unwrap();
    let rows = advised.collect().await.unwrap();
    let statement =
        datafusion::arrow::util::display::array_value_to_string(rows[0].column(0), 0).unwrap();
    assert_eq!(
        statement,
        "CREATE MATERIALIZED VIEW item WITH (refresh = 'on change', key = 'sku') AS SELECT * FROM erp.item"
    );
    t.ok(&statement).await;
    assert!(
        t.ok("SELECT name FROM item WHERE sku = 'b2'")
            .await
            .contains("Bread")
    );
}

#[tokio::test]
async fn copies_that_are_too_old_for_who_reads_them() {
    let t = Fixture::new().await;
    t.ok("CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM erp.stock")
        .await;
    // It has been filled.
    t.ok("SELECT n FROM kept").await;
    t.ok("SET max_staleness = '0s'").await;
    for _ in 0..12 {
        t.ok("SELECT n FROM kept").await;
    }
    let found = "SELECT kind, about, why, statement FROM system.advice WHERE kind = 'bound'";
    insta::assert_snapshot!(t.ok(found).await, @r"
    +-------+-------+------------------------------------------------------------------------+----------------------------------------------------------+
    | kind  | about | why                                                                    | statement                                                |
    +-------+-------+------------------------------------------------------------------------+----------------------------------------------------------+
    | bound | kept  | its copy was too old for 12 of the last statements, which read it live | ALTER MATERIALIZED VIEW kept SET (refresh = 'on change') |
    +-------+-------+------------------------------------------------------------------------+----------------------------------------------------------+
    ");
}
