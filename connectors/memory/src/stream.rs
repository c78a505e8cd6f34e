//! The log being read.

use std::collections::{BTreeSet, VecDeque};

use async_trait::async_trait;
use belvedere_connector::{
    Captured, Change, ChangeStream, Code, Error, Position, Result, TableRef, Transaction,
};
use tokio::sync::watch;

use crate::capture::Image;
use crate::commit::{by_key, pieces};
use crate::fault::{Fault, LogFault};
use crate::log::{Commit, Tables};
use crate::source::MemorySource;

/// One reader of the log. Each commit is looked up when it is due.
pub(crate) struct LogStream {
    source: MemorySource,
    tables: Vec<Captured>,
    /// The commit it was asked from. Some before it may be given again, if they are there.
    from: u64,
    /// The commit that was given last.
    at: u64,
    /// What is left of the one after it.
    left: VecDeque<Transaction>,
    /// Which of the source's streams it is: a later one ends it.
    number: usize,
    /// [`MemorySource::break_off`]s before it.
    breaks: usize,
    /// Keep-alives before it.
    beats: u64,
    /// Says that something has happened.
    events: watch::Receiver<u64>,
}

impl LogStream {
    pub fn new(source: MemorySource, tables: Vec<Captured>, from: &Position) -> Result<Self> {
        let mut state = source.state();
        let number = state.log.number(from);
        let number = number.map_err(|e| e.at_source(source.opened_name()))?;
        let from = number;
        state.streams += 1;
        let (at, number, beats) = (from.saturating_sub(state.again), state.streams, state.beats);
        drop(state);
        Ok(Self {
            tables,
            from,
            at,
            left: VecDeque::new(),
            number,
            breaks: source.breaks(),
            beats,
            events: source.events(),
            source,
        })
    }

    fn cut(&self) -> Error {
        let message = "the connection was cut";
        self.source.failed(Code::Unreachable, message)
    }

    /// Whether the connection is alive.
    fn check(&self) -> Result<()> {
        if let Fault::Down(code) = self.source.fault() {
            return Err(self.source.failed(code, "the system is down"));
        }
        let is_last = self.source.state().streams == self.number;
        match is_last && self.source.breaks() == self.breaks {
            true => Ok(()),
            false => Err(self.cut()),
        }
    }

    /// What there is to give at once.
    fn ready(&mut self) -> Result<Option<Transaction>> {
        self.check()?;
        let source = self.source.clone();
        let mut state = source.state();
        match state.fault {
            LogFault::Stall => return Ok(None),
            LogFault::CutAfter(0) => {
                state.fault = LogFault::None;
                return Err(self.cut());
            }
            _ => {}
        }
        if self.left.is_empty() {
            self.at = self.at.max(state.log.base().min(self.from));
            let next = state.log.commit(self.at + 1);
            match next.map_err(|e| e.at_source(source.opened_name()))? {
                Some((before, commit)) => {
                    let changes = wanted(&self.tables, before, commit, state.image)?;
                    // What is given again was there before this stream.
                    if self.at >= self.from {
                        self.tables.retain(|told| !ends(&changes, &told.table));
                    }
                    let end = state.log.position(self.at + 1);
                    self.left = in_pieces(changes, end, state.piece_rows);
                }
                None if self.beats < state.beats => {
                    self.beats = state.beats;
                    let end = Some(state.log.position(self.at));
                    let changes = Vec::new();
                    return Ok(Some(Transaction { changes, end }));
                }
                None => return Ok(None),
            }
        }
        if let LogFault::CutAfter(messages) = &mut state.fault {
            *messages -= 1;
        }
        let next = self.left.pop_front();
        if self.left.is_empty() {
            self.at += 1;
        }
        Ok(next)
    }
}

/// What a commit does to the tables, as long as they are as wanted.
fn wanted(
    tables: &[Captured],
    before: &Tables,
    commit: &Commit,
    image: Image,
) -> Result<Vec<(TableRef, Change)>> {
    let mut changes = Vec::new();
    let mut ended = BTreeSet::new();
    for (name, change) in &commit.changes {
        let captured = tables.iter().find(|c| c.table.name == *name);
        let Some(Captured { table, schema }) = captured.filter(|_| !ended.contains(name)) else {
            continue;
        };
        let Some(was) = before.get(name).filter(|was| was.has(schema)) else {
            continue;
        };
        let is_wanted = commit.tables.get(name).is_some_and(|is| is.has(schema));
        let change = match change {
            Change::Ends(_) if is_wanted => continue,
            Change::Ends(error) => {
                ended.insert(name);
                let lost = commit.tables.get(name).and_then(|is| is.misses(schema));
                Change::Ends(match lost {
                    Some(column) => error.clone().at_column(column),
                    None => error.clone(),
                })
            }
            Change::Rows { rows, weights } => {
                // A column more is in rows of a commit that adds it.
                let now = commit.tables.get(name).unwrap_or(was);
                let rows = now.project(rows, schema)?;
                let has_key = |key: &Vec<String>| {
                    !key.is_empty() && key.iter().all(|column| schema.index_of(column).is_ok())
                };
                match image != Image::Whole && has_key(&was.primary_key) {
                    true => {
                        let is_difference = image == Image::Difference;
                        by_key(&was.primary_key, &rows, weights, is_difference)?
                    }
                    false => {
                        let weights = weights.clone();
                        Change::Rows { rows, weights }
                    }
                }
            }
            change => change.clone(),
        };
        changes.push((table.clone(), change));
    }
    Ok(changes)
}

/// Whether a commit ends a table: nothing more comes of it.
fn ends(changes: &[(TableRef, Change)], table: &TableRef) -> bool {
    let mut changes = changes.iter();
    changes.any(|(of, change)| of == table && matches!(change, Change::Ends(_)))
}

fn in_pieces(
    changes: Vec<(TableRef, Change)>,
    end: Position,
    most: usize,
) -> VecDeque<Transaction> {
    let pieces = changes.into_iter().flat_map(|(table, change)| {
        let pieces = pieces(change, most).into_iter();
        pieces.map(move |piece| Transaction {
            changes: vec![(table.clone(), piece)],
            end: None,
        })
    });
    let mut all: VecDeque<_> = pieces.collect();
    if all.is_empty() {
        let changes = Vec::new();
        all.push_back(Transaction { changes, end: None });
    }
    if let Some(last) = all.back_mut() {
        last.end = Some(end);
    }
    all
}

#[async_trait]
impl ChangeStream for LogStream {
    async fn next(&mut self) -> Result<Transaction> {
        loop {
            // What happens from here on is seen below, or wakes.
            self.events.mark_unchanged();
            if let Some(transaction) = self.ready()? {
                return Ok(transaction);
            }
            if self.events.changed().await.is_err() {
                return Err(self.cut());
            }
        }
    }

    async fn acknowledge(&mut self, position: &Position) -> Result<()> {
        self.check()?;
        let mut state = self.source.state();
        let fault = match state.fault {
            LogFault::AcknowledgeLost | LogFault::AcknowledgeUnheard => {
                std::mem::take(&mut state.fault)
            }
            _ => LogFault::None,
        };
        if !matches!(fault, LogFault::AcknowledgeLost) {
            state.log.number(position)?;
            state.acknowledged = Some(position.clone());
        }
        match fault {
            LogFault::None => Ok(()),
            _ => Err(self.cut()),
        }
    }
}
