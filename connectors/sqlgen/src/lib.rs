//! Fragments of a query as SQL text with bound parameters, for every source that speaks SQL.
//!
//! The central type is the trait [`Dialect`]: what differs between SQL systems, most of it as *data* (a table of
//! [`Rule`]s). [`render`] turns a [`Fragment`](belvedere_connector::Fragment) into [`Rendered`]: an sqlparser AST, its
//! text and the parameters to bind. [`SqlCapabilities`] answers what is supported by rendering it: a thing is pushed
//! exactly when there is a proven rendering for it.
//!
//! | file | owns |
//! |---|---|
//! | `dialect.rs` | [`Dialect`] and what it answers with |
//! | `rules.rs` | [`Rule`]: one line of a dialect's capability table |
//! | `standard.rs` | renderings that hold everywhere, given the dialect's facts: AND, IS NULL, comparisons, CASE … |
//! | `render.rs` | walking an expression; parameters and their numbering |
//! | `block.rs` | one SELECT under construction; when two nodes fit into one |
//! | `select.rs` | relations to SELECTs |
//! | `lookup.rs` | joins that look rows up, where a system would do it the wrong way round |
//! | `window.rs` | windows to `OVER (…)` |
//! | `write.rs` | what changes in a table, as INSERT, UPDATE and DELETE |
//! | `statements.rs` | [`Statements`]: what a write sends, one statement after the other |
//! | `capability.rs` | [`SqlCapabilities`] |
//! | `sql.rs` | short constructors for AST nodes, parenthesised where needed |
//!
//! *Invariant:* no value of a query or a row is ever part of the text but `NULL`, `TRUE`, `FALSE`, a LIMIT, numbers of
//! rows in a window, and what a dialect chooses to inline; names are quoted by [`sql::quoted`] alone (sqlparser's own
//! quoting guesses whether a name is escaped already).

mod block;
mod capability;
mod dialect;
mod lookup;
mod render;
mod rules;
mod select;
pub mod sql;
mod standard;
mod statements;
mod window;
mod write;

pub use capability::SqlCapabilities;
pub use dialect::{
    Aggregated, Dialect, Facts, Limits, LiteralForm, Nulls, Operand, Position, Read, Rendering, Use,
};
pub use render::Rendered;
pub use rules::{Call, Class, Form, Operation, Rule};
pub use select::render;
/// The AST that rules are written in.
pub use sqlparser::ast;
pub use statements::{Expected, Next, Statements};
pub use write::{Refused, Statement, delete, insert, update};
