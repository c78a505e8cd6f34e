//! What later versions will have: recognised, so that the answer is "not in this version" and not a riddle.

use sqlparser::tokenizer::Location;

use super::cursor::Cursor;
use crate::error::{ErrorKind, ParseError};

/// First words of statements of later versions.
const STATEMENTS: &[&[&str]] = &[
    &["CREATE", "TEMPORARY", "VIEW"],
    &["CREATE", "TEMP", "VIEW"],
    &["CREATE", "RECURSIVE", "VIEW"],
    &["CREATE", "SINK"],
    &["CREATE", "TASK"],
    &["ALTER", "DEFAULT", "PRIVILEGES"],
    &["ALTER", "POLICY"],
    &["ALTER", "MASK"],
    &["ALTER", "SINK"],
    &["ALTER", "TASK"],
    &["DROP", "OWNED"],
    &["DROP", "SINK"],
    &["DROP", "TASK"],
    &["COMMENT", "ON", "INDEX"],
    &["COMMENT", "ON", "ROLE"],
    &["COMMENT", "ON", "USER"],
    &["SHOW", "MATERIALIZED", "VIEWS"],
    &["SET", "ROLE"],
    &["SET", "SESSION", "AUTHORIZATION"],
    &["LISTEN"],
    &["NOTIFY"],
];

impl Cursor<'_> {
    /// The error for a statement of a later version, if one begins here.
    pub(super) fn later_statement(&self) -> Option<ParseError> {
        // `CREATE OR REPLACE X` is `CREATE X` here.
        let skipped = if self.ahead(&["CREATE", "OR", "REPLACE"]) {
            2
        } else {
            0
        };
        let begins = |words: &[&str]| {
            words
                .iter()
                .enumerate()
                .all(|(n, word)| self.is_word(if n == 0 { 0 } else { n + skipped }, word))
        };
        let words = *STATEMENTS.iter().find(|words| begins(words))?;
        let instead = match words {
            ["LISTEN" | "NOTIFY"] => {
                Some("SUBSCRIBE TO a view tells what changes in it".to_owned())
            }
            _ => None,
        };
        Some(not_in_this_version(words.join(" "), self.here()).with_hint(instead))
    }
}

pub(super) fn not_in_this_version(what: String, place: Location) -> ParseError {
    ParseError::new(ErrorKind::NotInThisVersion { what }, place)
}
