//! The random oracle of pushdown: hostile tables in real systems, random queries over them, each with pushdown on and
//! off. The answers must be the same rows, in the same order where the query has one; and no query may fail when
//! pushed down that has an answer without (guarantee 1). What all ways agree on, DuckDB is asked about: a third opinion.
//! Some queries have another with the same rows, as SQLancer's have: a predicate's three parts, a filter that is counted.
//!
//! The central type is [`oracle::Round`]: two databases of one system, an engine over both. What goes in is a seed;
//! what comes out is the count of queries, or the differences, each with the least query and rows that show it.
//!
//! | file | owns |
//! |---|---|
//! | `draw.rs` | choices from a seed, replayed and made simpler |
//! | `world.rs` | tables, column types, hostile values |
//! | `systems.rs`, `files.rs` | SQLite, PostgreSQL, MariaDB, Parquet: their column types, filling them |
//! | `query.rs`, `expr.rs` | choices → SQL |
//! | `dialect.rs` | a query in two dialects, and where they do not agree |
//! | `third.rs`, `duckdb.py` | the third opinion: a copy of the tables, and what DuckDB answers |
//! | `oracle.rs` | rounds, comparing, shrinking, reporting |
//! | `traps/` | where systems easily differ: tests by name, and no random queries |
//! | `cases.rs` | what it has found, by name; what DuckDB found of DataFusion is in `tests/engine/upstream` |
//!
//! `BELVEDERE_ORACLE_SECONDS` (20) is each system's budget, `BELVEDERE_ORACLE_QUERIES` one by count,
//! `BELVEDERE_ORACLE_SEED` (1) says which queries, `BELVEDERE_TEST_DUCKDB` which Python has DuckDB;
//! `BELVEDERE_ORACLE_VERBOSE` prints each query's plan, each failure, and why there is no third opinion.

mod cases;
mod dialect;
mod draw;
mod expr;
mod files;
mod oracle;
mod query;
mod systems;
mod third;
mod traps;
mod world;

use files::Files;
use systems::{Mysql, Postgres, Sqlite};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    oracle::search(&Sqlite::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    oracle::search(&Postgres::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    oracle::search(&Mysql::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parquet() {
    oracle::search(&Files::start()).await;
}
