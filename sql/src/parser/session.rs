//! `SHOW`, `DESCRIBE`, `SET`, `RESET`, `EXPLAIN`.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Token;

use super::Result;
use super::cursor::Cursor;
use crate::ast::*;
use crate::error::{ErrorKind, ParseError};
use crate::name::Name;
use crate::options::Value;

/// Parts of a setting's name: `datafusion.execution.parquet.pushdown_filters` has four.
const SETTING_PARTS: usize = 6;

/// What `EXPLAIN (…)` takes: the first three are ours, the others PostgreSQL's, and change nothing.
const EXPLAINED: &[&str] = &[
    "ANALYZE", "VERBOSE", "FORMAT", "COSTS", "SETTINGS", "BUFFERS", "WAL", "TIMING", "SUMMARY",
];

impl Cursor<'_> {
    pub(super) fn show(&mut self) -> Result<Statement> {
        // Lists the functions of DataFusion, which plans it itself.
        if self.ahead(&["SHOW", "FUNCTIONS"]) {
            return self.standard();
        }
        self.take(&["SHOW"]);
        let show = if self.take(&["ALL"]) {
            Show::All
        } else if self.take(&["SOURCES"]) {
            Show::Sources
        } else if self.take(&["SCHEMAS"]) {
            Show::Schemas
        } else if self.take(&["TABLES"]) {
            let (from, like) = self.scope_and_pattern()?;
            Show::Tables { from, like }
        } else if self.take(&["VIEWS"]) {
            let (from, like) = self.scope_and_pattern()?;
            Show::Views { from, like }
        } else if self.take(&["COLUMNS"]) {
            self.expect_one(&["FROM", "IN"])?;
            Show::Columns(self.relation("the name of a table")?)
        } else if self.take(&["CREATE"]) {
            if self.ahead(&["MATERIALIZED", "VIEW"]) {
                self.take(&["MATERIALIZED"]);
            }
            match self.expect_one(&["VIEW", "SOURCE"])? {
                "VIEW" => Show::CreateView(self.relation("the name of a view")?),
                _ => Show::CreateSource(self.single("the name of a source")?),
            }
        } else if self.take(&["CAPABILITIES"]) {
            self.expect("FOR")?;
            Show::Capabilities(self.single("the name of a source")?)
        } else if self.take(&["TIME", "ZONE"]) {
            Show::Setting(Ident::new("timezone").into())
        } else if self.take(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
            Show::Setting(Ident::new("transaction_isolation").into())
        } else {
            Show::Setting(self.name(
                "a setting, ALL, SOURCES, SCHEMAS, TABLES, VIEWS or COLUMNS",
                SETTING_PARTS,
            )?)
        };
        Ok(Statement::Show(show))
    }

    /// `[FROM schema] [LIKE 'pattern']`
    fn scope_and_pattern(&mut self) -> Result<(Option<Name>, Option<String>)> {
        let from = if self.take(&["FROM"]) || self.take(&["IN"]) {
            Some(self.name("the name of a source or schema", 2)?)
        } else {
            None
        };
        let like = if self.take(&["LIKE"]) {
            Some(self.string("a pattern ('…')")?)
        } else {
            None
        };
        Ok((from, like))
    }

    pub(super) fn describe(&mut self) -> Result<Statement> {
        self.parser.advance_token();
        // `TABLE t` alone is a query, but nobody who describes a table means its rows.
        if self.query_follows() && !self.ahead(&["TABLE"]) {
            return Ok(Statement::DescribeQuery(self.query()?));
        }
        // Any of these words may also be the name itself.
        let named = matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_));
        if named
            && self
                .word(0)
                .is_some_and(|w| matches!(w.as_str(), "TABLE" | "VIEW" | "SOURCE"))
        {
            self.parser.advance_token();
        }
        Ok(Statement::Describe {
            name: self.relation("the name of a table, view or source")?,
        })
    }

    pub(super) fn set(&mut self) -> Result<Statement> {
        self.take(&["SET"]);
        // The scope is a word in front of a name, never the name itself.
        let named = matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_))
            && !self.is_word(1, "TO");
        let scope = if named && self.take(&["SESSION"]) {
            Some(SetScope::Session)
        } else if named && self.take(&["LOCAL"]) {
            Some(SetScope::Local)
        } else {
            None
        };
        let (name, value) = self.setting()?;
        Ok(Statement::Set(Set { scope, name, value }))
    }

    /// `x = 1`, `x TO 1`, `TIME ZONE 'UTC'`, `NAMES 'UTF8'`
    pub(super) fn setting(&mut self) -> Result<(Name, SetValue)> {
        // `names` may be a name, too.
        let is_name = self.is_word(1, "TO")
            || matches!(
                self.parser.peek_nth_token_ref(1).token,
                Token::Eq | Token::Period
            );
        let name = if self.take(&["TIME", "ZONE"]) {
            Ident::new("timezone").into()
        } else if !is_name && self.take(&["NAMES"]) {
            Ident::new("client_encoding").into()
        } else {
            let name = self.name("the name of a setting", SETTING_PARTS)?;
            if !self.take_token(&Token::Eq) && !self.take(&["TO"]) {
                return self.expected("= or TO");
            }
            name
        };
        // PostgreSQL takes LOCAL for the default, in SET TIME ZONE alone; there is no other time zone it could name.
        let local = name.dotted() == "timezone" && self.take(&["LOCAL"]);
        if local || self.take(&["DEFAULT"]) {
            return Ok((name, SetValue::Default));
        }
        let mut values: Vec<Value> = vec![self.value()?];
        while self.take_token(&Token::Comma) {
            values.push(self.value()?);
        }
        Ok((name, SetValue::Values(values)))
    }

    pub(super) fn reset(&mut self) -> Result<Statement> {
        self.take(&["RESET"]);
        if self.take(&["ALL"]) {
            return Ok(Statement::ResetAll);
        }
        Ok(Statement::Set(Set {
            scope: None,
            name: self.reset_setting()?,
            value: SetValue::Default,
        }))
    }

    /// What `RESET` names, if it is not `ALL`.
    pub(super) fn reset_setting(&mut self) -> Result<Name> {
        match self.take(&["TIME", "ZONE"]) {
            true => Ok(Ident::new("timezone").into()),
            false => self.name("the name of a setting or ALL", SETTING_PARTS),
        }
    }

    pub(super) fn explain(&mut self) -> Result<Statement> {
        self.take(&["EXPLAIN"]);
        let (mut analyze, mut verbose, mut format) = (false, false, None);
        // `(` also begins a query in parentheses.
        let listed = self.parser.peek_token_ref().token == Token::LParen
            && EXPLAINED.iter().any(|word| self.is_word(1, word));
        if listed {
            self.parser.advance_token();
            loop {
                match self.expect_one(EXPLAINED)? {
                    "ANALYZE" => analyze = self.switch()?,
                    "VERBOSE" => verbose = self.switch()?,
                    "FORMAT" => format = Some(self.format()?),
                    // What PostgreSQL shows more or less of is not there, or always.
                    _ => drop(self.switch()?),
                }
                if self.take_token(&Token::RParen) {
                    break;
                }
                if !self.take_token(&Token::Comma) {
                    return self.expected(", or )");
                }
            }
        } else {
            analyze = self.take(&["ANALYZE"]);
            verbose = self.take(&["VERBOSE"]);
            if self.take(&["FORMAT"]) {
                format = Some(self.format()?);
            }
        }
        let place = self.here();
        let words: &[&str] = &[
            "EXPLAIN", "CREATE", "DROP", "ALTER", "SET", "SHOW", "DESCRIBE", "DESC", "RESET",
        ];
        if self.at_statement_end() || words.iter().any(|word| self.is_word(0, word)) {
            return self.expected("a query");
        }
        match self.statement()? {
            statement @ (Statement::Query(_) | Statement::Copy(_) | Statement::Other(_)) => {
                Ok(Statement::Explain(Explain {
                    analyze,
                    verbose,
                    format,
                    statement: Box::new(statement),
                }))
            }
            _ => Err(ParseError::new(
                ErrorKind::Invalid("only a query can be explained".to_owned()),
                place,
            )),
        }
    }

    /// An option of EXPLAIN: on unless it says otherwise.
    fn switch(&mut self) -> Result<bool> {
        if matches!(
            self.parser.peek_token_ref().token,
            Token::Comma | Token::RParen
        ) {
            return Ok(true);
        }
        let place = self.here();
        let value = self.value()?;
        let kind = || ErrorKind::Expected {
            expected: "on or off".to_owned(),
            found: value.to_string(),
        };
        value
            .as_bool()
            .ok_or_else(|| ParseError::new(kind(), place))
    }

    fn format(&mut self) -> Result<String> {
        match self.value()? {
            Value::String(text) => Ok(text.to_lowercase()),
            value => Ok(value.text().to_lowercase()),
        }
    }
}
