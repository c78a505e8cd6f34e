//! Who is told what changes in a view.
//!
//! *It owns* a subscriber's place and what he is told from there. The central type is [`Subscription`]: rows as they are, unless he
//! comes with a [`Cursor`], then each change. Out flow batches, in which an epoch's rows stand together, and behind them a row that
//! says that these are all, and where to go on.
//!
//! A view that is kept by change has a journal; one that is computed anew has versions, and what changes is the difference of two.
//! Nothing is kept for a subscriber but that: one who takes nothing holds up nobody.
//!
//! | file | owns |
//! |---|---|
//! | `cursor.rs` | [`Cursor`]: a place, as a text |
//! | `told.rs` | columns and batches |
//! | `subscribers.rs` | [`Subscribers`]: who subscribes now |
//! | `versions.rs` | what has changed between versions |
//! | `asked.rs` | queries that are kept while somebody subscribes to them |

mod asked;
mod cursor;
mod subscribers;
mod told;
mod versions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

pub use asked::{ASKED, Asked, AskedQuery};
pub use cursor::Cursor;
pub use subscribers::{Progress, Subscribers};
pub use told::columns;

use self::subscribers::Seat;
use self::told::Piece;
use self::versions::Versioned;
use super::journal::{Ended, Journal, Reader, Refused, Step};
use super::marks::At;
use super::shelf::{Content, State};
use super::{Views, reading};
use crate::catalog::ObjectId;
use crate::error::{Error, Result, SubscriptionEnd};
use crate::store::ZSet;

/// Rows that are told at once, unless an epoch has more.
const ROWS: usize = 32 * 1024;
/// How often somebody is told that nothing has changed.
const SAME: Duration = Duration::from_secs(1);
/// How long until a view that cannot be read yet is looked at again.
const PAUSE: Duration = Duration::from_millis(10);

/// What is subscribed to, and by whom.
#[derive(Clone, Debug)]
pub struct Order {
    pub view: ObjectId,
    /// What errors call it: `view v`, `the query`.
    pub called: String,
    /// The columns that are told.
    pub schema: SchemaRef,
    /// Where to go on. None: from now on.
    pub cursor: Option<Cursor>,
    /// Begin with the rows as they are.
    pub snapshot: bool,
    /// The session that asks.
    pub asker: u64,
    pub sql: String,
}

/// Changes of a view, as they come.
#[derive(Debug)]
pub struct Subscription {
    seat: Seat,
    log: Log,
    opening: Option<Opening>,
    ready: VecDeque<(RecordBatch, Progress)>,
    /// The last that was told, or is ready.
    progress: Progress,
    /// When how far things are was last told.
    last: Instant,
}

/// Where changes come from.
#[derive(Debug)]
enum Log {
    Journal(Reader),
    Versions(Versioned),
}

/// What is told first.
#[derive(Debug)]
struct Opening {
    /// As they are; none where a cursor goes on.
    rows: Option<Content>,
    part: usize,
    /// The row behind them.
    end: Piece,
}

impl Views {
    /// Tell what changes in a view, once it can be read.
    ///
    /// # Errors
    /// If it is gone, cannot be filled or read; if what has changed since the cursor is not known.
    pub async fn subscribe(self: &Arc<Self>, order: Order) -> Result<Subscription> {
        let mut watch = self.shelves().watch();
        loop {
            let shown = watch.borrow_and_update().get(&order.view).cloned();
            let Some(shown) = shown else {
                return Err(ended(&order, &Ended::Gone));
            };
            let begun = match (&shown.content, &shown.state) {
                // One that is kept by change has such rows where it had stopped before the engine began.
                (Some(Content::Rows(version)), _) if self.is_recomputed(&order.view) => {
                    let generation = shown.generation;
                    let (versioned, opening) = Versioned::begin(self, &order, generation, version)?;
                    Some((Log::Versions(versioned), opening))
                }
                (None, State::Blocked { reason } | State::Failed { reason }) => {
                    return Err(reading::never_filled(&order.view, reason));
                }
                (None, State::Paused { reason }) => {
                    return Err(reading::no_room(&order.view, reason));
                }
                // Nobody is told what is older than what may have been seen.
                _ if shown.is_behind && order.cursor.is_none() => None,
                (_, state) => match (&shown.journal, state) {
                    (Some(journal), _) => begin(journal, &order)?,
                    (None, State::Blocked { reason }) => {
                        return Err(ended(&order, &Ended::Blocked(reason.clone())));
                    }
                    (None, _) => None,
                },
            };
            if let Some((log, opening)) = begun {
                let journal = match &log {
                    Log::Journal(reader) => Some(reader.journal().clone()),
                    Log::Versions(_) => None,
                };
                return Ok(Subscription {
                    seat: self.subscribers.seat(order, journal),
                    log,
                    opening: Some(opening),
                    ready: VecDeque::new(),
                    progress: Progress::default(),
                    last: Instant::now(),
                });
            }
            let _ = tokio::time::timeout(PAUSE, watch.changed()).await;
        }
    }
}

/// None: it cannot be said yet.
fn begin(journal: &Arc<Journal>, order: &Order) -> Result<Option<(Log, Opening)>> {
    let Some(cursor) = &order.cursor else {
        return match journal.all() {
            Ok((reader, rows, at)) => {
                let opening = Opening {
                    rows: order.snapshot.then_some(Content::Table(rows)),
                    part: 0,
                    end: end(journal, &at),
                };
                Ok(Some((Log::Journal(reader), opening)))
            }
            Err(Step::Failing(reason)) => Err(failing(order, &reason)),
            // It is begun anew, or about to leave the shelf.
            Err(Step::Ended(Ended::Gone)) => Ok(None),
            Err(Step::Ended(why)) => Err(ended(order, &why)),
            Err(_) => Ok(None),
        };
    };
    if cursor.origin != journal.origin {
        return Err(foreign(order));
    }
    match journal.behind(cursor.epoch, cursor.mark) {
        Ok(reader) => Ok(Some((Log::Journal(reader), Opening::at(cursor)))),
        Err(Refused::NotYet) => Ok(None),
        Err(Refused::Expired) => Err(expired(order, "retain")),
        Err(Refused::Foreign) => Err(foreign(order)),
    }
}

impl Opening {
    /// Of one who goes on.
    fn at(cursor: &Cursor) -> Self {
        Self {
            rows: None,
            part: 0,
            end: Piece::End {
                epoch: cursor.epoch,
                cursor: cursor.to_string(),
                positions: None,
            },
        }
    }
}

impl Subscription {
    /// What comes next, waited for. Cancel safe.
    ///
    /// # Errors
    /// Why nothing more comes: the view is gone or cannot be read, or this one was too slow.
    pub async fn next(&mut self) -> Result<RecordBatch> {
        loop {
            if let Some((batch, progress)) = self.ready.pop_front() {
                self.seat.told(progress);
                return Ok(batch);
            }
            let told = match self.opening.take() {
                Some(opening) => self.open(opening)?,
                None => self.step()?,
            };
            if told.is_empty() {
                let wait = SAME.saturating_sub(self.last.elapsed());
                let wait = wait.max(Duration::from_millis(1));
                let changed = async {
                    match &mut self.log {
                        Log::Journal(reader) => reader.changed().await,
                        Log::Versions(versioned) => versioned.changed().await,
                    }
                };
                let _ = tokio::time::timeout(wait, changed).await;
            }
            self.prepare(told)?;
        }
    }

    /// Some of the rows that are there at first, and what is behind them.
    fn open(&mut self, mut opening: Opening) -> Result<Vec<Piece>> {
        let parts = match &opening.rows {
            Some(Content::Table(table)) => table.part_count(),
            Some(Content::Rows(version)) => version.rows.batch_count(),
            None => 0,
        };
        if opening.part == parts {
            return Ok(vec![opening.end]);
        }
        let rows = match &opening.rows {
            Some(Content::Table(table)) => {
                let columns: Vec<usize> = (0..table.shape().schema().fields().len()).collect();
                let rows = table.part(opening.part, &columns);
                rows.map_err(|e| Error::Internal(e.to_string()))?
            }
            Some(Content::Rows(version)) => {
                let rows = version.rows.batch(opening.part);
                rows.map_err(super::versions::not_stored)?
            }
            None => return Ok(vec![opening.end]),
        };
        let piece = Piece::Rows {
            epoch: opening.end.epoch(),
            change: ZSet::inserts(rows),
        };
        opening.part += 1;
        self.opening = Some(opening);
        Ok(vec![piece])
    }

    /// What has changed, if anything has; or once in a while, that nothing has.
    fn step(&mut self) -> Result<Vec<Piece>> {
        let order = &self.seat.order;
        let reader = match &mut self.log {
            Log::Journal(reader) => reader,
            Log::Versions(versioned) => return versioned.next(order),
        };
        let step = reader.next(ROWS);
        let step = step.map_err(|e| Error::Internal(format!("changes cannot be added up: {e}")))?;
        match step {
            Step::Changes(changes) => {
                let journal = reader.journal();
                let each = changes.into_iter().flat_map(|(change, at)| {
                    let epoch = at.epoch;
                    [Piece::Rows { epoch, change }, end(journal, &at)]
                });
                Ok(each.collect())
            }
            Step::Same(at) if self.last.elapsed() >= SAME => {
                reader.reached(at.epoch);
                Ok(vec![end(reader.journal(), &at)])
            }
            Step::Same(_) | Step::Wait => Ok(Vec::new()),
            Step::Failing(reason) => Err(failing(order, &reason)),
            Step::Late => Err(late(order)),
            Step::Ended(why) => Err(ended(order, &why)),
        }
    }

    /// Pieces as batches of some size.
    fn prepare(&mut self, pieces: Vec<Piece>) -> Result<()> {
        let (mut together, mut rows) = (Vec::new(), 0);
        for piece in pieces.into_iter().flat_map(|piece| piece.cut(ROWS)) {
            if rows > 0 && rows + piece.rows() > ROWS {
                self.make(&together)?;
                (together, rows) = (Vec::new(), 0);
            }
            rows += piece.rows();
            together.push(piece);
        }
        match together.is_empty() {
            true => Ok(()),
            false => self.make(&together),
        }
    }

    fn make(&mut self, pieces: &[Piece]) -> Result<()> {
        let batch = told::batch(&self.seat.order.schema, pieces);
        let batch = batch.map_err(|e| Error::Internal(format!("changes cannot be told: {e}")))?;
        for piece in pieces {
            match piece {
                Piece::Rows { change, .. } => self.progress.rows += change.len() as u64,
                Piece::End { epoch, .. } => self.progress.epoch = Some(*epoch),
            }
        }
        self.ready.push_back((batch, self.progress));
        self.last = Instant::now();
        Ok(())
    }
}

/// The row that ends an epoch.
fn end(journal: &Journal, at: &At) -> Piece {
    let cursor = Cursor {
        origin: journal.origin,
        epoch: at.epoch,
        mark: at.mark,
    };
    let position = |source: &String| Some(format!("{source}={}", at.positions.get(source)?));
    let positions: Vec<String> = journal.sources.iter().filter_map(position).collect();
    Piece::End {
        epoch: at.epoch,
        cursor: cursor.to_string(),
        positions: Some(positions.join(", ")),
    }
}

fn error(why: SubscriptionEnd, message: String, help: &str) -> Error {
    Error::Subscription {
        why,
        message,
        help: help.to_string(),
    }
}

/// `option`: what says how long changes are retained.
fn expired(order: &Order, option: &str) -> Error {
    error(
        SubscriptionEnd::CursorExpired,
        format!(
            "what has changed in {} since this cursor is not retained",
            order.called
        ),
        &format!(
            "Subscribe without a cursor, which begins with the rows as they are. A view's option {option} says how much is \
             retained"
        ),
    )
}

fn foreign(order: &Order) -> Error {
    error(
        SubscriptionEnd::CursorForeign,
        format!("the cursor is none of {} as it is now", order.called),
        "It is another's, another engine's, or the view was replaced since. Subscribe without a cursor, which begins with \
         the rows as they are",
    )
}

fn late(order: &Order) -> Error {
    error(
        SubscriptionEnd::TooSlow,
        format!(
            "the subscription to {} was too slow: more has changed than is kept for those who read it later",
            order.called
        ),
        "Subscribe again, without a cursor, and read faster",
    )
}

fn ended(order: &Order, why: &Ended) -> Error {
    let (message, help) = match why {
        Ended::Closed => return Error::Cancelled,
        Ended::Gone => (
            format!(
                "{} was dropped or replaced, or is computed anew",
                order.called
            ),
            "What there is now begins with other rows: subscribe again, without a cursor",
        ),
        Ended::Blocked(reason) => (
            format!(
                "{} is not brought up to date any more: {reason}",
                order.called
            ),
            "REFRESH MATERIALIZED VIEW … FULL begins it anew",
        ),
    };
    error(SubscriptionEnd::Gone, message, help)
}

/// What a read says, too.
fn failing(order: &Order, reason: &str) -> Error {
    Error::Data {
        message: format!(
            "{} cannot be read: {reason}. Once it can, its changes go on behind the last cursor that was told",
            order.called
        ),
        sqlstate: "22000",
    }
}
