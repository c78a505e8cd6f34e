//! What files say of users, roles and grants. They say what there should be, as of views: accounts are there with the login, the limits and
//! the settings that they say, and of what is granted, what no file grants is extra. Files that say nothing of it leave it as it is.
//!
//! Users are never dropped: who logs in may have come by another way than files. A password is not in a file, but where it is found;
//! without one, the user keeps the one that is there.

use std::collections::{BTreeMap, BTreeSet};

use belvedere_connector::Secret;
use belvedere_sql::{
    AlterRole, CreateUser, DropRole, RoleAction, RoleKind, SetPassword, Statement, UserOptions,
    fold, ident,
};

use super::{Action, Change};
use crate::access::{self, Verifier};
use crate::catalog::{Account, Columns, Definitions, Granted, Grants};
use crate::engine::define::Context;
use crate::engine::world::World;
use crate::error::{Error, Result};

/// Whether it is about users, roles or grants, as a file may be.
pub(super) fn is_access(statement: &Statement) -> bool {
    match statement {
        Statement::CreateUser(_) | Statement::CreateRole(_) | Statement::Grant(_) => true,
        Statement::AlterRole(alter) => matches!(alter.action, RoleAction::Set { .. }),
        _ => false,
    }
}

/// # Errors
/// It has a password in it.
pub(super) fn has_no_password(statement: &Statement) -> Result<()> {
    match statement {
        Statement::CreateUser(CreateUser {
            options:
                UserOptions {
                    password: Some(SetPassword::To(password)),
                    ..
                },
            ..
        }) if !password.is_reference() => Err(Error::invalid_with_help(
            "a password does not belong into a file of definitions",
            "PASSWORD 'env:NAME' and 'file:/path' say where it is; without PASSWORD, ALTER USER sets it once",
        )),
        _ => Ok(()),
    }
}

/// Roles before users, superusers before others, and what is said about them last.
pub(super) fn rank(statement: &Statement) -> u8 {
    match statement {
        Statement::CreateRole(_) => 0,
        Statement::CreateUser(create) => 2 - u8::from(create.options.superuser == Some(true)),
        _ => 3,
    }
}

/// What files say of access, on its way into a world.
#[derive(Default)]
pub(super) struct Said {
    accounts: BTreeSet<String>,
    has_any: bool,
}

/// What was granted.
pub(super) struct Before {
    member_of: BTreeMap<String, BTreeSet<String>>,
    grants: Grants,
}

impl Said {
    /// Take over what a statement says of an account.
    pub async fn account(
        &mut self,
        context: &mut Context<'_>,
        world: &mut World,
        statement: &Statement,
    ) -> Result<()> {
        self.has_any = true;
        let name = match statement {
            Statement::CreateUser(create) => fold(&create.name),
            Statement::CreateRole(create) => fold(&create.name),
            said => return context.define(world, said).await.map(drop),
        };
        if !self.accounts.insert(name.clone()) {
            return Err(Error::invalid(format!("{} is defined twice", ident(name))));
        }
        let known = world.definitions.accounts.get_mut(&name);
        match (statement, known) {
            (Statement::CreateUser(create), Some(account)) if account.login.is_some() => {
                account.limits.clear();
                let alter = Statement::AlterRole(AlterRole {
                    called: RoleKind::User,
                    name: create.name.clone(),
                    action: RoleAction::Options(options(create, account)?),
                });
                context.define(world, &alter).await?;
            }
            (Statement::CreateRole(_), Some(account)) if account.login.is_none() => {
                account.limits.clear();
            }
            // One of the other kind is in the way.
            _ => drop(context.define(world, statement).await?),
        }
        Ok(())
    }

    /// What is granted in a world that is about to be granted what files grant: that is found out by itself.
    pub fn granted_before(world: &mut World) -> Before {
        let accounts = world.definitions.accounts.values_mut();
        let member_of = accounts.map(|a| (a.name.clone(), std::mem::take(&mut a.member_of)));
        Before {
            member_of: member_of.collect(),
            grants: std::mem::take(&mut world.definitions.grants),
        }
    }

    /// Files have granted what they grant. What else had been granted stays, or, if it is `pruned`, goes.
    pub fn granted(
        &self,
        definitions: &Definitions,
        before: Before,
        world: &mut World,
        pruned: bool,
    ) -> Vec<Change> {
        let Before { member_of, grants } = before;
        if !self.has_any {
            world.definitions.grants = grants;
            for (name, roles) in member_of {
                if let Some(account) = world.definitions.accounts.get_mut(&name) {
                    account.member_of = roles;
                }
            }
            return Vec::new();
        }
        let mut changes = self.accounts(definitions, &world.definitions);
        let extra = match pruned {
            true => Action::Drop,
            false => Action::Extra,
        };
        for (name, account) in &mut world.definitions.accounts {
            let had = member_of.get(name).cloned().unwrap_or_default();
            let said = account.member_of.clone();
            for role in had.union(&said) {
                let action = match (had.contains(role), said.contains(role)) {
                    (true, true) => Action::Keep,
                    (false, _) => Action::Create,
                    (true, false) => extra,
                };
                if action == Action::Extra {
                    account.member_of.insert(role.clone());
                }
                let name = format!("{} TO {}", shown(role), shown(name));
                changes.push(change(action, "grant", name));
            }
        }
        let said = std::mem::take(&mut world.definitions.grants);
        changes.extend(compared(&said, &grants, Action::Create));
        let gone = compared(&grants, &said, extra);
        changes.extend(gone.into_iter().filter(|change| change.action == extra));
        world.definitions.grants = said;
        if !pruned {
            for ((on, to), what) in &grants {
                access::grant(&mut world.definitions.grants, on, to, what);
            }
        }
        changes
    }

    /// What has become of the accounts that files define.
    fn accounts(&self, before: &Definitions, after: &Definitions) -> Vec<Change> {
        let defined = self
            .accounts
            .iter()
            .filter_map(|name| after.accounts.get(name));
        let changes = defined.map(|account| {
            let said = |account: &Account| {
                let Account {
                    login,
                    settings,
                    limits,
                    ..
                } = account.clone();
                (login, settings, limits)
            };
            let action = match before.accounts.get(&account.name) {
                None => Action::Create,
                Some(old) if said(old) == said(account) => Action::Keep,
                Some(_) => Action::Replace,
            };
            change(action, account.kind(), shown(&account.name))
        });
        changes.collect()
    }

    /// Roles that no file defines.
    pub async fn extra(
        &self,
        context: &mut Context<'_>,
        world: &mut World,
        pruned: bool,
    ) -> Result<Vec<Change>> {
        if !self.has_any {
            return Ok(Vec::new());
        }
        let accounts = world.definitions.accounts.values();
        let roles = accounts.filter(|a| a.login.is_none() && !self.accounts.contains(&a.name));
        let roles: Vec<String> = roles.map(|account| account.name.clone()).collect();
        let mut changes = Vec::new();
        for role in roles {
            let name = shown(&role);
            if !pruned {
                changes.push(change(Action::Extra, "role", name));
                continue;
            }
            let drop = Statement::DropRole(DropRole {
                called: RoleKind::Role,
                if_exists: false,
                names: vec![ident(role)],
            });
            context.define(world, &drop).await?;
            changes.push(change(Action::Drop, "role", name));
        }
        Ok(changes)
    }
}

/// What a user that is there is to be: as the file says, but for a password that it does not say, or that is the same.
fn options(create: &CreateUser, account: &Account) -> Result<UserOptions> {
    let password = match &create.options.password {
        Some(SetPassword::To(password)) => {
            let said = Secret::resolve(password.expose())?;
            let kept = account
                .login
                .as_ref()
                .and_then(|login| login.verifier.as_deref());
            let kept: Option<Verifier> = kept.and_then(|kept| kept.parse().ok());
            let is_same = |kept: &Verifier| {
                kept.to_string() == said.expose() || kept.is_password(said.expose())
            };
            match kept.is_some_and(|kept| is_same(&kept)) {
                true => None,
                false => Some(SetPassword::To(password.clone())),
            }
        }
        other => other.clone(),
    };
    Ok(UserOptions {
        password,
        superuser: Some(create.options.superuser.unwrap_or(false)),
    })
}

/// Each thing that is in `these`: kept, if it is in `others`, too.
fn compared(these: &Grants, others: &Grants, otherwise: Action) -> Vec<Change> {
    let mut changes = Vec::new();
    let none = Granted::new();
    for ((on, to), what) in these {
        let others = others.get(&(on.clone(), to.clone())).unwrap_or(&none);
        for (privilege, columns) in what {
            let covers = |others: &Columns| others.covers(columns);
            let action = match others.get(privilege).is_some_and(covers) {
                true => Action::Keep,
                false => otherwise,
            };
            let columns = match columns {
                Columns::All => String::new(),
                Columns::These(columns) => {
                    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                    format!(" ({})", columns.join(", "))
                }
            };
            let name = format!("{}{columns} ON {on} TO {to}", privilege.name());
            changes.push(change(action, "grant", name));
        }
    }
    changes
}

fn shown(name: &str) -> String {
    ident(name).to_string()
}

fn change(action: Action, kind: &'static str, name: String) -> Change {
    Change {
        action,
        kind,
        name,
        detail: None,
    }
}
