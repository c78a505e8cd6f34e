//! What is asked of a file system: so little that a test can be one.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;

use super::FileError;

/// What a file's name ends with until it is whole.
pub(super) const UNFINISHED: &str = ".new";

/// A folder of files, by name.
pub trait Folder: Debug + Send + Sync {
    /// A new file; one of that name is gone.
    ///
    /// # Errors
    /// The file system's.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// A file's content, which the result shares with it.
    ///
    /// # Errors
    /// The file system's.
    fn read(&self, name: &str) -> io::Result<Bytes>;

    /// Durable on return.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// That the folder has the files it has. Durable on return.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self) -> io::Result<()>;

    /// Who has read it keeps it. May come back after a crash.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// # Errors
    /// The file system's.
    fn names(&self) -> io::Result<Vec<String>>;

    /// How errors name a file.
    fn place(&self, name: &str) -> String;
}

/// A file that is being written.
pub trait NewFile: Write + Debug + Send + Sync {
    /// Make room: zeros follow what is written, until they are written over.
    ///
    /// # Errors
    /// The file system's.
    fn reserve(&mut self, bytes: usize) -> io::Result<()>;

    /// Its content is durable on return; not its name.
    ///
    /// # Errors
    /// The file system's. After one, nobody knows what of the content is durable, nor will a later call tell.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct DiskFolder(PathBuf);

impl DiskFolder {
    /// Made where it is not there.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(FileError::io(&path.to_string_lossy(), "made"))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Folder for DiskFolder {
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(File::create(self.0.join(name))?))
    }

    fn read(&self, name: &str) -> io::Result<Bytes> {
        let file = File::open(self.0.join(name))?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: the file is of the data directory, which one process owns, and which writes no file a second time.
        #[allow(unsafe_code)]
        let mapped = unsafe { Mmap::map(&file) }?;
        Ok(Bytes::from_owner(mapped))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        // Elsewhere a folder cannot be opened, nor need it be.
        match cfg!(unix) {
            true => File::open(&self.0)?.sync_all(),
            false => Ok(()),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn place(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl NewFile for File {
    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        let at = self.stream_position()?;
        // Written, and not only allocated: what was never written costs each sync the note that it was.
        io::copy(&mut io::repeat(0).take(bytes as u64), self)?;
        self.seek(SeekFrom::Start(at))?;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Remove the files that nobody refers to: those that were replaced, and what a process left that ended while it wrote.
/// `is_kept` knows the names that are referred to.
///
/// # Errors
/// The file system's; what it has removed by then is gone.
pub fn sweep(folder: &dyn Folder, is_kept: impl Fn(&str) -> bool) -> Result<(), FileError> {
    let names = folder.names();
    for name in names.map_err(FileError::io(&folder.place(""), "listed"))? {
        if name.ends_with(UNFINISHED) || !is_kept(&name) {
            let removed = folder.remove(&name);
            removed.map_err(FileError::io(&folder.place(&name), "removed"))?;
        }
    }
    Ok(())
}
