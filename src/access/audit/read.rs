use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::AuditError;
use super::chain::{Flaw, Line};
use super::files::{self, LONGEST};

/// Read at once.
const BLOCK: u64 = 64 << 10;

/// Records, newest first. As much of a file is in memory as its longest record takes, and a block.
#[derive(Debug)]
pub struct Newest {
    folder: PathBuf,
    /// Those that are still to be read, newest last.
    files: Vec<(u64, PathBuf)>,
    open: Option<Backwards>,
    /// Older ones are not asked for.
    from: u64,
}

/// A file's lines, from its end.
#[derive(Debug)]
struct Backwards {
    file: File,
    /// Where the block begins that was read last.
    at: u64,
    /// What was read and is not taken yet.
    bytes: Vec<u8>,
    is_at_end: bool,
}

impl Newest {
    /// Records from this number on.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn of(folder: &Path, from: u64) -> Result<Self, AuditError> {
        Ok(Self {
            folder: folder.to_path_buf(),
            files: files::list(folder).map_err(AuditError::io("read", folder))?,
            open: None,
            from,
        })
    }

    /// Older ones are not asked for any more.
    pub fn end(&mut self) {
        self.open = None;
        self.files.clear();
    }

    /// The next older ones, as many as these at most; none if there are none left. A line that is none is what is wrong with it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next(&mut self, most: usize) -> Result<Vec<Result<Line, Flaw>>, AuditError> {
        let mut found = Vec::new();
        while found.len() < most {
            let Some(open) = &mut self.open else {
                let Some((_, path)) = self.files.pop() else {
                    break;
                };
                self.open = match Backwards::open(&path) {
                    Ok(open) => Some(open),
                    // It was removed meanwhile, and all before it.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                    Err(e) => return Err(AuditError::io("read", &path)(e)),
                };
                continue;
            };
            let line = open.next().map_err(AuditError::io("read", &self.folder))?;
            let Some(line) = line else {
                self.open = None;
                continue;
            };
            let line = Line::read(&line);
            if line.as_ref().is_ok_and(|line| line.seq < self.from) {
                self.end();
                break;
            }
            found.push(line);
        }
        Ok(found)
    }
}

impl Backwards {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            at: file.metadata()?.len(),
            file,
            bytes: Vec::new(),
            is_at_end: true,
        })
    }

    /// The line before, without its line break. What is behind the last line break is none yet.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.bytes.iter().rposition(|byte| *byte == b'\n') {
                let line = self.bytes.split_off(end + 1);
                self.bytes.pop();
                if !std::mem::take(&mut self.is_at_end) {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.at == 0 {
                let line = std::mem::take(&mut self.bytes);
                let is_line = !line.is_empty() && !std::mem::take(&mut self.is_at_end);
                return Ok(is_line.then_some(line));
            }
            let size = BLOCK.min(self.at);
            self.at -= size;
            self.file.seek(SeekFrom::Start(self.at))?;
            let mut block = vec![0; usize::try_from(size).unwrap_or_default()];
            self.file.read_exact(&mut block)?;
            // Of a line that is longer than any record, the rest is none, either.
            if self.bytes.len() <= LONGEST {
                block.append(&mut self.bytes);
            }
            self.bytes = block;
        }
    }
}
