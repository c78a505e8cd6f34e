use belvedere_connector::{Code, Error, Result};

/// Files that nobody sees yet. Dropping it removes them.
pub trait Stage: Send {
    /// Begin a file. `path` is its name, below its folders.
    fn create(&mut self, path: &str) -> Result<Box<dyn Sink>>;

    /// Make all files that were finished durable, and then seen, as long as `wanted` says so; else this is
    /// [`given_up`].
    fn publish(&mut self, wanted: &dyn Fn() -> bool) -> Result<()>;
}

/// One file being written. Dropping it unfinished gives it up.
pub trait Sink: Send {
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    fn finish(self: Box<Self>) -> Result<()>;
}

/// Who wanted the files has gone, or does not wait any longer.
pub fn given_up() -> Error {
    Error::new(
        Code::Timeout,
        "the time was over before the files were complete",
    )
}
