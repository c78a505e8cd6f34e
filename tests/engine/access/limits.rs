//! What sessions of users begin with, and what users' sessions, statements and answers may be.

use super::*;

async fn setting(session: &Session, name: &str) -> String {
    rows(session, &format!("SHOW {name}")).await.concat()
}

#[tokio::test]
async fn sessions_begin_with_what_is_set_for_their_user() {
    let world = world().await;
    world
        .grant("ALTER USER ana SET timezone = 'Europe/Berlin'")
        .await;
    world
        .grant("ALTER USER ana SET search_path = zteam, public")
        .await;
    assert_eq!(setting(&world.ana, "timezone").await, "UTC", "it has begun");
    let session = world.engine.session_as("ana");
    assert_eq!(setting(&session, "timezone").await, "Europe/Berlin");
    assert_eq!(setting(&session, "search_path").await, "zteam, public");
    assert_eq!(
        setting(&world.engine.session_as("bob"), "timezone").await,
        "UTC"
    );
    // What is set goes before it, and RESET returns to it.
    done(&session, "SET timezone = 'Asia/Tokyo'").await;
    assert_eq!(setting(&session, "timezone").await, "Asia/Tokyo");
    done(&session, "RESET timezone").await;
    assert_eq!(setting(&session, "timezone").await, "Europe/Berlin");
    done(&session, "SET timezone = 'Asia/Tokyo'").await;
    done(&session, "RESET ALL").await;
    assert_eq!(setting(&session, "timezone").await, "Europe/Berlin");
    // Everybody sets the own.
    done(&session, "ALTER USER ana SET statement_timeout = '7s'").await;
    done(&session, "ALTER ROLE ana RESET timezone").await;
    let session = world.engine.session_as("ana");
    assert_eq!(setting(&session, "statement_timeout").await, "7000ms");
    assert_eq!(setting(&session, "timezone").await, "UTC");
    let settings = "SELECT name, setting, value, kind FROM system.role_settings ORDER BY 1, 2";
    let known = [
        "ana|search_path|zteam, public|default",
        "ana|statement_timeout|7000ms|default",
    ];
    assert_eq!(rows(&session, settings).await[0], known[0]);
    assert_eq!(rows(&session, settings).await.len(), known.len());
    assert_eq!(rows(&world.bob, settings).await, [""; 0]);
    for sql in [
        "ALTER USER bob SET timezone = 'UTC'",
        "ALTER USER bob RESET ALL",
        "ALTER USER ana SET max_statements = 100",
        "ALTER USER ana RESET max_statements",
        "ALTER ROLE sales SET max_statements = 100",
    ] {
        assert_eq!(refused(&session, sql).await.0, "42501", "{sql}");
    }
    done(&session, "ALTER USER ana RESET ALL").await;
    let session = world.engine.session_as("ana");
    assert_eq!(setting(&session, "statement_timeout").await, "0");
}

#[tokio::test]
async fn what_cannot_be_set_is_refused() {
    let world = world().await;
    for (sql, sqlstate, says) in [
        (
            "ALTER USER ana SET nonsense = 1",
            "42704",
            "setting nonsense",
        ),
        (
            "ALTER USER ana SET max_session = 1",
            "42704",
            "Did you mean max_sessions?",
        ),
        ("ALTER USER ana SET timezone = 'Mars'", "22023", "time zone"),
        ("ALTER USER ana SET max_sessions = 0", "22023", "at least 1"),
        (
            "ALTER USER ana SET max_sessions = 'x'",
            "22023",
            "at least 1",
        ),
        ("ALTER USER ana SET max_result_bytes = 'x'", "22023", "64MB"),
        ("ALTER USER ana SET max_statement_time = 0", "22023", "30s"),
        ("ALTER USER nobody SET max_sessions = 1", "42704", "nobody"),
        (
            "ALTER ROLE sales SET timezone = 'UTC'",
            "22023",
            "does not log in",
        ),
        (
            "SET max_sessions = 1",
            "42704",
            "It is a limit of users and roles",
        ),
    ] {
        let (state, message) = refused(&world.root, sql).await;
        assert_eq!(state, sqlstate, "{sql}: {message}");
        assert!(message.contains(says), "{sql}: {message}");
    }
}

#[tokio::test]
async fn an_answer_has_no_more_rows_or_bytes_than_may_be() {
    let world = world().await;
    world
        .grant("ALTER ROLE office SET max_result_rows = 10")
        .await;
    let series = |n: u32| format!("SELECT value FROM generate_series(1, {n})");
    assert_eq!(rows(&world.ana, &series(10)).await.len(), 10);
    let (state, message) = refused(&world.ana, &series(11)).await;
    assert_eq!(state, "54000");
    assert!(
        message.contains("limit max_result_rows of role office is 10"),
        "{message}"
    );
    for session in [&world.bob, &world.root, &world.engine.session()] {
        assert_eq!(rows(session, &series(11)).await.len(), 11);
    }
    // The least counts, whichever role it is of; prepared statements, too.
    world.grant("ALTER USER ana SET max_result_rows = 5").await;
    let prepared = world.ana.prepare(&series(6)).await.unwrap();
    let answer = world.ana.execute_prepared(&prepared, &[]).await.unwrap();
    assert_eq!(answer.collect().await.unwrap_err().sqlstate(), "54000");
    world.grant("ALTER USER ana RESET max_result_rows").await;
    world.grant("ALTER ROLE office RESET ALL").await;
    assert_eq!(rows(&world.ana, &series(11)).await.len(), 11);

    world
        .grant("ALTER USER ana SET max_result_bytes = '8kB'")
        .await;
    let text = |n: u32| format!("SELECT repeat('x', {n}) AS x");
    rows(&world.ana, &text(1000)).await;
    let (state, message) = refused(&world.ana, &text(10_000)).await;
    assert_eq!(state, "54000");
    assert!(
        message.contains("max_result_bytes of user ana"),
        "{message}"
    );
    let failed = "SELECT error FROM system.queries WHERE state = 'failed' AND sql LIKE '%10000%'";
    assert!(rows(&world.root, failed).await[0].contains("max_result_bytes"));
}

#[tokio::test]
async fn a_user_has_no_more_statements_at_once_than_may_be() {
    let world = world().await;
    world.grant("ALTER USER ana SET max_statements = 2").await;
    let endless = "SELECT a.value FROM generate_series(1, 1000000) a";
    let first = world.ana.execute(endless).await.unwrap();
    let another = world.engine.session_as("ana");
    let second = another.execute(endless).await.unwrap();
    let (state, message) = refused(&another, "SELECT 1").await;
    assert_eq!(state, "53300");
    assert!(
        message.contains("limit max_statements of user ana is 2"),
        "{message}"
    );
    rows(&world.bob, "SELECT 1").await;
    drop(first);
    rows(&another, "SELECT 1").await;
    second.collect().await.unwrap();
    let third = world.ana.execute(endless).await.unwrap();
    rows(&another, "SELECT 1").await;
    drop(third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_sets_no_more_than_its_limits() {
    let world = world().await;
    world
        .grant("ALTER USER ana SET statement_timeout = '1 hour'")
        .await;
    world
        .grant("ALTER ROLE sales SET max_statement_time = '200ms'")
        .await;
    world
        .grant("ALTER ROLE sales SET max_statement_memory = '64MB'")
        .await;
    world.grant("ALTER ROLE sales SET max_age = '1min'").await;
    // Sessions that are there already, too; and those that begin with more.
    let begun = world.engine.session_as("ana");
    for session in [&world.ana, &begun] {
        assert_eq!(setting(session, "statement_timeout").await, "200ms");
        assert_eq!(
            setting(session, "memory_limit").await,
            (64 << 20).to_string()
        );
    }
    for sql in [
        "SET statement_timeout = '1s'",
        "SET memory_limit = '65MB'",
        "SET max_staleness = '2min'",
        "SET stale_if_error = '1 hour'",
    ] {
        let (state, message) = refused(&world.ana, sql).await;
        assert_eq!(state, "42501", "{sql}");
        assert!(message.contains("of role sales is"), "{message}");
    }
    for sql in [
        "SET statement_timeout = '100ms'",
        "SET statement_timeout = 0",
        "SET memory_limit = 0",
        "SET max_staleness = '1min'",
        "SET max_staleness = 'none'",
    ] {
        done(&world.ana, sql).await;
    }
    let most = [("statement_timeout".to_string(), "1s".to_string())];
    let refused_call = world.ana.execute_with("SELECT 1", &most).await;
    assert_eq!(refused_call.unwrap_err().sqlstate(), "42501");
    let endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b
        WHERE a.value * b.value % 7 = 3";
    let (state, message) = refused(&world.ana, endless).await;
    assert_eq!(state, "57014");
    assert!(
        message.contains("limit max_statement_time of role sales is 200ms"),
        "{message}"
    );
    done(&world.root, "SET statement_timeout = '1s'").await;
}

#[tokio::test]
async fn what_is_older_than_may_be_is_not_read() {
    let world = world().await;
    world.grant("GRANT SELECT ON zkept TO bob").await;
    let read = "SELECT count(*) FROM zkept";
    let freshness = async |session: &Session| {
        let answer = session.execute(read).await.unwrap();
        format!("{}", answer.freshness)
    };
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(
        freshness(&world.bob).await.contains("zkept"),
        "{}",
        freshness(&world.bob).await
    );
    world.grant("ALTER USER bob SET max_age = '1ms'").await;
    // Its query is read instead, which is of now.
    let read_now = freshness(&world.bob).await;
    assert!(!read_now.contains("zkept ("), "{read_now}");
    assert_eq!(rows(&world.bob, read).await, ["2"]);
    done(&world.root, read).await;
}
