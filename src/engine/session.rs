use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use belvedere_connector::{Code, Exported};
use belvedere_sql::{Change, CopyTo, SetScope, SetValue, Spanned, Statement};
use datafusion::common::{DataFusionError, ParamValues};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;
use sqlparser::ast;

use super::answer::{
    Answer, batch_answer, deadline, limited, settled, status, streamed, timed_out, within,
};
use super::copy::{self, Copying};
use super::log::Running;
use super::names::{Call, Caller, Names};
use super::panics::caught;
use super::prepared::bound;
use super::query::{self, Planned, Ran};
use super::results::Asked;
use super::settings::Settings;
use super::standing::{self, Effective, Standing};
use super::told::{SeenSoFar, Told};
use super::transaction::Transaction;
use super::world::{Inner, World};
use super::written::Written;
use super::{explain, labels, results, show, subscribe, write};
use crate::access::audit::Origin;
use crate::access::{Counted, Identity, Usage};
use crate::error::{Error, Result};
use crate::federation::Asker;
use crate::freshness::{Freshness, Question, Token};

/// Of sessions, in the order in which they were opened.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever has the engine, and with it the data directory: the administrator.
    Owner,
    /// A client that did not say who it is, from where that is taken: the administrator, as long as there are no users.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    Anybody,
    /// Who has logged in.
    User(Arc<str>),
}

/// Executes statements under its own settings. Clones share them.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) inner: Arc<Inner>,
    pub(super) who: Who,
    /// Where its next statement comes from.
    origin: Origin,
    /// The account that it is logged in as. None: there was none of the name.
    pub(super) account: Arc<Mutex<Option<u64>>>,
    /// What it has begun with, by name.
    begun_with: Arc<BTreeMap<String, Vec<String>>>,
    /// Whoever sets one makes them anew: a statement keeps what it began with.
    settings: Arc<Mutex<Arc<Settings>>>,
    effective: Arc<Effective>,
    pub(super) standing: Arc<Mutex<Option<Standing>>>,
    /// What its user has open and running. None: it is the administrator's, and not counted.
    pub(super) usage: Option<Arc<Usage>>,
    /// That it is one of the user's sessions.
    pub(super) _opened: Option<Arc<Counted>>,
    /// Sources give their places to sessions in turn.
    number: Asker,
    /// Notices about queries, each of which is given once.
    told: Arc<Mutex<HashSet<String>>>,
    told_so_far: Arc<Mutex<Told>>,
    pub(super) transaction: Arc<Mutex<Option<Transaction>>>,
    pub(super) written: Arc<Written>,
}

impl Session {
    pub(super) fn new(inner: Arc<Inner>, who: Who) -> Self {
        let (mut begun_with, mut usage, mut id) = (BTreeMap::new(), None, None);
        if let Who::User(name) = &who {
            let world = inner.world();
            let account = world.definitions.accounts.get(&**name);
            begun_with = account.map(|a| a.settings.clone()).unwrap_or_default();
            id = account.map(|account| account.id);
            usage = Some(inner.usages.of(name));
        }
        let settings = standing::begun_with(&begun_with);
        Self {
            inner,
            who,
            origin: Origin::default(),
            account: Arc::new(Mutex::new(id)),
            begun_with: Arc::new(begun_with),
            settings: Arc::new(Mutex::new(Arc::new(settings))),
            effective: Arc::default(),
            standing: Arc::default(),
            usage,
            _opened: None,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            told: Arc::default(),
            told_so_far: Arc::default(),
            transaction: Arc::default(),
            written: Arc::default(),
        }
    }

    /// Another session of the same user.
    #[cfg(feature = "serve")]
    pub(crate) fn another(&self) -> Self {
        Self::new(self.inner.clone(), self.who.clone()).coming_from(self.origin)
    }

    /// The same session, whose statements come from there.
    #[cfg(feature = "serve")]
    pub(crate) fn coming_from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn number(&self) -> Asker {
        self.number
    }

    /// Its end is noted, with what whoever asks is told.
    pub(super) fn settled(&self, result: Result<Answer>, running: Running) -> Result<Answer> {
        if result.is_err()
            && let Some(audited) = running.audited()
        {
            self.tells_limits(audited);
        }
        settled(self.noted(result), running)
    }

    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    /// The user who has logged in. None: nobody has, it is the administrator's.
    pub(super) fn user(&self) -> Option<Arc<str>> {
        match &self.who {
            Who::User(name) => Some(name.clone()),
            Who::Owner | Who::Anybody => None,
        }
    }

    /// Whether it may do all.
    pub(super) fn permits_all(&self, what: &str) -> Result<Identity> {
        let identity = self.identity()?;
        match identity.may_all() {
            true => Ok(identity),
            false => Err(Error::denied(
                format!("only superusers {what}"),
                "Ask one to do it",
            )),
        }
    }

    /// # Errors
    /// It may not do all.
    #[cfg(feature = "serve")]
    pub(crate) fn is_for_superusers(&self, what: &str) -> Result<()> {
        self.permits_all(what).map(drop)
    }

    /// The world of its transaction, or of all.
    fn root(&self) -> Arc<World> {
        let transaction = self.transaction();
        let own = transaction.as_ref().and_then(Transaction::world);
        own.cloned().unwrap_or_else(|| self.inner.world())
    }

    /// The same as whoever's session it is sees it.
    pub(super) fn world(&self) -> Arc<World> {
        let identity = self.identity().unwrap_or_else(|_| Identity::nobody());
        self.root().seen_by(&identity)
    }

    /// Execute one statement.
    pub async fn execute(&self, sql: &str) -> Result<Answer> {
        self.execute_with(sql, &[]).await
    }

    /// The same with some settings for this call alone.
    pub async fn execute_with(&self, sql: &str, overrides: &[(String, String)]) -> Result<Answer> {
        let running = self.begin(sql);
        // In a box, as below: its tens of kilobytes would be a part of the future of whoever awaits this, once for each
        // statement there.
        let result = caught(Box::pin(async {
            running.begins()?;
            let statement = belvedere_sql::parse_one(sql)?;
            let does = &statement.statement;
            self.about_to(running.audited(), running.sql(), does, &[])
                .await?;
            let settings = match overrides {
                [] => self.settings(),
                overrides => Arc::new(self.overridden(overrides)?),
            };
            self.knows(&settings.read_after)?;
            self.dispatch(&statement, Call::of(&running, settings))
                .await
        }));
        self.settled(result.await, running)
    }

    /// Set a session setting from its text, as `SET` does.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.change_one(name, Some(&[value.to_string()]))
    }

    /// As it was when the session began.
    pub(crate) fn reset(&self, name: &str) -> Result<()> {
        let begun_with = self.begun_with.get(name).map(Vec::as_slice);
        self.change(|settings| settings.set(name, begun_with))
    }

    /// Set one setting, if it may be set to that.
    fn change_one(&self, name: &str, values: Option<&[String]>) -> Result<()> {
        let limits = self.limits();
        self.change(|settings| {
            let mut changed = settings.clone();
            changed.set(name, values)?;
            self.knows(&changed.read_after)?;
            standing::admits(&limits, name, &changed)?;
            *settings = changed;
            Ok(())
        })
    }

    /// That these are tokens of sources that there are.
    fn knows(&self, tokens: &[Token]) -> Result<()> {
        let world = self.world();
        let unknown = |token: &&Token| !world.live.contains_key(&token.source);
        match tokens.iter().find(unknown) {
            None => Ok(()),
            Some(token) => Err(Error::Unknown {
                what: "source",
                name: token.source.clone(),
                hint: Some("read_after names sources as SHOW SOURCES lists them".to_string()),
            }),
        }
    }

    /// From here on `information_schema` has sources as schemas of the database `belvedere`, as clients of PostgreSQL take
    /// them.
    pub fn as_one_database(&self) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut settings).one_database = true;
    }

    /// As statements are executed under them: within the user's limits.
    pub fn settings(&self) -> Arc<Settings> {
        match self.standing() {
            Ok(standing) => self.effective.of(self.own_settings(), &standing),
            Err(_) => self.own_settings(),
        }
    }

    /// As they are set.
    pub(super) fn own_settings(&self) -> Arc<Settings> {
        self.settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut settings))
    }

    pub(super) fn names(&self, call: impl Into<Call>) -> Names {
        let Call {
            settings,
            spent,
            touched,
        } = call.into();
        let world = self.root();
        let identity = self.identity().unwrap_or_else(|_| Identity::nobody());
        let snapshot = self.transaction().as_ref().map(|t| Arc::clone(&t.snapshot));
        let seen_so_far = self.seen(None, &settings);
        Names::new(self.inner.clone(), world, settings, false).asked_by(Caller {
            identity,
            asker: self.number,
            session: Some(Arc::downgrade(&self.settings)),
            written: self.written.clone(),
            snapshot,
            seen_so_far,
            spent,
            touched,
        })
    }

    pub(super) fn told_so_far(&self) -> MutexGuard<'_, Told> {
        self.told_so_far
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What the session has seen that a statement is not to go back behind by what it does not name.
    fn seen(&self, question: Option<&Question>, settings: &Settings) -> SeenSoFar {
        self.told_so_far().so_far(question, settings)
    }

    fn set_as_said(&self, set: &belvedere_sql::Set) -> Result<Answer> {
        let name = set.name.dotted();
        if set.scope == Some(SetScope::Local) {
            let settings = self.own_settings();
            match &mut *self.transaction() {
                Some(transaction) => transaction.set_locally(&name, &settings),
                None => {
                    return Ok(Answer {
                        notices: vec!["SET LOCAL can only be used in transactions".to_string()],
                        ..status("SET")
                    });
                }
            }
        }
        match &set.value {
            SetValue::Default => self.reset(&name)?,
            SetValue::Values(values) => {
                let texts: Vec<String> = values.iter().map(|v| v.text()).collect();
                self.change_one(&name, Some(&texts))?;
            }
        }
        Ok(status("SET"))
    }

    pub(super) async fn dispatch(&self, spanned: &Spanned, call: Call) -> Result<Answer> {
        self.admits(&spanned.statement)?;
        let settings = call.settings.clone();
        match &spanned.statement {
            Statement::Query(ast) => {
                let names = self.names(call.clone());
                let question = results::question(&spanned.text, &HashMap::new(), &names);
                let told = question.as_ref();
                if let Some(told) =
                    told.and_then(|asks| self.told_before(asks, &settings, Instant::now()))
                {
                    return Ok(self.answer(told, &settings, deadline(&settings)));
                }
                let planned = query::plan_answer(names, ast).await?;
                let bounds = planned.bounds()?;
                let asked = question.map(|question| Asked { question, bounds });
                let asked = asked.filter(|asked| results::may_be_older(&settings, asked.bounds));
                let deadline = deadline(&settings);
                Box::pin(self.query(ast, planned, (call, deadline), None, asked)).await
            }
            Statement::Copy(copy) => Box::pin(self.copy(copy, call, None)).await,
            Statement::Subscribe(subscribe) => {
                let deadline = deadline(&settings);
                let names = self.names(call);
                let resolved = names.clone();
                // The time until it begins is limited, and not how long it goes on.
                let begun = async {
                    let planned = subscribe::plan(names.clone(), subscribe, &spanned.text).await?;
                    planned.begin(&names).await
                };
                let stream = within(&settings, deadline, begun).await?;
                let stream = self.held(stream, &resolved);
                Ok(Answer {
                    schema: stream.schema(),
                    stream,
                    notices: Vec::new(),
                    freshness: Arc::default(),
                    wrote: None,
                    is_query: true,
                    goes_on: true,
                })
            }
            Statement::Explain(statement) => {
                let deadline = deadline(&settings);
                let names = self.names(call);
                let explained = Box::pin(explain::explain(statement, names, deadline));
                within(&settings, deadline, explained)
                    .await
                    .map(batch_answer)
            }
            Statement::Show(_) | Statement::Describe { .. } | Statement::DescribeQuery(_) => {
                let names = self.names(call);
                show::show(&spanned.statement, &names)
                    .await
                    .map(batch_answer)
            }
            Statement::Set(set) => self.set_as_said(set),
            Statement::Transaction(what) => self.begin_or_end(what).await,
            Statement::Declare(_) | Statement::Fetch(_) | Statement::Close { .. } => {
                Err(Error::invalid_with_help(
                    "cursors are for clients of the PostgreSQL protocol",
                    "Elsewhere the rows of a query come as they are read",
                ))
            }
            Statement::ResetAll => {
                self.change(|settings| {
                    *settings = Settings {
                        one_database: settings.one_database,
                        ..standing::begun_with(&self.begun_with)
                    };
                    Ok(())
                })?;
                Ok(status("RESET"))
            }
            // Nobody can LISTEN, so that there is nothing to leave.
            Statement::Other(other) if matches!(**other, ast::Statement::UNLISTEN { .. }) => {
                Ok(status("UNLISTEN"))
            }
            statement => match write::of(statement) {
                Some(write) => Box::pin(self.write(write?, call, vec![None])).await,
                None => self.define(statement, &settings).await,
            },
        }
    }

    /// Run a planned query. If a source turns out to have another schema than known, it is read again and the query
    /// is planned again, once.
    pub(super) async fn query(
        &self,
        ast: &belvedere_sql::Query,
        planned: Planned,
        (call, deadline): (Call, Option<Instant>),
        values: Option<ParamValues>,
        asked: Option<Asked>,
    ) -> Result<Answer> {
        let settings = &call.settings;
        let names = planned.names.clone();
        let asked = asked.filter(|_| results::is_repeatable(ast, &planned));
        let question = asked.as_ref().map(|asked| &asked.question);
        let seen = self.seen(question, settings);
        // In a box, since it is large and is handed on.
        let run = Box::pin(async {
            let again = async || {
                let names = self.names(call.clone()).having_seen(seen.clone());
                let again = query::plan_answer(names, ast).await?;
                bound(&again, &values)
            };
            let mut first = bound(&planned, &values)?;
            first.names = first.names.having_seen(seen.clone());
            first.run_or_again(deadline, again).await
        });
        let once = Box::pin(self.told_once(asked.as_ref(), settings, run));
        let mut ran = within(settings, deadline, once).await?;
        ran.stream = self.held(ran.stream, &names);
        Ok(self.answer(ran, settings, deadline))
    }

    /// What a query has found, as its answer.
    pub(super) fn answer(
        &self,
        ran: Ran,
        settings: &Settings,
        deadline: Option<Instant>,
    ) -> Answer {
        let answer = Answer {
            notices: self.untold(ran.notices),
            ..streamed(limited(ran.stream, settings, deadline))
        };
        self.told(answer, ran.freshness, settings)
    }

    /// The answer with its columns as they were asked for, and with what it was made of: a notice, if the session wants one, or
    /// if that is older than it may be.
    pub(super) fn told(
        &self,
        mut answer: Answer,
        freshness: Freshness,
        settings: &Settings,
    ) -> Answer {
        if !freshness.parts.is_empty() {
            self.told_so_far().add_under(settings, &freshness);
        }
        let world = self.world();
        let freshness = match world.is_whole() {
            true => freshness,
            // What views read is not there for everybody.
            false => freshness.shown(|name| world.names(name)),
        };
        if settings.freshness_notice || freshness.is_stale() {
            answer.notices.push(format!("Read from {freshness}"));
        }
        answer.freshness = Arc::new(freshness);
        if !world.is_whole() {
            let schema = answer.stream.schema();
            let rows = answer
                .stream
                .map_err(move |e| DataFusionError::from(world.shown_error(Error::from(e))));
            answer.stream = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
        }
        labels::shown_answer(answer, settings.one_database)
    }

    /// Those notices that this session has not been given yet.
    fn untold(&self, mut notices: Vec<String>) -> Vec<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        notices.retain(|notice| told.insert(notice.clone()));
        notices
    }

    /// Change a table of a source, with these values of the parameters: an INSERT of values with each of them.
    pub(super) async fn write(
        &self,
        write: belvedere_sql::Write,
        call: Call,
        values: Vec<Option<ParamValues>>,
    ) -> Result<Answer> {
        let settings = &call.settings;
        let deadline = deadline(settings);
        let names = self.names(call.clone());
        let planned = within(settings, deadline, write::plan(names, write)).await?;
        let wrote = planned.run(&values, deadline).await;
        // Also if it has failed: it may have been done.
        self.inner.results.written(planned.source());
        let wrote = match wrote {
            Ok(wrote) => wrote,
            Err(e) => {
                // What was sent is not sent again; the next one knows the table as it is now.
                if let Some(source) = planned.rows.outdated_source(&e) {
                    let read = self.inner.refresh_place(&source);
                    drop(within(settings, deadline, read).await);
                }
                return Err(e);
            }
        };
        self.written.add(wrote.token.clone());
        let tag = match planned.change {
            Change::Insert => format!("INSERT 0 {}", wrote.rows),
            Change::Update => format!("UPDATE {}", wrote.rows),
            Change::Delete => format!("DELETE {}", wrote.rows),
        };
        let mut answer = status(&tag);
        if settings.freshness_notice {
            let notice = format!("Written; SET read_after = '{}' reads after it", wrote.token);
            answer.notices.push(notice);
        }
        answer.wrote = Some(wrote);
        Ok(answer)
    }

    /// Write a query's rows to the end. What is written is seen when this returns, or never: so all of it is done again,
    /// once, if a source turns out to have another schema than known.
    pub(super) async fn copy(
        &self,
        ast: &CopyTo,
        call: Call,
        values: Option<ParamValues>,
    ) -> Result<Answer> {
        let settings = &call.settings;
        let deadline = deadline(settings);
        let copying = copy::plan(self.names(call.clone()), ast).await?;
        let first = self.copy_out(&copying, settings, &values, deadline).await;
        let outdated = first
            .as_ref()
            .err()
            .and_then(|e| copying.rows.outdated_source(e));
        let written = match outdated {
            None => first?,
            Some(source) => {
                within(settings, deadline, self.inner.refresh_place(&source)).await?;
                let again = copy::plan(self.names(call.clone()), ast).await?;
                self.copy_out(&again, settings, &values, deadline).await?
            }
        };
        copy::answer(written).map(batch_answer)
    }

    /// Write the rows of a `COPY`; a failure removes what was written before it returns.
    async fn copy_out(
        &self,
        copying: &Copying,
        settings: &Settings,
        values: &Option<ParamValues>,
        deadline: Option<Instant>,
    ) -> Result<Exported> {
        let rows = bound(&copying.rows, values)?;
        let begun = async { Ok(copying.export.begin().await?) };
        let mut writer = within(settings, deadline, begun).await?;
        let written = async {
            let Ran { stream, .. } = within(settings, deadline, rows.run(deadline)).await?;
            let stream = self.held(stream, &copying.rows.names);
            let mut batches = limited(stream, settings, deadline);
            while let Some(batch) = batches.try_next().await? {
                let written = async { Ok(writer.write(batch).await?) };
                within(settings, deadline, written).await?;
            }
            Ok(())
        };
        if let Err(e) = written.await {
            writer.abort().await;
            return Err(e);
        }
        writer.commit(deadline).await.map_err(|e| match e.code {
            Code::Timeout => timed_out(settings),
            _ => e.into(),
        })
    }
}
