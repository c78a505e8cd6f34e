//! The same statement by each protocol, as a real client sends it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::model::{DEFINITIONS, OWN};

#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    Postgres,
    Flight,
    Http,
    Shell,
}

impl Protocol {
    pub const ALL: [Self; 4] = [Self::Postgres, Self::Flight, Self::Http, Self::Shell];

    /// The shell, which is a process for each statement, speaks by Flight: some users are enough.
    pub fn is_for(self, user: &str) -> bool {
        !matches!(self, Self::Shell) || matches!(user, "root" | "ruled" | "columns" | "nobody")
    }
}

/// A statement that failed. Of the shell there is no code.
#[derive(Debug)]
pub struct Failed {
    pub code: Option<String>,
    pub message: String,
}

impl Failed {
    pub fn says_not_there(&self) -> bool {
        match self.code.as_deref() {
            Some(code) => matches!(code, "42P01" | "42704" | "42703"),
            None => {
                self.message.contains("does not exist") || self.message.contains("No field named")
            }
        }
    }

    pub fn says_denied(&self) -> bool {
        match self.code.as_deref() {
            Some(code) => code == "42501",
            None => [
                "you do not have",
                "is another's",
                "only superusers",
                "policies or masks",
                "you do not see",
                "you may not know",
            ]
            .iter()
            .any(|words| self.message.contains(words)),
        }
    }
}

/// A running server, which ends with this.
pub struct Served {
    process: Child,
    flight: u16,
    postgres: u16,
    http: u16,
    folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Served {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shop = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
        for table in ["zqstaff", "xwother"] {
            shop.execute_batch(&format!(
                "CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT, zqpay INTEGER, region TEXT);
                 INSERT INTO {table} VALUES (1, 'Ada', 70, 'EMEA'), (2, 'Bo', 30, 'APAC')"
            ))
            .unwrap();
        }
        drop(shop);
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        let mut process = command
            .args(["serve", "--data", "data", "--flight", "127.0.0.1:0"])
            .args(["--postgres", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ports = ["grpc://", "postgresql://", "http://"].map(|scheme| {
            let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
                let address = line
                    .split(scheme)
                    .nth(1)?
                    .split(['/', ' '])
                    .next()?
                    .to_string();
                address.split(':').nth(1)?.parse::<u16>().ok()
            });
            port.expect("it says where it listens")
        });
        std::thread::spawn(move || lines.for_each(drop));
        let [flight, postgres, http] = ports;
        let served = Self {
            process,
            flight,
            postgres,
            http,
            folder,
        };
        let mut administrator = served.postgres("nobody_yet").await;
        let place = format!("sqlite:{}/shop.db", served.folder.path().display());
        for sql in DEFINITIONS {
            let sql = sql.replace("sqlite:shop.db", &place);
            let done = administrator.batch_execute(&sql).await;
            done.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            // From then on everybody logs in.
            if sql.starts_with("CREATE USER root") {
                administrator = served.postgres("root").await;
            }
        }
        let owner = served.postgres("owner").await;
        owner.batch_execute(OWN).await.unwrap();
        served
    }

    async fn postgres(&self, user: &str) -> tokio_postgres::Client {
        let address = format!(
            "host=127.0.0.1 port={} user={user} password={user} dbname=belvedere",
            self.postgres
        );
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// A client that has logged in. Passwords are as the users.
    pub async fn client(&self, protocol: Protocol, user: &str) -> Client {
        match protocol {
            Protocol::Postgres => Client::Postgres(self.postgres(user).await),
            Protocol::Flight => {
                let address = format!("http://127.0.0.1:{}", self.flight);
                let channel = Endpoint::from_shared(address)
                    .unwrap()
                    .connect()
                    .await
                    .unwrap();
                let mut client = FlightSqlServiceClient::new(channel);
                client.handshake(user, user).await.unwrap();
                Client::Flight(tokio::sync::Mutex::new(Box::new(client)))
            }
            Protocol::Http => Client::Http {
                client: reqwest::Client::new(),
                url: format!("http://127.0.0.1:{}/v1/sql", self.http),
                user: user.to_string(),
            },
            Protocol::Shell => Client::Shell {
                url: format!("grpc://{user}@127.0.0.1:{}", self.flight),
                user: user.to_string(),
                folder: self.folder.path().to_path_buf(),
            },
        }
    }
}

pub enum Client {
    Postgres(tokio_postgres::Client),
    Flight(tokio::sync::Mutex<Box<FlightSqlServiceClient<Channel>>>),
    Http {
        client: reqwest::Client,
        url: String,
        user: String,
    },
    Shell {
        url: String,
        user: String,
        folder: std::path::PathBuf,
    },
}

impl Client {
    pub async fn ask(&self, sql: &str) -> Result<(), Failed> {
        match self {
            Self::Postgres(client) => client.simple_query(sql).await.map(drop).map_err(|e| {
                let e = e.as_db_error().expect("the server has answered");
                Failed {
                    code: Some(e.code().code().to_string()),
                    message: format!("{} {:?}", e.message(), e.hint()),
                }
            }),
            Self::Flight(client) => {
                let mut client = client.lock().await;
                by_flight(&mut client, sql).await.map_err(|status| Failed {
                    code: status
                        .metadata()
                        .get("belvedere-sqlstate")
                        .map(|code| code.to_str().unwrap().to_string()),
                    message: status.message().to_string(),
                })
            }
            Self::Http { client, url, user } => {
                let request = client.post(url).basic_auth(user, Some(user));
                let request = request.header("content-type", "application/json");
                let said = request
                    .body(json!({ "sql": sql }).to_string())
                    .send()
                    .await
                    .unwrap();
                let is_ok = said.status().is_success();
                let text = said.text().await.unwrap();
                if is_ok {
                    return Ok(());
                }
                let problem: Value = serde_json::from_str(&text).unwrap();
                Err(Failed {
                    code: problem["sqlstate"].as_str().map(ToString::to_string),
                    message: format!("{} {}", problem["detail"], problem["help"]),
                })
            }
            Self::Shell { url, user, folder } => {
                let output = Command::new(env!("CARGO_BIN_EXE_belvedere"))
                    .args(["sql", "--connect", url, "-c", sql])
                    .env("BELVEDERE_PASSWORD", user)
                    .current_dir(folder)
                    .stdin(Stdio::null())
                    .output();
                let output = tokio::task::block_in_place(|| output).unwrap();
                match output.status.success() {
                    true => Ok(()),
                    false => Err(Failed {
                        code: None,
                        message: String::from_utf8_lossy(&output.stderr).into_owned(),
                    }),
                }
            }
        }
    }
}

async fn by_flight(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> Result<(), Status> {
    let info = client.execute(sql.to_string(), None).await;
    for endpoint in info.map_err(Status::from)?.endpoint {
        let ticket = endpoint.ticket.expect("an endpoint has a ticket");
        let stream = client.do_get(ticket).await.map_err(Status::from)?;
        stream
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(Status::from)?;
    }
    Ok(())
}
