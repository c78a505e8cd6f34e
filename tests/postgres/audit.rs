//! Who did what, from where.

use belvedere::serve::ServeOptions;
use belvedere::serve::postgres::PostgresServer;
use belvedere::{AuditLevel, Engine};
use tokio_postgres::{Client, NoTls};

use super::support::{refused, rows};

async fn client(port: u16, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let description =
        format!("host=127.0.0.1 port={port} user={user} password={password} dbname=belvedere");
    let (client, connection) = tokio_postgres::connect(&description, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn logins_and_what_they_do_are_recorded_and_no_secret_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let shop = folder.path().join("shop.db");
    let database = rusqlite::Connection::open(&shop).unwrap();
    database
        .execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
        .unwrap();
    let engine = Engine::builder()
        .data_dir(&data)
        .audit(AuditLevel::All)
        .audit_parameters(true)
        .open()
        .await
        .unwrap();
    let session = engine.session();
    let source = format!(
        "CREATE SOURCE shop FROM 'sqlite:{}' WITH (writable = true)",
        shop.display()
    );
    for sql in [
        source.as_str(),
        "CREATE VIEW hidden AS SELECT id FROM shop.orders",
        "CREATE USER root PASSWORD 'correct horse' SUPERUSER",
        "CREATE USER ana PASSWORD 'battery staple'",
        "GRANT SELECT, INSERT ON shop.orders TO ana",
        "ALTER USER ana PASSWORD 'battery-staple'",
    ] {
        session.execute(sql).await.unwrap();
    }
    let any = "127.0.0.1:0".parse().unwrap();
    let bound = PostgresServer::bind(engine.clone(), any, ServeOptions::default());
    let bound = bound.await.unwrap();
    let port = bound.local_addr().port();
    let server = tokio::spawn(bound.run(std::future::pending()));

    assert!(client(port, "ana", "wrong-guess").await.is_err());
    let ana = client(port, "ana", "battery-staple").await.unwrap();
    let wrote = ana
        .execute(
            "INSERT INTO shop.orders VALUES ($1, $2)",
            &[&7_i64, &"a note"],
        )
        .await;
    assert_eq!(wrote.unwrap(), 1);
    assert_eq!(rows(&ana, "SELECT id FROM shop.orders").await, ["7"]);
    refused(&ana, "SELECT * FROM hidden").await;
    refused(&ana, "DELETE FROM shop.orders").await;
    refused(&ana, "CREATE USER bob PASSWORD 'hunter two'").await;

    let root = client(port, "root", "'correct horse'").await.unwrap();
    let logins = "SELECT \"user\", address, protocol, method, outcome FROM system.audit \
                  WHERE event = 'login' ORDER BY seq";
    assert_eq!(
        rows(&root, logins).await,
        [
            "ana|127.0.0.1|postgres|scram|28P01",
            "ana|127.0.0.1|postgres|scram|ok",
            "root|127.0.0.1|postgres|scram|ok",
        ]
    );
    let statements = "SELECT event, statement, objects, parameters, rows, outcome FROM system.audit \
                      WHERE \"user\" = 'ana' AND event IN ('begun', 'statement') ORDER BY seq";
    assert_eq!(
        rows(&root, statements).await,
        [
            "begun|INSERT INTO shop.orders VALUES ($1, $2)|{}|{7,\"a note\"}|NULL|NULL",
            "statement|INSERT INTO shop.orders VALUES ($1, $2)|{shop.main.orders}|{7,\"a note\"}|1|ok",
            "statement|SELECT id FROM shop.orders|{shop.main.orders}|{}|1|ok",
            "statement|SELECT * FROM hidden|{}|NULL|NULL|42P01",
            "statement|DELETE FROM shop.orders|{shop.main.orders}|NULL|NULL|42501",
            "begun|CREATE USER bob PASSWORD '…'|{bob}|NULL|NULL|NULL",
            "statement|CREATE USER bob PASSWORD '…'|{bob}|NULL|NULL|42501",
        ]
    );
    // The own ones, and nobody else's.
    let whose = "SELECT DISTINCT \"user\" FROM system.audit";
    assert_eq!(rows(&ana, whose).await, ["ana"]);

    drop((ana, root, session, engine));
    server.abort();
    let _ = server.await;
    let mut all = String::new();
    for file in std::fs::read_dir(data.join("audit")).unwrap() {
        all += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    assert!(all.contains("CREATE USER root PASSWORD '…' SUPERUSER"));
    for secret in ["horse", "staple", "hunter", "wrong-guess", "SCRAM-SHA"] {
        assert!(!all.contains(secret), "{secret}");
    }
}
