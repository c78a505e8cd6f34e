//! Statements of access back to SQL.

use std::fmt::{self, Display, Formatter};

use super::*;
use crate::display::{Columns, Id, List, when};
use crate::exact::exact;
use crate::name::write_quoted;

impl Display for RoleKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoleKind::User => "USER",
            RoleKind::Role => "ROLE",
        })
    }
}

impl Display for CreateUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exists = when(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE USER {exists}{}{}", Id(&self.name), self.options)
    }
}

/// With a space before each.
impl Display for UserOptions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.password {
            Some(SetPassword::Null) => f.write_str(" PASSWORD NULL")?,
            Some(SetPassword::To(password)) => write!(f, " PASSWORD {password}")?,
            None => {}
        }
        f.write_str(match self.superuser {
            Some(true) => " SUPERUSER",
            Some(false) => " NOSUPERUSER",
            None => "",
        })
    }
}

impl Display for Password {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.shown(), '\'')
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Password({})", self.shown())
    }
}

impl Display for CreateRole {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exists = when(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE ROLE {exists}{}", Id(&self.name))
    }
}

impl Display for AlterRole {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ALTER {} {}", self.called, Id(&self.name))?;
        match &self.action {
            RoleAction::Options(options) => options.fmt(f),
            RoleAction::Set { name, value } => write!(f, " SET {name} = {value}"),
            RoleAction::ResetAll => f.write_str(" RESET ALL"),
        }
    }
}

impl Display for DropRole {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exists = when(self.if_exists, "IF EXISTS ");
        let names: Vec<_> = self.names.iter().map(Id).collect();
        write!(f, "DROP {} {exists}{}", self.called, List(&names))
    }
}

impl Display for ReassignOwned {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of: Vec<_> = self.of.iter().map(Id).collect();
        write!(f, "REASSIGN OWNED BY {} TO {}", List(&of), Id(&self.to))
    }
}

impl Grant {
    pub(crate) fn write(&self, f: &mut Formatter<'_>, verb: &str, to: &str) -> fmt::Result {
        write!(f, "{verb} {} {to} {}", self.what, List(&self.grantees))
    }
}

impl Display for Granted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Granted::Roles(names) => {
                let names: Vec<_> = names.iter().map(Id).collect();
                List(&names).fmt(f)
            }
            Granted::Privileges { privileges, on } => write!(f, "{privileges} ON {on}"),
        }
    }
}

impl Display for Privileges {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Privileges::All => f.write_str("ALL PRIVILEGES"),
            Privileges::Listed(listed) => List(listed).fmt(f),
        }
    }
}

impl Display for GrantedPrivilege {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.privilege.fmt(f)?;
        match self.columns.is_empty() {
            true => Ok(()),
            false => write!(f, " {}", Columns(&self.columns)),
        }
    }
}

impl Display for Privilege {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for GrantOn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            GrantOn::Relations { called, names } => match called {
                Some(called) => write!(f, "{called} {}", List(names)),
                None => List(names).fmt(f),
            },
            GrantOn::Sources(names) => {
                let names: Vec<_> = names.iter().map(Id).collect();
                write!(f, "SOURCE {}", List(&names))
            }
            GrantOn::Schemas(names) => write!(f, "SCHEMA {}", List(names)),
            GrantOn::AllTablesIn(names) => write!(f, "ALL TABLES IN SCHEMA {}", List(names)),
        }
    }
}

impl Display for Grantee {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Grantee::Public => f.write_str("PUBLIC"),
            Grantee::Role(name) => Id(name).fmt(f),
        }
    }
}

impl Display for CreatePolicy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let replace = when(self.or_replace, "OR REPLACE ");
        write!(
            f,
            "CREATE {replace}POLICY {} ON {} TO {} {}",
            Id(&self.name),
            self.on,
            List(&self.grantees),
            self.using
        )
    }
}

impl Display for CreateMask {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let replace = when(self.or_replace, "OR REPLACE ");
        write!(
            f,
            "CREATE {replace}MASK {} ON {} ({}) TO {} {}",
            Id(&self.name),
            self.on,
            Id(&self.column),
            List(&self.grantees),
            self.using
        )
    }
}

impl Display for CreateMapping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let replace = when(self.or_replace, "OR REPLACE ");
        write!(f, "CREATE {replace}USER MAPPING {}", self.of)?;
        match self.options.is_empty() {
            true => Ok(()),
            false => write!(f, " WITH {}", self.options),
        }
    }
}

impl Display for DropMapping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let if_exists = when(self.if_exists, "IF EXISTS ");
        write!(f, "DROP USER MAPPING {if_exists}{}", self.of)
    }
}

impl Display for Mapped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "FOR {} ON SOURCE {}", self.to, Id(&self.source))
    }
}

impl Display for Using {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.text.0 {
            Some(text) => write!(f, "USING ({text})"),
            None => write!(f, "USING ({})", exact(&*self.expr)),
        }
    }
}

impl DropRule {
    pub(crate) fn write(&self, f: &mut Formatter<'_>, object: &str) -> fmt::Result {
        let exists = when(self.if_exists, "IF EXISTS ");
        write!(f, "DROP {object} {exists}{} ON {}", Id(&self.name), self.on)
    }
}
