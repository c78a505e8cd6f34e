use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::args::Where;
use super::failure::{Failure, Result};
use super::password;
use crate::engine::{ApplyOptions, SqlFile};
use crate::serve::flight::client::{
    BROKEN, ConnectOptions, RemoteChange, RemoteError, RemoteSession,
};
use crate::{Engine, Error, Session};

/// What statements are sent to: an engine in this process, or a server.
#[async_trait]
pub trait Target: Send + Sync {
    /// One statement. Dropping the rows ends the work.
    async fn execute(&self, sql: &str) -> Result<Rows>;

    /// Files of definitions as one change.
    async fn apply(&self, files: Vec<SqlFile>, options: ApplyOptions) -> Result<Vec<RemoteChange>>;

    /// For people: where the statements go.
    fn describe(&self) -> String;
}

/// An answer, as it arrives.
pub struct Rows {
    pub schema: SchemaRef,
    pub stream: BoxStream<'static, Result<RecordBatch>>,
    pub notices: Vec<String>,
    /// False of a definition or SET: its answer is one row, `status`.
    pub is_query: bool,
    /// It does not end by itself: a subscription's.
    pub goes_on: bool,
}

impl Rows {
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream.try_collect().await
    }
}

/// The target the options name: a server, a data directory, or an engine that forgets.
pub async fn open(place: &Where) -> Result<Box<dyn Target>> {
    match &place.connect {
        Some(url) => Ok(Box::new(
            Remote::connect(url, place.tls_ca.as_deref()).await?,
        )),
        None => Ok(Box::new(Local::open(place.data.clone()).await?)),
    }
}

/// An engine in this process.
#[derive(Debug)]
pub struct Local {
    pub engine: Engine,
    session: Session,
    data: Option<PathBuf>,
}

impl Local {
    pub async fn open(data: Option<PathBuf>) -> Result<Self> {
        let mut builder = Engine::builder();
        if let Some(path) = &data {
            builder = builder.data_dir(path);
        }
        Ok(Self::new(builder.open().await?, data))
    }

    pub fn new(engine: Engine, data: Option<PathBuf>) -> Self {
        Self {
            session: engine.session(),
            engine,
            data,
        }
    }
}

#[async_trait]
impl Target for Local {
    async fn execute(&self, sql: &str) -> Result<Rows> {
        let answer = self
            .session
            .execute(sql)
            .await
            .map_err(|e| Failure::of(&e, sql))?;
        Ok(Rows {
            schema: answer.schema,
            stream: answer
                .stream
                .map_err(|e| Failure::from(Error::from(e)))
                .boxed(),
            notices: answer.notices,
            is_query: answer.is_query,
            goes_on: answer.goes_on,
        })
    }

    async fn apply(&self, files: Vec<SqlFile>, options: ApplyOptions) -> Result<Vec<RemoteChange>> {
        let changes = self.engine.apply(files, options).await?;
        Ok(changes.into_iter().map(RemoteChange::from).collect())
    }

    fn describe(&self) -> String {
        match &self.data {
            Some(path) => format!("definitions in {}", path.display()),
            None => "definitions are forgotten at the end (--data DIR keeps them)".to_string(),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Remote {
    session: RemoteSession,
    url: String,
}

impl Remote {
    pub async fn connect(url: &str, authority: Option<&Path>) -> Result<Self> {
        let tls_authority = match authority {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|e| {
                Failure::usage(format!(
                    "{}, given with --tls-ca, cannot be read: {e}",
                    path.display()
                ))
            })?),
        };
        let password = match user_of(url) {
            Some(user) => password_of(user)?,
            None => None,
        };
        let options = ConnectOptions {
            password,
            tls_authority,
        };
        let session = RemoteSession::connect(url, options).await.map_err(|e| {
            let failure = Failure::from(&e);
            match e.code.as_str() {
                "connection" if e.message.contains("peer certificate") => failure.help(
                    "--tls-ca FILE names the certificate of the authority that signed the server's",
                ),
                "connection" => {
                    failure.help("Is the server running? belvedere serve --data DIR starts one")
                }
                "address" => Failure::usage(&e.message),
                // What a server with TLS answers is no HTTP/2, and it hangs up: which is seen first is open.
                BROKEN if !url.starts_with("grpc+tls:") => {
                    Failure::new("the connection broke before the server had answered")
                        .help("Is it a server with TLS? Its address is grpc+tls://…")
                }
                _ => failure,
            }
        })?;
        Ok(Self {
            session,
            url: url.to_string(),
        })
    }
}

#[async_trait]
impl Target for Remote {
    async fn execute(&self, sql: &str) -> Result<Rows> {
        let answer = self.session.execute(sql).await.map_err(|e| {
            let failure = Failure::from(&e);
            match e.position {
                Some(position) => failure.at(sql, position),
                None => failure,
            }
        })?;
        Ok(Rows {
            schema: answer.schema,
            stream: answer.stream.map_err(|e| Failure::from(&e)).boxed(),
            notices: answer.notices,
            is_query: answer.is_query,
            goes_on: answer.goes_on,
        })
    }

    async fn apply(&self, files: Vec<SqlFile>, options: ApplyOptions) -> Result<Vec<RemoteChange>> {
        let files = files
            .into_iter()
            .map(|file| (file.name, file.text))
            .collect();
        self.session
            .apply(files, options)
            .await
            .map_err(|e| Failure::from(&e))
    }

    fn describe(&self) -> String {
        format!("connected to {}", self.url)
    }
}

impl From<&RemoteError> for Failure {
    fn from(e: &RemoteError) -> Self {
        let failure = Self::new(&e.message);
        match e.code.as_str() {
            "connection" | BROKEN | "unavailable" | "timeout" | "source_unreachable"
            | "source_timeout" | "source_busy" | "source_refused" => failure.transient(),
            _ => failure,
        }
    }
}

fn user_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    Some(user).filter(|user| !user.is_empty() && !user.contains(':'))
}

/// From the environment, else from the person at the terminal.
fn password_of(user: &str) -> Result<Option<String>> {
    match std::env::var("BELVEDERE_PASSWORD") {
        Ok(password) => Ok(Some(password)),
        Err(_) if std::io::stdin().is_terminal() => {
            password::ask(&format!("Password of {user}: ")).map(Some)
        }
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_an_address() {
        assert_eq!(user_of("grpc://ana@host:1"), Some("ana"));
        assert_eq!(user_of("grpc://host/x@y"), None);
        assert_eq!(user_of("grpc://@host"), None);
        assert_eq!(user_of("grpc://a:b@host"), None);
    }
}
