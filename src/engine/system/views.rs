use std::sync::Arc;

use super::relations::{Relation, relations};
use super::table::{Definition, Fill, Kind, Rows, Value, always, maybe, row};
use crate::access::Allowed;
use crate::catalog::{SYSTEM, ViewDefinition};
use crate::engine::names::Names;
use crate::views::{AsOf, Content, Contract, Shown, State};

/// Our own views: who answers for them, how they are kept, and how they are.
pub(super) const VIEWS: Definition = Definition {
    schema: SYSTEM,
    name: "views",
    columns: &[
        always("schema", Kind::Text),
        always("name", Kind::Text),
        always("sql", Kind::Text),
        // The user who has defined it, with whose rights it reads. NULL: the administrator.
        maybe("definer", Kind::Text),
        maybe("owner", Kind::Text),
        maybe("contact", Kind::Text),
        maybe("event", Kind::Text),
        maybe("impact", Kind::Text),
        maybe("runbook", Kind::Text),
        maybe("comment", Kind::Text),
        always("columns", Kind::Text),
        always("depends_on", Kind::Text),
        // Of materialized ones alone, as are those below.
        maybe("refresh", Kind::Text),
        // filling, live, failed, blocked, paused; and why.
        maybe("state", Kind::Text),
        maybe("reason", Kind::Text),
        maybe("rows", Kind::Count),
        maybe("version", Kind::Count),
        maybe("age_ms", Kind::Count),
        // While it is filled from what it reads: how many of its rows are done, of how many.
        maybe("input_rows_done", Kind::Count),
        maybe("input_rows", Kind::Count),
        // Of one that is computed when it is read: a change of what it reads makes it be, or why its age has to.
        maybe("mechanism", Kind::Text),
        // Of one that is kept by change: what is in memory for it.
        maybe("memory_bytes", Kind::Count),
    ],
    rows: Fill::Known(views),
};

/// How old what is kept is, and how old it may be.
pub(super) const FRESHNESS: Definition = Definition {
    schema: SYSTEM,
    name: "freshness",
    columns: &[
        always("schema", Kind::Text),
        always("view", Kind::Text),
        // A source whose changes it follows; none where it is computed anew.
        maybe("source", Kind::Text),
        maybe("age_ms", Kind::Count),
        maybe("max_staleness_ms", Kind::Count),
        // Why the source cannot be followed now, or its age is not known.
        maybe("problem", Kind::Text),
    ],
    rows: Fill::Known(freshness),
};

/// Of copies that were there when the engine was started (DESIGN §3.5).
const UNKNOWN_AGE: &str = "how old it is nobody knows: since the engine was started it has not come to where its source says it is";

/// What ran to bring views up to date, newest first.
pub(super) const REFRESHES: Definition = Definition {
    schema: SYSTEM,
    name: "refreshes",
    columns: &[
        always("schema", Kind::Text),
        always("view", Kind::Text),
        // first, schedule, manual, read.
        always("trigger", Kind::Text),
        always("attempt", Kind::Count),
        always("started_at", Kind::Instant),
        // None: it goes on.
        maybe("took_ms", Kind::Real),
        maybe("rows", Kind::Count),
        maybe("version", Kind::Count),
        maybe("error", Kind::Text),
    ],
    rows: Fill::Known(refreshes),
};

/// The versions of views that are computed anew, as far as they are kept.
pub(super) const VERSIONS: Definition = Definition {
    schema: SYSTEM,
    name: "versions",
    columns: &[
        always("schema", Kind::Text),
        always("view", Kind::Text),
        always("version", Kind::Count),
        // When its run began: nothing in it is older.
        always("at", Kind::Instant),
        // NULL: who asks does not see all of them.
        maybe("rows", Kind::Count),
    ],
    rows: Fill::Known(versions),
};

/// The columns by which rows of materialized views are found: their keys', and those of indexes.
pub(super) const INDEXES: Definition = Definition {
    schema: SYSTEM,
    name: "indexes",
    columns: &[
        always("schema", Kind::Text),
        always("view", Kind::Text),
        // Of an index that was created; none of a key's.
        maybe("name", Kind::Text),
        always("columns", Kind::Text),
    ],
    rows: Fill::Known(indexes),
};

fn indexes(names: &Names, rows: &mut Rows) {
    for view in names.world.definitions.views.values() {
        let contract = view
            .materialized
            .as_ref()
            .map(|kept| Contract::new(&kept.options));
        let key = contract.and_then(Result::ok).map(|contract| contract.key);
        let key = key
            .filter(|key| !key.is_empty())
            .map(|key| (None, key.join(", ")));
        let declared = view.indexes().iter();
        let declared = declared.map(|index| (Some(&index.name), index.columns.join(", ")));
        for (name, columns) in key.into_iter().chain(declared) {
            rows.push(row![&view.schema, &view.name, name, columns]);
        }
    }
}

fn views(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        let Relation::View(view) = relation else {
            continue;
        };
        let columns: Vec<_> = view.columns.iter().map(|c| c.name.as_str()).collect();
        let depends_on: Vec<_> = view.depends_on.iter().map(ToString::to_string).collect();
        let about = &view.about;
        let shown = names.shown(&view.id());
        let shown = shown.as_deref();
        let content = shown.and_then(|shown| shown.content.as_ref());
        let version = content.and_then(|content| match content {
            Content::Rows(version) => Some(version.number),
            Content::Table(_) => None,
        });
        let refresh = view.materialized.as_ref().map(|kept| {
            let written = kept.options.get("refresh");
            written.map_or("manual", String::as_str)
        });
        let progress = shown.and_then(|shown| Some(shown.progress.as_ref()?.rows()));
        // What it reads is in them.
        let is_own = names.world.permits_all("view", &view.id()).is_ok();
        let sees_all = names.world.ruled(&view.id()).is_none();
        let progress = progress.filter(|_| sees_all);
        let reason = shown.and_then(|shown| reason(names, view, shown));
        let reason = reason.filter(|_| is_own);
        rows.push(row![
            &view.schema,
            &view.name,
            &view.query,
            &view.definer,
            &about.owner,
            &about.contact,
            &about.event,
            &about.impact,
            &about.runbook,
            relation.comment(&names.world),
            columns.join(", "),
            depends_on.join(", "),
            refresh,
            shown.map(|shown| shown.state.name()),
            reason,
            content.map(Content::row_count).filter(|_| sees_all),
            version,
            shown.and_then(|shown| age(names, &shown.as_of)),
            progress.map(|(done, _)| done),
            progress.map(|(_, all)| all),
            mechanism(names, view).filter(|_| is_own),
            shown
                .and_then(|shown| shown.bytes())
                .map(|bytes| bytes as u64)
                .filter(|_| sees_all),
        ]);
    }
}

/// Why it is not what it should be, and what mends that.
fn reason(names: &Names, view: &ViewDefinition, shown: &Shown) -> Option<String> {
    let reason = shown.failing.as_ref().or(shown.state.reason())?;
    // One that nobody follows has its way out in the reason.
    let is_followed = names.inner.views.plan(shown.generation).is_some();
    Some(match &shown.state {
        State::Blocked { .. } if is_followed => format!(
            "{reason}. Once that is mended: REFRESH MATERIALIZED VIEW {} FULL",
            view.id()
        ),
        _ => reason.to_string(),
    })
}

fn mechanism(names: &Names, view: &ViewDefinition) -> Option<String> {
    Some(match names.inner.views.watch(&view.id())? {
        Ok(watch) => match watch.conditions() {
            Some(conditions) => format!("change: {conditions}"),
            None => "change".to_string(),
        },
        Err(reason) => format!("age: {reason}"),
    })
}

fn freshness(names: &Names, rows: &mut Rows) {
    for (view, shown, contract) in kept(names) {
        let bound = contract.and_then(|contract| contract.max_staleness);
        let bound = bound.map(|bound| bound.as_millis() as u64);
        let is_own = names.world.permits_all("view", &view.id()).is_ok();
        let shelves = names.inner.views.shelves();
        match &shown.as_of {
            AsOf::Following(sources) => {
                let is_seen = |source: &&String| names.world.live.contains_key(*source);
                for source in sources.iter().filter(is_seen) {
                    let one = AsOf::Following(Arc::from([source.clone()]));
                    let age = age(names, &one);
                    // What is kept is there at once, the source's answer is not.
                    let is_unknown = age.is_none() && shown.content.is_some();
                    let unknown = || Arc::from(UNKNOWN_AGE);
                    let problem = shelves.failure(source).or_else(|| is_unknown.then(unknown));
                    let problem = problem.filter(|_| is_own);
                    rows.push(row![
                        &view.schema,
                        &view.name,
                        source.as_str(),
                        age,
                        bound,
                        problem.as_deref(),
                    ]);
                }
            }
            as_of => rows.push(row![
                &view.schema,
                &view.name,
                None::<&str>,
                age(names, as_of),
                bound,
                shown
                    .state
                    .reason()
                    .filter(|_| is_own)
                    .map(|reason| reason.as_ref()),
            ]),
        }
    }
}

fn refreshes(names: &Names, rows: &mut Rows) {
    for run in names.inner.views.runs().into_iter().rev() {
        let [_, schema, view] = run.view.0.as_slice() else {
            continue;
        };
        let allowed = names.world.allowed(&run.view);
        if !allowed.sees() {
            continue;
        }
        let error = run.error.as_ref().filter(|_| allowed == Allowed::All);
        rows.push(row![
            schema,
            view,
            run.trigger,
            u64::from(run.attempt),
            Value::Instant(run.started.timestamp_micros()),
            run.took.map(|took| took.as_secs_f64() * 1e3),
            run.rows.filter(|_| names.world.ruled(&run.view).is_none()),
            run.version,
            error,
        ]);
    }
}

fn versions(names: &Names, rows: &mut Rows) {
    for (view, shown, _) in kept(names) {
        let sees_all = names.world.ruled(&view.id()).is_none();
        for version in names.inner.views.versions(shown.generation) {
            rows.push(row![
                &view.schema,
                &view.name,
                version.number,
                Value::Instant(version.at.timestamp_micros()),
                Some(version.rows.row_count()).filter(|_| sees_all),
            ]);
        }
    }
}

/// Views that are kept, what they have, and what they promise.
fn kept(
    names: &Names,
) -> impl Iterator<Item = (&Arc<ViewDefinition>, Arc<Shown>, Option<Contract>)> {
    let views = names.world.definitions.views.values();
    let shelf = names.inner.views.shelves().newest();
    views.filter_map(move |view| {
        let shown = shelf.get(&view.id())?.clone();
        let contract = Contract::new(&view.materialized.as_ref()?.options).ok();
        Some((view, shown, contract))
    })
}

fn age(names: &Names, as_of: &AsOf) -> Option<u64> {
    let age = names.inner.views.shelves().age(as_of)?;
    Some(age.as_millis() as u64)
}
