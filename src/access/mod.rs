//! Who may do what: users, roles, what is granted to them, and how they prove who they are.
//!
//! The central type is [`Identity`]: who asks, with all roles whose rights that account has. Flows in: the accounts and grants of
//! the catalog, and an object; flows out: [`Allowed`], what an identity may do with it, as a set. For a login, a name and
//! a proof flow in, and the user or a refusal flows out, which does not tell whether there is such a user.
//!
//! | file | owns |
//! |---|---|
//! | `accounts.rs` | [`Identity`]; how accounts change, so that no role is a member of itself and somebody can administer |
//! | `privileges.rs` | [`Allowed`]: grants, owners and superusers, decided; how grants change |
//! | `barrier.rs` | [`Barrier`]: what stands in a plan between what is asked and rows that are not seen |
//! | `limits.rs` | [`Limits`]: what a user's sessions and statements may be; [`Usage`]: what there is of them |
//! | `verifier.rs` | [`Verifier`]: what is kept of a password (SCRAM-SHA-256) |
//! | `scram.rs` | [`Exchange`]: the exchange in which a client proves to know its password |
//! | `throttle.rs` | `Throttle`: logins that fail are limited, before anything is hashed |
//! | `tokens.rs` | `Tokens`: what stands for a login for a while |
//! | `door.rs` | [`Logins`]: all of it together, as servers use it |
//! | [`audit`] | who did what, so that nobody can change it unseen |
//!
//! *Invariants:* nothing here knows a protocol, a plan or a session. No password is kept, and no verifier or token is shown by
//! `Debug`. Secrets are compared in constant time. What is remembered of clients that did not log in is bounded.

mod accounts;
pub mod audit;
mod barrier;
// Without servers nobody logs in.
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod door;
mod limits;
mod privileges;
#[cfg(feature = "serve")]
mod scram;
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod throttle;
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod tokens;
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod verifier;

pub use accounts::Accounts;
pub use accounts::{
    AccountError, Identity, adjust, alter, create, dismiss, enlist, existing, remove,
};
pub use barrier::{Barrier, BarrierPlanner};
pub use door::Logins;
#[cfg(feature = "serve")]
pub use door::Refused;
pub use limits::{Counted, Limits, Reached, Usage, Usages};
pub use privileges::{Allowed, Rights, grant, revoke};
#[cfg(feature = "serve")]
pub use scram::Exchange;
pub use verifier::Verifier;

/// Bytes that nobody can guess. Without such there is no login, and no secret that could be told from another.
///
/// # Panics
/// If the operating system has none, which it has from when it is started on.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}
