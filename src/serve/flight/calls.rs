use std::time::Duration;

use belvedere_sql::Statement;
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::{Extensions, Status};

use super::handles::{Handles, hex};
use super::status::{OrStatus, status};
use crate::access::audit::Origin;
use crate::engine::{Engine, Session, Who};
use crate::error::Error;
use crate::serve::paths::refuse_relative_in;

/// The cookie of a session, as the protocol names it.
pub(super) const COOKIE: &str = "arrow_flight_session_id";
/// The prefix of a header that sets a setting for one call.
const SETTING: &str = "belvedere-";

const IDLE: Duration = Duration::from_secs(24 * 3600);
const SESSIONS: usize = 10_000;

/// The sessions clients opened with `SetSessionOptions`, by cookie.
#[derive(Debug)]
pub(super) struct Sessions {
    engine: Engine,
    open: Handles<Session>,
}

/// A call's session.
#[derive(Debug)]
pub(super) struct Call {
    /// With the settings of the call's headers.
    session: Session,
    /// The session the call's cookie names.
    named: Option<Session>,
}

impl Sessions {
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            open: Handles::new(SESSIONS, IDLE),
        }
    }

    /// The session and settings of a call, from its headers.
    pub fn call(&self, who: &Who, metadata: &MetadataMap) -> Result<Call, Status> {
        let named = match cookie(metadata) {
            Some(id) => Some(self.named(who, &id).ok_or_else(ended)?),
            None => None,
        };
        let session = match &named {
            Some(session) => session.clone(),
            None => self.engine.session_of(who.clone()),
        };
        let session = self.overridden(session, metadata)?;
        Ok(Call { session, named })
    }

    /// This session, or, if the call's headers set something, one of its own with that set.
    pub fn overridden(&self, session: Session, metadata: &MetadataMap) -> Result<Session, Status> {
        let overrides = overrides(metadata)?;
        if overrides.is_empty() {
            return Ok(session);
        }
        let own = session.another();
        for (name, value, _) in session.settings().iter() {
            own.set(name, &value).or_status()?;
        }
        for (header, name, value) in overrides {
            own.set(&name, &value).map_err(|e| {
                let message = format!("header {header}: {e}");
                status(&Error::Invalid {
                    message,
                    help: None,
                })
            })?;
        }
        Ok(own)
    }

    /// The session of the call's cookie, or a new one with the cookie to set.
    pub fn open(
        &self,
        who: &Who,
        metadata: &MetadataMap,
    ) -> Result<(Session, Option<String>), Status> {
        let known = cookie(metadata).and_then(|id| self.named(who, &id));
        if let Some(session) = known {
            return Ok((session, None));
        }
        let id = hex(&super::handles::random::<16>()?);
        let session = self.engine.open_session(who.clone()).or_status()?;
        self.open
            .insert_at(id.clone().into_bytes(), session.clone());
        Ok((
            session,
            Some(format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict")),
        ))
    }

    /// End the session of the call's cookie. False: there is none.
    pub fn close(&self, who: &Who, metadata: &MetadataMap) -> bool {
        let id = cookie(metadata).filter(|id| self.named(who, id).is_some());
        id.is_some_and(|id| self.open.remove(id.as_bytes()).is_some())
    }

    /// The session of a cookie, if it is this caller's.
    fn named(&self, who: &Who, id: &str) -> Option<Session> {
        let session = self.open.get(id.as_bytes())?;
        (session.who() == who).then_some(session)
    }
}

impl Call {
    /// The same from there.
    pub fn coming_from(self, origin: Origin) -> Self {
        Self {
            session: self.session.coming_from(origin),
            named: self.named.map(|named| named.coming_from(origin)),
        }
    }

    pub fn named(&self) -> Result<&Session, Status> {
        self.named.as_ref().ok_or_else(|| {
            Status::failed_precondition(
                "the call belongs to no session: SetSessionOptions opens one, its cookie names it",
            )
        })
    }

    /// The session to run this statement in, if it may come over the wire.
    pub fn session_for(&self, sql: &str) -> Result<Session, Status> {
        let parsed = belvedere_sql::parse_one(sql).map_err(|e| status(&e.into()))?;
        match &parsed.statement {
            Statement::Set(set) => self.to_set(&set.name.dotted()),
            Statement::ResetAll => self.to_set("<setting>"),
            Statement::Transaction(_) => self.named.clone().ok_or_else(|| {
                Status::failed_precondition(
                    "a transaction needs a session, and this call belongs to none. Call SetSessionOptions and send its \
                     cookie with every call",
                )
            }),
            statement => {
                refuse_relative_in(statement).or_status()?;
                Ok(self.session.clone())
            }
        }
    }

    /// What SET sets is the session's, never only the call's.
    fn to_set(&self, name: &str) -> Result<Session, Status> {
        self.named.clone().ok_or_else(|| {
            Status::failed_precondition(format!(
                "SET needs a session, and this call belongs to none. For one call send the header \
                 {SETTING}{name}; for a session call SetSessionOptions and send its cookie with every call"
            ))
        })
    }
}

/// Who makes a call: the door has noted it.
pub(super) fn caller(extensions: &Extensions) -> Result<&Who, Status> {
    let who = extensions.get::<Who>();
    who.ok_or_else(|| Status::internal("a call that has not passed the door"))
}

/// Where it comes from: the door has noted that, too.
pub(super) fn origin(extensions: &Extensions) -> Origin {
    extensions.get::<Origin>().copied().unwrap_or_default()
}

fn ended() -> Status {
    Status::failed_precondition(
        "the session has ended (it was closed, unused for a day, or the server was restarted): \
         call SetSessionOptions to open another",
    )
}

fn cookie(metadata: &MetadataMap) -> Option<String> {
    let headers = metadata.get_all("cookie");
    let texts = headers.iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.split_once('='));
    let (_, id) = pairs.find(|(name, _)| name.trim() == COOKIE)?;
    Some(id.trim().trim_matches('"').to_string()).filter(|id| !id.is_empty())
}

/// (header, setting, value) of each header that sets something. Some clients cannot send `_` in a header: `-` is the
/// same.
fn overrides(metadata: &MetadataMap) -> Result<Vec<(String, String, String)>, Status> {
    let mut found = Vec::new();
    for key in metadata.keys() {
        let KeyRef::Ascii(key) = key else { continue };
        let Some(setting) = key.as_str().strip_prefix(SETTING) else {
            continue;
        };
        let value = metadata
            .get(key.as_str())
            .and_then(|value| value.to_str().ok());
        let Some(value) = value else {
            return Err(Status::invalid_argument(format!(
                "header {key} is not text"
            )));
        };
        found.push((
            key.to_string(),
            setting.replace('-', "_"),
            value.to_string(),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        let mut metadata = MetadataMap::new();
        metadata.append(
            "cookie",
            "a=b; arrow_flight_session_id=x1; c=d".parse().unwrap(),
        );
        assert_eq!(cookie(&metadata).as_deref(), Some("x1"));
        assert_eq!(cookie(&MetadataMap::new()), None);
    }
}
