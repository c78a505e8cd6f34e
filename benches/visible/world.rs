//! The orders, and an engine that follows them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use belvedere::serve::flight::{FlightOptions, FlightServer};
use belvedere::{Engine, Session};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Statement};

use super::Result;
use super::server::Server;

const CUSTOMERS: u64 = 8_000;
const ITEMS: u64 = 7_500;

/// `schema`: what the tables' names begin with.
pub fn query(schema: &str) -> String {
    format!(
        "SELECT region, count(*) AS orders, sum(qty * price) AS amount
         FROM {schema}orders o JOIN {schema}customer c ON o.customer = c.id JOIN {schema}item i ON o.item = i.sku
         WHERE status <> 'cancelled' GROUP BY region"
    )
}

/// A PostgreSQL with orders. The first of them, order 0, is of a region of its own and of an item at price 1.
pub struct World {
    server: Server,
    orders: u64,
}

impl World {
    pub async fn new(orders: u64) -> Result<Self> {
        let server = tokio::task::block_in_place(Server::private);
        let world = Self { server, orders };
        let client = world.connect().await?;
        client
            .batch_execute(&format!(
                "CREATE TABLE customer (id bigint PRIMARY KEY, region text NOT NULL);
                 CREATE TABLE item (sku text PRIMARY KEY, price numeric(12,2) NOT NULL);
                 CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, item text NOT NULL,
                     qty integer NOT NULL, status text NOT NULL, remark text NOT NULL);
                 INSERT INTO customer SELECT n, CASE n WHEN 0 THEN 'counted' ELSE 'region ' || n % 40 END
                     FROM generate_series(0, {CUSTOMERS}) n;
                 INSERT INTO item SELECT CASE n WHEN 0 THEN 'counted' ELSE 'SKU-' || n END,
                     CASE n WHEN 0 THEN 1 ELSE 1 + n % 1000 * 0.37 END FROM generate_series(0, {ITEMS}) n;
                 INSERT INTO orders SELECT n, n * 7919 % {CUSTOMERS} + 1, 'SKU-' || n * 104729 % {ITEMS} + 1, n % 9 + 1,
                     CASE n % 10 WHEN 0 THEN 'cancelled' ELSE 'open' END, 'order ' || n || ' as it was written'
                     FROM generate_series(1::bigint, {orders}) n;
                 INSERT INTO orders VALUES (0, 0, 'counted', 0, 'open', '')"
            ))
            .await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        Ok(world)
    }

    /// Of all tables.
    pub fn rows(&self) -> u64 {
        self.orders + CUSTOMERS + ITEMS + 3
    }

    pub async fn connect(&self) -> Result<Client> {
        let address = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.server.port
        );
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub async fn writer(&self) -> Result<Writer> {
        let client = self.connect().await?;
        let sql = "UPDATE orders SET qty = CASE id WHEN 0 THEN $1 ELSE qty % 9 + 1 END WHERE id = ANY($2)";
        let update = client.prepare(sql).await?;
        Ok(Writer {
            client,
            update,
            orders: self.orders,
            count: 0,
        })
    }

    /// The bytes of a binary COPY of the columns that the view reads.
    pub async fn copied(&self, client: &Client) -> Result<u64> {
        let mut bytes = 0;
        for columns in [
            "SELECT id, customer, item, qty, status FROM orders",
            "SELECT id, region FROM customer",
            "SELECT sku, price FROM item",
        ] {
            let copy = format!("COPY ({columns}) TO STDOUT (FORMAT binary)");
            let rows = client.copy_out(&copy).await?;
            let sizes = rows.map_ok(|piece| piece.len() as u64);
            bytes += sizes
                .try_fold(0, |all, size| async move { Ok(all + size) })
                .await?;
        }
        Ok(bytes)
    }
}

/// Who commits.
pub struct Writer {
    client: Client,
    update: Statement,
    orders: u64,
    /// The quantity of order 0.
    pub count: i32,
}

impl Writer {
    /// One transaction: order 0 counts up, and others, as many as are missing of `changes`, get another quantity.
    pub async fn count_up(&mut self, changes: u64) -> Result<()> {
        self.count += 1;
        let others = (1..changes).map(|_| fastrand::u64(1..=self.orders) as i64);
        let ids: Vec<i64> = std::iter::once(0).chain(others).collect();
        self.client
            .execute(&self.update, &[&self.count, &ids])
            .await?;
        Ok(())
    }

    /// Commits of one row that get done in a second.
    pub async fn rate(&mut self, time: Duration) -> Result<u64> {
        let (begun, first) = (Instant::now(), self.count);
        while begun.elapsed() < time {
            self.count_up(1).await?;
        }
        let done = f64::from(self.count - first);
        Ok((done / begun.elapsed().as_secs_f64()) as u64)
    }
}

/// An engine with a data directory and a Flight server, that keeps the view.
pub struct Followed {
    engine: Engine,
    session: Session,
    pub address: SocketAddr,
    server: Serving,
    folder: TempDir,
}

/// The Flight server, until it is told to stop.
struct Serving {
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Serving {
    async fn end(self) -> Result<()> {
        let _ = self.stop.send(());
        Ok(self.done.await?)
    }
}

impl Followed {
    /// Kept by change, and filled.
    pub async fn new(world: &World) -> Result<Self> {
        Self::with(world, "on change").await
    }

    pub async fn with(world: &World, refresh: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let followed = Self::open(folder).await?;
        let port = world.server.port;
        let source =
            format!("CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{port}/postgres'");
        followed.run(&source).await?;
        let view = format!(
            "CREATE MATERIALIZED VIEW by_region WITH (refresh = '{refresh}') AS {}",
            query("erp.public.")
        );
        followed.run(&view).await?;
        followed.read().await?;
        Ok(followed)
    }

    async fn open(folder: TempDir) -> Result<Self> {
        let engine = Engine::builder().data_dir(folder.path()).open().await?;
        let any = "127.0.0.1:0".parse()?;
        let bound = FlightServer::bind(engine.clone(), any, FlightOptions::default()).await?;
        let address = bound.local_addr();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            bound.run(stopped).await.expect("the server ends in order");
        });
        Ok(Self {
            session: engine.session(),
            engine,
            address,
            server: Serving { stop, done },
            folder,
        })
    }

    pub async fn run(&self, sql: &str) -> Result<()> {
        self.session.execute(sql).await?.collect().await?;
        Ok(())
    }

    async fn read(&self) -> Result<()> {
        self.run("SELECT * FROM by_region").await
    }

    /// Bytes in its data directory.
    pub fn stored(&self) -> Result<u64> {
        fn size(folder: &std::path::Path) -> std::io::Result<u64> {
            let mut all = 0;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let file = entry.metadata()?;
                all += match file.is_dir() {
                    true => size(&entry.path())?,
                    false => file.len(),
                };
            }
            Ok(all)
        }
        Ok(size(self.folder.path())?)
    }

    /// Closed and opened again, until the view is read.
    pub async fn reopened(self) -> Result<Self> {
        let Self {
            engine,
            session,
            server,
            folder,
            ..
        } = self;
        server.end().await?;
        drop(session);
        engine.close().await?;
        let followed = Self::open(folder).await?;
        followed.read().await?;
        Ok(followed)
    }

    /// Nothing is left of it at the source.
    pub async fn close(self) -> Result<()> {
        self.run("DROP SOURCE erp CASCADE").await?;
        self.server.end().await?;
        drop(self.session);
        self.engine.close().await?;
        Ok(())
    }
}
