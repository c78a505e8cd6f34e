//! What later versions will have: recognised, so that the answer is "not in this version" and not a riddle.

use super::cursor::Cursor;
use crate::error::{ErrorKind, ParseError};

/// First words of statements of later versions.
const STATEMENTS: &[&[&str]] = &[
    &["CREATE", "MATERIALIZED", "VIEW"],
    &["CREATE", "TEMPORARY", "VIEW"],
    &["CREATE", "TEMP", "VIEW"],
    &["CREATE", "RECURSIVE", "VIEW"],
    &["CREATE", "INDEX"],
    &["CREATE", "UNIQUE", "INDEX"],
    &["CREATE", "USER"],
    &["CREATE", "ROLE"],
    &["CREATE", "POLICY"],
    &["CREATE", "MASK"],
    &["CREATE", "SINK"],
    &["CREATE", "TASK"],
    &["ALTER", "MATERIALIZED", "VIEW"],
    &["ALTER", "INDEX"],
    &["ALTER", "USER"],
    &["ALTER", "ROLE"],
    &["ALTER", "POLICY"],
    &["ALTER", "MASK"],
    &["ALTER", "SINK"],
    &["ALTER", "TASK"],
    &["DROP", "MATERIALIZED", "VIEW"],
    &["DROP", "INDEX"],
    &["DROP", "USER"],
    &["DROP", "ROLE"],
    &["DROP", "POLICY"],
    &["DROP", "MASK"],
    &["DROP", "SINK"],
    &["DROP", "TASK"],
    &["REFRESH", "MATERIALIZED", "VIEW"],
    &["COMMENT", "ON", "MATERIALIZED", "VIEW"],
    &["COMMENT", "ON", "INDEX"],
    &["COMMENT", "ON", "ROLE"],
    &["COMMENT", "ON", "USER"],
    &["SHOW", "CREATE", "MATERIALIZED", "VIEW"],
    &["SHOW", "MATERIALIZED", "VIEWS"],
    &["SET", "ROLE"],
    &["SET", "SESSION", "AUTHORIZATION"],
    &["SET", "SESSION", "CHARACTERISTICS"],
    &["SET", "TRANSACTION"],
    &["SUBSCRIBE"],
    &["GRANT"],
    &["REVOKE"],
    &["COPY"],
    &["BEGIN"],
    &["START", "TRANSACTION"],
    &["COMMIT"],
    &["END"],
    &["ROLLBACK"],
    &["ABORT"],
    &["SAVEPOINT"],
    &["RELEASE"],
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
        let words = STATEMENTS.iter().find(|words| begins(words))?;
        Some(self.not_in_this_version(words.join(" ")))
    }

    /// The error for `FROM t VERSION AS OF 3`, which sqlparser reads as an alias and stops behind it.
    pub(super) fn later_clause(&self) -> Option<ParseError> {
        // How far the failed attempt got is not said; the clause is within a token or two of where it stopped.
        let mut index = self.parser.get_current_index().saturating_sub(4);
        let last = self.parser.get_current_index() + 4;
        let mut words: Vec<String> = Vec::new();
        while index <= last {
            let token = &self.parser.token_at(index).token;
            if let sqlparser::tokenizer::Token::Word(word) = token {
                words.push(if word.quote_style.is_none() {
                    word.value.to_ascii_uppercase()
                } else {
                    String::new()
                });
            } else if !matches!(token, sqlparser::tokenizer::Token::Whitespace(_)) {
                words.push(String::new());
            }
            index += 1;
        }
        let what = words
            .windows(3)
            .find(|w| matches!(w[0].as_str(), "VERSION" | "TIMESTAMP") && w[1..] == ["AS", "OF"])?;
        Some(self.not_in_this_version(what.join(" ")))
    }

    fn not_in_this_version(&self, what: String) -> ParseError {
        ParseError::new(ErrorKind::NotInThisVersion { what }, self.here())
    }
}
