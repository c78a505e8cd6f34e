//! The document of what is served now, in OpenAPI 3.1.

use datafusion::arrow::datatypes::{DataType, Field};
use serde_json::{Map, Value, json};

use super::paging::encoded;
use super::request::{Format, MOST_ROWS, setting_headers};
use crate::engine::{Column, Described, sql_type};

pub(super) fn document(views: &[Described]) -> String {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for view in views {
        add(view, &mut paths, &mut schemas);
    }
    paths.insert("/v1/sql".into(), sql());
    paths.insert(
        "/health".into(),
        plain("Whether the server is there", "application/json"),
    );
    paths.insert(
        "/health/ready".into(),
        plain("Whether it takes requests", "application/json"),
    );
    paths.insert(
        "/metrics".into(),
        plain("Figures for Prometheus", "text/plain"),
    );
    schemas.insert("problem".into(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Belvedere",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The views and tables that there are now. docs/http.md says how values are written.",
        },
        "paths": paths,
        "components": { "schemas": schemas, "parameters": settings() },
    })
    .to_string()
}

fn add(view: &Described, paths: &mut Map<String, Value>, schemas: &mut Map<String, Value>) {
    let name = view.name.iter().map(|part| quoted(part));
    let name = name.collect::<Vec<_>>().join(".");
    // Names of schemas have no other characters than these.
    let schema_name: String = view
        .id
        .to_string()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect();
    let mut schema_name = schema_name;
    while schemas.contains_key(&schema_name) {
        schema_name.push('_');
    }
    schemas.insert(schema_name.clone(), row(view));
    let row = json!({ "$ref": format!("#/components/schemas/{schema_name}") });
    let about = view
        .comment
        .clone()
        .unwrap_or_else(|| format!("{} {}", view.kind, view.id));
    let path = format!("/v1/views/{}", encoded(&name));
    let mut methods = Map::new();
    methods.insert("get".into(), page(view, &about, &row));
    if !view.key.is_empty() {
        methods.insert("post".into(), batch(view, &about, &row));
        let key = json!({
            "name": "key", "in": "path", "required": true,
            "description": key_description(view),
            "schema": key_schema(view),
        });
        paths.insert(
            format!("{path}/{{key}}"),
            json!({ "get": {
                "summary": about,
                "parameters": with_settings(vec![key, select(view)]),
                "responses": responses(&row, true),
            }}),
        );
    }
    paths.insert(path, Value::Object(methods));
}

/// As a part of the view's name in a path.
fn quoted(name: &str) -> String {
    match name.contains(['.', '"', '/']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_string(),
    }
}

fn page(view: &Described, about: &str, row: &Value) -> Value {
    let mut parameters = parameters(&view.columns);
    parameters.push(select(view));
    parameters.push(json!({
        "name": "limit", "in": "query", "required": false,
        "schema": { "type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": 100 },
    }));
    if !view.key.is_empty() {
        parameters.push(json!({
            "name": "after", "in": "query", "required": false,
            "description": format!("Rows behind this key. {}", key_description(view)),
            "schema": { "type": "string" },
        }));
    }
    let rows = json!({
        "type": "object",
        "required": ["rows", "next"],
        "properties": {
            "rows": { "type": "array", "items": row },
            "next": { "type": ["string", "null"], "description": "The URL of the next page" },
            "more": { "type": "boolean" },
            "detail": { "type": "string" },
        },
    });
    json!({
        "summary": about,
        "parameters": with_settings(parameters),
        "responses": responses(&rows, false),
    })
}

fn batch(view: &Described, about: &str, row: &Value) -> Value {
    let key = match view.key.as_slice() {
        [one] => value(&view.columns[*one].data_type),
        all => {
            let items: Vec<Value> = all
                .iter()
                .map(|of| value(&view.columns[*of].data_type))
                .collect();
            let count = items.len();
            json!({ "type": "array", "prefixItems": items, "minItems": count, "maxItems": count })
        }
    };
    let names: Vec<&str> = view.columns.iter().map(|c| c.name.as_str()).collect();
    let rows = json!({
        "type": "object",
        "required": ["rows"],
        "properties": { "rows": { "type": "array", "items": { "anyOf": [row, { "type": "null" }] } } },
    });
    json!({
        "summary": format!("{about}: the rows of keys, in their order"),
        "parameters": with_settings(Vec::new()),
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["keys"],
            "additionalProperties": false,
            "properties": {
                "keys": { "type": "array", "items": key, "maxItems": MOST_ROWS },
                "select": { "type": "array", "items": { "enum": names } },
            },
        }}}},
        "responses": responses(&rows, false),
    })
}

fn parameters(columns: &[Column]) -> Vec<Value> {
    let columns = columns.iter().map(|column| {
        // Those that mean something else are quoted.
        let name = match matches!(column.name.as_str(), "select" | "limit" | "after") {
            true => format!("\"{}\"", column.name),
            false => column.name.clone(),
        };
        json!({
            "name": name, "in": "query", "required": false,
            "schema": value(&column.data_type),
        })
    });
    columns.collect()
}

fn select(view: &Described) -> Value {
    let names: Vec<&str> = view.columns.iter().map(|c| c.name.as_str()).collect();
    json!({
        "name": "select", "in": "query", "required": false, "explode": false,
        "description": "Columns that are told; all without it",
        "schema": { "type": "array", "items": { "enum": names } },
    })
}

/// The headers that set settings; each name as those write it who cannot send `_`.
fn settings() -> Map<String, Value> {
    let headers = setting_headers().filter(|(header, ..)| !header.contains('_'));
    let headers = headers.map(|(header, _, help)| {
        let parameter = json!({
            "name": header, "in": "header", "required": false,
            "description": help, "schema": { "type": "string" },
        });
        (header, parameter)
    });
    headers.collect()
}

fn with_settings(mut parameters: Vec<Value>) -> Vec<Value> {
    let reference = |name: &String| json!({ "$ref": format!("#/components/parameters/{name}") });
    parameters.extend(settings().keys().map(reference));
    parameters
}

fn key_description(view: &Described) -> String {
    let names = view.key.iter().map(|of| view.columns[*of].name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    match view.key.len() {
        1 => format!("The key is {names}"),
        _ => format!("The key is {names}: values with commas between them"),
    }
}

fn key_schema(view: &Described) -> Value {
    match view.key.as_slice() {
        [one] => value(&view.columns[*one].data_type),
        _ => json!({ "type": "string" }),
    }
}

fn row(view: &Described) -> Value {
    let properties = view.columns.iter().map(|column| {
        let mut schema = or_null(value(&column.data_type), column.nullable);
        if let Some(fields) = schema.as_object_mut() {
            let mut about = sql_type(&column.data_type);
            if let Some(comment) = &column.comment {
                about = format!("{about}. {comment}");
            }
            fields.insert("description".into(), about.into());
        }
        (column.name.clone(), schema)
    });
    json!({ "type": "object", "properties": properties.collect::<Map<String, Value>>() })
}

/// The same, or null where that may be.
fn or_null(mut schema: Value, nullable: bool) -> Value {
    match schema.get_mut("type").filter(|_| nullable) {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(one) => *one = json!([one, "null"]),
        None => {}
    }
    schema
}

/// A field's value, inside another.
fn part(field: &Field) -> Value {
    or_null(value(field.data_type()), field.is_nullable())
}

/// What a type's values are in JSON.
fn value(of: &DataType) -> Value {
    match of {
        DataType::Boolean => json!({ "type": "boolean" }),
        DataType::Int64 => json!({ "type": ["integer", "string"], "format": "int64" }),
        DataType::UInt64 => json!({ "type": ["integer", "string"], "format": "uint64" }),
        of if of.is_integer() => json!({ "type": "integer" }),
        of if of.is_floating() => json!({ "type": ["number", "string"] }),
        of if of.is_decimal() => json!({ "type": "string", "format": "decimal" }),
        DataType::Date32 | DataType::Date64 => json!({ "type": "string", "format": "date" }),
        DataType::Time32(_) | DataType::Time64(_) => json!({ "type": "string", "format": "time" }),
        DataType::Timestamp(_, Some(_)) => json!({ "type": "string", "format": "date-time" }),
        DataType::Interval(_) => json!({ "type": "string", "format": "duration" }),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => json!({ "type": "string", "contentEncoding": "base64" }),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            json!({ "type": "array", "items": part(item) })
        }
        DataType::Struct(fields) => {
            let parts = fields.iter().map(|f| (f.name().clone(), part(f)));
            json!({ "type": "object", "properties": parts.collect::<Map<String, Value>>() })
        }
        DataType::Dictionary(_, inner) => value(inner),
        _ => json!({ "type": "string" }),
    }
}

fn responses(schema: &Value, is_one: bool) -> Value {
    let mut content = Map::new();
    content.insert(
        Format::Json.media_type().into(),
        json!({ "schema": schema }),
    );
    for format in [Format::Lines, Format::Arrow] {
        content.insert(format.media_type().into(), json!({}));
    }
    let failed = json!({
        "description": "What went wrong",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/problem" } } },
    });
    let mut all = json!({
        "200": { "description": "Rows", "content": content },
        "304": { "description": "They are what If-None-Match says" },
        "default": failed,
    });
    if is_one && let Some(all) = all.as_object_mut() {
        all.insert("404".into(), failed);
    }
    all
}

fn sql() -> Value {
    let answer = json!({
        "type": "object",
        "properties": {
            "columns": { "type": "array", "items": {
                "type": "object",
                "properties": { "name": { "type": "string" }, "type": { "type": "string" } },
            }},
            "rows": {
                "description": "Of a query its rows, of a write how many it has written",
                "anyOf": [
                    { "type": "array", "items": { "type": "array" } },
                    { "type": "integer" },
                ],
            },
            "status": { "type": "string", "description": "Of a definition or write" },
            "notices": { "type": "array", "items": { "type": "string" } },
        },
    });
    json!({ "post": {
        "summary": "Run one statement",
        "parameters": with_settings(Vec::new()),
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["sql"],
            "additionalProperties": false,
            "properties": {
                "sql": { "type": "string" },
                "parameters": { "type": "array", "description": "Values of $1, $2 …" },
                "settings": { "type": "object", "description": "What SET sets, for this statement" },
            },
        }}}},
        "responses": responses(&answer, false),
    }})
}

fn plain(summary: &str, media_type: &str) -> Value {
    json!({ "get": {
        "summary": summary,
        "responses": { "200": { "description": "It is", "content": { media_type: {} } } },
    }})
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable" },
            "sqlstate": { "type": "string" },
            "detail": { "type": "string" },
            "help": { "type": "string" },
            "position": { "type": "object", "properties": {
                "line": { "type": "integer" }, "column": { "type": "integer" },
            }},
        },
    })
}
