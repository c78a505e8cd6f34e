//! Limits on untrusted text, checked on bytes and tokens before anything recursive sees them.
//!
//! sqlparser counts its own recursion, but not everywhere (`ARRAY<ARRAY<…`), and it builds `1 + 1 + 1 + …` in a loop
//! into a tree as deep as the chain is long. Parsing that is harmless; dropping, cloning or comparing it, or merely
//! failing further right, recurses once per level and overflows the stack of a server's thread.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::{ErrorKind, ParseError};

/// The longest text taken at once. The tokens of a text need some forty times its memory.
pub const MAX_TEXT_BYTES: usize = 4 << 20;
/// Parentheses, brackets and braces inside each other.
pub const MAX_NESTING: usize = 64;
/// Operators in one expression, and set operators in one query, at the same level of parentheses.
pub const MAX_CHAIN: usize = 1000;
/// What sqlparser counts: several per level of parentheses. DataFusion's default of 50 is a subset of it.
pub(crate) const RECURSION_LIMIT: usize = 128;

/// Length, and bytes that no SQL text has.
pub(crate) fn check_text(sql: &str) -> Result<(), ParseError> {
    if sql.len() > MAX_TEXT_BYTES {
        let kind = ErrorKind::TooLong {
            bytes: sql.len(),
            limit: MAX_TEXT_BYTES,
        };
        return Err(ParseError::new(kind, Location::new(1, 1)));
    }
    if let Some(at) = sql.find('\0') {
        let kind = ErrorKind::Invalid("a NUL character cannot be part of SQL text".to_owned());
        return Err(ParseError::new(kind, location_of(sql, at)));
    }
    Ok(())
}

/// The place of a byte.
pub(crate) fn location_of(sql: &str, byte: usize) -> Location {
    let before = &sql[..byte];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    Location::new(line as u64, column as u64)
}

/// What is counted at one level of parentheses.
#[derive(Default)]
struct Level {
    operators: usize,
    set_operators: usize,
}

/// Nesting, and the length of chains.
pub(crate) fn check_tokens(tokens: &[TokenWithSpan]) -> Result<(), ParseError> {
    let mut levels = vec![Level::default()];
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // `a[1][2]` and `int[][]` are chains too, of what comes after the bracket.
                if let (Token::LBracket, Some(level)) = (token, levels.last_mut()) {
                    level.operators += 1;
                }
                levels.push(Level::default());
                if levels.len() > MAX_NESTING + 1 {
                    return Err(ParseError::new(
                        ErrorKind::TooDeep { limit: MAX_NESTING },
                        span.start,
                    ));
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => {
                levels.pop();
            }
            Token::SemiColon => {
                levels.clear();
                levels.push(Level::default());
            }
            _ => {}
        }
        if let Some(level) = levels.last_mut() {
            level.count(token);
            if level.operators > MAX_CHAIN || level.set_operators > MAX_CHAIN {
                let error =
                    ParseError::new(ErrorKind::TooManyOperators { limit: MAX_CHAIN }, span.start);
                let hint = "write a long OR as IN (…), or put parentheses around its parts";
                return Err(error.with_hint(Some(hint.to_owned())));
            }
        }
    }
    Ok(())
}

impl Level {
    /// Counts every token that could make the tree one level deeper; words in doubt are counted, as no expression of a
    /// person or a tool has a thousand of them.
    fn count(&mut self, token: &Token) {
        match token {
            Token::Comma => self.operators = 0,
            Token::Word(word) => match word.keyword {
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                    self.operators = 0;
                    self.set_operators += 1;
                }
                Keyword::SELECT
                | Keyword::FROM
                | Keyword::WHERE
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::LIMIT
                | Keyword::WHEN
                | Keyword::THEN => self.operators = 0,
                Keyword::AND
                | Keyword::OR
                | Keyword::XOR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::REGEXP
                | Keyword::RLIKE
                | Keyword::MATCH
                | Keyword::OVERLAPS
                | Keyword::OPERATOR
                | Keyword::NOTNULL
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::DIV
                | Keyword::MEMBER
                | Keyword::ARRAY
                | Keyword::CASE
                | Keyword::JOIN
                | Keyword::APPLY
                | Keyword::PIVOT
                | Keyword::UNPIVOT
                | Keyword::MATCH_RECOGNIZE => self.operators += 1,
                _ => {}
            },
            Token::EOF
            | Token::Whitespace(_)
            | Token::Number(..)
            | Token::Char(_)
            | Token::Placeholder(_)
            | Token::SemiColon
            | Token::Period
            | Token::LParen
            | Token::RParen
            | Token::LBracket
            | Token::RBracket
            | Token::LBrace
            | Token::RBrace => {}
            Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_) => {}
            _ => self.operators += 1,
        }
    }
}
