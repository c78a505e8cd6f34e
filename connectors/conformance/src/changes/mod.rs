//! Change capture: what a snapshot and the stream behind it add up to, whatever happens meanwhile.
//!
//! A fixture whose connector captures changes says how they are made: [`Changing`]. What the source tells is applied to plain
//! rows ([`Applied`]), which are compared with what a scan reads.
//!
//! | file | owns |
//! |---|---|
//! | `edits.rs` | [`Edit`]: what a transaction does, as SQL and to plain rows |
//! | `applied.rs` | [`Applied`]: the contract of changes, applied by the letter |
//! | `world.rs` | a source under test, its writers, and comparing |
//! | `behaviours.rs` | snapshot and stream, one by one |
//! | `replicas.rs` | the engine's own reader, over restarts |

mod applied;
mod behaviours;
mod edits;
mod replicas;
mod world;

use async_trait::async_trait;

use crate::fixture::Definition;

pub use applied::{Applied, Row, texts};
pub(crate) use behaviours::*;
pub use edits::{Edit, Line};
pub(crate) use replicas::*;
pub(crate) use world::both_ways;

/// How the system under test is changed, bypassing the connector.
#[async_trait]
pub trait Changing: Send + Sync {
    /// The source, as a user who may do all that capture needs.
    fn definition(&self) -> Definition;

    /// Create a table of columns `id` (never null), `n` and `v` (as `bigint` and a text of any length), with `id` as its key, or
    /// without one and with old rows whole in its log. The source's user may follow it.
    async fn create(&self, table: &str, is_keyed: bool);

    /// Let the source's user follow a table that was put, without a key.
    async fn adopt(&self, table: &str);

    /// Let it not be read any more by the source's user; who goes on following it needs no more than its log. False: there are no
    /// such rights.
    async fn forbid(&self, table: &str) -> bool;

    /// One transaction, of one of several writers that work at the same time. `commits`: or it is rolled back, where there is such a
    /// thing; else nothing is done.
    async fn transact(&self, writer: usize, edits: &[(String, Edit)], commits: bool);

    /// Cut the connections by which the log is read.
    async fn cut(&self);

    /// Forget the log of a source of this name, which nobody is reading now. Nothing, where there is none.
    async fn lose_log(&self, source: &str);

    /// Give a table one more column.
    async fn add_column(&self, table: &str);

    /// Take its column `v` away; where what is not there would be NULL, by putting one of another type in its place.
    async fn drop_column(&self, table: &str);
}
