//! Subscriptions over a real PostgreSQL, while clients transfer money between accounts: each epoch is whole, whoever goes.
//!
//! BELVEDERE_CRASH_SEED says by which chance the engine is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use belvedere::serve::flight::client::{ConnectOptions, RemoteSession};
use belvedere::{Engine, Session};
use futures::StreamExt;

use crate::fixture::shown;
use crate::follower::{Follower, Rows, Sum};
use crate::servers::{connected, postgres};

const ACCOUNTS: &str = "
    CREATE TABLE account (id bigint PRIMARY KEY, branch text NOT NULL, balance bigint NOT NULL);
    INSERT INTO account SELECT n, 'branch ' || n % 7, 1000 FROM generate_series(1, 50) AS n;
";
const BRANCHES: &str =
    "SELECT branch, count(*) AS accounts, sum(balance) AS total FROM bank.account GROUP BY branch";

/// Whatever is moved between accounts, all together have as much.
fn nothing_is_lost(rows: &Rows) {
    let totals = rows
        .iter()
        .map(|(row, count)| count * row[2].parse::<i64>().unwrap());
    assert_eq!(totals.sum::<i64>(), 50_000);
}

/// A server of the engine, in a process that is killed.
struct Served {
    process: Child,
    url: String,
}

impl Served {
    fn begin(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        command.args([
            "serve",
            "--flight",
            "127.0.0.1:0",
            "--postgres",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--data",
        ]);
        command
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let words = lines.flat_map(|line| {
            let words: Vec<String> = line.unwrap().split_whitespace().map(String::from).collect();
            words
        });
        let url = words.into_iter().find(|word| word.starts_with("grpc://"));
        let url = url.expect("it says where it is");
        Self { process, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // SIGKILL: nothing is tidied up.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_tells_nothing_twice() {
    let seed = std::env::var("BELVEDERE_CRASH_SEED").ok();
    let seed = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("BELVEDERE_CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = tokio::task::block_in_place(postgres::Server::private);
    let port = server.port;
    let admin = connected(port).await;
    admin.batch_execute(ACCOUNTS).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::builder()
        .data_dir(data.path())
        .open()
        .await
        .unwrap();
    follow(&engine.session(), port).await;
    engine.close().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let writing = is_over.clone();
    let writer = tokio::spawn(async move {
        let client = connected(port).await;
        let mut random = fastrand::Rng::with_seed(seed);
        while !writing.load(Ordering::Relaxed) {
            transfer(&client, &mut random).await;
            tokio::time::sleep(Duration::from_millis(random.u64(0..20))).await;
        }
    });
    let mut sum = Sum::of(Rows::new(), nothing_is_lost);
    let (mut gone_on, mut begun) = (0, 0);
    for _ in 0..6 {
        let served = tokio::task::block_in_place(|| Served::begin(data.path()));
        let session = RemoteSession::connect(&served.url, ConnectOptions::default())
            .await
            .unwrap();
        let sql = format!("SUBSCRIBE TO branches WITH (cursor = '{}')", sum.cursor);
        let answer = match sum.cursor.is_empty() {
            true => Err("cursor_expired".to_string()),
            false => session.execute(&sql).await.map_err(|e| e.code),
        };
        let mut answer = match answer {
            Ok(answer) => {
                gone_on += 1;
                answer
            }
            // A checkpoint has been made behind the cursor: it is said, and there is no gap.
            Err(code) => {
                assert_eq!(code, "cursor_expired");
                begun += 1;
                sum = Sum::of(Rows::new(), nothing_is_lost);
                session.execute("SUBSCRIBE TO branches").await.unwrap()
            }
        };
        let until = tokio::time::Instant::now() + Duration::from_millis(random.u64(200..1200));
        while let Ok(Some(batch)) = tokio::time::timeout_at(until, answer.stream.next()).await {
            sum.take(&batch.unwrap());
        }
        // What is open is told again.
        sum.open.clear();
        drop(served);
    }
    is_over.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    println!("gone on {gone_on} times, begun {begun} times");
    // What has been added up over all of them is what there is.
    let engine = Engine::builder()
        .data_dir(data.path())
        .open()
        .await
        .unwrap();
    let session = engine.session();
    let sql = format!("SUBSCRIBE TO branches WITH (cursor = '{}')", sum.cursor);
    let mut told = match session.execute(&sql).await {
        Ok(answer) => Follower { answer, sum },
        Err(e) => {
            assert_eq!(e.code(), "cursor_expired");
            Follower::of(&session, "SUBSCRIBE TO branches").await
        }
    };
    told.until_same(&session, BRANCHES).await;
}

async fn follow(session: &Session, port: u16) {
    for sql in [
        format!("CREATE SOURCE bank FROM 'postgres://postgres@127.0.0.1:{port}/postgres'"),
        format!("CREATE MATERIALIZED VIEW branches WITH (refresh = 'on change') AS {BRANCHES}"),
    ] {
        shown(session, &sql).await.unwrap();
    }
}

/// Some money moves from one account to another.
async fn transfer(client: &tokio_postgres::Client, random: &mut fastrand::Rng) {
    let (from, to, amount) = (random.i64(1..=50), random.i64(1..=50), random.i64(1..100));
    let sql = format!(
        "BEGIN; UPDATE account SET balance = balance - {amount} WHERE id = {from};
         UPDATE account SET balance = balance + {amount} WHERE id = {to}; COMMIT"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_epoch_of_a_busy_database_is_whole() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let port = server.port;
    let admin = connected(port).await;
    admin.batch_execute(ACCOUNTS).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::builder()
        .data_dir(data.path())
        .open()
        .await
        .unwrap();
    let session = engine.session();
    follow(&session, port).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut told = Follower::of(&session, "SUBSCRIBE TO branches").await;
    told.sum.whole = nothing_is_lost;
    for round in 0..20 {
        for _ in 0..20 {
            transfer(&admin, &mut random).await;
        }
        if round % 3 == 1 {
            // Who comes back goes on, wherever he was.
            let sql = format!("SUBSCRIBE TO branches WITH (cursor = '{}')", told.cursor);
            told = Follower::going_on(&session, &sql, told.sum.rows).await;
            told.sum.whole = nothing_is_lost;
        }
        told.until_same(&session, BRANCHES).await;
    }
    // The source goes, and comes back.
    drop(admin);
    tokio::task::block_in_place(|| server.restart());
    let admin = connected(port).await;
    admin
        .batch_execute("UPDATE account SET branch = 'branch 0' WHERE id % 2 = 0")
        .await
        .unwrap();
    told.until_same(&session, BRANCHES).await;
    assert!(told.told > 1);
    // So does the engine: who was told all goes on, though the log has gone on, too.
    let Follower { answer, sum } = told;
    drop((answer, session));
    engine.close().await.unwrap();
    let open = Engine::builder().data_dir(data.path()).open();
    let engine = open.await.unwrap();
    let session = engine.session();
    let sql = format!("SUBSCRIBE TO branches WITH (cursor = '{}')", sum.cursor);
    let mut told = Follower::going_on(&session, &sql, sum.rows).await;
    transfer(&admin, &mut random).await;
    told.until_same(&session, BRANCHES).await;
    drop(told);
    shown(&session, "DROP SOURCE bank CASCADE").await.unwrap();
}
