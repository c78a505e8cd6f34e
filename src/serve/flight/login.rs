use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::handles::{Handles, hex, random};

const IDLE: Duration = Duration::from_secs(24 * 3600);
const TOKENS: usize = 100_000;

/// Who calls. None: a client that did not say, from where that is allowed.
pub(super) type User = Option<Arc<str>>;

/// Decides who may call. No users are defined yet: whoever is on loopback is the administrator, under any name.
#[derive(Debug)]
pub(super) struct Login {
    /// By the token's hash: what is in memory is of no use to who reads it.
    tokens: Handles<Arc<str>>,
    /// Serve clients that are not on loopback, too.
    trust_all: bool,
}

impl Login {
    pub fn new(trust_all: bool) -> Self {
        Self {
            tokens: Handles::new(TOKENS, IDLE),
            trust_all,
        }
    }

    /// Exchange a name and password for a bearer token.
    pub fn handshake(
        &self,
        metadata: &MetadataMap,
        peer: Option<SocketAddr>,
    ) -> Result<String, Status> {
        match credentials(metadata)? {
            Some(Credentials::Basic(user)) => {
                self.admit(peer)?;
                let token = hex(&random::<32>()?);
                self.tokens.insert_at(sha256(&token)?, user.into());
                Ok(token)
            }
            _ => Err(Status::unauthenticated(
                "the handshake needs a user: send the header authorization: Basic …",
            )),
        }
    }

    /// Who makes this call.
    pub fn caller(&self, metadata: &MetadataMap, peer: Option<SocketAddr>) -> Result<User, Status> {
        match credentials(metadata)? {
            None => self.admit(peer).map(|()| None),
            Some(Credentials::Basic(user)) => self.admit(peer).map(|()| Some(user.into())),
            Some(Credentials::Bearer(token)) => match self.tokens.get(&sha256(&token)?) {
                Some(user) => Ok(Some(user)),
                None => Err(Status::unauthenticated(
                    "the token is not one of this server's, or has expired: log in again",
                )),
            },
        }
    }

    fn admit(&self, peer: Option<SocketAddr>) -> Result<(), Status> {
        let local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        if local || self.trust_all {
            return Ok(());
        }
        Err(Status::unauthenticated(
            "no users are defined, so only clients on the server's own machine are served",
        ))
    }
}

enum Credentials {
    Basic(String),
    Bearer(String),
}

fn credentials(metadata: &MetadataMap) -> Result<Option<Credentials>, Status> {
    let Some(value) = metadata.get("authorization") else {
        return Ok(None);
    };
    let malformed =
        || Status::unauthenticated("the header authorization is neither Basic nor Bearer");
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, rest) = text.split_once(' ').ok_or_else(malformed)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(Credentials::Bearer(rest.to_string())));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let decoded = base64(rest).and_then(|bytes| String::from_utf8(bytes).ok());
    let (user, _password) = decoded
        .as_deref()
        .and_then(|d| d.split_once(':'))
        .ok_or_else(malformed)?;
    if user.is_empty() {
        return Err(Status::unauthenticated("the user's name is empty"));
    }
    Ok(Some(Credentials::Basic(user.to_string())))
}

fn sha256(text: &str) -> Result<Vec<u8>, Status> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let suite = suite.ok_or_else(|| Status::internal("SHA-256 is missing in this build"))?;
    Ok(suite
        .common
        .hash_provider
        .hash(text.as_bytes())
        .as_ref()
        .to_vec())
}

/// Standard base64, its padding optional.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", text.parse().unwrap());
        metadata
    }

    #[test]
    fn a_token_is_for_who_logged_in() {
        let login = Login::new(false);
        let local = Some("127.0.0.1:9".parse().unwrap());
        let basic = header("Basic YW5hOnNlY3JldA=="); // ana:secret
        let token = login.handshake(&basic, local).unwrap();
        let caller = login
            .caller(&header(&format!("Bearer {token}")), local)
            .unwrap();
        assert_eq!(caller.as_deref(), Some("ana"));
        assert!(login.caller(&header("Bearer x"), local).is_err());
        assert!(login.caller(&header("Basic ???"), local).is_err());
        assert!(login.caller(&header("nonsense"), local).is_err());
        assert_eq!(login.caller(&MetadataMap::new(), local).unwrap(), None);
    }

    #[test]
    fn others_are_served_only_if_all_are_trusted() {
        let away = Some("192.0.2.1:9".parse().unwrap());
        assert!(Login::new(false).caller(&MetadataMap::new(), away).is_err());
        assert!(Login::new(true).caller(&MetadataMap::new(), away).is_ok());
        let mapped = Some("[::ffff:127.0.0.1]:9".parse().unwrap());
        assert!(
            Login::new(false)
                .caller(&MetadataMap::new(), mapped)
                .is_ok()
        );
    }
}
