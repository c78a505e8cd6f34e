use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use belvedere_connector::Table;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;

use super::lineage::Outline;
use super::query::Planned;
use super::results::SeenSoFar;
use super::settings::Settings;
use super::transaction::Snapshot;
use super::world::{Inner, World};
use super::written::Written;
use super::{nearest, query, system, versions};
use crate::catalog::{
    BUILT_IN, CATALOG, INFORMATION_SCHEMA, ObjectId, PG_CATALOG, SYSTEM, SystemTableProvider,
};
use crate::error::{Error, Result};
use crate::federation::Asker;
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
    pub world: Arc<World>,
    pub settings: Arc<Settings>,
    /// The session that asks.
    pub asker: Asker,
    /// What that session has set, for `set_config`. A plan that is kept must not keep the session.
    pub session: Option<Weak<Mutex<Arc<Settings>>>>,
    /// What that session has written.
    pub written: Arc<Written>,
    /// A change in the making: no source is read again for an unknown table.
    pub frozen: bool,
    /// Tables and views are resolved to their outlines: for lineage.
    outline: bool,
    /// Of the transaction that the statement is part of.
    pub snapshot: Option<Arc<Snapshot>>,
    /// A kept view that has these rows, whatever others find of it.
    fixed: Option<(ObjectId, Arc<Shown>)>,
    /// What the session has seen: what is read that is not named is no older.
    pub seen_so_far: SeenSoFar,
    /// Of the views that the names are inside of: how old what is read may be.
    bounds: Bounds,
    depth: usize,
    seen: Arc<Seen>,
}

/// What happened while names were resolved.
#[derive(Debug, Default)]
struct Seen {
    referenced: Mutex<BTreeSet<ObjectId>>,
    refreshed: Mutex<BTreeSet<String>>,
}

/// Where a table name is looked up.
#[derive(Debug, Clone)]
enum Scope {
    Path,
    Own(String),
    Source {
        source: String,
        schema: String,
    },
    /// A qualifier that means nothing: an error once the table is asked for.
    Unknown {
        what: &'static str,
        name: String,
        hint: Option<String>,
    },
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
            world,
            settings: settings.into(),
            asker: Asker::default(),
            session: None,
            written: Arc::default(),
            frozen,
            outline: false,
            snapshot: None,
            fixed: None,
            seen_so_far: SeenSoFar::default(),
            bounds: Bounds::default(),
            depth: 0,
            seen: Arc::default(),
        }
    }

    /// Of a session's statement.
    pub fn asked_by(self, asker: Asker) -> Self {
        Self { asker, ..self }
    }

    /// Of a statement within a transaction.
    pub fn within(self, snapshot: Option<Arc<Snapshot>>) -> Self {
        Self { snapshot, ..self }
    }

    /// Of the session with these settings.
    pub fn of_session(self, session: &Arc<Mutex<Arc<Settings>>>) -> Self {
        let session = Some(Arc::downgrade(session));
        Self { session, ..self }
    }

    /// Of a session that has written this.
    pub fn having(self, written: &Arc<Written>) -> Self {
        let written = Arc::clone(written);
        Self { written, ..self }
    }

    /// Whether what was planned would be so again.
    pub fn are_those_of(&self, planned: &Planned) -> bool {
        let then = &planned.names;
        let same = Arc::ptr_eq(&then.settings, &self.settings) || then.settings == self.settings;
        then.world.version == self.world.version && same
    }

    /// Of a session that has seen this.
    pub fn having_seen(self, seen_so_far: SeenSoFar) -> Self {
        Self {
            seen_so_far,
            ..self
        }
    }

    /// The same where what is read is no older than this, either.
    pub fn bounded(self, bounds: Bounds) -> Self {
        Self {
            bounds: self.bounds.and(bounds),
            ..self
        }
    }

    /// Names inside a view: looked up along the view's own path.
    pub fn inside(&self, search_path: &[String]) -> Self {
        let mut settings = self.settings.as_ref().clone();
        settings.search_path = search_path.to_vec();
        Self {
            settings: Arc::new(settings),
            depth: self.depth + 1,
            seen: Arc::new(Seen {
                referenced: Mutex::default(),
                refreshed: Mutex::new(lock(&self.seen.refreshed).clone()),
            }),
            ..self.clone()
        }
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

    /// Resolve a name of one to three parts as a query would.
    pub async fn resolve(&self, parts: &[String]) -> Result<Arc<dyn TableProvider>> {
        let scope = match parts {
            [_] => Scope::Path,
            [first, _] => self.own_or_source(first),
            [catalog, schema, _] => self.in_catalog(catalog, schema),
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

    fn own_or_source(&self, name: &str) -> Scope {
        let definitions = &self.world.definitions;
        let exact = |name: &str| {
            if definitions.has_schema(name) {
                return Some(Scope::Own(name.to_string()));
            }
            let live = self.world.live.get(name)?;
            let schema = live.handle.source.default_schema().to_string();
            Some(Scope::Source {
                source: name.to_string(),
                schema,
            })
        };
        if let Some(scope) = exact(name) {
            return scope;
        }
        let known = || {
            self.world
                .live
                .keys()
                .chain(&definitions.schemas)
                .map(String::as_str)
        };
        if let Some(scope) = unique(known(), |k| *k, name).and_then(exact) {
            return scope;
        }
        if let Some(scope) = self.schema_of_source(name) {
            return scope;
        }
        let hint = nearest(name, known().chain([SYSTEM, INFORMATION_SCHEMA]));
        Scope::Unknown {
            what: "source or schema",
            name: name.to_string(),
            hint: Some(match hint {
                Some(near) => format!("Did you mean {near}?"),
                None => "SHOW SOURCES lists the sources".to_string(),
            }),
        }
    }

    /// `"a.other"`: schema `other` of source `a`.
    fn schema_of_source(&self, name: &str) -> Option<Scope> {
        let same = |a: &str, b: &str| match a == b {
            true => Some(true),
            false => a.eq_ignore_ascii_case(b).then_some(false),
        };
        // Either may have a dot in its name.
        let mut found: Vec<(bool, Scope)> = Vec::new();
        for (at, _) in name.match_indices('.') {
            let (source, schema) = (&name[..at], &name[at + 1..]);
            for known in self.world.live.keys() {
                let Some(is_source) = same(known, source) else {
                    continue;
                };
                let tables = self.world.definitions.tables(known).iter();
                let schemas: BTreeSet<&str> = tables.map(|t| t.schema.as_str()).collect();
                for other in schemas {
                    if let Some(is_schema) = same(other, schema) {
                        let scope = Scope::Source {
                            source: known.clone(),
                            schema: other.to_string(),
                        };
                        found.push((is_source && is_schema, scope));
                    }
                }
            }
        }
        if let Some(exact) = found.iter().position(|(exact, _)| *exact) {
            return Some(found.swap_remove(exact).1);
        }
        match found.len() {
            1 => found.pop().map(|(_, scope)| scope),
            _ => None,
        }
    }

    fn in_catalog(&self, catalog: &str, schema: &str) -> Scope {
        // Clients of PostgreSQL write the database before the schema, and sources are schemas to them.
        if catalog == CATALOG {
            return self.own_or_source(schema);
        }
        match self.own_or_source(catalog) {
            Scope::Source { source, .. } => {
                let tables = self.world.definitions.tables(&source);
                let schemas = || tables.iter().map(|t| t.schema.as_str());
                let exact = schemas().any(|s| s == schema);
                let schema = match exact {
                    true => schema,
                    false => {
                        unique(schemas().collect::<BTreeSet<_>>(), |s| *s, schema).unwrap_or(schema)
                    }
                };
                Scope::Source {
                    source,
                    schema: schema.to_string(),
                }
            }
            Scope::Own(own) => Scope::Unknown {
                what: "source",
                name: own.clone(),
                hint: Some(format!("{own} is a schema of {CATALOG}: write {own}.table")),
            },
            other => other,
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
                // Before all others, as in PostgreSQL: its clients do not write the schema.
                if name.starts_with("pg_")
                    && let Some(found) = self.own(PG_CATALOG, name).await?
                {
                    return Ok(found);
                }
                for entry in &self.settings.search_path {
                    let found = match self.own_or_source(entry) {
                        Scope::Own(schema) => self.own(&schema, name).await?,
                        Scope::Source { source, schema } => {
                            match self.known_table(&self.world, &source, &schema, name)? {
                                Some(table) => Some(self.provide(&source, &table).await?),
                                None => None,
                            }
                        }
                        _ => None,
                    };
                    if let Some(found) = found {
                        return Ok(found);
                    }
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
            return Ok(Some(Arc::new(CopyTable {
                id: view.id(),
                schema: view.arrow_schema(),
                indexes: indexes(view, &contract).into(),
                contract,
                shown,
                is_fixed,
            })));
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
        query::view_provider(self, view).await.map(Some)
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
        if let Some(table) = self.known_table(&self.world, source, schema, name)? {
            return self.provide(source, &table).await;
        }
        let mut world = self.world.clone();
        if !self.frozen && lock(&self.seen.refreshed).insert(source.to_string()) {
            self.inner.refresh(source).await?;
            world = self.inner.world();
            if let Some(table) = self.known_table(&world, source, schema, name)? {
                return self.provide(source, &table).await;
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

    fn known_table(
        &self,
        world: &World,
        source: &str,
        schema: &str,
        name: &str,
    ) -> Result<Option<Arc<Table>>> {
        let tables = world.definitions.tables(source);
        let inside = || tables.iter().filter(|t| t.schema == schema);
        if let Some(exact) = inside().find(|t| t.name == name) {
            return Ok(Some(exact.clone()));
        }
        let mut similar = inside().filter(|t| t.name.eq_ignore_ascii_case(name));
        match (similar.next(), similar.next()) {
            (Some(one), None) => Ok(Some(one.clone())),
            (Some(one), Some(other)) => Err(Error::invalid_with_help(
                format!("several tables of source {source} are named {name} but for case"),
                format!(
                    "Write {} or {}",
                    belvedere_sql::ident(one.name.clone()),
                    belvedere_sql::ident(other.name.clone())
                ),
            )),
            (None, _) => Ok(None),
        }
    }

    async fn provide(&self, source: &str, table: &Arc<Table>) -> Result<Arc<dyn TableProvider>> {
        let id = ObjectId::new([source, &table.schema, &table.name]);
        self.refer(id.clone());
        if self.outline {
            return Ok(outline(id, table.arrow_schema()));
        }
        let live = self.world.live.get(source).ok_or_else(|| {
            Error::Internal(format!("source {source} is defined but was not opened"))
        })?;
        live.provider(table).await
    }

    fn refer(&self, id: ObjectId) {
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

/// The only candidate that differs from `name` in case alone.
fn unique<'a, T: 'a>(
    candidates: impl IntoIterator<Item = T>,
    text: impl Fn(&T) -> &str,
    name: &str,
) -> Option<T> {
    let mut similar = candidates
        .into_iter()
        .filter(|c| text(c).eq_ignore_ascii_case(name));
    match (similar.next(), similar.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CatalogProviderList for Names {
    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        // Catalogs are sources: CREATE SOURCE makes them.
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        let sources = self.world.live.keys().cloned();
        std::iter::once(CATALOG.to_string())
            .chain(sources)
            .collect()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        Some(Arc::new(CatalogNames {
            names: self.clone(),
            catalog: name.to_string(),
        }))
    }
}

#[derive(Debug)]
struct CatalogNames {
    names: Names,
    catalog: String,
}

impl CatalogProvider for CatalogNames {
    fn schema_names(&self) -> Vec<String> {
        let definitions = &self.names.world.definitions;
        if self.catalog == CATALOG {
            return definitions.schemas.iter().cloned().collect();
        }
        let tables = definitions.tables(&self.catalog);
        tables
            .iter()
            .map(|t| t.schema.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        // DataFusion fills in its defaults: `a.b` arrives as belvedere.a.b, `b` as belvedere.$path.b.
        let scope = match (self.catalog.as_str(), name) {
            (CATALOG, PATH) => Scope::Path,
            (CATALOG, name) => self.names.own_or_source(name),
            (catalog, name) => self.names.in_catalog(catalog, name),
        };
        Some(Arc::new(SchemaNames {
            names: self.names.clone(),
            scope,
        }))
    }
}

#[derive(Debug)]
struct SchemaNames {
    names: Names,
    scope: Scope,
}

#[async_trait]
impl SchemaProvider for SchemaNames {
    fn table_names(&self) -> Vec<String> {
        let definitions = &self.names.world.definitions;
        match &self.scope {
            Scope::Own(schema) => {
                let views = definitions.views.keys().filter(|(s, _)| s == schema);
                views.map(|(_, name)| name.clone()).collect()
            }
            Scope::Source { source, schema } => {
                let tables = definitions
                    .tables(source)
                    .iter()
                    .filter(|t| &t.schema == schema);
                tables.map(|t| t.name.clone()).collect()
            }
            Scope::Path | Scope::Unknown { .. } => Vec::new(),
        }
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let table_functions = self.names.inner.state.table_functions();
        match self.names.find(&self.scope, name).await {
            Ok(table) => Ok(Some(table)),
            // DataFusion asks for `generate_series` in `FROM generate_series(1, 10)` as for a table.
            Err(Error::Unknown { .. })
                if matches!(self.scope, Scope::Path) && table_functions.contains_key(name) =>
            {
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|n| n == name)
    }
}
