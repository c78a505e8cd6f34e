//! Users and roles.

use std::borrow::Cow;

use belvedere_connector::Secret;
use belvedere_sql::{
    AlterRole, CreateRole, CreateUser, DropRole, Password, RoleAction, RoleKind, SetPassword,
    SetValue, Statement, fold,
};

use super::Context;
use crate::access::{self, AccountError, Accounts, Verifier};
use crate::catalog::{Account, Limit, Login};
use crate::engine::settings::Settings;
use crate::engine::world::World;
use crate::engine::{nearest, standing};
use crate::error::{Error, Result};

impl Context<'_> {
    pub(super) fn create_user(
        &mut self,
        world: &mut World,
        create: &CreateUser,
    ) -> Result<&'static str> {
        let (name, options) = (fold(&create.name), &create.options);
        let accounts = &mut world.definitions.accounts;
        if create.if_not_exists && accounts.get(&name).is_some_and(|a| a.login.is_some()) {
            return Ok("CREATE USER");
        }
        let is_first = !accounts.values().any(|account| account.login.is_some());
        let login = Login {
            verifier: options.password.as_ref().map_or(Ok(None), kept)?,
            is_superuser: options.superuser.unwrap_or(false),
        };
        let created = access::create(accounts, &name, Some(login));
        created.map_err(|e| match e {
            AccountError::NoAdministrator if is_first => Error::invalid_with_help(
                "the first user has to be a superuser with a password: from then on nobody administers without logging in",
                format!("CREATE USER {} PASSWORD '…' SUPERUSER", create.name),
            ),
            e => said(e, &*accounts),
        })?;
        if is_first {
            self.notices.push(
                "from now on everybody has to log in; sessions that are open end with their next statement".to_string(),
            );
        }
        Ok("CREATE USER")
    }

    pub(super) fn create_role(
        &self,
        world: &mut World,
        create: &CreateRole,
    ) -> Result<&'static str> {
        let name = fold(&create.name);
        let accounts = &mut world.definitions.accounts;
        if create.if_not_exists && accounts.get(&name).is_some_and(|a| a.login.is_none()) {
            return Ok("CREATE ROLE");
        }
        access::create(accounts, &name, None).map_err(|e| said(e, &*accounts))?;
        Ok("CREATE ROLE")
    }

    pub(super) fn alter_account(
        &self,
        world: &mut World,
        alter: &AlterRole,
    ) -> Result<&'static str> {
        let altered = match alter.called {
            RoleKind::User => "ALTER USER",
            RoleKind::Role => "ALTER ROLE",
        };
        let accounts = &mut world.definitions.accounts;
        let options = match &alter.action {
            RoleAction::Options(options) => options,
            RoleAction::Set { name, value } => {
                set(accounts, &fold(&alter.name), &name.dotted(), value)?;
                return Ok(altered);
            }
            RoleAction::ResetAll => {
                let adjusted = access::adjust(accounts, &fold(&alter.name), |account| {
                    account.settings.clear();
                    // Nobody lifts the own limits.
                    if self.identity.may_all() {
                        account.limits.clear();
                    }
                });
                adjusted.map_err(|e| said(e, &*accounts))?;
                return Ok(altered);
            }
        };
        let verifier = options.password.as_ref().map(kept).transpose()?;
        let changed = access::alter(accounts, &fold(&alter.name), |login| {
            if let Some(verifier) = verifier {
                login.verifier = verifier;
            }
            if let Some(is_superuser) = options.superuser {
                login.is_superuser = is_superuser;
            }
        });
        changed.map_err(|e| said(e, &*accounts))?;
        Ok(altered)
    }

    pub(super) fn drop_accounts(&self, world: &mut World, drop: &DropRole) -> Result<&'static str> {
        for name in drop.names.iter().map(fold) {
            let account = world.definitions.accounts.get(&name);
            let Some(account) = account.filter(|account| is_called(account, drop.called)) else {
                if drop.if_exists {
                    continue;
                }
                return Err(unknown(
                    world.definitions.accounts.values(),
                    drop.called,
                    &name,
                ));
            };
            let kind = account.kind();
            let dependents = defined_by(world, &name);
            if !dependents.is_empty() {
                return Err(Error::invalid_with_help(
                    format!("{kind} {name} has defined {}", dependents.join(", ")),
                    format!(
                        "What reads with the rights of somebody cannot be nobody's: REASSIGN OWNED BY {} TO another, or drop it",
                        belvedere_sql::ident(name.as_str())
                    ),
                ));
            }
            let accounts = &mut world.definitions.accounts;
            access::remove(accounts, &name).map_err(|e| said(e, &*accounts))?;
            let to = crate::catalog::Grantee::Account(name);
            world.definitions.grants.retain(|(_, of), _| *of != to);
            world.definitions.mappings.retain(|(_, of), _| *of != to);
        }
        Ok(match drop.called {
            RoleKind::User => "DROP USER",
            RoleKind::Role => "DROP ROLE",
        })
    }
}

/// A limit of an account, or what the sessions of a user begin with.
fn set(accounts: &mut Accounts, account: &str, name: &str, value: &SetValue) -> Result<()> {
    let values: Option<Vec<String>> = match value {
        SetValue::Default => None,
        SetValue::Values(values) => Some(values.iter().map(|value| value.text()).collect()),
    };
    let found = access::existing(accounts, account, "user or role");
    let found = found.map_err(|e| said(e, &*accounts))?;
    if let Some(limit) = Limit::named(name) {
        let value = values.map(|values| standing::parsed(limit, &values));
        let value = value.transpose()?;
        let adjusted = access::adjust(accounts, account, |account| match value {
            Some(value) => drop(account.limits.insert(limit, value)),
            None => drop(account.limits.remove(&limit)),
        });
        return adjusted.map_err(|e| said(e, &*accounts));
    }
    if found.login.is_none() {
        return Err(Error::invalid_with_help(
            format!("role {account} does not log in, so that no session begins with its settings"),
            "ALTER USER sets them for one who does; roles have limits, as docs/sql.md lists them",
        ));
    }
    let mut settings = Settings::default();
    settings.set(name, values.as_deref()).map_err(|e| match e {
        Error::Unknown { what, name, hint } => {
            let limits = Limit::ALL.into_iter().map(Limit::name);
            let near = nearest(&name, limits).map(|near| format!("Did you mean {near}?"));
            Error::Unknown {
                hint: near.or(hint),
                what,
                name,
            }
        }
        e => e,
    })?;
    let adjusted = access::adjust(accounts, account, |account| match values {
        Some(values) => drop(account.settings.insert(name.to_string(), values)),
        None => drop(account.settings.remove(name)),
    });
    adjusted.map_err(|e| said(e, &*accounts))
}

/// The statement with what is kept of a password in its place: nothing behind this knows one.
pub(in crate::engine) fn without_passwords(statement: &Statement) -> Result<Cow<'_, Statement>> {
    let options = match statement {
        Statement::CreateUser(create) => Some(&create.options),
        Statement::AlterRole(AlterRole {
            action: RoleAction::Options(options),
            ..
        }) => Some(options),
        _ => None,
    };
    let password = options.and_then(|options| options.password.as_ref());
    let Some(SetPassword::To(password)) = password else {
        return Ok(Cow::Borrowed(statement));
    };
    let kept = Some(SetPassword::To(Password::new(verifier(password)?)));
    let mut statement = statement.clone();
    match &mut statement {
        Statement::CreateUser(create) => create.options.password = kept,
        Statement::AlterRole(AlterRole {
            action: RoleAction::Options(options),
            ..
        }) => options.password = kept,
        _ => {}
    }
    Ok(Cow::Owned(statement))
}

fn is_called(account: &Account, called: RoleKind) -> bool {
    match called {
        RoleKind::User => account.login.is_some(),
        RoleKind::Role => account.login.is_none(),
    }
}

fn defined_by(world: &World, name: &str) -> Vec<String> {
    let is_theirs = |definer: &Option<String>| definer.as_deref() == Some(name);
    let definitions = &world.definitions;
    let sources = definitions.sources.values();
    let sources = sources.filter(|source| is_theirs(&source.definer));
    let views = definitions.views.values();
    let views = views.filter(|view| is_theirs(&view.definer));
    let sources = sources.map(|source| format!("source {}", belvedere_sql::ident(&*source.name)));
    sources
        .chain(views.map(|view| format!("{} {}", view.kind(), view.id())))
        .collect()
}

fn kept(set: &SetPassword) -> Result<Option<String>> {
    match set {
        SetPassword::Null => Ok(None),
        SetPassword::To(password) => verifier(password).map(Some),
    }
}

/// What is kept of a password: of the one that a text is, or that it refers to; or what another system kept of one.
fn verifier(password: &Password) -> Result<String> {
    let text = match password.is_reference() {
        true => Secret::resolve(password.expose())?.expose().to_string(),
        false => password.expose().to_string(),
    };
    if text.is_empty() {
        return Err(Error::invalid_with_help(
            "an empty password keeps nobody out",
            "PASSWORD NULL is for a user who does not log in by one",
        ));
    }
    let known: Option<Verifier> = text.parse().ok();
    Ok(known.unwrap_or_else(|| Verifier::new(&text)).to_string())
}

pub(super) fn said<'a>(
    e: AccountError,
    accounts: impl IntoIterator<Item = (&'a String, &'a Account)>,
) -> Error {
    let help = match &e {
        AccountError::Unknown { kind, name } => {
            let names = accounts.into_iter().map(|(name, _)| name.as_str());
            let near = nearest(name, names);
            return Error::Unknown {
                what: *kind,
                name: belvedere_sql::ident(name.as_str()).to_string(),
                hint: near.map(|near| format!("Did you mean {near}?")),
            };
        }
        AccountError::Taken { kind, name } => {
            return Error::Exists {
                what: *kind,
                name: belvedere_sql::ident(name.as_str()).to_string(),
                hint: None,
            };
        }
        AccountError::Nameless => "Write one",
        AccountError::Reserved => "Choose another name",
        AccountError::Other { kind: "role", .. } => {
            "Roles do not log in: CREATE USER makes who does"
        }
        AccountError::Other { .. } => "Roles are granted: CREATE ROLE makes one",
        AccountError::Circle(_) => "Take back the other membership first",
        AccountError::NoAdministrator => {
            "Make another user a superuser first: ALTER USER … PASSWORD '…' SUPERUSER"
        }
    };
    Error::invalid_with_help(e.to_string(), help)
}

fn unknown<'a>(
    accounts: impl IntoIterator<Item = &'a Account>,
    called: RoleKind,
    name: &str,
) -> Error {
    let accounts = accounts.into_iter();
    let names = accounts.filter(|account| is_called(account, called));
    let near = nearest(name, names.map(|account| account.name.as_str()));
    Error::Unknown {
        what: match called {
            RoleKind::User => "user",
            RoleKind::Role => "role",
        },
        name: belvedere_sql::ident(name).to_string(),
        hint: near.map(|near| format!("Did you mean {near}?")),
    }
}
