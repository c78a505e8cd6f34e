use std::net::SocketAddr;

use belvedere::Engine;
use belvedere::serve::ServeOptions;
use belvedere::serve::postgres::PostgresServer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::served;

/// A server with the sources `mem` (in memory, table `t`) and `shop` (SQLite, table `orders`).
pub struct Server {
    pub address: SocketAddr,
    pub engine: Engine,
    pub folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(ServeOptions::default()).await
    }

    pub async fn with(options: ServeOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (engine, _) = served::engine(folder.path()).await;
        let shop = folder.path().join("shop.db");
        rusqlite::Connection::open(&shop)
            .unwrap()
            .execute_batch(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT NOT NULL, qty INTEGER);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                 INSERT INTO orders SELECT i, 'S-' || (i % 7), i % 13 FROM n;",
            )
            .unwrap();
        let session = engine.session();
        for sql in [
            "CREATE SOURCE mem FROM 'memory:mem'".to_string(),
            format!(
                "CREATE SOURCE shop FROM 'sqlite:{}' WITH (changes = 'triggers')",
                shop.display()
            ),
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
        let bound = PostgresServer::bind(engine.clone(), any, options)
            .await
            .unwrap();
        let address = bound.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bound.run(async {
            let _ = stopped.await;
        }));
        Self {
            address,
            engine,
            folder,
            stop: Some(stop),
            task,
        }
    }

    pub fn shop(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("shop.db")).unwrap()
    }

    pub async fn client(&self) -> Client {
        self.client_with("").await
    }

    /// `more`: further words of the connection's description.
    pub async fn client_with(&self, more: &str) -> Client {
        self.try_client(more).await.unwrap()
    }

    pub async fn try_client(&self, more: &str) -> Result<Client, tokio_postgres::Error> {
        let (host, port) = (self.address.ip(), self.address.port());
        let description = format!("host={host} port={port} user=ana dbname=belvedere {more}");
        let (client, connection) = tokio_postgres::connect(&description, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A connection on which anything can be sent, past its beginning.
    pub async fn raw(&self) -> Raw {
        let mut raw = self.begun().await;
        raw.until(b'Z').await;
        raw
    }

    /// The same as it begins: nothing is answered yet.
    pub async fn begun(&self) -> Raw {
        let mut raw = Raw(TcpStream::connect(self.address).await.unwrap());
        let mut start = b"\0\x03\0\0user\0ana\0\0".to_vec();
        start.splice(0..0, (start.len() as u32 + 4).to_be_bytes());
        raw.0.write_all(&start).await.unwrap();
        raw
    }

    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap();
    }
}

/// A connection on which anything can be sent.
pub struct Raw(pub TcpStream);

impl Raw {
    pub async fn send(&mut self, of: u8, body: &[u8]) {
        let mut message = vec![of];
        message.extend((body.len() as u32 + 4).to_be_bytes());
        message.extend(body);
        self.0.write_all(&message).await.unwrap();
    }

    /// None: the server has closed the connection.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let of = self.0.read_u8().await.ok()?;
        let length = self.0.read_u32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body).await.ok()?;
        Some((of, body))
    }

    /// The types of the messages up to one of this type, and the SQLSTATE of an error among them.
    pub async fn until(&mut self, last: u8) -> (String, Option<String>) {
        let (mut types, mut error) = (String::new(), None);
        while let Some((of, body)) = self.next().await {
            types.push(char::from(of));
            if of == b'E' {
                error = field(&body, b'C');
            }
            if of == last {
                break;
            }
        }
        (types, error)
    }
}

/// Of an error's message.
pub fn field(body: &[u8], wanted: u8) -> Option<String> {
    let mut fields = body.split(|byte| *byte == 0);
    let found = fields.find(|field| field.first() == Some(&wanted))?;
    Some(String::from_utf8(found[1..].to_vec()).unwrap())
}

/// The rows of a simple query, as text.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await;
    let messages = messages.unwrap_or_else(|e| panic!("{sql}: {}", said(&e)));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|n| row.get(n).unwrap_or("NULL"))
                .collect::<Vec<_>>()
                .join("|"),
        ),
        _ => None,
    });
    rows.collect()
}

/// SQLSTATE and message of a server's error.
pub fn said(e: &tokio_postgres::Error) -> String {
    match e.as_db_error() {
        Some(e) => format!("{}: {}", e.code().code(), e.message()),
        None => format!("not the server's: {e}"),
    }
}

pub async fn refused(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Err(e) => said(&e),
        Ok(_) => panic!("{sql} is taken"),
    }
}
