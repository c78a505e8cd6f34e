use std::net::SocketAddr;

use arrow_flight::FlightInfo;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use belvedere::Engine;
use belvedere::serve::ServeOptions;
use belvedere::serve::flight::FlightServer;
use belvedere_memory::{MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::served;

pub type Client = FlightSqlServiceClient<Channel>;

/// A server with the sources `mem` (in memory, table `t`) and `shop` (SQLite: `customer`, `orders`).
pub struct Server {
    pub engine: Engine,
    pub memory: MemorySource,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<belvedere::Result<()>>,
    _dir: TempDir,
}

pub fn table(columns: Vec<(&str, ArrayRef)>) -> MemoryTable {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    MemoryTable::new(batch.schema(), vec![batch])
}

impl Server {
    pub async fn start() -> Self {
        Self::with(ServeOptions::default()).await
    }

    pub async fn with(options: ServeOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (engine, memory) = served::engine(dir.path()).await;
        let shop = dir.path().join("shop.db");
        rusqlite::Connection::open(&shop)
            .unwrap()
            .execute_batch(SHOP)
            .unwrap();
        let session = engine.session();
        for sql in [
            "CREATE SOURCE mem FROM 'memory:mem'".to_string(),
            format!("CREATE SOURCE shop FROM 'sqlite:{}'", shop.display()),
        ] {
            session
                .execute(&sql)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap();
        }
        let any = "127.0.0.1:0".parse().unwrap();
        let bound = FlightServer::bind(engine.clone(), any, options)
            .await
            .unwrap();
        let address = bound.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bound.run(async {
            let _ = stopped.await;
        }));
        Self {
            engine,
            memory,
            address,
            stop: Some(stop),
            task,
            _dir: dir,
        }
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    pub async fn client(&self) -> Client {
        FlightSqlServiceClient::new(self.channel().await)
    }

    /// A client that takes messages of any size.
    pub async fn large_client(&self) -> Client {
        let inner = FlightServiceClient::new(self.channel().await);
        FlightSqlServiceClient::new_from_inner(inner.max_decoding_message_size(usize::MAX))
    }

    pub fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    /// Tell it to stop, and wait until it has.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Run at the engine, without the server.
    pub async fn define(&self, sql: &str) {
        self.engine
            .session()
            .execute(sql)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
    }
}

const SHOP: &str = "
    CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer (id), total REAL);
    INSERT INTO customer VALUES (1, 'Ada'), (2, 'Bo');
    INSERT INTO orders VALUES (10, 1, 9.5), (11, 1, 0.5), (12, 2, 4.0);";

/// The rows of an answer; its schema must be the one announced.
pub async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, Status> {
    let announced = info.clone().try_decode_schema().unwrap();
    assert_eq!(info.endpoint.len(), 1);
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut stream = client.do_get(ticket).await.map_err(Status::from)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await.map_err(Status::from)? {
        batches.push(batch);
    }
    assert_eq!(stream.schema().unwrap().as_ref(), &announced);
    Ok(batches)
}

pub async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, Status> {
    let info = client
        .execute(sql.to_string(), None)
        .await
        .map_err(Status::from)?;
    fetch(client, info).await
}

/// The rows of an answer, one text each, its values separated by `|`.
pub fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| {
        let values: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        values.join("|")
    })
    .collect()
}

pub fn status(e: FlightError) -> Status {
    Status::from(e)
}
