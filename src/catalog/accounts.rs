use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use belvedere_sql::Privilege;
use serde::{Deserialize, Serialize};

use super::ObjectId;

/// Somebody who may be given rights: a user, who logs in, or a role, which does not. Both are of one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    /// Who has logged in as it is logged in as long as it is the same: another one of this name, or with another password, has
    /// another.
    #[serde(default)]
    pub id: u64,
    /// None: it is a role.
    pub login: Option<Login>,
    /// Roles whose rights it has, too.
    pub member_of: BTreeSet<String>,
    /// What a user's sessions begin with: values of settings, as SET takes them.
    #[serde(default)]
    pub settings: BTreeMap<String, Vec<String>>,
    /// Of a user, and of whoever is a member of a role.
    #[serde(default)]
    pub limits: BTreeMap<Limit, u64>,
}

/// What is not to be more for a user: counts, bytes, or milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Limit {
    /// How old what is read may be, whatever sessions, calls and views say.
    Age,
    /// Of one answer.
    ResultBytes,
    /// Of one answer.
    ResultRows,
    /// That are open, over whatever protocol.
    Sessions,
    /// What one statement may hold.
    StatementMemory,
    /// How long one statement may take.
    StatementTime,
    /// That run at once.
    Statements,
}

impl Limit {
    pub const ALL: [Self; 7] = [
        Self::Age,
        Self::ResultBytes,
        Self::ResultRows,
        Self::Sessions,
        Self::StatementMemory,
        Self::StatementTime,
        Self::Statements,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "max_age",
            Self::ResultBytes => "max_result_bytes",
            Self::ResultRows => "max_result_rows",
            Self::Sessions => "max_sessions",
            Self::StatementMemory => "max_statement_memory",
            Self::StatementTime => "max_statement_time",
            Self::Statements => "max_statements",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }

    /// A value, as it is shown.
    pub fn text(self, value: u64) -> String {
        match self {
            Self::Age | Self::StatementTime => format!("{value}ms"),
            _ => value.to_string(),
        }
    }
}

/// What makes an account a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// What is kept of the password. None: there is none, and nobody logs in by one.
    pub verifier: Option<String>,
    /// It may do all, with everything.
    pub is_superuser: bool,
}

/// Of the verifier it says no more than that there is one.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("has_password", &self.verifier.is_some())
            .field("is_superuser", &self.is_superuser)
            .finish()
    }
}

impl Account {
    pub fn is_superuser(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.is_superuser)
    }

    /// What its errors call it.
    pub fn kind(&self) -> &'static str {
        match self.login {
            Some(_) => "user",
            None => "role",
        }
    }
}

/// To whom something is granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grantee {
    /// Everybody.
    Public,
    Account(String),
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("PUBLIC"),
            Self::Account(name) => write!(f, "{}", belvedere_sql::ident(name.as_str())),
        }
    }
}

/// Which columns of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Columns {
    All,
    These(BTreeSet<String>),
}

impl Columns {
    pub fn contains(&self, column: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(columns) => columns.contains(column),
        }
    }

    /// Whether all of these are among them.
    pub fn covers(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::These(_), Self::All) => false,
            (Self::These(columns), Self::These(others)) => others.is_subset(columns),
        }
    }

    /// These, too.
    pub fn add(&mut self, more: &Self) {
        match (&mut *self, more) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::These(columns), Self::These(more)) => columns.extend(more.iter().cloned()),
        }
    }
}

/// What has been granted, by object (a source, a schema, a table or view) and grantee.
pub type Grants = BTreeMap<(ObjectId, Grantee), Granted>;

/// What one grantee may do with one object.
pub type Granted = BTreeMap<Privilege, Columns>;
