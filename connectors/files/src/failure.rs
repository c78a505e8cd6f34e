use std::sync::Arc;

use arrow::error::ArrowError;
use belvedere_connector::{Code, Error};
use datafusion::common::DataFusionError;
use datafusion::datasource::listing::PartitionedFile;
use object_store::client::{HttpError, HttpErrorKind};

use crate::kind::Kind;
use crate::settings::Settings;

/// An error of the store. `path` is the file it was about, if one.
pub fn store(settings: &Settings, path: Option<&str>, e: &object_store::Error) -> Error {
    if let Some(own) = cause::<Error>(e) {
        return own.clone();
    }
    let what = match path {
        Some(path) => format!("file {path}"),
        None => settings.url().to_string(),
    };
    let error = match refusal(e) {
        Some(Refusal::Absent) if path.is_some() => {
            Error::new(Code::TableMissing, format!("{what} is no longer there"))
        }
        Some(Refusal::Absent) => Error::new(Code::Unreachable, format!("there is no {what}")),
        Some(Refusal::Forbidden) => {
            Error::new(Code::PermissionDenied, format!("{what} may not be read"))
        }
        Some(Refusal::Unknown) => Error::new(
            Code::Authentication,
            format!("the credentials for {what} were refused"),
        ),
        None if is_late(e) => Error::new(
            Code::Unreachable,
            format!("{what} did not come within the time a request has"),
        )
        .help("Try again later, or raise statement_timeout of the source"),
        None => Error::new(Code::Unreachable, format!("{what} cannot be read")),
    };
    error.at_source(settings.name()).caused_by(e.to_string())
}

/// An error of the store while files are written to it.
pub fn written(settings: &Settings, e: &object_store::Error) -> Error {
    let url = settings.url();
    let error = match refusal(e) {
        Some(Refusal::Absent) => Error::new(Code::Unreachable, format!("there is no {url}")),
        Some(Refusal::Forbidden) => {
            Error::new(Code::PermissionDenied, format!("{url} may not be written"))
        }
        Some(Refusal::Unknown) => Error::new(
            Code::Authentication,
            format!("the credentials for {url} were refused"),
        ),
        None => Error::new(Code::Unreachable, format!("{url} cannot be written")),
    };
    error.at_source(settings.name()).caused_by(e.to_string())
}

enum Refusal {
    /// There is no such thing.
    Absent,
    /// The caller may not.
    Forbidden,
    /// The caller is not known.
    Unknown,
}

/// What a store's error says: in its type if it is about an object, in the answer's text alone if about a listing. S3
/// answers an unknown key and a wrong signature like a missing permission; its code tells them apart.
fn refusal(e: &object_store::Error) -> Option<Refusal> {
    use object_store::Error as E;
    let text = e.to_string();
    let status = |status: &str| text.contains(&format!("status code: {status} "));
    let unknown = ["InvalidAccessKeyId", "SignatureDoesNotMatch"]
        .iter()
        .any(|code| text.contains(&format!("<Code>{code}</Code>")));
    match e {
        E::Unauthenticated { .. } => Some(Refusal::Unknown),
        _ if unknown || status("401") => Some(Refusal::Unknown),
        E::NotFound { .. } => Some(Refusal::Absent),
        E::PermissionDenied { .. } => Some(Refusal::Forbidden),
        _ if status("404") => Some(Refusal::Absent),
        _ if status("403") || refused_for_permission(e) => Some(Refusal::Forbidden),
        _ => None,
    }
}

/// The operating system's refusal arrives inside a generic error.
fn refused_for_permission(e: &object_store::Error) -> bool {
    cause(e).is_some_and(|e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied)
}

fn is_late(e: &object_store::Error) -> bool {
    cause(e).is_some_and(|e: &HttpError| e.kind() == HttpErrorKind::Timeout)
}

/// The first error of this type among the causes.
pub fn cause<'a, T: std::error::Error + 'static>(
    e: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    std::iter::successors(Some(e), |e| e.source()).find_map(|e| e.downcast_ref())
}

/// What an error met while reading a file is about.
#[derive(Debug, Clone)]
pub struct Reading {
    pub settings: Arc<Settings>,
    pub table: String,
    pub kind: Kind,
    /// The file's columns by position.
    pub columns: Vec<String>,
}

impl Reading {
    /// An error of the reader of `file`, in words that name file and row and quote no value.
    pub fn failed(&self, file: &PartitionedFile, e: DataFusionError) -> DataFusionError {
        // Positions in a part of a file mean nothing to people.
        let whole = file.range.is_none();
        let path = file.object_meta.location.as_ref();
        match self.reworded(path, whole, &e) {
            Some(error) => DataFusionError::External(Box::new(error)),
            None => e,
        }
    }

    pub fn reworded(&self, path: &str, whole: bool, e: &DataFusionError) -> Option<Error> {
        let error = match e {
            DataFusionError::External(inner) => {
                if inner.is::<Error>() {
                    return None;
                }
                match inner.downcast_ref::<ArrowError>() {
                    Some(arrow) => self.arrow(path, whole, arrow)?,
                    None => return None,
                }
            }
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                return self.reworded(path, whole, inner);
            }
            DataFusionError::Shared(inner) => return self.reworded(path, whole, inner),
            DataFusionError::ObjectStore(e) => store(&self.settings, Some(path), e),
            DataFusionError::ParquetError(e) => match e.as_ref() {
                datafusion::parquet::errors::ParquetError::External(inner)
                    if inner.is::<object_store::Error>() =>
                {
                    let e = inner.downcast_ref::<object_store::Error>()?;
                    store(&self.settings, Some(path), e)
                }
                _ => self.malformed(path),
            },
            DataFusionError::IoError(e) => self.unpacked(path, e),
            DataFusionError::ArrowError(e, _) => self.arrow(path, whole, e)?,
            _ => return None,
        };
        Some(error.at_source(self.settings.name()).at_table(&self.table))
    }

    fn arrow(&self, path: &str, whole: bool, e: &ArrowError) -> Option<Error> {
        match e {
            ArrowError::CsvError(message) | ArrowError::ParseError(message) => {
                Some(self.text(path, whole, message))
            }
            ArrowError::JsonError(_)
            | ArrowError::IpcError(_)
            | ArrowError::ParquetError(_)
            | ArrowError::InvalidArgumentError(_) => Some(self.malformed(path)),
            ArrowError::IoError(_, e) => Some(self.unpacked(path, e)),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => self.reworded(path, whole, inner),
                None => inner
                    .downcast_ref::<object_store::Error>()
                    .map(|e| store(&self.settings, Some(path), e)),
            },
            ArrowError::CastError(_) => Some(
                Error::new(
                    Code::ValueOutOfRange,
                    format!("file {path} has a value that does not fit its column"),
                )
                .help("Declare the column's type with option columns, or correct the file"),
            ),
            _ => None,
        }
    }

    /// What unpacks a file passes on what the store says.
    fn unpacked(&self, path: &str, e: &std::io::Error) -> Error {
        let inner = e.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(e) => store(&self.settings, Some(path), e),
            None => self.malformed(path),
        }
    }

    pub fn malformed(&self, path: &str) -> Error {
        let broken = match self.kind {
            Kind::Parquet => "is not a Parquet file, or is damaged".to_string(),
            Kind::Arrow => "is not an Arrow IPC file, or is damaged".to_string(),
            kind => format!("is not {kind}, or has a row that does not fit the table's columns"),
        };
        Error::new(Code::MalformedFile, format!("file {path} {broken}"))
    }

    /// An error of the CSV reader: its text has row, column and type between the words, and the value.
    fn text(&self, path: &str, whole: bool, message: &str) -> Error {
        // Arrow counts lines from 1 where fields are missing, from 0 where a value does not fit.
        let from_zero = u64::from(message.contains("as type '"));
        let row = number_after(message, "line ")
            .filter(|_| whole)
            .map(|line| line + from_zero);
        let column =
            number_after(message, "for column ").and_then(|i| self.columns.get(i as usize));
        let wanted = message
            .split_once("as type '")
            .and_then(|(_, rest)| rest.split_once('\''));
        let error = match (wanted, column) {
            (Some((wanted, _)), Some(column)) => Error::new(
                Code::MalformedFile,
                format!("file {path} has a value that is no {wanted}"),
            )
            .at_column(column)
            .help(format!(
                "Correct the file, or decide: ALTER SOURCE {} SET (columns = '{}.{column}: text')",
                self.settings.name(),
                self.table
            )),
            _ if message.contains("incorrect number of fields") => {
                let counts = number_after(message, "expected ").zip(number_after(message, "got "));
                let detail = counts.map(|(expected, got)| format!(": {got} instead of {expected}"));
                Error::new(
                    Code::MalformedFile,
                    format!(
                        "file {path} has a row with another number of values{}",
                        detail.unwrap_or_default()
                    ),
                )
            }
            _ if message.contains("UTF-8") => Error::new(
                Code::MalformedFile,
                format!("file {path} is not UTF-8 text"),
            ),
            _ => self.malformed(path),
        };
        match row {
            Some(row) => error.at_row(row.to_string()),
            None => error,
        }
    }
}

/// The number that follows some words, before any quoted value could begin.
fn number_after(message: &str, words: &str) -> Option<u64> {
    // The value itself comes quoted before these words; the last place is ours, and the row's data follows it.
    let message = message
        .split_once(". Row data")
        .map_or(message, |(before, _)| before);
    let rest = &message[message.rfind(words)? + words.len()..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}
