//! `GRANT`, `REVOKE`.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Location, Token};

use super::Result;
use super::cursor::Cursor;
use super::later::not_in_this_version;
use crate::access::*;
use crate::ast::{Called, Statement};
use crate::error::{ErrorKind, ParseError, nearest, shown};
use crate::name::{Name, fold, is_reserved};

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
        let is_reserved = self.word.quote_style.is_none() && is_reserved(&self.word.value);
        is_reserved || !self.columns.is_empty()
    }
}

impl Cursor<'_> {
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
        if self.take(&["ALL"]) {
            if self.is_word(1, "IN") && !self.is_word(0, "TABLES") {
                let what = format!("ON ALL {}", self.word(0).unwrap_or_default());
                return Err(not_in_this_version(what, self.here()));
            }
            for word in ["TABLES", "IN", "SCHEMA"] {
                self.expect(word)?;
            }
            return Ok(GrantOn::AllTablesIn(self.schemas()?));
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

    fn schemas(&mut self) -> Result<Vec<Name>> {
        let mut names = vec![self.schema()?];
        while self.take_token(&Token::Comma) {
            names.push(self.schema()?);
        }
        Ok(names)
    }

    pub(super) fn grantees(&mut self) -> Result<Vec<Grantee>> {
        let mut grantees = vec![self.grantee()?];
        while self.take_token(&Token::Comma) {
            grantees.push(self.grantee()?);
        }
        Ok(grantees)
    }

    pub(super) fn grantee(&mut self) -> Result<Grantee> {
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
        let kind = ErrorKind::Invalid(format!("{privilege} cannot be limited to columns"));
        let hint = "SELECT, INSERT and UPDATE can".to_owned();
        return Err(ParseError::new(kind, place).with_hint(Some(hint)));
    }
    Ok(GrantedPrivilege { privilege, columns })
}
