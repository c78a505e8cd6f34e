//! Who may call, once there are users.

use arrow_flight::sql::CommandGetTables;
use belvedere::engine::ApplyOptions;
use belvedere::serve::flight::client::{ConnectOptions, RemoteSession};
use futures::TryStreamExt;
use tonic::{Code, Status};

use super::support::{Client, Server, fetch, query, shown};

/// With `ana`, who may read a view and not what it is made of, and `root`.
async fn server() -> Server {
    let server = Server::start().await;
    for sql in [
        "CREATE VIEW totals AS SELECT customer, sum(total) AS total FROM shop.orders GROUP BY customer",
        "CREATE USER root PASSWORD 'r' SUPERUSER",
        "CREATE USER ana PASSWORD 'a'",
        "GRANT SELECT ON totals TO ana",
    ] {
        server.define(sql).await;
    }
    server
}

impl Server {
    async fn client_of(&self, user: &str, password: &str) -> Result<Client, Status> {
        let mut client = self.client().await;
        let logged_in = client.handshake(user, password).await;
        logged_in.map_err(Status::from)?;
        Ok(client)
    }
}

const SQL: &str = "SELECT sum(total) FROM totals";

#[tokio::test]
async fn a_password_is_exchanged_for_a_token() {
    let server = server().await;
    let mut nobody = server.client().await;
    assert_eq!(
        query(&mut nobody, "SELECT 1").await.unwrap_err().code(),
        Code::Unauthenticated
    );
    for (user, password) in [("ana", "b"), ("ana", ""), ("nobody", "a")] {
        let refused = server.client_of(user, password).await.err().unwrap();
        let message = refused.message();
        assert!(
            message.contains("the user or the password is wrong"),
            "{message}"
        );
    }
    let mut ana = server.client_of("ana", "a").await.unwrap();
    assert_eq!(shown(&query(&mut ana, SQL).await.unwrap()), ["14.0"]);
    let token = ana.token().unwrap().clone();
    nobody.set_token(token);
    assert_eq!(shown(&query(&mut nobody, SQL).await.unwrap()), ["14.0"]);
    server.define("ALTER USER ana PASSWORD 'b'").await;
    assert_eq!(
        query(&mut ana, SQL).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut again = server.client_of("ana", "b").await.unwrap();
    assert_eq!(shown(&query(&mut again, SQL).await.unwrap()), ["14.0"]);
}

#[tokio::test]
async fn each_sees_what_is_granted() {
    let server = server().await;
    let mut ana = server.client_of("ana", "a").await.unwrap();
    let hidden = query(&mut ana, "SELECT * FROM shop.orders")
        .await
        .unwrap_err();
    let never = query(&mut ana, "SELECT * FROM qqqq.orders")
        .await
        .unwrap_err();
    assert_eq!(hidden.code(), never.code());
    assert_eq!(hidden.message(), never.message().replace("qqqq", "shop"));
    let denied = query(&mut ana, "CREATE SCHEMA s").await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    for (schemas, all) in [(false, 1), (true, 1)] {
        let tables = CommandGetTables {
            include_schema: schemas,
            ..CommandGetTables::default()
        };
        let info = ana.get_tables(tables).await.unwrap();
        let found = fetch(&mut ana, info).await.unwrap();
        let own = shown(&found);
        let own = own.iter().filter(|row| !row.contains("SYSTEM"));
        let own: Vec<_> = own.collect();
        assert_eq!(own.len(), all, "{own:?}");
        assert!(
            own[0].starts_with("belvedere|public|totals|VIEW"),
            "{own:?}"
        );
    }
}

#[tokio::test]
async fn tickets_and_sessions_are_their_users() {
    let server = server().await;
    let mut root = server.client_of("root", "r").await.unwrap();
    let mut ana = server.client_of("ana", "a").await.unwrap();
    let info = root
        .execute("SELECT * FROM shop.orders".into(), None)
        .await
        .unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let stolen = async {
        let stream = ana.do_get(ticket).await?;
        stream.try_collect::<Vec<_>>().await
    };
    assert_eq!(
        Status::from(stolen.await.unwrap_err()).code(),
        Code::PermissionDenied
    );
    assert_eq!(fetch(&mut root, info).await.unwrap()[0].num_rows(), 3);

    let connect = async |user: &str, password: &str| {
        let url = format!("grpc://{user}@{}", server.address);
        let options = ConnectOptions {
            password: Some(password.to_string()),
            ..ConnectOptions::default()
        };
        RemoteSession::connect(&url, options).await
    };
    let session = connect("ana", "a").await.unwrap();
    let answer = session.execute(SQL).await.unwrap();
    assert_eq!(
        answer.stream.try_collect::<Vec<_>>().await.unwrap().len(),
        1
    );
    let denied = session
        .apply(Vec::new(), ApplyOptions::default())
        .await
        .unwrap_err();
    assert_eq!(denied.code, "denied");
    let root = connect("root", "r").await.unwrap();
    assert!(
        root.apply(Vec::new(), ApplyOptions::default())
            .await
            .is_ok()
    );
    assert!(connect("ana", "x").await.is_err());
}
