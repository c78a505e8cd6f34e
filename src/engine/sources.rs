use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::{Connector, Source, SourceConfig, Table, TableRef};
use datafusion::catalog::TableProvider;
use lru::LruCache;

use super::{limits, options};
use crate::catalog::{Discovery, Mapping, SourceDefinition};
use crate::error::Result;
use crate::federation::{SourceDoor, SourceHandle, SourceTable};
use crate::replication::Polled;

/// An opened source: its definition, its connector's object, and the providers of its tables made so far.
#[derive(Debug)]
pub(super) struct LiveSource {
    pub definition: Arc<SourceDefinition>,
    /// The connector's name.
    pub connector: &'static str,
    pub handle: Arc<SourceHandle>,
    /// What tells its changes: itself, or its tables being looked at again and again.
    pub followed: Arc<dyn Source>,
    providers: Mutex<HashMap<TableRef, Arc<dyn TableProvider>>>,
    /// The same as users of the system's read it, by whose reading it is.
    mapped: Mutex<LruCache<(Arc<str>, Mapping), Arc<LiveSource>>>,
}

/// Users that one source is opened for.
const MOST_MAPPED: NonZeroUsize = NonZeroUsize::new(256).expect("some");

impl LiveSource {
    /// Make the source without contacting the system.
    pub fn open(
        connector: &dyn Connector,
        definition: Arc<SourceDefinition>,
        known: Option<&Discovery>,
    ) -> Result<Self> {
        let limits = limits::limits(&definition.options)?;
        let mut options = definition.options.clone();
        options.retain(|name, value| !limits::is_common(name, value));
        let source = connector.open(SourceConfig {
            name: definition.name.clone(),
            url: definition.url.clone(),
            options,
            limits: limits.clone(),
        })?;
        if let Some(known) = known {
            let tables: Vec<Table> = known.tables.iter().map(|t| t.as_ref().clone()).collect();
            source.remember(&tables);
        }
        let is_polled = limits::is_polled(&definition.options) && !source.looks();
        let followed: Arc<dyn Source> = match is_polled {
            true => Arc::new(Polled::new(source.clone(), limits.poll_interval)),
            false => source.clone(),
        };
        Ok(Self {
            followed,
            handle: Arc::new(SourceHandle::new(&definition.name, source, limits)),
            connector: connector.name(),
            definition,
            providers: Mutex::default(),
            mapped: Mutex::new(LruCache::new(MOST_MAPPED)),
        })
    }

    /// The same as it is read by somebody with this mapping. Nothing is contacted.
    pub fn mapped(
        &self,
        connectors: &[Arc<dyn Connector>],
        who: Arc<str>,
        mapping: &Mapping,
        known: Option<&Discovery>,
    ) -> Result<Arc<Self>> {
        let opened = || self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (who, mapping.clone());
        if let Some(opened) = opened().get(&key) {
            return Ok(opened.clone());
        }
        let mut definition = self.definition.as_ref().clone();
        if let Some(user) = &mapping.user {
            definition.url = options::as_user(&definition.url, user)?;
        }
        definition.options.extend(mapping.options.clone());
        let connector = options::connector_of(connectors, &definition.url)?;
        let mut own = Self::open(connector, Arc::new(definition), known)?;
        let source = own.handle.source.clone();
        own.handle = Arc::new(self.handle.mapped_to(key.0.clone(), source));
        let own = Arc::new(own);
        opened().put(key, own.clone());
        Ok(own)
    }

    /// Read what the system has now.
    pub async fn discover(&self) -> Result<Discovery> {
        let found = self.handle.source.discover().await;
        self.handle.contacted(found.as_ref().err());
        if found.is_ok() {
            self.handle.trust();
        }
        let found = found.map_err(|e| e.at_source(&self.definition.name))?;
        self.providers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(Discovery {
            tables: found.into_iter().map(Arc::new).collect(),
            at_us: chrono::Utc::now().timestamp_micros(),
        })
    }

    /// The table a provider was made for.
    pub fn table_of(&self, provider: &Arc<dyn TableProvider>) -> Option<TableRef> {
        let providers = self
            .providers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        providers
            .iter()
            .find(|(_, known)| Arc::ptr_eq(known, provider))
            .map(|(table, _)| table.clone())
    }

    /// The table as DataFusion reads it.
    pub async fn provider(&self, table: &Arc<Table>) -> Result<Arc<dyn TableProvider>> {
        let key = TableRef {
            schema: table.schema.clone(),
            name: table.name.clone(),
        };
        let known = self
            .providers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(provider) = known {
            return Ok(provider);
        }
        let door = Arc::new(SourceDoor(self.handle.clone()));
        let own = self.handle.source.table_provider(table, door).await;
        let provider: Arc<dyn TableProvider> =
            match own.map_err(|e| e.at_source(&self.definition.name))? {
                Some(provider) => provider,
                None => Arc::new(SourceTable::new(self.handle.clone(), table.clone())),
            };
        let mut providers = self
            .providers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(providers.entry(key).or_insert(provider).clone())
    }
}
