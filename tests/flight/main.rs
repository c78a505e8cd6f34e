//! Flight SQL through the Rust client, over an engine with a source in memory and one in SQLite.
//!
//! | file | what it shows |
//! |---|---|
//! | `support.rs` | a server of its own for each test |
//! | `statements.rs` | queries, definitions, prepared statements, cancellation, sizes and types |
//! | `metadata.rs` | every metadata command |
//! | `sessions.rs` | login, sessions, settings, the client of `--connect` |
//! | `subscriptions.rs` | `SUBSCRIBE TO`: streams that go on, over the wire |
//! | `access.rs` | who may call, once there are users |
//! | `abuse.rs` | garbage, too many connections, too large messages, TLS, stopping |
//! | `hostile.rs` | calls that are cut off, frames that lie, headers that are nonsense |

#![cfg(feature = "serve")]

mod abuse;
mod access;
mod hostile;
mod metadata;
#[path = "../served.rs"]
mod served;
mod sessions;
mod statements;
mod subscriptions;
mod support;
