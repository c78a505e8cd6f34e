//! Indexes of kept views: a part of their view's definition, with a name of their own.

use std::sync::Arc;

use belvedere_sql::{CreateIndex, DropIndex, Name, fold};

use super::Context;
use crate::catalog::{Index, ViewDefinition};
use crate::engine::nearest;
use crate::engine::world::World;
use crate::error::{Error, Result};

/// Indexes that one view may have.
const MOST_INDEXES: usize = 32;

impl Context<'_> {
    pub(super) fn create_index(
        &self,
        world: &mut World,
        create: &CreateIndex,
    ) -> Result<&'static str> {
        let key = self.existing_view(world, &create.on)?;
        let view = world.definitions.views[&key].clone();
        if view.materialized.is_none() {
            return Err(Error::invalid_with_help(
                format!("{} is a virtual view: it has no rows to find", view.id()),
                "Its sources' own indexes are used; CREATE MATERIALIZED VIEW keeps rows",
            ));
        }
        let mut columns: Vec<String> = Vec::new();
        for column in create.columns.iter().map(fold) {
            if !view.columns.iter().any(|c| c.name == column) {
                let near = nearest(&column, view.columns.iter().map(|c| c.name.as_str()));
                return Err(Error::Unknown {
                    what: "column",
                    name: format!("{column} of view {}", view.id()),
                    hint: near.map(|near| format!("Did you mean {near}?")),
                });
            }
            if columns.contains(&column) {
                let message = format!("column {column} is twice in the index");
                return Err(Error::invalid(message));
            }
            columns.push(column);
        }
        if create.if_not_exists && meant(&view, create).is_some() {
            return Ok("CREATE INDEX");
        }
        let name = match &create.name {
            Some(name) => fold(name),
            None => free_name(world, &view, &columns),
        };
        if let Some((on, _)) = find(world, &view.schema, &name) {
            return Err(Error::Exists {
                what: "index",
                name: format!("{name} on {}", on.id()),
                hint: Some(format!("DROP INDEX {}.{name} makes room for it", on.schema)),
            });
        }
        if view.indexes().len() >= MOST_INDEXES {
            return Err(Error::invalid(format!(
                "view {} has {MOST_INDEXES} indexes, and may not have more",
                view.id()
            )));
        }
        let mut new = view.as_ref().clone();
        if let Some(kept) = &mut new.materialized {
            kept.indexes.push(Index { name, columns });
        }
        world.definitions.views.insert(key, Arc::new(new));
        Ok("CREATE INDEX")
    }

    pub(super) fn drop_index(&self, world: &mut World, drop: &DropIndex) -> Result<&'static str> {
        for name in &drop.names {
            match self.existing_index(world, name) {
                Some((view, index)) => remove(world, &view, &index),
                None if drop.if_exists => {}
                None => {
                    let indexes = world.definitions.views.values().flat_map(|v| v.indexes());
                    let text = name.fold().pop().unwrap_or_default();
                    let near = nearest(&text, indexes.map(|index| index.name.as_str()));
                    return Err(Error::Unknown {
                        what: "index",
                        name: name.to_string(),
                        hint: near.map(|near| format!("Did you mean {near}?")),
                    });
                }
            }
        }
        Ok("DROP INDEX")
    }

    /// The view that has an index, and the index's name.
    fn existing_index(&self, world: &World, name: &Name) -> Option<(Arc<ViewDefinition>, String)> {
        let (schemas, name) = match name.fold().as_slice() {
            [name] => (self.settings.search_path.clone(), name.clone()),
            [.., schema, name] => (vec![schema.clone()], name.clone()),
            [] => return None,
        };
        let mut found = schemas.iter().filter_map(|s| find(world, s, &name));
        found.next().map(|(view, _)| (view.clone(), name))
    }
}

/// The index of a view that a statement is about: of its name, or if it gives none, on its columns.
pub(in crate::engine) fn meant<'a>(
    view: &'a ViewDefinition,
    create: &CreateIndex,
) -> Option<&'a Index> {
    let columns: Vec<String> = create.columns.iter().map(fold).collect();
    let name = create.name.as_ref().map(fold);
    let is_meant = |index: &&Index| match &name {
        Some(name) => index.name == *name,
        None => index.columns == columns,
    };
    view.indexes().iter().find(is_meant)
}

fn find<'a>(
    world: &'a World,
    schema: &str,
    name: &str,
) -> Option<(&'a Arc<ViewDefinition>, &'a Index)> {
    let views = world.definitions.views.values();
    let of = |view: &'a Arc<ViewDefinition>| {
        let index = view.indexes().iter().find(|index| index.name == name)?;
        Some((view, index))
    };
    views.filter(|view| view.schema == schema).find_map(of)
}

/// As PostgreSQL names one: by the view and the columns, and a number where that is taken.
fn free_name(world: &World, view: &ViewDefinition, columns: &[String]) -> String {
    let name = format!("{}_{}_idx", view.name, columns.join("_"));
    let is_free = |name: &String| find(world, &view.schema, name).is_none();
    let numbered = (1..).map(|number| format!("{name}{number}"));
    std::iter::once(name.clone())
        .chain(numbered)
        .find(is_free)
        .unwrap_or(name)
}

/// Take an index from a view.
pub(in crate::engine) fn remove(world: &mut World, view: &ViewDefinition, index: &str) {
    let mut new = view.clone();
    if let Some(kept) = &mut new.materialized {
        kept.indexes.retain(|i| i.name != index);
    }
    let key = (view.schema.clone(), view.name.clone());
    world.definitions.views.insert(key, Arc::new(new));
}
