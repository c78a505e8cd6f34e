use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::access::Refused;
use crate::error::{Error, Kind};
use crate::serve::connections::TOO_MANY;
use crate::serve::guests::Turned;

/// Of RFC 9457.
const MEDIA_TYPE: &str = "application/problem+json";
/// How clients say who they are: a token is sent as Bearer, too.
const CHALLENGE: &str = "Basic realm=\"belvedere\", charset=\"UTF-8\"";
/// When to try again what did not work for a while.
const RETRY_SECONDS: u32 = 2;

/// What is told instead of an answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Stable: the engine's, or one of HTTP's own.
    code: &'static str,
    sqlstate: Option<&'static str>,
    detail: String,
    help: Option<String>,
    /// Line and column.
    position: Option<(u32, u32)>,
    retry_after: Option<u32>,
    allow: Option<&'static str>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            sqlstate: None,
            detail: detail.into(),
            help: None,
            position: None,
            retry_after: None,
            allow: None,
        }
    }

    /// The request is not what it should be.
    pub fn request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request", detail)
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The same in other words.
    pub fn saying(self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { detail, ..self }
    }

    pub fn method(allow: &'static str) -> Self {
        let detail = format!("this takes {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
        }
    }

    pub fn panicked() -> Self {
        let detail =
            "internal error. This is a bug of Belvedere; please report it with the request";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub fn ending() -> Self {
        Self::for_now("ending", "the server is about to end")
    }

    /// Whoever asks is not let in.
    pub fn turned(turned: &Turned) -> Self {
        let detail = turned.to_string();
        match turned {
            Turned::Refused(Refused::TooMany { wait }) => Self {
                retry_after: Some(u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_logins", detail)
            },
            Turned::Failed => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
            Turned::Unaudited => Self::for_now("audit", &detail),
            _ => Self::new(StatusCode::UNAUTHORIZED, "login", detail),
        }
    }

    /// There are too many connections.
    pub fn busy() -> Self {
        Self::for_now("too_many_connections", TOO_MANY)
    }

    /// It may be otherwise in a while.
    fn for_now(code: &'static str, detail: &str) -> Self {
        Self {
            retry_after: Some(RETRY_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        }
    }

    /// Of a body that is not JSON, or not this one.
    pub fn body(e: &serde_json::Error) -> Self {
        let problem = Self::request(format!("the body is not what it should be: {e}"));
        match e.line() {
            0 => problem,
            line => problem.at(line as u64, e.column() as u64),
        }
    }

    /// Where in the body it is: line and column, counted from 1.
    pub fn at(mut self, line: u64, column: u64) -> Self {
        self.position = Some(short((line, column)));
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let (status, code) = (status(error), error.code());
        let help = error.help().map(str::to_string);
        let mut detail = error.to_string();
        if let Some(without) = help.as_deref().and_then(|help| detail.strip_suffix(help)) {
            detail = without.trim_end_matches(['.', ';', ' ']).to_string();
        }
        let again = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status);
        Self {
            sqlstate: Some(error.sqlstate()),
            help,
            position: error.position().map(short),
            retry_after: again.then_some(RETRY_SECONDS),
            ..Self::new(status, code, detail)
        }
    }
}

/// A text that is taken has fewer lines than that.
fn short((line, column): (u64, u64)) -> (u32, u32) {
    let of = |n| u32::try_from(n).unwrap_or(u32::MAX);
    (of(line), of(column))
}

fn status(error: &Error) -> StatusCode {
    if matches!(error, Error::Parse(_)) && error.sqlstate() == "0A000" {
        return StatusCode::NOT_IMPLEMENTED;
    }
    match error.code() {
        "unknown_name" => match error {
            Error::Unknown { what, .. } if *what == "setting" => StatusCode::BAD_REQUEST,
            _ => StatusCode::NOT_FOUND,
        },
        "source_table_missing" => StatusCode::NOT_FOUND,
        "denied" if error.sqlstate().starts_with("28") => StatusCode::UNAUTHORIZED,
        "denied" => StatusCode::FORBIDDEN,
        "limit" => match error.sqlstate() {
            "53300" => StatusCode::TOO_MANY_REQUESTS,
            "57014" => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        },
        "timeout" | "source_timeout" => StatusCode::GATEWAY_TIMEOUT,
        "name_taken" | "in_use" | "target_exists" | "source_conflict" => StatusCode::CONFLICT,
        "not_in_this_version" => StatusCode::NOT_IMPLEMENTED,
        "memory" | "kept_memory" | "store" => StatusCode::SERVICE_UNAVAILABLE,
        "cursor_expired" => StatusCode::GONE,
        // What a source refuses us is no fault of the request.
        "source_authentication" | "source_permission_denied" | "malformed_file" => {
            StatusCode::BAD_GATEWAY
        }
        _ => match error.kind() {
            Kind::Transient => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Definite | Kind::User => StatusCode::BAD_REQUEST,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(fields) = body.as_object_mut() {
            if let Some(sqlstate) = self.sqlstate {
                fields.insert("sqlstate".into(), sqlstate.into());
            }
            if let Some(help) = self.help {
                fields.insert("help".into(), help.into());
            }
            if let Some((line, column)) = self.position {
                fields.insert("position".into(), json!({"line": line, "column": column}));
            }
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_told_apart() {
        let problem = Problem::from(Error::invalid_with_help("no such thing", "Write another"));
        assert_eq!(problem.detail, "no such thing");
        assert_eq!(problem.help.as_deref(), Some("Write another"));
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn statuses_say_who_can_do_something() {
        let of = |error: Error| Problem::from(error).status.as_u16();
        assert_eq!(of(Error::Timeout { limit_ms: 5 }), 504);
        assert_eq!(of(Error::Internal("x".into())), 500);
        assert_eq!(of(Error::Memory("x".into())), 503);
        let unreachable = belvedere_connector::Error::new(
            belvedere_connector::Code::Unreachable,
            "nobody answers",
        );
        assert_eq!(of(Error::Source(unreachable)), 503);
        let changed = belvedere_connector::Error::row_changed();
        assert_eq!(of(Error::Source(changed)), 409);
    }
}
