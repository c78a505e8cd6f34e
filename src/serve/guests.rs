//! Who clients are, by what they say: nothing, a name and a password, or a token.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::sync::Mutex;

use crate::access::Refused;
use crate::access::audit::{Audit, Event, Level, Origin, Record, Unaudited};
use crate::engine::{Engine, Who};

/// The owner of tokens that were issued while there were no users: nobody can be called so.
const ANYBODY: &str = "";

/// Standard base64, its padding optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client says of itself, in the header `authorization`.
pub(in crate::serve) enum Said {
    Nothing,
    Basic { user: String, password: String },
    Bearer(String),
}

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::serve) enum Turned {
    #[error("the header authorization is neither Basic nor Bearer")]
    Malformed,
    #[error("the user's name is empty")]
    Nameless,
    #[error(
        "log in: send the header authorization, with Basic and a user's name and password, or Bearer and a token"
    )]
    Login,
    #[error("no users are defined, so only clients on the server's own machine are served")]
    Away,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("what checks passwords has failed")]
    Failed,
    /// No login is let in that nobody could know of.
    #[error("nobody can log in now: the audit cannot be written")]
    Unaudited,
}

impl Said {
    /// The header as it is sent.
    pub fn read(header: Option<&[u8]>) -> Result<Self, Turned> {
        let Some(header) = header else {
            return Ok(Self::Nothing);
        };
        let text = std::str::from_utf8(header).map_err(|_| Turned::Malformed)?;
        let (scheme, rest) = text.split_once(' ').ok_or(Turned::Malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(rest.to_string()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Turned::Malformed);
        }
        let decoded = BASE64.decode(rest).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let (user, password) = decoded
            .as_deref()
            .and_then(|decoded| decoded.split_once(':'))
            .ok_or(Turned::Malformed)?;
        if user.is_empty() {
            return Err(Turned::Nameless);
        }
        Ok(Self::Basic {
            user: user.to_string(),
            password: password.to_string(),
        })
    }
}

/// Decides who may come in.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Guests {
    engine: Engine,
    /// Serve clients that are not on loopback, too, although there are no users.
    trusts_all: bool,
    /// Passwords are checked one by one: what that costs is bounded, whoever tries.
    checking: Arc<Mutex<()>>,
    /// By which they come.
    protocol: &'static str,
    /// Those of users who have logged in from there before: they do not wait for others' tries.
    checking_known: Arc<Mutex<()>>,
}

impl From<Unaudited> for Turned {
    fn from(_: Unaudited) -> Self {
        Self::Unaudited
    }
}

impl Guests {
    pub fn new(engine: Engine, trusts_all: bool, protocol: &'static str) -> Self {
        Self {
            engine,
            trusts_all,
            checking: Arc::default(),
            protocol,
            checking_known: Arc::default(),
        }
    }

    /// Where a client comes from.
    pub fn origin(&self, from: Option<IpAddr>) -> Origin {
        Origin::new(self.protocol, from)
    }

    /// A client that does not say who it is, and need not.
    pub fn anybody(&self, from: Option<IpAddr>) -> Result<Who, Turned> {
        if self.engine.has_users() {
            return Err(Turned::Login);
        }
        let is_here = from.is_some_and(|from| from.to_canonical().is_loopback());
        match is_here || self.trusts_all {
            true => Ok(Who::Anybody),
            false => Err(Turned::Away),
        }
    }

    /// Who a client is. As long as there are no users, any name is taken for nobody's. Logins are recorded, and what is refused.
    pub async fn who(&self, said: Said, from: Option<IpAddr>) -> Result<Who, Turned> {
        let audit = self.engine.audit();
        let (method, user) = match &said {
            Said::Basic { user, .. } if self.engine.has_users() => ("password", Some(user.clone())),
            Said::Bearer(_) => ("token", None),
            Said::Nothing | Said::Basic { .. } => return self.known(said, from).await,
        };
        if user.is_some() && audit.takes(Level::Logins) {
            audit.admits().await?;
        }
        let known = self.known(said, from).await;
        let refused = known.as_ref().err();
        // Who shows a token has logged in before.
        if user.is_some() || refused.is_some() {
            logged_in(audit, user.as_deref(), method, self.origin(from), refused);
        }
        known
    }

    async fn known(&self, said: Said, from: Option<IpAddr>) -> Result<Who, Turned> {
        match said {
            Said::Nothing => self.anybody(from),
            Said::Basic { .. } if !self.engine.has_users() => self.anybody(from),
            Said::Basic { user, password } => {
                // Where it comes from is always known of who comes by a network.
                let from = from.unwrap_or(IpAddr::from([127, 0, 0, 1]));
                let engine = self.engine.clone();
                // Who is refused anyway waits for nobody.
                let is_known = engine.logins().admits(&user, from)?;
                let _only = match is_known {
                    true => self.checking_known.lock().await,
                    false => self.checking.lock().await,
                };
                // It is a matter of milliseconds, which others need not wait for.
                let checked = tokio::task::spawn_blocking(move || {
                    let accounts = engine.accounts();
                    let checked = engine.logins().password(&accounts, &user, &password, from);
                    checked.map(|()| Who::User(user.into()))
                });
                Ok(checked.await.map_err(|_| Turned::Failed)??)
            }
            Said::Bearer(token) => {
                let owner = self.engine.logins().bearer(&token)?;
                match owner.as_str() {
                    ANYBODY => self.anybody(from).map_err(|turned| match turned {
                        Turned::Login => Turned::Refused(Refused::Token),
                        turned => turned,
                    }),
                    user => Ok(Who::User(user.into())),
                }
            }
        }
    }

    /// A token that stands for who has logged in.
    pub fn token(&self, who: &Who, from: Option<IpAddr>) -> String {
        let user = match who {
            Who::User(name) => Some(name),
            Who::Anybody | Who::Owner => None,
        };
        let audit = self.engine.audit();
        if audit.takes(Level::Logins) {
            let record = Record {
                event: Event::Token,
                user: user.cloned(),
                outcome: Some("ok".into()),
                detail: Some("made".to_string()),
                ..Record::default()
            };
            audit.note(record.from(self.origin(from)));
        }
        self.engine
            .logins()
            .issue(user.map_or(ANYBODY, AsRef::as_ref))
    }
}

/// Record a login, or why it was none.
pub(in crate::serve) fn logged_in(
    audit: &Audit,
    user: Option<&str>,
    method: &'static str,
    origin: Origin,
    refused: Option<&Turned>,
) {
    /// Bytes of a name that somebody says to have.
    const NAME_BYTES: usize = 128;
    if !audit.takes(Level::Logins) {
        return;
    }
    let (outcome, is_cheap) = match refused {
        None => ("ok", false),
        // Each has cost what hashing costs, and is limited.
        Some(Turned::Refused(Refused::Wrong)) => ("28P01", false),
        Some(_) => ("28000", true),
    };
    let user = user.map(|user| &user[..user.floor_char_boundary(NAME_BYTES.min(user.len()))]);
    let record = Record {
        event: Event::Login,
        user: user.map(Into::into),
        method: Some(method.into()),
        outcome: Some(outcome.into()),
        detail: refused.map(|refused| match refused {
            Turned::Refused(Refused::TooMany { .. }) => "throttled".to_string(),
            refused => refused.to_string(),
        }),
        ..Record::default()
    };
    match is_cheap {
        true => audit.note_refusal(record.from(origin)),
        false => drop(audit.note(record.from(origin))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn guests(trusts_all: bool) -> Guests {
        Guests::new(Engine::builder().open().await.unwrap(), trusts_all, "http")
    }

    fn said(header: &str) -> Result<Said, Turned> {
        Said::read(Some(header.as_bytes()))
    }

    const ANA: &str = "Basic YW5hOnNlY3JldA=="; // ana:secret

    async fn define(guests: &Guests, sql: &str) {
        guests.engine.session().execute(sql).await.unwrap();
    }

    #[test]
    fn headers_are_read() {
        for unpadded in [ANA, ANA.trim_end_matches('=')] {
            match said(unpadded).unwrap() {
                Said::Basic { user, password } => {
                    assert_eq!((user.as_str(), password.as_str()), ("ana", "secret"));
                }
                _ => panic!("{unpadded}"),
            }
        }
        assert!(matches!(said("bearer  x "), Ok(Said::Bearer(token)) if token == "x"));
        for bad in ["nonsense", "Basic ???", "Basic YW5h", "Digest x"] {
            assert!(matches!(said(bad), Err(Turned::Malformed)), "{bad}");
        }
        assert!(matches!(said("Basic OnNlY3JldA=="), Err(Turned::Nameless)));
    }

    #[tokio::test]
    async fn without_users_whoever_is_here_is_served() {
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let mapped = Some("::ffff:127.0.0.1".parse().unwrap());
        let away = Some(IpAddr::from([192, 0, 2, 1]));
        let closed = guests(false).await;
        for from in [here, mapped] {
            assert_eq!(closed.who(Said::Nothing, from).await, Ok(Who::Anybody));
            assert_eq!(closed.who(said(ANA).unwrap(), from).await, Ok(Who::Anybody));
        }
        assert_eq!(closed.who(Said::Nothing, away).await, Err(Turned::Away));
        let open = guests(true).await;
        assert_eq!(open.who(Said::Nothing, away).await, Ok(Who::Anybody));
    }

    #[tokio::test]
    async fn with_users_everybody_logs_in() {
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let guests = guests(true).await;
        let early = guests.token(&Who::Anybody, here);
        assert_eq!(
            guests.who(Said::Bearer(early.clone()), here).await,
            Ok(Who::Anybody)
        );
        define(&guests, "CREATE USER ana PASSWORD 'secret' SUPERUSER").await;
        assert_eq!(guests.who(Said::Nothing, here).await, Err(Turned::Login));
        let stale = guests.who(Said::Bearer(early), here).await;
        assert_eq!(stale, Err(Turned::Refused(Refused::Token)));
        let ana = guests.who(said(ANA).unwrap(), here).await.unwrap();
        assert_eq!(ana, Who::User("ana".into()));
        let token = guests.token(&ana, here);
        assert_eq!(guests.who(Said::Bearer(token.clone()), here).await, Ok(ana));
        let wrong = Said::Basic {
            user: "ana".into(),
            password: "Secret".into(),
        };
        assert_eq!(
            guests.who(wrong, here).await,
            Err(Turned::Refused(Refused::Wrong))
        );
        define(&guests, "ALTER USER ana PASSWORD 'other'").await;
        let revoked = guests.who(Said::Bearer(token), here).await;
        assert_eq!(revoked, Err(Turned::Refused(Refused::Token)));
    }
}
