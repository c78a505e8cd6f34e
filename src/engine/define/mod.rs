//! Definitions: each statement changes a draft of the world; the draft is committed whole.
//!
//! | file | owns |
//! |---|---|
//! | `source.rs` | `CREATE`, `ALTER`, `DROP SOURCE` |
//! | `view.rs` | `CREATE`, `ALTER`, `DROP VIEW` |
//! | `renamed.rs` | what reads a view that is renamed |
//! | `index.rs` | `CREATE`, `DROP INDEX` |
//! | `schema.rs` | `CREATE`, `ALTER`, `DROP SCHEMA`; the names that may be given |
//! | `comment.rs` | `COMMENT ON` |
//! | `account.rs` | `CREATE`, `ALTER`, `DROP USER` and `ROLE` |
//! | `owner.rs` | `OWNER TO`, `REASSIGN OWNED` |
//! | `grant.rs` | `GRANT`, `REVOKE` |
//! | `mapping.rs` | `CREATE`, `DROP USER MAPPING` |
//! | `rule.rs` | `CREATE`, `DROP POLICY` and `MASK` |

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use belvedere_sql::{Statement, fold};
use sqlparser::ast;

use super::names::Names;
use super::settings::Settings;
use super::world::{Inner, World};
use super::{kept, permits, query};
use crate::access::Identity;
use crate::catalog::{ObjectId, RuleKind};
use crate::error::{Error, Result};

mod account;
mod comment;
mod grant;
mod index;
mod mapping;
mod owner;
mod renamed;
mod rule;
mod schema;
mod source;
mod view;

pub(super) use account::without_passwords;
pub(super) use index::{meant as index_meant, remove as remove_index};
pub(super) use source::existing_source;
pub(super) use view::{WAIT, existing_view, own_name};

/// What a definition reads besides the world it changes.
pub(super) struct Context<'a> {
    pub inner: &'a Arc<Inner>,
    /// Whose definition it is.
    pub identity: &'a Identity,
    pub settings: &'a Settings,
    /// Where relative paths start.
    pub base_dir: &'a Path,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Carry out one definition that [is permitted](permits::permitted). Returns its tag (`CREATE VIEW`) and notices.
pub(super) async fn define(
    inner: &Arc<Inner>,
    identity: &Identity,
    statement: &Statement,
    settings: &Settings,
) -> Result<(&'static str, Vec<String>)> {
    let world = inner.world();
    match statement {
        Statement::RefreshSource { name } => {
            inner
                .refresh(&existing_source(&inner.world(), &fold(name))?)
                .await?;
            return Ok(("REFRESH SOURCE", Vec::new()));
        }
        Statement::RefreshView(refresh) => return kept::refresh(inner, settings, refresh).await,
        Statement::CreateView(view) if view.options.get(view::WAIT).is_some() => {
            return view::create_and_wait(inner, identity, view, settings).await;
        }
        Statement::CreateView(view) => {
            // Planned once outside the draft: an unknown table makes its source be read again.
            let names = Names::new(inner.clone(), world, settings.clone(), false);
            query::plan(names.with_rights_of(identity.clone()), &view.query).await?;
        }
        _ => {}
    }
    let mut draft = inner.draft().await;
    let done = in_world(inner, identity, &mut draft.world, statement, settings).await?;
    draft.commit().await?;
    Ok(done)
}

/// Carry out one definition in a world that is still to be committed.
pub(super) async fn in_world(
    inner: &Arc<Inner>,
    identity: &Identity,
    world: &mut World,
    statement: &Statement,
    settings: &Settings,
) -> Result<(&'static str, Vec<String>)> {
    let mut context = Context {
        inner,
        identity,
        settings,
        base_dir: &inner.base_dir,
        notices: Vec::new(),
    };
    if identity.may_all() {
        let tag = context.define(world, statement).await?;
        return Ok((tag, context.notices));
    }
    // Others may have defined something since that was asked.
    let seen = Arc::new(world.clone()).seen_by(identity);
    let Some(statement) = permits::permitted(&seen, statement, settings)? else {
        return Ok((done_nothing(statement), Vec::new()));
    };
    let defined = context.define(world, &statement).await;
    let tag = defined.map_err(|e| permits::without_others(e, &seen))?;
    Ok((tag, context.notices))
}

impl Context<'_> {
    /// Change `world` as the statement says.
    pub async fn define(
        &mut self,
        world: &mut World,
        statement: &Statement,
    ) -> Result<&'static str> {
        let has_rules = !world.definitions.rules.is_empty();
        let before = has_rules.then(|| world.definitions.clone());
        let tag = self.change(world, statement).await?;
        if let Some(before) = before {
            Box::pin(self.rules_hold(&before, world)).await?;
        }
        Ok(tag)
    }

    async fn change(&mut self, world: &mut World, statement: &Statement) -> Result<&'static str> {
        match statement {
            Statement::CreateSource(create) => self.create_source(world, create).await,
            Statement::AlterSource(alter) => self.alter_source(world, alter),
            Statement::DropSource(drop) => source::drop_source(world, drop),
            Statement::CreateView(create) => self.create_view(world, create).await,
            Statement::AlterView(alter) => self.alter_view(world, alter).await,
            Statement::DropView(drop) => self.drop_view(world, drop),
            Statement::CreateIndex(create) => self.create_index(world, create),
            Statement::DropIndex(drop) => self.drop_index(world, drop),
            Statement::CreateSchema(create) => schema::create_schema(world, create),
            Statement::AlterSchema(alter) => schema::rename_schema(world, alter),
            Statement::DropSchema(drop) => schema::drop_schema(world, drop),
            Statement::CommentOn(comment) => self.comment(world, comment).await,
            Statement::CreateUser(create) => self.create_user(world, create),
            Statement::CreateRole(create) => self.create_role(world, create),
            Statement::AlterRole(alter) => self.alter_account(world, alter),
            Statement::DropRole(drop) => self.drop_accounts(world, drop),
            Statement::ReassignOwned(all) => owner::reassign(world, all),
            Statement::Grant(grant) => self.grant(world, grant, false).await,
            Statement::Revoke(grant) => self.grant(world, grant, true).await,
            Statement::CreatePolicy(create) => self.create_policy(world, create).await,
            Statement::CreateMask(create) => self.create_mask(world, create).await,
            Statement::DropPolicy(drop) => self.drop_rule(world, RuleKind::Policy, drop).await,
            Statement::DropMask(drop) => self.drop_rule(world, RuleKind::Mask, drop).await,
            Statement::CreateMapping(create) => self.create_mapping(world, create),
            Statement::DropMapping(drop) => Self::drop_mapping(world, drop),
            Statement::Other(other) => {
                let text = other.to_string();
                let words = text.split_whitespace().take_while(|w| {
                    w.len() > 1 && w.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                });
                let what = match (other.as_ref(), words.take(2).collect::<Vec<_>>().join(" ")) {
                    // A query that writes: of those that begin so it is one with INTO.
                    (ast::Statement::Query(_), what) if what == "SELECT" => "SELECT INTO".into(),
                    (_, what) => what,
                };
                Err(Error::NotInThisVersion { what })
            }
            _ => Err(Error::Internal("not a definition".into())),
        }
    }

    /// Names with the rights of whose definition it is.
    fn names(&self, world: &World) -> Names {
        self.names_of(world, self.identity.clone())
    }

    fn names_of(&self, world: &World, identity: Identity) -> Names {
        let world = Arc::new(world.clone());
        let settings = self.settings.clone();
        Names::new(self.inner.clone(), world, settings, true).with_rights_of(identity)
    }

    /// Who has defined what is new.
    fn definer(&self) -> Option<String> {
        self.identity.name().map(|name| name.to_string())
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

/// Drop a view with what was said about it and granted of it.
pub(super) fn drop_view(world: &mut World, key: &(String, String)) {
    if let Some(view) = world.definitions.views.remove(key) {
        world.definitions.forget(&view.id());
    }
}

/// The tag of a statement that had nothing to do.
pub(super) fn done_nothing(statement: &Statement) -> &'static str {
    match statement {
        Statement::AlterView(alter) => view::altered(alter.called),
        Statement::DropView(drop) => view::dropped(drop.materialized),
        _ => "DROP INDEX",
    }
}
