//! The protocols a server speaks. Each turns its messages into statements of a [`Session`](crate::Session) and its
//! answers into its own form; none knows anything of sources or plans.
//!
//! | | owns |
//! |---|---|
//! | [`flight`] | Arrow Flight SQL: server and client |
//! | [`postgres`] | PostgreSQL's protocol |
//! | [`http`] | HTTP: views by key, SQL, what monitors ask for |
//! | `listen.rs` | [`ServeOptions`]: what all protocols are told; taking an address |
//! | `certificates.rs` | [`Certificates`]: what servers show of themselves, read again when it changes |
//! | `guests.rs` | who clients are, by what they say |
//! | `paths.rs` | paths that mean nothing to a server |
//! | `connections.rs` | accepted connections: how many, and which goes when there are too many |
//! | `fuzzing.rs`, also in each | what the targets in `fuzz/` call |

mod certificates;
mod connections;
pub mod flight;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guests;
pub mod http;
mod listen;
mod paths;
pub mod postgres;

pub use certificates::Certificates;
pub use listen::{BindError, Clients, ServeOptions};
