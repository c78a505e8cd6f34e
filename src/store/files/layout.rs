//! What is around the content of a file: that it is one of ours, of which format, and whole.

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::FileError;

/// Header, trailer, and what all content is aligned to.
pub(super) const UNIT: usize = 64;

/// Of some bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// A kind of file, and the newest format of it that is known here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileKind {
    /// Eight bytes: the first of a file, and of its trailer.
    pub(crate) magic: [u8; 8],
    pub(crate) format: u32,
}

impl FileKind {
    /// magic │ format (u32) │ 0 … │ checksum (u64)
    pub(crate) fn header(self) -> [u8; UNIT] {
        let mut header = [0; UNIT];
        header[..8].copy_from_slice(&self.magic);
        header[8..12].copy_from_slice(&self.format.to_le_bytes());
        sealed(header)
    }

    /// The format of a file that is ours and not newer.
    pub(crate) fn check_header(self, file: &str, bytes: &[u8]) -> Result<u32, FileError> {
        let damaged = |what| FileError::damaged(file, "header", what);
        let header = bytes.get(..UNIT).ok_or_else(|| damaged("it is cut off"))?;
        if header[..8] != self.magic {
            return Err(damaged("it is no file of this kind"));
        }
        if !is_sealed(header) {
            return Err(damaged("its checksum is another"));
        }
        let found = u32_at(header, 8);
        let known = self.format;
        match found <= known {
            true => Ok(found),
            false => Err(FileError::NewerFormat {
                file: file.to_string(),
                found,
                known,
            }),
        }
    }

    /// magic │ where the footer begins │ its length │ its checksum │ rows │ 0 … │ checksum (u64 each)
    pub(super) fn trailer(self, at: u64, footer: &[u8], rows: u64) -> [u8; UNIT] {
        let mut trailer = [0; UNIT];
        trailer[..8].copy_from_slice(&self.magic);
        let words = [at, footer.len() as u64, checksum(footer), rows];
        for (place, word) in trailer[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        sealed(trailer)
    }
}

/// A file's parts, once header, footer and trailer were found to be whole.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) footer: Bytes,
    /// Where the content ends that begins behind the header.
    pub(super) content_end: u64,
    pub(super) rows: u64,
    /// Stands for the file.
    pub(super) checksum: u64,
}

impl Parts {
    pub(super) fn of(kind: FileKind, file: &str, bytes: &Bytes) -> Result<Self, FileError> {
        kind.check_header(file, bytes)?;
        let damaged = |part: &str, what| FileError::damaged(file, part, what);
        let cut = || damaged("trailer", "the file is cut off");
        let end = bytes.len().checked_sub(UNIT).filter(|end| *end >= UNIT);
        let end = end.ok_or_else(cut)?;
        let trailer = &bytes[end..];
        if trailer[..8] != kind.magic {
            return Err(cut());
        }
        if !is_sealed(trailer) {
            return Err(damaged("trailer", "its checksum is another"));
        }
        let [at, len, sum, rows] = [8, 16, 24, 32].map(|i| u64_at(trailer, i));
        let padded = len.checked_next_multiple_of(UNIT as u64);
        if padded.and_then(|len| at.checked_add(len)) != Some(end as u64) || at < UNIT as u64 {
            return Err(damaged("trailer", "its footer lies elsewhere"));
        }
        let (from, to) = (at as usize, (at + len) as usize);
        let footer = bytes.slice(from..to);
        if checksum(&footer) != sum || bytes[to..end].iter().any(|byte| *byte != 0) {
            return Err(damaged("footer", "its checksum is another"));
        }
        Ok(Self {
            footer,
            content_end: at,
            rows,
            checksum: u64_at(trailer, UNIT - 8),
        })
    }
}

fn sealed(mut unit: [u8; UNIT]) -> [u8; UNIT] {
    let sum = checksum(&unit[..UNIT - 8]);
    unit[UNIT - 8..].copy_from_slice(&sum.to_le_bytes());
    unit
}

fn is_sealed(unit: &[u8]) -> bool {
    checksum(&unit[..UNIT - 8]) == u64_at(unit, UNIT - 8)
}

/// # Panics
/// If there are not as many bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// # Panics
/// If there are not as many bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
