//! Sums of floats that do not depend on the order of rows: added up without rounding, and rounded once, at the end. And sums
//! of decimals, which are right or refused.
//!
//! The central type is [`ExactSum`](accumulator::ExactSum). Floats go in and can be taken out again; a float comes out,
//! or bytes, from which another machine or another day goes on. [`register`] puts it behind `sum`, `avg` and the
//! variances of a session, so that it is the same sum bit for bit whoever computes it, over whichever parts.
//!
//! | file | owns |
//! |---|---|
//! | `accumulator.rs` | `ExactSum`: a window of fixed point, and what falls outside of it |
//! | `superaccumulator.rs` | a sum as wide as it needs to be |
//! | `dyadic.rs` | its value: rounding, and the arithmetic of a variance |
//! | `specials.rs` | NaN and the infinities, counted |
//! | `functions.rs` | DataFusion's functions, for floats computed here |
//! | `moments.rs` | what they keep of one group, and read off it |
//! | `rows.rs`, `groups.rs`, `distinct.rs` | their accumulators: of rows, of many groups at once, of different values |
//! | `running.rs` | a statistic of floats that come and go |
//! | `averages.rs` | averages of whole numbers and decimals as sums and counts |
//! | `decimals.rs` | sums of decimals, that fit their type or are an error |
//! | `nearest.rs` | the floats nearest to decimals |
//! | `rules.rs` | where a rule of DataFusion's would add up rounded sums |

mod accumulator;
mod averages;
mod decimals;
mod distinct;
mod dyadic;
mod functions;
mod groups;
mod moments;
mod nearest;
mod rows;
mod rules;
mod running;
mod specials;
mod superaccumulator;
#[cfg(test)]
mod tests;

pub(crate) use averages::AveragesAsSums;
pub(crate) use decimals::{digits, narrowed, out_of_range, widened};
pub(crate) use distinct::canonical;
pub(crate) use functions::register;
pub(crate) use nearest::{nearest_floats, rounds_to_float};
pub(crate) use rules::adds_up_floats;
pub(crate) use running::Running;
