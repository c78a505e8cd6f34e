//! The names of a statement as DataFusion asks for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;

use super::scope::Scope;
use super::{Names, PATH};
use crate::catalog::CATALOG;
use crate::error::Error;

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
            (CATALOG, name) => self.names.world.own_or_source(name),
            (catalog, name) => self.names.world.in_catalog(catalog, name),
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
