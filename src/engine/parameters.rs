//! Parameters of PostgreSQL's that its clients set and show: each says something of a session that is so here anyway, or is
//! kept for whoever asks again.

use std::collections::BTreeMap;

use crate::catalog::CATALOG;
use crate::error::{Error, Result};

/// What clients take for the version they talk to: it says which of PostgreSQL's statements and catalogs they may use.
pub(crate) const SERVER_VERSION: &str = "16.4";

/// A parameter's values.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// It cannot be set.
    Fixed,
    /// Any text, which changes nothing.
    Any,
    /// One of these, which all mean what is so anyway; the first is how it is shown.
    Only(&'static [&'static str]),
    /// One of these.
    OneOf(&'static [&'static str]),
}

use Takes::{Any, Fixed, OneOf, Only};

const ON: Takes = Only(&["on", "true", "yes", "1"]);
const OFF: Takes = Only(&["off", "false", "no", "0"]);
const LEVELS: Takes = OneOf(&[
    "repeatable read",
    "serializable",
    "read committed",
    "read uncommitted",
]);

/// Name, value when a session begins, what may be set.
const KNOWN: &[(&str, &str, Takes)] = &[
    ("application_name", "", Any),
    ("array_nulls", "on", ON),
    ("block_size", "8192", Fixed),
    ("backslash_quote", "safe_encoding", Any),
    ("bytea_output", "hex", Only(&["hex"])),
    ("check_function_bodies", "on", Any),
    (
        "client_encoding",
        "UTF8",
        Only(&["UTF8", "UTF-8", "UNICODE"]),
    ),
    ("client_min_messages", "notice", Any),
    ("constraint_exclusion", "partition", Any),
    ("cursor_tuple_fraction", "0.1", Any),
    (
        "DateStyle",
        "ISO, MDY",
        Only(&[
            "ISO, MDY", "ISO", "ISO,MDY", "ISO, DMY", "ISO,DMY", "ISO, YMD", "ISO,YMD",
        ]),
    ),
    ("default_table_access_method", "heap", Any),
    ("default_tablespace", "", Any),
    ("default_transaction_deferrable", "off", Any),
    ("default_transaction_isolation", "repeatable read", LEVELS),
    (
        "default_transaction_read_only",
        "off",
        OneOf(&["off", "on"]),
    ),
    ("enable_bitmapscan", "on", Any),
    ("enable_hashjoin", "on", Any),
    ("enable_indexscan", "on", Any),
    ("enable_mergejoin", "on", Any),
    ("enable_nestloop", "on", Any),
    ("enable_seqscan", "on", Any),
    ("extra_float_digits", "1", Any),
    ("geqo", "on", Any),
    ("idle_in_transaction_session_timeout", "0", Any),
    ("in_hot_standby", "off", Fixed),
    ("integer_datetimes", "on", Fixed),
    ("IntervalStyle", "postgres", Only(&["postgres"])),
    ("is_superuser", "on", Fixed),
    ("jit", "off", Any),
    ("lc_collate", "C", Fixed),
    ("lc_ctype", "C", Fixed),
    ("lc_messages", "C", Any),
    ("lc_monetary", "C", Any),
    ("lc_numeric", "C", Any),
    ("lc_time", "C", Any),
    ("lock_timeout", "0", Any),
    ("log_statement", "none", Any),
    ("max_identifier_length", "63", Fixed),
    ("max_index_keys", "32", Fixed),
    ("password_encryption", "scram-sha-256", Any),
    ("quote_all_identifiers", "off", Any),
    ("role", "none", Only(&["none"])),
    ("row_security", "on", Any),
    ("server_encoding", "UTF8", Fixed),
    ("server_version", SERVER_VERSION, Fixed),
    ("server_version_num", "160004", Fixed),
    ("session_authorization", CATALOG, Any),
    ("ssl", "off", Fixed),
    ("standard_conforming_strings", "on", ON),
    ("synchronize_seqscans", "on", Any),
    ("synchronous_commit", "on", Any),
    ("transaction_deferrable", "off", Any),
    ("transaction_isolation", "repeatable read", LEVELS),
    ("transaction_read_only", "off", OneOf(&["off", "on"])),
    ("transform_null_equals", "off", OFF),
    ("vacuum_freeze_min_age", "50000000", Any),
    ("wal_level", "replica", Fixed),
    ("work_mem", "4MB", Any),
    ("xmloption", "content", Any),
];

/// What a session has set of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// None: there is none of this name.
    pub fn get(&self, name: &str) -> Option<String> {
        let (known, default, _) = find(name)?;
        let set = self.0.get(known).cloned();
        Some(set.unwrap_or_else(|| default.to_string()))
    }

    /// Set one, or with no value make it what it was; false if there is none of this name.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let Some((known, _, takes)) = find(name) else {
            return Ok(false);
        };
        let Some(value) = value else {
            self.0.remove(known);
            return Ok(true);
        };
        let among = |allowed: &[&'static str]| {
            // Some clients quote what they say at the beginning of a connection.
            let given = value.trim().trim_matches('\'');
            allowed
                .iter()
                .copied()
                .find(|a| a.eq_ignore_ascii_case(given))
        };
        let kept = match takes {
            Fixed => None,
            Any => Some(value.to_string()),
            Only(allowed) => among(allowed).map(|_| allowed[0].to_string()),
            OneOf(allowed) => among(allowed).map(str::to_string),
        };
        let Some(kept) = kept else {
            let message = format!("parameter {known} cannot be set to '{value}'");
            return Err(match takes {
                Only(allowed) | OneOf(allowed) => {
                    Error::invalid_with_help(message, format!("It may be {}", allowed[0]))
                }
                Fixed | Any => Error::invalid(message),
            });
        };
        self.0.insert(known, kept);
        Ok(true)
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        KNOWN.iter().map(|(name, default, _)| {
            let set = self.0.get(name).cloned();
            (*name, set.unwrap_or_else(|| default.to_string()))
        })
    }
}

fn find(name: &str) -> Option<(&'static str, &'static str, Takes)> {
    let found = KNOWN
        .iter()
        .find(|(known, _, _)| known.eq_ignore_ascii_case(name));
    found.copied()
}
