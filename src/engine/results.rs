//! Answers that are told again: which statements ask for one, and what is told.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use super::names::Names;
use super::plans::is_of_all_sessions;
use super::query::{Planned, Ran};
use super::session::Session;
use super::settings::Settings;
use super::system;
use crate::error::Result;
use crate::freshness::{Answered, Asking, Freshness, Origin, Part, Question, Turn};
use crate::views::Bounds;

/// Longer texts are not kept.
const MOST_BYTES: usize = 16 << 10;

/// What a statement asks, if it may be told what another was told. None: what there is now is asked for, or what a transaction reads.
pub(super) fn question(
    sql: &str,
    values: &HashMap<String, ScalarValue>,
    names: &Names,
) -> Option<Question> {
    let settings = &names.settings;
    let is_of_now =
        settings.max_staleness == Some(Duration::ZERO) && settings.stale_if_error.is_none();
    // Without pushdown it is found out whether that is right.
    let asks_itself = !settings.pushdown || !settings.read_after.is_empty();
    if is_of_now || asks_itself || names.caller.snapshot.is_some() || sql.len() > MOST_BYTES {
        return None;
    }
    let mut values: Vec<_> = values.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    values.sort_by(|(one, _), (other, _)| one.cmp(other));
    let others = ["consistency", "search_path", "timezone"];
    let others = others.map(|name| (name, settings.get(name).unwrap_or_default()));
    let protocol = ("one_database", settings.one_database.to_string());
    Some(Question {
        sql: sql.to_string(),
        values,
        version: names.world.version,
        settings: others.into_iter().chain([protocol]).collect(),
    })
}

/// A question, and how old the views that are read say that their rows may be.
pub(super) struct Asked {
    pub question: Question,
    pub bounds: Bounds,
}

impl Planned {
    /// How old the views that are read say that their rows may be. A table of a source is as it is now, and a kept view as its copy is.
    pub fn bounds(&self) -> Result<Bounds> {
        let mut bounds = Bounds::default();
        let mut pending: Vec<_> = self.names.referenced().into_iter().collect();
        while let Some(id) = pending.pop() {
            let view = self.names.view(&id);
            let Some(view) = view.filter(|view| view.materialized.is_none()) else {
                return Ok(Bounds::default());
            };
            let stated = Bounds::new(&view.bounds)?;
            bounds = bounds.and(stated);
            if stated == Bounds::default() {
                pending.extend(view.depends_on.iter().cloned());
            }
        }
        Ok(bounds)
    }
}

/// Whether a statement may be told something that is not of now.
pub(super) fn may_be_older(settings: &Settings, bounds: Bounds) -> bool {
    let stated = settings.stated(bounds);
    stated.max_staleness.is_some_and(|bound| !bound.is_zero()) || stated.stale_if_error.is_some()
}

/// For how long an answer is told again to who asks the same.
pub(super) fn told_again_for(
    query: &belvedere_sql::Query,
    planned: &Planned,
    freshness: &Freshness,
) -> Result<Option<Duration>> {
    let settings = &planned.names.settings;
    if question("", &HashMap::new(), &planned.names).is_none() || freshness.is_followed() {
        return Ok(None);
    }
    let bound = settings.stated(planned.bounds()?).max_staleness;
    let bound = bound.filter(|bound| !bound.is_zero());
    Ok(bound.filter(|_| is_repeatable(query, planned)))
}

/// Whether a query gives the same again, as long as what it reads is the same. One that compares with the clock does as of when it ran;
/// one that shows the clock does not.
pub(super) fn is_repeatable(query: &belvedere_sql::Query, planned: &Planned) -> bool {
    let is_so = || -> Result<bool> {
        let mut is_so = true;
        planned.plan.apply_with_subqueries(|node| {
            let is_compared = matches!(node, LogicalPlan::Filter(_));
            node.apply_expressions(|expr| {
                is_so &= !expr.exists(|expr| {
                    Ok(matches!(expr, Expr::ScalarFunction(call)
                    if match call.func.signature().volatility {
                        Volatility::Immutable => false,
                        Volatility::Stable => !is_compared,
                        Volatility::Volatile => true,
                    }))
                })?;
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(is_so)
    };
    // PostgreSQL's functions know the session.
    !system::asks_catalog(query)
        && is_of_all_sessions(&planned.plan)
        && is_so().is_ok_and(|is_so| is_so)
}

impl Session {
    /// What has been answered to a question, if that is young enough.
    pub(super) fn told_before(
        &self,
        question: &Question,
        settings: &Settings,
        arrived: Instant,
    ) -> Option<Ran> {
        let shelves = self.inner.views.shelves();
        let (ages, shelf) = (shelves.ages(), shelves.newest());
        // A view that has been computed anew since is read anew.
        let is_current = |part: &Part| match part.origin {
            Origin::Copy {
                version: Some(version),
                ..
            } => shelf.iter().any(|(id, shown)| {
                shown.version_number() == Some(version) && id.to_string() == part.name
            }),
            _ => true,
        };
        let seen = self.told_so_far().so_far(Some(question), settings);
        let is_told = |answered: &Arc<Answered>, freshness: &Freshness| {
            let is_young = |most| freshness.age().is_some_and(|age| age <= most);
            freshness.parts.iter().all(is_current)
                && settings.max_age.is_none_or(is_young)
                && seen.admits_result(answered, freshness.age())
                && self.written.are_in(freshness)
        };
        let results = &self.inner.results;
        let (answered, freshness) =
            results.get(question, settings.max_staleness, arrived, &ages, is_told)?;
        let mut told = self.told_so_far();
        told.add(question, &freshness, Some(&answered));
        Some(told_again((answered, freshness)))
    }

    /// What `run` finds, which is told again then; or what another statement finds that asks the same now. Where what it asks fails, what
    /// was told before is told again for as long as `stale_if_error` says.
    pub(super) async fn told_once(
        &self,
        asked: Option<&Asked>,
        settings: &Settings,
        run: impl Future<Output = Result<Ran>>,
    ) -> Result<Ran> {
        let Some(Asked { question, bounds }) = asked else {
            return run.await;
        };
        let bounds = *bounds;
        let arrived = Instant::now();
        let results = &self.inner.results;
        let stated = settings.stated(bounds);
        let mut turn = results.turn(question.clone());
        if let Turn::Anothers(asked) = &mut turn
            && stated.max_staleness.is_some_and(|bound| !bound.is_zero())
        {
            // It is closed once that is done, however that ends.
            let _ = asked.changed().await;
        }
        // It may have been answered since this was found out to be asked, too.
        if let Some(told) = self.told_before(question, settings, arrived) {
            return Ok(told);
        }
        results.missed();
        let ran = match (run.await, turn) {
            (Ok(ran), Turn::Mine(asking)) => kept(ran, asking, bounds, results.largest()).await,
            (ran, _) => ran.map(|ran| (ran, None)),
        };
        let e = match ran {
            Ok((ran, answered)) => {
                let mut told = self.told_so_far();
                told.add(question, &ran.freshness, answered.as_ref());
                return Ok(ran);
            }
            Err(e) => e,
        };
        let ages = self.inner.views.shelves().ages();
        let stale = || results.get_stale(question, stated, &ages);
        let stale = e.is_of_failing_source().then(stale).flatten();
        let stale = stale.filter(|(_, freshness)| self.written.are_in(freshness));
        stale.map_or(Err(e), |found| Ok(told_again(found)))
    }
}

fn told_again((answered, freshness): (Arc<Answered>, Freshness)) -> Ran {
    let rows = answered.rows.clone();
    let schema = rows.schema();
    let rows = futures::stream::iter([Ok(rows)]);
    Ran {
        stream: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
        notices: Vec::new(),
        freshness,
        followed: None,
    }
}

/// All rows are here before the first is told: nobody who waits for them hangs on how fast somebody reads. A larger answer streams, and
/// is not kept.
async fn kept(
    ran: Ran,
    asking: Asking,
    bounds: Bounds,
    largest: usize,
) -> Result<(Ran, Option<Arc<Answered>>)> {
    let Ran {
        mut stream,
        notices,
        freshness,
        followed,
    } = ran;
    let schema = stream.schema();
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut bytes = 0;
    while bytes <= largest
        && let Some(batch) = stream.next().await
    {
        let batch = batch?;
        for column in batch.columns() {
            let size = column.to_data().get_slice_memory_size();
            bytes += size.unwrap_or_else(|_| column.get_array_memory_size());
        }
        batches.push(batch);
    }
    let mut answered = None;
    // What copies have that follow their sources is here, and younger.
    if bytes <= largest && !freshness.is_followed() {
        // What was read may be a small part of its buffers, or these have room for more rows: it is copied, as they are where there
        // are several.
        let none = RecordBatch::new_empty(schema.clone());
        let rows = concat_batches(&schema, [&none].into_iter().chain(&batches))
            .map_err(DataFusionError::from)?;
        answered = asking.answered(rows, freshness.clone(), bounds, followed);
    } else {
        drop(asking);
    }
    let stream = futures::stream::iter(batches.into_iter().map(Ok)).chain(stream);
    let ran = Ran {
        stream: Box::pin(RecordBatchStreamAdapter::new(schema, stream)),
        notices,
        freshness,
        followed: None,
    };
    Ok((ran, answered))
}
