use std::time::Duration;

use arrow::datatypes::SchemaRef;
use belvedere_connector::Code;

/// What goes wrong with a source's streams, or its discovery, until it is taken back.
#[derive(Debug, Clone, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The system cannot be asked at all: discovery and the first poll of every stream fail with this code.
    Down(Code),
    /// Each stream ends with this code in place of its batch of this number, counted from 0.
    FailAt { batch: usize, code: Code },
    /// Each batch takes this long.
    Slow(Duration),
    /// Each stream gives this many batches and then never ends.
    HangAfter(usize),
    /// Batches have this schema instead of the one declared: a source that breaks its contract.
    WrongSchema(SchemaRef),
}

/// What goes wrong with the stream of changes; once, but for what stalls.
#[derive(Debug, Clone, Default)]
pub enum LogFault {
    /// Nothing.
    #[default]
    None,
    /// The connection is cut after so many messages more.
    CutAfter(usize),
    /// Nothing comes, though there is something, until it is taken back.
    Stall,
    /// The next acknowledgement fails, and was not heard.
    AcknowledgeLost,
    /// The next acknowledgement was heard, but its reader is told that it failed.
    AcknowledgeUnheard,
}

/// What goes wrong with the next write.
#[derive(Debug, Clone, Copy, Default)]
pub enum WriteFault {
    /// Nothing.
    #[default]
    None,
    /// It is refused with this code, and nothing is written.
    Refused(Code),
    /// It is committed, and its writer is never told.
    AnswerLost,
}
