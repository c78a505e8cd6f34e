use std::io;
use std::sync::Arc;

/// What is wrong with a file of ours. A clone tells the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FileError {
    /// There is no room. What was there before is as it was.
    #[error("there is no room on the disk for {file}: free some, it is tried again then")]
    Full {
        file: String,
        #[source]
        cause: Arc<io::Error>,
    },
    #[error("{file} cannot be {doing}")]
    Io {
        file: String,
        doing: &'static str,
        #[source]
        cause: Arc<io::Error>,
    },
    /// Bytes are not those that were written.
    #[error(
        "{file} is damaged ({part}: {what}): put the file back from a backup, or have its content made anew; other files \
         are not concerned"
    )]
    Damaged {
        file: String,
        part: String,
        what: &'static str,
    },
    #[error(
        "{file} was written by a newer version (format {found}, this one knows {known}): open it with that version"
    )]
    NewerFormat {
        file: String,
        found: u32,
        known: u32,
    },
    /// Rows that do not have the file's columns, or a type that files cannot have.
    #[error("rows cannot be written to {file}: {what}")]
    Rows { file: String, what: String },
}

impl FileError {
    pub(crate) fn io(file: &str, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| {
            let (file, cause) = (file.to_string(), Arc::new(cause));
            match cause.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::Full { file, cause }
                }
                _ => Self::Io { file, doing, cause },
            }
        }
    }

    pub(crate) fn damaged(file: &str, part: impl Into<String>, what: &'static str) -> Self {
        Self::Damaged {
            file: file.to_string(),
            part: part.into(),
            what,
        }
    }
}

impl From<FileError> for io::Error {
    fn from(e: FileError) -> Self {
        let kind = match &e {
            FileError::Full { .. } => io::ErrorKind::StorageFull,
            FileError::Io { cause, .. } => cause.kind(),
            FileError::Damaged { .. } => io::ErrorKind::InvalidData,
            FileError::NewerFormat { .. } => io::ErrorKind::Unsupported,
            FileError::Rows { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, e)
    }
}
