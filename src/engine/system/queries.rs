use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::table::{Definition, Fill, Kind, Rows, Value, always, maybe, row};
use crate::catalog::SYSTEM;
use crate::engine::log::{Entry, RunState};
use crate::engine::names::Names;
use crate::federation::Outcome;
use crate::views::Asked;

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
        // NULL: the administrator's.
        maybe("user", Kind::Text),
        maybe("error", Kind::Text),
        // What it was made of; of its oldest part. NULL: it is not known, or it read nothing.
        maybe("read_from", Kind::Text),
        maybe("age_ms", Kind::Count),
        // How long sources were at work for it, and each of them; those that were at the same time, together.
        always("sources_ms", Kind::Real),
        maybe("at_sources", Kind::Text),
    ],
    rows: Fill::Known(rows),
};

fn rows(names: &Names, rows: &mut Rows) {
    for entry in entries(names) {
        let progress = entry.progress();
        let (state, ms, error) = match progress.state {
            RunState::Running => ("running", entry.elapsed_ms(), None),
            RunState::Finished { ms } => ("finished", ms, None),
            RunState::Failed { ms, error } => ("failed", ms, Some(error)),
            RunState::Cancelled { ms } => ("cancelled", ms, None),
        };
        let started = Value::Instant(entry.started_at_us);
        let age = progress.freshness.as_ref().and_then(|f| f.age());
        let mut spent = entry.spent.by_source();
        if !names.world.is_whole() {
            spent.retain(|source, _| names.world.live.contains_key(source));
        }
        rows.push(row![
            entry.id,
            started,
            ms,
            state,
            progress.rows,
            &entry.sql,
            entry.user.as_deref(),
            error,
            progress.freshness.as_ref().map(|f| f.to_string()),
            age.map(|age| age.as_millis() as u64),
            ms_of(spent.values()),
            at_sources(&spent),
        ]);
    }
}

/// Those that whoever asks may know of: the own ones, or all.
pub(super) fn entries(names: &Names) -> Vec<Arc<Entry>> {
    let mut entries = names.inner.log.entries();
    if !names.world.is_whole() {
        entries.retain(|entry| entry.user.as_ref() == names.caller.identity.name());
    }
    entries
}

pub(super) fn ms_of<'a>(times: impl IntoIterator<Item = &'a Duration>) -> f64 {
    times.into_iter().sum::<Duration>().as_secs_f64() * 1e3
}

/// `crm 4.0 ms, erp 12.3 ms`.
pub(super) fn at_sources(spent: &BTreeMap<String, Duration>) -> Option<String> {
    let each = spent.iter().map(|(source, time)| {
        let ms = ms_of([time]);
        format!("{source} {ms:.1} ms")
    });
    (!spent.is_empty()).then(|| each.collect::<Vec<_>>().join(", "))
}

/// Answers that are told again, the one that is worth most first.
pub(super) const RESULTS: Definition = Definition {
    schema: SYSTEM,
    name: "results",
    columns: &[
        always("sql", Kind::Text),
        always("rows", Kind::Count),
        always("bytes", Kind::Count),
        // How long it took to find, and how often it was told since.
        always("duration_ms", Kind::Real),
        always("hits", Kind::Count),
        always("age_ms", Kind::Count),
        // Whether it is told until a table of it changes, or until it is too old.
        always("followed", Kind::Boolean),
    ],
    rows: Fill::Known(results),
};

fn results(names: &Names, rows: &mut Rows) {
    // Whose they are is not known.
    if !names.world.is_whole() {
        return;
    }
    let ages = names.inner.views.shelves().ages();
    for kept in names.inner.results.shown(&ages) {
        rows.push(row![
            &kept.question.sql,
            kept.rows as u64,
            kept.bytes as u64,
            kept.took.as_secs_f64() * 1e3,
            kept.hits,
            kept.age.as_millis() as u64,
            kept.is_followed,
        ]);
    }
}

/// What sources were asked, newest last, a thousand of each.
pub(super) const FRAGMENTS: Definition = Definition {
    schema: SYSTEM,
    name: "fragments",
    columns: &[
        always("source", Kind::Text),
        always("asked_at", Kind::Instant),
        always("state", Kind::Text),
        always("duration_ms", Kind::Real),
        // For a place at the source, and until there was a row.
        always("waited_ms", Kind::Real),
        maybe("first_row_ms", Kind::Real),
        always("rows", Kind::Count),
        maybe("expected_rows", Kind::Count),
        always("bytes", Kind::Count),
        always("spilled", Kind::Boolean),
        // How often it was sent: again if it failed before its first row; 0 if it was answered with another like it.
        always("attempts", Kind::Count),
        always("text", Kind::Text),
        maybe("error", Kind::Text),
    ],
    rows: Fill::Known(fragments),
};

fn fragments(names: &Names, rows: &mut Rows) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    // What others have asked for is in them.
    if !names.world.is_whole() {
        return;
    }
    for (name, live) in &names.world.live {
        for question in live.handle.history.questions() {
            let progress = question.progress();
            let (state, error) = match progress.outcome {
                Outcome::Running => ("running", None),
                Outcome::Finished(_) => ("finished", None),
                Outcome::Failed(_, error) => ("failed", Some(error)),
                Outcome::Dropped(_) => ("dropped", None),
            };
            rows.push(row![
                name,
                Value::Instant(question.asked_at_us),
                state,
                ms(progress.lasted),
                ms(progress.waited),
                progress.first.map(ms),
                progress.rows,
                question.expected,
                progress.bytes,
                progress.spilled,
                progress.attempts as u64,
                live.handle.source.describe(&question.fragment),
                error,
            ]);
        }
    }
}

/// Who is told now what changes, in the order in which they began.
pub(super) const SUBSCRIPTIONS: Definition = Definition {
    schema: SYSTEM,
    name: "subscriptions",
    columns: &[
        always("id", Kind::Count),
        // Counted from 1, as sessions are opened.
        always("session", Kind::Count),
        // NULL: a query.
        maybe("view", Kind::Text),
        always("sql", Kind::Text),
        always("since", Kind::Instant),
        // All up to it was told.
        maybe("epoch", Kind::Count),
        always("rows", Kind::Count),
        // Of changes that wait until it takes them.
        always("waiting_rows", Kind::Count),
        always("waiting_bytes", Kind::Count),
    ],
    rows: Fill::Known(subscriptions),
};

fn subscriptions(names: &Names, rows: &mut Rows) {
    for subscriber in names.inner.views.subscribers.all() {
        let order = &subscriber.order;
        if !names.world.is_whole() && order.asker != names.caller.asker {
            continue;
        }
        let (progress, waiting) = (subscriber.progress(), subscriber.waiting());
        let view = (!Asked::is_one(&order.view)).then(|| order.view.to_string());
        rows.push(row![
            subscriber.number,
            order.asker,
            view,
            &order.sql,
            Value::Instant(subscriber.since.timestamp_micros()),
            progress.epoch,
            progress.rows,
            waiting.0,
            waiting.1,
        ]);
    }
}
