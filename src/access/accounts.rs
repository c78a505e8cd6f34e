use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::random;
use crate::catalog::{Account, Grantee, Login};

/// Users and roles by name.
pub type Accounts = BTreeMap<String, Account>;

/// Of everybody: no account is called so.
const PUBLIC: &str = "public";

/// Who asks, or whose rights count: an account with all roles whose rights it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// None: it is the administrator, who has no account.
    name: Option<Arc<str>>,
    /// Itself, the roles that it is a member of, and those that these are.
    roles: Arc<BTreeSet<String>>,
    may_all: bool,
}

impl Identity {
    /// Whoever has the data directory; and whoever is on loopback, while there are no users.
    pub fn administrator() -> Self {
        Self {
            name: None,
            roles: Arc::default(),
            may_all: true,
        }
    }

    /// Who may do nothing but what everybody may.
    pub fn nobody() -> Self {
        Self {
            name: None,
            roles: Arc::default(),
            may_all: false,
        }
    }

    /// That of an account. None: there is none of this name.
    pub fn of(accounts: &Accounts, name: &str) -> Option<Self> {
        let account = accounts.get(name)?;
        Some(Self {
            name: Some(name.into()),
            roles: Arc::new(closure(accounts, name)),
            may_all: account.is_superuser(),
        })
    }

    /// The account. None: it has none.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Whether it is the administrator, or a superuser.
    pub fn may_all(&self) -> bool {
        self.may_all
    }

    /// All whose rights it has, itself among them.
    pub fn roles(&self) -> &Arc<BTreeSet<String>> {
        &self.roles
    }

    /// Whether something is for it that is for these.
    pub fn is_one_of<'a>(&self, named: impl IntoIterator<Item = &'a Grantee>) -> bool {
        named.into_iter().any(|to| match to {
            Grantee::Public => true,
            Grantee::Account(name) => self.roles.contains(name),
        })
    }

    /// Whether what this account has defined is as if this one had.
    pub fn is_definer(&self, definer: Option<&str>) -> bool {
        self.may_all || definer.is_some_and(|definer| self.roles.contains(definer))
    }
}

fn closure(accounts: &Accounts, name: &str) -> BTreeSet<String> {
    let (mut all, mut pending) = (BTreeSet::new(), vec![name]);
    while let Some(name) = pending.pop() {
        if let Some(account) = accounts.get(name)
            && all.insert(name.to_string())
        {
            pending.extend(account.member_of.iter().map(String::as_str));
        }
    }
    all
}

/// Why accounts cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("{kind} {name} already exists")]
    Taken { kind: &'static str, name: String },
    #[error("a user or role has a name")]
    Nameless,
    #[error("the name {PUBLIC} means everybody")]
    Reserved,
    #[error("{kind} {name} does not exist")]
    Unknown { kind: &'static str, name: String },
    #[error("{name} is a {kind}")]
    Other { kind: &'static str, name: String },
    #[error("{0} would be a member of itself")]
    Circle(String),
    #[error("nobody could administer any more: there would be no superuser with a password")]
    NoAdministrator,
}

/// A new account: a user, or, without a login, a role.
pub fn create(
    accounts: &mut Accounts,
    name: &str,
    login: Option<Login>,
) -> Result<(), AccountError> {
    if name.is_empty() {
        return Err(AccountError::Nameless);
    }
    if name == PUBLIC {
        return Err(AccountError::Reserved);
    }
    if let Some(other) = accounts.get(name) {
        return Err(AccountError::Taken {
            kind: other.kind(),
            name: name.to_string(),
        });
    }
    let account = Account {
        name: name.to_string(),
        id: new_id(),
        login,
        ..Account::default()
    };
    changed(accounts, |accounts| {
        accounts.insert(name.to_string(), account);
    })
}

/// A user's login is changed.
pub fn alter(
    accounts: &mut Accounts,
    name: &str,
    change: impl FnOnce(&mut Login),
) -> Result<(), AccountError> {
    let login = existing(accounts, name, "user")?.login.clone();
    let mut login = login.ok_or_else(|| AccountError::Other {
        kind: "role",
        name: name.to_string(),
    })?;
    let verifier = login.verifier.clone();
    change(&mut login);
    changed(accounts, |accounts| {
        if let Some(account) = accounts.get_mut(name) {
            if login.verifier != verifier {
                account.id = new_id();
            }
            account.login = Some(login);
        }
    })
}

/// One that no account had before.
fn new_id() -> u64 {
    u64::from_le_bytes(random())
}

/// What is said of an account besides its login is changed.
pub fn adjust(
    accounts: &mut Accounts,
    name: &str,
    change: impl FnOnce(&mut Account),
) -> Result<(), AccountError> {
    existing(accounts, name, "user or role")?;
    if let Some(account) = accounts.get_mut(name) {
        change(account);
    }
    Ok(())
}

/// An account goes, and with it that others are members of it.
pub fn remove(accounts: &mut Accounts, name: &str) -> Result<(), AccountError> {
    changed(accounts, |accounts| {
        accounts.remove(name);
        for account in accounts.values_mut() {
            account.member_of.remove(name);
        }
    })
}

/// A role's rights are another account's, too.
pub fn enlist(accounts: &mut Accounts, role: &str, member: &str) -> Result<(), AccountError> {
    let found = existing(accounts, role, "role")?;
    if found.login.is_some() {
        return Err(AccountError::Other {
            kind: "user",
            name: role.to_string(),
        });
    }
    existing(accounts, member, "user or role")?;
    if closure(accounts, role).contains(member) {
        return Err(AccountError::Circle(member.to_string()));
    }
    if let Some(account) = accounts.get_mut(member) {
        account.member_of.insert(role.to_string());
    }
    Ok(())
}

/// They are so no more. False: they were not.
pub fn dismiss(accounts: &mut Accounts, role: &str, member: &str) -> Result<bool, AccountError> {
    existing(accounts, role, "role")?;
    existing(accounts, member, "user or role")?;
    let account = accounts.get_mut(member);
    Ok(account.is_some_and(|account| account.member_of.remove(role)))
}

/// The account of this name, which errors call so.
pub fn existing<'a>(
    accounts: &'a Accounts,
    name: &str,
    kind: &'static str,
) -> Result<&'a Account, AccountError> {
    accounts.get(name).ok_or_else(|| AccountError::Unknown {
        kind,
        name: name.to_string(),
    })
}

/// Where there are users, one of them can administer; else nothing is changed.
fn changed(
    accounts: &mut Accounts,
    change: impl FnOnce(&mut Accounts),
) -> Result<(), AccountError> {
    let mut new = accounts.clone();
    change(&mut new);
    let mut logins = new.values().filter_map(|account| account.login.as_ref());
    let administers = |login: &Login| login.is_superuser && login.verifier.is_some();
    let (has_users, is_fine) = (logins.clone().next().is_some(), logins.any(administers));
    if has_users && !is_fine {
        return Err(AccountError::NoAdministrator);
    }
    *accounts = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(is_superuser: bool) -> Option<Login> {
        Some(Login {
            verifier: Some("…".into()),
            is_superuser,
        })
    }

    fn accounts() -> Accounts {
        let mut accounts = Accounts::new();
        create(&mut accounts, "root", login(true)).unwrap();
        for (name, login) in [("ana", login(false)), ("sales", None), ("staff", None)] {
            create(&mut accounts, name, login).unwrap();
        }
        enlist(&mut accounts, "sales", "ana").unwrap();
        enlist(&mut accounts, "staff", "sales").unwrap();
        accounts
    }

    #[test]
    fn an_identity_has_all_roles_of_its_roles() {
        let mut accounts = accounts();
        let roles = |accounts: &Accounts, name| {
            let identity = Identity::of(accounts, name).unwrap();
            let roles = identity.roles().iter().cloned();
            roles.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(roles(&accounts, "ana"), "ana sales staff");
        assert_eq!(roles(&accounts, "sales"), "sales staff");
        assert_eq!(Identity::of(&accounts, "bob"), None);
        assert_eq!(dismiss(&mut accounts, "staff", "sales"), Ok(true));
        assert_eq!(dismiss(&mut accounts, "staff", "sales"), Ok(false));
        assert_eq!(roles(&accounts, "ana"), "ana sales");
        remove(&mut accounts, "sales").unwrap();
        assert_eq!(roles(&accounts, "ana"), "ana");
    }

    #[test]
    fn superusers_are_those_that_are_said_to_be() {
        let accounts = accounts();
        let of = |name| Identity::of(&accounts, name).unwrap();
        assert!(of("root").may_all() && !of("ana").may_all());
        assert!(Identity::administrator().is_definer(None));
        assert!(of("root").is_definer(None) && of("root").is_definer(Some("ana")));
        assert!(of("ana").is_definer(Some("staff")) && !of("ana").is_definer(Some("root")));
        assert!(
            !of("ana").is_definer(None),
            "what the administrator defined is nobody's"
        );
    }

    #[test]
    fn no_role_is_a_member_of_itself() {
        let mut accounts = accounts();
        let circle = |name: &str| Err(AccountError::Circle(name.into()));
        assert_eq!(enlist(&mut accounts, "sales", "staff"), circle("staff"));
        assert_eq!(enlist(&mut accounts, "sales", "sales"), circle("sales"));
        let other = AccountError::Other {
            kind: "user",
            name: "ana".into(),
        };
        assert_eq!(enlist(&mut accounts, "ana", "sales"), Err(other));
    }

    #[test]
    fn somebody_can_administer_as_long_as_there_are_users() {
        let mut accounts = Accounts::new();
        let refused = Err(AccountError::NoAdministrator);
        create(&mut accounts, "sales", None).unwrap();
        assert_eq!(create(&mut accounts, "ana", login(false)), refused);
        let without_password = Login {
            verifier: None,
            is_superuser: true,
        };
        assert_eq!(
            create(&mut accounts, "ana", Some(without_password)),
            refused
        );
        assert_eq!(accounts.len(), 1);
        create(&mut accounts, "root", login(true)).unwrap();
        create(&mut accounts, "ana", login(false)).unwrap();
        let before = accounts.clone();
        assert_eq!(remove(&mut accounts, "root"), refused);
        assert_eq!(
            alter(&mut accounts, "root", |l| l.is_superuser = false),
            refused
        );
        assert_eq!(alter(&mut accounts, "root", |l| l.verifier = None), refused);
        assert_eq!(accounts, before);
        remove(&mut accounts, "ana").unwrap();
        remove(&mut accounts, "root").unwrap();
        assert!(accounts.values().all(|account| account.login.is_none()));
    }

    #[test]
    fn users_and_roles_share_their_names() {
        let mut accounts = accounts();
        let taken = AccountError::Taken {
            kind: "user",
            name: "ana".into(),
        };
        assert_eq!(create(&mut accounts, "ana", None), Err(taken));
        assert_eq!(
            create(&mut accounts, "public", None),
            Err(AccountError::Reserved)
        );
    }
}
