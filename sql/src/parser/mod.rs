//! Text to statements: the cursor and its errors here, the statements in the files beside.

mod define;
mod later;
mod session;

use std::ops::ControlFlow;

use sqlparser::ast::{Ident, Query, SetExpr, Visit, Visitor};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use crate::ast::{Spanned, Statement};
use crate::error::{ErrorKind, ParseError, nearest, shown};
use crate::limits::{RECURSION_LIMIT, check_text, check_tokens, location_of};
use crate::name::{Name, fold, is_reserved};
use crate::options::{Options, Value};

type Result<T> = std::result::Result<T, ParseError>;

/// What DataFusion reads by default.
static DIALECT: GenericDialect = GenericDialect;

/// Reads a text of statements with `;` between them. Empty ones are skipped; the first error ends it.
///
/// ```
/// let script = belvedere_sql::parse("-- two views\nDROP VIEW v;;\nDROP VIEW w;")?;
/// assert_eq!((script[1].text.as_str(), script[1].line), ("DROP VIEW w", 3));
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
pub fn parse(sql: &str) -> Result<Vec<Spanned>> {
    let mut cursor = Cursor::new(sql)?;
    let mut statements = Vec::new();
    loop {
        while cursor.take_token(&Token::SemiColon) {}
        if cursor.at_end() {
            return Ok(statements);
        }
        statements.push(cursor.spanned()?);
        if !cursor.at_end() && cursor.parser.peek_token_ref().token != Token::SemiColon {
            return cursor
                .later_clause()
                .map_or_else(|| cursor.expected("; or the end of the text"), Err);
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

/// sqlparser's parser, our primitives on it, and the text they read.
struct Cursor<'a> {
    parser: Parser<'static>,
    sql: &'a str,
    end: Location,
    /// A byte and its place. Statements come in order, so that their bytes are found in one pass over the text.
    mark: (usize, Location),
}

impl<'a> Cursor<'a> {
    fn new(sql: &'a str) -> Result<Self> {
        check_text(sql)?;
        let end = location_of(sql, sql.len());
        // A byte order mark is what some editors put first in a file.
        let (body, skipped) = match sql.strip_prefix('\u{feff}') {
            Some(body) => (body, sql.len() - body.len()),
            None => (sql, 0),
        };
        let tokens = Tokenizer::new(&DIALECT, body)
            .tokenize_with_location()
            .map_err(|e| ParseError::from_sqlparser(e.into(), end))?;
        check_tokens(&tokens)?;
        let parser = Parser::new(&DIALECT)
            .with_tokens_with_locations(tokens)
            .with_recursion_limit(RECURSION_LIMIT);
        Ok(Self {
            parser,
            sql,
            end,
            mark: (skipped, Location::new(1, 1)),
        })
    }

    fn spanned(&mut self) -> Result<Spanned> {
        let start = self.here();
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
        match self.word(0).as_deref() {
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
            Some("TABLE") => Ok(Statement::Query(self.query()?)),
            _ => self.standard(),
        }
    }

    /// A statement that is sqlparser's.
    fn standard(&mut self) -> Result<Statement> {
        let (start, first) = (self.here(), self.plain_word(0));
        let statement = match self.parser.parse_statement() {
            Ok(statement) => statement,
            Err(e) => {
                let error = self.lift(e);
                if (error.line, error.column) == (start.line, start.column) {
                    let hint = first.and_then(|word| nearest(&word, STATEMENTS));
                    return Err(ParseError {
                        kind: self.expected_kind("a statement"),
                        ..error
                    }
                    .with_hint(hint));
                }
                return Err(error);
            }
        };
        Ok(match statement {
            sqlparser::ast::Statement::Query(query) if !writes(&query) => Statement::Query(query),
            other => Statement::Other(Box::new(other)),
        })
    }

    /// A query that only reads.
    fn query(&mut self) -> Result<Box<Query>> {
        if !self.query_follows() {
            return self.expected("a query");
        }
        let start = self.here();
        let query = self.parser.parse_query().map_err(|e| self.lift(e))?;
        if writes(&query) {
            let kind = ErrorKind::Invalid("the query may only read".to_owned());
            return Err(ParseError::new(kind, start));
        }
        Ok(query)
    }

    fn query_follows(&self) -> bool {
        self.parser.peek_token_ref().token == Token::LParen
            || matches!(
                self.word(0).as_deref(),
                Some("SELECT" | "WITH" | "VALUES" | "TABLE" | "FROM")
            )
    }

    /// An error of sqlparser's in our form.
    fn lift(&self, error: sqlparser::parser::ParserError) -> ParseError {
        if let Some(later) = self.later_clause() {
            return later;
        }
        ParseError::from_sqlparser(error, self.here())
    }

    // -- places

    /// The place of the next token.
    fn here(&self) -> Location {
        self.place(self.parser.peek_token_ref())
    }

    fn place(&self, token: &TokenWithSpan) -> Location {
        if token.span.start.line == 0 {
            self.end
        } else {
            token.span.start
        }
    }

    /// The text from `start`, which lies at or behind the start of the statement, to the last token taken.
    fn text_from(&mut self, start: Location) -> String {
        let from = self.byte_at(start);
        // Going back from a token that was looked at leaves the cursor behind blanks and comments.
        let mut index = self.parser.get_current_index();
        while index > 0
            && matches!(
                self.parser.token_at(index).token,
                Token::Whitespace(_) | Token::EOF
            )
        {
            index -= 1;
        }
        let end = self.parser.token_at(index).span.end;
        let to = if end.line == 0 {
            self.sql.len()
        } else {
            bytes_to(self.sql, self.mark, end)
        };
        self.sql.get(from..to).unwrap_or_default().to_owned()
    }

    fn byte_at(&mut self, place: Location) -> usize {
        let byte = bytes_to(self.sql, self.mark, place);
        self.mark = (byte, place);
        byte
    }

    // -- words and tokens

    /// The n-th word from here in capitals, if it is one and not quoted.
    fn word(&self, n: usize) -> Option<String> {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(Word {
                value,
                quote_style: None,
                ..
            }) => Some(value.to_ascii_uppercase()),
            _ => None,
        }
    }

    /// The n-th word as written.
    fn plain_word(&self, n: usize) -> Option<String> {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(Word {
                value,
                quote_style: None,
                ..
            }) => Some(value.clone()),
            _ => None,
        }
    }

    /// Whether exactly these words come next.
    fn ahead(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, w)| self.is_word(n, w))
    }

    fn is_word(&self, n: usize, word: &str) -> bool {
        matches!(&self.parser.peek_nth_token_ref(n).token,
            Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
    }

    /// Takes these words if all of them come next.
    fn take(&mut self, words: &[&str]) -> bool {
        let found = self.ahead(words);
        if found {
            for _ in words {
                self.parser.advance_token();
            }
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        self.expect_one(&[word]).map(|_| ())
    }

    /// Takes one of these words and says which.
    fn expect_one<'w>(&mut self, words: &[&'w str]) -> Result<&'w str> {
        match words.iter().find(|w| self.is_word(0, w)) {
            Some(word) => {
                self.parser.advance_token();
                Ok(word)
            }
            None => {
                let hint = self.plain_word(0).and_then(|found| nearest(&found, words));
                self.expected(&listed(words))
                    .map_err(|e: ParseError| e.with_hint(hint))
            }
        }
    }

    fn take_token(&mut self, token: &Token) -> bool {
        let found = self.parser.peek_token_ref().token == *token;
        if found {
            self.parser.advance_token();
        }
        found
    }

    fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) {
            Ok(())
        } else {
            self.expected(&token.to_string())
        }
    }

    fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// Whether the statement ends here.
    fn at_statement_end(&self) -> bool {
        matches!(
            self.parser.peek_token_ref().token,
            Token::EOF | Token::SemiColon
        )
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        Err(ParseError::new(self.expected_kind(what), self.here()))
    }

    fn expected_kind(&self, what: &str) -> ErrorKind {
        let found = shown(&self.parser.peek_token_ref().token.to_string());
        ErrorKind::Expected {
            expected: what.to_owned(),
            found,
        }
    }

    // -- names and values

    fn ident(&mut self) -> Result<Ident> {
        self.ident_for("a name")
    }

    fn ident_for(&mut self, what: &str) -> Result<Ident> {
        let TokenWithSpan {
            token: Token::Word(word),
            span,
        } = self.parser.peek_token_ref()
        else {
            return self.expected(what);
        };
        let (ident, span) = (
            Ident {
                value: word.value.clone(),
                quote_style: word.quote_style,
                span: *span,
            },
            *span,
        );
        if word.quote_style.is_none() && is_reserved(&word.value) {
            let hint = format!(
                "{0} is a reserved word; as a name it needs quotes: \"{0}\"",
                word.value
            );
            return self
                .expected(what)
                .map_err(|e: ParseError| e.with_hint(Some(hint)));
        }
        if ident.value.is_empty() {
            return Err(ParseError::new(
                ErrorKind::Invalid("a name cannot be empty".into()),
                span.start,
            ));
        }
        self.parser.advance_token();
        Ok(ident)
    }

    /// A name of at most `most` parts.
    fn name(&mut self, what: &str, most: usize) -> Result<Name> {
        let start = self.here();
        let mut parts = vec![self.ident_for(what)?];
        while self.take_token(&Token::Period) {
            parts.push(self.ident()?);
        }
        if parts.len() > most {
            let count = if most == 1 {
                "one part".to_owned()
            } else {
                format!("at most {most} parts")
            };
            let kind =
                ErrorKind::Invalid(format!("{what} has {count}, this one has {}", parts.len()));
            return Err(ParseError::new(kind, start));
        }
        Ok(Name(parts))
    }

    /// A name of one part.
    fn single(&mut self, what: &str) -> Result<Ident> {
        let name = self.name(what, 1)?;
        match name.0.into_iter().next() {
            Some(part) => Ok(part),
            None => self.expected(what),
        }
    }

    /// A table or view.
    fn relation(&mut self, what: &str) -> Result<Name> {
        self.name(what, 3)
    }

    /// `(a, b)`
    fn ident_list(&mut self, what: &str) -> Result<Vec<Ident>> {
        self.expect_token(&Token::LParen)?;
        let mut idents = vec![self.ident_for(what)?];
        while self.take_token(&Token::Comma) {
            idents.push(self.ident_for(what)?);
        }
        if !self.take_token(&Token::RParen) {
            return self.expected(", or )");
        }
        Ok(idents)
    }

    fn string(&mut self, what: &str) -> Result<String> {
        let text = match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
            Token::DollarQuotedString(text) => text.value.clone(),
            Token::Word(Word {
                quote_style: Some('"'),
                ..
            }) => {
                let hint =
                    "text is written in single quotes; double quotes are for names".to_owned();
                return self
                    .expected(what)
                    .map_err(|e: ParseError| e.with_hint(Some(hint)));
            }
            _ => return self.expected(what),
        };
        self.parser.advance_token();
        Ok(text)
    }

    /// The value of an option or a setting.
    fn value(&mut self) -> Result<Value> {
        const WHAT: &str = "a value ('text', a number, true, false or a word)";
        let sign = if self.take_token(&Token::Minus) {
            "-"
        } else {
            self.take_token(&Token::Plus);
            ""
        };
        if let Token::Number(digits, _) = &self.parser.peek_token_ref().token {
            let number = format!("{sign}{digits}");
            self.parser.advance_token();
            // `5s` is a number and a name to the tokenizer.
            if let Some(unit) = self.plain_word(0).filter(|_| self.touches_previous()) {
                let hint = format!("a value with a unit is text: '{number}{unit}'");
                return self
                    .expected(", or the end of the value")
                    .map_err(|e: ParseError| e.with_hint(Some(hint)));
            }
            return Ok(Value::Number(number));
        }
        if !sign.is_empty() {
            return self.expected("a number");
        }
        match &self.parser.peek_token_ref().token {
            Token::Word(Word {
                quote_style: None,
                value,
                ..
            }) => {
                let boolean = ["true", "false"]
                    .iter()
                    .find(|b| value.eq_ignore_ascii_case(b))
                    .map(|b| *b == "true");
                if let Some(boolean) = boolean {
                    self.parser.advance_token();
                    return Ok(Value::Boolean(boolean));
                }
                // `on` is reserved as a name but a usual value.
                if value.eq_ignore_ascii_case("on") {
                    let on = Ident::new(value.clone());
                    self.parser.advance_token();
                    return Ok(Value::Word(on));
                }
                Ok(Value::Word(self.ident_for(WHAT)?))
            }
            Token::Word(_) => Ok(Value::Word(self.ident_for(WHAT)?)),
            _ => Ok(Value::String(self.string(WHAT)?)),
        }
    }

    /// Whether nothing, not even a blank, stands between the last token and the next.
    fn touches_previous(&self) -> bool {
        self.parser.get_current_token().span.end == self.here()
    }

    /// `(name = value, …)`
    fn options(&mut self) -> Result<Options> {
        self.expect_token(&Token::LParen)?;
        let mut options = Options::default();
        loop {
            let place = self.here();
            let name = self.ident_for("the name of an option")?;
            if options.get(&fold(&name)).is_some() {
                return Err(ParseError::new(
                    ErrorKind::DuplicateOption(fold(&name)),
                    place,
                ));
            }
            self.expect_token(&Token::Eq)?;
            options.0.push((name, self.value()?));
            if self.take_token(&Token::RParen) {
                return Ok(options);
            }
            if !self.take_token(&Token::Comma) {
                return self.expected(", or )");
            }
        }
    }

    fn optional_options(&mut self) -> Result<Options> {
        if self.take(&["WITH"]) {
            self.options()
        } else {
            Ok(Options::default())
        }
    }
}

/// First words of statements, for "did you mean".
const STATEMENTS: &[&str] = &[
    "SELECT", "WITH", "VALUES", "CREATE", "ALTER", "DROP", "REFRESH", "COMMENT", "SHOW",
    "DESCRIBE", "SET", "RESET", "EXPLAIN", "INSERT", "UPDATE", "DELETE",
];

/// `A, B or C`
fn listed(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.join(""),
    }
}

/// The byte of a place at or behind the mark.
fn bytes_to(sql: &str, (mut byte, mut at): (usize, Location), place: Location) -> usize {
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

/// Whether a query inserts, updates or deletes anywhere: sqlparser takes `WITH x AS (DELETE …) SELECT …`.
fn writes(query: &Query) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            match *query.body {
                SetExpr::Insert(_)
                | SetExpr::Update(_)
                | SetExpr::Delete(_)
                | SetExpr::Merge(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Finder).is_break()
}
