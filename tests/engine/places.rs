//! Sources that are one place: what several of them hold is asked of one, in one fragment.

use crate::fixture::{Fixture, database};
#[cfg(all(feature = "mysql", feature = "postgres"))]
use crate::servers::{mysql, postgres};

/// How many fragments a query is.
async fn fragments(fixture: &Fixture, query: &str) -> usize {
    fixture.sent(query).await.matches("Sent to").count()
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn two_databases_of_one_mariadb() {
    let server = mysql::Server::start().await;
    server
        .database(
            "crm",
            &[
                "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL)",
                "INSERT INTO customer VALUES (1, 'Ana'), (2, 'Bob'), (3, 'Cy')",
            ],
        )
        .await;
    server
        .database(
            "shop",
            &[
                "CREATE TABLE bill (id INT PRIMARY KEY, customer INT NOT NULL, total DECIMAL(10,2), day DATE)",
                "INSERT INTO bill VALUES (1, 1, 5.00, '2024-01-01'), (2, 1, 2.50, NULL), (3, 3, 4.25, NULL)",
                "CREATE OR REPLACE USER clerk@localhost",
                "GRANT SELECT ON shop.* TO clerk@localhost",
                "CREATE OR REPLACE USER clerk@'%'",
                "GRANT SELECT ON shop.* TO clerk@'%'",
            ],
        )
        .await;
    let port = server.port;
    let fixture = Fixture::empty().await;
    for (name, url, options) in [
        ("crm", format!("mysql://root@127.0.0.1:{port}/crm"), ""),
        // What does not change what is there and who sees it.
        (
            "shop",
            format!("mariadb://root@127.0.0.1:{port}/shop"),
            "WITH (max_connections = 2, columns = 'bill.day: text')",
        ),
        ("clerks", format!("mysql://clerk@127.0.0.1:{port}/shop"), ""),
        ("alias", format!("mysql://root@localhost:{port}/shop"), ""),
        (
            "tunnel",
            format!("mysql://root@127.0.0.1:{port}/shop"),
            "WITH (ssl_mode = 'disable')",
        ),
    ] {
        fixture
            .ok(&format!("CREATE SOURCE {name} FROM '{url}' {options}"))
            .await;
    }
    let query = |shop: &str| {
        format!(
            "SELECT c.name, sum(b.total) AS total FROM crm.customer c JOIN {shop}.bill b ON b.customer = c.id \
             GROUP BY c.name"
        )
    };
    let sent = fixture.sent(&query("shop")).await;
    assert_eq!(sent.matches("Sent to").count(), 1, "{sent}");
    assert!(
        sent.contains("`crm`.`customer`") || sent.contains("\"crm\".\"customer\""),
        "{sent}"
    );
    assert!(
        sent.contains("`shop`.`bill`") || sent.contains("\"shop\".\"bill\""),
        "{sent}"
    );
    let ordered = |shop: &str| format!("{} ORDER BY c.name", query(shop));
    let expected = fixture.ok(&ordered("clerks")).await;
    assert!(expected.contains("| Ana  | 7.50"), "{expected}");
    assert_eq!(fixture.ok(&ordered("shop")).await, expected);
    // Another account, another name of the server, another way to it: nobody knows that they are the same.
    for other in ["clerks", "alias", "tunnel"] {
        assert_eq!(fragments(&fixture, &query(other)).await, 2, "{other}");
        assert_eq!(fixture.ok(&ordered(other)).await, expected, "{other}");
    }
    // Unions, and a decision of the source that does not answer.
    let union = "SELECT id FROM crm.customer UNION ALL SELECT id FROM shop.bill";
    assert_eq!(fragments(&fixture, union).await, 1);
    let decided = "SELECT c.name, b.day FROM crm.customer c JOIN shop.bill b ON b.customer = c.id WHERE b.id = 1";
    assert_eq!(fragments(&fixture, decided).await, 1);
    let found = fixture.ok(decided).await;
    assert!(found.contains("| Ana  | 2024-01-01 |"), "{found}");
    fixture.ok("SET pushdown = off").await;
    assert_eq!(fixture.ok(decided).await, found);
    fixture.ok("SET pushdown = on").await;

    // A table of the other that has changed is read again, whoever was asked.
    server
        .ask("shop", "ALTER TABLE bill MODIFY total VARCHAR(20)")
        .await;
    let total = "SELECT c.name, b.total FROM crm.customer c JOIN shop.bill b ON b.customer = c.id WHERE b.id = 1";
    let found = fixture.ok(total).await;
    assert!(found.contains("| Ana  | 5.00  |"), "{found}");
    assert_eq!(fragments(&fixture, total).await, 1);
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn two_schemas_of_one_postgres() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let port = server.port;
    let run = async |database: &str, sql: &str| {
        let url = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
    };
    run(
        "postgres",
        "CREATE SCHEMA crm; CREATE TABLE crm.customer AS SELECT 1 AS id, 'Ana'::text AS name;
         CREATE SCHEMA shop; CREATE TABLE shop.bill AS SELECT 7 AS id, 1 AS customer",
    )
    .await;
    run("postgres", "CREATE DATABASE other").await;
    run(
        "other",
        "CREATE SCHEMA shop; CREATE TABLE shop.bill AS SELECT 8 AS id, 1 AS customer",
    )
    .await;
    let fixture = Fixture::empty().await;
    for (name, database, schemas) in [
        ("a", "postgres", "crm"),
        ("b", "postgres", "shop"),
        ("c", "other", "shop"),
    ] {
        let url = format!("postgres://postgres@127.0.0.1:{port}/{database}");
        fixture
            .ok(&format!(
                "CREATE SOURCE {name} FROM '{url}' WITH (schemas = '{schemas}')"
            ))
            .await;
    }
    let query = |bills: &str| {
        format!(
            "SELECT c.name, b.id FROM a.crm.customer c JOIN {bills}.shop.bill b ON b.customer = c.id"
        )
    };
    assert_eq!(fragments(&fixture, &query("b")).await, 1);
    assert!(fixture.ok(&query("b")).await.contains("| Ana  | 7  |"));
    assert_eq!(fragments(&fixture, &query("c")).await, 2);
    assert!(fixture.ok(&query("c")).await.contains("| Ana  | 8  |"));
}

#[tokio::test]
async fn one_file() {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("other.db"),
        "CREATE TABLE stock (sku TEXT, qty INTEGER)",
    );
    for (name, file, options) in [
        ("a", "erp", ""),
        ("b", "erp", "WITH (max_connections = 1)"),
        ("c", "other", ""),
        ("d", "erp", "WITH (columns = 'stock.qty: text')"),
    ] {
        fixture
            .ok(&format!(
                "CREATE SOURCE {name} FROM 'sqlite:{file}.db' {options}"
            ))
            .await;
    }
    let query = |stock: &str| {
        format!("SELECT i.sku, s.qty FROM a.item i JOIN {stock}.stock s ON s.sku = i.sku")
    };
    assert_eq!(fragments(&fixture, &query("b")).await, 1);
    assert_eq!(fragments(&fixture, &query("c")).await, 2);
    assert_eq!(fragments(&fixture, &query("d")).await, 2);
    let answer = fixture.ok(&format!("{} ORDER BY 1, 2", query("b"))).await;
    let own = fixture.ok(&format!("{} ORDER BY 1, 2", query("a"))).await;
    assert_eq!(answer, own);
}
