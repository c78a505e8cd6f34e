//! The thread that reads the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{Captured, Change, Code, Error, Position, Result, TableRef, Transaction};
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::Inner;
use super::followed::{Standing, lost};
use super::log::{self, State};
use super::schema::Schema;
use super::step::{self, PIECE_ROWS, Told};
use crate::failure;
use crate::pool::{Lease, Patience, Stop};

/// Between two looks, after something was committed; each one that sees nothing doubles it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

pub type Sender = mpsc::Sender<Result<Transaction>>;

pub struct Reading {
    inner: Arc<Inner>,
    tables: Vec<Captured>,
    standings: Vec<Standing>,
    /// Of the schema that they are of.
    schema: Option<i64>,
    /// What is to be remembered of it.
    seen: Option<Schema>,
    ended: HashSet<TableRef>,
    /// Up to where the log was told.
    at: Position,
    lease: Option<Lease>,
    /// What was committed at the last look, as its connection counts it.
    looked: Option<i64>,
    pub stream: u64,
}

impl Reading {
    /// # Errors
    /// If the log does not reach back to there.
    pub fn begin(inner: &Arc<Inner>, from: Position, tables: Vec<Captured>) -> Result<Self> {
        let mut lease = inner.pool.lease_at_once()?;
        let file = lease.file()?.number();
        lease.begin()?;
        let state = State::read(lease.connection()?)?.ok_or_else(log::rewound)?;
        state.place(&from, file)?;
        let mut reading = Self {
            inner: inner.clone(),
            tables,
            standings: Vec::new(),
            schema: None,
            seen: None,
            ended: HashSet::new(),
            at: from,
            lease: None,
            looked: None,
            stream: 0,
        };
        reading.stand(lease.connection()?, &state)?;
        lease.end()?;
        reading.stream = inner.turn().open(&reading.at).ok_or_else(|| {
            let what = "a snapshot was taken behind the position, which nobody came by in time";
            Error::new(Code::LogTruncated, what)
        })?;
        lease.patience(Patience::None)?;
        reading.lease = Some(lease);
        Ok(reading)
    }

    /// Until nobody listens any more.
    pub fn run(mut self, sender: &Sender, stop: &Stop) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.advance(sender, stop) {
                Ok(true) => pause = SHORTEST_PAUSE,
                Ok(false) => pause = (pause * 2).min(LONGEST_PAUSE),
                Err(e) => {
                    // Free again before anybody hears it.
                    self.lease = None;
                    let _ = sender.blocking_send(Err(e.at_source(&self.inner.source)));
                    return;
                }
            }
            if stop.is_set() {
                return;
            }
            std::thread::park_timeout(pause);
        }
    }

    /// Whether there was something.
    fn advance(&mut self, sender: &Sender, stop: &Stop) -> Result<bool> {
        let mut lease = match self.lease.take() {
            Some(lease) => lease,
            None => return Err(Error::internal("a stream without a connection")),
        };
        lease.stop_on(stop, None)?;
        let fence = {
            let inner = self.inner.clone();
            let mut turn = inner.turn();
            if !turn.is_read_by(self.stream) {
                let message = "the log is read by another, or is no longer kept";
                return Err(Error::new(Code::Unreachable, message));
            }
            match turn.next_fence() {
                Some(fence) => Some(fence),
                None => match self.look(&mut lease) {
                    Ok(true) => None,
                    Ok(false) => {
                        self.lease = Some(lease);
                        return Ok(false);
                    }
                    // A writer that commits to a file without a write-ahead log.
                    Err(e) if e.code == Code::Busy => {
                        lease.end()?;
                        self.lease = Some(lease);
                        return Ok(false);
                    }
                    Err(e) => return Err(e),
                },
            }
        };
        let moved = match fence {
            Some(mut fence) if fence.position > self.at => {
                fence.lease.stop_on(stop, None)?;
                self.step(fence.lease, sender)?.0
            }
            // It is of another timeline, or there already.
            Some(_) => true,
            None => {
                let (moved, mut used) = self.step(lease, sender)?;
                used.end()?;
                lease = used;
                moved
            }
        };
        if let Some(seen) = &self.seen
            && self.inner.remember(seen).is_ok()
        {
            self.seen = None;
        }
        self.lease = Some(lease);
        Ok(moved)
    }

    /// Whether something was committed; then what the connection sees is held.
    fn look(&mut self, lease: &mut Lease) -> Result<bool> {
        if !lease.is_current()? {
            return Err(log::rewound());
        }
        let looked = lease.look()?;
        if self.looked == Some(looked) {
            return Ok(false);
        }
        lease.begin()?;
        lease.look()?;
        self.looked = Some(looked);
        Ok(true)
    }

    /// Tell what a connection sees behind what was told. The connection is given back.
    fn step(&mut self, mut lease: Lease, sender: &Sender) -> Result<(bool, Lease)> {
        let file = lease.file()?.number();
        let connection = lease.connection()?;
        let state = State::read(connection)?.ok_or_else(log::rewound)?;
        let from = state.place(&self.at, file)?;
        self.stand(connection, &state)?;
        let to = state.seq();
        let ends = self.standings.iter().zip(&self.tables);
        let ends = ends.filter_map(|(standing, captured)| match standing {
            Standing::Ends(e) if !self.ended.contains(&captured.table) => {
                Some((captured.table.clone(), Change::Ends(e.clone())))
            }
            _ => None,
        });
        let ends: Vec<_> = ends.collect();
        if from == to {
            if !ends.is_empty() {
                // They are told at a position that is behind what was told. Whoever writes makes one, too.
                let _ = self.inner.mark();
                self.looked = None;
            }
            return Ok((false, lease));
        }
        let mut pieces = Pieces {
            sender,
            rows: 0,
            changes: Vec::new(),
        };
        self.ended
            .extend(ends.iter().map(|(table, _)| table.clone()));
        pieces.changes.extend(ends);
        for standing in &self.standings {
            let Standing::Followed(followed) = standing else {
                continue;
            };
            let table = &followed.captured.table;
            if self.ended.contains(table) {
                continue;
            }
            let mut tell = |change| pieces.push(table, change);
            match step::tell(connection, followed, (from, to), &mut tell)? {
                Told::All => {}
                Told::Ends(e) => {
                    self.ended.insert(table.clone());
                    pieces.changes.push((table.clone(), Change::Ends(e)));
                }
                Told::Unheard => return Ok((true, lease)),
            }
        }
        self.at = state.position_at(to, file);
        // Nothing is held any more while the last piece waits to be taken.
        lease.end()?;
        pieces.end(self.at.clone());
        Ok((true, lease))
    }

    /// What the tables are, if the schema is another than before.
    fn stand(&mut self, connection: &Connection, state: &State) -> Result<()> {
        let schema = connection.pragma_query_value(None, "schema_version", |row| row.get(0));
        let schema: i64 = schema.map_err(failure::of)?;
        if self.schema != Some(schema) {
            let of = |captured| Standing::of(connection, captured, &self.inner.decisions);
            self.standings = self.tables.iter().map(of).collect::<Result<_>>()?;
            self.compare(connection, state)?;
            self.schema = Some(schema);
        }
        if state.keeps_row_ids {
            return Ok(());
        }
        let by_row_id = self.standings.iter().find_map(|standing| match standing {
            Standing::Followed(followed) if followed.key.is_none() => Some(followed),
            _ => None,
        });
        match by_row_id {
            None => Ok(()),
            Some(followed) => {
                let what = "VACUUM has given its rows other row ids, by which they were logged";
                Err(lost(what, &followed.captured))
            }
        }
    }

    /// Whether rows may be others though no trigger has told so. What ends is told first.
    fn compare(&mut self, connection: &Connection, state: &State) -> Result<()> {
        let now = Schema::read(connection)?;
        let known = Schema::remembered(connection)?;
        let is_new = known.as_ref().map(|known| known.version) != Some(now.version);
        if known.is_none_or(|known| now.follows(&known, !state.keeps_row_ids)) {
            self.seen = is_new.then_some(now);
            return Ok(());
        }
        let followed = self.standings.iter().find_map(|standing| match standing {
            Standing::Followed(followed) => Some(followed),
            _ => None,
        });
        match followed {
            None => Ok(()),
            Some(followed) => {
                let what = "tables were altered in a way that is not seen any more";
                Err(lost(what, &followed.captured))
            }
        }
    }
}

/// On their way to the reader.
struct Pieces<'a> {
    sender: &'a Sender,
    rows: usize,
    changes: Vec<(TableRef, Change)>,
}

impl Pieces<'_> {
    /// False: nobody listens.
    fn push(&mut self, table: &TableRef, change: Change) -> bool {
        let rows = match &change {
            Change::ByKey { is_there, .. } => is_there.len(),
            Change::Rows { weights, .. } => weights.len(),
            _ => 0,
        };
        // What there is goes first: the last piece has the end.
        let goes = self.rows > 0 && self.rows + rows > PIECE_ROWS;
        if goes && !self.send(None) {
            return false;
        }
        self.rows += rows;
        self.changes.push((table.clone(), change));
        true
    }

    fn end(mut self, position: Position) {
        self.send(Some(position));
    }

    fn send(&mut self, end: Option<Position>) -> bool {
        self.rows = 0;
        let changes = std::mem::take(&mut self.changes);
        let piece = Transaction { changes, end };
        self.sender.blocking_send(Ok(piece)).is_ok()
    }
}
