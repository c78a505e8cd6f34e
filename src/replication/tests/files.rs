//! The engine's own files on a simulated disk.

use std::io;
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use crate::replication::{CommitPoint, Disk, Durable, Recovered};
use crate::store::files::tests::simulated::{Faults, Outcome, Simulated};

/// A folder and a commit point, which fail together.
#[derive(Clone, Debug)]
pub struct Files {
    pub faults: Faults,
    pub folder: Simulated,
    pub commit: Commit,
}

impl Default for Files {
    fn default() -> Self {
        let faults = Faults::default();
        Self {
            folder: Simulated::new(faults.clone()),
            commit: Commit {
                faults: faults.clone(),
                manifests: Arc::default(),
            },
            faults,
        }
    }
}

impl Files {
    pub fn open(&self) -> Box<dyn Durable> {
        let commit = Arc::new(self.commit.clone());
        // So little that a log is several files.
        let disk = Disk::over(Arc::new(self.folder.clone()), commit, 500);
        Box::new(disk.unwrap())
    }

    pub fn crash(&self, rng: &mut Rng) {
        self.folder.crash(rng);
        let mut manifests = self.commit.manifests.lock().unwrap();
        if let Some(doubtful) = manifests.doubtful.take()
            && rng.bool()
        {
            manifests.certain = Some(doubtful);
        }
        drop(manifests);
        self.faults.restart();
    }

    pub fn certain(&self) -> Recovered {
        let manifests = Manifests {
            certain: self.commit.manifests.lock().unwrap().certain.clone(),
            doubtful: None,
        };
        let certain = Self {
            faults: Faults::default(),
            folder: self.folder.certain(),
            commit: Commit {
                faults: Faults::default(),
                manifests: Arc::new(Mutex::new(manifests)),
            },
        };
        certain.open().recover().unwrap()
    }
}

/// A commit is a write and a sync.
#[derive(Clone, Debug)]
pub struct Commit {
    faults: Faults,
    manifests: Arc<Mutex<Manifests>>,
}

#[derive(Debug, Default)]
struct Manifests {
    certain: Option<Vec<u8>>,
    /// Of an attempt that failed, or that nobody was told of: it may come to light.
    doubtful: Option<Vec<u8>>,
}

impl CommitPoint for Commit {
    fn manifest(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.manifests.lock().unwrap().certain.clone())
    }

    fn commit_manifest(&self, manifest: &[u8]) -> io::Result<()> {
        for is_sync in [false, true] {
            let outcome = self.faults.io(is_sync);
            let mut manifests = self.manifests.lock().unwrap();
            match outcome {
                Outcome::Done if is_sync => {
                    manifests.certain = Some(manifest.to_vec());
                    manifests.doubtful = None;
                }
                Outcome::Done => manifests.doubtful = Some(manifest.to_vec()),
                Outcome::DoneAndCrashed => {
                    manifests.doubtful = Some(manifest.to_vec());
                    return Err(io::ErrorKind::Other.into());
                }
                // A manifest that was written in part is none.
                Outcome::Half => return Err(io::ErrorKind::Other.into()),
                Outcome::Failed(kind) => return Err(kind.into()),
            }
        }
        Ok(())
    }
}
