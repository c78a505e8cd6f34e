//! A world as an identity sees it: what it may not use is not there. All that resolves names, lists what there is or gives hints does
//! so in such a world, and need not know of rights. Only what may be done with what is there is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::Table;
use lru::LruCache;

use super::names::Ruled;
use super::world::World;
use crate::access::{Allowed, Identity, Rights};
use crate::catalog::{
    BUILT_IN, CATALOG, Columns, Definitions, Discovery, Grantee, ObjectId, Privilege,
    SourceDefinition, ViewDefinition,
};
use crate::error::{Error, Result};

/// Whom one world is kept for.
const MOST: NonZeroUsize = NonZeroUsize::new(256).expect("some");
/// Versions of worlds that some see: none is that of a world of all. Those of transactions come behind them.
static VERSIONS: AtomicU64 = AtomicU64::new(1 << 62);

/// A world as it was seen of late. A copy of a world is made to be changed: it has none.
#[derive(Debug)]
pub(super) struct SeenBy(Mutex<LruCache<Who, Arc<World>>>);

/// What policies may ask of somebody: the name, and the roles.
type Who = (Option<Arc<str>>, Arc<BTreeSet<String>>);

impl Default for SeenBy {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Clone for SeenBy {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What may be done by whoever sees a world so.
#[derive(Debug)]
pub(super) struct Share {
    identity: Identity,
    /// Of whatever is there.
    allowed: BTreeMap<ObjectId, Allowed>,
    /// Tables of which more is there than is seen.
    whole: BTreeMap<ObjectId, Arc<Table>>,
    /// What of it is seen by policies and masks.
    ruled: BTreeMap<ObjectId, Ruled>,
    /// Virtual views that read what is not seen.
    closed: BTreeSet<ObjectId>,
}

impl World {
    /// The world as this identity sees it. The same rights give the same one.
    pub fn seen_by(self: &Arc<Self>, identity: &Identity) -> Arc<Self> {
        if identity.may_all() {
            return self.clone();
        }
        let mut known = self
            .seen_by
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let who = (identity.name().cloned(), identity.roles().clone());
        let seen = known.get_or_insert(who, || Arc::new(self.share(identity)));
        seen.clone()
    }

    fn share(&self, identity: &Identity) -> Self {
        let rights = Rights {
            definitions: &self.definitions,
            identity,
        };
        let mut part = Part {
            of: self,
            rights,
            seen: Definitions::default(),
            allowed: BTreeMap::new(),
            whole: BTreeMap::new(),
            ruled: BTreeMap::new(),
        };
        part.take_sources();
        part.take_views();
        part.take_accounts();
        part.take_rules();
        part.take_comments();
        let closed = part.closed();
        let Part {
            seen,
            allowed,
            whole,
            ruled,
            ..
        } = part;
        let is_there = |name: &String| seen.sources.contains_key(name);
        let live = self.live.iter().filter(|(name, _)| is_there(name));
        Self {
            live: live
                .map(|(name, live)| (name.clone(), live.clone()))
                .collect(),
            definitions: seen,
            version: self.version_of_share(),
            share: Some(Arc::new(Share {
                identity: identity.clone(),
                allowed,
                whole,
                ruled,
                closed,
            })),
            ..Self::default()
        }
    }

    fn version_of_share(&self) -> u64 {
        match self.is_of_transaction() {
            true => Self::version_of_transaction(),
            false => VERSIONS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// What whoever sees this world may do with something in it.
    pub fn allowed(&self, id: &ObjectId) -> Allowed {
        let Some(share) = &self.share else {
            return Allowed::All;
        };
        match share.allowed.get(id) {
            Some(allowed) => allowed.clone(),
            None => Allowed::These(BTreeMap::new()),
        }
    }

    /// The user who sees no more than this. None: all is seen, or it is nobody.
    pub fn user(&self) -> Option<&str> {
        self.share.as_ref()?.identity.name().map(AsRef::as_ref)
    }

    /// Whether all of it is seen.
    pub fn is_whole(&self) -> bool {
        self.share.is_none()
    }

    /// The table with all that there is of it.
    pub fn whole_table(&self, id: &ObjectId, seen: &Arc<Table>) -> Arc<Table> {
        let whole = self.share.as_ref().and_then(|share| share.whole.get(id));
        whole.unwrap_or(seen).clone()
    }

    /// By which policies and masks a table or view is seen. None: as it is.
    pub fn ruled(&self, id: &ObjectId) -> Option<&Ruled> {
        self.share.as_ref()?.ruled.get(id)
    }

    /// Whether it is a virtual view that reads what is not seen: nothing of that shows.
    pub fn is_closed(&self, id: &ObjectId) -> bool {
        self.share
            .as_ref()
            .is_some_and(|share| share.closed.contains(id))
    }

    /// Whether a source or view of this name is there, as answers say of what they were made.
    pub fn names(&self, name: &str) -> bool {
        let mut views = self.definitions.views.values();
        self.live.contains_key(name) || views.any(|view| view.id().to_string() == name)
    }

    /// An error as whoever sees this world is told of it: of a source that is not there it says that something fails, and not what.
    pub fn shown_error(&self, e: Error) -> Error {
        match e {
            Error::Source(e) => {
                let source = e.source_name.as_ref();
                let is_hidden = !self.is_whole()
                    && source.is_some_and(|source| !self.live.contains_key(source));
                match is_hidden {
                    true => belvedere_connector::Error::new(e.code, "what a view reads fails")
                        .help("Who has defined the view can find out why")
                        .into(),
                    false => e.into(),
                }
            }
            e => e,
        }
    }

    /// Why a kept view cannot be read, as whoever sees this world is told of it: what it reads is for who has defined it.
    pub fn shown_refusal(&self, view: &ObjectId, e: Error) -> Error {
        let allowed = self.allowed(view);
        if allowed == Allowed::All {
            return e;
        }
        let name = match allowed.sees() {
            true => format!("materialized view {view}"),
            false => "what a view reads".to_string(),
        };
        match e {
            Error::Timeout { .. } | Error::Cancelled => e,
            // It is of the view alone.
            Error::TooOld { .. } if allowed.sees() => e,
            Error::TooOld { .. } => Error::TooOld {
                message: format!("{name} is older than it may be"),
                help: "A larger max_staleness admits it".to_string(),
            },
            Error::Data { sqlstate, .. } => Error::Data {
                message: format!("{name} cannot be read: a row fails"),
                sqlstate,
            },
            _ => Error::invalid_with_help(
                format!("{name} cannot be read now"),
                "Who has defined it is told why",
            ),
        }
    }

    /// # Errors
    /// Whoever sees this world may not do this with it.
    pub fn permits(&self, privilege: Privilege, id: &ObjectId) -> Result<()> {
        match self.allowed(id).columns(privilege) {
            Some(_) => Ok(()),
            None => Err(denied(privilege, id)),
        }
    }

    /// # Errors
    /// Whoever sees this world has not defined it, nor may act for who has.
    pub fn permits_all(&self, kind: &str, id: &ObjectId) -> Result<()> {
        match self.allowed(id) {
            Allowed::All => Ok(()),
            Allowed::These(_) => Err(Error::denied(
                format!("{kind} {id} is another's"),
                "Who has defined it may do that, or a superuser",
            )),
        }
    }
}

pub(super) fn denied(privilege: Privilege, id: &ObjectId) -> Error {
    let privilege = privilege.name();
    let on = match id.0.as_slice() {
        // An identifier leaves out the schema that need not be named.
        [catalog, schema] if catalog == CATALOG => format!("schema {schema}"),
        _ => id.to_string(),
    };
    Error::denied(
        format!("you do not have {privilege} on {on}"),
        format!("Whoever has defined it may GRANT {privilege} ON it, or a superuser"),
    )
}

/// What may not be done with one column of something.
pub(super) fn denied_column(privilege: Privilege, id: &ObjectId, column: &str) -> Error {
    let (privilege, column) = (privilege.name(), belvedere_sql::ident(column));
    Error::denied(
        format!("you do not have {privilege} on column {column} of {id}"),
        format!("Whoever has defined {id} may GRANT {privilege} ({column}) ON it, or a superuser"),
    )
}

/// What an identity sees of a world, in the making.
struct Part<'a> {
    of: &'a World,
    rights: Rights<'a>,
    seen: Definitions,
    allowed: BTreeMap<ObjectId, Allowed>,
    whole: BTreeMap<ObjectId, Arc<Table>>,
    ruled: BTreeMap<ObjectId, Ruled>,
}

impl Part<'_> {
    /// What may be done with something, which is there if that is anything. Who may do all with it sees all of it.
    fn take(&mut self, id: ObjectId) -> Option<Allowed> {
        let Rights {
            definitions,
            identity,
        } = self.rights;
        let allowed = self.rights.on(&id);
        if !allowed.sees() {
            return None;
        }
        if allowed != Allowed::All
            && let Some(ruled) = Ruled::of(definitions.rules_of(&id), identity)
        {
            self.ruled.insert(id.clone(), ruled);
        }
        self.allowed.insert(id, allowed.clone());
        Some(allowed)
    }

    /// Virtual views of others that read, also by other views, what is not seen as it is read there.
    fn closed(&self) -> BTreeSet<ObjectId> {
        let mut closed = BTreeSet::new();
        let mut is_grown = true;
        while is_grown {
            is_grown = false;
            for view in self.of.definitions.views.values() {
                let id = view.id();
                let is_others = self
                    .allowed
                    .get(&id)
                    .is_some_and(|allowed| *allowed != Allowed::All);
                if !is_others || view.materialized.is_some() || closed.contains(&id) {
                    continue;
                }
                let is_open = |id: &ObjectId| {
                    self.is_read(id) && !self.ruled.contains_key(id) && !closed.contains(id)
                };
                if !view.depends_on.iter().all(is_open) {
                    is_grown |= closed.insert(id);
                }
            }
        }
        closed
    }

    /// Sources, each with its tables. One is there with the first of its tables.
    fn take_sources(&mut self) {
        let definitions = &self.of.definitions;
        for (name, source) in &definitions.sources {
            let discovery = definitions.discoveries.get(name);
            let mut tables = Vec::new();
            for table in definitions.tables(name) {
                let id = ObjectId::new([name, &table.schema, &table.name]);
                if let Some(allowed) = self.take(id.clone()) {
                    let seen = seen_table(table, &allowed, self.ruled.get(&id));
                    if !Arc::ptr_eq(&seen, table) {
                        self.whole.insert(id, table.clone());
                    }
                    tables.push(seen);
                }
            }
            let allowed = self.take(ObjectId::new([name]));
            if allowed.is_none() && tables.is_empty() {
                continue;
            }
            let source = match allowed {
                Some(Allowed::All) => source.clone(),
                _ => Arc::new(seen_source(source, &tables)),
            };
            self.seen.sources.insert(name.clone(), source);
            if let Some(discovery) = discovery {
                let discovery = Discovery {
                    tables,
                    at_us: discovery.at_us,
                };
                self.seen
                    .discoveries
                    .insert(name.clone(), Arc::new(discovery));
            }
        }
    }

    /// Own schemas, and views. A schema is there with the first of its views.
    fn take_views(&mut self) {
        let definitions = &self.of.definitions;
        for schema in &definitions.schemas {
            if self.take(ObjectId::new([CATALOG, schema])).is_some() {
                self.seen.schemas.insert(schema.clone());
            }
        }
        self.take(ObjectId::new([CATALOG, crate::catalog::PUBLIC]));
        for (key, view) in &definitions.views {
            let id = view.id();
            if let Some(allowed) = self.take(id.clone()) {
                if definitions.schemas.contains(&view.schema) {
                    self.seen.schemas.insert(view.schema.clone());
                }
                self.seen.views.insert(
                    key.clone(),
                    seen_columns(view, &allowed, self.ruled.get(&id)),
                );
            }
        }
        let views = std::mem::take(&mut self.seen.views).into_iter();
        let views = views.map(|(key, view)| (key, self.seen_text(view)));
        self.seen.views = views.collect();
    }

    /// Another's view without what it is made of, where that is not all there. It is read as it is defined.
    fn seen_text(&self, view: Arc<ViewDefinition>) -> Arc<ViewDefinition> {
        let is_read = |id: &ObjectId| self.is_read(id);
        let is_own = self.allowed.get(&view.id()) == Some(&Allowed::All);
        if is_own || view.depends_on.iter().all(is_read) {
            return view;
        }
        let mut seen = view.as_ref().clone();
        seen.query.clear();
        seen.depends_on.retain(is_read);
        if let Some(kept) = &mut seen.materialized {
            kept.checks.clear();
        }
        Arc::new(seen)
    }

    fn is_read(&self, id: &ObjectId) -> bool {
        let is_built_in = matches!(id.0.as_slice(), [catalog, schema, _]
            if catalog == CATALOG && BUILT_IN.contains(&schema.as_str()));
        let allowed = self.allowed.get(id);
        is_built_in || allowed.is_some_and(|allowed| allowed.may(Privilege::Select))
    }

    /// Itself, its roles, and what is granted to them.
    fn take_accounts(&mut self) {
        let Rights {
            definitions,
            identity,
        } = self.rights;
        let accounts = identity.roles().iter();
        for account in accounts.filter_map(|name| definitions.accounts.get(name)) {
            let mut account = account.clone();
            if let Some(login) = &mut account.login {
                login.verifier = login.verifier.as_ref().map(|_| String::new());
            }
            self.seen.accounts.insert(account.name.clone(), account);
        }
        for ((on, to), granted) in &definitions.grants {
            let is_ours = match to {
                Grantee::Public => true,
                Grantee::Account(name) => identity.roles().contains(name),
            };
            if is_ours {
                let key = (on.clone(), to.clone());
                self.seen.grants.insert(key, granted.clone());
            }
        }
    }

    /// Those of what it may do all with.
    fn take_rules(&mut self) {
        for (key, rule) in &self.of.definitions.rules {
            if self.allowed.get(&key.0) == Some(&Allowed::All) {
                self.seen.rules.insert(key.clone(), rule.clone());
            }
        }
    }

    /// On what is there.
    fn take_comments(&mut self) {
        for (on, text) in &self.of.definitions.comments {
            let is_seen = match on.0.as_slice() {
                [catalog, schema] if catalog == CATALOG => self.seen.has_schema(schema),
                [_, _, _] => self.allowed.contains_key(on),
                [catalog, schema, table, column] => {
                    let table = ObjectId::new([catalog, schema, table]);
                    let allowed = self.allowed.get(&table);
                    allowed.is_some_and(|allowed| allowed.columns_seen().contains(column))
                }
                _ => false,
            };
            if is_seen {
                self.seen.comments.insert(on.clone(), text.clone());
            }
        }
    }
}

/// Without what tells where it is: that is for who has defined it.
fn seen_source(source: &SourceDefinition, tables: &[Arc<Table>]) -> SourceDefinition {
    let mut seen = source.clone();
    seen.url.clear();
    seen.options.clear();
    seen.owns.retain(|owns| {
        let is_of = |table: &&Arc<Table>| table.schema == owns.schema && table.name == owns.table;
        let table = tables.iter().find(is_of);
        table.is_some_and(|table| {
            let is_there = |name: &String| table.columns.iter().any(|c| c.name == *name);
            owns.columns.iter().all(is_there)
        })
    });
    seen
}

/// With the columns that are seen; without what is known of its rows, if these are not.
fn seen_table(table: &Arc<Table>, allowed: &Allowed, ruled: Option<&Ruled>) -> Arc<Table> {
    let reads_all = allowed.may(Privilege::Select) && ruled.is_none();
    if reads_all {
        return table.clone();
    }
    let mut seen = table.as_ref().clone();
    let columns = allowed.columns_seen();
    seen.columns.retain(|column| columns.contains(&column.name));
    for column in &mut seen.columns {
        (column.distinct, column.histogram, column.note) = (None, None, None);
        column.nullable |= is_masked(ruled, &column.name);
    }
    let are_seen = |names: &[String]| {
        let mut names = names.iter();
        names.all(|name| columns.contains(name) && !is_masked(ruled, name))
    };
    if !are_seen(&seen.primary_key) {
        seen.primary_key.clear();
    }
    seen.unique_keys.retain(|key| are_seen(key));
    // What they refer to may not be there.
    seen.foreign_keys.clear();
    seen.warnings.clear();
    (seen.row_count, seen.size_bytes) = (None, None);
    Arc::new(seen)
}

/// Whether what is seen in its place may be the same of different values, or NULL.
fn is_masked(ruled: Option<&Ruled>, column: &str) -> bool {
    ruled.is_some_and(|ruled| ruled.masks.contains_key(column))
}

fn seen_columns(
    view: &Arc<ViewDefinition>,
    allowed: &Allowed,
    ruled: Option<&Ruled>,
) -> Arc<ViewDefinition> {
    let columns = allowed.columns_seen();
    if *columns == Columns::All && ruled.is_none() {
        return view.clone();
    }
    let mut seen = view.as_ref().clone();
    seen.columns.retain(|column| columns.contains(&column.name));
    for column in &mut seen.columns {
        column.nullable |= is_masked(ruled, &column.name);
    }
    if let Some(kept) = &mut seen.materialized {
        let is_seen = |name: &String| columns.contains(name) && !is_masked(ruled, name);
        kept.indexes
            .retain(|index| index.columns.iter().all(is_seen));
        let key = kept.options.get("key");
        let is_key_seen =
            key.is_none_or(|key| key.split(',').all(|c| is_seen(&c.trim().to_string())));
        if !is_key_seen {
            kept.options.remove("key");
        }
    }
    Arc::new(seen)
}
