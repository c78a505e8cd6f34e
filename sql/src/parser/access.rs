//! Users, roles, `GRANT`, `REVOKE`, policies, masks.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Location, Token};

use super::Result;
use super::cursor::Cursor;
use super::later::not_in_this_version;
use super::standard::writes;
use crate::access::*;
use crate::ast::{Called, SetValue, Statement, Verbatim};
use crate::balance::balance;
use crate::error::{ErrorKind, ParseError, nearest, shown};
use crate::name::fold;
use crate::redact::literal;
use crate::words::with_columns;

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

/// What PostgreSQL has privileges on besides.
const LATER_OBJECTS: &[&str] = &[
    "DATABASE",
    "DOMAIN",
    "FOREIGN",
    "FUNCTION",
    "LANGUAGE",
    "LARGE",
    "PARAMETER",
    "PROCEDURE",
    "ROUTINE",
    "SEQUENCE",
    "TABLESPACE",
    "TYPE",
];

/// Words that may stand behind the last grantee.
const BEHIND_GRANTEES: &[&str] = &["WITH", "GRANTED", "USING", "CASCADE", "RESTRICT"];

/// What is listed between `GRANT` and `ON`, `TO` or `FROM`: privileges or roles.
struct Item {
    place: Location,
    word: Ident,
    columns: Vec<Ident>,
}

impl Item {
    /// `SELECT` and `CREATE` are no names, so that they can only be privileges.
    fn is_privilege(&self) -> bool {
        let is_reserved =
            self.word.quote_style.is_none() && crate::name::is_reserved(&self.word.value);
        is_reserved || !self.columns.is_empty()
    }
}

impl Cursor<'_> {
    // -- users and roles

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
            let place = self.here();
            let is_user = |word: &&str| self.is_word(0, word);
            if OPTIONS.iter().any(|word| is_user(word))
                || is_user(&"ENCRYPTED")
                || is_user(&"LOGIN")
            {
                let kind = ErrorKind::Invalid("a role does not log in".to_owned());
                let hint = "CREATE USER makes one who does, and GRANT gives it the role".to_owned();
                return Err(ParseError::new(kind, place).with_hint(Some(hint)));
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
    fn role_name(&mut self, what: &str) -> Result<Ident> {
        let place = self.here();
        match self.word(0).as_deref() {
            Some(word @ ("CURRENT_USER" | "CURRENT_ROLE" | "SESSION_USER")) => Err(
                not_in_this_version(format!("{word} in place of a name"), place),
            ),
            Some("PUBLIC") => Err(ParseError::new(
                ErrorKind::Invalid("PUBLIC is everybody, and no user or role".to_owned()),
                place,
            )),
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
            false if literal(token).is_some() => "a text".to_owned(),
            false => "something else".to_owned(),
        };
        let kind = ErrorKind::Expected {
            expected: what.to_owned(),
            found,
        };
        Err(ParseError::new(kind, self.here()))
    }

    // -- grants

    pub(super) fn grant(&mut self) -> Result<Statement> {
        self.take(&["GRANT"]);
        let grant = self.granted("TO")?;
        if self.is_word(0, "WITH") {
            let option = self.word(1).unwrap_or_default();
            let what = match option.as_str() {
                "GRANT" | "ADMIN" => format!("WITH {option} OPTION"),
                "INHERIT" | "SET" => format!("WITH {option}"),
                _ => return self.expected("; or the end of the text"),
            };
            return Err(not_in_this_version(what, self.here()));
        }
        self.not_granted_by()?;
        Ok(Statement::Grant(grant))
    }

    pub(super) fn revoke(&mut self) -> Result<Statement> {
        self.take(&["REVOKE"]);
        for option in ["GRANT", "ADMIN", "INHERIT", "SET"] {
            if self.ahead(&[option, "OPTION", "FOR"]) {
                let what = format!("REVOKE {option} OPTION FOR");
                return Err(not_in_this_version(what, self.here()));
            }
        }
        let grant = self.granted("FROM")?;
        self.not_granted_by()?;
        // Nobody passes on what was given, so that nothing hangs on it.
        self.cascade();
        Ok(Statement::Revoke(grant))
    }

    fn not_granted_by(&self) -> Result<()> {
        match self.ahead(&["GRANTED", "BY"]) {
            true => Err(not_in_this_version("GRANTED BY".to_owned(), self.here())),
            false => Ok(()),
        }
    }

    /// `role, … TO grantee, …`, `privilege, … ON objects TO grantee, …`
    fn granted(&mut self, to: &'static str) -> Result<Grant> {
        let what = if self.take(&["ALL"]) {
            self.take(&["PRIVILEGES"]);
            self.expect("ON")?;
            let privileges = Privileges::All;
            let on = self.grant_on()?;
            self.expect(to)?;
            Granted::Privileges { privileges, on }
        } else {
            let mut items = vec![self.item()?];
            while self.take_token(&Token::Comma) {
                items.push(self.item()?);
            }
            let only_on = items.iter().any(Item::is_privilege);
            let ends: &[&str] = if only_on { &["ON"] } else { &["ON", to] };
            match self.expect_one(ends)? {
                "ON" => self.privileges(items, to)?,
                _ => Granted::Roles(items.into_iter().map(|item| item.word).collect()),
            }
        };
        Ok(Grant {
            what,
            grantees: self.grantees()?,
        })
    }

    fn item(&mut self) -> Result<Item> {
        let place = self.here();
        let reserved = ["SELECT", "CREATE"];
        let word = match reserved.iter().find(|word| self.is_word(0, word)) {
            Some(word) => {
                self.parser.advance_token();
                Ident::new(*word)
            }
            None => self.ident_for("a privilege or a role")?,
        };
        let columns = match self.parser.peek_token_ref().token {
            Token::LParen => self.ident_list("the name of a column")?,
            _ => Vec::new(),
        };
        Ok(Item {
            place,
            word,
            columns,
        })
    }

    /// Behind `ON`.
    fn privileges(&mut self, items: Vec<Item>, to: &str) -> Result<Granted> {
        let on_columns = items.iter().find(|item| !item.columns.is_empty());
        let on_columns = on_columns.map(|item| item.place);
        let listed = items.into_iter().map(privilege).collect::<Result<_>>()?;
        let on = self.grant_on()?;
        if let (Some(place), false) = (on_columns, matches!(on, GrantOn::Relations { .. })) {
            let kind = ErrorKind::Invalid("columns are those of a table or view".to_owned());
            let hint = "behind ON, name the table that has them".to_owned();
            return Err(ParseError::new(kind, place).with_hint(Some(hint)));
        }
        self.expect(to)?;
        Ok(Granted::Privileges {
            privileges: Privileges::Listed(listed),
            on,
        })
    }

    fn grant_on(&mut self) -> Result<GrantOn> {
        if self.take(&["ALL", "TABLES", "IN", "SCHEMA"]) {
            return Ok(GrantOn::AllTablesIn(self.schemas()?));
        }
        if self.is_word(0, "ALL") && self.is_word(2, "IN") && !self.is_word(1, "TABLES") {
            let what = format!("ON ALL {}", self.word(1).unwrap_or_default());
            return Err(not_in_this_version(what, self.here()));
        }
        // Any of these words may also be the name itself.
        let is_name = |n| {
            matches!(self.parser.peek_nth_token_ref(n).token, Token::Word(_))
                && !self.is_word(n, "TO")
                && !self.is_word(n, "FROM")
        };
        let called = if self.is_word(0, "TABLE") {
            Some(Called::Table)
        } else if self.ahead(&["MATERIALIZED", "VIEW"]) && is_name(2) {
            self.take(&["MATERIALIZED"]);
            Some(Called::MaterializedView)
        } else if !is_name(1) {
            None
        } else if self.is_word(0, "VIEW") {
            Some(Called::View)
        } else if self.take(&["SOURCE"]) {
            let mut names = vec![self.single("the name of a source")?];
            while self.take_token(&Token::Comma) {
                names.push(self.single("the name of a source")?);
            }
            return Ok(GrantOn::Sources(names));
        } else if self.take(&["SCHEMA"]) {
            return Ok(GrantOn::Schemas(self.schemas()?));
        } else if let Some(object) = LATER_OBJECTS.iter().find(|word| self.is_word(0, word)) {
            return Err(not_in_this_version(format!("ON {object}"), self.here()));
        } else {
            None
        };
        if called.is_some() {
            self.parser.advance_token();
        }
        Ok(GrantOn::Relations {
            called,
            names: self.relations()?,
        })
    }

    fn schemas(&mut self) -> Result<Vec<crate::Name>> {
        let mut names = vec![self.schema()?];
        while self.take_token(&Token::Comma) {
            names.push(self.schema()?);
        }
        Ok(names)
    }

    fn grantees(&mut self) -> Result<Vec<Grantee>> {
        let mut grantees = vec![self.grantee()?];
        while self.take_token(&Token::Comma) {
            grantees.push(self.grantee()?);
        }
        Ok(grantees)
    }

    fn grantee(&mut self) -> Result<Grantee> {
        // `TO ROLE sales`: a word in front of a name, never the name itself.
        let named = matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_))
            && !BEHIND_GRANTEES.iter().any(|word| self.is_word(1, word));
        if named {
            let _ = self.take(&["ROLE"]) || self.take(&["USER"]) || self.take(&["GROUP"]);
        }
        match self.take(&["PUBLIC"]) {
            true => Ok(Grantee::Public),
            false => Ok(Grantee::Role(
                self.role_name("the name of a user or role, or PUBLIC")?,
            )),
        }
    }

    // -- policies and masks

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
    fn rule(&mut self, what: &str) -> Result<(Ident, crate::Name)> {
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
        if writes(&expr) {
            let kind = ErrorKind::Invalid("the expression may only read".to_owned());
            return Err(ParseError::new(kind, start));
        }
        balance(&mut expr);
        with_columns(&mut expr);
        Ok(Using {
            expr: Box::new(expr),
            text,
        })
    }
}

fn privilege(item: Item) -> Result<GrantedPrivilege> {
    let Item {
        place,
        word,
        columns,
    } = item;
    let names: Vec<&str> = Privilege::EACH.map(Privilege::name).into();
    let named = word.quote_style.is_none().then(|| fold(&word));
    let Some(privilege) = named.as_deref().and_then(Privilege::named) else {
        let kind = ErrorKind::Expected {
            expected: format!("a privilege ({} or ALL)", names.join(", ")),
            found: shown(&word.to_string()),
        };
        let hint = match named.as_deref() {
            Some("maintain") => Some("REFRESH is the privilege to refresh".to_owned()),
            Some(word) => nearest(word, &names),
            None => None,
        };
        return Err(ParseError::new(kind, place).with_hint(hint));
    };
    if !columns.is_empty() && !privilege.is_on_columns() {
        let kind = ErrorKind::Invalid(format!("{privilege} is on all columns"));
        let hint = "SELECT, INSERT and UPDATE can be on some".to_owned();
        return Err(ParseError::new(kind, place).with_hint(Some(hint)));
    }
    Ok(GrantedPrivilege { privilege, columns })
}
