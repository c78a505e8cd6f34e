use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::throttle::Throttle;
use super::tokens::Tokens;
use super::verifier::{Key, Verifier};

/// A token that is not used for so long is none any more.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// Used or not, it ends then.
const LASTS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why somebody is not let in. Whether there is such a user is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the user or the password is wrong")]
    Wrong,
    #[error("too many logins have failed: try again in {} s", wait.as_secs() + 1)]
    TooMany { wait: Duration },
    #[error("the token is not one of this server's, or has expired: log in again")]
    Token,
}

/// How users prove who they are: what has been tried, and which tokens stand for a login.
#[derive(Debug)]
pub struct Logins {
    /// Of which the verifiers of users are made that there are not.
    secret: Secret,
    throttle: Mutex<Throttle>,
    tokens: Mutex<Tokens>,
}

struct Secret(Key);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A login that is tried: what it is checked by. Unless it [succeeds](Tried::succeeded), it has failed when it is dropped.
#[derive(Debug)]
pub struct Tried<'a> {
    throttle: &'a Mutex<Throttle>,
    is_right: bool,
    pub verifier: Verifier,
    /// There is no such user, or none that logs in by a password: whatever is said, it is wrong.
    pub is_nobody: bool,
    from: IpAddr,
    user: String,
}

impl Logins {
    /// `secret` is the engine's own, and the same after a restart.
    pub fn new(secret: Key) -> Self {
        Self {
            secret: Secret(secret),
            throttle: Mutex::default(),
            tokens: Mutex::new(Tokens::new(IDLE)),
        }
    }

    /// Whether a login may be tried, without trying it; and whether that user has logged in from there before.
    pub fn admits(&self, user: &str, from: IpAddr) -> Result<bool, Refused> {
        let mut throttle = lock(&self.throttle);
        let now = Instant::now();
        let admitted = throttle.admits(from, user, now);
        admitted.map_err(|wait| Refused::TooMany { wait })?;
        Ok(throttle.knows(from, user, now))
    }

    /// Somebody there says to be this user.
    pub fn tries(
        &self,
        accounts: &Accounts,
        user: &str,
        from: IpAddr,
    ) -> Result<Tried<'_>, Refused> {
        let admitted = lock(&self.throttle).admits(from, user, Instant::now());
        admitted.map_err(|wait| Refused::TooMany { wait })?;
        let login = accounts
            .get(user)
            .and_then(|account| account.login.as_ref());
        let kept = login.and_then(|login| login.verifier.as_ref()?.parse().ok());
        Ok(Tried {
            throttle: &self.throttle,
            is_right: false,
            is_nobody: kept.is_none(),
            verifier: kept.unwrap_or_else(|| Verifier::mock(&self.secret.0, user)),
            from,
            user: user.to_string(),
        })
    }

    /// Whether this is the user's password. It takes some milliseconds of a processor, whoever it is.
    pub fn password(
        &self,
        accounts: &Accounts,
        user: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let tried = self.tries(accounts, user, from)?;
        let is_right = tried.verifier.is_password(password);
        if !is_right || tried.is_nobody {
            return Err(Refused::Wrong);
        }
        tried.succeeded();
        Ok(())
    }

    /// A token that stands for this user.
    pub fn issue(&self, user: &str) -> String {
        lock(&self.tokens).issue(user, LASTS, Instant::now())
    }

    /// Whose token this is.
    pub fn bearer(&self, token: &str) -> Result<String, Refused> {
        let bearer = lock(&self.tokens).bearer(token, Instant::now());
        bearer.ok_or(Refused::Token)
    }

    /// No token stands for this user any more: its password is another now, or it is gone.
    pub fn revoke_all_of(&self, user: &str) {
        lock(&self.tokens).revoke_all_of(user);
    }
}

impl Tried<'_> {
    /// It was right.
    pub fn succeeded(mut self) {
        self.is_right = true;
    }
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        let mut throttle = lock(self.throttle);
        match self.is_right {
            true => throttle.succeeded(self.from, &self.user, Instant::now()),
            false => throttle.failed(self.from, &self.user, Instant::now()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::accounts::create;
    use crate::access::random;
    use crate::catalog::Login;

    fn accounts() -> Accounts {
        let mut accounts = Accounts::new();
        let login = Login {
            verifier: Some(Verifier::new("secret").to_string()),
            is_superuser: true,
        };
        create(&mut accounts, "ana", Some(login)).unwrap();
        create(&mut accounts, "sales", None).unwrap();
        accounts
    }

    #[test]
    fn who_knows_the_password_is_let_in() {
        let (logins, accounts) = (Logins::new(random()), accounts());
        let from = IpAddr::from([192, 0, 2, 1]);
        let tried = |user: &str, password: &str| logins.password(&accounts, user, password, from);
        assert_eq!(tried("ana", "secret"), Ok(()));
        for (user, password) in [
            ("ana", "Secret"),
            ("ana", ""),
            ("bob", "secret"),
            ("sales", ""),
        ] {
            assert_eq!(tried(user, password), Err(Refused::Wrong), "{user}");
        }
    }

    #[test]
    fn too_many_tries_are_refused_whoever_is_tried() {
        let (logins, accounts) = (Logins::new(random()), accounts());
        let from = IpAddr::from([192, 0, 2, 1]);
        for user in ["ana", "nobody"] {
            let refused = (0..11).find_map(|_| logins.tries(&accounts, user, from).err());
            assert!(matches!(refused, Some(Refused::TooMany { .. })), "{user}");
        }
    }

    #[test]
    fn a_token_stands_for_its_user() {
        let logins = Logins::new(random());
        let token = logins.issue("ana");
        assert_eq!(logins.bearer(&token).as_deref(), Ok("ana"));
        logins.revoke_all_of("ana");
        assert_eq!(logins.bearer(&token), Err(Refused::Token));
        assert!(!format!("{logins:?}").contains(&token));
    }
}
