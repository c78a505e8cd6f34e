use std::collections::BTreeMap;
use std::fmt;

use crate::calm::Limits;
use crate::error::{Code, Error, Result};

/// An option a connector's sources take in `WITH (…)`.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    pub name: &'static str,
    /// One line for people: what it does, its values and default.
    pub help: &'static str,
    /// Its value must be a reference to a secret (`env:…`, `file:…`).
    pub secret: bool,
}

/// A source as it was defined: name, URL and options. Secrets are references until [`SourceConfig::secret`] is asked.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// The source's name in the engine.
    pub name: String,
    /// As written, relative paths made absolute by the engine. Never holds a password.
    pub url: String,
    /// Known options only: the engine has checked names against [`Connector::options`](crate::Connector::options).
    pub options: BTreeMap<String, String>,
    /// The engine keeps them; some connectors' libraries can, too.
    pub limits: Limits,
}

impl SourceConfig {
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// An option that is a whole number of at least `min`.
    pub fn number(&self, name: &str, default: usize, min: usize) -> Result<usize> {
        let Some(text) = self.option(name) else {
            return Ok(default);
        };
        text.parse().ok().filter(|n| *n >= min).ok_or_else(|| {
            Error::new(
                Code::InvalidOption,
                format!("option {name} takes a whole number of at least {min}, not '{text}'"),
            )
            .at_source(&self.name)
        })
    }

    /// An option that is one of a few words; the first is the default.
    pub fn choice<'a>(&self, name: &str, words: &[&'a str]) -> Result<&'a str> {
        let Some(text) = self.option(name) else {
            return Ok(words[0]);
        };
        words.iter().find(|w| **w == text).copied().ok_or_else(|| {
            Error::new(
                Code::InvalidOption,
                format!("option {name} is one of {}, not '{text}'", words.join(", ")),
            )
            .at_source(&self.name)
        })
    }

    /// The option `writable`: whether the source's tables may be written to.
    pub fn is_writable(&self) -> Result<bool> {
        Ok(self.choice("writable", &["false", "true"])? == "true")
    }

    /// Resolve the secret an option refers to: `env:NAME` or `file:/path` (a final line break is cut).
    pub fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let Some(reference) = self.option(name) else {
            return Ok(None);
        };
        Secret::resolve(reference)
            .map(Some)
            .map_err(|e| e.at_source(&self.name))
    }

    /// The declared decisions about columns: `columns = 'invoice.total: text; visit.day: null'`, as
    /// (`table.column`, decision) pairs in the order written.
    pub fn column_decisions(&self) -> Result<Vec<(String, String)>> {
        let Some(text) = self.option("columns") else {
            return Ok(Vec::new());
        };
        text.split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| match part.split_once(':') {
                Some((column, decision))
                    if column.contains('.') && !decision.trim().is_empty() =>
                {
                    Ok((column.trim().to_string(), decision.trim().to_string()))
                }
                _ => Err(Error::new(
                    Code::InvalidOption,
                    format!("option columns is a list like 'invoice.total: text; visit.day: null', not '{part}'"),
                )
                .at_source(&self.name)),
            })
            .collect()
    }
}

/// A resolved secret. Printing it shows nothing.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Whether `text` has the form of a reference to a secret.
    pub fn is_reference(text: &str) -> bool {
        text.starts_with("env:") || text.starts_with("file:")
    }

    pub fn resolve(reference: &str) -> Result<Self> {
        if let Some(variable) = reference.strip_prefix("env:") {
            return std::env::var(variable).map(Self).map_err(|_| {
                Error::new(
                    Code::InvalidSecret,
                    format!("the environment variable {variable} is not set"),
                )
                .help("Set it for the process of the engine, then run REFRESH SOURCE")
            });
        }
        if let Some(path) = reference.strip_prefix("file:") {
            return std::fs::read_to_string(path)
                .map(|text| Self(text.trim_end_matches(['\r', '\n']).to_string()))
                .map_err(|e| {
                    Error::new(
                        Code::InvalidSecret,
                        format!("the secret file {path} cannot be read"),
                    )
                    .caused_by(e)
                });
        }
        Err(Error::new(
            Code::InvalidSecret,
            "a secret is never written literally".to_string(),
        )
        .help("Refer to it: 'env:NAME' or 'file:/run/secrets/name'"))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A number with a unit; `units` are (suffix, factor), the empty suffix being the default unit.
pub fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let (_, factor) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}
