use belvedere_connector::{Code, Constraint};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};

use crate::catalog::StoreError;
use crate::engine::unknown_function;
use crate::federation::SourceFailure;

pub use belvedere_connector::Kind;

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

/// What DataFusion says of a plan tells its kind by its words alone.
fn plan_sqlstate(message: &str) -> &'static str {
    const KINDS: &[(&str, &str)] = &[
        ("No field named", "42703"),
        ("Invalid function", "42883"),
        ("Inconsistent data length across values list", "42601"),
        ("Column count doesn't match insert query", "42601"),
    ];
    let kind = KINDS.iter().find(|(words, _)| message.contains(words));
    kind.map_or("42000", |(_, sqlstate)| sqlstate)
}

/// What there is in place of something that a later version may have.
fn instead(what: &str) -> &'static str {
    match what {
        "CREATE TABLE" => {
            ". CREATE VIEW names a query; CREATE MATERIALIZED VIEW keeps its rows, too"
        }
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
                "setting" => "42704",
                "source" => "42704",
                _ => "42P01",
            },
            Self::Exists { what, .. } => match *what {
                "schema" => "42P06",
                _ => "42P07",
            },
            Self::InUse { .. } => "2BP01",
            Self::Invalid { .. } => "22023",
            Self::Plan(message) => plan_sqlstate(message),
            Self::Data { sqlstate, .. } => sqlstate,
            Self::Source(e) => match e.code {
                Code::PermissionDenied => "42501",
                Code::NoChangeCapture => "0A000",
                Code::TableMissing => "42P01",
                Code::TargetExists => "58P02",
                Code::ValueOutOfRange => "22003",
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
            | Self::Transaction { help, .. }
            | Self::NotWritable { help, .. } => Some(help),
            Self::Source(e) => e.help.as_deref(),
            _ => None,
        }
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
        reworded(&e)
    }
}

/// DataFusion's errors in our words: those of its planner as they are, those of its kernels by kind, since they quote
/// values.
fn reworded(e: &DataFusionError) -> Error {
    match e {
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::Shared(inner) => reworded(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            reworded(inner)
        }
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => reworded(first),
            None => Error::Internal("an empty collection of errors".into()),
        },
        DataFusionError::ArrowError(inner, _) => arrow_error(inner),
        DataFusionError::ParquetError(_) => Error::Data {
            message: "a Parquet file cannot be read: it is damaged, or not Parquet".into(),
            sqlstate: "58030",
        },
        DataFusionError::ObjectStore(inner) => Error::Source(
            belvedere_connector::Error::new(Code::Unreachable, "the files cannot be read")
                .caused_by(inner.to_string()),
        ),
        DataFusionError::SchemaError(inner, _) => Error::Plan(schema_error(inner)),
        DataFusionError::Plan(message) | DataFusionError::Configuration(message) => {
            Error::Plan(unknown_function(message).unwrap_or_else(|| one_line(message)))
        }
        DataFusionError::SQL(inner, _) => Error::Plan(inner.to_string()),
        DataFusionError::NotImplemented(message) => Error::NotInThisVersion {
            what: message.clone(),
        },
        DataFusionError::ResourcesExhausted(message) => {
            Error::Memory(message.lines().next().unwrap_or_default().to_string())
        }
        DataFusionError::Execution(message) => execution(message),
        other => Error::Internal(other.to_string()),
    }
}

fn external(inner: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(e) = inner.downcast_ref::<Error>() {
        return e.clone();
    }
    if let Some(SourceFailure(e)) = inner.downcast_ref::<SourceFailure>() {
        return Error::Source(e.clone());
    }
    if let Some(e) = inner.downcast_ref::<belvedere_connector::Error>() {
        return Error::Source(e.clone());
    }
    if let Some(e) = inner.downcast_ref::<DataFusionError>() {
        return reworded(e);
    }
    Error::Internal(inner.to_string())
}

fn arrow_error(e: &ArrowError) -> Error {
    let data = |message: &str, sqlstate| Error::Data {
        message: message.into(),
        sqlstate,
    };
    let out_of_range = || data("a number is out of the range of its type", "22003");
    match e {
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        ArrowError::DivideByZero => data("division by zero", "22012"),
        ArrowError::ArithmeticOverflow(_) => out_of_range(),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            // "Cannot cast string 'secret' to value of Int64 type": the type, never the value.
            let target = message
                .rsplit_once(" to value of ")
                .map(|(_, target)| target);
            match target.and_then(|t| t.strip_suffix(" type")) {
                Some(target) => data(&format!("a value cannot be cast to {target}"), "22P02"),
                None => data("a value cannot be cast to the type asked for", "22P02"),
            }
        }
        ArrowError::CsvError(_) => {
            data("a CSV file has a row that does not fit its schema", "22P04")
        }
        ArrowError::JsonError(_) => data(
            "a JSON file has a row that does not fit its schema",
            "22P04",
        ),
        ArrowError::InvalidArgumentError(message) if message.contains(" to store in a Decimal") => {
            out_of_range()
        }
        ArrowError::ComputeError(message) if message.contains("overflow") => out_of_range(),
        ArrowError::ComputeError(message) => execution(message),
        ArrowError::MemoryError(message) => Error::Memory(message.clone()),
        ArrowError::SchemaError(message) => Error::Plan(message.clone()),
        other => Error::Internal(other.to_string()),
    }
}

fn execution(message: &str) -> Error {
    if message.contains("ivide by zero") || message.contains("ivision by zero") {
        return Error::Data {
            message: "division by zero".into(),
            sqlstate: "22012",
        };
    }
    // Messages of functions may quote their arguments: only the part before them is safe.
    let safe = message
        .split(|c: char| matches!(c, '\'' | '"' | ':' | '(') || c.is_ascii_digit())
        .next()
        .unwrap_or_default()
        .trim();
    Error::Data {
        message: format!("a function failed on a value ({safe})"),
        sqlstate: "22000",
    }
}

/// With the spelling to type: columns match exactly.
fn schema_error(e: &SchemaError) -> String {
    if let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = e
    {
        let same = valid_fields
            .iter()
            .find(|f| f.name.eq_ignore_ascii_case(&field.name));
        if let Some(same) = same {
            let spelling = belvedere_sql::ident(same.name.clone());
            return format!(
                "No field named {}. Columns match exactly: write {spelling}",
                field.name
            );
        }
    }
    one_line(&e.to_string())
}

/// Sentences on lines of their own as one text without a final full stop.
fn one_line(message: &str) -> String {
    message.trim_end().trim_end_matches('.').replace('\n', " ")
}
