//! The log being read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use belvedere_connector::{
    Captured, ChangeStream, Code, Error, Kind, Position, Result, Transaction,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::bytes::{Bytes, malformed};
use super::charset::Charsets;
use super::event::{self, Parsed, Rows};
use super::layout::Named;
use super::log::{Event, FilePlace, Log};
use super::piece::Piece;
use super::place::{Gtid, Gtids, Timeline, rewound};
use super::shape::Shape;
use super::statement::{Bound, Effect, Statement};
use super::tables;
use crate::error::client_error;
use crate::pool::Pool;
use crate::settings::Settings;

/// How often it is told that nothing has happened, where nobody waits for that.
const IDLE: Duration = Duration::from_secs(1);

/// What is followed, and what is known of the server.
pub struct Followed {
    pub tables: Vec<Captured>,
    pub charsets: Charsets,
    /// Names of tables that differ by case are two.
    pub has_case: bool,
    pub pool: Arc<Pool>,
    pub settings: Arc<Settings>,
    /// Up to where the log was taken.
    pub read: Arc<Mutex<FilePlace>>,
}

/// What all streams of a source, and those who ask it where its log stands, know of each other.
pub struct Shared {
    /// Up to where somebody has asked what there is: how many transactions there were.
    pub asked: watch::Receiver<u64>,
    /// How many there were at the furthest that was told of any stream.
    pub told: Arc<AtomicU64>,
    /// Changes once somebody finds that the log is another one.
    pub rewinds: watch::Receiver<u64>,
}

/// One reader of the log.
///
/// What it waits for is kept in it, not in the future of [`ChangeStream::next`], which can be dropped at any time.
pub struct LogStream {
    followed: Followed,
    timeline: Timeline,
    log: Log,
    /// Of the tables, by number.
    is_over: Vec<bool>,
    /// By what the log calls them in this transaction.
    known: HashMap<u64, Known>,
    /// All that has come to its end.
    gtids: Gtids,
    open: Option<Open>,
    piece: Piece,
    /// How many transactions there were when it was last told.
    told: u64,
    /// When it is told at the latest that nothing has happened.
    idle_by: Instant,
    shared: Shared,
    /// Prepared transactions, and whether something that is followed is in them.
    prepared: HashMap<String, bool>,
    /// Looks how tables are now; the log waits for it.
    looking: Option<BoxFuture<'static, Result<Vec<(usize, Error)>>>>,
    /// Tables whose rows are to be copied anew, unless they are found not to be what they were.
    anew: Vec<usize>,
}

/// A transaction whose end has not come.
struct Open {
    gtid: Gtid,
    is_alone: bool,
    is_prepared: bool,
    /// A piece of it was told.
    is_told: bool,
    /// Of a prepared one, what it is called by.
    name: Option<String>,
    /// It has changes of tables that are followed.
    is_wanted: bool,
    /// Its last event has come.
    has_ended: bool,
}

/// A table in the log.
struct Known {
    /// The event that describes it.
    description: Vec<u8>,
    /// None: nobody wants it.
    table: Option<(usize, Arc<Shape>)>,
}

impl LogStream {
    /// From `gtids` on, which the log was opened at.
    pub fn new(
        followed: Followed,
        timeline: Timeline,
        gtids: Gtids,
        log: Log,
        shared: Shared,
    ) -> Self {
        Self {
            is_over: vec![false; followed.tables.len()],
            followed,
            timeline,
            log,
            known: HashMap::new(),
            told: gtids.count(),
            gtids,
            open: None,
            piece: Piece::default(),
            idle_by: Instant::now() + IDLE,
            shared,
            prepared: HashMap::new(),
            looking: None,
            anew: Vec::new(),
        }
    }

    /// The next thing to happen; None: it is time to say how far it is. Cancel safe.
    async fn event(&mut self) -> Result<Option<Event>> {
        let is_idle = self.open.is_none() && self.gtids.count() > self.told;
        if is_idle && *self.shared.asked.borrow_and_update() > self.told {
            // What has come already may say more.
            return self.log.try_next();
        }
        tokio::select! {
            biased;
            () = sleep_until(self.idle_by), if is_idle => Ok(None),
            event = self.log.next() => event.map(Some),
            Ok(()) = self.shared.rewinds.changed() => Err(rewound()),
            Ok(()) = self.shared.asked.changed(), if is_idle => Ok(None),
        }
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        let read = self.followed.read.lock();
        read.unwrap_or_else(PoisonError::into_inner).pass(event);
        match event.parse()? {
            Parsed::Nothing => {}
            Parsed::Gtid {
                gtid,
                is_alone,
                is_prepared,
            } => {
                if self.open.is_some() {
                    return Err(malformed());
                }
                self.open = Some(Open {
                    gtid,
                    is_alone,
                    is_prepared,
                    is_told: false,
                    name: None,
                    is_wanted: false,
                    has_ended: false,
                });
            }
            // Those of a file that begins: what is in no file that was read is missing.
            Parsed::Previous(gtids) => {
                if self.open.is_none() && !self.gtids.has(&gtids) {
                    let message = "transactions are missing in its log";
                    return Err(Error::new(Code::LogTruncated, message));
                }
            }
            Parsed::Incident => {
                let message = "the server says that changes are missing in its log";
                return Err(Error::new(Code::LogTruncated, message));
            }
            // Outside of a transaction there is nothing but notes.
            _ if self.open.is_none() => return Err(malformed()),
            Parsed::Commit => self.ended()?,
            Parsed::Prepared => self.prepared()?,
            Parsed::Table(description) => self.table(description)?,
            Parsed::Rows(rows) => self.rows(rows)?,
            Parsed::Statement { schema, sql } => {
                let statement = Statement::parse(&sql, &schema);
                self.statement(&statement, &sql)?;
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<&mut Open> {
        self.open.as_mut().ok_or_else(malformed)
    }

    fn ended(&mut self) -> Result<()> {
        self.open()?.has_ended = true;
        Ok(())
    }

    /// What is not committed yet does not count; if it is, all is copied anew.
    fn prepared(&mut self) -> Result<()> {
        let open = self.open()?;
        open.has_ended = true;
        let (is_wanted, is_told) = (open.is_wanted, open.is_told);
        if let Some(name) = open.name.take() {
            self.prepared.insert(name, is_wanted);
        }
        if is_told {
            let message = "a transaction was prepared, of which a part was told before";
            return Err(Error::new(Code::LogTruncated, message));
        }
        self.piece = Piece::default();
        Ok(())
    }

    fn table(&mut self, description: &[u8]) -> Result<()> {
        let named = Named::parse(description)?;
        let id = named.id;
        if self
            .known
            .get(&id)
            .is_some_and(|known| known.description == description)
        {
            return Ok(());
        }
        let is_named = |captured: &Captured| {
            captured.table.schema.as_bytes() == named.schema
                && captured.table.name.as_bytes() == named.name
        };
        let number = self.followed.tables.iter().position(is_named);
        let number = number.filter(|number| !self.is_over[*number]);
        let table = match number {
            None => None,
            Some(number) => match self.shape(number, named) {
                Ok(shape) => Some((number, Arc::new(shape))),
                Err(e) if e.kind() == Kind::Definite => {
                    self.end(number, e)?;
                    None
                }
                Err(e) => return Err(e),
            },
        };
        let description = description.to_vec();
        self.known.insert(id, Known { description, table });
        Ok(())
    }

    fn shape(&self, number: usize, named: Named<'_>) -> Result<Shape> {
        let captured = &self.followed.tables[number];
        let columns = named.columns(self.timeline.flavor)?.ok_or_else(|| {
            let message = "the log does not name the table's columns";
            Error::new(Code::NoChangeCapture, message)
                .at_table(&captured.table.name)
                .help("Run at the source: SET GLOBAL binlog_row_metadata = FULL")
        })?;
        Shape::new(captured, columns, &self.followed.charsets)
    }

    fn rows(&mut self, rows: Rows) -> Result<()> {
        /// What ends a statement, without a table.
        const NO_TABLE: u64 = 0xff_ffff;
        let Some(known) = self.known.get(&rows.table) else {
            return match rows.table == NO_TABLE {
                true => Ok(()),
                false => Err(malformed()),
            };
        };
        let Some((table, shape)) = known.table.clone() else {
            return Ok(());
        };
        if self.is_over[table] {
            return Ok(());
        }
        let open = self.open()?;
        open.is_wanted = true;
        if open.is_prepared {
            return Ok(());
        }
        match self.add(table, &shape, &rows) {
            Err(e) if e.kind() == Kind::Definite => self.end(table, e),
            done => done,
        }
    }

    fn add(&mut self, table: usize, shape: &Arc<Shape>, rows: &Rows) -> Result<()> {
        if !rows.is_whole {
            let message = "the log has parts of rows";
            return Err(Error::new(Code::NoChangeCapture, message)
                .at_table(&self.followed.tables[table].table.name)
                .help("Run at the source: SET GLOBAL binlog_row_image = FULL; sessions that are open keep theirs"));
        }
        if rows.columns != shape.width() {
            return Err(malformed());
        }
        let mut data = Bytes(&rows.data);
        while !data.is_empty() {
            if rows.kind != event::Kind::Insert {
                self.piece.row(table, shape, &mut data, -1)?;
            }
            if rows.kind != event::Kind::Delete {
                self.piece.row(table, shape, &mut data, 1)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, table: usize, why: Error) -> Result<()> {
        self.is_over[table] = true;
        let captured = &self.followed.tables[table];
        let why = why.at_source(&self.followed.settings.source);
        self.piece.end(table, why.at_table(&captured.table.name))
    }

    fn anew(&mut self, table: usize) -> Result<()> {
        tracing::info!(
            source = %self.followed.settings.source,
            table = %self.followed.tables[table].table.name,
            "it was altered, and its rows may be others: they are copied anew"
        );
        self.piece.anew(table)
    }

    fn statement(&mut self, statement: &Statement, sql: &str) -> Result<()> {
        match statement.bound() {
            Bound::Begin => self.open()?.is_alone = false,
            // `XA END`, which alone names the prepared transaction that ends.
            Bound::Within => {
                if let Some(name) = prepared_name(sql) {
                    self.open()?.name = Some(name);
                }
            }
            Bound::Commit => self.ended()?,
            Bound::Rollback => self.rolled_back(true)?,
            Bound::RollbackTo => self.rolled_back(false)?,
            Bound::XaRollback => {
                self.prepared
                    .remove(&prepared_name(sql).unwrap_or_default());
                self.ended()?;
            }
            Bound::XaCommit => {
                let name = prepared_name(sql).unwrap_or_default();
                if self.prepared.remove(&name) != Some(false) {
                    let message =
                        "a prepared transaction was committed, whose changes its log told before";
                    return Err(Error::new(Code::LogTruncated, message));
                }
                self.ended()?;
            }
            Bound::None => {
                self.effects(statement)?;
                if self.open()?.is_alone {
                    self.ended()?;
                }
            }
        }
        Ok(())
    }

    /// In the log, though it did not happen, for the sake of tables without transactions.
    fn rolled_back(&mut self, wholly: bool) -> Result<()> {
        let open = self.open()?;
        if open.is_wanted && (open.is_told || !wholly) {
            let message = "a part of a transaction did not happen, of which its log told before";
            return Err(Error::new(Code::LogTruncated, message));
        }
        if wholly {
            self.piece = Piece::default();
            self.ended()?;
        }
        Ok(())
    }

    fn effects(&mut self, statement: &Statement) -> Result<()> {
        let mut unsure = Vec::new();
        for table in 0..self.followed.tables.len() {
            if self.is_over[table] {
                continue;
            }
            let captured = &self.followed.tables[table];
            match statement.effect(captured, self.followed.has_case) {
                Effect::Nothing => {}
                Effect::Truncate => {
                    self.open()?.is_wanted = true;
                    self.piece.truncate(table)?;
                }
                Effect::Look => unsure.push((table, captured.clone())),
                Effect::Anew => {
                    unsure.push((table, captured.clone()));
                    self.anew.push(table);
                    self.open()?.is_wanted = true;
                }
                Effect::Ends(e) => self.end(table, e)?,
            }
        }
        if !unsure.is_empty() {
            let (pool, settings) = (self.followed.pool.clone(), self.followed.settings.clone());
            self.looking = Some(look(pool, settings, unsure).boxed());
        }
        Ok(())
    }

    /// What there is to tell after an event.
    fn tell(&mut self) -> Result<Option<Transaction>> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        if !open.has_ended {
            if !self.piece.is_full() {
                return Ok(None);
            }
            open.is_told = true;
            return self.cut(false).map(Some);
        }
        let (gtid, is_told) = (open.gtid.clone(), open.is_told);
        self.open = None;
        self.known.clear();
        self.gtids.add(gtid)?;
        match self.piece.is_empty() && !is_told {
            true => Ok(None),
            false => self.cut(true).map(Some),
        }
    }

    /// Tell what has been gathered, up to the end of a transaction if it is one.
    fn cut(&mut self, is_end: bool) -> Result<Transaction> {
        let tables = &self.followed.tables;
        let changes = self.piece.take()?.into_iter();
        let changes = changes.map(|(table, change)| (tables[table].table.clone(), change));
        let changes = changes.collect();
        let end = is_end.then(|| {
            self.told = self.gtids.count();
            self.shared.told.fetch_max(self.told, Ordering::SeqCst);
            self.idle_by = Instant::now() + IDLE;
            self.timeline.at(&self.gtids)
        });
        Ok(Transaction { changes, end })
    }

    async fn step(&mut self) -> Result<Option<Transaction>> {
        if let Some(looking) = &mut self.looking {
            let found = looking.await;
            self.looking = None;
            for (table, why) in found? {
                self.end(table, why)?;
            }
            for table in std::mem::take(&mut self.anew) {
                if !self.is_over[table] {
                    self.anew(table)?;
                }
            }
            return self.tell();
        }
        match self.event().await? {
            Some(event) => self.take(&event)?,
            None => return self.cut(true).map(Some),
        }
        match self.looking {
            Some(_) => Ok(None),
            None => self.tell(),
        }
    }
}

/// The rest of `XA END …` or `XA COMMIT …`, which is how the log writes what it is called by.
fn prepared_name(sql: &str) -> Option<String> {
    let mut words = sql.splitn(3, ' ');
    let is_xa = words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("XA"));
    let name = words.nth(1)?.trim();
    is_xa.then(|| name.to_string())
}

async fn look(
    pool: Arc<Pool>,
    settings: Arc<Settings>,
    unsure: Vec<(usize, Captured)>,
) -> Result<Vec<(usize, Error)>> {
    let mut lease = pool.lease(None, true).await?;
    match tables::check(&mut lease.conn, &unsure).await {
        Ok(wrong) => {
            lease.give_back().await;
            Ok(wrong)
        }
        Err(e) => {
            lease.discard(false).await;
            Err(client_error(e, &settings))
        }
    }
}

#[async_trait]
impl ChangeStream for LogStream {
    async fn next(&mut self) -> Result<Transaction> {
        loop {
            match self.step().await {
                Ok(Some(transaction)) => return Ok(transaction),
                Ok(None) => {}
                Err(e) => return Err(e.at_source(&self.followed.settings.source)),
            }
        }
    }

    /// The server keeps its log as it likes.
    async fn acknowledge(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }
}
