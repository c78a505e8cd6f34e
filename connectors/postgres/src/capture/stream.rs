//! The log being read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belvedere_connector::{
    Captured, ChangeStream, Code, Error, Kind, Position, Result, TableRef, Transaction,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::layout::Shape;
use super::message::{self, Message, malformed};
use super::place::{Lsn, Timeline};
use super::published::{Relation, shown};
use super::run::{Piece, Told, read, told};
use super::transport::{Event, Log};
use super::watching;
use crate::pool::Pool;

/// How often it is told that nothing has happened, where nobody waits for that.
const IDLE: Duration = Duration::from_secs(1);

/// One reader of the log.
///
/// What it waits for is kept in it, not in the future of [`ChangeStream::next`], which can be dropped at any time.
pub struct LogStream {
    pool: Arc<Pool>,
    timeline: Timeline,
    log: Log,
    tables: Vec<Followed>,
    names: Arc<[TableRef]>,
    /// By what the log calls them.
    relations: HashMap<u32, Known>,
    piece: Piece,
    is_within: bool,
    /// Up to where it was told.
    told: Lsn,
    /// Up to where there is nothing more to tell.
    idle: Lsn,
    /// When that is told at the latest.
    idle_by: Instant,
    /// Up to where somebody has asked what there is.
    asked: watch::Receiver<Lsn>,
    /// Tables that end with the next transaction.
    ending: Vec<(usize, Error)>,
    working: Option<BoxFuture<'static, Result<Worked>>>,
    /// Looks after what the log does not tell.
    watching: BoxFuture<'static, Vec<(usize, Error)>>,
}

/// A table that is followed.
#[derive(Clone)]
pub struct Followed {
    pub captured: Captured,
    /// As it was when the stream was asked for. None: it has ended by then.
    pub relation: Option<Relation>,
    is_over: bool,
}

impl Followed {
    pub fn is_followed(&self) -> bool {
        !self.is_over
    }
}

enum Known {
    Followed(usize, Arc<Shape>),
    /// Nobody wants it, or not any more.
    Other,
}

/// What the server was asked for.
enum Worked {
    Shape {
        table: usize,
        oid: u32,
        shape: Result<Shape>,
    },
    Told(Told),
}

impl LogStream {
    /// From `from` on, which the log was opened at. A table without a relation ends at once, for the reason given.
    pub fn new(
        pool: Arc<Pool>,
        timeline: Timeline,
        log: Log,
        from: Lsn,
        tables: Vec<(Captured, Result<Relation>)>,
        asked: watch::Receiver<Lsn>,
    ) -> Self {
        let names = tables.iter().map(|(captured, _)| captured.table.clone());
        let names = names.collect();
        let mut ending = Vec::new();
        let followed = |(i, (captured, relation)): (usize, (Captured, Result<Relation>))| {
            let relation = relation.map_err(|e| ending.push((i, e))).ok();
            Followed {
                captured,
                is_over: relation.is_none(),
                relation,
            }
        };
        let tables: Vec<Followed> = tables.into_iter().enumerate().map(followed).collect();
        Self {
            watching: going_on(watching::look(pool.clone(), tables.clone())),
            pool,
            timeline,
            log,
            tables,
            names,
            relations: HashMap::new(),
            piece: Piece::default(),
            is_within: false,
            told: from,
            idle: from,
            idle_by: Instant::now() + IDLE,
            asked,
            ending,
            working: None,
        }
    }

    /// The next thing to happen. Cancel safe.
    async fn event(&mut self) -> Result<Option<Event>> {
        let is_idle = !self.is_within && self.idle > self.told;
        let is_waited_for = *self.asked.borrow_and_update() > self.told || !self.ending.is_empty();
        if is_idle && is_waited_for {
            // What has come already may say more.
            return self
                .log
                .next(&self.pool.settings)
                .now_or_never()
                .transpose();
        }
        tokio::select! {
            biased;
            event = self.log.next(&self.pool.settings) => event.map(Some),
            () = sleep_until(self.idle_by), if is_idle => Ok(None),
            Ok(()) = self.asked.changed(), if is_idle => Ok(None),
            ended = &mut self.watching => {
                self.watched(ended);
                Ok(None)
            }
        }
    }

    /// Tables that are not what they were, without a word of it in the log.
    fn watched(&mut self, ended: Vec<(usize, Error)>) {
        for (table, why) in ended {
            if !std::mem::replace(&mut self.tables[table].is_over, true) {
                self.ending.push((table, why));
            }
        }
        if !self.ending.is_empty() {
            // They end with what the log has next, and it need not have anything.
            tokio::spawn(watching::nudge(self.pool.clone(), None));
        }
        self.watching = going_on(watching::look(self.pool.clone(), self.tables.clone()));
    }

    /// What there is to tell of an event.
    fn take(&mut self, event: Option<Event>) -> Result<Option<Transaction>> {
        match event {
            Some(Event::Begin) if !self.is_within => self.is_within = true,
            Some(Event::Commit(end)) if self.is_within => {
                self.is_within = false;
                return self.cut(Some(end));
            }
            Some(Event::Begin | Event::Commit(_)) => return Err(malformed()),
            Some(Event::Message(data)) => {
                self.message(Message::parse(data)?)?;
                if self.piece.is_full() && self.working.is_none() {
                    return self.cut(None);
                }
            }
            Some(Event::Idle(_)) if self.is_within => {}
            Some(Event::Idle(lsn)) => self.idle = self.idle.max(lsn),
            None if self.is_within || self.idle <= self.told => {}
            None => return self.cut(Some(self.idle)),
        }
        Ok(None)
    }

    fn message(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Relation(relation) => self.relation(relation),
            Message::Insert { relation, new } => {
                if let Some((table, shape)) = self.followed(relation)? {
                    let done = self.piece.insert(table, &shape, &new);
                    self.done(table, done)?;
                }
            }
            Message::Update { relation, old, new } => {
                if let Some((table, shape)) = self.followed(relation)? {
                    let done = self.piece.update(table, &shape, old.as_ref(), &new);
                    self.done(table, done)?;
                }
            }
            Message::Delete { relation, old } => {
                if let Some((table, shape)) = self.followed(relation)? {
                    let done = self.piece.delete(table, &shape, &old);
                    self.done(table, done)?;
                }
            }
            Message::Truncate(relations) => {
                for relation in relations {
                    if let Some((table, _)) = self.followed(relation)? {
                        self.piece.truncate(table);
                    }
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn followed(&self, oid: u32) -> Result<Option<(usize, Arc<Shape>)>> {
        match self.relations.get(&oid).ok_or_else(malformed)? {
            Known::Followed(table, _) if self.tables[*table].is_over => Ok(None),
            Known::Followed(table, shape) => Ok(Some((*table, shape.clone()))),
            Known::Other => Ok(None),
        }
    }

    /// A change that does not fit its table ends that table.
    fn done(&mut self, table: usize, done: Result<()>) -> Result<()> {
        match done {
            Err(e) if e.kind() == Kind::Definite => {
                self.end(table, e);
                Ok(())
            }
            done => done,
        }
    }

    fn end(&mut self, table: usize, why: Error) {
        self.tables[table].is_over = true;
        self.piece
            .end(table, why.at_source(&self.pool.settings.source));
    }

    fn relation(&mut self, relation: message::Relation) {
        let is_named =
            |table: &TableRef| table.schema == relation.schema && table.name == relation.name;
        let named = self.names.iter().position(is_named);
        let named = named.filter(|table| !self.tables[*table].is_over);
        let before = match self.relations.insert(relation.oid, Known::Other) {
            Some(Known::Followed(table, _)) if !self.tables[table].is_over => Some(table),
            _ => None,
        };
        let missing = |message: &str, table: &TableRef| {
            Error::new(Code::TableMissing, message).at_table(shown(table))
        };
        if let Some(table) = before.filter(|before| named != Some(*before)) {
            let why = missing("the table has another name now", &self.names[table]);
            self.end(table, why);
        }
        let Some(table) = named else {
            return;
        };
        let followed = &self.tables[table];
        if followed
            .relation
            .as_ref()
            .is_some_and(|was| was.oid != relation.oid)
        {
            let why = missing("another table has its name now", &self.names[table]);
            self.end(table, why);
            return;
        }
        self.piece.finish_run();
        let (pool, captured) = (self.pool.clone(), followed.captured.clone());
        let work = async move {
            let lease = pool.acquire_alive().await?;
            let shape = Shape::new(lease.client()?, &pool.settings, &captured, &relation).await;
            let oid = relation.oid;
            Ok(Worked::Shape { table, oid, shape })
        };
        self.working = Some(going_on(work));
    }

    /// Tell what has been gathered, up to the end of a transaction if it is one.
    fn cut(&mut self, end: Option<Lsn>) -> Result<Option<Transaction>> {
        if let Some(end) = end {
            self.told = self.told.max(end);
            self.idle = self.idle.max(end);
            self.idle_by = Instant::now() + IDLE;
            for (table, why) in std::mem::take(&mut self.ending) {
                self.piece.end(table, why);
            }
        }
        let end = end.map(|lsn| self.timeline.at(lsn));
        let drafts = self.piece.take();
        if drafts.iter().all(|(_, draft)| draft.is_read()) {
            return told(&self.names, drafts, end).map(Some);
        }
        let work = read(self.pool.clone(), self.names.clone(), drafts, end);
        self.working = Some(going_on(work.map(|told| told.map(Worked::Told))));
        Ok(None)
    }

    fn worked(&mut self, worked: Worked) -> Result<Option<Transaction>> {
        match worked {
            Worked::Shape { table, oid, shape } => match shape {
                Ok(shape) => {
                    let known = Known::Followed(table, Arc::new(shape));
                    self.relations.insert(oid, known);
                }
                Err(e) if matches!(e.kind(), Kind::Definite) => self.end(table, e),
                Err(e) => return Err(e),
            },
            Worked::Told(Told { transaction, ended }) => {
                for table in ended {
                    self.tables[table].is_over = true;
                }
                return Ok(Some(transaction));
            }
        }
        Ok(None)
    }

    async fn step(&mut self) -> Result<Option<Transaction>> {
        if let Some(working) = &mut self.working {
            let worked = working.await;
            self.working = None;
            return self.worked(worked?);
        }
        let event = self.event().await?;
        self.take(event)
    }
}

/// Goes on also while the stream is not read, since others wait for the connection that it has; and ends with the stream.
fn going_on<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> BoxFuture<'static, T> {
    let mut task = JoinSet::new();
    task.spawn(work);
    let done = async move {
        match task.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(e)) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            // The runtime ends.
            _ => std::future::pending().await,
        }
    };
    done.boxed()
}

#[async_trait]
impl ChangeStream for LogStream {
    async fn next(&mut self) -> Result<Transaction> {
        loop {
            match self.step().await {
                Ok(Some(transaction)) => return Ok(transaction),
                Ok(None) => {}
                Err(e) => {
                    self.log.close();
                    return Err(e.at_source(&self.pool.settings.source));
                }
            }
        }
    }

    async fn acknowledge(&mut self, position: &Position) -> Result<()> {
        let source = &self.pool.settings.source;
        let lsn = self
            .timeline
            .lsn(position)
            .map_err(|e| e.at_source(source))?;
        self.log.acknowledge(&self.pool.settings, lsn)
    }
}
