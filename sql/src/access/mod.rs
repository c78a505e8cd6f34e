//! Who may do what: users, roles, grants, policies, masks, mappings.
//!
//! A password given in a statement is shown by nothing: neither by the statement printed or debugged, nor by
//! [`redacted`](crate::redacted) text, nor by an error.

use sqlparser::ast::{Expr, Ident};

use crate::ast::{Called, SetValue, Verbatim};
use crate::name::Name;
use crate::options::Options;

mod display;

/// What stands for what is not shown.
pub(crate) const HIDDEN: &str = "…";

/// What a statement calls whom rights are given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleKind {
    /// `USER`: someone who logs in.
    User,
    /// `ROLE`: what users are given together.
    Role,
}

/// See [`Statement::CreateUser`](crate::Statement::CreateUser).
///
/// ```
/// # use belvedere_sql::parse_one;
/// for (sql, printed) in [
///     ("CREATE USER ana", "CREATE USER ana"),
///     ("CREATE USER ana WITH SUPERUSER ENCRYPTED PASSWORD 'secret'", "CREATE USER ana PASSWORD '…' SUPERUSER"),
///     ("CREATE USER IF NOT EXISTS ana PASSWORD 'env:ANA'", "CREATE USER IF NOT EXISTS ana PASSWORD 'env:ANA'"),
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), printed);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateUser {
    /// Do nothing if there is one of that name.
    pub if_not_exists: bool,
    /// The user.
    pub name: Ident,
    /// How the user logs in, and whether it may do everything.
    pub options: UserOptions,
}

/// What `CREATE USER` and `ALTER USER` say of a user. What is not written stays, or is as by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserOptions {
    /// `PASSWORD 'text'`, `PASSWORD NULL`
    pub password: Option<SetPassword>,
    /// `SUPERUSER`, `NOSUPERUSER`
    pub superuser: Option<bool>,
}

/// What `PASSWORD` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetPassword {
    /// `PASSWORD NULL`: the user has none, and cannot log in with one.
    Null,
    /// `PASSWORD 'text'`
    To(Password),
}

/// A password, or a reference to one (`env:NAME`, `file:/path`). A reference is printed, a password is not.
///
/// ```
/// use belvedere_sql::Password;
///
/// let (password, reference) = (Password::new("secret"), Password::new("env:ANA"));
/// assert_eq!(format!("{password} {password:?}"), "'…' Password(…)");
/// assert_eq!(format!("{reference} {reference:?}"), "'env:ANA' Password(env:ANA)");
/// assert_eq!((password.expose(), password.is_reference()), ("secret", false));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// As it is written between the quotes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to be turned into a verifier or to be looked up.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text only says where the password is.
    pub fn is_reference(&self) -> bool {
        is_reference(&self.0)
    }

    fn shown(&self) -> &str {
        match self.is_reference() {
            true => &self.0,
            false => HIDDEN,
        }
    }
}

/// Whether a text says where a secret is, instead of being one.
pub(crate) fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// See [`Statement::CreateRole`](crate::Statement::CreateRole).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRole {
    /// Do nothing if there is one of that name.
    pub if_not_exists: bool,
    /// The role.
    pub name: Ident,
}

/// See [`Statement::AlterRole`](crate::Statement::AlterRole).
///
/// ```
/// # use belvedere_sql::parse_one;
/// for (sql, printed) in [
///     ("ALTER USER ana WITH NOSUPERUSER", "ALTER USER ana NOSUPERUSER"),
///     ("ALTER USER ana PASSWORD NULL", "ALTER USER ana PASSWORD NULL"),
///     ("ALTER ROLE sales SET statement_timeout TO '10s'", "ALTER ROLE sales SET statement_timeout = '10s'"),
///     ("ALTER ROLE sales RESET statement_timeout", "ALTER ROLE sales SET statement_timeout = DEFAULT"),
///     ("ALTER ROLE sales RESET ALL", "ALTER ROLE sales RESET ALL"),
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), printed);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterRole {
    /// What it is called.
    pub called: RoleKind,
    /// The user or role.
    pub name: Ident,
    /// What to change.
    pub action: RoleAction,
}

/// What `ALTER USER` and `ALTER ROLE` change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleAction {
    /// `[WITH] PASSWORD …`, at least one option.
    Options(UserOptions),
    /// `SET x = 1`: what its sessions begin with. `RESET x` is `SET x = DEFAULT`.
    Set {
        /// The setting.
        name: Name,
        /// Its value.
        value: SetValue,
    },
    /// `RESET ALL`
    ResetAll,
}

/// See [`Statement::DropRole`](crate::Statement::DropRole).
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in ["DROP USER IF EXISTS ana, ben", "DROP ROLE sales"] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRole {
    /// What they are called.
    pub called: RoleKind,
    /// No error if there is none.
    pub if_exists: bool,
    /// At least one.
    pub names: Vec<Ident>,
}

/// See [`Statement::ReassignOwned`](crate::Statement::ReassignOwned).
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in [
///     "REASSIGN OWNED BY ana, ben TO root",
///     "ALTER VIEW stock OWNER TO ana",
///     "ALTER MATERIALIZED VIEW trade.stock OWNER TO ana",
///     "ALTER SOURCE erp OWNER TO ana",
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReassignOwned {
    /// Whose everything is; at least one.
    pub of: Vec<Ident>,
    /// Whose it is from then on.
    pub to: Ident,
}

/// See [`Statement::Grant`](crate::Statement::Grant) and [`Statement::Revoke`](crate::Statement::Revoke).
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in [
///     "GRANT sales, support TO ana, ben",
///     "GRANT SELECT (sku, price), UPDATE (price) ON erp.public.item TO sales",
///     "GRANT ALL PRIVILEGES ON SCHEMA trade TO sales",
///     "GRANT USAGE, CREATE ON SOURCE erp TO sales",
///     "GRANT SELECT ON ALL TABLES IN SCHEMA trade TO PUBLIC",
///     "REVOKE REFRESH ON MATERIALIZED VIEW stock FROM sales",
///     "REVOKE sales FROM ana",
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What is given or taken.
    pub what: Granted,
    /// To or from whom; at least one.
    pub grantees: Vec<Grantee>,
}

/// What a grant gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// All that some roles have. At least one.
    Roles(Vec<Ident>),
    /// Privileges on objects.
    Privileges {
        /// Which.
        privileges: Privileges,
        /// On what.
        on: GrantOn,
    },
}

/// Some privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Privileges {
    /// `ALL [PRIVILEGES]`: those that there are for the object.
    All,
    /// `SELECT (a, b), INSERT`: at least one.
    Listed(Vec<GrantedPrivilege>),
}

/// One privilege, on whole objects or on columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedPrivilege {
    /// Which.
    pub privilege: Privilege,
    /// If it is not on all columns. Of `SELECT`, `INSERT` and `UPDATE` alone.
    pub columns: Vec<Ident>,
}

/// What can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Privilege {
    /// To read rows.
    Select,
    /// To write new rows.
    Insert,
    /// To change rows.
    Update,
    /// To delete rows.
    Delete,
    /// To refresh a materialized view, or a source.
    Refresh,
    /// To define something in it.
    Create,
    /// To name what is in it.
    Usage,
}

impl Privilege {
    /// Every privilege there is.
    pub const EACH: [Self; 7] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Refresh,
        Self::Create,
        Self::Usage,
    ];

    /// As it is written: `SELECT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Refresh => "REFRESH",
            Self::Create => "CREATE",
            Self::Usage => "USAGE",
        }
    }

    /// The one of this name, in capitals or not.
    pub fn named(word: &str) -> Option<Self> {
        Self::EACH
            .into_iter()
            .find(|privilege| privilege.name().eq_ignore_ascii_case(word))
    }

    /// Whether it can be limited to columns.
    pub fn is_on_columns(self) -> bool {
        matches!(self, Self::Select | Self::Insert | Self::Update)
    }
}

/// What privileges are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantOn {
    /// `[TABLE | VIEW | MATERIALIZED VIEW] a, b`: tables and views, or whatever is called that.
    Relations {
        /// What they are called, if anything.
        called: Option<Called>,
        /// At least one.
        names: Vec<Name>,
    },
    /// `SOURCE a, b`
    Sources(Vec<Ident>),
    /// `SCHEMA a, b`
    Schemas(Vec<Name>),
    /// `ALL TABLES IN SCHEMA a, b`: the tables and views that are in them now.
    AllTablesIn(Vec<Name>),
}

/// Whom something is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// `PUBLIC`: everybody.
    Public,
    /// A user or role.
    Role(Ident),
}

/// See [`Statement::CreatePolicy`](crate::Statement::CreatePolicy).
///
/// ```
/// # use belvedere_sql::parse_one;
/// for (sql, printed) in [
///     ("CREATE POLICY emea ON customer_360 TO sales, support USING (region = 'EMEA')", "CREATE POLICY emea ON customer_360 TO sales, support USING (region = 'EMEA')"),
///     ("CREATE POLICY own ON crm.v AS PERMISSIVE FOR SELECT USING (owner = current_user)", "CREATE POLICY own ON crm.v TO PUBLIC USING (owner = current_user)"),
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), printed);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePolicy {
    /// Replace a policy of that name.
    pub or_replace: bool,
    /// One of its own per view.
    pub name: Ident,
    /// The view, or table.
    pub on: Name,
    /// Whom it is for; everybody, if nobody is named.
    pub grantees: Vec<Grantee>,
    /// Which rows they see.
    pub using: Using,
}

/// See [`Statement::CreateMask`](crate::Statement::CreateMask).
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "CREATE OR REPLACE MASK last4 ON customer_360 (iban) TO sales USING (right(iban, 4))";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateMask {
    /// Replace a mask of that name.
    pub or_replace: bool,
    /// One of its own per view.
    pub name: Ident,
    /// The view, or table.
    pub on: Name,
    /// The column.
    pub column: Ident,
    /// Whom it is for; everybody, if nobody is named.
    pub grantees: Vec<Grantee>,
    /// What they see in place of the column.
    pub using: Using,
}

/// See [`Statement::CreateMapping`](crate::Statement::CreateMapping).
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "CREATE OR REPLACE USER MAPPING FOR ana ON SOURCE erp WITH (user = 'ana_k', password = 'env:ERP_ANA')";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateMapping {
    /// Replace one that is there.
    pub or_replace: bool,
    /// Whose, and where.
    pub of: Mapped,
    /// `user`, and options of the source that are others for it.
    pub options: Options,
}

/// See [`Statement::DropMapping`](crate::Statement::DropMapping).
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "DROP USER MAPPING IF EXISTS FOR PUBLIC ON SOURCE erp";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropMapping {
    /// No error if there is none.
    pub if_exists: bool,
    /// Whose, and where.
    pub of: Mapped,
}

/// Who is known as somebody at a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// A user, or a role: all who have it.
    pub to: Grantee,
    /// The source.
    pub source: Ident,
}

/// `USING (…)`: an expression over the columns of a view. What it may contain is for the engine to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Using {
    /// The expression.
    pub expr: Box<Expr>,
    /// As it was written, as in [`CreateView::text`](crate::CreateView::text). Whoever changes `expr` clears it.
    pub text: Verbatim,
}

/// See [`Statement::DropPolicy`](crate::Statement::DropPolicy) and [`Statement::DropMask`](crate::Statement::DropMask).
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in ["DROP POLICY IF EXISTS emea ON customer_360", "DROP MASK last4 ON crm.v"] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRule {
    /// No error if there is none.
    pub if_exists: bool,
    /// The policy or mask.
    pub name: Ident,
    /// The view, or table.
    pub on: Name,
}
