//! What a query that one source answers whole costs more than the same text sent to that source directly.
//!
//! ```sh
//! scripts/bench pushed
//! scripts/bench pushed --scale 0.1 --rounds 400
//! ```
//!
//! Where the tables are says `support/systems.rs`. For each database, a lookup by key and a small aggregate: asked of
//! Belvedere as text and prepared; and of the database itself, by the client library that the connector uses
//! (`direct.rs`), with the very text that Belvedere sent, prepared for this once or before. All take turns, with another
//! key each round. `system.fragments` tells how much of a prepared query's time the source's scan took, from the question
//! to its end; the rest is the engine's.

mod direct;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/systems.rs"]
mod systems;

use std::time::{Duration, Instant};

use belvedere::Session;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::scalar::ScalarValue;

use direct::Direct;
use support::{cores, median, option, print_both};
use systems::places::Places;
use systems::{data, on_runtime, rows, session, texts};

/// Half of what `system.fragments` keeps: a round asks twice.
const MOST_ROUNDS: usize = 500;
/// Before what is measured.
const WARM_UP: usize = 20;

struct Case {
    source: &'static str,
    title: &'static str,
    /// With `$1` for the key.
    sql: &'static str,
    /// The key of the n-th round; the second number counts the orders.
    key: fn(i64, i64) -> i64,
}

const CASES: [Case; 6] = [
    Case {
        source: "pg",
        title: "PostgreSQL, lookup",
        sql: "SELECT p_name, p_retailprice FROM part WHERE p_partkey = $1",
        key: |n, orders| n * 7 % (orders / 8) + 1,
    },
    Case {
        source: "pg",
        title: "PostgreSQL, aggregate",
        sql: "SELECT count(*), max(ps_availqty) FROM partsupp WHERE ps_partkey = $1",
        key: |n, orders| n * 7 % (orders / 8) + 1,
    },
    Case {
        source: "maria",
        title: "MariaDB, lookup",
        sql: "SELECT c_name, c_acctbal FROM customer WHERE c_custkey = $1",
        key: |n, orders| n * 7 % (orders / 10) + 1,
    },
    Case {
        source: "maria",
        title: "MariaDB, aggregate",
        sql: "SELECT count(*), max(n_nationkey) FROM nation WHERE n_regionkey = $1",
        key: |n, _| n % 5,
    },
    Case {
        source: "lite",
        title: "SQLite, lookup",
        sql: "SELECT o_custkey, o_shippriority FROM orders WHERE o_orderkey = $1",
        // Eight keys of each 32 are there.
        key: |n, orders| n * 7 % (orders / 8) * 32 + 1,
    },
    Case {
        source: "lite",
        title: "SQLite, aggregate",
        sql: "SELECT count(*), max(o_orderkey) FROM orders WHERE o_custkey = $1",
        key: |n, orders| n * 7 % (orders / 10) + 1,
    },
];

/// One case's times, a round each.
#[derive(Default)]
struct Times {
    text: Vec<Duration>,
    prepared: Vec<Duration>,
    anew: Vec<Duration>,
    known: Vec<Duration>,
    /// Parsing, names and types of the text.
    prepare: Vec<Duration>,
    /// Of `prepared`, the source's scan.
    source: Vec<Duration>,
    /// Of `prepared`, the rest.
    engine: Vec<Duration>,
}

fn main() {
    on_runtime(run());
}

async fn run() {
    let (scale, rounds) = (option("--scale", 0.1), option("--rounds", 300));
    assert!(rounds <= MOST_ROUNDS, "at most {MOST_ROUNDS} rounds");
    eprintln!("loading scale {scale}");
    let tables = data::generate(scale);
    let places = Places::start(&tables).await;
    let orders = tables.iter().find(|table| table.name == "orders");
    let orders = orders.map_or(0, |table| table.lines.len()) as i64;
    drop(tables);
    let session = session(&places.urls()).await;
    let mut lines = Vec::new();
    for case in &CASES {
        let urls = places.urls();
        let url = urls.iter().find(|(name, _)| *name == case.source);
        let mut direct = Direct::connect(&url.expect("a source").1).await;
        let sent = sent(&session, case, (case.key)(0, orders)).await;
        eprintln!("{}: {sent}", case.title);
        let times = measured(&session, case, &mut direct, &sent, orders, rounds).await;
        lines.push(line(case.title, &times));
    }
    println!(
        "wholly pushed queries at scale {scale}, {} cores, medians of {rounds} rounds, µs",
        cores()
    );
    let header = [
        "query",
        "Belvedere, text",
        "directly, prepared for it",
        "more",
        "Belvedere, prepared",
        "directly, prepared before",
        "more",
        "of it engine",
        "of it connector",
        "parse and resolve the text",
    ];
    print_both(header, &lines);
}

/// The text that the source is sent for this case.
async fn sent(session: &Session, case: &Case, key: i64) -> String {
    rows(session, &text(case, key)).await.expect("an answer");
    let sent = texts(&history(session, "text", case).await, 0);
    let sent = sent.last().expect("a question").clone();
    let marks = sent.matches(['?', '$']).count();
    assert_eq!(marks, 1, "not the one parameter: {sent}");
    sent
}

async fn history(session: &Session, column: &str, case: &Case) -> Vec<RecordBatch> {
    let source = case.source;
    let sql = format!(
        "SELECT {column} FROM system.fragments WHERE source = '{source}' ORDER BY asked_at"
    );
    rows(session, &sql).await.expect("what was asked")
}

fn text(case: &Case, key: i64) -> String {
    case.sql.replace("$1", &key.to_string())
}

async fn measured(
    session: &Session,
    case: &Case,
    direct: &mut Direct,
    sent: &str,
    orders: i64,
    rounds: usize,
) -> Times {
    let prepared = session.prepare(case.sql).await.expect("a statement");
    let mut times = Times::default();
    for round in 0..WARM_UP + rounds {
        if round == WARM_UP {
            times = Times::default();
        }
        let key = (case.key)(round as i64, orders);
        let text = text(case, key);

        let begun = Instant::now();
        let answer = session.execute(&text).await.expect("an answer");
        let ours = answer.collect().await.expect("rows");
        times.text.push(begun.elapsed());

        let begun = Instant::now();
        let anew = direct.anew(sent, key).await.expect("an answer");
        times.anew.push(begun.elapsed());

        let begun = Instant::now();
        let values = [ScalarValue::Int64(Some(key))];
        let answer = session.execute_prepared(&prepared, &values).await;
        let answer = answer.expect("an answer").collect().await.expect("rows");
        times.prepared.push(begun.elapsed());

        let begun = Instant::now();
        let known = direct.prepared(sent, key).await.expect("an answer");
        times.known.push(begun.elapsed());

        let begun = Instant::now();
        session.prepare(&text).await.expect("a statement");
        times.prepare.push(begun.elapsed());

        let count = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum();
        let counts: [usize; 4] = [count(&ours), count(&answer), anew, known];
        assert_eq!(counts, [counts[0]; 4], "{}: other rows", case.title);
    }
    // Of each round the second question was of the prepared statement.
    let asked: Vec<f64> = history(session, "duration_ms", case)
        .await
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Float64Type>()
                .values()
                .to_vec()
        })
        .collect();
    let measured = &asked[asked.len() - 2 * rounds..];
    for (pair, total) in measured.chunks(2).zip(&times.prepared) {
        let source = Duration::from_secs_f64(pair[1] / 1e3);
        times.source.push(source);
        times.engine.push(total.saturating_sub(source));
    }
    times
}

fn line(title: &str, times: &Times) -> Vec<String> {
    let us = |times: &[Duration]| median(times).as_secs_f64() * 1e6;
    // The difference in each round, which had one key and one moment.
    let more = |ours: &[Duration], theirs: &[Duration]| {
        let mut more: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(a, b)| (a.as_secs_f64() - b.as_secs_f64()) * 1e6)
            .collect();
        more.sort_by(f64::total_cmp);
        more[more.len() / 2]
    };
    let figures = [
        us(&times.text),
        us(&times.anew),
        more(&times.text, &times.anew),
        us(&times.prepared),
        us(&times.known),
        more(&times.prepared, &times.known),
        us(&times.engine),
        more(&times.source, &times.known),
        us(&times.prepare),
    ];
    let figures = figures.map(|figure| format!("{figure:.0}"));
    std::iter::once(title.to_string()).chain(figures).collect()
}
