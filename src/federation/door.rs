use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use belvedere_connector::{Door, Error, Spent, StatementContext};

use super::gate::Place;
use super::provider::{Probe, SourceHandle};

/// What the requests of a source's own table providers pass: its gate and its breaker.
#[derive(Debug)]
pub struct SourceDoor(pub Arc<SourceHandle>);

#[async_trait]
impl Door for SourceDoor {
    async fn enter(&self, statement: &StatementContext) -> Result<Box<dyn Send>, Error> {
        let Self(handle) = self;
        handle.reachable()?;
        let until = handle.patience(statement);
        let entered = handle.gate.enter(statement.asker, 1, until).await;
        let places = entered.map_err(|e| e.at_source(&handle.name))?;
        // What failed while this one waited may have been the last.
        let probe = handle.admit()?;
        Ok(Box::new(Request {
            begun: Instant::now(),
            source: handle.name.clone(),
            spent: statement.spent.clone(),
            _right: (places, probe),
        }))
    }

    fn contacted(&self, error: Option<&Error>) {
        self.0.contacted(error);
    }
}

/// One request. The source has been at work for the statement when it is dropped.
struct Request {
    begun: Instant,
    source: String,
    spent: Arc<Spent>,
    _right: (Vec<Place>, Option<Probe>),
}

impl Drop for Request {
    fn drop(&mut self) {
        self.spent.add(&self.source, self.begun.elapsed());
    }
}
