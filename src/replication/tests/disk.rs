//! A disk that fails at each of its I/Os, and what survives on it.

use std::io;
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use crate::replication::{Boundary, Checkpoint, Durable};

/// What goes wrong with an I/O.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFault {
    /// Nothing is written.
    Full,
    /// Some of it is written, which a checksum tells. A sync fails.
    Torn,
    /// What was written since the last sync may be there after a crash, or not; no later sync makes it certain.
    SyncFails,
    /// The process ends before it.
    CrashBefore,
    /// The process ends after it.
    CrashAfter,
}

pub const DISK_FAULTS: [DiskFault; 5] = [
    DiskFault::Full,
    DiskFault::Torn,
    DiskFault::SyncFails,
    DiskFault::CrashBefore,
    DiskFault::CrashAfter,
];

/// Frames in the order in which they were written. It is what the engine's own files will be: a log of boundaries, a
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
pub struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    pub fn fail(&self, after: usize, fault: DiskFault) {
        self.0.lock().unwrap().fault = Some((after, fault));
    }

    pub fn heal(&self) {
        self.0.lock().unwrap().fault = None;
    }

    pub fn is_crashed(&self) -> bool {
        self.0.lock().unwrap().is_crashed
    }
    /// The process ends: what is not certain is there, or not.
    pub fn crash(&self, rng: &mut Rng) {
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

    /// What is certain to be found.
    pub fn certain(&self) -> (Option<Checkpoint>, Vec<Boundary>) {
        self.0.lock().unwrap().found(|fate| fate == Fate::Certain)
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

    fn found(&self, is_there: impl Fn(Fate) -> bool) -> (Option<Checkpoint>, Vec<Boundary>) {
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

impl Durable for Disk {
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

    fn recover(&mut self) -> io::Result<(Option<Checkpoint>, Vec<Boundary>)> {
        Ok(self.0.lock().unwrap().found(|_| true))
    }
}
