//! Rows in files that never change: what is too much for memory, or is to be there after a restart.
//!
//! *It owns* the form of a file of rows, and how a file comes to be: whole or not at all. The central type is [`Segment`].
//! Batches flow in through a [`SegmentWriter`], and out as they were, to the bit, from the mapped file: nothing is copied.
//!
//! ```text
//!   segment:  header 64 B │ block │ block │ … │ footer: each block's place, rows, checksum; schema │ trailer 64 B
//!   block:    an Arrow IPC stream of one batch, with its dictionaries; all at multiples of 64 B
//!
//!   write:    name.new ── sync ──▶ renamed to name ── sync of the folder ──▶ there after any crash
//! ```
//!
//! Invariants:
//! - Each byte is under a checksum: header and trailer by themselves, the footer by the trailer, blocks by the footer. So
//!   the trailer's checksum stands for the whole file.
//! - A block's checksum is looked at before anything of it is decoded, once. Damage is a [`FileError`] that names file and
//!   part; never other rows, never a panic.
//! - The header of all formats to come begins in the same way: a newer file is told from a damaged one.
//! - A file that has its final name is whole. What ends in `.new` is nobody's, and goes at the next start.
//!
//! Limits: the folder is this process's alone. Who changes or cuts a mapped file under it ends the process.
//!
//! | file | owns |
//! |---|---|
//! | `segment.rs` | [`Segment`]: batches of a file |
//! | `writer.rs` | [`SegmentWriter`]: batches of any size become blocks |
//! | `blocks.rs` | batches as bytes, and back |
//! | `layout.rs` | header, footer, trailer |
//! | `folder.rs` | [`Folder`]: what is asked of a file system; [`DiskFolder`]; [`sweep`] |
//! | `error.rs` | [`FileError`] |

mod blocks;
mod error;
mod folder;
mod layout;
mod segment;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub use error::FileError;
pub use folder::{DiskFolder, Folder, NewFile, sweep};
pub(crate) use layout::{FileKind, checksum};
pub use segment::{Segment, SegmentMeta};
pub use writer::SegmentWriter;
