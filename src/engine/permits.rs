//! Who may define what. Superusers may define all; others views where they were let, and what they like with those.

use std::borrow::Cow;

use belvedere_sql::{
    AlterRole, CommentTarget, CreateView, Granted, Ident, Name, RoleAction, SetPassword, Statement,
    ViewAction, fold,
};

use super::define::{existing_source, existing_view, own_name};
use super::seen::denied;
use super::settings::Settings;
use super::world::World;
use crate::access::{Identity, Rights};
use crate::catalog::{CATALOG, Limit, ObjectId, Privilege};
use crate::error::{Error, Result};

/// The statement as whoever sees this world may have it carried out in all of it: with the names of what it means here, where
/// another may come first there. None: there is nothing to do.
///
/// # Errors
/// What it is about does not exist; or it does, and is another's.
pub(super) fn permitted<'a>(
    seen: &World,
    statement: &'a Statement,
    settings: &Settings,
) -> Result<Option<Cow<'a, Statement>>> {
    if seen.is_whole() {
        return Ok(Some(Cow::Borrowed(statement)));
    }
    let mut permitted = statement.clone();
    let own_view = |name: &Name| {
        let (id, name) = view(seen, settings, name)?;
        seen.permits_all("view", &id).map(|()| name)
    };
    let is_own_account =
        matches!(statement, Statement::AlterRole(alter) if changes_own_account(seen, alter));
    match &mut permitted {
        Statement::CreateView(create) => creates(seen, settings, create)?,
        Statement::AlterView(alter) => {
            alter.name = match own_view(&alter.name) {
                Err(Error::Unknown { .. }) if alter.if_exists => return Ok(None),
                own => own?,
            };
            match &alter.action {
                ViewAction::SetSchema(schema) => {
                    may_create(seen, &schema.fold().pop().unwrap_or_default())?;
                }
                ViewAction::OwnerTo(owner) => may_own(seen, &alter.name, owner)?,
                _ => {}
            }
        }
        Statement::DropView(drop) => {
            drop.names = existing(&drop.names, drop.if_exists, own_view)?;
            if drop.names.is_empty() {
                return Ok(None);
            }
        }
        Statement::CreateIndex(create) => create.on = own_view(&create.on)?,
        Statement::DropIndex(drop) => {
            let own_index = |name: &Name| own_index(seen, settings, name);
            drop.names = existing(&drop.names, drop.if_exists, own_index)?;
            if drop.names.is_empty() {
                return Ok(None);
            }
        }
        Statement::RefreshView(refresh) => {
            let (id, name) = view(seen, settings, &refresh.name)?;
            seen.permits(Privilege::Refresh, &id)?;
            refresh.name = name;
        }
        Statement::RefreshSource { name } => {
            let name = existing_source(seen, &fold(name))?;
            seen.permits(Privilege::Refresh, &ObjectId::new([name]))?;
        }
        Statement::CommentOn(comment) => match comment.object {
            CommentTarget::View => comment.name = own_view(&comment.name)?,
            _ => return Err(superusers("comment on what is not their own view")),
        },
        Statement::Grant(grant) | Statement::Revoke(grant) => match grant.what {
            // Of what is their own: that is looked at where it is granted.
            Granted::Privileges { .. } => {}
            Granted::Roles(_) => return Err(superusers("grant and revoke roles")),
        },
        // Of what is their own: that is looked at where it is made.
        Statement::CreatePolicy(_)
        | Statement::CreateMask(_)
        | Statement::DropPolicy(_)
        | Statement::DropMask(_) => {}
        Statement::ReassignOwned(all) => {
            let mut names = all.of.iter().chain([&all.to]);
            if !names.all(|name| is_member(seen, name)) {
                return Err(superusers(
                    "reassign what roles own that they are no member of",
                ));
            }
        }
        // Everybody changes the own password, and what the own sessions begin with.
        Statement::AlterRole(_) if is_own_account => {}
        // What is none of ours, and is said to be none.
        Statement::Other(_) => {}
        other => return Err(superusers(&format!("may {}", other.kind()))),
    }
    Ok(Some(Cow::Owned(permitted)))
}

/// What a name means here: the view, and the name that means it everywhere.
fn view(seen: &World, settings: &Settings, name: &Name) -> Result<(ObjectId, Name)> {
    let (schema, view) = existing_view(seen, settings, name)?;
    let id = ObjectId::new([CATALOG, &schema, &view]);
    Ok((id, Name::new([schema, view])))
}

fn changes_own_account(seen: &World, alter: &AlterRole) -> bool {
    let is_ones_own = match &alter.action {
        RoleAction::Options(options) => {
            // What a text refers to is the server's.
            let is_literal = match &options.password {
                Some(SetPassword::To(password)) => !password.is_reference(),
                Some(SetPassword::Null) | None => false,
            };
            is_literal && options.superuser.is_none()
        }
        RoleAction::Set { name, .. } => Limit::named(&name.dotted()).is_none(),
        RoleAction::ResetAll => true,
    };
    is_ones_own && seen.user() == Some(fold(&alter.name).as_str())
}

fn superusers(what: &str) -> Error {
    Error::denied(format!("only superusers {what}"), "Ask one to do it")
}

/// A view is defined where that is granted. One that is there is its definer's to replace.
fn creates(seen: &World, settings: &Settings, create: &mut CreateView) -> Result<()> {
    let (schema, name) = own_name(seen, settings, &create.name)?;
    may_create(seen, &schema)?;
    let id = ObjectId::new([CATALOG, &schema, &name]);
    create.name = Name::new([&schema, &name]);
    match seen.definitions.view(&schema, &name) {
        Some(_) if create.or_replace => seen.permits_all("view", &id),
        _ => Ok(()),
    }
}

fn may_create(seen: &World, schema: &str) -> Result<()> {
    let id = ObjectId::new([CATALOG, schema]);
    match seen.allowed(&id).may(Privilege::Create) {
        true => Ok(()),
        false => Err(denied(Privilege::Create, &id)),
    }
}

/// Whether whoever sees this world has the rights of an account.
fn is_member(seen: &World, account: &Ident) -> bool {
    seen.definitions.accounts.contains_key(&fold(account))
}

/// A view is given to a role of the own ones, which may define views where it is.
fn may_own(seen: &World, view: &Name, owner: &Ident) -> Result<()> {
    let name = fold(owner);
    let identity = Identity::of(&seen.definitions.accounts, &name);
    let identity =
        identity.ok_or_else(|| superusers("give views to roles that they are no member of"))?;
    let rights = Rights {
        definitions: &seen.definitions,
        identity: &identity,
    };
    let schema = view.fold().into_iter().rev().nth(1).unwrap_or_default();
    let id = ObjectId::new([CATALOG, &schema]);
    match rights.on(&id).may(Privilege::Create) {
        true => Ok(()),
        false => Err(Error::denied(
            format!(
                "{} may not define views in schema {schema}",
                belvedere_sql::ident(name)
            ),
            format!("GRANT CREATE ON SCHEMA {schema} lets it"),
        )),
    }
}

/// Those of these names that are there: others are errors, unless they need not be.
fn existing(
    names: &[Name],
    if_exists: bool,
    own: impl Fn(&Name) -> Result<Name>,
) -> Result<Vec<Name>> {
    let mut there = Vec::new();
    for name in names {
        match own(name) {
            Ok(name) => there.push(name),
            Err(Error::Unknown { .. }) if if_exists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(there)
}

fn own_index(seen: &World, settings: &Settings, name: &Name) -> Result<Name> {
    let (schemas, index) = match name.fold().as_slice() {
        [index] => (settings.search_path.clone(), index.clone()),
        [.., schema, index] => (vec![schema.clone()], index.clone()),
        [] => (Vec::new(), String::new()),
    };
    let has_it = |schema: &String| {
        let mut views = seen.definitions.views.values();
        views.find(|v| v.schema == *schema && v.indexes().iter().any(|i| i.name == index))
    };
    match schemas.iter().find_map(has_it) {
        Some(view) => {
            seen.permits_all("view", &view.id())?;
            Ok(Name::new([&view.schema, &index]))
        }
        None => Err(Error::Unknown {
            what: "index",
            name: name.to_string(),
            hint: None,
        }),
    }
}

/// An error without the names of what is not there for whoever sees this world.
pub(super) fn without_others(e: Error, seen: &World) -> Error {
    match e {
        Error::InUse {
            what,
            name,
            mut dependents,
        } => {
            let count = dependents.len();
            dependents.retain(|dependent| {
                let mut views = seen.definitions.views.values();
                views.any(|view| *dependent == format!("view {}", view.id()))
            });
            if dependents.len() < count {
                dependents.push("what others have defined".to_string());
            }
            Error::InUse {
                what,
                name,
                dependents,
            }
        }
        e => e,
    }
}
