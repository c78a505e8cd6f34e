//! One view kept by change over three systems, each telling its changes in its own way.

use std::time::Duration;

use crate::fixture::{Fixture, database, until};
use crate::servers::{connected, mysql, postgres};
use mysql_async::prelude::Queryable;

const PATIENCE: Duration = Duration::from_secs(30);

const FREE: &str = "SELECT c.name, i.name AS item, sum(o.qty) AS ordered, max(s.qty) AS stock
    FROM crm.customer c
    JOIN shop.orders o ON o.customer = c.login
    LEFT JOIN erp.public.stock s ON s.sku = o.sku
    LEFT JOIN erp.public.item i ON i.sku = o.sku
    GROUP BY c.name, i.name";

async fn run(server: &mysql::Server, sql: &str) {
    let mut connection = server.connection_in("crm").await;
    connection.query_drop(sql).await.unwrap();
    connection.disconnect().await.unwrap();
}

async fn until_same(t: &Fixture) {
    let expected = t
        .ok(&format!("SELECT * FROM ({FREE}) q ORDER BY 1, 2"))
        .await;
    until(
        &t.session,
        "SELECT * FROM free ORDER BY 1, 2",
        &expected,
        PATIENCE,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_each_of_three_systems_is_seen() {
    let pg = tokio::task::block_in_place(postgres::Server::private);
    let erp = connected(pg.port).await;
    erp.batch_execute(
        "CREATE TABLE item (sku text PRIMARY KEY, name text NOT NULL);
         CREATE TABLE stock (sku text, site text, qty bigint, PRIMARY KEY (sku, site));
         INSERT INTO item VALUES ('a1', 'Apple'), ('b2', 'Bread');
         INSERT INTO stock VALUES ('a1', 'B', 10), ('a1', 'HH', 4), ('b2', 'B', 3)",
    )
    .await
    .unwrap();
    let maria = mysql::Server::start_logging().await;
    let tables = [
        "CREATE TABLE customer (id INT PRIMARY KEY, login VARCHAR(40) COLLATE utf8mb4_bin, name VARCHAR(40)) ENGINE=InnoDB",
        "INSERT INTO customer VALUES (1, 'ana', 'Ana'), (2, 'bob', 'Bob')",
    ];
    maria.database("crm", &tables).await;
    let t = Fixture::empty().await;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{}/postgres'",
        pg.port
    ))
    .await;
    t.ok(&format!(
        "CREATE SOURCE crm FROM 'mysql://root@127.0.0.1:{}/crm'",
        maria.port
    ))
    .await;
    t.ok("CREATE SOURCE shop FROM 'sqlite:shop.db' WITH (changes = 'triggers')")
        .await;
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW free WITH (refresh = 'on change') AS {FREE}"
    ))
    .await;
    until_same(&t).await;
    database(
        &t.path("shop.db"),
        "INSERT INTO orders VALUES (4, 'b2', 7, 'ana'); DELETE FROM orders WHERE id = 2",
    );
    until_same(&t).await;
    run(&maria, "UPDATE customer SET name = 'Anna' WHERE id = 1").await;
    until_same(&t).await;
    erp.batch_execute("UPDATE stock SET qty = qty * 2; DELETE FROM item WHERE sku = 'a1'")
        .await
        .unwrap();
    until_same(&t).await;
    // All at once, and a customer who is gone.
    run(&maria, "DELETE FROM customer WHERE id = 2").await;
    database(
        &t.path("shop.db"),
        "UPDATE orders SET sku = 'b2', qty = 1 WHERE customer = 'ana'",
    );
    erp.batch_execute("TRUNCATE stock; INSERT INTO stock VALUES ('b2', 'HH', 1)")
        .await
        .unwrap();
    until_same(&t).await;
    t.ok("DROP MATERIALIZED VIEW free").await;
}
