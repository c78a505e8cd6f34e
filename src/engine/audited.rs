//! What the audit is told of a statement: what it does, before it does it, and how it ended.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use belvedere_sql::{Granted, Name, Spanned, Statement, fold};
use datafusion::scalar::ScalarValue;
use sqlparser::ast;

use super::log::TEXT_BYTES;
use super::session::Session;
use crate::access::audit::{Audit, Event, Level, Origin, Record, Unaudited, without_secrets};
use crate::catalog::ObjectId;
use crate::error::{Error, Result};

/// Bytes of a parameter's value that are recorded, of all of a statement, and how many of those.
const VALUE_BYTES: usize = 256;
const VALUES_BYTES: usize = 8 << 10;
const VALUES: usize = 100;
/// Objects of a statement that are recorded.
const OBJECTS: usize = 1000;

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// To the session alone.
    Nothing,
    Reads,
    Writes,
    Defines,
}

impl Does {
    pub fn of(statement: &Statement) -> Self {
        match statement {
            Statement::Query(_)
            | Statement::Show(_)
            | Statement::Describe { .. }
            | Statement::DescribeQuery(_)
            | Statement::Subscribe(_)
            | Statement::Declare(_)
            | Statement::Fetch(_) => Self::Reads,
            Statement::Copy(copy) if copy.to.is_none() => Self::Reads,
            Statement::Copy(_) => Self::Writes,
            Statement::Explain(explain) => match explain.analyze {
                true => Self::of(&explain.statement),
                false => Self::Reads,
            },
            Statement::Set(_)
            | Statement::ResetAll
            | Statement::Close { .. }
            | Statement::Transaction(_) => Self::Nothing,
            Statement::Other(other) => match other.as_ref() {
                ast::Statement::Insert(_)
                | ast::Statement::Update(_)
                | ast::Statement::Delete(_) => Self::Writes,
                _ => Self::Nothing,
            },
            _ => Self::Defines,
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Defines => Level::Definitions,
            Self::Writes => Level::Writes,
            Self::Reads | Self::Nothing => Level::All,
        }
    }

    /// What it does stays: so it is recorded before it is done.
    fn has_effect(self) -> bool {
        matches!(self, Self::Writes | Self::Defines)
    }
}

/// What a statement has to do with, noted while its names are resolved.
#[derive(Debug, Default)]
pub(super) struct Touched(Mutex<Things>);

#[derive(Debug, Default, Clone)]
struct Things {
    objects: BTreeSet<ObjectId>,
    policies: BTreeSet<String>,
}

impl Touched {
    /// A table or view that the statement names.
    pub fn object(&self, id: &ObjectId) {
        let mut things = self.things();
        if things.objects.len() < OBJECTS && !things.objects.contains(id) {
            things.objects.insert(id.clone());
        }
    }

    /// A policy or mask that is applied to it, as it is to be called in the audit.
    #[allow(dead_code)]
    pub fn policy(&self, name: String) {
        self.things().policies.insert(name);
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One statement, as it is recorded.
#[derive(Debug)]
pub(super) struct Audited {
    audit: Arc<Audit>,
    user: Option<Arc<str>>,
    origin: Origin,
    session: u64,
    touched: Arc<Touched>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// None: it could not be understood.
    does: Option<Does>,
    /// Of what it is prepared as.
    planned: Option<Arc<Touched>>,
    /// That it defines, as they are written.
    named: Vec<String>,
    parameters: Option<Vec<String>>,
    begun: Option<u64>,
    wrote: Option<u64>,
    is_query: bool,
    /// It has had its effect, whether its answer is read or not.
    is_done: bool,
    /// Whoever asks does not see all: what is there need not be there for him.
    is_limited: bool,
}

impl Audited {
    /// Of a session's next statement. None: there is no record of any.
    pub fn new(session: &Session) -> Option<Self> {
        let audit = &session.inner.audit;
        audit.takes(Level::Definitions).then(|| Self {
            audit: audit.clone(),
            user: session.user(),
            origin: session.origin(),
            session: session.number(),
            touched: Arc::default(),
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its names are noted.
    pub fn touched(&self) -> &Arc<Touched> {
        &self.touched
    }

    /// What was noted when it was prepared.
    pub fn touches(&self, planned: &Arc<Touched>) {
        self.known().planned = Some(planned.clone());
    }

    /// What it is found to be.
    pub fn is(&self, statement: &Statement, does: Does) {
        let mut known = self.known();
        known.does = Some(does);
        if does == Does::Defines {
            known.named = named(statement);
        }
    }

    /// Of rows of values, if values are recorded.
    pub fn has_values(&self, rows: &[&[ScalarValue]]) {
        let is_recorded = |does: Does| self.audit.takes(does.level());
        let mut known = self.known();
        if self.audit.has_parameters() && known.does.is_some_and(is_recorded) {
            known.parameters = Some(shown(rows));
        }
    }

    pub fn answers(&self, is_query: bool, wrote: Option<u64>) {
        let mut known = self.known();
        known.is_query = is_query;
        known.is_done = known.does.is_some_and(Does::has_effect);
        known.wrote = wrote;
    }

    pub fn is_limited(&self) {
        self.known().is_limited = true;
    }

    /// It is about to be carried out. What has an effect is recorded durably before.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn begins(&self, sql: &str) -> Result<()> {
        let does = self.known().does;
        let does = does.filter(|does| self.audit.takes(does.level()));
        let Some(does) = does else {
            return Ok(());
        };
        self.audit.admits().await?;
        if does.has_effect() {
            let begun = self.audit.note(self.record(Event::Begun, sql));
            self.known().begun = Some(begun);
            self.audit.durable(begun).await?;
        }
        Ok(())
    }

    /// It has ended, with this SQLSTATE or well.
    pub fn ended(&self, sql: &str, rows: u64, failed: Option<&'static str>, ms: f64) {
        let (is_recorded, failed, rows) = {
            let known = self.known();
            let failed = failed.filter(|_| !known.is_done);
            let refused = failed.is_some_and(|code| is_refusal(code, known.is_limited));
            let level = known.does.map_or(Level::All, Does::level);
            let level = if refused { Level::Definitions } else { level };
            let rows = match known.is_query && !known.is_done {
                true => Some(rows),
                false => known.wrote,
            };
            let is_recorded = known.begun.is_some() || self.audit.takes(level);
            (is_recorded, failed, rows)
        };
        if !is_recorded {
            return;
        }
        let begun = self.known().begun;
        self.audit.note(Record {
            rows: rows.filter(|_| failed.is_none() || rows != Some(0)),
            outcome: Some(failed.unwrap_or("ok").into()),
            ms: Some(ms),
            begun,
            ..self.record(Event::Statement, sql)
        });
    }

    fn record(&self, event: Event, sql: &str) -> Record {
        let statement = without_secrets(sql).into_owned();
        let known = self.known();
        let mut things = self.touched.things().clone();
        if let Some(planned) = &known.planned {
            let planned = planned.things().clone();
            things.objects.extend(planned.objects);
            things.policies.extend(planned.policies);
        }
        let objects = things.objects.iter().map(ToString::to_string);
        let mut objects: Vec<String> = objects.collect();
        for named in &known.named {
            if !objects.contains(named) {
                objects.push(named.clone());
            }
        }
        // Of a statement that tells a secret the values may be one.
        let parameters = known.parameters.clone();
        let parameters = parameters.filter(|_| !statement.contains('…') && statement == sql);
        let record = Record {
            event,
            user: self.user.clone(),
            session: Some(self.session),
            statement: Some(statement),
            objects,
            policies: things.policies.into_iter().collect(),
            parameters,
            ..Record::default()
        };
        record.from(self.origin)
    }
}

impl Session {
    /// What a statement is, and that it may be carried out.
    ///
    /// # Errors
    /// It cannot be recorded that it is.
    pub(super) async fn about_to(
        &self,
        audited: Option<&Audited>,
        sql: &str,
        statement: &Statement,
        rows: &[&[ScalarValue]],
    ) -> Result<()> {
        let Some(audited) = audited else {
            return Ok(());
        };
        let does = match statement {
            Statement::Transaction(belvedere_sql::Transaction::Commit) if self.has_drafted() => {
                Does::Defines
            }
            statement => Does::of(statement),
        };
        audited.is(statement, does);
        audited.has_values(rows);
        audited.begins(sql).await
    }

    /// Whether its transaction has defined something that nobody else sees yet.
    fn has_drafted(&self) -> bool {
        let transaction = self.transaction();
        transaction.as_ref().is_some_and(|t| t.world().is_some())
    }

    /// A text that is no statement.
    pub(super) fn unread<T>(&self, sql: &str, result: Result<T>) -> Result<T> {
        if let Err(e) = &result
            && let Some(audited) = Audited::new(self)
        {
            audited.ended(beginning(sql), 0, Some(e.sqlstate()), 0.0);
        }
        result
    }

    /// Do something that is no statement, as `sql` says, with a record of it.
    pub(super) async fn with_record<T>(
        &self,
        sql: &str,
        named: Vec<String>,
        does: Does,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(audited) = Audited::new(self) else {
            return work.await;
        };
        let since = Instant::now();
        {
            let mut known = audited.known();
            known.does = Some(does);
            known.named = named;
        }
        let result = match audited.begins(sql).await {
            Ok(()) => work.await,
            Err(e) => Err(e),
        };
        self.tells_limits(&audited);
        let ms = since.elapsed().as_secs_f64() * 1e3;
        let failed = result.as_ref().err().map(Error::sqlstate);
        audited.ended(sql, 0, failed, ms);
        result
    }

    /// Whoever does not see all is told of fewer things, of which attempts are recorded.
    pub(super) fn tells_limits(&self, audited: &Audited) {
        let is_whole = self.identity().is_ok_and(|identity| identity.may_all());
        if !is_whole {
            audited.is_limited();
        }
    }
}

/// A statement that is prepared, and not carried out. If that fails, it never is: that it was tried is recorded then.
pub(super) struct Trying {
    /// And its text.
    tried: Option<(Audited, String)>,
    since: Instant,
}

impl Trying {
    pub fn begin(session: &Session, statement: &Spanned) -> Self {
        let audited = Audited::new(session);
        let tried = audited.map(|audited| {
            audited.is(&statement.statement, Does::of(&statement.statement));
            (audited, beginning(&statement.text).to_string())
        });
        Self {
            tried,
            since: Instant::now(),
        }
    }

    /// Where its names are noted.
    pub fn touched(&self) -> Arc<Touched> {
        let tried = self.tried.as_ref();
        tried
            .map(|(audited, _)| audited.touched.clone())
            .unwrap_or_default()
    }

    pub fn ended<T>(self, session: &Session, result: Result<T>) -> Result<T> {
        if let Err(e) = &result
            && let Some((audited, text)) = &self.tried
        {
            session.tells_limits(audited);
            let ms = self.since.elapsed().as_secs_f64() * 1e3;
            audited.ended(text, 0, Some(e.sqlstate()), ms);
        }
        result
    }
}

/// As much of a text as is kept of it.
fn beginning(sql: &str) -> &str {
    &sql[..sql.floor_char_boundary(TEXT_BYTES.min(sql.len()))]
}

impl From<Unaudited> for Error {
    fn from(e: Unaudited) -> Self {
        Self::Store {
            message: e.to_string(),
            help: Some(
                "Make room on the disk of the data directory; statements are taken again as soon as it can be written"
                    .to_string(),
            ),
        }
    }
}

/// Whether an error says that something is not for whoever asked. To who does not see all, a thing that is not to be seen does not exist.
fn is_refusal(code: &str, is_limited: bool) -> bool {
    match code {
        "42501" | "28000" | "28P01" => true,
        "42P01" | "3F000" | "42704" | "42703" => is_limited,
        _ => false,
    }
}

/// What a definition is about, as it is written.
pub(super) fn named(statement: &Statement) -> Vec<String> {
    let of = |names: &[Name]| names.iter().map(ToString::to_string).collect();
    let one = |name: &dyn std::fmt::Display| vec![name.to_string()];
    match statement {
        Statement::CreateSource(create) => one(&create.name),
        Statement::AlterSource(alter) => one(&alter.name),
        Statement::DropSource(drop) => one(&drop.name),
        Statement::RefreshSource { name } => one(name),
        Statement::CreateView(create) => one(&create.name),
        Statement::AlterView(alter) => one(&alter.name),
        Statement::DropView(drop) => of(&drop.names),
        Statement::RefreshView(refresh) => one(&refresh.name),
        Statement::CreateIndex(create) => one(&create.on),
        Statement::DropIndex(drop) => of(&drop.names),
        Statement::CreateSchema(create) => one(&create.name),
        Statement::AlterSchema(alter) => one(&alter.name),
        Statement::CommentOn(comment) => one(&comment.name),
        Statement::CreateUser(create) => one(&create.name),
        Statement::CreateRole(create) => one(&create.name),
        Statement::AlterRole(alter) => one(&alter.name),
        Statement::DropRole(drop) => drop.names.iter().map(ToString::to_string).collect(),
        Statement::CreatePolicy(create) => one(&create.on),
        Statement::CreateMask(create) => one(&create.on),
        Statement::DropPolicy(drop) | Statement::DropMask(drop) => one(&drop.on),
        Statement::Grant(grant) | Statement::Revoke(grant) => match &grant.what {
            Granted::Roles(roles) => roles.iter().map(fold).collect(),
            Granted::Privileges { on, .. } => one(on),
        },
        _ => Vec::new(),
    }
}

/// Values, as far as they are recorded.
fn shown(rows: &[&[ScalarValue]]) -> Vec<String> {
    let (mut texts, mut bytes) = (Vec::new(), 0);
    for value in rows.iter().copied().flatten() {
        if texts.len() >= VALUES || bytes >= VALUES_BYTES {
            texts.push("…".to_string());
            break;
        }
        let text = match value {
            ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text))
            | ScalarValue::Utf8View(Some(text)) => cut(text).into_owned(),
            value => {
                let mut text = Cut(String::new());
                // It fails where enough is said.
                let _ = write!(text, "{value}");
                cut(&text.0).into_owned()
            }
        };
        bytes += text.len();
        texts.push(text);
    }
    texts
}

fn cut(text: &str) -> Cow<'_, str> {
    match text.len() > VALUE_BYTES {
        true => Cow::Owned(format!(
            "{}…",
            &text[..text.floor_char_boundary(VALUE_BYTES)]
        )),
        false => Cow::Borrowed(text),
    }
}

/// Takes no more than is recorded.
struct Cut(String);

impl std::fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.push_str(&cut(text));
        match self.0.len() > VALUE_BYTES {
            true => Err(std::fmt::Error),
            false => Ok(()),
        }
    }
}
