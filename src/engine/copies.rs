//! Kept views in a statement: what each of them has when it runs, or what its query gives instead of a copy that is too old.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_connector::{Captured, Fragment};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan};

use super::limits::is_polled;
use super::names::Names;
use super::query::{self, Planned};
use crate::catalog::{ObjectId, ViewDefinition};
use crate::error::{Error, Result};
use crate::federation::fragments;
use crate::freshness::{Freshness, Origin, Part, Token};
use crate::views::{
    AsOf, Contract, CopyTable, Followed, Readable, Shown, State, Upkeep, WantedCopy,
};

/// A statement with what kept views have.
pub(super) struct WithCopies {
    pub planned: Planned,
    /// Of the copies.
    pub freshness: Freshness,
    /// Why these are read by their queries, and not by their copies.
    pub live: BTreeMap<ObjectId, Error>,
}

impl Planned {
    /// The tables that it asks sources for, cut like this, if all of them are followed. To be called before it runs.
    pub fn followed(&self, cut: &LogicalPlan) -> Result<Option<Followed>> {
        if !self.names.inner.views.shelves().follows_some() {
            return Ok(None);
        }
        let Some(tables) = tables_of(cut)? else {
            return Ok(None);
        };
        let is_timeless = !query::reads_clock(&self.plan)?;
        Ok(self.names.followed(&tables, is_timeless))
    }

    /// The same with what kept views have now: all of one shelf, once each of them may be read. Where a copy is too old, its query
    /// takes its place, as it does of one that its transaction has yet to fill. `source_fails`: that has been tried, and what the
    /// queries read cannot be reached.
    pub async fn with_copies(
        &self,
        deadline: Option<Instant>,
        source_fails: bool,
    ) -> Result<WithCopies> {
        let mut plan = self.plan.clone();
        let (mut live, mut bounds) = (BTreeMap::new(), BTreeMap::new());
        let (mut source_fails, mut failure) = (source_fails, None);
        loop {
            let mut wanted = BTreeMap::new();
            plan.apply_with_subqueries(|node| {
                if let Some(copy) = copy_of(node).filter(|copy| !copy.is_fixed) {
                    let wants = self.names.wanted(&copy, source_fails);
                    bounds.insert(copy.id.clone(), wants.contract.max_staleness);
                    match wanted.entry(copy.id) {
                        Entry::Vacant(entry) => drop(entry.insert(wants)),
                        // It is read by views that say other things of its age.
                        Entry::Occupied(mut entry) => {
                            let both = entry.get().contract.clone();
                            entry.get_mut().contract = both.bounded(wants.contract.bounds());
                        }
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            let unfilled = wanted.keys().find(|id| self.names.is_unfilled(id));
            if let Some(id) = unfilled.cloned() {
                let error = Error::Transaction {
                    message: format!("view {id} is filled after COMMIT"),
                    help: "COMMIT first".to_string(),
                    sqlstate: "55000",
                };
                if !self.names.has_other_way(&id) {
                    return Err(error);
                }
                plan = self.read_live(plan, &id).await?;
                live.insert(id, error);
                continue;
            }
            let may_be_stale = |(_, wanted): &(&ObjectId, &WantedCopy)| {
                !source_fails && wanted.contract.stale_if_error.is_some()
            };
            let may_be_stale = wanted.iter().filter(may_be_stale);
            let may_be_stale: BTreeSet<_> = may_be_stale.map(|(id, _)| id.clone()).collect();
            let found = match wanted.is_empty() {
                true => None,
                false => match self.names.readable(wanted, deadline).await {
                    Ok(found) => Some(found),
                    Err(refused)
                        if refused.is_old
                            && !source_fails
                            && self.names.has_other_way(&refused.view) =>
                    {
                        let id = refused.view;
                        plan = self.read_live(plan, &id).await?;
                        live.insert(id, refused.error);
                        continue;
                    }
                    // What is checked shows no other way: it is found out whether there would be one.
                    Err(refused) if refused.is_old && may_be_stale.contains(&refused.view) => {
                        failure = self.failure(&refused.view, deadline).await?;
                        if failure.is_none() {
                            return Err(refused.error);
                        }
                        source_fails = true;
                        continue;
                    }
                    Err(refused) => {
                        return Err(match failure {
                            Some(failure) => failed_beside(failure, &refused.error),
                            None => refused.error,
                        });
                    }
                },
            };
            let (plan, mut freshness) = self.names.filled(plan, found.as_ref())?;
            let too_old = |id: &ObjectId| (id.to_string(), bounds.get(id).copied().flatten());
            freshness.instead_of = live.keys().map(too_old).collect();
            let names = self.names.clone();
            return Ok(WithCopies {
                planned: Planned { plan, names },
                freshness,
                live,
            });
        }
    }

    /// How what a kept view reads fails, if it cannot be reached now.
    async fn failure(&self, id: &ObjectId, deadline: Option<Instant>) -> Result<Option<Error>> {
        let gone = || Error::Internal(format!("view {id} is read and not defined"));
        let view = self.names.view(id).ok_or_else(gone)?;
        let plan = query::view_plan(&self.names, view).await?;
        let plan = LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?;
        let names = self.names.clone();
        let tried = Box::pin(Planned { plan, names }.run_as_said(deadline)).await;
        Ok(tried.err().filter(Error::is_of_failing_source))
    }

    /// The plan with a kept view's query in the place of its copy.
    async fn read_live(&self, plan: LogicalPlan, id: &ObjectId) -> Result<LogicalPlan> {
        let gone = || Error::Internal(format!("view {id} is read and not defined"));
        let view = self.names.view(id).ok_or_else(gone)?;
        let provider = query::view_provider(&self.names, view).await?;
        let found = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(scan) if is_copy_of(&scan, id) => {
                let source = provider_as_source(provider.clone());
                let name = scan.table_name.clone();
                let query = LogicalPlanBuilder::scan(name, source, scan.projection.clone())?;
                Ok(Transformed::yes(query.build()?))
            }
            // Whether a column may be NULL is known less well of a copy.
            node => Ok(Transformed::yes(node.recompute_schema()?)),
        });
        Ok(found?.data)
    }
}

impl Names {
    /// What is asked from now on of these tables, if all of them are followed. Where a source is looked at again and again, what was there
    /// between two looks is not told, and may have been read.
    pub fn followed(&self, tables: &[(String, Captured)], is_timeless: bool) -> Option<Followed> {
        let is_polled = |(source, _): &(String, Captured)| {
            let definition = self.root.definitions.sources.get(source);
            definition.is_none_or(|source| is_polled(&source.options))
        };
        let shelves = self.inner.views.shelves();
        match tables.iter().any(is_polled) {
            true => None,
            false => shelves.followed(tables, is_timeless),
        }
    }

    /// How old a kept view may be: what the call says goes before what the session says, and that before the view's own.
    fn bound(&self, contract: &Contract) -> Option<Duration> {
        let stated = self.settings.stated(contract.bounds()).max_staleness;
        stated.or(self.settings.max_age)
    }

    pub fn wanted(&self, copy: &CopyTable, source_fails: bool) -> WantedCopy {
        let bound = self.bound(&copy.contract);
        WantedCopy {
            contract: Contract {
                max_staleness: bound,
                stale_if_error: self.settings.stated(copy.contract.bounds()).stale_if_error,
                ..copy.contract.clone()
            },
            not_before: self.caller.seen_so_far.instead_of(&copy.id, bound),
            after: self.after(copy),
            own: match copy.contract.upkeep {
                Upkeep::Change if !self.reads_of_one_moment() => self.own_writes(&copy.id),
                _ => Vec::new(),
            },
            has_other_way: !source_fails && self.has_other_way(&copy.id),
            source_fails,
        }
    }

    /// The same of one that the statement does not name: nobody need know that it is read, so it has the session's own writes.
    pub fn wanted_unnamed(&self, copy: &CopyTable) -> WantedCopy {
        let mut wanted = self.wanted(copy, false);
        wanted.after.extend(self.own_writes(&copy.id));
        wanted
    }

    /// The writes to what a kept view reads that it has to have: those that were asked for; of a view that is only kept as long as
    /// nothing changes, the session's own, too, since nobody need know that it is.
    fn after(&self, copy: &CopyTable) -> Vec<Token> {
        let mut after = match copy.contract.upkeep {
            Upkeep::Read => self.own_writes(&copy.id),
            _ => Vec::new(),
        };
        let asked_for = &self.settings.read_after;
        if !asked_for.is_empty() {
            let sources = self.sources_of(&copy.id);
            let of_it = asked_for.iter().filter(|t| sources.contains(&t.source));
            after.extend(of_it.cloned());
        }
        after
    }

    /// What the session has written to what a kept view reads.
    fn own_writes(&self, id: &ObjectId) -> Vec<Token> {
        let mut own = self.caller.written.tokens();
        if !own.is_empty() {
            let sources = self.sources_of(id);
            own.retain(|token| sources.contains(&token.source));
        }
        own
    }

    /// Whether the statement is part of a transaction that has read kept views: they stay as they were then.
    fn reads_of_one_moment(&self) -> bool {
        let snapshot = self.caller.snapshot.as_ref();
        snapshot.is_some_and(|snapshot| snapshot.get().is_some())
    }

    /// Whether what a kept view reads may be asked in its place: not where rows are checked before they show.
    fn has_other_way(&self, id: &ObjectId) -> bool {
        let kept = self.view(id).and_then(|view| view.materialized.as_ref());
        kept.is_some_and(|kept| kept.checks.is_empty())
    }

    /// A view as it is defined, seen or not.
    pub fn view(&self, id: &ObjectId) -> Option<&Arc<ViewDefinition>> {
        self.root.view(id)
    }

    /// The plan with the rows of each copy, and how old they are.
    fn filled(
        &self,
        plan: LogicalPlan,
        found: Option<&Readable>,
    ) -> Result<(LogicalPlan, Freshness)> {
        let mut freshness = Freshness::default();
        let filled = plan.transform_up_with_subqueries(|node| {
            let Some(mut copy) = copy_of(&node) else {
                return Ok(Transformed::no(node));
            };
            if let (false, Some(found)) = (copy.is_fixed, found) {
                copy.shown = found.shelf.get(&copy.id).cloned();
            }
            if let Some(shown) = &copy.shown {
                freshness.add(self.part(&copy, shown, found));
            }
            match node {
                LogicalPlan::TableScan(mut scan) if !copy.is_fixed => {
                    scan.source = provider_as_source(Arc::new(copy));
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                node => Ok(Transformed::no(node)),
            }
        })?;
        Ok((filled.data, freshness))
    }

    /// What is taken of a copy.
    pub fn part(&self, copy: &CopyTable, shown: &Shown, found: Option<&Readable>) -> Part {
        let found = found.filter(|_| !copy.is_fixed);
        let sources = match &shown.as_of {
            AsOf::Following(sources) => sources.clone(),
            _ => self.sources_of(&copy.id),
        };
        let is_of_epoch = !copy.is_fixed
            && matches!(shown.as_of, AsOf::Following(_))
            && shown.state == State::Live;
        Part {
            name: copy.id.to_string(),
            origin: Origin::Copy {
                age: found.and_then(|found| found.ages.of(&shown.as_of)),
                bound: self.bound(&copy.contract),
                is_of_epoch,
                is_stale: found.is_some_and(|found| found.stale.contains(&copy.id)),
                version: shown.version_number(),
            },
            sources,
        }
    }

    /// The sources whose tables a view reads, by other views, too.
    fn sources_of(&self, id: &ObjectId) -> Arc<[String]> {
        let tables = self.view(id).map(|view| self.root.tables_of(view));
        let sources = tables.iter().flatten().filter_map(|table| table.0.first());
        let sources: BTreeSet<_> = sources.cloned().collect();
        sources.into_iter().collect()
    }
}

impl Freshness {
    /// With the sources that a cut plan asks, and those that DataFusion reads.
    pub(super) fn with_sources(mut self, plan: &LogicalPlan, names: &Names) -> Result<Self> {
        let (asked, restarts) = fragments(plan);
        for fragment in asked {
            self.asked(&fragment.handle.name);
        }
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = source_as_provider(&scan.source)
            {
                let mut sources = names.root.live.iter();
                let reads = sources.find(|(_, live)| live.table_of(&provider).is_some());
                if let Some((source, _)) = reads {
                    self.asked(source);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for attempt in restarts.iter().flat_map(|restart| restart.attempts.first()) {
            self = self.with_sources(attempt, names)?;
        }
        Ok(self)
    }
}

/// The tables that a source is asked for, and the columns.
pub(super) fn tables_asked(
    source: &str,
    fragment: &Fragment,
) -> impl Iterator<Item = (String, Captured)> {
    let scans = fragment.rel.scans().into_iter();
    scans.map(move |(table, schema)| {
        let (table, schema) = (table.clone(), schema.clone());
        (source.to_string(), Captured { table, schema })
    })
}

/// The tables that a cut plan asks sources for, and the columns. None: DataFusion reads some of them itself, of which nothing is told.
fn tables_of(plan: &LogicalPlan) -> Result<Option<Vec<(String, Captured)>>> {
    let (asked, restarts) = fragments(plan);
    let mut tables = Vec::new();
    for node in &asked {
        tables.extend(tables_asked(&node.handle.name, &node.fragment));
    }
    let mut is_told = true;
    plan.apply_with_subqueries(|node| {
        is_told &= !matches!(node, LogicalPlan::TableScan(_)) || copy_of(node).is_some();
        Ok(TreeNodeRecursion::Continue)
    })?;
    for attempt in restarts.iter().flat_map(|restart| restart.attempts.first()) {
        match tables_of(attempt)? {
            Some(more) => tables.extend(more),
            None => is_told = false,
        }
    }
    Ok(is_told.then_some(tables))
}

/// What a kept view reads fails, and its copy is not read for this reason: both, and the ways out of either.
pub(super) fn failed_beside(failure: Error, old: &Error) -> Error {
    let Error::TooOld { message, help } = old else {
        return failure;
    };
    match failure {
        Error::Source(e) => {
            let own = e.help.as_ref().map(|own| format!("{own}. "));
            let both = format!(
                "{}A copy is kept: {message}. {help}",
                own.unwrap_or_default()
            );
            Error::Source(e.help(both))
        }
        other => other,
    }
}

fn is_copy_of(scan: &TableScan, id: &ObjectId) -> bool {
    let provider = source_as_provider(&scan.source).ok();
    let copy = provider
        .as_ref()
        .and_then(|p| p.downcast_ref::<CopyTable>());
    copy.is_some_and(|copy| !copy.is_fixed && copy.id == *id)
}

/// The kept view that a node reads.
fn copy_of(node: &LogicalPlan) -> Option<CopyTable> {
    let LogicalPlan::TableScan(scan) = node else {
        return None;
    };
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<CopyTable>().cloned()
}
