//! Boundaries, each durable before the next: files that are only ever appended to.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use belvedere_connector::Position;

use super::pieces::{name_of, number_of};
use crate::replication::state::{Boundary, Positions};
use crate::store::{FileError, FileKind, Folder, NewFile, checksum};

const KIND: FileKind = FileKind {
    magic: *b"BELVEPOC",
    format: 2,
};
const SUFFIX: &str = ".epochs";
/// Bytes of a file.
pub(super) const ROOM: usize = 1 << 20;
/// Bytes before a boundary: its length, and a checksum.
const HEAD: usize = 16;

#[derive(Debug)]
pub(super) struct Log {
    folder: Arc<dyn Folder>,
    /// Bytes of a file. They are there before they are written to: a sync then has no length to make durable, which takes a
    /// fraction of the time.
    room: usize,
    /// Files that are there, or may be, by number, with the newest epoch that may be in them.
    files: BTreeMap<u64, u64>,
    next: u64,
    open: Option<Open>,
    /// The last one that is durable, here or in a checkpoint: of the next only what is new is written. A position may be long,
    /// and most epochs have one source that has moved.
    last: Positions,
}

/// The file that boundaries are appended to. All that is in it is durable.
#[derive(Debug)]
struct Open {
    number: u64,
    file: Box<dyn NewFile>,
    len: usize,
}

impl Log {
    pub(super) fn new(folder: Arc<dyn Folder>, names: &[String], room: usize) -> Self {
        let numbers = names.iter().filter_map(|name| number_of(name, SUFFIX));
        let files: BTreeMap<u64, u64> = numbers.map(|number| (number, u64::MAX)).collect();
        Self {
            folder,
            room,
            next: files.keys().last().map_or(0, |last| last + 1),
            files,
            open: None,
            last: Positions::new(),
        }
    }

    /// # Errors
    /// The disk's. It may be found all the same; the next one is in another file, and counts instead.
    pub(super) fn record(&mut self, boundary: &Boundary) -> Result<(), FileError> {
        let is_new =
            |(name, position): &(&String, &Position)| self.last.get(*name) != Some(*position);
        let moved = boundary.positions.iter().filter(is_new);
        let moved = Boundary {
            epoch: boundary.epoch,
            positions: moved.map(|(name, at)| (name.clone(), at.clone())).collect(),
            clock: boundary.clock,
        };
        let json = serde_json::to_vec(&moved).map_err(|e| {
            let place = self.folder.place("");
            FileError::io(&place, "written")(e.into())
        })?;
        let is_full = |open: &Open| open.len + HEAD + json.len() > self.room;
        let open = match self.open.take_if(|open| !is_full(open)) {
            Some(open) => open,
            None => self.create()?,
        };
        let Open { number, file, len } = open;
        let newest = self.files.entry(number).or_default();
        *newest = boundary.epoch.max(*newest);
        let frame = frame(number, &json);
        let mut file = file;
        let written = file.write_all(&frame).and_then(|()| file.sync());
        let place = self.folder.place(&name_of(number, SUFFIX));
        written.map_err(FileError::io(&place, "written"))?;
        let len = len + frame.len();
        self.open = Some(Open { number, file, len });
        self.last.extend(moved.positions);
        Ok(())
    }

    fn create(&mut self) -> Result<Open, FileError> {
        let number = self.next;
        self.next += 1;
        self.files.insert(number, 0);
        let name = name_of(number, SUFFIX);
        let create = || -> io::Result<Box<dyn NewFile>> {
            let mut file = self.folder.create(&name)?;
            file.write_all(&KIND.header())?;
            file.reserve(self.room)?;
            file.sync()?;
            self.folder.sync()?;
            Ok(file)
        };
        let file = create().map_err(FileError::io(&self.folder.place(&name), "written"))?;
        let len = KIND.header().len();
        Ok(Open { number, file, len })
    }

    /// Boundaries up to this one are not needed any more: it is in a checkpoint.
    pub(super) fn forget(&mut self, boundary: &Boundary) {
        let epoch = boundary.epoch;
        self.last = boundary.positions.clone();
        // A checkpoint takes its time: now is better than with some epoch that somebody waits for.
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.len > self.room / 2)
            && let Ok(open) = self.create()
        {
            self.open = Some(open);
        }
        let (folder, open) = (&self.folder, self.open.as_ref().map(|open| open.number));
        self.files.retain(|number, newest| {
            *newest > epoch || Some(*number) == open || {
                let removed = folder.remove(&name_of(*number, SUFFIX));
                removed.is_err_and(|e| e.kind() != io::ErrorKind::NotFound)
            }
        });
    }

    /// Those after a checkpoint's. A file's end may be torn: nobody was told that it is durable.
    ///
    /// # Errors
    /// The disk's, and those of a newer format.
    pub(super) fn recover(&mut self, checkpoint: &Boundary) -> Result<Vec<Boundary>, FileError> {
        let mut boundaries: Vec<Boundary> = Vec::new();
        for (&number, newest) in &mut self.files {
            let name = name_of(number, SUFFIX);
            let place = self.folder.place(&name);
            let bytes = self.folder.read(&name);
            let bytes = bytes.map_err(FileError::io(&place, "read"))?;
            *newest = 0;
            match KIND.check_header(&place, &bytes) {
                Ok(_) => {}
                // It was being made, or has lost what it had: less is replayed as it was.
                Err(FileError::Damaged { .. }) => {
                    tracing::warn!(file = place, "a log of epochs is not whole");
                    continue;
                }
                Err(e) => return Err(e),
            }
            let mut rest = &bytes[KIND.header().len()..];
            while let Some((boundary, len)) = boundary(number, rest) {
                *newest = boundary.epoch.max(*newest);
                // The later one of an epoch counts, and what was recorded for later ones was never shown.
                boundaries.retain(|other| other.epoch < boundary.epoch);
                boundaries.push(boundary);
                rest = &rest[len..];
            }
            if rest.iter().any(|byte| *byte != 0) {
                tracing::warn!(file = place, "a log of epochs has a torn end");
            }
        }
        let epoch = checkpoint.epoch;
        boundaries.retain(|boundary| boundary.epoch > epoch);
        // Behind one that is lost, none can be replayed as it was.
        let is_next = |(boundary, epoch): (&Boundary, u64)| boundary.epoch == epoch;
        let whole = boundaries
            .iter()
            .zip(epoch + 1..)
            .take_while(|pair| is_next(*pair));
        let whole = whole.count();
        boundaries.truncate(whole);
        self.last = checkpoint.positions.clone();
        for boundary in &mut boundaries {
            self.last.extend(std::mem::take(&mut boundary.positions));
            boundary.positions = self.last.clone();
        }
        Ok(boundaries)
    }
}

/// length (u64) │ checksum (u64) │ JSON
fn frame(number: u64, json: &[u8]) -> Vec<u8> {
    let mut frame = (json.len() as u64).to_le_bytes().to_vec();
    frame.extend_from_slice(&seal(number, json).to_le_bytes());
    frame.extend_from_slice(json);
    frame
}

/// Of the file's number, too: blocks of a disk may have what another file had there.
fn seal(number: u64, json: &[u8]) -> u64 {
    checksum(&[&number.to_le_bytes(), json].concat())
}

/// The first one, and how long it is; none if it is not whole.
fn boundary(number: u64, bytes: &[u8]) -> Option<(Boundary, usize)> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let json = rest.get(..len)?;
    let is_whole = len > 0 && seal(number, json) == u64::from_le_bytes(*sum);
    let boundary = is_whole.then(|| serde_json::from_slice(json).ok())??;
    Some((boundary, HEAD + len))
}
