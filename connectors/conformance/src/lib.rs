//! The behaviours every connector must show, against the real system and through the real engine.
//!
//! The central type is [`Fixture`]: what a connector's author says of the system. In goes a started system; out comes
//! the number of behaviours that passed, or the list of those that did not.
//!
//! ```ignore
//! belvedere_conformance::conformance!(MyFixture::start());   // the whole test file, but for the fixture
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `fixture.rs` | [`Fixture`]: start, seed and break the system, bypassing the connector; what it declares |
//! | `seed.rs` | Arrow batches → `CREATE TABLE` and `INSERT` of a SQL system |
//! | `suite.rs` | the list of behaviours; running and reporting it |
//! | `lab.rs` | [`Lab`](lab::Lab): an engine over the seeded system, and comparing its answers |
//! | `discovery.rs` | tables, columns, keys, names; what changes after discovery |
//! | `types.rs` | every type at its extremes |
//! | `shapes.rs` | no rows, no columns, batch boundaries, wide and huge rows |
//! | `queries.rs` | what people ask, pushdown on and off |
//! | `joins.rs` | joins of all kinds, pushdown on and off |
//! | `windows.rs` | windows, and what is above and below them |
//! | `keys.rs` | the keys of a join, sent to the source of its other side |
//! | `lookups.rs` | rows looked up by key, again and again, by many at once |
//! | `pushdown.rs` | what is declared as pushed is pushed, what is not is right all the same |
//! | `changes/` | change capture: snapshot and stream add up, whatever happens |
//! | `writes.rs` | what was written is what is read, all of it or nothing, by whoever reads after it |
//! | `faults.rs` | cancelled, broken, refused, forbidden, overloaded |
//!
//! *Invariant:* all behaviours run for every connector. One that a system cannot show is reported with the reason the
//! fixture gives, never left out in silence; and one that a fixture declares as not pushed fails here when it is.

pub mod changes;
mod discovery;
mod faults;
mod fixture;
mod joins;
mod keys;
mod lab;
mod lookups;
mod pushdown;
mod queries;
mod seed;
mod shapes;
mod suite;
mod types;
mod windows;
mod writes;

pub use fixture::{Ability, Definition, Feature, Fixture, Native, Refusal};
pub use lab::lines;
pub use seed::SqlNames;
pub use suite::run;

/// One test that runs all behaviours over the fixture this future gives.
#[macro_export]
macro_rules! conformance {
    (#[$attribute:meta] $start:expr) => {
        #[test]
        #[$attribute]
        fn conformance() {
            $crate::run(async {
                ::std::sync::Arc::new($start.await) as ::std::sync::Arc<dyn $crate::Fixture>
            });
        }
    };
    ($start:expr) => {
        $crate::conformance!(
            #[cfg(test)]
            $start
        );
    };
}
