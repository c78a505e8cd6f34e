use belvedere::serve::ServeOptions;

use super::support::{Server, refused, rows, said};

#[tokio::test]
async fn a_connection_says_what_it_wants() {
    let server = Server::start().await;
    let client = server
        .client_with("application_name=test options='-c timezone=Asia/Tokyo -c search_path=mem'")
        .await;
    assert_eq!(
        rows(&client, "SHOW application_name; SHOW timezone").await,
        ["test", "Asia/Tokyo"]
    );
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["3"]);
    let refusal = async |more: &str| said(&server.try_client(more).await.err().unwrap());
    assert_eq!(
        refusal("dbname=other").await,
        "3D000: database other does not exist: the one that is here is belvedere"
    );
    assert!(refusal("options='-c nothing=1'").await.starts_with("42704"));
    assert!(
        refusal("options='-c timezone=nowhere'")
            .await
            .starts_with("22023")
    );
}

#[tokio::test]
async fn parameters_of_postgresql_are_taken_where_they_are_so() {
    let server = Server::start().await;
    let client = server.client().await;
    for sql in [
        "SET client_encoding = 'UTF8'",
        "SET NAMES 'utf8'",
        "SET DateStyle = 'ISO'",
        "SET extra_float_digits = 3",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET TIME ZONE 'Europe/Berlin'",
        "SET standard_conforming_strings = on",
        "SET statement_timeout = 0",
        "SET SESSION client_min_messages TO warning",
    ] {
        rows(&client, sql).await;
    }
    assert_eq!(
        rows(&client, "SHOW TRANSACTION ISOLATION LEVEL").await,
        ["repeatable read"]
    );
    assert_eq!(rows(&client, "SHOW server_version").await, ["16.4"]);
    for sql in [
        "SET client_encoding = 'LATIN1'",
        "SET DateStyle = 'German'",
        "SET server_version = '9'",
    ] {
        assert!(refused(&client, sql).await.starts_with("22023"), "{sql}");
    }
    assert!(
        refused(&client, "SET nothing = 1")
            .await
            .starts_with("42704")
    );
}

#[tokio::test]
async fn the_idlest_gives_way() {
    let server = Server::with(ServeOptions {
        max_connections: 2,
        ..ServeOptions::default()
    })
    .await;
    let first = server.client().await;
    let second = server.client().await;
    rows(&first, "SELECT 1").await;
    let third = server.client().await;
    assert_eq!(rows(&third, "SELECT 1").await, ["1"]);
    assert_eq!(rows(&first, "SELECT 1").await, ["1"]);
    assert!(second.simple_query("SELECT 1").await.is_err());
}

#[tokio::test]
async fn who_comes_when_all_are_at_work_is_told_so() {
    let server = Server::with(ServeOptions {
        max_connections: 2,
        ..ServeOptions::default()
    })
    .await;
    let long = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000) b";
    let (mut working, mut cancels) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let client = server.client().await;
        cancels.push(client.cancel_token());
        working.push(tokio::spawn(async move {
            client.simple_query(long).await.map(|_| ())
        }));
        // It is at work before the next one comes.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    assert_eq!(
        said(&server.try_client("").await.err().unwrap()),
        "53300: there are too many connections, and all of them are at work"
    );
    // Who cancels needs a connection, too.
    for cancel in cancels {
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    }
    for ended in working {
        let ended = ended.await.unwrap().unwrap_err();
        assert_eq!(said(&ended), "57014: the statement was cancelled");
    }
}

#[tokio::test]
async fn the_server_ends_when_it_is_told_to() {
    let server = Server::start().await;
    let idle = server.client().await;
    server.stop().await;
    assert!(idle.simple_query("SELECT 1").await.is_err());
}
