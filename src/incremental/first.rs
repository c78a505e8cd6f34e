//! The first rows of an order.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use super::dataflow::{Epoch, Operator, Sink};
use super::reading::taken;
use super::relation::Relation;
use super::whole::Whole;
use crate::store::{ZSet, batch, bytes_of};

/// Rows that are kept beyond those asked for: so many may go before all of the input is read again.
const SPARE: usize = 64;

/// The first rows of an input by an order. Some more than these are kept, so that a change is compared with them alone: a
/// row behind the last of them does not matter, and if one of them goes there are others.
#[derive(Debug)]
pub(super) struct First {
    input: Relation,
    /// Sorts the input's columns, with a mark behind them.
    sorted: Whole,
    /// Which of them are given: so many are skipped, then so many taken.
    skip: usize,
    fetch: usize,
    /// In order. No other row comes before the last of them.
    kept: RecordBatch,
    /// Whether they are all that the input has.
    is_all: bool,
}

impl First {
    pub(super) fn new(input: Relation, sorted: Whole, skip: usize, fetch: usize) -> Self {
        Self {
            kept: RecordBatch::new_empty(input.reading.schema().clone()),
            is_all: true,
            input,
            sorted,
            skip,
            fetch,
        }
    }

    fn schema(&self) -> &SchemaRef {
        self.input.reading.schema()
    }

    /// What is given of the rows that are kept.
    fn given(&self) -> RecordBatch {
        let rows = self.kept.num_rows();
        let skip = self.skip.min(rows);
        self.kept.slice(skip, self.fetch.min(rows - skip))
    }

    /// Keep so many of these rows, which are in order, and others, which are not, as are known to be the first.
    fn keep(&mut self, rows: RecordBatch, others: RecordBatch) -> Result<()> {
        let marks = (0..rows.num_rows()).map(|_| true);
        let marks: BooleanArray = marks
            .chain((0..others.num_rows()).map(|_| false))
            .map(Some)
            .collect();
        let all = concat_batches(self.schema(), [&rows, &others])?;
        let mut columns = all.columns().to_vec();
        columns.push(Arc::new(marks));
        let marked = self.sorted.schema();
        let sorted = self
            .sorted
            .run(&[batch(marked, columns, all.num_rows())?])?;
        let sorted = concat_batches(marked, &sorted)?;
        let marks = sorted.column(sorted.num_columns() - 1).as_boolean();
        // What comes behind the last that was kept may come behind others, too.
        let known = match self.is_all {
            true => marks.len(),
            false => (0..marks.len())
                .rfind(|&i| marks.value(i))
                .map_or(0, |last| last + 1),
        };
        let most = (self.skip + self.fetch) * 2 + SPARE;
        self.is_all &= known <= most;
        let columns: Vec<usize> = (0..sorted.num_columns() - 1).collect();
        let kept = sorted.project(&columns)?.slice(0, known.min(most));
        self.kept = batch(self.schema(), kept.columns().to_vec(), kept.num_rows())?;
        Ok(())
    }

    fn change(&mut self, change: &ZSet) -> Result<()> {
        let split = |sign: i64| {
            let rows = (0..)
                .zip(change.weights())
                .filter(|(_, w)| w.signum() == sign);
            let repeated =
                rows.flat_map(|(i, w)| std::iter::repeat_n(i, w.unsigned_abs() as usize));
            taken(change.rows(), repeated.collect())
        };
        let (comes, goes) = (split(1)?, split(-1)?);
        if goes.num_rows() == 0 {
            return self.keep(self.kept.clone(), comes);
        }
        let weights = vec![-1; goes.num_rows()];
        let both = [ZSet::inserts(self.kept.clone()), ZSet::new(goes, weights)?];
        let left = ZSet::concat(self.schema(), &both)?.consolidated()?;
        // What goes and is not kept was behind what is.
        let rows = (0..).zip(left.weights()).filter(|(_, weight)| **weight > 0);
        let repeated = rows.flat_map(|(i, weight)| std::iter::repeat_n(i, *weight as usize));
        let left = taken(left.rows(), repeated.collect())?;
        self.keep(left, comes)
    }
}

impl Operator for First {
    fn schema(&self) -> &SchemaRef {
        self.schema()
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let moves = self.input.step(epoch)?;
        if moves.change.is_empty() {
            return Ok(());
        }
        let before = self.given();
        let change = ZSet::concat(self.schema(), &moves.change)?.consolidated()?;
        self.change(&change)?;
        if !self.is_all && self.kept.num_rows() < self.skip + self.fetch {
            let positions: Vec<u32> = moves.after.positions().collect();
            let rows = self.input.rows(&moves.after, &positions)?;
            self.is_all = true;
            let none = RecordBatch::new_empty(self.schema().clone());
            self.keep(none, rows)?;
        }
        let weights = vec![-1; before.num_rows()];
        let both = [ZSet::inserts(self.given()), ZSet::new(before, weights)?];
        out(ZSet::concat(self.schema(), &both)?.consolidated()?)
    }

    fn bytes(&self) -> usize {
        self.input.bytes() + bytes_of(&self.kept)
    }
}
