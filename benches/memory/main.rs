//! What memory a large join of two sources needs under `memory_limit`, and whether a long `DoGet` grows.
//!
//! ```sh
//! scripts/bench memory
//! scripts/bench memory --scale 0.1 --times 3   # a tenth of the rows; the scan three times over
//! scripts/bench memory --limit 256MB
//! scripts/bench memory --only join             # or doget
//! ```
//!
//! TPC-H's lineitem (6 million rows at scale 1) is in Parquet and PostgreSQL, orders in SQLite. Each join runs in a
//! process of its own (`child.rs`), which drops the rows as they come: its peak memory is the query's and the engine's.
//! What it wrote is what Linux counts of the process, spilled files above all. For `DoGet` a server in a process of its
//! own sends lineitem ten times over to the Rust client, and its memory is looked at ten times a second.

mod child;
mod doget;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/systems.rs"]
mod systems;

use std::process::Command;

use child::Reading;
use support::{cores, grouped, option, print_both};
use systems::places::{Places, fill_postgres};
use systems::{chosen, data, on_runtime};

/// What the joins are called, and what they ask.
const JOINS: [(&str, &str); 4] = [
    (
        "Parquet ⋈ SQLite, summed",
        "SELECT o_orderpriority, count(*), sum(l_extendedprice) FROM lake.lineitem JOIN lite.orders
         ON o_orderkey = l_orderkey GROUP BY o_orderpriority",
    ),
    (
        "Parquet ⋈ SQLite, every row",
        "SELECT l.*, o_custkey, o_orderdate, o_totalprice, o_comment FROM lake.lineitem l JOIN lite.orders o
         ON o_orderkey = l_orderkey",
    ),
    (
        "PostgreSQL ⋈ SQLite, every row",
        "SELECT l.*, o_custkey, o_orderdate, o_totalprice, o_comment FROM pg.lineitem l JOIN lite.orders o
         ON o_orderkey = l_orderkey",
    ),
    (
        "Parquet ⋈ SQLite, every row in order",
        "SELECT l.*, o_custkey, o_orderdate, o_totalprice FROM lake.lineitem l JOIN lite.orders o
         ON o_orderkey = l_orderkey ORDER BY o_totalprice DESC, l_orderkey, l_linenumber",
    ),
];

fn main() {
    // A child is told its part by its arguments.
    let part = option("--child", String::new());
    on_runtime(async move {
        match part.as_str() {
            "" => run().await,
            "join" => child::join().await,
            "serve" => doget::serve().await,
            other => panic!("there is no part {other}"),
        }
    });
}

async fn run() {
    let scale = option("--scale", 1.0);
    let limit = option("--limit", "512MB".to_string());
    let only = option("--only", String::new());
    eprintln!("loading scale {scale}");
    let tables = data::generate(scale);
    let places = Places::start(&tables).await;
    let lineitem = tables.iter().filter(|table| table.name == "lineitem");
    let lineitem: Vec<_> = lineitem.collect();
    fill_postgres(&places.urls()[0].1, &lineitem).await;
    let rows = lineitem[0].lines.len();
    drop(tables);
    println!(
        "lineitem has {} rows, {} cores",
        grouped(rows as u64),
        cores()
    );
    if chosen(&only, "join") {
        joins(&places, &limit);
    }
    if chosen(&only, "doget") {
        let (_, lake) = &places.urls()[3];
        doget::measure(lake, rows).await;
    }
}

fn joins(places: &Places, limit: &str) {
    let mut lines = Vec::new();
    for (i, (title, _)) in JOINS.iter().enumerate() {
        eprintln!("{title}");
        let own = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(own);
        command.args([
            "--child",
            "join",
            "--query",
            &i.to_string(),
            "--limit",
            limit,
        ]);
        for (name, url) in places.urls() {
            command.args([&format!("--{name}"), &url]);
        }
        let output = command.output().expect("this program starts");
        let reading = match output.status.success() {
            true => serde_json::from_slice(&output.stdout).expect("a reading"),
            // What it said last is why.
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
        };
        eprintln!("{reading:?}");
        lines.push(line(title, &reading));
    }
    println!("joins of two sources, memory_limit {limit}");
    let header = [
        "join",
        "rows",
        "s",
        "peak MB",
        "of it before the query",
        "MB written",
    ];
    print_both(header, &lines);
}

fn line(title: &str, reading: &Result<Reading, String>) -> Vec<String> {
    let mut cells = vec![title.to_string()];
    match reading {
        Ok(reading) => cells.extend([
            grouped(reading.rows),
            format!("{:.1}", reading.seconds),
            grouped(reading.peak_kb / 1024),
            grouped(reading.before_kb / 1024),
            grouped(reading.written / 1_000_000),
        ]),
        Err(why) => {
            cells.push(why.clone());
            cells.extend(std::iter::repeat_n("-".to_string(), 4));
        }
    }
    cells
}
