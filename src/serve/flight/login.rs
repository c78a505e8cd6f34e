use std::net::{IpAddr, SocketAddr};

use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::access::Refused;
use crate::access::audit::Origin;
use crate::engine::Who;
use crate::serve::guests::{Guests, Said, Turned};

/// Decides who may call.
#[derive(Debug)]
pub(super) struct Login(Guests);

impl Login {
    pub fn new(guests: Guests) -> Self {
        Self(guests)
    }

    /// Exchange a name and password for a bearer token.
    pub async fn handshake(
        &self,
        metadata: &MetadataMap,
        peer: Option<SocketAddr>,
    ) -> Result<String, Status> {
        match said(metadata)? {
            said @ Said::Basic { .. } => {
                let who = self.0.who(said, ip(peer)).await.map_err(status)?;
                Ok(self.0.token(&who, ip(peer)))
            }
            _ => Err(Status::unauthenticated(
                "the handshake needs a user: send the header authorization: Basic …",
            )),
        }
    }

    /// Where a call comes from.
    pub fn origin(&self, peer: Option<SocketAddr>) -> Origin {
        self.0.origin(ip(peer))
    }

    /// Who makes this call.
    pub async fn caller(
        &self,
        metadata: &MetadataMap,
        peer: Option<SocketAddr>,
    ) -> Result<Who, Status> {
        let who = self.0.who(said(metadata)?, ip(peer)).await;
        who.map_err(status)
    }
}

fn said(metadata: &MetadataMap) -> Result<Said, Status> {
    let header = metadata.get("authorization");
    Said::read(header.map(|value| value.as_bytes())).map_err(status)
}

fn ip(peer: Option<SocketAddr>) -> Option<IpAddr> {
    peer.map(|peer| peer.ip())
}

fn status(turned: Turned) -> Status {
    let message = turned.to_string();
    match turned {
        Turned::Refused(Refused::TooMany { .. }) => Status::resource_exhausted(message),
        Turned::Failed => Status::internal(message),
        Turned::Unaudited => Status::unavailable(message),
        _ => Status::unauthenticated(message),
    }
}
