use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{Code, Connector, SourceConfig};
use belvedere_postgres::PostgresConnector;
use futures::StreamExt;

use crate::fixture::*;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_what() {
    let db = Database::new("denied").await;
    db.run(
        "DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
         CREATE TABLE open (id int8); CREATE TABLE secret (id int8);
         GRANT SELECT ON open TO reader",
    )
    .await;
    let source = db.source_as("reader", &[]);
    let tables = source.discover().await.unwrap();
    assert_eq!(tables.len(), 2);
    assert_eq!(
        read(&source, scan_of(table(&tables, "open")))
            .await
            .unwrap()
            .num_rows(),
        0
    );
    let e = read(&source, scan_of(table(&tables, "secret")))
        .await
        .unwrap_err();
    assert_eq!(e.code, Code::PermissionDenied);
    assert!(
        e.to_string().contains("secret") && e.to_string().contains("GRANT SELECT"),
        "{e}"
    );
    assert_eq!(e.source_name.as_deref(), Some("erp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_table_is_noticed_before_its_bytes_are_misread() {
    let db = Database::new("changed").await;
    db.run(
        "CREATE TABLE a (x int8); INSERT INTO a VALUES (1); CREATE TABLE b (x int8);
         CREATE TABLE c (x int8, y int8); CREATE TABLE d (x int8); INSERT INTO d VALUES (1)",
    )
    .await;
    let (source, tables) = db.discovered(&[]).await;
    db.run(
        // As wide as before, and yet another type.
        "ALTER TABLE a ALTER x TYPE timestamp USING '2026-01-01'; DROP TABLE b;
         ALTER TABLE c DROP y; ALTER TABLE d ADD y text DEFAULT 'new'",
    )
    .await;
    let code = async |name: &str| {
        let t = table(&tables, name);
        let copy = read(&source, scan_of(t)).await.unwrap_err();
        let is_one = compare(
            column(t, "x"),
            belvedere_connector::BinaryOp::IsNotDistinctFrom,
            int(1),
        );
        let query = read(&source, filter(scan_of(t), is_one)).await.unwrap_err();
        assert_eq!(copy.code, query.code, "{copy}; {query}");
        copy.code
    };
    assert_eq!(code("a").await, Code::SchemaChanged);
    assert_eq!(code("b").await, Code::TableMissing);
    assert_eq!(code("c").await, Code::SchemaChanged);
    assert_eq!(
        lines(&read(&source, scan_of(table(&tables, "d"))).await.unwrap()),
        ["1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_cannot_be_made_are_explained() {
    let server = Arc::new(Server::private());
    let db = Database::on(server, "conn", "").await;
    db.run("CREATE ROLE locked LOGIN PASSWORD 'opensesame'")
        .await;
    let folder = tempfile::tempdir().unwrap();
    let secret = |text: &str| {
        let path = folder.path().join(text);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        format!("file:{}", path.display())
    };
    let right = db.source_as("locked", &[("password", &secret("opensesame"))]);
    assert!(right.discover().await.unwrap().is_empty());
    let wrong = db.source_as("locked", &[("password", &secret("hunter2"))]);
    let e = wrong.discover().await.unwrap_err();
    assert_eq!(e.code, Code::Authentication);
    assert!(!format!("{e} {e:?}").contains("hunter2"), "{e:?}");
    let e = db.source_as("locked", &[]).discover().await.unwrap_err();
    assert_eq!(e.code, Code::Authentication, "{e}");
    let e = db.source_as("nobody", &[]).discover().await.unwrap_err();
    assert_eq!(e.code, Code::Authentication, "{e}");
    let e = db
        .source_as("locked", &[("password", "env:BELVEDERE_NO_SUCH_VARIABLE")])
        .discover()
        .await
        .unwrap_err();
    assert_eq!(e.code, Code::InvalidSecret);

    let at = |url: String| {
        PostgresConnector
            .open(SourceConfig {
                name: "erp".into(),
                url,
                options: [("connect_timeout".to_string(), "3".to_string())].into(),
                limits: belvedere_connector::Limits::default(),
            })
            .unwrap()
    };
    let port = db.server.port;
    let e = at(format!("postgres://postgres@127.0.0.1:{port}/nix"))
        .discover()
        .await
        .unwrap_err();
    assert!(e.to_string().contains("nix"), "{e}");
    let e = at("postgres://postgres@no-such-host.invalid/erp".into())
        .discover()
        .await
        .unwrap_err();
    assert_eq!(e.code, Code::Unreachable);
    assert!(
        e.to_string()
            .contains("no-such-host.invalid:5432 (database erp)"),
        "{e}"
    );
    let e = at(format!(
        "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=require"
    ))
    .discover()
    .await
    .unwrap_err();
    assert_eq!(e.code, Code::Unreachable);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let e = at(format!("postgres://postgres@127.0.0.1:{closed}/erp"))
        .discover()
        .await
        .unwrap_err();
    assert_eq!(e.code, Code::Unreachable, "{e}");
    // A listener that never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let e = at(format!(
        "postgres://postgres@127.0.0.1:{}/erp",
        silent.local_addr().unwrap().port()
    ))
    .discover()
    .await
    .unwrap_err();
    assert_eq!(e.code, Code::Unreachable, "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_mid_read_is_an_error_and_the_next_query_works() {
    let server = Arc::new(Server::private());
    assert!(server.is_own());
    let db = Database::on(server, "restart", "").await;
    db.run(
        "CREATE TABLE big (id int8, v text);
         INSERT INTO big SELECT i, repeat('x', 400) FROM generate_series(1, 200000) i; CHECKPOINT",
    )
    .await;
    let (source, tables) = db.discovered(&[]).await;
    let big = table(&tables, "big");
    // Two connections stay idle in the pool, one is in the middle of a read.
    let (a, b) = tokio::join!(read(&source, scan_of(big)), read(&source, scan_of(big)));
    assert!(a.is_ok() && b.is_ok());
    let mut stream = source.scan(request(scan_of(big))).await.unwrap().remove(0);
    stream.next().await.unwrap().unwrap();
    let server = db.server.clone();
    tokio::task::spawn_blocking(move || server.restart())
        .await
        .unwrap();
    let mut failed = None;
    while let Some(batch) = stream.next().await {
        if let Err(e) = batch {
            failed = Some(e);
            break;
        }
    }
    let e = failed.expect("the read cannot have ended well");
    assert_eq!(e.code, Code::Unreachable, "{e}");
    assert!(e.to_string().contains("127.0.0.1"), "{e}");
    drop(stream);
    let rows = read(&source, scan_of(big)).await.unwrap();
    assert_eq!(rows.num_rows(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_was_ended_is_replaced() {
    let db = Database::new("ended").await;
    db.run("CREATE TABLE t (id int8); INSERT INTO t VALUES (1)")
        .await;
    let (source, tables) = db.discovered(&[("application_name", "ended")]).await;
    for pause in [0, 200] {
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ended'").await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let rows = read(&source, scan_of(table(&tables, "t"))).await.unwrap();
        assert_eq!(rows.num_rows(), 1);
    }
}
