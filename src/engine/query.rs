//! A query's way: plan → break ties → optimize → cut → run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use belvedere_connector::{Code, StatementContext};
use chrono::SubsecRound;
use datafusion::catalog::{MemoryCatalogProviderList, TableProvider};
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::{ViewTable, source_as_provider};
use datafusion::execution::context::SessionState;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Volatility};
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, col};
use datafusion::sql::parser::Statement as SqlStatement;
use futures::StreamExt;

use super::builder::memory_pool;
use super::conjuncts::CheapFirst;
use super::copies::{WithCopies, failed_beside};
use super::names::Names;
use super::room::Room;
use super::settings::{Consistency, Settings};
use super::stop::Stop;
use super::{dialect, labels, system, upstream, versions};
use crate::access::BarrierPlanner;
use crate::catalog::{ViewColumn, ViewDefinition};
use crate::error::{Error, Kind, Result};
use crate::exact::AveragesAsSums;
use crate::federation::{
    self, Cut, FragmentExec, FragmentPlanner, JoinOrder, PastBarriers, RestartPlanner,
    SharedPlanner, Template,
};
use crate::freshness::Freshness;
use crate::views::{Bounds, CopyTable, Followed};

type LogicalRules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

const PUSH_DOWN_FILTER: &str = "push_down_filter";

/// DataFusion's rules over logical plans, with barriers, and exact averages.
fn plain_rules() -> LogicalRules {
    let rules = upstream::logical_rules().into_iter();
    let rules = rules.map(|rule| match rule.name() {
        PUSH_DOWN_FILTER => Arc::new(PastBarriers(rule)),
        _ => rule,
    });
    let first: LogicalRules = vec![Arc::new(AveragesAsSums)];
    first.into_iter().chain(rules).collect()
}

/// The same, and the order of joins.
pub(super) fn logical_rules() -> LogicalRules {
    let mut rules = plain_rules();
    // After it each relation has the filters that tell how many rows are left; columns are pruned later.
    let filters = rules
        .iter()
        .position(|rule| rule.name() == PUSH_DOWN_FILTER);
    let at = filters.map_or(rules.len(), |filters| filters + 1);
    rules.insert(at, Arc::new(JoinOrder));
    rules
}

/// DataFusion's rules over physical plans, and the order of conditions.
pub(super) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = upstream::physical_rules();
    rules.push(Arc::new(CheapFirst));
    rules
}

/// A query whose names are resolved. Plain DataFusion: nothing is optimized or cut yet.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub plan: LogicalPlan,
    pub names: Names,
}

/// A query's rows, and what the user should know besides.
pub(super) struct Ran {
    pub stream: SendableRecordBatchStream,
    pub notices: Vec<String>,
    pub freshness: Freshness,
    /// The tables it was made of, where all of them are followed: from before they were asked.
    pub followed: Option<Followed>,
}

/// What sources are told of a statement.
fn config(names: &Names, deadline: Option<Instant>) -> SessionConfig {
    let timeout = names.settings.statement_timeout;
    let mut config = names.inner.state.config().clone();
    config.set_extension(Arc::new(StatementContext {
        deadline,
        asker: names.caller.asker,
        spent: names.caller.spent.clone(),
    }));
    config.set_extension(Arc::new(Stop::new(deadline, timeout)));
    config
}

/// DataFusion's state for one statement.
pub(super) fn state(names: &Names, deadline: Option<Instant>) -> Result<SessionState> {
    let base = &names.inner.state;
    let settings: &Settings = &names.settings;
    let mut config = config(names, deadline);
    let options = config.options_mut();
    options.execution.time_zone = Some(settings.timezone.clone());
    let dynamic = settings.pushdown && settings.dynamic_filters;
    options.optimizer.enable_dynamic_filter_pushdown = dynamic;
    options.optimizer.enable_join_dynamic_filter_pushdown = dynamic;
    options.optimizer.enable_topk_dynamic_filter_pushdown = dynamic;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = dynamic;
    let mut builder = SessionStateBuilder::new_from_existing(base.clone())
        .with_config(config)
        .with_catalog_list(Arc::new(names.clone()))
        .with_relation_planners(upstream::relation_planners());
    if !settings.pushdown {
        builder = builder.with_optimizer_rules(plain_rules());
    }
    if let Some(limit) = settings.memory_limit {
        let runtime = RuntimeEnvBuilder::from_runtime_env(base.runtime_env())
            .with_memory_pool(memory_pool(limit));
        builder = builder.with_runtime_env(Arc::new(runtime.build()?));
    }
    let mut state = builder.build();
    // What now() and its like are, in all of the statement: in microseconds, as sources have them. A column is compared with a
    // finer constant as if that were the microsecond before it.
    state.mark_start_execution();
    let now = &mut state.execution_props_mut().query_execution_start_time;
    *now = now.map(|now| now.trunc_subsecs(6));
    Ok(state)
}

/// Resolve and type a query whose rows are the answer: to clients of PostgreSQL its columns are called as they are there.
pub(super) async fn plan_answer(names: Names, query: &belvedere_sql::Query) -> Result<Planned> {
    if !names.settings.one_database {
        return plan(names, query).await;
    }
    let mut query = query.clone();
    labels::as_postgres(&mut query);
    plan(names, &query).await
}

/// Resolve and type a query.
pub(super) async fn plan(names: Names, query: &belvedere_sql::Query) -> Result<Planned> {
    let mut query = query.clone();
    labels::tell_apart(&mut query);
    let planned = plan_as_named(names.clone(), query.clone()).await;
    match planned {
        Err(e) if labels::are_the_same(&e) && labels::tell_more_apart(&mut query) => {
            plan_as_named(names, query).await.or(Err(e))
        }
        planned => planned,
    }
}

async fn plan_as_named(names: Names, mut query: belvedere_sql::Query) -> Result<Planned> {
    let mut state = state(&names, None)?;
    versions::into_names(&mut query, &names.settings.timezone)?;
    upstream::in_known_words(&mut query)?;
    system::understand(&mut query, &names, &mut state)?;
    dialect::in_words(&mut query);
    dialect::long_numbers(&mut query);
    let statement = sqlparser::ast::Statement::Query(Box::new(query));
    let plan = state
        .statement_to_plan(SqlStatement::Statement(Box::new(statement)))
        .await?;
    let plan = upstream::bare_recursion(plan)?;
    let room = Room::for_plan(&plan)?;
    let plan = room.with(|| {
        let plan = dialect::meant(plan, &state, &names.settings.timezone)?;
        upstream::as_planned(plan, &state)
    })?;
    Ok(Planned { plan, names })
}

impl Planned {
    /// The same with its parameters in place.
    pub fn with_parameters(&self, values: ParamValues) -> Result<Self> {
        let plan = self.plan.clone().with_param_values(values)?;
        Ok(Self {
            plan,
            names: self.names.clone(),
        })
    }

    /// Optimized, with what the sources answer cut out. With `widen`, what is the same in two places but for its columns is
    /// asked for once.
    pub fn cut(&self, state: &SessionState, widen: bool) -> Result<Cut> {
        Room::for_plan(&self.plan)?.with(|| {
            let plan = optimized(self.plan.clone(), state)?;
            let settings = &self.names.settings;
            let cut = federation::cut(plan, settings.pushdown)?;
            if !settings.pushdown {
                return Ok(cut);
            }
            let shared = federation::share(cut, widen)?;
            Ok(federation::limit_ordered_sides(
                shared,
                settings.top_n_first_rows,
            )?)
        })
    }

    /// What one source answers for it, whatever its parameters are. None: not all of it is one source's, or what it is hangs on
    /// when it is run.
    pub fn template(&self) -> Result<Option<Template>> {
        let settings = &self.names.settings;
        let is_otherwise = !settings.pushdown || settings.memory_limit.is_some();
        if is_otherwise || self.may_be_matched() || reads_clock(&self.plan)? {
            return Ok(None);
        }
        let cut = self.cut(&state(&self.names, None)?, false)?;
        Ok(Template::of(&cut))
    }

    /// Optimized, and the state that knows its functions, if copies are all that it reads. None: something else is read, or what it gives
    /// hangs on when it is run.
    pub fn of_copies(&self) -> Result<Option<(LogicalPlan, SessionState)>> {
        let (mut are_copies, mut scans) = (true, 0);
        self.plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let provider = source_as_provider(&scan.source)?;
                are_copies &= provider.is::<CopyTable>();
                scans += 1;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let settings = &self.names.settings;
        let is_otherwise = !settings.pushdown || settings.memory_limit.is_some();
        if scans == 0 || !are_copies || is_otherwise || reads_clock(&self.plan)? {
            return Ok(None);
        }
        let state = state(&self.names, None)?;
        let plan = || -> Result<LogicalPlan> {
            let plan = optimized(self.plan.clone(), &state)?;
            Ok(upstream::before_planner(plan)?)
        };
        let plan = Room::for_plan(&self.plan)?.with(plan)?;
        Ok(Some((plan, state)))
    }

    /// What a view that is kept by changes is compiled from, and the state that knows its functions. What is compiled lives as
    /// long as the engine, and must not keep it: no names of a statement are in the state.
    pub fn kept(&self) -> Result<(LogicalPlan, SessionState)> {
        let mut state = SessionStateBuilder::new_from_existing(state(&self.names, None)?)
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .build();
        // Unknown, `now()` stays in the plan, where it is found.
        state.execution_props_mut().query_execution_start_time = None;
        let plan = Room::for_plan(&self.plan)?.with(|| kept_plan(self.plan.clone(), &state))?;
        Ok((plan, state))
    }

    /// Run it. The first batch has arrived when this returns, so that an error before it is this call's; a source
    /// whose schema has changed is read again and the query planned again, once.
    pub async fn run(&self, deadline: Option<Instant>) -> Result<Ran> {
        // In boxes, as below: each is large, and a part of the future of whoever awaits this.
        if let Some(matched) = Box::pin(self.matched()).await.planned {
            match Box::pin(matched.run_as_said(deadline)).await {
                // Whatever has become of a copy meanwhile: the query does not name it, and can do without.
                Err(e) if !matches!(e, Error::Timeout { .. } | Error::Cancelled) => {}
                ran => return ran,
            }
        }
        match Box::pin(self.run_as_said(deadline)).await {
            Err(e) if e.is_of_failing_source() => self.run_stale(deadline).await.ok_or(e),
            ran => ran,
        }
    }

    /// By copies that it does not name, while what it reads fails.
    async fn run_stale(&self, deadline: Option<Instant>) -> Option<Ran> {
        let matched = Box::pin(self.matched_stale()).await?;
        let mut ran = Box::pin(matched.run_as_said(deadline)).await.ok()?;
        ran.freshness.mark_stale();
        Some(ran)
    }

    /// The same by the copies alone that it names.
    pub(super) async fn run_as_said(&self, deadline: Option<Instant>) -> Result<Ran> {
        let found = self.with_copies(deadline, false).await?;
        match found.run(deadline).await {
            // What is asked instead of copies that are too old fails: so old they may be.
            Err(e) if !found.live.is_empty() && e.is_of_failing_source() => {
                match self.with_copies(deadline, true).await {
                    Ok(found) => found.run(deadline).await,
                    Err(_) => Err(match found.live.values().next() {
                        Some(old) => failed_beside(e, old),
                        None => e,
                    }),
                }
            }
            ran => ran,
        }
    }

    /// Run it. If a source turns out to have another schema than known, it is read again, and `again` is run in its place, once.
    pub async fn run_or_again(
        &self,
        deadline: Option<Instant>,
        again: impl AsyncFnOnce() -> Result<Self>,
    ) -> Result<Ran> {
        let first = self.run(deadline).await;
        let outdated = first.as_ref().err().and_then(|e| self.outdated_source(e));
        let Some(source) = outdated else {
            return first;
        };
        self.names.inner.refresh_place(&source).await?;
        again().await?.run(deadline).await
    }

    /// The source to read again before another try, if this error says that its schema has changed.
    pub fn outdated_source(&self, error: &Error) -> Option<String> {
        match error {
            Error::Source(e) if matches!(e.code, Code::SchemaChanged | Code::TableMissing) => {
                e.source_name.clone().filter(|_| !self.names.frozen)
            }
            _ => None,
        }
    }
}

impl WithCopies {
    async fn run(&self, deadline: Option<Instant>) -> Result<Ran> {
        let this = &self.planned;
        let first = state(&this.names, deadline)?;
        let cut = this.cut(&first, true)?;
        let freshness = self
            .freshness
            .clone()
            .with_sources(&cut.plan, &this.names)?;
        if this.names.settings.consistency == Consistency::Strict {
            freshness.agrees()?;
        }
        let followed = this.followed(&cut.plan)?;
        let is_wider = cut.is_wider;
        let ran = match begun(cut, &first).await {
            // It may be of a value that only another place would have looked at, had there been a row.
            Err(e) if is_wider && e.kind() == Kind::Definite => {
                let second = state(&this.names, deadline)?;
                begun(this.cut(&second, false)?, &second).await
            }
            ran => ran,
        };
        ran.map(|ran| Ran {
            freshness,
            followed,
            ..ran
        })
    }
}

/// Optimized, and ready for DataFusion's planner: nothing is cut out for sources.
pub(crate) fn kept_plan(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let in_place = match reads_clock(&plan)? {
        true => Some(with_clock_in_place(state)),
        false => None,
    };
    let plan = optimized(plan, in_place.as_ref().unwrap_or(state))?;
    Ok(upstream::before_planner(plan)?)
}

/// Whether what a plan gives depends on when it is run.
pub(super) fn reads_clock(plan: &LogicalPlan) -> Result<bool> {
    let mut reads = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            reads |= expr.exists(|expr| {
                Ok(matches!(expr, Expr::ScalarFunction(call)
                    if call.func.signature().volatility == Volatility::Stable))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(reads)
}

/// The state without the rule that makes a column of what stands twice in a node: with a column for `now()` it could not be seen
/// that rows are compared with the clock.
fn with_clock_in_place(state: &SessionState) -> SessionState {
    let rules = state.optimizers().iter().cloned();
    let rules = rules.filter(|rule| rule.name() != "common_sub_expression_eliminate");
    SessionStateBuilder::new_from_existing(state.clone())
        .with_optimizer_rules(rules.collect())
        .build()
}

fn optimized(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let plan = upstream::before_optimizer(plan, state)?;
    let plan = federation::break_ties(plan)?;
    Ok(state.optimize(&plan)?)
}

/// Run what one source answers by itself. The first batch has arrived when this returns.
pub(super) async fn run_alone(
    fragment: FragmentExec,
    names: &Names,
    deadline: Option<Instant>,
) -> Result<SendableRecordBatchStream> {
    let base = &names.inner.state;
    let config = config(names, deadline);
    let stop = config.get_extension::<Stop>();
    let context = TaskContext::new(
        None,
        base.session_id().to_string(),
        config,
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        base.runtime_env().clone(),
    );
    let stream = fragment.execute(0, Arc::new(context))?;
    begun_with(match stop {
        Some(stop) => stop.with(stream),
        None => stream,
    })
    .await
}

async fn begun(cut: Cut, state: &SessionState) -> Result<Ran> {
    let physical = physical(&cut.plan, state).await?;
    Ok(Ran {
        stream: started(physical, state).await?,
        notices: cut.notices,
        freshness: Freshness::default(),
        followed: None,
    })
}

pub(super) async fn physical(
    plan: &LogicalPlan,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>> {
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![
        Arc::new(FragmentPlanner),
        Arc::new(SharedPlanner),
        Arc::new(RestartPlanner),
        Arc::new(BarrierPlanner),
    ]);
    let planned = async {
        let plan = upstream::before_planner(plan.clone())?;
        let plan = planner.create_physical_plan(&plan, state).await?;
        stop(state).within(plan)
    };
    Room::for_plan(plan)?.run(planned).await
}

/// When the statement of this state has to stop.
fn stop(state: &SessionState) -> Stop {
    state
        .config()
        .get_extension::<Stop>()
        .as_deref()
        .cloned()
        .unwrap_or_default()
}

/// The plan's stream, its first batch (or error) being there.
async fn started(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
) -> Result<SendableRecordBatchStream> {
    begun_with(stop(state).with(execute_stream(plan, state.task_ctx())?)).await
}

async fn begun_with(mut stream: SendableRecordBatchStream) -> Result<SendableRecordBatchStream> {
    let schema = stream.schema();
    let first = stream.next().await.transpose()?;
    let whole = futures::stream::iter(first.map(Ok)).chain(stream);
    Ok(Box::pin(
        datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, whole),
    ))
}

/// A view as DataFusion inlines it.
pub(super) async fn view_provider(
    names: &Names,
    view: &ViewDefinition,
) -> Result<Arc<dyn TableProvider>> {
    let plan = view_plan(names, view).await?;
    Ok(Arc::new(ViewTable::new(plan, Some(view.query.clone()))))
}

/// A view's query, planned with the names it was defined under, giving the columns it was defined with.
pub(super) async fn view_plan(names: &Names, view: &ViewDefinition) -> Result<LogicalPlan> {
    // As it is defined, and not as it is seen.
    let view = match names.world.is_whole() {
        true => view,
        false => names.view(&view.id()).map_or(view, Arc::as_ref),
    };
    let is_shown = names.world.permits_all("view", &view.id()).is_ok();
    let names = names.inside(view);
    let names = names.bounded(Bounds::new(&view.bounds)?);
    let broken = |e: Error| match e {
        // The source's failure is its own; the view is only where it was met.
        Error::Source(_) => e,
        // What it reads is nobody's business but who has defined it.
        _ if !is_shown => Error::invalid_with_help(
            format!("view {} cannot be read any more", view.id()),
            "Who has defined it is told why",
        ),
        other => Error::invalid(format!(
            "view {} cannot be read any more: {other}",
            view.id()
        )),
    };
    let parsed = belvedere_sql::parse_one(&view.query)?;
    let belvedere_sql::Statement::Query(query) = parsed.statement else {
        return Err(Error::Internal(format!(
            "view {} is not a query",
            view.id()
        )));
    };
    // Planning a view plans the views it reads.
    let planned = Room::PLANNING.run(plan(names, &query)).await;
    let planned = planned.map_err(broken)?;
    with_columns(planned.plan, view).map_err(broken)
}

/// The plan's output as the view's columns: by position where the definition names them, else by name.
fn with_columns(plan: LogicalPlan, view: &ViewDefinition) -> Result<LogicalPlan> {
    let fields = labels::shown_schema(plan.schema().inner(), false)
        .fields()
        .clone();
    let same = fields.len() == view.columns.len()
        && fields
            .iter()
            .zip(&view.columns)
            .all(|(f, c)| f.name() == &c.name);
    if same {
        return Ok(plan);
    }
    let mut output = Vec::new();
    for (i, column) in view.columns.iter().enumerate() {
        let from = match view.named_columns {
            true => fields.get(i).map(|_| i),
            false => fields.iter().position(|f| f.name() == &column.name),
        };
        let from = from.ok_or_else(|| {
            let kind = match view.materialized {
                Some(_) => "MATERIALIZED VIEW",
                None => "VIEW",
            };
            Error::invalid_with_help(
                format!("its column {} is no longer there", column.name),
                format!("CREATE OR REPLACE {kind} defines it anew"),
            )
        })?;
        let (qualifier, field) = plan.schema().qualified_field(from);
        output.push(col(datafusion::common::Column::from((qualifier, field))).alias(&column.name));
    }
    Ok(LogicalPlanBuilder::from(plan).project(output)?.build()?)
}

/// The columns a view of this plan has.
pub(super) fn view_columns(plan: &LogicalPlan, names: &[String]) -> Result<Vec<ViewColumn>> {
    let shown = labels::shown_schema(plan.schema().inner(), false);
    let fields = shown.fields();
    if !names.is_empty() && names.len() != fields.len() {
        return Err(Error::invalid(format!(
            "the view names {} columns, its query has {}",
            names.len(),
            fields.len()
        )));
    }
    let mut columns: Vec<ViewColumn> = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let name = names.get(i).unwrap_or(field.name()).clone();
        if columns.iter().any(|c| c.name == name) {
            return Err(Error::invalid_with_help(
                format!("two columns would be named {name}"),
                "Give one another name: SELECT … AS other_name",
            ));
        }
        let (data_type, nullable) = (field.data_type().clone(), field.is_nullable());
        columns.push(ViewColumn {
            name,
            data_type,
            nullable,
        });
    }
    Ok(columns)
}
