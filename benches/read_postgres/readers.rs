//! The readers that are Rust: what the server and the wire give, and Belvedere.

use std::fmt;
use std::pin::pin;
use std::str::FromStr;
use std::time::{Duration, Instant};

use belvedere::Engine;
use futures::TryStreamExt;
use futures::future::try_join_all;
use tokio_postgres::{Client, NoTls};

use crate::support::memory_kb;

/// One reading of the whole table.
pub struct Reading {
    pub rows: u64,
    pub time: Duration,
    pub cpu: Duration,
    pub peak_kb: u64,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// In this process, which is to do nothing else.
#[tokio::main]
pub async fn read(reader: &str, url: &str) -> Reading {
    let (reader, url) = (reader.to_string(), url.to_string());
    // As a server does it: on the thread of `main`, every wake would go from one thread to another.
    let read = tokio::spawn(async move {
        match reader.as_str() {
            "server" => server(&url).await,
            "copy-1" => copy(&url, 1).await,
            "copy-2" => copy(&url, 2).await,
            "belvedere" => belvedere(&url, "").await,
            "belvedere-1" => belvedere(&url, " WITH (max_connections = '1')").await,
            other => Err(format!("no reader is called {other}").into()),
        }
    });
    let read = read.await.expect("a reader does not panic");
    read.expect("the table is read")
}

/// Without a client: the server reads, makes the tuples and drops them.
async fn server(url: &str) -> Result<Reading> {
    let client = connect(url).await?;
    let begun = Begun::now();
    let copy = "COPY public.lineitem TO '/dev/null' (FORMAT binary)";
    Ok(begun.ended(client.execute(copy, &[]).await?))
}

/// Over so many connections, each a range of the table's pages.
async fn copy(url: &str, connections: u32) -> Result<Reading> {
    let clients = try_join_all((0..connections).map(|_| connect(url))).await?;
    let pages = "SELECT relpages FROM pg_class WHERE oid = 'public.lineitem'::regclass";
    let pages: i32 = clients[0].query_one(pages, &[]).await?.get(0);
    let share = pages as u32 / connections;
    let begun = Begun::now();
    let reads = clients.into_iter().zip(0..).map(|(client, i)| {
        let what = match connections {
            1 => "public.lineitem".to_string(),
            _ => {
                let (from, last) = (share * i, i + 1 == connections);
                let to = if last { u32::MAX } else { share * (i + 1) };
                format!(
                    "(SELECT * FROM public.lineitem WHERE ctid >= '({from},0)' AND ctid < '({to},0)')"
                )
            }
        };
        tokio::spawn(async move {
            let copy = format!("COPY {what} TO STDOUT (FORMAT binary)");
            let mut chunks = pin!(client.copy_out(&copy).await?);
            // The server sends a tuple a chunk, and a last one, the trailer.
            let mut rows = 0;
            while chunks.try_next().await?.is_some() {
                rows += 1;
            }
            Ok::<u64, tokio_postgres::Error>(rows - 1)
        })
    });
    let rows: Vec<_> = try_join_all(reads).await?;
    let rows: u64 = rows.into_iter().sum::<std::result::Result<_, _>>()?;
    Ok(begun.ended(rows))
}

async fn belvedere(url: &str, options: &str) -> Result<Reading> {
    let engine = Engine::builder().open().await?;
    let session = engine.session();
    let source = format!("CREATE SOURCE pg FROM '{url}'{options}");
    session.execute(&source).await?.collect().await?;
    let begun = Begun::now();
    let sql = "SELECT * FROM pg.public.lineitem";
    let mut answer = session.execute(sql).await?;
    let mut rows = 0;
    while let Some(batch) = answer.stream.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    Ok(begun.ended(rows))
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

struct Begun {
    at: Instant,
    cpu: Duration,
}

impl Begun {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            cpu: cpu(),
        }
    }

    fn ended(self, rows: u64) -> Reading {
        Reading {
            rows,
            time: self.at.elapsed(),
            cpu: cpu().saturating_sub(self.cpu),
            peak_kb: memory_kb("VmHWM"),
        }
    }
}

/// Of all threads: user and system time, in hundredths of a second as Linux counts them.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // What is in front of the last parenthesis is the program's name, spaces included.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    Duration::from_millis(ticks.filter_map(|t| t.parse::<u64>().ok()).sum::<u64>() * 10)
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, cpu) = (self.time.as_secs_f64(), self.cpu.as_secs_f64());
        write!(f, "{} {time} {cpu} {}", self.rows, self.peak_kb)
    }
}

impl FromStr for Reading {
    type Err = ();

    fn from_str(line: &str) -> std::result::Result<Self, ()> {
        let mut words = line.split_whitespace();
        let mut next = || words.next().ok_or(());
        let seconds = |word: &str| word.parse().map(Duration::from_secs_f64).map_err(drop);
        Ok(Self {
            rows: next()?.parse().map_err(drop)?,
            time: seconds(next()?)?,
            cpu: seconds(next()?)?,
            peak_kb: next()?.parse().map_err(drop)?,
        })
    }
}
