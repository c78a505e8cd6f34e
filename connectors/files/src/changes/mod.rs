//! Changes of files, found by listing them.
//!
//! *It owns* which versions of which files were told. The central type is [`Watch`]. In flow listings, one at an interval; out
//! flow, of each file that came, went or changed, that its rows went and the rows that it has now. Only those are read.
//!
//! ```text
//!   listing ──▶ differs from the last one told? ──▶ read these files ──▶ one step, its position holds the listing
//! ```
//!
//! Rows carry a *mark*, a column that the table has not: which file they are of. By it old rows are named, so that nothing
//! of a file has to be known once it has changed.
//!
//! A *position* is a number that grows with the time, and the listing: of each file of the tables that are followed a hash of
//! its path, which is the mark, and one of its version. So a restart goes on from the checkpoint's position alone, and reads
//! what is another version now. It takes 16 bytes a file, which are written with each epoch that changes them.
//!
//! Invariants:
//! - A file is asked for its version before and after it is read; rows of a file that changed meanwhile are told to nobody.
//! - To tell a file again does no harm: its rows go first. So what is not known for sure is told again.
//! - A version that may be written over within one tick of the file system's clock is not taken for settled: the file is read
//!   once more when it is older.
//! - A source whose files are as they were has the position it had: an idle one costs a listing.
//!
//! Limits: two files of one listing may be of different moments. A table that cannot be read (a file is damaged, or being
//! written; all are gone) is looked at again for [`PATIENCE`] looks before it ends.
//!
//! | file | owns |
//! |---|---|
//! | `listing.rs` | [`Listing`](listing::Listing): which versions there are; as a position |
//! | `watched.rs` | [`Watched`](watched::Watched): one table, its files, the rows of one |
//! | `watch.rs` | [`Watch`]: what all streams and snapshots of a source share |
//! | `stream.rs` | what each look finds |

mod listing;
mod stream;
mod watch;
mod watched;

pub use watch::Watch;
pub use watched::mark;
