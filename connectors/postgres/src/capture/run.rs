//! Changes gathered: of one table as long as there are no others between, and of a transaction up to a bound.

use std::sync::Arc;

use belvedere_connector::{Change, Error, Kind, Result, TableRef, Transaction};

use super::asked;
use super::layout::{Old, Shape};
use super::message::{Tuple, malformed};
use super::rows::{Rows, RowsBuilder};
use crate::pool::Pool;

/// A piece is told with so many rows, or bytes of values.
const MOST_ROWS: usize = 8192;
const MOST_BYTES: usize = 8 << 20;

/// A piece of a transaction. Tables are known by number.
#[derive(Default)]
pub struct Piece {
    changes: Vec<(usize, Draft)>,
    run: Option<(usize, Run)>,
    rows: usize,
    bytes: usize,
}

/// Changes of one table.
struct Run {
    shape: Arc<Shape>,
    rows: RowsBuilder,
    old: OldRows,
}

enum OldRows {
    /// Rows come, and go if they are there whole.
    Weights(Vec<i64>),
    /// Rows go by their keys. Of which another one comes.
    Keys(RowsBuilder, Vec<bool>),
}

/// A change, of which some values are still to be read.
pub enum Draft {
    Rows {
        rows: Rows,
        weights: Vec<i64>,
    },
    ByKey {
        keys: Rows,
        rows: Rows,
        is_there: Vec<bool>,
    },
    Truncate,
    Ends(Error),
}

impl Piece {
    pub fn is_full(&self) -> bool {
        let (rows, bytes) = match &self.run {
            Some((_, run)) => run.size(),
            None => (0, 0),
        };
        self.rows + rows >= MOST_ROWS || self.bytes + bytes >= MOST_BYTES
    }

    /// # Errors
    /// As [`RowsBuilder::push`]: the run is of no use then, see [`Piece::end`].
    pub fn insert(&mut self, table: usize, shape: &Arc<Shape>, new: &Tuple) -> Result<()> {
        let run = self.run(table, shape, false);
        run.rows.push(new, None)?;
        match &mut run.old {
            OldRows::Weights(weights) => weights.push(1),
            OldRows::Keys(keys, is_there) => {
                keys.push(new, None)?;
                is_there.push(true);
            }
        }
        Ok(())
    }

    /// # Errors
    /// As [`Piece::insert`].
    pub fn update(
        &mut self,
        table: usize,
        shape: &Arc<Shape>,
        old: Option<&Tuple>,
        new: &Tuple,
    ) -> Result<()> {
        let run = self.run(table, shape, true);
        match &mut run.old {
            OldRows::Weights(weights) => {
                run.rows.push(old.ok_or_else(malformed)?, None)?;
                weights.extend([-1, 1]);
            }
            OldRows::Keys(keys, is_there) => {
                keys.push(old.unwrap_or(new), None)?;
                is_there.push(true);
            }
        }
        run.rows.push(new, old.map(Vec::as_slice))
    }

    /// # Errors
    /// As [`Piece::insert`].
    pub fn delete(&mut self, table: usize, shape: &Arc<Shape>, old: &Tuple) -> Result<()> {
        let run = self.run(table, shape, true);
        match &mut run.old {
            OldRows::Weights(weights) => {
                run.rows.push(old, None)?;
                weights.push(-1);
            }
            OldRows::Keys(keys, is_there) => {
                keys.push(old, None)?;
                is_there.push(false);
            }
        }
        Ok(())
    }

    pub fn truncate(&mut self, table: usize) {
        self.finish_run();
        self.changes.push((table, Draft::Truncate));
    }

    /// A table's changes end here: what it had in this transaction counts for nothing.
    pub fn end(&mut self, table: usize, why: Error) {
        if self.run.as_ref().is_some_and(|(of, _)| *of == table) {
            self.run = None;
        }
        self.finish_run();
        self.changes.push((table, Draft::Ends(why)));
    }

    /// The run that takes the next row of a table. `names_old`: that row has an old one.
    fn run(&mut self, table: usize, shape: &Arc<Shape>, names_old: bool) -> &mut Run {
        let fits = |run: &Run| match (&run.old, &shape.old) {
            (OldRows::Weights(_), Old::Key(_)) => !names_old,
            _ => true,
        };
        let is_of =
            |(of, run): &(usize, Run)| *of == table && Arc::ptr_eq(&run.shape, shape) && fits(run);
        if !self.run.as_ref().is_some_and(is_of) {
            self.finish_run();
        }
        let new = || {
            let old = match &shape.old {
                Old::Key(keys) if names_old => {
                    OldRows::Keys(RowsBuilder::new(keys.clone()), Vec::new())
                }
                // Rows that only come need no look at what there is.
                _ => OldRows::Weights(Vec::new()),
            };
            let rows = RowsBuilder::new(shape.rows.clone());
            let shape = shape.clone();
            (table, Run { shape, rows, old })
        };
        &mut self.run.get_or_insert_with(new).1
    }

    /// Before something else comes, or the table has another shape.
    pub fn finish_run(&mut self) {
        let Some((table, run)) = self.run.take() else {
            return;
        };
        let (rows, bytes) = run.size();
        self.rows += rows;
        self.bytes += bytes;
        let draft = match run.old {
            OldRows::Weights(weights) => Draft::Rows {
                rows: run.rows.finish(),
                weights,
            },
            OldRows::Keys(keys, is_there) => Draft::ByKey {
                keys: keys.finish(),
                rows: run.rows.finish(),
                is_there,
            },
        };
        self.changes.push((table, draft));
    }

    /// What has been gathered; it is empty then.
    pub fn take(&mut self) -> Vec<(usize, Draft)> {
        self.finish_run();
        std::mem::take(self).changes
    }
}

impl Run {
    fn size(&self) -> (usize, usize) {
        match &self.old {
            OldRows::Weights(_) => (self.rows.len(), self.rows.bytes),
            OldRows::Keys(keys, _) => (keys.len(), self.rows.bytes + keys.bytes),
        }
    }
}

impl Draft {
    pub fn is_read(&self) -> bool {
        match self {
            Self::Rows { rows, .. } => rows.is_read(),
            Self::ByKey { keys, rows, .. } => keys.is_read() && rows.is_read(),
            Self::Truncate | Self::Ends(_) => true,
        }
    }

    /// With all values read.
    async fn read(self, pool: &Arc<Pool>) -> Result<Self> {
        Ok(match self {
            Self::Rows { rows, weights } => Self::Rows {
                rows: asked::read(pool, rows).await?,
                weights,
            },
            Self::ByKey {
                keys,
                rows,
                is_there,
            } => Self::ByKey {
                keys: asked::read(pool, keys).await?,
                rows: asked::read(pool, rows).await?,
                is_there,
            },
            done => done,
        })
    }

    fn change(self) -> Result<Change> {
        Ok(match self {
            Self::Rows { rows, weights } => match rows.batch()? {
                (rows, unchanged) if unchanged.is_empty() => Change::Rows { rows, weights },
                _ => return Err(malformed()),
            },
            Self::ByKey {
                keys,
                rows,
                is_there,
            } => {
                let (rows, unchanged) = rows.batch()?;
                match keys.batch()? {
                    (keys, none) if none.is_empty() => Change::ByKey {
                        keys,
                        rows,
                        is_there,
                        unchanged,
                    },
                    _ => return Err(malformed()),
                }
            }
            Self::Truncate => Change::Truncate,
            Self::Ends(e) => Change::Ends(e),
        })
    }
}

/// Changes as they are told; and tables that end by what was found in reading them.
pub struct Told {
    pub transaction: Transaction,
    pub ended: Vec<usize>,
}

/// Drafts of which all values are read, as a transaction's piece.
///
/// # Errors
/// If they are not of this protocol.
pub fn told(
    tables: &[TableRef],
    drafts: Vec<(usize, Draft)>,
    end: Option<belvedere_connector::Position>,
) -> Result<Transaction> {
    let changes = drafts.into_iter().map(|(table, draft)| {
        let change = draft.change()?;
        Ok((tables[table].clone(), change))
    });
    let changes = changes.collect::<Result<_>>()?;
    Ok(Transaction { changes, end })
}

/// The same, of which the server is to write some values.
///
/// # Errors
/// The connection's. What cannot be read of a table ends that table.
pub async fn read(
    pool: Arc<Pool>,
    tables: Arc<[TableRef]>,
    drafts: Vec<(usize, Draft)>,
    end: Option<belvedere_connector::Position>,
) -> Result<Told> {
    let (mut all, mut ended) = (Vec::with_capacity(drafts.len()), Vec::new());
    for (table, draft) in drafts {
        if ended.contains(&table) {
            continue;
        }
        match draft.read(&pool).await {
            Ok(draft) => all.push((table, draft)),
            Err(e) if e.kind() == Kind::Definite => {
                let e = e.at_source(&pool.settings.source);
                all.push((table, Draft::Ends(e)));
                ended.push(table);
            }
            Err(e) => return Err(e),
        }
    }
    let transaction = told(&tables, all, end)?;
    Ok(Told { transaction, ended })
}
