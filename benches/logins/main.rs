//! Who must not come in: wrong passwords by the hundred thousand, connections that say nothing, clients that say a byte a second.
//! And whether those who may come in notice.
//!
//! ```sh
//! scripts/bench logins                             # 60 s of 100,000 wrong logins a minute, 10,000 idle connections on each port
//! scripts/bench logins --seconds 20 --rate 3000    # wrong logins a second
//! ```
//!
//! Wrong logins come from 200 addresses of the loopback, half by PostgreSQL's protocol (SCRAM, each over a connection of its own), half by
//! HTTP (Basic), for one user that there is and for any that there are not. Right ones come, ten a second on each port, from an address
//! of their own, and from one of the attackers' where that user has logged in before. It fails if a wrong one is let in or a right one
//! is not. *CPU* and *memory* are those of the server's process.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/served.rs"]
#[allow(dead_code)]
mod served;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use served::{Server, belvedere, cpu};
use support::{grouped, option, print_both};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_postgres::NoTls;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ATTACKERS: u64 = 200;
const PASSWORD: &str = "geheim";
/// The header of the right password, `ana:geheim`.
const RIGHT: &str = "Basic YW5hOmdlaGVpbQ==";
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of wrong logins.
#[derive(Default)]
struct Wrong {
    checked: AtomicU64,
    refused: AtomicU64,
    /// Closed without an answer, or no connection was to be had.
    closed: AtomicU64,
    let_in: AtomicU64,
}

impl Wrong {
    fn count(&self, end: End) {
        let of = match end {
            End::Wrong => &self.checked,
            End::TooMany => &self.refused,
            End::Closed => &self.closed,
            End::LetIn => &self.let_in,
        };
        of.fetch_add(1, Ordering::Relaxed);
    }
}

enum End {
    /// It was checked, and is wrong.
    Wrong,
    /// It was not checked: too many were wrong.
    TooMany,
    Closed,
    LetIn,
}

#[tokio::main]
async fn main() -> Result<()> {
    let seconds: u64 = option("--seconds", 60);
    let rate: u64 = option("--rate", 1667);
    let idle: usize = option("--idle", 10_000);
    let folder = tempfile::tempdir()?;
    let server = Arc::new(belvedere(folder.path(), &[]).await?);
    let owner = served::connected(server.postgres, "belvedere").await?;
    owner
        .batch_execute(&format!("CREATE USER ana PASSWORD '{PASSWORD}' SUPERUSER"))
        .await?;
    drop(owner);
    storm(&server, seconds, rate).await?;
    silent(&server, idle).await?;
    slow(&server).await
}

async fn storm(server: &Arc<Server>, seconds: u64, rate: u64) -> Result<()> {
    let process = server.process.0.id();
    let quiet = right(server, Duration::from_secs(3)).await?;
    let (cpu_before, memory_before) = (cpu(process), memory(process));
    let (wrong, begun) = (Arc::new(Wrong::default()), Instant::now());
    let until = begun + Duration::from_secs(seconds);
    let tried = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..ATTACKERS)
        .map(|n| {
            let (server, wrong, tried) =
                (Arc::clone(server), Arc::clone(&wrong), Arc::clone(&tried));
            tokio::spawn(async move {
                let mut http = None;
                loop {
                    // Each takes the next that is due.
                    let next = tried.fetch_add(1, Ordering::Relaxed);
                    let due = begun + Duration::from_secs_f64(next as f64 / rate as f64);
                    if due >= until || Instant::now() >= until {
                        return;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    let from = Ipv4Addr::new(127, 0, 1, (n + 1) as u8);
                    let user = match next % 4 {
                        // From the first address others are tried: whoever is tried there herself waits there.
                        0 | 1 if n > 0 => "ana".to_string(),
                        _ => format!("nobody{next}"),
                    };
                    let end = match next % 2 {
                        0 => wrong_scram(from, server.postgres, &user).await,
                        _ => wrong_basic(&mut http, from, server.http, &user).await,
                    };
                    wrong.count(end.unwrap_or(End::Closed));
                }
            })
        })
        .collect();
    let busy = right(server, Duration::from_secs(seconds)).await?;
    for worker in workers {
        worker.await?;
    }
    let took = begun.elapsed().as_secs_f64();
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let all = of(&wrong.checked) + of(&wrong.refused) + of(&wrong.closed);
    println!(
        "\nwrong logins: {} in {took:.0} s ({} a minute): {} checked, {} refused unchecked, {} closed; {} let in",
        grouped(all),
        grouped((all as f64 * 60.0 / took) as u64),
        grouped(of(&wrong.checked)),
        grouped(of(&wrong.refused)),
        grouped(of(&wrong.closed)),
        of(&wrong.let_in)
    );
    println!(
        "the server: {:.0} % of a processor, {} MB before, {} MB after",
        (cpu(process) - cpu_before) / 1e4 / took,
        memory_before >> 20,
        memory(process) >> 20
    );
    let mut rows = Vec::new();
    for (which, quiet, busy) in [
        ("PostgreSQL, SCRAM", &quiet.scram, &busy.scram),
        ("HTTP, Basic", &quiet.basic, &busy.basic),
        (
            "PostgreSQL, from an attacker's address",
            &quiet.known,
            &busy.known,
        ),
    ] {
        let mut row = vec![which.to_string(), grouped(busy.len() as u64)];
        row.extend([quiet, busy].iter().flat_map(|times| {
            [0.5, 0.99, 1.0].map(|part| format!("{:.1}", quantile(times, part)))
        }));
        rows.push(row);
    }
    print_both(
        &[
            "right logins",
            "tried",
            "quiet, median ms",
            "p99 ms",
            "longest ms",
            "among wrong ones, median ms",
            "p99 ms",
            "longest ms",
        ],
        &rows,
    );
    if of(&wrong.let_in) > 0 {
        return Err("a wrong login was let in".into());
    }
    Ok(())
}

/// Milliseconds of each login.
#[derive(Default)]
struct Right {
    scram: Vec<f64>,
    basic: Vec<f64>,
    known: Vec<f64>,
}

/// Right logins, ten a second each, of which none may fail.
async fn right(server: &Server, lasts: Duration) -> Result<Right> {
    let mut right = Right::default();
    let begun = Instant::now();
    let mut due = begun;
    while begun.elapsed() < lasts {
        let own = Ipv4Addr::new(127, 0, 0, 9);
        let scram = timed(right_scram(own, server.postgres));
        let known = timed(right_scram(Ipv4Addr::new(127, 0, 1, 1), server.postgres));
        let basic = timed(right_basic(own, server.http));
        let (scram, known, basic) = tokio::try_join!(scram, known, basic)?;
        right.scram.push(scram);
        right.known.push(known);
        right.basic.push(basic);
        due += Duration::from_millis(100);
        tokio::time::sleep_until(due.into()).await;
    }
    Ok(right)
}

async fn timed(login: impl Future<Output = Result<()>>) -> Result<f64> {
    let begun = Instant::now();
    tokio::time::timeout(PATIENCE, login).await??;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn quantile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

async fn connected(from: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn right_scram(from: Ipv4Addr, port: u16) -> Result<()> {
    let mut config = tokio_postgres::Config::new();
    config.user("ana").password(PASSWORD).dbname("belvedere");
    let stream = connected(from, port).await?;
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    let connection = tokio::spawn(connection);
    client.simple_query("SELECT 1").await?;
    drop(client);
    let _ = connection.await;
    Ok(())
}

async fn right_basic(from: Ipv4Addr, port: u16) -> Result<()> {
    let mut stream = connected(from, port).await?;
    match asked(&mut stream, RIGHT).await? {
        404 => Ok(()),
        status => Err(format!("the right password is answered with {status}").into()),
    }
}

/// The status of a request for what there is not; 404 has been let in.
async fn asked(stream: &mut TcpStream, authorization: &str) -> Result<u16> {
    let request = format!(
        "GET /v1/views/nothing HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut told, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut some).await?;
        if read == 0 {
            return Err("it is closed".into());
        }
        told.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&told);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok(head.split(' ').nth(1).unwrap_or_default().parse()?);
        }
    }
}

async fn wrong_basic(
    kept: &mut Option<TcpStream>,
    from: Ipv4Addr,
    port: u16,
    user: &str,
) -> Result<End> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => connected(from, port).await?,
    };
    use base64::Engine as _;
    let said = base64::engine::general_purpose::STANDARD.encode(format!("{user}:wrong"));
    let status = asked(&mut stream, &format!("Basic {said}")).await?;
    *kept = Some(stream);
    Ok(match status {
        401 => End::Wrong,
        429 => End::TooMany,
        503 => End::Closed,
        _ => End::LetIn,
    })
}

async fn wrong_scram(from: Ipv4Addr, port: u16, user: &str) -> Result<End> {
    let mut stream = connected(from, port).await?;
    let start = [
        &b"\0\x03\0\0user\0"[..],
        user.as_bytes(),
        b"\0database\0belvedere\0\0",
    ]
    .concat();
    let length = (start.len() as u32 + 4).to_be_bytes();
    stream.write_all(&[&length[..], &start].concat()).await?;
    let (of, body) = message(&mut stream).await?;
    if of != b'R' || !body.starts_with(&[0, 0, 0, 10]) {
        return Ok(End::TooMany);
    }
    let first = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO";
    let chosen = [&b"SCRAM-SHA-256\0\0\0\0"[..], &[first.len() as u8], first].concat();
    say(&mut stream, &chosen).await?;
    let (_, body) = message(&mut stream).await?;
    let told = String::from_utf8_lossy(body.get(4..).unwrap_or_default()).into_owned();
    let nonce = told.split(',').next().unwrap_or_default();
    let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    say(&mut stream, format!("c=biws,{nonce},p={proof}").as_bytes()).await?;
    let (of, _) = message(&mut stream).await?;
    Ok(match of {
        b'E' => End::Wrong,
        _ => End::LetIn,
    })
}

async fn say(stream: &mut TcpStream, body: &[u8]) -> Result<()> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    Ok(stream
        .write_all(&[b"p", &length[..], body].concat())
        .await?)
}

async fn message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let of = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    let mut body = vec![0; (length as usize).saturating_sub(4)];
    stream.read_exact(&mut body).await?;
    Ok((of, body))
}

/// Connections that say nothing, on one port after the other.
async fn silent(server: &Server, count: usize) -> Result<()> {
    let process = server.process.0.id();
    let mut rows = Vec::new();
    for (which, port) in [
        ("PostgreSQL", server.postgres),
        ("Flight SQL", server.flight),
        ("HTTP", server.http),
    ] {
        let before = memory(process);
        let mut open = Vec::with_capacity(count);
        let begun = Instant::now();
        for n in 0..count {
            let from = Ipv4Addr::new(127, 0, 2, (n % 200) as u8 + 1);
            if let Ok(stream) = connected(from, port).await {
                open.push(stream);
            }
        }
        let took = begun.elapsed().as_secs_f64();
        let right = right(server, Duration::from_secs(2)).await?;
        let after = memory(process);
        let kept = std::fs::read_dir(format!("/proc/{process}/fd"))?.count();
        rows.push(vec![
            which.to_string(),
            grouped(open.len() as u64),
            format!("{took:.1}"),
            grouped(kept as u64),
            format!("{}", after.saturating_sub(before) >> 10),
            format!("{:.1}", quantile(&right.scram, 1.0)),
            format!("{:.1}", quantile(&right.basic, 1.0)),
        ]);
    }
    println!();
    print_both(
        &[
            "connections that say nothing",
            "opened",
            "in s",
            "files the server has open",
            "memory more, kB",
            "longest right login ms, PostgreSQL",
            "HTTP",
        ],
        &rows,
    );
    Ok(())
}

/// When a client is given up that says a byte a second.
async fn slow(server: &Server) -> Result<()> {
    let postgres =
        b"\0\0\0\x40\0\x03\0\0user\0ana\0database\0belvedere\0application_name\0xxxxxxxx\0\0";
    let http = b"GET /v1/views/nothing HTTP/1.1\r\nhost: localhost\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
    let flight = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let given_up = |port: u16, bytes: &'static [u8]| async move {
        let stream = connected(Ipv4Addr::new(127, 0, 0, 8), port).await?;
        let (mut read, mut write) = stream.into_split();
        let begun = Instant::now();
        let saying = async {
            for byte in bytes.iter().chain(std::iter::repeat(&0)) {
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let mut told = Vec::new();
        tokio::select! {
            () = saying => {}
            _ = read.read_to_end(&mut told) => {}
            () = tokio::time::sleep(Duration::from_secs(120)) => return Err("it is still there".into()),
        }
        Result::Ok(begun.elapsed().as_secs_f64())
    };
    let (postgres, http, flight) = tokio::try_join!(
        given_up(server.postgres, postgres),
        given_up(server.http, http),
        given_up(server.flight, flight)
    )?;
    println!(
        "\na client that says a byte a second is given up after {postgres:.0} s (PostgreSQL), {http:.0} s (HTTP), {flight:.0} s (Flight SQL)"
    );
    Ok(())
}

/// Bytes that a process has in memory.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}
