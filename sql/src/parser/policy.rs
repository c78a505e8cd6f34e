//! Policies and masks.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Token;

use super::Result;
use super::cursor::Cursor;
use super::later::not_in_this_version;
use super::standard::writes;
use crate::access::*;
use crate::ast::{Statement, Verbatim};
use crate::balance::balance;
use crate::error::{ErrorKind, ParseError};
use crate::name::Name;
use crate::words::with_columns;

impl Cursor<'_> {
    pub(super) fn create_policy(&mut self, or_replace: bool) -> Result<Statement> {
        let (name, on) = self.rule("the name of a policy")?;
        if self.ahead(&["AS", "RESTRICTIVE"]) {
            return Err(not_in_this_version("AS RESTRICTIVE".into(), self.here()));
        }
        self.take(&["AS", "PERMISSIVE"]);
        // It is for reading alone.
        for written in ["ALL", "INSERT", "UPDATE", "DELETE"] {
            if self.ahead(&["FOR", written]) {
                let hint = "FOR SELECT, or without FOR, it says which rows are read".to_owned();
                let error = not_in_this_version(format!("a policy FOR {written}"), self.here());
                return Err(error.with_hint(Some(hint)));
            }
        }
        if self.take(&["FOR"]) {
            self.expect("SELECT")?;
        }
        let grantees = self.rule_grantees()?;
        self.no_check()?;
        let using = self.using()?;
        self.no_check()?;
        Ok(Statement::CreatePolicy(CreatePolicy {
            or_replace,
            name,
            on,
            grantees,
            using,
        }))
    }

    fn no_check(&self) -> Result<()> {
        match self.ahead(&["WITH", "CHECK"]) {
            true => Err(not_in_this_version("WITH CHECK".to_owned(), self.here())),
            false => Ok(()),
        }
    }

    pub(super) fn create_mask(&mut self, or_replace: bool) -> Result<Statement> {
        let (name, on) = self.rule("the name of a mask")?;
        self.expect_token(&Token::LParen)?;
        let column = self.ident_for("the name of a column")?;
        if self.parser.peek_token_ref().token == Token::Comma {
            let kind = ErrorKind::Invalid("a mask is of one column".to_owned());
            let hint = "each other column has a mask of its own".to_owned();
            return Err(ParseError::new(kind, self.here()).with_hint(Some(hint)));
        }
        self.expect_token(&Token::RParen)?;
        Ok(Statement::CreateMask(CreateMask {
            or_replace,
            name,
            on,
            column,
            grantees: self.rule_grantees()?,
            using: self.using()?,
        }))
    }

    pub(super) fn drop_rule(&mut self, if_exists: bool) -> Result<DropRule> {
        let (name, on) = self.rule("a name")?;
        // Nothing depends on it.
        self.cascade();
        Ok(DropRule {
            if_exists,
            name,
            on,
        })
    }

    /// `p ON v`
    fn rule(&mut self, what: &str) -> Result<(Ident, Name)> {
        let name = self.single(what)?;
        self.expect("ON")?;
        Ok((name, self.relation("the name of a view")?))
    }

    /// `[TO a, b]`; nobody named is everybody, as in PostgreSQL.
    fn rule_grantees(&mut self) -> Result<Vec<Grantee>> {
        match self.take(&["TO"]) {
            true => self.grantees(),
            false => Ok(vec![Grantee::Public]),
        }
    }

    /// `USING (expression)`
    fn using(&mut self) -> Result<Using> {
        self.expect("USING")?;
        self.expect_token(&Token::LParen)?;
        let start = self.here();
        let mut expr = self.parser.parse_expr().map_err(|e| self.lift(e))?;
        let text = Verbatim(Some(self.text_from(start)));
        self.expect_token(&Token::RParen)?;
        balance(&mut expr);
        with_columns(&mut expr);
        if writes(&expr) {
            let kind = ErrorKind::Invalid("the expression may only read".to_owned());
            return Err(ParseError::new(kind, start));
        }
        Ok(Using {
            expr: Box::new(expr),
            text,
        })
    }
}
