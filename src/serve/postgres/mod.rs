//! PostgreSQL's protocol (version 3), simple and extended.
//!
//! The central type is [`PostgresServer`]: bound to an address, it serves one [`Engine`](crate::Engine) until told to stop. In flow
//! messages of clients; out flow rows in the form that PostgreSQL would give them, as they arrive from the engine.
//!
//! A connection is one task with one [`Session`](crate::Session). What it is told to do it does in order; what it has to send waits
//! in [`Replies`](messages::Replies) until there is enough, or until the client waits for it; a client that does not read holds up
//! its own statement, and after a time loses it. While a statement runs, its connection is read as well, so that one whose client
//! has gone ends.
//!
//! | file | owns |
//! |---|---|
//! | `server.rs` | [`PostgresServer`]: bind, run, stop |
//! | `startup.rs` | a connection's beginning: TLS, cancelling another's statement, parameters |
//! | `login.rs` | a client proves who it is: SCRAM-SHA-256 |
//! | `wire.rs` | [`Wire`](wire::Wire): whole messages in, replies out, deadlines |
//! | `client.rs` | [`Client`](client::Client): requests in order, errors, the transaction's state |
//! | `statements.rs` | what a statement is to the protocol |
//! | `portals.rs` | [`Portal`](portals::Portal): a statement with its values, and how far its rows are |
//! | `copy.rs` | `COPY … TO STDOUT` |
//! | `messages.rs` | the protocol's messages |
//! | `rows.rs` | Arrow's values as PostgreSQL's, text and binary |
//! | `parameters.rs` | PostgreSQL's values as ours |
//! | `numeric.rs`, `times.rs` | numbers, dates and times as PostgreSQL writes them |
//! | `said.rs` | errors and notices |
//! | `cancel.rs` | who may be cancelled by whom |

mod cancel;
mod client;
mod copy;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod login;
mod messages;
mod numeric;
mod parameters;
mod portals;
mod rows;
mod said;
mod server;
mod startup;
mod statements;
pub(super) mod times;
mod wire;

pub use server::{Bound, PostgresServer};
