use std::fmt;
use std::sync::Arc;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller should do about an error; see [`Code::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// May be gone the next time: retry. Unknown errors are transient.
    Transient,
    /// Deterministic: the data or schema at the source must change first.
    Definite,
    /// The definition or query must change first.
    User,
    /// A bug of ours.
    Internal,
}

/// A stable name of what went wrong, the same in logs, `system.*` and on every protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The system cannot be reached, or the connection broke in mid-read.
    Unreachable,
    /// The system refused our user or password.
    Authentication,
    /// Our user may not read the named thing.
    PermissionDenied,
    /// The table is no longer there.
    TableMissing,
    /// A column is no longer there, or its type is no longer the one discovered: re-read the source and plan again.
    SchemaChanged,
    /// The source does not tell what changes, or cannot as it is set up.
    NoChangeCapture,
    /// The log of changes no longer reaches back to where we are: all is to be copied anew.
    LogTruncated,
    /// Where we are is not in the log of changes: the source was restored from a backup, or is another. All is to be copied anew.
    LogRewound,
    /// A value that does not fit the type its column is read as.
    ValueOutOfRange,
    /// A text that is no value of the type of its column: not one of an enum's, no JSON.
    InvalidValue,
    /// The deadline passed, here or at the source.
    Timeout,
    /// No connection became free within the deadline.
    Busy,
    /// The reader went away.
    Cancelled,
    /// A limit on memory or size was met.
    LimitExceeded,
    /// The URL of a source cannot be understood.
    InvalidUrl,
    /// An unknown option, or a value it does not take.
    InvalidOption,
    /// A secret that is a literal, or that cannot be resolved.
    InvalidSecret,
    /// A file that is not what its name says.
    MalformedFile,
    /// Something is already where rows are to be written.
    TargetExists,
    /// The source is not to be written to, or none of its kind is.
    NotWritable,
    /// What was to be written breaks a rule of the table; nothing was.
    Violates(Constraint),
    /// Somebody else has changed what was to be written; nothing was.
    Conflict,
    /// The connection broke between the commit and its answer: what was written is there, or none of it is.
    OutcomeUnknown,
    /// The source refused a statement for another reason.
    SourceRefused,
    /// The request is not one this source declared it can answer, or another broken invariant: a bug.
    Internal,
}

impl Code {
    pub fn kind(self) -> Kind {
        use Code::*;
        match self {
            Unreachable | Timeout | Busy | Cancelled | SourceRefused | Conflict => Kind::Transient,
            // Of what came of a write nobody knows, so that it is not for a machine to repeat it.
            PermissionDenied | TableMissing | SchemaChanged | ValueOutOfRange | InvalidValue
            | MalformedFile | NoChangeCapture | LogTruncated | LogRewound | OutcomeUnknown => {
                Kind::Definite
            }
            Authentication | LimitExceeded | InvalidUrl | InvalidOption | InvalidSecret
            | TargetExists | NotWritable | Violates(_) => Kind::User,
            Internal => Kind::Internal,
        }
    }
}

/// A rule of a table, by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Constraint {
    Unique,
    ForeignKey,
    NotNull,
    Check,
    /// An exclusion, or one that a trigger keeps.
    Other,
}

impl Constraint {
    /// SQLSTATE of its class.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::Unique => "23505",
            Self::ForeignKey => "23503",
            Self::NotNull => "23502",
            Self::Check => "23514",
            Self::Other => "23000",
        }
    }

    /// What was to be written, in words that go on with the table's or the constraint's name.
    pub fn broken(self) -> &'static str {
        match self {
            Self::Unique => "a row would be there twice under one key",
            Self::ForeignKey => "a row refers to one that is not there, or is referred to",
            Self::NotNull => "a column that takes no NULL would have one",
            Self::Check => "a row does not meet a condition of the table",
            Self::Other => "a constraint of the table would not hold",
        }
    }
}

/// An error of a source: what failed, where, why and what to do.
///
/// Never holds a secret or the value of a cell: messages of clients and servers that quote data are re-worded by the
/// connector.
///
/// Boxed, so that a `Result` stays small; its parts are read through [`Details`].
#[derive(Debug, Clone)]
pub struct Error(Box<Details>);

/// The parts of an [`Error`].
#[derive(Debug, Clone)]
pub struct Details {
    pub code: Code,
    /// What failed and why, in one sentence without a final full stop.
    pub message: String,
    pub source_name: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    /// Where in the table: a row id, key or ordinal as the source knows it.
    pub row: Option<String>,
    /// What to do, as a sentence or a statement to run.
    pub help: Option<String>,
    pub cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            code,
            message: message.into(),
            source_name: None,
            table: None,
            column: None,
            row: None,
            help: None,
            cause: None,
        }))
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The source it is about. An empty name is none.
    #[must_use]
    pub fn at_source(mut self, name: impl Into<String>) -> Self {
        let name = Some(name.into()).filter(|name| !name.is_empty());
        self.0.source_name = self.0.source_name.take().or(name);
        self
    }

    #[must_use]
    pub fn at_table(mut self, name: impl Into<String>) -> Self {
        self.0.table.get_or_insert(name.into());
        self
    }

    #[must_use]
    pub fn at_column(mut self, name: impl Into<String>) -> Self {
        self.0.column.get_or_insert(name.into());
        self
    }

    #[must_use]
    pub fn at_row(mut self, row: impl Into<String>) -> Self {
        self.0.row.get_or_insert(row.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.cause = Some(Arc::from(cause.into()));
        self
    }

    pub fn kind(&self) -> Kind {
        self.code.kind()
    }
}

impl std::ops::Deref for Error {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source_name {
            write!(f, "source {source}")?;
            if let Some(table) = &self.table {
                write!(f, ", table {table}")?;
            }
            if let Some(column) = &self.column {
                write!(f, ", column {column}")?;
            }
            if let Some(row) = &self.row {
                write!(f, ", row {row}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, ". {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause
            .as_deref()
            .map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}
