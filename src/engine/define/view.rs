//! Views: planned as they are defined, so that one over what is not there is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use belvedere_sql::{AlterView, Called, CreateView, DropView, Name, Statement, ViewAction, fold};

use super::schema::{own_schema_name, writable_schema};
use super::{Context, define, drop_view, drop_views, nothing_depends, owner, renamed, taken};
use crate::access::Identity;
use crate::catalog::{About, CATALOG, Check, Materialized, ObjectId, PUBLIC, ViewDefinition};
use crate::engine::answer::{deadline, within};
use crate::engine::settings::Settings;
use crate::engine::world::{Inner, World};
use crate::engine::{kept, nearest, options, query};
use crate::error::{Error, Result};
use crate::views::{Bounds, Content};

/// Of `CREATE MATERIALIZED VIEW`, as it is typed: to return once the view is filled. No part of what is defined.
pub(in crate::engine) const WAIT: &str = "wait";

/// `CREATE MATERIALIZED VIEW … WITH (wait = true)`: the view is defined, also if filling it takes longer than the statement may.
pub(super) async fn create_and_wait(
    inner: &Arc<Inner>,
    identity: &Identity,
    create: &CreateView,
    settings: &Settings,
) -> Result<(&'static str, Vec<String>)> {
    let mut create = create.clone();
    let wait = create
        .options
        .remove(WAIT)
        .and_then(|value| value.as_bool());
    let (Some(wait), true) = (wait, create.materialized) else {
        return Err(Error::invalid_with_help(
            "wait is true or false, and of a materialized view: it waits until that is filled",
            "Write CREATE MATERIALIZED VIEW … WITH (wait = true)",
        ));
    };
    let deadline = deadline(settings);
    let name = create.name.clone();
    let create = Statement::CreateView(create);
    let (tag, mut notices) = Box::pin(define(inner, identity, &create, settings)).await?;
    if wait {
        let (schema, name) = existing_view(&inner.world(), settings, &name)?;
        let id = ObjectId::new([CATALOG, &schema, &name]);
        let shown = within(settings, deadline, inner.views.filled(&id)).await?;
        let rows = shown.content.as_ref().map_or(0, Content::row_count);
        notices.push(format!("{id} has {rows} rows"));
    }
    Ok((tag, notices))
}

impl Context<'_> {
    pub(super) async fn create_view(
        &mut self,
        world: &mut World,
        create: &CreateView,
    ) -> Result<&'static str> {
        let (schema, name) = self.own_name(world, &create.name)?;
        let key = (schema.clone(), name.clone());
        let id = ObjectId::new([CATALOG, &schema, &name]);
        let old = world.definitions.views.get(&key).cloned();
        let (what, keyword, tag) = match create.materialized {
            true => (
                "materialized view",
                "MATERIALIZED VIEW",
                "CREATE MATERIALIZED VIEW",
            ),
            false => ("view", "VIEW", "CREATE VIEW"),
        };
        match &old {
            Some(_) if create.if_not_exists => return Ok(tag),
            // It may be one that is not there for whoever replaces it.
            Some(old) if create.or_replace => {
                if !self.identity.is_definer(old.definer.as_deref()) {
                    return Err(Error::denied(
                        format!("{} {id} is another's", old.kind()),
                        "Choose another name",
                    ));
                }
            }
            Some(_) => return Err(taken(what, &id.to_string(), keyword)),
            _ => {}
        }
        if create.options.get(WAIT).is_some() {
            return Err(Error::invalid_with_help(
                "option wait says what a statement does, and not what a view is",
                "It is for CREATE MATERIALIZED VIEW where that is typed; system.views says whether a view is filled",
            ));
        }
        let (mut about, mut contract) = (About::default(), BTreeMap::new());
        options::of_view(
            &create.options,
            &mut about,
            &mut contract,
            create.materialized,
        )?;
        // Of a kept view it is found out with all that it promises.
        Bounds::new(&contract)?;
        let bounds = match create.materialized {
            true => BTreeMap::new(),
            false => contract.clone(),
        };
        // It reads with the rights of who has defined it, whoever defines it anew.
        let definer = match &old {
            Some(old) => old.definer.clone(),
            None => self.definer(),
        };
        let identity = match &definer {
            None => Identity::administrator(),
            Some(definer) => {
                let identity = Identity::of(&world.definitions.accounts, definer);
                identity.unwrap_or_else(Identity::nobody)
            }
        };
        let names = self.names_of(world, identity);
        let planned = query::plan(names, &create.query).await?;
        if !planned.plan.get_parameter_types()?.is_empty() {
            return Err(Error::invalid(format!(
                "view {id} has parameters; a view takes none"
            )));
        }
        let depends_on = planned.names.referenced();
        let reads_itself = depends_on.contains(&id)
            || world
                .definitions
                .dependents(&id)
                .iter()
                .any(|v| depends_on.contains(&v.id()));
        if reads_itself {
            return Err(Error::invalid(format!("view {id} would read itself")));
        }
        let materialized = create.materialized.then(|| Materialized {
            options: contract,
            checks: create.checks.iter().map(check).collect(),
            generation: generation(world),
            indexes: Vec::new(),
        });
        let named: Vec<String> = create.columns.iter().map(fold).collect();
        let view = ViewDefinition {
            columns: query::view_columns(&planned.plan, &named)?,
            named_columns: !named.is_empty(),
            query: create
                .text
                .0
                .clone()
                .unwrap_or_else(|| printed(&create.query)),
            search_path: self.settings.search_path.clone(),
            depends_on,
            about,
            comment: old.as_ref().and_then(|old| old.comment.clone()),
            bounds,
            materialized,
            definer,
            schema,
            name,
        };
        let view = Arc::new(same_content(old.as_deref(), view));
        world.definitions.views.insert(key, view.clone());
        if view.materialized.is_some() {
            self.keepable(world, &view).await?;
        }
        self.still_readable(world, &id).await?;
        Ok(tag)
    }

    /// A kept view's contract has to be one that can be kept.
    async fn keepable(&self, world: &World, view: &Arc<ViewDefinition>) -> Result<()> {
        let names = self.names(world);
        kept::kept_view(&names, view).await?;
        for check in view.checks() {
            let checked = kept::check_plan(&names, view, check).await;
            checked.map_err(|e| Error::invalid(format!("check {}: {e}", check.name)))?;
        }
        Ok(())
    }

    /// The views over a replaced one must still find their columns in it.
    async fn still_readable(&self, world: &World, replaced: &ObjectId) -> Result<()> {
        let names = self.names(world);
        for view in world.definitions.dependents(replaced) {
            query::view_provider(&names, &view).await.map_err(|e| {
                Error::invalid_with_help(
                    format!("{replaced} cannot be replaced like this: {e}"),
                    "Drop the views over it first, or keep its columns",
                )
            })?;
        }
        Ok(())
    }

    pub(super) async fn alter_view(
        &self,
        world: &mut World,
        alter: &AlterView,
    ) -> Result<&'static str> {
        let tag = altered(alter.called);
        let key = match self.existing_view(world, &alter.name) {
            Err(Error::Unknown { .. }) if alter.if_exists => return Ok(tag),
            key => key?,
        };
        let mut new = world.definitions.views[&key].as_ref().clone();
        match alter.called {
            Called::View => called_right(&new, false, "ALTER")?,
            Called::MaterializedView => called_right(&new, true, "ALTER")?,
            Called::Table => {}
        }
        match &alter.action {
            ViewAction::RenameTo(to) => new.name = fold(to),
            ViewAction::OwnerTo(owner) => {
                let owner = owner::existing(world, owner)?;
                owner::give(world, &key, &owner);
                return Ok(tag);
            }
            ViewAction::SetSchema(schema) => {
                new.schema = own_schema_name(schema)?;
                writable_schema(world, &new.schema)?;
            }
            ViewAction::SetOptions(set) => {
                let (contract, is_kept) = match &mut new.materialized {
                    Some(kept) => (&mut kept.options, true),
                    None => (&mut new.bounds, false),
                };
                options::of_view(set, &mut new.about, contract, is_kept)?;
                Bounds::new(contract)?;
            }
            ViewAction::ResetOptions(reset) => {
                for option in reset.iter().map(fold) {
                    if let Some(slot) = new.about.field_mut(&option) {
                        *slot = None;
                    } else if let Some(kept) = &mut new.materialized {
                        kept.options.remove(&option);
                    } else {
                        new.bounds.remove(&option);
                    }
                }
            }
        }
        let new_key = (new.schema.clone(), new.name.clone());
        if new_key != key {
            self.move_view(world, &key, new).await?;
            return Ok(tag);
        }
        let new = Arc::new(new);
        world.definitions.views.insert(key, new.clone());
        if new.materialized.is_some() {
            self.keepable(world, &new).await?;
        }
        Ok(tag)
    }

    /// The view gets another name. What reads it follows.
    async fn move_view(
        &self,
        world: &mut World,
        key: &(String, String),
        mut new: ViewDefinition,
    ) -> Result<()> {
        let (from, to) = (world.definitions.views[key].id(), new.id());
        let new_key = (new.schema.clone(), new.name.clone());
        if world.definitions.views.contains_key(&new_key) {
            return Err(taken("view", &to.to_string(), "VIEW"));
        }
        let before = self.names(world);
        // Its own checks read it.
        if let Some(following) = renamed::following(&before, &new, &from, &to).await? {
            new = following;
        }
        let readers = renamed::readers(world.definitions.views.values(), &from);
        let mut moved = Vec::new();
        for reader in readers {
            let following = renamed::following(&before, &reader, &from, &to).await?;
            let Some(following) = following else {
                return nothing_depends("view", world, &from, &[]);
            };
            moved.push((reader, Arc::new(following)));
        }
        world.definitions.views.remove(key);
        world.definitions.follow(&from, &to);
        let new = Arc::new(new);
        world.definitions.views.insert(new_key, new.clone());
        for (_, reader) in &moved {
            let key = (reader.schema.clone(), reader.name.clone());
            world.definitions.views.insert(key, reader.clone());
        }
        if new.materialized.is_some() {
            self.keepable(world, &new).await?;
        }
        for (was, reader) in moved {
            let read = self.reads_the_same(world, &reader).await;
            if let Err(e) = read {
                return Err(Error::invalid_with_help(
                    format!(
                        "{} reads {from}, and does not find it as {to}: {e}",
                        was.id()
                    ),
                    "Drop that view first, or define it anew",
                ));
            }
        }
        Ok(())
    }

    /// The view, whose text has been changed, reads what it is said to.
    async fn reads_the_same(&self, world: &World, view: &Arc<ViewDefinition>) -> Result<()> {
        let names = self.names(world);
        query::view_provider(&names, view).await?;
        let parsed = belvedere_sql::parse_one(&view.query)?;
        if let Statement::Query(query) = parsed.statement {
            let planned = query::plan(names.inside(view), &query).await?;
            if planned.names.referenced() != view.depends_on {
                return Err(Error::invalid("another of that name is found"));
            }
        }
        match view.materialized {
            Some(_) => self.keepable(world, view).await,
            None => Ok(()),
        }
    }

    pub(super) fn drop_view(&self, world: &mut World, drop: &DropView) -> Result<&'static str> {
        let mut keys = Vec::new();
        for name in &drop.names {
            match self.existing_view(world, name) {
                Ok(key) => {
                    called_right(&world.definitions.views[&key], drop.materialized, "DROP")?;
                    keys.push(key);
                }
                Err(Error::Unknown { .. }) if drop.if_exists => {}
                Err(e) => return Err(e),
            }
        }
        let ids: Vec<ObjectId> = keys
            .iter()
            .map(|(s, n)| ObjectId::new([CATALOG, s, n]))
            .collect();
        for (id, key) in ids.iter().zip(&keys) {
            if drop.cascade {
                drop_views(world, id);
            } else {
                nothing_depends("view", world, id, &ids)?;
            }
            drop_view(world, key);
        }
        Ok(dropped(drop.materialized))
    }

    fn own_name(&self, world: &World, name: &Name) -> Result<(String, String)> {
        own_name(world, self.settings, name)
    }

    pub(super) fn existing_view(&self, world: &World, name: &Name) -> Result<(String, String)> {
        existing_view(world, self.settings, name)
    }
}

/// Schema and name that a new view of this name gets.
pub(in crate::engine) fn own_name(
    world: &World,
    settings: &Settings,
    name: &Name,
) -> Result<(String, String)> {
    let (schema, name) = match name.fold().as_slice() {
        [name] => {
            let own = |entry: &&String| world.definitions.has_schema(entry);
            let schema = settings.search_path.iter().find(own);
            (
                schema.cloned().unwrap_or_else(|| PUBLIC.to_string()),
                name.clone(),
            )
        }
        [schema, name] => (schema.clone(), name.clone()),
        [catalog, schema, name] if catalog == CATALOG => (schema.clone(), name.clone()),
        _ => {
            return Err(Error::invalid_with_help(
                format!("views live in the catalog {CATALOG}, not in {name}"),
                "Write a name, or schema.name",
            ));
        }
    };
    writable_schema(world, &schema)?;
    Ok((schema, name))
}

pub(super) fn altered(called: Called) -> &'static str {
    match called {
        Called::View => "ALTER VIEW",
        Called::MaterializedView => "ALTER MATERIALIZED VIEW",
        Called::Table => "ALTER TABLE",
    }
}

pub(super) fn dropped(materialized: bool) -> &'static str {
    match materialized {
        true => "DROP MATERIALIZED VIEW",
        false => "DROP VIEW",
    }
}

/// Schema and name of the view that a name means.
pub(in crate::engine) fn existing_view(
    world: &World,
    settings: &Settings,
    name: &Name,
) -> Result<(String, String)> {
    let views = &world.definitions.views;
    let candidates: Vec<(String, String)> = match name.fold().as_slice() {
        [name] => {
            let path = settings.search_path.iter();
            path.map(|schema| (schema.clone(), name.clone())).collect()
        }
        [schema, name] => vec![(schema.clone(), name.clone())],
        [_, schema, name] => vec![(schema.clone(), name.clone())],
        _ => Vec::new(),
    };
    candidates
        .into_iter()
        .find(|key| views.contains_key(key))
        .ok_or_else(|| {
            let text = name.fold().pop().unwrap_or_default();
            let near = nearest(&text, views.keys().map(|(_, n)| n.as_str()));
            let hint = near.map(|near| format!("Did you mean {near}?"));
            Error::Unknown {
                what: "view",
                name: name.to_string(),
                hint,
            }
        })
}

fn check(check: &belvedere_sql::Check) -> Check {
    let written = check.text.0.clone();
    Check {
        name: fold(&check.name),
        query: written.unwrap_or_else(|| printed(&check.query)),
    }
}

/// As the dialect prints it, which sqlparser's own printer does not always do so that it reads the same.
fn printed(query: &belvedere_sql::Query) -> String {
    Statement::Query(Box::new(query.clone())).to_string()
}

/// A number that no view had before: the time, or what follows the last one's.
pub(super) fn generation(world: &World) -> u64 {
    let kept = world.definitions.views.values();
    let kept = kept.filter_map(|view| Some(view.materialized.as_ref()?.generation));
    let now = chrono::Utc::now().timestamp_micros().unsigned_abs();
    kept.max().map_or(now, |last| now.max(last + 1))
}

/// A view that is defined as it was keeps its content: `apply` says again what is there already. Indexes stay as long as their
/// columns do.
fn same_content(old: Option<&ViewDefinition>, mut new: ViewDefinition) -> ViewDefinition {
    let kept = old.and_then(|old| Some((old, old.materialized.as_ref()?)));
    if let (Some((old, kept)), Some(materialized)) = (kept, &mut new.materialized) {
        let is_same = old.query == new.query
            && old.columns == new.columns
            && old.search_path == new.search_path
            && kept.checks == materialized.checks;
        if is_same {
            materialized.generation = kept.generation;
        }
        let is_there = |name: &String| new.columns.iter().any(|column| column.name == *name);
        let indexes = kept.indexes.iter();
        let indexes = indexes.filter(|index| index.columns.iter().all(is_there));
        materialized.indexes = indexes.cloned().collect();
    }
    new
}

/// A view is altered and dropped as what it is, so that nobody drops rows where he means a query.
fn called_right(view: &ViewDefinition, materialized: bool, verb: &str) -> Result<()> {
    if view.materialized.is_some() == materialized {
        return Ok(());
    }
    let (is, keyword) = match view.materialized {
        Some(_) => ("a materialized view", "MATERIALIZED VIEW"),
        None => ("a virtual view", "VIEW"),
    };
    Err(Error::invalid_with_help(
        format!("{} is {is}", view.id()),
        format!("Write {verb} {keyword} {}", view.id()),
    ))
}
