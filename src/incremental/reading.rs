//! What is read of a table: some of its columns, and what is computed of each row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use super::map::Map;
use crate::store::{Pinned, Shape, ZSet, batch};

/// Some columns of a table, then filters and projections. What it gives is computed when rows are looked up: it is kept
/// nowhere.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) shape: Arc<Shape>,
    columns: Vec<usize>,
    maps: Vec<Map>,
    stored: SchemaRef,
}

impl Reading {
    pub(super) fn new(shape: Arc<Shape>, columns: Vec<usize>, maps: Vec<Map>) -> Result<Self> {
        let stored = Arc::new(shape.schema().project(&columns)?);
        Ok(Self {
            shape,
            columns,
            maps,
            stored,
        })
    }

    /// All of a table.
    pub(super) fn whole(shape: Arc<Shape>) -> Result<Self> {
        let columns = (0..shape.schema().fields().len()).collect();
        Self::new(shape, columns, Vec::new())
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.maps.last().map_or(&self.stored, Map::schema)
    }

    /// The table's column that a column is, unless it is computed.
    pub(super) fn origin(&self, column: usize) -> Option<usize> {
        let mut maps = self.maps.iter().rev();
        let column = maps.try_fold(column, |column, map| map.origin(column));
        column.map(|column| self.columns[column])
    }

    /// Of the table's change, the change of what is read; rows for which an expression fails go to `failed`, with their
    /// weights.
    pub(super) fn change(
        &self,
        change: &ZSet,
        failed: &mut dyn FnMut(String, i64),
    ) -> Result<ZSet> {
        let columns = self.columns.iter();
        let columns = columns.map(|&column| change.rows().column(column).clone());
        let rows = batch(&self.stored, columns.collect(), change.len())?;
        let mut read = ZSet::new(rows, change.weights_buffer().clone())?;
        for map in &self.maps {
            read = map.apply_each(&read, failed)?;
        }
        Ok(read)
    }

    /// The rows at some positions, as far as filters let them through, with their numbers among the positions. Where an
    /// expression fails there is no row: that was said when the row came.
    pub(super) fn rows(&self, at: &Pinned, positions: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        #[cfg(test)]
        work::READ.with(|read| read.set(read.get() + positions.len()));
        let columns = at.gather(positions, &self.columns)?;
        let rows = batch(&self.stored, columns, positions.len())?;
        // In place of weights, the numbers: maps carry them along.
        let numbers: Vec<i64> = (0..positions.len() as i64).collect();
        let mut read = ZSet::new(rows, numbers)?;
        for map in &self.maps {
            read = map.apply_each(&read, &mut |_, _| {})?;
        }
        let numbers = read.weights().iter().map(|&number| number as u32).collect();
        Ok((read.rows().clone(), numbers))
    }

    /// Some columns of the rows at some positions, and the positions' numbers, None if all are there.
    pub(super) fn columns(
        &self,
        at: &Pinned,
        positions: &[u32],
        wanted: &[usize],
    ) -> Result<(Vec<ArrayRef>, Option<Vec<u32>>)> {
        if self.maps.is_empty() {
            #[cfg(test)]
            work::READ.with(|read| read.set(read.get() + positions.len()));
            let wanted: Vec<usize> = wanted.iter().map(|&column| self.columns[column]).collect();
            return Ok((at.gather(positions, &wanted)?, None));
        }
        let (rows, numbers) = self.rows(at, positions)?;
        let columns = wanted.iter().map(|&column| rows.column(column).clone());
        let is_all = numbers.len() == positions.len();
        Ok((columns.collect(), (!is_all).then_some(numbers)))
    }
}

/// Rows of a batch by number.
pub(super) fn taken(rows: &RecordBatch, numbers: Vec<u32>) -> Result<RecordBatch> {
    let len = numbers.len();
    let numbers = arrow::array::UInt32Array::from(numbers);
    let columns = rows.columns().iter();
    let columns = columns.map(|column| take(column, &numbers, None));
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(batch(&rows.schema(), columns, len)?)
}

/// How much is looked up, for tests.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local! {
        pub(in crate::incremental) static READ: Cell<usize> = const { Cell::new(0) };
    }
}
