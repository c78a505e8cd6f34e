//! Definitions: each statement changes a draft of the world; the draft is committed whole.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use belvedere_sql::{
    AlterSource, AlterView, CommentOn, CommentTarget, CreateSource, CreateView, DropSchema,
    DropSource, DropView, Name, SourceAction, Statement, ViewAction, fold,
};

use super::names::Names;
use super::settings::Settings;
use super::sources::LiveSource;
use super::world::{Inner, World};
use super::{options, query};
use crate::catalog::{
    About, CATALOG, INFORMATION_SCHEMA, ObjectId, Ownership, PUBLIC, SYSTEM, SourceDefinition,
    ViewDefinition,
};
use crate::error::{Error, Result};

/// What a definition reads besides the world it changes.
pub(super) struct Context<'a> {
    pub inner: &'a Arc<Inner>,
    pub settings: &'a Settings,
    /// Where relative paths start.
    pub base_dir: &'a Path,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Carry out one definition. Returns its tag (`CREATE VIEW`) and notices.
pub(super) async fn define(
    inner: &Arc<Inner>,
    statement: &Statement,
    settings: &Settings,
) -> Result<(&'static str, Vec<String>)> {
    match statement {
        Statement::RefreshSource { name } => {
            inner
                .refresh(&existing_source(&inner.world(), &fold(name))?)
                .await?;
            return Ok(("REFRESH SOURCE", Vec::new()));
        }
        Statement::CreateView(view) => {
            // Planned once outside the draft: an unknown table makes its source be read again.
            let names = Names::new(inner.clone(), inner.world(), settings.clone(), false);
            query::plan(names, &view.query).await?;
        }
        _ => {}
    }
    let mut draft = inner.draft().await;
    let mut context = Context {
        inner,
        settings,
        base_dir: &inner.base_dir,
        notices: Vec::new(),
    };
    let tag = context.define(&mut draft.world, statement).await?;
    draft.commit()?;
    Ok((tag, context.notices))
}

impl Context<'_> {
    /// Change `world` as the statement says.
    pub async fn define(
        &mut self,
        world: &mut World,
        statement: &Statement,
    ) -> Result<&'static str> {
        match statement {
            Statement::CreateSource(create) => self.create_source(world, create).await,
            Statement::AlterSource(alter) => self.alter_source(world, alter),
            Statement::DropSource(drop) => drop_source(world, drop),
            Statement::CreateView(create) => self.create_view(world, create).await,
            Statement::AlterView(alter) => self.alter_view(world, alter),
            Statement::DropView(drop) => self.drop_view(world, drop),
            Statement::CreateSchema(create) => {
                let name = own_schema_name(&create.name)?;
                if world.definitions.has_schema(&name) && create.if_not_exists {
                    return Ok("CREATE SCHEMA");
                }
                free_namespace(world, &name)?;
                world.definitions.schemas.insert(name);
                Ok("CREATE SCHEMA")
            }
            Statement::AlterSchema(alter) => rename_schema(world, alter),
            Statement::DropSchema(drop) => drop_schema(world, drop),
            Statement::CommentOn(comment) => self.comment(world, comment).await,
            Statement::Other(other) => {
                let text = other.to_string();
                let words = text.split_whitespace().take_while(|w| {
                    w.len() > 1 && w.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                });
                let what = words.take(2).collect::<Vec<_>>().join(" ");
                Err(Error::NotInThisVersion { what })
            }
            _ => Err(Error::Internal("not a definition".into())),
        }
    }

    async fn create_source(
        &mut self,
        world: &mut World,
        create: &CreateSource,
    ) -> Result<&'static str> {
        let name = fold(&create.name);
        let old = world.definitions.sources.get(&name).cloned();
        match &old {
            Some(_) if create.if_not_exists => return Ok("CREATE SOURCE"),
            Some(_) if !create.or_replace => return Err(taken("source", &name, "SOURCE")),
            Some(_) => {}
            None => free_namespace(world, &name)?,
        }
        let url = options::absolute(&create.url, self.base_dir)?;
        let connector = options::connector_of(&self.inner.connectors, &url)?;
        let (about, options) = options::of_source(connector, &create.options)?;
        let (comment, owns) = old
            .map(|old| (old.comment.clone(), old.owns.clone()))
            .unwrap_or_default();
        let definition = SourceDefinition {
            name,
            url,
            options,
            about,
            comment,
            owns,
        };
        self.connect(world, definition).await?;
        Ok("CREATE SOURCE")
    }

    /// Open the source, read its schema, and put both in place.
    async fn connect(&mut self, world: &mut World, definition: SourceDefinition) -> Result<()> {
        let connector = options::connector_of(&self.inner.connectors, &definition.url)?;
        let definition = Arc::new(definition);
        let live = Arc::new(LiveSource::open(connector, definition.clone(), None)?);
        let discovery = live.discover().await?;
        for table in &discovery.tables {
            for warning in &table.warnings {
                let table = ObjectId::new([&definition.name, &table.schema, &table.name]);
                self.notices.push(format!("{table}: {warning}"));
            }
        }
        let name = definition.name.clone();
        world
            .definitions
            .discoveries
            .insert(name.clone(), Arc::new(discovery));
        world.definitions.sources.insert(name.clone(), definition);
        world.live.insert(name.clone(), live);
        self.note_broken(world, &ObjectId::new([name])).await;
        Ok(())
    }

    /// A notice for each view that a change below it has broken.
    async fn note_broken(&mut self, world: &World, scope: &ObjectId) {
        let names = self.names(world);
        for view in world.definitions.dependents(scope) {
            if let Err(e) = query::view_provider(&names, &view).await {
                self.notices.push(e.to_string());
            }
        }
    }

    fn alter_source(&self, world: &mut World, alter: &AlterSource) -> Result<&'static str> {
        let name = existing_source(world, &fold(&alter.name))?;
        let old = world.definitions.sources[&name].clone();
        let mut new = old.as_ref().clone();
        let connector = options::connector_of(&self.inner.connectors, &old.url)?;
        match &alter.action {
            SourceAction::Owns { table, columns } => {
                let owned = owned_columns(world, &name, table, columns)?;
                new.owns
                    .retain(|o| (&o.schema, &o.table) != (&owned.schema, &owned.table));
                new.owns.push(owned);
            }
            SourceAction::SetOptions(set) => {
                let (about, options) = options::of_source(connector, set)?;
                new.options.extend(options);
                for (field, value) in about.fields() {
                    if let (Some(slot), Some(value)) = (new.about.field_mut(field), value) {
                        *slot = Some(value.clone());
                    }
                }
            }
            SourceAction::ResetOptions(reset) => {
                for option in reset.iter().map(fold) {
                    match new.about.field_mut(&option) {
                        Some(slot) => *slot = None,
                        None => {
                            new.options.remove(&option);
                        }
                    }
                }
            }
            SourceAction::RenameTo(to) => {
                let to = fold(to);
                free_namespace(world, &to)?;
                nothing_depends("source", world, &ObjectId::new([&name]), &[])?;
                move_comments(world, &ObjectId::new([&name]), &ObjectId::new([&to]));
                new.name = to;
            }
        }
        let discovery = world.definitions.discoveries.remove(&name);
        world.definitions.sources.remove(&name);
        let new = Arc::new(new);
        let live = LiveSource::open(connector, new.clone(), discovery.as_deref())?;
        world.live.remove(&name);
        world.live.insert(new.name.clone(), Arc::new(live));
        if let Some(discovery) = discovery {
            world
                .definitions
                .discoveries
                .insert(new.name.clone(), discovery);
        }
        world.definitions.sources.insert(new.name.clone(), new);
        Ok("ALTER SOURCE")
    }

    async fn create_view(
        &mut self,
        world: &mut World,
        create: &CreateView,
    ) -> Result<&'static str> {
        let (schema, name) = self.own_name(world, &create.name)?;
        let key = (schema.clone(), name.clone());
        let id = ObjectId::new([CATALOG, &schema, &name]);
        let old = world.definitions.views.get(&key).cloned();
        match &old {
            Some(_) if create.if_not_exists => return Ok("CREATE VIEW"),
            Some(_) if !create.or_replace => return Err(taken("view", &id.to_string(), "VIEW")),
            _ => {}
        }
        let mut about = About::default();
        options::of_view(&create.options, &mut about)?;
        let names = self.names(world);
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
        let named: Vec<String> = create.columns.iter().map(fold).collect();
        let view = ViewDefinition {
            columns: query::view_columns(&planned.plan, &named)?,
            named_columns: !named.is_empty(),
            query: create
                .text
                .0
                .clone()
                .unwrap_or_else(|| create.query.to_string()),
            search_path: self.settings.search_path.clone(),
            depends_on,
            about,
            comment: old.and_then(|old| old.comment.clone()),
            schema,
            name,
        };
        world.definitions.views.insert(key, Arc::new(view));
        self.still_readable(world, &id).await?;
        Ok("CREATE VIEW")
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

    fn alter_view(&self, world: &mut World, alter: &AlterView) -> Result<&'static str> {
        let key = self.existing_view(world, &alter.name)?;
        let mut new = world.definitions.views[&key].as_ref().clone();
        match &alter.action {
            ViewAction::RenameTo(to) => new.name = fold(to),
            ViewAction::SetSchema(schema) => {
                new.schema = own_schema_name(schema)?;
                writable_schema(world, &new.schema)?;
            }
            ViewAction::SetOptions(set) => options::of_view(set, &mut new.about)?,
            ViewAction::ResetOptions(reset) => {
                for option in reset.iter().map(fold) {
                    if let Some(slot) = new.about.field_mut(&option) {
                        *slot = None;
                    }
                }
            }
        }
        let new_key = (new.schema.clone(), new.name.clone());
        if new_key != key {
            let old = &world.definitions.views[&key];
            nothing_depends("view", world, &old.id(), &[])?;
            if world.definitions.views.contains_key(&new_key) {
                return Err(taken("view", &new.id().to_string(), "VIEW"));
            }
        }
        let from = world.definitions.views.remove(&key).map(|old| old.id());
        if let Some(from) = from.filter(|from| *from != new.id()) {
            move_comments(world, &from, &new.id());
        }
        world.definitions.views.insert(new_key, Arc::new(new));
        Ok("ALTER VIEW")
    }

    fn drop_view(&self, world: &mut World, drop: &DropView) -> Result<&'static str> {
        let mut keys = Vec::new();
        for name in &drop.names {
            match self.existing_view(world, name) {
                Ok(key) => keys.push(key),
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
        Ok("DROP VIEW")
    }

    async fn comment(&self, world: &mut World, comment: &CommentOn) -> Result<&'static str> {
        match comment.object {
            CommentTarget::Source => {
                let [name] = comment
                    .name
                    .fold()
                    .try_into()
                    .map_err(|_| Error::invalid("a source's name has one part"))?;
                let name = existing_source(world, &name)?;
                if let Some(source) = world.definitions.sources.get_mut(&name) {
                    Arc::make_mut(source).comment = comment.comment.clone();
                }
            }
            CommentTarget::View => {
                let key = self.existing_view(world, &comment.name)?;
                if let Some(view) = world.definitions.views.get_mut(&key) {
                    Arc::make_mut(view).comment = comment.comment.clone();
                }
            }
            CommentTarget::Schema => {
                let name = own_schema_name(&comment.name)?;
                if !world.definitions.has_schema(&name) {
                    return Err(Error::Unknown {
                        what: "schema",
                        name,
                        hint: None,
                    });
                }
                set_comment(world, ObjectId::new([CATALOG, &name]), &comment.comment);
            }
            CommentTarget::Table => {
                let id = self.table_id(world, &comment.name.fold()).await?.0;
                set_comment(world, id, &comment.comment);
            }
            CommentTarget::Column => {
                let mut parts = comment.name.fold();
                let column = parts.pop().unwrap_or_default();
                let (mut id, schema) = self.table_id(world, &parts).await?;
                if schema.index_of(&column).is_err() {
                    let name = format!("{id}.{column}");
                    return Err(Error::Unknown {
                        what: "column",
                        name,
                        hint: None,
                    });
                }
                id.0.push(column);
                set_comment(world, id, &comment.comment);
            }
        }
        Ok("COMMENT")
    }

    /// The resolved name and the columns of a table or view.
    async fn table_id(
        &self,
        world: &World,
        parts: &[String],
    ) -> Result<(ObjectId, datafusion::arrow::datatypes::SchemaRef)> {
        let names = self.names(world);
        let provider = names.resolve(parts).await?;
        let id = names.referenced().pop_first();
        let id = id.ok_or_else(|| Error::Internal("a resolved table has a name".into()))?;
        Ok((id, provider.schema()))
    }

    fn names(&self, world: &World) -> Names {
        Names::new(
            self.inner.clone(),
            Arc::new(world.clone()),
            self.settings.clone(),
            true,
        )
    }

    /// Schema and name that a new view of this name gets.
    fn own_name(&self, world: &World, name: &Name) -> Result<(String, String)> {
        let (schema, name) = match name.fold().as_slice() {
            [name] => {
                let own = |entry: &&String| world.definitions.has_schema(entry);
                let schema = self.settings.search_path.iter().find(own);
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

    fn existing_view(&self, world: &World, name: &Name) -> Result<(String, String)> {
        let views = &world.definitions.views;
        let candidates: Vec<(String, String)> = match name.fold().as_slice() {
            [name] => {
                let path = self.settings.search_path.iter();
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
                let near = super::nearest(&text, views.keys().map(|(_, n)| n.as_str()));
                let hint = near.map(|near| format!("Did you mean {near}?"));
                Error::Unknown {
                    what: "view",
                    name: name.to_string(),
                    hint,
                }
            })
    }
}

fn taken(what: &'static str, name: &str, keyword: &str) -> Error {
    let hint = Some(format!("CREATE OR REPLACE {keyword} replaces it"));
    Error::Exists {
        what,
        name: name.to_string(),
        hint,
    }
}

pub(super) fn existing_source(world: &World, name: &str) -> Result<String> {
    if world.definitions.sources.contains_key(name) {
        return Ok(name.to_string());
    }
    let near = super::nearest(name, world.definitions.sources.keys().map(String::as_str));
    Err(Error::Unknown {
        what: "source",
        name: name.to_string(),
        hint: near.map(|near| format!("Did you mean {near}?")),
    })
}

/// Sources and own schemas share one namespace.
fn free_namespace(world: &World, name: &str) -> Result<()> {
    let exists = |what| {
        Err(Error::Exists {
            what,
            name: name.to_string(),
            hint: None,
        })
    };
    if name == CATALOG || name.is_empty() || name.starts_with('$') {
        return Err(Error::invalid(format!("the name '{name}' is reserved")));
    }
    if world.definitions.has_schema(name) {
        return exists("schema");
    }
    if world.definitions.sources.contains_key(name) {
        return exists("source");
    }
    Ok(())
}

fn own_schema_name(name: &Name) -> Result<String> {
    match name.fold().as_slice() {
        [schema] => Ok(schema.clone()),
        [catalog, schema] if catalog == CATALOG => Ok(schema.clone()),
        _ => Err(Error::invalid(format!(
            "{name} is not the name of an own schema"
        ))),
    }
}

fn writable_schema(world: &World, schema: &str) -> Result<()> {
    if [SYSTEM, INFORMATION_SCHEMA].contains(&schema) {
        return Err(Error::invalid(format!(
            "schema {schema} is the engine's own"
        )));
    }
    if !world.definitions.has_schema(schema) {
        let hint = Some(format!(
            "CREATE SCHEMA {} makes it",
            belvedere_sql::ident(schema)
        ));
        return Err(Error::Unknown {
            what: "schema",
            name: schema.to_string(),
            hint,
        });
    }
    Ok(())
}

/// An error naming the views that read something in `scope`, but for those in `except`.
fn nothing_depends(
    what: &'static str,
    world: &World,
    scope: &ObjectId,
    except: &[ObjectId],
) -> Result<()> {
    let dependents: BTreeSet<String> = world
        .definitions
        .dependents(scope)
        .iter()
        .filter(|view| !except.contains(&view.id()) && !view.id().is_within(scope))
        .map(|view| format!("view {}", view.id()))
        .collect();
    match dependents.is_empty() {
        true => Ok(()),
        false => Err(Error::InUse {
            what,
            name: scope.to_string(),
            dependents: dependents.into_iter().collect(),
        }),
    }
}

/// Drop the views that read something in `scope`.
fn drop_views(world: &mut World, scope: &ObjectId) {
    for view in world.definitions.dependents(scope) {
        drop_view(world, &(view.schema.clone(), view.name.clone()));
    }
}

/// Drop a view with what was said about it.
pub(super) fn drop_view(world: &mut World, key: &(String, String)) {
    if let Some(view) = world.definitions.views.remove(key) {
        let id = view.id();
        world
            .definitions
            .comments
            .retain(|on, _| !on.is_within(&id));
    }
}

/// What was said about `from` and what is in it is now said about `to`.
fn move_comments(world: &mut World, from: &ObjectId, to: &ObjectId) {
    let comments = std::mem::take(&mut world.definitions.comments);
    let moved = comments.into_iter().map(|(mut on, text)| {
        if on.is_within(from) {
            on.0.splice(..from.0.len(), to.0.iter().cloned());
        }
        (on, text)
    });
    world.definitions.comments = moved.collect();
}

fn drop_source(world: &mut World, drop: &DropSource) -> Result<&'static str> {
    let name = match existing_source(world, &fold(&drop.name)) {
        Ok(name) => name,
        Err(_) if drop.if_exists => return Ok("DROP SOURCE"),
        Err(e) => return Err(e),
    };
    let scope = ObjectId::new([&name]);
    match drop.cascade {
        true => drop_views(world, &scope),
        false => nothing_depends("source", world, &scope, &[])?,
    }
    world.definitions.sources.remove(&name);
    world.definitions.discoveries.remove(&name);
    world
        .definitions
        .comments
        .retain(|id, _| !id.is_within(&scope));
    world.live.remove(&name);
    Ok("DROP SOURCE")
}

fn drop_schema(world: &mut World, drop: &DropSchema) -> Result<&'static str> {
    let name = own_schema_name(&drop.name)?;
    if [PUBLIC, SYSTEM, INFORMATION_SCHEMA].contains(&name.as_str()) {
        return Err(Error::invalid(format!("schema {name} cannot be dropped")));
    }
    if !world.definitions.schemas.contains(&name) {
        return match drop.if_exists {
            true => Ok("DROP SCHEMA"),
            false => Err(Error::Unknown {
                what: "schema",
                name,
                hint: None,
            }),
        };
    }
    let scope = ObjectId::new([CATALOG, &name]);
    let inside: Vec<String> = world
        .definitions
        .views
        .values()
        .filter(|view| view.schema == name)
        .map(|view| format!("view {}", view.id()))
        .collect();
    if !drop.cascade && !inside.is_empty() {
        return Err(Error::InUse {
            what: "schema",
            name,
            dependents: inside,
        });
    }
    drop_views(world, &scope);
    world
        .definitions
        .views
        .retain(|(schema, _), _| *schema != name);
    world
        .definitions
        .comments
        .retain(|id, _| !id.is_within(&scope));
    world.definitions.schemas.remove(&name);
    Ok("DROP SCHEMA")
}

fn rename_schema(world: &mut World, alter: &belvedere_sql::AlterSchema) -> Result<&'static str> {
    let (from, to) = (own_schema_name(&alter.name)?, fold(&alter.rename_to));
    if !world.definitions.schemas.contains(&from) {
        return Err(match world.definitions.has_schema(&from) {
            true => Error::invalid(format!("schema {from} cannot be renamed")),
            false => Error::Unknown {
                what: "schema",
                name: from,
                hint: None,
            },
        });
    }
    free_namespace(world, &to)?;
    let scope = ObjectId::new([CATALOG, &from]);
    // Texts of views name it: those would have to change.
    let readers = world.definitions.dependents(&scope);
    if !readers.is_empty() {
        let dependents = readers.iter().map(|v| format!("view {}", v.id())).collect();
        return Err(Error::InUse {
            what: "schema",
            name: from,
            dependents,
        });
    }
    let views = std::mem::take(&mut world.definitions.views);
    for ((schema, name), mut view) in views {
        let schema = if schema == from { to.clone() } else { schema };
        if view.schema != schema {
            Arc::make_mut(&mut view).schema = schema.clone();
        }
        world.definitions.views.insert((schema, name), view);
    }
    move_comments(world, &scope, &ObjectId::new([CATALOG, &to]));
    world.definitions.schemas.remove(&from);
    world.definitions.schemas.insert(to);
    Ok("ALTER SCHEMA")
}

fn owned_columns(
    world: &World,
    source: &str,
    table: &Name,
    columns: &[belvedere_sql::Ident],
) -> Result<Ownership> {
    let parts = table.fold();
    let (schema, name) = match parts.as_slice() {
        [name] => {
            let live = world.live.get(source);
            (live.map_or("", |l| l.handle.source.default_schema()), name)
        }
        [schema, name] => (schema.as_str(), name),
        _ => {
            return Err(Error::invalid(
                "OWNS names a table, or schema and table, of the source",
            ));
        }
    };
    let found = world.definitions.tables(source);
    let found = found
        .iter()
        .find(|t| t.schema == schema && t.name == *name)
        .ok_or_else(|| {
            let near = super::nearest(name, found.iter().map(|t| t.name.as_str()));
            Error::Unknown {
                what: "table",
                name: ObjectId::new([source, name]).to_string(),
                hint: near.map(|near| format!("Did you mean {near}?")),
            }
        })?;
    let columns: Vec<String> = columns.iter().map(fold).collect();
    for column in &columns {
        if !found.columns.iter().any(|c| c.name == *column) {
            let near = super::nearest(column, found.columns.iter().map(|c| c.name.as_str()));
            return Err(Error::Unknown {
                what: "column",
                name: ObjectId::new([source, name, column]).to_string(),
                hint: near.map(|near| format!("Did you mean {near}?")),
            });
        }
    }
    Ok(Ownership {
        schema: found.schema.clone(),
        table: found.name.clone(),
        columns,
    })
}

fn set_comment(world: &mut World, id: ObjectId, comment: &Option<String>) {
    match comment {
        Some(text) => world.definitions.comments.insert(id, text.clone()),
        None => world.definitions.comments.remove(&id),
    };
}
