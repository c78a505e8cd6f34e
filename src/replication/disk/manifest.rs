//! What a checkpoint is, but for the rows: they are in files, which it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;

use serde::{Deserialize, Serialize};

use crate::catalog::Store;
use crate::replication::state::{Boundary, State, Wanted};
use crate::store::{FileError, SegmentMeta, checksum};

/// Where a manifest becomes the one that counts.
pub trait CommitPoint: Debug + Send + Sync {
    /// The last one that was committed.
    ///
    /// # Errors
    /// If it cannot be read.
    fn manifest(&self) -> io::Result<Option<Vec<u8>>>;

    /// Durable on return. After an error, nobody knows whether it or the one before is found after a crash; after the next
    /// one that succeeded, that is.
    ///
    /// # Errors
    /// The disk's.
    fn commit_manifest(&self, manifest: &[u8]) -> io::Result<()>;
}

impl CommitPoint for Store {
    fn manifest(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(Store::manifest(self))
    }

    fn commit_manifest(&self, manifest: &[u8]) -> io::Result<()> {
        Store::commit_manifest(self, manifest).map_err(|e| io::Error::new(e.io_kind(), e))
    }
}

/// The newest form of a manifest that is known here.
const FORMAT: u32 = 1;
const NAME: &str = "the checkpoint's manifest";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) boundary: Boundary,
    pub(super) replicas: BTreeMap<String, Replica>,
    #[serde(default)]
    pub(super) note: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Replica {
    pub(super) wanted: Wanted,
    pub(super) state: State,
    /// Where there is something to read.
    pub(super) content: Option<Content>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Content {
    /// Of each chunk the files that have its rows, in order.
    pub(super) chunks: Vec<Vec<Piece>>,
    /// A row for each chunk: which of its rows are live. None: all are.
    pub(super) live: Option<Piece>,
}

/// A file of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) number: u64,
    #[serde(flatten)]
    pub(super) meta: SegmentMeta,
}

impl Manifest {
    /// format (u32) │ checksum (u64) │ JSON
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut bytes = FORMAT.to_le_bytes().to_vec();
        bytes.extend_from_slice(&checksum(&json).to_le_bytes());
        bytes.extend_from_slice(&json);
        Ok(bytes)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        let damaged = |what| FileError::damaged(NAME, "all of it", what);
        let (format, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| damaged("it is cut off"))?;
        let (sum, json) = rest
            .split_first_chunk()
            .ok_or_else(|| damaged("it is cut off"))?;
        let found = u32::from_le_bytes(*format);
        if found > FORMAT {
            return Err(FileError::NewerFormat {
                file: NAME.into(),
                found,
                known: FORMAT,
            });
        }
        if checksum(json) != u64::from_le_bytes(*sum) {
            return Err(damaged("its checksum is another"));
        }
        serde_json::from_slice(json).map_err(|_| damaged("it cannot be decoded"))
    }

    /// The numbers of all files that it names.
    pub(super) fn files(&self) -> BTreeSet<u64> {
        let contents = self
            .replicas
            .values()
            .filter_map(|replica| replica.content.as_ref());
        let pieces =
            contents.flat_map(|content| content.chunks.iter().flatten().chain(&content.live));
        pieces.map(|piece| piece.number).collect()
    }
}
