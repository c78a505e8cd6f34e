//! What comes from outside, made up: each function is a fuzz target, which takes any bytes and panics if something is
//! wrong. `targets/` has them as programs for libFuzzer (`scripts/test --all fuzz`, or `cargo fuzz run NAME --features
//! libfuzzer`), `corpus/` what each has been given that was worth keeping, which an ordinary test gives it again.
//!
//! | target | bytes are | and what has to hold |
//! |---|---|---|
//! | [`dialect`] | SQL | it is read or refused; what is read prints to SQL that is read as the same |
//! | [`redaction`] | SQL with a password in it | no text that is shown tells it |
//! | [`settings`] | a setting's number and value | it is taken or refused; what was taken prints to what is taken |
//! | [`logins`] | the messages of a login, the header of one | nobody is let in who does not know the password |
//! | [`postgres`] | what a client sends to PostgreSQL's port | nobody is let in |
//! | [`postgres_inside`] | the same, of who has logged in | |
//! | [`http`], [`flight`] | what a client sends to these ports | |
//! | [`calls`] | a call of Flight SQL: its method and message | |
//!
//! And always: no panic, no stack that overflows, no end that does not come, memory bounded.

mod dialect;
#[cfg(feature = "ports")]
mod ports;

pub use dialect::{dialect, redaction};
#[cfg(feature = "ports")]
pub use ports::{calls, flight, http, logins, postgres, postgres_inside, settings};

/// A target: its name and what it is.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("dialect", dialect),
    ("redaction", redaction),
    #[cfg(feature = "ports")]
    ("settings", settings),
    #[cfg(feature = "ports")]
    ("logins", logins),
    #[cfg(feature = "ports")]
    ("postgres", postgres),
    #[cfg(feature = "ports")]
    ("postgres_inside", postgres_inside),
    #[cfg(feature = "ports")]
    ("http", http),
    #[cfg(feature = "ports")]
    ("flight", flight),
    #[cfg(feature = "ports")]
    ("calls", calls),
];
