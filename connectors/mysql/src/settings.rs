use std::path::PathBuf;
use std::time::Duration;

use belvedere_connector::{Code, Error, OptionSpec, Result, Secret, SourceConfig};
use mysql_async::{Opts, OptsBuilder, SslOpts};
use url::Url;

use crate::types::{Decision, Decisions, ZeroDates};

pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "password",
        help: "The user's password, as env:NAME or file:/path",
        secret: true,
    },
    OptionSpec {
        name: "max_connections",
        help: "Connections held at most (default 4)",
        secret: false,
    },
    OptionSpec {
        name: "connect_timeout",
        help: "Seconds to wait for a connection to be made (default 10)",
        secret: false,
    },
    OptionSpec {
        name: "writable",
        help: "Whether INSERT, UPDATE and DELETE are taken (default false)",
        secret: false,
    },
    OptionSpec {
        name: "columns",
        help: "How single columns are read: 'invoice.total: text; visit.day: null; call.length: interval'",
        secret: false,
    },
    OptionSpec {
        name: "zero_dates",
        help: "What dates such as 0000-00-00 or 2024-00-10 become: error (default), null or text",
        secret: false,
    },
    OptionSpec {
        name: "ssl_mode",
        help: "prefer (default: encrypted where the server can), require (encrypted), verify-full (certificate and \
               host name checked) or disable",
        secret: false,
    },
    OptionSpec {
        name: "ssl_root_cert",
        help: "File with the certificate authorities (PEM) that ssl_mode = 'verify-full' trusts instead of the \
               public ones",
        secret: false,
    },
];

/// How the connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyFull,
}

/// A source's definition, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub source: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    /// The URL's database: the default schema.
    pub database: String,
    /// Kept as a reference: a secret that changes on disk or is set later is found at the next connection.
    password: Option<String>,
    pub max_connections: usize,
    pub connect_timeout: Duration,
    pub ssl_mode: SslMode,
    ssl_root_cert: Option<PathBuf>,
    pub decisions: Decisions,
    /// Whether its tables may be written to.
    pub is_writable: bool,
}

impl Settings {
    pub fn parse(config: &SourceConfig) -> Result<Self> {
        Self::read(config).map_err(|e| e.at_source(&config.name))
    }

    fn read(config: &SourceConfig) -> Result<Self> {
        let invalid = |what: &str| {
            Error::new(Code::InvalidUrl, format!("the URL {what}"))
                .help("Write mysql://user@host:3306/database")
        };
        // The parser's own message does not quote the text, which may hold a password.
        let url =
            Url::parse(&config.url).map_err(|e| invalid(&format!("cannot be understood ({e})")))?;
        if url.password().is_some() {
            return Err(
                Error::new(Code::InvalidSecret, "the URL holds a password").help(
                    "Leave it out of the URL and refer to it: WITH (password = 'env:NAME') or 'file:/path'",
                ),
            );
        }
        if let Some((key, _)) = url.query_pairs().next() {
            return Err(Error::new(
                Code::InvalidUrl,
                format!("the URL has a parameter '{key}', and takes none"),
            )
            .help("Options are written WITH (name = 'value')"));
        }
        if url.fragment().is_some() {
            return Err(invalid("has a part after '#'"));
        }
        let host = match url.host() {
            Some(url::Host::Domain(name)) if !name.is_empty() => decode(name, &invalid)?,
            Some(url::Host::Ipv4(ip)) => ip.to_string(),
            Some(url::Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(invalid("names no host")),
        };
        let database = decode(url.path().trim_start_matches('/'), &invalid)?;
        if database.is_empty() || database.contains('/') {
            return Err(invalid("must name one database after the host"));
        }
        let user = decode(url.username(), &invalid)?;
        if user.is_empty() {
            return Err(invalid("names no user"));
        }
        if let Some(reference) = config.option("password")
            && !Secret::is_reference(reference)
        {
            return Err(
                Error::new(Code::InvalidSecret, "a password is never written literally")
                    .help("Refer to it: WITH (password = 'env:NAME') or 'file:/path'"),
            );
        }
        let ssl_mode =
            match config.choice("ssl_mode", &["prefer", "require", "verify-full", "disable"])? {
                "disable" => SslMode::Disable,
                "require" => SslMode::Require,
                "verify-full" => SslMode::VerifyFull,
                _ => SslMode::Prefer,
            };
        let ssl_root_cert = config.option("ssl_root_cert").map(PathBuf::from);
        if ssl_root_cert.is_some() && ssl_mode != SslMode::VerifyFull {
            return Err(Error::new(
                Code::InvalidOption,
                "option ssl_root_cert is used by ssl_mode = 'verify-full' alone",
            ));
        }
        let zero_dates = match config.choice("zero_dates", &["error", "null", "text"])? {
            "null" => ZeroDates::Null,
            "text" => ZeroDates::Text,
            _ => ZeroDates::Error,
        };
        let columns = config
            .column_decisions()?
            .into_iter()
            .map(|(column, decision)| Ok((column, Decision::parse(&decision)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            source: config.name.clone(),
            host,
            port: url.port().unwrap_or(3306),
            user,
            database,
            password: config.option("password").map(str::to_string),
            max_connections: config.number("max_connections", 4, 1)?,
            connect_timeout: Duration::from_secs(config.number("connect_timeout", 10, 1)? as u64),
            ssl_mode,
            ssl_root_cert,
            decisions: Decisions {
                zero_dates,
                columns,
            },
            is_writable: config.is_writable()?,
        })
    }

    /// The server, the account and the way to it; how columns are read is part of a fragment's schema.
    pub fn place(&self) -> String {
        let account = (&self.host, self.port, &self.user, &self.password);
        format!("mysql {:?}", (account, self.ssl_mode, &self.ssl_root_cert))
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What the client needs to connect; `encrypted` as tried now.
    pub fn client(&self, encrypted: bool) -> Result<Opts> {
        let password = match &self.password {
            Some(reference) => Some(
                Secret::resolve(reference)
                    .map_err(|e| e.at_source(&self.source))?
                    .expose()
                    .to_string(),
            ),
            None => None,
        };
        let ssl = encrypted.then(|| {
            let verify = self.ssl_mode == SslMode::VerifyFull;
            // TLS by ring, whatever else is linked: another library brings another implementation along, and rustls takes
            // neither by itself. An embedder's choice stands.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let ssl = SslOpts::default()
                .with_danger_accept_invalid_certs(!verify)
                .with_danger_skip_domain_validation(!verify);
            match &self.ssl_root_cert {
                Some(path) => ssl
                    .with_root_certs(vec![path.clone().into()])
                    .with_disable_built_in_roots(true),
                None => ssl,
            }
        });
        Ok(OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(password)
            .db_name(Some(self.database.clone()))
            .prefer_socket(false)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            // What we accept: a row may be longer than the server's own limit on what it accepts.
            .max_allowed_packet(Some(1 << 30))
            .stmt_cache_size(32)
            // Of an UPDATE the rows that it finds, also those that are so already.
            .client_found_rows(true)
            .ssl_opts(ssl)
            .into())
    }
}

/// Undo percent-encoding.
fn decode(text: &str, invalid: &dyn Fn(&str) -> Error) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err(invalid("has a '%' without two hexadecimal digits")),
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid("is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, options: &[(&str, &str)]) -> Result<Settings> {
        Settings::parse(&SourceConfig {
            name: "crm".into(),
            url: url.into(),
            options: options
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            limits: belvedere_connector::Limits::default(),
        })
    }

    #[test]
    fn a_url_names_user_host_and_database() {
        let s = parse("mysql://re%40der@db.example:3307/crm%20x", &[]).unwrap();
        assert_eq!(
            (
                s.user.as_str(),
                s.host.as_str(),
                s.port,
                s.database.as_str()
            ),
            ("re@der", "db.example", 3307, "crm x")
        );
        assert_eq!(parse("mariadb://u@[::1]/d", &[]).unwrap().host, "::1");
    }

    #[test]
    fn bad_definitions_say_what_to_write() {
        type Options<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(&str, Options<'_>, Code, &str)] = &[
            (
                "mysql://u:secret@h/d",
                &[],
                Code::InvalidSecret,
                "WITH (password = 'env:",
            ),
            ("mysql://u@h", &[], Code::InvalidUrl, "database"),
            ("mysql://u@h/", &[], Code::InvalidUrl, "database"),
            ("mysql://h/d", &[], Code::InvalidUrl, "user"),
            ("mysql://u@h:99999/d", &[], Code::InvalidUrl, "port"),
            ("mysql://u@h/d?ssl=1", &[], Code::InvalidUrl, "ssl"),
            (
                "mysql://u@h/d",
                &[("password", "hunter2")],
                Code::InvalidSecret,
                "env:",
            ),
            (
                "mysql://u@h/d",
                &[("zero_dates", "x")],
                Code::InvalidOption,
                "zero_dates",
            ),
            (
                "mysql://u@h/d",
                &[("max_connections", "0")],
                Code::InvalidOption,
                "max_connections",
            ),
            (
                "mysql://u@h/d",
                &[("columns", "a.b: frob")],
                Code::InvalidOption,
                "frob",
            ),
        ];
        for (url, options, code, part) in cases {
            let error = parse(url, options).unwrap_err();
            assert_eq!(error.code, *code, "{url}: {error}");
            let text = error.to_string();
            assert!(text.contains(part), "{url}: {text}");
            assert!(
                !text.contains("secret@") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
