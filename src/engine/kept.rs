//! Kept views, as `views` wants them: definitions become contracts and dataflows, and what it has to run runs here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use belvedere_connector::{Capture, Captured, Source, Table, TableRef};
use belvedere_sql::{RefreshView, ident};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::TableReference;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{LogicalPlan, SubqueryAlias, TableScan, TableScanBuilder};
use futures::TryStreamExt;

use super::define::existing_view;
use super::lineage::Outline;
use super::names::{Caller, Names};
use super::query::{self, Planned};
use super::settings::Settings;
use super::watch;
use super::world::{Inner, World};
use crate::access::{Identity, Rights};
use crate::catalog::{CATALOG, Check, ObjectId, Store, ViewDefinition};
use crate::error::{Error, Result};
use crate::federation::BACKGROUND;
use crate::incremental::{Compiled, Input, Refused};
use crate::replication::{Disk, Durable, Forgetful, Wanted};
use crate::views::{
    ASKED, Contract, CopyTable, Execute, FlowInput, FlowPlan, KeptView, Shown, Upkeep, Version,
};

/// Where what views follow survives: in the data directory, or not at all.
pub(super) fn durable(store: &Arc<Store>, data_dir: Option<&Path>) -> Result<Box<dyn Durable>> {
    Ok(match data_dir {
        None => Box::new(Forgetful),
        Some(dir) => {
            let disk = Disk::open(&dir.join("replicas"), store.clone());
            Box::new(disk.map_err(|e| Error::Store {
                message: e.to_string(),
                help: None,
            })?)
        }
    })
}

/// Begin to keep what is defined.
pub(super) async fn start(inner: &Arc<Inner>) {
    let execute = Arc::new(Executor(Arc::downgrade(inner)));
    inner.views.start(execute);
    settle(inner).await;
}

/// Keep what is defined now.
pub(super) async fn settle(inner: &Arc<Inner>) {
    let world = inner.world();
    let names = Names::new(inner.clone(), world.clone(), Settings::default(), true);
    let mut kept = Vec::new();
    let asked = inner.views.asked.all();
    for view in world.definitions.views.values().chain(&asked) {
        let Some(Ok(bare)) = KeptView::new(view) else {
            continue;
        };
        kept.push(match kept_view(&names, view).await {
            Ok(kept) => kept,
            // It was one that could be kept when it was defined: what it reads has changed.
            Err(e) => KeptView {
                flow: Some(Err(e.to_string().into())),
                ..bare
            },
        });
    }
    let sources = world.live.iter();
    let sources = sources.map(|(name, live)| (name.clone(), live.followed.clone()));
    inner.views.settle(kept, sources.collect());
}

/// A view as it is to be kept.
///
/// # Errors
/// If its contract cannot be: an option, its key, a query that cannot follow changes, a source that does not tell them.
pub(super) async fn kept_view(names: &Names, view: &Arc<ViewDefinition>) -> Result<KeptView> {
    let virtual_view = || Error::Internal(format!("view {} is virtual", view.id()));
    let mut kept = KeptView::new(view).ok_or_else(virtual_view)??;
    if let Some(source) = read_as_somebody(names, view) {
        return Err(Error::invalid_with_help(
            format!(
                "source {source} is read by whoever asks as a user of its own: nothing of it is kept"
            ),
            "Who has no mapping there may define what is kept of it",
        ));
    }
    for column in &kept.contract.key {
        if !view.columns.iter().any(|c| c.name == *column) {
            let near = super::nearest(column, view.columns.iter().map(|c| c.name.as_str()));
            return Err(Error::Unknown {
                what: "column",
                name: format!("{column} of the key of view {}", view.id()),
                hint: near.map(|near| format!("Did you mean {near}?")),
            });
        }
    }
    match kept.contract.upkeep {
        Upkeep::Change => {
            let plan = flow_plan(names, view, kept.generation).await?;
            kept.flow = Some(Ok(Arc::new(plan)));
        }
        Upkeep::Read => kept.watched = Some(watch::tables(names, view).await),
        Upkeep::Schedule(_) | Upkeep::Manual => {}
    }
    if let (Some(Err(reason)), None) = (&kept.watched, kept.contract.max_staleness) {
        return Err(Error::invalid_with_help(
            format!(
                "a view with refresh = 'on read' says how old it may be when it is read, where nothing tells that what it reads \
                 has changed: {reason}"
            ),
            "Add max_staleness = '5min'",
        ));
    }
    Ok(kept)
}

/// A source that a view, or one that it reads, reads as a user of it whom who has defined it is mapped to.
fn read_as_somebody(names: &Names, view: &ViewDefinition) -> Option<String> {
    let world = &names.root;
    let definitions = &world.definitions;
    if definitions.mappings.is_empty() {
        return None;
    }
    let (mut pending, mut seen) = (vec![view], BTreeSet::new());
    while let Some(view) = pending.pop() {
        let identity = match &view.definer {
            None => Identity::administrator(),
            Some(name) => {
                Identity::of(&definitions.accounts, name).unwrap_or_else(Identity::nobody)
            }
        };
        let rights = Rights {
            definitions,
            identity: &identity,
        };
        for id in &view.depends_on {
            match world.view(id) {
                Some(view) if seen.insert(id) => pending.push(view),
                Some(_) => {}
                None if rights.mapping(id.catalog()) != Ok(None) => {
                    return Some(id.catalog().to_string());
                }
                None => {}
            }
        }
    }
    None
}

/// A check, planned over its view.
pub(super) async fn check_plan(
    names: &Names,
    view: &ViewDefinition,
    check: &Check,
) -> Result<Planned> {
    let parsed = belvedere_sql::parse_one(&check.query)?;
    let belvedere_sql::Statement::Query(ast) = parsed.statement else {
        return Err(Error::invalid("a check is a query"));
    };
    query::plan(names.inside(view), &ast).await
}

/// `REFRESH MATERIALIZED VIEW`.
pub(super) async fn refresh(
    inner: &Arc<Inner>,
    settings: &Settings,
    refresh: &RefreshView,
) -> Result<(&'static str, Vec<String>)> {
    let world = inner.world();
    let (schema, name) = existing_view(&world, settings, &refresh.name)?;
    let id = ObjectId::new([CATALOG, &schema, &name]);
    let view = world.definitions.view(&schema, &name);
    let Some(view) = view.filter(|view| view.materialized.is_some()) else {
        return Err(Error::invalid_with_help(
            format!("{id} is a virtual view"),
            "It is computed when it is read: there is nothing to refresh",
        ));
    };
    if refresh.full && inner.views.is_blocked(&id) {
        // Most often because tables are not what they were.
        let sources = view.depends_on.iter().filter_map(|table| table.0.first());
        let sources: BTreeSet<&str> = sources
            .map(String::as_str)
            .filter(|name| world.live.contains_key(*name))
            .collect();
        for source in sources {
            inner.refresh(source).await?;
        }
    }
    let rows = inner.views.refresh(&id, refresh.full).await?;
    Ok((
        "REFRESH MATERIALIZED VIEW",
        vec![format!("{id} has {rows} rows")],
    ))
}

/// How a view that is kept by change follows what it reads.
async fn flow_plan(names: &Names, view: &ViewDefinition, generation: u64) -> Result<FlowPlan> {
    let planned = identified(names, view).await?;
    for (field, column) in planned.plan.schema().fields().iter().zip(&view.columns) {
        let (is, was) = (field.data_type(), &column.data_type);
        if is != was {
            return Err(Error::invalid_with_help(
                format!(
                    "column {} of {} is {is} now, and was defined as {was}",
                    column.name,
                    called(view)
                ),
                format!("{} defines it anew", anew(view)),
            ));
        }
    }
    let fingerprint = planned.plan.display_indent_schema().to_string();
    let known = planned.names.inner.views.plan(generation);
    let compiled = match known.filter(|known| known.fingerprint == fingerprint) {
        // Each definition settles all views: what has not changed is not compiled again.
        Some(known) => known.compiled.clone(),
        None => {
            let (kept, state) = planned.kept()?;
            let compiled = Compiled::new(&kept, &state);
            Arc::new(compiled.map_err(|refused| not_by_change(view, refused))?)
        }
    };
    let inputs = compiled
        .inputs()
        .iter()
        .map(|input| flow_input(&planned.names.root, input));
    Ok(FlowPlan {
        inputs: inputs.collect::<Result<_>>()?,
        compiled,
        fingerprint,
    })
}

/// The statement that defines a kept view again, as what it reads is now.
fn anew(view: &ViewDefinition) -> String {
    let mut statement = format!("CREATE OR REPLACE MATERIALIZED VIEW {}", view.id());
    if view.named_columns {
        let columns = view.columns.iter().map(|column| ident(&*column.name));
        let columns: Vec<String> = columns.map(|name| name.to_string()).collect();
        statement += &format!(" ({})", columns.join(", "));
    }
    let kept = view.materialized.as_ref();
    let options = kept.into_iter().flat_map(|kept| &kept.options);
    let options = options.map(|(name, value)| (name.as_str(), value));
    let about = view.about.fields();
    let about = about
        .iter()
        .filter_map(|(name, text)| Some((*name, text.as_ref()?)));
    let options = options.chain(about);
    let options = options.map(|(name, value)| format!("{name} = '{}'", value.replace('\'', "''")));
    let options: Vec<String> = options.collect();
    if !options.is_empty() {
        statement += &format!(" WITH ({})", options.join(", "));
    }
    for check in kept.iter().flat_map(|kept| &kept.checks) {
        statement += &format!(" CHECK {} AS ({})", ident(&*check.name), check.query);
    }
    statement + " AS " + &view.query
}

/// A view's query, its tables named by what they are; in its own order of joins: what sources estimate changes, and what is kept
/// does not.
pub(super) async fn identified(names: &Names, view: &ViewDefinition) -> Result<Planned> {
    let mut settings = names.settings.as_ref().clone();
    settings.pushdown = false;
    let names = names.with_settings(settings);
    let plan = query::view_plan(&names, view).await?;
    let plan = by_identity(plan, &names.root)?;
    Ok(Planned { plan, names })
}

/// What errors call a view that is kept, or a query that somebody subscribes to.
pub(super) fn called(view: &ViewDefinition) -> String {
    match view.schema == ASKED {
        true => "the query".to_string(),
        false => format!("view {}", view.id()),
    }
}

fn not_by_change(view: &ViewDefinition, Refused { operator, reason }: Refused) -> Error {
    if view.schema == ASKED {
        return Error::invalid_with_help(
            format!("the query cannot be kept by change: {operator}: {reason}"),
            "Subscribe to a materialized view of it, which is refreshed on a schedule",
        );
    }
    Error::invalid_with_help(
        format!(
            "view {} cannot be kept by change: {operator}: {reason}",
            view.id()
        ),
        "Recompute it instead: refresh = 'every 1 minute', or 'on read' with a max_staleness",
    )
}

/// The plan with each table named by what it is, and not by how the query names it: a name means another table in a view
/// with another search path. Of the table itself only its outline is left.
fn by_identity(plan: LogicalPlan, world: &World) -> Result<LogicalPlan> {
    let named = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else {
            return Ok(Transformed::no(node));
        };
        let Some(id) = identity(scan, world) else {
            return Ok(Transformed::no(node));
        };
        let [catalog, schema, table] = id.0.as_slice() else {
            return Ok(Transformed::no(node));
        };
        let name = TableReference::full(catalog.as_str(), schema.as_str(), table.as_str());
        let outline = Arc::new(Outline {
            schema: scan.source.schema(),
            id: id.clone(),
        });
        let renamed = TableScanBuilder::new(name, provider_as_source(outline))
            .with_projection(scan.projection.clone())
            .with_filters(scan.filters.clone())
            .with_fetch(scan.fetch)
            .build()?;
        let alias = SubqueryAlias::try_new(
            Arc::new(LogicalPlan::TableScan(renamed)),
            scan.table_name.clone(),
        )?;
        Ok(Transformed::yes(LogicalPlan::SubqueryAlias(alias)))
    })?;
    Ok(named.data)
}

/// Which table or kept view is scanned.
fn identity(scan: &TableScan, world: &World) -> Option<ObjectId> {
    let provider = source_as_provider(&scan.source).ok()?;
    if let Some(kept) = provider.downcast_ref::<CopyTable>() {
        return Some(kept.id.clone());
    }
    world.live.iter().find_map(|(name, live)| {
        let table = live.table_of(&provider)?;
        Some(ObjectId::new([name, &table.schema, &table.name]))
    })
}

/// What an input is: a kept view, or some columns of a source's table.
pub(super) fn flow_input(world: &World, input: &Input) -> Result<FlowInput> {
    let (catalog, schema, name) = (
        &*input.table.catalog,
        &*input.table.schema,
        &*input.table.table,
    );
    let id = ObjectId::new([catalog, schema, name]);
    if catalog == CATALOG {
        let kept = world
            .definitions
            .view(schema, name)
            .and_then(|v| v.materialized.as_ref());
        let upkeep = kept.map(|kept| Contract::new(&kept.options)).transpose()?;
        return match upkeep.map(|contract| contract.upkeep) {
            Some(Upkeep::Change) => Ok(FlowInput::View(id)),
            Some(_) => Err(Error::invalid_with_help(
                format!("view {id} is not kept by change, so what is computed of it cannot be"),
                format!(
                    "ALTER MATERIALIZED VIEW {id} SET (refresh = 'on change'), or read what it reads"
                ),
            )),
            None => Err(Error::invalid(format!(
                "{id} does not tell what changes in it"
            ))),
        };
    }
    let tables = world.definitions.tables(catalog);
    let table = tables.iter().find(|t| t.schema == schema && t.name == name);
    let (Some(table), Some(live)) = (table, world.live.get(catalog)) else {
        return Err(Error::invalid(format!(
            "{id} does not tell what changes in it"
        )));
    };
    let source = &live.followed;
    if let Capture::None(reason) = source.capture() {
        return Err(Error::invalid_with_help(
            format!("source {catalog} does not tell what changes: {reason}"),
            format!(
                "ALTER SOURCE {catalog} SET (changes = 'poll', poll_interval = '1s') looks at its tables again and again; \
                 or recompute the view: refresh = 'every 1 minute', or 'on read' with a max_staleness"
            ),
        ));
    }
    let place = TableRef {
        schema: schema.to_string(),
        name: name.to_string(),
    };
    captured(catalog, table, place, source.as_ref(), input)
}

/// The columns that a view wants, with those that tell rows apart.
fn captured(
    name: &str,
    table: &Table,
    place: TableRef,
    source: &dyn Source,
    input: &Input,
) -> Result<FlowInput> {
    let all = table.arrow_schema();
    let identity = source.identity(&place).unwrap_or_default();
    let hidden = source.hidden(&place);
    let is_wanted = |name: &String| {
        input.columns.contains(name) || table.primary_key.contains(name) || identity.contains(name)
    };
    let mut fields: Vec<_> = all
        .fields()
        .iter()
        .chain(&hidden)
        .filter(|f| is_wanted(f.name()))
        .cloned()
        .collect();
    if fields.is_empty() {
        // Only how many rows there are is asked: they have to be seen by something.
        fields.extend(all.fields().iter().take(1).cloned());
    }
    let schema = Arc::new(Schema::new(fields));
    let numbers = |names: &[String]| -> Result<Vec<usize>> {
        let number = |name: &String| {
            schema.index_of(name).map_err(|_| {
                Error::Internal(format!(
                    "a dataflow wants column {name}, which is not captured"
                ))
            })
        };
        names.iter().map(number).collect()
    };
    let key = numbers(&table.primary_key)?;
    let mut indexes: Vec<Vec<usize>> = Vec::new();
    for wanted in input
        .indexes
        .iter()
        .map(Vec::as_slice)
        .chain([identity.as_slice()])
    {
        let index = numbers(wanted)?;
        let same = |other: &Vec<usize>| {
            other.len() == index.len() && other.iter().all(|column| index.contains(column))
        };
        if !index.is_empty() && !same(&key) && !indexes.iter().any(same) {
            indexes.push(index);
        }
    }
    Ok(FlowInput::Table(Wanted {
        source: name.to_string(),
        captured: Captured {
            table: place,
            schema,
        },
        key: Some(key).filter(|key| !key.is_empty()),
        indexes,
        is_watched: false,
    }))
}

/// Runs what views have to be computed by, as long as there is an engine.
struct Executor(Weak<Inner>);

impl Executor {
    fn names(&self) -> Result<Names> {
        let inner = self.0.upgrade().ok_or(Error::Cancelled)?;
        let world = inner.world();
        let names = Names::new(inner, world, Settings::default(), false);
        Ok(names.asked_by(Caller {
            asker: BACKGROUND,
            ..Caller::engine()
        }))
    }
}

#[async_trait]
impl Execute for Executor {
    async fn rows(&self, view: &ViewDefinition) -> Result<SendableRecordBatchStream> {
        let planned = async || {
            let names = self.names()?;
            let plan = query::view_plan(&names, view).await?;
            Ok(Planned { plan, names })
        };
        let first = planned().await?;
        Ok(first.run_or_again(None, planned).await?.stream)
    }

    async fn finds(
        &self,
        view: &ViewDefinition,
        check: &Check,
        candidate: &Arc<Version>,
    ) -> Result<bool> {
        let generation = view.materialized.as_ref().map_or(0, |kept| kept.generation);
        let shown = Shown::version(generation, candidate.clone());
        let names = self.names()?.with_shown(&view.id(), shown);
        let planned = check_plan(&names, view, check).await?;
        let mut rows = planned.run(None).await?.stream;
        while let Some(batch) = rows.try_next().await? {
            if batch.num_rows() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn answers_again(&self, source: &str) {
        let world = self.0.upgrade().map(|inner| inner.world());
        if let Some(live) = world.as_ref().and_then(|world| world.live.get(source)) {
            live.handle.trust();
        }
    }
}
