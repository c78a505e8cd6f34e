use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::startup::{self, Shared};
use super::wire::Wire;
use crate::access::audit::Origin;
use crate::engine::{Engine, Who};
use crate::serve::connections::Peer;
use crate::serve::guests::Guests;

/// This port, for any stream.
pub(in crate::serve) struct Port(Arc<Shared>);

impl Port {
    pub fn new(engine: Engine) -> Self {
        Self(Arc::new(Shared {
            guests: Guests::new(engine.clone(), false, "fuzzed"),
            engine,
            cancels: Arc::default(),
            tls: None,
            stop: CancellationToken::new(),
        }))
    }

    /// A connection from its first byte on.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, peer: Arc<Peer>) {
        let _ = startup::speak(Arc::clone(&self.0), stream, peer).await;
    }

    /// One whose client has logged in.
    pub async fn serve_as<S>(&self, stream: S, peer: Arc<Peer>, user: &str)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (shared, who) = (Arc::clone(&self.0), Who::User(user.into()));
        let parameters = [("user".to_string(), user.to_string())];
        let _ = startup::begin_as(
            shared,
            Wire::new(stream),
            peer,
            (who, Origin::default()),
            &parameters,
        )
        .await;
    }
}
