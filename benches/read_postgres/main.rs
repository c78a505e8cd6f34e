//! How fast a whole table of PostgreSQL is read into Arrow, against what the wire gives and against others.
//!
//! ```sh
//! scripts/bench read_postgres                        # with the peers, which it installs
//! cargo bench --bench read_postgres                  # without them
//! scripts/bench read_postgres --scale 0.1 --rounds 9 # a tenth of the rows, more rounds
//! scripts/bench read_postgres --only belvedere       # the readers whose names contain it, and the limit
//! ```
//!
//! It starts a PostgreSQL of its own on a free port of loopback, loads TPC-H's `lineitem` (6 million rows at scale 1)
//! with `COPY`, and has each reader read it all, in turns, so that what else the machine does falls on all of them.
//! Every reading is a process of its own: peak memory and processor time are the reader's. The time is from the query
//! to the last row; starting, connecting and discovery come before.
//!
//! The limit is `COPY lineitem TO STDOUT (FORMAT binary)` over one connection, read by tokio-postgres and dropped.

mod readers;
#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::pin::pin;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::NoTls;

use readers::Reading;
use support::{LINEITEM, cores, grouped, lineitem, median, option, print_table};

/// All others are compared with it.
const LIMIT: &str = "copy-1";

/// Names, and what they are. Those of `readers.rs`, then those of `peers.py`.
const OURS: [(&str, &str); 5] = [
    ("server", "COPY TO '/dev/null' at the server"),
    (LIMIT, "COPY binary, dropped: the limit"),
    ("copy-2", "the same, two connections"),
    ("belvedere", "Belvedere"),
    ("belvedere-1", "Belvedere, one connection"),
];
const PEERS: [(&str, &str); 4] = [
    ("duckdb", "DuckDB"),
    ("connectorx-2", "connectorx, two partitions"),
    ("connectorx-1", "connectorx"),
    ("adbc", "ADBC"),
];

struct Reader {
    name: &'static str,
    title: &'static str,
    readings: Vec<Reading>,
}

fn main() {
    let read = option("--read", String::new());
    if !read.is_empty() {
        let url = option("--url", String::new());
        return println!("{}", readers::read(&read, &url));
    }
    let (scale, rounds) = (option("--scale", 1.0), option("--rounds", 5));
    let only = option("--only", String::new());
    let python = std::env::var("BELVEDERE_BENCH_PYTHON").ok();
    let peers = if python.is_some() { &PEERS[..] } else { &[] };
    let mut readers: Vec<Reader> = OURS
        .iter()
        .chain(peers)
        .filter(|(name, _)| *name == LIMIT || name.contains(&only))
        .map(|&(name, title)| Reader {
            name,
            title,
            readings: Vec::new(),
        })
        .collect();

    let server = server::Server::private();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    eprintln!("loading lineitem at scale {scale}");
    let (rows, version) = load(&url, scale);
    for round in 0..rounds {
        // Each has each place in the order.
        let count = readers.len();
        for i in 0..count {
            let reader = &mut readers[(round + i) % count];
            let reading = match &python {
                Some(python) if PEERS.iter().any(|(name, _)| *name == reader.name) => {
                    reading(Command::new(python).args([PEERS_PY, reader.name, &url]))
                }
                _ => {
                    let own = std::env::current_exe().expect("the path of this program");
                    reading(Command::new(own).args(["--read", reader.name, "--url", &url]))
                }
            };
            assert_eq!(reading.rows, rows, "{} lost rows", reader.title);
            let (title, took) = (reader.title, reading.time);
            eprintln!("round {} of {rounds}: {title}: {took:.2?}", round + 1);
            reader.readings.push(reading);
        }
    }

    let cores = cores();
    println!(
        "{} rows of lineitem, {version}, TCP on loopback, {cores} cores, median of {rounds} rounds",
        grouped(rows)
    );
    if let Some(python) = &python {
        println!(
            "{}",
            output(Command::new(python).args([PEERS_PY, "versions"])).trim()
        );
    }
    print(&readers, rows);
}

const PEERS_PY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/read_postgres/peers.py"
);

fn print(readers: &[Reader], rows: u64) {
    let times = |reader: &Reader| -> Vec<Duration> {
        reader.readings.iter().map(|reading| reading.time).collect()
    };
    let limit = readers.iter().find(|reader| reader.name == LIMIT);
    let limit = median(&times(limit.expect("the limit is measured"))).as_secs_f64();
    let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
    let lines: Vec<_> = readers
        .iter()
        .map(|reader| {
            let times = times(reader);
            let middle = median(&times).as_secs_f64();
            let cpu: Vec<_> = reader.readings.iter().map(|reading| reading.cpu).collect();
            let peak = reader.readings.iter().map(|reading| reading.peak_kb).max();
            [
                reader.title.to_string(),
                seconds(median(&times)),
                seconds(times.iter().min().copied().unwrap_or_default()),
                seconds(times.iter().max().copied().unwrap_or_default()),
                grouped((rows as f64 / middle) as u64),
                format!("{:.2}", middle / limit),
                seconds(median(&cpu)),
                format!("{}", peak.unwrap_or(0) / 1024),
            ]
        })
        .collect();
    let header = [
        "reader",
        "median s",
        "least",
        "most",
        "rows/s",
        "x limit",
        "its CPU s",
        "peak MB",
    ];
    print_table(header, &lines);
}

/// A reader's process prints one line: rows, seconds, seconds of processor, peak memory in kB.
fn reading(command: &mut Command) -> Reading {
    let line = output(command);
    line.parse()
        .unwrap_or_else(|()| panic!("{command:?} answered {line:?}"))
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the reader starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The rows loaded, and the server's version.
#[tokio::main(flavor = "current_thread")]
async fn load(url: &str, scale: f64) -> (u64, String) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
    tokio::spawn(connection);
    let columns = LINEITEM.map(|(name, declared)| format!("{name} {declared} NOT NULL"));
    let create = format!("CREATE TABLE lineitem ({})", columns.join(", "));
    client.batch_execute(&create).await.expect("a table");
    let copy = client
        .copy_in("COPY lineitem FROM STDIN (DELIMITER '|')")
        .await;
    let mut sink = pin!(copy.expect("a copy"));
    for chunk in lineitem(scale) {
        sink.send(Bytes::from(chunk)).await.expect("rows are taken");
    }
    let rows = sink.finish().await.expect("rows are taken");
    for sql in [
        "ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)",
        // Nothing is left for the first reader to write: neither hints nor pages.
        "VACUUM (ANALYZE) lineitem",
        "CHECKPOINT",
    ] {
        client.batch_execute(sql).await.expect(sql);
    }
    let version = client.query_one("SHOW server_version", &[]).await;
    let version: String = version.expect("a version").get(0);
    let version = version.split(' ').next().unwrap_or_default();
    (rows, format!("PostgreSQL {version}"))
}
