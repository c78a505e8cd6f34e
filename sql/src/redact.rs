//! What may be shown of a text: all but passwords.

use std::borrow::Cow;
use std::ops::Range;

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

use crate::access::{HIDDEN, is_reference};
use crate::error::{A_TEXT, ErrorKind, ParseError, SOMETHING};
use crate::limits::{MAX_TEXT_BYTES, bytes_to};

/// Words that in a statement about a user end what is behind `PASSWORD`.
const BEHIND_PASSWORD: &[&str] = &[
    "NULL",
    "WITH",
    "ENCRYPTED",
    "SUPERUSER",
    "NOSUPERUSER",
    "VALID",
    "SET",
    "RESET",
    "RENAME",
];

/// The text with `'…'` in place of each password: for logs, and wherever else a statement is shown that someone has
/// written. It need not be SQL; where it is not, rather too much is hidden than too little.
///
/// Hidden are texts and what stands behind `PASSWORD` where a user or role is created or altered, and everywhere the text
/// that is behind `PASSWORD` or `password =`. References to secrets (`env:…`, `file:…`) are shown.
///
/// ```
/// use belvedere_sql::redacted;
///
/// assert_eq!(
///     redacted("CREATE USER ana PASSWORD 'a;b' SUPERUSER; GRANT sales TO ana"),
///     "CREATE USER ana PASSWORD '…' SUPERUSER; GRANT sales TO ana"
/// );
/// assert_eq!(redacted("ALTER USER ana PASSWORD s3cret"), "ALTER USER ana PASSWORD '…'");
/// ```
pub fn redacted(sql: &str) -> Cow<'_, str> {
    if !may_tell(sql) {
        return Cow::Borrowed(sql);
    }
    let Some(hidden) = passwords(sql) else {
        // A text that does not end, for one. Whatever it tells, it does so behind a quote or the word itself.
        let quote = sql.find(['\'', '"', '$']);
        let ends = quote.into_iter().chain(find(sql, &["password"]));
        let shown = ends.min().unwrap_or_default();
        return Cow::Owned(format!("{}{HIDDEN}", &sql[..shown]));
    };
    if hidden.is_empty() {
        return Cow::Borrowed(sql);
    }
    let mut shown = String::with_capacity(sql.len());
    let mut from = 0;
    for range in hidden {
        shown.push_str(&sql[from..range.start]);
        shown.push_str("'…'");
        from = range.end;
    }
    shown.push_str(&sql[from..]);
    Cow::Owned(shown)
}

/// The error without the password that it may have found where something else belongs.
pub(crate) fn error(sql: &str, mut error: ParseError) -> ParseError {
    if let ErrorKind::Expected { found, .. } = &mut error.kind
        && may_tell(sql)
    {
        let body = sql.strip_prefix('\u{feff}').unwrap_or(sql);
        let start = (sql.len() - body.len(), Location::new(1, 1));
        let at = bytes_to(sql, start, Location::new(error.line, error.column));
        let hidden = passwords(sql);
        // Where one is thought of, it is not told.
        if ![A_TEXT, SOMETHING].contains(&found.as_str())
            && hidden.is_none_or(|hidden| hidden.iter().any(|range| range.contains(&at)))
        {
            *found = format!("'{HIDDEN}'");
            error.hint = None;
        }
    }
    error
}

/// Whether there may be a password in a text. Most texts have none, and are not looked at any closer.
fn may_tell(sql: &str) -> bool {
    let has = |words| find(sql, words).is_some();
    has(&["password", "user", "role"]) && (has(&["password"]) || has(&["create", "alter"]))
}

/// Where the first of some words in lower case is in a text, in capitals or not.
fn find(sql: &str, words: &[&str]) -> Option<usize> {
    let sql = sql.as_bytes();
    let begins = |at: usize, word: &str| {
        let there = sql[at..].get(..word.len());
        there.is_some_and(|there| there.eq_ignore_ascii_case(word.as_bytes()))
    };
    (0..sql.len()).find(|at| words.iter().any(|word| begins(*at, word)))
}

/// Where the passwords are, if the text can be cut into tokens.
fn passwords(sql: &str) -> Option<Vec<Range<usize>>> {
    if sql.len() > MAX_TEXT_BYTES {
        return None;
    }
    let body = sql.strip_prefix('\u{feff}').unwrap_or(sql);
    let tokens = Tokenizer::new(&GenericDialect, body)
        .tokenize_with_location()
        .ok()?;
    let mut mark = (sql.len() - body.len(), Location::new(1, 1));
    let mut hidden: Vec<Range<usize>> = Vec::new();
    let mut statement = Statement::default();
    let mut goes_on = false;
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            continue;
        }
        let hides = statement.hides(&token.token);
        if hides {
            let start = bytes_to(sql, mark, token.span.start);
            let end = bytes_to(sql, (start, token.span.start), token.span.end);
            mark = (end, token.span.end);
            match hidden.last_mut().filter(|_| goes_on) {
                Some(before) => before.end = end,
                None => hidden.push(start..end),
            }
        }
        goes_on = hides;
    }
    Some(hidden)
}

/// A statement, as far as it has been looked at.
#[derive(Default)]
struct Statement {
    tokens: usize,
    /// Where `USER` or `ROLE` makes it one about users: behind `CREATE [OR REPLACE]` and `ALTER`.
    object_at: Option<usize>,
    is_of_user: bool,
    /// What follows is the value of a setting.
    sets: bool,
    /// What follows stands behind `PASSWORD`.
    is_behind: bool,
}

impl Statement {
    /// Whether the next token is or may be a password, or a part of one.
    fn hides(&mut self, token: &Token) -> bool {
        if *token == Token::SemiColon {
            *self = Self::default();
            return false;
        }
        let at = self.tokens;
        self.tokens += 1;
        let word = match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        };
        let word = word.as_str();
        match word {
            "CREATE" | "ALTER" if at == 0 => self.object_at = Some(1),
            "OR" if self.object_at == Some(1) && at == 1 => self.object_at = Some(3),
            "USER" | "ROLE" if self.object_at == Some(at) => self.is_of_user = true,
            // Behind the name.
            "SET" if self.is_of_user && at == 3 => self.sets = true,
            _ => {}
        }
        if word == "PASSWORD" {
            self.is_behind = true;
            return false;
        }
        if *token == Token::Eq {
            return false;
        }
        if literal(token).is_some_and(is_reference) {
            self.is_behind = false;
            return false;
        }
        let is_literal = literal(token).is_some();
        if self.is_of_user {
            self.is_behind &= !BEHIND_PASSWORD.contains(&word);
            return self.is_behind || is_literal && !self.sets;
        }
        let is_number = matches!(token, Token::Number(..));
        std::mem::take(&mut self.is_behind) && (is_literal || is_number)
    }
}

/// The text that a token is, however it is quoted.
pub(crate) fn literal(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text)
        | Token::DoubleQuotedString(text)
        | Token::TripleSingleQuotedString(text)
        | Token::TripleDoubleQuotedString(text)
        | Token::SingleQuotedByteStringLiteral(text)
        | Token::DoubleQuotedByteStringLiteral(text)
        | Token::TripleSingleQuotedByteStringLiteral(text)
        | Token::TripleDoubleQuotedByteStringLiteral(text)
        | Token::SingleQuotedRawStringLiteral(text)
        | Token::DoubleQuotedRawStringLiteral(text)
        | Token::TripleSingleQuotedRawStringLiteral(text)
        | Token::TripleDoubleQuotedRawStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::HexStringLiteral(text) => Some(text),
        Token::DollarQuotedString(text) => Some(&text.value),
        Token::QuoteDelimitedStringLiteral(text)
        | Token::NationalQuoteDelimitedStringLiteral(text) => Some(&text.value),
        _ => None,
    }
}
