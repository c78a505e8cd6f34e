use std::fmt::Display;
use std::sync::Arc;

use belvedere_connector::{Rel, Support};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, FetchType, Filter, Join, Limit, LogicalPlan, Projection, SkipType, Sort,
    SubqueryAlias, Union, Window,
};

use super::estimate::Estimate;
use super::expr;
use super::join;
use super::node::fragment_of;
use super::peers::{Keys, cut_where_total};
use super::remote::{BEHIND_BARRIER, Remote};
use super::window;
use crate::access::Barrier;

/// A plan whose leaves are fragments, and what was kept above them.
#[derive(Debug)]
pub struct Cut {
    pub plan: LogicalPlan,
    pub kept: Vec<Kept>,
    /// Where a source by itself would answer otherwise: sentences for the user.
    pub notices: Vec<String>,
    /// Whether a place is given what was asked for others, too. That may fail where what it needs does not, and nobody
    /// might ever have looked at the others.
    pub is_wider: bool,
}

/// Something that touches one source and yet runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub source: String,
    /// What stays: a node or predicate as DataFusion prints it.
    pub what: String,
    pub why: String,
}

/// Replace the largest subplans of an optimized plan that one source answers exactly by fragments. With `pushdown`
/// off, only scans (of the needed columns) become fragments: the oracle of pushdown.
pub fn cut(plan: LogicalPlan, pushdown: bool) -> Result<Cut> {
    let mut cutter = Cutter {
        pushdown,
        kept: Vec::new(),
        notices: Vec::new(),
    };
    let plan = cutter.cut(plan, Wanted::Rows)?.finish();
    Ok(Cut {
        plan,
        kept: cutter.kept,
        notices: cutter.notices,
        is_wider: false,
    })
}

struct Cutter {
    pushdown: bool,
    kept: Vec<Kept>,
    notices: Vec<String>,
}

/// A subplan on its way up: still at one source, or finished.
enum Piece {
    Remote(Remote),
    Local(LogicalPlan),
}

impl Piece {
    fn finish(self) -> LogicalPlan {
        match self {
            Self::Local(plan) => plan,
            Self::Remote(remote) => remote.finish(),
        }
    }
}

/// What is asked of a subplan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Rows,
    /// Whether there are any, whichever they are.
    SomeRow,
}

impl Wanted {
    /// Of an input of `plan`, of which this is wanted.
    fn of_input(self, plan: &LogicalPlan, input: usize) -> Self {
        match plan {
            LogicalPlan::Join(join) if join::asked_for_some_row(join) == Some(input) => {
                Self::SomeRow
            }
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => self,
            _ => Self::Rows,
        }
    }
}

impl Cutter {
    fn cut(&mut self, plan: LogicalPlan, wanted: Wanted) -> Result<Piece> {
        if let LogicalPlan::TableScan(scan) = &plan {
            return Ok(match Remote::scan(scan, self.pushdown) {
                Some(remote) => Piece::Remote(remote),
                None => Piece::Local(plan),
            });
        }
        let mut pieces = Vec::new();
        for (i, input) in plan.inputs().into_iter().enumerate() {
            pieces.push(self.cut(input.clone(), wanted.of_input(&plan, i))?);
        }
        if self.pushdown && !pieces.is_empty() {
            match self.grow(&plan, wanted, pieces)? {
                Ok(grown) => return Ok(grown),
                Err(returned) => pieces = returned,
            }
        }
        self.keep_node(plan, pieces).map(Piece::Local)
    }

    /// The node itself runs here, over its finished inputs.
    fn keep_node(&mut self, plan: LogicalPlan, pieces: Vec<Piece>) -> Result<LogicalPlan> {
        let mut inputs = pieces.into_iter().map(Piece::finish);
        let plan = plan.map_children(|old| {
            Ok(inputs
                .next()
                .map_or_else(|| Transformed::no(old), Transformed::yes))
        })?;
        // Uncorrelated scalar subqueries stay expressions; their plans are cut on their own.
        let cut = plan.data.map_subqueries(|subquery| {
            let piece = self.cut(subquery, Wanted::Rows)?;
            Ok(Transformed::yes(piece.finish()))
        })?;
        Ok(cut.data)
    }

    fn keep(&mut self, remote: &Remote, what: impl Display, why: impl Into<String>) {
        let kept = Kept {
            source: remote.handle.name.clone(),
            what: what.to_string(),
            why: why.into(),
        };
        if !self.kept.contains(&kept) {
            self.kept.push(kept);
        }
    }

    /// Put `plan`'s node on top of its pieces at their source, wholly or in part; or give them back.
    fn grow(
        &mut self,
        plan: &LogicalPlan,
        wanted: Wanted,
        mut pieces: Vec<Piece>,
    ) -> Result<Result<Piece, Vec<Piece>>> {
        match plan {
            LogicalPlan::Join(join) => return self.join(join, pieces),
            LogicalPlan::Union(union) => return Ok(self.union(union, pieces)),
            _ => {}
        }
        let (Some(piece), None) = (pieces.pop(), pieces.pop()) else {
            return Ok(Err(pieces));
        };
        let remote = match (piece, plan) {
            (Piece::Remote(remote), _) => remote,
            (Piece::Local(local), LogicalPlan::Projection(projection)) => {
                return narrow_below(local, projection).map(|plan| Err(vec![Piece::Local(plan)]));
            }
            (local, _) => return Ok(Err(vec![local])),
        };
        let estimate = Estimate::over(plan, vec![remote.estimate.clone()]);
        match plan {
            LogicalPlan::SubqueryAlias(SubqueryAlias { schema, .. }) => {
                Ok(Ok(Piece::Remote(Remote {
                    schema: schema.clone(),
                    estimate,
                    ..remote
                })))
            }
            _ if Barrier::of(plan).is_some() => Ok(Ok(Piece::Remote(Remote {
                is_sealed: true,
                ..remote
            }))),
            LogicalPlan::Filter(filter) => self.filter(filter, remote).map(Ok),
            LogicalPlan::Projection(projection) => self.projection(projection, remote, estimate),
            LogicalPlan::Aggregate(aggregate) => Ok(self.aggregate(aggregate, remote, estimate)),
            LogicalPlan::Window(window) => Ok(self.window(window, remote, estimate)),
            LogicalPlan::Sort(sort) => Ok(self.sort(sort, remote, estimate)),
            LogicalPlan::Limit(limit) => Ok(self.limit(limit, wanted, remote)),
            _ => Ok(Err(vec![Piece::Remote(remote)])),
        }
    }

    /// Conjuncts the source decides exactly go there; what it can only narrow goes there *and* stays; the rest stays.
    /// With a residual the fragment ends.
    fn filter(&mut self, filter: &Filter, mut remote: Remote) -> Result<Piece> {
        let capabilities = remote.handle.source.capabilities();
        let input = remote.rel.schema();
        let (mut sent, mut residual) = (Vec::new(), Vec::new());
        for predicate in split_conjunction_owned(filter.predicate.clone()) {
            let translated = match expr::scalar(&predicate, &remote.schema) {
                // What is leakproof has passed the barrier.
                Ok(_) if remote.is_sealed => {
                    self.keep(&remote, &predicate, BEHIND_BARRIER);
                    residual.push(predicate);
                    continue;
                }
                Ok(translated) => translated,
                Err(why) => {
                    self.keep(&remote, &predicate, why);
                    residual.push(predicate);
                    continue;
                }
            };
            if let Some(notice) = remote.notice(&translated)
                && !self.notices.contains(&notice)
            {
                self.notices.push(notice);
            }
            match capabilities.predicate(&translated, &input) {
                Support::Exact => sent.push((translated, predicate, false)),
                Support::Superset(why) => {
                    self.keep(&remote, &predicate, format!("checked again here: {why}"));
                    sent.push((translated, predicate, true));
                }
                Support::No(why) => {
                    self.keep(&remote, &predicate, why);
                    residual.push(predicate);
                }
            }
        }
        if !sent.is_empty() {
            let predicates = sent.iter().map(|(sent, _, _)| sent.clone()).collect();
            let schema = remote.schema.clone();
            let part = remote
                .estimate
                .selectivity_of(sent.iter().map(|(_, predicate, _)| predicate));
            let left = remote.estimate.clone().reduced(part);
            let top = |input| Rel::Filter { input, predicates };
            remote = match remote.grow(&schema, left, top) {
                Ok(grown) => {
                    let again = sent.into_iter().filter(|(_, _, again)| *again);
                    residual.extend(again.map(|(_, predicate, _)| predicate));
                    grown.with_learned_rows()
                }
                Err(refused) => {
                    let (remote, why) = *refused;
                    self.keep(&remote, &filter.predicate, why);
                    residual = split_conjunction_owned(filter.predicate.clone());
                    remote
                }
            };
        }
        match conjunction(residual) {
            None => Ok(Piece::Remote(remote)),
            Some(predicate) => {
                let filter = Filter::new(predicate, Arc::new(remote.finish()));
                self.keep_node(LogicalPlan::Filter(filter), Vec::new())
                    .map(Piece::Local)
            }
        }
    }

    fn projection(
        &mut self,
        projection: &Projection,
        remote: Remote,
        estimate: Estimate,
    ) -> Result<Result<Piece, Vec<Piece>>> {
        let schema = &projection.schema;
        let names = schema.fields().iter().map(|f| f.name().clone());
        let (remote, why) = match expr::scalars(&projection.expr, &remote.schema) {
            Ok(exprs) => {
                let columns = exprs.into_iter().zip(names).collect();
                let top = |input| Rel::Project { input, columns };
                match remote.grow(schema, estimate, top) {
                    Ok(grown) => return Ok(Ok(Piece::Remote(grown))),
                    Err(refused) => *refused,
                }
            }
            Err(why) => (remote, why),
        };
        self.keep(
            &remote,
            plan_line(&LogicalPlan::Projection(projection.clone())),
            why,
        );
        let columns = remote.columns_of(&projection.expr);
        Ok(Err(vec![Piece::Remote(remote.narrow(&columns)?)]))
    }

    fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        remote: Remote,
        estimate: Estimate,
    ) -> Result<Piece, Vec<Piece>> {
        let translated = || {
            let keys = expr::scalars(&aggregate.group_expr, &remote.schema)?;
            let values = aggregate
                .aggr_expr
                .iter()
                .map(|e| expr::aggregate(e, &remote.schema))
                .collect::<Result<Vec<_>, _>>()?;
            Ok::<_, expr::Declined>((keys, values))
        };
        let (remote, why) = match translated() {
            Ok((keys, values)) => {
                let mut names = aggregate.schema.fields().iter().map(|f| f.name().clone());
                let group_by = keys.into_iter().zip(names.by_ref()).collect::<Vec<_>>();
                let aggregates = values.into_iter().zip(names).collect();
                let top = |input| Rel::Aggregate {
                    input,
                    group_by,
                    aggregates,
                };
                match remote.grow(&aggregate.schema, estimate, top) {
                    Ok(grown) => return Ok(Piece::Remote(grown)),
                    Err(refused) => *refused,
                }
            }
            Err(why) => (remote, why),
        };
        self.keep(
            &remote,
            plan_line(&LogicalPlan::Aggregate(aggregate.clone())),
            why,
        );
        Err(vec![Piece::Remote(remote)])
    }

    fn window(
        &mut self,
        window: &Window,
        remote: Remote,
        estimate: Estimate,
    ) -> Result<Piece, Vec<Piece>> {
        let (remote, why) = match window::translated(window, &remote) {
            Ok(windows) => {
                let top = |input| Rel::Window { input, windows };
                match remote.grow(&window.schema, estimate, top) {
                    Ok(grown) => return Ok(Piece::Remote(grown)),
                    Err(refused) => *refused,
                }
            }
            Err(why) => (remote, why),
        };
        self.keep(
            &remote,
            plan_line(&LogicalPlan::Window(window.clone())),
            why,
        );
        Err(vec![Piece::Remote(remote)])
    }

    /// A top-n is sent and kept: what arrives is at most n rows, and its order is ours to vouch for.
    fn sort(
        &mut self,
        sort: &Sort,
        remote: Remote,
        estimate: Estimate,
    ) -> Result<Piece, Vec<Piece>> {
        let Some(fetch) = sort.fetch else {
            return Err(vec![Piece::Remote(remote)]);
        };
        let keys = sort
            .expr
            .iter()
            .map(|s| expr::sort_key(s, &remote.schema))
            .collect::<Result<Vec<_>, _>>();
        let (remote, why) = match keys {
            Ok(mut keys) => {
                let width = remote.schema.fields().len();
                cut_where_total(&[], &mut keys, &remote.keys, width);
                let schema = remote.schema.clone();
                let top = |input| Rel::Sort {
                    input,
                    keys,
                    fetch: Some(fetch as u64),
                };
                match remote.grow(&schema, estimate, top) {
                    Ok(grown) => {
                        let kept = Sort {
                            input: Arc::new(grown.finish()),
                            ..sort.clone()
                        };
                        return Ok(Piece::Local(LogicalPlan::Sort(kept)));
                    }
                    Err(refused) => *refused,
                }
            }
            Err(why) => (remote, why),
        };
        self.keep(&remote, plan_line(&LogicalPlan::Sort(sort.clone())), why);
        Err(vec![Piece::Remote(remote)])
    }

    /// The limit is sent with the skipped rows added, and kept.
    fn limit(
        &mut self,
        limit: &Limit,
        wanted: Wanted,
        remote: Remote,
    ) -> Result<Piece, Vec<Piece>> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(Some(fetch)))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return Err(vec![Piece::Remote(remote)]);
        };
        let rows = skip.saturating_add(fetch);
        match remote.without_limit(rows).limited(rows) {
            Ok(grown) if skip == 0 && wanted == Wanted::SomeRow => Ok(Piece::Remote(grown)),
            // The fragment ends: what is above a limit without an order would see other rows than here.
            Ok(grown) if skip == 0 => Ok(Piece::Local(grown.finish())),
            Ok(grown) => {
                let kept = Limit {
                    input: Arc::new(grown.finish()),
                    ..limit.clone()
                };
                Ok(Piece::Local(LogicalPlan::Limit(kept)))
            }
            Err(refused) => {
                let (remote, why) = *refused;
                self.keep(&remote, plan_line(&LogicalPlan::Limit(limit.clone())), why);
                Err(vec![Piece::Remote(remote)])
            }
        }
    }

    fn join(&mut self, join: &Join, pieces: Vec<Piece>) -> Result<Result<Piece, Vec<Piece>>> {
        let Ok([left, right]) = <[Piece; 2]>::try_from(pieces) else {
            return datafusion::common::internal_err!("a join has two inputs");
        };
        let (left, right) = match (left, right) {
            (Piece::Remote(left), Piece::Remote(right)) if left.is_beside(&right) => (left, right),
            (left, right) => return Ok(Err(vec![left, right])),
        };
        let is_sealed = left.is_sealed || right.is_sealed;
        let why = match join::translated(join, &left, &right) {
            Ok(rel) if is_sealed && !rel.is_leakproof() => BEHIND_BARRIER.to_string(),
            Ok(rel) => match left.handle.source.capabilities().node(&rel) {
                Support::Exact => {
                    return Ok(Ok(Piece::Remote(Remote {
                        keys: join::keys(join, &left, &right),
                        handle: left.handle,
                        rel,
                        schema: join.schema.clone(),
                        estimate: Estimate::over(
                            &LogicalPlan::Join(join.clone()),
                            vec![left.estimate, right.estimate],
                        ),
                        is_sealed,
                    })));
                }
                Support::Superset(why) | Support::No(why) => why,
            },
            Err(why) => why,
        };
        self.keep(&left, plan_line(&LogicalPlan::Join(join.clone())), why);
        Ok(Err(vec![Piece::Remote(left), Piece::Remote(right)]))
    }

    fn union(&mut self, union: &Union, pieces: Vec<Piece>) -> Result<Piece, Vec<Piece>> {
        let mut remotes = Vec::new();
        for piece in &pieces {
            match piece {
                Piece::Remote(remote) => remotes.push(remote),
                Piece::Local(_) => return Err(pieces),
            }
        }
        let [first, rest @ ..] = remotes.as_slice() else {
            return Err(pieces);
        };
        if !rest.iter().all(|remote| first.is_beside(remote)) {
            return Err(pieces);
        }
        let rel = Rel::UnionAll {
            inputs: remotes.iter().map(|r| r.rel.clone()).collect(),
            schema: Arc::clone(union.schema.inner()),
        };
        let handle = first.handle.clone();
        let inputs = remotes.iter().map(|r| r.estimate.clone()).collect();
        let estimate = Estimate::over(&LogicalPlan::Union(union.clone()), inputs);
        match handle.source.capabilities().node(&rel) {
            Support::Exact => Ok(Piece::Remote(Remote {
                handle,
                rel,
                schema: union.schema.clone(),
                keys: Keys::default(),
                estimate,
                is_sealed: remotes.iter().any(|remote| remote.is_sealed),
            })),
            Support::Superset(why) | Support::No(why) => {
                self.keep(first, "Union", why);
                Err(pieces)
            }
        }
    }
}

/// `Projection(Filter(Fragment))`: columns that only predicates at the source read need not travel.
fn narrow_below(plan: LogicalPlan, projection: &Projection) -> Result<LogicalPlan> {
    let LogicalPlan::Filter(filter) = &plan else {
        return Ok(plan);
    };
    let Some(node) = fragment_of(&filter.input) else {
        return Ok(plan);
    };
    let remote = Remote {
        handle: node.handle.clone(),
        rel: node.fragment.rel.clone(),
        schema: node.schema.clone(),
        keys: node.keys.clone(),
        estimate: node.estimate.clone(),
        // It grows by nothing but fewer columns.
        is_sealed: false,
    };
    let columns = remote.columns_of(projection.expr.iter().chain([&filter.predicate]));
    let narrowed = remote.narrow(&columns)?.finish();
    Ok(LogicalPlan::Filter(Filter::new(
        filter.predicate.clone(),
        Arc::new(narrowed),
    )))
}

/// The node's own line, as DataFusion prints it.
fn plan_line(plan: &LogicalPlan) -> String {
    plan.display().to_string()
}
