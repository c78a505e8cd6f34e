//! Users and roles.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Token;

use super::Result;
use super::cursor::Cursor;
use super::later::not_in_this_version;
use crate::access::*;
use crate::ast::{SetValue, Statement};
use crate::error::{A_TEXT, ErrorKind, ParseError, SOMETHING, nearest, shown};
use crate::redact::literal;

/// What may be said of a user.
const OPTIONS: &[&str] = &["PASSWORD", "SUPERUSER", "NOSUPERUSER"];

/// PostgreSQL's words for what holds of each user.
const OF_USERS: &[&str] = &[
    "LOGIN",
    "INHERIT",
    "NOCREATEDB",
    "NOCREATEROLE",
    "NOREPLICATION",
    "NOBYPASSRLS",
];

/// The same of each role.
const OF_ROLES: &[&str] = &[
    "NOLOGIN",
    "INHERIT",
    "NOSUPERUSER",
    "NOCREATEDB",
    "NOCREATEROLE",
    "NOREPLICATION",
    "NOBYPASSRLS",
];

/// PostgreSQL's other options.
const LATER_OPTIONS: &[&[&str]] = &[
    &["CREATEDB"],
    &["CREATEROLE"],
    &["REPLICATION"],
    &["BYPASSRLS"],
    &["NOLOGIN"],
    &["NOINHERIT"],
    &["CONNECTION", "LIMIT"],
    &["VALID", "UNTIL"],
    &["IN", "ROLE"],
    &["IN", "GROUP"],
    &["ROLE"],
    &["ADMIN"],
];

impl Cursor<'_> {
    pub(super) fn create_user(&mut self) -> Result<Statement> {
        Ok(Statement::CreateUser(CreateUser {
            if_not_exists: self.take(&["IF", "NOT", "EXISTS"]),
            name: self.role_name("the name of a user")?,
            options: self.user_options()?,
        }))
    }

    pub(super) fn create_role(&mut self) -> Result<Statement> {
        let if_not_exists = self.take(&["IF", "NOT", "EXISTS"]);
        let name = self.role_name("the name of a role")?;
        self.take(&["WITH"]);
        while !self.at_statement_end() {
            if OF_ROLES.iter().any(|word| self.take(&[word])) {
                continue;
            }
            let of_users = ["LOGIN", "PASSWORD", "ENCRYPTED", "SUPERUSER"];
            if of_users.iter().any(|word| self.is_word(0, word)) {
                let kind = ErrorKind::Invalid("a role does not log in".to_owned());
                let hint = "CREATE USER makes one who does, and GRANT gives it the role".to_owned();
                return Err(ParseError::new(kind, self.here()).with_hint(Some(hint)));
            }
            self.no_later_option()?;
            return self.expected_unshown("the end of the statement", false);
        }
        Ok(Statement::CreateRole(CreateRole {
            if_not_exists,
            name,
        }))
    }

    /// Behind `ALTER USER` or `ALTER ROLE`, which both mean any of both, as in PostgreSQL.
    pub(super) fn alter_role(&mut self, called: RoleKind) -> Result<Statement> {
        if self.is_word(0, "ALL") {
            return Err(not_in_this_version(
                format!("ALTER {called} ALL"),
                self.here(),
            ));
        }
        let name = self.role_name("the name of a user or role")?;
        for later in [&["RENAME", "TO"], &["IN", "DATABASE"]] {
            if self.ahead(later) {
                let what = format!("ALTER {called} … {}", later.join(" "));
                return Err(not_in_this_version(what, self.here()));
            }
        }
        let action = if self.take(&["SET"]) {
            if self.is_word(0, "PASSWORD") {
                let kind = ErrorKind::Invalid("a password is no setting".to_owned());
                let hint = "without SET it is ALTER USER ana PASSWORD '…'".to_owned();
                return Err(ParseError::new(kind, self.here()).with_hint(Some(hint)));
            }
            let (name, value) = self.setting()?;
            RoleAction::Set { name, value }
        } else if self.take(&["RESET"]) {
            match self.take(&["ALL"]) {
                true => RoleAction::ResetAll,
                false => RoleAction::Set {
                    name: self.reset_setting()?,
                    value: SetValue::Default,
                },
            }
        } else {
            let options = self.user_options()?;
            if options == UserOptions::default() {
                return self.expected("PASSWORD, SUPERUSER, NOSUPERUSER, SET or RESET");
            }
            RoleAction::Options(options)
        };
        Ok(Statement::AlterRole(AlterRole {
            called,
            name,
            action,
        }))
    }

    /// `REASSIGN OWNED BY r, s TO t`
    pub(super) fn reassign(&mut self) -> Result<Statement> {
        for word in ["REASSIGN", "OWNED", "BY"] {
            self.expect(word)?;
        }
        let mut of = vec![self.role_name("the name of a user or role")?];
        while self.take_token(&Token::Comma) {
            of.push(self.role_name("the name of a user or role")?);
        }
        self.expect("TO")?;
        let to = self.role_name("the name of a user or role")?;
        Ok(Statement::ReassignOwned(ReassignOwned { of, to }))
    }

    /// Behind `OWNER`.
    pub(super) fn owner(&mut self) -> Result<Ident> {
        self.expect("TO")?;
        self.role_name("the name of a user or role")
    }

    pub(super) fn drop_role(&mut self, called: RoleKind, if_exists: bool) -> Result<Statement> {
        let mut names = vec![self.role_name("a name")?];
        while self.take_token(&Token::Comma) {
            names.push(self.role_name("a name")?);
        }
        Ok(Statement::DropRole(DropRole {
            called,
            if_exists,
            names,
        }))
    }

    /// A user or role by its name, for which PostgreSQL has some words too.
    pub(super) fn role_name(&mut self, what: &str) -> Result<Ident> {
        if literal(&self.parser.peek_token_ref().token).is_some() {
            let hint = "a name is written in double quotes, or in none".to_owned();
            return self
                .expected_unshown(what, false)
                .map_err(|e: ParseError| e.with_hint(Some(hint)));
        }
        match self.word(0).as_deref() {
            Some(word @ ("CURRENT_USER" | "CURRENT_ROLE" | "SESSION_USER")) => {
                let what = format!("{word} in place of a name");
                Err(not_in_this_version(what, self.here()))
            }
            Some("PUBLIC") => {
                let kind = ErrorKind::Invalid("PUBLIC is everybody, and no user or role".into());
                Err(ParseError::new(kind, self.here()))
            }
            _ => self.single(what),
        }
    }

    /// `[WITH] option …`, to the end of the statement.
    fn user_options(&mut self) -> Result<UserOptions> {
        self.take(&["WITH"]);
        let mut options = UserOptions::default();
        while !self.at_statement_end() {
            let place = self.here();
            let twice = |option: &str| {
                let kind = ErrorKind::DuplicateOption(option.to_owned());
                Err(ParseError::new(kind, place))
            };
            if self.take(&["PASSWORD"]) || self.take(&["ENCRYPTED", "PASSWORD"]) {
                let password = self.password()?;
                if options.password.replace(password).is_some() {
                    return twice("password");
                }
            } else if self.is_word(0, "SUPERUSER") || self.is_word(0, "NOSUPERUSER") {
                let superuser = self.expect_one(&["SUPERUSER", "NOSUPERUSER"])? == "SUPERUSER";
                if options.superuser.replace(superuser).is_some() {
                    return twice("superuser");
                }
            } else if !OF_USERS.iter().any(|word| self.take(&[word])) {
                self.no_later_option()?;
                let hint = match self.word(0).as_deref() {
                    Some("IDENTIFIED") => Some("a password is given as PASSWORD '…'".to_owned()),
                    Some(word) => nearest(word, OPTIONS),
                    None => None,
                };
                let what = "PASSWORD, SUPERUSER, NOSUPERUSER or the end of the statement";
                return self
                    .expected_unshown(what, options.password.is_some())
                    .map_err(|e: ParseError| e.with_hint(hint));
            }
        }
        Ok(options)
    }

    fn no_later_option(&self) -> Result<()> {
        match LATER_OPTIONS.iter().find(|words| self.ahead(words)) {
            Some(words) => Err(not_in_this_version(words.join(" "), self.here())),
            None => Ok(()),
        }
    }

    /// Behind `PASSWORD`.
    fn password(&mut self) -> Result<SetPassword> {
        if self.take(&["NULL"]) {
            return Ok(SetPassword::Null);
        }
        let place = self.here();
        let token = &self.parser.peek_token_ref().token;
        if !matches!(
            token,
            Token::SingleQuotedString(_)
                | Token::EscapedStringLiteral(_)
                | Token::DollarQuotedString(_)
        ) {
            let hint = "a password is written as text, in single quotes: PASSWORD '…'".to_owned();
            return self
                .expected_unshown("a password or NULL", true)
                .map_err(|e: ParseError| e.with_hint(Some(hint)));
        }
        let text = self.string("a password or NULL")?;
        let (wrong, hint) = match text.as_str() {
            "" => ("a password cannot be empty", "PASSWORD NULL takes it away"),
            // Of a text that was printed, or taken from a log.
            HIDDEN => ("the password is left out here", "write it anew"),
            _ => return Ok(SetPassword::To(Password::new(text))),
        };
        let error = ParseError::new(ErrorKind::Invalid(wrong.to_owned()), place);
        Err(error.with_hint(Some(hint.to_owned())))
    }

    /// As [`Cursor::expected`], where what is found may be a password, in quotes or, if `also_words`, without.
    fn expected_unshown<T>(&self, what: &str, also_words: bool) -> Result<T> {
        let token = &self.parser.peek_token_ref().token;
        let is_shown = match token {
            Token::Word(word) => !also_words && word.quote_style.is_none(),
            Token::EOF
            | Token::SemiColon
            | Token::Comma
            | Token::Eq
            | Token::LParen
            | Token::RParen => true,
            _ => false,
        };
        let found = match is_shown {
            true => shown(&token.to_string()),
            false if literal(token).is_some() => A_TEXT.to_owned(),
            false => SOMETHING.to_owned(),
        };
        let kind = ErrorKind::Expected {
            expected: what.to_owned(),
            found,
        };
        Err(ParseError::new(kind, self.here()))
    }
}
