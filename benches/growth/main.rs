//! How much a query moves, as the tables grow: the rows and bytes that came from each database, at three scales.
//!
//! ```sh
//! scripts/bench growth
//! scripts/bench growth --scales 0.01,0.03,0.1
//! scripts/bench growth --only Q3,orders-of-customer
//! ```
//!
//! Where the tables are says `support/systems.rs`. Each query runs in an engine of its own, whose `system.fragments` then
//! tells what was sent to the databases and came back, in all. What is read of Parquet, which moves over no wire, is
//! DataFusion's own count of bytes in a second run, under `EXPLAIN ANALYZE`. No time is taken: other work on the machine
//! does no harm.

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/systems.rs"]
mod systems;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int64Type};

use support::{grouped, option, print_both};
use systems::data::Table;
use systems::places::Places;
use systems::{Urls, analyzed, chosen, data, on_runtime, query, rows, session};

/// What an application and a dashboard ask.
const OTHERS: [(&str, &str); 5] = [
    (
        "customer-of-order",
        "SELECT o_orderkey, o_orderdate, c_name, c_phone FROM orders JOIN customer ON c_custkey = o_custkey
         WHERE o_orderkey = 7",
    ),
    (
        "orders-of-customer",
        "SELECT o_orderkey, o_orderdate, l_linenumber, l_quantity, p_name
         FROM customer JOIN orders ON o_custkey = c_custkey JOIN lineitem ON l_orderkey = o_orderkey
         JOIN part ON p_partkey = l_partkey WHERE c_custkey = 7",
    ),
    (
        "latest-orders",
        "SELECT o_orderkey, o_orderdate, c_name FROM orders JOIN customer ON c_custkey = o_custkey
         ORDER BY o_orderdate DESC, o_orderkey LIMIT 20",
    ),
    (
        "suppliers-by-nation",
        "SELECT n_name, count(*), sum(s_acctbal) FROM supplier JOIN nation ON n_nationkey = s_nationkey
         GROUP BY n_name ORDER BY n_name",
    ),
    (
        "orders-by-segment",
        "SELECT c_mktsegment, count(*), sum(o_totalprice) FROM orders JOIN customer ON c_custkey = o_custkey
         WHERE o_orderdate >= DATE '1998-07-01' GROUP BY c_mktsegment ORDER BY c_mktsegment",
    ),
];

/// The tables that databases hold: lineitem is in Parquet.
const FILE: &str = "lineitem";

/// What a query moved at one scale.
struct Moved {
    answer: usize,
    fragments: u64,
    rows: u64,
    bytes: u64,
    /// MB read of Parquet.
    file: f64,
    /// Rows of the databases' tables that the query names.
    tables: usize,
}

fn main() {
    on_runtime(run());
}

async fn run() {
    let scales = option("--scales", "0.1,0.3,1".to_string());
    let only = option("--only", String::new());
    let scales: Vec<f64> = scales
        .split(',')
        .map(|scale| scale.trim().parse().expect("--scales are numbers"))
        .collect();
    // Q1 and Q6 read Parquet alone.
    let tpch = (2..=22).filter(|number| *number != 6);
    let tpch = tpch.map(|number| (format!("Q{number}"), query(number)));
    let others = OTHERS.map(|(name, sql)| (name.to_string(), sql.to_string()));
    let queries: Vec<(String, String)> = tpch
        .chain(others)
        .filter(|(name, _)| chosen(&only, name))
        .collect();

    let mut lines = Vec::new();
    for scale in scales {
        eprintln!("loading scale {scale}");
        let tables = data::generate(scale);
        let places = Places::start(&tables).await;
        for (name, sql) in &queries {
            eprintln!("{name}");
            let moved = moved(&places.urls(), sql, &tables).await;
            lines.push((name, moved.map(|moved| line(name, scale, &moved))));
        }
    }
    // All scales of a query together.
    lines.sort_by_key(|(name, _)| queries.iter().position(|(query, _)| query == *name));
    let (failed, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(_, line)| line.is_err());
    let header = [
        "query",
        "scale",
        "rows of the answer",
        "questions",
        "rows moved",
        "MB moved",
        "rows of the databases' tables",
        "moved of these",
        "MB read of Parquet",
    ];
    let lines: Vec<_> = lines
        .into_iter()
        .filter_map(|(_, line)| line.ok())
        .collect();
    print_both(header, &lines);
    for (name, why) in failed {
        println!("{name}: {}", why.err().unwrap_or_default());
    }
}

async fn moved(urls: &Urls, sql: &str, tables: &[Table]) -> Result<Moved, String> {
    let session = session(urls).await;
    let answer = rows(&session, sql).await?;
    let history = "SELECT count(*), CAST(sum(rows) AS BIGINT), CAST(sum(bytes) AS BIGINT) FROM system.fragments";
    let history = rows(&session, history).await?;
    let file = file_megabytes(&analyzed(&session, sql).await);
    let named = tables
        .iter()
        .filter(|table| table.name != FILE && names(sql, table.name));
    Ok(Moved {
        answer: answer.iter().map(RecordBatch::num_rows).sum(),
        fragments: number(&history, 0),
        rows: number(&history, 1),
        bytes: number(&history, 2),
        file,
        tables: named.map(|table| table.lines.len()).sum(),
    })
}

/// Of one row; NULL, which a sum of nothing is, is 0.
fn number(batches: &[RecordBatch], column: usize) -> u64 {
    let column = batches[0].column(column);
    assert_eq!(*column.data_type(), DataType::Int64);
    let values = column.as_primitive::<Int64Type>();
    values.iter().next().flatten().unwrap_or(0) as u64
}

/// As a word of its own.
fn names(sql: &str, table: &str) -> bool {
    let mut words = sql.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| word == table)
}

/// The sum of `bytes_scanned=1.2 M` of all scans, in MB. One that was not needed has none.
fn file_megabytes(plan: &[String]) -> f64 {
    let counts = plan
        .iter()
        .filter_map(|line| line.split_once("bytes_scanned="));
    let megabytes = |(_, count): (_, &str)| {
        let end = count.find([',', ']']).unwrap_or(count.len());
        let (number, unit) = count[..end].split_once(' ').unwrap_or((&count[..end], ""));
        let number: f64 = number.parse().expect("a number");
        number
            * match unit {
                "" => 1e-6,
                "K" => 1e-3,
                "M" => 1.0,
                // A billion.
                "B" => 1e3,
                other => panic!("DataFusion counts in {other}"),
            }
    };
    // A sum of none is -0.0.
    counts.map(megabytes).sum::<f64>() + 0.0
}

fn line(name: &str, scale: f64, moved: &Moved) -> Vec<String> {
    let share = match moved.tables {
        0 => "-".to_string(),
        tables => format!("{:.2} %", moved.rows as f64 / tables as f64 * 100.0),
    };
    vec![
        name.to_string(),
        scale.to_string(),
        grouped(moved.answer as u64),
        moved.fragments.to_string(),
        grouped(moved.rows),
        format!("{:.2}", moved.bytes as f64 / 1e6),
        grouped(moved.tables as u64),
        share,
        format!("{:.1}", moved.file),
    ]
}
