use super::table::{Definition, Fill, Kind, Rows, Value, always, maybe, row};
use crate::catalog::SYSTEM;
use crate::engine::log::RunState;
use crate::engine::names::Names;

/// The latest statements of all sessions, in the order in which they began.
pub(super) const QUERIES: Definition = Definition {
    schema: SYSTEM,
    name: "queries",
    columns: &[
        always("id", Kind::Count),
        always("started_at", Kind::Instant),
        always("duration_ms", Kind::Real),
        always("state", Kind::Text),
        always("rows", Kind::Count),
        always("sql", Kind::Text),
        maybe("error", Kind::Text),
    ],
    rows: Fill::Known(rows),
};

fn rows(names: &Names, rows: &mut Rows) {
    for entry in names.inner.log.entries() {
        let progress = entry.progress();
        let (state, ms, error) = match progress.state {
            RunState::Running => ("running", entry.elapsed_ms(), None),
            RunState::Finished { ms } => ("finished", ms, None),
            RunState::Failed { ms, error } => ("failed", ms, Some(error)),
            RunState::Cancelled { ms } => ("cancelled", ms, None),
        };
        let started = Value::Instant(entry.started_at_us);
        rows.push(row![
            entry.id,
            started,
            ms,
            state,
            progress.rows,
            &entry.sql,
            error
        ]);
    }
}
