//! `BEGIN … COMMIT`: reads of one moment, and definitions that take effect together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use belvedere_sql::{Statement, fold};
use sqlparser::ast;

use super::answer::{Answer, status};
use super::audited::Does;
use super::define;
use super::names::Names;
use super::permits;
use super::session::Session;
use super::settings::Settings;
use super::world::{Inner, World};
use crate::access::Identity;
use crate::catalog::ObjectId;
use crate::error::{Error, Result};
use crate::views::{Ages, Readable, Shelf, Unreadable, WantedCopy};

/// Versions of worlds that are of one transaction alone: none is that of a world of all.
const FIRST_PRIVATE: u64 = 1 << 63;
static PRIVATE: AtomicU64 = AtomicU64::new(FIRST_PRIVATE);

impl World {
    /// Whether one transaction alone has it.
    pub fn is_of_transaction(&self) -> bool {
        self.version >= FIRST_PRIVATE
    }

    /// Of another world that one transaction alone has.
    pub fn version_of_transaction() -> u64 {
        PRIVATE.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a session is in between `BEGIN` and `COMMIT`.
#[derive(Debug)]
pub(super) struct Transaction {
    /// What kept views had when the first of them was read.
    pub snapshot: Arc<Snapshot>,
    /// What has been defined, in order, each under the settings of its time.
    definitions: Vec<(Statement, Settings)>,
    /// The world with what has been defined, which nobody else sees. None: nothing has.
    world: Option<Arc<World>>,
    /// A statement has failed: nothing is done any more until it ends.
    is_failed: bool,
    /// Nobody has begun it: it is of statements that came at once, and ends with them.
    is_implicit: bool,
    /// The settings when it began: those again if it is rolled back.
    before: Settings,
    /// What `SET LOCAL` has changed, and what it was.
    local: Vec<(String, String)>,
    /// By name, the newest last.
    savepoints: Vec<(String, Savepoint)>,
}

/// What a transaction was at a moment that it can go back to.
#[derive(Debug, Clone)]
struct Savepoint {
    definitions: usize,
    world: Option<Arc<World>>,
    settings: Settings,
}

/// What kept views have in one transaction: set by its first read of one.
#[derive(Debug, Default)]
pub(super) struct Snapshot(Mutex<Option<Taken>>);

#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub shelf: Arc<Shelf>,
    /// From then on: what is on the shelf grows older.
    pub ages: Ages,
}

impl Snapshot {
    pub fn get(&self) -> Option<Taken> {
        self.lock().clone()
    }

    /// Of two statements at once, the first one's is what both have.
    pub fn first(&self, taken: Taken) -> Arc<Shelf> {
        Arc::clone(&self.lock().get_or_insert(taken).shelf)
    }

    /// With views that are not of an epoch, and are read now for the first time.
    pub fn put(&self, shelf: Arc<Shelf>) {
        if let Some(taken) = &mut *self.lock() {
            taken.shelf = shelf;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Whether a kept view is one that the transaction has defined, or defined anew: nobody fills it before that is committed.
    pub fn is_unfilled(&self, id: &ObjectId) -> bool {
        self.root.is_of_transaction() && self.generation(id) != generation(&self.inner.world(), id)
    }

    /// Which definition of a kept view is meant.
    pub fn generation(&self, id: &ObjectId) -> Option<u64> {
        generation(&self.root, id)
    }

    /// The kept views that are wanted: now, or as the transaction has them that this is part of.
    pub async fn readable(
        &self,
        wanted: BTreeMap<ObjectId, WantedCopy>,
        deadline: Option<Instant>,
    ) -> Result<Readable, Unreadable> {
        let found = self.found_readable(wanted, deadline).await;
        found.map_err(|refused| Unreadable {
            error: self.world.shown_refusal(&refused.view, refused.error),
            ..refused
        })
    }

    async fn found_readable(
        &self,
        wanted: BTreeMap<ObjectId, WantedCopy>,
        deadline: Option<Instant>,
    ) -> Result<Readable, Unreadable> {
        let views = &self.inner.views;
        let Some(snapshot) = &self.caller.snapshot else {
            return views.together(&wanted, deadline).await;
        };
        let Some(taken) = snapshot.get() else {
            // Before the shelf: it is not older than they say.
            let ages = views.shelves().ages();
            let found = views.together(&wanted, deadline).await?;
            let shelf = found.shelf;
            let shelf = snapshot.first(Taken { shelf, ages });
            return Ok(Readable { shelf, ..found });
        };
        let of_one_moment = |shelf, stale| Readable {
            shelf,
            ages: taken.ages.clone(),
            stale,
        };
        let late = views.unreadable(&taken.shelf, &taken.ages, &wanted);
        let late = late.map_err(|(view, error)| Unreadable {
            view,
            error,
            is_old: false,
        })?;
        if late.is_empty() {
            return Ok(of_one_moment(taken.shelf, BTreeSet::new()));
        }
        // They are of no epoch, and each is of its own time anyway: what is read of them first is what the transaction has.
        let newest = views.together(&late, deadline).await?;
        let mut all = taken.shelf.as_ref().clone();
        for id in late.keys() {
            if let Some(shown) = newest.shelf.get(id) {
                all.insert(id.clone(), Arc::clone(shown));
            }
        }
        let all = Arc::new(all);
        snapshot.put(Arc::clone(&all));
        Ok(of_one_moment(all, newest.stale))
    }
}

fn generation(world: &World, id: &ObjectId) -> Option<u64> {
    Some(world.view(id)?.materialized.as_ref()?.generation)
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    /// Each statement is one of its own.
    None,
    Open,
    /// A statement of it has failed.
    Failed,
}

impl Transaction {
    pub fn new(settings: Settings) -> Self {
        Self {
            snapshot: Arc::default(),
            definitions: Vec::new(),
            world: None,
            is_failed: false,
            is_implicit: false,
            before: settings,
            local: Vec::new(),
            savepoints: Vec::new(),
        }
    }

    fn save(&mut self, name: String, settings: Settings) {
        let savepoint = Savepoint {
            definitions: self.definitions.len(),
            world: self.world.clone(),
            settings,
        };
        self.savepoints.push((name, savepoint));
    }

    /// The newest savepoint of a name, which those after it do not outlive.
    fn find(&mut self, name: &str) -> Result<usize> {
        let found = self.savepoints.iter().rposition(|(known, _)| known == name);
        found.ok_or_else(|| Error::Transaction {
            message: format!("savepoint {name} does not exist"),
            help: "SAVEPOINT makes one".to_string(),
            sqlstate: "3B001",
        })
    }

    fn release(&mut self, name: &str) -> Result<()> {
        let at = self.find(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    /// Back to a savepoint, which stays; returns the settings of that time.
    fn go_back(&mut self, name: &str) -> Result<Settings> {
        let at = self.find(name)?;
        self.savepoints.truncate(at + 1);
        let savepoint = self.savepoints[at].1.clone();
        self.definitions.truncate(savepoint.definitions);
        self.world = savepoint.world;
        self.is_failed = false;
        Ok(savepoint.settings)
    }

    pub fn state(&self) -> TransactionState {
        match self.is_failed {
            true => TransactionState::Failed,
            false => TransactionState::Open,
        }
    }

    pub fn fail(&mut self) {
        self.is_failed = true;
    }

    pub fn world(&self) -> Option<&Arc<World>> {
        self.world.as_ref()
    }

    /// `SET LOCAL` is about to change this.
    pub fn set_locally(&mut self, name: &str, settings: &Settings) {
        let is_noted = self.local.iter().any(|(noted, _)| noted == name);
        if let (false, Ok(value)) = (is_noted, settings.get(name)) {
            self.local.push((name.to_string(), value));
        }
    }

    /// The settings once it has ended.
    pub fn settings_after(&self, is_committed: bool, mut settings: Settings) -> Settings {
        if !is_committed {
            return self.before.clone();
        }
        for (name, value) in &self.local {
            // It was this before.
            let _ = settings.set(name, Some(std::slice::from_ref(value)));
        }
        settings
    }

    /// The definition has been carried out in this world, which only this transaction has.
    pub fn define(&mut self, statement: Statement, settings: Settings, mut world: World) {
        world.version = World::version_of_transaction();
        self.world = Some(Arc::new(world));
        self.definitions.push((statement, settings));
    }

    /// Carry out what it defines once more, in the world of all, all or nothing: others may have defined something meanwhile.
    pub async fn commit(&self, inner: &Arc<Inner>, identity: &Identity) -> Result<()> {
        if self.definitions.is_empty() {
            return Ok(());
        }
        let mut draft = inner.draft().await;
        for (statement, settings) in &self.definitions {
            define::in_world(inner, identity, &mut draft.world, statement, settings).await?;
        }
        draft.commit().await
    }
}

impl Session {
    pub(super) fn transaction(&self) -> MutexGuard<'_, Option<Transaction>> {
        self.transaction
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the session is in a transaction.
    pub fn transaction_state(&self) -> TransactionState {
        let transaction = self.transaction();
        let state = transaction.as_ref().map(Transaction::state);
        state.unwrap_or(TransactionState::None)
    }

    /// A statement has failed after its answer had begun: so has the transaction that it is part of.
    pub fn fail_transaction(&self) {
        if let Some(transaction) = &mut *self.transaction() {
            transaction.fail();
        }
    }

    /// With an error the transaction has failed that it is met in.
    pub(super) fn noted<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| {
            self.fail_transaction();
            self.world().shown_error(e)
        })
    }

    /// Nothing is done any more in a transaction that has failed but to end it.
    pub(super) fn admits(&self, statement: &Statement) -> Result<()> {
        use belvedere_sql::Transaction::{Commit, Rollback, RollbackTo};
        self.identity()?;
        let ends = matches!(
            statement,
            Statement::Transaction(Commit | Rollback | RollbackTo(_))
        );
        if !ends {
            self.refuse_if_failed()?;
        }
        match self.transaction_state() {
            TransactionState::Open => refused(statement).map_or(Ok(()), Err),
            TransactionState::None | TransactionState::Failed => Ok(()),
        }
    }

    /// What does not end a transaction that has failed is not done.
    pub(crate) fn refuse_if_failed(&self) -> Result<()> {
        match self.transaction_state() {
            TransactionState::Failed => Err(Error::Transaction {
                message: "the transaction has failed: nothing more is done in it".to_string(),
                help: "ROLLBACK ends it".to_string(),
                sqlstate: "25P02",
            }),
            TransactionState::None | TransactionState::Open => Ok(()),
        }
    }

    pub(super) async fn begin_or_end(&self, what: &belvedere_sql::Transaction) -> Result<Answer> {
        use belvedere_sql::Transaction::*;
        let noted = |tag, notice: &str| Answer {
            notices: vec![notice.to_string()],
            ..status(tag)
        };
        match what {
            Characteristics => return Ok(status("SET")),
            Begin => {
                let settings = self.own_settings();
                let mut transaction = self.transaction();
                if let Some(transaction) = &mut *transaction {
                    // From here on it is one like any other, with what has been done in it.
                    return Ok(match std::mem::take(&mut transaction.is_implicit) {
                        true => status("BEGIN"),
                        false => noted("BEGIN", "there is already a transaction in progress"),
                    });
                }
                *transaction = Some(Transaction::new(settings.as_ref().clone()));
                return Ok(status("BEGIN"));
            }
            Savepoint(name) | Release(name) | RollbackTo(name) => {
                return self.save(what, &fold(name));
            }
            Commit | Rollback => {}
        }
        let tag = match what {
            Commit => "COMMIT",
            _ => "ROLLBACK",
        };
        let Some(transaction) = self.transaction().take() else {
            return Ok(noted(tag, "there is no transaction in progress"));
        };
        let is_committed = self.end(transaction, *what == Commit).await?;
        Ok(status(if is_committed { "COMMIT" } else { "ROLLBACK" }))
    }

    /// Whatever comes of it, it is over. True: what it has done is there.
    async fn end(&self, transaction: Transaction, commits: bool) -> Result<bool> {
        let commits = commits && transaction.state() == TransactionState::Open;
        let done = match commits {
            true => match self.identity() {
                Ok(identity) => transaction.commit(&self.inner, &identity).await,
                Err(e) => Err(e),
            },
            false => Ok(()),
        };
        let is_committed = commits && done.is_ok();
        if is_committed {
            self.has_defined(
                transaction
                    .definitions
                    .iter()
                    .map(|(statement, _)| statement),
            );
        }
        self.change(|settings| {
            *settings = transaction.settings_after(is_committed, settings.clone());
            Ok(())
        })?;
        done?;
        Ok(is_committed)
    }

    /// Several statements that come at once are one transaction, as they are to PostgreSQL: up to one of them that begins or ends one,
    /// or that cannot be part of any, which is carried out by itself. This one is next.
    pub(crate) async fn begin_implicitly(&self, next: &Statement) -> Result<()> {
        if refused(next).is_some() || is_of_the_connection(next) {
            return self.end_implicitly(true).await;
        }
        let settings = self.own_settings();
        let mut transaction = self.transaction();
        if transaction.is_none() && !matches!(next, Statement::Transaction(_)) {
            *transaction = Some(Transaction {
                is_implicit: true,
                ..Transaction::new(settings.as_ref().clone())
            });
        }
        Ok(())
    }

    /// The last of them has been carried out, or one has failed. A transaction that was begun stays.
    pub(crate) async fn end_implicitly(&self, commits: bool) -> Result<()> {
        let ended = self.transaction().take_if(|t| t.is_implicit);
        match ended {
            // What was defined in it is there only then, or is not.
            Some(transaction) if transaction.world().is_some() => {
                let said = match commits {
                    true => "COMMIT",
                    false => "ROLLBACK",
                };
                let end = async { self.end(transaction, commits).await.map(drop) };
                Box::pin(self.with_record(said, Vec::new(), Does::Defines, end)).await
            }
            Some(transaction) => self.end(transaction, commits).await.map(drop),
            None => Ok(()),
        }
    }

    fn save(&self, what: &belvedere_sql::Transaction, name: &str) -> Result<Answer> {
        use belvedere_sql::Transaction::{Release, Savepoint};
        let settings = self.own_settings();
        let mut transaction = self.transaction();
        let transaction = transaction.as_mut().ok_or_else(|| Error::Transaction {
            message: "there is no transaction to have savepoints in".to_string(),
            help: "BEGIN one".to_string(),
            sqlstate: "25P01",
        })?;
        match what {
            Savepoint(_) => {
                transaction.save(name.to_string(), settings.as_ref().clone());
                Ok(status("SAVEPOINT"))
            }
            Release(_) => {
                transaction.release(name)?;
                Ok(status("RELEASE"))
            }
            _ => {
                let then = transaction.go_back(name)?;
                self.change(|settings| {
                    *settings = then;
                    Ok(())
                })?;
                Ok(status("ROLLBACK"))
            }
        }
    }

    /// Carry out a definition: for all, or within the transaction that the session is in.
    pub(super) async fn define(
        &self,
        statement: &Statement,
        settings: &Settings,
    ) -> Result<Answer> {
        let identity = self.identity()?;
        let permitted = permits::permitted(&self.world(), statement, settings)?;
        let Some(permitted) = &permitted else {
            return Ok(status(define::done_nothing(statement)));
        };
        let statement = define::without_passwords(permitted)?;
        let statement = statement.as_ref();
        let own = self.transaction().as_ref().map(|t| t.world().cloned());
        let (tag, notices) = match (own, statement) {
            (None, _) => {
                let done = define::define(&self.inner, &identity, statement, settings).await?;
                self.has_defined([statement]);
                done
            }
            // It is done at once, for all, and defines nothing that could be undone.
            (Some(own), Statement::RefreshView(refresh)) => {
                match self.is_filled_at_commit(own.as_deref(), settings, refresh) {
                    true => (
                        "REFRESH MATERIALIZED VIEW",
                        vec![format!("{} is filled after COMMIT", refresh.name)],
                    ),
                    false => define::define(&self.inner, &identity, statement, settings).await?,
                }
            }
            (Some(own), _) => {
                let mut world = own.unwrap_or_else(|| self.inner.world()).as_ref().clone();
                let done =
                    define::in_world(&self.inner, &identity, &mut world, statement, settings)
                        .await?;
                if let Some(transaction) = &mut *self.transaction() {
                    transaction.define(statement.clone(), settings.clone(), world);
                }
                done
            }
        };
        Ok(Answer {
            notices,
            ..status(tag)
        })
    }
}

impl Session {
    /// Whether the transaction has defined this view, or defined it anew: nobody else knows it as it is there.
    fn is_filled_at_commit(
        &self,
        own: Option<&World>,
        settings: &Settings,
        refresh: &belvedere_sql::RefreshView,
    ) -> bool {
        let generation = |world: &World| {
            let (schema, name) = define::existing_view(world, settings, &refresh.name).ok()?;
            let view = world.definitions.view(&schema, &name)?;
            Some(view.materialized.as_ref()?.generation)
        };
        let defined = own.and_then(generation);
        defined.is_some() && defined != generation(&self.inner.world())
    }
}

/// `DISCARD ALL`, which is refused in a transaction.
fn is_of_the_connection(statement: &Statement) -> bool {
    matches!(statement, Statement::Other(other) if matches!(**other, ast::Statement::Discard { .. }))
}

/// A statement that cannot be undone, or does something to what only all have.
fn refused(statement: &Statement) -> Option<Error> {
    let waits = |create: &belvedere_sql::CreateView| create.options.get(define::WAIT).is_some();
    let refused = match statement {
        Statement::RefreshSource { .. } => true,
        Statement::CreateView(create) => waits(create),
        // What is read in it is of one moment, which a write would not be in.
        Statement::Other(other) => belvedere_sql::Write::of(other).is_some(),
        _ => false,
    };
    refused.then(|| Error::Transaction {
        message: format!("{} cannot be part of a transaction", statement.kind()),
        help: "COMMIT first".to_string(),
        sqlstate: "25001",
    })
}
