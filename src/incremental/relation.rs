//! What an operator looks rows up in: a table that is there already, or one that it fills itself.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};

use super::dataflow::{Epoch, Operator};
use super::reading::{Reading, taken};
use super::shared::Shared;
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
    Own(SharedOwn),
}

/// What an operator gives, kept in a table.
#[derive(Debug)]
pub(super) struct Own {
    from: Box<dyn Operator>,
    table: Table,
    epoch: u64,
}

pub(super) type SharedOwn = Shared<Own, Moves>;

/// What an epoch does to a relation. The change has the columns that are read.
#[derive(Clone, Debug)]
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

    /// What is kept of an operator, found by each of some lists of columns.
    pub(super) fn own(own: SharedOwn, by: &[Vec<usize>]) -> Result<Self> {
        let shape = own.with(|own| {
            for columns in by.iter().filter(|columns| !columns.is_empty()) {
                own.table.add_index(columns)?;
            }
            Ok::<_, DataFusionError>(own.table.shape().clone())
        })?;
        Ok(Self {
            reading: Reading::whole(shape)?,
            kept: Kept::Own(own),
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
            Kept::Own(_) => 0,
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
            Kept::Own(own) => own.given(|own| own.step(epoch)),
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
            Kept::Own(own) => own.bytes(|own| own.from.bytes() + own.table.snapshot().bytes()),
        }
    }

    pub(super) fn shape(&self) -> &Arc<Shape> {
        &self.reading.shape
    }
}

impl Own {
    pub(super) fn new(from: Box<dyn Operator>) -> Self {
        let shape = Shape::new("an intermediate result", from.schema().clone());
        Self {
            from,
            table: Table::new(shape),
            epoch: 0,
        }
    }

    fn step(&mut self, epoch: &Epoch) -> Result<Moves> {
        let before = self.table.snapshot();
        let mut change = Vec::new();
        self.from.step(epoch, &mut |piece| {
            epoch.takes(piece.bytes())?;
            change.push(piece);
            Ok(())
        })?;
        let only_comes = |piece: &ZSet| piece.weights().iter().all(|weight| *weight > 0);
        // Otherwise a piece may take away what comes with another.
        if change.len() > 1 && !change.iter().all(only_comes) {
            change = vec![ZSet::concat(self.from.schema(), &change)?.consolidated()?];
        }
        change.retain(|piece| !piece.is_empty());
        for piece in &change {
            self.epoch += 1;
            self.table.apply(self.epoch, piece)?;
        }
        let moved: usize = change.iter().map(ZSet::len).sum();
        self.table.compact(moved)?;
        Ok(Moves {
            before,
            after: self.table.snapshot(),
            change,
        })
    }
}
