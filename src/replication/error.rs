use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source's. A transient one: the step is to be tried again, after a while.
    #[error(transparent)]
    Source(#[from] belvedere_connector::Error),
    /// What is to survive was not written: the step is to be tried again. Nothing shows it until then.
    #[error("epochs cannot be made durable: {0}")]
    Disk(#[from] io::Error),
    /// A checkpoint's content does not fit what it says it is of.
    #[error("the checkpoint cannot be read: {0}")]
    Checkpoint(crate::store::Error),
    #[error("there is no source {0}")]
    UnknownSource(String),
    #[error("there is a replica {0} already")]
    Exists(String),
    #[error("rows of replica {0} cannot be found by other columns: {1}")]
    Index(String, crate::store::Error),
    #[error("there is no replica {0}")]
    UnknownReplica(String),
}
