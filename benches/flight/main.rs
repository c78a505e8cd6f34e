//! What Belvedere's Flight SQL server adds to the transport it uses.
//!
//! ```sh
//! cargo bench --bench flight
//! cargo bench --bench flight -- --scale 0.1 --rounds 9   # a tenth of the rows at most, more rounds
//! ```
//!
//! TPC-H's `lineitem` (6 million rows at scale 1) is held in memory as Arrow batches and fetched with `DoGet` by the
//! Rust client, over TCP on loopback: from Belvedere, as a query over a source in memory, and from a server that does
//! nothing but encode the very same batches. Both run in this process, in turns, for growing numbers of rows. The time
//! is from `DoGet` to the last batch; `GetFlightInfo`, where Belvedere plans, is in a column of its own.

#[path = "../support/mod.rs"]
mod support;

mod bare;

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::Ticket;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::client::FlightSqlServiceClient;
use belvedere::Engine;
use belvedere::serve::flight::{FlightOptions, FlightServer};
use belvedere_memory::{MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt;
use tonic::transport::{Channel, Endpoint};

use support::{LINEITEM, cores, grouped, lineitem, median, option, print_table};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// As the engine's own batches.
const BATCH_ROWS: usize = 8192;

#[tokio::main]
async fn main() -> Result<()> {
    let (scale, rounds) = (option("--scale", 1.0), option("--rounds", 7));
    eprintln!("making lineitem at scale {scale}");
    let (schema, batches) = batches(scale)?;
    let all: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let steps = [10_000, 100_000, 1_000_000];
    let counts: Vec<usize> = steps
        .into_iter()
        .filter(|n| *n < all)
        .chain([all])
        .collect();

    let mut tables = Vec::new();
    let source = MemorySource::new("mem");
    for &count in &counts {
        let part = first(&batches, count);
        source.put(
            &format!("t{count}"),
            MemoryTable::new(schema.clone(), part.clone()),
        );
        tables.push(part);
    }
    let bare = client(bare::serve(schema, tables).await?).await?;
    let belvedere = client(serve(source).await?).await?;

    let mut lines = Vec::new();
    for (i, &count) in counts.iter().enumerate() {
        eprintln!("{} rows", grouped(count as u64));
        let (mut plan, mut ours, mut limit) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut client = bare.clone();
            let got = fetch(&mut client, Ticket::new(vec![i as u8]), count).await?;
            limit.push(got);

            let mut client = belvedere.clone();
            let begun = Instant::now();
            let info = client
                .execute(format!("SELECT * FROM mem.t{count}"), None)
                .await?;
            plan.push(begun.elapsed());
            let ticket = info.endpoint.into_iter().next().and_then(|e| e.ticket);
            ours.push(fetch(&mut client, ticket.ok_or("a ticket")?, count).await?);
        }
        let (plan, ours, limit) = (median(&plan), median(&ours), median(&limit));
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        lines.push([
            grouped(count as u64),
            ms(plan),
            ms(ours),
            ms(limit),
            format!("{:.2}", ours.as_secs_f64() / limit.as_secs_f64()),
            grouped((count as f64 / ours.as_secs_f64()) as u64),
            format!(
                "{:.0}",
                bytes(&first(&batches, count)) as f64 / ours.as_secs_f64() / 1e6
            ),
        ]);
    }
    let cores = cores();
    println!("DoGet of lineitem over loopback, {cores} cores, median of {rounds} rounds");
    print_table(
        [
            "rows",
            "plan ms",
            "Belvedere ms",
            "bare ms",
            "ratio",
            "rows/s",
            "MB/s",
        ],
        &lines,
    );
    Ok(())
}

/// From the ticket to the last row.
async fn fetch(
    client: &mut FlightSqlServiceClient<Channel>,
    ticket: Ticket,
    count: usize,
) -> Result<Duration> {
    let begun = Instant::now();
    let mut answer: FlightRecordBatchStream = client.do_get(ticket).await?;
    let mut rows = 0;
    while let Some(batch) = answer.try_next().await? {
        rows += batch.num_rows();
    }
    let took = begun.elapsed();
    assert_eq!(rows, count, "rows were lost");
    Ok(took)
}

async fn client(address: SocketAddr) -> Result<FlightSqlServiceClient<Channel>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    Ok(FlightSqlServiceClient::new(channel))
}

/// Belvedere over a source in memory.
async fn serve(source: MemorySource) -> Result<SocketAddr> {
    let connector = Arc::new(MemoryConnector::new().with(source));
    let engine = Engine::builder().connector(connector).open().await?;
    let define = engine
        .session()
        .execute("CREATE SOURCE mem FROM 'memory:mem'")
        .await?;
    define.collect().await?;
    let any = "127.0.0.1:0".parse()?;
    let bound = FlightServer::bind(engine, any, FlightOptions::default()).await?;
    let address = bound.local_addr();
    tokio::spawn(bound.run(std::future::pending()));
    Ok(address)
}

fn batches(scale: f64) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let fields = LINEITEM.map(|(name, declared)| Field::new(name, arrow_type(declared), false));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let mut batches = Vec::new();
    for chunk in lineitem(scale) {
        let reader = ReaderBuilder::new(schema.clone())
            .with_delimiter(b'|')
            .with_batch_size(BATCH_ROWS)
            .build(Cursor::new(chunk))?;
        for batch in reader {
            batches.push(batch?);
        }
    }
    Ok((schema, batches))
}

fn arrow_type(declared: &str) -> DataType {
    match declared.split('(').next() {
        Some("BIGINT") => DataType::Int64,
        Some("INTEGER") => DataType::Int32,
        Some("DECIMAL") => DataType::Decimal128(15, 2),
        Some("DATE") => DataType::Date32,
        _ => DataType::Utf8,
    }
}

/// Of the values, as they are sent.
fn bytes(batches: &[RecordBatch]) -> usize {
    let columns = batches.iter().flat_map(RecordBatch::columns);
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
        .sum()
}

/// The first rows.
fn first(batches: &[RecordBatch], mut rows: usize) -> Vec<RecordBatch> {
    let mut kept = Vec::new();
    for batch in batches {
        let take = rows.min(batch.num_rows());
        if take == 0 {
            break;
        }
        kept.push(batch.slice(0, take));
        rows -= take;
    }
    kept
}
