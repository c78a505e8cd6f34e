//! Belvedere: an embedded, federated SQL query engine.
//!
//! Every connected system is a catalog of tables; a query joins them where they live; a view names such a query. An
//! embedder holds an [`Engine`], opens a [`Session`] and reads an [`Answer`]'s batches as they arrive:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> belvedere::Result<()> {
//! let engine = belvedere::Engine::builder().open().await?;
//! let answer = engine.session().execute("SELECT 6 * 7 AS answer").await?;
//! assert_eq!(answer.collect().await?[0].num_rows(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`cli`] | the binary's commands and shell |
//! | [`serve`] | the protocols: Arrow Flight SQL |
//! | [`engine`] | [`Engine`], [`Session`], executing a statement: the one door |
//! | `freshness` | what answers were made of, and how old that is |
//! | `views` | the life of kept views: filled, brought up to date, read |
//! | [`federation`] | DataFusion plan → fragments at the sources |
//! | `access` | users, roles, what is granted to them, and how they prove who they are |
//! | [`catalog`] | definitions, the durable catalog, system tables |
//! | `exact` | sums of floats that do not depend on the order of rows |
//! | [`replication`] | a source's snapshot and stream of changes → epochs |
//! | [`incremental`] | operators on changes of tables, and their state |
//! | [`store`] | tables that change by epochs while they are read |
//! | `memory` | how much may be kept by change, and who has how much of it |
//!
//! *Invariant:* arrows point one way, downwards in this table.

mod access;
pub mod catalog;
#[cfg(feature = "cli")]
pub mod cli;
pub mod engine;
mod error;
mod exact;
pub mod federation;
mod freshness;
// Not an embedder's, as `store`: public for `benches/incremental`, a package of its own.
#[doc(hidden)]
pub mod incremental;
mod memory;
#[doc(hidden)]
pub mod replication;
#[cfg(feature = "serve")]
pub mod serve;
#[doc(hidden)]
pub mod store;
mod views;
pub use access::audit::Level as AuditLevel;
pub use engine::{Answer, Engine, EngineBuilder, Prepared, Session, Settings};
pub use error::{Error, Kind, Result, SubscriptionEnd};
pub use freshness::{Freshness, Origin, Part};
