//! Tokens, places, names and values: what the statements are read with.

use sqlparser::ast::Ident;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use super::Result;
use crate::dialect::Bounded;
use crate::error::{ErrorKind, ParseError, nearest, shown};
use crate::limits::{RECURSION_LIMIT, bytes_to, check_text, check_tokens, location_of};
use crate::name::{Name, fold, is_reserved};
use crate::options::{Options, Value};
use crate::words::in_known_words;

/// sqlparser's parser, our primitives on it, and the text they read.
pub(super) struct Cursor<'a> {
    pub(super) parser: Parser<'a>,
    dialect: &'a Bounded,
    sql: &'a str,
    end: Location,
    /// A byte and its place. Statements come in order, so that their bytes are found in one pass over the text.
    mark: (usize, Location),
    /// Where the tokens of the statement begin.
    pub(super) first_token: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(sql: &'a str, dialect: &'a Bounded) -> Result<Self> {
        check_text(sql)?;
        let end = location_of(sql, sql.len());
        // A byte order mark is what some editors put first in a file.
        let (body, skipped) = match sql.strip_prefix('\u{feff}') {
            Some(body) => (body, sql.len() - body.len()),
            None => (sql, 0),
        };
        let mut tokens = Tokenizer::new(dialect, body)
            .tokenize_with_location()
            .map_err(|e| ParseError::from_sqlparser(e.into(), end))?;
        in_known_words(&mut tokens);
        check_tokens(&tokens)?;
        dialect.start(&tokens);
        let parser = Parser::new(dialect)
            .with_tokens_with_locations(tokens)
            .with_recursion_limit(RECURSION_LIMIT);
        Ok(Self {
            parser,
            dialect,
            sql,
            end,
            mark: (skipped, Location::new(1, 1)),
            first_token: 0,
        })
    }

    /// An error of sqlparser's in our form.
    pub(super) fn lift(&self, error: sqlparser::parser::ParserError) -> ParseError {
        if self.dialect.exhausted() {
            return ParseError::new(ErrorKind::TooComplex, self.here());
        }
        ParseError::from_sqlparser(error, self.here())
    }

    // -- places

    /// The place of the next token.
    pub(super) fn here(&self) -> Location {
        self.place(self.parser.peek_token_ref())
    }

    fn place(&self, token: &TokenWithSpan) -> Location {
        if token.span.start.line == 0 {
            self.end
        } else {
            token.span.start
        }
    }

    /// Remembers where a statement starts.
    pub(super) fn mark(&mut self) -> Location {
        let start = self.here();
        self.mark = (bytes_to(self.sql, self.mark, start), start);
        self.first_token = self.parser.get_current_index();
        start
    }

    /// The text from `start`, a place in the marked statement, to the last token taken.
    pub(super) fn text_from(&self, start: Location) -> String {
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
        let from = bytes_to(self.sql, self.mark, start);
        let to = bytes_to(self.sql, self.mark, self.parser.token_at(index).span.end);
        self.sql.get(from..to).unwrap_or_default().to_owned()
    }

    // -- words and tokens

    /// The n-th word from here in capitals, if it is one and not quoted.
    pub(super) fn word(&self, n: usize) -> Option<String> {
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
    pub(super) fn plain_word(&self, n: usize) -> Option<String> {
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
    pub(super) fn ahead(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, w)| self.is_word(n, w))
    }

    pub(super) fn is_word(&self, n: usize, word: &str) -> bool {
        matches!(&self.parser.peek_nth_token_ref(n).token,
            Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
    }

    /// Takes these words if all of them come next.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let found = self.ahead(words);
        if found {
            for _ in words {
                self.parser.advance_token();
            }
        }
        found
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<()> {
        self.expect_one(&[word]).map(|_| ())
    }

    /// Takes one of these words and says which.
    pub(super) fn expect_one<'w>(&mut self, words: &[&'w str]) -> Result<&'w str> {
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

    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let found = self.parser.peek_token_ref().token == *token;
        if found {
            self.parser.advance_token();
        }
        found
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) {
            Ok(())
        } else {
            self.expected(&token.to_string())
        }
    }

    pub(super) fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// Whether the statement ends here.
    pub(super) fn at_statement_end(&self) -> bool {
        matches!(
            self.parser.peek_token_ref().token,
            Token::EOF | Token::SemiColon
        )
    }

    pub(super) fn expected<T>(&self, what: &str) -> Result<T> {
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

    pub(super) fn ident(&mut self) -> Result<Ident> {
        self.ident_for("a name")
    }

    pub(super) fn ident_for(&mut self, what: &str) -> Result<Ident> {
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
    pub(super) fn name(&mut self, what: &str, most: usize) -> Result<Name> {
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
    pub(super) fn single(&mut self, what: &str) -> Result<Ident> {
        let name = self.name(what, 1)?;
        match name.0.into_iter().next() {
            Some(part) => Ok(part),
            None => self.expected(what),
        }
    }

    /// A table or view.
    pub(super) fn relation(&mut self, what: &str) -> Result<Name> {
        self.name(what, 3)
    }

    /// `(a, b)`
    pub(super) fn ident_list(&mut self, what: &str) -> Result<Vec<Ident>> {
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

    pub(super) fn string(&mut self, what: &str) -> Result<String> {
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
    pub(super) fn value(&mut self) -> Result<Value> {
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
    pub(super) fn options(&mut self) -> Result<Options> {
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

    pub(super) fn optional_options(&mut self) -> Result<Options> {
        if self.take(&["WITH"]) {
            self.options()
        } else {
            Ok(Options::default())
        }
    }
}

/// `A, B or C`
fn listed(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.join(""),
    }
}
