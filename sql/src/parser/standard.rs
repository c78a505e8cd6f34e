//! What sqlparser reads alone: queries, and statements that are not ours.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Query, SetExpr, Visit, Visitor};

use super::Result;
use super::cursor::Cursor;
use crate::ast::Statement;
use crate::balance::balance;
use crate::error::{ErrorKind, ParseError, nearest};
use crate::words::with_columns;

/// `PREPARE` and the inserts of a `WITH` hold a statement; procedures, which hold many, are nothing of ours.
const NESTED_STATEMENTS: usize = 3;

/// First words of statements, for "did you mean".
const STATEMENTS: &[&str] = &[
    "SELECT",
    "WITH",
    "VALUES",
    "CREATE",
    "ALTER",
    "DROP",
    "REFRESH",
    "COMMENT",
    "SHOW",
    "SUBSCRIBE",
    "DESCRIBE",
    "SET",
    "RESET",
    "EXPLAIN",
    "COPY",
    "GRANT",
    "REVOKE",
    "INSERT",
    "UPDATE",
    "DELETE",
];

impl Cursor<'_> {
    /// A statement that is sqlparser's.
    pub(super) fn standard(&mut self) -> Result<Statement> {
        let start = self.here();
        if self.query_follows() {
            let query = self.any_query()?;
            return Ok(if writes(&*query) {
                Statement::Other(Box::new(ast::Statement::Query(query)))
            } else {
                Statement::Query(query)
            });
        }
        let first = self.plain_word(0);
        let mut statement = self.parser.parse_statement().map_err(|e| {
            let error = self.lift(e);
            match error.kind {
                ErrorKind::Expected { expected, found } if expected == "an SQL statement" => {
                    let kind = ErrorKind::Expected {
                        expected: "a statement".to_owned(),
                        found,
                    };
                    ParseError { kind, ..error }
                        .with_hint(first.and_then(|word| nearest(&word, STATEMENTS)))
                }
                _ => error,
            }
        })?;
        if statements_in(&statement) > NESTED_STATEMENTS {
            let kind = ErrorKind::Invalid("statements inside statements are not taken".to_owned());
            return Err(ParseError::new(kind, start));
        }
        if is_about_user(&statement) {
            let message = "a user or role is created and altered by a statement of its own";
            return Err(ParseError::new(ErrorKind::Invalid(message.into()), start));
        }
        balance(&mut statement);
        with_columns(&mut statement);
        Ok(Statement::Other(Box::new(statement)))
    }

    /// A query that only reads.
    pub(super) fn query(&mut self) -> Result<Box<Query>> {
        if !self.query_follows() {
            return self.expected("a query");
        }
        let start = self.here();
        let query = self.any_query()?;
        if writes(&*query) {
            let kind = ErrorKind::Invalid("the query may only read".to_owned());
            return Err(ParseError::new(kind, start));
        }
        Ok(query)
    }

    pub(super) fn query_follows(&self) -> bool {
        self.parser.peek_token_ref().token == sqlparser::tokenizer::Token::LParen
            || matches!(
                self.word(0).as_deref(),
                Some("SELECT" | "WITH" | "VALUES" | "TABLE" | "FROM")
            )
    }

    fn any_query(&mut self) -> Result<Box<Query>> {
        let mut query = self.parser.parse_query().map_err(|e| self.lift(e))?;
        balance(&mut query);
        with_columns(&mut query);
        Ok(query)
    }
}

/// Whether a query writes anywhere: sqlparser takes `WITH x AS (DELETE …) SELECT …` and `SELECT … INTO t`.
pub(super) fn writes(node: &impl Visit) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            match &*query.body {
                SetExpr::Insert(_)
                | SetExpr::Update(_)
                | SetExpr::Delete(_)
                | SetExpr::Merge(_) => ControlFlow::Break(()),
                SetExpr::Select(select) if select.into.is_some() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    node.visit(&mut Finder).is_break()
}

fn statements_in(statement: &ast::Statement) -> usize {
    struct Counter(usize);
    impl Visitor for Counter {
        type Break = ();
        fn pre_visit_statement(&mut self, _: &ast::Statement) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }
    let mut counter = Counter(0);
    let _ = statement.visit(&mut counter);
    counter.0
}

/// Whether there is one of ours in a statement, as in `PREPARE p AS CREATE USER …`: sqlparser would print its password.
fn is_about_user(statement: &ast::Statement) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_statement(&mut self, statement: &ast::Statement) -> ControlFlow<()> {
            match statement {
                ast::Statement::CreateUser(_)
                | ast::Statement::AlterUser(_)
                | ast::Statement::CreateRole(_)
                | ast::Statement::AlterRole { .. } => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    statement.visit(&mut Finder).is_break()
}
