//! The protocols a server speaks. Each turns its messages into statements of a [`Session`](crate::Session) and its
//! answers into its own form; none knows anything of sources or plans.
//!
//! | folder | owns |
//! |---|---|
//! | [`flight`] | Arrow Flight SQL: server and client |

pub mod flight;
