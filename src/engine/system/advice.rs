//! What was asked of late, put together, and what would serve it better.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use belvedere_connector::Capture;
use belvedere_sql::{Query, Statement, ident};
use sqlparser::ast::{self, SetExpr, TableFactor, Value as Constant, ValueWithSpan, VisitorMut};

use super::queries::{at_sources, entries, ms_of};
use super::table::{Definition, Fill, Kind, Rows, Value, always, maybe, row};
use crate::catalog::{ObjectId, SYSTEM, ViewDefinition};
use crate::engine::log::{Entry, RunState};
use crate::engine::names::Names;
use crate::freshness::{Freshness, Origin};
use crate::views::{Contract, Upkeep};

/// The statements of `system.queries` that differ in constants alone, together.
pub(super) const STATEMENTS: Definition = Definition {
    schema: SYSTEM,
    name: "statements",
    columns: &[
        always("sql", Kind::Text),
        always("calls", Kind::Count),
        always("failed", Kind::Count),
        always("rows", Kind::Count),
        always("total_ms", Kind::Real),
        always("mean_ms", Kind::Real),
        always("max_ms", Kind::Real),
        always("last_at", Kind::Instant),
        // Of the last call: what it was made of. Of all: how old the oldest part was, how old it might have been.
        maybe("read_from", Kind::Text),
        maybe("oldest_ms", Kind::Count),
        maybe("bound_ms", Kind::Count),
        // Calls that asked sources, and for how long these were at work for all calls.
        always("live_calls", Kind::Count),
        always("sources_ms", Kind::Real),
        maybe("at_sources", Kind::Text),
    ],
    rows: Fill::Known(statements),
};

/// What the statements of late, and definitions, could do with.
pub(super) const ADVICE: Definition = Definition {
    schema: SYSTEM,
    name: "advice",
    columns: &[
        // lookups, bound, unread, virtual, owner
        always("kind", Kind::Text),
        // A source or a view.
        always("about", Kind::Text),
        always("why", Kind::Text),
        // What mends it.
        always("statement", Kind::Text),
    ],
    rows: Fill::Known(advice),
};

/// Calls of one statement from which on it is worth a copy.
const OFTEN: u64 = 500;
/// Rows that a lookup finds, at most.
const FEW_ROWS: u64 = 10;
/// Reads that a copy was too old for, from which on its contract does not fit.
const TOO_OLD: u64 = 10;
/// For so long the log has to reach back before it says that something is not read.
const LONG: Duration = Duration::from_secs(3600);
/// A query that takes no longer needs no copy, if it is asked so rarely.
const QUICK_MS: f64 = 100.0;
const RARELY: u64 = 10;

/// Calls of one statement.
#[derive(Default)]
struct Calls {
    count: u64,
    failed: u64,
    rows: u64,
    total_ms: f64,
    max_ms: f64,
    last_at_us: i64,
    last: Option<Freshness>,
    oldest: Option<Duration>,
    bound: Option<Duration>,
    live: u64,
    /// All calls asked only these.
    sources: BTreeSet<String>,
    spent: BTreeMap<String, Duration>,
}

impl Calls {
    fn add(&mut self, entry: &Entry) {
        let progress = entry.progress();
        let (ms, is_failed) = match progress.state {
            RunState::Running => (entry.elapsed_ms(), false),
            RunState::Finished { ms } | RunState::Cancelled { ms } => (ms, false),
            RunState::Failed { ms, .. } => (ms, true),
        };
        self.count += 1;
        self.failed += u64::from(is_failed);
        self.rows += progress.rows;
        self.total_ms += ms;
        self.max_ms = self.max_ms.max(ms);
        self.last_at_us = self.last_at_us.max(entry.started_at_us);
        for (source, time) in entry.spent.by_source() {
            *self.spent.entry(source).or_default() += time;
        }
        let Some(freshness) = progress.freshness else {
            return;
        };
        self.oldest = self.oldest.max(freshness.age());
        let bounds = freshness.parts.iter().filter_map(|part| match part.origin {
            Origin::Copy { bound, .. } => bound,
            Origin::Result { bound, .. } => Some(bound),
            Origin::Live => None,
        });
        self.bound = self.bound.into_iter().chain(bounds).min();
        let live = freshness
            .parts
            .iter()
            .filter(|part| part.origin == Origin::Live);
        let asked: Vec<_> = live.map(|part| part.name.clone()).collect();
        self.live += u64::from(!asked.is_empty());
        self.sources.extend(asked);
        self.last = Some(freshness.as_ref().clone());
    }
}

/// The statements of late without their constants.
fn by_statement(names: &Names) -> BTreeMap<String, Calls> {
    let mut known: HashMap<String, String> = HashMap::new();
    let mut found: BTreeMap<String, Calls> = BTreeMap::new();
    for entry in entries(names) {
        let text = match known.get(&entry.sql) {
            Some(text) => text.clone(),
            None => {
                let text = without_constants(&entry.sql);
                known.insert(entry.sql.clone(), text.clone());
                text
            }
        };
        found.entry(text).or_default().add(&entry);
    }
    found
}

/// A query with `?` in the place of each constant and parameter; what is no query stays as it is.
fn without_constants(sql: &str) -> String {
    struct Constants;
    impl VisitorMut for Constants {
        type Break = ();
        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
            value.value = Constant::Placeholder("?".to_string());
            ControlFlow::Continue(())
        }
    }
    match query(sql) {
        Some(mut query) => {
            let _ = ast::VisitMut::visit(&mut query, &mut Constants);
            query.to_string()
        }
        None => sql.to_string(),
    }
}

fn query(sql: &str) -> Option<Query> {
    match belvedere_sql::parse_one(sql).ok()?.statement {
        Statement::Query(query) => Some(*query),
        _ => None,
    }
}

fn statements(names: &Names, rows: &mut Rows) {
    let ms = |time: Duration| time.as_millis() as u64;
    for (sql, mut calls) in by_statement(names) {
        if !names.world.is_whole() {
            let live = &names.world.live;
            calls.spent.retain(|source, _| live.contains_key(source));
        }
        rows.push(row![
            sql,
            calls.count,
            calls.failed,
            calls.rows,
            calls.total_ms,
            calls.total_ms / calls.count as f64,
            calls.max_ms,
            Value::Instant(calls.last_at_us),
            calls.last.as_ref().map(ToString::to_string),
            calls.oldest.map(ms),
            calls.bound.map(ms),
            calls.live,
            ms_of(calls.spent.values()),
            at_sources(&calls.spent),
        ]);
    }
}

fn advice(names: &Names, rows: &mut Rows) {
    // It is for who can follow it.
    if !names.world.is_whole() {
        return;
    }
    lookups(names, rows);
    copies(names, rows);
    for source in names.world.definitions.sources.values() {
        if source.about.owner.is_none() {
            let statement = format!(
                "ALTER SOURCE {} SET (owner = '…')",
                ident(source.name.clone())
            );
            let why = "nobody is said to answer for it".to_string();
            rows.push(row!["owner", &source.name, why, statement]);
        }
    }
}

/// Lookups that are asked of a source again and again.
fn lookups(names: &Names, rows: &mut Rows) {
    for (sql, calls) in by_statement(names) {
        let is_lookup = calls.count >= OFTEN
            && calls.live == calls.count
            && calls.rows <= calls.count * FEW_ROWS
            && calls.sources.len() == 1;
        let Some(source) = calls.sources.first().filter(|_| is_lookup) else {
            continue;
        };
        let Some(statement) = query(&sql).and_then(|query| copy_for(names, &query, source)) else {
            continue;
        };
        let why = format!(
            "it was asked {} of the last statements one by one: {sql}",
            calls.count
        );
        rows.push(row!["lookups", source, why, statement]);
    }
}

/// The view that would answer a query of one relation.
fn copy_for(names: &Names, query: &Query, source: &str) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [from] = select.from.as_slice() else {
        return None;
    };
    let (TableFactor::Table { name, .. }, true) = (&from.relation, from.joins.is_empty()) else {
        return None;
    };
    let tells = names.world.live.get(source)?.followed.capture();
    let refresh = match tells {
        Capture::None(_) => "refresh = 'on read', max_staleness = '5s'",
        _ => "refresh = 'on change'",
    };
    let last = name.0.last()?.as_ident()?.value.clone();
    let tables = names.world.definitions.tables(source);
    let key = tables.iter().find(|table| table.name == last);
    let key = key.map(|table| table.primary_key.join(", "));
    let key = key.filter(|key| !key.is_empty());
    let key = key.map_or(String::new(), |key| format!(", key = '{key}'"));
    let view = names
        .world
        .definitions
        .views
        .values()
        .find(|view| view.name == last);
    Some(match view {
        Some(view) => format!(
            "CREATE OR REPLACE MATERIALIZED VIEW {} WITH ({refresh}) AS {}",
            view.id(),
            view.query
        ),
        None => format!(
            "CREATE MATERIALIZED VIEW {} WITH ({refresh}{key}) AS SELECT * FROM {name}",
            ident(last)
        ),
    })
}

/// Copies whose contract does not fit how they are read.
fn copies(names: &Names, rows: &mut Rows) {
    let entries = names.inner.log.entries();
    let (mut read, mut too_old): (BTreeMap<String, u64>, BTreeMap<String, u64>) =
        Default::default();
    for entry in &entries {
        let Some(freshness) = entry.progress().freshness else {
            continue;
        };
        for part in &freshness.parts {
            *read.entry(part.name.clone()).or_default() += 1;
        }
        for view in freshness.instead_of.keys() {
            *too_old.entry(view.clone()).or_default() += 1;
        }
    }
    let oldest = entries.first().map(|entry| entry.elapsed_ms());
    let reaches_back = oldest.is_some_and(|ms| ms >= LONG.as_secs_f64() * 1e3);
    for view in names.world.definitions.views.values() {
        let Some(contract) = contract(view) else {
            continue;
        };
        let id = view.id();
        let name = id.to_string();
        let count = |of: &BTreeMap<String, u64>| of.get(&name).copied().unwrap_or(0);
        let missed = count(&too_old);
        if missed >= TOO_OLD {
            let why = format!(
                "its copy was too old for {missed} of the last statements, which read it live"
            );
            let statement = format!("ALTER MATERIALIZED VIEW {id} SET (refresh = 'on change')");
            rows.push(row!["bound", &name, why, statement]);
        }
        let reads = count(&read) + missed;
        let is_needed = is_read_by_others(names, &id);
        if !reaches_back || is_needed {
            continue;
        }
        if reads == 0 && contract.upkeep == Upkeep::Change {
            let why = "it is kept up with each change, and nobody has read it of late".to_string();
            let statement = format!("ALTER MATERIALIZED VIEW {id} SET (refresh = 'on read')");
            rows.push(row!["unread", &name, why, statement]);
        }
        let mut runs = names.inner.views.runs().into_iter().rev();
        let took = runs.find(|run| run.view == id && run.error.is_none());
        let took = took.and_then(|run| Some(run.took?.as_secs_f64() * 1e3));
        if let Some(ms) = took.filter(|ms| *ms <= QUICK_MS && (1..=RARELY).contains(&reads)) {
            let why = format!("its query takes {ms:.0} ms, and it was read {reads} times of late");
            let statement = format!(
                "DROP MATERIALIZED VIEW {id}; CREATE VIEW {id} AS {}",
                view.query
            );
            rows.push(row!["virtual", &name, why, statement]);
        }
    }
}

fn contract(view: &ViewDefinition) -> Option<Contract> {
    Contract::new(&view.materialized.as_ref()?.options).ok()
}

/// Whether another view reads it, or somebody is told what changes in it.
fn is_read_by_others(names: &Names, id: &ObjectId) -> bool {
    let mut views = names.world.definitions.views.values();
    let subscribed = names.inner.views.subscribers.all();
    views.any(|view| view.depends_on.contains(id))
        || subscribed
            .iter()
            .any(|subscriber| subscriber.order.view == *id)
}
