use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use belvedere_sql::Statement;
use datafusion::arrow::array::AsArray;
use datafusion::scalar::ScalarValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::door::{Asker, Door};
use super::problem::Problem;
use super::reply::{collected, rows_alone};
use super::request::{self, Format};
use super::stream;
use super::values::Reader;
use crate::engine::{Answer, Prepared};
use crate::error::Error;
use crate::serve::paths::refuse_relative_in;

type Result<T> = std::result::Result<T, Problem>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    sql: String,
    #[serde(default)]
    parameters: Vec<Value>,
    #[serde(default)]
    settings: Map<String, Value>,
}

/// `POST /v1/sql`
pub(super) async fn sql(State(door): State<Arc<Door>>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let format = Format::accepted(&parts.headers)?;
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Problem::request(
            "what is asked for is in the body, not in the URL",
        ));
    }
    let asked: Ask = request::json(&parts.headers, body).await?;
    let asker = door.asker(&parts)?;
    for (name, value) in &asked.settings {
        set(&asker, name, value)?;
    }
    let statement = belvedere_sql::parse_one(&asked.sql).map_err(Error::from)?;
    may_come(&statement.statement, format)?;
    let prepared = asker
        .within(asker.session.prepare_parsed(statement))
        .await?;
    let values = parameters(&asker, &prepared, &asked.parameters)?;
    let types: Vec<_> = values.iter().map(ScalarValue::data_type).collect();
    let typed = asker
        .within(asker.session.prepare_typed(&prepared, &types))
        .await?;
    let prepared = typed.unwrap_or(prepared);
    let answer = asker.session.execute_prepared(&prepared, &values).await?;
    match answer.is_query {
        true => stream::response(answer, format, door.stop.clone()).await,
        false => done(answer, format).await,
    }
}

fn set(asker: &Asker, name: &str, value: &Value) -> Result<()> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => {
            let detail = format!("setting {name} is a text, a number, true or false");
            return Err(Problem::request(detail));
        }
    };
    Ok(asker.session.set(name, &text)?)
}

/// What belongs to a session does not, nor what means something where it was typed.
fn may_come(statement: &Statement, format: Format) -> Result<()> {
    let none = |what: &str, help: &str| {
        let detail =
            format!("{what} needs a session, and HTTP has none: each request is by itself");
        Err(Problem::request(detail).help(help))
    };
    let elsewhere = "Arrow Flight SQL and PostgreSQL's protocol have sessions";
    match statement {
        Statement::Set(_) | Statement::ResetAll => none(
            &statement.kind(),
            "Say what is set with the request: \"settings\" in the body, or the header belvedere-<setting>",
        ),
        Statement::Transaction(_)
        | Statement::Declare(_)
        | Statement::Fetch(_)
        | Statement::Close { .. } => none(&statement.kind(), elsewhere),
        Statement::Subscribe(_) if format == Format::Json => {
            let detail = "a subscription does not end, and one JSON document of it neither";
            let status = StatusCode::NOT_ACCEPTABLE;
            let problem = Problem::new(status, "not_acceptable", detail);
            Err(problem.help(format!("Send Accept: {}", Format::Lines.media_type())))
        }
        statement => Ok(refuse_relative_in(statement)?),
    }
}

fn parameters(asker: &Asker, prepared: &Prepared, given: &[Value]) -> Result<Vec<ScalarValue>> {
    let taken = &prepared.parameters;
    if taken.len() != given.len() {
        return Err(Problem::request(format!(
            "the statement takes {} parameters, {} were given",
            taken.len(),
            given.len()
        )));
    }
    let reader = Reader::of(&asker.session);
    let values = taken.iter().zip(given);
    let values = values.map(|((name, of), value)| reader.parameter(name, of.as_ref(), value));
    values.collect()
}

/// What was done by a definition.
async fn done(answer: Answer, format: Format) -> Result<Response> {
    let notices = answer.notices.clone();
    let written = answer.wrote.as_ref().map(|wrote| wrote.rows);
    let (headers, rows) = collected(answer).await?;
    let body = match format {
        Format::Arrow => rows_alone(&rows, format)?,
        Format::Json | Format::Lines => {
            let status = rows
                .columns()
                .first()
                .and_then(|c| c.as_string_opt::<i32>());
            let status = status.and_then(|texts| texts.iter().next().flatten());
            let mut said = json!({ "status": status });
            if let (Some(fields), Some(rows)) = (said.as_object_mut(), written) {
                fields.insert("rows".into(), rows.into());
            }
            if let (Some(fields), false) = (said.as_object_mut(), notices.is_empty()) {
                fields.insert("notices".into(), json!(notices));
            }
            format!("{said}\n").into_bytes()
        }
    };
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers;
    let media_type = HeaderValue::from_static(format.media_type());
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(response)
}
