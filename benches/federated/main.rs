//! TPC-H split over PostgreSQL, MariaDB, SQLite and Parquet, all 22 queries, against what else can ask them.
//!
//! ```sh
//! scripts/bench federated                       # with the peers, which it installs
//! cargo bench --bench federated                 # without them
//! scripts/bench federated --scale 0.1 --rounds 3
//! scripts/bench federated --only 5,9            # these queries
//! scripts/bench federated --peers duckdb,chdb   # these peers
//! cargo bench --bench federated -- --explain 1  # and what Belvedere sent, and did
//! ```
//!
//! Where the tables are says `support/systems.rs`. The peers are DuckDB with its scanners and chDB with its table
//! functions over the same four systems, and a PostgreSQL that holds all but MariaDB's tables itself and has those
//! through `mysql_fdw` (`warehouse.rs`). Every engine stays connected, answers each query once unmeasured, and then in
//! turns, so that what else the machine does falls on all. The time is from the query's text to the last row. Only who
//! gives Belvedere's answer runs the race; why another has none stands below the table.

mod answers;
mod peer;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/systems.rs"]
mod systems;
mod warehouse;

use std::time::{Duration, Instant};

use belvedere::Session;

use answers::Rows;
use peer::Peer;
use support::{cores, geometric, median, option, print_both};
use systems::places::Places;
use systems::{Urls, analyzed, chosen, data, on_runtime, query, query_path, rows, session};
use warehouse::Warehouse;

const DUCKDB: (&str, &str) = ("duckdb", "DuckDB");
const CHDB: (&str, &str) = ("chdb", "chDB");
const POSTGRES: (&str, &str) = ("postgres", "PostgreSQL, mysql_fdw");

/// A median in milliseconds, or why there is none.
type Outcome = Result<f64, String>;

/// One query's, Belvedere's first.
struct Race {
    query: String,
    outcomes: Vec<Outcome>,
}

fn main() {
    on_runtime(run());
}

async fn run() {
    let (scale, rounds) = (option("--scale", 1.0), option("--rounds", 5));
    let (only, asked) = (
        option("--only", String::new()),
        option("--peers", String::new()),
    );
    let explain = option("--explain", 0) > 0;
    let python = std::env::var("BELVEDERE_BENCH_PYTHON").ok();
    let wanted = |peer: (&str, &str)| python.is_some() && chosen(&asked, peer.0);

    eprintln!("loading scale {scale}");
    let tables = data::generate(scale);
    let places = Places::start(&tables).await;
    let urls = places.urls();
    let warehouse = match wanted(POSTGRES) {
        true => Some(Warehouse::start(&tables, &urls[1].1).await),
        false => None,
    };
    drop(tables);
    let ours = session(&urls).await;
    ours.set("statement_timeout", "120s").expect("a setting");
    let mut peers = Vec::new();
    if let Some(python) = &python {
        let both = [DUCKDB, CHDB].into_iter().filter(|peer| wanted(*peer));
        peers.extend(both.map(|(name, title)| Peer::new(title, python, arguments(name, &urls))));
        match &warehouse {
            Some(Ok(warehouse)) => {
                let arguments = vec![POSTGRES.0.to_string(), warehouse.url()];
                peers.push(Peer::new(POSTGRES.1, python, arguments));
            }
            Some(Err(why)) => eprintln!("without {}: {why}", POSTGRES.1),
            None => {}
        }
    }

    let mut races = Vec::new();
    for number in (1..=22).filter(|number| chosen(&only, &number.to_string())) {
        let race = race(number, &ours, &mut peers, rounds).await;
        if explain {
            println!(
                "{}\n{}",
                race.query,
                analyzed(&ours, &query(number)).await.join("\n")
            );
        }
        races.push(race);
    }
    let titles = peers.iter().map(|peer| peer.title).collect();
    println!(
        "TPC-H at scale {scale} over four systems, {} cores, warm, median of {rounds}, ms",
        cores()
    );
    print(titles, &races);
}

fn arguments(name: &str, urls: &Urls) -> Vec<String> {
    let urls = urls.iter().map(|(_, url)| url.clone());
    std::iter::once(name.to_string()).chain(urls).collect()
}

async fn race(number: usize, ours: &Session, peers: &mut [Peer], rounds: usize) -> Race {
    let (sql, path) = (query(number), query_path(number));
    let answer = answered(ours, &sql).await;
    let mut runs: Vec<Result<Vec<Duration>, String>> =
        vec![answer.as_ref().map(|_| Vec::new()).map_err(Clone::clone)];
    for peer in peers.iter_mut() {
        let theirs = peer.answered(&path);
        runs.push(theirs.and_then(|(theirs, _)| match &answer {
            Ok((expected, _)) => theirs.same_as(expected).map(|()| Vec::new()),
            Err(_) => Ok(Vec::new()),
        }));
    }
    for _ in 0..rounds {
        for (i, run) in runs.iter_mut().enumerate() {
            let Ok(times) = run else { continue };
            let answer = match i.checked_sub(1) {
                None => answered(ours, &sql).await,
                Some(peer) => peers[peer].answered(&path),
            };
            match answer {
                Ok((_, time)) => times.push(time),
                Err(why) => *run = Err(why),
            }
        }
    }
    let median = |times: Vec<Duration>| median(&times).as_secs_f64() * 1e3;
    let outcomes: Vec<Outcome> = runs.into_iter().map(|run| run.map(median)).collect();
    let query = format!("Q{number}");
    eprintln!("{query}: {outcomes:.1?}");
    Race { query, outcomes }
}

async fn answered(session: &Session, sql: &str) -> Result<(Rows, Duration), String> {
    let started = Instant::now();
    let batches = rows(session, sql).await?;
    let time = started.elapsed();
    Ok((Rows::of(&batches), time))
}

impl Race {
    fn ms(&self, engine: usize) -> Option<f64> {
        self.outcomes.get(engine)?.as_ref().ok().copied()
    }

    /// A peer's time by Belvedere's.
    fn ratio(&self, peer: usize) -> Option<f64> {
        Some(self.ms(peer)? / self.ms(0)?)
    }

    fn best_ratio(&self) -> Option<f64> {
        let peers = 1..self.outcomes.len();
        peers
            .filter_map(|peer| self.ratio(peer))
            .reduce(|a, b| a.min(b))
    }
}

fn print(titles: Vec<&'static str>, races: &[Race]) {
    let ms = |ms: Option<f64>| ms.map_or("-".to_string(), |ms| format!("{ms:.0}"));
    let times = |ratio: Option<f64>| ratio.map_or("-".to_string(), |ratio| format!("{ratio:.2}"));
    let engines = 0..=titles.len();
    let line = |name: &str, cells: Vec<String>, last: Option<f64>| {
        let name = std::iter::once(name.to_string());
        let cells = name.chain(cells).chain([times(last)]);
        cells.collect::<Vec<_>>()
    };
    let mut lines: Vec<Vec<String>> = races
        .iter()
        .map(|race| {
            let cells = engines.clone().map(|engine| ms(race.ms(engine)));
            line(&race.query, cells.collect(), race.best_ratio())
        })
        .collect();
    let best = geometric(races.iter().filter_map(Race::best_ratio));
    let means = engines
        .clone()
        .map(|engine| ms(geometric(races.iter().filter_map(|race| race.ms(engine)))));
    lines.push(line("geometric mean", means.collect(), best));
    // Each of the queries that it answers.
    let ratios = engines.map(|engine| {
        times(geometric(
            races.iter().filter_map(|race| race.ratio(engine)),
        ))
    });
    lines.push(line(
        "of the same queries, / Belvedere",
        ratios.collect(),
        None,
    ));

    let mut header = vec!["query", "Belvedere"];
    header.extend(&titles);
    header.push("best peer / Belvedere");
    print_both(header, &lines);
    match titles.is_empty() {
        true => println!("\nwithout peers: scripts/bench federated installs them"),
        false => println!(),
    }
    for race in races {
        let named = std::iter::once("Belvedere").chain(titles.iter().copied());
        for (title, outcome) in named.zip(&race.outcomes) {
            if let Err(why) = outcome {
                println!("{}, {title}: {why}", race.query);
            }
        }
    }
}
