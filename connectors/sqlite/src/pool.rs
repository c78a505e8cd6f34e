use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error, Result};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{failure, functions};

/// Idle connections to one file, and how many may be in use.
#[derive(Debug)]
pub struct Pool {
    pub path: PathBuf,
    busy_timeout: Duration,
    pub max_connections: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Opened>>,
}

#[derive(Debug)]
struct Opened {
    connection: Connection,
    file: FileId,
}

/// A connection in use; goes back when dropped. Blocks: for threads that may.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    opened: Option<Opened>,
    _permit: OwnedSemaphorePermit,
}

/// Ends a running statement when dropped or at its deadline.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Pool {
    pub fn new(path: PathBuf, max_connections: usize, busy_timeout: Duration) -> Self {
        Self {
            path,
            busy_timeout,
            max_connections,
            permits: Arc::new(Semaphore::new(max_connections)),
            idle: Mutex::default(),
        }
    }

    /// The right to one connection, waited for until the deadline.
    pub async fn permit(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit> {
        let free = self.permits.clone().acquire_owned();
        let permit = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), free)
                .await
                .map_err(|_| Error::new(Code::Busy, "no connection became free in time"))?,
            None => free.await,
        };
        permit.map_err(|_| Error::internal("the pool is closed"))
    }

    /// The right to another connection, if one is free now.
    pub fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// A connection, unless all are in use. Blocks.
    pub fn lease_at_once(self: &Arc<Self>) -> Result<Lease> {
        let permit = self.try_permit();
        let busy = || Error::new(Code::Busy, "all connections are in use");
        self.lease(permit.ok_or_else(busy)?)
    }

    /// An idle connection, or a new one. Blocks.
    pub fn lease(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease> {
        let file = FileId::of(&self.path)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that was replaced is another database.
        idle.retain(|opened| opened.file == file);
        let opened = idle.pop();
        drop(idle);
        let opened = match opened {
            Some(opened) => opened,
            None => Opened {
                connection: self.open()?,
                file,
            },
        };
        Ok(Lease {
            pool: self.clone(),
            opened: Some(opened),
            _permit: permit,
        })
    }

    fn open(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(failure::of)?;
        let set_up = |connection: &Connection| {
            connection.busy_timeout(self.busy_timeout)?;
            // The schema is not ours: no functions with side effects, damage is noticed.
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "query_only", true)?;
            functions::register(connection)?;
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        };
        set_up(&connection).map_err(failure::of)?;
        Ok(connection)
    }
}

impl Lease {
    pub fn connection(&mut self) -> Result<&mut Connection> {
        match &mut self.opened {
            Some(opened) => Ok(&mut opened.connection),
            None => Err(Error::internal("a connection that was given back")),
        }
    }

    /// Let running statements end when stopped or late.
    pub fn stop_on(&mut self, stop: &Stop, deadline: Option<Instant>) -> Result<()> {
        const OPERATIONS_BETWEEN_CHECKS: i32 = 4000;
        let stop = stop.clone();
        let late = move || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        self.connection()?
            .progress_handler(
                OPERATIONS_BETWEEN_CHECKS,
                Some(move || stop.is_set() || late()),
            )
            .map_err(failure::of)
    }

    /// See one snapshot from the next read on.
    pub fn begin(&mut self) -> Result<()> {
        let connection = self.connection()?;
        connection.execute_batch("BEGIN").map_err(failure::of)
    }

    /// Read the version of what is seen, as this connection counts them: it is another one once something was committed by
    /// others since the last look.
    pub fn look(&mut self) -> Result<i64> {
        let version = self
            .connection()?
            .pragma_query_value(None, "data_version", |row| row.get(0));
        version.map_err(failure::of)
    }

    /// See what there is from then on.
    pub fn end(&mut self) -> Result<()> {
        roll_back(self.connection()?).map_err(failure::of)
    }

    /// How long to wait for another program's lock.
    pub fn patience(&mut self, patience: Patience) -> Result<()> {
        let timeout = match patience {
            Patience::Usual => self.pool.busy_timeout,
            Patience::None => Duration::ZERO,
        };
        self.connection()?
            .busy_timeout(timeout)
            .map_err(failure::of)
    }

    /// Of which file it is.
    pub fn file(&self) -> Result<FileId> {
        match &self.opened {
            Some(opened) => Ok(opened.file),
            None => Err(Error::internal("a connection that was given back")),
        }
    }

    /// That file is the one that is there now.
    pub fn is_current(&self) -> Result<bool> {
        Ok(FileId::of(&self.pool.path)? == self.file()?)
    }

    /// Both are of the file that is there now.
    pub fn shares_file_with(&self, other: &Self) -> bool {
        let file = |lease: &Self| lease.opened.as_ref().map(|opened| opened.file);
        let now = FileId::of(&self.pool.path).ok();
        now.is_some() && file(self) == now && file(other) == now
    }
}

/// Whether a lock of another program is waited for.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    Usual,
    None,
}

fn roll_back(connection: &Connection) -> rusqlite::Result<()> {
    match connection.is_autocommit() {
        true => Ok(()),
        false => connection.execute_batch("ROLLBACK"),
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that could not be set back is closed instead.
        if let Some(mut opened) = self.opened.take()
            && opened
                .connection
                .progress_handler(0, None::<fn() -> bool>)
                .is_ok()
            && roll_back(&opened.connection).is_ok()
            && opened
                .connection
                .busy_timeout(self.pool.busy_timeout)
                .is_ok()
        {
            let mut idle = self
                .pool
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            idle.push(opened);
        }
    }
}

/// Which file a path leads to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u64, u64);

impl FileId {
    /// The same as long as the file is.
    pub fn number(self) -> u64 {
        self.1
    }

    pub fn of(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| {
            let what = match error.kind() {
                std::io::ErrorKind::NotFound => "does not exist",
                _ => "cannot be read",
            };
            Error::new(
                Code::Unreachable,
                format!("the database file {} {what}", path.display()),
            )
            .caused_by(error)
        })?;
        if metadata.is_dir() {
            return Err(Error::new(
                Code::Unreachable,
                format!("{} is a folder, not a database file", path.display()),
            ));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Ok(Self(metadata.dev(), metadata.ino()))
        }
        #[cfg(not(unix))]
        Ok(Self(0, 0))
    }
}
