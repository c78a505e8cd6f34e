//! A disk that fails at each of its I/Os, and what survives on it: the engine's own files, and what they are to be like.

use std::io;
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::files::Files;
use crate::replication::{Boundary, Checkpoint, Durable, Recovered};
use crate::store::files::tests::simulated::Simulated;
pub(crate) use crate::store::files::tests::simulated::{FAULTS as DISK_FAULTS, Fault as DiskFault};

/// Frames in the order in which they were written. It is what the engine's own files are like: a log of boundaries, a
/// manifest for each checkpoint after the files that it names; who meets an error goes on in another file.
#[derive(Debug, Default)]
struct Platter {
    frames: Vec<(Frame, Fate)>,
    /// After how many I/Os more, and what.
    fault: Option<(usize, DiskFault)>,
    is_crashed: bool,
    ios: usize,
}

#[derive(Clone, Debug)]
enum Frame {
    Boundary(Boundary),
    Checkpoint(Box<Checkpoint>),
    /// A file that a checkpoint names, or half of something.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Certain,
    Written,
    /// A sync of it has failed.
    Doubtful,
}

#[derive(Clone, Debug, Default)]
struct Frames(Arc<Mutex<Platter>>);

/// A disk: frames in their order, or files as the engine writes them.
#[derive(Clone, Debug)]
pub struct Disk(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Frames(Frames),
    Files(Files),
}

impl Default for Disk {
    fn default() -> Self {
        Self(Kind::Frames(Frames::default()))
    }
}

impl Disk {
    pub fn files() -> Self {
        Self(Kind::Files(Files::default()))
    }

    /// `after` how many I/Os more. Files take more of them.
    pub fn fail(&self, after: usize, fault: DiskFault) {
        match &self.0 {
            Kind::Frames(frames) => frames.0.lock().unwrap().fault = Some((after, fault)),
            Kind::Files(files) => files.faults.fail(after * 3, fault),
        }
    }

    pub fn heal(&self) {
        match &self.0 {
            Kind::Frames(frames) => frames.0.lock().unwrap().fault = None,
            Kind::Files(files) => files.faults.heal(),
        }
    }

    pub fn is_crashed(&self) -> bool {
        match &self.0 {
            Kind::Frames(frames) => frames.0.lock().unwrap().is_crashed,
            Kind::Files(files) => files.faults.is_crashed(),
        }
    }

    /// The process ends: what is not certain is there, or not.
    pub fn crash(&self, rng: &mut Rng) {
        match &self.0 {
            Kind::Frames(frames) => frames.crash(rng),
            Kind::Files(files) => files.crash(rng),
        }
    }

    /// What is certain to be found.
    pub fn certain(&self) -> Recovered {
        match &self.0 {
            Kind::Frames(frames) => {
                let platter = frames.0.lock().unwrap();
                platter.found(|fate| fate == Fate::Certain)
            }
            Kind::Files(files) => files.certain(),
        }
    }

    /// Of a disk with files.
    pub(crate) fn folder(&self) -> Option<&Simulated> {
        match &self.0 {
            Kind::Frames(_) => None,
            Kind::Files(files) => Some(&files.folder),
        }
    }

    /// What a process has of it.
    pub fn open(&self) -> Box<dyn Durable> {
        match &self.0 {
            Kind::Frames(frames) => Box::new(frames.clone()),
            Kind::Files(files) => files.open(),
        }
    }
}

impl Frames {
    fn crash(&self, rng: &mut Rng) {
        let mut platter = self.0.lock().unwrap();
        if platter.is_crashed {
            platter.is_crashed = false;
            platter.fault = None;
        }
        platter
            .frames
            .retain(|(_, fate)| *fate == Fate::Certain || rng.bool());
        for (_, fate) in &mut platter.frames {
            *fate = Fate::Certain;
        }
    }
}

impl Platter {
    fn io(&mut self, is_sync: bool, frame: Frame) -> io::Result<()> {
        assert!(!self.is_crashed, "a process that has ended writes");
        self.ios += 1;
        let fault = match &mut self.fault {
            Some((0, fault)) => Some(*fault),
            Some((after, _)) => {
                *after -= 1;
                None
            }
            None => None,
        };
        let failed = |kind: io::ErrorKind| Err(io::Error::from(kind));
        match fault {
            None | Some(DiskFault::CrashAfter) => {}
            Some(DiskFault::CrashBefore) => {
                self.is_crashed = true;
                return failed(io::ErrorKind::Other);
            }
            // Until there is room again.
            Some(DiskFault::Full) if !is_sync => return failed(io::ErrorKind::StorageFull),
            Some(DiskFault::Full) => {}
            Some(DiskFault::Torn | DiskFault::SyncFails) => {
                self.fault = None;
                match is_sync {
                    true => self.meets(Fate::Written, Fate::Doubtful),
                    false => self.frames.push((Frame::Other, Fate::Written)),
                }
                return failed(io::ErrorKind::Other);
            }
        }
        match is_sync {
            true => self.meets(Fate::Written, Fate::Certain),
            false => self.frames.push((frame, Fate::Written)),
        }
        if fault == Some(DiskFault::CrashAfter) {
            self.is_crashed = true;
            return failed(io::ErrorKind::Other);
        }
        Ok(())
    }

    fn meets(&mut self, from: Fate, to: Fate) {
        let fates = self.frames.iter_mut().map(|(_, fate)| fate);
        fates
            .filter(|fate| **fate == from)
            .for_each(|fate| *fate = to);
    }

    fn found(&self, is_there: impl Fn(Fate) -> bool) -> Recovered {
        let (mut checkpoint, mut boundaries) = (None, Vec::<Boundary>::new());
        for (frame, _) in self.frames.iter().filter(|(_, fate)| is_there(*fate)) {
            match frame {
                Frame::Boundary(boundary) => {
                    // The later one of an epoch counts, and what was recorded for later ones was never shown.
                    boundaries.retain(|other| other.epoch < boundary.epoch);
                    boundaries.push(boundary.clone());
                }
                Frame::Checkpoint(found) => checkpoint = Some((**found).clone()),
                Frame::Other => {}
            }
        }
        let epoch = checkpoint
            .as_ref()
            .map_or(0, |c: &Checkpoint| c.boundary.epoch);
        boundaries.retain(|boundary| boundary.epoch > epoch);
        (checkpoint, boundaries)
    }
}

impl Durable for Frames {
    fn record(&mut self, boundary: &Boundary) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.io(false, Frame::Boundary(boundary.clone()))?;
        platter.io(true, Frame::Other)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        for _ in &checkpoint.replicas {
            platter.io(false, Frame::Other)?;
        }
        platter.io(true, Frame::Other)?;
        platter.io(false, Frame::Checkpoint(Box::new(checkpoint.clone())))?;
        platter.io(true, Frame::Other)
    }

    fn recover(&mut self) -> io::Result<Recovered> {
        Ok(self.0.lock().unwrap().found(|_| true))
    }
}
