//! What a client says of its own connection: transactions and cursors.

use sqlparser::ast::{self, Ident};
use sqlparser::tokenizer::Token;

use super::Result;
use super::cursor::Cursor;
use super::later::not_in_this_version;
use crate::ast::{Declare, Fetch, Rows, Statement, Transaction};

/// Modes of a transaction. All that is read in one is of one moment and nothing is written, which is all that any asks for.
const MODES: &[&[&str]] = &[
    &["ISOLATION", "LEVEL", "SERIALIZABLE"],
    &["ISOLATION", "LEVEL", "REPEATABLE", "READ"],
    &["ISOLATION", "LEVEL", "READ", "COMMITTED"],
    &["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"],
    &["READ", "WRITE"],
    &["READ", "ONLY"],
    &["NOT", "DEFERRABLE"],
    &["DEFERRABLE"],
];

impl Cursor<'_> {
    /// `BEGIN`, `START TRANSACTION`, `COMMIT`, `END`, `ROLLBACK`, `ABORT`, `SET TRANSACTION`, savepoints, if one comes next.
    pub(super) fn transaction(&mut self) -> Result<Option<Statement>> {
        let begins = self.take(&["START", "TRANSACTION"]);
        let transaction = if begins || self.take(&["BEGIN"]) {
            self.work();
            self.modes()?;
            Transaction::Begin
        } else if self.take(&["SET", "TRANSACTION"])
            || self.take(&["SET", "SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"])
        {
            self.modes()?;
            Transaction::Characteristics
        } else if self.take(&["COMMIT"]) || self.take(&["END"]) {
            self.work();
            self.no_chain()?;
            Transaction::Commit
        } else if self.take(&["ROLLBACK"]) || self.take(&["ABORT"]) {
            self.work();
            if self.take(&["TO"]) {
                self.take(&["SAVEPOINT"]);
                Transaction::RollbackTo(self.single("the name of a savepoint")?)
            } else {
                self.no_chain()?;
                Transaction::Rollback
            }
        } else if self.take(&["SAVEPOINT"]) {
            Transaction::Savepoint(self.single("the name of a savepoint")?)
        } else if self.take(&["RELEASE"]) {
            self.take(&["SAVEPOINT"]);
            Transaction::Release(self.single("the name of a savepoint")?)
        } else {
            return Ok(None);
        };
        Ok(Some(Statement::Transaction(transaction)))
    }

    fn work(&mut self) {
        let _ = self.take(&["WORK"]) || self.take(&["TRANSACTION"]);
    }

    fn modes(&mut self) -> Result<()> {
        while !self.at_statement_end() {
            if !MODES.iter().any(|mode| self.take(mode)) {
                return self.expected("a mode (ISOLATION LEVEL …, READ ONLY, READ WRITE)");
            }
            self.take_token(&Token::Comma);
        }
        Ok(())
    }

    fn no_chain(&mut self) -> Result<()> {
        if self.ahead(&["AND", "CHAIN"]) {
            return Err(not_in_this_version("AND CHAIN".into(), self.here()));
        }
        self.take(&["AND", "NO", "CHAIN"]);
        Ok(())
    }

    /// `DECLARE c [BINARY] [INSENSITIVE] [[NO] SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query`
    pub(super) fn declare(&mut self) -> Result<Statement> {
        self.take(&["DECLARE"]);
        let name = self.single("the name of a cursor")?;
        let mut binary = false;
        loop {
            if self.take(&["BINARY"]) {
                binary = true;
            } else if !(self.take(&["INSENSITIVE"])
                || self.take(&["ASENSITIVE"])
                || self.take(&["NO", "SCROLL"])
                || self.take(&["SCROLL"]))
            {
                break;
            }
        }
        self.expect("CURSOR")?;
        let hold = self.take(&["WITH", "HOLD"]);
        self.take(&["WITHOUT", "HOLD"]);
        self.expect("FOR")?;
        Ok(Statement::Declare(Declare {
            name,
            binary,
            hold,
            query: self.query()?,
        }))
    }

    /// `FETCH | MOVE [direction] [FROM | IN] c`
    pub(super) fn fetch(&mut self) -> Result<Statement> {
        let moves = self.expect_one(&["FETCH", "MOVE"])? == "MOVE";
        let place = self.here();
        let rows = if self.take(&["BACKWARD", "ALL"]) {
            Rows::Rewind
        } else if ["PRIOR", "BACKWARD", "FIRST", "LAST", "ABSOLUTE", "RELATIVE"]
            .iter()
            .any(|word| self.is_word(0, word) && !self.is_end(1))
        {
            let word = self.word(0).unwrap_or_default();
            return Err(not_in_this_version(format!("FETCH {word}"), place));
        } else {
            let forward = self.take(&["FORWARD"]);
            if self.take(&["ALL"]) {
                Rows::All
            } else if let Token::Number(digits, _) = &self.parser.peek_token_ref().token {
                let count = digits.parse().ok();
                let Some(count) = count else {
                    return self.expected("a number of rows");
                };
                self.parser.advance_token();
                Rows::Next(count)
            } else if self.parser.peek_token_ref().token == Token::Minus {
                return Err(not_in_this_version("FETCH BACKWARD".into(), place));
            } else {
                // A cursor may be called `next`.
                let _ = !forward && !self.is_end(1) && self.take(&["NEXT"]);
                Rows::Next(1)
            }
        };
        let _ = self.take(&["FROM"]) || self.take(&["IN"]);
        if rows == Rows::Rewind && !moves {
            return Err(not_in_this_version("FETCH BACKWARD".into(), place));
        }
        Ok(Statement::Fetch(Fetch {
            name: self.single("the name of a cursor")?,
            rows,
            moves,
        }))
    }

    /// `CLOSE c | ALL`
    pub(super) fn close(&mut self) -> Result<Statement> {
        self.take(&["CLOSE"]);
        let name = match self.take(&["ALL"]) {
            true => None,
            false => Some(self.single("the name of a cursor")?),
        };
        Ok(Statement::Close { name })
    }

    /// `UNLISTEN c | *`, which the dialect does not have.
    pub(super) fn unlisten(&mut self) -> Result<Statement> {
        self.take(&["UNLISTEN"]);
        let channel = match self.take_token(&Token::Mul) {
            true => Ident::new("*"),
            false => self.single("the name of a channel or *")?,
        };
        Ok(Statement::Other(Box::new(ast::Statement::UNLISTEN {
            channel,
        })))
    }

    fn is_end(&self, n: usize) -> bool {
        matches!(
            self.parser.peek_nth_token_ref(n).token,
            Token::EOF | Token::SemiColon
        )
    }
}
