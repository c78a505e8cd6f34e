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
//! | `query.rs`, `expr.rs`, `windows.rs` | choices → SQL |
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
mod windows;
mod world;

use files::Files;
use systems::{Mysql, Postgres, Sqlite};

/// A debug build's frames are large: a plan of some twenty operators over files does not fit into a test's own stack.
const STACK: usize = 64 << 20;

fn searched<F: Future<Output = ()>>(search: impl FnOnce() -> F + Send + 'static) {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(search());
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    if let Err(panic) = thread.spawn(run).unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn sqlite() {
    searched(|| async { oracle::search(&Sqlite::start()).await });
}

#[test]
fn postgres() {
    searched(|| async { oracle::search(&Postgres::start().await).await });
}

#[test]
fn mysql() {
    searched(|| async { oracle::search(&Mysql::start().await).await });
}

#[test]
fn parquet() {
    searched(|| async { oracle::search(&Files::start()).await });
}
