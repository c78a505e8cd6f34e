use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use belvedere_connector::{Code, Error, OptionSpec, Result, Secret, SourceConfig};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::capture::Names;

/// The options of `CREATE SOURCE … WITH (…)`.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "password",
        help: "the user's password: 'env:NAME' or 'file:/path'",
        secret: true,
    },
    OptionSpec {
        name: "max_connections",
        help: "connections held at most, default 4",
        secret: false,
    },
    OptionSpec {
        name: "columns",
        help: "how columns are read that need a decision: 'invoice.total: decimal(12,2); visit.day: null'; \
               text, null (where a value does not fit), decimal(p,s) or decimal(p,s) null",
        secret: false,
    },
    OptionSpec {
        name: "schemas",
        help: "only these schemas, separated by commas; default all",
        secret: false,
    },
    OptionSpec {
        name: "sslmode",
        help: "disable, prefer (default), require, verify-ca or verify-full, as in PostgreSQL",
        secret: false,
    },
    OptionSpec {
        name: "ssl_root_cert",
        help: "file of PEM certificates to trust for verify-ca and verify-full; default the system's",
        secret: false,
    },
    OptionSpec {
        name: "connect_timeout",
        help: "seconds to wait for a connection to be made, default 10",
        secret: false,
    },
    OptionSpec {
        name: "slot",
        help: "a logical replication slot of pgoutput to read changes from; default one that is made for it",
        secret: false,
    },
    OptionSpec {
        name: "publication",
        help: "a publication that has the tables whose changes are read; default one that is made for it",
        secret: false,
    },
    OptionSpec {
        name: "writable",
        help: "whether INSERT, UPDATE and DELETE are taken, default false",
        secret: false,
    },
    OptionSpec {
        name: "application_name",
        help: "as pg_stat_activity shows it, default belvedere",
        secret: false,
    },
];

/// What a URL's query may set, and the option each means.
const URL_KEYS: &[(&str, &str)] = &[
    ("sslmode", "sslmode"),
    ("sslrootcert", "ssl_root_cert"),
    ("ssl_root_cert", "ssl_root_cert"),
    ("connect_timeout", "connect_timeout"),
    ("application_name", "application_name"),
    ("host", "host"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// TLS if the server offers it; its certificate is not checked.
    Prefer,
    /// TLS or no connection; the certificate is checked only if a root certificate is given.
    Require,
    /// The certificate must come from a trusted authority.
    VerifyCa,
    /// And be the host's.
    VerifyFull,
}

/// A source's definition, checked. The password stays a reference until a connection is made, so that a rotated
/// secret is picked up and a missing one does not stop the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    pub source: String,
    pub config: SourceConfig,
    pub user: String,
    /// A host's name or address, or the folder of a Unix socket.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub ssl_mode: SslMode,
    pub ssl_root_cert: Option<PathBuf>,
    pub max_connections: usize,
    /// Bytes of its log that it may have to keep for us.
    pub max_lag: Option<u64>,
    pub connect_timeout: Duration,
    pub application_name: String,
    /// Whether its tables may be written to.
    pub is_writable: bool,
    /// Only these schemas; empty means all.
    pub schemas: Vec<String>,
    pub decisions: Vec<Decision>,
    /// What capture of changes uses at the server.
    pub names: Names,
}

/// What the user decided about one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub schema: Option<String>,
    pub table: String,
    pub column: String,
    pub reading: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As the server writes it.
    Text,
    /// By its own type, null where a value does not fit.
    Null,
    /// A number with this many digits, this many of them after the point.
    Decimal {
        precision: u8,
        scale: i8,
        /// Null, rather than an error, where a value does not fit.
        or_null: bool,
    },
}

impl Settings {
    /// The database, the account and the way to it; how columns are read is part of a fragment's schema.
    pub fn place(&self) -> String {
        let account = (&self.host, self.port, &self.user, &self.database);
        let password = self.config.option("password");
        format!(
            "postgres {:?}",
            (account, password, self.ssl_mode, &self.ssl_root_cert)
        )
    }

    pub fn new(config: SourceConfig) -> Result<Self> {
        let source = config.name.clone();
        Self::parse(config).map_err(|e| e.at_source(source))
    }

    fn parse(config: SourceConfig) -> Result<Self> {
        let url = Url::parse(&config.url).map_err(|e| {
            // The parser's own words never quote the URL.
            invalid_url(format!("the URL cannot be understood: {e}"))
        })?;
        if url.password().is_some() {
            return Err(Error::new(
                Code::InvalidSecret,
                "a password is never written in the URL",
            )
            .help(format!(
                "Keep it outside and refer to it: CREATE SOURCE {} FROM 'postgres://user@host/db' \
                 WITH (password = 'env:{}_PASSWORD')",
                config.name,
                config.name.to_uppercase()
            )));
        }
        let from_url = url_options(&url)?;
        let option = |name: &str| {
            config
                .option(name)
                .map(str::to_string)
                .or_else(|| from_url.get(name).cloned())
        };

        let user = decoded(url.username())?;
        if user.is_empty() {
            return Err(invalid_url("the URL names no user".to_string()));
        }
        let host = match (from_url.get("host"), url.host_str()) {
            (Some(host), _) => host.clone(),
            (None, Some(host)) => decoded(host.trim_start_matches('[').trim_end_matches(']'))?,
            (None, None) => "localhost".to_string(),
        };
        if host.contains(',') {
            return Err(invalid_url(
                "the URL names several hosts: one source is one server".to_string(),
            ));
        }
        let database = match decoded(url.path().trim_start_matches('/'))? {
            path if path.is_empty() => user.clone(),
            path => path,
        };
        let ssl_root_cert = option("ssl_root_cert").map(PathBuf::from);
        let ssl_mode = match option("sslmode").as_deref().unwrap_or("prefer") {
            "disable" => SslMode::Disable,
            "prefer" | "allow" => SslMode::Prefer,
            // As libpq does: who gives a root certificate wants it used.
            "require" if ssl_root_cert.is_some() => SslMode::VerifyCa,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            other => {
                return Err(invalid_option(format!(
                    "sslmode is one of disable, prefer, require, verify-ca, verify-full, not '{other}'"
                )));
            }
        };
        let seconds = option("connect_timeout").unwrap_or_else(|| "10".to_string());
        let connect_timeout = seconds
            .parse()
            .ok()
            .filter(|n| *n >= 1)
            .map(Duration::from_secs)
            .ok_or_else(|| {
                invalid_option(format!(
                    "connect_timeout is a number of seconds of at least 1, not '{seconds}'"
                ))
            })?;
        if let Some(reference) = config.option("password")
            && !Secret::is_reference(reference)
        {
            return Err(
                Error::new(Code::InvalidSecret, "a password is never written literally")
                    .help("Refer to it: WITH (password = 'env:NAME') or 'file:/run/secrets/name'"),
            );
        }
        Ok(Self {
            source: config.name.clone(),
            user,
            host,
            port: url.port().unwrap_or(5432),
            database,
            ssl_mode,
            ssl_root_cert,
            max_connections: config.number("max_connections", 4, 1)?,
            max_lag: config.limits.max_lag,
            connect_timeout,
            is_writable: config.is_writable()?,
            application_name: option("application_name").unwrap_or_else(|| "belvedere".to_string()),
            schemas: config
                .option("schemas")
                .unwrap_or_default()
                .split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(str::to_string)
                .collect(),
            decisions: decisions(&config)?,
            names: Names::new(&config)?,
            config,
        })
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        if self.host.starts_with('/') {
            format!("{}/.s.PGSQL.{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub fn decision(&self, schema: &str, table: &str, column: &str) -> Option<Reading> {
        self.decisions
            .iter()
            .find(|d| {
                d.schema.as_deref().is_none_or(|s| s == schema)
                    && d.table == table
                    && d.column == column
            })
            .map(|d| d.reading)
    }
}

fn decoded(text: &str) -> Result<String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| invalid_url("the URL holds bytes that are not UTF-8".to_string()))
}

fn url_options(url: &Url) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for (key, value) in url.query_pairs() {
        if key == "password" || key == "sslpassword" {
            return Err(Error::new(
                Code::InvalidSecret,
                "a password is never written in the URL",
            )
            .help("Refer to it: WITH (password = 'env:NAME')"));
        }
        match URL_KEYS.iter().find(|(known, _)| *known == key) {
            Some((_, option)) => {
                options.insert((*option).to_string(), value.into_owned());
            }
            None => {
                let nearest = URL_KEYS
                    .iter()
                    .min_by_key(|(known, _)| distance(known, &key))
                    .map_or("", |(known, _)| *known);
                return Err(
                    invalid_url(format!("the URL's parameter '{key}' is not known"))
                        .help(format!("The nearest known one is '{nearest}'")),
                );
            }
        }
    }
    Ok(options)
}

fn decisions(config: &SourceConfig) -> Result<Vec<Decision>> {
    config
        .column_decisions()?
        .into_iter()
        .map(|(path, text)| {
            let parts: Vec<&str> = path.split('.').collect();
            let (schema, table, column) = match parts[..] {
                [table, column] => (None, table, column),
                [schema, table, column] => (Some(schema.to_string()), table, column),
                _ => {
                    return Err(invalid_option(format!(
                        "columns names a column as table.column or schema.table.column, not '{path}'"
                    )));
                }
            };
            let reading = reading(&text).ok_or_else(|| {
                invalid_option(format!(
                    "columns decides text, null, decimal(p,s) or decimal(p,s) null, not '{text}' (for {path})"
                ))
            })?;
            Ok(Decision {
                schema,
                table: table.to_string(),
                column: column.to_string(),
                reading,
            })
        })
        .collect()
}

fn reading(text: &str) -> Option<Reading> {
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "text" => return Some(Reading::Text),
        "null" => return Some(Reading::Null),
        _ => {}
    }
    let rest = text
        .strip_prefix("decimal")
        .or_else(|| text.strip_prefix("numeric"))?;
    let (numbers, after) = rest.trim().strip_prefix('(')?.split_once(')')?;
    let (precision, scale) = match numbers.split_once(',') {
        Some((p, s)) => (p.trim().parse().ok()?, s.trim().parse().ok()?),
        None => (numbers.trim().parse().ok()?, 0),
    };
    let or_null = match after.trim() {
        "" => false,
        "null" => true,
        _ => return None,
    };
    ((1..=38).contains(&precision) && (0..=precision as i8).contains(&scale)).then_some(
        Reading::Decimal {
            precision,
            scale,
            or_null,
        },
    )
}

fn invalid_url(message: String) -> Error {
    Error::new(Code::InvalidUrl, message)
        .help("A PostgreSQL source is postgres://user@host:5432/database?sslmode=verify-full")
}

fn invalid_option(message: String) -> Error {
    Error::new(Code::InvalidOption, message)
}

/// Edit distance, for naming the nearest known word.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, options: &[(&str, &str)]) -> Result<Settings> {
        Settings::new(SourceConfig {
            name: "erp".into(),
            url: url.into(),
            options: options
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            limits: belvedere_connector::Limits::default(),
        })
    }

    #[test]
    fn a_url_names_everything() {
        let s = settings(
            "postgres://re%40der@db:6000/e%20rp?sslmode=verify-full",
            &[],
        )
        .unwrap();
        assert_eq!(
            (
                s.user.as_str(),
                s.host.as_str(),
                s.port,
                s.database.as_str()
            ),
            ("re@der", "db", 6000, "e rp")
        );
        assert_eq!(s.ssl_mode, SslMode::VerifyFull);
        let s = settings("postgresql://ana@[::1]", &[]).unwrap();
        assert_eq!(
            (s.host.as_str(), s.port, s.database.as_str()),
            ("::1", 5432, "ana")
        );
        let s = settings("postgres://ana@%2Frun%2Fpostgresql/db", &[]).unwrap();
        assert_eq!(s.address(), "/run/postgresql/.s.PGSQL.5432");
    }

    #[test]
    fn bad_definitions_are_named() {
        let code = |url: &str, options: &[(&str, &str)]| settings(url, options).unwrap_err();
        let e = code("postgres://ana:hunter2@db/erp", &[]);
        assert_eq!(e.code, Code::InvalidSecret);
        assert!(
            e.to_string()
                .contains("WITH (password = 'env:ERP_PASSWORD')")
        );
        assert!(!e.to_string().contains("hunter2"));
        let e = code("postgres://ana@db/erp?sslmod=require", &[]);
        assert_eq!(e.code, Code::InvalidUrl);
        assert!(e.to_string().contains("'sslmode'"), "{e}");
        assert_eq!(code("postgres://db/erp", &[]).code, Code::InvalidUrl);
        assert_eq!(code("postgres://a@b:x/erp", &[]).code, Code::InvalidUrl);
        assert_eq!(code("postgres://a@b,c/erp", &[]).code, Code::InvalidUrl);
        assert_eq!(
            code("postgres://a@b/c", &[("password", "hunter2")]).code,
            Code::InvalidSecret
        );
        for (name, value) in [
            ("max_connections", "0"),
            ("sslmode", "maybe"),
            ("connect_timeout", "-1"),
            ("columns", "invoice.total: float"),
            ("columns", "invoice.total: decimal(39,2)"),
        ] {
            assert_eq!(
                code("postgres://a@b/c", &[(name, value)]).code,
                Code::InvalidOption
            );
        }
    }

    #[test]
    fn decisions_are_found_by_name() {
        let s = settings(
            "postgres://a@b/c",
            &[("columns", "i.total: decimal(12,2) null; s.i.day: text")],
        )
        .unwrap();
        assert_eq!(
            s.decision("public", "i", "total"),
            Some(Reading::Decimal {
                precision: 12,
                scale: 2,
                or_null: true
            })
        );
        assert_eq!(s.decision("s", "i", "day"), Some(Reading::Text));
        assert_eq!(s.decision("public", "i", "day"), None);
    }
}
