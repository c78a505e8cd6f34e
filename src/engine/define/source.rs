//! Sources: opened as they are defined, and kept without being reached.

use std::sync::Arc;

use belvedere_sql::{AlterSource, CreateSource, DropSource, Name, SourceAction, fold};

use super::schema::free_namespace;
use super::{Context, drop_views, nothing_depends, owner, taken};
use crate::catalog::{ObjectId, Ownership, SourceDefinition};
use crate::engine::sources::LiveSource;
use crate::engine::world::World;
use crate::engine::{options, query};
use crate::error::{Error, Result};

impl Context<'_> {
    pub(super) async fn create_source(
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
        let (comment, owns, definer) = match old {
            Some(old) => (old.comment.clone(), old.owns.clone(), old.definer.clone()),
            None => (None, Vec::new(), self.definer()),
        };
        let definition = SourceDefinition {
            name,
            url,
            options,
            about,
            comment,
            owns,
            definer,
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

    pub(super) fn alter_source(
        &self,
        world: &mut World,
        alter: &AlterSource,
    ) -> Result<&'static str> {
        let name = existing_source(world, &fold(&alter.name))?;
        let old = world.definitions.sources[&name].clone();
        let mut new = old.as_ref().clone();
        if let SourceAction::OwnerTo(owner) = &alter.action {
            new.definer = Some(owner::existing(world, owner)?);
            world.definitions.sources.insert(name, Arc::new(new));
            return Ok("ALTER SOURCE");
        }
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
            // Nothing is opened anew for that.
            SourceAction::OwnerTo(_) => {}
            SourceAction::RenameTo(to) => {
                let to = fold(to);
                free_namespace(world, &to)?;
                nothing_depends("source", world, &ObjectId::new([&name]), &[])?;
                let (from, as_is) = (ObjectId::new([&name]), ObjectId::new([&to]));
                world.definitions.follow(&from, &as_is);
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
}

pub(in crate::engine) fn existing_source(world: &World, name: &str) -> Result<String> {
    if world.definitions.sources.contains_key(name) {
        return Ok(name.to_string());
    }
    let near = crate::engine::nearest(name, world.definitions.sources.keys().map(String::as_str));
    Err(Error::Unknown {
        what: "source",
        name: name.to_string(),
        hint: near.map(|near| format!("Did you mean {near}?")),
    })
}

pub(super) fn drop_source(world: &mut World, drop: &DropSource) -> Result<&'static str> {
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
    world.definitions.forget(&scope);
    world.live.remove(&name);
    Ok("DROP SOURCE")
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
            let near = crate::engine::nearest(name, found.iter().map(|t| t.name.as_str()));
            Error::Unknown {
                what: "table",
                name: ObjectId::new([source, name]).to_string(),
                hint: near.map(|near| format!("Did you mean {near}?")),
            }
        })?;
    let columns: Vec<String> = columns.iter().map(fold).collect();
    for column in &columns {
        if !found.columns.iter().any(|c| c.name == *column) {
            let near =
                crate::engine::nearest(column, found.columns.iter().map(|c| c.name.as_str()));
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
