use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::{Connector, Source, SourceConfig, Table, TableRef};
use datafusion::catalog::TableProvider;

use super::limits;
use crate::catalog::{Discovery, SourceDefinition};
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
}

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
        })
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
