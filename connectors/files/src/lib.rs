//! Files as sources: one folder or bucket is one catalog, read by DataFusion's own readers.
//!
//! The central type is [`FilesConnector`]. In flow a folder's URL and options; out flow its tables and, for each, a
//! DataFusion table provider with partition pruning, Parquet's statistics and dynamic filters. The other way, `COPY` hands
//! rows to [`export`], which writes them where a source may read them.
//!
//! | file | owns |
//! |---|---|
//! | `connector.rs` | [`FilesConnector`], its options |
//! | `settings.rs` | a definition, checked: where, how CSV is read, declared types |
//! | `store.rs` | the object store of a definition: local, S3, Google, Azure |
//! | `calm.rs` | [`CalmStore`](calm::CalmStore): a bucket of which no more is asked than its limits allow |
//! | `kind.rs` | what a file is, by its name; the DataFusion format that reads it |
//! | `layout.rs` | which files make which table; Hive partitions |
//! | `facts.rs` | what one file holds: its columns and rows, remembered while it does not change |
//! | `head.rs` | columns of a CSV or JSON file, from its beginning |
//! | `types.rs` | types of files → types of tables; what holds both of two types |
//! | `source.rs` | the source: discovery, providers |
//! | `table.rs` | the table provider: listing, pruning, one scan |
//! | `reader.rs` | readers whose errors name the file |
//! | `changes/` | what changes, found by listing files |
//! | `export/` | what `COPY … TO` writes |
//! | `keyed.rs` | Parquet of which keys are read first |
//! | `failure.rs` | errors of stores and readers in our words |
//!
//! *Invariants:* a listing is never cached: a new file is seen by the next query. A file's columns are checked against
//! the table's before it is read, so a file that does not fit is an error and never a wrong answer. Paths are relative
//! to the source's folder everywhere.

mod calm;
mod changes;
mod connector;
mod export;
mod facts;
mod failure;
mod head;
mod keyed;
mod kind;
mod layout;
mod reader;
mod settings;
mod source;
mod store;
mod table;
mod types;

pub use connector::FilesConnector;
