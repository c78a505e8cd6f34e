//! Histories of writers at a PostgreSQL and readers with different bounds, who write by the engine, too, over restarts of it: no answer is
//! older than it may be, no session goes back in time, views that are read together agree, and who reads after a write sees it.
//!
//! BELVEDERE_HISTORIES says how many there are (2), BELVEDERE_HISTORY_SEED by which chance.

mod history;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use belvedere::{Engine, Session};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use tokio_postgres::Client;

use self::history::{History, Read, Write};
use crate::fixture::shown;
use crate::servers::connected;
use crate::servers::postgres::Server;

const KEYS: i64 = 4;
const READERS: usize = 6;
/// Each opens the engine anew.
const ROUNDS: usize = 2;
const ROUND: Duration = Duration::from_millis(2500);

/// Both tables have the same numbers, at any moment.
const TABLES: &str = "
    DROP TABLE IF EXISTS a, b, own, rare;
    CREATE TABLE a (k bigint PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE b (k bigint PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO a SELECT k, 0 FROM generate_series(1, 4) k;
    INSERT INTO b SELECT * FROM a;
    CREATE TABLE own (k bigint PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO own SELECT k, 0 FROM generate_series(100, 105) k;
    CREATE TABLE rare (k bigint PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO rare SELECT k, 0 FROM generate_series(200, 201) k;
";

const VIEWS: &[&str] = &[
    "CREATE MATERIALIZED VIEW kept_a WITH (refresh = 'on change', key = 'k', wait = true) AS SELECT k, n FROM erp.a",
    "CREATE MATERIALIZED VIEW kept_b WITH (refresh = 'on change', key = 'k', wait = true) AS SELECT k, n FROM erp.b",
    "CREATE MATERIALIZED VIEW summed WITH (refresh = 'on change', wait = true) AS
     SELECT k, sum(n) AS n FROM (SELECT * FROM erp.a UNION ALL SELECT * FROM erp.b) GROUP BY k",
    "CREATE MATERIALIZED VIEW looked WITH (refresh = 'on read') AS SELECT k, n FROM erp.a",
    "CREATE MATERIALIZED VIEW timed WITH (refresh = 'every 1 second') AS SELECT k, n FROM erp.a",
    "CREATE MATERIALIZED VIEW kept_own WITH (refresh = 'on change', key = 'k', wait = true) AS SELECT k, n FROM erp.own",
    "CREATE MATERIALIZED VIEW timed_own WITH (refresh = 'every 1 second') AS SELECT k, n FROM erp.own",
    "CREATE MATERIALIZED VIEW looked_own WITH (refresh = 'on read') AS SELECT k, n FROM erp.own",
    // Answers of a table that is followed for a view by which they cannot be found.
    "CREATE MATERIALIZED VIEW kept_rare WITH (refresh = 'on change') AS SELECT k, n FROM erp.rare WHERE n > 10",
    "CREATE VIEW live AS SELECT k, n FROM erp.a",
    "CREATE VIEW live_both AS SELECT a.k, a.n AS n, b.n AS m FROM erp.a JOIN erp.b ON a.k = b.k",
];

/// What readers ask of a row. Whether what it promises, without a bound, is what there is when it is asked.
const QUESTIONS: &[(&str, bool)] = &[
    ("SELECT n FROM kept_a WHERE k = $1", false),
    (
        "SELECT a.n, b.n FROM kept_a a JOIN kept_b b ON a.k = b.k WHERE a.k = $1",
        false,
    ),
    (
        "SELECT b.n, CAST(s.n / 2 AS bigint), CAST((s.n + 1) / 2 AS bigint) FROM kept_b b JOIN summed s ON b.k = s.k WHERE b.k = $1",
        false,
    ),
    ("SELECT n FROM looked WHERE k = $1", false),
    ("SELECT n FROM timed WHERE k = $1", false),
    ("SELECT n FROM live WHERE k = $1", true),
    ("SELECT n, m FROM live_both WHERE k = $1", true),
];

/// The same of rows that a reader alone writes, by the engine: its own is that of its number.
const OWN: &[(&str, bool)] = &[
    ("SELECT n FROM kept_own WHERE k = $1", false),
    ("SELECT n FROM timed_own WHERE k = $1", false),
    ("SELECT n FROM looked_own WHERE k = $1", false),
    ("SELECT n FROM erp.own WHERE k = $1", true),
    ("SELECT sum(n) FROM erp.own WHERE k = $1", true),
];
const FIRST_OWN: i64 = 100;

/// The same of rows that change less often than they are asked for.
const RARE: &[(&str, bool)] = &[
    ("SELECT n FROM erp.rare WHERE k = $1", true),
    ("SELECT max(n) FROM erp.rare WHERE k = $1", true),
    (
        "SELECT r.n FROM erp.rare r JOIN erp.a ON a.k = r.k - 199 WHERE r.k = $1",
        true,
    ),
];
const RARE_KEYS: RangeInclusive<i64> = 200..=201;

/// What each writer does, to which rows, and after how many milliseconds again, at most. Two tables in one transaction; who writes the same
/// row waits.
const WRITERS: [(&str, RangeInclusive<i64>, u64); 3] = [
    (BOTH, 1..=KEYS, 15),
    (BOTH, 1..=KEYS, 15),
    (
        "UPDATE rare SET n = n + 1 WHERE k = $1 RETURNING n",
        RARE_KEYS,
        900,
    ),
];
const BOTH: &str = "WITH w AS (UPDATE a SET n = n + 1 WHERE k = $1 RETURNING n), v AS (UPDATE b SET n = n + 1 WHERE k = $1)
     SELECT n FROM w";

const BOUNDS: [Option<u64>; 5] = [None, Some(0), Some(20), Some(200), Some(2000)];

/// Counts rows up until it is told to end.
async fn write(
    client: Client,
    (sql, keys, pause): (&str, RangeInclusive<i64>, u64),
    seed: u64,
    history: Arc<Mutex<History>>,
    is_over: Arc<AtomicBool>,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !is_over.load(Ordering::Relaxed) {
        let key = random.i64(keys.clone());
        let began = Instant::now();
        let row = client.query_one(sql, &[&key]).await.unwrap();
        let written = Write {
            key,
            number: row.get(0),
            began,
            ended: Instant::now(),
        };
        history.lock().unwrap().writes.push(written);
        tokio::time::sleep(Duration::from_millis(random.u64(0..pause))).await;
    }
}

/// One that goes on by another session once the engine has been opened again.
struct Reader {
    number: usize,
    random: fastrand::Rng,
    /// What it has written last; None: nothing.
    written: Option<i64>,
}

impl Reader {
    async fn read(
        &mut self,
        session: Session,
        round: usize,
        until: Instant,
        history: Arc<Mutex<History>>,
        refused: Arc<AtomicUsize>,
    ) {
        let mut bound = None;
        // That of `written`, once it is set.
        let mut after = None;
        // What this session has written: whatever follows that shows it, without being told.
        let mut own = None;
        while Instant::now() < until {
            if self.random.u8(0..12) == 0 {
                self.write(&session, &history).await;
                own = self.written;
                after = None;
                if self.random.bool() {
                    let token = shown(&session, "SHOW last_write").await.unwrap();
                    let token = token.lines().nth(3).unwrap().trim_matches(['|', ' ']);
                    session.set("read_after", token).unwrap();
                    after = self.written;
                } else {
                    session.set("read_after", "").unwrap();
                }
            }
            if self.random.u8(0..10) == 0 {
                bound = BOUNDS[self.random.usize(0..BOUNDS.len())].map(Duration::from_millis);
                let text = bound.map_or("none".to_string(), |bound| {
                    format!("{}ms", bound.as_millis())
                });
                session.set("max_staleness", &text).unwrap();
            }
            let (questions, key) = match self.random.u8(0..4) {
                0 => (OWN, FIRST_OWN + self.number as i64),
                1 => (RARE, self.random.i64(RARE_KEYS)),
                _ => (QUESTIONS, self.random.i64(1..=KEYS)),
            };
            let is_own = key >= FIRST_OWN && !RARE_KEYS.contains(&key);
            let (question, is_live) = questions[self.random.usize(0..questions.len())];
            let began = Instant::now();
            let sql = question.replace("$1", &key.to_string());
            let answer = async {
                let answer = session.execute(&sql).await?;
                let told = answer.freshness.to_string();
                Ok::<_, belvedere::Error>((told, answer.collect().await?))
            };
            let (told, batches) = match answer.await {
                Ok(answer) => answer,
                // It says so, rather than to answer with what is too old.
                Err(e) if e.code() == "too_old" => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(e) => panic!("{sql} (bound {bound:?}): {e}"),
            };
            let row = batches.iter().find(|batch| batch.num_rows() > 0);
            let row = row.unwrap_or_else(|| panic!("{sql}: no row"));
            let columns = row.columns().iter();
            let read = Read {
                session: self.number,
                round,
                question: question.to_string(),
                key,
                bound: bound.or(is_live.then_some(Duration::ZERO)),
                is_live,
                // Of other rows it wants no write, but all sources as late.
                after: match is_own && !question.contains("timed") {
                    true => own,
                    false => after.map(|written| if is_own { written } else { 0 }),
                },
                began,
                ended: Instant::now(),
                is_of_copies: !told.contains("erp"),
                seen: columns
                    .map(|c| c.as_primitive::<Int64Type>().value(0))
                    .collect(),
                told,
            };
            history.lock().unwrap().reads.push(read);
            if self.random.u8(0..4) == 0 {
                tokio::time::sleep(Duration::from_millis(self.random.u64(0..10))).await;
            }
        }
    }
}

impl Reader {
    async fn write(&mut self, session: &Session, history: &Mutex<History>) {
        let number = self.written.unwrap_or(0) + 1;
        let key = FIRST_OWN + self.number as i64;
        let began = Instant::now();
        let update = format!("UPDATE erp.own SET n = {number} WHERE k = {key}");
        let done = shown(session, &update).await;
        let done = done.unwrap_or_else(|e| panic!("{update}: {e}"));
        assert!(done.contains("UPDATE 1"), "{done}");
        self.written = Some(number);
        history.lock().unwrap().writes.push(Write {
            key,
            number,
            began,
            ended: Instant::now(),
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_history_has_an_anomaly() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let histories = number("BELVEDERE_HISTORIES").unwrap_or(2);
    let first = number("BELVEDERE_HISTORY_SEED").unwrap_or_else(|| fastrand::u64(..));
    let server = tokio::task::block_in_place(Server::private);
    let (mut writes, mut reads, mut again, mut refusals) = (0, 0, 0, 0);
    for seed in (0..histories).map(|n| first.wrapping_add(n)) {
        println!("BELVEDERE_HISTORY_SEED={seed}");
        let (history, refused) = run(&server, seed).await;
        let violations = history.violations();
        let shown = violations.iter().take(4).map(ToString::to_string);
        let shown: Vec<String> = shown.collect();
        assert!(
            violations.is_empty(),
            "{} violations:\n{}",
            violations.len(),
            shown.join("\n")
        );
        writes += history.writes.len();
        reads += history.reads.len();
        refusals += refused;
        let told_again = |read: &&Read| {
            let is_of_tables = read.question.contains("live") || read.question.contains("rare");
            is_of_tables && !read.told.contains("live")
        };
        again += history.reads.iter().filter(told_again).count();
    }
    println!(
        "{histories} histories, {writes} writes, {reads} reads, {again} of them told again, {refusals} refused as too old: none violates"
    );
    assert!(reads > 100 && writes > 50 && again > 0, "nothing happened");
}

/// Runs that go on when an engine is closed have its folder until they end.
async fn opened(folder: &Path) -> Engine {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match Engine::builder().data_dir(folder).open().await {
            Ok(engine) => return engine,
            Err(e) if Instant::now() > until => panic!("{e}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn run(server: &Server, seed: u64) -> (History, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    connected(server.port)
        .await
        .batch_execute(TABLES)
        .await
        .unwrap();
    let history = Arc::new(Mutex::new(History::default()));
    let refused = Arc::new(AtomicUsize::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for what in WRITERS {
        let client = connected(server.port).await;
        let seed = random.u64(..);
        let writer = write(client, what, seed, history.clone(), is_over.clone());
        writers.push(tokio::spawn(writer));
    }
    let data = tempfile::tempdir().unwrap();
    let mut readers: Vec<Reader> = (0..READERS)
        .map(|number| Reader {
            number,
            random: fastrand::Rng::with_seed(random.u64(..)),
            written: None,
        })
        .collect();
    for round in 0..ROUNDS {
        let engine = opened(data.path()).await;
        if round == 0 {
            let session = engine.session();
            let port = server.port;
            let source = format!(
                "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{port}/postgres' WITH (writable = true)"
            );
            for sql in [source.as_str()].iter().chain(VIEWS) {
                shown(&session, sql)
                    .await
                    .unwrap_or_else(|e| panic!("{sql}: {e}"));
            }
        }
        let until = Instant::now() + ROUND;
        let reading = readers.drain(..).map(|mut reader| {
            let (session, history, refused) = (engine.session(), history.clone(), refused.clone());
            tokio::spawn(async move {
                reader.read(session, round, until, history, refused).await;
                reader
            })
        });
        let reading: Vec<_> = reading.collect();
        let mut gone_on = Vec::new();
        for reader in reading {
            gone_on.push(reader.await.unwrap());
        }
        readers = gone_on;
        if round + 1 == ROUNDS {
            // What it has made at the source goes with it.
            shown(&engine.session(), "DROP SOURCE erp CASCADE")
                .await
                .unwrap();
        }
        engine.close().await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let history = std::mem::take(&mut *history.lock().unwrap());
    (history, refused.load(Ordering::Relaxed))
}
