//! What an operator looks rows up in: a table that is there already, or one that it fills itself.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result;

use super::dataflow::{Epoch, Operator};
use super::reading::{Reading, taken};
use crate::store::{Pinned, Shape, Table, ZSet};

/// Rows that change, and can be looked up before and after.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) reading: Reading,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// In a table of which the view is told what changes.
    Input(usize),
    /// Here, since no table has these rows.
    Own {
        from: Box<dyn Operator>,
        table: Box<Table>,
        epoch: u64,
    },
}

/// What an epoch does to a relation. The change has the columns that are read.
#[derive(Debug)]
pub(super) struct Moves {
    pub(super) before: Pinned,
    pub(super) after: Pinned,
    pub(super) change: Vec<ZSet>,
}

impl Relation {
    pub(super) fn input(number: usize, reading: Reading) -> Self {
        Self {
            reading,
            kept: Kept::Input(number),
        }
    }

    /// What an operator gives, kept so that it is found by each of some lists of columns.
    pub(super) fn own(from: Box<dyn Operator>, by: &[Vec<usize>]) -> Result<Self> {
        let mut shape = Shape::new("an intermediate result", from.schema().clone());
        for columns in by.iter().filter(|columns| !columns.is_empty()) {
            if shape.index_on(columns).is_none() {
                shape = shape.with_index(columns);
            }
        }
        let table = Box::new(Table::new(shape));
        Ok(Self {
            reading: Reading::whole(table.shape().clone())?,
            kept: Kept::Own {
                from,
                table,
                epoch: 0,
            },
        })
    }

    /// Take an epoch over.
    ///
    /// # Errors
    /// Those of what fills the relation.
    pub(super) fn step(&mut self, epoch: &Epoch) -> Result<Moves> {
        let moves = self.changes(epoch)?;
        epoch.took(self.rows_taken(epoch));
        Ok(moves)
    }

    /// How many rows of an input it takes in an epoch.
    pub(super) fn rows_taken(&self, epoch: &Epoch) -> u64 {
        match self.kept {
            Kept::Input(number) => {
                let change = epoch.inputs[number].change.as_ref();
                change.map_or(0, |change| change.len() as u64)
            }
            Kept::Own { .. } => 0,
        }
    }

    /// The same, of which its caller says how far it is.
    pub(super) fn changes(&mut self, epoch: &Epoch) -> Result<Moves> {
        match &mut self.kept {
            Kept::Input(number) => {
                let moved = &epoch.inputs[*number];
                let changed = moved.change.iter().filter(|change| !change.is_empty());
                let failed = &mut |message, weight| epoch.failed(message, weight);
                let read = changed.map(|change| self.reading.change(change, failed));
                Ok(Moves {
                    before: moved.before.clone(),
                    after: moved.after.clone(),
                    change: read.collect::<Result<_>>()?,
                })
            }
            Kept::Own {
                from,
                table,
                epoch: at,
            } => {
                let before = table.snapshot();
                let mut change = Vec::new();
                from.step(epoch, &mut |piece| {
                    epoch.takes(piece.bytes())?;
                    change.push(piece);
                    Ok(())
                })?;
                let only_comes = |piece: &ZSet| piece.weights().iter().all(|weight| *weight > 0);
                // Otherwise a piece may take away what comes with another.
                if change.len() > 1 && !change.iter().all(only_comes) {
                    change = vec![ZSet::concat(from.schema(), &change)?.consolidated()?];
                }
                change.retain(|piece| !piece.is_empty());
                for piece in &change {
                    *at += 1;
                    table.apply(*at, piece)?;
                }
                let moved: usize = change.iter().map(ZSet::len).sum();
                table.compact(moved)?;
                Ok(Moves {
                    before,
                    after: table.snapshot(),
                    change,
                })
            }
        }
    }

    /// The rows at some positions, each as often as it is there.
    pub(super) fn rows(&self, at: &Pinned, positions: &[u32]) -> Result<RecordBatch> {
        let (rows, numbers) = self.reading.rows(at, positions)?;
        let Some(counts) = at.counts(positions)? else {
            return Ok(rows);
        };
        let counts = numbers.iter().map(|&i| counts.value(i as usize));
        if counts.clone().all(|count| count == 1) {
            return Ok(rows);
        }
        let repeated = (0..).zip(counts);
        let repeated = repeated.flat_map(|(i, count)| std::iter::repeat_n(i, count as usize));
        taken(&rows, repeated.collect())
    }

    /// What is kept here.
    pub(super) fn bytes(&self) -> usize {
        match &self.kept {
            Kept::Input(_) => 0,
            Kept::Own { from, table, .. } => from.bytes() + table.snapshot().bytes(),
        }
    }

    pub(super) fn shape(&self) -> &Arc<Shape> {
        &self.reading.shape
    }
}
