use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use futures::StreamExt;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::numbers::with_exact_numbers;
use super::problem::Problem;
use crate::engine::setting_names;

/// The prefix of a header that sets a setting for one request.
const SETTING: &str = "belvedere-";
/// The longest body.
const BODY_BYTES: usize = 16 << 20;
/// Until when a body is there.
const BODY: Duration = Duration::from_secs(60);
/// Rows of a page, and of an answer without pages.
pub(super) const MOST_ROWS: usize = 10_000;
const ROWS: usize = 100;
/// What stands for NULL in a key; as text it is written `%40`.
pub(super) const NULL: &str = "@";

const VIEWS: &str = "/v1/views/";

type Result<T> = std::result::Result<T, Problem>;
/// Header, setting and value of each.
pub(super) type Settings = Vec<(String, String, String)>;
/// Values of a key's columns, in their order, as they are written; None is NULL.
pub(super) type KeyTexts = Vec<Option<String>>;

/// How rows are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// An object a line.
    Lines,
    Arrow,
}

impl Format {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::Lines => &[
                "application/x-ndjson",
                "application/ndjson",
                "application/jsonl",
            ],
            Self::Arrow => &["application/vnd.apache.arrow.stream"],
        }
    }

    /// The one that the client likes best.
    pub fn accepted(headers: &HeaderMap) -> Result<Self> {
        const ALL: [Format; 3] = [Format::Json, Format::Lines, Format::Arrow];
        let accepts = headers.get_all(ACCEPT).iter();
        let ranges: Vec<(String, f32)> = accepts
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(range)
            .collect();
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        let likes = |format: Format| {
            let of = |name: &str| ranges.iter().find(|(range, _)| range == name);
            let exact = format.names().iter().find_map(|name| of(name));
            let found = exact.or_else(|| of("application/*")).or_else(|| of("*/*"));
            found.map_or(0.0, |(_, quality)| *quality)
        };
        let mut best = None;
        for format in ALL {
            let quality = likes(format);
            if quality > best.map_or(0.0, |(_, q)| q) {
                best = Some((format, quality));
            }
        }
        best.map(|(format, _)| format).ok_or_else(|| {
            let [json, lines, arrow] = ALL.map(Self::media_type);
            let detail = format!("there are {json}, {lines} and {arrow}, and none is accepted");
            Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
        })
    }
}

/// `type/subtype;q=0.5`
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let quality = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1.0), |q| q.parse().ok())?;
    Some((name.to_ascii_lowercase(), quality))
}

/// Settings of the request's headers. Some clients cannot send `_` in a header: `-` is the same.
pub(super) fn settings(headers: &HeaderMap) -> Result<Settings> {
    let mut found = Vec::new();
    for (header, value) in headers {
        let Some(setting) = header.as_str().strip_prefix(SETTING) else {
            continue;
        };
        let value = value
            .to_str()
            .map_err(|_| Problem::request(format!("header {header} is not text")))?;
        found.push((
            header.to_string(),
            setting.replace('-', "_"),
            value.to_string(),
        ));
    }
    found.sort();
    Ok(found)
}

/// Each header that sets a setting, and the setting's name and help; a name with `_` may be written in two ways.
pub(super) fn setting_headers() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    setting_names().flat_map(|(name, help)| {
        let dashed = name.replace('_', "-");
        let as_it_is = (dashed != name).then(|| name.to_string());
        let all = std::iter::once(dashed).chain(as_it_is);
        all.map(move |written| (format!("{SETTING}{written}"), name, help))
    })
}

/// The body as JSON that is this.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T> {
    let is_json = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        let name = text.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("application/json")
    };
    // Browsers let pages from elsewhere send other types without asking: those are not taken.
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let problem = Problem::new(status, "media_type", "the body has to be JSON");
        return Err(problem.help("Send it with Content-Type: application/json"));
    }
    let body = tokio::time::timeout(BODY, bytes(headers, body)).await;
    let body = body.map_err(|_| {
        let detail = format!("the body was not there within {} s", BODY.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
    })??;
    // Serde takes an array for a struct.
    if body.trim_ascii_start().starts_with(b"[") {
        let detail = "the body is not what it should be: an array in place of an object";
        let before = &body[..body.len() - body.trim_ascii_start().len()];
        let lines = before.split(|byte| *byte == b'\n');
        let (line, blanks) = lines.enumerate().last().unwrap_or_default();
        return Err(Problem::request(detail).at(line as u64 + 1, blanks.len() as u64 + 1));
    }
    let read = serde_json::from_slice(&with_exact_numbers(&body));
    // Places are those of what was sent.
    read.map_err(|e| Problem::body(&serde_json::from_slice::<T>(&body).err().unwrap_or(e)))
}

async fn bytes(headers: &HeaderMap, body: Body) -> Result<Bytes> {
    let too_large = || {
        let detail = format!("the body is longer than {} MB", BODY_BYTES >> 20);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_BYTES) {
        return Err(too_large());
    }
    let mut whole = Vec::with_capacity(length.unwrap_or(0).min(64 << 10));
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::request("the body ends too soon"))?;
        if whole.len() + piece.len() > BODY_BYTES {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// Of `/v1/views/{view}` and `/v1/views/{view}/{key}`.
pub(super) struct Path {
    pub view: Vec<String>,
    pub key: Option<KeyTexts>,
}

impl Path {
    pub fn read(uri: &Uri) -> Result<Self> {
        let path = uri.path().strip_prefix(VIEWS).unwrap_or_default();
        let (view, key) = match path.split_once('/') {
            Some((view, key)) => (view, Some(key)),
            None => (path, None),
        };
        Ok(Self {
            view: names(&decoded(view)?, '.', "the view's name")?,
            key: key.map(key_texts).transpose()?,
        })
    }
}

/// What comes after `?`.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// A column, and the text of what it has to be.
    pub columns: Vec<(String, String)>,
    pub select: Vec<String>,
    pub limit: Option<usize>,
    pub after: Option<KeyTexts>,
}

impl Query {
    pub fn read(uri: &Uri) -> Result<Self> {
        let mut query = Self::default();
        let mut seen = Vec::new();
        let pairs = uri.query().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Problem::request("a parameter of the query has no value").help("Write name=value")
            })?;
            let (name, value) = (decoded(&plus(name))?, decoded(&plus(value))?);
            if seen.contains(&name) {
                return Err(Problem::request(format!("parameter {name} is given twice")));
            }
            match name.as_str() {
                "select" => query.select = names(&value, ',', "select")?,
                "limit" => query.limit = Some(limit(&value)?),
                "after" => query.after = Some(key_texts(&value)?),
                column => {
                    // A column that is called like one of those is quoted.
                    let column = match names(column, '\0', "a column")?.as_slice() {
                        [column] => column.clone(),
                        _ => return Err(Problem::request("a parameter's name is no column")),
                    };
                    query.columns.push((column, value));
                }
            }
            seen.push(name);
        }
        Ok(query)
    }

    pub fn rows(&self) -> usize {
        self.limit.unwrap_or(ROWS)
    }
}

fn limit(text: &str) -> Result<usize> {
    let number = text.parse().ok().filter(|n| (1..=MOST_ROWS).contains(n));
    number.ok_or_else(|| Problem::request(format!("limit is a number from 1 to {MOST_ROWS}")))
}

/// Values with commas between them, each encoded by itself.
pub(super) fn key_texts(text: &str) -> Result<KeyTexts> {
    let values = text.split(',').map(|value| match value {
        NULL => Ok(None),
        value => decoded(value).map(Some),
    });
    values.collect()
}

fn plus(text: &str) -> String {
    text.replace('+', " ")
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Problem::request("the URL is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// Names with a separator between them; one that has it inside is quoted: `a."b.c"`.
fn names(text: &str, separator: char, what: &str) -> Result<Vec<String>> {
    let wrong = || {
        Problem::request(format!("{what} is not written as names are"))
            .help("Put a name with other characters into double quotes: \"a.b\"")
    };
    let mut names = Vec::new();
    let mut left = text.chars().peekable();
    loop {
        let mut name = String::new();
        let quoted = left.next_if_eq(&'"').is_some();
        loop {
            match left.peek() {
                None if quoted => return Err(wrong()),
                None => break,
                Some('"') if quoted => {
                    left.next();
                    match left.next_if_eq(&'"') {
                        Some(quote) => name.push(quote),
                        None => break,
                    }
                }
                Some(c) if !quoted && *c == separator => break,
                Some(c) => {
                    name.push(*c);
                    left.next();
                }
            }
        }
        if name.is_empty() {
            return Err(wrong());
        }
        names.push(name);
        match left.next() {
            None => return Ok(names),
            Some(c) if c == separator => {}
            Some(_) => return Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let of = |text: &str| names(text, '.', "it").map_err(|_| ());
        assert_eq!(of("a.b").unwrap(), ["a", "b"]);
        assert_eq!(of("\"a.b\".\"c\"\"\"").unwrap(), ["a.b", "c\""]);
        assert_eq!(of("日本.x").unwrap(), ["日本", "x"]);
        for wrong in ["", ".", "a.", ".a", "\"a", "\"a\"b", "\"\""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_taken_apart_before_they_are_decoded() {
        let of = |text: &str| key_texts(text).map_err(|_| ()).unwrap();
        let some = |text: &str| Some(text.to_string());
        assert_eq!(of("a,b"), [some("a"), some("b")]);
        assert_eq!(of("a%2Cb"), [some("a,b")]);
        assert_eq!(of("@,%40,"), [None, some("@"), some("")]);
    }

    #[test]
    fn the_best_format_is_taken() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Format::accepted(&headers).ok()
        };
        assert_eq!(of("*/*"), Some(Format::Json));
        assert_eq!(of("text/html, */*;q=0.8"), Some(Format::Json));
        assert_eq!(
            of("application/vnd.apache.arrow.stream"),
            Some(Format::Arrow)
        );
        assert_eq!(
            of("application/json;q=0.1, application/x-ndjson"),
            Some(Format::Lines)
        );
        assert_eq!(of("application/json;q=0, */*"), Some(Format::Lines));
        assert_eq!(of("text/csv"), None);
        assert_eq!(Format::accepted(&HeaderMap::new()).ok(), Some(Format::Json));
    }
}
