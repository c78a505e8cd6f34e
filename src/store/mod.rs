//! Tables that change while they are read: the content of replicas and of copies.
//!
//! *It owns* rows in memory, who may still see which of them, and the indexes that find them. The central type is
//! [`Table`]. A Z-set flows in for each epoch ([`Table::apply`], one writer); readers on any thread take a [`Pinned`]
//! epoch ([`Reader::snapshot`]) and get batches out by scan or by key. A table does no I/O and starts no thread; its rows
//! may lie in a mapped file ([`Segment`]).
//!
//! ```text
//!            apply(epoch, ZSet)                                snapshot()
//!                   │                                              │
//!   Table ──────────┴──────────── publishes ──▶ Version ◀──────────┘ Pinned
//!   │ chunks by slot, a tail       (Arc)        │ chunks: Arc<Chunk> by slot
//!   └ one index per key or column set           │ one Directory of Arc<Shard> per index
//!                                               └ epoch, number of rows
//!
//!   position (u32) = slot, offset      Shard: hash → newest position → the one before it → …
//!   Chunk = rows, immutable and in the order they came, + a bit per row: live in this version
//! ```
//!
//! **A version is its bits.** Rows are only ever appended. Taking one away copies its chunk's bitmap and clears a bit.
//! What a version sees is: the rows its chunks had then, where its bit is set. An *index is not versioned*: it maps a
//! hash to every position that has it, newest first, and the reader drops positions that its version does not see, and
//! rows whose key only shares the hash. So an index needs neither locks nor copies: the writer adds while readers walk.
//!
//! **What goes, and when.** A shard that is full, or mostly dead, is built anew without what is dead, and is split if
//! it is still too large; versions from before keep the old one, which has what they see and no longer changes. A chunk
//! whose rows are all dead leaves the next version. Chunks that are half dead are moved to the tail by
//! [`Table::compact`], a budget of rows at a time, by whoever has the time: nothing waits for it. Chunks, bitmaps and
//! shards are freed by their last reader (`Arc`): that is what a pin costs. The writer does not know of pins.
//!
//! Invariants:
//! - One writer: [`Table`] is not `Clone`, and changes take `&mut`. `apply` checks all before it changes anything:
//!   after an error the table is as it was.
//! - In every version the weight of a row is positive: a key has one row, a row of a table without a key has a count.
//! - A position that a version sees is in the shards that it has. Therefore: rows are appended before they are indexed,
//!   and indexed before the version is published.
//! - A slot is given to another chunk only when all shards are younger than the last version that had its old one.
//! - Two notions of *equal*: keys are equal as in SQL's `IS NOT DISTINCT FROM` (one zero, one NaN: `key.rs`); rows are
//!   equal if they have the same bits, since what is taken away must be what was put in. NULL equals NULL in both; a
//!   join skips it itself.
//! - Errors name table, columns and the change's row by number; never a cell's value.
//!
//! Limits: 2³² positions, live and dead, at a time. An epoch's change is one batch. A version lists all chunks: an
//! epoch costs 10 ns a chunk (0.2 µs at a million rows, 20 µs at a hundred million).
//!
//! | file | owns |
//! |---|---|
//! | `zset.rs` | [`ZSet`]: rows with weights; consolidation |
//! | `shape.rs` | [`Shape`]: columns, key, indexes |
//! | `table.rs` | [`Table`]: the writer's state, its publication, compaction |
//! | `change.rs` | a Z-set checked against a table: what goes, what comes |
//! | `version.rs` | [`Pinned`], [`Reader`]: scan, lookup, gather |
//! | `chunks.rs`, `chunk.rs`, `bits.rs` | positions; the rows of a slot, the tail's pieces; their bitmap |
//! | `content.rs` | [`Content`]: what is kept of a table over a restart |
//! | `index.rs` | shards: hash → positions |
//! | `key.rs` | hashes and equality of rows and keys |
//! | `error.rs` | [`Error`] |
//! | `files/` | [`Segment`]: rows in files that never change |

mod bits;
mod change;
mod chunk;
mod chunks;
mod content;
mod error;
pub(crate) mod files;
mod index;
mod key;
mod shape;
mod table;
#[cfg(test)]
mod tests;
mod version;
mod zset;

pub(crate) use content::{Chunked, address};
pub use content::{Content, Mapped};
pub use error::{Error, Result};
pub use files::{
    DiskFolder, FileError, Folder, NewFile, Segment, SegmentMeta, SegmentWriter, sweep,
};
pub(crate) use files::{FileKind, checksum};
pub(crate) use key::{canonical_floats, equal_keys, hashes};
pub use shape::Shape;
pub use table::Table;
pub use version::{Matches, Part, Pinned, Reader};
pub use zset::ZSet;
pub(crate) use zset::{batch, bytes_of};
