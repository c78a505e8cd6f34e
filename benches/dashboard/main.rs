//! Dashboards of many users over virtual views: 12 tiles each, which are refreshed every second, over PostgreSQL's protocol.
//!
//! ```sh
//! scripts/bench dashboard                          # 50 users, 60 days of orders, 20 s for each bound
//! scripts/bench dashboard --users 10 --seconds 5
//! ```
//!
//! A distributor's orders, stock and customers are in two databases of a PostgreSQL server: 8,000 customers, 7,500 SKUs, 1,500 orders a day.
//! The same dashboard is read with different bounds on its age: none (`max_staleness` not set: all is asked for, each time), 1 s, 10 s.
//!
//! The load is open: a refresh is due each second, whether the last one has ended or not, and a tile's time counts from when it was due,
//! so that what waits behind a slow answer is counted, too (no coordinated omission). Each user has one connection, on which what is due
//! goes in turn; what is not answered when the time is over counts as if it were answered then. *asked*: statements at the sources for one
//! tile; *CPU*: Belvedere's for one tile.

#[path = "../support/mod.rs"]
mod support;

#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
mod server;

#[path = "../support/served.rs"]
mod served;

use std::time::{Duration, Instant};

use served::{belvedere, connected, cpu, transactions};
use support::{grouped, option, print_both};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Each a virtual view, read as a whole.
const TILES: [(&str, &str); 12] = [
    (
        "orders_by_day",
        "SELECT day, count(*) AS orders, sum(total) AS total FROM erp.orders GROUP BY day",
    ),
    (
        "orders_today",
        "SELECT status, count(*) AS orders, sum(total) AS total FROM erp.orders
         WHERE day = (SELECT max(day) FROM erp.orders) GROUP BY status",
    ),
    (
        "revenue_by_region",
        "SELECT c.region, sum(o.total) AS total FROM crm.customer c JOIN erp.orders o ON o.customer = c.id GROUP BY c.region",
    ),
    (
        "best_customers",
        "SELECT c.name, sum(o.total) AS total FROM crm.customer c JOIN erp.orders o ON o.customer = c.id
         GROUP BY c.id, c.name ORDER BY total DESC LIMIT 10",
    ),
    (
        "open_orders",
        "SELECT c.segment, count(*) AS orders FROM crm.customer c JOIN erp.orders o ON o.customer = c.id
         WHERE o.status = 'open' GROUP BY c.segment",
    ),
    (
        "over_credit",
        "SELECT c.name, c.credit, o.total FROM crm.customer c
         JOIN (SELECT customer, sum(total) AS total FROM erp.orders WHERE status = 'open' GROUP BY customer) o ON o.customer = c.id
         WHERE o.total > c.credit ORDER BY o.total DESC LIMIT 20",
    ),
    (
        "short_stock",
        "SELECT sku, site, qty FROM erp.stock WHERE qty < 5 ORDER BY qty, sku, site LIMIT 50",
    ),
    (
        "stock_value",
        "SELECT s.site, sum(s.qty * i.price) AS value FROM erp.stock s JOIN erp.item i ON i.sku = s.sku GROUP BY s.site",
    ),
    (
        "best_items",
        "SELECT i.name, sum(l.qty) AS qty FROM erp.line l JOIN erp.item i ON i.sku = l.sku
         GROUP BY i.sku, i.name ORDER BY qty DESC LIMIT 10",
    ),
    (
        "categories",
        "SELECT i.category, sum(l.qty * i.price) AS total FROM erp.line l JOIN erp.item i ON i.sku = l.sku GROUP BY i.category",
    ),
    (
        "customers",
        "SELECT region, segment, count(*) AS customers, sum(credit) AS credit FROM crm.customer GROUP BY region, segment",
    ),
    ("average_order", "SELECT avg(total) AS average, max(total) AS largest FROM erp.orders"),
];

/// What is stated of the age of what is read.
const BOUNDS: [(&str, &str); 3] = [
    ("none", "RESET max_staleness"),
    ("1 s", "SET max_staleness = '1s'"),
    ("10 s", "SET max_staleness = '10s'"),
];

#[tokio::main]
async fn main() -> Result<()> {
    let users: usize = option("--users", 50);
    let days: u32 = option("--days", 60);
    let seconds: u64 = option("--seconds", 20);

    let server =
        tokio::task::block_in_place(|| server::Server::private_with("-c shared_buffers=512MB"));
    let postgres = connected(server.port, "postgres").await?;
    postgres.batch_execute("CREATE DATABASE crm").await?;
    let orders = days * 1500;
    postgres
        .batch_execute(&format!(
            "CREATE TABLE item (sku int PRIMARY KEY, name text NOT NULL, category int NOT NULL, price numeric(12,2) NOT NULL);
             INSERT INTO item SELECT i, 'item ' || i, i % 40, (i * 37 % 9973) / 100.0 + 1 FROM generate_series(1, 7500) i;
             CREATE TABLE stock (sku int NOT NULL, site text NOT NULL, qty int NOT NULL, PRIMARY KEY (sku, site));
             INSERT INTO stock SELECT i, s, (i * 31 + length(s) * 7) % 500 FROM generate_series(1, 7500) i, unnest(ARRAY['HH', 'B', 'LEJ']) s;
             CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, day date NOT NULL, status text NOT NULL, total numeric(12,2) NOT NULL);
             INSERT INTO orders SELECT i, i * 7919 % 8000 + 1, date '2026-01-01' + i / 1500,
                 CASE WHEN i > {orders} - 4000 THEN 'open' ELSE 'done' END, (i * 7351 % 99991) / 10.0 FROM generate_series(1, {orders}) i;
             CREATE TABLE line (orders int NOT NULL, no int NOT NULL, sku int NOT NULL, qty int NOT NULL, PRIMARY KEY (orders, no));
             INSERT INTO line SELECT i, n, (i * 104729::bigint + n * 131) % 7500 + 1, i % 9 + n FROM generate_series(1, {orders}) i, generate_series(1, 3) n;
             CREATE INDEX ON orders (day); CREATE INDEX ON orders (status); ANALYZE"
        ))
        .await?;
    connected(server.port, "crm")
        .await?
        .batch_execute(
            "CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, region text NOT NULL, segment text NOT NULL, credit numeric(12,2) NOT NULL);
             INSERT INTO customer SELECT i, 'customer ' || i, 'region ' || i % 6, 'segment ' || i % 4, i % 50 * 1000 FROM generate_series(1, 8000) i;
             ANALYZE",
        )
        .await?;

    let folder = tempfile::tempdir()?;
    let source = |name: &str, database: &str| {
        let port = server.port;
        format!("CREATE SOURCE {name} FROM 'postgres://postgres@127.0.0.1:{port}/{database}'")
    };
    let mut definitions = vec![source("erp", "postgres"), source("crm", "crm")];
    let views = TILES
        .iter()
        .map(|(name, query)| format!("CREATE VIEW {name} AS {query}"));
    definitions.extend(views);
    let served = belvedere(folder.path(), &definitions).await?;
    let process = served.process.0.id();

    println!(
        "{users} users × {} tiles a second, {} orders, {} cores, {seconds} s each\n",
        TILES.len(),
        grouped(orders.into()),
        support::cores()
    );
    let mut lines = Vec::new();
    for (bound, set) in BOUNDS {
        let before = (
            transactions(&postgres, "postgres").await? + transactions(&postgres, "crm").await?,
            cpu(process),
        );
        let ends = Instant::now() + Duration::from_secs(seconds);
        let begun =
            (0..users).map(|user| tokio::spawn(reads(served.postgres, set, user, users, ends)));
        let mut found = Tiles::default();
        for user in futures::future::join_all(begun).await {
            let user = user??;
            found.answered += user.answered;
            found.took.extend(user.took);
        }
        let computed = cpu(process) - before.1;
        let statements =
            transactions(&postgres, "postgres").await? + transactions(&postgres, "crm").await?;
        let statements = statements.saturating_sub(before.0);
        found.took.sort();
        let at = |share: f64| {
            let i = (found.took.len() as f64 * share) as usize;
            let took = found.took.get(i.min(found.took.len().saturating_sub(1)));
            format!(
                "{:.1}",
                took.copied().unwrap_or_default().as_secs_f64() * 1e3
            )
        };
        let of_each = |value: f64| value / (found.answered as f64).max(1.0);
        lines.push([
            bound.to_string(),
            grouped(found.answered as u64),
            format!(
                "{:.0} %",
                100.0 * found.answered as f64 / found.took.len() as f64
            ),
            at(0.5),
            at(0.99),
            at(1.0),
            format!("{:.3}", of_each(statements as f64)),
            format!("{:.0}", of_each(computed)),
        ]);
    }
    print_both(
        [
            "max_staleness",
            "tiles",
            "answered",
            "median ms",
            "p99 ms",
            "longest ms",
            "asked",
            "CPU µs",
        ],
        &lines,
    );
    Ok(())
}

#[derive(Default)]
struct Tiles {
    answered: usize,
    /// Of all that were due, from then on.
    took: Vec<Duration>,
}

/// What a user sees. All users together are due at all times, not at once.
async fn reads(port: u16, set: &str, user: usize, users: usize, ends: Instant) -> Result<Tiles> {
    let client = connected(port, "belvedere").await?;
    client.batch_execute(set).await?;
    let mut tiles = Tiles::default();
    let mut due = Instant::now() + Duration::from_secs(1).mul_f64(user as f64 / users as f64);
    while due < ends {
        tokio::time::sleep_until(due.into()).await;
        for (name, _) in TILES {
            let sql = format!("SELECT * FROM {name}");
            let answer = client.simple_query(&sql);
            // Later than that, the load has ended.
            if let Ok(answer) = tokio::time::timeout_at(ends.into(), answer).await {
                answer?;
                tiles.answered += 1;
            }
            tiles.took.push(due.elapsed());
        }
        due += Duration::from_secs(1);
    }
    Ok(tiles)
}
