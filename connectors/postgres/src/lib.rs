//! PostgreSQL as a source: tables of a live database, read over its own binary protocol.
//!
//! The central type is [`PostgresConnector`]. In go a source's URL and options, then fragments; out come discovered
//! tables and Arrow batches. A fragment is rendered as one SELECT; without parameters it is read by `COPY … (FORMAT
//! binary)`, otherwise by the extended protocol with binary parameters and results: one decoder serves both.
//!
//! | file | owns |
//! |---|---|
//! | `source.rs` | [`PostgresConnector`] and its sources: the door |
//! | `settings.rs` | URL, options, decisions about columns |
//! | `pool.rs`, `tls.rs` | connections: at most so many, set up alike, cancelled when dropped |
//! | `failure.rs` | what the server and the connection report, in the engine's words |
//! | `discovery/` | tables, columns, keys from `pg_catalog` |
//! | `types.rs` | PostgreSQL's types → Arrow's |
//! | `dialect.rs`, `rules.rs`, `bounds.rs` | what is rendered exactly, as a superset, or not |
//! | `stored.rs` | how a stored column is selected and used |
//! | `params.rs` | constants → binary parameters |
//! | `read.rs` | one statement's answer as batches |
//! | `split.rs` | one large table by several connections in one snapshot |
//! | `decode/` | binary values → Arrow builders |
//! | `write.rs` | what is written to a table: one transaction |
//! | `capture/` | what changes, by logical replication |
//!
//! *Invariant:* every session's transactions are read only, but those of `write.rs`, of a source that is `writable`, and those in
//! which capture makes or removes its publication.

mod bounds;
mod capture;
mod decode;
mod dialect;
mod discovery;
mod failure;
mod params;
mod pool;
mod read;
mod rules;
mod settings;
mod source;
mod split;
mod stored;
mod tls;
mod types;
mod write;

pub use source::PostgresConnector;
