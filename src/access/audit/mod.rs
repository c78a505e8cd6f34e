//! Who did what: an append-only, hash-chained record of logins and statements.
//!
//! The central type is [`Audit`]. Flows in: [`Record`]s, from the one place where statements begin and end and the one where clients
//! prove who they are; flows out: lines of JSON in files, each with the SHA-256 of the one before and its own, and the [`Head`] of that
//! chain, in the log as well. Whoever kept a head from the log sees whether anything up to it was changed, or cut.
//!
//! | file | owns |
//! |---|---|
//! | `record.rs` | [`Record`]: what is written of one event; [`Level`]: of which |
//! | `chain.rs` | [`Head`]; a record as a line of the chain, and back |
//! | `files.rs` | the files' names, the file with the newest head |
//! | `recovery.rs` | where the chain goes on after a start: what a crash has torn, and what is no crash's |
//! | `queue.rs` | [`Audit`]: what waits to be written, and who waits for that |
//! | `writer.rs` | the thread that appends, makes durable, rotates |
//! | `verify.rs` | [`verify`]: whether all of it is as it was written |
//! | `read.rs` | [`Newest`]: records, newest first |
//! | `refusals.rs` | refusals that come in floods, a few records of which say it all |
//! | `hide.rs` | secrets that do not belong into a text |
//!
//! *Invariants:* what was written is never written over. What cannot be audited is not done: while records cannot be written, what
//! would need one fails. What waits to be written is bounded. No password, token or key is in a record, and no value of a parameter
//! that nobody asked for.

mod chain;
mod files;
mod hide;
mod queue;
mod read;
mod record;
mod recovery;
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod refusals;
#[cfg(test)]
mod tests;
// Without the binary nobody asks.
#[cfg(any(feature = "cli", test))]
mod verify;
mod writer;

pub use chain::{Head, Line};
pub use hide::without_secrets;
pub use queue::{Audit, Unaudited};
pub use read::Newest;
pub use record::{Event, Level, Origin, Record};
#[cfg(any(feature = "cli", test))]
pub use verify::{Verified, verify};

use std::io;
use std::path::{Path, PathBuf};

/// In the data directory.
pub const FOLDER: &str = "audit";

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A file that has so many bytes is followed by another one.
    pub file_bytes: u64,
    /// Of more files than these the oldest is removed, which is recorded.
    pub files: usize,
}

impl Limits {
    /// So many bytes in all, about.
    pub fn of(bytes: u64) -> Self {
        const FILES: u64 = 16;
        Self {
            file_bytes: (bytes / FILES).max(4 << 10),
            files: FILES as usize,
        }
    }
}

/// Why the files cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the audit in {} cannot be {doing}: {cause}", path.display())]
pub struct AuditError {
    pub doing: &'static str,
    pub path: PathBuf,
    #[source]
    pub cause: io::Error,
}

impl AuditError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self {
            doing,
            path: path.to_path_buf(),
            cause,
        }
    }
}
