//! Large tables, read by several connections in one snapshot.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use belvedere_connector::{BinaryOp, Fragment, Rel, ScanRequest, Source};
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use support::algebra::{compare, filter, int};
use support::{Server, read, request, scan, table, text_of};

/// Some 1.1 kB a row, so that 40,000 rows are more than 32 MB.
const FILLER: &str = "REPEAT('x', 1100)";

#[tokio::test(flavor = "multi_thread")]
async fn large_tables_are_read_in_ranges() {
    let mut server = Server::start().await;
    if !server.is_own() {
        println!("not shown: reading in ranges needs a server with a binary log of its own");
        return;
    }
    server.kill();
    server.launch_with(&log()).await;
    tables(&server).await;
    same_rows(&server).await;
    few_connections(&server).await;
    rights(&server).await;
    cancelled(&server).await;
    transfers(&server).await;
    restarted(&mut server).await;
    prepared(&server).await;
    server.kill();
    server.launch().await;
    without_a_log(&server).await;
    server.kill();
    server
        .launch_with(&[&log()[..], &["--binlog-ignore-db=big".to_string()]].concat())
        .await;
    without_a_log(&server).await;
}

fn log() -> [String; 2] {
    ["--log-bin=binlog".to_string(), "--server-id=1".to_string()]
}

async fn tables(server: &Server) {
    let rows = |table: &str, key: &str| {
        format!("INSERT INTO {table} SELECT {key}, {FILLER} FROM seq_1_to_40000")
    };
    let statements = [
        "CREATE TABLE plain (id BIGINT PRIMARY KEY, v VARCHAR(2000) NOT NULL)".to_string(),
        rows("plain", "seq"),
        // Negative, with gaps that grow.
        "CREATE TABLE gaps (id BIGINT PRIMARY KEY, v VARCHAR(2000) NOT NULL)".to_string(),
        rows(
            "gaps",
            "CAST(seq AS DECIMAL(30)) * seq * seq * 100000 - 3200000000000000000",
        ),
        "INSERT INTO gaps VALUES (-9223372036854775808, ''), (9223372036854775807, '')".to_string(),
        "CREATE TABLE large (id BIGINT UNSIGNED PRIMARY KEY, v VARCHAR(2000) NOT NULL)".to_string(),
        rows("large", "IF(seq % 2, seq, 18446744073709551615 - seq + 2)"),
        // A key of two columns, named as nobody should.
        "CREATE TABLE `two``s` (`of \"it` SMALLINT, n INT, v VARCHAR(2000) NOT NULL, PRIMARY KEY (`of \"it`, n))"
            .to_string(),
        format!("INSERT INTO `two``s` SELECT seq % 50, seq, {FILLER} FROM seq_1_to_40000"),
        "CREATE TABLE named (id VARCHAR(20) PRIMARY KEY, v VARCHAR(2000) NOT NULL)".to_string(),
        rows("named", "CONCAT('n', seq)"),
        "CREATE TABLE keyless (id INT, v VARCHAR(2000) NOT NULL)".to_string(),
        rows("keyless", "seq"),
        "CREATE TABLE plain_files (id INT PRIMARY KEY, v VARCHAR(2000) NOT NULL) ENGINE = MyISAM".to_string(),
        rows("plain_files", "seq"),
        "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL, v VARCHAR(2000) NOT NULL)".to_string(),
        format!("INSERT INTO account SELECT seq, 1000, {FILLER} FROM seq_1_to_40000"),
        "ANALYZE TABLE plain, gaps, large, `two``s`, named, keyless, plain_files, account".to_string(),
    ];
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    server.database("big", &statements).await;
}

/// What each stream has, all read at once.
async fn parts(
    source: &Arc<dyn Source>,
    rel: Rel,
    partitions: usize,
) -> belvedere_connector::Result<Vec<Vec<RecordBatch>>> {
    let request = ScanRequest {
        partitions,
        deadline: Some(Instant::now() + Duration::from_secs(60)),
        ..request(rel)
    };
    let streams = source.scan(request).await?;
    assert_eq!(streams.len(), partitions);
    let tasks = streams
        .into_iter()
        .map(|stream| tokio::spawn(stream.try_collect::<Vec<_>>()));
    join_all(tasks)
        .await
        .into_iter()
        .map(|part| part.expect("no stream panics"))
        .collect()
}

fn rows(part: &[RecordBatch]) -> usize {
    part.iter().map(RecordBatch::num_rows).sum()
}

/// How many streams had rows.
fn used(parts: &[Vec<RecordBatch>]) -> usize {
    parts.iter().filter(|part| rows(part) > 0).count()
}

/// Reads it in as many ranges as the source offers, and by one connection: the rows are the same.
async fn compared(source: &Arc<dyn Source>, rel: Rel, what: &str) -> (usize, usize) {
    let offered = source.partitions(&Fragment::new(rel.clone()));
    let began = Instant::now();
    let found = parts(source, rel.clone(), offered).await.expect(what);
    let took = began.elapsed();
    let counts: Vec<usize> = found.iter().map(|part| rows(part)).collect();
    let began = Instant::now();
    let whole = read(source, rel).await.expect(what);
    println!(
        "{what}: {counts:?} in {took:.0?}, by one connection {:.0?}",
        began.elapsed()
    );
    let mut all = text_of(&found.concat());
    let mut plain = text_of(&whole);
    all.sort_unstable();
    plain.sort_unstable();
    assert_eq!(all.len(), plain.len(), "{what}");
    assert!(all == plain, "{what}: other rows");
    (offered, used(&found))
}

async fn same_rows(server: &Server) {
    let source = server.source("big", &[]);
    let offered = |name: &'static str, columns: &'static [&'static str]| {
        let source = source.clone();
        async move {
            let table = table(&source, name).await;
            compared(&source, scan(&table, columns), name).await
        }
    };
    for name in ["plain", "gaps", "large", "two`s"] {
        let (offered, used) = offered(name, &[]).await;
        assert!(offered >= 2, "{name}");
        assert_eq!(used, offered, "{name}");
    }
    // Without the key, and without any column.
    assert!(offered("plain", &["v"]).await.1 >= 2);
    let plain = table(&source, "plain").await;
    let none = Rel::Project {
        input: Box::new(scan(&plain, &["v"])),
        columns: Vec::new(),
    };
    let counted = parts(&source, none, 2).await.unwrap();
    assert_eq!(counted.iter().map(|part| rows(part)).sum::<usize>(), 40_000);
    // With conditions of its own, on a computed column.
    let half = filter(
        scan(&plain, &["v", "id"]),
        compare(
            BinaryOp::LtEq,
            belvedere_connector::Expr::column(1, DataType::Int64, false),
            int(20_000, DataType::Int64),
        ),
    );
    let (offered_half, used_half) = compared(&source, half, "half of plain").await;
    assert_eq!(used_half, offered_half);
    // One row is found by one connection.
    let one = filter(
        scan(&plain, &["id"]),
        compare(
            BinaryOp::Eq,
            belvedere_connector::Expr::column(0, DataType::Int64, false),
            int(7, DataType::Int64),
        ),
    );
    assert_eq!(source.partitions(&Fragment::new(one)), 1);
    // No key, or one by which ranges are not certain.
    assert_eq!(offered("named", &[]).await, (1, 1));
    assert_eq!(offered("keyless", &[]).await, (1, 1));
    // No snapshots.
    let (offered, used) = offered("plain_files", &["id"]).await;
    assert!(offered >= 2);
    assert_eq!(used, 1);
}

/// Whoever has fewer connections than planned reads in fewer ranges.
async fn few_connections(server: &Server) {
    for (connections, expected) in [("1", 1), ("3", 3)] {
        let source = server.source("big", &[("max_connections", connections)]);
        let plain = table(&source, "plain").await;
        for _ in 0..3 {
            let found = parts(&source, scan(&plain, &["id"]), 4).await.unwrap();
            assert_eq!(used(&found), expected);
            assert_eq!(rows(&found.concat()), 40_000);
        }
        // Streams that are read one after the other are of one snapshot, too.
        let request = ScanRequest {
            partitions: 4,
            ..request(scan(&plain, &["id"]))
        };
        let mut left = 40_000;
        for stream in source.scan(request).await.unwrap() {
            left -= rows(&stream.try_collect::<Vec<_>>().await.unwrap());
        }
        assert_eq!(left, 0);
    }
}

/// Who may not see whether the log has everything reads with one connection.
async fn rights(server: &Server) {
    let run = |statement: &'static str| async move {
        server.database("scratch", &[statement]).await;
    };
    for host in ["'%'", "localhost"] {
        for statement in [
            format!("CREATE OR REPLACE USER reader@{host}"),
            format!("GRANT SELECT ON big.* TO reader@{host}"),
        ] {
            server.database("scratch", &[&statement]).await;
        }
    }
    let source = server.source_as("reader", "big", &[]);
    let plain = table(&source, "plain").await;
    let found = parts(&source, scan(&plain, &["id"]), 2).await.unwrap();
    assert_eq!((used(&found), rows(&found.concat())), (1, 40_000));
    run("GRANT BINLOG MONITOR ON *.* TO reader@'%', reader@localhost").await;
    let source = server.source_as("reader", "big", &[]);
    table(&source, "plain").await;
    let found = parts(&source, scan(&plain, &["id"]), 2).await.unwrap();
    assert_eq!((used(&found), rows(&found.concat())), (2, 40_000));
}

/// Streams that nobody reads any more end at the server, and their connections are free.
async fn cancelled(server: &Server) {
    let source = server.source("big", &[]);
    let plain = table(&source, "plain").await;
    let open = |columns: &'static [&'static str]| {
        source.scan(ScanRequest {
            partitions: 4,
            ..request(scan(&plain, columns))
        })
    };
    let mut streams = open(&[]).await.unwrap();
    for stream in &mut streams {
        stream.next().await.unwrap().unwrap();
    }
    drop(streams);
    // Before all have begun, and before any has.
    let mut streams = open(&[]).await.unwrap();
    streams[2].next().await.unwrap().unwrap();
    drop(streams);
    drop(open(&[]).await.unwrap());
    let until = Instant::now() + Duration::from_secs(10);
    let open_transactions = "SELECT CAST(trx_id AS CHAR) FROM information_schema.INNODB_TRX";
    while !server.ask("", open_transactions).await.is_empty() {
        assert!(Instant::now() < until, "a transaction stays at the server");
        // The server looks anew only when nobody has asked for a tenth of a second.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let found = parts(&source, scan(&plain, &["id"]), 4).await.unwrap();
    assert_eq!((used(&found), rows(&found.concat())), (4, 40_000));
}

/// Money that moves from account to account while it is counted is neither lost nor counted twice.
async fn transfers(server: &Server) {
    let source = server.source("big", &[]);
    let account = table(&source, "account").await;
    let done = Arc::new(AtomicBool::new(false));
    let bankers: Vec<_> = (0..2_u64)
        .map(|banker| {
            let (conn, done) = (server.connection(), done.clone());
            tokio::spawn(async move { transfer(conn.await, banker, &done).await })
        })
        .collect();
    let mut shared = 0;
    let mut rounds = 0;
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        let found = parts(&source, scan(&account, &["balance"]), 4)
            .await
            .unwrap();
        rounds += 1;
        shared += usize::from(used(&found) > 1);
        let sum: i64 = found
            .concat()
            .iter()
            .map(|batch| {
                let balances = batch.column(0).as_primitive::<Int64Type>();
                arrow::compute::sum(balances).unwrap_or(0)
            })
            .sum();
        assert_eq!(sum, 40_000 * 1000, "in round {rounds}");
    }
    done.store(true, Ordering::Relaxed);
    let mut moved = 0;
    for banker in bankers {
        moved += banker.await.unwrap();
    }
    println!("{moved} transfers during {rounds} reads, {shared} of them in ranges");
    assert!(moved > 0 && shared > 0);
}

/// Moves money between the ends of the table until it is told to stop; how often it has.
async fn transfer(mut conn: mysql_async::Conn, seed: u64, done: &AtomicBool) -> usize {
    use mysql_async::prelude::Queryable;
    let mut moved = 0;
    let mut random = seed + 1;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    while !done.load(Ordering::Relaxed) {
        let (from, to, amount) = (next(20_000) + 1, next(20_000) + 20_001, next(500));
        conn.query_drop("BEGIN").await.unwrap();
        for (account, amount) in [(from, -(amount as i64)), (to, amount as i64)] {
            conn.exec_drop(
                "UPDATE account SET balance = balance + ? WHERE id = ?",
                (amount, account),
            )
            .await
            .unwrap();
        }
        conn.query_drop("COMMIT").await.unwrap();
        moved += 1;
    }
    moved
}

/// Without positions in a log of all changes one connection reads it all.
async fn without_a_log(server: &Server) {
    let source = server.source("big", &[]);
    let plain = table(&source, "plain").await;
    let scan = scan(&plain, &["id"]);
    let found = parts(&source, scan.clone(), 4).await.unwrap();
    assert_eq!((used(&found), rows(&found.concat())), (1, 40_000));
    // Not tried again before the source is read again.
    assert_eq!(source.partitions(&Fragment::new(scan.clone())), 1);
    source.discover().await.unwrap();
    assert!(source.partitions(&Fragment::new(scan)) > 1);
}

/// Connections that died while idle are replaced without a word.
async fn restarted(server: &mut Server) {
    let source = server.source("big", &[]);
    let one = server.source("big", &[("max_connections", "1")]);
    let plain = table(&source, "plain").await;
    table(&one, "plain").await;
    for _ in 0..2 {
        let found = parts(&source, scan(&plain, &["id"]), 4).await.unwrap();
        assert_eq!((used(&found), rows(&found.concat())), (4, 40_000));
        // Nothing but the statement itself is sent: there is no deadline.
        let request = ScanRequest {
            partitions: 2,
            ..request(scan(&plain, &["id"]))
        };
        let mut found = 0;
        for stream in one.scan(request).await.unwrap() {
            found += rows(&stream.try_collect::<Vec<_>>().await.unwrap());
        }
        assert_eq!(found, 40_000);
        server.kill();
        server.launch_with(&log()).await;
    }
}

/// Nobody's word on what was prepared and is committed now is in the log.
async fn prepared(server: &Server) {
    let xa = [
        "XA START 'x'",
        "INSERT INTO big.account VALUES (0, 0, '')",
        "XA END 'x'",
        "XA PREPARE 'x'",
        "XA COMMIT 'x'",
    ];
    server.database("scratch", &xa).await;
    without_a_log(server).await;
}
