//! The binary itself, as a server with a data directory of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio_postgres::NoTls;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A process that ends with this.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that listens.
pub struct Server {
    pub process: Running,
    pub flight: u16,
    pub postgres: u16,
    pub http: u16,
}

/// With these definitions.
pub async fn belvedere(folder: &Path, definitions: &[String]) -> Result<Server> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_belvedere"))
        .args(["serve", "--data"])
        .arg(folder.join("data"))
        .args(["--flight", "127.0.0.1:0", "--postgres", "127.0.0.1:0"])
        .args(["--http", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let said = BufReader::new(child.stdout.take().ok_or("no output")?);
    let process = Running(child);
    let mut lines = said.lines();
    // In the order in which it says them.
    let ports = tokio::task::block_in_place(|| {
        ["grpc://", "postgresql://", "http://"].map(|scheme| {
            lines.by_ref().find_map(|line| {
                let line = line.ok()?;
                let address = line.split(scheme).nth(1)?.split(['/', ' ']).next()?;
                address.split(':').nth(1)?.parse().ok()
            })
        })
    });
    let [Some(flight), Some(postgres), Some(http)] = ports else {
        return Err("it does not say where it serves".into());
    };
    // What else it says is read, so that it can go on.
    std::thread::spawn(move || lines.for_each(drop));
    let client = connected(postgres, "belvedere").await?;
    for sql in definitions {
        client.batch_execute(sql).await?;
    }
    Ok(Server {
        process,
        flight,
        postgres,
        http,
    })
}

/// By PostgreSQL's protocol.
pub async fn connected(port: u16, database: &str) -> Result<tokio_postgres::Client> {
    let address = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Transactions that PostgreSQL has committed in a database.
pub async fn transactions(client: &tokio_postgres::Client, database: &str) -> Result<u64> {
    // It tells them with a delay.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1";
    let row = client.query_one(sql, &[&database]).await?;
    Ok(row.get::<_, i64>(0).try_into()?)
}

/// Microseconds that a process has computed.
pub fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may have anything in it, the third field is the first; ticks are hundredths of a second.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |i: usize| {
        let field = fields.get(i);
        field.and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) * 1e4
}
