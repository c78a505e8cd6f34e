//! `COPY … TO`.

use sqlparser::ast::{Ident, Query};
use sqlparser::tokenizer::{Location, Token};

use super::Result;
use super::cursor::Cursor;
use super::later::not_in_this_version;
use crate::ast::{CopyTo, Statement};
use crate::error::{ErrorKind, ParseError};
use crate::name::{Name, fold};
use crate::options::{Options, Value};

impl Cursor<'_> {
    pub(super) fn copy(&mut self) -> Result<Statement> {
        let start = self.here();
        self.take(&["COPY"]);
        let query = if self.take_token(&Token::LParen) {
            let query = self.query()?;
            self.expect_token(&Token::RParen)?;
            query
        } else {
            let name = self.relation("the name of a table, or a query in parentheses")?;
            let columns = match self.parser.peek_token_ref().token {
                Token::LParen => self.ident_list("the name of a column")?,
                _ => Vec::new(),
            };
            self.all_of(&name, &columns)?
        };
        if self.is_word(0, "FROM") {
            return Err(not_in_this_version("COPY FROM".to_owned(), start));
        }
        self.expect("TO")?;
        let to = match self.take(&["STDOUT"]) {
            true => None,
            false => Some(self.string("a path or URL ('…'), or STDOUT")?),
        };
        let mut copy = CopyTo {
            query,
            to,
            partition_by: Vec::new(),
            force_quote: Vec::new(),
            options: Options::default(),
        };
        while self.copy_clause(&mut copy)? {}
        // As PostgreSQL had it before 9.0, and many a client has it still.
        while copy.to.is_none() && self.copy_word(&mut copy)? {}
        Ok(Statement::Copy(copy))
    }

    /// `SELECT * FROM t`, of a table that is only named.
    fn all_of(&self, name: &Name, columns: &[Ident]) -> Result<Box<Query>> {
        let columns: Vec<_> = columns
            .iter()
            .map(|column| Name::from(column.clone()).to_string())
            .collect();
        let columns = match columns.is_empty() {
            true => "*".to_owned(),
            false => columns.join(", "),
        };
        match super::parse_one(&format!("SELECT {columns} FROM {name}"))?.statement {
            Statement::Query(query) => Ok(query),
            _ => self.expected("the name of a table"),
        }
    }

    /// A clause behind the path, if there is one. They come in any order.
    fn copy_clause(&mut self, copy: &mut CopyTo) -> Result<bool> {
        let place = self.here();
        if self.take(&["STORED", "AS"]) {
            let value = self.value()?;
            self.copy_option(copy, Ident::new("format"), value, place)?;
        } else if self.take(&["PARTITIONED", "BY"]) || self.take(&["PARTITION", "BY"]) {
            self.partition_by(copy, place)?;
        } else if (self.is_word(0, "WITH") || self.is_word(0, "OPTIONS"))
            && self.parser.peek_nth_token_ref(1).token == Token::LParen
        {
            self.parser.advance_token();
            self.copy_options(copy)?;
        } else if self.parser.peek_token_ref().token == Token::LParen {
            self.copy_options(copy)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `CSV`, `HEADER`, `FORCE QUOTE a`, `DELIMITER 'x'`, `NULL 'x'`, if one comes next.
    fn copy_word(&mut self, copy: &mut CopyTo) -> Result<bool> {
        self.take(&["WITH"]);
        let place = self.here();
        if self.take(&["FORCE", "QUOTE"]) {
            copy.force_quote = match self.take_token(&Token::Mul) {
                true => vec![Ident::new("*")],
                false => self.listed_columns()?,
            };
            return Ok(true);
        }
        let (name, value) = if self.take(&["CSV"]) {
            ("format", Value::String("csv".into()))
        } else if self.take(&["BINARY"]) {
            ("format", Value::String("binary".into()))
        } else if self.take(&["HEADER"]) {
            ("header", Value::Boolean(true))
        } else if self.take(&["DELIMITER"]) || self.take(&["DELIMITERS"]) {
            self.take(&["AS"]);
            ("delimiter", self.value()?)
        } else if self.take(&["NULL"]) {
            self.take(&["AS"]);
            ("null", self.value()?)
        } else {
            return Ok(false);
        };
        self.copy_option(copy, Ident::new(name), value, place)?;
        Ok(true)
    }

    /// `a, b`
    fn listed_columns(&mut self) -> Result<Vec<Ident>> {
        let mut columns = vec![self.ident_for("the name of a column")?];
        while self.take_token(&Token::Comma) {
            columns.push(self.ident_for("the name of a column")?);
        }
        Ok(columns)
    }

    /// `(name [=] value, name, …)`
    fn copy_options(&mut self, copy: &mut CopyTo) -> Result<()> {
        self.expect_token(&Token::LParen)?;
        loop {
            let place = self.here();
            let is_null = self.take(&["NULL"]);
            let name = match &self.parser.peek_token_ref().token {
                _ if is_null => Ident::new("null"),
                // DataFusion's way: 'format.delimiter'
                Token::SingleQuotedString(_) => {
                    let name = self.string("the name of an option")?;
                    Ident::new(name.strip_prefix("format.").unwrap_or(&name))
                }
                _ => self.ident_for("the name of an option")?,
            };
            let given = self.take_token(&Token::Eq);
            if matches!(fold(&name).as_str(), "partition_by" | "partitioned_by") {
                self.partition_by(copy, place)?;
            } else if fold(&name) == "force_quote" {
                copy.force_quote = match self.take_token(&Token::Mul) {
                    true => vec![Ident::new("*")],
                    false => self.ident_list("the name of a column")?,
                };
            } else {
                let alone = matches!(
                    self.parser.peek_token_ref().token,
                    Token::Comma | Token::RParen
                );
                let value = match alone && !given {
                    true => Value::Boolean(true),
                    false => self.value()?,
                };
                self.copy_option(copy, name, value, place)?;
            }
            if self.take_token(&Token::RParen) {
                return Ok(());
            }
            if !self.take_token(&Token::Comma) {
                return self.expected(", or )");
            }
        }
    }

    /// `(a, b)`, or one column without parentheses.
    fn partition_by(&mut self, copy: &mut CopyTo, place: Location) -> Result<()> {
        if !copy.partition_by.is_empty() {
            let kind = ErrorKind::DuplicateOption("partition_by".to_owned());
            return Err(ParseError::new(kind, place));
        }
        copy.partition_by = match self.parser.peek_token_ref().token {
            Token::LParen => self.ident_list("the name of a column")?,
            _ => vec![self.ident_for("the name of a column")?],
        };
        Ok(())
    }

    fn copy_option(
        &self,
        copy: &mut CopyTo,
        name: Ident,
        value: Value,
        place: Location,
    ) -> Result<()> {
        let folded = fold(&name);
        if copy.options.get(&folded).is_some() {
            return Err(ParseError::new(ErrorKind::DuplicateOption(folded), place));
        }
        copy.options.0.push((name, value));
        Ok(())
    }
}
