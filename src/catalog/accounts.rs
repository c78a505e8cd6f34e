use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ObjectId;

/// Somebody who may be given rights: a user, who logs in, or a role, which does not. Both are of one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    /// None: it is a role.
    pub login: Option<Login>,
    /// Roles whose rights it has, too.
    pub member_of: BTreeSet<String>,
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

/// Something that may be done with an object, or with what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Privilege {
    /// Read its rows.
    Select,
    Insert,
    Update,
    Delete,
    /// Of an own schema: define views in it.
    Create,
    /// Of a materialized view: have it computed. Of a source: have its tables read again.
    Refresh,
    /// Know that it is there, and what is in it.
    Usage,
}

impl Privilege {
    pub const ALL: [Self; 7] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Create,
        Self::Refresh,
        Self::Usage,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Create => "CREATE",
            Self::Refresh => "REFRESH",
            Self::Usage => "USAGE",
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
