use datafusion::arrow::error::ArrowError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::error::Error;

/// Metadata of a failed call: the engine's code, SQLSTATE, and `line:column` where known.
pub(super) const CODE: &str = "belvedere-code";
pub(super) const SQLSTATE: &str = "belvedere-sqlstate";
pub(super) const POSITION: &str = "belvedere-position";

/// Clients give up on a response whose headers exceed some 8 KB, and with it on the message.
const MESSAGE_BYTES: usize = 4 << 10;

/// The engine's error as gRPC's: what a generic client can act on is in the code, the rest is the message.
pub(super) fn status(error: &Error) -> Status {
    let mut metadata = MetadataMap::new();
    let mut insert = |name, text: &str| {
        if let Ok(value) = MetadataValue::try_from(text) {
            metadata.insert(name, value);
        }
    };
    insert(CODE, error.code());
    insert(SQLSTATE, error.sqlstate());
    if let Some((line, column)) = error.position() {
        insert(POSITION, &format!("{line}:{column}"));
    }
    Status::with_metadata(grpc_code(error), shortened(error.to_string()), metadata)
}

fn grpc_code(error: &Error) -> Code {
    match error.code() {
        "parse" | "invalid" | "cursor_foreign" | "plan" | "data" | "invalid_url"
        | "invalid_option" | "invalid_secret" => Code::InvalidArgument,
        "unknown_name" | "source_table_missing" => Code::NotFound,
        "name_taken" | "target_exists" => Code::AlreadyExists,
        "not_in_this_version" => Code::Unimplemented,
        "in_use" | "transaction" | "consistency" | "source_authentication" | "malformed_file" => {
            Code::FailedPrecondition
        }
        "denied" if error.sqlstate().starts_with("28") => Code::Unauthenticated,
        "source_permission_denied" | "denied" => Code::PermissionDenied,
        "source_schema_changed" | "subscription_ended" => Code::Aborted,
        "source_value_out_of_range" | "cursor_expired" | "too_old" => Code::OutOfRange,
        "timeout" | "source_timeout" => Code::DeadlineExceeded,
        "cancelled" | "source_cancelled" => Code::Cancelled,
        "limit"
        | "memory"
        | "kept_memory"
        | "source_busy"
        | "source_limit_exceeded"
        | "subscription_too_slow" => Code::ResourceExhausted,
        "store" | "source_unreachable" | "source_refused" => Code::Unavailable,
        _ => match error.kind() {
            crate::Kind::Transient => Code::Unavailable,
            crate::Kind::Definite => Code::FailedPrecondition,
            crate::Kind::User => Code::InvalidArgument,
            crate::Kind::Internal => Code::Internal,
        },
    }
}

/// A message of at most [`MESSAGE_BYTES`] as it is sent, where each byte beyond ASCII takes three.
fn shortened(message: String) -> String {
    let mut sent = 0;
    for (at, char) in message.char_indices() {
        sent += if char.is_ascii_graphic() || char == ' ' {
            1
        } else {
            3 * char.len_utf8()
        };
        if sent > MESSAGE_BYTES {
            return format!("{}…", &message[..at]);
        }
    }
    message
}

/// A failure to encode what the engine answered: ours.
pub(super) fn encoding(error: ArrowError) -> Status {
    Status::internal(format!("the answer cannot be sent: {error}"))
}

pub(super) trait OrStatus<T> {
    fn or_status(self) -> Result<T, Status>;
}

impl<T> OrStatus<T> for Result<T, Error> {
    fn or_status(self) -> Result<T, Status> {
        self.map_err(|e| status(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_they_are() {
        let error = Error::Unknown {
            what: "table",
            name: "t".into(),
            hint: None,
        };
        let status = status(&error);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "table t does not exist");
        assert_eq!(status.metadata().get(CODE).unwrap(), "unknown_name");
        assert_eq!(status.metadata().get(SQLSTATE).unwrap(), "42P01");
    }

    #[test]
    fn long_messages_are_cut() {
        let status = status(&Error::Plan("é".repeat(10_000)));
        assert!(status.message().ends_with('…'));
        assert!(status.message().len() <= MESSAGE_BYTES);
    }
}
