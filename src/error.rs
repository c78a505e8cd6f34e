mod planned;
mod reworded;

use belvedere_connector::{Code, Constraint};
use datafusion::common::DataFusionError;

use crate::catalog::StoreError;

pub use belvedere_connector::Kind;

/// What is said to whoever runs a prepared statement that has other columns by now.
pub(crate) const OTHER_COLUMNS: &str = "the answer has other columns than the statement was prepared with: what it reads has changed since";

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by what the caller can do about it ([`Error::kind`]). The messages say what failed,
/// where, why and what to do; never a cell's value or a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The text is not a statement of the dialect.
    #[error(transparent)]
    Parse(#[from] belvedere_sql::ParseError),
    /// A statement, clause or option that a later version will have.
    #[error("{what} is not in this version{}", instead(what))]
    NotInThisVersion { what: String },
    /// A name that means nothing; `hint` says what was near, or what to do.
    #[error("{what} {name} does not exist{}", hinted(hint))]
    Unknown {
        what: &'static str,
        name: String,
        hint: Option<String>,
    },
    /// A name that is taken.
    #[error("{what} {name} already exists{}", hinted(hint))]
    Exists {
        what: &'static str,
        name: String,
        hint: Option<String>,
    },
    /// Something others depend on.
    #[error("{what} {name} cannot be dropped or renamed without {}. Drop them first, or DROP it with CASCADE", dependents.join(", "))]
    InUse {
        what: &'static str,
        name: String,
        dependents: Vec<String>,
    },
    /// A definition, setting or parameter that cannot be.
    #[error("{message}{}", hinted(help))]
    Invalid {
        message: String,
        help: Option<String>,
    },
    /// A query that cannot be planned: unknown columns, types that do not fit.
    #[error("{0}")]
    Plan(String),
    /// A query that failed on its data: a division by zero, a cast.
    #[error("{message}")]
    Data {
        message: String,
        sqlstate: &'static str,
    },
    /// A source failed.
    #[error(transparent)]
    Source(#[from] belvedere_connector::Error),
    #[error(
        "the statement took longer than its limit of {limit_ms} ms. SET statement_timeout to allow more"
    )]
    Timeout { limit_ms: u128 },
    #[error("the statement was cancelled")]
    Cancelled,
    #[error(
        "the statement needs more memory than its limit allows: {0}. SET memory_limit to allow more"
    )]
    Memory(String),
    /// What is kept by change has no room for more. The message says what would make some.
    #[error("{0}")]
    KeptMemory(String),
    /// The data directory or catalog.
    #[error("{message}{}", hinted(help))]
    Store {
        message: String,
        help: Option<String>,
    },
    /// A subscription that does not go on, or not from where it was.
    #[error("{message}. {help}")]
    Subscription {
        why: SubscriptionEnd,
        message: String,
        help: String,
    },
    /// A copy is older than it may be, and nothing else answers.
    #[error("{message}. {help}")]
    TooOld { message: String, help: String },
    /// An answer would show a source as of two moments (`consistency = 'strict'`).
    #[error(
        "{message}. SET consistency = 'relaxed' allows it; or read both by views with refresh = 'on change', or all of it live"
    )]
    Consistency { message: String },
    /// Something that is not written to, or not so.
    #[error("{message}. {help}")]
    NotWritable {
        message: String,
        help: String,
        sqlstate: &'static str,
    },
    /// What a transaction cannot do, or cannot do any more.
    #[error("{message}. {help}")]
    Transaction {
        message: String,
        help: String,
        sqlstate: &'static str,
    },
    /// Whoever asks may not do that.
    #[error("{message}. {help}")]
    Denied {
        message: String,
        help: String,
        sqlstate: &'static str,
    },
    /// A limit of whoever asks.
    #[error("{message}. {help}")]
    Limit {
        message: String,
        help: String,
        sqlstate: &'static str,
    },
    /// A client sent what its protocol does not have, or a value that is none of its type.
    #[error("{message}")]
    Protocol {
        message: String,
        sqlstate: &'static str,
    },
    /// A bug of ours.
    #[error("internal error: {0}. This is a bug of Belvedere; please report it with the statement")]
    Internal(String),
}

/// Why a subscription does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionEnd {
    /// What has changed since its cursor is not known any more.
    CursorExpired,
    /// Its cursor is another's.
    CursorForeign,
    /// It did not take what changed in time.
    TooSlow,
    /// What it is to is gone, or does not change any more.
    Gone,
}

impl SubscriptionEnd {
    fn code(self) -> &'static str {
        match self {
            Self::CursorExpired => "cursor_expired",
            Self::CursorForeign => "cursor_foreign",
            Self::TooSlow => "subscription_too_slow",
            Self::Gone => "subscription_ended",
        }
    }

    fn sqlstate(self) -> &'static str {
        match self {
            // As PostgreSQL says that a snapshot is too old.
            Self::CursorExpired => "72000",
            Self::CursorForeign => "34000",
            Self::TooSlow => "53400",
            Self::Gone => "24000",
        }
    }
}

/// What there is in place of something that a later version may have.
fn instead(what: &str) -> &'static str {
    match what {
        "CREATE TABLE" => {
            ". CREATE VIEW names a query; CREATE MATERIALIZED VIEW keeps its rows, too"
        }
        "SELECT INTO" => {
            ". CREATE VIEW v AS SELECT … names a query; CREATE MATERIALIZED VIEW v AS SELECT … keeps its rows, too"
        }
        reworded::CORRELATED => ". Write it as a join, or compare what is outside by = alone",
        _ => "",
    }
}

fn hinted(hint: &Option<String>) -> String {
    hint.as_ref()
        .map(|hint| format!(". {hint}"))
        .unwrap_or_default()
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn invalid_with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            help: Some(help.into()),
        }
    }

    pub(crate) fn denied(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Denied {
            message: message.into(),
            help: help.into(),
            sqlstate: "42501",
        }
    }

    /// What the caller should do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Source(e) => e.kind(),
            Self::Timeout { .. } | Self::Cancelled => Kind::Transient,
            Self::Data { .. } => Kind::Definite,
            Self::Internal(_) => Kind::Internal,
            _ => Kind::User,
        }
    }

    /// Whether it says that a source cannot be reached now, and nothing of what was asked.
    pub(crate) fn is_of_failing_source(&self) -> bool {
        matches!(self, Self::Source(_)) && self.kind() == Kind::Transient
    }

    /// A stable name, the same in logs, `system.queries` and on every protocol.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Parse(_) => "parse",
            Self::NotInThisVersion { .. } => "not_in_this_version",
            Self::Unknown { .. } => "unknown_name",
            Self::Exists { .. } => "name_taken",
            Self::InUse { .. } => "in_use",
            Self::Invalid { .. } => "invalid",
            Self::Plan(_) => "plan",
            Self::Data { .. } => "data",
            Self::Source(e) => source_code(e.code),
            Self::Timeout { .. } => "timeout",
            Self::Cancelled => "cancelled",
            Self::Memory(_) => "memory",
            Self::KeptMemory(_) => "kept_memory",
            Self::Store { .. } => "store",
            Self::Subscription { why, .. } => why.code(),
            Self::TooOld { .. } => "too_old",
            Self::Consistency { .. } => "consistency",
            Self::NotWritable { .. } => "not_writable",
            Self::Transaction { .. } => "transaction",
            Self::Denied { .. } => "denied",
            Self::Limit { .. } => "limit",
            Self::Protocol { .. } => "protocol",
            Self::Internal(_) => "internal",
        }
    }

    /// The SQLSTATE PostgreSQL would give.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Parse(e) => match e.kind {
                belvedere_sql::ErrorKind::NotInThisVersion { .. } => "0A000",
                belvedere_sql::ErrorKind::TooLong { .. }
                | belvedere_sql::ErrorKind::TooDeep { .. }
                | belvedere_sql::ErrorKind::TooManyOperators { .. } => "54001",
                _ => "42601",
            },
            Self::NotInThisVersion { .. } => "0A000",
            Self::Unknown { what, .. } => match *what {
                "schema" => "3F000",
                "column" => "42703",
                "setting" => "42704",
                "source" | "user" | "role" | "user or role" => "42704",
                _ => "42P01",
            },
            Self::Exists { what, .. } => match *what {
                "schema" => "42P06",
                "user" | "role" => "42710",
                _ => "42P07",
            },
            Self::InUse { .. } => "2BP01",
            Self::Invalid { .. } => "22023",
            Self::Plan(message) => planned::sqlstate(message),
            Self::Data { sqlstate, .. } => sqlstate,
            Self::Source(e) => match e.code {
                Code::PermissionDenied => "42501",
                Code::NoChangeCapture => "0A000",
                Code::TableMissing => "42P01",
                Code::TargetExists => "58P02",
                Code::ValueOutOfRange => "22003",
                Code::InvalidValue => "22P02",
                Code::Timeout | Code::Cancelled => "57014",
                Code::Busy | Code::LimitExceeded => "53300",
                Code::NotWritable => "25006",
                Code::Violates(constraint) => constraint.sqlstate(),
                Code::Conflict => "40001",
                Code::OutcomeUnknown => "08007",
                Code::Internal => "XX000",
                _ => "58000",
            },
            Self::Timeout { .. } | Self::Cancelled => "57014",
            Self::Memory(_) | Self::KeptMemory(_) => "53200",
            Self::Store { .. } => "58030",
            Self::Subscription { why, .. } => why.sqlstate(),
            // As PostgreSQL says that a snapshot is too old.
            Self::TooOld { .. } => "72000",
            Self::Consistency { .. } => "55000",
            Self::Transaction { sqlstate, .. }
            | Self::NotWritable { sqlstate, .. }
            | Self::Denied { sqlstate, .. }
            | Self::Limit { sqlstate, .. }
            | Self::Protocol { sqlstate, .. } => sqlstate,
            Self::Internal(_) => "XX000",
        }
    }

    /// What to do about it, where it says so; its text ends with the same.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Parse(e) => e.hint.as_deref(),
            Self::Unknown { hint: help, .. }
            | Self::Exists { hint: help, .. }
            | Self::Invalid { help, .. }
            | Self::Store { help, .. } => help.as_deref(),
            Self::Subscription { help, .. }
            | Self::Denied { help, .. }
            | Self::Limit { help, .. }
            | Self::Transaction { help, .. }
            | Self::NotWritable { help, .. } => Some(help),
            Self::Source(e) => e.help.as_deref(),
            _ => None,
        }
    }

    /// The name that it is about, as its message has it, where it is one that was written.
    pub(crate) fn about(&self) -> Option<&str> {
        match self {
            Self::Plan(message) => planned::about(message),
            Self::Unknown { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether a prepared statement has other columns by now than whoever prepared it was told.
    pub(crate) fn is_of_other_columns(&self) -> bool {
        matches!(self, Self::Source(e) if e.code == Code::SchemaChanged && e.message == OTHER_COLUMNS)
    }

    /// Line and column in the statement's text, from 1, where known.
    pub fn position(&self) -> Option<(u64, u64)> {
        match self {
            Self::Parse(e) => Some((e.line, e.column)),
            _ => None,
        }
    }
}

fn source_code(code: Code) -> &'static str {
    match code {
        Code::Unreachable => "source_unreachable",
        Code::Authentication => "source_authentication",
        Code::PermissionDenied => "source_permission_denied",
        Code::TableMissing => "source_table_missing",
        Code::SchemaChanged => "source_schema_changed",
        Code::NoChangeCapture => "source_no_change_capture",
        Code::LogTruncated => "source_log_truncated",
        Code::LogRewound => "source_log_rewound",
        Code::ValueOutOfRange => "source_value_out_of_range",
        Code::InvalidValue => "source_invalid_value",
        Code::Timeout => "source_timeout",
        Code::Busy => "source_busy",
        Code::Cancelled => "source_cancelled",
        Code::LimitExceeded => "source_limit_exceeded",
        Code::InvalidUrl => "invalid_url",
        Code::InvalidOption => "invalid_option",
        Code::InvalidSecret => "invalid_secret",
        Code::MalformedFile => "malformed_file",
        Code::TargetExists => "target_exists",
        Code::NotWritable => "source_not_writable",
        Code::Violates(Constraint::Unique) => "source_unique_violation",
        Code::Violates(Constraint::ForeignKey) => "source_foreign_key_violation",
        Code::Violates(Constraint::NotNull) => "source_not_null_violation",
        Code::Violates(Constraint::Check) => "source_check_violation",
        Code::Violates(Constraint::Other) => "source_constraint_violation",
        Code::Conflict => "source_conflict",
        Code::OutcomeUnknown => "source_outcome_unknown",
        Code::SourceRefused => "source_refused",
        Code::Internal => "source_internal",
    }
}

impl From<StoreError> for Error {
    fn from(e: StoreError) -> Self {
        let help = match &e {
            StoreError::InUse(_) => Some(
                "Connect to the process that has it instead: belvedere sql --connect grpc://127.0.0.1:50051"
                    .to_string(),
            ),
            _ => None,
        };
        let mut message = e.to_string();
        if let Some(cause) = std::error::Error::source(&e) {
            message = format!("{message}: {cause}");
        }
        Self::Store { message, help }
    }
}

impl From<Error> for DataFusionError {
    fn from(e: Error) -> Self {
        DataFusionError::External(Box::new(e))
    }
}

impl From<DataFusionError> for Error {
    fn from(e: DataFusionError) -> Self {
        reworded::reworded(&e)
    }
}
