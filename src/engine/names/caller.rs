use std::sync::{Arc, Mutex, Weak};

use belvedere_connector::Spent;

use super::super::audited::{Audited, Touched};
use super::super::log::Running;
use super::super::settings::Settings;
use super::super::told::SeenSoFar;
use super::super::transaction::Snapshot;
use super::super::written::Written;
use crate::access::Identity;
use crate::federation::Asker;

/// Whose statement it is that names are resolved for. A plan that is kept has it, and must not keep the session.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Caller {
    /// With whose rights.
    pub identity: Identity,
    /// The session that asks.
    pub asker: Asker,
    /// What that session has set, for `set_config`.
    pub session: Option<Weak<Mutex<Arc<Settings>>>>,
    /// What it has written.
    pub written: Arc<Written>,
    /// Of the transaction that the statement is part of.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What the session has seen: what is read that is not named is no older.
    pub seen_so_far: SeenSoFar,
    /// How long sources are at work for the statement.
    pub spent: Arc<Spent>,
    /// What it names, and what is applied to it.
    pub touched: Arc<Touched>,
}

impl Caller {
    /// The engine itself, for what is defined.
    pub fn engine() -> Self {
        Self {
            identity: Identity::administrator(),
            asker: Asker::default(),
            session: None,
            written: Arc::default(),
            snapshot: None,
            seen_so_far: SeenSoFar::default(),
            spent: Arc::default(),
            touched: Arc::default(),
        }
    }
}

/// A statement that is being executed: what is set for it, and what is noted of it.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Call {
    pub settings: Arc<Settings>,
    pub spent: Arc<Spent>,
    pub touched: Arc<Touched>,
}

impl Call {
    pub fn of(running: &Running, settings: Arc<Settings>) -> Self {
        let touched = running.audited().map(Audited::touched).cloned();
        Self {
            settings,
            spent: running.spent().clone(),
            touched: touched.unwrap_or_default(),
        }
    }
}

impl From<Arc<Settings>> for Call {
    fn from(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            spent: Arc::default(),
            touched: Arc::default(),
        }
    }
}
