//! The connector against a real PostgreSQL.
//!
//! | file | what is seen to work |
//! |---|---|
//! | `server.rs` | a private server (or the one `BELVEDERE_TEST_POSTGRES` names) |
//! | `fixture.rs` | a database of its own for each test; short ways to ask |
//! | `discovery.rs` | tables, columns, keys, estimates |
//! | `types.rs` | every type at its extremes, by both protocols; decisions |
//! | `pushdown.rs` | what is rendered, and its answers |
//! | `reading.rs` | batches, splits, cancelling, many at once |
//! | `failures.rs` | what is wrong is named |
//! | `capture.rs` | what changes: slots, publications, rights, identities, drift |
//! | `tls.rs` | each `sslmode` against a certificate of an authority of the test's own |

#[path = "../../../conformance/src/changes/applied.rs"]
#[allow(dead_code)]
mod applied;
mod capture;
mod discovery;
mod failures;
mod fixture;
mod pushdown;
mod reading;
mod server;
mod tls;
mod types;
