//! `CREATE`, `ALTER`, `DROP`, `REFRESH`, `COMMENT`.

use sqlparser::tokenizer::Token;

use super::Result;
use super::cursor::Cursor;
use super::later::not_in_this_version;
use crate::access::RoleKind;
use crate::ast::*;
use crate::error::{ErrorKind, ParseError, nearest};

/// What a definition can be of.
const OBJECTS: &[&str] = &[
    "SOURCE",
    "VIEW",
    "SCHEMA",
    "MATERIALIZED",
    "INDEX",
    "USER",
    "ROLE",
    "POLICY",
    "MASK",
];

/// What sqlparser can define, alter or drop besides. They parse, so that the engine can say what it thinks of them.
const STANDARD: &[&str] = &[
    "TABLE",
    "EXTERNAL",
    "DATABASE",
    "FUNCTION",
    "PROCEDURE",
    "TYPE",
    "DOMAIN",
    "SEQUENCE",
    "TRIGGER",
    "EXTENSION",
    "GLOBAL",
    "VIRTUAL",
    "MACRO",
    "STAGE",
    "SECRET",
    "SERVER",
    "OPERATOR",
    "UNLOGGED",
    "ICEBERG",
    "COLLATION",
    "TEMPORARY",
    "TEMP",
];

impl Cursor<'_> {
    pub(super) fn create(&mut self) -> Result<Statement> {
        let or_replace = self.ahead(&["CREATE", "OR", "REPLACE"]);
        let kind = if or_replace { 3 } else { 1 };
        if self.is_standard(kind) {
            return self.standard();
        }
        self.take(&["CREATE"]);
        self.take(&["OR", "REPLACE"]);
        if self.ahead(&["USER", "MAPPING", "FOR"]) {
            return self.create_mapping(or_replace);
        }
        if self.ahead(&["UNIQUE", "INDEX"]) {
            let kind =
                ErrorKind::Invalid("an index finds rows, and does not tell them apart".to_owned());
            let hint = "A view's rows are told apart by its key: CREATE MATERIALIZED VIEW … WITH (key = 'sku')".to_owned();
            return Err(ParseError::new(kind, self.here()).with_hint(Some(hint)));
        }
        match self.expect_object()? {
            "SOURCE" => self.create_source(or_replace),
            object @ ("VIEW" | "MATERIALIZED") => {
                let materialized = self.is_materialized(object)?;
                self.create_view(or_replace, materialized)
            }
            "POLICY" => self.create_policy(or_replace),
            "MASK" => self.create_mask(or_replace),
            object if or_replace => {
                let what = match object {
                    "INDEX" => "an index",
                    "USER" => "a user",
                    "ROLE" => "a role",
                    _ => "a schema",
                };
                let kind = ErrorKind::Invalid(format!("{what} cannot be replaced"));
                let hint = format!("CREATE {object} IF NOT EXISTS keeps one that is there");
                Err(ParseError::new(kind, self.here()).with_hint(Some(hint)))
            }
            "INDEX" => self.create_index(),
            "USER" => self.create_user(),
            "ROLE" => self.create_role(),
            _ => {
                let if_not_exists = self.take(&["IF", "NOT", "EXISTS"]);
                Ok(Statement::CreateSchema(CreateSchema {
                    if_not_exists,
                    name: self.schema()?,
                }))
            }
        }
    }

    fn create_source(&mut self, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(or_replace)?;
        let name = self.single("the name of a source")?;
        self.expect("FROM")?;
        let url = self.string("the URL of the source ('scheme:…')")?;
        let options = self.optional_options()?;
        Ok(Statement::CreateSource(CreateSource {
            or_replace,
            if_not_exists,
            name,
            url,
            options,
        }))
    }

    fn create_view(&mut self, or_replace: bool, materialized: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(or_replace)?;
        let name = self.relation("the name of a view")?;
        let columns = match self.parser.peek_token_ref().token {
            Token::LParen => self.ident_list("the name of a column")?,
            _ => Vec::new(),
        };
        let options = self.optional_options()?;
        let mut checks = Vec::new();
        while materialized && self.take(&["CHECK"]) {
            checks.push(self.check()?);
        }
        self.expect("AS")?;
        let start = self.here();
        let query = self.query()?;
        let text = Verbatim(Some(self.text_from(start)));
        let view = CreateView {
            materialized,
            or_replace,
            if_not_exists,
            name,
            columns,
            options,
            checks,
            query,
            text,
        };
        Ok(Statement::CreateView(view))
    }

    fn create_index(&mut self) -> Result<Statement> {
        let if_not_exists = self.take(&["IF", "NOT", "EXISTS"]);
        let name = match self.take(&["ON"]) {
            true => None,
            false => {
                let name = self.single("the name of an index")?;
                self.expect("ON")?;
                Some(name)
            }
        };
        Ok(Statement::CreateIndex(CreateIndex {
            if_not_exists,
            name,
            on: self.relation("the name of a materialized view")?,
            columns: self.ident_list("the name of a column")?,
        }))
    }

    fn check(&mut self) -> Result<Check> {
        let name = self.single("the name of a check")?;
        self.expect("AS")?;
        self.expect_token(&Token::LParen)?;
        let start = self.here();
        let query = self.query()?;
        let text = Verbatim(Some(self.text_from(start)));
        self.expect_token(&Token::RParen)?;
        Ok(Check { name, query, text })
    }

    /// What `VIEW` or `MATERIALIZED VIEW` names.
    fn is_materialized(&mut self, object: &str) -> Result<bool> {
        let is_materialized = object == "MATERIALIZED";
        if is_materialized {
            self.expect("VIEW")?;
        }
        Ok(is_materialized)
    }

    pub(super) fn alter(&mut self) -> Result<Statement> {
        if self.is_standard(1) {
            return match self.alter_as_table() {
                Some(altered) => altered,
                None => self.standard(),
            };
        }
        self.take(&["ALTER"]);
        match self.expect_object()? {
            "INDEX" => {
                let kind =
                    ErrorKind::Invalid("an index is dropped and created, not altered".to_owned());
                Err(ParseError::new(kind, self.here()))
            }
            "USER" => self.alter_role(RoleKind::User),
            "ROLE" => self.alter_role(RoleKind::Role),
            "SOURCE" => {
                let name = self.single("the name of a source")?;
                let action = self.source_action()?;
                Ok(Statement::AlterSource(AlterSource { name, action }))
            }
            object @ ("VIEW" | "MATERIALIZED") => {
                let called = match self.is_materialized(object)? {
                    true => Called::MaterializedView,
                    false => Called::View,
                };
                let if_exists = self.take(&["IF", "EXISTS"]);
                let name = self.relation("the name of a view")?;
                let action = self.view_action()?;
                Ok(Statement::AlterView(AlterView {
                    called,
                    if_exists,
                    name,
                    action,
                }))
            }
            _ => {
                let name = self.schema()?;
                if self.is_word(0, "OWNER") {
                    let what = "ALTER SCHEMA … OWNER TO".to_owned();
                    let hint = "schemas are the superusers'; GRANT CREATE ON SCHEMA lets others define views in one";
                    let error = not_in_this_version(what, self.here());
                    return Err(error.with_hint(Some(hint.to_owned())));
                }
                self.expect("RENAME")?;
                self.expect("TO")?;
                Ok(Statement::AlterSchema(AlterSchema {
                    name,
                    rename_to: self.single("the new name")?,
                }))
            }
        }
    }

    /// `ALTER TABLE [IF EXISTS] [ONLY] v RENAME TO w | SET SCHEMA s | OWNER TO r`, if that comes next: all else of a table's is sqlparser's.
    fn alter_as_table(&mut self) -> Option<Result<Statement>> {
        let mut at = 2;
        if !self.ahead(&["ALTER", "TABLE"]) {
            return None;
        }
        let if_exists = self.is_word(at, "IF") && self.is_word(at + 1, "EXISTS");
        at += if if_exists { 2 } else { 0 };
        // A view may be called `only`.
        let only = self.is_word(at, "ONLY")
            && matches!(self.parser.peek_nth_token_ref(at + 1).token, Token::Word(_))
            && !(self.is_word(at + 1, "RENAME") && self.is_word(at + 2, "TO"))
            && !(self.is_word(at + 1, "SET") && self.is_word(at + 2, "SCHEMA"))
            && !(self.is_word(at + 1, "OWNER") && self.is_word(at + 2, "TO"));
        at += usize::from(only);
        while self.parser.peek_nth_token_ref(at + 1).token == Token::Period {
            at += 2;
        }
        let names = ["RENAME", "OWNER"]
            .iter()
            .any(|word| self.is_word(at + 1, word) && self.is_word(at + 2, "TO"));
        if !names && !(self.is_word(at + 1, "SET") && self.is_word(at + 2, "SCHEMA")) {
            return None;
        }
        self.take(&["ALTER", "TABLE"]);
        self.take(&["IF", "EXISTS"]);
        if only {
            self.take(&["ONLY"]);
        }
        let altered = self.relation("the name of a view").and_then(|name| {
            Ok(Statement::AlterView(AlterView {
                called: Called::Table,
                if_exists,
                name,
                action: self.view_action()?,
            }))
        });
        Some(altered)
    }

    fn source_action(&mut self) -> Result<SourceAction> {
        Ok(
            match self.expect_one(&["OWNS", "OWNER", "SET", "RESET", "RENAME"])? {
                "OWNER" => SourceAction::OwnerTo(self.owner()?),
                "OWNS" => {
                    let table = self.name("the name of a table", 2)?;
                    SourceAction::Owns {
                        table,
                        columns: self.ident_list("the name of a column")?,
                    }
                }
                "SET" => SourceAction::SetOptions(self.options()?),
                "RESET" => SourceAction::ResetOptions(self.ident_list("the name of an option")?),
                _ => {
                    self.expect("TO")?;
                    SourceAction::RenameTo(self.single("the new name")?)
                }
            },
        )
    }

    fn view_action(&mut self) -> Result<ViewAction> {
        Ok(
            match self.expect_one(&["SET", "RESET", "OWNER", "RENAME"])? {
                "OWNER" => ViewAction::OwnerTo(self.owner()?),
                "SET" if self.take(&["SCHEMA"]) => ViewAction::SetSchema(self.schema()?),
                "SET" if self.plain_word(0).is_some() => {
                    self.expect("SCHEMA")?;
                    ViewAction::SetSchema(self.schema()?)
                }
                "SET" => ViewAction::SetOptions(self.options()?),
                "RESET" => ViewAction::ResetOptions(self.ident_list("the name of an option")?),
                _ => {
                    self.expect("TO")?;
                    ViewAction::RenameTo(self.single("the new name")?)
                }
            },
        )
    }

    pub(super) fn drop(&mut self) -> Result<Statement> {
        if self.is_standard(1) {
            return self.standard();
        }
        self.take(&["DROP"]);
        if self.ahead(&["USER", "MAPPING", "FOR"])
            || self.ahead(&["USER", "MAPPING", "IF", "EXISTS", "FOR"])
        {
            return self.drop_mapping();
        }
        let object = self.expect_object()?;
        let materialized = self.is_materialized(object)?;
        let if_exists = self.take(&["IF", "EXISTS"]);
        match object {
            "SOURCE" => {
                let name = self.single("the name of a source")?;
                Ok(Statement::DropSource(DropSource {
                    if_exists,
                    name,
                    cascade: self.cascade(),
                }))
            }
            "VIEW" | "MATERIALIZED" => Ok(Statement::DropView(DropView {
                materialized,
                if_exists,
                names: self.relations()?,
                cascade: self.cascade(),
            })),
            "INDEX" => Ok(Statement::DropIndex(DropIndex {
                if_exists,
                names: self.relations()?,
            })),
            "USER" => self.drop_role(RoleKind::User, if_exists),
            "ROLE" => self.drop_role(RoleKind::Role, if_exists),
            "POLICY" => Ok(Statement::DropPolicy(self.drop_rule(if_exists)?)),
            "MASK" => Ok(Statement::DropMask(self.drop_rule(if_exists)?)),
            _ => {
                let name = self.schema()?;
                Ok(Statement::DropSchema(DropSchema {
                    if_exists,
                    name,
                    cascade: self.cascade(),
                }))
            }
        }
    }

    pub(super) fn refresh(&mut self) -> Result<Statement> {
        self.take(&["REFRESH"]);
        if self.expect_one(&["SOURCE", "MATERIALIZED"])? == "MATERIALIZED" {
            self.expect("VIEW")?;
            let name = self.relation("the name of a view")?;
            let full = self.take(&["FULL"]);
            return Ok(Statement::RefreshView(RefreshView { name, full }));
        }
        Ok(Statement::RefreshSource {
            name: self.single("the name of a source")?,
        })
    }

    pub(super) fn comment(&mut self) -> Result<Statement> {
        self.take(&["COMMENT"]);
        self.expect("ON")?;
        // A view is a view, whatever it keeps.
        if self.ahead(&["MATERIALIZED", "VIEW"]) {
            self.take(&["MATERIALIZED"]);
        }
        let (object, name) =
            match self.expect_one(&["SOURCE", "SCHEMA", "TABLE", "VIEW", "COLUMN"])? {
                "SOURCE" => (CommentTarget::Source, self.name("the name of a source", 1)?),
                "SCHEMA" => (CommentTarget::Schema, self.schema()?),
                "TABLE" => (CommentTarget::Table, self.relation("the name of a table")?),
                "VIEW" => (CommentTarget::View, self.relation("the name of a view")?),
                _ => {
                    let place = self.here();
                    let name = self.name("the name of a column", 4)?;
                    if name.0.len() < 2 {
                        let kind = ErrorKind::Invalid(
                            "a column is named with its table: table.column".to_owned(),
                        );
                        return Err(ParseError::new(kind, place));
                    }
                    (CommentTarget::Column, name)
                }
            };
        self.expect("IS")?;
        let comment = if self.take(&["NULL"]) {
            None
        } else {
            Some(self.string("'text' or NULL")?)
        };
        Ok(Statement::CommentOn(CommentOn {
            object,
            name,
            comment,
        }))
    }

    pub(super) fn relations(&mut self) -> Result<Vec<crate::Name>> {
        let mut names = vec![self.relation("a name")?];
        while self.take_token(&Token::Comma) {
            names.push(self.relation("a name")?);
        }
        Ok(names)
    }

    pub(super) fn schema(&mut self) -> Result<crate::Name> {
        self.name("the name of a schema", 2)
    }

    fn if_not_exists(&mut self, or_replace: bool) -> Result<bool> {
        let place = self.here();
        let found = self.take(&["IF", "NOT", "EXISTS"]);
        if found && or_replace {
            let kind =
                ErrorKind::Invalid("OR REPLACE and IF NOT EXISTS exclude each other".to_owned());
            return Err(ParseError::new(kind, place));
        }
        Ok(found)
    }

    /// `CASCADE`, or the default `RESTRICT`.
    pub(super) fn cascade(&mut self) -> bool {
        self.take(&["CASCADE"]) || {
            self.take(&["RESTRICT"]);
            false
        }
    }

    fn is_standard(&self, n: usize) -> bool {
        STANDARD.iter().any(|word| self.is_word(n, word))
    }

    /// One of our own objects; the hint knows the others too.
    fn expect_object(&mut self) -> Result<&'static str> {
        let hint = self.plain_word(0).and_then(|found| {
            nearest(&found, OBJECTS)
                .or_else(|| nearest(&found, &["TABLE", "MATERIALIZED", "FUNCTION"]))
        });
        self.expect_one(OBJECTS).map_err(|e| e.with_hint(hint))
    }
}
