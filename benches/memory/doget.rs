use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::client::FlightSqlServiceClient;
use belvedere::Engine;
use belvedere::serve::flight::{FlightOptions, FlightServer};
use futures::TryStreamExt;
use tonic::transport::Endpoint;

use crate::support::{grouped, memory_kb_of, option, print_both};

const EVERY: Duration = Duration::from_millis(100);
/// Parts of the answer, each a line; the first is for warming up.
const PARTS: u64 = 10;

/// The server of another process, until it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serve the folder of lineitem, and print where.
pub async fn serve() {
    let engine = Engine::builder().open().await.expect("an engine");
    let define = format!(
        "CREATE SOURCE lake FROM '{}'",
        option("--lake", String::new())
    );
    engine.session().execute(&define).await.expect("a source");
    let any = "127.0.0.1:0".parse().expect("an address");
    let server = FlightServer::bind(engine, any, FlightOptions::default()).await;
    let server = server.expect("a free port");
    println!("{}", server.local_addr());
    server.run(std::future::pending()).await.expect("a server");
}

/// `lineitem`, of so many rows, several times over.
pub async fn measure(lake: &str, rows: usize) {
    let times = option("--times", 10);
    let expected = (rows * times) as u64;
    let own = std::env::current_exe().expect("the path of this program");
    let mut server = Command::new(own)
        .args(["--child", "serve", "--lake", lake])
        .stdout(Stdio::piped())
        .spawn()
        .map(Server)
        .expect("this program starts");
    let mut address = String::new();
    let out = server.0.stdout.take().expect("a pipe");
    BufReader::new(out)
        .read_line(&mut address)
        .expect("an address");
    let channel = Endpoint::from_shared(format!("http://{}", address.trim())).expect("an address");
    let channel = channel.connect().await.expect("the server answers");
    let mut client = FlightSqlServiceClient::new(channel);

    let process = server.0.id().to_string();
    let idle = memory_kb_of(&process, "VmRSS");
    let sql = vec!["SELECT * FROM lake.lineitem"; times].join(" UNION ALL ");
    let begun = Instant::now();
    let info = client.execute(sql, None).await.expect("a plan");
    let ticket = info.endpoint.into_iter().next().and_then(|e| e.ticket);
    let mut answer: FlightRecordBatchStream = client
        .do_get(ticket.expect("a ticket"))
        .await
        .expect("an answer");
    // The server's memory, and the rows that had come by then.
    let received = Arc::new(AtomicU64::new(0));
    let sampler = tokio::spawn({
        let (received, process) = (received.clone(), process.clone());
        async move {
            let mut samples = Vec::new();
            while received.load(Ordering::Relaxed) < expected {
                samples.push((
                    received.load(Ordering::Relaxed),
                    memory_kb_of(&process, "VmRSS"),
                ));
                tokio::time::sleep(EVERY).await;
            }
            samples
        }
    });
    while let Some(batch) = answer.try_next().await.expect("rows") {
        received.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(received.load(Ordering::Relaxed), expected, "rows were lost");
    let samples = sampler.await.expect("samples");

    println!(
        "DoGet of {} rows in {seconds:.1} s, {} rows/s; the server had {} MB before it, {} MB at most",
        grouped(expected),
        grouped((expected as f64 / seconds) as u64),
        grouped(idle / 1024),
        grouped(memory_kb_of(&process, "VmHWM") / 1024),
    );
    let part = |rows: u64| rows * PARTS / expected;
    let mut lines: Vec<Vec<String>> = (0..PARTS)
        .map(|i| {
            let of = samples.iter().filter(|(rows, _)| part(*rows) == i);
            line(
                &format!("{} % to {} %", i * 100 / PARTS, (i + 1) * 100 / PARTS),
                of,
            )
        })
        .collect();
    let warm = samples.iter().filter(|(rows, _)| part(*rows) > 0);
    lines.push(line("after the first tenth", warm));
    print_both(
        ["rows sent", "samples", "least MB", "median MB", "most MB"],
        &lines,
    );
}

fn line<'a>(name: &str, samples: impl Iterator<Item = &'a (u64, u64)>) -> Vec<String> {
    let mut memory: Vec<u64> = samples.map(|(_, kb)| kb / 1024).collect();
    memory.sort_unstable();
    let at = |i: usize| memory.get(i).map_or("-".to_string(), |mb| grouped(*mb));
    vec![
        name.to_string(),
        memory.len().to_string(),
        at(0),
        at(memory.len() / 2),
        at(memory.len().saturating_sub(1)),
    ]
}
