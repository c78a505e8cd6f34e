//! Real servers, as the connectors' own tests start them.

#[path = "../../connectors/mysql/tests/support/mod.rs"]
pub mod mysql;
#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
pub mod postgres;

/// Somebody who works at a PostgreSQL, past the engine.
pub async fn connected(port: u16) -> tokio_postgres::Client {
    let url = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let begun = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    let (client, connection) = begun.unwrap();
    tokio::spawn(connection);
    client
}
