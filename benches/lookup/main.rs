//! Point lookups by many clients over PostgreSQL's protocol: `SELECT name, price, stock FROM item WHERE sku = $1`, prepared,
//! random keys of a table in PostgreSQL, by pgbench on this machine.
//!
//! ```sh
//! scripts/bench lookup                             # 500,000 rows, 6 s for each, 3 rounds
//! scripts/bench lookup --rows 100000 --seconds 3 --clients 1,64
//! scripts/bench lookup --forms true                # what else goes the short way, beside PostgreSQL
//! ```
//!
//! *bare*: a server that answers each execution with the same row: what the protocol, the network and pgbench take by
//! themselves. *PostgreSQL* holds the table. *kept*: a materialized view of it, kept by change. *virtual*: the table
//! through Belvedere, which asks PostgreSQL over at most four connections. *PgBouncer* before PostgreSQL with as many, in its
//! transaction mode (parsing each time), where it is installed. *HTTP* and *Flight*: the kept view and the virtual one by these
//! protocols, each client over a connection of its own, by clients in this process. All take turns; a figure is the median of the rounds.
//!
//! With `--forms`, of PostgreSQL and a kept view: ten rows of a range of keys, four by the first column of a key, and those with a row of another
//! view each.
//!
//! *CPU* is that of the server's process for one lookup (of PostgreSQL's own it is not known: it has many); *asked* is how many
//! statements PostgreSQL ran for one lookup of *virtual*: below 1, several went together.

#[path = "../support/mod.rs"]
mod support;

#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
mod server;

#[path = "../support/served.rs"]
mod served;

mod bare;
mod clients;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use served::{Running, connected, cpu, transactions};
use support::{grouped, option, print_both};
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Who is asked.
struct Asked {
    name: &'static str,
    by: By,
    port: u16,
    table: &'static str,
    /// Whose CPU is counted.
    process: Option<u32>,
}

/// By which protocol.
#[derive(Clone, Copy)]
enum By {
    Pgbench {
        /// How its statements are sent.
        mode: &'static str,
        database: &'static str,
        /// With `:id`, and TABLE for the one that is asked for.
        sql: &'static str,
    },
    Http,
    Flight,
}

const BY_KEY: &str = "SELECT name, price, stock FROM TABLE WHERE sku = :id";
const PREPARED: By = By::Pgbench {
    mode: "prepared",
    database: "postgres",
    sql: BY_KEY,
};

/// What else is looked up, under the names of both PostgreSQL's and the kept ones.
const FORMS: [(&str, &str, &str); 3] = [
    (
        "PostgreSQL, range",
        "kept, range",
        "SELECT sku, name FROM item WHERE sku BETWEEN :id AND :id + 9",
    ),
    (
        "PostgreSQL, first column",
        "kept, first column",
        "SELECT no, sku, qty FROM line WHERE head = :id",
    ),
    (
        "PostgreSQL, join",
        "kept, join",
        "SELECT l.no, i.name, i.price * l.qty AS value FROM line l JOIN item i ON i.sku = l.sku WHERE l.head = :id",
    ),
];

struct Measured {
    tps: f64,
    /// Microseconds for one lookup.
    cpu: Option<f64>,
    /// Statements at PostgreSQL for one lookup.
    asked: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows: u64 = option("--rows", 500_000);
    let seconds: u64 = option("--seconds", 6);
    let rounds: usize = option("--rounds", 3);
    let has_forms: bool = option("--forms", false);
    let clients: String = option("--clients", "1,8,64,512".to_string());
    let clients: std::result::Result<Vec<u32>, _> = clients.split(',').map(str::parse).collect();
    let clients = clients?;

    let options = "-c wal_level=logical -c max_connections=700 -c shared_buffers=512MB";
    let server = tokio::task::block_in_place(|| server::Server::private_with(options));
    let client = connected(server.port, "postgres").await?;
    client
        .batch_execute(&format!(
            "CREATE TABLE item (sku int PRIMARY KEY, name text NOT NULL, price numeric(12,2) NOT NULL, stock int NOT NULL);
             INSERT INTO item SELECT i, 'item ' || i, i / 100.0, i % 1000 FROM generate_series(1, {rows}) i;
             CREATE TABLE line (head int, no int, sku int NOT NULL, qty int NOT NULL, PRIMARY KEY (head, no));
             INSERT INTO line SELECT i, no, 1 + (i::bigint * 7919 * no) % {rows}, no FROM generate_series(1, {rows}) i, generate_series(1, 4) no;
             ANALYZE item, line"
        ))
        .await?;

    let folder = tempfile::tempdir()?;
    let mut definitions = vec![
        format!(
            "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{}/postgres'",
            server.port
        ),
        "CREATE MATERIALIZED VIEW item WITH (refresh = 'on change', key = 'sku', wait = true)
         AS SELECT sku, name, price, stock FROM erp.item"
            .to_string(),
        "CREATE VIEW live_item AS SELECT sku, name, price, stock FROM erp.item".to_string(),
    ];
    if has_forms {
        definitions.push(
            "CREATE MATERIALIZED VIEW line WITH (refresh = 'on change', key = 'head, no', wait = true) AS SELECT * FROM erp.line"
                .to_string(),
        );
    }
    let served = served::belvedere(folder.path(), &definitions).await?;
    let of_prepared = |database, sql| By::Pgbench {
        mode: "prepared",
        database,
        sql,
    };
    let of_belvedere = |name, table, (port, by)| Asked {
        name,
        by,
        port,
        table,
        process: Some(served.process.0.id()),
    };
    let ours = (served.postgres, of_prepared("belvedere", BY_KEY));
    let (http, flight) = ((served.http, By::Http), (served.flight, By::Flight));
    let bare = bare::serve().await?;
    let mut asked = vec![
        Asked {
            name: "bare",
            by: PREPARED,
            port: bare.port(),
            table: "item",
            process: Some(std::process::id()),
        },
        Asked {
            name: "PostgreSQL",
            by: PREPARED,
            port: server.port,
            table: "item",
            process: None,
        },
        of_belvedere("kept", "item", ours),
        of_belvedere("virtual", "erp.item", ours),
        of_belvedere("kept, HTTP", "item", http),
        of_belvedere("virtual, HTTP", "live_item", http),
        of_belvedere("kept, Flight", "item", flight),
        of_belvedere("virtual, Flight", "live_item", flight),
    ];
    let bouncer = bouncer(&folder, server.port)?;
    match &bouncer {
        Some((process, port)) => asked.push(Asked {
            name: "PgBouncer",
            // What is prepared on one of its connections, the PgBouncer of Debian 12 does not find on another.
            by: By::Pgbench {
                mode: "extended",
                database: "postgres",
                sql: BY_KEY,
            },
            port: *port,
            table: "item",
            process: Some(process.0.id()),
        }),
        None => println!("not shown: PgBouncer is not installed"),
    }
    for (plain, kept, sql) in FORMS.into_iter().filter(|_| has_forms) {
        asked.push(Asked {
            name: plain,
            by: of_prepared("postgres", sql),
            port: server.port,
            table: "item",
            process: None,
        });
        let by = of_prepared("belvedere", sql);
        asked.push(of_belvedere(kept, "item", (served.postgres, by)));
    }

    println!(
        "{} rows, {} cores, {seconds} s each, median of {rounds}\n",
        grouped(rows),
        support::cores()
    );
    let mut lines = Vec::new();
    for clients in clients {
        let mut found: Vec<Vec<Measured>> = asked.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (asked, found) in asked.iter().zip(&mut found) {
                let before = transactions(&client, "postgres").await?;
                let before_cpu = asked.process.map(cpu);
                let (tps, count) = lookups(asked, clients, seconds, rows, folder.path()).await?;
                let cpu = asked.process.map(cpu).zip(before_cpu);
                let cpu = cpu.map(|(after, before)| after - before);
                let statements = transactions(&client, "postgres")
                    .await?
                    .saturating_sub(before);
                found.push(Measured {
                    tps,
                    cpu: cpu.map(|us| us / count as f64),
                    asked: statements as f64 / count as f64,
                });
            }
        }
        let middle: Vec<&Measured> = found
            .iter_mut()
            .map(|rounds| {
                rounds.sort_by(|a, b| a.tps.total_cmp(&b.tps));
                &rounds[rounds.len() / 2]
            })
            .collect();
        let asked_of = &asked;
        for (asked, measured) in asked_of.iter().zip(&middle) {
            let ratio = |i: usize| format!("{:.2}", measured.tps / middle[i].tps);
            // The same question where it is another.
            let form = asked.name.split_once(", ").map_or("", |(_, form)| form);
            let same = |plain: &&(&str, &str, &str)| plain.0.ends_with(form) && !form.is_empty();
            let plain = FORMS
                .iter()
                .find(same)
                .map_or("PostgreSQL", |(plain, ..)| plain);
            let plain = asked_of
                .iter()
                .position(|other| other.name == plain)
                .unwrap_or(1);
            lines.push([
                format!("{} ({clients})", asked.name),
                grouped(measured.tps as u64),
                ratio(0),
                ratio(plain),
                format!("{:.0}", 1e6 * f64::from(clients) / measured.tps),
                measured.cpu.map_or(String::new(), |us| format!("{us:.1}")),
                match asked.name.starts_with("virtual") {
                    true => format!("{:.2}", measured.asked),
                    false => String::new(),
                },
            ]);
        }
    }
    print_both(
        [
            "asked (clients)",
            "lookups/s",
            "of bare",
            "of PostgreSQL",
            "mean µs",
            "CPU µs",
            "asked",
        ],
        &lines,
    );
    Ok(())
}

/// None: it is not installed.
fn bouncer(folder: &TempDir, postgres: u16) -> Result<Option<(Running, u16)>> {
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    let Some(program) = program.into_iter().find(|path| Path::new(path).exists()) else {
        return Ok(None);
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let settings = folder.path().join("pgbouncer.ini");
    std::fs::write(
        &settings,
        format!(
            "[databases]\npostgres = host=127.0.0.1 port={postgres} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 1000\nunix_socket_dir =\n"
        ),
    )?;
    let mut command = Command::new(program);
    if is_root() {
        command.args(["-u", "nobody"]);
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable)?;
    }
    let child = command
        .arg(&settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    Ok(Some((Running(child), port)))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.starts_with(b"0"))
}

/// Lookups a second, and how many there were.
async fn lookups(
    asked: &Asked,
    clients: u32,
    seconds: u64,
    rows: u64,
    folder: &Path,
) -> Result<(f64, u64)> {
    match asked.by {
        By::Http => clients::http(asked.port, asked.table, rows, clients, seconds).await,
        By::Flight => clients::flight(asked.port, asked.table, rows, clients, seconds).await,
        By::Pgbench {
            mode,
            database,
            sql,
        } => {
            let script = folder.join("lookup.sql");
            let sql = sql.replace("TABLE", asked.table);
            std::fs::write(&script, format!("\\set id random(1, {rows})\n{sql};\n"))?;
            let pgbench = || pgbench(asked, (mode, database), clients, seconds, &script);
            tokio::task::block_in_place(pgbench)
        }
    }
}

fn pgbench(
    asked: &Asked,
    (mode, database): (&str, &str),
    clients: u32,
    seconds: u64,
    script: &Path,
) -> Result<(f64, u64)> {
    let output = Command::new(program("pgbench")?)
        .args(["-n", "-M", mode, "-j", "1", "-h", "127.0.0.1"])
        .args(["-c", &clients.to_string(), "-T", &seconds.to_string()])
        .args(["-p", &asked.port.to_string(), "-U", "postgres"])
        .arg("-f")
        .arg(script)
        .arg(database)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(label));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.split('/').next()?.parse::<f64>().ok())
    };
    let tps = number("tps =");
    let count = number("number of transactions actually processed:");
    match tps.zip(count) {
        Some((tps, count)) => Ok((tps, count as u64)),
        None => Err(format!(
            "pgbench against {}: {}",
            asked.name,
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

fn program(name: &str) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")?
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found
        .pop()
        .ok_or_else(|| format!("{name} is not installed").into())
}
