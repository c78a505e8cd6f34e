//! Schemas of views. They share one namespace with the sources.

use std::sync::Arc;

use belvedere_sql::{AlterSchema, CreateSchema, DropSchema, Name, fold};

use super::drop_views;
use crate::catalog::{BUILT_IN, CATALOG, ObjectId, PUBLIC};
use crate::engine::world::World;
use crate::error::{Error, Result};

pub(super) fn create_schema(world: &mut World, create: &CreateSchema) -> Result<&'static str> {
    let name = own_schema_name(&create.name)?;
    if !(world.definitions.has_schema(&name) && create.if_not_exists) {
        free_namespace(world, &name)?;
        world.definitions.schemas.insert(name);
    }
    Ok("CREATE SCHEMA")
}

pub(super) fn rename_schema(world: &mut World, alter: &AlterSchema) -> Result<&'static str> {
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
    world
        .definitions
        .follow(&scope, &ObjectId::new([CATALOG, &to]));
    world.definitions.schemas.remove(&from);
    world.definitions.schemas.insert(to);
    Ok("ALTER SCHEMA")
}

pub(super) fn drop_schema(world: &mut World, drop: &DropSchema) -> Result<&'static str> {
    let name = own_schema_name(&drop.name)?;
    if name == PUBLIC || BUILT_IN.contains(&name.as_str()) {
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
    world.definitions.forget(&scope);
    world.definitions.schemas.remove(&name);
    Ok("DROP SCHEMA")
}

/// Sources and own schemas share one namespace.
pub(super) fn free_namespace(world: &World, name: &str) -> Result<()> {
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

pub(super) fn own_schema_name(name: &Name) -> Result<String> {
    match name.fold().as_slice() {
        [schema] => Ok(schema.clone()),
        [catalog, schema] if catalog == CATALOG => Ok(schema.clone()),
        _ => Err(Error::invalid(format!(
            "{name} is not the name of an own schema"
        ))),
    }
}

pub(super) fn writable_schema(world: &World, schema: &str) -> Result<()> {
    if BUILT_IN.contains(&schema) {
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
