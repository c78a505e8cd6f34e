//! Files of definitions as one change: the difference with what runs, all or nothing.

mod access;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use belvedere_sql::{
    CreateIndex, CreateMask, CreatePolicy, CreateSource, CreateView, Ident, Name, Options, Query,
    SourceAction, Statement, Value, Verbatim, fold, ident,
};

use super::audited::{self, Does};
use super::define::Context;
use super::session::Session;
use super::settings::Settings;
use super::world::{Inner, World};
use crate::access::Identity;
use crate::catalog::{
    About, CATALOG, Check, Index, ObjectId, PUBLIC, SourceDefinition, ViewDefinition,
};
use crate::error::{Error, Result};

/// A file of definitions.
#[derive(Debug, Clone)]
pub struct SqlFile {
    /// As errors name it.
    pub name: String,
    pub text: String,
    /// Where its relative paths start.
    pub base_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyOptions {
    /// Drop what no file defines.
    pub prune: bool,
    /// Validate against the live sources and change nothing.
    pub check_only: bool,
    /// Also list definitions without owner, contact, event, impact or runbook.
    pub strict: bool,
}

/// A difference between the files and what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub action: Action,
    /// `source`, `schema`, `view`, `index`, `user`, `role` or `grant`.
    pub kind: &'static str,
    pub name: String,
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Replace,
    /// Runs as the files say.
    Keep,
    Drop,
    /// Runs, and no file defines it: `prune` would drop it.
    Extra,
    /// Something is missing in the definition (`strict`), or the user should know it.
    Notice,
}

/// A statement and where it stands.
struct Located<'a> {
    statement: Statement,
    file: &'a SqlFile,
    line: u64,
}

impl Located<'_> {
    fn failed(&self, e: Error) -> Error {
        Error::Invalid {
            message: format!("{}, line {}: {e}", self.file.name, self.line),
            help: None,
        }
    }
}

impl Session {
    /// Validate files of definitions against the live sources, and apply their difference with what runs, all or nothing.
    pub async fn apply(&self, files: Vec<SqlFile>, options: ApplyOptions) -> Result<Vec<Change>> {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let (verb, does) = match options.check_only {
            true => ("CHECK", Does::Reads),
            false => ("APPLY", Does::Defines),
        };
        let (record, named) = (format!("{verb} {}", names.join(", ")), named(&files));
        let work = async {
            let identity = self.permits_all("apply and check files of definitions")?;
            apply(&self.inner, &identity, files, options).await
        };
        // In a box, as the statements' are.
        Box::pin(self.with_record(&record, named, does, work)).await
    }
}

/// What files say that they define, as far as they can be read.
fn named(files: &[SqlFile]) -> Vec<String> {
    let statements = files
        .iter()
        .filter_map(|file| belvedere_sql::parse(&file.text).ok());
    let statements = statements.flatten();
    statements
        .flat_map(|spanned| audited::named(&spanned.statement))
        .collect()
}

async fn apply(
    inner: &Arc<Inner>,
    identity: &Identity,
    files: Vec<SqlFile>,
    options: ApplyOptions,
) -> Result<Vec<Change>> {
    let (grants, others) = read(&files)?
        .into_iter()
        .partition::<Vec<_>, _>(|located| matches!(located.statement, Statement::Grant(_)));
    let statements = in_order(others)?;
    let settings = Settings::default();
    let mut draft = inner.draft().await;
    let before = draft.world.clone();
    let mut changes = Vec::new();
    let mut defined = BTreeSet::new();
    let mut said = access::Said::default();
    let context = |base_dir| Context {
        inner,
        identity,
        settings: &settings,
        base_dir,
        notices: Vec::new(),
    };
    for located in &statements {
        let mut context = context(&located.file.base_dir);
        if access::is_access(&located.statement) {
            let done = said.account(&mut context, &mut draft.world, &located.statement);
            done.await.map_err(|e| located.failed(e))?;
            changes.extend(noticed(context, located));
            continue;
        }
        let statement = replacing(&located.statement);
        if let Statement::CreateIndex(create) = &statement {
            remove_another(&mut draft.world, create);
        }
        let done = context.define(&mut draft.world, &statement).await;
        done.map_err(|e| located.failed(e))?;
        changes.extend(difference(&before, &draft.world, &statement, &mut defined));
        changes.extend(noticed(context, located));
    }
    let granted = access::Said::granted_before(&mut draft.world);
    for located in &grants {
        let mut context = context(&located.file.base_dir);
        let done = said.account(&mut context, &mut draft.world, &located.statement);
        done.await.map_err(|e| located.failed(e))?;
    }
    let world = &mut draft.world;
    changes.extend(said.granted(&before.definitions, granted, world, options.prune));
    let extra = extra(&draft.world, &defined);
    for (kind, id) in extra {
        let action = if options.prune {
            Action::Drop
        } else {
            Action::Extra
        };
        if options.prune {
            prune(&mut draft.world, &id)?;
        }
        changes.push(Change {
            action,
            kind,
            name: id.to_string(),
            detail: None,
        });
    }
    let mut context = context(&inner.base_dir);
    let roles = said.extra(&mut context, &mut draft.world, options.prune);
    changes.extend(roles.await?);
    if options.strict {
        changes.extend(unanswered(&draft.world));
    }
    if !options.check_only {
        draft.commit().await?;
    }
    Ok(changes)
}

fn noticed<'a>(
    context: Context<'a>,
    located: &'a Located<'_>,
) -> impl Iterator<Item = Change> + 'a {
    context.notices.into_iter().map(|notice| Change {
        action: Action::Notice,
        kind: "source",
        name: located.file.name.clone(),
        detail: Some(notice),
    })
}

fn read(files: &[SqlFile]) -> Result<Vec<Located<'_>>> {
    let mut statements = Vec::new();
    for file in files {
        let parsed = belvedere_sql::parse(&file.text).map_err(|e| Error::Invalid {
            message: format!("{}, line {}: {e}", file.name, e.line),
            help: None,
        })?;
        for spanned in parsed {
            let located = Located {
                statement: spanned.statement,
                file,
                line: spanned.line,
            };
            let allowed = matches!(
                &located.statement,
                Statement::CreateSource(_)
                    | Statement::CreateView(_)
                    | Statement::CreateIndex(_)
                    | Statement::CreateSchema(_)
                    | Statement::CommentOn(_)
                    | Statement::CreatePolicy(_)
                    | Statement::CreateMask(_)
            ) || access::is_access(&located.statement)
                || matches!(&located.statement, Statement::AlterSource(a) if matches!(a.action, SourceAction::Owns { .. }));
            if !allowed {
                return Err(located.failed(Error::invalid_with_help(
                    "a file of definitions holds what should be, not what to do",
                    "It may hold CREATE SOURCE, SCHEMA, VIEW and INDEX, ALTER SOURCE … OWNS, COMMENT ON, CREATE USER and ROLE, ALTER USER and ROLE … SET, GRANT, CREATE POLICY and MASK",
                )));
            }
            access::has_no_password(&located.statement).map_err(|e| located.failed(e))?;
            statements.push(located);
        }
    }
    Ok(statements)
}

/// Users and roles, schemas, sources, views after the views they read, then what is said about them.
fn in_order(statements: Vec<Located<'_>>) -> Result<Vec<Located<'_>>> {
    let (mut access, others) = statements
        .into_iter()
        .partition::<Vec<_>, _>(|located| access::is_access(&located.statement));
    access.sort_by_key(|located| access::rank(&located.statement));
    let mut all = access;
    let (mut first, mut views, mut last) = (Vec::new(), BTreeMap::new(), Vec::new());
    for located in others {
        match &located.statement {
            Statement::CreateSchema(_) => first.insert(0, located),
            Statement::CreateSource(_) => first.push(located),
            Statement::CreateView(view) => {
                let key = view_key(&view.name);
                if let Some(twice) = views.insert(key, located) {
                    return Err(twice.failed(Error::invalid("this view is defined twice")));
                }
            }
            _ => last.push(located),
        }
    }
    while let Some((key, _)) = views.first_key_value() {
        let mut trail = vec![key.clone()];
        // Follow what it reads down to a view that reads none of the others.
        while let Some(next) = trail.last().and_then(|k| reads_one_of(&views, k)) {
            if trail.contains(&next) {
                let located = &views[&next];
                return Err(
                    located.failed(Error::invalid("these views read each other in a circle"))
                );
            }
            trail.push(next);
        }
        if let Some(located) = trail.pop().and_then(|key| views.remove(&key)) {
            first.push(located);
        }
    }
    all.extend(first);
    all.extend(last);
    Ok(all)
}

fn view_key(name: &Name) -> (String, String) {
    let mut parts = name.fold();
    let view = parts.pop().unwrap_or_default();
    (parts.pop().unwrap_or_else(|| PUBLIC.to_string()), view)
}

/// A view among `views` that the named one reads.
fn reads_one_of(
    views: &BTreeMap<(String, String), Located<'_>>,
    key: &(String, String),
) -> Option<(String, String)> {
    let Statement::CreateView(view) = &views.get(key)?.statement else {
        return None;
    };
    let mut found = None;
    let _ = sqlparser::ast::visit_relations(&view.query, |relation| {
        let parts: Option<Vec<Ident>> = relation
            .0
            .iter()
            .map(|part| part.as_ident().cloned())
            .collect();
        if let Some(parts) = parts {
            let read = view_key(&Name(parts));
            if views.contains_key(&read) {
                found = Some(read);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    found
}

/// The statement as one that may stand where its like stands.
fn replacing(statement: &Statement) -> Statement {
    match statement {
        Statement::CreateSource(create) => Statement::CreateSource(CreateSource {
            or_replace: true,
            ..create.clone()
        }),
        Statement::CreateView(create) => Statement::CreateView(CreateView {
            or_replace: true,
            ..create.clone()
        }),
        Statement::CreateSchema(create) => {
            let mut create = create.clone();
            create.if_not_exists = true;
            Statement::CreateSchema(create)
        }
        Statement::CreatePolicy(create) => Statement::CreatePolicy(CreatePolicy {
            or_replace: true,
            ..create.clone()
        }),
        Statement::CreateMask(create) => Statement::CreateMask(CreateMask {
            or_replace: true,
            ..create.clone()
        }),
        Statement::CreateIndex(create) => Statement::CreateIndex(CreateIndex {
            if_not_exists: true,
            ..create.clone()
        }),
        other => other.clone(),
    }
}

/// An index of the same name on other columns makes room for the one that is wanted.
fn remove_another(world: &mut World, create: &CreateIndex) {
    let wanted: Vec<String> = create.columns.iter().map(fold).collect();
    let view = world.definitions.views.get(&view_key(&create.on)).cloned();
    if let Some(view) = view
        && let Some(index) = super::define::index_meant(&view, create)
        && index.columns != wanted
    {
        super::define::remove_index(world, &view, &index.name);
    }
}

fn difference(
    before: &World,
    after: &World,
    statement: &Statement,
    defined: &mut BTreeSet<ObjectId>,
) -> Option<Change> {
    fn action<T: PartialEq>(old: Option<&T>, new: Option<&T>) -> Action {
        match old {
            None => Action::Create,
            Some(_) if old == new => Action::Keep,
            Some(_) => Action::Replace,
        }
    }
    let (kind, id, action) = match statement {
        Statement::CreateSource(create) => {
            let name = fold(&create.name);
            let of = |world: &World| world.definitions.sources.get(&name).cloned();
            let action = action(of(before).as_ref(), of(after).as_ref());
            ("source", ObjectId::new([name]), action)
        }
        Statement::CreateView(create) => {
            let (schema, name) = view_key(&create.name);
            let id = ObjectId::new([CATALOG, &schema, &name]);
            let key = (schema, name);
            let of = |world: &World| world.definitions.views.get(&key).cloned();
            ("view", id, action(of(before).as_ref(), of(after).as_ref()))
        }
        Statement::CreateIndex(create) => {
            let (schema, view) = view_key(&create.on);
            let key = (schema.clone(), view.clone());
            let of = |world: &World| {
                let view = world.definitions.views.get(&key)?;
                super::define::index_meant(view, create).cloned()
            };
            let (old, new) = (of(before), of(after));
            let id = ObjectId::new([CATALOG, &schema, &view, &new.as_ref()?.name]);
            ("index", id, action(old.as_ref(), new.as_ref()))
        }
        Statement::CreateSchema(create) => {
            let name = create.name.fold().pop()?;
            let known = before.definitions.has_schema(&name);
            let action = if known { Action::Keep } else { Action::Create };
            ("schema", ObjectId::new([CATALOG, &name]), action)
        }
        _ => return None,
    };
    defined.insert(id.clone());
    let name = match kind {
        "schema" => id.0.last().cloned().unwrap_or_default(),
        _ => id.to_string(),
    };
    Some(Change {
        action,
        kind,
        name,
        detail: None,
    })
}

/// What runs and is defined by no file: views first, then what they may read.
fn extra(world: &World, defined: &BTreeSet<ObjectId>) -> Vec<(&'static str, ObjectId)> {
    let views = world
        .definitions
        .views
        .values()
        .map(|view| ("view", view.id()));
    let sources = world
        .definitions
        .sources
        .keys()
        .map(|name| ("source", ObjectId::new([name])));
    let schemas = world.definitions.schemas.iter();
    let schemas = schemas.map(|name| ("schema", ObjectId::new([CATALOG, name])));
    let indexes = world.definitions.views.values().flat_map(|view| {
        let of = |index: &Index| ObjectId::new([CATALOG, &view.schema, &view.name, &index.name]);
        let indexes = view.indexes().iter();
        indexes.map(move |index| ("index", of(index)))
    });
    let all = indexes.chain(views).chain(sources).chain(schemas);
    all.filter(|(_, id)| !defined.contains(id)).collect()
}

fn prune(world: &mut World, id: &ObjectId) -> Result<()> {
    // Views that no file defines go first; one that a file defines and that reads this is an error.
    match id.0.as_slice() {
        [_, schema, view, index] => {
            let key = (schema.clone(), view.clone());
            if let Some(view) = world.definitions.views.get(&key).cloned() {
                super::define::remove_index(world, &view, index);
            }
        }
        [_, schema, name] => {
            super::define::drop_view(world, &(schema.clone(), name.clone()));
        }
        [_, schema] => {
            world.definitions.schemas.remove(schema);
        }
        [source] => {
            let readers = world.definitions.dependents(id);
            if !readers.is_empty() {
                return Err(Error::InUse {
                    what: "source",
                    name: id.to_string(),
                    dependents: readers.iter().map(|v| format!("view {}", v.id())).collect(),
                });
            }
            world.definitions.sources.remove(source);
            world.definitions.discoveries.remove(source);
            world.live.remove(source);
        }
        _ => {}
    }
    Ok(())
}

/// Definitions that do not say who answers for them.
fn unanswered(world: &World) -> Vec<Change> {
    let sources = world.definitions.sources.values();
    let sources = sources.map(|s| ("source", s.name.clone(), s.about.clone()));
    let views = world.definitions.views.values();
    let views = views.map(|v| ("view", v.id().to_string(), v.about.clone()));
    let mut found = Vec::new();
    for (kind, name, about) in sources.chain(views) {
        let missing: Vec<_> = about
            .fields()
            .iter()
            .filter(|(_, v)| v.is_none())
            .map(|(n, _)| *n)
            .collect();
        if !missing.is_empty() {
            let detail = Some(format!("has no {}", missing.join(", ")));
            found.push(Change {
                action: Action::Notice,
                kind,
                name,
                detail,
            });
        }
    }
    found
}

/// The statement that defines this source.
pub(super) fn source_text(source: &SourceDefinition) -> String {
    let mut options = about_options(&source.about);
    for (name, value) in &source.options {
        options
            .0
            .push((ident(name.clone()), Value::String(value.clone())));
    }
    let create = CreateSource {
        or_replace: false,
        if_not_exists: false,
        name: ident(source.name.clone()),
        url: source.url.clone(),
        options,
    };
    Statement::CreateSource(create).to_string()
}

/// The statement that defines this view.
pub(super) fn view_text(view: &ViewDefinition) -> String {
    let named = view.columns.iter().filter(|_| view.named_columns);
    let query: Option<Box<Query>> = match belvedere_sql::parse_one(&view.query) {
        Ok(parsed) => match parsed.statement {
            Statement::Query(query) => Some(query),
            _ => None,
        },
        Err(_) => None,
    };
    let Some(query) = query else {
        return view.query.clone();
    };
    let mut options = about_options(&view.about);
    let contract = view.materialized.iter().flat_map(|kept| &kept.options);
    let contract = contract.chain(&view.bounds);
    let contract = contract.map(|(name, text)| (ident(name.clone()), Value::String(text.clone())));
    options.0.splice(0..0, contract);
    let create = CreateView {
        materialized: view.materialized.is_some(),
        or_replace: false,
        if_not_exists: false,
        name: Name::new([&view.schema, &view.name]),
        columns: named.map(|c| ident(c.name.clone())).collect(),
        options,
        checks: view.checks().iter().filter_map(check_ast).collect(),
        query,
        text: Verbatim(Some(view.query.clone())),
    };
    Statement::CreateView(create).to_string()
}

fn check_ast(check: &Check) -> Option<belvedere_sql::Check> {
    let Statement::Query(query) = belvedere_sql::parse_one(&check.query).ok()?.statement else {
        return None;
    };
    Some(belvedere_sql::Check {
        name: ident(check.name.clone()),
        query,
        text: Verbatim(Some(check.query.clone())),
    })
}

fn about_options(about: &About) -> Options {
    let fields = about.fields();
    let set = fields
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    Options(
        set.map(|(name, v)| (ident(name), Value::String(v.clone())))
            .collect(),
    )
}
