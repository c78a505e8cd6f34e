use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use belvedere_sql::{Fetch, Rows, Spanned, fold};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::messages::{Bind, Format, Request, Target};
use super::parameters::{self, Sent};
use super::portals::{Failure, Line, Portal, Ran, Sending, describe};
use super::said::{self, Severity};
use super::statements::{Statement, What};
use super::wire::{Broken, REPLY_BYTES};
use crate::engine::{PgType, Session, TransactionState};
use crate::error::{Error, Result};
use crate::serve::connections::{Peer, grace_is_over};

/// Prepared statements, and portals, of one connection.
const MOST: usize = 10_000;
/// What they may have, of texts and values, together with one that is large.
const MOST_BYTES: usize = 64 << 20;
/// Of those that are smaller there may be that many.
const LARGE_BYTES: usize = 4 << 10;
/// A transaction in which nothing is asked for so long is given up: what it reads is kept for it.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(3600);

/// Parameters whose values a client is told, at first and when they change.
const REPORTED: &[&str] = &[
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "is_superuser",
    "standard_conforming_strings",
    "default_transaction_read_only",
    "search_path",
];

/// One client: what it has prepared, and what it asks for, in order.
pub(super) struct Client<S> {
    line: Line<S>,
    session: Session,
    peer: Arc<Peer>,
    statements: HashMap<String, Arc<Statement>>,
    portals: HashMap<String, Portal>,
    /// An extended request has failed: what follows is not done, up to the next Sync.
    skips: bool,
    reported: HashMap<&'static str, String>,
}

type Done = std::result::Result<(), Failure>;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(line: Line<S>, session: Session, peer: Arc<Peer>) -> Self {
        Self {
            line,
            session,
            peer,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skips: false,
            reported: HashMap::new(),
        }
    }

    /// Do what the client asks for, until it leaves or the server ends.
    pub async fn serve(mut self, stop: CancellationToken) -> std::result::Result<(), Broken> {
        self.report();
        let cancel = &self.line.cancel;
        self.line.wire.out.key(cancel.process, cancel.secret);
        self.ready();
        self.line.wire.send().await?;
        loop {
            let patience = match self.session.transaction_state() {
                TransactionState::None => None,
                TransactionState::Open | TransactionState::Failed => Some(IDLE_IN_TRANSACTION),
            };
            let (of, body) = tokio::select! {
                biased;
                message = self.line.wire.next() => match message {
                    Ok(message) => message,
                    Err(broken) => return self.give_up(broken).await,
                },
                () = stop.cancelled() => return self.end("57P01", "the server ends").await,
                () = idle(patience) => {
                    let message = "the transaction was idle for too long, and is rolled back";
                    return self.end("25P03", message).await;
                }
            };
            let at_work = self.peer.at_work();
            self.line.cancel.forget();
            let request = match Request::read(of, body) {
                Ok(Request::Terminate) => return Ok(()),
                Ok(request) => Ok(request),
                Err(malformed) => Err(Error::Protocol {
                    message: malformed.to_string(),
                    sqlstate: malformed.sqlstate(),
                }),
            };
            match request {
                Ok(request) => tokio::select! {
                    taken = self.take(request) => taken?,
                    () = grace_is_over(&stop) => {
                        let message = "the server ends, and the statement with it";
                        return self.end("57P01", message).await;
                    }
                },
                Err(e) => {
                    self.fail(&e, None);
                    match of {
                        b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => self.skips = true,
                        _ => self.ready(),
                    }
                }
            }
            drop(at_work);
            if self.line.wire.out.0.len() >= REPLY_BYTES || !self.line.wire.is_ahead() {
                self.line.wire.send().await?;
            }
        }
    }

    async fn give_up(mut self, broken: Broken) -> std::result::Result<(), Broken> {
        if let Broken::TooLong(_) = broken {
            said::fatal(&mut self.line.wire.out, "08P01", &broken.to_string());
            self.line.wire.send().await?;
        }
        match broken {
            Broken::Left => Ok(()),
            broken => Err(broken),
        }
    }

    async fn end(mut self, sqlstate: &str, message: &str) -> std::result::Result<(), Broken> {
        said::fatal(&mut self.line.wire.out, sqlstate, message);
        self.line.wire.send().await
    }

    async fn take(&mut self, request: Request) -> std::result::Result<(), Broken> {
        if let Request::Query(sql) = request {
            self.skips = false;
            let done = self.simple(&sql).await;
            if done.is_err() {
                // Of what is given up, nothing can fail.
                drop(self.session.end_implicitly(false).await);
                self.report();
            }
            self.settle(done, Some(&sql))?;
            self.close_with_transaction();
            self.ready();
            return Ok(());
        }
        if request == Request::Sync {
            self.skips = false;
            self.close_with_transaction();
            self.ready();
            return Ok(());
        }
        if self.skips {
            return Ok(());
        }
        let mut sql = None;
        let done = match request {
            Request::Parse {
                name,
                sql: text,
                types,
            } => {
                let done = self.parse(name, &text, &types).await;
                sql = Some(text);
                done
            }
            Request::Bind(bind) => self.bind(bind),
            Request::Describe(target) => self.describe(&target),
            Request::Execute { portal, rows } => self.execute(&portal, rows, Sending::Rows).await,
            Request::Close(target) => {
                match target {
                    Target::Statement(name) => drop(self.statements.remove(&name)),
                    Target::Portal(name) => drop(self.portals.remove(&name)),
                }
                self.line.wire.out.closed();
                Ok(())
            }
            Request::Flush => {
                self.line.wire.send().await?;
                Ok(())
            }
            Request::Query(_) | Request::Sync | Request::Terminate | Request::CopyLeft => Ok(()),
        };
        let failed = done.is_err();
        self.settle(done, sql.as_deref())?;
        self.skips = failed;
        Ok(())
    }

    /// Tell the client what went wrong, if something did.
    fn settle(&mut self, done: Done, sql: Option<&str>) -> std::result::Result<(), Broken> {
        match done {
            Ok(()) => Ok(()),
            Err(Failure::Said(e)) => {
                self.fail(&e, sql);
                Ok(())
            }
            Err(Failure::Broken(broken)) => Err(broken),
        }
    }

    fn fail(&mut self, e: &Error, sql: Option<&str>) {
        self.session.fail_transaction();
        said::error(&mut self.line.wire.out, Severity::Error, e, sql);
    }

    fn ready(&mut self) {
        self.line
            .wire
            .out
            .ready(match self.session.transaction_state() {
                TransactionState::None => b'I',
                TransactionState::Open => b'T',
                TransactionState::Failed => b'E',
            });
    }

    /// Portals end with the transaction that they were made in.
    fn close_with_transaction(&mut self) {
        if self.session.transaction_state() == TransactionState::None && !self.portals.is_empty() {
            self.portals.retain(|_, portal| portal.is_held);
        }
    }

    /// Tell the client what has changed of what it is told.
    fn report(&mut self) {
        let settings = self.session.settings();
        let is_superuser = self.session.is_for_superusers("").is_ok();
        for name in REPORTED {
            let value = match *name {
                "is_superuser" if !is_superuser => Ok("off".to_string()),
                name => settings.get(&name.to_ascii_lowercase()),
            };
            let Ok(value) = value else {
                continue;
            };
            if self.reported.get(name) != Some(&value) {
                self.line.wire.out.parameter(name, &value);
                self.reported.insert(name, value);
            }
        }
    }

    /// The statements of a text, one after the other, up to the first that fails: what several of them do is done at their end.
    async fn simple(&mut self, sql: &str) -> Done {
        let parsed = belvedere_sql::parse(sql).map_err(Error::from)?;
        if parsed.is_empty() {
            self.line.wire.out.empty_query();
        }
        let are_several = parsed.len() > 1;
        for statement in parsed {
            if are_several {
                let begun = self.session.begin_implicitly(&statement.statement);
                self.line.watched(begun).await?;
            }
            let statement = Statement::new(&self.session, Some(statement), &[]);
            let statement = Arc::new(self.line.watched(statement).await?);
            let portal = Portal::new(statement, Vec::new(), Vec::new());
            // The unnamed portal is that of the statement that is run.
            self.portals.insert(String::new(), portal);
            self.execute("", None, Sending::Described).await?;
            self.portals.remove("");
        }
        let ended = self.session.end_implicitly(true);
        self.line.watched(ended).await?;
        self.report();
        self.close_with_transaction();
        Ok(())
    }

    async fn parse(&mut self, name: String, sql: &str, types: &[u32]) -> Done {
        let unknown = types
            .iter()
            .find(|oid| parameters::declared(**oid).is_none());
        if let Some(oid) = unknown {
            return Err(Failure::Said(Error::Protocol {
                message: format!("there is no type with the number {oid}"),
                sqlstate: "42704",
            }));
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(exists("prepared statement", &name, "42P05").into());
        }
        room("prepared statements", self.statements.len())?;
        self.room_for(sql.len())?;
        let parsed = belvedere_sql::parse(sql).map_err(Error::from)?;
        let parsed = one(parsed)?;
        let statement = Statement::new(&self.session, parsed, types);
        let mut statement = self.line.watched(statement).await?;
        statement.bytes = sql.len();
        self.statements.insert(name, Arc::new(statement));
        self.line.wire.out.parsed();
        Ok(())
    }

    fn bind(&mut self, bind: Bind) -> Done {
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            return Err(exists("cursor", &bind.portal, "42P03").into());
        }
        room("portals", self.portals.len())?;
        let bytes = bind.values.iter().flatten().map(Bytes::len).sum();
        if bind.portal.is_empty() {
            // It takes the place of the one that there is.
            self.portals.remove("");
        }
        self.room_for(bytes)?;
        let statement = self.statement(&bind.statement)?;
        let values = self.values(&statement, &bind)?;
        let mut portal = Portal::new(statement, values, bind.result_formats);
        portal.bytes = bytes;
        self.portals.insert(bind.portal, portal);
        self.line.wire.out.bound();
        Ok(())
    }

    fn values(&self, statement: &Statement, bind: &Bind) -> Result<Vec<ScalarValue>> {
        let (taken, given) = (statement.parameters.len(), bind.values.len());
        if taken != given {
            return Err(Error::Protocol {
                message: format!("the statement takes {taken} parameters, {given} were given"),
                sqlstate: "08P01",
            });
        }
        let formats = bind.parameter_formats.len();
        if formats > 1 && formats != given {
            return Err(Error::Protocol {
                message: format!("{formats} formats for {given} parameters"),
                sqlstate: "08P01",
            });
        }
        if given == 0 {
            return Ok(Vec::new());
        }
        let zone = self.session.settings().zone()?;
        let each = statement.parameters.iter().zip(&bind.values).enumerate();
        each.map(|(n, (declared, value))| {
            let sent = Sent {
                number: n + 1,
                declared: *declared,
                of: parameters::declared(*declared).unwrap_or(PgType::TEXT),
                format: Format::of(&bind.parameter_formats, n),
                zone: &zone,
            };
            sent.read(value.as_ref())
        })
        .collect()
    }

    fn describe(&mut self, target: &Target) -> Done {
        let (schema, formats) = match target {
            Target::Statement(name) => {
                let statement = self.statement(name)?;
                self.line.wire.out.parameters(&statement.parameters);
                (self.rows_of(&statement), Vec::new())
            }
            Target::Portal(name) => {
                let portal = self.portal(name)?;
                let formats = portal.formats.clone();
                match portal.schema() {
                    Some(schema) => (Some(Arc::clone(schema)), formats),
                    None => (self.rows_of(&portal.statement), formats),
                }
            }
        };
        match schema {
            Some(schema) => describe(&mut self.line.wire.out, &schema, &formats),
            None => self.line.wire.out.no_rows(),
        }
        Ok(())
    }

    /// The columns of a statement's rows: of one that runs another, that one's.
    fn rows_of(&self, statement: &Statement) -> Option<datafusion::arrow::datatypes::SchemaRef> {
        match &statement.what {
            What::Fetch(fetch) if !fetch.moves => {
                self.portals.get(&fold(&fetch.name))?.schema().cloned()
            }
            What::Execute(name, _) => self.statements.get(name)?.schema().cloned(),
            _ => statement.schema().cloned(),
        }
    }

    async fn execute(&mut self, name: &str, most: Option<usize>, sending: Sending) -> Done {
        let portal = self.portal(name)?;
        let statement = Arc::clone(&portal.statement);
        let is_question = matches!(statement.what, What::Ask(_) | What::CopyOut(..));
        // A question is refused by the engine, unless it ends the transaction.
        if !is_question {
            self.session.refuse_if_failed()?;
        }
        let tag = match &statement.what {
            What::Nothing => {
                self.line.wire.out.empty_query();
                return Ok(());
            }
            What::Ask(prepared) => {
                let word = match prepared.kind().as_ref() {
                    kind @ ("SHOW" | "EXPLAIN" | "DESCRIBE" | "COPY") => kind.to_string(),
                    _ => "SELECT".to_string(),
                };
                match self.run(name, most, sending).await? {
                    Ran::Rows(rows) if word == "SELECT" || word == "COPY" => {
                        format!("{word} {rows}")
                    }
                    Ran::Rows(_) => word,
                    Ran::Suspended(_) => {
                        self.line.wire.out.suspended();
                        return Ok(());
                    }
                    Ran::Tag(tag) => {
                        self.report();
                        tag
                    }
                }
            }
            What::CopyOut(..) => match self.run(name, None, sending).await? {
                Ran::Rows(rows) | Ran::Suspended(rows) => format!("COPY {rows}"),
                Ran::Tag(tag) => tag,
            },
            What::Declare {
                name,
                prepared,
                is_binary,
                is_held,
            } => {
                let values = portal.values.clone();
                self.declare(name, prepared, values, *is_binary, *is_held)?;
                "DECLARE CURSOR".to_string()
            }
            What::Fetch(fetch) => {
                self.fetch(fetch, &portal_formats(&self.portals, name), sending)
                    .await?
            }
            What::Close(None) => {
                self.portals.retain(|open, _| open.is_empty());
                "CLOSE CURSOR ALL".to_string()
            }
            What::Close(Some(cursor)) => {
                let closed = self.portals.remove(cursor);
                closed.ok_or_else(|| missing("cursor", cursor, "34000"))?;
                "CLOSE CURSOR".to_string()
            }
            What::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL".to_string()
            }
            What::Deallocate(Some(prepared)) => {
                let forgotten = self.statements.remove(prepared);
                forgotten.ok_or_else(|| missing("prepared statement", prepared, "26000"))?;
                "DEALLOCATE".to_string()
            }
            What::Discard => "DISCARD".to_string(),
            What::DiscardAll => {
                if self.session.transaction_state() != TransactionState::None {
                    return Err(Error::Transaction {
                        message: "DISCARD ALL cannot be part of a transaction".to_string(),
                        help: "COMMIT first".to_string(),
                        sqlstate: "25001",
                    }
                    .into());
                }
                self.statements.clear();
                self.portals.clear();
                self.session.execute("RESET ALL").await?;
                self.report();
                "DISCARD ALL".to_string()
            }
            What::Prepare(prepared, inner) => {
                if self.statements.contains_key(prepared) {
                    return Err(exists("prepared statement", prepared, "42P05").into());
                }
                room("prepared statements", self.statements.len())?;
                self.room_for(inner.bytes)?;
                self.statements.insert(prepared.clone(), Arc::clone(inner));
                "PREPARE".to_string()
            }
            What::Execute(prepared, values) => {
                let inner = self.statement(prepared)?;
                if !matches!(inner.what, What::Ask(_)) {
                    return Err(Error::invalid(format!("{prepared} is no query")).into());
                }
                let mut portal =
                    Portal::new(inner, values.clone(), portal_formats(&self.portals, name));
                let ran = portal
                    .run(&self.session, &mut self.line, None, sending)
                    .await?;
                match ran {
                    Ran::Rows(rows) | Ran::Suspended(rows) => format!("SELECT {rows}"),
                    Ran::Tag(tag) => tag,
                }
            }
        };
        self.line.wire.out.complete(&tag);
        self.close_with_transaction();
        Ok(())
    }

    async fn run(
        &mut self,
        name: &str,
        most: Option<usize>,
        sending: Sending,
    ) -> std::result::Result<Ran, Failure> {
        let Some(portal) = self.portals.get_mut(name) else {
            return Err(missing("portal", name, "34000").into());
        };
        portal
            .run(&self.session, &mut self.line, most, sending)
            .await
    }

    fn declare(
        &mut self,
        name: &str,
        prepared: &Arc<Statement>,
        values: Vec<ScalarValue>,
        is_binary: bool,
        is_held: bool,
    ) -> Result<()> {
        if !is_held && self.session.transaction_state() == TransactionState::None {
            return Err(Error::Transaction {
                message: "a cursor ends with its transaction, and there is none".to_string(),
                help: "BEGIN one, or DECLARE the cursor WITH HOLD".to_string(),
                sqlstate: "25P01",
            });
        }
        if self.portals.contains_key(name) {
            return Err(exists("cursor", name, "42P03"));
        }
        room("portals", self.portals.len())?;
        let formats = match is_binary {
            true => vec![Format::Binary],
            false => Vec::new(),
        };
        let mut portal = Portal::new(Arc::clone(prepared), values, formats);
        portal.is_held = is_held;
        self.portals.insert(name.to_string(), portal);
        Ok(())
    }

    /// `formats`: as the client wants the rows, if it says so.
    async fn fetch(
        &mut self,
        fetch: &Fetch,
        formats: &[Format],
        sending: Sending,
    ) -> std::result::Result<String, Failure> {
        let name = fold(&fetch.name);
        let Some(portal) = self.portals.get_mut(&name) else {
            return Err(missing("cursor", &name, "34000").into());
        };
        if !formats.is_empty() {
            portal.formats = formats.to_vec();
        }
        let word = if fetch.moves { "MOVE" } else { "FETCH" };
        let most = match fetch.rows {
            Rows::Rewind => {
                portal.rewind();
                return Ok("MOVE 0".to_string());
            }
            Rows::All => None,
            Rows::Next(count) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
        };
        let sending = match fetch.moves {
            true => Sending::Nothing,
            false => sending,
        };
        let ran = portal
            .run(&self.session, &mut self.line, most, sending)
            .await?;
        Ok(match ran {
            Ran::Rows(rows) | Ran::Suspended(rows) => format!("{word} {rows}"),
            Ran::Tag(tag) => tag,
        })
    }

    /// Whether so much can be kept beside what is.
    fn room_for(&self, bytes: usize) -> Result<()> {
        if bytes < LARGE_BYTES {
            return Ok(());
        }
        let statements = self.statements.values().map(|statement| statement.bytes);
        let kept = statements.chain(self.portals.values().map(|portal| portal.bytes));
        match kept.sum::<usize>() + bytes <= MOST_BYTES {
            true => Ok(()),
            false => Err(Error::Protocol {
                message: format!(
                    "the prepared statements and portals of a connection have at most {} MB: close some",
                    MOST_BYTES >> 20
                ),
                sqlstate: "54000",
            }),
        }
    }

    fn statement(&self, name: &str) -> Result<Arc<Statement>> {
        let found = self.statements.get(name).cloned();
        found.ok_or_else(|| missing("prepared statement", name, "26000"))
    }

    fn portal(&self, name: &str) -> Result<&Portal> {
        let found = self.portals.get(name);
        found.ok_or_else(|| missing("portal", name, "34000"))
    }
}

async fn idle(patience: Option<Duration>) {
    match patience {
        None => std::future::pending().await,
        Some(patience) => tokio::time::sleep(patience).await,
    }
}

fn portal_formats(portals: &HashMap<String, Portal>, name: &str) -> Vec<Format> {
    portals
        .get(name)
        .map(|portal| portal.formats.clone())
        .unwrap_or_default()
}

fn one(mut parsed: Vec<Spanned>) -> Result<Option<Spanned>> {
    match parsed.len() {
        0 | 1 => Ok(parsed.pop()),
        _ => Err(Error::Protocol {
            message: "only one statement can be prepared at once".to_string(),
            sqlstate: "42601",
        }),
    }
}

fn room(what: &str, there: usize) -> Result<()> {
    match there < MOST {
        true => Ok(()),
        false => Err(Error::Protocol {
            message: format!("a connection has at most {MOST} {what}: close some"),
            sqlstate: "54000",
        }),
    }
}

fn exists(what: &str, name: &str, sqlstate: &'static str) -> Error {
    Error::Protocol {
        message: format!("{what} {name} already exists"),
        sqlstate,
    }
}

fn missing(what: &str, name: &str, sqlstate: &'static str) -> Error {
    let name = if name.is_empty() {
        "without a name"
    } else {
        name
    };
    Error::Protocol {
        message: format!("{what} {name} does not exist"),
        sqlstate,
    }
}
