use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use belvedere_connector::{Code, Error, Result};
use tempfile::{TempDir, TempPath};

use super::stage::{Sink, Stage, given_up};
use crate::kind::Kind;

/// Held by the process that writes: what is left of one that died is known by it.
const LOCK: &str = "lock";
/// What becomes the target, or holds it.
const DATA: &str = "data";
/// Of a stage's name: `.orders.Xk3f9q.copy` beside `orders`. What begins with a dot is never read as data.
const ENDING: &str = ".copy";
const BUFFER: usize = 1 << 20;

/// A hidden folder beside the target, on the same file system, so that one rename shows everything.
#[derive(Debug)]
pub struct LocalStage {
    target: PathBuf,
    is_file: bool,
    overwrite: bool,
    /// All folders made for data, to be made durable.
    folders: BTreeSet<PathBuf>,
    folder: TempDir,
    _lock: File,
}

impl LocalStage {
    pub fn open(target: &Path, is_file: bool, overwrite: bool) -> Result<Self> {
        let (parent, name) = parent(target)?;
        check(target, is_file, overwrite)?;
        let failed = |e| failed(target, e);
        let prefix = format!(".{name}.");
        remove_leftovers(parent, &prefix);
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(ENDING)
            .tempdir_in(parent)
            .map_err(failed)?;
        // Locked before it has its name: whoever finds it finds it locked.
        let new = folder.path().join("new");
        let lock = File::create_new(&new).map_err(failed)?;
        // Without locks nothing is cleaned up after a crash, and nothing else is lost.
        let _ = lock.try_lock();
        fs::rename(&new, folder.path().join(LOCK)).map_err(failed)?;
        let data = folder.path().join(DATA);
        fs::create_dir(&data).map_err(failed)?;
        Ok(Self {
            target: target.to_path_buf(),
            is_file,
            overwrite,
            folders: BTreeSet::from([data]),
            folder,
            _lock: lock,
        })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    fn show(&self) -> io::Result<()> {
        let data = self.data();
        if self.is_file {
            let (_, name) = parent(&self.target).map_err(io::Error::other)?;
            let staged = data.join(name);
            return match self.overwrite {
                true => fs::rename(staged, &self.target),
                false => {
                    let staged = TempPath::try_from_path(staged)?;
                    staged.persist_noclobber(&self.target).map_err(|e| e.error)
                }
            };
        }
        // A rename replaces an empty folder, and no other.
        match fs::rename(&data, &self.target) {
            Err(e) if self.overwrite && is_occupied(&e) => {
                only_data(&self.target).map_err(io::Error::other)?;
                exchange(&data, &self.target, &self.folder.path().join("old"))
            }
            shown => shown,
        }
    }
}

impl Stage for LocalStage {
    fn create(&mut self, path: &str) -> Result<Box<dyn Sink>> {
        let mut folder = self.data();
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            folder.push(part);
            if self.folders.insert(folder.clone()) {
                fs::create_dir(&folder).map_err(|e| failed(&self.target, e))?;
            }
        }
        let file = File::create_new(folder.join(name)).map_err(|e| failed(&self.target, e))?;
        Ok(Box::new(LocalSink {
            target: self.target.clone(),
            file: BufWriter::with_capacity(BUFFER, file),
        }))
    }

    fn publish(&mut self, wanted: &dyn Fn() -> bool) -> Result<()> {
        let failed = |e| failed(&self.target, e);
        for folder in &self.folders {
            synced(folder).map_err(failed)?;
        }
        if !wanted() {
            return Err(given_up());
        }
        self.show().map_err(failed)?;
        let (parent, _) = parent(&self.target)?;
        synced(parent).map_err(|e| {
            Error::new(
                Code::Unreachable,
                format!(
                    "{} is written and complete, but the system does not say that it would survive a power failure",
                    self.target.display()
                ),
            )
            .caused_by(e)
        })
    }
}

struct LocalSink {
    target: PathBuf,
    file: BufWriter<File>,
}

impl Sink for LocalSink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|e| failed(&self.target, e))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let file = self.file.into_inner().map_err(|e| e.into_error());
        file.and_then(|file| file.sync_all())
            .map_err(|e| failed(&self.target, e))
    }
}

/// The folder it is to be in, which must be there, and its name.
fn parent(target: &Path) -> Result<(&Path, &str)> {
    let name = target.file_name().and_then(|name| name.to_str());
    let (Some(parent), Some(name)) = (target.parent(), name) else {
        return Err(Error::new(
            Code::InvalidUrl,
            format!("{} is not the name of a file or folder", target.display()),
        ));
    };
    if !parent.is_dir() {
        return Err(Error::new(
            Code::Unreachable,
            format!("there is no folder {}", parent.display()),
        )
        .help("Create it first"));
    }
    Ok((parent, name))
}

/// Whether what is there already allows it. Asked again by the rename itself.
fn check(target: &Path, is_file: bool, overwrite: bool) -> Result<()> {
    let there = match fs::metadata(target) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        there => there.map_err(|e| failed(target, e))?,
    };
    let occupied = |message: String| Error::new(Code::TargetExists, message);
    match (is_file, there.is_dir()) {
        (true, true) => Err(occupied(format!("{} is a folder", target.display()))
            .help("Name a file that is not there, or end the path with / to write a folder")),
        (false, false) => Err(occupied(format!("{} is a file", target.display()))
            .help("Name a folder that is not there")),
        (true, false) if overwrite => Ok(()),
        (false, true) if overwrite => only_data(target),
        (false, true) if is_empty(target).map_err(|e| failed(target, e))? => Ok(()),
        _ => Err(exists(target)),
    }
}

fn exists(target: &Path) -> Error {
    Error::new(
        Code::TargetExists,
        format!("{} already exists", target.display()),
    )
    .help("Choose another name, or replace it with (OVERWRITE)")
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// A folder is only replaced if all that would be lost with it is data: one wrong word must not remove a home.
fn only_data(folder: &Path) -> Result<()> {
    let failed = |e| failed(folder, e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            only_data(&path)?;
            continue;
        }
        if !kind.is_file() || Kind::of_name(&entry.file_name().to_string_lossy()).is_none() {
            return Err(Error::new(
                Code::TargetExists,
                format!(
                    "{} is not replaced: {} is in it, which is no data file",
                    folder.display(),
                    path.display()
                ),
            )
            .help("Choose another name, or remove the folder yourself"));
        }
    }
    Ok(())
}

fn is_occupied(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
    )
}

/// Put the new folder in the old one's place. The old one is then in the stage, and goes with it.
fn exchange(new: &Path, target: &Path, old: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
            // The kernel or the file system does not know how.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            exchanged => return exchanged.map_err(io::Error::from),
        }
    }
    // For a moment there is neither.
    fs::rename(target, old)?;
    fs::rename(new, target).inspect_err(|_| {
        let _ = fs::rename(old, target);
    })
}

fn synced(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Remove the stages of the same target whose processes have died: their locks are free.
fn remove_leftovers(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let middle = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(ENDING));
        if middle.is_none_or(|middle| middle.contains('.')) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => {
                // If it cannot be removed it stays what it was: hidden.
                let _ = fs::remove_dir_all(entry.path());
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

fn failed(target: &Path, e: io::Error) -> Error {
    let e = match e.downcast::<Error>() {
        Ok(own) => return own,
        Err(e) => e,
    };
    let shown = target.display();
    let (code, message) = match e.kind() {
        _ if is_occupied(&e) => return exists(target),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            Code::PermissionDenied,
            format!("{shown} may not be written"),
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            Code::LimitExceeded,
            format!("there is no room left to write {shown}"),
        ),
        ErrorKind::InvalidFilename => (
            Code::InvalidUrl,
            format!("{shown} cannot be written: a name is too long for the file system"),
        ),
        _ => (Code::Unreachable, format!("{shown} cannot be written: {e}")),
    };
    Error::new(code, message).caused_by(e)
}
