use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Identity;
use super::accounts::Accounts;
use crate::catalog::Limit;

/// What the sessions and statements of a user may be: of each limit the least along the user's roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits(BTreeMap<Limit, Least>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Least {
    value: u64,
    /// Whose it is: `role sales`.
    of: String,
}

/// A limit that has been reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: limit {} of {of} is {}", limit.name(), limit.text(*value))]
pub struct Reached {
    pub limit: Limit,
    what: String,
    value: u64,
    of: String,
}

impl Limits {
    /// Whoever may all could lift them, and has none.
    pub fn of(accounts: &Accounts, identity: &Identity) -> Self {
        let mut least: BTreeMap<Limit, Least> = BTreeMap::new();
        if identity.may_all() {
            return Self(least);
        }
        let roles = identity.roles().iter();
        for account in roles.filter_map(|name| accounts.get(name)) {
            for (limit, value) in &account.limits {
                if least.get(limit).is_none_or(|least| *value < least.value) {
                    let name = belvedere_sql::ident(account.name.as_str());
                    let of = format!("{} {name}", account.kind());
                    least.insert(*limit, Least { value: *value, of });
                }
            }
        }
        Self(least)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0.get(&limit).map(|least| least.value)
    }

    /// That it is `value` at most, which errors say of `what`.
    pub fn admit(
        &self,
        limit: Limit,
        value: u64,
        what: impl FnOnce() -> String,
    ) -> Result<(), Reached> {
        match self.0.get(&limit) {
            Some(least) if value > least.value => Err(least.reached(limit, what())),
            _ => Ok(()),
        }
    }

    /// That it has been reached. None: there is none.
    pub fn reached(&self, limit: Limit, what: &str) -> Option<Reached> {
        let least = self.0.get(&limit)?;
        Some(least.reached(limit, what.to_string()))
    }
}

impl Least {
    fn reached(&self, limit: Limit, what: String) -> Reached {
        Reached {
            limit,
            what,
            value: self.value,
            of: self.of.clone(),
        }
    }
}

/// What users have open and running. Who has nothing is not remembered.
#[derive(Debug, Default)]
pub struct Usages(Mutex<HashMap<Arc<str>, Weak<Usage>>>);

/// What one user has open and running.
#[derive(Debug, Default)]
pub struct Usage {
    sessions: AtomicU64,
    statements: AtomicU64,
}

/// One of them: no more, once it is dropped.
#[derive(Debug)]
pub struct Counted {
    usage: Arc<Usage>,
    limit: Limit,
}

impl Usages {
    pub fn of(&self, user: &Arc<str>) -> Arc<Usage> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = all.get(user).and_then(Weak::upgrade) {
            return usage;
        }
        // There are at most twice as many as users that have something.
        let live = |usage: &Weak<Usage>| usage.strong_count() > 0;
        if all.len() == all.capacity() {
            all.retain(|_, usage| live(usage));
        }
        let usage = Arc::default();
        all.insert(user.clone(), Arc::downgrade(&usage));
        usage
    }
}

impl Usage {
    fn count(&self, limit: Limit) -> &AtomicU64 {
        match limit {
            Limit::Sessions => &self.sessions,
            _ => &self.statements,
        }
    }

    /// One more session or statement, if the limits admit it.
    ///
    /// # Errors
    /// They do not.
    pub fn one_more(self: &Arc<Self>, limit: Limit, limits: &Limits) -> Result<Counted, Reached> {
        let most = limits.get(limit).unwrap_or(u64::MAX);
        let more = |now: u64| (now < most).then_some(now + 1);
        let (order, count) = (Ordering::Relaxed, self.count(limit));
        if count.fetch_update(order, order, more).is_err() {
            let what = match limit {
                Limit::Sessions => "the user has as many sessions open as may be",
                _ => "the user has as many statements running as may be at once",
            };
            if let Some(reached) = limits.reached(limit, what) {
                return Err(reached);
            }
        }
        Ok(Counted {
            usage: self.clone(),
            limit,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.usage.count(self.limit).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::accounts::{create, enlist};
    use crate::catalog::Login;

    fn accounts() -> Accounts {
        let mut accounts = Accounts::new();
        let login = |is_superuser| {
            Some(Login {
                verifier: Some("…".into()),
                is_superuser,
            })
        };
        create(&mut accounts, "root", login(true)).unwrap();
        create(&mut accounts, "ana", login(false)).unwrap();
        for role in ["sales", "staff"] {
            create(&mut accounts, role, None).unwrap();
        }
        enlist(&mut accounts, "sales", "ana").unwrap();
        enlist(&mut accounts, "staff", "sales").unwrap();
        accounts
    }

    fn limits(accounts: &Accounts, name: &str) -> Limits {
        Limits::of(accounts, &Identity::of(accounts, name).unwrap())
    }

    #[test]
    fn the_least_along_roles_counts() {
        let mut accounts = accounts();
        for (name, value) in [("ana", 7), ("sales", 9), ("staff", 5), ("root", 1)] {
            let account = accounts.get_mut(name).unwrap();
            account.limits.insert(Limit::Statements, value);
        }
        let of_ana = limits(&accounts, "ana");
        assert_eq!(of_ana.get(Limit::Statements), Some(5));
        assert_eq!(of_ana.get(Limit::Sessions), None);
        let reached = of_ana.admit(Limit::Statements, 6, || "too many".into());
        assert_eq!(
            reached.unwrap_err().to_string(),
            "too many: limit max_statements of role staff is 5"
        );
        of_ana
            .admit(Limit::Statements, 5, || unreachable!())
            .unwrap();
        assert!(
            limits(&accounts, "root").is_empty(),
            "who could lift them has none"
        );
    }

    #[test]
    fn what_is_open_is_counted_until_it_is_not() {
        let mut accounts = accounts();
        let ana = accounts.get_mut("ana").unwrap();
        ana.limits.insert(Limit::Sessions, 2);
        let (limits, usages) = (limits(&accounts, "ana"), Usages::default());
        let name: Arc<str> = "ana".into();
        let usage = usages.of(&name);
        let one = usage.one_more(Limit::Sessions, &limits).unwrap();
        let _two = usages.of(&name).one_more(Limit::Sessions, &limits).unwrap();
        assert!(usage.one_more(Limit::Sessions, &limits).is_err());
        let _another = usage.one_more(Limit::Statements, &limits).unwrap();
        drop(one);
        usage.one_more(Limit::Sessions, &limits).unwrap();
        usage.one_more(Limit::Sessions, &limits).unwrap();
    }

    #[test]
    fn who_has_nothing_is_forgotten() {
        let usages = Usages::default();
        for n in 0..10_000 {
            usages.of(&n.to_string().into());
        }
        assert!(usages.0.lock().unwrap().len() < 100);
    }
}
