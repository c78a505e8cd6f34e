//! What comes from a source, one after the other, over connections that break.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::RecordBatch;
use belvedere_connector::{
    BatchStream, Captured, Change, ChangeStream, Code, Error, Kind, Position, Result, Snapshot,
    Source, TableRef, Transaction,
};
use futures::future::{BoxFuture, Either, select};
use futures::stream::{SelectAll, select_all};
use futures::{FutureExt, StreamExt};

use super::replica::change_bytes;

/// A source's stream, and a copy beside it.
pub(super) struct Feed {
    source: Arc<dyn Source>,
    /// Up to where the log was received, whole transactions. None: all is to be copied first.
    received: Option<Position>,
    stream: Option<Open>,
    copy: Option<Copy>,
    /// What the source was asked for and has not answered. It is kept where nobody waits for it: steps of other sources
    /// cut a wait short, and what begins anew each time would never be done.
    asked: Option<Asked>,
    /// What is durable here, to be said where it was not.
    acknowledge: Option<Position>,
    /// What this stream was told to be durable last: a source is not asked to forget the same again.
    heard: Option<Position>,
    is_asked: bool,
    /// Whose turn it is if both have something.
    is_copys_turn: bool,
}

enum Asked {
    Position(BoxFuture<'static, Result<Position>>),
    Stream(
        Vec<Captured>,
        BoxFuture<'static, Result<Box<dyn ChangeStream>>>,
    ),
    /// And the tables whose rows are not read.
    Snapshot(
        Vec<Captured>,
        Vec<TableRef>,
        BoxFuture<'static, Result<Snapshot>>,
    ),
}

enum Answer {
    Position(Result<Position>),
    Stream(Result<Box<dyn ChangeStream>>),
    Snapshot(Result<Snapshot>),
}

struct Open {
    changes: Box<dyn ChangeStream>,
    tables: Vec<Captured>,
    /// Pieces of a transaction whose end has not come.
    pieces: Vec<(TableRef, Change)>,
    piece_bytes: usize,
}

struct Copy {
    at: Position,
    tables: Vec<TableRef>,
    rows: SelectAll<futures::stream::BoxStream<'static, (TableRef, Result<RecordBatch>)>>,
}

/// A whole transaction, or nothing up to its end.
pub(super) struct Received {
    /// Where the one before it ended.
    pub before: Position,
    pub end: Position,
    pub changes: Vec<(TableRef, Change)>,
    /// In memory.
    pub bytes: usize,
}

impl Received {
    /// Whether the stream tells no more of a table.
    pub fn ends(&self, table: &TableRef) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|(of, change)| of == table && matches!(change, Change::Ends(_)))
    }
}

/// One step's outcome.
pub(super) enum Arrived {
    /// Where the source stood at the start.
    Start(Position),
    /// Something is done of which there is nothing to tell.
    Moved,
    Transaction(Received),
    /// Rows of these tables follow, as of this position.
    Copying {
        at: Position,
        tables: Vec<Captured>,
    },
    Rows {
        table: TableRef,
        rows: RecordBatch,
    },
    Copied {
        tables: Vec<TableRef>,
    },
    /// A table cannot be copied, whatever else can.
    Refused {
        table: TableRef,
        error: Error,
    },
    /// Where we are is not in the source's log.
    Lost,
    /// There is nothing to do.
    Idle,
}

impl Feed {
    pub fn new(source: Arc<dyn Source>, received: Option<Position>) -> Self {
        Self {
            source,
            received,
            stream: None,
            copy: None,
            asked: None,
            acknowledge: None,
            heard: None,
            is_asked: false,
            is_copys_turn: false,
        }
    }

    /// The same, having received what there is.
    pub fn from(self, received: Option<Position>) -> Self {
        Self { received, ..self }
    }

    pub fn received(&self) -> Option<&Position> {
        self.received.as_ref()
    }

    /// What pieces of a transaction take whose end has not come.
    pub fn piece_bytes(&self) -> usize {
        self.stream.as_ref().map_or(0, |open| open.piece_bytes)
    }

    /// Give up pieces of a transaction whose end has not come: all of them come again.
    pub fn drop_pieces(&mut self) {
        self.stream.take_if(|open| !open.pieces.is_empty());
    }

    /// All is to be copied first, and nothing is yet.
    pub fn begin_again(&mut self) {
        self.received = None;
        self.stream = None;
        self.copy = None;
        self.asked = None;
    }

    /// Nobody wants what is copied.
    pub fn drop_copy(&mut self) {
        self.copy = None;
    }

    pub fn is_copying(&self) -> bool {
        self.copy.is_some()
    }

    /// What came after this is to come again, of those tables that are wanted then.
    pub fn again(&mut self, from: Position) {
        self.received = Some(from);
        self.stream = None;
    }

    /// A table is not told of any more by the stream: whoever wants it again has to ask for that.
    pub fn ended(&mut self, table: &TableRef) {
        if let Some(open) = &mut self.stream {
            open.tables.retain(|told| told.table != *table);
        }
    }

    /// What is durable here. Said with the next step.
    pub fn durable(&mut self, position: Position) {
        if self.heard.as_ref() != Some(&position) {
            self.acknowledge = Some(position);
        }
    }

    /// The next thing that has to be done, or that comes. `followed`: tables whose changes are wanted; `uncopied`: those of
    /// them that nothing was copied of, nor is being; `unread`: those of them whose rows nobody wants.
    ///
    /// Cancel safe: what was under way goes on, what has arrived is told the next time.
    pub async fn next(
        &mut self,
        followed: Vec<Captured>,
        uncopied: Vec<Captured>,
        unread: Vec<TableRef>,
        is_full: bool,
    ) -> Result<Arrived> {
        if self.asked.is_some() {
            return self.answered().await;
        }
        if !self.is_asked {
            let source = self.source.clone();
            let position = async move { source.position().await };
            self.asked = Some(Asked::Position(position.boxed()));
            return self.answered().await;
        }
        if let Some(from) = &self.received {
            let is_wanted = |open: &Open| {
                followed
                    .iter()
                    .all(|table| open.tables.iter().any(|told| told.holds(table)))
            };
            if !self.stream.as_ref().is_some_and(is_wanted) {
                // A source has one reader.
                self.stream = None;
                let (source, from, tables) = (self.source.clone(), from.clone(), followed.clone());
                let changes = async move { source.changes(&from, &tables).await };
                self.asked = Some(Asked::Stream(followed, changes.boxed()));
                return self.answered().await;
            }
            if let (Some(position), Some(open)) = (&self.acknowledge, &mut self.stream) {
                let done = open.changes.acknowledge(position).await;
                return match done {
                    Ok(()) => {
                        self.heard = self.acknowledge.take();
                        Ok(Arrived::Moved)
                    }
                    Err(e) => self.broken(e),
                };
            }
        }
        if self.copy.is_none() && !uncopied.is_empty() {
            let (source, tables) = (self.source.clone(), uncopied.clone());
            let snapshot = async move { source.snapshot(&tables).await };
            self.asked = Some(Asked::Snapshot(uncopied, unread, snapshot.boxed()));
            return self.answered().await;
        }
        let stream = self.stream.as_mut().filter(|_| !is_full);
        // Each is cancel safe: what the other one had is still there.
        let came = match (stream, &mut self.copy) {
            (None, None) => return Ok(Arrived::Idle),
            (Some(open), None) => Either::Left(open.changes.next().await),
            (None, Some(copy)) => Either::Right(copy.rows.next().await),
            (Some(open), Some(copy)) => {
                self.is_copys_turn = !self.is_copys_turn;
                let change = open.changes.next().map(Either::Left);
                let rows = copy.rows.next().map(Either::Right);
                match self.is_copys_turn {
                    true => select(rows, change).await.factor_first().0,
                    false => select(change, rows).await.factor_first().0,
                }
            }
        };
        match came {
            Either::Left(Ok(piece)) => self.piece(piece),
            Either::Left(Err(e)) => self.broken(e),
            Either::Right(rows) => self.rows(rows),
        }
    }

    /// What the source answers to what it was asked for.
    async fn answered(&mut self) -> Result<Arrived> {
        let answer = match &mut self.asked {
            None => return Ok(Arrived::Moved),
            Some(Asked::Position(position)) => Answer::Position(position.await),
            Some(Asked::Stream(_, changes)) => Answer::Stream(changes.await),
            Some(Asked::Snapshot(_, _, snapshot)) => Answer::Snapshot(snapshot.await),
        };
        match (self.asked.take(), answer) {
            (_, Answer::Position(start)) => {
                let start = start?;
                self.is_asked = true;
                Ok(Arrived::Start(start))
            }
            (Some(Asked::Stream(tables, _)), Answer::Stream(changes)) => {
                self.opened(changes, tables)
            }
            (Some(Asked::Snapshot(tables, unread, _)), Answer::Snapshot(snapshot)) => {
                self.copying(snapshot, tables, &unread)
            }
            _ => Ok(Arrived::Moved),
        }
    }

    fn opened(
        &mut self,
        changes: Result<Box<dyn ChangeStream>>,
        tables: Vec<Captured>,
    ) -> Result<Arrived> {
        match changes {
            Ok(changes) => {
                let pieces = Vec::new();
                self.heard = None;
                self.stream = Some(Open {
                    changes,
                    tables,
                    pieces,
                    piece_bytes: 0,
                });
                Ok(Arrived::Moved)
            }
            Err(e) => self.broken(e),
        }
    }

    /// The stream is of no use any more, nor are pieces of a transaction: all of them come again.
    fn broken(&mut self, e: Error) -> Result<Arrived> {
        self.stream = None;
        match e.code {
            Code::LogTruncated | Code::LogRewound => {
                self.received = None;
                self.copy = None;
                self.acknowledge = None;
                Ok(Arrived::Lost)
            }
            _ => Err(e),
        }
    }

    fn piece(&mut self, piece: Transaction) -> Result<Arrived> {
        let (Some(open), Some(received)) = (&mut self.stream, &mut self.received) else {
            return Ok(Arrived::Moved);
        };
        let changes = piece.changes.iter();
        open.piece_bytes += changes.map(|(_, c)| change_bytes(c)).sum::<usize>();
        open.pieces.extend(piece.changes);
        let Some(end) = piece.end else {
            return Ok(Arrived::Moved);
        };
        let changes = std::mem::take(&mut open.pieces);
        let bytes = std::mem::take(&mut open.piece_bytes);
        match end.partial_cmp(&*received) {
            Some(Ordering::Greater) => {}
            // It came before the connection broke.
            Some(_) => return Ok(Arrived::Moved),
            None => {
                let message = "a change is of another timeline than the one before it";
                return self.broken(Error::new(Code::LogRewound, message));
            }
        }
        let before = std::mem::replace(received, end.clone());
        Ok(Arrived::Transaction(Received {
            before,
            end,
            changes,
            bytes,
        }))
    }

    fn copying(
        &mut self,
        snapshot: Result<Snapshot>,
        tables: Vec<Captured>,
        unread: &[TableRef],
    ) -> Result<Arrived> {
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(e) => return self.refused(e, tables.into_iter().map(|t| t.table).collect()),
        };
        let at = snapshot.position;
        // Else what was committed between would be missing: the stream has given it, for nobody.
        let is_later = |received: &Position| *received <= at;
        if !self.received.as_ref().is_none_or(is_later) {
            self.stream = None;
            let message = "a snapshot is older than what its log has given, or of another timeline";
            return Err(Error::new(Code::SourceRefused, message));
        }
        let named = |(table, rows): (TableRef, BatchStream)| {
            rows.map(move |rows| (table.clone(), rows)).boxed()
        };
        // A stream that is dropped ends at the source; the position is the others' all the same.
        let read = (snapshot.streams.into_iter()).filter(|(table, _)| !unread.contains(table));
        let rows = select_all(read.map(named));
        self.copy = Some(Copy {
            at: at.clone(),
            tables: tables.iter().map(|t| t.table.clone()).collect(),
            rows,
        });
        Ok(Arrived::Copying { at, tables })
    }

    fn rows(&mut self, rows: Option<(TableRef, Result<RecordBatch>)>) -> Result<Arrived> {
        match rows {
            Some((table, Ok(rows))) => Ok(Arrived::Rows { table, rows }),
            Some((table, Err(e))) => {
                self.copy = None;
                self.refused(e.at_table(&table.name), vec![table])
            }
            None => {
                let Some(copy) = self.copy.take() else {
                    return Ok(Arrived::Moved);
                };
                // What was copied first says where the stream begins.
                self.received.get_or_insert(copy.at);
                let tables = copy.tables;
                Ok(Arrived::Copied { tables })
            }
        }
    }

    /// A definite error of one table is its own.
    fn refused(&mut self, error: Error, tables: Vec<TableRef>) -> Result<Arrived> {
        let is_named = |table: &TableRef| {
            let name = error.table.as_deref();
            name.is_some_and(|name| name == table.name || name == table.to_string())
        };
        match tables.into_iter().find(is_named) {
            Some(table) if error.kind() == Kind::Definite => Ok(Arrived::Refused { table, error }),
            _ => Err(error),
        }
    }
}
