//! Views kept by change over a real PostgreSQL, while clients transfer money between accounts: what is seen together agrees,
//! whoever is killed.
//!
//! BELVEDERE_CRASH_CYCLES says how often the engine is killed (4), BELVEDERE_CRASH_SEED by which chance.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use belvedere::{Engine, Session};
use tokio_postgres::Client;

use crate::fixture::{shown, table, until};
use crate::proxy::{Mode, Proxy};
use crate::servers::connected;
use crate::servers::postgres::Server;

const ACCOUNTS: i64 = 50;
const PATIENCE: Duration = Duration::from_secs(60);

/// Both tables tell what an account has: its balance, and what it began with and all that came and went since.
const TABLES: &str = "
    CREATE TABLE account (id bigint PRIMARY KEY, branch text NOT NULL, balance bigint NOT NULL);
    CREATE TABLE entry (id bigserial PRIMARY KEY, account bigint NOT NULL, amount bigint NOT NULL, text text);
    INSERT INTO account SELECT n, 'branch ' || n % 7, 1000 FROM generate_series(1, 50) AS n;
";
const BALANCES: &str = "SELECT id AS account, branch, balance FROM bank.account";
const ENTRIES: &str =
    "SELECT account, sum(amount) AS amount, count(*) AS entries FROM bank.entry GROUP BY account";
const BRANCHES: &str = "SELECT branch, sum(balance) AS total FROM bank.account GROUP BY branch";

/// What must be none at any time: accounts whose two views disagree.
const TORN: &str =
    "SELECT count(*) AS torn FROM balances b LEFT JOIN entries e ON e.account = b.account
    WHERE b.balance <> 1000 + coalesce(e.amount, 0)";
const SUM: &str = "SELECT sum(total) AS total FROM branches";

async fn ok(session: &Session, sql: &str) -> String {
    shown(session, sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn define(session: &Session, port: u16) {
    ok(
        session,
        &format!("CREATE SOURCE bank FROM 'postgres://postgres@127.0.0.1:{port}/postgres'"),
    )
    .await;
    for (name, query) in [
        ("balances", BALANCES),
        ("entries", ENTRIES),
        ("branches", BRANCHES),
    ] {
        let sql =
            format!("CREATE MATERIALIZED VIEW {name} WITH (refresh = 'on change') AS {query}");
        ok(session, &sql).await;
    }
}

/// Transfers until told to stop: one in ten is rolled back, some touch many accounts at once.
async fn transfer(port: u16, seed: u64, is_over: Arc<AtomicBool>) -> usize {
    let mut client = connected(port).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut done = 0;
    while !is_over.load(Ordering::Relaxed) {
        let (from, to) = (random.i64(1..=ACCOUNTS), random.i64(1..=ACCOUNTS));
        let (amount, pairs) = (random.i64(1..100), random.usize(1..4));
        let transaction = client.transaction().await.unwrap();
        let moved = async {
            for _ in 0..pairs {
                // In one order, so that no two wait for each other.
                for (account, amount) in [(from.min(to), amount), (from.max(to), -amount)] {
                    let balance = "UPDATE account SET balance = balance + $2 WHERE id = $1";
                    transaction.execute(balance, &[&account, &amount]).await?;
                    let entry = "INSERT INTO entry (account, amount, text) VALUES ($1, $2, repeat('x', 20))";
                    transaction.execute(entry, &[&account, &amount]).await?;
                }
            }
            Ok::<_, tokio_postgres::Error>(())
        };
        match moved.await {
            Ok(()) if random.u8(..10) > 0 => transaction.commit().await.unwrap(),
            _ => transaction.rollback().await.unwrap(),
        }
        done += 1;
        tokio::time::sleep(Duration::from_micros(random.u64(0..3000))).await;
    }
    done
}

/// The views are what their queries are, now that nobody writes.
async fn settled(session: &Session) {
    for (view, query) in [
        ("balances", BALANCES),
        ("entries", ENTRIES),
        ("branches", BRANCHES),
    ] {
        let expected = ok(session, &format!("SELECT * FROM ({query}) q ORDER BY 1")).await;
        let kept = format!("SELECT * FROM {view} ORDER BY 1");
        until(session, &kept, &expected, PATIENCE).await;
    }
}

async fn slots(client: &Client) -> i64 {
    let count = "SELECT count(*) FROM pg_replication_slots";
    client.query_one(count, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_never_moves() {
    let server = tokio::task::block_in_place(Server::private);
    let admin = connected(server.port).await;
    admin.batch_execute(TABLES).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    // They write while the tables are copied, too.
    let writers: Vec<_> = (0..3)
        .map(|seed| tokio::spawn(transfer(server.port, seed, is_over.clone())))
        .collect();
    let data = tempfile::tempdir().unwrap();
    let open = || Engine::builder().data_dir(data.path()).open();
    let engine = open().await.unwrap();
    let session = engine.session();
    define(&session, server.port).await;
    let zero = "+------+\n| torn |\n+------+\n| 0    |\n+------+";
    let constant = "+-------+\n| total |\n+-------+\n| 50000 |\n+-------+";
    let look = async |session: &Session, times: usize| {
        for _ in 0..times {
            assert_eq!(ok(session, TORN).await, zero);
            assert_eq!(ok(session, SUM).await, constant);
        }
    };
    look(&session, 100).await;
    // Another engine on the same folder goes on where this one stopped.
    drop(session);
    engine.close().await.unwrap();
    let engine = open().await.unwrap();
    let session = engine.session();
    look(&session, 100).await;
    // A cut connection, and a server that crashes.
    let cut = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active";
    admin.batch_execute(cut).await.unwrap();
    look(&session, 100).await;
    is_over.store(true, Ordering::Relaxed);
    let mut transfers = 0;
    for writer in writers {
        transfers += writer.await.unwrap();
    }
    assert!(transfers > 50, "{transfers} transfers");
    settled(&session).await;
    drop(admin);
    tokio::task::block_in_place(|| server.restart());
    let admin = connected(server.port).await;
    let more = "UPDATE account SET balance = balance + 1; INSERT INTO entry (account, amount) SELECT id, 1 FROM account";
    admin.batch_execute(more).await.unwrap();
    settled(&session).await;
    // What following it has made at the source goes with what needs it.
    assert_eq!(slots(&admin).await, 1);
    ok(&session, "DROP SOURCE bank CASCADE").await;
    let wait = async {
        while slots(&admin).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

/// A server of the engine, in a process that is killed.
struct Served(Child);

impl Served {
    fn begin(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        command
            .args([
                "serve",
                "--flight",
                "127.0.0.1:0",
                "--postgres",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // SIGKILL: nothing is tidied up.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_loses_nothing() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let cycles = number("BELVEDERE_CRASH_CYCLES").unwrap_or(4);
    let seed = number("BELVEDERE_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("BELVEDERE_CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = tokio::task::block_in_place(Server::private);
    let admin = connected(server.port).await;
    admin.batch_execute(TABLES).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let open = || Engine::builder().data_dir(data.path()).open();
    let engine = open().await.unwrap();
    let session = engine.session();
    define(&session, server.port).await;
    settled(&session).await;
    drop(session);
    engine.close().await.unwrap();

    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(transfer(server.port, seed, is_over.clone()));
    for cycle in 1..=cycles {
        let served = Served::begin(data.path());
        tokio::time::sleep(Duration::from_millis(random.u64(50..900))).await;
        drop(served);
        if random.u8(..8) == 0 {
            let cut =
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active";
            admin.batch_execute(cut).await.unwrap();
        }
        if cycle % 4 == 0 {
            let engine = open().await.unwrap();
            let session = engine.session();
            assert!(ok(&session, TORN).await.contains("| 0 "), "cycle {cycle}");
            drop(session);
            engine.close().await.unwrap();
        }
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
    let engine = open().await.unwrap();
    settled(&engine.session()).await;
    println!("killed {cycles} times: nothing lost, nothing twice");
}

/// Also where the bank is still down: what they had shown was durable by then.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_knows_how_old_its_copies_are() {
    let server = tokio::task::block_in_place(Server::private);
    let admin = connected(server.port).await;
    admin.batch_execute(TABLES).await.unwrap();
    let proxy = Proxy::before(server.port).await;
    let data = tempfile::tempdir().unwrap();
    let open = || Engine::builder().data_dir(data.path()).open();
    let engine = open().await.unwrap();
    let session = engine.session();
    define(&session, proxy.port).await;
    settled(&session).await;
    drop(session);
    engine.close().await.unwrap();
    let closed = Instant::now();

    let served = Served::begin(data.path());
    let follows = async {
        while proxy.open() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, follows).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxy.set(Mode::Refuse).await;
    // A checkpoint more.
    tokio::time::sleep(Duration::from_secs(12)).await;
    drop(served);

    let engine = open().await.unwrap();
    let session = engine.session();
    ok(&session, "SET max_staleness = '1 hour'").await;
    let answer = session.execute(SUM).await.unwrap();
    let age = answer.freshness.age().unwrap();
    assert!(age >= Duration::from_secs(12), "{age:?}");
    assert!(age < closed.elapsed(), "{age:?}");
    assert!(table(answer).await.unwrap().contains("| 50000 "));
    ok(&session, "SET max_staleness = '1ms'").await;
    let old = shown(&session, SUM).await.unwrap_err().to_string();
    assert!(old.contains("may be 1 ms old"), "{old}");
}
