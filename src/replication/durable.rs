//! What survives the process.

use std::io;

use super::state::{Boundary, Checkpoint};
use crate::store::Mapped;

/// What is there after a restart: the last checkpoint, and the boundaries that were recorded after it, in order.
pub type Recovered = (Option<Checkpoint>, Vec<Boundary>);

/// Boundaries of epochs, and a checkpoint. What a call that succeeded has written is there after any crash.
///
/// After one that failed, nobody knows whether it is: what was written may come to light after a crash. Therefore a later
/// one counts: of two records of one epoch the second, of two checkpoints the newer; and nothing that was written before is
/// given up until what replaces it is certain. A disk whose sync has failed once may report the next one done without
/// having written: an implementation writes all anew then.
pub trait Durable: Send {
    /// The next epoch's boundary, before anything shows it.
    ///
    /// # Errors
    /// The disk's.
    fn record(&mut self, boundary: &Boundary) -> io::Result<()>;

    /// State and positions, in one commit. Boundaries up to its epoch are not needed any more.
    ///
    /// # Errors
    /// The disk's.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()>;

    /// Rows that the last checkpoint has written, as they lie in files now: of each batch that was in memory, by its address,
    /// the same rows. Whoever takes them frees the memory.
    fn mapped(&mut self) -> Mapped {
        Mapped::new()
    }

    /// Asked once, at start. A replica whose content is damaged has none, and says so ([`Kept::lost`]).
    ///
    /// # Errors
    /// The disk's; what is there and cannot be read is no reason to begin anew.
    ///
    /// [`Kept::lost`]: super::Kept::lost
    fn recover(&mut self) -> io::Result<Recovered>;
}

/// Nothing survives: an engine without a data directory begins anew, and copies what it follows.
#[derive(Debug)]
pub struct Forgetful;

impl Durable for Forgetful {
    fn record(&mut self, _: &Boundary) -> io::Result<()> {
        Ok(())
    }

    fn checkpoint(&mut self, _: &Checkpoint) -> io::Result<()> {
        Ok(())
    }

    fn recover(&mut self) -> io::Result<(Option<Checkpoint>, Vec<Boundary>)> {
        Ok((None, Vec::new()))
    }
}
