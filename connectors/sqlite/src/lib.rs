//! SQLite database files as sources.
//!
//! The central type is [`SqliteConnector`]. SQLite runs in this process: a scan is a read-only connection on a thread of
//! its own that fills Arrow batches. What a column is read as is decided by its declared type, although SQLite stores
//! any value anywhere; a stored value that does not fit is an error, also inside a pushed-down expression, because
//! expressions read columns through functions of ours ([`functions`]).
//!
//! | file | owns |
//! |---|---|
//! | `source.rs` | [`SqliteConnector`], its options, the source |
//! | `types.rs` | declared type → Arrow type; the decisions in option `columns` |
//! | `reading.rs` | a stored value as the engine's value, or not: the one place both scans and functions ask |
//! | `calendar.rs` | dates and times in text |
//! | `shape.rs` | what a table is made of |
//! | `discovery.rs` | tables, columns, keys, estimates, misfits |
//! | `sample.rs` | how the values of a table's columns are spread, from some of its rows |
//! | `dialect.rs` | the capability table |
//! | `guards.rs` | checks that a statement need not have |
//! | `functions.rs` | SQL functions with the engine's semantics |
//! | `pattern.rs` | LIKE |
//! | `pool.rs` | read-only connections, at most `max_connections` |
//! | `scan.rs` | one fragment to a stream of batches |
//! | `split.rs` | … to several streams |
//! | `ranges.rs` | a table's rows in parts |
//! | `snapshot.rs` | several connections that see the same |
//! | `batch.rs` | rows to Arrow arrays |
//! | `store.rs` | the engine's values as SQLite stores them |
//! | `capture/` | what is written to a table; `changes = 'triggers'`: what changed, by a log that triggers write |
//! | `failure.rs` | SQLite's errors as ours; which row does not fit |
//!
//! *Invariant:* nothing but `capture/` writes to the database, and that by a connection of its own. No value is guessed: one that does not fit is an error or, by
//! the user's decision, NULL.

mod batch;
mod calendar;
mod capture;
mod dialect;
mod discovery;
mod failure;
mod functions;
mod guards;
mod pattern;
mod pool;
mod ranges;
mod reading;
mod sample;
mod scan;
mod shape;
mod snapshot;
mod source;
mod split;
mod store;
mod types;

pub use source::SqliteConnector;
