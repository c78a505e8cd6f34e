//! How fresh an answer has to be, and how fresh it is.
//!
//! *It owns* what is said about the age of answers: [`Freshness`], its central type, is what one was made of: copies, each of an age,
//! and sources that were asked. And what is proved of answers: that a kept view which a query does not name gives the same
//! ([`matching`]). Which copies may be read is for [`views`](crate::views) to know, who have them; what takes the
//! place of one that is too old is for the engine, which has its query.
//!
//! | file | owns |
//! |---|---|
//! | `answer.rs` | [`Freshness`]: what an answer was made of, how old it is, whether it is of one state of each source |
//! | `results.rs` | [`Results`]: answers that are told again, as long as they are young enough |
//! | `token.rs` | [`Token`]: what a write answers with, and who reads after it says |
//! | `matching/` | whether a kept view answers a part of a query |

mod answer;
pub mod matching;
mod results;
mod token;

pub use answer::{Freshness, Origin, Part};
pub use results::{Answered, Asking, Counts, DEFAULT_LIMIT, Question, Results, Turn};
pub use token::Token;
