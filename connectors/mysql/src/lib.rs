//! MariaDB and MySQL as a source of tables.
//!
//! The central type is [`MysqlConnector`]. It opens sources that discover their tables from `information_schema` and
//! answer fragments as prepared statements of the binary protocol: [`belvedere_sqlgen`] renders the text under the
//! dialect here, rows stream through `mysql_async`, and are decoded into Arrow builders batch by batch, never more
//! than a few batches ahead of the reader.
//!
//! | file | owns |
//! |---|---|
//! | `connector.rs` | [`MysqlConnector`] |
//! | `settings.rs` | the definition, checked: URL, options, TLS |
//! | `source.rs` | discovery and scans, each with its connection |
//! | `pool.rs` | connections: at most so many, handed back or closed; ends statements nobody reads |
//! | `session.rs` | one connection's state: SQL mode, zone, character set; set and checked |
//! | `discover.rs` | `information_schema` to tables |
//! | `types.rs` | native types to Arrow, under the decisions on columns |
//! | `dialect.rs` | the dialect for sqlgen: text by bytes, keys, indexes |
//! | `rules.rs` | the capability table |
//! | `collation.rs` | where the server by itself compares text otherwise |
//! | `params.rs` | constants to protocol values |
//! | `read.rs` | one statement: execute, stream, cancel, retry |
//! | `layout.rs` | which tables are read in ranges, and in how many |
//! | `ranges.rs` | ranges of a key with about as many rows each |
//! | `snapshot.rs` | one snapshot for several connections |
//! | `split.rs` | the ranges of a table, read at once |
//! | `decode.rs` | rows to record batches |
//! | `values.rs` | single values: decimals, dates, times |
//! | `write.rs` | what is written to a table: one transaction |
//! | `capture/` | what changes, by the binary log |
//! | `error.rs` | the client's and server's errors, re-worded |
//!
//! *Invariant:* no statement writes but those of `write.rs`, of a source that is `writable`; no value of a row or constant is in an error or in a statement's text (constants
//! of bytes apart, as hexadecimal digits).

mod capture;
mod collation;
mod connector;
mod decode;
mod dialect;
mod discover;
mod error;
mod layout;
mod params;
mod pool;
mod ranges;
mod read;
mod rules;
mod session;
mod settings;
mod snapshot;
mod source;
mod split;
mod types;
mod values;
mod write;

pub use connector::MysqlConnector;
