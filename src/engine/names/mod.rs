mod caller;
mod catalogs;
mod ruled;
mod scope;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::Table;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;

pub(super) use self::caller::{Call, Caller};
use self::ruled::RULED;
pub(super) use self::ruled::Ruled;
use self::scope::{Scope, unique};
use super::lineage::Outline;
use super::query::Planned;
use super::settings::Settings;
use super::sources::LiveSource;
use super::told::SeenSoFar;
use super::world::{Inner, World};
use super::{nearest, query, system, versions};
use crate::access::{Identity, Rights};
use crate::catalog::{
    BUILT_IN, CATALOG, ObjectId, PG_CATALOG, Privilege, SystemTableProvider, ViewDefinition,
};
use crate::error::{Error, Result};
use crate::views::{Bounds, Contract, CopyTable, Shown, indexes};

/// The schema DataFusion puts unqualified names into: they are looked up along the search path. No user can type it.
pub(super) const PATH: &str = "$path";

/// Views within views: more is a loop that slipped in, or nobody's intention.
const MAX_VIEW_DEPTH: usize = 64;

/// The names of one statement, as DataFusion's catalog list (DESIGN §2 *Names*): `a.b.c` is source, schema, table;
/// `a.b` is own schema `a`, else table `b` in the default schema of source `a`, else `a` is a source with one of its
/// schemas in one name, as clients of PostgreSQL know them (`"a.other"`); `b` is a table of `pg_catalog`, else looked up
/// along the search path. An exact match wins, then a unique one without regard to case.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub inner: Arc<Inner>,
    /// As whoever's rights count sees it: the caller, or inside a view who has defined that.
    pub world: Arc<World>,
    /// All of it.
    pub root: Arc<World>,
    identity: Identity,
    pub settings: Arc<Settings>,
    pub caller: Caller,
    /// A change in the making: no source is read again for an unknown table.
    pub frozen: bool,
    /// Tables and views are resolved to their outlines: for lineage.
    outline: bool,
    writes: Writes,
    /// A kept view that has these rows, whatever others find of it.
    fixed: Option<(ObjectId, Arc<Shown>)>,
    /// What the expression of a policy or mask is over.
    ruled: Option<Arc<dyn TableProvider>>,
    /// Of the views that the names are inside of: how old what is read may be.
    bounds: Bounds,
    depth: usize,
    seen: Arc<Seen>,
}

/// A table that is written to, which need not be one that may be read.
#[derive(Debug, Clone)]
enum Writes {
    Nothing,
    /// The one that is resolved.
    Something,
    To(ObjectId),
    /// The same, of which no more is there than is seen.
    ToSeen(ObjectId),
}

/// What happened while names were resolved.
#[derive(Debug, Default)]
struct Seen {
    referenced: Mutex<BTreeSet<ObjectId>>,
    refreshed: Mutex<BTreeSet<String>>,
}

impl Names {
    pub fn new(
        inner: Arc<Inner>,
        world: Arc<World>,
        settings: impl Into<Arc<Settings>>,
        frozen: bool,
    ) -> Self {
        Self {
            inner,
            root: world.clone(),
            world,
            identity: Identity::administrator(),
            settings: settings.into(),
            caller: Caller::engine(),
            frozen,
            outline: false,
            writes: Writes::Nothing,
            fixed: None,
            ruled: None,
            bounds: Bounds::default(),
            depth: 0,
            seen: Arc::default(),
        }
    }

    /// Of a statement of this caller.
    pub fn asked_by(self, caller: Caller) -> Self {
        let identity = caller.identity.clone();
        Self { caller, ..self }.with_rights_of(identity)
    }

    /// What is there, and what may be done with it, is for this identity.
    pub fn with_rights_of(self, identity: Identity) -> Self {
        Self {
            world: self.root.seen_by(&identity),
            identity,
            ..self
        }
    }

    /// The same with all that there is.
    pub fn with_all_rights(&self) -> Self {
        self.clone().with_rights_of(Identity::administrator())
    }

    /// Of a statement that writes to a table: to this, or, if none is given, to that which is resolved.
    pub fn writing_to(&self, id: Option<ObjectId>) -> Self {
        Self {
            writes: id.map_or(Writes::Something, Writes::To),
            ..self.clone()
        }
    }

    /// The same where no more of the table is there than is seen, be it to be read or to be written.
    pub fn writing_to_seen(&self, id: ObjectId) -> Self {
        Self {
            writes: Writes::ToSeen(id),
            ..self.clone()
        }
    }

    /// Whether what was planned would be so again.
    pub fn are_those_of(&self, planned: &Planned) -> bool {
        let then = &planned.names;
        let same = Arc::ptr_eq(&then.settings, &self.settings) || then.settings == self.settings;
        then.world.version == self.world.version && same
    }

    /// Of a session that has seen this.
    pub fn having_seen(mut self, seen_so_far: SeenSoFar) -> Self {
        self.caller.seen_so_far = seen_so_far;
        self
    }

    /// The same where what is read is no older than this, either.
    pub fn bounded(self, bounds: Bounds) -> Self {
        Self {
            bounds: self.bounds.and(bounds),
            ..self
        }
    }

    /// Names inside a view: looked up along the view's own path, with the rights of who has defined it.
    pub fn inside(&self, view: &ViewDefinition) -> Self {
        let mut settings = self.settings.as_ref().clone();
        settings.search_path.clone_from(&view.search_path);
        self.deeper(view.definer.as_deref(), settings)
    }

    /// Names in the expression of a policy or mask of this: the session's settings do not matter there.
    fn for_rule(&self, on: &ObjectId, ruled: Arc<dyn TableProvider>, path: &[String]) -> Self {
        let settings = Settings {
            search_path: path.to_vec(),
            ..Settings::default()
        };
        let view = self.root.view(on);
        let definer = view.and_then(|view| view.definer.as_deref());
        Self {
            ruled: Some(ruled),
            ..self.deeper(definer, settings)
        }
    }

    /// Names with the rights of who has defined what they are in. None: the administrator.
    fn deeper(&self, definer: Option<&str>, settings: Settings) -> Self {
        let accounts = &self.root.definitions.accounts;
        let identity = match definer {
            None => Identity::administrator(),
            Some(definer) => Identity::of(accounts, definer).unwrap_or_else(Identity::nobody),
        };
        Self {
            settings: Arc::new(settings),
            depth: self.depth + 1,
            writes: Writes::Nothing,
            ruled: None,
            seen: Arc::new(Seen {
                referenced: Mutex::default(),
                refreshed: Mutex::new(lock(&self.seen.refreshed).clone()),
            }),
            ..self.clone()
        }
        .with_rights_of(identity)
    }

    /// The same under other settings.
    pub fn with_settings(&self, settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            ..self.clone()
        }
    }

    /// The same where a kept view has other rows.
    pub fn with_shown(&self, id: &ObjectId, shown: Shown) -> Self {
        Self {
            fixed: Some((id.clone(), Arc::new(shown))),
            ..self.clone()
        }
    }

    /// What a kept view has now.
    pub fn shown(&self, id: &ObjectId) -> Option<Arc<Shown>> {
        self.inner.views.shelves().newest().get(id).cloned()
    }

    /// Names of tables and views without what is in them. No source is asked.
    pub fn outline(&self) -> Self {
        Self {
            outline: true,
            frozen: true,
            ..self.clone()
        }
    }

    /// The tables and views resolved so far.
    pub fn referenced(&self) -> BTreeSet<ObjectId> {
        lock(&self.seen.referenced).clone()
    }

    /// The same have been resolved before.
    pub fn refer_to(&self, these: &BTreeSet<ObjectId>) {
        lock(&self.seen.referenced).extend(these.iter().cloned());
    }

    /// Resolve a name of one to three parts as a query would.
    pub async fn resolve(&self, parts: &[String]) -> Result<Arc<dyn TableProvider>> {
        let scope = match parts {
            [_] => Scope::Path,
            [first, _] => self.world.own_or_source(first),
            [catalog, schema, _] => self.world.in_catalog(catalog, schema),
            _ => {
                return Err(Error::invalid(format!(
                    "a table's name has one to three parts, not {}",
                    parts.len()
                )));
            }
        };
        let name = parts.last().map_or("", String::as_str);
        self.find(&scope, name).await
    }

    /// The schema that a name of one or two parts means.
    pub fn schema(&self, parts: &[String]) -> Result<ObjectId> {
        let scope = match parts {
            [one] => self.world.own_or_source(one),
            [catalog, schema] => self.world.in_catalog(catalog, schema),
            _ => return Err(Error::invalid("a schema's name has one or two parts")),
        };
        match scope {
            Scope::Own(schema) => Ok(ObjectId::new([CATALOG, &schema])),
            Scope::Source { source, schema } => Ok(ObjectId::new([source, schema])),
            Scope::Unknown { what, name, hint } => Err(Error::Unknown { what, name, hint }),
            Scope::Path => Err(Error::invalid("a schema has a name")),
        }
    }

    async fn find(&self, scope: &Scope, name: &str) -> Result<Arc<dyn TableProvider>> {
        match scope {
            Scope::Own(schema) => match self.own(schema, name).await? {
                Some(found) => Ok(found),
                None => Err(self.unknown_own(Some(schema), name)),
            },
            Scope::Source { source, schema } => self.in_source(source, schema, name).await,
            Scope::Path => {
                if let (RULED, Some(ruled)) = (name, &self.ruled) {
                    return Ok(ruled.clone());
                }
                // Before all others, as in PostgreSQL: its clients do not write the schema.
                if name.starts_with("pg_")
                    && let Some(found) = self.own(PG_CATALOG, name).await?
                {
                    return Ok(found);
                }
                if let Some(found) = self.along_path(&self.world, name).await? {
                    return Ok(found);
                }
                // Of a function in FROM it is asked, too, whether it is a table.
                let is_function = self.inner.state.table_functions().contains_key(name);
                if !is_function
                    && let Some(world) = self.path_read_again().await?
                    && let Some(found) = self.along_path(&world, name).await?
                {
                    return Ok(found);
                }
                Err(self.unknown_own(None, name))
            }
            Scope::Unknown { what, name, hint } => Err(Error::Unknown {
                what,
                name: name.clone(),
                hint: hint.clone(),
            }),
        }
    }

    /// The first of this name along the search path.
    async fn along_path(
        &self,
        world: &World,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        for entry in &self.settings.search_path {
            let found = match world.own_or_source(entry) {
                Scope::Own(schema) => self.own(&schema, name).await?,
                Scope::Source { source, schema } => {
                    match world.known_table(&source, &schema, name)? {
                        Some(table) => Some(self.provide(world, &source, &table).await?),
                        None => None,
                    }
                }
                _ => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Read the schemas of the search path's sources again, each once a statement. None: there is none left.
    async fn path_read_again(&self) -> Result<Option<Arc<World>>> {
        let mut is_read = false;
        for entry in &self.settings.search_path {
            if let Scope::Source { source, .. } = self.world.own_or_source(entry) {
                is_read |= self.read_again(&source).await?;
            }
        }
        Ok(is_read.then(|| self.inner.world().seen_by(&self.identity)))
    }

    /// Read a source's schema again, once a statement. False: that has been done, or is not to be.
    async fn read_again(&self, source: &str) -> Result<bool> {
        if self.frozen || !lock(&self.seen.refreshed).insert(source.to_string()) {
            return Ok(false);
        }
        self.inner.refresh(source).await?;
        Ok(true)
    }

    async fn own(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if BUILT_IN.contains(&schema) {
            let table = system::table(schema, name, self);
            if table.is_some() {
                self.refer(ObjectId::new([CATALOG, schema, name]));
            }
            return Ok(table.map(|t| match self.outline {
                true => outline(ObjectId::new([CATALOG, schema, name]), t.schema()),
                false => Arc::new(SystemTableProvider(t)) as _,
            }));
        }
        let definitions = &self.world.definitions;
        let (name, version) = versions::split(name);
        let view = definitions.view(schema, name).or_else(|| {
            let inside = definitions.views.iter().filter(|((s, _), _)| s == schema);
            unique(inside, |((_, n), _)| n, name).map(|(_, view)| view)
        });
        let Some(view) = view else {
            return Ok(None);
        };
        self.refer(view.id());
        if self.outline {
            return Ok(Some(outline(view.id(), view.arrow_schema())));
        }
        self.world.permits(Privilege::Select, &view.id())?;
        // As it is defined, and not as it is seen.
        let seen = view;
        let view = self.root.view(&view.id()).unwrap_or(view);
        let provider = Box::pin(self.provide_view(view, version)).await?;
        let columns = seen.columns.iter().map(|column| &column.name);
        let provider = self.as_seen(&view.id(), provider, columns).await?;
        Ok(Some(provider))
    }

    /// A view, or one version of it.
    async fn provide_view(
        &self,
        view: &Arc<ViewDefinition>,
        version: Option<versions::Wanted>,
    ) -> Result<Arc<dyn TableProvider>> {
        if let Some(kept) = &view.materialized {
            let mut contract = Contract::new(&kept.options)?.bounded(self.bounds);
            // Of others it is found when the statement is run: a plan that is kept keeps no rows.
            let fixed = self.fixed.as_ref().filter(|(id, _)| *id == view.id());
            let mut shown = fixed.map(|(_, shown)| shown.clone());
            let mut is_fixed = shown.is_some();
            if let Some(version) = version {
                let versions = self.inner.views.versions(kept.generation);
                let version = versions::pick(&view.id(), &versions, &version)?;
                shown = Some(Arc::new(Shown::version(kept.generation, version)));
                contract.max_staleness = None;
                is_fixed = true;
            }
            return Ok(Arc::new(CopyTable {
                id: view.id(),
                schema: view.arrow_schema(),
                indexes: indexes(view, &contract).into(),
                contract,
                shown,
                is_fixed,
            }));
        }
        if version.is_some() {
            return Err(no_versions(&view.id()));
        }
        if self.depth >= MAX_VIEW_DEPTH {
            return Err(Error::invalid(format!(
                "view {} is nested more than {MAX_VIEW_DEPTH} views deep",
                view.id()
            )));
        }
        query::view_provider(self, view).await
    }

    /// A table of a source. One that is not known makes the source's schema be read again, once a statement.
    async fn in_source(
        &self,
        source: &str,
        schema: &str,
        name: &str,
    ) -> Result<Arc<dyn TableProvider>> {
        if let (name, Some(_)) = versions::split(name) {
            return Err(no_versions(&ObjectId::new([source, schema, name])));
        }
        if let Some(table) = self.world.known_table(source, schema, name)? {
            return self.provide(&self.world, source, &table).await;
        }
        let mut world = self.world.clone();
        if self.read_again(source).await? {
            world = self.inner.world().seen_by(&self.identity);
            if let Some(table) = world.known_table(source, schema, name)? {
                return self.provide(&world, source, &table).await;
            }
        }
        let tables = world.definitions.tables(source);
        let default = world
            .live
            .get(source)
            .map(|l| l.handle.source.default_schema().to_string());
        let hint = match nearest(name, tables.iter().map(|t| t.name.as_str())) {
            Some(near) => format!("Did you mean {near}?"),
            None => format!(
                "SHOW TABLES FROM {} lists what there is",
                belvedere_sql::ident(source)
            ),
        };
        let shown = match default.as_deref() == Some(schema) {
            true => ObjectId::new([source, name]),
            false => ObjectId::new([source, schema, name]),
        };
        Err(Error::Unknown {
            what: "table",
            name: shown.to_string(),
            hint: Some(hint),
        })
    }

    /// A table of a source, as it is seen in this world.
    async fn provide(
        &self,
        world: &World,
        source: &str,
        table: &Arc<Table>,
    ) -> Result<Arc<dyn TableProvider>> {
        let id = ObjectId::new([source, &table.schema, &table.name]);
        self.refer(id.clone());
        if self.outline {
            return Ok(outline(id, table.arrow_schema()));
        }
        let is_written = match &self.writes {
            Writes::Nothing => false,
            Writes::Something => true,
            Writes::To(written) | Writes::ToSeen(written) => *written == id,
        };
        if !is_written {
            world.permits(Privilege::Select, &id)?;
        }
        let is_whole = is_written && !matches!(self.writes, Writes::ToSeen(_));
        let live = world.live.get(source).ok_or_else(|| {
            Error::Internal(format!("source {source} is defined but was not opened"))
        })?;
        let whole = world.whole_table(&id, table);
        let provider = match self.mapped(live)? {
            None => live.provider(&whole).await?,
            Some(own) => own.provider(&whole).await?,
        };
        if is_whole {
            return Ok(provider);
        }
        let allowed = world.allowed(&id);
        let read = allowed.columns(Privilege::Select);
        let is_there = |name: &&String| is_written || read.is_some_and(|read| read.contains(name));
        let columns = table.columns.iter().map(|column| &column.name);
        self.as_seen(&id, provider, columns.filter(is_there)).await
    }

    /// A source as whoever's rights count reads it. None: as it is defined.
    fn mapped(&self, live: &LiveSource) -> Result<Option<Arc<LiveSource>>> {
        let definitions = &self.root.definitions;
        let source = &live.definition.name;
        let rights = Rights {
            definitions,
            identity: &self.identity,
        };
        let mapping = rights.mapping(source).map_err(|_| {
            Error::denied(
                format!("source {source} is read by users of its own, and you are none"),
                "A superuser makes you one: CREATE USER MAPPING FOR … ON SOURCE …",
            )
        })?;
        let Some((mapping, who)) = mapping.zip(self.identity.name()) else {
            return Ok(None);
        };
        let known = definitions.discoveries.get(source).map(Arc::as_ref);
        let connectors = &self.inner.connectors;
        live.mapped(connectors, who.clone(), mapping, known)
            .map(Some)
    }

    fn refer(&self, id: ObjectId) {
        // What a view reads is not what the statement names.
        if self.depth == 0 {
            self.caller.touched.object(&id);
        }
        lock(&self.seen.referenced).insert(id);
    }

    fn unknown_own(&self, schema: Option<&str>, name: &str) -> Error {
        let (name, _) = versions::split(name);
        let definitions = &self.world.definitions;
        let elsewhere = self.world.live.keys().find_map(|source| {
            let tables = definitions.tables(source);
            tables
                .iter()
                .find(|t| t.name == name)
                .map(|t| match schema {
                    Some(_) => ObjectId::new([source, &t.schema, &t.name]),
                    None => ObjectId::new([source, &t.name]),
                })
        });
        let elsewhere = elsewhere.map(|id| id.to_string()).or_else(|| {
            let mut same = definitions.views.keys().filter(|(_, view)| view == name);
            same.next()
                .map(|(schema, view)| belvedere_sql::Name::new([schema, view]).to_string())
        });
        let views = definitions.views.keys().map(|(_, view)| view.as_str());
        let system = system::names()
            .filter(|(s, _)| Some(*s) == schema)
            .map(|(_, table)| table);
        let hint = match (elsewhere, nearest(name, views.chain(system))) {
            (Some(other), _) => Some(format!("There is {other}")),
            (None, Some(near)) => Some(format!("Did you mean {near}?")),
            (None, None) => None,
        };
        let name = ObjectId::new(schema.into_iter().chain([name]));
        Error::Unknown {
            what: "table or view",
            name: name.to_string(),
            hint,
        }
    }
}

fn no_versions(id: &ObjectId) -> Error {
    Error::invalid_with_help(
        format!("{id} has no versions"),
        "Materialized views that are computed anew have them, as many as their option keep says",
    )
}

fn outline(id: ObjectId, schema: SchemaRef) -> Arc<dyn TableProvider> {
    Arc::new(Outline { id, schema })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
