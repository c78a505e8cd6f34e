//! `SUBSCRIBE TO`.

use sqlparser::tokenizer::Token;

use super::Result;
use super::cursor::Cursor;
use crate::ast::{Statement, Subscribe, Subscribed, Verbatim};

impl Cursor<'_> {
    /// `SUBSCRIBE TO v | (query) [WITH (…)]`
    pub(super) fn subscribe(&mut self) -> Result<Statement> {
        self.take(&["SUBSCRIBE"]);
        self.expect("TO")?;
        let to = if self.take_token(&Token::LParen) {
            let start = self.here();
            let query = self.query()?;
            let text = Verbatim(Some(self.text_from(start)));
            self.expect_token(&Token::RParen)?;
            Subscribed::Query { query, text }
        } else {
            Subscribed::Relation(self.relation("the name of a view, or a query in parentheses")?)
        };
        let options = self.optional_options()?;
        Ok(Statement::Subscribe(Subscribe { to, options }))
    }
}
