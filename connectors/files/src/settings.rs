use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;
use belvedere_connector::{Code, Error, Result, SourceConfig};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::kind::Kind;
use crate::types;

/// A source's definition, checked. Secrets stay references until the store is made.
#[derive(Debug, Clone)]
pub struct Settings {
    pub config: SourceConfig,
    pub place: Place,
    /// The file's name, if the URL names a single file in the place.
    pub only: Option<String>,
    /// What the place itself is called: the table's name if it is one.
    pub place_name: String,
    pub csv: Csv,
    pub infer_rows: usize,
    /// Of a bucket: requests that are sent at once.
    pub max_connections: usize,
    decisions: Vec<(String, DataType)>,
}

/// Where the folder is.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Local(PathBuf),
    /// A bucket or container, and the folder in it, without slashes at its ends.
    S3 {
        bucket: String,
        folder: String,
    },
    Google {
        bucket: String,
        folder: String,
    },
    Azure {
        url: Url,
        folder: String,
    },
}

/// How CSV is read.
#[derive(Debug, Clone)]
pub struct Csv {
    pub header: bool,
    /// None: by the file's name.
    pub delimiter: Option<u8>,
    pub quote: u8,
    pub escape: Option<u8>,
    pub comment: Option<u8>,
    pub newlines: bool,
}

impl Settings {
    pub fn new(config: SourceConfig) -> Result<Self> {
        let (place, only, place_name) = place(&config)?;
        let byte = |name: &str| single_byte(&config, name);
        let csv = Csv {
            header: boolean(&config, "csv_header", true)?,
            delimiter: byte("csv_delimiter")?,
            quote: byte("csv_quote")?.unwrap_or(b'"'),
            escape: byte("csv_escape")?,
            comment: byte("csv_comment")?,
            newlines: boolean(&config, "csv_newlines", true)?,
        };
        let decisions = config
            .column_decisions()?
            .into_iter()
            .map(|(column, decision)| match types::declared(&decision) {
                Some(data_type) => Ok((column, data_type)),
                None => Err(Error::new(
                    Code::InvalidOption,
                    format!("option columns has no meaning for '{decision}' of {column}"),
                )
                .help(
                    "Write text, boolean, integer, bigint, double, decimal(p,s), date or timestamp",
                )
                .at_source(&config.name)),
            })
            .collect::<Result<Vec<_>>>()?;
        for name in ["virtual_host", "anonymous"] {
            boolean(&config, name, false)?;
        }
        Ok(Self {
            infer_rows: config.number("schema_infer_rows", 1000, 1)?,
            max_connections: config.number("max_connections", 64, 1)?,
            config,
            place,
            only,
            place_name,
            csv,
            decisions,
        })
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The type declared for a column.
    pub fn declared(&self, table: &str, column: &str) -> Option<&DataType> {
        let named = |name: &str| {
            name.strip_prefix(table)
                .and_then(|rest| rest.strip_prefix('.'))
                == Some(column)
        };
        self.decisions
            .iter()
            .rev()
            .find(|(name, _)| named(name))
            .map(|(_, data_type)| data_type)
    }

    pub fn flag(&self, name: &str) -> bool {
        self.config.option(name) == Some("true")
    }

    /// Stands for the definition in the registry of stores: two sources on one bucket with other credentials differ.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.config.name, &self.config.url, &self.config.options).hash(&mut hasher);
        hasher.finish()
    }

    /// What decides what rows the files have, as text: where they are, and how they are read.
    pub fn reading(&self) -> String {
        let of_place = |name: &str| {
            name.contains("key") || name.contains("token") || name == "max_connections"
        };
        let options = self.config.options.iter();
        let options: Vec<_> = options.filter(|(name, _)| !of_place(name)).collect();
        format!("{} {options:?}", self.config.url)
    }

    /// The URL as a person wrote it, for messages.
    pub fn url(&self) -> &str {
        &self.config.url
    }
}

fn boolean(config: &SourceConfig, name: &str, default: bool) -> Result<bool> {
    let words = if default {
        ["true", "false"]
    } else {
        ["false", "true"]
    };
    Ok(config.choice(name, &words)? == "true")
}

pub fn single_byte(config: &SourceConfig, name: &str) -> Result<Option<u8>> {
    let Some(text) = config.option(name) else {
        return Ok(None);
    };
    match text {
        "tab" | "\\t" => Ok(Some(b'\t')),
        _ if text.len() == 1 => Ok(Some(text.as_bytes()[0])),
        _ => Err(Error::new(
            Code::InvalidOption,
            format!("option {name} takes one ASCII character or 'tab', not '{text}'"),
        )
        .at_source(&config.name)),
    }
}

fn place(config: &SourceConfig) -> Result<(Place, Option<String>, String)> {
    let invalid = |message: String| Error::new(Code::InvalidUrl, message).at_source(&config.name);
    let text = config.url.as_str();
    let Some((scheme, rest)) = text
        .split_once(':')
        .filter(|(scheme, _)| scheme.len() > 1 && !scheme.contains('/'))
    else {
        return Ok(local(Path::new(text)));
    };
    if scheme == "file" {
        // `file:/dir` and `file:///dir`; percent escapes as in URLs only in the latter.
        return match rest.strip_prefix("//") {
            None => Ok(local(Path::new(rest))),
            Some(_) => Url::parse(text)
                .ok()
                .and_then(|url| url.to_file_path().ok())
                .map(|path| local(&path))
                .ok_or_else(|| invalid(format!("the URL {text} is not a path of this machine"))),
        };
    }
    let url =
        Url::parse(text).map_err(|e| invalid(format!("the URL {text} cannot be read: {e}")))?;
    let bucket = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| {
            invalid(format!(
                "the URL {text} names no bucket: write {scheme}://bucket/folder/"
            ))
        })?
        .to_string();
    if url.password().is_some() || url.query().is_some() {
        return Err(
            invalid("the URL of a bucket takes no password and no parameters".into())
                .help("Credentials are options: WITH (access_key_id = 'env:NAME', …)"),
        );
    }
    let decoded = percent_decode_str(url.path())
        .decode_utf8_lossy()
        .into_owned();
    let path = decoded.trim_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default().to_string();
    let (folder, only) = match Kind::of_name(&last) {
        Some(_) if !decoded.ends_with('/') => (
            path[..path.len() - last.len()]
                .trim_matches('/')
                .to_string(),
            Some(last),
        ),
        _ => (path.to_string(), None),
    };
    let name = folder
        .rsplit('/')
        .next()
        .filter(|n| !n.is_empty())
        .unwrap_or(&bucket)
        .to_string();
    let place = match scheme {
        "s3" | "s3a" => Place::S3 { bucket, folder },
        "gs" => Place::Google { bucket, folder },
        "az" | "azure" | "abfs" | "abfss" => Place::Azure { url, folder },
        _ => return Err(invalid(format!("files are not read from {scheme}:"))),
    };
    Ok((place, only, name))
}

/// A path names a file if there is one, or if its name says so and there is no such folder.
fn local(path: &Path) -> (Place, Option<String>, String) {
    let last = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_file = path.is_file() || (Kind::of_name(&last).is_some() && !path.is_dir());
    match path.parent().filter(|_| is_file) {
        Some(parent) => (Place::Local(parent.to_path_buf()), Some(last.clone()), last),
        None => (Place::Local(path.to_path_buf()), None, last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, options: &[(&str, &str)]) -> Result<Settings> {
        Settings::new(SourceConfig {
            name: "lake".into(),
            url: url.into(),
            options: options
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            limits: belvedere_connector::Limits::default(),
        })
    }

    #[test]
    fn urls_name_folders_and_files() {
        for (url, place, only) in [
            ("/data/sales/", Place::Local("/data/sales/".into()), None),
            (
                "file:///data/my%20sales",
                Place::Local("/data/my sales".into()),
                None,
            ),
            ("file:/data/sales", Place::Local("/data/sales".into()), None),
            (
                "/data/prices.csv.gz",
                Place::Local("/data".into()),
                Some("prices.csv.gz"),
            ),
            (
                "s3://b/a/sales/",
                Place::S3 {
                    bucket: "b".into(),
                    folder: "a/sales".into(),
                },
                None,
            ),
            (
                "s3a://b",
                Place::S3 {
                    bucket: "b".into(),
                    folder: String::new(),
                },
                None,
            ),
            (
                "gs://b/p.parquet",
                Place::Google {
                    bucket: "b".into(),
                    folder: String::new(),
                },
                Some("p.parquet"),
            ),
        ] {
            let found = settings(url, &[]).unwrap();
            assert_eq!((found.place, found.only.as_deref()), (place, only), "{url}");
        }
        for url in [
            "s3:///folder",
            "s3://user:pw@bucket/",
            "ftp://host/",
            "file://host/dir",
        ] {
            assert!(settings(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn options_are_checked() {
        let found = settings(
            "/d",
            &[
                ("csv_delimiter", "tab"),
                ("columns", "a.b: text; a.c: decimal(12,2)"),
            ],
        )
        .unwrap();
        assert_eq!(found.csv.delimiter, Some(b'\t'));
        assert_eq!(found.declared("a", "c"), Some(&DataType::Decimal128(12, 2)));
        assert_eq!(found.declared("b", "c"), None);
        for (name, value) in [
            ("csv_header", "maybe"),
            ("csv_delimiter", ";;"),
            ("columns", "a.b: money"),
            ("columns", "a.b: null"),
            ("schema_infer_rows", "0"),
        ] {
            let error = settings("/d", &[(name, value)]).unwrap_err();
            assert_eq!(error.code, Code::InvalidOption, "{name} = {value}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
