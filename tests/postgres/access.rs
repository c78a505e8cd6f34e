//! Users log in by SCRAM-SHA-256, and see what is theirs.

use std::process::Command;

use tokio::io::AsyncWriteExt;

use belvedere::serve::ServeOptions;
use belvedere::serve::postgres::PostgresServer;

use super::support::{Server, refused, rows, said};

async fn define(server: &Server, sql: &str) {
    let answer = server.engine.session().execute(sql).await;
    answer.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// With `ana`, who may read `shop.orders`, and `root`.
async fn server() -> Server {
    let server = Server::start().await;
    for sql in [
        "CREATE USER root PASSWORD 'r00t' SUPERUSER",
        "CREATE USER ana PASSWORD 'gehe\u{ad}im ☃'",
        "CREATE USER without",
        "GRANT SELECT ON shop.orders TO ana",
    ] {
        define(&server, sql).await;
    }
    server
}

const ANA: &str = "password='geheim ☃'";

async fn refusal(server: &Server, more: &str) -> String {
    said(&server.try_client(more).await.err().unwrap())
}

#[tokio::test]
async fn users_log_in_with_their_password() {
    let server = server().await;
    let client = server.client_with(ANA).await;
    assert_eq!(
        rows(
            &client,
            "SELECT current_user; SELECT count(*) FROM shop.orders"
        )
        .await,
        ["ana", "1000"]
    );
    let hidden = refused(&client, "SELECT * FROM mem.t").await;
    let never = refused(&client, "SELECT * FROM qqq.t").await;
    assert_eq!(hidden, never.replace("qqq", "mem"));
    let denied = refused(&client, "DELETE FROM shop.orders").await;
    assert!(
        denied.starts_with("42501") || denied.starts_with("25006"),
        "{denied}"
    );
    assert!(
        refused(&client, "CREATE SCHEMA s")
            .await
            .starts_with("42501")
    );
    let tables = "SELECT relname FROM pg_class WHERE relname IN ('orders', 't')";
    assert_eq!(rows(&client, tables).await, ["orders"]);
}

#[tokio::test]
async fn whoever_does_not_know_the_password_is_told_the_same() {
    let server = server().await;
    let wrong = "28P01: the user or the password is wrong";
    for more in [
        "password=geheim",
        "user=nobody password=geheim",
        "user=without password=geheim",
        "user=sales password=x",
    ] {
        assert_eq!(refusal(&server, more).await, wrong, "{more}");
    }
    // Who has been there before is let in, whatever others try.
    server.client_with("user=root password=r00t").await;
    let is_limited = async |user: &str| {
        let refused = refusal(&server, &format!("user={user} password=x")).await;
        refused.starts_with("28000: too many logins have failed")
    };
    for user in ["ana", "nobody", "else"] {
        while !is_limited(user).await {}
    }
    server.client_with("user=root password=r00t").await;
}

#[tokio::test]
async fn the_first_user_ends_that_everybody_administers() {
    let server = Server::start().await;
    let before = server.client().await;
    rows(
        &before,
        "BEGIN; CREATE USER root PASSWORD 'r' SUPERUSER; CREATE USER ana PASSWORD 'a'; COMMIT",
    )
    .await;
    let ended = refused(&before, "SELECT 1").await;
    assert!(ended.starts_with("28000: users are defined now"), "{ended}");
    assert!(server.try_client("").await.is_err());
    let root = server.client_with("user=root password=r").await;
    let ana = server.client_with("password=a").await;
    rows(&root, "DROP USER ana").await;
    assert!(
        refused(&ana, "SELECT 1")
            .await
            .starts_with("28000: user ana does not exist")
    );
    let queries = rows(&root, "SELECT sql FROM system.queries")
        .await
        .join("\n");
    assert!(
        queries.contains("CREATE USER") && !queries.contains("'r'"),
        "{queries}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_logs_in() {
    let server = server().await;
    let (host, port) = (
        server.address.ip().to_string(),
        server.address.port().to_string(),
    );
    let psql = |user: &str, password: &str, sql: &str| {
        let mut psql = Command::new("psql");
        let psql = psql
            .env("PGPASSWORD", password)
            .env("PGCONNECT_TIMEOUT", "20");
        let psql = psql.args([
            "-X",
            "-A",
            "-t",
            "-h",
            &host,
            "-p",
            &port,
            "-U",
            user,
            "-d",
            "belvedere",
        ]);
        psql.args(["-c", sql]);
        let out = psql.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        (out.status.success(), text(&out.stdout), text(&out.stderr))
    };
    let run = |user: &'static str, password: &'static str, sql: &'static str| {
        tokio::task::block_in_place(|| psql(user, password, sql))
    };
    let (is_in, rows, said) = run("ana", "geheim ☃", "SELECT count(*) FROM shop.orders");
    assert!(is_in && rows == "1000", "{rows} {said}");
    let (is_in, _, said) = run("ana", "falsch", "SELECT 1");
    assert!(
        !is_in && said.contains("the user or the password is wrong"),
        "{said}"
    );
    let (is_in, rows, _) = run("ana", "geheim ☃", "\\dt *.*");
    assert!(
        is_in && rows.contains("orders") && !rows.contains("mem|"),
        "{rows}"
    );
    let (is_in, rows, _) = run("root", "r00t", "\\du");
    assert!(is_in && rows.contains("ana"), "{rows}");
}

#[tokio::test]
async fn other_machines_are_served_with_users_and_encryption_alone() {
    let server = Server::start().await;
    let any = "0.0.0.0:0".parse().unwrap();
    let bind = async || {
        let bound = PostgresServer::bind(server.engine.clone(), any, ServeOptions::default()).await;
        bound.err().unwrap().to_string()
    };
    assert!(bind().await.contains("no users are defined"));
    define(&server, "CREATE USER root PASSWORD 'r' SUPERUSER").await;
    assert!(bind().await.contains("--tls-cert"));
}

#[tokio::test]
async fn what_is_no_scram_ends_the_connection_and_no_other() {
    let server = server().await;
    for (of, body) in [
        (b'Q', b"SELECT 1\0".to_vec()),
        (b'p', b"".to_vec()),
        (b'p', b"SCRAM-SHA-256\0\0\0\0\x04n,,x".to_vec()),
        (b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff".to_vec()),
        (b'p', b"PLAIN\0\0\0\0\x01x".to_vec()),
        (b'p', vec![b'x'; 3000]),
    ] {
        let mut raw = server.begun().await;
        raw.send(of, &body).await;
        let (_, state) = raw.until(b'E').await;
        assert_eq!(state.as_deref(), Some("08P01"));
        assert!(raw.next().await.is_none());
    }
    // What is longer than any login is not waited for.
    let mut long = server.begun().await;
    long.until(b'R').await;
    long.0.write_all(b"p\0\x10\0\0").await.unwrap();
    assert!(long.next().await.is_none());
    server.client_with(ANA).await;
}

#[tokio::test]
async fn a_user_has_no_more_connections_than_may_be() {
    let server = server().await;
    define(&server, "ALTER USER ana SET max_sessions = 1").await;
    define(&server, "ALTER USER ana SET timezone = 'Europe/Berlin'").await;
    let first = server.client_with(ANA).await;
    assert_eq!(rows(&first, "SHOW timezone").await, ["Europe/Berlin"]);
    let refused = refusal(&server, ANA).await;
    assert!(
        refused.starts_with("53300: the user has as many sessions open as may be: limit max_sessions of user ana is 1"),
        "{refused}"
    );
    // Others are not hers, and what a client says when it connects goes before what is set.
    server.client_with("user=root password=r00t").await;
    drop(first);
    let again = async {
        let options = format!("{ANA} options='-c timezone=UTC'");
        loop {
            if let Ok(client) = server.try_client(&options).await {
                return client;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let again = tokio::time::timeout(std::time::Duration::from_secs(20), again).await;
    assert_eq!(rows(&again.unwrap(), "SHOW timezone").await, ["UTC"]);
}

#[tokio::test]
async fn a_cursor_ends_with_the_right_to_what_it_reads() {
    let server = server().await;
    let ana = server.client_with(ANA).await;
    let many = "DECLARE c CURSOR FOR SELECT o.id FROM shop.orders o, generate_series(1, 500) g";
    rows(&ana, "BEGIN").await;
    rows(&ana, many).await;
    assert_eq!(rows(&ana, "FETCH 1 FROM c").await.len(), 1);
    define(&server, "REVOKE SELECT ON shop.orders FROM ana").await;
    let ended = refused(&ana, "FETCH ALL FROM c").await;
    assert!(ended.starts_with("42501"), "{ended}");
    rows(&ana, "ROLLBACK").await;
    define(&server, "GRANT SELECT ON shop.orders TO ana").await;
    assert_eq!(
        rows(&ana, "SELECT count(*) FROM shop.orders").await,
        ["1000"]
    );
}
