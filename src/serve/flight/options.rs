//! The actions on a session's options. `arrow-flight` does not have their messages, so they stand here as the
//! protocol defines them.

use std::collections::HashMap;

use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use super::calls::{COOKIE, Sessions};
use crate::engine::{Settings, Who};

pub(super) const SET: &str = "SetSessionOptions";
pub(super) const GET: &str = "GetSessionOptions";
pub(super) const CLOSE: &str = "CloseSession";

#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionValue {
    /// None: back to the default.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    List(TextList),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TextList {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetRequest {
    #[prost(map = "string, message", tag = "1")]
    pub options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetResult {
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, SetError>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetError {
    #[prost(enumeration = "ErrorValue", tag = "1")]
    pub value: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ErrorValue {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Error = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetResult {
    #[prost(map = "string, message", tag = "1")]
    pub options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CloseResult {
    #[prost(enumeration = "CloseStatus", tag = "1")]
    pub status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum CloseStatus {
    Unspecified = 0,
    Closed = 1,
    Closing = 2,
    NotCloseable = 3,
}

impl OptionValue {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            value: Some(Value::Text(text.into())),
        }
    }

    /// As SET takes it.
    pub fn into_text(self) -> Option<String> {
        Some(match self.value? {
            Value::Text(text) => text,
            Value::Bool(on) => on.to_string(),
            Value::Integer(n) => n.to_string(),
            Value::Double(n) => n.to_string(),
            Value::List(list) => list.values.join(", "),
        })
    }
}

/// Set options of the call's session, or of a new one. An option that is wrong is named in the result; the others are
/// set.
pub(super) fn set(
    sessions: &Sessions,
    who: &Who,
    metadata: &MetadataMap,
    body: &[u8],
) -> Result<Response<Vec<u8>>, Status> {
    let request = SetRequest::decode(body)
        .map_err(|e| Status::invalid_argument(format!("{SET}: the request is malformed: {e}")))?;
    let (session, cookie) = sessions.open(who, metadata)?;
    let defaults = Settings::default();
    let mut errors = HashMap::new();
    for (name, value) in request.options {
        let known = defaults.get(&name);
        let error = match (known, value.into_text()) {
            (Err(_), _) => Some(ErrorValue::InvalidName),
            (Ok(_), None) => session.reset(&name).err().map(|_| ErrorValue::Error),
            (Ok(_), Some(text)) => session
                .set(&name, &text)
                .err()
                .map(|_| ErrorValue::InvalidValue),
        };
        if let Some(error) = error {
            errors.insert(
                name,
                SetError {
                    value: error as i32,
                },
            );
        }
    }
    let mut response = Response::new(SetResult { errors }.encode_to_vec());
    if let Some(cookie) = cookie {
        set_cookie(&mut response, &cookie)?;
    }
    Ok(response)
}

pub(super) fn get(
    sessions: &Sessions,
    who: &Who,
    metadata: &MetadataMap,
) -> Result<Response<Vec<u8>>, Status> {
    let call = sessions.call(who, metadata)?;
    let settings = call.named()?.settings();
    let options = settings
        .iter()
        .map(|(name, value, _)| (name.into(), OptionValue::text(value)));
    Ok(Response::new(
        GetResult {
            options: options.collect(),
        }
        .encode_to_vec(),
    ))
}

pub(super) fn close(
    sessions: &Sessions,
    who: &Who,
    metadata: &MetadataMap,
) -> Result<Response<Vec<u8>>, Status> {
    if !sessions.close(who, metadata) {
        return Err(Status::not_found("the call's cookie names no open session"));
    }
    let status = CloseStatus::Closed as i32;
    let mut response = Response::new(CloseResult { status }.encode_to_vec());
    set_cookie(&mut response, &format!("{COOKIE}=; Path=/; Max-Age=0"))?;
    Ok(response)
}

fn set_cookie(response: &mut Response<Vec<u8>>, cookie: &str) -> Result<(), Status> {
    let value = cookie
        .parse()
        .map_err(|_| Status::internal("a cookie that is not ASCII"))?;
    response.metadata_mut().insert("set-cookie", value);
    Ok(())
}

/// What went wrong with each option, as one error of the client's side.
pub(super) fn explained(result: &SetResult) -> Option<String> {
    let mut named: Vec<String> = result
        .errors
        .iter()
        .map(|(name, error)| match error.value() {
            ErrorValue::InvalidName => format!("there is no setting {name}"),
            ErrorValue::InvalidValue => format!("setting {name} does not take this value"),
            _ => format!("setting {name} cannot be set"),
        })
        .collect();
    named.sort();
    (!named.is_empty()).then(|| named.join("; "))
}
