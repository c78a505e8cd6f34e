//! A source in memory: the reference, the simulator of the tests, and the file an author of a connector copies.
//!
//! The central type is [`MemorySource`]: tables of Arrow batches, put there by [`MemorySource::put`] and changed by
//! [`MemorySource::commit`]. In flow batches, commits and [`Fault`]s; out flow the same as any source's, late, broken or never,
//! as the faults say. It has no clock and no thread: what is to happen, a test does, and a stream that has nothing to give
//! waits for it. The [`MemoryConnector`] makes named sources known to an engine as `memory:name`.
//!
//! | file | owns |
//! |---|---|
//! | `connector.rs` | [`MemoryConnector`]: names → sources |
//! | `source.rs` | [`MemorySource`]: tables by name, discovery, scans |
//! | `table.rs` | [`MemoryTable`]: its batches, and what discovery says of it |
//! | `asked.rs` | what a fragment asks: columns, some rows |
//! | `reading.rs` | one stream being read, with the faults there are |
//! | `log.rs` | the commit log: what was committed, what the tables were |
//! | `commit.rs` | what a commit does to tables; how a log has it that knows old rows by key |
//! | `capture.rs` | what a test does to the log: commit, truncate, rewind |
//! | `stream.rs` | the log being read, with the faults there are |
//! | `capability.rs` | what it answers: a scan of some columns, and a limit |
//! | `write.rs` | what is written to a table: one commit |
//! | `fault.rs` | [`Fault`], [`LogFault`], [`WriteFault`]: what a test makes go wrong |
//!
//! # To write a connector
//!
//! Copy these files and replace what each does: `connector.rs` checks the URL and options without contacting the
//! system; `source.rs` reads the schema from the live system and answers fragments as streams that stop the work when
//! they are dropped; `capability.rs` declares exactly what those answers are proven to be. Then one line in the
//! engine's `connectors.rs`, and one file in `tests/conformance`.

mod asked;
mod capability;
mod capture;
mod commit;
mod connector;
mod fault;
mod log;
mod reading;
mod source;
mod stream;
mod table;
mod write;

pub use capture::Image;
pub use connector::MemoryConnector;
pub use fault::{Fault, LogFault, WriteFault};
pub use source::MemorySource;
pub use table::MemoryTable;
