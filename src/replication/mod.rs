//! From a source's snapshot and stream of changes to epochs of tables that are kept here.
//!
//! *It owns* replicas and where each source's log was read to. The central type is [`Replication`]. In flow what
//! [`Source`](belvedere_connector::Source)s tell; out flow [`Epoch`]s, each a change of replicas, and what readers may see of them
//! ([`Published`]). It has no thread and no clock: its owner takes the steps, so that a test can take them in any order.
//!
//! ```text
//!   Source ──snapshot──▶ Feed ──▶ copy: rows at S, held changes ─┐ joins where an epoch reaches S
//!          ──changes───▶      ──▶ queue of transactions ─────────┴▶ Replica ──▶ store::Table
//!                                       │ cut                          │
//!            Durable ◀──record──── Boundary: a position per source     └──▶ Published ──▶ readers
//!                    ◀─checkpoint─ all there is at an epoch ──▶ acknowledge
//! ```
//!
//! *The hand-over.* First tables are copied at S, and the stream begins at S. A table that is wanted later is among the stream's
//! before its snapshot is taken, at S′: so all that is committed to it after S′ comes, and what comes at or before S′ is in its
//! rows already, and is skipped, for this table alone. The stream goes on meanwhile; what it brings of the table is held
//! until the rows are there, and the table joins the first epoch at or behind S′. A log that is lost
//! ([`State::Lost`]) is the first case again: what is served stays until the new copy takes its place, as the change from
//! one to the other. So it is with one table of which its log does not tell what has changed: the stream goes on, but no epoch takes
//! what it brings until the copy can join.
//!
//! *What is durable when.* An epoch is shown when a restart would come to it again:
//!
//! ```text
//!   cut:      boundary recorded ──▶ changes applied ──▶ publish: shown        no copy joins it
//!   cut:      changes applied ──▶ publish: checkpoint ──▶ shown               a copy joins it: it is in no log
//!   restart:  checkpoint's state and positions ──▶ streams from there ──▶ recorded boundaries, as they were
//! ```
//!
//! Invariants, for each source:
//! - acknowledged ≤ checkpoint's position ≤ shown ≤ applied ≤ received. The first is what the source may forget.
//! - What is shown at an epoch is what the source had at the epoch's position: all transactions up to it, whole, none twice. What
//!   comes again after a connection broke is known by its position; pieces of a transaction without its end go with the
//!   connection.
//! - No epoch has a position of it before a copy of it has joined: a restart, which copies it anew, would not come to that.
//! - A restart snapshots nothing that is in a checkpoint.
//! - A position of another timeline is neither before nor after: it is never taken for progress.
//! - An error of one table blocks that table. An error of the disk shows nothing; one of a source stops that source.
//!
//! Limits: a transaction is in memory whole, and so is an epoch's change; a copy, and what is held for it, until it joins. Their owner
//! asks how much that is ([`Replication::stream_bytes`], [`Replication::copies`]), and can have none begun ([`Replication::hold`]).
//! A restart reads all rows, to check them and to index them; indexes are in memory. While recorded epochs are replayed, all sources of them are waited for.
//!
//! | file | owns |
//! |---|---|
//! | `epochs.rs` | [`Replication`], [`Epoch`]: where epochs end; durable, then shown |
//! | `state.rs` | [`State`]: the life of a replica; boundaries, checkpoints |
//! | `tracked.rs` | one source: its queue of transactions, its replicas |
//! | `feed.rs` | its connection: stream, copies, acknowledgement, errors by name |
//! | `replica.rs` | one table: its copy, what joins, what blocks it |
//! | `pending.rs` | changes one after the other as one Z-set, also where the log names old rows by key |
//! | `unchanged.rs` | values that the log leaves out, since they are as they were |
//! | `poll/` | [`Polled`]: a source without a log, looked at again and again |
//! | `durable.rs` | [`Durable`]: what survives |
//! | `disk/` | [`Disk`]: what survives on a real disk |
//! | `error.rs` | [`Error`] |

mod disk;
mod durable;
mod epochs;
mod error;
mod feed;
mod pending;
mod poll;
mod replica;
mod state;
#[cfg(test)]
mod tests;
mod tracked;
mod unchanged;

pub use disk::{CommitPoint, Disk};
pub use durable::{Durable, Forgetful, Recovered};
pub use epochs::{Changed, Epoch, Reader, Replication, Touched};
pub use error::{Error, Result};
pub use poll::Polled;
pub use state::{Boundary, Checkpoint, Kept, Positions, Published, State, Wanted};
