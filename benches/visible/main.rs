//! From a commit in PostgreSQL to the client who sees what follows from it; and what it costs to keep it so.
//!
//! ```sh
//! scripts/bench visible                           # a million orders
//! scripts/bench visible --orders 100000 --seconds 5
//! scripts/bench visible --only latency,refresh    # of latency, refresh, snapshot, state
//! ```
//!
//! ```sql
//! SELECT region, count(*), sum(qty * price)
//! FROM orders JOIN customer ON orders.customer = customer.id JOIN item ON orders.item = item.sku
//! WHERE status <> 'cancelled' GROUP BY region
//! ```
//!
//! *latency*: the view is kept by change in an engine with a data directory; a client of its Flight server subscribes. Each
//! commit counts one order up by one, so that the client knows which one it sees; the clock runs from the moment the
//! commit has returned to the writer until the client has the rows. All run on this machine: PostgreSQL, the writer, the
//! engine, the client.
//!
//! *refresh*: what users have now: PostgreSQL's own `REFRESH MATERIALIZED VIEW CONCURRENTLY`, and the query computed anew.
//!
//! *snapshot*: until the view is filled, beside a binary COPY of the columns that it reads.
//!
//! *state*: memory, the data directory, a restart, and what the writer loses while he is followed.

#[path = "../support/mod.rs"]
mod support;

#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
mod server;

mod latency;
mod world;

use std::time::{Duration, Instant};

use support::{cores, grouped, memory_kb, option, print_table};
use world::{Followed, World};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let orders: u64 = option("--orders", 1_000_000);
    let only: String = option("--only", String::new());
    let seconds = Duration::from_secs(option("--seconds", 20));
    let is_chosen = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
    eprintln!("making {} orders", grouped(orders));
    let world = World::new(orders).await?;
    println!("{} orders, {} cores", grouped(orders), cores());
    if is_chosen("refresh") {
        refresh(&world).await?;
    }
    if is_chosen("snapshot") {
        snapshot(&world).await?;
    }
    if is_chosen("latency") {
        let followed = Followed::new(&world).await?;
        latency::measure(&world, &followed, seconds).await?;
    }
    if is_chosen("state") {
        state(&world, seconds).await?;
    }
    Ok(())
}

/// What it takes to have the view right again after one change, without keeping it by change.
async fn refresh(world: &World) -> Result<()> {
    let client = world.connect().await?;
    let mut lines = Vec::new();
    client
        .batch_execute(&format!(
            "CREATE MATERIALIZED VIEW by_region AS {}; CREATE UNIQUE INDEX ON by_region (region)",
            world::query("")
        ))
        .await?;
    let begun = Instant::now();
    world.writer().await?.count_up(1).await?;
    client
        .batch_execute("REFRESH MATERIALIZED VIEW CONCURRENTLY by_region")
        .await?;
    lines.push([
        "PostgreSQL, REFRESH … CONCURRENTLY".to_string(),
        ms(begun.elapsed()),
    ]);
    client
        .batch_execute("DROP MATERIALIZED VIEW by_region")
        .await?;
    let followed = Followed::with(world, "manual").await?;
    let begun = Instant::now();
    followed.run("REFRESH MATERIALIZED VIEW by_region").await?;
    lines.push(["Belvedere, computed anew".to_string(), ms(begun.elapsed())]);
    followed.close().await?;
    print_table(["right again after one change", "ms"], &lines);
    Ok(())
}

/// How fast the first copy is.
async fn snapshot(world: &World) -> Result<()> {
    let client = world.connect().await?;
    let begun = Instant::now();
    let bytes = world.copied(&client).await?;
    let copied = begun.elapsed();
    let begun = Instant::now();
    let followed = Followed::new(world).await?;
    let filled = begun.elapsed();
    followed.close().await?;
    let rows = world.rows();
    let rate = |time: Duration| grouped((rows as f64 / time.as_secs_f64()) as u64);
    let lines = [
        [
            format!(
                "binary COPY of these columns, one connection ({} MB)",
                bytes / 1_000_000
            ),
            ms(copied),
            rate(copied),
        ],
        [
            "CREATE MATERIALIZED VIEW until it is filled".to_string(),
            ms(filled),
            rate(filled),
        ],
    ];
    print_table(["first copy", "ms", "rows/s"], &lines);
    Ok(())
}

async fn state(world: &World, seconds: Duration) -> Result<()> {
    let mut writer = world.writer().await?;
    let alone = writer.rate(seconds / 4).await?;
    let before = memory_kb("VmRSS");
    let followed = Followed::new(world).await?;
    let rows = world.rows();
    let kept = memory_kb("VmRSS").saturating_sub(before);
    let beside = writer.rate(seconds / 4).await?;
    let stored = followed.stored()?;
    let begun = Instant::now();
    let followed = followed.reopened().await?;
    let restarted = begun.elapsed();
    followed.close().await?;
    let lines = [
        [
            "memory, bytes a row of the sources".to_string(),
            (kept * 1024 / rows).to_string(),
        ],
        [
            "data directory, bytes a row".to_string(),
            (stored / rows).to_string(),
        ],
        [
            "restart until the view is read, ms".to_string(),
            ms(restarted),
        ],
        [
            "commits a second, nobody follows".to_string(),
            grouped(alone),
        ],
        ["commits a second, followed".to_string(), grouped(beside)],
    ];
    print_table(["state", ""], &lines);
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}
