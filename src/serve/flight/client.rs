//! The other end: a session on a running server, for `--connect`.

use std::time::Duration;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{Action, Ticket};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use url::Url;

pub use super::apply::RemoteChange;
use super::apply::{APPLY, File, Reply, Request};
use super::options::{self, GetResult, OptionValue, SetRequest, SetResult};
use super::server::causes;
use super::sql::{KIND, NOTICE, SUBSCRIPTION};
use super::status::{CODE, POSITION, SQLSTATE};

const DEFAULT_PORT: u16 = 50051;
/// A row is a message of its own if it is large.
const MESSAGE_BYTES: usize = 1 << 30;

pub type Result<T, E = RemoteError> = std::result::Result<T, E>;

/// What went wrong, in the server's words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    pub message: String,
    /// The engine's stable code (`unknown_name`, `parse`), `connection` if the server was not reached, `address` if
    /// the address is none, else gRPC's.
    pub code: String,
    pub sqlstate: Option<String>,
    /// Line and column in the statement's text, from 1, where known.
    pub position: Option<(u64, u64)>,
}

/// How to connect.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    pub password: Option<String>,
    /// The certificate (PEM) of the authority that signed the server's, for `grpc+tls`. None: those of this machine.
    pub tls_authority: Option<Vec<u8>>,
}

/// A session on a server. Clones share it.
#[derive(Debug, Clone)]
pub struct RemoteSession {
    client: FlightSqlServiceClient<Channel>,
}

/// What a statement answered. Dropping it ends the work.
pub struct RemoteAnswer {
    pub schema: SchemaRef,
    pub stream: BoxStream<'static, Result<RecordBatch>>,
    /// What the user should know, besides the rows.
    pub notices: Vec<String>,
    /// False of a definition or SET: its answer is one row, `status`.
    pub is_query: bool,
    /// It does not end by itself: a subscription's.
    pub goes_on: bool,
}

impl RemoteSession {
    /// Connect to `grpc[+tls]://[user@]host[:port]` and open a session.
    pub async fn connect(url: &str, options: ConnectOptions) -> Result<Self> {
        let target = Target::parse(url)?;
        let channel = target.channel(options.tls_authority).await?;
        let inner = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
        let mut client = FlightSqlServiceClient::new_from_inner(inner);
        if let Some(user) = &target.user {
            let password = options.password.unwrap_or_default();
            client.handshake(user, &password).await?;
        }
        let mut session = Self { client };
        session.open().await?;
        Ok(session)
    }

    /// Setting nothing opens a session; its cookie goes with every call.
    async fn open(&mut self) -> Result<()> {
        let body = SetRequest::default().encode_to_vec();
        let mut request = tonic::Request::new(Action::new(options::SET, body));
        if let Some(token) = self.client.token() {
            let header = format!("Bearer {token}").parse();
            let header = header.map_err(|_| failed("the server's token is not ASCII"))?;
            request.metadata_mut().insert("authorization", header);
        }
        let response = self.client.inner_mut().do_action(request).await?;
        let cookie = response
            .metadata()
            .get("set-cookie")
            .and_then(|c| c.to_str().ok());
        let cookie = cookie.and_then(|c| c.split(';').next()).map(str::to_string);
        let cookie =
            cookie.ok_or_else(|| failed("the server opened no session: it is not Belvedere"))?;
        self.client.set_header("cookie", cookie);
        Ok(())
    }

    /// Execute one statement. Rows stream as they arrive.
    pub async fn execute(&self, sql: &str) -> Result<RemoteAnswer> {
        let mut client = self.client.clone();
        let info = client.execute(sql.to_string(), None).await?;
        let ticket = info.endpoint.first().and_then(|e| e.ticket.clone());
        let ticket: Ticket = ticket.ok_or_else(|| failed("the server's answer has no ticket"))?;
        let schema = info.try_decode_schema().map_err(FlightError::from)?;
        let stream: FlightRecordBatchStream = client.do_get(ticket).await?;
        let headers = stream.headers();
        let notices = headers.get_all_bin(NOTICE).iter();
        let notices =
            notices.filter_map(|notice| String::from_utf8(notice.to_bytes().ok()?.to_vec()).ok());
        Ok(RemoteAnswer {
            schema: schema.into(),
            notices: notices.collect(),
            goes_on: headers.get(KIND).is_some_and(|kind| kind == SUBSCRIPTION),
            is_query: headers.get(KIND).is_none_or(|kind| kind != "definition"),
            stream: stream.map_err(RemoteError::from).boxed(),
        })
    }

    /// Set a setting of this session.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        let options = [(name.to_string(), OptionValue::text(value))].into();
        let body = self
            .action(options::SET, SetRequest { options }.encode_to_vec())
            .await?;
        let result = SetResult::decode(&*body).map_err(|e| failed(&e.to_string()))?;
        match options::explained(&result) {
            None => Ok(()),
            Some(message) => Err(RemoteError {
                code: "invalid".into(),
                ..failed(&message)
            }),
        }
    }

    /// Name and value of each setting of this session, by name.
    pub async fn settings(&self) -> Result<Vec<(String, String)>> {
        let body = self.action(options::GET, Vec::new()).await?;
        let result = GetResult::decode(&*body).map_err(|e| failed(&e.to_string()))?;
        let values = result.options.into_iter();
        let mut settings: Vec<_> = values
            .map(|(name, value)| (name, value.into_text().unwrap_or_default()))
            .collect();
        settings.sort();
        Ok(settings)
    }

    /// Apply (or, with `check_only`, check) files of definitions, (name, text) each, as one change.
    pub async fn apply(
        &self,
        files: Vec<(String, String)>,
        options: crate::engine::ApplyOptions,
    ) -> Result<Vec<RemoteChange>> {
        let request = Request {
            files: files
                .into_iter()
                .map(|(name, text)| File { name, text })
                .collect(),
            prune: options.prune,
            check_only: options.check_only,
            strict: options.strict,
        };
        let body = serde_json::to_vec(&request).map_err(|e| failed(&e.to_string()))?;
        let reply = self.action(APPLY, body).await?;
        let reply: Reply = serde_json::from_slice(&reply).map_err(|e| failed(&e.to_string()))?;
        Ok(reply.changes)
    }

    /// End the session at the server.
    pub async fn close(self) -> Result<()> {
        self.action(options::CLOSE, Vec::new()).await.map(|_| ())
    }

    async fn action(&self, name: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        let mut client = self.client.clone();
        let mut results = client.do_action(Action::new(name, body)).await?;
        let result = results.message().await?;
        Ok(result
            .map(|result| result.body.to_vec())
            .unwrap_or_default())
    }
}

impl std::fmt::Debug for RemoteAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteAnswer")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// A server's address.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    user: Option<String>,
    address: String,
    tls: bool,
}

impl Target {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let message = format!("'{text}' is not an address like grpc://127.0.0.1:50051: {why}");
            RemoteError {
                code: "address".to_string(),
                ..failed(&message)
            }
        };
        let tls = match text.split_once("://") {
            Some(("grpc" | "grpc+tcp", _)) => false,
            Some(("grpc+tls" | "grpcs", _)) => true,
            _ => return Err(wrong("it begins with grpc:// or grpc+tls://")),
        };
        let url = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
        if url.password().is_some() {
            return Err(failed(
                "a password does not belong in the address, where others can read it",
            ));
        }
        let host = url
            .host_str()
            .filter(|h| !h.is_empty())
            .ok_or_else(|| wrong("it has no host"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(wrong("nothing follows the port"));
        }
        let scheme = if tls { "https" } else { "http" };
        let user = percent_decoded(url.username()).ok_or_else(|| wrong("its user is not text"))?;
        Ok(Self {
            user: Some(user).filter(|user| !user.is_empty()),
            address: format!("{scheme}://{host}:{}", url.port().unwrap_or(DEFAULT_PORT)),
            tls,
        })
    }

    /// Host and port.
    fn authority(&self) -> &str {
        self.address
            .split_once("://")
            .map_or(&self.address, |(_, authority)| authority)
    }

    async fn channel(&self, authority: Option<Vec<u8>>) -> Result<Channel> {
        let unreachable = |e: tonic::transport::Error| RemoteError {
            code: "connection".to_string(),
            ..failed(&format!(
                "cannot connect to {}: {}",
                self.authority(),
                causes(&e)
            ))
        };
        let mut endpoint = Endpoint::from_shared(self.address.clone())
            .map_err(unreachable)?
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(8 << 20);
        if self.tls {
            crate::serve::certificates::choose_cryptography();
            let mut tls = ClientTlsConfig::new().with_enabled_roots();
            if let Some(pem) = authority {
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(unreachable)?;
        }
        endpoint.connect().await.map_err(unreachable)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        let code = digit(rest.next())? * 16 + digit(rest.next())?;
        bytes.push(u8::try_from(code).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The code of a [`RemoteError`]: the connection broke, or what came over it was no gRPC.
pub const BROKEN: &str = "broken_connection";

fn failed(message: &str) -> RemoteError {
    RemoteError {
        message: message.to_string(),
        code: "protocol".to_string(),
        sqlstate: None,
        position: None,
    }
}

impl From<Status> for RemoteError {
    fn from(status: Status) -> Self {
        let text = |name: &str| {
            let value = status
                .metadata()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.map(str::to_string)
        };
        let position = text(POSITION).and_then(|position| {
            let (line, column) = position.split_once(':')?;
            Some((line.parse().ok()?, column.parse().ok()?))
        });
        let message = match status.message() {
            "" => format!("the server answered: {}", status.code().description()),
            message => message.to_string(),
        };
        // A cause is on this side of the wire: no server has answered with this status.
        let code = match std::error::Error::source(&status) {
            Some(_) => BROKEN.to_string(),
            None => text(CODE).unwrap_or_else(|| format!("{:?}", status.code()).to_lowercase()),
        };
        Self {
            message,
            code,
            sqlstate: text(SQLSTATE),
            position,
        }
    }
}

impl From<FlightError> for RemoteError {
    fn from(e: FlightError) -> Self {
        match e {
            FlightError::Tonic(status) => Self::from(*status),
            other => failed(&other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let target = |text: &str| Target::parse(text).map_err(|e| e.message);
        let plain = target("grpc://127.0.0.1:5000").unwrap();
        assert_eq!((plain.user, plain.tls), (None, false));
        assert_eq!(plain.address, "http://127.0.0.1:5000");
        let user = target("grpc+tls://ana%40x@host").unwrap();
        assert_eq!(user.user.as_deref(), Some("ana@x"));
        assert_eq!(
            (user.address.as_str(), user.tls),
            ("https://host:50051", true)
        );
        for wrong in [
            "127.0.0.1:5000",
            "http://host",
            "grpc://",
            "grpc://u:p@host",
            "grpc://host/x",
        ] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
