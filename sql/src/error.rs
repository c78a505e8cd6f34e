//! What is wrong with a text, and where.

use std::fmt;

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::Location;

/// A text that is not SQL of this version: what is wrong, where, and perhaps what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// What to write instead, if that can be guessed.
    pub hint: Option<String>,
}

/// What is not shown is called so.
pub(crate) const A_TEXT: &str = "a text";
pub(crate) const SOMETHING: &str = "something else";

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Something else belongs here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What belongs here.
        expected: String,
        /// What is here.
        found: String,
    },
    /// Anything that cannot be said as expected and found: a string that does not end, a bad number.
    #[error("{0}")]
    Invalid(String),
    /// An option given twice.
    #[error("option {0} is given twice")]
    DuplicateOption(String),
    /// A statement or clause that a later version will have.
    #[error("{what} is not in this version")]
    NotInThisVersion {
        /// The statement or clause.
        what: String,
    },
    /// More text than is taken at once.
    #[error("the SQL text has {bytes} bytes; at most {limit} are taken at once")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// Parentheses, subqueries, CASE and the like, one in the other, deeper than is taken.
    #[error("the statement is nested too deeply (about {limit} levels are taken)")]
    TooDeep {
        /// The most that is taken.
        limit: usize,
    },
    /// Nested in a way that has many readings, each of which would have to be tried.
    #[error("the statement is nested in too many ways at once to be read")]
    TooComplex,
    /// One expression with more operators in a row than are taken.
    #[error("the expression has more than {limit} operators in a row")]
    TooManyOperators {
        /// The most that is taken.
        limit: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (line {}, column {})",
            self.kind, self.line, self.column
        )?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// As many characters of a long line are shown on each side of the place.
const CONTEXT: usize = 60;

impl ParseError {
    pub(crate) fn new(kind: ErrorKind, at: Location) -> Self {
        Self {
            kind,
            line: at.line.max(1),
            column: at.column.max(1),
            hint: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = self.hint.or(hint);
        self
    }

    /// sqlparser's error with the place taken out of its text; where it has none (at the end of the text, or nested
    /// too deeply) the place is `here`.
    pub(crate) fn from_sqlparser(error: ParserError, here: Location) -> Self {
        let text = match error {
            ParserError::RecursionLimitExceeded => {
                return Self::new(
                    ErrorKind::TooDeep {
                        limit: crate::limits::RECURSION_LIMIT,
                    },
                    here,
                );
            }
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        };
        let (text, at) = match split_place(&text) {
            Some((text, at)) => (text, at),
            None => (text.as_str(), here),
        };
        let kind = match text
            .strip_prefix("Expected: ")
            .and_then(|rest| rest.split_once(", found: "))
        {
            Some((expected, found)) => ErrorKind::Expected {
                expected: expected.to_owned(),
                found: shown(found),
            },
            None => ErrorKind::Invalid(
                lower_first(text)
                    .trim_end_matches('.')
                    .replace("unexpected EOF while in", "the text ends in")
                    .replace("EOF", "the end of the text"),
            ),
        };
        Self::new(kind, at)
    }

    /// The error with the line it is in and a caret below the place: what a shell prints.
    ///
    /// ```
    /// let sql = "DROP VIEW v,";
    /// assert_eq!(belvedere_sql::parse(sql).unwrap_err().render(sql), "\
    /// error: expected a name, found the end of the text
    ///   at line 1, column 13
    ///   | DROP VIEW v,
    ///   |             ^");
    /// ```
    pub fn render(&self, sql: &str) -> String {
        let mut out = format!(
            "error: {}\n  at line {}, column {}",
            self.kind, self.line, self.column
        );
        let line = usize::try_from(self.line - 1)
            .ok()
            .and_then(|n| sql.split('\n').nth(n));
        if let Some(line) = line {
            let at = usize::try_from(self.column - 1).unwrap_or(usize::MAX);
            let from = at.saturating_sub(CONTEXT);
            // Tabs and control characters would move the caret away from its place.
            let part: String = line
                .trim_end_matches('\r')
                .chars()
                .skip(from)
                .take(2 * CONTEXT)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            let at = (at - from).min(part.chars().count());
            out.push_str(&format!(
                "\n  | {}\n  | {}^",
                part.trim_end(),
                " ".repeat(at)
            ));
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\n  hint: {hint}"));
        }
        out
    }
}

/// Splits `… at Line: 1, Column: 2`.
fn split_place(text: &str) -> Option<(&str, Location)> {
    let (text, place) = text.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some((
        text,
        Location::new(line.parse().ok()?, column.parse().ok()?),
    ))
}

/// A token in an error: short, and without its line breaks.
pub(crate) fn shown(token: &str) -> String {
    if token == "EOF" {
        return "the end of the text".to_owned();
    }
    let mut short: String = token
        .chars()
        .take(40)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if short.len() < token.len() && token.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // An abbreviation keeps its capitals.
        Some(first) if !chars.as_str().starts_with(|c: char| c.is_uppercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// "did you mean …?" for the candidate nearest to `word`, if one is near.
pub(crate) fn nearest(word: &str, candidates: &[&str]) -> Option<String> {
    // A long "word" is no typing error, and the distance is quadratic.
    if word.len() > 32 {
        return None;
    }
    let word = word.to_uppercase();
    let near = word.len().div_ceil(3).min(2);
    let best = candidates
        .iter()
        .map(|c| (distance(&word, c), c))
        .min_by_key(|(d, _)| *d)?;
    (1..=near)
        .contains(&best.0)
        .then(|| format!("did you mean {}?", best.1))
}

/// Edits from one to the other, two letters changing places being one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut cost = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(rows[i - 2][j - 2] + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
