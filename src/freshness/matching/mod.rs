//! Whether a kept view that a query does not name answers it, or a part of it: plans in, a plan out.
//!
//! *It owns* the proof that a view gives the same rows, after Goldstein and Larson, "Optimizing queries using materialized views: a
//! practical, scalable solution" (SIGMOD 2001). The central type is [`Block`], a query as select, project, join and group by: of
//! the view and of each part of the query. [`Answering::proves`] compares the two and says how the view answers, as a [`Proof`]
//! that becomes a plan, or why that is not known, as a [`Refusal`]. In doubt it refuses.
//!
//! It knows nothing of how old a copy is, nor what reading it costs: the engine asks for a proof where a reader's bound admits the copy.
//!
//! | file | owns |
//! |---|---|
//! | `block.rs` | [`Block`]: a plan in its one form |
//! | `facts.rs` | [`Facts`](facts::Facts): what follows from conditions |
//! | `domain.rs` | [`Domain`](domain::Domain): which values a condition leaves |
//! | `terms.rs` | [`Terms`](terms::Terms): an expression in terms of others |
//! | `groups.rs` | aggregates of larger groups from those of smaller |
//! | `proof.rs` | [`Proof`]: that a view answers a block |
//! | `parts.rs` | [`Part`]: what of a plan can be compared with views, and answers in its place |

mod block;
mod domain;
mod facts;
mod groups;
mod parts;
mod proof;
mod terms;
#[cfg(test)]
mod tests;

pub use block::Block;
pub use parts::{Part, with_answers};
pub use proof::{Answering, Proof, Refusal, Way};
