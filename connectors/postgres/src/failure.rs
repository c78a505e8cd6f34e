use std::time::Instant;

use crate::settings::Settings;
use belvedere_connector::{Code, Error};

/// What the server or the connection reported, in the engine's words.
///
/// A server's DETAIL and its messages about data quote values, so only messages of classes that speak of names and
/// connections are passed on, and the client's own error, whose text holds all of them, is never kept as a cause.
pub fn failure(settings: &Settings, deadline: Option<Instant>, e: tokio_postgres::Error) -> Error {
    let late = deadline.is_some_and(|d| Instant::now() >= d);
    let error = match e.as_db_error() {
        Some(db) => refused(settings, late, db.code().code(), db.message()),
        None if late => timeout(),
        None if names_authentication(&e) => authentication(
            settings,
            "the server asks for a password and none is given".into(),
        ),
        None => {
            let kind = e.to_string();
            let cause = e.into_source().unwrap_or_else(|| kind.into());
            unreachable(settings, cause)
        }
    };
    error.at_source(&settings.source)
}

/// What a server refused, by its SQLSTATE.
pub fn refused(settings: &Settings, late: bool, state: &str, message: &str) -> Error {
    let quoted = |code: Code| Error::new(code, format!("PostgreSQL says: {message}"));
    match state {
        "42501" => quoted(Code::PermissionDenied).help(format!(
            "Grant it at the source: GRANT SELECT ON … TO {}",
            settings.user
        )),
        // A schema that is gone takes its tables along.
        "42P01" | "3F000" => quoted(Code::TableMissing).help(refresh(settings)),
        // Columns, functions and types that are gone or have changed, cached plans of another shape.
        "42703" | "42883" | "42804" | "42704" | "42846" | "42809" | "0A000" => {
            quoted(Code::SchemaChanged).help(refresh(settings))
        }
        "57014" if late => timeout(),
        "57014" => Error::new(
            Code::Cancelled,
            "the statement was cancelled at the source, by its administrator or its statement_timeout",
        ),
        "53300" => quoted(Code::Busy).help(format!(
            "Lower max_connections of this source, or raise it at {}",
            settings.address()
        )),
        // Another's transaction was chosen, here or on the primary of a standby.
        "40001" | "40P01" | "55P03" => Error::new(
            Code::Busy,
            format!("PostgreSQL ended the statement in favour of another (SQLSTATE {state})"),
        )
        .help("Try again"),
        "3D000" => quoted(Code::InvalidUrl)
            .help("Correct the database in the URL of this source, then run REFRESH SOURCE"),
        "53000" | "53100" | "53200" | "53400" | "54000" | "54001" | "54011" => {
            quoted(Code::LimitExceeded)
        }
        _ if state.starts_with("28") => authentication(settings, message.to_string()),
        _ if state.starts_with("08") || state.starts_with("57P") => Error::new(
            Code::Unreachable,
            format!(
                "{} (database {}) ended the connection: {}",
                settings.address(),
                settings.database,
                message
            ),
        )
        .help("It is tried again by the next query"),
        // Data exceptions and all else: the message may quote a value.
        _ => Error::new(
            Code::SourceRefused,
            format!("PostgreSQL refused the statement (SQLSTATE {state})"),
        ),
    }
}

fn refresh(settings: &Settings) -> String {
    format!("Run REFRESH SOURCE {}", settings.source)
}

pub fn authentication(settings: &Settings, message: String) -> Error {
    Error::new(
        Code::Authentication,
        format!(
            "{} refused user {}: {message}",
            settings.address(),
            settings.user
        ),
    )
    .help("Correct the user in the URL or the secret that WITH (password = 'env:…') names")
}

/// Whether the client gave up before the server could: it has no password to answer with. The client tells its kind
/// in words alone.
fn names_authentication(e: &tokio_postgres::Error) -> bool {
    e.to_string().contains("password missing")
        || e.to_string().starts_with("invalid configuration")
        || e.to_string().starts_with("authentication error")
}

pub fn unreachable(settings: &Settings, cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new(
        Code::Unreachable,
        format!(
            "{} (database {}) cannot be reached: {cause}",
            settings.address(),
            settings.database
        ),
    )
    .help("See that the server runs, and that the source's URL and sslmode are right; the next query tries again")
    .caused_by(cause)
    .at_source(&settings.source)
}

pub fn timeout() -> Error {
    Error::new(Code::Timeout, "the statement's deadline passed")
        .help("Ask for less, or raise statement_timeout")
}
