use arrow_flight::Action;
use belvedere::engine::ApplyOptions;
use belvedere::serve::flight::client::{ConnectOptions, RemoteSession};
use futures::TryStreamExt;
use tonic::Code;

use super::support::{Server, query, shown, status};

#[tokio::test]
async fn a_login_gives_a_token() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.handshake("ana", "whatever").await.unwrap();
    assert!(client.token().is_some());
    assert_eq!(shown(&query(&mut client, "SELECT 1").await.unwrap()), ["1"]);
    client.set_token("nonsense".into());
    assert_eq!(
        query(&mut client, "SELECT 1").await.unwrap_err().code(),
        Code::Unauthenticated
    );
    client.clear_token();
    assert_eq!(shown(&query(&mut client, "SELECT 1").await.unwrap()), ["1"]);
}

#[tokio::test]
async fn a_header_sets_a_setting_for_one_call() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.set_header("belvedere-timezone", "Europe/Berlin");
    assert_eq!(
        shown(&query(&mut client, "SHOW timezone").await.unwrap()).len(),
        1
    );
    client.set_header("belvedere-timezone", "nowhere");
    let e = query(&mut client, "SELECT 1").await.unwrap_err();
    assert_eq!(e.code(), Code::InvalidArgument);
    assert!(
        e.message().contains("belvedere-timezone"),
        "{}",
        e.message()
    );

    let mut other = server.client().await;
    other.set_header("belvedere-timezon", "UTC");
    let e = query(&mut other, "SELECT 1").await.unwrap_err();
    assert!(e.message().contains("timezone"), "{}", e.message());
}

#[tokio::test]
async fn set_needs_a_session() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for sql in ["SET pushdown = off", "RESET ALL", "BEGIN", "COMMIT"] {
        let e = query(&mut client, sql).await.unwrap_err();
        assert_eq!(e.code(), Code::FailedPrecondition);
        assert!(e.message().contains("needs a session"), "{}", e.message());
        let e = client
            .prepare(sql.into(), None)
            .await
            .map(|_| ())
            .map_err(status)
            .unwrap_err();
        assert_eq!(e.code(), Code::FailedPrecondition);
        let e = client
            .execute_update(sql.into(), None)
            .await
            .map_err(status)
            .unwrap_err();
        assert_eq!(e.code(), Code::FailedPrecondition);
    }
    client.set_header("cookie", "arrow_flight_session_id=gone");
    let e = query(&mut client, "SELECT 1").await.unwrap_err();
    assert_eq!(e.code(), Code::FailedPrecondition);
    assert!(e.message().contains("ended"), "{}", e.message());
    let e = client
        .do_action(Action::new("CloseSession", ""))
        .await
        .map(|_| ())
        .map_err(status);
    assert_eq!(e.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_actions_there_are_are_listed() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let listed = client
        .inner_mut()
        .list_actions(arrow_flight::Empty {})
        .await
        .unwrap();
    let listed: Vec<_> = listed.into_inner().try_collect().await.unwrap();
    assert!(listed.iter().any(|a| a.r#type == "SetSessionOptions"));
    let e = client
        .do_action(Action::new("nonsense", ""))
        .await
        .map(|_| ())
        .map_err(status);
    assert_eq!(e.unwrap_err().code(), Code::Unimplemented);
}

async fn connect(server: &Server) -> RemoteSession {
    RemoteSession::connect(&server.url(), ConnectOptions::default())
        .await
        .unwrap()
}

async fn remote(session: &RemoteSession, sql: &str) -> Vec<String> {
    let answer = session.execute(sql).await.unwrap();
    shown(&answer.stream.try_collect::<Vec<_>>().await.unwrap())
}

#[tokio::test]
async fn a_remote_session_keeps_its_settings() {
    let server = Server::start().await;
    let session = connect(&server).await;
    let answer = session.execute("SET pushdown = off").await.unwrap();
    assert!(!answer.is_query);
    answer.stream.try_collect::<Vec<_>>().await.unwrap();
    session.set("timezone", "Europe/Berlin").await.unwrap();
    let settings = session.settings().await.unwrap();
    for (name, value) in [("pushdown", "off"), ("timezone", "Europe/Berlin")] {
        assert!(
            settings.contains(&(name.into(), value.into())),
            "{settings:?}"
        );
    }
    // Another session has its own.
    let other = connect(&server).await.settings().await.unwrap();
    assert!(
        other.contains(&("pushdown".into(), "on".into())),
        "{other:?}"
    );

    let e = session.set("nonsense", "1").await.unwrap_err();
    assert_eq!(e.to_string(), "there is no setting nonsense");
    assert!(session.set("timezone", "nowhere").await.is_err());
    let again = session.clone();
    session.close().await.unwrap();
    assert!(again.execute("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_remote_session_executes() {
    let server = Server::start().await;
    let url = format!("grpc://ana@{}", server.address);
    let session = RemoteSession::connect(&url, ConnectOptions::default())
        .await
        .unwrap();
    let answer = session
        .execute("SELECT id FROM mem.t ORDER BY id")
        .await
        .unwrap();
    assert!(answer.is_query);
    assert_eq!(answer.schema.field(0).name(), "id");
    assert_eq!(
        remote(&session, "CREATE VIEW v AS SELECT 1 AS a").await,
        ["CREATE VIEW"]
    );
    assert_eq!(remote(&session, "SELECT * FROM v").await, ["1"]);
    let e = session.execute("SELECT\n FROM").await.unwrap_err();
    assert_eq!(e.code, "parse");
    assert!(e.position.is_some());
    let e = session.execute("SELECT * FROM nothing").await.unwrap_err();
    assert_eq!(
        (e.code.as_str(), e.sqlstate.as_deref()),
        ("unknown_name", Some("42P01"))
    );
    assert!(e.to_string().contains("nothing"));
}

#[tokio::test]
async fn definitions_are_applied_over_the_wire() {
    let server = Server::start().await;
    let session = connect(&server).await;
    let file = |text: &str| vec![("defs.sql".to_string(), text.to_string())];
    let text = "CREATE VIEW a AS SELECT id FROM mem.t; CREATE VIEW b AS SELECT * FROM a;\
                CREATE SOURCE mem FROM 'memory:mem'";
    let check = ApplyOptions {
        check_only: true,
        ..Default::default()
    };
    let checked = session.apply(file(text), check).await.unwrap();
    assert!(
        checked
            .iter()
            .any(|c| c.action == "create" && c.kind == "view"),
        "{checked:?}"
    );
    assert!(session.execute("SELECT * FROM b").await.is_err());
    let applied = session
        .apply(file(text), ApplyOptions::default())
        .await
        .unwrap();
    assert_eq!(applied, checked);
    assert_eq!(remote(&session, "SELECT count(*) FROM b").await, ["3"]);

    let relative = "CREATE VIEW c AS SELECT 1 AS x;\nCREATE SOURCE s FROM 'sqlite:here.db'";
    let e = session
        .apply(file(relative), ApplyOptions::default())
        .await
        .unwrap_err();
    assert!(e.to_string().contains("defs.sql, line 2"), "{e}");
    assert!(e.to_string().contains("relative"), "{e}");
    let broken = "CREATE VIEW c AS SELECT 1 AS x; CREATE VIEW d AS SELECT nothing FROM c";
    let e = session
        .apply(file(broken), ApplyOptions::default())
        .await
        .unwrap_err();
    assert!(e.to_string().contains("nothing"), "{e}");
    assert!(session.execute("SELECT * FROM c").await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let e = RemoteSession::connect("grpc://127.0.0.1:1", ConnectOptions::default()).await;
    let e = e.unwrap_err();
    assert_eq!(e.code, "connection");
    assert!(e.to_string().contains("127.0.0.1:1"), "{e}");
}
