//! What has been defined, durably.
//!
//! The central type is [`Definitions`]: an immutable snapshot of all sources, schemas, views, users and grants. A change makes a new
//! snapshot; [`Store`] commits the difference in one transaction and only then is it seen. Flows in: changed
//! snapshots from the engine; flows out: the snapshot every statement resolves its names in.
//!
//! | file | owns |
//! |---|---|
//! | `definitions.rs` | [`Definitions`] and what it holds |
//! | `accounts.rs` | users, roles, and what is granted to them, as it is kept; what follows from it is `access`'s |
//! | `rules.rs` | [`Rule`]: policies and masks; [`Mapping`]: as whom users read sources |
//! | `store.rs` | [`Store`]: definitions and the checkpoint's manifest, one process per data directory |
//! | `database.rs` | the redb file they are in |
//! | `system_table.rs` | [`SystemTable`]: what the engine knows, as a table |
//!
//! *Invariant:* no connector, plan or session is known here.

mod accounts;
mod database;
mod definitions;
mod rules;
mod store;
mod system_table;
#[cfg(test)]
mod tests;

pub use accounts::{Account, Columns, Granted, Grantee, Grants, Limit, Login};
pub use belvedere_sql::Privilege;
pub use definitions::{
    About, BUILT_IN, CATALOG, Check, Definitions, Discovery, INFORMATION_SCHEMA, Index,
    Materialized, ObjectId, Ownership, PG_CATALOG, PUBLIC, SYSTEM, SourceDefinition, ViewColumn,
    ViewDefinition,
};
pub use rules::{Mapping, Mappings, Rule, RuleKind, Rules, Shows};
pub use store::{Store, StoreError};
pub use system_table::{SystemTable, SystemTableProvider};
