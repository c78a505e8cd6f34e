//! How long after its commit a change is seen.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use futures::TryStreamExt;
use tonic::transport::Endpoint;

use super::Result;
use super::support::{grouped, print_table};
use super::world::{Followed, World};

/// When each count was seen: the first row that had it, or one beyond it.
type Seen = Arc<Mutex<Vec<(i32, Instant)>>>;

/// Changes a second, and how many of them are of one commit.
const LOADS: [(u64, u64); 3] = [(1, 1), (100, 1), (10_000, 100)];

pub async fn measure(world: &World, followed: &Followed, seconds: Duration) -> Result<()> {
    let seen = Seen::default();
    let mut stream = subscribe(followed).await?;
    let note = seen.clone();
    let reader = tokio::spawn(async move {
        while let Some(batch) = stream.try_next().await? {
            let now = Instant::now();
            if let Some(count) = counted(&batch) {
                let mut seen = note.lock().unwrap_or_else(|e| e.into_inner());
                seen.push((count, now));
            }
        }
        Ok::<_, arrow_flight::error::FlightError>(())
    });
    let mut writer = world.writer().await?;
    let mut lines = Vec::new();
    // Counting begins with 1, wherever others have left it.
    writer.count_up(1).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    seen.lock().unwrap_or_else(|e| e.into_inner()).clear();
    for (changes, of_commit) in LOADS {
        let pause = Duration::from_secs_f64(of_commit as f64 / changes as f64);
        let mut committed = Vec::new();
        let begun = Instant::now();
        let mut next = begun;
        while begun.elapsed() < seconds {
            tokio::time::sleep_until(next.into()).await;
            writer.count_up(of_commit).await?;
            committed.push((writer.count, Instant::now()));
            next = (next + pause).max(Instant::now());
        }
        let took = begun.elapsed();
        let all = until_seen(&seen, writer.count).await?;
        let mut late: Vec<f64> = committed
            .iter()
            .map(|(count, at)| {
                let shown = all[all.partition_point(|(seen, _)| seen < count)].1;
                // Before the commit has returned it may be seen, too.
                match shown.checked_duration_since(*at) {
                    Some(late) => late.as_secs_f64() * 1e3,
                    None => at.duration_since(shown).as_secs_f64() * -1e3,
                }
            })
            .collect();
        late.sort_by(f64::total_cmp);
        let part = |share: f64| format!("{:.2}", late[(late.len() as f64 * share) as usize]);
        let done = committed.len() as u64 * of_commit;
        lines.push([
            grouped(changes),
            grouped((done as f64 / took.as_secs_f64()) as u64),
            grouped(committed.len() as u64),
            part(0.5),
            part(0.9),
            part(0.99),
            format!("{:.2}", late[late.len() - 1]),
        ]);
    }
    reader.abort();
    print_table(
        [
            "changes/s wanted",
            "done",
            "commits",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms",
        ],
        &lines,
    );
    Ok(())
}

async fn subscribe(followed: &Followed) -> Result<FlightRecordBatchStream> {
    let channel = Endpoint::from_shared(format!("http://{}", followed.address))?;
    let mut client = FlightSqlServiceClient::new(channel.connect().await?);
    let sql = "SUBSCRIBE TO by_region WITH (snapshot = false)".to_string();
    let info = client.execute(sql, None).await?;
    let ticket = info.endpoint.into_iter().next().and_then(|e| e.ticket);
    Ok(client.do_get(ticket.ok_or("a ticket")?).await?)
}

/// The highest count among the rows that have come.
fn counted(batch: &RecordBatch) -> Option<i32> {
    let changes = batch.column_by_name("change")?;
    let changes = cast(changes, &DataType::Float64).ok()?;
    let changes = changes.as_primitive::<Float64Type>();
    let regions = cast(batch.column_by_name("region")?, &DataType::Utf8).ok()?;
    let regions = regions.as_string::<i32>();
    let amounts = cast(batch.column_by_name("amount")?, &DataType::Float64).ok()?;
    let amounts = amounts.as_primitive::<Float64Type>();
    let come = (0..batch.num_rows()).filter(|&row| {
        changes.is_valid(row) && changes.value(row) > 0.0 && regions.value(row) == "counted"
    });
    come.map(|row| amounts.value(row) as i32).max()
}

/// All that has been seen, once this count is among it.
async fn until_seen(seen: &Seen, count: i32) -> Result<Vec<(i32, Instant)>> {
    let begun = Instant::now();
    loop {
        let all = seen.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if all.last().is_some_and(|(last, _)| *last >= count) {
            return Ok(all);
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("count {count} is not seen").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
