//! Whose something is: with whose rights it reads, and who may do all with it.

use std::sync::Arc;

use belvedere_sql::{Ident, ReassignOwned, fold};

use super::account::said;
use super::view::generation;
use crate::access;
use crate::engine::world::World;
use crate::error::Result;

/// The name of a user or role that there is.
pub(super) fn existing(world: &World, name: &Ident) -> Result<String> {
    let accounts = &world.definitions.accounts;
    let found = access::existing(accounts, &fold(name), "user or role");
    Ok(found.map_err(|e| said(e, accounts))?.name.clone())
}

/// A view is another's. What it keeps was computed with the rights of whose it was, and is computed anew.
pub(super) fn give(world: &mut World, key: &(String, String), owner: &str) {
    let anew = generation(world);
    let Some(view) = world.definitions.views.get_mut(key) else {
        return;
    };
    if view.definer.as_deref() == Some(owner) {
        return;
    }
    let mut given = view.as_ref().clone();
    given.definer = Some(owner.to_string());
    if let Some(kept) = &mut given.materialized {
        kept.generation = anew;
    }
    *view = Arc::new(given);
}

/// All that some have defined is another's.
pub(super) fn reassign(world: &mut World, reassign: &ReassignOwned) -> Result<&'static str> {
    let of = reassign.of.iter().map(|name| existing(world, name));
    let of: Vec<String> = of.collect::<Result<_>>()?;
    let to = existing(world, &reassign.to)?;
    let is_theirs = |definer: &Option<String>| definer.as_ref().is_some_and(|it| of.contains(it));
    let views = world.definitions.views.iter();
    let views = views.filter(|(_, view)| is_theirs(&view.definer));
    let views: Vec<_> = views.map(|(key, _)| key.clone()).collect();
    for key in views {
        give(world, &key, &to);
    }
    for source in world.definitions.sources.values_mut() {
        if is_theirs(&source.definer) {
            let mut given = source.as_ref().clone();
            given.definer = Some(to.clone());
            *source = Arc::new(given);
        }
    }
    Ok("REASSIGN OWNED")
}
