//! Limits on untrusted text, checked on bytes and tokens before anything recursive sees them.
//!
//! sqlparser counts its own recursion, but not everywhere (`ARRAY<ARRAY<…`), and it builds `1 + 1 + 1 + …` in a loop
//! into a tree as deep as the chain is long. Parsing that is harmless; dropping, cloning or comparing it, or merely
//! failing further right, recurses once per level and overflows the stack of a server's thread.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::balance::SHORT_CHAIN;
use crate::error::{ErrorKind, ParseError};

/// The longest text taken at once. The tokens of a text need some forty times its memory.
pub const MAX_TEXT_BYTES: usize = 4 << 20;
/// Parentheses, brackets and braces inside each other.
pub const MAX_NESTING: usize = 64;
/// How deep a tree operators may make, those in parentheses below included: `1 + 1 + 1` is two deep. Cloning such a
/// tree takes a debug build half of the 2 MiB that a thread of a server has.
pub const MAX_DEPTH: usize = 200;
/// AND and OR in one condition, and UNION ALL in one query. They are read into a balanced tree, so that they may be many.
pub const MAX_BOOLEANS: usize = 4000;
/// How often a part of a query may have to be read: `((SELECT …) a JOIN b)` makes it four times, and four times four
/// inside another one.
const MAX_READINGS: usize = 1 << 14;
/// What sqlparser counts: several per level of parentheses. DataFusion's default of 50 is a subset of it.
pub(crate) const RECURSION_LIMIT: usize = 64;

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

/// The byte of a place at or behind a mark: a byte and its place.
pub(crate) fn bytes_to(sql: &str, (mut byte, mut at): (usize, Location), place: Location) -> usize {
    for c in sql[byte..].chars() {
        if (at.line, at.column) >= (place.line, place.column) {
            break;
        }
        byte += c.len_utf8();
        if c == '\n' {
            at = Location::new(at.line + 1, 1);
        } else {
            at.column += 1;
        }
    }
    byte
}

/// Nesting, and the depth of the tree that chains of operators make of each statement.
pub(crate) fn check_tokens(tokens: &[TokenWithSpan]) -> Result<(), ParseError> {
    let mut levels = vec![Level::default()];
    // How many `(` there are in a row, up to here.
    let mut row = 0;
    for TokenWithSpan { token, span } in tokens {
        top(&mut levels).settle_union(token);
        match token {
            Token::Whitespace(_) => {}
            Token::LParen => row += 1,
            _ => {
                if row > 1 && begins_query(token) {
                    top(&mut levels).read_again(row);
                }
                row = 0;
            }
        }
        if top(&mut levels).readings() > MAX_READINGS {
            return Err(ParseError::new(ErrorKind::TooComplex, span.start));
        }
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // `a[1][2]` and `int[][]` are chains too, of what comes after the bracket.
                if *token == Token::LBracket {
                    top(&mut levels).operator();
                }
                let readings = top(&mut levels).readings;
                levels.push(Level {
                    readings,
                    ..Level::default()
                });
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                while close(&mut levels) == Some(Opened::Case) {}
            }
            Token::Word(word) if word.keyword == Keyword::CASE => {
                let readings = top(&mut levels).readings;
                levels.push(Level {
                    opened: Opened::Case,
                    readings,
                    ..Level::default()
                });
            }
            // `end` may also be a name.
            Token::Word(word)
                if word.keyword == Keyword::END && top(&mut levels).opened == Opened::Case =>
            {
                close(&mut levels);
            }
            Token::SemiColon => levels = vec![Level::default()],
            _ => top(&mut levels).count(token),
        }
        if levels.len() > MAX_NESTING + 1 {
            return Err(ParseError::new(
                ErrorKind::TooDeep { limit: MAX_NESTING },
                span.start,
            ));
        }
        let depth = top(&mut levels).depth();
        let limit = if depth.parsed > MAX_BOOLEANS {
            MAX_BOOLEANS
        } else if depth.kept > MAX_DEPTH {
            MAX_DEPTH
        } else {
            continue;
        };
        let error = ParseError::new(ErrorKind::TooManyOperators { limit }, span.start);
        let hint = "write many OR as IN (…), and many UNION ALL as several views";
        return Err(error.with_hint(Some(hint.to_owned())));
    }
    Ok(())
}

fn begins_query(token: &Token) -> bool {
    use Keyword as K;
    matches!(token, Token::Word(word)
        if matches!(word.keyword, K::SELECT | K::WITH | K::FROM | K::VALUES | K::TABLE))
}

fn top(levels: &mut Vec<Level>) -> &mut Level {
    if levels.is_empty() {
        levels.push(Level::default());
    }
    let last = levels.len() - 1;
    &mut levels[last]
}

/// Ends a level: what is in it hangs below an operand of the level around it. The outermost one stays.
fn close(levels: &mut Vec<Level>) -> Option<Opened> {
    if levels.len() < 2 {
        return None;
    }
    let inner = levels.pop()?;
    let outer = top(levels);
    outer.below = outer.below.max(inner.depth().plus(1));
    Some(inner.opened)
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Opened {
    #[default]
    Bracket,
    Case,
}

/// Upper bounds of the depth of a tree.
#[derive(Default, Clone, Copy)]
struct Depth {
    /// As sqlparser builds it; it may be dropped in this form if the text turns out wrong further right.
    parsed: usize,
    /// With chains of AND and OR balanced.
    kept: usize,
}

impl Depth {
    fn plus(self, levels: usize) -> Self {
        Self {
            parsed: self.parsed + levels,
            kept: self.kept + levels,
        }
    }

    /// Below a chain of so many AND and OR.
    fn below_booleans(self, count: usize) -> Self {
        // The ORs of a level are one balanced tree, with a balanced tree of ANDs below each of its leaves.
        Self {
            parsed: self.parsed + count,
            kept: self.kept + count.min(2 * balanced(count)),
        }
    }

    /// Below so many UNION ALL and other set operators.
    fn below_set_operators(self, all: usize, others: usize) -> Self {
        // Between two others there may be a run of UNION ALL, each a tree of its own.
        let levels = others + all.min((others + 1) * balanced(all));
        Self {
            parsed: self.parsed + all + others,
            kept: self.kept + SET_OPERATOR_WEIGHT * levels,
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            parsed: self.parsed.max(other.parsed),
            kept: self.kept.max(other.kept),
        }
    }
}

/// How deep a chain of so many operators is once it is balanced, or left alone because it is short.
fn balanced(count: usize) -> usize {
    SHORT_CHAIN.max((usize::BITS - count.leading_zeros()) as usize)
}

/// sqlparser's node of a set operation is so large that cloning it takes several times the stack of an expression.
const SET_OPERATOR_WEIGHT: usize = 5;

/// An upper bound of the depth of the tree between one pair of parentheses. A comma or a clause begins another
/// expression; AND and OR bind weakest, so that what is between them hangs below them, side by side.
#[derive(Default)]
struct Level {
    opened: Opened,
    /// UNION ALL.
    unions: usize,
    /// Other set operators.
    set_operators: usize,
    /// Whether the last token was UNION.
    after_union: bool,
    /// The deepest expression before this one.
    deepest: Depth,
    /// AND and OR in this expression.
    booleans: usize,
    /// The deepest part between them before this one.
    widest: Depth,
    /// Other operators in this part.
    operators: usize,
    /// The deepest parentheses in this part.
    below: Depth,
    /// BETWEEN that wait for their AND, which is none of the other kind.
    betweens: usize,
    /// How often all in here is read, if more than once.
    readings: usize,
}

impl Level {
    fn depth(&self) -> Depth {
        let part = self.widest.max(self.below.plus(self.operators));
        let expression = self.deepest.max(part.below_booleans(self.booleans));
        expression.below_set_operators(self.unions, self.set_operators)
    }

    fn readings(&self) -> usize {
        self.readings.max(1)
    }

    /// A query behind several parentheses is tried as a derived table and as a table in parentheses.
    fn read_again(&mut self, parentheses: usize) {
        self.readings = self.readings().saturating_mul(parentheses * parentheses);
    }

    fn operator(&mut self) {
        self.operators += 1;
    }

    fn end_part(&mut self) {
        self.widest = self.widest.max(self.below.plus(self.operators));
        (self.operators, self.below, self.betweens) = (0, Depth::default(), 0);
    }

    fn end_expression(&mut self) {
        self.end_part();
        self.deepest = self.deepest.max(self.widest.below_booleans(self.booleans));
        (self.booleans, self.widest) = (0, Depth::default());
    }

    /// Counts the UNION before this token as what it is.
    fn settle_union(&mut self, token: &Token) {
        if !matches!(token, Token::Whitespace(_)) && std::mem::take(&mut self.after_union) {
            match token {
                Token::Word(word) if word.keyword == Keyword::ALL => self.unions += 1,
                _ => self.set_operators += 1,
            }
        }
    }

    /// Counts every token that could make the tree one level deeper; words in doubt are counted, as no expression of a
    /// person or a tool has a thousand of them.
    fn count(&mut self, token: &Token) {
        use Keyword as K;
        match token {
            Token::Comma => self.end_expression(),
            Token::Word(word) => match word.keyword {
                // Which UNION it is, the next word says.
                K::UNION => {
                    self.end_expression();
                    self.after_union = true;
                }
                K::EXCEPT | K::INTERSECT | K::MINUS => {
                    self.end_expression();
                    self.set_operators += 1;
                }
                K::SELECT
                | K::FROM
                | K::WHERE
                | K::GROUP
                | K::HAVING
                | K::ORDER
                | K::LIMIT
                | K::WHEN
                | K::THEN => {
                    self.end_expression();
                }
                K::AND if self.betweens > 0 => {
                    self.betweens -= 1;
                    self.operator();
                }
                K::AND | K::OR => {
                    self.end_part();
                    self.booleans += 1;
                }
                K::BETWEEN => {
                    self.betweens += 1;
                    self.operator();
                }
                K::XOR
                | K::NOT
                | K::IS
                | K::IN
                | K::LIKE
                | K::ILIKE
                | K::SIMILAR
                | K::REGEXP
                | K::RLIKE
                | K::MATCH
                | K::OVERLAPS
                | K::OPERATOR
                | K::NOTNULL
                | K::COLLATE
                | K::AT
                | K::DIV
                | K::MEMBER
                | K::ARRAY
                | K::JOIN
                | K::APPLY
                | K::PIVOT
                | K::UNPIVOT
                | K::MATCH_RECOGNIZE
                | K::INTERVAL => self.operator(),
                _ => {}
            },
            Token::EOF
            | Token::Whitespace(_)
            | Token::Number(..)
            | Token::Char(_)
            | Token::Placeholder(_)
            | Token::Period
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_) => {}
            _ => self.operator(),
        }
    }
}
