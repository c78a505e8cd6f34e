//! How the engine is, in numbers: what whoever watches it from outside wants to know.

use std::time::Duration;

use super::log::Counted;
use super::world::Inner;
use crate::federation::{BreakerState, Health};
use crate::freshness::Counts;

/// At one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    pub statements: Counted,
    pub sources: Vec<SourceFigures>,
    pub views: Vec<ViewFigures>,
    pub results: Counts,
    pub subscriptions: usize,
    /// Bytes that statements hold now.
    pub statement_bytes: usize,
    /// Bytes of what is kept by change, and how many there may be.
    pub kept_bytes: usize,
    pub kept_limit: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct SourceFigures {
    pub name: String,
    pub connector: &'static str,
    /// None: it was not asked yet.
    pub is_up: Option<bool>,
    /// `closed`, `half-open`, `open`.
    pub breaker: &'static str,
    pub running: usize,
    pub waiting: usize,
    pub max_connections: Option<usize>,
}

/// Of a materialized view.
#[derive(Debug)]
pub(crate) struct ViewFigures {
    pub schema: String,
    pub name: String,
    pub state: &'static str,
    pub rows: Option<u64>,
    pub age: Option<Duration>,
    pub max_staleness: Option<Duration>,
    pub bytes: Option<usize>,
}

impl Figures {
    pub(super) fn of(inner: &Inner) -> Self {
        let world = inner.world();
        let sources = world.live.iter().map(|(name, live)| SourceFigures {
            name: name.clone(),
            connector: live.connector,
            is_up: match live.handle.health() {
                Health::Unknown => None,
                Health::Up => Some(true),
                Health::Down(_) => Some(false),
            },
            breaker: match live.handle.breaker() {
                BreakerState::Closed { .. } => "closed",
                BreakerState::HalfOpen { .. } => "half-open",
                BreakerState::Open { .. } => "open",
            },
            running: live.handle.gate.running(),
            waiting: live.handle.gate.waiting(),
            max_connections: Some(live.handle.source.max_streams())
                .filter(|most| *most < usize::MAX),
        });
        let shelves = inner.views.shelves();
        let shelf = shelves.newest();
        let views = world.definitions.views.values().filter_map(|view| {
            let kept = view.materialized.as_ref()?;
            let shown = shelf.get(&view.id())?;
            let contract = crate::views::Contract::new(&kept.options).ok();
            Some(ViewFigures {
                schema: view.schema.clone(),
                name: view.name.clone(),
                state: shown.state.name(),
                rows: shown.content.as_ref().map(|content| content.row_count()),
                age: shelves.age(&shown.as_of),
                max_staleness: contract.and_then(|contract| contract.max_staleness),
                bytes: shown.bytes(),
            })
        });
        Self {
            statements: inner.log.counted(),
            sources: sources.collect(),
            views: views.collect(),
            results: inner.results.counts(),
            subscriptions: inner.views.subscribers.all().len(),
            statement_bytes: inner.state.runtime_env().memory_pool.reserved(),
            kept_bytes: inner.views.memory.used(),
            kept_limit: inner.views.memory.limit(),
        }
    }
}
