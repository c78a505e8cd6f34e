//! Arrow Flight SQL.
//!
//! The central type is [`FlightServer`]: bound to an address, it serves one [`Engine`](crate::Engine) until told to
//! stop. In flow calls of Flight SQL; out flow Arrow batches as they arrive from the engine, in messages that every
//! client takes.
//!
//! A query's way: `GetFlightInfo` plans it and keeps it under a handle (`statements.rs`); the handle is the ticket;
//! `DoGet` runs it. A definition runs at its first `DoGet`, once, however often the ticket is presented. Whatever a
//! client can make the server hold (connections, sessions, tokens, statements) is counted and expires.
//!
//! | file | owns |
//! |---|---|
//! | `server.rs` | [`FlightServer`]: bind, run, stop |
//! | `door.rs` | every call's entry: who calls, panics caught, what the protocol library leaves out |
//! | `login.rs` | basic authentication and bearer tokens |
//! | `handles.rs` | [`Handles`](handles::Handles): what clients make the server remember, bounded |
//! | `calls.rs` | a call's session and settings: cookie, headers |
//! | `options.rs` | the actions that set, show and close a session |
//! | `sql.rs` | the commands of Flight SQL |
//! | `statements.rs` | a statement to run: once if it defines, cancelled on demand |
//! | `prepared.rs` | prepared statements and their parameters |
//! | `metadata/` | catalogs, schemas, tables, keys, SqlInfo, types |
//! | `wire.rs` | batches in the form and size clients take |
//! | `status.rs` | the engine's errors as gRPC's |
//! | `apply.rs` | the action that applies files of definitions |
//! | [`client`] | the other end: what `--connect` uses |

mod apply;
mod calls;
pub mod client;
mod door;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod handles;
mod login;
mod metadata;
mod options;
mod prepared;
mod server;
mod sql;
mod statements;
mod status;
pub(super) mod wire;

pub use server::{Bound, FlightServer};
