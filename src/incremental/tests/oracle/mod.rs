//! Any query, kept by changes and recomputed by DataFusion, after each epoch of a random history.
//!
//! | file | owns |
//! |---|---|
//! | `world.rs` | tables, and what happens to them |
//! | `kept.rs` | a query that is kept, beside the same recomputed |
//! | `queries.rs` | random queries |
//! | `named.rs` | queries by name: each operator, refusals, what random ones have found |
//!
//! `BELVEDERE_ORACLE_SECONDS` says how long random queries are tried, `BELVEDERE_ORACLE_SEED` which is the first; a
//! failure prints its seed and its query.

mod kept;
mod named;
mod queries;
mod world;

use std::time::{Duration, Instant};

use kept::Kept;
use world::World;

/// A query over a history of its own: why it is not kept, if it is not.
fn run(seed: u64, sql: &str, epochs: usize) -> Result<usize, crate::incremental::Refused> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new();
    if random.bool() {
        world.change(&mut random, 30);
    }
    let mut kept = Kept::new(&mut world, sql)?;
    let mut compared = usize::from(kept.step(&mut world));
    for _ in 0..epochs {
        let most = [1, 1, 3, 12][random.usize(0..4)];
        world.change(&mut random, most);
        if random.u8(0..4) == 0 {
            world.compact(&mut random);
        }
        compared += usize::from(kept.step(&mut world));
    }
    Ok(compared)
}

#[test]
fn random_queries() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seconds = number("BELVEDERE_ORACLE_SECONDS").unwrap_or(5);
    let first = number("BELVEDERE_ORACLE_SEED").unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut kept, mut refused, mut compared) = (0, 0, 0);
    for seed in first.. {
        if Instant::now() > end {
            break;
        }
        let sql = queries::query(seed);
        // Printed before, since what is wrong may be a panic; shown only if the test fails.
        println!("seed {seed}: {sql}");
        match run(seed, &sql, 6) {
            Ok(epochs) => {
                kept += 1;
                compared += epochs;
            }
            Err(e) => {
                println!("  {e}");
                refused += 1;
            }
        }
    }
    println!("{kept} queries kept and {refused} refused; {compared} epochs compared");
}
