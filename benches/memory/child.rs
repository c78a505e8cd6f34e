use std::time::Instant;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::JOINS;
use crate::support::{memory_kb, option};
use crate::systems::session;

/// What a query took of its process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reading {
    pub rows: u64,
    pub seconds: f64,
    pub peak_kb: u64,
    /// With the engine open and its sources known.
    pub before_kb: u64,
    /// Bytes, to files.
    pub written: u64,
}

/// Run one of the joins, and print the reading, or why there is none.
pub async fn join() {
    let (_, sql) = JOINS[option("--query", 0)];
    let limit = option("--limit", String::new());
    println!(
        "{}",
        serde_json::to_string(&read(sql, &limit).await).expect("JSON")
    );
}

async fn read(sql: &str, limit: &str) -> Result<Reading, String> {
    let urls = ["pg", "maria", "lite", "lake"];
    let session =
        session(&urls.map(|name| (name, option(&format!("--{name}"), String::new())))).await;
    session
        .set("memory_limit", limit)
        .map_err(|e| e.to_string())?;
    let (before_kb, before) = (memory_kb("VmRSS"), written());
    let begun = Instant::now();
    let mut answer = session.execute(sql).await.map_err(|e| e.to_string())?;
    let mut rows = 0;
    while let Some(batch) = answer.stream.try_next().await.map_err(|e| e.to_string())? {
        rows += batch.num_rows() as u64;
    }
    Ok(Reading {
        rows,
        seconds: begun.elapsed().as_secs_f64(),
        peak_kb: memory_kb("VmHWM"),
        before_kb,
        written: written() - before,
    })
}

/// Bytes that this process has written to files, as Linux counts them.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let bytes = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}
