use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::cancel::Cancels;
use super::client::Client;
use super::login::login;
use super::messages::Opening;
use super::portals::Line;
use super::said::{self, Severity};
use super::wire::{Broken, Wire};
use crate::access::audit::Origin;
use crate::catalog::CATALOG;
use crate::engine::{Engine, Session, Who};
use crate::error::Error;
use crate::serve::connections::{Connection, Peer, TOO_MANY};
use crate::serve::guests::{Guests, Turned};

/// A client has said who it is by then.
pub(super) const BEGINNING: Duration = Duration::from_secs(30);

/// What all connections share.
pub(super) struct Shared {
    pub engine: Engine,
    pub guests: Guests,
    pub cancels: Arc<Cancels>,
    pub tls: Option<TlsAcceptor>,
    pub stop: CancellationToken,
}

/// Serve one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) -> Result<(), Broken> {
    let peer = Arc::clone(connection.peer());
    speak(shared, connection, peer).await
}

pub(super) async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    stream: S,
    peer: Arc<Peer>,
) -> Result<(), Broken> {
    let mut wire = Wire::new(stream);
    // Each is asked for once: who goes on asking says nothing else, for as long as it likes.
    let (mut asks_gss, mut asks_tls) = (false, false);
    loop {
        match opening(&mut wire).await? {
            Opening::Gss if !std::mem::replace(&mut asks_gss, true) => {
                answer(&mut wire, b"N").await?;
            }
            Opening::Tls if !std::mem::replace(&mut asks_tls, true) => {
                let Some(tls) = &shared.tls else {
                    answer(&mut wire, b"N").await?;
                    continue;
                };
                answer(&mut wire, b"S").await?;
                let accepting = tls.accept(wire.into_stream()?);
                let encrypted = tokio::time::timeout(BEGINNING, accepting).await;
                let mut wire = Wire::new(encrypted.map_err(|_| Broken::Left)??);
                let opening = opening(&mut wire).await?;
                return begin(shared, wire, peer, opening).await;
            }
            opening => {
                // Over a network, where there can be TLS there has to be.
                let is_exposed = shared.tls.is_some() && !peer.address.ip().is_loopback();
                if is_exposed && matches!(opening, Opening::Start { .. }) {
                    let message = "this server takes encrypted connections alone: sslmode=require";
                    said::fatal(&mut wire.out, "28000", message);
                    return wire.send().await;
                }
                return begin(shared, wire, peer, opening).await;
            }
        }
    }
}

async fn opening<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<Opening, Broken> {
    let read = tokio::time::timeout(BEGINNING, wire.opening()).await;
    let body = read.map_err(|_| Broken::Left)??;
    match Opening::read(body) {
        Ok(opening) => Ok(opening),
        Err(malformed) => {
            said::fatal(&mut wire.out, malformed.sqlstate(), &malformed.to_string());
            wire.send().await?;
            Err(Broken::Left)
        }
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    byte: &[u8],
) -> Result<(), Broken> {
    wire.stream_mut().write_all(byte).await?;
    Ok(wire.stream_mut().flush().await?)
}

async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut wire: Wire<S>,
    peer: Arc<Peer>,
    opening: Opening,
) -> Result<(), Broken> {
    let (minor, parameters) = match opening {
        Opening::Start { minor, parameters } => (minor, parameters),
        Opening::Cancel { process, secret } => {
            shared.cancels.cancel(process, secret);
            return Ok(());
        }
        Opening::Version(major, minor) => {
            let message =
                format!("version {major}.{minor} of the protocol is not spoken here: 3.0 is");
            said::fatal(&mut wire.out, "0A000", &message);
            return wire.send().await;
        }
        Opening::Tls | Opening::Gss => {
            let message = "encryption has been asked for before";
            said::fatal(&mut wire.out, "08P01", message);
            return wire.send().await;
        }
    };
    if peer.is_turned_away {
        said::fatal(&mut wire.out, "53300", TOO_MANY);
        return wire.send().await;
    }
    // Options that begin so are asked for, and may be answered with no.
    let (unknown, parameters): (Vec<_>, Vec<_>) = parameters
        .into_iter()
        .partition(|(name, _)| name.starts_with("_pq_."));
    if minor > 0 || !unknown.is_empty() {
        let unknown: Vec<&str> = unknown.iter().map(|(name, _)| name.as_str()).collect();
        wire.out.negotiate(&unknown);
    }
    let user = match user(&parameters) {
        Ok(user) => user,
        Err(e) => {
            said::error(&mut wire.out, Severity::Fatal, &e, None);
            return wire.send().await;
        }
    };
    let origin = shared.guests.origin(Some(peer.address.ip()));
    let who = match shared.guests.anybody(Some(peer.address.ip())) {
        Ok(who) => who,
        Err(Turned::Login) => {
            match Box::pin(login(&mut wire, &shared.engine, &peer, user, origin)).await? {
                Some(who) => who,
                None => return Ok(()),
            }
        }
        Err(turned) => {
            said::fatal(&mut wire.out, "28000", &turned.to_string());
            return wire.send().await;
        }
    };
    peer.is_let_in();
    begin_as(shared, wire, peer, (who, origin), &parameters).await
}

/// Who it is is known, and from where.
pub(super) async fn begin_as<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut wire: Wire<S>,
    peer: Arc<Peer>,
    (who, origin): (Who, Origin),
    parameters: &[(String, String)],
) -> Result<(), Broken> {
    let session = shared.engine.open_session(who);
    let session = session.and_then(|session| {
        let session = session.coming_from(origin);
        configure(&session, parameters)?;
        Ok(session)
    });
    let session = match session {
        Ok(session) => session,
        Err(e) => {
            said::error(&mut wire.out, Severity::Fatal, &e, None);
            return wire.send().await;
        }
    };
    wire.out.authentication_ok();
    let line = Line {
        wire,
        cancel: shared.cancels.enter(),
    };
    // In a box: it is large, and would be a part of each future around it.
    let serving = Client::new(line, session, peer).serve(shared.stop.clone());
    Box::pin(serving).await
}

fn given<'a>(parameters: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    let mut all = parameters.iter();
    let found = all.find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.as_str())
}

fn user(parameters: &[(String, String)]) -> Result<&str, Error> {
    let user = given(parameters, "user").filter(|user| !user.is_empty());
    user.ok_or_else(|| Error::Protocol {
        message: "the client does not say which user it is".to_string(),
        sqlstate: "28000",
    })
}

fn configure(session: &Session, parameters: &[(String, String)]) -> Result<(), Error> {
    let given = |wanted: &str| given(parameters, wanted);
    let user = user(parameters)?;
    // A client that is told no database names the one that is called as its user.
    let database = given("database").unwrap_or(user);
    if database != CATALOG && database != user {
        return Err(Error::Protocol {
            message: format!(
                "database {database} does not exist: the one that is here is {CATALOG}"
            ),
            sqlstate: "3D000",
        });
    }
    if given("replication").is_some_and(|value| !matches!(value, "false" | "off" | "no" | "0")) {
        return Err(Error::NotInThisVersion {
            what: "replication from here".to_string(),
        });
    }
    session.as_one_database();
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value)? {
                    session.set(&name.to_ascii_lowercase(), &value)?;
                }
            }
            name => session.set(&name.to_ascii_lowercase(), value)?,
        }
    }
    Ok(())
}

/// `-c name=value --name=value`, in which `\ ` is a blank of a value.
fn options(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let last = words.len() - 1;
        match c {
            '\\' => words[last].extend(chars.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => words[last].push(c),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.as_str() {
            "-c" => words.next(),
            word => word
                .strip_prefix("--")
                .or_else(|| word.strip_prefix("-c"))
                .map(str::to_string),
        };
        let pair = setting
            .as_deref()
            .and_then(|setting| setting.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            Error::invalid_with_help(
                format!("{word} is no option of a connection"),
                "Write -c name=value",
            )
        })?;
        settings.push((name.replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let read =
            options("-c search_path=erp,\\ public --max-staleness=5s -cpushdown=off").unwrap();
        let expected = [
            ("search_path", "erp, public"),
            ("max_staleness", "5s"),
            ("pushdown", "off"),
        ];
        let expected = expected.map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(read, expected);
        assert!(options("-x").is_err());
    }
}
