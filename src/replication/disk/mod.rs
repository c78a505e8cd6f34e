//! [`Durable`] on a real disk.
//!
//! *It owns* a folder of the data directory. The central type is [`Disk`]. Boundaries and checkpoints flow in; after a
//! restart they flow out.
//!
//! ```text
//!   0000000000000007.rows     rows of a chunk, written once        ┐ named, with their checksums, by
//!   0000000000000009.rows     small pieces of a tail; dead rows    ┘ the manifest: one transaction of the catalog
//!   0000000000000002.epochs   boundaries recorded since
//! ```
//!
//! *A checkpoint* writes what no file has: chunks never change, so their files stay as long as a checkpoint names them. It
//! costs in proportion to what has changed, not to what there is. Then the manifest is committed; then files that it does
//! not name go; and what was written is read from its file from then on, so that memory does not have it, too.
//!
//! Invariants:
//! - What the manifest names is durable before it is committed, and is not removed before one that does not name it is.
//! - No name is given twice, nothing is written over. So whatever failed, and whatever comes to light of it after a crash,
//!   what counts is whole. What failed is written anew, elsewhere.
//! - A file that is damaged or missing costs the replica that it is of its content, and no other.
//!
//! | file | owns |
//! |---|---|
//! | `manifest.rs` | the form of a manifest; [`CommitPoint`] |
//! | `pieces.rs` | which rows are in which file |
//! | `log.rs` | boundaries, one sync each |

mod log;
mod manifest;
mod pieces;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use log::Log;
pub use manifest::CommitPoint;
use manifest::{Manifest, Replica};
use pieces::Pieces;

use super::durable::{Durable, Recovered};
use super::state::{Boundary, Checkpoint, Kept, State};
use crate::store::{DiskFolder, FileError, Folder, Mapped};

/// Checkpoints in files that a commit point names, and a log of boundaries.
#[derive(Debug)]
pub struct Disk {
    commit: Arc<dyn CommitPoint>,
    pieces: Pieces,
    log: Log,
}

impl Disk {
    /// In a folder that is its own, which is made. What is there is read by [`Durable::recover`].
    ///
    /// # Errors
    /// The disk's.
    pub fn open(path: &Path, commit: Arc<dyn CommitPoint>) -> Result<Self, FileError> {
        Self::over(Arc::new(DiskFolder::open(path)?), commit, log::ROOM)
    }

    /// With so many bytes in a file of boundaries.
    pub(super) fn over(
        folder: Arc<dyn Folder>,
        commit: Arc<dyn CommitPoint>,
        room: usize,
    ) -> Result<Self, FileError> {
        let names = folder.names();
        let names = names.map_err(FileError::io(&folder.place(""), "listed"))?;
        Ok(Self {
            commit,
            pieces: Pieces::new(folder.clone(), &names),
            log: Log::new(folder, &names, room),
        })
    }

    /// What there is of a replica. Where its content is lost, it is as if it had not been copied yet.
    fn kept(&mut self, name: &str, replica: Replica) -> Result<Kept, FileError> {
        let Replica {
            wanted,
            state,
            content,
        } = replica;
        let content = match content {
            None => Ok(None),
            Some(content) => self.pieces.read(name, &content).map(Some),
        };
        let (state, content, lost) = match content {
            Ok(content) => (state, content, None),
            Err(e) if pieces::is_lost(&e) => (without_content(state), None, Some(e.to_string())),
            Err(e) => return Err(e),
        };
        Ok(Kept {
            wanted,
            state,
            content,
            lost,
        })
    }
}

fn without_content(state: State) -> State {
    match state {
        State::Blocked { reason, .. } => State::Blocked { at: None, reason },
        State::Asked | State::Live | State::Lost => State::Asked,
    }
}

impl Durable for Disk {
    fn record(&mut self, boundary: &Boundary) -> io::Result<()> {
        Ok(self.log.record(boundary)?)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut replicas = BTreeMap::new();
        for (name, kept) in &checkpoint.replicas {
            let schema = kept.wanted.shape(name).stored().clone();
            let content = match &kept.content {
                Some(content) => Some(self.pieces.write(name, &schema, content)?),
                None => None,
            };
            let replica = Replica {
                wanted: kept.wanted.clone(),
                state: kept.state.clone(),
                content,
            };
            replicas.insert(name.clone(), replica);
        }
        self.pieces.sync()?;
        let manifest = Manifest {
            boundary: checkpoint.boundary.clone(),
            replicas,
            note: checkpoint.note.clone(),
        };
        self.commit.commit_manifest(&manifest.to_bytes()?)?;
        // From here on it is durable: what cannot be tidied up now is the next time, or at the next start.
        self.pieces.keep(&manifest);
        self.log.forget(&checkpoint.boundary);
        Ok(())
    }

    fn mapped(&mut self) -> Mapped {
        self.pieces.mapped()
    }

    fn recover(&mut self) -> io::Result<Recovered> {
        let manifest = match self.commit.manifest()? {
            Some(bytes) => Some(Manifest::from_bytes(&bytes)?),
            None => None,
        };
        let mut boundary = Boundary::default();
        let mut checkpoint = None;
        if let Some(manifest) = manifest {
            boundary = manifest.boundary.clone();
            self.pieces.keep(&manifest);
            let mut replicas = BTreeMap::new();
            for (name, replica) in manifest.replicas {
                let kept = self.kept(&name, replica)?;
                replicas.insert(name, kept);
            }
            checkpoint = Some(Checkpoint {
                boundary: manifest.boundary,
                replicas,
                note: manifest.note,
            });
        }
        let recorded = self.log.recover(&boundary)?;
        Ok((checkpoint, recorded))
    }
}
