use std::path::Path;
use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error, Result};
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use crate::pool::FileId;
use crate::{failure, functions};

/// The one connection that may write. Nothing else of this connector writes.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    pub file: FileId,
}

impl Writer {
    pub fn open(path: &Path) -> Result<Self> {
        let file = FileId::of(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failure::of)?;
        // Of what a crash of the system takes from us nothing is believed afterwards.
        let set_up = || -> rusqlite::Result<bool> {
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            // What refers to a row that is not there is refused, whatever this build's default.
            connection.pragma_update(None, "foreign_keys", true)?;
            functions::register(&connection)?;
            connection.is_readonly(MAIN_DB)
        };
        match set_up().map_err(failure::of)? {
            true => Err(read_only()),
            false => Ok(Self { connection, file }),
        }
    }

    /// A transaction that has the right to write from its beginning, or waits for it so long.
    pub fn locked<T>(
        &mut self,
        patience: Duration,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        self.connection.busy_timeout(patience).map_err(refused)?;
        let transaction = self.begin()?;
        let done = work(&transaction)?;
        transaction
            .commit()
            .map_err(|e| match e.sqlite_error_code() {
                // What is checked at the end.
                Some(ErrorCode::ConstraintViolation) => super::write::refused(e),
                _ => refused(e),
            })?;
        Ok(done)
    }

    /// What is committed meanwhile is there also after a crash of the system. A statement that is late ends.
    pub fn durable<T>(
        &mut self,
        deadline: Option<Instant>,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        const OPERATIONS_BETWEEN_CHECKS: i32 = 4000;
        let late = move || deadline.is_some_and(|at| Instant::now() >= at);
        self.connection
            .progress_handler(OPERATIONS_BETWEEN_CHECKS, Some(late))
            .map_err(refused)?;
        let set = |writer: &Self, how: &str| {
            let set = writer.connection.pragma_update(None, "synchronous", how);
            set.map_err(refused)
        };
        set(self, "FULL")?;
        let done = work(self);
        set(self, "NORMAL")?;
        self.connection
            .progress_handler(0, None::<fn() -> bool>)
            .map_err(refused)?;
        done
    }

    /// While nobody can commit. Nothing is written: a commit would have to wait for readers of a file without a write-ahead log.
    pub fn alone<T>(&mut self, patience: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.connection.busy_timeout(patience).map_err(refused)?;
        let transaction = self.begin()?;
        let done = work();
        transaction.rollback().map_err(refused)?;
        done
    }

    fn begin(&mut self) -> Result<Transaction<'_>> {
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        begun.map_err(refused)
    }
}

fn refused(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => read_only(),
        _ => failure::of(error),
    }
}

fn read_only() -> Error {
    let message = "the database file is read-only, and is to be written: by writes, or for changes = 'triggers'";
    Error::new(Code::PermissionDenied, message)
        .help("Let this process write the file and its folder, or use changes = 'poll'")
}
