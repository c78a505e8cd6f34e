//! What the benchmarks share: the rows of TPC-H's `lineitem`, and a table of measured times.

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

/// The first column to the left, numbers to the right, a line of dashes below the header.
pub fn print_table<const N: usize>(header: [&str; N], rows: &[[String; N]]) {
    let header = header.map(str::to_string);
    let widths: [usize; N] = std::array::from_fn(|i| {
        let cells = std::iter::once(&header).chain(rows);
        cells.map(|row| row[i].chars().count()).max().unwrap_or(0)
    });
    let print = |row: &[String; N]| {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            write!(line, "  {cell:>width$}").expect("memory");
        }
        println!("{}", line.trim_end());
    };
    print(&header);
    println!("{}", widths.map(|width| "-".repeat(width)).join("  "));
    rows.iter().for_each(print);
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
