use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use belvedere_connector::Connector;
use datafusion::execution::context::SessionState;
use tokio::sync::{Mutex, MutexGuard};

use super::kept;
use super::log::QueryLog;
use super::matching::Matching;
use super::plans::Plans;
use super::seen::{SeenBy, Share};
use super::sources::LiveSource;
use super::system::Catalog;
use crate::access::audit::Audit;
use crate::access::{Logins, Usages};
use crate::catalog::{CATALOG, Definitions, ObjectId, Store, ViewDefinition};
use crate::error::{Error, Result};
use crate::freshness::Results;
use crate::views::Views;

/// Definitions with their opened sources: an immutable snapshot that each statement resolves its names in.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub definitions: Definitions,
    pub live: BTreeMap<String, Arc<LiveSource>>,
    /// Counts the worlds of this process: a plan made under another is made anew.
    pub version: u64,
    pub pg_catalog: PgCatalog,
    pub seen_by: SeenBy,
    /// What may be done with what is here, by whoever sees no more of the world than this. None: everything.
    pub share: Option<Arc<Share>>,
}

/// What PostgreSQL's catalog says of a world, made when it is first asked for. A copy of a world is made to be changed: it
/// has none.
#[derive(Debug, Default)]
pub(super) struct PgCatalog(OnceLock<Arc<Catalog>>);

impl Clone for PgCatalog {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl World {
    pub fn pg_catalog(&self) -> &Arc<Catalog> {
        self.pg_catalog
            .0
            .get_or_init(|| Arc::new(Catalog::new(self)))
    }

    pub fn view(&self, id: &ObjectId) -> Option<&Arc<ViewDefinition>> {
        match id.0.as_slice() {
            [catalog, schema, name] if catalog == CATALOG => self.definitions.view(schema, name),
            _ => None,
        }
    }

    /// The tables of sources that a view reads, by other views, too.
    pub fn tables_of(&self, view: &ViewDefinition) -> BTreeSet<ObjectId> {
        let mut tables = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut pending: Vec<&ObjectId> = view.depends_on.iter().collect();
        while let Some(id) = pending.pop() {
            match self.view(id) {
                Some(view) if seen.insert(id) => pending.extend(&view.depends_on),
                Some(_) => {}
                // One that is built in is no source's.
                None if id.0.first().is_some_and(|first| first == CATALOG) => {}
                None => drop(tables.insert(id.clone())),
            }
        }
        tables
    }
}

/// What all handles of an engine share.
#[derive(Debug)]
pub(super) struct Inner {
    /// Shared with the checkpoint.
    pub store: Arc<Store>,
    pub connectors: Vec<Arc<dyn Connector>>,
    /// Where relative paths of statements start.
    pub base_dir: PathBuf,
    /// Functions, rules and run time; catalogs and settings are put in for each statement.
    pub state: SessionState,
    pub log: QueryLog,
    pub audit: Arc<Audit>,
    pub plans: Plans,
    pub results: Arc<Results>,
    pub matching: Matching,
    pub views: Arc<Views>,
    pub logins: Logins,
    pub usages: Usages,
    world: RwLock<Arc<World>>,
    changing: Mutex<()>,
}

/// A change being made: a world of its own until it is committed. While it is there, no other change is made.
pub(super) struct Draft<'a> {
    inner: &'a Arc<Inner>,
    base: Arc<World>,
    pub world: World,
    _only: MutexGuard<'a, ()>,
}

impl Inner {
    pub fn new(
        store: Arc<Store>,
        connectors: Vec<Arc<dyn Connector>>,
        base_dir: PathBuf,
        state: SessionState,
        views: Arc<Views>,
        results: Arc<Results>,
        logins: Logins,
        audit: Audit,
        world: World,
    ) -> Self {
        Self {
            store,
            connectors,
            base_dir,
            state,
            log: QueryLog::default(),
            audit: Arc::new(audit),
            plans: Plans::default(),
            results,
            matching: Matching::default(),
            views,
            logins,
            usages: Usages::default(),
            world: RwLock::new(Arc::new(world)),
            changing: Mutex::new(()),
        }
    }

    pub fn world(&self) -> Arc<World> {
        self.world
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub async fn draft<'a>(self: &'a Arc<Self>) -> Draft<'a> {
        let only = self.changing.lock().await;
        let base = self.world();
        Draft {
            inner: self,
            world: base.as_ref().clone(),
            base,
            _only: only,
        }
    }

    /// Read the schemas again of all sources at the place of one: a fragment that it answered may be about tables of any.
    pub async fn refresh_place(self: &Arc<Self>, source: &str) -> Result<()> {
        let world = self.world();
        let asked = world.live.get(source);
        let is_beside = |live: &LiveSource| asked.is_some_and(|a| a.handle.is_beside(&live.handle));
        let beside = world.live.iter().filter(|(_, live)| is_beside(live));
        for (name, _) in beside {
            self.refresh(name).await?;
        }
        Ok(())
    }

    /// Read a source's schema again and make it durable.
    pub async fn refresh(self: &Arc<Self>, source: &str) -> Result<()> {
        let live = self
            .world()
            .live
            .get(source)
            .cloned()
            .ok_or_else(|| Error::Unknown {
                what: "source",
                name: source.to_string(),
                hint: None,
            })?;
        // Asking the source may take long: other changes go on meanwhile.
        let discovery = Arc::new(live.discover().await?);
        let mut draft = self.draft().await;
        let same = draft
            .world
            .live
            .get(source)
            .is_some_and(|now| Arc::ptr_eq(now, &live));
        if same {
            draft
                .world
                .definitions
                .discoveries
                .insert(source.to_string(), discovery);
            draft.commit().await?;
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.views.stop();
    }
}

impl Draft<'_> {
    /// Make it durable, then seen, and what is kept what it says.
    pub async fn commit(self) -> Result<()> {
        self.inner
            .store
            .commit(&self.base.definitions, &self.world.definitions)?;
        let mut world = self.world;
        world.version = self.base.version + 1;
        // What stood for a login by a password that is another now stands for none.
        for (name, account) in &self.base.definitions.accounts {
            let now = world.definitions.accounts.get(name);
            if now.is_none_or(|now| now.login != account.login || now.id != account.id) {
                self.inner.logins.revoke_all_of(name);
            }
        }
        *self
            .inner
            .world
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(world);
        // In a box: planning a view may read a source's schema again, which is a change, too.
        Box::pin(kept::settle(self.inner)).await;
        Ok(())
    }
}
