//! The ports as fuzz targets (`fuzz/`) reach them: over memory in place of a network. For those alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::sync::CancellationToken;

use super::connections::Peer;
use super::guests::{Guests, Said};
use super::{flight, http, postgres};
use crate::access::Exchange;
use crate::engine::{Engine, Who};

/// What is on its way.
const LINE_BYTES: usize = 64 << 10;
/// A client that has said all it has to waits for so long for the next answer, and leaves.
const QUIET: Duration = Duration::from_millis(10);
/// A statement may go on for longer; nobody waits for it then.
const LIMIT: Duration = Duration::from_secs(2);
/// Of an answer, what is looked at.
const KEPT_BYTES: usize = 64 << 10;

/// The ports of one engine.
pub struct Ports {
    postgres: postgres::fuzzing::Port,
    flight: flight::fuzzing::Port,
    http: http::fuzzing::Port,
    user: String,
    token: String,
}

impl Ports {
    /// `user` is whom clients have logged in as where it is said that they have.
    pub fn new(engine: &Engine, user: &str) -> Self {
        let guests = Guests::new(engine.clone(), false, "fuzzed");
        Self {
            postgres: postgres::fuzzing::Port::new(engine.clone()),
            flight: flight::fuzzing::Port::new(engine.clone()),
            http: http::fuzzing::Port::new(engine.clone()),
            token: guests.token(&Who::User(user.into()), None),
            user: user.to_string(),
        }
    }

    /// A token of the user's.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What a client of PostgreSQL's port is told that says this and no more.
    pub async fn postgres(&self, says: &[u8]) -> Vec<u8> {
        talk(says, |line| self.postgres.serve(line, peer())).await
    }

    /// The same, from where it has logged in on.
    pub async fn postgres_inside(&self, says: &[u8]) -> Vec<u8> {
        talk(says, |line| {
            self.postgres.serve_as(line, peer(), &self.user)
        })
        .await
    }

    pub async fn http(&self, says: &[u8]) -> Vec<u8> {
        talk(says, |line| self.http.serve(line, peer())).await
    }

    pub async fn flight(&self, says: &[u8]) -> Vec<u8> {
        talk(says, |line| self.flight.serve(line, peer())).await
    }

    /// A call of Flight SQL by the user, of a method and with a message that are told by bytes.
    pub async fn call(&self, method: u8, message: &[u8]) {
        let call = self.flight.call(&self.token, method, message);
        let _ = tokio::time::timeout(LIMIT, call).await;
    }
}

/// The header `authorization`: the user of a login by password.
pub fn authorization(header: &[u8]) -> Option<(String, String)> {
    match Said::read(Some(header)) {
        Ok(Said::Basic { user, password }) => Some((user, password)),
        Ok(Said::Nothing | Said::Bearer(_)) | Err(_) => None,
    }
}

/// Whether a client is let in that says this, one message after the other, where the server's part of the nonce is known to it.
pub fn scram(verifier: &str, nonce: &str, first: &[u8], last: &[u8]) -> bool {
    let Ok(verifier) = verifier.parse() else {
        return false;
    };
    let exchange = Exchange::begin_with(verifier, first, nonce);
    let ended = exchange.and_then(|exchange| exchange.end(last));
    ended.is_ok_and(|proof| proof.is_some())
}

fn peer() -> Arc<Peer> {
    let here = SocketAddr::from(([127, 0, 0, 1], 1));
    Arc::new(Peer::new(here, false, CancellationToken::new()))
}

async fn talk<F: Future<Output = ()>>(
    says: &[u8],
    serve: impl FnOnce(DuplexStream) -> F,
) -> Vec<u8> {
    let (client, server) = duplex(LINE_BYTES);
    let (mut read, mut write) = tokio::io::split(client);
    let mut told = Vec::new();
    let client = async {
        let saying = async {
            let _ = write.write_all(says).await;
        };
        let listening = async {
            let mut some = vec![0; 4 << 10];
            while let Ok(Ok(bytes @ 1..)) = tokio::time::timeout(QUIET, read.read(&mut some)).await
            {
                let room = KEPT_BYTES.saturating_sub(told.len());
                told.extend_from_slice(&some[..bytes.min(room)]);
            }
        };
        futures::join!(saying, listening);
        let _ = write.shutdown().await;
    };
    let both = async { futures::join!(Box::pin(serve(server)), client) };
    let _ = tokio::time::timeout(LIMIT, both).await;
    told
}
