//! Looks at a source's tables, one after the other.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Captured, Change, ChangeStream, Code, Error, Fragment, Position, Rel, Result,
    ScanRequest, Snapshot, Source, TableRef, Transaction,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::seen::{Found, Seen};

/// Rows of a batch that is asked for.
const BATCH_ROWS: usize = 8192;

/// What all streams and snapshots of a source share.
#[derive(Debug)]
pub(super) struct Looks {
    source: Arc<dyn Source>,
    interval: Duration,
    timeline: [u8; 16],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the look or the snapshot that began last.
    last: u64,
    /// Of the look that was given last.
    given: u64,
    /// The stream that may read: the one that was asked for last.
    reader: u64,
    /// What tables have, whose snapshots were read to the end.
    tables: HashMap<TableRef, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    /// The snapshot's number: looks that began before it say nothing of the table.
    since: u64,
    seen: Arc<Mutex<Seen>>,
}

/// What a look has found in all tables.
struct Looked {
    number: u64,
    changes: Vec<(TableRef, Change)>,
    notes: Vec<(Arc<Mutex<Seen>>, Found)>,
    ended: Vec<TableRef>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Looks {
    pub(super) fn new(source: Arc<dyn Source>, interval: Duration) -> Self {
        Self {
            source,
            interval,
            timeline: fastrand::u128(..).to_be_bytes(),
            state: Mutex::default(),
        }
    }

    fn position(&self, number: u64) -> Position {
        Position::new(self.timeline, number.to_be_bytes())
    }

    /// That of the next look, which will have all that is there now. One that is under way may not.
    pub(super) fn next(&self) -> Position {
        self.position(locked(&self.state).last + 1)
    }

    fn begin(&self) -> u64 {
        let mut state = locked(&self.state);
        state.last += 1;
        state.last
    }

    /// The number of a position from which changes are known.
    fn number(&self, from: &Position) -> Result<u64> {
        let state = locked(&self.state);
        let place: Option<[u8; 8]> = from.place().try_into().ok();
        let number = place
            .map(u64::from_be_bytes)
            .filter(|number| *number <= state.last);
        match number {
            Some(number) if from.timeline() == self.timeline && number >= state.given => Ok(number),
            Some(_) if from.timeline() == self.timeline => Err(Error::new(
                Code::LogTruncated,
                "what a table had at that look is not known any more",
            )),
            _ => Err(Error::new(
                Code::LogRewound,
                "what tables had was seen by another process: looks are forgotten with it",
            )),
        }
    }

    async fn scan(&self, captured: &Captured) -> Result<BatchStream> {
        let fragment = Fragment::new(Rel::Scan {
            table: captured.table.clone(),
            schema: captured.schema.clone(),
        });
        let request = ScanRequest {
            fragment: Arc::new(fragment),
            partitions: 1,
            batch_rows: BATCH_ROWS,
            deadline: None,
        };
        let streams = self.source.scan(request).await?;
        Ok(futures::stream::iter(streams).flatten().boxed())
    }

    /// Of each table the rows, which are what the next look is compared with once they were read to the end.
    pub(super) async fn snapshot(self: &Arc<Self>, tables: &[Captured]) -> Result<Snapshot> {
        let number = self.begin();
        let position = self.position(number);
        let mut streams = Vec::new();
        for captured in tables {
            let seen = Seen::new(captured.clone())?;
            let rows = self.scan(captured).await?;
            let reading = Reading {
                number,
                seen,
                rows,
                looks: self.clone(),
            };
            let rows = futures::stream::try_unfold(reading, Reading::next).boxed();
            streams.push((captured.table.clone(), rows));
        }
        Ok(Snapshot { position, streams })
    }

    async fn look(self: Arc<Self>, tables: Vec<Captured>) -> Result<Looked> {
        let mut looked = Looked {
            number: self.begin(),
            changes: Vec::new(),
            notes: Vec::new(),
            ended: Vec::new(),
        };
        for captured in tables {
            let known = locked(&self.state).tables.get(&captured.table).cloned();
            // Else it is being copied, or has ended.
            let Some(Known { seen, .. }) = known.filter(|known| known.since < looked.number) else {
                continue;
            };
            if *locked(&seen).captured() != captured {
                let message = "what a table had at the last look is known of other columns than are wanted now";
                return Err(Error::new(Code::LogTruncated, message).at_table(&captured.table.name));
            }
            match self.compare(&captured, &seen).await {
                Ok(mut found) => {
                    let change = found.change.take();
                    looked
                        .changes
                        .extend(change.map(|change| (captured.table.clone(), change)));
                    looked.notes.push((seen, found));
                }
                Err(e) if matches!(e.code, Code::TableMissing | Code::SchemaChanged) => {
                    let ends = Change::Ends(e);
                    looked.changes.push((captured.table.clone(), ends));
                    looked.ended.push(captured.table);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(looked)
    }

    async fn compare(&self, captured: &Captured, seen: &Mutex<Seen>) -> Result<Found> {
        let mut look = locked(seen).look();
        let mut rows = self.scan(captured).await?;
        while let Some(rows) = rows.try_next().await? {
            locked(seen).see(&mut look, &rows)?;
        }
        locked(seen).found(look)
    }

    /// A look is given: it is what the next one is compared with.
    fn give(&self, looked: Looked) -> Transaction {
        let mut state = locked(&self.state);
        for (seen, found) in looked.notes {
            let table = locked(&seen).captured().table.clone();
            // Unless it was copied anew meanwhile: what was found is of before, and its reader does not miss it.
            if (state.tables.get(&table)).is_some_and(|now| Arc::ptr_eq(&now.seen, &seen)) {
                locked(&seen).note(found);
            }
        }
        for table in &looked.ended {
            state.tables.remove(table);
        }
        state.given = looked.number;
        Transaction {
            changes: looked.changes,
            end: Some(self.position(looked.number)),
        }
    }
}

/// A table's rows, of which it is noted on the way what there is.
struct Reading {
    number: u64,
    seen: Seen,
    rows: BatchStream,
    looks: Arc<Looks>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        match self.rows.try_next().await? {
            Some(rows) => {
                self.seen.add(&rows)?;
                Ok(Some((rows, self)))
            }
            None => {
                let table = self.seen.captured().table.clone();
                let known = Known {
                    since: self.number,
                    seen: Arc::new(Mutex::new(self.seen)),
                };
                locked(&self.looks.state).tables.insert(table, known);
                Ok(None)
            }
        }
    }
}

/// What each look finds, from the next one on.
pub(super) struct Stream {
    looks: Arc<Looks>,
    tables: Vec<Captured>,
    reader: u64,
    due: Instant,
    /// Under way, also when nobody waits for it.
    looking: Option<BoxFuture<'static, Result<Looked>>>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.tables)
    }
}

impl Stream {
    /// # Errors
    /// If changes from there are not known.
    pub(super) fn new(looks: Arc<Looks>, from: &Position, tables: Vec<Captured>) -> Result<Self> {
        looks.number(from)?;
        let mut state = locked(&looks.state);
        state.reader += 1;
        let reader = state.reader;
        drop(state);
        Ok(Self {
            due: Instant::now() + looks.interval,
            looks,
            tables,
            reader,
            looking: None,
        })
    }

    fn check(&self) -> Result<()> {
        match locked(&self.looks.state).reader == self.reader {
            true => Ok(()),
            false => Err(Error::new(Code::Cancelled, "another stream was asked for")),
        }
    }
}

#[async_trait]
impl ChangeStream for Stream {
    async fn next(&mut self) -> Result<Transaction> {
        self.check()?;
        if self.looking.is_none() {
            tokio::time::sleep_until(self.due).await;
            self.check()?;
            self.due = Instant::now() + self.looks.interval;
            let look = self.looks.clone().look(self.tables.clone());
            self.looking = Some(look.boxed());
        }
        let Some(looking) = &mut self.looking else {
            return Err(Error::internal("no look is under way"));
        };
        let looked = looking.await;
        self.looking = None;
        self.check()?;
        Ok(self.looks.give(looked?))
    }

    async fn acknowledge(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
}
