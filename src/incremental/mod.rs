//! Operators on Z-sets: what a change of tables does to a view, in work proportional to the change.
//!
//! *It owns* the operators and what they have to remember. The central type is the Z-set of [`store`](crate::store):
//! each operator takes one and gives one. Changes of tables flow in, epoch by epoch, with snapshots of the tables
//! before and after; the change of the view flows out. It runs on its caller's thread, keeps no table, and publishes
//! nothing.
//!
//! ```text
//!   changes ──▶ Join ──▶ Map ──▶ GroupBy ──▶ change of the view ──▶ its Table
//!                │                  └ state: a hash table of groups, weights in place
//!                └ probes the tables' indexes: keeps nothing
//! ```
//!
//! *A join is a delta join.* For A ⋈ B ⋈ C and an epoch that changes all three,
//!
//! ```text
//!   Δ(A⋈B⋈C)  =  ΔA ⋈ B⁻ ⋈ C⁻  +  A⁺ ⋈ ΔB ⋈ C⁻  +  A⁺ ⋈ B⁺ ⋈ ΔC        ⁻ before the epoch, ⁺ after
//! ```
//!
//! each term being the changed rows of one table, looked up in the others one by one. An input before the changed one
//! is read after the epoch, one behind it before: so no pair of changes is counted twice, or left out. Both are
//! snapshots that the table's writer pins for a moment. A table may be several inputs.
//!
//! *An aggregate is linear*: a group's state is a sum over its rows, so a change is added with its weight, and rows
//! need not be kept. Whole numbers and decimals wrap as DataFusion's sums do, which is arithmetic of a ring: their
//! order does not matter, and taking away undoes adding, also beyond the range.
//!
//! *The clock is an input*, too, where rows are compared with `now()`: an epoch has a moment that it takes for now, later than
//! those before it. Of the rows that wait for their time it knows the order: those that come or go when the clock goes on are
//! looked up, and the dataflow says when that is ([`Dataflow::due`]).
//!
//! Invariants:
//! - *Incremental is recomputed*: after each epoch, the changes so far add up to the view over the tables' content, `now()`
//!   being the epoch's clock (`tests/` compares).
//! - Expressions are DataFusion's and deterministic. NULL joins nothing, and is a group. Equal floats are one, in keys
//!   of joins and groups.
//! - An expression that fails fails the step before any state has changed. (Errors of rows as data, guarantee 3, come
//!   with the operators that are not here yet.)
//! - A join's output comes in pieces of [`PIECE_ROWS`] at most, whatever a change matches. What groups give is one
//!   piece: two rows for each that was touched.
//!
//! | file | owns |
//! |---|---|
//! | `join.rs`, `path.rs` | [`Join`]: inner joins of tables; in which order and by which index others are looked up |
//! | `map.rs` | [`Map`]: filter and projection |
//! | `timed.rs`, `bound.rs` | filters by the clock: rows ordered by when they come and go |
//! | `group.rs` | [`GroupBy`]: count, sum of whole numbers and decimals |
//! | `progress.rs` | [`Progress`]: how far a step is, and what it may take |

mod aggregate;
mod bound;
mod build;
mod compile;
mod compiled;
mod dataflow;
mod errors;
mod feed;
mod first;
mod group;
mod join;
mod keyed;
mod map;
mod operators;
mod path;
mod plan;
mod progress;
mod reading;
mod relation;
mod single;
#[cfg(test)]
mod tests;
mod timed;
mod whole;

pub use aggregate::Aggregate;
pub use compiled::{Compiled, Input, Refused};
pub use dataflow::{Dataflow, Moved, Output};
pub use group::GroupBy;
pub use join::Join;
pub use map::Map;
pub use progress::Progress;

/// Rows of a Z-set that an operator hands on at once, at most.
pub const PIECE_ROWS: usize = 64 * 1024;
