//! TPC-H split over PostgreSQL, MariaDB, SQLite and Parquet, all 22 queries, against what else can ask them.
//!
//! ```sh
//! scripts/bench federated                       # with the peers, which it installs
//! cargo bench --bench federated                 # without them
//! scripts/bench federated --scale 0.1 --rounds 3
//! scripts/bench federated --only 5,9            # these queries
//! cargo bench --bench federated -- --explain 1  # and what Belvedere sent, and did
//! ```
//!
//! It starts its own servers on free ports of loopback: part, supplier and partsupp are in PostgreSQL; customer, nation and
//! region in MariaDB; orders in SQLite; lineitem in one Parquet file; their keys are indexed. Every engine stays connected,
//! answers each query once unmeasured, and then in turns, so that what else the machine does falls on all. The time is
//! from the query's text to the last row.

#[path = "../../tests/tpch/data.rs"]
mod data;
#[path = "../../tests/tpch/places.rs"]
mod places;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use belvedere::{Engine, Session};
use datafusion::arrow::util::pretty::pretty_format_batches;

use places::Places;
use support::{median, option, print_table};

const PEERS: [(&str, &str); 2] = [("duckdb", "DuckDB"), ("chdb", "chDB")];
const PEERS_PY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/federated/peers.py");

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(8 << 20)
        .build()
        .expect("a runtime");
    // On a thread of the runtime, as in a server.
    let task = runtime.spawn(run());
    runtime.block_on(task).expect("the benchmark ends");
}

async fn run() {
    let (scale, rounds) = (option("--scale", 1.0), option("--rounds", 5));
    let only = option("--only", String::new());
    let explain = option("--explain", 0) > 0;
    let python = std::env::var("BELVEDERE_BENCH_PYTHON").ok();
    let chosen =
        |number: &usize| only.is_empty() || only.split(',').any(|n| n == number.to_string());

    eprintln!("loading scale {scale}");
    let places = Places::start(&data::generate(scale)).await;
    let session = ours(&places).await;
    let mut peers: Vec<Peer> = match &python {
        Some(python) => PEERS
            .iter()
            .map(|(name, _)| Peer::start(python, name, &places))
            .collect(),
        None => Vec::new(),
    };
    let mut results = Vec::new();
    for number in (1..=22).filter(chosen) {
        let path = format!(
            "{}/tests/tpch/queries/q{number:02}.sql",
            env!("CARGO_MANIFEST_DIR")
        );
        let sql = std::fs::read_to_string(&path).expect("a query");
        let (rows, _) = answered(&session, &sql).await;
        if explain {
            println!("Q{number}\n{}", explained(&session, &sql).await);
        }
        let asked = peers.iter_mut().map(|peer| match peer.answered(&path) {
            Some((theirs, _)) if theirs != rows => {
                eprintln!("Q{number}: {theirs} rows by {}, {rows} here", peer.name);
                false
            }
            answer => answer.is_some(),
        });
        // Only those that have the answer run the race.
        let asked: Vec<bool> = asked.collect();
        let mut times = vec![Vec::new(); peers.len() + 1];
        for _ in 0..rounds {
            times[0].push(answered(&session, &sql).await.1);
            let racing = peers.iter_mut().zip(&asked).zip(&mut times[1..]);
            for ((peer, _), times) in racing.filter(|((_, asked), _)| **asked) {
                times.extend(peer.answered(&path).map(|(_, time)| time));
            }
        }
        let medians: Vec<Option<f64>> = times
            .iter()
            .map(|times| (!times.is_empty()).then(|| median(times).as_secs_f64() * 1e3))
            .collect();
        eprintln!("Q{number}: {medians:.1?} ms");
        results.push((number, medians));
    }
    print(scale, rounds, &results, !peers.is_empty());
}

async fn ours(places: &Places) -> Session {
    let engine = Engine::builder().open().await.expect("an engine");
    let session = engine.session();
    let names = places.urls().map(|(name, _)| name).join(", ");
    for (name, url) in places.urls() {
        let sql = format!("CREATE SOURCE {name} FROM '{url}'");
        session.execute(&sql).await.expect("a source");
    }
    session.set("search_path", &names).expect("a setting");
    session
}

async fn answered(session: &Session, sql: &str) -> (usize, Duration) {
    let started = Instant::now();
    let answer = session.execute(sql).await.expect("an answer");
    let batches = answer.collect().await.expect("rows");
    let time = started.elapsed();
    (batches.iter().map(|batch| batch.num_rows()).sum(), time)
}

async fn explained(session: &Session, sql: &str) -> String {
    let answer = session
        .execute(&format!("EXPLAIN ANALYZE {sql}"))
        .await
        .expect("a plan");
    let batches = answer.collect().await.expect("rows");
    pretty_format_batches(&batches).expect("text").to_string()
}

/// Another engine, in a process of its own: it is told a file with a query, and answers rows and seconds.
struct Peer {
    name: &'static str,
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, name: &'static str, places: &Places) -> Self {
        let mut process = Command::new(python)
            .args([PEERS_PY, name])
            .args(places.urls().map(|(_, url)| url))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a peer starts");
        let questions = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self {
            name,
            process,
            questions,
            answers,
        }
    }

    /// None if it has no answer, and says why on stderr.
    fn answered(&mut self, path: &str) -> Option<(usize, Duration)> {
        writeln!(self.questions, "{path}").expect("the peer listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        let mut words = line.split_whitespace();
        let rows = words.next()?.parse().ok()?;
        Some((rows, Duration::from_secs_f64(words.next()?.parse().ok()?)))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

type Result = (usize, Vec<Option<f64>>);

fn print(scale: f64, rounds: usize, results: &[Result], with_peers: bool) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "TPC-H at scale {scale} over four systems, {cores} cores, warm, median of {rounds}, ms"
    );
    let cell = |ms: Option<f64>| ms.map_or("-".to_string(), |ms| format!("{ms:.0}"));
    let best = |medians: &[Option<f64>]| medians[1..].iter().flatten().copied().reduce(f64::min);
    let ratio = |(_, medians): &Result| {
        best(medians)
            .zip(medians[0])
            .map(|(best, ours)| best / ours)
    };
    let mut lines: Vec<[String; 5]> = results
        .iter()
        .map(|result| {
            let (number, medians) = result;
            let at = |i: usize| cell(medians.get(i).copied().flatten());
            let times = ratio(result).map_or("-".to_string(), |ratio| format!("{ratio:.2}"));
            [format!("Q{number}"), at(0), at(1), at(2), times]
        })
        .collect();
    let mean = |i: usize| geometric(results.iter().filter_map(|(_, ms)| *ms.get(i)?));
    let ratios = geometric(results.iter().filter_map(ratio));
    lines.push([
        "geometric mean".to_string(),
        cell(mean(0)),
        cell(mean(1)),
        cell(mean(2)),
        ratios.map_or("-".to_string(), |ratio| format!("{ratio:.2}")),
    ]);
    if !with_peers {
        println!("without peers: scripts/bench federated installs them");
    }
    print_table(
        [
            "query",
            "Belvedere",
            PEERS[0].1,
            PEERS[1].1,
            "best peer / Belvedere",
        ],
        &lines,
    );
}

fn geometric(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<f64> = values.map(f64::ln).collect();
    (!logarithms.is_empty())
        .then(|| (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}
