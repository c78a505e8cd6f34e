//! Any query, kept by changes and recomputed by DataFusion, after each epoch of a random history.
//!
//! | file | owns |
//! |---|---|
//! | `world.rs` | tables, and what happens to them |
//! | `kept.rs` | a query that is kept, beside the same recomputed |
//! | `queries.rs`, `words.rs` | random queries, and what they are made of |
//! | `tpch.rs` | the queries of TPC-H |
//! | `watched.rs` | which changes a query is told of that is computed when it is read |
//! | `named.rs` | queries by name: each operator, refusals, what random ones have found |
//! | `ordered.rs` | the same of groups that keep their values in order |
//! | `twice.rs` | the same of subplans that a query has more than once |
//!
//! `BELVEDERE_ORACLE_SECONDS` says how long random queries are tried, `BELVEDERE_ORACLE_SEED` which is the first; a
//! failure prints its seed and its query.

mod kept;
mod named;
mod ordered;
mod queries;
mod tpch;
mod twice;
mod watched;
mod words;
mod world;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use kept::{Kept, Not};
use world::World;

/// A query over a history of its own: after how many epochs it could be compared.
fn run(seed: u64, sql: &str, epochs: usize) -> Result<usize, Not> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new();
    if random.bool() {
        for _ in 0..3 {
            world.change(&mut random, 30);
            world.settle();
        }
        world.compact(&mut random);
    }
    let mut kept = Kept::new(&mut world, sql)?;
    let mut compared = usize::from(kept.step(&mut world));
    for _ in 0..epochs {
        let most = [1, 1, 3, 12][random.usize(0..4)];
        world.change(&mut random, most);
        world.pass(&mut random);
        if random.u8(0..4) == 0 {
            world.compact(&mut random);
        }
        compared += usize::from(kept.step(&mut world));
    }
    if kept.stricter > 0 {
        println!("stricter: {sql}");
    }
    if kept.refused > 0 {
        println!("begun again: {sql}");
    }
    Ok(compared)
}

/// The first seed, and until when others follow: so many seconds, unless it is said.
fn budget(seconds: u64) -> (u64, Instant) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seconds = number("BELVEDERE_ORACLE_SECONDS").unwrap_or(seconds);
    let first = number("BELVEDERE_ORACLE_SEED").unwrap_or(1);
    (first, Instant::now() + Duration::from_secs(seconds))
}

#[test]
fn random_queries() {
    let (first, end) = budget(5);
    let (mut kept, mut compared, mut unplanned) = (0, 0, 0);
    let (mut refused, mut failed) = (Vec::new(), Vec::new());
    for seed in first.. {
        if Instant::now() > end {
            break;
        }
        let sql = queries::query(seed);
        match catch_unwind(|| run(seed, &sql, 6)) {
            Ok(Ok(epochs)) => {
                kept += 1;
                compared += epochs;
            }
            Ok(Err(Not::Planned(_))) => unplanned += 1,
            Ok(Err(Not::Kept(e))) => refused.push((seed, e, sql)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
                failed.push((sql.len(), seed, sql, text.unwrap_or_default()));
            }
        }
    }
    for (seed, e, sql) in &refused {
        println!(
            "seed {seed}: {e}
  {sql}"
        );
    }
    println!(
        "{kept} kept, {} refused, {unplanned} not planned; {compared} epochs compared",
        refused.len()
    );
    // The shortest query says most.
    failed.sort();
    for (_, seed, sql, text) in failed.iter().take(12) {
        println!("\n=== seed {seed}: {sql}\n{text}");
    }
    assert!(failed.is_empty(), "{} queries failed", failed.len());
}
