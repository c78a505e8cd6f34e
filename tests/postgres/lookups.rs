use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

use super::support::{Server, refused, rows};

/// What is found the short way is what is found the long way, whatever is asked for.
#[tokio::test]
async fn a_lookup_finds_what_a_query_finds() {
    let server = Server::start().await;
    let client = server.client().await;
    for (view, refresh) in [("kept", "on change"), ("computed", "manual")] {
        let sql = format!(
            "CREATE MATERIALIZED VIEW {view} WITH (refresh = '{refresh}', key = 'id', wait = true) AS
             SELECT id, sku, qty, qty * 1.5 AS price FROM shop.orders"
        );
        rows(&client, &sql).await;
        if refresh == "manual" {
            rows(&client, &format!("REFRESH MATERIALIZED VIEW {view}")).await;
        }
        rows(&client, &format!("CREATE INDEX ON {view} (sku, qty)")).await;
        let one = format!("SELECT sku, qty FROM {view} WHERE id = $1");
        let one = client.prepare(&one).await.unwrap();
        for id in [1i64, 999, 1000, 1001, -1, i64::MAX] {
            let found = client.query(&one, &[&id]).await.unwrap();
            let found: Vec<_> = found
                .iter()
                .map(|row| format!("{}|{}", row.get::<_, String>(0), row.get::<_, i64>(1)))
                .collect();
            let long = format!("SELECT sku, qty FROM {view} WHERE id + 0 = {id}");
            assert_eq!(found, rows(&client, &long).await, "{view} {id}");
        }
        assert!(
            client
                .query(&one, &[&None::<i64>])
                .await
                .unwrap()
                .is_empty()
        );
        // Of another type, and with no value of the column's.
        let other = format!("SELECT qty FROM {view} AS v WHERE v.id = $1");
        let count = async |of: Type, value: &(dyn ToSql + Sync)| {
            let statement = client.prepare_typed(&other, &[of]).await.unwrap();
            client.query(&statement, &[value]).await.unwrap().len()
        };
        assert_eq!(count(Type::INT4, &7i32).await, 1);
        assert_eq!(count(Type::FLOAT8, &7.0f64).await, 1);
        assert_eq!(count(Type::FLOAT8, &7.5f64).await, 0);
        // Two columns, of which many rows may have the same; and one that is fixed.
        let two = format!("SELECT id FROM {view} WHERE $1 = qty AND sku = 'S-3'");
        let two = client.prepare(&two).await.unwrap();
        for qty in 0..14i64 {
            let mut found: Vec<i64> = client
                .query(&two, &[&qty])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            found.sort_unstable();
            let long = format!(
                "SELECT id FROM {view} WHERE qty + 0 = {qty} AND sku || '' = 'S-3' ORDER BY id"
            );
            let long = rows(&client, &long).await;
            let found: Vec<_> = found.iter().map(i64::to_string).collect();
            assert_eq!(found, long, "{view} {qty}");
        }
    }
}

#[tokio::test]
async fn a_lookup_finds_what_is_there_now() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(
        &client,
        "CREATE MATERIALIZED VIEW v WITH (refresh = 'on change', key = 'id', wait = true) AS SELECT id, qty FROM shop.orders",
    )
    .await;
    let statement = client
        .prepare("SELECT qty FROM v WHERE id = $1")
        .await
        .unwrap();
    let qty = async || {
        let found = client.query(&statement, &[&5i64]).await.unwrap();
        found
            .iter()
            .map(|row| row.get::<_, i64>(0))
            .collect::<Vec<_>>()
    };
    assert_eq!(qty().await, [5]);
    server
        .shop()
        .execute_batch("UPDATE orders SET qty = 77 WHERE id = 5")
        .unwrap();
    rows(&client, "SET max_staleness = '0s'").await;
    assert_eq!(qty().await, [77]);
    rows(&client, "RESET max_staleness; BEGIN").await;
    assert_eq!(qty().await, [77]);
    server
        .shop()
        .execute_batch("DELETE FROM orders WHERE id = 5")
        .unwrap();
    while rows(&server.client().await, "SELECT qty FROM v WHERE id = 5").await
        != Vec::<String>::new()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(qty().await, [77]);
    rows(&client, "COMMIT").await;
    assert_eq!(qty().await, Vec::<i64>::new());
    // Defined anew, it is another view.
    rows(&client, "CREATE OR REPLACE MATERIALIZED VIEW v WITH (key = 'id', wait = true) AS SELECT id, id * 2 AS qty FROM shop.orders").await;
    rows(&client, "REFRESH MATERIALIZED VIEW v").await;
    let found = client.query(&statement, &[&6i64]).await.unwrap();
    assert_eq!(found[0].get::<_, i64>(0), 12);
    rows(&client, "DROP MATERIALIZED VIEW v").await;
    assert!(client.query(&statement, &[&6i64]).await.is_err());
    assert!(
        refused(&client, "SELECT * FROM v")
            .await
            .starts_with("42P01")
    );
}
