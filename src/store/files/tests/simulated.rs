//! A folder in memory that fails at each of its I/Os, and what of it survives.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fastrand::Rng;

use crate::store::files::{Folder, NewFile};

/// What goes wrong with an I/O.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing is written, until there is room.
    Full,
    /// Half of it is written.
    Torn,
    /// What was written may be there after a crash, or not; no later sync makes it certain.
    SyncFails,
    /// The process ends before it.
    CrashBefore,
    /// The process ends after it.
    CrashAfter,
}

pub(crate) const FAULTS: [Fault; 5] = [
    Fault::Full,
    Fault::Torn,
    Fault::SyncFails,
    Fault::CrashBefore,
    Fault::CrashAfter,
];

/// What a fault does to one I/O.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Done,
    /// It is done, and the process ends.
    DoneAndCrashed,
    Failed(io::ErrorKind),
    /// Of a write half, of a sync nothing.
    Half,
}

/// Faults of a disk, of all that is on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    /// After how many I/Os more, and what.
    fault: Option<(usize, Fault)>,
    is_crashed: bool,
}

impl Faults {
    pub(crate) fn fail(&self, after: usize, fault: Fault) {
        self.0.lock().unwrap().fault = Some((after, fault));
    }

    pub(crate) fn heal(&self) {
        self.0.lock().unwrap().fault = None;
    }

    pub(crate) fn is_crashed(&self) -> bool {
        self.0.lock().unwrap().is_crashed
    }

    /// The next process begins.
    pub(crate) fn restart(&self) {
        let mut plan = self.0.lock().unwrap();
        if plan.is_crashed {
            plan.is_crashed = false;
            plan.fault = None;
        }
    }

    pub(crate) fn io(&self, is_sync: bool) -> Outcome {
        let mut plan = self.0.lock().unwrap();
        if plan.is_crashed {
            // What is dropped on the way out may try: it does nothing.
            return Outcome::Failed(io::ErrorKind::Other);
        }
        let fault = match &mut plan.fault {
            Some((0, fault)) => *fault,
            Some((after, _)) => {
                *after -= 1;
                return Outcome::Done;
            }
            None => return Outcome::Done,
        };
        match fault {
            Fault::Full if is_sync => Outcome::Done,
            Fault::Full => Outcome::Failed(io::ErrorKind::StorageFull),
            Fault::Torn | Fault::SyncFails => {
                plan.fault = None;
                Outcome::Half
            }
            Fault::CrashBefore => {
                plan.is_crashed = true;
                Outcome::Failed(io::ErrorKind::Other)
            }
            Fault::CrashAfter => {
                plan.is_crashed = true;
                Outcome::DoneAndCrashed
            }
        }
    }
}

/// What is written to a file.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: usize,
    /// A sync has failed: the next ones do nothing.
    is_doubtful: bool,
}

type Names = BTreeMap<String, Arc<Mutex<Content>>>;

#[derive(Debug, Default)]
struct Listing {
    now: Names,
    /// As they were after the last sync, and after each change since.
    versions: Vec<Names>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Simulated {
    faults: Faults,
    names: Arc<Mutex<Listing>>,
}

impl Simulated {
    pub(crate) fn new(faults: Faults) -> Self {
        let names = Arc::default();
        let folder = Self { faults, names };
        folder.names.lock().unwrap().versions.push(Names::new());
        folder
    }

    /// The process ends: what is not certain is there, or not.
    pub(crate) fn crash(&self, rng: &mut Rng) {
        let mut names = self.names.lock().unwrap();
        let kept = rng.usize(..names.versions.len());
        let kept = names.versions[kept].clone();
        let file = |(name, content): (String, Arc<Mutex<Content>>)| {
            let content = content.lock().unwrap();
            let len = rng.usize(content.durable..=content.bytes.len());
            let mut bytes = content.bytes[..len].to_vec();
            if len > content.durable && rng.bool() {
                bytes[content.durable..].fill(0);
            }
            let durable = bytes.len();
            let content = Content {
                bytes,
                durable,
                is_doubtful: false,
            };
            (name, Arc::new(Mutex::new(content)))
        };
        names.now = kept.into_iter().map(file).collect();
        names.versions = vec![names.now.clone()];
    }

    /// Only what is certain to survive.
    pub(crate) fn certain(&self) -> Self {
        let names = self.names.lock().unwrap();
        let certain = Self::new(Faults::default());
        let mut listing = certain.names.lock().unwrap();
        for (name, content) in &names.versions[0] {
            let content = content.lock().unwrap();
            let content = Content {
                bytes: content.bytes[..content.durable].to_vec(),
                durable: content.durable,
                is_doubtful: false,
            };
            listing
                .now
                .insert(name.clone(), Arc::new(Mutex::new(content)));
        }
        drop(listing);
        certain
    }

    /// What a file has, to look at and to damage.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let names = self.names.lock().unwrap();
        let mut content = names.now[name].lock().unwrap();
        edit(&mut content.bytes);
        content.durable = content.bytes.len();
    }

    fn failed(outcome: Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::DoneAndCrashed | Outcome::Half => Err(io::ErrorKind::Other.into()),
            Outcome::Failed(kind) => Err(kind.into()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Names) -> io::Result<()>) -> io::Result<()> {
        let outcome = self.faults.io(false);
        if matches!(outcome, Outcome::Done | Outcome::DoneAndCrashed) {
            let mut names = self.names.lock().unwrap();
            change(&mut names.now)?;
            let now = names.now.clone();
            names.versions.push(now);
        }
        Self::failed(outcome)
    }
}

impl Folder for Simulated {
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let content: Arc<Mutex<Content>> = Arc::default();
        let file = (name.to_string(), content.clone());
        self.change(|names| {
            names.extend([file]);
            Ok(())
        })?;
        let faults = self.faults.clone();
        Ok(Box::new(Open { faults, content }))
    }

    fn read(&self, name: &str) -> io::Result<Bytes> {
        let names = self.names.lock().unwrap();
        let content = names.now.get(name).ok_or(io::ErrorKind::NotFound)?;
        let content = content.lock().unwrap();
        Ok(Bytes::copy_from_slice(&content.bytes))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|names| {
            let content = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            names.insert(to.to_string(), content);
            Ok(())
        })?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        let outcome = self.faults.io(true);
        if matches!(outcome, Outcome::Done | Outcome::DoneAndCrashed) {
            let mut names = self.names.lock().unwrap();
            names.versions = vec![names.now.clone()];
        }
        Self::failed(outcome)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|names| {
            names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(())
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.names.lock().unwrap().now.keys().cloned().collect())
    }

    fn place(&self, name: &str) -> String {
        name.to_string()
    }
}

#[derive(Debug)]
struct Open {
    faults: Faults,
    content: Arc<Mutex<Content>>,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.faults.io(false);
        let mut content = self.content.lock().unwrap();
        match outcome {
            Outcome::Done | Outcome::DoneAndCrashed => content.bytes.extend_from_slice(bytes),
            Outcome::Half => content.bytes.extend_from_slice(&bytes[..bytes.len() / 2]),
            Outcome::Failed(_) => {}
        }
        Simulated::failed(outcome).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for Open {
    fn reserve(&mut self, _: usize) -> io::Result<()> {
        Simulated::failed(self.faults.io(false))
    }

    fn sync(&mut self) -> io::Result<()> {
        let outcome = self.faults.io(true);
        let mut content = self.content.lock().unwrap();
        match outcome {
            Outcome::Done | Outcome::DoneAndCrashed if !content.is_doubtful => {
                content.durable = content.bytes.len();
            }
            Outcome::Half => content.is_doubtful = true,
            _ => {}
        }
        Simulated::failed(outcome)
    }
}
