//! Connections, cancellation, outages and refusals.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::{BinaryOp, Code, Connector, Expr, ExprKind, Literal, Rel, Source, Table};
use belvedere_mysql::MysqlConnector;
use futures::StreamExt;
use support::{Server, assert_code, config, read, read_request, request, scan, table, text_of};

#[tokio::test]
async fn behaviour() {
    let mut server = Server::start().await;
    server
        .database(
            "big",
            &[
                "CREATE TABLE rows_ (id INT PRIMARY KEY, t VARCHAR(200))",
                "INSERT INTO rows_ SELECT seq, REPEAT('x', 200) FROM seq_1_to_300000",
                "CREATE TABLE small (id INT PRIMARY KEY)",
                "INSERT INTO small SELECT seq FROM seq_1_to_1000",
                "CREATE TABLE changing (id INT PRIMARY KEY, v INT, w INT)",
                "INSERT INTO changing VALUES (1, 1, 1)",
            ],
        )
        .await;
    cancelled(&server).await;
    busy(&server).await;
    many(&server).await;
    deadline(&server).await;
    silent(&server).await;
    refused(&server).await;
    altered(&server).await;
    session(&server).await;
    if server.is_own() {
        restarted(&mut server).await;
    }
}

async fn running(server: &Server) -> usize {
    server
        .ask("", "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND IN ('Query', 'Execute') AND DB = 'big'")
        .await
        .len()
}

async fn eventually_idle(server: &Server) {
    let until = Instant::now() + Duration::from_secs(10);
    while running(server).await > 0 {
        assert!(
            Instant::now() < until,
            "the statement goes on at the server"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A statement that computes for a long time before its first row: a join of a table with itself, twice.
fn endless(small: &Table) -> Rel {
    let join = |left: Rel, right: Rel| Rel::Join {
        left: Box::new(left),
        right: Box::new(right),
        kind: belvedere_connector::JoinKind::Inner,
        on: Vec::new(),
        filter: None,
    };
    let all = join(join(scan(small, &[]), scan(small, &[])), scan(small, &[]));
    let sum = |l: Expr, r: Expr| Expr {
        data_type: arrow::datatypes::DataType::Int64,
        nullable: false,
        kind: ExprKind::Binary {
            op: BinaryOp::Plus,
            left: Box::new(l),
            right: Box::new(r),
        },
    };
    let wide = |i: usize| Expr {
        data_type: arrow::datatypes::DataType::Int64,
        nullable: false,
        kind: ExprKind::Cast {
            arg: Box::new(Expr::column(i, arrow::datatypes::DataType::Int32, false)),
        },
    };
    Rel::Filter {
        input: Box::new(all),
        predicates: vec![Expr {
            data_type: arrow::datatypes::DataType::Boolean,
            nullable: false,
            kind: ExprKind::Binary {
                op: BinaryOp::Lt,
                left: Box::new(sum(sum(wide(0), wide(1)), wide(2))),
                right: Box::new(Expr::literal(
                    Literal::Int(0),
                    arrow::datatypes::DataType::Int64,
                )),
            },
        }],
    }
}

async fn cancelled(server: &Server) {
    let source = server.source("big", &[("max_connections", "1")]);
    let rows = table(&source, "rows_").await;
    // In the middle of rows.
    let mut stream = source
        .scan(request(scan(&rows, &[])))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(stream.next().await.unwrap().unwrap().num_rows(), 1000);
    // The server waits for the reader, which holds a few batches.
    assert_eq!(running(server).await, 1);
    drop(stream);
    eventually_idle(server).await;
    // The one connection is free again.
    let small = table(&source, "small").await;
    assert_eq!(
        read(&source, scan(&small, &[])).await.unwrap()[0].num_rows(),
        1000
    );
    // Before the first row.
    let mut stream = source
        .scan(request(endless(&small)))
        .await
        .unwrap()
        .remove(0);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), stream.next())
            .await
            .is_err()
    );
    assert_eq!(running(server).await, 1);
    drop(stream);
    eventually_idle(server).await;
    assert_eq!(
        read(&source, scan(&small, &[])).await.unwrap()[0].num_rows(),
        1000
    );
    // Not polled at all: nothing happens.
    drop(source.scan(request(endless(&small))).await.unwrap());
    assert_eq!(running(server).await, 0);
}

async fn busy(server: &Server) {
    let source = server.source("big", &[("max_connections", "1")]);
    let rows = table(&source, "rows_").await;
    let mut holder = source
        .scan(request(scan(&rows, &[])))
        .await
        .unwrap()
        .remove(0);
    holder.next().await.unwrap().unwrap();
    let mut second = request(scan(&rows, &["id"]));
    second.deadline = Some(Instant::now() + Duration::from_millis(300));
    let error = read_request(&source, second).await.unwrap_err();
    assert_code(&error, Code::Busy);
    assert!(error.to_string().contains("max_connections"), "{error}");
    // What was held is whole.
    let mut left = 299_000;
    while let Some(batch) = holder.next().await {
        left -= batch.unwrap().num_rows();
    }
    assert_eq!(left, 0);
}

async fn many(server: &Server) {
    let source = server.source("big", &[]);
    let small = table(&source, "small").await;
    let before = connections(server).await;
    let queries = (0..200).map(|_| {
        let (source, small) = (source.clone(), small.clone());
        tokio::spawn(async move { read(&source, scan(&small, &[])).await.unwrap()[0].num_rows() })
    });
    for rows in futures::future::join_all(queries).await {
        assert_eq!(rows.unwrap(), 1000);
    }
    assert!(connections(server).await <= before + 4);
}

async fn connections(server: &Server) -> usize {
    server
        .ask(
            "",
            "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = 'big'",
        )
        .await
        .len()
}

async fn deadline(server: &Server) {
    let source = server.source("big", &[]);
    let small = table(&source, "small").await;
    let mut slow = request(endless(&small));
    slow.deadline = Some(Instant::now() + Duration::from_millis(300));
    let began = Instant::now();
    let error = read_request(&source, slow).await.unwrap_err();
    assert_code(&error, Code::Timeout);
    assert!(began.elapsed() < Duration::from_secs(5));
    eventually_idle(server).await;
    // The next statement on that connection has no deadline.
    assert_eq!(
        read(&source, scan(&small, &[])).await.unwrap()[0].num_rows(),
        1000
    );
}

async fn refused(server: &Server) {
    server
        .database(
            "rights",
            &[
                "CREATE TABLE open_ (id INT)",
                "CREATE TABLE closed (id INT, v INT)",
                "CREATE OR REPLACE USER ana@'%' IDENTIFIED BY 'right'",
                "CREATE OR REPLACE USER ana@'localhost' IDENTIFIED BY 'right'",
                "GRANT SELECT ON rights.open_ TO ana@'%'",
                "GRANT SELECT ON rights.open_ TO ana@'localhost'",
            ],
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let secret = |text: &str| {
        let path = folder.path().join(text);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        format!("file:{}", path.display())
    };
    let wrong = server.source_as("ana", "rights", &[("password", &secret("wrong"))]);
    let error = wrong.discover().await.unwrap_err();
    assert_code(&error, Code::Authentication);
    assert!(error.to_string().contains("ana") && !format!("{error:?}").contains("wrong"));

    let right = server.source_as("ana", "rights", &[("password", &secret("right"))]);
    let tables = right.discover().await.unwrap();
    assert_eq!(
        tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
        ["open_"]
    );
    let root = server.source("rights", &[]);
    let closed = table(&root, "closed").await;
    let error = read(&right, scan(&closed, &[])).await.unwrap_err();
    assert_code(&error, Code::PermissionDenied);
    assert_eq!(error.table.as_deref(), Some("rights.closed"));
    // The connection is still good.
    let open = table(&right, "open_").await;
    assert!(read(&right, scan(&open, &[])).await.unwrap().is_empty());

    let error = server
        .source("no_such_database", &[])
        .discover()
        .await
        .unwrap_err();
    assert_code(&error, Code::TableMissing);
    let nowhere = |url: &str| {
        MysqlConnector
            .open(config(url, &[("connect_timeout", "2")]))
            .unwrap()
    };
    for url in [
        "mysql://u@127.0.0.1:1/d",
        "mysql://u@no-such-host.invalid/d",
    ] {
        let error = nowhere(url).discover().await.unwrap_err();
        assert_code(&error, Code::Unreachable);
    }
    assert!(
        nowhere("mysql://u@127.0.0.1:1/d")
            .discover()
            .await
            .unwrap_err()
            .to_string()
            .contains("127.0.0.1:1")
    );
    let missing = server.source_as(
        "ana",
        "rights",
        &[("password", "env:NO_SUCH_VARIABLE_HERE")],
    );
    assert_code(&missing.discover().await.unwrap_err(), Code::InvalidSecret);
}

async fn altered(server: &Server) {
    let source = server.source("big", &[]);
    let changing = table(&source, "changing").await;
    read(&source, scan(&changing, &[])).await.unwrap();
    let alter = |statement: &'static str| async move {
        server.database("scratch", &["USE big", statement]).await;
    };
    alter("ALTER TABLE changing MODIFY v VARCHAR(10)").await;
    let error = read(&source, scan(&changing, &[])).await.unwrap_err();
    assert_code(&error, Code::SchemaChanged);
    assert_eq!(error.column.as_deref(), Some("v"));
    alter("ALTER TABLE changing DROP COLUMN v").await;
    assert_code(
        &read(&source, scan(&changing, &[])).await.unwrap_err(),
        Code::SchemaChanged,
    );
    let again = table(&source, "changing").await;
    assert_eq!(
        text_of(&read(&source, scan(&again, &[])).await.unwrap()).len(),
        1
    );
    alter("DROP TABLE changing").await;
    let error = read(&source, scan(&again, &[])).await.unwrap_err();
    assert_code(&error, Code::TableMissing);
    assert_eq!(error.table.as_deref(), Some("big.changing"));
}

/// Connecting ends at the deadline, too: this server takes connections and says nothing.
async fn silent(server: &Server) {
    let small = table(&server.source("big", &[]), "small").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mysql://u@{}/d", listener.local_addr().unwrap());
    let source = MysqlConnector
        .open(config(&url, &[("connect_timeout", "60")]))
        .unwrap();
    let mut late = request(scan(&small, &[]));
    late.deadline = Some(Instant::now() + Duration::from_millis(300));
    let began = Instant::now();
    let error = read_request(&source, late).await.unwrap_err();
    assert_code(&error, Code::Timeout);
    assert!(error.to_string().contains("connecting"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// The server's own settings do not change what statements mean.
async fn session(server: &Server) {
    server
        .database(
            "strange",
            &[
                "SET GLOBAL sql_mode = 'PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT'",
                "SET GLOBAL time_zone = '+05:00'",
                "SET GLOBAL sql_select_limit = 1",
                "SET time_zone = '+00:00'",
                "CREATE TABLE t (c CHAR(4), ts TIMESTAMP NULL)",
                "INSERT INTO t VALUES ('a', '2024-01-01 00:00:00'), ('b', NULL)",
            ],
        )
        .await;
    let source = server.source("strange", &[]);
    let t = table(&source, "t").await;
    let rows = text_of(&read(&source, scan(&t, &[])).await.unwrap());
    server
        .database(
            "strange",
            &[
                "SET GLOBAL sql_mode = DEFAULT",
                "SET GLOBAL time_zone = DEFAULT",
                "SET GLOBAL sql_select_limit = DEFAULT",
            ],
        )
        .await;
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0],
        [
            Some("a".to_string()),
            Some("2024-01-01T00:00:00Z".to_string())
        ]
    );
}

async fn restarted(server: &mut Server) {
    let source: Arc<dyn Source> = server.source("big", &[("max_connections", "2")]);
    let rows = table(&source, "rows_").await;
    let small = table(&source, "small").await;
    let mut stream = source
        .scan(request(scan(&rows, &[])))
        .await
        .unwrap()
        .remove(0);
    stream.next().await.unwrap().unwrap();
    server.kill();
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a broken read looked complete"),
        }
    };
    assert_code(&error, Code::Unreachable);
    assert!(
        error.to_string().contains(&server.port.to_string()),
        "{error}"
    );
    assert!(stream.next().await.is_none());
    let error = read(&source, scan(&small, &[])).await.unwrap_err();
    assert_code(&error, Code::Unreachable);
    server.launch().await;
    assert_eq!(
        read(&source, scan(&small, &[])).await.unwrap()[0].num_rows(),
        1000
    );
    // Connections that died while idle are replaced without a word.
    server.kill();
    server.launch().await;
    assert_eq!(
        read(&source, scan(&small, &[])).await.unwrap()[0].num_rows(),
        1000
    );
    server.kill();
    server.launch().await;
    assert!(!source.discover().await.unwrap().is_empty());
}
