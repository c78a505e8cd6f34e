//! The one door: every statement, from every protocol and embedder, passes through a [`Session`].
//!
//! The central type is [`Engine`], a cheap handle on what has been defined and opened ([`World`]) and what runs.
//! Flows in: statements; flows out: an [`Answer`], a stream of Arrow batches.
//!
//! | file | owns |
//! |---|---|
//! | `builder.rs` | opening an engine |
//! | `world.rs` | [`World`]: definitions with their opened sources; changing it, all or nothing |
//! | `session.rs` | [`Session`]: one statement |
//! | `prepared.rs` | [`Prepared`]: one that is executed with values again and again |
//! | `answer.rs` | [`Answer`]: its rows as they arrive, and until when |
//! | `typed.rs` | parameters whose values say more of their types than the statement does |
//! | `transaction.rs` | `BEGIN … COMMIT` |
//! | `write.rs` | `INSERT`, `UPDATE`, `DELETE` |
//! | `assigned.rs` | values on their way into a column |
//! | `written.rs` | what a session has written |
//! | `settings.rs` | what `SET` sets |
//! | `parameters.rs` | what PostgreSQL's clients set |
//! | `names/` | names → tables: DataFusion's catalog list |
//! | `seen.rs` | a world as an identity sees it |
//! | `permits.rs` | who may define what |
//! | `standing.rs` | with whose rights, within which limits and under which settings a session is now |
//! | `held.rs` | answers that end with the right to them |
//! | `query.rs` | plan, optimize, cut, run |
//! | `labels.rs` | what the columns of an answer are called |
//! | `copies.rs` | kept views in a statement: their copies, or their queries instead |
//! | `matching.rs` | kept views that a query does not name, in the place of what they answer |
//! | `conjuncts.rs` | a filter's conditions in the order in which they cost least |
//! | `lookup.rs` | the short ways of prepared statements |
//! | `described.rs` | what there is to read, for those who serve it by name and key |
//! | `keyed.rs` | the key of a query's rows, where its plan has one |
//! | `figures.rs` | how the engine is, in numbers |
//! | `guesses.rs` | what may have been meant by a name of no function |
//! | `plans.rs` | queries that were prepared of late, by text |
//! | `results.rs` | answers that are told again |
//! | `told.rs` | what a session has been told: it does not go back in time |
//! | `room.rs` | room on the stack for deep plans |
//! | `panics.rs` | a library's panic as an error |
//! | `stop.rs` | stopping what runs: at the deadline, or when the answer is gone |
//! | `copy.rs` | `COPY … TO` |
//! | `explain.rs` | `EXPLAIN` |
//! | `define/` | definitions: `CREATE`, `ALTER`, `DROP`, `COMMENT` |
//! | `apply.rs` | several files of definitions as one change |
//! | `options.rs` | the options and URLs of sources |
//! | `kept.rs` | what views keep, of what is defined; statements that `views` runs |
//! | `subscribe.rs` | `SUBSCRIBE TO` |
//! | `watch.rs` | which changes make a view be computed anew that is computed when it is read |
//! | `limits.rs` | the options that all sources take |
//! | `sources.rs` | an opened source and the providers of its tables |
//! | `connectors.rs` | the connectors of this build |
//! | `lineage.rs` | which columns a view's columns are computed from |
//! | `log.rs` | what ran: `system.queries` |
//! | `audited.rs` | what the audit is told of a statement |
//! | `dialect/` | what PostgreSQL's users mean, where DataFusion takes it otherwise |
//! | `system/` | the system tables |
//! | `versions.rs` | `VERSION AS OF` |
//! | `upstream/` | what DataFusion gets wrong, kept from changing an answer |

mod answer;
mod apply;
mod assigned;
mod audited;
mod builder;
mod conjuncts;
mod connectors;
mod copies;
mod copy;
mod define;
#[cfg(feature = "serve")]
mod described;
mod dialect;
mod explain;
#[cfg(feature = "serve")]
mod figures;
mod guesses;
mod held;
mod kept;
#[cfg(feature = "serve")]
mod keyed;
mod labels;
mod limits;
mod lineage;
mod log;
mod lookup;
mod matching;
mod names;
mod options;
mod panics;
mod parameters;
mod permits;
mod plans;
mod prepared;
mod query;
mod results;
mod room;
mod seen;
mod session;
mod settings;
mod show;
mod sources;
mod standing;
mod stop;
mod subscribe;
mod system;
mod told;
mod transaction;
mod typed;
mod upstream;
mod versions;
mod watch;
mod world;
mod write;
mod written;

use std::sync::Arc;

#[cfg(feature = "serve")]
use crate::access::audit::Audit;
#[cfg(feature = "serve")]
use crate::access::{Accounts, Logins};
pub use answer::Answer;
pub use apply::{Action, ApplyOptions, Change, SqlFile};
pub use builder::EngineBuilder;
#[cfg(feature = "serve")]
pub(crate) use described::{Column, Described};
#[cfg(feature = "serve")]
pub(crate) use dialect::{bytes_of, uuid_of};
#[cfg(feature = "serve")]
pub(crate) use figures::{Figures, ViewFigures};
pub(crate) use guesses::unknown_function;
pub use prepared::Prepared;
#[cfg(test)]
pub(crate) use query::kept_plan;
pub use session::Session;
pub(crate) use session::Who;
pub use settings::Settings;
#[cfg(feature = "cli")]
pub(crate) use settings::bytes;
#[cfg(feature = "serve")]
pub(crate) use settings::setting_names;
#[cfg(feature = "serve")]
pub(crate) use system::{PgType, sql_type};
pub use transaction::TransactionState;
#[cfg(test)]
pub(crate) use watch::Read;
pub use write::Wrote;

use crate::error::Result;

/// A running engine. Clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<world::Inner>,
}

impl Engine {
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// A new session with default settings.
    pub fn session(&self) -> Session {
        Session::new(self.inner.clone(), Who::Owner)
    }

    /// A new session with the rights of a user. Who the user is, is for the embedder to know: nobody is asked for a password.
    /// If there is no such user, each statement says so.
    pub fn session_as(&self, user: &str) -> Session {
        Session::new(self.inner.clone(), Who::User(user.into()))
    }

    /// A session of a client of a server.
    #[cfg(feature = "serve")]
    pub(crate) fn session_of(&self, who: Who) -> Session {
        Session::new(self.inner.clone(), who)
    }

    /// The same of one that stays open, of which a user has no more than may be.
    #[cfg(feature = "serve")]
    pub(crate) fn open_session(&self, who: Who) -> Result<Session> {
        self.session_of(who).opened()
    }

    /// How clients prove who they are.
    #[cfg(feature = "serve")]
    pub(crate) fn logins(&self) -> &Logins {
        &self.inner.logins
    }

    /// Where it is recorded who did what.
    #[cfg(feature = "serve")]
    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Users and roles, as they are now.
    #[cfg(feature = "serve")]
    pub(crate) fn accounts(&self) -> Accounts {
        self.inner.world().definitions.accounts.clone()
    }

    /// Whether somebody logs in. If not, whoever is on loopback is the administrator.
    #[cfg(feature = "serve")]
    pub(crate) fn has_users(&self) -> bool {
        self.inner.world().definitions.has_users()
    }

    /// Validate files of definitions against the live sources, and apply their difference with what runs, all or
    /// nothing.
    pub async fn apply(&self, files: Vec<SqlFile>, options: ApplyOptions) -> Result<Vec<Change>> {
        self.session().apply(files, options).await
    }

    /// How it is, in numbers.
    #[cfg(feature = "serve")]
    pub(crate) fn figures(&self) -> Figures {
        Figures::of(&self.inner)
    }

    /// Give up this handle. The data directory is free once all handles, sessions and answers are gone.
    pub async fn close(self) -> Result<()> {
        drop(self.inner);
        Ok(())
    }
}

/// The candidate a user most likely meant, if any is near.
fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = datafusion::common::utils::datafusion_strsim::levenshtein;
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}
