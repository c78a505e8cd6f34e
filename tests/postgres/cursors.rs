use super::support::{Server, refused, rows};

#[tokio::test]
async fn a_cursor_gives_rows_as_they_are_asked_for() {
    let server = Server::start().await;
    let client = server.client().await;
    let declare = "DECLARE c CURSOR FOR SELECT id FROM shop.orders ORDER BY id";
    assert!(refused(&client, declare).await.starts_with("25P01"));
    rows(&client, &format!("BEGIN; {declare}")).await;
    assert_eq!(rows(&client, "FETCH 2 FROM c").await, ["1", "2"]);
    assert_eq!(
        rows(&client, "MOVE 10 IN c; FETCH NEXT FROM c").await,
        ["13"]
    );
    assert_eq!(rows(&client, "FETCH ALL FROM c").await.len(), 987);
    assert!(rows(&client, "FETCH c").await.is_empty());
    rows(&client, "MOVE BACKWARD ALL IN c").await;
    assert_eq!(rows(&client, "FETCH FORWARD 1 FROM c").await, ["1"]);
    rows(&client, "COMMIT").await;
    assert!(refused(&client, "FETCH c").await.starts_with("34000"));
    rows(&client, "DECLARE d CURSOR WITH HOLD FOR SELECT 7 AS a").await;
    assert_eq!(rows(&client, "FETCH d; CLOSE d").await, ["7"]);
    assert!(refused(&client, "CLOSE d").await.starts_with("34000"));
}

#[tokio::test]
async fn statements_are_prepared_in_sql_too() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(
        &client,
        "PREPARE p AS SELECT id FROM mem.t WHERE id > $1 ORDER BY id",
    )
    .await;
    assert_eq!(rows(&client, "EXECUTE p(1)").await, ["2", "3"]);
    assert_eq!(rows(&client, "EXECUTE p(2.5)").await, ["3"]);
    assert!(
        refused(&client, "PREPARE p AS SELECT 1")
            .await
            .starts_with("42P05")
    );
    rows(&client, "DEALLOCATE p").await;
    assert!(refused(&client, "EXECUTE p(1)").await.starts_with("26000"));
    rows(&client, "SET timezone = 'Asia/Tokyo'; DISCARD ALL").await;
    assert_eq!(rows(&client, "SHOW timezone").await, ["UTC"]);
}

#[tokio::test]
async fn a_cursor_has_the_parameters_of_its_query() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(&client, "BEGIN").await;
    let declare = "DECLARE c CURSOR FOR SELECT id, $2 FROM shop.orders WHERE id > $1 ORDER BY id";
    let statement = client.prepare(declare).await.unwrap();
    assert_eq!(
        statement.params(),
        [
            tokio_postgres::types::Type::INT8,
            tokio_postgres::types::Type::TEXT
        ]
    );
    client.execute(&statement, &[&5i64, &"x"]).await.unwrap();
    let found = client.query("FETCH 2 FROM c", &[]).await.unwrap();
    let found: Vec<(i64, String)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, [(6, "x".to_string()), (7, "x".to_string())]);
}
