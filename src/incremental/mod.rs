//! Operators on Z-sets: what a change of tables does to a view, in work proportional to the change.
//!
//! *It owns* the operators and what they have to remember. The central type is the Z-set of [`store`](crate::store):
//! each operator takes one and gives one. Changes of tables flow in, epoch by epoch, with snapshots of the tables
//! before and after; the change of the view flows out. It runs on its caller's thread, keeps none of its inputs' tables,
//! and publishes nothing.
//!
//! ```text
//!   changes ──▶ Join ──▶ Map ──▶ GroupBy ──▶ change of the view ──▶ its Table
//!                │                  └ state: a hash table of groups, weights in place
//!                └ probes the tables' indexes: keeps nothing
//! ```
//!
//! What is looked up and no table has, an operator's output, is kept as a table of its own (`relation.rs`). A subplan that a
//! query has more than once is kept once (`shared.rs`).
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
//! order does not matter, and taking away undoes adding, also beyond the range. For `min`, `max` and `DISTINCT` the sum is
//! an ordered multiset of the group's values. What is neither (medians, windows, outer joins) DataFusion computes of whole
//! groups, of those that an epoch touches.
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
//! - Errors of rows are data: a row for which an expression fails is left out, and its message is in
//!   [`Output::errors`] as long as the row is there.
//! - A join's output comes in pieces of [`PIECE_ROWS`] at most, whatever a change matches. What groups give is one
//!   piece: two rows for each that was touched.
//!
//! | file | owns |
//! |---|---|
//! | `compiled.rs`, `compile/` | [`Compiled`]: a query understood, or [`Refused`] |
//! | `plan.rs`, `build.rs` | what each operator is to do; operators made of it, over tables |
//! | `dataflow.rs` | [`Dataflow`]: operators put together, and an epoch that goes through them |
//! | `errors.rs`, `progress.rs` | what an epoch tells: rows that fail; [`Progress`], how far it is and what it may take |
//! | `reading.rs`, `relation.rs` | what is looked up: columns of a table and what is computed of them; an operator's output |
//! | `shared.rs` | a subplan that several operators read |
//! | `operators.rs`, `map.rs` | operators without state; [`Map`]: filter and projection |
//! | `join.rs`, `path.rs` | [`Join`]: inner joins of tables; in which order and by which index others are looked up |
//! | `group.rs`, `aggregate.rs`, `values.rs` | [`GroupBy`]: groups by the change alone; their values in order |
//! | `keyed.rs`, `whole.rs`, `feed.rs` | whole groups, which DataFusion computes of rows that it is fed |
//! | `first.rs`, `single.rs` | the first rows by an order; a subquery in the place of a value |
//! | `timed.rs`, `bound.rs` | filters by the clock: rows ordered by when they come and go |

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
mod shared;
mod single;
#[cfg(test)]
mod tests;
mod timed;
mod values;
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
