//! From a DataFusion plan to fragments at the sources.
//!
//! After DataFusion's optimizer, [`cut`](cut::cut) replaces the largest subplans that one source answers *exactly* by
//! [`FragmentNode`]s; what stays runs in DataFusion. The central type is the connectors' `Fragment`; a
//! [`FragmentExec`] streams its answer.
//!
//! | file | owns |
//! |---|---|
//! | `provider.rs` | [`SourceTable`]: a source's table as a DataFusion table provider |
//! | `expr.rs` | the one translator of expressions |
//! | `order/` | [`JoinOrder`]: the order of inner joins across sources |
//! | `estimate.rs` | how many rows a plan may have |
//! | `price.rs` | what computing an answer from the sources costs, beside reading a copy |
//! | `learned.rs` | [`Learned`](learned::Learned): how many they were when it was asked last |
//! | `past.rs` | [`PastBarriers`]: which conditions pass below a barrier |
//! | `cut.rs` | plan → fragments, and why a thing stays here |
//! | `join.rs`, `window.rs` | joins and windows, in the connectors' algebra |
//! | `remote.rs` | [`Remote`](remote::Remote): a relation that grows at its source |
//! | `node.rs` | [`FragmentNode`], the leaf of a cut plan, and its planner |
//! | `exec.rs` | [`FragmentExec`], the physical scan of a fragment |
//! | `scan.rs` | how it is opened: a place, tries, streams |
//! | `gate.rs` | [`Gate`](gate::Gate): how many scans of a source run at once, and whose turn it is |
//! | `inflight.rs` | [`InFlight`](inflight::InFlight): what several wait to ask is asked once |
//! | `gather.rs` | [`Lookup`](gather::Lookup): rows that several wait to look up are asked for at once |
//! | `breaker.rs` | [`Breaker`](breaker::Breaker): a source that cannot be reached is left alone for a while |
//! | `door.rs` | [`SourceDoor`]: gate and breaker for what a source reads by itself |
//! | `retry.rs` | [`Tries`](retry::Tries): what failed before its first row is asked again |
//! | `template.rs` | [`Template`]: what one source answers for a statement that is prepared, whatever its parameters are |
//! | `history.rs` | [`History`](history::History): what a source was asked, and what came of it |
//! | `outlet.rs` | batches for somebody who may not take them for a while: in memory, then on disk |
//! | `relay.rs` | a source's stream, read ahead; to disk when nobody takes it |
//! | `shared.rs` | what a statement has twice is computed once |
//! | `alike/` | what two places have that is the same but for its columns |
//! | `dynamic.rs` | dynamic filters: the keys of a join's other side become a fragment's parameter |
//! | `domain.rs` | what a physical predicate says of single columns |
//! | `capabilities.rs` | what a source answers, line by line: `SHOW CAPABILITIES` |
//! | `peers.rs` | which rows an order does not tell apart |
//! | `ties.rs` | a top-n is a function of its input: ties break by the remaining columns |
//! | `write.rs` | writes: by the same gate; what a source does by itself |
//! | `topn/` | [`Restart`]: a top-n above a join reads the first rows of the side that orders it |
//!
//! *Invariant:* a plan with all its fragments cut has the answer of the plan without (guarantee 1). Nothing here knows
//! a source by name or kind.

mod alike;
mod breaker;
mod capabilities;
mod cut;
mod domain;
mod door;
mod dynamic;
mod estimate;
mod exec;
mod expr;
mod gate;
mod gather;
mod history;
mod inflight;
mod join;
mod learned;
mod node;
mod order;
mod outlet;
mod past;
mod peers;
pub mod price;
mod provider;
mod relay;
mod remote;
mod retry;
mod scan;
mod shared;
mod template;
mod ties;
mod topn;
mod window;
mod write;

pub use breaker::State as BreakerState;
pub use capabilities::capabilities;
pub use cut::{Cut, Kept, cut};
pub use door::SourceDoor;
pub use exec::FragmentExec;
pub use expr::OR_NULL;
pub use gate::{Asker, BACKGROUND, Gate};
pub use history::{Outcome, Progress, Question};
pub use node::{FragmentNode, FragmentPlanner, fragments};
pub use order::JoinOrder;
pub use past::PastBarriers;
pub use provider::{Health, SourceHandle, SourceTable};
pub use retry::Tries;
pub use scan::SourceFailure;
pub use shared::{SharedPlanner, is_repeated, share};
pub use template::Template;
pub use ties::break_ties;
pub use topn::{Restart, RestartPlanner, limit_ordered_sides};
pub use write::{of_one_table, spooled};
