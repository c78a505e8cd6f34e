use std::sync::Arc;

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::door::{self, Door};
use super::server::Client;
use crate::engine::Engine;
use crate::serve::connections::Peer;
use crate::serve::listen::ServeOptions;

/// This port, for any stream.
pub(in crate::serve) struct Port {
    door: Arc<Door>,
    router: Router,
}

impl Port {
    pub fn new(engine: Engine) -> Self {
        let stop = CancellationToken::new();
        let door = Arc::new(Door::new(engine, ServeOptions::default(), stop));
        let router = door::router(Arc::clone(&door));
        Self { door, router }
    }

    pub async fn serve<S>(&self, stream: S, peer: Arc<Peer>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = Client {
            door: Arc::clone(&self.door),
            router: self.router.clone(),
            stop: CancellationToken::new(),
        };
        client.speak(stream, peer).await;
    }
}
