use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::Capture;

use super::table::{Definition, Fill, Kind, Rows, Value, always, maybe, row};
use crate::catalog::{ObjectId, SYSTEM};
use crate::engine::names::Names;
use crate::federation::{BreakerState, Gate, Health};
use crate::views::AsOf;

/// Sources, how they are, and who answers for them.
pub(super) const SOURCES: Definition = Definition {
    schema: SYSTEM,
    name: "sources",
    columns: &[
        always("name", Kind::Text),
        always("connector", Kind::Text),
        always("url", Kind::Text),
        always("state", Kind::Text),
        maybe("error", Kind::Text),
        // closed: it is asked; open: it is left alone until then; half-open: one query tries.
        always("breaker", Kind::Text),
        maybe("retry_at", Kind::Instant),
        // Streams that are read now, at most at once; scans that wait for one.
        always("running", Kind::Count),
        maybe("max_connections", Kind::Count),
        maybe("max_concurrent_fragments", Kind::Count),
        always("waiting", Kind::Count),
        maybe("queue_timeout_ms", Kind::Count),
        maybe("statement_timeout_ms", Kind::Count),
        maybe("memory_limit", Kind::Count),
        maybe("retries", Kind::Count),
        always("tables", Kind::Count),
        // The user who has defined it. NULL: the administrator.
        maybe("definer", Kind::Text),
        maybe("owner", Kind::Text),
        maybe("contact", Kind::Text),
        maybe("event", Kind::Text),
        maybe("impact", Kind::Text),
        maybe("runbook", Kind::Text),
        maybe("comment", Kind::Text),
        maybe("discovered_at", Kind::Instant),
        // How finely it tells what changes: transactional, snapshot, per row; or why it does not, and what to do.
        maybe("changes", Kind::Text),
        maybe("changes_problem", Kind::Text),
        // How far what is kept of it is behind: by its log, where it tells; by the clock. When its log was let go last.
        maybe("lag_bytes", Kind::Count),
        maybe("lag_ms", Kind::Count),
        maybe("max_lag", Kind::Count),
        maybe("let_go_at", Kind::Instant),
        // What is in memory of its tables, for what is kept by change.
        maybe("memory_bytes", Kind::Count),
    ],
    rows: Fill::Known(rows),
};

/// What each source was declared to be the source of truth of.
pub(super) const OWNERSHIP: Definition = Definition {
    schema: SYSTEM,
    name: "ownership",
    columns: &[
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("table", Kind::Text),
        always("column", Kind::Text),
        maybe("owner", Kind::Text),
        maybe("contact", Kind::Text),
    ],
    rows: Fill::Known(ownership),
};

fn rows(names: &Names, rows: &mut Rows) {
    let definitions = &names.world.definitions;
    for source in definitions.sources.values() {
        let live = names.world.live.get(&source.name);
        // Where it is, and how it fails, is for who has defined it.
        let id = ObjectId::new([&source.name]);
        let is_own = names.world.permits_all("source", &id).is_ok();
        let health = live.map(|l| l.handle.health()).unwrap_or_default();
        let (state, error) = match health {
            Health::Unknown => ("unknown", None),
            Health::Up => ("ok", None),
            Health::Down(error) => ("down", Some(error)),
        };
        let gate = live.map(|l| l.handle.gate.as_ref());
        let limits = live.map(|l| &l.handle.limits);
        let (breaker, retry_at) = live.map_or(("closed", None), |l| breaker(l.handle.breaker()));
        let connections = live.map(|l| l.handle.source.max_streams());
        let ms = |limit: Option<Duration>| limit.map(|limit| limit.as_millis() as u64);
        let (changes, problem) = match live.map(|live| live.followed.capture()) {
            Some(Capture::Transactional) => (Some("transactional"), None),
            Some(Capture::Snapshot) => (Some("snapshot"), None),
            Some(Capture::PerRow) => (Some("per row"), None),
            Some(Capture::None(reason)) => (None, Some(reason)),
            None => (None, None),
        };
        let shelves = names.inner.views.shelves();
        let kept = shelves.log_kept(&source.name);
        let age = shelves.age(&AsOf::Following(Arc::from([source.name.clone()])));
        let about = &source.about;
        let discovery = definitions.discoveries.get(&source.name);
        rows.push(row![
            &source.name,
            live.map_or("", |l| l.connector),
            &source.url,
            state,
            error.filter(|_| is_own),
            breaker,
            retry_at,
            gate.map_or(0, Gate::running) as u64,
            connections
                .filter(|most| *most < usize::MAX)
                .map(|most| most as u64),
            gate.and_then(Gate::most).map(|most| most as u64),
            gate.map_or(0, Gate::waiting) as u64,
            limits.and_then(|limits| ms(limits.queue_timeout)),
            limits.and_then(|limits| ms(limits.statement_timeout)),
            limits
                .and_then(|limits| limits.memory_limit)
                .map(|limit| limit as u64),
            limits.map(|limits| u64::from(limits.retries)),
            definitions.tables(&source.name).len() as u64,
            &source.definer,
            &about.owner,
            &about.contact,
            &about.event,
            &about.impact,
            &about.runbook,
            &source.comment,
            discovery.map(|d| Value::Instant(d.at_us)),
            changes,
            problem.filter(|_| is_own),
            kept.bytes,
            ms(age),
            limits.and_then(|limits| limits.max_lag),
            kept.let_go.map(|at| Value::Instant(at.timestamp_micros())),
            shelves.bytes(&source.name).map(|bytes| bytes as u64),
        ]);
    }
}

/// What it is called, and when the next query tries.
fn breaker(state: BreakerState) -> (&'static str, Option<Value<'static>>) {
    match state {
        BreakerState::Closed { .. } => ("closed", None),
        BreakerState::HalfOpen { .. } => ("half-open", None),
        BreakerState::Open { until, .. } => {
            let left = until.saturating_duration_since(Instant::now());
            let at = chrono::Utc::now().timestamp_micros() + left.as_micros() as i64;
            ("open", Some(Value::Instant(at)))
        }
    }
}

fn ownership(names: &Names, rows: &mut Rows) {
    for source in names.world.definitions.sources.values() {
        let (owner, contact) = (&source.about.owner, &source.about.contact);
        for owned in &source.owns {
            for column in &owned.columns {
                let table = (&owned.schema, &owned.table);
                rows.push(row![&source.name, table.0, table.1, column, owner, contact]);
            }
        }
    }
}
