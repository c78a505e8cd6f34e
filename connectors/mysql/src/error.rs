use std::fmt;
use std::io::ErrorKind;

use belvedere_connector::{Code, Error};
use mysql_async::{DriverError, IoError};

use crate::settings::Settings;

/// The words of an error of the client or server, by number and kind alone: their messages quote data.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// Re-word an error of the client.
pub(crate) fn client_error(error: mysql_async::Error, settings: &Settings) -> Error {
    use mysql_async::Error as E;
    let error = match error {
        E::Server(server) => server_error(server.code, &server.state, settings),
        // The TLS library's word, which reaches us through the socket.
        E::Io(IoError::Io(io)) if io.to_string().starts_with("invalid peer certificate") => {
            unreachable_error(settings, format!("no TLS connection could be made: {io}"))
                .help("Name the authority of its certificate with the option ssl_root_cert")
        }
        // A packet that could not be read, whose error may quote it.
        E::Io(IoError::Io(io)) if io.kind() == ErrorKind::InvalidData => {
            unreachable_error(settings, "its answer is not of the protocol")
        }
        E::Io(IoError::Io(io)) => unreachable_error(settings, &io).caused_by(io),
        E::Io(IoError::Tls(tls)) => {
            unreachable_error(settings, format!("no TLS connection could be made: {tls}"))
        }
        E::Driver(DriverError::ConnectionClosed | DriverError::PacketOutOfOrder) => {
            unreachable_error(settings, "the server closed the connection")
        }
        // The only failures left that a server causes: a capability or a form of authentication we do not have.
        E::Driver(
            e @ (DriverError::NoClientSslFlagFromServer
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::UnknownAuthPlugin { .. }),
        ) => Error::new(
            Code::Authentication,
            format!("no agreement with {} on how to log in", settings.address()),
        )
        .caused_by(Cause(e.to_string())),
        E::Driver(_) | E::Other(_) | E::Url(_) => Error::new(
            Code::SourceRefused,
            format!("the answer of {} could not be read", settings.address()),
        ),
    };
    error.at_source(&settings.source)
}

/// The connection could not be made or broke.
pub(crate) fn unreachable_error(settings: &Settings, why: impl fmt::Display) -> Error {
    Error::new(
        Code::Unreachable,
        format!("{} cannot be reached: {why}", settings.address()),
    )
    .at_source(&settings.source)
}

/// By the server's error number; see MariaDB's list of error codes.
fn server_error(code: u16, state: &str, settings: &Settings) -> Error {
    let (ours, message, help) = match code {
        1045 | 1698 | 1862 | 1820 => (
            Code::Authentication,
            format!(
                "{} refused user {} or the password",
                settings.address(),
                settings.user
            ),
            Some("Check the user in the URL and the option password"),
        ),
        1044 => (
            Code::PermissionDenied,
            format!(
                "user {} may not use database {}",
                settings.user, settings.database
            ),
            Some("GRANT SELECT on it to the user"),
        ),
        1142 | 1143 | 1370 | 1227 | 1356 => (
            Code::PermissionDenied,
            format!("user {} may not read this", settings.user),
            Some("GRANT SELECT on it to the user"),
        ),
        1049 => (
            Code::TableMissing,
            format!("there is no database {}", settings.database),
            None,
        ),
        1146 | 1051 | 1932 => (
            Code::TableMissing,
            "the table is no longer there".to_string(),
            Some("Run REFRESH SOURCE"),
        ),
        1054 | 1412 | 1615 => (
            Code::SchemaChanged,
            "the table has been altered since it was discovered".to_string(),
            Some("Run REFRESH SOURCE"),
        ),
        1969 | 3024 => (
            Code::Timeout,
            "the source ended the statement at its deadline".to_string(),
            None,
        ),
        1317 => (
            Code::Cancelled,
            "the statement was ended at the source".to_string(),
            None,
        ),
        1040 | 1203 | 1226 | 1041 => (
            Code::Busy,
            format!("{} takes no more connections", settings.address()),
            Some("Lower max_connections, or raise the server's limit"),
        ),
        1205 | 1213 => (
            Code::Busy,
            "the source waited too long for a lock".to_string(),
            None,
        ),
        1053 | 1077 | 1079 | 1080 | 1927 | 1158..=1161 | 1130 | 1129 => (
            Code::Unreachable,
            format!(
                "{} cannot be reached: the server ended the connection",
                settings.address()
            ),
            None,
        ),
        1264 | 1690 => (
            Code::ValueOutOfRange,
            "a value computed at the source does not fit its type".to_string(),
            None,
        ),
        _ => (
            Code::SourceRefused,
            format!("the source refused the statement (error {code}, state {state})"),
            None,
        ),
    };
    let error =
        Error::new(ours, message).caused_by(Cause(format!("server error {code}, state {state}")));
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// Whether a connection that was idle in the pool was found dead: nothing has happened yet, another may work.
pub(crate) fn is_dead_connection(error: &mysql_async::Error) -> bool {
    match error {
        mysql_async::Error::Server(server) => matches!(server.code, 1053 | 1927 | 1158..=1161),
        other => other.is_fatal(),
    }
}
