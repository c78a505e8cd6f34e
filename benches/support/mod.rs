//! What the benchmarks share: the rows of TPC-H's `lineitem`, options, medians, tables. What those over four systems
//! share besides is in `systems.rs`.

#![allow(dead_code)]

use std::fmt::Write;
use std::time::Duration;

use tpchgen::generators::LineItemGenerator;

/// Columns as SQL declares them.
pub const LINEITEM: [(&str, &str); 16] = [
    ("l_orderkey", "BIGINT"),
    ("l_partkey", "BIGINT"),
    ("l_suppkey", "BIGINT"),
    ("l_linenumber", "INTEGER"),
    ("l_quantity", "DECIMAL(15,2)"),
    ("l_extendedprice", "DECIMAL(15,2)"),
    ("l_discount", "DECIMAL(15,2)"),
    ("l_tax", "DECIMAL(15,2)"),
    ("l_returnflag", "CHAR(1)"),
    ("l_linestatus", "CHAR(1)"),
    ("l_shipdate", "DATE"),
    ("l_commitdate", "DATE"),
    ("l_receiptdate", "DATE"),
    ("l_shipinstruct", "CHAR(25)"),
    ("l_shipmode", "CHAR(10)"),
    ("l_comment", "VARCHAR(44)"),
];

const CHUNK_ROWS: usize = 64 * 1024;

/// The rows as text, values separated by `|` (none holds one, nor a backslash or a quote), many rows a chunk.
pub fn lineitem(scale: f64) -> impl Iterator<Item = String> {
    let mut rows = LineItemGenerator::new(scale, 1, 1).into_iter();
    std::iter::from_fn(move || {
        let mut chunk = String::new();
        for row in rows.by_ref().take(CHUNK_ROWS) {
            write!(chunk, "{row}").expect("memory");
            // tpchgen ends a line with the separator.
            chunk.pop();
            chunk.push('\n');
        }
        Some(chunk).filter(|chunk| !chunk.is_empty())
    })
}

/// The value of `--name` on the command line, or the default. (Cargo adds arguments of its own.)
pub fn option<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    match arguments.nth(1) {
        None => default,
        Some(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name} {value} is not understood")),
    }
}

pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    let middle = times.len() / 2;
    match times.len() % 2 {
        0 => (times[middle - 1] + times[middle]) / 2,
        _ => times[middle],
    }
}

pub fn geometric(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<f64> = values.map(f64::ln).collect();
    (!logarithms.is_empty())
        .then(|| (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// A figure of this process in `/proc/self/status`, in kB: `VmHWM` is its peak memory, `VmRSS` what it has now.
pub fn memory_kb(figure: &str) -> u64 {
    memory_kb_of("self", figure)
}

/// That of another process.
pub fn memory_kb_of(process: &str, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let kb = lines.find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kb = kb.and_then(|kb| kb.trim().strip_suffix(" kB")?.parse().ok());
    kb.unwrap_or(0)
}

/// The first column to the left, numbers to the right, a line of dashes below the header.
pub fn print_table(header: impl AsRef<[&'static str]>, rows: &[impl AsRef<[String]>]) {
    let header = header.as_ref().iter().map(ToString::to_string);
    let header: Vec<String> = header.collect();
    let width = |i: usize| {
        let cells = std::iter::once(&header[i]).chain(rows.iter().map(|row| &row.as_ref()[i]));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let print = |row: &[String]| {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(line, "  {cell:>width$}").expect("memory");
        }
        println!("{}", line.trim_end());
    };
    print(&header);
    let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    println!("{}", dashes.join("  "));
    rows.iter().for_each(|row| print(row.as_ref()));
}

/// The same table, then as it stands in `docs/performance.md`.
pub fn print_both(header: impl AsRef<[&'static str]>, rows: &[impl AsRef<[String]>]) {
    print_table(&header, rows);
    let header = header.as_ref();
    println!(
        "\n| {} |\n|---{}|",
        header.join(" | "),
        "|---:".repeat(header.len() - 1)
    );
    for row in rows {
        println!("| {} |", row.as_ref().join(" | "));
    }
}

/// With a comma at each thousand.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
