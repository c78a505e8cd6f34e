//! Text to statements: the cursor and its errors here, the statements in the files beside.

mod client;
mod copy;
mod cursor;
mod define;
mod grant;
mod later;
mod mapping;
mod policy;
mod role;
mod session;
mod standard;
mod subscribe;

use sqlparser::tokenizer::{Location, Token};

use crate::ast::{Spanned, Statement};
use crate::dialect::Bounded;
use crate::error::{ErrorKind, ParseError, shown};
use crate::limits::location_of;
use crate::redact;
use cursor::Cursor;

type Result<T> = std::result::Result<T, ParseError>;

/// sqlparser looks at the stack only here and there, and a debug build of it takes more between two such places than it
/// makes sure there is. This suffices for the deepest text that the limits admit; what is not used costs nothing.
const STACK: usize = 32 << 20;

/// Reads a text of statements with `;` between them. Empty ones are skipped; the first error ends it.
///
/// ```
/// let script = belvedere_sql::parse("-- two views\nDROP VIEW v;;\nDROP VIEW w;")?;
/// assert_eq!((script[1].text.as_str(), script[1].line), ("DROP VIEW w", 3));
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
pub fn parse(sql: &str) -> Result<Vec<Spanned>> {
    stacker::maybe_grow(STACK, STACK, || {
        parse_here(sql).map_err(|error| redact::error(sql, error))
    })
}

fn parse_here(sql: &str) -> Result<Vec<Spanned>> {
    let dialect = Bounded::default();
    let mut cursor = Cursor::new(sql, &dialect)?;
    let mut statements = Vec::new();
    loop {
        while cursor.take_token(&Token::SemiColon) {}
        if cursor.at_end() {
            return Ok(statements);
        }
        statements.push(cursor.spanned()?);
        if !cursor.at_end() && cursor.parser.peek_token_ref().token != Token::SemiColon {
            return cursor.expected("; or the end of the text");
        }
    }
}

/// Reads a text of exactly one statement.
///
/// ```
/// assert!(belvedere_sql::parse_one("SELECT 1;").is_ok());
/// assert!(belvedere_sql::parse_one("SELECT 1; SELECT 2").is_err());
/// ```
pub fn parse_one(sql: &str) -> Result<Spanned> {
    let mut statements = parse(sql)?.into_iter();
    match (statements.next(), statements.next()) {
        (Some(statement), None) => Ok(statement),
        (None, _) => {
            let kind = ErrorKind::Expected {
                expected: "a statement".into(),
                found: shown("EOF"),
            };
            Err(ParseError::new(kind, location_of(sql, sql.len())))
        }
        (Some(_), Some(second)) => {
            let kind = ErrorKind::Invalid("only one statement is taken at once".into());
            Err(ParseError::new(
                kind,
                Location::new(second.line, second.column),
            ))
        }
    }
}

impl Cursor<'_> {
    fn spanned(&mut self) -> Result<Spanned> {
        let start = self.mark();
        let statement = self.statement()?;
        let text = self.text_from(start);
        Ok(Spanned {
            statement,
            text,
            line: start.line,
            column: start.column,
        })
    }

    fn statement(&mut self) -> Result<Statement> {
        if let Some(error) = self.later_statement() {
            return Err(error);
        }
        if let Some(transaction) = self.transaction()? {
            return Ok(transaction);
        }
        match self.word(0).as_deref() {
            Some("DECLARE") => self.declare(),
            Some("FETCH" | "MOVE") => self.fetch(),
            Some("CLOSE") => self.close(),
            Some("UNLISTEN") => self.unlisten(),
            Some("CREATE") => self.create(),
            Some("ALTER") => self.alter(),
            Some("DROP") => self.drop(),
            Some("REFRESH") => self.refresh(),
            Some("COMMENT") => self.comment(),
            Some("SHOW") => self.show(),
            Some("DESCRIBE" | "DESC") => self.describe(),
            Some("SET") => self.set(),
            Some("RESET") => self.reset(),
            Some("EXPLAIN") => self.explain(),
            Some("COPY") => self.copy(),
            Some("SUBSCRIBE") => self.subscribe(),
            Some("REASSIGN") => self.reassign(),
            Some("GRANT") => self.grant(),
            Some("REVOKE") => self.revoke(),
            _ => self.standard(),
        }
    }
}
