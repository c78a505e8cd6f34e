//! What the engine knows, as tables. The central type is [`Definition`]: a table's name, its columns, and the function
//! that makes its rows from the world a statement sees.
//!
//! | file | owns |
//! |---|---|
//! | `table.rs` | [`Definition`], and how rows become Arrow arrays |
//! | `relations.rs` | whatever has rows: own views, sources' tables, these tables |
//! | `sources.rs` | `system.sources`, `ownership` |
//! | `tables.rs` | `system.tables`, `columns` |
//! | `views.rs` | `system.views`, `freshness`, `refreshes`, `versions`, `indexes` |
//! | `keys.rs` | `system.keys` and the constraints of `information_schema` |
//! | `information_schema.rs` | the rest of `information_schema` |
//! | `lineage.rs` | `system.lineage` |
//! | `advice.rs` | `system.statements`, `advice` |
//! | `queries.rs`, `settings.rs` | `system.queries`, `results`, `fragments`, `subscriptions`, `settings` |
//! | `accounts.rs` | `system.users`, `roles`, `grants`, `policies`, `masks`, `mappings` |
//! | `audit.rs` | `system.audit` |
//! | `types.rs` | types as SQL writes them |
//! | `pg_type.rs` | [`PgType`]: types as PostgreSQL numbers them |
//! | `pg_catalog/` | PostgreSQL's own catalog, its functions, and what of its SQL is said in other words |

mod accounts;
mod advice;
mod audit;
mod information_schema;
mod keys;
mod lineage;
mod pg_catalog;
mod pg_type;
mod queries;
mod relations;
mod settings;
mod sources;
mod table;
mod tables;
mod types;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::streaming::PartitionStream;

use self::table::{Definition, Fill};
use super::names::Names;
use crate::catalog::SystemTable;

pub(super) use pg_catalog::{Catalog, asks_catalog, build, column_name, understand};
pub(crate) use pg_type::PgType;
pub(super) use pg_type::{OIDS, PG_TYPE};
#[cfg(feature = "serve")]
pub(super) use relations::{Relation, relations};
pub(crate) use types::sql_type;

static ALL: &[Definition] = &[
    information_schema::COLUMNS,
    information_schema::SCHEMATA,
    information_schema::TABLES,
    information_schema::VIEWS,
    keys::KEY_COLUMN_USAGE,
    keys::REFERENTIAL_CONSTRAINTS,
    keys::TABLE_CONSTRAINTS,
    keys::KEYS,
    accounts::GRANTS,
    accounts::MAPPINGS,
    accounts::MASKS,
    accounts::POLICIES,
    accounts::ROLES,
    accounts::ROLE_SETTINGS,
    accounts::USERS,
    audit::AUDIT,
    lineage::LINEAGE,
    queries::FRAGMENTS,
    queries::QUERIES,
    queries::RESULTS,
    advice::ADVICE,
    advice::STATEMENTS,
    queries::SUBSCRIPTIONS,
    settings::SETTINGS,
    sources::OWNERSHIP,
    sources::SOURCES,
    tables::COLUMNS,
    tables::HISTOGRAMS,
    tables::TABLES,
    views::FRESHNESS,
    views::INDEXES,
    views::REFRESHES,
    views::VERSIONS,
    views::VIEWS,
];

/// The table of this name, as the statement of these names sees it.
pub(super) fn table(schema: &str, name: &str, names: &Names) -> Option<Arc<dyn SystemTable>> {
    let ours = ALL.iter().find(|d| d.schema == schema && d.name == name);
    let definition = ours.or_else(|| pg_catalog::table_of(schema, name))?;
    Some(Arc::new(Bound {
        definition,
        names: names.clone(),
    }))
}

/// Schema and name of each.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.iter().map(|d| (d.schema, d.name))
}

struct Bound {
    definition: &'static Definition,
    names: Names,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.definition.schema, self.definition.name)
    }
}

#[async_trait]
impl SystemTable for Bound {
    fn schema_name(&self) -> &'static str {
        self.definition.schema
    }

    fn name(&self) -> &'static str {
        self.definition.name
    }

    fn schema(&self) -> SchemaRef {
        self.definition.arrow_schema()
    }

    async fn rows(&self) -> Result<RecordBatch, DataFusionError> {
        Ok(self.definition.batch(&self.names).await?)
    }

    fn stream(&self, filters: &[Expr]) -> Option<Arc<dyn PartitionStream>> {
        match self.definition.rows {
            Fill::Streamed(stream) => Some(stream(&self.names, filters)),
            _ => None,
        }
    }
}
