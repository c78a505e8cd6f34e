//! The files: `NUMBER.jsonl`, by the number of their first record, and `head`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::chain::Head;

const SUFFIX: &str = ".jsonl";
const HEAD: &str = "head";
const DIGITS: usize = 20;
/// No record is longer.
pub const LONGEST: usize = 4 << 20;

/// The number of a file's first record, and where it is; oldest first. None if there is no folder.
pub fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let number = number.filter(|digits| digits.len() == DIGITS);
        if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
            files.push((number, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// The file whose first record has this number.
pub fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:0DIGITS$}{SUFFIX}"))
}

/// A file's name, for people.
pub fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// For its owner alone: what was asked is nobody else's business.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

pub fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    match folder.parent() {
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// That the folder has the files it has.
pub fn sync(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened, and need not.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// The head that was noted last. None: none was.
pub fn noted_head(folder: &Path) -> io::Result<Option<Result<Head, String>>> {
    match fs::read_to_string(folder.join(HEAD)) {
        Ok(text) => Ok(Some(match text.strip_suffix('\n') {
            Some(head) => head.parse(),
            None => Err("it has no end".to_string()),
        })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(Some(Err("no text".to_string()))),
        Err(e) => Err(e),
    }
}

/// In the place of the one before: there is one at any moment.
pub fn note_head(folder: &Path, head: &Head) -> io::Result<()> {
    let (path, new) = (folder.join(HEAD), folder.join("head.new"));
    let mut file = File::create(&new)?;
    file.write_all(format!("{head}\n").as_bytes())?;
    file.sync_data()?;
    drop(file);
    fs::rename(new, path)
}

/// The lines of a file in turn.
pub struct Lines {
    reader: BufReader<File>,
    /// Of the line, from 1.
    pub number: u64,
    /// Of the byte behind it.
    pub end: u64,
}

pub enum Piece {
    /// Without its line break.
    Line(Vec<u8>),
    /// What is behind the last line break.
    Rest(Vec<u8>),
    /// A line that is longer than any record, without what is in it.
    Endless,
}

impl Lines {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            reader: BufReader::with_capacity(1 << 16, File::open(path)?),
            number: 0,
            end: 0,
        })
    }

    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        let mut line = Vec::new();
        let most = LONGEST as u64 + 1;
        let mut read = (&mut self.reader).take(most).read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let mut piece = match is_whole {
            true => Piece::Line(line),
            false if read < most => Piece::Rest(line),
            false => Piece::Endless,
        };
        if matches!(piece, Piece::Endless) {
            let (more, ends) = self.skip_line()?;
            read += more;
            if !ends {
                piece = Piece::Rest(Vec::new());
            }
        }
        self.end += read;
        Ok(Some(piece))
    }

    /// How many bytes there were, and whether a line break was the last.
    fn skip_line(&mut self) -> io::Result<(u64, bool)> {
        let mut skipped = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let read = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(read);
            skipped += read as u64;
            if end.is_some() || read == 0 {
                return Ok((skipped, end.is_some()));
            }
        }
    }
}
